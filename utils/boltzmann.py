"""Boltzmann machines, as week 3 derives them: all states, the RBM and its training, AIS along any path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from utils.evaluation import Estimate


def all_states(n: int) -> tf.Tensor:
    """All 0/1 vectors of length n: (2^n, n); n ≤ 20 or so. The first unit changes fastest."""
    return tf.constant((np.arange(2**n)[:, None] >> np.arange(n)) & 1, tf.float32)


def log_odds(means: Any) -> tf.Tensor:
    """Log-odds of means kept between 1 % and 99 %, any shape: biases of independent pixels."""
    means = np.clip(means, 0.01, 0.99)
    return tf.constant(np.log(means / (1 - means)), tf.float32)


def bernoulli(p: Any, rng: Any) -> tf.Tensor:
    """Independent 0/1 draws with probabilities p, any shape → float32. rng: a Generator or Draws."""
    return tf.math.ceil(p - rng.uniform(tf.shape(p)))  # 1 where u < p; cheaper than to compare and to cast


class Draws:
    """Uniform random numbers for one step inside a graph, used like a tf.random.Generator, but cheaper.

    key: an integer, a new one for each step. Each call of `uniform` has its own number, which it gets when it
    is traced: a loop around it must be Python's.
    """

    def __init__(self, key: Any) -> None:
        self.key, self.calls = key, 0

    def uniform(self, shape: Any) -> tf.Tensor:
        self.calls += 1
        return tf.random.stateless_uniform(shape, tf.stack([self.key, self.calls]))


class RBM(tf.Module):
    """p(v, h) = exp(b·v + c·h + vᵀWh) / Z with v in {0, 1}^D and h in {0, 1}^H (week 3)."""

    def __init__(self, D: int, H: int, b: Any = None, scale: float = 0.01, seed: int = 0) -> None:
        super().__init__()
        W = np.random.default_rng(seed).normal(0, scale, (D, H))
        self.W = tf.Variable(W, dtype=tf.float32)  # (D, H)
        self.b = tf.Variable(tf.zeros(D) if b is None else b)  # (D,) visible biases
        self.c = tf.Variable(tf.zeros(H))  # (H,) hidden biases

    def free_energy(self, v: Any) -> tf.Tensor:
        """v: (B, D) → (B,) nats, F(v) = −b·v − Σ_j log(1 + exp(c_j + vᵀW_:j)): p(v) = exp(−F(v)) / Z."""
        return -tf.linalg.matvec(v, self.b) - tf.reduce_sum(tf.nn.softplus(self.logits_h(v)), axis=-1)

    def logits_h(self, v: Any) -> tf.Tensor:
        """v: (B, D) → (B, H), the log-odds of p(h_j = 1 | v)."""
        return self.c + v @ self.W

    def logits_v(self, h: Any) -> tf.Tensor:
        """h: (B, H) → (B, D), the log-odds of p(v_i = 1 | h)."""
        return self.b + tf.matmul(h, self.W, transpose_b=True)

    def p_h_v(self, v: Any) -> tf.Tensor:
        return tf.sigmoid(self.logits_h(v))

    def p_v_h(self, h: Any) -> tf.Tensor:
        return tf.sigmoid(self.logits_v(h))

    def posterior(self, v: Any) -> tuple[Any, tf.Tensor]:
        """v: (B, D) → both layers as the positive phase sees them: the data and p(h = 1 | v)."""
        return v, self.p_h_v(v)

    def gibbs(self, v: Any, rng: Any) -> tf.Tensor:
        """One block Gibbs step, v: (B, D) → (B, D): all hidden units at once, then all visible ones."""
        return bernoulli(self.p_v_h(bernoulli(self.p_h_v(v), rng)), rng)


def copy(source: tf.Module, target: tf.Module) -> tf.Module:
    """Copy all variables of a model to another one of the same shapes; returns the latter."""
    for new, old in zip(target.variables, source.variables, strict=True):
        new.assign(old)
    return target


def moments(v: Any, h: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """v: (B, D), h: (B, H) → the means over the batch of v hᵀ (D, H), of v (D,) and of h (H,)."""
    return tf.matmul(v, h / len(v), transpose_a=True), tf.reduce_mean(v, axis=0), tf.reduce_mean(h, axis=0)


def centre(dW: Any, db: Any, dc: Any, mu: Any, lam: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Plain gradient → centred gradient with offsets mu (D,) and lam (H,) (Melchior et al., 2016; week 3)."""
    dW = dW - db[:, None] * lam - mu[:, None] * dc
    return dW, db - tf.linalg.matvec(dW, lam), dc - tf.linalg.matvec(dW, mu, transpose_a=True)


@tf.function
def train_epoch(
    model: Any, average: Any, data: Any, h_chain: Any, rates: Any, decay: float, rng: Any, B: int
) -> tf.Tensor:
    """Centred PCD-1, one pass over data (N, D) in batches of B, one rate a step → the chains (M, H)."""
    order = tf.argsort(rng.uniform([len(data)]))
    keys = rng.uniform([len(rates)], maxval=2**31 - 1, dtype=tf.int32)
    for i in tf.range(len(rates)):
        draws = Draws(keys[i])
        v, h = model.posterior(tf.gather(data, tf.reshape(order[i * B : (i + 1) * B], [B])))
        v_model = bernoulli(model.p_v_h(h_chain), draws)
        h_model = model.p_h_v(v_model)
        h_chain = bernoulli(h_model, draws)
        dW, db, dc = (p - q for p, q in zip(moments(v, h), moments(v_model, h_model), strict=True))
        step = centre(dW, db, dc, tf.reduce_mean(v, axis=0), tf.reduce_mean(h, axis=0))
        for parameter, delta in zip([model.W, model.b, model.c], step, strict=True):
            parameter.assign_add(rates[i] * delta)
        for mean, parameter in zip(average.variables, model.variables, strict=True):
            mean.assign_add((1 - decay) * (parameter - mean))
    return h_chain


def train(
    model: Any,
    average: Any,
    draw: Callable[[], Any],
    epochs: int,
    rate: float,
    B: int,
    M: int,
    decay: float,
    rng: Any,
    watch: Callable[[int, Any], None] | None = None,
) -> Any:
    """Centred PCD-1 with M chains on the images (N, D) that draw() gives for each epoch → the averaged model.

    The rate falls linearly to 0. ``average`` is a second model of the same shapes; ``watch(epoch, average)``
    is called after each epoch, for learning curves.
    """
    copy(model, average)
    h_chain = bernoulli(tf.fill([M, model.c.shape[0]], 0.5), rng)
    steps = len(draw()) // B
    rates = tf.constant(rate * (1 - np.arange(epochs * steps) / (epochs * steps)), tf.float32)
    for epoch in tqdm(range(epochs), desc=f"{model.W.shape[1]} hidden units", unit="epoch"):
        part = rates[epoch * steps : (epoch + 1) * steps]
        h_chain = train_epoch(model, average, draw(), h_chain, part, decay, rng, B)
        if watch is not None:
            watch(epoch, average)
    return average


class AIS:
    """Annealed importance sampling (Neal, 2001; derived in week 3) along any path from a known Z₀ to Z.

    ``log_p_star(x, beta)``: (R,) nats, unnormalised; β = 0 is the base with normaliser exp(log_z0), β = 1 the
    model. ``transition(x, beta, rng)`` → the next x, leaving p_β unchanged. x is (R, D), or a tuple of such
    tensors if a step should hand something on to the next. ``xla`` compiles the walk.
    """

    def __init__(self, log_p_star: Any, transition: Any, log_z0: float = 0.0, xla: bool = False) -> None:
        self.log_p_star, self.transition, self.log_z0 = log_p_star, transition, log_z0
        self.walk = tf.function(self._walk, jit_compile=xla)  # traced once for each length of betas

    def _walk(self, betas: Any, x: Any, rng: Any) -> tuple[tf.Tensor, Any]:
        """Walk x along betas (K + 1,) → log weights (R,) in float64, the last x. All β = 1: plain sampling.

        rng is handed to each transition; an integer tensor is a key, of which step t gets [key, t] (for XLA).
        """
        log_w = 0.0 * tf.cast(self.log_p_star(x, betas[0]), tf.float64)
        for t in tf.range(1, len(betas)):
            ratio = self.log_p_star(x, betas[t]) - self.log_p_star(x, betas[t - 1])
            log_w += tf.cast(ratio, tf.float64)
            x = self.transition(x, betas[t], tf.stack([rng, t]) if tf.is_tensor(rng) else rng)
        return log_w, x

    def estimate(self, K: int, x: Any, rng: Any, reverse: bool = False) -> tuple[Estimate, float, Any]:
        """R walks of K steps → log Z with its standard error, the effective sample size, the last x.

        x: R exact samples of the base; with ``reverse`` R samples of the model, which walk back to the base.
        The first tends to be too low, the reverse one too high.
        """
        betas = tf.linspace(0.0, 1.0, K + 1)
        log_w, x = self.walk(betas[::-1] if reverse else betas, x, rng)
        mean, size = weigh(log_w)
        return Estimate(self.log_z0 + (-mean.value if reverse else mean.value), mean.error), size, x


def weigh(log_w: Any) -> tuple[Estimate, float]:
    """log weights (R,) → the log of their mean, with its standard error to first order, and (Σw)² / Σw²."""
    log_w = np.asarray(log_w)
    w = np.exp(log_w - log_w.max())
    mean = Estimate(log_w.max() + np.log(w.mean()), w.std(ddof=1) / w.mean() / np.sqrt(len(w)))
    return mean, w.sum() ** 2 / (w**2).sum()


def rbm_ais(rbm: RBM, b0: Any) -> AIS:
    """AIS from independent pixels with biases b0 (D,) to an RBM (Salakhutdinov and Murray, 2008).

    At β: weights βW, hidden biases βc, visible biases (1 − β) b0 + βb. ``base(b0, R, rng)`` draws its start.
    """

    def log_p_star(v, beta):
        visible = (1 - beta) * tf.linalg.matvec(v, b0) + beta * tf.linalg.matvec(v, rbm.b)
        return visible + tf.reduce_sum(tf.nn.softplus(beta * rbm.logits_h(v)), axis=-1)

    def transition(v, beta, rng):
        h = bernoulli(tf.sigmoid(beta * rbm.logits_h(v)), rng)
        return bernoulli(tf.sigmoid((1 - beta) * b0 + beta * rbm.logits_v(h)), rng)

    log_z0 = rbm.W.shape[1] * np.log(2) + float(tf.reduce_sum(tf.nn.softplus(b0)))
    return AIS(log_p_star, transition, log_z0)


def base(b0: Any, R: int, rng: Any) -> tf.Tensor:
    """R samples (R, D) of independent pixels with biases b0 (D,)."""
    return bernoulli(tf.tile(tf.sigmoid(b0)[None], [R, 1]), rng)
