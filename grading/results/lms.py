"""Marks for elsewhere: a CSV for Moodle's grade import, and grades.csv with a column for each gap.

    nbgrader export --exporter=grading.results.lms.MoodleExporter --assignment='["week03_rbm"]'
    nbgrader export --exporter=grading.results.lms.GradesExporter

The same gradebook gives the same files. A file that somebody else has written or changed is not overwritten.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from zoneinfo import ZoneInfo

from nbgrader.api import Gradebook, MissingEntry, Student, SubmittedAssignment
from nbgrader.plugins import ExportPlugin
from traitlets import Bool, Enum

from grading.files import csv_text, number, plain, write_whole
from grading.results import times
from grading.results.record import NOT_GRADED

OURS = ".exported.json"  # beside the files: what we wrote, so that others' changes are noticed
IDENTIFIERS = {
    "id number": "ID number",
    "email": "Email address",
    "username": "Username",
}


class ExportError(Exception):
    """A file that must not be overwritten, or marks that nobody could be matched with; one line."""


class MoodleExporter(ExportPlugin):
    """A CSV for Moodle's grade import: who, points, feedback. No points: nothing handed in or not graded.

    On import map the first column to the same field of Moodle's, and for each assignment both the points and
    the feedback: Moodle deletes what is left out.
    """

    identifier = Enum(
        ["auto", *IDENTIFIERS],
        "auto",
        help="how Moodle finds students; auto: id number if all have one, else email, else gradebook's id",
    ).tag(config=True)
    force = Bool(False, help="overwrite a file that somebody has changed").tag(config=True)

    def export(self, gradebook: Gradebook) -> None:
        """Write `to`, by default moodle.csv."""
        path = Path(self.to or "moodle.csv")
        with _told(self):
            write_moodle(gradebook, path, self.assignment, self.student, self.identifier, self.force)


class GradesExporter(ExportPlugin):
    """grades.csv with a column for each gap."""

    force = Bool(False, help="overwrite a file that somebody has changed").tag(config=True)

    def export(self, gradebook: Gradebook) -> None:
        """Write `to`, by default grades.csv."""
        path = Path(self.to or "grades.csv")
        with _told(self):
            zone = times.zone(self.config)
            write_grades(gradebook, path, self.assignment, self.student, self.force, zone)


@contextmanager
def _told(plugin: ExportPlugin) -> Iterator[None]:
    """On nbgrader's command line an ExportError is a line and a status."""
    try:
        yield
    except ExportError as error:
        plugin.log.error(str(error))
        raise SystemExit(1) from error


def write_moodle(
    gradebook: Gradebook,
    path: Path,
    assignments: Sequence[str] = (),
    students: Sequence[str] = (),
    identifier: str = "auto",
    force: bool = False,
) -> bool:
    """The CSV for Moodle's grade import; False if it was as it should be."""
    weeks = _weeks(gradebook, assignments)
    people = _people(gradebook, students)
    title, who = _identifier(people, identifier)
    header = [title, "First name", "Last name"]
    for week in weeks:
        header += [week, f"{week} feedback"]
    rows: list[list[str | float]] = []
    for person, own in zip(people, who, strict=True):
        row: list[str | float] = [own, person.first_name or "", person.last_name or ""]
        for week in weeks:
            submission = _submission(gradebook, week, person.id)
            if submission is None:
                row += ["", ""]
            elif _not_graded(submission):
                row += ["", f"{NOT_GRADED}."]
            else:
                row += [_total(submission), feedback_line(submission)]
        rows.append(row)
    return _write(path, csv_text(header, rows), force)


def write_grades(
    gradebook: Gradebook,
    path: Path,
    assignments: Sequence[str] = (),
    students: Sequence[str] = (),
    force: bool = False,
    zone: ZoneInfo | None = None,
) -> bool:
    """grades.csv: a row for each student and assignment, a column for each gap; False if nothing changed.

    zone: of the times in it, UTC by default. With several assignments a gap's column is named week/gap.
    """
    weeks = _weeks(gradebook, assignments)
    gaps = {week: _gaps(gradebook, week) for week in weeks}
    before = ["assignment", "student", "last name", "first name", "email", "handed in", "status"]
    named = {
        (week, gap): f"{week}/{gap}" if len(weeks) > 1 or gap in before else gap
        for week in weeks
        for gap in gaps[week]
    }
    header = [*before, *named.values(), "extra credit", "late penalty", "all points", "possible points"]
    rows: list[list[str | float]] = []
    for week in weeks:
        most = float(gradebook.find_assignment(week).max_score)
        for person in _people(gradebook, students):
            row: list[str | float] = [week, person.id, person.last_name or "", person.first_name or ""]
            row.append(person.email or "")
            submission = _submission(gradebook, week, person.id)
            if submission is None:
                rows.append([*row, "", "nothing handed in", *[""] * len(named), "", "", 0.0, most])
                continue
            marks = _marks(submission)
            handed_in = times.local(submission.timestamp, zone or times.zone(), "%Y-%m-%d %H:%M:%S %z")
            row += [handed_in, _status(submission)]
            row += [_or_empty(marks.get(key[1])) if key[0] == week else "" for key in named]
            extra = sum(g.extra_credit or 0.0 for n in submission.notebooks for g in n.grades)
            row += [extra, submission.late_submission_penalty, _total(submission), most]
            rows.append(row)
    return _write(path, csv_text(header, rows), force)


def feedback_line(submission: SubmittedAssignment) -> str:
    """Marks for each gap and what persons wrote, on one line."""
    most = {_gap(g.name): g.max_score for n in submission.notebooks for g in n.grades}
    parts = []
    for gap, mark in sorted(_marks(submission).items()):
        said = "waits for a person" if mark is None else f"{number(mark)} of {number(most[gap])}"
        parts.append(f"{gap} {said}")
    line = ", ".join(parts)
    if submission.late_submission_penalty:
        line += f", late: -{number(submission.late_submission_penalty)}"
    comments = [
        f"{comment.name}: {plain(comment.manual_comment)}"
        for notebook in submission.notebooks
        for comment in sorted(notebook.comments, key=lambda c: c.name)
        if comment.manual_comment
    ]
    return ". ".join([line, *comments])


def _weeks(gradebook: Gradebook, wanted: Sequence[str]) -> list[str]:
    known = [assignment.name for assignment in gradebook.assignments]
    if unknown := sorted(set(map(str, wanted)) - set(known)):
        raise ExportError(
            f"the gradebook has no {unknown[0]!r}; it has {', '.join(sorted(known)) or 'nothing'}"
        )
    return sorted(map(str, wanted)) or sorted(known)


def _people(gradebook: Gradebook, wanted: Sequence[str]) -> list[Student]:
    ids = set(map(str, wanted))
    return sorted((s for s in gradebook.students if not ids or s.id in ids), key=lambda s: s.id)


def _identifier(people: Iterable[Student], wanted: str) -> tuple[str, list[str]]:
    """The first column's title and what stands in it; ExportError if one has none or two the same."""
    people = list(people)
    values = {
        "id number": [person.lms_user_id or "" for person in people],
        "email": [person.email or "" for person in people],
        "username": [person.id for person in people],
    }
    if wanted == "auto":
        wanted = next((kind for kind in ("id number", "email") if all(values[kind])), "username")
    missing = [person.id for person, value in zip(people, values[wanted], strict=True) if not value]
    if missing:
        raise ExportError(
            f"{len(missing)} students have no {wanted}, such as {missing[0]}: collect with a list of students"
        )
    if len(set(values[wanted])) < len(people):
        raise ExportError(f"two students have the same {wanted}: choose another identifier")
    return IDENTIFIERS[wanted], values[wanted]


def _submission(gradebook: Gradebook, week: str, student: str) -> SubmittedAssignment | None:
    try:
        return gradebook.find_submission(week, student)
    except MissingEntry:
        return None


def _gap(name: str) -> str:
    return name.removeprefix("test_")


def _gaps(gradebook: Gradebook, week: str) -> list[str]:
    """The graded cells by name: the gradebook keeps no order."""
    notebooks = gradebook.find_assignment(week).notebooks
    return sorted(_gap(cell.name) for n in notebooks for cell in (*n.grade_cells, *n.task_cells))


def _marks(submission: SubmittedAssignment) -> dict[str, float | None]:
    """Gap → points that count, without extra credit; None where a person has yet to give them."""
    marks: dict[str, float | None] = {}
    for notebook in submission.notebooks:
        for grade in notebook.grades:
            marks[_gap(grade.name)] = (
                grade.manual_score if grade.manual_score is not None else grade.auto_score
            )
    return marks


def _not_graded(submission: SubmittedAssignment) -> bool:
    """Whether the grader has failed on what was handed in last (`record` says so in the comments)."""
    return any(
        (comment.auto_comment or "").startswith(NOT_GRADED)
        for notebook in submission.notebooks
        for comment in notebook.comments
    )


def _status(submission: SubmittedAssignment) -> str:
    if _not_graded(submission):
        return "not graded yet"
    return "waits for a person" if submission.needs_manual_grade else "graded"


def _total(submission: SubmittedAssignment) -> float:
    return max(0.0, float(submission.score) - float(submission.late_submission_penalty))


def _or_empty(value: float | None) -> str | float:
    return "" if value is None else float(value)


def _write(path: Path, text: str, force: bool) -> bool:
    """Write an export; ExportError if the file there is not what we wrote last."""
    data = text.encode()
    ours = path.with_name(OURS)
    known: dict[str, list[str]] = {}
    with suppress(OSError, ValueError):
        known = dict(json.loads(ours.read_bytes()))
    there = path.read_bytes() if path.exists() else b""
    if there == data:
        return False
    before = hashlib.sha256(there).hexdigest()
    if path.exists() and not force and before not in known.get(path.name, []):
        raise ExportError(f"{path} has been written or changed by somebody else: move it away, or use force")
    # First what will be ours, so that an interruption between the two leaves a file that is known.
    known[path.name] = sorted({before, hashlib.sha256(data).hexdigest()})
    write_whole(ours, json.dumps(known, indent=1, sort_keys=True) + "\n")
    return write_whole(path, data)
