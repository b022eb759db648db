"""Model minus data: descends the likelihood.

Gap: gradient_gaussian
"""


# %% solution="gradient_gaussian"
def gradient_gaussian(v_data, v_chain, W, b, c, sigma):
    h, g = expit(c + v_data @ W / sigma**2), expit(c + v_chain @ W / sigma**2)
    B, M = len(v_data), len(v_chain)
    dW = (v_chain.T @ g / M - v_data.T @ h / B) / sigma**2
    return dW, (v_chain.mean(0) - v_data.mean(0)) / sigma**2, g.mean(0) - h.mean(0)
