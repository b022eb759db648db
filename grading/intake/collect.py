"""Collects what students handed in: an export of Moodle, Canvas or ILIAS, or a folder.

    collect(archive, week, submitted, students) → submitted/STUDENT/WEEK/WEEK.ipynb and timestamp.txt

Beside `submitted` a folder `collected/WEEK` keeps every file that could be read, for each student what was
taken and why, and the report. An older upload never replaces a newer one; the same archive again changes
nothing. Each student's files are opened in a process of their own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from grading.files import csv_text, plain, write_whole
from grading.intake.apart import Exhausted, apart
from grading.intake.archive import (
    Caps,
    Purse,
    Refused,
    Sent,
    Spent,
    in_folder,
    in_zip,
    is_checkpoint,
    is_junk,
)
from grading.intake.exports import MOODLE, CollectError, Pile, owners
from grading.intake.people import Roster, pseudonym, read_students, safe_id, secrets_for
from grading.intake.reading import Loose, Unreadable, read
from grading.model import Assignment, Person, Submission, from_data

__all__ = [
    "CollectError", "CollectReport", "Entry", "collect", "entries", "people", "pseudonym", "report_of",
    "secrets_for", "submissions",
]  # fmt: skip

COPY = re.compile(r"\((\d+)\)|-copy(\d+)| copy (\d+)|kopie (\d+)", re.IGNORECASE)
OTHER_ARCHIVES = (".rar", ".7z", ".tar", ".gz", ".tgz", ".xz", ".bz2")
TEXT_FILES = (".html", ".txt", ".docx", ".odt", ".pdf", ".py")
DOWNLOAD = timedelta(minutes=5)  # times that lie closer together, from three students on, are of the download
COPIES = 3  # different copies of the exercise that one who is in no list may hand in
WORDS = 12  # notes on an upload


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


@dataclass(frozen=True)
class Kept:
    """A file that lies below `collected`: where, its path as sent, and its times."""

    place: Path
    path: tuple[str, ...]
    packed: datetime
    inner: datetime  # in a zip of the student's: by their clock; else as packed


@dataclass(frozen=True)
class Candidate:
    """A notebook that may be the one."""

    kept: Kept
    path: str
    digest: str
    known: int = 0  # cells of the exercise that are recognised
    unreadable: str = ""  # why
    untouched: bool = False  # the exercise as handed out
    named: bool = False  # after the week


@dataclass
class Looked:
    """What was found in a student's files: paths, notebooks among them, and what to say."""

    paths: list[str] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    @property
    def several(self) -> str:
        """Why this may be several students' work; "" if it is one's."""
        copies = len({c.digest for c in self.candidates if c.known and not c.untouched})
        parts = [part for candidate in self.candidates for part in candidate.kept.path]
        numbers = {match["number"] for part in parts if (match := MOODLE.fullmatch(part))}
        if copies > COPIES:
            return f"{copies} different answers"
        return "files that are named as in an export of Moodle" if len(numbers) > 1 else ""


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

    students: as CSV, Moodle's list of participants or, better, the assignment's grading worksheet, or Canvas'
    exported gradebook; without it the id of a student is the system's number, which in Moodle differs from
    assignment to assignment, or the name of the student's folder.
    assignment: tells the week's notebook from others. zone: of the archive's and the worksheet's times, by
    default this computer's.
    """
    caps = caps or Caps()
    roster = students if isinstance(students, Roster) else read_students(students) if students else Roster()
    files = _files(archive, zone, caps)
    fallback = datetime.fromtimestamp(int(archive.stat().st_mtime), UTC)
    found = owners(files, archive, week, roster)
    notes, piles = found.notes, found.piles
    if found.form:
        notes.insert(0, f"read as an export of {found.form}: {len(piles)} students")
    timed = not _of_download(piles)
    if not timed and not any(person.handed_in for person in roster.people):
        notes.append(
            "the times in the archive are those of the download: for times of submission and late penalties "
            "give Moodle's grading worksheet as the list of students"
        )
    kept = _kept(submitted, week)
    looked = [_look(pile, kept / pile.person.student, week, assignment, caps, fallback) for pile in piles]
    for pile, one in zip(piles, looked, strict=True):
        if not pile.known and one.several:
            raise CollectError(
                f"{plain(pile.own)} holds {one.several}: is it one student's, or an archive of several?"
                " Give an archive by itself, or a list of students that names this one"
            )
    changes: dict[str, str] = {}
    for pile, one in zip(piles, looked, strict=True):
        entry, change = _take(pile.person, one, week, submitted, kept, zone, timed)
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
            files = list(in_folder(archive, zone))
        elif archive.is_file():
            files = list(in_zip(archive, zone))
        else:
            raise CollectError(f"{archive} does not exist: give the zip of all submissions, or a folder")
    except Refused as reason:
        raise CollectError(f"{archive}: {reason}; download all submissions again") from None
    if len(files) > caps.members:
        raise CollectError(f"{archive} has {len(files)} files, more than {caps.members}")
    return files


def _of_download(piles: Sequence[Pile]) -> bool:
    """Newer Moodles stamp each file with the time of the download; a copied folder has times of the copy."""
    times = [max(t) for pile in piles if (t := [sent.time for sent, _, _ in pile.files if sent.time])]
    return not times or (len(times) >= 3 and max(times) - min(times) <= DOWNLOAD)


# Which notebook


def _look(
    pile: Pile, folder: Path, week: str, assignment: Assignment | None, caps: Caps, fallback: datetime
) -> Looked:
    """Keep a student's files, and see what is in them."""
    purse, words = Purse(caps), list(pile.words)
    files: list[Kept] = []
    for sent, rest, kind in sorted(pile.files, key=lambda file: not _is_notebook(file[1])):
        if kind == "onlinetext":
            words.append("wrote a text in the editor, which is kept but not graded")
        if (path := _passed(rest, words)) is None:
            continue
        try:
            place = _keep(folder, path, sent.read(purse))
        except Refused as reason:
            words.append(f"{path}: {reason}")
            if isinstance(reason, Spent):
                break
        else:
            files.append(Kept(place, rest, sent.time or fallback, sent.time or fallback))
    found = Looked([_shown(kept.path) for kept in files])
    for some in (
        files,
        [kept for kept in files if _is_notebook(kept.path)],
    ):  # what is no zip is read at least
        try:
            found = apart(look, some, folder, week, assignment, purse)
            break
        except Exhausted as why:
            words.append(str(why))
        except RuntimeError as fault:  # of ours; it must not stop the class
            words.append(f"cannot be read ({plain(str(fault))[:200]})")
    words = list(dict.fromkeys((*words, *found.words)))
    if len(words) > WORDS:
        words = [*words[:WORDS], f"and {len(words) - WORDS} more notes like these"]
    return dataclasses.replace(found, words=words)


def look(
    files: Sequence[Kept], folder: Path, week: str, assignment: Assignment | None, purse: Purse
) -> Looked:
    """What is in a student's files; those out of zips are put into `folder`, notebooks first."""
    found = Looked()
    opened: set[str] = set()  # digests of zips: each is read once
    todo = [(kept, 0) for kept in reversed(files)]
    spent = False
    while todo:
        kept, depth = todo.pop()
        content, path = kept.place.read_bytes(), _shown(kept.path)
        digest = hashlib.sha256(content).hexdigest()
        if not _is_zip(content, path):
            found.paths.append(path)
            if _may_be_notebook(content, path):
                found.candidates.append(_examine(kept, path, content, digest, week, assignment))
        elif digest not in opened and not spent:
            opened.add(digest)
            inside: list[tuple[Kept, int]] = []
            try:
                for one in _unzip(kept, content, depth, folder, purse, found.words):
                    inside.append((one, depth + 1))
            except Refused as reason:
                found.words.append(f"{path}: {reason}")
                spent = isinstance(reason, Spent)
            todo += reversed(inside)
    return found


def _unzip(
    zipped: Kept, content: bytes, depth: int, folder: Path, purse: Purse, words: list[str]
) -> Iterator[Kept]:
    if depth >= purse.caps.depth:
        raise Refused(f"zips within zips, more than {purse.caps.depth} deep: hand in the notebook alone")
    purse.zip(content)
    for member in sorted(in_zip(content, UTC), key=lambda one: not _is_notebook(one.parts)):
        rest = (*zipped.path, *member.parts)
        if not member.parts or (path := _passed(rest, words)) is None:
            continue
        time = min(member.time or zipped.inner, zipped.packed)  # a clock that is ahead gains nothing
        try:
            yield Kept(_keep(folder, path, member.read(purse)), rest, zipped.packed, time)
        except Spent:
            raise
        except Refused as reason:
            words.append(f"{path}: {reason}")


def _passed(rest: tuple[str, ...], words: list[str]) -> str | None:
    """The path for people; None if it is junk."""
    if not rest or is_junk(rest):
        if rest and is_checkpoint(rest) and not any(part.startswith("._") for part in rest):
            words.append(f"{_shown(rest)} is an automatic copy of JupyterLab: not taken")
        return None
    return _shown(rest)


def _shown(path: tuple[str, ...]) -> str:
    return plain("/".join(path))[:300]


def _keep(folder: Path, path: str, content: bytes) -> Path:
    name = safe_id(path.rsplit("/", 1)[-1])[-60:] or "file"
    place = folder / "files" / f"{hashlib.sha256(content).hexdigest()[:12]}-{name}"
    write_whole(place, content, 0o600)
    return place


def _is_notebook(path: tuple[str, ...]) -> bool:
    return bool(path) and path[-1].lower().endswith(".ipynb")


def _is_zip(content: bytes, path: str) -> bool:
    other = path.lower().endswith((".docx", ".odt", ".xlsx", ".pptx", ".npz"))
    return path.lower().endswith(".zip") or (content[:4] == b"PK\x03\x04" and not other)


def _may_be_notebook(content: bytes, path: str) -> bool:
    named = re.search(r"\.ipynb(\.json|\.txt)?$|\.json$", path, re.IGNORECASE)
    return bool(named) or (content[:1] == b"{" and b'"cells"' in content)


def _examine(
    kept: Kept, path: str, content: bytes, digest: str, week: str, assignment: Assignment | None
) -> Candidate:
    named = week.casefold() in path.casefold()
    try:
        known, untouched = _recognise(read(content)[0], week, assignment)
    except (Unreadable, MemoryError) as why:
        return Candidate(kept, path, digest, unreadable=str(why) or "it is too large to be read", named=named)
    return Candidate(kept, path, digest, known, "", untouched, named)


def _recognise(cells: Sequence[Loose], week: str, assignment: Assignment | None) -> tuple[int, bool]:
    """How many of the exercise's cells are there (by grade id, id, defined names); whether none is solved."""
    prefix = re.sub(r"[^a-z0-9_]+", "-", week.lower()) + "-"
    trusted = {cell.name: cell for cell in assignment.cells if cell.name} if assignment else {}
    by_id = {cell.cell_id: cell.name for cell in trusted.values() if cell.cell_id}
    by_definition = {name: cell.name for cell in trusted.values() for name in cell.defines}
    seen: set[str] = set()
    same = different = 0
    for cell in cells:
        cell_id = next(iter(cell.cell_ids), "")
        name = cell.grade_id if cell.grade_id in trusted else by_id.get(cell_id, "")
        names = re.findall(r"^(?:def|class)\s+(\w+)", cell.source, re.M)
        defined = [by_definition[d] for d in names if d in by_definition]
        seen.update([name] if name else [], defined)
        if not trusted and cell_id.startswith(prefix):
            seen.add(cell_id)
        if name and trusted[name].kind in ("solution", "manual"):
            if "".join(cell.source.split()) == "".join(trusted[name].source.split()):
                same += 1
            else:
                different += 1
    return len(seen), bool(same and not different)


def _choose(candidates: list[Candidate], week: str, words: list[str]) -> Candidate:
    """The week's notebook, by its cells, else by its name; not the untouched exercise; then the latest."""
    best = max(candidate.known for candidate in candidates)

    def rank(c: Candidate) -> tuple[Any, ...]:
        of_week = c.known > 0 and 2 * c.known >= best
        copies = [int(number) for found in COPY.findall(c.path) for number in found if number]
        times = c.kept.packed, c.kept.inner
        return of_week, c.named, not c.untouched, not c.unreadable, *times, copies[-1:] or [0], c.path

    def order(c: Candidate) -> tuple[Any, ...]:
        key = rank(c)
        if key[0]:  # recognised by its cells: its name says nothing more
            return (key[0], False, *key[2:])
        return key

    chosen = max(candidates, key=order)
    if len({c.digest for c in candidates}) > 1:
        others = ", ".join(sorted(c.path for c in candidates if c is not chosen))
        words.append(f"{len(candidates)} notebooks: {chosen.path} counts, not {others}")
    if chosen.unreadable:
        words.append(f"{chosen.path} is no notebook that can be read: {chosen.unreadable}")
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
    person: Person, found: Looked, week: str, submitted: Path, kept: Path, zone: tzinfo | None, timed: bool
) -> tuple[Entry, str]:
    """Put the notebook that counts in its place; the entry, and what changed."""
    student, folder, words = person.student, kept / person.student, found.words
    candidates, paths = found.candidates, found.paths
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
        student, "collected", person, chosen.path, chosen.digest, handed_in,
        source, chosen.kept.packed.isoformat(), tuple(dict.fromkeys(words)),
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
    write_whole(place / f"{week}.ipynb", chosen.kept.place.read_bytes())
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
    return (chosen.kept.packed.isoformat(timespec="seconds"), "archive") if timed else ("", "")


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
