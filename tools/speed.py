"""Training side by side with another library, in one run: `make speed`; one of them: `make speed ARGS=vae`.

- `rbm`: one epoch of the week 3 notebook's RBM and of scikit-learn's BernoulliRBM. Both do plain persistent
  contrastive divergence with one Gibbs step (scikit-learn knows neither centring nor averaging).
- `vae`: one epoch of the week 6 notebook's VAE by `fit` and of the same model in PyTorch, with its images in
  memory and the usual loop: Adam, images binarised afresh. PyTorch is nothing that the course depends on;
  `.venv/bin/python -m pip install -e '.[speed]'` installs it.

The functions are the notebook's own, taken from its source. float32, batches of one size, two threads. Runs
alternate, the first, which compiles, does not count; what does is the median of the ratios of neighbours.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.notebooks import definitions

ROOT = Path(__file__).resolve().parent.parent
THREADS = 2
RUNS = 9
RBM_CASES = [  # visible units, hidden units, batch, images, epochs a run, the ratio to reach
    (784, 500, 100, 60_000, 1, 0.8),
    (64, 100, 10, 1_197, 10, 1.1),
]
# Pixels, hidden units, latent, then as above. An epoch has 100 steps.
VAE_CASES = [(784, 400, 20, 128, 12_800, 1, 1.0)]

Run = Callable[[], object]


class SpeedError(RuntimeError):
    """The comparison cannot run; the message is one line that says what to do."""


def binary_images(N: int, D: int) -> Any:
    import numpy as np

    return (np.random.default_rng(0).random((N, D)) < 0.2).astype(np.float32)


def course_rbm(data: Any, H: int, B: int, epochs: int) -> Run:
    import tensorflow as tf

    week = definitions(ROOT / "notebooks" / "week03_rbm.py")
    D = data.shape[1]
    rbm = week["RBM"](D, H)
    rng, images = tf.random.Generator.from_seed(0), tf.constant(data)
    rates = tf.fill([len(data) // B], 0.01)
    chains = tf.zeros([B, H])

    def run() -> None:
        h = chains
        for _ in range(epochs):
            h = week["train_epoch"](rbm, None, images, h, rates, None, rng, B, 1, True, False)
        h.numpy()  # wait for the result

    return run


def sklearn_rbm(data: Any, H: int, B: int, epochs: int) -> Run:
    from sklearn.neural_network import BernoulliRBM

    return lambda: BernoulliRBM(H, learning_rate=0.01, batch_size=B, n_iter=epochs, random_state=0).fit(data)


def course_vae(data: Any, H: int, L: int, B: int, epochs: int) -> Run:
    from utils.networks import MLP, batches

    week, D = definitions(ROOT / "notebooks" / "week06_vae.py"), data.shape[1]
    model, images = week["VAE"](MLP(D, H, 2 * L), MLP(L, H, D), L), batches(data, B=B, seed=0)
    week["train"](model, images, 1, 1e-3, xla=True)
    return lambda: model.fit(images, epochs=epochs, shuffle=False, verbose=0)


def torch_vae(data: Any, H: int, L: int, B: int, epochs: int) -> Run:
    try:
        import torch
    except ModuleNotFoundError:
        raise SpeedError(
            "PyTorch is not installed, which this comparison needs: "
            f"{sys.executable} -m pip install -e '.[speed]', or leave it out by ARGS=rbm"
        ) from None
    from torch import nn

    torch.set_num_threads(THREADS)

    class VAE(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            D = data.shape[1]
            self.encoder = nn.Sequential(nn.Linear(D, H), nn.SiLU(), nn.Linear(H, 2 * L))
            self.decoder = nn.Sequential(nn.Linear(L, H), nn.SiLU(), nn.Linear(H, D))

        def forward(self, x):
            mean, log_scale = self.encoder(x).chunk(2, dim=-1)
            z = mean + log_scale.exp() * torch.randn_like(mean)
            logits = self.decoder(z)
            distortion = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            kl = 0.5 * ((2 * log_scale).exp() + mean**2 - 1 - 2 * log_scale).sum()
            return (distortion + kl) / len(x)

    model, images = VAE(), torch.from_numpy(data)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def run() -> None:
        for _ in range(epochs):
            order = torch.randperm(len(images))
            for rows in order[: len(images) // B * B].split(B):
                loss = model(torch.bernoulli(images[rows]))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    return run


def seconds(run: Run) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def compare(what: str, N: int, epochs: int, ours: Run, other: str, theirs: Run, goal: float) -> bool:
    """Time both alternately, print the medians; True if the ratio is above the goal."""
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(RUNS)]
    ratio = statistics.median(x / y for x, y in pairs)
    a, b = (1000 * statistics.median(column) / epochs for column in zip(*pairs, strict=True))
    verdict = "" if ratio <= goal else "  TOO SLOW"
    print(
        f"{what}: {a:.1f} ms an epoch of {N:,} images, {other} {b:.1f} ms, "
        f"ratio {ratio:.2f} (goal: at most {goal}){verdict}",
        flush=True,
    )
    return ratio > goal


def rbm() -> bool:
    slow = False
    for D, H, B, N, epochs, goal in RBM_CASES:
        data = binary_images(N, D)
        pair = course_rbm(data, H, B, epochs), sklearn_rbm(data, H, B, epochs)
        slow |= compare(f"RBM {D}×{H}, batch {B}", N, epochs, pair[0], "scikit-learn", pair[1], goal)
    return slow


def vae() -> bool:
    slow = False
    for D, H, L, B, N, epochs, goal in VAE_CASES:
        data = binary_images(N, D)
        theirs = torch_vae(data, H, L, B, epochs)  # first: it may be missing
        ours = course_vae(data, H, L, B, epochs)
        slow |= compare(f"VAE {D}-{H}-{L}, batch {B}", N, epochs, ours, "PyTorch", theirs, goal)
    return slow


def main(arguments: list[str] | None = None) -> int:
    comparisons = {"rbm": rbm, "vae": vae}
    parser = argparse.ArgumentParser(prog="python -m tools.speed", description=__doc__.split("\n")[0])
    parser.add_argument("which", nargs="*", help=f"{' or '.join(comparisons)} (default: all)")
    options = parser.parse_args(arguments)
    if unknown := set(options.which) - set(comparisons):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(comparisons)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # NumPy reads them when it is imported
        os.environ[name] = str(THREADS)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    try:
        slow = [comparisons[name]() for name in options.which or comparisons]
    except SpeedError as error:
        print(f"speed: {error}", file=sys.stderr)
        return 1
    return int(any(slow))


if __name__ == "__main__":
    sys.exit(main())
