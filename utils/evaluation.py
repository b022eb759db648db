"""Numbers that compare models: units, sample quality, anomaly detection, masks, paired differences.

An ``Estimate`` carries its standard error. Everything here is NumPy and takes NumPy arrays, TensorFlow
tensors or lists.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from utils import datasets, paths


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error, in the same unit; prints as "−18.11 ± 0.21"."""

    value: float
    error: float

    def __str__(self) -> str:
        decimals = 2
        if self.error > 0 and math.isfinite(self.error):
            decimals = max(0, 1 - math.floor(math.log10(self.error)))
        return self.__format__(f".{decimals}f")

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        return f"{self.value:{spec}} ± {self.error:{spec}}".replace("-", "−")


def mean_estimate(values: ArrayLike) -> Estimate:
    """The mean of independent values (N,) and its standard error, s / √N."""
    array = _array("values", values, 1)
    if len(array) < 2:
        raise ValueError("at least two values are needed for a standard error")
    return Estimate(float(array.mean()), float(array.std(ddof=1) / math.sqrt(len(array))))


def paired_difference(a: ArrayLike, b: ArrayLike) -> Estimate:
    """Mean of a − b over the same N images, and its standard error.

    Two models' test values move together (an odd image is hard for both), so the error of the difference is
    far smaller than the two errors suggest.
    """
    first, second = _array("a", a, 1), _array("b", b, 1)
    if first.shape != second.shape:
        raise ValueError(
            f"a has {len(first)} values and b {len(second)}; both need one for each of the same images"
        )
    return mean_estimate(first - second)


def nats_to_bits(x):
    """Nats → bits: divide by ln 2."""
    return np.asarray(x, dtype=np.float64)[()] / math.log(2)


def bits_per_dim(nats, d: int):
    """Log-likelihood per image in nats → bits per dimension, −nats / (d ln 2): positive, lower is better.

    The sign turns over: a lower bound on the log-likelihood becomes an upper bound in bits per dimension.
    """
    return -nats_to_bits(nats) / d


def _array(name: str, value, ndim: int) -> np.ndarray:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim != ndim:
        raise ValueError(f"{name} has shape {array.shape}; {ndim} axes expected")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has values that are not finite (NaN or infinite)")
    return array


# --- Masks and damage for imputing and repairing ----------------------------------------------------------


def lower_half(shape: tuple[int, int]) -> np.ndarray:
    """The course's mask for imputing: bool (D,), True in the lower half of the image, which is missing."""
    height, width = shape
    mask = np.zeros((height, width), bool)
    mask[height // 2 :] = True
    return mask.reshape(-1)


def flip_pixels(x: np.ndarray, rate: float, seed: int) -> np.ndarray:
    """The course's damage for repairing: each pixel of {0,1} images flipped with probability ``rate``.

    The same images, rate and seed give the same damage. Returns an array of the shape of x, float32.
    """
    x = np.asarray(x, dtype=np.float32)
    if not np.isin(x, (0, 1)).all():
        raise ValueError("flip_pixels needs binary images with values 0 and 1")
    if not 0 <= rate <= 1:
        raise ValueError(f"rate is {rate}; a probability expected")
    flips = np.random.default_rng(seed).random(x.shape) < rate
    return np.where(flips, 1 - x, x)


def mirror(x: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The course's anomalies: images (N, D) mirrored left to right → (N, D), no longer digits.

    A mirrored 0 or 8 looks much like another 0 or 8, so no detector reaches an area of 1.
    """
    height, width = shape
    x = np.asarray(x)
    return x.reshape(-1, height, width)[:, :, ::-1].reshape(x.shape)


def pixel_errors(truth: np.ndarray, guess: np.ndarray, mask: np.ndarray | None = None) -> Estimate:
    """Mean absolute error per pixel, ± its standard error over images: for imputing and repairing.

    For 0/1 guesses it is the share of wrong pixels. ``mask``: bool (D,), count only the pixels where it is
    True (``lower_half`` for imputing). ``truth``, ``guess``: (N, D).
    """
    truth, guess = _array("truth", truth, 2), _array("guess", guess, 2)
    if truth.shape != guess.shape:
        raise ValueError(f"truth has shape {truth.shape}, guess {guess.shape}")
    wrong = np.abs(truth - guess)
    return mean_estimate((wrong if mask is None else wrong[:, np.asarray(mask, bool)]).mean(axis=1))


# --- Sample quality ------------------------------------------------------------------------------


def features(images: np.ndarray) -> np.ndarray:
    """Features of 8×8 digits, float64 (N, 64): the last hidden layer of one small network, the same for good.

    ``images``: (N, 64) or (N, 8, 8), binary or grey levels divided by 16, so within [0, 1].
    The network learned on the digits' training part, grey and binary alike, to name the digit and to tell how
    many pixels were flipped (tools/make_features.py); its weights are in utils/features.npz.
    """
    x = np.asarray(images, dtype=np.float64)
    if x.ndim not in (2, 3) or x.shape[1:] not in ((64,), (8, 8)):
        raise ValueError(f"images have shape {x.shape}; (N, 64) or (N, 8, 8) expected")
    if not (np.isfinite(x).all() and x.min() >= 0 and x.max() <= 1):
        raise ValueError("images need values within [0, 1]: divide grey levels by 16, map −1/1 to 0/1")
    w = _weights()
    x = x.reshape(-1, 8, 8, 1)
    x = np.maximum(_convolve(x, w["conv1"]) + w["conv1_bias"], 0)  # (N, 6, 6, 16)
    x = np.maximum(_convolve(x, w["conv2"]) + w["conv2_bias"], 0)  # (N, 4, 4, 32)
    x = x.reshape(-1, 2, 2, 2, 2, 32).mean(axis=(2, 4))  # (N, 2, 2, 32)
    return np.tanh(x.reshape(-1, 128) @ w["dense"] + w["dense_bias"])


@cache
def extractor(data: str) -> Callable[[np.ndarray], np.ndarray]:
    """The features for a data set by its name: images in [0, 1] → (N, 64). For 8×8 digits: ``features``.

    For "mnist" and "fashion-mnist" a small network learns to name the classes of the training part when it is
    first asked for (15 seconds of a CPU), with a fixed seed; its last hidden layer are the features. Numbers
    from it compare within one machine and its versions only, and not with those of other data.
    """
    split = datasets.load(data)
    if split.shape == (8, 8):
        return features
    if split.train_labels is None:
        raise ValueError(f"{data} has no labels to learn features from: use mnist or fashion-mnist")
    import keras

    layers, seeds = keras.layers, iter(range(4))

    def start() -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(seed=next(seeds))

    net = keras.Sequential(
        [
            keras.Input((*split.shape, 1)),
            layers.Conv2D(16, 5, strides=2, activation="relu", kernel_initializer=start()),
            layers.Conv2D(32, 3, strides=2, activation="relu", kernel_initializer=start()),
            layers.Flatten(),
            layers.Dense(64, activation="tanh", kernel_initializer=start()),
        ]
    )
    classifier = keras.Sequential([net, layers.Dense(10, kernel_initializer=start())])
    classifier.compile(
        keras.optimizers.Adam(2e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    order = np.random.default_rng(0).permutation(len(split.train))
    x, y = split.train[order].reshape(-1, *split.shape, 1), split.train_labels[order]
    classifier.fit(x, y, batch_size=100, epochs=2, shuffle=False, verbose=0)

    def learned(images: np.ndarray) -> np.ndarray:
        x = np.asarray(images, dtype=np.float32).reshape(-1, *split.shape, 1)
        parts = np.array_split(x, -(-len(x) // 500))  # bounded memory
        return np.concatenate([net(part).numpy() for part in parts]).astype(np.float64)

    return learned


@cache
def _weights() -> dict[str, np.ndarray]:
    with np.load(paths.PACKAGE / "features.npz", allow_pickle=False) as file:
        return {name: file[name].astype(np.float64) for name in file.files}


def _convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """x: (N, height, width, C) with kernel (3, 3, C, F) → (N, height − 2, width − 2, F)."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))  # (N, h, w, C, 3, 3)
    return np.tensordot(windows, kernel, axes=([4, 5, 3], [0, 1, 2]))


def kernel_distance(
    real: np.ndarray, fake: np.ndarray, features: Callable[[np.ndarray], np.ndarray] = features
) -> Estimate:
    """Kernel distance of two sets of images (Bińkowski et al. 2018): squared MMD of their features.

    The kernel is k(f, g) = (f·g / 64 + 1)³; the estimate is the unbiased one, so it scatters about 0 when
    both sets come from one distribution, and **may be negative**. ``real``: (N, 64), ``fake``: (M, 64) as for
    ``features``, or what another ``extractor`` takes; the images of each set must be independent (no
    neighbouring states of one chain).

    The error is the delete-one jackknife for two samples (Arvesen 1969): consistent where the distributions
    differ, too large rather than too small where they are the same. It is the scatter due to both finite
    sets; a comparison of two models on one set of real images is more precise than the two errors suggest.
    """
    f, g = features(real), features(fake)
    if min(len(f), len(g)) < 3:
        raise ValueError("at least three images are needed on each side")
    kff, kgg, kfg = _cubic(f, f), _cubic(g, g), _cubic(f, g)
    n, m = len(f), len(g)
    np.fill_diagonal(kff, 0)
    np.fill_diagonal(kgg, 0)
    ff, gg, fg = kff.sum(), kgg.sum(), kfg.sum()
    value = ff / (n * (n - 1)) + gg / (m * (m - 1)) - 2 * fg / (n * m)
    without_f = (  # the estimate without the i-th real image, for all i at once
        (ff - 2 * kff.sum(axis=1)) / ((n - 1) * (n - 2))
        + gg / (m * (m - 1))
        - 2 * (fg - kfg.sum(axis=1)) / ((n - 1) * m)
    )
    without_g = (
        ff / (n * (n - 1))
        + (gg - 2 * kgg.sum(axis=1)) / ((m - 1) * (m - 2))
        - 2 * (fg - kfg.sum(axis=0)) / (n * (m - 1))
    )
    variance = (n - 1) * without_f.var() + (m - 1) * without_g.var()
    return Estimate(float(value), float(math.sqrt(variance)))


def _cubic(f: np.ndarray, g: np.ndarray) -> np.ndarray:
    return (f @ g.T / f.shape[1] + 1) ** 3


def coverage(
    real: np.ndarray,
    fake: np.ndarray,
    k: int = 5,
    features: Callable[[np.ndarray], np.ndarray] = features,
) -> Estimate:
    """Share of the real images that have a fake one among their neighbours (Naeem et al. 2020): diversity.

    A real image counts if some fake one is nearer to it, by ``features``, than its ``k``-th nearest real one.
    If both sets come from one distribution, the expectation is 1 − ∏ᵢ (n − i) / (n + m − i), i = 1, …, k
    (0.97 for 400 images each and k = 5): that is the best, not 1. A model that left out a tenth of the data
    loses about a tenth. Error: binomial, as if the real images counted independently.
    ``real``, ``fake``: (n, 64), (m, 64) as for ``features``; more than ``k`` real images.
    """
    from scipy.spatial.distance import cdist

    f, g = features(real), features(fake)
    if not 1 <= k < len(f):
        raise ValueError(f"k is {k}; between 1 and {len(f) - 1} expected, for {len(f)} real images")
    radius = np.sort(cdist(f, f), axis=1)[:, k]  # column 0 is the image itself
    share = float(np.mean(cdist(f, g).min(axis=1) < radius))
    return Estimate(share, math.sqrt(share * (1 - share) / len(f)))


@dataclass(frozen=True)
class TwoSampleTest(Estimate):
    """Held-out accuracy, its standard error, and the p-value of "both sets come from one distribution"."""

    p_value: float
    n: int  # held-out images

    def __str__(self) -> str:
        return f"{super().__str__()} (p = {self.p_value:.2g})"


def classifier_two_sample_test(
    real: np.ndarray,
    fake: np.ndarray,
    seed: int = 0,
    features: Callable[[np.ndarray], np.ndarray] = features,
) -> TwoSampleTest:
    """Classifier two-sample test of Lopez-Paz and Oquab (2017): accuracy on held-out images, 0.5 is best.

    The larger set is thinned to the size of the smaller, each is split in two halves, a classifier learns to
    tell real from fake on the first halves and is tested on the second. The classifier is always the same: a
    support vector machine with a Gaussian kernel (scikit-learn's SVC, C = 2) on the pixels and the 64
    ``features``, standardised. ``seed`` decides who is in which half, nothing else.

    Error: binomial, √(a (1 − a) / n). p-value: P(Binomial(n, ½) ≥ number right); for halves of equal size it
    is conservative in the tail (Hoeffding 1956). The images of each set must be independent.
    ``real``, ``fake``: (N, 64), (M, 64) as for ``features``; at least 20 each.
    """
    from scipy.stats import binom
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    rng = np.random.default_rng(seed)
    size = min(len(real), len(fake))
    if size < 20:
        raise ValueError(f"at least 20 images of each kind are needed, got {len(real)} and {len(fake)}")
    half = size // 2
    learn, held_out = [], []
    for images in (real, fake):
        images = np.asarray(images, dtype=np.float64).reshape(len(images), -1)
        chosen = images[rng.permutation(len(images))[: 2 * half]]
        both = np.concatenate([chosen, features(chosen)], axis=1)
        learn.append(both[:half])
        held_out.append(both[half:])
    label = np.repeat([1, 0], half)
    classifier = make_pipeline(StandardScaler(), SVC(C=2.0))
    classifier.fit(np.concatenate(learn), label)
    n = 2 * half
    right = int(np.sum(classifier.predict(np.concatenate(held_out)) == label))
    accuracy = right / n
    error = math.sqrt(accuracy * (1 - accuracy) / n)
    return TwoSampleTest(accuracy, error, p_value=float(binom.sf(right - 1, n, 0.5)), n=n)


def auroc(normal: np.ndarray, anomalous: np.ndarray) -> Estimate:
    """Area under the ROC curve: P(an anomaly scores higher than a normal image), ties count half.

    ``normal`` (N,), ``anomalous`` (M,): scores, higher = more anomalous (for a likelihood: −log p). The error
    is DeLong's (DeLong, DeLong and Clarke-Pearson 1988); it is 0 where the two are separated perfectly.
    """
    normal, anomalous = _array("normal", normal, 1), _array("anomalous", anomalous, 1)
    n, m = len(normal), len(anomalous)
    if min(n, m) < 2:
        raise ValueError("at least two scores of each kind are needed")
    # For each anomaly the share of normal scores below it, for each normal one that of anomalies above.
    order = np.sort(normal)
    below = (np.searchsorted(order, anomalous, "left") + np.searchsorted(order, anomalous, "right")) / (2 * n)
    order = np.sort(anomalous)
    above = 1 - (np.searchsorted(order, normal, "left") + np.searchsorted(order, normal, "right")) / (2 * m)
    return Estimate(float(below.mean()), math.sqrt(below.var(ddof=1) / m + above.var(ddof=1) / n))
