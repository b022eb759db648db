"""Adds the biases of all colours, not of the colour that the unit has.

Gap: energy_potts
"""


# %% solution="energy_potts"
def energy_potts(x, W, b):
    z = np.eye(b.shape[1])[x]
    links = np.einsum("bik,ij,bjk->b", z, W, z, optimize=True) / 2
    biases = b.sum()
    return -links - biases
