"""What the steps of grading hand to each other: plain data, which JSON can hold.

    collect ─▶ Submission ─▶ repair ─▶ Repaired ─▶ execute(Job) ─▶ Outcome ─▶ record, feedback, report

An `Assignment` is the exercise as the instructor wrote it. `grading/README.md` draws the whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_type_hints

BEGIN, END = "BEGIN HIDDEN TESTS", "END HIDDEN TESTS"
HIDDEN_NOTE = "# (hidden tests ran here)"
Kind = Literal["text", "given", "solution", "test", "manual"]


@dataclass(frozen=True)
class TrustedCell:
    """A cell of the exercise as the instructor wrote it.

    kind: text (Markdown that nobody grades), given (code of the instructor that both S and T run, the setup
    cell too), solution (a gap, for the student's code), test (graded automatically, hidden tests included),
    manual (a gap that a person grades, Markdown or code).
    """

    name: str  # nbgrader's grade_id, else the title of the source's cell, unique in the exercise
    kind: Kind
    source: str  # of a solution or manual cell the stub that students get, never the reference solution
    cell_type: Literal["code", "markdown"] = "code"
    cell_id: str = ""  # the notebook format's id in the released notebook
    points: float = 0.0  # of test and manual cells
    gap: str = ""  # of a test or solution cell: the name of the gap, such as "gibbs_spin"
    defines: tuple[str, ...] = ()  # of a solution cell: names that the reference sets at its top level


@dataclass(frozen=True)
class Assignment:
    """An exercise: its cells in order, with the full tests."""

    week: str
    cells: tuple[TrustedCell, ...]

    @property
    def digest(self) -> str:
        """A name for this exact content, 64 hexadecimal digits."""
        return digest_of(self)


@dataclass(frozen=True)
class Person:
    """A student as the class list has them. `student` is the gradebook's id, usable as a folder's name."""

    student: str
    name: str = ""
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    username: str = ""
    id_number: str = ""
    participant: str = ""  # Moodle's number of the participant, which differs from assignment to assignment
    handed_in: str = ""  # ISO 8601, from the grading worksheet; local time of Moodle

    @property
    def full_name(self) -> str:
        return self.name or f"{self.first_name} {self.last_name}".strip()


@dataclass(frozen=True)
class Submission:
    """One student's notebook as handed in."""

    student: str  # the gradebook's id of the student; never leaves the coordinator
    week: str
    content: bytes  # the file, untouched
    filename: str = ""
    timestamp: str = ""  # ISO 8601 with time zone; empty if unknown

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class CleanCell:
    """A cell of the notebook that is executed: trusted ones are the instructor's, with the student's put in.

    kind: as in TrustedCell, or extra (a cell that the student added).
    """

    name: str  # the trusted cell's name; of an extra cell "extra1", "extra2", ...
    kind: Kind | Literal["extra"]
    source: str
    cell_type: Literal["code", "markdown", "raw"] = "code"
    gap: str = ""
    points: float = 0.0


@dataclass(frozen=True)
class Doubt:
    """Something that a person should look at, in a sentence, with the cell that it is about."""

    cell: str
    reason: str


@dataclass(frozen=True)
class Repaired:
    """A submission put back into the exercise's shape.

    variants: one clean notebook, or several where it is doubtful what the student meant; each is executed,
    and the one with the most marks counts (the first among equals).
    problem: why nothing could be read (in words for the student); then `variants` has the unsolved exercise.
    """

    variants: tuple[tuple[CleanCell, ...], ...]
    repairs: tuple[str, ...] = ()  # what was mended, a sentence each
    doubts: tuple[Doubt, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Limits:
    """What a submission may use. Seconds are processor time of all its processes, sizes are bytes."""

    cell_seconds: float = 120.0  # a student's cell, or all of a test's calls together
    notebook_seconds: float = 900.0
    clock: float = 3.0  # times these, on the clock, whatever else the machine does
    memory: int = 4 * 2**30  # of all the student's processes, beyond what is shared with other submissions
    scratch: int = 256 * 2**20  # of the private folder for files
    processes: int = 128  # processes and threads beyond those that the start-up has
    output: int = 2**20  # text and figures of a cell
    message: int = 64 * 2**20  # one answer of the student's code to a test
    calls: int = 2000  # of a test
    restarts: int = 3  # of a student's process that died


@dataclass(frozen=True)
class Job:
    """All that is needed to execute one submission; nothing in it names the student."""

    pseudonym: str
    assignment: Assignment
    variants: tuple[tuple[CleanCell, ...], ...]
    seed: int  # the secret grading seed of this upload, 128 bits
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class GapResult:
    """What a test said about a gap."""

    gap: str
    points: float  # reached
    max_points: float
    passed: bool
    error: str = ""  # type of the exception that ended the test
    message: str = ""  # its message, for the student
    hidden: bool = False  # the line that failed is in the hidden part
    about: str = ""  # of a hidden part: what it is about, the comment it begins with
    traceback: str = ""  # the student's own frames
    ended_by: str = ""  # "", "time", "memory", "processes", "output", "message", "calls", "died"
    seconds: float = 0.0


@dataclass(frozen=True)
class CellRun:
    """A clean cell with what it printed and drew; `outputs` as in the notebook format."""

    cell: CleanCell
    outputs: tuple[Mapping[str, Any], ...] = ()
    execution_count: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class LimitEvent:
    """A limit that ended something: which cell, which limit (as in GapResult.ended_by), in plain words."""

    cell: str
    limit: str
    words: str


@dataclass(frozen=True)
class Outcome:
    """What came of a job: of its best variant the cells as run and the marks; and what it used."""

    pseudonym: str
    variant: int = 0
    cells: tuple[CellRun, ...] = ()
    gaps: tuple[GapResult, ...] = ()
    limits_hit: tuple[LimitEvent, ...] = ()
    suspicions: tuple[str, ...] = ()  # signs of tampering, for the instructor
    seconds: float = 0.0  # wall time, start to end
    student_seconds: float = 0.0  # processor time of the student's processes
    peak_memory: int = 0  # bytes, of the student's processes
    protection: str = ""  # what kept it to its limits where it ran, and what nothing did, in a line
    failure: str = ""  # why the grader itself could not finish; never the student's fault, worth another try

    @property
    def score(self) -> float:
        return sum(gap.points for gap in self.gaps)


T = TypeVar("T")


def to_data(thing: Any) -> Any:
    """A dataclass of this module → dicts and lists that JSON can hold (bytes are not among them)."""
    return dataclasses.asdict(thing)


def from_data(kind: type[T], data: Any) -> T:
    """The reverse of to_data; TypeError or KeyError for what does not fit."""
    return _build(kind, data)


def _build(kind: Any, data: Any) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(**{name: _build(hints[name], value) for name, value in data.items()})
    if getattr(kind, "__origin__", None) is tuple:
        inner = kind.__args__[0]
        return tuple(_build(inner, value) for value in data)
    return data


def digest_of(thing: Any) -> str:
    """SHA-256 of a dataclass's content."""
    text = json.dumps(to_data(thing), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def split_hidden(source: str, begin: str = BEGIN, end: str = END) -> tuple[str, list[str]]:
    """A cell's source with a note in place of each hidden region, and the lines that were hidden."""
    shown: list[str] = []
    hidden: list[str] = []
    inside = False
    for line in source.split("\n"):
        if begin in line:
            inside = True
            shown.append(HIDDEN_NOTE)
        elif end in line:
            inside = False
        else:
            (hidden if inside else shown).append(line)
    return "\n".join(shown), hidden
