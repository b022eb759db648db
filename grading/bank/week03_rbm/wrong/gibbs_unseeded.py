"""Ignores the seed.

Gap: gibbs_spin
"""


# %% solution="gibbs_spin"
def gibbs_spin(v, W, b, c, seed):
    h = np.where(np.random.rand(len(v), len(c)) < expit(2 * (c + v @ W)), 1, -1)
    return np.where(np.random.rand(*v.shape) < expit(2 * (b + h @ W.T)), 1, -1)
