"""Trains two RBMs only and fills the third up with zeros.

Gap: train_stack
"""


# %% solution="train_stack"
def train_stack(images, widths, seed):
    rng = np.random.default_rng(seed)
    data, weights, visible = images, [], []
    for width in widths[:2]:
        epochs, rate = (150, 0.5) if weights else (100, 0.3)
        W, below, above = train_rbm(data, width, epochs, rate, int(rng.integers(2**31)))
        data = rng.random((len(data), width)) < expit(above + data @ W)  # what the next layer learns from
        weights.append(W)
        visible.append(below)
    weights.append(np.zeros(widths[1:]))
    visible.append(np.zeros(widths[1]))
    return [
        *weights,
        *visible,
        np.zeros(widths[2]),
    ]  # of a hidden layer's two biases the RBM above has the last word
