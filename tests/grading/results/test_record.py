"""results/record.py on SQLite and on a real PostgreSQL server: marks, what persons enter, kills, regrades."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest
import sqlalchemy
from nbgrader.api import Grade, Gradebook
from nbgrader.nbgraderformat import MetadataValidator
from nbgrader.utils import determine_grade
from traitlets.config import Config

from grading.model import HIDDEN_NOTE as NOTE
from grading.model import (
    Assignment,
    CellRun,
    CleanCell,
    GapResult,
    Outcome,
    Person,
    Repaired,
    Submission,
    TrustedCell,
)
from grading.results.executed import executed_notebook
from grading.results.record import (
    NOT_GRADED_WORDS,
    GradebookError,
    Recorder,
    differences,
    gradebook_url,
    record,
)  # fmt: skip
from grading.results.transfer import copy_exercise
from tests.conftest import ROOT, WEEK, run_module
from tests.postgres import new_database, postgres_server  # noqa: F401 (a fixture)

SOLVED = {"scale": "def scale(x):\n    return 3 * x", "total": "total = sum", "why": "It is so."}
EARLY, LATE = "2024-04-03T12:00:00+00:00", "2024-04-05T12:00:00+00:00"


@pytest.fixture(scope="session")
def exercise(released: Path) -> Assignment:
    """The sample exercise, from the release and the gradebook's full tests."""
    notebook = nbformat.read(released / "exercises" / WEEK / f"exercise_{WEEK}.ipynb", as_version=4)
    with Gradebook(f"sqlite:///{released / 'grading' / 'gradebook.db'}") as book:
        full = {cell.name: cell.source for cell in book.find_notebook(WEEK, WEEK).source_cells}
    cells = []
    for number, cell in enumerate(notebook.cells):
        own = cell.metadata.get("nbgrader", {})
        name = own.get("grade_id", f"cell{number}")
        kind: Any = "given" if cell.cell_type == "code" else "text"
        if own.get("grade"):
            kind = "manual" if own.solution else "test"
        elif own.get("solution"):
            kind = "solution"
        gap = name.removeprefix("test_") if kind in ("test", "solution") else ""
        source, points = full.get(name, cell.source), float(own.get("points", 0))
        cells.append(TrustedCell(name, kind, source, cell.cell_type, cell.id, points, gap))
    return Assignment(WEEK, tuple(cells))


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, released: Path, tmp_path: Path) -> str:
    """A gradebook that knows the exercise and nobody's marks."""
    path = tmp_path / "gradebook.db"
    shutil.copy(released / "grading" / "gradebook.db", path)
    if request.param == "sqlite":
        return f"sqlite:///{path}"
    return new_database(request.getfixturevalue("postgres_server"), request.getfixturevalue("template"))


@pytest.fixture(scope="session")
def template(postgres_server: str, released: Path) -> str:  # noqa: F811
    """A database with the exercise: a new one takes nbgrader seconds."""
    url = new_database(postgres_server)
    copy_exercise(released / "grading" / "gradebook.db", url, WEEK)
    return url


def repaired(exercise: Assignment, answers: dict[str, str], extra: bool = False) -> Repaired:
    cells = []
    for cell in exercise.cells:
        source = answers.get(cell.name, cell.source)
        cells.append(CleanCell(cell.name, cell.kind, source, cell.cell_type, cell.gap, cell.points))
    if extra:
        cells.insert(2, CleanCell("extra1", "extra", "print(1)"))
    return Repaired((tuple(cells),))


def outcome(work: Repaired, points: dict[str, float], **more: Any) -> Outcome:
    """What the engine would have found: a failed test has an error among its outputs."""
    runs, gaps = [], []
    for cell in work.variants[0]:
        outputs: tuple[dict[str, Any], ...] = ()
        if cell.kind == "test":
            reached = points.get(cell.gap, 0.0)
            passed = reached == cell.points
            text = "" if passed else "shape (2,) expected"
            gaps.append(
                GapResult(cell.gap, reached, cell.points, passed, "" if passed else "AssertionError", text)
            )
        elif cell.kind == "solution":
            outputs = ({"output_type": "stream", "name": "stdout", "text": "hello\n"},)
        runs.append(CellRun(cell, outputs, 1 if cell.cell_type == "code" else None))
    return Outcome("s1", 0, tuple(runs), tuple(gaps), **more)


def submission(student: str, content: str = "{}", time: str = EARLY) -> Submission:
    return Submission(student, WEEK, content.encode(), timestamp=time)


Record = Callable[..., Any]


@pytest.fixture
def recorder(address: str, exercise: Assignment, tmp_path: Path) -> Iterator[Recorder]:
    with Recorder(address, tmp_path / "autograded", exercise) as open_recorder:
        yield open_recorder


@pytest.fixture
def put(recorder: Recorder, exercise: Assignment) -> Record:
    """put(student, points, answers) records a result."""

    def one(student: str = "anna", points: dict[str, float] | None = None, **more: Any) -> Any:
        work = repaired(exercise, more.pop("answers", SOLVED))
        upload = submission(student, more.pop("content", "{}"), more.pop("time", EARLY))
        return recorder.record(outcome(work, points or {"scale": 3.0, "total": 2.0}, **more), upload, work)

    return one


def marks(address: str, student: str = "anna") -> dict[str, tuple[float | None, float | None, bool]]:
    with Gradebook(gradebook_url(address)) as book:
        (notebook,) = book.find_submission(WEEK, student).notebooks
        return {g.name: (g.auto_score, g.manual_score, g.needs_manual_grade) for g in notebook.grades}


def by_hand(address: str, student: str, name: str, **values: Any) -> None:
    """What formgrader does when a person enters something."""
    with Gradebook(gradebook_url(address)) as book:
        grade = book.find_grade(name, WEEK, WEEK, student)
        for key, value in values.items():
            setattr(grade, key, value)
        grade.needs_manual_grade = False
        book.db.commit()


def dump(address: str) -> dict[str, list[Any]]:
    """Everything in the gradebook but the random ids."""
    engine = sqlalchemy.create_engine(gradebook_url(address))
    query = (
        "SELECT s.student_id, b.name, g.auto_score, g.manual_score, g.extra_credit, g.needs_manual_grade, "
        "n.late_submission_penalty, s.timestamp FROM grade g JOIN base_cell b ON b.id = g.cell_id JOIN "
        "submitted_notebook n ON n.id = g.notebook_id JOIN submitted_assignment s ON s.id = n.assignment_id"
    )
    comments = (
        "SELECT s.student_id, b.name, c.auto_comment, c.manual_comment FROM comment c JOIN base_cell b ON "
        "b.id = c.cell_id JOIN submitted_notebook n ON n.id = c.notebook_id JOIN submitted_assignment s ON "
        "s.id = n.assignment_id"
    )
    students = "SELECT id, first_name, last_name, email, lms_user_id FROM student"
    with engine.connect() as connection:
        found = {
            name: sorted((tuple(row) for row in connection.execute(sqlalchemy.text(text))), key=repr)
            for name, text in [("grades", query), ("comments", comments), ("students", students)]
        }
    engine.dispose()
    return found


def test_marks_are_exactly_the_results(put: Record, address: str) -> None:
    third = 3.0 * 0.1
    said = put(points={"scale": third, "total": 2.0})
    assert marks(address) == {
        "test_scale": (third, None, False),
        "test_total": (2.0, None, False),
        "why": (None, None, True),
    }
    assert said.score == third + 2.0 == said.total and said.waiting == ("why",) and not said.not_graded


def test_the_notebook_says_the_same_to_nbgrader(put: Record, address: str, tmp_path: Path) -> None:
    for student, points in [("a", {"scale": 3.0, "total": 0.0}), ("b", {"scale": 1.25, "total": 2.0})]:
        put(student, points)
        path = tmp_path / "autograded" / student / WEEK / f"{WEEK}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        MetadataValidator().validate_nb(notebook)
        found = {
            cell.metadata.nbgrader.grade_id.removeprefix("test_"): determine_grade(cell)[0]
            for cell in notebook.cells
            if cell.metadata.get("nbgrader", {}).get("grade")
        }
        assert found == {**points, "why": None}
        assert path.with_name("timestamp.txt").read_text().strip() == EARLY


def test_hidden_tests_are_not_in_the_notebook(put: Record, tmp_path: Path) -> None:
    put(points={})
    text = (tmp_path / "autograded" / "anna" / WEEK / f"{WEEK}.ipynb").read_text()
    assert "secret_hidden" not in text and "HIDDEN TESTS" not in text and NOTE in text
    assert "shape (2,) expected" in text and "hello" in text


def test_recording_again_changes_nothing(put: Record, address: str, tmp_path: Path) -> None:
    put(points={"scale": 3.0, "total": 0.0})
    path = tmp_path / "autograded" / "anna" / WEEK / f"{WEEK}.ipynb"
    first, content, stamp = dump(address), path.read_bytes(), path.stat().st_mtime_ns
    put(points={"scale": 3.0, "total": 0.0})
    assert dump(address) == first and path.read_bytes() == content and path.stat().st_mtime_ns == stamp


def test_unanswered_and_answered_questions(put: Record, address: str) -> None:
    put("empty", answers={})
    assert marks(address, "empty")["why"] == (0.0, None, False)
    comments = {(row[0], row[1]): row[2] for row in dump(address)["comments"]}
    assert comments["empty", "why"] == "No response." and comments["empty", "scale"] == "No response."
    put("full")
    comments = {(row[0], row[1]): row[2] for row in dump(address)["comments"]}
    assert comments["full", "why"] is None and comments["full", "scale"] is None


def test_what_a_person_entered_survives_a_regrade(put: Record, address: str) -> None:
    put()
    by_hand(address, "anna", "why", manual_score=1.5, extra_credit=0.5)
    by_hand(address, "anna", "test_scale", manual_score=2.5)
    with Gradebook(gradebook_url(address)) as book:
        book.find_comment("why", WEEK, WEEK, "anna").manual_comment = "well said"
        book.db.commit()
    before = dump(address)
    said = put()
    assert dump(address) == before and said.waiting == (), "the same again leaves a person's work done"
    assert said.total == 2.5 + 2.0 + 1.5 + 0.5
    put(points={"scale": 0.0, "total": 2.0})
    found = marks(address)
    assert found["why"] == (None, 1.5, False), "the same answer stays graded"
    assert found["test_scale"] == (0.0, 2.5, True), "a person looks again, their mark stays"
    comments = {row[1]: row[3] for row in dump(address)["comments"]}
    assert comments["why"] == "well said"
    extra = {row[1]: row[4] for row in dump(address)["grades"]}
    assert extra["why"] == 0.5


def test_a_new_answer_is_looked_at_again(put: Record, address: str) -> None:
    put()
    by_hand(address, "anna", "why", manual_score=1.5)
    put(content="{ }", answers={**SOLVED, "why": "On second thoughts, no."})
    assert marks(address)["why"] == (None, 1.5, True)


def test_an_old_score_does_not_survive_a_failure(put: Record, address: str, tmp_path: Path) -> None:
    put()
    by_hand(address, "anna", "why", manual_score=1.0)
    said = put(content="{ }", failure="the worker died")
    assert said.not_graded == "the worker died" and said.score == 0.0
    found = marks(address)
    assert found["test_scale"] == (0.0, None, True) and found["test_total"] == (0.0, None, True)
    assert found["why"] == (None, 1.0, False), "the same answer"
    comments = {row[1]: row[2] for row in dump(address)["comments"]}
    assert comments["scale"] == NOT_GRADED_WORDS
    put(content="{ }")
    assert marks(address)["test_scale"] == (3.0, None, False)
    assert {row[1]: row[2] for row in dump(address)["comments"]}["scale"] is None


@pytest.mark.parametrize("fault", ["missing", "too many", "nan", "unknown"])
def test_impossible_results_are_no_marks(
    recorder: Recorder, exercise: Assignment, address: str, fault: str
) -> None:
    work = repaired(exercise, SOLVED)
    good = outcome(work, {"scale": 3.0, "total": 2.0})
    gaps = {
        "missing": good.gaps[:1],
        "too many": (dataclasses.replace(good.gaps[0], points=3.5), good.gaps[1]),
        "nan": (dataclasses.replace(good.gaps[0], points=float("nan")), good.gaps[1]),
        "unknown": (*good.gaps, dataclasses.replace(good.gaps[0], gap="other")),
    }[fault]
    said = recorder.record(dataclasses.replace(good, gaps=gaps), submission("anna"), work)
    assert said.not_graded and said.score == 0 and marks(address)["test_scale"][0] == 0


def test_nothing_readable_waits_for_a_person(recorder: Recorder, address: str) -> None:
    said = recorder.not_graded("anna", "the zip is encrypted")
    assert said.not_graded == "the zip is encrypted" and "why" in said.waiting
    assert marks(address)["test_scale"] == (0.0, None, True)


def test_names_reach_the_gradebook(address: str, exercise: Assignment, tmp_path: Path) -> None:
    person = Person("anna", "Anna Groß", "Anna", "Groß", "anna@example.org", id_number="77/1")
    work = repaired(exercise, SOLVED)
    for people in ({"anna": person}, {}):  # names that are there stay
        result = outcome(work, {})
        record(result, submission("anna"), work, exercise, address, tmp_path / "autograded", people)
        assert dump(address)["students"] == [("anna", "Anna", "Groß", "anna@example.org", "77/1")]


def test_other_students_are_left_alone(put: Record, address: str) -> None:
    put("anna")
    before = [row for row in dump(address)["grades"] if row[0] == "anna"]
    put("ben", {"scale": 0.0, "total": 0.0})
    assert [row for row in dump(address)["grades"] if row[0] == "anna"] == before


def late_config() -> Config:
    config = Config()
    config.AssignLatePenalties.plugin_class = "grading.results.late.PerDay"
    config.PerDay.share = 0.25
    return config


def test_late_penalties(address: str, exercise: Assignment, tmp_path: Path) -> None:
    with Gradebook(gradebook_url(address)) as book:
        book.update_or_create_assignment(WEEK, duedate=datetime(2024, 4, 4))
    work = repaired(exercise, SOLVED)
    result, folder = outcome(work, {"scale": 3.0, "total": 2.0}), tmp_path / "autograded"
    late = submission("anna", time=LATE)
    assert record(result, late, work, exercise, address, folder).penalty == 0, "none by default"
    said = record(result, late, work, exercise, address, folder, config=late_config())
    assert (said.penalty, said.total) == (2.5, 2.5), "two days begun, a quarter each"
    with Gradebook(gradebook_url(address)) as book:
        book.grant_extension(WEEK, "anna", days=2)
    assert record(result, late, work, exercise, address, folder, config=late_config()).penalty == 0
    early = submission("ben", time=EARLY)
    assert record(result, early, work, exercise, address, folder, config=late_config()).penalty == 0


def test_a_moved_deadline_is_among_the_differences(
    address: str, exercise: Assignment, tmp_path: Path
) -> None:
    """What another deadline changes is shown before it is recorded, as what another test changes."""
    work = repaired(exercise, SOLVED)
    result, folder = outcome(work, {"scale": 3.0, "total": 2.0}), tmp_path / "autograded"
    late = submission("anna", time=LATE)
    record(result, late, work, exercise, address, folder, config=late_config())
    times = {"anna": LATE}
    assert not differences(address, exercise, [("anna", result)], times, late_config())
    with Gradebook(gradebook_url(address)) as book:
        book.update_or_create_assignment(WEEK, duedate=datetime(2024, 4, 4))
    before = dump(address)
    found = differences(address, exercise, [("anna", result)], times, late_config())
    assert [(row.student, row.gap, row.old, row.new) for row in found.rows] == [
        ("anna", "late penalty", 0.0, -2.5)
    ]
    assert "late penalty" in found.text() and "-2.5" in found.text() and dump(address) == before
    assert not differences(address, exercise, [("anna", result)], {"anna": EARLY}, late_config())
    assert not differences(address, exercise, [("anna", result)], times), "no rule, no penalty"
    record(result, late, work, exercise, address, folder, config=late_config())
    assert not differences(address, exercise, [("anna", result)], times, late_config())


def test_an_unknown_time_is_never_late(put: Record, address: str) -> None:
    put()
    put(content="{ }", time="")
    assert dump(address)["grades"][0][7] is None


def test_differences_before_a_regrade(put: Record, address: str, exercise: Assignment) -> None:
    work = repaired(exercise, SOLVED)
    for student in ("anna", "ben", "cleo"):
        put(student)
    before = dump(address)
    new = {
        "cleo": outcome(work, {}, failure="the worker died"),
        "anna": outcome(work, {"scale": 3.0, "total": 0.0}),
        "ben": outcome(work, {"scale": 3.0, "total": 2.0}),
        "dora": outcome(work, {}),
    }
    found = differences(address, exercise, new.items())
    assert [(row.student, row.gap, row.old, row.new) for row in found.rows] == [
        ("anna", "total", 2.0, 0.0), ("cleo", "scale", 3.0, 0.0), ("cleo", "total", 2.0, 0.0),
    ]  # fmt: skip
    assert found and found.new_students == ("dora",) and found.failed == ("cleo",) and found.unchanged == 1
    text = found.text({"anna": "s123"})
    assert "s123" in text and "anna" not in text and "-2" in text
    assert dump(address) == before, "only reads"


def test_a_full_disk_leaves_the_marks_and_the_next_run_mends_the_rest(
    put: Record, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import grading.results.record

    put()
    path = tmp_path / "autograded" / "anna" / WEEK / f"{WEEK}.ipynb"
    before = path.read_bytes()

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(grading.results.record, "write_whole", full)
        with pytest.raises(OSError):
            put(points={"scale": 0.0, "total": 2.0}, content="{ }")
    assert path.read_bytes() == before and not list(path.parent.glob(".*.tmp"))
    assert marks(address)["test_scale"][0] in (0.0, 3.0), "of one upload, not of two"
    put(points={"scale": 0.0, "total": 2.0}, content="{ }")
    assert marks(address)["test_scale"][0] == 0.0 and path.read_bytes() != before


def test_stopped_while_recording_all_marks_are_of_one_upload(
    put: Record, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put()
    for name in ("_marks", "_comments", "_penalty"):
        with monkeypatch.context() as patched:
            patched.setattr(Recorder, name, lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                put(points={"scale": 0.0, "total": 0.0}, content="{ }")
        assert (marks(address)["test_scale"][0], marks(address)["test_total"][0]) == (3.0, 2.0)
    put(points={"scale": 0.0, "total": 0.0}, content="{ }")
    assert marks(address)["test_scale"][0] == 0.0


def test_an_answer_is_new_only_if_it_was_handed_in_anew(
    put: Record, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of the library that renders answers makes nobody's work waiting again."""
    import grading.results.executed

    put()
    by_hand(address, "anna", "why", manual_score=1.5)
    monkeypatch.setattr(grading.results.executed, "one_block", lambda html: f"<div>other {html}</div>")
    put()
    assert marks(address)["why"] == (None, 1.5, False)


def test_one_recorder_at_a_time(recorder: Recorder, address: str, exercise: Assignment) -> None:
    with pytest.raises(GradebookError, match="another grading run"):
        Recorder(address, recorder.autograded, exercise).__enter__()


def test_a_class_is_recorded_in_seconds(put: Record, address: str) -> None:
    start = time.process_time()
    for number in range(64):
        put(f"student{number}")
    seconds = time.process_time() - start
    print(f"64 students in {seconds:.1f} s")
    assert len(dump(address)["grades"]) == 64 * 3
    assert seconds < 30, "about 3 s"


KILLED = """
import json, sys
from pathlib import Path
from tests.grading.results.test_record import outcome, repaired, submission
from grading.model import Assignment, from_data
from grading.results.record import Recorder
exercise = from_data(Assignment, json.loads(Path(sys.argv[3]).read_text()))
with Recorder(sys.argv[1], Path(sys.argv[2]), exercise) as recorder:
    print("ready", flush=True)
    for turn in range(int(sys.argv[4])):
        work = repaired(exercise, {"why": f"because {turn}"})
        result = outcome(work, {"scale": 3.0, "total": float(turn % 3 == 0)})
        recorder.record(result, submission(f"student{turn % 8}", f"{{{turn}}}"), work)
"""


@pytest.mark.slow
def test_killed_while_recording(address: str, exercise: Assignment, tmp_path: Path) -> None:
    """Each student's marks are of one upload; recording all again gives the usual gradebook."""
    from grading.model import to_data

    description = tmp_path / "exercise.json"
    description.write_text(json.dumps(to_data(exercise)))
    command = [
        sys.executable,
        "-c",
        KILLED,
        address,
        tmp_path / "autograded",
        description,
        "400",
        ROOT / "tests",
    ]
    for pause in (0.05, 0.2, 0.5, 0.9):
        process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for student in {row[0] for row in dump(address)["grades"]}:
            found = marks(address, student)
            assert found["test_scale"][0] == 3.0 and found["test_total"][0] in (0.0, 1.0), student
    command[6] = "8"
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    totals = {row[0]: row[2] for row in dump(address)["grades"] if row[1] == "test_total"}
    assert totals == {f"student{i}": float(i % 3 == 0) for i in range(8)}
    for number in range(8):
        path = tmp_path / "autograded" / f"student{number}" / WEEK / f"{WEEK}.ipynb"
        assert f"because {number}" in path.read_text()


def test_an_exercise_is_copied_and_follows_a_new_version(put: Record, address: str, released: Path) -> None:
    source = released / "grading" / "gradebook.db"
    assert not copy_exercise(source, address, WEEK), "it has this version"
    put()
    before = dump(address)
    with Gradebook(gradebook_url(address)) as book:
        book.find_grade_cell("test_total", WEEK, WEEK).max_score = 1.0
        book.find_source_cell("test_total", WEEK, WEEK).source = "pass"
        book.add_source_cell("old", WEEK, WEEK, cell_type="code")
        book.db.commit()
    assert copy_exercise(source, address, WEEK) and not copy_exercise(source, address, WEEK)
    assert dump(address) == before
    with Gradebook(gradebook_url(address)) as book:
        assert book.find_assignment(WEEK).max_score == 7
        graded = book.find_notebook(WEEK, WEEK)
        book.add_grade_cell("gone", WEEK, WEEK, max_score=1, cell_type="code")
        book.db.add(
            Grade(cell_id=book.find_grade_cell("gone", WEEK, WEEK).id, notebook=graded.submissions[0])
        )
        book.db.commit()
    with pytest.raises(GradebookError, match="has marks for the cell 'gone'"):
        copy_exercise(source, address, WEEK)


# Without a database server


def test_addresses(tmp_path: Path) -> None:
    assert gradebook_url(tmp_path / "g.db") == f"sqlite:///{tmp_path / 'g.db'}?timeout=60"
    assert gradebook_url("postgresql://u:p@h/d") == "postgresql+psycopg://u:p@h/d"
    with pytest.raises(GradebookError, match="no address"):
        gradebook_url("://")


FORMGRADER = """
import sys, nbformat
from nbconvert.exporters import HTMLExporter
from nbgrader.server_extensions.formgrader import handlers
exporter = HTMLExporter(template_name="formgrade", extra_template_basedirs=[handlers.template_path])
names = "assignment_id notebook_id submission_id base_url student last_name first_name notebook_path".split()
resources = {name: "x" for name in names} | {"index": 0, "total": 1}
print(exporter.from_filename(sys.argv[1], resources=resources)[0])
"""


def test_formgraders_page_runs_nothing_of_a_student(
    exercise: Assignment, released: Path, tmp_path: Path
) -> None:
    path = shutil.copy(released / "grading" / "gradebook.db", tmp_path / "gradebook.db")
    evil = "<script>evil()</script><img src=x onerror=evil()> <b>bold</b> $a <b$ [x](javascript:evil())"
    evil += "\n\n[a]( javas&#99;ript:evil()) [b](<javascript:evil()>) [c][d] <javascript:evil()>"
    evil += "\n\n[d]: javascript:evil()"
    work = repaired(
        exercise, {"scale": f"# {evil}", "why": f"{evil}\n\n<!-- --><svg/onload=evil()>"}, extra=True
    )
    result = outcome(work, {})
    data = {"text/html": evil, "image/png": f'x">{evil}', "text/latex": f"${evil}$", "text/plain": evil}
    outputs = (
        *({"output_type": "display_data", "data": {mime: text}} for mime, text in data.items()),
        {"output_type": "stream", "name": "stdout", "text": evil},
        {"output_type": "error", "ename": evil, "evalue": evil, "traceback": [evil]},
    )
    runs = [
        dataclasses.replace(r, outputs=outputs) if r.cell.kind in ("extra", "test") else r
        for r in result.cells
    ]
    for kind in ("markdown", "raw"):
        runs.append(CellRun(CleanCell(f"extra{kind}", "extra", evil, kind)))  # type: ignore[arg-type]
    result = dataclasses.replace(result, cells=tuple(runs))
    record(result, submission("anna"), work, exercise, path, tmp_path / "autograded")
    notebook = tmp_path / "autograded" / "anna" / WEEK / f"{WEEK}.ipynb"
    command = [sys.executable, "-W", "ignore", "-c", FORMGRADER, str(notebook)]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seen = Tags()
    seen.feed(page)
    assert seen.evil == [] and "<b>bold</b>" in page and "evil" in page


class Tags(HTMLParser):
    """What a browser would run of the word evil: scripts, handlers, addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.evil: list[str] = []
        self.script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.script = tag == "script"
        self.evil += [f"{tag} {key}" for key, value in attrs if "evil" in (value or "") and key != "alt"]

    def handle_endtag(self, tag: str) -> None:
        self.script = False

    def handle_data(self, data: str) -> None:
        if self.script and "evil" in data:
            self.evil.append(data)


def test_a_stub_with_tags_is_still_a_stub(exercise: Assignment) -> None:
    cells = tuple(
        dataclasses.replace(c, source="<div>answer</div>") if c.name == "why" else c for c in exercise.cells
    )
    for answer, kept in (("<div>answer</div>", True), ("<div>mine</div>", False)):
        work = repaired(Assignment(WEEK, cells), {"why": answer})
        runs = [CellRun(cell) for cell in work.variants[0]]
        notebook = executed_notebook(runs, Assignment(WEEK, cells), {}, {})
        assert (notebook.cells[-1].source == answer) == kept


def test_errors_are_one_line_without_passwords(exercise: Assignment, tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    for address in (
        "nonsense://x",
        "postgresql://me:hunter2@127.0.0.1:1/x",
        f"sqlite:///{tmp_path}/no/folder/g.db",
    ):
        with pytest.raises(GradebookError) as error:
            Recorder(address, tmp_path / "autograded", exercise).__enter__()
        assert "does not open" in str(error.value) and "\n" not in str(error.value)
        assert "hunter2" not in str(error.value)


def test_another_version_of_the_exercise_is_refused(
    released: Path, exercise: Assignment, tmp_path: Path
) -> None:
    path = shutil.copy(released / "grading" / "gradebook.db", tmp_path / "gradebook.db")
    cells = tuple(dataclasses.replace(c, points=9.0) if c.name == "test_total" else c for c in exercise.cells)
    with pytest.raises(GradebookError, match="another version .*test_total.*make release"):
        Recorder(path, tmp_path / "autograded", Assignment(WEEK, cells)).__enter__()
    with pytest.raises(GradebookError, match="make release"):
        Recorder(tmp_path / "new.db", tmp_path / "autograded", exercise).__enter__()


def test_hostile_outputs_cannot_run_in_a_browser(
    exercise: Assignment, released: Path, tmp_path: Path
) -> None:
    path = shutil.copy(released / "grading" / "gradebook.db", tmp_path / "gradebook.db")
    work = repaired(exercise, SOLVED, extra=True)
    result = outcome(work, {"scale": 3.0, "total": 2.0})
    bad = (
        {"output_type": "display_data", "data": {"text/html": "<script>x()</script><b onclick=x()>b</b>"}},
        {
            "output_type": "display_data",
            "data": {"text/html": '<img src="http://x/y"><style>@import "http://x"'},
        },
        {"output_type": "display_data", "data": {"application/javascript": "x()", "image/svg+xml": "<svg/>"}},
        {"output_type": "nonsense", "data": 5},
        {"output_type": "error", "ename": 1, "evalue": None, "traceback": "x"},
        {"output_type": "stream", "text": ["a", "\ud800"]},
    )
    runs = tuple(
        dataclasses.replace(run, outputs=bad, execution_count=-1) if run.cell.kind == "extra" else run
        for run in result.cells
    )
    result = dataclasses.replace(result, cells=runs)
    record(result, submission("anna"), work, exercise, path, tmp_path / "autograded")
    text = (tmp_path / "autograded" / "anna" / WEEK / f"{WEEK}.ipynb").read_text()
    for secret in ("script", "onclick", "javascript", "<svg", "http:"):
        assert secret not in text


@pytest.mark.slow
def test_nbgrader_goes_on_with_it(released: Path, exercise: Assignment, tmp_path: Path) -> None:
    """Feedback by nbgrader itself, from our notebook and marks."""
    course = tmp_path / "course"
    shutil.copytree(released, course)
    work = repaired(exercise, SOLVED, extra=True)
    result = outcome(work, {"scale": 3.0, "total": 0.0})
    grading = course / "grading"
    record(result, submission("anna"), work, exercise, grading / "gradebook.db", grading / "autograded")
    done = run_module("nbgrader", "generate_feedback", WEEK, cwd=grading)
    assert done.returncode == 0, done.stderr
    page = (grading / "feedback" / "anna" / WEEK / f"{WEEK}.html").read_text()
    assert "3.0 / 7.0" in page.replace("\n", " ") or "3.0" in page


def test_html_nested_a_million_times_costs_no_minutes() -> None:
    cell = CleanCell("extra1", "extra", "1 + 1")
    output = {"output_type": "display_data", "data": {"text/html": "<div>" * 300_000}, "metadata": {}}
    began = time.process_time()
    made = executed_notebook([CellRun(cell, (output,))], Assignment("week00", ()), {}, {})
    assert time.process_time() - began < 10
    assert list(made.cells[0].outputs[0].data) == ["text/plain"]
