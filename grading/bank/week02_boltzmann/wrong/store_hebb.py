"""The Hebb rule of spins, carried over by x = (s + 1) / 2: the activities are not used.

Gap: store_centred
"""


# %% solution="store_centred"
def store_centred(patterns, a):
    s = 2 * patterns - 1
    W = s.T @ s / patterns.shape[1]
    np.fill_diagonal(W, 0)
    return 4 * W, -2 * W.sum(axis=1)
