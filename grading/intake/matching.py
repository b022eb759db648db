"""Which cell of a student's notebook is which cell of the exercise: by content, ids, names and place."""

from __future__ import annotations

import bisect
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from grading.assignment import visible
from grading.intake.reading import Loose
from grading.intake.snippets import MOST, flat, is_stub, likeness, look, same_code, statements
from grading.model import Assignment, Doubt, TrustedCell

LOCKED = ("text", "given", "test")
ALIKE = 0.7  # share of words in common from which a cell without ids is taken for a changed copy
LEAST = 60  # characters of a trusted cell that is looked for inside of other cells
Place = tuple[int, int]
PIECES = 200  # into which cells are taken apart, altogether


@dataclass
class Matched:
    """claims: trusted cell → the student's cells that are it, in order. extras: all others."""

    claims: dict[str, list[Loose]] = field(default_factory=lambda: defaultdict(list))
    extras: list[Loose] = field(default_factory=list)
    left_out: list[Loose] = field(default_factory=list)  # cells of an earlier release, not the student's
    by_place: set[str] = field(default_factory=set)  # trusted cells that were found by their place only
    repairs: list[str] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)


class Matcher:
    """Finds the student's cells for an assignment."""

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.cells = {cell.name: cell for cell in assignment.cells}
        self.order = {cell.name: place for place, cell in enumerate(assignment.cells)}
        self.seen = {cell.name: visible(cell) for cell in assignment.cells}
        self.by_id = {cell.cell_id: cell.name for cell in assignment.cells if cell.cell_id}
        self.locked = [cell for cell in assignment.cells if cell.kind in LOCKED]
        self.gaps = [cell for cell in assignment.cells if cell.kind == "solution"]
        count = Counter(name for gap in self.gaps for name in gap.defines)
        given = {n for c in self.locked if c.cell_type == "code" for n in look(c.source).sets}
        self.own = {  # names by which a gap is recognised
            gap.name: frozenset(n for n in gap.defines if count[n] == 1 and n not in given)
            for gap in self.gaps
        }
        self.exact: dict[str, list[str]] = defaultdict(list)
        for cell in self.locked:
            self.exact[flat(self.seen[cell.name])].append(cell.name)

    def match(self, loose: Sequence[Loose]) -> Matched:
        found = Matched()
        cells = self._apart(loose, found)
        cells = self._gaps_apart(cells, found)
        rest = self._by_content_and_id(cells, found)
        rest = self._alike(rest, found)
        rest += self._changed(cells, found)
        rest.sort(key=lambda cell: cell.place)
        rest = self._by_names(rest, found)
        rest = self._renamed(rest, found)
        rest = self._answers(rest, found)
        for claimed in found.claims.values():
            claimed.sort(key=lambda cell: cell.place)
        found.extras = [cell for cell in rest if cell.source.strip()]
        return found

    # Cells that were merged

    def _apart(self, loose: Sequence[Loose], found: Matched) -> list[Loose]:
        """Take trusted cells out of cells into which they were merged, or in which the student wrote."""
        blocks = [(cell.name, f"\n{trimmed(self.seen[cell.name])}\n") for cell in self.locked]
        blocks = [(name, block) for name, block in blocks if len(block) >= LEAST]
        done: list[Loose] = []
        todo = list(reversed(loose))
        while todo:
            cell = todo.pop()
            if (
                len(cell.source) > MOST
                or flat(cell.source) in self.exact
                or untouched(cell)
                or len(done) + len(todo) > len(loose) + PIECES
            ):
                done.append(cell)
                continue
            text = f"\n{trimmed(cell.source)}\n"
            name, block = next(((n, b) for n, b in blocks if b in text), ("", ""))
            if not name:
                done.append(cell)
                continue
            before, _, after = text.partition(block)
            owner = cell.grade_id == name or self.by_id.get((cell.cell_ids or ("",))[0]) == name
            bare = replace(cell, grade_id="", cell_ids=(), is_solution=False, is_locked=False, checksum="")
            pieces = [
                replace(bare if owner else cell, source=before.strip("\n")),
                replace(bare, source=block.strip("\n"), grade_id=name, is_locked=True),
                replace(bare, source=after.strip("\n")),
            ]
            pieces = [replace(p, part=cell.part * 4 + i) for i, p in enumerate(pieces) if p.source.strip()]
            if len(pieces) > 1:
                what = "had text of the student's in it" if owner else "had been merged with another cell"
                found.repairs.append(f"The cell {name!r} {what}: taken apart.")
            todo += reversed(pieces[1:])
            if pieces[0].grade_id == name:
                done.append(pieces[0])
            else:
                todo.append(pieces[0])
        return _numbered(done)

    def _gaps_apart(self, cells: Sequence[Loose], found: Matched) -> list[Loose]:
        """Divide cells that answer several gaps, one of which is answered nowhere else."""
        answers = {
            gap.name: [
                c for c in cells if _sets(c) & self.own[gap.name] and not is_stub(c.source, gap.source)
            ]
            for gap in self.gaps
        }
        done: list[Loose] = []
        for cell in cells:
            gaps = [gap.name for gap in self.gaps if _sets(cell) & self.own[gap.name]]
            others = [name for name in gaps if name != cell.grade_id]
            alone = [name for name in others if all(c is cell for c in answers[name])]
            if len(gaps) < 2 or not alone:
                done.append(cell)
                continue
            parts: list[tuple[str, list[str]]] = []  # gap, texts of statements
            waiting: list[str] = []
            for statement in statements(cell.source):
                waiting.append(statement.text)
                owner = next((name for name in gaps if statement.sets & self.own[name]), "")
                if owner and parts and parts[-1][0] == owner:
                    parts[-1][1].extend(waiting)
                    waiting = []
                elif owner:
                    parts.append((owner, waiting))
                    waiting = []
            if len({name for name, _ in parts}) < 2:
                done.append(cell)
                continue
            parts[-1][1].extend(waiting)
            keeper = cell.grade_id if cell.grade_id in gaps else ""
            bare = replace(cell, grade_id="", cell_ids=(), is_solution=False, checksum="")
            for name, texts in parts:
                base = cell if name == keeper else bare
                done.append(replace(base, source="\n\n".join(t.strip("\n") for t in texts)))
            found.repairs.append(f"A cell with the answers to several gaps was divided: {', '.join(gaps)}.")
        return _numbered(done)

    # Content and ids

    def _by_content_and_id(self, cells: Iterable[Loose], found: Matched) -> list[Loose]:
        rest: list[Loose] = []
        for cell in cells:
            if name := self._exactly(cell, found) or self._by_its_id(cell):
                found.claims[name].append(cell)
            else:
                rest.append(cell)
        return rest

    def _exactly(self, cell: Loose, found: Matched) -> str:
        names = self.exact.get(flat(cell.source), []) if cell.source.strip() else []
        if cell.grade_id in names:
            return cell.grade_id
        return next((name for name in names if name not in found.claims), names[0] if names else "")

    def _by_its_id(self, cell: Loose) -> str:
        named = [cell.grade_id] if cell.grade_id in self.cells else []
        named += [self.by_id[i] for i in cell.cell_ids if i in self.by_id]
        for name in named:
            trusted = self.cells[name]
            sets = _sets(cell)
            other = any(sets & own for gap, own in self.own.items() if gap != name)
            if trusted.kind == "solution" and other and not sets & set(trusted.defines):
                continue  # another gap's answer
            answers = other or bool(sets & self.own.get(trusted.gap, frozenset()))
            if (
                trusted.kind in ("given", "test")
                and answers
                and likeness(cell.source, self.seen[name]) < ALIKE / 2
            ):
                continue  # an answer in the place of a test
            return name
        return ""

    def _alike(self, rest: list[Loose], found: Matched) -> list[Loose]:
        """Changed copies of locked cells that have lost their ids."""
        missing = [
            cell for cell in self.locked if cell.name not in found.claims and self.seen[cell.name].strip()
        ]
        left: list[Loose] = []
        for cell in rest:
            code = cell.cell_type == "code"
            rivals = [
                (likeness(cell.source, self.seen[trusted.name]), trusted.name)
                for trusted in missing
                if (trusted.cell_type == "code") == code and trusted.name not in found.claims
            ] if 20 < len(cell.source) < MOST else []  # fmt: skip
            best = max(rivals, default=(0.0, ""))
            answers = any(_sets(cell) & own for own in self.own.values())
            if best[0] >= ALIKE and not answers:
                found.claims[best[1]].append(cell)
            else:
                left.append(cell)
        return left

    # Locked cells that are not as they were handed out

    def _changed(self, cells: Sequence[Loose], found: Matched) -> list[Loose]:
        """Notes on changed locked cells; returns the student's work in them, as cells of their own."""
        needed = set().union(*(gap.defines for gap in self.gaps))
        trusted_ones = {
            id(c) for name, cs in found.claims.items() if self.cells[name].kind in LOCKED for c in cs
        }
        for cell in cells:
            if cell.cell_type == "code" and id(cell) not in trusted_ones:
                needed |= look(cell.source).uses
        work: list[Loose] = []
        for trusted in self.locked:
            for cell in found.claims.get(trusted.name, ()):
                work += self._changed_cell(trusted, cell, needed, found)
        return work

    def _changed_cell(
        self, trusted: TrustedCell, cell: Loose, needed: set[str], found: Matched
    ) -> list[Loose]:
        seen, name = self.seen[trusted.name], trusted.name
        if same_code(cell.source, seen) if trusted.cell_type == "code" else flat(cell.source) == flat(seen):
            return []
        if untouched(cell):
            found.repairs.append(f"{name!r} is that of an earlier release: today's is used.")
            return []
        bare = replace(cell, grade_id="", cell_ids=(), is_solution=False, is_locked=False, checksum="")
        if trusted.cell_type == "markdown":
            lines = {line.strip() for line in seen.split("\n")}
            added = "\n".join(line for line in cell.source.split("\n") if line.strip() not in lines)
            found.repairs.append(f"The text {name!r} differs from what was handed out: the original is used.")
            return (
                [replace(bare, source=added.strip(), part=cell.part + 1)] if len(added.strip()) >= 20 else []
            )
        known = statements(seen)
        same, set_there = {s.same for s in known}, frozenset().union(*(s.sets for s in known))
        kept = [
            s
            for s in statements(cell.source)
            if s.same not in same and s.sets and not s.sets & set_there and (s.imports or s.sets & needed)
        ]
        what = "test" if trusted.kind == "test" else "given"
        found.repairs.append(
            f"The {what} cell {name!r} differs from what was handed out: the original is used."
        )
        found.doubts.append(
            Doubt(name, f"This {what} cell differs from what was handed out; the original was used instead.")
        )
        if not kept:
            return []
        found.repairs.append(f"What the student had added to {name!r} is kept in a cell of its own.")
        part = cell.part + (-1 if trusted.kind == "test" else 1)
        return [replace(bare, source="\n".join(s.text for s in kept), part=part)]

    # Names and places

    def _by_names(self, rest: list[Loose], found: Matched) -> list[Loose]:
        """Answers that have no id, or stand in another cell while the gap's own has none."""
        taken: set[int] = set()
        for gap in self.gaps:
            claimed = found.claims.get(gap.name, [])
            if any(self.answers(gap, cell) for cell in claimed):
                continue
            candidates = [
                cell
                for cell in rest
                if id(cell) not in taken and _sets(cell) & self.own[gap.name] and self._is_code(cell)
            ]
            answered = [cell for cell in candidates if not is_stub(cell.source, gap.source)]
            if not (answered or candidates):
                continue
            chosen = answered or candidates[:1]
            for cell in chosen:
                taken.add(id(cell))
            if answered and any(cell.source.strip() for cell in claimed):
                found.repairs.append(f"The answer to {gap.name!r} stood in another cell: put in its place.")
            elif answered:
                found.repairs.append(f"The cell {gap.name!r} was recognised by the names that it defines.")
            found.claims[gap.name] = sorted([*claimed, *chosen], key=lambda cell: cell.place)
        return [cell for cell in rest if id(cell) not in taken]

    def answers(self, gap: TrustedCell, cell: Loose) -> bool:
        """Whether a cell has an answer to the gap in it, and be it a wrong one."""
        if is_stub(cell.source, gap.source):
            return False
        return bool(not gap.defines or _sets(cell) & set(gap.defines))

    def _is_code(self, cell: Loose) -> bool:
        return cell.cell_type == "code" or look(unfenced(cell.source)).parses

    def _renamed(self, rest: list[Loose], found: Matched) -> list[Loose]:
        """Gaps that an earlier release called otherwise, by their place; its other cells are left out."""
        left: list[Loose] = []
        fixed = self.fixed_places(found)
        for cell in rest:
            if not cell.grade_id or cell.grade_id in self.cells:
                left.append(cell)
            elif cell.is_solution:
                before, after = self.between(cell, fixed)
                kind = "solution" if cell.cell_type == "code" else "manual"
                places = [
                    (likeness(cell.source, trusted.source), -place, trusted.name)
                    for place, trusted in enumerate(self.assignment.cells)
                    if before < place < after and trusted.kind == kind and trusted.name not in found.claims
                ]
                if places:
                    name = max(places)[2]
                    found.claims[name].append(cell)
                    found.by_place.add(name)
                    fixed = self.fixed_places(found)
                    found.repairs.append(f"{cell.grade_id!r} of an earlier release is today's {name!r}.")
                else:
                    left.append(cell)
            elif cell.is_locked and untouched(cell):
                found.left_out.append(cell)
                found.repairs.append(f"{cell.grade_id!r} of an earlier release is left out.")
            else:
                left.append(cell)
        return left

    def _answers(self, rest: list[Loose], found: Matched) -> list[Loose]:
        """Texts that answer a question whose own cell has no answer, by their place."""
        for trusted in self.assignment.cells:
            if trusted.kind != "manual" or trusted.cell_type != "markdown":
                continue
            claimed = found.claims.get(trusted.name, [])
            if any(cell.source.strip() and flat(cell.source) != flat(trusted.source) for cell in claimed):
                continue
            place, fixed = self.order[trusted.name], self.fixed_places(found, without=trusted.name)
            near = []
            for cell in rest:
                before, after = self.between(cell, fixed)
                prose = cell.cell_type != "code" or not look(cell.source).parses
                if before < place < after and prose and cell.source.strip():
                    near.append(cell)
            if not near:
                continue
            answer = [cell for cell in near if flat(cell.source) != flat(trusted.source)]
            found.claims[trusted.name] = [*claimed, *near]
            rest = [cell for cell in rest if not any(cell is other for other in near)]
            if answer:
                found.repairs.append(f"The answer to {trusted.name!r} was recognised by its place.")
                if claimed:
                    found.doubts.append(Doubt(trusted.name, "The answer stood in another cell near by."))
        return rest

    def between(self, cell: Loose, fixed: Sequence[tuple[Place, int]]) -> tuple[int, int]:
        """Places in the exercise of the nearest cells before and after one that are where they belong."""
        index = bisect.bisect_left(fixed, (cell.place, -1))
        before = fixed[index - 1][1] if index else -1
        after = fixed[index][1] if index < len(fixed) else len(self.assignment.cells)
        return before, after

    def fixed_places(self, found: Matched, without: str = "") -> list[tuple[Place, int]]:
        """As `fixed`, places only, without a cell of the exercise."""
        return [(c.place, p) for c, p in self.fixed(found) if self.assignment.cells[p].name != without]

    def fixed(self, found: Matched) -> list[tuple[Loose, int]]:
        """Cells that stand in the exercise's order, as many as possible, with their places there."""
        claimed = [(c, self.order[name]) for name, cells in found.claims.items() for c in cells]
        claimed.sort(key=lambda pair: (pair[0].place, pair[1]))
        return longest_rise(claimed)


def longest_rise(pairs: Sequence[tuple[Loose, int]]) -> list[tuple[Loose, int]]:
    """The longest subsequence whose numbers rise."""
    tails: list[int] = []
    ends: list[int] = []  # index in pairs of each tail
    previous: list[int] = []
    for index, (_, number) in enumerate(pairs):
        slot = bisect.bisect_left(tails, number)
        previous.append(ends[slot - 1] if slot else -1)
        if slot == len(tails):
            tails.append(number)
            ends.append(index)
        else:
            tails[slot], ends[slot] = number, index
    chosen: list[tuple[Loose, int]] = []
    index = ends[-1] if ends else -1
    while index >= 0:
        chosen.append(pairs[index])
        index = previous[index]
    return chosen[::-1]


def untouched(cell: Loose) -> bool:
    """Whether a cell is as a release made it, by nbgrader's checksum."""
    meta = {
        "solution": cell.is_solution,
        "locked": cell.is_locked,
        "grade_id": cell.grade_id,
        "points": cell.points,
    }
    sums = (made_checksum(cell.source, cell.cell_type, meta | {"grade": grade}) for grade in (False, True))
    return bool(cell.checksum) and cell.checksum in sums


def made_checksum(source: str, cell_type: str, meta: Mapping[str, Any]) -> str:
    """nbgrader's checksum of a cell with its metadata."""
    grade, solution = bool(meta.get("grade")), bool(meta.get("solution"))
    locked = not solution and (grade or bool(meta.get("locked")))
    text = f"{source}{cell_type}{grade}{solution}{locked}{meta['grade_id']}"
    if grade and meta.get("points") is not None:
        text += str(float(meta["points"]))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def unfenced(source: str) -> str:
    """Code without the fence ``` around it that Markdown wants."""
    if not source.rstrip().endswith(("```", "~~~")):
        return source
    match = re.fullmatch(r"\s*(`{3,}|~{3,})[ \t]*(?:\w+[ \t]*)?\n([\s\S]*?)\n\1\s*", source)
    return match[2] if match else source


def _sets(cell: Loose) -> frozenset[str]:
    if cell.cell_type == "code":
        return look(cell.source).sets
    code = look(unfenced(cell.source))
    return code.sets


def trimmed(source: str) -> str:
    """Source without white space at the ends of its lines and empty lines around it."""
    return "\n".join(line.rstrip() for line in source.strip("\n").split("\n"))


def _numbered(cells: Sequence[Loose]) -> list[Loose]:
    """Pieces of a cell in order; numbers between them stay free for what is found in a cell later."""
    count: Counter[int] = Counter()
    numbered = []
    for cell in cells:
        numbered.append(replace(cell, part=10 * count[cell.index]))
        count[cell.index] += 1
    return numbered
