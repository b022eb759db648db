"""Diffusion models as week 13 derives them: forward process, noise-guessing network, steps back, a block.

A noise level is a number ᾱ in (0, 1], the share of the original's variance that is left (Ho et al. 2020).
A *model* has ``noise(x, a)``: x_t (B, …), ᾱ_t (B,) → guessed noise (B, …), and ``limit``, the largest |x_0|.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# --- The forward process, and what a guess of the noise says ----------------------------------------------


def linear_schedule(T: int, first: float = 1e-4, last: float = 0.02) -> np.ndarray:
    """→ ᾱ_0 = 1, …, ᾱ_T: (T + 1,). Ho et al.'s β_t, from ``first`` to ``last``."""
    return np.concatenate([[1.0], np.cumprod(1 - np.linspace(first, last, T))])


def column(a: Any, x: Any) -> tf.Tensor:
    """Numbers a (B,) → (B, 1, …), to go with x (B, …)."""
    return tf.reshape(tf.cast(a, x.dtype), [-1, *[1] * (len(x.shape) - 1)])


def q_sample(x0: Any, a: Any, eps: Any) -> tf.Tensor:
    """x_0 (B, …), ᾱ_t (B,), noise (B, …) → x_t (B, …)."""
    a = column(a, x0)
    return tf.sqrt(a) * x0 + tf.sqrt(1 - a) * eps


def q_posterior(x0: Any, xt: Any, a: Any, b: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """x_0, x_t (B, …), ᾱ_t and ᾱ_{t−1} (B,) → mean (B, …) and variance (B, 1, …) of q(x_{t−1} | x_t, x_0)."""
    a, b = column(a, x0), column(b, x0)
    beta = 1 - a / b
    mean = (tf.sqrt(b) * beta * x0 + tf.sqrt(a / b) * (1 - b) * xt) / (1 - a)
    return mean, beta * (1 - b) / (1 - a)


def data_from_noise(xt: Any, eps: Any, a: Any) -> tf.Tensor:
    """x_t (B, …), guessed noise (B, …), ᾱ_t (B,) → guessed data (B, …)."""
    a = column(a, xt)
    return (xt - tf.sqrt(1 - a) * eps) / tf.sqrt(a)


def snr(a: Any) -> Any:
    """ᾱ → ratio of signal to noise for data of variance 1."""
    return a / (1 - a)


# --- Models -----------------------------------------------------------------------------------------------


class Mixture:
    """Gaussians N(m_k, s_k² I) with weights w_k, and all their noisy versions. w, s: (K,), m: (K, D)."""

    limit = np.inf  # of |x_0|: none

    def __init__(self, w: Any, m: Any, s: Any) -> None:
        self.w, self.m, self.s = (tf.constant(value, tf.float32) for value in (w, m, s))

    def sample(self, n: int) -> tf.Tensor:
        """n points: (n, D)."""
        k = tf.random.categorical(tf.math.log([self.w]), n)[0]
        return tf.gather(self.m, k) + tf.gather(self.s, k)[:, None] * tf.random.normal([n, self.m.shape[1]])

    def log_joint(self, x: Any, a: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """x_t (B, D), ᾱ_t (B,) → log w_k q_t(x | k) (B, K), x − √ᾱ_t m_k (B, K, D), variances (B, K)."""
        variance = a[:, None] * self.s**2 + 1 - a[:, None]
        apart = x[:, None] - tf.sqrt(a)[:, None, None] * self.m
        square = tf.reduce_sum(apart**2, axis=2) / variance
        log_q = -0.5 * (square + self.m.shape[1] * tf.math.log(2 * np.pi * variance))
        return tf.math.log(self.w) + log_q, apart, variance

    def noise(self, x: Any, a: Any) -> tf.Tensor:
        """x_t (B, D), ᾱ_t (B,) → E[ε | x_t], (B, D)."""
        log_joint, apart, variance = self.log_joint(x, a)
        score = -tf.reduce_sum((tf.nn.softmax(log_joint) / variance)[:, :, None] * apart, axis=1)
        return -tf.sqrt(1 - a)[:, None] * score


def waves(a: Any) -> tf.Tensor:
    """ᾱ (B,) → sines and cosines of log SNR, (B, 8)."""
    angle = tf.math.log(snr(a))[:, None] * tf.constant([0.125, 0.25, 0.5, 1.0])
    return tf.concat([tf.sin(angle), tf.cos(angle)], axis=1)


class Denoiser(keras.Model):
    """Guesses the noise in x_t. network: [x_t (B, …), waves (B, 8), *given] → velocity (B, …).

    ``given``: what else the network is told, such as captions. ``limit``: the largest |x_0|.
    """

    def __init__(self, network: Any, alpha_bar: np.ndarray, limit: float = np.inf) -> None:
        super().__init__()
        self.network, self.limit = network, limit
        start = keras.initializers.Constant(alpha_bar[1:].astype(np.float32))
        self.alpha_bar = self.add_weight(shape=(len(alpha_bar) - 1,), initializer=start, trainable=False)
        self.built = True

    def noise(self, x: Any, a: Any, *given: Any) -> tf.Tensor:
        """x_t (B, …), ᾱ_t (B,), what else the network is given → guessed noise (B, …)."""
        v, a = self.network([x, waves(a), *given]), column(a, x)
        return tf.sqrt(1 - a) * x + tf.sqrt(a) * v

    def call(self, x: Any) -> tf.Tensor:
        """x_0 (B, …), or (x_0, *given) → squared error of the noise at a random level, their mean: (B,)."""
        x0, *given = x if isinstance(x, tuple | list) else (x,)
        B, T = tf.shape(x0)[0], self.alpha_bar.shape[0]
        a = tf.gather(self.alpha_bar, tf.random.uniform([B], 0, T, tf.int32))
        eps = tf.random.normal(tf.shape(x0))
        square = (self.noise(q_sample(x0, a, eps), a, *given) - eps) ** 2
        loss = tf.reduce_mean(tf.reshape(square, [B, -1]), axis=1)
        self.add_loss(tf.reduce_mean(loss))
        return loss


def block(h: Any, level: Any, C: int) -> Any:
    """Two convolutions, the noise level added between, and a way around: (B, height, width, ·) → (…, C)."""
    conv, silu = keras.layers.Conv2D, keras.layers.Activation("silu")
    shift = keras.layers.Reshape((1, 1, C))(keras.layers.Dense(C)(level))
    u = conv(C, 3, padding="same")(silu(h)) + shift
    u = conv(C, 3, padding="same", kernel_initializer="zeros")(silu(u))
    return u + (h if h.shape[-1] == C else keras.layers.Dense(C)(h))


# --- The way back -----------------------------------------------------------------------------------------


def guesses(model: Any, x: Any, a: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """x_t (B, …), ᾱ_t (B,) → guessed data, within the model's limit, and the noise with it: (B, …) each."""
    x0 = data_from_noise(x, model.noise(x, a), a)
    x0 = tf.clip_by_value(x0, -model.limit, model.limit)
    a = column(a, x)
    return x0, (x - tf.sqrt(a) * x0) / tf.sqrt(1 - a)


def ancestral_step(model: Any, xt: Any, a: Any, b: Any) -> tf.Tensor:
    """x_t (B, …), ᾱ_t and ᾱ_{t−1} (B,) → x_{t−1}, drawn. In the last step, ᾱ_{t−1} = 1, nothing is drawn."""
    mean, variance = q_posterior(guesses(model, xt, a)[0], xt, a, b)
    return mean + tf.sqrt(variance) * tf.random.normal(tf.shape(xt))


def ddim_step(model: Any, xt: Any, a: Any, b: Any) -> tf.Tensor:
    """The same, without a draw (Song, Meng and Ermon 2021)."""
    x0, eps = guesses(model, xt, a)
    return q_sample(x0, b, eps)


def path(alpha_bar: np.ndarray, K: int) -> tf.Tensor:
    """ᾱ at K + 1 of the levels, from ᾱ_T to ᾱ_0 = 1: float32 (K + 1,)."""
    return tf.constant(alpha_bar[np.round(np.linspace(len(alpha_bar) - 1, 0, K + 1)).astype(int)], tf.float32)


@tf.function(reduce_retracing=True)
def reverse(step: Callable, model: Any, x: Any, path: Any) -> tf.Tensor:
    """x_T (B, …) → x_0 (B, …), by a step for each pair of neighbours of the path (K + 1,)."""
    for i in tf.range(len(path) - 1):
        x = step(model, x, tf.fill([len(x)], path[i]), tf.fill([len(x)], path[i + 1]))
    return x
