"""The preparation's formula: a standard normal prior.

Gap: kl_laplace
"""


# %% solution="kl_laplace"
def kl_laplace(mu, log_s, b):
    s = np.exp(log_s)
    return np.sum((s**2 + mu**2 - 1) / 2 - log_s, axis=1)
