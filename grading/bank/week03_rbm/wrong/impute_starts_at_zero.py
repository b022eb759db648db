"""Starts the missing pixels at 0 instead of b.

Gap: impute_gaussian
"""


# %% solution="impute_gaussian"
def impute_gaussian(v, missing, W, b, c, sigma, steps, seed):
    rng = np.random.default_rng(seed)
    known, v = v, np.where(missing, 0, v)
    for _ in range(steps):
        p = expit(c + v @ W / sigma**2)
        h = (rng.random(p.shape) < p).astype(float)
        v = np.where(missing, b + h @ W.T + sigma * rng.standard_normal(v.shape), known)
    return v
