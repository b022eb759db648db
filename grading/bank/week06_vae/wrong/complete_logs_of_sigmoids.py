"""Logarithms of rounded probabilities: 0 · log 0 is NaN where a sigmoid rounds to 1.

Gap: complete
"""


# %% solution="complete"
def complete(decode, log_py, z, x, missing, seed):
    rng = np.random.default_rng(seed)
    K = len(z)
    logits = np.concatenate([decode(z, c).numpy() for c in range(len(log_py))])  # (C K, D)
    p = 1 / (1 + np.exp(-logits))
    known = x[:, ~missing]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_w = known @ np.log(p[:, ~missing]).T + (1 - known) @ np.log(1 - p[:, ~missing]).T
    log_w = log_w + np.repeat(log_py, K)
    pair = np.argmax(log_w + rng.gumbel(size=log_w.shape), axis=1)  # (B,)
    return np.where(missing, rng.random(x.shape) < p[pair], x), pair // K
