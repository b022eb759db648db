"""Which names the cells of an exercise read and set, and which of them T asks S for."""

from __future__ import annotations

import ast
import builtins
import dis
import types
from collections.abc import Iterable, Iterator
from functools import lru_cache

from IPython.core.inputtransformer2 import TransformerManager

from grading.model import BEGIN, END, TrustedCell, split_hidden

READ = (  # the last from Python 3.12 on
    "LOAD_GLOBAL LOAD_NAME DELETE_GLOBAL DELETE_NAME LOAD_FROM_DICT_OR_GLOBALS".split()
)
BUILTINS = frozenset(dir(builtins))


class Scope:
    """The names of an exercise's cells; `done` lists those that T has run.

    What given cells and tests define is never taken from S, even where one of them has failed before it came
    to that: a name of the student's takes no helper's place.
    """

    def __init__(self, cells: Iterable[TrustedCell]) -> None:
        cells = tuple(cells)
        self.gap_names = frozenset(n for cell in cells if cell.kind == "solution" for n in cell.defines)
        self.done: list[str] = []
        self._all = {cell.name: _names(code_of(cell)) for cell in cells if _is_code(cell)}
        self._seen = {  # the same of what students see
            cell.name: _names(code_of(cell, hidden=False)) for cell in cells if _is_code(cell)
        }
        self._tests = {cell.name for cell in cells if cell.kind == "test"}

    def binds(self, cell: str) -> frozenset[str]:
        """Names that a cell sets."""
        return self._all[cell][1]

    def reads(self, cell: str) -> set[str]:
        """Names that a cell reads, itself or by functions and classes of cells that have run before."""
        return self._closure(cell, self._all)

    def asked(self, cell: str) -> list[str]:
        """The names that T asks S for before it runs a cell.

        They do not depend on the hidden part of any test, which S would learn by them: what the visible parts
        read, then all that solution cells define.
        """
        seen = self._closure(cell, self._seen) - self._own(self._seen) - BUILTINS
        more = self.gap_names - seen - BUILTINS if cell in self._tests else ()
        return [*sorted(seen), *sorted(more)]

    def needed(self, cell: str) -> set[str]:
        """The names that a cell does read of what the student's code has set."""
        return self.reads(cell) - self._own(self._all) - BUILTINS

    def _closure(self, cell: str, names: dict[str, tuple[frozenset[str], frozenset[str]]]) -> set[str]:
        reads, waiting = set(names[cell][0]), [name for name in self.done if name != cell]
        while found := [name for name in waiting if names[name][1] & reads]:
            waiting = [name for name in waiting if name not in found]
            for name in found:
                reads |= names[name][0]
        return reads

    def _own(self, names: dict[str, tuple[frozenset[str], frozenset[str]]]) -> set[str]:
        return {name for _, binds in names.values() for name in binds} - self.gap_names


def _is_code(cell: TrustedCell) -> bool:
    return cell.cell_type == "code" and cell.kind in ("given", "test")


def code_of(cell: TrustedCell, hidden: bool = True) -> str:
    """A cell's code as Python, its lines where they were; %%time and the like run what follows."""
    source = cell.source if hidden else split_hidden(cell.source)[0]
    if source.startswith(("%%time", "%%capture")):
        source = "#" + source
    return TransformerManager().transform_cell(source)


@lru_cache(maxsize=256)
def hidden_lines(cell: TrustedCell) -> dict[int, str]:
    """The lines of a cell's hidden parts, by number; with each what its part is about, in its own words."""
    found: dict[int, str] = {}
    lines = cell.source.split("\n")
    inside, about = False, ""
    for number, text in enumerate(lines, 1):
        if BEGIN in text:
            inside, about = True, " ".join(_comment(lines[number:]))
        if inside:
            found[number] = about
        if END in text:
            inside = False
    return found


def _comment(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line.lstrip().startswith("#") or END in line:
            return
        yield line.lstrip(" #")


def _names(source: str) -> tuple[frozenset[str], frozenset[str]]:
    """The names that code reads, and those that it sets at its top level or by `global`."""
    reads = {name for name in globals_read(source) if not name.startswith("__")}
    return frozenset(reads), frozenset(_names_set(ast.parse(source)))


def _names_set(module: ast.Module) -> Iterator[str]:
    waiting: list[ast.AST] = list(module.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            for part in ast.walk(node):
                if isinstance(part, ast.Global):
                    yield from part.names
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            waiting += [part for part in ast.walk(node) if isinstance(part, ast.NamedExpr)]
        elif not isinstance(node, ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def globals_read(source: str) -> set[str]:
    """Global names that code reads: at its top level, in functions, their defaults and their decorators."""
    names, waiting = set(), [compile(source, "<cell>", "exec", dont_inherit=True)]
    while waiting:
        code = waiting.pop()
        names |= {step.argval for step in dis.get_instructions(code) if step.opname in READ}
        waiting += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return names
