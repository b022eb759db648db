"""The students' repository: `python -m tools.student FOLDER` builds it, ready to be pushed as one of its own.

It holds notebooks, exercises, `utils`, data and what sets up the environment, and nothing that would spoil
the exercises: what is copied is named here, and the result is searched for solutions, hidden tests, guides.
"""

from __future__ import annotations

import argparse
import html
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbconvert.filters import strip_ansi

from grading.model import split_hidden
from tools import drift, notebooks
from tools.command import one_line
from tools.notebooks import ROOT, SourceError

TEMPLATE = ROOT / "tools" / "student_template"
FILES = [
    "environment.yml",
    "requirements.txt",
    ".gitattributes",
    "docs/setup.md",
    "docs/students.md",
    "tools/__init__.py",
    "tools/setup_env.py",
    "tools/lab.py",
    "tools/course_startup.py",
    "tools/validate.py",
    "tools/jupyter/jupyter_server_config.d/course.json",
    "tools/jupyter/labconfig/default_setting_overrides.json",
]
LICENCES = ("LICENSE*", "LICENCE*", "CITATION.cff")
FOLDERS = {"notebooks": "*.ipynb", "exercises": "*", "utils": "*", "data": "*"}
NOT_COPIED = (
    "__pycache__",
    "*.pyc",
    ".ipynb_checkpoints",
    "cache",
    "scoreboard.json",
    "*.py.orig",
    ".DS_Store",
)
DROPPED_TABLES = ("tool.ruff", "tool.mypy", "tool.pytest")
IN_WORK = ".in-work"  # where it is built, inside of the folder
TELLING = 24  # characters that make a line of a solution worth searching for


class StudentError(SourceError):
    """A students' repository that cannot be built; one line that says what to do."""


def build(target: Path, root: Path = ROOT, check_drift: bool = True) -> list[Path]:
    """Build the students' repository in `target`, keeping a .git that is there; returns the files made.

    What stood there goes when all is made and searched for leaks, not before.
    """
    target = target.resolve()
    _check_target(target, root)
    if check_drift and (found := list(drift.drift(root))):
        raise StudentError("; ".join(found))
    target.mkdir(parents=True, exist_ok=True)
    made = target / IN_WORK
    try:
        shutil.rmtree(made, ignore_errors=True)
        _make(made, root)
        if found := list(leaks(made, root)):
            raise StudentError("; ".join(found))
        for old in target.iterdir():
            if old.name not in (".git", IN_WORK):
                shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        for new in made.iterdir():
            new.rename(target / new.name)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return sorted(p for p in target.rglob("*") if p.is_file() and ".git" not in p.relative_to(target).parts)


def _make(target: Path, root: Path) -> None:
    """All files of the students' repository."""
    for source in [*FILES, *(p.name for glob in LICENCES for p in sorted(root.glob(glob)))]:
        if (root / source).is_file():
            _put(target / source, (root / source).read_bytes())
    for folder, pattern in FOLDERS.items():
        for path in sorted((root / folder).rglob(pattern)):
            relative = path.relative_to(root)
            if path.is_file() and not any(
                Path(part).match(glob) for part in relative.parts for glob in NOT_COPIED
            ):
                _put(target / relative, path.read_bytes())
    _put(target / "pyproject.toml", students_pyproject(root).encode())
    for path in sorted(p for p in TEMPLATE.rglob("*") if p.is_file()):
        name = ".gitignore" if path.name == "gitignore" else path.relative_to(TEMPLATE)
        _put(target / name, _fill(path.read_text(encoding="utf-8"), root).encode())


def _check_target(target: Path, root: Path) -> None:
    """Refuse to empty a folder that is not one of ours."""
    if root.is_relative_to(target):
        raise StudentError(f"{target} holds this repository itself: choose another folder")
    inside = [p.name for p in target.iterdir() if p.name not in (".git", IN_WORK)] if target.is_dir() else []
    if inside and ("nbgrader_config.py" not in inside or "solutions" in inside):
        raise StudentError(f"{target} is not empty and was not built by this command: choose another folder")


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def students_pyproject(root: Path = ROOT) -> str:
    """pyproject.toml without maintainers' tools and the instructors' address."""
    lines, dropping = [], False
    for line in (root / "pyproject.toml").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"\[+([\w.-]+)", line):
            dropping = any(match[1] == t or match[1].startswith(f"{t}.") for t in DROPPED_TABLES)
        if not dropping and not line.startswith("instructors-repository"):
            lines.append(line)
    text = "\n".join(lines).rstrip() + "\n"
    tomllib.loads(text)
    return text


def _fill(text: str, root: Path) -> str:
    """A template with addresses and the table of weeks."""
    address = notebooks.addresses(root)["students-repository"]
    text = text.replace("{{students_folder}}", address.rsplit("/", 1)[-1].removesuffix(".git"))
    if "{{weeks}}" in text:
        table = [line for line in notebooks.readme(root).splitlines() if line.startswith("|")]
        text = text.replace("{{weeks}}", "\n".join(table))
    return notebooks.stamp(text, root)


def leaks(folder: Path, root: Path = ROOT) -> Iterator[str]:
    """One line for each thing in `folder` that students must not have: by name, by marker and by content."""
    secrets = secret_lines(root)
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not path.is_file() or ".git" in relative.parts:
            continue
        if bad := {"solutions", "bank", "guide", "gradebook"} & {Path(part).stem for part in relative.parts}:
            yield f"{relative} is there ({bad.pop()})"
        if path.suffix == ".py" and relative.parts[0] in ("notebooks", "exercises"):
            yield f"{relative} is there (a notebook's source)"
        for line in _lines(path):
            if re.search(r"(BEGIN|END) (SOLUTION|HIDDEN TESTS|MARK SCHEME)", line):
                yield f"{relative} has a marker: {line.strip()}"
            if owner := secrets.get(line.strip()):
                yield f"{relative} has a line of {owner}: {line.strip()}"


def secret_lines(root: Path = ROOT) -> dict[str, str]:
    """Telling lines of solutions, hidden tests, bank and class guides, with the file that they are from.

    Lines that students see anyway, in a notebook, an exercise's visible part or `utils`, are no secret.
    """
    secret: dict[str, str] = {}
    shown: set[str] = set()
    for source in notebooks.find_sources(root):
        for cell in notebooks.build(source, root).cells:
            meta = cell.metadata.get("nbgrader", {})
            visible, hidden = split_hidden(cell.source)
            visible, solved = split_hidden(visible, "BEGIN SOLUTION", "END SOLUTION")
            if meta.get("solution") and meta.get("grade") and not solved:  # a question's answer as a whole
                visible, solved = "", visible.split("\n")
            shown |= {line.strip() for line in visible.split("\n")}
            for line in hidden + solved:
                secret[line.strip()] = source.path.relative_to(root).as_posix()
    for path in sorted((root / "utils").rglob("*.py")):
        shown |= {line.strip() for line in _lines(path)}
    for pattern in ("solutions/*/*.md", "grading/bank/*.py"):
        for path in sorted(root.glob(pattern)):
            lines = (re.sub(r"^# [-+] ", "", line).strip() for line in _lines(path))
            secret |= dict.fromkeys(lines, path.relative_to(root).as_posix())
    return {line: owner for line, owner in secret.items() if len(line) >= TELLING and line not in shown}


def _lines(path: Path) -> list[str]:
    """A file's lines; of a notebook, those of its cells and outputs; none of a binary file."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return []
    if path.suffix == ".html":
        return [_bare(line) for line in html.unescape(re.sub(r"<[^>]*>", "", text)).splitlines()]
    if path.suffix != ".ipynb":
        return text.splitlines()
    lines: list[str] = []
    for cell in nbformat.reads(text, as_version=4).cells:
        lines += cell.source.splitlines()
        lines += [_bare(line) for text in _texts(cell.get("outputs", [])) for line in text.splitlines()]
    return lines


def _texts(value: object) -> Iterator[str]:
    """All strings in a cell's outputs, without terminal colours."""
    if isinstance(value, str):
        yield strip_ansi(value)
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _bare(line: str) -> str:
    """A line of output without what a traceback puts before it: `----> 12 `."""
    return re.sub(r"^\s*(?:-+>)?\s*\d+\s", "", line)


@one_line(SourceError)
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.student", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "student")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    made = build(options.folder, options.root.resolve())
    size = sum(path.stat().st_size for path in made) / 1e6
    print(f"built the students' repository in {options.folder}: {len(made)} files, {size:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
