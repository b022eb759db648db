"""Copies an exercise (cells, points, full tests) from one gradebook to another, such as from the file that
`make release` writes to a PostgreSQL server. Nobody's marks are copied or changed.
"""

from __future__ import annotations

from pathlib import Path

from nbgrader.api import BaseCell, Gradebook, MissingEntry, Notebook, SourceCell

from grading.gradebook import GradebookError, gradebook


def copy_exercise(source: str | Path, target: str | Path, week: str) -> bool:
    """Bring `target`'s version of an exercise up to that of `source`; False if there was nothing to do.

    GradebookError if a cell would go for which there are marks.
    """
    with gradebook(source) as old:
        try:
            notebook = old.find_notebook(week, week)
            due = old.find_assignment(week).duedate
        except MissingEntry:
            raise GradebookError(f"the gradebook {source} has no {week}: run `make release` first") from None
        wanted = _cells(notebook)
        kernelspec = notebook.kernelspec
    with gradebook(target) as new:
        try:
            if _cells(new.find_notebook(week, week)) == wanted:
                return False
        except MissingEntry:
            new.update_or_create_assignment(week, **({"duedate": due} if due else {}))
            new.update_or_create_notebook(week, week, kernelspec=kernelspec)
        _drop(new, week, set(wanted))
        add = {
            "SourceCell": new.update_or_create_source_cell,
            "GradeCell": new.update_or_create_grade_cell,
            "SolutionCell": new.update_or_create_solution_cell,
            "TaskCell": new.update_or_create_task_cell,
        }
        for (kind, name), values in wanted.items():
            add[kind](name, week, week, **values)
    return True


def _cells(notebook: Notebook) -> dict[tuple[str, str], dict[str, object]]:
    """(kind, name) → what the gradebook keeps of the cell."""
    cells: dict[tuple[str, str], dict[str, object]] = {}
    for cell in notebook.source_cells:
        keys = ("cell_type", "locked", "source", "checksum")
        cells["SourceCell", cell.name] = {key: getattr(cell, key) for key in keys}
    for cell in (*notebook.grade_cells, *notebook.task_cells):
        values = {"max_score": cell.max_score, "cell_type": cell.cell_type}
        cells[type(cell).__name__, cell.name] = values
    for cell in notebook.solution_cells:
        cells["SolutionCell", cell.name] = {}
    return cells


def _drop(book: Gradebook, week: str, wanted: set[tuple[str, str]]) -> None:
    """Remove cells that the exercise no longer has."""
    notebook = book.find_notebook(week, week)
    stored: list[BaseCell | SourceCell] = [*notebook.source_cells, *notebook._base_cells]
    gone = [cell for cell in stored if (type(cell).__name__, cell.name) not in wanted]
    for cell in gone:
        if isinstance(cell, BaseCell) and (cell.grades or cell.comments):
            raise GradebookError(
                f"the gradebook has marks for the cell {cell.name!r}, which {week} no longer has: give the "
                "new version another name, or start with an empty gradebook"
            )
    for cell in gone:
        book.db.delete(cell)
    book.db.commit()
