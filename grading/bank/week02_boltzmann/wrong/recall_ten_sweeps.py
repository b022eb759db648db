"""Stops after ten sweeps, whether anything changes or not.

Gap: recall
"""


# %% solution="recall"
def recall(x, missing, W, b, order):
    x = np.where(missing, 0, x)
    for _ in range(10):
        before = x.copy()
        for i in order:
            if missing[i]:
                field = x @ W[i] + b[i]
                x[:, i] = np.where(field == 0, x[:, i], field > 0)
        if np.array_equal(x, before):
            break
    return x
