"""What the cells of a submission print and show, as T keeps it: in the notebook format, within limits."""

from __future__ import annotations

import json
from typing import Any

CELL, WHOLE = 8, 24  # times `Limits.output`: the outputs of one cell, and of the whole submission
ITEMS = 2000  # outputs of one cell
CUT = "[further outputs of this notebook were left out: it shows more than {mb:.0f} MB]\n"


class Shown:
    """Takes outputs, those of one cell after another. output: bytes that a cell may print."""

    def __init__(self, output: int) -> None:
        self._cell_limit, self._whole_limit = CELL * output, WHOLE * output
        self._whole = self._cell = 0  # bytes so far
        self._cut = False
        self.outputs: list[dict[str, Any]] = []

    def begin(self) -> None:
        """The next cell's outputs follow."""
        self.outputs, self._cell = [], 0

    def keep(self, outputs: Any) -> None:
        """Take over what S printed, as far as it has the form of outputs and there is room."""
        for output in outputs[:ITEMS] if isinstance(outputs, list) else ():
            if (clean := clean_output(output)) is not None:
                self._add(clean)

    def text(self, said: str) -> None:
        """What T's own code printed."""
        if said:
            self._add({"output_type": "stream", "name": "stdout", "text": printable(said)})

    def error(self, name: str, words: str) -> None:
        """An error output of the grader's own; there is always room for it."""
        self.outputs.append(
            {"output_type": "error", "ename": name, "evalue": words, "traceback": [f"{name}: {words}"]}
        )

    def _add(self, output: dict[str, Any]) -> None:
        size = len(json.dumps(output))  # as the ledger will hold it
        if self._whole + size > self._whole_limit:
            if not self._cut:
                self._cut = True
                words = CUT.format(mb=self._whole_limit / 2**20)
                self.outputs.append({"output_type": "stream", "name": "stderr", "text": words})
        elif self._cell + size <= self._cell_limit and len(self.outputs) < ITEMS:
            self._cell, self._whole = self._cell + size, self._whole + size
            self.outputs.append(output)


def printable(text: str) -> str:
    """A text that every file and database can hold: half characters and zero bytes replaced."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def text_of(value: Any, most: int | None = None) -> str:
    """A text that came from S, its first `most` characters; empty if it is none."""
    return printable(value[:most]) if isinstance(value, str) else ""


def clean_output(output: Any) -> dict[str, Any] | None:
    """An output that has the form of the notebook format, with texts only; None for anything else."""
    if not isinstance(output, dict):
        return None
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return {"output_type": kind, "name": name, "text": text_of(output.get("text"))}
    if kind == "error":
        trace = output.get("traceback")
        lines = [text_of(line) for line in trace[:200]] if isinstance(trace, list) else []
        return {
            "output_type": kind,
            "ename": text_of(output.get("ename")),
            "evalue": text_of(output.get("evalue")),
            "traceback": lines,
        }
    data = output.get("data")
    if kind not in ("display_data", "execute_result") or not isinstance(data, dict):
        return None
    texts = {printable(mime): text_of(value) for mime, value in data.items()}
    clean = {"output_type": kind, "metadata": {}, "data": texts}
    return clean | ({"execution_count": None} if kind == "execute_result" else {})
