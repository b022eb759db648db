"""How T, the trusted process, gets and ends an S, the student's process."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class StudentUse:
    """What an S used, from the outside; and the limit that ended it before T did, if one did.

    limit: "", "time", "memory" or "processes"; words: what happened, for the student.
    """

    peak_memory: int = 0  # bytes, of all its processes, beyond what they share with the fork server
    limit: str = ""
    words: str = ""
    seconds: float = 0.0  # processor time of all its processes


class Lifeline(Protocol):
    """What T can ask for. There is at most one S at a time."""

    def start_student(self) -> socket.socket:
        """A fresh S; T's end of the connection to it. OSError if none can be had: the grader's fault."""
        ...

    def used(self) -> float:
        """Seconds of processor time of the S that is there, or was last, all its processes together."""
        ...

    def allow(self, until: float) -> None:
        """S is ended, soon after, once it has used so many seconds."""
        ...

    def stop_student(self) -> StudentUse:
        """End S and everything that it started; harmless if there is none."""
        ...
