"""Run all tests, part by part, and print how long each took: `make test`.

`python -m tools.suite` runs everything, `python -m tools.suite unit bank` only these parts, and with
`--week week08_gan` only what looks at that week. All cores are used: a part with many tests spreads them over
processes (pytest-xdist), parts that are one process run side by side. What needs a program that is missing
(Chromium, PostgreSQL, bubblewrap) is skipped with its reason; with LGM_NO_SKIP=1, which CI sets, such a skip
is a failure. The exit status is 0 only if nothing failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import IO

from grading.execution.engine import cores
from tools import week

ROOT = Path(__file__).resolve().parent.parent
NO_TESTS = 5  # pytest's exit status where it collected nothing
STUDENT_VERSIONS = "tests/notebooks/test_student_versions.py"
BROWSER = "tests/tools/test_browser.py"
MOST = 4  # processes at a time: each may hold TensorFlow and a notebook's kernel, about 1.5 GB
# Processes side by side with as many threads as cores each would only wait for each other.
ONE_THREAD = dict.fromkeys(
    "TF_NUM_INTRAOP_THREADS TF_NUM_INTEROP_THREADS OMP_NUM_THREADS OPENBLAS_NUM_THREADS".split(), "1"
)
NBVAL = ("-m", "pytest", "--nbval-lax", "--nbval-current-env", "--nbval-kernel-startup-timeout=300", "-q")


@dataclass(frozen=True)
class Part:
    """A part of the suite: its commands are arguments of Python; those of pytest report each test.

    spread: how pytest-xdist spreads its tests over processes, "loadfile" where those of a file share what
    takes long to make. Without it the part is one process, and runs beside neighbours that are one, too;
    `alone` keeps such a part from that, because it uses all cores by itself.
    """

    name: str
    what: str
    commands: tuple[tuple[str, ...], ...]
    spread: str = ""
    alone: bool = False


PARTS = (
    Part("lint", "style and format", (("-m", "ruff", "check"), ("-m", "ruff", "format", "--check"))),
    Part("types", "types", (("-m", "mypy"),)),
    Part(
        "drift",
        "notebooks are what their sources give",
        (("-m", "tools.pictures", "--check"), ("-m", "tools.drift")),
    ),
    Part(
        "unit",
        "utils, tools, grading",
        (("-m", "pytest", "-m", "not slow", f"--ignore={STUDENT_VERSIONS}", f"--ignore={BROWSER}"),),
        spread="loadfile",
    ),
    Part(
        "slow",
        "the tests that take longer",
        (("-m", "pytest", "-m", "slow", f"--ignore={STUDENT_VERSIONS}", f"--ignore={BROWSER}"),),
        spread="loadfile",
    ),
    Part(
        "nbval",
        "preparations and solutions run without an error",
        ((*NBVAL, "notebooks", "solutions"),),
        spread="loadfile",
    ),
    Part(
        "bank", "right answers pass, wrong ones fail where meant", (("-m", "grading", "check"),), alone=True
    ),
    Part(
        "students",
        "student versions run with NotImplementedError only",
        (("-m", "pytest", STUDENT_VERSIONS),),
    ),
    Part("browser", "JupyterLab in Chromium", (("-m", "pytest", BROWSER),)),
)


def for_week(stem: str) -> tuple[Part, ...]:
    """The parts with only what looks at one week."""
    files = [path for path in week.parts(stem).values() if path.suffix == ".py" and path.is_file()]
    sources = [path.relative_to(ROOT).as_posix() for path in files]
    notebooks = (f"notebooks/{stem}.ipynb", f"solutions/{stem}/{stem}.ipynb")
    shared = (
        "tests/tools/test_load.py",
        "tests/utils/test_quiz.py",
        "tests/tools/test_benchmark.py",
        "tests/tools/test_notebooks.py",
        "tests/tools/test_pictures.py",
    )
    commands: dict[str, tuple[tuple[str, ...], ...]] = {
        "lint": (("-m", "ruff", "check", *sources), ("-m", "ruff", "format", "--check", *sources)),
        "unit": (
            ("-m", "pytest", f"tests/notebooks/test_{stem}.py"),
            ("-m", "pytest", "-k", stem, *shared),
            ("-m", "pytest", "tests/tools/test_readme.py"),
        ),
        "nbval": (("-m", "pytest", "--nbval-lax", "--nbval-current-env", "-q", *notebooks),),
        "students": (("-m", "pytest", "-k", stem, STUDENT_VERSIONS),),
        "bank": (("-m", "grading", "check", stem),),
    }
    kept = (part for part in PARTS if part.name in {"types", "drift", *commands})
    return tuple(replace(part, commands=commands.get(part.name, part.commands)) for part in kept)


@dataclass
class Outcome:
    """What a part did: counts of tests (a command that is not pytest counts as one) and wall seconds."""

    part: Part
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    reasons: list[str] = field(default_factory=list)

    def count(self, report: Path, status: int) -> None:
        """Add the tests of a JUnit report; a non-zero status without a failed test is a failure too."""
        failed = 0
        for case in ElementTree.parse(report).iter("testcase") if report.is_file() else ():
            skip = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
            elif skip is None or skip.get("type") == "pytest.xfail":
                self.passed += 1
            else:
                reason = skip.get("message") or "no reason given"
                self.reasons.append(reason)
                self.skipped += not forbidden(reason)
                failed += forbidden(reason)
        self.failed += max(failed, int(status not in (0, NO_TESTS)))


def forbidden(reason: str) -> bool:
    """Whether this skip is a failure: with LGM_NO_SKIP=1, any but for want of what comes from elsewhere."""
    elsewhere = "LGM_DATA_DIR" in reason or "optional: " in reason  # PyTorch, KerasHub: no dependencies
    return os.environ.get("LGM_NO_SKIP", "0") not in ("", "0") and not elsewhere


def environment() -> dict[str, str]:
    """Environment of the parts: programs installed beside this Python, and nobody's own IPython settings."""
    new = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1"}
    new["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    return new


def run_part(part: Part, folder: Path, jobs: int = 1, output: IO[bytes] | None = None) -> Outcome:
    """Run a part's commands in order, all of them even if one fails; their output goes to `output`.

    jobs: over how many processes a part spreads its tests.
    """
    outcome = Outcome(part)
    began = time.monotonic()
    env = environment() | {"IPYTHONDIR": str(folder / "ipython")}
    if jobs > 1 and not part.alone:
        env = ONE_THREAD | env
    for number, command in enumerate(part.commands):
        report = folder / f"{part.name}{number}.xml"
        pytest = command[:2] == ("-m", "pytest")
        extra = [f"--junitxml={report}", "--durations=8", "--durations-min=3"] if pytest else []
        if pytest and part.spread and jobs > 1:
            extra += ["-n", str(jobs), "--dist", part.spread]
        status = subprocess.run(
            [sys.executable, *command, *extra], cwd=ROOT, env=env, stdout=output, stderr=output
        ).returncode
        if pytest:
            outcome.count(report, status)
        else:
            outcome.passed += status == 0
            outcome.failed += status != 0
    outcome.seconds = time.monotonic() - began
    return outcome


def run(parts: Sequence[Part], jobs: int = 1) -> list[Outcome]:
    """Run the parts in order, with `jobs` processes at a time.

    The output of a part that runs alone is seen at once, of those side by side as each one ends.
    """
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(jobs) as pool:
        folder = Path(name)

        def beside(part: Part) -> Outcome:
            with open(folder / f"{part.name}.log", "w+b") as output:
                outcome = run_part(part, folder, jobs, output)
                output.seek(0)
                text = output.read().decode("utf-8", "replace")
            print(f"{title(part)}\n{text}", flush=True)
            return outcome

        for alone, group in groupby(parts, lambda part: bool(part.spread) or part.alone or jobs == 1):
            several = list(group)
            if not alone and len(several) > 1:
                outcomes += pool.map(beside, several)
                continue
            for part in several:
                print(title(part), flush=True)
                outcomes.append(run_part(part, folder, jobs))
    return outcomes


def title(part: Part) -> str:
    """The line above a part's output."""
    return "\n" + f"──── {part.name}: {part.what} ".ljust(100, "─")


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """The table of parts, the reasons of skips, and a last line as pytest's."""
    lines = [f"{'part':10}{'minutes':>8}{'passed':>8}{'failed':>8}{'skipped':>9}"]
    for o in outcomes:
        lines.append(f"{o.part.name:10}{o.seconds / 60:8.2f}{o.passed:8}{o.failed:8}{o.skipped:9}")
    for reason in sorted({reason for o in outcomes for reason in o.reasons}):
        lines.append(f"skipped{', which LGM_NO_SKIP forbids' if forbidden(reason) else ''}: {reason}")
    totals = {key: sum(getattr(o, key) for o in outcomes) for key in ("passed", "failed", "skipped")}
    counts = ", ".join(f"{total} {key}" for key, total in totals.items()) + f" in {seconds:.2f}s"
    lines.append(f"==== {counts} ({seconds / 60:.1f} minutes) ====")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="python -m tools.suite", description="Run all tests, part by part.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(names)}; default: all")
    most = min(cores(), MOST)
    parser.add_argument("--jobs", type=int, default=most, help=f"processes at a time (default {most})")
    parser.add_argument("--week", default="", help="only what looks at this week, such as week08_gan")
    options = parser.parse_args(arguments)
    if options.week and not (ROOT / "notebooks" / f"{options.week}.py").is_file():
        parser.error(f"there is no notebooks/{options.week}.py: write it by `make week WEEK={options.week}`")
    if unknown := set(options.parts) - set(names):
        parser.error(f"no part is called {', '.join(sorted(unknown))}: choose from {', '.join(names)}")
    began = time.monotonic()
    parts = for_week(options.week) if options.week else PARTS
    outcomes = run([p for p in parts if not options.parts or p.name in options.parts], options.jobs)
    print("\n" + summary(outcomes, time.monotonic() - began), flush=True)
    return int(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
