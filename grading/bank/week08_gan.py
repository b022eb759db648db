"""Right and wrong answers to the gaps of Week 8, Other losses, other divergences, other judges."""


# %% right="relativistic_losses"
# One pair after the other, with softplus, in float64.
def relativistic_losses(real, fake, smooth):
    real, fake = tf.cast(real, tf.float64), tf.cast(fake, tf.float64)
    loss_d, loss_g = [], []
    for i in range(real.shape[0]):
        for j in range(fake.shape[0]):
            lead = real[i] - fake[j]
            loss_d.append((1 - smooth) * tf.nn.softplus(-lead) + smooth * tf.nn.softplus(lead))
            loss_g.append(tf.nn.softplus(lead))
    return tf.add_n(loss_d) / len(loss_d), tf.add_n(loss_g) / len(loss_g)


# %% right="relativistic_losses"
# Keras's cross-entropy from logits, with labels of the pairs.
def relativistic_losses(real, fake, smooth):
    margin = tf.reshape(tf.reshape(real, (-1, 1)) - tf.reshape(fake, (1, -1)), (-1, 1))
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0)
    ones = tf.ones_like(margin)
    return cross_entropy((1 - smooth) * ones, margin), cross_entropy(ones, -margin)


# %% right="relativistic_losses"
# log σ(a) − log σ(−a) = a: a linear term and one softplus; columns are real images.
def relativistic_losses(real, fake, smooth):
    lead = tf.expand_dims(fake, 1) - tf.expand_dims(real, 0)  # (N, M)
    both = tf.nn.relu(lead) + tf.math.log1p(tf.exp(-tf.abs(lead)))
    return tf.reduce_mean(both - smooth * lead), tf.reduce_mean(both - lead)


# %% wrong="relativistic_losses"
# Pairs image i with image i only.
def relativistic_losses(real, fake, smooth):
    n = min(real.shape[0], fake.shape[0])
    margin = real[:n] - fake[:n]
    real_wins, fake_wins = tf.math.log_sigmoid(margin), tf.math.log_sigmoid(-margin)
    loss_d = -tf.reduce_mean((1 - smooth) * real_wins + smooth * fake_wins)
    return loss_d, -tf.reduce_mean(fake_wins)


# %% wrong="relativistic_losses"
# Labels swapped: the discriminator wants the generated image to win.
# - margin = real[:, None] - fake[None, :]  # (M, N)
# + margin = fake[None, :] - real[:, None]  # (M, N)


# %% wrong="relativistic_losses"
# The preparation's losses: each image by itself.
def relativistic_losses(real, fake, smooth):
    loss_d = -tf.reduce_mean((1 - smooth) * tf.math.log_sigmoid(real) + smooth * tf.math.log_sigmoid(-real))
    return loss_d - tf.reduce_mean(tf.math.log_sigmoid(-fake)), -tf.reduce_mean(tf.math.log_sigmoid(fake))


# %% wrong="relativistic_losses"
# The generator's label is smoothed as well.
# - return loss_d, -tf.reduce_mean(fake_wins)
# + return loss_d, -tf.reduce_mean((1 - smooth) * fake_wins + smooth * real_wins)


# %% wrong="relativistic_losses"
# The saturating game: the generator ascends the discriminator's loss.
# - return loss_d, -tf.reduce_mean(fake_wins)
# + return loss_d, tf.reduce_mean(real_wins)


# %% wrong="relativistic_losses"
# The logarithm of a sigmoid that rounds to 0.
# - real_wins, fake_wins = tf.math.log_sigmoid(margin), tf.math.log_sigmoid(-margin)
# + real_wins, fake_wins = tf.math.log(tf.sigmoid(margin)), tf.math.log(tf.sigmoid(-margin))


# %% wrong="relativistic_losses"
# A clipped logarithm.
# - real_wins, fake_wins = tf.math.log_sigmoid(margin), tf.math.log_sigmoid(-margin)
# + p = tf.clip_by_value(tf.sigmoid(margin), 1e-7, 1 - 1e-7)
# + real_wins, fake_wins = tf.math.log(p), tf.math.log(1 - p)


# %% wrong="relativistic_losses"
# Clipped logits: the values of small logits are right.
# - margin = real[:, None] - fake[None, :]  # (M, N)
# + margin = tf.clip_by_value(real[:, None] - fake[None, :], -50.0, 50.0)  # (M, N)


# %% wrong="relativistic_losses"
# Stops the gradient at the generated images, as in a discriminator's step.
# - margin = real[:, None] - fake[None, :]  # (M, N)
# + margin = real[:, None] - tf.stop_gradient(fake)[None, :]  # (M, N)


# %% wrong="relativistic_losses"
# Stops the gradient of the generator's loss.
# - return loss_d, -tf.reduce_mean(fake_wins)
# + return loss_d, tf.stop_gradient(-tf.reduce_mean(fake_wins))


# %% wrong="relativistic_losses"
# NumPy: no gradient.
def relativistic_losses(real, fake, smooth):
    margin = np.asarray(real)[:, None] - np.asarray(fake)[None, :]
    loss_d = np.mean((1 - smooth) * np.logaddexp(0, -margin) + smooth * np.logaddexp(0, margin))
    return tf.constant(loss_d), tf.constant(np.mean(np.logaddexp(0, margin)))


# %% wrong="relativistic_losses"
# Compares with the mean logit of the other kind (the "average" variant).
# - margin = real[:, None] - fake[None, :]  # (M, N)
# - real_wins, fake_wins = tf.math.log_sigmoid(margin), tf.math.log_sigmoid(-margin)
# + a, b = real - tf.reduce_mean(fake), tf.reduce_mean(real) - fake
# + real_wins = tf.concat([tf.math.log_sigmoid(a), tf.math.log_sigmoid(b)], 0)
# + fake_wins = tf.concat([tf.math.log_sigmoid(-a), tf.math.log_sigmoid(-b)], 0)


# %% wrong="relativistic_losses"
# Losses for each real image, not their mean.
# - loss_d = -tf.reduce_mean((1 - smooth) * real_wins + smooth * fake_wins)
# + loss_d = -tf.reduce_mean((1 - smooth) * real_wins + smooth * fake_wins, axis=1)


# %% right="alpha_bound"
# One sample after the other, from u = e^v in float64, where e^150 fits.
def alpha_bound(v_data, v_model, alpha):
    import math

    total = 0.0
    for v in v_data:
        total += (math.exp(float(v)) ** (alpha - 1) - 1) / (alpha - 1) / len(v_data)
    for v in v_model:
        total -= (math.exp(float(v)) ** alpha - 1) / alpha / len(v_model)
    return total


# %% wrong="alpha_bound"
# u f'(u) − f(u) as it stands: the terms with u cancel, and with them all digits where u is large.
def alpha_bound(v_data, v_model, alpha):
    def f(u):
        return (u**alpha - alpha * u - (1 - alpha)) / (alpha * (alpha - 1))

    def slope(u):
        return (u ** (alpha - 1) - 1) / (alpha - 1)

    u_data, u_model = np.exp(v_data.astype(float)), np.exp(v_model.astype(float))
    return np.mean(slope(u_data)) - np.mean(u_model * slope(u_model) - f(u_model))


# %% right="alpha_bound"
# TensorFlow in float32, with expm1.
def alpha_bound(v_data, v_model, alpha):
    T = tf.math.expm1((alpha - 1) * tf.constant(v_data)) / (alpha - 1)
    conjugate = tf.math.expm1(alpha * tf.constant(v_model)) / alpha
    return tf.reduce_mean(T) - tf.reduce_mean(conjugate)


# %% right="alpha_bound"
# e^a − 1 = 2 e^(a/2) sinh(a/2), in float64.
def alpha_bound(v_data, v_model, alpha):
    def less_one(a):
        return 2 * np.exp(a / 2) * np.sinh(a / 2)

    data, model = v_data.astype(float), v_model.astype(float)
    return less_one((alpha - 1) * data).mean() / (alpha - 1) - less_one(alpha * model).mean() / alpha


# %% wrong="alpha_bound"
# f* as a function of t: where the output is large, 1 + (α − 1) t rounds to 0.
# - conjugate = (np.exp(alpha * v_model) - 1) / alpha
# + t = np.expm1((alpha - 1) * v_model) / (alpha - 1)
# + conjugate = (np.maximum(1 + (alpha - 1) * t, 1e-9) ** (alpha / (alpha - 1)) - 1) / alpha


# %% wrong="alpha_bound"
# The output itself as T, without the activation.
# - T = (np.exp((alpha - 1) * v_data) - 1) / (alpha - 1)
# + T = v_data


# %% wrong="alpha_bound"
# f at the samples of q, not its conjugate.
# - conjugate = (np.exp(alpha * v_model) - 1) / alpha
# + u = np.exp(v_model)
# + conjugate = (u**alpha - alpha * u - (1 - alpha)) / (alpha * (alpha - 1))


# %% wrong="alpha_bound"
# The conjugate of KL, whatever α.
# - conjugate = (np.exp(alpha * v_model) - 1) / alpha
# + conjugate = np.exp(v_model) - 1


# %% wrong="alpha_bound"
# The preparation's bound: Jensen-Shannon from the logits.
def alpha_bound(v_data, v_model, alpha):
    return np.log(4) - np.mean(np.logaddexp(0, -v_data)) - np.mean(np.logaddexp(0, v_model))


# %% wrong="alpha_bound"
# p and q exchanged.
# - T = (np.exp((alpha - 1) * v_data) - 1) / (alpha - 1)
# - conjugate = (np.exp(alpha * v_model) - 1) / alpha
# + T = (np.exp((alpha - 1) * v_model) - 1) / (alpha - 1)
# + conjugate = (np.exp(alpha * v_data) - 1) / alpha


# %% wrong="alpha_bound"
# Takes e^v first, which overflows in float32.
# - T = (np.exp((alpha - 1) * v_data) - 1) / (alpha - 1)
# - conjugate = (np.exp(alpha * v_model) - 1) / alpha
# + T = (np.exp(v_data) ** (alpha - 1) - 1) / (alpha - 1)
# + conjugate = (np.exp(v_model) ** alpha - 1) / alpha


# %% wrong="alpha_bound"
# Clips the outputs.
# - conjugate = (np.exp(alpha * v_model) - 1) / alpha
# + conjugate = (np.exp(alpha * np.clip(v_model, -80, 80)) - 1) / alpha


# %% wrong="alpha_bound"
# The divergence by the plain ratio, for a tight v only: E_q f(e^v).
def alpha_bound(v_data, v_model, alpha):
    return np.mean(np.expm1(alpha * v_model) / alpha - np.expm1(v_model)) / (alpha - 1)


# %% wrong="alpha_bound"
# The divergence from the samples of p, for a tight v only: E_p f(e^v) e^(−v).
def alpha_bound(v_data, v_model, alpha):
    return np.mean(np.exp((alpha - 1) * v_data) - alpha - (1 - alpha) * np.exp(-v_data)) / (
        alpha * (alpha - 1)
    )


# %% wrong="alpha_bound"
# f without its linear term: f'(1) is not 0, and the conjugate is another.
# - T = (np.exp((alpha - 1) * v_data) - 1) / (alpha - 1)
# - conjugate = (np.exp(alpha * v_model) - 1) / alpha
# + T = np.exp((alpha - 1) * v_data) / (alpha - 1)
# + conjugate = np.exp(alpha * v_model) / alpha


# %% right="frechet_parts"
# Eigenvalues of the small symmetric matrix, negative ones set to 0.
def frechet_parts(x, y):
    x, y = np.array(x, np.float64), np.array(y, np.float64)
    difference = x.mean(axis=0) - y.mean(axis=0)
    x -= x.mean(axis=0)
    y -= y.mean(axis=0)
    cross = x @ y.T / np.sqrt((len(x) - 1) * (len(y) - 1))
    values = np.linalg.eigvalsh(cross @ cross.T)
    variances = np.var(x, axis=0, ddof=1).sum() + np.var(y, axis=0, ddof=1).sum()
    return difference @ difference, variances - 2 * np.sqrt(np.clip(values, 0, None)).sum()


# %% right="frechet_parts"
# TensorFlow in float32, by singular values.
def frechet_parts(x, y):
    x, y = tf.constant(x), tf.constant(y)
    A = (x - tf.reduce_mean(x, axis=0)) / float(len(x) - 1) ** 0.5
    B = (y - tf.reduce_mean(y, axis=0)) / float(len(y) - 1) ** 0.5
    mean_part = tf.reduce_sum((tf.reduce_mean(x, axis=0) - tf.reduce_mean(y, axis=0)) ** 2)
    fit = tf.reduce_sum(tf.linalg.svd(tf.matmul(A, B, transpose_b=True), compute_uv=False))
    return mean_part, tf.reduce_sum(A**2) + tf.reduce_sum(B**2) - 2 * fit


# %% right="frechet_parts"
# Both sets in the space of at most M + N dimensions that they span, then roots of matrices of that size.
def frechet_parts(x, y):
    x, y = x.astype(float), y.astype(float)
    basis, _ = np.linalg.qr(np.concatenate([x, y]).T)  # (D, at most M + N)
    a, b = x @ basis, y @ basis

    def root(S):
        values, vectors = np.linalg.eigh(S)
        return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T

    Sx, Sy = (np.atleast_2d(np.cov(v, rowvar=False)) for v in (a, b))
    covariance = np.trace(Sx) + np.trace(Sy) - 2 * np.trace(root(root(Sx) @ Sy @ root(Sx)))
    return np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2), covariance


# %% wrong="frechet_parts"
# D × D matrices: right, but not with 300,000 features.
def frechet_parts(x, y):
    def root(S):
        values, vectors = np.linalg.eigh(S)
        return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T

    mean_part = np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2)
    Sx, Sy = (np.atleast_2d(np.cov(v, rowvar=False)) for v in (x, y))
    return mean_part, np.trace(Sx) + np.trace(Sy) - 2 * np.trace(root(root(Sx) @ Sy @ root(Sx)))


# %% wrong="frechet_parts"
# Divides by M and N.
# - A = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
# - B = (y - y.mean(axis=0)) / np.sqrt(len(y) - 1)
# + A = (x - x.mean(axis=0)) / np.sqrt(len(x))
# + B = (y - y.mean(axis=0)) / np.sqrt(len(y))


# %% wrong="frechet_parts"
# Forgets to subtract the mean.
# - A = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
# - B = (y - y.mean(axis=0)) / np.sqrt(len(y) - 1)
# + A = x / np.sqrt(len(x) - 1)
# + B = y / np.sqrt(len(y) - 1)


# %% wrong="frechet_parts"
# Subtracts the mean of the pool.
# - A = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
# - B = (y - y.mean(axis=0)) / np.sqrt(len(y) - 1)
# + middle = np.concatenate([x, y]).mean(axis=0)
# + A = (x - middle) / np.sqrt(len(x) - 1)
# + B = (y - middle) / np.sqrt(len(y) - 1)


# %% wrong="frechet_parts"
# The features as if they were independent: a root of each variance.
# - roots = np.linalg.svd(A @ B.T, compute_uv=False)  # of the eigenvalues of A Bᵀ B Aᵀ
# + roots = np.sqrt(np.sum(A**2, axis=0) * np.sum(B**2, axis=0))


# %% wrong="frechet_parts"
# Eigenvalues where their roots belong.
# - roots = np.linalg.svd(A @ B.T, compute_uv=False)  # of the eigenvalues of A Bᵀ B Aᵀ
# + roots = np.linalg.svd(A @ B.T, compute_uv=False) ** 2


# %% wrong="frechet_parts"
# The Frobenius norm: the root of the sum, not the sum of the roots.
# - roots = np.linalg.svd(A @ B.T, compute_uv=False)  # of the eigenvalues of A Bᵀ B Aᵀ
# + roots = np.linalg.norm(A @ B.T)


# %% wrong="frechet_parts"
# The trace of A Bᵀ, which needs as many samples on both sides.
# - roots = np.linalg.svd(A @ B.T, compute_uv=False)  # of the eigenvalues of A Bᵀ B Aᵀ
# + roots = np.abs(np.diag(A @ B.T))


# %% wrong="frechet_parts"
# The difference of covariances: the Frobenius distance.
def frechet_parts(x, y):
    x, y = x.astype(float), y.astype(float)
    A = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    B = (y - y.mean(axis=0)) / np.sqrt(len(y) - 1)
    mean_part = np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2)
    return mean_part, np.sum((A @ A.T) ** 2) + np.sum((B @ B.T) ** 2) - 2 * np.sum((A @ B.T) ** 2)


# %% wrong="frechet_parts"
# The root of the mean part.
# - return mean_part, np.sum(A**2) + np.sum(B**2) - 2 * np.sum(roots)
# + return np.sqrt(mean_part), np.sum(A**2) + np.sum(B**2) - 2 * np.sum(roots)


# %% wrong="frechet_parts"
# The sum of both parts.
# - return mean_part, np.sum(A**2) + np.sum(B**2) - 2 * np.sum(roots)
# + return mean_part + np.sum(A**2) + np.sum(B**2) - 2 * np.sum(roots)


# %% right="count_modes"
# One sample after the other, in float64.
def count_modes(samples, means, widths, weights):
    h = [0.0] * len(means)
    for x in samples.astype(float):
        delta = [np.sqrt(np.sum((x - m) ** 2)) / s for m, s in zip(means, widths, strict=True)]
        k = min(range(len(means)), key=lambda k: delta[k])
        if delta[k] < 3:
            h[k] += 1 / len(samples)
    covered = sum(5 * part >= w - 1e-9 for part, w in zip(h, weights, strict=True))
    return covered, sum(h), sum(max(0.0, float(w) - part) for part, w in zip(h, weights, strict=True))


# %% right="count_modes"
# TensorFlow, squared distances and one-hot vectors.
def count_modes(samples, means, widths, weights):
    squared = tf.reduce_sum((samples[:, None] - means[None]) ** 2, axis=-1) / widths**2
    belongs = tf.one_hot(tf.argmin(squared, axis=1), len(means))
    h = tf.reduce_mean(belongs * tf.cast(squared < 9, tf.float32), axis=0)
    covered = tf.reduce_sum(tf.cast(h >= weights / 5, tf.int32))
    return covered, tf.reduce_sum(h), tf.reduce_sum(tf.nn.relu(weights - h))


# %% right="count_modes"
# SciPy's distances, a loop over the modes; the missing mass by absolute differences.
def count_modes(samples, means, widths, weights):
    from scipy.spatial.distance import cdist

    delta = cdist(samples, means) / widths[None]
    own, good = np.argmin(delta, axis=1), np.min(delta, axis=1) < 3
    h = np.array([np.mean((own == k) & good) for k in range(len(means))])
    missing = (np.sum(np.abs(weights - h)) + np.sum(weights) - np.sum(h)) / 2
    return int(np.count_nonzero(h / weights >= 0.2)), float(h.sum()), float(missing)


# %% wrong="count_modes"
# The nearest mode by plain distance.
# - h = np.bincount(distance.argmin(axis=1)[good], minlength=len(means)) / len(samples)
# + own = np.linalg.norm(samples[:, None] - means[None], axis=2).argmin(axis=1)
# + good = distance[np.arange(len(samples)), own] < 3
# + h = np.bincount(own[good], minlength=len(means)) / len(samples)


# %% wrong="count_modes"
# A mode is covered as soon as one good sample belongs to it.
# - return np.sum(h >= weights / 5), good.mean(), np.sum(np.maximum(0, weights - h))
# + return np.sum(h > 0), good.mean(), np.sum(np.maximum(0, weights - h))


# %% wrong="count_modes"
# All modes of equal weight.
# - return np.sum(h >= weights / 5), good.mean(), np.sum(np.maximum(0, weights - h))
# + return np.sum(h >= 0.2 / len(means)), good.mean(), np.sum(np.maximum(0, weights - h))


# %% wrong="count_modes"
# Shares among the good samples only.
# - h = np.bincount(distance.argmin(axis=1)[good], minlength=len(means)) / len(samples)
# + h = np.bincount(distance.argmin(axis=1)[good], minlength=len(means)) / max(1, good.sum())


# %% wrong="count_modes"
# Bad samples count for the mode that they are nearest to.
# - h = np.bincount(distance.argmin(axis=1)[good], minlength=len(means)) / len(samples)
# + h = np.bincount(distance.argmin(axis=1), minlength=len(means)) / len(samples)


# %% wrong="count_modes"
# Each coordinate within three widths: a square, not a disc.
# - distance = np.linalg.norm(samples[:, None] - means[None], axis=2) / widths  # (N, K)
# + distance = np.abs(samples[:, None] - means[None]).max(axis=2) / widths  # (N, K)


# %% wrong="count_modes"
# A sample near two modes counts for both.
# - h = np.bincount(distance.argmin(axis=1)[good], minlength=len(means)) / len(samples)
# + h = np.mean(distance < 3, axis=0)


# %% wrong="count_modes"
# The missing mass as the total of what is not good.
# - return np.sum(h >= weights / 5), good.mean(), np.sum(np.maximum(0, weights - h))
# + return np.sum(h >= weights / 5), good.mean(), 1 - good.mean()


# %% wrong="count_modes"
# The missing mass as the weight of the modes not covered.
# - return np.sum(h >= weights / 5), good.mean(), np.sum(np.maximum(0, weights - h))
# + return np.sum(h >= weights / 5), good.mean(), np.sum(weights[h < weights / 5])


# %% wrong="count_modes"
# Differences in both directions.
# - return np.sum(h >= weights / 5), good.mean(), np.sum(np.maximum(0, weights - h))
# + return np.sum(h >= weights / 5), good.mean(), np.sum(np.abs(weights - h))


# %% right="mmd_test"
# TensorFlow, float32: weights of pairs in place of blocks.
def mmd_test(x, y, widths, permutations):
    M, N = len(x), len(y)
    pool = tf.constant(np.concatenate([x, y]))
    squared = tf.reduce_sum((pool[:, None] - pool[None]) ** 2, axis=-1)
    orders = np.concatenate([np.arange(M + N)[None], permutations])
    is_x = tf.constant((np.argsort(orders, axis=1) < M).astype(np.float32))  # (P + 1, M + N)
    T = []
    for s in widths:
        k = tf.linalg.set_diag(tf.exp(-squared / (2 * s * s)), tf.zeros(M + N))
        with_x, with_y = is_x @ k, (1 - is_x) @ k
        xx, yy = tf.reduce_sum(with_x * is_x, axis=1), tf.reduce_sum(with_y * (1 - is_x), axis=1)
        xy = tf.reduce_sum(with_x * (1 - is_x), axis=1)
        T.append(xx / (M * (M - 1)) + yy / (N * (N - 1)) - 2 * xy / (M * N))
    T = tf.stack(T)
    S = tf.reduce_max(T / tf.math.reduce_std(T, axis=1, keepdims=True), axis=0)
    reached = tf.reduce_sum(tf.cast(S[1:] >= S[0] - 1e-3, tf.float32))
    return T[:, 0], (1 + reached) / (1 + len(permutations))


# %% right="mmd_test"
# The kernel matrix anew for each order, the standard deviation with divisor P.
def mmd_test(x, y, widths, permutations):
    from scipy.spatial.distance import pdist, squareform

    M, N = len(x), len(y)
    pool = np.vstack([x, y]).astype(np.float64)

    def statistic(order, s):
        a, b = pool[order[:M]], pool[order[M:]]
        cross = np.exp(-np.sum((a[:, None] - b[None]) ** 2, axis=2) / (2 * s**2))
        inside = [np.exp(-squareform(pdist(c, "sqeuclidean")) / (2 * s**2)) for c in (a, b)]
        first, second = ((k.sum() - len(k)) / (len(k) * (len(k) - 1)) for k in inside)
        return first + second - 2 * cross.mean()

    observed = np.array([statistic(range(M + N), float(s)) for s in widths])
    null = np.array([[statistic(list(order), float(s)) for s in widths] for order in permutations])
    sigma = np.std(np.vstack([observed, null]), axis=0, ddof=1)
    best = (null / sigma).max(axis=1)
    return observed, (1 + np.count_nonzero(best > (observed / sigma).max() - 1e-3)) / (1 + len(null))


# %% right="mmd_test"
# |a − b|² from inner products, and the pairs of x and y by subtraction from all pairs.
def mmd_test(x, y, widths, permutations):
    M, N = len(x), len(y)
    pool = np.concatenate([x, y]).astype(float)
    norms = np.sum(pool**2, axis=1)
    squared = np.maximum(norms[:, None] + norms[None] - 2 * pool @ pool.T, 0)
    off = ~np.eye(M + N, dtype=bool)
    table = []
    for order in [list(range(M + N))] + [list(order) for order in permutations]:
        row = []
        for s in widths:
            k = np.exp(-squared / (2 * float(s) ** 2)) * off
            xx = k[np.ix_(order[:M], order[:M])].sum()
            yy = k[np.ix_(order[M:], order[M:])].sum()
            xy = (k.sum() - xx - yy) / 2
            row.append(xx / M / (M - 1) + yy / N / (N - 1) - 2 * xy / M / N)
        table.append(row)
    table = np.array(table)
    S = (table / np.sqrt(np.mean((table - table.mean(axis=0)) ** 2, axis=0))).max(axis=1)
    return list(table[0]), sum(S[0] - 1e-3 <= S) / len(S)


# %% wrong="mmd_test"
# The biased estimate: pairs of a sample with itself count.
# - np.fill_diagonal(k, 0)
#
# - within = dealt[:M, :M].sum() / (M * (M - 1)) + dealt[M:, M:].sum() / (N * (N - 1))
# + within = dealt[:M, :M].mean() + dealt[M:, M:].mean()


# %% wrong="mmd_test"
# e^(−|a − b|² / s²).
# - k = np.exp(-squared / (2 * s**2))
# + k = np.exp(-squared / s**2)


# %% wrong="mmd_test"
# e^(−|a − b| / s): a Laplacian kernel.
# - k = np.exp(-squared / (2 * s**2))
# + k = np.exp(-np.sqrt(squared) / s)


# %% wrong="mmd_test"
# The smallest p-value of the widths.
# - largest = np.max(T / T.std(axis=0), axis=1)
# - return T[0], np.mean(largest >= largest[0] - 1e-3)
# + return T[0], np.min(np.mean(T >= T[0] - 1e-6, axis=0))


# %% wrong="mmd_test"
# The largest T, not standardised: wide kernels decide.
# - largest = np.max(T / T.std(axis=0), axis=1)
# + largest = np.max(T, axis=1)


# %% wrong="mmd_test"
# The mean is subtracted before the division.
# - largest = np.max(T / T.std(axis=0), axis=1)
# + largest = np.max((T - T.mean(axis=0)) / T.std(axis=0), axis=1)


# %% wrong="mmd_test"
# The standard deviation of the permutations without the observed order.
# - largest = np.max(T / T.std(axis=0), axis=1)
# + largest = np.max(T / T[1:].std(axis=0), axis=1)


# %% wrong="mmd_test"
# The width that is best for the observed order decides for all permutations.
# - largest = np.max(T / T.std(axis=0), axis=1)
# + largest = (T / T.std(axis=0))[:, np.argmax(T[0] / T.std(axis=0))]


# %% wrong="mmd_test"
# The observed order does not count: p may be 0.
# - return T[0], np.mean(largest >= largest[0] - 1e-3)
# + return T[0], np.mean(largest[1:] >= largest[0] - 1e-3)


# %% wrong="mmd_test"
# Permutations that are equal to the observed order do not count.
# - return T[0], np.mean(largest >= largest[0] - 1e-3)
# + return T[0], (1 + np.sum(largest[1:] > largest[0] + 1e-3)) / len(largest)


# %% wrong="mmd_test"
# 1 − p.
# - return T[0], np.mean(largest >= largest[0] - 1e-3)
# + return T[0], 1 - np.mean(largest >= largest[0] - 1e-3)


# %% wrong="mmd_test"
# Half the pool for x, whatever the sizes.
# - dealt = k[order][:, order]
# + dealt = k[order][:, order]
# + M = N = len(order) // 2


# %% wrong="mmd_test"
# Only the rows are reordered.
# - dealt = k[order][:, order]
# + dealt = k[order]


# %% wrong="mmd_test"
# Permutes the values of x and y with themselves, not the pool.
# - dealt = k[order][:, order]
# + order = np.concatenate([order[order < M], order[order >= M]])
# + dealt = k[order][:, order]


# %% wrong="mmd_test"
# The mean over the widths, not the largest.
# - largest = np.max(T / T.std(axis=0), axis=1)
# + largest = np.mean(T / T.std(axis=0), axis=1)


# %% equivalent="mmd_test"
# Every entry is filled.
# - T = np.zeros((len(orders), len(widths)))
# + T = np.ones((len(orders), len(widths)))


# %% equivalent="mmd_test"
# No permutation is exactly 10⁻³ below the observed order, nor up to twice that: the tests see to it.
# - return T[0], np.mean(largest >= largest[0] - 1e-3)
# + return T[0], np.mean(largest > largest[0] - 0.001)
#
# - return T[0], np.mean(largest >= largest[0] - 1e-3)
# + return T[0], np.mean(largest >= largest[0] - 0.002)


# %% right="train_generator"
# The preparation's non-saturating loss with R1 alone, in Keras's own loop.
def train_generator(x, seed):
    keras.utils.set_random_seed(seed + 7)

    class GAN(keras.Model):
        def __init__(self, generator, discriminator):
            super().__init__()
            self.generator, self.discriminator = generator, discriminator
            self.adam_d = keras.optimizers.Adam(0.003, beta_1=0.5, beta_2=0.99)
            self.adam_d.build(discriminator.trainable_variables)

        def call(self, z):
            return self.generator(z)

        def train_step(self, data):
            B = tf.shape(data)[0]
            fake = self.generator(tf.random.normal((B, LATENT)))
            with tf.GradientTape() as tape:
                with tf.GradientTape() as inner:
                    inner.watch(data)
                    real_logits = self.discriminator(data)
                slope = inner.gradient(real_logits, data)
                loss_d = tf.reduce_mean(tf.nn.softplus(-real_logits))
                loss_d += tf.reduce_mean(tf.nn.softplus(self.discriminator(fake)))
                loss_d += 0.1 * tf.reduce_mean(tf.reduce_sum(slope**2, axis=1))
            variables = self.discriminator.trainable_variables
            self.adam_d.apply_gradients(zip(tape.gradient(loss_d, variables), variables, strict=True))
            with tf.GradientTape() as tape:
                logits = self.discriminator(self.generator(tf.random.normal((B, LATENT))))
                loss_g = tf.reduce_mean(tf.nn.softplus(-logits))
            variables = self.generator.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss_g, variables), variables, strict=True))
            return {"loss_d": loss_d, "loss_g": loss_g}

    gan = GAN(*build_networks())
    gan.compile(keras.optimizers.Adam(0.003, beta_1=0.5, beta_2=0.99), steps_per_execution=50)
    data = tf.data.Dataset.from_tensor_slices(x).shuffle(len(x)).repeat().batch(100, drop_remainder=True)
    gan.fit(data.take(1500), epochs=1, verbose=0)
    return gan.generator.get_weights()


# %% right="train_generator"
# No discriminator: the generator minimises a kernel distance of batches.
def train_generator(x, seed):
    keras.utils.set_random_seed(seed)
    generator, _ = build_networks()
    B, steps = 256, 1500
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.005, steps))
    adam.build(generator.trainable_variables)

    def mean_kernel(a, b):
        squared = tf.reduce_sum((a[:, None] - b[None]) ** 2, axis=2)
        return sum(tf.reduce_mean(1 / (1 + squared / (2 * s**2))) for s in (0.1, 0.3, 1.0))

    @tf.function
    def run(data):
        for _ in tf.range(steps):
            real = tf.gather(data, tf.random.uniform((B,), maxval=len(x), dtype=tf.int32))
            with tf.GradientTape() as tape:
                fake = generator(tf.random.normal((B, LATENT)))
                loss = mean_kernel(fake, fake) - 2 * mean_kernel(real, fake)
            gradients = tape.gradient(loss, generator.trainable_variables)
            adam.apply_gradients(zip(gradients, generator.trainable_variables, strict=True))

    run(tf.constant(x))
    return [v.numpy() for v in generator.weights]


# %% right="train_generator"
# Hinge losses and one penalty for both kinds; a step of both players in one call from Python.
def train_generator(x, seed):
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed + 1)
    generator, discriminator = build_networks()
    optimizers = [keras.optimizers.Adam(0.004, beta_1=0.0, beta_2=0.99) for _ in range(2)]
    for optimizer, network in zip(optimizers, (generator, discriminator), strict=True):
        optimizer.build(network.trainable_variables)

    @tf.function
    def step(real, z):
        fake = generator(z)
        both = tf.concat([real, fake], axis=0)
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                inner.watch(both)
                logits = discriminator(both)
            slope = tf.reduce_sum(inner.gradient(logits, both) ** 2, axis=1)
            real_logits, fake_logits = tf.split(logits, 2)
            loss = tf.reduce_mean(tf.nn.relu(1 - real_logits)) + tf.reduce_mean(tf.nn.relu(1 + fake_logits))
            loss += 0.1 * tf.reduce_mean(slope)
        variables = discriminator.trainable_variables
        optimizers[1].apply(tape.gradient(loss, variables), variables)
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(discriminator(generator(z)))
        variables = generator.trainable_variables
        optimizers[0].apply(tape.gradient(loss, variables), variables)

    for _ in range(1500):
        real, z = x[rng.integers(len(x), size=128)], rng.normal(size=(128, LATENT))
        step(tf.constant(real), tf.constant(z, tf.float32))
    return generator.weights


# %% wrong="train_generator"
# No penalty.
# - loss_d = loss_d + gamma * (penalty(real) + penalty(fake))
# + loss_d = loss_d + 0 * gamma * (penalty(real) + penalty(fake))


# %% wrong="train_generator"
# The preparation's losses without a cure.
# - loss_d = pairs(discriminator(real), discriminator(fake))
# - loss_d = loss_d + gamma * (penalty(real) + penalty(fake))
# + loss_d = tf.reduce_mean(tf.nn.softplus(-discriminator(real)))
# + loss_d += tf.reduce_mean(tf.nn.softplus(discriminator(fake)))
#
# - loss_g = pairs(discriminator(generator(z)), discriminator(real))
# + loss_g = tf.reduce_mean(tf.nn.softplus(-discriminator(generator(z))))


# %% wrong="train_generator"
# The discriminator's labels are swapped.
# - loss_d = pairs(discriminator(real), discriminator(fake))
# + loss_d = pairs(discriminator(fake), discriminator(real))


# %% wrong="train_generator"
# The generator minimises the discriminator's loss: both work together.
# - loss_g = pairs(discriminator(generator(z)), discriminator(real))
# + loss_g = pairs(discriminator(real), discriminator(generator(z)))


# %% wrong="train_generator"
# The penalty is a number: its gradient is stopped.
# - loss_d = loss_d + gamma * (penalty(real) + penalty(fake))
# + loss_d = loss_d + gamma * tf.stop_gradient(penalty(real) + penalty(fake))


# %% wrong="train_generator"
# Penalises the logits, not their gradient.
# - return tf.reduce_mean(tf.reduce_sum(tape.gradient(logits, samples) ** 2, axis=1)) / 2
# + return tf.reduce_mean(logits**2) / 2


# %% wrong="train_generator"
# A generator that has not been trained.
def train_generator(x, seed):
    keras.utils.set_random_seed(seed)
    return build_networks()[0].get_weights()


# %% wrong="train_generator"
# A single Gaussian: mean and covariance of the points through a linear generator.
def train_generator(x, seed):
    weights = [np.zeros(v.shape, np.float32) for v in build_networks()[0].weights]
    for i in range(2):
        weights[0][i, 2 * i], weights[0][i, 2 * i + 1] = 1, -1
    weights[2][:4, :4] = np.eye(4)
    scale = np.linalg.cholesky(np.cov(x.T)).T
    weights[4][:4] = np.repeat(scale, 2, axis=0) * np.array([[1], [-1], [1], [-1]])
    weights[5][:] = x.mean(axis=0)
    return weights


# %% wrong="train_generator"
# The generator itself, not its weights.
# - return generator.get_weights()
# + return generator


# %% equivalent="train_generator"
# Keras builds the optimisers at the first step, too.
# - adam_g.build(generator.trainable_variables)
# + pass
#
# - adam_d.build(discriminator.trainable_variables)
# + pass


# %% equivalent="train_generator"
# Any seed trains a generator that is good enough; only the result of seed 0 is judged.
# - keras.utils.set_random_seed(seed)
# + pass
