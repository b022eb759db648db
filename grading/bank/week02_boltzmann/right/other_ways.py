"""Other ways to the same result: sums over colours, products as a tree, all draws first, no sampling."""


# %% solution="energy_potts"
def energy_potts(x, W, b):
    same = x[:, :, None] == x[:, None, :]  # (B, N, N)
    pairs = np.sum(np.triu(W, 1) * same, axis=(1, 2))
    return (-pairs - np.take_along_axis(b.T, x, axis=0).sum(axis=1)).astype(np.float32)


# %% solution="conditional_potts"
def conditional_potts(x, i, W, b, T):
    q = b.shape[1]
    field = np.stack([b[i, k] + (x == k) @ W[i] for k in range(q)], axis=1).astype(float)  # W[i, i] = 0
    # p_k = 1 / Σ_l exp((f_l − f_k) / T); what overflows to infinity belongs to p = 0
    with np.errstate(over="ignore"):
        return 1 / np.exp((field[:, None, :] - field[:, :, None]) / T).sum(axis=2)


# %% solution="sweep_lattice"
def sweep_lattice(x, J, b, T, seed):
    rng = np.random.Generator(np.random.MT19937(seed))
    u = rng.random(x.shape)  # one uniform number a site serves for the sweep, since a site is drawn once
    q, padded = len(b), np.array(x)
    rows, columns = np.indices(x.shape[1:])
    for sites in ((rows + columns) % 2 == 0, (rows + columns) % 2 == 1):
        r, c = rows[sites], columns[sites]
        weights = np.empty((*padded[:, r, c].shape, q))
        for k in range(q):
            here = padded == k
            around = here[:, r - 1, c] * 1 + here[:, r, c - 1] + np.roll(here, -1, 1)[:, r, c]
            around = around + np.roll(here, -1, 2)[:, r, c]
            weights[..., k] = np.exp((b[k] + J * around) / T)
        edges = weights.cumsum(axis=-1) / weights.sum(axis=-1, keepdims=True)
        padded[:, r, c] = np.minimum((u[:, r, c, None] >= edges).sum(axis=-1), q - 1)
    return padded.astype(np.int32)


# %% solution="log_z_ring"
def log_z_ring(A, T):
    def multiply(first, second):
        return logsumexp(first[:, :, None] + second[None], axis=1)

    def halves(tables):  # by halves, as a tree
        if len(tables) == 1:
            return tables[0]
        middle = len(tables) // 2
        return multiply(halves(tables[:middle]), halves(tables[middle:]))

    return np.atleast_1d(logsumexp(np.diagonal(halves(np.asarray(A, np.float64) / T))))[0]


# %% solution="gradient_ring"
def gradient_ring(s_data, states, p, D, T):
    s = np.vstack([s_data, states]).astype(np.float32)
    weight = np.concatenate([np.ones(len(s_data)) / len(s_data), -np.asarray(p)]) / T
    C = (s * weight[:, None]).T @ s  # (N, N), data minus model
    N = len(C)
    dw = [sum(C[i, (i + d) % N] for i in range(N)) for d in range(1, D + 1)]
    return tf.constant(dw), (weight @ s).sum()


# %% solution="store_centred"
def store_centred(patterns, a):
    N = len(a)
    C = patterns.T @ patterns - np.outer(a, patterns.sum(0)) - np.outer(patterns.sum(0), a)
    C = (C + len(patterns) * np.outer(a, a)) / N * (1 - np.eye(N))
    return [C, -(C * a).sum(axis=1)]


# %% solution="recall"
def recall(x, missing, W, b, order):
    states = np.where(missing[None], 0, x).astype(np.int64)
    W, b = np.rint(W).astype(int), np.rint(b).astype(int)
    sequence = [i for i in order if missing[i]]
    while True:
        changes = 0
        for i in sequence:
            field = states @ W[:, i] + b[i]
            new = np.choose(np.sign(field) + 1, [0 * field, states[:, i], 0 * field + 1])
            changes += np.count_nonzero(new != states[:, i])
            states[:, i] = new
        if changes == 0:
            return states


# %% solution="train_lattice"
def train_lattice(images, seed):
    """Pseudo-likelihood: each pixel given its neighbours, logistic regressions that share couplings."""
    x = images.reshape(-1, 8, 8).astype(float)
    mean = x.mean(axis=0).clip(0.01, 0.99)
    right, down, b = np.zeros((8, 7)), np.zeros((7, 8)), np.log(mean / (1 - mean))
    for _ in range(80):
        field = np.tile(b, (len(x), 1, 1))
        field[:, :, 1:] += right * x[:, :, :-1]
        field[:, :, :-1] += right * x[:, :, 1:]
        field[:, 1:] += down * x[:, :-1]
        field[:, :-1] += down * x[:, 1:]
        error = x - expit(field)
        right += 2 * np.mean(error[:, :, 1:] * x[:, :, :-1] + error[:, :, :-1] * x[:, :, 1:], axis=0)
        down += 2 * np.mean(error[:, 1:] * x[:, :-1] + error[:, :-1] * x[:, 1:], axis=0)
        b += 2 * error.mean(axis=0)
    return right, down, b
