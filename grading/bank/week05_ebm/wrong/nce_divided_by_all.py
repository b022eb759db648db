"""Divides by B + M.

Gap: nce
"""


# %% solution="nce"
def nce(f_data, f_noise, log_q_data, log_q_noise, log_z):
    B, M = len(f_data), len(f_noise)
    delta_data = f_data - log_z - log_q_data - np.log(M / B)
    delta_noise = f_noise - log_z - log_q_noise - np.log(M / B)
    loss = (np.logaddexp(0, -delta_data).sum() + np.logaddexp(0, delta_noise).sum()) / (B + M)
    # 1 / (1 + e^Δ) and 1 / (1 + e^−Δ) without overflow: the logistic function is (1 + tanh(Δ / 2)) / 2
    noise_given_data = (1 - np.tanh(delta_data / 2)) / 2
    data_given_noise = (1 + np.tanh(delta_noise / 2)) / 2
    return loss, (noise_given_data.sum() - data_given_noise.sum()) / (B + M)
