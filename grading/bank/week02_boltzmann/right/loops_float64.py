"""Plain loops over units, pairs, sites and states, in double precision; some results are lists."""


# %% solution="energy_potts"
def energy_potts(x, W, b):
    energies = []
    for state in x:
        e = 0.0
        for i in range(len(state)):
            e -= float(b[i, state[i]])
            for j in range(i + 1, len(state)):
                if state[i] == state[j]:
                    e -= float(W[i, j])
        energies.append(e)
    return energies


# %% solution="conditional_potts"
def conditional_potts(x, i, W, b, T):
    rows = []
    for state in x:
        field = np.array(b[i], dtype=np.float64)
        for j, colour in enumerate(state):
            if j != i:
                field[colour] += W[i, j]
        weights = np.exp((field - field.max()) / T)
        rows.append(weights / weights.sum())
    return np.array(rows)


# %% solution="sweep_lattice"
def sweep_lattice(x, J, b, T, seed):
    rng = np.random.default_rng(seed)
    x = x.copy()
    B, R, C = x.shape
    for parity in (0, 1):
        for r in range(R):
            for c in range(C):
                if (r + c) % 2 != parity:
                    continue
                around = [x[:, r - 1, c], x[:, (r + 1) % R, c], x[:, r, c - 1], x[:, r, (c + 1) % C]]
                fields = [b[k] + J * sum((a == k).astype(float) for a in around) for k in range(len(b))]
                weights = np.exp(np.array(fields) / T)  # (q, B)
                cumulative = np.cumsum(weights, axis=0)
                x[:, r, c] = (rng.random(B) * cumulative[-1] > cumulative[:-1]).sum(axis=0)
    return x


# %% solution="log_z_ring"
def log_z_ring(A, T):
    N, q, _ = A.shape
    log_z = []
    for first in range(q):  # x_0 fixed: sum the others out one after the other
        message = np.asarray(A[0, first], dtype=np.float64) / T
        for t in range(1, N):
            message = np.array(
                [np.logaddexp.reduce(message + A[t, :, k].astype(float) / T) for k in range(q)]
            )
        log_z.append(message[first])
    return float(logsumexp(log_z))


# %% solution="gradient_ring"
def gradient_ring(s_data, states, p, D, T):
    N = s_data.shape[1]
    dw, db = [0.0] * D, 0.0
    weighted = [(s, 1 / len(s_data)) for s in s_data] + [
        (s, -weight) for s, weight in zip(states, p, strict=True)
    ]
    for s, weight in weighted:
        s = [float(v) for v in s]
        db += weight * sum(s) / T
        for d in range(1, D + 1):
            dw[d - 1] += weight * sum(s[i] * s[(i + d) % N] for i in range(N)) / T
    return dw, db


# %% solution="store_centred"
def store_centred(patterns, a):
    P, N = patterns.shape
    W, b = np.zeros((N, N)), np.zeros(N)
    for i in range(N):
        for j in range(N):
            if i == j:
                continue
            for mu in range(P):
                W[i, j] += (patterns[mu, i] - a[i]) * (patterns[mu, j] - a[j]) / N
            b[i] -= W[i, j] * a[j]
    return W, b


# %% solution="recall"
def recall(x, missing, W, b, order):
    result = []
    for row in x:
        state = [0.0 if hole else float(value) for value, hole in zip(row, missing, strict=True)]
        moved = True
        while moved:
            moved = False
            for i in order:
                if not missing[i]:
                    continue
                field = sum(float(W[i, j]) * state[j] for j in range(len(state))) + float(b[i])
                new = state[i] if field == 0 else float(field > 0)
                moved = moved or new != state[i]
                state[i] = new
        result.append(state)
    return np.array(result)


# %% solution="train_lattice"
def train_lattice(images, seed):
    """A full 64 × 64 matrix of couplings, masked; site after site, in single Gibbs updates."""
    rng = np.random.default_rng(seed)
    data = images.astype(float)
    links = np.zeros((64, 64))
    for r in range(8):
        for c in range(8):
            if c < 7:
                links[8 * r + c, 8 * r + c + 1] = links[8 * r + c + 1, 8 * r + c] = 1
            if r < 7:
                links[8 * r + c, 8 * r + 8 + c] = links[8 * r + 8 + c, 8 * r + c] = 1
    mean = data.mean(axis=0).clip(0.01, 0.99)
    W, b = np.zeros((64, 64)), np.log(mean / (1 - mean))
    chains = (rng.random((100, 64)) < mean).astype(float)
    epochs = 10
    for epoch in range(epochs):
        rate = 1 - epoch / epochs
        for v in np.array_split(rng.permutation(data), 24):
            for i in range(64):
                p = 1 / (1 + np.exp(-(b[i] + chains @ W[i])))
                chains[:, i] = rng.random(100) < p
            W += rate * links * (v.T @ v / len(v) - chains.T @ chains / 100)
            b += rate * (v.mean(axis=0) - chains.mean(axis=0))
    right = [[W[8 * r + c, 8 * r + c + 1] for c in range(7)] for r in range(8)]
    down = [[W[8 * r + c, 8 * r + 8 + c] for c in range(8)] for r in range(7)]
    return right, down, b.reshape(8, 8)
