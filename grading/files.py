"""Files written whole or not at all, and CSV that a spreadsheet opens without running anything in it."""

from __future__ import annotations

import csv
import io
import os
import tempfile
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def plain(text: str) -> str:
    """`text` on one line, composed, without control, formatting and surrogate characters."""
    text = unicodedata.normalize("NFC", " ".join(str(text).split()))
    return "".join(
        "?" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else c for c in text
    )


def neutral(text: str) -> str:
    """`text` as a spreadsheet takes it for text: what begins like a formula gets an apostrophe in front.

    A semicolon becomes a comma: where that separates, a formula could begin after it, quotes or not.
    """
    text = plain(text).replace(";", ",")
    return f"'{text}" if text.startswith(FORMULA) else text


def number(value: float) -> str:
    """Points with a decimal point and no needless digits, at most five (as Moodle keeps them)."""
    text = f"{value:.5f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str | float]]) -> str:
    """A CSV table: commas, line feeds; texts are made neutral, numbers keep their sign."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for row in (header, *rows):
        writer.writerow([neutral(cell) if isinstance(cell, str) else number(cell) for cell in row])
    return file.getvalue()


def write_whole(path: Path, content: bytes | str, mode: int = 0o644) -> bool:
    """Write a file so that a reader sees the old or the new content and nothing between; False if it was so.

    The new content is on the disk before it gets its name.
    """
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    with suppress(OSError):
        if not path.is_symlink() and path.read_bytes() == data:
            return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` last, where the system can."""
    with suppress(OSError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
