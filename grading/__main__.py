"""Grading from the command line: `python -m grading --help`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

EXIT = """exit status: 0 all is well; 1 an error stopped the command; 2 some submissions could not be graded
(by
the grader's fault, they are named); 3 marks of an earlier run would change and were not accepted"""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m grading", description=__doc__, epilog=EXIT)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    sub = commands.add_parser("collect", help="take over an export of Moodle, Canvas or ILIAS, or a folder")
    sub.add_argument("week")
    sub.add_argument("archive", type=Path, help="the zip, or a folder of notebooks")
    sub.add_argument(
        "--students", type=Path, help="Moodle's grading worksheet, Canvas' gradebook, or another list (CSV)"
    )
    where(sub)

    sub = commands.add_parser("grade", help="grade what has been collected", epilog=EXIT)
    sub.add_argument("week")
    sub.add_argument("--zip", type=Path, help="collect this export or folder first")
    sub.add_argument(
        "--students", type=Path, help="Moodle's grading worksheet, Canvas' gradebook, or another list (CSV)"
    )
    sub.add_argument("--student", action="append", metavar="ID", help="only this one (may be repeated)")
    sub.add_argument("--seed", type=int, help="grading seed (default: each upload's secret one)")
    sub.add_argument("--dry-run", action="store_true", help="print what would change, record nothing")
    sub.add_argument("--force", action="store_true", help="execute again what has been executed already")
    sub.add_argument(
        "--accept", action="store_true", default=None, help="record changed marks of an earlier run"
    )
    where(sub)
    place(sub)

    sub = commands.add_parser("check", help="is a week's exercise fit to be released?")
    sub.add_argument("weeks", nargs="*", metavar="WEEK", help="such as week03_rbm; all by default")
    sub.add_argument("--seeds", type=int, default=1, help="grading seeds, from 0 on (default 1)")
    sub.add_argument("--no-bank", action="store_true", help="leave out the bank")
    sub.add_argument("--run", action="store_true", help="run the preparation too: is it done in a minute?")
    place(sub)

    sub = commands.add_parser("demo", help="a sample class, from Moodle's zip to the report")
    sub.add_argument("--out", type=Path, default=Path("build", "demo"), help="folder (default build/demo)")
    place(sub)

    sub = commands.add_parser("who", help="the students behind pseudonyms of a report or a log")
    sub.add_argument("pseudonyms", nargs="+", metavar="PSEUDONYM")
    where(sub)

    sub = commands.add_parser("trial", help="grade a class while processes are killed, and compare")
    sub.add_argument("week")
    sub.add_argument("--submissions", type=int, default=64)
    sub.add_argument("--hostile", type=int, default=8)
    sub.add_argument("--kills", type=int, default=20)
    sub.add_argument("--cell-seconds", type=float, default=20.0, metavar="S")
    sub.add_argument("--seed", type=int, default=1, help="of the class, the moments and the grading")
    sub.add_argument("--out", type=Path, default=Path("build", "trial"), help="folder (default build/trial)")
    sub.add_argument("--workers", type=int, default=2)

    sub = commands.add_parser("benchmark", help="throughput beside nbgrader autograde on the same files")
    sub.add_argument("week")
    sub.add_argument("--submissions", type=int, default=32)
    sub.add_argument("--out", type=Path, default=Path("build", "benchmark"), help="(default build/benchmark)")
    sub.add_argument("--workers", type=int, default=2)
    return top


def where(sub: argparse.ArgumentParser) -> None:
    """Options on the course's folder."""
    sub.add_argument("--gradebook", default="", help="address, such as postgresql://me@host/course")
    sub.add_argument("--folder", type=Path, help="of submissions, marks and results (default: grading/)")


def place(sub: argparse.ArgumentParser) -> None:
    """Options on where and how student code runs."""
    from grading.model import Limits

    limits = Limits()
    sub.add_argument("--workers", type=int, default=0, help="at the same time (default: one for each core)")
    sub.add_argument(
        "--scheduler", default="", help="address of a Dask scheduler, such as tcp://10.0.0.5:8786"
    )
    sub.add_argument(
        "--cell-seconds",
        type=float,
        default=limits.cell_seconds,
        metavar="S",
        help=f"processor time of a cell; on the clock it may take {limits.clock:g} times that",
    )
    sub.add_argument("--notebook-seconds", type=float, default=limits.notebook_seconds, metavar="S")
    sub.add_argument("--memory-mb", type=int, default=limits.memory >> 20, metavar="MB")
    sub.add_argument(
        "--without-sandbox",
        action="store_true",
        help="run student code with your own rights: only for code that you trust, or in a container",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    from grading import assignment, gradebook
    from grading.execution import engine, sandbox
    from grading.intake import collect, people
    from grading.proving import samples
    from tools.command import one_line
    from tools.notebooks import SourceError

    known = (
        SourceError,
        assignment.AssignmentError,
        collect.CollectError,
        engine.EngineError,
        people.PeopleError,
        gradebook.GradebookError,
        samples.SampleError,
        sandbox.SandboxError,
    )
    return one_line(*known)(COMMANDS[options.command])(options)


def _course(options: argparse.Namespace):
    from grading.run import Course

    folder = options.folder.resolve() if options.folder else Course().folder
    return Course(folder, options.gradebook)


def _place(options: argparse.Namespace):
    from grading.execution.engine import Place

    return Place(options.workers, options.scheduler, not options.without_sandbox)


def _limits(options: argparse.Namespace):
    from grading.model import Limits

    return Limits(
        cell_seconds=options.cell_seconds,
        notebook_seconds=options.notebook_seconds,
        memory=options.memory_mb << 20,
    )


def _collect(options: argparse.Namespace, archive: Path) -> None:
    from grading import assignment, run
    from grading.intake import collect
    from grading.results import times

    course = _course(options)
    zone = times.zone(run.nbgrader_config(course))
    week = assignment.assignment_from_gradebook(course.address, options.week)
    found = collect.collect(archive, options.week, course.submitted, options.students, week, zone)
    print(found.text() + found.summary())
    folder = course.results(options.week)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "collected.csv").write_text(found.csv(), encoding="utf-8", newline="")


def collect_command(options: argparse.Namespace) -> int:
    _collect(options, options.archive)
    return 0


def grade_command(options: argparse.Namespace) -> int:
    from grading import run

    if options.zip:
        _collect(options, options.zip)
    course = _course(options)
    summary = run.grade(
        course,
        options.week,
        run.Options(
            place=_place(options),
            limits=_limits(options),
            students=tuple(options.student) if options.student else None,
            seed=options.seed,
            dry_run=options.dry_run,
            force=options.force,
            accept=options.accept,
            config=run.nbgrader_config(course),
        ),
    )
    print(run.table(summary))
    if summary.recorded:
        print(f"report: {os.path.relpath(course.results(options.week) / 'report.html')}")
    return summary.status


def check_command(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from grading.execution import sandbox
    from grading.proving import bank
    from grading.proving.check import check

    place = _place(options)
    try:
        sandbox.check()
    except sandbox.SandboxError:
        place = replace(place, sandbox=False)  # solutions and bank are code of the course's own
    weeks = options.weeks or bank.banks()
    parts = {"with_bank": not options.no_bank, "with_time": options.run}
    good = [check(week, options.seeds, place, **parts) for week in weeks]
    return 0 if all(good) else 1


def demo_command(options: argparse.Namespace) -> int:
    from grading.proving.demo import demo

    return demo(options.out.resolve(), _place(options), _limits(options))


def trial_command(options: argparse.Namespace) -> int:
    from grading.proving.samples import fresh
    from grading.proving.trial import trial

    fresh(options.out.resolve())
    counts = (options.submissions, options.hostile, options.kills, options.workers, options.seed)
    limits = ["--cell-seconds", str(options.cell_seconds)]
    return 0 if trial(options.week, *counts, options.out.resolve(), limits) else 1


def benchmark_command(options: argparse.Namespace) -> int:
    from grading.proving.benchmark import benchmark
    from grading.proving.samples import fresh

    fresh(options.out.resolve())
    return 0 if benchmark(options.week, options.submissions, options.workers, options.out.resolve()) else 1


def who_command(options: argparse.Namespace) -> int:
    from grading.intake import people

    course = _course(options)
    students = [path.name for path in course.submitted.glob("*") if path.is_dir()]
    students += [path.name for path in (course.folder / "collected").glob("*/*") if path.is_dir()]
    known = people.pseudonyms(students, people.secrets_for(course.folder))
    for pseudonym in options.pseudonyms:
        print(f"{pseudonym}  {known.get(pseudonym, 'nobody of this course')}")
    return 0 if set(options.pseudonyms) <= set(known) else 1


COMMANDS = {
    "collect": collect_command,
    "grade": grade_command,
    "check": check_command,
    "demo": demo_command,
    "who": who_command,
    "trial": trial_command,
    "benchmark": benchmark_command,
}

if __name__ == "__main__":
    sys.exit(main())
