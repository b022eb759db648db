"""The distance of the means is not measured in the prior's standard deviations.

Gap: kl_full
"""


# %% solution="kl_full"
def kl_full(m, R, mu, s):
    variance = np.sum(R**2, axis=2)  # (B, L), the diagonal of R Rᵀ
    log_det_q = 2 * np.sum(np.log(np.diagonal(R, axis1=1, axis2=2)), axis=1)
    log_det_p = 2 * np.sum(np.log(s))
    quadratic = np.sum(variance / s**2 + (m - mu) ** 2, axis=1)
    return (quadratic - m.shape[1] + log_det_p - log_det_q) / 2
