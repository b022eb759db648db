"""The data sets: the split is fixed for good, the toys are exact, the MNIST family has its official parts."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import os

import numpy as np
import pytest

from utils import datasets, download

REAL_DATA = pytest.mark.skipif(
    not os.environ.get("LGM_DATA_DIR"), reason="LGM_DATA_DIR names no folder with the real data"
)


def test_split_is_fixed():
    """Every number on the scoreboard depends on it: never change this hash."""
    _, labels = datasets._digits()
    rows = datasets.digits_split(labels)
    assert [len(part) for part in rows] == [1197, 200, 400]
    joined = np.concatenate(rows)
    assert sorted(joined) == list(range(1797))
    digest = hashlib.sha256(joined.astype("<i8").tobytes()).hexdigest()
    assert digest == "eee3597ebc3d7d156cdf2ea63c535deff2a5875944e40559b1947650141f97a4"


def test_digits():
    binary, grey = datasets.digits(), datasets.digits("grey")
    for split in (binary, grey):
        assert split.shape == (8, 8)
        for part, labels, n in (
            (split.train, split.train_labels, 1197),
            (split.validation, split.validation_labels, 200),
            (split.test, split.test_labels, 400),
        ):
            assert part.shape == (n, 64) and part.dtype == np.float32
            assert labels.shape == (n,) and labels.dtype == np.int64
            share = np.bincount(labels, minlength=10) / n
            assert np.abs(share - 0.1).max() < 0.01, "stratified"
    assert set(np.unique(binary.train)) == {0, 1}
    assert set(np.unique(grey.train)) == set(range(17))
    np.testing.assert_array_equal(binary.test, grey.test >= 8)
    np.testing.assert_array_equal(binary.validation_labels, grey.validation_labels)
    assert len(np.unique(binary.test_labels[:40])) == 10, "classes alternate, first rows are a sample"
    assert "1,197 / 200 / 400" in repr(binary)


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    _, _, test = datasets.digits_split(bunch.target)
    np.testing.assert_array_equal(datasets.digits("grey").test, bunch.data[test])
    np.testing.assert_array_equal(datasets.digits().test_labels, bunch.target[test])


def test_digits_may_be_changed_by_their_owner():
    first = datasets.digits()
    first.train[:] = 7
    assert datasets.digits().train.max() == 1


def test_changed_digits_are_refused(monkeypatch):
    monkeypatch.setattr(datasets, "_DIGITS_SHA256", "0" * 64)
    datasets._digits.cache_clear()
    try:
        with pytest.raises(download.DataError, match="pixels differ.*make setup"):
            datasets.digits()
    finally:
        datasets._digits.cache_clear()


@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_bars_and_stripes(side):
    found = {tuple(row) for row in datasets.bars_and_stripes(side).astype(int)}
    expected = set()
    for pixels in itertools.product((0, 1), repeat=side * side):
        image = np.reshape(pixels, (side, side))
        if (image == image[:, :1]).all() or (image == image[:1]).all():
            expected.add(pixels)
    assert found == expected
    assert len(datasets.bars_and_stripes(side)) == len(expected)
    assert datasets.bars_and_stripes(side).dtype == np.float32


@pytest.mark.parametrize("name", datasets.TOYS)
def test_toys(name):
    points = datasets.toy_2d(name, 5000, seed=1)
    assert points.shape == (5000, 2) and points.dtype == np.float32
    assert np.abs(points).max() < 5
    np.testing.assert_array_equal(points, datasets.toy_2d(name, 5000, seed=1))
    assert not np.array_equal(points, datasets.toy_2d(name, 5000, seed=2))


def test_toys_have_their_shape():
    ring = datasets.toy_2d("ring", 4000, seed=0)
    angle = np.round(np.arctan2(ring[:, 1], ring[:, 0]) / (np.pi / 4)).astype(int) % 8
    assert np.bincount(angle, minlength=8).min() > 400
    assert abs(np.linalg.norm(ring, axis=1).mean() - 3) < 0.05
    board = np.floor(datasets.toy_2d("checkerboard", 4000, seed=0) / 2).astype(int)
    assert (board.sum(axis=1) % 2 == 0).all(), "dark fields only"
    assert len(np.unique(board, axis=0)) == 8


def test_unknown_names():
    with pytest.raises(ValueError, match="digits-grey"):
        datasets.load("digit")
    with pytest.raises(ValueError, match="'binary' or 'grey'"):
        datasets.digits("gray")
    with pytest.raises(ValueError, match="checkerboard"):
        datasets.toy_2d("donut", 10, 0)
    assert datasets.load("digits-grey").name == "digits-grey"


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes(), 1)


def test_mnist_from_its_files(monkeypatch):
    """The IDX format and the split, on files made here."""
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(10_020, 28, 28), dtype=np.uint8)
    labels = rng.integers(10, size=10_020, dtype=np.uint8)
    made = {
        "train-images-idx3-ubyte.gz": idx(images),
        "train-labels-idx1-ubyte.gz": idx(labels),
        "t10k-images-idx3-ubyte.gz": idx(images[:5]),
        "t10k-labels-idx1-ubyte.gz": idx(labels[:5]),
    }
    monkeypatch.setattr(download, "read", lambda source: made[source.path.split("/")[1]])
    for split in (datasets.mnist(), datasets.fashion_mnist()):
        assert [len(p) for p in (split.train, split.validation, split.test)] == [20, 10_000, 5]
        assert split.train.dtype == np.float32 and split.shape == (28, 28)
        np.testing.assert_array_equal(split.validation[-1], images[-1].reshape(-1) / np.float32(255))
        np.testing.assert_array_equal(split.train_labels, labels[:20])
        np.testing.assert_array_equal(split.validation_labels, labels[20:])


def test_amat():
    pixels = np.random.default_rng(0).integers(2, size=(3, 784))
    text = "".join(" ".join(map(str, row)) + " \n" for row in pixels).replace(" \n", "\n").encode()
    parsed = datasets._amat(text)
    assert parsed.dtype == np.float32
    np.testing.assert_array_equal(parsed, pixels)


@REAL_DATA
@pytest.mark.parametrize(
    ("name", "mean", "labels"),
    [("mnist", 0.1310, [3, 0]), ("fashion-mnist", 0.2856, [9, 0])],
)
def test_real_mnist(name, mean, labels):
    split = datasets.load(name)
    assert (len(split.train), len(split.validation), len(split.test)) == (50_000, 10_000, 10_000)
    assert split.train.shape[1] == 784 and split.train.dtype == np.float32
    assert split.train.max() == 1 and split.train.min() == 0
    assert abs(split.train.mean() - mean) < 1e-3
    assert len(split.train_labels) == 50_000 and set(split.test_labels) == set(range(10))
    assert [split.validation_labels[0], split.train_labels[1]] == labels


@REAL_DATA
def test_real_binarized_mnist():
    split, original = datasets.binarized_mnist(), datasets.mnist()
    assert (len(split.train), len(split.validation), len(split.test)) == (50_000, 10_000, 10_000)
    assert ((split.test == 0) | (split.test == 1)).all() and split.test.dtype == np.float32
    assert split.train_labels is None and split.validation_labels is None
    order = np.argsort(original.test_labels, kind="stable")
    np.testing.assert_array_equal(split.test_labels, original.test_labels[order])
    pixels = original.test[order]
    assert (split.test[pixels == 0] == 0).all() and (split.test[pixels == 1] == 1).all(), "rows match labels"
