"""F(z) = 1 − u: the right distribution, but not the z that was asked for.

Gap: sample_kumaraswamy
"""


# %% solution="sample_kumaraswamy"
def sample_kumaraswamy(log_a, log_b, u):
    a, b = tf.exp(log_a), tf.exp(log_b)
    return (1 - u ** (1 / b)) ** (1 / a)
