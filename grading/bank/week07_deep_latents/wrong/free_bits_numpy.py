"""Computed with NumPy: the value is right, no gradient arrives.

Gap: free_bits
"""


# %% solution="free_bits"
def free_bits(kl, groups, delta):
    mean = np.mean(np.asarray(kl), axis=0)
    return tf.constant(sum(max(delta, float(mean[group].sum())) for group in groups))
