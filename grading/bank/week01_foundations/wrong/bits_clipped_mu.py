"""Clips mu to [0.01, 0.99]: a component is never certain.

Gap: bits_per_pixel
"""


# %% solution="bits_per_pixel"
def bits_per_pixel(x, pi, mu, G):
    log_choices = np.log([math.comb(G, level) for level in range(G + 1)])
    x, mu = x[:, None].astype(float), np.clip(mu.astype(float), 0.01, 0.99)
    log_px_z = np.sum(xlogy(x, mu) + xlog1py(G - x, -mu) + log_choices[x.astype(int)], axis=2)
    return -logsumexp(np.log(pi) + log_px_z, axis=1) / (np.log(2) * x.shape[2])
