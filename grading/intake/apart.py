"""Work on a student's bytes in a process of its own, with a budget of time and memory that the kernel counts.

    apart(work, *arguments) → what work(*arguments) returns, or Exhausted

Nothing is shared between two calls, and nothing that happens in one reaches the coordinator. There is no
limit of wall time: a busy machine costs nobody anything.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

try:
    import resource
except ImportError:  # Windows, where only the time is limited, and by the clock
    resource = None  # type: ignore[assignment]

T = TypeVar("T")
BY_TIME = {None, *(-getattr(signal, name, 0) for name in ("SIGXCPU", "SIGKILL"))}  # how a process ended
LOCK = threading.Lock()  # multiprocessing looks after all children whenever it starts one
FORKS = "forkserver" in multiprocessing.get_all_start_methods()
CONTEXT: Any = multiprocessing.get_context("forkserver" if FORKS else "spawn")
if FORKS:  # what every child has at hand: a fork then takes milliseconds
    CONTEXT.set_forkserver_preload(["grading.intake.repair", "grading.intake.collect"])


class Exhausted(Exception):
    """The budget is used up, or the process ended; in words for the student."""


@dataclass(frozen=True)
class Budget:
    """What reading one submission may use."""

    seconds: int = 10  # of processor time
    memory: int = 2**30  # bytes of address space, beyond what the process begins with


READING = Budget()


def apart(work: Callable[..., T], *arguments: Any, budget: Budget | None = None) -> T:
    """work(*arguments), both picklable, in a process that is ended when the budget is used up.

    Exhausted: its words are the student's. RuntimeError: `work` raised, which is a fault of ours.
    """
    budget = budget or READING
    mine, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_work, args=(theirs, budget, work, arguments), daemon=True)
    with LOCK:
        process.start()
    theirs.close()
    try:
        if resource is None and not mine.poll(10 * budget.seconds):
            raise EOFError
        result, fault = mine.recv()
    except (EOFError, OSError):
        with LOCK:
            process.join(None if resource else 0)
        if process.exitcode in BY_TIME:
            text = f"It takes more than {budget.seconds} s of computing to read what was handed in"
        else:
            text = "What was handed in ends the program that reads it"
        raise Exhausted(f"{text}: hand in the notebook alone, with short cells.") from None
    finally:
        mine.close()
        with LOCK:
            process.kill()
            process.join()
    if fault == "MemoryError":
        raise Exhausted(
            f"It takes more than {budget.memory // 2**20} MB of memory to read what was handed in: clear the"
            " notebook's outputs, and hand in the notebook alone."
        )
    if fault:
        raise RuntimeError(fault)
    return result


def _work(theirs: Connection, budget: Budget, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's
    result, fault = None, ""
    try:
        _limit(budget)
        result = work(*arguments)
    except MemoryError:
        fault = "MemoryError"
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"[:1000]
    del arguments
    try:
        theirs.send((result, fault))
    except MemoryError:
        theirs.send((None, "MemoryError"))


def _limit(budget: Budget) -> None:
    if resource is None:
        return
    with suppress(OSError, ValueError):  # the system may allow less
        resource.setrlimit(resource.RLIMIT_CPU, (budget.seconds, budget.seconds + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        pages = int(Path("/proc/self/statm").read_text().split()[0])  # Linux alone can say
        most = pages * os.sysconf("SC_PAGE_SIZE") + budget.memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
