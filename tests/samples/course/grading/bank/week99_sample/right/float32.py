"""Single precision."""


# %% solution="scale"
def scale(x):
    return np.float32(SCALE) * np.asarray(x, dtype=np.float32)


# %% solution="total"
def total(x):
    return np.asarray(x, dtype=np.float32).sum()
