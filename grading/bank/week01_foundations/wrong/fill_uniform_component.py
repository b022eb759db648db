"""Ignores r: all components alike.

Gap: fill_holes
"""


# %% solution="fill_holes"
def fill_holes(x, r, mu, G, seed):
    rng = np.random.default_rng(seed)
    z = rng.integers(r.shape[1], size=len(x))
    return np.where(np.isnan(x), rng.binomial(G, mu[z]), x)
