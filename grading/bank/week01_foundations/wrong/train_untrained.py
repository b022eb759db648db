"""Returns the starting point.

Gap: train_binomials
"""


# %% solution="train_binomials"
def train_binomials(x_train, K, G, seed):
    rng = np.random.default_rng(seed)
    known = ~np.isnan(x_train)
    black = np.where(known, x_train, 0).astype(float)
    white, a = G * known - black, 1.0
    mean = black.sum(axis=0) / (G * np.sum(known, axis=0))
    start = rng.choice(len(x_train), K, replace=False)
    mu = np.clip((black[start] / G + mean) / 2, 0.02, 0.98)
    pi = np.full(K, 1 / K)
    for _ in range(0):
        log_w = np.log(pi) + black @ np.log(mu).T + white @ np.log1p(-mu).T
        r = np.exp(log_w - logsumexp(log_w, axis=1, keepdims=True))
        pi = (r.sum(axis=0) + 1e-9) / (len(r) + K * 1e-9)
        mu = (r.T @ black + a) / (G * (r.T @ known) + 2 * a)
    return pi, mu
