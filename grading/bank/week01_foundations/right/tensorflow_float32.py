"""TensorFlow throughout: float32 tensors, a tf.random.Generator, EM steps as one graph.

Returns tensors where the reference returns arrays.
"""


# %% solution="bits_per_pixel"
def bits_per_pixel(x, pi, mu, G):
    x = tf.constant(x)[:, None, :]
    G = tf.constant(float(G))
    choices = tf.math.lgamma(G + 1) - tf.math.lgamma(x + 1) - tf.math.lgamma(G - x + 1)
    terms = choices + tf.math.xlogy(x, mu) + tf.math.xlog1py(G - x, -mu)  # (B, K, D)
    log_px = tf.reduce_logsumexp(tf.reduce_sum(terms, axis=2) + tf.math.log(pi), axis=1)
    return -log_px / tf.math.log(2.0) / x.shape[2]


# %% solution="responsibilities"
def responsibilities(x, pi, mu, G):
    missing = tf.math.is_nan(x)
    black = tf.where(missing, tf.zeros_like(x), x)
    white = tf.where(missing, tf.zeros_like(x), G - x)
    log_w = tf.math.log(pi) + tf.matmul(black, tf.math.log(mu), transpose_b=True)
    return tf.nn.softmax(log_w + tf.matmul(white, tf.math.log1p(-mu), transpose_b=True), axis=1)


# %% solution="m_step"
def m_step(x, r, w, a, G):
    missing = tf.math.is_nan(x)
    weight = tf.constant(r) * w[:, None]
    black = tf.matmul(weight, tf.where(missing, tf.zeros_like(x), x), transpose_a=True)
    seen = tf.matmul(weight, tf.cast(~missing, tf.float32), transpose_a=True)
    return tf.reduce_sum(weight, axis=0) / tf.reduce_sum(w), (black + a) / (G * seen + 2 * a)


# %% solution="fill_holes"
def fill_holes(x, r, mu, G, seed):
    rng = tf.random.Generator.from_seed(seed)
    gumbel = -tf.math.log(-tf.math.log(rng.uniform(r.shape, 1e-7, 1 - 1e-7)))
    z = tf.argmax(tf.math.log(r) + gumbel, axis=1)  # log 0 is −inf: never chosen
    p = tf.gather(mu, z)  # (B, D)
    small = tf.cast(rng.uniform([*x.shape, G]) < p[:, :, None], tf.float32)  # the small pixels of each block
    return tf.where(tf.math.is_nan(x), tf.reduce_sum(small, axis=2), x)


# %% solution="kl_by_drawing"
def kl_by_drawing(pi_p, mu_p, pi_q, mu_q, G, N, seed):
    rng = tf.random.Generator.from_seed(seed)
    edges = np.cumsum(pi_p)
    z = np.minimum(np.searchsorted(edges, rng.uniform([N]).numpy()), len(pi_p) - 1)
    small = rng.uniform([N, mu_p.shape[1], G]) < tf.gather(mu_p, z)[:, :, None]
    x = tf.reduce_sum(tf.cast(small, tf.float32), axis=2)[:, None]

    def log_prob(pi, mu):
        G_ = tf.constant(float(G))
        choices = tf.math.lgamma(G_ + 1) - tf.math.lgamma(x + 1) - tf.math.lgamma(G_ - x + 1)
        terms = choices + x * tf.math.log(mu) + (G_ - x) * tf.math.log1p(-mu)
        return tf.reduce_logsumexp(tf.reduce_sum(terms, axis=2) + tf.math.log(pi), axis=1)

    ratio = log_prob(pi_p, mu_p) - log_prob(pi_q, mu_q)
    return tf.reduce_mean(ratio), tf.math.reduce_std(ratio) / tf.sqrt(float(N))


# %% solution="alarms"
def alarms(held_out, fresh, alpha):
    at_most = tf.reduce_sum(tf.cast(held_out[None] <= fresh[:, None], tf.float64), axis=1)
    return (at_most + 1) / (len(held_out) + 1) <= alpha


# %% solution="train_binomials"
def train_binomials(x_train, K, G, seed):
    x, rng = tf.constant(x_train), tf.random.Generator.from_seed(seed)
    missing = tf.math.is_nan(x)
    black = tf.where(missing, 0.0, x)
    white = tf.where(missing, 0.0, G - x)
    seen = black + white
    mean = tf.reduce_sum(black, axis=0) / tf.reduce_sum(seen, axis=0)
    mu = 0.6 * mean + 0.2 + 0.2 * (rng.uniform([K, x.shape[1]]) - 0.5)  # noise instead of images
    pi = tf.fill([K], 1 / K)

    @tf.function
    def step(pi, mu):
        log_w = (
            tf.math.log(pi)
            + black @ tf.transpose(tf.math.log(mu))
            + white @ tf.transpose(tf.math.log(1 - mu))
        )
        r = tf.nn.softmax(log_w)
        mu = (tf.transpose(r) @ black + 1) / (tf.transpose(r) @ seen + 2)
        return tf.reduce_mean(r, axis=0) + 1e-12, mu

    for _ in range(60):
        pi, mu = step(pi, mu)
    return pi / tf.reduce_sum(pi), mu
