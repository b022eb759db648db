"""The student's page: what it says, what it never shows, and that nothing in it runs, loads or overflows."""

from __future__ import annotations

import base64
import html
import html.parser
import http.server
import io
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbconvert.filters import Highlight2HTML
from PIL import Image

from grading.model import HIDDEN_NOTE as NOTE
from grading.model import Assignment, CellRun, CleanCell, GapResult, LimitEvent, Limits, Outcome, Repaired
from grading.results import feedback, pages
from grading.results.executed import executed_notebook
from grading.results.feedback import ManualGrade, feedback_page
from grading.results.harmless import KEPT, NO_PICTURE, Harmless, capped, one_line, plain
from grading.results.ledger import Ledger, key
from grading.results.report import ReportRow, report_page
from tests import graded
from tests.tools.test_browser import browser, missing  # noqa: F401 (a fixture)


@pytest.fixture
def exercise() -> Assignment:
    return graded.exercise()


class Text(html.parser.HTMLParser):
    """What a page says, its tags, and the addresses in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while tag in self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.said).split())


def text_of(page: str) -> str:
    return Text(page).text


# What it says


def test_marks_messages_and_what_to_do(exercise: Assignment) -> None:
    said = text_of(feedback_page(*graded.typical(exercise), exercise))
    assert "3 of 8 points so far" in said
    assert "1 of 3 graded parts has full marks. Look first at Gap 2 · Slowly" in said
    assert "Gap 1 · The mean mean_of 2 of 2 ✓ passed" in said
    assert "0 of 3 ✗ took too long" in said and "Look for a loop that never ends" in said
    assert "1 of 3 ◐ hidden test failed The visible test passed." in said
    assert "Other sizes, one row only." in said and "41.50 ± 0.10 expected" in said
    assert "stopped after 120 seconds" in said
    assert "A person will look at" in said and "the function is defined twice" in said
    assert "mended in 1 place" in said and "found by the name it defines" in said
    assert "pending" in said and "2 more points wait for a person" in said
    assert "inspect.stack" not in said, "suspicions are for the instructor"


def test_the_code_of_hidden_tests_is_nowhere(exercise: Assignment) -> None:
    page = feedback_page(*graded.typical(exercise), exercise)
    assert "hidden_sample" not in page and "HIDDEN TESTS" not in page
    assert NOTE in page and "assert</span> " in page, "the visible part of a test is shown"


def test_a_guess_at_a_hidden_line_is_answered_by_nothing(exercise: Assignment) -> None:
    """Whatever a student's code says, wherever it says it: a right guess looks like a wrong one."""

    def page(guess: str) -> tuple[str, str, str]:
        trace = f'File "fit", line 4\n    raise ValueError("{guess}")\nValueError'
        said = [graded.error("ValueError", guess, trace), graded.stream(f"a\n{guess}\nb\n")]
        said += [graded.display(text_plain=guess), graded.display(text_html=f"<p>{html.escape(guess)}</p>")]
        outcome, repaired = graded.graded(
            exercise,
            GapResult("fit", 0.0, 3.0, False, "ValueError", guess, True, "Other sizes.", traceback=trace),
            outputs={"test_fit": said, "extra1": said, "fit": said},
            answers={"why": f"`{guess}`\n\n    {guess}", "extra1": f"print({guess!r})"},
        )
        report = report_page([ReportRow("s1", replace(outcome, cells=()), repaired)], exercise)
        notebook = executed_notebook(outcome.cells, exercise, {}, {})
        return feedback_page(outcome, repaired, exercise), report, nbformat.writes(notebook)

    wrong = graded.SECRET.replace("allclose", "allclosf")
    for right, other in zip(page(graded.SECRET), page(wrong), strict=True):
        assert right == other.replace("allclosf", "allclose") and "allclose" in right


def test_kinds_of_failures_are_explained(exercise: Assignment) -> None:
    outcome, repaired = graded.graded(
        exercise,
        GapResult("mean_of", 0.0, 2.0, False, "NotImplementedError", "write your answer here"),
        GapResult("slow_mean", 0.0, 3.0, False, "NameError", "name 'slow_mean' is not defined"),
        GapResult("fit", 0.0, 3.0, False, "ValueError", "", traceback="line 2, in fit"),
    )
    said = text_of(feedback_page(outcome, repaired, exercise))
    assert "not answered" in said and "write your answer here" not in said
    assert "NameError: name 'slow_mean' is not defined" in said and "Is it spelt as in the task" in said
    assert "ValueError" in said and "line 2, in fit" in said


@pytest.mark.parametrize("limit", [*pages.LIMITS, "something new"])
def test_each_limit_is_put_into_plain_words(exercise: Assignment, limit: str) -> None:
    outcome, repaired = graded.graded(
        exercise,
        GapResult("fit", 0.0, 3.0, False, "StudentEnded", "Your code said so.", ended_by=limit),
        limits_hit=(LimitEvent("extra1", limit, ""),),
    )
    said = text_of(feedback_page(outcome, repaired, exercise))
    short, what, todo = pages.limit_words(limit)
    assert f"✗ {short} Your code said so." in said and f"extra1, {short}: {what}" in said
    assert not todo or said.count(todo) == 1, "what to do is said once"


def test_manual_points_comments_and_penalty(exercise: Assignment) -> None:
    outcome, repaired = graded.graded(exercise)
    manual = {"why": ManualGrade(1.5, "Good.\nAnd the <cost>?")}
    said = text_of(feedback_page(outcome, repaired, exercise, manual, penalty=2))
    assert "7.5 of 10 points" in said and "so far" not in said
    assert "2 points are taken off because it came in late" in said
    assert "1.5 of 2" in said and "And the <cost>?" in said
    nothing = text_of(feedback_page(outcome, repaired, exercise, {"why": ManualGrade(0.0)}, penalty=99))
    assert "0 of 10 points" in nothing


def test_what_a_person_changed(exercise: Assignment) -> None:
    def grade(name: str, auto: float | None, manual: float | None, needs: bool = False) -> Any:
        score = manual if manual is not None else auto or 0.0
        return SimpleNamespace(
            name=name,
            auto_score=auto,
            manual_score=manual,
            extra_credit=None,
            needs_manual_grade=needs,
            score=score,
        )

    said_of = {"fit": "a sign", "why": None, "gone": "x", "mean_of": None}
    comments = [
        SimpleNamespace(name=name, manual_comment=said, auto_comment="No response.")
        for name, said in said_of.items()
    ]
    grades = [grade("test_mean_of", 2.0, None), grade("test_slow_mean", 0.0, 3.0, needs=True)]
    grades += [grade("test_fit", 0.0, 2.5), grade("why", 0.0, None), grade("gone", None, 1.0)]
    notebook = SimpleNamespace(comments=comments, grades=grades)
    manual = feedback.manual_grades(notebook, exercise)
    assert manual == {
        "test_fit": ManualGrade(2.5),
        "fit": ManualGrade(None, "a sign"),
        "why": ManualGrade(0.0, answered=False),
    }
    outcome, repaired = graded.graded(
        exercise, GapResult("fit", 0.0, 3.0, False, "AssertionError", "wrong sign")
    )
    said = text_of(feedback_page(outcome, repaired, exercise, manual))
    assert "7.5 of 10 points" in said and "2.5 of 3 ◐" in said
    assert "why 0 of 2 ✗ not answered" in said and "No response" not in said
    assert "changed these points: the test gave 0." in said and "Your instructor writes: a sign" in said
    notebook.grades[-2].needs_manual_grade = True
    assert "why" not in feedback.manual_grades(notebook, exercise), "pending"


def test_a_notebook_that_cannot_be_read(exercise: Assignment) -> None:
    repaired = Repaired((graded.work(exercise),), problem="The file is no notebook: it holds no JSON.")
    gaps = tuple(
        GapResult(gap, 0.0, 2.0, False, "Unreadable", repaired.problem)
        for gap in ("mean_of", "slow_mean", "fit")
    )
    page = feedback_page(Outcome("s1", gaps=gaps), repaired, exercise)
    said = text_of(page)
    assert said.count("it holds no JSON") == 1 and "hand in that file" in said
    assert "Your notebook as it ran" not in said, "the unsolved exercise is not the student's"


def test_a_failure_of_the_grader_gives_no_marks(exercise: Assignment) -> None:
    outcome, repaired = graded.graded(exercise, failure="worker 3 at 10.0.0.7 died")
    said = text_of(feedback_page(outcome, repaired, exercise))
    assert "Not graded yet" in said and "not your fault" in said and "not graded yet" in said
    assert "of 8 points" not in said and "10.0.0.7" not in said


def test_an_exercise_without_anything_and_two_tests_of_one_gap(exercise: Assignment) -> None:
    assert "Not graded yet" in text_of(
        feedback_page(Outcome("s1"), Repaired(()), Assignment("week97_empty", ()))
    )
    outcome, repaired = graded.graded(exercise)
    again = Assignment(exercise.week, (*exercise.cells, *(c for c in exercise.cells if c.name == "test_fit")))
    two = (*outcome.gaps, GapResult("fit", 0.0, 3.0, False, "AssertionError", "only the second"))
    said = text_of(
        feedback_page(Outcome("s1", cells=outcome.cells, gaps=two), repaired, again, {"why": ManualGrade(2)})
    )
    assert "10 of 13 points" in said and said.count("only the second") == 1


def test_the_notebook_is_shown_as_it_ran(exercise: Assignment) -> None:
    outcome, repaired = graded.graded(
        exercise,
        outputs={
            "mean_of": [graded.stream("\x1b[31mred\x1b[0m\r 1%\r100%\ndone\x07\n")],
            "extra1": [
                graded.error("ValueError", "bad <value>", "\x1b[0;31mValueError\x1b[0m\nline 3"),
                graded.display(image_png=graded.png()),
            ],
            "fit": [graded.display(text_html="<table><tr><td>12.5</td></tr></table>", text_plain="x")],
        },
        answers={"why": "**Since** $a < b$ and\n\n$$\\frac{1}{2}$$\n\n`code`", "extra1": "print('mine')"},
    )
    page = feedback_page(outcome, repaired, exercise)
    assert "100%\ndone�" in page and "1%\r" not in page and "\x1b" not in page
    assert "bad &lt;value&gt;" in page and "ValueError\nline 3" in page
    assert 'src="data:image/png;base64,' in page
    assert "<td>12.5</td>" in page
    assert "<strong>Since</strong>" in page and '<code class="tex">a &lt; b</code>' in page
    assert r'<code class="tex display">\frac{1}{2}</code>' in page
    assert "'mine'" in page and "Your own cell" in page
    assert "Your code computed for 7.5 s and used 300 MB" in text_of(page)


def test_what_never_ran_is_shown_as_handed_in(exercise: Assignment) -> None:
    page = feedback_page(
        Outcome("s1", failure="x"), Repaired((graded.work(exercise, fit="def fit(x): ..."),)), exercise
    )
    assert 'class="nf">fit</span>' in page and "Your answer · Gap 3 · Fit a mean" in text_of(page)


# What is hostile

SCRIPT = "window.hacked('{}')"
OUTSIDE = "http://127.0.0.1:9/{}"
SVG = "<svg xmlns='http://www.w3.org/2000/svg' onload=\"{}\"><script>{}</script></svg>"


def payloads() -> dict[str, str]:
    """HTML that runs a script or asks for something, in the ways that sanitisers have been fooled."""
    run, ask = SCRIPT.format, OUTSIDE.format
    svg = SVG.format(run("svg"), run("svg"))
    coded = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    found = {
        "script": ["<script>RUN</script>", "<script src='ASK'></script>"],
        "onerror": ['<img src=x onerror="RUN">', "<img src='ASK' srcset='ASK 2x'>"],
        "svg": [svg, "<svg><image href='ASK'/><a xlink:href='javascript:RUN'>x</a></svg>"],
        "svg data": [f'<img src="{coded}"><embed src="{coded}">'],
        "mathml": [
            "<math><mtext><table><mglyph><style><!--</style>",
            "<img title='--&gt;&lt;img src=1 onerror=RUN&gt;'></table></mtext></math>",
        ],
        "noscript": ['<noscript><p title="</noscript><img src=x onerror=RUN>"></noscript>'],
        "links": [
            '<a href="javascript:RUN" onclick="RUN" autofocus onfocus="RUN">click me</a>',
            "<a href=' java\nscript:RUN'>click me</a>",
            "<a href='data:text/html,<script>RUN</script>'>click me</a>",
        ],
        "frames": [
            '<iframe srcdoc="<script>parent.RUN</script>"></iframe><iframe src="ASK"></iframe>',
            "<object data='ASK'></object><embed src='ASK'>",
        ],
        "style": [
            "<style>@import 'ASK'; body { background: url(ASK) }</style>",
            "<p style=\"background: url('ASK'); position: fixed; inset: 0\">x</p>",
            "<link rel=stylesheet href='ASK'>",
        ],
        "meta": ["<meta http-equiv=refresh content='0; url=ASK'><base href='ASK/'>"],
        "form": [
            '<form action="ASK"><input autofocus onfocus="RUN">',
            "<button formaction='javascript:RUN'>go</button></form>",
            '<details open ontoggle="RUN"><summary>x</summary></details>',
        ],
        "media": [
            '<video src="ASK" poster="ASK" autoplay onloadstart="RUN"></video>',
            "<audio src='ASK' autoplay></audio>",
        ],
        "template": ['<template><script>RUN</script></template><x-y onanimationstart="RUN">'],
        "break out": ["</pre></div></section></body><script>RUN</script>\"'><script>RUN</script>"],
        "clobber": ["<img name=cookie id=marks><form id=location></form><a id=notebook name=x href=x>y</a>"],
        "old": ['<marquee onstart="RUN">x</marquee><body onload="RUN"><isindex type=image onerror="RUN">'],
    }
    return {
        name: "".join(parts).replace("RUN", run(name)).replace("ASK", ask(name.replace(" ", "-")))
        for name, parts in found.items()
    }


def hostile(exercise: Assignment) -> tuple[Outcome, Repaired]:
    """Everything of a submission that a student can write, full of payloads."""
    bad = payloads()
    every = "\n\n".join(bad.values())
    markdown = every + "\n\n".join(
        [
            f"\n\n![x]({OUTSIDE.format('md')}) [click me](javascript:{SCRIPT.format('md')})",
            f'![p](attachment:x.png"onerror="{SCRIPT.format("attachment")}) <{OUTSIDE.format("auto")}>',
            f"$</code><script>{SCRIPT.format('tex')}</script>$",
            f"$$<img src=x onerror={SCRIPT.format('tex')}>$$",
            f'```"><script>{SCRIPT.format("fence")}</script>\nx\n```',
            f"[ref]: javascript:{SCRIPT.format('ref')}\n\n[click me][ref]",
        ]
    )
    shown = [graded.display(text_html=payload, text_plain="plain") for payload in bad.values()]
    shown += [
        {"output_type": "execute_result", "data": {"text/html": [payload]}, "execution_count": every}
        for payload in bad.values()
    ]
    shown += [
        graded.display(**{kind: value})
        for kind, value in {
            "text_markdown": markdown,
            "image_svg+xml": SVG.format(SCRIPT.format("svg"), SCRIPT.format("svg")),
            "application_javascript": SCRIPT.format("js"),
            "text_latex": f"$</script><script>{SCRIPT.format('latex')}</script>$",
            "image_png": base64.b64encode(every.encode()).decode(),
            "image_jpeg": f'"><script>{SCRIPT.format("jpeg")}</script>',
            "application_vnd.jupyter.widget-view+json": "{}",
        }.items()
    ]
    shown += [graded.stream(every), graded.error(every, every, every), {"output_type": "nonsense"}, "x"]  # type: ignore[list-item]
    return graded.graded(
        exercise,
        GapResult("mean_of", 0.0, 2.0, False, every, every, True, every, every),
        GapResult("fit", 0.0, 3.0, False, "AssertionError", every, traceback=every, ended_by=every),
        outputs={"mean_of": shown, "extra1": shown, "test_fit": shown, "imports": shown},
        answers={"why": markdown, "extra1": every, "fit": f"def fit(x): '''{every}'''", "title": markdown},
        repaired={"repairs": (every,), "doubts": (graded.Doubt(every, every),)},
        limits_hit=(LimitEvent(every, every, every),),
    )


def assert_harmless(page: str) -> None:
    """No tag, attribute or address that could run or load anything."""
    tags = Text(page).tags
    allowed = {"href", "id", "class", "role", "scope", "src", "alt", "rel", "lang", "charset", "content"}
    allowed |= {"name", "open", "title", "dir", "width", "height", "colspan", "rowspan", "align", "start"}
    allowed |= {"viewbox", "preserveaspectratio", "aria-hidden", "aria-label", "x", "y", "x1", "x2", "y1"}
    allowed |= {"y2", "tabindex", "http-equiv", "cite", "datetime"}
    for tag, attributes in tags:
        assert tag not in {"script", "iframe", "object", "embed", "form", "input", "base", "link", "video"}
        assert set(attributes) <= allowed, (tag, attributes)
        for name in ("src", "href"):
            value = attributes.get(name) or ""
            if tag == "img" and name == "src" and name in attributes:
                assert re.match(r"data:image/(png|jpeg);base64,", value)
            elif name in attributes:
                assert re.match(r"#|https?://|mailto:", value), value
                assert value.startswith("#") or "noopener" in (attributes.get("rel") or "")
    assert sum(tag == "style" for tag, _ in tags) == 1
    assert sum(tag == "meta" and "http-equiv" in own for tag, own in tags) == 1


def test_hostile_text_leaves_nothing_that_runs(exercise: Assignment) -> None:
    page = feedback_page(*hostile(exercise), exercise, {"why": ManualGrade(1.0, payloads()["script"])})
    assert_harmless(page)
    ids = [attributes["id"] for _, attributes in Text(page).tags if "id" in attributes]
    assert len(ids) == len(set(ids)), "students' ids are gone"
    feedback_page(*hostile(exercise), Assignment("<script>x</script>", exercise.cells))


def test_pictures_are_what_they_say(exercise: Assignment) -> None:
    harmless, png = Harmless(), graded.png()
    address = harmless.picture("image/png", png)
    assert address is not None and pixels(address) == pixels(f"data:image/png;base64,{png}")
    assert harmless.picture("image/png", png[:76] + "\n" + png[76:]) == address
    assert harmless.picture("image/jpeg", png) is None, "a PNG that says it is a JPEG"
    for wrong in ("", "PHN2Zz4=", png[:40], "?" * 40, None, graded.png(9000, 9000), EMPTY):
        assert harmless.picture("image/png", wrong) is None
        shown = Harmless().html(f'<img src="data:image/png;base64,{wrong}">')
        assert shown is None or ("src" not in shown and NO_PICTURE in shown), "never fails open"
    assert harmless.picture("image/svg+xml", png) is None
    shown = harmless.html(f'<img alt="two" src="data:image/png;base64,{png}" onload="x"><img src="{png}">')
    assert shown is not None and shown.count("src=") == 1 and 'alt="two"' in shown and "onload" not in shown
    assert shown.count("left out") == 1, "a sentence stands for the other one"


def test_only_the_picture_of_a_picture_stays() -> None:
    file = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(graded.png()))) as image:
        image.info["comment"] = "<script>"
        image.save(file, "PNG", icc_profile=b"secret" * 99)
    hidden = base64.b64encode(file.getvalue() + b"<script>alert(1)</script>").decode()
    address = Harmless().picture("image/png", hidden)
    assert address is not None and pixels(address) == pixels(f"data:image/png;base64,{graded.png()}")
    content = base64.b64decode(address.partition(",")[2])
    assert b"script" not in content and b"iCCP" not in content


# A PNG of 57 bytes: header and end, no picture.
EMPTY = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADElEQVQ="
EMPTY = base64.b64encode(
    base64.b64decode(EMPTY)[:33] + bytes.fromhex("0000000049454e44ae426082") * 2
).decode()


def pixels(address: str) -> bytes:
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
        return image.convert("RGBA").tobytes()


LONG = settings(derandomize=True, deadline=None, max_examples=int(os.environ.get("LGM_FUZZ", "100")))


def samples() -> list[tuple[str, bytes]]:
    found = []
    for mode, kind in (
        ("RGB", "PNG"),
        ("P", "PNG"),
        ("LA", "PNG"),
        ("I;16", "PNG"),
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
    ):
        file = io.BytesIO()
        Image.new(mode, (9, 7)).save(file, kind)
        found.append((f"image/{kind.lower()}", file.getvalue()))
    return found


@LONG
@given(st.sampled_from(samples()), st.data())
def test_bytes_that_are_nearly_a_picture_raise_nothing(
    sample: tuple[str, bytes], data: st.DataObject
) -> None:
    kind, content = sample
    broken = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(broken) - 1))
        what = data.draw(st.sampled_from(["change", "cut", "insert", "double"]))
        if what == "change":
            broken[place] = data.draw(st.integers(0, 255))
        elif what == "cut":
            del broken[place : place + data.draw(st.integers(1, 30))]
        elif what == "insert":
            broken[place:place] = data.draw(st.binary(max_size=8))
        else:
            broken += broken[place:]
        broken = broken or bytearray(b"x")
    text = base64.b64encode(bytes(broken)).decode()
    harmless = Harmless()
    address = harmless.picture(kind, text)
    shown = harmless.html(f'<img src="data:{kind};base64,{text}">') or ""
    if address is None:
        assert "src" not in shown
    else:
        pixels(address)
        assert address in shown, "the same everywhere"


@pytest.mark.parametrize(
    "source",
    [
        "<div>" * 200_000,
        "<ul><li>" * 20_000,
        "".join(f"<font color={i}>" for i in range(1500)) + "<p>x" * 2400,
        "".join(f"<b title={i}><table><td></b></td></table>" for i in range(800)) + "<p>x" * 800,
        "<!--" * 300_000,
        "<img " + "a " * 400_000 + ">",
        "<img " + " ".join(f"a{i}" for i in range(200_000)) + ">",
        "<img " + " ".join(f"a{i}" for i in range(9_900)) + ">",
        "<img " + "".join(f"a{i}=''" for i in range(200_000)) + ">",
        "<img/" + "/".join(f"a{i}" for i in range(200_000)) + ">",
        "<a href=x" * 200_000,
    ],
    ids="nested lists fonts misnested comments same attributes allowed quoted slashed unclosed".split(),
)
def test_a_bomb_of_tags_takes_no_time(source: str) -> None:
    harmless, start = Harmless(), time.thread_time()
    for _ in range(20):
        harmless.html(source)
    assert time.thread_time() - start < 3


@pytest.mark.parametrize(
    "source",
    [
        "[" * 9_900,
        "![" * 4_900,
        "*a **a " * 1400,
        "> " * 4_900,
        "$$a\n" * 2400,
        "\\begin{align}\n" * 700,
        "[a]: http://" + "x" * 5_000 + "\n\n" + "[a]" * 1600,
        "|a" * 1200 + "|\n" + "|-" * 1200 + "|\n|b\n" * 1200,
        "|a" * 70 + "|\n" + "|-" * 70 + "|\n" + "|b\n" * 200,
    ],
    ids="brackets pictures stars quotes formulas align references table small-table".split(),
)
def test_a_bomb_of_markdown_takes_no_time(source: str) -> None:
    harmless, start = Harmless(), time.thread_time()
    size = sum(len(harmless.markdown(source)) for _ in range(20))
    assert time.thread_time() - start < 4 and size < 2_500_000


@pytest.mark.parametrize(
    "source",
    ["\n" * 20_000, " \n" * 9_999, "match" + " " * 19_000, (" " * 33 + "\n") * 580, "\u3000\n" * 9_000],
    ids="newlines blank match wide ideographic".split(),
)
def test_a_cell_that_is_slow_to_colour_takes_no_time(exercise: Assignment, source: str) -> None:
    runs = tuple(CellRun(CleanCell(f"extra{i}", "extra", source)) for i in range(12))
    outcome, repaired = graded.graded(exercise)
    start = time.thread_time()
    feedback_page(replace(outcome, cells=runs), repaired, exercise)
    notebook = executed_notebook(runs, exercise, {}, {})
    filters = Highlight2HTML()
    for cell in notebook.cells[:10]:  # what formgrader does
        filters(cell.source)
    assert time.thread_time() - start < 6


def test_colours_and_blank_lines_of_an_honest_cell_stay(exercise: Assignment) -> None:
    source = "def f(x):\n    # why\n\n\n    return x\n" + "\n" * 5 + "y = 1"
    outcome, repaired = graded.graded(exercise, answers={"fit": source})
    page = feedback_page(outcome, repaired, exercise)
    assert 'class="nf">f</span>' in page and source in html.unescape(re.sub("</?span[^>]*>", "", page))


def test_a_submission_of_many_outputs_is_kept_in_part() -> None:
    cell = CleanCell("fit", "solution", "x = 1")
    big = graded.stream("é" * 250_000)  # six characters each in JSON
    runs = [CellRun(cell, (graded.stream("first"), *[big] * 20, graded.stream("last"))) for _ in range(9)]
    kept = capped(runs)
    assert len(kept) == 9 and sum(len(str(output)) for run in kept for output in run.outputs) < KEPT
    assert kept[0].outputs[0]["text"] == "first" and kept[0].outputs[-2]["text"] == "last"
    assert " outputs of this cell left out" in kept[0].outputs[-1]["text"]
    assert capped(kept) == kept, "the page and the notebook say what the ledger says"
    many = capped([CellRun(cell, (graded.stream("x"),) * 10**5)])
    assert len(many[0].outputs) == 2001 and capped(many) == many
    assert "(98,000 outputs" in many[0].outputs[-1]["text"]
    extra = [CellRun(CleanCell(f"extra{i}", "extra", "y" * 10**5)) for i in range(2000)]
    kept = capped([*extra, CellRun(cell)])
    long = capped([CellRun(CleanCell("long", "extra", "z" * 10**6))])
    assert long[0].cell.source.count("left out") == 1 and capped(long) == long
    assert len(kept) == 301 and kept[-1].cell == cell and sum(len(run.cell.source) for run in kept) < 3e6


def test_pages_and_files_of_a_flood_are_small(exercise: Assignment, tmp_path: Path) -> None:
    """Some hundred cells with a megabyte each: what is written for it stays a few megabytes."""
    flood = [graded.stream("x" * 10**6), graded.display(text_html="<p>" + "y" * 10**6)] * 2
    outcome, repaired = graded.graded(exercise)
    cells = tuple(CellRun(CleanCell(f"extra{i}", "extra", "1"), tuple(flood)) for i in range(60))
    outcome = replace(outcome, cells=cells)
    assert len(feedback_page(outcome, repaired, exercise)) < 8e6
    assert len(nbformat.writes(executed_notebook(cells, exercise, {}, {}))) < 8e6
    ledger, name = Ledger(tmp_path), key("a" * 64, "b" * 64, "1", 5, Limits())
    ledger.put(name, outcome)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.json")) < 20e6


def test_a_huge_notebook_makes_a_page_that_opens(exercise: Assignment) -> None:
    big = [
        graded.stream("x" * 10**6),
        graded.display(text_html="<p>y</p>" * 10**5),
        graded.stream("é\r" * 10**6),
    ]
    big += [graded.display(image_png=graded.png(1500, 1500))] * 20
    start = time.thread_time()
    outcome, repaired = graded.graded(
        exercise,
        GapResult("fit", 0.0, 3.0, False, "E" * 10**6, "m" * 10**6, traceback="t\n" * 10**6),
        outputs={"mean_of": big * 5, "extra1": big * 5, "fit": big * 5},
        answers={"extra1": "x = 1\n" * 10**5, "why": "*a* " * 10**6},
    )  # fmt: skip
    page = feedback_page(outcome, repaired, exercise)
    assert len(page) < 25e6 and time.thread_time() - start < 20
    assert "characters left out" in page


def test_plain_text() -> None:
    assert plain("a\x1b[1;38;5;28mb\x1b[0m\x1b]8;;http://x\x07c") == "abc"
    assert plain("1%\r2%\r\n3\r") == "2%\n3"
    assert plain("a\x00b\u202ec\x9b") == "a�b�c�"
    cut = plain("a" * 100 + "b" * 100, 60)
    assert plain("abc", 0) == "", "nothing of it, not all of it"
    assert cut.startswith("aaaa") and cut.endswith("bbbb") and "140 characters left out" in cut
    assert one_line("\n \n  x y \nz") == "x y" and one_line("") == ""
    assert len(one_line("x" * 10**6)) == 301


def test_lone_surrogates_become_text(exercise: Assignment) -> None:
    outcome, repaired = graded.graded(
        exercise, outputs={"fit": [graded.stream("a\ud800b\0"), graded.display(text_html="\udfff<p>x</p>")]},
        answers={"why": "w\udc80"},
    )  # fmt: skip
    feedback_page(outcome, repaired, exercise).encode("utf-8")


def test_the_policy_fits_the_style(exercise: Assignment) -> None:
    page = feedback_page(*graded.typical(exercise), exercise)
    assert "script-src" not in pages.policy() and "default-src 'none'" in pages.policy()
    assert pages.style() in page and "</style" not in pages.style().lower()
    assert "url(" not in pages.style() and "@import" not in pages.style()
    assert feedback.MEANINGS and page.index("Content-Security-Policy") < page.index("<style")


# In a browser


@pytest.fixture(scope="module")
def outside() -> Iterator[tuple[str, list[str]]]:
    """A web server here, and what has been asked of it."""
    asked: list[str] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_POST = do_GET

        def log_message(self, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", asked
        server.shutdown()


@dataclass
class Seen:
    """A page in the browser: payloads that ran, requests that were tried, and those that were sent."""

    tab: Any
    ran: list[str]
    tried: list[str]
    sent: list[str]


@pytest.fixture
def opened(
    browser: Any,  # noqa: F811
    outside: tuple[str, list[str]],
    tmp_path: Path,
) -> Iterator[Callable[..., Seen]]:
    """opened(page, width, scheme, policy) → what Chromium does with it."""
    contexts = []
    address, sent = outside

    def open_page(page: str, width: int = 1100, scheme: str = "light", policy: bool = True) -> Seen:
        if not policy:
            page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page, count=1)
        path = tmp_path / f"page-{len(contexts)}.html"
        path.write_text(page.replace(OUTSIDE.format(""), address), encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(60_000)
        ran: list[str] = []
        tried: list[str] = []
        sent.clear()
        context.expose_function("hacked", lambda what: ran.append(what))
        tab = context.new_page()
        own = ("data:image/png", "data:image/jpeg", path.as_uri())
        tab.on("request", lambda request: request.url.startswith(own) or tried.append(request.url))
        tab.on("dialog", lambda dialog: (ran.append("dialog"), dialog.dismiss()))
        context.on("page", lambda page: ran.append("a window"))
        tab.goto(path.as_uri())
        return Seen(tab, ran, tried, sent)

    yield open_page
    for context in contexts:
        context.close()


def unfold(tab: Any) -> None:
    tab.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")


@pytest.mark.browser
@pytest.mark.parametrize("policy", [True, False], ids=["with the policy", "by the sanitiser alone"])
def test_nothing_runs_and_nothing_is_asked_for(opened: Any, exercise: Assignment, policy: bool) -> None:
    seen = opened(feedback_page(*hostile(exercise), exercise), policy=policy)
    tab = seen.tab
    unfold(tab)
    for link in tab.get_by_text("click me").all():
        if link.evaluate("e => e.tagName === 'A' && !e.href.startsWith('http')"):
            link.dispatch_event("click")
    tab.keyboard.press("Tab")
    tab.mouse.wheel(0, 5000)
    tab.wait_for_timeout(1000)
    assert seen.ran == [] and seen.tried == [] and seen.sent == []
    assert tab.locator("h1").inner_text() == "Week 98 · Exercise: means"
    assert tab.evaluate("getComputedStyle(document.body).position") == "static"


@pytest.mark.browser
def test_the_policy_alone_stops_what_a_sanitiser_would_miss(opened: Any, exercise: Assignment) -> None:
    page = feedback_page(*graded.typical(exercise), exercise)
    # A policy cannot forbid <meta> to lead elsewhere; the sanitiser takes it out.
    bad = [payload for name, payload in payloads().items() if name not in ("meta", "mathml")]
    raw = page.replace('<h2 id="marks">', "\n".join(bad) + '<h2 id="marks">')
    seen = opened(raw)
    seen.tab.wait_for_timeout(1000)
    assert seen.ran == [] and seen.sent == []
    seen = opened(raw, policy=False)
    seen.tab.wait_for_timeout(1000)
    assert len(set(seen.ran)) > 3 and len(set(seen.sent)) > 3, "where nothing stops them, they work"


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_scrolling_to_the_side(opened: Any, exercise: Assignment, scheme: str) -> None:
    wide = "w" * 400
    outcome, repaired = graded.graded(
        exercise,
        GapResult("fit", 0.0, 3.0, False, wide, f"{wide} {wide}", True, wide, f"{wide}\n{wide}"),
        outputs={
            "mean_of": [
                graded.display(image_png=graded.png(2000, 300)),
                graded.display(text_html="<table><tr>" + f"<td>{wide}</td>" * 30 + "</tr></table>"),
                graded.display(
                    text_html=f'<img width="3000" src="data:image/png;base64,{graded.png(3000, 9)}">'
                ),
                graded.stream(wide),
                graded.error(wide, wide, wide),
            ]
        },
        answers={
            "why": f"# {wide}\n\n$$ {wide} $$\n\n`{wide}` {wide}\n\n"
            f"|{wide}|{wide}|\n|-|-|\n|1|2|\n\n- $x{wide}$",
            "fit": f"def fit(x): return '{wide}'",
        },
        repaired={"repairs": (wide,), "doubts": (graded.Doubt(wide, wide),)},
        limits_hit=(LimitEvent(wide, wide, wide),),
    )
    tab = opened(feedback_page(outcome, repaired, exercise, {"why": ManualGrade(1, wide)}), 360, scheme).tab
    unfold(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert tab.evaluate(LOOSE) == [], "only code, and tables of the student, may scroll"
    for pre in tab.locator("pre, .rich, .prose").all():
        assert pre.evaluate("e => getComputedStyle(e).overflowX") == "auto"


# What sticks out of a phone's screen and is not inside something that scrolls by itself.
LOOSE = """() => [...document.querySelectorAll('body *')].filter(e => {
    const box = e.getBoundingClientRect();
    return box.width && box.right > 361 && !e.closest('pre, .rich, .prose, .scroll, thead')
}).map(e => e.outerHTML.slice(0, 80))"""

# The smallest contrast of a text with the colour behind it, by the definition of WCAG.
CONTRAST = """() => {
  const numbers = c => c.match(/[\\d.]+/g).map(Number);
  const linear = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => numbers(c).slice(0, 3).map(linear)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (numbers(c)[3] !== 0) return c;
    }
  };
  let worst = [99, ''];
  for (const e of document.querySelectorAll('body *')) {
    if (!e.getClientRects().length || e.closest('svg')) continue;
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const pair = [light(getComputedStyle(e).color), light(behind(e))].sort((a, b) => b - a);
    const ratio = (pair[0] + .05) / (pair[1] + .05);
    if (ratio < worst[0]) worst = [ratio, e.outerHTML.slice(0, 100)];
  }
  return worst }"""


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(opened: Any, exercise: Assignment, scheme: str) -> None:
    tab = opened(feedback_page(*graded.typical(exercise), exercise), 1100, scheme).tab
    unfold(tab)
    ratio, where = tab.evaluate(CONTRAST)
    assert ratio >= 4.5, where
