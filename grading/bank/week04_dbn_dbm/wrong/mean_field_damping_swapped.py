"""Weighs the new value with the damping.

Gap: mean_field_label
"""


# %% solution="mean_field_label"
def mean_field_label(v, theta, sweeps, damping):
    W1, W2, W3, b, c1, c2, d = theta
    B = len(v)
    mu1, mu2, mu_y = np.full((B, len(c1)), 0.5), np.full((B, len(c2)), 0.5), np.full((B, len(d)), 1 / len(d))
    for _ in range(sweeps):
        new1 = expit(c1 + v @ W1 + mu2 @ W2.T)
        new2 = expit(c2 + mu1 @ W2 + mu_y @ W3.T)
        new_y = softmax(d + mu2 @ W3, axis=1)
        mu1, mu2, mu_y = (
            damping * new + (1 - damping) * old for old, new in [(mu1, new1), (mu2, new2), (mu_y, new_y)]
        )
    return mu1, mu2, mu_y
