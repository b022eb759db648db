"""The authoring check: is a week's exercise fit to be released? `python -m grading check WEEK`.

The solution must get all automatic points and the unsolved version none, through the grader's two
processes; the bank must behave; each automatic point needs a test, each test a hidden part that says what it
is about and, where chance is involved, its false-alarm bound; the times must fit; and all files of the week
must be in form (`grading/form.py`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from grading import bank, executor
from grading.assignment import assignment_from_source, solved, unsolved
from grading.engine import Place, execute
from grading.form import look_at_form, look_at_time
from grading.hidden import split_hidden
from grading.model import Assignment, CleanCell, Job, Outcome, TrustedCell
from grading.repair import repair
from tools.notebooks import ROOT

TEST_SECONDS = 15.0  # that a solution's graded cell may take, in both processes together
CHANCE = re.compile(r"_tolerance\(|permutation_test\(|threshold is empirical|assert_mean\(")
BOUND = re.compile(r"false[ -]alarm|empirical|alpha=|probability below", re.IGNORECASE)

SPOILT = "the arguments were spoilt"
# Sets all arrays that a test hands over to 0 in place, and only then computes: the test must notice.
SPOIL = """
def _spoil(function):
    import functools
    import numpy as np

    def zero(value):
        if isinstance(value, (list, tuple)):
            for part in value:
                zero(part)
        elif isinstance(value, np.ndarray) and value.flags.writeable and value.any():
            value[...] = 0
            print("the arguments were spoilt")
        elif hasattr(value, "assign") and np.any(value):
            value.assign(value * 0)
            print("the arguments were spoilt")

    @functools.wraps(function)
    def spoilt(*arguments, **options):
        zero([*arguments, *options.values()])
        return function(*arguments, **options)

    return spoilt


for _name in {names!r}:
    _thing = globals().get(_name)
    if isinstance(_thing, type):
        for _method, _function in list(vars(_thing).items()):
            if callable(_function):
                setattr(_thing, _method, _spoil(_function))
    elif callable(_thing):
        globals()[_name] = _spoil(_thing)
"""


@dataclass
class Report:
    """What was looked at, a line each, and what is wrong."""

    lines: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        self.faults.append(text)
        self.lines.append(f"FAULT  {text}")

    def good(self, text: str) -> None:
        self.lines.append(f"ok     {text}")

    def note(self, text: str) -> None:
        self.lines.append(f"note   {text}")


def look_at_tests(assignment: Assignment, report: Report) -> None:
    """Points, tests, hidden parts and bounds, from the cells alone."""
    solutions = {cell.gap for cell in assignment.cells if cell.kind == "solution"}
    tests = [cell for cell in assignment.cells if cell.kind == "test"]
    manual = [cell for cell in assignment.cells if cell.kind == "manual"]
    points = sum(cell.points for cell in tests)
    report.good(f"{len(tests)} tests with {points:g} automatic points")
    for cell in manual:
        report.lines.append(f"manual {cell.name}: {cell.points:g} points, pending until a person grades them")
    for gap in sorted(solutions - {cell.gap for cell in tests}):
        report.fault(f"gap {gap!r} has no test: nothing of it is graded")
    for cell in tests:
        look_at_test(cell, report)


def look_at_test(cell: TrustedCell, report: Report) -> None:
    """One test: its points, its hidden part and what that says, its bound."""
    if cell.points <= 0:
        report.fault(f"test of {cell.gap!r} has no points")
    _, hidden = split_hidden(cell.source)
    if not hidden:
        report.fault(f"test of {cell.gap!r} has no hidden part: its inputs can be looked up")
    else:
        if not hidden[0].lstrip().startswith("#"):
            report.fault(
                f"hidden part of {cell.gap!r} does not begin with a comment that says what it is about"
            )
        if "grading_rng(" not in "\n".join(hidden) and not CHANCE.search("\n".join(hidden)):
            report.fault(
                f"hidden part of {cell.gap!r} draws no input from stattests.grading_rng: it can be looked up"
            )
    if CHANCE.search(cell.source):
        stated = next((line.strip() for line in cell.source.splitlines() if BOUND.search(line)), "")
        if stated:
            report.good(f"{cell.gap}: {stated.lstrip('# ')}")
        else:
            report.fault(
                f"test of {cell.gap!r} involves chance, but states no false-alarm bound: say it in a comment"
            )


def job(assignment: Assignment, notebook: bytes, seed: int, name: str) -> Job:
    """A notebook of our own as a job."""
    return Job(name, assignment, repair(notebook, assignment).variants, seed)


def spoil(cells: Iterable[CleanCell], assignment: Assignment) -> tuple[CleanCell, ...]:
    """The cells, with functions that first set the arrays that a test hands them to 0 in place."""
    defines = {cell.name: cell.defines for cell in assignment.cells}
    return tuple(
        replace(cell, source=cell.source + "\n" + SPOIL.replace("{names!r}", repr(defines[cell.name])))
        if cell.kind == "solution" and cell.cell_type == "code"
        else cell
        for cell in cells
    )


def judge_spoilt(outcome: Outcome, report: Report) -> None:
    """A gap whose arrays were spoilt must lose its points."""
    printed = {run.cell.gap: str(run.outputs) for run in outcome.cells if run.cell.kind == "test"}
    if outcome.failure:
        report.fault(f"{outcome.pseudonym}: {outcome.failure}")
    lost = 0
    for gap in outcome.gaps:
        touched = SPOILT in printed.get(gap.gap, "")
        lost += touched and not gap.passed
        if touched and gap.passed:
            report.fault(
                f"test of {gap.gap!r} passes an answer that sets its arguments to 0 in place: compute what "
                "is right before the call, or hand over copies"
            )
    report.good(f"{lost} tests reject answers that change what they were given")


def judge_own(assignment: Assignment, outcomes: Iterable[Outcome], report: Report) -> None:
    """The solved version must have all points and take little time, the unsolved one must have none."""
    most = sum(cell.points for cell in assignment.cells if cell.kind == "test")
    for outcome in outcomes:
        if outcome.failure:
            report.fault(f"{outcome.pseudonym}: {outcome.failure}")
        elif outcome.pseudonym.startswith("solution"):
            for gap in outcome.gaps:
                if not gap.passed:
                    report.fault(f"{outcome.pseudonym} loses {gap.gap!r}: {gap.error}: {gap.message}")
                if gap.seconds > TEST_SECONDS:
                    report.fault(
                        f"test of {gap.gap!r} takes {gap.seconds:.0f} s, at most {TEST_SECONDS:.0f} s fit"
                    )
            if outcome.score == most:
                times = ", ".join(f"{gap.gap} {gap.seconds:.1f}" for gap in outcome.gaps)
                took = f"in {outcome.seconds:.0f} s ({times})"
                report.good(f"{outcome.pseudonym} gets all {most:g} automatic points {took}")
        elif outcome.score:
            gained = ", ".join(gap.gap for gap in outcome.gaps if gap.points)
            report.fault(f"the unsolved version gets {outcome.score:g} points: {gained}")
        else:
            report.good("the unsolved version gets no points")


def bank_executor(place: Place) -> Callable[[list[executor.Job]], Iterator[tuple[executor.Job, dict]]]:
    """An executor for grading.bank.run that sends each job through the grader's two processes."""

    def run(jobs: list[executor.Job]) -> Iterator[tuple[executor.Job, dict[str, executor.Result]]]:
        by_label = {job.label: job for job in jobs}
        for outcome in execute((as_grader_job(job) for job in jobs), place):
            results = {
                gap.gap: executor.Result(gap.passed, gap.error, gap.message, gap.seconds)
                for gap in outcome.gaps
            }
            for cell in by_label[outcome.pseudonym].cells:
                if cell.kind == "test":
                    lost = executor.Result(False, "GraderFailure", outcome.failure)
                    results.setdefault(cell.name, lost)
            yield by_label[outcome.pseudonym], results

    return run


def as_grader_job(job: executor.Job) -> Job:
    """A job of the bank, a slice of the solved exercise, as one of the grader's."""
    trusted, clean = [], []
    for number, cell in enumerate(job.cells):
        name = {"test": f"test_{cell.name}"}.get(cell.kind, cell.name) or f"given{number}"
        gap, points = (cell.name if cell.kind in ("test", "solution") else ""), float(cell.kind == "test")
        defines = tuple(sorted(cell.sets)) if cell.kind == "solution" else ()
        kind = cell.kind
        trusted.append(TrustedCell(name, kind, cell.source, points=points, gap=gap, defines=defines))  # type: ignore[arg-type]
        clean.append(CleanCell(name, kind, cell.source, gap=gap, points=points))  # type: ignore[arg-type]
    return Job(job.label, Assignment("bank", tuple(trusted)), (tuple(clean),), job.seed)


def check(
    week: str, seeds: int, place: Place, root: Path = ROOT, with_bank: bool = True, with_time: bool = False
) -> bool:
    """Run the whole check and print its report; True if the exercise is fit."""
    start, report = time.perf_counter(), Report()
    assignment = assignment_from_source(week, root)
    look_at_form(assignment, report, root)
    if with_time:
        look_at_time(week, report, root)
    look_at_tests(assignment, report)
    jobs = [job(assignment, solved(week, root), seed, f"solution, seed {seed}") for seed in range(seeds)]
    jobs.append(job(assignment, unsolved(assignment), 0, "unsolved"))
    spoilt = spoil(repair(solved(week, root), assignment).variants[0], assignment)
    jobs.append(Job("spoilt", assignment, (spoilt,), seed=0))
    outcomes = list(execute(jobs, place))
    judge_own(assignment, [outcome for outcome in outcomes if outcome.pseudonym != "spoilt"], report)
    judge_spoilt(next(outcome for outcome in outcomes if outcome.pseudonym == "spoilt"), report)
    if with_bank:
        exercise = bank.read_exercise(week, root)
        entries = bank.read_entries(exercise, root)
        for lack in bank.missing(exercise, entries):
            report.fault(lack)
        verdicts = list(bank.run(exercise, entries, range(seeds), bank_executor(place)))
        for verdict in verdicts:
            if verdict.fault:
                report.fault(f"{verdict.entry.name} (seed {verdict.seed}) {verdict.fault}")
        report.good(f"bank: {len(entries)} answers, {len(verdicts)} verdicts")
    print("\n".join(report.lines))
    print(
        f"{week}: {len(report.faults)} faults, {time.perf_counter() - start:.0f} s; "
        + ("not fit to be released" if report.faults else "fit to be released")
    )
    return not report.faults
