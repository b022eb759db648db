"""A small exercise and graded submissions of it, made by hand: for the tests of the pages."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from grading.model import (
    Assignment,
    CellRun,
    CleanCell,
    Doubt,
    GapResult,
    LimitEvent,
    Outcome,
    Repaired,
    TrustedCell,
)

SECRET = "assert np.allclose(mean_of(hidden_sample), 41.5)"  # a line of a hidden test
HIDDEN = f"### BEGIN HIDDEN TESTS\n# Other sizes, one row only.\nhidden_sample = rng.normal(41.5)\n{SECRET}\n"
HIDDEN += "### END HIDDEN TESTS"
WEEK = "week98_pages"
LATE = "2026-04-20T23:59:00+02:00"


def png(width: int = 40, height: int = 20) -> str:
    """A small picture, in base64."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), (0, 114, 178)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def exercise() -> Assignment:
    """Three gaps (2, 3 and 3 points) and a question for a person (2 points)."""
    task = "### Gap {} · {} ({} points)\n\nReturn $\\frac{{1}}{{N}} \\sum_i x_i$, please."
    cells = [TrustedCell("title", "text", "# Week 98 · Exercise: means\n\nThree means.", "markdown")]
    cells += [TrustedCell("imports", "given", "import numpy as np")]
    for i, (gap, words, points) in enumerate(
        [("mean_of", "The mean", 2.0), ("slow_mean", "Slowly", 3.0), ("fit", "Fit a mean", 3.0)], 1
    ):
        cells += [
            TrustedCell(f"{gap}_task", "text", task.format(i, words, points), "markdown"),
            TrustedCell(gap, "solution", f"def {gap}(x):\n    raise NotImplementedError", gap=gap),
            TrustedCell(
                f"test_{gap}", "test", f"assert {gap}([1, 3]) == 2\n{HIDDEN}", points=points, gap=gap
            ),
        ]
    cells += [
        TrustedCell("why_task", "text", "## A question to argue (2 points)\n\nWhy?", "markdown"),
        TrustedCell("why", "manual", "*Write your answer here.*", "markdown", points=2.0),
    ]
    return Assignment(WEEK, tuple(cells))


def work(assignment: Assignment, **answers: str) -> tuple[CleanCell, ...]:
    """The clean notebook with these answers, and a cell of the student's own."""
    cells = []
    for cell in assignment.cells:
        source = answers.get(cell.name, cell.source)
        cells.append(CleanCell(cell.name, cell.kind, source, cell.cell_type, cell.gap, cell.points))
        if cell.name == "mean_of":
            cells.append(CleanCell("extra1", "extra", answers.get("extra1", "mean_of([1, 2])")))
    return tuple(cells)


def stream(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


def display(**data: str) -> dict[str, Any]:
    """display(text_html="…") and the like."""
    return {
        "output_type": "display_data",
        "data": {kind.replace("_", "/", 1): value for kind, value in data.items()},
        "metadata": {},
    }


def error(name: str = "ValueError", message: str = "no", trace: str = "") -> dict[str, Any]:
    return {"output_type": "error", "ename": name, "evalue": message, "traceback": trace.split("\n")}


def passed(gap: str, points: float) -> GapResult:
    return GapResult(gap, points, points, True, seconds=0.2)


def graded(
    assignment: Assignment,
    *gaps: GapResult,
    outputs: dict[str, list[dict[str, Any]]] | None = None,
    answers: dict[str, str] | None = None,
    pseudonym: str = "s0123456789ab",
    repaired: dict[str, Any] | None = None,
    **more: Any,
) -> tuple[Outcome, Repaired]:
    """An outcome: these gap results, full marks for the others. outputs: by the name of the cell."""
    cells = work(assignment, **(answers or {}))
    own = {gap.gap: gap for gap in gaps}
    results = tuple(
        own.get(cell.gap) or passed(cell.gap, cell.points) for cell in assignment.cells if cell.kind == "test"
    )
    runs = tuple(
        CellRun(cell, tuple((outputs or {}).get(cell.name, ())), i, 0.1) for i, cell in enumerate(cells)
    )
    more = {"seconds": 9.0, "student_seconds": 7.5, "peak_memory": 300 * 2**20} | more
    return Outcome(pseudonym, 0, runs, results, **more), Repaired((cells,), **(repaired or {}))


def typical(assignment: Assignment) -> tuple[Outcome, Repaired]:
    """One gap right, one stopped by the clock, one that a hidden test rejects; mended and doubtful."""
    return graded(
        assignment,
        GapResult(
            "slow_mean", 0.0, 3.0, False, "TimeoutError", "no answer after 120 seconds", ended_by="time"
        ),
        GapResult(
            "fit",
            1.0,
            3.0,
            False,
            "AssertionError",
            "the mean is 3.20, 41.50 ± 0.10 expected. Is it the mean over the rows?",
            True,
            "Other sizes, one row only.",
            'File "fit", line 2\n    return x.mean(axis=1)',
        ),
        outputs={
            "mean_of": [stream("hello\n")],
            "extra1": [display(text_plain="<Figure size 640x480>", image_png=png())],
        },
        answers={
            "mean_of": 'def mean_of(x):\n    """x: list → number."""\n    return sum(x) / len(x)  # simple',
            "why": "Because of $\\sqrt{N}$ and *so on*.",
        },
        repaired={
            "repairs": ("The cell of gap 'fit' had lost its metadata: found by the name it defines.",),
            "doubts": (
                Doubt("slow_mean", "the function is defined twice; the version with more points counts"),
            ),
        },
        limits_hit=(LimitEvent("slow_mean", "time", "The cell slow_mean was stopped after 120 seconds."),),
        suspicions=("the cell extra1 called inspect.stack() 40 times",),
    )


def check_shape(repaired: Repaired, assignment: Assignment) -> None:
    """Every trusted cell stands there once, as the instructor wrote it; extra cells are numbered."""
    assert 1 <= len(repaired.variants) <= 4
    assert len(set(repaired.variants)) == len(repaired.variants)
    for variant in repaired.variants:
        trusted = {cell.name: cell for cell in variant if cell.kind != "extra"}
        assert len(trusted) == sum(cell.kind != "extra" for cell in variant) == len(assignment.cells)
        for cell in assignment.cells:
            clean = trusted[cell.name]
            assert (clean.kind, clean.cell_type, clean.gap, clean.points) == (
                cell.kind,
                cell.cell_type,
                cell.gap,
                cell.points,
            )
            if cell.kind in ("text", "given", "test"):
                assert clean.source == cell.source
        fixed = [cell.name for cell in variant if cell.kind in ("text", "given", "test")]
        assert fixed == [cell.name for cell in assignment.cells if cell.name in set(fixed)]
        extras = [cell.name for cell in variant if cell.kind == "extra"]
        assert extras == [f"extra{i + 1}" for i in range(len(extras))]
        for cell in variant:
            cell.source.encode()
    first = [cell.name for cell in repaired.variants[0] if cell.kind != "extra"]
    assert first == [cell.name for cell in assignment.cells]
