"""The (k + 1)-th smallest value.

Gap: alarms
"""


# %% solution="alarms"
def alarms(held_out, fresh, alpha):
    k = math.floor(alpha * (len(held_out) + 1))
    return fresh < np.sort(held_out)[min(k, len(held_out) - 1)]
