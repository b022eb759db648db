"""tools/release.py: the student version that nbgrader makes of a solution."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from tests.conftest import WEEK
from tools import release
from tools.release import ReleaseError


def test_the_student_version_has_gaps_and_visible_tests(released: Path) -> None:
    notebook = nbformat.read(released / "exercises" / WEEK / f"exercise_{WEEK}.ipynb", as_version=4)
    source = {c.metadata.nbgrader.grade_id: c.source for c in notebook.cells if "nbgrader" in c.metadata}
    assert source["scale"].endswith('    raise NotImplementedError("write your answer here")')
    assert '"""x: (N,) numbers' in source["scale"], "signature and docstring stay"
    assert "shape (2,) expected" in source["test_scale"], "the visible test stays"
    assert "Because" not in source["why"]


def test_nothing_secret_is_released(released: Path) -> None:
    files = [p for p in (released / "exercises").rglob("*") if p.is_file()]
    assert [p.name for p in files] == [f"exercise_{WEEK}.ipynb"], "no source, no class guide"
    text = files[0].read_text()
    for secret in ("secret_", "SOLUTION", "HIDDEN", "xylophone"):
        assert secret not in text


def test_ids_are_those_of_the_solution(released: Path) -> None:
    exercise = nbformat.read(released / "exercises" / WEEK / f"exercise_{WEEK}.ipynb", as_version=4)
    solution = nbformat.read(released / "solutions" / WEEK / f"{WEEK}.ipynb", as_version=4)
    assert [c.id for c in exercise.cells] == [c.id for c in solution.cells]


def test_the_gradebook_has_the_full_tests(released: Path) -> None:
    with Gradebook(f"sqlite:///{released / 'grading' / 'gradebook.db'}") as book:
        cell = book.find_source_cell("test_scale", WEEK, WEEK)
        assert "secret_hidden_phrase" in cell.source
        assert book.find_assignment(WEEK).max_score == 7


def test_an_unknown_file_is_refused(sample: Path) -> None:
    (sample / "solutions" / WEEK / "notes.docx").write_text("the answers")
    with pytest.raises(ReleaseError, match="notes.docx would go to the students"):
        release.release(sample)
    assert not (sample / "exercises").exists()


def test_a_picture_goes_out(sample: Path) -> None:
    (sample / "solutions" / WEEK / "machine.svg").write_text("<svg/>")
    release.release(sample)
    assert sorted(p.name for p in (sample / "exercises" / WEEK).iterdir()) == [
        f"exercise_{WEEK}.ipynb",
        "machine.svg",
    ]


def test_a_failure_is_one_line_and_leaves_the_old_release(
    sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release.release(sample)
    old = (sample / "exercises" / WEEK / f"exercise_{WEEK}.ipynb").read_bytes()
    with Gradebook(f"sqlite:///{sample / 'grading' / 'gradebook.db'}") as book:
        book.add_student("ada")
        book.add_submission(WEEK, "ada")
    source = sample / "solutions" / WEEK / f"{WEEK}.py"
    source.write_text(source.read_text().replace('argue="why"', 'argue="wherefore"'))
    assert release.main(["--root", str(sample)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "submissions associated with it; to start anew, move" in said
    assert (sample / "exercises" / WEEK / f"exercise_{WEEK}.ipynb").read_bytes() == old
