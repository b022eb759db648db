"""The exercise as the instructor wrote it, with its full tests: from nbgrader's gradebook or from the source.

Both ways give the same `Assignment` if `make release` has been run since the source was changed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import nbformat
from nbformat import NotebookNode

from grading.model import Assignment, Kind, TrustedCell
from grading.names import names
from tools import notebooks
from tools.notebooks import ROOT, SourceError

HIDDEN = re.compile(
    r"^[ \t]*### BEGIN HIDDEN TESTS[\s\S]*?^[ \t]*### END HIDDEN TESTS[^\n]*\n?", re.MULTILINE
)
MARKER = re.compile(r"^[ \t]*### (?:BEGIN|END) SOLUTION[^\n]*\n?", re.MULTILINE)


class AssignmentError(Exception):
    """There is no such exercise, or not all of it; one line that says what to do."""


def assignment_from_source(week: str, root: Path = ROOT) -> Assignment:
    """The exercise from solutions/WEEK/WEEK.py, without the gradebook."""
    source = _source_notebook(week, root)
    defines = _defines(source)
    _clear_solutions(source)
    return Assignment(week, tuple(_trusted(cell, cell.source, defines) for cell in source.cells))


def assignment_from_gradebook(address: str | Path, week: str, root: Path = ROOT) -> Assignment:
    """The exercise from the gradebook, with the full tests; its order is the released notebook's."""
    from grading.gradebook import GradebookError, gradebook  # nbgrader takes a second to import

    name = f"exercises/{week}/{notebooks.exercise_name(week)}"
    try:
        released = nbformat.read(root / name, as_version=4)
    except FileNotFoundError:
        raise AssignmentError(f"{name} does not exist: run `make release`") from None
    except Exception as error:
        raise AssignmentError(f"{name}: {_brief(error)}; run `make release`") from None
    defines = _defines(_source_notebook(week, root))
    try:
        with gradebook(address) as book:
            full = _source_cells(book, week)
    except GradebookError as error:
        raise AssignmentError(str(error)) from None
    if full is None:
        raise AssignmentError(f"the gradebook has no {week}: run `make release`")
    names = {cell.metadata.nbgrader.grade_id for cell in released.cells if "nbgrader" in cell.metadata}
    if odd := sorted(names ^ set(full)):
        where = "in the gradebook" if odd[0] in names else f"in exercises/{week}"
        raise AssignmentError(f"cell {odd[0]!r} of {week} is missing {where}: run `make release`")
    return Assignment(
        week,
        tuple(
            _trusted(cell, full.get(_nbgrader(cell).get("grade_id", ""), cell.source), defines)
            for cell in released.cells
        ),
    )


def unsolved(assignment: Assignment) -> bytes:
    """The notebook that students get, hidden tests taken out."""
    notebook = _empty()
    for cell in assignment.cells:
        make = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        new = make(visible(cell), id=cell.cell_id)
        if re.fullmatch(r"[A-Za-z]\w*", cell.name, re.ASCII) and cell.name != "setup":
            new.metadata["nbgrader"] = _metadata(cell)
        else:
            new.metadata["title"] = cell.name
        notebook.cells.append(new)
    return notebooks.dump(notebook).encode()


def solved(week: str, root: Path = ROOT) -> bytes:
    """The notebook of a student who writes what the reference solution does."""
    notebook = _source_notebook(week, root)
    for cell in notebook.cells:
        cell.source = MARKER.sub("", without_hidden(cell.source)).rstrip("\n")
    return notebooks.dump(notebook).encode()


def visible(cell: TrustedCell) -> str:
    """A trusted cell's source as students see it."""
    return without_hidden(cell.source) if cell.kind == "test" else cell.source


def without_hidden(source: str) -> str:
    """Source without the hidden tests, as nbgrader takes them out."""
    return HIDDEN.sub("", source).rstrip("\n") if "### BEGIN HIDDEN TESTS" in source else source


def _source_notebook(week: str, root: Path) -> NotebookNode:
    found = [s for s in notebooks.find_sources(root) if s.stem == week and s.path.parent.name == week]
    if not found:
        raise AssignmentError(f"solutions/{week}/{week}.py does not exist: is the week's name right?")
    try:
        return notebooks.build(found[0], root)
    except SourceError as error:
        raise AssignmentError(str(error)) from None


def _source_cells(book: Any, week: str) -> dict[str, str] | None:
    """Grade id → full source; None if the gradebook does not know the week."""
    from nbgrader.api import MissingEntry

    try:
        return {cell.name: cell.source for cell in book.find_notebook(week, week).source_cells}
    except MissingEntry:
        return None


def _trusted(cell: NotebookNode, source: str, defines: Mapping[str, Iterable[str]]) -> TrustedCell:
    meta = _nbgrader(cell)
    kind = _kind(cell, meta)
    name = str(meta.get("grade_id") or cell.metadata.get("title") or cell.id)
    gap = {"solution": name, "test": name.removeprefix("test_")}.get(kind, "")
    points = float(meta.get("points") or 0) if kind in ("test", "manual") else 0.0
    names = tuple(sorted(defines.get(name, ()))) if kind == "solution" else ()
    cell_type = "code" if cell.cell_type == "code" else "markdown"
    return TrustedCell(name, kind, source, cast(Any, cell_type), cell.id, points, gap, names)


def _kind(cell: NotebookNode, meta: Mapping[str, Any]) -> Kind:
    if meta.get("solution"):
        return "manual" if meta.get("grade") else "solution"
    if meta.get("grade"):
        return "test"
    return "given" if cell.cell_type == "code" else "text"


def _nbgrader(cell: NotebookNode) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], cell.metadata.get("nbgrader", {}))


def _metadata(cell: TrustedCell) -> NotebookNode:
    """nbgrader's metadata of a trusted cell."""
    grade = cell.kind in ("test", "manual")
    about = {
        "grade": grade,
        "grade_id": cell.name,
        "locked": cell.kind in ("text", "given", "test"),
        "schema_version": 3,
        "solution": cell.kind in ("solution", "manual"),
        "task": False,
    }
    return cast(NotebookNode, nbformat.from_dict(about | ({"points": cell.points} if grade else {})))


def _defines(source: NotebookNode) -> dict[str, set[str]]:
    """Solution cell → the names that the reference solution sets."""
    return {
        meta["grade_id"]: names(cell.source)[0]
        for cell in source.cells
        if (meta := _nbgrader(cell)) and _kind(cell, meta) == "solution"
    }


def _clear_solutions(notebook: NotebookNode) -> None:
    """Put nbgrader's stubs where the solutions are."""
    from nbgrader.preprocessors import ClearSolutions

    preprocessor = ClearSolutions(config=_settings())
    preprocessor.log = logging.getLogger("grading.assignment")
    preprocessor.preprocess(notebook, {})


@cache
def _settings() -> Any:
    from traitlets.config.loader import PyFileConfigLoader

    return PyFileConfigLoader("nbgrader_config.py", path=str(ROOT / "grading")).load_config()


def _empty() -> NotebookNode:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata = nbformat.from_dict(notebooks.METADATA)
    return cast(NotebookNode, notebook)


def _brief(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
