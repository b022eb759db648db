"""`make week`: the skeleton of a week runs, and nothing is wrong with it but what is left to write."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from grading.assignment import assignment_from_source
from grading.proving import form
from grading.proving.check import Report
from tests.conftest import ROOT, copy_course, run_module
from tools import drift, load, notebooks, week
from tools.notebooks import SourceError

NEW = "week98_toy"


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample course with the real `utils` after `make week WEEK=week98_toy`; tests only read it."""
    folder = copy_course(tmp_path_factory.mktemp("course") / "a course")
    shutil.copytree(ROOT / "utils", folder / "utils", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("tools/setup_cell.py", "tests/conftest.py"):
        (folder / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, folder / file)
    done = run_module("tools.week", NEW, "--root", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copy(course: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(course, tmp_path / "copy"))


def faults(root: Path) -> list[str]:
    report = Report()
    form.look_at_form(assignment_from_source(NEW, root), report, root)
    return report.faults


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path.name} has no {old!r}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_every_part_is_there_and_carries_the_weeks_name(course: Path) -> None:
    written = [path.relative_to(course).as_posix() for path in week.parts(NEW, course).values()]
    assert sorted(written) == [
        f"grading/bank/{NEW}.py",
        f"notebooks/pictures/{NEW}.py",
        f"notebooks/{NEW}.py",
        f"solutions/{NEW}/guide.md",
        f"solutions/{NEW}/{NEW}.py",
        f"tests/notebooks/test_{NEW}.py",
        f"utils/quizzes/{NEW}.json",
    ]
    for file in written:
        text = (course / file).read_text(encoding="utf-8")
        assert "TODO" in text and not any(left in text for left in (week.STEM, "Topic", "Week 0", "week=0"))
    text = (course / "notebooks" / f"{NEW}.py").read_text(encoding="utf-8")
    assert "\n# # Week 98 · Not written yet\n" in text, "the topic in README's table"
    picture = course / "notebooks" / "pictures" / NEW / "idea.png"
    assert picture.is_file() and "{{picture: idea}}" in text
    assert "week=98," in text and f'quiz.show("{NEW}")' in text
    for source in notebooks.find_sources(course):
        assert source.notebook.is_file() and (course / source.colab).is_file()
    assert f"| 98 | Not written yet | [notebook](notebooks/{NEW}.ipynb)" in (course / "README.md").read_text()
    assert list(drift.drift(course)) == []


def test_the_topic_can_be_another(sample: Path) -> None:
    week.write(NEW, "Toys & games", sample)
    assert "\n# # Week 98 · Toys & games\n" in (sample / "notebooks" / f"{NEW}.py").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("path", [path.as_posix() for path in week.parts(NEW, Path(".")).values()])
def test_nothing_is_overwritten(sample: Path, path: str) -> None:
    (sample / path).parent.mkdir(parents=True, exist_ok=True)
    (sample / path).write_text("mine")
    before = sorted(sample.rglob("*"))
    with pytest.raises(SourceError, match="exists: nothing was written"):
        week.write(NEW, root=sample)
    assert sorted(sample.rglob("*")) == before and (sample / path).read_text() == "mine"


@pytest.mark.parametrize(
    ("stem", "message"),
    [
        ("week99_other", "week99_sample.py exists"),
        ("week97_toy", "README.md has no row of week 97"),
        ("week8_gan", "is no name of a week"),
        ("week98-toy", "is no name of a week"),
        ("../week98_toy", "is no name of a week"),
    ],
)
def test_a_wrong_name_is_refused_in_one_line(
    sample: Path, capsys: pytest.CaptureFixture[str], stem: str, message: str
) -> None:
    before = sorted(sample.rglob("*"))
    assert week.main([stem, "--root", str(sample)]) == 1
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert sorted(sample.rglob("*")) == before


def test_only_what_is_left_to_write_is_wrong_with_it(course: Path) -> None:
    found = faults(course)
    assert len(found) == 7 and all("says TODO" in fault for fault in found)
    source = next(source for source in load.preparations(course) if source.stem == NEW)
    measured = load.measure(source)
    assert measured.deeper is not None and list(measured.faults()) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "word"),
    [
        ("solutions/{0}/{0}.py", 'test="draw" points=4', 'test="draw" points=5', "has 21 points, not 20"),
        ("solutions/{0}/guide.md", "`draw`", "", "nothing on the gap `draw`"),
        ("solutions/{0}/guide.md", "## Misconceptions", "## Other", "no section `## Misconceptions`"),
        ("notebooks/{0}.py", "notebook 150 minutes", "notebook 10 minutes", "announces 10 minutes"),
        ("notebooks/{0}.py", "import time\n", "import time\n" + "time\n" * 40, "more than 40 lines: imports"),
    ],
)
def test_what_is_out_of_form_is_named(copy: Path, file: str, old: str, new: str, word: str) -> None:
    change(copy / file.format(NEW), old, new)
    assert any(word in fault for fault in faults(copy))


def test_gaps_are_counted(course: Path) -> None:
    assignment = assignment_from_source(NEW, course)
    fewer = replace(assignment, cells=tuple(cell for cell in assignment.cells if cell.kind != "manual"))
    report = Report()
    form.look_at_form(fewer, report, course)
    assert any("has 4 gaps, the question included" in fault for fault in report.faults)
    assert any("has 17 points" in fault for fault in report.faults)


def test_in_the_old_form_what_is_too_much_is_noted(copy: Path) -> None:
    source = copy / "notebooks" / f"{NEW}.py"
    change(source, "## Deeper · ", "## Further ")
    change(source, "import time\n", "import time\n" + "time\n" * 40)
    report = Report()
    form.look_at_form(assignment_from_source(NEW, copy), report, copy)
    assert not any("40 lines" in fault for fault in report.faults)
    assert any(line.startswith("note") and "40 lines" in line for line in report.lines)


def test_a_missing_part_is_named(copy: Path) -> None:
    (copy / "tests" / "notebooks" / f"test_{NEW}.py").unlink()
    (copy / "notebooks" / "pictures" / f"{NEW}.py").unlink()
    assert faults(copy) == [f"tests/notebooks/test_{NEW}.py is missing"]


def quiz(**changes: object) -> list[dict]:
    """Five good questions, the last one with changes."""
    names = ("a", "b", "c")
    questions = [
        {
            "question": f"{number}",
            "answers": [
                {"answer": a, "correct": i == number % 3, "feedback": "Because of this and of that."}
                for i, a in enumerate(names)
            ],
        }
        for number in range(5)
    ]
    return [*questions[:4], questions[4] | changes]


GOOD = quiz()[4]["answers"]


@pytest.mark.parametrize(
    ("questions", "word"),
    [
        (quiz(), ""),
        (quiz()[:4], "4 questions"),
        (quiz(question="1"), "5 different ones"),
        (quiz(answers=GOOD[:2]), "question 5: three different answers"),
        (quiz(answers=[*GOOD, GOOD[0]]), "question 5: three different answers"),
        (quiz(answers=[a | {"correct": False} for a in GOOD]), "question 5: one right answer"),
        (quiz(answers=[a | {"correct": True} for a in GOOD]), "question 5: one right answer"),
        (quiz(answers=[a | {"feedback": "No."} for a in GOOD]), "question 5: a choice is not explained"),
        ([q | {"answers": quiz()[1]["answers"]} for q in quiz()], "always in the same place"),
    ],
)
def test_faults_of_a_quiz(questions: list[dict], word: str) -> None:
    found = list(form.quiz_faults(questions))
    assert len(found) == bool(word) and all(word in fault for fault in found)


@pytest.mark.slow
@pytest.mark.parametrize("path", [f"notebooks/{NEW}.ipynb", f"solutions/{NEW}/{NEW}.ipynb"])
def test_it_runs(course: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("LGM_SCOREBOARD", str(course / "scoreboard.json"))
    monkeypatch.setenv("PYTHONPATH", f"{course}{os.pathsep}{ROOT}")
    notebook = nbformat.read(course / path, as_version=4)
    NotebookClient(notebook, timeout=100, resources={"metadata": {"path": str(course)}}).execute()


@pytest.mark.slow
def test_its_tests_pass(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{course}{os.pathsep}{ROOT}")
    done = run_module("pytest", "-q", "-p", "no:cacheprovider", f"tests/notebooks/test_{NEW}.py", cwd=course)
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_its_bank_is_clean(course: Path) -> None:
    done = run_module("grading.proving.bank", NEW, "--root", course, "--seeds", "3")
    assert done.returncode == 0, done.stdout + done.stderr
