"""Copies the binary formula: the visible term is −b·v instead of the parabola.

Gap: free_energy_gaussian
"""


# %% solution="free_energy_gaussian"
def free_energy_gaussian(v, W, b, c, sigma):
    return -v @ b - np.logaddexp(0, c + v @ W / sigma**2).sum(axis=1)
