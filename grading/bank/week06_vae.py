"""Right and wrong answers to the gaps of Week 6, Other latents, other data."""


# %% right="kl_laplace"
# One image, one sample, one latent at a time, in float64 with plain loops; a hand-written training loop.
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


# %% right="kl_laplace"
# Other algorithms: tfd, tfb, a covariance, cumulative probabilities, a functional model with a loss.
def kl_laplace(mu, log_s, b):
    from tensorflow_probability import distributions as tfd

    q = tfd.MultivariateNormalDiag(mu, np.exp(log_s))
    t = np.linspace(-9, 9, 6001)[:, None, None]  # log p by the trapezoidal rule
    absolute = np.trapezoid(norm.pdf(t) * np.abs(mu + np.exp(log_s) * t), t[:, 0, 0], axis=0)
    return -q.entropy().numpy() + np.sum(np.log(2 * b) + absolute / b, axis=1)


# %% right="kl_laplace"
# TensorFlow in float32 throughout; results are tensors and variables.
def kl_laplace(mu, log_s, b):
    s = tf.exp(log_s)
    t = mu / s
    absolute = s * (
        np.float32(np.sqrt(2 / np.pi)) * tf.exp(-(t**2) / 2) + t * tf.math.erf(t / np.float32(np.sqrt(2)))
    )
    constant = float(0.5 * np.log(2 / np.pi) - 0.5)
    return tf.reduce_sum(tf.math.log(b) - log_s + absolute / b + constant, axis=-1)


# %% wrong="kl_laplace"
# |μ| for the mean of |z|.
def kl_laplace(mu, log_s, b):
    mean_log_q = -0.5 * np.log(2 * np.pi) - log_s - 0.5  # (B, L)
    mean_log_p = -np.log(2 * b) - np.abs(mu) / b  # (B, L)
    return np.sum(mean_log_q - mean_log_p, axis=1)


# %% wrong="kl_laplace"
# One number, the mean over the batch.
# - return np.sum(mean_log_q - mean_log_p, axis=1)
# + return np.mean(np.sum(mean_log_q - mean_log_p, axis=1))


# %% wrong="kl_laplace"
# The mean of log q without its ½ from the squared distance.
# - mean_log_q = -0.5 * np.log(2 * np.pi) - log_s - 0.5  # (B, L)
# + mean_log_q = -0.5 * np.log(2 * np.pi) - log_s  # (B, L)


# %% wrong="kl_laplace"
# log b in place of log 2b.
# - mean_log_p = -np.log(2 * b) - absolute / b  # (B, L)
# + mean_log_p = -np.log(b) - absolute / b  # (B, L)


# %% wrong="kl_laplace"
# Takes log s for s.
# - s = np.exp(log_s)
# + s = np.abs(log_s)


# %% wrong="kl_laplace"
# Takes log s for log s².
def kl_laplace(mu, log_s, b):
    log_s = log_s / 2
    s = np.exp(log_s)
    absolute = s * np.sqrt(2 / np.pi) * np.exp(-(mu**2) / (2 * s**2)) + mu * erf(mu / (s * np.sqrt(2)))
    mean_log_q = -0.5 * np.log(2 * np.pi) - log_s - 0.5  # (B, L)
    mean_log_p = -np.log(2 * b) - absolute / b  # (B, L)
    return np.sum(mean_log_q - mean_log_p, axis=1)


# %% wrong="kl_laplace"
# A mean over the latents.
# - return np.sum(mean_log_q - mean_log_p, axis=1)
# + return np.mean(mean_log_q - mean_log_p, axis=1)


# %% wrong="kl_laplace"
# Forgets log √2π.
# - mean_log_q = -0.5 * np.log(2 * np.pi) - log_s - 0.5  # (B, L)
# + mean_log_q = -log_s - 0.5  # (B, L)


# %% wrong="kl_laplace"
# The negative of the divergence.
# - return np.sum(mean_log_q - mean_log_p, axis=1)
# + return np.sum(mean_log_p - mean_log_q, axis=1)


# %% wrong="kl_laplace"
# The preparation's formula: a standard normal prior.
def kl_laplace(mu, log_s, b):
    s = np.exp(log_s)
    return np.sum((s**2 + mu**2 - 1) / 2 - log_s, axis=1)


# %% wrong="kl_laplace"
# Multiplies by b where it should divide.
# - mean_log_p = -np.log(2 * b) - absolute / b  # (B, L)
# + mean_log_p = -np.log(2 * b) - absolute * b  # (B, L)


# %% right="sample_kumaraswamy"
# One image, one sample, one latent at a time, in float64 with plain loops; a hand-written training loop.
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


# %% right="sample_kumaraswamy"
# Other algorithms: tfd, tfb, a covariance, cumulative probabilities, a functional model with a loss.
def sample_kumaraswamy(log_a, log_b, u):
    from tensorflow_probability import bijectors as tfb

    return tfb.KumaraswamyCDF(tf.exp(log_a), tf.exp(log_b)).inverse(tf.convert_to_tensor(u))


# %% right="sample_kumaraswamy"
# TensorFlow in float32 throughout; results are tensors and variables.
def sample_kumaraswamy(log_a, log_b, u):
    inner = tf.math.log1p(-u) * tf.exp(-log_b)  # log (1 − z^a)
    return tf.exp(tf.math.log(-tf.math.expm1(inner)) * tf.exp(-log_a))


# %% wrong="sample_kumaraswamy"
# The gradient reaches log a only.
# - a, b = tf.exp(log_a), tf.exp(log_b)
# + a, b = tf.exp(log_a), tf.stop_gradient(tf.exp(log_b))


# %% wrong="sample_kumaraswamy"
# Makes constants of the parameters.
# - a, b = tf.exp(log_a), tf.exp(log_b)
# + a, b = tf.exp(tf.constant(np.asarray(log_a))), tf.exp(tf.constant(np.asarray(log_b)))


# %% wrong="sample_kumaraswamy"
# Raises to b and a, not to 1 / b and 1 / a.
# - return (1 - (1 - u) ** (1 / b)) ** (1 / a)
# + return (1 - (1 - u) ** b) ** a


# %% wrong="sample_kumaraswamy"
# Takes log a and log b for a and b.
# - a, b = tf.exp(log_a), tf.exp(log_b)
# + a, b = log_a, log_b


# %% wrong="sample_kumaraswamy"
# Returns F(u), not its inverse.
# - return (1 - (1 - u) ** (1 / b)) ** (1 / a)
# + return 1 - (1 - u**a) ** b


# %% wrong="sample_kumaraswamy"
# Computes with NumPy, so that no gradient flows.
# - a, b = tf.exp(log_a), tf.exp(log_b)
# + a, b = np.exp(log_a), np.exp(log_b)


# %% wrong="sample_kumaraswamy"
# F(z) = 1 − u: the right distribution, but not the z that was asked for.
# - return (1 - (1 - u) ** (1 / b)) ** (1 / a)
# + return (1 - u ** (1 / b)) ** (1 / a)


# %% wrong="sample_kumaraswamy"
# a and b change places.
# - return (1 - (1 - u) ** (1 / b)) ** (1 / a)
# + return (1 - (1 - u) ** (1 / a)) ** (1 / b)


# %% right="score_gradient"
# One image, one sample, one latent at a time, in float64 with plain loops; a hand-written training loop.
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


# %% right="score_gradient"
# Other algorithms: tfd, tfb, a covariance, cumulative probabilities, a functional model with a loss.
def score_gradient(log_joint, logits, u):
    p = tf.sigmoid(logits).numpy()
    z = u < p
    f = log_joint(z.astype(np.float64)).numpy()
    f = f + np.where(z, np.logaddexp(0, -logits), np.logaddexp(0, logits)).sum(axis=-1)
    f = f - f.mean(axis=0)
    return np.einsum("kb,kbl->bl", f, z.astype(float)) / (len(u) - 1)  # a covariance


# %% right="score_gradient"
# TensorFlow in float32 throughout; results are tensors and variables.
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


# %% wrong="score_gradient"
# The baseline is a mean over the batch, not over the samples.
# - K = len(u)
#
# - others = (f.sum(axis=0) - f) / (K - 1)
# + others = np.mean(f, axis=1, keepdims=True)


# %% wrong="score_gradient"
# The derivative of log q by the probability, not by the logit.
# - return np.mean((f - others)[:, :, None] * (z - p), axis=0)
# + return np.mean((f - others)[:, :, None] * ((z - p) / np.maximum(p * (1 - p), 1e-9)), axis=0)


# %% wrong="score_gradient"
# The sum of the K − 1 others is divided by K.
# - others = (f.sum(axis=0) - f) / (K - 1)
# + others = (f.sum(axis=0) - f) / K


# %% wrong="score_gradient"
# log(1 − p) where p rounds to 1.
# - log_q = np.sum(-np.logaddexp(0, np.where(z == 1, -logits, logits)), axis=2)  # (K, B)
# + log_q = np.sum(z * np.log(p) + (1 - z) * np.log(1 - p), axis=2)  # (K, B)


# %% wrong="score_gradient"
# The baseline holds the own value: the gradient shrinks by (K − 1) / K.
# - K = len(u)
#
# - others = (f.sum(axis=0) - f) / (K - 1)
# + others = f.mean(axis=0)


# %% wrong="score_gradient"
# No baseline: unbiased, but not what was asked for, and noisier.
# - K = len(u)
#
# - others = (f.sum(axis=0) - f) / (K - 1)
# - return np.mean((f - others)[:, :, None] * (z - p), axis=0)
# + return np.mean(f[:, :, None] * (z - p), axis=0)


# %% wrong="score_gradient"
# f is log p(x, z) alone, without − log q.
# - log_q = np.sum(-np.logaddexp(0, np.where(z == 1, -logits, logits)), axis=2)  # (K, B)
# - f = log_joint(z).numpy() - log_q
# + f = log_joint(z).numpy()


# %% wrong="score_gradient"
# p − z: the gradient points downhill.
# - return np.mean((f - others)[:, :, None] * (z - p), axis=0)
# + return np.mean((f - others)[:, :, None] * (p - z), axis=0)


# %% wrong="score_gradient"
# A sum over the samples in place of the mean.
# - return np.mean((f - others)[:, :, None] * (z - p), axis=0)
# + return np.sum((f - others)[:, :, None] * (z - p), axis=0)


# %% wrong="score_gradient"
# A tape that also differentiates f: the product rule adds −log q ∇ log q, whose mean is not 0.
def score_gradient(log_joint, logits, u):
    K, logits = len(u), tf.constant(logits)
    z = tf.cast(u < tf.sigmoid(logits), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_q = tf.reduce_sum(-tf.nn.softplus((1 - 2 * z) * logits), axis=2)  # (K, B)
        f = log_joint(z) - log_q
        others = (tf.reduce_sum(f, axis=0) - f) / (K - 1)
        surrogate = tf.reduce_sum((f - others) * log_q) / K
    return tape.gradient(surrogate, logits)


# %% wrong="score_gradient"
# z is 1 where u > p.
# - z = (u < p).astype(np.float32)  # (K, B, L)
# + z = (u > p).astype(np.float32)  # (K, B, L)


# %% wrong="score_gradient"
# z stays an array of bools, which no network takes.
# - z = (u < p).astype(np.float32)  # (K, B, L)
# + z = u < p


# %% wrong="score_gradient"
# z stays an array of ints, which no network takes.
# - z = (u < p).astype(np.float32)  # (K, B, L)
# + z = (u < p).astype(int)


# %% right="elbo_terms"
# One image, one sample, one latent at a time, in float64 with plain loops; a hand-written training loop.
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


# %% right="elbo_terms"
# Other algorithms: tfd, tfb, a covariance, cumulative probabilities, a functional model with a loss.
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


# %% right="elbo_terms"
# TensorFlow in float32 throughout; results are tensors and variables.
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


# %% wrong="elbo_terms"
# The Bernoulli likelihood: 1 − x in place of n − x.
# - logpx_z = tf.reduce_sum(log_choose + x * logits - n * tf.nn.softplus(logits), axis=2)
# + logpx_z = tf.reduce_sum(log_choose + x * logits - tf.nn.softplus(logits), axis=2)


# %% wrong="elbo_terms"
# Averages the samples before the decoder.
# - logits = decode(z)  # (S, B, D)
# + logits = tf.reduce_mean(
# +     decode(tf.reduce_mean(z, axis=0, keepdims=True)), axis=0, keepdims=True
# + )  # (S, B, D)


# %% wrong="elbo_terms"
# Minus the KL divergence.
# - return tf.reduce_mean(logpx_z, axis=0), tf.reduce_mean(logqz_x - log_prior(z), axis=0)
# + return tf.reduce_mean(logpx_z, axis=0), tf.reduce_mean(log_prior(z) - logqz_x, axis=0)


# %% wrong="elbo_terms"
# The closed form for a standard normal prior.
# - logqz_x = tf.reduce_sum(-(noise**2) / 2 - log_s - float(np.log(2 * np.pi)) / 2, axis=2)
# - return tf.reduce_mean(logpx_z, axis=0), tf.reduce_mean(logqz_x - log_prior(z), axis=0)
# + return tf.reduce_mean(logpx_z, axis=0), tf.reduce_sum((tf.exp(2 * log_s) + mu**2 - 1) / 2 - log_s, axis=1)


# %% wrong="elbo_terms"
# Takes s for the log of the variance.
# - z = mu + tf.exp(log_s) * noise  # (S, B, L)
# + z = mu + tf.exp(log_s / 2) * noise  # (S, B, L)
# - logqz_x = tf.reduce_sum(-(noise**2) / 2 - log_s - float(np.log(2 * np.pi)) / 2, axis=2)
# + logqz_x = tf.reduce_sum(-(noise**2) / 2 - log_s / 2 - float(np.log(2 * np.pi)) / 2, axis=2)


# %% wrong="elbo_terms"
# log σ(a) from σ(a), which rounds to 0 and 1.
# - logpx_z = tf.reduce_sum(log_choose + x * logits - n * tf.nn.softplus(logits), axis=2)
# + logpx_z = tf.reduce_sum(
# +     log_choose + x * tf.math.log(tf.sigmoid(logits)) + (n - x) * tf.math.log(1 - tf.sigmoid(logits)),
# +     axis=2,
# + )


# %% wrong="elbo_terms"
# Leaves out the binomial coefficient.
# - log_choose = gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1)
# - logpx_z = tf.reduce_sum(log_choose + x * logits - n * tf.nn.softplus(logits), axis=2)
# + logpx_z = tf.reduce_sum(x * logits - n * tf.nn.softplus(logits), axis=2)


# %% wrong="elbo_terms"
# log q without its constant.
# - logqz_x = tf.reduce_sum(-(noise**2) / 2 - log_s - float(np.log(2 * np.pi)) / 2, axis=2)
# + logqz_x = tf.reduce_sum(-(noise**2) / 2 - log_s, axis=2)


# %% wrong="elbo_terms"
# log q without − s.
# - logqz_x = tf.reduce_sum(-(noise**2) / 2 - log_s - float(np.log(2 * np.pi)) / 2, axis=2)
# + logqz_x = tf.reduce_sum(-(noise**2) / 2 - float(np.log(2 * np.pi)) / 2, axis=2)


# %% wrong="elbo_terms"
# A mean over the pixels, not a sum.
# - logpx_z = tf.reduce_sum(log_choose + x * logits - n * tf.nn.softplus(logits), axis=2)
# + logpx_z = tf.reduce_mean(log_choose + x * logits - n * tf.nn.softplus(logits), axis=2)


# %% wrong="elbo_terms"
# Sums over the samples.
# - return tf.reduce_mean(logpx_z, axis=0), tf.reduce_mean(logqz_x - log_prior(z), axis=0)
# + return tf.reduce_sum(logpx_z, axis=0), tf.reduce_sum(logqz_x - log_prior(z), axis=0)


# %% right="iwae_terms"
# One image, one sample, one latent at a time, in float64 with plain loops; a hand-written training loop.
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


# %% right="iwae_terms"
# Other algorithms: tfd, tfb, a covariance, cumulative probabilities, a functional model with a loss.
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


# %% right="iwae_terms"
# TensorFlow in float32 throughout; results are tensors and variables.
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


# %% wrong="iwae_terms"
# The effective sample size upside down.
# - ess = np.exp(2 * logsumexp(log_w, axis=0) - logsumexp(2 * log_w, axis=0))
# + ess = np.exp(logsumexp(2 * log_w, axis=0) - 2 * logsumexp(log_w, axis=0))


# %% wrong="iwae_terms"
# The sum of the weights is not squared.
# - ess = np.exp(2 * logsumexp(log_w, axis=0) - logsumexp(2 * log_w, axis=0))
# + ess = np.exp(logsumexp(log_w, axis=0) - logsumexp(2 * log_w, axis=0))


# %% wrong="iwae_terms"
# Exponentials of the log-weights as they are.
# - bound = logsumexp(log_w, axis=0) - np.log(K)
# + bound = np.log(np.exp(log_w).mean(axis=0))


# %% wrong="iwae_terms"
# L_−k divided by K, not by K − 1.
# - left_out = [logsumexp(np.delete(log_w, k, axis=0), axis=0) - np.log(K - 1) for k in range(K)]
# + left_out = [logsumexp(np.delete(log_w, k, axis=0), axis=0) - np.log(K) for k in range(K)]


# %% wrong="iwae_terms"
# Adds the correction with the wrong sign.
# - return bound, ess, K * bound - (K - 1) * np.mean(left_out, axis=0)
# + return bound, ess, bound - (K - 1) * (bound - np.mean(left_out, axis=0))


# %% wrong="iwae_terms"
# The sum of the others as the sum of all minus the own weight.
# - left_out = [logsumexp(np.delete(log_w, k, axis=0), axis=0) - np.log(K - 1) for k in range(K)]
# + left_out = [
# +     log_w.max(axis=0)
# +     + np.log(
# +         np.maximum(np.exp(log_w - log_w.max(axis=0)).sum(axis=0) - np.exp(w - log_w.max(axis=0)), 1e-300)
# +         / (K - 1)
# +     )
# +     for w in log_w
# + ]


# %% wrong="iwae_terms"
# The sum of the L_−k in place of their mean.
# - return bound, ess, K * bound - (K - 1) * np.mean(left_out, axis=0)
# + return bound, ess, K * bound - (K - 1) * np.sum(left_out, axis=0)


# %% wrong="iwae_terms"
# K and K − 1 change places.
# - return bound, ess, K * bound - (K - 1) * np.mean(left_out, axis=0)
# + return bound, ess, (K - 1) * bound - K * np.mean(left_out, axis=0)


# %% wrong="iwae_terms"
# The mean of the log-weights: the ELBO.
# - bound = logsumexp(log_w, axis=0) - np.log(K)
# + bound = log_w.mean(axis=0)


# %% wrong="iwae_terms"
# The sum of the weights, not their mean.
# - bound = logsumexp(log_w, axis=0) - np.log(K)
# + bound = logsumexp(log_w, axis=0)


# %% wrong="iwae_terms"
# Sums over the batch.
def iwae_terms(log_w):
    log_w = log_w.T
    K = len(log_w)
    log_w = log_w.astype(float)
    bound = logsumexp(log_w, axis=0) - np.log(K)
    ess = np.exp(2 * logsumexp(log_w, axis=0) - logsumexp(2 * log_w, axis=0))
    left_out = [logsumexp(np.delete(log_w, k, axis=0), axis=0) - np.log(K - 1) for k in range(K)]
    return bound, ess, K * bound - (K - 1) * np.mean(left_out, axis=0)


# %% right="complete"
# One image, one sample, one latent at a time, in float64 with plain loops; a hand-written training loop.
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


# %% right="complete"
# Other algorithms: tfd, tfb, a covariance, cumulative probabilities, a functional model with a loss.
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


# %% right="complete"
# TensorFlow in float32 throughout; results are tensors and variables.
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


# %% wrong="complete"
# The most probable pair in place of a drawn one.
# - pair = np.argmax(log_w + rng.gumbel(size=log_w.shape), axis=1)  # (B,)
# + pair = np.argmax(log_w, axis=1)  # (B,)


# %% wrong="complete"
# Ignores the seed.
# - rng = np.random.default_rng(seed)
# + rng = np.random.default_rng(0)


# %% wrong="complete"
# Ignores the known pixels.
# - log_w = ones + zeros + np.repeat(log_py, K)
# + log_w = 0 * (ones + zeros) + np.repeat(log_py, K)


# %% wrong="complete"
# The class from one pair, the sample from another, drawn independently: they do not belong together.
# - pair = np.argmax(log_w + rng.gumbel(size=log_w.shape), axis=1)  # (B,)
# - p = (1 + np.tanh(logits[pair] / 2)) / 2  # (B, D)
# - return np.where(missing, rng.random(p.shape) < p, x), pair // K
# + y = np.argmax(log_w + rng.gumbel(size=log_w.shape), axis=1) // K  # (B,)
# + k = np.argmax(log_w + rng.gumbel(size=log_w.shape), axis=1) % K  # (B,)
# + p = (1 + np.tanh(logits[y * K + k] / 2)) / 2  # (B, D)
# + return np.where(missing, rng.random(p.shape) < p, x), y


# %% wrong="complete"
# Logarithms of rounded probabilities: 0 · log 0 is NaN where a sigmoid rounds to 1.
def complete(decode, log_py, z, x, missing, seed):
    rng = np.random.default_rng(seed)
    K = len(z)
    logits = np.concatenate([decode(z, c).numpy() for c in range(len(log_py))])  # (C K, D)
    p = 1 / (1 + np.exp(-logits))
    known = x[:, ~missing]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_w = known @ np.log(p[:, ~missing]).T + (1 - known) @ np.log(1 - p[:, ~missing]).T
    log_w = log_w + np.repeat(log_py, K)
    pair = np.argmax(log_w + rng.gumbel(size=log_w.shape), axis=1)  # (B,)
    return np.where(missing, rng.random(x.shape) < p[pair], x), pair // K


# %% wrong="complete"
# Each missing pixel from its mean over all pairs: pixels do not fit each other.
# - p = (1 + np.tanh(logits[pair] / 2)) / 2  # (B, D)
# + p = softmax(log_w, axis=1) @ ((1 + np.tanh(logits / 2)) / 2)


# %% wrong="complete"
# Counts missing pixels as zeros that were seen.
# - zeros = np.where(missing, 0, x == 0) @ -np.logaddexp(0, logits).T
# + zeros = np.where(missing, 1, x == 0) @ -np.logaddexp(0, logits).T


# %% wrong="complete"
# Masks by a product, which leaves NaN where it was.
def complete(decode, log_py, z, x, missing, seed):
    rng = np.random.default_rng(seed)
    K = len(z)
    logits = np.concatenate([decode(z, c).numpy() for c in range(len(log_py))])  # (C K, D)
    known, a = x * ~missing, logits * ~missing
    with np.errstate(invalid="ignore"):
        log_w = -known @ np.logaddexp(0, -a).T - (1 - known) @ np.logaddexp(0, a).T + np.repeat(log_py, K)
    pair = np.argmax(log_w + rng.gumbel(size=log_w.shape), axis=1)  # (B,)
    p = (1 + np.tanh(logits[pair] / 2)) / 2  # (B, D)
    return np.where(missing, rng.random(p.shape) < p, x), pair // K


# %% wrong="complete"
# p(y) is missing in the weights.
# - log_w = ones + zeros + np.repeat(log_py, K)
# + log_w = ones + zeros


# %% wrong="complete"
# One Gumbel vector for the whole batch.
# - pair = np.argmax(log_w + rng.gumbel(size=log_w.shape), axis=1)  # (B,)
# + pair = np.argmax(log_w + rng.gumbel(size=log_w.shape[1]), axis=1)  # (B,)


# %% wrong="complete"
# One uniform number for all pixels of an image.
# - return np.where(missing, rng.random(p.shape) < p, x), pair // K
# + return np.where(missing, rng.random((len(p), 1)) < p, x), pair // K


# %% wrong="complete"
# A new pair for the pixels, not the one that gave the class.
# - p = (1 + np.tanh(logits[pair] / 2)) / 2  # (B, D)
# + other = np.argmax(log_w + rng.gumbel(size=log_w.shape), axis=1)
# + p = (1 + np.tanh(logits[other] / 2)) / 2


# %% wrong="complete"
# One class for an image, but a new sample k, given the class, for each pixel.
# - pair = np.argmax(log_w + rng.gumbel(size=log_w.shape), axis=1)  # (B,)
# - p = (1 + np.tanh(logits[pair] / 2)) / 2  # (B, D)
# - return np.where(missing, rng.random(p.shape) < p, x), pair // K
# + y = np.argmax(log_w + rng.gumbel(size=log_w.shape), axis=1) // K  # (B,)
# + own = np.where(np.arange(C * K) // K == y[:, None], log_w, -np.inf)
# + pairs = [np.argmax(own + rng.gumbel(size=log_w.shape), axis=1) for _ in range(D)]
# + p = np.stack([(1 + np.tanh(logits[pair, i] / 2)) / 2 for i, pair in enumerate(pairs)], axis=1)  # (B, D)
# + return np.where(missing, rng.random(p.shape) < p, x), y


# %% wrong="complete"
# Returns probabilities for the missing pixels.
# - return np.where(missing, rng.random(p.shape) < p, x), pair // K
# + return np.where(missing, p, x), pair // K


# %% wrong="complete"
# Products of probabilities, which underflow.
# - pair = np.argmax(log_w + rng.gumbel(size=log_w.shape), axis=1)  # (B,)
# + pair = np.argmax(
# +     np.log(np.maximum(np.exp(log_w.astype(np.float32)), 1e-38)) + rng.gumbel(size=log_w.shape), axis=1
# + )  # (B,)


# %% wrong="complete"
# Draws the known pixels as well.
# - return np.where(missing, rng.random(p.shape) < p, x), pair // K
# + return (rng.random(p.shape) < p) * 1.0, pair // K


# %% wrong="complete"
# Missing pixels are rounded, not drawn.
# - return np.where(missing, rng.random(p.shape) < p, x), pair // K
# + return np.where(missing, p > 0.5, x), pair // K


# %% wrong="complete"
# Two generators with one seed: the pixels depend on the noise that chose the pair.
# - return np.where(missing, rng.random(p.shape) < p, x), pair // K
# + return np.where(missing, np.random.default_rng(seed).random(p.shape) < p, x), pair // K


# %% wrong="complete"
# The class from the posterior, the sample at random.
# - p = (1 + np.tanh(logits[pair] / 2)) / 2  # (B, D)
# + at_random = pair // K * K + rng.integers(K, size=len(x))
# + p = (1 + np.tanh(logits[at_random] / 2)) / 2


# %% right="train_vae"
# One image, one sample, one latent at a time, in float64 with plain loops; a hand-written training loop.
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


# %% right="train_vae"
# Other algorithms: tfd, tfb, a covariance, cumulative probabilities, a functional model with a loss.
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


# %% right="train_vae"
# TensorFlow in float32 throughout; results are tensors and variables.
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


# %% wrong="train_vae"
# No KL: an autoencoder.
def train_vae(x_train, seed):
    keras.utils.set_random_seed(seed)
    encoder, decoder = build_networks()
    variables = encoder.trainable_variables + decoder.trainable_variables
    steps, B = 440, 100
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(variables)
    data = tf.constant(x_train)

    @tf.function
    def run():
        for _ in tf.range(steps):
            x = tf.gather(data, tf.random.uniform((B,), maxval=len(x_train), dtype=tf.int32))
            with tf.GradientTape() as tape:
                m, s = tf.split(encoder(x / LEVELS), 2, axis=1)
                a = decoder(m + tf.exp(s) * tf.random.normal(tf.shape(m)))
                logpx_z = tf.reduce_sum(x * a - LEVELS * tf.nn.softplus(a), axis=1)
                loss = -tf.reduce_mean(logpx_z)
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    run()
    return encoder.get_weights(), decoder.get_weights()


# %% wrong="train_vae"
# Adam's default rate, 0.001: too slow for 40 epochs.
def train_vae(x_train, seed):
    keras.utils.set_random_seed(seed)
    encoder, decoder = build_networks()
    variables = encoder.trainable_variables + decoder.trainable_variables
    steps, B = 440, 100
    optimizer = keras.optimizers.Adam()
    optimizer.build(variables)
    data = tf.constant(x_train)

    @tf.function
    def run():
        for _ in tf.range(steps):
            x = tf.gather(data, tf.random.uniform((B,), maxval=len(x_train), dtype=tf.int32))
            with tf.GradientTape() as tape:
                m, s = tf.split(encoder(x / LEVELS), 2, axis=1)
                a = decoder(m + tf.exp(s) * tf.random.normal(tf.shape(m)))
                logpx_z = tf.reduce_sum(x * a - LEVELS * tf.nn.softplus(a), axis=1)
                kl = tf.reduce_sum((tf.exp(2 * s) + m**2 - 1) / 2 - s, axis=1)
                loss = tf.reduce_mean(kl - logpx_z)
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    run()
    return encoder.get_weights(), decoder.get_weights()


# %% wrong="train_vae"
# Stops after three epochs.
def train_vae(x_train, seed):
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    encoder, decoder = build_networks()
    variables = encoder.trainable_variables + decoder.trainable_variables
    steps, B = 40, 100
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.007, steps))
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


# %% wrong="train_vae"
# KL is added to the ELBO.
def train_vae(x_train, seed):
    keras.utils.set_random_seed(seed)
    encoder, decoder = build_networks()
    variables = encoder.trainable_variables + decoder.trainable_variables
    steps, B = 440, 100
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(variables)
    data = tf.constant(x_train)

    @tf.function
    def run():
        for _ in tf.range(steps):
            x = tf.gather(data, tf.random.uniform((B,), maxval=len(x_train), dtype=tf.int32))
            with tf.GradientTape() as tape:
                m, s = tf.split(encoder(x / LEVELS), 2, axis=1)
                a = decoder(m + tf.exp(s) * tf.random.normal(tf.shape(m)))
                logpx_z = tf.reduce_sum(x * a - LEVELS * tf.nn.softplus(a), axis=1)
                kl = tf.reduce_sum((tf.exp(2 * s) + m**2 - 1) / 2 - s, axis=1)
                loss = -tf.reduce_mean(logpx_z + kl)
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    run()
    return encoder.get_weights(), decoder.get_weights()


# %% wrong="train_vae"
# KL is a mean over the latents, not a sum: β = 1/8.
def train_vae(x_train, seed):
    keras.utils.set_random_seed(seed)
    encoder, decoder = build_networks()
    variables = encoder.trainable_variables + decoder.trainable_variables
    steps, B = 440, 100
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(variables)
    data = tf.constant(x_train)

    @tf.function
    def run():
        for _ in tf.range(steps):
            x = tf.gather(data, tf.random.uniform((B,), maxval=len(x_train), dtype=tf.int32))
            with tf.GradientTape() as tape:
                m, s = tf.split(encoder(x / LEVELS), 2, axis=1)
                a = decoder(m + tf.exp(s) * tf.random.normal(tf.shape(m)))
                logpx_z = tf.reduce_sum(x * a - LEVELS * tf.nn.softplus(a), axis=1)
                kl = tf.reduce_mean((tf.exp(2 * s) + m**2 - 1) / 2 - s, axis=1)
                loss = tf.reduce_mean(kl - logpx_z)
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    run()
    return encoder.get_weights(), decoder.get_weights()


# %% wrong="train_vae"
# The likelihood of one draw, not of 16.
def train_vae(x_train, seed):
    keras.utils.set_random_seed(seed)
    encoder, decoder = build_networks()
    variables = encoder.trainable_variables + decoder.trainable_variables
    steps, B = 440, 100
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(variables)
    data = tf.constant(x_train)

    @tf.function
    def run():
        for _ in tf.range(steps):
            x = tf.gather(data, tf.random.uniform((B,), maxval=len(x_train), dtype=tf.int32))
            with tf.GradientTape() as tape:
                m, s = tf.split(encoder(x / LEVELS), 2, axis=1)
                a = decoder(m + tf.exp(s) * tf.random.normal(tf.shape(m)))
                logpx_z = tf.reduce_sum(x / LEVELS * a - tf.nn.softplus(a), axis=1)
                kl = tf.reduce_sum((tf.exp(2 * s) + m**2 - 1) / 2 - s, axis=1)
                loss = tf.reduce_mean(kl - logpx_z)
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    run()
    return encoder.get_weights(), decoder.get_weights()


# %% wrong="train_vae"
# Returns the decoder first.
def train_vae(x_train, seed):
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    encoder, decoder = build_networks()
    variables = encoder.trainable_variables + decoder.trainable_variables
    steps, B = 1, 100
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.007, steps))
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
    return decoder.get_weights(), encoder.get_weights()
