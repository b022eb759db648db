"""Right and wrong answers to the gaps of Week 5, Steps, scores and energies in other forms."""


# %% right="langevin_step"
# One point at a time in float64, plain loops; gradients in NumPy by hand for the training.
def langevin_step(energy, x, L, eps, T, noise):
    new = []
    for row, xi in zip(np.asarray(x, np.float64), np.asarray(noise, np.float64), strict=True):
        point = tf.Variable(row[None])
        with tf.GradientTape() as tape:
            e = energy(point)[0]
        g = tape.gradient(e, point).numpy()[0]
        new.append(row - 0.5 * eps * (L @ (L.T @ g)) + np.sqrt(eps * T) * (L @ xi))
    return np.array(new)


# %% right="langevin_step"
# Other formulas: noise-free identities, finite differences, sorting, maximum likelihood on a grid.
def langevin_step(energy, x, L, eps, T, noise):
    # in coordinates z with x = L z the step is a plain one
    z = tf.constant(np.linalg.solve(L, x.T).T, tf.float64)
    L = tf.constant(L, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(z)
        e = energy(z @ tf.transpose(L))
    z = z - eps / 2 * tape.gradient(e, z) + (eps * T) ** 0.5 * tf.cast(noise, tf.float64)
    return z @ tf.transpose(L)


# %% right="langevin_step"
# TensorFlow in float32 throughout, batched; the training ranks a datum among its noise by a softmax.
@tf.function
def langevin_step(energy, x, L, eps, T, noise):
    x, L, noise = (tf.convert_to_tensor(z, tf.float32) for z in (x, L, noise))
    gradient = tf.gradients(energy(x), x)[0]
    P = tf.matmul(L, L, transpose_b=True)
    eps, T = tf.cast(eps, tf.float32), tf.cast(T, tf.float32)
    return x - eps / 2 * tf.linalg.matvec(P, gradient) + tf.sqrt(eps * T) * tf.linalg.matvec(L, noise)


# %% wrong="langevin_step"
# Divides the drift by T and keeps T in the noise as well.
# - drift = -eps / 2 * gradient @ (L @ L.T)
# + drift = -eps / (2 * T) * gradient @ (L @ L.T)


# %% wrong="langevin_step"
# L in the drift where P = L Lᵀ belongs.
# - drift = -eps / 2 * gradient @ (L @ L.T)
# + drift = -eps / 2 * gradient @ L.T


# %% wrong="langevin_step"
# Preconditions the noise only.
# - drift = -eps / 2 * gradient @ (L @ L.T)
# + drift = -eps / 2 * gradient


# %% wrong="langevin_step"
# P = Lᵀ L.
# - drift = -eps / 2 * gradient @ (L @ L.T)
# + drift = -eps / 2 * gradient @ (L.T @ L)


# %% wrong="langevin_step"
# T in place of its square root.
# - return x + drift + np.sqrt(eps * T) * noise @ L.T
# + return x + drift + T * np.sqrt(eps) * noise @ L.T


# %% right="mala_step"
# One point at a time in float64, plain loops; gradients in NumPy by hand for the training.
def mala_step(energy, x, L, eps, T, noise, u):
    x, L = x.astype(np.float64), L.astype(np.float64)
    P = L @ L.T
    inverse = np.linalg.inv(eps * T * P)

    def look(points):
        t = tf.Variable(points)
        with tf.GradientTape() as tape:
            e = energy(t)
        return e.numpy(), tape.gradient(e, t).numpy()

    def log_q(to, start, g):
        away = to - (start - 0.5 * eps * P @ g)
        return -0.5 * away @ inverse @ away

    e_x, g_x = look(x)
    y = np.array([x[i] - 0.5 * eps * P @ g_x[i] + np.sqrt(eps * T) * L @ noise[i] for i in range(len(x))])
    e_y, g_y = look(y)
    new, accepted = [], []
    for i in range(len(x)):
        log_a = -e_y[i] / T + e_x[i] / T + log_q(x[i], y[i], g_y[i]) - log_q(y[i], x[i], g_x[i])
        accepted.append(bool(u[i] < np.exp(min(0.0, log_a))))
        new.append(y[i] if accepted[-1] else x[i])
    return new, accepted


# %% right="mala_step"
# Other formulas: noise-free identities, finite differences, sorting, maximum likelihood on a grid.
def mala_step(energy, x, L, eps, T, noise, u):
    x, L = x.astype(np.float64), L.astype(np.float64)

    def value(point):
        return np.asarray(energy(tf.constant(point)), float)

    def slope(point, h=1e-5):  # central differences
        steps = h * np.eye(point.shape[1])
        return np.stack([(value(point + d) - value(point - d)) / (2 * h) for d in steps], axis=1)

    def log_q(to, start):
        away = to - start + eps / 2 * slope(start) @ L @ L.T
        return -np.sum(away * np.linalg.solve(L @ L.T, away.T).T, axis=1) / (2 * eps * T)

    y = x - eps / 2 * slope(x) @ L @ L.T + np.sqrt(eps * T) * noise @ L.T
    ratio = -value(y) / T + log_q(x, y) + value(x) / T - log_q(y, x)
    accepted = (ratio > np.log(u)).astype(int)
    return x + accepted[:, None] * (y - x), accepted


# %% right="mala_step"
# TensorFlow in float32 throughout, batched; the training ranks a datum among its noise by a softmax.
def mala_step(energy, x, L, eps, T, noise, u):
    x, L, noise = (tf.constant(z, tf.float32) for z in (x, L, noise))
    size = tf.sqrt(tf.constant(eps * T, tf.float32))

    def drifted(point):
        with tf.GradientTape() as tape:
            tape.watch(point)
            e = energy(point)
        g = tape.gradient(e, point)
        return e, point - eps / 2 * tf.linalg.matvec(L, tf.linalg.matvec(L, g, transpose_a=True))

    e_x, mean_x = drifted(x)
    y = mean_x + size * tf.linalg.matvec(L, noise)
    e_y, mean_y = drifted(y)
    normal_y = tf.linalg.triangular_solve(L, tf.transpose(x - mean_y)) / size  # (D, B)
    log_ratio = (e_x - e_y) / T + (tf.reduce_sum(noise**2, 1) - tf.reduce_sum(normal_y**2, 0)) / 2
    accepted = tf.constant(u) < tf.exp(tf.minimum(0.0, log_ratio))
    return tf.where(accepted[:, None], y, x), accepted


# %% wrong="mala_step"
# Accepts everything: the unadjusted step.
# - accepted = np.log(u) < log_a
# + accepted = np.log(u) < np.abs(log_a)


# %% wrong="mala_step"
# Prefers high energies.
# - log_a = (e_x - e_y) / T + log_q_xy - log_q_yx
# + log_a = (e_y - e_x) / T + log_q_xy - log_q_yx


# %% wrong="mala_step"
# Exponentials of single energies, which overflow.
# - back = np.linalg.solve(L, (x - y + eps / 2 * g_y @ P).T).T / np.sqrt(eps * T)
# + back = (x - y + eps / 2 * g_y @ P) @ np.linalg.inv(L).T / np.sqrt(eps * T)
# - log_a = (e_x - e_y) / T + log_q_xy - log_q_yx
# - accepted = np.log(u) < log_a
# + a = np.exp(-e_y / T) / np.exp(-e_x / T) * np.exp(log_q_xy - log_q_yx)
# + accepted = u < a


# %% wrong="mala_step"
# The way back uses the gradient at x.
# - back = np.linalg.solve(L, (x - y + eps / 2 * g_y @ P).T).T / np.sqrt(eps * T)
# + back = np.linalg.solve(L, (x - y + eps / 2 * g_x @ P).T).T / np.sqrt(eps * T)


# %% wrong="mala_step"
# L⁻¹ applied to rows from the wrong side.
# - back = np.linalg.solve(L, (x - y + eps / 2 * g_y @ P).T).T / np.sqrt(eps * T)
# + back = (x - y + eps / 2 * g_y @ P) @ np.linalg.inv(L) / np.sqrt(eps * T)


# %% wrong="mala_step"
# One decision for the whole batch.
# - accepted = np.log(u) < log_a
# + accepted = np.full(len(x), np.log(u).mean() < log_a.mean())


# %% wrong="mala_step"
# The two q change places.
# - log_a = (e_x - e_y) / T + log_q_xy - log_q_yx
# + log_a = (e_x - e_y) / T + log_q_yx - log_q_xy


# %% wrong="mala_step"
# Measures the way back without L⁻¹.
# - back = np.linalg.solve(L, (x - y + eps / 2 * g_y @ P).T).T / np.sqrt(eps * T)
# + back = (x - y + eps / 2 * g_y @ P) / np.sqrt(eps * T)


# %% wrong="mala_step"
# Accepts if u is above a.
# - accepted = np.log(u) < log_a
# + accepted = np.log(u) > log_a


# %% wrong="mala_step"
# Leaves out both q, as if the proposal were symmetric.
# - e_y, g_y = energy_and_gradient(energy, y)
# - back = np.linalg.solve(L, (x - y + eps / 2 * g_y @ P).T).T / np.sqrt(eps * T)
# - log_q_yx = -0.5 * np.sum(noise**2, axis=1)
# - log_q_xy = -0.5 * np.sum(back**2, axis=1)
# - log_a = (e_x - e_y) / T + log_q_xy - log_q_yx
# + e_y, _ = energy_and_gradient(energy, y)
# + log_a = (e_x - e_y) / T


# %% equivalent="mala_step"
# A uniform number is never exactly the ratio.
# - accepted = np.log(u) < log_a
# + accepted = np.log(u) <= log_a


# %% right="fit_polynomial"
# One point at a time in float64, plain loops; gradients in NumPy by hand for the training.
def fit_polynomial(x, K):
    M, r = np.zeros((K, K)), np.zeros(K)
    for value in x:
        value = float(value)
        first = [k * value ** (k - 1) for k in range(1, K + 1)]
        second = [0.0] + [k * (k - 1) * value ** (k - 2) for k in range(2, K + 1)]
        for a in range(K):
            r[a] += second[a] / len(x)
            for b in range(K):
                M[a, b] += first[a] * first[b] / len(x)
    return [float(t) for t in np.linalg.inv(M) @ r]


# %% right="fit_polynomial"
# Other formulas: noise-free identities, finite differences, sorting, maximum likelihood on a grid.
def fit_polynomial(x, K):
    moments = [np.mean(x.astype(np.float64) ** n) for n in range(2 * K - 1)]
    M = np.array([[k * j * moments[k + j - 2] for j in range(1, K + 1)] for k in range(1, K + 1)])
    r = np.array([k * (k - 1) * moments[max(k - 2, 0)] for k in range(1, K + 1)])
    return np.linalg.lstsq(M, r, rcond=None)[0]


# %% right="fit_polynomial"
# TensorFlow in float32 throughout, batched; the training ranks a datum among its noise by a softmax.
def fit_polynomial(x, K):
    x = tf.constant(x, tf.float32)
    first = tf.stack([k * x ** (k - 1) for k in range(1, K + 1)], axis=1)
    second = tf.stack([k * (k - 1) * x ** max(k - 2, 0) for k in range(1, K + 1)], axis=1)
    M = tf.matmul(first, first, transpose_a=True) / len(x)
    return tf.linalg.solve(M, tf.reduce_mean(second, axis=0)[:, None])[:, 0]


# %% wrong="fit_polynomial"
# Forgets the factor ½: minimises mean(s² + s').
# - M = first.T @ first / len(x)
# + M = 2 * first.T @ first / len(x)


# %% wrong="fit_polynomial"
# Takes r from the first derivatives.
# - second = k * (k - 1) * x ** np.maximum(k - 2, 0)  # (N, K)
#
# - r = second.mean(axis=0)
# + r = first.mean(axis=0)


# %% wrong="fit_polynomial"
# The score is taken as plus the derivative of the energy: r has the wrong sign.
# - return np.linalg.solve(M, r)
# + return -np.linalg.solve(M, r)


# %% right="denoising_loss"
# One point at a time in float64, plain loops; gradients in NumPy by hand for the training.
def denoising_loss(energy, x, sigma, noise, r):
    total = 0.0
    for b in range(len(x)):
        level = np.array([sigma[b]], np.float64)
        noisy = tf.constant(x[b : b + 1].astype(np.float64) + level[0] * noise[b])
        with tf.GradientTape() as tape:
            tape.watch(noisy)
            e = energy(noisy, tf.constant(level))
        score = -tape.gradient(e, noisy).numpy()[0]
        target = (x[b] - noisy.numpy()[0]) / level[0] ** 2
        total += level[0] ** r * np.sum((score - target) ** 2) / 2
    return total / len(x)


# %% right="denoising_loss"
# Other formulas: noise-free identities, finite differences, sorting, maximum likelihood on a grid.
def denoising_loss(energy, x, sigma, noise, r):
    x, sigma, noise = (tf.constant(z, tf.float64) for z in (x, sigma, noise))
    with tf.GradientTape() as tape:
        tape.watch(noise)  # the derivative by the noise is σ times that by the noisy point
        e = energy(x + sigma[:, None] * noise, sigma)
    slope = tape.gradient(e, noise)
    lengths = tf.reduce_sum((noise - slope) ** 2, axis=1) / sigma**2
    return np.float32(tf.tensordot(sigma**r, lengths, 1) / (2 * x.shape[0]))


# %% right="denoising_loss"
# TensorFlow in float32 throughout, batched; the training ranks a datum among its noise by a softmax.
def denoising_loss(energy, x, sigma, noise, r):
    x, noise, level = tf.constant(x), tf.constant(noise), tf.constant(sigma)[:, None]
    noisy = x + level * noise
    with tf.GradientTape() as tape:
        tape.watch(noisy)
        e = energy(noisy, tf.constant(sigma))
    error = -level * tape.gradient(e, noisy) + noise  # σ (score − target)
    return tf.reduce_sum(level ** (r - 2) * error**2) / (2 * len(x))


# %% wrong="denoising_loss"
# One mean weight for all levels.
# - return np.mean(sigma**r / 2 * np.sum((score - target) ** 2, axis=1))
# + return np.mean(np.mean(sigma**r) / 2 * np.sum((score - target) ** 2, axis=1))


# %% wrong="denoising_loss"
# Hands sigma to the energy as a column: (B, 1) against (B,) becomes (B, B).
# - noisy = x + sigma[:, None] * noise
# + sigma = sigma[:, None]
# + noisy = x + sigma * noise
# - target = -noise / sigma[:, None]
# - return np.mean(sigma**r / 2 * np.sum((score - target) ** 2, axis=1))
# + return np.mean(sigma[:, 0] ** r / 2 * np.sum((score + noise / sigma) ** 2, axis=1))


# %% wrong="denoising_loss"
# Target −ξ/σ².
# - target = -noise / sigma[:, None]
# + target = -noise / sigma[:, None] ** 2


# %% wrong="denoising_loss"
# The weight inside the square.
# - return np.mean(sigma**r / 2 * np.sum((score - target) ** 2, axis=1))
# + return np.mean(np.sum((sigma[:, None] ** r * (score - target)) ** 2, axis=1) / 2)


# %% right="nce"
# One point at a time in float64, plain loops; gradients in NumPy by hand for the training.
def nce(f_data, f_noise, log_q_data, log_q_noise, log_z):
    B, nu = len(f_data), len(f_noise) / len(f_data)
    loss = slope = 0.0
    for f, q in zip(f_data.astype(float), log_q_data.astype(float), strict=True):
        d = f - log_z - q - np.log(nu)
        loss += (max(-d, 0) + np.log1p(np.exp(-abs(d)))) / B
        slope += 1 / (1 + np.exp(min(d, 700.0))) / B
    for f, q in zip(f_noise.astype(float), log_q_noise.astype(float), strict=True):
        d = f - log_z - q - np.log(nu)
        loss += (max(d, 0) + np.log1p(np.exp(-abs(d)))) / B
        slope -= 1 / (1 + np.exp(min(-d, 700.0))) / B
    return loss, slope


# %% right="nce"
# Other formulas: noise-free identities, finite differences, sorting, maximum likelihood on a grid.
def nce(f_data, f_noise, log_q_data, log_q_noise, log_z):
    def value(log_z):
        total = 0.0
        for f, log_q, is_data in ((f_data, log_q_data, True), (f_noise, log_q_noise, False)):
            log_p = f.astype(np.float64) - log_z
            log_nq = log_q.astype(np.float64) + np.log(len(f_noise)) - np.log(len(f_data))
            right = log_p if is_data else log_nq
            total -= np.sum(right - np.logaddexp(log_p, log_nq))
        return total / len(f_data)

    h = 1e-5
    return np.array([value(log_z), (value(log_z + h) - value(log_z - h)) / (2 * h)])[:2].tolist()


# %% right="nce"
# TensorFlow in float32 throughout, batched; the training ranks a datum among its noise by a softmax.
def nce(f_data, f_noise, log_q_data, log_q_noise, log_z):
    log_z = tf.constant(log_z, tf.float32)
    log_nu = float(np.log(len(f_noise) / len(f_data)))
    with tf.GradientTape() as tape:
        tape.watch(log_z)
        data = tf.nn.sigmoid_cross_entropy_with_logits(
            tf.ones(len(f_data)), f_data - log_z - log_q_data - log_nu
        )
        noise = tf.nn.sigmoid_cross_entropy_with_logits(
            tf.zeros(len(f_noise)), f_noise - log_z - log_q_noise - log_nu
        )
        loss = (tf.reduce_sum(data) + tf.reduce_sum(noise)) / len(f_data)
    return loss, tape.gradient(loss, log_z)


# %% wrong="nce"
# Divides by B + M.
# - loss = (np.logaddexp(0, -delta_data).sum() + np.logaddexp(0, delta_noise).sum()) / B
# + loss = (np.logaddexp(0, -delta_data).sum() + np.logaddexp(0, delta_noise).sum()) / (B + M)
# - return loss, (noise_given_data.sum() - data_given_noise.sum()) / B
# + return loss, (noise_given_data.sum() - data_given_noise.sum()) / (B + M)


# %% wrong="nce"
# Takes f for the energy.
# - delta_data = f_data - log_z - log_q_data - np.log(M / B)
# - delta_noise = f_noise - log_z - log_q_noise - np.log(M / B)
# + delta_data = -f_data - log_z - log_q_data - np.log(M / B)
# + delta_noise = -f_noise - log_z - log_q_noise - np.log(M / B)


# %% wrong="nce"
# p = e^f Z: log Z with the wrong sign.
# - delta_data = f_data - log_z - log_q_data - np.log(M / B)
# - delta_noise = f_noise - log_z - log_q_noise - np.log(M / B)
# + delta_data = f_data + log_z - log_q_data - np.log(M / B)
# + delta_noise = f_noise + log_z - log_q_noise - np.log(M / B)


# %% wrong="nce"
# A mean over the noise in place of nu times it.
# - loss = (np.logaddexp(0, -delta_data).sum() + np.logaddexp(0, delta_noise).sum()) / B
# + loss = (np.logaddexp(0, -delta_data).sum() + np.logaddexp(0, delta_noise).mean() * B) / B
# - return loss, (noise_given_data.sum() - data_given_noise.sum()) / B
# + return loss, (noise_given_data.sum() - data_given_noise.mean() * B) / B


# %% wrong="nce"
# Leaves out the noise density.
# - delta_data = f_data - log_z - log_q_data - np.log(M / B)
# - delta_noise = f_noise - log_z - log_q_noise - np.log(M / B)
# + delta_data = f_data - log_z - np.log(M / B)
# + delta_noise = f_noise - log_z - np.log(M / B)


# %% wrong="nce"
# Leaves out log nu.
# - B, M = len(f_data), len(f_noise)
# - delta_data = f_data - log_z - log_q_data - np.log(M / B)
# - delta_noise = f_noise - log_z - log_q_noise - np.log(M / B)
# + B = len(f_data)
# + delta_data = f_data - log_z - log_q_data
# + delta_noise = f_noise - log_z - log_q_noise


# %% wrong="nce"
# Adds log nu.
# - delta_data = f_data - log_z - log_q_data - np.log(M / B)
# - delta_noise = f_noise - log_z - log_q_noise - np.log(M / B)
# + delta_data = f_data - log_z - log_q_data + np.log(M / B)
# + delta_noise = f_noise - log_z - log_q_noise + np.log(M / B)


# %% wrong="nce"
# The derivative with respect to −log Z.
# - return loss, (noise_given_data.sum() - data_given_noise.sum()) / B
# + return loss, -(noise_given_data.sum() - data_given_noise.sum()) / B


# %% right="train_energy"
# One point at a time in float64, plain loops; gradients in NumPy by hand for the training.
def train_energy(x_train, seed):
    rng = np.random.default_rng(seed)
    steps, B, M = 1000, 150, 450
    W = [rng.normal(size=s) / np.sqrt(s[0]) if len(s) == 2 else np.zeros(s) for s in SHAPES] + [np.zeros(())]
    first, second = [np.zeros_like(w) for w in W], [np.zeros_like(w) for w in W]
    mean, deviation = x_train.mean(axis=0), 1.3 * x_train.std(axis=0)  # of Gaussian noise, axis by axis
    times = "ni,ij->nj"
    for t in range(1, steps + 1):
        data = x_train[rng.integers(len(x_train), size=B)]
        x = np.concatenate([data, mean + deviation * rng.standard_normal((M, 2))])
        log_q = -0.5 * (((x - mean) / deviation) ** 2).sum(1) - np.log(2 * np.pi * deviation.prod())
        W1, b1, W2, b2, w3, log_z = W
        h1 = np.tanh(np.einsum(times, x, W1) + b1)
        h2 = np.tanh(np.einsum(times, h1, W2) + b2)
        delta = -((x**2).sum(1) / 8 + (h2 * w3).sum(1)) - log_z - log_q - np.log(M / B)
        p = 0.5 * (1 + np.tanh(delta / 2))
        p[:B] -= 1  # d loss / d delta, times B
        d_e = -p / B
        a2 = d_e[:, None] * w3 * (1 - h2**2)
        a1 = np.einsum(times, a2, W2.T) * (1 - h1**2)
        outer = "ni,nj->ij"
        gradient = [np.einsum(outer, x, a1), a1.sum(0), np.einsum(outer, h1, a2), a2.sum(0)]
        gradient += [(d_e[:, None] * h2).sum(0), d_e.sum()]
        rate = 0.01 * (1 + np.cos(np.pi * t / steps))
        for i, g in enumerate(gradient):
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.999 * second[i] + 0.001 * g**2
            W[i] = W[i] - rate * (first[i] / (1 - 0.9**t)) / (np.sqrt(second[i] / (1 - 0.999**t)) + 1e-8)
    return tuple(W[:5])


# %% right="train_energy"
# Other formulas: noise-free identities, finite differences, sorting, maximum likelihood on a grid.
def train_energy(x_train, seed):
    rng = np.random.default_rng(seed)
    steps, B, h = 400, 200, 0.25
    axis = np.arange(-4, 4.01, h, dtype=np.float32)
    grid = tf.constant(np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2))
    weights = [
        tf.Variable((rng.normal(size=s) / np.sqrt(s[0]) if len(s) == 2 else np.zeros(s)).astype(np.float32))
        for s in SHAPES
    ]
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(0.02, steps))
    optimizer.build(weights)

    @tf.function
    def step(x, shift):
        with tf.GradientTape() as tape:
            log_z = tf.reduce_logsumexp(-energy_net(grid + shift, weights))
            loss = tf.reduce_mean(energy_net(x, weights)) + log_z
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    for _ in range(steps):
        shift = tf.constant((h * (rng.random(2) - 0.5)).astype(np.float32))
        step(tf.constant(x_train[rng.integers(len(x_train), size=B)]), shift)
    return [w.numpy().astype(np.float64) for w in weights]


# %% right="train_energy"
# TensorFlow in float32 throughout, batched; the training ranks a datum among its noise by a softmax.
def train_energy(x_train, seed):
    generator = tf.random.Generator.from_seed(seed + 1)
    steps, B, M = 600, 200, 400
    deviation = 1.3 * tf.math.reduce_std(x_train, axis=0)
    weights = [
        tf.Variable(generator.normal(s) * (s[0] ** -0.5 if len(s) == 2 else 0.0), dtype=tf.float32)
        for s in SHAPES
    ]
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(0.02, steps))
    optimizer.build(weights)
    data = tf.constant(x_train)

    @tf.function
    def step():  # ranking: which of 1 + M points is the datum? Z cancels
        x = tf.gather(data, generator.uniform((B,), maxval=len(x_train), dtype=tf.int32))
        y = deviation * generator.normal((M, 2))
        with tf.GradientTape() as tape:
            f_x = -energy_net(x, weights) + tf.reduce_sum((x / deviation) ** 2, axis=1) / 2
            f_y = -energy_net(y, weights) + tf.reduce_sum((y / deviation) ** 2, axis=1) / 2
            loss = tf.reduce_mean(tf.nn.softplus(tf.reduce_logsumexp(f_y) - f_x))
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    for _ in range(steps):
        step()
    return weights


# %% wrong="train_energy"
# Lowers the energy at the data and contrasts with nothing.
# - return doubt + nu * belief
# + return doubt
# - minimise(loss, [*weights, log_z], x_train, seed)
# + minimise(loss, [*weights, log_z], x_train, seed, steps=200)


# %% wrong="train_energy"
# Trains f = +energy_net, so the weights describe minus the energy.
# - return -energy_net(x, weights) - log_z - log_q - np.log(nu)
# + return energy_net(x, weights) - log_z - log_q - np.log(nu)
# - minimise(loss, [*weights, log_z], x_train, seed)
# + minimise(loss, [*weights, log_z], x_train, seed, steps=200)


# %% wrong="train_energy"
# Far too few steps.
# - minimise(loss, [*weights, log_z], x_train, seed)
# + minimise(loss, [*weights, log_z], x_train, seed, steps=5)


# %% wrong="train_energy"
# Data and noise change places: the energy rises at the data.
# - delta_data, delta_noise = delta(x), delta(mean + z @ C.T)
# + delta_noise, delta_data = delta(x), delta(mean + z @ C.T)
# - minimise(loss, [*weights, log_z], x_train, seed)
# + minimise(loss, [*weights, log_z], x_train, seed, steps=200)


# %% wrong="fit_polynomial"
# Derivatives written out, up to the fourth degree.
# - return np.linalg.solve(M, r)
# + return np.linalg.solve(M[:4, :4], r[:4])


# %% wrong="nce"
# log(1 + exp(x)) as it stands: exp overflows, in float64 beyond 709.
# - loss = (np.logaddexp(0, -delta_data).sum() + np.logaddexp(0, delta_noise).sum()) / B
# + loss = (np.log1p(np.exp(-delta_data)).sum() + np.log1p(np.exp(delta_noise)).sum()) / B


# %% wrong="fit_polynomial"
# A ridge on M "for stability".
# - return np.linalg.solve(M, r)
# + return np.linalg.solve(M + 1e-3 * np.eye(K), r)


# %% wrong="fit_polynomial"
# Drops small singular values.
# - return np.linalg.solve(M, r)
# + return np.linalg.pinv(M, rcond=1e-3) @ r


# %% wrong="langevin_step"
# Replaces L in the noise by the Cholesky factor of P.
# - return x + drift + np.sqrt(eps * T) * noise @ L.T
# + return x + drift + np.sqrt(eps * T) * noise @ np.linalg.cholesky(L @ L.T).T


# %% wrong="denoising_loss"
# Keeps small levels out of the denominator.
# - target = -noise / sigma[:, None]
# + target = -noise / np.maximum(sigma[:, None], 0.1)


# %% wrong="train_energy"
# A parameter so large that the test loses the normaliser in floating point.
def train_energy(x_train, seed):
    w = [np.zeros(s) for s in SHAPES]
    w[3][0], w[4][0] = 100, -1e20
    return w
