"""The functions of the week 0 notebook, beyond what the notebook checks."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")


@pytest.fixture
def model(week):
    model = week["Pixels"](5)
    model.b.assign(np.random.default_rng(1).normal(size=5))
    return model


def images(n):
    return (np.random.default_rng(2).random((n, 5)) < 0.4).astype(np.float32)


# TODO: replace the example's tests: each quantity against what is known exactly.
def test_log_p_is_the_sum_over_pixels(model):
    x, p = images(7), 1 / (1 + np.exp(-model.b.numpy()))
    np.testing.assert_allclose(model(x), np.log(np.where(x == 1, p, 1 - p)).sum(axis=1), rtol=1e-5)


def test_samples_come_from_the_model(model):
    from utils import stattests

    N, p = 20_000, 1 / (1 + np.exp(-model.b.numpy().astype(float)))
    x = model.sample(N, seed=3).numpy()
    assert set(np.unique(x)) == {0, 1} and np.array_equal(x, model.sample(N, seed=3))
    for mean, exact in zip(x.mean(axis=0), p, strict=True):
        assert abs(mean - exact) <= stattests.bernstein_tolerance(N, exact * (1 - exact), 1.0, comparisons=5)


def test_fit_evaluates_and_saves(model, week, tmp_path):
    model.compile(optimizer="sgd")
    before = model.evaluate(images(20), verbose=0)
    history = model.fit(images(20), validation_data=(images(20),), epochs=20, verbose=0).history
    assert history["val_loss"][-1] < before
    np.testing.assert_allclose(model.evaluate(images(20), verbose=0), -np.mean(model(images(20))), rtol=1e-5)
    model.save_weights(tmp_path / "x.weights.h5")
    other = week["Pixels"](5)
    other(images(1))  # builds it
    other.load_weights(tmp_path / "x.weights.h5")
    np.testing.assert_array_equal(other(images(3)), model(images(3)))
