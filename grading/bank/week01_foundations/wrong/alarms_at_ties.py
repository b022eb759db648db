"""Alarm at the threshold too: ties break the guarantee.

Gap: alarms
"""


# %% solution="alarms"
def alarms(held_out, fresh, alpha):
    k = math.floor(alpha * (len(held_out) + 1))
    return fresh <= (np.sort(held_out)[k - 1] if k > 0 else -np.inf)
