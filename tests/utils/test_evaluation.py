"""Evaluation: each number against a slow, plain computation or a case with a known answer."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from utils import datasets, evaluation, paths
from utils.evaluation import Estimate


def test_estimate_prints_to_the_precision_of_its_error():
    assert str(Estimate(-18.1123, 0.2149)) == "−18.11 ± 0.21"
    assert str(Estimate(0.03442, 0.0047)) == "0.0344 ± 0.0047"
    assert str(Estimate(1234.4, 12.0)) == "1234 ± 12"
    assert str(Estimate(1.0, 0.0)) == "1.00 ± 0.00"
    assert f"{Estimate(-1.23456, 0.1):.3f}" == "−1.235 ± 0.100"


def test_units():
    assert evaluation.nats_to_bits(math.log(2)) == pytest.approx(1)
    # A uniform distribution over 2^64 images of 64 pixels costs one bit for each pixel.
    assert evaluation.bits_per_dim(-64 * math.log(2), 64) == pytest.approx(1)
    np.testing.assert_allclose(evaluation.bits_per_dim(np.array([-64.0, -128.0]) * math.log(2), 64), [1, 2])


def test_paired_difference():
    rng = np.random.default_rng(0)
    hard = rng.normal(-18, 6, 400)
    a, b = hard + 0.3 + rng.normal(0, 0.2, 400), hard
    difference = evaluation.paired_difference(a, b)
    assert difference.value == pytest.approx((a - b).mean())
    assert difference.error == pytest.approx((a - b).std(ddof=1) / 20)
    assert difference.error < evaluation.mean_estimate(a).error / 10
    with pytest.raises(ValueError, match="same images"):
        evaluation.paired_difference(a, b[:-1])
    with pytest.raises(ValueError, match="not finite"):
        evaluation.paired_difference([1.0, math.nan], [1.0, 2.0])


def test_masks_and_damage():
    mask = evaluation.lower_half((8, 8))
    assert mask.dtype == bool and mask.shape == (64,)
    assert not mask[:32].any() and mask[32:].all()
    assert evaluation.lower_half((3, 2)).tolist() == [False, False, True, True, True, True]

    x = datasets.digits().test
    damaged = evaluation.flip_pixels(x, 0.1, seed=3)
    assert damaged.dtype == np.float32 and damaged.shape == x.shape
    assert set(np.unique(damaged)) == {0, 1}
    # Binomial with 25,600 pixels: standard deviation 0.0019.
    assert abs((damaged != x).mean() - 0.1) < 0.012
    np.testing.assert_array_equal(damaged, evaluation.flip_pixels(x, 0.1, seed=3))
    np.testing.assert_array_equal(evaluation.flip_pixels(x, 0, seed=3), x)
    np.testing.assert_array_equal(evaluation.flip_pixels(x, 1, seed=3), 1 - x)
    with pytest.raises(ValueError, match="0 and 1"):
        evaluation.flip_pixels(2 * x - 1, 0.1, seed=0)

    mirrored = evaluation.mirror(x, (8, 8))
    np.testing.assert_array_equal(mirrored[5].reshape(8, 8), x[5].reshape(8, 8)[:, ::-1])


def test_pixel_errors():
    truth = np.zeros((4, 8))
    guess = truth.copy()
    guess[:, 4:6] = 1
    assert evaluation.pixel_errors(truth, guess).value == pytest.approx(0.25)
    mask = np.arange(8) >= 4
    assert evaluation.pixel_errors(truth, guess, mask) == Estimate(0.5, 0.0)
    with pytest.raises(ValueError, match="shape"):
        evaluation.pixel_errors(truth, guess[:3])


def test_features_are_fixed():
    """Every kernel distance on the scoreboard depends on these weights: never change this hash."""
    with np.load(paths.PACKAGE / "features.npz") as file:
        content = b"".join(name.encode() + file[name].tobytes() for name in sorted(file.files))
    assert (
        hashlib.sha256(content).hexdigest()
        == "d93c58a6ef73adfaa5daae2d787d8aaba5cd8cd4c59e679de3e7525e1579788c"
    )


@pytest.mark.parametrize("form", ["binary", "grey"])
def test_features_tell_digits_apart(form):
    """The network's own last layer on top of ``features`` names the test digits: the arithmetic is right."""
    digits = datasets.digits(form)
    images = digits.test / (1 if form == "binary" else 16)
    found = evaluation.features(images)
    assert found.shape == (400, 64) and found.dtype == np.float64
    w = evaluation._weights()
    assert np.mean((found @ w["head"] + w["head_bias"]).argmax(axis=1) == digits.test_labels) > 0.94
    np.testing.assert_allclose(evaluation.features(images.reshape(-1, 8, 8)[:5]), found[:5])


def test_features_refuse_other_images():
    with pytest.raises(ValueError, match="divide grey levels by 16"):
        evaluation.features(datasets.digits("grey").test)
    with pytest.raises(ValueError, match=r"\(N, 64\)"):
        evaluation.features(np.zeros((3, 784)))


def plain_kernel_distance(f, g):
    """The definition, pair by pair."""

    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    n, m = len(f), len(g)
    ff = sum(k(f[i], f[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    gg = sum(k(g[i], g[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return ff + gg - 2 * sum(k(a, b) for a in f for b in g) / (n * m)


def test_kernel_distance_is_its_definition():
    real, fake = datasets.digits().test[:9], datasets.digits().train[:7]
    f, g = evaluation.features(real), evaluation.features(fake)
    found = evaluation.kernel_distance(real, fake)
    assert found.value == pytest.approx(plain_kernel_distance(f, g), rel=1e-9)
    without_f = [plain_kernel_distance(np.delete(f, i, axis=0), g) for i in range(9)]
    without_g = [plain_kernel_distance(f, np.delete(g, i, axis=0)) for i in range(7)]
    assert found.error == pytest.approx(math.sqrt(8 * np.var(without_f) + 6 * np.var(without_g)), rel=1e-9)


def test_kernel_distance_sees_quality():
    digits, rng = datasets.digits(), np.random.default_rng(0)
    fresh = digits.train[:400]
    same = evaluation.kernel_distance(digits.test, fresh)
    assert abs(same.value) < 5 * same.error
    flipped = evaluation.kernel_distance(digits.test, evaluation.flip_pixels(fresh, 0.05, seed=0))
    noise = evaluation.kernel_distance(digits.test, rng.random((400, 64)) < digits.train.mean(axis=0))
    assert flipped.value > 5 * flipped.error and noise.value > 5 * noise.error
    assert noise.value > flipped.value > same.value


def test_kernel_distance_has_an_honest_error():
    """Scatter over disjoint sets of images against the error that is reported."""
    digits = datasets.digits()
    rows = np.random.default_rng(0).permutation(np.concatenate([digits.train, digits.validation]))[:1360]
    found = [
        evaluation.kernel_distance(rows[i : i + 40], evaluation.flip_pixels(rows[i + 40 : i + 80], 0.1, i))
        for i in range(0, 1360, 80)
    ]
    scatter = np.std([e.value for e in found], ddof=1)
    reported = np.mean([e.error for e in found])
    assert 0.5 < scatter / reported < 1.7


def test_an_extractor_is_learned_for_larger_images(monkeypatch):
    small = datasets.load("digits-grey")

    def larger(images):  # 28×28: each pixel three times three, and a border
        blocks = np.kron(images.reshape(-1, 8, 8) / 16, np.ones((1, 3, 3)))
        return np.pad(blocks, [(0, 0), (2, 2), (2, 2)]).reshape(-1, 784).astype(np.float32)

    parts = {name: larger(getattr(small, name)) for name in ("train", "validation", "test")}
    labels = {f"{name}_labels": getattr(small, f"{name}_labels") for name in parts}
    split = datasets.Split(name="made", shape=(28, 28), **parts, **labels)
    monkeypatch.setattr(datasets, "load", {"made": split, "digits-grey": small}.get)
    assert evaluation.extractor("digits-grey") is evaluation.features
    features = evaluation.extractor("made")
    assert features(split.test).shape == (400, 64)
    evaluation.extractor.cache_clear()
    np.testing.assert_allclose(evaluation.extractor("made")(split.test), features(split.test), atol=1e-5)
    shuffled = np.random.default_rng(0).permuted(split.train, axis=1)
    near, far = (evaluation.kernel_distance(split.test, x, features) for x in (split.train, shuffled))
    assert near.value < 3 * near.error and far.value > 10 * far.error
    assert evaluation.classifier_two_sample_test(split.test, shuffled, 0, features).value > 0.95
    assert evaluation.coverage(split.test, shuffled, features=features).value < 0.1
    wrong = {**labels, "train_labels": np.random.default_rng(0).permutation(labels["train_labels"])}
    mixed = datasets.Split(name="mixed", shape=(28, 28), **parts, **wrong)
    monkeypatch.setattr(datasets, "load", {"mixed": mixed}.get)
    assert np.abs(evaluation.extractor("mixed")(split.test) - features(split.test)).max() > 0.1, "unlearned"
    monkeypatch.setattr(datasets, "load", {"bare": datasets.Split("bare", (28, 28), **parts)}.get)
    with pytest.raises(ValueError, match="bare has no labels"):
        evaluation.extractor("bare")


def test_coverage_of_the_same_distribution_and_of_a_part():
    """Naeem et al. 2020: the expectation under one distribution is known; classes left out are missed."""
    images = datasets.load("digits-grey")
    pool = np.concatenate([images.train, images.test]) / 16
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        rows = rng.permutation(len(pool))[:300]
        found.append(evaluation.coverage(pool[rows[:200]], pool[rows[200:]], k=5).value)
    expected = 1 - np.prod([(200 - i) / (300 - i) for i in range(1, 6)])  # 0.87
    assert abs(np.mean(found) - expected) < 5 * np.std(found) / np.sqrt(40)

    test, train = images.test / 16, images.train / 16
    whole = evaluation.coverage(test, train)
    part = evaluation.coverage(test, train[images.train_labels < 7])
    missing = np.mean(images.test_labels >= 7)
    assert abs(whole.value - part.value - missing) < 0.05
    assert part.error == pytest.approx(np.sqrt(part.value * (1 - part.value) / 400))
    with pytest.raises(ValueError, match="k is 400; between 1 and 399 expected"):
        evaluation.coverage(test, train, k=400)


def test_two_sample_test():
    digits, rng = datasets.digits(), np.random.default_rng(0)
    same = evaluation.classifier_two_sample_test(digits.test, digits.train, seed=1)
    assert same.n == 400 and same.p_value > 1e-3 and abs(same.value - 0.5) < 0.1
    assert same.error == pytest.approx(math.sqrt(same.value * (1 - same.value) / 400))
    right = round(400 * same.value)
    tail = sum(math.comb(400, k) for k in range(right, 401)) / 2**400
    assert same.p_value == pytest.approx(tail)
    assert same == evaluation.classifier_two_sample_test(digits.test, digits.train, seed=1)
    noise = rng.random((400, 64)) < digits.train.mean(axis=0)
    different = evaluation.classifier_two_sample_test(digits.test, noise, seed=1)
    assert different.value > 0.85 and different.p_value < 1e-30
    assert "p = " in str(different)
    with pytest.raises(ValueError, match="at least 20"):
        evaluation.classifier_two_sample_test(digits.test, noise[:10], seed=1)


def test_two_sample_test_keeps_its_level():
    """Real digits against real digits: p below 0.1 no more often than about one time in ten."""
    digits, rng = datasets.digits(), np.random.default_rng(0)
    images = np.concatenate([digits.train, digits.validation, digits.test])
    small = 0
    for seed in range(40):
        rows = rng.permutation(len(images))[:200]
        test = evaluation.classifier_two_sample_test(images[rows[:100]], images[rows[100:]], seed)
        small += test.p_value < 0.1
    assert small <= 13  # Binomial(40, 0.1) exceeds 13 with probability 2e-5


def test_auroc_against_all_pairs():
    rng = np.random.default_rng(0)
    normal, anomalous = rng.integers(6, size=30).astype(float), rng.integers(3, 9, size=20).astype(float)
    wins = (anomalous[:, None] > normal) + 0.5 * (anomalous[:, None] == normal)
    found = evaluation.auroc(normal, anomalous)
    assert found.value == pytest.approx(wins.mean())
    delong = wins.mean(axis=1).var(ddof=1) / 20 + wins.mean(axis=0).var(ddof=1) / 30
    assert found.error == pytest.approx(math.sqrt(delong))
    from sklearn.metrics import roc_auc_score

    labels = np.repeat([0, 1], [30, 20])
    assert found.value == pytest.approx(roc_auc_score(labels, np.concatenate([normal, anomalous])))


def test_auroc_ends():
    assert evaluation.auroc([1, 2, 3], [4, 5]) == Estimate(1.0, 0.0)
    assert evaluation.auroc([4, 5], [1, 2, 3]).value == 0
    assert evaluation.auroc([1, 1], [1, 1]).value == 0.5
    with pytest.raises(ValueError, match="not finite"):
        evaluation.auroc([1, math.inf], [1, 2])


def test_auroc_has_an_honest_error():
    rng = np.random.default_rng(0)
    found = [evaluation.auroc(rng.normal(0, 1, 60), rng.normal(1, 1, 40)) for _ in range(300)]
    scatter = np.std([e.value for e in found], ddof=1)
    assert 0.8 < scatter / np.mean([e.error for e in found]) < 1.2
