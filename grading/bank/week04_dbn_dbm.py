"""Right and wrong answers to the gaps of Week 4, labels on top, and deeper stacks."""


# %% right="free_energy_label"
# Python loops over rows, units and layers, float64, NumPy's older random generator, lists as results.
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


# %% right="free_energy_label"
# Other roads to the same place: the given energy, logistic noise, races, moments in one product.
def free_energy_label(v, h2, theta):
    # minus the log-sum over the K classes of the terms that stay when h1 is summed out
    W1, W2, W3, b, c1, c2, d = [x.astype(np.float64) for x in theta]
    x = c1 + v @ W1 + h2 @ W2.T
    softplus = np.where(x > 0, x, 0) + np.log1p(np.exp(-np.abs(x)))
    terms = (v @ b + h2 @ c2 + softplus.sum(-1))[:, None] + d + h2 @ W3  # (B, K)
    return -np.logaddexp.reduce(terms, axis=1)


# %% right="free_energy_label"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, gradients by automatic differentiation.
# Returns tensors where the reference returns arrays.
def free_energy_label(v, h2, theta):
    W1, W2, W3, b, c1, c2, d = theta
    linear = tf.linalg.matvec(v, b) + tf.linalg.matvec(h2, c2)
    hidden = tf.reduce_sum(
        tf.nn.softplus(c1 + tf.matmul(v, W1) + tf.matmul(h2, W2, transpose_b=True)), axis=-1
    )
    return -(linear + hidden + tf.reduce_logsumexp(d + tf.matmul(h2, W3), axis=-1))


# %% wrong="free_energy_label"
# Treats the classes as K independent units: softplus in place of a log-sum.
# - return -(v @ b) - h2 @ c2 - np.logaddexp(0, into_h1).sum(axis=1) - logsumexp(into_y, axis=1)
# + return -(v @ b) - h2 @ c2 - np.logaddexp(0, into_h1).sum(axis=1) - np.logaddexp(0, into_y).sum(axis=1)


# %% wrong="free_energy_label"
# Takes the largest input to y of the whole batch out of the exponent: rows far below it underflow to log 0.
# - return -(v @ b) - h2 @ c2 - np.logaddexp(0, into_h1).sum(axis=1) - logsumexp(into_y, axis=1)
# + top = into_y.max()
# + log_sum = top + np.log(np.exp(into_y - top).sum(axis=1))
# + return -(v @ b) - h2 @ c2 - np.logaddexp(0, into_h1).sum(axis=1) - log_sum


# %% wrong="free_energy_label"
# Writes log(1 + e^x) and log-sum-exp as they stand: overflow.
# - return -(v @ b) - h2 @ c2 - np.logaddexp(0, into_h1).sum(axis=1) - logsumexp(into_y, axis=1)
# + return -(v @ b) - h2 @ c2 - np.log(1 + np.exp(into_h1)).sum(axis=1) - np.log(np.exp(into_y).sum(axis=1))


# %% wrong="free_energy_label"
# Computes log(1 + e^x) and log-sum-exp as they stand, in float64: enough for inputs of a few hundred only.
# - W1, W2, W3, b, c1, c2, d = theta
# + v, h2 = v.astype(np.float64), h2.astype(np.float64)
# + W1, W2, W3, b, c1, c2, d = [x.astype(np.float64) for x in theta]
# - return -(v @ b) - h2 @ c2 - np.logaddexp(0, into_h1).sum(axis=1) - logsumexp(into_y, axis=1)
# + return -(v @ b) - h2 @ c2 - np.log(1 + np.exp(into_h1)).sum(axis=1) - np.log(np.exp(into_y).sum(axis=1))


# %% wrong="free_energy_label"
# Returns log of the sum, without the minus.
# - return -(v @ b) - h2 @ c2 - np.logaddexp(0, into_h1).sum(axis=1) - logsumexp(into_y, axis=1)
# + return v @ b + h2 @ c2 + np.logaddexp(0, into_h1).sum(axis=1) + logsumexp(into_y, axis=1)


# %% right="gibbs_label"
# Python loops over rows, units and layers, float64, NumPy's older random generator, lists as results.
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


# %% right="gibbs_label"
# Other roads to the same place: the given energy, logistic noise, races, moments in one product.
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


# %% right="gibbs_label"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, gradients by automatic differentiation.
# Returns tensors where the reference returns arrays.
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


# %% wrong="gibbs_label"
# Draws the classes as independent 0/1 units.
# - y = np.eye(len(d), dtype=np.float32)[np.argmax(into_y + rng.gumbel(size=into_y.shape), axis=1)]
# + y = draw(into_y)


# %% wrong="gibbs_label"
# Goes up with the old layers and down with the new: h2 before v, and v from an h1 drawn again.
# - y = np.eye(len(d), dtype=np.float32)[np.argmax(into_y + rng.gumbel(size=into_y.shape), axis=1)]
# + y = np.eye(len(d), dtype=np.float32)[np.argmax(into_y + rng.gumbel(size=into_y.shape), axis=1)]
# + h2 = draw(c2 + h1 @ W2 + y @ W3.T)
# + h1 = draw(c1 + v @ W1 + h2 @ W2.T)
# - h2 = draw(c2 + h1 @ W2 + y @ W3.T)


# %% wrong="gibbs_label"
# Passes the mean of h1 on, and draws it afterwards.
# - h1 = draw(c1 + v @ W1 + h2 @ W2.T)
# + x = c1 + v @ W1 + h2 @ W2.T
# + h1 = expit(x)
# - return v, h1, h2, y
# + return v, draw(x), h2, y


# %% wrong="gibbs_label"
# Draws all labels from one distribution, the mean over the rows.
# - into_y = d + h2 @ W3
# + into_y = np.exp(d + h2 @ W3)
# + into_y = np.log(np.mean(into_y / into_y.sum(axis=1, keepdims=True), axis=0)) + np.zeros((len(h2), 1))


# %% wrong="gibbs_label"
# Returns the layers in another order.
# - return v, h1, h2, y
# + return h1, y, v, h2


# %% wrong="gibbs_label"
# Returns the probabilities of v, not draws.
# - v = draw(b + h1 @ W1.T)
# + v = expit(b + h1 @ W1.T)


# %% wrong="gibbs_label"
# All chains go on from the state of the first.
# - rng = np.random.default_rng(seed)
# + rng = np.random.default_rng(seed)
# + v, h2 = np.tile(v[:1], (len(v), 1)), np.tile(h2[:1], (len(v), 1))


# %% wrong="gibbs_label"
# One layer ignores the seed.
# - h1 = draw(c1 + v @ W1 + h2 @ W2.T)
# + x = c1 + v @ W1 + h2 @ W2.T
# + h1 = (np.random.default_rng(0).random(x.shape) < expit(x)).astype(np.float32)


# %% wrong="gibbs_label"
# A new generator of the same seed for each layer: the layers share their random numbers.
# - return (rng.random(x.shape) < expit(x)).astype(np.float32)
# + return (np.random.default_rng(seed).random(x.shape) < expit(x)).astype(np.float32)


# %% wrong="gibbs_label"
# Ignores the seed.
# - rng = np.random.default_rng(seed)
# + rng = np.random.default_rng(0)


# %% wrong="gibbs_label"
# One row of Gumbel noise for all chains.
# - y = np.eye(len(d), dtype=np.float32)[np.argmax(into_y + rng.gumbel(size=into_y.shape), axis=1)]
# + y = np.eye(len(d), dtype=np.float32)[np.argmax(into_y + rng.gumbel(size=len(d)), axis=1)]


# %% wrong="gibbs_label"
# One uniform number for each unit, shared by all chains.
# - return (rng.random(x.shape) < expit(x)).astype(np.float32)
# + return (rng.random(x.shape[1]) < expit(x)).astype(np.float32)


# %% wrong="gibbs_label"
# Draws from an unseeded generator.
# - rng = np.random.default_rng(seed)
# + rng = np.random.default_rng()


# %% right="mean_field_label"
# Python loops over rows, units and layers, float64, NumPy's older random generator, lists as results.
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


# %% right="mean_field_label"
# Other roads to the same place: the given energy, logistic noise, races, moments in one product.
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


# %% right="mean_field_label"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, gradients by automatic differentiation.
# Returns tensors where the reference returns arrays.
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


# %% wrong="mean_field_label"
# Leaves the damping out.
# - mu1, mu2, mu_y = (
# -     damping * old + (1 - damping) * new for old, new in [(mu1, new1), (mu2, new2), (mu_y, new_y)]
# - )
# + mu1, mu2, mu_y = (new for old, new in [(mu1, new1), (mu2, new2), (mu_y, new_y)])


# %% wrong="mean_field_label"
# Weighs the new value with the damping.
# - damping * old + (1 - damping) * new for old, new in [(mu1, new1), (mu2, new2), (mu_y, new_y)]
# + damping * new + (1 - damping) * old for old, new in [(mu1, new1), (mu2, new2), (mu_y, new_y)]


# %% wrong="mean_field_label"
# Doubles the input from below, as in the pretraining of a DBM.
# - new1 = expit(c1 + v @ W1 + mu2 @ W2.T)
# + new1 = expit(c1 + 2 * v @ W1 + mu2 @ W2.T)


# %% wrong="mean_field_label"
# A logistic function for the label.
# - new_y = softmax(d + mu2 @ W3, axis=1)
# + new_y = expit(d + mu2 @ W3)


# %% wrong="mean_field_label"
# Starts the label's probabilities at one half, whatever K is.
# - mu1, mu2, mu_y = np.full((B, len(c1)), 0.5), np.full((B, len(c2)), 0.5), np.full((B, len(d)), 1 / len(d))
# + mu1, mu2, mu_y = np.full((B, len(c1)), 0.5), np.full((B, len(c2)), 0.5), np.full((B, len(d)), 0.5)


# %% wrong="mean_field_label"
# Makes one sweep too many.
# - for _ in range(sweeps):
# + for _ in range(sweeps + 1):


# %% wrong="mean_field_label"
# Updates one layer after the other, each from the newest values.
# - new2 = expit(c2 + mu1 @ W2 + mu_y @ W3.T)
# - new_y = softmax(d + mu2 @ W3, axis=1)
# + new2 = expit(c2 + new1 @ W2 + mu_y @ W3.T)
# + new_y = softmax(d + new2 @ W3, axis=1)


# %% right="bound_label"
# Python loops over rows, units and layers, float64, NumPy's older random generator, lists as results.
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


# %% right="bound_label"
# Other roads to the same place: the given energy, logistic noise, races, moments in one product.
def bound_label(v, mu1, mu2, mu_y, theta, log_z):
    # a small number inside the logarithm, float64, and the given energy with means for states
    mu1, mu2, mu_y = (m.astype(np.float64) for m in (mu1, mu2, mu_y))
    tiny = 1e-12

    def entropy(m):
        return -(m * np.log(m + tiny)).sum(1)

    q = entropy(mu1) + entropy(1 - mu1) + entropy(mu2) + entropy(1 - mu2) + entropy(mu_y)
    return tf.constant(-energy(v, mu1, mu2, mu_y, theta) + q - log_z)


# %% right="bound_label"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, gradients by automatic differentiation.
# Returns tensors where the reference returns arrays.
def bound_label(v, mu1, mu2, mu_y, theta, log_z):
    W1, W2, W3, b, c1, c2, d = theta

    def entropy(*parts):
        return -sum(tf.reduce_sum(tf.math.xlogy(p, p), axis=1) for p in parts)

    linear = sum(tf.linalg.matvec(x, a) for x, a in [(v, b), (mu1, c1), (mu2, c2), (mu_y, d)])
    links = tf.reduce_sum(mu1 * (v @ W1) + mu1 * tf.matmul(mu2, W2, transpose_b=True), axis=1)
    links += tf.reduce_sum(mu_y * (mu2 @ W3), axis=1)
    return linear + links + entropy(mu1, 1 - mu1, mu2, 1 - mu2, mu_y) - log_z


# %% wrong="bound_label"
# Subtracts the entropy: the sign of E[log q].
# - return biases + links + entropy_h1 + entropy_h2 + entropy_y - log_z
# + return biases + links - entropy_h1 - entropy_h2 - entropy_y - log_z


# %% wrong="bound_label"
# Leaves out the (1 − µ) log(1 − µ) terms.
# - entropy_h1 = -np.sum(xlogy(mu1, mu1) + xlogy(1 - mu1, 1 - mu1), axis=1)
# - entropy_h2 = -np.sum(xlogy(mu2, mu2) + xlogy(1 - mu2, 1 - mu2), axis=1)
# + entropy_h1 = -np.sum(xlogy(mu1, mu1), axis=1)
# + entropy_h2 = -np.sum(xlogy(mu2, mu2), axis=1)


# %% wrong="bound_label"
# Gives the label the entropy of K independent units.
# - entropy_y = -np.sum(xlogy(mu_y, mu_y), axis=1)
# + entropy_y = -np.sum(xlogy(mu_y, mu_y) + xlogy(1 - mu_y, 1 - mu_y), axis=1)


# %% wrong="bound_label"
# Averages over the batch.
# - return biases + links + entropy_h1 + entropy_h2 + entropy_y - log_z
# + return np.mean(biases + links + entropy_h1 + entropy_h2 + entropy_y - log_z)


# %% wrong="bound_label"
# 0 log 0 is NaN.
# - entropy_h1 = -np.sum(xlogy(mu1, mu1) + xlogy(1 - mu1, 1 - mu1), axis=1)
# + entropy_h1 = -np.sum(mu1 * np.log(mu1) + (1 - mu1) * np.log(1 - mu1), axis=1)


# %% wrong="bound_label"
# Forgets the entropy of the label.
# - entropy_y = -np.sum(xlogy(mu_y, mu_y), axis=1)
# - return biases + links + entropy_h1 + entropy_h2 + entropy_y - log_z
# + return biases + links + entropy_h1 + entropy_h2 - log_z


# %% right="gradient_label"
# Python loops over rows, units and layers, float64, NumPy's older random generator, lists as results.
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


# %% right="gradient_label"
# Other roads to the same place: the given energy, logistic noise, races, moments in one product.
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


# %% right="gradient_label"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, gradients by automatic differentiation.
# Returns tensors where the reference returns arrays.
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


# %% wrong="gradient_label"
# In the negative phase h1 listens to v only.
# - h1_chain = expit(c1 + v_chain @ W1 + h2_chain @ W2.T)
# + h1_chain = expit(c1 + v_chain @ W1)
# - return [p - n for p, n in zip(positive, negative)]
# + return [p - n for p, n in zip(positive, negative, strict=True)]


# %% wrong="gradient_label"
# Draws h1 in the negative phase where its mean was asked for.
# - h1_chain = expit(c1 + v_chain @ W1 + h2_chain @ W2.T)
# + h1_chain = expit(c1 + v_chain @ W1 + h2_chain @ W2.T)
# + h1_chain = (np.random.default_rng(0).random(h1_chain.shape) < h1_chain).astype(float)
# - return [p - n for p, n in zip(positive, negative)]
# + return [p - n for p, n in zip(positive, negative, strict=True)]


# %% wrong="gradient_label"
# Divides both phases by the number of data rows.
# - n = len(v)
# + n = len(mu1)
# - return [p - n for p, n in zip(positive, negative)]
# + return [p - n for p, n in zip(positive, negative, strict=True)]


# %% wrong="gradient_label"
# The product of the means over the batch, not the mean of the products.
# - n = len(v)
# - return [v.T @ h1 / n, h1.T @ h2 / n, h2.T @ y / n, v.mean(0), h1.mean(0), h2.mean(0), y.mean(0)]
# + return [
# +     np.outer(v.mean(0), h1.mean(0)),
# +     np.outer(h1.mean(0), h2.mean(0)),
# +     np.outer(h2.mean(0), y.mean(0)),
# +     v.mean(0),
# +     h1.mean(0),
# +     h2.mean(0),
# +     y.mean(0),
# + ]
# - return [p - n for p, n in zip(positive, negative)]
# + return [p - n for p, n in zip(positive, negative, strict=True)]


# %% wrong="gradient_label"
# Rounds the means of the data to states first.
# - positive, negative = moments(v, mu1, mu2, mu_y), moments(v_chain, h1_chain, h2_chain, y_chain)
# - return [p - n for p, n in zip(positive, negative)]
# + positive, negative = (
# +     moments(v, mu1.round(), mu2.round(), mu_y.round()),
# +     moments(v_chain, h1_chain, h2_chain, y_chain),
# + )
# + return [p - n for p, n in zip(positive, negative, strict=True)]


# %% wrong="gradient_label"
# Model minus data.
# - return [p - n for p, n in zip(positive, negative)]
# + return [n - p for p, n in zip(positive, negative, strict=True)]


# %% wrong="gradient_label"
# Sums over the batch.
# - n = len(v)
# - return [v.T @ h1 / n, h1.T @ h2 / n, h2.T @ y / n, v.mean(0), h1.mean(0), h2.mean(0), y.mean(0)]
# + n = 1
# + return [v.T @ h1 / n, h1.T @ h2 / n, h2.T @ y / n, v.sum(0), h1.sum(0), h2.sum(0), y.sum(0)]
# - return [p - n for p, n in zip(positive, negative)]
# + return [p - n for p, n in zip(positive, negative, strict=True)]


# %% right="train_stack"
# Python loops over rows, units and layers, float64, NumPy's older random generator, lists as results.
def train_stack(images, widths, seed):
    rng = np.random.RandomState(seed)
    W1, b, r1 = train_rbm(images, widths[0], 100, 0.5, seed)
    h1 = (rng.rand(len(images), widths[0]) < 1 / (1 + np.exp(-(r1 + images @ W1)))).astype(float)
    W2, c1, r2 = train_rbm(h1, widths[1], 100, 0.5, seed)
    h2 = (rng.rand(len(images), widths[1]) < 1 / (1 + np.exp(-(r2 + h1 @ W2)))).astype(float)
    W3, c2, c3 = train_rbm(h2, widths[2], 100, 0.5, seed)
    return [x.astype(float).tolist() for x in (W1, W2, W3, b, c1, c2, c3)]


# %% right="train_stack"
# Other roads to the same place: the given energy, logistic noise, races, moments in one product.
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


# %% right="train_stack"
# TensorFlow throughout: float32 tensors, a tf.random.Generator, gradients by automatic differentiation.
# Returns tensors where the reference returns arrays.
def train_stack(images, widths, seed):
    rng = tf.random.Generator.from_seed(seed)
    x, weights, below = tf.constant(images), [], []
    for n, width in enumerate(widths):
        W, b, c = train_rbm(x.numpy(), width, epochs=90, rate=0.5, seed=seed + n)
        x = tf.cast(rng.uniform([len(x), width]) < tf.sigmoid(c + x @ W), tf.float32)
        weights.append(tf.constant(W))
        below.append(tf.constant(b))
    return weights + below + [tf.constant(c)]


# %% wrong="train_stack"
# Trains the third layer on noise: the states it hands up are not drawn from the layer below.
# - data = rng.random((len(data), width)) < expit(above + data @ W)  # what the next layer learns from
# + data = rng.random((len(data), width)) < 0.5  # what the next layer learns from


# %% wrong="train_stack"
# Trains the first RBM and puts independent units above it.
# - return [*weights, *visible, above]  # of a hidden layer's two biases the RBM above has the last word
# + return [
# +     weights[0],
# +     *(0 * W for W in weights[1:]),
# +     *visible,
# +     above,
# + ]  # of a hidden layer's two biases the RBM above has the last word


# %% wrong="train_stack"
# Keeps the hidden biases of each RBM, which belong to the way up.
# - data, weights, visible = images, [], []
# + data, weights, hidden = images, [], []
# -     visible.append(below)
# - return [*weights, *visible, above]  # of a hidden layer's two biases the RBM above has the last word
# +     hidden.append(above)
# +     bottom = below if len(weights) == 1 else bottom
# + return [*weights, bottom, *hidden]  # of a hidden layer's two biases the RBM above has the last word


# %% wrong="train_stack"
# Trains two RBMs only and fills the third up with zeros.
# - for width in widths:
# + for width in widths[:2]:
# - return [*weights, *visible, above]  # of a hidden layer's two biases the RBM above has the last word
# + weights.append(np.zeros(widths[1:]))
# + visible.append(np.zeros(widths[1]))
# + return [
# +     *weights,
# +     *visible,
# +     np.zeros(widths[2]),
# + ]  # of a hidden layer's two biases the RBM above has the last word


# %% wrong="train_stack"
# Leaves the upper layers untrained.
# - epochs, rate = (150, 0.5) if weights else (100, 0.3)
# + epochs, rate = (0, 0.5) if weights else (100, 0.3)


# %% wrong="gibbs_label"
# The label of every chain hears the first row's h2.
# - into_y = d + h2 @ W3
# + into_y = d + np.tile(h2[:1], (len(h2), 1)) @ W3


# %% wrong="gibbs_label"
# One uniform number for all units of a row.
# - return (rng.random(x.shape) < expit(x)).astype(np.float32)
# + return (rng.random((len(x), 1)) < expit(x)).astype(np.float32)


# %% wrong="mean_field_label"
# Never more than ten sweeps.
# - for _ in range(sweeps):
# + for _ in range(min(sweeps, 10)):


# %% wrong="mean_field_label"
# Clips the means.
# - return mu1, mu2, mu_y
# + return np.clip(mu1, 0.01, 0.99), np.clip(mu2, 0.01, 0.99), mu_y


# %% wrong="train_stack"
# A parameter so large that the test loses the normaliser in floating point.
def train_stack(images, widths, seed):
    D, (a, b, c) = images.shape[1], widths
    c1, c2 = np.zeros(a), np.zeros(b)
    c1[0] = c2[0] = 1e20
    return [np.zeros((D, a)), np.zeros((a, b)), np.zeros((b, c)), np.zeros(D), c1, c2, np.zeros(c)]
