"""Other roads to the same place: the given energy, logistic noise, races, moments in one product."""


# %% solution="free_energy_label"
def free_energy_label(v, h2, theta):
    # minus the log-sum over the K classes of the terms that stay when h1 is summed out
    W1, W2, W3, b, c1, c2, d = [x.astype(np.float64) for x in theta]
    x = c1 + v @ W1 + h2 @ W2.T
    softplus = np.where(x > 0, x, 0) + np.log1p(np.exp(-np.abs(x)))
    terms = (v @ b + h2 @ c2 + softplus.sum(-1))[:, None] + d + h2 @ W3  # (B, K)
    return -np.logaddexp.reduce(terms, axis=1)


# %% solution="gibbs_label"
def gibbs_label(v, h2, theta, seed):
    W1, W2, W3, b, c1, c2, d = theta
    rng = np.random.default_rng([seed, 4])
    noise = {
        n: rng.logistic(size=(len(v), n_units))
        for n, n_units in (("v", len(b)), ("h1", len(c1)), ("h2", len(c2)))
    }
    # the label first; the classes by exponential races: the smallest of E_k / p_k wins with probability p_k
    race = rng.exponential(size=(len(v), len(d))) / softmax((d + h2 @ W3).astype(float), axis=1)
    y = (race == race.min(axis=1, keepdims=True)).astype(int)
    h1 = (c1 + v @ W1 + h2 @ W2.T + noise["h1"] > 0).astype(int)
    h2 = (c2 + h1 @ W2 + y @ W3.T + noise["h2"] > 0).astype(int)
    v = b + h1 @ W1.T + noise["v"] > 0
    return v, h1, h2, y


# %% solution="mean_field_label"
def mean_field_label(v, theta, sweeps, damping):
    W1, W2, W3, b, c1, c2, d = theta
    n1, n2, K = len(c1), len(c2), len(d)
    # one vector of all units and one symmetric matrix of all links
    links = np.zeros((n1 + n2 + K, n1 + n2 + K))
    links[:n1, n1 : n1 + n2] = W2
    links[n1 : n1 + n2, n1 + n2 :] = W3
    links = links + links.T
    bias = np.concatenate([c1 + v @ W1, np.tile(c2, (len(v), 1)), np.tile(d, (len(v), 1))], axis=1)
    mu = np.concatenate([np.full((len(v), n1 + n2), 0.5), np.full((len(v), K), 1 / K)], axis=1)
    for _ in range(sweeps):
        x = bias + mu @ links
        new = 0.5 * (1 + np.tanh(x / 2))
        new[:, n1 + n2 :] = np.exp(x[:, n1 + n2 :] - logsumexp(x[:, n1 + n2 :], axis=1, keepdims=True))
        mu += (1 - damping) * (new - mu)
    return np.split(mu, [n1, n1 + n2], axis=1)


# %% solution="bound_label"
def bound_label(v, mu1, mu2, mu_y, theta, log_z):
    # a small number inside the logarithm, float64, and the given energy with means for states
    mu1, mu2, mu_y = (m.astype(np.float64) for m in (mu1, mu2, mu_y))
    tiny = 1e-12

    def entropy(m):
        return -(m * np.log(m + tiny)).sum(1)

    q = entropy(mu1) + entropy(1 - mu1) + entropy(mu2) + entropy(1 - mu2) + entropy(mu_y)
    return tf.constant(-energy(v, mu1, mu2, mu_y, theta) + q - log_z)


# %% solution="gradient_label"
def gradient_label(v, mu1, mu2, mu_y, v_chain, h2_chain, theta):
    W1, W2, W3, b, c1, c2, d = theta
    h1_chain = expit(c1 + v_chain @ W1 + h2_chain @ W2.T)
    e = np.exp(d + h2_chain @ W3)
    y_chain = e / e.sum(axis=1, keepdims=True)
    one = np.ones((len(v) + len(v_chain), 1))
    weight = np.r_[np.full(len(v), 1 / len(v)), np.full(len(v_chain), -1 / len(v_chain))]
    x, h1, h2, y = (np.vstack(p) for p in [(v, v_chain), (mu1, h1_chain), (mu2, h2_chain), (mu_y, y_chain)])
    pairs = [(x, h1), (h1, h2), (h2, y), (one, x), (one, h1), (one, h2), (one, y)]
    return tuple((weight @ q) if p is one else (p * weight[:, None]).T @ q for p, q in pairs)


# %% solution="wake_sleep"
def wake_sleep(v, W, b, R, r, seed):
    # 0/1 units inside, mapped back at the end; the dreams are drawn first
    rng = np.random.default_rng([7, seed])
    B, L = len(v), len(W)

    def spins(a):
        return np.sign(2 * a + rng.logistic(size=a.shape))

    dream = [None] * (L + 1)
    dream[L] = spins(np.repeat(b[L][None], B, axis=0))
    for l in reversed(range(L)):
        dream[l] = spins(b[l] + dream[l + 1] @ W[l].T)
    x = [v]
    for l in range(L):
        x.append(spins(r[l] + x[l] @ R[l]))

    def residual(s, a):  # of the 0/1 unit, times two: a has log-odds 2a
        return 2 * ((s + 1) / 2 - expit(2 * a))

    down = [residual(x[l], b[l] + x[l + 1] @ W[l].T) for l in range(L)]
    up = [residual(dream[l + 1], r[l] + dream[l] @ R[l]) for l in range(L)]
    return (
        tuple(np.einsum("ni,nj->ij", e, s) / B for e, s in zip(down, x[1:], strict=True)),
        tuple(e.mean(axis=0) for e in down) + (residual(x[L], b[L]).mean(axis=0),),
        tuple(np.einsum("ni,nj->ij", s, e) / B for s, e in zip(dream[:-1], up, strict=True)),
        tuple(e.mean(axis=0) for e in up),
    )


# %% solution="train_stack"
def train_stack(images, widths, seed):
    # the data of the upper layers drawn afresh, forty samples for each of the distinct images
    rng = np.random.default_rng(seed)
    distinct = np.unique(images, axis=0)
    W1, b, up1 = train_rbm(np.tile(distinct, (40, 1)), widths[0], 120, 0.4, seed)
    many = np.repeat(distinct, 40, axis=0)
    h1 = rng.binomial(1, expit(up1 + many @ W1))
    W2, c1, up2 = train_rbm(h1, widths[1], 120, 0.4, seed)
    h2 = rng.binomial(1, expit(up2 + h1 @ W2))
    W3, c2, c3 = train_rbm(h2, widths[2], 120, 0.4, seed)
    return W1, W2, W3, b, c1, c2, c3
