"""Two players that train each other: what all GANs share, as weeks 8 and 9 derive it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from tqdm.keras import TqdmCallback

from utils.networks import Adam


class Game(keras.Model):
    """Players, each a list of networks with an optimiser of its own, and the means of what is worth watching.

    A subclass's ``train_step`` says who minimises what: ``step`` moves a player, ``note`` watches a value.
    ``watched``: the names of these. ``turns``: the steps of a player in one ``train_step``, 1 if not named.
    """

    def __init__(
        self, watched: Sequence[str], turns: Mapping[str, int] | None = None, **players: list[Any]
    ) -> None:
        super().__init__()
        self.players, self.turns = players, dict(turns or {})
        self.watched = {name: keras.metrics.Mean(name) for name in watched}

    @property
    def metrics(self) -> list[Any]:
        return list(self.watched.values())

    def compile(self, optimizers: Mapping[str, Any], **options: Any) -> None:
        """``optimizers``: one for each player. They are built here, so that ``fit`` traces the step once."""
        super().compile(**options)
        self.optimizers = dict(optimizers)
        for name, optimizer in self.optimizers.items():
            optimizer.build(self.weights_of(name))

    def weights_of(self, player: str) -> list[Any]:
        """The trainable weights of a player's networks."""
        return [weight for network in self.players[player] for weight in network.trainable_variables]

    def step(self, player: str, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        """One step of a player down its loss, which ``tape`` has recorded; the others stay as they are."""
        weights = self.weights_of(player)
        self.optimizers[player].apply(tape.gradient(loss, weights), weights)

    def note(self, **values: tf.Tensor) -> dict[str, tf.Tensor]:
        """Adds values to their means → the means so far, what ``train_step`` returns."""
        for name, value in values.items():
            self.watched[name].update_state(value)
        return {name: self.watched[name].result() for name in values}


def play(
    game: Game,
    data: tf.data.Dataset,
    epochs: int,
    rates: Mapping[str, float],
    betas: tuple[float, float] = (0.5, 0.99),
    averaged: Sequence[str] = (),
    average: float = 0.99,
    xla: bool = False,
    **options: Any,
) -> tuple[dict[str, list[float]], float]:
    """Adam for each player, its rate falling to 0 along a cosine → what was watched by epoch, seconds.

    ``rates``: by player. The weights of ``averaged`` players end as moving averages over the last steps;
    ``average`` is the share of the old average that a step keeps. ``options`` go to ``fit``.
    """

    def adam(player: str) -> Any:
        steps = epochs * len(data) * game.turns.get(player, 1)
        falling = keras.optimizers.schedules.CosineDecay(rates[player], steps)
        ema = {"use_ema": True, "ema_momentum": average} if player in averaged else {}
        return Adam(falling, *betas, **ema)

    game.compile({name: adam(name) for name in game.players}, steps_per_execution=len(data), jit_compile=xla)
    callbacks = [TqdmCallback(verbose=0), *options.pop("callbacks", [])]
    began = time.perf_counter()
    history = game.fit(data, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks, **options).history
    for name in averaged:
        game.optimizers[name].finalize_variable_values(game.weights_of(name))
    return history, time.perf_counter() - began


def r1(discriminator: Any, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores of real images x (B, …), and the mean over the batch of |∇ₓ score|², a scalar (week 8)."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        scores = discriminator(x)
    slope = tf.reshape(tape.gradient(scores, x), [tf.shape(x)[0], -1])
    return scores, tf.reduce_mean(tf.reduce_sum(slope**2, axis=1))


def generator_loss(discriminator: Any, fake: tf.Tensor) -> tf.Tensor:
    """The non-saturating loss: the mean of −log σ(score) of what was drawn, nats."""
    return tf.reduce_mean(tf.nn.softplus(-discriminator(fake)))


def discriminator_loss(discriminator: Any, real: tf.Tensor, fake: tf.Tensor, gamma: Any) -> tf.Tensor:
    """Both kinds of mistakes in nats, and R1 with the weight γ / 2. No gradient goes to ``fake``."""
    scores, slope = r1(discriminator, real)
    drawn = discriminator(tf.stop_gradient(fake))
    mistakes = tf.reduce_mean(tf.nn.softplus(-scores)) + tf.reduce_mean(tf.nn.softplus(drawn))
    return mistakes + gamma / 2 * slope


class GAN(Game):
    """Week 8's game: the non-saturating loss, and R1 with weight ``gamma`` / 2 for the discriminator.

    ``generator``: noise z (B, L) → images, ``discriminator``: images → scores. ``fake`` may be overridden.
    """

    def __init__(self, generator: Any, discriminator: Any, L: int, gamma: float = 0.1) -> None:
        super().__init__(["generator", "discriminator"], generator=[generator], discriminator=[discriminator])
        self.generator, self.discriminator, self.L = generator, discriminator, L
        self.gamma = self.add_weight(initializer=keras.initializers.Constant(gamma), trainable=False)

    def call(self, z: tf.Tensor) -> tf.Tensor:
        return self.generator(z)

    def fake(self, n: tf.Tensor | int) -> tf.Tensor:
        """n images."""
        return self.generator(tf.random.normal([n, self.L]))

    def train_step(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """x: real images (B, …). Both players move at the same time."""
        with tf.GradientTape() as tape:
            fake = self.fake(tf.shape(x)[0])
            loss = generator_loss(self.discriminator, fake)
        with tf.GradientTape() as judged:
            mistakes = discriminator_loss(self.discriminator, x, fake, self.gamma)
        self.step("generator", tape, loss)
        self.step("discriminator", judged, mistakes)
        return self.note(generator=loss, discriminator=mistakes)


def translator(H: int, C: int = 1) -> Any:
    """A small U-Net: two convolutions halve the image, two double it again, with what the finer levels knew.

    Each pixel of the result depends on most of a 16×16 image. Images (B, height, width, C), both sides
    multiples of 4 → the same.
    """
    layers, silu = keras.layers, {"padding": "same", "activation": "silu"}
    x = keras.Input((None, None, C))
    fine = layers.Conv2D(H // 2, 3, **silu)(x)
    half = layers.Conv2D(H, 4, 2, **silu)(fine)
    h = layers.Conv2D(2 * H, 4, 2, **silu)(half)
    h = h + layers.Conv2D(2 * H, 3, **silu)(h)
    h = layers.Concatenate()([layers.Conv2DTranspose(H, 4, 2, **silu)(h), half])
    h = layers.Concatenate()([layers.Conv2DTranspose(H // 2, 4, 2, **silu)(h), fine])
    return keras.Model(x, layers.Conv2D(C, 3, padding="same")(h))


def convolutional_discriminator(H: int, shape: tuple[int, int, int], dense: int = 0) -> Any:
    """Two convolutions with stride 2, H and 2H channels, then a score: (B, *shape) → (B, 1).

    ``dense``: units of a dense layer before the score, if any.
    """
    halve = [keras.layers.Conv2D(n, 4, 2, "same", activation="leaky_relu") for n in (H, 2 * H)]
    layers = [*halve, keras.layers.Flatten(), *([keras.layers.Dense(dense, "leaky_relu")] if dense else [])]
    return keras.Sequential([keras.Input(shape), *layers, keras.layers.Dense(1)])
