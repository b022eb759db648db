"""Adam's default rate, 0.001: too slow for 40 epochs.

Gap: train_vae
"""


# %% solution="train_vae"
def train_vae(x_train, seed):
    keras.utils.set_random_seed(seed)
    encoder, decoder = build_networks()
    variables = encoder.trainable_variables + decoder.trainable_variables
    steps, B = 440, 100
    optimizer = keras.optimizers.Adam()
    optimizer.build(variables)
    data = tf.constant(x_train)

    @tf.function
    def run():
        for _ in tf.range(steps):
            x = tf.gather(data, tf.random.uniform((B,), maxval=len(x_train), dtype=tf.int32))
            with tf.GradientTape() as tape:
                m, s = tf.split(encoder(x / LEVELS), 2, axis=1)
                a = decoder(m + tf.exp(s) * tf.random.normal(tf.shape(m)))
                logpx_z = tf.reduce_sum(x * a - LEVELS * tf.nn.softplus(a), axis=1)
                kl = tf.reduce_sum((tf.exp(2 * s) + m**2 - 1) / 2 - s, axis=1)
                loss = tf.reduce_mean(kl - logpx_z)
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    run()
    return encoder.get_weights(), decoder.get_weights()
