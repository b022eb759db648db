"""Sums by einsum."""


# %% solution="scale"
def scale(x):
    return np.einsum(",i->i", SCALE, x)


# %% solution="total"
def total(x):
    return np.einsum("i->", x)
