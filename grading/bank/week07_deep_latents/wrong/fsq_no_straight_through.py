"""Plain rounding: no gradient.

Gap: fsq
"""


# %% solution="fsq"
def fsq(z_e, levels):
    steps = levels - 1
    return 2 * tf.round(steps * (1 + tf.tanh(z_e)) / 2) / steps - 1
