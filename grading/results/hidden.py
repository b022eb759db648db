"""Keeps hidden tests, and tracebacks through them, out of notebooks that plain nbgrader has graded."""

from __future__ import annotations

from typing import Any

from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode

from grading.model import split_hidden


class HideHiddenTests(Preprocessor):
    """Replaces hidden tests by a note. Of a traceback in such a cell only the message stays, whatever it is:
    leaving out just the lines that repeat hidden ones would tell whether a guess was right.
    """

    enabled = True

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        for cell in nb.cells:
            if not cell.metadata.get("nbgrader", {}).get("grade"):
                continue
            cell.source, hidden = split_hidden(cell.source)
            for output in cell.get("outputs", []) if hidden else []:
                if output.output_type == "error":
                    output.traceback = output.traceback[-1:]
        return nb, resources
