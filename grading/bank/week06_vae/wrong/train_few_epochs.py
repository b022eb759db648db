"""Stops after three epochs.

Gap: train_vae
"""


# %% solution="train_vae"
def train_vae(x_train, seed):
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    encoder, decoder = build_networks()
    variables = encoder.trainable_variables + decoder.trainable_variables
    steps, B = 40, 100
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.007, steps))
    optimizer.build(variables)

    @tf.function
    def step(x, noise):
        with tf.GradientTape() as tape:
            out = encoder(x / 16)
            m, s = out[:, :LATENT], out[:, LATENT:]
            a = decoder(m + tf.exp(s) * noise)
            wrong = tf.nn.sigmoid_cross_entropy_with_logits(labels=x / 16, logits=a)
            kl = 0.5 * tf.reduce_sum(tf.exp(2 * s) + m**2 - 1 - 2 * s, axis=1)
            loss = tf.reduce_mean(16 * tf.reduce_sum(wrong, axis=1) + kl)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    for _ in range(steps):
        chosen = rng.integers(len(x_train), size=B)
        step(tf.constant(x_train[chosen]), tf.constant(rng.normal(size=(B, LATENT)), tf.float32))
    return encoder.get_weights(), decoder.get_weights()
