"""Computes with NaN and returns NaN.

Gap: train_binomials
"""


# %% solution="train_binomials"
def train_binomials(x_train, K, G, seed):
    return np.full(K, 1 / K), np.tile(x_train.mean(axis=0) / G, (K, 1))
