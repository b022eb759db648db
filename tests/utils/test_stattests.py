"""What the exercises' tests rest on: bounds that hold, checks that cannot be fooled, clear messages."""

from __future__ import annotations

import math

import numpy as np
import pytest

from utils import stattests
from utils.stattests import assert_array, assert_close, assert_mean

# --- Tolerances ----------------------------------------------------------------------------------


def test_hoeffding_solves_its_equation():
    t = stattests.hoeffding_tolerance(1000, -1, 2, alpha=1e-3, comparisons=4)
    assert 2 * math.exp(-2 * 1000 * t**2 / 9) == pytest.approx(1e-3 / 4)


def test_bernstein_solves_its_equation():
    t = stattests.bernstein_tolerance(500, variance=0.02, bound=0.9, alpha=1e-4, comparisons=3)
    assert 2 * math.exp(-500 * t**2 / (2 * (0.02 + 0.9 * t / 3))) == pytest.approx(1e-4 / 3)


def test_subgaussian_solves_its_equation():
    t = stattests.subgaussian_tolerance(50, sigma=2.5, alpha=1e-6, comparisons=2)
    assert 2 * math.exp(-50 * t**2 / (2 * 2.5**2)) == pytest.approx(1e-6 / 2)


def test_defaults_and_order():
    assert stattests.hoeffding_tolerance(100, 0, 1) == stattests.hoeffding_tolerance(100, 0, 1, 1e-6, 1)
    # Values within [0, 1] are sub-Gaussian with 1/2; a rare event is where Bernstein's bound pays.
    assert stattests.subgaussian_tolerance(100, 0.5) == pytest.approx(
        stattests.hoeffding_tolerance(100, 0, 1)
    )
    rare = stattests.bernstein_tolerance(10_000, 0.01 * 0.99, 0.99)
    assert rare < stattests.hoeffding_tolerance(10_000, 0, 1) / 2


@pytest.mark.parametrize("p", [0.5, 0.05])
@pytest.mark.parametrize("n", [5, 200])
def test_bounds_hold_exactly(n, p):
    """The tail of a binomial mean, summed exactly, is below alpha at each tolerance."""
    from scipy.stats import binom

    alpha = 0.05
    for t in (
        stattests.hoeffding_tolerance(n, 0, 1, alpha),
        stattests.bernstein_tolerance(n, p * (1 - p), max(p, 1 - p), alpha),
        stattests.subgaussian_tolerance(n, 0.5, alpha),
    ):
        counts = np.arange(n + 1)
        assert binom.pmf(counts, n, p)[np.abs(counts / n - p) >= t].sum() <= alpha


def test_false_alarms_and_power():
    """2,000 right answers at alpha = 0.05 over three comparisons; then wrong ones."""
    rng = np.random.default_rng(0)
    p = np.array([0.1, 0.5, 0.8])
    t = stattests.bernstein_tolerance(400, float((p * (1 - p)).max()), 0.9, alpha=0.05, comparisons=3)

    def rejected(rate):
        try:
            assert_mean(rng.random((400, 3)) < rate, p, t, "units switched on")
        except AssertionError:
            return 1
        return 0

    alarms = sum(rejected(p) for _ in range(2000))
    assert alarms <= 2000 * 0.05, "the union bound holds"
    assert alarms > 0, "and is not absurdly loose"
    assert sum(rejected(p + 0.12) for _ in range(100)) > 90


def test_gaussian_false_alarms():
    rng = np.random.default_rng(1)
    t = stattests.subgaussian_tolerance(30, sigma=2.0, alpha=0.05)
    means = 2.0 * rng.standard_normal((4000, 30)).mean(axis=1)
    share = np.mean(np.abs(means) > t)
    assert 0 < share < 0.05


@pytest.mark.parametrize(
    "call",
    [
        lambda: stattests.hoeffding_tolerance(0, 0, 1),
        lambda: stattests.hoeffding_tolerance(10, 1, 1),
        lambda: stattests.bernstein_tolerance(10, -0.1, 1),
        lambda: stattests.bernstein_tolerance(10, 0.1, math.nan),
        lambda: stattests.subgaussian_tolerance(10, 1, alpha=0),
        lambda: stattests.subgaussian_tolerance(10, 1, comparisons=0),
    ],
)
def test_nonsense_is_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()


def mean_distance(x, y):
    return abs(x.mean() - y.mean())


def test_permutation_test_level_and_power():
    rng = np.random.default_rng(0)
    p_values = [
        stattests.permutation_test(rng.normal(size=12), rng.normal(size=8), mean_distance, n=39, seed=i)
        for i in range(300)
    ]
    assert min(p_values) == 1 / 40
    # P(p ≤ 0.1) ≤ 0.1; Binomial(300, 0.1) exceeds 55 with probability 5e-6.
    assert sum(p <= 0.1 + 1e-12 for p in p_values) <= 55
    shifted = stattests.permutation_test(rng.normal(size=60), rng.normal(2, 1, size=60), mean_distance, n=999)
    assert shifted == 1 / 1000


def test_permutation_test_is_exact_on_a_tiny_case():
    """Of the six ways to deal {0,0,1,1} two and two, the two extreme ones reach the observed distance."""
    p = stattests.permutation_test([0, 0], [1, 1], mean_distance, n=20_000, seed=0)
    assert abs(p - 1 / 3) < 0.02
    assert stattests.permutation_test([1, 1], [1, 1], mean_distance, n=99) == 1


# --- Assertions ----------------------------------------------------------------------------------


class Yes:
    """Claims to equal everything, and more."""

    shape, dtype, ndim = (3,), np.dtype(float), 1

    def __eq__(self, other):
        return True

    def _same(self, *args):
        return self

    __sub__ = __rsub__ = __le__ = __ge__ = __lt__ = __gt__ = __abs__ = _same

    def __bool__(self):
        return True

    def all(self):
        return True


class YesArray(np.ndarray):
    def __eq__(self, other):
        return np.ones(self.shape, bool)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return np.zeros(self.shape)


@pytest.mark.parametrize(
    "fake", [Yes(), [Yes(), Yes(), Yes()], np.array([Yes()] * 3, dtype=object), np.ones(3).view(YesArray)]
)
def test_permissive_objects_are_rejected(fake):
    with pytest.raises(AssertionError):
        assert_close("x", fake, [1.0, 2.0, 3.0])
    with pytest.raises(AssertionError):
        assert_mean(fake, 2.0, 0.1, "x")


def tensorflow_tensor(values):
    tf = pytest.importorskip("tensorflow")
    return tf.constant(values)


@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        np.array,
        lambda v: np.array(v, np.float32),
        lambda v: [np.float64(x) for x in v],
        tensorflow_tensor,
    ],
)
def test_any_kind_of_right_answer_passes(make):
    expected = np.log([2.0, 3.0, 5.0])
    returned = assert_close("x", make(expected.tolist()), expected)
    assert type(returned) is np.ndarray
    assert_mean(make(expected.tolist()), float(expected.mean()), 1e-6, "x")


def test_scalars():
    assert_close("log Z", np.float32(3.5), 3.5)
    assert_close("log Z", tensorflow_tensor(3.5), 3.5)
    assert_close("count", True, 1)
    with pytest.raises(AssertionError, match=r"log Z: wrong value: 3.6, but 3.5 is right"):
        assert_close("log Z", 3.6, 3.5)


@pytest.mark.parametrize(
    ("value", "shape", "words"),
    [
        (np.zeros((8, 1)), (8,), "shape (8,) expected, got (8, 1): did you keep the last axis?"),
        (np.zeros((1, 8)), (8,), "did you keep axis 0 as an axis?"),
        (np.zeros((8, 5)), (8,), "is a sum or mean over axis 1 missing?"),
        (np.zeros((5, 8)), (8, 5), "are the axes swapped (transposed)?"),
        (0.0, (8,), "shape (8,) expected, got (): did you sum or average over everything, the batch too?"),
        (np.zeros(8), (8, 5), "did you sum or average over one axis too many?"),
        (np.zeros(7), (8,), "shape (8,) expected, got (7,)"),
        (np.zeros((3, 4, 2)), (None, 4), "shape (any, 4) expected, got (3, 4, 2)"),
    ],
)
def test_shape_messages(value, shape, words):
    with pytest.raises(AssertionError) as error:
        assert_array("free_energy", value, shape)
    assert words in str(error.value) and str(error.value).startswith("free_energy: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "is None: is a `return` missing?"),
        ([1.0, math.nan, math.inf], "1 NaN and 1 infinite of 3 values"),
        ([[1.0, 2.0], [3.0]], "rows of unequal length"),
        (["a", "b", "c"], "numbers expected, got dtype"),
        ([1j, 2, 3], "numbers expected, got dtype complex128"),
        ({"x": 1}, "numbers expected, got a dict"),
        (lambda: 1, "numbers expected, got a function"),
    ],
)
def test_what_is_no_array(value, words):
    for check in (
        lambda: assert_array("x", value, (3,)),
        lambda: assert_close("x", value, [1.0, 2.0, 3.0]),
        lambda: assert_mean(value, 2.0, 10.0, "x"),
    ):
        with pytest.raises(AssertionError) as error:
            check()
        assert words in str(error.value), str(error.value)


def test_kinds():
    assert_array("states", np.array([True]), (1,), "bool")
    assert_array("states", np.zeros(1, np.uint8), (1,), "int")
    with pytest.raises(AssertionError, match="floating-point numbers expected, got dtype int64"):
        assert_array("states", np.zeros(1, np.int64), (1,), "float")
    with pytest.raises(ValueError, match="choose one of"):
        assert_array("states", np.zeros(1), (1,), "complex")


EXPECTED = np.array([[1.0, 2.0], [4.0, 7.0]])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-EXPECTED, "Everything has the wrong sign"),
        (EXPECTED + math.log(2), "off by the same constant, 0.693147"),
        (4 * EXPECTED, "All values are 4 times the right ones"),
        (EXPECTED.T, "The result is transposed"),
        (EXPECTED + [[0, 0], [0, 1]], "1 of 4 values differ, most at index (1, 1): 8, but 7 is right"),
    ],
)
def test_diagnoses(value, words):
    with pytest.raises(AssertionError) as error:
        assert_close("energy", value, EXPECTED, hint="See equation 3.")
    assert words in str(error.value) and str(error.value).endswith("See equation 3.")


def test_no_broadcasting():
    with pytest.raises(AssertionError, match="shape"):
        assert_close("x", np.ones((4, 1)), np.ones(4))
    with pytest.raises(AssertionError, match="shape"):
        assert_close("x", 1.0, np.ones(4))
    with pytest.raises(AssertionError, match="shape"):
        assert_mean(np.ones((10, 1)), 1.0, 0.1, "x")


def test_tolerance_of_close():
    assert_close("x", [1.00005, 1e-7], [1.0, 0.0])
    with pytest.raises(AssertionError):
        assert_close("x", [1.0002, 0.0], [1.0, 0.0])
    with pytest.raises(AssertionError):
        assert_close("x", [1.0, 1e-5], [1.0, 0.0])
    assert_close("x", [1.1], [1.0], rtol=0.2)


def test_mean_message():
    with pytest.raises(AssertionError) as error:
        assert_mean(np.full((50, 2), [0.5, 0.9]), [0.5, 0.6], 0.05, "P(h = 1 | v)", hint="Is b added?")
    assert str(error.value) == (
        "P(h = 1 | v): the mean of 50 samples at index (1,) is 0.9, but 0.6 ± 0.05 is right; "
        "chance alone does not explain it. Is b added?"
    )
    with pytest.raises(AssertionError, match="no samples"):
        assert_mean(np.zeros((0, 2)), [0.5, 0.6], 0.05, "x")


def test_grading_rng(monkeypatch):
    def draw(name):
        return stattests.grading_rng(name).random(3).tolist()

    monkeypatch.delenv("LGM_GRADING_SEED", raising=False)
    fixed = draw("test_energy")
    assert fixed == draw("test_energy") != draw("test_gibbs")
    monkeypatch.setenv("LGM_GRADING_SEED", "a secret")
    secret = draw("test_energy")
    assert secret == draw("test_energy") != fixed
    monkeypatch.setenv("LGM_GRADING_SEED", "0")
    assert draw("test_energy") == fixed
    monkeypatch.setenv("LGM_GRADING_SEED", str(2**127 + 1))
    large = draw("test_energy")
    monkeypatch.setenv("LGM_GRADING_SEED", str(2**127 + 2**64 + 1))
    assert draw("test_energy") != large  # all of its bits count


@pytest.mark.parametrize("value", [2, [1, 2], (True,), range(3), np.float32(1), np.ma.masked_array([1], [1])])
def test_what_counts_as_numbers(value):
    array = stattests.numbers(value)
    assert type(array) is np.ndarray and array.tolist() == np.asarray(value).tolist()


@pytest.mark.parametrize("value", [None, "1", ["1"], 1j, {1}, iter([1]), [[1], [1, 2]], object()])
def test_what_does_not(value):
    assert stattests.numbers(value) is None


def test_call_hands_over_copies() -> None:
    x, pair = np.arange(3.0), [np.zeros(2), {"a": np.array([np.nan, 1.0])}]
    seen = []

    def f(x, pair, n, scale=1.0):
        seen.extend([x, pair[0], pair[1]["a"]])
        return x * n * scale

    assert np.array_equal(stattests.call(f, x, pair, 2, scale=3.0), 6 * x)
    assert not any(np.shares_memory(a, b) for a, b in zip(seen, [x, pair[0], pair[1]["a"]], strict=True))


@pytest.mark.parametrize("where", [0, 1, 2, 3])
def test_call_notices_what_is_changed_in_place(where: int) -> None:
    def f(x, pair, given):
        [x, pair[0], pair[1], given["a"]][where][0] = 7
        return x

    arguments = np.arange(3.0), [np.zeros(2), np.array([1, 2])], {"a": np.array([np.nan])}
    with pytest.raises(AssertionError, match="f changes an array that it is given"):
        stattests.call(f, *arguments)
    assert arguments[0][0] == 0 and arguments[1][0][0] == 0 and np.isnan(arguments[2]["a"][0])


def test_call_lets_variables_be_changed() -> None:
    class Variable:
        value = 1

    variable = Variable()
    stattests.call(lambda v: setattr(v, "value", 2), variable)
    assert variable.value == 2, "an update in place may be what the exercise asks for"


def test_numbers_that_are_too_large_for_an_exact_likelihood():
    assert assert_array("W", np.array([-1000.0, 3]), (2,), most=1000)[0] == -1000
    with pytest.raises(AssertionError, match="W: numbers of at most 1000 expected, got 1e\\+20"):
        assert_array("W", np.array([1e20, 0]), (2,), most=1000)
    assert assert_array("none", np.zeros((0, 2)), (None, 2), most=1).size == 0
