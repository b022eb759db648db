"""The page that a student gets back: marks, what each test said, what to do next, and the notebook as it ran.

One HTML file without scripts. What the student's code displays is made safe by `harmless.py`; no line of a
hidden test is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from grading.model import Assignment, CellRun, GapResult, Outcome, Repaired, TrustedCell, split_hidden
from grading.results import pages
from grading.results.harmless import Harmless, capped, joined, plain

LINES = 12  # of a traceback that is shown unfolded

# Type of the exception that ended a test → what it usually means.
MEANINGS = {
    "NotImplementedError": "The line raise NotImplementedError was reached: this gap, or one that it "
    "calls, is not answered yet.",
    "NameError": "A name does not exist when the test runs. Is it spelt as in the task, and did its cell run "
    "without an error?",
    "SyntaxError": "Python cannot read this cell, so nothing in it ran.",
    "IndentationError": "Python cannot read this cell, so nothing in it ran.",
    "ImportError": "A module or a name in it could not be imported. The grader has the course's packages and "
    "no others.",
    "ModuleNotFoundError": "A module could not be imported. The grader has the packages of the course and no "
    "others.",
    "FileNotFoundError": "A file is missing. The grader has the files of the exercise and no others.",
    "RecursionError": "A function calls itself without end.",
}
TELLING = {"AssertionError", "NotImplementedError", "Unreadable", ""}  # the type adds nothing to the message


@dataclass(frozen=True)
class ManualGrade:
    """What a person gave for a manual question; points None: nobody has looked at it yet."""

    points: float | None = None
    comment: str = ""
    answered: bool = True  # False: left as it was handed out, hence no points


@dataclass(frozen=True)
class Row:
    """A line of the table of marks."""

    title: str
    name: str
    points: float | None  # None: waits for a person, or for the grader
    max_points: float
    state: str  # "full", "part", "none", "wait"
    verdict: str  # a word or two
    paragraphs: tuple[tuple[str, str], ...] = ()  # label and text
    message: str = ""  # what the test said, line breaks kept
    traceback: str = ""
    anchor: str = ""  # of the student's cell, in the notebook below


@dataclass
class Shown:
    """A cell, or several cells of the instructor folded into one."""

    kind: str
    label: str
    anchor: str = ""
    body: Markup = field(default_factory=Markup)
    outputs: list[Markup] = field(default_factory=list)
    folded: str = ""  # the summary line, if the body is folded
    state: str = ""  # of a test


def feedback_page(
    outcome: Outcome,
    repaired: Repaired,
    assignment: Assignment,
    manual: Mapping[str, ManualGrade] | None = None,
    *,
    penalty: float = 0.0,
    handed_in: str = "",
) -> str:
    """The page, a whole HTML file.

    manual: name of a manual cell → what a person gave; those that are missing are pending. Of a test: points
    that a person gave instead of the test's. Of a solution cell: a comment. penalty: points taken for
    handing in late. handed_in: when, as it is to be shown.
    """
    harmless = Harmless()
    runs = () if repaired.problem else capped(_runs(outcome, repaired))
    anchors = {run.cell.name: f"cell-{i}" for i, run in enumerate(runs)}
    titles = pages.gap_titles(assignment)
    rows = list(_rows(outcome, assignment, titles, anchors, dict(manual or {})))
    states = {row.anchor: row.state for row in rows if row.anchor}
    done = [row for row in rows if row.points is not None]
    got, most = sum(row.points or 0.0 for row in done), sum(row.max_points for row in done)
    values = {
        "title": pages.title(assignment),
        "week": assignment.week,
        "failure": outcome.failure,
        "problem": repaired.problem,
        "handed_in": handed_in,
        "rows": rows,
        "got": max(0.0, got - penalty),
        "most": most,
        "penalty": min(penalty, got),
        "pending": [row for row in rows if row.state == "wait"],
        "graded": [row for row in rows if row.state != "wait"],
        "limits": [
            (
                event.words,
                *pages.limit_words(event.limit),
                event.limit in {result.ended_by for result in outcome.gaps},  # what to do is said there
                anchors.get(event.cell, ""),
                event.cell,
            )
            for event in outcome.limits_hit
        ],
        "doubts": repaired.doubts,
        "repairs": repaired.repairs,
        "cells": list(_cells(runs, titles, harmless, states)),
        "seconds": outcome.student_seconds,
        "memory": outcome.peak_memory,
    }
    return pages.page("feedback.html", values)


def manual_grades(notebook: Any, assignment: Assignment) -> dict[str, ManualGrade]:
    """What persons entered in the gradebook, from nbgrader's SubmittedNotebook: points and comments."""
    kinds = {cell.name: cell.kind for cell in assignment.cells}
    comments = {comment.name: (comment.manual_comment or "").strip() for comment in notebook.comments}
    found = {}
    for grade in notebook.grades:
        by_hand = grade.manual_score is not None or bool(grade.extra_credit)
        wanted = by_hand or (kinds.get(grade.name) == "manual" and grade.auto_score is not None)
        if kinds.get(grade.name) in ("manual", "test") and wanted and not grade.needs_manual_grade:
            comment = comments.get(grade.name, "")
            found[grade.name] = ManualGrade(float(grade.score), comment, by_hand or grade.auto_score != 0)
    for name, comment in comments.items():
        if comment and name in kinds and name not in found:
            found[name] = ManualGrade(None, comment)
    return found


def _runs(outcome: Outcome, repaired: Repaired) -> tuple[CellRun, ...]:
    """The cells as run; as handed in where nothing ran."""
    if outcome.cells or not repaired.variants:
        return outcome.cells
    return tuple(
        CellRun(cell) for cell in repaired.variants[min(outcome.variant, len(repaired.variants) - 1)]
    )


# The table of marks


def _rows(
    outcome: Outcome,
    assignment: Assignment,
    titles: Mapping[str, str],
    anchors: Mapping[str, str],
    manual: Mapping[str, ManualGrade],
) -> Iterator[Row]:
    left = [] if outcome.failure else list(outcome.gaps)
    answers = {cell.gap: cell.name for cell in assignment.cells if cell.kind == "solution"}
    for cell in assignment.cells:
        anchor = anchors.get(answers.get(cell.gap, cell.name), "")
        if cell.kind == "manual":
            yield _manual_row(
                cell, titles[cell.name], manual.get(cell.name, ManualGrade()), anchors.get(cell.name, "")
            )
        elif cell.kind == "test":
            title = titles[cell.gap]
            result = next((result for result in left if result.gap == cell.gap), None)
            if result is None:
                yield Row(title, cell.gap, None, cell.points, "wait", "not graded yet", anchor=anchor)
            else:
                left.remove(result)
                row = _row(result, title, anchor)
                comment = manual.get(answers.get(cell.gap, ""), ManualGrade()).comment
                yield _by_hand(row, manual.get(cell.name, ManualGrade()), comment)


def _by_hand(row: Row, grade: ManualGrade, comment: str) -> Row:
    """A test's row with the points and the comment of a person, where there are any."""
    words = row.paragraphs
    if grade.points is not None and grade.points != row.points:
        words += (("", f"Your instructor has changed these points: the test gave {row.points or 0:g}."),)
        row = replace(row, points=grade.points, state=_state(grade.points, row.max_points))
    for said in (grade.comment, comment):
        if said:
            words += (("Your instructor writes: ", said),)
    return replace(row, paragraphs=words)


def _manual_row(cell: TrustedCell, title: str, grade: ManualGrade, anchor: str) -> Row:
    if grade.points is None:
        words: tuple[tuple[str, str], ...] = (("", "Your instructor reads this answer."),)
        return Row(title, cell.name, None, cell.points, "wait", "pending", words, grade.comment, "", anchor)
    state, verdict = _state(grade.points, cell.points), "graded"
    words = (("", "Your instructor writes:" if grade.comment else "Read by a person."),)
    if not grade.answered:
        verdict, words = "not answered", ()
    return Row(title, cell.name, grade.points, cell.points, state, verdict, words, grade.comment, "", anchor)


def _row(result: GapResult, title: str, anchor: str) -> Row:
    state = _state(result.points, result.max_points)
    if result.passed:
        return Row(title, result.gap, result.points, result.max_points, state, "passed", (), "", "", anchor)
    words: list[tuple[str, str]] = []
    message = plain(result.message, 4000).strip()
    verdict = "hidden test failed" if result.hidden else "visible test failed"
    if result.ended_by:
        verdict, what, todo = pages.limit_words(result.ended_by)
        words += [("", message or what), ("Next: ", todo)]
        message = ""
    elif result.error == "NotImplementedError":
        verdict = "not answered"
        words.append(("", MEANINGS[result.error]))
        message = ""
    elif result.error == "Unreadable":
        verdict, message = "not read", ""  # the page says it once, above
        words.append(("", "Nothing of your notebook could be read: see above."))
    elif result.hidden:
        about = " ".join(line.strip().lstrip("#").strip() for line in plain(result.about, 1000).split("\n"))
        words.append(("", "The visible test passed. The hidden one is about:"))
        words.append(("", about.strip() or "inputs other than those of the visible test."))
    if not result.ended_by and result.error in MEANINGS and result.error != "NotImplementedError":
        words.append(("", MEANINGS[result.error]))
    if result.error not in TELLING and not result.ended_by and not message.startswith(result.error):
        message = f"{plain(result.error, 80)}: {message}".removesuffix(": ")
    if not (words or message):
        words.append(("", "The test says no more than that the result is not what it expects."))
    trace = plain(result.traceback, 6000).strip("\n")
    kept = tuple((label, text) for label, text in words if text)
    return Row(
        title, result.gap, result.points, result.max_points, state, verdict, kept, message, trace, anchor
    )


def _state(points: float, most: float) -> str:
    return "full" if points >= most else "part" if points > 0 else "none"


# The notebook


def _cells(
    runs: tuple[CellRun, ...],
    titles: Mapping[str, str],
    harmless: Harmless,
    states: Mapping[str, str],
) -> Iterator[Shown]:
    """The student's cells in full; the instructor's text and code folded, tests without what is hidden."""
    folded: Shown | None = None
    state_of: dict[str, str] = {}
    for index, run in enumerate(runs):
        cell, anchor = run.cell, f"cell-{index}"
        if cell.kind == "solution" and anchor in states:
            state_of[cell.gap] = states[anchor]
        if cell.kind in ("text", "given"):
            outputs = list(_outputs(run, harmless))
            loud = any("<img" in output or "cell-error" in output for output in outputs)
            if folded is None or loud:
                if folded is not None:
                    yield folded
                folded = Shown("given", "From the exercise", anchor)
            folded.body += _source(run, harmless)
            if cell.kind == "text" and (heading := pages.HEADING.findall(cell.source)):
                folded.folded = pages.POINTS.sub("", heading[-1])
            if not loud:  # what was printed stays folded, with the code that printed it
                folded.body += Markup("").join(outputs)
                continue
            folded.outputs = outputs
            yield folded
            folded = None
            continue
        if folded is not None:
            yield folded
            folded = None
        shown = Shown(str(cell.kind), "", anchor)
        if cell.kind == "test":
            shown.state = state_of.get(cell.gap, "")
            source = split_hidden(cell.source)[0]
            shown.label, shown.body = f"Test of {titles.get(cell.gap, cell.gap)}", _code(source, harmless)
            shown.folded = f"Its visible part, {len(source.splitlines())} lines"
            shown.outputs = list(_outputs(run, harmless, errors=False))
        else:
            what = {"solution": "Your answer", "manual": "Your answer", "extra": "Your own cell"}[cell.kind]
            title = titles.get(cell.gap if cell.kind == "solution" else cell.name, "")
            shown.label = f"{what} · {title}" if title and cell.kind != "extra" else what
            shown.body, shown.outputs = _source(run, harmless), list(_outputs(run, harmless))
        yield shown
    if folded is not None:
        yield folded


def _source(run: CellRun, harmless: Harmless) -> Markup:
    if run.cell.cell_type == "markdown":
        return Markup('<div class="prose">{}</div>').format(
            harmless.markdown(run.cell.source, tell=run.cell.kind != "text")
        )
    if run.cell.cell_type == "raw":
        return Markup("<pre>{}</pre>").format(harmless.plain(run.cell.source))
    return _code(run.cell.source, harmless)


def _code(source: str, harmless: Harmless) -> Markup:
    text, coloured = harmless.code(source)
    inside = escape(text.rstrip())
    if coloured:
        inside = Markup(highlight(text, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)).rstrip())
    return Markup('<pre class="code"><code>{}</code></pre>').format(inside)


def _outputs(run: CellRun, harmless: Harmless, errors: bool = True) -> Iterator[Markup]:
    """A cell's outputs; without the errors of a test, which the table tells."""
    for output in run.outputs:
        if not isinstance(output, Mapping):
            continue
        kind = output.get("output_type")
        if kind == "stream":
            said = harmless.plain(joined(output.get("text", "")))
            yield Markup('<pre class="output">{}</pre>').format(said)
        elif kind == "error":
            if errors:
                yield _error(output, harmless)
        elif kind in ("display_data", "execute_result") and isinstance(output.get("data"), Mapping):
            yield _display(output["data"], harmless)


def _error(output: Mapping[str, Any], harmless: Harmless) -> Markup:
    trace = output.get("traceback") or ()
    text = harmless.plain("\n".join(map(str, trace)) if isinstance(trace, list | tuple) else trace, 6000)
    name, said = harmless.plain(output.get("ename", ""), 80), harmless.plain(output.get("evalue", ""), 2000)
    body = Markup('<p class="cell-error"><b>{}</b>: {}</p>').format(name, said)
    if text.strip():
        unfolded = Markup(" open") if text.count("\n") < LINES else ""
        body += Markup("<details{}><summary>Where it happened</summary><pre>{}</pre></details>").format(
            unfolded, text.strip("\n")
        )
    return body


def _display(data: Mapping[str, Any], harmless: Harmless) -> Markup:
    """The best representation that can be shown safely."""
    kind, shown = harmless.display(data)
    if kind.startswith("image/"):
        alt = re.sub(r"^<Figure .*>$", "", joined(data.get("text/plain")).strip()) or "A figure of this cell"
        return Markup('<div class="rich"><img src="{}" alt="{}"></div>').format(
            shown, harmless.plain(alt, 500)
        )
    if kind == "text/plain":
        return Markup('<pre class="output">{}</pre>').format(shown)
    if not shown:
        return Markup(
            '<p class="note">An output of this cell is left out: it cannot be shown safely here.</p>'
        )
    words = "rich prose" if kind == "text/markdown" else "rich"
    return Markup('<div class="{}">{}</div>').format(words, shown)
