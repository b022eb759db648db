"""Collects what students handed in: Moodle's zip of all submissions, or a folder, into grading/submitted/.

    collect(archive, week, submitted, students) → submitted/STUDENT/WEEK/WEEK.ipynb and timestamp.txt

Beside `submitted` a folder `collected/WEEK` keeps every file that could be read, for each student what was
taken and why, and the report. An older upload never replaces a newer one; the same archive again changes
nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from grading.files import csv_text, plain, write_whole
from grading.intake.archive import Caps, Purse, Refused, Sent, in_folder, in_zip, is_checkpoint, is_junk
from grading.intake.people import Roster, pseudonym, read_students, safe_id, secrets_for
from grading.model import Assignment, Person, Submission, from_data
from tools.notebooks import exercise_name

__all__ = [
    "CollectError", "CollectReport", "Entry", "collect", "entries", "people", "pseudonym", "report_of",
    "secrets_for", "submissions",
]  # fmt: skip

# Moodle: "Name Surname_12345_assignsubmission_file_", a folder or the beginning of a file's name.
MARK = re.compile(
    r"(?P<name>.*?)_(?P<number>\d+)_assignsubmission_(?P<kind>[a-z]+)(?:_(?P<rest>.*))?", re.DOTALL
)
ANONYMOUS = {"participant", "teilnehmer", "teilnehmerin", "teilnehmer in"}
COPY = re.compile(r"\((\d+)\)|-copy(\d+)| copy (\d+)|kopie (\d+)", re.IGNORECASE)
OTHER_ARCHIVES = (".rar", ".7z", ".tar", ".gz", ".tgz", ".xz", ".bz2")
TEXT_FILES = (".html", ".txt", ".docx", ".odt", ".pdf", ".py")
DOWNLOAD = timedelta(minutes=5)  # times that lie closer together, from three students on, are of the download


class CollectError(Exception):
    """Nothing can be collected; one line that says why and what to do."""


@dataclass(frozen=True)
class Entry:
    """What counts for a student, and what a person should know about it."""

    student: str
    status: str  # "collected", or "unreadable" if nothing of it could be read
    person: Person
    file: str = ""  # path as sent
    digest: str = ""
    handed_in: str = ""  # ISO 8601 in UTC; empty if unknown
    source: str = ""  # of that time: "worksheet" or "archive"
    packed: str = ""  # the time in the archive, by which uploads are ordered
    notes: tuple[str, ...] = ()  # on this upload
    later: tuple[str, ...] = ()  # on later ones that do not count


@dataclass(frozen=True)
class CollectReport:
    """Who of the class handed in what, when; what could not be read; who is missing."""

    week: str
    entries: tuple[Entry, ...]
    missing: tuple[Person, ...] = ()
    notes: tuple[str, ...] = ()  # on the archive as a whole
    changes: dict[str, str] = field(
        default_factory=dict
    )  # student → new, replaced, unchanged, older, unreadable

    @property
    def unreadable(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.status == "unreadable")

    def summary(self) -> str:
        """One line on this run."""
        words = ("new", "replaced", "unchanged", "older", "unreadable")
        counts = [(sum(change == word for change in self.changes.values()), word) for word in words]
        said = ", ".join(f"{count} {word}" for count, word in counts if count) or "nothing"
        return f"{self.week}: {said}; {len(self.missing)} of the class missing"

    def text(self) -> str:
        """The report for the instructor; holds names."""
        lines = [f"Submissions of {self.week}", ""]
        wide = max((len(entry.student) for entry in self.entries), default=0)
        for entry in self.entries:
            what = plain(entry.file) if entry.status == "collected" else "NOTHING THAT CAN BE READ"
            when = entry.handed_in or "time unknown"
            lines.append(f"{entry.student:<{wide}}  {when}  {plain(entry.person.full_name)}: {what}")
            lines += [f"{'':<{wide}}    {plain(note)}" for note in (*entry.notes, *entry.later)]
        if not self.entries:
            lines.append("(none)")
        if self.missing:
            lines += ["", f"Missing ({len(self.missing)})"]
            lines += [f"  {person.student}  {plain(person.full_name)}" for person in self.missing]
        if self.notes:
            lines += ["", "Notes", *(f"  {plain(note)}" for note in self.notes)]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        rows: list[list[str]] = []
        for e in self.entries:
            notes = "; ".join((*e.notes, *e.later))
            rows.append([e.student, e.person.full_name, e.person.email, e.status, e.handed_in, e.file, notes])
        rows += [[p.student, p.full_name, p.email, "missing", "", "", ""] for p in self.missing]
        return csv_text(["student", "name", "email", "status", "handed in", "file", "notes"], rows)


@dataclass
class Pile:
    """What an archive holds of one student."""

    number: str = ""
    name: str = ""
    own: str = ""
    files: list[tuple[Sent, tuple[str, ...], str]] = field(default_factory=list)  # file, path within, kind


@dataclass(frozen=True)
class Candidate:
    """A notebook that may be the one."""

    path: str
    content: bytes
    packed: datetime
    inner: datetime  # in a zip of the student's: by their clock; else as packed
    known: int = 0  # cells of the exercise that are recognised
    readable: bool = True
    untouched: bool = False  # the exercise as handed out
    named: bool = False  # after the week


def collect(
    archive: Path,
    week: str,
    submitted: Path,
    students: Path | Roster | None = None,
    assignment: Assignment | None = None,
    zone: tzinfo | None = None,
    caps: Caps | None = None,
) -> CollectReport:
    """Put each student's notebook of `week` from `archive` (zip or folder) below `submitted`.

    students: Moodle's list of participants or, better, the assignment's grading worksheet, as CSV; without it
    the id of a student is Moodle's number of the participant, which differs from assignment to assignment.
    assignment: tells the week's notebook from others. zone: of the archive's and the worksheet's times, by
    default this computer's.
    """
    caps = caps or Caps()
    roster = students if isinstance(students, Roster) else read_students(students) if students else Roster()
    files = _files(archive, zone, caps)
    fallback = datetime.fromtimestamp(int(archive.stat().st_mtime), UTC)
    piles, notes = _piles(files, week, archive, roster)
    timed = not _of_download(piles)
    if not timed and not any(person.handed_in for person in roster.people):
        notes.append(
            "the times in the archive are those of the download: for times of submission and late penalties "
            "give Moodle's grading worksheet as the list of students"
        )
    kept = _kept(submitted, week)
    changes: dict[str, str] = {}
    for person, found, words in _by_student(piles, roster, notes):
        entry, change = _take(
            person, found, words, week, submitted, kept, assignment, zone, caps, fallback, timed
        )
        changes[entry.student] = change
        number = entry.person.participant
        if number and number != entry.student and (submitted / number / week).is_dir():
            notes.append(
                f"{number}/{week} in {submitted.name} is also {entry.student}'s, collected without the list "
                "of students: delete it"
            )
    report = report_of(submitted, week, roster, tuple(notes), changes)
    write_whole(kept / "report.txt", report.text(), 0o600)
    write_whole(kept / "report.csv", report.csv(), 0o600)
    return report


def report_of(
    submitted: Path,
    week: str,
    roster: Roster | None = None,
    notes: tuple[str, ...] = (),
    changes: dict[str, str] | None = None,
) -> CollectReport:
    """The report on all that has been collected so far."""
    found = tuple(entries(submitted, week))
    there = {entry.student for entry in found}
    missing = tuple(p for p in (roster.people if roster else ()) if p.student not in there)
    return CollectReport(week, found, missing, notes, changes or {})


def entries(submitted: Path, week: str) -> Iterator[Entry]:
    """What has been collected for a week, by student."""
    for path in sorted(_kept(submitted, week).glob("*/entry.json")):
        if (entry := _entry(path)) is not None:
            yield entry


def people(submitted: Path, week: str) -> dict[str, Person]:
    """Student's id → person, as known from collecting; for the gradebook only."""
    return {entry.student: entry.person for entry in entries(submitted, week)}


def submissions(submitted: Path, week: str, students: Iterable[str] | None = None) -> Iterator[Submission]:
    """The notebooks below `submitted`, by student, one at a time."""
    wanted = set(students) if students is not None else None
    for folder in sorted(submitted.glob("*")):
        path = folder / week / f"{week}.ipynb"
        if (wanted is None or folder.name in wanted) and path.is_file():
            stamp = folder / week / "timestamp.txt"
            time = stamp.read_text(encoding="utf-8").strip() if stamp.is_file() else ""
            entry = _entry(_kept(submitted, week) / folder.name / "entry.json")
            name = entry.file if entry else path.name
            yield Submission(folder.name, week, path.read_bytes(), name, time)


# Whose is what


def _files(archive: Path, zone: tzinfo | None, caps: Caps) -> list[Sent]:
    try:
        if archive.is_dir():
            files = []
            for sent in in_folder(archive, zone):
                inner = _moodle_zip(archive, sent, zone)
                files += inner or [sent]
        elif archive.is_file():
            files = list(in_zip(archive, zone))
        else:
            raise CollectError(f"{archive} does not exist: give Moodle's zip of all submissions, or a folder")
    except Refused as reason:
        raise CollectError(f"{archive}: {reason}; download all submissions from Moodle again") from None
    if len(files) > caps.members:
        raise CollectError(f"{archive} has {len(files)} files, more than {caps.members}")
    return files


def _moodle_zip(folder: Path, sent: Sent, zone: tzinfo | None) -> list[Sent]:
    """The members of a zip of Moodle's that lies directly in a folder; nothing if it is anything else."""
    if len(sent.parts) != 1 or not sent.name.lower().endswith(".zip") or sent.fault or MARK.match(sent.name):
        return []
    with suppress(Refused):
        members = list(in_zip(folder / sent.name, zone))
        if any(MARK.fullmatch(part) for member in members for part in member.parts):
            return members
    return []


def _piles(files: list[Sent], week: str, archive: Path, roster: Roster) -> tuple[dict[str, Pile], list[str]]:
    """The archive's files by student, and what belongs to nobody."""
    piles: dict[str, Pile] = defaultdict(Pile)
    notes: list[str] = []
    marked = [(sent, *_mark(sent.parts)) for sent in files if sent.parts]
    if any(match for _, match, _ in marked):
        for sent, match, rest in marked:
            if match is None:
                if not is_junk(sent.parts):
                    notes.append(f"{sent.path} belongs to no student: not taken")
                continue
            pile = piles[match["number"]]
            pile.number = match["number"]
            name = " ".join(match["name"].split())
            pile.name = pile.name or ("" if name.casefold() in ANONYMOUS else name)
            pile.files.append((sent, rest, match["kind"]))
        return dict(sorted(piles.items(), key=lambda item: int(item[0]))), notes
    wrapper = _wrapper(files, archive, roster)
    for sent in files:
        parts = sent.parts[1:] if wrapper else sent.parts
        if not parts or is_junk(parts):
            continue
        own = parts[0] if len(parts) > 1 else _owner(parts[0], week)
        if not safe_id(own):
            notes.append(f"{sent.path} names no student: not taken")
            continue
        piles[own].own = piles[own].name = own
        piles[own].files.append((sent, parts[1:] or parts, "file"))
    return dict(sorted(piles.items())), notes


def _mark(parts: tuple[str, ...]) -> tuple[re.Match[str] | None, tuple[str, ...]]:
    """Moodle's mark in the first part that has one, and the path within (where such names mean nothing)."""
    for index, part in enumerate(parts):
        if match := MARK.fullmatch(part):
            rest = parts[index + 1 :]
            return match, rest or ((match["rest"] or "file",))
    return None, parts


def _wrapper(files: list[Sent], archive: Path, roster: Roster) -> bool:
    """Whether a zip holds one folder around everything, not a student's."""
    tops = {sent.parts[0] for sent in files if sent.parts and not is_junk(sent.parts)}
    if archive.is_dir() or len(tops) != 1 or roster.find(own=next(iter(tops)))[0]:
        return False
    return sum(len(sent.parts) > 1 and sent.name.endswith(".ipynb") for sent in files) > 1


def _owner(name: str, week: str) -> str:
    """The student in a file's name: anna.ipynb, week03_rbm_anna.ipynb, anna-exercise_week03_rbm.ipynb."""
    stem = re.sub(r"\.(ipynb|zip|json|txt)$", "", name, flags=re.IGNORECASE)
    given = Path(exercise_name(week)).stem
    return re.sub(f"{given}|{week}", "", stem, flags=re.IGNORECASE).strip(" _-.") or stem


def _of_download(piles: dict[str, Pile]) -> bool:
    """Newer Moodles stamp each file with the time of the download; a copied folder has times of the copy."""
    times = [
        max(t) for pile in piles.values() if (t := [sent.time for sent, _, _ in pile.files if sent.time])
    ]
    return not times or (len(times) >= 3 and max(times) - min(times) <= DOWNLOAD)


def _by_student(
    piles: dict[str, Pile], roster: Roster, notes: list[str]
) -> Iterator[tuple[Person, Pile, list[str]]]:
    """Each pile with its student; a stranger goes by the participant's number."""
    taken: dict[str, str] = {}
    for key, pile in piles.items():
        words: list[str] = []
        name = pile.name.replace("_", " ")
        person = None
        if roster.people:
            person, why = roster.find(pile.number, name, pile.own)
            if person is None:
                words.append(f"{name or pile.number} {why}" if why.startswith("is ") else why)
        if person is None:
            first, _, last = name.rpartition(" ") if pile.number else ("", "", "")
            name = name if pile.number else ""
            student = pile.number or safe_id(pile.own)
            person = Person(student, name, first, last, participant=pile.number)
        elif pile.number and not person.participant:
            person = dataclasses.replace(person, participant=pile.number)
        if person.student in taken:
            notes.append(
                f"{key} and {taken[person.student]} are both {person.student}: only the first is taken; give "
                "the grading worksheet as the list of students"
            )
            continue
        taken[person.student] = key
        yield person, pile, words


# Which notebook


def _unpack(
    pile: Pile, purse: Purse, fallback: datetime, words: list[str]
) -> Iterator[tuple[str, bytes, datetime, datetime]]:
    """(path, content, time packed, own time) of every file that can be read, nested zips opened."""
    for sent, rest, kind in pile.files:
        packed = sent.time or fallback
        if kind == "onlinetext":
            words.append("wrote a text in Moodle's editor, which is kept but not graded")
        yield from _open(sent, rest, packed, packed, purse, 0, words)


def _open(
    sent: Sent,
    rest: tuple[str, ...],
    packed: datetime,
    inner: datetime,
    purse: Purse,
    depth: int,
    words: list[str],
) -> Iterator[tuple[str, bytes, datetime, datetime]]:
    path = plain("/".join(rest))[:300]
    if not rest or is_junk(rest):
        if rest and is_checkpoint(rest) and not any(part.startswith("._") for part in rest):
            words.append(f"{path} is an automatic copy of JupyterLab: not taken")
        return
    try:
        content = sent.read(purse)
        looks_zip = content[:4] == b"PK\x03\x04" and not path.lower().endswith(
            (".docx", ".odt", ".xlsx", ".pptx", ".npz")
        )
        if not (looks_zip or path.lower().endswith(".zip")):
            yield path, content, packed, inner
            return
        if depth >= purse.caps.depth:
            raise Refused(f"zips within zips, more than {purse.caps.depth} deep: hand in the notebook alone")
        for member in in_zip(content, UTC):
            if member.parts:
                time = min(member.time or inner, packed)  # a clock that is ahead gains nothing
                yield from _open(member, (*rest, *member.parts), packed, time, purse, depth + 1, words)
    except Refused as reason:
        text = f"{path}: {reason}"
        if text not in words:
            words.append(text)
    except RecursionError:
        words.append(f"{path}: nested too deeply")


def _examine(
    path: str, content: bytes, packed: datetime, inner: datetime, week: str, assignment: Assignment | None
) -> Candidate:
    named = week.casefold() in path.casefold()
    try:
        data = json.loads(content.decode("utf-8-sig"))
        cells = data["cells"] if "cells" in data else [c for w in data["worksheets"] for c in w["cells"]]
        cells = [cell for cell in cells if isinstance(cell, dict)]
    except (ValueError, KeyError, TypeError, RecursionError, MemoryError):
        return Candidate(path, content, packed, inner, readable=False, named=named)
    known, untouched = _recognise(cells, week, assignment)
    return Candidate(path, content, packed, inner, known, True, untouched, named)


def _recognise(cells: list[dict[str, Any]], week: str, assignment: Assignment | None) -> tuple[int, bool]:
    """How many of the exercise's cells are there (by grade id, id, defined names); whether none is solved."""
    prefix = re.sub(r"[^a-z0-9_]+", "-", week.lower()) + "-"
    trusted = {cell.name: cell for cell in assignment.cells if cell.name} if assignment else {}
    by_id = {cell.cell_id: cell.name for cell in trusted.values() if cell.cell_id}
    by_definition = {name: cell.name for cell in trusted.values() for name in cell.defines}
    seen: set[str] = set()
    same = different = 0
    for cell in cells:
        source = cell.get("source", cell.get("input", ""))
        text = "".join(map(str, source)) if isinstance(source, list) else str(source)
        metadata = cell.get("metadata")
        own = metadata.get("nbgrader") if isinstance(metadata, dict) else None
        grade_id = str(own.get("grade_id", "")) if isinstance(own, dict) else ""
        cell_id = str(cell.get("id", ""))
        name = grade_id if grade_id in trusted else by_id.get(cell_id, "")
        defined = [
            by_definition[d] for d in re.findall(r"^(?:def|class)\s+(\w+)", text, re.M) if d in by_definition
        ]
        seen.update([name] if name else [], defined)
        if not trusted and cell_id.startswith(prefix):
            seen.add(cell_id)
        if name and trusted[name].kind in ("solution", "manual"):
            if "".join(text.split()) == "".join(trusted[name].source.split()):
                same += 1
            else:
                different += 1
    return len(seen), bool(same and not different)


def _choose(candidates: list[Candidate], week: str, words: list[str]) -> Candidate:
    """The week's notebook, by its cells, else by its name; not the untouched exercise; then the latest."""
    best = max(candidate.known for candidate in candidates)

    def rank(c: Candidate) -> tuple[Any, ...]:
        of_week = c.readable and c.known > 0 and 2 * c.known >= best
        copies = [int(number) for found in COPY.findall(c.path) for number in found if number]
        return of_week, c.named, not c.untouched, c.readable, c.packed, c.inner, copies[-1:] or [0], c.path

    def order(c: Candidate) -> tuple[Any, ...]:
        key = rank(c)
        if key[0]:  # recognised by its cells: its name says nothing more
            return (key[0], False, *key[2:])
        return key

    chosen = max(candidates, key=order)
    different = {hashlib.sha256(c.content).digest() for c in candidates}
    if len(different) > 1:
        others = ", ".join(sorted(c.path for c in candidates if c is not chosen))
        words.append(f"{len(candidates)} notebooks: {chosen.path} counts, not {others}")
    if not chosen.readable:
        words.append(f"{chosen.path} is damaged: it is no notebook")
    elif best == 0:
        words.append(f"{chosen.path} has nothing of {week}: is it another notebook?")
    elif chosen.untouched:
        words.append(f"{chosen.path} is the exercise as handed out, without answers")
    return chosen


def _nothing(paths: list[str]) -> str:
    """Why there is no notebook, in words."""
    for path in paths:
        if path.lower().endswith(OTHER_ARCHIVES):
            return f"{path} cannot be opened here: hand in the notebook (.ipynb) or a zip"
    for path in paths:
        if path.lower().endswith(TEXT_FILES) and not path.endswith("onlinetext.html"):
            return f"{path} is no notebook: hand in the file that ends in .ipynb"
    return "no notebook among the files: hand in the file that ends in .ipynb"


# Taking it


def _take(
    person: Person, pile: Pile, words: list[str], week: str, submitted: Path, kept: Path,
    assignment: Assignment | None, zone: tzinfo | None, caps: Caps, fallback: datetime, timed: bool,
) -> tuple[Entry, str]:  # fmt: skip
    """Keep a student's files and put the notebook that counts in its place; the entry, and what changed."""
    student = person.student
    folder, purse = kept / student, Purse(caps)
    candidates: list[Candidate] = []
    paths: list[str] = []
    for path, content, packed, inner in _unpack(pile, purse, fallback, words):
        paths.append(path)
        digest = hashlib.sha256(content).hexdigest()
        name = safe_id(path.rsplit("/", 1)[-1])[-60:] or "file"
        write_whole(folder / "files" / f"{digest[:12]}-{name}", content, 0o600)
        if (
            re.search(r"\.ipynb(\.json|\.txt)?$|\.json$", path, re.IGNORECASE)
            or content[:1] == b"{"
            and b'"cells"' in content
        ):
            candidates.append(_examine(path, content, packed, inner, week, assignment))
    old = _existing(folder / "entry.json", submitted, week, person)
    if not candidates:
        words.insert(0, _nothing(paths) if paths or not words else "nothing could be read")
        if old is not None and old.status == "collected":
            told = tuple(
                dict.fromkeys(
                    (
                        *old.later,
                        f"another upload cannot be read ({'; '.join(words)}); the earlier one counts",
                    )
                )
            )
            entry = dataclasses.replace(old, later=told)
        else:
            entry = Entry(student, "unreadable", person, notes=tuple(words))
        _save(entry, folder)
        return entry, "unreadable"
    chosen = _choose(candidates, week, words)
    handed_in, source = _moment(person, chosen, zone, timed)
    entry = Entry(
        student, "collected", person, chosen.path, hashlib.sha256(chosen.content).hexdigest(), handed_in,
        source, chosen.packed.isoformat(), tuple(dict.fromkeys(words)),
    )  # fmt: skip
    if old is None or old.status != "collected":
        change = "new"
    elif old.digest == entry.digest:
        change = "unchanged"
        entry = _same(old, entry)
    elif _newer(entry, old):
        change = "replaced"
    else:
        return old, "older"
    # The entry first: it says what the place should hold, so that a run that was interrupted is completed.
    _save(entry, folder)
    place = submitted / student / week
    write_whole(place / f"{week}.ipynb", chosen.content)
    if entry.handed_in:
        write_whole(place / "timestamp.txt", entry.handed_in + "\n")
    else:
        (place / "timestamp.txt").unlink(missing_ok=True)
    return entry, change


def _moment(person: Person, chosen: Candidate, zone: tzinfo | None, timed: bool) -> tuple[str, str]:
    """When it was handed in, in UTC, and how that is known."""
    if person.handed_in:
        local = datetime.fromisoformat(person.handed_in)
        if local.tzinfo is None:
            local = local.replace(tzinfo=zone) if zone else local.astimezone()
        return local.astimezone(UTC).isoformat(timespec="seconds"), "worksheet"
    return (chosen.packed.isoformat(timespec="seconds"), "archive") if timed else ("", "")


def _same(old: Entry, new: Entry) -> Entry:
    """The entry for content that was there before: the better known time, else the earlier."""
    weight = {"": 0, "archive": 1, "worksheet": 2}
    better, other = (new, old) if weight[new.source] > weight[old.source] else (old, new)
    handed_in = better.handed_in
    if better.source == other.source and handed_in:
        handed_in = min(handed_in, other.handed_in)
    packed = max(old.packed, new.packed)
    if old.person == new.person and old.file == new.file:
        notes = new.notes if new.packed >= old.packed else old.notes
    else:
        notes = new.notes
    return dataclasses.replace(
        new, handed_in=handed_in, source=better.source, packed=packed, notes=notes, later=old.later
    )


def _newer(new: Entry, old: Entry) -> bool:
    if new.source == old.source == "worksheet" and new.handed_in != old.handed_in:
        return new.handed_in > old.handed_in
    return new.packed > old.packed


def _kept(submitted: Path, week: str) -> Path:
    return submitted.parent / "collected" / week


def _save(entry: Entry, folder: Path) -> None:
    text = json.dumps(dataclasses.asdict(entry), indent=1, sort_keys=True, ensure_ascii=False)
    write_whole(folder / "entry.json", text + "\n", 0o600)


def _entry(path: Path) -> Entry | None:
    """The entry in a file; None if there is none, or it is damaged and will be made anew."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        return from_data(Entry, json.loads(path.read_bytes()))
    return None


def _existing(path: Path, submitted: Path, week: str, person: Person) -> Entry | None:
    """What counted so far; a notebook that came here by other means has the time that nbgrader would see."""
    if (entry := _entry(path)) is not None:
        return entry
    notebook = submitted / person.student / week / f"{week}.ipynb"
    if not notebook.is_file():
        return None
    time = datetime.fromtimestamp(int(notebook.stat().st_mtime), UTC)
    stamp, source = notebook.with_name("timestamp.txt"), ""
    with suppress(OSError, ValueError):
        own = datetime.fromisoformat(stamp.read_text(encoding="utf-8").strip())
        time, source = own.replace(tzinfo=own.tzinfo or UTC).astimezone(UTC), "archive"
    digest = hashlib.sha256(notebook.read_bytes()).hexdigest()
    handed_in = time.isoformat(timespec="seconds") if source else ""
    return Entry(
        person.student, "collected", person, notebook.name, digest, handed_in, source, time.isoformat()
    )
