"""Takes the factor one half of the energy's double sum into the field.

Gap: conditional_potts
"""


# %% solution="conditional_potts"
def conditional_potts(x, i, W, b, T):
    z = np.eye(b.shape[1])[x]
    field = b[i] + 0.5 * np.einsum("j,bjk->bk", W[i], z)
    return softmax(field / T, axis=1)
