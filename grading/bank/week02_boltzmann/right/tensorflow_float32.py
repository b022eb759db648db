"""TensorFlow throughout: float32 tensors, a tf.random.Generator, gradients by automatic differentiation."""


# %% solution="energy_potts"
def energy_potts(x, W, b):
    z = tf.one_hot(x, b.shape[1])
    inputs = tf.einsum("ij,bjk->bik", W, z) / 2 + b
    return -tf.reduce_sum(z * inputs, axis=[1, 2])


# %% solution="conditional_potts"
def conditional_potts(x, i, W, b, T):
    z = tf.one_hot(x, b.shape[1])
    return tf.nn.softmax((b[i] + tf.einsum("j,bjk->bk", W[i], z)) / T)


# %% solution="sweep_lattice"
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


# %% solution="log_z_ring"
def log_z_ring(A, T):
    log_M = tf.constant(A) / T
    product, scale = tf.eye(A.shape[1]), 0.0
    for step in tf.unstack(log_M):
        highest = tf.reduce_max(step)
        product = product @ tf.exp(step - highest)
        largest = tf.reduce_max(product)
        product = product / largest
        scale += highest + tf.math.log(largest)
    return scale + tf.math.log(tf.linalg.trace(product))


# %% solution="gradient_ring"
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


# %% solution="store_centred"
def store_centred(patterns, a):
    deviations = tf.constant(patterns) - a
    W = tf.matmul(deviations, deviations, transpose_a=True) / len(a)
    W = tf.linalg.set_diag(W, tf.zeros(len(a)))
    return W, -tf.linalg.matvec(W, a)


# %% solution="recall"
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


# %% solution="train_lattice"
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
