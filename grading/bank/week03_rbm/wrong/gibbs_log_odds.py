"""Uses the 0/1 formula, sigma(x), where the log-odds of a ±1 unit are 2x.

Gap: gibbs_spin
"""


# %% solution="gibbs_spin"
def gibbs_spin(v, W, b, c, seed):
    rng = np.random.default_rng(seed)
    h = np.where(rng.random((len(v), len(c))) < expit(c + v @ W), 1, -1)
    return np.where(rng.random(v.shape) < expit(b + h @ W.T), 1, -1)
