"""Fills a hole with the mean under each component and counts it as seen.

Gap: responsibilities
"""


# %% solution="responsibilities"
def responsibilities(x, pi, mu, G):
    filled = np.where(np.isnan(x)[:, None], G * mu, x[:, None])
    log_w = np.log(pi) + np.sum(filled * np.log(mu) + (G - filled) * np.log1p(-mu), axis=2)
    return np.exp(log_w - logsumexp(log_w, axis=1, keepdims=True))
