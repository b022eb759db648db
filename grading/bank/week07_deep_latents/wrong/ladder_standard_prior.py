"""The lower layer compared with N(0, I), as if the ladder had no connection.

Gap: ladder_kl
"""


# %% solution="ladder_kl"
def ladder_kl(m, s, c, v, C, A, a, t):
    kl_2 = np.sum((m**2 + s**2 - 1) / 2 - np.log(s), axis=1)
    mean = m @ C.T + c
    variance = s**2 @ (C**2).T
    kl_1 = np.sum((mean**2 + variance + v**2 - 1) / 2 - np.log(v), axis=1)
    return kl_2, kl_1
