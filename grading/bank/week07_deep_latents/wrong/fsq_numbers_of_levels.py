"""Returns the numbers of the levels, not the values from −1 to 1.

Gap: fsq
"""


# %% solution="fsq"
def fsq(z_e, levels):
    u = (levels - 1) * (1 + tf.tanh(z_e)) / 2
    return u + tf.stop_gradient(tf.round(u) - u)
