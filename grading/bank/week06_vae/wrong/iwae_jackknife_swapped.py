"""K and K − 1 change places.

Gap: iwae_terms
"""


# %% solution="iwae_terms"
def iwae_terms(log_w):
    K = len(log_w)
    log_w = log_w.astype(float)
    bound = logsumexp(log_w, axis=0) - np.log(K)
    ess = np.exp(2 * logsumexp(log_w, axis=0) - logsumexp(2 * log_w, axis=0))
    left_out = [logsumexp(np.delete(log_w, k, axis=0), axis=0) - np.log(K - 1) for k in range(K)]
    return bound, ess, (K - 1) * bound - K * np.mean(left_out, axis=0)
