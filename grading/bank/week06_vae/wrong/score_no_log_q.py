"""f is log p(x, z) alone, without − log q.

Gap: score_gradient
"""


# %% solution="score_gradient"
def score_gradient(log_joint, logits, u):
    K = len(u)
    p = expit(logits)
    z = (u < p).astype(np.float32)  # (K, B, L)
    f = log_joint(z).numpy()
    others = (f.sum(axis=0) - f) / (K - 1)
    return np.mean((f - others)[:, :, None] * (z - p), axis=0)
