"""Starts the dream at the top states of the wake phase.

Gap: wake_sleep
"""


# %% solution="wake_sleep"
def wake_sleep(v, W, b, R, r, seed):
    rng = np.random.default_rng(seed)
    L, B = len(W), len(v)

    def draw(a):  # −1 or +1 with log-odds 2a
        return np.where(rng.random(a.shape) < expit(2 * a), 1.0, -1.0)

    x = [v]
    for l in range(L):
        x.append(draw(r[l] + x[l] @ R[l]))
    error = [x[l] - np.tanh(b[l] + x[l + 1] @ W[l].T) for l in range(L)] + [x[L] - np.tanh(b[L])]
    dW = [error[l].T @ x[l + 1] / B for l in range(L)]
    db = [e.mean(axis=0) for e in error]

    dream = [x[L]]  # from the top; inserted at the front on the way down
    for l in reversed(range(L)):
        dream.insert(0, draw(b[l] + dream[0] @ W[l].T))
    error = [dream[l + 1] - np.tanh(r[l] + dream[l] @ R[l]) for l in range(L)]
    dR = [dream[l].T @ error[l] / B for l in range(L)]
    dr = [e.mean(axis=0) for e in error]
    return dW, db, dR, dr
