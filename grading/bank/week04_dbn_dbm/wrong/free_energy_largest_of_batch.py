"""Takes the largest input to y of the whole batch out of the exponent: rows far below it underflow to log 0.

Gap: free_energy_label
"""


# %% solution="free_energy_label"
def free_energy_label(v, h2, theta):
    W1, W2, W3, b, c1, c2, d = theta
    into_h1 = c1 + v @ W1 + h2 @ W2.T  # (B, H1)
    into_y = d + h2 @ W3  # (B, K)
    top = into_y.max()
    log_sum = top + np.log(np.exp(into_y - top).sum(axis=1))
    return -(v @ b) - h2 @ c2 - np.logaddexp(0, into_h1).sum(axis=1) - log_sum
