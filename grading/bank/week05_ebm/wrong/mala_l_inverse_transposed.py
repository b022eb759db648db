"""L⁻¹ applied to rows from the wrong side.

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
    e_y, g_y = energy_and_gradient(y)
    back = (x - y + eps / 2 * g_y @ P) @ np.linalg.inv(L) / np.sqrt(eps * T)
    log_q_yx = -0.5 * np.sum(noise**2, axis=1)
    log_q_xy = -0.5 * np.sum(back**2, axis=1)
    log_a = (e_x - e_y) / T + log_q_xy - log_q_yx
    accepted = np.log(u) < log_a
    return np.where(accepted[:, None], y, x), accepted
