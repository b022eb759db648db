"""Python loops over rows, units and layers, float64, NumPy's older random generator, lists as results."""


# %% solution="free_energy_label"
def free_energy_label(v, h2, theta):
    W1, W2, W3, b, c1, c2, d = [x.astype(float) for x in theta]
    values = []
    for a, g in zip(v.astype(float), h2.astype(float), strict=True):
        value = -a @ b - g @ c2
        for j in range(len(c1)):
            x = c1[j] + a @ W1[:, j] + W2[j] @ g
            value -= max(x, 0) + np.log1p(np.exp(-abs(x)))
        inputs = [d[k] + g @ W3[:, k] for k in range(len(d))]
        top = max(inputs)
        values.append(float(value - top - np.log(sum(np.exp(x - top) for x in inputs))))
    return values


# %% solution="gibbs_label"
def gibbs_label(v, h2, theta, seed):
    rng = np.random.RandomState(seed)
    W1, W2, W3, b, c1, c2, d = [x.astype(float) for x in theta]
    B = len(v)
    h1, y = np.zeros((B, len(c1))), np.zeros((B, len(d)))
    for j in range(len(c1)):
        h1[:, j] = rng.rand(B) < 1 / (1 + np.exp(-(c1[j] + v @ W1[:, j] + h2 @ W2[j])))
    weights = np.exp(d + h2 @ W3)
    cumulative = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    cumulative[:, -1] = 1.0
    u = rng.rand(B)
    for row in range(B):
        y[row, int(np.searchsorted(cumulative[row], u[row]))] = 1
    v_new, h2_new = np.zeros(v.shape), np.zeros(h2.shape)
    for i in range(len(b)):
        v_new[:, i] = rng.rand(B) < 1 / (1 + np.exp(-(b[i] + h1 @ W1[i])))
    for k in range(len(c2)):
        h2_new[:, k] = rng.rand(B) < 1 / (1 + np.exp(-(c2[k] + h1 @ W2[:, k] + y @ W3[k])))
    return [v_new, h1, h2_new, y]


# %% solution="mean_field_label"
def mean_field_label(v, theta, sweeps, damping):
    W1, W2, W3, b, c1, c2, d = [x.astype(float) for x in theta]
    rows = []
    for a in v.astype(float):
        m1, m2, my = [0.5] * len(c1), [0.5] * len(c2), [1 / len(d)] * len(d)
        for _ in range(sweeps):
            n1 = [1 / (1 + np.exp(-(c1[j] + a @ W1[:, j] + W2[j] @ m2))) for j in range(len(c1))]
            n2 = [1 / (1 + np.exp(-(c2[k] + W2[:, k] @ m1 + W3[k] @ my))) for k in range(len(c2))]
            e = [np.exp(d[k] + W3[:, k] @ m2) for k in range(len(d))]
            ny = [x / sum(e) for x in e]
            m1, m2, my = (
                [damping * o + (1 - damping) * n for o, n in zip(old, new, strict=True)]
                for old, new in ((m1, n1), (m2, n2), (my, ny))
            )
        rows.append((m1, m2, my))
    return [[row[i] for row in rows] for i in range(3)]


# %% solution="bound_label"
def bound_label(v, mu1, mu2, mu_y, theta, log_z):
    W1, W2, W3, b, c1, c2, d = [x.astype(float) for x in theta]

    def plogp(p):
        return p * np.log(p) if p > 0 else 0.0

    result = []
    for a, m1, m2, my in zip(*(x.astype(float) for x in (v, mu1, mu2, mu_y)), strict=True):
        value = a @ b + m1 @ c1 + m2 @ c2 + my @ d + a @ W1 @ m1 + m1 @ W2 @ m2 + m2 @ W3 @ my - log_z
        for m in [*m1, *m2]:
            value -= plogp(m) + plogp(1 - m)
        for m in my:
            value -= plogp(m)
        result.append(float(value))
    return result


# %% solution="gradient_label"
def gradient_label(v, mu1, mu2, mu_y, v_chain, h2_chain, theta):
    W1, W2, W3, b, c1, c2, d = [x.astype(float) for x in theta]
    total = [np.zeros(x.shape) for x in theta]

    def add(factor, a, g1, g2, k):
        parts = [np.outer(a, g1), np.outer(g1, g2), np.outer(g2, k), a, g1, g2, k]
        for t, part in zip(total, parts, strict=True):
            t += factor * part

    for row in zip(v, mu1, mu2, mu_y, strict=True):
        add(1 / len(v), *(x.astype(float) for x in row))
    for a, g2 in zip(v_chain.astype(float), h2_chain.astype(float), strict=True):
        e = np.exp(d + g2 @ W3)
        add(-1 / len(v_chain), a, 1 / (1 + np.exp(-(c1 + a @ W1 + W2 @ g2))), g2, e / e.sum())
    return total


# %% solution="wake_sleep"
def wake_sleep(v, W, b, R, r, seed):
    rng = np.random.RandomState(seed)
    dW, db, dR, dr = ([np.zeros(x.shape) for x in group] for group in (W, b, R, r))
    L, B = len(W), len(v)

    def unit(a):
        return 2.0 * (rng.random_sample(a.shape) < 1 / (1 + np.exp(-2 * a))) - 1

    x = v.astype(float)
    for l in range(L):  # gradients are collected on the way
        above = unit(r[l] + x @ R[l])
        surprise = x - np.tanh(b[l] + above @ W[l].T)
        dW[l] += surprise.T @ above / B
        db[l] += surprise.sum(axis=0) / B
        x = above
    db[L] += (x - np.tanh(b[L])).sum(axis=0) / B
    x = unit(np.zeros((B, len(b[L]))) + b[L])
    for l in range(L - 1, -1, -1):
        below = unit(b[l] + x @ W[l].T)
        surprise = x - np.tanh(r[l] + below @ R[l])
        dR[l] += below.T @ surprise / B
        dr[l] += surprise.sum(axis=0) / B
        x = below
    return [dW, db, dR, dr]


# %% solution="train_stack"
def train_stack(images, widths, seed):
    rng = np.random.RandomState(seed)
    W1, b, r1 = train_rbm(images, widths[0], 100, 0.5, seed)
    h1 = (rng.rand(len(images), widths[0]) < 1 / (1 + np.exp(-(r1 + images @ W1)))).astype(float)
    W2, c1, r2 = train_rbm(h1, widths[1], 100, 0.5, seed)
    h2 = (rng.rand(len(images), widths[1]) < 1 / (1 + np.exp(-(r2 + h1 @ W2)))).astype(float)
    W3, c2, c3 = train_rbm(h2, widths[2], 100, 0.5, seed)
    return [x.astype(float).tolist() for x in (W1, W2, W3, b, c1, c2, c3)]
