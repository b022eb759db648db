"""One grading run: from the folder of submissions to gradebook, feedback and report.

Every result goes into the ledger as soon as it is there, and everything is recorded from the ledger at the
end, so that a run can be killed at any moment and started again.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from tqdm import tqdm
from traitlets.config import Config, PyFileConfigLoader

from grading.assignment import assignment_from_gradebook
from grading.execution import engine
from grading.files import write_whole
from grading.gradebook import gradebook
from grading.intake import collect
from grading.intake.people import Secrets, secrets_for
from grading.intake.repair import repair_apart
from grading.model import (
    Assignment,
    GapResult,
    Job,
    Limits,
    Outcome,
    Repaired,
    Submission,
    from_data,
    to_data,
)
from grading.results import feedback, lms, report, times
from grading.results.harmless import one_line
from grading.results.ledger import Ledger, key
from grading.results.record import Differences, Recorded, Recorder, automatic_marks, differences
from tools.notebooks import ROOT

# Modules and rooms on which no result depends. A new one counts until it is named here.
NO_RESULT = set("__main__ run files gradebook nbgrader_config engine results proving".split())
NO_RESULT |= set("archive collect exports people".split())
DONE, FAILED, NOT_ACCEPTED = 0, 2, 3  # exit statuses; 1 is an error that stopped the run


@dataclass(frozen=True)
class Course:
    """Where a course keeps what grading reads and writes."""

    folder: Path = ROOT / "grading"
    gradebook: str = ""  # address; the SQLite file in the folder by default
    root: Path = ROOT  # of solutions/ and exercises/

    @property
    def address(self) -> str:
        return self.gradebook or f"sqlite:///{self.folder / 'gradebook.db'}"

    @property
    def submitted(self) -> Path:
        return self.folder / "submitted"

    @property
    def autograded(self) -> Path:
        return self.folder / "autograded"

    @property
    def feedback(self) -> Path:
        return self.folder / "feedback"

    def results(self, week: str) -> Path:
        """Report, tables and logs of a week."""
        return self.folder / "reports" / week


@dataclass(frozen=True)
class Options:
    """How to grade."""

    place: engine.Place = field(default_factory=engine.Place)
    limits: Limits = field(default_factory=Limits)
    students: tuple[str, ...] | None = None  # None: all
    seed: int | None = None  # None: each upload's secret one
    dry_run: bool = False  # execute, print, record nothing
    force: bool = False  # execute again what has been executed
    accept: bool | None = None  # record changed marks of an earlier run; None: ask on a terminal
    config: Config | None = None  # nbgrader's, of which the rule for late submissions counts
    make: engine.StationMaker | None = None  # a stand-in for the Station, in tests


@dataclass
class Summary:
    """What a run did."""

    week: str
    recorded: dict[str, Recorded] = field(default_factory=dict)  # by student
    outcomes: dict[str, str] = field(default_factory=dict)  # student → key in the ledger
    resumed: int = 0
    executed: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # pseudonym → why the grader could not finish
    protection: set[str] = field(default_factory=set)  # what kept submissions to their limits
    changes: Differences | None = None
    status: int = DONE
    seconds: dict[str, float] = field(default_factory=dict)  # by phase


def engine_modules() -> list[Path]:
    """The code that a result depends on."""
    here, unlike = Path(__file__).parent, {*NO_RESULT, "bank"}
    return [
        path
        for path in sorted(here.rglob("*.py"))
        if not unlike & {*path.relative_to(here).with_suffix("").parts}
    ]


@cache
def engine_version() -> str:
    """A digest of the engine: after a change of it nothing old is taken for done."""
    text = hashlib.sha256()
    for path in engine_modules() + sorted((ROOT / "utils").glob("*.py")):
        text.update(path.name.encode() + path.read_bytes())
    return text.hexdigest()


class Repairs:
    """Submissions in the exercise's shape: each is made once, apart, and kept beside the results."""

    def __init__(self, course: Course, assignment: Assignment, secrets: Secrets) -> None:
        self.folder = course.folder / "ledger" / "repaired" / assignment.week
        self.assignment, self.secrets = assignment, secrets

    def __call__(self, submission: Submission) -> Repaired:
        path = self.folder / f"{self.secrets.pseudonym(submission.student)}.json"
        made_of = [submission.digest, self.assignment.digest, engine_version()]
        with suppress(OSError, ValueError, KeyError, TypeError):
            data = json.loads(path.read_bytes())
            if data["made of"] == made_of:
                return from_data(Repaired, data["repaired"])
        repaired = repair_apart(submission.content, self.assignment)
        text = json.dumps({"made of": made_of, "repaired": to_data(repaired)})
        with suppress(OSError):  # it can be made again
            write_whole(path, text, 0o600)
        return repaired


def grade(course: Course, week: str, options: Options, say: Callable[[str], None] = print) -> Summary:
    """Grade what has been handed in for a week. Raises only for what concerns everybody, in one line."""
    summary, clock = Summary(week), Clock()
    assignment = assignment_from_gradebook(course.address, week, course.root)
    secrets = secrets_for(course.folder)
    ledger = Ledger(course.folder / "ledger", secrets.key)
    repairs = Repairs(course, assignment, secrets)

    def submissions() -> Iterator[Submission]:
        return collect.submissions(course.submitted, week, options.students)

    def name(submission: Submission) -> str:
        seed = seed_of(submission, assignment, options, secrets)
        return key(submission.digest, assignment.digest, engine_version(), seed, options.limits)

    with clock("look"):
        waiting: list[str] = []
        handed_in: dict[str, str] = {}
        for submission in submissions():
            handed_in[submission.student] = submission.timestamp
            summary.outcomes[submission.student] = name(submission)
            if options.force or summary.outcomes[submission.student] not in ledger:
                waiting.append(submission.student)
        summary.resumed = len(summary.outcomes) - len(waiting)
        for path in ledger.damaged:
            say(f"{path}: damaged, graded again")
    unread = collect.report_of(course.submitted, week).unreadable
    if not summary.outcomes and not unread:
        say(f"nothing to grade: no notebook in {course.submitted}/STUDENT/{week}/{week}.ipynb")
        return summary

    with clock("execute"):
        students = {secrets.pseudonym(student): student for student in waiting}
        found = collect.submissions(course.submitted, week, waiting)
        jobs = (partial(make_job, submission, repairs, options) for submission in found)
        bar = tqdm(total=len(waiting), desc=week, unit="notebook", disable=not waiting, file=sys.stdout)
        with bar:
            for outcome in engine.execute(jobs, options.place, options.make):
                if ledger.put(summary.outcomes[students[outcome.pseudonym]], outcome):
                    summary.executed += 1
                else:
                    summary.failed[outcome.pseudonym] = outcome.failure
                summary.protection.add(outcome.protection)
                write_log(course.results(week) / "logs", outcome)
                bar.update()
    with clock("compare"):
        summary.changes = differences(
            course.address, assignment, results(summary, ledger, secrets), handed_in, options.config
        )
    if summary.changes:
        say(summary.changes.text({s: secrets.pseudonym(s) for s in summary.outcomes}).rstrip())
        if not options.dry_run and not accepted(options.accept):
            say("nothing recorded: start again with --accept to record these changes; nothing runs twice")
            summary.status = NOT_ACCEPTED
    if not options.dry_run and summary.status == DONE:
        with clock("record"):
            record_all(course, assignment, submissions, summary, ledger, repairs, options)
    summary.seconds = clock.seconds
    if summary.status == DONE and summary.failed:
        summary.status = FAILED
    return summary


def seed_of(submission: Submission, assignment: Assignment, options: Options, secrets: Secrets) -> int:
    """From what the hidden tests of this upload draw their inputs."""
    return secrets.seed(submission.digest, assignment.digest) if options.seed is None else options.seed


def make_job(submission: Submission, repairs: Repairs, options: Options) -> Job | Outcome:
    """What is to be executed of a submission; the Outcome itself where there is nothing to execute."""
    pseudonym, repaired = repairs.secrets.pseudonym(submission.student), repairs(submission)
    if repaired.problem:
        return unreadable(pseudonym, repairs.assignment, repaired)
    seed = seed_of(submission, repairs.assignment, options, repairs.secrets)
    return Job(pseudonym, repairs.assignment, repaired.variants, seed, options.limits)


def unreadable(pseudonym: str, assignment: Assignment, repaired: Repaired) -> Outcome:
    """No marks, and the reason in each gap."""
    tests = [cell for cell in assignment.cells if cell.kind == "test"]
    return Outcome(
        pseudonym,
        gaps=tuple(GapResult(t.gap, 0.0, t.points, False, "Unreadable", repaired.problem) for t in tests),
    )


def results(summary: Summary, ledger: Ledger, secrets: Secrets) -> Iterator[tuple[str, Outcome]]:
    """Student and outcome from the ledger, one at a time."""
    for student, name in summary.outcomes.items():
        pseudonym = secrets.pseudonym(student)
        why = summary.failed.get(pseudonym, "the result is not in the ledger")
        yield student, ledger.get(name, pseudonym) or Outcome(pseudonym, failure=why)


def record_all(
    course: Course,
    assignment: Assignment,
    submissions: Callable[[], Iterator[Submission]],
    summary: Summary,
    ledger: Ledger,
    repairs: Repairs,
    options: Options,
) -> None:
    """Gradebook, executed notebooks, feedback pages, the report and the tables, from the ledger."""
    week, secrets = assignment.week, repairs.secrets
    people = collect.people(course.submitted, week)
    unread = {entry.student: entry for entry in collect.report_of(course.submitted, week).unreadable}
    if options.students is not None:
        unread = {student: unread[student] for student in options.students if student in unread}
    with Recorder(course.address, course.autograded, assignment, people, options.config) as recorder:
        for submission in submissions():
            pseudonym = secrets.pseudonym(submission.student)
            repaired = repairs(submission)
            outcome = ledger.get(summary.outcomes[submission.student], pseudonym)
            if outcome is None:
                why = summary.failed.setdefault(pseudonym, "the result is not in the ledger")
                recorded = recorder.not_graded(submission.student, why, submission, repaired)
            else:
                recorded = recorder.record(outcome, submission, repaired)
            summary.recorded[submission.student] = recorded
        for student, entry in unread.items():
            repaired = nothing_read(entry)
            summary.recorded[student] = recorder.not_graded(student, repaired.problem, repaired=repaired)

    rows = []
    zone = times.zone(options.config)
    with gradebook(course.address) as book:
        due = times.local(book.find_assignment(week).duedate, zone)
        for submission in submissions():
            pseudonym = secrets.pseudonym(submission.student)
            repaired = repairs(submission)
            outcome = ledger.get(summary.outcomes[submission.student], pseudonym)
            outcome = outcome or Outcome(pseudonym, failure=summary.failed[pseudonym])
            summary.protection.add(outcome.protection)
            recorded = summary.recorded[submission.student]
            if not outcome.failure:
                when = times.local(submission.timestamp, zone)
                write_feedback(course, book, recorded, outcome, repaired, assignment, when)
            rows.append(row(recorded, outcome, repaired, submission.timestamp))
        for student, entry in unread.items():
            outcome = unreadable(secrets.pseudonym(student), assignment, nothing_read(entry))
            recorded = summary.recorded[student]
            when = times.local(entry.handed_in, zone)
            write_feedback(course, book, recorded, outcome, nothing_read(entry), assignment, when)
            rows.append(row(recorded, outcome, nothing_read(entry), entry.handed_in))
        folder = course.results(week)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "report.html", report.report_page(rows, assignment, zone=zone, due=due))
        lms.write_grades(book, folder / "grades.csv", [week], zone=zone)
        lms.write_moodle(book, folder / "moodle.csv", [week])


def nothing_read(entry: collect.Entry) -> Repaired:
    """An upload of which nothing could be read."""
    return Repaired((), problem="; ".join(entry.notes) or "nothing that was handed in can be read")


def row(recorded: Recorded, outcome: Outcome, repaired: Repaired, timestamp: str) -> report.ReportRow:
    """A line of the report, without what the cells printed, of which a report of hundreds has no need."""
    return report.ReportRow(
        pseudonym=outcome.pseudonym,
        outcome=replace(outcome, cells=()),
        repaired=replace(repaired, variants=()),
        timestamp=timestamp,
        penalty=recorded.penalty,
        waiting=recorded.waiting,
    )


def write_feedback(
    course: Course,
    book: Any,
    recorded: Recorded,
    outcome: Outcome,
    repaired: Repaired,
    assignment: Assignment,
    handed_in: str,
) -> None:
    """A student's page, with what persons have given."""
    week = assignment.week
    manual = feedback.manual_grades(book.find_submission_notebook(week, week, recorded.student), assignment)
    page = feedback.feedback_page(
        outcome, repaired, assignment, manual, penalty=recorded.penalty, handed_in=handed_in
    )
    path = course.feedback / recorded.student / week / f"{week}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page)


def marks(course: Course, week: str, assignment: Assignment) -> dict[str, dict[str, float]]:
    """Student → gap → automatic points, from the gradebook."""
    gap_of = {cell.name: cell.gap for cell in assignment.cells if cell.kind == "test"}
    return {
        student: {gap_of[name]: points for name, points in own.items() if name in gap_of}
        for student, own in automatic_marks(course.address, week).items()
    }


def accepted(accept: bool | None) -> bool:
    """What the option says, else the answer of the person at the terminal; without a terminal no."""
    if accept is not None:
        return accept
    if not sys.stdin.isatty():
        return False
    return input("record these marks? [y/N] ").strip().lower() in ("y", "yes")


def write_log(folder: Path, outcome: Outcome) -> None:
    """What happened to a submission, under its pseudonym."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{outcome.pseudonym}: {outcome.score:g} points in {outcome.seconds:.1f} s"]
    lines[0] += (
        f", {outcome.student_seconds:.1f} s of computing in the student's code, "
        f"{outcome.peak_memory / 2**20:.0f} MB"
    )
    if outcome.failure:
        lines.append(f"NOT GRADED: {outcome.failure}")
    for gap in outcome.gaps:
        said = "passed" if gap.passed else f"{gap.error}: {one_line(gap.message)}"
        ended = f" [ended by {gap.ended_by}]" if gap.ended_by else ""
        lines.append(f"{gap.gap}: {gap.points:g} of {gap.max_points:g}, {gap.seconds:.1f} s, {said}{ended}")
    lines += [f"limit: {event.cell}: {event.words}" for event in outcome.limits_hit]
    lines += [f"suspicion: {suspicion}" for suspicion in outcome.suspicions]
    lines.append(outcome.protection)
    write_whole(folder / f"{outcome.pseudonym}.log", "".join(f"{one_line(line, 600)}\n" for line in lines))


def table(summary: Summary) -> str:
    """The summary for the terminal; no names."""
    scores = [recorded.score for recorded in summary.recorded.values()]
    lines = [
        f"{summary.week}: {len(summary.outcomes)} submissions, {summary.executed} executed, "
        f"{summary.resumed} already done, {len(summary.failed)} not graded"
    ]
    if scores:
        lines.append(
            f"automatic points: median {statistics.median(scores):g}, "
            f"mean {statistics.fmean(scores):.1f}, lowest {min(scores):g}, highest {max(scores):g}"
        )
        counts = Counter(int(score) for score in scores)
        wide = max(counts.values())
        for points in sorted(counts):
            bar = "█" * max(1, round(30 * counts[points] / wide))
            lines.append(f"  {points:3d}  {bar} {counts[points]}")
    waiting = sum(bool(recorded.waiting) for recorded in summary.recorded.values())
    if waiting:
        lines.append(f"{waiting} have answers that a person must grade: Formgrader in JupyterLab")
    lines += [
        f"NOT GRADED  {pseudonym}: {one_line(why)}" for pseudonym, why in sorted(summary.failed.items())
    ]
    lines += sorted(summary.protection - {""})
    lines.append(", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in summary.seconds.items()))
    return "\n".join(lines)


def nbgrader_config(course: Course) -> Config:
    """nbgrader's settings, of which the rule for late submissions counts here."""
    path = course.folder / "nbgrader_config.py"
    if not path.is_file():
        path = ROOT / "grading" / "nbgrader_config.py"
    return PyFileConfigLoader(path.name, str(path.parent)).load_config()


class Clock:
    """Wall seconds of named phases."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, phase: str) -> Any:
        return _Phase(self, phase)


class _Phase:
    def __init__(self, clock: Clock, phase: str) -> None:
        self.clock, self.phase = clock, phase

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        took = time.perf_counter() - self.start
        self.clock.seconds[self.phase] = self.clock.seconds.get(self.phase, 0.0) + took
