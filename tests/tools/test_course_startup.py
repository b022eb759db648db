"""What a session says before the setup cell has run: in a real kernel, with and without the start-up file."""

from __future__ import annotations

import shutil
import sysconfig
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from tests.conftest import ROOT
from tools import setup_env
from tools.notebooks import GUARD, METADATA

STARTUP = ROOT / "tools" / "course_startup.py"
INSTALLED = Path(sysconfig.get_path("data"), "etc", "ipython", "startup", STARTUP.name)
REMINDER = "run its first code cell"
MISSING = f"NameError: name '{GUARD}' is not defined"


def session(folder: Path, *cells: str, startup: bool = True) -> NotebookNode:
    """Cells run in a fresh kernel; without the start-up file it is as on a new machine of Colab."""
    start = folder / "ipython" / "profile_default" / "startup"
    start.mkdir(parents=True)
    if startup:
        shutil.copy(STARTUP, start)
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        NotebookClient(notebook, timeout=60, startup_timeout=120, allow_errors=True).execute()
    return notebook


def said(cell: NotebookNode) -> tuple[str, str]:
    """What a cell printed, and its error."""
    printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
    errors = [f"{out.ename}: {out.evalue}" for out in cell.outputs if out.output_type == "error"]
    return printed, "".join(errors)


def test_a_cell_run_before_the_setup_cell_says_so(tmp_path: Path) -> None:
    notebook = session(tmp_path, "np.zeros(3)", "1 / 0", "2 + 2", "%who", f"{GUARD} = 'done'", "np.zeros(3)")
    before, zero, sum_, names, setup, after = map(said, notebook.cells)
    assert REMINDER in before[0] and before[1] == "NameError: name 'np' is not defined"
    assert zero == ("", "ZeroDivisionError: division by zero") and sum_ == ("", "")
    assert names == ("Interactive namespace is empty.\n", ""), "the start-up file leaves no names behind"
    assert setup == ("", "")
    assert after == ("", "NameError: name 'np' is not defined"), "then it is about something else"


def test_the_kernel_says_of_its_language_what_stands_in_the_notebooks(tmp_path: Path) -> None:
    """Else JupyterLab changes each notebook that it opens."""
    assert session(tmp_path, "1").metadata["language_info"] == METADATA["language_info"]


def test_without_the_start_up_file_the_cells_say_so_themselves(tmp_path: Path) -> None:
    """Given and test cells of all exercises, and the imports of the preparations."""
    cells = [
        cell
        for path in [*(ROOT / "exercises").glob("*/*.ipynb"), *(ROOT / "notebooks").glob("*.ipynb")]
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
    ]
    needy = [
        cell.source
        for cell in cells
        if cell.metadata.get("nbgrader", {}).get("locked") or cell.metadata.get("title") == "imports"
    ]
    assert len(needy) > 70
    for cell in session(tmp_path, *needy, startup=False).cells:
        assert said(cell)[1] == MISSING, cell.source


def test_the_environment_has_it() -> None:
    """`make setup` puts it where IPython looks; on Colab pip does, for an editable install it does not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["data-files"] == {"etc/ipython/startup": [f"tools/{STARTUP.name}"]}
    assert STARTUP.name == setup_env.STARTUP
    stamp = setup_env.read_stamp(sysconfig.get_path("data"))
    if stamp.get("fingerprint") != setup_env.fingerprint(str(ROOT)):
        pytest.skip("this Python was not set up from this checkout by make setup")
    assert INSTALLED.read_text(encoding="utf-8") == STARTUP.read_text(encoding="utf-8"), "run make setup"
