"""Takes r from the first derivatives.

Gap: fit_polynomial
"""


# %% solution="fit_polynomial"
def fit_polynomial(x, K):
    x = x.astype(float)[:, None]  # (N, 1)
    k = np.arange(1, K + 1)
    first = k * x ** (k - 1)  # (N, K), the derivatives of x^k
    M = first.T @ first / len(x)
    r = first.mean(axis=0)
    return np.linalg.solve(M, r)
