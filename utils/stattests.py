"""Tests for exercises: tolerances that follow from known variance, comparisons that say what is wrong.

A stochastic answer is compared with an exact value, and the tolerance comes from a bound that holds for every
sample size: a right answer is rejected with probability at most ``alpha``, one in a million by default. Never
take the variance from the answer itself. Where a test makes several comparisons, ``comparisons`` says how
many, and ``alpha`` is shared among them (union bound).

Values may be NumPy arrays, TensorFlow tensors, numbers or lists. They are turned into plain numeric arrays
before anything is compared, so an object that claims to equal everything is rejected.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable

import numpy as np

ALPHA = 1e-6  # false alarms of one test, all its comparisons together

# --- Tolerances ----------------------------------------------------------------------------------


def hoeffding_tolerance(n: int, low: float, high: float, alpha: float = ALPHA, comparisons: int = 1) -> float:
    """t with P(|mean − μ| ≥ t) ≤ alpha for n independent values within [low, high].

    Solves 2 exp(−2 n t² / (high − low)²) = alpha / comparisons. Source: Hoeffding 1963, theorem 2.
    """
    _positive(n=n, width=high - low)
    return (high - low) * math.sqrt(_log_term(alpha, comparisons) / (2 * n))


def bernstein_tolerance(
    n: int, variance: float, bound: float, alpha: float = ALPHA, comparisons: int = 1
) -> float:
    """t with P(|mean − μ| ≥ t) ≤ alpha for n independent values of known variance with |value − μ| ≤ bound.

    Solves 2 exp(−n t² / (2 (variance + bound t / 3))) = alpha / comparisons for t. Smaller than Hoeffding's
    where the variance is far below bound². Source: Bernstein's inequality, e.g. Boucheron, Lugosi and
    Massart, Concentration Inequalities, 2013, section 2.8.
    """
    _positive(n=n, bound=bound)
    if not variance >= 0:
        raise ValueError(f"variance is {variance}; a number of at least 0 expected")
    log = _log_term(alpha, comparisons)
    linear = log * bound / 3
    return (linear + math.sqrt(linear**2 + 2 * n * log * variance)) / n


def subgaussian_tolerance(n: int, sigma: float, alpha: float = ALPHA, comparisons: int = 1) -> float:
    """t with P(|mean − μ| ≥ t) ≤ alpha for n independent values, each sub-Gaussian with parameter sigma.

    Solves 2 exp(−n t² / (2 sigma²)) = alpha / comparisons. A Gaussian is sub-Gaussian with its standard
    deviation, a value within [a, b] with (b − a) / 2, a sum of independent ones with √(Σ sigma²).
    """
    _positive(n=n, sigma=sigma)
    return sigma * math.sqrt(2 * _log_term(alpha, comparisons) / n)


def _log_term(alpha: float, comparisons: int) -> float:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; a probability between 0 and 1 expected")
    if comparisons < 1:
        raise ValueError(f"comparisons is {comparisons}; at least 1 expected")
    return math.log(2 * comparisons / alpha)


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; a positive number expected")


def permutation_test(
    x, y, statistic: Callable[[np.ndarray, np.ndarray], float], n: int = 9999, seed: int = 0
) -> float:
    """p-value of "x and y come from one distribution"; large values of ``statistic(x, y)`` speak against it.

    x: (N, …), y: (M, …), each of independent rows. The rows are pooled and dealt out anew n times:
    p = (1 + number of permutations that reach the observed value) / (1 + n), so P(p ≤ α) ≤ α exactly.
    The smallest possible p is 1 / (1 + n): for alpha = 1e-6 take n of a million and a cheap statistic.
    """
    x, y = _numeric("x", x), _numeric("y", y)
    if x.ndim == 0 or y.ndim == 0 or x.shape[1:] != y.shape[1:]:
        raise ValueError(f"x has shape {x.shape} and y {y.shape}; rows of the same kind expected")
    observed = float(statistic(x, y))
    if math.isnan(observed):
        raise ValueError("the statistic is NaN")
    pooled = np.concatenate([x, y])
    rng = np.random.default_rng(seed)
    reached = 0
    tiny = 1e-12 * max(1.0, abs(observed))  # equal up to rounding counts as reached
    for _ in range(n):
        shuffled = rng.permutation(pooled)
        reached += statistic(shuffled[: len(x)], shuffled[len(x) :]) >= observed - tiny
    return (1 + reached) / (1 + n)


# --- Assertions that tell a student what is wrong ------------------------------------------------

_KINDS = {
    "number": ("biuf", "numbers"),
    "float": ("f", "floating-point numbers"),
    "int": ("iu", "integers"),
    "bool": ("b", "booleans (True, False)"),
}


def call(function: Callable, *arguments, **options):
    """What ``function`` returns for copies of these arguments, which it must leave as they are.

    Arrays are copied, in lists, tuples and dicts too; the rest is handed over as it is. Raises AssertionError
    if an array has changed afterwards: the test would go on with wrong numbers, and so would a later cell.
    """
    copies = _copy([arguments, options])
    answer = function(*copies[0], **copies[1])
    if not _same(copies, [arguments, options]):
        name = getattr(function, "__name__", "the function")
        raise AssertionError(
            f"{name} changes an array that it is given: compute a new one (x = x + y, not x += y or x[:] = …)"
        )
    return answer


def _copy(value):
    if isinstance(value, (list, tuple)):
        return type(value)(_copy(part) for part in value)
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value


def _same(value, before) -> bool:
    if isinstance(before, (list, tuple)):
        return len(value) == len(before) and all(_same(*pair) for pair in zip(value, before, strict=True))
    if isinstance(before, dict):
        return value.keys() == before.keys() and all(_same(value[key], before[key]) for key in before)
    return not isinstance(before, np.ndarray) or np.array_equal(
        value, before, equal_nan=before.dtype.kind == "f"
    )


def assert_array(
    name: str, value, shape: tuple[int | None, ...], kind: str = "number", most: float | None = None
) -> np.ndarray:
    """Check that ``value`` is a finite numeric array of this shape, and return it as a plain NumPy array.

    ``shape``: None for an axis of any length. ``kind``: "number", "float", "int" or "bool". ``most``: the
    largest size of a number. Trained parameters need one: with 10²⁰ among them a log-likelihood computed in
    floating point loses its own normaliser.
    Raises AssertionError with one line that says what was expected and, where it can be guessed, what to do.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind is {kind!r}; choose one of {', '.join(_KINDS)}")
    array = _numeric(name, value)
    if not _matches(array.shape, shape):
        raise AssertionError(
            f"{name}: shape {_text(shape)} expected, got {_text(array.shape)}{_guess(array.shape, shape)}"
        )
    allowed, words = _KINDS[kind]
    if array.dtype.kind not in allowed:
        raise AssertionError(f"{name}: {words} expected, got dtype {array.dtype}")
    _finite(name, array)
    if most is not None and array.size and (largest := np.abs(array.astype(float)).max()) > most:
        raise AssertionError(f"{name}: numbers of at most {most:g} expected, got {largest:.3g}")
    return array


def assert_close(
    name: str, value, expected, rtol: float = 1e-4, atol: float = 1e-6, hint: str = ""
) -> np.ndarray:
    """Check that ``value`` equals ``expected`` in shape and, within atol + rtol·|expected|, in every number.

    The defaults leave room for float32. ``hint`` is added to the message. Returns the value as a NumPy array.
    """
    target = np.asarray(_numeric("expected", expected), dtype=np.float64)
    array = assert_array(name, value, target.shape)
    got = array.astype(np.float64)
    wrong = ~(np.abs(got - target) <= atol + rtol * np.abs(target))
    if wrong.any():
        where = np.unravel_index(np.argmax(np.abs(got - target)), got.shape)
        place = f" at index {_text(where)}" if got.ndim else ""
        count = f"{wrong.sum():,} of {wrong.size:,} values differ, most" if got.size > 1 else "wrong value"
        message = f"{name}: {count}{place}: {got[where]:.6g}, but {target[where]:.6g} is right"
        raise AssertionError(message + _diagnosis(got, target, rtol, atol) + _hint(hint))
    return array


def assert_mean(samples, expected, tolerance: float, what: str, hint: str = "") -> None:
    """Check that the mean of ``samples`` over the first axis is within ``tolerance`` of ``expected``.

    ``samples``: (N,) with a number expected, or (N, …) with an array (…). ``tolerance``: from one of the
    bounds above. ``what``: names the quantity in the message.
    """
    target = np.asarray(_numeric("expected", expected), dtype=np.float64)
    array = assert_array(what, samples, (None, *target.shape)).astype(np.float64)
    if len(array) == 0:
        raise AssertionError(f"{what}: there are no samples")
    mean = array.mean(axis=0)
    distance = np.abs(mean - target)
    if not (distance <= tolerance).all():
        where = np.unravel_index(np.argmax(distance), distance.shape)
        place = f" at index {_text(where)}" if target.ndim else ""
        raise AssertionError(
            f"{what}: the mean of {len(array):,} samples{place} is {mean[where]:.4g}, but "
            f"{target[where]:.4g} ± {tolerance:.2g} is right; chance alone does not explain it{_hint(hint)}"
        )


def grading_rng(name: str) -> np.random.Generator:
    """A random generator for a test's inputs, seeded by its name and LGM_GRADING_SEED (else fixed).

    The grader sets the variable to a secret of 128 bits, another one for each submission, so that answers
    cannot be looked up, nor the secret found from an input.
    """
    text = f"{os.environ.get('LGM_GRADING_SEED', '0')}:{name}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))


def numbers(value) -> np.ndarray | None:
    """The plain array of booleans, integers or floats that ``value`` stands for; None if it stands for none.

    The one rule for what counts as numbers, whatever holds them (array, tensor, variable, list, deque, range,
    an object with ``__array__``): the tests go by it, and so does the grader when it fetches an answer.
    """
    array = _as_array(value)
    return array if array is not None and array.dtype.kind in "biuf" else None


def _as_array(value) -> np.ndarray | None:
    """None for what NumPy does not turn into an array. TensorFlow's bfloat16 becomes float32."""
    try:
        array = np.asarray(value)
        return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
    except Exception:  # ragged lists, tensors inside tf.function, objects of the student's own
        return None


def _numeric(name: str, value) -> np.ndarray:
    """A plain array of booleans, integers or floats; AssertionError for anything else."""
    if value is None:
        raise AssertionError(f"{name} is None: is a `return` missing?")
    array = _as_array(value)
    if array is None:
        raise AssertionError(
            f"{name}: an array of numbers expected, got {_kind_of(value)} that is none (rows of unequal "
            "length, or a symbolic tensor?)"
        )
    if array.dtype.kind not in "biuf":
        got = f"dtype {array.dtype}" if array.dtype.kind != "O" else _kind_of(value)
        raise AssertionError(f"{name}: numbers expected, got {got}")
    return array


def _finite(name: str, array: np.ndarray) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        nan, infinite = int(np.isnan(array).sum()), int(np.isinf(array).sum())
        parts = [f"{count:,} {word}" for count, word in ((nan, "NaN"), (infinite, "infinite")) if count]
        raise AssertionError(
            f"{name}: {' and '.join(parts)} of {array.size:,} values (a logarithm of 0, an overflowing exp, "
            "a root of a negative number, a division by 0?)"
        )


def _matches(got: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(got) == len(expected) and all(e in (None, g) for g, e in zip(got, expected, strict=True))


def _guess(got: tuple[int, ...], expected: tuple[int | None, ...]) -> str:
    """What may have gone wrong, from the two shapes alone."""
    squeezed = [n for n in got if n != 1]
    if len(got) == len(expected) + 1:
        for axis in range(len(got)):
            if _matches(got[:axis] + got[axis + 1 :], expected):
                if got[axis] == 1:
                    last = "the last" if axis == len(got) - 1 else f"axis {axis} as an"
                    return f": did you keep {last} axis?"
                return f": is a sum or mean over axis {axis} missing?"
    if len(got) == len(expected) and _matches(got[::-1], expected):
        return ": are the axes swapped (transposed)?"
    if got == () and len(expected) >= 1:
        return ": did you sum or average over everything, the batch too?"
    fewer = [expected[:axis] + expected[axis + 1 :] for axis in range(len(expected))]
    if any(_matches(got, shape) for shape in fewer):
        return ": did you sum or average over one axis too many?"
    if _matches(tuple(squeezed), expected):
        return ": did you keep an axis of length 1?"
    return ""


def _diagnosis(got: np.ndarray, target: np.ndarray, rtol: float, atol: float) -> str:
    """A common slip that would explain all the numbers at once."""

    def same(a: np.ndarray, b: np.ndarray) -> bool:
        return bool(np.all(np.abs(a - b) <= atol + rtol * np.abs(b)))

    if same(-got, target):
        return ". Everything has the wrong sign"
    if got.size < 3:
        return ""
    if target.ndim == 2 and target.shape[0] == target.shape[1] and same(got.T, target):
        return ". The result is transposed"
    constant = float(np.median(got - target))
    if same(got - constant, target):
        return f". All values are off by the same constant, {constant:.6g}, as if a term were missing"
    usable = np.abs(target) > 10 * atol
    if usable.sum() >= 3:
        factor = float(np.median(got[usable] / target[usable]))
        if factor and math.isfinite(factor) and same(got / factor, target):
            like = "a sum in place of a mean" if abs(factor) > 1 else "a mean in place of a sum"
            return f". All values are {factor:.6g} times the right ones, like {like}"
    return ""


def _hint(hint: str) -> str:
    return f". {hint}" if hint else ""


def _text(shape) -> str:
    entries = ["any" if n is None else str(int(n)) for n in shape]
    return f"({', '.join(entries)}{',' if len(entries) == 1 else ''})"


def _kind_of(value) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
