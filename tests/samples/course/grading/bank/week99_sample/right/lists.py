"""Plain Python instead of NumPy."""


# %% solution="scale"
def scale(x):
    return np.array([SCALE * value for value in x])


# %% solution="total"
def total(x):
    result = 0.0
    for value in x:
        result += value
    return result
