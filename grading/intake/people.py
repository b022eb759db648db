"""Who is who: the class as Moodle lists it, pseudonyms, and the secret grading seeds.

Names stay in the coordinator: in the report of collecting and in the gradebook. All else knows pseudonyms.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import os
import re
import secrets
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from grading.files import plain
from grading.model import Person

# The columns of Moodle's lists of participants and of its grading worksheet, in English and German.
COLUMNS = {
    "id_number": ("id number", "idnumber", "student id", "id-nummer", "matrikelnummer"),
    "username": ("username", "user name", "login", "anmeldename", "nutzername"),
    "email": ("email address", "email", "e-mail", "e-mail address", "e-mail-adresse"),
    "name": ("full name", "fullname", "name", "vollständiger name", "user full name"),
    "first_name": ("first name", "firstname", "given name", "vorname"),
    "last_name": ("last name", "surname", "lastname", "family name", "nachname"),
    "participant": ("identifier", "participant", "id", "teilnehmer/in", "kennung"),
    "handed_in": ("last modified (submission)", "zuletzt geändert (abgabe)", "zuletzt geändert (lösung)"),
}
KEY_FILE = "secret.key"


class PeopleError(Exception):
    """A list of students or a key that cannot be used; one line that says what to do."""


@dataclass(frozen=True)
class Roster:
    """A class. `find` never guesses between two people of one name."""

    people: tuple[Person, ...] = ()
    _by: dict[str, list[Person]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        index: dict[str, list[Person]] = defaultdict(list)
        for person in self.people:
            names = {person.full_name, f"{person.first_name} {person.last_name}"}
            names |= {f"{person.last_name} {person.first_name}", f"{person.last_name}, {person.first_name}"}
            keys = {f"name:{_key(name)}" for name in names if _key(name)}
            if person.participant:
                keys.add(f"participant:{person.participant}")
            for own in (person.student, person.id_number, person.username, person.email):
                if own:
                    keys.add(f"own:{own.casefold()}")
            for key in keys:
                index[key].append(person)
        self._by.update(index)

    def find(self, participant: str = "", name: str = "", own: str = "") -> tuple[Person | None, str]:
        """The person with this participant number, else with this id, else of this name; and why none."""
        if participant and (found := self._by.get(f"participant:{participant}")):
            return found[0], ""
        if own and (found := self._by.get(f"own:{own.casefold()}")):
            return found[0], ""
        found = self._by.get(f"name:{_key(name)}", []) if name else []
        if len(found) == 1:
            return found[0], ""
        if found:
            return None, (
                f"{len(found)} students are called {plain(name)}: use Moodle's grading worksheet as the list "
                "of students, which has the participants' numbers"
            )
        return None, "is not in the list of students"


def _key(name: str) -> str:
    """A name for comparing: composed, without case, spaces and punctuation reduced."""
    name = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(re.sub(r"[^\w]+", " ", name).replace("_", " ").split())


def safe_id(text: str) -> str:
    """`text` as the name of a folder: what is neither letter, digit nor one of . _ @ - becomes a hyphen."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._@-]+", "-", ascii_text).strip(".-")[:100]


def read_students(path: Path) -> Roster:
    """The class from a CSV of Moodle: its list of participants, or the grading worksheet of the assignment.

    The id in the gradebook is the id number, else the user name, else the e-mail address, else the
    participant's number.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise PeopleError(f"{path}: the list of students cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PeopleError(f"{path}: the list of students is not in UTF-8: export it as CSV (UTF-8)") from None
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    if not rows:
        raise PeopleError(f"{path}: the list of students is empty")
    places: dict[str, int] = {}
    for index, title in enumerate(rows[0]):
        for what, known in COLUMNS.items():
            if " ".join(title.split()).casefold() in known:
                places.setdefault(what, index)
    if not {"id_number", "username", "email", "participant"} & set(places):
        raise PeopleError(
            f"{path}: the list of students needs a column ID number, Username, Email address or "
            f"Identifier; it has {', '.join(map(plain, rows[0])) or 'none'}"
        )
    people: dict[str, Person] = {}
    for line, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        person = _person({what: row[i].strip() for what, i in places.items() if i < len(row)})
        if not person.student:
            raise PeopleError(f"{path}, line {line}: the student has neither id number, user name nor e-mail")
        if person.student in people:
            raise PeopleError(f"{path}, line {line}: the id {person.student} is there twice")
        people[person.student] = person
    return Roster(tuple(people.values()))


def _person(values: dict[str, str]) -> Person:
    numbers = re.findall(r"\d+", values.get("participant", ""))
    participant = numbers[-1] if numbers else ""
    ids = (values.get("id_number"), values.get("username"), values.get("email"), participant)
    student = next((safe for own in ids if own and (safe := safe_id(own))), "")
    texts = {key: plain(values.get(key, "")) for key in ("name", "first_name", "last_name")}
    if not texts["name"]:
        texts["name"] = f"{texts['first_name']} {texts['last_name']}".strip()
    elif not texts["last_name"]:
        texts["first_name"], _, texts["last_name"] = texts["name"].rpartition(" ")
    return Person(
        student=student,
        email=plain(values.get("email", "")),
        username=plain(values.get("username", "")),
        id_number=plain(values.get("id_number", "")),
        participant=participant,
        handed_in=_moment(values.get("handed_in", "")),
        **texts,
    )


MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
GERMAN = {"mär": "mar", "mai": "may", "okt": "oct", "dez": "dec"}


def _moment(text: str) -> str:
    """Moodle's "Wednesday, 3 April 2024, 11:59 PM" → ISO 8601 without zone; "" if unclear. German, too."""
    with suppress(ValueError):
        return datetime.fromisoformat(text.strip()).isoformat()
    found = re.search(
        r"(\d{1,2})\.? ([^\W\d]+)\.? (\d{4}),? (\d{1,2}):(\d\d)(?::(\d\d))?\s*([AaPp][Mm])?", text
    )
    if not found:
        return ""
    day, month, year, hour, minute, second, half = found.groups()
    short = month[:3].casefold()
    short = GERMAN.get(short, short)
    if short not in MONTHS:
        return ""
    hours = int(hour) % 12 + 12 * (half.lower() == "pm") if half else int(hour)
    with suppress(ValueError):
        when = datetime(int(year), MONTHS.index(short) + 1, int(day), hours, int(minute), int(second or 0))
        return when.isoformat()
    return ""


@dataclass(frozen=True)
class Secrets:
    """The course's key. Whoever has it can undo pseudonyms and compute grading seeds."""

    key: bytes = field(repr=False)

    def seed(self, submission: str, assignment: str) -> int:
        """The secret grading seed of an upload, by the digests of submission and exercise: 0 ≤ seed < 2^128.

        The same upload always meets the same inputs, another one others.
        """
        return int.from_bytes(self._mac(f"seed:{submission}:{assignment}")[:16], "big")

    def pseudonym(self, student: str) -> str:
        return pseudonym(student, self)

    def _mac(self, text: str) -> bytes:
        return hmac.new(self.key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def pseudonym(student: str, secret: Secrets) -> str:
    """A student's name in logs, reports and on workers: "s" and twelve hexadecimal digits."""
    return "s" + secret._mac(f"student:{student}").hex()[:12]


def pseudonyms(students: Iterable[str], secret: Secrets) -> dict[str, str]:
    """Pseudonym → student, for the way back."""
    return {pseudonym(student, secret): student for student in students}


def secrets_for(folder: Path) -> Secrets:
    """The key in folder/secret.key, made at first use, readable by its owner only.

    `folder` must be one that git ignores and no worker sees. Losing the key changes all pseudonyms and seeds.
    """
    path = folder / KEY_FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{KEY_FILE}.", dir=folder)  # mode 600
        try:
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_hex(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):  # another process was first: its key counts
                os.link(temporary, path)
        finally:
            os.unlink(temporary)
    try:
        text = path.read_text(encoding="ascii").strip()
        key = bytes.fromhex(text)
    except (OSError, ValueError) as error:
        raise PeopleError(f"{path}: the key cannot be read ({error}): restore it from a backup") from None
    if len(key) != 32:
        raise PeopleError(f"{path}: the key is damaged: restore it from a backup, or delete it for a new one")
    if os.name == "posix" and path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return Secrets(key)
