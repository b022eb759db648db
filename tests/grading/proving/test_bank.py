"""grading/proving/bank.py on a sample course; `make test` runs the real banks as a part of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from grading.proving import bank
from grading.proving.executor import Cell, Job, run_forked
from tests.conftest import WEEK, run_module
from tools.notebooks import SourceError


def run_bank(course: Path, *options: str) -> tuple[int, str]:
    done = run_module("grading.proving.bank", WEEK, "--root", course, *options)
    return done.returncode, done.stdout + done.stderr


def bank_file(course: Path) -> Path:
    return course / "grading" / "bank" / f"{WEEK}.py"


def add(course: Path, *cells: str) -> None:
    """Put cells at the end of the sample course's bank."""
    path = bank_file(course)
    path.write_text("\n\n".join([path.read_text(), *cells]) + "\n")


def test_a_good_bank_is_clean_and_shows_the_messages(sample: Path) -> None:
    status, said = run_bank(sample, "--seeds", "2", "-v")
    assert status == 0, said
    assert "2 gaps, answers: 8 right, 3 wrong, 0 equivalent, 2 seeds; 6 mutants: 0 faults, 0 missing" in said
    assert f"grading/bank/{WEEK}.py:28 (seed 1) scale" in said
    assert "fails: negative numbers count, too" in said
    assert said.count("ok ") == 2 * (8 + 3) + 6


SCALE_BY = "# - return secret_solution_phrase * x\n# + return {}"


def test_faults_are_named(sample: Path) -> None:
    text = bank_file(sample).read_text()
    bank_file(sample).write_text(text[: text.index('# %% right="total"\n# Plain')])
    add(
        sample,
        '# %% right="scale"\n# Not right.\ndef scale(x):\n    return x',
        '# %% wrong="scale"\n# Not wrong.\n' + SCALE_BY.format("x * secret_solution_phrase"),
        '# %% wrong="scale"\n# A slip.\n' + SCALE_BY.format("SCAL * x"),
        '# %% wrong="scale"\n# Dies.\nimport os\n\nos._exit(0)',
        '# %% equivalent="scale"\n# It is not.\n' + SCALE_BY.format("secret_solution_phrase / x"),
    )
    status, said = run_bank(sample)
    assert status == 1
    assert "(seed 0) is right, but lost 'scale'" in said
    assert "(seed 0) is wrong, but passed 'scale'" in said
    assert "should fail 'scale' by an assertion that explains, but ended in NameError" in said
    assert "the process died" in said
    assert "is listed as equivalent, but the test of 'scale' tells it apart" in said
    assert "gap 'total' has 2 right answers in the bank, needs 3" in said
    assert "gap 'total' has 0 wrong answers in the bank, needs 1" in said
    assert "5 faults, 2 missing" in said


def weak(course: Path) -> None:
    """A test of the sample's `total` in which no number counts but the first."""
    path = course / "solutions" / WEEK / f"{WEEK}.py"
    text = path.read_text()
    assert "total(np.array([1.0, 2.0])) == 3.0" in text
    path.write_text(text.replace("total(np.array([1.0, 2.0])) == 3.0", "total(np.array([3.0])) == 3.0"))


def test_a_mutant_that_passes_is_shown_and_can_be_listed(sample: Path) -> None:
    weak(sample)
    bank_file(sample).write_text(bank_file(sample).read_text().replace("np.sum(x[:-1])", "np.sum(x) + 1"))
    status, said = run_bank(sample)
    shown = "# - return float(np.sum(x))\n# + return float(np.mean(x))\n"
    assert status == 1 and "passes 'total': mend the test, or list it" in said and shown in said
    clean = bank.read_clean(WEEK, sample)
    assert set(clean) == {"scale"}, "not clean, so not noted"
    passing = [text for text in said.split("FAULT")[1:] if "mutant" in text.splitlines()[0]]
    changes = [
        "\n".join(line for line in text.splitlines() if line[:3] in ("# -", "# +")) for text in passing
    ]
    add(sample, '# %% equivalent="total"\n# There is one number.\n' + "\n".join(changes))
    status, said = run_bank(sample)
    assert status == 0, said
    assert f"{len(changes)} equivalent" in said and set(bank.read_clean(WEEK, sample)) == {"scale", "total"}


def test_make_test_runs_all_mutants_of_a_gap_that_changed(sample: Path, monkeypatch) -> None:
    monkeypatch.setattr(bank, "SAMPLE", 2)
    exercise = bank.read_exercise(WEEK, sample)
    entries = bank.read_entries(exercise, sample)
    drawn = lambda clean: [m.gap for m in bank.sample(exercise, entries, clean)]  # noqa: E731
    assert drawn({}) == ["scale"] * 3 + ["total"] * 3
    scale, total = exercise.digest("scale"), exercise.digest("total")
    assert drawn({"scale": scale, "total": "another"})[:3] == ["total"] * 3
    assert len(drawn({"scale": scale, "total": total})) == 2
    assert bank.sample(exercise, entries, {}) == bank.sample(exercise, entries, {})
    weak(sample)
    changed = bank.read_exercise(WEEK, sample)
    assert (changed.digest("scale"), changed.digest("total") == total) == (scale, False)


def change(*lines: str) -> str:
    return "\n".join(['# %% wrong="scale"', "# Why.", *lines])


MALFORMED = {
    "no comment": ('# %% wrong="scale"\nx = 1', "begins with a comment"),
    "another header": ('# %% solution="scale"\n# Why.\nx = 1', "a cell begins with"),
    "unknown gap": ('# %% right="y"\n# Style.\nx = 1', "there is no gap 'y' with a test; there are scale"),
    "nothing": (change(), "holds neither code nor changed lines"),
    "no code": ('# %% right="scale"\n# Style.\n# - a\n# + b', "a right answer is written as a whole"),
    "gone": (change("# - return SCALE", "# + return 1"), "has this no longer, once expected: return SCALE"),
    "twice": (change('# - """x', "# + return 1"), "no longer"),
    "added": (change("# + return 1"), "needs the line before it that it replaces"),
    "text between": (change("# - return x", "# and then", "# + return 1"), "neither # - nor # +"),
    "no Python": (change("# - return secret_solution_phrase * x", "# + return ("), "never closed"),
    "whole": ('# %% equivalent="scale"\n# Same.\nx = 1', "given by its changed lines"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_entry_gives_one_clear_line(case: str, sample: Path) -> None:
    text, message = MALFORMED[case]
    line = len(bank_file(sample).read_text().splitlines()) + 3
    add(sample, text)
    with pytest.raises(SourceError) as caught:
        bank.read_entries(bank.read_exercise(WEEK, sample), sample)
    assert f"grading/bank/{WEEK}.py:{line}: " in str(caught.value) and message in str(caught.value)


def test_a_listed_mutant_that_does_not_exist_is_named(sample: Path) -> None:
    add(sample, '# %% equivalent="total"\n# Why.\n# - return float(np.sum(x))\n# + return 7')
    status, said = run_bank(sample)
    assert status == 1 and "error: " in said and "'total' has no such mutant (any more)" in said


REFERENCE = """def f(x):
    ### BEGIN SOLUTION
    for i in x:
        y = 1
        if i:
            y = 2
    return y
    ### END SOLUTION"""


def test_changes_keep_their_indentation() -> None:
    changed = bank.change(REFERENCE, [(["if i:", "    y = 2"], ["if i:", "    y = 3", "z = 4"])])
    assert "        if i:\n            y = 3\n        z = 4\n    return y" in changed
    both = bank.change(REFERENCE, [(["return y"], ["return z"]), (["y = 1"], ["y = 5"])])
    assert "        y = 5\n" in both and "    return z\n" in both
    with pytest.raises(SourceError, match="has this 2 times, once expected: y = 1"):
        bank.change(REFERENCE.replace("y = 2", "y = 1"), [(["y = 1"], ["y = 5"])])


def test_a_change_is_printed_as_it_is_read() -> None:
    changed = REFERENCE.replace("y = 2", "y = 3").replace("return y", "return 0")
    printed = bank.as_change(REFERENCE, changed)
    assert printed.splitlines()[:2] == ["# -         y = 2", "# +         y = 3"]
    assert bank.change(REFERENCE, bank._changes(printed.splitlines())) == changed


def test_an_unknown_week(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bank.main(["week00_none", "--root", str(sample)]) == 1
    assert "solutions/week00_none/week00_none.py does not exist" in capsys.readouterr().err


def test_only_needed_cells_run(sample: Path) -> None:
    exercise = bank.read_exercise(WEEK, sample)
    chosen = exercise.slice("total", "def total(x):\n    return 0")
    assert [(c.kind, c.name) for c in chosen] == [
        ("given", "setup"),
        ("solution", "total"),
        ("test", "total"),
    ]
    assert chosen[1].source.endswith("return 0")
    chosen = exercise.slice("scale")
    assert [c.name for c in chosen] == ["setup", "constants", "scale", "scale"], "constants sets SCALE"


def test_names_set_and_used() -> None:
    cell = Cell(
        "given",
        "x",
        "import a.b as c, d.e\nx = [y for y in z]\nx.append(1)\nu.v[0] = w\ndef f(g):\n    h = i\n",
    )
    assert {"c", "d", "x", "u", "f"} <= cell.sets and not {"h", "g", "a"} & cell.sets
    assert {"z", "w", "i"} <= cell.uses


def test_the_executor() -> None:
    seeds = "import os\nassert os.environ['LGM_GRADING_SEED'] == '7', 'seed'"
    cells = [
        Cell("given", "leaky", "left = 1"),
        Cell("test", "seed", seeds),
        Cell("test", "value", "3.0"),
        Cell("test", "message", "assert 1 == 2, 'one is not two'"),
        Cell("solution", "broken", "g = undefined"),
        Cell("test", "broken", "assert g() == 1, 'g'"),
    ]
    job = Job("a", cells, (7, 8))
    late = Job("b", [Cell("test", "slow", "while True:\n    pass")], timeout=3.0)
    fresh = Job("c", [Cell("test", "fresh", "assert 'left' not in globals(); left = 1")], (0, 1))
    results = {job.label: result for job, result in run_forked([job, late, fresh])}
    first = results["a"][7]
    assert first["seed"].passed and not results["a"][8]["seed"].passed
    assert first["value"].error == "ValueError" and "must not end in a value" in first["value"].message
    assert (first["message"].error, first["message"].message) == ("AssertionError", "one is not two")
    assert first["broken"].error == "NameError" and "'undefined'" in first["broken"].message, (
        "the cause is told"
    )
    assert "took longer than 3 s" in results["b"][0]["slow"].message
    assert all(results["c"][seed]["fresh"].passed for seed in (0, 1))
