"""Mixes up row and column of each next table.

Gap: log_z_ring
"""


# %% solution="log_z_ring"
def log_z_ring(A, T):
    log_M = A.astype(float) / T
    product = log_M[0]
    for step in log_M[1:]:
        product = logsumexp(product[:, :, None] + step.T, axis=1)
    return logsumexp(np.diag(product))
