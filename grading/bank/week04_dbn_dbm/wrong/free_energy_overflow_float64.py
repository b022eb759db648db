"""Computes log(1 + e^x) and log-sum-exp as they stand, in float64: enough for inputs of a few hundred only.

Gap: free_energy_label
"""


# %% solution="free_energy_label"
def free_energy_label(v, h2, theta):
    v, h2 = v.astype(np.float64), h2.astype(np.float64)
    W1, W2, W3, b, c1, c2, d = [x.astype(np.float64) for x in theta]
    into_h1 = c1 + v @ W1 + h2 @ W2.T  # (B, H1)
    into_y = d + h2 @ W3  # (B, K)
    return -(v @ b) - h2 @ c2 - np.log(1 + np.exp(into_h1)).sum(axis=1) - np.log(np.exp(into_y).sum(axis=1))
