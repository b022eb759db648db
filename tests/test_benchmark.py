"""The benchmark command: parameters from the notebook's own text, rows from its own scoreboard."""

import json

import nbformat
import papermill
import pytest

from tools import benchmark, notebooks

RECORD = """
from utils import scoreboard
print("size", size)
row = dict(week=3, model=f"m{size}", family="flow", value=-1.0 * size, kind="exact", train_seconds=1.5)
scoreboard.record(scoreboard.Row(**row))
"""
SPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}


def notebook(code=RECORD, block="```python\nsize = 3  # three\nname = 'x'\n```"):
    cells = [
        nbformat.v4.new_code_cell("size = 1", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(code),
        nbformat.v4.new_markdown_cell(f"## Going bigger\n\n{block}", metadata={"title": "bigger"}),
    ]
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": SPEC})


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course with one week, and a function that writes its notebook."""
    monkeypatch.setattr(benchmark, "ROOT", tmp_path)
    monkeypatch.setenv("LGM_SCOREBOARD", str(tmp_path / "mine.json"))
    (tmp_path / "notebooks").mkdir()

    def write(**keywords):
        nbformat.write(notebook(**keywords), tmp_path / "notebooks" / "week03_x.ipynb")
        return tmp_path

    return write


def test_parameters_come_from_the_text():
    assert benchmark.parameters(notebook()) == {"size": 3, "name": "x"}


@pytest.mark.parametrize("path", sorted((notebooks.ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_every_weeks_names_stand_in_its_parameters_cell(path):
    larger = benchmark.parameters(nbformat.read(path, as_version=4))
    known = papermill.inspect_notebook(str(path))  # it reads one `name = literal` a line
    assert larger.keys() <= known.keys(), f"unknown: {', '.join(larger.keys() - known.keys())}"


@pytest.mark.slow
def test_the_last_line_is_the_row(course, capsys):
    folder = course()
    assert benchmark.main(["week03_x"]) == 0
    out = capsys.readouterr().out
    row = json.loads(out.splitlines()[-1])
    assert row["model"] == "m3" and row["value"] == -3 and row["kind"] == "exact" and row["seconds"] == 1.5
    assert "size 3" in out and "MB at the peak" in out
    assert not (folder / "mine.json").exists(), "the user's own rows are left alone"


@pytest.mark.parametrize(
    ("keywords", "arguments", "message"),
    [
        ({}, ["week04_y"], "there are week03_x"),
        ({"block": "none"}, ["week03_x"], "no ```python block"),
        pytest.param({"code": "1 / 0"}, ["week03_x"], "ZeroDivisionError", marks=pytest.mark.slow),
        pytest.param({"code": "1"}, ["week03_x"], "no scoreboard row", marks=pytest.mark.slow),
    ],
)
def test_one_clear_line_where_it_cannot_run(course, capsys, keywords, arguments, message):
    course(**keywords)
    assert benchmark.main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("benchmark:") == 1
