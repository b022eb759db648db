"""The distance, not its square.

Gap: soft_update
"""


# %% solution="soft_update"
def soft_update(N, m, z, tau, gamma):
    distances = np.linalg.norm(z[:, None] - m / N[:, None], axis=2)
    r = softmax(np.log(N) - distances / (2 * tau), axis=1)
    return r, gamma * N + (1 - gamma) * r.sum(axis=0), gamma * m + (1 - gamma) * r.T @ z
