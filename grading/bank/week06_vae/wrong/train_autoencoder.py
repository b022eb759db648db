"""No KL: an autoencoder.

Gap: train_vae
"""


# %% solution="train_vae"
def train_vae(x_train, x_validation, seed):
    keras.utils.set_random_seed(seed)

    class CountVAE(keras.Model):
        def __init__(self, encoder, decoder):
            super().__init__()
            self.encoder, self.decoder = encoder, decoder

        def call(self, x):
            """x: (B, 64) counts → (B,) nats: the ELBO from one sample, without the binomial coefficients."""
            mu, log_s = tf.split(self.encoder(x / LEVELS), 2, axis=1)
            z = mu + tf.exp(log_s) * tf.random.normal(tf.shape(mu))
            a = self.decoder(z)
            logpx_z = tf.reduce_sum(x * a - LEVELS * tf.nn.softplus(a), axis=1)
            elbo = logpx_z
            self.add_loss(-tf.reduce_mean(elbo))
            return elbo

    vae = CountVAE(*build_networks())
    vae.compile(keras.optimizers.Adam(0.01), steps_per_execution=12)
    stop = keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)
    vae.fit(x_train, validation_data=(x_validation,), batch_size=100, epochs=50, callbacks=[stop], verbose=0)
    return vae.encoder.get_weights(), vae.decoder.get_weights()
