"""Student versions of the exercises: `python -m tools.release` makes exercises/ from solutions/ by nbgrader.

It brings the notebooks of solutions/ up to date, records the tests in the instructors' gradebook
(grading/gradebook.db), which `nbgrader autograde` needs, and writes exercises/.
"""

from __future__ import annotations

import argparse
import fnmatch
import logging
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbgrader.converters import GenerateAssignment
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from tools import notebooks
from tools.command import one_line
from tools.notebooks import ROOT, SourceError

# What a solution's folder may pass on to students besides the notebook.
DATA_FILES = ("*.png", "*.jpg", "*.svg", "*.gif", "*.csv", "*.json", "*.npz", "*.npy", "*.txt")


class ReleaseError(SourceError):
    """A release that cannot be made; the message is one line that says what to do."""


def settings(root: Path = ROOT) -> Config:
    """The course's nbgrader settings, applied to the checkout `root`."""
    config = PyFileConfigLoader("nbgrader_config.py", path=str(ROOT / "grading")).load_config()
    config.CourseDirectory.root = str(root)
    config.CourseDirectory.db_url = f"sqlite:///{root / 'grading' / 'gradebook.db'}"
    return config


def generate(
    root: Path, gradebook: Path | None = None, release: str = "exercises", week: str = ""
) -> list[Path]:
    """Write the student version of each notebook in root/solutions, or of one week's, to root/`release`.

    gradebook: SQLite file that gets the full tests; by default a temporary one.
    """
    with tempfile.TemporaryDirectory() as temporary:
        config = settings(root)
        config.CourseDirectory.db_url = f"sqlite:///{gradebook or Path(temporary) / 'gradebook.db'}"
        config.CourseDirectory.release_directory = release
        chosen = [folder for folder in weeks(root) if week in ("", folder.name)]
        return [_generate_week(folder, config, release) for folder in chosen]


def weeks(root: Path) -> list[Path]:
    """The folders of solutions/ that hold an exercise."""
    return [folder for folder in sorted((root / "solutions").glob("*")) if any(folder.glob("*.ipynb"))]


def _generate_week(folder: Path, config: Config, release: str) -> Path:
    _check_files(folder, config.CourseDirectory.ignore)
    coursedir = CourseDirectory(config=config)
    coursedir.assignment_id = folder.name
    converter = GenerateAssignment(coursedir=coursedir, config=config)
    converter.force = True
    converter.log = log = logging.Logger("release", logging.ERROR)  # nbgrader tells every step
    log.addHandler(told := _Told())
    try:
        converter.start()
    except (SystemExit, Exception) as error:
        text = told.reason() or str(error)
        if "submissions associated" in text:
            text += "; to start anew, move grading/gradebook.db away"
        raise ReleaseError(f"nbgrader cannot release {folder.name}: {text}") from error
    made = folder.parent.parent / release / folder.name / f"{folder.name}.ipynb"
    path = made.with_name(notebooks.exercise_name(folder.name))
    path.write_bytes(notebooks.dump(nbformat.read(made, as_version=4)).encode())
    made.unlink()
    return path


def _check_files(folder: Path, ignored: list[str]) -> None:
    """Refuse what is neither kept back nor plain data: nbgrader would hand it to students."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_dir() or any(fnmatch.fnmatch(part, glob) for part in relative.parts for glob in ignored):
            continue
        if not any(fnmatch.fnmatch(path.name, glob) for glob in DATA_FILES):
            raise ReleaseError(
                f"solutions/{folder.name}/{relative} would go to the students: add its kind to"
                " CourseDirectory.ignore in grading/nbgrader_config.py, or to DATA_FILES in tools/release.py"
            )


class _Told(logging.Handler):
    """Keeps what nbgrader logs as errors: its exceptions only refer to the log."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage().strip())

    def reason(self) -> str:
        """The last line of the first traceback, or the first message."""
        tracebacks = [text for text in self.messages if text.startswith("Traceback")]
        return (tracebacks or self.messages or [""])[0].splitlines()[-1]


def release(root: Path = ROOT) -> list[Path]:
    """Notebooks up to date, gradebook updated, exercises/ written; returns the exercises' notebooks."""
    notebooks.write(root)
    (root / "grading").mkdir(exist_ok=True)
    staged = root / "build" / "release"
    shutil.rmtree(staged, ignore_errors=True)
    try:
        made = generate(root, root / "grading" / "gradebook.db", staged.relative_to(root).as_posix())
        for folder in (path.parent for path in made):
            target = root / "exercises" / folder.name
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(exist_ok=True)
            folder.rename(target)  # which needs no room
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return [root / "exercises" / path.relative_to(staged) for path in made]


@one_line(SourceError)
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    made = release(root)
    for path in made:
        print(f"released {path.relative_to(root)}")
    if not made:
        print("solutions/ has no exercise yet")
    return 0


if __name__ == "__main__":
    sys.exit(main())
