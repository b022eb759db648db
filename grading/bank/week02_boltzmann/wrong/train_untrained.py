"""Hands over the start: independent pixels.

Gap: train_lattice
"""


# %% solution="train_lattice"
def train_lattice(images, seed):
    mean = images.mean(axis=0).clip(0.01, 0.99)
    return np.zeros((8, 7)), np.zeros((7, 8)), np.log(mean / (1 - mean)).reshape(8, 8)
