"""Codes without a row in the batch do not decay.

Gap: ema_update
"""


# %% solution="ema_update"
def ema_update(n, s, e, codes, gamma, tau, alpha, fresh):
    chosen = np.eye(len(n))[codes]
    n = np.where(chosen.sum(axis=0) > 0, gamma * n + (1 - gamma) * chosen.sum(axis=0), n)
    s = gamma * s + (1 - gamma) * chosen.T @ e
    dead = np.flatnonzero(n < tau)
    n[dead] = 1
    s[dead] = fresh[: len(dead)]
    smooth = n.sum() * (n + alpha) / (n.sum() + len(n) * alpha)
    return n, s, s / smooth[:, None]
