"""γ and 1 − γ exchanged.

Gap: ema_update
"""


# %% solution="ema_update"
def ema_update(n, s, e, codes, gamma, tau, alpha, fresh):
    chosen = np.eye(len(n))[codes]
    n = (1 - gamma) * n + gamma * chosen.sum(axis=0)
    s = (1 - gamma) * s + gamma * chosen.T @ e
    dead = np.flatnonzero(n < tau)
    n[dead] = 1
    s[dead] = fresh[: len(dead)]
    smooth = n.sum() * (n + alpha) / (n.sum() + len(n) * alpha)
    return n, s, s / smooth[:, None]
