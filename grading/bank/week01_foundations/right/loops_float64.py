"""Python loops over images, components and pixels; plain numbers and lists."""


# %% solution="bits_per_pixel"
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


# %% solution="responsibilities"
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


# %% solution="m_step"
def m_step(x, r, w, a, G):
    N, D = x.shape
    K = r.shape[1]
    pi = [float(sum(w[n] * r[n, k] for n in range(N)) / sum(w)) for k in range(K)]
    mu = np.zeros((K, D))
    for k in range(K):
        for d in range(D):
            black, white = a, a
            for n in range(N):
                if x[n, d] == x[n, d]:  # NaN is not equal to itself
                    black += float(w[n]) * float(r[n, k]) * float(x[n, d])
                    white += float(w[n]) * float(r[n, k]) * float(G - x[n, d])
            mu[k, d] = black / (black + white)
    return pi, mu


# %% solution="fill_holes"
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


# %% solution="kl_by_drawing"
def kl_by_drawing(pi_p, mu_p, pi_q, mu_q, G, N, seed):
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(N, pi_p.astype(float) / pi_p.astype(float).sum())  # component by component
    x = np.concatenate([rng.binomial(G, m, (c, len(m))) for c, m in zip(counts, mu_p, strict=False)])
    ratio = np.log((pi_p * p_x_z(x, mu_p, G)).sum(axis=1) / (pi_q * p_x_z(x, mu_q, G)).sum(axis=1))
    return float(np.mean(ratio)), float(np.std(ratio, ddof=1) / math.sqrt(N))


# %% solution="alarms"
def alarms(held_out, fresh, alpha):
    ordered, m = sorted(held_out.tolist()), len(held_out)
    threshold = -math.inf
    for k in range(1, m + 1):
        if k / (m + 1) <= alpha:
            threshold = ordered[k - 1]
    return [value < threshold for value in fresh.tolist()]


# %% solution="train_binomials"
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
