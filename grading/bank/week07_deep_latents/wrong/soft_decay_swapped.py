"""γ and 1 − γ exchanged.

Gap: soft_update
"""


# %% solution="soft_update"
def soft_update(N, m, z, tau, gamma):
    distances = np.sum((z[:, None] - m / N[:, None]) ** 2, axis=2)
    r = softmax(np.log(N) - distances / (2 * tau), axis=1)
    return r, (1 - gamma) * N + gamma * r.sum(axis=0), (1 - gamma) * m + gamma * r.T @ z
