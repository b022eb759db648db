"""The counts are smoothed with their sum before the restarts.

Gap: ema_update
"""


# %% solution="ema_update"
def ema_update(n, s, e, codes, gamma, tau, alpha, fresh):
    chosen = np.eye(len(n))[codes]
    n = gamma * n + (1 - gamma) * chosen.sum(axis=0)
    s = gamma * s + (1 - gamma) * chosen.T @ e
    total = n.sum()
    dead = np.flatnonzero(n < tau)
    n[dead] = 1
    s[dead] = fresh[: len(dead)]
    return n, s, s / (total * (n + alpha) / (total + len(n) * alpha))[:, None]
