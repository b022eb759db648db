"""log det of R, not of R Rᵀ: the factor 2 is missing.

Gap: kl_full
"""


# %% solution="kl_full"
def kl_full(m, R, mu, s):
    variance = np.sum(R**2, axis=2)  # (B, L), the diagonal of R Rᵀ
    log_det_q = np.sum(np.log(np.diagonal(R, axis1=1, axis2=2)), axis=1)
    log_det_p = 2 * np.sum(np.log(s))
    quadratic = np.sum((variance + (m - mu) ** 2) / s**2, axis=1)
    return (quadratic - m.shape[1] + log_det_p - log_det_q) / 2
