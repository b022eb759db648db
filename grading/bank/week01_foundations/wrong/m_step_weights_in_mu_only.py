"""Uses the weights for mu, but not for pi.

Gap: m_step
"""


# %% solution="m_step"
def m_step(x, r, w, a, G):
    known = ~np.isnan(x)
    weight = (w[:, None] * r).astype(float)
    black = weight.T @ np.where(known, x, 0)
    total = G * (weight.T @ known)
    return r.mean(axis=0), (black + a) / (total + 2 * a)
