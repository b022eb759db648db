"""Takes the quantile of the fresh values.

Gap: alarms
"""


# %% solution="alarms"
def alarms(held_out, fresh, alpha):
    return fresh < np.quantile(fresh, alpha)
