"""z2 taken from the prior, not from q: mean 0 and variance 1.

Gap: ladder_kl
"""


# %% solution="ladder_kl"
def ladder_kl(m, s, c, v, C, A, a, t):
    kl_2 = np.sum((m**2 + s**2 - 1) / 2 - np.log(s), axis=1)
    mean = c - a
    variance = np.ones_like(s) @ ((C - A) ** 2).T
    kl_1 = np.sum((mean**2 + variance + v**2) / (2 * t**2) - 0.5 - np.log(v / t), axis=1)
    return kl_2, kl_1
