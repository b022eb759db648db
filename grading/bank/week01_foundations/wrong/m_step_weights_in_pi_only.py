"""Uses the weights for pi, but not for mu.

Gap: m_step
"""


# %% solution="m_step"
def m_step(x, r, w, a, G):
    known = ~np.isnan(x)
    weight = (w[:, None] * r).astype(float)
    weight.T @ np.where(known, x, 0)
    G * (weight.T @ known)
    return weight.sum(axis=0) / w.sum(), (r.T @ np.where(known, x, 0) + a) / (G * (r.T @ known) + 2 * a)
