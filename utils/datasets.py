"""Data sets: the digits with their one fixed split, exact toys, and the MNIST family by download.

Images are rows: float32 arrays (N, D) with D = height × width.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from utils import download

BINARY_THRESHOLD = 8  # a grey level of 8 or more (of 0..16) is ink
GREY_LEVELS = 17

_DIGITS_SHA256 = "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"  # pixels as uint8
_LABELS_SHA256 = "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0"  # labels as uint8
_TEST, _VALIDATION = 400, 200


@dataclass(frozen=True, eq=False)
class Split:
    """A data set in three parts.

    ``train``, ``validation``, ``test``: float32 (N, D), one image a row.
    ``*_labels``: int64 (N,), or None where the data set has none.
    ``shape``: (height, width), D = height × width.
    """

    name: str
    shape: tuple[int, int]
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    train_labels: np.ndarray | None = None
    validation_labels: np.ndarray | None = None
    test_labels: np.ndarray | None = None

    def __repr__(self) -> str:
        height, width = self.shape
        sizes = " / ".join(f"{len(part):,}" for part in (self.train, self.validation, self.test))
        return f"{self.name}: {sizes} images (train / validation / test) of {height}×{width} pixels"


def load(name: str) -> Split:
    """A data set by its name: digits, digits-grey, mnist, fashion-mnist or binarized-mnist."""
    loaders: dict[str, Callable[[], Split]] = {
        "digits": digits,
        "digits-grey": lambda: digits("grey"),
        "mnist": mnist,
        "fashion-mnist": fashion_mnist,
        "binarized-mnist": binarized_mnist,
    }
    if name not in loaders:
        raise ValueError(f"there is no data set {name!r}; choose one of {', '.join(loaders)}")
    return loaders[name]()


def digits(form: str = "binary") -> Split:
    """The 1,797 scans of handwritten digits that scikit-learn ships, 8×8 pixels, no download.

    ``form``: "binary" gives 0/1 (1 where the grey level is 8 or more), "grey" the levels 0, 1, …, 16.
    One fixed, stratified split for both: 1,197 train, 200 validation, 400 test. It depends neither on the
    version of scikit-learn nor on that of NumPy.
    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998.
    """
    if form not in ("binary", "grey"):
        raise ValueError(f"form is {form!r}; choose 'binary' or 'grey'")
    levels, labels = _digits()
    pixels = levels >= BINARY_THRESHOLD if form == "binary" else levels
    pixels = pixels.astype(np.float32)
    train, validation, test = digits_split(labels)
    return Split(
        name="digits" if form == "binary" else "digits-grey",
        shape=(8, 8),
        train=pixels[train],
        validation=pixels[validation],
        test=pixels[test],
        train_labels=labels[train],
        validation_labels=labels[validation],
        test_labels=labels[test],
    )


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Grey levels uint8 (1797, 64) and labels int64 (1797,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    levels, labels = bunch.data.astype(np.uint8), bunch.target.astype(np.uint8)
    for what, array, expected in (("pixels", levels, _DIGITS_SHA256), ("labels", labels, _LABELS_SHA256)):
        if hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() != expected:
            raise download.DataError(
                f"scikit-learn's digits are not the ones this course was made with (their {what} differ), so "
                "no number would be comparable. Install the versions in requirements.txt (`make setup`)."
            )
    labels = labels.astype(np.int64)
    for array in (levels, labels):
        array.setflags(write=False)  # cached: nobody may change it in place
    return levels, labels


def digits_split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers of train, validation and test, stratified by label.

    Every image gets two 64-bit keys. Within each class the images with the smallest first keys go to the
    test part, the next to the validation part; each part is then put in the order of its second keys, so that
    its first n images are a random sample of it. Only the raw stream of PCG64 is used, which NumPy promises
    never to change.
    """
    keys, order = np.random.PCG64(1797).random_raw(2 * len(labels)).reshape(2, -1)
    classes = np.unique(labels)
    sizes = np.array([np.sum(labels == c) for c in classes])
    n_test = _apportion(sizes, _TEST)
    n_validation = _apportion(sizes, _VALIDATION)
    parts: tuple[list, list, list] = ([], [], [])
    for c, test, validation in zip(classes, n_test, n_validation, strict=True):
        members = np.flatnonzero(labels == c)
        members = members[np.argsort(keys[members])]
        for part, rows in zip(parts, np.split(members, [test, test + validation]), strict=True):
            part.extend(rows)
    test_rows, validation_rows, train_rows = (np.array(part)[np.argsort(order[part])] for part in parts)
    return train_rows, validation_rows, test_rows


def _apportion(sizes: np.ndarray, total: int) -> np.ndarray:
    """Share ``total`` among classes in proportion to ``sizes`` (largest remainder, ties to the first)."""
    floors, remainders = np.divmod(sizes * total, sizes.sum())
    largest = np.argsort(-remainders, kind="stable")[: total - floors.sum()]
    floors[largest] += 1
    return floors


def bars_and_stripes(side: int = 3) -> np.ndarray:
    """All distinct patterns of full rows or full columns: float32 {0,1} (2·2^side − 2, side²).

    Every row (or every column) is either all ink or all blank; the empty and the full image, which are both,
    are listed once. Source: MacKay, Information Theory, Inference, and Learning Algorithms, 2003.
    """
    if not 1 <= side <= 12:
        raise ValueError(f"side is {side}; choose 1 to 12 (there are 2·2^side − 2 patterns)")
    lines = np.array(list(itertools.product((0, 1), repeat=side)), np.float32)  # (2^side, side)
    stripes = np.repeat(lines[:, :, None], side, axis=2)
    bars = np.repeat(lines[:, None, :], side, axis=1)
    return np.unique(np.concatenate([stripes, bars]).reshape(-1, side * side), axis=0)


TOYS = ("ring", "moons", "circles", "spiral", "checkerboard")


def toy_2d(name: str, n: int, seed: int) -> np.ndarray:
    """Points in the plane, float32 (n, 2), within about [−4, 4]².

    ``ring``: eight Gaussians (standard deviation 0.15) evenly on a circle of radius 3. ``moons``: two
    interleaved half circles. ``circles``: radii 1.5 and 3. ``spiral``: two arms. ``checkerboard``: the
    dark fields of a 4×4 board, uniform.
    """
    rng = np.random.default_rng(seed)
    if name == "ring":
        angle = 2 * np.pi * rng.integers(8, size=n) / 8
        points = 3 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.15 * rng.standard_normal((n, 2))
    elif name == "moons":
        angle = np.pi * rng.random(n)
        upper = rng.random(n) < 0.5
        x = np.where(upper, np.cos(angle) - 0.5, 0.5 - np.cos(angle))
        y = np.where(upper, np.sin(angle) - 0.25, 0.25 - np.sin(angle))
        points = 2 * np.stack([x, y], axis=1) + 0.15 * rng.standard_normal((n, 2))
    elif name == "circles":
        angle = 2 * np.pi * rng.random(n)
        radius = np.where(rng.random(n) < 0.5, 1.5, 3.0)
        points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        points += 0.1 * rng.standard_normal((n, 2))
    elif name == "spiral":
        t = 3 * np.pi * np.sqrt(rng.random(n))
        arm = np.where(rng.random(n) < 0.5, 1.0, -1.0)
        points = (arm * t / 3)[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1)
        points += 0.1 * rng.standard_normal((n, 2))
    elif name == "checkerboard":
        row = rng.integers(4, size=n)
        column = 2 * rng.integers(2, size=n) + row % 2
        points = 2 * (np.stack([column, row], axis=1) + rng.random((n, 2))) - 4
    else:
        raise ValueError(f"there is no toy {name!r}; choose one of {', '.join(TOYS)}")
    return points.astype(np.float32)


def mnist() -> Split:
    """MNIST: 50,000 / 10,000 / 10,000 images of 28×28 pixels, float32 in [0, 1] (N, 784).

    Validation is the last 10,000 images of the official training part. Downloaded at the first use (11 MB).
    Raises utils.download.DataError. Source: LeCun, Bottou, Bengio, Haffner, Proc. IEEE 1998.
    """
    return _mnist_like("mnist", download.MNIST)


def fashion_mnist() -> Split:
    """Fashion-MNIST: like ``mnist`` in form, ten kinds of clothes. Downloaded at the first use (31 MB).

    Raises utils.download.DataError. Source: Xiao, Rasul, Vollgraf, arXiv:1708.07747.
    """
    return _mnist_like("fashion-mnist", download.FASHION_MNIST)


def _mnist_like(name: str, sources: dict[str, download.Source]) -> Split:
    images = _idx(download.read(sources["train-images"])).reshape(-1, 784)
    labels = _idx(download.read(sources["train-labels"])).astype(np.int64)
    test = _idx(download.read(sources["test-images"])).reshape(-1, 784)
    test_labels = _idx(download.read(sources["test-labels"])).astype(np.int64)
    scale = np.float32(255)
    return Split(
        name=name,
        shape=(28, 28),
        train=images[:-10_000] / scale,
        validation=images[-10_000:] / scale,
        test=test / scale,
        train_labels=labels[:-10_000],
        validation_labels=labels[-10_000:],
        test_labels=test_labels,
    )


def _idx(compressed: bytes) -> np.ndarray:
    """LeCun's IDX format in gzip: two zero bytes, type 8 (uint8), rank, sizes (big-endian), values."""
    raw = gzip.decompress(compressed)
    rank = raw[3]
    sizes = np.frombuffer(raw, ">u4", count=rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(tuple(int(size) for size in sizes))


def binarized_mnist() -> Split:
    """MNIST in Larochelle's fixed binarisation: 50,000 / 10,000 / 10,000, float32 {0,1} (N, 784).

    Downloaded at the first use (110 MB of text). Only the test part has labels: it is the official test part
    sorted by digit, so do not take its first rows as a sample. Numbers on this set and on MNIST binarised
    afresh differ by one to two nats and are not comparable.
    Raises utils.download.DataError.
    Source: Salakhutdinov and Murray, ICML 2008; Larochelle and Murray, AISTATS 2011.
    """
    train, validation, test = (
        _amat(download.read(download.BINARIZED_MNIST[part])) for part in ("train", "validation", "test")
    )
    labels = np.sort(_idx(download.read(download.MNIST["test-labels"]))).astype(np.int64)
    return Split("binarized-mnist", (28, 28), train, validation, test, test_labels=labels)


def _amat(text: bytes) -> np.ndarray:
    """Lines of 784 digits 0 or 1, a blank between each: every second byte is a pixel."""
    return (np.frombuffer(text, np.uint8).reshape(-1, 2 * 784)[:, ::2] - ord("0")).astype(np.float32)
