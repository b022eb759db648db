"""Logarithms of p and 1 − p, which round to 0, times 0.

Gap: score_gradient
"""


# %% solution="score_gradient"
def score_gradient(log_joint, logits, u):
    K = len(u)
    p = expit(logits)
    z = (u < p).astype(np.float32)  # (K, B, L)
    log_q = np.sum(z * np.log(p) + (1 - z) * np.log(1 - p), axis=2)  # (K, B)
    f = log_joint(z).numpy() - log_q
    others = (f.sum(axis=0) - f) / (K - 1)
    return np.mean((f - others)[:, :, None] * (z - p), axis=0)
