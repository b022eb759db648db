"""Weights the log ratios by p(x) although x is drawn from p.

Gap: kl_by_drawing
"""


# %% solution="kl_by_drawing"
def kl_by_drawing(pi_p, mu_p, pi_q, mu_q, G, N, seed):
    rng = np.random.default_rng(seed)
    pi_p, pi_q = (v.astype(float) / v.astype(float).sum() for v in (pi_p, pi_q))
    z = rng.choice(len(pi_p), size=N, p=pi_p)
    x = rng.binomial(G, mu_p[z])
    log_p, log_q = np.log(p_x_z(x, mu_p, G) @ pi_p), np.log(p_x_z(x, mu_q, G) @ pi_q)
    d = log_p - log_q
    return np.sum(np.exp(log_p) * d) / np.sum(np.exp(log_p)), d.std() / np.sqrt(N)
