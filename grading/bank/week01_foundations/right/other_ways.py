"""Other ways to the same: SciPy and TFP, tables, log-odds, uniforms first, order statistics."""


# %% solution="bits_per_pixel"
def bits_per_pixel(x, pi, mu, G):
    log_px_z = binom.logpmf(x[:, None, :], G, mu.astype(float)[None]).sum(axis=-1)
    return logsumexp(log_px_z, b=pi, axis=1) / -np.log(2) / x.shape[1]


# %% solution="responsibilities"
def responsibilities(x, pi, mu, G):
    # a table of log Bin for all levels and a last row of zeros for "missing"
    levels = np.arange(G + 1)[:, None, None]
    table = np.concatenate([binom.logpmf(levels, G, mu.astype(float)), np.zeros((1, *mu.shape))])
    index = np.where(np.isnan(x), G + 1, np.nan_to_num(x)).astype(int)  # (B, D)
    log_px_z = table[index[:, None, :], np.arange(len(mu))[:, None], np.arange(mu.shape[1])].sum(axis=2)
    joint = log_px_z + np.log(pi)
    return tf.nn.softmax(tf.constant(joint))


# %% solution="m_step"
def m_step(x, r, w, a, G):
    odds = np.einsum("n,nk,nd->kd", w, r, np.nan_to_num(x)) + a
    odds = odds / (np.einsum("n,nk,nd->kd", w, r, np.nan_to_num(G - x)) + a)
    return np.average(r, axis=0, weights=w), odds / (1 + odds)


# %% solution="fill_holes"
def fill_holes(x, r, mu, G, seed):
    rng = np.random.Generator(np.random.MT19937(seed))
    u = rng.random(x.shape)  # pixels first, components after
    v = rng.random(len(x))
    z = [np.searchsorted(np.cumsum(row), t * row.sum()) for row, t in zip(r.astype(float), v, strict=False)]
    z = np.minimum(z, r.shape[1] - 1)
    draws = binom.ppf(u, G, mu[z].astype(float))  # inverse of the distribution function
    return np.where(np.isnan(x), np.clip(draws, 0, G), x).astype(int)


# %% solution="kl_by_drawing"
def kl_by_drawing(pi_p, mu_p, pi_q, mu_q, G, N, seed):
    import tensorflow_probability as tfp

    tfd = tfp.distributions

    def model(pi, mu):
        parts = tfd.Independent(tfd.Binomial(float(G), probs=tf.constant(mu, tf.float32)), 1)
        return tfd.MixtureSameFamily(tfd.Categorical(probs=pi), parts)

    p, q = model(pi_p, mu_p), model(pi_q, mu_q)
    rng = np.random.default_rng([seed, 5])
    z = np.argmax(np.log(pi_p) + rng.gumbel(size=(N, len(pi_p))), axis=1)
    x = rng.binomial(G, mu_p[z]).astype(np.float32)
    d = (p.log_prob(x) - q.log_prob(x)).numpy().astype(float)
    return np.array([d.mean()])[0], np.sqrt((np.mean(d**2) - d.mean() ** 2) / N)


# %% solution="alarms"
def alarms(held_out, fresh, alpha):
    padded = np.concatenate([[-np.inf], np.sort(held_out.astype(float))])
    return fresh < padded[int(np.floor(alpha * len(padded)))]


# %% solution="train_binomials"
def train_binomials(x_train, K, G, seed):
    """Starts at images of which the holes are filled with ½; a weaker prior; 30 steps."""
    rng = np.random.default_rng(seed)
    black, white = np.nan_to_num(x_train).astype(float), np.nan_to_num(G - x_train).astype(float)
    some = np.sort(rng.permutation(len(x_train))[:K])
    mu, pi = (black[some] + 8) / (black[some] + white[some] + 16), np.full(K, 1 / K)
    for _ in range(30):
        joint = np.log(pi + 1e-300) + black @ np.log(mu).T + white @ np.log(1 - mu).T
        r = np.exp(joint - joint.max(axis=1)[:, None])
        r = r / r.sum(axis=1)[:, None]
        pi, mu = r.mean(axis=0), (r.T @ black + 0.7) / (r.T @ (black + white) + 1.4)
    return pi.astype(np.float32), mu.astype(np.float32)
