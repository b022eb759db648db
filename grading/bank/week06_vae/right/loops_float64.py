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


# %% solution="iwae_terms"
def iwae_terms(log_w):
    K, B = log_w.shape

    def log_mean(values):
        top = max(values)
        return top + np.log(sum(np.exp(v - top) for v in values) / len(values))

    bounds, sizes, jackknives = [], [], []
    for b in range(B):
        values = [float(v) for v in log_w[:, b]]
        bound = log_mean(values)
        share = np.exp(np.array(values) - bound) / K
        left_out = [log_mean(values[:k] + values[k + 1 :]) for k in range(K)]
        bounds.append(bound)
        sizes.append(1 / np.sum(share**2))
        jackknives.append(K * bound - (K - 1) * sum(left_out) / K)
    return bounds, sizes, jackknives


# %% solution="complete"
def complete(decode, log_py, z, x, missing, seed):
    rng = np.random.default_rng(seed)
    K, C = len(z), len(log_py)
    a = [decode(z.astype(np.float64), c).numpy() for c in range(C)]
    known = np.flatnonzero(~missing)
    cache = {}
    new, classes = [], []
    for row in x:
        key = tuple(row[known])
        if key not in cache:
            log_w = np.zeros((C, K))
            for c in range(C):
                for k in range(K):
                    log_w[c, k] = log_py[c]
                    for i in known:
                        log_w[c, k] -= np.logaddexp(0, -a[c][k, i] if row[i] == 1 else a[c][k, i])
            w = np.exp(log_w - log_w.max()).ravel()
            cache[key] = np.cumsum(w / w.sum())
        pair = min(int(np.searchsorted(cache[key], rng.random())), C * K - 1)
        c, k = divmod(pair, K)
        row = row.copy()
        for i in np.flatnonzero(missing):
            row[i] = float(rng.random() < 1 / (1 + np.exp(-a[c][k, i])))
        new.append(row)
        classes.append(c)
    return np.array(new), classes


# %% solution="train_vae"
def train_vae(x_train, seed):
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    encoder, decoder = build_networks()
    variables = encoder.trainable_variables + decoder.trainable_variables
    steps, B = 400, 100
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
