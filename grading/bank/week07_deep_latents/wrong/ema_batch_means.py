"""Means over the batch in place of sums.

Gap: ema_update
"""


# %% solution="ema_update"
def ema_update(n, s, e, codes, gamma, tau, alpha, fresh):
    chosen = np.eye(len(n))[codes]
    n = gamma * n + (1 - gamma) * chosen.mean(axis=0)
    s = gamma * s + (1 - gamma) * chosen.T @ e / len(e)
    dead = np.flatnonzero(n < tau)
    n[dead] = 1
    s[dead] = fresh[: len(dead)]
    smooth = n.sum() * (n + alpha) / (n.sum() + len(n) * alpha)
    return n, s, s / smooth[:, None]
