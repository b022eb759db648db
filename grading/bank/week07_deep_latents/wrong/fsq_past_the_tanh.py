"""Straight-through past the tanh as well: the derivative is 1.

Gap: fsq
"""


# %% solution="fsq"
def fsq(z_e, levels):
    steps = levels - 1
    z = 2 * tf.round(steps * (1 + tf.tanh(z_e)) / 2) / steps - 1
    return z_e + tf.stop_gradient(z - z_e)
