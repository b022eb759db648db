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


# %% solution="complete"
def complete(log_prior, logits, x, u_candidate, u_pixels):
    known = tf.math.logical_not(tf.math.is_nan(x))
    seen = tf.where(known, x, 0.0)
    # log p(x | c) of a known pixel is x a − softplus(a)
    log_w = tf.matmul(seen, logits, transpose_b=True) + log_prior
    log_w -= tf.matmul(tf.cast(known, tf.float32), tf.nn.softplus(logits), transpose_b=True)
    w = tf.nn.softmax(log_w, axis=1)
    below = tf.cast(tf.cumsum(w, axis=1) <= u_candidate[:, None], tf.int32)
    chosen = tf.minimum(tf.reduce_sum(below, axis=1), len(logits) - 1)
    drawn = tf.cast(u_pixels < tf.sigmoid(tf.gather(logits, chosen)), tf.float32)
    return tf.where(known, x, drawn), 1 / tf.reduce_sum(w**2, axis=1)


# %% solution="train_vae"
def train_vae(x_train, x_validation, seed):
    keras.utils.set_random_seed(seed)
    encoder, decoder = build_networks()
    variables = encoder.trainable_variables + decoder.trainable_variables
    steps, B = 700, 100
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, steps))
    optimizer.build(variables)
    data = tf.constant(x_train)

    @tf.function
    def run():  # all steps in one graph, KL by the sample that the likelihood has
        for _ in tf.range(steps):
            x = tf.gather(data, tf.random.uniform((B,), maxval=len(x_train), dtype=tf.int32))
            noise = tf.random.normal((B, LATENT))
            with tf.GradientTape() as tape:
                m, s = tf.split(encoder(x / LEVELS), 2, axis=1)
                z = m + tf.exp(s) * noise
                a = decoder(z)
                logpx_z = tf.reduce_sum(x * a - LEVELS * tf.nn.softplus(a), axis=1)
                kl = tf.reduce_sum((z**2 - noise**2) / 2 - s, axis=1)
                loss = -tf.reduce_mean(logpx_z - kl)
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    run()
    return encoder.weights, decoder.weights
