"""Forgets z: the mean over components of KL between component and q's mean.

Gap: kl_by_drawing
"""


# %% solution="kl_by_drawing"
def kl_by_drawing(pi_p, mu_p, pi_q, mu_q, G, N, seed):
    rng = np.random.default_rng(seed)
    x = rng.binomial(G, mu_p[rng.integers(len(pi_p), size=N)])
    d = np.log(p_x_z(x, mu_p, G)) @ pi_p - np.log(p_x_z(x, mu_q, G)) @ pi_q
    return d.mean(), d.std() / np.sqrt(N)
