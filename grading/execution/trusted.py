"""T: runs the tests and the instructor's given cells, and asks S for everything that the student's code does.

The names that solution cells define are bound to stand-ins before each test. A test cell that runs to its end
without an exception earns its points; nothing that S sends can end, skip or change it. What is printed while
the hidden part of a test runs, here or in S, is shown to nobody.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import linecache
import os
import sys
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from grading.execution.endings import PACKAGES, AuthorError, StudentEnded, words
from grading.execution.lifeline import Lifeline
from grading.execution.link import Link
from grading.execution.scope import Scope, code_of, hidden_lines
from grading.execution.shown import Shown, printable, text_of
from grading.execution.standins import Student
from grading.model import CellRun, CleanCell, GapResult, Job, Outcome, TrustedCell

SOURCE = 10**6  # characters of a cell that is run


class NoShell:
    """IPython's shell for given cells in T: magics and commands do nothing here."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **options: None


class Session:
    """One submission from its first cell to its last."""

    def __init__(self, job: Job, variant: int, lifeline: Lifeline) -> None:
        self.job, self.variant = job, variant
        self.trusted = {cell.name: cell for cell in job.assignment.cells}
        self.scope = Scope(job.assignment.cells)
        self.shown = Shown(job.limits.output)
        self.link = Link(job.limits, lifeline, self.keep)
        self.student = Student(self.link)
        self.namespace: dict[str, Any] = {
            "__name__": "__main__",
            "__builtins__": builtins,
            "display": lambda *things, **options: None,
            "get_ipython": NoShell,
        }
        self.given_names: set[str] = set()  # that given cells have set here
        self.theirs: set[str] = set(self.scope.gap_names)  # names that stand for what the student's code made
        self.bound: dict[str, Any] = {}  # what came from S, by name
        self.stopped: dict[str, str] = {}  # the student's cells that did not run to their end, and why
        self.running: TrustedCell | None = None

    def run(self) -> Outcome:
        """Run all cells; never raises for what a submission does."""
        runs: list[CellRun] = []
        gaps: list[GapResult] = []
        count = 0
        try:
            for cell in self.job.variants[self.variant]:
                if cell.cell_type != "code" or cell.kind in ("text", "manual") and not cell.source.strip():
                    runs.append(CellRun(cell))
                    continue
                start, count = time.monotonic(), count + 1
                self.link.begin(cell.name)
                self.shown.begin()
                if cell.kind == "test":
                    gaps.append(self.test(self.trusted[cell.name]))
                else:
                    self.student_cell(cell)
                    if cell.kind == "given":
                        self.given(self.trusted[cell.name])
                    elif cell.kind == "solution" and cell.name in self.trusted:
                        self.replaced(self.trusted[cell.name])
                seconds = time.monotonic() - start
                runs.append(CellRun(cell, tuple(self.shown.outputs), count, seconds))
        finally:
            self.link.stop()
        return Outcome(
            self.job.pseudonym,
            self.variant,
            tuple(runs),
            tuple(gaps),
            tuple(self.link.limits_hit),
            tuple(self.link.suspicions),
            time.monotonic() - self.link.began,
            self.link.student_seconds,
            self.link.peak,
        )

    # Cells

    def student_cell(self, cell: CleanCell) -> None:
        """Run a cell in S; what it prints and its error are kept for the feedback."""
        if len(cell.source) > SOURCE:
            return self.not_run(cell, f"has more than {SOURCE:,} characters and was not run.")
        try:
            error = self.link.run(cell).get("error")
        except StudentEnded as ended:
            return self.not_run(cell, str(ended), "" if ended.limit == "notebook" else "This cell ")
        if isinstance(error, dict):
            kind, message = text_of(error.get("type"), 200), text_of(error.get("message"), 1000)
            said = f"{kind}: {message}" if message else kind
            self.stopped[cell.name] = f"stopped with {said}{_packages(kind)}"
            if kind == "TimeLimit":
                self.stopped[cell.name] = words("time", self.job.limits)
                self.link.hit("time")
        return None

    def not_run(self, cell: CleanCell, why: str, who: str = "This cell ") -> None:
        self.stopped[cell.name] = why
        self.shown.error("Stopped", who + why)

    def given(self, cell: TrustedCell) -> None:
        """Run a given cell here as well."""
        theirs = self.uses_theirs(cell)
        try:
            self.execute(cell)
        except Exception as error:
            if theirs or isinstance(error, StudentEnded) or hasattr(error, "student_type"):
                return
            raise AuthorError(
                f"the given cell {cell.name!r} fails: {type(error).__name__}: {error}"
            ) from error
        finally:
            self.given_names |= self.scope.binds(cell.name) & set(self.namespace)

    def replaced(self, cell: TrustedCell) -> None:
        """A solution cell has run in S: what it defines is no longer what an earlier test called so."""
        for name in cell.defines:
            if name not in self.given_names:
                self.namespace.pop(name, None)

    def test(self, cell: TrustedCell) -> GapResult:
        """Run a test here."""
        start = time.monotonic()
        self.uses_theirs(cell)
        try:
            self.execute(cell)
        except (KeyboardInterrupt, AuthorError):
            raise
        except BaseException as error:
            return self.failed(cell, error, time.monotonic() - start)
        return GapResult(cell.gap, cell.points, cell.points, True, seconds=time.monotonic() - start)

    def failed(self, cell: TrustedCell, error: BaseException, seconds: float) -> GapResult:
        """What a failed test says to the student."""
        ended = error.limit if isinstance(error, StudentEnded) else ""
        kind = str(getattr(error, "student_type", "")) or type(error).__name__
        message, trace = str(error), str(getattr(error, "student_traceback", ""))
        if ended:
            message = f"Your code {message}" if ended not in ("notebook", "calls") else message
            ended = "time" if ended == "notebook" else ended
        elif not isinstance(error, AssertionError):
            message = f"{kind}: {message}{_packages(kind)}" if message else kind
            if type(error) is NameError and self.stopped:
                message = self.cause(cell, message)
        about = about_hidden(cell, _frames(error.__traceback__))
        return GapResult(
            gap=cell.gap,
            points=0.0,
            max_points=cell.points,
            passed=False,
            error=printable(kind),
            message=printable(message[:20_000]),
            hidden=about is not None,
            about=about or "",
            traceback=printable(trace),
            ended_by=ended,
            seconds=seconds,
        )

    def cause(self, cell: TrustedCell, message: str) -> str:
        """Why a name is missing: the cell of this gap did not run to its end, or an earlier one."""
        for name, why in self.stopped.items():
            if name in self.trusted and self.trusted[name].gap == cell.gap:
                return f"the cell of this gap {why}"
        name, why = next(iter(self.stopped.items()))
        return f"{message}; an earlier cell, {name}, {why}"

    def execute(self, cell: TrustedCell) -> None:
        """Run trusted code in T's namespace."""
        self.bind(cell)
        source, name = code_of(cell), file_of(cell)
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        self.scope.done.append(cell.name)
        self.running = cell
        try:
            with self.printed():
                # asserts stay whatever Python's options are, and the imports of this module are its own
                exec(compile(source, name, "exec", dont_inherit=True, optimize=0), self.namespace)
        finally:
            self.running = None

    # What is shown

    def keep(self, outputs: Any) -> None:
        """Take what S says that it printed."""
        if not self.in_hidden_part():
            self.shown.keep(outputs)

    @contextlib.contextmanager
    def printed(self) -> Iterator[None]:
        """Collect what T's code prints."""
        text = _Visible(self)
        try:
            with contextlib.redirect_stdout(text), contextlib.redirect_stderr(io.StringIO()):
                yield
        finally:
            self.shown.text(text.getvalue()[: self.job.limits.output])

    def in_hidden_part(self) -> bool:
        """Does the hidden part of a test run now?"""
        return self.running is not None and about_hidden(self.running, _stack(sys._getframe())) is not None

    # Names

    def uses_theirs(self, cell: TrustedCell) -> bool:
        """Does a trusted cell use what the student wrote? Then so does who uses what it sets."""
        theirs = bool(self.scope.reads(cell.name) & self.theirs)
        if theirs:
            self.theirs |= self.scope.binds(cell.name)
        return theirs

    def bind(self, cell: TrustedCell) -> None:
        """Bind afresh what a cell reads of what solution cells define, and of what nobody else has."""
        for name, value in self.bound.items():
            if self.namespace.get(name) is value:  # else T's own code has set it since
                self.namespace.pop(name, None)
        self.bound = {}
        needed = self.scope.needed(cell.name) - set(self.namespace)
        self.bound = self.student.names(self.scope.asked(cell.name), needed)
        self.namespace |= self.bound


class _Visible(io.StringIO):
    """What T's code prints, but for hidden parts."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def write(self, text: str) -> int:
        return len(text) if self._session.in_hidden_part() else super().write(text)


Place = tuple[str, int]  # a file and a line that runs in it


def about_hidden(cell: TrustedCell, places: Iterator[Place]) -> str | None:
    """What the hidden part is about in which one of the places is; None if they are in none."""
    hidden, file = hidden_lines(cell), file_of(cell)
    return next((hidden[line] for name, line in places if name == file and line in hidden), None)


def _frames(trace: TracebackType | None) -> Iterator[Place]:
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next


def _stack(frame: FrameType | None) -> Iterator[Place]:
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back


def file_of(cell: TrustedCell) -> str:
    return f"<{cell.kind} {cell.name}>"


def _packages(kind: str) -> str:
    """After an import that failed: what can be imported."""
    return (
        f"; packages that answers may use: {PACKAGES}"
        if kind in ("ModuleNotFoundError", "ImportError")
        else ""
    )


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
