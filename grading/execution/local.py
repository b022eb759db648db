"""S without a sandbox, in a process of its own: for tests, and for code that is trusted."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from grading.execution.lifeline import StudentUse

ROOT = Path(__file__).resolve().parents[2]


class PlainLifeline:
    """Starts S as an ordinary process of this user."""

    def __init__(self, output: int = 2**20) -> None:
        self._limits = {"output": output}
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch, self._seconds = "", 0.0

    def start_student(self) -> socket.socket:
        self.stop_student()
        self._seconds = 0.0
        ours, theirs = socket.socketpair()
        self._scratch = tempfile.mkdtemp(prefix="scratch-")
        line = [sys.executable, "-m", "grading.execution.student", str(theirs.fileno()), self._scratch]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        environment.pop("LGM_GRADING_SEED", None)
        self._process = subprocess.Popen(
            [*line, json.dumps(self._limits)],
            pass_fds=[theirs.fileno()],
            env=environment,
            cwd=self._scratch,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        return ours

    def used(self) -> float:
        with contextlib.suppress(psutil.Error):
            if self._process is not None:
                own = psutil.Process(self._process.pid)
                family = (process.cpu_times() for process in (own, *own.children(recursive=True)))
                self._seconds = max(self._seconds, sum(sum(times[:4]) for times in family))
        return self._seconds

    def allow(self, until: float) -> None:
        """S must see to that itself."""

    def stop_student(self) -> StudentUse:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None
            shutil.rmtree(self._scratch, ignore_errors=True)
        return StudentUse()
