"""The sum of the others as the sum of all minus the own weight.

Gap: iwae_terms
"""


# %% solution="iwae_terms"
def iwae_terms(log_w):
    K = len(log_w)
    log_w = log_w.astype(float)
    bound = logsumexp(log_w, axis=0) - np.log(K)
    ess = np.exp(2 * logsumexp(log_w, axis=0) - logsumexp(2 * log_w, axis=0))
    left_out = [
        log_w.max(axis=0)
        + np.log(
            np.maximum(np.exp(log_w - log_w.max(axis=0)).sum(axis=0) - np.exp(w - log_w.max(axis=0)), 1e-300)
            / (K - 1)
        )
        for w in log_w
    ]
    return bound, ess, K * bound - (K - 1) * np.mean(left_out, axis=0)
