"""Keeps the hidden biases of each RBM, which belong to the way up.

Gap: train_stack
"""


# %% solution="train_stack"
def train_stack(images, widths, seed):
    rng = np.random.default_rng(seed)
    data, weights, hidden = images, [], []
    for width in widths:
        epochs, rate = (150, 0.5) if weights else (100, 0.3)
        W, below, above = train_rbm(data, width, epochs, rate, int(rng.integers(2**31)))
        data = rng.random((len(data), width)) < expit(above + data @ W)  # what the next layer learns from
        weights.append(W)
        hidden.append(above)
        bottom = below if len(weights) == 1 else bottom
    return [*weights, bottom, *hidden]  # of a hidden layer's two biases the RBM above has the last word
