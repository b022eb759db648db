"""Every kind of honest damage is mended: the student's answers are where they belong, and nothing is lost."""

from __future__ import annotations

import json

import pytest

from grading.assignment import assignment_from_source, solved
from grading.intake.repair import mend, repair
from grading.model import Assignment, CleanCell
from grading.proving import damage
from grading.proving.damage import ALL, Damage
from tests.graded import check_shape

WEEK = "week03_rbm"
ASKED = (
    "colab", "split", "retyped", "vscode", "no-metadata", "merged", "copied", "moved", "deleted-tests",
    "earlier-release",
)  # fmt: skip
# Damage that changes an answer itself; the original must be among what is executed, and a person told.
DOUBTFUL = ("attempts",)


@pytest.fixture(scope="module")
def assignment() -> Assignment:
    return assignment_from_source(WEEK)


@pytest.fixture(scope="module")
def sound() -> bytes:
    return solved(WEEK)


def answers(cells: tuple[CleanCell, ...]) -> dict[str, str]:
    return {cell.name: cell.source for cell in cells if cell.kind in ("solution", "manual")}


def test_catalogue() -> None:
    names = [one.name for one in ALL]
    assert len(names) == len(set(names)) >= 20
    assert set(ASKED) <= set(names)
    assert damage.find("colab").name == "colab"
    with pytest.raises(KeyError):
        damage.find("nothing")


@pytest.mark.parametrize("kind", ALL, ids=lambda one: one.name)
def test_is_mended(kind: Damage, assignment: Assignment, sound: bytes) -> None:
    damaged = kind.apply(sound)
    assert damaged != sound and kind.apply(sound) == damaged
    repaired = mend(damaged, assignment)
    assert mend(damaged, assignment) == repaired == repair(damaged, assignment)
    assert repaired.problem == ""
    check_shape(repaired, assignment)

    wanted = answers(mend(sound, assignment).variants[0])
    if kind.name == "moved-helper":
        wanted["free_energy_gaussian"] += "\nscale_of_mine = MY_NUMBER"
    assert answers(repaired.variants[0]) == wanted
    if len(repaired.variants) > 1:
        assert repaired.doubts


@pytest.mark.parametrize("kind", ALL, ids=lambda one: one.name)
def test_no_line_of_the_student_is_lost(kind: Damage, assignment: Assignment, sound: bytes) -> None:
    repaired = mend(kind.apply(sound), assignment)
    left = {
        line.strip() for variant in repaired.variants for cell in variant for line in cell.source.split("\n")
    }
    before = mend(sound, assignment).variants[0]
    for source in answers(before).values():
        assert {line.strip() for line in source.split("\n")} <= left
    if kind.name == "own-cells":
        assert {"# My own notes on this week", "!echo done", "note_3 = 3  # a try of mine"} <= left
    if kind.name == "imports-added":
        assert {"import itertools", "import functools as ft"} <= left


def test_sound_notebook_needs_no_repair(assignment: Assignment, sound: bytes) -> None:
    repaired = mend(sound, assignment)
    assert (len(repaired.variants), repaired.repairs, repaired.doubts) == (1, (), ())
    texts = {
        cell["metadata"].get("nbgrader", {}).get("grade_id"): "".join(cell["source"])
        for cell in json.loads(sound)["cells"]
    }
    for name, source in answers(repaired.variants[0]).items():
        assert source == texts[name]


def test_earlier_attempts_are_variants(assignment: Assignment, sound: bytes) -> None:
    repaired = mend(damage.find("attempts").apply(sound), assignment)
    assert len(repaired.variants) == 4
    assert {doubt.cell for doubt in repaired.doubts} == {"free_energy_gaussian", "gradient_gaussian"}
    names = [cell.name for cell in repaired.variants[0]]
    assert names.index("extra1") == names.index("free_energy_gaussian") - 1


def test_moved_cell_takes_along_what_it_needs(assignment: Assignment, sound: bytes) -> None:
    repaired = mend(damage.find("moved-helper").apply(sound), assignment)
    home, moved = ([cell.name for cell in variant] for variant in repaired.variants)
    assert home.index("free_energy_gaussian") == home.index("extra1") + 1 < home.index("gibbs_task")
    assert home[-1] == "end" and moved.index("extra1") + 1 == moved.index("free_energy_gaussian")
    assert [doubt.cell for doubt in repaired.doubts] == ["free_energy_gaussian"]


def test_changed_tests_are_listed(assignment: Assignment, sound: bytes) -> None:
    repaired = mend(damage.find("tests-changed").apply(sound), assignment)
    assert "test_gibbs_spin" in {doubt.cell for doubt in repaired.doubts}


def test_earlier_release_is_no_reason_for_doubt(assignment: Assignment, sound: bytes) -> None:
    repaired = mend(damage.find("earlier-release").apply(sound), assignment)
    assert repaired.doubts == ()
    assert not [cell for cell in repaired.variants[0] if cell.kind == "extra"]
    assert any("earlier release" in note for note in repaired.repairs)
