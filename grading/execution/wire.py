"""What crosses between T, which runs the tests, and S, which runs the student's code.

A message is a tree that JSON can hold, with arrays beside it as npy, dtype and size checked before anything
is allocated; never pickle. This module runs on both sides. T treats every byte from S as hostile: whatever
does not fit is a WireError.

Values: None, booleans, numbers, strings, bytes, lists, tuples, dicts, sets, NumPy arrays and scalars,
TensorFlow tensors and variables, and whatever else the tests take for an array of numbers
(`utils.stattests.numbers`). What else there is stays where it is: S gives it a number, and T has a handle to
it.

Sizes are counted in bytes, with NODE for each item, and a part that is mentioned twice counts twice.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from utils.stattests import numbers

HEAD = struct.Struct(">4sII")  # magic, bytes of JSON, number of blobs
SIZE = struct.Struct(">Q")
MAGIC = b"LGM1"
TEXT_LIMIT = 8 * 2**20  # bytes of JSON; larger data belongs in arrays
BLOB_COUNT = 100_000
DEPTH = 40
NODE, OBJECT = 8, 1000  # bytes that an item counts, and a stand-in for an object of the other side
ROOM = 2**31  # bytes of a value, where nobody says less
PLAIN: dict[type, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    complex: complex.__complex__,
    str: str.__str__,
}
ATOMS = {type(None), bool, int, float, complex}
KINDS = "biufcSU"  # dtypes that may cross: booleans, numbers, strings


class WireError(Exception):
    """A message that is malformed or too large."""


class TooLarge(WireError, ValueError):
    """More data than may cross at once; honest code may do that."""


class Closed(Exception):
    """The other side is gone."""


class Channel:
    """Messages over a stream socket. `limit`: bytes of a message that is received."""

    def __init__(self, sock: socket.socket, limit: int = 2**30) -> None:
        self.sock, self.limit = sock, limit

    def send(self, tree: Any, blobs: list[bytes] | None = None, timeout: float | None = None) -> None:
        """Send a message. Closed if nobody is there, TimeoutError if it is not read within `timeout` seconds.

        ValueError, and nothing sent, where the other side would refuse it.
        """
        text = json.dumps(tree).encode()
        blobs = blobs or []
        if len(text) > TEXT_LIMIT or len(blobs) > BLOB_COUNT:
            raise ValueError(
                f"{len(text):,} bytes of text and {len(blobs):,} arrays at once, at most {TEXT_LIMIT:,} and "
                f"{BLOB_COUNT:,} can be passed: use arrays for large lists"
            )
        parts = [HEAD.pack(MAGIC, len(text), len(blobs)), *(SIZE.pack(len(blob)) for blob in blobs), text]
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            for part in (b"".join(parts), *blobs):
                self.sock.settimeout(None if deadline is None else max(0.001, deadline - time.monotonic()))
                self.sock.sendall(part)
        except TimeoutError:
            raise
        except OSError:
            raise Closed from None

    def receive(self, timeout: float | None = None) -> tuple[Any, list[bytes]]:
        """The next message. WireError, Closed, or TimeoutError after `timeout` seconds in all."""
        deadline = None if timeout is None else time.monotonic() + timeout
        magic, size, count = HEAD.unpack(self._read(HEAD.size, deadline))
        if magic != MAGIC:
            raise WireError("no message of ours")
        if size > TEXT_LIMIT:
            raise TooLarge(f"{size:,} bytes of text in one answer, at most {TEXT_LIMIT:,} are allowed")
        if count > BLOB_COUNT:
            raise TooLarge(f"{count:,} arrays in one answer, at most {BLOB_COUNT:,} are allowed")
        sizes = [SIZE.unpack(self._read(SIZE.size, deadline))[0] for _ in range(count)]
        if sum(sizes) > self.limit:
            raise TooLarge(
                f"{sum(sizes):,} bytes of arrays in one answer, at most {self.limit:,} are allowed"
            )
        text = self._read(size, deadline)
        blobs = [self._read(size, deadline) for size in sizes]
        try:
            return json.loads(text), blobs
        except (ValueError, RecursionError, MemoryError) as error:
            raise WireError(f"not JSON: {type(error).__name__}") from None

    def pending(self) -> bool:
        """Has the other side sent something that nobody asked for?"""
        self.sock.settimeout(0)
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK))
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return False

    def close(self) -> None:
        self.sock.close()

    def _read(self, size: int, deadline: float | None) -> bytes:
        data = bytearray()
        while len(data) < size:
            if deadline is None:
                self.sock.settimeout(None)
            else:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self.sock.settimeout(left)
            try:
                part = self.sock.recv(min(size - len(data), 2**20))
            except TimeoutError:
                raise
            except OSError:
                raise Closed from None
            if not part:
                raise Closed
            data += part
        return bytes(data)


# Values


class Encoder:
    """Values → tree and blobs.

    other: gives the tree of a value that does not cross. track: mutable values get a number, by which the
    other side says what it changed; `mutable` lists them. known: numbers that the other side has given to
    mutable values; of these only the number crosses. limit: bytes of all values together; else TooLarge.
    """

    def __init__(
        self,
        other: Callable[[Any], Any],
        track: bool = False,
        known: Mapping[int, Any] | None = None,
        limit: int = ROOM,
    ) -> None:
        self.blobs: list[bytes] = []
        self.mutable: list[Any] = []
        self._left = limit
        self._other, self._track = other, track
        self._numbers = {id(value): number for number, value in (known or {}).items()}

    def content(self, value: Any) -> Any:
        """The tree of what a known value holds now."""
        number = self._numbers.pop(id(value))
        try:
            return self.encode(value)
        finally:
            self._numbers[id(value)] = number

    def encode(self, value: Any, depth: int = 0) -> Any:
        """The tree of a value; ValueError if it is nested too deep or holds itself."""
        if depth > DEPTH:
            raise ValueError(f"nested more than {DEPTH} deep, or holds itself")
        self._spend(len(value) if type(value) is str else NODE)
        if value is None or type(value) is bool or type(value) is str:  # "in" would ask a metaclass
            return value
        if type(value) is int:
            if abs(value) < 2**53:
                return value
            if value.bit_length() > 4096:
                raise ValueError("an integer of more than 4,096 bits")
            return {"t": "int", "v": hex(value)}
        if type(value) is float:
            return value if math.isfinite(value) else {"t": "float", "v": repr(value)}
        if type(value) is complex:
            return {"t": "complex", "v": [repr(value.real), repr(value.imag)]}
        if id(value) in self._numbers:
            return {"t": "same", "m": self._numbers[id(value)]}
        if isinstance(value, bytes | bytearray):
            return {"t": "bytes" if isinstance(value, bytes) else "bytearray", "b": self._blob(bytes(value))}
        array = as_array(value)
        if array is not None:
            kind, content = array
            if content.dtype.kind not in KINDS or not content.dtype.itemsize:
                return self._other(value)
            tree = {"t": "array", "k": kind, "b": self._blob(npy(content))}
            return self._tracked(tree, value) if kind in ("numpy", "variable") else tree
        if isinstance(value, tuple):
            return {"t": "tuple", "v": [self.encode(item, depth + 1) for item in value]}
        if isinstance(value, list) and _all_scalars(value):
            return self._tracked({"t": "scalars", "b": self._blob(npy(np.array(value)))}, value)
        if isinstance(value, list) and not self._track and _is_table(value, self._numbers):
            return {"t": "numbers", "b": self._blob(npy(np.array(value)))}
        if isinstance(value, list) and _all_numbers(value):
            return self._tracked({"t": "numbers", "b": self._blob(npy(np.array(value)))}, value)
        if isinstance(value, list):
            return self._tracked({"t": "list", "v": [self.encode(item, depth + 1) for item in value]}, value)
        if isinstance(value, set | frozenset):
            items = sorted(value, key=repr)
            return {"t": "set", "v": [self.encode(item, depth + 1) for item in items]}
        if isinstance(value, dict):
            pairs = [[self.encode(k, depth + 1), self.encode(v, depth + 1)] for k, v in value.items()]
            return self._tracked({"t": "dict", "v": pairs}, value)
        if isinstance(value, range) and NODE * len(value) > self._left:
            raise TooLarge(f"a range of {len(value):,} numbers")
        for base, plain in PLAIN.items():  # a number or text of a type of its own, such as an enumeration's
            if issubclass(type(value), base):
                return self.encode(plain(value), depth)
        if (like := numbers(value)) is not None:
            return {"t": "array", "k": "numpy", "b": self._blob(npy(like))}
        return self._other(value)

    def mark(self) -> tuple[int, int]:
        """A moment to which `reset` leads back, after a value that did not fit."""
        return len(self.blobs), self._left

    def reset(self, mark: tuple[int, int]) -> None:
        del self.blobs[mark[0] :]
        self._left = mark[1]

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise TooLarge("more data than can be passed at once")

    def _tracked(self, tree: dict[str, Any], value: Any) -> dict[str, Any]:
        if self._track:
            tree["m"] = self._numbers[id(value)] = len(self.mutable)
            self.mutable.append(value)
        return tree

    def _blob(self, data: bytes) -> int:
        self._spend(len(data))
        self.blobs.append(data)
        return len(self.blobs) - 1


class Decoder:
    """Tree and blobs → values. `other`: makes a value of a tree that only the caller understands.

    `mutable`: number → value, of those that the sender wants to hear about if they change. known: values
    of which the sender gives only the number. limit: bytes of all that is decoded; else TooLarge.
    """

    def __init__(
        self,
        blobs: list[bytes],
        other: Callable[[dict[str, Any]], Any],
        known: Mapping[int, Any] | None = None,
        limit: int = ROOM,
    ) -> None:
        self.mutable: dict[int, Any] = dict(known or {})
        self._left = limit
        self._blobs, self._other = blobs, other
        self._used: set[int] = set()

    def decode(self, tree: Any) -> Any:
        """The value; WireError for anything that Encoder would not have written."""
        try:
            value = self._decode(tree, 0)
        except WireError:
            raise
        except Exception as error:  # TensorFlow has exceptions of its own
            raise WireError(f"malformed value: {type(error).__name__}") from None
        self._left = weigh(value, self._left)
        return value

    def _decode(self, tree: Any, depth: int) -> Any:
        if depth > DEPTH + 1:
            raise WireError("nested too deep")
        if tree is None or isinstance(tree, bool | int | float | str):
            return tree
        if not isinstance(tree, dict):
            raise WireError("malformed value")
        kind = tree.get("t")
        if kind == "int":
            return int(str(tree["v"])[:1100], 16)
        if kind == "float":
            return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[tree["v"]]
        if kind == "complex":
            return complex(float(tree["v"][0]), float(tree["v"][1]))
        if kind in ("bytes", "bytearray"):
            return bytes(self._blob(tree["b"])) if kind == "bytes" else bytearray(self._blob(tree["b"]))
        if kind == "same":
            if type(tree["m"]) is not int:
                raise WireError("malformed value")
            return self.mutable[tree["m"]]
        if kind == "array":
            value = from_array(str(tree["k"]), array_of(self._blob(tree["b"])))
        elif kind == "tuple":
            return tuple(self._items(tree, depth))
        elif kind == "set":
            return set(_spread(self._items(tree, depth)))
        elif kind == "list":
            value = self._items(tree, depth)
        elif kind == "scalars":
            value = list(self._row(tree["b"], 1))
        elif kind == "numbers":
            value = self._row(tree["b"], 2).tolist()
        elif kind == "dict":
            pairs = tree["v"]
            if not isinstance(pairs, list):
                raise WireError("malformed dict")
            keys = _spread([self._decode(key, depth + 1) for key, _ in pairs])
            value = dict(zip(keys, [self._decode(item, depth + 1) for _, item in pairs], strict=True))
        else:
            return self._other(tree)
        if isinstance(tree.get("m"), int):
            self.mutable[tree["m"]] = value
        return value

    def _items(self, tree: dict[str, Any], depth: int) -> list[Any]:
        if not isinstance(tree["v"], list):
            raise WireError("malformed list")
        return [self._decode(item, depth + 1) for item in tree["v"]]

    def _row(self, index: Any, axes: int) -> np.ndarray:
        row = array_of(self._blob(index))
        if not 1 <= row.ndim <= axes or row.dtype.kind not in "biufc":
            raise WireError("malformed list")
        if NODE * (row.size + len(row)) > self._left:  # before there are so many objects
            raise TooLarge("more data than can be taken at once")
        return row

    def _blob(self, index: Any) -> bytes:
        if type(index) is not int or not 0 <= index < len(self._blobs):
            raise WireError("no such array")
        if index in self._used:  # a few bytes of text would fill the memory
            raise WireError("an array twice")
        self._used.add(index)
        return self._blobs[index]


def weigh(value: Any, limit: int) -> int:
    """What is left of `limit` bytes after a walk through a value, which meets a shared part at each mention.

    TooLarge if that is less than nothing: whoever compares or converts the value would walk as far.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list | tuple | set):
            limit -= NODE * len(item)
            parts: Iterable[Any] = item
        elif isinstance(item, dict):
            limit -= 2 * NODE * len(item)
            parts = itertools.chain(item, item.values())
        else:
            limit -= _size(item)
            parts = ()
        if limit < 0:
            raise TooLarge("more data than can be taken at once")
        waiting += (part for part in parts if type(part) not in ATOMS)
    return limit


def _size(value: Any) -> int:
    if isinstance(value, np.ndarray | np.generic):
        return int(value.nbytes)
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if type(value) in ATOMS:
        return NODE
    array = as_array(value)
    return OBJECT if array is None else array[1].nbytes


def _spread(keys: list[Any]) -> list[Any]:
    """Keys of a set or dict; WireError if many have the same hash, so that building it takes for ever."""
    hashes = sorted(map(hash, keys))
    if any(a == b for a, b in zip(hashes, hashes[100:], strict=False)):
        raise WireError("keys that collide")
    return keys


def _all_scalars(items: list[Any]) -> bool:
    """Are these NumPy numbers of one type? Then they cross as one array."""
    if not items or not isinstance(items[0], np.generic) or items[0].dtype.kind not in "biufc":
        return False
    return all(type(item) is type(items[0]) for item in items)


def _number_type(items: list[Any]) -> type | None:
    """The one type of Python numbers that all items have, if an array can hold them."""
    kind = type(items[0]) if items else None
    if kind not in (bool, int, float):
        return None
    fit = all(type(item) is kind and (kind is not int or -(2**63) <= item < 2**63) for item in items)
    return kind if fit else None


def _all_numbers(items: list[Any]) -> bool:
    """Are these many Python numbers of one type? Then they cross as one array, too."""
    return len(items) >= 16 and _number_type(items) is not None


def _is_table(rows: list[Any], known: Mapping[int, int]) -> bool:
    """Are these many rows of one length, of Python numbers of one type, none known to the other side?"""
    if len(rows) < 16 or type(rows[0]) is not list:
        return False
    plain = all(type(row) is list and id(row) not in known for row in rows)
    shapes = {(_number_type(row), len(row)) for row in rows} if plain else set()
    return len(shapes) == 1 and shapes.pop()[0] is not None


def as_array(value: Any) -> tuple[str, np.ndarray] | None:
    """(kind, content) of an array, tensor, variable or NumPy scalar; None for anything else.

    Half precision of TensorFlow's own kind (bfloat16) becomes float32.
    """
    if isinstance(value, np.ndarray):
        return "numpy", _standard(np.asarray(value))
    if isinstance(value, np.generic):
        return "scalar", _standard(np.asarray(value))
    tf = sys.modules.get("tensorflow")
    if tf is not None and hasattr(tf, "Variable"):
        if isinstance(value, tf.Variable):
            return "variable", _standard(np.asarray(value.numpy()))
        if isinstance(value, tf.Tensor) and hasattr(value, "numpy"):
            return "tensor", _standard(np.asarray(value.numpy()))
    keras = sys.modules.get("keras")
    if keras is not None and hasattr(keras, "Variable") and isinstance(value, keras.Variable):
        return "variable", _standard(np.asarray(value))
    return None


def _standard(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "V" and array.dtype.name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        return array.astype(np.float32)
    if array.dtype.kind == "O":  # tensors of strings
        items = array.ravel().tolist()
        if items and all(isinstance(item, bytes) for item in items):
            return array.astype("S")
    return array


def from_array(kind: str, array: np.ndarray) -> Any:
    """The reverse of as_array."""
    if kind == "numpy":
        return array
    if kind == "scalar":
        if array.shape:
            raise WireError("a scalar with a shape")
        return array[()]
    if kind in ("tensor", "variable"):
        import tensorflow as tf

        content = array.astype(object) if array.dtype.kind == "S" else array
        return tf.Variable(content) if kind == "variable" else tf.constant(content)
    raise WireError("an array of unknown kind")


def npy(array: np.ndarray) -> bytes:
    """An array in NumPy's file format, without pickle."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)
    return file.getvalue()


def array_of(data: bytes) -> np.ndarray:
    """The array in npy data; dtype and size are checked before memory is taken."""
    file = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise WireError("not npy 1.0")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=2000)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise WireError(f"malformed array: {type(error).__name__}") from None
    if dtype.kind not in KINDS or dtype.hasobject or not dtype.itemsize or dtype.subdtype:
        raise WireError("an array of a type that may not cross")
    if any(type(n) is not int or n < 0 for n in shape) or len(shape) > 32:
        raise WireError("an array of impossible shape")
    if 0 in shape and math.prod(n for n in shape if n) * dtype.itemsize > 2**24:  # 10**12 rows of nothing
        raise WireError("an array of impossible shape")
    start = file.tell()
    if math.prod(shape) * dtype.itemsize != len(data) - start:
        raise WireError("an array whose size is not that of its data")
    flat = np.frombuffer(data, dtype, offset=start)
    return flat.reshape(shape, order="F" if fortran else "C").copy(order="K")


def apply_change(old: Any, new: Any) -> None:
    """Give a mutable value the content that the other side gave its copy."""
    array = as_array(old)
    if array is not None:
        content = np.asarray(new.numpy() if hasattr(new, "numpy") else new)
        if array[0] == "variable":
            old.assign(content)
        elif old.shape == content.shape and old.dtype == content.dtype:
            old[...] = content
    elif isinstance(old, list) and isinstance(new, list):
        old[:] = new
    elif isinstance(old, dict) and isinstance(new, dict):
        old.clear()
        old.update(new)
