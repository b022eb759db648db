"""Divides both sums by the size of the data batch.

Gap: gradient_gaussian
"""


# %% solution="gradient_gaussian"
def gradient_gaussian(v_data, v_chain, W, b, c, sigma):
    h, g = expit(c + v_data @ W / sigma**2), expit(c + v_chain @ W / sigma**2)
    B = len(v_data)
    dW = (v_data.T @ h - v_chain.T @ g) / B / sigma**2
    return dW, (v_data.sum(0) - v_chain.sum(0)) / B / sigma**2, (h.sum(0) - g.sum(0)) / B
