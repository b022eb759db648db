"""Reads what students have sent: none of their paths is written to, none of their sizes believed.

A `Sent` is one file, out of a zip or a folder; reading it either gives its bytes or raises `Refused`, whose
message is meant for the student.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import IO

from grading.files import plain

MB = 2**20
JUNK = {"__macosx", ".ds_store", "thumbs.db", "desktop.ini", "__pycache__", ".git", ".virtual_documents"}
# Only what gives its bytes piece by piece: a few bytes of LZMA or bzip2 become gigabytes at once.
KNOWN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What reading a member of a broken zip can raise.
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    struct.error,
    OverflowError,
    IndexError,
    KeyError,
    AttributeError,
)


@dataclass(frozen=True)
class Caps:
    """What one student may send. Beyond it nothing more of theirs is read."""

    file: int = 50 * MB  # one file
    total: int = 100 * MB  # all of one student's, out of nested zips as well
    files: int = 500  # that are read
    entries: int = 20_000  # in all of their zips' lists of files, read or not
    depth: int = 3  # zips within zips
    members: int = 200_000  # of the whole archive


class Refused(Exception):
    """This file is not read; why, in words for the student."""


class Spent(Refused):
    """Neither this file nor any other of the student's is read: the caps are reached."""


@dataclass
class Purse:
    """What a student has left of the caps."""

    caps: Caps
    bytes_left: int = field(init=False)
    files_left: int = field(init=False)
    entries_left: int = field(init=False)

    def __post_init__(self) -> None:
        self.bytes_left, self.files_left = self.caps.total, self.caps.files
        self.entries_left = self.caps.entries

    def zip(self, data: bytes) -> None:
        """For a zip's list of files, before it is read: an entry, begins with these bytes."""
        self.entries_left -= data.count(b"PK\x01\x02") + 1
        if self.entries_left < 0:
            raise Spent(f"zips with more than {self.caps.entries} files in all: hand in the notebook alone")

    def file(self) -> None:
        if self.files_left <= 0:
            raise Spent(f"more than {self.caps.files} files: hand in the notebook alone")
        self.files_left -= 1

    def pay(self, size: int) -> None:
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise Spent(f"more than {self.caps.total // MB} MB in all: hand in the notebook alone")


@dataclass(frozen=True)
class Sent:
    """A file: its path as sent, when it was packed (None if unknown), and how to get at its bytes."""

    parts: tuple[str, ...]
    time: datetime | None
    size: int
    open: Callable[[], IO[bytes]] = field(repr=False)
    fault: str = ""  # why it must not be read

    @property
    def name(self) -> str:
        return self.parts[-1] if self.parts else ""

    @property
    def path(self) -> str:
        return "/".join(self.parts)

    def read(self, purse: Purse) -> bytes:
        """Its bytes; Refused if it is too large, encrypted, damaged or no plain file."""
        if self.fault:
            raise Refused(self.fault)
        purse.file()
        limit = purse.caps.file
        too_large = f"the file has more than {limit // MB} MB: clear the notebook's outputs and hand in again"
        if self.size > limit:
            raise Refused(too_large)
        chunks, length = [], 0
        try:
            with self.open() as file:
                while chunk := file.read(MB):
                    length += len(chunk)
                    purse.pay(len(chunk))
                    if length > limit:
                        raise Refused(too_large)
                    chunks.append(chunk)
        except Refused:
            raise
        except (RuntimeError, MemoryError, *BROKEN) as error:
            if "password" in str(error) or "encrypted" in str(error):
                raise Refused("the zip is encrypted: send it without a password") from None
            raise Refused(f"the file is damaged ({plain(str(error))[:80]}): hand in again") from None
        return b"".join(chunks)


def is_junk(parts: tuple[str, ...]) -> bool:
    """What systems and JupyterLab leave beside the work."""
    if any(part.casefold() in JUNK or part.startswith("._") for part in parts):
        return True
    return is_checkpoint(parts)


def is_checkpoint(parts: tuple[str, ...]) -> bool:
    """An automatic copy of JupyterLab's."""
    return ".ipynb_checkpoints" in parts or bool(re.search(r"-checkpoint(\s*\(\d+\))?\.ipynb$", parts[-1]))


def mended(name: str) -> str:
    """A name whose UTF-8 was read as another encoding on its way is put right; composed form."""
    if not name.isascii():
        for wrong in ("cp437", "cp850", "cp1252", "latin-1"):
            try:
                name = name.encode(wrong).decode("utf-8")
                break
            except UnicodeError:
                continue
    return unicodedata.normalize("NFC", name)


def in_zip(data: Path | bytes, zone: tzinfo | None = None) -> Iterator[Sent]:
    """The files of a zip, in its order. Refused if it is none.

    zone: of the times in it, which have none (default: this computer's).
    """
    try:
        # Kept open while its members are used; nothing of it is written.
        archive = zipfile.ZipFile(io.BytesIO(data) if isinstance(data, bytes) else data)
        infos = archive.infolist()
    except (NotImplementedError, RuntimeError, *BROKEN) as error:
        raise Refused(f"it is no zip, or a damaged one ({plain(str(error))[:80]})") from None
    for info in infos:
        name, time = _name(info), _time(info, zone)
        if name.endswith(("/", "\\")):
            continue
        yield Sent(_parts(name), time, info.file_size, _opener(archive, info), _fault(name, info))


def in_folder(folder: Path, zone: tzinfo | None = None) -> Iterator[Sent]:
    """The files below a folder, sorted; links are named, not followed."""
    for base, names, files in os.walk(folder, followlinks=False):
        names.sort()
        links = [name for name in names if (Path(base) / name).is_symlink()]
        for name in sorted([*files, *links]):
            path = Path(base) / name
            info = path.lstat()
            fault = "" if stat.S_ISREG(info.st_mode) else "it is a link or a device, not a file"
            parts = tuple(mended(part) for part in path.relative_to(folder).parts)
            time = datetime.fromtimestamp(int(info.st_mtime), UTC)
            yield Sent(parts, time, info.st_size, _on_disk(path), fault)


def _on_disk(path: Path) -> Callable[[], IO[bytes]]:
    return lambda: path.open("rb")


def _opener(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    return lambda: archive.open(info)


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[/\\]+", name) if part not in ("", "."))


def _fault(name: str, info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16
    if name.startswith(("/", "\\")) or ".." in _parts(name) or re.match(r"[A-Za-z]:", name):
        return "its path leads out of the folder: zip it again"
    if info.create_system == 3 and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "it is a link or a device, not a file"
    if info.compress_type not in KNOWN:
        return "the zip uses a compression that is not known here: zip it again, or send the notebook"
    if info.flag_bits & 0x1:
        return "the zip is encrypted: send it without a password"
    return ""


def _name(info: zipfile.ZipInfo) -> str:
    """The member's name: UTF-8 where the zip says so or it can be read so, else as DOS wrote it."""
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        raw = name.encode("cp437")
        for kind, field_data in _extra(info):
            # Info-ZIP's Unicode path, valid for exactly this name
            if kind == 0x7075 and field_data[1:5] == struct.pack("<L", zlib.crc32(raw)):
                name = field_data[5:].decode("utf-8", "replace")
    return mended(name.replace("\0", "?"))


def _time(info: zipfile.ZipInfo, zone: tzinfo | None) -> datetime | None:
    """When the file was last changed: Info-ZIP's field, else DOS' local time; None for DOS' first year."""
    for kind, data in _extra(info):
        if kind == 0x5455 and len(data) >= 5 and data[0] & 1:
            return datetime.fromtimestamp(struct.unpack("<L", data[1:5])[0], UTC)
    if info.date_time[0] <= 1980:
        return None
    try:
        local = datetime(*info.date_time)
        return (local.replace(tzinfo=zone) if zone else local.astimezone()).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _extra(info: zipfile.ZipInfo) -> Iterator[tuple[int, bytes]]:
    data = info.extra
    while len(data) >= 4:
        kind, size = struct.unpack("<HH", data[:4])
        yield kind, data[4 : 4 + size]
        data = data[4 + size :]
