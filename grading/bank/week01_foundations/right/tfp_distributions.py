"""TensorFlow Probability draws and scores, its seeds being pairs; a loop with rng.choice; np.partition."""


# %% solution="bits_per_pixel"
def bits_per_pixel(x, pi, mu, G):
    import tensorflow_probability as tfp

    tfd = tfp.distributions
    parts = tfd.Independent(tfd.Binomial(float(G), probs=mu), 1)
    p = tfd.MixtureSameFamily(tfd.Categorical(probs=pi), parts)
    return -p.log_prob(x) / (np.log(2) * x.shape[1])


# %% solution="responsibilities"
def responsibilities(x, pi, mu, G):
    r = []
    for image in x:
        known = ~np.isnan(image)  # leaves the holes out, in place of a stand-in for them
        log_w = np.log(pi) + binom.logpmf(image[known], G, mu[:, known].astype(float)).sum(axis=1)
        r.append(np.exp(log_w - logsumexp(log_w)))
    return np.stack(r)


# %% solution="fill_holes"
def fill_holes(x, r, mu, G, seed):
    rng, new = np.random.default_rng(seed), x.copy()
    for row, weights in zip(new, r.astype(float), strict=True):
        holes = np.isnan(row)
        z = rng.choice(len(weights), p=weights / weights.sum())
        row[holes] = rng.binomial(G, mu[z, holes])
    return new


# %% solution="kl_by_drawing"
def kl_by_drawing(pi_p, mu_p, pi_q, mu_q, G, N, seed):
    import tensorflow_probability as tfp

    tfd = tfp.distributions

    def model(pi, mu):
        parts = tfd.Independent(tfd.Binomial(float(G), probs=mu), 1)
        return tfd.MixtureSameFamily(tfd.Categorical(probs=pi), parts)

    p, q = model(pi_p, mu_p), model(pi_q, mu_q)
    x = p.sample(N, seed=[seed, 0])
    ratio = p.log_prob(x) - q.log_prob(x)
    return tf.reduce_mean(ratio), tf.math.reduce_std(ratio) / N**0.5


# %% solution="alarms"
def alarms(held_out, fresh, alpha):
    k = int(alpha * (len(held_out) + 1))
    if k == 0:
        return np.zeros(len(fresh), bool)
    return fresh < np.partition(held_out, k - 1)[k - 1]
