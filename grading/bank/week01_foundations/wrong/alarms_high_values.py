"""Alarm where log p is high.

Gap: alarms
"""


# %% solution="alarms"
def alarms(held_out, fresh, alpha):
    k = math.ceil((1 - alpha) * (len(held_out) + 1))
    return fresh > (np.sort(held_out)[k - 1] if k <= len(held_out) else np.inf)
