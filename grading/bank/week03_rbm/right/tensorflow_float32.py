"""TensorFlow throughout: float32 tensors, a tf.random.Generator, the training as one graph.

Returns tensors where the reference returns arrays.
"""


# %% solution="free_energy_gaussian"
def free_energy_gaussian(v, W, b, c, sigma):
    quadratic = tf.reduce_sum(tf.square(v - b), axis=-1) / (2 * sigma**2)
    return quadratic - tf.reduce_sum(tf.nn.softplus(c + tf.matmul(v, W) / sigma**2), axis=-1)


# %% solution="gradient_gaussian"
def gradient_gaussian(v_data, v_chain, W, b, c, sigma):
    W, b, c = (tf.Variable(x) for x in (W, b, c))

    def mean_free_energy(v):
        quadratic = tf.reduce_sum((v - b) ** 2, axis=1) / (2 * sigma**2)
        return tf.reduce_mean(quadratic - tf.reduce_sum(tf.nn.softplus(c + v @ W / sigma**2), axis=1))

    with tf.GradientTape() as tape:
        loss = mean_free_energy(v_chain) - mean_free_energy(v_data)
    return tape.gradient(loss, [W, b, c])


# %% solution="gibbs_spin"
def gibbs_spin(v, W, b, c, seed):
    rng = tf.random.Generator.from_seed(seed)

    def draw(x):
        return tf.where(rng.uniform(tf.shape(x)) < tf.sigmoid(2 * x), 1.0, -1.0)

    return draw(b + tf.matmul(draw(c + tf.matmul(v, W)), W, transpose_b=True))


# %% solution="pcd_step_spin"
def pcd_step_spin(v_data, chains, W, b, c, rate, seed):
    rng = tf.random.Generator.from_seed(seed)

    def draw(x):
        return tf.where(rng.uniform(tf.shape(x)) < tf.sigmoid(2 * x), 1.0, -1.0)

    chains = draw(b + tf.matmul(draw(c + tf.matmul(chains, W)), W, transpose_b=True))

    def moments(v):
        h = tf.tanh(c + tf.matmul(v, W))
        return tf.einsum("bd,bh->dh", v, h) / len(v), tf.reduce_mean(v, 0), tf.reduce_mean(h, 0)

    new = [x + rate * (p - n) for x, p, n in zip([W, b, c], moments(v_data), moments(chains), strict=True)]
    return *new, chains


# %% solution="ais_spin"
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


# %% solution="impute_gaussian"
def impute_gaussian(v, missing, W, b, c, sigma, steps, seed):
    rng, known = tf.random.Generator.from_seed(seed), tf.constant(v)
    v = tf.where(missing, b, known)
    for _ in range(steps):
        p = tf.sigmoid(c + v @ W / sigma**2)
        h = tf.cast(rng.uniform(tf.shape(p)) < p, tf.float32)
        mean = b + tf.matmul(h, W, transpose_b=True)
        v = tf.where(missing, rng.normal(tf.shape(v), mean, sigma), known)
    return v


# %% solution="train_gaussian"
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
