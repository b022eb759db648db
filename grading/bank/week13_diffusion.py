"""Right and wrong answers to the gaps of Week 13, Other schedules, other targets, other variances."""


# %% right="q_sample"
# One example after the other, in float64, from the ratio of signal to noise.
def q_sample(x0, t, eps, c):
    found = []
    for x, level, e in zip(x0.astype(float), t, eps.astype(float), strict=True):
        ratio = (c / np.tan(np.pi * float(level) / 2)) ** 2
        alpha, sigma = np.sqrt(ratio / (1 + ratio)), np.sqrt(1 / (1 + ratio))
        found.append((alpha * x + sigma * e, alpha * e - sigma * x))
    return np.array([x for x, _ in found]), np.array([v for _, v in found])


# %% right="q_sample"
# TensorFlow, by a log-SNR and a sigmoid.
def q_sample(x0, t, eps, c):
    x0, t, eps = tf.constant(x0), tf.constant(t), tf.constant(eps)
    log_snr = 2 * (tf.math.log(float(c)) - tf.math.log(tf.tan(np.pi * t / 2)))
    shape = [-1] + [1] * (len(x0.shape) - 1)
    alpha = tf.reshape(tf.sqrt(tf.sigmoid(log_snr)), shape)
    sigma = tf.reshape(tf.sqrt(tf.sigmoid(-log_snr)), shape)
    return alpha * x0 + sigma * eps, alpha * eps - sigma * x0


# %% right="q_sample"
# The batch as the last axis, turned back at the end.
def q_sample(x0, t, eps, c):
    slope = np.tan(np.pi * t / 2) / c
    alpha = 1 / np.sqrt(1 + slope**2)
    x, e = np.moveaxis(x0, 0, -1), np.moveaxis(eps, 0, -1)
    xt, v = alpha * (x + slope * e), alpha * (e - slope * x)
    return np.moveaxis(xt, -1, 0), np.moveaxis(v, -1, 0)


# %% wrong="q_sample"
# The time runs the wrong way: t = 0 is noise.
# - angle = np.arctan(np.tan(np.pi * t / 2) / c).reshape([-1] + [1] * (x0.ndim - 1))
# + angle = np.arctan(np.tan(np.pi * (1 - t) / 2) / c).reshape([-1] + [1] * (x0.ndim - 1))


# %% wrong="q_sample"
# The shift is applied to the SNR, not to its root.
# - angle = np.arctan(np.tan(np.pi * t / 2) / c).reshape([-1] + [1] * (x0.ndim - 1))
# + angle = np.arctan(np.tan(np.pi * t / 2) / np.sqrt(c)).reshape([-1] + [1] * (x0.ndim - 1))


# %% wrong="q_sample"
# The level goes along the last axis: right where batch and dimensions are told apart, silent where B = D.
def q_sample(x0, t, eps, c):
    angle = np.arctan(np.tan(np.pi * t / 2) / c)
    if x0.shape[-1] != len(t):
        angle = angle.reshape([-1] + [1] * (x0.ndim - 1))
    alpha, sigma = np.cos(angle), np.sin(angle)
    return alpha * x0 + sigma * eps, alpha * eps - sigma * x0


# %% wrong="q_sample"
# The variances in place of their roots.
# - alpha, sigma = np.cos(angle), np.sin(angle)
# + alpha, sigma = np.cos(angle) ** 2, np.sin(angle) ** 2


# %% wrong="q_sample"
# Another sign of the velocity: x_0 minus noise.
# - return alpha * x0 + sigma * eps, alpha * eps - sigma * x0
# + return alpha * x0 + sigma * eps, alpha * x0 - sigma * eps


# %% equivalent="q_sample"
# NumPy takes any negative length for "what is left".
# - angle = np.arctan(np.tan(np.pi * t / 2) / c).reshape([-1] + [1] * (x0.ndim - 1))
# + angle = np.arctan(np.tan(np.pi * t / 2) / c).reshape([-2] + [1] * (x0.ndim - 1))


# %% right="posterior"
# By precisions, the case σ_s = 0 apart.
def posterior(x0, xt, alpha_s, sigma_s, alpha_t, sigma_t):
    means, variances = [], []
    for x, noisy, a, s, A, S in zip(x0, xt, alpha_s, sigma_s, alpha_t, sigma_t, strict=True):
        x, noisy, a, s, A, S = (np.asarray(v, float) for v in (x, noisy, a, s, A, S))
        if s == 0:
            means.append(a * x)
            variances.append(0.0)
            continue
        r = A / a
        v = S**2 - r**2 * s**2
        variance = 1 / (1 / s**2 + r**2 / v)
        means.append(variance * (a * x / s**2 + r * noisy / v))
        variances.append(variance)
    return np.array(means), np.array(variances)


# %% right="posterior"
# x_s and x_t given x_0 are jointly Gaussian: regress the one on the other.
def posterior(x0, xt, alpha_s, sigma_s, alpha_t, sigma_t):
    covariance = alpha_t / alpha_s * sigma_s**2
    gain = covariance / sigma_t**2
    mean = alpha_s[:, None] * x0 + gain[:, None] * (xt - alpha_t[:, None] * x0)
    return mean, sigma_s**2 - gain * covariance


# %% right="posterior"
# TensorFlow.
def posterior(x0, xt, alpha_s, sigma_s, alpha_t, sigma_t):
    r = tf.constant(alpha_t) / tf.constant(alpha_s)
    share = (r * sigma_s / sigma_t) ** 2  # of the noise at t that was there at s
    mean = tf.expand_dims(alpha_s * (1 - share), 1) * x0 + tf.expand_dims(share / r, 1) * xt
    return mean, tf.square(sigma_s) * (1 - share)


# %% wrong="posterior"
# The preparation's formula, for a variance that stays 1.
def posterior(x0, xt, alpha_s, sigma_s, alpha_t, sigma_t):
    a, b = alpha_t**2, alpha_s**2
    beta = 1 - a / b
    scale = np.maximum(1 - a, 1e-6)
    mean = (np.sqrt(b) * beta / scale)[:, None] * x0 + (np.sqrt(a / b) * (1 - b) / scale)[:, None] * xt
    return mean, beta * (1 - b) / scale


# %% wrong="posterior"
# The forward variance, not the posterior's.
# - return to_data[:, None] * x0 + to_noisy[:, None] * xt, added * sigma_s**2 / sigma_t**2
# + return to_data[:, None] * x0 + to_noisy[:, None] * xt, added


# %% wrong="posterior"
# The forward step backwards: a drift where noise belongs.
def posterior(x0, xt, alpha_s, sigma_s, alpha_t, sigma_t):
    ratio = alpha_t / alpha_s
    return xt / ratio[:, None], sigma_t**2 - ratio**2 * sigma_s**2


# %% wrong="posterior"
# Without x_t: the marginal at s.
# - return to_data[:, None] * x0 + to_noisy[:, None] * xt, added * sigma_s**2 / sigma_t**2
# + return alpha_s[:, None] * x0, sigma_s**2


# %% wrong="posterior"
# Levels along the last axis where batch and dimensions are equal in number.
# - return to_data[:, None] * x0 + to_noisy[:, None] * xt, added * sigma_s**2 / sigma_t**2
# + same = x0.shape[0] == x0.shape[1]
# + to_data, to_noisy = (v if same else v[:, None] for v in (to_data, to_noisy))
# + return to_data * x0 + to_noisy * xt, added * sigma_s**2 / sigma_t**2


# %% wrong="posterior"
# By precisions, with a floor below σ_s.
def posterior(x0, xt, alpha_s, sigma_s, alpha_t, sigma_t):
    sigma_s = np.maximum(sigma_s, 0.01)
    ratio = alpha_t / alpha_s
    added = sigma_t**2 - ratio**2 * sigma_s**2
    variance = 1 / (1 / sigma_s**2 + ratio**2 / added)
    mean = (alpha_s / sigma_s**2)[:, None] * x0 + (ratio / added)[:, None] * xt
    return variance[:, None] * mean, variance


# %% wrong="posterior"
# By precisions; one σ_s = 0 sends the whole batch to the data.
def posterior(x0, xt, alpha_s, sigma_s, alpha_t, sigma_t):
    if np.any(sigma_s == 0):
        return alpha_s[:, None] * x0, np.zeros(len(x0))
    ratio = alpha_t / alpha_s
    added = sigma_t**2 - ratio**2 * sigma_s**2
    variance = 1 / (1 / sigma_s**2 + ratio**2 / added)
    mean = (alpha_s / sigma_s**2)[:, None] * x0 + (ratio / added)[:, None] * xt
    return variance[:, None] * mean, variance


# %% right="velocity_loss"
# One example after the other.
def velocity_loss(v_hat, x0, xt, alpha, sigma, gamma):
    losses = []
    for i in range(len(x0)):
        guess = alpha[i] * xt[i] - sigma[i] * v_hat[i]
        weight = tf.minimum(alpha[i] ** 2 / sigma[i] ** 2, gamma)
        losses.append(weight * tf.reduce_mean(tf.square(guess - x0[i])))
    return tf.add_n(losses) / len(losses)


# %% right="velocity_loss"
# The error of the velocity, with its weight: |x_0 − x̂_0|² = σ² |v − v̂|².
def velocity_loss(v_hat, x0, xt, alpha, sigma, gamma):
    B = x0.shape[0]
    flat = [tf.reshape(tf.convert_to_tensor(u), (B, -1)) for u in (v_hat, x0, xt)]
    a, s = (tf.reshape(tf.convert_to_tensor(u), (B, 1)) for u in (alpha, sigma))
    v = (a * flat[2] - flat[1]) / s
    weight = tf.minimum(a**2, gamma * s**2)
    return tf.reduce_mean(weight * (v - flat[0]) ** 2)


# %% right="velocity_loss"
# float64, with einsum.
def velocity_loss(v_hat, x0, xt, alpha, sigma, gamma):
    v_hat, x0, xt, alpha, sigma = (tf.cast(u, tf.float64) for u in (v_hat, x0, xt, alpha, sigma))
    B = x0.shape[0]
    x_hat = tf.einsum("b,b...->b...", alpha, xt) - tf.einsum("b,b...->b...", sigma, v_hat)
    error = tf.reshape(x0 - x_hat, (B, -1))
    weight = tf.minimum((alpha / sigma) ** 2, tf.cast(gamma, tf.float64))
    return tf.einsum("b,bd,bd->", weight, error, error) / float(error.shape[0] * error.shape[1])


# %% wrong="velocity_loss"
# A weight for each example along another axis than the errors: (B, B), silently.
# - return tf.reduce_mean(tf.minimum((alpha / sigma) ** 2, gamma) * errors)
# + return tf.reduce_mean(tf.minimum((alpha / sigma) ** 2, gamma)[:, None] * errors)


# %% wrong="velocity_loss"
# The mean of the weights times the mean of the errors.
# - return tf.reduce_mean(tf.minimum((alpha / sigma) ** 2, gamma) * errors)
# + return tf.reduce_mean(tf.minimum((alpha / sigma) ** 2, gamma)) * tf.reduce_mean(errors)


# %% wrong="velocity_loss"
# The sign of the velocity turned round.
# - x0_hat = tf.reshape(alpha, shape) * xt - tf.reshape(sigma, shape) * v_hat
# + x0_hat = tf.reshape(alpha, shape) * xt + tf.reshape(sigma, shape) * v_hat


# %% wrong="velocity_loss"
# Takes the output for noise.
# - x0_hat = tf.reshape(alpha, shape) * xt - tf.reshape(sigma, shape) * v_hat
# + x0_hat = (xt - tf.reshape(sigma, shape) * v_hat) / tf.reshape(alpha, shape)


# %% wrong="velocity_loss"
# The weight is cut off from below.
# - return tf.reduce_mean(tf.minimum((alpha / sigma) ** 2, gamma) * errors)
# + return tf.reduce_mean(tf.maximum((alpha / sigma) ** 2, gamma) * errors)


# %% wrong="velocity_loss"
# No weight.
# - return tf.reduce_mean(tf.minimum((alpha / sigma) ** 2, gamma) * errors)
# + return tf.reduce_mean(errors)


# %% wrong="velocity_loss"
# Stops the gradient at the guess.
# - errors = tf.reduce_mean((x0 - x0_hat) ** 2, axis=list(range(1, len(x0.shape))))
# + errors = tf.reduce_mean((x0 - tf.stop_gradient(x0_hat)) ** 2, axis=list(range(1, len(x0.shape))))


# %% wrong="velocity_loss"
# NumPy: no gradient.
def velocity_loss(v_hat, x0, xt, alpha, sigma, gamma):
    v_hat, x0, xt, alpha, sigma = (np.asarray(u) for u in (v_hat, x0, xt, alpha, sigma))
    shape = [-1] + [1] * (x0.ndim - 1)
    x_hat = alpha.reshape(shape) * xt - sigma.reshape(shape) * v_hat
    errors = np.mean((x0 - x_hat) ** 2, axis=tuple(range(1, x0.ndim)))
    return tf.constant(np.mean(np.minimum((alpha / sigma) ** 2, gamma) * errors))


# %% right="reverse_chain"
# A loop from the end, in float64, with the posterior's mean for the part of η = 1.
def reverse_chain(guess, x, alphas, sigmas, eta, z):
    a, s = alphas.astype(float), sigmas.astype(float)
    x, K = x.astype(float), len(a) - 1
    for t in range(K, 0, -1):
        data = np.minimum(np.maximum(np.asarray(guess(x, a[t], s[t])), -1), 1)
        noise = (x - a[t] * data) / s[t]
        forward = s[t] ** 2 - (a[t] / a[t - 1]) ** 2 * s[t - 1] ** 2
        sd = eta * np.sqrt(forward) * s[t - 1] / s[t]
        x = a[t - 1] * data + np.sqrt(s[t - 1] ** 2 - sd**2) * noise + sd * z[K - t]
    return x


# %% right="reverse_chain"
# Levels turned round first, TensorFlow, the last step apart.
def reverse_chain(guess, x, alphas, sigmas, eta, z):
    x = tf.constant(x)
    a, s = alphas[::-1], sigmas[::-1]
    for k in range(len(a) - 2):
        data = tf.clip_by_value(guess(x, a[k], s[k]), -1.0, 1.0)
        noise = (x - a[k] * data) / s[k]
        share = (a[k] * s[k + 1] / (a[k + 1] * s[k])) ** 2
        sd = eta * s[k + 1] * np.sqrt(1 - share)
        x = a[k + 1] * data + np.sqrt(s[k + 1] ** 2 - sd**2) * noise + sd * z[k]
    return a[-1] * tf.clip_by_value(guess(x, a[-2], s[-2]), -1.0, 1.0)


# %% right="reverse_chain"
# Recursion over the levels.
def reverse_chain(guess, x, alphas, sigmas, eta, z):
    if len(alphas) == 1:
        return x
    (alpha_s, alpha_t), (sigma_s, sigma_t) = alphas[-2:], sigmas[-2:]
    data = np.clip(guess(x, alpha_t, sigma_t), -1, 1)
    kept = alpha_t * sigma_s / (alpha_s * sigma_t)
    sd = eta * sigma_s * np.sqrt(1 - kept**2)
    noise = (x - alpha_t * data) / sigma_t
    before = alpha_s * data + np.sqrt(sigma_s**2 - sd**2) * noise + sd * z[0]
    return reverse_chain(guess, before, alphas[:-1], sigmas[:-1], eta, z[1:])


# %% wrong="reverse_chain"
# Noise added at the last step too: that of the forward step.
# - variance = eta**2 * added * (sigmas[s] / sigmas[t]) ** 2
# - x = alphas[s] * x0 + np.sqrt(sigmas[s] ** 2 - variance) * eps + np.sqrt(variance) * z[k]
# + variance = eta**2 * added
# + x = alphas[s] * x0 + np.sqrt(np.maximum(sigmas[s] ** 2 - variance, 0)) * eps + np.sqrt(variance) * z[k]


# %% wrong="reverse_chain"
# The time runs the wrong way: the chain starts at the data's end.
def reverse_chain(guess, x, alphas, sigmas, eta, z):
    for t in range(1, len(alphas)):
        s = t - 1
        x0 = np.clip(guess(x, alphas[t], sigmas[t]), -1, 1)
        eps = (x - alphas[t] * x0) / sigmas[t]
        variance = (
            eta**2
            * (sigmas[s] / sigmas[t]) ** 2
            * (sigmas[t] ** 2 - (alphas[t] / alphas[s] * sigmas[s]) ** 2)
        )
        x = alphas[s] * x0 + np.sqrt(sigmas[s] ** 2 - variance) * eps + np.sqrt(variance) * z[t - 1]
    return x


# %% wrong="reverse_chain"
# The noise of the steps in the levels' order, not in that of the steps.
# - x = alphas[s] * x0 + np.sqrt(sigmas[s] ** 2 - variance) * eps + np.sqrt(variance) * z[k]
# + x = alphas[s] * x0 + np.sqrt(sigmas[s] ** 2 - variance) * eps + np.sqrt(variance) * z[s]


# %% wrong="reverse_chain"
# The noise is computed from the guess before it is clipped.
# - x0 = np.clip(guess(x, alphas[t], sigmas[t]), -1, 1)
# - eps = (x - alphas[t] * x0) / sigmas[t]
# + x0 = guess(x, alphas[t], sigmas[t])
# + eps = (x - alphas[t] * x0) / sigmas[t]
# + x0 = np.clip(x0, -1, 1)


# %% wrong="reverse_chain"
# Only the image at the end is clipped.
# - x0 = np.clip(guess(x, alphas[t], sigmas[t]), -1, 1)
# + x0 = guess(x, alphas[t], sigmas[t])
#
# - return x
# + return np.clip(x, -1, 1)


# %% wrong="reverse_chain"
# Noise comes on top: the part in the direction of the guessed noise is not made smaller.
# - x = alphas[s] * x0 + np.sqrt(sigmas[s] ** 2 - variance) * eps + np.sqrt(variance) * z[k]
# + x = alphas[s] * x0 + sigmas[s] * eps + np.sqrt(variance) * z[k]


# %% wrong="reverse_chain"
# The variance multiplies the noise, not its root.
# - x = alphas[s] * x0 + np.sqrt(sigmas[s] ** 2 - variance) * eps + np.sqrt(variance) * z[k]
# + x = alphas[s] * x0 + np.sqrt(sigmas[s] ** 2 - variance) * eps + variance * z[k]


# %% wrong="reverse_chain"
# The preparation's variance, for a variance that stays 1.
# - added = sigmas[t] ** 2 - (alphas[t] / alphas[s] * sigmas[s]) ** 2
# + added = 1 - (alphas[t] / alphas[s]) ** 2


# %% equivalent="reverse_chain"
# −1 clipped between the guess and 1 is the guess clipped from below, then from above.
# - x0 = np.clip(guess(x, alphas[t], sigmas[t]), -1, 1)
# + x0 = np.clip(-1, guess(x, alphas[t], sigmas[t]), 1)


# %% right="bound_bits"
# KL by KL, with both means in full, at x_t = 0.
def bound_bits(x0, guesses, alphas, sigmas, log_decoder):
    def kl(m1, v1, m2, v2):
        return np.sum(0.5 * np.log(v2 / v1) + (v1 + (m1 - m2) ** 2) / (2 * v2) - 0.5, axis=1)

    x0, a, s = x0.astype(float), alphas.astype(float), sigmas.astype(float)
    nats = kl(a[-1] * x0, s[-1] ** 2, 0 * x0, a[-1] ** 2 + s[-1] ** 2)
    for t in range(2, len(a)):
        r = a[t] / a[t - 1]
        forward = s[t] ** 2 - r**2 * s[t - 1] ** 2
        weight = a[t - 1] * forward / s[t] ** 2
        nats = nats + kl(weight * x0, forward * s[t - 1] ** 2 / s[t] ** 2, weight * guesses[t - 1], forward)
    return (nats - log_decoder) / x0.shape[1] / np.log(2)


# %% right="bound_bits"
# All steps at once.
def bound_bits(x0, guesses, alphas, sigmas, log_decoder):
    a, s, D = alphas.astype(float), sigmas.astype(float), x0.shape[1]
    ratio = (s[1:-1] / s[2:]) ** 2
    forward = s[2:] ** 2 - (a[2:] / a[1:-1] * s[1:-1]) ** 2
    error = np.sum((x0[None] - guesses[1:]) ** 2, axis=2)  # (K − 1, B)
    weight = a[1:-1] ** 2 * forward / s[2:] ** 4
    steps = 0.5 * (weight @ error + D * np.sum(ratio - 1 - np.log(ratio)))
    v = a[-1] ** 2 + s[-1] ** 2
    start = 0.5 * np.sum((a[-1] ** 2 * x0**2 + s[-1] ** 2) / v - 1 + np.log(v) - 2 * np.log(s[-1]), axis=1)
    return (start + steps - log_decoder) / (D * np.log(2))


# %% right="bound_bits"
# One image after the other, in TensorFlow, float64.
def bound_bits(x0, guesses, alphas, sigmas, log_decoder):
    x0, guesses, a, s, log_p = (tf.cast(u, tf.float64) for u in (x0, guesses, alphas, sigmas, log_decoder))
    D, K, found = float(x0.shape[1]), guesses.shape[0], []
    for i in range(x0.shape[0]):
        v = a[K] ** 2 + s[K] ** 2
        nats = tf.reduce_sum((a[K] * x0[i]) ** 2) / v + D * (s[K] ** 2 / v - 1 - tf.math.log(s[K] ** 2 / v))
        for t in range(2, K + 1):
            v = s[t] ** 2 - (a[t] * s[t - 1] / a[t - 1]) ** 2
            gap = a[t - 1] * v / s[t] ** 2 * (x0[i] - guesses[t - 1, i])
            q = (s[t - 1] / s[t]) ** 2
            nats += tf.reduce_sum(gap**2) / v + D * (q - 1 - tf.math.log(q))
        found.append(nats / 2 - log_p[i])
    return tf.stack(found) / (D * np.log(2))


# %% wrong="bound_bits"
# The preparation's variance: two Gaussians of equal variance.
# - nats = nats + kl_gaussians(np.sum(apart**2, axis=1), variance, added, D)
# + nats = nats + kl_gaussians(np.sum(apart**2, axis=1), variance, variance, D)


# %% wrong="bound_bits"
# The two Gaussians of the KL exchanged.
# - nats = nats + kl_gaussians(np.sum(apart**2, axis=1), variance, added, D)
# + nats = nats + kl_gaussians(np.sum(apart**2, axis=1), added, variance, D)


# %% wrong="bound_bits"
# No term for the start, "because it has no parameters".
# - nats = start - log_decoder
# + nats = -log_decoder


# %% wrong="bound_bits"
# The guess at level 1 is counted, too, or each one a level too early.
# - apart = a[t - 1] * added / s[t] ** 2 * (x0 - guesses[t - 1])
# + apart = a[t - 1] * added / s[t] ** 2 * (x0 - guesses[t - 2])


# %% wrong="bound_bits"
# The decoder's term is averaged over the batch.
# - nats = start - log_decoder
# + nats = start - np.mean(log_decoder)


# %% wrong="bound_bits"
# The start is a standard normal distribution, also where the variance grows.
# - total = a[-1] ** 2 + s[-1] ** 2
# + total = 1.0


# %% wrong="bound_bits"
# One number for the batch.
# - return nats / (D * np.log(2))
# + return np.mean(nats) / (D * np.log(2))


# %% right="train_velocity"
# Keras's fit on a model of its own data, with levels drawn in advance.
def train_velocity(x, seed):
    keras.utils.set_random_seed(seed)
    network = build_network()
    rng = np.random.default_rng(seed)
    x0 = np.tile(x, (40, 1))
    eps, log_snr = (
        rng.normal(size=x0.shape).astype(np.float32),
        rng.uniform(-5, 5, len(x0)).astype(np.float32),
    )
    alpha, sigma = np.sqrt(1 / (1 + np.exp(-log_snr)))[:, None], np.sqrt(1 / (1 + np.exp(log_snr)))[:, None]
    noisy, v = alpha * x0 + sigma * eps, alpha * eps - sigma * x0
    steps = len(x0) // 200
    rate = keras.optimizers.schedules.CosineDecay(0.005, steps)
    network.compile(keras.optimizers.Adam(rate), "mse", steps_per_execution=steps // 4)
    network.fit([noisy, waves(tf.constant(log_snr)).numpy()], v, batch_size=200, epochs=1, verbose=0)
    return network.get_weights()


# %% right="train_velocity"
# The loss of the data, weighted: σ² |v − v̂|² = |x_0 − x̂_0|²; AdamW.
def train_velocity(x, seed):
    keras.utils.set_random_seed(seed)
    network, steps, B = build_network(), 2000, 256
    rule = keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.005, steps), weight_decay=0.0)
    rule.build(network.trainable_variables)
    data, n = tf.constant(x), x.shape[0]

    @tf.function
    def epoch():
        for _ in tf.range(steps):
            x0 = tf.gather(data, tf.random.uniform([B], 0, n, tf.int32))
            log_snr = tf.random.uniform([B], -5.0, 5.0)
            a, s = tf.sqrt(tf.sigmoid(log_snr))[:, None], tf.sqrt(tf.sigmoid(-log_snr))[:, None]
            xt = a * x0 + s * tf.random.normal([B, 2])
            with tf.GradientTape() as tape:
                x_hat = a * xt - s * network([xt, waves(log_snr)])
                loss = tf.reduce_mean(((x0 - x_hat) / s) ** 2)
            rule.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)

    epoch()
    return [w.numpy() for w in network.weights]


# %% right="train_velocity"
# Levels spread evenly over the batch, a slower rate, the loss of the noise over ᾱ.
def train_velocity(x, seed):
    keras.utils.set_random_seed(seed)
    network, steps, B = build_network(), 2500, 200
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.004, steps))
    adam.build(network.trainable_variables)
    data = tf.constant(x)

    @tf.function
    def run():
        for _ in tf.range(steps):
            x0 = tf.gather(data, tf.random.uniform([B], maxval=len(x), dtype=tf.int32))
            even = tf.range(B, dtype=tf.float32) / B + tf.random.uniform([])
            log_snr, eps = 10 * tf.math.floormod(even, 1.0) - 5, tf.random.normal([B, 2])
            alpha, sigma = tf.sqrt(tf.sigmoid(log_snr))[:, None], tf.sqrt(tf.sigmoid(-log_snr))[:, None]
            noisy = alpha * x0 + sigma * eps
            with tf.GradientTape() as tape:
                guess = sigma * noisy + alpha * network([noisy, waves(log_snr)])
                loss = tf.reduce_mean(((guess - eps) / alpha) ** 2)
            adam.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)

    run()
    return network.get_weights()


# %% wrong="train_velocity"
# One level for the whole batch, given to the network, but another one in the waves.
# - v = network([alpha * x0 + sigma * eps, waves(log_snr)])
# + v = network([alpha * x0 + sigma * eps, waves(tf.random.uniform([B], -5.0, 5.0))])


# %% wrong="train_velocity"
# The time runs the wrong way in the waves.
# - v = network([alpha * x0 + sigma * eps, waves(log_snr)])
# + v = network([alpha * x0 + sigma * eps, waves(-log_snr)])


# %% wrong="train_velocity"
# Guesses the noise.
# - return tf.reduce_mean((v - (alpha * eps - sigma * x0)) ** 2)
# + return tf.reduce_mean((v - eps) ** 2)


# %% wrong="train_velocity"
# The straight way's velocity, ε − x_0.
# - return tf.reduce_mean((v - (alpha * eps - sigma * x0)) ** 2)
# + return tf.reduce_mean((v - (eps - x0)) ** 2)


# %% wrong="train_velocity"
# Only half of the levels.
# - log_snr, eps = tf.random.uniform([B], -5.0, 5.0), tf.random.normal([B, 2])
# + log_snr, eps = tf.random.uniform([B], 0.0, 5.0), tf.random.normal([B, 2])


# %% wrong="train_velocity"
# Too few steps.
# - minimise(loss, network)
# + minimise(loss, network, steps=100)


# %% equivalent="train_velocity"
# Another seed trains as well.
# - keras.utils.set_random_seed(seed)
# + pass


# %% wrong="train_velocity"
# NumPy draws within the loss: they are fixed when it is traced, one batch for all steps.
# - x0 = tf.gather(data, tf.random.uniform([B], maxval=len(x), dtype=tf.int32))
# - log_snr, eps = tf.random.uniform([B], -5.0, 5.0), tf.random.normal([B, 2])
# + x0 = tf.gather(data, np.random.choice(len(x), B))
# + log_snr = np.random.uniform(-5, 5, B).astype(np.float32)
# + eps = np.random.normal(size=(B, 2)).astype(np.float32)


# %% wrong="bound_bits"
# The start's KL the wrong way round.
# - start = kl_gaussians(np.sum((a[-1] * x0) ** 2, axis=1), s[-1] ** 2, total, D)
# + start = kl_gaussians(np.sum((a[-1] * x0) ** 2, axis=1), total, s[-1] ** 2, D)
