"""Puts a student's work back into the exercise's shape: `repair(content, assignment)`.

Editors and students split, copy, move, merge, retype and delete cells, and strip what nbgrader knows them by.
The clean notebook is the instructor's, with the student's answers in its gaps and the student's own cells
where they stood. Where it is doubtful what was meant, there are variants, of which the best counts. Nothing
is executed, and no file makes this raise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from grading.intake.apart import Exhausted, apart
from grading.intake.matching import LOCKED, Matched, Matcher, Place, trimmed, unfenced
from grading.intake.reading import AGAIN, Loose, Unreadable, read
from grading.intake.snippets import flat, is_stub, look
from grading.model import Assignment, CleanCell, Doubt, Repaired, TrustedCell

MOST_VARIANTS = 4
TELLING = 200  # characters of a text by which an exercise is recognised


def repair(content: bytes, assignment: Assignment) -> Repaired:
    """A submission in the exercise's shape; `problem` is set if nothing can be made of it."""
    try:
        return mend(content, assignment)
    except Unreadable as why:
        return Repaired((untouched_exercise(assignment),), problem=str(why))
    except Exception as error:  # a fault of ours must not stop the class
        doubt = Doubt("", f"The notebook could not be put in shape ({type(error).__name__}): look at it.")
        problem = f"The notebook could not be read; a person will look at it. {AGAIN}"
        return Repaired((untouched_exercise(assignment),), doubts=(doubt,), problem=problem)


def repair_apart(content: bytes, assignment: Assignment) -> Repaired:
    """As `repair`, in a process of its own; where its budget is used up, `problem` says so."""
    try:
        return apart(repair, content, assignment)
    except Exhausted as why:
        return Repaired((untouched_exercise(assignment),), problem=str(why))


def mend(content: bytes, assignment: Assignment) -> Repaired:
    """As `repair`, but Unreadable, or another exception if there is a fault here."""
    loose, notes = read(content)
    matcher = Matcher(assignment)
    found = matcher.match(loose)
    _check_week(loose, found, matcher)
    found.repairs[:0] = notes
    return _Mender(matcher, found).repaired()


def untouched_exercise(assignment: Assignment) -> tuple[CleanCell, ...]:
    """The exercise without any answer."""
    return tuple(_clean(cell, cell.source) for cell in assignment.cells)


def _clean(cell: TrustedCell, source: str) -> CleanCell:
    return CleanCell(cell.name, cell.kind, source, cell.cell_type, cell.gap, cell.points)


def _check_week(loose: Sequence[Loose], found: Matched, matcher: Matcher) -> None:
    """Unreadable if nothing in the notebook is of this exercise."""
    for name, cells in found.claims.items():
        trusted = matcher.cells[name]
        seen = matcher.seen[name]
        if name in found.by_place:
            continue
        if trusted.kind in ("solution", "test"):
            return
        if trusted.kind == "manual" and any(cell.grade_id == name for cell in cells):
            return
        if trusted.kind == "text" and len(seen) >= TELLING and any(
            flat(cell.source) == flat(seen) for cell in cells
        ):  # fmt: skip
            return
    raise Unreadable(
        f"This is another notebook, not the exercise {matcher.assignment.week}: none of its gaps was found."
        " Hand in the notebook of this exercise."
    )


@dataclass
class _Answer:
    """What goes into a gap: the choices, of which the first is preferred."""

    choices: list[Loose]
    used: list[Loose] = field(default_factory=list)  # cells that went into them
    moved: bool = False


class _Mender:
    """Makes the clean notebooks from what was matched."""

    def __init__(self, matcher: Matcher, found: Matched) -> None:
        self.matcher, self.found = matcher, found
        self.cells = matcher.assignment.cells
        self.extras = list(found.extras)
        self.repairs, self.doubts = found.repairs, found.doubts

    def repaired(self) -> Repaired:
        self._note_locked()
        answers = {cell.name: self._gap(cell) for cell in self.cells if cell.kind == "solution"}
        answers |= {cell.name: self._question(cell) for cell in self.cells if cell.kind == "manual"}
        self._find_moved(answers)
        variants: list[tuple[CleanCell, ...]] = []
        for plan in self._plans(answers):
            variant = self._assemble(answers, plan)
            if variant not in variants:
                variants.append(variant)
        return Repaired(
            tuple(variants[:MOST_VARIANTS]),
            tuple(dict.fromkeys(self.repairs)),
            tuple(dict.fromkeys(self.doubts)),
        )

    def _note_locked(self) -> None:
        for cell in self.cells:
            if cell.kind in LOCKED:
                claimed = self.found.claims.get(cell.name, [])
                if not claimed:
                    self.repairs.append(f"{cell.name!r} was missing: put back.")
                elif len(claimed) > 1:
                    self.repairs.append(f"{cell.name!r} stood there {len(claimed)} times: once is enough.")
                elif cell.cell_type != claimed[0].cell_type:
                    self.repairs.append(f"{cell.name!r} had become a {claimed[0].cell_type} cell: put right.")

    # Answers

    def _gap(self, gap: TrustedCell) -> _Answer:
        """The answer to a solution cell, joined from its pieces; choices where there are copies."""
        claimed = [self._as_code(gap, cell) for cell in self.found.claims.get(gap.name, [])]
        if not claimed:
            self.repairs.append(f"The cell {gap.name!r} was missing: taken as unanswered.")
            return _Answer([])
        different = {trimmed(c.source): c for c in reversed(claimed) if not is_stub(c.source, gap.source)}
        pieces = list(reversed(different.values()))
        if not pieces:
            return _Answer([self._with_neighbours(gap, claimed[0])], claimed)
        if len(pieces) < len(claimed):
            self.repairs.append(f"Copies of {gap.name!r} that were the same or unanswered are left out.")
        if len(pieces) > 1 and (joined := self._joined(gap, pieces)):
            self.repairs.append(f"{gap.name!r} had been split into {len(pieces)} cells: joined.")
            return _Answer([joined], claimed)
        names = set(gap.defines)
        answering = [cell for cell in pieces if not names or look(cell.source).sets & names] or pieces[:1]
        rest = [cell for cell in pieces if not any(cell is other for other in answering)]
        self.extras += rest
        if rest:
            self.repairs.append(f"A copy of {gap.name!r} without an answer is kept as a cell of its own.")
        if len(answering) == 1:
            return _Answer([self._with_neighbours(gap, answering[0])], claimed)
        preferred = self._preferred(gap, answering)
        others = [cell for cell in answering if cell is not preferred]
        self.doubts.append(
            Doubt(
                gap.name, f"There are {len(answering)} different answers; graded with each, the best counts."
            )
        )
        self.repairs.append(f"{gap.name!r} had been copied: there are {len(answering)} answers.")
        return _Answer([preferred, *others], claimed)

    def _as_code(self, gap: TrustedCell, cell: Loose) -> Loose:
        """A cell that was turned into Markdown or raw, turned back if there is code in it."""
        if cell.cell_type == "code" or gap.cell_type != "code":
            return cell
        self.repairs.append(f"{gap.name!r} had become a {cell.cell_type} cell: turned back into code.")
        return replace(cell, cell_type="code", source=unfenced(cell.source))

    def _joined(self, gap: TrustedCell, pieces: Sequence[Loose]) -> Loose | None:
        """One cell of all pieces, if they stood together and are no copies of each other."""
        between = range(pieces[0].index, pieces[-1].index + 1)
        for name, cells in self.found.claims.items():
            if name != gap.name and any(cell.index in between for cell in cells):
                return None
        if any(extra.index in between for extra in self.extras) and all(
            look(p.source).parses for p in pieces
        ):
            return None
        seen: set[str] = set()
        for piece in pieces:
            names = look(piece.source).sets & set(gap.defines)
            if names & seen:
                return None
            seen |= names
        return _join(pieces)

    def _with_neighbours(self, gap: TrustedCell, cell: Loose) -> Loose:
        """The cell, with pieces of it that were split off and have lost its ids."""
        for _ in range(8):
            for pair in self._neighbours(cell):
                extra = next(piece for piece in pair if piece is not cell)
                broken = not all(look(piece.source).parses for piece in pair)
                if broken and (joined := _join(pair)):
                    self.extras = [e for e in self.extras if e is not extra]
                    self.repairs.append(f"{gap.name!r} had been split: joined with the cell beside it.")
                    cell = replace(cell, source=joined.source)
                    break
            else:
                break
        return cell

    def _neighbours(self, cell: Loose) -> Iterator[tuple[Loose, Loose]]:
        """The cell with the student's own cell after it, and before it, if only Markdown stands between."""
        own = [extra for extra in self.extras if extra.cell_type != "markdown"]
        walls = [other.place for cells in self.found.claims.values() for other in cells]
        after = min((e for e in own if e.place > cell.place), key=lambda e: e.place, default=None)
        if after and not any(cell.place < wall < after.place for wall in walls):
            yield cell, after
        before = max((e for e in own if e.place < cell.place), key=lambda e: e.place, default=None)
        if before and not any(before.place < wall < cell.place for wall in walls):
            yield before, cell

    def _preferred(self, gap: TrustedCell, answers: Sequence[Loose]) -> Loose:
        """The last answer before the gap's test, which is what counted in the student's notebook."""
        tests = [cell.name for cell in self.cells if cell.kind == "test" and cell.gap == gap.gap]
        places = [cell.place for name in tests for cell in self.found.claims.get(name, [])]
        before = [cell for cell in answers if not places or cell.place < max(places)]
        return (before or list(answers))[-1]

    def _question(self, manual: TrustedCell) -> _Answer:
        """The answer to a question that a person grades: all that was written, in order."""
        claimed = self.found.claims.get(manual.name, [])
        texts: list[str] = []
        for cell in claimed:
            if flat(cell.source) != flat(manual.source) and cell.source.strip() and cell.source not in texts:
                texts.append(cell.source)
        if not claimed:
            self.repairs.append(f"The cell {manual.name!r} was missing: taken as unanswered.")
            return _Answer([])
        if not texts:
            return _Answer([replace(claimed[0], source=manual.source)], claimed)
        if any(cell.cell_type != manual.cell_type for cell in claimed):
            self.repairs.append(f"{manual.name!r} had become another kind of cell: turned back.")
        if len(texts) > 1:
            self.repairs.append(f"{manual.name!r} stood in {len(texts)} cells: joined.")
        return _Answer([replace(claimed[0], source="\n\n".join(texts))], claimed)

    # Order

    def _find_moved(self, answers: dict[str, _Answer]) -> None:
        fixed = {self.cells[place].name for _, place in self.matcher.fixed(self.found)}
        for cell in self.cells:
            if cell.name in fixed or not self.found.claims.get(cell.name):
                continue
            self.repairs.append(f"{cell.name!r} had been moved: put back in its place.")
            if cell.kind == "solution" and (answer := answers[cell.name]).choices:
                answer.moved = self._order_matters(cell, answer)
                if answer.moved:
                    self.doubts.append(
                        Doubt(cell.name, "This cell had been moved; graded in its place and where it stood.")
                    )

    def _order_matters(self, gap: TrustedCell, answer: _Answer) -> bool:
        """Whether a moved cell sets or reads at once what code that it has jumped over reads or sets."""
        chosen, place = answer.choices[0], self.matcher.order[gap.name]
        code = look(chosen.source)
        fixed = self.matcher.fixed_places(self.found)
        others = [
            (cell, self.matcher.order[name])
            for name, cells in self.found.claims.items()
            for cell in cells
            if name != gap.name and self.matcher.cells[name].kind in ("solution", "given")
        ]
        others += [
            (extra, self.matcher.between(extra, fixed)[0])
            for extra in self.extras
            if extra.cell_type == "code"
        ]
        for other, where in others:
            if (other.place < chosen.place) == (where < place):
                continue
            theirs = look(other.source)
            if code.sets & (theirs.sets | theirs.at_once) or theirs.sets & code.at_once:
                return True
        return False

    def _plans(self, answers: dict[str, _Answer]) -> Iterator[dict[str, int]]:
        """Gap → which choice, -1 for the place where the student had it. The first plan is the plain one."""
        yield {}
        flips: list[dict[str, int]] = []
        for name, answer in answers.items():
            flips += [{name: number} for number in range(1, len(answer.choices))]
            flips += [{name: -1}] if answer.moved else []
        if len(flips) > 1:
            together: dict[str, int] = {}
            for flip in flips:
                together = flip | together
            yield together
        yield from flips[: MOST_VARIANTS - 1]

    def _assemble(self, answers: dict[str, _Answer], plan: dict[str, int]) -> tuple[CleanCell, ...]:
        fixed = self.matcher.fixed_places(self.found)
        behind: dict[int, list[tuple[tuple[int, int], Loose, TrustedCell | None]]] = {}

        def put(cell: Loose, trusted: TrustedCell | None = None) -> None:
            behind.setdefault(self.matcher.between(cell, fixed)[0], []).append((cell.place, cell, trusted))

        before: dict[int, list[Loose]] = {}
        helpers: set[int] = set()
        at_home: dict[str, Loose] = {}
        for name, answer in answers.items():
            if not answer.choices:
                continue
            number = max(0, plan.get(name, 0))
            chosen = answer.choices[number]
            place = self.matcher.order[name]
            before[place] = [c for c in answer.choices if c is not chosen]
            if plan.get(name) != -1:
                came_along = [c for c in self._helpers(chosen, place, fixed) if id(c) not in helpers]
                helpers |= {id(c) for c in came_along}
                before[place] = came_along + before[place]
            if plan.get(name) == -1:
                put(chosen, self.matcher.cells[name])
            else:
                at_home[name] = chosen
        for extra in self.extras:
            if id(extra) not in helpers:
                put(extra)
        elsewhere = {name for name, number in plan.items() if number == -1}

        cells: list[CleanCell] = []
        count = 0

        def extra_cell(cell: Loose) -> None:
            nonlocal count
            count += 1
            cells.append(CleanCell(f"extra{count}", "extra", cell.source, cell.cell_type))

        def rest(place: int) -> None:
            for _, cell, trusted in sorted(behind.get(place, []), key=lambda item: item[0]):
                if trusted is None:
                    extra_cell(cell)
                else:
                    cells.append(_clean(trusted, cell.source))

        rest(-1)
        for place, trusted in enumerate(self.cells):
            for copy in before.get(place, []):
                extra_cell(copy)
            if trusted.name not in elsewhere:
                answer_cell = at_home.get(trusted.name)
                cells.append(_clean(trusted, answer_cell.source if answer_cell else trusted.source))
                if answer_cell and (alias := self._alias(trusted, answer_cell)):
                    extra_cell(alias)
            rest(place)
        return tuple(cells)

    def _helpers(self, answer: Loose, place: int, fixed: Sequence[tuple[Place, int]]) -> list[Loose]:
        """The student's own cells that an answer needs and that stood before it, but come after its place."""
        needed, found = set(look(answer.source).uses), []
        for extra in sorted(self.extras, key=lambda cell: cell.place, reverse=True):
            if extra.cell_type != "code" or extra.place > answer.place:
                continue
            code = look(extra.source)
            if code.sets & needed and self.matcher.between(extra, fixed)[0] >= place:
                needed |= code.uses
                found.append(extra)
                self.repairs.append(
                    "A cell of the student's own was moved along with the answer that needs it."
                )
        return found[::-1]

    def _alias(self, gap: TrustedCell, answer: Loose) -> Loose | None:
        """A cell that gives a function the name of today's release, where it has another one."""
        functions = look(answer.source).functions
        if (
            gap.kind != "solution"
            or len(gap.defines) != 1
            or len(functions) != 1
            or functions[0] in gap.defines
        ):
            return None
        new, old = gap.defines[0], functions[0]
        known = {name for own in self.matcher.own.values() for name in own}
        if old in known or new not in look(gap.source).functions:
            return None
        if any(new in look(extra.source).sets for extra in self.extras if extra.cell_type == "code"):
            return None
        self.repairs.append(
            f"{gap.name!r}: the function {old!r} is today's {new!r}, which now names it, too."
        )
        self.doubts.append(Doubt(gap.name, f"The function is called {old!r} instead of {new!r}."))
        return Loose(answer.index, "code", f"{new} = {old}", part=answer.part + 1)


def _join(pieces: Sequence[Loose]) -> Loose | None:
    """The pieces as one cell; None if that is no code."""
    for glue in ("\n", "\n\n", ""):
        source = glue.join(piece.source for piece in pieces)
        if look(source).parses:
            return replace(pieces[0], source=source, cell_type="code")
    return None


__all__ = ["Repaired", "mend", "repair", "repair_apart", "untouched_exercise"]
