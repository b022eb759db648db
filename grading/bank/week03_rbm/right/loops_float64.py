"""Python loops over units and terms, float64, NumPy's older random generator, lists as results."""


# %% solution="free_energy_gaussian"
def free_energy_gaussian(v, W, b, c, sigma):
    values = []
    for row in v.astype(float):
        value = sum((row[i] - b[i]) ** 2 / (2 * sigma**2) for i in range(len(b)))
        for j in range(len(c)):
            x = c[j] + sum(row[i] * W[i, j] for i in range(len(b))) / sigma**2
            value -= max(x, 0) + np.log1p(np.exp(-abs(x)))
        values.append(float(value))
    return values


# %% solution="gradient_gaussian"
def gradient_gaussian(v_data, v_chain, W, b, c, sigma):
    dW, db, dc = np.zeros(W.shape), np.zeros(len(b)), np.zeros(len(c))
    for sign, batch in ((1, v_data), (-1, v_chain)):
        for v in batch.astype(float):
            h = 1 / (1 + np.exp(-(c + v @ W / sigma**2)))
            dW += sign * np.outer(v, h) / sigma**2 / len(batch)
            db += sign * (v - b) / sigma**2 / len(batch)
            dc += sign * h / len(batch)
    return [dW, db, dc]


# %% solution="gibbs_spin"
def gibbs_spin(v, W, b, c, seed):
    rng = np.random.RandomState(seed)
    h = np.empty((len(v), len(c)))
    for j in range(len(c)):
        p = 1 / (1 + np.exp(-2 * (c[j] + v.astype(float) @ W[:, j])))
        h[:, j] = 2 * (rng.rand(len(v)) < p) - 1
    new = np.empty(v.shape)
    for i in range(len(b)):
        p = 1 / (1 + np.exp(-2 * (b[i] + h @ W[i])))
        new[:, i] = 2 * (rng.rand(len(v)) < p) - 1
    return new


# %% solution="pcd_step_spin"
def pcd_step_spin(v_data, chains, W, b, c, rate, seed):
    rng = np.random.RandomState(seed)
    h = 2.0 * rng.binomial(1, expit(2 * (c + chains @ W))) - 1
    chains = 2.0 * rng.binomial(1, expit(2 * (b + h @ W.T))) - 1
    W, b, c = (x.astype(float) for x in (W, b, c))
    dW, db, dc = np.zeros(W.shape), np.zeros(len(b)), np.zeros(len(c))
    for sign, batch in ((1, v_data), (-1, chains)):
        for v in batch:
            mean = np.tanh(c + v @ W)
            dW += sign * np.outer(v, mean) / len(batch)
            db += sign * v / len(batch)
            dc += sign * mean / len(batch)
    return [W + rate * dW, b + rate * db, c + rate * dc, chains.tolist()]


# %% solution="ais_spin"
def ais_spin(W, b, c, betas, runs, seed):
    rng = np.random.RandomState(seed)
    W, b, c = (x.astype(float) for x in (W, b, c))

    def log_p_star(v, beta):
        value = beta * (v @ b)
        for j in range(len(c)):
            value = value + np.logaddexp(beta * (c[j] + v @ W[:, j]), -beta * (c[j] + v @ W[:, j]))
        return value

    v = 2.0 * rng.randint(0, 2, (runs, len(b))) - 1
    log_w = np.zeros(runs)
    for t in range(len(betas) - 1):
        log_w += log_p_star(v, betas[t + 1]) - log_p_star(v, betas[t])
        if t + 2 < len(betas):  # the last move changes no weight
            h = 2.0 * rng.binomial(1, expit(2 * betas[t + 1] * (c + v @ W))) - 1
            v = 2.0 * rng.binomial(1, expit(2 * betas[t + 1] * (b + h @ W.T))) - 1
    return list(log_w)


# %% solution="impute_gaussian"
def impute_gaussian(v, missing, W, b, c, sigma, steps, seed):
    rng = np.random.RandomState(seed)
    v = np.array(v, dtype=float)
    (holes,) = np.where(missing)
    for i in holes:
        v[:, i] = b[i]
    for _ in range(steps):
        h = rng.binomial(1, expit(c + v @ W / sigma**2))
        for i in holes:
            v[:, i] = rng.normal(b[i] + h @ W[i], sigma)
    return v


# %% solution="train_gaussian"
def train_gaussian(v_train, hidden, sigma, seed):
    """CD-1 with momentum, constant rate, batches in order."""
    rng = np.random.RandomState(seed)
    D, B = v_train.shape[1], 20
    W, b, c = 0.05 * rng.randn(D, hidden), v_train.mean(axis=0).astype(float), np.zeros(hidden)
    speed = [np.zeros_like(W), np.zeros_like(b), np.zeros_like(c)]
    for _ in range(40):
        for i in range(0, len(v_train), B):
            v = v_train[i : i + B]
            p = expit(c + v @ W / sigma**2)
            h = rng.rand(*p.shape) < p
            v_model = b + h @ W.T + sigma * rng.randn(*v.shape)
            q = expit(c + v_model @ W / sigma**2)
            steps = [(v.T @ p - v_model.T @ q) / len(v), (v - v_model).mean(axis=0), (p - q).mean(axis=0)]
            for k, step in enumerate(steps):
                speed[k] = 0.5 * speed[k] + 0.02 * step
            W, b, c = W + speed[0], b + speed[1], c + speed[2]
    return W, b, c
