"""Draws from one binomial with the mean of mu over the components.

Gap: fill_holes
"""


# %% solution="fill_holes"
def fill_holes(x, r, mu, G, seed):
    rng = np.random.default_rng(seed)
    return np.where(np.isnan(x), rng.binomial(G, np.clip(r @ mu, 0, 1)), x)
