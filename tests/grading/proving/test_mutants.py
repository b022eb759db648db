"""grading/proving/mutants.py: which mistakes are made, and that each is one mistake in valid Python."""

from __future__ import annotations

import ast
import difflib

import pytest

from grading.proving.mutants import mutants

CELL = """def f(x, y):
    \"\"\"x: (B,) → (B,).\"\"\"
    a = 1  # given
    ### BEGIN SOLUTION
    {}
    ### END SOLUTION"""


def mistakes(line: str) -> set[str]:
    """The lines that the mutants of a solution of one line have in its place."""
    source = CELL.format(line)
    found = set()
    for mutant in mutants(source):
        ast.parse(mutant.source)
        changed = [
            d[2:].strip() for d in difflib.ndiff(source.split("\n"), mutant.source.split("\n")) if d[0] == "+"
        ]
        assert len(changed) == 1 and mutant.line == 5, "one mistake, and none outside of the solution"
        found |= set(changed)
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("z = a + b", {"z = a - b", "z = a", "z = b"}),
        ("z = a / b", {"z = a * b", "z = a"}),
        ("z = c * (a - b) ** 2", {"z = c * ((a - b) * 2)", "z = c * (a + b) ** 2", "z = c * (a - b) ** 3"}),
        ("z = -a", {"z = a"}),
        ("z = a < b", {"z = a <= b", "z = a >= b"}),
        ("z = a @ W.T", {"z = a @ W"}),
        ("z = a[i - 1]", {"z = a[i + 1]", "z = a[i]", "z = a[i - 2]"}),
        ("z = a[1:]", {"z = a[2:]", "z = a[0:]"}),
        ("z = np.sum(a, axis=1)", {"z = np.mean(a, axis=1)", "z = np.sum(a, axis=0)"}),
        ("z = a.mean(axis=0, keepdims=True)", {"z = a.sum(axis=0, keepdims=True)"}),
        ("z = tf.stop_gradient(a - z) + z", {"z = a - z + z"}),
        ("z = g(a, b)", {"z = g(b, a)", "z = a"}),
        ("z = 0.5 * a", {"z = 1.0 * a", "z = a"}),
        ("z = np.where(a, b, c)", {"z = b", "z = c", "z = np.where(a, c, b)"}),
        ("z = x.copy()", {"z = x"}),
        ("z = a and b", {"z = a or b"}),
        ("z = a if b else c", {"z = a", "z = c"}),
        ("z += a", {"z -= a", "pass"}),
        ("x = x + a", {"x[...] = x + a", "pass"}),
        ("z[0] = a", {"pass"}),
        ("g(a)", {"pass"}),
        ("for i in range(n): g(i)", {"for i in range(n - 1): g(i)"}),
        ("return a, b", {"return x", "return (b, a)"}),
    ],
)
def test_a_mistake_is_made(line: str, expected: set[str]) -> None:
    assert expected <= mistakes(line)


@pytest.mark.parametrize("line", ["z = rng.random(n) < p", "z = np.array(a)", "z = 'text'"])
def test_what_would_change_nothing_is_left_alone(line: str) -> None:
    assert not {"z = rng.random(n) <= p", "z = a", "z = ''"} & mistakes(line)


def test_mutants_differ_from_each_other_and_from_the_reference() -> None:
    source = CELL.format("return (x + y) * 1 + np.sum(np.sum(x, axis=1)) - 0.5")
    trees = [ast.dump(ast.parse(mutant.source)) for mutant in mutants(source)]
    assert len(trees) > 10 and len({*trees, ast.dump(ast.parse(source))}) == len(trees) + 1


def test_letters_outside_ascii_do_not_move_a_mistake() -> None:
    assert "σ = μ - σ  # σ²" in mistakes("σ = μ + σ  # σ²")


def test_a_line_left_out_is_marked() -> None:
    left_out = [mutant.source for mutant in mutants(CELL.format("z += a")) if mutant.left_out]
    assert len(left_out) == 1 and "    pass" in left_out[0]
