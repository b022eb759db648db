"""With k = 0 the index −1 is the largest value: alarm nearly always.

Gap: alarms
"""


# %% solution="alarms"
def alarms(held_out, fresh, alpha):
    k = math.floor(alpha * (len(held_out) + 1))
    return fresh < np.sort(held_out)[k - 1]
