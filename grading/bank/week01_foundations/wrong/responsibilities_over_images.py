"""Normalises over the images of the batch, not over the components.

Gap: responsibilities
"""


# %% solution="responsibilities"
def responsibilities(x, pi, mu, G):
    known = ~np.isnan(x)
    black = np.where(known, x, 0).astype(float)
    white = G * known - black
    log_w = np.log(pi) + black @ np.log(mu).T.astype(float) + white @ np.log1p(-mu.astype(float)).T
    return np.exp(log_w - logsumexp(log_w, axis=0))
