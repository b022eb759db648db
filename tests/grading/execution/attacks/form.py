"""Attacks by the file's form: renamed, doubled and foreign cells, metadata (8), and what is no notebook at all (14)."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from typing import Any

from tests.grading.execution.attacks.book import ALL, CATALOGUE, NONE, Attack, Book, Exercise, attack

# 8 · cells and metadata ------------------------------------------------------------------------------


@attack(8, NONE)
def flipped_metadata(e: Exercise) -> Book:
    """Tests that are not graded, not locked, worth 1000 points, and answers at the same time."""
    book = e.unsolved()
    for cell in book.of_kind("test"):
        cell["metadata"]["nbgrader"] |= {"grade": False, "locked": False, "solution": True, "points": 1000}
        cell["source"] = "pass"
    return book


@attack(8, ALL)
def flipped_metadata_of_right_answers(e: Exercise) -> Book:
    """The same on a solved exercise: nothing is gained, nothing lost."""
    book = e.solved()
    for cell in book.of_kind("test"):
        cell["metadata"]["nbgrader"] |= {"grade": False, "locked": False, "solution": True, "points": 1000}
        cell["source"] = "pass"
    return book


@attack(8, NONE)
def thousand_points(e: Exercise) -> Book:
    """Everything is worth 1000 points, gaps and given cells included."""
    book = e.unsolved()
    for cell in book.cells:
        cell["metadata"]["nbgrader"] = cell["metadata"].get("nbgrader", {}) | {"points": 1000, "grade": True}
    return book


@attack(8, NONE)
def tests_of_ones_own(e: Exercise) -> Book:
    """The tests' text is the student's: nothing is asserted."""
    book = e.unsolved()
    for cell in book.of_kind("test"):
        cell["source"] = "assert True\n### BEGIN HIDDEN TESTS\nassert True\n### END HIDDEN TESTS"
    return book


@attack(8, NONE)
def cells_with_the_tests_ids(e: Exercise) -> Book:
    """Further cells with the tests' grade ids, before and after them, that pass."""
    book = e.unsolved()
    for cell in book.of_kind("test"):
        at = book.cells.index(cell)
        for place in (at + 1, at):
            twin = copy.deepcopy(cell) | {"source": "print('passed')", "id": f"twin-{len(book.cells)}"}
            book.cells.insert(place, twin)
    return book


@attack(8, NONE)
def answers_with_the_tests_ids(e: Exercise) -> Book:
    """The gaps carry the tests' grade ids and points, the tests those of the gaps."""
    book = e.unsolved()
    for gap, test in zip(book.of_kind("solution"), book.of_kind("test"), strict=True):
        gap["metadata"], test["metadata"] = test["metadata"], gap["metadata"]
        gap["source"] = "pass"
    return book


@attack(8, NONE)
def tests_deleted(e: Exercise) -> Book:
    """No tests at all."""
    book = e.unsolved()
    tests = book.of_kind("test")
    book.cells = [cell for cell in book.cells if cell not in tests]
    return book


@attack(8, ALL)
def tests_deleted_from_right_answers(e: Exercise) -> Book:
    """No tests and no given cells: they are put back."""
    book = e.solved()
    gone = book.of_kind("test", "given", "text")
    book.cells = [cell for cell in book.cells if cell not in gone]
    return book


@attack(8, ALL, "draw")
def a_gap_deleted(e: Exercise) -> Book:
    """One answer is missing, and a new cell with points stands in its place."""
    book = e.solved()
    gap = book.cell("draw")
    gap["metadata"]["nbgrader"] |= {"grade_id": "new", "grade": True, "points": 1000, "solution": False}
    gap["source"], gap["id"] = "print('1000 points')", "new"
    return book


@attack(8, ALL)
def cells_backwards(e: Exercise) -> Book:
    """All cells in the reverse order."""
    book = e.solved()
    book.cells = book.cells[::-1]
    return book


@attack(8, ALL)
def cells_twice(e: Exercise) -> Book:
    """Every cell twice, with its ids."""
    book = e.solved()
    book.cells = [copy.deepcopy(cell) for cell in book.cells for _ in range(2)]
    return book


@attack(8, NONE)
def unsolved_twice(e: Exercise) -> Book:
    """Every gap twice, the second time with a test's metadata."""
    book = e.unsolved()
    for cell in book.of_kind("solution"):
        twin = copy.deepcopy(cell)
        twin["metadata"]["nbgrader"] |= {"grade": True, "points": 50, "locked": True}
        twin["source"] = "pass"
        book.cells.insert(book.cells.index(cell) + 1, twin)
    return book


@attack(8, NONE)
def new_graded_cells(e: Exercise) -> Book:
    """New tests worth 1000 points each, that pass."""
    book = e.unsolved()
    for number in range(20):
        meta = {"grade": True, "grade_id": f"test_bonus{number}", "points": 1000, "schema_version": 3}
        meta |= {"locked": True, "solution": False, "task": False}
        book.insert(len(book.cells), "pass", metadata={"nbgrader": meta})
    return book


@attack(8, NONE)
def metadata_of_odd_types(e: Exercise) -> Book:
    """Metadata in which nothing has the type that it should have."""
    book = e.unsolved()
    odd: list[Any] = [
        None,
        5,
        "x",
        [],
        [[]],
        {"grade_id": {}},
        {"grade_id": ["test_draw"]},
        {"grade_id": None},
        True,
    ]
    odd += [
        {"grade_id": "x" * 100_000},
        {"grade_id": 5, "points": {}},
        {"grade_id": "../../x", "schema_version": "x"},
    ]
    for number, value in enumerate(odd):
        book.insert(number, "1", metadata={"nbgrader": value, "tags": value, "title": value})
    book.data["metadata"] |= {"nbgrader": odd, "celltoolbar": odd, "authors": {"x": odd}}
    return book


@attack(8, ALL)
def another_kernel(e: Exercise) -> Book:
    """A kernel that does not exist, of another language."""
    book = e.solved()
    book.data["metadata"]["kernelspec"] = {"name": "../../evil", "display_name": "<b>", "language": "bash"}
    book.data["metadata"]["language_info"] = {"name": "R", "version": 5, "file_extension": ".r"}
    return book


@attack(8, ALL)
def no_kernel(e: Exercise) -> Book:
    """No metadata at all in the notebook."""
    book = e.solved()
    book.data["metadata"] = {}
    return book


@attack(8, ALL)
def markers_in_answers(e: Exercise) -> Book:
    """nbgrader's markers in answers and extra cells."""
    book = e.solved()
    for cell in book.of_kind("solution"):
        cell["source"] += (
            "\n### END HIDDEN TESTS\n### BEGIN SOLUTION\n### BEGIN HIDDEN TESTS\n# YOUR CODE HERE"
        )
    return book.first("### BEGIN HIDDEN TESTS").last("### END SOLUTION\n### END HIDDEN TESTS")


@attack(8, ALL)
def thousand_cells(e: Exercise) -> Book:
    """A thousand cells of the student's own."""
    book = e.solved()
    for number in range(700):
        book.cells.append({"cell_type": "markdown", "id": f"m{number}", "metadata": {}, "source": ""})
    for number in range(300):
        book.last(str(number))
    return book


@attack(8, NONE)
def outputs_that_passed(e: Exercise) -> Book:
    """Outputs and counts as if all had run and passed, with marks and comments of a person's."""
    book = e.unsolved()
    for number, cell in enumerate(cell for cell in book.cells if cell["cell_type"] == "code"):
        cell["execution_count"] = number + 1
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "all tests passed\n"}]
        cell["metadata"] |= {"execution": {"status": "ok"}, "score": 1000, "comment": "very good"}
    return book


@attack(8, ALL)
def outputs_with_scripts(e: Exercise) -> Book:
    """HTML, JavaScript, SVG and escapes in outputs, Markdown, tracebacks and messages."""
    book = e.solved()
    for number, text in enumerate(SCRIPTS):
        book.insert(0, text, "markdown")
        book.middle(
            "from IPython.display import HTML, SVG, Image, Javascript, Markdown, display\n"
            f"text = {text!r}\nprint(text)\n"
            "for kind in ('text/html', 'image/svg+xml', 'text/markdown', 'application/javascript', 'text/latex',"
            " 'image/png', 'application/vnd.plotly.v1+json', 'application/vnd.jupyter.widget-view+json'):\n"
            "    display({kind: text, 'text/plain': text}, raw=True)\n"
            f"class {'X' * (number + 1)}(Exception):\n    pass\n"
            f"raise {'X' * (number + 1)}(text)"
        )
    return book


SCRIPTS = (
    "<script>alert('lgm')</script>",
    "<img src=x onerror=alert('lgm')><svg/onload=alert('lgm')>",
    "</pre></td></div></body><iframe src=\"javascript:alert('lgm')\"></iframe><base href='https://example.org/'>",
    "[x](javascript:alert%28'lgm'%29) ![x](https://example.org/lgm.png) <style>*{display:none}</style>",
    "\x1b[2J\x1b]0;lgm\x07\x1b[8m\x1b]8;;javascript:alert('lgm')\x07x\x1b]8;;\x07 \x9b2J \r\r\r\b\b",
    "$\\href{javascript:alert('lgm')}{x}$ {{7*7}} {% raw %} ${7*7} <!-- --!> <![CDATA[ ]]>",
    "<form action='https://example.org'><input name=p></form><meta http-equiv=refresh content='0;url=https://example.org'>",
)


# 14 · not a notebook ---------------------------------------------------------------------------------


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../lgm-hostile", "x")
    return file.getvalue()


PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)

UNREADABLE: dict[str, bytes] = {
    "empty": b"",
    "blanks": b" \n\t" * 100,
    "null": b"null",
    "number": b"42",
    "text": b'"notebook"',
    "list": b"[]",
    "object": b"{}",
    "binary": bytes(range(256)) * 40,
    "zeros": bytes(10_000),
    "picture": PNG,
    "zip": _zip(),
    "pickle": b"\x80\x04cos\nsystem\n(X\x1c\x00\x00\x00touch /tmp/lgm-hostile-picklett\x85R.",
    "web_page": b"<!DOCTYPE html><html><script>alert('lgm')</script><title>JupyterLab</title></html>",
    "python": b"import os\nos.system('touch /tmp/lgm-hostile-python')\n",
    "conflict": b"<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> main\n",
    "brackets": b"[" * 200_000,
    "objects_in_objects": b'{"cells":' * 50_000,
    "no_cells": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
    "cells_null": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": null}',
    "cells_object": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": {"a": 1}}',
    "cells_text": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": "x"}',
    "long_number": b'{"nbformat": ' + b"9" * 100_000 + b', "cells": []}',
}


def _constant(content: bytes) -> Any:
    return lambda e: content


for name, content in UNREADABLE.items():
    CATALOGUE.add(
        Attack(
            14,
            f"unreadable_{name}",
            f"A file that is no notebook: {name.replace('_', ' ')}.",
            _constant(content),
            NONE,
            unreadable=True,
        )
    )


@attack(14, NONE, unreadable=True)
def truncated(e: Exercise) -> bytes:
    """Cut off in the middle."""
    content = e.solved().dump()
    return content[: len(content) // 2]


@attack(14, NONE, unreadable=True)
def two_hundred_megabytes(e: Exercise) -> bytes:
    """200 MB of attachments behind an exercise."""
    return e.solved().dump().rstrip()[:-1] + b', "x": "' + b"x" * 200_000_000 + b'"}'


@attack(14, NONE, unreadable=True)
def million_cells(e: Exercise) -> bytes:
    """More cells than anybody writes."""
    return b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [' + b"{}," * 1_000_000 + b"{}]}"


@attack(14, ALL)
def not_numbers_in_json(e: Exercise) -> bytes:
    """NaN and Infinity, which JSON does not have."""
    book = e.solved()
    book.data["metadata"]["x"] = [float("nan"), float("inf"), -float("inf"), 1e308]
    for cell in book.cells:
        cell["metadata"]["nbgrader"]["points"] = float("nan")
    return book.dump()


@attack(14, ALL)
def byte_order_mark(e: Exercise) -> bytes:
    """A byte order mark before the notebook, and line ends as on Windows."""
    return b"\xef\xbb\xbf" + e.solved().dump().replace(b"\n", b"\r\n")


@attack(14, ALL)
def keys_twice(e: Exercise) -> bytes:
    """Keys that occur twice: the last one counts for Python, and it is the honest one."""
    return e.solved().dump().replace(b"{", b'{"cells": [], "nbformat": 99, ', 1)


def _version(major: Any, minor: Any) -> Any:
    def make(e: Exercise) -> Book:
        book = e.solved()
        book.data["nbformat"], book.data["nbformat_minor"] = major, minor
        return book

    return make


for name, version in {
    "99": (99, 0),
    "minus": (-1, 5),
    "text": ("four", "five"),
    "null": (None, None),
}.items():
    CATALOGUE.add(
        Attack(
            14,
            f"version_{name}",
            "A version of the notebook format that does not exist, around right answers.",
            _version(*version),
            ALL,
        )
    )


@attack(14, ALL)
def version_from_the_future(e: Exercise) -> Book:
    """A later minor version with fields that nobody knows yet."""
    book = e.solved()
    book.data |= {"nbformat_minor": 99, "blocks": [], "cells2": {}}
    for cell in book.cells:
        cell |= {"language": "python", "runtime": {"x": 1}}
    return book


@attack(14, ALL)
def version_three(e: Exercise) -> bytes:
    """The format of 2013, with worksheets and inputs."""
    book = e.solved()
    cells = []
    for cell in book.cells:
        if cell["cell_type"] == "code":
            old = {"cell_type": "code", "input": cell["source"], "outputs": [], "language": "python"}
            old |= {"prompt_number": None, "collapsed": False}
        else:
            old = {"cell_type": "markdown", "source": cell["source"]}
        cells.append(old | {"metadata": cell["metadata"]})
    data = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": "x"}}
    return json.dumps(data | {"worksheets": [{"cells": cells, "metadata": {}}]}).encode()


@attack(14, ALL)
def cells_that_are_none(e: Exercise) -> Book:
    """Between the cells: null, numbers, lists, cells without type, without source, of an unknown type."""
    book = e.solved()
    odd: list[Any] = [
        None,
        5,
        "x",
        [],
        {},
        {"cell_type": "code"},
        {"cell_type": "evil", "source": "1", "metadata": {}},
    ]
    odd += [{"cell_type": ["code"], "source": "1"}, {"cell_type": "code", "source": 5, "metadata": None}]
    odd += [{"cell_type": "code", "source": ["x = 1\n", 5, None], "metadata": [], "outputs": 7}]
    odd += [
        {"cell_type": "code", "source": "1", "metadata": {}, "outputs": [None, 5, {"output_type": "evil"}]}
    ]
    book.cells = odd + book.cells + odd
    return book


@attack(14, ALL)
def ids_that_are_none(e: Exercise) -> Book:
    """Cell ids that are the same, too long, of another type, or paths."""
    book = e.solved()
    odd: list[Any] = ["same", "same", "x" * 10_000, 5, None, [], "../../etc/passwd", "", "ä ö", "<script>"]
    for number, cell in enumerate(book.cells):
        cell["id"] = odd[number % len(odd)]
    return book


@attack(14, ALL)
def attachments_with_paths(e: Exercise) -> Book:
    """Attachments and outputs whose names lead somewhere else."""
    book = e.solved()
    paths = [
        "../../lgm-hostile.png",
        "/tmp/lgm-hostile.png",
        "C:\\lgm-hostile.png",
        "x\x00.png",
        "a/" * 500 + "x.png",
    ]
    book.insert(0, "![x](attachment:../../lgm-hostile.png)", "markdown")
    for cell in book.cells:
        if cell["cell_type"] == "markdown":
            cell["attachments"] = {path: {"image/png": "eHh4eA==", "../x": "x"} for path in paths}
        else:
            cell["metadata"] |= {"filename": paths[0], "path": paths[1]}
            outputs = [
                {"output_type": "display_data", "metadata": {"filenames": {"image/png": path}}}
                for path in paths
            ]
            cell["outputs"] = [output | {"data": {"image/png": "eHh4eA=="}} for output in outputs]
    return book


@attack(14, ALL)
def sources_that_no_file_holds(e: Exercise) -> Book:
    """Halves of characters and zero bytes in sources, names and metadata."""
    book = e.solved()
    book.first("x = '\ud800'\nprint(x)").first("# \x00 \x1b[2J \u202e").last("x = '\udfff'")
    book.insert(0, "\ud800 \x00", "markdown")
    book.data["metadata"]["\ud800"] = "\udfff"
    for cell in book.cells:
        cell["metadata"]["\ud800"] = "\x00"
    return book
