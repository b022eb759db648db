"""A unit whose field is 0 is switched on.

Gap: recall
"""


# %% solution="recall"
def recall(x, missing, W, b, order):
    x = np.where(missing, 0, x)
    while True:
        before = x.copy()
        for i in order[missing[order]]:
            field = x @ W[i] + b[i]
            x[:, i] = field >= 0
        if np.array_equal(x, before):
            return x
