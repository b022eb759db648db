"""The functions of the week 0 notebook, beyond what the notebook checks."""

import numpy as np
import pytest

from utils import stattests

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
    N, p = 20_000, 1 / (1 + np.exp(-model.b.numpy().astype(float)))
    x = model.sample(N).numpy()
    assert set(np.unique(x)) == {0, 1}
    for mean, exact in zip(x.mean(axis=0), p, strict=True):
        assert abs(mean - exact) <= stattests.bernstein_tolerance(N, exact * (1 - exact), 1.0, comparisons=5)


def test_fit_evaluates_and_saves(model, week, tmp_path):
    model.compile(optimizer="sgd")
    data = tf.data.Dataset.from_tensors(images(20))
    before = model.evaluate(data, verbose=0)
    history = model.fit(data, validation_data=data, epochs=20, verbose=0).history
    assert history["val_loss"][-1] < before
    np.testing.assert_allclose(model.evaluate(data, verbose=0), -np.mean(model(images(20))), rtol=1e-5)
    model.save_weights(tmp_path / "x.weights.h5")
    other = week["Pixels"](5)
    other.load_weights(tmp_path / "x.weights.h5")
    np.testing.assert_array_equal(other(images(3)), model(images(3)))
