"""High energies only.

Gap: anomaly_p
"""


# %% solution="anomaly_p"
def anomaly_p(e_normal, e_new):
    e_normal, e_new = np.asarray(e_normal), np.asarray(e_new)
    high = (1 + np.sum(e_normal >= e_new[:, None], axis=1)) / (1 + len(e_normal))
    return high
