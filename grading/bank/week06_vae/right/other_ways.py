"""Other algorithms: tfd, tfb, a covariance, sums of logarithms, a functional model with a loss."""


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


# %% solution="complete"
def complete(log_prior, logits, x, u_candidate, u_pixels):
    from tensorflow_probability import distributions as tfd

    pixels = tfd.Bernoulli(logits=logits.astype(float))
    each = pixels.log_prob(np.nan_to_num(x)[:, None]).numpy()  # (B, M, D)
    log_w = log_prior + np.sum(each, axis=2, where=~np.isnan(x)[:, None])
    log_total = logsumexp(log_w, axis=1)
    ess = np.exp(2 * log_total - logsumexp(2 * log_w, axis=1))
    log_share = np.logaddexp.accumulate(log_w, axis=1) - log_total[:, None]
    full = x.copy()
    for b, row in enumerate(log_share):
        m = min(np.searchsorted(row, np.log(u_candidate[b]), side="right"), len(row) - 1)
        missing = np.isnan(x[b])
        full[b, missing] = u_pixels[b, missing] < pixels.probs_parameter().numpy()[m, missing]
    return full.astype(int), ess


# %% solution="train_vae"
def train_vae(x_train, x_validation, seed):
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

    model.compile(keras.optimizers.Adam(0.01), loss=minus_logpx_z, steps_per_execution=12)
    validation = (x_validation, x_validation)
    model.fit(x_train, x_train, validation_data=validation, batch_size=100, epochs=50, verbose=0)
    return [v.numpy() for v in encoder.weights], [v.numpy() for v in decoder.weights]
