"""Mean minus a multiple of the standard deviation, as for a Gaussian.

Gap: alarms
"""


# %% solution="alarms"
def alarms(held_out, fresh, alpha):
    from scipy.stats import norm

    return fresh < held_out.mean() + norm.ppf(alpha) * held_out.std()
