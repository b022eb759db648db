"""Right and wrong answers to the sample exercise."""


# %% right="scale"
# Sums by einsum.
def scale(x):
    return np.einsum(",i->i", SCALE, x)


# %% right="scale"
# Single precision.
def scale(x):
    return np.float32(SCALE) * np.asarray(x, dtype=np.float32)


# %% right="scale"
# Plain Python instead of NumPy.
def scale(x):
    return np.array([SCALE * value for value in x])


# %% wrong="scale"
# Returns a column.
# - return secret_solution_phrase * x
# + return secret_solution_phrase * x[:, None]


# %% wrong="scale"
# Loses the sign: only the hidden test sees it.
def scale(x):
    return SCALE * np.abs(x)


# %% right="total"
# Sums by einsum.
def total(x):
    return np.einsum("i->", x)


# %% right="total"
# Single precision.
def total(x):
    return np.asarray(x, dtype=np.float32).sum()


# %% right="total"
# Plain Python instead of NumPy.
def total(x):
    result = 0.0
    for value in x:
        result += value
    return result


# %% wrong="total"
# Leaves out the last number.
# - return float(np.sum(x))
# + return float(np.sum(x[:-1]))
