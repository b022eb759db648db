"""Divides by the number of patterns.

Gap: store_centred
"""


# %% solution="store_centred"
def store_centred(patterns, a):
    deviations = patterns - a
    W = deviations.T @ deviations / len(patterns)
    np.fill_diagonal(W, 0)
    return W, -W @ a
