"""The benchmark command: parameters from the notebook's own text, rows from its own scoreboard."""

import json

import nbformat
import papermill
import pytest

from tools import benchmark, load, notebooks
from utils import scoreboard
from utils.evaluation import Estimate

SOURCE = """# %% [markdown]
# # Week 3 · Sizes

# %% parameters tags=["parameters"]
size = 1

# %% board
from utils import scoreboard

print("size", size)
row = dict(week=3, model=f"m{size}", family="flow", value=-1.0 * size, kind="exact", train_seconds=1.5)
scoreboard.record(scoreboard.Row(**row))

# %% [markdown] bigger
# ## Going bigger
#
# ```python
# size = 3  # three
# name = "x"
# ```
#
# | model | measured | training | published |
# |---|---|---|---|
# | m3 | | | −2.5 |
# | m1 | −9 nats | 7 s | |

# %% [markdown]
# | model | measured |
# |---|---|
# | m3 | another table |
"""


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course with one week, and a function that writes its notebook with parts replaced."""
    monkeypatch.setattr(benchmark, "ROOT", tmp_path)
    monkeypatch.setenv("LGM_SCOREBOARD", str(tmp_path / "mine.json"))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "README.md").write_text("| 3 | Sizes | | |\n")
    (tmp_path / "pyproject.toml").write_text((notebooks.ROOT / "pyproject.toml").read_text())

    def write(old="", new=""):
        assert old in SOURCE
        (tmp_path / "notebooks" / "week03_x.py").write_text(SOURCE.replace(old, new) if old else SOURCE)
        notebooks.write(tmp_path)
        return tmp_path

    return write


def row(**changes):
    values = {
        "week": 3,
        "model": "m3",
        "family": "flow",
        "value": -3.0,
        "kind": "exact",
        "train_seconds": 99.6,
    }
    return scoreboard.Row(**values | changes)


def test_parameters_come_from_the_text(course):
    notebook = nbformat.read(course() / "notebooks" / "week03_x.ipynb", as_version=4)
    assert benchmark.parameters(notebook) == {"size": 3, "name": "x"}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "# | m3 | −3.00 nats | 100 s | −2.5 |"),
        ({"kind": "lower bound", "train_seconds": None}, "# | m3 | ≥ −3.00 nats |  | −2.5 |"),
        (
            {"kind": "estimate", "error": 0.25, "unit": "bits per dimension"},
            "# | m3 | −3.00 ± 0.25 bits per dimension | 100 s | −2.5 |",
        ),
        ({"kind": "none", "value": None}, "# | m3 | none | 100 s | −2.5 |"),
    ],
)
def test_what_was_measured_goes_into_the_table(changes, line):
    text, missing = benchmark.fill_in(SOURCE, [row(**changes)])
    before, after = SOURCE.split("\n"), text.split("\n")
    assert [new for old, new in zip(before, after, strict=True) if old != new] == [line] and missing == []
    assert benchmark.fill_in(text, [row(**changes)]) == (text, []), "again, the same"


def test_the_kernel_distance_goes_into_a_column_of_its_name():
    source = SOURCE.replace("training", "kernel distance")
    near = row(kernel_distance=Estimate(0.0123, 0.0021))
    assert "# | m3 | −3.00 nats | 0.0123 ± 0.0021 | −2.5 |" in benchmark.fill_in(source, [near])[0]
    assert "# | m3 | −3.00 nats |  | −2.5 |" in benchmark.fill_in(source, [row()])[0]


def test_a_model_without_a_row_is_named_and_the_others_are_filled_in():
    text, missing = benchmark.fill_in(SOURCE, [row(model="m4"), row()])
    assert missing == ["m4"] and "−3.00 nats" in text


@pytest.mark.parametrize("source", load.preparations(), ids=lambda source: source.stem)
def test_every_week_has_a_table_for_what_is_measured(source):
    text = source.path.read_text(encoding="utf-8")
    assert benchmark.fill_in(text, []) == (text, [])


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
    for kind in ("py", "ipynb"):
        assert "| m3 | −3.00 nats | 2 s | −2.5 |" in (folder / "notebooks" / f"week03_x.{kind}").read_text()


@pytest.mark.slow
def test_the_small_run_leaves_the_text_alone(course):
    folder = course()
    assert benchmark.main(["week03_x", "--small"]) == 0
    assert (folder / "notebooks" / "week03_x.py").read_text() == SOURCE


@pytest.mark.parametrize(
    ("replaced", "arguments", "message"),
    [
        ((), ["week04_y"], "there are week03_x"),
        (("```python", "```text"), ["week03_x"], "no ```python block"),
        (
            ("| model | measured | training", "| model | value | training"),
            ["week03_x"],
            "no table with the columns",
        ),
        pytest.param(("print(", "1 / 0  # "), ["week03_x"], "ZeroDivisionError", marks=pytest.mark.slow),
        pytest.param(
            ("scoreboard.record", "print"), ["week03_x"], "no scoreboard row", marks=pytest.mark.slow
        ),
        pytest.param(("# | m3 | |", "# | m5 | |"), ["week03_x"], "no row of 'm3'", marks=pytest.mark.slow),
    ],
)
def test_one_clear_line_where_it_cannot_run(course, capsys, replaced, arguments, message):
    course(*replaced)
    assert benchmark.main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("benchmark:") == 1
