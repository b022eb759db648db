"""Takes the largest term of each sum: the lowest energy, not log Z.

Gap: log_z_ring
"""


# %% solution="log_z_ring"
def log_z_ring(A, T):
    log_M = A.astype(float) / T
    product = log_M[0]
    for step in log_M[1:]:
        product = (product[:, :, None] + step).max(axis=1)
    return logsumexp(np.diag(product))
