"""TensorFlow in float32 throughout, batched; the training ranks a datum among its noise by a softmax."""


# %% solution="langevin_step"
@tf.function
def langevin_step(energy, x, L, eps, T, noise):
    x, L, noise = (tf.convert_to_tensor(z, tf.float32) for z in (x, L, noise))
    gradient = tf.gradients(energy(x), x)[0]
    P = tf.matmul(L, L, transpose_b=True)
    eps, T = tf.cast(eps, tf.float32), tf.cast(T, tf.float32)
    return x - eps / 2 * tf.linalg.matvec(P, gradient) + tf.sqrt(eps * T) * tf.linalg.matvec(L, noise)


# %% solution="mala_step"
def mala_step(energy, x, L, eps, T, noise, u):
    x, L, noise = (tf.constant(z, tf.float32) for z in (x, L, noise))
    size = tf.sqrt(tf.constant(eps * T, tf.float32))

    def drifted(point):
        with tf.GradientTape() as tape:
            tape.watch(point)
            e = energy(point)
        g = tape.gradient(e, point)
        return e, point - eps / 2 * tf.linalg.matvec(L, tf.linalg.matvec(L, g, transpose_a=True))

    e_x, mean_x = drifted(x)
    y = mean_x + size * tf.linalg.matvec(L, noise)
    e_y, mean_y = drifted(y)
    normal_y = tf.linalg.triangular_solve(L, tf.transpose(x - mean_y)) / size  # (D, B)
    log_ratio = (e_x - e_y) / T + (tf.reduce_sum(noise**2, 1) - tf.reduce_sum(normal_y**2, 0)) / 2
    accepted = tf.constant(u) < tf.exp(tf.minimum(0.0, log_ratio))
    return tf.where(accepted[:, None], y, x), accepted


# %% solution="fit_polynomial"
def fit_polynomial(x, K):
    x = tf.constant(x, tf.float32)
    first = tf.stack([k * x ** (k - 1) for k in range(1, K + 1)], axis=1)
    second = tf.stack([k * (k - 1) * x ** max(k - 2, 0) for k in range(1, K + 1)], axis=1)
    M = tf.matmul(first, first, transpose_a=True) / len(x)
    return tf.linalg.solve(M, tf.reduce_mean(second, axis=0)[:, None])[:, 0]


# %% solution="denoising_loss"
def denoising_loss(energy, x, sigma, noise, r):
    x, noise, level = tf.constant(x), tf.constant(noise), tf.constant(sigma)[:, None]
    noisy = x + level * noise
    with tf.GradientTape() as tape:
        tape.watch(noisy)
        e = energy(noisy, tf.constant(sigma))
    error = -level * tape.gradient(e, noisy) + noise  # σ (score − target)
    return tf.reduce_sum(level ** (r - 2) * error**2) / (2 * len(x))


# %% solution="sliced_loss"
def sliced_loss(f, x, v):
    B, R, D = v.shape
    x = tf.repeat(tf.constant(x), R, axis=0)  # (B R, D), all directions in one pass
    v = tf.reshape(tf.constant(v), (B * R, D))
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = f(x)
        s = inner.gradient(value, x)
    second = tf.reduce_sum(outer.gradient(s, x, output_gradients=v) * v, axis=1)
    losses = tf.reduce_sum(s**2, axis=1) / 2 + D * second
    return tf.reduce_mean(tf.reshape(losses, (B, R)), axis=1)


# %% solution="nce"
def nce(f_data, f_noise, log_q_data, log_q_noise, log_z):
    log_z = tf.constant(log_z, tf.float32)
    log_nu = float(np.log(len(f_noise) / len(f_data)))
    with tf.GradientTape() as tape:
        tape.watch(log_z)
        data = tf.nn.sigmoid_cross_entropy_with_logits(
            tf.ones(len(f_data)), f_data - log_z - log_q_data - log_nu
        )
        noise = tf.nn.sigmoid_cross_entropy_with_logits(
            tf.zeros(len(f_noise)), f_noise - log_z - log_q_noise - log_nu
        )
        loss = (tf.reduce_sum(data) + tf.reduce_sum(noise)) / len(f_data)
    return loss, tape.gradient(loss, log_z)


# %% solution="train_energy"
def train_energy(x_train, seed):
    generator = tf.random.Generator.from_seed(seed + 1)
    steps, B, M = 600, 200, 400
    deviation = 1.3 * tf.math.reduce_std(x_train, axis=0)
    weights = [
        tf.Variable(generator.normal(s) * (s[0] ** -0.5 if len(s) == 2 else 0.0), dtype=tf.float32)
        for s in SHAPES
    ]
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(0.02, steps))
    optimizer.build(weights)
    data = tf.constant(x_train)

    @tf.function
    def step():  # ranking: which of 1 + M points is the datum? Z cancels
        x = tf.gather(data, generator.uniform((B,), maxval=len(x_train), dtype=tf.int32))
        y = deviation * generator.normal((M, 2))
        with tf.GradientTape() as tape:
            f_x = -energy_net(x, weights) + tf.reduce_sum((x / deviation) ** 2, axis=1) / 2
            f_y = -energy_net(y, weights) + tf.reduce_sum((y / deviation) ** 2, axis=1) / 2
            loss = tf.reduce_mean(tf.nn.softplus(tf.reduce_logsumexp(f_y) - f_x))
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    for _ in range(steps):
        step()
    return weights


# %% solution="anomaly_p"
def anomaly_p(e_normal, e_new):
    e, new = tf.constant(e_normal)[None], tf.constant(e_new)[:, None]
    high = 1 + tf.reduce_sum(tf.cast(e >= new, tf.float32), axis=1)
    low = 1 + tf.reduce_sum(tf.cast(e <= new, tf.float32), axis=1)
    return tf.minimum(1.0, 2 * tf.minimum(high, low) / (1 + len(e_normal)))
