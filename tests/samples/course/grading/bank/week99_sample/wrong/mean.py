"""The mean for the sum.

Gap: total
"""


# %% solution="total"
def total(x):
    return np.mean(x)
