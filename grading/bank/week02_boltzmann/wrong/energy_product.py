"""Multiplies the numbers of the colours, as if they were spins.

Gap: energy_potts
"""


# %% solution="energy_potts"
def energy_potts(x, W, b):
    biases = np.take_along_axis(b.T, x, axis=0).sum(axis=1)
    return -0.5 * np.einsum("bi,ij,bj->b", x, W, x) - biases
