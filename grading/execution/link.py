"""T's connection to S: requests and answers, the time they may take, and a fresh S where one has ended."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

from grading.execution.endings import StartError, StudentEnded, words
from grading.execution.lifeline import Lifeline
from grading.execution.wire import Channel, Closed, TooLarge, WireError
from grading.model import CleanCell, LimitEvent, Limits

GRACE = 5.0  # seconds that S has to report its own time limit before it is ended
STARTUP = 120.0  # seconds for a fresh S to answer

Answer = tuple[dict[str, Any], list[bytes]]


class Link:
    """One S after another, for one submission. keep: gets what S says that it printed, unchecked."""

    def __init__(self, limits: Limits, lifeline: Lifeline, keep: Callable[[Any], None]) -> None:
        self.limits, self.lifeline, self.keep = limits, lifeline, keep
        self.generation = 0  # which S a handle is of
        self.replay: list[CleanCell] = []  # what a fresh S must run first
        self.began = time.monotonic()
        self.student_seconds, self.peak = 0.0, 0
        self.limits_hit: list[LimitEvent] = []
        self.suspicions: list[str] = []
        self._channel: Channel | None = None
        self._restarts = 0
        self._ended: StudentEnded | None = None  # why there will be no S any more
        self.begin("")

    def begin(self, cell: str) -> None:
        """A cell begins, with its own time (of computing, and on the clock) and calls."""
        self.cell, self.budget, self._calls = cell, self.limits.cell_seconds, 0
        self.clock = self.limits.clock * self.budget

    def run(self, cell: CleanCell) -> dict[str, Any]:
        """Have S run a cell; its answer. A fresh S will run it again."""
        answer, _ = self.request({"op": "run", "name": cell.name, "source": cell.source})
        self.replay.append(cell)
        return answer

    def call(self, request: dict[str, Any], blobs: list[bytes] | None = None) -> Answer:
        """A request that counts as a call of the student's code."""
        self._calls += 1
        if self._calls > self.limits.calls:
            raise StudentEnded("calls", words("calls", self.limits))
        return self.request(request, blobs)

    def request(self, request: dict[str, Any], blobs: list[bytes] | None = None) -> Answer:
        """Send a request and wait for its answer. StudentEnded if there is none."""
        channel = self._connected()
        if channel.pending():  # of an earlier cell or call, and not this one's fault
            self.suspect("an answer before it was asked for")
            self.stop()
            channel = self._connected()
        answer, received = self._exchange(channel, request, blobs)
        self.keep(answer.get("outputs"))
        return answer, received

    def _exchange(
        self, channel: Channel, request: dict[str, Any], blobs: list[bytes] | None = None
    ) -> Answer:
        number, (seconds, clock) = secrets.token_hex(8), self._allowed()
        start, used = time.monotonic(), self.lifeline.used()
        self.lifeline.allow(used + seconds)
        request = {
            **request,
            "id": number,
            "seconds": seconds,
            "clock": clock,
            "limit": self.limits.message,
        }
        try:
            if channel.pending():
                raise WireError("an answer before it was asked for")
            channel.send(request, blobs, timeout=clock + GRACE)
            answer, received = channel.receive(timeout=max(0.0, clock + GRACE - (time.monotonic() - start)))
            if not isinstance(answer, dict) or answer.get("id") != number:
                raise WireError("an answer to something else")
        except TimeoutError:
            raise self._end("time") from None
        except Closed:
            raise self._end("died") from None
        except (TooLarge, MemoryError):
            self.stop()
            raise self.too_large() from None
        except WireError as error:
            raise self.refused(str(error)) from None
        finally:
            took = self.lifeline.used() - used
            self.student_seconds += took
            self.budget -= took
            self.clock -= time.monotonic() - start
        return answer, received

    def _allowed(self) -> tuple[float, float]:
        """Seconds that S may take now, of computing and on the clock; StudentEnded if none are left."""
        most = self.limits.notebook_seconds
        left, clock = most - self.student_seconds, self.limits.clock * most - (time.monotonic() - self.began)
        if min(left, clock) <= 0:
            self._ended = self._ended or StudentEnded("notebook", words("notebook", self.limits))
            self.stop()
            if all(event.limit != "time" or event.cell != self.cell for event in self.limits_hit):
                self.limits_hit.append(LimitEvent(self.cell, "time", words("notebook", self.limits)))
            raise self._ended
        if min(self.budget, self.clock) <= 0:
            raise self._end("time")
        return max(0.05, min(self.budget, left)), max(0.05, min(self.clock, clock))

    def _connected(self) -> Channel:
        """The connection to S; a fresh one runs the earlier cells first, without those that ended one."""
        if self._ended is not None:
            raise self._ended
        if self._channel is not None:
            return self._channel
        if self.generation and self._restarts >= self.limits.restarts:
            raise StudentEnded("died", "had ended Python several times before, and was not started again.")
        self._restarts += bool(self.generation)
        self.generation += 1
        self._channel = self._open()
        kept = self.cell, self.budget, self._calls, self.clock
        for earlier in list(self.replay):
            self.begin(earlier.name)
            try:
                if self._channel is None:
                    return self._connected()
                self._exchange(self._channel, {"op": "run", "name": earlier.name, "source": earlier.source})
            except StudentEnded:
                self.replay.remove(earlier)
                if self._ended is not None:
                    raise
            finally:
                self.cell, self.budget, self._calls, self.clock = kept
        return self._channel if self._channel is not None else self._connected()

    def _open(self) -> Channel:
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

    # Ends

    def _end(self, limit: str) -> StudentEnded:
        """End S; the exception that says why."""
        use = self.stop()
        limit = use.limit or limit  # what the Station saw is nearer to the cause
        self.hit(limit, use.words)
        return StudentEnded(limit, use.words or words(limit, self.limits))

    def too_large(self) -> StudentEnded:
        """More data than a test can take, which may be honest."""
        self.hit("message")
        return StudentEnded("message", words("message", self.limits))

    def refused(self, what: str) -> StudentEnded:
        """S has broken the protocol, which honest code does not."""
        self.suspect(what)
        self.stop()
        return StudentEnded("died", "disturbed the connection to the tests and was stopped.")

    def suspect(self, what: str) -> None:
        """Note a sign of tampering, once."""
        suspicion = f"{self.cell}: the student's process sent {what}"
        if suspicion not in self.suspicions:
            self.suspicions.append(suspicion)

    def stop(self) -> Any:
        """End S and keep what it used."""
        use = self.lifeline.stop_student()  # before the channel closes, or S ends before it was looked at
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self.peak = max(self.peak, use.peak_memory)
        return use

    def hit(self, limit: str, said: str = "") -> None:
        """Note a limit that ended something."""
        event = LimitEvent(self.cell, limit, said or words(limit, self.limits))
        if event not in self.limits_hit:
            self.limits_hit.append(event)
