"""A whole class graded while processes die: `python -m grading trial WEEK --submissions 64 --kills 20`.

An undisturbed run and one that is killed again and again, coordinator and workers, must leave the same marks
in two gradebooks, submission by submission, and these must be the ones that are known beforehand.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from grading.assignment import assignment_from_source
from grading.execution.station import alive
from grading.model import Assignment
from grading.proving import samples
from grading.proving.hostile import hostile_class
from grading.results.record import automatic_marks
from tools import release
from tools.notebooks import ROOT


def course_folder(folder: Path, week: str, class_: Sequence[samples.Sample]) -> None:
    """A course of its own: gradebook with the week's tests, and what the class handed in."""
    folder.mkdir(parents=True, exist_ok=True)
    build = ROOT / "build"  # nbgrader writes below the course only
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build, prefix="release-") as staged:
        place = Path(staged).relative_to(ROOT).as_posix()
        release.generate(ROOT, folder / "gradebook.db", place, week)
    for number, sample in enumerate(class_):
        path = folder / "submitted" / f"student{number:03d}" / week / f"{week}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.notebook)


def class_of(week: str, assignment: Assignment, n: int, hostile: int, seed: int) -> list[samples.Sample]:
    """n submissions, `hostile` of them, in an order of their own."""
    made = samples.honest(week, assignment, n - hostile, seed)
    made += hostile_class(assignment, hostile)
    random.Random(seed).shuffle(made)
    return made


def command(folder: Path, week: str, workers: int, seed: int, more: Sequence[str] = ()) -> list[str]:
    """The grading command for a course of the trial."""
    line = [sys.executable, "-m", "grading", "grade", week, "--folder", str(folder), "--accept"]
    return [*line, "--workers", str(workers), "--seed", str(seed), *more]


def start(line: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a grading run that writes to a log."""
    with log.open("ab") as file:
        return subprocess.Popen(line, cwd=ROOT, stdout=file, stderr=file, stdin=subprocess.DEVNULL)


def below(pid: int) -> list[psutil.Process]:
    """All processes started by a process."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def killed_run(line: list[str], log: Path, kills: int, span: float, rng: random.Random) -> tuple[int, float]:
    """Kill the coordinator or a process below it at random moments, going on each time; then run to the end.

    A run that ends before all kills were made is followed by one that executes everything again. span:
    seconds of an undisturbed run. Returns the kills that hit a coordinator, and seconds.
    """
    began, hit, more = time.monotonic(), 0, list[str]()
    process = start(line, log)
    for number in range(kills):
        deadline = time.monotonic() + rng.uniform(0.02, 0.3) * span
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if process.poll() is not None:  # it ended by itself, or by the death of a process below it
            more = ["--force"] if process.returncode == 0 else more
            process = start([*line, *more], log)
            time.sleep(rng.uniform(0.02, 0.3) * span)
        family = below(process.pid)
        if number % 2 and family:
            with suppress(psutil.NoSuchProcess):
                rng.choice(family).kill()  # the run goes on with a new one
            continue
        hit += 1
        process.kill()
        process.wait()
        gone_by = time.monotonic() + 60
        while any(p.is_running() and alive(p) for p in family):
            if time.monotonic() > gone_by:
                raise RuntimeError("processes outlive a killed coordinator")
            time.sleep(0.1)
        process = start([*line, *more], log)
    if process.wait() != 0:
        process = start(line, log)
    if process.wait() != 0:
        raise RuntimeError(f"the last run ended with status {process.returncode}; see {log}")
    return hit, time.monotonic() - began


def trial(
    week: str,
    n: int,
    hostile: int,
    kills: int,
    workers: int,
    seed: int,
    folder: Path,
    limits: Sequence[str] = (),
) -> bool:
    """The whole trial; prints what it found and returns whether all is well."""
    assignment = assignment_from_source(week)
    class_ = class_of(week, assignment, n, hostile, seed)
    folders = [folder / "undisturbed", folder / "killed"]
    for course in folders:
        course_folder(course, week, class_)
    began = time.monotonic()
    first = start(command(folders[0], week, workers, seed, limits), folder / "undisturbed.log").wait()
    span = time.monotonic() - began
    print(f"undisturbed: {n} submissions ({hostile} hostile) in {span:.0f} s, status {first}")
    rng = random.Random(seed)
    line = command(folders[1], week, workers, seed, limits)
    hit, seconds = killed_run(line, folder / "killed.log", kills, span, rng)
    print(f"killed {kills} times, {hit} of them the coordinator, and resumed: {seconds:.0f} s")
    marks = [automatic_marks(course / "gradebook.db", week) for course in folders]
    tests = {cell.name: cell.gap for cell in assignment.cells if cell.kind == "test"}
    faults = [] if first == 0 else [f"the undisturbed run ended with status {first}"]
    for number, sample in enumerate(class_):
        student = f"student{number:03d}"
        for run, book in zip(folders, marks, strict=True):
            got = {tests[name]: mark for name, mark in book.get(student, {}).items() if name in tests}
            if got != sample.points:
                wrong = {g: (got.get(g), p) for g, p in sample.points.items() if got.get(g) != p}
                faults.append(f"{run.name}: {student} ({sample.name}) has, should have: {wrong}")
    same = marks[0] == marks[1]
    if not same:
        faults.append("the two gradebooks differ")
    print(
        "\n".join(f"FAULT  {fault}" for fault in faults) or "all marks as expected, both gradebooks the same"
    )
    return not faults
