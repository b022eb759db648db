"""Model minus data.

Gap: gradient_label
"""


# %% solution="gradient_label"
def gradient_label(v, mu1, mu2, mu_y, v_chain, h2_chain, theta):
    W1, W2, W3, b, c1, c2, d = theta

    def moments(v, h1, h2, y):
        n = len(v)
        return [v.T @ h1 / n, h1.T @ h2 / n, h2.T @ y / n, v.mean(0), h1.mean(0), h2.mean(0), y.mean(0)]

    h1_chain = expit(c1 + v_chain @ W1 + h2_chain @ W2.T)
    y_chain = softmax(d + h2_chain @ W3, axis=1)
    positive, negative = moments(v, mu1, mu2, mu_y), moments(v_chain, h1_chain, h2_chain, y_chain)
    return [n - p for p, n in zip(positive, negative, strict=True)]
