"""A small exercise for tests of the grading engine: five gaps, NumPy only, milliseconds to run.

One gap of each kind that the engine treats in its own way: a function, a sampler, a trained model handed over
as parameters, plain values, an object with a state. `ASSIGNMENT` is the exercise, `solved()` and `unsolved()`
are notebooks as a student would hand them in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from grading.model import BEGIN, END, Assignment, TrustedCell

WEEK = "week98_small"
CANARY = "CAN" + "ARY-7f3e91"  # stands in the hidden tests; nothing that a student's code prints may hold it
OPEN = 'raise NotImplementedError("write your answer here")'

IMPORTS = """\
import numpy as np

from utils import stattests
"""

DATA = """\
def centred_line(rng, n):
    \"\"\"Points near a line through the origin: (n, 4).\"\"\"
    return rng.normal(size=(n, 1)) * np.array([1.0, -1.0, 0.5, 2.0]) + rng.normal(0, 0.1, size=(n, 4))


def heights(rng, n):
    \"\"\"Two independent normal quantities: (n, 2).\"\"\"
    return rng.normal([1.5, -3.0], [0.5, 2.0], size=(n, 2))


x_train = centred_line(np.random.default_rng(0), 200)
heights_train = heights(np.random.default_rng(1), 2000)
"""

LOG_SUM_EXP = '''\
def log_sum_exp(x):
    """x: (B, n) → (B,): log Σ_i exp(x_i) of each row, without overflow."""
    largest = x.max(axis=1)
    return largest + np.log(np.exp(x - largest[:, None]).sum(axis=1))
'''
LOG_SUM_EXP_TEST = f"""\
def check_log_sum_exp(rng, B, n, shift=0.0):
    x = shift + rng.normal(size=(B, n))
    exact = shift + np.log(np.exp(x - shift).sum(axis=1))
    hint = f"There are {{B}} rows of {{n}}."
    stattests.assert_close("log_sum_exp(x)", log_sum_exp(x.copy()), exact, hint=hint)


check_log_sum_exp(np.random.default_rng(0), B=3, n=5)
check_log_sum_exp(np.random.default_rng(1), B=1, n=2)
### {BEGIN}
# Other shapes, and values near 1000, where exp overflows.
canary_of_this_test = "{CANARY}"
rng = stattests.grading_rng("log_sum_exp")
for B, n in [(7, 2), (2, 9)]:
    check_log_sum_exp(rng, B, n)
check_log_sum_exp(rng, B=4, n=3, shift=1000.0)
### {END}
"""

DRAW = '''\
def draw(p, n, seed):
    """p: (D,) probabilities → (n, D) independent draws, 0 or 1."""
    return (np.random.default_rng(seed).random((n, len(p))) < p).astype(np.float32)
'''
DRAW_TEST = f"""\
def check_draw(p, n, seed):
    \"\"\"Each mean by Bernstein's inequality, false alarms below 1e-6.\"\"\"
    samples = stattests.assert_array("draw(p, n, seed)", draw(p.copy(), n, seed), (n, len(p)))
    assert np.isin(samples, (0, 1)).all(), "values other than 0 and 1: return draws, not probabilities"
    for i in range(len(p)):
        tolerance = stattests.bernstein_tolerance(n, p[i] * (1 - p[i]), 1.0, comparisons=len(p))
        stattests.assert_mean(samples[:, i], p[i], tolerance, f"unit {{i}}")


check_draw(np.array([0.5, 0.1, 0.8]), 2000, seed=1)
half = np.full(64, 0.5)
first, again, other = (np.asarray(draw(half, 4, seed)) for seed in (5, 5, 6))
assert np.array_equal(first, again), "the same seed, other draws"
assert not np.array_equal(first, other), "the seed has no effect"
### {BEGIN}
# Other probabilities and seeds.
canary_of_this_test = "{CANARY}"
rng = stattests.grading_rng("draw")
for _ in range(3):
    check_draw(rng.uniform(0.05, 0.95, size=4), 2000, seed=int(rng.integers(2**31)))
### {END}
"""

TRAIN = '''\
def train(x, seed):
    """x: (N, 4) → W (4, 1), V (1, 4) with x @ W @ V close to x: a linear autoencoder, one latent unit."""
    V = np.random.default_rng(seed).normal(size=(1, 4))
    for _ in range(50):
        W = V.T / np.sum(V**2)
        z = x @ W
        V = np.linalg.lstsq(z, x, rcond=None)[0]
    return V.T / np.sum(V**2), V
'''
TRAIN_TEST = f"""\
def check_train(x, x_new, seed):
    \"\"\"The autoencoder on points of the same kind; 0.0075 is the best possible.\"\"\"
    answer = train(x.copy(), seed)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return two arrays: W, V"
    W = stattests.assert_array("W", answer[0], (4, 1), "float").astype(float)
    V = stattests.assert_array("V", answer[1], (1, 4), "float").astype(float)
    error = float(np.mean((x_new @ W @ V - x_new) ** 2))
    assert error <= 0.012, f"the mean squared error is {{error:.3g}}, at most 0.012 is asked for"


check_train(x_train, x_train, seed=1)
### {BEGIN}
# New points, another seed.
canary_of_this_test = "{CANARY}"
rng = stattests.grading_rng("train")
check_train(x_train, centred_line(rng, 500), seed=int(rng.integers(2**31)))
### {END}
"""

DENSITY = """\
mean = heights_train.mean(axis=0)
log_scale = np.log(heights_train.std(axis=0))
"""
DENSITY_TEST = f"""\
def check_density(x, at_least):
    \"\"\"The normal density with these parameters, in nats; the best possible is about -2.84.\"\"\"
    location = stattests.assert_array("mean", mean, (2,), "float").astype(float)
    scale = np.exp(stattests.assert_array("log_scale", log_scale, (2,), "float").astype(float))
    with np.errstate(all="ignore"):
        z = (x - location) / scale
        value = float(np.mean(np.sum(-0.5 * z**2 - np.log(scale) - 0.5 * np.log(2 * np.pi), axis=1)))
    assert value >= at_least, f"the log-likelihood is {{value:.3f}} nats, at least {{at_least}} is asked for"


check_density(heights_train, -2.95)
### {BEGIN}
# New values of the same distribution.
canary_of_this_test = "{CANARY}"
check_density(heights(stattests.grading_rng("density"), 4000), -3.0)
### {END}
"""

MOMENTUM = '''\
class Momentum:
    """Gradient descent with momentum: v ← decay · v + gradient, w ← w − rate · v, in place."""

    def __init__(self, rate, decay):
        self.rate, self.decay, self.v = rate, decay, 0.0

    def step(self, w, gradient):
        """Change the array w in place."""
        self.v = self.decay * self.v + gradient
        w -= self.rate * self.v
'''
MOMENTUM_TEST = f"""\
def check_momentum(rng, rate, decay, steps):
    first, second = Momentum(rate, decay), Momentum(rate, decay)
    w = rng.normal(size=3)
    right, v = w.copy(), np.zeros(3)
    for _ in range(steps):
        gradient = rng.normal(size=3)
        v = decay * v + gradient
        right = right - rate * v
        first.step(w, gradient.copy())
        second.step(np.ones(3), np.ones(3))  # another optimiser has another velocity
    stattests.assert_close("w", w, right, hint="Is v kept from step to step, and w changed in place?")


check_momentum(np.random.default_rng(0), rate=0.1, decay=0.9, steps=3)
### {BEGIN}
# Other rates and decays, more steps.
canary_of_this_test = "{CANARY}"
rng = stattests.grading_rng("momentum")
check_momentum(rng, rate=float(rng.uniform(0.01, 1)), decay=float(rng.uniform(0, 1)), steps=6)
check_momentum(rng, rate=0.5, decay=0.0, steps=2)
### {END}
"""

TITLE = f"# A small exercise\n\nNotebook `{WEEK}`."
WHY = "Why does the same seed give the same draws? *(your answer)*"

#: gap → (points, names that it defines, reference solution, test)
GAPS: dict[str, tuple[float, tuple[str, ...], str, str]] = {
    "log_sum_exp": (2.0, ("log_sum_exp",), LOG_SUM_EXP, LOG_SUM_EXP_TEST),
    "draw": (3.0, ("draw",), DRAW, DRAW_TEST),
    "train": (4.0, ("train",), TRAIN, TRAIN_TEST),
    "density": (3.0, ("mean", "log_scale"), DENSITY, DENSITY_TEST),
    "momentum": (2.0, ("Momentum",), MOMENTUM, MOMENTUM_TEST),
}

STUBS = {
    "log_sum_exp": f'def log_sum_exp(x):\n    """x: (B, n) → (B,)."""\n    {OPEN}\n',
    "draw": f'def draw(p, n, seed):\n    """p: (D,) → (n, D)."""\n    {OPEN}\n',
    "train": f'def train(x, seed):\n    """x: (N, 4) → W (4, 1), V (1, 4)."""\n    {OPEN}\n',
    "density": "# mean and log_scale of a normal density, (2,) each, fitted to heights_train\n" + OPEN + "\n",
    "momentum": (
        "class Momentum:\n    def __init__(self, rate, decay):\n        " + OPEN + "\n\n"
        '    def step(self, w, gradient):\n        """Change w in place."""\n        ' + OPEN + "\n"
    ),
}

FULL = {gap: points for gap, (points, *_) in GAPS.items()}


def _id(name: str) -> str:
    return f"{WEEK}-{name}".replace("_", "-")


def _cells() -> Iterable[TrustedCell]:
    yield TrustedCell("title", "text", TITLE, "markdown", _id("title"))
    yield TrustedCell("imports", "given", IMPORTS.rstrip(), cell_id=_id("imports"))
    yield TrustedCell("data", "given", DATA.rstrip(), cell_id=_id("data"))
    for gap, (points, defines, _, test) in GAPS.items():
        task = f"### {gap.replace('_', ' ')} ({points:g} points)"
        yield TrustedCell(f"{gap}_task", "text", task, "markdown", _id(f"{gap}_task"))
        yield TrustedCell(gap, "solution", STUBS[gap].rstrip(), "code", _id(gap), 0.0, gap, defines)
        name = f"test_{gap}"
        yield TrustedCell(name, "test", test.rstrip(), "code", _id(name), points, gap)
    yield TrustedCell("why", "manual", WHY, "markdown", _id("why"), 1.0)


ASSIGNMENT = Assignment(WEEK, tuple(_cells()))


def visible(source: str) -> str:
    """A test as students get it: without its hidden part."""
    kept, inside = [], False
    for line in source.split("\n"):
        if BEGIN in line or END in line:
            inside = BEGIN in line
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def notebook(answers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The released exercise as a notebook's data, with these answers in its gaps."""
    cells: list[dict[str, Any]] = []
    for cell in ASSIGNMENT.cells:
        source = (answers or {}).get(cell.name, cell.source)
        graded = cell.kind in ("test", "manual")
        meta: dict[str, Any] = {
            "grade": graded,
            "grade_id": cell.name,
            "locked": cell.kind not in ("solution", "manual"),
            "schema_version": 3,
            "solution": cell.kind in ("solution", "manual"),
            "task": False,
        }
        if graded:
            meta["points"] = cell.points
        text = visible(source) if cell.kind == "test" else source
        made = {
            "cell_type": cell.cell_type,
            "id": cell.cell_id,
            "metadata": {"nbgrader": meta},
            "source": text.rstrip(),
        }
        cells.append(made | ({"execution_count": None, "outputs": []} if cell.cell_type == "code" else {}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def written(data: Any) -> bytes:
    """A notebook's data as a file."""
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode()


def solved(open_gaps: Iterable[str] = (), **answers: str) -> bytes:
    """The right answers, but for some gaps left open and others with these answers."""
    right = {gap: source.rstrip() for gap, (_, _, source, _) in GAPS.items()}
    left = set(open_gaps)
    return written(notebook({gap: source for gap, source in (right | answers).items() if gap not in left}))


def unsolved() -> bytes:
    """As released."""
    return written(notebook())
