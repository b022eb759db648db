"""Subtracts the gradient.

Gap: train_gaussian
"""


# %% solution="train_gaussian"
def train_gaussian(v_train, hidden, sigma, seed):
    rng = np.random.default_rng(seed)
    W, b, c = rng.normal(0, 0.05, (v_train.shape[1], hidden)), v_train.mean(axis=0), np.zeros(hidden)
    x = v_train[:50]
    for _ in range(3):
        for v in np.array_split(rng.permutation(v_train), 24):
            h = (rng.random((len(x), hidden)) < expit(c + x @ W / sigma**2)).astype(float)
            x = b + h @ W.T + sigma * rng.standard_normal(x.shape)
            p, q = expit(c + v @ W / sigma**2), expit(c + x @ W / sigma**2)
            W = W - 0.05 * (v.T @ p / len(v) - x.T @ q / len(x))
            b = b - 0.05 * (v.mean(0) - x.mean(0))
            c = c - 0.05 * (p.mean(0) - q.mean(0))
    return W, b, c
