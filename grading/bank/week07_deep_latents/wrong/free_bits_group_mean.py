"""The mean over the units of a group, not the sum.

Gap: free_bits
"""


# %% solution="free_bits"
def free_bits(kl, groups, delta):
    return tf.add_n([tf.maximum(tf.reduce_mean(tf.gather(kl, group, axis=1)), delta) for group in groups])
