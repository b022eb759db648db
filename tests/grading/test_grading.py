"""nbgrader with the course's settings: autograde, feedback, export and the Validate button's judgement."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbgrader.api import Gradebook
from nbgrader.validator import Validator
from traitlets.config.loader import PyFileConfigLoader

from grading.model import HIDDEN_NOTE as NOTE
from grading.results.hidden import HideHiddenTests
from tests.conftest import ROOT, SAMPLE, WEEK, run_module
from tools.student import leaks

SCALE = "def scale(x):\n    return np.multiply(np.asarray(x), SCALE)"
TOTAL = "def total(x):\n    return sum(map(float, x))"
# What Python, C++ libraries and loggers write to stderr in an otherwise right answer.
NOISY = """import logging, os, sys, warnings
def total(x):
    warnings.warn("this is only a warning")
    print("and this is printed", file=sys.stderr)
    os.write(2, b"and this comes from C++\\n")
    logging.getLogger().warning("and this is logged")
    return sum(map(float, x))"""
MAGNITUDE = "def scale(x):\n    return np.abs(np.multiply(SCALE, x))"

ANSWERS = {
    "solved": {"scale": SCALE, "total": TOTAL, "why": "It is so."},
    "unsolved": {},
    "noisy": {"scale": SCALE, "total": NOISY},
    "hidden": {"scale": MAGNITUDE, "total": TOTAL},
    "copied": {"scale": SCALE, "total": TOTAL},  # graded first
}
EXPECTED = {"solved": 5, "unsolved": 0, "noisy": 5, "hidden": 2, "copied": 5}


def submission(course: Path, answers: dict[str, str]) -> nbformat.NotebookNode:
    notebook = nbformat.read(course / "exercises" / WEEK / f"exercise_{WEEK}.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = answers.get(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source)
    return notebook


@pytest.fixture(scope="session")
def graded(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample course with five submissions, autograded, with feedback and exported marks."""
    course = tmp_path_factory.mktemp("graded") / "a course"
    shutil.copytree(released, course)
    for student, answers in ANSWERS.items():
        notebook = submission(course, answers)
        if student == "noisy":  # and nosy: prints what it can see of the tests
            notebook.cells.append(nbformat.v4.new_code_cell("for cell in In:\n    print(cell)"))
        if student == "copied":  # nbgrader's own settings stop the run of the whole class here
            for cell in [cell for cell in notebook.cells if "nbgrader" in cell.metadata]:
                notebook.cells.append(deepcopy(cell))
                notebook.cells[-1].id += "-copy"
        folder = course / "grading" / "submitted" / student / WEEK
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / f"{WEEK}.ipynb")
    for command in (["autograde", WEEK], ["generate_feedback", WEEK], ["export"]):
        done = run_module("nbgrader", *command, cwd=course / "grading")
        assert done.returncode == 0, done.stderr
    return course


def scores(course: Path) -> dict[str, float]:
    with Gradebook(f"sqlite:///{course / 'grading' / 'gradebook.db'}") as book:
        return {
            s.student.id: sum(n.auto_score or 0 for n in _grades(s))
            for s in book.assignment_submissions(WEEK)
        }


def _grades(submitted: Any) -> list[Any]:
    return [grade for notebook in submitted.notebooks for grade in notebook.grades]


@pytest.mark.slow
def test_automatic_points(graded: Path) -> None:
    assert scores(graded) == EXPECTED


@pytest.mark.slow
def test_a_question_waits_for_a_person_only_where_it_was_answered(graded: Path) -> None:
    with Gradebook(f"sqlite:///{graded / 'grading' / 'gradebook.db'}") as book:
        waiting = {s.student.id for s in book.assignment_submissions(WEEK) if s.needs_manual_grade}
    assert waiting == {"solved"}


@pytest.mark.slow
def test_everything_is_below_grading(graded: Path) -> None:
    for step in ("autograded", "feedback"):
        assert {p.name for p in (graded / "grading" / step).iterdir()} == set(ANSWERS)
    assert {p.name for p in graded.iterdir()} - {"build"} == {p.name for p in SAMPLE.iterdir()} | {
        "exercises"
    }


@pytest.mark.slow
def test_warnings_are_seen_and_cost_nothing(graded: Path) -> None:
    notebook = nbformat.read(
        graded / "grading" / "autograded" / "noisy" / WEEK / f"{WEEK}.ipynb", as_version=4
    )
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    said = "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")
    for noise in ("only a warning", "is printed", "is logged"):  # what comes from C++ may arrive too late
        assert noise in said
    assert not [o for o in outputs if o.output_type == "error"]


@pytest.mark.slow
@pytest.mark.parametrize("step", ["autograded", "feedback"])
def test_nothing_secret_where_students_look(graded: Path, step: str) -> None:
    folder = graded / "grading" / step
    assert list(leaks(folder, graded)) == []
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert {p.suffix for p in files} == {".ipynb" if step == "autograded" else ".html"}, (
        "no .py twin, no guide"
    )
    for path in files:
        for secret in ("secret_", "HIDDEN TESTS", "BEGIN SOLUTION", "xylophone"):
            assert secret not in path.read_text(), f"{secret} in {path}"


@pytest.mark.slow
def test_feedback_says_what_a_hidden_test_was_about(graded: Path) -> None:
    page = (graded / "grading" / "feedback" / "hidden" / WEEK / f"{WEEK}.html").read_text()
    assert "negative numbers count, too" in page
    assert NOTE.strip("# ") in page and "secret_hidden" not in page
    assert "shape (2,) expected" in page, "the visible test is shown"


@pytest.mark.slow
def test_export(graded: Path) -> None:
    with open(graded / "grading" / "grades.csv", newline="") as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    assert {name: float(row["score"]) for name, row in rows.items()} == EXPECTED
    assert {float(row["max_score"]) for row in rows.values()} == {7}


@pytest.mark.slow
def test_regrading_still_has_the_hidden_tests(graded: Path) -> None:
    done = run_module("nbgrader", "autograde", WEEK, "--force", "--student", "hidden", cwd=graded / "grading")
    assert done.returncode == 0, done.stderr
    assert scores(graded)["hidden"] == EXPECTED["hidden"]


def test_students_settings_execute_like_the_instructors() -> None:
    def execute(path: Path) -> dict[str, Any]:
        path_before = os.environ["PATH"]
        try:
            return dict(PyFileConfigLoader(path.name, path=str(path.parent)).load_config().Execute)
        finally:
            os.environ["PATH"] = path_before

    students = execute(ROOT / "tools" / "student_template" / "nbgrader_config.py")
    assert students and students == execute(ROOT / "grading" / "nbgrader_config.py")


@pytest.fixture
def validate(released: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What nbgrader's Validate button finds wrong with a notebook, with the students' settings or without."""

    def check(answers: dict[str, str], settings: bool = True) -> dict[str, Any]:
        nbformat.write(submission(released, answers), tmp_path / "x.ipynb")
        folder = str(ROOT / "tools" / "student_template")
        config = PyFileConfigLoader("nbgrader_config.py", path=folder).load_config()
        return Validator(config=config if settings else None).validate(str(tmp_path / "x.ipynb"))

    return check


@pytest.mark.slow
def test_validate(validate: Callable[..., dict[str, Any]]) -> None:
    assert validate(ANSWERS["solved"]) == {}
    failed = validate(ANSWERS["unsolved"])["failed"]
    assert len(failed) == 3 and all("NotImplementedError" in f["raw_error"] for f in failed[:2])
    assert "did not provide a response" in failed[2]["raw_error"]


@pytest.mark.slow
def test_validate_lets_warnings_pass_by_our_setting_only(validate: Callable[..., dict[str, Any]]) -> None:
    answers = ANSWERS["noisy"] | {"why": "It is so."}
    assert validate(answers) == {}
    assert len(validate(answers, settings=False)["failed"]) == 1, "without the setting, stderr is a failure"


def test_validate_notices_a_changed_test(validate: Callable[..., dict[str, Any]]) -> None:
    assert len(validate(ANSWERS["solved"] | {"test_total": "pass"})["changed"]) == 1


def test_of_a_hidden_test_only_its_message_stays() -> None:
    test = nbformat.v4.new_code_cell(
        "assert f() == 1\n### BEGIN HIDDEN TESTS\nassert f(2) == 4, 'squares'\n### END HIDDEN TESTS",
        metadata={"nbgrader": {"grade": True}},
    )
    trace = ["---", "\x1b[0;32m----> 3\x1b[0m assert f(2) == 4, 'squares'", "AssertionError: squares"]
    test.outputs = [nbformat.v4.new_output("error", ename="AssertionError", evalue="x", traceback=trace)]
    other = nbformat.v4.new_code_cell("print(guess)")
    other.outputs = [nbformat.v4.new_output("stream", name="stdout", text="assert f(2) == 4, 'squares'")]
    HideHiddenTests().preprocess(nbformat.v4.new_notebook(cells=[test, other]), {})
    assert test.source == f"assert f() == 1\n{NOTE}"
    assert test.outputs[0].traceback == ["AssertionError: squares"]
    assert "squares" in other.outputs[0].text, "no answer to a guess"
