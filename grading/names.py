"""Which names a piece of code sets and reads."""

from __future__ import annotations

import ast

from IPython.core.inputtransformer2 import TransformerManager


def names(source: str) -> tuple[set[str], set[str]]:
    """Names that a cell sets or changes at its top level, and names that it reads anywhere."""
    tree = ast.parse(TransformerManager().transform_cell(source))
    uses = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Store)}
    return set().union(*(names_set(node) for node in tree.body)), uses


def names_set(statement: ast.stmt) -> set[str]:
    """Names that a statement sets or changes at its top level."""
    sets: set[str] = set()
    todo: list[ast.AST] = [statement]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            sets.add(node.name)  # what happens inside is local
            continue
        if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            sets |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            sets.add(node.id)
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            sets |= base(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            sets |= base(node.value.func)
        todo += ast.iter_child_nodes(node)
    return sets


def base(node: ast.AST) -> set[str]:
    """{x} for x.a.b[0]; nothing for a plain name, since calling f does not change f."""
    inner = node
    while isinstance(inner, ast.Attribute | ast.Subscript):
        inner = inner.value
    return {inner.id} if isinstance(inner, ast.Name) and inner is not node else set()
