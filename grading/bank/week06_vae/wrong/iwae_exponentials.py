"""Exponentials of the log-weights as they are.

Gap: iwae_terms
"""


# %% solution="iwae_terms"
def iwae_terms(log_w):
    K = len(log_w)
    log_w = log_w.astype(float)
    bound = np.log(np.exp(log_w).mean(axis=0))
    ess = np.exp(2 * logsumexp(log_w, axis=0) - logsumexp(2 * log_w, axis=0))
    left_out = [logsumexp(np.delete(log_w, k, axis=0), axis=0) - np.log(K - 1) for k in range(K)]
    return bound, ess, K * bound - (K - 1) * np.mean(left_out, axis=0)
