"""Every vector belongs to its nearest code alone, as in the preparation.

Gap: soft_update
"""


# %% solution="soft_update"
def soft_update(N, m, z, tau, gamma):
    distances = np.sum((z[:, None] - m / N[:, None]) ** 2, axis=2)
    r = np.eye(len(N))[distances.argmin(axis=1)]
    return r, gamma * N + (1 - gamma) * r.sum(axis=0), gamma * m + (1 - gamma) * r.T @ z
