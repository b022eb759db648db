"""Minimum for maximum: the KL is capped, not floored.

Gap: free_bits
"""


# %% solution="free_bits"
def free_bits(kl, groups, lam):
    mean = tf.reduce_mean(kl, axis=0)
    return tf.add_n([tf.minimum(tf.reduce_sum(tf.gather(mean, group)), lam) for group in groups])
