"""utils/likelihood.py against TFP, SciPy and small perturbations."""

import numpy as np
import pytest
from scipy.special import logsumexp

tf = pytest.importorskip("tensorflow")
from tensorflow_probability import distributions as tfd  # noqa: E402

from utils.likelihood import PPCA, fit_ppca, log_mean_exp  # noqa: E402


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    return PPCA(rng.normal(size=(5, 2)), rng.normal(size=5), 0.4)


def joint(model):
    """p(z, x) of (z, x), a Gaussian in L + D dimensions."""
    W = model.W.numpy()
    covariance = np.block([[np.eye(2), W.T], [W, W @ W.T + model.sigma2.numpy() * np.eye(5)]])
    return np.concatenate([np.zeros(2), model.m]), covariance


def test_log_prob_is_that_of_the_gaussian(model):
    x = np.random.default_rng(1).normal(size=(7, 5))
    mean, covariance = joint(model)
    exact = tfd.MultivariateNormalTriL(mean[2:], np.linalg.cholesky(covariance[2:, 2:])).log_prob(x)
    np.testing.assert_allclose(model.log_prob(x), exact, rtol=1e-10)


def test_the_posterior_is_the_conditional_of_the_joint_gaussian(model):
    x = np.random.default_rng(2).normal(size=(7, 5))
    mean, covariance = joint(model)
    gain = covariance[:2, 2:] @ np.linalg.inv(covariance[2:, 2:])
    a, A = model.posterior(x)
    np.testing.assert_allclose(a, (x - mean[2:]) @ gain.T, rtol=1e-10)
    np.testing.assert_allclose(A, covariance[:2, :2] - gain @ covariance[2:, :2], rtol=1e-9, atol=1e-12)


def test_fit_is_a_maximum_with_orthogonal_columns():
    x = np.random.default_rng(3).normal(size=(60, 4)) @ np.diag([3.0, 2.0, 1.0, 0.5])
    fit = fit_ppca(x, 2)
    gram = (tf.transpose(fit.W) @ fit.W).numpy()
    assert abs(gram[0, 1]) < 1e-10 * gram[0, 0]
    best, rng = np.mean(fit.log_prob(x)), np.random.default_rng(4)
    for _ in range(20):
        other = PPCA(fit.W + 0.1 * rng.normal(size=(4, 2)), fit.m, fit.sigma2 * np.exp(0.1 * rng.normal()))
        assert np.mean(other.log_prob(x)) < best


@pytest.mark.parametrize("L", [0, 4])
def test_fit_refuses_what_is_no_ppca(L):
    with pytest.raises(ValueError, match="a number from 1 to 3 expected"):
        fit_ppca(np.eye(4), L)


def test_log_mean_exp_at_any_size():
    log_w = np.random.default_rng(5).normal(size=(6, 3))
    for shift in (0.0, -1000.0, 1000.0):
        np.testing.assert_allclose(
            log_mean_exp(log_w + shift), logsumexp(log_w, axis=0) - np.log(6) + shift, rtol=1e-12
        )
