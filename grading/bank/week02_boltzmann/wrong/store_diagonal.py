"""Keeps the diagonal.

Gap: store_centred
"""


# %% solution="store_centred"
def store_centred(patterns, a):
    deviations = patterns - a
    W = deviations.T @ deviations / patterns.shape[1]
    return W, -W @ a
