"""One point at a time in float64, plain loops; gradients in NumPy by hand for the training."""


# %% solution="langevin_step"
def langevin_step(energy, x, L, eps, T, noise):
    new = []
    for row, xi in zip(np.asarray(x, np.float64), np.asarray(noise, np.float64), strict=True):
        point = tf.Variable(row[None])
        with tf.GradientTape() as tape:
            e = energy(point)[0]
        g = tape.gradient(e, point).numpy()[0]
        new.append(row - 0.5 * eps * (L @ (L.T @ g)) + np.sqrt(eps * T) * (L @ xi))
    return np.array(new)


# %% solution="mala_step"
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


# %% solution="fit_polynomial"
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


# %% solution="denoising_loss"
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


# %% solution="sliced_loss"
def sliced_loss(f, x, v):
    losses = []
    for b in range(len(x)):
        point = tf.constant(x[b : b + 1].astype(np.float64))
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(point)
            with tf.GradientTape() as inner:
                inner.watch(point)
                value = f(point)
            s = inner.gradient(value, point)
            parts = [s[0, i] for i in range(x.shape[1])]
        hessian = np.array([outer.gradient(part, point).numpy()[0] for part in parts])
        quadratic = [float(d @ hessian @ d) for d in v[b].astype(np.float64)]
        losses.append(0.5 * float(tf.reduce_sum(s**2)) + x.shape[1] * np.mean(quadratic))
    return losses


# %% solution="nce"
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


# %% solution="train_energy"
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


# %% solution="anomaly_p"
def anomaly_p(e_normal, e_new):
    result = []
    for e in e_new:
        high = (1 + len([1 for other in e_normal if other >= e])) / (len(e_normal) + 1)
        low = (1 + len([1 for other in e_normal if other <= e])) / (len(e_normal) + 1)
        result.append(min(1.0, 2 * high, 2 * low))
    return result
