"""Chains that start at the data in each step, pixel after pixel: one sweep is nearly enough on a lattice."""


# %% solution="train_lattice"
def train_lattice(images, seed):
    rng = np.random.default_rng(seed)
    W = np.zeros((64, 64))  # upper triangle: a pixel with the next one, and with the one below
    place = np.arange(64)
    beside, above = place[place % 8 < 7], place[:56]
    mean = images.mean(axis=0).clip(0.01, 0.99)
    b = np.log(mean / (1 - mean))
    for epoch in range(10):
        order = rng.permutation(len(images))
        for start in range(0, len(images), 50):
            batch = images[order[start : start + 50]].astype(float)
            x, links = batch.copy(), W + W.T
            for i in range(64):
                x[:, i] = rng.random(len(x)) < expit(x @ links[i] + b[i])
            rate = 1 - epoch / 10
            C = (batch.T @ batch - x.T @ x) / len(x)
            W[beside, beside + 1] += rate * C[beside, beside + 1]
            W[above, above + 8] += rate * C[above, above + 8]
            b += rate * (batch - x).mean(axis=0)
    return W[beside, beside + 1].reshape(8, 7), W[above, above + 8].reshape(7, 8), b.reshape(8, 8)
