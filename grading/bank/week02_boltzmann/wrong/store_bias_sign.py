"""Bias with the wrong sign.

Gap: store_centred
"""


# %% solution="store_centred"
def store_centred(patterns, a):
    deviations = patterns - a
    W = deviations.T @ deviations / patterns.shape[1]
    np.fill_diagonal(W, 0)
    return W, W @ a
