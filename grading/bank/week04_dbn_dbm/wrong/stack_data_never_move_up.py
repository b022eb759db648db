"""Trains the third layer on noise: the states it hands up are not drawn from the layer below.

Gap: train_stack
"""


# %% solution="train_stack"
def train_stack(images, widths, seed):
    rng = np.random.default_rng(seed)
    data, weights, visible = images, [], []
    for width in widths:
        epochs, rate = (150, 0.5) if weights else (100, 0.3)
        W, below, above = train_rbm(data, width, epochs, rate, int(rng.integers(2**31)))
        data = rng.random((len(data), width)) < 0.5  # what the next layer learns from
        weights.append(W)
        visible.append(below)
    return [*weights, *visible, above]  # of a hidden layer's two biases the RBM above has the last word
