# %% [markdown] title
# # Week 7 · Deep latent variables
#
# {{colab}}
#
# When a VAE ignores its latent variables, how to see it, and when it is right to; VAEs with several latent layers; and
# VAEs whose latent variables are a few whole numbers.
#
# **After this notebook you can**
#
# 1. measure posterior collapse by active units and by the KL of each latent dimension, and compute both exactly for
#    a linear VAE, where collapse can be the optimum;
# 2. say what free bits and a warm-up do to the objective, and what they cost;
# 3. derive the precision-weighted merge of a ladder VAE, write its bound as one KL for each layer, and check it where
#    the log-likelihood is exact;
# 4. train a VQ-VAE (nearest code, straight-through gradient, moving-average codebook), see codes die, and revive them;
# 5. learn a prior over the codes, and say what $\log p(c(x)) + \log p(x \mid c(x))$ bounds, and by how much.
#
# *Time:* reading 3 hours, this notebook 2 to 3 hours. It computes for about a minute on two CPU cores.

# %% [markdown] reading
# ## Reading
#
# | what | minutes |
# |---|---|
# | **Main:** Murphy, *Probabilistic Machine Learning: Advanced Topics* (PML2): 21.4 (posterior collapse), 21.5 (hierarchical VAEs), 21.6 (vector quantisation VAE). | 75 |
# | Sønderby, Raiko, Maaløe, Sønderby and Winther (2016), *Ladder variational autoencoders*: the model, the warm-up, and the figures on the use of the layers. Skip batch normalisation. | 45 |
# | Van den Oord, Vinyals and Kavukcuoglu (2017), *Neural discrete representation learning*: section 3, and the appendix on moving averages. Skip speech and video. | 45 |
# | Lucas, Tucker, Grosse and Norouzi (2019), *Don't blame the ELBO!*: the part on linear VAEs; skip the proofs. | 15 |
#
# **Focus questions.** Have an answer to each before you go on.
#
# 1. The KL term of a VAE pulls $q(z \mid x)$ to the prior. Is that why latent dimensions collapse?
# 2. A top layer $z_2$ of a hierarchy has a KL of 1 nat. Does it know anything about $x$?
# 3. Which parts of a VQ-VAE get a gradient, and from which term?
# 4. Why are samples from a VQ-VAE with uniformly drawn codes bad, although its reconstructions are good?
#
# **Letters.** B batch, D data (pixels), H hidden units, L latent dimensions of a layer, K codes (and importance
# samples), T positions of a code, C dimensions of a code vector. Pixels are 0 or 1, or grey levels 0 to 16.

# %% setup

# %% parameters tags=["parameters"]
dataset = "digits"  # "mnist" for the comparison with the literature: see "Going bigger"
hidden = 100  # hidden units of each network
latent = [16, 8, 4]  # latent dimensions of the layers, from the bottom; the first two are used with two layers
epochs = 120  # passes over the training images
warm_up = 60  # epochs until the KL has its full weight
batch_size = 100
learning_rate = 0.005  # of Adam; falls to 0 on a half cosine
importance_samples = 1000  # K of the bounds reported
positions, codes, code_size = 4, 16, 4  # T, K and C of the VQ-VAE
vq_epochs = 100
seed = 0

# %% imports
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from tqdm.keras import TqdmCallback

from utils import datasets, evaluation, plotting, quiz, scoreboard

tfd = tfp.distributions
digits = datasets.load(dataset)
D = digits.train.shape[1]
# Grey images are binarised once for the evaluation; images of 0 and 1 stay as they are.
fresh = np.random.default_rng(seed)
parts = {
    name: (fresh.random(part.shape) < part).astype(np.float32)
    for name, part in [("train", digits.train), ("validation", digits.validation), ("test", digits.test)]
}
test, images = parts["test"], parts["test"][:400]
print(digits)

# %% [markdown] collapse_text
# ## 1 · When collapse is right: the linear VAE
#
# A latent dimension has *collapsed* when $q(z_j \mid x)$ is the prior whatever $x$ is. Two measures, both over the
# data:
#
# - the **KL of each dimension**, $\mathrm{KL}_j = \mathbb{E}_x\, \mathrm{KL}(q(z_j \mid x) \,\|\, p(z_j))$, the nats
#   that the code spends on it;
# - the **activity** $A_j = \mathrm{Var}_x\left(\mathbb{E}_{q(z_j \mid x)}[z_j]\right)$. A unit counts as **active** if
#   $A_j > 0.01$ (Burda et al., 2016).
#
# Collapse is often blamed on the KL term of the ELBO, or on a strong decoder. The linear VAE of week 6 says what there
# is to blame (Lucas et al., 2019):
#
# $$p(z) = \mathcal{N}(0, I), \quad p(x \mid z) = \mathcal{N}(Wz + m, \sigma^2 I), \quad
# q(z \mid x) = \mathcal{N}(V(x - m), \mathrm{diag}(s^2)).$$
#
# Let the data have the covariance $S$ with eigenvalues $\lambda_1 \ge \dots \ge \lambda_D$. For a *fixed* noise
# variance $\sigma^2$, week 1's argument (one term $\log c_i + \lambda_i / c_i$ for each eigenvalue $c_i$ of
# $WW^\top + \sigma^2 I$, which cannot be below $\sigma^2$) gives the maximum of the *exact* likelihood: $c_i =
# \max(\lambda_i, \sigma^2)$ for $i \le L$. So a direction with $\lambda_i \le \sigma^2$ gets a zero column of $W$. Its
# latent dimension has collapsed *in the maximum-likelihood model*, before any bound is made.
#
# For an active direction the column of $W$ is $\sqrt{\lambda_i - \sigma^2}\, u_i$, and week 1's posterior becomes,
# dimension by dimension,
#
# $$\mathbb{E}[z_i \mid x] = \frac{\sqrt{\lambda_i - \sigma^2}}{\lambda_i}\, u_i^\top (x - m), \qquad
# \mathrm{Var}[z_i \mid x] = \frac{\sigma^2}{\lambda_i}, \qquad
# A_i = \frac{\lambda_i - \sigma^2}{\lambda_i^2}\, \lambda_i = 1 - \frac{\sigma^2}{\lambda_i}.$$
#
# The two variances add up to 1, the variance of the prior, as they must by the law of total variance. With
# $\mathrm{KL}(\mathcal{N}(\mu, s^2) \,\|\, \mathcal{N}(0, 1)) = \frac12(s^2 + \mu^2 - 1 - \log s^2)$ everything but the
# logarithm cancels on average:
#
# $$\mathrm{KL}_i = \tfrac12 \left(\tfrac{\sigma^2}{\lambda_i} + A_i - 1 + \log \tfrac{\lambda_i}{\sigma^2}\right)
# = \tfrac12 \log \frac{\lambda_i}{\sigma^2} \quad \text{if } \lambda_i > \sigma^2, \text{ else } 0 .$$
#
# It is half the logarithm of a signal-to-noise ratio, zero at the threshold. In the cell below, 24 linear VAEs with
# different noise variances are trained by gradient ascent, all at once, on data in 6 dimensions with known
# eigenvalues. The expectation over the data is exact, so ELBO and log-likelihood are, too.
#
# **Predict:** eigenvalues 8, 4, 2, 1, ½, ¼ and four latent dimensions. How many are active at $\sigma^2 = 1.5$? And at
# $\sigma^2 = 0.5$?


# %% linear
def linear_vae(W, V, log_s, noise, S):
    """G linear VAEs on data with covariance S (D, D): W (G, D, L), V (G, L, D), log_s (G, L), σ² (G,).

    Returns, each averaged over the data, log p(x | z) (G,), KL of each dimension (G, L), and activity (G, L).
    """
    D, s2 = S.shape[0], tf.exp(2 * log_s)
    R = tf.eye(D, dtype=S.dtype) - W @ V  # x − m − W E[z] = R (x − m)
    error = tf.linalg.trace(R @ S @ tf.linalg.matrix_transpose(R)) + tf.reduce_sum(s2 * tf.reduce_sum(W**2, 1), 1)
    logpx_z = -0.5 * (D * tf.math.log(2 * np.pi * noise) + error / noise)
    activity = tf.linalg.diag_part(V @ S @ tf.linalg.matrix_transpose(V))  # the variance of V (x − m)
    kl = 0.5 * (s2 + activity - 1) - log_s
    return logpx_z, kl, activity


def exact_log_likelihood(W, noise, S):
    """The mean log N(x; m, C), C = W Wᵀ + σ² I, over data with covariance S → (G,) nats."""
    D = S.shape[0]
    C = tf.matmul(W, W, transpose_b=True) + noise[:, None, None] * tf.eye(D, dtype=S.dtype)
    return -0.5 * (D * np.log(2 * np.pi) + tf.linalg.logdet(C) + tf.linalg.trace(tf.linalg.inv(C) @ S))


def train_linear(noise, S, L, free, steps=3000, rate=0.05):
    """Maximise E log p(x | z) − Σ_j max(free, KL_j) by Adam; noise, free: (G,) → the trained W, V, log_s."""
    draw, shape = np.random.default_rng(seed), (len(noise), S.shape[0], L)
    W, V = (tf.Variable(draw.normal(0, 0.3, s)) for s in (shape, (shape[0], L, shape[1])))
    parameters = [W, V, tf.Variable(np.zeros((len(noise), L)))]
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    optimizer.build(parameters)

    @tf.function(jit_compile=True)
    def run():
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                logpx_z, kl, _ = linear_vae(*parameters, noise, S)
                objective = logpx_z - tf.reduce_sum(tf.maximum(free[:, None], kl), axis=1)
                loss = -tf.reduce_sum(objective)
            optimizer.apply(tape.gradient(loss, parameters), parameters)

    run()
    return parameters


# %% threshold
eigenvalues = np.array([8, 4, 2, 1, 0.5, 0.25])
rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))
S = tf.constant(rotation * eigenvalues @ rotation.T)
noise = tf.constant(np.geomspace(0.4, 12, 24))
W, V, log_s = train_linear(noise, S, 4, free=0 * noise)
logpx_z, kl, activity = linear_vae(W, V, log_s, noise, S)
elbo, exact = logpx_z - tf.reduce_sum(kl, axis=1), exact_log_likelihood(W, noise, S)
theory = np.maximum(0, np.log(eigenvalues[:4] / noise.numpy()[:, None]) / 2)  # (G, 4)
found = -np.sort(-kl.numpy(), axis=1)
c = np.concatenate([np.maximum(eigenvalues[:4], noise.numpy()[:, None]), np.tile(noise.numpy()[:, None], 2)], axis=1)
best = -0.5 * (np.log(2 * np.pi * c) + eigenvalues / c).sum(axis=1)
print(f"ELBO − log p: between {np.min(elbo - exact):.1e} and {np.max(elbo - exact):.1e} nats (never above 0)")
print(f"log p − the best possible: between {np.min(exact - best):.1e} and {np.max(exact - best):.1e} nats")
print(f"KL of a dimension: largest difference from theory {np.abs(found - theory).max():.1e} nats")
np.testing.assert_allclose(elbo, best, atol=1e-3)
assert np.all(elbo <= exact + 1e-9)
curves = {f"½ log(λ/σ²), λ = {v:g}": (noise, t) for v, t in zip(eigenvalues[:4], theory.T)}
fig, ax = plt.subplots(figsize=(7.5, 4))
for (name, (x, y)), mark, dots in zip(curves.items(), "osD^", found.T):
    line = ax.plot(x, y, label=name)[0]
    ax.plot(x, dots, mark, color=line.get_color(), markersize=4)
ax.set(xscale="log", xlabel="noise variance σ² of the decoder (no unit)", ylabel="KL of a dimension (nats)")
ax.legend(title="lines: theory; markers: trained")
plotting.show(
    fig,
    "Linear VAEs trained by gradient ascent on the ELBO, each with its own fixed noise. A latent dimension collapses "
    "where the noise reaches the variance of its direction, as maximum likelihood demands.",
    "Four straight falling lines that reach zero at 8, 4, 2 and 1 and stay there; markers lie on the lines.",
)

# %% [markdown] free_text
# The ELBO is tight here, and the trained models sit at the maximum of the likelihood. Nobody is to blame but the noise
# variance: collapse says that the model, with the noise it has, cannot use the dimension with profit. (If $\sigma^2$ is
# *learned*, it becomes the mean of the eigenvalues left over, and a dimension survives if its eigenvalue is larger.)
# Other collapses are *not* optima; section 3 produces one. First the usual remedy.
#
# **Free bits** (Kingma et al., 2016) change the objective: a dimension may spend $\delta$ nats for free,
#
# $$\mathcal{F}_\delta = \mathbb{E}\left[\log p(x \mid z)\right] - \sum_j \max(\delta, \mathrm{KL}_j) \;\le\; \text{ELBO},$$
#
# with $\mathrm{KL}_j$ averaged over the batch. Below $\delta$ the KL has no gradient, and the reconstruction can only
# gain, so the KL of every dimension grows to $\delta$ at least. A unit that is active because activity is free: is that
# a good sign? We take $\sigma^2 = 1.5$, where the third of four dimensions should be used a little and the fourth not
# at all.
#
# **Predict:** what happens to the number of active units, and to the exact log-likelihood?

# %% free_bits
free, noise = tf.constant([0.0, 0.1, 0.3, 1.0], tf.float64), tf.fill([4], tf.constant(1.5, tf.float64))
W, V, log_s = train_linear(noise, S, 4, free)
logpx_z, kl, activity = linear_vae(W, V, log_s, noise, S)
elbo, exact = logpx_z - tf.reduce_sum(kl, axis=1), exact_log_likelihood(W, noise, S)
print("free bits δ   KL of each dimension (nats)   active   E log p(x|z)     ELBO      log p")
for i, each in enumerate(-np.sort(-kl.numpy(), axis=1)):
    print(
        f"{free[i]:8.1f}      {each.round(2)!s:<30}{np.sum(activity[i] > 0.01):4d}{logpx_z[i]:14.3f}{elbo[i]:11.3f}{exact[i]:10.3f}"
    )

# %% [markdown] free_says
# All four dimensions are active now, the reconstruction is better, and the model is worse: both the ELBO and the exact
# log-likelihood fall. (Look also at the second dimension, which needs 0.49 nats: with $\delta = 0.3$ it spends less,
# since idle units, whose nats are paid for anyway, take over a part of its work.) Free bits are a tool for *training*, a way around a bad start; where collapse is the
# optimum they enforce a worse model. Never report $\mathcal{F}_\delta$, and never count active units as a success.

# %% [markdown] hierarchy_text
# ## 2 · Two latent layers: what the posterior looks like
#
# A hierarchy makes the prior of the lower layer a function of the layer above:
#
# $$p(x, z_1, z_2) = p(z_2)\; p(z_1 \mid z_2)\; p(x \mid z_1).$$
#
# The posterior $p(z_1, z_2 \mid x)$ can be factorised in two ways, and each suggests an encoder:
#
# $$\underbrace{p(z_1 \mid x)\; p(z_2 \mid z_1)}_{\text{bottom-up: the chain}} \qquad = \qquad
# \underbrace{p(z_2 \mid x)\; p(z_1 \mid z_2, x)}_{\text{top-down: the ladder}} .$$
#
# (In the first, $x$ drops out of $p(z_2 \mid z_1, x)$, since $x$ depends on $z_2$ only through $z_1$.) The second
# factor on the right is the interesting one. By Bayes' rule $p(z_1 \mid z_2, x) \propto p(z_1 \mid z_2)\, p(x \mid
# z_1)$: the prior from above times the evidence from below. If the evidence, as a function of $z_1$, is proportional to
# a Gaussian $\mathcal{N}(z_1;\, \hat\mu, \hat\sigma^2)$, then the product of the two Gaussians is one again. Add the
# exponents: the coefficient of $-z_1^2/2$ is the sum of the precisions, and the coefficient of $z_1$ the sum of the means
# times the precisions,
#
# $$\frac{1}{\sigma_q^2} = \frac{1}{\hat\sigma^2} + \frac{1}{\sigma_p^2}, \qquad
# \mu_q = \sigma_q^2 \left(\frac{\hat\mu}{\hat\sigma^2} + \frac{\mu_p}{\sigma_p^2}\right).$$
#
# This **precision-weighted merge** is the ladder VAE's posterior (Sønderby et al., 2016), with $\hat\mu, \hat\sigma$
# from an encoder network that sees $x$, and $\mu_p, \sigma_p$ from the very network that the generative model uses.
# It is not a trick but Bayes' rule.
#
# **The bound.** With the ladder's factorisation
#
# $$\log p(x) \ge \mathbb{E}_q[\log p(x \mid z_1)]
# - \mathrm{KL}(q(z_2 \mid x) \,\|\, p(z_2))
# - \mathbb{E}_{q(z_2 \mid x)}\, \mathrm{KL}(q(z_1 \mid z_2, x) \,\|\, p(z_1 \mid z_2)),$$
#
# one KL for each layer, none of them negative, all in closed form once $z_2$ is drawn. The chain's bound has the terms
# $\mathrm{KL}(q(z_2 \mid z_1) \,\|\, p(z_2))$ and $\mathbb{E}_q[\log q(z_1 \mid x) - \log p(z_1 \mid z_2)]$. In the
# latter $z_2$ is drawn *from* $z_1$: it is no KL divergence, and it can be negative.
#
# **A hierarchy that can be solved.** One number each for $z_2$ and $z_1$, three for $x$, everything linear and Gaussian:
# $z_2 \sim \mathcal{N}(0, 1)$, $z_1 = 0.8\, z_2 + 0.6\, \epsilon$, $x = w z_1 + \sigma \epsilon'$. The evidence is
# $\hat\mu = w^\top x / |w|^2$, $\hat\sigma^2 = \sigma^2 / |w|^2$. For $z_2$ the same evidence counts with the variance
# $\hat\sigma^2 + 0.6^2$, since it has to come through $z_1$.
#
# **Predict:** three encoders: the ladder, the chain with its exact factors, and a ladder that forgets the prior, $q(z_1
# \mid z_2, x) = \mathcal{N}(\hat\mu, \hat\sigma^2)$. Which bounds are tight? And with a very large $\sigma$, so that
# $x$ says nothing: how large is the chain's KL of the *top* layer?


# %% merge
def merge(q, p):
    """Two Gaussians, each coordinate on its own (..., L) → the normalised product of their densities."""
    precision = q.scale**-2 + p.scale**-2
    mean = (q.loc * q.scale**-2 + p.loc * p.scale**-2) / precision
    return tfd.Normal(mean, precision**-0.5)


def kl_normal(q, p):
    """KL(q ‖ p) of Gaussians, each coordinate on its own (..., L), in nats."""
    return tf.math.log(p.scale / q.scale) + (q.scale**2 + (q.loc - p.loc) ** 2) / (2 * p.scale**2) - 0.5


def toy_bound(x, w, sigma, encoder, n):
    """x: (B, 3) → log p(x, z) − log q(z | x) for n draws of z (n, B), and the bound's three terms (B,)."""
    p2 = tfd.Normal(tf.constant(0.0, x.dtype), tf.constant(1.0, x.dtype))
    w2 = tf.reduce_sum(w**2)
    evidence = tfd.Normal(tf.linalg.matvec(x, w) / w2, sigma / tf.sqrt(w2) + tf.zeros(len(x), x.dtype))

    def p1(z2):
        return tfd.Normal(0.8 * z2, tf.constant(0.6, x.dtype))

    if encoder == "chain":
        q1 = merge(evidence, p2)  # p(z_1 | x): the marginal prior of z_1 is N(0, 0.8² + 0.6²) = N(0, 1) too
        z1 = q1.sample(n)
        q2 = tfd.Normal(0.8 * z1, tf.constant(0.6, x.dtype))  # p(z_2 | z_1)
        z2 = q2.sample()
        kl1 = q1.log_prob(z1) - p1(z2).log_prob(z1)  # no KL: z_2 was drawn from z_1
    else:
        q2 = merge(tfd.Normal(evidence.loc / 0.8, tf.sqrt(evidence.scale**2 + 0.36) / 0.8), p2)
        z2 = q2.sample(n)
        q1 = merge(evidence, p1(z2)) if encoder == "ladder" else evidence
        z1 = q1.sample() if encoder == "ladder" else q1.sample(n)
        kl1 = kl_normal(q1, p1(z2))
    p_x_z = tfd.Normal(z1[..., None] * w, sigma)
    logpx_z = tf.reduce_sum(p_x_z.log_prob(x), axis=-1)
    log_w = logpx_z + p1(z2).log_prob(z1) + p2.log_prob(z2) - q1.log_prob(z1) - q2.log_prob(z2)
    kl2 = kl_normal(q2, p2) + tf.zeros_like(z2)
    return log_w, [tf.reduce_mean(term, axis=0) for term in (logpx_z, kl1, kl2)]


# %% toy_check
w = tf.constant([1.0, -0.5, 2.0], tf.float64)
for sigma in [0.7, 100.0]:
    sigma = tf.constant(sigma, tf.float64)
    marginal = tfd.MultivariateNormalFullCovariance(
        tf.zeros(3, tf.float64), w[:, None] * w + sigma**2 * tf.eye(3, dtype=tf.float64)
    )
    x = marginal.sample(400, seed=seed)
    exact = marginal.log_prob(x)
    print(f"σ = {sigma:g}, exact log p(x) on average {tf.reduce_mean(exact):.4f} nats")
    for encoder in ["ladder", "chain", "no prior"]:
        log_w, terms = toy_bound(x, w, sigma, encoder, 2000)
        logpx_z, kl1, kl2 = (float(tf.reduce_mean(term)) for term in terms)
        slack = evaluation.mean_estimate(tf.reshape(exact - log_w, [-1]))
        print(
            f"  {encoder:>8}: E log p(x|z₁) {logpx_z:9.4f}, layer 1 {kl1:8.4f}, layer 2 {kl2:7.4f}, "
            f"log p(x) − bound {slack}; largest for one draw {tf.reduce_max(tf.abs(exact - log_w)):.1e}"
        )
        assert encoder == "no prior" or np.allclose(log_w, exact[None], atol=1e-9)
q, p = tfd.Normal([0.3, -1.0], [0.5, 2.0]), tfd.Normal([1.0, 0.0], [0.8, 0.7])
np.testing.assert_allclose(kl_normal(q, p), tfd.kl_divergence(q, p), rtol=1e-6)
line = tf.linspace(-8.0, 8.0, 4001)[:, None]
product = tf.exp(q.log_prob(line) + p.log_prob(line))  # on a grid, normalised by its sum
np.testing.assert_allclose(merge(q, p).prob(line), product / tf.reduce_sum(product * 0.004, axis=0), atol=1e-4)

# %% [markdown] toy_says
# With the exact factors ladder and chain are both tight, draw by draw: $\log p(x, z) - \log q(z \mid x)$ does not
# depend on $z$ at all. Forgetting the prior costs a gap. So the ladder is *not* more expressive in this toy. What it
# shares is work: the encoder need not learn again what the generative model knows already.
#
# And see the case where $x$ says nothing. The ladder's two KLs are 0. The chain reports about half a nat in the top
# layer, and minus half a nat in the lower one: its $z_2$ knows all about the noise in $z_1$ and nothing about $x$. In a
# chain the KL of an upper layer is no measure of information about the image. The activity is:
# $\mathrm{Var}_x(\mathbb{E}_q[z_2 \mid x])$ averages over $z_1$ first.

# %% [markdown] deep_text
# ## 3 · Two and three layers for the digits
#
# One class serves for a chain and for a ladder with any number of layers; with one layer it is week 6's VAE. The
# encoder of the ladder runs upwards without drawing anything, $x \to d_1 \to d_2 \to \dots$, and each $d_i$ gives
# $\hat\mu_i, \hat\sigma_i$. Then the model runs downwards and merges. In the chain each layer is drawn before the
# next is computed. All Gaussians are independent in each coordinate.
#
# **Warm-up.** The training maximises
#
# $$\mathbb{E}_q[\log p(x \mid z_1)] - \beta \sum_i \sum_j \max(\delta, \mathrm{KL}_{ij}), \qquad \beta = 1,\;
# \delta = 0 \text{ in the end,}$$
#
# but $\beta$ may grow from near 0 to 1 over the first epochs. At the start the decoder is useless, so the gradient of
# $\log p(x \mid z)$ says little about $z$, while the KL is at its steepest. With $\beta = 1$ at once the posterior can
# be pushed onto the prior before the decoder has learned to use it, and a decoder that gets only noise will never
# learn to. Section 1's collapse was an optimum of the likelihood; this one is a bad start.
#
# **Predict:** three layers trained without warm-up. Which layer will be lost: the top one or the bottom one? (Look at
# the generative model: which layer could it do without?)


# %% networks
def normal(parameters):
    """(B, 2L), mean and logarithm of the scale → Gaussians, each coordinate on its own (B, L)."""
    mean, log_scale = tf.split(parameters, 2, axis=-1)
    return tfd.Normal(mean, tf.exp(log_scale))


def network(H, outputs):
    """One hidden layer; the last layer is linear."""
    return keras.Sequential([keras.layers.Dense(H, "relu"), keras.layers.Dense(outputs)])


# %% deep_vae
class DeepVAE(keras.Model):
    """p(x, z) = p(z_n) p(z_{n−1} | z_n) … p(z_1 | z_2) p(x | z_1); L = [L_1, …, L_n], from the bottom.

    q(z | x) is a ladder, q(z_n | x) Π q(z_i | z_{i+1}, x), or a chain, q(z_1 | x) Π q(z_{i+1} | z_i).
    """

    def __init__(self, D, H, L, ladder=True, free=0.0, outputs=1):
        super().__init__()
        self.L, self.ladder, self.free = tuple(L), ladder, free
        self.up = [keras.layers.Dense(H, "relu") for _ in L]  # x → d_1 → d_2 …; in a chain x → d_1, z_1 → d_2 …
        self.head = [keras.layers.Dense(2 * size) for size in L]  # d_i → mean and log-scale
        self.down = [network(H, 2 * size) for size in L[:-1]]  # z_{i+1} → p(z_i | z_{i+1})
        self.decoder = network(H, outputs * D)
        self.beta = tf.Variable(1.0, trainable=False)  # the weight of the KL, for a warm-up
        self.bound = keras.metrics.Mean("elbo")
        self.elbo(tf.zeros([2, D]))  # builds the networks

    def p_z(self, i, above=None):
        """z_{i+1} = above: (B, L_{i+1}) → p(z_i | z_{i+1}); for the top layer N(0, 1). Layers count from 0."""
        if i == len(self.L) - 1:
            return tfd.Normal(tf.zeros(self.L[-1]), tf.ones(self.L[-1]))
        return normal(self.down[i](above))

    def p_x_z(self, z):
        """z_1: (B, L_1) → independent pixels."""
        return tfd.Independent(tfd.Bernoulli(logits=self.decoder(z)), 1)

    def q_z_x(self, x):
        """x: (B, D) → lists from the bottom: draws z_i (B, L_i), their q, and their p(z_i | z_{i+1})."""
        n, below, evidence, z, q, p = len(self.L), x, [], {}, {}, {}
        for i in range(n):
            d = self.up[i](below)
            evidence.append(normal(self.head[i](d)))
            if not self.ladder:
                q[i], z[i] = evidence[i], evidence[i].sample()
            below = d if self.ladder else z[i]
        for i in reversed(range(n)):
            p[i] = self.p_z(i, z.get(i + 1))
            if self.ladder:
                q[i] = evidence[i] if i == n - 1 else merge(evidence[i], p[i])
                z[i] = q[i].sample()
        return [[part[i] for i in range(n)] for part in (z, q, p)]

    def terms(self, x):
        """x: (B, D) → log p(x | z_1): (B,), and the KL of each layer and coordinate, a list of (B, L_i)."""
        z, q, p = self.q_z_x(x)
        logpx_z = self.p_x_z(z[0]).log_prob(x)
        kl = [
            kl_normal(q[i], p[i])
            if self.ladder or i == len(z) - 1
            else q[i].log_prob(z[i]) - p[i].log_prob(z[i])
            for i in range(len(z))
        ]
        return logpx_z, kl

    def elbo(self, x):
        """x: (B, D) → (B,) nats, from one draw of z."""
        logpx_z, kl = self.terms(x)
        return logpx_z - sum(tf.reduce_sum(layer, axis=1) for layer in kl)

    def train_step(self, x):
        with tf.GradientTape() as tape:
            logpx_z, kl = self.terms(x)
            mean_kl = [tf.reduce_mean(layer, axis=0) for layer in kl]  # (L_i,) each
            paid = sum(tf.reduce_sum(tf.maximum(self.free, layer)) for layer in mean_kl)
            loss = self.beta * paid - tf.reduce_mean(logpx_z)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        self.bound.update_state(tf.reduce_mean(logpx_z) - sum(tf.reduce_sum(layer) for layer in mean_kl))
        return {"elbo": self.bound.result()}

    def test_step(self, x):
        self.bound.update_state(self.elbo(x))
        return {"elbo": self.bound.result()}

    def sample(self, n):
        """n ancestral samples: z_n, …, z_1, then the pixels → z_1 (n, L_1), x (n, D)."""
        z = self.p_z(len(self.L) - 1).sample(n)
        for i in reversed(range(len(self.L) - 1)):
            z = self.p_z(i, z).sample()
        return z, self.p_x_z(z).sample()

    @tf.function
    def log_weights(self, x, K):
        """x: (B, D) → log p(x, z) − log q(z | x) for K draws of z each: (B, K)."""
        x = tf.repeat(x, K, axis=0)
        z, q, p = self.q_z_x(x)
        log_w = self.p_x_z(z[0]).log_prob(x)
        for i in range(len(z)):
            log_w += tf.reduce_sum(p[i].log_prob(z[i]) - q[i].log_prob(z[i]), axis=1)
        return tf.reshape(log_w, [-1, K])


# %% fit
def batches(images, B, binarise=True):
    """Shuffled batches of (N, D); grey images are binarised afresh each time, images of 0 and 1 stay as they are."""
    images = tf.constant(images)

    def take(index):
        p = tf.gather(images, index)
        return tf.cast(tf.random.uniform(tf.shape(p)) < p, tf.float32) if binarise else p

    order = tf.data.Dataset.range(len(images)).shuffle(len(images), seed=seed)
    return order.batch(B, drop_remainder=True).map(take)


def fit(model, images, epochs, B, rate, warm_up=0, binarise=True):
    """Adam with a rate that falls to 0; β grows linearly to 1 over the first epochs → seconds."""
    start, steps = time.perf_counter(), len(images) // B
    schedule = keras.optimizers.schedules.CosineDecay(rate, epochs * steps)
    model.compile(keras.optimizers.Adam(schedule), steps_per_execution=steps, jit_compile=False)
    callbacks = [TqdmCallback(verbose=0)]
    if warm_up:
        grow = lambda epoch, logs: model.beta.assign(min(1.0, (epoch + 1) / warm_up))
        callbacks.append(keras.callbacks.LambdaCallback(on_epoch_begin=grow))
    model.fit(batches(images, B, binarise), epochs=epochs, verbose=0, callbacks=callbacks)
    return time.perf_counter() - start


def importance_bound(model, x, K, rows=100_000):
    """x: (N, D) → log of the mean of K importance weights, (N,) nats; mean of the log weights (N,), the ELBO."""
    B, k = max(1, rows // K), min(K, rows)
    log_w = np.concatenate([model.log_weights(tf.constant(x[i : i + B]), k) for i in range(0, len(x), B)])
    log_w = log_w.astype(np.float64)
    highest = log_w.max(axis=1)
    return highest + np.log(np.exp(log_w - highest[:, None]).mean(axis=1)), log_w.mean(axis=1)


def use_of_layers(model, x, n=40):
    """x: (N, D) → for each layer KL (L_i,) in nats and activity A (L_i,), both over the images.

    A is the covariance of two independent averages of n/2 posterior means: the noise of the layers above,
    which does not average out with few draws, is not taken for activity.
    """
    z, q, _ = model.q_z_x(tf.repeat(tf.constant(x), n, axis=0))
    _, kl = model.terms(tf.repeat(tf.constant(x), n, axis=0))
    result = []
    for i in range(len(z)):
        means = tf.reshape(q[i].loc, [len(x), 2, n // 2, -1]).numpy().mean(axis=2)  # (N, 2, L_i)
        centred = means - means.mean(axis=0)
        result.append((kl[i].numpy().mean(axis=0), (centred[:, 0] * centred[:, 1]).sum(axis=0) / (len(x) - 1)))
    return result

# %% train_layers
two, three, short = latent[:2], latent, max(1, epochs // 2)
variants = {  # name: model, epochs, epochs of warm-up
    "one layer": (lambda: DeepVAE(D, hidden, latent[:1]), epochs, warm_up),
    "ladder 3, no warm-up": (lambda: DeepVAE(D, hidden, three), short, 0),
    "ladder 3, free bits": (lambda: DeepVAE(D, hidden, three, free=0.1), short, 0),
    "chain 2": (lambda: DeepVAE(D, hidden, two, ladder=False), epochs, warm_up),
    "ladder 2": (lambda: DeepVAE(D, hidden, two), epochs, warm_up),
    "ladder 3": (lambda: DeepVAE(D, hidden, three), epochs, warm_up),
}
models, seconds, validation_bounds, usage = {}, {}, {}, {}
print(" " * 22 + "bound (validation)   ELBO    KL of the layers from below   active units")
for name, (build, passes, warming) in variants.items():
    keras.utils.set_random_seed(seed)
    models[name] = build()
    seconds[name] = fit(models[name], digits.train, passes, batch_size, learning_rate, warming)
    bound, elbo = importance_bound(models[name], parts["validation"][:200], importance_samples)
    validation_bounds[name], usage[name] = bound, use_of_layers(models[name], parts["validation"][:200])
    kl = ", ".join(f"{k.sum():.2f}" for k, _ in usage[name])
    active = ", ".join(f"{(a > 0.01).sum()} of {len(a)}" for _, a in usage[name])
    print(f"{name:>22}{bound.mean():14.2f}{elbo.mean():12.2f}    {kl:<30}{active}")
