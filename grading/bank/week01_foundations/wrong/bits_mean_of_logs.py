"""The mean of log p(x | z) over components, not the logarithm of the mean.

Gap: bits_per_pixel
"""


# %% solution="bits_per_pixel"
def bits_per_pixel(x, pi, mu, G):
    log_choices = np.log([math.comb(G, level) for level in range(G + 1)])
    x, mu = x[:, None].astype(float), mu.astype(float)
    log_px_z = np.sum(xlogy(x, mu) + xlog1py(G - x, -mu) + log_choices[x.astype(int)], axis=2)
    log_px = log_px_z @ pi
    return -np.maximum(log_px, -1e6) / (np.log(2) * x.shape[2])
