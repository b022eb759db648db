"""One image, one sample, one latent at a time, in float64 with plain loops; a hand-written training loop."""


# %% solution="kl_laplace"
def kl_laplace(mu, log_s, b):
    import math

    kl = []
    for row, log_row in zip(mu, log_s, strict=True):
        total = 0.0
        for m, log_d, width in zip(row, log_row, b, strict=True):
            m, d, width = float(m), math.exp(log_d), float(width)
            below = 0.5 * math.erfc(m / d / math.sqrt(2))  # P(z < 0)
            peak = math.exp(-0.5 * (m / d) ** 2) / math.sqrt(2 * math.pi)
            absolute = 2 * d * peak + m * (1 - 2 * below)
            entropy = 0.5 * math.log(2 * math.pi * math.e * d**2)
            total += math.log(2 * width) + absolute / width - entropy
        kl.append(total)
    return kl


# %% solution="sample_kumaraswamy"
def sample_kumaraswamy(log_a, log_b, u):
    log_a, log_b, u = (tf.cast(v, tf.float64) for v in (log_a, log_b, u))
    rows = []
    for b in range(u.shape[0]):
        row = []
        for i in range(u.shape[1]):
            inner = tf.pow(1 - u[b, i], 1 / tf.exp(log_b[b, i]))
            row.append(tf.pow(1 - inner, 1 / tf.exp(log_a[b, i])))
        rows.append(tf.stack(row))
    return tf.stack(rows)


# %% solution="score_gradient"
def score_gradient(log_joint, logits, u):
    K, B, L = u.shape
    logits = logits.astype(np.float64)
    p = 1 / (1 + np.exp(-logits))
    z = np.zeros((K, B, L))
    f = np.zeros((K, B))
    for k in range(K):
        for b in range(B):
            for i in range(L):
                z[k, b, i] = 1.0 if u[k, b, i] < p[b, i] else 0.0
                f[k, b] += np.log1p(np.exp(-logits[b, i] if z[k, b, i] else logits[b, i]))
        f[k] += log_joint(z[k]).numpy()
    g = np.zeros((B, L))
    for k in range(K):
        others = [f[j] for j in range(K) if j != k]
        g += (f[k] - np.mean(others, axis=0))[:, None] * (z[k] - p) / K
    return g


# %% solution="elbo_terms"
def elbo_terms(encode, decode, log_prior, x, noise, n):
    x, noise = x.astype(np.float64), noise.astype(np.float64)
    m, s = (t.numpy() for t in encode(x))
    reconstruction, kl = np.zeros(len(x)), np.zeros(len(x))
    for xi in noise:
        z = m + np.exp(s) * xi
        a = decode(z).numpy()
        for b in range(len(x)):
            for i in range(x.shape[1]):
                k = int(x[b, i])
                choose = 1
                for j in range(k):
                    choose = choose * (n - j) // (j + 1)
                reconstruction[b] += np.log(float(choose))
                reconstruction[b] -= k * np.logaddexp(0, -a[b, i]) + (n - k) * np.logaddexp(0, a[b, i])
        log_q = norm.logpdf(z, m, np.exp(s)).sum(axis=1)
        kl += log_q - log_prior(z).numpy()
    return reconstruction / len(noise), kl / len(noise)


# %% solution="complete"
def complete(log_prior, logits, x, u_candidate, u_pixels):
    import math

    def log_sigmoid(a):
        return -math.log1p(math.exp(-a)) if a > 0 else a - math.log1p(math.exp(a))

    M, D = logits.shape
    new, sizes = [], []
    for b in range(len(x)):
        log_w = []
        for m in range(M):
            total = float(log_prior[m])
            for i in range(D):
                if not math.isnan(x[b, i]):
                    total += log_sigmoid(float(logits[m, i]) * (1 if x[b, i] == 1 else -1))
            log_w.append(total)
        w = [math.exp(v - max(log_w)) for v in log_w]
        sizes.append(sum(w) ** 2 / sum(v**2 for v in w))
        goal, m = float(u_candidate[b]) * sum(w), 0
        while sum(w[: m + 1]) <= goal:
            m += 1
        row = [float(v) for v in x[b]]
        for i in range(D):
            if math.isnan(row[i]):
                row[i] = 1.0 if math.log(u_pixels[b, i]) < log_sigmoid(float(logits[m, i])) else 0.0
        new.append(row)
    return new, sizes


# %% solution="train_vae"
def train_vae(x_train, x_validation, seed):
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    encoder, decoder = build_networks()
    variables = encoder.trainable_variables + decoder.trainable_variables
    steps, B = 700, 100
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(variables)

    @tf.function
    def step(x, noise):
        with tf.GradientTape() as tape:
            out = encoder(x / 16)
            m, s = out[:, :LATENT], out[:, LATENT:]
            a = decoder(m + tf.exp(s) * noise)
            wrong = tf.nn.sigmoid_cross_entropy_with_logits(labels=x / 16, logits=a)
            kl = 0.5 * tf.reduce_sum(tf.exp(2 * s) + m**2 - 1 - 2 * s, axis=1)
            loss = tf.reduce_mean(16 * tf.reduce_sum(wrong, axis=1) + kl)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    for _ in range(steps):
        chosen = rng.integers(len(x_train), size=B)
        step(tf.constant(x_train[chosen]), tf.constant(rng.normal(size=(B, LATENT)), tf.float32))
    return encoder.get_weights(), decoder.get_weights()
