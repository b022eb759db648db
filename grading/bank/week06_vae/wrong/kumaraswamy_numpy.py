"""Computes with NumPy, so that no gradient flows.

Gap: sample_kumaraswamy
"""


# %% solution="sample_kumaraswamy"
def sample_kumaraswamy(log_a, log_b, u):
    a, b = np.exp(log_a), np.exp(log_b)
    return (1 - (1 - u) ** (1 / b)) ** (1 / a)
