"""Run a week's notebook with its "Going bigger" parameters: `make benchmark WEEK=week03_rbm`.

The parameters are those of the fenced block in the notebook's Markdown cell called `bigger`, so what the text
names is what is measured. Prints what the notebook printed, the seconds of the whole run, the kernel's peak
memory, and as its last lines the scoreboard rows as JSON, one a line. What was measured goes into that cell's
table, in the notebook's source: into the row that begins with the model's name on the scoreboard, columns
`measured` and, where there are such, `kernel distance` and `training`.

`--small` keeps the notebook's own parameters and its text; `--reference` also writes the rows to
utils/reference, where the scoreboard of everybody finds them.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import nbformat

from tools import notebooks
from utils import paths, scoreboard

ROOT = Path(__file__).resolve().parent.parent
CELL = "bigger"
UNITS = {"nats per image": "nats", "bits per dimension": "bits per dimension", "nats per character": "nats"}


class BenchmarkError(RuntimeError):
    """The benchmark cannot run; the message is one line that says what to do."""


def parameters(notebook: nbformat.NotebookNode) -> dict[str, object]:
    """The assignments of the fenced block in the cell called `bigger`: `name = literal`, one a line."""
    for cell in notebook.cells:
        if cell.metadata.get("title") == CELL:
            block = re.search(r"```python\n(.*?)```", cell.source, re.DOTALL)
            if block is None:
                raise BenchmarkError(f"the cell {CELL!r} has no ```python block with parameters")
            return {
                target.id: ast.literal_eval(statement.value)
                for statement in ast.parse(block[1]).body
                if isinstance(statement, ast.Assign)
                for target in statement.targets
                if isinstance(target, ast.Name)
            }
    raise BenchmarkError(
        f"the notebook has no Markdown cell called {CELL!r} with the parameters in a fenced block"
    )


def fill_in(source: str, rows: Iterable[scoreboard.Row]) -> tuple[str, list[str]]:
    """The notebook's source with what was measured in its table, and the models that have no row there.

    Raises BenchmarkError if the cell called `bigger` has no such table.
    """
    lines = source.split("\n")
    start = next(
        (i for i, line in enumerate(lines) if line.startswith(f"# %% [markdown] {CELL}")), len(lines)
    )
    columns: list[str] = []
    places: dict[str, tuple[int, list[str]]] = {}
    for i in range(start + 1, len(lines)):
        if lines[i].startswith("# %%"):
            break
        cells = [text.strip() for text in lines[i].removeprefix("# |").removesuffix("|").split("|")]
        if "measured" in cells:
            columns = cells
        elif columns and len(cells) == len(columns):
            places[cells[0]] = (i, cells)
    if not columns:
        raise BenchmarkError(
            f"the cell {CELL!r} has no table with the columns `model` and `measured`: add one"
        )
    missing = []
    for row in rows:
        if row.model not in places:
            missing.append(row.model)
            continue
        i, cells = places[row.model]
        cells[columns.index("measured")] = (
            f"{row.shown()} {UNITS[row.unit]}" if row.value is not None else "none"
        )
        if "kernel distance" in columns and row.kernel_distance is not None:
            cells[columns.index("kernel distance")] = str(row.kernel_distance)
        if "training" in columns and row.train_seconds:
            cells[columns.index("training")] = f"{row.train_seconds:.0f} s"
        lines[i] = f"# | {' | '.join(cells)} |"
    return "\n".join(lines), missing


def printed(notebook: nbformat.NotebookNode) -> str:
    """What the cells printed to their standard output."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.get("name") == "stdout")


def peak_megabytes() -> float:
    """The largest resident size of a finished child process: the kernel."""
    size = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return size / 1e6 if sys.platform == "darwin" else size / 1e3  # bytes on macOS, else kB


def run(path: Path, values: dict[str, object]) -> tuple[nbformat.NotebookNode, list[scoreboard.Row], float]:
    """Execute a notebook with these parameters → it, the rows it recorded, and its wall seconds."""
    import papermill

    with tempfile.TemporaryDirectory() as folder:
        board = Path(folder) / "scoreboard.json"
        os.environ["LGM_SCOREBOARD"] = str(board)
        began = time.monotonic()
        try:
            executed = papermill.execute_notebook(
                str(path),
                str(Path(folder) / "executed.ipynb"),
                parameters=values,
                cwd=folder,
                kernel_name="python3",
                progress_bar=sys.stderr.isatty(),
            )
        except papermill.PapermillExecutionError as error:
            raise BenchmarkError(
                f"cell {error.cell_index} of {path.name}: {error.ename}: {error.evalue}"
            ) from None
        seconds = time.monotonic() - began
        if not board.exists():
            raise BenchmarkError(f"{path.name} recorded no scoreboard row")
        return executed, scoreboard.read(board), seconds


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.benchmark", description=__doc__.split("\n")[0])
    parser.add_argument("week", help="stem of the notebook, for example week03_rbm")
    parser.add_argument("--small", action="store_true", help="the notebook's own parameters")
    parser.add_argument("--reference", action="store_true", help="write the rows to utils/reference")
    options = parser.parse_args(arguments)
    path = ROOT / "notebooks" / f"{options.week}.ipynb"
    try:
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in path.parent.glob("*.ipynb")))
            raise BenchmarkError(f"there is no {path.relative_to(ROOT)}; there are {known}")
        values = {} if options.small else parameters(nbformat.read(path, as_version=4))
        source = path.with_suffix(".py")
        if values:
            fill_in(source.read_text(encoding="utf-8"), [])  # before minutes are spent, not after
        print(f"{options.week}: {values or 'its own parameters'}", flush=True)
        executed, rows, seconds = run(path, values)
    except BenchmarkError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    print(printed(executed), end="")
    print(f"{seconds:.0f} s for the whole notebook, {peak_megabytes():,.0f} MB at the peak")
    if options.reference:
        target = paths.PACKAGE / "reference" / f"{options.week}.json"
        kept = {row.key: row for row in (scoreboard.read(target) if target.exists() else [])}
        kept |= {row.key: row for row in rows}
        scoreboard.write(target, kept.values())
        print(f"wrote {target.relative_to(ROOT)}")
    for row in rows:
        shown = scoreboard.to_json(row)
        shown.pop("per_image", None)
        shown["seconds"] = shown.get("train_seconds")
        print(json.dumps(shown, ensure_ascii=False))
    if values:
        larger = [row for row in rows if row.data == values.get("dataset", row.data)]
        text, missing = fill_in(source.read_text(encoding="utf-8"), larger)
        source.write_text(text, encoding="utf-8", newline="\n")
        notebooks.write(ROOT)
        for model in missing:
            print(
                f"benchmark: the table of the cell {CELL!r} has no row of {model!r}: add it", file=sys.stderr
            )
        return int(bool(missing))
    return 0


if __name__ == "__main__":
    sys.exit(main())
