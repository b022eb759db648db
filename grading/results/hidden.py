"""Keeps hidden tests, and tracebacks through them, out of notebooks that plain nbgrader has graded."""

from __future__ import annotations

from typing import Any

from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from nbformat.v4 import new_output

from grading.model import BEGIN, END, split_hidden

LEFT_OUT = "(an output that shows a hidden test was left out)\n"


class HideHiddenTests(Preprocessor):
    """Replaces hidden tests by a note. Of a traceback in such a cell only the message stays, whatever it is:
    leaving out just the lines that repeat hidden ones would tell whether a guess was right. An output
    with the marks of a hidden part, as `print(In)` makes it, goes as a whole.
    """

    enabled = True

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        for cell in nb.cells:
            for index, output in enumerate(cell.get("outputs", [])):
                if output.output_type != "error" and (BEGIN in str(output) or END in str(output)):
                    cell.outputs[index] = new_output("stream", text=LEFT_OUT)
            if not cell.metadata.get("nbgrader", {}).get("grade"):
                continue
            cell.source, hidden = split_hidden(cell.source)
            for output in cell.get("outputs", []) if hidden else []:
                if output.output_type == "error":
                    output.traceback = output.traceback[-1:]
        return nb, resources
