"""Notebooks from their sources: `python -m tools.notebooks` writes them.

A source is a Python file in jupytext's percent format; the notebook beside it is generated and committed:

    notebooks/weekNN_topic.py                  →  notebooks/weekNN_topic.ipynb
    solutions/weekNN_topic/weekNN_topic.py     →  solutions/weekNN_topic/weekNN_topic.ipynb

A cell's header may give it a name or a part in the exercise:

    # %% name                                  an ordinary cell, named
    # %% name tags=["parameters"]              with tags
    # %% given="name"                          locked, may not be edited (also `# %% [markdown] given="name"`)
    # %% solution="name"                       a gap: `### BEGIN SOLUTION` to `### END SOLUTION` is taken out
    # %% test="name" points=3                  its locked test, with `### BEGIN HIDDEN TESTS` to `### END …`
    # %% [markdown] argue="name" points=2      a question to argue, graded by a person

The body of the code cell called `setup` is replaced by `tools/setup_cell.py`, and the cell is folded. A
cell called `imports`, a given and a test cell begin with a name that only the setup cell sets: where it has
not run, as in a new session on Colab, the error says what to do. `{{colab}}` in a Markdown cell becomes a
badge that opens the notebook at the students' repository, whose address stands in `pyproject.toml`. The table
of weeks in README.md is filled in, too.
In a preparation `{{picture: name}}` becomes the picture that `tools/pictures.py` drew. Its bytes stand in the
text itself, as a data URI: Colab shows no attachments, and it finds no file beside the notebook.
"""

from __future__ import annotations

import argparse
import ast
import base64
import hashlib
import html
import linecache
import re
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode

from grading.files import write_whole
from tools.command import one_line

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "make notebooks"
DRAWINGS = "notebooks/pictures"
PIXELS = 2  # of a picture's file for one of the page
PICTURE = re.compile(r"\{\{\s*picture\b[:\s]*(.*?)\s*\}\}")
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
GUARD = "run_the_setup_cell_first"
FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}  # in JupyterLab, on Colab
# What JupyterLab writes on opening; if it were to change anything, the notebook would be unsaved at once. The
# kernel's own version would differ from machine to machine: see tools/course_startup.py.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
        "version": "3",
    },
}
KINDS = ("given", "solution", "test", "argue")
KEYS = {*KINDS, "points", "title", "tags", "jupyter"}
REGIONS = {"SOLUTION": ("solution", "argue"), "HIDDEN TESTS": ("test",)}
ADDRESSES = {
    "students-repository": "{{students_repository}}",
    "instructors-repository": "{{instructors_repository}}",
}


class SourceError(Exception):
    """A source that cannot become a notebook; the message is one line that names file, line and remedy."""


@dataclass(frozen=True)
class Source:
    """A hand-edited source; `colab` is its notebook's path in the students' repository."""

    path: Path
    stem: str
    colab: str

    @property
    def notebook(self) -> Path:
        return self.path.with_suffix(".ipynb")


def exercise_name(week: str) -> str:
    """The file that students get: its name tells it from the preparation, also in a narrow tab."""
    return f"exercise_{week}.ipynb"


def find_sources(root: Path = ROOT) -> list[Source]:
    """All sources below `root`: preparation notebooks first, then exercises with their solutions."""
    scripts = sorted((root / "notebooks").glob("*.py"))
    preparation = [Source(p, p.stem, f"notebooks/{p.stem}.ipynb") for p in scripts]
    exercises = [
        Source(p, p.stem, f"exercises/{p.stem}/{exercise_name(p.stem)}")
        for folder in sorted((root / "solutions").glob("*"))
        if (p := folder / f"{folder.name}.py").is_file()
    ]
    return preparation + exercises


def definitions(path: Path) -> dict[str, Any]:
    """The imports, functions and classes of a notebook's source, without the cells' other statements."""
    text = path.read_text(encoding="utf-8")
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    body: list[ast.stmt] = [node for node in ast.parse(text).body if isinstance(node, kept)]
    lines = text.splitlines(keepends=True)
    linecache.cache[str(path)] = (len(text), None, lines, str(path))  # AutoGraph reads the source
    namespace: dict[str, Any] = {"__name__": path.stem}
    exec(compile(ast.Module(body, []), str(path), "exec"), namespace)
    return namespace


@cache
def addresses(root: Path = ROOT) -> dict[str, str]:
    """The repositories' addresses, from `[tool.lgm]` in pyproject.toml."""
    path = root / "pyproject.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))["tool"]["lgm"]
        return {key: table[key].rstrip("/") for key in ADDRESSES}
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise SourceError(f"{path}: needs [tool.lgm] with {' and '.join(ADDRESSES)} ({error!r})") from error


def stamp(text: str, root: Path = ROOT) -> str:
    """`text` with the repositories' addresses filled in."""
    for key, place in ADDRESSES.items():
        if place in text:
            text = text.replace(place, addresses(root)[key])
    return text


def setup_source(root: Path = ROOT) -> str:
    """The one setup cell, addresses filled in. The module's own docstring does not belong to the cell."""
    path = root / "tools" / "setup_cell.py"
    if not path.is_file():
        raise SourceError(f"{path}: the setup cell is missing")
    text = path.read_text(encoding="utf-8")
    module = ast.parse(text)
    if ast.get_docstring(module) is not None:
        text = "\n".join(text.splitlines()[module.body[0].end_lineno :])
    return stamp(text, root).strip()


def badge(source: Source, root: Path = ROOT) -> str:
    """Markdown of the badge that opens the notebook on Colab."""
    address = addresses(root)["students-repository"]
    if not (match := re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?", address)):
        raise SourceError(
            f"pyproject.toml: students-repository is no GitHub address, which Colab needs: {address}"
        )
    link = f"https://colab.research.google.com/github/{match[1]}/blob/main/{source.colab}"
    return f"[![Open in Colab]({BADGE})]({link})"


def readme(root: Path = ROOT) -> str:
    """README.md with its table of weeks filled in: links and badges of what is written, and its topics.

    The topics of weeks that are not written yet stand there and nowhere else.
    """
    written: dict[int, dict[str, Source]] = {}
    for source in find_sources(root):
        if not (match := re.match(r"week(\d\d)_", source.stem)):
            raise SourceError(f"{_shown(source.path, root)} is not called weekNN_topic")
        kind = "notebook" if source.colab.startswith("notebooks/") else "exercise"
        written.setdefault(int(match[1]), {})[kind] = source

    def row(match: re.Match[str]) -> str:
        week, topic = int(match[1]), match[2]
        found = written.pop(week, {})
        if "notebook" in found:
            topic = heading(found["notebook"])
        links = {kind: f"[{kind}]({s.colab}) {badge(s, root)}" for kind, s in found.items()}
        return (
            f"| {week} | {topic} | {links.get('notebook', 'in preparation')} | {links.get('exercise', '')} |"
        )

    text = (root / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"^\| (\d+) \| ([^|]*) \|.*\|$", row, text, flags=re.MULTILINE)
    if written:
        raise SourceError(
            f"README.md has no row of week {min(written)}: add `| {min(written)} | topic | | |`"
        )
    return text


def heading(source: Source) -> str:
    """The topic of a preparation, from its heading `# Week N · Topic`."""
    match = re.search(r"^# # Week (\d+) · (.+)$", source.path.read_text(encoding="utf-8"), re.MULTILINE)
    if not match or int(match[1]) != int(source.stem[4:6]):
        raise SourceError(f"{source.path.name} has no heading `# Week {int(source.stem[4:6])} · Topic`")
    return match[2].strip()


def alternatives(drawings: Path) -> dict[str, str]:
    """The pictures that a week's drawings define, each with its text alternative, a function's docstring."""
    if not drawings.is_file():
        return {}
    functions = (
        n for n in ast.parse(drawings.read_text(encoding="utf-8")).body if isinstance(n, ast.FunctionDef)
    )
    return {
        f.name: " ".join((ast.get_docstring(f) or "").split())
        for f in functions
        if not f.name.startswith("_")
    }


def drawn(drawings: Path, name: str) -> Path:
    """The file of a picture."""
    return drawings.with_suffix("") / f"{name}.png"


def picture(name: str, source: Source, root: Path = ROOT) -> str:
    """HTML of a week's picture, the file inside it, with its text alternative."""
    drawings = root / DRAWINGS / f"{source.stem}.py"
    known = alternatives(drawings)
    where = _shown(drawings, root)
    if source.path.parent.name != "notebooks":  # feedback pages show a long text as it was typed
        raise SourceError("a picture may stand in a preparation, not in an exercise")
    if name not in known:
        raise SourceError(f"no picture {name!r} in {where}; known are {', '.join(known) or 'none'}")
    if not known[name]:
        raise SourceError(
            f"the picture {name!r} has no text alternative: write the docstring of {name}() in {where}"
        )
    if not (file := drawn(drawings, name)).is_file():
        raise SourceError(f"{_shown(file, root)} is missing: run `{COMMAND}`")
    data = file.read_bytes()
    width = int.from_bytes(data[16:20], "big") // PIXELS  # a PNG begins with its size
    code = base64.b64encode(data).decode("ascii")
    return f'<img alt="{html.escape(known[name])}" width="{width}" src="data:image/png;base64,{code}">'


def build(source: Source, root: Path = ROOT) -> NotebookNode:
    """The notebook of a source, checked and complete, without outputs."""
    text = source.path.read_text(encoding="utf-8")
    parsed = jupytext.reads(text, fmt="py:percent")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if re.match(r"# ?%%", line)]
    offset = len(parsed.cells) - len(lines)  # text before the first header is a cell, too
    notebook = nbformat.v4.new_notebook()
    notebook.metadata = nbformat.from_dict(METADATA)
    names: dict[str, str] = {}
    ids: set[str] = set()
    gaps: set[str] = set()
    for index, cell in enumerate(parsed.cells):
        line = lines[index - offset] if 0 <= index - offset < len(lines) else 1
        where = f"{_shown(source.path, root)}:{line}"
        try:
            notebook.cells.append(_build_cell(cell, source, root, names, ids, gaps))
        except SourceError as error:
            raise SourceError(f"{where}: {error}") from None
    nbformat.validate(notebook)
    return notebook


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _build_cell(
    cell: NotebookNode, source: Source, root: Path, names: dict[str, str], ids: set[str], gaps: set[str]
) -> NotebookNode:
    """One checked cell; `names`, `ids` and `gaps` collect what the notebook has so far."""
    if cell.cell_type not in ("code", "markdown"):
        raise SourceError(f"a {cell.cell_type} cell; only code and Markdown cells are in use")
    header = dict(cell.metadata)
    header.pop("lines_to_next_cell", None)
    if unknown := sorted(set(header) - KEYS):
        raise SourceError(f"unknown key {unknown[0]!r}; known are {', '.join(sorted(KEYS - {'title'}))}")
    kinds = [kind for kind in KINDS if kind in header]
    if len(kinds) > 1:
        raise SourceError(f"one cell cannot be both {kinds[0]!r} and {kinds[1]!r}")
    kind = kinds[0] if kinds else None
    _check_header(cell, header, kind, gaps)
    _check_regions(cell, header, kind)

    name = str(header.get(kind or "title", ""))
    grade_id = f"test_{name}" if kind == "test" else name
    if name:
        key = _slug(grade_id)
        if key in names:
            raise SourceError(f"two cells are called {names[key]!r}; each name may be used once")
        names[key] = grade_id
    if kind == "solution":
        gaps.add(name)

    text = cell.source
    if cell.cell_type == "code" and name == "setup":
        text, header = setup_source(root), header | FOLDED
    elif cell.cell_type == "code" and "setup" in names and (kind in ("given", "test") or name == "imports"):
        text = f"{GUARD}\n\n{text}"
    elif cell.cell_type == "markdown":
        text = text.replace("{{colab}}", badge(source, root)) if "{{colab}}" in text else text
        text = PICTURE.sub(lambda match: picture(match[1], source, root), text)
    _check_syntax(cell.cell_type, text)

    make = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
    new = make(text, id=_cell_id(source.stem, grade_id, cell.cell_type, cell.source, ids))
    kept = {key: header[key] for key in ("title", "tags", "jupyter", "cellView") if key in header}
    new.metadata = nbformat.from_dict(kept)
    if kind:
        new.metadata["nbgrader"] = nbformat.from_dict(_nbgrader(kind, grade_id, header.get("points")))
    return new


def _nbgrader(kind: str, grade_id: str, points: float | None) -> dict[str, object]:
    """nbgrader's own metadata (schema 3) for a cell of this kind."""
    grade = kind in ("test", "argue")
    metadata: dict[str, object] = {
        "grade": grade,
        "grade_id": grade_id,
        "locked": kind in ("given", "test"),
        "schema_version": 3,
        "solution": kind in ("solution", "argue"),
        "task": False,
    }
    return metadata | ({"points": points} if grade else {})


def _check_header(cell: NotebookNode, header: dict, kind: str | None, gaps: set[str]) -> None:
    if kind and not re.fullmatch(r"[A-Za-z]\w*", str(header[kind]), re.ASCII):
        raise SourceError(f'{kind}={header[kind]!r} is no name: write {kind}="name" (letters, digits and _)')
    if kind in ("solution", "test") and cell.cell_type != "code":
        raise SourceError(f"{kind} {header[kind]!r} must be a code cell")
    if kind == "argue" and cell.cell_type != "markdown":
        raise SourceError(f"argue {header[kind]!r} must be a Markdown cell: # %% [markdown] argue=…")
    if kind in ("test", "argue"):
        points = header.get("points")
        if points is None:
            raise SourceError(f"{kind} {header[kind]!r} needs points, such as points=3")
        if isinstance(points, bool) or not isinstance(points, int | float) or points <= 0:
            raise SourceError(f"points of {kind} {header[kind]!r} must be a positive number, not {points!r}")
    elif "points" in header:
        raise SourceError("only a test or an argue cell has points")
    if kind == "test" and header[kind] not in gaps:
        raise SourceError(f"test {header[kind]!r} has no solution cell of that name before it")
    tags = header.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise SourceError(f'tags must be a list of words, like tags=["parameters"], not {tags!r}')


def _check_regions(cell: NotebookNode, header: dict, kind: str | None) -> None:
    """Markers stand in pairs, in order, where they belong; nbgrader's errors for this name no place."""
    for region, owners in REGIONS.items():
        marks = re.findall(rf"^\s*### (BEGIN|END) {region}\s*$", cell.source, re.MULTILINE)
        loose = len(re.findall(rf"(?:BEGIN|END) {region}", cell.source))
        if loose != len(marks):
            raise SourceError(
                f"the marker ### BEGIN {region} or ### END {region} must stand alone on its line"
            )
        if marks != ["BEGIN", "END"] * (len(marks) // 2):
            raise SourceError(f"### BEGIN {region} and ### END {region} must come in pairs")
        if marks and kind not in owners:
            raise SourceError(f"### BEGIN {region} outside of a {' or '.join(owners)} cell")
        if kind == "solution" and region == "SOLUTION" and not marks:
            raise SourceError(f"solution {header[kind]!r} has no ### BEGIN SOLUTION … ### END SOLUTION")


def _check_syntax(cell_type: str, text: str) -> None:
    if cell_type == "code" and not re.search(r"^\s*[%!]", text, re.MULTILINE):
        try:
            compile(text, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        except SyntaxError as error:
            raise SourceError(f"line {error.lineno} of the cell: {error.msg}") from None


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-").lower()


def _cell_id(stem: str, name: str, cell_type: str, text: str, ids: set[str]) -> str:
    """An id that stays when cells around it move: from the name, else from the cell's first line."""
    if not name:
        first = next((line.strip() for line in text.splitlines() if line.strip()), "")
        name = hashlib.sha256(f"{cell_type}:{first}".encode()).hexdigest()[:8]
    base = _slug(f"{stem}-{name}")
    if len(base) > 60:  # nbformat allows 64 characters; the counter needs some
        base = f"{base[:51]}-{hashlib.sha256(base.encode()).hexdigest()[:8]}"
    cell_id, counter = base, 1
    while cell_id in ids:
        counter += 1
        cell_id = f"{base}-{counter}"
    ids.add(cell_id)
    return cell_id


def dump(notebook: NotebookNode) -> str:
    """The notebook as text: stable order of keys, one final newline."""
    return nbformat.writes(notebook, indent=1, sort_keys=True, ensure_ascii=False).rstrip("\n") + "\n"


def write(root: Path = ROOT, into: Path | None = None) -> list[Path]:
    """Write every notebook beside its source, or at the same place below `into`, and README's table of weeks.

    Returns what has changed.
    """
    built = [(source.notebook, dump(build(source, root))) for source in find_sources(root)]
    built.append((root / "README.md", readme(root)))
    changed = []
    for path, text in built:
        target = into / path.relative_to(root) if into else path
        if write_whole(target, text):
            changed.append(target)
    return changed


@one_line(SourceError)
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.notebooks", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    changed = write(root)
    for path in changed:
        print(f"wrote {_shown(path, root)}")
    if not changed:
        print("all notebooks were up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
