"""Mean over everything in place of a sum over the units.

Gap: residual_quantise
"""


# %% solution="residual_quantise"
def residual_quantise(e, codebooks, beta):
    r, total, loss = e, 0.0, 0.0
    for m in range(len(codebooks)):
        distances = tf.reduce_sum((r[:, None] - codebooks[m]) ** 2, axis=2)
        c = tf.gather(codebooks[m], tf.argmin(distances, axis=1))
        codes = tf.reduce_sum((tf.stop_gradient(r) - c) ** 2, axis=1)
        commitment = tf.reduce_sum((r - tf.stop_gradient(c)) ** 2, axis=1)
        loss += 1 / e.shape[1] * tf.reduce_mean(1 * codes + beta * commitment)
        r = r - tf.stop_gradient(c)
        total += c
    return e + tf.stop_gradient(total - e), loss
