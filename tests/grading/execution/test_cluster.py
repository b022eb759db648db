"""Grading on a Dask cluster: scheduler and workers as processes of their own, one of which dies."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from grading.execution import sandbox
from grading.execution.engine import Place, execute
from grading.intake.repair import repair
from grading.model import Job
from tests import exercise_small

pytest.importorskip("distributed")
ROOT = Path(__file__).resolve().parents[3]


def start(module: str, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    folder.mkdir()
    line = [sys.executable, "-m", f"distributed.cli.{module}", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(line, cwd=folder, env=environment, stdout=log, stderr=log)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The scheduler's address and two workers (their nannies), each in a directory of its own."""
    file = tmp_path / "scheduler.json"
    processes = [
        start(
            "dask_scheduler",
            tmp_path / "scheduler",
            *("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)),
        )
    ]
    try:
        deadline = time.monotonic() + 180
        while not file.exists() or not file.read_text().strip():
            assert time.monotonic() < deadline, (tmp_path / "scheduler" / "log").read_text()
            time.sleep(0.1)
        options = ["--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"]
        options += ["--preload", "tests.grading.execution.small_station"]
        for i in range(2):
            processes.append(start("dask_worker", tmp_path / f"worker{i}", *options))
        yield json.loads(file.read_text())["address"], processes[1:]
    finally:
        family = [p for process in processes for p in children(process.pid)]
        for process in reversed(processes):  # a worker would look for its scheduler for a minute
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=60)
            process.kill()
            process.wait()
        gone, left = psutil.wait_procs(family, timeout=60)
        for one in left:
            one.kill()
        assert not left, f"still running after the cluster was ended: {left}"


def children(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


@pytest.mark.slow
def test_same_scores_and_a_killed_worker_loses_nothing(cluster) -> None:
    try:
        sandbox.check()
        sandboxed = True
    except sandbox.SandboxError:
        sandboxed = False
    address, workers = cluster
    open_gaps = [[], ["draw"], ["train", "log_sum_exp"]]
    expected, jobs = {}, []
    full = {cell.gap: cell.points for cell in exercise_small.ASSIGNMENT.cells if cell.kind == "test"}
    for i in range(12):
        gaps = open_gaps[i % 3]
        variants = repair(exercise_small.solved(gaps), exercise_small.ASSIGNMENT).variants
        jobs.append(Job(f"p{i}", exercise_small.ASSIGNMENT, variants, seed=5))
        expected[f"p{i}"] = full | dict.fromkeys(gaps, 0.0)
    scores = {}
    for number, outcome in enumerate(execute(jobs, Place(scheduler=address, sandbox=sandboxed)), 1):
        assert not outcome.failure, outcome.failure
        scores[outcome.pseudonym] = {gap.gap: gap.points for gap in outcome.gaps}
        if number == 3:
            victim = next(p for p in children(workers[0].pid) if "spawn_main" in " ".join(p.cmdline()))
            victim.kill()
    assert scores == expected
