"""The mean of log densities in place of the log of the mean density.

Gap: unit_information
"""


# %% solution="unit_information"
def unit_information(mu, sigma, noise):
    z = mu + sigma * noise
    log_q = -(((z[:, None] - mu) / sigma) ** 2) / 2 - np.log(sigma)
    return np.mean(np.einsum("nnl->nl", log_q) - log_q.mean(axis=1), axis=0)
