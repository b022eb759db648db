"""Bytes and trees that nobody has thought of: the wire gives a value within its limits, or one of its errors.

A few seconds in `make test`. Longer, with other examples each time:
LGM_FUZZ=1000000 python -m pytest -q tests/grading/execution/test_wire_fuzz.py
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import threading
import time
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grading.execution import trusted
from grading.execution.lifeline import StudentUse
from grading.execution.wire import HEAD, MAGIC, SIZE, Channel, Closed, Decoder, Encoder, WireError, npy, weigh
from grading.model import Assignment, CleanCell, Job, Limits, TrustedCell, to_data

LONG, EXAMPLES = "LGM_FUZZ" in os.environ, int(os.environ.get("LGM_FUZZ", "400"))
LIMIT = 10**5  # bytes of a message, and of a value
SECONDS = 2.0  # for one of them, at most, of processor time
fuzz = settings(
    max_examples=EXAMPLES,
    derandomize=not LONG,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def handle(tree: dict[str, Any]) -> Any:
    if tree.get("t") != "handle":
        raise WireError("unknown")
    return object()


def taken(data: bytes) -> None:
    """Receive and decode what somebody sends who then hangs up."""
    start, before = time.process_time(), peak()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.close()
        try:
            tree, blobs = Channel(ours, limit=LIMIT).receive(timeout=60)
            decoded(tree, blobs)
        except (WireError, Closed) as error:
            assert len(str(error)) < 300 and str(error).isprintable()
    assert time.process_time() - start < SECONDS and peak() - before < 30


class FakeStudent:
    """A lifeline whose S gives to each kind of request the answer that it was told."""

    def __init__(self, answers: dict[str, Any], blobs: list[bytes]) -> None:
        self.answers, self.blobs = answers, blobs
        self.sock: socket.socket | None = None

    def start_student(self) -> socket.socket:
        self.stop_student()
        ours, self.sock = socket.socketpair()
        threading.Thread(target=self.serve, args=(Channel(self.sock),), daemon=True).start()
        return ours

    def serve(self, channel: Channel) -> None:
        with contextlib.suppress(Closed, OSError, ValueError):
            channel.send({"ready": True})
            while True:
                request, _ = channel.receive()
                channel.send({"id": request["id"], **self.answers.get(request["op"], {})}, self.blobs)

    def used(self) -> float:
        return 0.0

    def allow(self, until: float) -> None:
        pass

    def stop_student(self) -> StudentUse:
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
            self.sock.close()
        return StudentUse()


def peak() -> float:
    """Most memory that this process has had so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def decoded(tree: Any, blobs: list[bytes]) -> None:
    """Decode a tree and what hangs on it, as T does."""
    row: list[Any] = [0] * 1000
    decoder = Decoder(blobs, handle, {0: row, 1: np.zeros(100)}, limit=LIMIT)
    parts = tree.values() if isinstance(tree, dict) and "t" not in tree else [tree]
    values = []
    for part in parts:
        try:
            values.append(decoder.decode(part))
        except WireError as error:
            assert len(str(error)) < 300
    weigh(values, LIMIT + 8 * len(values))  # all together are within the limit, too


def example() -> bytes:
    encoder = Encoder(lambda value: {"t": "handle", "n": 0, "call": True, "of": "f"}, track=True)
    row = [1.5] * 20
    value = {"value": [np.arange(5.0), np.float32(1), row, row, {"k": b"123", (1, 2): {3, 4}}], "x": len}
    tree = {name: encoder.encode(part) for name, part in value.items()} | {"id": "0", "outputs": []}
    ours, theirs = socket.socketpair()
    with ours, theirs:
        Channel(ours).send(tree, encoder.blobs)
        return theirs.recv(10**6)


WHOLE = example()
places = st.integers(0, len(WHOLE))
changes = st.lists(st.tuples(places, st.integers(0, 20), st.binary(max_size=20)), min_size=1, max_size=5)


@fuzz
@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    taken(data)
    taken(MAGIC + data)


@fuzz
@given(changes, places)
def test_a_message_with_parts_replaced(changes: list[tuple[int, int, bytes]], end: int) -> None:
    data = bytearray(WHOLE)
    for at, length, new in changes:
        data[at : at + length] = new
    taken(bytes(data))
    taken(bytes(data[:end]))


KINDS = "int float complex bytes bytearray same array tuple set list scalars numbers dict handle x".split()
small = st.none() | st.booleans() | st.integers(-2, 9) | st.integers() | st.floats() | st.text(max_size=8)
DTYPES = "'<f8' '|b1' '<U3' '|S0' '|O' '<M8[s]' [('a','<f8')] '<c16' '>i2'".split()
headers = st.builds(
    "{{'descr': {}, 'fortran_order': {}, 'shape': {}, }}".format,
    st.sampled_from(DTYPES),
    st.sampled_from(["False", "True", "0"]),
    st.lists(st.integers(-2, 2**70) | st.integers(0, 4), max_size=4).map(tuple),
)


@st.composite
def arrays(draw: st.DrawFn) -> bytes:
    """npy data, right or wrong."""
    if draw(st.booleans()):
        return npy(np.zeros(draw(st.integers(0, 300)), draw(st.sampled_from(["f8", "i4", "?", "U2", "c8"]))))
    text = draw(headers).encode()
    head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little")
    return head + text + bytes(draw(st.sampled_from([0, 8, 16, 24, 100])))


def trees(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    parts = st.lists(children, max_size=6) | st.lists(st.lists(children, min_size=2, max_size=2), max_size=4)
    number, kind = st.integers(-1, 4), st.sampled_from(["numpy", "scalar", ""])
    options = {"v": parts | children, "b": number, "m": number, "k": kind}
    return st.fixed_dictionaries({"t": st.sampled_from(KINDS)}, optional=options) | children


@fuzz
@given(st.recursive(small, trees, max_leaves=40), st.lists(arrays(), max_size=4))
def test_trees_of_all_kinds(tree: Any, blobs: list[bytes]) -> None:
    start = time.process_time()
    decoded(tree, blobs)
    text = json.dumps({"value": tree}).encode()
    sizes = b"".join(SIZE.pack(len(blob)) for blob in blobs)
    taken(HEAD.pack(MAGIC, len(text), len(blobs)) + sizes + text + b"".join(blobs))
    assert time.process_time() - start < SECONDS


tree = st.recursive(small, trees, max_leaves=15)
error = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["ValueError", "TimeLimit", "TooLarge", "NameError"]) | tree,
        "kinds": st.lists(
            st.sampled_from(["ValueError", "SystemExit", "eval", "Exception"]) | tree, max_size=3
        ),
        "message": tree,
        "traceback": tree,
    },
)
answers = st.fixed_dictionaries(
    {},
    optional={
        "value": tree,
        "error": st.none() | error | tree,
        "changed": st.lists(st.tuples(st.integers(-1, 3), tree) | tree, max_size=4) | tree,
        "outputs": st.lists(
            st.fixed_dictionaries(
                {"output_type": st.sampled_from(["stream", "error", "display_data"]) | tree},
                optional=dict.fromkeys(("text", "data", "traceback", "ename", "name"), tree),
            )
            | tree
        )
        | tree,
        "values": st.dictionaries(st.just("f"), tree) | tree,
    },
)
CELLS = (
    TrustedCell("given", "given", "def later(x):\n    return name_of_nobody"),
    TrustedCell("f", "solution", "", gap="f", defines=("f",)),
    TrustedCell("test", "test", "w = [1, [2]]\nassert f(w, {0: w}).up == 5 or w == 3", points=1.0, gap="f"),
)
CLEAN = (
    CleanCell("given", "given", ""),
    CleanCell("f", "solution", "", gap="f"),
    CleanCell("test", "test", "", gap="f", points=1.0),
)
PROXY = {"values": {"f": {"t": "handle", "n": 0, "call": True, "of": "function"}}}


@settings(fuzz, max_examples=EXAMPLES // 4)  # a whole submission each
@given(answers, answers, answers, st.lists(arrays(), max_size=3))
def test_answers_of_all_kinds(run_answer: Any, call: Any, get: Any, blobs: list[bytes]) -> None:
    """Whatever S answers, the submission is graded, and what is kept fits into files."""
    start = time.process_time()
    lifeline = FakeStudent({"run": run_answer, "names": PROXY | run_answer, "call": call, "get": get}, blobs)
    job = Job("p", Assignment("week00_none", CELLS), (CLEAN,), 1, Limits(message=LIMIT))
    outcome = trusted.run(job, 0, lifeline)
    assert outcome.failure == "" and len(outcome.gaps) == 1
    json.dumps(to_data(outcome)).encode("ascii")
    str(outcome).encode("utf-8")
    assert time.process_time() - start < SECONDS
