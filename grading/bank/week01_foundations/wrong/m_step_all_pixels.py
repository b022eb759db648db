"""Divides by the weight of all images, also those in which the pixel is missing.

Gap: m_step
"""


# %% solution="m_step"
def m_step(x, r, w, a, G):
    known = ~np.isnan(x)
    weight = (w[:, None] * r).astype(float)
    black = weight.T @ np.where(known, x, 0)
    total = G * weight.sum(axis=0)[:, None]
    return weight.sum(axis=0) / w.sum(), (black + a) / (total + 2 * a)
