"""Plain rounding: no gradient.

Gap: fsq
"""


# %% solution="fsq"
def fsq(e, levels):
    steps = levels - 1
    return 2 * tf.round(steps * (1 + tf.tanh(e)) / 2) / steps - 1
