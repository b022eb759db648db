"""For plain `nbgrader autograde`: a cell that a student has copied does not stop the whole class's run."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import DeduplicateIds


class DropCopies(DeduplicateIds):
    """Of several cells of one name the last one counts. Nbgrader's own leaves the others a mark without a
    content, at which it stops later on, with all who come after this student; here they lose it.
    """

    def preprocess_cell(self, cell: NotebookNode, resources: dict, cell_index: int) -> tuple[Any, dict]:
        cell, resources = super().preprocess_cell(cell, resources, cell_index)
        if cell.metadata.get("nbgrader") == {}:
            del cell.metadata["nbgrader"]
        return cell, resources
