"""One scale for all tables: those that are much smaller underflow to 0.

Gap: log_z_ring
"""


# %% solution="log_z_ring"
def log_z_ring(A, T):
    highest = A.max()
    product = np.eye(A.shape[1])
    for table in A.astype(float):
        product = product @ np.exp((table - highest) / T)
    return len(A) * highest / T + np.log(np.trace(product))
