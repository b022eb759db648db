"""How a call, a test or S can end, with the words that students read."""

from __future__ import annotations

from dataclasses import asdict

from grading.model import Limits

#: What answers may import, besides Python's own library. docs/students.md has the same list.
PACKAGES = (
    "numpy, scipy, sklearn, matplotlib, PIL, tqdm, IPython, tensorflow, keras, tf_keras, "
    "tensorflow_probability, utils"
)
WORDS = {
    "time": "took longer than {cell_seconds:.0f} seconds of computing (or {cell_clock:.0f} on the clock) and "
    "was stopped. Is there an endless loop, or far more work than needed?",
    "notebook": "the notebook as a whole took longer than {notebook_seconds:.0f} seconds of computing (or "
    "{notebook_clock:.0f} on the clock); what came after was not run.",
    "memory": "used more than {memory_mb:.0f} MB of memory and was stopped. Are the arrays larger than "
    "needed?",
    "processes": "started more than {processes} processes or threads and was stopped.",
    "message": "returned more data than a test can take ({message_mb:.0f} MB).",
    "calls": "the test called your code more often than {calls} times.",
    "died": "ended Python itself (by exit, a signal or a crash), so that it gave no answer.",
}


class StudentError(Exception):
    """An exception of a type that only the student's code knows."""


class StudentEnded(Exception):
    """S did not answer, or not with what can be taken; `limit` says why."""

    def __init__(self, limit: str, words: str) -> None:
        super().__init__(words)
        self.limit = limit


class StartError(Exception):
    """S could not be started: no fault of the student."""


class AuthorError(Exception):
    """A test does something that it may not: the exercise must be mended."""


def words(limit: str, limits: Limits) -> str:
    """The sentence about a limit, with its number."""
    numbers = asdict(limits)
    numbers |= {"memory_mb": limits.memory / 2**20, "message_mb": limits.message / 2**20}
    numbers |= {
        name: limits.clock * numbers[f"{name[:-6]}_seconds"] for name in ("cell_clock", "notebook_clock")
    }
    return WORDS[limit].format(**numbers)
