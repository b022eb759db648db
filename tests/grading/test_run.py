"""A whole grading run on the sample course: marks, resuming, regrades, what could not be graded or read."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook
from traitlets.config import Config

from grading import run
from grading.assignment import assignment_from_gradebook, solved
from grading.execution import engine, trusted
from grading.execution.local import PlainLifeline
from grading.intake.people import secrets_for
from grading.model import Outcome, Submission
from tests import exercise_small
from tests.conftest import WEEK


class Worker:
    """Executes without a sandbox; `broken` pseudonyms make the grader fail, `executed` counts."""

    broken: set[str] = set()
    executed: list[str] = []

    def __init__(self, sandbox=True, threads=1):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def execute(self, job):
        self.executed.append(job.pseudonym)
        if job.pseudonym in self.broken:
            return Outcome(job.pseudonym, failure="the machine is on fire")
        lifeline = PlainLifeline()
        outcomes = [trusted.run(job, i, lifeline) for i in range(len(job.variants))]
        best = max(outcomes, key=lambda outcome: outcome.score)
        return replace(best, protection="watched; not enforced: memory that no process shows")


@pytest.fixture(autouse=True)
def fresh():
    Worker.broken, Worker.executed = set(), []


@pytest.fixture
def course(released: Path, tmp_path: Path) -> run.Course:
    root = tmp_path / "a course"
    shutil.copytree(released, root)
    return run.Course(root / "grading", root=root)


def hand_in(course: run.Course, student: str, **answers: str) -> Path:
    """A solved notebook, with other answers in some gaps."""
    notebook = nbformat.reads(solved(WEEK, course.root).decode(), as_version=4)
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name in answers and cell.metadata.nbgrader.get("solution"):
            cell.source = answers[name]
    path = course.submitted / student / WEEK / f"{WEEK}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook), encoding="utf-8")
    return path


def grade(course: run.Course, **options):
    said: list[str] = []
    options = {"place": engine.Place(workers=1), "make": Worker, "accept": True, "seed": 3} | options
    summary = run.grade(course, WEEK, run.Options(**options), said.append)
    return summary, "\n".join(said)


def points(course: run.Course) -> dict[str, dict[str, float]]:
    return run.marks(course, WEEK, assignment_from_gradebook(course.address, WEEK, course.root))


WRONG = "def total(x):\n    return float(np.prod(x))"


def test_marks_pages_report_and_tables(course):
    hand_in(course, "ada")
    hand_in(course, "bo", total=WRONG)
    summary, _ = grade(course)
    assert summary.status == run.DONE and summary.executed == 2
    assert points(course) == {"ada": {"scale": 3, "total": 2}, "bo": {"scale": 3, "total": 0}}
    page = (course.feedback / "bo" / WEEK / f"{WEEK}.html").read_text(encoding="utf-8")
    assert "1 + 2 is 3" in page and "secret_hidden_phrase" not in page
    report = (course.results(WEEK) / "report.html").read_text(encoding="utf-8")
    assert "1 + 2 is 3" in report and "ada" not in report
    for name in ("grades.csv", "moodle.csv"):
        assert "bo" in (course.results(WEEK) / name).read_text(encoding="utf-8")
    logs = list(course.results(WEEK).glob("logs/*.log"))
    assert len(logs) == 2 and not any("ada" in log.name + log.read_text() for log in logs)
    assert "2 submissions, 2 executed" in run.table(summary)


def test_what_protects_and_what_does_not_is_said_on_the_terminal_and_in_the_report(course):
    hand_in(course, "ada")
    for _ in range(2):  # executed, and from the ledger
        summary, _ = grade(course)
        assert "\nwatched; not enforced: memory that no process shows\n" in run.table(summary)
        report = (course.results(WEEK) / "report.html").read_text(encoding="utf-8")
        assert "What protects: watched; not enforced: memory that no process shows." in report


def test_what_is_done_is_not_done_again_and_a_new_upload_is(course):
    hand_in(course, "ada")
    hand_in(course, "bo")
    grade(course)
    again, _ = grade(course)
    assert (again.executed, again.resumed, len(Worker.executed)) == (0, 2, 2)
    hand_in(course, "bo", total=WRONG)
    third, said = grade(course)
    assert (third.executed, third.resumed) == (1, 1)
    assert "total" in said  # the changed mark is printed
    assert points(course)["bo"] == {"scale": 3, "total": 0}
    forced, _ = grade(course, force=True)
    assert forced.executed == 2


def test_changed_marks_wait_until_they_are_accepted(course):
    hand_in(course, "ada")
    grade(course)
    hand_in(course, "ada", total=WRONG)
    before = points(course)
    refused, said = grade(course, accept=False)
    assert refused.status == run.NOT_ACCEPTED and "--accept" in said and points(course) == before
    assert "ada" not in said  # pseudonyms only
    dry, _ = grade(course, dry_run=True)
    assert dry.status == run.DONE and dry.executed == 0 and points(course) == before
    accepted, _ = grade(course)
    assert accepted.executed == 0 and points(course)["ada"]["total"] == 0


def test_an_old_score_does_not_survive_a_submission_that_could_not_be_graded(course):
    hand_in(course, "ada")
    hand_in(course, "bo")
    grade(course)
    hand_in(course, "ada", total=WRONG)
    name = run.secrets_for(course.folder).pseudonym("ada")
    Worker.broken = {name}
    summary, _ = grade(course)
    assert summary.status == run.FAILED and summary.failed == {name: "the machine is on fire"}
    assert sum(points(course).get("ada", {}).values()) == 0
    assert points(course)["bo"] == {"scale": 3, "total": 2}
    assert name in run.table(summary)
    Worker.broken = set()
    mended, _ = grade(course)
    assert mended.status == run.DONE and points(course)["ada"] == {"scale": 3, "total": 0}


def test_a_file_that_is_no_notebook_costs_only_its_owner(course):
    hand_in(course, "ada")
    hand_in(course, "bo").write_text("<!DOCTYPE html><title>JupyterLab</title>")
    summary, _ = grade(course)
    assert summary.status == run.DONE
    assert points(course)["ada"] == {"scale": 3, "total": 2}
    assert sum(points(course)["bo"].values()) == 0
    assert "notebook" in (course.feedback / "bo" / WEEK / f"{WEEK}.html").read_text(encoding="utf-8")
    assert len(Worker.executed) == 1


def test_a_submission_is_put_in_shape_once_and_apart(course, monkeypatch):
    """An upload that takes too long to read costs its owner only, who is told; it is not tried again."""
    from grading.intake import apart

    made = []
    repair_apart = run.repair_apart

    def counted(content, assignment):
        made.append(content)
        return repair_apart(content, assignment)

    monkeypatch.setattr(run, "repair_apart", counted)
    hand_in(course, "ada")
    grade(course)
    path = hand_in(course, "eve")
    notebook = json.loads(path.read_text(encoding="utf-8"))
    table = "[" + "1,0," * 40_000 + "]"
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    notebook["cells"] += [{**cell, "source": f"scale = total = {table}\n# {i}"} for i in range(20)]
    path.write_text(json.dumps(notebook), encoding="utf-8")
    monkeypatch.setattr(apart, "READING", apart.Budget(seconds=1))
    summary, _ = grade(course)
    assert summary.status == run.DONE and len(made) == 2
    assert points(course)["ada"] == {"scale": 3, "total": 2} and sum(points(course)["eve"].values()) == 0
    page = (course.feedback / "eve" / WEEK / f"{WEEK}.html").read_text(encoding="utf-8")
    assert "more than 1 s of computing" in page
    assert "more than 1 s of computing" in (course.results(WEEK) / "report.html").read_text(encoding="utf-8")
    grade(course)
    assert len(made) == 2, "kept for the next run"


def test_only_the_named_student(course):
    hand_in(course, "ada")
    hand_in(course, "bo")
    summary, _ = grade(course, students=("bo",))
    assert set(summary.recorded) == {"bo"} and set(points(course)) == {"bo"}


def test_a_damaged_ledger_file_is_named_and_made_anew(course):
    hand_in(course, "ada")
    grade(course)
    file = next((course.folder / "ledger").glob("??/*.json"))
    file.write_bytes(file.read_bytes()[:-20])
    summary, said = grade(course)
    assert summary.executed == 1 and str(file) in said


def test_a_result_depends_on_every_module_of_the_engine():
    """A module that is neither here nor there would let old results pass for new ones, or force reruns."""
    here = Path(run.__file__).parent
    assert {path.stem for path in here.rglob("*") if path.is_dir() or path.suffix == ".py"} >= run.NO_RESULT
    counted = {path.stem for path in run.engine_modules()}
    assert {"trusted", "student", "wire", "repair", "station", "sandbox", "model", "names"} <= counted
    assert not counted & {"record", "bank", "collect", "week03_rbm"}


def test_each_upload_has_its_own_seed(tmp_path):
    """The same file always meets the same inputs; another one, another exercise, another course others."""
    first, other = secrets_for(tmp_path / "a"), secrets_for(tmp_path / "b")
    exercise = exercise_small.ASSIGNMENT
    changed = replace(exercise, cells=exercise.cells[1:])
    ada, ben = (Submission(name, WEEK, b"the same") for name in ("ada", "ben"))
    again = Submission("ada", WEEK, b"handed in again")

    def seed(submission, assignment=exercise, secrets=first, **options):
        return run.seed_of(submission, assignment, run.Options(**options), secrets)

    seeds = {seed(ada), seed(again), seed(ada, changed), seed(ada, secrets=other)}
    assert seed(ada) == seed(ben) and len(seeds) == 4 and max(seeds) > 2**120
    assert seed(ada, seed=3) == 3


def test_logs_and_terminal_stay_plain(course):
    """What a student's code raises may move a terminal's cursor, rename its window or begin a line anew."""
    evil = "\\x1b]0;owned\\x07\\x1b[2J\\rPASSED\\u202e"
    hand_in(course, "ada", total=f'def total(x):\n    raise ValueError("{evil}")')
    summary, said = grade(course)
    texts = [log.read_text(encoding="utf-8") for log in course.results(WEEK).glob("logs/*.log")]
    for text in [*texts, said, run.table(summary)]:
        assert not [c for c in text if c != "\n" and (c < " " or c in "\x7f\u202e")]
    name = run.secrets_for(course.folder).pseudonym("ada")
    summary.failed = {name: "\x1b[2Jgone"}
    assert "\x1b" not in run.table(summary)


def test_a_full_disk_and_a_read_only_folder_are_one_line(course, monkeypatch, capsys):
    from grading import __main__

    hand_in(course, "ada")
    for number, todo in (
        (errno.ENOSPC, "make room"),
        (errno.EROFS, "you may write"),
        (errno.EACCES, "you may write"),
    ):

        def fails(path, *arguments, number=number):
            raise OSError(number, os.strerror(number), str(path))

        for what in ("grading.run.write_whole", "grading.results.record.write_whole"):
            with monkeypatch.context() as patched:
                patched.setattr(what, fails)
                patched.setitem(__main__.COMMANDS, "grade", lambda options: grade(course)[0].status)
                assert __main__.main(["grade", WEEK]) == 1
            said = capsys.readouterr().err
            assert said.count("\n") == 1 and todo in said and "Traceback" not in said
    summary, _ = grade(course)
    assert summary.status == run.DONE and summary.executed == 0, "what was executed stays"
    assert points(course) == {"ada": {"scale": 3, "total": 2}}


def test_local_times_and_a_moved_deadline(course):
    config = Config()
    config.NbGraderAPI.timezone = "Europe/Berlin"
    config.AssignLatePenalties.plugin_class = "grading.results.late.PerDay"
    path = hand_in(course, "ada")
    (path.parent / "timestamp.txt").write_text("2026-04-03T22:30:00+00:00\n")
    grade(course, config=config)
    page = (course.feedback / "ada" / WEEK / f"{WEEK}.html").read_text(encoding="utf-8")
    assert "handed in Sat 04 April 2026, 00:30 CEST" in page
    assert "Sat 04 Apr 00:30" in (course.results(WEEK) / "report.html").read_text(encoding="utf-8")
    assert "2026-04-04 00:30:00 +0200" in (course.results(WEEK) / "grades.csv").read_text(encoding="utf-8")
    with Gradebook(course.address) as book:
        book.update_or_create_assignment(WEEK, duedate=datetime(2026, 4, 3, 20))
    refused, said = grade(course, config=config, accept=False)
    assert refused.status == run.NOT_ACCEPTED and "late penalty" in said and "-0.5" in said
    grade(course, config=config)
    again, said = grade(course, config=config, accept=False)
    assert again.status == run.DONE and "late penalty" not in said


def test_nothing_to_grade_is_said(course):
    summary, said = grade(course)
    assert "nothing to grade" in said and summary.status == run.DONE


def test_outcomes_survive_json(course):
    """What workers send is JSON; the outcome after a round trip is the same."""
    hand_in(course, "ada")
    from grading.model import from_data, to_data

    assignment = assignment_from_gradebook(course.address, WEEK, course.root)
    secrets = secrets_for(course.folder)
    (submission,) = run.collect.submissions(course.submitted, WEEK)
    job = run.make_job(submission, run.Repairs(course, assignment, secrets), run.Options())
    outcome = Worker().execute(job)
    assert from_data(Outcome, json.loads(json.dumps(to_data(outcome)))) == outcome
