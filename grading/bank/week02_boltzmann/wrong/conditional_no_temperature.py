"""Leaves the temperature out.

Gap: conditional_potts
"""


# %% solution="conditional_potts"
def conditional_potts(x, i, W, b, T):
    z = np.eye(b.shape[1])[x]
    field = b[i] + np.einsum("j,bjk->bk", W[i], z)
    return softmax(field, axis=1)
