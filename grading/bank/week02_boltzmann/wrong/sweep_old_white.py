"""Draws the black sites given the old white ones.

Gap: sweep_lattice
"""


# %% solution="sweep_lattice"
def sweep_lattice(x, J, b, T, seed):
    rng = np.random.default_rng(seed)
    q = len(b)
    white = np.add.outer(np.arange(x.shape[1]), np.arange(x.shape[2])) % 2 == 0
    old = np.eye(q)[x]
    for part in (white, ~white):
        z = old
        neighbours = sum(np.roll(z, shift, axis) for shift in (-1, 1) for axis in (1, 2))
        p = softmax((b + J * neighbours) / T, axis=-1)
        u = rng.random((*x.shape, 1))
        new = np.sum(u > np.cumsum(p, axis=-1)[..., :-1], axis=-1)
        x = np.where(part, new, x)
    return x
