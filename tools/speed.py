"""Training side by side with another library, in one run: `make speed`; one of them: `make speed ARGS=vae`.

- `rbm`: one epoch of the week 3 notebook's RBM and of scikit-learn's BernoulliRBM. Both do plain persistent
  contrastive divergence with one Gibbs step (scikit-learn knows neither centring nor averaging).
- `vae`: one epoch of the week 6 notebook's VAE by `fit` and of the same model in PyTorch, with its images in
  memory and the usual loop: Adam, images binarised afresh. PyTorch is nothing that the course depends on;
  `.venv/bin/python -m pip install -e '.[speed]'` installs it.
- `dcgan`, `wgan`: the same for the games of weeks 8 and 9, with R1 or the gradient penalty and the moving
  average of the generator; in the sizes of "Going bigger" and of the digits.
- `pixelcnn`: week 10's masked convolutions in the network of the Keras example (532,673 weights, with those
  that the masks set to 0), on 28×28 pixels.
- `gpt`: week 11's GPT in nanoGPT's size for a CPU.
- `realnvp`: week 12's couplings of points in the plane.
- `unet`: week 13's denoiser, in the sizes of "Going bigger" and of the digits.

The functions are the notebook's own, taken from its source; the others stand in `tools.rivals`. float32,
batches of one size, two threads. Runs alternate, the first, which compiles, does not count; what does is the
median of the ratios of neighbours.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools import rivals
from tools.notebooks import definitions
from tools.rivals import THREADS, Run, SpeedError

# What, by what a time is given, how many of these a run has, ours, the other's name, theirs, the goal.
Case = tuple[str, str, int, Run, str, Run, float]
ROOT = Path(__file__).resolve().parent.parent
RUNS = 9
RBM_CASES = [  # visible units, hidden units, batch, images, epochs a run, the ratio to reach
    (784, 500, 100, 60_000, 1, 0.8),
    (64, 100, 10, 1_197, 10, 1.1),
]
# Pixels, hidden units, latent, then as above. An epoch has 100 steps.
VAE_CASES = [(784, 400, 20, 128, 12_800, 1, 1.0)]
PENALTY = 1.0  # γ of the DCGAN; λ of the Wasserstein GAN is ten times as much
# Height and width, channels, latent, images a step, steps a run, the ratio to reach.
DCGAN_CASES = [((28, 28), 32, 64, 64, 20, 1.0), ((8, 8), 16, 32, 64, 50, 1.0)]
# Pixels, hidden units, latent, images a step of the critic, its steps for one of the generator, as above.
WGAN_CASES = [(784, 512, 64, 100, 5, 20, 1.0), (64, 256, 16, 64, 2, 100, 1.0)]
PIXELCNN_CASES = [(128, 5, 64, 2, 1.0)]  # channels, residual blocks, images a step, then as above
# Characters, context, width, layers, heads, rows a step, then as above.
GPT_CASES = [(65, 64, 128, 4, 4, 12, 100, 1.0)]
# Couplings, hidden units of each, points a step, then as above.
REALNVP_CASES = [(6, (256,) * 4, 256, 20, 1.0)]
# Height and width, channels, halvings, images a step, then as above.
UNET_CASES = [((28, 28), 16, 2, 64, 10, 1.0), ((8, 8), 16, 1, 64, 50, 1.0)]


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


def course_dcgan(images: Any, shape: tuple[int, int], C: int, L: int, B: int) -> Run:
    from utils.networks import batches

    week = definitions(ROOT / "notebooks" / "week08_gan.py")
    networks = week["generator"](L, shape, C), week["discriminator"](shape, C)
    gan, data = week["GAN"](*networks, L, PENALTY), batches(images, B=B, seed=0, binarise=False)
    week["train"](gan, data, 1, 1e-3)
    return lambda: gan.fit(data, epochs=1, shuffle=False, verbose=0)


def course_wgan(images: Any, H: int, L: int, B: int, turns: int) -> Run:
    import keras

    from utils.adversarial import play
    from utils.networks import MLP, batches

    week, D = definitions(ROOT / "notebooks" / "week09_advanced_gan.py"), images.shape[1]
    ink = keras.layers.Activation("sigmoid")
    generator = keras.Sequential([keras.Input((L,)), MLP(L, H, H, D), ink])
    game = week["WGAN"](generator, MLP(D, H, H, 1), L, 10 * PENALTY, turns)
    data = batches(images, B=turns * B, seed=0, binarise=False)
    play(game, data, 1, dict.fromkeys(game.players, 1e-3), (0.0, 0.9), ["generator"], xla=True)
    return lambda: game.fit(data, epochs=1, shuffle=False, verbose=0)


def course_pixelcnn(images: Any, C: int, blocks: int, B: int) -> Run:
    """`rivals.pixelcnn_network`, of the notebook's masked convolutions and parent class."""
    import numpy as np
    import tensorflow as tf

    from utils.networks import batches, train

    week = definitions(ROOT / "notebooks" / "week10_autoregressive.py")
    Convolution, mask, one = week["MaskedConv2D"], week["mask"], np.ones((1, 1))

    Parent: Any = week["Autoregressive"]

    class PixelCNN(Parent):
        def __init__(self) -> None:
            super().__init__()
            self.first = Convolution(1, C, mask(7, 0))
            kernels = [(C, C, one), (C, C // 2, mask(3, 1)), (C // 2, C, one)]
            self.blocks = [[Convolution(*kernel) for kernel in kernels] for _ in range(blocks)]
            self.ends, self.last = [Convolution(C, C, one) for _ in range(2)], Convolution(C, 1, one)
            self.built = True

        def logits(self, x: Any, training: bool = False) -> Any:
            h = tf.nn.relu(self.first(tf.reshape(x, [-1, *images.shape[1:]])))
            for block in self.blocks:
                u = h
                for convolution in block:
                    u = tf.nn.relu(convolution(u))
                h += u
            for convolution in self.ends:
                h = tf.nn.relu(convolution(h))
            return tf.reshape(self.last(h), tf.shape(x))

    model, data = PixelCNN(), batches(images.reshape(len(images), -1), B=B, seed=0)
    train(model, data, 1, 1e-3)
    return lambda: model.fit(data, epochs=1, shuffle=False, verbose=0)


def course_gpt(codes: Any, V: int, T: int, E: int, layers: int, heads: int, B: int, steps: int) -> Run:
    week = definitions(ROOT / "notebooks" / "week11_transformers.py")
    model, data = week["gpt"](V, T, E, layers, heads), week["windows"](codes, T, B, steps, seed=0)
    week["train"](model, data, 1, 1e-3, decay=0.1, xla=True)
    return lambda: model.fit(data, epochs=1, shuffle=False, verbose=0)


def course_realnvp(points: Any, couplings: int, hidden: tuple[int, ...], B: int) -> Run:
    from utils.networks import batches, train

    week = definitions(ROOT / "notebooks" / "week12_flows.py")
    flow = week["Flow"](2, [week["Coupling"]([i % 2, 1 - i % 2], *hidden) for i in range(couplings)])
    data = batches(points, B=B, seed=0, binarise=False)
    train(flow, data, 1, 1e-3, xla=True)
    return lambda: flow.fit(data, epochs=1, shuffle=False, verbose=0)


def course_unet(images: Any, C: int, halvings: int, B: int) -> Run:
    from utils.networks import batches, train

    week = definitions(ROOT / "notebooks" / "week13_diffusion.py")
    network, levels = week["unet"](images.shape[1:3], C, halvings), week["linear_schedule"](1000)
    ddpm, data = week["Denoiser"](network, levels), batches(images, B=B, seed=0, binarise=False)
    train(ddpm, data, 1, 1e-3)
    return lambda: ddpm.fit(data, epochs=1, shuffle=False, verbose=0)


def seconds(run: Run) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def compare(what: str, per: str, count: int, ours: Run, other: str, theirs: Run, goal: float) -> bool:
    """Time both alternately, print the medians by ``per``, of which a run has ``count``; True if too slow."""
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(RUNS)]
    ratio = statistics.median(x / y for x, y in pairs)
    a, b = (1000 * statistics.median(column) / count for column in zip(*pairs, strict=True))
    verdict = "" if ratio <= goal else "  TOO SLOW"
    print(
        f"{what}: {a:.1f} ms {per}, {other} {b:.1f} ms, ratio {ratio:.2f} (goal: at most {goal}){verdict}",
        flush=True,
    )
    return ratio > goal


def rbm() -> Iterator[Case]:
    for D, H, B, N, epochs, goal in RBM_CASES:
        data = binary_images(N, D)
        pair = course_rbm(data, H, B, epochs), sklearn_rbm(data, H, B, epochs)
        what, per = f"RBM {D}×{H}, batch {B}", f"an epoch of {N:,} images"
        yield (what, per, epochs, pair[0], "scikit-learn", pair[1], goal)


def vae() -> Iterator[Case]:
    for D, H, L, B, N, epochs, goal in VAE_CASES:
        data = binary_images(N, D)
        theirs = rivals.vae(data, H, L, B, epochs)  # first: PyTorch may be missing
        ours = course_vae(data, H, L, B, epochs)
        what, per = f"VAE {D}-{H}-{L}, batch {B}", f"an epoch of {N:,} images"
        yield (what, per, epochs, ours, "PyTorch", theirs, goal)


def dcgan() -> Iterator[Case]:
    for shape, C, L, B, steps, goal in DCGAN_CASES:
        images = binary_images(steps * B, shape[0] * shape[1]).reshape(-1, *shape, 1)
        theirs = rivals.dcgan(images, C, L, B, PENALTY)
        ours = course_dcgan(images, shape, C, L, B)
        what = f"DCGAN {shape[0]}×{shape[1]}, {C} channels, batch {B}"
        yield (what, "a step", steps, ours, "PyTorch", theirs, goal)


def wgan() -> Iterator[Case]:
    for D, H, L, B, turns, steps, goal in WGAN_CASES:
        images = binary_images(steps * turns * B, D)
        theirs = rivals.wgan(images, H, L, B, turns, 10 * PENALTY)
        ours = course_wgan(images, H, L, B, turns)
        what = f"WGAN-GP {D}-{H}-{H}, batch {B}, {turns} steps of the critic"
        yield (what, "a step", steps, ours, "PyTorch", theirs, goal)


def pixelcnn() -> Iterator[Case]:
    for C, blocks, B, steps, goal in PIXELCNN_CASES:
        images = binary_images(steps * B, 784).reshape(-1, 28, 28, 1)
        theirs = rivals.pixelcnn(images, C, blocks, B)
        ours = course_pixelcnn(images, C, blocks, B)
        what = f"PixelCNN 28×28, {blocks} blocks of {C} channels, batch {B}"
        yield (what, "a step", steps, ours, "PyTorch", theirs, goal)


def gpt() -> Iterator[Case]:
    import numpy as np

    for V, T, E, layers, heads, B, steps, goal in GPT_CASES:
        codes = np.random.default_rng(0).integers(V, size=100_000).astype(np.int32)
        theirs = rivals.gpt(codes, V, T, E, layers, heads, B, steps)
        ours = course_gpt(codes, V, T, E, layers, heads, B, steps)
        what = f"GPT {layers}×{E}, {heads} heads, context {T}, batch {B}"
        yield (what, "a step", steps, ours, "PyTorch", theirs, goal)


def realnvp() -> Iterator[Case]:
    import numpy as np

    for couplings, hidden, B, steps, goal in REALNVP_CASES:
        points = np.random.default_rng(0).normal(size=(steps * B, 2)).astype(np.float32)
        theirs = rivals.realnvp(points, couplings, hidden, B)
        ours = course_realnvp(points, couplings, hidden, B)
        what = f"RealNVP, {couplings} couplings of {len(hidden)}×{hidden[0]}, batch {B}"
        yield (what, "a step", steps, ours, "PyTorch", theirs, goal)


def unet() -> Iterator[Case]:
    for shape, C, halvings, B, steps, goal in UNET_CASES:
        images = 2 * binary_images(steps * B, shape[0] * shape[1]).reshape(-1, *shape, 1) - 1
        theirs = rivals.unet(images, C, halvings, B)
        ours = course_unet(images, C, halvings, B)
        what = f"U-Net {shape[0]}×{shape[1]}, {C} channels, batch {B}"
        yield (what, "a step", steps, ours, "PyTorch", theirs, goal)


def main(arguments: list[str] | None = None) -> int:
    comparisons = {run.__name__: run for run in (rbm, vae, dcgan, wgan, pixelcnn, gpt, realnvp, unet)}
    parser = argparse.ArgumentParser(prog="python -m tools.speed", description=__doc__.split("\n")[0])
    parser.add_argument("which", nargs="*", help=f"{', '.join(comparisons)} (default: all)")
    options = parser.parse_args(arguments)
    if unknown := set(options.which) - set(comparisons):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(comparisons)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # NumPy reads them when it is imported
        os.environ[name] = str(THREADS)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    try:
        slow = [compare(*case) for name in options.which or comparisons for case in comparisons[name]()]
    except SpeedError as error:
        print(f"speed: {error}", file=sys.stderr)
        return 1
    return int(any(slow))


if __name__ == "__main__":
    sys.exit(main())
