"""TensorFlow throughout: float32 tensors, a tf.random.Generator, gradients by automatic differentiation.

Returns tensors where the reference returns arrays.
"""


# %% solution="free_energy_label"
def free_energy_label(v, h2, theta):
    W1, W2, W3, b, c1, c2, d = theta
    linear = tf.linalg.matvec(v, b) + tf.linalg.matvec(h2, c2)
    hidden = tf.reduce_sum(
        tf.nn.softplus(c1 + tf.matmul(v, W1) + tf.matmul(h2, W2, transpose_b=True)), axis=-1
    )
    return -(linear + hidden + tf.reduce_logsumexp(d + tf.matmul(h2, W3), axis=-1))


# %% solution="gibbs_label"
def gibbs_label(v, h2, theta, seed):
    W1, W2, W3, b, c1, c2, d = theta
    rng = tf.random.Generator.from_seed(seed)

    def draw(x):
        return tf.cast(rng.uniform(tf.shape(x)) < tf.sigmoid(x), tf.float32)

    h1 = draw(c1 + v @ W1 + tf.matmul(h2, W2, transpose_b=True))
    classes = tf.random.stateless_categorical(d + h2 @ W3, 1, rng.make_seeds(1)[:, 0])[:, 0]
    y = tf.one_hot(classes, len(d))
    return (
        draw(b + tf.matmul(h1, W1, transpose_b=True)),
        h1,
        draw(c2 + h1 @ W2 + tf.matmul(y, W3, transpose_b=True)),
        y,
    )


# %% solution="mean_field_label"
def mean_field_label(v, theta, sweeps, damping):
    W1, W2, W3, b, c1, c2, d = theta
    B, K = len(v), len(d)
    mu = [tf.fill([B, len(c1)], 0.5), tf.fill([B, len(c2)], 0.5), tf.fill([B, K], 1.0 / K)]
    for _ in range(sweeps):
        update = [
            tf.sigmoid(c1 + v @ W1 + tf.matmul(mu[1], W2, transpose_b=True)),
            tf.sigmoid(c2 + mu[0] @ W2 + tf.matmul(mu[2], W3, transpose_b=True)),
            tf.nn.softmax(d + mu[1] @ W3),
        ]
        mu = [new + damping * (old - new) for old, new in zip(mu, update, strict=True)]
    return mu


# %% solution="bound_label"
def bound_label(v, mu1, mu2, mu_y, theta, log_z):
    W1, W2, W3, b, c1, c2, d = theta

    def entropy(*parts):
        return -sum(tf.reduce_sum(tf.math.xlogy(p, p), axis=1) for p in parts)

    linear = sum(tf.linalg.matvec(x, a) for x, a in [(v, b), (mu1, c1), (mu2, c2), (mu_y, d)])
    links = tf.reduce_sum(mu1 * (v @ W1) + mu1 * tf.matmul(mu2, W2, transpose_b=True), axis=1)
    links += tf.reduce_sum(mu_y * (mu2 @ W3), axis=1)
    return linear + links + entropy(mu1, 1 - mu1, mu2, 1 - mu2, mu_y) - log_z


# %% solution="gradient_label"
def gradient_label(v, mu1, mu2, mu_y, v_chain, h2_chain, theta):
    variables = [tf.Variable(x) for x in theta]
    W1, W2, W3, b, c1, c2, d = variables
    with tf.GradientTape() as tape:
        linear = sum(tf.linalg.matvec(x, a) for x, a in [(v, b), (mu1, c1), (mu2, c2), (mu_y, d)])
        links = sum(
            tf.reduce_sum((x @ W) * z, axis=1) for x, W, z in [(v, W1, mu1), (mu1, W2, mu2), (mu2, W3, mu_y)]
        )
        into_h1 = c1 + v_chain @ W1 + tf.matmul(h2_chain, W2, transpose_b=True)
        minus_f = tf.linalg.matvec(v_chain, b) + tf.linalg.matvec(h2_chain, c2)
        minus_f += tf.reduce_sum(tf.nn.softplus(into_h1), axis=1) + tf.reduce_logsumexp(
            d + h2_chain @ W3, axis=1
        )
        objective = tf.reduce_mean(linear + links) - tf.reduce_mean(minus_f)
    return tape.gradient(objective, variables)


# %% solution="wake_sleep"
def wake_sleep(v, W, b, R, r, seed):
    rng = tf.random.Generator.from_seed(seed)
    groups = [[tf.Variable(x) for x in group] for group in (W, b, R, r)]
    W, b, R, r = groups
    L, B = len(W), len(v)

    def draw(a):
        return tf.stop_gradient(tf.where(rng.uniform(tf.shape(a)) < tf.sigmoid(2 * a), 1.0, -1.0))

    def log_prob(s, a):
        return tf.reduce_sum(tf.math.log_sigmoid(2 * s * a)) / B

    wake = [tf.constant(v)]
    for l in range(L):
        wake.append(draw(r[l] + wake[-1] @ R[l]))
    dream = [draw(tf.tile(b[L][None], [B, 1]))]
    for l in range(L - 1, -1, -1):
        dream = [draw(b[l] + tf.matmul(dream[0], W[l], transpose_b=True)), *dream]
    with tf.GradientTape() as tape:
        objective = log_prob(wake[L], b[L])
        for l in range(L):
            objective += log_prob(wake[l], b[l] + tf.matmul(wake[l + 1], W[l], transpose_b=True))
            objective += log_prob(dream[l + 1], r[l] + dream[l] @ R[l])
    return tape.gradient(objective, groups)


# %% solution="train_stack"
def train_stack(images, widths, seed):
    rng = tf.random.Generator.from_seed(seed)
    x, weights, below = tf.constant(images), [], []
    for n, width in enumerate(widths):
        W, b, c = train_rbm(x.numpy(), width, epochs=90, rate=0.5, seed=seed + n)
        x = tf.cast(rng.uniform([len(x), width]) < tf.sigmoid(c + x @ W), tf.float32)
        weights.append(tf.constant(W))
        below.append(tf.constant(b))
    return weights + below + [tf.constant(c)]
