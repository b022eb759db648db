"""Leaves out the binomial coefficients.

Gap: bits_per_pixel
"""


# %% solution="bits_per_pixel"
def bits_per_pixel(x, pi, mu, G):
    np.log([math.comb(G, level) for level in range(G + 1)])
    x, mu = x[:, None].astype(float), mu.astype(float)
    log_px_z = np.sum(xlogy(x, mu) + xlog1py(G - x, -mu), axis=2)
    return -logsumexp(np.log(pi) + log_px_z, axis=1) / (np.log(2) * x.shape[2])
