"""Other algorithms: tfd, tfb, a covariance, cumulative probabilities, a functional model with a loss."""


# %% solution="kl_laplace"
def kl_laplace(mu, log_s, b):
    from tensorflow_probability import distributions as tfd

    q = tfd.MultivariateNormalDiag(mu, np.exp(log_s))
    t = np.linspace(-9, 9, 6001)[:, None, None]  # log p by the trapezoidal rule
    absolute = np.trapezoid(norm.pdf(t) * np.abs(mu + np.exp(log_s) * t), t[:, 0, 0], axis=0)
    return -q.entropy().numpy() + np.sum(np.log(2 * b) + absolute / b, axis=1)


# %% solution="sample_kumaraswamy"
def sample_kumaraswamy(log_a, log_b, u):
    from tensorflow_probability import bijectors as tfb

    return tfb.KumaraswamyCDF(tf.exp(log_a), tf.exp(log_b)).inverse(tf.convert_to_tensor(u))


# %% solution="score_gradient"
def score_gradient(log_joint, logits, u):
    p = tf.sigmoid(logits).numpy()
    z = u < p
    f = log_joint(z.astype(np.float64)).numpy()
    f = f + np.where(z, np.logaddexp(0, -logits), np.logaddexp(0, logits)).sum(axis=-1)
    f = f - f.mean(axis=0)
    return np.einsum("kb,kbl->bl", f, z.astype(float)) / (len(u) - 1)  # a covariance


# %% solution="elbo_terms"
def elbo_terms(encode, decode, log_prior, x, noise, n):
    from tensorflow_probability import distributions as tfd

    S, B, L = noise.shape
    m, s = encode(x)
    q_z_x = tfd.Independent(tfd.Normal(m, tf.exp(s)), 1)
    z = tf.reshape(m + tf.exp(s) * noise, (S * B, L))
    counts = np.tile(x, (S, 1))
    p_x_z = tfd.Independent(tfd.Binomial(total_count=float(n), logits=decode(z)), 1)
    logpx_z = tf.reshape(p_x_z.log_prob(counts), (S, B))
    kl = q_z_x.log_prob(tf.reshape(z, (S, B, L))) - tf.reshape(log_prior(z), (S, B))
    return logpx_z.numpy().mean(axis=0), kl.numpy().mean(axis=0)


# %% solution="iwae_terms"
def iwae_terms(log_w):
    K, B = log_w.shape
    log_w = log_w.astype(np.longdouble)
    log_w, top = log_w - log_w.max(axis=0), log_w.max(axis=0)
    w = np.exp(log_w)
    bound = np.log(w.mean(axis=0))
    others = (1 - np.eye(K)) @ w.astype(float) / (K - 1)  # (K, B), sums without the own weight
    jackknife = K * bound - (K - 1) * np.log(others).mean(axis=0)
    ess = w.sum(axis=0) ** 2 / (w**2).sum(axis=0)
    return [v.astype(float) for v in (bound + top, ess, jackknife + top)]


# %% solution="complete"
def complete(decode, log_py, z, x, missing, seed):
    # first the class, then the sample given the class, then the pixels
    rng = np.random.default_rng([seed, 6])
    a = np.stack([decode(z, c).numpy() for c in range(len(log_py))], axis=1).astype(float)  # (K, C, D)
    seen = np.nan_to_num(x)
    each = np.tensordot(seen, a * ~missing, axes=(1, 2)) - (np.logaddexp(0, a) * ~missing).sum(axis=2)
    log_w = each + log_py  # (B, K, C)

    def draw(log_p):
        p = np.cumsum(softmax(log_p.astype(float), axis=1), axis=1)
        return np.minimum(np.sum(p < rng.random((len(p), 1)), axis=1), p.shape[1] - 1)

    rows = np.arange(len(x))
    y = draw(logsumexp(log_w, axis=1))
    k = draw(log_w[rows, :, y])
    p = tf.sigmoid(a[k, y]).numpy()
    full = x.copy()
    full[:, missing] = rng.binomial(1, p[:, missing])
    return full, y.astype(np.int32)


# %% solution="train_vae"
def train_vae(x_train, seed):
    keras.utils.set_random_seed(seed + 100)
    encoder, decoder = build_networks()
    x = keras.Input((64,))
    m, s = keras.ops.split(encoder(x / LEVELS), 2, axis=1)

    class Sample(keras.layers.Layer):
        def call(self, inputs):
            m, s = inputs
            self.add_loss(tf.reduce_mean(tf.reduce_sum((tf.exp(2 * s) + m**2 - 1) / 2 - s, axis=1)))
            return m + tf.exp(s) * tf.random.normal(tf.shape(m))

    model = keras.Model(x, decoder(Sample()([m, s])))

    def minus_logpx_z(counts, a):
        return tf.reduce_sum(LEVELS * tf.nn.softplus(a) - counts * a, axis=1)

    model.compile(keras.optimizers.Adam(0.005), loss=minus_logpx_z, steps_per_execution=12)
    model.fit(x_train, x_train, batch_size=100, epochs=40, verbose=0)
    return [v.numpy() for v in encoder.weights], [v.numpy() for v in decoder.weights]
