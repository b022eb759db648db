"""The bank: right and wrong answers to an exercise, run against its tests. `python -m grading.bank WEEK`.

Each file of grading/bank/WEEK/right and wrong replaces gaps of the exercise (grading/bank/README.md has the
format). Right answers must pass the tests of all gaps they replace, whatever the grading seed; a wrong answer
must fail the test of the gap it names, by an assertion that says what is wrong. Each gap needs at least three
right and two wrong answers.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import jupytext

from grading.executor import Cell, Job, Result, modules_of, run_forked
from tools import notebooks
from tools.notebooks import ROOT, SourceError

RIGHT_PER_GAP = 3
WRONG_PER_GAP = 2


@dataclass(frozen=True)
class Exercise:
    """The code cells of an exercise's source in order, solved; `points` of each gap that has a test."""

    week: str
    cells: list[Cell]
    points: dict[str, float]

    def slice(self, gaps: Iterable[str], replaced: dict[str, str]) -> list[Cell]:
        """The cells that the tests of `gaps` need, with replaced solutions put in.

        That is the setup cell and, backwards from the tests, each cell that sets a name in use further down.
        """
        wanted = set(gaps)
        chosen: list[Cell] = []
        needed: set[str] = set()
        for cell in reversed(self.cells):
            if cell.kind == "solution" and cell.name in replaced:
                cell = Cell(cell.kind, cell.name, replaced[cell.name])
                take = True
            elif cell.kind == "test":
                take = cell.name in wanted
            else:
                take = cell.name == "setup" or bool(cell.sets & needed) or cell.name in wanted
            if take:
                chosen.append(cell)
                needed |= cell.uses
        return chosen[::-1]


@dataclass(frozen=True)
class Entry:
    """One file of the bank, or the reference solution: the gaps to test and the cells it replaces."""

    name: str
    right: bool
    text: str
    gaps: tuple[str, ...]
    replaced: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What an entry did on one gap with one seed, and what is wrong with that ("" if nothing)."""

    entry: Entry
    gap: str
    seed: int
    result: Result
    fault: str


def read_exercise(week: str, root: Path = ROOT) -> Exercise:
    """The exercise of a week from its source."""
    found = [s for s in notebooks.find_sources(root) if s.stem == week and s.path.parent.name == week]
    if not found:
        raise SourceError(f"solutions/{week}/{week}.py does not exist")
    cells: list[Cell] = []
    points: dict[str, float] = {}
    for cell in notebooks.build(found[0], root).cells:
        meta = cell.metadata.get("nbgrader", {})
        if cell.cell_type != "code":
            continue
        name = meta.get("grade_id") or cell.metadata.get("title", "")
        kind = "test" if meta.get("grade") else "solution" if meta.get("solution") else "given"
        if kind == "test":
            name = name.removeprefix("test_")
            points[name] = meta["points"]
        cells.append(Cell(kind, name, cell.source))
    return Exercise(week, cells, points)


def read_entries(exercise: Exercise, root: Path = ROOT) -> list[Entry]:
    """The reference solution and all files of the week's bank."""
    folder = root / "grading" / "bank" / exercise.week
    entries = [Entry("solution", True, "the reference solution", tuple(exercise.points))]
    for path in sorted(folder.glob("*/*.py")):
        if path.parent.name not in ("right", "wrong"):
            raise SourceError(f"{path.relative_to(root)}: a bank's folders are called right and wrong")
        try:
            entries.append(_read_entry(path, exercise))
        except (SourceError, SyntaxError) as error:
            raise SourceError(f"{path.relative_to(root)}: {error}") from None
    return entries


def _read_entry(path: Path, exercise: Exercise) -> Entry:
    source = path.read_text(encoding="utf-8")
    text = ast.get_docstring(ast.parse(source))
    if not text:
        raise SourceError("needs a docstring that names the style or the misconception")
    replaced: dict[str, str] = {}
    for cell in jupytext.reads(source, fmt="py:percent").cells:
        if set(cell.metadata) - {"lines_to_next_cell"} == set():
            if cell.cell_type == "code" and not _only_docstring(cell.source):
                raise SourceError('code outside of a # %% solution="name" cell')
            continue
        name = cell.metadata.get("solution")
        if name not in exercise.points:
            known = ", ".join(exercise.points)
            raise SourceError(f"cell {dict(cell.metadata)} replaces no gap with a test; there are {known}")
        if name in replaced:
            raise SourceError(f"replaces {name!r} twice")
        replaced[name] = cell.source
    if not replaced:
        raise SourceError("replaces nothing")
    right = path.parent.name == "right"
    named = [line[4:].strip() for line in text.splitlines() if line.lower().startswith("gap:")]
    if right and named:
        raise SourceError("a right answer names no gap: it must pass all that it replaces")
    if not right and (len(named) != 1 or named[0] not in replaced):
        raise SourceError("a wrong answer's docstring must end in `Gap: name`, a gap that the file replaces")
    gaps = tuple(replaced) if right else tuple(named)
    return Entry(f"{path.parent.name}/{path.name}", right, text.splitlines()[0], gaps, replaced)


def _only_docstring(source: str) -> bool:
    body = ast.parse(source).body
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


def missing(exercise: Exercise, entries: list[Entry]) -> list[str]:
    """One line for each gap with too few answers."""
    lines = []
    for gap in exercise.points:
        for right, least in ((True, RIGHT_PER_GAP), (False, WRONG_PER_GAP)):
            count = sum(
                entry.right == right and bool(entry.replaced) and gap in entry.gaps for entry in entries
            )
            if count < least:
                word = "right" if right else "wrong"
                lines.append(f"gap {gap!r} has {count} {word} answers in the bank, needs {least}")
    return lines


def judge(entry: Entry, gap: str, seed: int, result: Result) -> Verdict:
    """Compare what happened with what should."""
    said = f"{result.error}: {result.message}" if result.error != "AssertionError" else result.message
    if entry.right:
        fault = "" if result.passed else f"is right, but lost {gap!r}: {said}"
    elif result.passed:
        fault = f"is wrong, but passed {gap!r}"
    elif result.error != "AssertionError":
        fault = f"should fail {gap!r} by an assertion that explains, but ended in {said}"
    elif not result.message.strip():
        fault = f"failed {gap!r} by an assertion without a message"
    else:
        fault = ""
    return Verdict(entry, gap, seed, result, fault)


Executor = Callable[[list[Job]], Iterable[tuple[Job, dict[str, Result]]]]


def run(
    exercise: Exercise, entries: list[Entry], seeds: Iterable[int] = (0,), execute: Executor = run_forked
) -> Iterable[Verdict]:
    """Verdicts of all entries under all seeds, in the order in which they are ready.

    execute: runs jobs (cells in order, a grading seed) and gives each test's result; the grader's two-kernel
    executor can stand in for the default, which runs a job in one forked process.
    """
    jobs, owners = [], {}
    for seed in seeds:
        for entry in entries:
            job = Job(f"{entry.name} seed {seed}", exercise.slice(entry.gaps, entry.replaced), seed)
            owners[job.label] = entry
            jobs.append(job)
    for job, results in execute(jobs):
        entry = owners[job.label]
        for gap in entry.gaps:
            yield judge(entry, gap, job.seed, results[gap])


def preload(exercise: Exercise, entries: list[Entry]) -> None:
    """Import what the cells import, once, before the first fork; TensorFlow must run no operation here."""
    os.environ.setdefault("MPLBACKEND", "agg")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # as many processes as cores run side by side
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    sources = [cell.source for cell in exercise.cells]
    sources += [source for entry in entries for source in entry.replaced.values()]
    names: dict[str, None] = {}
    for source in sources:
        with suppress(SyntaxError):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Import):
                    names |= dict.fromkeys(alias.name for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names |= dict.fromkeys([node.module, *(f"{node.module}.{a.name}" for a in node.names)])
    _import(names)
    _import(modules_of([cell for cell in exercise.cells if cell.name == "setup"]))  # imported by functions


def _import(names: Iterable[str]) -> None:
    """Import what can be imported, without what C++ libraries write to file descriptor 2 meanwhile."""
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        for name in names:
            with suppress(Exception):  # what cannot be imported fails where it is used
                importlib.import_module(name)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def banks(root: Path = ROOT) -> list[str]:
    """The weeks that have a bank."""
    return sorted(path.name for path in (root / "grading" / "bank").glob("*") if path.is_dir())


def check(week: str, seeds: int, verbose: bool = False, root: Path = ROOT) -> bool:
    """Run a week's bank and print what is wrong and a summary; True if nothing is."""
    start = time.perf_counter()
    exercise = read_exercise(week, root)
    entries = read_entries(exercise, root)
    lacking = missing(exercise, entries)
    for lack in lacking:
        print(f"MISSING  {lack}")
    preload(exercise, entries)
    faults = 0
    for verdict in run(exercise, entries, range(seeds)):
        faults += bool(verdict.fault)
        where = f"{verdict.entry.name} (seed {verdict.seed})"
        if verdict.fault:
            print(f"FAULT    {where} {verdict.fault}\n         {verdict.entry.text}", flush=True)
        elif verbose:
            said = "passes" if verdict.result.passed else f"fails: {verdict.result.message}"
            print(f"ok       {where} {verdict.gap} {verdict.result.seconds:.1f} s, {said}", flush=True)
    right = sum(entry.right for entry in entries)
    print(
        f"{week}: {len(exercise.points)} gaps, {right} right answers, {len(entries) - right} wrong ones, "
        f"{seeds} seed{'s' * (seeds != 1)}: {faults} faults, {len(lacking)} missing, "
        f"{time.perf_counter() - start:.0f} s"
    )
    return not faults and not lacking


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m grading.bank", description=__doc__.splitlines()[0])
    parser.add_argument("weeks", nargs="*", metavar="WEEK", help="such as week03_rbm; all by default")
    parser.add_argument("--seeds", type=int, default=1, help="grading seeds to run, from 0 on (default 1)")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="print each answer and the test's message"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    try:
        good = [check(week, options.seeds, options.verbose, root) for week in options.weeks or banks(root)]
    except SourceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
