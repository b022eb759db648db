"""A full disk, a folder that may not be written and Ctrl-C are one line, and leave nothing half done."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import sqlalchemy.exc

import grading.__main__ as grading_main
from grading import files, run
from grading.assignment import AssignmentError
from grading.gradebook import gradebook
from tests.conftest import WEEK
from tools import notebooks, pictures, release, student
from tools.command import one_line


def system(number: int, name: str = "/course/x") -> OSError:
    return OSError(number, os.strerror(number), name)


def database(words: str) -> Exception:
    """As SQLAlchemy passes it on."""
    return sqlalchemy.exc.OperationalError("INSERT", {}, sqlite3.OperationalError(words))


CAUSES: dict[str, tuple[Callable[[], BaseException], str]] = {
    "full disk": (lambda: system(errno.ENOSPC), "/course/x: No space left on device: make room"),
    "read-only disk": (lambda: system(errno.EROFS), "/course/x: Read-only file system: choose a folder"),
    "no right": (lambda: system(errno.EACCES), "/course/x: Permission denied: choose a folder"),
    "full disk, gradebook": (lambda: database("database or disk is full"), "the gradebook: database or disk"),
    "read-only gradebook": (lambda: database("attempt to write a readonly database"), "readonly database"),
    "gradebook in use": (lambda: database("database is locked"), "the gradebook: database is locked"),
    "Ctrl-C": (KeyboardInterrupt, "stopped"),
}  # fmt: skip
COMMANDS: dict[str, tuple[Any, str, Callable[[], int]]] = {
    "notebooks": (notebooks, "write", lambda: notebooks.main([])),
    "pictures": (pictures, "stale", lambda: pictures.main([])),
    "release": (release, "release", lambda: release.main([])),
    "student": (student, "build", lambda: student.main(["nowhere"])),
    "grade": (run, "grade", lambda: grading_main.main(["grade", WEEK])),
}


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("command", COMMANDS)
def test_one_line(
    command: str, cause: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = CAUSES[cause]
    module, name, start = COMMANDS[command]

    def fails(*arguments: Any, **options: Any) -> Any:
        raise make()

    monkeypatch.setattr(module, name, fails)
    assert start() == 1
    said = capsys.readouterr()
    assert words in said.err and len(said.err.strip().splitlines()) == 1 and said.out == ""


@pytest.mark.parametrize("error", [TypeError("a bug"), system(errno.EBADF), database("no such table: x")])
def test_a_bug_is_no_line(error: Exception) -> None:
    """Its traceback is what is needed then."""

    @one_line(AssertionError)
    def command() -> int:
        raise error

    with pytest.raises(type(error)):
        command()


def test_the_cause_may_lie_below() -> None:
    @one_line(notebooks.SourceError)
    def command() -> int:
        try:
            raise system(errno.ENOSPC)
        except OSError as error:
            raise RuntimeError("something failed") from error

    assert command() == 1


def test_what_a_command_knows_is_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    @one_line(AssignmentError)
    def command() -> int:
        raise AssignmentError("week99 is not in the gradebook: run `make release`")

    assert command() == 1
    assert capsys.readouterr().err == "error: week99 is not in the gradebook: run `make release`\n"


def test_nbgrader_s_own_traceback_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real gradebook in a file that cannot grow."""

    @one_line(AssertionError)
    def command() -> int:
        with gradebook(tmp_path / "gradebook.db") as book:
            book.db.execute(sqlalchemy.text("PRAGMA max_page_count = 1"))
            book.add_student("somebody", first_name="x" * 1_000_000)
        return 0

    assert command() == 1
    said = capsys.readouterr().err
    assert "the gradebook: database or disk is full" in said and len(said.splitlines()) == 1
    assert not [record for record in caplog.records if record.exc_info]


@pytest.fixture
def course(released: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(released, tmp_path / "course"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class Disk:
    """Is full once a number of files has been written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self.write, self.sync = Path.write_bytes, files.os.fsync
        monkeypatch.setattr(Path, "write_bytes", lambda path, data: self.write_bytes(path, data))
        monkeypatch.setattr(files.os, "fsync", self.fsync)

    def one_more(self, name: str) -> None:
        self.room -= 1
        if self.room < 0:
            raise system(errno.ENOSPC, name)

    def write_bytes(self, path: Path, data: bytes) -> int:
        if self.room < 1:
            self.write(path, data[: len(data) // 2])
        self.one_more(str(path))
        return self.write(path, data)

    def fsync(self, handle: int) -> None:
        self.one_more("/course/x")
        self.sync(handle)


def test_a_full_disk_leaves_notebooks_whole(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = course / "solutions" / WEEK / f"{WEEK}.py"
    source.write_text(source.read_text() + "\n# %%\n1 + 1\n")
    before = contents(course)
    Disk(monkeypatch, 0)
    assert notebooks.main(["--root", str(course)]) == 1
    assert contents(course) == before


@pytest.mark.parametrize("room", [0, 1, 3])
def test_a_full_disk_leaves_the_students_repository_as_it_was(
    room: int, course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that is new: then it can be built in the same place."""
    for folder in (tmp_path / "new", tmp_path / "old"):
        if folder.name == "old":
            student.build(folder, course, check_drift=False)
            (folder / ".git").mkdir()
            (folder / ".git" / "HEAD").write_text("ref")
            (folder / "of-last-year.txt").write_text("x")
        before = contents(folder)
        with monkeypatch.context() as patch:
            Disk(patch, room)
            with pytest.raises(OSError, match="No space left"):
                student.build(folder, course, check_drift=False)
        assert contents(folder) == before
        student.build(folder, course, check_drift=False)
        assert "nbgrader_config.py" in contents(folder)


def test_a_leak_never_reaches_the_students_repository(course: Path, tmp_path: Path) -> None:
    student.build(tmp_path / "out", course, check_drift=False)
    before = contents(tmp_path / "out")
    (course / "data").mkdir()
    (course / "data" / "notes.txt").write_text("secret_hidden_phrase = scale(np.array([-1.0]))\n")
    with pytest.raises(student.StudentError, match="has a line of solutions"):
        student.build(tmp_path / "out", course, check_drift=False)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("stop", [system(errno.ENOSPC), KeyboardInterrupt()], ids=["full disk", "Ctrl-C"])
def test_a_release_that_is_stopped_leaves_the_exercises(
    stop: BaseException, course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(course / "exercises")

    def fails(*arguments: Any) -> str:
        raise stop

    monkeypatch.setattr(release.notebooks, "exercise_name", fails)  # nbgrader has written, we have not
    assert release.main(["--root", str(course)]) == 1
    assert contents(course / "exercises") == before
    assert not (course / "build" / "release").exists()
