"""Gradients against closed forms: of a function in this process, and of one in the student's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from grading.execution.endings import StudentError
from grading.execution.local import PlainLifeline
from grading.execution.trusted import Session
from grading.model import Assignment, CleanCell, Job, TrustedCell
from utils.gradients import grad_of

tf = pytest.importorskip("tensorflow")

FUNCTIONS = """
import numpy as np
import tensorflow as tf


def square(x):
    return x**2


def sample(mu, s, eps):
    return mu + tf.exp(s) * eps


def straight_through(x):
    return x + tf.stop_gradient(tf.round(x) - x)


def quadratic_form(x, A, scale=1.0):
    return scale * tf.einsum("bi,ij,bj->b", x, A, x)


def two(x, y):
    return {"a": x * y, "b": [y**3]}


def cut(x, y):
    return tf.stop_gradient(x) * y


def scaled(W, x):
    return tf.linalg.matvec(W, x)


def in_numpy(x):
    return np.square(np.asarray(x))


def vandal(x, y):
    y[...] = 0
    return x * tf.stop_gradient(tf.constant(2.0))


def two_types(x):
    return 2 * x, tf.cast(3 * x, tf.float64)


def broken(x):
    raise KeyError("not there")
"""

NAMES = (
    "square sample straight_through quadratic_form two cut scaled in_numpy vandal two_types broken".split()
)


@pytest.fixture(scope="module", params=["direct", "through a proxy"])
def functions(request: pytest.FixtureRequest) -> Iterator[dict[str, Callable[..., Any]]]:
    """The functions as a test has them: in a student's own notebook, and in the grader."""
    if request.param == "direct":
        namespace: dict[str, Any] = {}
        exec(FUNCTIONS, namespace)
        yield namespace
        return
    test = TrustedCell("test", "test", "\n".join(NAMES), gap="g")
    cells = (TrustedCell("g", "solution", "", gap="g", defines=tuple(NAMES)), test)
    session = Session(Job("p", Assignment("week00_none", cells), ((),), 1), 0, PlainLifeline())
    try:
        session.student_cell(CleanCell("g", "solution", FUNCTIONS))
        session.bind(test)
        assert all(hasattr(session.namespace[name], "gradients_elsewhere") for name in NAMES)
        session.link.begin("test")
        yield session.namespace
    finally:
        session.link.stop()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_a_square(functions: dict[str, Any]) -> None:
    (gradient,) = grad_of(functions["square"], [np.array([1.0, -2.0, 3.5])])
    assert isinstance(gradient, tf.Tensor) and gradient.dtype == tf.float64
    assert gradient.numpy().tolist() == [2.0, -4.0, 7.0]


@pytest.mark.parametrize("kind", [float, np.float32, tf.constant, tf.Variable])
def test_a_number_of_any_kind(functions: dict[str, Any], kind: Callable[[float], Any]) -> None:
    (gradient,) = grad_of(functions["square"], [kind(1.5)])
    assert gradient.shape == () and float(gradient) == 3.0


def test_the_reparameterised_sample(functions: dict[str, Any], rng: np.random.Generator) -> None:
    mu, s, eps = rng.normal(size=(3, 4, 2)).astype(np.float32)
    d_mu, d_s, d_eps = grad_of(functions["sample"], [mu, s, eps], wrt=[0, 1, 2])
    np.testing.assert_allclose(d_mu, np.ones((4, 2)))
    np.testing.assert_allclose(d_s, np.exp(s) * eps, rtol=1e-5)
    np.testing.assert_allclose(d_eps, np.exp(s), rtol=1e-5)


def test_only_what_is_asked_for_and_in_that_order(functions: dict[str, Any]) -> None:
    mu, s, eps = (np.float32(x) for x in (0.5, 0.0, 3.0))
    (d_s,) = grad_of(functions["sample"], [mu, s, eps], wrt=[1])
    assert float(d_s) == 3.0
    d_eps, d_mu = grad_of(functions["sample"], [mu, s, eps], wrt=(2, 0))
    assert (float(d_eps), float(d_mu)) == (1.0, 1.0)


def test_straight_through(functions: dict[str, Any]) -> None:
    (gradient,) = grad_of(functions["straight_through"], [np.array([0.2, 0.7, -1.4])])
    assert gradient.numpy().tolist() == [1.0, 1.0, 1.0]


def test_options_and_a_matrix(functions: dict[str, Any], rng: np.random.Generator) -> None:
    x, A = rng.normal(size=(5, 3)), rng.normal(size=(3, 3))
    d_x, d_A = grad_of(functions["quadratic_form"], [x, A], wrt=[0, 1], scale=2.0)
    np.testing.assert_allclose(d_x, 2 * x @ (A + A.T))
    np.testing.assert_allclose(d_A, 2 * x.T @ x)


def test_the_sum_over_all_parts_of_the_result(functions: dict[str, Any]) -> None:
    x, y = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    d_x, d_y = grad_of(functions["two"], [x, y], wrt=[0, 1])
    np.testing.assert_allclose(d_x, y)
    np.testing.assert_allclose(d_y, x + 3 * y**2)


def test_no_dependence_is_none(functions: dict[str, Any]) -> None:
    d_x, d_y = grad_of(functions["cut"], [np.float32(2.0), np.float32(5.0)], wrt=[0, 1])
    assert d_x is None and float(d_y) == 2.0
    assert grad_of(functions["in_numpy"], [np.array([1.0, 2.0])]) == [None]


def test_variables(functions: dict[str, Any], rng: np.random.Generator) -> None:
    W, x = tf.Variable(rng.normal(size=(2, 3))), rng.normal(size=3)
    (d_W,) = grad_of(functions["scaled"], [W, x])
    assert not isinstance(d_W, tf.Variable)
    np.testing.assert_allclose(d_W, np.tile(x, (2, 1)))


def test_an_exception_of_the_function_arrives(functions: dict[str, Any]) -> None:
    with pytest.raises((KeyError, StudentError), match="not there"):
        grad_of(functions["broken"], [1.0])


def test_in_the_grader_nothing_is_changed_in_place(functions: dict[str, Any]) -> None:
    """Gradients have no side effects to wait for, and an oracle that is computed afterwards stays right."""
    x, y = np.float32(3.0), np.ones(2, np.float32)
    (gradient,) = grad_of(functions["vandal"], [x, y])
    assert float(gradient) == 2.0
    if hasattr(functions["vandal"], "gradients_elsewhere"):
        assert y.tolist() == [1.0, 1.0]


def test_results_of_two_types_are_summed(functions: dict[str, Any]) -> None:
    (gradient,) = grad_of(functions["two_types"], [np.ones(2, np.float32)])
    np.testing.assert_allclose(gradient, [5, 5])
    assert gradient.dtype == tf.float32
