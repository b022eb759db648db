"""Results that are done, each in a file named after what it is the result of.

A key stands for everything that a result depends on, so a result never becomes stale: another submission,
another test, another seed have another key. A file appears whole or not at all, whenever a writer is killed
and however many write.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import logging
import os
import re
import socket
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from grading.files import sync_folder
from grading.model import Limits, Outcome, from_data, to_data
from grading.results.harmless import capped

log = logging.getLogger(__name__)
NAME = re.compile(r"[0-9a-f]{64}")
REMARKS = 200  # suspicions and ended limits of a submission, each
FORGOTTEN = 3600.0  # seconds after which another machine's unfinished file is taken for left behind


def key(submission: str, assignment: str, engine: str, seed: int, limits: Limits) -> str:
    """The name of a result: digests of submission and assignment, engine's version, seed, limits."""
    parts = [submission, assignment, engine, seed, to_data(limits)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Ledger:
    """Key → Outcome, in the files of a folder.

    secret: with it a file that somebody else has written counts as altered.
    """

    def __init__(self, folder: Path, secret: bytes = b"") -> None:
        self.folder = folder
        self.damaged: list[Path] = []  # found by get: they count as absent
        self._secret = secret

    def put(self, key: str, outcome: Outcome) -> bool:
        """Keep a result, its outputs up to a size; False for one with a failure, which is never done."""
        if outcome.failure:
            return False
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        outcome = dataclasses.replace(
            outcome,
            cells=capped(outcome.cells),
            suspicions=outcome.suspicions[:REMARKS],
            limits_hit=outcome.limits_hit[:REMARKS],
        )
        body = json.dumps(to_data(outcome), sort_keys=True)
        content = json.dumps({"key": key, "check": self._check(key, body)}) + "\n" + body + "\n"
        mark = f".{key[:16]}.{_here()}.{os.getpid()}."
        handle, temporary = tempfile.mkstemp(prefix=mark, suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        sync_folder(path.parent)
        return True

    def get(self, key: str, pseudonym: str = "") -> Outcome | None:
        """The result; None if there is none or its file is cut off or altered (see `damaged`).

        pseudonym: of who asks, since two students may hand in the same file.
        """
        path = self._path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            return self._doubt(path, str(error))
        try:
            head, body, end = content.decode("ascii").split("\n")
            about = json.loads(head)
            if end or about["key"] != key or not hmac.compare_digest(about["check"], self._check(key, body)):
                return self._doubt(path, "cut off or altered")
            outcome = from_data(Outcome, json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError):
            return self._doubt(path, "cut off or altered")
        if outcome.failure:
            return self._doubt(path, "not a result")
        return dataclasses.replace(outcome, pseudonym=pseudonym) if pseudonym else outcome

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def keys(self) -> Iterator[str]:
        """The keys of all files, damaged ones too, in order."""
        for path in sorted(self.folder.glob("??/*.json")):
            if NAME.fullmatch(path.stem):
                yield path.stem

    def clean(self, keep: Collection[str] | None = None) -> int:
        """Remove what killed writers left behind and, if `keep` is given, other keys' results; how many."""
        removed = 0
        for path in self.folder.glob("??/.*.tmp"):
            if _left_behind(path):
                with suppress(OSError):
                    path.unlink()
                    removed += 1
        for name in [name for name in self.keys() if keep is not None and name not in keep]:
            with suppress(OSError):
                self._path(name).unlink()
                removed += 1
        return removed

    def _path(self, key: str) -> Path:
        if not NAME.fullmatch(key):
            raise ValueError(f"no key of the ledger: {key!r}")
        return self.folder / key[:2] / f"{key}.json"

    def _check(self, key: str, body: str) -> str:
        return hmac.new(self._secret, f"{key}\n{body}".encode(), hashlib.sha256).hexdigest()

    def _doubt(self, path: Path, why: str) -> Outcome | None:
        if path not in self.damaged:
            self.damaged.append(path)
            log.warning("%s is %s: this submission is executed again", path, why)
        return None


def _here() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _left_behind(path: Path) -> bool:
    """Whether an unfinished file's writer is gone; of another machine's writer the file's age decides."""
    parts = path.name.split(".")  # "", key, machine, process, random, tmp
    if len(parts) == 6 and parts[2] == _here() and parts[3].isdigit() and os.name == "posix":
        try:
            os.kill(int(parts[3]), 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):
            pass
    with suppress(OSError):
        return time.time() - path.stat().st_mtime > FORGOTTEN
    return False
