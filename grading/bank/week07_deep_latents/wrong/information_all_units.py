"""One number for all units together: the joint information.

Gap: unit_information
"""


# %% solution="unit_information"
def unit_information(mu, sigma, noise):
    z = mu + sigma * noise
    log_q = np.sum(-(((z[:, None] - mu) / sigma) ** 2) / 2 - np.log(sigma), axis=2)
    return np.mean(np.diag(log_q) - logsumexp(log_q, axis=1) + np.log(len(mu)))
