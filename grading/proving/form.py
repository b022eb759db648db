"""The form of a week, from its files: points, gaps, guide, quiz, load, length of cells, what is still to do.

A week is in the new form when its preparation has a heading `## Deeper · …`. In the others, written before
there were such rules, what is too much is noted and is no fault.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import jupytext

from grading.model import Assignment
from tools import benchmark, load, notebooks, week
from tools.notebooks import ROOT

if TYPE_CHECKING:
    from grading.proving.check import Report

POINTS = 20
GAPS = (5, 7)  # the question to argue included
CELL = 40  # lines of a code cell of a preparation
SECONDS = 60.0  # that a preparation may take on two cores, start-up included
QUESTIONS = 5
SECTIONS = ("Focus questions", "Bring to class", "Board derivation", "Misconceptions", "The exercise")


def look_at_form(assignment: Assignment, report: Report, root: Path = ROOT) -> None:
    """All parts of the week there, in form, and nothing left to do."""
    stem = assignment.week
    files = list(week.parts(stem, root).values())
    pictures = root / "notebooks" / "pictures" / f"{stem}.py"
    missing = [path for path in files if not path.is_file()]
    for path in missing:
        if path != pictures:
            report.fault(f"{path.relative_to(root).as_posix()} is missing")
    if set(missing) - {pictures}:
        return
    source = next(source for source in load.preparations(root) if source.stem == stem)
    found = load.measure(source)
    limit = report.fault if found.deeper is not None else report.note
    if missing:
        limit("the preparation has no picture of the idea")

    points = sum(cell.points for cell in assignment.cells)
    if points != POINTS:
        report.fault(f"the exercise has {points:g} points, not {POINTS}")
    gaps = [cell.name for cell in assignment.cells if cell.kind in ("solution", "manual")]
    if not GAPS[0] <= len(gaps) <= GAPS[1]:
        limit(
            f"the exercise has {len(gaps)} gaps, the question included: {GAPS[0]} to {GAPS[1]} fit 2½ hours"
        )
    if long := list(long_cells(source.path)):
        limit(f"cells with more than {CELL} lines: {', '.join(long)}")

    faults = [*found.faults(), *todo([path for path in files if path.is_file()], root)]
    faults += guide_faults((root / "solutions" / stem / "guide.md").read_text(encoding="utf-8"), assignment)
    faults += quiz_faults(
        json.loads((root / "utils" / "quizzes" / f"{stem}.json").read_text(encoding="utf-8"))
    )
    for fault in faults:
        report.fault(fault)
    if not faults:
        report.good(
            f"guide, quiz; {found.core.minutes:.0f} minutes of preparation, {found.announced} announced"
        )


def long_cells(path: Path) -> Iterator[str]:
    """Names and lengths of code cells that are too long."""
    for number, cell in enumerate(jupytext.read(path, fmt="py:percent").cells):
        lines = cell.source.count("\n") + 1
        if cell.cell_type == "code" and lines > CELL:
            yield f"{cell.metadata.get('title', number)} ({lines})"


def todo(files: list[Path], root: Path = ROOT) -> Iterator[str]:
    """A line for each file in which something is left to write."""
    for path in files:
        lines = path.read_text(encoding="utf-8").splitlines()
        if left := [number for number, line in enumerate(lines, 1) if re.search(r"\bTODO\b", line)]:
            yield f"{path.relative_to(root).as_posix()}:{left[0]} says TODO, {len(left)} lines in all"


def guide_faults(text: str, assignment: Assignment) -> Iterator[str]:
    """What the guide for the class lacks: a section, or a gap in the section on the exercise."""
    for section in SECTIONS:
        if not re.search(rf"^## {section}", text, re.MULTILINE):
            yield f"guide.md has no section `## {section}`"
    exercise = text.partition("## The exercise")[2]
    for cell in assignment.cells:
        if cell.kind == "solution" and f"`{cell.gap}`" not in exercise:
            yield f"guide.md says nothing on the gap `{cell.gap}`"


def quiz_faults(questions: list[dict]) -> Iterator[str]:
    """What is wrong with a quiz: five questions, one right answer each, every choice explained."""
    if len({question["question"] for question in questions}) != QUESTIONS:
        yield f"the quiz has {len(questions)} questions, {QUESTIONS} different ones expected"
    for number, question in enumerate(questions, 1):
        answers = question["answers"]
        if len({answer["answer"] for answer in answers}) < max(3, len(answers)):
            yield f"quiz, question {number}: three different answers or more expected"
        if sum(answer["correct"] for answer in answers) != 1:
            yield f"quiz, question {number}: one right answer expected"
        if any(len(answer["feedback"]) <= 20 for answer in answers):
            yield f"quiz, question {number}: a choice is not explained"
    if len({place for q in questions for place, answer in enumerate(q["answers"]) if answer["correct"]}) < 2:
        yield "quiz: the right answer is always in the same place"


def look_at_time(stem: str, report: Report, root: Path = ROOT) -> None:
    """Run the preparation with its own parameters."""
    path = root / "notebooks" / f"{stem}.ipynb"
    notebooks.write(root)
    _, _, seconds = benchmark.run(path, {})
    if seconds > SECONDS:
        report.fault(f"the preparation runs {seconds:.0f} s, at most {SECONDS:.0f} s on two cores")
    else:
        report.good(f"the preparation runs {seconds:.0f} s")
