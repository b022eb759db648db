"""Multiplies probabilities and takes the logarithm at the end.

Gap: bits_per_pixel
"""


# %% solution="bits_per_pixel"
def bits_per_pixel(x, pi, mu, G):
    return -np.log2(p_x_z(x, mu, G) @ pi) / x.shape[1]
