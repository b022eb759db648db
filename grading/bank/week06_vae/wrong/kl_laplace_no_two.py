"""log b in place of log 2b.

Gap: kl_laplace
"""


# %% solution="kl_laplace"
def kl_laplace(mu, log_s, b):
    s = np.exp(log_s)
    absolute = s * np.sqrt(2 / np.pi) * np.exp(-(mu**2) / (2 * s**2)) + mu * erf(mu / (s * np.sqrt(2)))
    mean_log_q = -0.5 * np.log(2 * np.pi) - log_s - 0.5  # (B, L)
    mean_log_p = -np.log(b) - absolute / b  # (B, L)
    return np.sum(mean_log_q - mean_log_p, axis=1)
