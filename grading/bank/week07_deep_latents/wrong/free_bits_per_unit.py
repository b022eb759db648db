"""Free bits for each unit, as in the preparation, and the groups ignored.

Gap: free_bits
"""


# %% solution="free_bits"
def free_bits(kl, groups, delta):
    return tf.reduce_sum(tf.maximum(tf.reduce_mean(kl, axis=0), delta))
