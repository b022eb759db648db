"""A Station gives every submission its marks, ends what uses too much, and outlives its fork servers."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from grading.execution import sandbox
from grading.execution.station import Station, StationError
from grading.intake.repair import repair
from grading.model import Job, Outcome
from tests import exercise_small
from tests.grading.execution import probes

FULL = sum(exercise_small.FULL.values())


@pytest.fixture(scope="module")
def station() -> Iterator[Station]:
    sandbox.check()
    with Station(preload=probes.PRELOAD) as made:
        yield made


def honest(open_gaps: tuple[str, ...] = ()) -> Job:
    return Job(
        "p1",
        exercise_small.ASSIGNMENT,
        repair(exercise_small.solved(open_gaps), exercise_small.ASSIGNMENT).variants,
        4,
    )


def events(outcome: Outcome) -> list[str]:
    return [event.limit for event in outcome.limits_hit]


def assert_unharmed(station: Station) -> None:
    """The next submission has all marks, and nothing of the last one runs."""
    assert all(not server.family() for server in station._servers.values())
    outcome = station.execute(honest())
    assert not outcome.failure and outcome.score == FULL and not outcome.limits_hit


def test_marks_of_what_is_there(station: Station) -> None:
    outcome = station.execute(honest(("draw", "train")))
    assert outcome.score == FULL - 7.0 and not outcome.failure


def test_memory(station: Station) -> None:
    outcome = station.execute(probes.job("import numpy as np\nkept = [np.ones(2**17) for _ in iter(int, 1)]"))
    assert events(outcome) == ["memory"] and outcome.score == FULL
    assert "300" in outcome.limits_hit[0].words and outcome.peak_memory > 200 * 2**20
    assert_unharmed(station)


def test_fork_bomb(station: Station) -> None:
    outcome = station.execute(
        probes.job("import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass")
    )
    assert set(events(outcome)) <= {"processes", "time"} and events(outcome) and outcome.score == FULL
    assert_unharmed(station)


def test_children_that_outlive_their_cell(station: Station) -> None:
    code = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            time.sleep(0.1)
    os._exit(0)
"""
    outcome = station.execute(probes.job(code))
    assert outcome.score == FULL
    assert_unharmed(station)


def test_endless_loop_that_catches_everything(station: Station) -> None:
    limits = dataclasses.replace(probes.LIMITS, cell_seconds=1.0)
    code = "while True:\n    try:\n        while True: pass\n    except BaseException:\n        pass"
    began = time.monotonic()
    outcome = station.execute(probes.job(code, limits))
    assert events(outcome) == ["time"] and outcome.score == FULL
    assert time.monotonic() - began < 300
    assert_unharmed(station)


@pytest.fixture
def crowded() -> Iterator[None]:
    """This process and what it starts share one processor with three others that never rest."""
    if not hasattr(os, "sched_setaffinity") or not Path("/proc/self/schedstat").exists():
        pytest.skip("needs Linux with schedstat")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()
        os.sched_setaffinity(0, before)


def test_a_crowded_machine_costs_no_marks(crowded: None) -> None:
    """0.3 s of work takes 1.2 where three others work; the limit of 0.8 must not strike."""
    sandbox.check()
    code = (
        "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\nprint('done')"
    )
    limits = dataclasses.replace(probes.LIMITS, cell_seconds=0.8)
    with Station(preload=["numpy"]) as station:
        outcome = station.execute(probes.job(code, limits))
    assert probes.printed(outcome) == "done\n" and events(outcome) == [] and outcome.score == FULL


def test_sleeping_is_given_no_more_time(station: Station) -> None:
    limits = dataclasses.replace(probes.LIMITS, cell_seconds=2.0)
    tries = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(station, "_try", lambda *given: tries.append(given) or Station._try(station, *given))
        outcome = station.execute(probes.job("import time\ntime.sleep(1000)", limits))
    assert events(outcome) == ["time"] and outcome.score == FULL and len(tries) == 1


@pytest.mark.parametrize("role", ["student", "trusted"])
def test_a_killed_fork_server_is_started_anew(station: Station, role: str) -> None:
    os.kill(station._servers[role].pid or station._servers[role].process.pid, signal.SIGKILL)
    outcome = station.execute(honest())
    assert not outcome.failure and outcome.score == FULL


def test_nothing_is_left_when_it_is_closed() -> None:
    sandbox.check()
    with Station(preload=["numpy"]) as one:
        family = [
            p for s in one._servers.values() for p in psutil.Process(s.process.pid).children(recursive=True)
        ]
        family += [psutil.Process(s.process.pid) for s in one._servers.values()]
        assert one.execute(honest()).score == FULL
    gone, alive = psutil.wait_procs(family, timeout=60)
    assert not alive


def test_a_student_process_that_cannot_start_is_no_fault_of_the_student() -> None:
    with Station(sandbox=False, preload=["numpy"], serve="os.abort") as broken:  # any answer but "ready"
        outcome = broken.execute(honest())
    assert "did not start" in outcome.failure and outcome.gaps == ()


def test_a_trusted_process_that_dies_is_no_fault_of_the_student() -> None:
    with Station(sandbox=False, preload=["numpy"], run="os.abort") as broken:
        outcome = broken.execute(honest())
    assert outcome.failure and outcome.gaps == ()


def test_a_fork_server_that_cannot_start_says_why() -> None:
    with (
        pytest.raises(StationError, match=r"fork server for trusted did not start.*no_such_module"),
        Station(sandbox=False, preload=["numpy"], run="no_such_module.run"),
    ):
        pass
