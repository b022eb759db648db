"""The axes of the prior are in reverse order.

Gap: train_codes
"""


# %% solution="train_codes"
def train_codes(x_train, seed):
    rng = np.random.default_rng(seed)
    steps, B = 500, 100
    start = [rng.normal(size=s) / np.sqrt(s[0]) if len(s) == 2 else np.zeros(s) for s in SHAPES]
    weights = [tf.Variable(w.astype(np.float32)) for w in start]
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(0.01, steps))
    optimizer.build(weights)
    data, rows = tf.constant(x_train), tf.constant(rng.integers(len(x_train), size=(steps, B)))

    @tf.function
    def run():
        for t in tf.range(steps):
            x = tf.gather(data, rows[t])
            with tf.GradientTape() as tape:
                e = encode(x, weights)
                u = 3 * (1 + tf.tanh(e)) / 2
                u = u + tf.stop_gradient(tf.round(u) - u)
                minus_logpx_c = tf.nn.sigmoid_cross_entropy_with_logits(x, decode(2 * u / 3 - 1, weights))
                loss = tf.reduce_mean(
                    tf.reduce_sum(minus_logpx_c, axis=1) + 0.2 * tf.reduce_sum(e**2, axis=1)
                )
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    run()
    k = np.rint(3 * (1 + np.tanh(encode(data, weights))) / 2).astype(int)
    counts = np.full(LEVELS, 0.5)
    np.add.at(counts, tuple(k.T), 1)
    return [w.numpy() for w in weights], counts.T / counts.sum()
