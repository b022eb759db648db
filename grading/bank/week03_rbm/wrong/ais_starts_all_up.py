"""Starts every run at the same state instead of uniform draws.

Gap: ais_spin
"""


# %% solution="ais_spin"
def ais_spin(W, b, c, betas, runs, seed):
    rng = np.random.default_rng(seed)

    def log_p_star(v, beta):
        x = c + v @ W
        return beta * (v @ b) + np.logaddexp(beta * x, -beta * x).sum(axis=1)

    v = np.ones((runs, len(b)))
    log_w = np.zeros(runs)
    for previous, beta in zip(betas[:-1], betas[1:], strict=True):
        log_w += log_p_star(v, beta) - log_p_star(v, previous)
        h = np.where(rng.random((runs, len(c))) < expit(2 * beta * (c + v @ W)), 1.0, -1.0)
        v = np.where(rng.random(v.shape) < expit(2 * beta * (b + h @ W.T)), 1.0, -1.0)
    return log_w
