"""Gives the label the entropy of K independent units.

Gap: bound_label
"""


# %% solution="bound_label"
def bound_label(v, mu1, mu2, mu_y, theta, log_z):
    W1, W2, W3, b, c1, c2, d = theta
    biases = v @ b + mu1 @ c1 + mu2 @ c2 + mu_y @ d
    links = (
        np.sum((v @ W1) * mu1, axis=1) + np.sum((mu1 @ W2) * mu2, axis=1) + np.sum((mu2 @ W3) * mu_y, axis=1)
    )
    entropy_h1 = -np.sum(xlogy(mu1, mu1) + xlogy(1 - mu1, 1 - mu1), axis=1)
    entropy_h2 = -np.sum(xlogy(mu2, mu2) + xlogy(1 - mu2, 1 - mu2), axis=1)
    entropy_y = -np.sum(xlogy(mu_y, mu_y) + xlogy(1 - mu_y, 1 - mu_y), axis=1)
    return biases + links + entropy_h1 + entropy_h2 + entropy_y - log_z
