"""nbgrader's Validate, and which cell is copied, missing or of another kind: `python -m tools.validate FILE`.

In JupyterLab, started by `make lab`, this is what the Validate button asks (tools/jupyter says so). Where
nbgrader answers with a traceback or with praise, a notebook whose cells are not those of the exercise gets
sentences that name the cells and say what to do.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.nbgraderformat import MetadataValidator
from nbgrader.server_extensions.validate_assignment import handlers

KEYS = {"code": "Y", "markdown": "M", "raw": "R"}  # that JupyterLab changes a cell's kind by
FRESH = "Take it from a fresh copy of the notebook."
SLOW = (
    "A cell took too long on this machine, which may be busy: close other programs and notebooks, and\n"
    "validate again. If it happens again, your answer may have an endless loop."
)
LAST = "Then validate again. (Even as it is now, the notebook would be graded.)"


def complaints(notebook: NotebookNode) -> Iterator[str]:
    """Two lines for each cell of the exercise that is there twice, is missing or has changed its kind."""
    places: dict[str, list[int]] = defaultdict(list)
    known: dict[str, NotebookNode] = {}
    for number, cell in enumerate(notebook.cells, 1):
        marks = cell.metadata.get("nbgrader")
        if marks is None:
            continue
        kind = marks.get("cell_type", cell.cell_type)
        if kind != cell.cell_type:
            yield (
                f"{_name(cell)} (cell {number} from the top) has become a {_kind(cell.cell_type)} cell.\n"
                f"Click it, press Esc and then {KEYS[kind]}, which makes it a {_kind(kind)} cell again."
            )
        elif not _sound(cell):
            yield f"What marks cell {number} from the top as part of the exercise is damaged.\n{FRESH}"
            continue
        places[marks["grade_id"]].append(number)
        known[marks["grade_id"]] = cell
    for name, numbers in places.items():
        if numbers[1:]:
            cell = known[name]
            rest = "Keep the one with your answer" if cell.metadata.nbgrader.solution else "Keep the first"
            yield (
                f"{_name(cell)} is there {len(numbers)} times: cells {' and '.join(map(str, numbers))} from "
                f"the top.\n{rest} and delete what is too much."
            )
        if f"test_{name}" not in known and _gap(known[name]):
            yield f"The test of {name} is missing.\n{FRESH}"
        if name.startswith("test_") and (gap := name.removeprefix("test_")) not in known:
            yield f"The cell for your answer {gap} is missing.\n{FRESH}"
    if not known:
        yield (
            "No cell of this notebook belongs to an exercise: it is a preparation, or an editor has dropped\n"
            "what marks the cells. Then put your answers into a fresh copy of the exercise."
        )


def _sound(cell: NotebookNode) -> bool:
    """Whether nbgrader can read what marks the cell."""
    with suppress(Exception):  # jsonschema's and its own, of several kinds
        MetadataValidator().validate_cell(cell)
        return bool(cell.metadata.nbgrader.grade_id)
    return False


def _gap(cell: NotebookNode) -> bool:
    return cell.metadata.nbgrader.solution and not cell.metadata.nbgrader.grade


def _kind(cell_type: str) -> str:
    return cell_type.replace("markdown", "Markdown")


def _name(cell: NotebookNode) -> str:
    """What a student may call the cell, at the beginning of a sentence."""
    marks = cell.metadata.nbgrader
    if marks.get("grade") and not marks.get("solution"):
        return f"The test of {marks.grade_id.removeprefix('test_')}"
    if marks.get("solution") and not marks.get("grade"):
        return f"Your answer {marks.grade_id}"
    return f"The cell “{cell.source.strip().splitlines()[0]:.40}”" if cell.source.strip() else "An empty cell"


def complaint(path: Path) -> str:
    """All complaints about the notebook in a file, "" if there are none. Raises what nbformat raises."""
    found = list(complaints(nbformat.read(path, as_version=4)))
    return "\n\n".join([*found, LAST]) if found else ""


class Handler(handlers.ValidateAssignmentHandler):
    """The answer to the Validate button."""

    def validate_notebook(self, path: str) -> dict[str, Any]:
        answer = super().validate_notebook(path)  # refuses paths outside of the course first
        return plain(answer, Path(self.root_dir, path))


def plain(answer: dict[str, Any], path: Path) -> dict[str, Any]:
    """Nbgrader's answer about a notebook, or ours where we know better."""
    found = ""
    with suppress(Exception):  # not to be read at all: nbgrader has said so
        found = complaint(path)
    if not (answer["success"] or found) and "CellTimeoutError" in answer["value"]:
        found = SLOW
    return {"success": False, "value": found} if found else answer


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "tools.validate"}]


def _load_jupyter_server_extension(app: Any) -> None:
    """As nbgrader's own extension, which this one stands for, with another handler."""
    ours = {handlers.ValidateAssignmentHandler: Handler}
    app.web_app.settings["root_dir"] = app.root_dir
    base = app.web_app.settings["base_url"].rstrip("/")
    routes = [(base + place, ours.get(handler, handler)) for place, handler in handlers.default_handlers]
    app.web_app.add_handlers(".*$", routes)


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 1 if nbgrader could not validate."""
    parser = argparse.ArgumentParser(prog="python -m tools.validate", description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    path = parser.parse_args(arguments).notebook
    try:
        found = complaint(path)
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no notebook"
        found = f"{path} cannot be read: {reason}"
    if found:
        print(found, file=sys.stderr)
        return 1
    return subprocess.run([sys.executable, "-m", "nbgrader", "validate", str(path)]).returncode


if __name__ == "__main__":
    sys.exit(main())
