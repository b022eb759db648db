"""The new energy is not counted itself: p may be 0.

Gap: anomaly_p
"""


# %% solution="anomaly_p"
def anomaly_p(e_normal, e_new):
    e_normal, e_new = np.asarray(e_normal), np.asarray(e_new)
    high = (np.sum(e_normal >= e_new[:, None], axis=1)) / len(e_normal)
    low = (np.sum(e_normal <= e_new[:, None], axis=1)) / len(e_normal)
    return np.minimum(1, 2 * np.minimum(high, low))
