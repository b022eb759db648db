"""The executed notebook in nbgrader's format, as formgrader shows it: nothing in it runs on its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import nbformat
from markupsafe import Markup
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from grading.model import Assignment, CellRun, GapResult, split_hidden
from grading.results.harmless import Harmless, capped, joined, one_line, plain

LOADING = ("![", "<img", "attachment:")  # in text of the exercise: pictures, such as Colab's badge
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
    harmless = Harmless(dollars=True)
    for index, run in enumerate(capped(runs)):
        clean = run.cell
        cell_id = _cell_id(ids.get(clean.name) or clean.name, index, used)
        source = clean.source.encode("utf-8", "replace").decode("utf-8")  # half characters
        ours = clean.kind in ("text", "given", "test") or source == stubs.get(clean.name)
        if clean.cell_type == "code":
            source = split_hidden(source)[0] if ours else harmless.code(source)[0]
            cell = new_code_cell(source, id=cell_id, execution_count=_count(run.execution_count))
            outputs = [_harmless(output, harmless) for output in run.outputs if isinstance(output, Mapping)]
            if clean.kind == "test":
                outputs = _of_test(outputs, results.get(clean.name))
            cell.outputs = outputs
        elif ours and (clean.kind == "manual" or not any(map(source.__contains__, LOADING))):
            cell = new_markdown_cell(source, id=cell_id)
        elif clean.cell_type == "markdown":
            cell = new_markdown_cell(one_block(harmless.markdown(source, tell=not ours)), id=cell_id)
        else:
            cell = new_markdown_cell(
                one_block(Markup("<pre>{}</pre>").format(harmless.plain(source))), id=cell_id
            )
        if clean.kind != "extra" and clean.name in metadata:
            cell.metadata["nbgrader"] = nbformat.from_dict(dict(metadata[clean.name]))
        notebook.cells.append(cell)
    nbformat.validate(notebook)
    return notebook


def one_block(html: str) -> str:
    """Clean HTML as Markdown that every renderer hands on as it is: a block of one line, begun by its tag."""
    return "<div>" + str(html).replace("\r", "&#13;").replace("\n", "&#10;") + "</div>"


def _cell_id(wish: str, index: int, used: set[str]) -> str:
    base = re.sub(r"[^A-Za-z0-9_-]+", "-", wish)[:56] or "cell"
    cell_id = base if base not in used else f"{base}-{index}"
    used.add(cell_id)
    return cell_id


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _harmless(output: Mapping[str, Any], harmless: Harmless) -> NotebookNode:
    """An output in the notebook format that shows what the feedback page shows of it."""
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return new_output("stream", name=name, text=harmless.plain(joined(output.get("text"))))
    if kind == "error":
        trace = output.get("traceback", ())
        trace = "\n".join(map(str, trace)) if isinstance(trace, list | tuple) else str(trace)
        return new_output(
            "error",
            ename=harmless.plain(output.get("ename", ""), 80),
            evalue=harmless.plain(output.get("evalue", ""), 2000),
            traceback=harmless.plain(trace, 6000).split("\n"),
        )
    data = output.get("data")
    mime, shown = harmless.display(data if isinstance(data, Mapping) else {})
    if not shown:
        mime, shown = "text/plain", LEFT_OUT
    elif mime.startswith("image/"):
        shown = shown.partition(",")[2]
    made = {mime.replace("text/markdown", "text/html"): str(shown)}
    if kind != "execute_result":
        return new_output("display_data", data=made)
    return new_output("execute_result", data=made, execution_count=_count(output.get("execution_count")))


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
        ename, evalue = one_line(result.error, 80) or "AssertionError", plain(result.message, 4000)
        lines = [*plain(result.traceback, 6000).splitlines(), f"{ename}: {evalue}"]
        failed = [new_output("error", ename=ename, evalue=evalue, traceback=lines)]
    return [*said, failed[-1]]
