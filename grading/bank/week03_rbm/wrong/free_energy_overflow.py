"""log(1 + exp(x)) as written: infinite in float32 for x above 88.

Gap: free_energy_gaussian
"""


# %% solution="free_energy_gaussian"
def free_energy_gaussian(v, W, b, c, sigma):
    return ((v - b) ** 2).sum(axis=1) / (2 * sigma**2) - np.log(1 + np.exp(c + v @ W / sigma**2)).sum(axis=1)
