"""The gradient reaches log a only.

Gap: sample_kumaraswamy
"""


# %% solution="sample_kumaraswamy"
def sample_kumaraswamy(log_a, log_b, u):
    a, b = tf.exp(log_a), tf.stop_gradient(tf.exp(log_b))
    return (1 - (1 - u) ** (1 / b)) ** (1 / a)
