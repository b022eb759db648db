"""Returns the layers in another order.

Gap: gibbs_label
"""


# %% solution="gibbs_label"
def gibbs_label(v, h2, theta, seed):
    W1, W2, W3, b, c1, c2, d = theta
    rng = np.random.default_rng(seed)

    def draw(x):  # 0 or 1 with log-odds x
        return (rng.random(x.shape) < expit(x)).astype(np.float32)

    h1 = draw(c1 + v @ W1 + h2 @ W2.T)
    into_y = d + h2 @ W3
    y = np.eye(len(d), dtype=np.float32)[np.argmax(into_y + rng.gumbel(size=into_y.shape), axis=1)]
    v = draw(b + h1 @ W1.T)
    h2 = draw(c2 + h1 @ W2 + y @ W3.T)
    return h1, y, v, h2
