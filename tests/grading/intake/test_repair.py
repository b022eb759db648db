"""Putting a student's work back into the exercise's shape: single cases, unreadable files, any bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grading.assignment import assignment_from_source, solved, unsolved
from grading.intake.reading import MOST_BYTES, Unreadable, clean_text
from grading.intake.repair import mend, repair, untouched_exercise
from grading.intake.snippets import is_stub, look, statements
from grading.model import Assignment, CleanCell, Repaired
from grading.proving import damage
from tests.conftest import SAMPLE
from tests.conftest import WEEK as SAMPLE_WEEK
from tests.graded import check_shape
from tools.notebooks import GUARD, ROOT

WEEK = "week03_rbm"
Notebook = dict[str, Any]


@pytest.fixture(scope="module")
def assignment() -> Assignment:
    return assignment_from_source(WEEK)


@pytest.fixture(scope="module")
def sound() -> bytes:
    return solved(WEEK)


@pytest.fixture(scope="module")
def small() -> Assignment:
    """The sample course's exercise; its root has no settings of its own, which does not matter here."""
    return assignment_from_source(SAMPLE_WEEK, SAMPLE)


@pytest.fixture(scope="module")
def small_sound() -> bytes:
    return solved(SAMPLE_WEEK, SAMPLE)


def changed(content: bytes, change: Callable[[list[Notebook]], Any]) -> bytes:
    notebook = json.loads(content)
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    result = change(notebook["cells"])
    if isinstance(result, list):
        notebook["cells"] = result
    return json.dumps(notebook).encode()


def named(cells: list[Notebook], grade_id: str) -> Notebook:
    return next(c for c in cells if (c["metadata"].get("nbgrader") or {}).get("grade_id") == grade_id)


def code(source: str) -> Notebook:
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None}


def by_name(repaired: Repaired, variant: int = 0) -> dict[str, CleanCell]:
    return {cell.name: cell for cell in repaired.variants[variant]}


def order(repaired: Repaired, variant: int = 0) -> list[str]:
    return [cell.name for cell in repaired.variants[variant]]


# Files that are no notebooks: words for the student, never an exception


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "white space": (b" \n\n", "empty"),
    "zeros": (b"\0" * 4096, "empty"),
    "web page": (b"<!DOCTYPE html><html><body>Log in</body></html>", "web page"),
    "colab's page": (b'\n<html lang="en"><head></head></html>', "web page"),
    "script": (b"# %% [markdown]\nimport numpy as np\nprint(1)\n", "Python script"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF"),
    "zip": (b"PK\x03\x04\x14", "zip"),
    "binary": (bytes(range(256)) * 20, "notebook"),
    "picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0", "notebook"),
    "merge": (b'{\n<<<<<<< HEAD\n "cells": []\n=======\n "cells": [1]\n>>>>>>> main\n}', "merge"),
    "a word": (b"hello", "no notebook"),
    "number": (b"3", "no cells"),
    "list": (b"[]", "no cells"),
    "object": (b"{}", "no cells"),
    "cells a number": (b'{"cells": 3}', "cells are missing"),
    "cells an object": (b'{"cells": {"a": 1}, "nbformat": 4}', "cells are missing"),
    "sheets a number": (b'{"worksheets": 3}', "cells are missing"),
    "no cells": (b'{"cells": [], "nbformat": 4}', "no cells"),
    "empty cells": (b'{"cells": [{"cell_type": "code", "source": ""}]}', "no cells"),
    "no cells at all": (b'{"cells": [1, null, "a", []]}', "no cells"),
    "nested": (nested(100_000), "nested"),
    "nested cell": (b'{"cells": [{"source": ' + nested(100_000) + b"}]}", "nested"),
    "huge number": (b'{"cells": ' + b"9" * 10_000 + b"}", "damaged"),
    "many cells": (b'{"cells": [' + b"{}," * 3000 + b"{}]}", "cells"),
    "too large": (b" " * (MOST_BYTES + 1), "MB"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable(name: str, assignment: Assignment) -> None:
    content, words = UNREADABLE[name]
    with pytest.raises(Unreadable):
        mend(content, assignment)
    repaired = repair(content, assignment)
    assert words.lower() in repaired.problem.lower(), repaired.problem
    assert "\n" not in repaired.problem
    assert repaired.variants == (untouched_exercise(assignment),)


def test_cut_short(assignment: Assignment, sound: bytes) -> None:
    assert "cut short" in repair(sound[: len(sound) // 2], assignment).problem


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("week*.ipynb")), ids=lambda path: path.stem)
def test_a_preparation_notebook(path: Path, assignment: Assignment) -> None:
    assert "another notebook" in repair(path.read_bytes(), assignment).problem


def test_another_weeks_exercise(assignment: Assignment, small: Assignment, small_sound: bytes) -> None:
    assert WEEK in repair(small_sound, assignment).problem
    assert "another notebook" in repair(solved(WEEK), small).problem


# Arbitrary bytes


def test_truncations_and_mutations(small: Assignment, small_sound: bytes) -> None:
    rng = random.Random(3)
    problems = 0
    for _ in range(400):
        content = bytearray(small_sound)
        for _ in range(rng.randint(1, 4)):
            kind, at = rng.randrange(4), rng.randrange(len(content) + 1)
            piece = bytes(rng.randrange(256) for _ in range(rng.randint(1, 5)))
            if kind == 0:
                content[at : at + len(piece)] = piece
            elif kind == 1:
                content[at:at] = rng.choice(
                    [piece, b"{", b"]", b'"', b"\\ud800", b"\0", b"null", b"\xff\xfe"]
                )
            elif kind == 2:
                del content[at : at + rng.randint(1, 400)]
            else:
                del content[rng.randint(len(content) // 2, len(content)) :]
        problems += check_any(bytes(content), small)
    assert 100 < problems < 400


def test_mutations_of_the_structure(small: Assignment, small_sound: bytes) -> None:
    rng = random.Random(4)
    odd = [
        None,
        0,
        -1,
        1e308,
        True,
        "",
        "x",
        "\ud800",
        "\0",
        [],
        [None],
        {},
        {"a": 1},
        ["a", 3, "b"],
        "def total(x",
        "%%",
    ]
    ids = ["scale", "test_scale", "total", "test_total", "why", "setup", "introduction", "gone"]

    def mutate(thing: Any) -> Any:
        if rng.random() < 0.04:
            return rng.choice([*odd, *ids])
        if isinstance(thing, dict):
            return {
                rng.choice(["a", key]) if rng.random() < 0.02 else key: mutate(v) for key, v in thing.items()
            }
        if isinstance(thing, list):
            items = [mutate(item) for item in thing]
            if items and rng.random() < 0.2:
                items.insert(rng.randrange(len(items)), rng.choice(items))
            if rng.random() < 0.1:
                rng.shuffle(items)
            return items
        return not thing if isinstance(thing, bool) and rng.random() < 0.3 else thing

    readable = 0
    for _ in range(400):
        readable += not check_any(json.dumps(mutate(json.loads(small_sound))).encode(), small)
    assert readable > 100


def test_several_kinds_of_damage_at_once(small: Assignment, small_sound: bytes) -> None:
    rng = random.Random(5)
    for _ in range(60):
        content = small_sound
        for kind in rng.sample(damage.ALL, 3):
            try:
                content = kind.apply(content)
            except (KeyError, ValueError, StopIteration, IndexError, AttributeError, SyntaxError, TypeError):
                continue  # this kind wants a sound notebook
        check_any(content, small)


def check_any(content: bytes, assignment: Assignment) -> bool:
    """Whatever the file, the result is in shape; gives whether there was a problem."""
    repaired = repair(content, assignment)
    check_shape(repaired, assignment)
    try:
        assert mend(content, assignment) == repaired
    except Unreadable:
        assert repaired.problem
    return bool(repaired.problem)


# Particular cases


def test_unsolved(assignment: Assignment) -> None:
    repaired = mend(unsolved(assignment), assignment)
    assert repaired == Repaired((untouched_exercise(assignment),))


def test_points_and_gaps(assignment: Assignment, sound: bytes) -> None:
    cells = by_name(mend(sound, assignment))
    assert (cells["test_gibbs_spin"].gap, cells["test_gibbs_spin"].points) == ("gibbs_spin", 3.0)
    assert "BEGIN HIDDEN TESTS" in cells["test_gibbs_spin"].source
    assert cells["gibbs_spin"].gap == "gibbs_spin" and cells["argue_sigma"].points == 2.0


def test_extra_cells_keep_their_places(small: Assignment, small_sound: bytes) -> None:
    def change(cells: list[Notebook]) -> list[Notebook]:
        place = cells.index(named(cells, "scale"))
        first, last = code("%pip list"), code("def total(x):\n    return 7")
        return [first, *cells[:place], code("helper = 1"), *cells[place:], last]

    repaired = mend(changed(small_sound, change), small)
    names = order(repaired)
    assert names[0] == "extra1" and by_name(repaired)["extra1"].source == "%pip list"
    assert names.index("extra2") == names.index("scale") - 1
    # A later definition of a gap that has an answer stays where it is: it must not count for the test before.
    assert names[-1] == "extra3"
    assert "np.sum" in by_name(repaired)["total"].source
    assert repaired.doubts == ()


def test_magics_are_kept(small: Assignment, small_sound: bytes) -> None:
    def change(cells: list[Notebook]) -> None:
        cell = named(cells, "total")
        cell["source"] = "%%time\n" + cell["source"]
        cell["metadata"] = {}
        del cell["id"]
        named(cells, "scale")["source"] += "\n%matplotlib inline\n!ls"

    cells = by_name(mend(changed(small_sound, change), small))
    assert cells["total"].source.startswith("%%time\ndef total(")
    assert cells["scale"].source.endswith("%matplotlib inline\n!ls")


def test_answers_exchanged(small: Assignment, small_sound: bytes) -> None:
    def change(cells: list[Notebook]) -> None:
        a, b = named(cells, "scale"), named(cells, "total")
        a["source"], b["source"] = b["source"], a["source"]

    assert mend(changed(small_sound, change), small).variants == mend(small_sound, small).variants


def test_explanation_in_the_gap_and_code_below(small: Assignment, small_sound: bytes) -> None:
    def change(cells: list[Notebook]) -> list[Notebook]:
        cell = named(cells, "total")
        answer = code(cell["source"])
        cell |= {"cell_type": "markdown", "source": "I add them up."}
        place = cells.index(cell)
        return [*cells[: place + 1], answer, *cells[place + 1 :]]

    repaired = mend(changed(small_sound, change), small)
    assert "np.sum" in by_name(repaired)["total"].source
    assert by_name(repaired)["extra1"].source == "I add them up."


def test_deleted_answer_is_unanswered(small: Assignment, small_sound: bytes) -> None:
    def change(cells: list[Notebook]) -> list[Notebook]:
        return [cell for cell in cells if cell is not named(cells, "total")]

    repaired = mend(changed(small_sound, change), small)
    stub = {cell.name: cell.source for cell in small.cells}["total"]
    assert by_name(repaired)["total"].source == stub
    assert any("'total' was missing" in note for note in repaired.repairs)


def test_a_wrong_answer_with_a_syntax_error_is_left_alone(small: Assignment, small_sound: bytes) -> None:
    def change(cells: list[Notebook]) -> list[Notebook]:
        cell = named(cells, "total")
        cell["source"] = "def total(x):\n    return float(np.sum(x)"
        place = cells.index(cell)
        return [*cells[: place + 1], code("mine = 1"), *cells[place + 1 :]]

    cells = by_name(mend(changed(small_sound, change), small))
    assert cells["total"].source == "def total(x):\n    return float(np.sum(x)"
    assert cells["extra1"].source == "mine = 1"


def test_function_of_an_earlier_release(small: Assignment, small_sound: bytes) -> None:
    def change(cells: list[Notebook]) -> None:
        cell = named(cells, "total")
        cell["metadata"]["nbgrader"]["grade_id"] = "summed"
        cell["id"] = "old-summed"
        cell["source"] = cell["source"].replace("def total", "def summed")

    repaired = mend(changed(small_sound, change), small)
    assert by_name(repaired)["total"].source.startswith("def summed")
    names = order(repaired)
    assert by_name(repaired)[names[names.index("total") + 1]].source == "total = summed"
    assert [doubt.cell for doubt in repaired.doubts] == ["total"]


def test_flipped_metadata_gains_nothing(small: Assignment, small_sound: bytes) -> None:
    def change(cells: list[Notebook]) -> None:
        test = named(cells, "test_total")
        test["metadata"]["nbgrader"] |= {"grade": False, "solution": True, "locked": False, "points": 99}
        test["metadata"]["tags"] = ["skip-execution"]
        test["source"] = "pass"
        named(cells, "test_scale")["metadata"]["nbgrader"]["grade_id"] = "total"

    repaired = mend(changed(small_sound, change), small)
    check_shape(repaired, small)
    assert "np.sum" in by_name(repaired)["total"].source
    assert "test_total" in {doubt.cell for doubt in repaired.doubts}


def test_all_cells_claim_to_be_one(small: Assignment, small_sound: bytes) -> None:
    def change(cells: list[Notebook]) -> None:
        for cell in cells:
            cell["metadata"] = {"nbgrader": {"grade_id": "test_scale", "grade": True}}

    repaired = mend(changed(small_sound, change), small)
    check_shape(repaired, small)
    cells = by_name(repaired)
    assert "secret_solution_phrase" in cells["scale"].source and "np.sum" in cells["total"].source


def test_changed_given_cell_is_neutral_and_original(small: Assignment, small_sound: bytes) -> None:
    def change(cells: list[Notebook]) -> None:
        named(cells, "constants")["source"] = "SCALE = 4.0\nimport math\nunused = 1"

    repaired = mend(changed(small_sound, change), small)
    assert by_name(repaired)["constants"].source == f"{GUARD}\n\nSCALE = 3.0"
    assert by_name(repaired)["extra1"].source == "import math"
    assert [doubt.cell for doubt in repaired.doubts] == ["constants"]
    assert "differs from what was handed out" in repaired.doubts[0].reason


def test_layout_of_a_given_cell_is_no_change(small: Assignment, small_sound: bytes) -> None:
    def change(cells: list[Notebook]) -> None:
        named(cells, "constants")["source"] = f"# three\n{GUARD}\nSCALE   =  3.0\n"

    assert mend(changed(small_sound, change), small) == mend(small_sound, small)


def test_text_answer_in_two_cells(small: Assignment, small_sound: bytes) -> None:
    def change(cells: list[Notebook]) -> list[Notebook]:
        cell = named(cells, "why")
        cell["source"] = "First.\n\nSecond."
        halves = [cell | {"source": "First."}, cell | {"source": "Second.", "id": "new"}]
        place = cells.index(cell)
        return [*cells[:place], *halves, *cells[place + 1 :]]

    assert by_name(mend(changed(small_sound, change), small))["why"].source == "First.\n\nSecond."


def test_what_no_file_can_hold_is_replaced() -> None:
    assert clean_text("a\r\nb\rc\0\ud800\U0001f600") == "a\nb\nc\ufffd\ufffd\U0001f600"


# Looking at code


@pytest.mark.parametrize(
    "source",
    [
        "-" * 100_000 + "1",
        "(" * 10_000,
        "a" + ".b" * 50_000,
        "1" + "+1" * 50_000,
        "lambda:" * 5000 + "1",
        "%%\n\0",
    ],
    ids=range(6),
)
def test_looking_at_odd_code(source: str) -> None:
    look(source)
    statements(source)
    assert is_stub("", source)


def test_names() -> None:
    seen = look("import os.path as p\ndef f(x):\n    y = x\n    return [z for z in y]\nW, b = f(c)\nd[0] = 1")
    assert seen.sets == {"p", "f", "W", "b", "d"} and seen.functions == ("f",)
    assert {"c", "f"} <= seen.uses
    assert look("def broken(:\n    pass\nx = 3").sets == {"broken", "x"}
    assert not look("def broken(:").parses


def test_stub_of_an_earlier_release() -> None:
    stub = 'def f(x):\n    """x → y"""\n    raise NotImplementedError("write your answer here")'
    assert is_stub(stub, stub)
    assert is_stub('def f(x, y):\n    """other words"""\n    raise NotImplementedError()', stub)
    assert not is_stub("def f(x):\n    return x", stub)
    assert not is_stub("def f(x):\n    if x:\n        raise NotImplementedError\n    return 1", stub)
