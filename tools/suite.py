"""Run all tests, part by part, and print how long each took: `make test`.

`python -m tools.suite` runs everything, `python -m tools.suite unit bank` only these parts, and with
`--week week08_gan` only what looks at that week. What needs a program that is missing (Chromium, PostgreSQL,
bubblewrap) is skipped with its reason; with LGM_NO_SKIP=1, which CI sets, such a skip is a failure. The exit
status is 0 only if nothing failed.
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
from pathlib import Path
from typing import IO

from tools import week

ROOT = Path(__file__).resolve().parent.parent
NO_TESTS = 5  # pytest's exit status where it collected nothing
STUDENT_VERSIONS = "tests/test_student_versions.py"
BROWSER = "tests/test_browser.py"


@dataclass(frozen=True)
class Part:
    """A part of the suite: its commands are arguments of Python; those of pytest report each test."""

    name: str
    what: str
    commands: tuple[tuple[str, ...], ...]


PARTS = (
    Part("lint", "style and format", (("-m", "ruff", "check"), ("-m", "ruff", "format", "--check"))),
    Part("types", "types", (("-m", "mypy"),)),
    Part(
        "drift",
        "notebooks are what their sources give",
        (("-m", "tools.pictures", "--check"), ("-m", "tools.notebooks", "--check")),
    ),
    Part(
        "unit",
        "utils, tools, grading",
        (("-m", "pytest", "-m", "not slow", f"--ignore={STUDENT_VERSIONS}", f"--ignore={BROWSER}"),),
    ),
    Part(
        "slow",
        "the tests that take longer",
        (("-m", "pytest", "-m", "slow", f"--ignore={STUDENT_VERSIONS}", f"--ignore={BROWSER}"),),
    ),
    Part(
        "nbval",
        "preparations and solutions run without an error",
        (("-m", "pytest", "--nbval-lax", "--nbval-current-env", "-q", "notebooks", "solutions"),),
    ),
    Part(
        "students",
        "student versions run with NotImplementedError only",
        (("-m", "pytest", STUDENT_VERSIONS),),
    ),
    Part("bank", "right answers pass, wrong ones fail where meant", (("-m", "grading", "check"),)),
    Part("browser", "JupyterLab in Chromium", (("-m", "pytest", BROWSER),)),
)


def for_week(stem: str) -> tuple[Part, ...]:
    """The parts with only what looks at one week."""
    files = [path for path in week.parts(stem).values() if path.suffix == ".py" and path.is_file()]
    sources = [path.relative_to(ROOT).as_posix() for path in files]
    notebooks = (f"notebooks/{stem}.ipynb", f"solutions/{stem}/{stem}.ipynb")
    shared = (
        "tests/test_load.py",
        "tests/test_quiz.py",
        "tests/test_benchmark.py",
        "tests/test_notebooks.py",
    )
    commands: dict[str, tuple[tuple[str, ...], ...]] = {
        "lint": (("-m", "ruff", "check", *sources), ("-m", "ruff", "format", "--check", *sources)),
        "unit": (
            ("-m", "pytest", f"tests/test_{stem}.py"),
            ("-m", "pytest", "-k", stem, *shared),
            ("-m", "pytest", "tests/test_readme.py"),
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
    """Whether this skip is a failure: with LGM_NO_SKIP=1, any but for want of data from elsewhere."""
    return os.environ.get("LGM_NO_SKIP", "0") not in ("", "0") and "LGM_DATA_DIR" not in reason


def environment() -> dict[str, str]:
    """Environment of the parts: programs installed beside this Python, and nobody's own IPython settings."""
    new = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1"}
    new["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    return new


def run_part(part: Part, folder: Path, output: IO[bytes] | None = None) -> Outcome:
    """Run a part's commands in order, all of them even if one fails; their output goes to `output`."""
    outcome = Outcome(part)
    began = time.monotonic()
    for number, command in enumerate(part.commands):
        report = folder / f"{part.name}{number}.xml"
        pytest = command[:2] == ("-m", "pytest")
        extra = [f"--junitxml={report}", "--durations=8", "--durations-min=3"] if pytest else []
        env = environment() | {"IPYTHONDIR": str(folder / "ipython")}
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
    """Run the parts, `jobs` at a time; with one job their output is seen at once, else as each one ends."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def one(part: Part) -> Outcome:
            title = f"──── {part.name}: {part.what} "
            if jobs == 1:
                print(f"\n{title:─<100}", flush=True)
                return run_part(part, folder)
            with open(folder / f"{part.name}.log", "w+b") as output:
                outcome = run_part(part, folder, output)
                output.seek(0)
                text = output.read().decode("utf-8", "replace")
            print(f"\n{title:─<100}\n{text}", flush=True)
            return outcome

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(one, parts))


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
    parser.add_argument("--jobs", type=int, default=1, help="parts at a time (default 1)")
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
