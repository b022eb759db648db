"""The exercise from the gradebook and from its source."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import pytest

from grading.assignment import (
    AssignmentError,
    assignment_from_gradebook,
    assignment_from_source,
    solved,
    unsolved,
    visible,
)  # fmt: skip
from tests.conftest import WEEK
from tools.notebooks import ROOT

WEEK3 = "week03_rbm"


def test_gradebook_and_source_give_the_same(released: Path) -> None:
    source = assignment_from_source(WEEK, released)
    book = assignment_from_gradebook(released / "grading" / "gradebook.db", WEEK, released)
    assert book == source
    assert book.digest == source.digest
    assert {cell.kind for cell in book.cells} >= {"text", "given", "solution", "test"}


def test_week_3() -> None:
    assignment = assignment_from_source(WEEK3)
    cells = {cell.name: cell for cell in assignment.cells}
    assert len(cells) == len(assignment.cells)
    assert cells["setup"].kind == "given" and cells["imports"].kind == "given"
    assert cells["title"].kind == "text"
    gap = cells["gibbs_spin"]
    assert (gap.kind, gap.gap, gap.defines) == ("solution", "gibbs_spin", ("gibbs_spin",))
    assert "NotImplementedError" in gap.source and "rng" not in gap.source
    test = cells["test_gibbs_spin"]
    assert (test.kind, test.gap, test.points, test.cell_type) == ("test", "gibbs_spin", 3.0, "code")
    assert "BEGIN HIDDEN TESTS" in test.source and "HIDDEN" not in visible(test)
    manual = cells["argue_sigma"]
    assert (manual.kind, manual.points, manual.cell_type) == ("manual", 2.0, "markdown")
    assert manual.source == "*Write your answer here.*"


def test_unsolved_is_what_students_get() -> None:
    made = nbformat.reads(unsolved(assignment_from_source(WEEK3)).decode(), as_version=4)
    given = nbformat.read(ROOT / "exercises" / WEEK3 / f"exercise_{WEEK3}.ipynb", as_version=4)
    assert [(c.id, c.cell_type, c.source) for c in made.cells] == [
        (c.id, c.cell_type, c.source) for c in given.cells
    ]
    for ours, theirs in zip(made.cells, given.cells, strict=True):
        wanted = {
            k: v for k, v in theirs.metadata.get("nbgrader", {}).items() if k not in ("checksum", "cell_type")
        }
        assert ours.metadata.get("nbgrader", {}) == wanted


@pytest.mark.parametrize("path", sorted((ROOT / "exercises").glob("*/*.ipynb")), ids=lambda path: path.stem)
def test_no_cell_of_a_student_version_ends_in_blank_lines(path: Path) -> None:
    """Blank lines before the marker of the hidden tests would stay: they belong behind its comment."""
    cells = nbformat.read(path, as_version=4).cells
    assert [cell.id for cell in cells if cell.source.endswith("\n")] == []


def test_solved_has_no_markers_and_no_hidden_tests() -> None:
    cells = {c["metadata"].get("nbgrader", {}).get("grade_id"): c for c in json.loads(solved(WEEK3))["cells"]}
    for cell in cells.values():
        text = "".join(cell["source"])
        assert "### BEGIN" not in text and "### END" not in text
        assert cell["cell_type"] != "code" or "raise NotImplementedError" not in text
    source = "".join(cells["gibbs_spin"]["source"])
    assert source.startswith("def gibbs_spin(") and "return" in source


def test_unknown_week() -> None:
    with pytest.raises(AssignmentError, match="does not exist"):
        assignment_from_source("week77_nothing")


def test_gradebook_without_the_week(released: Path, tmp_path: Path) -> None:
    with pytest.raises(AssignmentError, match="make release"):
        assignment_from_gradebook(tmp_path / "gradebook.db", WEEK, released)


def test_exercise_not_released(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(AssignmentError, match="make release"):
        assignment_from_gradebook(tmp_path / "gradebook.db", WEEK, sample)


def test_missing_cell(released: Path, tmp_path: Path) -> None:
    course = tmp_path / "course"
    shutil.copytree(released, course)
    path = course / "exercises" / WEEK / f"exercise_{WEEK}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    first = next(cell for cell in notebook.cells if "nbgrader" in cell.metadata)
    first.metadata.nbgrader.grade_id = "another"
    nbformat.write(notebook, path)
    with pytest.raises(AssignmentError, match=r"is missing .*make release"):
        assignment_from_gradebook(course / "grading" / "gradebook.db", WEEK, course)
