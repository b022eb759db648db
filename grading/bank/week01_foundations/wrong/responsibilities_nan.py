"""Multiplies by a mask: NaN · 0 is NaN.

Gap: responsibilities
"""


# %% solution="responsibilities"
def responsibilities(x, pi, mu, G):
    known = ~np.isnan(x)
    log_w = np.log(pi) + (x * known) @ np.log(mu).T + ((G - x) * known) @ np.log1p(-mu).T
    return np.exp(log_w - logsumexp(log_w, axis=1, keepdims=True))
