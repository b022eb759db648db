"""np.quantile of the m values: it interpolates, and forgets the fresh one.

Gap: alarms
"""


# %% solution="alarms"
def alarms(held_out, fresh, alpha):
    return fresh < np.quantile(held_out, alpha)
