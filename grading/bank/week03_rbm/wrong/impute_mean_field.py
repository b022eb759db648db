"""Passes probabilities of h on instead of draws.

Gap: impute_gaussian
"""


# %% solution="impute_gaussian"
def impute_gaussian(v, missing, W, b, c, sigma, steps, seed):
    rng = np.random.default_rng(seed)
    known, v = v, np.where(missing, b, v)
    for _ in range(steps):
        p = expit(c + v @ W / sigma**2)
        h = p
        sample = b + h @ W.T + sigma * rng.standard_normal(v.shape)
        v = np.where(missing, sample, known)
    return np.where(missing, v, known)
