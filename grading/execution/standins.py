"""What a test has of the student's: stand-ins for what lives in S, copies of plain values."""

from __future__ import annotations

import base64
import builtins
import contextlib
import inspect
import textwrap
import types
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from grading.execution.endings import AuthorError, StudentEnded, StudentError, words
from grading.execution.link import Link
from grading.execution.scope import globals_read
from grading.execution.shown import text_of
from grading.execution.wire import Decoder, Encoder, TooLarge, WireError, apply_change, weigh

ENDS_LOOPS = ("StopIteration", "StopAsyncIteration")  # would end a test's loop and not the test
SPACE = 2  # times the limit of a message: what an answer may hold, each mention of a shared part counted


class Handle:
    """Stands for an object in S: attributes can be read, it can be passed back."""

    def __init__(self, student: Student, target: dict[str, Any], name: str) -> None:
        self._student, self._target, self._name = student, target, name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._student.get(self._target, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise TypeError("a test cannot set attributes of the student's objects")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"<{self._name} of the student's>"


class Proxy(Handle):
    """Stands for a function, class or callable object in S."""

    def __init__(self, student: Student, target: dict[str, Any], name: str) -> None:
        super().__init__(student, target, name)
        self.__name__ = name

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._student.call(self._target, arguments, options)

    def gradients_elsewhere(self, arguments: list[Any], wrt: list[int], options: dict[str, Any]) -> Any:
        """For utils.gradients.grad_of: S differentiates."""
        return self._student.call(self._target, tuple(arguments), options, wrt)


@lru_cache(maxsize=256)
def _kind(base: type[Handle], of: str) -> type[Handle]:
    """A class of stand-ins that messages name as the student does."""
    return type(of, (base,), {})


class Student:
    """S as a test uses it: names, calls, attributes. Raises the student's exceptions, or StudentEnded."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def names(self, asked: list[str], needed: Iterable[str]) -> dict[str, Any]:
        """What those of the needed names stand for that S has. asked: all that S is to be asked for."""
        if not asked:
            return {}
        answer, blobs = self._link.request({"op": "names", "names": asked})
        self._raise_error(answer)
        values, decode = answer.get("values", {}), self._decoder(blobs)
        if not isinstance(values, dict):
            raise self._link.refused("malformed names")
        found = {}
        for name in sorted(set(needed) & set(asked) & set(values)):
            if values[name] == {"t": "large"}:
                raise self._link.too_large()
            value = decode(values[name])
            if isinstance(value, Handle):  # by its name, so that it is there after a restart, too
                value = type(value)(self, {"t": "name", "name": name}, name)
            found[name] = value
        return found

    def call(
        self, target: dict[str, Any], arguments: tuple[Any, ...], options: dict[str, Any], wrt: Any = None
    ) -> Any:
        """Call something in S."""
        encoder = Encoder(self._to_tree, track=wrt is None)
        request: dict[str, Any] = {
            "op": "call",
            "target": self._current(target),
            "args": [encoder.encode(value) for value in arguments],
            "kwargs": {name: encoder.encode(value) for name, value in options.items()},
        }
        if wrt is not None:
            request["wrt"] = list(wrt)
        answer, blobs = self._link.call(request, encoder.blobs)
        self._raise_error(answer)
        decode = self._decoder(blobs, dict(enumerate(encoder.mutable)))
        value = decode(answer.get("value"))
        self._change(encoder.mutable, answer.get("changed", []), decode)
        return value

    def get(self, target: dict[str, Any], attribute: str) -> Any:
        """Read an attribute of an object in S."""
        answer, blobs = self._link.call(
            {"op": "get", "target": self._current(target), "attribute": attribute}
        )
        self._raise_error(answer)
        return self._decoder(blobs)(answer.get("value"))

    def _change(self, mutable: list[Any], changes: Any, decode: Callable[[Any], Any]) -> None:
        """Give the arguments of a call the content that S gave its copies."""
        if not isinstance(changes, list):
            raise self._link.refused("a malformed list of changes")
        left = set(range(len(mutable)))
        for change in changes:
            if not (isinstance(change, list) and len(change) == 2 and type(change[0]) is int):
                raise self._link.refused("a malformed change")
            if change[0] not in left:
                raise self._link.refused("a change of what was not sent, or two of one thing")
            left.remove(change[0])
            new = decode(change[1])
            with contextlib.suppress(Exception):  # of another type or shape: the test sees the old one
                apply_change(mutable[change[0]], new)
        holders = [value for value in mutable if isinstance(value, list | dict)] if changes else []
        try:  # arguments may now hold each other, or themselves
            weigh(holders, SPACE * self._link.limits.message)
        except TooLarge:
            for value in holders:
                value.clear()
            raise self._link.too_large() from None

    def _raise_error(self, answer: dict[str, Any]) -> None:
        """Raise what the student's code raised, as a standard exception where it is one."""
        error = answer.get("error")
        if error is None:
            return
        if not isinstance(error, dict):
            raise self._link.refused("a malformed error")
        kind, message = text_of(error.get("type"), 200), text_of(error.get("message"), 20_000)
        if kind == "TimeLimit":
            self._link.hit("time")
            raise StudentEnded("time", words("time", self._link.limits))
        if kind == "TooLarge":
            raise self._link.too_large()
        kinds = error.get("kinds")
        made: BaseException = StudentError(message)
        for name in kinds if isinstance(kinds, list) else ():
            found = (
                getattr(builtins, name, None) if isinstance(name, str) and name not in ENDS_LOOPS else None
            )
            if isinstance(found, type) and issubclass(found, Exception) and found is not Exception:
                with contextlib.suppress(Exception):
                    made = found(message)
                    break
        made.student_type = kind  # type: ignore[attr-defined]
        made.student_traceback = text_of(error.get("traceback"), 8000)  # type: ignore[attr-defined]
        raise made

    # Values

    def _decoder(self, blobs: list[bytes], known: Mapping[int, Any] | None = None) -> Callable[[Any], Any]:
        """Turns the trees of one answer into values."""

        def other(part: dict[str, Any]) -> Any:
            if part.get("t") != "handle" or type(part.get("n")) is not int:
                raise WireError("a malformed handle")
            of = text_of(part.get("of"), 100) or "object"
            target = {"t": "handle", "n": part["n"], "of": self._link.generation}
            return _kind(Proxy if part.get("call") is True else Handle, of)(self, target, of)

        decoder = Decoder(blobs, other, known, SPACE * self._link.limits.message)

        def decode(tree: Any) -> Any:
            try:
                return decoder.decode(tree)
            except TooLarge:
                raise self._link.too_large() from None
            except WireError as error:
                raise self._link.refused(str(error)) from None

        return decode

    def _current(self, target: dict[str, Any]) -> dict[str, Any]:
        """A target that the present S knows."""
        if target["t"] == "handle" and target["of"] != self._link.generation:
            raise StudentEnded("died", "was started anew in the meantime, so that this object is gone.")
        return target

    def _to_tree(self, value: Any) -> Any:
        """The tree of what Encoder does not know: handles and functions of the test."""
        if isinstance(value, Handle):
            return self._current(value._target)
        if isinstance(value, types.FunctionType):
            return function_tree(value, self._to_tree)
        if isinstance(value, np.ndarray):  # made of what the student's code has returned
            raise TypeError("an array of numbers expected, got one of objects")
        raise AuthorError(
            f"a test passes an object of type {type(value).__name__} to the student's code; only plain data, "
            "arrays, functions of the test and the student's own objects can be passed"
        )


def function_tree(function: types.FunctionType, other: Callable[[Any], Any]) -> dict[str, Any]:
    """A function of a test as source, with the modules, data and functions that it refers to."""
    if function.__code__.co_freevars or function.__name__ == "<lambda>":
        raise AuthorError(
            f"the function {function.__name__!r} is passed to the student's code: define it with def at the "
            "top level of the test, without variables of an enclosing function"
        )
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        raise AuthorError(f"the source of the function {function.__name__!r} cannot be found") from None
    modules: dict[str, str] = {}
    values: dict[str, Any] = {}
    encoder = Encoder(other)
    for name in sorted(globals_read(source)):
        if name not in function.__globals__ or name == function.__name__:
            continue
        value = function.__globals__[name]
        if isinstance(value, types.ModuleType):
            modules[name] = value.__name__
        else:
            values[name] = encoder.encode(value)
    blobs = [base64.b64encode(blob).decode() for blob in encoder.blobs]
    return {
        "t": "function",
        "name": function.__name__,
        "source": source,
        "modules": modules,
        "values": values,
        "blobs": blobs,
    }
