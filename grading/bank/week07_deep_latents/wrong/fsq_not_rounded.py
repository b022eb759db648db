"""The stop_gradient covers everything, so nothing is rounded in the value.

Gap: fsq
"""


# %% solution="fsq"
def fsq(z_e, levels):
    steps = levels - 1
    u = steps * (1 + tf.tanh(z_e)) / 2
    u = tf.round(u) + tf.stop_gradient(u - tf.round(u))
    return 2 * u / steps - 1
