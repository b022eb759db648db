"""Right and wrong answers to the gaps of Week 2, colours, rings and lattices."""


# %% right="energy_potts"
# Plain loops over units, pairs, sites and states, in double precision; some results are lists.
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


# %% right="energy_potts"
# Other ways to the same result: sums over colours, products as a tree, all draws first, no sampling.
def energy_potts(x, W, b):
    same = x[:, :, None] == x[:, None, :]  # (B, N, N)
    pairs = np.sum(np.triu(W, 1) * same, axis=(1, 2))
    return (-pairs - np.take_along_axis(b.T, x, axis=0).sum(axis=1)).astype(np.float32)


# %% right="energy_potts"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, gradients by automatic differentiation.
def energy_potts(x, W, b):
    z = tf.one_hot(x, b.shape[1])
    inputs = tf.einsum("ij,bjk->bik", W, z) / 2 + b
    return -tf.reduce_sum(z * inputs, axis=[1, 2])


# %% wrong="energy_potts"
# Adds the biases of all colours, not of the colour that the unit has.
# - biases = np.einsum("bik,ik->b", z, b)
# + biases = b.sum()


# %% wrong="energy_potts"
# Multiplies the numbers of the colours, as if they were spins.
def energy_potts(x, W, b):
    biases = np.take_along_axis(b.T, x, axis=0).sum(axis=1)
    return -0.5 * np.einsum("bi,ij,bj->b", x, W, x) - biases


# %% wrong="energy_potts"
# Returns the exponent −E, not the energy.
# - return -links - biases
# + return links + biases


# %% equivalent="energy_potts"
# Only the speed depends on it.
# - links = np.einsum("bik,ij,bjk->b", z, W, z, optimize=True) / 2
# + links = np.einsum("bik,ij,bjk->b", z, W, z, optimize=False) / 2


# %% right="conditional_potts"
# Plain loops over units, pairs, sites and states, in double precision; some results are lists.
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


# %% right="conditional_potts"
# Other ways to the same result: sums over colours, products as a tree, all draws first, no sampling.
def conditional_potts(x, i, W, b, T):
    q = b.shape[1]
    field = np.stack([b[i, k] + (x == k) @ W[i] for k in range(q)], axis=1).astype(float)  # W[i, i] = 0
    # p_k = 1 / Σ_l exp((f_l − f_k) / T); what overflows to infinity belongs to p = 0
    with np.errstate(over="ignore"):
        return 1 / np.exp((field[:, None, :] - field[:, :, None]) / T).sum(axis=2)


# %% right="conditional_potts"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, gradients by automatic differentiation.
def conditional_potts(x, i, W, b, T):
    z = tf.one_hot(x, b.shape[1])
    return tf.nn.softmax((b[i] + tf.einsum("j,bjk->bk", W[i], z)) / T)


# %% wrong="conditional_potts"
# Takes the factor one half of the energy's double sum into the field.
# - field = b[i] + np.einsum("j,bjk->bk", W[i], z)
# + field = b[i] + 0.5 * np.einsum("j,bjk->bk", W[i], z)


# %% wrong="conditional_potts"
# A logistic function for each colour on its own: the q numbers do not sum to 1.
# - return softmax(field / T, axis=1)
# + return expit(field / T)


# %% wrong="conditional_potts"
# Writes out exp and the sum: overflows at low temperature.
# - return softmax(field / T, axis=1)
# + weights = np.exp(field / T)
# + return weights / weights.sum(axis=1, keepdims=True)


# %% wrong="conditional_potts"
# Divides the links by T, but not the bias.
def conditional_potts(x, i, W, b, T):
    z = np.eye(b.shape[1])[x]
    field = b[i] + np.einsum("j,bjk->bk", W[i], z) / T
    return softmax(field, axis=1)


# %% right="sweep_lattice"
# Plain loops over units, pairs, sites and states, in double precision; some results are lists.
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


# %% right="sweep_lattice"
# Other ways to the same result: sums over colours, products as a tree, all draws first, no sampling.
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


# %% right="sweep_lattice"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, gradients by automatic differentiation.
def sweep_lattice(x, J, b, T, seed):
    rng = tf.random.Generator.from_seed(seed)
    R, C, q = x.shape[1], x.shape[2], len(b)
    black = (tf.range(R)[:, None] + tf.range(C)) % 2
    x = tf.constant(x)
    for parity in (0, 1):
        z = tf.one_hot(x, q)
        near = tf.roll(z, 1, 1) + tf.roll(z, -1, 1) + tf.roll(z, 1, 2) + tf.roll(z, -1, 2)
        gumbel = -tf.math.log(-tf.math.log(rng.uniform(z.shape, minval=1e-7, maxval=1.0)))
        drawn = tf.argmax((b + J * near) / T + gumbel, axis=-1)
        x = tf.where(black == parity, drawn, x)
    return x


# %% wrong="sweep_lattice"
# Updates all sites at once, given the old values of all others.
# - for part in (white, ~white):
# + for part in (np.ones_like(white),):


# %% wrong="sweep_lattice"
# Begins with the black sites.
# - for part in (white, ~white):
# + for part in (~white, white):


# %% wrong="sweep_lattice"
# Gumbel noise, but the same for all colours of a site: the argmax does not see it.
def sweep_lattice(x, J, b, T, seed):
    rng = np.random.default_rng(seed)
    white = np.add.outer(np.arange(x.shape[1]), np.arange(x.shape[2])) % 2 == 0
    for part in (white, ~white):
        z = np.eye(len(b))[x]
        neighbours = sum(np.roll(z, shift, axis) for shift in (-1, 1) for axis in (1, 2))
        noise = rng.gumbel(size=(*x.shape, 1))
        x = np.where(part, np.argmax((b + J * neighbours) / T + noise, axis=-1), x)
    return x


# %% wrong="sweep_lattice"
# Takes the most probable colour: no noise, descent and not a sample.
# - rng = np.random.default_rng(seed)
#
# - u = rng.random((*x.shape, 1))
# - new = np.sum(u > np.cumsum(p, axis=-1)[..., :-1], axis=-1)  # (B, R, C)
# + new = p.argmax(axis=-1)


# %% wrong="sweep_lattice"
# Draws the black sites given the old white ones.
# - white = np.add.outer(np.arange(x.shape[1]), np.arange(x.shape[2])) % 2 == 0  # (R, C)
# + white, old = np.add.outer(np.arange(x.shape[1]), np.arange(x.shape[2])) % 2 == 0, x
# - p = softmax((b + J * neighbours(x, q)) / T, axis=-1)  # (B, R, C, q)
# + p = softmax((b + J * neighbours(old, q)) / T, axis=-1)


# %% wrong="sweep_lattice"
# One random number for all sites of a chain.
# - u = rng.random((*x.shape, 1))
# + u = rng.random((len(x), 1, 1, 1))


# %% wrong="sweep_lattice"
# Sites at the boundary have fewer neighbours: nothing is carried across.
# - p = softmax((b + J * neighbours(x, q)) / T, axis=-1)  # (B, R, C, q)
# + z = np.pad(np.eye(q)[x], [(0, 0), (1, 1), (1, 1), (0, 0)])
# + near = z[:, :-2, 1:-1] + z[:, 2:, 1:-1] + z[:, 1:-1, :-2] + z[:, 1:-1, 2:]
# + p = softmax((b + J * near) / T, axis=-1)


# %% wrong="sweep_lattice"
# Does not use the seed.
# - rng = np.random.default_rng(seed)
# + rng = np.random.default_rng()


# %% wrong="sweep_lattice"
# One set of random numbers for all chains.
# - u = rng.random((*x.shape, 1))
# + u = rng.random((*x.shape[1:], 1))


# %% wrong="sweep_lattice"
# Counts the neighbours above and to the left only, each link once, as in the energy.
# - p = softmax((b + J * neighbours(x, q)) / T, axis=-1)  # (B, R, C, q)
# + near = sum(np.roll(np.eye(q)[x], 1, axis) for axis in (1, 2))
# + p = softmax((b + J * near) / T, axis=-1)


# %% equivalent="sweep_lattice"
# A uniform number is never exactly a sum of probabilities.
# - new = np.sum(u > np.cumsum(p, axis=-1)[..., :-1], axis=-1)  # (B, R, C)
# + new = np.sum(u >= np.cumsum(p, axis=-1)[..., :-1], axis=-1)  # (B, R, C)


# %% wrong="sweep_lattice"
# Starts all chains from the first row.
# - q = len(b)
# + q = len(b)
# + x = np.tile(x[:1], (len(x), 1, 1))


# %% wrong="sweep_lattice"
# Draws the black sites with a fixed seed.
# - u = rng.random((*x.shape, 1))
# + rng = rng if part is white else np.random.default_rng(0)
# + u = rng.random((*x.shape, 1))


# %% right="gradient_ring"
# Plain loops over units, pairs, sites and states, in double precision; some results are lists.
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


# %% right="gradient_ring"
# Other ways to the same result: sums over colours, products as a tree, all draws first, no sampling.
def gradient_ring(s_data, states, p, D, T):
    s = np.vstack([s_data, states]).astype(np.float32)
    weight = np.concatenate([np.ones(len(s_data)) / len(s_data), -np.asarray(p)]) / T
    C = (s * weight[:, None]).T @ s  # (N, N), data minus model
    N = len(C)
    dw = [sum(C[i, (i + d) % N] for i in range(N)) for d in range(1, D + 1)]
    return tf.constant(dw), (weight @ s).sum()


# %% right="gradient_ring"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, gradients by automatic differentiation.
def gradient_ring(s_data, states, p, D, T):
    w, b = tf.Variable(tf.zeros(D)), tf.Variable(0.0)

    def minus_energy(s):
        pairs = [tf.reduce_sum(s * tf.roll(s, -d, axis=1), axis=1) for d in range(1, D + 1)]
        return tf.linalg.matvec(tf.stack(pairs, axis=1), w) + b * tf.reduce_sum(s, axis=1)

    with tf.GradientTape() as tape:
        value = tf.reduce_mean(minus_energy(s_data)) - tf.reduce_sum(p * minus_energy(states))
        value = value / T
    dw, db = tape.gradient(value, [w, b])
    return dw, db


# %% wrong="gradient_ring"
# Sums over the data instead of averaging.
# - w_data, b_data = moments(s_data, np.full(len(s_data), 1 / len(s_data)))
# + w_data, b_data = moments(s_data, np.ones(len(s_data)))


# %% wrong="gradient_ring"
# Leaves out the factor 1/T.
# - return (w_data - w_model) / T, (b_data - b_model) / T
# + return (w_data - w_model), (b_data - b_model)


# %% wrong="gradient_ring"
# Leaves out the pairs that the ring closes.
# - pairs = [weights @ np.sum(s * np.roll(s, -d, axis=1), axis=1) for d in range(1, D + 1)]
# + pairs = [weights @ np.sum(s[:, :-d] * s[:, d:], axis=1) for d in range(1, D + 1)]


# %% wrong="gradient_ring"
# Counts each pair from both of its ends.
# - pairs = [weights @ np.sum(s * np.roll(s, -d, axis=1), axis=1) for d in range(1, D + 1)]
# + pairs = [
# +     weights @ np.sum(s * (np.roll(s, -d, axis=1) + np.roll(s, d, axis=1)), axis=1)
# +     for d in range(1, D + 1)
# + ]


# %% wrong="gradient_ring"
# Averages over the ring: a shared parameter should collect all places.
# - pairs = [weights @ np.sum(s * np.roll(s, -d, axis=1), axis=1) for d in range(1, D + 1)]
# - return np.array(pairs), weights @ np.sum(s, axis=1)
# + pairs = [weights @ np.mean(s * np.roll(s, -d, axis=1), axis=1) for d in range(1, D + 1)]
# + return np.array(pairs), weights @ np.mean(s, axis=1)


# %% wrong="gradient_ring"
# Model minus data: the gradient of the negative log-likelihood.
# - return (w_data - w_model) / T, (b_data - b_model) / T
# + return (w_model - w_data) / T, (b_model - b_data) / T


# %% wrong="gradient_ring"
# Ignores the probabilities of the states.
# - w_model, b_model = moments(states, p)
# + w_model, b_model = moments(states, np.full(len(states), 1 / len(states)))


# %% equivalent="gradient_ring"
# Spins are −1 or +1.
# - pairs = [weights @ np.sum(s * np.roll(s, -d, axis=1), axis=1) for d in range(1, D + 1)]
# + pairs = [weights @ np.sum(s / np.roll(s, -d, axis=1), axis=1) for d in range(1, D + 1)]


# %% equivalent="gradient_ring"
# Each pair comes up once on the ring, whichever way one goes.
# - pairs = [weights @ np.sum(s * np.roll(s, -d, axis=1), axis=1) for d in range(1, D + 1)]
# + pairs = [weights @ np.sum(s * np.roll(s, d, axis=1), axis=1) for d in range(1, D + 1)]


# %% right="recall"
# Plain loops over units, pairs, sites and states, in double precision; some results are lists.
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


# %% right="recall"
# Other ways to the same result: sums over colours, products as a tree, all draws first, no sampling.
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


# %% right="recall"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, gradients by automatic differentiation.
def recall(x, missing, W, b, order):
    x = tf.Variable(tf.transpose(tf.where(missing, 0.0, x)))  # (N, B)
    changed = True
    while changed:
        changed = False
        for i in order[missing[order]]:
            field = tf.linalg.matvec(x, W[i], transpose_a=True) + b[i]
            new = tf.where(field == 0, x[i], tf.cast(field > 0, tf.float32))
            if not np.array_equal(new, x[i]):
                x[i].assign(new)
                changed = True
    return tf.transpose(x)


# %% wrong="recall"
# Updates all missing units at once.
def recall(x, missing, W, b, order):
    x = np.where(missing, 0, x)
    for _ in range(50):
        field = x @ W + b
        x = np.where(missing, np.where(field > 0, 1, np.where(field < 0, 0, x)), x)
    return x


# %% wrong="recall"
# Updates the known units as well.
# - for i in order[missing[order]]:
# + for i in order:


# %% wrong="recall"
# Stops after one sweep.
def recall(x, missing, W, b, order):
    x = np.where(missing, 0, x)
    for i in order[missing[order]]:
        field = x @ W[i] + b[i]
        x[:, i] = np.where(field > 0, 1, np.where(field < 0, 0, x[:, i]))
    return x


# %% wrong="recall"
# Visits the units from first to last.
# - for i in order[missing[order]]:
# + for i in np.flatnonzero(missing):


# %% wrong="recall"
# Stops after ten sweeps, whether anything changes or not.
def recall(x, missing, W, b, order):
    x = np.where(missing, 0, x)
    for _ in range(10):
        before = x.copy()
        for i in order:
            if missing[i]:
                field = x @ W[i] + b[i]
                x[:, i] = np.where(field == 0, x[:, i], field > 0)
        if np.array_equal(x, before):
            break
    return x


# %% wrong="recall"
# A unit whose field is 0 is switched on.
# - x[:, i] = np.where(field > 0, 1, np.where(field < 0, 0, x[:, i]))
# + x[:, i] = field >= 0


# %% equivalent="recall"
# Equality is symmetric.
# - if np.array_equal(x, before):
# + if np.array_equal(before, x):


# %% wrong="recall"
# Puts 0 for NaN only, and keeps whatever else stands at a missing unit.
# - x = np.where(missing, 0, x)
# + x = np.nan_to_num(x)


# %% wrong="recall"
# Ends after 50 sweeps, as the preparation's recall does.
def recall(x, missing, W, b, order):
    x = np.where(missing, 0, x)
    for _ in range(50):
        before = x.copy()
        for i in order[missing[order]]:
            field = x @ W[i] + b[i]
            x[:, i] = np.where(field > 0, 1, np.where(field < 0, 0, x[:, i]))
        if np.array_equal(x, before):
            break
    return x


# %% wrong="recall"
# Ends when the first row has settled.
# - if np.array_equal(x, before):
# + if np.array_equal(x[0], before[0]):


# %% right="train_lattice"
# Chains that start at the data in each step, pixel after pixel: one sweep is nearly enough on a lattice.
def train_lattice(images, seed):
    rng = np.random.default_rng(seed)
    W = np.zeros((64, 64))  # upper triangle: a pixel with the next one, and with the one below
    place = np.arange(64)
    beside, above = place[place % 8 < 7], place[:56]
    mean = images.mean(axis=0).clip(0.01, 0.99)
    b = np.log(mean / (1 - mean))
    for epoch in range(10):
        order = rng.permutation(len(images))
        for start in range(0, len(images), 50):
            batch = images[order[start : start + 50]].astype(float)
            x, links = batch.copy(), W + W.T
            for i in range(64):
                x[:, i] = rng.random(len(x)) < expit(x @ links[i] + b[i])
            rate = 1 - epoch / 10
            C = (batch.T @ batch - x.T @ x) / len(x)
            W[beside, beside + 1] += rate * C[beside, beside + 1]
            W[above, above + 8] += rate * C[above, above + 8]
            b += rate * (batch - x).mean(axis=0)
    return W[beside, beside + 1].reshape(8, 7), W[above, above + 8].reshape(7, 8), b.reshape(8, 8)


# %% right="train_lattice"
# Plain loops over units, pairs, sites and states, in double precision; some results are lists.
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


# %% right="train_lattice"
# Other ways to the same result: sums over colours, products as a tree, all draws first, no sampling.
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


# %% right="train_lattice"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, gradients by automatic differentiation.
def train_lattice(images, seed):
    """No sampling at all: log Z by rows, as in the test, and its gradient by automatic differentiation."""
    x = tf.reshape(tf.cast(images, tf.float32), [-1, 8, 8])
    rows = tf.constant(all_states(8), tf.float32)
    mean = tf.clip_by_value(tf.reduce_mean(x, 0), 0.01, 0.99)
    right, down = tf.Variable(tf.zeros([8, 7])), tf.Variable(tf.zeros([7, 8]))
    b = tf.Variable(tf.math.log(mean / (1 - mean)))
    pairs_right = tf.reduce_mean(x[:, :, :-1] * x[:, :, 1:], 0)
    pairs_down = tf.reduce_mean(x[:, :-1] * x[:, 1:], 0)
    optimizer = tf.keras.optimizers.Adam(0.2)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            within = rows @ tf.transpose(b) + (rows[:, :-1] * rows[:, 1:]) @ tf.transpose(right)
            log_sum = within[:, 0]
            for r in range(7):
                between = tf.matmul(rows * down[r], rows, transpose_b=True)
                log_sum = within[:, r + 1] + tf.reduce_logsumexp(log_sum[:, None] + between, axis=0)
            data = tf.reduce_sum(mean * b) + tf.reduce_sum(pairs_right * right)
            loss = tf.reduce_logsumexp(log_sum) - data - tf.reduce_sum(pairs_down * down)
        variables = [right, down, b]
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    for _ in range(40):
        step()
    return right, down, b


# %% wrong="train_lattice"
# All pixels of a chain are drawn at once, given the old values.
def train_lattice(images, seed):
    rng = np.random.default_rng(seed)
    data = images.reshape(-1, 8, 8)
    mean = data.mean(axis=0).clip(0.01, 0.99)
    right, down, b = np.zeros((8, 7)), np.zeros((7, 8)), np.log(mean / (1 - mean))
    chains = data[rng.integers(len(data), size=100)]
    for epoch in range(20):
        rate = 1 - epoch / 20
        for v in np.array_split(rng.permutation(data), 24):
            for part in (True,):
                field = np.tile(b, (100, 1, 1))
                field[:, :, 1:] += right * chains[:, :, :-1]
                field[:, :, :-1] += right * chains[:, :, 1:]
                field[:, 1:] += down * chains[:, :-1]
                field[:, :-1] += down * chains[:, 1:]
                chains = np.where(part, rng.random(chains.shape) < expit(field), chains)
            right += rate * (
                (v[:, :, :-1] * v[:, :, 1:]).mean(0) - (chains[:, :, :-1] * chains[:, :, 1:]).mean(0)
            )
            down += rate * ((v[:, :-1] * v[:, 1:]).mean(0) - (chains[:, :-1] * chains[:, 1:]).mean(0))
            b += rate * (v.mean(0) - chains.mean(0))
    return right, down, b


# %% wrong="train_lattice"
# The model's moments come from fresh noise after one sweep.
def train_lattice(images, seed):
    rng = np.random.default_rng(seed)
    data = images.reshape(-1, 8, 8)
    mean = data.mean(axis=0).clip(0.01, 0.99)
    right, down, b = np.zeros((8, 7)), np.zeros((7, 8)), np.log(mean / (1 - mean))
    white = np.add.outer(np.arange(8), np.arange(8)) % 2 == 0
    chains = data[rng.integers(len(data), size=100)]
    for epoch in range(20):
        rate = 1 - epoch / 20
        for v in np.array_split(rng.permutation(data), 24):
            chains = (rng.random((100, 8, 8)) < 0.5) * 1.0
            for part in (white, ~white):
                field = np.tile(b, (100, 1, 1))
                field[:, :, 1:] += right * chains[:, :, :-1]
                field[:, :, :-1] += right * chains[:, :, 1:]
                field[:, 1:] += down * chains[:, :-1]
                field[:, :-1] += down * chains[:, 1:]
                chains = np.where(part, rng.random(chains.shape) < expit(field), chains)
            right += rate * (
                (v[:, :, :-1] * v[:, :, 1:]).mean(0) - (chains[:, :, :-1] * chains[:, :, 1:]).mean(0)
            )
            down += rate * ((v[:, :-1] * v[:, 1:]).mean(0) - (chains[:, :-1] * chains[:, 1:]).mean(0))
            b += rate * (v.mean(0) - chains.mean(0))
    return right, down, b


# %% wrong="train_lattice"
# Steps from the data to the model: the likelihood falls.
def train_lattice(images, seed):
    rng = np.random.default_rng(seed)
    data = images.reshape(-1, 8, 8)
    mean = data.mean(axis=0).clip(0.01, 0.99)
    right, down, b = np.zeros((8, 7)), np.zeros((7, 8)), np.log(mean / (1 - mean))
    white = np.add.outer(np.arange(8), np.arange(8)) % 2 == 0
    chains = data[rng.integers(len(data), size=100)]
    for epoch in range(3):
        rate = 1 - epoch / 20
        for v in np.array_split(rng.permutation(data), 24):
            for part in (white, ~white):
                field = np.tile(b, (100, 1, 1))
                field[:, :, 1:] += right * chains[:, :, :-1]
                field[:, :, :-1] += right * chains[:, :, 1:]
                field[:, 1:] += down * chains[:, :-1]
                field[:, :-1] += down * chains[:, 1:]
                chains = np.where(part, rng.random(chains.shape) < expit(field), chains)
            right -= rate * (
                (v[:, :, :-1] * v[:, :, 1:]).mean(0) - (chains[:, :, :-1] * chains[:, :, 1:]).mean(0)
            )
            down -= rate * ((v[:, :-1] * v[:, 1:]).mean(0) - (chains[:, :-1] * chains[:, 1:]).mean(0))
            b -= rate * (v.mean(0) - chains.mean(0))
    return right, down, b


# %% wrong="train_lattice"
# Returns down and right as vertical and horizontal the other way round, transposed to fit.
def train_lattice(images, seed):
    rng = np.random.default_rng(seed)
    data = images.reshape(-1, 8, 8)
    mean = data.mean(axis=0).clip(0.01, 0.99)
    right, down, b = np.zeros((8, 7)), np.zeros((7, 8)), np.log(mean / (1 - mean))
    white = np.add.outer(np.arange(8), np.arange(8)) % 2 == 0
    chains = data[rng.integers(len(data), size=100)]
    for epoch in range(20):
        rate = 1 - epoch / 20
        for v in np.array_split(rng.permutation(data), 24):
            for part in (white, ~white):
                field = np.tile(b, (100, 1, 1))
                field[:, :, 1:] += right * chains[:, :, :-1]
                field[:, :, :-1] += right * chains[:, :, 1:]
                field[:, 1:] += down * chains[:, :-1]
                field[:, :-1] += down * chains[:, 1:]
                chains = np.where(part, rng.random(chains.shape) < expit(field), chains)
            right += rate * (
                (v[:, :, :-1] * v[:, :, 1:]).mean(0) - (chains[:, :, :-1] * chains[:, :, 1:]).mean(0)
            )
            down += rate * ((v[:, :-1] * v[:, 1:]).mean(0) - (chains[:, :-1] * chains[:, 1:]).mean(0))
            b += rate * (v.mean(0) - chains.mean(0))
    return down.T, right.T, b


# %% wrong="train_lattice"
# Each pixel sees the pixels above and to the left only.
def train_lattice(images, seed):
    rng = np.random.default_rng(seed)
    data = images.reshape(-1, 8, 8)
    mean = data.mean(axis=0).clip(0.01, 0.99)
    right, down, b = np.zeros((8, 7)), np.zeros((7, 8)), np.log(mean / (1 - mean))
    white = np.add.outer(np.arange(8), np.arange(8)) % 2 == 0
    chains = data[rng.integers(len(data), size=100)]
    for epoch in range(20):
        rate = 1 - epoch / 20
        for v in np.array_split(rng.permutation(data), 24):
            for part in (white, ~white):
                field = np.tile(b, (100, 1, 1))
                field[:, :, 1:] += right * chains[:, :, :-1]
                field[:, 1:] += down * chains[:, :-1]
                chains = np.where(part, rng.random(chains.shape) < expit(field), chains)
            right += rate * (
                (v[:, :, :-1] * v[:, :, 1:]).mean(0) - (chains[:, :, :-1] * chains[:, :, 1:]).mean(0)
            )
            down += rate * ((v[:, :-1] * v[:, 1:]).mean(0) - (chains[:, :-1] * chains[:, 1:]).mean(0))
            b += rate * (v.mean(0) - chains.mean(0))
    return right, down, b


# %% wrong="train_lattice"
# Hands over the start: independent pixels.
def train_lattice(images, seed):
    mean = images.mean(axis=0).clip(0.01, 0.99)
    return np.zeros((8, 7)), np.zeros((7, 8)), np.log(mean / (1 - mean)).reshape(8, 8)


# %% wrong="train_lattice"
# Trains on a global, not on the images that it is given.
# - data = images.reshape(-1, 8, 8)
# + data = digits.train.reshape(-1, 8, 8)


# %% wrong="train_lattice"
# Trains on the parts that judge it as well.
# - data = images.reshape(-1, 8, 8)
# + data = np.concatenate([images, digits.validation, digits.test]).reshape(-1, 8, 8)
