"""Ignores the seed.

Gap: pcd_step_spin
"""


# %% solution="pcd_step_spin"
def pcd_step_spin(v_data, chains, W, b, c, rate, seed):
    rng = np.random.default_rng(0)
    start = chains
    h = np.where(rng.random((len(start), len(c))) < expit(2 * (c + start @ W)), 1, -1)
    new = np.where(rng.random(start.shape) < expit(2 * (b + h @ W.T)), 1, -1)
    negative = new
    p, q = np.tanh(c + v_data @ W), np.tanh(c + negative @ W)
    dW = v_data.T @ p / len(v_data) - negative.T @ q / len(negative)
    db, dc = v_data.mean(0) - negative.mean(0), p.mean(0) - q.mean(0)
    return W + rate * dW, b + rate * db, c + rate * dc, new
