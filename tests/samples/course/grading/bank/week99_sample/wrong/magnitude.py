"""Loses the sign: only the hidden test sees it.

Gap: scale
"""


# %% solution="scale"
def scale(x):
    return SCALE * np.abs(x)
