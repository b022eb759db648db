"""What editors and honest students do to notebooks: a catalogue for tests, each a function from file to file.

`find("colab").apply(content)` damages a notebook. Everything is deterministic.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from grading.intake.matching import made_checksum

Notebook = dict[str, Any]
NUMBERS = "print('how far I got:', 42)"


@dataclass(frozen=True)
class Damage:
    """A kind of damage; `apply` takes a sound, solved notebook (nbformat 4.5) and gives the damaged file."""

    name: str
    about: str
    apply: Callable[[bytes], bytes]


def find(name: str) -> Damage:
    """The damage of that name; KeyError if there is none."""
    return {damage.name: damage for damage in ALL}[name]


# Reading, writing, and small parts


def _load(content: bytes) -> Notebook:
    notebook = json.loads(content)
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook


def _dump(notebook: Notebook, **options: Any) -> bytes:
    return (json.dumps(notebook, ensure_ascii=False, **({"indent": 1} | options)) + "\n").encode()


def _on_notebook(change: Callable[[Notebook], None]) -> Callable[[bytes], bytes]:
    def apply(content: bytes) -> bytes:
        notebook = _load(content)
        change(notebook)
        return _dump(notebook)

    return apply


def _grader(cell: Notebook) -> Notebook:
    return cell["metadata"].get("nbgrader") or {}


def _is_gap(cell: Notebook) -> bool:
    return bool(_grader(cell).get("solution")) and cell["cell_type"] == "code"


def _is_question(cell: Notebook) -> bool:
    return bool(_grader(cell).get("solution")) and cell["cell_type"] == "markdown"


def _is_test(cell: Notebook) -> bool:
    return bool(_grader(cell).get("grade")) and not _grader(cell).get("solution")


def _new_id(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def _new(source: str, kind: str = "code") -> Notebook:
    cell: Notebook = {"cell_type": kind, "id": _new_id(source), "metadata": {}, "source": source}
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def _retype(cell: Notebook, kind: str) -> None:
    cell["cell_type"] = kind
    cell.pop("outputs", None)
    cell.pop("execution_count", None)


def _each(notebook: Notebook, change: Callable[[Notebook], list[Notebook]]) -> None:
    """Put what `change` makes of each cell in its place."""
    notebook["cells"] = [new for cell in notebook["cells"] for new in change(cell)]


def _stub(source: str) -> str:
    """The functions with their bodies taken out, about as they were handed out."""
    lines = source.split("\n")
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.FunctionDef):
            first = (
                node.body[1] if ast.get_docstring(node) is not None and len(node.body) > 1 else node.body[0]
            )
            lines[first.lineno - 1 : node.end_lineno] = [
                '    raise NotImplementedError("write your answer here")'
            ]
    return "\n".join(lines)


def _cut(source: str) -> tuple[str, str]:
    """Two halves of a cell, parted in the middle of its last function."""
    lines = source.split("\n")
    middle = next(
        (i for i in range(len(lines) // 2, len(lines)) if lines[i].startswith("    ")), len(lines) // 2
    )
    middle = min(max(middle, 1), len(lines) - 1)
    return "\n".join(lines[:middle]), "\n".join(lines[middle:])


# Editors


def _colab(notebook: Notebook) -> None:
    notebook["nbformat_minor"] = 0
    notebook["metadata"] = {
        "colab": {"provenance": [], "toc_visible": True},
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "language_info": {"name": "python"},
        "accelerator": "GPU",
    }
    for number, cell in enumerate(notebook["cells"]):
        cell.pop("id", None)
        cell["metadata"] = {
            "id": f"{_new_id('colab', number)}WxYz",
            "colab": {"base_uri": "https://localhost/"},
        }
        if cell["cell_type"] == "code":
            cell["execution_count"] = number
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["on Colab\n"]}]
    notebook["cells"].append(_new("", "code"))


def _vscode(notebook: Notebook) -> None:
    notebook["metadata"]["language_info"] = {"name": "python", "version": "3.12.3", "file_extension": ".py"}
    notebook["metadata"]["kernelspec"] = {"display_name": ".venv", "language": "python", "name": "python3"}
    for number, cell in enumerate(notebook["cells"]):
        cell["id"] = _new_id("vscode", number)
        kept = {} if _is_gap(cell) or _is_question(cell) else dict(cell["metadata"])  # retyped by the student
        cell["metadata"] = kept | (
            {"vscode": {"languageId": "python"}} if cell["cell_type"] == "code" else {}
        )


def _jupyterlab(notebook: Notebook) -> None:
    notebook["metadata"]["toc-autonumbering"] = True
    for number, cell in enumerate(notebook["cells"]):
        cell["metadata"] |= {
            "jp-MarkdownHeadingCollapsed": True,
            "editable": True,
            "slideshow": {"slide_type": ""},
        }
        if cell["cell_type"] == "code":
            cell["execution_count"] = number
            cell["metadata"]["execution"] = {"iopub.execute_input": "2026-01-01T00:00:00Z"}
            cell["outputs"] = [
                {"output_type": "display_data", "data": {"text/plain": "<Figure>"}, "metadata": {}}
            ]


def _no_metadata(notebook: Notebook) -> None:
    notebook["metadata"], notebook["nbformat_minor"] = {}, 4
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        del cell["id"]


def _null_metadata(notebook: Notebook) -> None:
    notebook["metadata"] = None
    for number, cell in enumerate(notebook["cells"]):
        if number % 2:
            cell["metadata"] = None
        else:
            del cell["metadata"]


def _same_ids(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        cell["id"] = notebook["cells"][0]["id"]


def _another_kernel(notebook: Notebook) -> None:
    notebook["metadata"]["kernelspec"] = {"display_name": "R", "language": "R", "name": "ir"}
    notebook["metadata"]["language_info"] = {"name": "R"}


def _attachments(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["attachments"] = {"../../picture.png": {"image/png": "AAAA"}}


def _format_3(content: bytes) -> bytes:
    notebook = _load(content)
    cells = []
    for cell in notebook["cells"]:
        old = {"cell_type": cell["cell_type"], "metadata": cell["metadata"]}
        if cell["cell_type"] == "code":
            old |= {"input": cell["source"], "outputs": [], "language": "python", "collapsed": False}
            old["prompt_number"] = 1
        else:
            old["source"] = cell["source"]
        cells.append(old)
    sheets = [{"cells": cells, "metadata": {}}]
    return _dump({"metadata": {"name": "Untitled"}, "nbformat": 3, "nbformat_minor": 0, "worksheets": sheets})


def _windows(content: bytes) -> bytes:
    notebook = _load(content)
    for cell in notebook["cells"]:
        cell["source"] = cell["source"].replace("\n", "\r\n")
    return _dump(notebook).replace(b"\n", b"\r\n")


def _lines(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        cell["source"] = cell["source"].split("\n")  # without line ends, as some scripts write it


# Cells


def _split(notebook: Notebook, ids: bool) -> None:
    def halves(cell: Notebook) -> list[Notebook]:
        if not _is_gap(cell):
            return [cell]
        first, second = _cut(cell["source"])
        rest = copy.deepcopy(cell) if ids else _new("")
        rest |= {"source": second, "id": _new_id("split", second)}
        return [cell | {"source": first}, rest]

    _each(notebook, halves)


def _merged(notebook: Notebook) -> None:
    cells: list[Notebook] = []
    for cell in notebook["cells"]:
        if cells and _is_test(cell) and _is_gap(cells[-1]):
            cells[-1]["source"] += "\n\n" + cell["source"]
        else:
            cells.append(cell)
    notebook["cells"] = cells


def _merged_gaps(notebook: Notebook) -> None:
    """The first two gaps and all between them in one cell, under the first one's ids."""
    gaps = [i for i, cell in enumerate(notebook["cells"]) if _is_gap(cell)][:2]
    cells = notebook["cells"][gaps[0] : gaps[1] + 1]
    cells[0]["source"] = "\n\n".join(cell["source"] for cell in cells)
    notebook["cells"][gaps[0] + 1 : gaps[1] + 1] = []


def _answers_together(notebook: Notebook) -> None:
    """All answers in the first gap's cell; the other gaps' cells deleted."""
    gaps = [cell for cell in notebook["cells"] if _is_gap(cell)]
    gaps[0]["source"] = "\n\n\n".join(cell["source"] for cell in gaps)
    notebook["cells"] = [c for c in notebook["cells"] if not any(c is gap for gap in gaps[1:])]


def _copied(notebook: Notebook) -> None:
    _each(notebook, lambda cell: [cell, copy.deepcopy(cell)] if _is_gap(cell) or _is_test(cell) else [cell])


def _attempts(notebook: Notebook) -> None:
    """Before each of the first two answers an earlier attempt, a copy with the same ids."""
    count = 0

    def both(cell: Notebook) -> list[Notebook]:
        nonlocal count
        count += _is_gap(cell)
        if not _is_gap(cell) or count > 2:
            return [cell]
        attempt = copy.deepcopy(cell)
        attempt["source"] = _stub(cell["source"]).replace("raise NotImplementedError(", "return str(")
        return [attempt, cell]

    _each(notebook, both)


def _moved(notebook: Notebook) -> None:
    """The first gap's cell at the end, the last one's at the beginning."""
    gaps = [cell for cell in notebook["cells"] if _is_gap(cell)]
    rest = [cell for cell in notebook["cells"] if cell is not gaps[0] and cell is not gaps[-1]]
    notebook["cells"] = [gaps[-1], *rest, gaps[0]] if len(gaps) > 1 else [*rest, gaps[0]]


def _tests_last(notebook: Notebook) -> None:
    notebook["cells"].sort(key=_is_test)


def _moved_with_helper(notebook: Notebook) -> None:
    """The first gap's cell at the end, behind a cell of the student's own with a name that it reads."""
    gap = next(cell for cell in notebook["cells"] if _is_gap(cell))
    gap["source"] += "\nscale_of_mine = MY_NUMBER"
    notebook["cells"] = [cell for cell in notebook["cells"] if cell is not gap]
    notebook["cells"] += [_new("MY_NUMBER = 3"), gap]


def _without(drop: Callable[[Notebook], bool]) -> Callable[[Notebook], None]:
    def change(notebook: Notebook) -> None:
        notebook["cells"] = [cell for cell in notebook["cells"] if not drop(cell)]

    return change


def _retyped(kind: str, ids: bool = True, fence: bool = False) -> Callable[[Notebook], None]:
    def change(notebook: Notebook) -> None:
        for cell in notebook["cells"]:
            if _is_gap(cell):
                _retype(cell, kind)
                if fence:
                    cell["source"] = f"```python\n{cell['source']}\n```"
                if not ids:
                    cell |= {"metadata": {}, "id": _new_id("retyped", cell["source"])}

    return change


def _answer_retyped(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        if _is_question(cell):
            cell |= {"cell_type": "raw"}


def _own_cells(notebook: Notebook) -> None:
    cells = [_new("# My own notes on this week", "markdown")]
    for number, cell in enumerate(notebook["cells"]):
        cells += [cell, _new(f"note_{number} = {number}  # a try of mine"), _new("")]
    notebook["cells"] = [*cells, _new("!echo done"), _new("%timeit -n1 -r1 len('abc')")]


def _tests_changed(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        if _is_test(cell):
            cell["source"] = cell["source"].replace("assert ", "assert True or ") + f"\n{NUMBERS}"


def _imports_added(notebook: Notebook) -> None:
    given = next(
        cell
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and _grader(cell).get("locked") and not _is_test(cell)
    )
    given["source"] = (
        "import itertools\n" + given["source"].replace("\n", "\n\n", 1) + "\nimport functools as ft"
    )


def _work_in_tests(notebook: Notebook) -> None:
    """Answers written into the test cells, above the tests; the gaps still as handed out."""
    answer = ""
    for cell in notebook["cells"]:
        if _is_gap(cell):
            answer, cell["source"] = cell["source"], _stub(cell["source"])
        elif _is_test(cell) and answer:
            cell["source"], answer = f"{answer}\n\n{cell['source']}", ""


def _answers_below(notebook: Notebook) -> None:
    """Answers in new cells below the gaps, which are still as handed out."""

    def both(cell: Notebook) -> list[Notebook]:
        if not _is_gap(cell):
            return [cell]
        return [cell | {"source": _stub(cell["source"])}, _new(cell["source"])]

    _each(notebook, both)


def _answers_at_the_end(notebook: Notebook) -> None:
    gaps = [cell for cell in notebook["cells"] if _is_gap(cell)]
    notebook["cells"] += [_new(cell["source"]) for cell in gaps]
    for cell in gaps:
        cell["source"] = _stub(cell["source"])


def _question_below(notebook: Notebook) -> None:
    """The text answer in a new cell, its own cell deleted."""
    _each(notebook, lambda cell: [_new(cell["source"], "markdown")] if _is_question(cell) else [cell])


def _question_above(notebook: Notebook) -> None:
    """The text answer typed into the question's own text."""
    cells: list[Notebook] = []
    for cell in notebook["cells"]:
        if _is_question(cell) and cells and cells[-1]["cell_type"] == "markdown":
            cells[-1]["source"] += "\n\n" + cell["source"]
            cell = cell | {"source": "*Write your answer here.*"}
        cells.append(cell)
    notebook["cells"] = cells


def _earlier(notebook: Notebook) -> None:
    """An earlier release: gaps with other ids, other texts and tests, a cell that is gone today."""
    for cell in notebook["cells"]:
        meta = _grader(cell)
        if not meta:
            continue
        if meta.get("locked"):
            cell["source"] = cell["source"].replace(" the ", " this ").replace("seed=1", "seed=11")
            cell["source"] += (
                "\n# as it was last year" if cell["cell_type"] == "code" else "\n\nLast year's words."
            )
        if _is_gap(cell) or _is_test(cell):
            meta["grade_id"] = f"{meta['grade_id']}_1"
            cell["id"] = f"{cell['id'][:60]}_1"
        meta["checksum"] = (
            "" if meta.get("solution") else made_checksum(cell["source"], cell["cell_type"], meta)
        )
    old = _new("Last year there was another section here.", "markdown")
    old["metadata"]["nbgrader"] = {
        "grade": False,
        "grade_id": "gone",
        "locked": True,
        "schema_version": 3,
        "solution": False,
        "task": False,
    }
    old["metadata"]["nbgrader"]["checksum"] = made_checksum(old["source"], "markdown", _grader(old))
    notebook["cells"].insert(3, old)


ALL: tuple[Damage, ...] = (
    Damage("colab", "Colab: no nbgrader metadata, ids of its own, format 4.0", _on_notebook(_colab)),
    Damage("vscode", "VS Code: new ids, its metadata, answers in new cells", _on_notebook(_vscode)),
    Damage("jupyterlab", "JupyterLab: outputs, counts and flags", _on_notebook(_jupyterlab)),
    Damage("no-metadata", "all metadata and ids stripped", _on_notebook(_no_metadata)),
    Damage("null-metadata", "metadata null or missing", _on_notebook(_null_metadata)),
    Damage("same-ids", "all cells with the same id", _on_notebook(_same_ids)),
    Damage("another-kernel", "another kernel's name", _on_notebook(_another_kernel)),
    Damage("attachments", "pictures attached, with a path as name", _on_notebook(_attachments)),
    Damage("format-3", "the old notebook format 3", _format_3),
    Damage("bom", "a byte order mark", lambda content: b"\xef\xbb\xbf" + content),
    Damage("utf-16", "UTF-16 instead of UTF-8", lambda content: content.decode().encode("utf-16")),
    Damage("windows", "Windows line ends, in the cells too", _windows),
    Damage("lines", "sources as lists of lines without line ends", _on_notebook(_lines)),
    Damage("split", "answers split, ids in both halves", _on_notebook(lambda n: _split(n, True))),
    Damage("split-no-ids", "answers split, ids in the first half", _on_notebook(lambda n: _split(n, False))),
    Damage("merged", "each answer merged with its test", _on_notebook(_merged)),
    Damage("merged-gaps", "two gaps and all between them merged", _on_notebook(_merged_gaps)),
    Damage("answers-together", "all answers in one cell", _on_notebook(_answers_together)),
    Damage("copied", "answers and tests copied with their ids", _on_notebook(_copied)),
    Damage("attempts", "copies with other content", _on_notebook(_attempts)),
    Damage("moved", "first answer at the end, last one at the beginning", _on_notebook(_moved)),
    Damage("moved-helper", "a moved answer that needs another cell first", _on_notebook(_moved_with_helper)),
    Damage("tests-last", "all tests at the end", _on_notebook(_tests_last)),
    Damage("deleted-tests", "tests deleted", _on_notebook(_without(_is_test))),
    Damage(
        "deleted-given",
        "all that is locked deleted",
        _on_notebook(_without(lambda c: not _grader(c).get("solution"))),
    ),
    Damage("retyped", "answers turned into Markdown", _on_notebook(_retyped("markdown"))),
    Damage("retyped-raw", "answers turned into raw cells", _on_notebook(_retyped("raw"))),
    Damage(
        "retyped-fenced",
        "answers as code blocks in Markdown, no ids",
        _on_notebook(_retyped("markdown", ids=False, fence=True)),
    ),
    Damage("answer-retyped", "text answers turned into raw cells", _on_notebook(_answer_retyped)),
    Damage("own-cells", "the student's own cells everywhere", _on_notebook(_own_cells)),
    Damage("tests-changed", "tests changed", _on_notebook(_tests_changed)),
    Damage("imports-added", "imports added to a locked cell", _on_notebook(_imports_added)),
    Damage("work-in-tests", "answers written into the test cells", _on_notebook(_work_in_tests)),
    Damage("answers-below", "answers in new cells below the gaps", _on_notebook(_answers_below)),
    Damage("answers-at-the-end", "answers in new cells at the end", _on_notebook(_answers_at_the_end)),
    Damage("question-below", "text answers in new cells", _on_notebook(_question_below)),
    Damage("question-above", "text answers typed into the question", _on_notebook(_question_above)),
    Damage("earlier-release", "an earlier release of the exercise", _on_notebook(_earlier)),
)
