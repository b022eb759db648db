"""Hidden states 0 and 1 in a ±1 machine.

Gap: gibbs_spin
"""


# %% solution="gibbs_spin"
def gibbs_spin(v, W, b, c, seed):
    rng = np.random.default_rng(seed)
    h = (rng.random((len(v), len(c))) < expit(2 * (c + v @ W))).astype(float)
    return np.where(rng.random(v.shape) < expit(2 * (b + h @ W.T)), 1, -1)
