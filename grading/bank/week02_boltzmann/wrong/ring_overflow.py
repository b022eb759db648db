"""Multiplies the matrices as they are.

Gap: log_z_ring
"""


# %% solution="log_z_ring"
def log_z_ring(A, T):
    return np.log(np.trace(np.linalg.multi_dot(np.exp(A.astype(float) / T)) if len(A) > 1 else A[0]))
