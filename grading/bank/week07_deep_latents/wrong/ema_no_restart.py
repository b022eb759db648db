"""Dead codes stay dead.

Gap: ema_update
"""


# %% solution="ema_update"
def ema_update(n, s, e, codes, gamma, tau, alpha, fresh):
    chosen = np.eye(len(n))[codes]
    n = gamma * n + (1 - gamma) * chosen.sum(axis=0)
    s = gamma * s + (1 - gamma) * chosen.T @ e
    smooth = n.sum() * (n + alpha) / (n.sum() + len(n) * alpha)
    return n, s, s / smooth[:, None]
