"""Densities at the means, the noise is not used.

Gap: unit_information
"""


# %% solution="unit_information"
def unit_information(mu, sigma, noise):
    log_q = -(((mu[:, None] - mu) / sigma) ** 2) / 2 - np.log(sigma)
    log_mean = logsumexp(log_q, axis=1) - np.log(len(mu))
    return np.mean(np.einsum("nnl->nl", log_q) - log_mean, axis=0)
