"""The functions of the week 1 notebook against enumeration and closed forms, beyond its own checks."""

import itertools
import os

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from utils import evaluation, stattests

tf = pytest.importorskip("tensorflow")


@pytest.fixture
def parameters():
    rng = np.random.default_rng(1)
    return rng.dirichlet([1, 1, 1]), rng.uniform(0.05, 0.95, (3, 5))


STATES = np.array(list(itertools.product([0.0, 1.0], repeat=5)))


def log_joint(pi, mu, x):
    """log p(x, z = k), one factor at a time: (B, K)."""
    factors = np.where(x[:, None] == 1, mu, 1 - mu)  # (B, K, D)
    return np.log(pi) + np.log(factors).sum(axis=2)


def test_samples_have_the_probabilities_that_log_prob_says(week, parameters):
    model = week["BernoulliMixture"](*parameters)
    p = np.exp(logsumexp(log_joint(*parameters, STATES), axis=1))
    np.testing.assert_allclose(np.exp(model.log_prob(STATES)), p, rtol=1e-12)
    N = 40_000
    x = model.sample(N, tf.random.Generator.from_seed(2)).numpy()
    shares = np.bincount((x @ [16, 8, 4, 2, 1]).astype(int), minlength=32) / N
    for share, exact in zip(shares, p, strict=True):
        assert abs(share - exact) <= stattests.bernstein_tolerance(
            N, exact * (1 - exact), 1.0, comparisons=32
        )


def test_a_component_of_weight_zero_is_never_drawn(week):
    model = week["BernoulliMixture"](np.array([0.0, 1.0, 0.0]), np.array([[1.0], [0.0], [1.0]]))
    assert not model.sample(1000, tf.random.Generator.from_seed(1)).numpy().any()
    assert model.log_prob(np.array([[1.0], [0.0]])).numpy().tolist() == [-np.inf, 0.0]


@pytest.mark.parametrize("a", [0.0, 0.7])
def test_an_em_step_is_that_of_real_and_imaginary_images(week, parameters, a):
    """The oracle adds the imaginary images to the data one state at a time, with known components."""
    pi, mu = parameters
    rng = np.random.default_rng(3)
    x, m_bar = (rng.random((11, 5)) < 0.5).astype(float), rng.uniform(0.2, 0.8, 5)
    joint = log_joint(pi, mu, x)
    log_px = logsumexp(joint, axis=1)
    r = np.exp(joint - log_px[:, None])
    share = np.exp(log_joint(np.ones(1), m_bar[None], STATES))[
        :, 0
    ]  # how many of each state, per imaginary image
    images = np.concatenate([x, *[STATES] * 3])
    weights = np.concatenate([r, *[a * share[:, None] * (np.arange(3) == k) for k in range(3)]])
    new_pi, new_mu, together = week["em_step"](*(tf.constant(v, tf.float64) for v in (x, pi, mu, a, m_bar)))
    np.testing.assert_allclose(new_pi, weights.sum(axis=0) / weights.sum(), rtol=1e-12)
    np.testing.assert_allclose(new_mu, weights.T @ images / weights.sum(axis=0)[:, None], rtol=1e-12)
    imaginary = (a * share[:, None] * log_joint(pi, mu, STATES)).sum()
    assert float(together) == pytest.approx((log_px.sum() + imaginary) / 11, rel=1e-12)


@pytest.mark.parametrize("a", [0.0, 0.5])
def test_em_never_lowers_its_objective(week, a):
    x = (np.random.default_rng(4).random((60, 9)) < 0.3).astype(np.float64)
    models, curve = week["fit_bernoullis"](x, 12, a, 40, 5)
    assert (np.diff(curve) > -1e-12).all() and curve[-1] > curve[0] + 0.5
    assert len(models) == 41 and len(curve) == 40
    if a == 0:  # then the objective is the log-likelihood, before each step
        np.testing.assert_allclose([m.log_prob(x).numpy().mean() for m in models[:-1]], curve, rtol=1e-9)
    (*_, again), _ = week["fit_bernoullis"](x, 12, a, 40, 5)
    np.testing.assert_array_equal(models[-1].mu, again.mu)


def test_an_em_step_in_logs_is_an_em_step(week, parameters):
    pi, mu = parameters
    x = (np.random.default_rng(5).random((13, 5)) < 0.5).astype(float)
    x[:, 4] = 0  # a pixel that never has ink
    new_pi, new_mu, *_ = week["em_step"](*(tf.constant(v) for v in (x, pi, mu, 0.0 * pi[0], x.mean(axis=0))))
    logs = week["em_step_in_logs"](*(tf.constant(v) for v in (x, np.log(pi), np.log(mu), np.log1p(-mu))))
    np.testing.assert_allclose(np.exp(logs[0]), new_pi, rtol=1e-12)
    np.testing.assert_allclose(np.exp(logs[1]), new_mu, rtol=1e-12)
    np.testing.assert_allclose(np.exp(logs[2]), 1 - new_mu, rtol=1e-12)
    np.testing.assert_allclose(logs[3], logsumexp(log_joint(pi, mu, x), axis=1), rtol=1e-12)


def test_in_logs_nothing_that_was_seen_becomes_impossible(week):
    """Two kinds of images that differ in all pixels; a new one mixes them: impossible in float32."""
    x = np.repeat([[1.0] * 6 + [0.0] * 6, [0.0] * 6 + [1.0] * 6], 20, axis=0).astype(np.float32)
    new = np.float32([[1.0, 0.0] * 6])
    train, other = week["fit_in_logs"](x, 2, 8, 1, new)
    assert (np.diff(train.mean(axis=1)) > -1e-4).all() and np.isfinite(other).all()
    assert week["BernoulliMixture"].FLOOR / 2 < other[-1, 0] < other[3, 0] < other[0, 0]
    (*_, rounded), _ = week["fit_bernoullis"](x, 2, 0.0, 30, 1)
    assert np.isneginf(rounded.log_prob(new)[0])


def test_without_smoothing_what_was_never_seen_is_impossible(week):
    x = np.array([[1, 0, 0], [0, 1, 0]] * 5, np.float32)
    new = np.array([[0, 0, 1], [1, 0, 0]], np.float32)
    for a, impossible in [(0.0, [True, False]), (0.5, [False, False])]:
        (*_, model), _ = week["fit_bernoullis"](x, 2, a, 30, 0)
        log_px = model.log_prob(new).numpy()
        assert np.isneginf(log_px).tolist() == impossible and not np.isnan(log_px).any()


def test_a_gaussian_em_step_never_lowers_its_objective(week):
    """Real points, and a points for each component around its mean with covariance s² I (a free mean)."""
    x = tf.constant(np.random.default_rng(6).normal(size=(30, 2)) * [1, 3])
    pi, m, S = tf.fill([3], tf.constant(1 / 3, x.dtype)), x[:3], tf.eye(2, batch_shape=[3], dtype=x.dtype)
    a, s, values = tf.constant(0.8, x.dtype), tf.constant(0.4, x.dtype), []
    for _ in range(25):
        imaginary = np.log(pi) - 0.5 * (
            np.linalg.slogdet(S)[1] + 0.16 * np.trace(np.linalg.inv(S), axis1=1, axis2=2)
        )
        before = (pi, m, S)
        pi, m, S, mean = week["gaussian_em_step"](x, *before, a, s)
        exact = sum(p * multivariate_normal(c, C).pdf(x) for p, c, C in zip(*before, strict=True))
        assert float(mean) == pytest.approx(np.log(exact).mean(), rel=1e-10)
        values.append(30 * float(mean) + 0.8 * float(imaginary.sum()))
    assert (np.diff(values) > -1e-9).all() and values[-1] > values[0] + 1


def test_restore_is_bayes_rule_pixel_by_pixel(week, parameters):
    """Three pixels missing, two seen, flipped with probability 0.2; what is known stays as it is."""
    model, seen = week["BernoulliMixture"](*parameters), np.array([True, False, False, True, False])
    p = np.exp(logsumexp(log_joint(*parameters, STATES), axis=1))
    observed = np.array([[1.0, 0.0, 0.0, 0.0, 0.0]])
    likelihood = np.where(STATES[:, seen] == observed[:, seen], 0.8, 0.2).prod(axis=1)
    exact = (likelihood * p) @ STATES / (likelihood @ p)
    np.testing.assert_allclose(week["restore"](model, observed, seen, 0.2)[0], exact, rtol=1e-12)
    other = observed + np.array([0, 1, 1, 0, 1])  # what stands at the missing pixels must not matter
    np.testing.assert_allclose(week["restore"](model, other, seen, 0.2)[0], exact, rtol=1e-12)
    kept = week["restore"](model, observed, seen, 0.0).numpy()[0, seen]
    np.testing.assert_allclose(kept, [1, 0], atol=1e-12)


@pytest.mark.parametrize("L", [0, 2, 3])
def test_ppca_is_the_best_gaussian_of_its_kind(week, L):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(80, 4)) @ rng.normal(size=(4, 4)) + 2
    fit = week["fit_ppca"](tf.constant(x), L)
    W, m, sigma2 = fit.W.numpy(), fit.m.numpy(), float(fit.sigma2)
    C = W @ W.T + sigma2 * np.eye(4)
    np.testing.assert_allclose(fit.log_prob(x), multivariate_normal(m, C).logpdf(x), rtol=1e-9)
    # E[z | x] from the joint Gaussian of x and z, whose covariance is W
    np.testing.assert_allclose(fit.posterior_mean(x), (x - m) @ np.linalg.solve(C, W), atol=1e-9)
    best = float(tf.reduce_mean(fit.log_prob(x)))
    for _ in range(20):  # other W with their own best σ² are no better
        other = W + 0.1 * rng.normal(size=W.shape)
        values = [
            multivariate_normal(m, other @ other.T + v * np.eye(4)).logpdf(x).mean()
            for v in sigma2 * np.geomspace(0.5, 2, 9)
        ]
        assert max(values) <= best + 1e-9
    if L == 3:
        np.testing.assert_allclose(C, np.cov(x.T, bias=True), rtol=1e-9)


def test_the_difference_of_two_detectors(week):
    rng = np.random.default_rng(8)
    normal, anomalous = rng.integers(5, size=(2, 30)), rng.integers(2, 7, size=(2, 20))
    gap = week["auroc_difference"](normal, anomalous)
    areas = [evaluation.auroc(*pair) for pair in zip(normal, anomalous, strict=True)]
    assert gap.value == pytest.approx(areas[0].value - areas[1].value)
    # against a detector that ranks nothing (area ½) the error is that of the other alone: DeLong's
    flat = week["auroc_difference"]([normal[0], np.zeros(30)], [anomalous[0], np.zeros(20)])
    assert flat.error == pytest.approx(areas[0].error) and flat.value == pytest.approx(areas[0].value - 0.5)


def test_a_medical_table_from_a_file(week, tmp_path):
    np.savez(tmp_path / "table.npz", X=np.arange(6).reshape(3, 2), y=np.array([[0], [1], [0]]))
    x, anomalous, columns = week["medical_table"](tmp_path / "table.npz")
    assert x.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]] and columns is None
    assert anomalous.tolist() == [False, True, False]


@pytest.mark.skipif(
    not os.environ.get("LGM_DATA_DIR"), reason="LGM_DATA_DIR names no folder with the real data"
)
@pytest.mark.parametrize(("name", "N", "ill"), [("thyroid", 3772, 93), ("mammography", 11183, 260)])
def test_a_medical_table_by_its_name(week, name, N, ill):
    x, anomalous, _ = week["medical_table"](name)
    assert x.shape == (N, 6) and anomalous.shape == (N,) and anomalous.sum() == ill
