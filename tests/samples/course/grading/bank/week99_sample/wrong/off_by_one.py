"""Leaves out the last number.

Gap: total
"""


# %% solution="total"
def total(x):
    return np.sum(x[:-1])
