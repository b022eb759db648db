"""Runs cells of an exercise outside of Jupyter, each job in a process of its own, forked from this one after
the imports that take long.

For trusted code only, such as the bank: there is no sandbox here.
"""

from __future__ import annotations

import ast
import contextlib
import io
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

from grading.names import names

TIMEOUT = 60.0  # seconds of processor time: on a busy machine the clock runs on
WALL = 20.0  # times as much by the clock, for what sleeps


@dataclass(frozen=True)
class Cell:
    """A code cell: `kind` is given, solution or test; a test has the name of its gap."""

    kind: str
    name: str
    source: str

    @cached_property
    def sets(self) -> set[str]:
        """Names that the cell sets or changes at its top level."""
        return names(self.source)[0]

    @cached_property
    def uses(self) -> set[str]:
        """Names that the cell reads, in functions too."""
        return names(self.source)[1]


@dataclass(frozen=True)
class Job:
    """Cells to run in order, once a grading seed (variable LGM_GRADING_SEED), each in `timeout` seconds."""

    label: str
    cells: list[Cell]
    seeds: tuple[int, ...] = (0,)
    timeout: float = TIMEOUT

    @property
    def seconds(self) -> float:
        """The limit for all seeds."""
        return self.timeout * len(self.seeds)


@dataclass(frozen=True)
class Result:
    """What a test did: passed, or the type and message of the exception that ended it or a cell before it."""

    passed: bool
    error: str = ""
    message: str = ""
    seconds: float = 0.0


Results = dict[int, dict[str, Result]]  # seed → gap → what the gap's test did


def run_seeds(job: Job) -> Results:
    """Run the job's cells in this process, each seed in a fresh namespace; only imports are shared."""
    return {seed: run_cells(job.cells, seed) for seed in job.seeds}


def run_cells(cells: list[Cell], seed: int = 0) -> dict[str, Result]:
    """Run the cells in this process, in a fresh namespace; gives each test's result by gap.

    A cell that fails does not stop the others, as in a graded notebook; where a test then lacks a name, the
    first failure is reported.
    """
    os.environ["LGM_GRADING_SEED"] = str(seed)
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    module.__dict__["display"] = lambda *things, **options: None
    results: dict[str, Result] = {}
    earlier: Result | None = None
    with tempfile.TemporaryDirectory() as folder:
        for number, cell in enumerate(cells):
            start = time.perf_counter()
            result = _run_cell(cell, module.__dict__, Path(folder) / f"cell{number}_{cell.name}.py")
            seconds = time.perf_counter() - start
            if cell.kind == "test":
                if not result.passed and earlier is not None and result.error == "NameError":
                    result = earlier
                results[cell.name] = Result(result.passed, result.error, result.message, seconds)
            elif not result.passed:
                earlier = earlier or result
    return results


def _run_cell(cell: Cell, namespace: dict[str, Any], path: Path) -> Result:
    """Run one cell. It is a file, so that TensorFlow's AutoGraph and tracebacks find the source."""
    source = TransformerManager().transform_cell(cell.source)
    path.write_text(source, encoding="utf-8")
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            tree = ast.parse(source)
            last = tree.body[-1] if tree.body else None
            if isinstance(last, ast.Expr):
                tree.body.pop()
            exec(compile(tree, str(path), "exec"), namespace)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), str(path), "eval"), namespace)
                if cell.kind == "test" and value is not None:
                    message = f"a test must not end in a value, which nbgrader reads as marks: {value!r:.60}"
                    return Result(False, "ValueError", message)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        place = "" if isinstance(error, AssertionError) else f" ({_place(error, cell.name)})"
        return Result(False, type(error).__name__, f"{error}{place}")
    return Result(True)


def _place(error: BaseException, name: str) -> str:
    """Where an exception came from: the innermost line of a cell."""
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name.startswith("cell")
    ]
    return f"cell {name!r}" + (f", at: {frames[-1].line}" if frames else "")


def run_forked(jobs: list[Job], workers: int | None = None) -> Iterable[tuple[Job, Results]]:
    """Run each job in a forked process, as many at a time as there are cores; results as they come.

    A process that dies or takes over its seconds of processor time costs its own tests and no others.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        raise OSError("the bank needs an operating system with fork: on Windows use WSL2")
    context = multiprocessing.get_context("fork")
    workers = workers or os.cpu_count() or 1
    waiting = iter(jobs)
    running: dict[Connection, tuple[Job, Any, float]] = {}

    def start() -> None:
        for job in waiting:
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(job, sender), daemon=True)
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", DeprecationWarning
                )  # imports have left threads, all of them idle
                process.start()
            sender.close()
            running[receiver] = (job, process, time.monotonic() + WALL * job.seconds)
            if len(running) >= workers:
                return

    try:
        start()
        while running:
            ready = set(wait(list(running), timeout=1.0))
            for receiver, (job, process, deadline) in list(running.items()):
                if receiver not in ready and time.monotonic() < deadline:
                    continue
                late = receiver not in ready
                results = {} if late else _received(receiver)
                process.kill()
                process.join()
                if not results:
                    late |= process.exitcode == -signal.SIGXCPU
                    reason = f"took longer than {job.seconds:.0f} s" if late else "the process died"
                    tests = [cell.name for cell in job.cells if cell.kind == "test"]
                    lost = dict.fromkeys(tests, Result(False, "ProcessError", reason))
                    results = dict.fromkeys(job.seeds, lost)
                del running[receiver]
                start()
                yield job, results
    finally:
        for _, process, _ in running.values():
            process.kill()


def modules_of(cells: list[Cell]) -> list[str]:
    """Modules that running these cells imports, found in a forked process, which may run operations."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(Job("modules", cells), sender, _modules), daemon=True)
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(WALL * TIMEOUT) else []
    except EOFError:
        return []
    finally:
        process.kill()
        process.join()


def _modules(job: Job) -> list[str]:
    before = set(sys.modules)
    run_cells(job.cells)
    return [name for name in list(sys.modules) if name not in before]


def _received(receiver: Connection) -> Results:
    """What the process has sent; nothing if it ended before."""
    try:
        return receiver.recv()
    except EOFError:
        return {}


def _child(job: Job, sender: Connection, act: Callable[[Job], Any] = run_seeds) -> None:
    """In the forked process: run, answer, end without Python's clean-up, which belongs to the parent."""
    used = sum(os.times()[:2])
    limit = int(used + job.seconds) + 1  # of processor time: then the kernel ends this process
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            sender.send(act(job))
            sender.close()
    finally:
        os._exit(0)
