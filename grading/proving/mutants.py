"""Mutants: the reference solution with one small mistake each, made by machine.

A mistake is a sign or an operator, an axis, an index, a constant that is changed, a term or a function left
out, a sum for a mean, `<=` for `<`, two arguments swapped, a condition turned round, a line left out, an
argument changed in place or handed back. A gap's test must fail for each of them, or the bank says why it
cannot (`equivalent`).
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

OPERATORS: dict[type, list[type]] = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Mult],
    ast.Mod: [ast.FloorDiv],
    ast.Pow: [ast.Mult],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
    ast.And: [ast.Or],
    ast.Or: [ast.And],
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
}
PAIRS = """sum mean, reduce_sum reduce_mean, max min, maximum minimum, reduce_max reduce_min, argmax argmin,
    std var, floor ceil, zeros ones, zeros_like ones_like, any all, logaddexp maximum, logsumexp max"""
NAMES = {a: b for pair in PAIRS.split(",") for one in [pair.split()] for a, b in (one, one[::-1])}
# Calls without which a value is another kind of thing, not another value.
KINDS = """array asarray constant Variable convert_to_tensor astype cast float int bool list tuple set dict
    len range arange zeros ones eye zeros_like ones_like full empty shape zip enumerate numpy default_rng
    from_seed isinstance einsum stack concatenate gather reshape tile normal uniform random integers choice
    permutation GradientTape print function""".split()
SYMMETRIC = "maximum minimum max min logaddexp add multiply zip isin zeros ones reshape".split()
RANDOM = "random uniform rng".split()  # a draw is never exactly equal to something: < and <= are the same


@dataclass(frozen=True)
class Mutant:
    """A solution cell with a mistake: its source, the line, and whether the mistake is a line left out."""

    source: str
    line: int
    left_out: bool


def mutants(source: str) -> list[Mutant]:
    """The mutants of the code between the markers of a solution cell, in the order of its lines."""
    tree = ast.parse(source)
    marks = [i for i, line in enumerate(source.split("\n"), 1) if line.strip() in MARKS]
    inside = range(marks[0], marks[1]) if len(marks) == 2 else range(len(source))
    found = {ast.dump(tree): Mutant(source, 0, False)}
    for node, parameters in _nodes(tree):
        if node.lineno not in inside:
            continue
        for new in _variants(node, parameters):
            text = _put(source, node, new)
            found.setdefault(ast.dump(ast.parse(text)), Mutant(text, node.lineno, isinstance(new, ast.Pass)))
    return sorted(list(found.values())[1:], key=lambda mutant: mutant.line)


MARKS = ("### BEGIN SOLUTION", "### END SOLUTION")


def _nodes(
    tree: ast.AST, parameters: tuple[str, ...] = ()
) -> Iterator[tuple[ast.stmt | ast.expr, tuple[str, ...]]]:
    """Statements and expressions, each with the parameters of the function that it is in."""
    for child in ast.iter_child_nodes(tree):
        inner = parameters
        if isinstance(child, ast.FunctionDef):
            inner = tuple(argument.arg for argument in child.args.args)
            for decorator in child.decorator_list:
                decorator.fixed = True  # type: ignore[attr-defined]
        if isinstance(child, ast.keyword) and isinstance(child.value, ast.Constant):
            child.value.keyword = child.arg  # type: ignore[attr-defined]
        if isinstance(child, ast.stmt | ast.expr) and not hasattr(child, "fixed"):
            yield child, inner
        yield from _nodes(child, inner)


def _variants(node: ast.AST, parameters: tuple[str, ...]) -> Iterator[ast.AST]:
    """What may stand in a node's place."""
    match node:
        case ast.BinOp(left, operator, right):
            yield from (ast.BinOp(left, new(), right) for new in OPERATORS.get(type(operator), ()))
            if not isinstance(operator, ast.MatMult):
                yield left
            if isinstance(operator, ast.Add | ast.Mult | ast.Sub):
                yield right
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(OPERATORS[type(operator)][0](), values)
        case ast.Compare(left, [operator], right):
            drawn = any(word in ast.unparse(node) for word in RANDOM)
            for new in OPERATORS.get(type(operator), ())[1 if drawn else 0 :]:
                yield ast.Compare(left, [new()], right)
        case ast.IfExp(_, body, orelse):
            yield from (body, orelse)
        case ast.Constant():
            yield from (ast.Constant(value) for value in _values(node))
        case ast.Attribute(value, "T"):
            yield value
        case ast.Call():
            yield from _calls(node)
        case ast.If(test, body, orelse) | ast.While(test, body, orelse):
            yield type(node)(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.Return(value) if value is not None and parameters:
            yield ast.Return(ast.Name(parameters[0]))
            if isinstance(value, ast.Tuple):
                yield from (ast.Return(ast.Tuple(swapped)) for swapped in _swapped(value.elts))
        case ast.AugAssign(target, operator, value):
            yield ast.Pass()
            yield from (ast.AugAssign(target, new(), value) for new in OPERATORS.get(type(operator), ()))
        case ast.Assign([ast.Name(name)], value) if name in parameters:
            yield ast.Pass()
            yield ast.Assign([ast.Subscript(ast.Name(name), ast.Constant(...))], value, lineno=1)
        case ast.Assign([ast.Subscript() | ast.Attribute()], _):
            yield ast.Pass()
        case ast.Expr(value) if not isinstance(value, ast.Constant):
            yield ast.Pass()


def _values(node: ast.Constant) -> list:
    """Other constants: the other axis, neighbours of an integer, twice a float."""
    value = node.value
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int) and getattr(node, "keyword", "") in ("axis", "axes"):
        return [0 if value else 1]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [2 * value if value else 1.0]
    return []


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    """Another function, the function left out, arguments swapped, one step less."""
    match node.func:
        case ast.Name(name):
            yield from (_with(node, func=ast.Name(NAMES[name])) for _ in [0] if name in NAMES)
        case ast.Attribute(value, name):
            yield from (_with(node, func=ast.Attribute(value, NAMES[name])) for _ in [0] if name in NAMES)
            if name == "copy" and not node.args:
                yield value
        case _:
            return
    if name not in KINDS and not any(isinstance(argument, ast.Starred) for argument in node.args[:2]):
        yield from node.args[:2] if name in SYMMETRIC else node.args[:1]
        if name == "where" and len(node.args) == 3:
            yield from node.args[1:]
    if name not in SYMMETRIC and len(node.args) > 1:
        yield from (_with(node, args=swapped) for swapped in _swapped(node.args))
    if name == "range" and node.args and not isinstance(node.args[-1], ast.Constant):
        fewer = ast.BinOp(node.args[-1], ast.Sub(), ast.Constant(1))
        yield _with(node, args=[*node.args[:-1], fewer])


def _swapped(items: list[ast.expr]) -> Iterator[list[ast.expr]]:
    """The list with two neighbours swapped."""
    for i in range(len(items) - 1):
        yield [*items[:i], items[i + 1], items[i], *items[i + 2 :]]


def _with(node: ast.Call, **changes) -> ast.Call:
    new = copy.copy(node)
    for name, value in changes.items():
        setattr(new, name, value)
    return new


def _put(source: str, node: ast.stmt | ast.expr, new: ast.AST) -> str:
    """The source with the text of `node` replaced; in brackets where it would be read differently without."""
    lines = source.split("\n")

    def offset(line: int, column: int) -> int:  # ast counts bytes
        return sum(len(text) + 1 for text in lines[: line - 1]) + len(
            lines[line - 1].encode()[:column].decode()
        )

    assert node.end_lineno and node.end_col_offset is not None
    start, end = offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset)
    text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(new)))
    if isinstance(node, ast.stmt):
        return source[:start] + text.replace("\n", "\n" + " " * node.col_offset) + source[end:]
    plain, bracketed = (source[:start] + t + source[end:] for t in (text, f"({text})"))
    try:
        same = ast.dump(ast.parse(plain)) == ast.dump(ast.parse(bracketed))
    except SyntaxError:
        same = False
    return plain if same else bracketed
