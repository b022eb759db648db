"""A small number added to the denominator against 0 / 0.

Gap: soft_update
"""


# %% solution="soft_update"
def soft_update(N, m, z, tau, gamma):
    w = N * np.exp(-np.sum((z[:, None] - m / N[:, None]) ** 2, axis=2) / (2 * tau))
    r = w / (w.sum(axis=1, keepdims=True) + 1e-8)
    return r, gamma * N + (1 - gamma) * r.sum(axis=0), gamma * m + (1 - gamma) * r.T @ z
