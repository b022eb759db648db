"""The executed notebook in nbgrader's format, as formgrader shows it: nothing in it runs on its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

from grading.model import Assignment, CellRun, GapResult
from grading.results.harmless import Harmless
from grading.results.hidden import HideHiddenTests

# Of an output's representations these and text are kept; formgrader's page escapes little by itself.
PICTURES = ("image/png", "image/jpeg", "image/gif")
BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")
# In Markdown: tags without attributes that change only how text looks. All others are shown as written.
PLAIN_TAG = (
    r"/?(?:b|i|em|strong|u|s|sub|sup|br|hr|p|code|pre|kbd|details|summary|ul|ol|li|table|tr|td|th)\s*/?>"
)
OTHER_TAG = re.compile(rf"<(?=[A-Za-z/!?])(?!{PLAIN_TAG})", re.IGNORECASE)
# Links are kept if they lead to a web page or a picture of the notebook, or stay on the page.
OTHER_LINK = re.compile(
    r"\](?:\((?!\s*(?:https?://|mailto:|attachment:|#))|:(?!\s*https?://))", re.IGNORECASE
)
LEFT_OUT = "(an output that cannot be shown safely was left out)"


def nbgrader_metadata(notebook: Any) -> dict[str, dict[str, Any]]:
    """Grade id → nbgrader's metadata (schema 3) of the cell, from the gradebook's notebook."""
    points = {cell.name: cell.max_score for cell in notebook.grade_cells}
    solutions = {cell.name for cell in notebook.solution_cells}
    tasks = {cell.name: cell.max_score for cell in notebook.task_cells}
    found: dict[str, dict[str, Any]] = {}
    for cell in notebook.source_cells:
        found[cell.name] = {
            "grade_id": cell.name,
            "grade": cell.name in points,
            "solution": cell.name in solutions,
            "task": cell.name in tasks,
            "locked": bool(cell.locked),
            "schema_version": 3,
            "checksum": cell.checksum,
            "cell_type": cell.cell_type,
        }
        if cell.name in points or cell.name in tasks:
            found[cell.name]["points"] = float(points.get(cell.name, tasks.get(cell.name, 0.0)))
    return found


def executed_notebook(
    runs: Iterable[CellRun],
    assignment: Assignment,
    metadata: Mapping[str, Mapping[str, Any]],
    results: Mapping[str, GapResult],
) -> NotebookNode:
    """The cells as run, hidden tests taken out. nbgrader reads the same points from a test cell.

    results: test cell → what came of it; a test without one has not been run.
    """
    ids = {cell.name: cell.cell_id for cell in assignment.cells}
    stubs = {cell.name: cell.source for cell in assignment.cells}
    notebook = new_notebook()
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    used: set[str] = set()
    harmless = Harmless()
    for index, run in enumerate(runs):
        clean = run.cell
        cell_id = _cell_id(ids.get(clean.name) or clean.name, index, used)
        if clean.cell_type == "code":
            cell = new_code_cell(_text(clean.source), id=cell_id, execution_count=_count(run.execution_count))
            outputs = [_harmless(output, harmless) for output in run.outputs]
            if clean.kind == "test":
                outputs = _of_test(outputs, results.get(clean.name))
            cell.outputs = outputs
        else:
            make = new_markdown_cell if clean.cell_type == "markdown" else new_raw_cell
            source = _text(clean.source)
            if clean.kind not in ("text", "given") and source != stubs.get(clean.name):
                source = harmless_markdown(source)
            cell = make(source, id=cell_id)
        if clean.kind != "extra" and clean.name in metadata:
            cell.metadata["nbgrader"] = nbformat.from_dict(dict(metadata[clean.name]))
        notebook.cells.append(cell)
    HideHiddenTests().preprocess(notebook, {})
    nbformat.validate(notebook)
    return notebook


def _cell_id(wish: str, index: int, used: set[str]) -> str:
    base = re.sub(r"[^A-Za-z0-9_-]+", "-", wish)[:56] or "cell"
    cell_id = base if base not in used else f"{base}-{index}"
    used.add(cell_id)
    return cell_id


def _text(value: Any) -> str:
    """A text that UTF-8 can hold: lone surrogates become question marks."""
    if isinstance(value, list | tuple):
        value = "".join(map(str, value))
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _harmless(output: Mapping[str, Any], harmless: Harmless) -> NotebookNode:
    """An output in the notebook format whose display runs no code and loads nothing from elsewhere."""
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return new_output("stream", name=name, text=_text(output.get("text", "")))
    if kind == "error":
        trace = output.get("traceback", ())
        lines = [_text(line) for line in trace] if isinstance(trace, list | tuple) else [_text(trace)]
        ename, evalue = _text(output.get("ename", "")), _text(output.get("evalue", ""))
        return new_output("error", ename=ename, evalue=evalue, traceback=lines)
    data = output.get("data")
    shown: dict[str, str] = {}
    for mime, value in data.items() if isinstance(data, Mapping) else ():
        text = _text(value)
        if mime == "text/plain" or (mime in PICTURES and BASE64.fullmatch(text)):
            shown[mime] = text
        elif mime == "text/latex":
            shown[mime] = text.replace("<", "\\lt ")
        elif mime == "text/html":
            shown[mime] = str(harmless.html(text) or "")
    shown = {mime: value for mime, value in shown.items() if value}
    return (
        new_output("display_data", data=shown or {"text/plain": LEFT_OUT})
        if kind != "execute_result"
        else (
            new_output(
                "execute_result",
                data=shown or {"text/plain": LEFT_OUT},
                execution_count=_count(output.get("execution_count")),
            )
        )
    )


def harmless_markdown(source: str) -> str:
    """A student's Markdown in which HTML and links that could run something are shown as they are written."""
    source = OTHER_TAG.sub("&lt;", source)
    return OTHER_LINK.sub(lambda match: "]" + {"(": "&#40;", ":": "&#58;"}[match[0][1]], source)


def _of_test(outputs: list[NotebookNode], result: GapResult | None) -> list[NotebookNode]:
    """A test's outputs such that nbgrader reads the result's points from them.

    It takes an error or anything on stderr for no points, a result that is a number for that many.
    """
    if result is None:
        return []
    said: list[NotebookNode] = []
    failed: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "error":
            failed.append(output)
        elif output.output_type == "execute_result":
            said.append(new_output("display_data", data=output.data))
        elif output.output_type == "stream":
            said.append(new_output("stream", name="stdout", text=output.text))
        else:
            said.append(output)
    if result.points >= result.max_points:
        return said
    if result.points > 0:
        return [*said, new_output("execute_result", data={"text/plain": repr(float(result.points))})]
    if not failed:
        ename, evalue = _text(result.error or "AssertionError"), _text(result.message)
        lines = [*_text(result.traceback).splitlines(), f"{ename}: {evalue}"]
        failed = [new_output("error", ename=ename, evalue=evalue, traceback=lines)]
    return [*said, failed[-1]]
