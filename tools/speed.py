"""One epoch of the week 3 notebook's RBM side by side with scikit-learn's BernoulliRBM: `make speed`.

Both do plain persistent contrastive divergence with one Gibbs step (scikit-learn knows neither centring nor
averaging), float32, batches of one size, two threads. The functions are the notebook's own, taken from its
source. Runs alternate; what counts is the median of the ratios of neighbouring runs, without the first run,
which compiles.
"""

from __future__ import annotations

import ast
import linecache
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
THREADS = 2
RUNS = 9
CASES = [  # visible units, hidden units, batch, images, epochs a run, the ratio to reach
    (784, 500, 100, 60_000, 1, 0.8),
    (64, 100, 10, 1_197, 10, 1.1),
]


def definitions(path: Path) -> dict[str, Any]:
    """The imports, functions and classes of a notebook's source, without the cells' other statements."""
    text = path.read_text(encoding="utf-8")
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    body: list[ast.stmt] = [node for node in ast.parse(text).body if isinstance(node, kept)]
    linecache.cache[str(path)] = (
        len(text),
        None,
        text.splitlines(True),
        str(path),
    )  # AutoGraph reads the source
    namespace: dict[str, Any] = {"__name__": path.stem}
    exec(compile(ast.Module(body, []), str(path), "exec"), namespace)
    return namespace


def ours(week: dict[str, Any], data: Any, H: int, B: int, epochs: int) -> Callable[[], float]:
    """A function that trains for some epochs and returns its seconds."""
    import tensorflow as tf

    D = data.shape[1]
    rbm = week["RBM"](D, H)
    rng, images = tf.random.Generator.from_seed(0), tf.constant(data)
    rates = tf.fill([len(data) // B], 0.01)
    chains = tf.zeros([B, H])

    def run() -> float:
        began, h = time.perf_counter(), chains
        for _ in range(epochs):
            h = week["train_epoch"](rbm, None, images, h, rates, None, rng, B, 1, True, False)
        h.numpy()  # wait for the result
        return time.perf_counter() - began

    run()
    return run


def theirs(data: Any, H: int, B: int, epochs: int) -> Callable[[], float]:
    """The same for scikit-learn."""
    from sklearn.neural_network import BernoulliRBM

    def run() -> float:
        model = BernoulliRBM(H, learning_rate=0.01, batch_size=B, n_iter=epochs, random_state=0)
        began = time.perf_counter()
        model.fit(data)
        return time.perf_counter() - began

    run()
    return run


def main() -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # NumPy reads them when it is imported
        os.environ[name] = str(THREADS)
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    week = definitions(ROOT / "notebooks" / "week03_rbm.py")
    too_slow = 0
    for D, H, B, N, epochs, goal in CASES:
        data = (np.random.default_rng(0).random((N, D)) < 0.2).astype(np.float32)
        a, b = ours(week, data, H, B, epochs), theirs(data, H, B, epochs)
        pairs = [(a(), b()) for _ in range(RUNS)]
        ratio = statistics.median(x / y for x, y in pairs)
        seconds = [statistics.median(column) / epochs for column in zip(*pairs, strict=True)]
        verdict = "" if ratio <= goal else "  TOO SLOW"
        too_slow += ratio > goal
        print(
            f"{D}×{H}, batch {B}: {1000 * seconds[0]:.1f} ms an epoch of {N:,} images, scikit-learn "
            f"{1000 * seconds[1]:.1f} ms, ratio {ratio:.2f} (goal: at most {goal}){verdict}"
        )
    return int(too_slow > 0)


if __name__ == "__main__":
    sys.exit(main())
