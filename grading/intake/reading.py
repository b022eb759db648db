"""Reads a notebook as students hand it in, whatever format, encoding or editor: bytes → loose cells.

Only what grading needs is kept: outputs, attachments and metadata of other tools are left behind.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

MOST_BYTES = 32 * 2**20  # of a file, whatever its encoding
MOST_SOURCE = 4 * 2**20  # characters of all cells together, without outputs
MOST_CELLS = 2000
AGAIN = "Open your notebook in JupyterLab or Colab, save it, and hand in the .ipynb file."


class Unreadable(Exception):
    """Why nothing can be read from a file, in words for the student who handed it in."""


@dataclass(frozen=True)
class Loose:
    """A cell of a student's notebook."""

    index: int  # place in the notebook
    cell_type: Literal["code", "markdown", "raw"]
    source: str
    grade_id: str = ""
    cell_ids: tuple[str, ...] = ()  # the format's, and what editors keep in the metadata
    is_solution: bool = False  # by nbgrader's metadata, as are the next two
    is_locked: bool = False
    checksum: str = ""
    points: float | None = None
    part: int = 0  # of a cell that was taken apart: which piece

    @property
    def place(self) -> tuple[int, int]:
        return self.index, self.part


def read(content: bytes) -> tuple[list[Loose], list[str]]:
    """The cells in order, and what was unusual about the file; Unreadable if there are none to be had."""
    if len(content) > MOST_BYTES:
        size = len(content) / 2**20
        raise Unreadable(
            f"The file has {size:,.0f} MB, more than the {MOST_BYTES // 2**20} MB that can be read. Clear the"
            " outputs (Kernel → Restart Kernel and Clear Outputs of All Cells), save, and hand in again."
        )
    if not content.strip(b"\0 \t\r\n\xef\xbb\xbf\xfe\xff"):
        raise Unreadable(f"The file is empty ({len(content)} bytes). {AGAIN}")
    notes: list[str] = []
    text = _decode(content, notes)
    cells = _cells(_parse(text), notes)
    if len(cells) > MOST_CELLS:
        raise Unreadable(f"The notebook has {len(cells):,} cells; at most {MOST_CELLS:,} can be read.")
    loose = [_loose(index, cell) for index, cell in enumerate(cells) if isinstance(cell, dict)]
    if len(loose) < len(cells):
        notes.append(f"{len(cells) - len(loose)} entries that are no cells were left out.")
    if not any(cell.source.strip() for cell in loose):
        raise Unreadable(f"The notebook has no cells with anything in them. {AGAIN}")
    if sum(len(cell.source) for cell in loose) > MOST_SOURCE:
        raise Unreadable(
            f"The notebook's cells hold more than {MOST_SOURCE // 2**20} million characters, without outputs."
            " Take pictures and data out of the cells (as files, or not at all), and hand in again."
        )
    return loose, notes


def _decode(content: bytes, notes: list[str]) -> str:
    head = content[:4]
    encodings = ["utf-8"]
    if head.startswith(codecs.BOM_UTF8):
        encodings = ["utf-8-sig"]
    elif head in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        encodings = ["utf-32"]
    elif head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encodings = ["utf-16"]
    elif head[1:2] == b"\0":
        encodings = ["utf-16-le"]
    elif head[:1] == b"\0":
        encodings = ["utf-16-be"]
    for encoding in (*encodings, "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeError:
            continue
        if encoding != "utf-8":
            notes.append(f"The file was in the encoding {encoding} instead of UTF-8.")
        return text
    notes.append("Some characters of the file could not be read.")
    return content.decode("utf-8", "replace")


def _parse(text: str) -> dict[str, Any]:
    if text.count("\0") > 2:
        raise Unreadable(f"The file is no notebook (it is binary). {AGAIN}")
    try:
        data = json.loads(text)
    except RecursionError:
        raise Unreadable(f"The file is nested too deeply to be a notebook. {AGAIN}") from None
    except (ValueError, MemoryError):
        raise Unreadable(_what_it_is(text)) from None
    if isinstance(data, dict) and isinstance(data.get("content"), dict):
        data = data["content"] if "cells" not in data and "worksheets" not in data else data
    if not isinstance(data, dict) or not {"cells", "worksheets"} & set(data):
        raise Unreadable(f"The file is JSON, but no notebook: it has no cells. {AGAIN}")
    return data


def _what_it_is(text: str) -> str:
    """Words about a file that is not JSON."""
    start = text.lstrip("\ufeff \t\r\n")[:2000]
    if re.match(r"<(!doctype|html|head|\?xml|!--|\w+[ >])", start, re.IGNORECASE):
        what = (
            "The file is a web page, not a notebook: download the notebook itself (JupyterLab: File →"
            " Download; Colab: File → Download → Download .ipynb)."
        )
        return f"{what} Hand in the .ipynb file."
    for magic, what in (("PK\x03\x04", "a zip archive"), ("%PDF", "a PDF"), ("Rar!", "an archive")):
        if start.startswith(magic):
            return f"The file is {what}, not a notebook. {AGAIN}"
    if re.search(r"^(<{7}|={7}|>{7})( |$)", text, re.MULTILINE):
        return (
            "The file has marks of a git merge (<<<<<<<, >>>>>>>) in it: resolve the conflict so that the"
            " notebook opens in JupyterLab again, and hand in that file."
        )
    if not start.startswith("{"):
        if re.search(r"^(import|from|def|class|# ?%%|print\() ?", start, re.MULTILINE):
            return f"The file is a Python script, not a notebook. {AGAIN}"
        return f"The file is no notebook. {AGAIN}"
    return f"The file is damaged or cut short: it is not a complete notebook. {AGAIN}"


def _cells(data: dict[str, Any], notes: list[str]) -> list[Any]:
    cells = data.get("cells")
    if "cells" not in data:
        sheets = data["worksheets"]
        if isinstance(sheets, list):
            parts = [s["cells"] for s in sheets if isinstance(s, dict) and isinstance(s.get("cells"), list)]
            cells = [cell for part in parts for cell in part]
            notes.append("The notebook was in an old format (3).")
    if not isinstance(cells, list):
        raise Unreadable(f"The file is damaged: the notebook's cells are missing. {AGAIN}")
    return cells


def _loose(index: int, cell: dict[str, Any]) -> Loose:
    kind = cell.get("cell_type")
    source = cell.get("source", cell.get("input"))
    text = _text(source)
    cell_type: Literal["code", "markdown", "raw"] = "raw"
    if kind == "code" or (kind not in ("markdown", "raw", "heading", "html") and "outputs" in cell):
        cell_type = "code"
    elif kind in ("markdown", "heading", "html"):
        cell_type = "markdown"
        level = cell.get("level")
        if kind == "heading":
            text = f"{'#' * (level if isinstance(level, int) and 0 < level < 7 else 1)} {text}"
    meta = cell.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    grader = meta.get("nbgrader")
    grader = grader if isinstance(grader, dict) else {}
    ids = [cell.get("id"), meta.get("id"), meta.get("cell_id")]
    points = grader.get("points")
    return Loose(
        index,
        cell_type,
        text,
        _word(grader.get("grade_id")),
        tuple(dict.fromkeys(_word(i) for i in ids if _word(i))),
        grader.get("solution") is True,
        grader.get("locked") is True,
        _word(grader.get("checksum")),
        float(points) if isinstance(points, int | float) and abs(points) < 1e6 else None,
    )


def _word(value: Any) -> str:
    return value[:200] if isinstance(value, str) else ""


def _text(source: Any) -> str:
    """A cell's source: text, or a list of lines."""
    if isinstance(source, list):
        lines = [line for line in source if isinstance(line, str)]
        loose_ends = len(lines) > 1 and not any(line.endswith(("\n", "\r")) for line in lines[:-1])
        source = ("\n" if loose_ends else "").join(lines)
    return clean_text(source) if isinstance(source, str) else ""


def clean_text(text: str) -> str:
    """Line ends as \\n; characters that no file can hold are replaced."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def shown(names: Iterable[str]) -> str:
    """A list of names for a sentence."""
    return ", ".join(repr(name) for name in names)
