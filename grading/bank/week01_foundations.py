"""Right and wrong answers to the gaps of Week 1, mixtures for grey images with holes."""


# %% right="bits_per_pixel"
# Python loops over images, components and pixels; plain numbers and lists.
def bits_per_pixel(x, pi, mu, G):
    result = []
    for image in x:
        logs = []
        for share, probabilities in zip(pi, mu, strict=False):
            total = math.log(share)
            for level, m in zip(image, probabilities, strict=False):
                level, m = int(level), float(m)
                total += math.log(math.comb(G, level))
                if level > 0:
                    total += level * math.log(m) if m > 0 else -math.inf
                if level < G:
                    total += (G - level) * math.log(1 - m) if m < 1 else -math.inf
            logs.append(total)
        top = max(logs)
        nats = top + math.log(sum(math.exp(value - top) for value in logs))
        result.append(-nats / math.log(2) / len(image))
    return result


# %% right="bits_per_pixel"
# Other ways to the same: SciPy and TFP, tables, log-odds, uniforms first, order statistics.
def bits_per_pixel(x, pi, mu, G):
    log_px_z = binom.logpmf(x[:, None, :], G, mu.astype(float)[None]).sum(axis=-1)
    return logsumexp(log_px_z, b=pi, axis=1) / -np.log(2) / x.shape[1]


# %% right="bits_per_pixel"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, EM steps as one graph. Returns tensors
# where the reference returns arrays.
def bits_per_pixel(x, pi, mu, G):
    x = tf.constant(x)[:, None, :]
    G = tf.constant(float(G))
    choices = tf.math.lgamma(G + 1) - tf.math.lgamma(x + 1) - tf.math.lgamma(G - x + 1)
    terms = choices + tf.math.xlogy(x, mu) + tf.math.xlog1py(G - x, -mu)  # (B, K, D)
    log_px = tf.reduce_logsumexp(tf.reduce_sum(terms, axis=2) + tf.math.log(pi), axis=1)
    return -log_px / tf.math.log(2.0) / x.shape[2]


# %% right="bits_per_pixel"
# TensorFlow Probability draws and scores, its seeds being pairs; a loop with rng.choice; np.partition.
def bits_per_pixel(x, pi, mu, G):
    import tensorflow_probability as tfp

    tfd = tfp.distributions
    parts = tfd.Independent(tfd.Binomial(float(G), probs=mu), 1)
    p = tfd.MixtureSameFamily(tfd.Categorical(probs=pi), parts)
    return -p.log_prob(x) / (np.log(2) * x.shape[1])


# %% wrong="bits_per_pixel"
# The best component in place of the sum over components.
# - log_px = logsumexp(np.log(pi) + log_px_z, axis=1)
# + log_px = np.max(np.log(pi) + log_px_z, axis=1)


# %% wrong="bits_per_pixel"
# Clips mu to [0.01, 0.99]: a component is never certain.
# - x, mu = x[:, None].astype(float), mu.astype(float)  # (B, 1, D), (K, D)
# + x, mu = x[:, None].astype(float), np.clip(mu.astype(float), 0.01, 0.99)


# %% wrong="bits_per_pixel"
# The mean of log p(x | z) over components, not the logarithm of the mean.
# - log_px = logsumexp(np.log(pi) + log_px_z, axis=1)
# + log_px = np.maximum(log_px_z @ pi, -1e6)


# %% wrong="bits_per_pixel"
# Clips mu to [1e-7, 1 − 1e-7]: a certain component that is wrong still wins where it suits the other
# pixels.
# - x, mu = x[:, None].astype(float), mu.astype(float)  # (B, 1, D), (K, D)
# + x, mu = x[:, None].astype(float), np.clip(mu.astype(float), 1e-7, 1 - 1e-7)


# %% wrong="bits_per_pixel"
# Multiplies probabilities and takes the logarithm at the end.
def bits_per_pixel(x, pi, mu, G):
    return -np.log2(p_x_z(x, mu, G) @ pi) / x.shape[1]


# %% wrong="bits_per_pixel"
# 0 · log 0 becomes NaN.
# - log_px_z = np.sum(xlogy(x, mu) + xlog1py(G - x, -mu), axis=2)  # (B, K)
# + log_px_z = np.sum(x * np.log(mu) + (G - x) * np.log1p(-mu), axis=2)


# %% wrong="bits_per_pixel"
# Clips mu to [1e-300, 1 − 1e-16]: a wrong pixel has a price that a far better fit elsewhere pays.
# - x, mu = x[:, None].astype(float), mu.astype(float)  # (B, 1, D), (K, D)
# + x, mu = x[:, None].astype(float), np.clip(mu.astype(float), 1e-300, 1 - 1e-16)


# %% wrong="bits_per_pixel"
# −10⁴ nats in place of log 0.
def bits_per_pixel(x, pi, mu, G):
    log_px_z = np.maximum(binom.logpmf(x[:, None], G, mu.astype(float)), -1e4).sum(axis=2)
    return -logsumexp(np.log(pi) + log_px_z, axis=1) / np.log(2) / x.shape[1]


# %% wrong="bits_per_pixel"
# The sum over components for small images, the best one for large.
def bits_per_pixel(x, pi, mu, G):
    log_px_z = binom.logpmf(x[:, None], G, mu.astype(float)).sum(axis=2) + np.log(pi)
    log_px = logsumexp(log_px_z, axis=1) if x.shape[1] < 50 else log_px_z.max(axis=1)
    return -log_px / np.log(2) / x.shape[1]


# %% equivalent="bits_per_pixel"
# No image has the level G + 1.
# - log_choices = np.log([math.comb(G, level) for level in range(G + 1)])
# + log_choices = np.log([math.comb(G, level) for level in range(G + 2)])


# %% right="responsibilities"
# Python loops over images, components and pixels; plain numbers and lists.
def responsibilities(x, pi, mu, G):
    result = np.zeros((len(x), len(pi)))
    for n, image in enumerate(x):
        log_w = np.log(pi.astype(float))
        for d, level in enumerate(image):
            if np.isnan(level):
                continue
            log_w += binom.logpmf(level, G, mu[:, d].astype(float))
        w = np.exp(log_w - log_w.max())
        result[n] = w / w.sum()
    return result


# %% right="responsibilities"
# Other ways to the same: SciPy and TFP, tables, log-odds, uniforms first, order statistics.
def responsibilities(x, pi, mu, G):
    # a table of log Bin for all levels and a last row of zeros for "missing"
    levels = np.arange(G + 1)[:, None, None]
    table = np.concatenate([binom.logpmf(levels, G, mu.astype(float)), np.zeros((1, *mu.shape))])
    index = np.where(np.isnan(x), G + 1, np.nan_to_num(x)).astype(int)  # (B, D)
    log_px_z = table[index[:, None, :], np.arange(len(mu))[:, None], np.arange(mu.shape[1])].sum(axis=2)
    joint = log_px_z + np.log(pi)
    return tf.nn.softmax(tf.constant(joint))


# %% right="responsibilities"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, EM steps as one graph. Returns tensors
# where the reference returns arrays.
def responsibilities(x, pi, mu, G):
    missing = tf.math.is_nan(x)
    black = tf.where(missing, tf.zeros_like(x), x)
    white = tf.where(missing, tf.zeros_like(x), G - x)
    log_w = tf.math.log(pi) + tf.matmul(black, tf.math.log(mu), transpose_b=True)
    return tf.nn.softmax(log_w + tf.matmul(white, tf.math.log1p(-mu), transpose_b=True), axis=1)


# %% right="responsibilities"
# TensorFlow Probability draws and scores, its seeds being pairs; a loop with rng.choice; np.partition.
def responsibilities(x, pi, mu, G):
    r = []
    for image in x:
        known = ~np.isnan(image)  # leaves the holes out, in place of a stand-in for them
        log_w = np.log(pi) + binom.logpmf(image[known], G, mu[:, known].astype(float)).sum(axis=1)
        r.append(np.exp(log_w - logsumexp(log_w)))
    return np.stack(r)


# %% wrong="responsibilities"
# Adds a small number against underflow: large images get equal shares or none.
# - return np.exp(log_w - logsumexp(log_w, axis=1, keepdims=True))
# + return (np.exp(log_w) + 1e-30) / (np.exp(log_w) + 1e-30).sum(axis=1, keepdims=True)


# %% wrong="responsibilities"
# The best component takes all, as in k-means.
# - return np.exp(log_w - logsumexp(log_w, axis=1, keepdims=True))
# + return np.eye(len(pi))[np.argmax(log_w, axis=1)]


# %% wrong="responsibilities"
# Fills a hole with the mean under each component and counts it as seen.
def responsibilities(x, pi, mu, G):
    filled = np.where(np.isnan(x)[:, None], G * mu, x[:, None])
    log_w = np.log(pi) + np.sum(filled * np.log(mu) + (G - filled) * np.log1p(-mu), axis=2)
    return np.exp(log_w - logsumexp(log_w, axis=1, keepdims=True))


# %% wrong="responsibilities"
# Multiplies by a mask: NaN · 0 is NaN.
def responsibilities(x, pi, mu, G):
    known = ~np.isnan(x)
    log_w = np.log(pi) + (x * known) @ np.log(mu).T + ((G - x) * known) @ np.log1p(-mu).T
    return np.exp(log_w - logsumexp(log_w, axis=1, keepdims=True))


# %% wrong="responsibilities"
# Normalises over the images of the batch, not over the components.
# - return np.exp(log_w - logsumexp(log_w, axis=1, keepdims=True))
# + return np.exp(log_w - logsumexp(log_w, axis=0))


# %% wrong="responsibilities"
# Exponentiates before normalising: 0 / 0 for large images.
# - return np.exp(log_w - logsumexp(log_w, axis=1, keepdims=True))
# + return np.exp(log_w) / np.exp(log_w).sum(axis=1, keepdims=True)


# %% wrong="responsibilities"
# A product of ratios to the best component of each pixel underflows where components differ in many pixels.
def responsibilities(x, pi, mu, G):
    p = binom.pmf(np.nan_to_num(x)[:, None], G, mu.astype(float))
    w = pi * np.where(np.isnan(x)[:, None], 1, p / p.max(axis=1, keepdims=True)).prod(axis=2)
    return w / w.sum(axis=1, keepdims=True)


# %% wrong="responsibilities"
# Shifts by the mean over components, not by the largest: exp overflows.
# - return np.exp(log_w - logsumexp(log_w, axis=1, keepdims=True))
# + w = np.exp(log_w - log_w.mean(axis=1, keepdims=True))
# + return w / w.sum(axis=1, keepdims=True)


# %% right="m_step"
# Python loops over images, components and pixels; plain numbers and lists.
def m_step(x, r, a, G):
    N, D = x.shape
    K = r.shape[1]
    pi = [float(sum(r[n, k] for n in range(N)) / N) for k in range(K)]
    mu = np.zeros((K, D))
    for k in range(K):
        for d in range(D):
            black, white = a, a
            for n in range(N):
                if x[n, d] == x[n, d]:  # NaN is not equal to itself
                    black += float(r[n, k]) * float(x[n, d])
                    white += float(r[n, k]) * float(G - x[n, d])
            mu[k, d] = black / (black + white)
    return pi, mu


# %% right="m_step"
# Other ways to the same: SciPy and TFP, tables, log-odds, uniforms first, order statistics.
def m_step(x, r, a, G):
    odds = np.einsum("nk,nd->kd", r, np.nan_to_num(x)) + a
    odds = odds / (np.einsum("nk,nd->kd", r, np.nan_to_num(G - x)) + a)
    return np.mean(r, axis=0), odds / (1 + odds)


# %% right="m_step"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, EM steps as one graph. Returns tensors
# where the reference returns arrays.
def m_step(x, r, a, G):
    missing = tf.math.is_nan(x)
    black = tf.matmul(r, tf.where(missing, tf.zeros_like(x), x), transpose_a=True)
    seen = tf.matmul(r, tf.cast(~missing, tf.float32), transpose_a=True)
    return tf.reduce_mean(r, axis=0), (black + a) / (G * seen + 2 * a)


# %% wrong="m_step"
# Divides by the weight of all images, also those in which the pixel is missing.
# - total = G * (r.T @ known)
# + total = G * r.sum(axis=0)[:, None]


# %% wrong="m_step"
# Leaves out the prior, but for a tiny number against 0 / 0.
# - return r.mean(axis=0), (black + a) / (total + 2 * a)
# + return r.mean(axis=0), (black + 1e-9) / (total + 2e-9)


# %% wrong="m_step"
# mu normalised over the components.
# - total = G * (r.T @ known)
# - return r.mean(axis=0), (black + a) / (total + 2 * a)
# + G * (r.T @ known)
# + return r.mean(axis=0), (black + a) / (black + a).sum(axis=0)


# %% wrong="m_step"
# The prior is taken for a images instead of a small pixels.
# - return r.mean(axis=0), (black + a) / (total + 2 * a)
# + return r.mean(axis=0), (black + a * G) / (total + 2 * a * G)


# %% wrong="m_step"
# Smooths pi as well, which J does not say.
# - return r.mean(axis=0), (black + a) / (total + 2 * a)
# + return (r.sum(axis=0) + a) / (len(r) + a * r.shape[1]), (black + a) / (total + 2 * a)


# %% wrong="m_step"
# Clips mu, as the start of gap 6 does, although the prior keeps it away from 0 and 1.
# - return r.mean(axis=0), (black + a) / (total + 2 * a)
# + return r.mean(axis=0), np.clip((black + a) / (total + 2 * a), 0.02, 0.98)


# %% wrong="m_step"
# Clips mu by a thousandth.
# - return r.mean(axis=0), (black + a) / (total + 2 * a)
# + return r.mean(axis=0), np.clip((black + a) / (total + 2 * a), 1e-3, 1 - 1e-3)


# %% right="fill_holes"
# Python loops over images, components and pixels; plain numbers and lists.
def fill_holes(x, r, mu, G, seed):
    import random

    draw = random.Random(seed)
    mu, filled = mu.tolist(), []
    for image, weights in zip(x.tolist(), r.tolist(), strict=False):
        z = draw.choices(range(len(weights)), weights)[0]
        for d, level in enumerate(image):
            if math.isnan(level):
                image[d] = sum(draw.random() < mu[z][d] for _ in range(G))
        filled.append(image)
    return filled


# %% right="fill_holes"
# Other ways to the same: SciPy and TFP, tables, log-odds, uniforms first, order statistics.
def fill_holes(x, r, mu, G, seed):
    rng = np.random.Generator(np.random.MT19937(seed))
    u = rng.random(x.shape)  # pixels first, components after
    v = rng.random(len(x))
    z = [np.searchsorted(np.cumsum(row), t * row.sum()) for row, t in zip(r.astype(float), v, strict=False)]
    z = np.minimum(z, r.shape[1] - 1)
    draws = binom.ppf(u, G, mu[z].astype(float))  # inverse of the distribution function
    return np.where(np.isnan(x), np.clip(draws, 0, G), x).astype(int)


# %% right="fill_holes"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, EM steps as one graph. Returns tensors
# where the reference returns arrays.
def fill_holes(x, r, mu, G, seed):
    rng = tf.random.Generator.from_seed(seed)
    gumbel = -tf.math.log(-tf.math.log(rng.uniform(r.shape, 1e-7, 1 - 1e-7)))
    z = tf.argmax(tf.math.log(r) + gumbel, axis=1)  # log 0 is −inf: never chosen
    p = tf.gather(mu, z)  # (B, D)
    small = tf.cast(rng.uniform([*x.shape, G]) < p[:, :, None], tf.float32)  # the small pixels of each block
    return tf.where(tf.math.is_nan(x), tf.reduce_sum(small, axis=2), x)


# %% right="fill_holes"
# TensorFlow Probability draws and scores, its seeds being pairs; a loop with rng.choice; np.partition.
def fill_holes(x, r, mu, G, seed):
    rng, new = np.random.default_rng(seed), x.copy()
    for row, weights in zip(new, r.astype(float), strict=True):
        holes = np.isnan(row)
        z = rng.choice(len(weights), p=weights / weights.sum())
        row[holes] = rng.binomial(G, mu[z, holes])
    return new


# %% wrong="fill_holes"
# Takes the most probable component, does not draw it.
# - z = draw_index(r, rng)  # (B,), one for each image
# + z = np.argmax(r, axis=1)


# %% wrong="fill_holes"
# Draws z, but then takes the component's rounded mean.
# - return np.where(np.isnan(x), rng.binomial(G, mu[z]), x)
# + return np.where(np.isnan(x), np.round(G * mu[z]), x)


# %% wrong="fill_holes"
# Draws a component for each pixel: right marginals, wrong joint.
# - z = draw_index(r, rng)  # (B,), one for each image
# - return np.where(np.isnan(x), rng.binomial(G, mu[z]), x)
# + z = np.stack([draw_index(r, rng) for _ in range(x.shape[1])], axis=1)  # (B, D)
# + return np.where(np.isnan(x), rng.binomial(G, mu[z, np.arange(x.shape[1])]), x)


# %% wrong="fill_holes"
# Fills in the rounded conditional mean.
# - return np.where(np.isnan(x), rng.binomial(G, mu[z]), x)
# + return np.where(np.isnan(x), np.round(G * r @ mu), x)


# %% wrong="fill_holes"
# Draws from one binomial with the mean of mu over the components.
# - return np.where(np.isnan(x), rng.binomial(G, mu[z]), x)
# + return np.where(np.isnan(x), rng.binomial(G, (r @ mu).clip(0, 1)), x)


# %% wrong="fill_holes"
# One component for the whole batch, drawn from the first image's r.
# - z = draw_index(r, rng)  # (B,), one for each image
# + z = np.full(len(x), rng.choice(r.shape[1], p=r[0].astype(float) / r[0].astype(float).sum()))


# %% wrong="fill_holes"
# Redraws the known pixels as well.
# - return np.where(np.isnan(x), rng.binomial(G, mu[z]), x)
# + return rng.binomial(G, mu[z])


# %% wrong="fill_holes"
# Draws one small pixel for all: levels 0 or G.
# - return np.where(np.isnan(x), rng.binomial(G, mu[z]), x)
# + return np.where(np.isnan(x), G * rng.binomial(1, mu[z]), x)


# %% wrong="fill_holes"
# Ignores the seed.
# - rng = np.random.default_rng(seed)
# + rng = np.random.default_rng(0)


# %% wrong="fill_holes"
# Ignores r: all components alike.
# - z = draw_index(r, rng)  # (B,), one for each image
# + z = rng.integers(r.shape[1], size=len(x))


# %% wrong="fill_holes"
# Fills in the conditional mean.
# - return np.where(np.isnan(x), rng.binomial(G, mu[z]), x)
# + return np.where(np.isnan(x), G * r @ mu, x)


# %% wrong="fill_holes"
# Draws without a seed.
# - rng = np.random.default_rng(seed)
# + rng = np.random.default_rng()


# %% wrong="fill_holes"
# The seed decides the pixels, but not z.
# - z = draw_index(r, rng)  # (B,), one for each image
# + z = draw_index(r, np.random.default_rng(0))


# %% wrong="fill_holes"
# The seed decides z, but not the pixels.
# - return np.where(np.isnan(x), rng.binomial(G, mu[z]), x)
# + return np.where(np.isnan(x), np.random.default_rng(0).binomial(G, mu[z]), x)


# %% right="kl_by_drawing"
# Python loops over images, components and pixels; plain numbers and lists.
def kl_by_drawing(pi_p, mu_p, pi_q, mu_q, G, N, seed):
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(N, pi_p.astype(float) / pi_p.astype(float).sum())  # component by component
    x = np.concatenate([rng.binomial(G, m, (c, len(m))) for c, m in zip(counts, mu_p, strict=False)])
    ratio = np.log((pi_p * p_x_z(x, mu_p, G)).sum(axis=1) / (pi_q * p_x_z(x, mu_q, G)).sum(axis=1))
    return float(np.mean(ratio)), float(np.std(ratio, ddof=1) / math.sqrt(N))


# %% right="kl_by_drawing"
# Other ways to the same: SciPy and TFP, tables, log-odds, uniforms first, order statistics.
def kl_by_drawing(pi_p, mu_p, pi_q, mu_q, G, N, seed):
    import tensorflow_probability as tfp

    tfd = tfp.distributions

    def model(pi, mu):
        parts = tfd.Independent(tfd.Binomial(float(G), probs=tf.constant(mu, tf.float32)), 1)
        return tfd.MixtureSameFamily(tfd.Categorical(probs=pi), parts)

    p, q = model(pi_p, mu_p), model(pi_q, mu_q)
    rng = np.random.default_rng([seed, 5])
    z = np.argmax(np.log(pi_p) + rng.gumbel(size=(N, len(pi_p))), axis=1)
    x = rng.binomial(G, mu_p[z]).astype(np.float32)
    d = (p.log_prob(x) - q.log_prob(x)).numpy().astype(float)
    return np.array([d.mean()])[0], np.sqrt((np.mean(d**2) - d.mean() ** 2) / N)


# %% right="kl_by_drawing"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, EM steps as one graph. Returns tensors
# where the reference returns arrays.
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


# %% right="kl_by_drawing"
# TensorFlow Probability draws and scores, its seeds being pairs; a loop with rng.choice; np.partition.
def kl_by_drawing(pi_p, mu_p, pi_q, mu_q, G, N, seed):
    import tensorflow_probability as tfp

    tfd = tfp.distributions

    def model(pi, mu):
        parts = tfd.Independent(tfd.Binomial(float(G), probs=mu), 1)
        return tfd.MixtureSameFamily(tfd.Categorical(probs=pi), parts)

    p, q = model(pi_p, mu_p), model(pi_q, mu_q)
    x = p.sample(N, seed=[seed, 0])
    ratio = p.log_prob(x) - q.log_prob(x)
    return tf.reduce_mean(ratio), tf.math.reduce_std(ratio) / N**0.5


# %% wrong="kl_by_drawing"
# Takes the absolute value of each log ratio.
# - log_ratio = np.log(p_x_z(x, mu_p, G) @ pi_p) - np.log(p_x_z(x, mu_q, G) @ pi_q)
# + log_ratio = np.abs(np.log(p_x_z(x, mu_p, G) @ pi_p) - np.log(p_x_z(x, mu_q, G) @ pi_q))


# %% wrong="kl_by_drawing"
# In bits, not in nats.
# - log_ratio = np.log(p_x_z(x, mu_p, G) @ pi_p) - np.log(p_x_z(x, mu_q, G) @ pi_q)
# + log_ratio = np.log2(p_x_z(x, mu_p, G) @ pi_p) - np.log2(p_x_z(x, mu_q, G) @ pi_q)


# %% wrong="kl_by_drawing"
# Adds up over all images, nothing is drawn.
def kl_by_drawing(pi_p, mu_p, pi_q, mu_q, G, N, seed):
    x = all_images(mu_p.shape[1], G)
    p, q = p_x_z(x, mu_p, G) @ pi_p, p_x_z(x, mu_q, G) @ pi_q
    d = np.log(p / q)
    return p @ d, np.sqrt((p @ d**2 - (p @ d) ** 2) / N)


# %% wrong="kl_by_drawing"
# Draws from q, not from p.
# - z = draw_index(np.tile(pi_p, (N, 1)), rng)
# - x = rng.binomial(G, mu_p[z])  # (N, D)
# + z = draw_index(np.tile(pi_q, (N, 1)), rng)
# + x = rng.binomial(G, mu_q[z])


# %% wrong="kl_by_drawing"
# Uses p(x | z) of the drawn component in place of p(x).
# - log_ratio = np.log(p_x_z(x, mu_p, G) @ pi_p) - np.log(p_x_z(x, mu_q, G) @ pi_q)
# + p_x = np.take_along_axis(p_x_z(x, mu_p, G), z[:, None], 1)[:, 0]
# + log_ratio = np.log(p_x) - np.log(p_x_z(x, mu_q, G) @ pi_q)


# %% wrong="kl_by_drawing"
# Draws from one binomial with the mean of mu.
# - x = rng.binomial(G, mu_p[z])  # (N, D)
# + x = rng.binomial(G, np.tile((pi_p @ mu_p).clip(0, 1), (N, 1)))


# %% wrong="kl_by_drawing"
# Forgets z: the mean over components of KL between component and q's mean.
def kl_by_drawing(pi_p, mu_p, pi_q, mu_q, G, N, seed):
    rng = np.random.default_rng(seed)
    x = rng.binomial(G, mu_p[rng.integers(len(pi_p), size=N)])
    d = np.log(p_x_z(x, mu_p, G)) @ pi_p - np.log(p_x_z(x, mu_q, G)) @ pi_q
    return d.mean(), d.std() / np.sqrt(N)


# %% wrong="kl_by_drawing"
# Returns KL(q ‖ p), for p and q are exchanged throughout.
# - rng = np.random.default_rng(seed)
# + rng = np.random.default_rng(seed)
# + pi_p, mu_p, pi_q, mu_q = pi_q, mu_q, pi_p, mu_p


# %% wrong="kl_by_drawing"
# Ignores the seed.
# - rng = np.random.default_rng(seed)
# + rng = np.random.default_rng(0)


# %% wrong="kl_by_drawing"
# Returns the variance of the mean, not its root.
# - return log_ratio.mean(), log_ratio.std() / np.sqrt(N)
# + return log_ratio.mean(), log_ratio.var() / N


# %% wrong="kl_by_drawing"
# Weights the log ratios by p(x) although x is drawn from p.
# - log_ratio = np.log(p_x_z(x, mu_p, G) @ pi_p) - np.log(p_x_z(x, mu_q, G) @ pi_q)
# + p_x = p_x_z(x, mu_p, G) @ pi_p
# + log_ratio = p_x * (np.log(p_x) - np.log(p_x_z(x, mu_q, G) @ pi_q))


# %% wrong="kl_by_drawing"
# The exact sum with invented noise of the right size: nothing is drawn.
def kl_by_drawing(pi_p, mu_p, pi_q, mu_q, G, N, seed):
    x, rng = all_images(mu_p.shape[1], G), np.random.default_rng(seed)
    p, q = p_x_z(x, mu_p, G) @ pi_p, p_x_z(x, mu_q, G) @ pi_q
    d = np.log(p / q)
    error = np.sqrt((p @ d**2 - (p @ d) ** 2) / N)
    return p @ d + error * rng.normal(), error * (1 + rng.normal() / np.sqrt(2 * N))


# %% wrong="kl_by_drawing"
# Always 20,000 draws, whatever N says.
# - rng = np.random.default_rng(seed)
# + rng, N = np.random.default_rng(seed), 20_000


# %% right="train_binomials"
# Python loops over images, components and pixels; plain numbers and lists.
def train_binomials(x_train, K, G, seed):
    rng = np.random.default_rng(seed)
    known = ~np.isnan(x_train)
    black = np.where(known, x_train, 0).astype(float)
    r = rng.dirichlet(np.full(K, 0.1), len(x_train))  # starts with an M step from random responsibilities
    for _ in range(60):
        pi = (r.sum(axis=0) + 0.1) / (len(r) + 0.1 * K)
        mu = np.array([(r[:, k] @ black + 0.5) / (G * (r[:, k] @ known) + 1) for k in range(K)])
        log_w = np.log(pi) + black @ np.log(mu / (1 - mu)).T + G * known @ np.log1p(-mu).T
        r = np.exp(log_w - log_w.max(axis=1, keepdims=True))
        r /= r.sum(axis=1, keepdims=True)
    return pi, mu


# %% right="train_binomials"
# Other ways to the same: SciPy and TFP, tables, log-odds, uniforms first, order statistics.
def train_binomials(x_train, K, G, seed):
    """Starts at images of which the holes are filled with ½; a weaker prior; 30 steps."""
    rng = np.random.default_rng(seed)
    black, white = np.nan_to_num(x_train).astype(float), np.nan_to_num(G - x_train).astype(float)
    some = np.sort(rng.permutation(len(x_train))[:K])
    mu, pi = (black[some] + 8) / (black[some] + white[some] + 16), np.full(K, 1 / K)
    for _ in range(30):
        joint = np.log(pi + 1e-300) + black @ np.log(mu).T + white @ np.log(1 - mu).T
        r = np.exp(joint - joint.max(axis=1)[:, None])
        r = r / r.sum(axis=1)[:, None]
        pi, mu = r.mean(axis=0), (r.T @ black + 0.7) / (r.T @ (black + white) + 1.4)
    return pi.astype(np.float32), mu.astype(np.float32)


# %% right="train_binomials"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, EM steps as one graph. Returns tensors
# where the reference returns arrays.
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


# %% wrong="train_binomials"
# Starts all components at the mean image: they stay equal.
# - mean = np.nanmean(x_train, axis=0) / G
# - start = rng.choice(len(x_train), K, replace=False)
# - mu = np.clip(np.where(known[start], (black[start] / G + mean) / 2, mean), 0.02, 0.98)
# + mean = black.sum(axis=0) / (G * np.sum(known, axis=0))
# + rng.choice(len(x_train), K, replace=False)
# + mu = np.tile(np.clip(mean, 0.02, 0.98), (K, 1))
# - for _ in range(40):
# + for _ in range(5):


# %% wrong="train_binomials"
# Fills the holes with each pixel's mean before training.
# - known = ~np.isnan(x_train)
# - black = np.where(known, x_train, 0).astype(float)
# + known = np.ones_like(x_train, bool)
# + black = np.where(np.isnan(x_train), np.nanmean(x_train, axis=0), x_train).astype(float)
# - mean = np.nanmean(x_train, axis=0) / G
# + mean = black.sum(axis=0) / (G * np.sum(known, axis=0))
# - mu = np.clip(np.where(known[start], (black[start] / G + mean) / 2, mean), 0.02, 0.98)
# + mu = np.clip((black[start] / G + mean) / 2, 0.02, 0.98)
# - for _ in range(40):
# + for _ in range(25):


# %% wrong="train_binomials"
# Takes missing pixels for level 0.
# - known = ~np.isnan(x_train)
# - black = np.where(known, x_train, 0).astype(float)
# + known = np.ones_like(x_train, bool)
# + black = np.nan_to_num(x_train).astype(float)
# - mean = np.nanmean(x_train, axis=0) / G
# + mean = black.sum(axis=0) / (G * np.sum(known, axis=0))
# - mu = np.clip(np.where(known[start], (black[start] / G + mean) / 2, mean), 0.02, 0.98)
# + mu = np.clip((black[start] / G + mean) / 2, 0.02, 0.98)
# - for _ in range(40):
# + for _ in range(25):


# %% wrong="train_binomials"
# The M step divides by all images, also those in which the pixel is missing.
# - mean = np.nanmean(x_train, axis=0) / G
# + mean = black.sum(axis=0) / (G * np.sum(known, axis=0))
# - mu = np.clip(np.where(known[start], (black[start] / G + mean) / 2, mean), 0.02, 0.98)
# + mu = np.clip((black[start] / G + mean) / 2, 0.02, 0.98)
# - for _ in range(40):
# + for _ in range(25):
# - mu = (r.T @ black + a) / (G * (r.T @ known) + 2 * a)
# + mu = np.clip((r.T @ black + a) / (G * r.sum(axis=0)[:, None] + 2 * a), 1e-3, 1 - 1e-3)


# %% wrong="train_binomials"
# Returns mean levels for mu.
# - mean = np.nanmean(x_train, axis=0) / G
# + mean = black.sum(axis=0) / (G * np.sum(known, axis=0))
# - mu = np.clip(np.where(known[start], (black[start] / G + mean) / 2, mean), 0.02, 0.98)
# + mu = np.clip((black[start] / G + mean) / 2, 0.02, 0.98)
# - for _ in range(40):
# + for _ in range(2):
# - return pi, mu
# + return pi, mu * G


# %% wrong="train_binomials"
# Computes with NaN and returns NaN.
def train_binomials(x_train, K, G, seed):
    return np.full(K, 1 / K), np.tile(x_train.mean(axis=0) / G, (K, 1))


# %% wrong="train_binomials"
# A prior so strong that all components become grey.
# - white, a = G * known - black, 1.0
# - mean = np.nanmean(x_train, axis=0) / G
# + white, a = G * known - black, 100.0
# + mean = black.sum(axis=0) / (G * np.sum(known, axis=0))
# - mu = np.clip(np.where(known[start], (black[start] / G + mean) / 2, mean), 0.02, 0.98)
# + mu = np.clip((black[start] / G + mean) / 2, 0.02, 0.98)
# - for _ in range(40):
# + for _ in range(15):


# %% wrong="train_binomials"
# Returns the starting point.
# - mean = np.nanmean(x_train, axis=0) / G
# + mean = black.sum(axis=0) / (G * np.sum(known, axis=0))
# - mu = np.clip(np.where(known[start], (black[start] / G + mean) / 2, mean), 0.02, 0.98)
# + mu = np.clip((black[start] / G + mean) / 2, 0.02, 0.98)
# - for _ in range(40):
# + for _ in range(0):


# %% wrong="train_binomials"
# Trains on the complete images of the notebook, not on those handed over.
# - known = ~np.isnan(x_train)
# + x_train = digits.train
# + known = ~np.isnan(x_train)
