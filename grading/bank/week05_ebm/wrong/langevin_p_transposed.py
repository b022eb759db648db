"""P = Lᵀ L.

Gap: langevin_step
"""


# %% solution="langevin_step"
def langevin_step(energy, x, L, eps, T, noise):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(energy(x))
    gradient = tape.gradient(total, x)  # (B, D)
    drift = -eps / 2 * gradient @ (L.T @ L)
    return x + drift + np.sqrt(eps * T) * noise @ L.T
