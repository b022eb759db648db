"""Sums the hidden inputs before the softplus instead of after it.

Gap: free_energy_gaussian
"""


# %% solution="free_energy_gaussian"
def free_energy_gaussian(v, W, b, c, sigma):
    return ((v - b) ** 2).sum(axis=1) / (2 * sigma**2) - np.logaddexp(0, (c + v @ W / sigma**2).sum(axis=1))
