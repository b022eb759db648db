"""A Station gives every submission its marks, ends what uses too much, and outlives its fork servers."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from grading.execution import groups, sandbox, syscalls
from grading.execution.station import Station, StationError, protection
from grading.intake.repair import repair
from grading.model import Job, Outcome
from tests import exercise_small
from tests.grading.execution import probes

FULL = sum(exercise_small.FULL.values())


PLACES = groups.places  # whatever a test has put there


def refused() -> dict[str, Path]:
    raise groups.Refused("this test wants none")


@pytest.fixture(scope="module", params=["groups", "watch"])
def station(request: pytest.FixtureRequest) -> Iterator[Station]:
    """With control groups, where they are to be had, and without."""
    sandbox.check()
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "watch":
            patch.setattr(groups, "places", refused)
        else:
            need_groups()
        with Station(preload=probes.PRELOAD) as made:
            yield made


def need_groups() -> None:
    try:
        PLACES()
    except groups.Refused as error:
        pytest.skip(f"no control groups: {error}")


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
    """The next submission has all marks, and nothing of the last one runs or is left."""
    with contextlib.suppress(groups.Refused):
        left = {file for folder in groups.places().values() for file in folder.glob(f"*-{os.getpid()}-*")}
        assert not left
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
    outcome = station.execute(probes.job(code, limits))
    assert events(outcome) == ["time"] and outcome.score == FULL and outcome.student_seconds < 10
    assert_unharmed(station)


PAGE_TABLES = """
import mmap
size = 400 * 2**30  # read once every 2 MB: a table of 4 kB for each, and no memory that a process shows
space = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, mmap.PROT_READ)
for place in range(0, size, 2**21):
    space[place]
"""
SHARED = """
import mmap
kept = []
for _ in range(100):  # in memory, but no longer in the process
    kept.append(mmap.mmap(-1, 2**23))
    kept[-1].write(b"x" * 2**23)
    kept[-1].madvise(mmap.MADV_DONTNEED)
"""
IN_FLIGHT = """
import array, os, socket
ours, theirs = socket.socketpair()
block = b"x" * 2**20
pairs = []
for _ in range(400):  # what was sent and nobody has received
    pairs.append(socket.socketpair())
    pairs[-1][0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**22)
    pairs[-1][0].setblocking(False)
    try:
        while pairs[-1][0].send(block):
            pass
    except OSError:
        pass
"""


def test_page_tables(station: Station) -> None:
    """A18, in both ways of keeping limits."""
    outcome = station.execute(probes.job(PAGE_TABLES))
    assert events(outcome) == ["memory"] and outcome.score == FULL
    assert_unharmed(station)


@pytest.mark.parametrize("code", [SHARED, IN_FLIGHT])
def test_memory_that_no_process_shows(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A18: counted where there are control groups; where there are none, the report says that it is not."""
    sandbox.check()
    need_groups()
    monkeypatch.setattr(groups, "places", PLACES)
    limits = dataclasses.replace(probes.LIMITS, memory=60 * 2**20)
    with Station(preload=probes.PRELOAD) as station:
        outcome = station.execute(probes.job(code, limits))
        assert events(outcome) == ["memory"] and outcome.score == FULL
        assert_unharmed(station)


def test_busy_processes_stretch_no_limit(station: Station) -> None:
    """A8: processes that wait for each other are no busy machine: all that they compute counts."""
    code = """
import os, time
for _ in range(12):
    if os.fork() == 0:
        while True: pass
end = time.process_time() + 1.2
while time.process_time() < end: pass
print("done")
"""
    limits = dataclasses.replace(probes.LIMITS, cell_seconds=2.0)
    outcome = station.execute(probes.job(code, limits))
    assert events(outcome) == ["time"] and "done" not in probes.printed(outcome) and outcome.score == FULL
    assert 1.5 < outcome.student_seconds < 10
    assert_unharmed(station)


def test_time_of_an_answer_counts_in_all_processes(station: Station) -> None:
    """A8: the work is done in another process, while S sleeps."""
    job = probes.job(
        """
import os, time
def burn(seconds):
    child = os.fork()
    if child == 0:
        end = time.process_time() + seconds
        while time.process_time() < end: pass
        os._exit(0)
    os.waitpid(child, 0)
burn(9)
print("done")
""",
        dataclasses.replace(probes.LIMITS, cell_seconds=2.0),
    )
    outcome = station.execute(job)
    assert events(outcome) == ["time"] and "done" not in probes.printed(outcome) and outcome.score == FULL


def test_variants_share_the_time_of_the_notebook(station: Station) -> None:
    """A9: a notebook that can be read in four ways has no more time than one."""
    code = "import time\nend = time.process_time() + 100\nwhile time.process_time() < end: pass"
    limits = dataclasses.replace(probes.LIMITS, cell_seconds=2.0, notebook_seconds=3.0)
    job = probes.job(code, limits)
    variant = (*job.variants[0][:1], *job.variants[0])  # twice: no marks are reached
    (outcome,) = tried(station, dataclasses.replace(job, variants=(variant,) * 4))
    assert "time" in events(outcome) and outcome.student_seconds < 10


def tried(station: Station, job: Job) -> list[Outcome]:
    """What came of each try at a job."""
    tries: list[Outcome] = []
    with pytest.MonkeyPatch.context() as patch:

        def one(*given: Any) -> Outcome:
            tries.append(Station._try(station, *given))
            return tries[-1]

        patch.setattr(station, "_try", one)
        station.execute(job)
    return tries


def test_a_sleeper_has_the_time_of_the_clock(station: Station) -> None:
    limits = dataclasses.replace(probes.LIMITS, clock=1.5)
    tries = tried(station, probes.job("import time\ntime.sleep(1000)", limits))
    assert [events(outcome) for outcome in tries] == [["time"]]
    assert "30 on the clock" in tries[0].limits_hit[0].words and tries[0].student_seconds < 20


def test_what_protects_is_said(station: Station) -> None:
    said = station.execute(honest()).protection
    if station.protection().startswith("limits kept by control groups"):
        assert "not enforced" not in said
    else:
        assert "this test wants none" in said and "not enforced: memory that no process shows" in said


def test_a_missing_filter_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "system_call_filter", lambda: b"")
    assert "libseccomp" in protection(True) and "no sandbox" in protection(False)


@pytest.fixture
def crowded() -> Iterator[None]:
    """This process and what it starts share one processor with three others that never rest."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("needs Linux")
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
    """Only the student's own processor time counts."""
    sandbox.check()
    code = (
        "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\nprint('done')"
    )
    limits = dataclasses.replace(probes.LIMITS, cell_seconds=0.8)
    with Station(preload=["numpy"]) as station:
        outcome = station.execute(probes.job(code, limits))
    assert probes.printed(outcome) == "done\n" and events(outcome) == [] and outcome.score == FULL


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
