"""What early weeks derive and later ones use: probabilistic PCA (week 1), the log of a mean (week 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def log_mean_exp(log_w: Any) -> tf.Tensor:
    """log_w: (K, ...) → log of the mean of exp(log_w) over the first axis, without overflow: (...)."""
    log_w = tf.convert_to_tensor(log_w)
    return tf.reduce_logsumexp(log_w, axis=0) - tf.math.log(tf.cast(tf.shape(log_w)[0], log_w.dtype))


class PPCA:
    """p(z) = N(0, I), p(x | z) = N(Wz + m, σ² I), W: (D, L), m: (D,), sigma2 = σ² (Tipping, Bishop 1999)."""

    def __init__(self, W: Any, m: Any, sigma2: Any) -> None:
        self.W = tf.convert_to_tensor(W)
        self.m, self.sigma2 = (tf.cast(part, self.W.dtype) for part in (m, sigma2))
        L = self.W.shape[1]
        self.M = tf.matmul(self.W, self.W, transpose_a=True) + self.sigma2 * tf.eye(L, dtype=self.W.dtype)
        self.root = tf.linalg.cholesky(self.M)  # (L, L)

    def log_prob(self, x: Any) -> tf.Tensor:
        """x: (B, D) → log p(x), (B,) nats, exactly."""
        D, L = self.W.shape
        d = x - self.m
        u = tf.linalg.triangular_solve(self.root, tf.matmul(self.W, d, transpose_a=True, transpose_b=True))
        square = (tf.reduce_sum(d**2, axis=1) - tf.reduce_sum(u**2, axis=0)) / self.sigma2
        log_det = (D - L) * tf.math.log(self.sigma2) + 2 * tf.reduce_sum(
            tf.math.log(tf.linalg.diag_part(self.root))
        )
        return -0.5 * (D * np.log(2 * np.pi) + log_det + square)

    def posterior(self, x: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """x: (B, D) → mean M⁻¹ Wᵀ (x − m), (B, L), and covariance σ² M⁻¹, (L, L), of p(z | x)."""
        d = tf.matmul(self.W, x - self.m, transpose_a=True, transpose_b=True)  # (L, B)
        inverse = tf.linalg.cholesky_solve(self.root, tf.eye(self.W.shape[1], dtype=self.W.dtype))
        return tf.transpose(tf.linalg.cholesky_solve(self.root, d)), self.sigma2 * inverse


def fit_ppca(x: Any, L: int) -> PPCA:
    """Maximum likelihood in closed form. x: (N, D) float64, 0 < L < D. W's columns are orthogonal."""
    x = tf.convert_to_tensor(x)
    if not 0 < L < x.shape[1]:
        raise ValueError(f"L is {L}; a number from 1 to {x.shape[1] - 1} expected for {x.shape[1]} columns")
    m = tf.reduce_mean(x, axis=0)
    lam, U = tf.linalg.eigh(tf.matmul(x - m, x - m, transpose_a=True) / len(x))  # ascending
    lam, U = lam[::-1], U[:, ::-1]
    sigma2 = tf.reduce_mean(lam[L:])
    return PPCA(U[:, :L] * tf.sqrt(lam[:L] - sigma2), m, sigma2)
