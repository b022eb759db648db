"""Divides the input to the hidden units by sigma instead of its square.

Gap: free_energy_gaussian
"""


# %% solution="free_energy_gaussian"
def free_energy_gaussian(v, W, b, c, sigma):
    return ((v - b) ** 2).sum(axis=1) / (2 * sigma**2) - np.logaddexp(0, c + v @ W / sigma).sum(axis=1)
