"""tools/notebooks.py: percent sources to notebooks, and the drift between them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest
from ipykernel.kernelspec import get_kernel_dict

from tests.conftest import ROOT, WEEK
from tools import drift, notebooks
from tools.notebooks import Source, SourceError


def make(text: str, tmp_path: Path) -> nbformat.NotebookNode:
    path = tmp_path / "week01_x.py"
    path.write_text(text, encoding="utf-8")
    return notebooks.build(Source(path, "week01_x", "notebooks/week01_x.ipynb"), ROOT)


def test_shorthands_become_nbgrader_metadata(sample: Path) -> None:
    notebooks.write(sample)
    notebook = nbformat.read(sample / "solutions" / WEEK / f"{WEEK}.ipynb", as_version=4)
    nbformat.validate(notebook)
    meta = {
        c.metadata.nbgrader.grade_id: c.metadata.nbgrader for c in notebook.cells if "nbgrader" in c.metadata
    }

    def flags(name: str) -> tuple[bool, bool, bool]:
        return meta[name].grade, meta[name].solution, meta[name].locked

    assert flags("constants") == flags("introduction") == (False, False, True)
    assert flags("scale") == (False, True, False)
    assert flags("test_scale") == (True, False, True)
    assert flags("why") == (True, True, False)
    assert (meta["test_scale"].points, meta["test_total"].points, meta["why"].points) == (3, 2, 2)
    assert all(m.schema_version == 3 and m.task is False for m in meta.values())


def test_nbgrader_accepts_the_metadata(sample: Path) -> None:
    from nbgrader.nbgraderformat import MetadataValidator

    notebooks.write(sample)
    path = sample / "solutions" / WEEK / f"{WEEK}.ipynb"
    MetadataValidator().validate_nb(nbformat.read(path, as_version=4))


def test_setup_cell_and_badge_are_stamped(sample: Path) -> None:
    notebooks.write(sample)
    text = (sample / "notebooks" / f"{WEEK}.ipynb").read_text()
    assert "# Sample of https://github.com/example/students" in text
    assert "docstring is not part" not in text
    assert "colab.research.google.com/github/example/students/blob/main/notebooks/week99_sample.ipynb" in text
    exercise = (sample / "solutions" / WEEK / f"{WEEK}.ipynb").read_text()
    assert "blob/main/exercises/week99_sample/exercise_week99_sample.ipynb" in exercise, (
        "the badge opens the exercise"
    )
    assert "{{" not in text + exercise


def test_the_setup_cell_is_folded_and_other_cells_need_it(sample: Path) -> None:
    notebooks.write(sample)
    for path in sample.rglob("*.ipynb"):
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        setup = cells.pop(0)
        assert setup.metadata["jupyter"] == {"source_hidden": True} and setup.metadata["cellView"] == "form"
        assert notebooks.GUARD in setup.source
        locked = [cell for cell in cells if cell.metadata.get("nbgrader", {}).get("locked")]
        assert [cell for cell in cells if cell.source.startswith(f"{notebooks.GUARD}\n\n")] == locked
        assert len(locked) == (3 if "solutions" in path.parts else 0)


def test_imports_need_the_setup_cell_if_there_is_one(tmp_path: Path) -> None:
    alone = make("# %% imports\nimport math\n", tmp_path)
    both = make("# %% setup\n\n# %% imports\nimport math\n\n# %% later\nx = 1\n", tmp_path)
    assert [cell.source for cell in alone.cells] == ["import math"]
    assert [cell.source for cell in both.cells[1:]] == [f"{notebooks.GUARD}\n\nimport math", "x = 1"]


def test_no_outputs_stable_order_one_final_newline(sample: Path) -> None:
    notebooks.write(sample)
    text = (sample / "notebooks" / f"{WEEK}.ipynb").read_text()
    data = json.loads(text)
    assert all(
        not c["outputs"] and c["execution_count"] is None for c in data["cells"] if c["cell_type"] == "code"
    )
    assert text == json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    spec = get_kernel_dict()
    assert data["metadata"]["kernelspec"] == {
        "name": "python3",
        "display_name": spec["display_name"],
        "language": spec["language"],
    }, "else JupyterLab changes the notebook on opening"
    tagged = [c["metadata"]["tags"] for c in data["cells"] if "tags" in c["metadata"]]
    assert tagged == [["parameters"]]


def test_ids_stay_when_cells_move(tmp_path: Path) -> None:
    first = make("# %% a\nx = 1\n\n# %% b\ny = 2\n\n# %%\nz = 3\n", tmp_path)
    other = make("# %% [markdown]\n# New\n\n# %%\nz = 3\n\n# %% b\ny = 20\n\n# %% a\nx = 1\n", tmp_path)

    def ids(notebook: nbformat.NotebookNode) -> dict[str, str]:
        return {cell.source[0]: cell.id for cell in notebook.cells}

    assert {k: v for k, v in ids(other).items() if k in "xyz"} == ids(first)


def test_ids_are_valid_and_unique(tmp_path: Path) -> None:
    long = "n" * 90
    notebook = make(f"# %% {long}\nx = 1\n\n# %%\ny = 1\n\n# %%\ny = 1\n\n# %%\n\n# %%\n", tmp_path)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", i) for i in ids)


SOLVED = "\ndef f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION\n"
BROKEN = {
    "name twice": ("# %% a\nx = 1\n\n# %% a\ny = 1\n", ":4: two cells are called 'a'"),
    "grade id twice": (f'# %% given="f"\nx = 1\n\n# %% solution="f"{SOLVED}', "two cells are called 'f'"),
    "no markers": (
        '# %% solution="f"\ndef f():\n    return 1\n',
        ":1: solution 'f' has no ### BEGIN SOLUTION",
    ),
    "no points": (f'# %% solution="f"{SOLVED}\n# %% test="f"\nassert f()\n', "test 'f' needs points"),
    "odd points": (
        f'# %% solution="f"{SOLVED}\n# %% test="f" points=0\nassert f()\n',
        "must be a positive number",
    ),
    "points alone": ("# %% a points=2\nx = 1\n", "only a test or an argue cell has points"),
    "no gap": (
        '# %% test="f" points=2\nassert True\n',
        "test 'f' has no solution cell of that name before it",
    ),
    "unknown key": ("# %% a colour=2\nx = 1\n", "unknown key 'colour'"),
    "two kinds": ('# %% given="a" solution="a"\nx = 1\n', "cannot be both 'given' and 'solution'"),
    "bad name": ('# %% given="a b"\nx = 1\n', "is no name"),
    "unpaired": ('# %% solution="f"\n### BEGIN SOLUTION\nx = 1\n', "must come in pairs"),
    "misplaced": (
        "# %% a\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n",
        "outside of a solution or argue cell",
    ),
    "hidden elsewhere": (
        f'# %% solution="f"{SOLVED}### BEGIN HIDDEN TESTS\n### END HIDDEN TESTS\n',
        "### BEGIN HIDDEN TESTS outside of a test cell",
    ),
    "sloppy marker": (
        '# %% solution="f"\n# BEGIN SOLUTION\nx = 1\n# END SOLUTION\n',
        "must stand alone on its line",
    ),
    "code question": ('# %% argue="why" points=2\nx = 1\n', "must be a Markdown cell"),
    "text solution": ('# %% [markdown] solution="f"\n# x\n', "must be a code cell"),
    "raw": ("# %% [raw]\n# x\n", "a raw cell"),
    "syntax": ("# %% a\nx = = 1\n", "line 1 of the cell: invalid syntax"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_source_gives_one_clear_line(case: str, tmp_path: Path) -> None:
    text, message = BROKEN[case]
    with pytest.raises(SourceError) as caught:
        make(text, tmp_path)
    assert message in str(caught.value)
    assert "week01_x.py:" in str(caught.value), "it names the file and the line"
    assert "\n" not in str(caught.value)


def test_the_command_reports_one_line_and_writes_nothing(
    sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = sample / "notebooks" / f"{WEEK}.py"
    source.write_text(source.read_text() + "\n# %% parameters\nx = 1\n")
    assert notebooks.main(["--root", str(sample)]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"error: notebooks/{WEEK}.py:") and said.err.count("\n") == 1
    assert not list(sample.rglob("*.ipynb"))


def test_the_address_must_be_known(sample: Path) -> None:
    notebooks.addresses.cache_clear()
    (sample / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    with pytest.raises(SourceError, match=r"needs \[tool.lgm\] with students-repository"):
        notebooks.write(sample)


def test_writing_again_changes_nothing(sample: Path) -> None:
    assert len(notebooks.write(sample)) == 3
    assert notebooks.write(sample) == []


def test_the_table_of_weeks_is_filled_in(sample: Path) -> None:
    source = sample / "notebooks" / f"{WEEK}.py"
    source.write_text(source.read_text().replace("# # Week 99 · Sample", "# # Week 99 · Two functions"))
    notebooks.write(sample)
    badge = r"\[!\[Open in Colab\]\([^)]*\)\]\(https://colab[^)]*/blob/main/{0}\)"
    notebook, exercise = (source.colab for source in notebooks.find_sources(sample))
    first, second = (
        rf"\[{name}\]\({path}\) {badge.format(path)}"
        for name, path in [("notebook", notebook), ("exercise", exercise)]
    )
    lines = (sample / "README.md").read_text().splitlines()
    assert lines[-2] == "| 98 | Not written yet | in preparation |  |"
    assert re.fullmatch(rf"\| 99 \| Two functions \| {first} \| {second} \|", lines[-1])


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("README.md", "| 99 |", "| 97 |", "README.md has no row of week 99"),
        (f"notebooks/{WEEK}.py", "Week 99 ·", "Week 98 ·", f"{WEEK}.py has no heading `# Week 99 · Topic`"),
    ],
)
def test_a_week_needs_its_row_and_its_heading(
    sample: Path, file: str, old: str, new: str, message: str
) -> None:
    path = sample / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SourceError, match=re.escape(message)):
        notebooks.write(sample)
    assert not list(sample.rglob("*.ipynb"))


def test_drift_names_each_file_and_the_remedy(released: Path, tmp_path: Path) -> None:
    import shutil

    course = tmp_path / "drifted course"
    shutil.copytree(released, course, ignore=shutil.ignore_patterns("grading"))
    before = {p: p.read_bytes() for p in course.rglob("*") if p.is_file()}
    assert list(drift.drift(course)) == []

    source = course / "solutions" / WEEK / f"{WEEK}.py"
    source.write_text(source.read_text().replace("SCALE = 3.0", "SCALE = 3.5"))
    (course / "notebooks" / f"{WEEK}.ipynb").unlink()
    (course / "exercises" / WEEK / "left_over.txt").write_text("?")
    (course / "README.md").write_text((course / "README.md").read_text().replace("Sample", "Another topic"))
    assert list(drift.drift(course)) == [
        "README.md differs from its source: run `make notebooks`",
        f"notebooks/{WEEK}.ipynb is missing: run `make notebooks`",
        f"solutions/{WEEK}/{WEEK}.ipynb differs from its source: run `make notebooks`",
        f"exercises/{WEEK}/exercise_{WEEK}.ipynb differs from its source: run `make release`",
        f"exercises/{WEEK}/left_over.txt has no source: delete it, or add the source and run `make release`",
    ]
    assert drift.main(["--root", str(course)]) == 1
    written = {p: p.read_bytes() for p in course.rglob("*") if p.is_file()}
    assert {p.name for p in before.keys() ^ written.keys()} == {"left_over.txt", f"{WEEK}.ipynb"}, (
        "it only looks"
    )


@pytest.mark.parametrize(
    "guide", sorted((ROOT / "solutions").glob("*/guide.md")), ids=lambda p: p.parent.name
)
def test_class_guides_name_what_exists(guide: Path) -> None:
    """A name in a guide stands in the week's code; one in a column "cells" is that of a cell."""
    stem, text = guide.parent.name, guide.read_text(encoding="utf-8")
    notebook = (ROOT / "notebooks" / f"{stem}.py").read_text(encoding="utf-8")
    known = set(re.findall(r"\w+", notebook + (guide.parent / f"{stem}.py").read_text(encoding="utf-8")))
    named = set(re.findall(r"`([a-z]\w*)`", text))
    assert named and not named - known, f"{guide.name} of {stem} names what stands nowhere: {named - known}"
    tables = re.findall(r"^\|.*\| cells \|\n((?:\|.*\n)+)", text, re.MULTILINE)
    listed = set(
        re.findall(r"`(\w+)`", "".join(row.rsplit("|", 2)[1] for row in "".join(tables).splitlines()))
    )
    cells = set(re.findall(r"^# %% (?:\[markdown\] )?(\w+)", notebook, re.MULTILINE))
    assert listed and not listed - cells, f"{guide.name} of {stem} lists what is no cell: {listed - cells}"
