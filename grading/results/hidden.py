"""Keeps hidden tests out of graded notebooks and feedback: their code, and their lines in tracebacks."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Any

from nbconvert.filters import strip_ansi
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode

from grading.model import BEGIN, END, split_hidden

REMOVED = "(line of a hidden test)"


def telling(lines: Iterable[str]) -> set[str]:
    """The lines worth hiding wherever they appear: not blank, no lone bracket; escaped for HTML as well."""
    words = {line.strip() for line in lines}
    words = {word for word in words if len(word) >= 8 and re.search(r"\w{3}", word)}
    return words | {html.escape(word) for word in words} | {html.escape(word, quote=False) for word in words}


def scrub(text: str, secrets: set[str]) -> str:
    """`text` with each line that repeats a hidden one replaced; colours go only where something is."""
    plain = strip_ansi(text)
    if not any(word in plain for word in (*secrets, BEGIN, END)):
        return text
    lines = plain.split("\n")
    return "\n".join(REMOVED if any(w in line for w in (*secrets, BEGIN, END)) else line for line in lines)


class HideHiddenTests(Preprocessor):
    """Replaces hidden tests by a note and takes their lines out of all outputs. The message of a failed test
    stays, and so do the frames of the student's own functions.
    """

    enabled = True

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        lines: list[str] = []
        for cell in nb.cells:
            if cell.metadata.get("nbgrader", {}).get("grade"):
                cell.source, hidden = split_hidden(cell.source)
                lines += hidden
        secrets = telling(lines)
        for cell in nb.cells if lines else []:
            for output in cell.get("outputs", []):
                _scrub_output(output, secrets)
        return nb, resources


def _scrub_output(output: NotebookNode, secrets: set[str]) -> None:
    if output.output_type == "stream":
        output.text = scrub(output.text, secrets)
    elif output.output_type == "error":
        # The traceback's last entry is the message, which is meant to be read.
        frames, message = output.traceback[:-1], output.traceback[-1:]
        output.traceback = [scrub(frame, secrets) for frame in frames] + message
    else:
        for kind, value in output.get("data", {}).items():
            if isinstance(value, str) and kind.startswith(("text/", "image/svg", "application/javascript")):
                output.data[kind] = scrub(value, secrets)
