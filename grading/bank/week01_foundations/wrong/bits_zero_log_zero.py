"""0 · log 0 becomes NaN.

Gap: bits_per_pixel
"""


# %% solution="bits_per_pixel"
def bits_per_pixel(x, pi, mu, G):
    log_choices = np.log([math.comb(G, level) for level in range(G + 1)])
    log_px_z = x @ np.log(mu).T + (G - x) @ np.log1p(-mu).T + log_choices[x.astype(int)].sum(axis=1)[:, None]
    return -logsumexp(np.log(pi) + log_px_z, axis=1) / (np.log(2) * x.shape[1])
