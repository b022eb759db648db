"""Returns a column.

Gap: scale
"""


# %% solution="scale"
def scale(x):
    return SCALE * x[:, None]
