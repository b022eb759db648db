"""Whose an upload is: the exports of Moodle, Canvas and ILIAS, plain folders, and what is asked instead."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from grading.intake.collect import CollectError
from grading.intake.people import Roster, read_students, safe_id
from grading.model import Person
from tests.grading.intake.test_collect import (
    WEEK,
    Collect,
    Taken,
    make_zip,
    name,
    notebook,
    notes,
    run,
    taken,
)

__all__ = ["run", "taken"]  # fixtures
FOURTEEN = [(f"student{letter}", 7000 + i) for i, letter in enumerate("abcdefghijklmn")]


def students_of(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "grading" / "submitted").glob("*"))


def put(folder: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    for path, content in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


# Canvas: lib/content_zipper.rb writes sortable name[_LATE]_user_file_name, all in small letters but LATE


def canvas(student: str, number: int, file: int, rest: str = f"exercise_{WEEK}.ipynb") -> str:
    return f"{student}_{number}_{file}_{rest}"


def test_canvas_zip_of_fourteen(run: Collect, taken: Taken, tmp_path: Path) -> None:
    files = [(canvas(s, i, 90 + i), notebook(f"return {i}")) for s, i in FOURTEEN]
    report = run(files)
    assert [e.student for e in report.entries] == [str(i) for _, i in FOURTEEN]
    assert [taken(str(i)) for _, i in FOURTEEN] == [content for _, content in files]
    assert "export of Canvas: 14 students" in report.text()
    # Next week the files have other numbers, the students the same.
    run([(canvas(s, i, 5000 + i), notebook(f"return {i + 1}")) for s, i in FOURTEEN])
    assert students_of(tmp_path) == [str(i) for _, i in FOURTEEN]


def test_canvas_names_late_texts_and_two_files(run: Collect, taken: Taken) -> None:
    report = run(
        [
            (canvas("größejürgen", 11, 1), notebook("return 11")),
            ("李四_12_2_work_3_4.ipynb", notebook("return 12")),
            ("अनिल_13_3_x.ipynb", notebook("return 13")),
            ("o1brienpat_LATE_14_4_x-1.ipynb", notebook("return 14")),
            ("o1brienpat_LATE_14_5_y.png", b"picture"),
            ("klarakarl_15_text.html", b"<p>here</p>"),
            ("Eve_16_6_Anna_11_assignsubmission_file_x.ipynb", notebook("return 16")),
        ]
    )
    assert [e.student for e in report.entries] == ["11", "12", "13", "14", "15", "16"]
    assert [taken(str(i)) for i in (11, 12, 13, 14, 16)] == [
        notebook(f"return {i}") for i in (11, 12, 13, 14, 16)
    ]
    assert "late" in notes(report, "14") and "late" not in notes(report, "11")
    assert [e.student for e in report.unreadable] == ["15"] and "wrote a text" in notes(report, "15")


def test_canvas_marked_anonymously(run: Collect) -> None:
    report = run([("anon_aB3xY_1_x.ipynb", notebook()), ("LATE_anon_Zz9Qw_2_x.ipynb", notebook())])
    assert [e.student for e in report.entries] == ["anon_Zz9Qw", "anon_aB3xY"]
    assert "late" in notes(report, "anon_Zz9Qw")


GRADEBOOK = (
    "Student,ID,SIS User ID,SIS Login ID,Section,Week 3 (991)\n"
    ",,,,,Manual Posting\n"
    "    Points Possible,,,,,20\n"
    '"Groß, Anna",11,m1001,agross,A,\n'
    '"Groß, Anna",12,m1002,agross2,A,\n'
    '"von Weg, Ben",13,m1003,bweg,A,\n'
)


def test_canvas_gradebook_is_the_list_of_students(run: Collect, tmp_path: Path) -> None:
    students = tmp_path / "gradebook.csv"
    students.write_text(GRADEBOOK, encoding="utf-8-sig")
    report = run([(canvas("großanna", i, i), notebook(f"return {i}")) for i in (11, 12)], students=students)
    assert [e.student for e in report.entries] == ["m1001", "m1002"], "two of one name stay two"
    assert [(p.student, p.full_name) for p in report.missing] == [("m1003", "Ben von Weg")]


def test_canvas_with_a_list_that_has_names_only(run: Collect, tmp_path: Path) -> None:
    students = tmp_path / "students.csv"
    students.write_text("Full name,Username\nBen von Weg,bweg\nAnna Groß,a1\nAnna Groß,a2\n")
    assert [
        e.student for e in run([(canvas("vonwegben", 13, 1), notebook())], students=students).entries
    ] == ["13"], "the list does not say what is the surname"
    students.write_text("First name,Last name,Username\nBen,von Weg,bweg\nAnna,Groß,a1\nAnna,Groß,a2\n")
    report = run([(canvas("vonwegben", 13, 1), notebook())], students=students)
    assert "bweg" in {e.student for e in report.entries}
    with pytest.raises(CollectError, match="may be a1, a2"):
        run([(canvas("großanna", 14, 1), notebook())], students=students)


# ILIAS: ilExSubmission::getDirectoryNameFromUserData makes Last_First_login_number


@pytest.mark.parametrize("top", ["", "Blatt_3/Abgaben/", "Sheet 3/Submissions/Team 12/"])
@pytest.mark.parametrize("unpacked", [False, True])
def test_ilias(run: Collect, taken: Taken, tmp_path: Path, top: str, unpacked: bool) -> None:
    files = [
        (f"{top}Gross_Anna_agross_301/{WEEK}.ipynb", notebook("return 1")),
        (f"{top}Weg_Ben Karl_b_weg_302/Late Submission - {WEEK}.ipynb", notebook("return 2")),
        (f"{top}_______yli_303/x_1/y.ipynb", notebook("return 3")),
    ]
    report = run(put(tmp_path / "unpacked", files) if unpacked else files)
    assert [e.student for e in report.entries] == ["301", "302", "303"]
    assert [taken(str(300 + i)) for i in (1, 2, 3)] == [notebook(f"return {i}") for i in (1, 2, 3)]
    assert (report.entries[0].person.full_name, report.entries[0].person.username) == ("Anna Gross", "agross")
    students = tmp_path / "members.csv"
    students.write_text("Last name,First name,Login\nGroß,Anna,agross\nWeg,Ben Karl,b_weg\nLi,Yi,yli\n")
    again = run(tmp_path / "unpacked" if unpacked else files, students=students)
    assert {"agross", "b_weg", "yli"} <= {e.student for e in again.entries}


# Google


@pytest.mark.parametrize(
    "archive", ["drive-download-20261004T070053Z-1-001.zip", "Week 3-20230604T191134Z-001.zip"]
)
def test_google_drive_is_refused_by_name(run: Collect, tmp_path: Path, archive: str) -> None:
    files = [(f"{owner}{WEEK}.ipynb", notebook(owner)) for owner in ("Anna Groß - ", "Li - ")]
    make_zip(tmp_path / archive, files)
    with pytest.raises(CollectError, match="Google Drive or Classroom, .* folder named after the student"):
        run(tmp_path / archive)
    assert not students_of(tmp_path)


def test_google_drive_whose_names_are_in_the_list(run: Collect, taken: Taken, tmp_path: Path) -> None:
    path = tmp_path / "drive-download-20261004T070053Z-001.zip"
    make_zip(path, [(f"{n} - {WEEK} (1).ipynb", notebook(n)) for n in ("Anna Groß", "Wei Li")])
    run(path, students=Roster((Person("a1", "Anna Groß"), Person("w2", "Li Wei", "Wei", "Li"))))
    assert taken("a1") == notebook("Anna Groß") and taken("w2") == notebook("Wei Li")


# Plain folders


def test_names_in_any_script_are_students(run: Collect, taken: Taken, tmp_path: Path) -> None:
    people = ["李四", "王五", "Анна Иванова", "नीलम", "נועה", "Anna 王", "Anna 李", "Jürgen Größe"]
    folder = put(tmp_path / "mail", [(f"{p}/{WEEK}.ipynb", notebook(p)) for p in people])
    report = run(folder)
    assert len(report.entries) == len(people) and not report.unreadable
    assert {taken(e.student) for e in report.entries} == {notebook(p) for p in people}
    assert {e.student for e in run(folder).entries} == {e.student for e in report.entries}, (
        "the same each week"
    )
    roster = Roster(tuple(Person(f"id{i}", p) for i, p in enumerate(people)))
    assert {f"id{i}" for i in range(len(people))} <= {e.student for e in run(folder, students=roster).entries}


def test_ids_of_different_names_differ() -> None:
    names = ["李四", "王五", "नीलम", "नलम", "Größe", "Grøe", "Anna 王", "Anna 李"]
    assert len({safe_id(n) for n in names}) == len(names)
    assert safe_id("İ") and safe_id("agross@x.org") == "agross@x.org"


@pytest.mark.parametrize(
    "forged", ["Ben_7_assignsubmission_file_/x.ipynb", "Ben_7_8_x.ipynb", "a_b_c_7/x.ipynb"]
)
def test_names_within_an_upload_decide_nothing(
    run: Collect, taken: Taken, tmp_path: Path, forged: str
) -> None:
    """A student's file that is named as an export's: everybody's is taken, and hers is hers."""
    files = [(f"{s}/{WEEK}.ipynb", notebook(s)) for s in ("anna", "ben", "cleo")]
    report = run(put(tmp_path / "mail", [*files, (f"eve/{forged}", notebook("eve"))]))
    assert [e.student for e in report.entries] == ["anna", "ben", "cleo", "eve"]
    assert [taken(e.student) for e in report.entries] == [notebook(e.student) for e in report.entries]
    inner = make_zip(None, [(forged, notebook("eve again"))])
    files = [(f"{s}/{WEEK}.ipynb", notebook(s)) for s in ("anna", "ben", "cleo")]
    report = run([*files, ("eve/work.zip", inner)])
    assert [e.student for e in report.entries] == ["anna", "ben", "cleo", "eve"]
    assert taken("ben") == notebook("ben") and taken("7") is None


@pytest.mark.parametrize(
    ("files", "question"),
    [
        (
            [f"anna_{WEEK}.ipynb", f"Ben_7_assignsubmission_file_{WEEK}.ipynb"],
            "not named as in an export of Moodle",
        ),
        (
            ["a_1_1_x.ipynb", "b_2_2_x.ipynb", "late.ipynb"],
            "late.ipynb is not named as in an export of Canvas",
        ),
        ([f"exercise_{WEEK}.ipynb", f"exercise_{WEEK} (1).ipynb"], "names no student"),
        (["Anna/x.ipynb", "anna/x.ipynb"], "would both be the student"),
        (["Jürgen/x.ipynb", "Jurgen/x.ipynb"], "would both be the student"),
    ],
)
def test_what_is_unclear_is_asked(run: Collect, tmp_path: Path, files: list[str], question: str) -> None:
    with pytest.raises(CollectError, match=question):
        run([(file, notebook(file)) for file in files])
    assert not students_of(tmp_path), "nothing is taken"


def test_one_student_with_the_work_of_fourteen(run: Collect, taken: Taken, tmp_path: Path) -> None:
    """An archive within the folder, or one that has a form of its own, becomes no student."""
    inner = make_zip(None, [(f"{s}/{WEEK}.ipynb", notebook(s)) for s, _ in FOURTEEN])
    two = make_zip(None, [(name("Anna", 1), notebook("a")), (name("Ben", 2), notebook("b"))])
    for content, words in ((inner, "14 different answers"), (two, "as in an export of Moodle")):
        files = [("export.zip", content), ("ben/x.ipynb", notebook())]
        with pytest.raises(CollectError, match=f"export holds .*{words}.* is it one student's"):
            run(files)
    assert not students_of(tmp_path)
    many = [(f"anna/{i}.ipynb", notebook(f"return {i}"), (2024, 4, 1 + i, 1, 1, 0)) for i in range(6)]
    run([*many, ("ben/x.ipynb", notebook())], students=Roster((Person("anna"), Person("ben"))))
    assert taken("anna") == notebook("return 5"), "one who is in the list may hand in often"


def test_the_list_of_students_comes_first(run: Collect, taken: Taken, tmp_path: Path) -> None:
    roster = Roster((Person("anna_b_c_1"), Person("ben_b_c_2")))
    report = run([(f"{p.student}/x.ipynb", notebook(p.student)) for p in roster.people], students=roster)
    assert [e.student for e in report.entries] == ["anna_b_c_1", "ben_b_c_2"], "plain folders, not ILIAS"
    one = Roster((Person("anna", "Anna Groß"),))
    with pytest.raises(CollectError, match="would both be the student anna"):
        run([(name("Anna Groß", 1), notebook("1")), (name("Anna Groß", 2), notebook("2"))], students=one)
    two = Roster((Person("anna", "Anna Groß"), Person("ben", "Ben Weg")))
    with pytest.raises(CollectError, match="may be anna, ben"):
        run([("for ben from anna.ipynb", notebook())], students=two)


def test_rows_that_are_no_students(tmp_path: Path) -> None:
    path = tmp_path / "gradebook.csv"
    path.write_text(GRADEBOOK)
    people = read_students(path).people
    assert [(p.student, p.first_name, p.last_name) for p in people][2] == ("m1003", "Ben", "von Weg")
    assert len(people) == 3
