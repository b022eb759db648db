"""Smooths pi as well, which J does not say.

Gap: m_step
"""


# %% solution="m_step"
def m_step(x, r, w, a, G):
    known = ~np.isnan(x)
    weight = (w[:, None] * r).astype(float)
    black = weight.T @ np.where(known, x, 0)
    total = G * (weight.T @ known)
    return (weight.sum(axis=0) + a) / (w.sum() + a * r.shape[1]), (black + a) / (total + 2 * a)
