"""Budgets: what a hostile upload may cost in time and memory, and that its honest part keeps its marks."""

from __future__ import annotations

import io
import json
import os
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grading.assignment import assignment_from_source, solved
from grading.intake import apart as apart_module
from grading.intake.apart import Budget, Exhausted, apart
from grading.intake.archive import Caps
from grading.intake.reading import MOST_BYTES, MOST_SOURCE
from grading.intake.repair import mend, repair, repair_apart
from grading.intake.snippets import is_stub, same_code, statements
from grading.model import Assignment
from tests.conftest import SAMPLE
from tests.conftest import WEEK as SAMPLE_WEEK
from tests.grading.intake.test_collect import (
    WEEK,
    Collect,
    Taken,
    make_zip,
    name,
    notebook,
    notes,
    run,
    taken,
)

__all__ = ["run", "taken"]  # fixtures
MB = 2**20
linux = pytest.mark.skipif(
    apart_module.resource is None or not Path("/proc/self/statm").exists(), reason="Linux"
)


def peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# The process


def test_what_it_returns_and_what_it_raises() -> None:
    assert apart(eval, "2 * 4") == 8
    with pytest.raises(RuntimeError, match="KeyError: 'ours'"):
        apart(exec, "raise KeyError('ours')")
    with pytest.raises(Exhausted, match="ends the program"):
        apart(exec, "import os; os._exit(7)")


@linux
def test_time_and_memory_are_counted_by_the_kernel() -> None:
    with pytest.raises(Exhausted, match="more than 1 s of computing"):
        apart(exec, "while True: pass", budget=Budget(seconds=1))
    with pytest.raises(Exhausted, match="more than 1024 MB of memory"):
        apart(eval, "len(bytearray(3 * 2**30))")
    assert apart(eval, "2 * 5") == 10, "the next is none the worse"


# Notebooks


@pytest.fixture(scope="module")
def small() -> Assignment:
    return assignment_from_source(SAMPLE_WEEK, SAMPLE)


@pytest.fixture(scope="module")
def sound() -> bytes:
    return solved(SAMPLE_WEEK, SAMPLE)


def with_cells(content: bytes, *sources: str) -> bytes:
    data = json.loads(content)
    data["cells"] += [
        {"cell_type": "code", "metadata": {}, "source": s, "outputs": [], "execution_count": None}
        for s in sources
    ]
    return json.dumps(data).encode()


def answers(repaired: Any) -> dict[str, str]:
    return {cell.name: cell.source for cell in repaired.variants[0] if cell.kind == "solution"}


@pytest.mark.parametrize(
    "huge",
    ["0x" + "f" * 4000, "0b" + "1" * 60_000, "9" * 5000, "1e999999", "-0x" + "f" * 50_000, "1" + "_1" * 9000],
    ids=range(6),
)
def test_numbers_of_thousands_of_digits(small: Assignment, sound: bytes, huge: str) -> None:
    """A literal that Python cannot print costs nothing: the answers are where they were."""
    source = f"x = {huge}\nraise NotImplementedError({huge})"
    statements(source), is_stub(source, "y = 2"), same_code(source, f"# other\n{source} ")
    content = with_cells(sound, source, f"def total(x):\n    raise NotImplementedError({huge})")
    repaired = mend(content, small)
    assert answers(repaired) == answers(mend(sound, small)) and not repaired.problem

    def change(cell: dict[str, Any]) -> None:
        if "SCALE = " in "".join(cell["source"]):  # a given cell with such a number in it
            cell["source"] = ["SCALE = 4.0\n", f"SEED = {huge}"]

    data = json.loads(sound)
    for cell in data["cells"]:
        change(cell)
    assert not repair(json.dumps(data).encode(), small).problem


def test_cells_that_take_long_to_parse(
    small: Assignment, sound: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every gap defined in each of many cells of large literals: a sentence for the student, soon."""
    table = "[" + "1,0," * 40_000 + "]"
    slow = with_cells(sound, *(f"scale = total = why = {table}\n# {i}" for i in range(12)))
    monkeypatch.setattr(apart_module, "READING", Budget(seconds=2))
    start = time.process_time()
    repaired = repair_apart(slow, small)
    assert time.process_time() - start < 1, "none of it in this process"
    assert "more than 2 s of computing" in repaired.problem or not repaired.problem
    assert repair_apart(sound, small) == repair(sound, small)


@linux
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_a_large_file_in_any_encoding(small: Assignment, sound: bytes, encoding: str) -> None:
    """Outputs of megabytes are read; 45 MB are refused before they are decoded, in each encoding."""
    data = json.loads(sound.decode().encode("cp1252", "replace").decode("cp1252"))
    plain = answers(mend(json.dumps(data).encode(), small))
    data["metadata"]["filler"] = "ü" * (2 * MB)
    content = json.dumps(data, ensure_ascii=False).encode(encoding)
    assert answers(repair_apart(content, small)) == plain
    before = peak()
    content += " ".encode(encoding)[-1:] * (45 * MB - len(content))
    assert f"more than the {MOST_BYTES // MB} MB" in repair_apart(content, small).problem
    assert peak() - before < 300_000, "kilobytes in this process"


@linux
def test_a_file_that_unfolds_in_memory(small: Assignment, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b'{"cells": [' + b"[{}]," * MB + b"0]}"
    assert "cells; at most" in repair_apart(content, small).problem
    monkeypatch.setattr(apart_module, "READING", Budget(memory=100 * MB))
    assert "cut short" in repair_apart(content, small).problem


def test_the_text_of_all_cells_is_limited(small: Assignment, sound: bytes) -> None:
    content = with_cells(sound, *("x" * 100_000 for _ in range(MOST_SOURCE // 100_000 + 1)))
    assert "million characters" in repair(content, small).problem


# Archives


def lying_bzip2(size: int = 3 * 2**30, claims: int = 100) -> bytes:
    """A small zip whose member is bzip2, says that it is small, and becomes `size` bytes at one read."""
    import bz2

    compressor = bz2.BZ2Compressor()
    packed = b"".join([*(compressor.compress(bytes(MB)) for _ in range(size // MB)), compressor.flush()])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{WEEK}.ipynb", packed)
    data = bytearray(buffer.getvalue())
    for mark, method, length in ((b"PK\3\4", 8, 22), (b"PK\1\2", 10, 24)):
        place = bytes(data).index(mark)
        data[place + method : place + method + 2] = struct.pack("<H", zipfile.ZIP_BZIP2)
        data[place + length : place + length + 4] = struct.pack("<L", claims)
    return bytes(data)


@linux
def test_a_member_that_lies_about_its_size(run: Collect, taken: Taken) -> None:
    data = lying_bzip2(128 * MB)
    assert len(data) < 4000
    before = peak()
    report = run(
        [
            (name("Eve", 6, "work.zip"), data),
            (name("Eve", 6), notebook("return 6")),
            (name("A", 7), notebook()),
        ]
    )
    assert peak() - before < 60_000, "kilobytes in this process"
    assert taken("7") == notebook() and taken("6") == notebook("return 6"), "her notebook counts"
    assert "a compression that is not known here" in notes(report, "6")
    outer = run([(name("Eve", 8, "x.ipynb"), b"x"), (name("A", 7), notebook())])
    assert taken("7") == notebook() and outer.changes["7"] == "unchanged"


def nested(levels: int, entries: int, path: str) -> bytes:
    """Zips within zips, each with many members that lead out of the folder."""
    content = b""
    for level in range(levels):
        files = [(f"{path}{i}", b"") for i in range(entries)]
        content = make_zip(
            None, [*files, *[(f"{c}{level}.zip", content + c.encode()) for c in "abc" if content]]
        )
    return content


@pytest.mark.parametrize(
    "make",
    [
        lambda: nested(3, 150, "../x"),
        lambda: make_zip(None, [(f"{i}.zip", nested(1, 40, f"../{i}-")) for i in range(100)]),
        lambda: make_zip(None, [(f"../x{i}", b"") for i in range(1900)]),
        lambda: make_zip(None, [(f".git/{i}", b"") for i in range(2500)]),
    ],
    ids=["three levels", "a hundred zips", "bad paths", "a repository"],
)
def test_zips_of_many_entries(run: Collect, taken: Taken, make: Callable[[], bytes]) -> None:
    """A dozen notes, whatever the zip lists; the notebook beside it counts."""
    files = [(name("Eve", 6, "work.zip"), make()), (name("Eve", 6), notebook("return 6"))]
    report = run([*files, (name("Ada", 7), notebook())], caps=Caps(entries=2000))
    assert taken("7") == notebook() and taken("6") == notebook("return 6")
    said = notes(report, "6")
    assert said and len(said) < 5000


def test_what_is_beside_too_much_counts(run: Collect, taken: Taken) -> None:
    """The notebook comes first, wherever it lies: in the zip with too many files, or beside the slow ones."""
    files = [(f"{i}.txt", b"x") for i in range(60)]
    one = make_zip(None, [*files, (f"{WEEK}.ipynb", notebook("return 6"))])
    two = make_zip(None, [("big.bin", b"0" * 3 * MB), ("z/a.ipynb", notebook("return 8"))])
    caps = Caps(files=20, total=2 * MB)
    report = run([(name("Eve", 6, "work.zip"), one), (name("Mal", 8, "work.zip"), two)], caps=caps)
    assert taken("6") == notebook("return 6") and "more than 20 files" in notes(report, "6")
    assert taken("8") == notebook("return 8") and "more than 2 MB in all" in notes(report, "8")


@linux
def test_a_notebook_beside_an_upload_that_is_too_slow(
    run: Collect, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart_module, "READING", Budget(memory=60 * MB))
    zipped = make_zip(None, [("big.bin", os.urandom(1000) * 45_000)])
    report = run([(name("Eve", 6, "a.zip"), zipped), (name("Eve", 6), notebook("return 6"))])
    assert taken("6") == notebook("return 6") and notes(report, "6")


def test_an_archive_is_read_once(run: Collect, taken: Taken) -> None:
    """The same zip a thousand times costs what it costs once."""
    inner = make_zip(
        None, [(f"{i}.txt", b"x") for i in range(10)] + [(f"{WEEK}.ipynb", notebook("return 6"))]
    )
    outer = make_zip(None, [(f"{i}.zip", inner) for i in range(100)])
    report = run([(name("Eve", 6, "work.zip"), outer), (name("A", 7), notebook())])
    assert taken("6") == notebook("return 6") and taken("7") == notebook() and notes(report, "6") == ""


# One decoder for collecting and grading


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_the_right_notebook_in_another_encoding_counts(run: Collect, taken: Taken, encoding: str) -> None:
    """Beside it lies another week's, later and in UTF-8: before, that one was graded."""
    right = notebook('return "für"').decode().replace("\\u00fc", "ü").encode(encoding)
    wrong = notebook("return 0", "week02_gmm")
    days = (2024, 4, 3, 1, 1, 0), (2024, 4, 4, 1, 1, 0)
    report = run([(name("A", 1, "a.ipynb"), right, days[0]), (name("A", 1, "b.ipynb"), wrong, days[1])])
    assert taken("1") == right and "a.ipynb counts" in notes(report, "1")
