"""Right and wrong answers to the gaps of Week 7, Layers and codes in other forms."""


# %% right="ladder_kl"
# NumPy in float64 and loops wherever no derivative is asked for; training by derivatives written out.
def ladder_kl(m, s, c, v, C, A, a, t):
    m, s, c, v, C, A, a, t = (x.astype(np.float64) for x in (m, s, c, v, C, A, a, t))
    kl_2, kl_1 = [], []
    for b in range(len(m)):
        kl_2.append(sum(0.5 * (m[b, j] ** 2 + s[b, j] ** 2 - 1) - np.log(s[b, j]) for j in range(m.shape[1])))
        total = 0.0
        for i in range(len(a)):
            mean, variance = c[b, i] - a[i], 0.0
            for j in range(m.shape[1]):
                mean += (C[i, j] - A[i, j]) * m[b, j]
                variance += (C[i, j] - A[i, j]) ** 2 * s[b, j] ** 2
            total += np.log(t[i] / v[b, i]) + (v[b, i] ** 2 + mean**2 + variance) / (2 * t[i] ** 2) - 0.5
        kl_1.append(total)
    return kl_2, kl_1


# %% right="ladder_kl"
# Other formulas: indicators, a quadrature, ratios of densities; noise on the training images.
def ladder_kl(m, s, c, v, C, A, a, t):
    m, s, c, v, C, A, a, t = (x.astype(np.float64) for x in (m, s, c, v, C, A, a, t))
    # the divergence of the lower layer is quadratic in z2: symmetric points at ± √L2 s give its mean exactly
    L2 = m.shape[1]
    kl_1 = 0.0
    for direction in np.concatenate([np.eye(L2), -np.eye(L2)]):
        z2 = m + np.sqrt(L2) * s * direction
        away = z2 @ C.T + c - z2 @ A.T - a
        kl_1 = kl_1 + np.sum(np.log(t / v) + (v**2 + away**2) / (2 * t**2) - 0.5, axis=1) / (2 * L2)
    return (np.square(m) + np.square(s) - 2 * np.log(s) - 1).sum(axis=1) / 2, kl_1


# %% right="ladder_kl"
# TensorFlow in float32, batched; weight decay in training; a prior backed off to single units.
def ladder_kl(m, s, c, v, C, A, a, t):
    D = tf.constant(C - A)
    kl_2 = 0.5 * tf.reduce_sum(m**2 + s**2 - 1 - tf.math.log(s**2), axis=1)
    away = tf.linalg.matvec(D, m) + c - a
    # the mean of a square: that of the means, and the trace of the covariance of D z2, each divided by t²
    spread = tf.einsum("ij,bj,ij->bi", D, s**2, D)
    ratio = (v / t) ** 2
    kl_1 = 0.5 * tf.reduce_sum(ratio - 1 - tf.math.log(ratio) + (away**2 + spread) / t**2, axis=1)
    return [kl_2, kl_1]


# %% wrong="ladder_kl"
# The logarithm of the ratio of variances without the half.
# - kl_1 = np.sum((mean**2 + variance + v**2) / (2 * t**2) - 0.5 - np.log(v / t), axis=1)
# + kl_1 = np.sum((mean**2 + variance + v**2) / (2 * t**2) - 0.5 - np.log(v**2 / t**2), axis=1)


# %% wrong="ladder_kl"
# z2 taken from the prior, not from q: mean 0 and variance 1.
# - mean = m @ (G - A).T + g - a  # (B, L1), of μ − μ'
# - variance = s**2 @ ((G - A) ** 2).T
# + mean = g - a
# + variance = np.sum((G - A) ** 2, axis=1)


# %% wrong="ladder_kl"
# KL(p || q) in the lower layer.
# - kl_1 = np.sum((mean**2 + variance + v**2) / (2 * t**2) - 0.5 - np.log(v / t), axis=1)
# + kl_1 = np.sum((mean**2 + variance + t**2) / (2 * v**2) - 0.5 - np.log(t / v), axis=1)


# %% wrong="ladder_kl"
# The lower layer compared with N(0, I), as if the ladder had no connection.
# - mean = m @ (G - A).T + g - a  # (B, L1), of μ − μ'
# - variance = s**2 @ ((G - A) ** 2).T
# - kl_1 = np.sum((mean**2 + variance + v**2) / (2 * t**2) - 0.5 - np.log(v / t), axis=1)
# + mean = m @ G.T + g
# + variance = s**2 @ (G**2).T
# + kl_1 = np.sum((mean**2 + variance + v**2) / 2 - 0.5 - np.log(v), axis=1)


# %% wrong="ladder_kl"
# The shift of the mean is not divided by t².
# - kl_1 = np.sum((mean**2 + variance + v**2) / (2 * t**2) - 0.5 - np.log(v / t), axis=1)
# + kl_1 = np.sum((mean**2 + variance) / 2 + v**2 / (2 * t**2) - 0.5 - np.log(v / t), axis=1)


# %% right="unit_information"
# NumPy in float64 and loops wherever no derivative is asked for; training by derivatives written out.
def unit_information(mu, sigma, noise):
    mu, sigma, noise = (x.astype(np.float64) for x in (mu, sigma, noise))
    N, L = mu.shape
    result = np.zeros(L)
    for unit in range(L):
        for n in range(N):
            z = mu[n, unit] + sigma[n, unit] * noise[n, unit]
            log_q = norm.logpdf(z, loc=mu[:, unit], scale=sigma[:, unit])
            result[unit] += (log_q[n] - np.logaddexp.reduce(log_q) + np.log(N)) / N
    return result


# %% right="unit_information"
# Other formulas: indicators, a quadrature, ratios of densities; noise on the training images.
def unit_information(mu, sigma, noise):
    result = []
    for mean, deviation, xi in zip(
        mu.T.astype(float), sigma.T.astype(float), noise.T.astype(float), strict=True
    ):
        z = mean + deviation * xi
        # q(z | x_m) / q(z | x_n), so that constants cancel
        ratio = np.exp((xi**2)[:, None] / 2 - ((z[:, None] - mean) / deviation) ** 2 / 2)
        ratio *= deviation[:, None] / deviation
        result.append(-np.mean(np.log(ratio.mean(axis=1))))
    return np.array(result, np.float32)


# %% right="unit_information"
# TensorFlow in float32, batched; weight decay in training; a prior backed off to single units.
def unit_information(mu, sigma, noise):
    import tensorflow_probability as tfp

    z = tf.constant(mu + sigma * noise)
    posterior = tfp.distributions.Normal(mu, sigma)
    aggregate = tf.reduce_logsumexp(posterior.log_prob(z[:, None]), axis=1) - tf.math.log(float(len(mu)))
    return tf.reduce_mean(posterior.log_prob(z) - aggregate, axis=0)


# %% wrong="unit_information"
# One number for all units together: the joint information.
def unit_information(mu, sigma, noise):
    z = mu + sigma * noise
    log_q = np.sum(-(((z[:, None] - mu) / sigma) ** 2) / 2 - np.log(sigma), axis=2)
    return np.mean(np.diag(log_q) - logsumexp(log_q, axis=1) + np.log(len(mu)))


# %% wrong="unit_information"
# The mean KL divergence from the prior.
def unit_information(mu, sigma, noise):
    return np.mean((mu**2 + sigma**2 - 1) / 2 - np.log(sigma), axis=0)


# %% wrong="unit_information"
# The mean of log densities in place of the log of the mean density.
# - log_mean = logsumexp(log_q, axis=1) - np.log(len(mu))
# + log_mean = np.mean(log_q, axis=1)


# %% wrong="unit_information"
# The aggregate without the image's own posterior.
# - log_mean = logsumexp(log_q, axis=1) - np.log(len(mu))
# + others = log_q + np.where(np.eye(len(mu))[:, :, None] == 1, -np.inf, 0)
# + log_mean = logsumexp(others, axis=1) - np.log(len(mu) - 1)


# %% wrong="unit_information"
# Every posterior gets the σ of the sample's own image.
# - away = (z[:, None] - mu) / sigma  # (N samples, N posteriors, L)
# - log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2
# + away = (z[:, None] - mu) / sigma[:, None]
# + log_q = -(away**2) / 2 - np.log(sigma)[:, None] - np.log(2 * np.pi) / 2


# %% wrong="unit_information"
# Clipped to what the exact information can be, from 0 to log N: the estimate may be below 0.
# - return np.mean(log_own - log_mean, axis=0)
# + return np.clip(np.mean(log_own - log_mean, axis=0), 0, np.log(len(mu)))


# %% wrong="unit_information"
# The expanded square, which loses its digits in float32.
# - away = (z[:, None] - mu) / sigma  # (N samples, N posteriors, L)
# - log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2
# + away_squared = (z[:, None] ** 2 - 2 * z[:, None] * mu + mu**2) / sigma**2
# + log_q = -away_squared / 2 - np.log(sigma) - np.log(2 * np.pi) / 2


# %% equivalent="unit_information"
# A constant of the density cancels between own posterior and mean.
# - log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2
# + log_q = -away ** 2 / 2 - np.log(sigma) + np.log(2 * np.pi) / 2
# - log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2
# + log_q = -away ** 2 / 2 - np.log(sigma)
# - log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2
# + log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) * 2
# - log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2
# + log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi)
# - log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2
# + log_q = -(away**2) / 2 - np.log(sigma) - 2 * np.pi / 2
# - log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2
# + log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 / np.pi) / 2
# - log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2
# + log_q = -(away**2) / 2 - np.log(sigma) - np.log(2) / 2
# - log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2
# + log_q = -(away**2) / 2 - np.log(sigma) - np.log(np.pi) / 2
# - log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2
# + log_q = -(away**2) / 2 - np.log(sigma) - np.log(3 * np.pi) / 2
# - log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2
# + log_q = -(away**2) / 2 - np.log(sigma) - np.log(1 * np.pi) / 2
# - log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2
# + log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 3
# - log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2
# + log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 1


# %% right="fsq"
# NumPy in float64 and loops wherever no derivative is asked for; training by derivatives written out.
def fsq(e, levels):
    e = tf.cast(e, tf.float64)
    columns = []
    for i in range(e.shape[1]):
        allowed = tf.constant(np.linspace(-1, 1, int(levels[i])))
        bounded = tf.tanh(e[:, i])
        nearest = tf.gather(allowed, tf.argmin(tf.abs(bounded[:, None] - allowed), axis=1))
        columns.append(bounded + tf.stop_gradient(nearest - bounded))
    return tf.stack(columns, axis=1)


# %% right="fsq"
# Other formulas: indicators, a quadrature, ratios of densities; noise on the training images.
def fsq(e, levels):
    steps = np.asarray(levels) - 1
    u = steps * tf.sigmoid(2 * e)  # (1 + tanh e) / 2 is the logistic function of 2 e
    rounded = tf.floor(u + 0.5)
    return 2 * (tf.stop_gradient(rounded) - tf.stop_gradient(u) + u) / steps - 1


# %% right="fsq"
# TensorFlow in float32, batched; weight decay in training; a prior backed off to single units.
@tf.custom_gradient
def pass_through(x):
    return tf.round(x), lambda upstream: upstream


def fsq(e, levels):
    half = (tf.convert_to_tensor(levels) - 1) / 2
    return pass_through(half + half * tf.tanh(e)) / half - 1


# %% wrong="fsq"
# Clipped to [−1, 1] instead of tanh.
# - u = steps * (1 + tf.tanh(z_e)) / 2
# + u = steps * (1 + tf.clip_by_value(z_e, -1, 1)) / 2


# %% wrong="fsq"
# Rounded down.
# - u = u + tf.stop_gradient(tf.round(u) - u)
# + u = u + tf.stop_gradient(tf.floor(u) - u)


# %% wrong="fsq"
# Plain rounding: no gradient.
# - u = u + tf.stop_gradient(tf.round(u) - u)
# + u = tf.round(u)


# %% wrong="fsq"
# Returns the numbers of the levels, not the values from −1 to 1.
# - return 2 * u / steps - 1
# + return u


# %% wrong="fsq"
# Straight-through past the tanh as well: the derivative is 1.
# - u = u + tf.stop_gradient(tf.round(u) - u)
# - return 2 * u / steps - 1
# + return z_e + tf.stop_gradient(2 * tf.round(u) / steps - 1 - z_e)


# %% right="residual_quantise"
# NumPy in float64 and loops wherever no derivative is asked for; training by derivatives written out.
def residual_quantise(e, codebooks, beta):
    e, codebooks = tf.cast(e, tf.float64), tf.cast(codebooks, tf.float64)
    rows, loss = [], tf.constant(0.0, tf.float64)
    for b in range(e.shape[0]):
        r, q = e[b], tf.zeros(e.shape[1], tf.float64)
        for m in range(codebooks.shape[0]):
            k = int(np.argmin([np.sum((r.numpy() - code) ** 2) for code in codebooks[m].numpy()]))
            c = codebooks[m, k]
            loss += tf.reduce_sum((tf.stop_gradient(r) - c) ** 2) / e.shape[0]
            loss += beta * tf.reduce_sum((r - tf.stop_gradient(c)) ** 2) / e.shape[0]
            r, q = r - tf.stop_gradient(c), q + tf.stop_gradient(c)
        rows.append(e[b] - tf.stop_gradient(e[b]) + q)
    return tf.stack(rows), loss


# %% right="residual_quantise"
# Other formulas: indicators, a quadrature, ratios of densities; noise on the training images.
def residual_quantise(e, codebooks, beta):
    e = tf.convert_to_tensor(e)
    M = len(codebooks)
    fixed = tf.stop_gradient(e)
    total, loss = tf.zeros_like(e), 0.0
    for m in range(M):
        k = tf.argmin(tf.norm((fixed - total)[:, None] - codebooks[m], axis=2), axis=1)
        code = tf.gather(codebooks[m], k)
        before, total = total, total + tf.stop_gradient(code)
        loss += tf.reduce_sum(tf.math.squared_difference(fixed - before, code), axis=1)
        loss += beta * tf.reduce_sum(tf.math.squared_difference(e, total), axis=1)
    return total + (e - fixed), tf.reduce_mean(loss)


# %% right="residual_quantise"
# TensorFlow in float32, batched; weight decay in training; a prior backed off to single units.
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


# %% wrong="residual_quantise"
# β stands at the part that moves the codes.
# - loss += tf.reduce_mean(codes + beta * commitment)
# + loss += tf.reduce_mean(beta * codes + commitment)


# %% wrong="residual_quantise"
# The code with the largest inner product is not the nearest.
# - distances = tf.reduce_sum((r[:, None] - codebooks[m]) ** 2, axis=2)  # (B, K)
# + distances = -tf.matmul(r, codebooks[m], transpose_b=True)


# %% wrong="residual_quantise"
# Returns the last code in place of the sum.
# - z_q += e
# + z_q = e


# %% wrong="residual_quantise"
# q is the plain sum of codes: no gradient for e, one for the codebooks.
# - return z_e + tf.stop_gradient(z_q - z_e), loss
# + return z_q, loss


# %% wrong="residual_quantise"
# stop_gradient around everything: nothing reaches e through q.
# - return z_e + tf.stop_gradient(z_q - z_e), loss
# + return tf.stop_gradient(z_q), loss


# %% wrong="residual_quantise"
# The two stop_gradients are exchanged.
# - codes = tf.reduce_sum((tf.stop_gradient(r) - e) ** 2, axis=1)
# - commitment = tf.reduce_sum((r - tf.stop_gradient(e)) ** 2, axis=1)
# + codes = tf.reduce_sum((r - tf.stop_gradient(e)) ** 2, axis=1)
# + commitment = tf.reduce_sum((tf.stop_gradient(r) - e) ** 2, axis=1)


# %% equivalent="residual_quantise"
# A mean over the units has the same smallest entry as a sum.
# - distances = tf.reduce_sum((r[:, None] - codebooks[m]) ** 2, axis=2)  # (B, K)
# + distances = tf.reduce_mean((r[:, None] - codebooks[m]) ** 2, axis=2)  # (B, K)


# %% right="soft_update"
# NumPy in float64 and loops wherever no derivative is asked for; training by derivatives written out.
def soft_update(N, m, z, tau, gamma):
    N, m, z = N.astype(float), m.astype(float), z.astype(float)
    shares = []
    counts, sums = [gamma * n for n in N], [gamma * row for row in m]
    for row in z:
        log_w = [
            np.log(n) - np.linalg.norm(row - total / n) ** 2 / 2 / tau for n, total in zip(N, m, strict=True)
        ]
        share = np.exp(log_w - logsumexp(log_w))
        for k, part in enumerate(share):
            counts[k] += (1 - gamma) * part
            sums[k] = sums[k] + (1 - gamma) * part * row
        shares.append(list(share))
    return shares, counts, sums


# %% right="soft_update"
# Other formulas: indicators, a quadrature, ratios of densities; noise on the training images.
def soft_update(N, m, z, tau, gamma):
    N, m, z = N.astype(np.float64), m.astype(np.float64), z.astype(np.float64)
    log_w = norm.logpdf(z[:, :, None], (m / N[:, None]).T, np.sqrt(tau)).sum(axis=1) + np.log(N / N.sum())
    # a share is one over the sum of the ratios of all weights to its own
    with np.errstate(over="ignore"):
        r = 1 / np.exp(log_w[:, None, :] - log_w[:, :, None]).sum(axis=2)
    everything = np.concatenate([np.ones((len(z), 1)), z], axis=1)  # counts and sums at once
    new = gamma * np.concatenate([N[:, None], m], axis=1) + (1 - gamma) * np.einsum(
        "bk,bc->kc", r, everything
    )
    return r, new[:, 0], new[:, 1:]


# %% right="soft_update"
# TensorFlow in float32, batched; weight decay in training; a prior backed off to single units.
def soft_update(N, m, z, tau, gamma):
    N, m, z = tf.constant(N), tf.constant(m), tf.constant(z)
    e = m / N[:, None]
    # |z|² is the same for all codes and leaves the softmax as it is
    logits = tf.math.log(N) + (tf.matmul(z, e, transpose_b=True) - tf.reduce_sum(e**2, axis=1) / 2) / tau
    r = tf.nn.softmax(logits)
    new_m = tf.matmul(r, z, transpose_a=True)
    return [r, N + (1 - gamma) * (tf.reduce_sum(r, 0) - N), m + (1 - gamma) * (new_m - m)]


# %% wrong="soft_update"
# γ and 1 − γ exchanged.
# - return r, gamma * N + (1 - gamma) * r.sum(axis=0), gamma * m + (1 - gamma) * r.T @ z
# + return r, (1 - gamma) * N + gamma * r.sum(axis=0), (1 - gamma) * m + gamma * r.T @ z


# %% wrong="soft_update"
# A small number added to the denominator against 0 / 0.
# - r = softmax(np.log(N) - distances / (2 * tau), axis=1)
# + w = N * np.exp(-distances / (2 * tau))
# + r = w / (w.sum(axis=1, keepdims=True) + 1e-8)


# %% wrong="soft_update"
# Every vector belongs to its nearest code alone, as in the preparation.
# - r = softmax(np.log(N) - distances / (2 * tau), axis=1)
# + r = np.eye(len(N))[distances.argmin(axis=1)]


# %% wrong="soft_update"
# The distance, not its square.
# - distances = np.sum((z[:, None] - m / N[:, None]) ** 2, axis=2)  # (B, K)
# + distances = np.sqrt(np.sum((z[:, None] - m / N[:, None]) ** 2, axis=2))


# %% wrong="soft_update"
# The mean of a code's vectors is averaged, not their sum.
# - return r, gamma * N + (1 - gamma) * r.sum(axis=0), gamma * m + (1 - gamma) * r.T @ z
# + return r, gamma * N + (1 - gamma) * r.sum(axis=0), gamma * m + (1 - gamma) * (r / r.sum(axis=0)).T @ z


# %% wrong="soft_update"
# The exponentials as they stand: 0 divided by 0 for vectors far away.
# - r = softmax(np.log(N) - distances / (2 * tau), axis=1)
# + w = N * np.exp(-distances / (2 * tau))
# + r = w / w.sum(axis=1, keepdims=True)


# %% wrong="soft_update"
# τ taken for a standard deviation.
# - r = softmax(np.log(N) - distances / (2 * tau), axis=1)
# + r = softmax(np.log(N) - distances / (2 * tau**2), axis=1)


# %% wrong="soft_update"
# Changes the counts and sums that came in.
# - return r, gamma * N + (1 - gamma) * r.sum(axis=0), gamma * m + (1 - gamma) * r.T @ z
# + N *= gamma
# + N += (1 - gamma) * r.sum(axis=0)
# + m *= gamma
# + m += (1 - gamma) * r.T @ z
# + return r, N, m


# %% right="train_codes"
# NumPy in float64 and loops wherever no derivative is asked for; training by derivatives written out.
def train_codes(x_train, seed):
    rng = np.random.default_rng(seed)
    steps, B = 1500, 100
    W = [rng.normal(size=s) / np.sqrt(s[0]) if len(s) == 2 else np.zeros(s) for s in SHAPES]
    first, second = [np.zeros_like(w) for w in W], [np.zeros_like(w) for w in W]
    x_train = x_train.astype(np.float64)
    times = "bi,ij->bj"
    for step in range(1, steps + 1):
        x = x_train[rng.integers(len(x_train), size=B)]
        W1, b1, W2, b2, W3, b3, W4, b4 = W
        a1 = np.maximum(0, x @ W1 + b1)
        bounded = np.tanh(a1 @ W2 + b2)
        z = 2 * np.round(3 * (1 + bounded) / 2) / 3 - 1
        a2 = np.maximum(0, z @ W3 + b3)
        d_logits = (0.5 * (1 + np.tanh((a2 @ W4 + b4) / 2)) - x) / B
        d_a2 = np.einsum(times, d_logits, W4.T) * (a2 > 0)
        d_e = np.einsum(times, d_a2, W3.T) * (1 - bounded**2)  # straight through the rounding
        d_a1 = np.einsum(times, d_e, W2.T) * (a1 > 0)
        gradient = [x.T @ d_a1, d_a1.sum(0), a1.T @ d_e, d_e.sum(0)]
        gradient += [z.T @ d_a2, d_a2.sum(0), a2.T @ d_logits, d_logits.sum(0)]
        rate = 0.0025 * (1 + np.cos(np.pi * step / steps))
        for i, g in enumerate(gradient):
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.999 * second[i] + 0.001 * g**2
            W[i] = W[i] - rate * first[i] / (1 - 0.9**step) / (np.sqrt(second[i] / (1 - 0.999**step)) + 1e-8)
    W1, b1, W2, b2 = W[:4]
    prior = np.full(LEVELS, 1.0)
    for row in x_train:
        u = 3 * (1 + np.tanh(np.maximum(0, row @ W1 + b1) @ W2 + b2)) / 2
        prior[tuple(int(np.round(part)) for part in u)] += 1
    return tuple(W), prior / prior.sum()


# %% right="train_codes"
# Other formulas: indicators, a quadrature, ratios of densities; noise on the training images.
def train_codes(x_train, seed):
    rng = np.random.default_rng(seed + 100)
    epochs, B = 120, 128
    weights = [tf.Variable(rng.uniform(-1, 1, size=s).astype(np.float32) * (3 / s[0]) ** 0.5) for s in SHAPES]
    for bias in weights[1::2]:
        bias.assign(tf.zeros_like(bias))
    optimizer = tf.keras.optimizers.Adam(0.006)
    optimizer.build(weights)

    @tf.function(input_signature=[tf.TensorSpec((None, B, 64))])
    def epoch(images):
        for x in images:
            seen = tf.where(tf.random.uniform((B, 64)) < 0.02, 1 - x, x)
            with tf.GradientTape() as tape:
                e = encode(seen, weights)
                u = 1.5 * (1 + tf.tanh(e))
                logits = decode((u + tf.stop_gradient(tf.round(u) - u)) / 1.5 - 1, weights)
                loss = 64 * tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(x, logits))
                loss += tf.reduce_mean(e**2)
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    tf.random.set_seed(seed)
    for t in range(epochs):
        if t == 80:
            optimizer.learning_rate = 0.001
        order = rng.permutation(len(x_train))[: len(x_train) // B * B]
        epoch(tf.constant(x_train[order].reshape(-1, B, 64)))
    k = levels_of(x_train, weights)
    counts = np.bincount(np.ravel_multi_index(k.T, LEVELS), minlength=256).reshape(LEVELS) + 0.7
    return [w.numpy() for w in weights], (counts / counts.sum()).astype(np.float32)


# %% right="train_codes"
# TensorFlow in float32, batched; weight decay in training; a prior backed off to single units.
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
                penalty = 0.2 * tf.reduce_sum(encode(x, weights) ** 2)
                loss = (tf.reduce_sum(tf.nn.softplus(logits) - x * logits) + penalty) / B
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    run()
    k = tf.cast(tf.round(1.5 * (quantise(data) + 1)), tf.int32)  # (N, 4)
    single = tf.reduce_mean(tf.one_hot(k, 4), axis=0) * 0.99 + 0.0025  # (4 units, 4 levels)
    backoff = tf.einsum("i,j,k,l->ijkl", *tf.unstack(single))
    counts = tf.tensor_scatter_nd_add(tf.zeros(LEVELS), k, tf.ones(len(data)))
    prior = counts + 100 * backoff
    return weights, prior / tf.reduce_sum(prior)


# %% wrong="train_codes"
# The decoder is trained on the numbers of the levels, not on z.
# - minimise(loss, weights, x_train, seed)
# + minimise(loss, weights, x_train, seed, steps=500)
# - logits = decode(2 * u / 3 - 1, weights)
# + logits = decode(u, weights)


# %% wrong="train_codes"
# The mean over the pixels, not the sum: the penalty on z_e is 64 times too heavy beside it.
# - return tf.reduce_mean(tf.reduce_sum(minus_logpx_c, axis=1) + penalty)
# + return tf.reduce_mean(tf.reduce_mean(minus_logpx_c, axis=1) + penalty)


# %% wrong="train_codes"
# Plain rounding: the encoder never learns from the images.
# - minimise(loss, weights, x_train, seed)
# + minimise(loss, weights, x_train, seed, steps=500)
# - u = u + tf.stop_gradient(tf.round(u) - u)
# + u = tf.round(u)


# %% wrong="train_codes"
# Its own loop; NumPy draws the rows inside the tf.function, that is once: every step sees the same batch.
# - minimise(loss, weights, x_train, seed)
# + rng = np.random.default_rng(seed)
# + optimizer = tf.keras.optimizers.Adam(0.01)
# + optimizer.build(weights)
# + @tf.function
# + def run():
# +     for _ in tf.range(500):
# +         x = tf.gather(x_train, rng.integers(len(x_train), size=100))
# +         with tf.GradientTape() as tape:
# +             value = loss(x)
# +         optimizer.apply_gradients(zip(tape.gradient(value, weights), weights))
# + run()


# %% wrong="train_codes"
# Counts, not probabilities.
# - minimise(loss, weights, x_train, seed)
# + minimise(loss, weights, x_train, seed, steps=100)
# - return [w.numpy() for w in weights], counts / counts.sum()
# + return [w.numpy() for w in weights], counts


# %% wrong="train_codes"
# The prior is the product of the frequencies of each unit: not joint.
# - minimise(loss, weights, x_train, seed)
# + minimise(loss, weights, x_train, seed, steps=500)
# - return [w.numpy() for w in weights], counts / counts.sum()
# + single = [np.bincount(k[:, i], minlength=4) + 0.5 for i in range(4)]
# + prior = np.einsum("i,j,k,l->ijkl", *[counts / counts.sum() for counts in single])
# + return [w.numpy() for w in weights], prior


# %% wrong="train_codes"
# The axes of the prior are in reverse order.
# - minimise(loss, weights, x_train, seed)
# + minimise(loss, weights, x_train, seed, steps=500)
# - return [w.numpy() for w in weights], counts / counts.sum()
# + return [w.numpy() for w in weights], counts.T / counts.sum()


# %% wrong="train_codes"
# A uniform prior.
# - minimise(loss, weights, x_train, seed)
# + minimise(loss, weights, x_train, seed, steps=500)
# - return [w.numpy() for w in weights], counts / counts.sum()
# + return [w.numpy() for w in weights], np.full(LEVELS, 1 / 256)


# %% wrong="train_codes"
# Plain frequencies: codes that never occurred have probability 0.
# - minimise(loss, weights, x_train, seed)
# + minimise(loss, weights, x_train, seed, steps=200)
# - counts = np.full(LEVELS, 0.5)
# + counts = np.full(LEVELS, 0.0)


# %% wrong="train_codes"
# Far too few steps.
# - minimise(loss, weights, x_train, seed)
# + minimise(loss, weights, x_train, seed, steps=60)


# %% wrong="train_codes"
# Counts by fancy indexing, which adds 1 to a code only once.
# - np.add.at(counts, tuple(k.T), 1)
# + counts[tuple(k.T)] += 1


# %% wrong="soft_update"
# Where all exponentials are 0 the nearest code gets everything, though two codes may be equally far.
def soft_update(N, m, z, tau, gamma):
    d = np.sum((z[:, None] - m / N[:, None]) ** 2, axis=-1).astype(float)
    w = N * np.exp(-d / (2 * tau))
    total = w.sum(axis=1, keepdims=True)
    r = np.where(total > 0, w / np.where(total > 0, total, 1), np.eye(len(N))[d.argmin(axis=1)])
    return r, gamma * N + (1 - gamma) * r.sum(axis=0), gamma * m + (1 - gamma) * r.T @ z


# %% wrong="soft_update"
# One shift for the whole batch: a near and a very far vector together give 0 / 0.
def soft_update(N, m, z, tau, gamma):
    d = np.sum((z[:, None] - m / N[:, None]) ** 2, axis=-1).astype(float)
    w = N * np.exp(-(d - d.min()) / (2 * tau))
    with np.errstate(invalid="ignore"):
        r = w / w.sum(axis=1, keepdims=True)
    return r, gamma * N + (1 - gamma) * r.sum(axis=0), gamma * m + (1 - gamma) * r.T @ z


# %% wrong="soft_update"
# Clips the logarithms of the weights, so that very far codes lose their counts.
# - r = softmax(np.log(N) - distances / (2 * tau), axis=1)
# + r = softmax(np.maximum(np.log(N) - distances / (2 * tau), -4000), axis=1)


# %% wrong="train_codes"
# A parameter so large that the test loses the normaliser in floating point.
def train_codes(x_train, seed):
    K, w = 2.0**80, [np.zeros(s) for s in SHAPES]
    left, pixels = np.ones(len(x_train), bool), []
    for k in range(4):
        p = int(np.argmax(x_train[left].sum(axis=0)))
        pixels.append(p)
        left &= x_train[:, p] == 0
        w[0][p, k], w[2][k, k], w[3][k], w[4][k, k], w[6][k, p] = 1, 40, -20, 1, K
    counts = np.full(LEVELS, 0.01)
    np.add.at(counts, tuple((3 * x_train[:, pixels]).astype(int).T), 1)
    return w, counts / counts.sum()
