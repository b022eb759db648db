"""Hands sigma to the energy as a column: (B, 1) against (B,) becomes (B, B).

Gap: denoising_loss
"""


# %% solution="denoising_loss"
def denoising_loss(energy, x, sigma, noise, r):
    sigma = sigma[:, None]
    noisy = tf.convert_to_tensor(x + sigma * noise)
    with tf.GradientTape() as tape:
        tape.watch(noisy)
        total = tf.reduce_sum(energy(noisy, sigma))
    score = -tape.gradient(total, noisy)
    return tf.reduce_mean(sigma[:, 0] ** r / 2 * tf.reduce_sum((score + noise / sigma) ** 2, axis=1))
