"""The most probable candidate in place of a drawn one.

Gap: complete
"""


# %% solution="complete"
def complete(log_prior, logits, x, u_candidate, u_pixels):
    log_one, log_zero = log_expit(logits), log_expit(-logits)  # (M, D)
    log_w = log_prior + (x == 1) @ log_one.T + (x == 0) @ log_zero.T  # (B, M), NaN is neither 0 nor 1
    w = np.exp(log_w - log_w.max(axis=1, keepdims=True))
    w = w / w.sum(axis=1, keepdims=True)
    chosen = np.argmax(w, axis=1)  # (B,)
    drawn = u_pixels < expit(logits[chosen])  # (B, D)
    return np.where(np.isnan(x), drawn, x), 1 / np.sum(w**2, axis=1)
