"""Whose an upload is, by the form that a learning management system gives to its export.

    Moodle   Name_NUMBER_assignsubmission_file_/FILE, or the same as the beginning of a file's name
    Canvas   name_NUMBER_FILENUMBER_FILE, or name_LATE_NUMBER_FILENUMBER_FILE   (lib/content_zipper.rb)
    ILIAS    ASSIGNMENT/Submissions/Last_First_login_NUMBER/FILE, with a folder for each team between
             (Modules/Exercise, ilExSubmission::getDirectoryNameFromUserData)
    plain    a folder for each student, or a file named after the student

A form counts only if it is that of everything in the archive, on one level: what a student calls a file
within an upload decides nothing. Where an upload may be of two, or of nobody, collecting stops and asks.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from grading.files import plain
from grading.intake.archive import Sent, is_junk
from grading.intake.people import Roster, safe_id
from grading.model import Person
from tools.notebooks import exercise_name

MOODLE = re.compile(
    r"(?P<name>.*?)_(?P<number>\d+)_assignsubmission_(?P<kind>[a-z]+)(?:_(?P<rest>.*))?", re.DOTALL
)
CANVAS = re.compile(
    r"(?:(?P<name>[^\s/]*?)_)??(?P<late>LATE_)?(?P<number>\d+|anon_[^\W_]+)_(?:\d+_(?P<rest>.+)|(?P<text>text|link)\.html)",
    re.DOTALL,
)
ILIAS = re.compile(r"(?P<name>.+)_(?P<number>\d+)", re.DOTALL)
DRIVE = re.compile(r"(?:.*-)?\d{8}T\d{6}Z-(?:\d+-)?\d{3}(?: ?\(\d+\))?(?:\.zip)?")
ANONYMOUS = {"participant", "teilnehmer", "teilnehmerin", "in"}  # "in" of "Teilnehmer/in"
COPY = re.compile(r"^(copy|kopie) (of|von) |[ _-]*(\(\d+\)|- ?copy\d*|copy \d+|kopie( \d+)?)$", re.IGNORECASE)
DEEP = 4  # levels of folders in which the form is looked for


class CollectError(Exception):
    """Nothing can be collected, or it is unclear whose something is; one line with what to do."""


@dataclass(frozen=True)
class Whose:
    """What a path says of its owner: the system's number, the name or id, and the path within."""

    number: str = ""
    name: str = ""
    own: str = ""
    rest: tuple[str, ...] = ()
    kind: str = "file"
    late: bool = False


@dataclass
class Pile:
    """What an archive holds of one student."""

    number: str = ""
    name: str = ""
    own: str = ""
    files: list[tuple[Sent, tuple[str, ...], str]] = field(default_factory=list)  # file, path within, kind
    person: Person = field(default_factory=lambda: Person(""))
    known: bool = False  # the person is in the list of students, or the system's number tells who it is
    words: list[str] = field(default_factory=list)


@dataclass
class Owners:
    """An archive's files by student; form: whose export it is, "" if plain folders."""

    form: str
    piles: list[Pile]
    notes: list[str]


def owners(files: list[Sent], archive: Path, week: str, roster: Roster) -> Owners:
    """Whose each file is; CollectError where that cannot be told."""
    files = [sent for sent in files if _parts(sent) and not is_junk(_parts(sent))]
    form, depth = _form(files, roster)
    notes: list[str] = []
    piles: dict[str, Pile] = {}
    wrapper = not form and _wrapper(files, archive, roster)
    for sent in files:
        parts = _parts(sent)
        if form:
            whose = FORMS[form](parts[depth:])
        else:
            whose = _plain(parts[1:] if wrapper else parts, week)
        if whose is None:
            notes.append(f"{sent.path} belongs to no student: not taken")
            continue
        if not form and not safe_id(whose.own):
            raise CollectError(
                f"{plain(sent.path)} names no student: put each student's files into a folder that is named"
                " after the student"
            )
        pile = piles.setdefault(whose.number or whose.own, Pile(whose.number, own=whose.own))
        pile.name = pile.name or whose.name
        pile.files.append((sent, whose.rest, whose.kind))
        if whose.late and "late, says Canvas" not in pile.words:
            pile.words.append("late, says Canvas")
    order = sorted(piles.values(), key=lambda pile: (len(pile.number), pile.number, pile.own))
    taken: dict[str, Pile] = {}
    for pile in order:
        _meet(pile, form, roster)
        other = taken.setdefault(pile.person.student.casefold(), pile)
        if other is not pile:
            one, two = (plain(p.name or p.own or p.number) for p in (other, pile))
            raise CollectError(
                f"{one} ({other.number or 'first'}) and {two} ({pile.number or 'second'}) would both be the"
                f" student {pile.person.student}: give a list of students that tells them apart, or rename"
            )
    if not form and _of_drive(files, archive) and not all(pile.known for pile in order):
        raise CollectError(
            f"{archive} is a download of Google Drive or Classroom, which does not tell whose a file is: put"
            " each student's files into a folder named after the student, and collect the folder of these"
        )
    return Owners(form, order, notes)


# The forms


def _moodle(parts: tuple[str, ...]) -> Whose | None:
    if (match := MOODLE.fullmatch(parts[0])) is None:
        return None
    name = " ".join(match["name"].split())
    name = "" if name.casefold() in ANONYMOUS else name
    return Whose(match["number"], name, rest=parts[1:] or (match["rest"] or "file",), kind=match["kind"])


def _canvas(parts: tuple[str, ...]) -> Whose | None:
    if len(parts) > 1 or (match := CANVAS.fullmatch(parts[0])) is None:
        return None
    if not match["name"] and not match["number"].startswith("anon_"):
        return None
    name, late = match["name"] or "", bool(match["late"])
    rest, kind = (f"{match['text']}.html", "onlinetext") if match["text"] else (match["rest"], "file")
    return Whose(match["number"], name, rest=(rest,), kind=kind, late=late)


def _ilias(parts: tuple[str, ...]) -> Whose | None:
    for index in (0, 1):  # 1: in a team's folder
        match = ILIAS.fullmatch(parts[index]) if len(parts) > index + 1 else None
        if match and match["name"].count("_") >= 2:
            return Whose(match["number"], match["name"], rest=parts[index + 1 :])
    return None


def _plain(parts: tuple[str, ...], week: str) -> Whose | None:
    if not parts:
        return None
    own = parts[0][:300] if len(parts) > 1 else _in_name(parts[0][:300], week)
    return Whose(own=own, name=own, rest=parts[1:] or parts)


FORMS: dict[str, Callable[[tuple[str, ...]], Whose | None]] = {
    "Moodle": _moodle,
    "Canvas": _canvas,
    "ILIAS": _ilias,
}


def _form(files: list[Sent], roster: Roster) -> tuple[str, int]:
    """The system whose export this is, and below how many folders; "" if none; CollectError if part is."""
    paths = [_parts(sent) for sent in files]
    mixed = ""
    if all(_known(path[0], roster) for path in paths):
        return "", 0
    for depth in range(DEEP):
        if any(len(path) <= depth for path in paths):
            break
        if depth and (len({path[depth - 1] for path in paths}) > 1 or _known(paths[0][depth - 1], roster)):
            break
        for form, whose in FORMS.items():
            names: dict[str, str] = {}
            strangers: list[tuple[str, ...]] = []
            fit = 0
            for path in paths:
                found = whose(path[depth:])
                if found is not None and names.setdefault(found.number, found.name) == found.name:
                    fit += 1
                elif len(path) > depth + 1 or path[-1].lower().endswith((".ipynb", ".zip")):
                    strangers.append(path)
            if fit and not strangers:
                return form, depth
            if fit and (form == "Moodle" or fit > len(strangers)) and not mixed:
                mixed = (
                    f"{plain('/'.join(strangers[0]))} is not named as in an export of {form}, and {fit} other"
                    " files are: collect the export alone, and what came otherwise from a folder of its own"
                )
    if mixed:
        raise CollectError(mixed)
    return "", 0


def _parts(sent: Sent) -> tuple[str, ...]:
    return tuple(part for part in sent.parts if part != "..")


def _known(own: str, roster: Roster) -> bool:
    return bool(roster.find(own=own, name=own))


def _wrapper(files: list[Sent], archive: Path, roster: Roster) -> bool:
    """Whether a zip holds one folder around everything, not a student's."""
    tops = {sent.parts[0] for sent in files}
    if archive.is_dir() or len(tops) != 1 or _known(next(iter(tops)), roster):
        return False
    return sum(len(sent.parts) > 1 and sent.name.endswith(".ipynb") for sent in files) > 1


def _in_name(name: str, week: str) -> str:
    """The student in a file's name: anna.ipynb, week03_rbm_anna (1).ipynb, anna-exercise_week03_rbm.ipynb."""
    stem = re.sub(r"\.(ipynb|zip|json|txt)$", "", name, flags=re.IGNORECASE)
    given = Path(exercise_name(week)).stem
    stem = COPY.sub("", COPY.sub("", stem))
    return re.sub(f"{given}|{week}", "", stem, flags=re.IGNORECASE).strip(" _-.")


def _of_drive(files: list[Sent], archive: Path) -> bool:
    names = {archive.name, *(sent.parts[0] for sent in files)}
    return any(DRIVE.fullmatch(name) for name in names)


# The persons


def _meet(pile: Pile, form: str, roster: Roster) -> None:
    """The pile's person: from the list of students if there is one, else as the export tells."""
    found = _candidates(pile, form, roster)
    name = plain(pile.name.replace("_", " ") or pile.own or pile.number)
    if len(found) > 1:
        who = ", ".join(sorted(person.student for person in found))
        raise CollectError(
            f"{name} may be {who}: give a list of students with the numbers of {form} (of Moodle the grading"
            " worksheet, of Canvas the exported gradebook)"
            if form
            else f"{name} may be {who}: rename the file or folder after the student's id"
        )
    if found:
        (person,) = found
        pile.known = True
        if pile.number and not person.participant:
            person = dataclasses.replace(person, participant=pile.number)
    else:
        person, pile.known = _stranger(pile, form), bool(form)
        if roster.people:
            pile.words.append(f"{name} is not in the list of students")
    pile.person = person


def _candidates(pile: Pile, form: str, roster: Roster) -> list[Person]:
    if form == "Canvas":
        return roster.find(pile.number, joined=pile.name)
    if form == "ILIAS":
        return _of_ilias(pile, roster)
    if form:
        return roster.find(pile.number, name=pile.name)
    return roster.find(own=pile.own, name=pile.own) or roster.named_in(pile.own)


def _of_ilias(pile: Pile, roster: Roster) -> list[Person]:
    """By the login, which may have underscores in it as the names may; else by the names."""
    words = pile.name.split("_")
    for start in range(2, len(words)):
        if found := roster.find(own="_".join(words[start:])):
            return found
    for start in range(2, len(words)):
        if found := roster.find(pile.number, name=" ".join(words[:start])):
            return found
    return []


def _stranger(pile: Pile, form: str) -> Person:
    name = pile.name.replace("_", " ") if form else ""
    first, _, last = name.rpartition(" ")
    login = ""
    if form == "ILIAS" and pile.name.count("_") == 2:
        last, first, login = pile.name.split("_")
        name = f"{first} {last}"
    student = safe_id(pile.number or pile.own)
    return Person(student, name, first, last, username=login, participant=pile.number)
