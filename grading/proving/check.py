"""The authoring check: is a week's exercise fit to be released? `python -m grading check WEEK`.

The solution must get all automatic points and the unsolved version none, through the grader's two
processes; the bank must behave; each automatic point needs a test, each test a hidden part that says what it
is about and, where chance is involved, its false-alarm bound; the times must fit; and all files of the week
must be in form (`grading/proving/form.py`).
"""

from __future__ import annotations

import ast
import itertools
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from grading.assignment import assignment_from_source, solved, unsolved
from grading.execution.engine import Place, execute
from grading.intake.repair import repair
from grading.model import Assignment, CleanCell, Job, Outcome, TrustedCell, split_hidden
from grading.proving import bank, executor
from grading.proving import spoil as spoiler
from grading.proving.form import look_at_form, look_at_time
from tools.notebooks import ROOT

TEST_SECONDS = 15.0  # that a solution's graded cell may take, in both processes together
CHANCE = re.compile(r"_tolerance\(|permutation_test\(|threshold is empirical|assert_mean\(")
BOUND = re.compile(r"false[ -]alarm|empirical|alpha=|probability below", re.IGNORECASE)


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
    """The cells, with functions that first set all arrays that a test hands them to 0 in place."""
    defines = {cell.name: cell.defines for cell in assignment.cells}
    code = Path(spoiler.__file__).read_text(encoding="utf-8")
    return tuple(
        replace(
            cell, source=f"{cell.source}\n{code}\nSpoiler({defines[cell.name]!r}, globals()).chosen = 'all'"
        )
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
        touched = spoiler.SPOILT in printed.get(gap.gap, "")
        lost += touched and not gap.passed
        if touched and gap.passed:
            report.fault(spoils(gap.gap, "its arguments", "first"))
    report.good(f"{lost} tests reject answers that set all their arguments to 0")


def spoils(gap: str, what: str, when: str) -> str:
    """What is wrong with a test that a spoiling answer passes."""
    return (
        f"test of {gap!r} passes an answer that {when} sets {what} to 0 in place: hand over copies with "
        "`stattests.call`, which looks at them afterwards"
    )


def spoilt_one_by_one(exercise: bank.Exercise, gap: str) -> executor.Job:
    """The gap's test again and again, in one process: each argument spoilt alone, then in pairs.

    Alone also after the answer has been computed. A gap that trains does so once. Named by what is spoilt
    and when.
    """
    *cells, test = exercise.slice(gap)
    solution = next(cell for cell in cells if (cell.kind, cell.name) == ("solution", gap))
    names = sorted(solution.sets)
    functions = [node for node in ast.walk(ast.parse(solution.source)) if isinstance(node, ast.FunctionDef)]
    arguments = list(
        dict.fromkeys(a.arg for f in functions if f.name in names for a in f.args.args + f.args.kwonlyargs)
    )
    trains = exercise.trains(gap)
    install = f"from grading.proving.spoil import Spoiler\n_spoiler = Spoiler({names!r}, globals(), {trains})"
    cells += [executor.Cell("given", "spoiler", install), executor.Cell("test", "plain", test.source)]
    ways: list[tuple[tuple[str, ...], bool]] = [((a,), late) for a in arguments for late in (False, True)]
    ways += [(pair, False) for pair in itertools.combinations(arguments, 2)]
    for chosen, late in ways:
        name = f"{'afterwards' if late else 'first'} {' and '.join(chosen)}"
        start = f"_spoiler.start({chosen!r}, {late})\n"
        cells.append(executor.Cell("test", name, start + test.source))
    return executor.Job(gap, cells, timeout=3 * executor.TIMEOUT)


def judge_one_by_one(gap: str, results: dict[str, executor.Result], report: Report) -> None:
    """Each way to spoil an argument must fail the test, unless it has no array."""
    tried = {name: result for name, result in results.items() if result.error != "Untouched"}
    if not tried.pop("plain").passed:
        return report.fault(f"{gap!r}: the solution loses its points while its arguments are watched")
    for name, result in tried.items():
        when, what = name.split(" ", 1)
        if result.passed:
            report.fault(spoils(gap, what, when))


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


def look_at_bank(exercise: bank.Exercise, entries: list[bank.Entry], seeds: int, report: Report) -> None:
    """The answers of the bank, a sample of mutants, arguments spoilt one by one; all in forked processes."""
    for lack in bank.missing(exercise, entries):
        report.fault(lack)
    bank.preload(exercise, entries)
    answers = [entry for entry in entries if entry.kind in ("right", "wrong")]
    mutants = bank.sample(exercise, entries, bank.read_clean(exercise.week))
    verdicts = [*bank.run(exercise, answers, range(seeds)), *bank.run(exercise, mutants)]
    for verdict in verdicts:
        if verdict.fault:
            report.fault(f"{verdict.entry.name} (seed {verdict.seed}) {verdict.fault}\n{verdict.entry.text}")
    report.good(f"bank: {len(answers)} answers and {len(mutants)} mutants, {len(verdicts)} verdicts")
    ways = 0
    for job, results in executor.run_forked([spoilt_one_by_one(exercise, gap) for gap in exercise.points]):
        judge_one_by_one(job.label, results[0], report)
        ways += len(results[0])
    report.good(f"arguments set to 0 one at a time and in pairs, in {ways} ways")


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
        look_at_bank(exercise, bank.read_entries(exercise, root), seeds, report)
    print("\n".join(report.lines))
    print(
        f"{week}: {len(report.faults)} faults, {time.perf_counter() - start:.0f} s; "
        + ("not fit to be released" if report.faults else "fit to be released")
    )
    return not report.faults
