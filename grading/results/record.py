"""Records results, by one writer: marks into nbgrader's gradebook, executed notebooks into autograded/.

What a person has entered (scores, comments, extra credit, extensions) is never touched. Recording the same
result again changes nothing; recording everything again mends what an interruption left undone.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from nbgrader.api import (
    Comment,
    Grade,
    Gradebook,
    MissingEntry,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
)  # fmt: skip
from nbgrader.utils import compute_checksum, parse_utc
from sqlalchemy.engine import make_url
from traitlets.config import Config

from grading.files import number, write_whole
from grading.gradebook import GradebookError, gradebook, gradebook_url
from grading.model import Assignment, CellRun, GapResult, Outcome, Person, Repaired, Submission
from grading.results.executed import executed_notebook, nbgrader_metadata
from grading.results.late import LateRule

NOT_GRADED = "Not graded yet"
NOT_GRADED_WORDS = f"{NOT_GRADED}: the grader could not finish. It will be graded again; you need do nothing."
NO_RESPONSE = "No response."  # nbgrader's words
MARK = "grading"  # our key in a notebook's metadata


@dataclass(frozen=True)
class Recorded:
    """What the gradebook now has of a student."""

    student: str
    score: float  # automatic points
    total: float  # with what a person has given, less the penalty
    penalty: float = 0.0
    waiting: tuple[str, ...] = ()  # cells that a person must look at
    not_graded: str = ""  # why there are no automatic points yet


class Recorder:
    """The one writer of an assignment's results; a context manager.

    autograded: nbgrader's folder of that name. people: names for the gradebook, by student. config:
    nbgrader's settings, of which the rule for late submissions counts.
    """

    def __init__(
        self,
        address: str | Path,
        autograded: Path,
        assignment: Assignment,
        people: Mapping[str, Person] | None = None,
        config: Config | None = None,
    ) -> None:
        self.week, self.assignment, self.autograded = assignment.week, assignment, autograded
        self._address, self._people, self._config = address, people or {}, config or Config()

    def __enter__(self) -> Recorder:
        self._lock = _lock(self.autograded)
        self._context = gradebook(self._address)
        try:
            self._book: Gradebook = self._context.__enter__()
            self._read_exercise()
        except BaseException as error:
            if hasattr(self, "_book"):
                self._context.__exit__(type(error), error, error.__traceback__)
            self._lock.close()
            raise
        self._late = LateRule(self._config)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._context.__exit__(kind, error, trace)
        finally:
            self._lock.close()

    def record(self, outcome: Outcome, submission: Submission, repaired: Repaired) -> Recorded:
        """Record a result. One with a failure, or not for every test, counts as not graded yet."""
        try:
            results = self._results(outcome)
        except ValueError as error:
            return self._record(
                submission.student, submission, repaired, Outcome(outcome.pseudonym), {}, str(error)
            )
        return self._record(submission.student, submission, repaired, outcome, results, "")

    def not_graded(
        self,
        student: str,
        why: str,
        submission: Submission | None = None,
        repaired: Repaired | None = None,
    ) -> Recorded:
        """Record a student who has handed in what could not be graded: no automatic points."""
        empty = Outcome("")
        return self._record(student, submission, repaired, empty, {}, why or "the grader could not finish")

    # The gradebook

    def _read_exercise(self) -> None:
        """What the gradebook has of the exercise, compared with the assignment that was graded."""
        try:
            self._assignment_id = self._book.find_assignment(self.week).id
            notebook = self._book.find_notebook(self.week, self.week)
        except MissingEntry:
            raise GradebookError(f"the gradebook has no {self.week}: run `make release` first") from None
        self._notebook_id = notebook.id
        self._notebooks = [n.id for n in self._book.find_assignment(self.week).notebooks]
        self._graded = {cell.name: cell.id for cell in notebook.grade_cells}
        self._solutions = {cell.name: cell.id for cell in notebook.solution_cells}
        self._tasks = {cell.name: cell.id for cell in notebook.task_cells}
        self._metadata = nbgrader_metadata(notebook)
        points = {cell.name: float(cell.max_score) for cell in notebook.grade_cells}
        wanted = {
            cell.name: float(cell.points) for cell in self.assignment.cells if cell.kind in ("test", "manual")
        }
        self._book.db.rollback()
        if points != wanted:
            odd = sorted(set(points.items()) ^ set(wanted.items()))[0][0]
            raise GradebookError(
                f"the gradebook has another version of {self.week} (cell {odd!r}): run `make release`"
            )

    def _results(self, outcome: Outcome) -> dict[str, GapResult]:
        """Test cell → result; ValueError if something is missing or impossible."""
        if outcome.failure:
            raise ValueError(outcome.failure)
        left = list(outcome.gaps)
        results: dict[str, GapResult] = {}
        for cell in self.assignment.cells:
            if cell.kind != "test":
                continue
            found = next((result for result in left if result.gap == cell.gap), None)
            if found is None:
                raise ValueError(f"there is no result for the test {cell.name!r}")
            left.remove(found)
            if not (math.isfinite(found.points) and 0 <= found.points <= cell.points):
                raise ValueError(f"the test {cell.name!r} gave {found.points!r} of {cell.points:g} points")
            results[cell.name] = found
        if left:
            raise ValueError(f"there is a result for {left[0].gap!r}, which has no test")
        return results

    def _record(
        self,
        student: str,
        submission: Submission | None,
        repaired: Repaired | None,
        outcome: Outcome,
        results: dict[str, GapResult],
        why: str,
    ) -> Recorded:
        runs = outcome.cells
        if not runs and repaired is not None and repaired.variants:
            runs = tuple(
                CellRun(cell) for cell in repaired.variants[min(outcome.variant, len(repaired.variants) - 1)]
            )
        folder = self.autograded / student / self.week
        path = folder / f"{self.week}.ipynb"
        notebook = executed_notebook(runs, self.assignment, self._metadata, results)
        # As handed in: what is shown of an answer may differ from one version of a library to the next.
        digests = {
            run.cell.name: hashlib.sha256(run.cell.source.encode("utf-8", "replace")).hexdigest()
            for run in runs
            if run.cell.name in self._solutions
        }
        about = {"submission": submission.digest if submission else "", "assignment": self.assignment.digest}
        notebook.metadata[MARK] = about | {"answers": digests} | ({"not_graded": why} if why else {})
        answers = {
            cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata
        }
        before = _read(path)
        session = self._book.db
        try:
            row = self._submission(student)
            # Of another upload an old time means nothing.
            row.timestamp = parse_utc(submission.timestamp) if submission and submission.timestamp else None
            own = next(n for n in row.notebooks if n.notebook_id == self._notebook_id)
            waiting = self._marks(own, answers, results, before, notebook.metadata[MARK], why)
            self._comments(own, answers, why)
            session.flush()
            penalty = self._penalty(row, own)
            session.flush()
            session.refresh(own, ["score"])
            total = max(0.0, own.score - penalty)
            session.commit()
        except BaseException:
            session.rollback()
            raise
        finally:
            session.expunge_all()
        # After the marks: if this is interrupted, the next run still sees which answers the marks were for.
        write_whole(path, json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
        stamp = folder / "timestamp.txt"
        if submission and submission.timestamp:
            write_whole(stamp, submission.timestamp + "\n")
        else:
            stamp.unlink(missing_ok=True)
        score = sum(result.points for result in results.values())
        return Recorded(student, score, total, penalty, tuple(waiting), why)

    def _submission(self, student: str) -> SubmittedAssignment:
        """The student's rows, made as nbgrader makes them; rows for cells that a new version added, too."""
        session = self._book.db
        person = self._people.get(student)
        row = session.get(Student, student)
        if row is None:
            row = Student(id=student)
            session.add(row)
        if person is not None:
            names = (person.first_name, person.last_name or person.full_name, person.email, person.id_number)
            for attribute, value in zip(
                ("first_name", "last_name", "email", "lms_user_id"), names, strict=True
            ):
                if value and getattr(row, attribute) != value[:128]:
                    setattr(row, attribute, value[:128])
        found = session.query(SubmittedAssignment).filter_by(
            assignment_id=self._assignment_id, student_id=student
        ).one_or_none()  # fmt: skip
        if found is None:
            found = SubmittedAssignment(assignment_id=self._assignment_id, student_id=student)
            session.add(found)
        there = {n.notebook_id for n in found.notebooks}
        for notebook_id in self._notebooks:
            if notebook_id not in there:
                found.notebooks.append(SubmittedNotebook(notebook_id=notebook_id))
        own = next(n for n in found.notebooks if n.notebook_id == self._notebook_id)
        graded = {grade.cell_id for grade in own.grades}
        for cell_id in (*self._graded.values(), *self._tasks.values()):
            if cell_id not in graded:
                own.grades.append(Grade(cell_id=cell_id))
        commented = {comment.cell_id for comment in own.comments}
        for cell_id in (*self._solutions.values(), *self._tasks.values()):
            if cell_id not in commented:
                own.comments.append(Comment(cell_id=cell_id))
        return found

    def _marks(
        self,
        own: SubmittedNotebook,
        answers: Mapping[str, Any],
        results: Mapping[str, GapResult],
        before: Mapping[str, Any],
        about: Mapping[str, Any],
        why: str,
    ) -> list[str]:
        """Automatic scores, and which cells a person must look at: those are returned."""
        names = {cell_id: name for name, cell_id in self._graded.items()}
        old, now = before.get("answers", {}), about["answers"]
        same_upload = before.get("submission") == about["submission"]
        waiting = []
        for grade in own.grades:
            name = names.get(grade.cell_id)
            if name is None:
                continue
            by_hand = grade.manual_score is not None
            if name in self._solutions:  # a question that a person grades
                cell = answers.get(name)
                answered = cell is not None and not self._unchanged(cell)
                new = cell is None or old.get(name) != now.get(name)
                # "Changed" is what no person has seen yet; recording the same again leaves their work alone.
                needs = (new if by_hand else answered) or (by_hand and bool(grade.needs_manual_grade))
                score = None if answered or cell is None else 0.0
                if cell is None:
                    needs = True
            else:
                score = 0.0 if why else float(results[name].points)
                new = grade.auto_score != score or not same_upload
                needs = bool(why) or (by_hand and (new or bool(grade.needs_manual_grade)))
            if grade.auto_score != score:
                grade.auto_score = score
            if grade.needs_manual_grade != needs:
                grade.needs_manual_grade = needs
            if needs:
                waiting.append(name)
        return sorted(waiting)

    def _comments(self, own: SubmittedNotebook, answers: Mapping[str, Any], why: str) -> None:
        names = {cell_id: name for name, cell_id in self._solutions.items()}
        for comment in own.comments:
            name = names.get(comment.cell_id)
            if name is None:
                continue
            cell = answers.get(name)
            text = NO_RESPONSE if cell is not None and self._unchanged(cell) else None
            if why and name not in self._graded:
                text = NOT_GRADED_WORDS
            if comment.auto_comment != text:
                comment.auto_comment = text

    def _unchanged(self, cell: Any) -> bool:
        return bool(cell.metadata.nbgrader.checksum == compute_checksum(cell))

    def _penalty(self, row: SubmittedAssignment, own: SubmittedNotebook) -> float:
        """By the configured rule."""
        session = self._book.db
        session.refresh(own, ["score"])
        session.refresh(row)
        penalty = self._late.penalty(row.student_id, own.score, row.timestamp, _due(row))
        if own.late_submission_penalty != penalty:
            own.late_submission_penalty = penalty
        return penalty or 0.0


def record(
    outcome: Outcome,
    submission: Submission,
    repaired: Repaired,
    assignment: Assignment,
    address: str | Path,
    autograded: Path,
    people: Mapping[str, Person] | None = None,
    config: Config | None = None,
) -> Recorded:
    """Record a single result. For many, keep one Recorder: opening the gradebook takes time."""
    with Recorder(address, autograded, assignment, people, config) as recorder:
        return recorder.record(outcome, submission, repaired)


def _read(path: Path) -> dict[str, Any]:
    """What the recorded notebook was made from, with digests of its answers; empty if there is none."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        return dict(json.loads(path.read_bytes())["metadata"][MARK])
    return {}


def _lock(folder: Path) -> Any:
    """An open file that no other Recorder of this folder can have; GradebookError if one has."""
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / ".recording", "a")  # noqa: SIM115 (held as long as the Recorder)
    with suppress(ImportError):  # Windows
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise GradebookError("another grading run is recording: wait until it has finished") from None
    return file


# Before a regrade


@dataclass(frozen=True)
class Difference:
    """A mark or a late penalty that would change. None: no mark so far, or none any more."""

    student: str
    gap: str
    old: float | None
    new: float | None


@dataclass(frozen=True)
class Differences:
    """What recording would change in marks."""

    rows: tuple[Difference, ...]  # of students who had marks
    new_students: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()  # who would be recorded as not graded yet
    unchanged: int = 0  # students

    def __bool__(self) -> bool:
        return bool(self.rows)

    def text(self, names: Mapping[str, str] | None = None) -> str:
        """A table by student and gap. names: student → what to print, such as a pseudonym."""
        shown = names or {}
        students = {row.student for row in self.rows}
        lines = []
        if self.rows:
            table = [("student", "gap", "old", "new", "change")]
            for row in self.rows:
                change = (row.new or 0.0) - (row.old or 0.0)
                sign = "+" if change >= 0 else "-"
                who = shown.get(row.student, row.student)
                table.append((who, row.gap, _mark(row.old), _mark(row.new), f"{sign}{number(abs(change))}"))
            wide = [max(len(line[i]) for line in table) for i in range(5)]
            for line in table:
                left = [cell.ljust(w) for cell, w in zip(line[:2], wide[:2], strict=True)]
                right = [cell.rjust(w) for cell, w in zip(line[2:], wide[2:], strict=True)]
                lines.append("  ".join((*left, *right)))
        lines.append(
            f"{len(students)} students with other marks, {self.unchanged} as before, "
            f"{len(self.new_students)} new" + (f", {len(self.failed)} not graded yet" if self.failed else "")
        )
        return "\n".join(lines) + "\n"


def _mark(value: float | None) -> str:
    return "-" if value is None else number(value)


def differences(
    address: str | Path,
    assignment: Assignment,
    outcomes: Iterable[tuple[str, Outcome]],
    timestamps: Mapping[str, str] | None = None,
    config: Config | None = None,
) -> Differences:
    """Marks in the gradebook against new results, (student, outcome); only reads.

    timestamps: student → when it was handed in, ISO 8601, else the gradebook's. config: as of Recorder;
    penalties that another deadline, rule or score would change are among the differences.
    """
    if not _exists(address):
        return _differences((), assignment, outcomes, timestamps or {}, LateRule(config))
    with gradebook(address) as book:
        try:
            found = book.assignment_submissions(assignment.week)
        except MissingEntry:
            found = []
        return _differences(found, assignment, outcomes, timestamps or {}, LateRule(config))


def _differences(
    found: Iterable[SubmittedAssignment],
    assignment: Assignment,
    outcomes: Iterable[tuple[str, Outcome]],
    timestamps: Mapping[str, str],
    late: LateRule,
) -> Differences:
    old = {row.student_id: row for row in found}
    rows: list[Difference] = []
    new_students, failed = [], []
    unchanged = 0
    tests = [cell for cell in assignment.cells if cell.kind == "test"]
    for student, outcome in outcomes:  # one at a time: they may be large
        if outcome.failure:
            failed.append(student)
        if student not in old:
            new_students.append(student)
            continue
        grades = {grade.name: grade for notebook in old[student].notebooks for grade in notebook.grades}
        marks = {name: grade.auto_score for name, grade in grades.items()}
        left = list(outcome.gaps)
        count = len(rows)
        for cell in tests:
            result = next((result for result in left if result.gap == cell.gap), None)
            if result is not None:
                left.remove(result)
            new = 0.0 if outcome.failure else result.points if result else None
            before, marks[cell.name] = marks.get(cell.name), new
            if before != new:
                rows.append(Difference(student, cell.gap or cell.name, before, new))
        score = sum(marks[name] or 0.0 for name in marks if name not in grades)
        for name, grade in grades.items():
            given = grade.manual_score if grade.manual_score is not None else marks[name]
            score += (given or 0.0) + (grade.extra_credit or 0.0)
        time = old[student].timestamp
        if timestamps.get(student):
            time = parse_utc(timestamps[student])
        taken = sum(notebook.late_submission_penalty or 0.0 for notebook in old[student].notebooks)
        taking = late.penalty(student, score, time, _due(old[student])) or 0.0
        if not math.isclose(taken, taking, abs_tol=1e-9):
            rows.append(Difference(student, "late penalty", -taken, -taking))
        unchanged += len(rows) == count
    rows.sort(key=lambda row: row.student)  # stable: the gaps stay in order
    return Differences(tuple(rows), tuple(sorted(new_students)), tuple(sorted(failed)), unchanged)


def _due(row: SubmittedAssignment) -> datetime | None:
    """The student's deadline, extensions included; UTC."""
    return row.duedate if row.assignment.duedate is not None else None


def _exists(address: str | Path) -> bool:
    url = make_url(gradebook_url(address))
    return not url.drivername.startswith("sqlite") or Path(url.database or "").is_file()


def automatic_marks(address: str | Path, week: str) -> dict[str, dict[str, float]]:
    """Student → graded cell → automatic points, from the gradebook; empty if there is none."""
    if not _exists(address):
        return {}
    marks: dict[str, dict[str, float]] = {}
    with gradebook(address) as book:
        try:
            found = book.assignment_submissions(week)
        except MissingEntry:
            return {}
        for row in found:
            own = marks.setdefault(row.student_id, {})
            for notebook in row.notebooks:
                for grade in notebook.grades:
                    if grade.auto_score is not None:
                        own[grade.name] = grade.auto_score
    return marks
