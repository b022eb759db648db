"""Forgets the factor 1/sigma² of the derivatives with respect to W and b.

Gap: gradient_gaussian
"""


# %% solution="gradient_gaussian"
def gradient_gaussian(v_data, v_chain, W, b, c, sigma):
    h, g = expit(c + v_data @ W / sigma**2), expit(c + v_chain @ W / sigma**2)
    B, M = len(v_data), len(v_chain)
    return v_data.T @ h / B - v_chain.T @ g / M, v_data.mean(0) - v_chain.mean(0), h.mean(0) - g.mean(0)
