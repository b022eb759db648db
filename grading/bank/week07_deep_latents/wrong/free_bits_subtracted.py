"""Only what is above λ: max(0, KL − λ).

Gap: free_bits
"""


# %% solution="free_bits"
def free_bits(kl, groups, delta):
    mean = tf.reduce_mean(kl, axis=0)
    return tf.add_n([tf.nn.relu(tf.reduce_sum(tf.gather(mean, group)) - delta) for group in groups])
