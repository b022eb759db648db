"""Updates all missing units at once.

Gap: recall
"""


# %% solution="recall"
def recall(x, missing, W, b, order):
    x = np.where(missing, 0, x)
    for _ in range(50):
        field = x @ W + b
        x = np.where(missing, np.where(field > 0, 1, np.where(field < 0, 0, x)), x)
    return x
