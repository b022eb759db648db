"""Attacks from S's side of the connection to T: forged, malformed and endless messages, patched libraries (5)."""

from __future__ import annotations

from collections.abc import Callable

from tests.grading.execution.attacks.book import (
    ALL,
    CATALOGUE,
    LOOP,
    NONE,
    Attack,
    Book,
    Exercise,
    attack,
    clean,
)

#: For a cell in S: the grader's half of this process, by its objects; `forge(bytes)` writes to T, `number()` is the
#: id of the request that is being answered.
INSIDE = """
import gc, json, os, socket, struct, sys, time

server = next(thing for thing in gc.get_objects() if type(thing).__name__ == "Server" and hasattr(thing, "channel"))

def number():
    frame = sys._getframe()
    while frame is not None:
        if isinstance(frame.f_locals.get("request"), dict) and "id" in frame.f_locals["request"]:
            return frame.f_locals["request"]["id"]
        frame = frame.f_back

def frame(tree, *blobs, magic=b"LGM1", size=None, count=None, sizes=None):
    text = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    head = struct.pack(">4sII", magic, len(text) if size is None else size, len(blobs) if count is None else count)
    sizes = [len(blob) for blob in blobs] if sizes is None else sizes
    return head + b"".join(struct.pack(">Q", n) for n in sizes) + text + b"".join(blobs)

def reply(**parts):
    return {"id": number(), "value": 0.0, "changed": [], "outputs": []} | parts

def npy(header, data=b""):
    text = header.encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\\n"
    return b"\\x93NUMPY\\x01\\x00" + struct.pack("<H", len(text)) + text + data

def array(header, data=b"", kind="numpy"):
    return frame(reply(value={"t": "array", "k": kind, "b": 0}), npy(header, data))

def forge(data):
    server.channel.sock.settimeout(2)
    server.channel.sock.sendall(data)

def instead(data):
    # in place of the answer to this request
    server.channel.send = lambda *a, **k: server.channel.__dict__.pop("send")
    forge(data)
"""

#: What T gets instead of an answer; Python expressions with the helpers above.
MALFORMED = {
    # the frame
    "other_magic": "frame(reply(), magic=b'HTTP')",
    "text_of_4_gb": "frame(reply(), size=2**32 - 1)",
    "array_of_16_exabytes": "frame(reply(), count=1, sizes=[2**64 - 1])",
    "half_a_frame_and_the_end": "frame(reply())[:20]",
    "two_answers": "frame(reply()) * 2",
    "thousand_answers": "frame(reply()) * 1000",
    # the text
    "not_json": "frame(b'{]')",
    "null": "frame(None)",
    "lists_in_lists": "frame(b'[' * 100_000)",
    "lists_in_an_answer": "frame(json.dumps(reply()).replace('0.0', '[' * 900 + ']' * 900).encode())",
    "a_long_number": "frame(json.dumps(reply()).replace('0.0', '9' * 100_000).encode())",
    "not_a_number": "frame(reply(value=float('nan')))",
    "a_number_beyond_all": "frame(json.dumps(reply()).replace('0.0', '1e999999').encode())",
    # the answer
    "empty_answer": "frame({})",
    "no_value": "frame({'id': number()})",
    "other_id": "frame(reply(id='0' * 16))",
    "changes_of_what_was_not_sent": "frame(reply(changed=[[999, 0.0]]))",
    "negative_change": "frame(reply(changed=[[-1, 0.0]]))",
    "change_to_another_type": "frame(reply(changed=[[0, {'t': 'dict', 'v': []}], [0, 'x'], [0, None]]))",
    "change_to_an_object": "frame(reply(changed=[[0, {'t': 'handle', 'n': 0, 'call': True, 'of': 'x'}]]))",
    # errors
    "error_that_is_none": "frame(reply(error=5))",
    "error_that_leaves": "frame(reply(error={'type': 'SystemExit', 'kinds': ['SystemExit'], 'message': '0'}))",
    "error_interrupt": "frame(reply(error={'type': 'x', 'kinds': ['KeyboardInterrupt', 'GeneratorExit', 'BaseException']}))",
    "error_import": "frame(reply(error={'type': 'x', 'kinds': ['__import__', 'eval', 'exec', 'open', 'print']}))",
    "error_of_the_grader": "frame(reply(error={'type': 'AuthorError', 'kinds': ['AuthorError', 'StudentEnded']}))",
    # values
    "unknown_value": "frame(reply(value={'t': 'pickle', 'v': 'x'}))",
    "value_without_kind": "frame(reply(value={}))",
    "function_for_the_grader": (
        "frame(reply(value={'t': 'function', 'name': 'f', 'source': 'import os\\nos.system(\"touch /tmp/lgm-hostile-f\")',"
        " 'modules': {'os': 'os'}, 'values': {}, 'blobs': []}))"
    ),
    "name_for_the_grader": "frame(reply(value={'t': 'name', 'name': '__import__'}))",
    "handle_minus_one": "frame(reply(value={'t': 'handle', 'n': -1, 'call': True, 'of': 'x'}))",
    "handle_beyond": "frame(reply(value={'t': 'handle', 'n': 10**400, 'call': 1, 'of': 'x' * 1_000_000}))",
    "dict_with_a_list_for_a_key": "frame(reply(value={'t': 'dict', 'v': [[{'t': 'list', 'v': []}, 1]]}))",
    "colliding_tuples": (
        "frame(reply(value={'t': 'set', 'v': [{'t': 'tuple', 'v': [-1 - (i >> j & 1) for j in range(16)]} "
        "for i in range(2**16)]}))"
    ),
    "one_argument_many_times": "frame(reply(value={'t': 'list', 'v': [{'t': 'same', 'm': 0}] * 300_000}))",
    "one_change_many_times": (
        "frame(reply(changed=[[0, {'t': 'array', 'k': 'numpy', 'b': 0}]] * 100_000),"
        " npy(\"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000,)}\", bytes(8_000_000)))"
    ),
    "handles_by_the_thousand": (
        "frame(reply(value={'t': 'list', 'v': [{'t': 'handle', 'n': i, 'of': str(i)} for i in range(150_000)]}))"
    ),
    "integer_that_is_none": "frame(reply(value={'t': 'int', 'v': '__import__'}))",
    "mutable_numbers": "frame(reply(value={'t': 'list', 'm': 10**30, 'v': [{'t': 'list', 'm': -1, 'v': []}]}))",
    # arrays
    "array_that_is_not_there": "frame(reply(value={'t': 'array', 'k': 'numpy', 'b': 0}))",
    "array_of_unknown_kind": "array(\"{'descr': '<f8', 'fortran_order': False, 'shape': ()}\", bytes(8), 'evil')",
    "scalar_with_a_shape": "array(\"{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}\", bytes(16), 'scalar')",
    "pickle_in_an_array": (
        "array(\"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\","
        " b'cos\\nsystem\\n(S\"touch /tmp/lgm-hostile-pickle\"\\ntR.')"
    ),
    "code_in_a_header": "array(\"__import__('os').system('touch /tmp/lgm-hostile-header')\")",
    "brackets_in_a_header": "array('(' * 1900)",
    "long_header": "array(\"{'descr': '<f8', 'fortran_order': False, 'shape': (\" + '1,' * 15_000 + ')}', bytes(8))",
    "shape_of_terabytes": "array(\"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}\", bytes(8))",
    "shape_of_nothing": "array(\"{'descr': '<f8', 'fortran_order': False, 'shape': (0, 99999999999999999999)}\")",
    "many_axes": "array(\"{'descr': '<f8', 'fortran_order': False, 'shape': (\" + '1,' * 64 + ')}', bytes(8))",
    "records": "array(\"{'descr': [('a', '<f8'), ('b', '|O')], 'fortran_order': False, 'shape': (1,)}\", bytes(16))",
    "void": "array(\"{'descr': '|V0', 'fortran_order': False, 'shape': (1000,)}\")",
    "long_doubles_as_tensor": "array(\"{'descr': '<f16', 'fortran_order': False, 'shape': (1,)}\", bytes(16), 'tensor')",
    "text_beyond_unicode": "array(\"{'descr': '<U1', 'fortran_order': False, 'shape': (1,)}\", b'\\xff' * 4)",
    "one_array_many_times": (
        "frame(reply(value={'t': 'list', 'v': [{'t': 'array', 'k': 'numpy', 'b': 0}] * 20_000}),"
        " npy(\"{'descr': '<f8', 'fortran_order': False, 'shape': (12500,)}\", bytes(100_000)))"
    ),
    # outputs
    "outputs_that_are_none": "frame(reply(outputs=5))",
    "streams_of_dicts": "frame(reply(outputs=[{'output_type': 'stream', 'name': 5, 'text': {'a': [1]}}]))",
    "displays_of_dicts": (
        "frame(reply(outputs=[{'output_type': 'display_data', 'metadata': {'x': 1}, 'data': {'text/html': 5,"
        " 'application/json': {'a': [None]}, '../../x': '<script>alert(1)</script>'}}]))"
    ),
    "outputs_by_the_thousand": "frame(reply(outputs=[{'output_type': 'stream', 'text': 'x'}] * 50_000))",
    "outputs_of_megabytes": "frame(reply(outputs=[{'output_type': 'stream', 'text': 'x' * 7_000_000}]))",
    "lists_in_outputs": (
        "frame(json.dumps(reply(outputs=[{'output_type': 'stream', 'text': 0}])).replace('0}', '[' * 900 + ']' * 900 + '}').encode())"
    ),
}


def _malformed(name: str, expression: str) -> Callable[[Exercise], Book]:
    def make(e: Exercise) -> Book:
        send = "forge" if name.endswith("answers") or "half" in name else "instead"
        source = f"{INSIDE}\ndef log_sum_exp(x):\n    {send}({expression})\n    return x.max(axis=1)\n"
        return e.solved().answer("log_sum_exp", source)

    return make


for name, expression in MALFORMED.items():
    CATALOGUE.add(
        Attack(
            5,
            f"forged_{name}",
            f"An answer to the first test is forged ({name.replace('_', ' ')}); the other gaps are right.",
            _malformed(name, expression),
            ALL,
            ("log_sum_exp",),
        )
    )


@attack(5, ALL, "log_sum_exp", limits=LOOP, ends=("time",))
def drop_by_drop(e: Exercise) -> Book:
    """An answer that comes in bytes, one in a while, and never ends."""
    return e.solved().answer(
        "log_sum_exp",
        INSIDE
        + clean(
            """
            import signal

            def log_sum_exp(x):
                signal.setitimer(signal.ITIMER_REAL, 0)
                for byte in frame(reply(value="x" * 10_000)):
                    forge(bytes([byte]))
                    time.sleep(0.05)
            """
        ),
    )


@attack(5, ALL, "log_sum_exp")
def hang_up(e: Exercise) -> Book:
    """The connection is shut down while the process lives on."""
    return e.solved().answer(
        "log_sum_exp",
        INSIDE
        + clean(
            """
            def log_sum_exp(x):
                server.channel.sock.shutdown(socket.SHUT_RDWR)
                server.channel.sock.close()
                while True:
                    time.sleep(1)
            """
        ),
    )


@attack(5, ALL, "log_sum_exp")
def hang_up_half(e: Exercise) -> Book:
    """One direction of the connection is shut down: T's requests are read, no answer comes."""
    return e.solved().answer(
        "log_sum_exp",
        INSIDE
        + "\ndef log_sum_exp(x):\n    server.channel.sock.shutdown(socket.SHUT_WR)\n    time.sleep(3600)\n",
    )


@attack(5, NONE)
def answers_before_questions(e: Exercise) -> Book:
    """Answers to questions that have not been asked lie ready in the connection, on every socket that is open."""
    return e.unsolved().first(
        INSIDE
        + clean(
            """
            import stat
            for fd in range(3, 256):
                try:
                    if stat.S_ISSOCK(os.fstat(fd).st_mode):
                        sock = socket.socket(fileno=os.dup(fd))
                        sock.settimeout(0.2)
                        for turn in range(100):
                            sock.sendall(frame({"id": turn, "value": True, "changed": [], "outputs": [], "values": {}}))
                except OSError:
                    pass
            """
        )
    )


@attack(5, NONE)
def another_server(e: Exercise) -> Book:
    """The grader's half of this process is replaced: it says that everything is well and every value is True."""
    return e.unsolved().first(
        INSIDE
        + clean(
            """
            def fine(self, request, blobs):
                return {"value": True, "changed": [], "values": {name: True for name in request.get("names", [])}}, []

            type(server).answer = type(server).run = type(server).call = type(server).get = type(server).values = fine
            type(server).describe = lambda self, error: {}
            """
        )
    )


@attack(5, NONE)
def callable_answers(e: Exercise) -> Book:
    """Every name and every value is an object of the student's, which can be called and has every attribute."""
    return e.unsolved().first(
        INSIDE
        + clean(
            """
            thing = {"t": "handle", "n": 0, "call": True, "of": "ndarray"}

            def fine(self, request, blobs):
                return {"value": thing, "changed": [], "values": {name: thing for name in request.get("names", [])}}, []

            type(server).answer = fine
            """
        )
    )


@attack(5, NONE)
def names_nobody_asked_for(e: Exercise) -> Book:
    """Values for names that were not asked for: the tests' modules, helpers, built-in functions."""
    return e.unsolved().first(
        INSIDE
        + clean(
            """
            thing = {"t": "handle", "n": 0, "call": True, "of": "function"}
            more = "np stattests isinstance len check_log_sum_exp AssertionError __builtins__ __import__ rng".split()

            def fine(self, request, blobs):
                return {"values": {name: thing for name in [*request.get("names", []), *more]}, "value": thing}, []

            type(server).values = fine
            """
        )
    )


@attack(5, NONE)
def patched_protocol(e: Exercise) -> Book:
    """json, struct, socket and NumPy's files are patched below the grader's half: errors vanish, arrays change."""
    return e.unsolved().fill(
        "0.0",
        INSIDE
        + clean(
            """
            import numpy as np
            original = json.dumps

            def dumps(thing, *a, **k):
                if isinstance(thing, dict) and "error" in thing:
                    thing = {name: value for name, value in thing.items() if name != "error"} | {"value": True}
                return original(thing, *a, **k)

            json.dumps = dumps
            json.JSONEncoder.encode = lambda self, thing: original(thing)
            np.lib.format.write_array = lambda file, array, *a, **k: file.write(bytes(128))
            """
        ),
    )


@attack(5, NONE)
def code_of_the_grader_rewritten(e: Exercise) -> Book:
    """The code objects of the grader's half are exchanged, and its memory overwritten by ctypes."""
    return e.unsolved().fill(
        "0.0",
        INSIDE
        + clean(
            """
            import ctypes

            def describe(self, error):
                return None

            for name in ("describe", "handle"):
                getattr(type(server), name).__code__ = describe.__code__
            text = b"error"
            place = id(text) + bytes.__basicsize__ - 1
            ctypes.memmove(place, b"value", 5)
            """
        ),
    )


@attack(5, ALL, "draw")
def floods_beside_answers(e: Exercise) -> Book:
    """Each answer to a test comes with all the output that one may have, and more than that, forged."""
    return e.solved().answer(
        "draw",
        INSIDE
        + clean(
            """
            def collect():
                return [{"output_type": "stream", "name": "stdout", "text": "x" * 100_000}] * 50

            def draw(p, n, seed):
                server.collect = collect
                return None
            """
        ),
    )


@attack(5, ALL, "density")
def large_value(e: Exercise) -> Book:
    """A value that is too large to cross, under a name that every later test asks for as well."""
    return e.solved().answer("density", "mean = list(range(5_000_000))\nlog_scale = np.zeros(2)")


@attack(5, NONE)
def value_that_breaks_given_cells(e: Exercise) -> Book:
    """Values that are malformed, under the names of gaps, before the instructor's cells run."""
    return e.unsolved().first(
        INSIDE
        + clean(
            """
            bad = npy("{'descr': '<f16', 'fortran_order': False, 'shape': (1,)}", bytes(16))
            kinds = iter(["tensor", "variable", "evil"] * 100)

            def values(self, request, blobs):
                return {"values": {name: {"t": "array", "k": next(kinds), "b": 0} for name in request["names"]}}, [bad]

            type(server).values = values
            """
        )
    )
