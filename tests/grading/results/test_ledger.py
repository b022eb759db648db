"""grading/results/ledger.py: results that survive kills, and files that somebody has touched."""

from __future__ import annotations

import dataclasses
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grading.model import CellRun, CleanCell, GapResult, Limits, Outcome
from grading.results.ledger import Ledger, key
from tests.conftest import ROOT

A = key("a" * 64, "b" * 64, "1", 5, Limits())
OUTCOME = Outcome(
    "s1",
    1,
    (
        CellRun(
            CleanCell("x", "solution", "ü = '\ud800'"), ({"output_type": "stream", "text": "ä\n"},), 3, 0.25
        ),
    ),
    (GapResult("x", 0.1 + 0.2, 3.0, False, "AssertionError", "no\nway", hidden=True),),
    suspicions=("odd",),
    peak_memory=2**40,
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "results")


def test_a_result_comes_back_exactly(ledger: Ledger) -> None:
    assert ledger.get(A) is None
    assert ledger.put(A, OUTCOME)
    assert ledger.get(A) == OUTCOME
    assert ledger.get(A, "s2") == dataclasses.replace(OUTCOME, pseudonym="s2"), "two students, one file"
    assert A in ledger and list(ledger.keys()) == [A]


def test_numbers_that_json_does_not_know(ledger: Ledger) -> None:
    ledger.put(A, dataclasses.replace(OUTCOME, seconds=math.inf))
    found = ledger.get(A)
    assert found is not None and found.seconds == math.inf


@pytest.mark.parametrize(
    "other",
    [
        key("c" * 64, "b" * 64, "1", 5, Limits()),
        key("a" * 64, "c" * 64, "1", 5, Limits()),
        key("a" * 64, "b" * 64, "2", 5, Limits()),
        key("a" * 64, "b" * 64, "1", 6, Limits()),
        key("a" * 64, "b" * 64, "1", 5, Limits(memory=1)),
    ],
)
def test_all_that_a_result_depends_on_is_in_its_key(other: str) -> None:
    assert other != A


def test_a_key_stays_the_same_in_another_process() -> None:
    code = "from grading.results.ledger import *; print(key('a' * 64, 'b' * 64, '1', 5, Limits()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == A


def test_a_failure_is_not_done(ledger: Ledger) -> None:
    assert not ledger.put(A, dataclasses.replace(OUTCOME, failure="the worker died"))
    assert ledger.get(A) is None and not list(ledger.keys())


def test_any_cut_or_changed_byte_is_noticed(ledger: Ledger) -> None:
    ledger.put(A, OUTCOME)
    path = next(ledger.folder.glob("*/*.json"))
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        assert ledger.get(A) is None, f"cut after {end} bytes"
    chance = random.Random(0)
    for place in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[place] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(changed))
        assert ledger.get(A) in (None, OUTCOME), f"byte {place} changed"
    assert ledger.damaged == [path], "named once"
    path.write_bytes(whole)
    assert ledger.get(A) == OUTCOME
    path.write_bytes(whole.replace(b'"points": 0.3', b'"points": 3.3'))
    assert ledger.get(A) is None


def test_a_file_under_another_key_is_not_believed(ledger: Ledger) -> None:
    ledger.put(A, OUTCOME)
    other = key("c" * 64, "b" * 64, "1", 5, Limits())
    target = ledger.folder / other[:2] / f"{other}.json"
    target.parent.mkdir(exist_ok=True)
    next(ledger.folder.glob("*/*.json")).rename(target)
    assert ledger.get(other) is None and ledger.damaged == [target]


def test_with_a_secret_nobody_else_writes_results(ledger: Ledger) -> None:
    ledger.put(A, OUTCOME)
    assert Ledger(ledger.folder, b"secret").get(A) is None
    Ledger(ledger.folder, b"secret").put(A, OUTCOME)
    assert Ledger(ledger.folder, b"secret").get(A) == OUTCOME


def test_a_key_is_no_path(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="no key"):
        ledger.get("../../etc/passwd")


def test_cleaning(ledger: Ledger) -> None:
    other = key("c" * 64, "b" * 64, "1", 5, Limits())
    ledger.put(A, OUTCOME)
    ledger.put(other, OUTCOME)
    folder = ledger.folder / A[:2]
    foreign, old = folder / f".{A[:16]}.00000000.1.x.tmp", folder / f".{A[:16]}.00000000.1.y.tmp"
    from grading.results.ledger import _here

    mine = folder / f".{A[:16]}.{_here()}.{os.getpid()}.z.tmp"
    for path in (foreign, old, mine):
        path.write_text("half")
    os.utime(old, (0, 0))
    assert ledger.clean() == 1 and foreign.exists() and mine.exists() and not old.exists()
    assert list(ledger.keys()) == sorted([A, other]), "temporary files are no results"
    assert ledger.clean(keep={other}) == 1 and list(ledger.keys()) == [other]


WRITER = """
import itertools, sys
from pathlib import Path
from grading.results.ledger import Ledger, key
from grading.model import GapResult, Limits, Outcome
ledger = Ledger(Path(sys.argv[1]))
print("ready", flush=True)
for turn in itertools.count():
    number = turn % 4
    seconds = float(sys.argv[2]) + turn
    text = str(seconds) * 20_000
    ledger.put(key(str(number), "", "", 0, Limits()), Outcome("s", seconds=seconds, suspicions=(text,)))
"""


def test_writers_killed_at_any_moment(ledger: Ledger) -> None:
    """Two writers of the same four results, 30 kills: what is there is whole and is not lost again."""
    keys = [key(str(number), "", "", 0, Limits()) for number in range(4)]
    chance = random.Random(1)
    seen: set[int] = set()
    for start in range(15):
        command = [sys.executable, "-c", WRITER, str(ledger.folder)]
        writers = [
            subprocess.Popen([*command, str(1000 * start + i)], cwd=ROOT, stdout=subprocess.PIPE)
            for i in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        for writer in writers:
            time.sleep(chance.uniform(0.0, 0.05))
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        for number, name in enumerate(keys):
            outcome = ledger.get(name)
            assert outcome is not None or number not in seen, "what was there has been lost"
            if outcome is not None:
                seen.add(number)
                assert outcome.suspicions == (str(outcome.seconds) * 20_000,), "of two writers"
    assert not ledger.damaged and seen
    ledger.clean()
    assert not list(ledger.folder.rglob("*.tmp")), "nothing of the killed writers stays"
