"""The mean of each code's rows is averaged, not their sum.

Gap: ema_update
"""


# %% solution="ema_update"
def ema_update(n, s, e, codes, gamma, tau, alpha, fresh):
    chosen = np.eye(len(n))[codes]
    n = gamma * n + (1 - gamma) * chosen.sum(axis=0)
    s = gamma * s + (1 - gamma) * chosen.T @ e / np.maximum(chosen.sum(axis=0), 1)[:, None]
    dead = np.flatnonzero(n < tau)
    n[dead] = 1
    s[dead] = fresh[: len(dead)]
    smooth = n.sum() * (n + alpha) / (n.sum() + len(n) * alpha)
    return n, s, s / smooth[:, None]
