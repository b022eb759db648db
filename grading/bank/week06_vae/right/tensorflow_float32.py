"""TensorFlow in float32 throughout; results are tensors and variables."""


# %% solution="kl_laplace"
def kl_laplace(mu, log_s, b):
    s = tf.exp(log_s)
    t = mu / s
    absolute = s * (
        np.float32(np.sqrt(2 / np.pi)) * tf.exp(-(t**2) / 2) + t * tf.math.erf(t / np.float32(np.sqrt(2)))
    )
    constant = float(0.5 * np.log(2 / np.pi) - 0.5)
    return tf.reduce_sum(tf.math.log(b) - log_s + absolute / b + constant, axis=-1)


# %% solution="sample_kumaraswamy"
def sample_kumaraswamy(log_a, log_b, u):
    inner = tf.math.log1p(-u) * tf.exp(-log_b)  # log (1 − z^a)
    return tf.exp(tf.math.log(-tf.math.expm1(inner)) * tf.exp(-log_a))


# %% solution="score_gradient"
def score_gradient(log_joint, logits, u):
    logits = tf.constant(logits)
    z = tf.cast(u < tf.sigmoid(logits), tf.float32)
    labels = tf.broadcast_to(logits, z.shape)
    f = log_joint(z) + tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=z, logits=labels), axis=2)
    K = len(u)
    advantage = K / (K - 1) * (f - tf.reduce_mean(f, axis=0))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_q = -tf.nn.sigmoid_cross_entropy_with_logits(labels=z, logits=tf.broadcast_to(logits, z.shape))
        surrogate = tf.reduce_sum(tf.stop_gradient(advantage) * tf.reduce_sum(log_q, axis=2)) / K
    return tape.gradient(surrogate, logits)


# %% solution="elbo_terms"
def elbo_terms(encode, decode, log_prior, x, noise, n):
    x = tf.constant(x)
    m, s = encode(x)
    log_choose = tf.math.lgamma(n + 1.0) - tf.math.lgamma(x + 1) - tf.math.lgamma(n - x + 1)
    reconstruction, kl = 0.0, 0.0
    for xi in noise:
        z = m + tf.exp(s) * xi
        a = decode(z)
        likelihood = log_choose + x * tf.math.log_sigmoid(a) + (n - x) * tf.math.log_sigmoid(-a)
        reconstruction += tf.reduce_sum(likelihood, axis=1) / len(noise)
        log_q = -0.5 * tf.reduce_sum(xi**2 + 2 * s + float(np.log(2 * np.pi)), axis=1)
        kl += (log_q - log_prior(z)) / len(noise)
    return reconstruction, kl


# %% solution="iwae_terms"
def iwae_terms(log_w):
    K, B = log_w.shape
    log_w = tf.constant(log_w)
    top = tf.reduce_max(log_w, axis=0)
    log_w = log_w - top
    bound = tf.reduce_logsumexp(log_w, axis=0) - float(np.log(K))
    ess = 1 / tf.reduce_sum(tf.nn.softmax(log_w, axis=0) ** 2, axis=0)
    out = tf.where(tf.eye(K, dtype=tf.bool)[:, :, None], -np.inf, log_w[None])  # (left out, K, B)
    left_out = tf.reduce_logsumexp(out, axis=1) - float(np.log(K - 1))
    jackknife = K * bound - (K - 1) * tf.reduce_mean(left_out, axis=0)
    return bound + top, ess, jackknife + top


# %% solution="complete"
def complete(decode, log_py, z, x, missing, seed):
    generator = tf.random.Generator.from_seed(seed)
    logits = tf.concat([decode(z, c) for c in range(len(log_py))], axis=0)  # (C K, D)
    known = np.flatnonzero(~missing)
    seen, a = tf.gather(tf.constant(x), known, axis=1), tf.gather(logits, known, axis=1)
    log_w = tf.matmul(seen, a, transpose_b=True) - tf.reduce_sum(tf.nn.softplus(a), axis=1)
    log_w += tf.repeat(tf.constant(log_py), len(z))
    gumbel = -tf.math.log(-tf.math.log(generator.uniform(tf.shape(log_w), 1e-20, 1.0)))
    pair = tf.argmax(log_w + gumbel, axis=1)
    p = tf.sigmoid(tf.gather(logits, pair))
    drawn = tf.cast(generator.uniform(tf.shape(p)) < p, tf.float32)
    return tf.where(missing, drawn, x), pair // len(z)


# %% solution="train_vae"
def train_vae(x_train, seed):
    keras.utils.set_random_seed(seed)
    encoder, decoder = build_networks()
    variables = encoder.trainable_variables + decoder.trainable_variables
    steps, B, K = 350, 100, 5
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.008, steps))
    optimizer.build(variables)
    data = tf.constant(x_train)

    @tf.function
    def run():  # all steps in one graph, the importance weighted bound with 5 samples
        for _ in tf.range(steps):
            x = tf.gather(data, tf.random.uniform((B,), maxval=len(x_train), dtype=tf.int32))
            noise = tf.random.normal((K, B, LATENT))
            with tf.GradientTape() as tape:
                m, s = tf.split(encoder(x / LEVELS), 2, axis=1)
                z = m + tf.exp(s) * noise
                a = tf.reshape(decoder(tf.reshape(z, (-1, LATENT))), (K, B, 64))
                logpx_z = tf.reduce_sum(x * a - LEVELS * tf.nn.softplus(a), axis=2)
                log_w = logpx_z + tf.reduce_sum(-(z**2) / 2 + noise**2 / 2 + s, axis=2)
                loss = -tf.reduce_mean(tf.reduce_logsumexp(log_w, axis=0))
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    run()
    return encoder.weights, decoder.weights
