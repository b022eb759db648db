"""log σ left out, although σ differs between posteriors.

Gap: unit_information
"""


# %% solution="unit_information"
def unit_information(mu, sigma, noise):
    z = mu + sigma * noise
    log_q = -(((z[:, None] - mu) / sigma) ** 2) / 2
    log_mean = logsumexp(log_q, axis=1) - np.log(len(mu))
    return np.mean(np.einsum("nnl->nl", log_q) - log_mean, axis=0)
