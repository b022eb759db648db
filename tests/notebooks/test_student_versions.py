"""Each student version runs to its end as released, and nothing but NotImplementedError goes wrong."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
EXERCISES = sorted((ROOT / "exercises").glob("*/*.ipynb"))


def test_each_solution_has_a_student_version() -> None:
    solutions = {path.name for path in (ROOT / "solutions").glob("*") if any(path.glob("*.py"))}
    assert {path.parent.name for path in EXERCISES} == solutions, "run `make release`"


@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)
def test_student_version(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    options = {"timeout": 600, "startup_timeout": 300}  # on a busy machine
    NotebookClient(notebook, allow_errors=True, resources=resources, **options).execute()
    failed = set()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                name = cell.metadata.get("nbgrader", {}).get("grade_id", cell.source)
                assert output.ename == "NotImplementedError", f"{name}: {output.ename}: {output.evalue}"
                failed.add(name)
    tests = {c.metadata.nbgrader.grade_id for c in notebook.cells if _is_test(c)}
    assert tests and tests <= failed, f"pass without an answer: {sorted(tests - failed)}"


def _is_test(cell: nbformat.NotebookNode) -> bool:
    return cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade", False)
