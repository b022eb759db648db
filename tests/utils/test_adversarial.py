"""The bookkeeping of two players: who is moved, at which rate, what is averaged and what is watched."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
import keras  # noqa: E402

from utils.adversarial import (  # noqa: E402
    GAN,
    Game,
    convolutional_discriminator,
    discriminator_loss,
    generator_loss,
    play,
    r1,
    translator,
)


class Number(keras.layers.Layer):
    """A network that is one number."""

    def __init__(self, value):
        super().__init__()
        self.value = self.add_weight(shape=(), initializer=keras.initializers.Constant(value))
        self.built = True


class Bilinear(Game):
    """a ascends a · b, b descends it; each step of a is followed by `turns` of b."""

    def __init__(self, turns=1):
        a, b = Number(1.0), Number(2.0)
        super().__init__(["product"], {"b": turns}, a=[a], b=[b])
        self.a, self.b = a, b

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = -self.a.value * self.b.value
        self.step("a", tape, loss)
        for _ in range(self.turns["b"]):
            with tf.GradientTape() as tape:
                loss = self.a.value * self.b.value
            self.step("b", tape, loss)
        return self.note(product=self.a.value * self.b.value)


DATA = tf.data.Dataset.from_tensors(tf.zeros([1])).repeat(5)


def test_a_step_moves_one_player_down_its_own_loss():
    game = Bilinear(turns=3)
    game.compile({name: keras.optimizers.SGD(0.1) for name in "ab"})
    game.fit(DATA.take(1), verbose=0, shuffle=False)
    a = 1 + 0.1 * 2
    np.testing.assert_allclose([game.a.value, game.b.value], [a, 2 - 3 * 0.1 * a], rtol=1e-6)


def test_the_watched_values_are_means_over_an_epoch():
    game = Bilinear()
    game.compile({name: keras.optimizers.SGD(0.0) for name in "ab"}, steps_per_execution=5)
    game.a.value.assign(3.0)
    history = game.fit(DATA, epochs=2, verbose=0, shuffle=False).history
    assert set(history) == {"product"}
    np.testing.assert_allclose(history["product"], [6.0, 6.0], rtol=1e-6)


def test_rates_fall_to_nothing_at_the_end_of_each_players_own_steps():
    game = Bilinear(turns=3)
    history, seconds = play(game, DATA, 4, {"a": 0.1, "b": 0.2})
    assert len(history["product"]) == 4 and seconds > 0
    for name, rate, steps in [("a", 0.1, 20), ("b", 0.2, 60)]:
        optimizer = game.optimizers[name]
        assert int(optimizer.iterations) == steps
        falling = optimizer._learning_rate
        np.testing.assert_allclose(falling(0), rate, rtol=1e-6)
        np.testing.assert_allclose([falling(steps // 2), falling(steps)], [rate / 2, 0], atol=1e-6)


def test_an_averaged_player_ends_as_the_average_of_its_steps():
    seen = []

    class Remembering(Bilinear):
        def train_step(self, data):
            result = super().train_step(data)
            tf.py_function(lambda value: seen.append(float(value)), [self.a.value], [])
            return result

    game = Remembering()
    play(game, DATA, 2, {"a": 0.3, "b": 0.3}, averaged=["a"], average=0.5)
    average = seen[0]  # the first step begins the average
    for value in seen[1:]:
        average += 0.5 * (value - average)
    np.testing.assert_allclose(game.a.value, average, rtol=1e-5)
    assert len(seen) == 10 and abs(float(game.a.value) - seen[-1]) > 1e-4


def test_r1_is_the_mean_squared_slope_at_the_data():
    """score = Σ x³ / 3 has the slope x², so the penalty is the mean of Σ x⁴."""
    x = np.random.default_rng(0).normal(size=(7, 2, 3)).astype(np.float32)
    scores, penalty = r1(lambda x: tf.reduce_sum(x**3, axis=[1, 2])[:, None] / 3, tf.constant(x))
    np.testing.assert_allclose(scores[:, 0], (x**3).sum(axis=(1, 2)) / 3, rtol=1e-4)
    np.testing.assert_allclose(penalty, (x**4).sum(axis=(1, 2)).mean(), rtol=1e-4)


def test_translators_take_any_size_that_can_be_halved_twice():
    for shape in [(2, 16, 16, 1), (1, 24, 20, 3)]:
        x = tf.random.uniform(shape)
        assert translator(4, shape[-1])(x).shape == shape
        assert convolutional_discriminator(4, shape[1:])(x).shape == (shape[0], 1)


def test_a_translator_sees_most_of_a_glyph():
    """A changed pixel near the middle reaches more than half of the 16×16 result."""
    keras.utils.set_random_seed(0)
    x = np.zeros((2, 16, 16, 1), np.float32)
    x[1, 7, 7] = 1
    plain, changed = translator(4)(x).numpy()
    assert np.mean(np.abs(changed - plain) > 1e-7) > 0.5


def test_a_perfect_and_an_undecided_discriminator():
    """Scores of 0 cost log 2 for each kind; scores of ±50 cost nothing; the slope counts half of γ."""
    x, fake = tf.ones([3, 2]), tf.zeros([3, 2])
    undecided = discriminator_loss(lambda x: tf.reduce_sum(0 * x, axis=1, keepdims=True), x, fake, 1.0)
    assert float(undecided) == pytest.approx(2 * np.log(2), rel=1e-6)
    perfect = discriminator_loss(lambda x: 100 * x[:, :1] - 50, x, fake, 0.01)
    assert float(perfect) == pytest.approx(0.01 / 2 * 100**2, rel=1e-6)
    assert float(generator_loss(lambda x: 100 * x[:, :1] - 50, fake)) == pytest.approx(50, rel=1e-6)


def test_the_losses_of_a_gan_by_hand():
    """A generator that is a shift g, a discriminator that is a factor d: scores d x and d g."""

    class Shift(Number):
        def call(self, z):
            return 0 * z + self.value

    class Factor(Number):
        def call(self, x):
            return self.value * x

    generator, discriminator = Shift(0.5), Factor(2.0)
    model = GAN(generator, discriminator, 1, gamma=3.0)
    model.compile({name: keras.optimizers.SGD(0.1) for name in model.players}, run_eagerly=True)
    x = np.array([[1.0], [-0.5]], np.float32)
    logs = model.train_step(tf.constant(x))

    def sigmoid(t):
        return 1 / (1 + np.exp(-t))

    mistakes = -np.mean(np.log(sigmoid(2 * x))) - np.log(sigmoid(-1.0)) + 3.0 / 2 * 4.0
    np.testing.assert_allclose(
        [logs["generator"], logs["discriminator"]], [-np.log(sigmoid(1.0)), mistakes], rtol=1e-5
    )

    g = -sigmoid(-1.0) * 2  # of softplus(−d g) by g
    d = np.mean(-sigmoid(-2 * x) * x) + sigmoid(1.0) * 0.5 + 3.0 / 2 * 2 * 2.0
    np.testing.assert_allclose(
        [generator.value, discriminator.value], [0.5 - 0.1 * g, 2 - 0.1 * d], rtol=1e-5
    )
