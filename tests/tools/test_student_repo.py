"""tools/student.py: the students' repository and the search for what must not be in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sysconfig
import tomllib
from pathlib import Path

import nbformat
import pytest

from tests.conftest import ROOT, WEEK, run_module
from tools import student
from tools.student import StudentError, leaks

EXTENSION = Path(sysconfig.get_path("data"), "share/jupyter/labextensions/@jupyter/nbgrader/static")
NBGRADER = "".join(path.read_text(encoding="utf-8") for path in EXTENSION.glob("*.js"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real students' repository."""
    folder = tmp_path_factory.mktemp("build") / "student repository"
    student.build(folder, check_drift=False)  # `make test` looks for drift on its own
    return folder


def test_it_has_what_students_need(built: Path) -> None:
    needed = """
        README.md Makefile pyproject.toml requirements.txt environment.yml nbgrader_config.py .gitignore
        .gitattributes docs/setup.md docs/students.md
        tools/__init__.py tools/setup_env.py tools/lab.py tools/course_startup.py tools/validate.py
        tools/jupyter/labconfig/default_setting_overrides.json
        tools/jupyter/jupyter_server_config.d/course.json
        utils/__init__.py utils/course.mplstyle
    """.split()
    assert [name for name in needed if not (built / name).is_file()] == []
    for folder in ("notebooks", "exercises"):
        here = {
            p.relative_to(ROOT)
            for p in (ROOT / folder).rglob("*.ipynb")
            if ".ipynb_checkpoints" not in p.parts
        }
        there = {p.relative_to(built) for p in (built / folder).rglob("*.ipynb")}
        assert there == here
    assert {p.name for p in ROOT.glob("LICEN[SC]E*")} <= {p.name for p in built.iterdir()}


def test_it_has_nothing_else(built: Path) -> None:
    assert list(leaks(built)) == []
    top = {p.name for p in built.iterdir()}
    assert not top & {"solutions", "grading", "tests", ".git", ".github", ".ci", "build"}
    assert {p.name for p in (built / "tools").iterdir()} == {
        *("__init__.py", "setup_env.py", "lab.py", "course_startup.py", "validate.py", "jupyter")
    }
    for pattern in (
        "notebooks/**/*.py",
        "exercises/**/*.py",
        "**/guide*",
        "**/bank*",
        "**/*.db",
        "**/__pycache__",
    ):
        assert not list(built.glob(pattern)), pattern


def test_no_phrase_of_the_solutions(built: Path) -> None:
    """Independent of leaks(): what is in solution regions and hidden tests is nowhere here."""
    visible = "".join(
        p.read_text() for folder in ("notebooks", "utils") for p in (ROOT / folder).rglob("*.py")
    )
    phrases: set[str] = set()
    for source in (ROOT / "solutions").glob("*/*.py"):
        inside = False
        for line in source.read_text().splitlines():
            if line.strip().startswith("### "):
                inside = "BEGIN" in line
            elif inside and len(line.strip()) > 30:
                phrases.add(line.strip())
            else:
                visible += line + "\n"
    if list((ROOT / "solutions").glob("*/*.py")):
        assert len(phrases) > 10
    secret = {phrase for phrase in phrases if phrase not in visible}
    for path in built.rglob("*"):
        if path.is_file() and path.suffix in (".py", ".md", ".ipynb"):
            text = path.read_text()
            if path.suffix == ".ipynb":
                text = "\n".join(cell.source for cell in nbformat.reads(text, as_version=4).cells)
            assert [phrase for phrase in secret if phrase in text] == [], path


def test_its_pyproject_is_shorter_and_installs_the_same(built: Path) -> None:
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text())
    part = tomllib.loads((built / "pyproject.toml").read_text())
    assert part["project"] == whole["project"] and part["build-system"] == whole["build-system"]
    assert set(part["tool"]) == {"lgm", "setuptools"}
    assert set(part["tool"]["lgm"]) == {"students-repository"}


def test_students_see_no_instructors_menus(built: Path) -> None:
    """Of nbgrader's plugins, all but the Validate button are off; the names are those in its own code."""
    plugins = set(re.findall(r'"(@jupyter/nbgrader:[\w-]+)"', NBGRADER))
    settings = json.loads((built / "tools/jupyter/labconfig/page_config.json").read_text())
    off = {name for name, value in settings["disabledExtensions"].items() if value}
    assert plugins - off == {"@jupyter/nbgrader:validate-assignment"} and not off - plugins


def test_what_validate_says_is_quoted_word_for_word(built: Path) -> None:
    section = (built / "docs/students.md").read_text().split("\n## Check\n")[1].split("\n## ")[0]
    quoted = re.findall(r"^- \*(.+?)\*", section, re.MULTILINE)
    assert len(quoted) == 4 and [words for words in quoted if words not in NBGRADER] == []


def test_make_help_and_the_first_command(built: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    text = os.popen(f"make -s -C '{built}' help").read()
    assert all(word in text for word in ("setup", "lab", "clean"))
    done = run_module("tools.lab", "--help", cwd=built)
    assert done.returncode == 0, done.stderr


def test_readme_lists_each_week_with_badges(built: Path) -> None:
    text = (built / "README.md").read_text()
    assert "{{" not in text
    for path in [*built.glob("notebooks/*.ipynb"), *built.glob("exercises/*/*.ipynb")]:
        assert f"]({path.relative_to(built)})" in text and f"blob/main/{path.relative_to(built)})" in text


@pytest.fixture
def course(released: Path, tmp_path: Path) -> Path:
    """The released sample course with its bank, to plant leaks in."""
    return Path(shutil.copytree(released, tmp_path / "course"))


def test_a_planted_leak_is_found(course: Path, tmp_path: Path) -> None:
    notebook = f"exercises/{WEEK}/exercise_{WEEK}.ipynb"
    folder = tmp_path / "out"
    student.build(folder, course, check_drift=False)
    assert list(leaks(folder, course)) == []

    def plant(source: str, text: str = "", output: str = "") -> list[str]:
        target = folder / source
        before = target.read_bytes() if target.exists() else None
        if target.suffix == ".ipynb":
            nb = nbformat.read(target, as_version=4)
            printed = [nbformat.v4.new_output("stream", name="stdout", text=output)] if output else []
            nb.cells.append(nbformat.v4.new_code_cell(text, outputs=printed))
            nbformat.write(nb, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        found = list(leaks(folder, course))
        target.unlink() if before is None else target.write_bytes(before)
        return found

    assert plant(notebook, "### BEGIN SOLUTION\nx = 1\n### END SOLUTION")
    assert plant(notebook, "    return secret_solution_phrase * x"), "a line of the solution"
    assert plant(notebook, "secret_hidden_phrase = scale(np.array([-1.0]))"), "a line of a hidden test"
    assert plant(notebook, "Because of the secret_argument_phrase."), "the answer to a question"
    assert plant(notebook, "x = 1", output="----> 7 secret_hidden_phrase = scale(np.array([-1.0]))")
    assert plant("docs/notes.md", "# Guide for the class: the secret phrase is xylophone-guide\n")
    assert plant("utils/helpers.py", "def total(x):\n    return np.asarray(x, dtype=np.float32).sum()\n")
    assert plant(f"exercises/{WEEK}/{WEEK}.py", "x = 1\n"), "a notebook's source"
    assert plant("grading/bank/x.py", "x = 1\n")
    assert plant(f"exercises/{WEEK}/guide.md", "x\n")
    assert plant("grading/gradebook.db", "x\n")
    page = "<pre><span>return</span> <span>secret_solution_phrase</span> <span>*</span> <span>x</span></pre>"
    assert plant("docs/page.html", page), "a line of the solution, coloured"
    assert list(leaks(folder, course)) == []


def test_a_leak_stops_the_build(course: Path, tmp_path: Path) -> None:
    (course / "utils").mkdir()
    (course / "utils" / "cheat.py").write_text("    return secret_solution_phrase * x\n")
    solution = course / "solutions" / WEEK / f"{WEEK}.py"
    assert "secret_solution_phrase" in solution.read_text()
    (course / "data").mkdir()
    (course / "data" / "notes.txt").write_text("secret_hidden_phrase = scale(np.array([-1.0]))\n")
    with pytest.raises(StudentError, match="notes.txt has a line of solutions"):
        student.build(tmp_path / "out", course, check_drift=False)


def test_drift_stops_the_build(course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (course / "notebooks" / f"{WEEK}.ipynb").unlink()
    assert student.main([str(tmp_path / "out"), "--root", str(course)]) == 1
    assert "is missing: run `make notebooks`" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_building_again_keeps_git_and_drops_the_rest(course: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    made = student.build(folder, course, check_drift=False)
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref")
    (folder / "old.txt").write_text("from last year")
    assert student.build(folder, course, check_drift=False) == made
    assert (folder / ".git" / "HEAD").is_file() and not (folder / "old.txt").exists()


def test_a_foreign_folder_is_not_emptied(course: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("x")
    for folder in (tmp_path / "thesis", course, course.parent):
        with pytest.raises(StudentError, match="choose another folder"):
            student.build(folder, course, check_drift=False)
    assert (tmp_path / "thesis" / "chapter1.tex").is_file()
