"""grading/intake/collect.py: Moodle's zips as they come, and what students put into them."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import subprocess
import sys
import time
import unicodedata
import zipfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from grading.intake.archive import Caps, mended
from grading.intake.collect import (
    CollectError,
    CollectReport,
    collect,
    people,
    pseudonym,
    secrets_for,
    submissions,
)
from grading.intake.people import PeopleError, read_students, safe_id
from grading.model import Assignment, TrustedCell
from tests.conftest import ROOT

WEEK = "week03_rbm"
EXERCISE = Assignment(
    WEEK,
    (
        TrustedCell("title", "given", "# Title", "markdown", "week03_rbm-title"),
        TrustedCell(
            "one", "solution", "def one():\n    raise", cell_id="week03_rbm-one", gap="one", defines=("one",)
        ),
        TrustedCell("test_one", "test", "assert one()", cell_id="week03_rbm-test_one", gap="one", points=1.0),
        TrustedCell(
            "two", "solution", "def two():\n    raise", cell_id="week03_rbm-two", gap="two", defines=("two",)
        ),
    ),
)
DAY = (2024, 4, 3, 10, 0, 0)


def notebook(answer: str = "return 1", week: str = WEEK, ids: bool = True, **solved: str) -> bytes:
    """A handed-in notebook; without ids as an editor leaves it that knows neither nbgrader nor cell ids."""
    cells: list[dict[str, Any]] = []
    for cell in EXERCISE.cells:
        own_name = cell.name if week == WEEK else f"other_{cell.name}"
        source = f"def {own_name}():\n    {answer}" if cell.kind == "solution" and answer else cell.source
        own: dict[str, Any] = {"cell_type": cell.cell_type, "source": [source], "metadata": {}}
        if ids:
            name = cell.name if week == WEEK or cell.name == "title" else f"{week}_{cell.name}"
            own |= {"metadata": {"nbgrader": {"grade_id": name}}, "id": f"{week}-{name}"}
        cells.append(own)
    if week != WEEK and not ids:
        cells = [{"cell_type": "code", "source": "x = 1", "metadata": {}}]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def name(student: str, number: int, rest: str = f"{WEEK}.ipynb", kind: str = "file") -> str:
    return f"{student}_{number}_assignsubmission_{kind}_/{rest}"


File = tuple[str, bytes] | tuple[str, bytes, tuple[int, ...]]


def make_zip(path: Path | None, files: Iterable[File]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, (member, content, *date) in enumerate(files):
            when = date[0] if date else (2024, 4, 3, 10 + index % 10, index % 60, 0)
            archive.writestr(zipfile.ZipInfo(member, when), content, zipfile.ZIP_DEFLATED)
    if path is not None:
        path.write_bytes(buffer.getvalue())
    return buffer.getvalue()


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        p.relative_to(folder).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


Collect = Callable[..., CollectReport]


@pytest.fixture
def run(tmp_path: Path) -> Collect:
    """run(files) collects a zip of them; run(bytes or path) that."""

    def one(source: Any, **options: Any) -> CollectReport:
        path = tmp_path / "all.zip"
        if isinstance(source, Path):
            path = source
        elif isinstance(source, bytes):
            path.write_bytes(source)
        else:
            make_zip(path, source)
        options.setdefault("assignment", EXERCISE)
        options.setdefault("zone", UTC)
        return collect(path, WEEK, tmp_path / "grading" / "submitted", **options)

    return one


@pytest.fixture
def taken(tmp_path: Path) -> Callable[[str], bytes | None]:
    """What counts for a student."""

    def one(student: str) -> bytes | None:
        path = tmp_path / "grading" / "submitted" / student / WEEK / f"{WEEK}.ipynb"
        return path.read_bytes() if path.exists() else None

    return one


Taken = Callable[[str], bytes | None]


def notes(report: CollectReport, student: str) -> str:
    (entry,) = (entry for entry in report.entries if entry.student == student)
    return "; ".join((*entry.notes, *entry.later))


# Moodle's layouts


@pytest.mark.parametrize(
    "layout",
    [
        "{n}_{i}_assignsubmission_file_/{f}",
        "{n}_{i}_assignsubmission_file/{f}",
        "{n}_{i}_assignsubmission_file_{f}",
        "Group A-{n}_{i}_assignsubmission_file_/{f}",
        "Week 3-4711/{n}_{i}_assignsubmission_file_/{f}",
        "{n}_{i}_assignsubmission_file_/my work/deep/{f}",
        "{n}_{i}_assignsubmission_file_\\{f}",
    ],
)
def test_moodles_layouts(run: Collect, taken: Taken, layout: str) -> None:
    files = [
        (layout.format(n=n, i=i, f=f"{WEEK}.ipynb"), notebook(f"return {i}"))
        for n, i in [("Anna Groß", 101), ("Ben O'Neil-Smith", 102), ("李 四", 103)]
    ]
    report = run(files)
    assert [e.student for e in report.entries] == ["101", "102", "103"] and not report.unreadable
    assert [taken(str(i)) for i in (101, 102, 103)] == [content for _, content in files]
    assert report.entries[0].person.full_name.endswith("Anna Groß")


@pytest.mark.parametrize(
    "file",
    [
        f"{WEEK}.ipynb", f"exercise_{WEEK} (1).ipynb", f"Copy of exercise_{WEEK}.ipynb",
        f"Kopie von {WEEK}.ipynb",
        f"{WEEK}.ipynb.json", f"{WEEK}.ipynb.txt", "Übung drei.ipynb", "Untitled.IPYNB", "week03.json",
        "noending",
    ],
)  # fmt: skip
def test_names_that_browsers_and_colab_make(run: Collect, taken: Taken, file: str) -> None:
    run([(name("Anna", 1, file), notebook())])
    assert taken("1") == notebook()


def test_names_in_any_unicode_and_encoding(run: Collect, tmp_path: Path) -> None:
    composed, apart = "Jürgen Größe", unicodedata.normalize("NFD", "Jürgen Größe")
    broken = "Jürgen Größe".encode().decode("cp437")
    assert mended(broken) == composed and mended("Müller") == "Müller" and mended("Łukasz") == "Łukasz"
    students = tmp_path / "students.csv"
    students.write_text("Full name,ID number\nJürgen Größe,77\n", encoding="utf-8-sig")
    for spelt in (composed, apart, broken, "JÜRGEN  GRÖSSE"):
        report = run([(name(spelt, 5), notebook())], students=students)
        assert [e.student for e in report.entries] == ["77"], spelt
    data = make_zip(None, [(name("Jxxrgen Größe", 5), notebook())]).replace(b"Jxxrgen", "Jürgen".encode())
    unflagged = bytearray(data)
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # the bit that says UTF-8
        place = data.index(mark) + offset
        flags = struct.unpack("<H", data[place : place + 2])[0] & ~0x800
        unflagged[place : place + 2] = struct.pack("<H", flags)
    assert [e.student for e in run(bytes(unflagged), students=students).entries] == ["77"]


def test_blind_marking_gives_no_names(run: Collect) -> None:
    report = run([(name("Participant", 12), notebook()), (name("Teilnehmer/in", 13), notebook())])
    assert [(e.student, e.person.full_name) for e in report.entries][0] == ("12", "")


def test_junk_and_checkpoints_are_passed_over(run: Collect, taken: Taken) -> None:
    report = run(
        [
            (name("Anna", 1), notebook()),
            (name("Anna", 1, ".ipynb_checkpoints/week03_rbm-checkpoint.ipynb"), notebook("return 0")),
            (name("Anna", 1, "week03_rbm-checkpoint.ipynb"), notebook("return 0")),
            (name("Anna", 1, ".DS_Store"), b"x"),
            ("__MACOSX/" + name("Anna", 1, "._week03_rbm.ipynb"), b"x"),
            (name("Anna", 1, "__MACOSX/._week03_rbm.ipynb"), b"x"),
            (name("Anna", 1, "picture.png"), b"x"),
            ("stray.txt", b"x"),
        ]
    )
    assert taken("1") == notebook() and report.notes == ("stray.txt belongs to no student: not taken",)


def test_online_text(run: Collect) -> None:
    text = (name("Anna", 1, "onlinetext.html", "onlinetext"), b"<p>see my file</p>")
    report = run(
        [text, (name("Anna", 1), notebook()), (name("Ben", 2, "onlinetext.html", "onlinetext"), b"<p>")]
    )
    assert "wrote a text" in notes(report, "1") and report.entries[0].status == "collected"
    assert [e.student for e in report.unreadable] == ["2"] and "no notebook" in notes(report, "2")


# Which notebook


def test_the_weeks_notebook_counts_by_its_cells(run: Collect, taken: Taken) -> None:
    right = notebook("return 3")
    report = run(
        [
            (name("Anna", 1, "a.ipynb"), right, DAY),
            (name("Anna", 1, f"{WEEK}.ipynb"), notebook("return 2", "week02_gmm"), (2024, 4, 4, 10, 0, 0)),
        ]
    )
    assert taken("1") == right and "2 notebooks: a.ipynb counts" in notes(report, "1")


def test_without_ids_the_defined_names_tell(run: Collect, taken: Taken) -> None:
    right = notebook("return 3", ids=False)
    run(
        [
            (name("Anna", 1, "a.ipynb"), right, DAY),
            (name("Anna", 1, "b.ipynb"), notebook("x", "week02_gmm", False)),
        ]
    )
    assert taken("1") == right


def test_of_several_the_latest_counts(run: Collect, taken: Taken) -> None:
    files = [
        (name("Anna", 1, f"{i}.ipynb"), notebook(f"return {i}"), (2024, 4, i, 10, 0, 0)) for i in (3, 5, 4)
    ]
    report = run(files)
    assert taken("1") == notebook("return 5") and "5.ipynb counts, not 3.ipynb, 4.ipynb" in notes(report, "1")


def test_equally_late_the_higher_copy_counts(run: Collect, taken: Taken) -> None:
    names = [f"{WEEK}.ipynb", f"{WEEK} (10).ipynb", f"{WEEK} (9).ipynb"]
    run([(name("Anna", 1, n), notebook(f"return '{n}'"), DAY) for n in names])
    assert taken("1") == notebook(f"return '{names[1]}'")


def test_an_untouched_exercise_does_not_win(run: Collect, taken: Taken) -> None:
    solved, untouched = notebook(), notebook("")
    report = run(
        [
            (name("Anna", 1, "s.ipynb"), solved, DAY),
            (name("Anna", 1, "u.ipynb"), untouched, (2024, 5, 1, 1, 1, 0)),
        ]
    )
    assert taken("1") == solved
    report = run([(name("Ben", 2), untouched)])
    assert taken("2") == untouched and "without answers" in notes(report, "2")


def test_the_same_file_twice_is_no_doubt(run: Collect) -> None:
    report = run([(name("Anna", 1), notebook()), (name("Anna", 1, f"Copy of {WEEK}.ipynb"), notebook())])
    assert notes(report, "1") == ""


def test_another_weeks_notebook_is_taken_and_told(run: Collect, taken: Taken) -> None:
    other = notebook("x", "week02_gmm", ids=False)
    report = run([(name("Anna", 1, "week02_gmm.ipynb"), other)])
    assert taken("1") == other and "has nothing of week03_rbm" in notes(report, "1")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"\xff\xfe\x00",
        b"[]",
        b"{}",
        b'{"cells": 5}',
        b"[" * 100_000,
        b'{"cells": [1, null]}',
    ],
)
def test_damaged_notebooks_reach_the_grader(run: Collect, taken: Taken, content: bytes) -> None:
    report = run([(name("Anna", 1), content), (name("Ben", 2), notebook())])
    assert taken("1") == content and taken("2") == notebook()
    assert "is no notebook" in notes(report, "1") or "has nothing of" in notes(report, "1")


# Zips within, and tricks


def test_a_notebook_in_nested_zips_and_folders(run: Collect, taken: Taken) -> None:
    inner = make_zip(None, [(f"hand in/{WEEK}.ipynb", notebook()), ("__MACOSX/x/._a.ipynb", b"x")])
    outer = make_zip(None, [("inner.zip", inner), ("readme.md", b"x")])
    run([(name("Anna", 1, "work.zip"), outer), (name("Ben", 2, "work"), inner)])
    assert taken("1") == notebook() == taken("2")


def bomb(depth: int) -> bytes:
    content = make_zip(None, [(f"{WEEK}.ipynb", b"0" * 60 * 2**20)])
    for _ in range(depth):
        content = make_zip(None, [("a.zip", content), ("b.zip", content)])
    return content


def encrypted() -> bytes:
    data = bytearray(make_zip(None, [(f"{WEEK}.ipynb", notebook())]))
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[bytes(data).index(mark) + offset] |= 1
    return bytes(data)


def lying(size: int = 10) -> bytes:
    """A member that says it is small."""
    data = bytearray(make_zip(None, [(f"{WEEK}.ipynb", b"0" * 60 * 2**20)]))
    data[bytes(data).index(b"PK\1\2") + 24 :][:4] = struct.pack("<L", size)
    place = bytes(data).index(b"PK\1\2") + 24
    data[place : place + 4] = struct.pack("<L", size)
    return bytes(data)


def link() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo(f"{WEEK}.ipynb", DAY)
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


HOSTILE: dict[str, tuple[bytes, str]] = {
    "bomb": (bomb(0), "more than 50 MB"),
    "nested bomb": (bomb(2), "more than 50 MB"),
    "too deep": (bomb(5), "more than 3 deep"),
    "lying about its size": (lying(), "damaged|more than 50 MB"),
    "encrypted": (encrypted(), "encrypted"),
    "link": (link(), "link"),
    "out of the folder": (make_zip(None, [("../../../../evil.ipynb", notebook())]), "out of the folder"),
    "absolute": (make_zip(None, [("/tmp/evil.ipynb", notebook())]), "out of the folder"),
    "a drive": (make_zip(None, [("C:\\evil.ipynb", notebook())]), "out of the folder"),
    "cut off": (make_zip(None, [(f"{WEEK}.ipynb", notebook())])[:-30], "no zip, or a damaged one"),
    "many files": (make_zip(None, [(f"{i}.txt", b"x") for i in range(600)]), "more than 500 files"),
    "no zip": (b"PK\3\4 nonsense", "no zip"),
    "empty": (b"PK\5\6" + b"\0" * 18, "no notebook"),
}


@pytest.mark.parametrize("trick", HOSTILE)
def test_tricks_cost_only_that_student(run: Collect, taken: Taken, tmp_path: Path, trick: str) -> None:
    import re

    content, words = HOSTILE[trick]
    outside = {p for p in tmp_path.parent.rglob("*") if "evil" in p.name}
    start = time.process_time()
    report = run([(name("Eve", 6, "work.zip"), content), (name("Anna", 7), notebook())])
    assert time.process_time() - start < 20
    assert [e.student for e in report.unreadable] == ["6"] and re.search(words, notes(report, "6")), notes(
        report, "6"
    )
    assert taken("7") == notebook() and taken("6") is None
    assert {p for p in tmp_path.parent.rglob("*") if "evil" in p.name} == outside
    assert not Path("/tmp/evil.ipynb").exists()


def test_tricks_in_the_archive_itself(run: Collect, taken: Taken) -> None:
    big = name("Eve", 6), b"0" * 60 * 2**20
    up = name("Mallory", 8, "../../../evil.ipynb"), notebook()
    report = run([big, up, ("../" + name("Zed", 9), notebook()), (name("Anna", 7), notebook())])
    assert [e.student for e in report.unreadable] == ["6", "8", "9"] and taken("7") == notebook()
    assert "50 MB" in notes(report, "6") and "out of the folder" in notes(report, "8")


def test_the_total_is_limited(run: Collect, taken: Taken) -> None:
    caps = Caps(file=2**20, total=3 * 2**20)
    files = [(name("Eve", 6, f"{i}.bin"), os.urandom(2**20 - 1)) for i in range(5)]
    report = run([*files, (name("Anna", 7), notebook())], caps=caps)
    assert "more than 3 MB in all" in notes(report, "6") and taken("7") == notebook()


def test_a_file_named_like_another_students_is_not_theirs(run: Collect, taken: Taken) -> None:
    forged = f"Anna_7_assignsubmission_file_{WEEK}.ipynb"
    run([(name("Eve", 6, forged), notebook("return 'Eve'")), (name("Anna", 7), notebook())])
    assert taken("7") == notebook() and taken("6") == notebook("return 'Eve'")


def test_control_characters_do_not_reach_the_report(run: Collect) -> None:
    report = run([(name("E\x1b[31mve", 6, "\x1b]0;x\x07.ipynb"), b"x"), (name("=1+1", 7), b"x")])
    assert "\x1b" not in report.text() + report.csv() and "\x07" not in report.text()
    assert "'=1+1" in report.csv()


@pytest.mark.parametrize("ending", [".rar", ".7z", ".tar.gz", ".pdf", ".html", ".py"])
def test_other_files_are_named(run: Collect, ending: str) -> None:
    report = run([(name("Anna", 1, f"work{ending}"), b"x")])
    assert f"work{ending}" in notes(report, "1") and "hand in" in notes(report, "1")


def test_an_archive_that_is_none(run: Collect, tmp_path: Path) -> None:
    with pytest.raises(CollectError, match="download all submissions from Moodle again"):
        run(b"nonsense")
    with pytest.raises(CollectError, match="does not exist"):
        run(tmp_path / "nowhere.zip")


# Again, later, earlier


def test_the_same_zip_again_changes_nothing(run: Collect, tmp_path: Path) -> None:
    files = [
        (name("Anna", 1), notebook()), (name("Anna", 1, "b.ipynb"), notebook("return 2")),
        (name("Ben", 2), b"x"),
        (name("Eve", 6, "work.zip"), encrypted()),
    ]  # fmt: skip
    first = run(files)
    before = tree(tmp_path / "grading")
    second = run(files)
    assert tree(tmp_path / "grading") == before
    assert set(first.changes.values()) == {"new", "unreadable"}
    assert second.changes == {"1": "unchanged", "2": "unchanged", "6": "unreadable"}
    assert first.entries == second.entries and "2 unchanged" in second.summary()


def test_a_late_second_upload_replaces_and_an_old_zip_does_not(
    run: Collect, taken: Taken, tmp_path: Path
) -> None:
    old = [(name("Anna", 1), notebook("return 1"), DAY), (name("Ben", 2), notebook(), DAY)]
    new = [(name("Anna", 1, f"{WEEK} (1).ipynb"), notebook("return 2"), (2024, 4, 9, 8, 0, 0))]
    run(old)
    assert run(new).changes == {"1": "replaced"}
    stamp = tmp_path / "grading/submitted/1" / WEEK / "timestamp.txt"
    assert taken("1") == notebook("return 2") and stamp.read_text() == "2024-04-09T08:00:00+00:00\n"
    before = tree(tmp_path / "grading" / "submitted")
    report = run(old)
    assert report.changes == {"1": "older", "2": "unchanged"}
    assert tree(tmp_path / "grading" / "submitted") == before
    assert {e.student for e in report.entries} == {"1", "2"}, "the report is on the whole class"
    kept = (tmp_path / "grading/collected" / WEEK / "1" / "files").iterdir()
    assert {p.read_bytes() for p in kept} == {notebook("return 1"), notebook("return 2")}, "originals stay"


def test_a_later_upload_that_cannot_be_read(run: Collect, taken: Taken) -> None:
    run([(name("Anna", 1), notebook(), DAY)])
    later = [(name("Anna", 1, "work.zip"), encrypted(), (2024, 4, 9, 8, 0, 0))]
    report = run(later)
    assert taken("1") == notebook() and report.changes == {"1": "unreadable"}
    assert "another upload cannot be read" in notes(report, "1") and "encrypted" in notes(report, "1")
    assert run(later).entries == report.entries


def test_after_something_unreadable_a_notebook_counts(run: Collect, taken: Taken) -> None:
    run([(name("Anna", 1, "work.zip"), encrypted(), (2024, 4, 9, 8, 0, 0))])
    assert run([(name("Anna", 1), notebook(), DAY)]).changes == {"1": "new"} and taken("1") == notebook()


def test_what_was_there_by_other_means_is_not_replaced_by_something_older(
    run: Collect, taken: Taken, tmp_path: Path
) -> None:
    folder = tmp_path / "grading" / "submitted" / "1" / WEEK
    folder.mkdir(parents=True)
    (folder / f"{WEEK}.ipynb").write_bytes(notebook("return 9"))
    (folder / "timestamp.txt").write_text("2024-04-09 08:00:00")
    assert run([(name("Anna", 1), notebook(), DAY)]).changes == {"1": "older"}
    assert taken("1") == notebook("return 9")


KILLED = """
import sys
from pathlib import Path
from datetime import UTC
from grading.intake.collect import collect
print("ready", flush=True)
while True:
    for archive in sys.argv[2:]:
        collect(Path(archive), "week03_rbm", Path(sys.argv[1]), zone=UTC)
"""


def test_killed_while_collecting(run: Collect, tmp_path: Path) -> None:
    """Whenever it is killed, there are whole notebooks only, and the next run completes the class."""
    archives = []
    for day in (3, 4):
        files = [
            (name(f"S{i}", i), notebook(f"return {day * 100 + i}"), (2024, 4, day, 10, i, 0))
            for i in range(1, 30)
        ]
        archives.append(tmp_path / f"{day}.zip")
        make_zip(archives[-1], files)
    submitted = tmp_path / "grading" / "submitted"
    for pause in (0.02, 0.05, 0.1, 0.2):
        command = [sys.executable, "-c", KILLED, submitted, *archives]
        process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(pause)
        process.kill()
        process.wait()
        for path in submitted.rglob("*.ipynb"):
            number = int(path.parent.parent.name)
            assert path.read_bytes() in {notebook(f"return {day * 100 + number}") for day in (3, 4)}
    for archive in archives:
        report = run(archive)
    assert len(report.entries) == 29
    for path in submitted.rglob("*.ipynb"):
        assert path.read_bytes() == notebook(f"return {400 + int(path.parent.parent.name)}")
        assert path.with_name("timestamp.txt").read_text().startswith("2024-04-04")


# Times


def test_times_are_utc(run: Collect, tmp_path: Path) -> None:
    from zoneinfo import ZoneInfo

    run([(name("Anna", 1), notebook(), (2024, 7, 3, 23, 59, 58))], zone=ZoneInfo("Europe/Berlin"))
    (submission,) = submissions(tmp_path / "grading" / "submitted", WEEK)
    assert submission.timestamp == "2024-07-03T21:59:58+00:00" and submission.student == "1"
    assert submission.content == notebook() and submission.filename == f"{WEEK}.ipynb"


def test_times_of_the_download_are_no_times_of_submission(run: Collect, tmp_path: Path) -> None:
    """Newer Moodles stamp all files with the time of the download: nobody is late by that."""
    now = [(name(f"S{i}", i), notebook(), (2024, 4, 20, 9, 0, 2 * i)) for i in range(1, 5)]
    report = run(now)
    assert any("those of the download" in note for note in report.notes)
    assert not list((tmp_path / "grading").rglob("timestamp.txt")) and "time unknown" in report.text()
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(
        "Identifier,Full name,Last modified (submission)\n"
        + "".join(f'Participant {i},S{i},"Wednesday, {i} April 2024, 11:59 PM"\n' for i in range(1, 5))
    )
    report = run(now, students=sheet)
    assert [e.handed_in for e in report.entries][1] == "2024-04-02T23:59:00+00:00"
    assert set(report.changes.values()) == {"unchanged"}
    run(now)
    stamp = tmp_path / "grading" / "submitted" / "2" / WEEK / "timestamp.txt"
    assert stamp.read_text() == "2024-04-02T23:59:00+00:00\n", "what is known better stays"


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("Wednesday, 3 April 2024, 12:05 AM", "2024-04-03T00:05:00"),
        ("Mittwoch, 3. April 2024, 23:59", "2024-04-03T23:59:00"),
        ("Freitag, 1. März 2024, 08:00", "2024-03-01T08:00:00"),
        ("2024-04-03 10:00:00", "2024-04-03T10:00:00"),
        ("-", ""),
        ("3 Brumaire 2024, 10:00", ""),
    ],
)
def test_moodles_dates(tmp_path: Path, text: str, iso: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text(f'Identifier,Full name,Last modified (submission)\nParticipant 1,A,"{text}"\n')
    assert read_students(path).people[0].handed_in == iso


# The class


def test_the_class_list_gives_ids_and_who_is_missing(run: Collect, tmp_path: Path) -> None:
    students = tmp_path / "students.csv"
    students.write_text(
        "First name,Last name,ID number,Username,Email address\n"
        "Anna,Groß,2019/1,agross,a@x.org\nBen,Klein,,bklein,b@x.org\nCleo,Fern,,,c@x.org\n"
        "Dora,Weg,9,dweg,d@x.org\n"
    )
    report = run(
        [(name("Anna Groß", 1), notebook()), (name("Klein, Ben", 2), notebook()),
         (name("Cleo Fern", 3), b"x"),
         (name("Zoe Fremd", 4), notebook())],
        students=students,
    )  # fmt: skip
    assert [e.student for e in report.entries] == ["2019-1", "4", "bklein", "c@x.org"]
    assert [p.student for p in report.missing] == ["9"] and "Dora Weg" in report.text()
    assert "is not in the list of students" in notes(report, "4")
    person = people(tmp_path / "grading" / "submitted", WEEK)["2019-1"]
    assert (person.id_number, person.email, person.last_name) == ("2019/1", "a@x.org", "Groß")
    assert "missing" in report.csv() and report.csv().count("\n") == 6


def test_two_of_one_name_are_not_guessed(run: Collect, tmp_path: Path) -> None:
    students = tmp_path / "students.csv"
    students.write_text("Full name,ID number\nAnna Groß,1001\nAnna Groß,1002\n")
    report = run([(name("Anna Groß", 1), notebook())], students=students)
    assert [e.student for e in report.entries] == ["1"] and "2 students are called Anna Groß" in notes(
        report, "1"
    )
    students.write_text(
        "Identifier,Full name,ID number\nParticipant 2,Anna Groß,1001\nTeilnehmer/in1,Anna Groß,1002\n"
    )
    report = run([(name("Anna Groß", 1), notebook())], students=students)
    assert "1002" in {e.student for e in report.entries}
    assert any("also 1002's" in note and "delete it" in note for note in report.notes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("Name,Surname\nA,B\n", "needs a column"),
        ("ID number,Full name\n1,A\n1,B\n", "line 3: the id 1 is there twice"),
        ("ID number,Full name\n,A\n", "line 2: the student has neither"),
        ("ID number,Full name\n../..,A\n", "line 2: the student has neither"),
    ],
)
def test_class_lists_that_cannot_be_used(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(PeopleError, match=words):
        read_students(path)
    path.write_bytes("ID number;Full name\n1;Jürgen\n".encode("latin-1"))
    with pytest.raises(PeopleError, match="UTF-8"):
        read_students(path)


def test_ids_are_safe_folder_names() -> None:
    for wild in ("../x", "a/b", ".hidden", "a b", "x\0y", "Größe", "a*?[b]", "-rf", "a\\b"):
        safe = safe_id(wild)
        assert safe and "/" not in safe and not safe.startswith((".", "-")) and safe.isascii(), wild


# A folder


def test_a_folder_of_notebooks(run: Collect, taken: Taken, tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    (folder / "cleo" / WEEK).mkdir(parents=True)
    (folder / "anna.ipynb").write_bytes(notebook("return 1"))
    (folder / f"{WEEK}_ben.ipynb").write_bytes(notebook("return 2"))
    (folder / f"exercise_{WEEK}_dan.ipynb").write_bytes(notebook("return 4"))
    (folder / "cleo" / WEEK / f"{WEEK}.ipynb").write_bytes(notebook("return 3"))
    (folder / "eve.ipynb").symlink_to("/etc/passwd")
    report = run(folder)
    assert [e.student for e in report.entries] == ["anna", "ben", "cleo", "dan", "eve"]
    assert [taken(s) for s in ("anna", "ben", "cleo", "dan", "eve")] == [
        *(notebook(f"return {i}") for i in (1, 2, 3, 4)),
        None,
    ]
    assert "link" in notes(report, "eve")
    wrapped = [(f"all/{s}.ipynb", notebook()) for s in ("dora", "emil")]
    assert {"dora", "emil"} <= {e.student for e in run(wrapped).entries}


def test_a_folder_of_moodles_zips_and_an_unpacked_one(run: Collect, taken: Taken, tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    make_zip(folder / "one.zip", [(name("Anna", 1), notebook("return 1"), DAY)])
    make_zip(folder / "two.zip", [(name("Anna", 1), notebook("return 2"), (2024, 4, 9, 1, 1, 0))])
    (folder / "Ben_2_assignsubmission_file_").mkdir()
    (folder / "Ben_2_assignsubmission_file_" / "x.ipynb").write_bytes(notebook("return 3"))
    run(folder)
    assert taken("1") == notebook("return 2") and taken("2") == notebook("return 3")


# Pseudonyms


def test_pseudonyms_and_seeds(tmp_path: Path) -> None:
    secret = secrets_for(tmp_path / "private")
    key = tmp_path / "private" / "secret.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    again, other = secrets_for(tmp_path / "private"), secrets_for(tmp_path / "elsewhere")
    assert pseudonym("anna", secret) == pseudonym("anna", again) != pseudonym("anna", other)
    assert pseudonym("anna", secret) != pseudonym("ben", secret) and "anna" not in pseudonym("anna", secret)
    seeds = [secret.seed(*"ab"), other.seed(*"ab"), secret.seed(*"cb"), secret.seed(*"ad")]
    assert again.seed("a", "b") == seeds[0] and len(set(seeds)) == 4
    assert max(seeds) < 2**128 and min(seeds) > 2**100  # 128 bits each
    assert key.read_text().strip() not in repr(secret)
    key.chmod(0o644)
    assert secrets_for(tmp_path / "private") == secret and stat.S_IMODE(key.stat().st_mode) == 0o600
    key.write_text("short")
    with pytest.raises(PeopleError, match="secret.key"):
        secrets_for(tmp_path / "private")


def test_two_processes_make_one_key(tmp_path: Path) -> None:
    code = "from pathlib import Path; from grading.intake.people import *; "
    code += f"print(secrets_for(Path({str(tmp_path / 'k')!r})).key.hex())"
    runs = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({run.communicate()[0] for run in runs}) == 1
    assert sorted(p.name for p in (tmp_path / "k").iterdir()) == ["secret.key"]


def test_names_are_private_to_the_owner(run: Collect, tmp_path: Path) -> None:
    run([(name("Anna Groß", 1), notebook())])
    for path in (tmp_path / "grading" / "collected").rglob("*"):
        if path.is_file():
            assert not path.stat().st_mode & 0o077, path
    for path in (tmp_path / "grading" / "submitted").rglob("*"):
        assert "Anna" not in path.name and (path.is_dir() or b"Anna" not in path.read_bytes())


def test_a_large_class_is_quick(run: Collect) -> None:
    start = time.process_time()
    report = run([(name(f"Student {i}", i), notebook(f"return {i}")) for i in range(1, 301)])
    assert len(report.entries) == 300 and time.process_time() - start < 30
    assert datetime.fromisoformat(report.entries[0].handed_in).tzinfo is not None
