"""KL(p ‖ q): the arguments change places.

Gap: kl_full
"""


# %% solution="kl_full"
def kl_full(m, R, mu, s):
    inverse = np.linalg.inv(R)
    whitened = np.einsum("bij,bj->bi", inverse, mu - m)
    log_det_q = 2 * np.sum(np.log(np.diagonal(R, axis1=1, axis2=2)), axis=1)
    log_det_p = 2 * np.sum(np.log(s))
    quadratic = np.sum(inverse**2 * s**2, axis=(1, 2)) + np.sum(whitened**2, axis=1)
    return (quadratic - m.shape[1] + log_det_q - log_det_p) / 2
