"""What a submission uses where control groups are refused: its processes are looked at ten times a second.

Not seen are memory that no process shows, and processor time of processes that nobody waited for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import psutil


class Watch:
    """As `groups.Group`, from outside. family: gives all processes; base: bytes of each that others share."""

    entrances: tuple[int, ...] = ()
    clock = ""

    def __init__(
        self,
        family: Callable[[], list[psutil.Process]],
        end: Callable[[], None],
        base: int,
        memory: int,
        processes: int,
    ) -> None:
        self._family, self.end, self._base = family, end, base
        self._memory, self._processes = memory, processes
        self._seconds, self._peak = 0.0, 0

    def seconds(self) -> float:
        """Processor time as last seen."""
        return self._seconds

    def peak(self) -> int:
        """Bytes, at most, as seen."""
        return self._peak

    def exceeded(self) -> str:
        """Look: the limit that is passed, "memory", "processes" or ""."""
        family = self._family()
        memory, threads, seconds = 0, len(family), 0.0
        few = threads <= self._processes  # a fork bomb leaves no time to look at each
        for process in family if few else ():
            used, count = memory_of(process.pid)
            memory += max(0, used - self._base)
            threads += max(0, count - 1)
            with contextlib.suppress(psutil.Error):
                seconds += sum(process.cpu_times()[:4])  # with those of children that it has waited for
        self._seconds, self._peak = max(self._seconds, seconds), max(self._peak, memory)
        return "memory" if memory > self._memory else "processes" if threads > self._processes else ""

    def close(self) -> None:
        """Nothing is left."""


def memory_of(pid: int) -> tuple[int, int]:
    """Bytes of memory of a process's own (shared, page tables too), and its threads; 0, 0 if it is gone."""
    memory = threads = 0
    with contextlib.suppress(OSError, ValueError):
        for text in Path("/proc", str(pid), "status").read_text(errors="replace").splitlines():
            if text.startswith(("RssAnon:", "RssShmem:", "VmSwap:", "VmPTE:")):
                memory += int(text.split()[1]) * 1024
            elif text.startswith("Threads:"):
                threads = int(text.split()[1])
    return memory, threads
