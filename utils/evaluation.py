"""Numbers that compare models: units, sample quality, anomaly detection, masks, paired differences.

An ``Estimate`` carries its standard error. Everything here is NumPy and takes NumPy arrays, TensorFlow
tensors or lists.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


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


def mean_estimate(values: np.ndarray) -> Estimate:
    """The mean of independent values (N,) and its standard error, s / √N."""
    values = _array("values", values, 1)
    if len(values) < 2:
        raise ValueError("at least two values are needed for a standard error")
    return Estimate(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))))


def paired_difference(a: np.ndarray, b: np.ndarray) -> Estimate:
    """Mean of a − b over the same N images, and its standard error.

    Two models' test values move together (an odd image is hard for both), so the error of the difference is
    far smaller than the two errors suggest.
    """
    a, b = _array("a", a, 1), _array("b", b, 1)
    if a.shape != b.shape:
        raise ValueError(f"a has {len(a)} values and b {len(b)}; both need one for each of the same images")
    return mean_estimate(a - b)


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


# --- Masks and damage for imputing and repairing -------------------------------------------------------------


def lower_half(shape: tuple[int, int]) -> np.ndarray:
    """The course's mask for imputing: bool (D,), True where a pixel is missing, the lower half of the image."""
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


def pixel_errors(truth: np.ndarray, guess: np.ndarray, mask: np.ndarray | None = None) -> Estimate:
    """Mean absolute error per pixel, with its standard error over images: the metric of imputing and repairing.

    For 0/1 guesses it is the share of wrong pixels. ``mask``: bool (D,), count only the pixels where it is
    True (``lower_half`` for imputing). ``truth``, ``guess``: (N, D).
    """
    truth, guess = _array("truth", truth, 2), _array("guess", guess, 2)
    if truth.shape != guess.shape:
        raise ValueError(f"truth has shape {truth.shape}, guess {guess.shape}")
    wrong = np.abs(truth - guess)
    return mean_estimate((wrong if mask is None else wrong[:, np.asarray(mask, bool)]).mean(axis=1))
