"""Throughput beside `nbgrader autograde`, on the same files in one run: `python -m grading benchmark WEEK`.

nbgrader runs a submission in one kernel without a sandbox; the engine runs two processes for each. Prints the
seconds of each phase, the pure computing time C of a submission and the ratio of the whole commands.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil

from grading.assignment import assignment_from_source
from grading.proving import samples, trial
from grading.run import Course
from tools.notebooks import ROOT

NBGRADER_CONFIG = """
c = get_config()
c.CourseDirectory.root = {root!r}
c.CourseDirectory.db_url = "sqlite:///" + {db!r}
c.CourseDirectory.submitted_directory = "submitted"
c.CourseDirectory.autograded_directory = "autograded-nbgrader"
c.Execute.timeout = 120
c.Execute.startup_timeout = 120
c.Execute.extra_arguments = ["--IPKernelApp.exec_lines=import sys; sys.stderr.name = 'stdout'"]
c.IgnorePattern.enabled = True
c.IgnorePattern.pattern = r"[\\s\\S]"
"""


def peak_of(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process; the most memory (bytes, resident) that it had itself, without its children."""
    peak = 0
    while process.poll() is None:
        try:
            peak = max(peak, psutil.Process(process.pid).memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.2)
    process.wait()
    return peak


def ours(folder: Path, week: str, workers: int) -> tuple[float, int, str]:
    """Seconds of the whole command, the coordinator's peak memory, its last lines."""
    log, began = folder / "ours.log", time.monotonic()
    process = trial.start(trial.command(folder, week, workers, seed=1), log)
    peak = peak_of(process)
    if process.returncode:
        raise RuntimeError(f"grading ended with status {process.returncode}; see {log}")
    return time.monotonic() - began, peak, log.read_text(encoding="utf-8").strip().splitlines()[-2]


def theirs(folder: Path, week: str) -> float:
    """Seconds of nbgrader autograde on the same files."""
    config = folder / "nbgrader_config.py"
    config.write_text(NBGRADER_CONFIG.format(root=str(folder), db=str(folder / "nbgrader.db")))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "nbgrader", "autograde", week, "--config", str(config)]
    with (folder / "nbgrader.log").open("wb") as log:
        began = time.monotonic()
        subprocess.run(line, cwd=folder, stdout=log, stderr=log, env=environment, check=False)
        return time.monotonic() - began


def pure_seconds(folder: Path, week: str) -> float:
    """C: the median time of a submission from its first cell to its last, as the logs tell."""
    seconds = []
    for path in Course(folder).results(week).glob("logs/*.log"):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        seconds.append(float(first.split(" points in ")[1].split(" s")[0]))
    return statistics.median(seconds)


def benchmark(week: str, n: int, workers: int, folder: Path, goal: float = 3.0) -> bool:
    """Both commands on the same n submissions; True if the ratio reaches the goal."""
    assignment = assignment_from_source(week)
    class_ = samples.honest(week, assignment, n)
    trial.course_folder(folder, week, class_)
    shutil.copy(folder / "gradebook.db", folder / "nbgrader.db")
    mine, peak, phases = ours(folder, week, workers)
    print(f"engine: {mine:.0f} s for {n} submissions, {n / mine * 60:.1f} a minute; {phases}")
    print(f"C, computing time of a submission: {pure_seconds(folder, week):.1f} s (median)")
    print(f"coordinator: {peak / 2**20:.0f} MB at the peak")
    other = theirs(folder, week)
    graded = len(list((folder / "autograded-nbgrader").glob(f"*/{week}/{week}.ipynb")))
    print(f"nbgrader autograde: {other:.0f} s, {graded} of {n} graded")
    print(f"ratio {other / mine:.1f} (goal: at least {goal:g})")
    return other / mine >= goal
