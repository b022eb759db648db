"""utils/networks.py: the multilayer perceptron, batches, and training (more of it in weeks 6 and 7)."""

import numpy as np
import pytest
from scipy.special import expit

tf = pytest.importorskip("tensorflow")
import keras  # noqa: E402

from utils.networks import MLP, Adam, MaskedDense, batches, bernoulli, set_beta, train  # noqa: E402


def test_mlp_is_dense_silu_dense_on_any_leading_axes():
    tf.keras.utils.set_random_seed(0)
    centre = np.array([0.5, -1.0, 2.0], np.float32)
    net, x = MLP(3, 4, 2, centre=centre), np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32)
    W, b, V, c = (w.numpy() for w in net.weights)
    u = (x - centre) @ W + b
    np.testing.assert_allclose(net(x), (u * expit(u)) @ V + c, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="sizes of its input and its output"):
        MLP(3)


def test_bernoulli_keeps_zeros_and_ones_and_draws_the_rest():
    tf.random.set_seed(2)
    drawn = bernoulli(tf.constant([[0.0, 1.0, 0.3]] * 20_000)).numpy()
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert (drawn[:, 0] == 0).all() and (drawn[:, 1] == 1).all()
    assert abs(drawn[:, 2].mean() - 0.3) < 6 * np.sqrt(0.21 / 20_000)


def test_each_row_comes_once_an_epoch_in_a_new_order():
    x = np.arange(10, dtype=np.int32)[:, None]
    data = batches(x, B=4, seed=0)
    assert len(data) == 2
    first, second = (np.concatenate(list(data.as_numpy_iterator())).ravel() for _ in range(2))
    assert len(set(first)) == len(set(second)) == 8, "no row twice; two of ten are dropped"
    assert list(first) != list(second)
    again = np.concatenate(list(batches(x, B=4, seed=0).as_numpy_iterator())).ravel()
    assert list(again) == list(first), "the same seed, the same order"


def test_grey_images_are_drawn_afresh_and_partners_stay_together():
    x, y = np.full((6, 50), 0.5, np.float32), np.arange(6, dtype=np.int32)
    x[:, 0] = y == 3
    data = batches(x, y, B=6, seed=1)
    ((a, labels),), ((b, others),) = next(iter(data)), next(iter(data))  # two epochs
    a, b = a.numpy()[np.argsort(labels)], b.numpy()[np.argsort(others)]
    assert set(np.unique(a)) == {0.0, 1.0} and 0.3 < np.mean(a[:, 1:] == b[:, 1:]) < 0.7, "drawn anew"
    labels = np.sort(labels)
    np.testing.assert_array_equal(a[:, 0] == 1, labels == 3)
    kept = next(iter(batches(x, B=6, seed=1, binarise=False)))
    assert (kept.numpy()[:, 1:] == 0.5).all()


@pytest.mark.parametrize("sizes, B", [((6, 5), 2), ((6, 6), 7), ((6, 6), 0)])
def test_batches_refuse_what_does_not_fit(sizes, B):
    with pytest.raises(ValueError, match="equal numbers of at least B are needed"):
        batches(*(np.zeros((n, 2), np.float32) for n in sizes), B=B, seed=0)


class Parabola(tf.keras.Model):
    """The loss β ‖w − mean(x)‖²: known at every w."""

    def __init__(self):
        super().__init__()
        self.w = self.add_weight(name="w", shape=(2,), initializer="ones")
        self.beta = self.add_weight(name="beta", initializer="ones", trainable=False)

    def call(self, x):
        self.add_loss(self.beta * tf.reduce_sum((self.w - tf.reduce_mean(x, axis=0)) ** 2))
        return self.w


def test_training_ends_at_the_minimum_with_a_rate_of_zero_and_reports_each_epoch():
    model, x = Parabola(), np.tile([[2.0, -1.0]], (12, 1)).astype(np.float32)
    data = batches(x, B=4, seed=0, binarise=False)
    betas = []
    spy = tf.keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: betas.append(float(model.beta)))
    history, seconds = train(model, data, 60, 0.1, data, [set_beta(model, lambda epoch: 1.0 + epoch), spy])
    np.testing.assert_allclose(model.w, [2, -1], atol=0.02)
    assert len(history["loss"]) == len(history["val_loss"]) == 60
    assert betas == [1.0 + epoch for epoch in range(60)]
    assert history["val_loss"][-1] < 0.05 < history["val_loss"][0]
    assert int(model.optimizer.iterations) == 180
    assert float(model.optimizer.learning_rate) == pytest.approx(0, abs=1e-6) and seconds > 0


def three_steps(optimizer):
    """Of a small table of numbers, with sparse gradients as an embedding's → the table before and after."""
    table = keras.Variable(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32))
    before = table.numpy()
    optimizer.build([table])

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.gather(table.value, x) ** 3)
        optimizer.apply_gradients([(tape.gradient(loss, table.value), table)])

    for x in [[0, 1, 1], [2, 4, 0], [3, 3, 3]]:
        step(tf.constant(x))
    return before, table.numpy()


def test_adam_is_keras_adam():
    for amsgrad in (False, True):
        options = {"learning_rate": 0.1, "beta_2": 0.9, "weight_decay": 0.01, "amsgrad": amsgrad}
        before, found = three_steps(Adam(**options, global_clipnorm=1.0))
        keras_adam = keras.optimizers.Adam(**options, global_clipnorm=1.0)
        np.testing.assert_allclose(found, three_steps(keras_adam)[1], rtol=1e-4, atol=1e-5)
        assert np.abs(found - before).max() > 0.1


def test_masked_weights_do_nothing():
    mask, x = (
        np.array([[1, 0], [1, 1], [0, 0]]),
        np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32),
    )
    layer = MaskedDense(mask)
    layer.b.assign([1.0, -2.0])
    np.testing.assert_allclose(layer(x), x @ (layer.W.numpy() * mask) + [1, -2], rtol=1e-5, atol=1e-6)
    assert len(layer.trainable_variables) == 2 and not MaskedDense(mask, "zeros").W.numpy().any()
