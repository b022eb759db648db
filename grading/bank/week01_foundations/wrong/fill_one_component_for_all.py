"""One component for the whole batch, drawn from the first image's r.

Gap: fill_holes
"""


# %% solution="fill_holes"
def fill_holes(x, r, mu, G, seed):
    rng = np.random.default_rng(seed)
    z = np.full(len(x), rng.choice(r.shape[1], p=r[0].astype(float) / r[0].astype(float).sum()))
    return np.where(np.isnan(x), rng.binomial(G, mu[z]), x)
