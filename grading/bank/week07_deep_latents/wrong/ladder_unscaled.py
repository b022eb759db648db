"""The shift of the mean is not divided by t².

Gap: ladder_kl
"""


# %% solution="ladder_kl"
def ladder_kl(m, s, c, v, C, A, a, t):
    kl_2 = np.sum((m**2 + s**2 - 1) / 2 - np.log(s), axis=1)
    mean = m @ (C - A).T + c - a
    variance = s**2 @ ((C - A) ** 2).T
    kl_1 = np.sum((mean**2 + variance) / 2 + v**2 / (2 * t**2) - 0.5 - np.log(v / t), axis=1)
    return kl_2, kl_1
