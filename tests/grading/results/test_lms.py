"""grading/results/lms.py: what Moodle and a spreadsheet get."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from nbgrader.api import Gradebook
from traitlets.config import Config

from grading.files import neutral, number
from grading.results.lms import OURS, ExportError, GradesExporter, MoodleExporter, write_grades, write_moodle
from grading.results.record import NOT_GRADED_WORDS
from tests.conftest import WEEK, run_module

CLASS = {
    "s1": ("Jürgen", "Größe", "j@example.org", "1001"),
    "s2": ('=HYPERLINK("http://evil")', "@SUM(A1)", "b@example.org", "1002"),
    "s3": ("Çağla", "Ünal, Dr.", "c@example.org", "1003"),
    "s4": ("Nie", "Da", "d@example.org", "1004"),
}


@pytest.fixture
def book(released: Path, tmp_path: Path) -> Any:
    path = shutil.copy(released / "grading" / "gradebook.db", tmp_path / "gradebook.db")
    with Gradebook(f"sqlite:///{path}") as gradebook:
        for student, (first, last, email, number_) in CLASS.items():
            gradebook.add_student(student, first_name=first, last_name=last, email=email, lms_user_id=number_)
        for student, points in [("s1", 0.1 + 0.2), ("s2", 3.0), ("s3", 0.0)]:
            gradebook.add_submission(WEEK, student, timestamp="2024-04-03T12:00:00+00:00")
            for name, value in [("test_scale", points), ("test_total", 2.0)]:
                grade = gradebook.find_grade(name, WEEK, WEEK, student)
                grade.auto_score, grade.needs_manual_grade = value, False
        gradebook.find_grade("why", WEEK, WEEK, "s1").manual_score = 1.5
        gradebook.find_grade("why", WEEK, WEEK, "s1").needs_manual_grade = False
        gradebook.find_grade("why", WEEK, WEEK, "s1").extra_credit = 0.25
        gradebook.find_comment("why", WEEK, WEEK, "s1").manual_comment = "-1 for\nthe sign, +1 else"
        gradebook.find_submission(WEEK, "s1").notebooks[0].late_submission_penalty = 0.5
        gradebook.find_comment("scale", WEEK, WEEK, "s3").auto_comment = NOT_GRADED_WORDS
        gradebook.db.commit()
        yield gradebook


def rows(path: Path, key: str) -> dict[str, dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return {row[key]: row for row in csv.DictReader(file)}


def test_moodle(book: Gradebook, tmp_path: Path) -> None:
    path = tmp_path / "moodle.csv"
    assert write_moodle(book, path)
    found = rows(path, "ID number")
    assert list(found) == ["1001", "1002", "1003", "1004"]
    jürgen = found["1001"]
    assert jürgen["Last name"] == "Größe" and jürgen[WEEK] == "3.55", "0.3 + 2 + 1.5 + 0.25 - 0.5"
    assert "scale 0.3 of 3, total 2 of 2, why 1.5 of 2, late: -0.5" in jürgen[f"{WEEK} feedback"]
    assert "why: -1 for the sign, +1 else" in jürgen[f"{WEEK} feedback"], "on one line"
    assert found["1003"][WEEK] == "" and "Not graded yet" in found["1003"][f"{WEEK} feedback"]
    assert found["1004"][WEEK] == found["1004"][f"{WEEK} feedback"] == ""


def test_formulas_stay_text(book: Gradebook, tmp_path: Path) -> None:
    for write, name in ((write_moodle, "m.csv"), (write_grades, "g.csv")):
        write(book, tmp_path / name)
        with open(tmp_path / name, newline="", encoding="utf-8") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert "'@SUM(A1)" in cells and not [c for c in cells if c.startswith(("=", "+", "@", "\t", "-"))]
    assert neutral("\u200b=1") == "?=1" and neutral(" \n=1+1") == "'=1+1" and neutral("＝1") == "'＝1"


def test_no_formula_begins_after_a_semicolon(book: Gradebook, tmp_path: Path) -> None:
    """Where the semicolon separates, a spreadsheet splits there, whatever stands in quotes."""
    names = ["x;=cmd|' /C calc'!A0", 'x;"=cmd"', "x; =1+1", "x;\u200b@SUM(A1)", "x；=1", 'x",;"=1', ";-1"]
    for number_, name in enumerate(names):
        book.add_student(
            f"t{number_}", first_name=name, last_name=name, email=name, lms_user_id=f"9{number_}"
        )
    book.find_comment("why", WEEK, WEEK, "s1").manual_comment = "fine; =but"
    for write, file in ((write_moodle, "m.csv"), (write_grades, "g.csv")):
        write(book, tmp_path / file)
        for separator in ",;\t|":
            with open(tmp_path / file, newline="", encoding="utf-8") as opened:
                cells = [cell for row in csv.reader(opened, delimiter=separator) for cell in row]
            odd = [c for c in cells if c.lstrip(" \"'").startswith(("=", "+", "@", "\t")) and c[0] != "'"]
            assert odd == [], separator


def test_times_are_the_courses(book: Gradebook, tmp_path: Path) -> None:
    write_grades(book, tmp_path / "g.csv", zone=ZoneInfo("Europe/Berlin"))
    assert rows(tmp_path / "g.csv", "student")["s1"]["handed in"] == "2024-04-03 14:00:00 +0200"
    config = Config()
    config.NbGraderAPI.timezone = "America/New_York"
    exporter = GradesExporter(config=config)
    exporter.to = str(tmp_path / "e.csv")
    exporter.export(book)
    assert rows(tmp_path / "e.csv", "student")["s1"]["handed in"] == "2024-04-03 08:00:00 -0400"


def test_numbers() -> None:
    assert [number(x) for x in (0.1 + 0.2, 3.0, 10.0, -0.0, 1 / 3, 1e-9)] == [
        "0.3",
        "3",
        "10",
        "0",
        "0.33333",
        "0",
    ]


def test_grades_have_a_column_for_each_gap(book: Gradebook, tmp_path: Path) -> None:
    path = tmp_path / "grades.csv"
    write_grades(book, path)
    found = rows(path, "student")
    header = "assignment,student,last name,first name,email,handed in,status,scale,total,why"
    assert list(found["s1"]) == f"{header},extra credit,late penalty,all points,possible points".split(",")
    assert (found["s1"]["scale"], found["s1"]["why"], found["s1"]["extra credit"]) == ("0.3", "1.5", "0.25")
    assert found["s1"]["handed in"] == "2024-04-03 12:00:00 +0000" and found["s1"]["possible points"] == "7"
    assert found["s1"]["all points"] == "3.55"
    assert found["s2"]["why"] == "", "nobody has given them yet"
    status = {student: row["status"] for student, row in found.items()}
    assert status == {
        "s1": "graded", "s2": "waits for a person", "s3": "not graded yet", "s4": "nothing handed in",
    }  # fmt: skip


def test_two_runs_give_the_same_files(book: Gradebook, tmp_path: Path) -> None:
    for write, name in ((write_moodle, "m.csv"), (write_grades, "g.csv")):
        path = tmp_path / name
        assert write(book, path)
        content, stamp = path.read_bytes(), path.stat().st_mtime_ns
        assert not write(book, path) and path.stat().st_mtime_ns == stamp
        path.unlink()
        assert write(book, path) and path.read_bytes() == content


def test_what_somebody_changed_is_not_overwritten(book: Gradebook, tmp_path: Path) -> None:
    for write, name in ((write_moodle, "m.csv"), (write_grades, "g.csv")):
        path = tmp_path / name
        write(book, path)
        book.find_grade("test_total", WEEK, WEEK, "s2").auto_score = 1.0
        book.db.commit()
        assert write(book, path), "our own file is brought up to date"
        path.write_text(path.read_text() + "my own row\n")
        with pytest.raises(ExportError, match=f"{name} has been written or changed"):
            write(book, path)
        assert "my own row" in path.read_text()
        assert write(book, path, force=True) and "my own row" not in path.read_text()
        book.find_grade("test_total", WEEK, WEEK, "s2").auto_score = 2.0
        book.db.commit()
    foreign = tmp_path / "foreign.csv"
    foreign.write_text("mine")
    with pytest.raises(ExportError):
        write_grades(book, foreign)


def test_an_interruption_raises_no_false_alarm(
    book: Gradebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import grading.results.lms

    path, real = tmp_path / "m.csv", grading.results.lms.write_whole
    write_moodle(book, path)
    for turn, stop_before in enumerate((OURS, "m.csv", "m.csv")):
        book.find_grade("test_total", WEEK, WEEK, "s2").auto_score = turn / 4
        book.db.commit()

        def interrupted(target: Path, content: Any, stop: str = stop_before) -> bool:
            if target.name == stop:
                raise KeyboardInterrupt
            return real(target, content)

        monkeypatch.setattr(grading.results.lms, "write_whole", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_moodle(book, path)
        monkeypatch.setattr(grading.results.lms, "write_whole", real)
    assert write_moodle(book, path)


def test_who_is_who_for_moodle(book: Gradebook, tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    book.find_student("s4").lms_user_id = None
    book.db.commit()
    write_moodle(book, path)
    assert list(rows(path, "Email address")) == [entry[2] for entry in CLASS.values()]
    with pytest.raises(ExportError, match="1 students have no id number, such as s4"):
        write_moodle(book, path, identifier="id number")
    assert write_moodle(book, path, identifier="id number", students=["s1", "s2"])
    book.find_student("s2").lms_user_id = "1001"
    book.db.commit()
    with pytest.raises(ExportError, match="two students have the same"):
        write_moodle(book, path, identifier="id number", students=["s1", "s2"])
    write_moodle(book, path, identifier="username")
    assert list(rows(path, "Username")) == list(CLASS)


def test_an_unknown_assignment(book: Gradebook, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="has no 'week98'; it has week99_sample"):
        write_grades(book, tmp_path / "g.csv", ["week98"])


def test_several_assignments(book: Gradebook, tmp_path: Path) -> None:
    book.add_assignment("week98")
    book.add_notebook("week98", "week98")
    book.add_grade_cell("test_scale", "week98", "week98", max_score=1, cell_type="code")
    write_grades(book, tmp_path / "g.csv")
    with open(tmp_path / "g.csv", newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 2 * len(CLASS)
    assert {f"{WEEK}/scale", "week98/scale"} <= set(found[0])
    assert [row[f"{WEEK}/scale"] for row in found if row["student"] == "s1"] == ["", "0.3"]


def test_the_plug_ins_are_of_nbgraders_kind(book: Gradebook, tmp_path: Path) -> None:
    for exporter, name in ((MoodleExporter(), "a.csv"), (GradesExporter(), "b.csv")):
        exporter.to, exporter.assignment = str(tmp_path / name), [WEEK]
        exporter.export(book)
        assert (tmp_path / name).read_text().count("\n") == 5
        (tmp_path / name).write_text("changed")
        with pytest.raises(SystemExit):
            exporter.export(book)
        exporter.force = True
        exporter.export(book)


@pytest.mark.slow
def test_nbgraders_command_line(book: Gradebook, tmp_path: Path) -> None:
    command = [
        "nbgrader",
        "export",
        "--exporter=grading.results.lms.MoodleExporter",
        f"--to={tmp_path / 'out.csv'}",
    ]
    command += [f"--db=sqlite:///{tmp_path / 'gradebook.db'}", f"--assignment={json.dumps([WEEK])}"]
    done = run_module(*command)
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path / "out.csv", "ID number")["1001"][WEEK] == "3.55"
    (tmp_path / "out.csv").write_text("changed")
    done = run_module(*command)
    assert done.returncode == 1 and "changed by somebody else" in done.stderr
    assert (tmp_path / "out.csv").read_text() == "changed"
