"""The prior counts once in the denominator.

Gap: m_step
"""


# %% solution="m_step"
def m_step(x, r, w, a, G):
    known = ~np.isnan(x)
    weight = (w[:, None] * r).astype(float)
    black = weight.T @ np.where(known, x, 0)
    total = G * (weight.T @ known)
    return weight.sum(axis=0) / w.sum(), (black + a) / (total + a)
