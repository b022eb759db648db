"""One grading run: from the folder of submissions to gradebook, feedback and report.

Every result goes into the ledger as soon as it is there, and everything is recorded from the ledger at the
end, so that a run can be killed at any moment and started again.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
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
from grading.intake.repair import repair
from grading.model import Assignment, GapResult, Job, Limits, Outcome, Repaired, Submission
from grading.results import feedback, lms, report
from grading.results.ledger import Ledger, key
from grading.results.record import Differences, Recorded, Recorder, automatic_marks, differences
from tools.notebooks import ROOT

# Modules and rooms on which no result depends. A new one counts until it is named here.
NO_RESULT = set(
    "__main__ run files gradebook nbgrader_config archive collect people engine results proving".split()
)
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
    protection: set[str] = field(
        default_factory=set
    )  # what kept submissions to their limits, what nothing did
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


def grade(course: Course, week: str, options: Options, say: Callable[[str], None] = print) -> Summary:
    """Grade what has been handed in for a week. Raises only for what concerns everybody, in one line."""
    summary, clock = Summary(week), Clock()
    assignment = assignment_from_gradebook(course.address, week, course.root)
    secrets = secrets_for(course.folder)
    ledger = Ledger(course.folder / "ledger", secrets.key)

    def submissions() -> Iterator[Submission]:
        return collect.submissions(course.submitted, week, options.students)

    def name(submission: Submission) -> str:
        seed = seed_of(submission, assignment, options, secrets)
        return key(submission.digest, assignment.digest, engine_version(), seed, options.limits)

    with clock("look"):
        waiting: list[str] = []
        for submission in submissions():
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
        jobs = make_jobs(collect.submissions(course.submitted, week, waiting), assignment, options, secrets)
        bar = tqdm(total=len(waiting), desc=week, unit="notebook", disable=not waiting, file=sys.stdout)
        with bar:
            for outcome in execute(jobs, options):
                if ledger.put(summary.outcomes[students[outcome.pseudonym]], outcome):
                    summary.executed += 1
                else:
                    summary.failed[outcome.pseudonym] = outcome.failure
                summary.protection.add(outcome.protection)
                write_log(course.results(week) / "logs", outcome)
                bar.update()
    with clock("compare"):
        summary.changes = differences(course.address, assignment, results(summary, ledger, secrets))
    if summary.changes:
        say(summary.changes.text({s: secrets.pseudonym(s) for s in summary.outcomes}).rstrip())
        if not options.dry_run and not accepted(options.accept):
            say("nothing recorded: start again with --accept to record these changes; nothing runs twice")
            summary.status = NOT_ACCEPTED
    if not options.dry_run and summary.status == DONE:
        with clock("record"):
            record_all(course, assignment, submissions, summary, ledger, secrets, options)
    summary.seconds = clock.seconds
    if summary.status == DONE and summary.failed:
        summary.status = FAILED
    return summary


def seed_of(submission: Submission, assignment: Assignment, options: Options, secrets: Secrets) -> int:
    """From what the hidden tests of this upload draw their inputs."""
    return secrets.seed(submission.digest, assignment.digest) if options.seed is None else options.seed


def make_jobs(
    submissions: Iterable[Submission], assignment: Assignment, options: Options, secrets: Secrets
) -> Iterator[Job | Outcome]:
    """A job for each submission; the Outcome itself where there is nothing to execute."""
    for submission in submissions:
        pseudonym = secrets.pseudonym(submission.student)
        repaired = repair(submission.content, assignment)
        if repaired.problem:
            yield unreadable(pseudonym, assignment, repaired)
        else:
            seed = seed_of(submission, assignment, options, secrets)
            yield Job(pseudonym, assignment, repaired.variants, seed, options.limits)


def unreadable(pseudonym: str, assignment: Assignment, repaired: Repaired) -> Outcome:
    """No marks, and the reason in each gap."""
    tests = [cell for cell in assignment.cells if cell.kind == "test"]
    return Outcome(
        pseudonym,
        gaps=tuple(GapResult(t.gap, 0.0, t.points, False, "Unreadable", repaired.problem) for t in tests),
    )


def execute(jobs: Iterable[Job | Outcome], options: Options) -> Iterator[Outcome]:
    """Outcomes of the jobs and those that were there already."""
    ready: list[Outcome] = []

    def real() -> Iterator[Job]:
        for job in jobs:
            if isinstance(job, Outcome):
                ready.append(job)
            else:
                yield job

    for outcome in engine.execute(real(), options.place, options.make):
        while ready:
            yield ready.pop()
        yield outcome
    yield from ready


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
    secrets: Secrets,
    options: Options,
) -> None:
    """Gradebook, executed notebooks, feedback pages, the report and the tables, from the ledger."""
    week = assignment.week
    people = collect.people(course.submitted, week)
    unread = {entry.student: entry for entry in collect.report_of(course.submitted, week).unreadable}
    if options.students is not None:
        unread = {student: unread[student] for student in options.students if student in unread}
    with Recorder(course.address, course.autograded, assignment, people, options.config) as recorder:
        for submission in submissions():
            pseudonym = secrets.pseudonym(submission.student)
            repaired = repair(submission.content, assignment)
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
    with gradebook(course.address) as book:
        for submission in submissions():
            pseudonym = secrets.pseudonym(submission.student)
            repaired = repair(submission.content, assignment)
            outcome = ledger.get(summary.outcomes[submission.student], pseudonym)
            outcome = outcome or Outcome(pseudonym, failure=summary.failed[pseudonym])
            summary.protection.add(outcome.protection)
            recorded = summary.recorded[submission.student]
            if not outcome.failure:
                write_feedback(course, book, recorded, outcome, repaired, assignment)
            rows.append(row(recorded, outcome, repaired, submission.timestamp))
        for student, entry in unread.items():
            outcome = unreadable(secrets.pseudonym(student), assignment, nothing_read(entry))
            recorded = summary.recorded[student]
            write_feedback(course, book, recorded, outcome, nothing_read(entry), assignment)
            rows.append(row(recorded, outcome, nothing_read(entry), entry.handed_in))
        folder = course.results(week)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "report.html", report.report_page(rows, assignment))
        lms.write_grades(book, folder / "grades.csv", [week])
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
) -> None:
    """A student's page, with what persons have given."""
    week = assignment.week
    manual = feedback.manual_grades(book.find_submission_notebook(week, week, recorded.student), assignment)
    page = feedback.feedback_page(outcome, repaired, assignment, manual, penalty=recorded.penalty)
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
        said = "passed" if gap.passed else f"{gap.error}: {gap.message}".strip().splitlines()[0][:300]
        ended = f" [ended by {gap.ended_by}]" if gap.ended_by else ""
        lines.append(f"{gap.gap}: {gap.points:g} of {gap.max_points:g}, {gap.seconds:.1f} s, {said}{ended}")
    lines += [f"limit: {event.cell}: {event.words}" for event in outcome.limits_hit]
    lines += [f"suspicion: {suspicion}" for suspicion in outcome.suspicions]
    lines.append(outcome.protection)
    write_whole(folder / f"{outcome.pseudonym}.log", "\n".join(lines) + "\n")


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
    lines += [f"NOT GRADED  {pseudonym}: {why}" for pseudonym, why in sorted(summary.failed.items())]
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
