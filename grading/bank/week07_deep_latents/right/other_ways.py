"""Other formulas: indicators, a quadrature, ratios of densities; noise on the training images."""


# %% solution="free_bits"
def free_bits(kl, groups, delta):
    member = np.zeros((kl.shape[1], len(groups)), np.float32)
    for g, group in enumerate(groups):
        member[group, g] = 1
    used = tf.reduce_mean(tf.matmul(kl, member), axis=0)  # (G,)
    above = tf.cast(used > delta, tf.float32)
    return tf.tensordot(above, used, 1) + delta * tf.reduce_sum(1 - above)


# %% solution="ladder_kl"
def ladder_kl(m, s, c, v, C, A, a, t):
    m, s, c, v, C, A, a, t = (x.astype(np.float64) for x in (m, s, c, v, C, A, a, t))
    # the divergence of the lower layer is quadratic in z2: symmetric points at ± √L2 s give its mean exactly
    L2 = m.shape[1]
    kl_1 = 0.0
    for direction in np.concatenate([np.eye(L2), -np.eye(L2)]):
        z2 = m + np.sqrt(L2) * s * direction
        away = z2 @ C.T + c - z2 @ A.T - a
        kl_1 = kl_1 + np.sum(np.log(t / v) + (v**2 + away**2) / (2 * t**2) - 0.5, axis=1) / (2 * L2)
    return (np.square(m) + np.square(s) - 2 * np.log(s) - 1).sum(axis=1) / 2, kl_1


# %% solution="unit_information"
def unit_information(mu, sigma, noise):
    result = []
    for mean, deviation, xi in zip(
        mu.T.astype(float), sigma.T.astype(float), noise.T.astype(float), strict=True
    ):
        z = mean + deviation * xi
        # q(z | x_m) / q(z | x_n), so that constants cancel
        ratio = np.exp((xi**2)[:, None] / 2 - ((z[:, None] - mean) / deviation) ** 2 / 2)
        ratio *= deviation[:, None] / deviation
        result.append(-np.mean(np.log(ratio.mean(axis=1))))
    return np.array(result, np.float32)


# %% solution="fsq"
def fsq(e, levels):
    steps = np.asarray(levels) - 1
    u = steps * tf.sigmoid(2 * e)  # (1 + tanh e) / 2 is the logistic function of 2 e
    rounded = tf.floor(u + 0.5)
    return 2 * (tf.stop_gradient(rounded) - tf.stop_gradient(u) + u) / steps - 1


# %% solution="residual_quantise"
def residual_quantise(e, codebooks, beta):
    e = tf.convert_to_tensor(e)
    M = len(codebooks)
    fixed = tf.stop_gradient(e)
    total, loss = tf.zeros_like(e), 0.0
    for m in range(M):
        k = tf.argmin(tf.norm((fixed - total)[:, None] - codebooks[m], axis=2), axis=1)
        code = tf.gather(codebooks[m], k)
        before, total = total, total + tf.stop_gradient(code)
        loss += tf.reduce_sum(tf.math.squared_difference(fixed - before, code), axis=1)
        loss += beta * tf.reduce_sum(tf.math.squared_difference(e, total), axis=1)
    return total + (e - fixed), tf.reduce_mean(loss)


# %% solution="soft_update"
def soft_update(N, m, z, tau, gamma):
    N, m, z = N.astype(np.float64), m.astype(np.float64), z.astype(np.float64)
    log_w = norm.logpdf(z[:, :, None], (m / N[:, None]).T, np.sqrt(tau)).sum(axis=1) + np.log(N / N.sum())
    # a share is one over the sum of the ratios of all weights to its own
    with np.errstate(over="ignore"):
        r = 1 / np.exp(log_w[:, None, :] - log_w[:, :, None]).sum(axis=2)
    everything = np.concatenate([np.ones((len(z), 1)), z], axis=1)  # counts and sums at once
    new = gamma * np.concatenate([N[:, None], m], axis=1) + (1 - gamma) * np.einsum(
        "bk,bc->kc", r, everything
    )
    return r, new[:, 0], new[:, 1:]


# %% solution="train_codes"
def train_codes(x_train, seed):
    rng = np.random.default_rng(seed + 100)
    epochs, B = 120, 128
    weights = [tf.Variable(rng.uniform(-1, 1, size=s).astype(np.float32) * (3 / s[0]) ** 0.5) for s in SHAPES]
    for bias in weights[1::2]:
        bias.assign(tf.zeros_like(bias))
    optimizer = tf.keras.optimizers.Adam(0.006)
    optimizer.build(weights)

    @tf.function(input_signature=[tf.TensorSpec((None, B, 64))])
    def epoch(images):
        for x in images:
            seen = tf.where(tf.random.uniform((B, 64)) < 0.02, 1 - x, x)
            with tf.GradientTape() as tape:
                e = encode(seen, weights)
                u = 1.5 * (1 + tf.tanh(e))
                logits = decode((u + tf.stop_gradient(tf.round(u) - u)) / 1.5 - 1, weights)
                loss = 64 * tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(x, logits))
                loss += tf.reduce_mean(e**2)
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    tf.random.set_seed(seed)
    for t in range(epochs):
        if t == 80:
            optimizer.learning_rate = 0.001
        order = rng.permutation(len(x_train))[: len(x_train) // B * B]
        epoch(tf.constant(x_train[order].reshape(-1, B, 64)))
    k = levels_of(x_train, weights)
    counts = np.bincount(np.ravel_multi_index(k.T, LEVELS), minlength=256).reshape(LEVELS) + 0.7
    return [w.numpy() for w in weights], (counts / counts.sum()).astype(np.float32)
