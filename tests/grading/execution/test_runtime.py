"""The two processes: the examples and claims of docs/authoring.md, and students who bend names and types."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from grading.execution import link
from grading.execution.endings import PACKAGES
from grading.execution.local import PlainLifeline
from grading.execution.trusted import run
from grading.model import BEGIN, END, Assignment, CleanCell, GapResult, Job, Limits, Outcome, TrustedCell
from tests.conftest import ROOT

Cell = tuple[TrustedCell, CleanCell]


def given(source: str, name: str = "given") -> Cell:
    source = textwrap.dedent(source).strip()
    return TrustedCell(name, "given", source), CleanCell(name, "given", source)


def answer(source: str, gap: str = "f", defines: Sequence[str] = ("f",)) -> Cell:
    trusted_cell = TrustedCell(gap, "solution", "raise NotImplementedError", gap=gap, defines=tuple(defines))
    return trusted_cell, CleanCell(gap, "solution", textwrap.dedent(source).strip(), gap=gap)


def check(source: str, gap: str = "f") -> Cell:
    source = textwrap.dedent(source).strip()
    trusted_cell = TrustedCell(f"test_{gap}", "test", source, points=1.0, gap=gap)
    return trusted_cell, CleanCell(f"test_{gap}", "test", source, gap=gap, points=1.0)


def extra(source: str, name: str = "extra1") -> tuple[None, CleanCell]:
    return None, CleanCell(name, "extra", textwrap.dedent(source).strip())


def graded(
    *cells: tuple[TrustedCell | None, CleanCell], limits: Limits | None = None, seed: int = 7
) -> Outcome:
    assignment = Assignment("week00_none", tuple(cell for cell, _ in cells if cell is not None))
    job = Job("p", assignment, (tuple(clean for _, clean in cells),), seed, limits or Limits())
    return run(job, 0, PlainLifeline(job.limits.output))


def points(outcome: Outcome) -> dict[str, float]:
    assert outcome.failure == ""
    return {gap.gap: gap.points for gap in outcome.gaps}


def only(outcome: Outcome) -> GapResult:
    assert outcome.failure == "" and len(outcome.gaps) == 1
    return outcome.gaps[0]


IMPORTS = "import numpy as np\nfrom utils import stattests"


# The examples of the document


@dataclass(frozen=True)
class Example:
    """What is around an example: given cells, a right answer, wrong ones with a part of the message."""

    defines: tuple[str, ...]
    right: str
    wrong: tuple[tuple[str, str], ...]
    given: str = ""


EXAMPLES = {
    "A function on arrays": Example(
        ("log_sum_exp",),
        "def log_sum_exp(x):\n    m = x.max(axis=1)\n"
        "    return m + np.log(np.exp(x - m[:, None]).sum(axis=1))",
        (
            (
                "def log_sum_exp(x):\n    return np.log(np.exp(x).sum(axis=0))",
                "shape (3,) expected, got (5,)",
            ),
            ("def log_sum_exp(x):\n    return np.log(np.exp(x).sum(axis=1))", "infinite"),
            (
                "def log_sum_exp(x):\n    x[...] = 0\n    return np.full(len(x), np.log(x.shape[1]))",
                "changes an array",
            ),
        ),
    ),
    "A gradient": Example(
        ("sample",),
        "def sample(mu, s, eps):\n    return mu + tf.exp(s) * eps",
        (
            ("def sample(mu, s, eps):\n    return mu + tf.exp(s / 2) * eps", "d sample / d s"),
            (
                "def sample(mu, s, eps):\n    return tf.constant(mu.numpy() + np.exp(s.numpy()) * eps)",
                "no gradient reaches mu and s",
            ),
            ("def sample(mu, s, eps):\n    eps[...] = 0\n    return mu + 0 * s", "d sample / d s"),
            ("def sample(mu, s, eps):\n    return s", "no gradient reaches"),
        ),
    ),
    "A function as an argument": Example(
        ("langevin",),
        """
        def langevin(gradient, x, steps, rate, seed):
            rng = np.random.default_rng(seed)
            for _ in range(steps):
                x = x - rate * gradient(x) + np.sqrt(2 * rate) * rng.normal(size=x.shape)
            return x
        """,
        (
            (
                """
                def langevin(gradient, x, steps, rate, seed):
                    rng = np.random.default_rng(seed)
                    for _ in range(steps):
                        x = x - rate * gradient(x) + np.sqrt(rate) * rng.normal(size=x.shape)
                    return x
                """,
                "within one standard deviation",
            ),
            ("def langevin(gradient, x, steps, rate, seed):\n    return x", "chance alone"),
        ),
    ),
    "A stateful update in place": Example(
        ("update",),
        "def update(W, gradient, rate):\n    W.assign_add(rate * gradient)",
        (
            ("def update(W, gradient, rate):\n    W.assign_sub(rate * gradient)", "W after the update"),
            ("def update(W, gradient, rate):\n    W = W + rate * gradient", "W after the update"),
            ("def update(W, gradient, rate):\n    gradient[...] = 0", "W after the update"),
        ),
    ),
    "A trained model handed over as parameters": Example(
        ("train",),
        """
        def train(images, seed):
            V = np.linalg.svd(images, full_matrices=False)[2][:1]
            return [V.T.astype(np.float32), V.astype(np.float32)]
        """,
        (
            (
                "def train(images, seed):\n    rng = np.random.default_rng(seed)\n"
                "    return [rng.normal(size=(4, 1)), rng.normal(size=(1, 4))]",
                "below 0.35 expected",
            ),
            ("def train(images, seed):\n    return np.zeros((4, 1))", "two arrays"),
            (
                "class Model:\n    loss = 0.0\n\n\ndef train(images, seed):\n    return [Model(), Model()]",
                "numbers expected, got a Model",
            ),
        ),
        """
        import keras


        def some_images(rng, n):
            return (rng.normal(size=(n, 1)) * [1, -1, 0.5, 2] + rng.normal(0, 0.3, size=(n, 4))).astype("f4")


        images, validation = (some_images(np.random.default_rng(seed), 200) for seed in (0, 1))


        def build():
            \"\"\"A linear autoencoder: 4 → 1 → 4.\"\"\"
            layers = [keras.layers.Dense(n, use_bias=False) for n in (1, 4)]
            return keras.Sequential([keras.Input((4,)), *layers])


        def exact_loss(model, x):
            return np.mean(np.sum((np.asarray(model(x)) - x) ** 2, axis=1))
        """,
    ),
    "A stochastic sampler": Example(
        ("draw",),
        "def draw(p, n, seed):\n    return np.random.default_rng(seed).choice(len(p), n, p=p)",
        (
            (
                "def draw(p, n, seed):\n    return np.random.default_rng(seed).integers(len(p), size=n)",
                "comes up in",
            ),
            ("def draw(p, n, seed):\n    return np.tile(p, (n, 1))", "shape (20000,) expected"),
            ("def draw(p, n, seed):\n    p[:] = [1, 0, 0]\n    return np.zeros(n)", "comes up in"),
        ),
    ),
}


def document() -> dict[str, str]:
    """Heading → the code below it, of docs/authoring.md."""
    found: dict[str, list[str]] = {}
    heading, inside = "", False
    for line in (ROOT / "docs" / "authoring.md").read_text().splitlines():
        if line.startswith("```"):
            inside = line == "```python"
        elif inside:
            found.setdefault(heading, []).append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    return {heading: "\n".join(lines) for heading, lines in found.items()}


CODE = document()
FULL_IMPORTS = IMPORTS + "\nimport tensorflow as tf"
ANSWERS = [
    (heading, number, source, word)
    for heading, example in EXAMPLES.items()
    for number, (source, word) in enumerate([(example.right, ""), *example.wrong])
]
IDS = [f"{heading} {number}" for heading, number, _, _ in ANSWERS]


@pytest.fixture(scope="module")
def through_two_processes() -> dict[str, GapResult]:
    """All answers to all examples in one notebook, the wrong ones after the right ones."""
    cells: list[Any] = [given(FULL_IMPORTS, "imports")]
    for heading, number, source, _ in ANSWERS:
        example, gap = EXAMPLES[heading], f"{heading} {number}"
        if number == 0 and example.given:
            cells.append(given(example.given, f"given {heading}"))
        cells += [answer(source, gap, example.defines), check(CODE[heading], gap)]
    outcome = graded(*cells)
    assert outcome.failure == "" and outcome.suspicions == () and outcome.limits_hit == ()
    return {gap.gap: gap for gap in outcome.gaps}


def test_every_example_of_the_document_is_run() -> None:
    assert set(CODE) == set(EXAMPLES)


@pytest.mark.parametrize(("heading", "number", "source", "word"), ANSWERS, ids=IDS)
def test_an_example_in_the_grader(
    through_two_processes: dict[str, GapResult], heading: str, number: int, source: str, word: str
) -> None:
    result = through_two_processes[f"{heading} {number}"]
    assert result.passed == (number == 0), result.message
    assert word in result.message


@pytest.mark.parametrize(("heading", "number", "source", "word"), ANSWERS, ids=IDS)
@pytest.mark.filterwarnings("ignore:overflow")
def test_an_example_in_a_notebook(heading: str, number: int, source: str, word: str) -> None:
    """The same code, with everything in one namespace."""
    namespace: dict[str, Any] = {}
    for part in (FULL_IMPORTS, EXAMPLES[heading].given, source):
        exec(textwrap.dedent(part), namespace)
    if number == 0:
        exec(CODE[heading], namespace)
        return
    with pytest.raises(AssertionError) as caught:
        exec(CODE[heading], namespace)
    assert word in str(caught.value)


# What the document says


def test_a_hidden_part_says_what_it_is_about_and_where_the_student_failed() -> None:
    outcome = graded(
        given(IMPORTS),
        answer("def log_sum_exp(x):\n    assert len(x) == 3, 'only 3'\n    return np.log(np.exp(x).sum(1))"),
        check(CODE["A function on arrays"]),
    )
    result = only(outcome)
    assert (result.hidden, result.about) == (
        True,
        "Other shapes, and values of several hundred, where exp overflows.",
    )
    assert result.message == "only 3" and "f, line 2" in result.traceback
    assert "stattests" not in result.traceback and "check(" not in result.traceback


def test_objects_stay_there_and_can_be_used() -> None:
    """A test can call them, read their attributes and pass them back, no more; each stays itself."""
    outcome = graded(
        given(IMPORTS),
        answer(
            """
            class Counter:
                def __init__(self): self.n, self.inner = 0, [1, lambda x: x + 1]
                def up(self, by=1):
                    self.n += by
                    return self
            def count(counter): return counter.n
            pair = (Counter(), Counter)
            table = {"double": lambda x: 2 * x, "weights": np.ones(2)}
            """,
            defines=["Counter", "count", "pair", "table"],
        ),
        check(
            """
            a, b = Counter(), Counter()
            assert a.up().up(by=2).n == 3 and count(a) == 3 and b.n == 0 and count(counter=b) == 0
            assert a.inner[0] == 1 and a.inner[1](4) == 5
            assert pair[1]().n == 0 and pair[0].up().n == 1 and pair[0].n == 1
            assert table["double"](21) == 42 and table["weights"].tolist() == [1, 1]
            assert type(a).__name__ == "Counter" and callable(count) and not callable(a)
            def rename(): a.n = 5
            for act in (lambda: a[0], lambda: len(a), lambda: iter(a), lambda: a + 1, lambda: +a, rename):
                try:
                    act()
                except TypeError:
                    continue
                raise AssertionError("more than that")
            try:
                a.missing
            except AttributeError as error:
                assert "missing" in str(error)
            """
        ),
    )
    assert only(outcome).passed, only(outcome).message


def test_what_is_changed_in_place_is_changed_in_the_test_and_stays_the_same_object() -> None:
    outcome = graded(
        given(IMPORTS),
        answer(
            """
            def f(parameters, table, rows):
                for w in parameters:
                    w -= 1
                table["seen"] = len(parameters)
                table["inner"].append(2)
                rows.sort()
                return parameters[0]
            """
        ),
        check(
            """
            W, b, inner = np.zeros((2, 2)), np.zeros(2), [1]
            parameters, table, rows = [W, b], {"inner": inner}, [3, 1, 2]
            for step in (1, 2, 3):
                result = f(parameters, table, rows)
                assert result is W is parameters[0] and b is parameters[1] and inner is table["inner"]
                assert (W == -step).all() and (b == -step).all()
            assert table == {"seen": 2, "inner": [1, 2, 2, 2]} and rows == [1, 2, 3]
            whole = np.zeros((3, 2))
            f([whole[1]], {"inner": []}, [])
            assert whole.tolist() == [[0, 0], [-1, -1], [0, 0]]
            frozen = np.zeros(2)
            frozen.flags.writeable = False
            f([frozen], {"inner": []}, [])
            assert frozen.tolist() == [0, 0]
            """
        ),
    )
    assert only(outcome).passed, only(outcome).message


FUNCTION = "def f(g, x):\n    return g(x)"


def test_a_function_goes_with_what_it_refers_to_and_nothing_else() -> None:
    outcome = graded(
        given(IMPORTS + "\nscale = 3.0\n\ndef given_part(x):\n    return scale * x"),
        answer(FUNCTION + "\n\ndef own(x):\n    return x + 1", defines=["f", "own"]),
        check(
            """
            secret = rng = np.random.default_rng(0)  # cannot cross
            mean = object()
            offset = np.ones(2)

            def g(x: np.ndarray, times=2) -> np.ndarray:
                rng, secret = x, [value for value in x]  # names of its own
                assert "mean" not in globals()
                return times * given_part(rng).mean() + own(offset)

            assert f(g, np.array([1.0, 3.0])).tolist() == [14.0, 14.0]
            """
        ),
    )
    assert only(outcome).passed, only(outcome).message


@pytest.mark.parametrize(
    "argument", ["lambda x: x", "inside()", "object()", "np.random.default_rng(1)", "np.exp"]
)
def test_what_cannot_be_passed_is_the_authors_to_mend(argument: str) -> None:
    inside = "def inside():\n    y = 1\n    def g(x):\n        return x + y\n    return g\n\n"
    outcome = graded(given(IMPORTS), answer(FUNCTION), check(f"{inside}f({argument}, 1)"))
    assert outcome.failure.startswith("AuthorError") and outcome.gaps == ()


def test_lists_that_are_long_and_lists_that_are_too_long() -> None:
    outcome = graded(
        given(IMPORTS),
        answer("def f(x):\n    return x.tolist()", "long"),
        check("x = np.random.default_rng(0).normal(size=(1500, 64))\nassert f(x) == x.tolist()", "long"),
        answer("def f(x):\n    return ['x' * 9_000_000]", "longer"),
        check("f(np.zeros(2))", "longer"),
        answer("def f(x):\n    return 2 * x", "after"),
        check("assert f(np.ones(2)).tolist() == [2, 2]", "after"),
    )
    assert points(outcome) == {"long": 1, "longer": 0, "after": 1}
    assert "use arrays" in outcome.gaps[1].message and outcome.limits_hit == ()


def test_a_call_takes_about_a_millisecond() -> None:
    outcome = graded(
        given(IMPORTS),
        answer("def f(x):\n    return x"),
        check(
            """
            import time
            x, start = np.ones(10), time.time()
            for _ in range(300):
                f(x)
            print(time.time() - start)
            """
        ),
    )
    assert only(outcome).passed
    (printed,) = outcome.cells[-1].outputs
    assert float(printed["text"]) < 3.0  # 0.1 s on an idle machine


def test_the_calls_of_a_test_are_counted() -> None:
    outcome = graded(
        answer("def f(x):\n    return x"),
        check("for i in range(20):\n    f(i)"),
        answer("", "g", ["g"]),
        check("assert f(1) == 1", "g"),
        limits=Limits(calls=15),
    )
    assert points(outcome) == {"f": 0, "g": 1} and outcome.gaps[0].ended_by == "calls"


# Names: a student's name takes no other's place

TRAP = """
check = helper = assert_close = exact = lambda *a, **k: None
abs = lambda x: 0
len = isinstance = all = print = range = float = lambda *a: True
AssertionError = type("AssertionError", (Exception,), {"__bool__": lambda self: True})
import builtins, sys
import numpy, utils.stattests
for module in (numpy, utils.stattests):
    for name in dir(module):
        if name.startswith(("all", "assert", "array_eq", "isfinite", "abs")):
            setattr(module, name, lambda *a, **k: True)
builtins.abs = builtins.AssertionError = lambda *a: 0
builtins.__build_class__ = None
sys.modules["numpy"] = sys.modules["utils.stattests"] = None
class np:
    allclose = array = asarray = staticmethod(lambda *a, **k: True)
class stattests:
    assert_close = assert_array = staticmethod(lambda *a, **k: True)
"""


def test_builtins_libraries_and_helpers_are_the_tests_own() -> None:
    outcome = graded(
        given(IMPORTS + "\n\ndef helper(x):\n    assert x == 4, 'helper'"),
        extra(TRAP),
        answer("def f(x):\n    return 0"),
        check("def check(x):\n    assert abs(f(x) - 2) < 1, f'not {x}'\n\nhelper(4)\ncheck(1)", "abs"),
        check("helper(f(2))", "helper"),
        check("assert np.allclose(f(2), 3)", "numpy"),
        check("stattests.assert_close('f', f(2), 3)", "stattests"),
        check("assert all(f(x) == x for x in range(1, 5))", "all"),
        check("assert len([1, f(1)]) == 2 and isinstance(f(1), float)", "isinstance"),
    )
    assert set(points(outcome).values()) == {0.0}
    for gap in outcome.gaps:
        assert gap.error == "AssertionError", gap


def test_a_failed_test_or_given_cell_leaves_no_place_for_a_students_helper() -> None:
    """What the first test and the given cell define after they have failed is in no process at all."""
    trap = (
        "check = compare = exact = lambda *a: 0\nlimit = 10**9\nclass Oracle:\n    __eq__ = lambda s, o: True"
    )
    outcome = graded(
        answer(
            f"{trap}\ndef f(x):\n    raise ValueError('not this time')\ndef g(x):\n    return 0",
            "f",
            ["f", "g"],
        ),
        check("f(1)\ndef check(x):\n    assert x == 5, 'no 5'\nlimit = 3\nclass Oracle:\n    pass"),
        given(
            "start = f(2)\ndef compare(x):\n    assert x == 5, 'no 5'\nfrom math import sqrt as exact", "late"
        ),
        *(
            check(source, f"second {number}")
            for number, source in enumerate(
                [
                    "check(g(1))",
                    "compare(g(1))",
                    "assert abs(g(1) - 5) < limit",
                    "assert g(4) == exact(4)",
                    "assert Oracle() == 1",
                ]
            )
        ),
    )
    assert set(points(outcome).values()) == {0.0}
    assert [gap.error for gap in outcome.gaps] == ["ValueError", *["NameError"] * 5]


def test_a_later_answer_replaces_what_a_test_called_the_same() -> None:
    """As in a notebook: the solution cell has run after the test that used the name for something else."""
    cells = [check("samples = [1, 2, 3]\nassert f(1) == 1", "f")]
    for number, values in enumerate([[1, 2, 3], [0, 0, 0]]):
        cells += [
            answer(f"samples = {values}", f"g{number}", ["samples"]),
            check("assert samples == [1, 2, 3], samples\nsamples = None", f"g{number}"),
        ]
    outcome = graded(answer("def f(x):\n    return x"), *cells)
    assert points(outcome) == {"f": 1, "g0": 1, "g1": 0}


def test_a_given_name_stays_the_given_one_and_a_missing_name_is_missing() -> None:
    outcome = graded(
        given("W = 3"),
        answer("W = 4\nV = 5", "f", ["W", "V", "U"]),
        check("assert (W, V) == (3, 5)"),
        check("U", "missing"),
        extra("del V"),
        check("V", "deleted"),
        extra("W, V = 7, 8", "extra2"),
        check("assert (W, V) == (3, 8)", "again"),
    )
    assert points(outcome) == {"f": 1, "missing": 0, "deleted": 0, "again": 1}
    assert outcome.gaps[1].message == "NameError: name 'U' is not defined"


def test_a_redefinition_after_the_test_changes_no_mark() -> None:
    outcome = graded(
        answer("def f(x):\n    return x + 1"),
        check("assert f(1) == 2"),
        extra("def f(x):\n    return 0"),
        check("assert f(1) == 0", "g"),
    )
    assert points(outcome) == {"f": 1, "g": 1}


def test_names_are_fetched_for_the_test_that_needs_them_only() -> None:
    """A gap's enormous value costs that gap, however many tests come after it."""
    outcome = graded(
        given(IMPORTS),
        answer("huge = np.zeros(300_000)", "huge", ["huge"]),
        check("assert huge[0] == 0", "huge"),
        answer("def f(x):\n    return x"),
        given("class Uses:\n    def test(self):\n        return f(1)", "uses"),
        *(check("assert Uses().test() == 1", f"f{i}") for i in range(3)),
        limits=Limits(message=10**6, restarts=1),
    )
    assert points(outcome) == {"huge": 0, "f0": 1, "f1": 1, "f2": 1}
    assert outcome.gaps[0].ended_by == "message"


def test_a_given_cell_that_a_wrong_answer_breaks_is_not_the_graders_failure() -> None:
    cells = [
        given(IMPORTS),
        answer("def f(n):\n    return None"),
        check("x = f(3)\nassert x is not None"),
        given("y = f(3)", "a"),
        given("z = y + 1", "b"),
        given("total = z.sum() + x.sum()", "c"),
        answer("def g():\n    return 1", "g", ["g"]),
        check("assert g() == 1", "g"),
    ]
    assert points(graded(*cells)) == {"f": 0, "g": 1}
    broken = graded(*cells[:1], given("1 / 0", "own"), *cells[1:])
    assert broken.failure == "AuthorError: the given cell 'own' fails: ZeroDivisionError: division by zero"


def test_magics_and_timed_cells_of_given_code() -> None:
    outcome = graded(
        given("%matplotlib inline\n!true\nget_ipython().run_line_magic('who', '')\ndisplay(1)"),
        given("%%time\nright = 3", "timed"),
        answer("right = 4\ndef f():\n    return 4"),
        check("assert f() == right"),
    )
    assert points(outcome) == {"f": 0}


# Types: objects that lie

LIARS = """
class Meta(type):
    def __instancecheck__(cls, other): return True
    def __subclasscheck__(cls, other): return True
    def __eq__(cls, other): return True
    __hash__ = type.__hash__

def lie(base, *values):
    yes = lambda *a, **k: True
    zero = lambda *a, **k: 0.0
    names = {name: yes for name in "__eq__ __le__ __ge__ __lt__ __gt__ __bool__ __contains__".split()}
    names |= {name: zero for name in "__sub__ __rsub__ __abs__ __float__ __mod__ __truediv__".split()}
    names |= {"__ne__": lambda s, o: False, "__class__": property(lambda s: float), "shape": (), "ndim": 0}
    two = lambda *a, **k: np.array(2.0)
    names |= {"__array__": two, "__array_function__": yes, "__hash__": lambda s: 0}
    names |= {"__array_ufunc__": yes, "dtype": np.dtype(float), "numpy": two}
    names["__getattr__"] = lambda s, name: yes
    kind = Meta("float", (base,), names)
    return np.zeros(()).view(kind) if base is np.ndarray else kind(*values)

"""
MAKE = {
    "object": "lie(object)",
    "int": "lie(int, 7)",
    "float": "lie(float, 7.0)",
    "str": "lie(str, '2.0')",
    "list": "lie(list, [7.0])",
    "dict": "lie(dict)",
    "tuple": "lie(tuple, (7,))",
    "bytes": "lie(bytes, b'2.0')",
    "array": "lie(np.ndarray)",
    "numpy_float": "lie(np.float64, 7.0)",
    "class": "Meta('float', (), {})",
    "mock": "__import__('unittest.mock').mock.MagicMock()",
    "masked": "np.ma.masked_all(())",
    "nan": "float('nan')",
    "text": "'2.0'",
    "itself": "f",
}
DEMANDS = {
    "equal": "assert f(1) == 2",
    "reversed": "assert 2 == f(1)",
    "close": "assert abs(f(1) - 2) < 1e-6",
    "between": "assert 1.9 < f(1) < 2.1",
    "allclose": "assert np.allclose(f(1), 2)",
    "numpy": "np.testing.assert_allclose(f(1), 2)",
    "kind": "assert isinstance(f(1), float) and f(1) == 2",
    "stattests": "stattests.assert_close('f', f(1), 2.0)",
    "length": "assert len(f(1)) == 5",
    "member": "assert 2 in f(1)",
    "number": "assert float(f(1)) == 2 and int(f(1)) == 2",
}


def test_objects_that_lie_gain_nothing() -> None:
    """Each against each way to compare. They exist in S only; T has their plain content or a stand-in."""
    cells = [given(IMPORTS), extra(LIARS + "saved = 0")]
    for liar, made in MAKE.items():
        cells.append(answer(f"def f(x):\n    return {made}", liar))
        cells += [check(demand, f"{liar} {name}") for name, demand in DEMANDS.items()]
    outcome = graded(*cells)
    assert len(outcome.gaps) == len(MAKE) * len(DEMANDS)
    empty = {"mock allclose", "mock numpy"}  # NumPy takes it for an empty array, in a notebook as well
    assert {gap.gap: gap.message for gap in outcome.gaps if gap.points and gap.gap not in empty} == {}
    assert outcome.failure == "" and outcome.suspicions == () and outcome.limits_hit == ()
    assert all(gap.error for gap in outcome.gaps if gap.gap not in empty)


def test_a_wrong_type_is_named_as_the_student_knows_it() -> None:
    outcome = graded(
        given(IMPORTS),
        answer("class Normal:\n    pass\n\ndef f(x):\n    return Normal()"),
        check("stattests.assert_array('f(x)', f(1), (3,))"),
        check("f(1)[0]", "index"),
        check("stattests.assert_array('f', f, (3,))", "function"),
    )
    assert "got a Normal" in outcome.gaps[0].message
    assert "'Normal' object is not subscriptable" in outcome.gaps[1].message
    assert "got a function" in outcome.gaps[2].message


# Exceptions


@pytest.mark.parametrize("kind", ["StopIteration", "StopAsyncIteration", "GeneratorExit", "Own"])
def test_no_exception_ends_a_loop_without_ending_the_test(kind: str) -> None:
    source = f"class Own(StopIteration):\n    pass\n\ndef f(x):\n    raise {kind}(0)"
    outcome = graded(answer(source), check("for y in map(f, [1, 2, 3]):\n    assert y > 0"))
    assert not only(outcome).passed and only(outcome).error == kind


HOSTILE = {
    "raising": "class E(Exception):\n    def __str__(self): raise ValueError('no')\n    __repr__ = __str__",
    "exiting": "class E(Exception):\n    def __str__(self): raise SystemExit(0)",
    "number": "class E(Exception):\n    def __str__(self): return 5",
    "subclass": "class S(str):\n    __eq__ = lambda s, o: True\n"
    "class E(Exception):\n    def __str__(self): return S('x')",
    "enormous": "class E(Exception):\n    def __str__(self): return 'x' * 10**7",
    "half": "class E(Exception):\n    def __str__(self): return 'a\\ud800b\\0c'",
    "exit": "E = SystemExit",
    "interrupt": "E = KeyboardInterrupt",
    "memory": "E = MemoryError",
    "group": "E = lambda: ExceptionGroup('x', [ValueError()])",
    "forged": "class E(BaseException):\n    __module__ = 'builtins'\nE.__name__ = 'StopIteration'",
    "unnamed": "class M(type):\n    __name__ = property(lambda c: 1 / 0)\n"
    "class E(Exception, metaclass=M):\n    pass",
    "author": "class AuthorError(Exception):\n    pass\nE = AuthorError",
    "ended": "class StudentEnded(Exception):\n    pass\nE = StudentEnded",
    "time": "class TimeLimit(Exception):\n    pass\nE = TimeLimit",
}


def test_hostile_exceptions_end_their_own_test_only() -> None:
    cells = []
    for name, source in HOSTILE.items():
        cells += [answer(f"{source}\ndef f(x):\n    raise E()", name), check("assert f(1) == 2", name)]
        cells += [
            answer("def f(x):\n    return 2", f"{name}, right"),
            check("assert f(1) == 2", f"{name}, right"),
        ]
    outcome = graded(*cells, limits=Limits(restarts=len(HOSTILE)))
    assert points(outcome) == {gap: float("right" in gap) for gap in points(outcome)}
    assert outcome.suspicions == ()
    for gap in outcome.gaps:
        for text in (gap.message, gap.error, gap.traceback):
            assert len(text) <= 20_000 and "\0" not in text
            text.encode("utf-8")


@pytest.mark.parametrize(
    "kind", ["ValueError", "KeyError", "UnicodeDecodeError", "FileNotFoundError", "AssertionError"]
)
def test_a_standard_exception_is_raised_as_such(kind: str) -> None:
    made = "b'\\xff'.decode()" if kind == "UnicodeDecodeError" else f"raise {kind}('because')"
    caught = "UnicodeError" if kind == "UnicodeDecodeError" else kind
    outcome = graded(
        answer(f"def f(x):\n    {made}"),
        check(f"try:\n    f(1)\nexcept {caught} as error:\n    assert str(error)\nelse:\n    assert False"),
    )
    assert only(outcome).passed, only(outcome).message


# What a visible test accepts crosses

KINDS = {
    "list": "[1.0, 2.0]",
    "tuple": "(1, 2)",
    "array": "np.array([1.0, 2.0])",
    "float16": "np.array([1, 2], 'f2')",
    "longdouble": "np.array([1, 2], np.longdouble)",
    "big_endian": "np.array([1, 2], '>f8')",
    "matrix": "np.matrix([1.0, 2.0])",
    "masked": "np.ma.masked_array([1.0, 2.0], [False, True])",
    "list_of_arrays": "[np.float32(1), np.array(2.0)]",
    "array_like": "ArrayLike([1.0, 2.0])",
    "buffer": "array.array('d', [1, 2])",
    "memory": "memoryview(np.array([1.0, 2.0]))",
    "bytearray": "bytearray([1, 2])",
    "bytes": "bytes([1, 2])",
    "deque": "collections.deque([1, 2])",
    "user_list": "collections.UserList([1, 2])",
    "range": "range(1, 3)",
    "sequence": "Pair()",
    "enumeration": "[Level.LOW, Level.HIGH]",
    "float_of_its_own": "[Real(1), Real(2)]",
    "fractions": "[fractions.Fraction(1), fractions.Fraction(2)]",
    "set": "{1, 2}",
    "dict": "{0: 1, 1: 2}",
    "values": "{0: 1, 1: 2}.values()",
    "iterator": "iter([1, 2])",
    "text": "'12'",
    "texts": "['1', '2']",
    "ragged": "[[1], [1, 2]]",
    "objects": "np.array([1, None])",
    "complex": "np.array([1, 2 + 0j])",
    "dates": "np.array(['2024-01-01'] * 2, 'M8[D]')",
    "broken": "ArrayLike(None)",
    "none": "None",
}
TENSORS = {
    "tensor": "tf.constant([1.0, 2.0])",
    "bfloat16": "tf.constant([1.0, 2.0], tf.bfloat16)",
    "variable": "tf.Variable([1.0, 2.0])",
    "keras": "keras.Variable([1.0, 2.0])",
    "deferred": "tfp.util.DeferredTensor(tf.Variable([1.0, 2.0]), lambda x: x)",
    "transformed": "tfp.util.TransformedVariable([1.0, 2.0], tfp.bijectors.Exp())",
    "tensors": "[tf.constant(1.0), tf.constant(2.0)]",
    "ragged_tensor": "tf.ragged.constant([[1.0], [1.0, 2.0]])",
    "sparse": "tf.sparse.from_dense([1.0, 2.0])",
    "slices": "tf.IndexedSlices(tf.constant([1.0, 2.0]), [0, 1])",
    "distribution": "tfp.distributions.Normal(1.0, 2.0)",
    "symbolic": "keras.Input((2,))",
}
KINDS_GIVEN = """
import array, collections, enum, fractions
import numpy as np
from utils import stattests

class ArrayLike:
    def __init__(self, values): self.values = values
    def __array__(self, dtype=None, copy=None):
        if self.values is None: raise TypeError("no array")
        return np.array(self.values, dtype)

class Pair:
    def __len__(self): return 2
    def __getitem__(self, i): return [1.0, 2.0][i]

class Level(enum.IntEnum):
    LOW, HIGH = 1, 2

class Real(float):
    pass
"""
DEMAND = "stattests.assert_close('f()', f(), np.array([1.0, 2.0]), rtol=0.02)"


def same_verdicts(kinds: dict[str, str], setup: str) -> set[str]:
    """The kinds that pass; AssertionError if the notebook and the grader differ."""
    cells = [given("import numpy as np\nfrom utils import stattests"), extra(setup)]
    alone = set()
    namespace: dict[str, Any] = {}
    exec(setup, namespace)
    for name, made in kinds.items():
        source = f"def f():\n    return {made}"
        cells += [answer(source, name), check(DEMAND, name)]
        exec(source, namespace)
        with contextlib.suppress(AssertionError):
            exec(DEMAND, namespace)
            alone.add(name)
    outcome = graded(*cells)
    assert outcome.limits_hit == () and outcome.suspicions == ()
    assert {name for name, mark in points(outcome).items() if mark} == alone
    return alone


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_a_notebook_and_the_grader_accept_the_same_kinds() -> None:
    passing = same_verdicts(KINDS, KINDS_GIVEN)
    assert {"array_like", "buffer", "deque", "range", "sequence"} <= passing
    assert not {"bytes", "texts", "values", "iterator", "set", "broken", "fractions"} & passing


def test_a_notebook_and_the_grader_accept_the_same_kinds_of_tensors() -> None:
    pytest.importorskip("tensorflow_probability")
    setup = f"{KINDS_GIVEN}\nimport keras, tensorflow as tf, tensorflow_probability as tfp"
    assert {"bfloat16", "keras", "deferred", "transformed", "tensors"} <= same_verdicts(TENSORS, setup)


def test_a_text_or_number_of_its_own_type_equals_what_it_is() -> None:
    source = "class T(str): pass\nclass N(int): pass\n"
    source += "def f(x):\n    return T('ab') if x else [N(3), bytearray(b'x')]"
    outcome = graded(answer(source), check("assert f(1) == 'ab' and f(0) == [3, b'x'] and f(0)[0] + 1 == 4"))
    assert only(outcome).passed, only(outcome).message


# Sizes: of an answer with all that it mentions, and of what a submission shows


TOO_MUCH = {
    "one list many times": "return [x] * 340_000",
    "one array many times": "return [w] * 340_000",
    "each other": "x[:], y[:] = [y] * 1000, [x] * 1000",
    "deeper and deeper": "for a, b in zip(z, z[1:]):\n        a[:] = [b, b]",
}


@pytest.mark.parametrize("source", TOO_MUCH.values(), ids=TOO_MUCH)
def test_an_answer_that_mentions_one_thing_many_times(source: str) -> None:
    """It is counted as often: neither the test nor the process that runs it walks through it for ever."""
    start = time.process_time()
    outcome = graded(
        given("import numpy as np"),
        answer(f"def f(x, y, w, *z):\n    {source}\n    return x"),
        check(
            "x, y, z = list(range(10_000)), [2], [[i] for i in range(60)]\n"
            "answer = f(x, y, np.zeros(10**5), *z)\nassert np.array_equal([answer, x, y, z[0]], 5)"
        ),
        answer("def g():\n    return 1", "g", ["g"]),
        check("assert g() == 1", "g"),
        limits=Limits(message=2**22),
    )
    assert points(outcome) == {"f": 0, "g": 1}
    assert outcome.gaps[0].ended_by == "message" and "returned more data" in outcome.gaps[0].message
    assert time.process_time() - start < 10


def test_a_change_comes_once_and_each_of_its_arrays_too() -> None:
    forged = """
    import gc
    server = next(x for x in gc.get_objects() if type(x).__name__ == "Server" and hasattr(x, "channel"))
    original = server.call
    def forge(request, blobs):
        answer, sent = original(request, blobs)
        return answer | {"changed": [[0, {"t": "array", "k": "numpy", "b": 0}]] * 100_000}, sent
    server.call = forge
    def f(x):
        return np.zeros(10**6)
    """
    start = time.process_time()
    outcome = graded(
        given("import numpy as np"), extra("import numpy as np"), answer(forged), check("f(np.zeros(3))")
    )
    assert only(outcome).points == 0 and outcome.suspicions and time.process_time() - start < 10


def test_what_a_submission_shows_is_limited_as_a_whole() -> None:
    source = "from IPython.display import HTML, display\nfor i in range(50):\n    display(HTML('█' * 5000))"
    cells = [extra(source, f"extra{i}") for i in range(60)]
    outcome = graded(
        *cells, answer("def f():\n    return 1"), check("assert f() == 1"), limits=Limits(output=50_000)
    )
    assert points(outcome) == {"f": 1}
    shown = [output for cell in outcome.cells for output in cell.outputs]
    assert len(json.dumps(shown)) < 1.5e6  # 60 cells of 250 kB each without
    assert sum("outputs of this notebook were left out" in str(output) for output in shown) == 1


def test_a_cell_too_long_to_send_costs_its_own_marks_only() -> None:
    outcome = graded(
        extra(f"text = '{'ä' * 4_000_000}'"),
        answer("def f():\n    return 1"),
        check("assert f() == 1"),
    )
    assert points(outcome) == {"f": 1}
    assert "more than 1,000,000 characters" in outcome.cells[0].outputs[0]["evalue"]


def test_objects_in_an_array_are_the_students_fault() -> None:
    outcome = graded(
        given("import numpy as np"),
        answer("def f(x):\n    return object()"),
        check("f(np.asarray([f(1), f(2)]))"),
        answer("def g():\n    return 1", "g", ["g"]),
        check("assert g() == 1", "g"),
    )
    assert points(outcome) == {"f": 0, "g": 1}


# Hidden parts: what they do is not shown, what they read is not asked for

HIDDEN_TEST = f"""
print("T, before")
assert f(1) == 1
### {BEGIN}
# Another number.
print("T, hidden")
for number in [4711]:
    assert f(number) == number
### {END}
print("T, after")
assert f(2) == 2
"""


@pytest.mark.parametrize("show", ["print(x)", "sys.stderr.write(str(x))", "os.write(1, str(x).encode())"])
def test_nothing_is_shown_of_what_is_printed_while_a_hidden_part_runs(show: str) -> None:
    source = f"import os, sys\ndef f(x):\n    {show}\n    display(x)\n    return x"
    outcome = graded(answer(source), check(HIDDEN_TEST))
    assert only(outcome).passed
    said = str(outcome.cells[-1].outputs)
    assert "4711" not in said and "T, hidden" not in said
    assert "T, before" in said and "T, after" in said and said.count("'text/plain'") == 2


def test_an_indented_hidden_part_is_hidden_too() -> None:
    test = (
        f"def check(x):\n    assert f(x) == x\n    ### {BEGIN}\n    assert f(x + 4000) == 0\n    ### {END}\n"
    )
    test += "check(1)"
    outcome = graded(answer("def f(x):\n    print('got', x)\n    return x"), check(test))
    assert only(outcome).hidden and "4001" not in str(outcome.cells[-1].outputs)
    assert "got 1" in str(outcome.cells[-1].outputs)


SPY = """
import gc
server = next(x for x in gc.get_objects() if type(x).__name__ == "Server" and hasattr(x, "channel"))
seen, original = [], server.values
def log(request, blobs):
    seen.append(request["names"])
    return original(request, blobs)
server.values = log
def f(x):
    return x
def secret_oracle(x):
    return 0
"""


def test_the_names_that_are_asked_for_do_not_depend_on_hidden_parts() -> None:
    asked = []
    for hidden in (
        "pass",
        "def secret_helper(secret_argument):\n    return secret_oracle(secret_argument) + secret_number\n"
        "secret_value = secret_list = f\nassert f(3) == 3 or g(1)",
    ):
        outcome = graded(
            answer(SPY),
            check(f"def shown(y):\n    return f(y)\n### {BEGIN}\n{hidden}\n### {END}\nassert shown(1) == 1"),
            answer("def g(x):\n    return x", "g", ["g"]),
            given("def given_part(z):\n    return g(z)"),
            check("assert given_part(shown(2)) == 2", "g"),
            extra("print(seen)"),
        )
        assert points(outcome) == {"f": 1, "g": 1}
        asked.append(outcome.cells[-1].outputs[0]["text"])
    assert asked[0] == asked[1] and "secret" not in asked[0]
    assert asked[0].strip() == "[['f', 'g'], ['g'], ['f', 'g']]"


# Cells that do not run

PACKAGES_SAID = "packages that answers may use: numpy, scipy, sklearn"


def test_a_gap_cell_that_does_not_run_shows_its_own_error() -> None:
    outcome = graded(
        answer("import torch_of_colab\ndef f(x):\n    return x"),
        check("assert f(1) == 1"),
        answer("raise NotImplementedError('write your answer here')", "values", ["values"]),
        check("assert values == 1", "values"),
        answer("def g(x):\n    import pandas_of_colab", "g", ["g"]),
        check("g(1)", "g"),
    )
    f, values, g = (gap.message for gap in outcome.gaps)
    cause = "stopped with ModuleNotFoundError: No module named 'torch_of_colab'"
    assert f.startswith(f"the cell of this gap {cause}; {PACKAGES_SAID}")
    assert values == "the cell of this gap stopped with NotImplementedError: write your answer here"
    assert g.startswith(f"ModuleNotFoundError: No module named 'pandas_of_colab'; {PACKAGES_SAID}")


def test_an_import_in_an_earlier_cell_is_named_where_its_name_is_missing() -> None:
    outcome = graded(
        extra("import torch_of_colab as torch"),
        answer("def f(x):\n    return torch.ones(x)"),
        check("f(1)"),
    )
    said = "NameError: name 'torch' is not defined; an earlier cell, extra1, stopped with ModuleNotFoundError"
    assert only(outcome).message.startswith(said) and PACKAGES_SAID in only(outcome).message


def test_the_packages_are_those_of_the_documents_and_are_there() -> None:
    text = " ".join((ROOT / "docs" / "students.md").read_text().split())
    assert PACKAGES in text
    for name in PACKAGES.split(", "):
        assert importlib.util.find_spec(name) is not None, name


@pytest.mark.parametrize("leave", ["exit()", "quit()", "exit", "get_ipython().ask_exit()"])
def test_leaving_python_is_answered_in_a_sentence(leave: str) -> None:
    outcome = graded(extra(leave), answer(f"def f():\n    {leave}\n    return 1"), check("assert f() == 1"))
    assert points(outcome) == {"f": 1}
    assert "exit() and quit() end nothing here" in str(outcome.cells[0].outputs)
    assert "Shell" not in str(outcome.cells[0].outputs)


# What the student's process prints, and its end


def test_texts_that_no_file_can_hold_are_mended() -> None:
    outcome = graded(
        answer("print('a\\ud800\\0b')\ndef f(x):\n    return 'c\\udfff'"),
        check("value = f(1)\nprint(value)\nassert value == 'd', f'got {value}'"),
        extra("raise ValueError('\\ud800')"),
    )
    assert not only(outcome).passed and "got c?" in only(outcome).message
    for cell in outcome.cells:
        for output in cell.outputs:
            for text in (output.get("text", ""), output.get("evalue", ""), *output.get("traceback", ())):
                text.encode("utf-8")
                assert "\0" not in text


@pytest.mark.parametrize("text", ["x", "█", "🎲", "\\0", "\\n"])
def test_endless_printing_is_cut_at_its_source_and_nothing_else_ends(text: str) -> None:
    outcome = graded(
        answer(
            f"""
            import sys
            for i in range(300):
                print('{text}' * 1000)
                sys.stderr.write('{text}')
            def f(x):
                return x
            """
        ),
        check("assert f(1) == 1"),
        limits=Limits(output=100_000),
    )
    assert points(outcome) == {"f": 1}
    printed = "".join(output["text"] for output in outcome.cells[0].outputs)
    assert len(printed) < 110_000 and "was cut" in printed


def test_figures_and_errors_without_end_are_cut_too() -> None:
    source = """
    from IPython.display import HTML, display
    for i in range(300):
        display(HTML("█" * 100_000))
    for i in range(100):
        get_ipython().run_cell("raise ValueError('x' * 10**6)")
    def f(x):
        return x
    """
    outcome = graded(answer(source), check("assert f(1) == 1"))
    assert points(outcome) == {"f": 1} and outcome.limits_hit == ()
    assert len(str(outcome.cells[0].outputs)) < 8 * 2**20


def test_many_answers_with_much_text_do_not_add_up() -> None:
    outcome = graded(
        answer("def f(x):\n    print('x' * 10**5)\n    return x"),
        check("for i in range(100):\n    assert f(i) == i"),
        limits=Limits(output=100_000),
    )
    assert points(outcome) == {"f": 1} and len(str(outcome.cells[-1].outputs)) < 10**6


def test_a_process_that_ends_costs_the_calls_that_it_did_not_answer() -> None:
    outcome = graded(
        given("import os\nkept = 5"),
        answer(
            "import os\nclass Thing:\n    n = 1\ndef f(x):\n    return os._exit(0) if x == 2 else x + kept",
            "f",
            ["f", "Thing"],
        ),
        check("thing = Thing()\nassert f(1) == 6"),
        check("f(2)", "dies"),
        extra("import os\nos._exit(0)"),
        check("assert f(3) == 8 and Thing().n == 1", "anew"),
        check("thing.n", "old"),
    )
    assert points(outcome) == {"f": 1, "dies": 0, "anew": 1, "old": 0}
    assert outcome.gaps[1].ended_by == "died" and "started anew" in outcome.gaps[3].message


@pytest.mark.parametrize("way", ["pass", "time.sleep(0.01)"])
def test_an_endless_loop_that_catches_everything(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr(link, "GRACE", 0.3)
    loop = f"""
    import time
    def f(x):
        while x:
            try:
                while True:
                    {way}
            except BaseException:
                pass
    """
    start = time.monotonic()
    outcome = graded(
        answer(loop),
        check("f(1)"),
        check("assert f(0) is None", "after"),
        limits=Limits(cell_seconds=0.5),
    )
    assert points(outcome) == {"f": 0, "after": 1} and outcome.gaps[0].ended_by == "time"
    assert time.monotonic() - start < 100


def test_an_honest_endless_loop_has_a_line() -> None:
    outcome = graded(
        answer("def f(x):\n    while True:\n        x += 1"),
        check("f(1)"),
        limits=Limits(cell_seconds=0.5),
    )
    assert only(outcome).ended_by == "time" and "endless loop" in only(outcome).message


def test_the_seed_is_secret() -> None:
    outcome = graded(
        given(IMPORTS),
        answer("import os\nseen = os.environ.get('LGM_GRADING_SEED', 'nothing')", "f", ["seen"]),
        check("assert seen == 'nothing'\nprint(stattests.grading_rng('f').integers(10**6))"),
        seed=99,
    )
    assert only(outcome).passed
    other = np.random.default_rng(0)  # the generator is the assignment's, not the one of a notebook
    assert other is not None and outcome.cells[-1].outputs[0]["text"].strip().isdigit()


@pytest.mark.slow
def test_asserts_stay_where_python_leaves_them_out() -> None:
    """PYTHONOPTIMIZE in the environment of an instructor must not give everybody full marks."""
    code = (
        "import sys; from tests.grading.execution import test_runtime as t\n"
        "outcome = t.graded(t.answer('def f(x):\\n    return 0'), t.check('assert f(1) == 1'))\n"
        "sys.exit(3 if outcome.failure or outcome.gaps[0].passed else 0)"
    )
    done = subprocess.run([sys.executable, "-O", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
