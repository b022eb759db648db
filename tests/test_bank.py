"""grading/bank.py on a sample course; `make test` runs the real banks as a part of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import WEEK, run_module

from grading import bank
from grading.executor import Cell, Job, run_forked
from tools.notebooks import SourceError


def run_bank(course: Path, *options: str) -> tuple[int, str]:
    done = run_module("grading.bank", WEEK, "--root", course, *options)
    return done.returncode, done.stdout + done.stderr


def entry(course: Path, name: str, text: str) -> None:
    (course / "grading" / "bank" / WEEK / name).write_text(text)


def test_a_good_bank_is_clean_and_shows_the_messages(sample: Path) -> None:
    status, said = run_bank(sample, "--seeds", "2", "-v")
    assert status == 0, said
    assert "2 gaps, 4 right answers, 4 wrong ones, 2 seeds: 0 faults, 0 missing" in said
    assert (
        "ok       wrong/magnitude.py (seed 1) scale" in said and "fails: negative numbers count, too" in said
    )
    assert said.count("wrong/") == 8 and said.count("right/") == 12


def test_faults_are_named(sample: Path) -> None:
    folder = sample / "grading" / "bank" / WEEK
    (folder / "wrong" / "mean.py").unlink()
    (folder / "right" / "einsum.py").unlink()
    head = '"""Planted.\n\nGap: {}\n"""\n\n\n# %% solution="{}"\n'
    entry(
        sample, "right/bad.py", '"""Not right."""\n\n\n# %% solution="scale"\ndef scale(x):\n    return x\n'
    )
    entry(sample, "wrong/good.py", head.format("scale", "scale") + "def scale(x):\n    return SCALE * x\n")
    entry(sample, "wrong/typo.py", head.format("scale", "scale") + "def scale(x):\n    return SCAL * x\n")
    entry(sample, "wrong/dies.py", head.format("scale", "scale") + "import os\n\nos._exit(0)\n")
    status, said = run_bank(sample)
    assert status == 1
    assert "right/bad.py (seed 0) is right, but lost 'scale'" in said
    assert "wrong/good.py (seed 0) is wrong, but passed 'scale'" in said
    assert (
        "wrong/typo.py (seed 0) should fail 'scale' by an assertion that explains, but ended in NameError"
        in said
    )
    assert "wrong/dies.py (seed 0) should fail 'scale'" in said and "the process died" in said
    assert "gap 'total' has 2 right answers in the bank, needs 3" in said
    assert "gap 'total' has 1 wrong answers in the bank, needs 2" in said
    assert "4 faults, 2 missing" in said


MALFORMED = {
    "no docstring": ('# %% solution="scale"\nx = 1\n', "needs a docstring"),
    "no gap": ('"""x"""\n\n# %% solution="scale"\nx = 1\n', "must end in `Gap: name`"),
    "another gap": ('"""x\n\nGap: total\n"""\n\n# %% solution="scale"\nx = 1\n', "must end in `Gap: name`"),
    "unknown gap": (
        '"""x\n\nGap: y\n"""\n\n# %% solution="y"\nx = 1\n',
        "replaces no gap with a test; there are scale",
    ),
    "nothing": ('"""x\n\nGap: scale\n"""\n', "replaces nothing"),
    "loose code": ('"""x\n\nGap: scale\n"""\nx = 1\n\n# %% solution="scale"\nx = 1\n', "code outside of a"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_entry_gives_one_clear_line(case: str, sample: Path) -> None:
    text, message = MALFORMED[case]
    entry(sample, "wrong/odd.py", text)
    with pytest.raises(SourceError) as caught:
        bank.read_entries(bank.read_exercise(WEEK, sample), sample)
    assert f"grading/bank/{WEEK}/wrong/odd.py: " in str(caught.value) and message in str(caught.value)


def test_an_unknown_week(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bank.main(["week00_none", "--root", str(sample)]) == 1
    assert "solutions/week00_none/week00_none.py does not exist" in capsys.readouterr().err


def test_only_needed_cells_run(sample: Path) -> None:
    exercise = bank.read_exercise(WEEK, sample)
    chosen = exercise.slice(["total"], {"total": "def total(x):\n    return 0"})
    assert [(c.kind, c.name) for c in chosen] == [
        ("given", "setup"),
        ("solution", "total"),
        ("test", "total"),
    ]
    assert chosen[1].source.endswith("return 0")
    chosen = exercise.slice(["scale"], {})
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
    job = Job("a", cells, 7)
    late = Job("b", [Cell("test", "slow", "import time\ntime.sleep(60)")])
    fresh = Job("c", [Cell("test", "fresh", "assert 'left' not in globals(), 'a fresh namespace'")])
    results = {job.label: result for job, result in run_forked([job, late, fresh], timeout=3.0)}
    first = results["a"]
    assert first["seed"].passed
    assert first["value"].error == "ValueError" and "must not end in a value" in first["value"].message
    assert (first["message"].error, first["message"].message) == ("AssertionError", "one is not two")
    assert first["broken"].error == "NameError" and "'undefined'" in first["broken"].message, (
        "the cause is told"
    )
    assert "took longer than 3 s" in results["b"]["slow"].message
    assert results["c"]["fresh"].passed
