"""What can be said about a cell's code without running it: names, statements, stubs, likeness."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from grading.names import names_set

MOST = 200_000  # characters of a cell that are looked at
# Cell magics that run the cell's own code here, with its names.
TRANSPARENT = re.compile(r"\A\s*%%(?:time|capture|prun|memit|wandb)\b[^\n]*\n")


@dataclass(frozen=True)
class Code:
    """Names of a cell: those it sets at its top level, those it reads anywhere, those it reads at once."""

    parses: bool
    sets: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()
    at_once: frozenset[str] = frozenset()  # not those that a function reads when it is called
    functions: tuple[str, ...] = ()


@lru_cache(maxsize=4096)
def look(source: str) -> Code:
    """Names that code sets and reads; where it does not parse, the names at the beginning of its lines."""
    tree = parse(source)
    if tree is None:
        found = re.findall(
            r"^(?:(?:async\s+)?def|class)\s+(\w+)|^(\w+)[ \t]*(?::[^=\n]*)?=[^=]", source[:MOST], re.M
        )
        names = frozenset(a or b for a, b in found)
        words = frozenset(re.findall(r"[^\W\d]\w*", source[:MOST]))
        return Code(False, names, words, words, tuple(a for a, _ in found if a))
    try:
        uses = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Store)}
        sets = frozenset().union(*(names_set(node) for node in tree.body))
    except (RecursionError, MemoryError):
        return Code(False)
    functions = tuple(n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return Code(True, sets, frozenset(uses), frozenset(_at_once(tree)), functions)


def _at_once(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
            names.add(node.id)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            todo += [*node.decorator_list, node.args]
        elif isinstance(node, ast.Lambda):
            todo.append(node.args)
        else:
            todo += ast.iter_child_nodes(node)
    return names


@lru_cache(maxsize=256)
def parse(source: str) -> ast.Module | None:
    """The code's tree, not to be changed, or None. Magics are understood."""
    if len(source) > MOST:
        return None
    source = TRANSPARENT.sub("\n", source)
    tree = _parse(source)
    return _parse(without_magics(source)) if tree is None else tree


def without_magics(source: str) -> str:
    """IPython's lines (%magic, !command, name?) replaced by statements that do nothing."""
    source = re.sub(r"^([ \t]*)[%!?][^\n]*", r"\1pass", source, flags=re.M)
    source = re.sub(r"^([\w, \t]+=[ \t]*)[%!][^\n]*", r"\1None", source, flags=re.M)
    return re.sub(r"^([ \t]*)[\w.]+\?\??[ \t]*$", r"\1pass", source, flags=re.M)


def _parse(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None


@dataclass(frozen=True)
class Statement:
    """A statement at the top level of a cell, with the comments before it."""

    text: str
    sets: frozenset[str]
    same: str  # equal for statements that do the same
    imports: bool


def statements(source: str) -> list[Statement]:
    """The top-level statements; none if the code does not parse as plain Python."""
    tree = _parse(source) if len(source) <= MOST else None
    if tree is None:
        return []
    lines, found, last = source.split("\n"), [], 0
    for node in tree.body:
        end = node.end_lineno or node.lineno
        if end <= last:  # several on a line
            continue
        text = "\n".join(lines[last:end]).strip("\n")
        try:
            same, sets = _dump(node) or text, frozenset(names_set(node))
        except (RecursionError, MemoryError):
            same, sets = text, frozenset()
        found.append(Statement(text, sets, same, isinstance(node, ast.Import | ast.ImportFrom)))
        last = end
    if rest := "\n".join(lines[last:]).strip():
        found.append(Statement(rest, frozenset(), "", False))
    return found


def same_code(a: str, b: str) -> bool:
    """Whether two sources differ in nothing but layout and comments."""
    if a == b or flat(a) == flat(b):
        return True
    first, second = parse(a), parse(b)
    if first is None or second is None or len(first.body) != len(second.body):
        return False
    return all((one := _dump(x)) and one == _dump(y) for x, y in zip(first.body, second.body, strict=True))


def _dump(node: ast.AST) -> str:
    """A text that is the same for code that does the same; "" where there is none."""
    try:
        return ast.dump(node)
    except (RecursionError, MemoryError, ValueError):  # ValueError: a number of thousands of digits
        return ""


def is_stub(source: str, stub: str) -> bool:
    """Whether a gap is still as it was handed out (also by an earlier release)."""
    if not source.strip() or flat(source) == flat(stub) or same_code(source, stub):
        return True
    tree = parse(source)
    if tree is None or "NotImplementedError" not in source:
        return False
    bodies = [n.body for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)] or [
        tree.body
    ]
    return all(_only_raises(body) for body in bodies)


def _only_raises(body: list[ast.stmt]) -> bool:
    rest = [n for n in body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
    return len(rest) == 1 and isinstance(rest[0], ast.Raise) and "NotImplementedError" in _dump(rest[0])


def flat(source: str) -> str:
    """Source without differences of white space."""
    return " ".join(source.split())


def likeness(a: str, b: str) -> float:
    """0 to 1: how many words two texts have in common."""
    first, second = _words(a[:MOST]), _words(b[:MOST])
    total = first.total() + second.total()
    return 2 * (first & second).total() / total if total else 1.0


@lru_cache(maxsize=512)
def _words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+|[^\w\s]", text))
