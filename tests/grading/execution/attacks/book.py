"""What attacks are made of: a notebook that is bent out of shape, and the catalogue that they are entered in."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from grading.model import Assignment, Limits

STUB = re.compile(r"^( *)raise NotImplementedError\(.*\)$", re.MULTILINE)

#: Stands in the output only of code that has reached what it must not reach; so never as a whole in a source.
BREACH = "BRE" + "ACH"
#: Name of hostile processes and part of the names of hostile files, so that what is left behind can be found.
MARK = "lgm-hostile"

PRELUDE = f"""\
def breach(*what):
    print("BRE" + "ACH", *what)

import ctypes
ctypes.CDLL(None).prctl(15, b"{MARK}", 0, 0, 0)
"""


class Book:
    """A submission in the making: the exercise's notebook, in which everything can be changed."""

    def __init__(self, notebook: bytes, assignment: Assignment) -> None:
        self.data: dict[str, Any] = json.loads(notebook)
        self.assignment = assignment
        for cell in self.cells:
            if isinstance(cell["source"], list):
                cell["source"] = "".join(cell["source"])

    @property
    def cells(self) -> list[dict[str, Any]]:
        return self.data["cells"]

    @cells.setter
    def cells(self, cells: list[dict[str, Any]]) -> None:
        self.data["cells"] = cells

    def of_kind(self, *kinds: str) -> list[dict[str, Any]]:
        """The cells whose trusted cell is of these kinds."""
        names = {cell.name for cell in self.assignment.cells if cell.kind in kinds}
        return [cell for cell in self.cells if _name(cell) in names]

    def cell(self, name: str) -> dict[str, Any]:
        """The cell with this grade id."""
        return next(cell for cell in self.cells if _name(cell) == name)

    def answer(self, gap: str, source: str) -> Book:
        """Another answer in a gap."""
        self.cell(gap)["source"] = clean(source)
        return self

    def fill(self, expression: str, setup: str = "") -> Book:
        """All open gaps give this value. `setup`: code that runs before everything else."""
        defines = {cell.name: cell.defines for cell in self.assignment.cells}
        for cell in self.of_kind("solution"):
            names = " = ".join(defines[_name(cell)]) or "answer"

            def put(match: re.Match[str], names: str = names) -> str:
                indent = match.group(1)
                return f"{indent}return {expression}" if indent else f"{names} = {expression}"

            cell["source"] = STUB.sub(put, cell["source"])
        return self.first(setup) if setup else self

    def first(self, source: str) -> Book:
        """A cell of the student's own before all others."""
        return self.insert(0, source)

    def last(self, source: str) -> Book:
        """… after all others."""
        return self.insert(len(self.cells), source)

    def before(self, name: str, source: str) -> Book:
        """… before the cell with this grade id."""
        return self.insert(self.cells.index(self.cell(name)), source)

    def after(self, name: str, source: str) -> Book:
        """… after it."""
        return self.insert(self.cells.index(self.cell(name)) + 1, source)

    def middle(self, source: str) -> Book:
        """… before the gap in the middle, with gaps already tested and gaps still to come."""
        gaps = self.of_kind("solution")
        return self.insert(self.cells.index(gaps[len(gaps) // 2]), source)

    def insert(self, at: int, source: str, cell_type: str = "code", **more: Any) -> Book:
        """… at a place."""
        cell: dict[str, Any] = {
            "cell_type": cell_type,
            "id": f"own-{len(self.cells)}",
            "metadata": {},
            "source": clean(source),
        }
        if cell_type == "code":
            cell |= {"execution_count": None, "outputs": []}
        self.cells.insert(at, cell | more)
        return self

    def dump(self) -> bytes:
        """The file that is handed in."""
        return json.dumps(self.data, indent=1).encode()


def _name(cell: Mapping[str, Any]) -> str:
    own = cell["metadata"].get("nbgrader")
    return str(own.get("grade_id", "")) if isinstance(own, dict) else ""


def clean(source: str) -> str:
    """Code without the indentation of the text around it."""
    return textwrap.dedent(source).strip("\n")


def hostile(source: str) -> str:
    """Code that can say `breach(what)` and whose processes can be recognised."""
    return PRELUDE + clean(source)


@dataclass(frozen=True)
class Exercise:
    """What an attack starts from."""

    assignment: Assignment
    solution: bytes
    release: bytes

    def solved(self) -> Book:
        return Book(self.solution, self.assignment)

    def unsolved(self) -> Book:
        return Book(self.release, self.assignment)


Make = Callable[[Exercise], Book | bytes]


@dataclass(frozen=True)
class Attack:
    """A hostile submission and what it deserves.

    number: in the list of the design. honest: "all" or "none" of the gaps' marks are deserved, `other` names the
    gaps for which it is the other way round. limits: changes to the limits it is run with. ends: the limits
    that its run must name, any of them. unreadable: nothing can be read, and the student is told why.
    """

    number: int
    name: str
    about: str
    make: Make
    honest: str
    other: tuple[str, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    ends: tuple[str, ...] = ()
    unreadable: bool = False

    def notebook(self, exercise: Exercise) -> bytes:
        """The file that is handed in."""
        made = self.make(exercise)
        return made if isinstance(made, bytes) else made.dump()

    def marks(self, full: Mapping[str, float]) -> dict[str, float]:
        """Gap → the marks it must get, from gap → full marks."""
        return {
            gap: points if (self.honest == "all") != (gap in self.other) else 0.0
            for gap, points in full.items()
        }

    def limits_of(self, limits: Limits) -> Limits:
        """The limits that it is run with."""
        changes: dict[str, Any] = dict(self.limits)
        return replace(limits, **changes)


ALL, NONE = "all", "none"
LOOP = {"cell_seconds": 1.5}  # for what never ends by itself


class Catalogue:
    """Attacks in the order of entering."""

    def __init__(self) -> None:
        self._attacks: dict[str, Attack] = {}

    def __iter__(self) -> Iterator[Attack]:
        return iter(self._attacks.values())

    def add(self, attack: Attack) -> None:
        if attack.name in self._attacks:
            raise ValueError(f"two attacks are called {attack.name}")
        self._attacks[attack.name] = attack

    def enter(self, number: int, honest: str, *other: str, **more: Any) -> Callable[[Make], Make]:
        """Decorator: enters a function from an exercise to a hostile notebook, its docstring saying what it tries."""

        def enter(make: Make) -> Make:
            about = " ".join((make.__doc__ or "").split())
            self.add(Attack(number, make.__name__, about, make, honest, other, **more))
            return make

        return enter


CATALOGUE = Catalogue()
attack = CATALOGUE.enter
