"""Another order and kind of draws: uniforms first, thresholds on the other side, logistic noise, columns."""


# %% solution="free_energy_gaussian"
def free_energy_gaussian(v, W, b, c, sigma):
    # from the joint of a mixture: −log N-part − log of the hidden sum, the terms scaled by sigma first
    u, m = v / sigma, b / sigma
    x = c + u @ (W / sigma)
    return 0.5 * ((u - m) ** 2).sum(-1) - np.where(
        x > 0, x + np.log1p(np.exp(-np.abs(x))), np.log1p(np.exp(-np.abs(x)))
    ).sum(-1)


# %% solution="gradient_gaussian"
def gradient_gaussian(v_data, v_chain, W, b, c, sigma):
    v = np.vstack([v_data, v_chain]).astype(np.float64)
    weight = np.r_[np.full(len(v_data), 1 / len(v_data)), np.full(len(v_chain), -1 / len(v_chain))]
    h = 0.5 * (1 + np.tanh(0.5 * (c + v @ W / sigma**2)))
    dW = np.einsum("n,ni,nj->ij", weight, v, h) / sigma**2
    return tf.constant(dW), tf.constant(weight @ (v - b) / sigma**2), tf.constant(weight @ h)


# %% solution="gibbs_spin"
def gibbs_spin(v, W, b, c, seed):
    rng = np.random.default_rng([seed, 17])
    noise_v = rng.logistic(size=v.shape)  # drawn before those for h
    noise_h = rng.logistic(size=(len(v), len(c)))
    h = np.sign(2 * (c + v @ W) + noise_h)
    return np.sign(2 * (b + h @ W.T) + noise_v).astype(int)


# %% solution="pcd_step_spin"
def pcd_step_spin(v_data, chains, W, b, c, rate, seed):
    rng = np.random.Generator(np.random.MT19937(seed))
    u_v, u_h = rng.random(chains.shape), rng.random((len(chains), len(c)))
    h = np.where(u_h > 1 / (1 + np.exp(2 * (c + chains @ W).astype(float))), 1, -1)
    # u < p(v = −1) gives −1
    chains = np.where(u_v < 1 / (1 + np.exp(2 * (b + h @ W.T).astype(float))), -1, 1)
    both = np.concatenate([v_data, chains])
    weight = np.concatenate([np.ones(len(v_data)) / len(v_data), -np.ones(len(chains)) / len(chains)])
    mean_h = 2 * expit(2 * (c + both @ W)) - 1
    return (
        W + rate * (both * weight[:, None]).T @ mean_h,
        b + rate * (weight @ both),
        c + rate * (weight @ mean_h),
        chains.astype(np.int8),
    )


# %% solution="ais_spin"
def ais_spin(W, b, c, betas, runs, seed):
    rng = np.random.default_rng(seed)
    betas = np.asarray(betas, dtype=np.float64)
    v = np.where(rng.random((len(b), runs)) > 0.5, 1.0, -1.0)  # one chain a column
    total = 0.0
    for low, high in zip(betas, betas[1:], strict=False):
        x = np.abs(c[:, None] + W.T @ v)
        log_cosh_high = high * x + np.log1p(np.exp(-2 * high * x))
        log_cosh_low = low * x + np.log1p(np.exp(-2 * low * x))
        total = total + (high - low) * (b @ v) + (log_cosh_high - log_cosh_low).sum(axis=0)
        h = np.sign(2 * high * (c[:, None] + W.T @ v) + rng.logistic(size=(len(c), runs)))
        v = np.sign(2 * high * (b[:, None] + W @ h) + rng.logistic(size=v.shape))
    return tf.convert_to_tensor(total)


# %% solution="impute_gaussian"
def impute_gaussian(v, missing, W, b, c, sigma, steps, seed):
    rng = np.random.default_rng(seed)
    known = ~np.asarray(missing)
    field = c + v[:, known] @ W[known] / sigma**2  # the known pixels' part never changes
    x = np.tile(b[missing], (len(v), 1))
    for _ in range(steps):
        h = (field + x @ W[missing] / sigma**2 + rng.logistic(size=field.shape)) > 0
        x = rng.normal(size=x.shape) * sigma + h @ W[missing].T + b[missing]
    result = np.array(v)
    result[:, missing] = x
    return result


# %% solution="train_gaussian"
def train_gaussian(v_train, hidden, sigma, seed):
    """CD-5 with the given formulas, rate falling by half every ten epochs."""
    rng = np.random.default_rng(seed)
    W, b, c = 0.1 * rng.normal(size=(v_train.shape[1], hidden)), v_train.mean(axis=0), np.full(hidden, -0.5)
    for epoch in range(30):
        rate = 0.1 * 0.5 ** (epoch // 10)
        for v in np.array_split(rng.permutation(v_train), 24):
            x = v
            for _ in range(5):
                h = rng.random((len(x), hidden)) < expit(c + x @ W / sigma**2)
                x = b + h @ W.T + sigma * rng.standard_normal(x.shape)
            p, q = expit(c + v @ W / sigma**2), expit(c + x @ W / sigma**2)
            W = W + rate * (v.T @ p - x.T @ q) / len(v)
            b = b + rate * (v - x).mean(axis=0)
            c = c + rate * (p - q).mean(axis=0)
    return W, b, c
