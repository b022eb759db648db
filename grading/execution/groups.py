"""Control groups: the kernel counts and limits what all processes of a submission use together.

Of version 2, parts of which systemd lends to ordinary users, and of version 1, as root. Groups are made below
the one that the grader itself is in, so that what holds for the grader holds for them as well.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

CONTROLLERS = "memory", "pids", "cpuacct", "cpu"  # the last, fair shares, is used where it is to be had
LEAF = "lgm-grader"  # where the grader goes in version 2, in which a group has either processes or groups
PREFIX = "lgm-submission-"

_numbers, _lock = itertools.count(), threading.Lock()


class Refused(Exception):
    """There are no control groups for us; the message says why."""


class Group:
    """The processes of one submission: counts and limits bytes of memory (page tables, files in memory, tmpfs
    and the kernel's own for them included) and processes with their threads. OSError if it cannot be made.

    entrances: open files; a process that writes "0" into each is in the group, with all that it starts.
    clock: a file from which `seconds_of` reads the processor time.
    """

    def __init__(self, places: Mapping[str, Path], memory: int, processes: int) -> None:
        name = f"{PREFIX}{os.getpid()}-{next(_numbers)}"
        self._places = {controller: folder / name for controller, folder in places.items()}
        self._folders = sorted(set(self._places.values()))
        self.entrances: list[int] = []
        try:
            for folder in self._folders:
                folder.mkdir()
            self._write("memory", memory, "memory.max", "memory.limit_in_bytes")
            with contextlib.suppress(FileNotFoundError):  # where swap is not counted
                swap = 0 if self._file("memory", "memory.max") else memory
                self._write("memory", swap, "memory.swap.max", "memory.memsw.limit_in_bytes")
            self._write("pids", processes, "pids.max")
            self.clock = str(self._file("cpuacct", "cpuacct.usage", "cpu.stat"))
            self.entrances += [os.open(folder / "cgroup.procs", os.O_WRONLY) for folder in self._folders]
        except OSError:
            self.close()
            raise

    def seconds(self) -> float:
        """Processor time of all processes that are or were in it."""
        return seconds_of(self.clock)

    def peak(self) -> int:
        """Bytes, at most, until now."""
        return int(self._read("memory", "memory.peak", "memory.max_usage_in_bytes", "memory.current"))

    def exceeded(self) -> str:
        """The limit at which the kernel has ended or refused something: "memory", "processes" or ""."""
        for controller, limit, key, *names in (
            ("memory", "memory", "oom_kill", "memory.events", "memory.oom_control"),
            ("pids", "processes", "max", "pids.events"),
        ):
            counts = dict(line.split() for line in self._read(controller, *names).splitlines())
            if int(counts.get(key, 0)):
                return limit
        return ""

    def end(self) -> None:
        """Kill all of it and wait until it is gone. TimeoutError if the kernel does not let go of it."""
        deadline = time.monotonic() + 20
        self._write("pids", 0, "pids.max")  # nothing can be started any more
        while pids := processes_of(self._folders[0]):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes cannot be ended: {pids}")
            time.sleep(0.002)

    def close(self) -> None:
        """Remove the group, of which everything was ended."""
        for entrance in self.entrances:
            os.close(entrance)
        self.entrances = []
        for folder in self._folders:
            for _ in range(100):  # the last process may be on its way out
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.01)
                else:
                    break

    def _file(self, controller: str, *names: str) -> Path | None:
        """The first of these that there is: versions of control groups call it differently."""
        found = (self._places[controller] / name for name in names)
        return next((path for path in found if path.exists()), None)

    def _read(self, controller: str, *names: str) -> str:
        path = self._file(controller, *names)
        return path.read_text() if path else "0"

    def _write(self, controller: str, value: int, *names: str) -> None:
        path = self._file(controller, *names)
        if path is None:
            raise FileNotFoundError(errno.ENOENT, "this kernel has none of them", " ".join(names))
        path.write_text(str(value))


def seconds_of(clock: str) -> float:
    """Processor time as a group's clock says. OSError if the group is gone."""
    text = Path(clock).read_text()  # nanoseconds, or "usage_usec" and microseconds
    return int(text) / 1e9 if text.strip().isdigit() else int(text.split()[1]) / 1e6


def processes_of(folder: Path) -> list[int]:
    return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]


def find(mounts: str, own: str) -> dict[str, Path]:
    """Controller → folder below which groups can be made, from mountinfo and cgroup in /proc/self.

    Moves the grader into a group of its own where version 2 asks for that. Refused, with the reason.
    """
    found = own_groups(mounts, own)
    second = found.pop("", None)
    places = {name: found[name] for name in CONTROLLERS if name in found}
    try:
        if second is not None and (rest := [name for name in CONTROLLERS if name not in places]):
            folder = second.parent if second.name == LEAF else second
            there = {*_lend(folder, rest), "cpuacct"}  # time is counted in each group
            places |= {name: folder for name in rest if name in there}
        if missing := [name for name in CONTROLLERS[:3] if name not in places]:
            raise Refused(f"no controller for {' and '.join(missing)} is lent to the grader's group")
        for folder in set(places.values()):
            _sweep(folder)
        Group(places, 2**20, 10).close()
    except OSError as error:
        raise Refused(f"{error.strerror}: {error.filename}") from None
    return places


def own_groups(mounts: str, own: str) -> dict[str, Path]:
    """Controller → folder of the group that this process is in; "" stands for version 2."""
    paths: dict[str, str] = {}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path)
    found = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        root, mounted = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind in ("cgroup", "cgroup2"):
            for name in paths.keys() & ({""} if kind == "cgroup2" else {*options.split(",")}):
                below = os.path.relpath(paths[name], root)
                if not below.startswith(".."):
                    found[name] = Path(os.path.normpath(Path(mounted, below)))
    return found


def _lend(folder: Path, wanted: list[str]) -> list[str]:
    """Let groups below a group of version 2 use the controllers that it has; gives these."""
    names = [name for name in (folder / "cgroup.controllers").read_text().split() if name in wanted]
    control, words = folder / "cgroup.subtree_control", " ".join(f"+{name}" for name in names)
    try:
        control.write_text(words)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        (folder / LEAF).mkdir(exist_ok=True)
        for pid in processes_of(folder):
            with contextlib.suppress(ProcessLookupError):
                (folder / LEAF / "cgroup.procs").write_text(str(pid))
        control.write_text(words)
    return names


def _sweep(folder: Path) -> None:
    """Remove groups that a killed grader has left."""
    for left in folder.glob(f"{PREFIX}*"):
        if not psutil.pid_exists(int(left.name.removeprefix(PREFIX).split("-")[0])):
            with contextlib.suppress(OSError):
                left.rmdir()


_places: list[dict[str, Path] | Refused] = []


def places() -> dict[str, Path]:
    """Where this process can make groups; found once. Refused, with the reason."""
    with _lock:
        if not _places:
            try:
                read = (Path("/proc/self", name).read_text() for name in ("mountinfo", "cgroup"))
                _places.append(find(*read))
            except (OSError, Refused) as error:
                _places.append(Refused("there is no /proc" if isinstance(error, OSError) else str(error)))
    if isinstance(_places[0], Refused):
        raise _places[0]
    return _places[0]
