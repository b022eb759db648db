"""An instructor's first five minutes: a sample class, from Moodle's zip to marks, feedback and report.

`make demo`. Everything is made here and written below one folder; nothing of the course is touched.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from grading import run
from grading.assignment import assignment_from_source
from grading.execution.engine import Place
from grading.intake import collect
from grading.model import Assignment, Limits
from grading.proving import damage, samples
from grading.proving.hostile import ATTACKS, hostile
from grading.proving.trial import course_folder
from tools.notebooks import exercise_name

WEEK = "week03_rbm"

SLOW = '''
def train_gaussian(v_train, hidden, sigma, seed):
    """Waits for a likelihood that never comes."""
    reached = -100.0
    while reached < 1000:
        reached = max(reached, -float(np.mean(v_train)))
'''


@dataclass(frozen=True)
class Student:
    """One of the class: name as in Moodle, file name and content, and what this is about."""

    name: str
    filename: str
    content: bytes
    about: str


def students(assignment: Assignment) -> Iterator[Student]:
    """The class: right, partly right, wrong, unsolved, damaged, slow, hostile."""

    def solved_but(*open_gaps: str, **replaced: str) -> bytes:
        return samples.notebook(WEEK, assignment, replaced, open_gaps)

    entries = samples.bank_entries(WEEK)
    plain = exercise_name(WEEK)
    yield Student("Ada Anderson", plain, solved_but(), "right: the reference solution")
    loops = {entry.gap: entry.source for entry in entries if entry.right and "loops" in entry.text}
    yield Student("Børge Åkesson", plain, solved_but(**loops), "right: with loops instead of matrices")
    yield Student(
        "Chiara Conti",
        plain,
        solved_but("train_gaussian", "ais_spin"),
        "two gaps left open, the others right",
    )
    wrong = {entry.gap: entry.source for entry in entries if entry.text.startswith("Model minus data: desc")}
    yield Student(
        "Dilan Demir", f"Copy of {plain}", solved_but(**wrong), "a sign is wrong; Colab's file name"
    )
    yield Student(
        "Emil Ebert",
        plain,
        samples.notebook(WEEK, assignment, {}, samples.full_marks(assignment)),
        "unsolved",
    )
    for name, kind in [("Farah Faruqi", "colab"), ("Göran Grün", "split"), ("Hana Horáková", "retyped")]:
        harm = damage.find(kind)
        yield Student(name, plain, harm.apply(solved_but()), f"right, then damaged: {harm.name}")
    yield Student("Ivan Ilić", plain, solved_but(train_gaussian=SLOW), "an endless loop in one gap")
    for name, attack in [("Jo Jansen", ATTACKS[1]), ("Kim Keller", ATTACKS[4])]:
        sample = hostile(assignment, attack)
        yield Student(name, plain, sample.notebook, sample.name)
    yield Student(
        "Lena Lang",
        plain,
        b"<!DOCTYPE html><title>JupyterLab</title>",
        "saved the web page, not the notebook",
    )


def moodle_zip(path: Path, class_: list[Student]) -> None:
    """The zip that Moodle makes of all submissions."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, student in enumerate(class_):
            folder = f"{student.name}_{4100 + number}_assignsubmission_file"
            archive.writestr(f"{folder}/{student.filename}", student.content)


def demo(folder: Path, place: Place, limits: Limits) -> int:
    """Make the class, collect, grade, print the table."""
    samples.fresh(folder)
    assignment = assignment_from_source(WEEK)
    class_ = list(students(assignment))
    course_folder(folder / "course", WEEK, [])
    archive = folder / "moodle.zip"
    moodle_zip(archive, class_)
    print(f"{len(class_)} students in {os.path.relpath(archive)}\n")
    course = run.Course(folder / "course")
    found = collect.collect(archive, WEEK, course.submitted, None, assignment)
    print(found.text())
    limits = replace(limits, cell_seconds=min(limits.cell_seconds, 20.0))  # nobody likes to wait in a demo
    summary = run.grade(course, WEEK, run.Options(place, limits, accept=True))
    print()
    print(marks_table(assignment, class_, summary, course))
    print()
    print(run.table(summary))
    report = course.results(WEEK) / "report.html"
    print(f"report:   {os.path.relpath(report)}")
    print(f"feedback: {os.path.relpath(course.feedback)}/STUDENT/{WEEK}/{WEEK}.html")
    return summary.status


def marks_table(
    assignment: Assignment, class_: list[Student], summary: run.Summary, course: run.Course
) -> str:
    """One line for each student: marks of each gap, the sum, and what the submission was about."""
    gaps = list(samples.full_marks(assignment))
    about = {student.name: student.about for student in class_}
    people = collect.people(course.submitted, WEEK)
    marks = run.marks(course, WEEK, assignment)
    lines = [" ".join(f"{number + 1:>4}" for number in range(len(gaps))) + "   sum  student"]
    for student in sorted(summary.outcomes):
        own = marks.get(student, {})
        name = people[student].full_name
        points = " ".join(f"{own.get(gap, 0):>4g}" for gap in gaps)
        lines.append(f"{points}  {sum(own.values()):>4g}  {name}: {about.get(name, '')}")
    lines.append("gaps: " + ", ".join(f"{n + 1} {gap}" for n, gap in enumerate(gaps)))
    return "\n".join(lines)
