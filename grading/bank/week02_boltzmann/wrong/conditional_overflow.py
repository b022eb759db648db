"""Writes out exp and the sum: overflows at low temperature.

Gap: conditional_potts
"""


# %% solution="conditional_potts"
def conditional_potts(x, i, W, b, T):
    z = np.eye(b.shape[1])[x]
    field = b[i] + np.einsum("j,bjk->bk", W[i], z)
    weights = np.exp(field / T)
    return weights / weights.sum(axis=1, keepdims=True)
