"""A tiny course with one notebook and one exercise, on which the tools are tested: it needs NumPy only."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "tests" / "samples" / "course"
WEEK = "week99_sample"


def copy_course(target: Path) -> Path:
    """The sample course in a folder of its own, with the real grading settings."""
    shutil.copytree(SAMPLE, target)
    for room in ("intake", "results"):
        (target / "grading" / room).mkdir()
    own = "__init__ files model nbgrader_config intake/__init__ intake/copies results/__init__ results/hidden"
    for name in own.split():
        shutil.copy(ROOT / "grading" / f"{name}.py", target / "grading" / f"{name}.py")
    return target


def run_module(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """`python -m …` as a user would run it; output and errors as text."""
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def week(request: pytest.FixtureRequest) -> dict[str, Any]:
    """In test_weekNN_topic.py: that week's functions and classes, without progress bars."""
    from tools.notebooks import definitions

    names = definitions(ROOT / "notebooks" / request.path.name.removeprefix("test_"))
    names["tqdm"] = lambda iterable, **_: iterable
    return names


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A fresh copy of the sample course, in a path with a space."""
    return copy_course(tmp_path / "a course")


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample course after `make release`; tests only read it, or work in their own corner of grading/."""
    from tools import release

    course = copy_course(tmp_path_factory.mktemp("released") / "a course")
    release.release(course)
    return course
