"""All pixels of a chain are drawn at once, given the old values.

Gap: train_lattice
"""


# %% solution="train_lattice"
def train_lattice(images, seed):
    rng = np.random.default_rng(seed)
    data = images.reshape(-1, 8, 8)
    mean = data.mean(axis=0).clip(0.01, 0.99)
    right, down, b = np.zeros((8, 7)), np.zeros((7, 8)), np.log(mean / (1 - mean))
    chains = data[rng.integers(len(data), size=100)]
    for epoch in range(20):
        rate = 1 - epoch / 20
        for v in np.array_split(rng.permutation(data), 24):
            for part in (True,):
                field = np.tile(b, (100, 1, 1))
                field[:, :, 1:] += right * chains[:, :, :-1]
                field[:, :, :-1] += right * chains[:, :, 1:]
                field[:, 1:] += down * chains[:, :-1]
                field[:, :-1] += down * chains[:, 1:]
                chains = np.where(part, rng.random(chains.shape) < expit(field), chains)
            right += rate * (
                (v[:, :, :-1] * v[:, :, 1:]).mean(0) - (chains[:, :, :-1] * chains[:, :, 1:]).mean(0)
            )
            down += rate * ((v[:, :-1] * v[:, 1:]).mean(0) - (chains[:, :-1] * chains[:, 1:]).mean(0))
            b += rate * (v.mean(0) - chains.mean(0))
    return right, down, b
