"""Target −ξ, not −ξ/σ.

Gap: denoising_loss
"""


# %% solution="denoising_loss"
def denoising_loss(energy, x, sigma, noise, r):
    noisy = tf.convert_to_tensor(x + sigma[:, None] * noise)
    with tf.GradientTape() as tape:
        tape.watch(noisy)
        total = tf.reduce_sum(energy(noisy, sigma))
    score = -tape.gradient(total, noisy)
    target = -noise
    return tf.reduce_mean(sigma**r / 2 * tf.reduce_sum((score - target) ** 2, axis=1))
