"""The sums m are taken for the codes.

Gap: soft_update
"""


# %% solution="soft_update"
def soft_update(N, m, z, tau, gamma):
    distances = np.sum((z[:, None] - m) ** 2, axis=2)
    r = softmax(np.log(N) - distances / (2 * tau), axis=1)
    return r, gamma * N + (1 - gamma) * r.sum(axis=0), gamma * m + (1 - gamma) * r.T @ z
