"""Puts the known pixels back only once, after the chain.

Gap: impute_gaussian
"""


# %% solution="impute_gaussian"
def impute_gaussian(v, missing, W, b, c, sigma, steps, seed):
    rng = np.random.default_rng(seed)
    known, v = v, np.where(missing, b, v)
    for _ in range(steps):
        p = expit(c + v @ W / sigma**2)
        h = (rng.random(p.shape) < p).astype(float)
        sample = b + h @ W.T + sigma * rng.standard_normal(v.shape)
        v = sample
    return np.where(missing, v, known)
