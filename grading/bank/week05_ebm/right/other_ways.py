"""Other formulas: noise-free identities, finite differences, sorting, maximum likelihood on a grid."""


# %% solution="langevin_step"
def langevin_step(energy, x, L, eps, T, noise):
    # in coordinates z with x = L z the step is a plain one
    z = tf.constant(np.linalg.solve(L, x.T).T, tf.float64)
    L = tf.constant(L, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(z)
        e = energy(z @ tf.transpose(L))
    z = z - eps / 2 * tape.gradient(e, z) + (eps * T) ** 0.5 * tf.cast(noise, tf.float64)
    return z @ tf.transpose(L)


# %% solution="mala_step"
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


# %% solution="fit_polynomial"
def fit_polynomial(x, K):
    moments = [np.mean(x.astype(np.float64) ** n) for n in range(2 * K - 1)]
    M = np.array([[k * j * moments[k + j - 2] for j in range(1, K + 1)] for k in range(1, K + 1)])
    r = np.array([k * (k - 1) * moments[max(k - 2, 0)] for k in range(1, K + 1)])
    return np.linalg.lstsq(M, r, rcond=None)[0]


# %% solution="denoising_loss"
def denoising_loss(energy, x, sigma, noise, r):
    x, sigma, noise = (tf.constant(z, tf.float64) for z in (x, sigma, noise))
    with tf.GradientTape() as tape:
        tape.watch(noise)  # the derivative by the noise is σ times that by the noisy point
        e = energy(x + sigma[:, None] * noise, sigma)
    slope = tape.gradient(e, noise)
    lengths = tf.reduce_sum((noise - slope) ** 2, axis=1) / sigma**2
    return np.float32(tf.tensordot(sigma**r, lengths, 1) / (2 * x.shape[0]))


# %% solution="sliced_loss"
def sliced_loss(f, x, v):
    v = v.astype(np.float64)
    x = tf.constant(x, tf.float64)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = f(x)
        s = inner.gradient(value, x)
    jacobian = outer.batch_jacobian(s, x, experimental_use_pfor=False).numpy()
    covariance = np.einsum("bmi,bmj->bij", v, v) * v.shape[2] / v.shape[1]
    return np.sum(s.numpy() ** 2, axis=1) / 2 + np.sum(jacobian * covariance, axis=(1, 2))


# %% solution="nce"
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


# %% solution="train_energy"
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


# %% solution="anomaly_p"
def anomaly_p(e_normal, e_new):
    ordered, n = np.sort(e_normal), len(e_normal)
    at_least = n - np.searchsorted(ordered, e_new, side="left")
    at_most = np.searchsorted(ordered, e_new, side="right")
    return np.minimum(1.0, 2 * (1 + np.minimum(at_least, at_most)) / (n + 1))
