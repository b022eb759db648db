"""Takes log a and log b for a and b.

Gap: sample_kumaraswamy
"""


# %% solution="sample_kumaraswamy"
def sample_kumaraswamy(log_a, log_b, u):
    a, b = log_a, log_b
    return (1 - (1 - u) ** (1 / b)) ** (1 / a)
