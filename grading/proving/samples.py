"""Sample submissions, from the reference solution and the bank: for the demo, the trial and the benchmark."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat

from grading.assignment import solved, unsolved
from grading.model import Assignment
from grading.proving import bank
from tools.notebooks import ROOT

MARKER = ".made-by-grading"  # in a folder that may be emptied


class SampleError(Exception):
    """One line that says what to do."""


def fresh(folder: Path) -> None:
    """An empty folder, made anew if it is one of ours; SampleError for a folder with anything else in it."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise SampleError(f"{folder} holds other files: choose another folder with --out")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()


@dataclass(frozen=True)
class Sample:
    """A submission whose marks are known beforehand."""

    name: str
    notebook: bytes
    points: Mapping[str, float]  # gap → the marks it must get


def notebook(
    week: str,
    assignment: Assignment,
    replaced: Mapping[str, str] | None = None,
    open_gaps: Iterable[str] = (),
    root: Path = ROOT,
) -> bytes:
    """The solved exercise, with other answers in some gaps and others left unsolved."""
    answers = nbformat.reads(solved(week, root).decode(), as_version=4)
    stubs = nbformat.reads(unsolved(assignment).decode(), as_version=4)
    stub_of = {
        cell.metadata.nbgrader.grade_id: cell.source for cell in stubs.cells if "nbgrader" in cell.metadata
    }
    open_gaps = set(open_gaps)
    for cell in answers.cells:
        meta = cell.metadata.get("nbgrader", {})
        if not meta.get("solution"):
            continue
        if meta["grade_id"] in open_gaps:
            cell.source = stub_of[meta["grade_id"]]
        elif replaced and meta["grade_id"] in replaced:
            cell.source = replaced[meta["grade_id"]]
    return nbformat.writes(answers).encode()


def bank_entries(week: str, root: Path = ROOT) -> list[bank.Entry]:
    """The reference solution and all right and wrong answers of a week's bank."""
    entries = bank.read_entries(bank.read_exercise(week, root), root)
    return [entry for entry in entries if entry.kind in ("right", "wrong")]


def full_marks(assignment: Assignment) -> dict[str, float]:
    """Gap → its automatic points."""
    return {cell.gap: cell.points for cell in assignment.cells if cell.kind == "test"}


def honest(week: str, assignment: Assignment, n: int, seed: int = 0, root: Path = ROOT) -> list[Sample]:
    """n honest submissions: one in four wholly right, the rest with a wrong answer or partly solved."""
    rng = random.Random(seed)
    full = full_marks(assignment)
    entries = bank_entries(week, root)
    wrong = [entry for entry in entries if not entry.right]
    rng.shuffle(wrong)
    samples = []
    for i in range(n):
        points, left_open = dict(full), list[str]()
        if i % 4 == 0:
            chosen = [rng.choice([e for e in entries if e.right and e.gap == gap]) for gap in full]
            name, replaced = f"right {i // 4 + 1}", {entry.gap: entry.source for entry in chosen}
        elif i % 4 in (1, 2):
            entry = wrong[(i // 2) % len(wrong)]
            name, replaced = f"wrong: {entry.name}", {entry.gap: entry.source}
            points[entry.gap] = 0.0
        else:
            left_open = sorted(rng.sample(sorted(full), rng.randint(1, len(full))))
            name, replaced = f"without {', '.join(left_open)}", {}
            points |= dict.fromkeys(left_open, 0.0)
        samples.append(Sample(name, notebook(week, assignment, replaced, left_open, root), points))
    return samples
