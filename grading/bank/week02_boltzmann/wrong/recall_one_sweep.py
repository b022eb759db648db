"""Stops after one sweep.

Gap: recall
"""


# %% solution="recall"
def recall(x, missing, W, b, order):
    x = np.where(missing, 0, x)
    for i in order[missing[order]]:
        field = x @ W[i] + b[i]
        x[:, i] = np.where(field > 0, 1, np.where(field < 0, 0, x[:, i]))
    return x
