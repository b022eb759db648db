"""The bank: right and wrong answers to an exercise, run against its tests: `make bank WEEK=…`.

grading/bank/WEEK.py holds answers that people gave or might give (grading/bank/README.md has the format);
mutants of the reference solution come on top (`mutants`). A right answer must pass the test of its
gap, whatever the grading seed; a wrong one must fail it, by an assertion that says what is wrong; a mutant
must fail it somehow, unless the bank lists it as equivalent.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import importlib
import json
import os
import random
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, pairwise, takewhile
from pathlib import Path

from grading.proving.executor import TIMEOUT, Cell, Job, Result, modules_of, run_forked
from grading.proving.mutants import mutants
from tools import notebooks
from tools.command import one_line
from tools.notebooks import ROOT, SourceError

RIGHT_PER_GAP = 3
WRONG_PER_GAP = 1
SAMPLE = 24  # mutants of a week in `make test`, besides all those of gaps that changed
MUTANT_SECONDS = 10.0  # of processor time; some never end
TRAINS = "threshold is empirical"  # in the test of a gap that trains: seconds for each run
HEADER = re.compile(r'# %% (right|wrong|equivalent)="(\w+)"\s*')
CHANGE = re.compile(r"# ([-+])(?: (.*)|)")


@dataclass(frozen=True)
class Exercise:
    """The code cells of an exercise's source in order, solved; `points` of each gap that has a test."""

    week: str
    cells: list[Cell]
    points: dict[str, float]

    def slice(self, gap: str, source: str = "") -> list[Cell]:
        """The cells that the test of `gap` needs, with `source` in place of its solution.

        That is the setup cell and, backwards from the test, each cell that sets a name in use further down.
        """
        chosen: list[Cell] = []
        needed: set[str] = set()
        for cell in reversed(self.cells):
            if cell.kind == "solution" and cell.name == gap:
                cell = Cell(cell.kind, cell.name, source or cell.source)
                take = True
            elif cell.kind == "test":
                take = cell.name == gap
            else:
                take = cell.name == "setup" or bool(cell.sets & needed)
            if take:
                chosen.append(cell)
                needed |= cell.uses
        return chosen[::-1]

    def cell(self, kind: str, gap: str) -> str:
        """The source of a gap's solution or test."""
        return next(cell.source for cell in self.cells if (cell.kind, cell.name) == (kind, gap))

    def trains(self, gap: str) -> bool:
        return TRAINS in self.cell("test", gap)

    def digest(self, gap: str) -> str:
        """Of all cells that the gap's test needs, but for the setup cell, which is the same for all weeks."""
        text = "\0".join(cell.source for cell in self.slice(gap) if cell.name != "setup")
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Entry:
    """An answer to a gap; kind: right, wrong, equivalent (to the reference) or mutant; name: its place."""

    name: str
    kind: str
    text: str
    gap: str
    source: str

    @property
    def right(self) -> bool:
        return self.kind in ("right", "equivalent")


@dataclass(frozen=True)
class Verdict:
    """What an entry did with one seed, and what is wrong with that ("" if nothing)."""

    entry: Entry
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
    """The reference solution of each gap and all answers of the week's file."""
    entries = [
        Entry(f"reference {gap}", "right", "the reference solution", gap, exercise.cell("solution", gap))
        for gap in exercise.points
    ]
    path = root / "grading" / "bank" / f"{exercise.week}.py"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    starts = [i for i, line in enumerate(lines) if line.startswith("# %%")] + [len(lines)]
    for start, end in pairwise(starts):
        name = f"{path.relative_to(root).as_posix()}:{start + 1}"
        try:
            entries += _read_cell(name, lines[start], lines[start + 1 : end], exercise)
        except (SourceError, SyntaxError) as error:
            raise SourceError(f"{name}: {error}") from None
    return entries


def _read_cell(name: str, header: str, lines: list[str], exercise: Exercise) -> Iterator[Entry]:
    """A cell's answer; of `equivalent` cells, which share a reason, one for each change."""
    match = HEADER.fullmatch(header)
    if not match:
        raise SourceError('a cell begins with # %% right="gap", # %% wrong="gap" or # %% equivalent="gap"')
    kind, gap = match.groups()
    if gap not in exercise.points:
        raise SourceError(f"there is no gap {gap!r} with a test; there are {', '.join(exercise.points)}")
    head = list(takewhile(lambda line: line.startswith("# ") and not CHANGE.fullmatch(line), lines))
    text, rest = " ".join(line[2:] for line in head), lines[len(head) :]
    if not text:
        raise SourceError("begins with a comment that names the style, the misconception or the reason")
    code = [line for line in rest if not line.startswith("#")]
    if any(line.strip() for line in code):
        if kind == "equivalent":
            raise SourceError("an equivalent mutant is given by its changed lines, # - old and # + new")
        source = "\n".join(rest).strip()
        ast.parse(source)
        yield Entry(name, kind, text, gap, source)
        return
    if kind == "right":
        raise SourceError("a right answer is written as a whole")
    changes = _changes(rest)
    if not changes:
        raise SourceError("holds neither code nor changed lines, # - old and # + new")
    for group in [[change] for change in changes] if kind == "equivalent" else [changes]:
        yield Entry(name, kind, text, gap, change(exercise.cell("solution", gap), group))


Change = tuple[list[str], list[str]]  # old lines, new lines


def _changes(lines: list[str]) -> list[Change]:
    """The changes in a cell: each is `# - old` lines, then `# + new` ones; an empty comment parts two."""
    changes: list[Change] = []
    before = ""
    for line in lines:
        match = CHANGE.fullmatch(line)
        sign = match[1] if match else ""
        if match and sign == "-":
            if before != "-":
                changes.append(([], []))
            changes[-1][0].append(match[2] or "")
        elif match:
            if not before:
                raise SourceError(f"{line!r} needs the line before it that it replaces: # - old")
            changes[-1][1].append(match[2] or "")
        elif line.strip(" #"):
            raise SourceError(f"{line!r} stands among changed lines and begins with neither # - nor # +")
        before = sign
    return changes


def change(reference: str, changes: Iterable[Change]) -> str:
    """The reference with these lines changed; SourceError where it has the old ones not exactly once."""
    lines = reference.split("\n")
    places = []
    for old, new in changes:
        wanted = [line.strip() for line in old]
        found = [i for i in range(len(lines)) if [line.strip() for line in lines[i : i + len(old)]] == wanted]
        if len(found) != 1:
            times = f"{len(found)} times" if found else "no longer"
            raise SourceError(f"the reference solution has this {times}, once expected: {' ⏎ '.join(wanted)}")
        places.append((found[0], old, new))
    for start, old, new in sorted(places, reverse=True):
        deeper = _indent(lines[start]) - _indent(old[0])
        lines[start : start + len(old)] = [" " * (_indent(line) + deeper) + line.strip() for line in new]
    source = "\n".join(lines)
    ast.parse(source)
    return source


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def as_change(reference: str, source: str) -> str:
    """The difference in the bank's own form, to be pasted there."""
    lines = [
        line
        for line in difflib.ndiff(reference.split("\n"), source.split("\n"))
        if line.startswith(("- ", "+ "))
    ]
    margin = min(_indent(line[2:]) for line in lines)
    return "\n".join(f"# {line[:2]}{line[2 + margin :]}" for line in lines)


def read_mutants(exercise: Exercise, entries: Iterable[Entry], gap: str) -> list[Entry]:
    """The gap's mutants without those that the bank lists as equivalent.

    A gap that trains takes seconds for each run, and most changes give another training, as good or worse: of
    its mutants there are only those that leave a line out.
    """
    reference = exercise.cell("solution", gap)
    listed = {ast.dump(ast.parse(e.source)): e for e in entries if e.kind == "equivalent" and e.gap == gap}
    found: list[Entry] = []
    for mutant in mutants(reference):
        if listed.pop(ast.dump(ast.parse(mutant.source)), None):
            continue
        if mutant.left_out or not exercise.trains(gap):
            number = len(found) + 1
            text = as_change(reference, mutant.source)
            found.append(Entry(f"mutant {number} of {gap}", "mutant", text, gap, mutant.source))
    for entry in listed.values():
        raise SourceError(
            f"{entry.name}: {gap!r} has no such mutant (any more): mend the change or delete it"
        )
    return found


def missing(exercise: Exercise, entries: list[Entry]) -> list[str]:
    """One line for each gap with too few answers."""
    lines = []
    for gap in exercise.points:
        for kind, least in (("right", RIGHT_PER_GAP), ("wrong", WRONG_PER_GAP)):
            count = sum(
                (e.kind, e.gap) == (kind, gap) and not e.name.startswith("reference") for e in entries
            )
            if count < least:
                lines.append(f"gap {gap!r} has {count} {kind} answers in the bank, needs {least}")
    return lines


def judge(entry: Entry, seed: int, result: Result) -> Verdict:
    """Compare what happened with what should."""
    said = f"{result.error}: {result.message}" if result.error != "AssertionError" else result.message
    fault = ""
    if entry.kind == "right" and not result.passed:
        fault = f"is right, but lost {entry.gap!r}: {said}"
    elif entry.kind == "equivalent" and not result.passed:
        fault = f"is listed as equivalent, but the test of {entry.gap!r} tells it apart: {said}"
    elif entry.kind == "mutant" and result.passed:
        fault = f"passes {entry.gap!r}: mend the test, or list it as equivalent with the reason"
    elif entry.kind == "wrong" and result.passed:
        fault = f"is wrong, but passed {entry.gap!r}"
    elif entry.kind == "wrong" and result.error != "AssertionError":
        fault = f"should fail {entry.gap!r} by an assertion that explains, but ended in {said}"
    elif entry.kind == "wrong" and not result.message.strip():
        fault = f"failed {entry.gap!r} by an assertion without a message"
    return Verdict(entry, seed, result, fault)


def run(exercise: Exercise, entries: list[Entry], seeds: Sequence[int] = (0,)) -> Iterator[Verdict]:
    """Verdicts of all entries under all seeds, in the order in which they are ready."""
    jobs: list[Job] = []
    owners: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: not exercise.trains(entry.gap)):  # the longest first
        endless = entry.kind == "mutant" and not exercise.trains(entry.gap)
        seconds = MUTANT_SECONDS if endless else TIMEOUT
        job = Job(f"{len(jobs)}", exercise.slice(entry.gap, entry.source), tuple(seeds), seconds)
        jobs.append(job)
        owners[job.label] = entry
    for job, results in run_forked(jobs):
        entry = owners[job.label]
        for seed in job.seeds:
            yield judge(entry, seed, results[seed][entry.gap])


def sample(exercise: Exercise, entries: list[Entry], clean: dict[str, str]) -> list[Entry]:
    """All mutants of gaps that changed since the last clean run of all, and some of the others.

    Which ones depends on what the exercise contains and on nothing else.
    """
    changed: list[Entry] = []
    others: list[Entry] = []
    for gap in exercise.points:
        found = read_mutants(exercise, entries, gap)
        (others if clean.get(gap) == exercise.digest(gap) else changed).extend(found)
    rng = random.Random(" ".join(exercise.digest(gap) for gap in exercise.points))
    return changed + rng.sample(others, min(SAMPLE, len(others)))


def read_clean(week: str, root: Path = ROOT) -> dict[str, str]:
    """Gap → digest at the last run of all its mutants that found nothing."""
    path = root / "grading" / "bank" / "clean.json"
    return json.loads(path.read_text(encoding="utf-8")).get(week, {}) if path.exists() else {}


def write_clean(exercise: Exercise, gaps: Iterable[str], root: Path = ROOT) -> None:
    """Note that all mutants of these gaps fail; of the others, that it is not known."""
    path = root / "grading" / "bank" / "clean.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known[exercise.week] = {gap: exercise.digest(gap) for gap in gaps}
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def preload(exercise: Exercise, entries: list[Entry]) -> None:
    """Import what the cells import, once, before the first fork; TensorFlow must run no operation here."""
    os.environ.setdefault("MPLBACKEND", "agg")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # as many processes as cores run side by side
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    sources = [cell.source for cell in exercise.cells] + [entry.source for entry in entries]
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
    return sorted(path.stem for path in (root / "grading" / "bank").glob("*.py"))


def check(week: str, seeds: int, verbose: bool = False, root: Path = ROOT, gaps: Iterable[str] = ()) -> bool:
    """Run a week's bank and all mutants, print what is wrong and a summary; True if nothing is."""
    start = time.perf_counter()
    exercise = read_exercise(week, root)
    entries = read_entries(exercise, root)
    lacking = missing(exercise, entries)
    for lack in lacking:
        print(f"MISSING  {lack}")
    mutated = [mutant for gap in exercise.points for mutant in read_mutants(exercise, entries, gap)]
    answers, mutated = ([e for e in some if not gaps or e.gap in gaps] for some in (entries, mutated))
    preload(exercise, entries)
    faulty: set[str] = set()
    faults = 0
    for verdict in chain(run(exercise, answers, range(seeds)), run(exercise, mutated)):
        entry, result = verdict.entry, verdict.result
        where = f"{entry.name} (seed {verdict.seed})"
        if verdict.fault:
            faults += 1
            faulty.add(entry.gap)
            print(f"FAULT    {where} {verdict.fault}\n{entry.text}", flush=True)
        elif verbose:
            said = "passes" if result.passed else f"fails: {result.message}"
            print(f"ok       {where} {entry.gap} {result.seconds:.1f} s, {said}", flush=True)
    counts = ", ".join(
        f"{sum(e.kind == kind for e in answers)} {kind}" for kind in ("right", "wrong", "equivalent")
    )
    print(
        f"{week}: {len(exercise.points)} gaps, answers: {counts}, {seeds} seed{'s' * (seeds != 1)}; "
        f"{len(mutated)} mutants: {faults} faults, {len(lacking)} missing, "
        f"{time.perf_counter() - start:.0f} s"
    )
    if not gaps:
        write_clean(exercise, [gap for gap in exercise.points if gap not in faulty], root)
    return not faults and not lacking


@one_line(SourceError)
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="grading.proving.bank", description=__doc__.splitlines()[0])
    parser.add_argument("weeks", nargs="*", metavar="WEEK", help="such as week03_rbm; all by default")
    parser.add_argument("--seeds", type=int, default=1, help="grading seeds to run, from 0 on (default 1)")
    parser.add_argument("--gap", action="append", default=[], help="only this gap (may be repeated)")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="print each answer and the test's message"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    good = [
        check(week, options.seeds, options.verbose, root, options.gap)
        for week in options.weeks or banks(root)
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
