"""T: runs the tests and the instructor's given cells, and asks S for everything that the student's code does.

The names that solution cells define are bound to stand-ins before each test. A test cell that runs to its end
without an exception earns its points; nothing that S sends can end, skip or change it.
"""

from __future__ import annotations

import ast
import base64
import builtins
import contextlib
import dis
import inspect
import io
import linecache
import os
import secrets
import socket
import textwrap
import time
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

from grading.execution.lifeline import Lifeline
from grading.execution.wire import Channel, Closed, Decoder, Encoder, WireError, apply_change
from grading.model import BEGIN, END, CellRun, CleanCell, GapResult, Job, LimitEvent, Outcome, TrustedCell

GRACE = 5.0  # seconds that S has to report its own time limit before it is ended
STARTUP = 120.0  # seconds for a fresh S to answer
OUTPUT_ITEMS = 2000
OUTPUT_FACTOR = 8  # a cell's outputs here, times the limit of those of one answer
LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")  # the last from Python 3.12 on
ENDS_LOOPS = ("StopIteration", "StopAsyncIteration")  # would end a test's loop and not the test
WORDS = {
    "time": "took longer than {cell_seconds:.0f} seconds of computing (or {cell_clock:.0f} on the clock) and "
    "was stopped. Is there an endless loop, or far more work than needed?",
    "notebook": "the notebook as a whole took longer than {notebook_seconds:.0f} seconds of computing (or "
    "{notebook_clock:.0f} on the clock); what came after was not run.",
    "memory": "used more than {memory_mb:.0f} MB of memory and was stopped. Are the arrays larger than "
    "needed?",
    "processes": "started more than {processes} processes or threads and was stopped.",
    "message": "returned more data than a test can take ({message_mb:.0f} MB).",
    "calls": "the test called your code more often than {calls} times.",
    "died": "ended Python itself (by exit, a signal or a crash), so that it gave no answer.",
}


class StudentError(Exception):
    """An exception of a type that only the student's code knows."""


class StudentEnded(Exception):
    """S was ended while it should have answered; `limit` says by what."""

    def __init__(self, limit: str, words: str) -> None:
        super().__init__(words)
        self.limit = limit


class StartError(Exception):
    """S could not be started: no fault of the student."""


class AuthorError(Exception):
    """A test does something that it may not: the exercise must be mended."""


class Handle:
    """Stands for an object in S: attributes can be read, it can be passed back."""

    def __init__(self, session: Session, target: dict[str, Any], name: str) -> None:
        self._session, self._target, self._name = session, target, name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._session.get(self._target, name, f"{self._name}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise TypeError("a test cannot set attributes of the student's objects")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"<{self._name} of the student's>"


class Proxy(Handle):
    """Stands for a function, class or callable object in S."""

    def __init__(self, session: Session, target: dict[str, Any], name: str) -> None:
        super().__init__(session, target, name)
        self.__name__ = name

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._session.call(self._target, arguments, options)

    def gradients_elsewhere(self, arguments: list[Any], wrt: list[int], options: dict[str, Any]) -> Any:
        """For utils.gradients.grad_of: S differentiates."""
        return self._session.call(self._target, tuple(arguments), options, wrt)


class NoShell:
    """IPython's shell for given cells in T: magics and commands do nothing here."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **options: None


class Session:
    """One submission from its first cell to its last."""

    def __init__(self, job: Job, variant: int, lifeline: Lifeline) -> None:
        self.job, self.limits, self.lifeline = job, job.limits, lifeline
        self.variant, self.clean = variant, job.variants[variant]
        self.trusted = {cell.name: cell for cell in job.assignment.cells}
        self.namespace: dict[str, Any] = {
            "__name__": "__main__",
            "__builtins__": builtins,
            "display": lambda *things, **options: None,
            "get_ipython": NoShell,
        }
        self.binds = {cell.name: names_set(cell) for cell in self.trusted.values()}
        self.reads = {cell.name: names_read(cell) for cell in self.trusted.values()}
        self.gap_names = {
            name for cell in self.trusted.values() if cell.kind == "solution" for name in cell.defines
        }
        self.own_names = {  # never taken from S
            name
            for cell in self.trusted.values()
            if cell.kind in ("given", "test")
            for name in self.binds[cell.name]
        } - self.gap_names
        self.given_names: set[str] = set()  # that given cells have set here
        self.done: list[str] = []  # trusted cells that have run here
        self.theirs: set[str] = set(self.gap_names)  # names that stand for what the student's code made
        self.bound: dict[str, Any] = {}  # what came from S, by name
        self.channel: Channel | None = None
        self.generation = 0  # which S a handle is of
        self.replay: list[CleanCell] = []  # what a fresh S must run first
        self.restarts = 0
        self.ended: StudentEnded | None = None  # why there will be no S any more
        self.began = time.monotonic()
        self.student_seconds, self.peak = 0.0, 0
        self.limits_hit: list[LimitEvent] = []
        self.suspicions: list[str] = []
        self.cell = ""  # the one that runs
        self.budget = self.clock = 0.0  # seconds that S may still take for it: computing, on the clock
        self.calls = 0
        self.outputs: list[dict[str, Any]] = []
        self.kept = 0  # characters of the outputs

    def run(self) -> Outcome:
        """Run all cells; never raises for what a submission does."""
        runs: list[CellRun] = []
        gaps: list[GapResult] = []
        count = 0
        try:
            for cell in self.clean:
                if cell.cell_type != "code" or cell.kind in ("text", "manual") and not cell.source.strip():
                    runs.append(CellRun(cell))
                    continue
                start, self.cell, count = time.monotonic(), cell.name, count + 1
                self.fill_budget()
                self.calls, self.outputs = 0, []
                self.kept = 0
                if cell.kind == "test":
                    gaps.append(self.test(self.trusted[cell.name]))
                else:
                    self.student_cell(cell)
                    if cell.kind == "given":
                        self.given(self.trusted[cell.name])
                    elif cell.kind == "solution" and cell.name in self.trusted:
                        self.replaced(self.trusted[cell.name])
                seconds = time.monotonic() - start
                runs.append(CellRun(cell, tuple(self.outputs), count, seconds))
        finally:
            self.stop()
        return Outcome(
            self.job.pseudonym,
            self.variant,
            tuple(runs),
            tuple(gaps),
            tuple(self.limits_hit),
            tuple(dict.fromkeys(self.suspicions)),
            time.monotonic() - self.began,
            self.student_seconds,
            self.peak,
        )

    def fill_budget(self) -> None:
        """What a cell may take."""
        self.budget = self.limits.cell_seconds
        self.clock = self.limits.clock * self.budget

    # Cells

    def student_cell(self, cell: CleanCell) -> None:
        """Run a cell in S; what it prints and its error are kept for the feedback."""
        try:
            answer = self.request({"op": "run", "name": cell.name, "source": cell.source})
        except StudentEnded as ended:
            self.error("Stopped", f"This cell {ended}" if ended.limit != "notebook" else str(ended))
            return
        self.replay.append(cell)
        error = answer.get("error")
        if isinstance(error, dict) and error.get("type") == "TimeLimit":
            self.hit("time")

    def given(self, cell: TrustedCell) -> None:
        """Run a given cell here as well."""
        reads = self.closure(cell)
        theirs = bool(reads & self.theirs)  # it uses what the student wrote
        if theirs:
            self.theirs |= self.binds[cell.name]
        try:
            self.bind(cell)
            with self.printed():
                self.execute(cell)
        except Exception as error:
            if theirs or isinstance(error, StudentEnded):
                return
            raise AuthorError(
                f"the given cell {cell.name!r} fails: {type(error).__name__}: {error}"
            ) from error
        finally:
            self.given_names |= self.binds[cell.name] & set(self.namespace)

    def replaced(self, cell: TrustedCell) -> None:
        """A solution cell has run in S: what it defines is no longer what an earlier test called so."""
        for name in cell.defines:
            if name not in self.given_names:
                self.namespace.pop(name, None)

    def test(self, cell: TrustedCell) -> GapResult:
        """Run a test here."""
        start = time.monotonic()
        if self.closure(cell) & self.theirs:
            self.theirs |= self.binds[cell.name]
        try:
            self.bind(cell)
            with self.printed():
                self.execute(cell)
        except (KeyboardInterrupt, AuthorError):
            raise
        except BaseException as error:
            return self.failed(cell, error, time.monotonic() - start)
        return GapResult(cell.gap, cell.points, cell.points, True, seconds=time.monotonic() - start)

    def failed(self, cell: TrustedCell, error: BaseException, seconds: float) -> GapResult:
        """What a failed test says to the student."""
        ended = error.limit if isinstance(error, StudentEnded) else ""
        message, trace = str(error), getattr(error, "student_traceback", "")
        if ended:
            message = f"Your code {message}" if ended not in ("notebook", "calls") else message
            ended = "time" if ended == "notebook" else ended
        elif not isinstance(error, AssertionError):
            message = f"{type_of(error)}: {message}" if message else type_of(error)
        about, hidden = self.hidden_part(cell, error)
        return GapResult(
            gap=cell.gap,
            points=0.0,
            max_points=cell.points,
            passed=False,
            error=printable(type_of(error)),
            message=printable(message[:20_000]),
            hidden=hidden,
            about=about,
            traceback=printable(trace),
            ended_by=ended,
            seconds=seconds,
        )

    def hidden_part(self, cell: TrustedCell, error: BaseException) -> tuple[str, bool]:
        """What the hidden part is about and whether the test ended in it."""
        line = 0
        trace = error.__traceback__
        while trace is not None and not line:
            if trace.tb_frame.f_code.co_filename == file_of(cell):
                line = trace.tb_lineno
            trace = trace.tb_next
        lines = cell.source.split("\n")
        inside = False
        about: list[str] = []
        for number, text in enumerate(lines, 1):
            if BEGIN in text:
                inside, about = True, []
                for following in lines[number:]:
                    if not following.lstrip().startswith("#") or END in following:
                        break
                    about.append(following.lstrip(" #"))
            if number == line:
                return (" ".join(about), True) if inside else ("", False)
            if END in text:
                inside = False
        return "", False

    def execute(self, cell: TrustedCell) -> None:
        """Run trusted code in T's namespace."""
        source = code_of(cell)
        name = file_of(cell)
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        self.done.append(cell.name)
        # asserts stay whatever Python's options are, and the imports of this module are its own
        exec(compile(source, name, "exec", dont_inherit=True, optimize=0), self.namespace)

    @contextlib.contextmanager
    def printed(self) -> Iterator[None]:
        """Collect what T's code prints."""
        text = io.StringIO()
        try:
            with contextlib.redirect_stdout(text), contextlib.redirect_stderr(io.StringIO()):
                yield
        finally:
            if text.getvalue():
                said = printable(text.getvalue()[: self.limits.output])
                self.outputs.append({"output_type": "stream", "name": "stdout", "text": said})

    def error(self, name: str, words: str) -> None:
        """An error output of the grader's own."""
        self.outputs.append(
            {"output_type": "error", "ename": name, "evalue": words, "traceback": [f"{name}: {words}"]}
        )

    # Names

    def closure(self, cell: TrustedCell) -> set[str]:
        """Names that a cell reads, itself or by functions and classes of cells that have run before."""
        reads, waiting = set(self.reads[cell.name]), [name for name in self.done if name != cell.name]
        while found := [name for name in waiting if self.binds[name] & reads]:
            waiting = [name for name in waiting if name not in found]
            for name in found:
                reads |= self.reads[name]
        return reads

    def bind(self, cell: TrustedCell) -> None:
        """Bind afresh what a cell reads of what solution cells define, and of what nobody else has.

        What given cells and tests define is never taken from S, even where one of them has failed before it
        came to that: a name of the student's takes no helper's place.
        """
        for name, value in self.bound.items():
            if self.namespace.get(name) is value:  # else T's own code has set it since
                self.namespace.pop(name, None)
        wanted = sorted(self.closure(cell) - self.own_names - set(self.namespace) - set(dir(builtins)))
        self.bound = {}
        if not wanted:
            return
        answer = self.request({"op": "names", "names": wanted})
        values = answer.get("values", {})
        if not isinstance(values, dict):
            raise self.hostile("malformed names")
        for name in wanted:
            if name in values:
                value = self.decode(values[name], answer["blobs"], name, by_name=True)
                self.namespace[name] = self.bound[name] = value

    # Requests to S

    def call(
        self, target: dict[str, Any], arguments: tuple[Any, ...], options: dict[str, Any], wrt: Any = None
    ) -> Any:
        """Call something in S."""
        self.calls += 1
        if self.calls > self.limits.calls:
            raise StudentEnded("calls", self.words("calls"))
        encoder = Encoder(self.to_tree, track=wrt is None)
        request: dict[str, Any] = {
            "op": "call",
            "target": self.current(target),
            "args": [encoder.encode(value) for value in arguments],
            "kwargs": {name: encoder.encode(value) for name, value in options.items()},
        }
        if wrt is not None:
            request["wrt"] = list(wrt)
        answer = self.request(request, encoder.blobs)
        self.raise_error(answer)
        known = dict(enumerate(encoder.mutable))
        value = self.decode(answer.get("value"), answer["blobs"], "result", known=known)
        changed = answer.get("changed", [])
        if not isinstance(changed, list):
            raise self.hostile("malformed list of changes")
        for change in changed:
            if not (isinstance(change, list) and len(change) == 2 and type(change[0]) is int):
                raise self.hostile("malformed change")
            if not 0 <= change[0] < len(encoder.mutable):
                raise self.hostile("a change of what was not sent")
            new = self.decode(change[1], answer["blobs"], "argument", known=known)
            with contextlib.suppress(Exception):  # of another type or shape: the test sees the old one
                apply_change(encoder.mutable[change[0]], new)
        return value

    def get(self, target: dict[str, Any], attribute: str, name: str) -> Any:
        """Read an attribute of an object in S."""
        self.calls += 1
        if self.calls > self.limits.calls:
            raise StudentEnded("calls", self.words("calls"))
        answer = self.request({"op": "get", "target": self.current(target), "attribute": attribute})
        self.raise_error(answer)
        return self.decode(answer.get("value"), answer["blobs"], name)

    def request(self, request: dict[str, Any], blobs: list[bytes] | None = None) -> dict[str, Any]:
        """Send a request and wait for its answer. StudentEnded if there is none."""
        channel = self.connected()
        if channel.pending():  # of an earlier cell or call, and not this one's fault
            self.suspicions.append(
                f"{self.cell}: the student's process sent an answer before it was asked for"
            )
            self.stop()
            channel = self.connected()
        return self.exchange(channel, request, blobs, self.allowed())

    def exchange(
        self,
        channel: Channel,
        request: dict[str, Any],
        blobs: list[bytes] | None,
        allowed: tuple[float, float],
    ) -> dict[str, Any]:
        number, (seconds, clock) = secrets.token_hex(8), allowed
        start, used = time.monotonic(), self.lifeline.used()
        self.lifeline.allow(used + seconds)
        try:
            if channel.pending():
                raise WireError("an answer before it was asked for")
            marked = {**request, "id": number, "seconds": seconds, "clock": clock}
            channel.send(marked, blobs, timeout=clock + GRACE)
            answer, received = channel.receive(timeout=max(0.0, clock + GRACE - (time.monotonic() - start)))
            if not isinstance(answer, dict) or answer.get("id") != number:
                raise WireError("an answer to something else")
        except TimeoutError:
            raise self.end("time") from None
        except Closed:
            raise self.end("") from None
        except WireError as error:
            raise self.hostile(str(error)) from None
        finally:
            took = self.lifeline.used() - used
            self.student_seconds += took
            self.budget -= took
            self.clock -= time.monotonic() - start
        answer["blobs"] = received
        self.keep(answer.get("outputs"))
        return answer

    def allowed(self) -> tuple[float, float]:
        """Seconds that S may take now, of computing and on the clock; StudentEnded if none are left."""
        limits, passed = self.limits, time.monotonic() - self.began
        left = limits.notebook_seconds - self.student_seconds
        clock = limits.clock * limits.notebook_seconds - passed
        if min(left, clock) <= 0:
            self.ended = self.ended or StudentEnded("notebook", self.words("notebook"))
            self.stop()
            self.note("notebook")
            raise self.ended
        if min(self.budget, self.clock) <= 0:
            raise self.end("time")
        return max(0.05, min(self.budget, left)), max(0.05, min(self.clock, clock))

    def connected(self) -> Channel:
        """The connection to S; a fresh one runs the earlier cells first, without those that ended one."""
        if self.ended is not None:
            raise self.ended
        if self.channel is not None:
            return self.channel
        if self.generation and self.restarts >= self.limits.restarts:
            raise StudentEnded("died", "had ended Python several times before, and was not started again.")
        self.restarts += bool(self.generation)
        self.generation += 1
        self.channel = self.open()
        kept = self.outputs, self.cell, self.budget, self.clock
        for earlier in list(self.replay):
            self.outputs, self.cell = [], earlier.name
            self.fill_budget()
            try:
                request = {"op": "run", "name": earlier.name, "source": earlier.source}
                if self.channel is None:
                    return self.connected()
                self.exchange(self.channel, request, None, self.allowed())
            except StudentEnded:
                self.replay.remove(earlier)
                if self.ended is not None:
                    raise
            finally:
                self.outputs, self.cell, self.budget, self.clock = kept
        return self.channel if self.channel is not None else self.connected()

    def open(self) -> Channel:
        """A connection to a fresh S. Nothing of the student's has run yet: if it fails, the grader does."""
        sock: socket.socket = self.lifeline.start_student()
        channel = Channel(sock, self.limits.message)
        try:
            said, _ = channel.receive(timeout=STARTUP)
        except (TimeoutError, Closed, WireError) as error:
            raise StartError(f"the student's process did not start ({type(error).__name__})") from None
        if said.get("ready") is not True:
            raise StartError(f"the student's process did not start: {said.get('why')}")
        return channel

    def end(self, limit: str) -> StudentEnded:
        """End S; the exception that says why."""
        use = self.stop()
        limit = use.limit or limit or "died"  # what the Station saw is nearer to the cause
        self.hit(limit, use.words)
        return StudentEnded(limit, use.words or self.words(limit))

    def hostile(self, what: str) -> StudentEnded:
        """S has broken the protocol, which honest code does not."""
        if "at most" in what:  # too large: may be honest
            self.stop()
            self.hit("message")
            return StudentEnded("message", self.words("message"))
        self.suspicions.append(f"{self.cell}: the student's process sent {what}")
        self.stop()
        return StudentEnded("died", "disturbed the connection to the tests and was stopped.")

    def stop(self) -> Any:
        """End S and keep what it used."""
        use = self.lifeline.stop_student()  # before the channel closes, or S ends before it was looked at
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        self.peak = max(self.peak, use.peak_memory)
        return use

    def hit(self, limit: str, words: str = "") -> None:
        """Note a limit that ended something."""
        event = LimitEvent(self.cell, limit, words or self.words(limit))
        if event not in self.limits_hit:
            self.limits_hit.append(event)

    def note(self, limit: str) -> None:
        if all(event.limit != "time" or event.cell != self.cell for event in self.limits_hit):
            self.limits_hit.append(LimitEvent(self.cell, "time", self.words(limit)))

    def words(self, limit: str) -> str:
        return WORDS[limit].format(**self.limits.numbers())

    def keep(self, outputs: Any) -> None:
        """Take over what S printed, if it has the form of outputs."""
        if not isinstance(outputs, list):
            return
        for output in outputs[: OUTPUT_ITEMS - len(self.outputs)]:
            clean = clean_output(output)
            if clean is None:
                continue
            self.kept += size_of(clean)
            if self.kept > OUTPUT_FACTOR * self.limits.output:
                return
            self.outputs.append(clean)

    def raise_error(self, answer: dict[str, Any]) -> None:
        """Raise what the student's code raised, as a standard exception where it is one."""
        error = answer.get("error")
        if error is None:
            return
        if not isinstance(error, dict):
            raise self.hostile("a malformed error")
        kind, message = str(error.get("type", ""))[:200], str(error.get("message", ""))[:20_000]
        if kind == "TimeLimit":
            self.hit("time")
            raise StudentEnded("time", self.words("time"))
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
        made.student_traceback = str(error.get("traceback", ""))[:8000]  # type: ignore[attr-defined]
        raise made

    # Values

    def decode(
        self,
        tree: Any,
        blobs: list[bytes],
        name: str,
        by_name: bool = False,
        known: Mapping[int, Any] | None = None,
    ) -> Any:
        """The value of a tree from S. by_name: what the name stands for in S, after a restart too."""

        def other(part: dict[str, Any]) -> Any:
            if part.get("t") != "handle" or type(part.get("n")) is not int:
                raise WireError("a malformed handle")
            base = Proxy if part.get("call") is True else Handle
            of = printable(str(part.get("of", "object"))[:100])
            kind = type(of or "object", (base,), {})  # so that messages name the student's type
            if by_name and part is tree:
                return kind(self, {"t": "name", "name": name}, name)
            return kind(self, {"t": "handle", "n": part["n"], "of": self.generation}, of)

        try:
            return Decoder(blobs, other, known).decode(tree)
        except WireError as error:
            raise self.hostile(str(error)) from None

    def current(self, target: dict[str, Any]) -> dict[str, Any]:
        """A target that the present S knows."""
        if target["t"] == "handle" and target["of"] != self.generation:
            raise StudentEnded("died", "was started anew in the meantime, so that this object is gone.")
        return target

    def to_tree(self, value: Any) -> Any:
        """The tree of what Encoder does not know: handles and functions of the test."""
        if isinstance(value, Handle):
            return self.current(value._target)
        if isinstance(value, types.FunctionType):
            return function_tree(value, self.to_tree)
        raise AuthorError(
            f"a test passes an object of type {type(value).__name__} to the student's code; only plain data, "
            "arrays, functions of the test and the student's own objects can be passed"
        )


def file_of(cell: TrustedCell) -> str:
    return f"<{cell.kind} {cell.name}>"


def type_of(error: BaseException) -> str:
    return getattr(error, "student_type", "") or type(error).__name__


def parsed(cell: TrustedCell) -> ast.Module:
    """The code of a given cell or a test; nothing of other cells."""
    if cell.cell_type != "code" or cell.kind not in ("given", "test"):
        return ast.Module([], [])
    return ast.parse(code_of(cell))


def code_of(cell: TrustedCell) -> str:
    """A cell's code as Python, its lines where they were; %%time and the like run what follows."""
    source = cell.source
    if source.startswith(("%%time", "%%capture")):
        source = "#" + source
    return TransformerManager().transform_cell(source)


def names_read(cell: TrustedCell) -> set[str]:
    """Names that a cell's code reads anywhere."""
    return {
        node.id
        for node in ast.walk(parsed(cell))
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store)
    }


def names_set(cell: TrustedCell) -> set[str]:
    """Names that a cell's code binds at its top level, or from functions by `global`."""
    names: set[str] = set()
    waiting: list[ast.AST] = list(parsed(cell).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            names |= {n for part in ast.walk(node) if isinstance(part, ast.Global) for n in part.names}
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            waiting += [part for part in ast.walk(node) if isinstance(part, ast.NamedExpr)]
        elif not isinstance(node, ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return names


def printable(text: str) -> str:
    """A text that every file and database can hold: half characters and zero bytes replaced."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def size_of(output: Mapping[str, Any]) -> int:
    """Characters of a clean output."""
    texts = [output.get("text", ""), output.get("evalue", ""), *output.get("traceback", ())]
    return sum(map(len, texts)) + sum(map(len, output.get("data", {}).values()))


def globals_read(source: str) -> set[str]:
    """Global names that a function's definition reads: in its body, its defaults and its decorators."""
    names, waiting = set(), [compile(source, "<function>", "exec", dont_inherit=True)]
    while waiting:
        code = waiting.pop()
        names |= {step.argval for step in dis.get_instructions(code) if step.opname in LOADS}
        waiting += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return names


def clean_output(output: Any) -> dict[str, Any] | None:
    """An output that has the form of the notebook format, with texts only; None for anything else."""
    if not isinstance(output, dict):
        return None
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return {"output_type": kind, "name": name, "text": printable(str(output.get("text", "")))}
    if kind == "error":
        trace = output.get("traceback")
        lines = [printable(str(line)) for line in trace[:200]] if isinstance(trace, list) else []
        return {
            "output_type": kind,
            "ename": printable(str(output.get("ename", ""))),
            "evalue": printable(str(output.get("evalue", ""))),
            "traceback": lines,
        }
    data = output.get("data")
    if kind not in ("display_data", "execute_result") or not isinstance(data, dict):
        return None
    texts = {printable(str(mime)): printable(str(value)) for mime, value in data.items()}
    clean = {"output_type": kind, "metadata": {}, "data": texts}
    return clean | ({"execution_count": None} if kind == "execute_result" else {})


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


def run(job: Job, variant: int, lifeline: Lifeline) -> Outcome:
    """Execute one variant of a submission. What goes wrong in the grader is the Outcome's `failure`."""
    before = os.environ.get("LGM_GRADING_SEED")
    os.environ["LGM_GRADING_SEED"] = str(job.seed)
    try:
        return Session(job, variant, lifeline).run()
    except Exception as error:
        with contextlib.suppress(Exception):
            lifeline.stop_student()
        return Outcome(job.pseudonym, variant, failure=f"{type(error).__name__}: {error}")
    finally:
        if before is None:
            del os.environ["LGM_GRADING_SEED"]
        else:
            os.environ["LGM_GRADING_SEED"] = before
