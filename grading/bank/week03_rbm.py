"""Right and wrong answers to the gaps of Week 3, RBMs with other units."""


# %% right="free_energy_gaussian"
# Python loops over units and terms, float64, NumPy's older random generator, lists as results.
def free_energy_gaussian(v, W, b, c, sigma):
    values = []
    for row in v.astype(float):
        value = sum((row[i] - b[i]) ** 2 / (2 * sigma**2) for i in range(len(b)))
        for j in range(len(c)):
            x = c[j] + sum(row[i] * W[i, j] for i in range(len(b))) / sigma**2
            value -= max(x, 0) + np.log1p(np.exp(-abs(x)))
        values.append(float(value))
    return values


# %% right="free_energy_gaussian"
# Another order and kind of draws: uniforms first, thresholds on the other side, logistic noise, columns.
def free_energy_gaussian(v, W, b, c, sigma):
    # from the joint of a mixture: −log N-part − log of the hidden sum, the terms scaled by sigma first
    u, m = v / sigma, b / sigma
    x = c + u @ (W / sigma)
    return 0.5 * ((u - m) ** 2).sum(-1) - np.where(
        x > 0, x + np.log1p(np.exp(-np.abs(x))), np.log1p(np.exp(-np.abs(x)))
    ).sum(-1)


# %% right="free_energy_gaussian"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, the training as one graph. Returns tensors
# where the reference returns arrays.
def free_energy_gaussian(v, W, b, c, sigma):
    quadratic = tf.reduce_sum(tf.square(v - b), axis=-1) / (2 * sigma**2)
    return quadratic - tf.reduce_sum(tf.nn.softplus(c + tf.matmul(v, W) / sigma**2), axis=-1)


# %% wrong="free_energy_gaussian"
# Sums the hidden inputs before the softplus instead of after it.
# - return quadratic - hidden.sum(axis=1)
# + return quadratic - np.logaddexp(0, (c + v @ W / sigma**2).sum(axis=1))


# %% wrong="free_energy_gaussian"
# Copies the binary formula: the visible term is −b·v instead of the parabola.
# - quadratic = np.sum((v - b) ** 2, axis=1) / (2 * sigma**2)
# + quadratic = -v @ b


# %% wrong="free_energy_gaussian"
# log(1 + exp(x)) as written: infinite in float32 for x above 88.
# - hidden = np.logaddexp(0, c + v @ W / sigma**2)  # (B, H)
# + hidden = np.log(1 + np.exp(c + v @ W / sigma**2))


# %% right="gradient_gaussian"
# Python loops over units and terms, float64, NumPy's older random generator, lists as results.
def gradient_gaussian(v_data, v_chain, W, b, c, sigma):
    dW, db, dc = np.zeros(W.shape), np.zeros(len(b)), np.zeros(len(c))
    for sign, batch in ((1, v_data), (-1, v_chain)):
        for v in batch.astype(float):
            h = 1 / (1 + np.exp(-(c + v @ W / sigma**2)))
            dW += sign * np.outer(v, h) / sigma**2 / len(batch)
            db += sign * (v - b) / sigma**2 / len(batch)
            dc += sign * h / len(batch)
    return [dW, db, dc]


# %% right="gradient_gaussian"
# Another order and kind of draws: uniforms first, thresholds on the other side, logistic noise, columns.
def gradient_gaussian(v_data, v_chain, W, b, c, sigma):
    v = np.vstack([v_data, v_chain]).astype(np.float64)
    weight = np.r_[np.full(len(v_data), 1 / len(v_data)), np.full(len(v_chain), -1 / len(v_chain))]
    h = 0.5 * (1 + np.tanh(0.5 * (c + v @ W / sigma**2)))
    dW = np.einsum("n,ni,nj->ij", weight, v, h) / sigma**2
    return tf.constant(dW), tf.constant(weight @ (v - b) / sigma**2), tf.constant(weight @ h)


# %% right="gradient_gaussian"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, the training as one graph. Returns tensors
# where the reference returns arrays.
def gradient_gaussian(v_data, v_chain, W, b, c, sigma):
    W, b, c = (tf.Variable(x) for x in (W, b, c))

    def mean_free_energy(v):
        quadratic = tf.reduce_sum((v - b) ** 2, axis=1) / (2 * sigma**2)
        return tf.reduce_mean(quadratic - tf.reduce_sum(tf.nn.softplus(c + v @ W / sigma**2), axis=1))

    with tf.GradientTape() as tape:
        loss = mean_free_energy(v_chain) - mean_free_energy(v_data)
    return tape.gradient(loss, [W, b, c])


# %% wrong="gradient_gaussian"
# Forgets the factor 1/sigma² of the derivatives with respect to W and b.
# - dW = (v_data.T @ h_data / len(v_data) - v_chain.T @ h_chain / len(v_chain)) / sigma**2
# - db = (v_data.mean(axis=0) - v_chain.mean(axis=0)) / sigma**2
# + dW = v_data.T @ h_data / len(v_data) - v_chain.T @ h_chain / len(v_chain)
# + db = v_data.mean(axis=0) - v_chain.mean(axis=0)


# %% wrong="gradient_gaussian"
# Model minus data: descends the likelihood.
# - return dW, db, dc
# + return -dW, -db, -dc


# %% wrong="gradient_gaussian"
# Divides both sums by the size of the data batch.
# - dW = (v_data.T @ h_data / len(v_data) - v_chain.T @ h_chain / len(v_chain)) / sigma**2
# + dW = (v_data.T @ h_data - v_chain.T @ h_chain) / len(v_data) / sigma**2


# %% right="gibbs_spin"
# Python loops over units and terms, float64, NumPy's older random generator, lists as results.
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


# %% right="gibbs_spin"
# Another order and kind of draws: uniforms first, thresholds on the other side, logistic noise, columns.
def gibbs_spin(v, W, b, c, seed):
    rng = np.random.default_rng([seed, 17])
    noise_v = rng.logistic(size=v.shape)  # drawn before those for h
    noise_h = rng.logistic(size=(len(v), len(c)))
    h = np.sign(2 * (c + v @ W) + noise_h)
    return np.sign(2 * (b + h @ W.T) + noise_v).astype(int)


# %% right="gibbs_spin"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, the training as one graph. Returns tensors
# where the reference returns arrays.
def gibbs_spin(v, W, b, c, seed):
    rng = tf.random.Generator.from_seed(seed)

    def draw(x):
        return tf.where(rng.uniform(tf.shape(x)) < tf.sigmoid(2 * x), 1.0, -1.0)

    return draw(b + tf.matmul(draw(c + tf.matmul(v, W)), W, transpose_b=True))


# %% wrong="gibbs_spin"
# Passes the mean of h on instead of a draw.
# - h = draw(c + v @ W)
# + h = np.tanh(c + v @ W)


# %% wrong="gibbs_spin"
# One set of random numbers for all chains.
# - return np.where(rng.random(x.shape) < expit(2 * x), 1, -1).astype(np.float32)
# + return np.where(rng.random(x.shape[1]) < expit(2 * x), 1, -1).astype(np.float32)


# %% wrong="gibbs_spin"
# Ignores the seed.
# - rng = np.random.default_rng(seed)
# + rng = np.random.default_rng()


# %% wrong="gibbs_spin"
# Hidden states 0 and 1 in a ±1 machine.
# - h = draw(c + v @ W)
# + h = (draw(c + v @ W) + 1) / 2


# %% wrong="gibbs_spin"
# Starts all chains from the first row.
# - h = draw(c + v @ W)
# + h = draw(c + np.tile(v[:1], (len(v), 1)) @ W)


# %% wrong="gibbs_spin"
# Draws h with a fixed seed.
# - h = draw(c + v @ W)
# + x = c + v @ W
# + h = np.where(np.random.default_rng(0).random(x.shape) < expit(2 * x), 1, -1).astype(np.float32)


# %% wrong="gibbs_spin"
# Makes the generator anew for v: where both layers are of one size they share their random numbers.
# - return draw(b + h @ W.T)
# + rng = np.random.default_rng(seed)
# + return draw(b + h @ W.T)


# %% right="ais_spin"
# Python loops over units and terms, float64, NumPy's older random generator, lists as results.
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


# %% right="ais_spin"
# Another order and kind of draws: uniforms first, thresholds on the other side, logistic noise, columns.
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


# %% right="ais_spin"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, the training as one graph. Returns tensors
# where the reference returns arrays.
def ais_spin(W, b, c, betas, runs, seed):
    rng = tf.random.Generator.from_seed(seed)

    def draw(x):
        return tf.where(rng.uniform(tf.shape(x)) < tf.sigmoid(2 * x), 1.0, -1.0)

    def log_p_star(v, beta):
        x = tf.abs(beta * (c + v @ W))
        return beta * tf.linalg.matvec(v, b) + tf.reduce_sum(x + tf.math.log1p(tf.exp(-2 * x)), axis=1)

    v, log_w = draw(tf.zeros([runs, len(b)])), tf.zeros(runs)
    for t in range(1, len(betas)):
        log_w += log_p_star(v, betas[t]) - log_p_star(v, betas[t - 1])
        v = draw(betas[t] * (b + tf.matmul(draw(betas[t] * (c + v @ W)), W, transpose_b=True)))
    return log_w


# %% wrong="ais_spin"
# Multiplies the hidden term by beta outside the logarithm.
# - x = beta * (c + v @ W)
# - return beta * (v @ b) + np.logaddexp(x, -x).sum(axis=1)
# + x = c + v @ W
# + return beta * (v @ b + np.logaddexp(x, -x).sum(axis=1))


# %% wrong="ais_spin"
# Sums out 0/1 units, 1 + e^x, in a ±1 machine.
# - x = beta * (c + v @ W)
# - return beta * (v @ b) + np.logaddexp(x, -x).sum(axis=1)
# + x = beta * (c + v @ W)
# + return beta * (v @ b) + np.logaddexp(0, x).sum(axis=1)


# %% wrong="ais_spin"
# All Gibbs steps at inverse temperature 1.
# - log_w += log_p_star(v, beta) - log_p_star(v, previous)
# - h = draw(beta * (c + v @ W))
# - v = draw(beta * (b + h @ W.T))
# + log_w += log_p_star(v, beta) - log_p_star(v, previous)
# + h = draw(c + v @ W)
# + v = draw(b + h @ W.T)


# %% wrong="ais_spin"
# Moves the chain before it takes the weight.
# - log_w += log_p_star(v, beta) - log_p_star(v, previous)
# - h = draw(beta * (c + v @ W))
# - v = draw(beta * (b + h @ W.T))
# + h = draw(beta * (c + v @ W))
# + v = draw(beta * (b + h @ W.T))
# + log_w += log_p_star(v, beta) - log_p_star(v, previous)


# %% wrong="ais_spin"
# Never moves the chain: plain importance sampling from the uniform distribution.
# - log_w += log_p_star(v, beta) - log_p_star(v, previous)
# - h = draw(beta * (c + v @ W))
# - v = draw(beta * (b + h @ W.T))
# + log_w += log_p_star(v, beta) - log_p_star(v, previous)


# %% wrong="ais_spin"
# Off by one: moves at the previous temperature.
# - log_w += log_p_star(v, beta) - log_p_star(v, previous)
# - h = draw(beta * (c + v @ W))
# - v = draw(beta * (b + h @ W.T))
# + log_w += log_p_star(v, beta) - log_p_star(v, previous)
# + h = draw(previous * (c + v @ W))
# + v = draw(previous * (b + h @ W.T))


# %% wrong="ais_spin"
# Makes the generator anew in every step: the steps share their random numbers.
# - log_w += log_p_star(v, beta) - log_p_star(v, previous)
# + rng = np.random.default_rng(seed)
# + log_w += log_p_star(v, beta) - log_p_star(v, previous)


# %% wrong="ais_spin"
# Ignores the seed.
# - rng = np.random.default_rng(seed)
# + rng = np.random.default_rng(0)


# %% wrong="ais_spin"
# Starts every run at the same state instead of uniform draws.
# - v = rng.choice([-1.0, 1.0], size=(runs, len(b)))
# + v = np.ones((runs, len(b)))


# %% wrong="ais_spin"
# Takes equal steps, whatever the temperatures are.
# - log_w = np.zeros(runs)
# + log_w = np.zeros(runs)
# + betas = np.linspace(0, 1, len(betas))


# %% wrong="ais_spin"
# Gives all runs the mean log weight.
# - return log_w
# + return np.full(runs, log_w.mean())


# %% wrong="ais_spin"
# Runs half of the chains, and returns each weight twice.
# - return log_w
# + return np.tile(log_w[: (runs + 1) // 2], 2)[:runs]


# %% wrong="ais_spin"
# Writes cosh out in float32, which overflows.
# - x = beta * (c + v @ W)
# + x = (beta * (c + v @ W)).astype(np.float32)
#
# - return beta * (v @ b) + np.logaddexp(x, -x).sum(axis=1)
# + return beta * (v @ b) + np.log(2 * np.cosh(x)).sum(axis=1)


# %% right="impute_gaussian"
# Python loops over units and terms, float64, NumPy's older random generator, lists as results.
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


# %% right="impute_gaussian"
# Another order and kind of draws: uniforms first, thresholds on the other side, logistic noise, columns.
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


# %% right="impute_gaussian"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, the training as one graph. Returns tensors
# where the reference returns arrays.
def impute_gaussian(v, missing, W, b, c, sigma, steps, seed):
    rng, known = tf.random.Generator.from_seed(seed), tf.constant(v)
    v = tf.where(missing, b, known)
    for _ in range(steps):
        p = tf.sigmoid(c + v @ W / sigma**2)
        h = tf.cast(rng.uniform(tf.shape(p)) < p, tf.float32)
        mean = b + tf.matmul(h, W, transpose_b=True)
        v = tf.where(missing, rng.normal(tf.shape(v), mean, sigma), known)
    return v


# %% wrong="impute_gaussian"
# Puts the known pixels back only once, after the chain.
# - v = np.where(missing, sample, known)
# + v = sample
# - return v
# + return np.where(missing, v, known)


# %% wrong="impute_gaussian"
# Always runs 40 steps.
# - for _ in range(steps):
# + for _ in range(40):


# %% wrong="impute_gaussian"
# Takes the mask for the known pixels.
# - v = np.where(missing, sample, known)
# + v = np.where(missing, known, sample)


# %% wrong="impute_gaussian"
# Passes probabilities of h on instead of draws.
# - h = (rng.random(p_h.shape) < p_h).astype(float)
# + h = p_h


# %% wrong="impute_gaussian"
# One number of noise for all pixels of an image.
# - sample = b + h @ W.T + sigma * rng.standard_normal(v.shape)
# + sample = b + h @ W.T + sigma * rng.standard_normal((len(v), 1))


# %% wrong="impute_gaussian"
# Ignores the seed.
# - rng = np.random.default_rng(seed)
# + rng = np.random.default_rng(0)


# %% wrong="impute_gaussian"
# Starts the missing pixels at 0 instead of b.
# - v = np.where(missing, b, known)
# + v = np.where(missing, 0, known)


# %% wrong="impute_gaussian"
# Sets its arguments to 0 and returns noise, which is then right: a hostile answer that once earned the
# marks.
def impute_gaussian(v, missing, W, b, c, sigma, steps, seed):
    rng = np.random.default_rng(seed)
    noise = np.where(missing, sigma * rng.standard_normal(v.shape), v)
    for x in (W, b, c):
        x[...] = 0
    return noise


# %% equivalent="impute_gaussian"
# The noise is symmetric.
# - sample = b + h @ W.T + sigma * rng.standard_normal(v.shape)
# + sample = b + h @ W.T - sigma * rng.standard_normal(v.shape)


# %% equivalent="impute_gaussian"
# This v is no argument any more, but made here.
# - v = np.where(missing, sample, known)
# + v[...] = np.where(missing, sample, known)


# %% wrong="impute_gaussian"
# Completes all images from the first one.
# - p_h = expit(c + v @ W / sigma**2)
# + p_h = expit(c + np.tile(v[:1], (len(v), 1)) @ W / sigma**2)


# %% wrong="impute_gaussian"
# Stops after five steps.
# - for _ in range(steps):
# + for _ in range(min(steps, 5)):


# %% right="train_gaussian"
# Python loops over units and terms, float64, NumPy's older random generator, lists as results.
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


# %% right="train_gaussian"
# Another order and kind of draws: uniforms first, thresholds on the other side, logistic noise, columns.
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


# %% right="train_gaussian"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, the training as one graph. Returns tensors
# where the reference returns arrays.
def train_gaussian(v_train, hidden, sigma, seed):
    rng, data, B = tf.random.Generator.from_seed(seed), tf.constant(v_train, tf.float32), 50
    W = tf.Variable(rng.normal([data.shape[1], hidden], 0.0, 0.05))
    b, c = tf.Variable(tf.reduce_mean(data, 0)), tf.Variable(tf.zeros(hidden))

    @tf.function
    def run(chains, steps):
        for t in tf.range(steps):
            p = tf.sigmoid(c + chains @ W / sigma**2)
            h = tf.cast(rng.uniform(tf.shape(p)) < p, tf.float32)
            chains = b + tf.matmul(h, W, transpose_b=True) + sigma * rng.normal(tf.shape(chains))
            v = tf.gather(data, rng.uniform([B], 0, len(data), tf.int32))
            h, g = tf.sigmoid(c + v @ W / sigma**2), tf.sigmoid(c + chains @ W / sigma**2)
            rate = 0.1 * (1.0 - tf.cast(t, tf.float32) / tf.cast(steps, tf.float32))
            W.assign_add(
                rate * (tf.matmul(v, h, transpose_a=True) / B - tf.matmul(chains, g, transpose_a=True) / 100)
            )
            b.assign_add(rate * (tf.reduce_mean(v, 0) - tf.reduce_mean(chains, 0)))
            c.assign_add(rate * (tf.reduce_mean(h, 0) - tf.reduce_mean(g, 0)))

    run(data[:100], tf.constant(1400))
    return W, b, c


# %% wrong="train_gaussian"
# Samples 0/1 pixels in the negative phase, as in the preparation.
# - chains = b + h @ W.T + sigma * rng.standard_normal(chains.shape)
# + chains = (rng.random(chains.shape) < expit(b + h @ W.T)).astype(float)


# %% wrong="train_gaussian"
# Subtracts the gradient.
# - D, B, epochs = v_train.shape[1], 50, 60
# + D, B, epochs = v_train.shape[1], 50, 3
# - rate = 0.1 * (1 - epoch / epochs)
# + rate = -0.1 * (1 - epoch / epochs)


# %% wrong="train_gaussian"
# Leaves sigma out of p(h | v).
# - h = rng.random((len(chains), hidden)) < expit(c + chains @ W / sigma**2)
# + h = rng.random((len(chains), hidden)) < expit(c + chains @ W)
# - h_data, h_chains = expit(c + v @ W / sigma**2), expit(c + chains @ W / sigma**2)
# + h_data, h_chains = expit(c + v @ W), expit(c + chains @ W)


# %% wrong="train_gaussian"
# Returns the parameters it started with.
# - D, B, epochs = v_train.shape[1], 50, 60
# + D, B, epochs = v_train.shape[1], 50, 0


# %% wrong="train_gaussian"
# Starts at W = 0: all hidden units stay alike.
# - W, b, c = rng.normal(0, 0.05, (D, hidden)), v_train.mean(axis=0), np.zeros(hidden)
# + W, b, c = np.zeros((D, hidden)), v_train.mean(axis=0), np.zeros(hidden)


# %% wrong="train_gaussian"
# Trains on a global, not on the images that it is given.
# - D, B, epochs = v_train.shape[1], 50, 60
# + v_train = digits.train / 16
# + D, B, epochs = v_train.shape[1], 50, 60


# %% wrong="train_gaussian"
# A parameter so large that the test loses the normaliser in floating point.
def train_gaussian(v_train, hidden, sigma, seed):
    m = v_train.mean(axis=0)
    _, s, V = np.linalg.svd(v_train - m, full_matrices=False)
    half = 0.8 * s[: hidden - 1, None] / len(v_train) ** 0.5 * V[: hidden - 1]
    W = np.hstack([np.zeros((len(m), 1)), 2 * half.T])
    return W, m - half.sum(axis=0), np.array([1e20] + [0.0] * (hidden - 1))
