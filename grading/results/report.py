"""The instructor's page: what was hard, what needs a person, what each submission used. No names.

One HTML file without scripts, a few kilobytes for each submission.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from grading.model import Assignment, GapResult, Outcome, Repaired
from grading.results import pages, times
from grading.results.harmless import one_line

NUMBER = r"[-−+]?(?:\d[\d,_]*\.?\d*|\.\d+)(?:e[-+]?\d+)?%?"
NUMBERS = re.compile(rf"(?<![A-Za-z_\d]){NUMBER}(?:[\s,;]+{NUMBER})*", re.ASCII)
SPACES = re.compile(r"(?<=[\[(])\s+|\s+(?=[\])])")
MESSAGES = 5  # of each gap
EVIDENCE = 20  # suspicions of one submission
BARS = 24  # of a histogram


@dataclass(frozen=True)
class ReportRow:
    """One submission in the report.

    waiting: names of manual cells that nobody has graded yet; None: all of the exercise's. penalty: points
    taken for handing in late.
    """

    pseudonym: str
    outcome: Outcome
    repaired: Repaired
    timestamp: str = ""
    late: bool = False
    penalty: float = 0.0
    waiting: tuple[str, ...] | None = None

    @property
    def graded(self) -> bool:
        return not self.outcome.failure

    @property
    def is_late(self) -> bool:
        return self.late or self.penalty > 0


@dataclass(frozen=True)
class Message:
    """What a test said to several students, numbers aside."""

    text: str  # of one of them
    count: int
    hidden: bool
    others: bool  # the numbers differ


@dataclass(frozen=True)
class Gap:
    """How a test went for the class."""

    name: str
    title: str
    points: float
    full: int
    part: int
    none: int
    mean: float  # points
    open: int  # not answered: the stub still raises NotImplementedError
    messages: tuple[Message, ...]
    more: int  # messages that are left out

    @property
    def n(self) -> int:
        return self.full + self.part + self.none

    @property
    def share(self) -> float:
        return self.full / self.n if self.n else 0.0


@dataclass(frozen=True)
class Bar:
    """Submissions with low ≤ points < high (the last bar: ≤)."""

    label: str
    count: int


def report_page(
    rows: Sequence[ReportRow],
    assignment: Assignment,
    *,
    seconds: float | None = None,
    made: str = "",
    zone: ZoneInfo | None = None,
    due: str = "",
) -> str:
    """The page, a whole HTML file.

    seconds: wall time of the run, made: when it was, due: the deadline (texts), if they are to be shown.
    zone: of the times in it, UTC by default.
    """
    rows = sorted(rows, key=lambda row: (row.graded, -row.outcome.score, row.pseudonym))
    tests = [cell for cell in assignment.cells if cell.kind == "test"]
    manual = [cell for cell in assignment.cells if cell.kind == "manual"]
    titles = pages.gap_titles(assignment)
    readable = [row for row in rows if row.graded and not row.repaired.problem]
    scores = [row.outcome.score for row in rows if row.graded]
    most = sum(cell.points for cell in tests)
    values = {
        "title": pages.title(assignment),
        "week": assignment.week,
        "made": made,
        "due": due,
        "zone": (zone or times.zone()).key,
        "seconds": seconds,
        "rows": rows,
        "entries": _entries(rows, [cell.gap for cell in tests], zone or times.zone()),
        "gaps": gaps(readable, assignment, titles),
        "scores": scores,
        "most": most,
        "manual_points": sum(cell.points for cell in manual),
        "median": statistics.median(scores) if scores else 0.0,
        "mean": statistics.fmean(scores) if scores else 0.0,
        "bars": histogram(scores, most),
        "late": sum(row.is_late for row in rows),
        "student_seconds": sum(row.outcome.student_seconds for row in rows),
        "used": _used(readable),
        "needs": _needs(rows, assignment, titles),
        "ended": _ended(rows, titles),
        "repairs": _grouped(repair for row in rows for repair in row.repaired.repairs),
        "mended": sum(bool(row.repaired.repairs) for row in rows),
        "untouched": len(rows) - len(readable),
        "protection": sorted({row.outcome.protection for row in rows} - {""}),
    }
    return pages.page("report.html", values)


def gaps(rows: Sequence[ReportRow], assignment: Assignment, titles: Mapping[str, str]) -> list[Gap]:
    """Each test over all rows, in the exercise's order."""
    left = [list(row.outcome.gaps) for row in rows]
    found = []
    for cell in assignment.cells:
        if cell.kind != "test":
            continue
        results: list[GapResult] = []
        for own in left:
            result = next((result for result in own if result.gap == cell.gap), None)
            if result is not None:
                own.remove(result)
                results.append(result)
        messages = _messages(results)
        full = sum(result.points >= cell.points for result in results)
        none = sum(result.points <= 0 < cell.points for result in results)
        found.append(
            Gap(
                cell.gap or cell.name,
                titles.get(cell.gap, cell.gap) or cell.name,
                cell.points,
                full,
                len(results) - full - none,
                none,
                statistics.fmean(result.points for result in results) if results else 0.0,
                sum(result.error == "NotImplementedError" for result in results),
                tuple(messages[:MESSAGES]),
                len(messages[MESSAGES:]),
            )
        )
    return found


def _messages(results: Iterable[GapResult]) -> list[Message]:
    """What failed tests said, most frequent first, numbers aside."""
    groups: dict[tuple[str, str, bool], list[str]] = {}
    for result in results:
        if result.passed or result.error == "NotImplementedError":
            continue
        if result.ended_by:
            text, short = pages.limit_words(result.ended_by)[0], result.ended_by
        else:
            text = one_line(result.message)
            if result.error not in ("AssertionError", "") and not text.startswith(result.error):
                text = f"{one_line(result.error, 80)}: {text}".removesuffix(": ")
            text = text or "(no message)"
            short = SPACES.sub("", NUMBERS.sub("#", text))
        groups.setdefault((result.ended_by, short, result.hidden), []).append(text)
    made = [
        Message(texts[0], len(texts), hidden, len(set(texts)) > 1) for (_, _, hidden), texts in groups.items()
    ]
    return sorted(made, key=lambda message: -message.count)


def histogram(scores: Sequence[float], most: float) -> list[Bar]:
    """A bar for each point, or for several where there are many."""
    width = max(1, math.ceil((most + 1) / BARS))
    count = math.floor(most / width) + 1
    bars = [0] * count
    for score in scores:
        bars[min(count - 1, max(0, math.floor(score / width + 1e-9)))] += 1
    labels = [f"{i * width}" if width == 1 else f"{i * width}–{i * width + width - 1}" for i in range(count)]
    return [Bar(label, n) for label, n in zip(labels, bars, strict=True)]


def _entries(rows: Sequence[ReportRow], gap_names: Sequence[str], zone: ZoneInfo) -> list[dict[str, Any]]:
    """The lines of the table of submissions."""
    entries = []
    for index, row in enumerate(rows):
        left = list(row.outcome.gaps)
        cells = []
        for name in gap_names:
            result = next((result for result in left if result.gap == name), None)
            if result is None or not row.graded:
                cells.append(("wait", "–", "not graded"))
                continue
            left.remove(result)
            state = "full" if result.points >= result.max_points else "part" if result.points > 0 else "none"
            said = "passed" if result.passed else one_line(result.message, 120) or result.error
            cells.append((state, f"{result.points:g}", said))
        entries.append(
            {
                "row": row,
                "id": f"submission-{index}",
                "cells": cells,
                "handed_in": times.local(row.timestamp, zone, "%a %d %b %H:%M"),
                "limits": sorted(
                    {result.ended_by for result in row.outcome.gaps if result.ended_by}
                    | {event.limit for event in row.outcome.limits_hit}
                ),
            }
        )
    return entries


def _used(rows: Sequence[ReportRow]) -> dict[str, float]:
    """The largest and the middle of time and memory, for the bars."""
    times, sizes = ([row.outcome.seconds for row in rows], [row.outcome.peak_memory for row in rows])
    return {
        "most_seconds": max(times, default=0.0),
        "middle_seconds": statistics.median(times) if times else 0.0,
        "most_memory": max(sizes, default=0),
        "middle_memory": statistics.median(sizes) if sizes else 0,
    }


def _needs(
    rows: Sequence[ReportRow], assignment: Assignment, titles: Mapping[str, str]
) -> dict[str, list[Any]]:
    """What a person must look at, by kind; (index in the table, pseudonym, words)."""
    manual = [cell.name for cell in assignment.cells if cell.kind == "manual"]
    needs: dict[str, list[Any]] = {
        "failed": [],
        "suspicions": [],
        "unreadable": [],
        "doubts": [],
        "manual": [],
    }
    pending = dict.fromkeys(manual, 0)
    for index, row in enumerate(rows):
        if row.outcome.failure:
            needs["failed"].append((index, row.pseudonym, [row.outcome.failure]))
        elif row.repaired.problem:
            needs["unreadable"].append((index, row.pseudonym, [row.repaired.problem]))
        if row.outcome.suspicions:
            said = list(dict.fromkeys(row.outcome.suspicions))
            if len(said) > EVIDENCE:
                said = [*said[:EVIDENCE], f"and {len(said) - EVIDENCE} more"]
            needs["suspicions"].append((index, row.pseudonym, said))
        if row.repaired.doubts and not row.repaired.problem:
            doubts = [
                f"{titles.get(doubt.cell, doubt.cell)}: {doubt.reason}" for doubt in row.repaired.doubts
            ]
            needs["doubts"].append((index, row.pseudonym, doubts[:EVIDENCE]))
        waiting = manual if row.waiting is None else row.waiting
        for name in waiting if row.graded and not row.repaired.problem else ():
            pending[name] = pending.get(name, 0) + 1
    needs["manual"] = [(titles.get(name, name), name, count) for name, count in pending.items() if count]
    return needs


def _ended(rows: Sequence[ReportRow], titles: Mapping[str, str]) -> list[tuple[str, list[Any]]]:
    """Limit → submissions that it ended something of: (index, pseudonym, where)."""
    found: dict[str, dict[int, list[str]]] = {}
    for index, row in enumerate(rows):
        where = [(result.ended_by, result.gap) for result in row.outcome.gaps if result.ended_by]
        where += [(event.limit, event.cell) for event in row.outcome.limits_hit]
        for limit, cell in where:
            cells = found.setdefault(limit, {}).setdefault(index, [])
            name = titles.get(cell.removeprefix("test_"), cell)
            if name not in cells:
                cells.append(name)
    return [
        (
            pages.limit_words(limit)[0],
            [(index, rows[index].pseudonym, ", ".join(cells)) for index, cells in own.items()],
        )
        for limit, own in sorted(found.items(), key=lambda item: -len(item[1]))
    ]


def _grouped(sentences: Iterable[str]) -> list[tuple[str, int]]:
    """Sentences that differ in numbers and quoted names only, counted, most frequent first."""
    groups: dict[str, list[str]] = {}
    for sentence in sentences:
        line = one_line(sentence)
        groups.setdefault(re.sub(r"'[^']{1,80}'", "''", NUMBERS.sub("#", line)), []).append(line)
    return sorted(((lines[0], len(lines)) for lines in groups.values()), key=lambda item: -item[1])[:30]
