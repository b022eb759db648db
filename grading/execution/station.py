"""A Station executes one submission at a time: it owns two fork servers, hands their children to each other
and ends what uses too much: the kernel counts (`groups`), or, where it may not, we do (`watch`).

There is one for each worker. Several may live in one process, each used by the thread that made it, since the
servers end with this thread.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import resource
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from grading.execution import groups, sandbox, syscalls, trusted
from grading.execution.endings import words
from grading.execution.lifeline import StudentUse
from grading.execution.watch import Watch, memory_of
from grading.execution.wire import Channel, Closed
from grading.model import Job, Limits, Outcome, from_data, to_data

ROOT = Path(__file__).resolve().parents[2]
TICK = 0.1  # seconds between looks at what S uses
START = 600.0  # seconds for a fork server to be ready
MARGIN = 120.0  # seconds beyond the notebook's that T may take for its own computations
SLACK = 1.0  # seconds of processor time that S has to end by itself what takes too long
OWN_THREADS = 32  # that S has without the student's doing
OWN_MEMORY = 2 * 2**30  # bytes that T may take for the tests' own computations


class StationError(Exception):
    """A fork server cannot be started; the grader's fault."""


class Server:
    """A fork server and the socket to it."""

    def __init__(
        self, role: str, sandboxed: bool, threads: int, function: str, preload: list[str] | None
    ) -> None:
        self.role = role
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        options: dict[str, Any] = {
            "sandbox": sandboxed,
            "function": function,
            "cover_tmp": not sandbox.covers_tmp(),
            "filter": syscalls.system_call_filter().hex(),
        }
        if preload is not None:
            options["preload"] = preload
        line = [
            sys.executable,
            "-m",
            "grading.execution.zygote",
            role,
            str(theirs.fileno()),
            json.dumps(options),
        ]
        environment = os.environ | sandbox.quiet(threads) | {"PYTHONPATH": str(ROOT)}
        environment.pop("LGM_GRADING_SEED", None)
        if role == "student" and sandboxed:
            line = sandbox.command(line, threads)
        elif role == "student":
            environment = sandbox.environment(threads) | {"PYTHONPATH": str(ROOT)}
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the server)
        self.process = subprocess.Popen(
            line,
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            cwd="/",
            start_new_session=True,
        )
        theirs.close()
        self.control = ours
        self.pid = 0  # of the server itself, seen from here
        self.base = 0  # bytes of anonymous memory that its children share with it

    def wait(self) -> None:
        """Until it has imported everything."""
        self.control.settimeout(START)
        try:
            said = self.control.recv(100)
        except OSError:
            said = b""
        if said != b"ready":
            raise StationError(f"the fork server for {self.role} did not start: {self.last_words()}")
        self.control.settimeout(None)
        for process in [psutil.Process(self.process.pid), *_children(self.process.pid)]:
            with contextlib.suppress(psutil.Error):
                if "grading.execution.zygote" in process.cmdline() and not process.name().startswith("bwrap"):
                    self.pid, self.base = process.pid, memory_of(process.pid)[0]

    def last_words(self) -> str:
        """The last line that it wrote to stderr: of a traceback the error itself."""
        self.errors.seek(0)
        lines = self.errors.read()[-2000:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"

    def alive(self) -> bool:
        """Does it listen? A dying process closes its sockets before it can be waited for."""
        closed, _, _ = select.select([self.control], [], [], 0)
        return self.process.poll() is None and not closed

    def fork(self, request: dict[str, Any], entrances: Sequence[int] = ()) -> socket.socket:
        """A child of the server, in control groups; our end of the socket to it. OSError if the server is
        gone."""
        ours, theirs = socket.socketpair()
        try:
            socket.send_fds(self.control, [json.dumps(request).encode()], [theirs.fileno(), *entrances])
        finally:
            theirs.close()
        return ours

    def family(self) -> list[psutil.Process]:
        """Everything that its children are and have started."""
        own = {self.process.pid, self.pid, _parent(self.pid)}
        return [p for p in _children(self.process.pid) if p.pid not in own]

    def end_family(self) -> None:
        """Kill all of it and wait until it is gone."""
        deadline = time.monotonic() + 20
        while family := self.family():
            for process in family:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            if time.monotonic() > deadline:
                raise StationError(f"processes of {self.role} cannot be ended: {[p.pid for p in family]}")
            time.sleep(0.01)

    def close(self) -> None:
        self.control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=0.5)
        rest = _children(self.process.pid)
        self.process.kill()
        self.process.wait()
        for process in rest:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.errors.close()


class Station:
    """Executes jobs one after another; a context manager."""

    def __init__(
        self,
        sandbox: bool = True,
        threads: int = 1,
        serve: str = "grading.execution.student.serve",
        run: str = "grading.execution.station.run_child",
        preload: list[str] | None = None,
    ) -> None:
        self._sandbox, self._threads, self._preload = sandbox, threads, preload
        self._functions = {"student": serve, "trusted": run}
        self._servers: dict[str, Server] = {}
        self._limits = Limits()
        self._scratch = ""
        self._guard: groups.Group | Watch | None = None  # of the present S
        self._limit = ""  # that ended it
        self._until = math.inf  # seconds of processor time that it may take
        self._looked = 0.0

    def __enter__(self) -> Station:
        if self._sandbox:
            sandbox.check()
        try:
            for role in self._functions:
                self._start(role)
            for server in self._servers.values():
                server.wait()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        for server in self._servers.values():
            server.close()
        self._servers.clear()
        self._remove_scratch()

    def execute(self, job: Job) -> Outcome:
        """Run each variant and keep the best, as far as the notebook's time, which is for all, reaches.

        What goes wrong in the grader is the Outcome's `failure`.
        """
        best: Outcome | None = None
        began, left = time.monotonic(), job.limits.notebook_seconds
        most = sum(cell.points for cell in job.assignment.cells if cell.kind == "test")
        for variant in range(len(job.variants)):
            for _ in range(2):
                start = time.monotonic()
                limits = dataclasses.replace(job.limits, notebook_seconds=left)
                outcome = self._try(dataclasses.replace(job, limits=limits), variant)
                left -= max(outcome.student_seconds, (time.monotonic() - start) / limits.clock)
                if not outcome.failure or left <= 0:
                    break
            if outcome.failure:
                return outcome
            if best is None or outcome.score > best.score:
                best = outcome
            if best.score >= most or left <= 0:
                break
        if best is None:
            return Outcome(job.pseudonym, failure="nothing to execute")
        return dataclasses.replace(best, seconds=time.monotonic() - began, protection=self.protection())

    def _start(self, role: str) -> None:
        server = Server(role, self._sandbox, self._threads, self._functions[role], self._preload)
        self._servers[role] = server

    def _server(self, role: str) -> Server:
        """The fork server, started anew if it is gone."""
        if role not in self._servers or not self._servers[role].alive():
            if role in self._servers:
                self._servers.pop(role).close()
            self._start(role)
            self._servers[role].wait()
        return self._servers[role]

    def _try(self, job: Job, variant: int) -> Outcome:
        """One variant in a T of its own."""
        self._limits = job.limits
        deadline = time.monotonic() + job.limits.clock * job.limits.notebook_seconds + MARGIN
        try:
            line = Channel(self._server("trusted").fork({"variant": variant}))
            try:
                line.send({}, [json.dumps(to_data(job)).encode()])
                return self._attend(line, deadline)
            finally:
                line.close()
                self.stop_student()
                self._servers["trusted"].end_family()
        except (Closed, OSError, StationError) as error:
            for role in list(self._servers):
                if not self._servers[role].alive():
                    self._servers.pop(role).close()
            said = f"{type(error).__name__}: {error}" if str(error) else "the trusted process ended"
            return Outcome(job.pseudonym, variant, failure=said)

    def _attend(self, line: Channel, deadline: float) -> Outcome:
        """Answer T's requests and watch S, until the outcome is there."""
        while True:
            ready, _, _ = select.select([line.sock], [], [], TICK)
            self._look()
            if time.monotonic() > deadline:
                raise StationError("the tests themselves took too long")
            if not ready:
                continue
            request, blobs = line.receive(timeout=60)
            if request["op"] == "outcome":
                return from_data(Outcome, json.loads(blobs[0]))
            if request["op"] == "start":
                sock = self.start_student()
                line.send({"clock": self._guard.clock if self._guard else ""})
                socket.send_fds(line.sock, [b"s"], [sock.fileno()])
                sock.close()
            elif request["op"] == "allow":
                self._until = float(request["until"]) + SLACK
            elif request["op"] == "used":
                line.send({"seconds": self._guard.seconds() if self._guard else 0.0})
            else:
                line.send(dataclasses.asdict(self.stop_student()))

    # The Lifeline, from this side

    def start_student(self) -> socket.socket:
        """A fresh S."""
        self.stop_student()
        limits = self._limits
        server = self._server("student")
        request: dict[str, Any] = {
            "uid": 60_000 + secrets.randbelow(5000) + 5000 * (os.getpid() % 100),
            "scratch_bytes": limits.scratch,
            "limits": {"output": limits.output},
            "data": 0,
        }
        if self._sandbox and os.geteuid() == 0:
            request["processes"] = limits.processes + 2 * OWN_THREADS  # enough for the watch to see too many
        if not self._sandbox:
            self._scratch = request["scratch"] = tempfile.mkdtemp(prefix="scratch-")
        self._limit, self._until = "", math.inf
        most = limits.memory, limits.processes + OWN_THREADS
        try:
            self._guard = groups.Group(groups.places(), *most)
        except groups.Refused:
            self._guard = Watch(server.family, server.end_family, server.base, *most)
        return server.fork(request, self._guard.entrances)

    def stop_student(self) -> StudentUse:
        """End S and everything that it started."""
        guard, self._guard = self._guard, None
        use = StudentUse()
        if guard is not None:
            self._limit = self._limit or guard.exceeded()
            said = words(self._limit, self._limits) if self._limit else ""
            guard.end()
            use = StudentUse(guard.peak(), self._limit, said, guard.seconds())
            guard.close()
        self._remove_scratch()
        return use

    def _remove_scratch(self) -> None:
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = ""

    def _look(self) -> None:
        """End S if it has used too much."""
        if self._guard is None or self._limit or time.monotonic() < self._looked + TICK:
            return
        self._looked = time.monotonic()
        self._limit = self._guard.exceeded() or ("time" if self._guard.seconds() > self._until else "")
        if self._limit:
            self._guard.end()

    def protection(self) -> str:
        """What keeps submissions to their limits here, and what nothing does: for the report."""
        return protection(self._sandbox)


def protection(sandboxed: bool) -> str:
    """What keeps submissions to their limits here, and what nothing does: a line for the report."""
    try:
        groups.places()
        said = "limits kept by control groups"
    except groups.Refused as error:
        said = (
            f"limits kept by watching, ten times a second, as control groups are refused ({error}); not "
            "enforced: memory that no process shows, time of processes that nobody waited for, fair shares"
        )
    if not sandboxed:
        return f"no sandbox: nothing keeps students' code from this machine; {said}"
    if not syscalls.system_call_filter():
        said += (
            "; system calls are not filtered (libseccomp is missing: apt install libseccomp2); not enforced: "
            "no namespaces, no io_uring, no ptrace, no memory files, no sockets to the host"
        )
    return said


class RemoteLifeline:
    """T's side: asks the Station."""

    def __init__(self, line: Channel) -> None:
        self._line = line
        self._running, self._clock, self._seconds = False, "", 0.0

    def start_student(self) -> socket.socket:
        self._line.send({"op": "start"})
        answer, _ = self._line.receive(timeout=START)
        self._running, self._clock = True, answer["clock"]
        _, fds, _, _ = socket.recv_fds(self._line.sock, 1, 1)
        if not fds:
            raise OSError("no connection to the student's process")
        return socket.socket(fileno=fds[0])

    def stop_student(self) -> StudentUse:
        self._line.send({"op": "stop"})
        answer, _ = self._line.receive(timeout=60)
        use = StudentUse(**answer)
        self._running, self._seconds = False, use.seconds
        return use

    def used(self) -> float:
        if self._running and self._clock:  # without asking, since tests call hundreds of times
            return groups.seconds_of(self._clock)
        if self._running:
            self._line.send({"op": "used"})
            return float(self._line.receive(timeout=60)[0]["seconds"])
        return self._seconds

    def allow(self, until: float) -> None:
        self._line.send({"op": "allow", "until": until})


def run_child(sock: socket.socket, request: dict[str, Any]) -> None:
    """In T: read the job, run it, send the outcome."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    line = Channel(sock)
    _, blobs = line.receive()
    job = from_data(Job, json.loads(blobs[0]))
    _bound_memory()
    outcome = trusted.run(job, int(request["variant"]), RemoteLifeline(line))
    line.send({"op": "outcome"}, [json.dumps(to_data(outcome)).encode()])


def _bound_memory() -> None:
    """What a test computes from an answer must not fill the machine's memory: MemoryError instead."""
    for text in Path("/proc/self/status").read_text().splitlines() if sys.platform == "linux" else ():
        if text.startswith("VmData:"):
            most = int(text.split()[1]) * 1024 + OWN_MEMORY
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _children(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return [p for p in psutil.Process(pid).children(recursive=True) if alive(p)]
    return []


def alive(process: psutil.Process) -> bool:
    """Does it still run? One that has ended is listed until it was waited for, for a moment as dead."""
    with contextlib.suppress(psutil.Error):
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return False


def _parent(pid: int) -> int:
    """Of a fork server: bubblewrap's own process 1, if it is in a sandbox."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).ppid()
    return 0
