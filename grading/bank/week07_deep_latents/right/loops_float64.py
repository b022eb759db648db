"""NumPy in float64 and loops wherever no derivative is asked for; training by derivatives written out."""


# %% solution="free_bits"
def free_bits(kl, groups, delta):
    kl = tf.cast(kl, tf.float64)
    total = tf.constant(0.0, tf.float64)
    for group in groups:
        used = tf.constant(0.0, tf.float64)
        for b in range(kl.shape[0]):
            for unit in group:
                used += kl[b, unit] / kl.shape[0]
        total += used if used > delta else tf.constant(delta, tf.float64)
    return total


# %% solution="ladder_kl"
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


# %% solution="unit_information"
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


# %% solution="fsq"
def fsq(e, levels):
    e = tf.cast(e, tf.float64)
    columns = []
    for i in range(e.shape[1]):
        allowed = tf.constant(np.linspace(-1, 1, int(levels[i])))
        bounded = tf.tanh(e[:, i])
        nearest = tf.gather(allowed, tf.argmin(tf.abs(bounded[:, None] - allowed), axis=1))
        columns.append(bounded + tf.stop_gradient(nearest - bounded))
    return tf.stack(columns, axis=1)


# %% solution="residual_quantise"
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


# %% solution="soft_update"
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


# %% solution="train_codes"
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
