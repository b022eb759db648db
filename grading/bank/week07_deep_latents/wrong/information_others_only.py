"""The aggregate without the image's own posterior.

Gap: unit_information
"""


# %% solution="unit_information"
def unit_information(mu, sigma, noise):
    N = len(mu)
    z = mu + sigma * noise
    log_q = -(((z[:, None] - mu) / sigma) ** 2) / 2 - np.log(sigma)
    own = np.einsum("nnl->nl", log_q)
    others = np.where(np.eye(N, dtype=bool)[:, :, None], -1e30, log_q)
    return np.mean(own - logsumexp(others, axis=1) + np.log(N - 1), axis=0)
