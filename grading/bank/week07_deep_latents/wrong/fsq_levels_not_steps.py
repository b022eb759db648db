"""K in place of K − 1.

Gap: fsq
"""


# %% solution="fsq"
def fsq(z_e, levels):
    u = levels * (1 + tf.tanh(z_e)) / 2
    u = u + tf.stop_gradient(tf.round(u) - u)
    return 2 * u / levels - 1
