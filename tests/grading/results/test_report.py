"""The instructor's page: the numbers in it, what needs a person, hostile texts, classes of any size."""

from __future__ import annotations

import random
import re
import time
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from traitlets.config import Config

from grading.gradebook import GradebookError
from grading.model import Assignment, Doubt, GapResult, LimitEvent
from grading.results import times
from grading.results.report import Bar, ReportRow, gaps, histogram, report_page
from tests import graded
from tests.grading.results.test_feedback import (  # noqa: F401
    CONTRAST,
    LOOSE,
    assert_harmless,
    opened,
    outside,
    payloads,
    text_of,
    unfold,
)
from tests.tools.test_browser import browser  # noqa: F401 (a fixture)


@pytest.fixture
def exercise() -> Assignment:
    return graded.exercise()


def row(exercise: Assignment, index: int, *results: GapResult, **more: Any) -> ReportRow:
    about = {name: more.pop(name) for name in ("timestamp", "late", "penalty", "waiting") if name in more}
    outcome, repaired = graded.graded(exercise, *results, pseudonym=f"s{index:012x}", **more)
    return ReportRow(outcome.pseudonym, replace(outcome, cells=()), replace(repaired, variants=()), **about)


def failed(gap: str, message: str, points: float = 0.0, **more: Any) -> GapResult:
    most = {"mean_of": 2.0, "slow_mean": 3.0, "fit": 3.0}[gap]
    return GapResult(gap, points, most, False, more.pop("error", "AssertionError"), message, **more)


def a_class(exercise: Assignment) -> list[ReportRow]:
    """Eight students."""
    return [
        row(exercise, 1),
        row(exercise, 2, failed("fit", "got 1.25, 3 expected"), waiting=()),
        row(exercise, 3, failed("fit", "got -7e-3, 3 expected"), penalty=1.5),
        row(exercise, 4, failed("fit", "shape (8,) expected", 1.0, hidden=True), late=True),
        row(exercise, 5, failed("fit", "write your answer here", error="NotImplementedError")),
        row(
            exercise,
            6,
            failed("slow_mean", "Your code took longer", ended_by="time"),
            limits_hit=(LimitEvent("extra1", "memory", ""),),
            suspicions=("extra1: the student's process sent 17 bytes of junk", "again"),
            repaired={"repairs": ("cell 'fit' was found by its id",)},
        ),
        row(exercise, 7, failure="the worker died twice"),
        row(
            exercise,
            8,
            *(failed(gap, "No JSON.", error="Unreadable") for gap in ("mean_of", "slow_mean", "fit")),
            repaired={"problem": "It holds no JSON.", "doubts": (Doubt("fit", "never shown"),)},
        ),
        row(
            exercise,
            9,
            repaired={
                "doubts": (Doubt("fit", "defined twice"),),
                "repairs": ("cell 'a' was found by its id",),
            },
        ),
    ]


def test_each_gap_and_what_its_test_said(exercise: Assignment) -> None:
    readable = [r for r in a_class(exercise) if r.graded and not r.repaired.problem]
    mean_of, slow_mean, fit = gaps(readable, exercise, {"fit": "Gap 3"})
    assert (mean_of.full, mean_of.part, mean_of.none, mean_of.share) == (7, 0, 0, 1.0)
    assert (slow_mean.full, slow_mean.none) == (6, 1)
    assert [(m.text, m.count) for m in slow_mean.messages] == [("took too long", 1)]
    assert (fit.full, fit.part, fit.none, fit.open, fit.title) == (3, 1, 3, 1, "Gap 3")
    assert fit.mean == pytest.approx((3 * 3 + 1) / 7)
    assert [(m.text, m.count, m.hidden, m.others) for m in fit.messages] == [
        ("got 1.25, 3 expected", 2, False, True),
        ("shape (8,) expected", 1, True, False),
    ]


def test_arrays_and_types_of_errors_are_grouped(exercise: Assignment) -> None:
    rows = [
        row(exercise, 1, failed("fit", "state [ 1 -1  1] in 0.2 of 20,000")),
        row(exercise, 2, failed("fit", "state [-1] in 1.3e-5 of 20,000")),
        row(exercise, 3, failed("fit", "ValueError: x2 is wrong", error="ValueError")),
        row(exercise, 4, failed("fit", "x3 is wrong", error="ValueError")),
    ]
    said = [(m.text, m.count) for m in gaps(rows, exercise, {})[2].messages]
    assert said[0] == ("state [ 1 -1  1] in 0.2 of 20,000", 2)
    assert ("ValueError: x2 is wrong", 1) in said and ("ValueError: x3 is wrong", 1) in said


def test_many_messages_of_a_gap(exercise: Assignment) -> None:
    rows = [row(exercise, i, failed("fit", "too " + "x" * i)) for i in range(20)]
    fit = gaps(rows, exercise, {})[2]
    assert len(fit.messages) == 5 and fit.more == 15
    assert "and 15 other messages" in text_of(report_page(rows, exercise))


def test_histogram() -> None:
    assert histogram([], 2.0) == [Bar("0", 0), Bar("1", 0), Bar("2", 0)]
    assert [bar.count for bar in histogram([0, 0.9, 1, 2, 0.1 + 0.2 + 0.7], 2.0)] == [2, 2, 1]
    assert [bar.count for bar in histogram([2.5, 1], 2.5)] == [0, 1, 1]
    wide = histogram([99, 100, 3], 100.0)
    assert len(wide) <= 24 and wide[0] == Bar("0–4", 1) and wide[-1].count == 1 and wide[-2].count == 1
    assert [bar.count for bar in histogram([0.0], 0.0)] == [1]


def test_what_the_page_says(exercise: Assignment) -> None:
    page = report_page(a_class(exercise), exercise, seconds=125.0, made="20 April 2026")
    said = text_of(page)
    assert "9 submissions" in said or "submissions9" in said
    for tile in (
        "1 not graded: the grader could not finish",
        "1 with signs of tampering",
        "1 could not be read",
        "1 mended with a doubt",
        "6 answers to grade by hand",
    ):
        assert tile in said
    assert "hardest: full marks for 43 %" in said and "Gap 3 · Fit a mean" in said
    assert "the worker died twice" in said and "17 bytes of junk" in said and "again" in said
    assert "It holds no JSON." in said and "defined twice" in said and "never shown" not in said
    assert "1 took too long" in said and "1 too much memory" in said and "extra1" in said
    assert "2 notebooks were mended" in said and re.search("2× cell '(a|fit)' was found by its id", said)
    assert "2 came in late" in said and "late −1.5" in said
    assert "2 min 5 s for the run" in said and "20 April 2026" in said
    assert "2 submissions that are not graded or could not be read are left out" in said
    assert "s000000000006 5 2039.0 s 300 MB tampering? memory time" in said, "marks 5 = 2 + 0 + 3"
    order = re.findall(r"id=\"submission-\d+\">\s*<th[^>]*><code>s0*(\d)</code>", page)
    assert order[0] == "7" and order[-1] == "8", "not graded first, then most points first"
    assert "NaN" not in page and "hidden_sample" not in page


def test_times_are_local_and_the_zone_is_named(exercise: Assignment) -> None:
    rows = [row(exercise, 1, timestamp="2026-04-03T22:30:00+00:00"), row(exercise, 2, timestamp="nonsense")]
    said = text_of(report_page(rows, exercise, zone=ZoneInfo("Europe/Berlin"), due="Fri 03 April 2026"))
    assert "Sat 04 Apr 00:30" in said and "Times are those of Europe/Berlin" in said
    assert "The deadline was Fri 03 April 2026." in said and "nonsense" not in said


def test_a_zone_that_nobody_knows_is_named() -> None:
    for name in ("Middle/Earth", "", 5, "../etc"):
        config = Config()
        config.NbGraderAPI.timezone = name
        with pytest.raises(GradebookError, match="no time zone: c.NbGraderAPI.timezone"):
            times.zone(config)


def test_links_lead_to_the_submission_that_they_name(exercise: Assignment) -> None:
    page = report_page(a_class(exercise), exercise)
    named = dict(re.findall(r'<tr id="(submission-\d+)">\s*<th[^>]*><code>(\w+)</code>', page))
    links = re.findall(r'<a href="#(submission-\d+)"><code>(\w+)</code>', page)
    assert len(links) == 6 and all(named[target] == pseudonym for target, pseudonym in links)
    ids = set(re.findall(r'\sid="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= ids


def test_nothing_needs_a_person(exercise: Assignment) -> None:
    said = text_of(report_page([row(exercise, 1, waiting=())], exercise))
    assert "Nothing: every submission is graded" in said and "8 median of 8" not in said
    assert "Ended by a limit" not in said and "To grade by hand" not in said


def test_an_empty_class_and_odd_exercises(exercise: Assignment) -> None:
    assert "Nothing has been handed in" in text_of(report_page([], exercise))
    all_failed = [row(exercise, 1, failure="x"), row(exercise, 2, failure="y")]
    assert "2 not graded" in text_of(report_page(all_failed, exercise))
    no_tests = Assignment("week97", tuple(c for c in exercise.cells if c.kind in ("text", "manual")))
    assert "1 answers to grade" in text_of(report_page([row(no_tests, 1)], no_tests))
    assert "week97" in text_of(report_page([row(exercise, 1)], Assignment("week97", ())))
    missing = replace(row(exercise, 1).outcome, gaps=())
    assert report_page([replace(row(exercise, 1), outcome=missing)], exercise)


def test_three_hundred_students(exercise: Assignment) -> None:
    rng = random.Random(0)
    rows = [
        row(
            exercise,
            i,
            failed("fit", f"{'x' * rng.randint(1, 400)} {rng.random()}", rng.choice([0.0, 1.0])),
            suspicions=tuple("evidence " * 100 for _ in range(100)) if i % 10 == 0 else (),
            limits_hit=(LimitEvent("fit", "time", ""),) if i % 3 == 0 else (),
        )
        for i in range(300)
    ]
    start = time.thread_time()
    page = report_page(rows, exercise)
    assert time.thread_time() - start < 5 and len(page.encode()) < 2e6
    assert page.count("<tr id=") == 300


def hostile(exercise: Assignment) -> list[ReportRow]:
    bad = "\n".join(payloads().values()).replace("\n", " ")
    wide = "w" * 300
    return [
        row(
            exercise,
            i,
            failed("fit", text, hidden=True),
            failed("slow_mean", text, error=text),
            failed("mean_of", text, ended_by=text),
            limits_hit=(LimitEvent(text, text, text),),
            suspicions=(text, "\x1b[31m\u202e\0\ud800"),
            repaired={"repairs": (text,), "doubts": (Doubt(text, text),)},
            timestamp=text,
        )
        for i, text in enumerate([bad, wide, *payloads().values()])
    ] + [row(exercise, 99, failure=bad), row(exercise, 98, repaired={"problem": wide})]


def test_hostile_texts_leave_nothing_that_runs(exercise: Assignment) -> None:
    page = report_page(hostile(exercise), exercise)
    assert_harmless(page)
    page.encode("utf-8")
    assert "\0" not in page and "\u202e" not in page


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(opened: Any, exercise: Assignment, scheme: str) -> None:  # noqa: F811
    seen = opened(report_page(hostile(exercise), exercise), 360, scheme, policy=False)
    tab = seen.tab
    unfold(tab)
    assert seen.ran == [] and seen.tried == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert tab.evaluate(LOOSE) == []
    tab = opened(report_page(a_class(exercise), exercise), 1100, scheme).tab
    unfold(tab)
    ratio, where = tab.evaluate(CONTRAST)
    assert ratio >= 4.5, where
    assert tab.evaluate("document.documentElement.scrollWidth") <= 1100
