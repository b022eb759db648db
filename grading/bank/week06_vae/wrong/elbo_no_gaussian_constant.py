"""log q without its constant.

Gap: elbo_terms
"""


# %% solution="elbo_terms"
def elbo_terms(encode, decode, log_prior, x, noise, n):
    mu, log_s = (t.numpy() for t in encode(x))
    z = mu + np.exp(log_s) * noise  # (S, B, L)
    logits = decode(z).numpy()  # (S, B, D)
    log_choose = gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1)
    logpx_z = np.sum(log_choose + x * log_expit(logits) + (n - x) * log_expit(-logits), axis=2)
    logqz_x = np.sum(-(noise**2) / 2 - log_s, axis=2)
    kl = logqz_x - log_prior(z).numpy()
    return logpx_z.mean(axis=0), kl.mean(axis=0)
