"""log q without its constant.

Gap: elbo_terms
"""


# %% solution="elbo_terms"
def elbo_terms(encode, decode, log_prior, x, noise, n):

    mu, log_s = encode(x)
    z = mu + tf.exp(log_s) * noise  # (S, B, L)
    logits = decode(z)  # (S, B, D)
    log_choose = gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1)
    logpx_z = tf.reduce_sum(log_choose + x * logits - n * tf.nn.softplus(logits), axis=2)
    logqz_x = tf.reduce_sum(-(noise**2) / 2 - log_s, axis=2)
    return tf.reduce_mean(logpx_z, axis=0), tf.reduce_mean(logqz_x - log_prior(z), axis=0)
