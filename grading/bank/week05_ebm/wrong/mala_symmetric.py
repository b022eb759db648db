"""Leaves out both q, as if the proposal were symmetric.

Gap: mala_step
"""


# %% solution="mala_step"
def mala_step(energy, x, L, eps, T, noise, u):
    P = L @ L.T

    def energy_and_gradient(x):
        x = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            e = energy(x)
        return e.numpy(), tape.gradient(e, x).numpy()

    e_x, g_x = energy_and_gradient(x)
    y = x - eps / 2 * g_x @ P + np.sqrt(eps * T) * noise @ L.T
    e_y, _ = energy_and_gradient(y)
    log_a = (e_x - e_y) / T
    accepted = np.log(u) < log_a
    return np.where(accepted[:, None], y, x), accepted
