"""The mean of a code's vectors is averaged, not their sum.

Gap: soft_update
"""


# %% solution="soft_update"
def soft_update(N, m, z, tau, gamma):
    distances = np.sum((z[:, None] - m / N[:, None]) ** 2, axis=2)
    r = softmax(np.log(N) - distances / (2 * tau), axis=1)
    return (
        r,
        gamma * N + (1 - gamma) * r.sum(axis=0),
        gamma * m + (1 - gamma) * r.T @ z / r.sum(axis=0)[:, None],
    )
