"""Softplus, not exp, makes the parameters positive.

Gap: sample_kumaraswamy
"""


# %% solution="sample_kumaraswamy"
def sample_kumaraswamy(log_a, log_b, u):
    a, b = tf.nn.softplus(log_a), tf.nn.softplus(log_b)
    return (1 - (1 - u) ** (1 / b)) ** (1 / a)
