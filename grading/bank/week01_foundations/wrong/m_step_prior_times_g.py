"""The prior is taken for a images instead of a small pixels.

Gap: m_step
"""


# %% solution="m_step"
def m_step(x, r, w, a, G):
    known = ~np.isnan(x)
    weight = (w[:, None] * r).astype(float)
    black = weight.T @ np.where(known, x, 0)
    total = G * (weight.T @ known)
    return weight.sum(axis=0) / w.sum(), (black + a * G) / (total + 2 * a * G)
