"""Validate says which cell of an exercise is copied, missing or of another kind, and what to do."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbgrader.validator import Validator

from tests.conftest import ROOT, WEEK
from tests.tools.test_lab import read
from tools import validate

Notebook = nbformat.NotebookNode


def place(notebook: Notebook, name: str) -> int:
    return next(
        i
        for i, cell in enumerate(notebook.cells)
        if cell.metadata.get("nbgrader", {}).get("grade_id") == name
    )


def copied(name: str) -> Callable[[Notebook], None]:
    def damage(notebook: Notebook) -> None:
        notebook.cells.append(copy.deepcopy(notebook.cells[place(notebook, name)]))
        notebook.cells[-1].id = "another"

    return damage


def turned(name: str, kind: str) -> Callable[[Notebook], None]:
    """As JupyterLab does it: the metadata stay."""

    def damage(notebook: Notebook) -> None:
        old = notebook.cells[place(notebook, name)]
        make = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}
        new = make.get(kind, nbformat.v4.new_raw_cell)(old.source, id=old.id, metadata=old.metadata)
        notebook.cells[place(notebook, name)] = new

    return damage


def retyped(name: str) -> Callable[[Notebook], None]:
    """The text in a new cell, the old one deleted."""

    def damage(notebook: Notebook) -> None:
        notebook.cells[place(notebook, name)] = nbformat.v4.new_code_cell(
            notebook.cells[place(notebook, name)].source
        )

    return damage


def emptied(notebook: Notebook) -> None:
    notebook.cells[place(notebook, "scale")].metadata["nbgrader"] = {}


def stripped(notebook: Notebook) -> None:
    for cell in notebook.cells:
        cell.metadata.pop("nbgrader", None)


DAMAGE = {
    "copied gap": (copied("scale"), r"Your answer scale is there 2 times: cells \d+ and \d+ .*\nKeep the"),
    "copied test": (copied("test_scale"), "The test of scale is there 2 times: .*\nKeep the first and"),
    "copied question": (copied("why"), "is there 2 times: .*\nKeep the one with your answer"),
    "gap in Markdown": (turned("scale", "markdown"), "Your answer scale .* a Markdown cell.\n.* then Y,"),
    "gap in a raw cell": (turned("scale", "raw"), "has become a raw cell.\nClick it, press Esc and then Y,"),
    "test in Markdown": (turned("test_scale", "markdown"), "The test of scale .* has become a Markdown cell"),
    "question in code": (turned("why", "code"), "has become a code cell.\nClick it, press Esc and then M,"),
    "retyped gap": (retyped("scale"), "The cell for your answer scale is missing.\nTake it from a fresh"),
    "retyped test": (retyped("test_scale"), "The test of scale is missing.\nTake it from a fresh copy"),
    "damaged mark": (emptied, r"What marks cell \d+ from the top .* is damaged"),
    "no marks": (stripped, "No cell of this notebook belongs to an exercise"),
}  # fmt: skip


@pytest.fixture
def exercise(released: Path) -> Notebook:
    return nbformat.read(released / "exercises" / WEEK / f"exercise_{WEEK}.ipynb", as_version=4)


@pytest.mark.parametrize("kind", DAMAGE)
def test_the_cell_is_named_and_what_to_do(kind: str, exercise: Notebook, tmp_path: Path) -> None:
    damage, words = DAMAGE[kind]
    damage(exercise)
    nbformat.write(exercise, tmp_path / "x.ipynb")
    said = validate.complaint(tmp_path / "x.ipynb")
    assert re.search(words, said, re.DOTALL) and said.endswith(validate.LAST), said
    assert max(map(len, said.splitlines())) <= 100, "it stands in a box that does not wrap"


def test_nbgrader_alone_does_not_say_it(exercise: Notebook, tmp_path: Path) -> None:
    """The day it does, this tool may go."""
    copied("scale")(exercise)
    nbformat.write(exercise, tmp_path / "x.ipynb")
    with pytest.raises(
        Exception, match="^Notebook failed to validate; the nbgrader metadata may be corrupted"
    ):
        Validator().validate(str(tmp_path / "x.ipynb"))


@pytest.mark.parametrize("path", sorted(ROOT.glob("exercises/*/*.ipynb")), ids=lambda path: path.stem)
def test_nothing_is_said_about_a_sound_exercise(path: Path) -> None:
    assert validate.complaint(path) == ""


def test_a_slow_machine_is_no_traceback(exercise: Notebook, tmp_path: Path) -> None:
    nbformat.write(exercise, tmp_path / "x.ipynb")
    trace = "Traceback …\nnbclient.exceptions.CellTimeoutError: Timeout waiting for IOPub output"
    said = validate.plain({"success": False, "value": trace}, tmp_path / "x.ipynb")
    assert said == {"success": False, "value": validate.SLOW}
    for answer in ({"success": True, "value": {}}, {"success": False, "value": "Traceback …\nOSError"}):
        assert validate.plain(answer, tmp_path / "x.ipynb") == answer


def test_command_line(exercise: Notebook, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate.main([str(tmp_path / "none.ipynb")]) == 1
    assert capsys.readouterr().err.endswith("none.ipynb cannot be read: No such file or directory\n")
    (tmp_path / "text.ipynb").write_text("print('a notebook?')")
    assert validate.main([str(tmp_path / "text.ipynb")]) == 1
    assert capsys.readouterr().err.endswith("text.ipynb cannot be read: it is no notebook\n")
    copied("scale")(exercise)
    nbformat.write(exercise, tmp_path / "x.ipynb")
    assert validate.main([str(tmp_path / "x.ipynb")]) == 1
    assert "there 2 times" in capsys.readouterr().err


@pytest.mark.slow
def test_the_button_in_jupyterlab_gets_this_answer(
    exercise: Notebook, released: Path, tmp_path: Path
) -> None:
    """Asked as the button does, of a server started by `make lab` on a course of its own."""
    course = tmp_path / "a course"
    course.mkdir()
    for name in ("tools", "utils"):
        shutil.copytree(ROOT / name, course / name, ignore=shutil.ignore_patterns("__pycache__"))
    (course / "README.md").write_text("# Weeks\n")
    nbformat.write(exercise, course / "sound.ipynb")
    copied("scale")(exercise)
    nbformat.write(exercise, course / "copied.ipynb")
    own = {name: str(tmp_path / name) for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    server = subprocess.Popen(
        [sys.executable, "-m", "tools.lab", "--no-browser"],
        cwd=course,
        env={**os.environ, **own, "PYTHONPATH": str(course)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    timer = threading.Timer(300, server.kill)
    timer.start()
    try:
        assert server.stdout is not None
        found = (re.search(r"(http://127\.0\.0\.1:\d+)/\S*\?token=(\w+)", line) for line in server.stdout)
        address, token = next(filter(None, found)).groups()
        read(f"{address}/api/status?token={token}")  # it listens

        def asked(path: str) -> dict[str, Any]:
            body = json.dumps({"path": path}).encode()
            headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
            request = urllib.request.Request(f"{address}/assignments/validate", body, headers)
            with urllib.request.urlopen(request, timeout=200) as answer:
                return json.loads(answer.read())

        said = asked("copied.ipynb")
        assert said["success"] is False and "Your answer scale is there 2 times" in said["value"]
        said = asked("sound.ipynb")
        assert said["success"] is True and "NotImplementedError" in str(said["value"]["failed"])
        with pytest.raises(urllib.error.HTTPError, match="403"):
            asked("../outside.ipynb")
    finally:
        timer.cancel()
        server.terminate()
        server.wait(120)
