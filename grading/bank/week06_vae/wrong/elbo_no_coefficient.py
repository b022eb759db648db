"""Leaves out the binomial coefficient.

Gap: elbo_terms
"""


# %% solution="elbo_terms"
def elbo_terms(encode, decode, log_prior, x, noise, n):

    mu, log_s = encode(x)
    z = mu + tf.exp(log_s) * noise  # (S, B, L)
    logits = decode(z)  # (S, B, D)
    logpx_z = tf.reduce_sum(x * logits - n * tf.nn.softplus(logits), axis=2)
    logqz_x = tf.reduce_sum(-(noise**2) / 2 - log_s - float(np.log(2 * np.pi)) / 2, axis=2)
    return tf.reduce_mean(logpx_z, axis=0), tf.reduce_mean(logqz_x - log_prior(z), axis=0)
