"""|μ| for the mean of |z|.

Gap: kl_laplace
"""


# %% solution="kl_laplace"
def kl_laplace(mu, log_s, b):
    mean_log_q = -0.5 * np.log(2 * np.pi) - log_s - 0.5  # (B, L)
    mean_log_p = -np.log(2 * b) - np.abs(mu) / b  # (B, L)
    return np.sum(mean_log_q - mean_log_p, axis=1)
