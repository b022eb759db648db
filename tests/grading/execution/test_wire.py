"""What crosses between the tests and the student's process comes out as it went in; all else is refused."""

from __future__ import annotations

import array
import collections
import enum
import fractions
import math
import os
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from grading.execution import wire
from grading.execution.wire import (
    BLOB_COUNT,
    DEPTH,
    HEAD,
    MAGIC,
    SIZE,
    TEXT_LIMIT,
    Channel,
    Closed,
    Decoder,
    Encoder,
    TooLarge,
    WireError,
    weigh,
)


def nothing_else(value: Any) -> Any:
    """For Encoder and Decoder: whatever is not data is an error here."""
    raise WireError(f"other: {value!r:.60}")


Pair = tuple[Channel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    a, b = socket.socketpair()
    yield Channel(a), Channel(b, limit=10**6)
    a.close()
    b.close()


def crossed(value: Any) -> Any:
    """A value after a way through a real socket."""
    a, b = socket.socketpair()
    encoder = Encoder(nothing_else)
    tree = encoder.encode(value)
    sender = threading.Thread(target=Channel(a).send, args=(tree, encoder.blobs, 10))
    sender.start()
    tree, blobs = Channel(b).receive(timeout=60)
    sender.join()
    a.close()
    b.close()
    return Decoder(blobs, nothing_else).decode(tree)


def same(a: Any, b: Any) -> bool:
    """Equal in type, down to the last item; NaN equals NaN, 0.0 is not −0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return repr(a) == repr(b)


PLAIN = [
    None,
    True,
    0,
    -(2**53),
    2**53,
    -(2**200),
    2**4000,
    0.1,
    -0.0,
    math.nan,
    math.inf,
    -math.inf,
    1 + 2j,
    complex(math.nan, -math.inf),
    "",
    "Größe ∑ 🎲 \0 \ud800",
    b"",
    b"\x00\xff",
    (),
    [],
    {},
    (1, (2.5, [None, "x"])),
    [[1, 2], [3]],
    {"a": 1, 2: [3], (4, "b"): {"c": None}, None: 0, 1.5: True},
    {1, 2, 3},
    set(),
    [0.5] * 1000,
    [True, False] * 20,
    list(range(40)),
    [2**63] * 40,
    [1, 2.0] * 40,
    [math.nan, -0.0, math.inf] * 10,
    [[0.25] * 64 for _ in range(50)],
    [[1, 2], [3, 4]] * 10,
    [[True], [False]] * 10,
    [[1, 2], [3, 4.0]] * 10,
    [[1, 2], [3, 2**70]] * 10,
    [[1.5, math.nan], [], [-0.0, 2.0]] * 10,
    [[0.1, 0.2] for _ in range(300_000)],
]


def shown(value: object) -> str:
    """A value as a test's name, the same in each process: without its address."""
    return re.sub(r" at 0x\w+", "", repr(value))[:30]


@pytest.mark.parametrize("value", PLAIN, ids=shown)
def test_plain_data_comes_back(value: Any) -> None:
    assert same(crossed(value), value)


DTYPES = "? i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 >f4 >i2 c8 c16 S3 U2".split()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 4), (1, 2, 1, 2)])
def test_arrays_come_back(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.asarray(np.arange(math.prod(shape)).reshape(shape) % 2).astype(dtype)
    back = crossed(array)
    assert same(back, array) and back.flags.writeable


def test_the_order_of_memory_does_not_matter() -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    for view in (np.asfortranarray(array), array.T, array[:, ::2], array[::-1], np.broadcast_to(1.0, (3, 2))):
        back = crossed(view)
        assert np.array_equal(back, view) and back.shape == view.shape


@pytest.mark.parametrize(
    "number", [np.float32(1.5), np.int64(-3), np.bool_(True), np.complex64(1j), np.str_("x")]
)
def test_numpys_numbers_stay_numpys(number: np.generic) -> None:
    assert same(crossed(number), number)
    assert same(crossed([number] * 30), [number] * 30)


def test_what_is_more_than_plain_becomes_plain() -> None:
    Point = collections.namedtuple("Point", "x y")
    assert same(crossed(Point(1, 2)), (1, 2))
    assert same(crossed(collections.OrderedDict(a=1)), {"a": 1})
    assert same(crossed(collections.defaultdict(int, a=1)), {"a": 1})
    assert same(crossed(range(3, 9, 2)), np.array([3, 5, 7]))
    assert same(crossed([Text("a"), Number(3), Real(3.0), Colour.RED]), ["a", 3, 3.0, 1])
    row = array.array("d", [1, 2])
    for numbers in (row, collections.deque(row), memoryview(row)):
        assert same(crossed(numbers), np.array([1.0, 2.0]))
    assert same(crossed(bytearray(b"x")), bytearray(b"x"))
    assert crossed(frozenset("ab")) == {"a", "b"}
    assert same(crossed(np.ma.masked_array([1.0, 2.0], [True, False])), np.array([1.0, 2.0]))
    assert same(crossed(np.asarray([[1.0]]).view(np.recarray)), np.array([[1.0]]))


def test_a_subclass_that_overrides_everything_crosses_as_its_numbers() -> None:
    class Liar(np.ndarray):
        def __eq__(self, other: Any) -> Any:
            return True

        def __array__(self, *a: Any, **k: Any) -> Any:
            raise ValueError

        def __array_function__(self, *a: Any, **k: Any) -> Any:
            return True

        __array_ufunc__ = None
        __hash__ = None  # type: ignore[assignment]

    back = crossed(np.array([1.0, 2.0]).view(Liar))
    assert type(back) is np.ndarray and back.tolist() == [1.0, 2.0]


class Text(str):
    pass


class Number(int):
    pass


class Real(float):
    pass


class Colour(enum.IntEnum):
    RED = 1


OTHERS = [
    object(),
    len,
    int,
    iter([]),
    np.array([object()]),
    np.array([None, 1], object),
    np.datetime64("2026-01-01"),
    np.zeros(2, [("a", "f4")]),
    np.dtype("f4"),
    np,
    collections.deque("ab"),
    fractions.Fraction(1, 2),
]


@pytest.mark.parametrize("value", OTHERS, ids=shown)
def test_anything_else_stays_where_it_is(value: Any) -> None:
    stays: list[Any] = []
    tree = Encoder(lambda thing: stays.append(thing) or {"t": "handle", "n": 0}).encode([value])
    assert len(stays) == 1 and stays[0] is value and tree["v"] == [{"t": "handle", "n": 0}]


def test_nested_as_deep_as_allowed_and_no_deeper() -> None:
    value: Any = 1
    for _ in range(DEPTH):
        value = [value]
    assert crossed(value) == value
    with pytest.raises(ValueError, match="nested more than 40 deep"):
        Encoder(nothing_else).encode([value])


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_what_holds_itself_is_one_clear_error(kind: str) -> None:
    value: Any = [] if kind == "list" else {}
    value.append(value) if kind == "list" else value.update(me=value)
    with pytest.raises(ValueError, match="or holds itself"):
        Encoder(nothing_else, track=True).encode(value)


def test_an_enormous_integer_is_one_clear_error() -> None:
    with pytest.raises(ValueError, match="4,096 bits"):
        Encoder(nothing_else).encode(1 << 5000)


# TensorFlow


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool", "complex64", "string"])
def test_tensors_and_variables_keep_their_kind(dtype: str) -> None:
    tf = pytest.importorskip("tensorflow")
    content = [b"a", b"bc"] if dtype == "string" else [0, 1]
    tensor = tf.constant(content) if dtype == "string" else tf.cast(content, dtype)
    back = crossed(tensor)
    assert isinstance(back, tf.Tensor) and not isinstance(back, tf.Variable)
    assert back.dtype == tensor.dtype and back.numpy().tolist() == tensor.numpy().tolist()
    if dtype != "string":
        variable = crossed(tf.Variable(tensor))
        assert isinstance(variable, tf.Variable) and variable.dtype == tensor.dtype
        variable.assign(tensor)


def test_half_precision_keras_and_ragged() -> None:
    tf, keras = pytest.importorskip("tensorflow"), pytest.importorskip("keras")
    assert crossed(tf.constant([1.5], tf.bfloat16)).dtype == tf.float32
    back = crossed({"w": [keras.Variable([1.0, 2.0])]})["w"][0]
    assert isinstance(back, tf.Variable) and back.numpy().tolist() == [1.0, 2.0]
    for odd in (tf.ragged.constant([[1], [2, 3]]), tf.sparse.from_dense([[0, 1]])):
        with pytest.raises(WireError, match="other"):
            crossed(odd)


# Changes of mutable arguments


def test_the_same_object_is_the_same_on_the_other_side() -> None:
    W = np.ones(2)
    encoder = Encoder(nothing_else, track=True)
    tree = encoder.encode([W, W, {"w": W}])
    a, b, c = Decoder(encoder.blobs, nothing_else).decode(tree)
    assert a is b is c["w"] and len(encoder.mutable) == 3 and encoder.mutable[0] is W
    known = dict(enumerate(encoder.mutable))
    reply = Encoder(nothing_else, known=known)
    tree = reply.encode((W, [W]))
    assert reply.blobs == []  # no content crosses
    back = Decoder([], nothing_else, known).decode(tree)
    assert back[0] is W and back[1][0] is W
    assert "same" not in str(reply.content(W)) and len(reply.blobs) == 1


def test_changes_are_applied_in_place() -> None:
    array, row, table = np.zeros(3), [1, 2], {"a": 1}
    view = np.zeros((2, 3))
    for old, new in [(array, np.ones(3)), (view[0], np.ones(3)), (row, [3]), (table, {"b": 2})]:
        wire.apply_change(old, new)
    assert array.tolist() == [1, 1, 1] and view.tolist() == [[1, 1, 1], [0, 0, 0]]
    assert row == [3] and table == {"b": 2}


@pytest.mark.parametrize("new", [np.ones(4), np.ones(3, np.int32), [1, 2, 3], None, "x", {"a": 1}])
def test_a_change_into_something_else_changes_nothing(new: Any) -> None:
    array = np.zeros(3)
    try:
        wire.apply_change(array, new)
    except Exception as error:  # T goes on with the old value
        assert not isinstance(error, KeyboardInterrupt)
    assert array.tolist() == [0, 0, 0]


def test_a_read_only_array_is_never_changed() -> None:
    array = np.zeros(3)
    array.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        wire.apply_change(array, np.ones(3))
    assert array.tolist() == [0, 0, 0]


# Refused values


def header(text: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    line = text.encode("latin1")
    line += b" " * (-(len(line) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(line)) + line + data


def shaped(shape: Any, descr: str = "'<f8'", data: bytes = b"", order: Any = False) -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}", data)


BAD_ARRAYS = {
    "empty": b"",
    "garbage": os.urandom(300),
    "only the magic": b"\x93NUMPY\x01\x00",
    "version 2": header("{'descr': '<f8', 'fortran_order': False, 'shape': (0,), }", version=b"\x02\x00"),
    "pickle": wire.npy(np.zeros(1)).replace(b"<f8", b"|O ")[:200] + b"cos\nsystem\n(S'true'\ntR.",
    "object": shaped((1,), "'|O'", b"\0" * 8),
    "void": shaped((1,), "'|V8'", b"\0" * 8),
    "fields": shaped((1,), "[('a', '<f8')]", b"\0" * 8),
    "subarray": shaped((1,), "('<f8', (2,))", b"\0" * 16),
    "date": shaped((1,), "'<M8[s]'", b"\0" * 8),
    "no width": shaped((9,), "'|S0'"),
    "too short": shaped((3,), data=b"\0" * 23),
    "too long": shaped((3,), data=b"\0" * 25),
    "huge": shaped((2**62,)),
    "huge product": shaped((2**40, 2**40)),
    "overflow to 0": shaped((2**32, 2**32, 2**3)),
    "rows of nothing": shaped((2**40, 0)),
    "impossible rows of nothing": shaped((2**62, 2**62, 0)),
    "wide empty strings": shaped((0,), "'<U500000000'"),
    "negative": shaped((-1,)),
    "two negatives": shaped((-1, -1), data=b"\0" * 8),
    "true": shaped((True,), data=b"\0" * 8),
    "float": shaped((1.0,), data=b"\0" * 8),
    "no tuple": shaped(3, data=b"\0" * 24),
    "many axes": shaped((1,) * 40, data=b"\0" * 8),
    "order": shaped((1,), data=b"\0" * 8, order="'no'"),
    "expression": header("__import__('os').system('true')"),
    "deep header": header("(" * 500 + ")" * 500),
    "long header": header(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1,)," + " " * 5000 + "}", b"\0" * 8
    ),
}


@pytest.mark.parametrize("data", BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_malformed_arrays_are_refused(data: bytes) -> None:
    before = time.process_time()
    for tree in ({"t": "array", "k": "numpy", "b": 0}, {"t": "scalars", "b": 0}, {"t": "numbers", "b": 0}):
        with pytest.raises(WireError) as caught:
            Decoder([data], nothing_else).decode(tree)
        assert 0 < len(str(caught.value)) < 200 and "\n" not in str(caught.value)
    assert time.process_time() - before < 1


ONE, ROW = wire.npy(np.zeros(())), wire.npy(np.zeros(3))
BAD_TREES: dict[str, Any] = {
    "a list": [1],
    "no tag": {},
    "number as tag": {"t": 3},
    "unknown tag": {"t": "pickle", "b": 0},
    "list as tag": {"t": []},
    "array without blob": {"t": "array", "k": "numpy"},
    "blob that is not there": {"t": "array", "k": "numpy", "b": 7},
    "blob before the first": {"t": "array", "k": "numpy", "b": -1},
    "blob by a word": {"t": "bytes", "b": "0"},
    "blob by true": {"t": "bytes", "b": True},
    "unknown kind": {"t": "array", "k": "matrix", "b": 0},
    "a scalar with a shape": {"t": "array", "k": "scalar", "b": 1},
    "scalars without an axis": {"t": "scalars", "b": 0},
    "numbers without an axis": {"t": "numbers", "b": 0},
    "a word as a list": {"t": "list", "v": "abc"},
    "a number as a list": {"t": "tuple", "v": 5},
    "a list without items": {"t": "list"},
    "a set of lists": {"t": "set", "v": [{"t": "list", "v": []}]},
    "a dict of a list": {"t": "dict", "v": [[{"t": "list", "v": []}, 1]]},
    "a dict of three": {"t": "dict", "v": [[1, 2, 3]]},
    "a dict of words": {"t": "dict", "v": ["abc"]},
    "a dict as dict": {"t": "dict", "v": {"a": 1}},
    "no integer": {"t": "int", "v": "zz"},
    "an integer of nothing": {"t": "int", "v": None},
    "no float": {"t": "float", "v": "1.5"},
    "a float that is a list": {"t": "float", "v": []},
    "half a complex number": {"t": "complex", "v": ["1"]},
    "a complex number of words": {"t": "complex", "v": ["a", "b"]},
    "an argument that was not sent": {"t": "same", "m": 3},
    "an argument by true": {"t": "same", "m": True},
    "an argument by a list": {"t": "same", "m": []},
    "a text tensor of complex names": {"t": "array", "k": "tensor", "b": 2},
}


@pytest.mark.parametrize("tree", BAD_TREES.values(), ids=BAD_TREES)
def test_malformed_values_are_refused(tree: Any) -> None:
    if "tensor" in str(tree):
        pytest.importorskip("tensorflow")
    blobs = [ONE, ROW, wire.npy(np.zeros(2, np.longdouble))]
    for value in (tree, {"t": "list", "v": [1, tree]}, {"t": "dict", "v": [["a", tree]]}):
        with pytest.raises(WireError) as caught:
            Decoder(blobs, nothing_else, {0: "known"}).decode(value)
        assert 0 < len(str(caught.value)) < 200


def test_values_nested_too_deep_are_refused() -> None:
    tree: Any = 1
    for _ in range(900):
        tree = {"t": "list", "v": [tree]}
    with pytest.raises(WireError, match="nested too deep"):
        Decoder([], nothing_else).decode(tree)


# Refused frames


def frame(
    text: bytes = b"{}", size: int | None = None, count: int = 0, sizes: bytes = b"", magic: bytes = MAGIC
) -> bytes:
    return HEAD.pack(magic, len(text) if size is None else size, count) + sizes + text


BAD_FRAMES = {
    "zeros": (bytes(100), "no message of ours"),
    "http": (b"GET / HTTP/1.1\r\n\r\n", "no message of ours"),
    "other magic": (frame(magic=b"LGM0"), "no message of ours"),
    "4 GB of text": (frame(size=2**32 - 1), "bytes of text in one answer, at most"),
    "just too much text": (frame(size=TEXT_LIMIT + 1), "bytes of text in one answer, at most"),
    "4 billion arrays": (frame(count=2**32 - 1), "arrays in one answer, at most"),
    "just too many arrays": (frame(count=BLOB_COUNT + 1), "arrays in one answer, at most"),
    "16 exabytes": (frame(count=1, sizes=SIZE.pack(2**64 - 1)), "bytes of arrays in one answer, at most"),
    "sizes that overflow": (
        frame(count=2, sizes=SIZE.pack(2**63) * 2),
        "bytes of arrays in one answer, at most",
    ),
    "just too large": (frame(count=2, sizes=SIZE.pack(500_000) + SIZE.pack(500_001)), "at most 1,000,000"),
    "no json": (frame(b"{]"), "not JSON"),
    "no text": (frame(b"\xff\xfe\x00"), "not JSON"),
    "nothing": (frame(b""), "not JSON"),
    "deep": (frame(b"[" * 200_000), "not JSON"),
    "a number without an end": (frame(b"9" * 100_000), "not JSON"),
}


@pytest.mark.parametrize(("data", "words"), BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_malformed_frames_are_refused(pair: Pair, data: bytes, words: str) -> None:
    sender = threading.Thread(target=pair[0].sock.sendall, args=(data,), daemon=True)
    sender.start()
    before = time.monotonic()
    with pytest.raises(WireError, match=words):
        pair[1].receive(timeout=60)
    assert time.monotonic() - before < 30


@pytest.mark.parametrize(
    "size", [0, 1, HEAD.size - 1, HEAD.size, HEAD.size + 3, HEAD.size + SIZE.size + 1, -1]
)
def test_a_frame_that_breaks_off(pair: Pair, size: int) -> None:
    data = frame(b'{"a": 1}', count=1, sizes=SIZE.pack(5)) + b"12345"
    pair[0].sock.sendall(data[:size])
    before = time.monotonic()
    with pytest.raises(TimeoutError):
        pair[1].receive(timeout=0.05)
    assert time.monotonic() - before < 15
    pair[0].close()
    with pytest.raises(Closed):
        pair[1].receive(timeout=60)


def test_a_slow_drip_does_not_extend_the_time(pair: Pair) -> None:
    stop = threading.Event()

    def drip() -> None:
        for byte in frame(b" " * 1000):
            if stop.wait(0.02):
                return
            pair[0].sock.sendall(bytes([byte]))

    thread = threading.Thread(target=drip)
    thread.start()
    before = time.monotonic()
    with pytest.raises(TimeoutError):
        pair[1].receive(timeout=0.3)
    assert time.monotonic() - before < 15
    stop.set()
    thread.join()


def test_nobody_reads(pair: Pair) -> None:
    before = time.monotonic()
    with pytest.raises(TimeoutError):
        pair[0].send({}, [bytes(10**7)] * 3, timeout=0.2)
    assert time.monotonic() - before < 15


def test_a_slow_reader_does_not_extend_the_time(pair: Pair) -> None:
    """Each array is read before its own time would be over, the whole is not."""
    stop = threading.Event()

    def read() -> None:
        while not stop.wait(0.01):
            pair[1].sock.recv(100_000)

    thread = threading.Thread(target=read)
    thread.start()
    before = time.monotonic()
    with pytest.raises(TimeoutError):
        pair[0].send({}, [bytes(10**6)] * 300, timeout=0.5)
    assert time.monotonic() - before < 15
    stop.set()
    pair[0].close()
    thread.join()


def test_nobody_is_there(pair: Pair) -> None:
    pair[1].close()
    with pytest.raises(Closed):
        pair[0].send({}, [bytes(10**7)], timeout=60)
    with pytest.raises(Closed):
        pair[0].receive(timeout=60)


def test_what_the_other_side_would_refuse_is_not_sent(pair: Pair) -> None:
    for tree, blobs in [("x" * TEXT_LIMIT, []), ({}, [b""] * (BLOB_COUNT + 1))]:
        with pytest.raises(ValueError, match="use arrays for large lists"):
            pair[0].send(tree, blobs)
    pair[0].send({"still": "in order"})
    assert pair[1].receive(timeout=60) == ({"still": "in order"}, [])


def test_an_answer_that_nobody_asked_for_is_seen(pair: Pair) -> None:
    assert not pair[1].pending()
    pair[0].send({})
    time.sleep(0.01)
    assert pair[1].pending()
    pair[1].receive(timeout=60)
    assert not pair[1].pending()
    pair[0].close()
    assert not pair[1].pending()


# Sizes


def test_what_is_mentioned_twice_counts_twice() -> None:
    row = list(range(1000))
    W = np.zeros(1000)
    assert weigh([row] * 10, 10**6) == 10**6 - 8 * 10 * 1001
    assert weigh({"a": W, 1: (W, "text")}, 10**6) == 10**6 - 16_000 - 6 * 8 - 5
    before = time.process_time()
    for value in ([row] * 10**6, [W] * 10**6, explosive(), itself()):
        with pytest.raises(TooLarge):
            weigh(value, 10**6)
    assert time.process_time() - before < 2


def explosive() -> list[Any]:
    """2^60 items in the memory of 60."""
    value: list[Any] = []
    for _ in range(60):
        value = [value, value]
    return value


def itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def test_long_lists_are_refused_before_they_are_made() -> None:
    flags = wire.npy(np.zeros(10**6, bool))
    table = wire.npy(np.zeros((10**6, 1), bool))
    for kind, data in [("numbers", flags), ("numbers", table), ("scalars", flags)]:
        with pytest.raises(TooLarge):
            Decoder([data], nothing_else, limit=4 * 10**6).decode({"t": kind, "b": 0})


def test_a_table_keeps_the_rows_that_the_other_side_knows() -> None:
    row = [1, 2]
    assert Encoder(nothing_else, known={0: row}).encode([row] * 20)["v"] == [{"t": "same", "m": 0}] * 20
    assert Encoder(nothing_else).encode([row] * 20) == {"t": "numbers", "b": 0}


def test_the_encoder_stops_at_its_limit() -> None:
    row = [0.5] * 1000
    for value in ([row] * 1000, "x" * 10**6, np.zeros(10**5), range(10**9), explosive()[0]):
        with pytest.raises((TooLarge, ValueError)):
            Encoder(nothing_else, limit=10**5).encode(value)
    encoder = Encoder(nothing_else, limit=10**5)
    mark = encoder.mark()
    with pytest.raises(TooLarge):
        encoder.encode([np.zeros(10**4), np.zeros(10**4)])
    encoder.reset(mark)
    assert encoder.encode(np.zeros(10**4)) == {"t": "array", "k": "numpy", "b": 0}


def test_the_values_of_an_answer_count_together() -> None:
    encoder = Encoder(nothing_else)
    trees = [encoder.encode(np.zeros(1000)) for _ in range(3)]
    decoder = Decoder(encoder.blobs, nothing_else, limit=20_000)
    decoder.decode(trees[0]), decoder.decode(trees[1])
    with pytest.raises(TooLarge):
        decoder.decode(trees[2])
    with pytest.raises(WireError, match="an array twice"):
        decoder.decode(trees[0])


def test_random_bytes_are_one_error_each_and_never_hang() -> None:
    """Damage to a right message: it arrives, or one of the three errors is raised, within its time."""
    encoder = Encoder(nothing_else)
    tree = encoder.encode({"value": [np.arange(5.0), (1, 2.5, "x"), {"k": b"123"}]})
    a, b = socket.socketpair()
    Channel(a).send({"value": tree}, encoder.blobs)
    whole = b.recv(10**6)
    a.close()
    b.close()
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(len(data), size=rng.integers(1, 4)):
            data[at] = rng.integers(256)
        a, b = socket.socketpair()
        a.sendall(data[: rng.integers(len(data) // 2, len(data) + 1)])
        a.close()
        try:
            answer, blobs = Channel(b, limit=10**6).receive(timeout=60)
            Decoder(blobs, nothing_else).decode(answer["value"] if isinstance(answer, dict) else answer)
        except (WireError, Closed, KeyError) as error:
            assert not isinstance(error, KeyError) or error.args == ("value",)
        finally:
            b.close()


def test_neither_pickle_nor_dill_is_in_use() -> None:
    for module in ("wire", "trusted", "student"):
        path = sys.modules["grading.execution.wire"].__file__
        assert path is not None
        with open(path.replace("wire.py", f"{module}.py")) as file:
            text = file.read()
        assert "import pickle" not in text and "import dill" not in text and "allow_pickle=True" not in text
