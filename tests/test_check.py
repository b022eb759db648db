"""The authoring check says what is wrong with an exercise, and lets a right one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from grading import check, trusted
from grading.engine import Place
from grading.executor import Cell
from grading.executor import Job as BankJob
from grading.local import PlainLifeline
from grading.model import Assignment, CleanCell, GapResult, Job, Outcome, TrustedCell

HIDDEN = """x = f(1)
### BEGIN HIDDEN TESTS
# Other inputs.
rng = stattests.grading_rng("f")
assert f(rng) == 1
### END HIDDEN TESTS"""


def faults(*cells: TrustedCell) -> list[str]:
    report = check.Report()
    check.look_at_tests(Assignment("week00_none", cells), report)
    return report.faults


def solution(gap: str = "f") -> TrustedCell:
    return TrustedCell(gap, "solution", "raise NotImplementedError", gap=gap)


def test_(source: str, points: float = 2.0, gap: str = "f") -> TrustedCell:
    return TrustedCell(f"test_{gap}", "test", source, points=points, gap=gap)


test_.__test__ = False  # a helper, no test


def test_a_right_exercise_passes() -> None:
    assert faults(solution(), test_(HIDDEN)) == []


@pytest.mark.parametrize(
    ("cells", "word"),
    [
        ([solution()], "has no test"),
        ([solution(), test_(HIDDEN, points=0)], "no points"),
        ([solution(), test_("assert f(1) == 1")], "no hidden part"),
        ([solution(), test_(HIDDEN.replace("# Other inputs.\n", ""))], "does not begin with a comment"),
        (
            [solution(), test_(HIDDEN.replace('stattests.grading_rng("f")', "np.random.default_rng(1)"))],
            "grading_rng",
        ),
        (
            [solution(), test_(HIDDEN.replace("== 1", "<= stattests.hoeffding_tolerance(9, 0, 1)"))],
            "states no false-alarm bound",
        ),
    ],
)
def test_each_fault_is_named(cells: list[TrustedCell], word: str) -> None:
    found = faults(*cells)
    assert len(found) == 1 and word in found[0]


def test_points_are_listed_and_manual_ones_pending() -> None:
    report = check.Report()
    manual = TrustedCell("why", "manual", "", "markdown", points=2.0)
    check.look_at_tests(Assignment("week00_none", (solution(), test_(HIDDEN), manual)), report)
    assert any("1 tests with 2 automatic points" in line for line in report.lines)
    assert any("why" in line and "pending" in line for line in report.lines)


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (
            Outcome("solution, seed 0", gaps=(GapResult("f", 0, 2, False, "AssertionError", "no"),)),
            "loses 'f'",
        ),
        (Outcome("solution, seed 0", gaps=(GapResult("f", 2, 2, True, seconds=99.0),)), "takes 99 s"),
        (Outcome("unsolved", gaps=(GapResult("f", 2, 2, True),)), "unsolved version gets 2 points"),
        (Outcome("unsolved", failure="no T"), "no T"),
    ],
)
def test_solution_and_unsolved_version_are_judged(outcome: Outcome, word: str) -> None:
    report = check.Report()
    check.judge_own(Assignment("week00_none", (solution(), test_(HIDDEN))), [outcome], report)
    assert len(report.faults) == 1 and word in report.faults[0]


def test_the_bank_goes_through_the_grader(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice of the bank becomes a job of the grader, and each of its tests gets a result."""
    cells = [
        Cell("given", "setup", "import numpy as np"),
        Cell("solution", "f", "f = abs"),
        Cell("test", "f", "f(1)"),
    ]
    seen = []

    def execute(jobs, place) -> Iterator[Outcome]:
        for job in jobs:
            seen.append(job)
            yield Outcome(job.pseudonym, failure="broke")

    monkeypatch.setattr(check, "execute", execute)
    job = BankJob("right/a.py seed 4", cells, 4)
    [(back, results)] = list(check.bank_executor(Place())([job]))
    assert back is job and results["f"].error == "GraderFailure" and seen[0].seed == 4
    kinds = [(cell.kind, cell.gap, cell.defines) for cell in seen[0].assignment.cells]
    assert kinds == [("given", "", ()), ("solution", "f", ("f",)), ("test", "f", ())]


CALL = """x = np.arange(3.0)
{before}
y = f(x)
{after}
assert np.array_equal(y, right)"""


@pytest.mark.parametrize(("when", "faults"), [("before", 0), ("after", 1)])
def test_a_test_that_trusts_its_arguments_after_the_call_is_named(when: str, faults: int) -> None:
    """An answer that sets x to 0 in place is right about 0, and passes if `right` is computed after it."""
    source = CALL.format(**{"before": "", "after": ""} | {when: "right = 2 * x"})
    imports = TrustedCell("imports", "given", "import numpy as np")
    gap = TrustedCell("f", "solution", "...", gap="f", defines=("f",))
    assignment = Assignment("week00_none", (imports, gap, test_(source)))
    cells = [CleanCell(cell.name, cell.kind, cell.source, gap=cell.gap) for cell in assignment.cells]
    cells[1] = replace(cells[1], source="def f(x):\n    return 2 * x")
    spoilt = check.spoil(cells, assignment)
    job = Job("spoilt", assignment, (spoilt,), seed=0)
    report = check.Report()
    check.judge_spoilt(trusted.run(job, 0, PlainLifeline()), report)
    assert len(report.faults) == faults and (not faults or "in place" in report.faults[0])
