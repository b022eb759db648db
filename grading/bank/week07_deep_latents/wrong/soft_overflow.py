"""The exponentials as they stand: 0 divided by 0 for vectors far away.

Gap: soft_update
"""


# %% solution="soft_update"
def soft_update(N, m, z, tau, gamma):
    w = N * np.exp(-np.sum((z[:, None] - m / N[:, None]) ** 2, axis=2) / (2 * tau))
    with np.errstate(invalid="ignore"):
        r = w / w.sum(axis=1, keepdims=True)
    return r, gamma * N + (1 - gamma) * r.sum(axis=0), gamma * m + (1 - gamma) * r.T @ z
