"""Writes log(1 + e^x) and log-sum-exp as they stand: overflow.

Gap: free_energy_label
"""


# %% solution="free_energy_label"
def free_energy_label(v, h2, theta):
    W1, W2, W3, b, c1, c2, d = theta
    into_h1 = c1 + v @ W1 + h2 @ W2.T  # (B, H1)
    into_y = d + h2 @ W3  # (B, K)
    return -(v @ b) - h2 @ c2 - np.log(1 + np.exp(into_h1)).sum(axis=1) - np.log(np.exp(into_y).sum(axis=1))
