"""Right and wrong answers to the gaps of Week 13. TODO: those of this week."""


# %% right="log_prob"
# One term for each spin: minus the logarithm of 1 + exp(−2 θ x).
def log_prob(x, theta):
    return -np.log1p(np.exp(-2 * x * theta)).sum(axis=1)


# %% right="log_prob"
# TensorFlow.
def log_prob(x, theta):
    import tensorflow as tf

    return -tf.reduce_sum(tf.nn.softplus(-2 * x * theta), axis=-1)


# %% right="log_prob"
# Loops.
def log_prob(x, theta):
    return np.array([sum(np.log(expit(2 * t * s)) for s, t in zip(row, theta, strict=True)) for row in x])


# %% wrong="log_prob"
# The normaliser of units that are 0 or 1.
# - log_z = np.sum(np.logaddexp(theta, -theta))
# + log_z = np.sum(np.logaddexp(0, theta))


# %% right="ascent_step"
# Automatic differentiation.
def ascent_step(x, theta, rate):
    import tensorflow as tf

    variable = tf.Variable(theta)
    with tf.GradientTape() as tape:
        log_p = tf.linalg.matvec(x, variable) - tf.reduce_sum(tf.math.log(2 * tf.cosh(variable)))
        objective = tf.reduce_mean(log_p)
    return variable + rate * tape.gradient(objective, variable)


# %% right="ascent_step"
# float64, and the mean of a spin as a difference of probabilities.
def ascent_step(x, theta, rate):
    theta = theta.astype(float)
    p = expit(2 * theta)
    return theta + rate * (np.mean(x.astype(float), axis=0) - (p - (1 - p)))


# %% right="ascent_step"
# Loops.
def ascent_step(x, theta, rate):
    new = []
    for i, t in enumerate(theta):
        new.append(t + rate * (sum(row[i] for row in x) / len(x) - np.tanh(t)))
    return np.array(new)


# %% wrong="ascent_step"
# The mean of a unit that is 0 or 1.
# - gradient = x.mean(axis=0) - np.tanh(theta)
# + gradient = x.mean(axis=0) - expit(theta)


# %% right="draw"
# Draws one column after the other.
def draw(theta, n, seed):
    rng = np.random.default_rng(seed)
    return np.stack([np.where(rng.random(n) < expit(2 * t), 1.0, -1.0) for t in theta], axis=1)


# %% right="draw"
# The generator's own choice.
def draw(theta, n, seed):
    rng = np.random.default_rng(seed)
    return np.stack(
        [rng.choice([-1, 1], size=n, p=[expit(-2 * t), expit(2 * t)]) for t in theta.astype(float)], axis=1
    )


# %% right="draw"
# TensorFlow's stateless numbers.
def draw(theta, n, seed):
    import tensorflow as tf

    u = tf.random.stateless_uniform([n, len(theta)], [seed, 0])
    return 2 * tf.cast(u < tf.sigmoid(2 * theta), tf.float32) - 1


# %% wrong="draw"
# One random number for all spins of a vector.
# - u = np.random.default_rng(seed).random((n, len(theta)))
# + u = np.random.default_rng(seed).random((n, 1))


# %% equivalent="draw"
# A draw is never exactly equal to its probability.
# - return np.where(u < expit(2 * theta), 1, -1)
# + return np.where(u <= expit(2 * theta), 1, -1)


# %% right="train"
# The gradient set to 0, kept away from infinity.
def train(x, seed):
    return np.arctanh(np.clip(x.mean(axis=0), -0.999, 0.999))


# %% right="train"
# Stochastic steps on batches.
def train(x, seed):
    rng, theta = np.random.default_rng(seed), np.zeros(x.shape[1])
    for epoch in range(40):
        for batch in np.array_split(rng.permutation(x), 24):
            theta = theta + 0.3 * (1 - epoch / 40) * (batch.mean(axis=0) - np.tanh(theta))
    return theta


# %% right="train"
# Adam.
def train(x, seed):
    import keras
    import tensorflow as tf

    theta, adam = tf.Variable(tf.zeros(x.shape[1])), keras.optimizers.Adam(0.05)
    mean = x.mean(axis=0)
    for _ in range(300):
        adam.apply([tf.tanh(theta) - mean], [theta])
    return theta


# %% wrong="train"
# Three steps where hundreds are needed.
# - for _ in range(300):
# + for _ in range(3):
