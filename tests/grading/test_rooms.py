"""The rooms of grading/: each has a docstring, and imports go one way."""

from __future__ import annotations

import ast

import pytest

from tests.conftest import ROOT

GRADING = ROOT / "grading"
GROUND = {"model", "assignment", "names", "files", "gradebook"}  # small things that all share
MAY = {  # who imports whom, besides itself
    "intake": GROUND,
    "execution": GROUND,
    "results": GROUND,
    "run": {*GROUND, "intake", "execution", "results"},
    "proving": {*GROUND, "intake", "execution", "results", "run"},
    **dict.fromkeys(sorted(GROUND), GROUND),  # sorted: the same order in each process of a run
}


def imported(source: str) -> set[str]:
    """Names below grading/ that the code imports: rooms, or modules at the top."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("grading.")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "grading":
            parts = (node.module or "").split(".")
            found |= {parts[1]} if parts[1:] else {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("room", MAY)
def test_imports_go_one_way(room: str) -> None:
    files = sorted((GRADING / room).glob("*.py")) or [GRADING / f"{room}.py"]
    for path in files:
        wrong = imported(path.read_text(encoding="utf-8")) - MAY[room] - {room}
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_every_module_has_its_room() -> None:
    top = {path.stem for path in GRADING.glob("*.py")} - {"__init__", "__main__", "nbgrader_config"}
    assert top == GROUND | {"run"}
    for room in ("intake", "execution", "results", "proving"):
        said = ast.get_docstring(ast.parse((GRADING / room / "__init__.py").read_text(encoding="utf-8")))
        assert said and "In: " in said and "Out: " in said


def test_what_an_import_is() -> None:
    code = "from grading import run\nfrom grading.results.record import x\nimport grading.intake.people, os"
    assert imported(code) == {"run", "results", "intake"}
