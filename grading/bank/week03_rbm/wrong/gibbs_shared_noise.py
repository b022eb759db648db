"""One set of random numbers for all chains.

Gap: gibbs_spin
"""


# %% solution="gibbs_spin"
def gibbs_spin(v, W, b, c, seed):
    rng = np.random.default_rng(seed)
    h = np.where(rng.random(len(c)) < expit(2 * (c + v @ W)), 1, -1)
    return np.where(rng.random(len(b)) < expit(2 * (b + h @ W.T)), 1, -1)
