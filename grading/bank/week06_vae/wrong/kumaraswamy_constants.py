"""Makes constants of the parameters.

Gap: sample_kumaraswamy
"""


# %% solution="sample_kumaraswamy"
def sample_kumaraswamy(log_a, log_b, u):
    a, b = tf.exp(tf.constant(np.asarray(log_a))), tf.exp(tf.constant(np.asarray(log_b)))
    return (1 - (1 - u) ** (1 / b)) ** (1 / a)
