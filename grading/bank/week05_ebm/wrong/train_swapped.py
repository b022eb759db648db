"""Data and noise change places: the energy rises at the data.

Gap: train_energy
"""


# %% solution="train_energy"
def train_energy(x_train, seed):
    rng = np.random.default_rng(seed)
    steps, B, nu = 200, 200, 4
    mean, covariance = x_train.mean(axis=0), 1.5 * np.cov(x_train.T)
    precision, log_det = np.linalg.inv(covariance), np.linalg.slogdet(2 * np.pi * covariance)[1]

    def log_q(x):
        return -0.5 * np.sum((x - mean) @ precision * (x - mean), axis=1) - 0.5 * log_det

    noise = rng.multivariate_normal(mean, covariance, size=20 * len(x_train)).astype(np.float32)
    data, log_q_data = tf.constant(x_train), tf.constant(log_q(x_train), tf.float32)
    noise, log_q_noise = tf.constant(noise), tf.constant(log_q(noise), tf.float32)
    start = [rng.normal(size=s) / np.sqrt(s[0]) if len(s) == 2 else np.zeros(s) for s in SHAPES]
    weights = [tf.Variable(w.astype(np.float32)) for w in start]
    variables = [*weights, log_z := tf.Variable(0.0)]
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(0.02, steps))
    optimizer.build(variables)

    chosen = [(rng.integers(len(data), size=B), rng.integers(len(noise), size=nu * B)) for _ in range(steps)]
    data_chosen, noise_chosen = (tf.constant(np.stack(rows)) for rows in zip(*chosen, strict=True))

    @tf.function
    def run():  # all steps in one graph
        for t in tf.range(steps):
            i, j = data_chosen[t], noise_chosen[t]
            with tf.GradientTape() as tape:
                f_data, f_noise = (
                    -energy_net(tf.gather(x, k), weights) - log_z for x, k in ((data, i), (noise, j))
                )
                delta_data = f_data - tf.gather(log_q_data, i) - np.log(nu)
                delta_noise = f_noise - tf.gather(log_q_noise, j) - np.log(nu)
                doubt = tf.reduce_mean(tf.nn.softplus(delta_data))  # −log P(data | x) at the data
                belief = tf.reduce_mean(tf.nn.softplus(-delta_noise))  # −log P(noise | x) at the noise
                loss = doubt + nu * belief
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    run()
    return [w.numpy() for w in weights]
