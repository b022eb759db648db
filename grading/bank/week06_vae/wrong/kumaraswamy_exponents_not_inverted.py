"""Raises to b and a, not to 1 / b and 1 / a.

Gap: sample_kumaraswamy
"""


# %% solution="sample_kumaraswamy"
def sample_kumaraswamy(log_a, log_b, u):
    a, b = tf.exp(log_a), tf.exp(log_b)
    return (1 - (1 - u) ** b) ** a
