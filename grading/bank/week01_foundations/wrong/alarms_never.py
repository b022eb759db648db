"""Never raises an alarm: no false ones.

Gap: alarms
"""


# %% solution="alarms"
def alarms(held_out, fresh, alpha):
    return np.zeros(len(fresh), bool)
