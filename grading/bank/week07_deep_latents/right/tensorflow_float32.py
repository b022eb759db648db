"""TensorFlow in float32, batched; weight decay in training; a prior backed off to single units."""


# %% solution="free_bits"
@tf.function
def free_bits(kl, groups, delta):
    number = {unit: g for g, group in enumerate(groups) for unit in group}
    units = tf.constant([number[unit] for unit in range(len(number))])
    used = tf.math.unsorted_segment_sum(tf.transpose(kl), units, len(groups))  # (G, B)
    return tf.reduce_sum(tf.nn.relu(tf.reduce_mean(used, axis=1) - delta) + delta)


# %% solution="ladder_kl"
def ladder_kl(m, s, c, v, C, A, a, t):
    D = tf.constant(C - A)
    kl_2 = 0.5 * tf.reduce_sum(m**2 + s**2 - 1 - tf.math.log(s**2), axis=1)
    away = tf.linalg.matvec(D, m) + c - a
    # the mean of a square: that of the means, and the trace of the covariance of D z2, each divided by t²
    spread = tf.einsum("ij,bj,ij->bi", D, s**2, D)
    ratio = (v / t) ** 2
    kl_1 = 0.5 * tf.reduce_sum(ratio - 1 - tf.math.log(ratio) + (away**2 + spread) / t**2, axis=1)
    return [kl_2, kl_1]


# %% solution="unit_information"
def unit_information(mu, sigma, noise):
    import tensorflow_probability as tfp

    z = tf.constant(mu + sigma * noise)
    posterior = tfp.distributions.Normal(mu, sigma)
    aggregate = tf.reduce_logsumexp(posterior.log_prob(z[:, None]), axis=1) - tf.math.log(float(len(mu)))
    return tf.reduce_mean(posterior.log_prob(z) - aggregate, axis=0)


# %% solution="fsq"
@tf.custom_gradient
def pass_through(x):
    return tf.round(x), lambda upstream: upstream


def fsq(e, levels):
    half = (tf.convert_to_tensor(levels) - 1) / 2
    return pass_through(half + half * tf.tanh(e)) / half - 1


# %% solution="residual_quantise"
def residual_quantise(e, codebooks, beta):
    e, codebooks = tf.convert_to_tensor(e), tf.convert_to_tensor(codebooks)
    r, residuals, chosen = e, [], []
    for codebook in tf.unstack(codebooks):
        scores = 2 * tf.matmul(r, codebook, transpose_b=True) - tf.reduce_sum(codebook**2, axis=1)
        c = tf.matmul(tf.one_hot(tf.argmax(scores, axis=1), len(codebook)), codebook)
        residuals.append(r)
        chosen.append(c)
        r = r - tf.stop_gradient(c)
    r, c = tf.stack(residuals), tf.stack(chosen)  # (M, B, L)
    codes = tf.reduce_sum((tf.stop_gradient(r) - c) ** 2)
    commitment = tf.reduce_sum((r - tf.stop_gradient(c)) ** 2)
    q = e + tf.stop_gradient(tf.reduce_sum(c, axis=0) - e)
    return q, (codes + beta * commitment) / tf.cast(tf.shape(e)[0], tf.float32)


# %% solution="soft_update"
def soft_update(N, m, z, tau, gamma):
    N, m, z = tf.constant(N), tf.constant(m), tf.constant(z)
    e = m / N[:, None]
    # |z|² is the same for all codes and leaves the softmax as it is
    logits = tf.math.log(N) + (tf.matmul(z, e, transpose_b=True) - tf.reduce_sum(e**2, axis=1) / 2) / tau
    r = tf.nn.softmax(logits)
    new_m = tf.matmul(r, z, transpose_a=True)
    return [r, N + (1 - gamma) * (tf.reduce_sum(r, 0) - N), m + (1 - gamma) * (new_m - m)]


# %% solution="train_codes"
def train_codes(x_train, seed):
    tf.random.set_seed(seed)
    steps, B = 1200, 100
    initial = tf.keras.initializers.GlorotUniform(seed=seed)
    weights = [tf.Variable(initial(s) if len(s) == 2 else tf.zeros(s)) for s in SHAPES]
    schedule = tf.keras.optimizers.schedules.CosineDecay(0.006, steps)
    optimizer = tf.keras.optimizers.AdamW(schedule, weight_decay=0.01)
    optimizer.build(weights)
    data = tf.constant(x_train)

    def quantise(x):
        bounded = tf.tanh(encode(x, weights))
        return bounded + tf.stop_gradient(2 * tf.round(1.5 + 1.5 * bounded) / 3 - 1 - bounded)

    @tf.function
    def run():
        for _ in tf.range(steps):
            x = tf.gather(data, tf.random.uniform((B,), maxval=len(x_train), dtype=tf.int32))
            with tf.GradientTape() as tape:
                logits = decode(quantise(x), weights)
                loss = tf.reduce_sum(tf.nn.softplus(logits) - x * logits) / B
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    run()
    k = tf.cast(tf.round(1.5 * (quantise(data) + 1)), tf.int32)  # (N, 4)
    single = tf.reduce_mean(tf.one_hot(k, 4), axis=0) * 0.99 + 0.0025  # (4 units, 4 levels)
    backoff = tf.einsum("i,j,k,l->ijkl", *tf.unstack(single))
    counts = tf.tensor_scatter_nd_add(tf.zeros(LEVELS), k, tf.ones(len(data)))
    prior = counts + 100 * backoff
    return weights, prior / tf.reduce_sum(prior)
