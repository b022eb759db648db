"""Any bytes for a notebook, any zip, any names: no exception, no growth, nothing outside of the folder.

FUZZ=100000 pytest tests/grading/intake/test_fuzz.py searches longer, each time elsewhere.
"""

from __future__ import annotations

import copy
import io
import json
import os
import random
import struct
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grading.assignment import assignment_from_source, solved
from grading.intake.archive import Caps, Purse, Refused, Sent, in_zip
from grading.intake.collect import Kept, look
from grading.intake.exports import CollectError, owners
from grading.intake.people import Roster
from grading.intake.reading import Unreadable
from grading.intake.repair import mend
from grading.intake.snippets import is_stub, same_code, statements
from grading.intake.snippets import look as look_at
from grading.model import Person
from tests.conftest import SAMPLE, WEEK
from tests.graded import check_shape
from tests.grading.intake.test_collect import make_zip, notebook

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name")
LONG = int(os.environ.get("FUZZ", "0"))
NOW = datetime(2024, 4, 3, tzinfo=UTC)


def fuzz(examples: int) -> settings:
    return settings(
        max_examples=LONG or examples,
        derandomize=not LONG,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


# Bytes: a sound file, some pieces of which are replaced


def spoilt(sound: bytes, pieces: list[bytes]) -> st.SearchStrategy[bytes]:
    edit = st.tuples(
        st.integers(0, 10_000), st.integers(0, 40), st.sampled_from(pieces) | st.binary(max_size=8)
    )

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        data = bytearray(sound)
        for at, length, piece in edits:
            at = at * len(data) // 10_000
            data[at : at + length] = piece
        return bytes(data)

    return st.lists(edit, min_size=1, max_size=6).map(apply)


NOTEBOOK = solved(WEEK, SAMPLE)
EXERCISE = assignment_from_source(WEEK, SAMPLE)
JSON = [
    b"{",
    b"]",
    b'"',
    b"\\ud800",
    b"\0",
    b"null",
    b"\xff\xfe",
    b"1e999",
    b"9" * 5000,
    b"[" * 300,
    b'"cells":',
]


@fuzz(60)
@given(spoilt(NOTEBOOK, JSON) | st.binary(max_size=400))
def test_bytes_of_a_notebook(content: bytes) -> None:
    try:
        check_shape(mend(content, EXERCISE), EXERCISE)
    except Unreadable as why:
        assert str(why) and "\n" not in str(why)


CODE = st.text(alphabet="defclass (x)=:\n\t%!?#'\"\\0x9_[]@λ\0\ud800", max_size=80) | st.sampled_from(
    [
        "0x" + "f" * 5000,
        "9" * 5000,
        "-" * 3000 + "1",
        "(" * 300,
        "def scale(x):",
        "'''",
        "x = 1j",
        "lambda:" * 400,
    ]
)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | CODE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(CODE, inner, max_size=3),
    max_leaves=6,
)


@fuzz(60)
@given(
    st.lists(st.tuples(st.integers(0, 200), VALUE), min_size=1, max_size=8), st.randoms(use_true_random=False)
)
def test_values_of_a_notebook(changes: list[tuple[int, Any]], rng: random.Random) -> None:
    data = json.loads(NOTEBOOK)
    for place, value in changes:
        holder: Any = data
        for _ in range(2 + place % 4):
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = keys[place % len(keys)]
            if not isinstance(holder[key], dict | list) or rng.random() < 0.2:
                holder[key] = copy.deepcopy(value)
                break
            holder = holder[key]
    test_bytes_of_a_notebook.hypothesis.inner_test(json.dumps(data).encode())  # type: ignore[attr-defined]


@fuzz(80)
@given(st.lists(CODE, max_size=5).map("\n".join), CODE)
def test_code(source: str, stub: str) -> None:
    look_at(source), statements(source), is_stub(source, stub), same_code(source, stub)


# Archives


def tamper(data: bytes, edits: list[tuple[int, int]]) -> bytes:
    """Numbers in the heads of a zip's members changed, where most of its structure is."""
    content = bytearray(data)
    for at, value in edits:
        marks = [i for i in range(len(content) - 46) if content[i : i + 2] == b"PK"]
        place = marks[at % len(marks)] + 4 + (at // 7) % 40
        content[place : place + 2] = struct.pack("<H", value & 0xFFFF)
    return bytes(content)


ZIP = make_zip(
    None,
    [
        ("a/week.ipynb", notebook()),
        ("b.zip", make_zip(None, [("x.ipynb", notebook("return 3")), ("../y", b"2" * 500)])),
        ("große.txt", b"x" * 300),
    ],
)


@fuzz(60)
@given(
    st.builds(
        tamper, st.just(ZIP), st.lists(st.tuples(st.integers(0, 500), st.integers(0, 65_535)), max_size=4)
    )
    | spoilt(ZIP, [b"PK\1\2", b"PK\5\6", b"\xff\xff\xff\xff", b"../", b"\0", b"\x0e\0", b"\x0c\0"])
    | st.binary(max_size=200).map(lambda tail: b"PK\3\4" + tail)
)
def test_bytes_of_a_zip(content: bytes) -> None:
    caps = Caps(file=20_000, total=60_000, files=20, entries=60)
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base) / "in" / "student"
        place = folder / "files" / "work.zip"
        place.parent.mkdir(parents=True)
        place.write_bytes(content)
        found = look([Kept(place, ("work.zip",), NOW, NOW)], folder, WEEK, None, Purse(caps))
        assert all("\n" not in word and len(word) < 600 for word in found.words)
        files = [path for path in Path(base).rglob("*") if path.is_file()]
        assert all(path.parent == place.parent for path in files)
        assert sum(path.stat().st_size for path in files) <= len(content) + caps.total + caps.file


@fuzz(60)
@given(st.lists(st.tuples(st.text(max_size=12), st.binary(max_size=30)), max_size=6), st.binary(max_size=12))
def test_names_in_a_zip(members: list[tuple[str, bytes]], extra: bytes) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in members:
            info = zipfile.ZipInfo(path.encode("utf-8", "replace").decode() or "x")
            info.extra = extra
            archive.writestr(info, content)
    try:
        for sent in in_zip(buffer.getvalue()):
            assert "/" not in "".join(sent.parts) and "" not in sent.parts
            assert sent.fault or ".." not in sent.parts
    except Refused:
        pass


# Names

WORDS = "_ 7 12 LATE anon assignsubmission file Anna Groß 李四 नी ben .ipynb .zip .. ( ) 1 - \0 \x1b İ ß ´ of"
PIECE = st.sampled_from([*WORDS.split(" "), "\u202e", WEEK])
NAME = st.lists(PIECE | st.text(max_size=3), min_size=1, max_size=7).map("".join)
ROSTER = Roster(
    (Person("anna", "Anna Groß", participant="7"), Person("m1", "ben", username="ben_7"), Person("l", "李四"))
)


@fuzz(150)
@given(
    st.lists(st.lists(NAME, min_size=1, max_size=4), min_size=1, max_size=6),
    st.booleans(),
    st.sampled_from(["x", "x.zip"]),
)
def test_names_of_uploads(paths: list[list[str]], listed: bool, archive: str) -> None:
    """Each file has at most one owner, different owners have different folders, and the names are safe."""
    files = [
        Sent(tuple(p.replace("/", "") or "x" for p in path), NOW, 1, lambda: io.BytesIO(b"x"))
        for path in paths
    ]
    try:
        found = owners(files, Path(archive), WEEK, ROSTER if listed else Roster())
    except CollectError as question:
        assert "\n" not in str(question)
        return
    students = [pile.person.student for pile in found.piles]
    assert len({s.casefold() for s in students}) == len(students)
    for student in students:
        assert student and student.isascii() and "/" not in student and not student.startswith(".")
    owned = [id(sent) for pile in found.piles for sent, _, _ in pile.files]
    assert len(owned) == len(set(owned))
    assert all(rest for pile in found.piles for _, rest, _ in pile.files)
