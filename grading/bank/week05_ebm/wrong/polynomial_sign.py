"""The score is taken as plus the derivative of the energy: r has the wrong sign.

Gap: fit_polynomial
"""


# %% solution="fit_polynomial"
def fit_polynomial(x, K):
    x = x.astype(float)[:, None]  # (N, 1)
    k = np.arange(1, K + 1)
    first = k * x ** (k - 1)  # (N, K), the derivatives of x^k
    second = k * (k - 1) * x ** np.maximum(k - 2, 0)  # (N, K)
    M = first.T @ first / len(x)
    r = second.mean(axis=0)
    return -np.linalg.solve(M, r)
