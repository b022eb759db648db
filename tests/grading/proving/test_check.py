"""The authoring check says what is wrong with an exercise, and lets a right one pass."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from grading.execution import trusted
from grading.execution.local import PlainLifeline
from grading.model import Assignment, CleanCell, GapResult, Job, Outcome, TrustedCell
from grading.proving import bank, check, executor
from grading.proving.executor import Cell
from tests.conftest import WEEK

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


def judged_cells(job: executor.Job) -> dict[str, executor.Result]:
    [(_, results)] = executor.run_forked([job])
    return results[0]


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


CALL = """x = np.arange(3.0)
{before}
y = {call}
{after}
assert np.array_equal(y, right)"""


def calling(call: str, when: str, right: str) -> str:
    """A test that works out the right answer before or after the call."""
    return CALL.format(**{"before": "", "after": ""} | {when: right}, call=call)


@pytest.mark.parametrize(("when", "faults"), [("before", 0), ("after", 1)])
def test_a_test_that_trusts_its_arguments_after_the_call_is_named(when: str, faults: int) -> None:
    """An answer that sets x to 0 in place is right about 0, and passes if `right` is computed after it."""
    imports = TrustedCell("imports", "given", "import numpy as np")
    gap = TrustedCell("f", "solution", "...", gap="f", defines=("f",))
    assignment = Assignment("week00_none", (imports, gap, test_(calling("f(x)", when, "right = 2 * x"))))
    cells = [CleanCell(cell.name, cell.kind, cell.source, gap=cell.gap) for cell in assignment.cells]
    cells[1] = replace(cells[1], source="def f(x):\n    return 2 * x")
    job = Job("spoilt", assignment, (check.spoil(cells, assignment),), seed=0)
    report = check.Report()
    check.judge_spoilt(trusted.run(job, 0, PlainLifeline()), report)
    assert len(report.faults) == faults and (not faults or "in place" in report.faults[0])


def adding(call: str, when: str) -> bank.Exercise:
    """A gap f(x, z, n) that adds up two arrays."""
    cells = [
        Cell("given", "imports", "import numpy as np\nfrom utils import stattests"),
        Cell("solution", "f", "def f(x, z, n):\n    return x + z * n"),
        Cell("test", "f", calling(call, when, "right = x + 1")),
    ]
    return bank.Exercise("week00_none", cells, {"f": 2.0})


TRAINING = """
runs = []
def f(x, z, n):
    runs.append(1)
    if len(runs) > 1:
        raise RuntimeError
    return x + z * n
"""
ONE_BY_ONE = {
    "copies": ("stattests.call(f, x, np.ones(3), 1)", "before", []),
    "right answer first": ("f(x, np.ones(3), 1)", "before", ["afterwards sets x", "afterwards sets z"]),
    "right answer last": (
        "f(x, np.ones(3), 1)",
        "after",
        ["first sets x to", "afterwards sets z"],
    ),
}


@pytest.mark.parametrize("case", ONE_BY_ONE)
def test_arguments_are_spoilt_one_by_one_and_in_pairs(case: str) -> None:
    """Spoiling both at once hides what spoiling x alone shows: the test also notices z."""
    call, when, expected = ONE_BY_ONE[case]
    results = judged_cells(check.spoilt_one_by_one(adding(call, when), "f"))
    assert results["first n"].error == "Untouched", "n is no array"
    assert not results["first x and z"].passed and results["first x and z"].error == "AssertionError"
    report = check.Report()
    check.judge_one_by_one("f", results, report)
    assert len(report.faults) == len(expected)
    assert all(any(words in fault for fault in report.faults) for words in expected), report.faults


@pytest.mark.parametrize("case", ONE_BY_ONE)
def test_so_are_those_of_a_gap_that_trains_which_it_does_once(case: str) -> None:
    """The answer is kept: a second training would take seconds, and is refused here."""
    call, when, expected = ONE_BY_ONE[case]
    exercise = adding(call, when)
    exercise.cells[1] = Cell("solution", "f", TRAINING)
    exercise.cells[2] = Cell("test", "f", f"# The threshold is empirical.\n{exercise.cells[2].source}")
    results = judged_cells(check.spoilt_one_by_one(exercise, "f"))
    assert results["plain"].passed and results["first n"].error == "Untouched"
    report = check.Report()
    check.judge_one_by_one("f", results, report)
    found = " ".join(report.faults)
    assert ("in place" in found) == bool(expected), report.faults
    assert not any(result.error == "RuntimeError" for result in results.values()), "trained twice"


def test_the_bank_s_check_leaves_no_gap_out(monkeypatch: pytest.MonkeyPatch) -> None:
    exercise = adding("f(x, np.ones(3), 1)", "before")
    exercise.cells[2] = Cell("test", "f", f"# The threshold is empirical.\n{exercise.cells[2].source}")
    report = check.Report()
    monkeypatch.setattr(bank, "missing", lambda *_: [])
    check.look_at_bank(exercise, [], 1, report)
    spoilt = {fault.split(" to 0")[0].partition(" sets ")[2] for fault in report.faults}
    assert spoilt == {"x", "z", "x and z"}, report.faults


NOISE = """
def {name}({arguments}):
    rng = np.random.default_rng(seed)
    noise = {noise}
    for array in ({spoilt},):
        array[...] = 0
    return noise
"""
SEEN = {  # of week 3: a hostile student's, which once had full marks, and its like in the gap that trains
    "impute_gaussian": (
        "np.where(missing, sigma * rng.standard_normal(v.shape), v)",
        [("W", "b", "c"), ("W", "b"), ("W",), ("b",), ("missing",), ("v",)],
    ),
    "train_gaussian": (
        "[rng.normal(size=shape) for shape in ((v_train.shape[1], hidden), v_train.shape[1], hidden)]",
        [("v_train",)],
    ),
}


@pytest.mark.slow
def test_noise_and_spoilt_arguments_earn_nothing_in_week_3() -> None:
    exercise = bank.read_exercise("week03_rbm")
    jobs = []
    for gap, (noise, ways) in SEEN.items():
        [function] = ast.parse(exercise.cell("solution", gap)).body
        for spoilt in ways:
            arguments = ast.unparse(function.args)  # type: ignore[attr-defined]
            answer = NOISE.format(name=gap, arguments=arguments, noise=noise, spoilt=", ".join(spoilt))
            jobs.append(executor.Job(f"{gap} {spoilt}", exercise.slice(gap, answer)))
    bank.preload(exercise, [])
    for job, results in executor.run_forked(jobs):
        (result,) = results[0].values()
        assert not result.passed and result.error == "AssertionError", (job.label, result)
        assert "changes an array that it is given" in result.message, (job.label, result)


def test_an_answer_that_never_ends_once_spoilt_fails_and_the_other_ways_are_still_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With x set to 0 the loop runs forever; that costs its seconds, not the results of the rest."""
    monkeypatch.setattr("grading.proving.spoil.SECONDS", 0.5)
    exercise = adding("f(x, np.ones(3), 1)", "before")
    endless = "def f(x, z, n):\n    while not x.any():\n        pass\n    return x + z * n"
    exercise.cells[1] = Cell("solution", "f", endless)
    results = judged_cells(check.spoilt_one_by_one(exercise, "f"))
    assert results["plain"].passed
    assert results["first x"].error == "TimeoutError" and not results["first x"].passed
    assert results["first z"].error == "AssertionError", "judged after the endless one"


def test_a_solution_that_fails_while_it_is_watched_is_named() -> None:
    results = judged_cells(check.spoilt_one_by_one(adding("f(x, np.ones(3), 2)", "before"), "f"))
    report = check.Report()
    check.judge_one_by_one("f", results, report)
    assert report.faults == ["'f': the solution loses its points while its arguments are watched"]


def test_the_bank_is_judged(sample: Path) -> None:
    """A wrong answer that passes and a right one that does not are faults of the exercise."""
    exercise = bank.read_exercise(WEEK, sample)
    entries = bank.read_entries(exercise, sample)
    report = check.Report()
    check.look_at_bank(exercise, entries, 1, report)
    assert any("11 answers and 6 mutants" in line for line in report.lines)
    assert len(report.faults) == 2 and all("afterwards sets x to 0" in fault for fault in report.faults)
    wrong = [
        replace(e, kind={"right": "wrong", "wrong": "right"}[e.kind]) for e in entries if e.gap == "scale"
    ]
    report = check.Report()
    check.look_at_bank(exercise, wrong, 1, report)
    assert sum("is wrong, but passed 'scale'" in fault for fault in report.faults) == 4
    assert sum("is right, but lost 'scale'" in fault for fault in report.faults) == 2
