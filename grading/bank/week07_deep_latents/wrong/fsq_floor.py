"""Rounded down.

Gap: fsq
"""


# %% solution="fsq"
def fsq(z_e, levels):
    steps = levels - 1
    u = steps * (1 + tf.tanh(z_e)) / 2
    u = u + tf.stop_gradient(tf.floor(u) - u)
    return 2 * u / steps - 1
