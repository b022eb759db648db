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
# *Time:* reading 180 minutes, this notebook 350 minutes. It computes for about a minute on two CPU cores.

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
latent = [16, 8, 4]  # latent dimensions of the layers, from the bottom; a ladder with two has the first two
epochs = 60  # passes over the training images
warm_up = 0.45  # the share of the training until the KL has its full weight
batch_size = 100  # images a gradient step
learning_rate = 0.015  # of Adam; falls to 0 along a cosine
xla = False  # compile the training step by XLA: pays for long training only
importance_samples = 500  # K of the bounds reported
positions = 4  # T of the VQ-VAE: codes for an image
codes = 16  # K of it: vectors in the codebook
code_size = 4  # C of it: dimensions of a code vector
vq_epochs = 50  # for the VQ-VAE
prior_epochs = 30  # for the prior over its codes
grey_epochs = 60  # for the grey digits
seed = 0

# %% imports
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from scipy.special import logsumexp
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tensorflow_probability import distributions as tfd
from threadpoolctl import threadpool_limits

from utils import datasets, evaluation, plotting, quiz, scoreboard
from utils.evaluation import mean_estimate, paired_difference
from utils.likelihood import log_mean_exp  # derived in week 3
from utils.networks import MLP, batches, set_beta, train  # as in week 6

digits = datasets.load(dataset)
D = digits.train.shape[1]
keras.utils.set_random_seed(seed)
threadpool_limits(1)  # for NumPy and scikit-learn: on small matrices threads only wait for each other
# Grey images are binarised once for the evaluation; images of 0 and 1 stay as they are.
fresh, parts = np.random.default_rng(seed), {}
for name in ["train", "validation", "test"]:
    part = getattr(digits, name)
    parts[name] = (fresh.random(part.shape) < part).astype(np.float32)
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
# \max(\lambda_i, \sigma^2)$ for $i \le L$. So $W$ has only as many independent columns as there are $\lambda_i >
# \sigma^2$ among the first $L$: the other latent dimensions are superfluous *in the maximum-likelihood model*,
# before any bound is made. Where this shows is open, for $W$ and $WR$ with a rotation $R$ have the same likelihood.
# The diagonal $q$ decides it. The ELBO is at most the log-likelihood, and equal to it only if $q$ is the posterior.
# Among the best $W$ some have orthogonal columns; their posterior is diagonal (week 6), so there, and only there,
# the ELBO reaches the maximum. If the eigenvalues differ, each column then belongs to one direction, and one with
# $\lambda_i \le \sigma^2$ is zero: its dimension has collapsed.
#
# For an active direction the column of $W$ is $\sqrt{\lambda_i - \sigma^2}\, u_i$, and week 1's posterior becomes,
# dimension by dimension,
#
# $$\mathbb{E}[z_i \mid x] = \frac{\sqrt{\lambda_i - \sigma^2}}{\lambda_i}\, u_i^\top (x - m), \qquad
# \mathrm{Var}[z_i \mid x] = \frac{\sigma^2}{\lambda_i}, \qquad
# A_i = \frac{\lambda_i - \sigma^2}{\lambda_i^2}\, \lambda_i = 1 - \frac{\sigma^2}{\lambda_i}.$$
#
# The two variances add up to 1, the variance of the prior, because $c_i = \lambda_i$ at the optimum: in this direction
# the model has the variance of the data. With
# $\mathrm{KL}(\mathcal{N}(\mu, s^2) \,\|\, \mathcal{N}(0, 1)) = \frac12(s^2 + \mu^2 - 1 - \log s^2)$ everything but
# the logarithm cancels on average:
#
# $$\mathrm{KL}_i = \tfrac12 \left(\tfrac{\sigma^2}{\lambda_i} + A_i - 1 + \log \tfrac{\lambda_i}{\sigma^2}\right)
# = \tfrac12 \log \frac{\lambda_i}{\sigma^2} \quad \text{if } \lambda_i > \sigma^2, \text{ else } 0 .$$
#
# It is $\frac12 \log(1 + \text{SNR})$ with the signal-to-noise ratio $(\lambda_i - \sigma^2) / \sigma^2$, zero at the
# threshold. In the cell below, 24 linear VAEs with different noise variances are trained by gradient ascent, all at
# once, on data in 6 dimensions with known eigenvalues. The expectation over the data is exact, so ELBO and
# log-likelihood are, too.
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
    error = tf.linalg.trace(R @ S @ tf.linalg.matrix_transpose(R))
    error += tf.reduce_sum(s2 * tf.reduce_sum(W**2, 1), 1)
    logpx_z = -0.5 * (D * tf.math.log(2 * np.pi * noise) + error / noise)
    activity = tf.linalg.diag_part(V @ S @ tf.linalg.matrix_transpose(V))  # the variance of V (x − m)
    kl = 0.5 * (s2 + activity - 1) - log_s
    return logpx_z, kl, activity


def exact_log_likelihood(W, noise, S):
    """The mean log N(x; m, C), C = W Wᵀ + σ² I, over data with covariance S → (G,) nats."""
    D = S.shape[0]
    C = tf.matmul(W, W, transpose_b=True) + noise[:, None, None] * tf.eye(D, dtype=S.dtype)
    return -0.5 * (D * np.log(2 * np.pi) + tf.linalg.logdet(C) + tf.linalg.trace(tf.linalg.inv(C) @ S))


def train_linear(noise, S, L, free, seed, steps=1000, rate=0.1):
    """Maximise E log p(x | z) − Σ_j max(free, KL_j) by Adam; noise, free: (G,) → the trained W, V, log_s."""
    draw, shape = np.random.default_rng(seed), (len(noise), S.shape[0], L)
    W, V = (tf.Variable(draw.normal(0, 0.3, s)) for s in (shape, (shape[0], L, shape[1])))
    parameters = [W, V, tf.Variable(np.zeros((len(noise), L)))]
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    optimizer.build(parameters)

    @tf.function
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
W, V, log_s = train_linear(noise, S, 4, 0 * noise, seed)
logpx_z, kl, activity = linear_vae(W, V, log_s, noise, S)
elbo, exact = logpx_z - tf.reduce_sum(kl, axis=1), exact_log_likelihood(W, noise, S)
theory = np.maximum(0, np.log(eigenvalues[:4] / noise.numpy()[:, None]) / 2)  # (G, 4)
found = -np.sort(-kl.numpy(), axis=1)
c = np.maximum(eigenvalues * [1, 1, 1, 1, 0, 0], noise.numpy()[:, None])  # the eigenvalues of W Wᵀ + σ² I
best = -0.5 * (np.log(2 * np.pi * c) + eigenvalues / c).sum(axis=1)
print(f"ELBO − log p: between {np.min(elbo - exact):.1e} and {np.max(elbo - exact):.1e} nats (never above 0)")
print(f"log p − the best possible: between {np.min(exact - best):.1e} and {np.max(exact - best):.1e} nats")
print(f"KL of a dimension: largest difference from theory {np.abs(found - theory).max():.1e} nats")
np.testing.assert_allclose(elbo, best, atol=1e-3)
assert np.all(elbo <= exact + 1e-9)
fig, ax = plt.subplots(figsize=(7.5, 4))
for value, y, mark, dots in zip(eigenvalues, theory.T, "osD^", found.T):
    line = ax.plot(noise, y, label=f"½ log(λ/σ²), λ = {value:g}")[0]
    ax.plot(noise, dots, mark, color=line.get_color(), markersize=4)
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
# *learned*, it becomes the mean of the $D - L$ eigenvalues left over. That is below $\lambda_L$ unless they are all equal
# to it, so in the linear model a learned noise lets no dimension collapse.)
# Other collapses are *not* optima; section 3 produces one. First the usual remedy.
#
# **Free bits** (Kingma et al., 2016) change the objective: a dimension may spend $\delta$ nats for free,
#
# $$\mathcal{F}_\delta = \mathbb{E}\left[\log p(x \mid z)\right] - \sum_j \max(\delta, \mathrm{KL}_j) \;\le\; \text{ELBO},$$
#
# with $\mathrm{KL}_j$ averaged over the batch. A KL below $\delta$ costs nothing, so wherever the decoder can use
# the dimension it grows to $\delta$ at least: here, in all four. A unit that is active because activity is free: is
# that a good sign? We take $\sigma^2 = 1.5$, where the third of four dimensions should be used a little and the
# fourth not at all.
#
# **Predict:** what happens to the number of active units, and to the exact log-likelihood?

# %% free_bits
free, noise = tf.constant([0.0, 0.1, 0.3, 1.0], tf.float64), tf.fill([4], tf.constant(1.5, tf.float64))
W, V, log_s = train_linear(noise, S, 4, free, seed)
logpx_z, kl, activity = linear_vae(W, V, log_s, noise, S)
elbo, exact = logpx_z - tf.reduce_sum(kl, axis=1), exact_log_likelihood(W, noise, S)
print("free bits δ   KL of each dimension (nats)   active   E log p(x|z)     ELBO      log p")
for i, each in enumerate(-np.sort(-kl.numpy(), axis=1)):
    line = f"{free[i]:8.1f}      {each.round(2)!s:<30}{np.sum(activity[i] > 0.01):4d}"
    print(f"{line}{logpx_z[i]:14.3f}{elbo[i]:11.3f}{exact[i]:10.3f}")

# %% [markdown] free_says
# All four dimensions are active now, the reconstruction is better, and the model is worse: both the ELBO and the exact
# log-likelihood fall. (Look also at the second dimension, which needs 0.49 nats: with $\delta = 0.3$ it spends less,
# since idle units, whose nats are paid for anyway, take over a part of its work.) Free bits are a tool for *training*,
# a way around a bad start; where collapse is the optimum they enforce a worse model. Never report $\mathcal{F}_\delta$,
# and never count active units as a success.

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
# $\mathbb{E}_{q(z_1 \mid x)}\, \mathrm{KL}(q(z_2 \mid z_1) \,\|\, p(z_2))$ and $\mathbb{E}_q[\log q(z_1 \mid x) - \log
# p(z_1 \mid z_2)]$. In the latter $z_2$ is drawn *from* $z_1$: it is no KL divergence, and it can be negative.
#
# **A hierarchy that can be solved.** One number each for $z_2$ and $z_1$, three for $x$, everything linear and
# Gaussian: $z_2 \sim \mathcal{N}(0, 1)$, $z_1 = 0.8\, z_2 + 0.6\, \epsilon$, $x = w z_1 + \sigma \epsilon'$. The
# evidence is $\hat\mu = w^\top x / |w|^2$, $\hat\sigma^2 = \sigma^2 / |w|^2$. Of $0.8\, z_2$ it says that it is
# $\hat\mu$ with the variance $\hat\sigma^2 + 0.6^2$, since it has to come through $z_1$; for $z_2$ mean and
# standard deviation are divided by 0.8.
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
    C = w[:, None] * w + sigma**2 * tf.eye(3, dtype=tf.float64)
    marginal = tfd.MultivariateNormalFullCovariance(0 * w, C)
    x = marginal.sample(400, seed=seed)
    exact = marginal.log_prob(x)
    print(f"σ = {sigma:g}, exact log p(x) on average {tf.reduce_mean(exact):.4f} nats")
    for encoder in ["ladder", "chain", "no prior"]:
        log_w, terms = toy_bound(x, w, sigma, encoder, 500)
        logpx_z, kl1, kl2 = (float(tf.reduce_mean(term)) for term in terms)
        slack = (exact - log_w).numpy()
        line = f"  {encoder:>8}: E log p(x|z₁) {logpx_z:8.3f}, layer 1 {kl1:8.3f}, layer 2 {kl2:6.3f}"
        print(
            f"{line}, log p(x) − bound: {slack.mean():9.4f}; for a single draw at most {abs(slack).max():.0e}"
        )
        assert encoder == "no prior" or np.allclose(log_w, exact[None], atol=1e-9)

# %% [markdown] toy_says
# With the exact factors ladder and chain are both tight, draw by draw: $\log p(x, z) - \log q(z \mid x)$ does not
# depend on $z$ at all. Forgetting the prior costs a gap. So the ladder is *not* more expressive in this toy. What it
# shares is work: the encoder need not learn again what the generative model knows already.
#
# And see the case where $x$ says nothing. The ladder's two KLs are 0. The chain reports about half a nat in the top
# layer, and minus half a nat in the lower one: its $z_2$ knows all about the noise in $z_1$ and nothing about $x$.
# In a chain the KL of an upper layer is no measure of information about the image. The activity says more:
# $\mathrm{Var}_x(\mathbb{E}_q[z_2 \mid x])$ averages over $z_1$ first, and is 0 here. (In a ladder it is the
# activity that can mislead: section 3.)

# %% [markdown] deep_text
# ## 3 · Two and three layers for the digits
#
# One class serves for ladders with any number of layers; with one layer it is week 6's VAE. The encoder runs upwards
# without drawing anything, $x \to d_1 \to d_2 \to \dots$: $d_i$ are the H hidden units of its $i$-th layer. A small
# network turns each $d_i$ into $\hat\mu_i, \hat\sigma_i$. Then the model runs downwards and merges. The top layer
# needs no merge: its prior is constant, and the network can learn the product itself. All Gaussians are independent in
# each coordinate.
#
# **Warm-up.** The training maximises
#
# $$\mathbb{E}_q[\log p(x \mid z_1)] - \beta \sum_i \sum_j \max(\delta, \mathrm{KL}_{ij}),$$
#
# where $\delta$ is 0, or 0.1 for a variant with free bits, and $\beta$ is 1 in the end, but may grow to it from
# 0 over the first epochs. (Only with $\beta = 1$ and $\delta = 0$ is it the ELBO. Whatever was trained, what
# we *report* are the plain bounds.) At the start the decoder is useless, so the gradient of $\log p(x \mid z)$ says
# little about $z$, while the gradient of the KL is clear from the first step. With $\beta = 1$ at once the
# posterior can be pushed onto the prior before the decoder has learned to use it, and a decoder that gets only
# noise will never learn to. Section 1's collapse was an optimum of the likelihood; this one is a bad start.
#
# **Predict:** three layers trained without warm-up. If the *bottom* layer had a KL of 0, could the decoder still learn
# anything about $x$? And if a layer is lost, which comparison tells whether likelihood is lost with it?


# %% networks
def normal(parameters):
    """(B, 2L) → Gaussians, each coordinate on its own (B, L). Softplus keeps the scales of stacked layers tame."""
    mean, raw = tf.split(parameters, 2, axis=-1)
    return tfd.Normal(mean, tf.nn.softplus(raw) + 0.001)


# %% hierarchy
class Hierarchy(keras.Model):
    """p(x, z) = p(z_n) p(z_{n−1} | z_n) … p(z_1 | z_2) p(x | z_1); L = [L_1, …, L_n], sizes from the bottom."""

    def __init__(self, D, H, L, outputs=1):
        super().__init__()
        self.L = tuple(L)
        self.down = [MLP(above, H, 2 * size) for size, above in zip(L, L[1:])]  # z_{i+1} → p(z_i | z_{i+1})
        self.decoder = MLP(L[0], H, outputs * D)

    def p_z(self, i, above=None):
        """z_{i+1} = above: (B, L_{i+1}) → p(z_i | z_{i+1}); for the top layer N(0, 1). Layers count from 0."""
        if i == len(self.L) - 1:
            return tfd.Normal(tf.zeros(self.L[-1]), tf.ones(self.L[-1]))
        return normal(self.down[i](above))

    def p_x_z(self, z):
        """z_1: (B, L_1) → independent pixels."""
        return tfd.Independent(tfd.Bernoulli(logits=self.decoder(z)), 1)

    def sample(self, n):
        """n ancestral samples: z_n, …, z_1, then the pixels → z_1 (n, L_1), x (n, D)."""
        z = self.p_z(len(self.L) - 1).sample(n)
        for i in reversed(range(len(self.L) - 1)):
            z = self.p_z(i, z).sample()
        return z, self.p_x_z(z).sample()


# %% ladder
class LadderVAE(Hierarchy):
    """A hierarchy with the encoder q(z | x) = q(z_n | x) Π q(z_i | z_{i+1}, x), ready to be trained."""

    def __init__(self, D, H, L, free=0.0, outputs=1, centre=0.0):
        super().__init__(D, H, L, outputs)
        self.centre = centre  # of the images: the encoder sees what differs from it
        self.up = [keras.layers.Dense(H, "silu") for _ in L]  # x → d_1 → d_2 …
        for n, layer in zip([D] + [H] * len(L), self.up):
            layer.build((None, n))
        self.head = [MLP(H, 2 * size) for size in L]  # d_i → mean and raw scale
        self.free = free  # δ, nats for each coordinate
        self.beta = self.add_weight(name="beta", initializer="ones", trainable=False)
        self.built = True  # all weights exist

    def q_z_x(self, x):
        """x: (B, D) → lists from the bottom: draws z_i (B, L_i), their q, and their p(z_i | z_{i+1})."""
        d, evidence, z, q, p = x - self.centre, [], [], [], []
        for up, head in zip(self.up, self.head):
            d = up(d)
            evidence.append(normal(head(d)))
        for i in reversed(range(len(self.L))):
            p.insert(0, self.p_z(i, z[0] if z else None))
            q.insert(0, merge(evidence[i], p[0]) if z else evidence[i])
            z.insert(0, q[0].sample())
        return z, q, p

    def terms(self, x):
        """x: (B, D) → log p(x | z_1): (B,), and the KL of each layer and coordinate, a list of (B, L_i)."""
        z, q, p = self.q_z_x(x)
        return self.p_x_z(z[0]).log_prob(x), [kl_normal(a, b) for a, b in zip(q, p)]

    def call(self, x):
        """x: (B, D) → the objective of each image (B,), nats: with δ a batch shares what it leaves unspent."""
        logpx_z, kl = self.terms(x)
        kl = tf.concat(kl, axis=1)  # (B, L_1 + … + L_n)
        unspent = tf.maximum(self.free - tf.reduce_mean(kl, axis=0), 0.0)  # max(δ, KL) = KL + max(δ − KL, 0)
        objective = logpx_z - self.beta * (tf.reduce_sum(kl, axis=1) + tf.reduce_sum(unspent))
        self.add_loss(-tf.reduce_mean(objective))
        return objective

    def log_weights(self, x, K):
        """x: (B, D) → (K, B): log p(x, z) − log q(z | x) for K draws of all layers."""
        x = tf.tile(x, [K, 1])
        z, q, p = self.q_z_x(x)
        log_w = self.p_x_z(z[0]).log_prob(x)
        for v, a, b in zip(z, q, p):
            log_w += tf.reduce_sum(b.log_prob(v) - a.log_prob(v), axis=1)
        return tf.reshape(log_w, [K, -1])


# %% measure
def size(*models):
    """The number of trained parameters."""
    return sum(int(tf.size(v)) for model in models for v in model.trainable_variables)


def importance_bound(model, x, K, rows=50_000):
    """x: (N, D) → log of the mean of K importance weights, and the mean log weight (the ELBO): (N,) nats each."""
    x, B = tf.constant(x), max(1, rows // K)
    log_w = [model.log_weights(x[i : i + B], K) for i in range(0, len(x), B)]
    log_w = tf.cast(tf.concat(log_w, axis=1), tf.float64)  # (K, N)
    return log_mean_exp(log_w).numpy(), tf.reduce_mean(log_w, axis=0).numpy()


def use_of_layers(model, x, n=20):
    """x: (N, D) → for each layer KL (L_i,) in nats and activity A (L_i,), both over the images.

    A is the covariance of two independent averages of n/2 posterior means: the noise of the layers above,
    which does not average out with few draws, is not taken for activity.
    """
    _, q, p = model.q_z_x(tf.repeat(tf.constant(x), n, axis=0))
    result = []
    for a, b in zip(q, p):
        halves = tf.reshape(a.loc, [len(x), 2, n // 2, -1]).numpy().mean(axis=2)  # (N, 2, L_i)
        first, second = np.moveaxis(halves - halves.mean(axis=0), 1, 0)
        kl = tf.reduce_mean(kl_normal(a, b), axis=0).numpy()
        result.append((kl, (first * second).sum(axis=0) / (len(x) - 1)))
    return result


# %% layers
centre = digits.train.mean(axis=0)
variants = {  # units, layers, free bits for each coordinate, share of warm-up
    "one layer, wide": (2 * hidden, 1, 0.0, warm_up),
    "ladder 2": (hidden, 2, 0.0, warm_up),
    "ladder 3, no warm-up": (hidden, 3, 0.0, 0.0),
    "ladder 3, free bits": (hidden, 3, 0.1, 0.0),
    "ladder 3": (hidden, 3, 0.0, warm_up),
}
models, seconds, bounds, usage = {}, {}, {}, {}
print(" " * 22 + "parameters   bound (validation)   ELBO   KL of the layers from below   active units")
for name, (H, layers, free, warming) in variants.items():
    keras.utils.set_random_seed(seed)  # the three with three layers have the same first weights and batches
    model = models[name] = LadderVAE(D, H, latent[:layers], free, centre=centre)
    rising = [set_beta(model, lambda epoch, end=warming * epochs: min(1.0, epoch / end))] if warming else []
    data = batches(digits.train, B=batch_size, seed=seed)
    _, seconds[name] = train(model, data, epochs, learning_rate, callbacks=rising, xla=xla)
    bounds[name], elbo = importance_bound(model, parts["validation"][:200], 100)
    usage[name] = use_of_layers(model, parts["validation"][:200])
    kl = ", ".join(f"{k.sum():.2f}" for k, _ in usage[name])
    active = ", ".join(f"{(a > 0.01).sum()} of {len(a)}" for _, a in usage[name])
    line = f"{name:>22}{size(model):10,d}{bounds[name].mean():16.2f}{elbo.mean():13.2f}"
    print(f"{line}    {kl:<30}{active}")
for a, b in [
    ("ladder 3", "ladder 3, no warm-up"),
    ("ladder 2", "one layer, wide"),
    ("ladder 3", "ladder 2"),
    ("ladder 3", "ladder 3, free bits"),
]:
    print(f"{a} minus {b}: {paired_difference(bounds[a], bounds[b])} nats")


# %% look_layers
fig, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True)
colours = np.repeat([plotting.BLUE, plotting.ORANGE, plotting.GREEN], latent)
for ax, name in zip(axes, ["ladder 3, no warm-up", "ladder 3, free bits", "ladder 3"]):
    kl, activity = (np.concatenate(layers) for layers in zip(*usage[name]))
    ax.bar(np.arange(len(kl)), np.maximum(kl, 1e-4), color=colours)
    ax.plot(np.maximum(activity, 1e-4), "k.")
    ax.axhline(0.01, color="k", linestyle=":", linewidth=1)
    ax.set(yscale="log", title=name, xlabel="latent dimension", xticks=[])
axes[0].set_ylabel("KL (nats), activity (no unit)")
plotting.show(
    fig,
    "Bars: KL of each latent dimension (blue, orange, green: layers 1 to 3); dots: its activity; dotted line: the threshold "
    "of an active unit. Values below 0.0001 are drawn there. Which layers cost next to nothing, in which panel, and are their "
    "units active?",
    "Three bar charts with groups of bars for the layers; in the first chart the groups of layers 2 and 3 lie on the floor or "
    "near it, in the third that of layer 3 is far below the tallest of the others.",
)
chosen = models["ladder 2"]
_, samples = chosen.sample(20)
top = tf.repeat(chosen.p_z(1).sample(4), 5, axis=0)  # (20, L_2), five times each
plotting.image_grid(
    np.concatenate([samples, tf.sigmoid(chosen.decoder(chosen.p_z(0, top).sample()))]),
    digits.shape,
    "Two rows: samples of the ladder with two layers. Two rows: pixel probabilities; each five neighbours share z₂ and "
    "differ in z₁. What does the top layer decide, and what the bottom layer?",
    "Twenty binary digits, most of them legible; twenty soft digits in four groups of five that share their coarse layout.",
    row_titles=["sample", "", "z₂ shared", ""],
)

# %% [markdown] layers_say
# **A bad start.** Without warm-up the two upper layers add nothing: their KL is practically 0, and in effect this is a
# model with one layer, of which 4 units in 16 do something. The same model trained with a warm-up is better by 0.7
# nats (the first of the differences above): this collapse is no optimum. (With three other seeds the middle layer's KL
# always stayed at 0, the top layer's once, and the loss was 0.5 to 0.8 nats.) The model could do without any one of
# its layers, even the bottom one: with a KL of 0 $z_1$ still follows $z_2$. Which one goes is decided by the training.
#
# **Look at both measures.** An activity can be far above section 1's limit of 1: only the top layer has the prior
# $\mathcal{N}(0, 1)$, below it the model chooses the scale. Without warm-up the two measures agree. With it, all four
# units of the top layer count as active, but their KL is 0.03 nats in all: the threshold of 0.01 is a low one. With
# two of those seeds the top layer lived without warm-up, and then the middle layer had a KL of 0 and *active* units, 6
# and 7 of 8: their means followed the layer above. What a layer of a ladder *adds* is in its KL. In the chain of
# section 2 it was the other way round: there an upper layer can have a KL and know nothing.
#
# **Two cures that these runs cannot tell apart.** With 0.1 free bits all three layers are used from the start, without
# a warm-up. In the linear model free bits cost likelihood; here no such price shows: the plain bound (without
# $\delta$) of the warm-up minus that of the free bits is 0.07, −0.21, 0.11 and 0.07 nats with four seeds. A warm-up
# costs time: for nearly half of the epochs $\beta$ is below 1, and what is maximised is not what will be reported. It
# revives the middle layer. How much it revives the top one depends on the seed: its KL is 0.03 nats here, and was 0.15
# to 0.96 with those other seeds. Whether a small value is a bad start as well, or right, these runs do not say; with
# free bits it is 1.8 nats, and the bound is no better.
#
# **More layers.** With warm-up, two layers are clearly better than one with about as many parameters. That is a
# statement about this short training with this learning rate. Week 6's VAE has the same sizes as the one layer
# here, is trained with larger steps and for longer, and is as good as the ladders but for a tenth of a nat (section
# 8). What does the third layer gain? Less than a tenth of a nat, within the errors: its KL is about as small, so in
# effect this is a ladder with two layers. And the printed errors know nothing of the training: with four seeds the
# bound of the ladder with two layers varied by 0.05 nats, that of the ladder with three by 0.3. So a difference of
# a few tenths between single trainings is no finding where three layers are involved. On larger images and with
# five layers Sønderby et al. (2016) find that the ladder uses its upper layers more than a chain does, with a
# better bound.
#
# **What the layers say.** Neighbours that share $z_2$ often differ in the digit: the top layer gives a coarse layout,
# and much of the identity is still decided by $z_1$.
#
# *Settings.* Learning rate, epochs, warm-up and free bits were chosen on the validation part, among 0.005 to 0.02,
# 50 to 200, none to the whole training, and 0.05 and 0.1; so were SiLU instead of tanh and the centring of the
# images, which together are worth a quarter of a nat. That is a coarse search, and 200 images cannot tell
# neighbours in it apart.

# %% [markdown] ladder_check_text
# **Check on the trained model.** The closed-form KLs of the ladder against TFP, coordinate by coordinate, and against
# a Monte Carlo estimate: 2,000 times for each of 20 images a fresh $z$, then $\log q - \log p$ of each layer. And the
# bound with more and more importance samples (week 6): it must rise in expectation.

# %% ladder_check
model, many = models["ladder 3"], tf.repeat(tf.constant(test[:20]), 2000, axis=0)
z, q, p = model.q_z_x(many)
for i in range(len(z)):
    closed = tf.reduce_sum(kl_normal(q[i], p[i]), axis=1).numpy()
    theirs = tf.reduce_sum(tfd.kl_divergence(q[i], p[i]), axis=1)
    np.testing.assert_allclose(closed, theirs, rtol=1e-3, atol=1e-4)
    sampled = tf.reduce_sum(q[i].log_prob(z[i]) - p[i].log_prob(z[i]), axis=1).numpy()
    d = paired_difference(sampled, closed)
    print(f"layer {i + 1}: KL {closed.mean():.3f} nats; Monte Carlo minus closed form {d}")
    assert abs(d.value) < 6 * d.error
few, curve = tf.constant(parts["validation"][:100]), {}
for k in (ks := [1, 5, 50, 500]):  # fresh draws for each K: on the same draws any numbers at all would rise
    log_w = tf.reshape(model.log_weights(few, 500), [k, -1, len(few)])
    curve[k] = np.mean(log_mean_exp(log_w), axis=0)
for low, high in zip(ks, ks[1:]):
    print(f"bound with K = {high} minus K = {low}: {paired_difference(curve[high], curve[low])} nats")

# %% [markdown] grey_text
# ## 4 · Grey digits: a likelihood for 17 levels
#
# The scans have levels 0 to 16. A Gaussian decoder, fitted to the whole numbers, would give a density, which can
# grow without limit and is not the probability of a level. (It bounds one if uniform noise was added to the data
# first.) The **discretised logistic** (Kingma et al., 2016; Salimans et al., 2017) cuts a density into 17
# probabilities: with $F(u) = \sigma((u - \mu)/s)$ the level $k$ gets $P(k) = F(k + \frac12) - F(k - \frac12)$,
# where the tails belong to the levels 0 and 16. With $a = (k + \frac12 - \mu)/s$ and $b = (k - \frac12 - \mu)/s$ a
# stable form is
#
# $$\log(\sigma(a) - \sigma(b)) = \log \sigma(a) + \log \sigma(-b) + \log(1 - e^{b - a}),$$
#
# which one checks by multiplying out. At level 16 ($a = \infty$) the first and the third term vanish, at level 0 ($b =
# -\infty$) the second and the third. The ladder stays as it is; only `p_x_z` changes, with $\mu$ and $s$ for each pixel from the decoder.
#
# Results are in **bits per dimension**, $-\log_2 p(x) / 64$, lower is better. Two baselines: a histogram for each pixel,
# and a mixture of products of histograms, by EM as in week 1, its number of components and its smoothing chosen on
# the validation part.


# %% grey
class DiscretisedLogistic:
    """Levels 0 … 16 for each pixel, independent: a logistic density cut into 17 pieces; mu, s: (B, D)."""

    def __init__(self, mu, s):
        self.mu, self.s = mu, s

    def log_prob_pixels(self, x):
        """x: (B, D) levels → (B, D) nats."""
        a, b = (x + 0.5 - self.mu) / self.s, (x - 0.5 - self.mu) / self.s
        above = tf.where(x < 16, tf.math.log_sigmoid(a), 0.0)
        below = tf.where(x > 0, tf.math.log_sigmoid(-b), 0.0)
        inside = tf.where((x > 0) & (x < 16), tf.math.log(-tf.math.expm1(-1 / self.s)), 0.0)  # a − b = 1 / s
        return above + below + inside

    def log_prob(self, x):
        """x: (B, D) levels → (B,) nats."""
        return tf.reduce_sum(self.log_prob_pixels(x), axis=1)

    def sample(self):
        u = tf.random.uniform(tf.shape(self.mu), 1e-6, 1 - 1e-6)
        return tf.clip_by_value(tf.round(self.mu + self.s * tf.math.log(u / (1 - u))), 0.0, 16.0)


class GreyLadder(LadderVAE):
    """The ladder for levels 0 … 16; the encoder sees them divided by 16."""

    def q_z_x(self, x):
        return super().q_z_x(x / 16)

    def p_x_z(self, z):
        mean, raw = tf.split(self.decoder(z), 2, axis=-1)
        return DiscretisedLogistic(8 + 8 * mean, tf.nn.softplus(raw) + 0.1)


line = tf.range(17.0)[:, None]
toy = DiscretisedLogistic(tf.constant([[-1.0, 0.3, 9.7, 20.0]]), tf.constant([[0.5, 0.2, 3.0, 2.0]]))
probabilities = tf.exp(toy.log_prob_pixels(line)).numpy()  # (17 levels, 4 pixels)
theirs = tfd.QuantizedDistribution(tfd.Logistic(toy.mu - 0.5, toy.s), low=0.0, high=16.0)
np.testing.assert_allclose(probabilities.sum(axis=0), 1, rtol=1e-5)
np.testing.assert_allclose(probabilities, theirs.prob(line), atol=1e-5)

# %% grey_baselines
grey = datasets.digits("grey")


def one_hot(x):
    """x: (N, D) levels → (N, 17·D) of 0 and 1."""
    return np.eye(17, dtype=np.float32)[x.astype(int)].reshape(len(x), -1)


def fit_levels(x, K, a, seed, steps=15):
    """EM for a mixture of K products of histograms, smoothed as if `a` more images had each pixel's overall histogram.

    x: (N, D) levels → log weights (K,), log probabilities (17·D, K).
    """
    x = one_hot(x)
    overall = (x.sum(axis=0) + 0.1) / (len(x) + 1.7)
    r = np.random.default_rng(seed).dirichlet(np.full(K, 0.1), len(x)).astype(np.float32)  # responsibilities
    for _ in range(steps):
        weights = (r.sum(axis=0) + 1) / (len(x) + K)
        theta = (x.T @ r + a * overall[:, None]) / (r.sum(axis=0) + a)
        joint = np.log(weights) + x @ np.log(theta)
        r = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    return np.log(weights), np.log(theta)


def level_mixture(x, mixture):
    """x: (N, D) levels → (N,) nats."""
    return logsumexp((mixture[0] + one_hot(x) @ mixture[1]).astype(float), axis=1)


grid = {(K, a): fit_levels(grey.train, K, a, seed) for K in [5, 10, 20] for a in [10.0, 20.0, 40.0]}
scores = {key: level_mixture(grey.validation, mixture).mean() for key, mixture in grid.items()}
best_K, best_a = max(scores, key=scores.get)
grey_test = {
    "pixel histograms": level_mixture(grey.test, fit_levels(grey.train, 1, 1.0, seed, 1)),
    "mixture": level_mixture(grey.test, grid[best_K, best_a]),
}
print(f"chosen on the validation part: {best_K} components, smoothed by {best_a:g} images each")

# %% grey_ladder
grey_model = GreyLadder(64, hidden, latent[:2], outputs=2, centre=grey.train.mean(axis=0) / 16)
grey_data = batches(grey.train, B=100, seed=seed, binarise=False)
grey_rising = [set_beta(grey_model, lambda epoch: min(1.0, epoch / (0.5 * grey_epochs)))]
_, grey_seconds = train(grey_model, grey_data, grey_epochs, learning_rate, callbacks=grey_rising)
grey_test["ladder 2"], _ = importance_bound(grey_model, grey.test, 200)
bits = {name: evaluation.bits_per_dim(values, 64) for name, values in grey_test.items()}
for name, values in bits.items():
    print(f"{name:>18}: {mean_estimate(values)} bits per dimension on test images")
print(f"ladder minus mixture: {paired_difference(bits['ladder 2'], bits['mixture'])}")
p = grey_model.p_x_z(grey_model.sample(10)[0])
plotting.image_grid(
    np.concatenate([grey.test[:10], p.sample(), np.clip(p.mu, 0, 16)]),
    (8, 8),
    "Grey test images; samples of the ladder; for the same z the location μ instead of a draw. The roughness of a "
    "sample is the noise of single pixels, which a sum of pixelwise terms has to pay for.",
    "Three rows of ten grey digits: real ones, rough samples, smooth means.",
    row_titles=["test image", "sample", "its μ"],
)

# %% [markdown] grey_says
# The ladder needs a third of a bit per dimension less than the mixture: that is more than fourteen nats an image.
# Two things differ, and this comparison does not separate them: the likelihood of a pixel, and the mixing. The
# mixture pays for its generality: each component has 17 numbers for every pixel, to be learned from a hundred
# images or so. The discretised logistic knows that neighbouring levels are alike, has two numbers a pixel, and the
# ladder shares one network among all of them. (Learning rate and epochs of the ladder were chosen on the validation
# part, too.)

# %% [markdown] vq_text
# ## 5 · VQ-VAE: codes that are whole numbers
#
# Van den Oord, Vinyals and Kavukcuoglu (2017) replace the Gaussian code by a few whole numbers. The encoder gives $T$
# vectors $z_e(x)_t$ of $C$ numbers; a **codebook** has $K$ vectors $e_k$, and
#
# $$c_t(x) = \arg\min_k |z_e(x)_t - e_k|^2, \qquad z_q(x)_t = e_{c_t(x)}, \qquad p(x \mid c) = \prod_d \text{Bernoulli}(x_d;\,
# \text{decoder}(z_q)).$$
#
# Here $T = 4$ and $K = 16$: an image becomes 16 bits, one of $16^4 = 65{,}536$ codes. That is few enough to sum over.
#
# **Three gradients.** The arg min has none. So
#
# - the *decoder* and, by the **straight-through** estimator, the *encoder* learn from $\log p(x \mid c)$: the
#   decoder gets $z_e + \mathrm{sg}(z_q - z_e)$, where sg stops the gradient. Forwards this is $z_q$; backwards the
#   derivative with respect to $z_e$ is 1, and the codebook gets nothing;
# - the encoder pays the **commitment loss** $\beta_c\, |z_e - \mathrm{sg}(z_q)|^2$, which keeps it near its codes;
# - the codes follow the encoder by a **moving average**: with $n_k$ the vectors of the batch that chose code $k$,
#   $N_k \leftarrow \gamma N_k + (1 - \gamma)\, n_k$, $m_k \leftarrow \gamma m_k + (1 - \gamma) \sum z_e$ (over
#   those vectors), $e_k = m_k / N_k$. (Below, $\gamma = 0.95$ and $\beta_c = 0.25$.) With $\gamma = 0$ this is one
#   step of **k-means**.
#
# The **perplexity** $\exp(-\sum_k u_k \log u_k)$ of the shares $u_k = N_k / \sum_j N_j$ says how many codes are in use:
# $K$ if all alike, 1 if it is always the same.
#
# **A bound.** With any prior $p(c)$, which we learn afterwards, $p(x) = \sum_c p(c)\, p(x \mid c)$. All terms are
# positive, so a single one is a lower bound:
#
# $$\log p(x) \ge \log p(c(x)) + \log p(x \mid c(x)).$$
#
# It is the ELBO of a $q$ that puts everything on $c(x)$. By Bayes' rule $p(c)\, p(x \mid c) = p(x)\, p(c \mid x)$,
# so $\log p(x)$ minus this bound is $-\log p(c(x) \mid x)$: 0 only if the image leaves no doubt about its code.
# With 65,536 codes we shall see how much that is.


# %% vq
def nearest(z, codebook):
    """z: (..., C), codebook: (K, C) → the number of the nearest code (...), by |z|² − 2 z·e + |e|² without |z|²."""
    distance = tf.reduce_sum(codebook**2, axis=1) - 2 * tf.matmul(z, codebook, transpose_b=True)
    return tf.argmin(distance, axis=-1, output_type=tf.int32)


def straight_through(z, quantised):
    """The value of `quantised`, the gradient of z."""
    return z + tf.stop_gradient(quantised - z)


def moving_average(N, m, z, c, decay):
    """One step of the codebook: N (K,), m (K, C), vectors z (n, C) with their codes c (n,) → the new N and m."""
    one_hot = tf.one_hot(c, N.shape[0], dtype=z.dtype)  # (n, K)
    N = decay * N + (1 - decay) * tf.reduce_sum(one_hot, axis=0)
    m = decay * m + (1 - decay) * tf.matmul(one_hot, z, transpose_a=True)
    return N, m


def perplexity(N):
    """(K,) counts → the effective number of codes in use."""
    share = N / tf.reduce_sum(N)
    return tf.exp(-tf.reduce_sum(tf.math.xlogy(share, share)))


def restart(N, m, z):
    """Codes used less than once a batch move to random ones of its vectors z (n, C) → the new N and m."""
    random = tf.gather(z, tf.random.uniform(N.shape, maxval=tf.shape(z)[0], dtype=tf.int32))
    return tf.maximum(N, 1.0), tf.where(N[:, None] < 1, random, m)


# %% vq_check
draw = np.random.default_rng(seed)
z, book = draw.normal(size=(3, 200, 4)), draw.normal(size=(16, 4))
brute = np.array([[min(range(16), key=lambda k: ((v - book[k]) ** 2).sum()) for v in row] for row in z])
np.testing.assert_array_equal(nearest(tf.constant(z), tf.constant(book)), brute)
z, book = tf.Variable(z), tf.Variable(book)
with tf.GradientTape() as tape:
    quantised = tf.gather(book, nearest(z, book))
    passed = straight_through(z, quantised)
    loss = tf.reduce_sum(tf.sin(passed) * tf.constant(brute[..., None] + 1.0))  # any function of the codes
to_z, to_book, to_passed = tape.gradient(loss, [z, book, passed])
np.testing.assert_allclose(passed, quantised, atol=1e-12)
np.testing.assert_array_equal(to_z, to_passed)
assert to_book is None, "the codebook must get no gradient"
flat, c = tf.reshape(z, [-1, 4]), tf.constant(brute.ravel(), tf.int32)
N, m = moving_average(tf.zeros(16, tf.float64), tf.zeros([16, 4], tf.float64), flat, c, decay=0.0)
lloyd = KMeans(16, init=book.numpy(), n_init=1, max_iter=1, algorithm="lloyd").fit(flat.numpy())
np.testing.assert_allclose(m / N[:, None], lloyd.cluster_centers_, rtol=1e-9)
print("nearest code = brute force; gradient passed on, none to the codebook; γ = 0 is one step of k-means")


# %% vq_vae
class VQVAE(keras.Model):
    """p(x | c) with c(x) the nearest codes of T vectors (C,); x: (B, D), c: (B, T) in 0 … K − 1."""

    def __init__(self, D, H, T, C, K, decay=0.95, commitment=0.25, revive=True):
        super().__init__()
        self.T, self.C, self.decay, self.commitment, self.revive = T, C, decay, commitment, revive
        self.encoder, self.decoder = MLP(D, H, T * C), MLP(T * C, H, D)
        self.codebook = self.add_weight((K, C), "zeros", trainable=False, name="codebook")
        self.m = self.add_weight((K, C), "zeros", trainable=False, name="m")
        self.N = self.add_weight((K,), "ones", trainable=False, name="N")
        self.built = True  # all weights exist

    def z_e(self, x):
        return tf.reshape(self.encoder(x), [-1, self.T, self.C])

    def c(self, x):
        return nearest(self.z_e(x), self.codebook)

    def p_x_z(self, z_q):
        return tfd.Independent(tfd.Bernoulli(logits=self.decoder(tf.reshape(z_q, [-1, self.T * self.C]))), 1)

    def p_x_c(self, c):
        return self.p_x_z(tf.gather(self.codebook, c))

    def call(self, x):
        """x: (B, D) → the objective of each image (B,), nats: log p(x | c(x)) less the commitment loss."""
        z = self.z_e(x)
        z_q = tf.gather(self.codebook, nearest(z, self.codebook))
        logpx_c = self.p_x_z(straight_through(z, z_q)).log_prob(x)
        commitment = tf.reduce_sum((z - tf.stop_gradient(z_q)) ** 2, axis=[1, 2])
        objective = logpx_c - self.commitment * commitment
        self.add_loss(-tf.reduce_mean(objective))
        return objective

    def update(self, z, c):
        """One step of the codebook, z: (B·T, C), c: (B·T,)."""
        N, m = moving_average(self.N, self.m, z, c, self.decay)
        N, m = restart(N, m, z) if self.revive else (N, m)
        self.N.assign(N)
        self.m.assign(m)
        alive = N[:, None] > 1e-6  # below that m / N is lost to rounding
        self.codebook.assign(tf.where(alive, tf.math.divide_no_nan(m, N[:, None]), self.codebook))

    def train_step(self, data):
        """The gradient step of encoder and decoder, then the codebook's. Only here the codebook moves."""
        logs = super().train_step(data)
        z = self.z_e(keras.utils.unpack_x_y_sample_weight(data)[0])
        self.update(tf.reshape(z, [-1, self.C]), tf.reshape(nearest(z, self.codebook), [-1]))
        return logs | {"perplexity": perplexity(self.N)}


# %% [markdown] dead_text
# **Codes die.** A code that is never the nearest gets no vectors and does not move. It is used again only if the
# encoder's outputs move towards it. How many stay unused depends on the start. We train the same model twice. First
# the codebook is drawn from a normal distribution with standard deviation 10, far from most of the encoder's outputs.
# Then two things are changed: it starts at the encoder's outputs for random training images, and a code that is used
# less than once a batch is put on one of the batch's vectors (Dhariwal et al., 2020). (Which of the two does it? Try `revive=True` with the
# random start, and `revive=False` with the start at the data.)
#
# **Predict:** 16 codes. How many will the first run use, and what does it do to the reconstructions?

# %% dead_codes
runs, vq_seconds, few = {}, {}, parts["validation"]
fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6))
styles = {"random start": ("--", plotting.VERMILLION), "start at data, revived": ("-", plotting.ORANGE)}
for name, (style, colour) in styles.items():
    cured = name != "random start"
    vq = runs[name] = VQVAE(D, hidden, positions, code_size, codes, revive=cured)
    z = tf.reshape(vq.z_e(parts["train"][:1000]), [-1, code_size])
    at_data = tf.gather(z, np.random.default_rng(seed).permutation(len(z))[:codes])
    start = at_data if cured else 10 * tf.random.stateless_normal([codes, code_size], [seed, 1])
    vq.codebook.assign(start)
    vq.m.assign(start)  # with N = 1
    data = batches(digits.train, B=batch_size, seed=seed)
    history, vq_seconds[name] = train(vq, data, vq_epochs, learning_rate / 3, xla=xla)
    counts = np.bincount(vq.c(parts["train"]).numpy().ravel(), minlength=codes)
    left.plot(np.arange(1, vq_epochs + 1), history["perplexity"], style, color=colour, label=name)
    right.plot(np.sort(counts)[::-1] / counts.sum(), style, marker="o", color=colour, label=name)
    reconstruction = mean_estimate(vq.p_x_c(vq.c(few)).log_prob(few))
    line = (
        f"{name:>24}: {(counts > 0).sum()} of {codes} codes in use, perplexity {perplexity(counts * 1.0):.1f}"
    )
    print(f"{line}, log p(x | c(x)) {reconstruction} nats (validation)")
left.axhline(codes, color="k", linestyle=":", linewidth=1)
left.set(xlabel="time (epochs)", ylabel="perplexity", yticks=np.linspace(0, codes, 5), ylim=(0, 1.05 * codes))
right.set(xlabel="codes, the most frequent first", ylabel="share of all positions")
left.legend()
plotting.show(
    fig,
    f"The use of the codebook. Left: perplexity during training; dotted: all {codes} codes alike. Right: how often each "
    "code is chosen on the training images. A dead code lies on the axis.",
    "Left: two curves, one stays low, one near the dotted line. Right: one curve falls to zero, the other is flat.",
)

# %% look_codes
plotting.image_grid(
    np.concatenate([few[:10], *(vq.p_x_c(vq.c(few[:10])).mean() for vq in runs.values())]),
    digits.shape,
    "Validation images and their reconstructions (pixel probabilities) by the two runs.",
    "Ten digits; below them ten blurred shapes, many of them alike; below these ten soft digits like those above.",
    row_titles=["image", "random", "revived"],
)

# %% [markdown] dead_says
# **The far start kills the codes, and either of the two changes alone keeps them.** Whatever codes happen to be
# nearest to the encoder's outputs at the start remain, four with this seed, one with each of five others. With four,
# the decoder has $4^4 = 256$ pictures to offer, and the reconstruction is worse by several nats; with one, the model
# is a product of independent pixels. With either change alone all 16 codes are in use.
#
# An unused code stays where it is, with any $\gamma$: $m_k$ and $N_k$ shrink by the same factor. (A codebook learned
# by gradients has the same problem, for an unused code's gradient is 0.) But the encoder moves, and a code that lies
# near its outputs is found again. With a small random start around 0 up to two codes were unused at first, and in the
# end none.
#
# <details><summary>Measured how?</summary>
#
# Three seeds, the same training; codes in use and perplexity on the training images. Start at the data, no restarts:
# 16 each time, 15.6 to 15.8. Far start with restarts: 3, 1 and 2 before the training, 16 after it, 15.7 to 15.8. Codes
# uniform between −1/16 and 1/16, no restarts: 15, 14 and 16 before, 16 after it, 15.6 to 15.7. Reconstructions −10.4
# to −11.4 nats in all nine. So the restarts change nothing here that the start at the data has not done.
#
# </details>

# %% [markdown] prior_text
# ## 6 · A prior over the codes
#
# In training the prior is uniform, its $-T \log K$ a constant that falls out of the gradient (van den Oord et al.). To
# make a good generative model, learn the distribution of the codes that the training images get, by the **chain rule**
#
# $$p(c) = \prod_{t=1}^{T} p(c_t \mid c_1, \dots, c_{t-1}).$$
#
# Here a small network serves all positions: it sees the codes before $t$ (the others are masked) and the number $t$,
# and gives $K$ logits. For comparison, *independent* positions: the share of each code at each position, by counting.
# Such *autoregressive models* are the subject of week 10; here they are only a tool.
#
# **Predict:** with a uniform prior the bound has $\log p(c) = -4 \log 16 = -11.09$ nats. How much can a prior gain? And
# what will samples from the uniform prior look like?


# %% prior
class CodePrior(keras.Model):
    """p(c) = Π_t p(c_t | c_1 … c_{t−1}) by one network, c: (B, T) whole numbers in 0 … K − 1."""

    def __init__(self, T, K, H):
        super().__init__()
        self.T, self.K, self.net = T, K, MLP(T * K + T, H, K)
        self.built = True  # all weights exist

    def log_p(self, c, t):
        """c: (B, T) → log p(c_t = k | c_1 … c_{t−1}): (B, K); what stands at t and later is masked."""
        before = tf.cast(tf.range(self.T) < t, tf.float32)[:, None]
        seen = tf.reshape(before * tf.one_hot(c, self.K), [-1, self.T * self.K])
        position = tf.tile(tf.one_hot([t], self.T), [tf.shape(seen)[0], 1])
        return tf.nn.log_softmax(self.net(tf.concat([seen, position], axis=1)))

    def log_prob(self, c):
        """c: (B, T) → (B,) nats."""
        return sum(tf.gather(self.log_p(c, t), c[:, t], batch_dims=1) for t in range(self.T))

    def call(self, c):
        """c: (B, T) → log p(c): (B,), nats, which training maximises."""
        objective = self.log_prob(c)
        self.add_loss(-tf.reduce_mean(objective))
        return objective

    def sample(self, n):
        """n codes (n, T), one position after the other."""
        c = tf.zeros([n, self.T], tf.int32)
        for t in range(self.T):
            drawn = tf.random.categorical(self.log_p(c, t), 1, dtype=tf.int32)
            c = tf.concat([c[:, :t], drawn, c[:, t + 1 :]], axis=1)
        return c


# %% train_prior
vq = runs["start at data, revived"]
c_parts = {name: vq.c(part).numpy() for name, part in parts.items()}
prior = CodePrior(positions, codes, 64)
c_data = batches(c_parts["train"], B=100, seed=seed)
_, prior_seconds = train(prior, c_data, prior_epochs, learning_rate / 3)
shares = np.array([np.bincount(c_t, minlength=codes) + 1.0 for c_t in c_parts["train"].T])  # (T, K)
shares /= shares.sum(axis=1, keepdims=True)
c = c_parts["validation"]
for name, values in [
    ("uniform", np.full(len(c), -positions * np.log(codes))),
    ("independent", np.log(shares)[np.arange(positions), c].sum(axis=1)),
    ("network", prior.log_prob(c).numpy()),
]:
    print(f"log p(c), {name:>11}: {mean_estimate(values):.2f} nats (validation)")
drawn = {
    "uniform": np.random.default_rng(seed).integers(codes, size=(400, positions)).astype(np.int32),
    "network": prior.sample(400),
}
for name, c in drawn.items():
    if digits.shape == (8, 8):  # the feature extractor knows 8×8 images only
        distance = evaluation.kernel_distance(images, vq.p_x_c(c).sample())
        print(f"samples with codes from the {name} prior: kernel distance to test images {distance}")
plotting.image_grid(
    np.concatenate([vq.p_x_c(c[:20]).mean() for c in drawn.values()]),
    digits.shape,
    "Pixel probabilities of decoded codes. Two rows: codes drawn uniformly. Two rows: codes drawn from the prior. The "
    "decoder is the same.",
    "Twenty soft shapes, some of them no digits; then twenty soft digits, most of them legible.",
    row_titles=["uniform", "", "prior", ""],
)

# %% [markdown] prior_says
# The prior gains more than a nat over the uniform one, and the samples profit more than the number suggests: the
# kernel distance falls to a small part. About two thirds of the gain are in single positions: the codebook as a whole
# is used evenly, but each position has its favourites. The combinations give the rest. (The shares of the two change
# from training to training.) With longer codes the combinations may well count for more.

# %% [markdown] exact_text
# **All codes, exactly.** With every code summed, the VQ-VAE and its prior are *a mixture of $K^T$ Bernoullis* in the
# sense of week 1, with shared parameters: weights $p(c)$, means from the decoder. Its log-likelihood is exact, and so is
# everything else that week 1 did with a mixture. (Where $K^T$ is too large, as on MNIST, the cell draws codes from the
# prior instead and reports the bound.)
#
# **Predict:** how many nats lie between the bound and the exact value?


# %% exact
def mixture_terms(logits, log_pi, x):
    """Components (M, D), log weights (M,), images (B, D) → log π + log p(x | component): (B, M)."""
    return log_pi + tf.matmul(x, logits, transpose_b=True) - tf.reduce_sum(tf.nn.softplus(logits), axis=1)


def mixture_log_prob(logits, log_pi, x, B=50):
    """log Σ π p(x | component): (N,) nats, in chunks of B images."""
    chunks = [x[i : i + B] for i in range(0, len(x), B)]
    values = [tf.reduce_logsumexp(mixture_terms(logits, log_pi, chunk), axis=1) for chunk in chunks]
    return np.concatenate(values).astype(float)


enumerable = codes**positions <= 2**16
if enumerable:
    every = np.indices((codes,) * positions, np.int32).reshape(positions, -1).T  # (K^T, T)
    vq_log_pi = prior.log_prob(every)
else:
    every = prior.sample(2**16)
    vq_log_pi = tf.fill([len(every)], np.float32(-np.log(len(every))))
vq_logits = vq.p_x_c(every).distribution.logits  # (M, D)
logpx_c = vq.p_x_c(c_parts["test"]).log_prob(test).numpy().astype(float)
logpc = prior.log_prob(c_parts["test"]).numpy().astype(float)
bound = logpx_c + logpc
print(
    f"log p(x | c(x)) {logpx_c.mean():.2f}, log p(c(x)) {logpc.mean():.2f}; bound {mean_estimate(bound)} nats"
)
if enumerable:
    exact = mixture_log_prob(vq_logits, vq_log_pi, test)
    posterior = tf.nn.softmax(mixture_terms(vq_logits, vq_log_pi, test[:100]))
    entropy = -tf.reduce_mean(tf.reduce_sum(tf.math.xlogy(posterior, posterior), axis=1))
    print(f"the probabilities of all codes sum to {tf.reduce_sum(tf.exp(vq_log_pi)):.5f}")
    print(f"exact {mean_estimate(exact)} nats; exact minus bound {paired_difference(exact, bound)}")
    print(f"posterior probability of c(x): {np.exp(bound - exact).mean():.3f} on average")
    print(f"codes an image leaves open, exp of the mean entropy: {np.exp(entropy):.0f} (first 100 images)")
    assert np.all(exact >= bound - 1e-3)

# %% [markdown] exact_says
# About two and a half nats. The posterior over the codes is as wide, on average, as a dozen equally probable ones; the
# bound counts only the one that the encoder picked, and loses $-\log p(c(x) \mid x)$. This also says what the training
# of a VQ-VAE leaves aside: it maximises $\log p(x \mid c(x))$, as if the other codes did not exist.

# %% [markdown] use_text
# ## 7 · Put to work: imputing, repairing, anomalies; representations
#
# **One function for both models.** For the VQ-VAE the posterior given *some* pixels is week 1's formula over all codes:
# exact, no chain. The ladder VAE is a mixture with infinitely many components; $2^{14}$ draws of $z$ from its prior,
# each with the same weight, stand in for them. That is importance sampling with the prior as proposal: right in the
# limit, and how near to it, the *effective number of draws* $1 / \sum w^2$ tells. Masks, damage and measures are those
# of week 1.
#
# *In the code:* a pixel that is ink with probability $\mu$ and is flipped with probability $\epsilon$ is seen as ink
# with probability $q = (1 - \epsilon) \mu + \epsilon (1 - \mu)$. By Bayes' rule it *was* ink with probability
# $(1 - \epsilon) \mu / q$ if it is seen as ink, $\epsilon \mu / (1 - q)$ if it is seen as blank, and $\mu$ if it is
# not seen. These three, `ink`, are averaged over the components with the posterior weights $w$.


# %% restore
def restore(logits, log_pi, x, seen, flip, B=100):
    """Week 1's posterior for a mixture: logits (M, D), log_pi (M,), x: (N, D) observed, seen: (D,) bool, flip: ε.

    Returns p(x_d = 1 | observed): (N, D), and the effective number of components 1 / Σ w²: (N,).
    """
    mu = tf.sigmoid(logits)
    q = tf.clip_by_value((1 - flip) * mu + flip * (1 - mu), 1e-7, 1 - 1e-7)
    known, results, effective = tf.constant(seen, tf.float32), [], []
    score = known * (tf.math.log(q) - tf.math.log1p(-q))  # (M, D)
    base = log_pi + tf.linalg.matvec(tf.math.log1p(-q), known)
    ink = tf.concat([(1 - flip) * mu / q, flip * mu / (1 - q), mu], axis=1)  # if seen as 1, as 0, not at all
    for part in (x[i : i + B] for i in range(0, len(x), B)):
        w = tf.nn.softmax(base + tf.matmul(part, score, transpose_b=True))  # (B, M)
        if_ink, if_blank, unseen = tf.split(w @ ink, 3, axis=1)
        results.append(tf.where(seen, part * if_ink + (1 - part) * if_blank, unseen))
        effective.append(1 / tf.reduce_sum(w**2, axis=1))
    return np.concatenate(results), np.concatenate(effective)


# %% applications
draws = 2**14  # of the ladder's latent variables
components = {
    "ladder 2": (chosen.decoder(chosen.sample(draws)[0]), tf.fill([draws], np.float32(-np.log(draws)))),
    "VQ-VAE": (vq_logits, vq_log_pi),
}
scores = {
    "ladder 2": lambda x: -importance_bound(chosen, x, 100)[0],
    "VQ-VAE": lambda x: -mixture_log_prob(vq_logits, vq_log_pi, x),
}
missing, noise, everything = evaluation.lower_half(digits.shape), 0.1, np.ones(D, bool)
noisy, mirrored = evaluation.flip_pixels(images, noise, seed), evaluation.mirror(images, digits.shape)
print(f"10 % of the pixels flipped: {evaluation.pixel_errors(images, noisy)} wrong before the repair")
uses, pictures = {}, [images[:10], np.where(missing, np.nan, images)[:10], noisy[:10]]
for name, mixture in components.items():
    imputed, left = restore(*mixture, images, ~missing, 0.0)
    repaired, left_repair = restore(*mixture, noisy, everything, noise)
    uses[name] = {
        "imputing": evaluation.pixel_errors(images, imputed > 0.5, missing),
        "repairing": evaluation.pixel_errors(images, repaired > 0.5),
        "anomaly": evaluation.auroc(scores[name](images), scores[name](mirrored)),
    }
    print(f"{name:>9}: " + "; ".join(f"{use} {value}" for use, value in uses[name].items()))
    effective = f"{np.median(left):.0f} imputing, {np.median(left_repair):.0f} repairing"
    print(f"{'':>11}effective number of components, median: {effective}")
    pictures += [imputed[:10], repaired[:10]]
plotting.image_grid(
    np.concatenate(pictures),
    digits.shape,
    "Test images, their upper halves (the missing pixels are orange), and with a tenth of the pixels flipped; then "
    "completed and repaired by the ladder and by the VQ-VAE: probabilities of ink, grey where the model is unsure.",
    "Seven rows of ten digits: original, upper half, noisy, and four rows of restored digits.",
    row_titles=["original", "upper half", "noisy"]
    + [f"{name},\n{use}" for name in ("ladder", "VQ-VAE") for use in ("completed", "repaired")],
    limits=(0, 1),
)

# %% [markdown] applications_say
# Neither model beats week 1's mixture (section 8 has the numbers side by side): in repairing and as detectors they
# are level with it within the errors, in completing a little worse, which is hardly more than the errors either.
# For the VQ-VAE the posterior is exact. For the ladder the *effective number* of draws is 30 to 70 out of 16,384:
# the prior is just good enough as a proposal. On larger images it will not do.

# %% [markdown] representations_text
# **Are the latent variables good features?** Labels have played no part so far; they are used now, for the evaluation
# only. A **linear probe** is a linear classifier (logistic regression) on the posterior means: it asks whether the
# classes can be told apart by a plane. The features are standardised, and the strength of the regression's penalty is
# chosen for each of them on the validation part. **Clustering** uses no label even for training: k-means with ten
# clusters on the training images; each test image goes to the nearest centre; the **adjusted Rand index** compares the
# clusters with the classes by counting pairs (0 on average for random clusters, 1 for the same partition). The
# baseline is the pixels themselves. The error of the index is the jackknife over test images.
#
# **Predict:** which is better for a probe with 100 labels, pixels or latent means? And for k-means?


# %% representations
def posterior_means(model, x, i, n=10):
    """x: (N, D) → the mean of q(z_i | ·) averaged over n draws of the layers above (N, L_i)."""
    mean = model.q_z_x(tf.repeat(tf.constant(x), n, axis=0))[1][i].loc
    return tf.reduce_mean(tf.reshape(mean, [len(x), n, -1]), axis=1).numpy()


def rand_index(labels, clusters):
    """Adjusted Rand index and its jackknife standard error over the images (N,)."""
    _, first, count = np.unique(np.stack([labels, clusters]), axis=1, return_index=True, return_counts=True)
    without = [adjusted_rand_score(np.delete(labels, i), np.delete(clusters, i)) for i in first]
    without = np.repeat(without, count)  # images of one class in one cluster are interchangeable
    error = np.sqrt((len(labels) - 1) * without.var())
    return evaluation.Estimate(adjusted_rand_score(labels, clusters), error)


def probe(a, labels, held_out, held_out_labels):
    """Logistic regression on standardised features a (N, L), its penalty chosen on held-out images."""
    fits = []
    for C in [0.01, 0.1, 1.0, 10.0]:
        steps = [StandardScaler(), LogisticRegression(C=C, max_iter=1000)]
        fits.append(make_pipeline(*steps).fit(a, labels))
    return max(fits, key=lambda fit: fit.score(held_out, held_out_labels))


inputs = {
    "pixels": lambda x: x,
    "one layer, z": lambda x: posterior_means(models["one layer, wide"], x, 0),
    "ladder 2, z₁": lambda x: posterior_means(chosen, x, 0),
    "ladder 2, z₂": lambda x: posterior_means(chosen, x, 1),
    "VQ-VAE, z_q": lambda x: tf.gather(vq.codebook, vq.c(x)).numpy().reshape(len(x), -1),
}
learn, labels = parts["train"][:2000], digits.train_labels[:2000]
test_labels = digits.test_labels[: len(images)]
right = {}
print(f"{'':14}dimensions   probe, 100 labels   minus pixels    {len(learn):,} labels   minus pixels    ARI")
for name, represent in inputs.items():
    a, b, c = represent(learn), represent(images), represent(parts["validation"][:500])
    line = f"{name:>14}{a.shape[1]:8d}   "
    for n in [100, len(learn)]:
        fit = probe(a[:n], labels[:n], c, digits.validation_labels[:500])
        right[name, n] = (fit.predict(b) == test_labels).astype(float)
        gain = paired_difference(right[name, n], right["pixels", n])
        line += f"{right[name, n].mean():14.3f}   {gain!s:>18}"
    clusters = KMeans(10, n_init=5, random_state=seed).fit(a).predict(b)
    print(f"{line}     {rand_index(test_labels, clusters)}")

# %% [markdown] representations_say
# **No code is a better feature here than the pixels.** With 100 labels the bottom layer of the ladder is level with
# them, and both bottom layers are in clustering. With all labels every code is worse: the bottom layers lose 5 to 6
# percentage points, the top layer 8, the codes of the VQ-VAE 11. On $8 \times 8$ scans a linear classifier is good
# already, and a code of 16 or 8 numbers has been chosen for its use in redrawing the image, not in naming it. The top
# layer has eight numbers; the code has been rounded to 16 bits. A good density is no promise of good features. On
# larger images, where pixels are poor features, the comparison may well turn out otherwise; it has to be measured.

# %% [markdown] wrong_text
# **What went wrong this week, on purpose:** a ladder without warm-up lost two of its three layers (section 3), and a
# codebook that started far from the encoder's outputs lost most of its codes (section 5). Both are bad starts. The
# cures give every part a chance to become useful before it is judged: warm-up or free bits the one; a start at the
# data, or restarts, the other. (A chance only: with warm-up the top layer of this run got no further than 0.03 nats.)

# %% [markdown] scoreboard_text
# ## 8 · The scoreboard
#
# The ladders' values are lower bounds with $K$ importance samples. The VQ-VAE has two rows: its bound, which is all one
# has for larger codes, and the exact value over all codes. All differences are paired with week 1's mixture.


# %% board
test_bounds, compare_with = {}, "Mixture of 160 Bernoullis" if dataset == "digits" else None
for layers in [2, 3]:
    name, model = f"ladder {layers}", models[f"ladder {layers}"]
    test_bounds[name], elbo = importance_bound(model, test, importance_samples)
    scoreboard.enter(
        lambda n, model=model: model.sample(n)[1],
        week=7,
        model=f"Ladder VAE, {layers} layers",
        family="VAE",
        data=dataset,
        per_image=test_bounds[name],
        kind="lower bound",
        train_seconds=seconds[name],
        parameters=size(model),
        note=f"{importance_samples:,} importance samples; ELBO −{-elbo.mean():.2f}",
        **uses.get(name, {}),
    )
vq_rows = [("bound", bound, "lower bound")]
if enumerable:
    vq_rows.append(("all codes", exact, "exact"))
for name, values, kind in vq_rows:
    scoreboard.enter(
        lambda n: vq.p_x_c(prior.sample(n)).sample(),
        week=7,
        model=f"VQ-VAE with prior, {positions} codes of {codes}, {name}",
        family="VAE",
        data=dataset,
        per_image=values,
        kind=kind,
        train_seconds=vq_seconds["start at data, revived"] + prior_seconds,
        parameters=size(vq, prior) + codes * code_size,
        **(uses["VQ-VAE"] if name == vq_rows[-1][0] else {}),  # computed with the sum, where there is one
    )

# %% grey_board
scoreboard.enter(
    lambda n: grey_model.sample(n)[1],
    week=7,
    model="Ladder VAE, 2 layers",
    family="VAE",
    data="digits-grey",
    unit="bits per dimension",
    per_image=bits["ladder 2"],
    kind="lower bound",
    train_seconds=grey_seconds,
    parameters=size(grey_model),
)
histograms = 64 * 16  # free numbers of one component
for name, baseline, parameters in [
    (f"Mixture of {best_K} products of histograms", bits["mixture"], best_K * (histograms + 1) - 1),
    ("Independent pixel histograms", bits["pixel histograms"], histograms),
]:
    row = {"data": "digits-grey", "unit": "bits per dimension", "parameters": parameters}
    row |= {"value": baseline.mean(), "per_image": baseline}
    scoreboard.record(scoreboard.Row(week=7, model=name, family="mixture", kind="exact", **row))
for row in scoreboard.reference():
    if (row.week, row.data) == (6, dataset) and row.model.startswith("VAE"):
        for name, values in test_bounds.items():
            print(f"{name} minus week 6's {row.model}: {paired_difference(values, row.per_image)} nats")
scoreboard.table(compare_with=compare_with)

# %% [markdown] board_says
# Both ladders are ahead of the mixture, by 0.4 nats, more than three errors. These do not contain the noise of
# training: between four seeds (section 3) it was 0.05 nats for two layers, 0.3 for three, so the lead of the
# latter may be luck. They need three to five times as many parameters. The ELBO, in the notes, is a nat lower than
# the bound with importance samples: a comparison by ELBO would have put the ladders below the mixture, and wrongly
# so. Week 6's VAE, one layer trained for longer, is about as good (0.06 nats behind); its IWAE, one layer as well, is a
# quarter of a nat ahead. (Its bounds have twice as many importance samples: about a hundredth.) On
# 64 pixels nothing here shows that a hierarchy is needed.
#
# The VQ-VAE does not win. By its bound it loses almost three nats, by the exact value a third of a nat. Three possible
# causes of what remains, which we have not separated: the training looks at one code an image and with a uniform
# prior; four codes of 16 carry 11 nats at most, and the pixels have to pay for the rest independently; and the prior
# is learned from 1,197 sequences. Its strength is elsewhere, in images, sound and video, where a long sequence of
# codes is much easier to model than pixels (weeks 10 and 14).

# %% [markdown] check_text
# ## Self-check
#
# Five questions; every answer explains itself.


# %% self_check
quiz.show("week07_deep_latents")

# %% [markdown] class
# **Bring to class** (no easy answers):
#
# 1. Section 1 shows collapse as the optimum of the likelihood, section 3 as a bad start. You train a VAE on new data and
#    find half of its units inactive. Which experiments tell you which of the two it is?
# 2. The exact value of the VQ-VAE is nats better than its bound, yet the training only ever looked at one code an image.
#    Would you change the training, and into what? What would be lost on images with $32 \times 32$ codes?
# 3. A ladder with two layers and a VAE with one layer and a flexible prior $p(z_1)$: is there any difference? What
#    would a third layer have to do to pay for itself?
# 4. A probe finds the class in the latent means more easily than in the pixels. Is that a virtue of the model, of the
#    probe, or of the number of labels? How would you find out?

# %% [markdown] bigger
# ## Going bigger
#
# The same notebook on MNIST, binarised afresh each time an image is used: change the `parameters` cell only.
# (Maintainers: `make benchmark WEEK=week07_deep_latents`.)
#
# ```python
# dataset = "mnist"
# hidden = 200
# latent = [50, 20, 10]
# epochs = 40
# warm_up = 0.4
# batch_size = 100
# learning_rate = 0.004
# xla = True
# importance_samples = 500
# positions = 16
# codes = 64
# code_size = 8
# vq_epochs = 15
# prior_epochs = 10
# ```
#
# Here the codes are too many to be summed ($64^{16} = 2^{96}$), so the VQ-VAE has its bound only, and for imputing
# codes are drawn from its prior. The grey digits of section 4 stay as they are. Measured on two CPU cores:
#
# | model | measured | training |
# |---|---|---|
# | Ladder VAE, 2 layers | ≥ −88.74 nats | 83 s |
# | Ladder VAE, 3 layers | ≥ −89.17 nats | 96 s |
# | VQ-VAE with prior, 16 codes of 64, bound | ≥ −116.58 nats | 66 s |
#
# The ladders have 500 importance samples. The whole notebook took 15 minutes and up to 6 GB; an older machine with two
# cores took twice as long and up to 10 GB. On a GPU it has not been measured. What it shows: without warm-up the
# ladder of three layers loses 8 nats, with free bits it gains 0.7 ± 0.3 (validation images, one training each); from
# the far random start 3 of the 64 codes are used, started at the data and revived all of them. The *effective number*
# of draws was 1 for both models, imputing and repairing, and the VQ-VAE's anomaly score uses such draws too. So do not
# trust that part: it would need a proposal that looks at the image, as week 6's chain does.
#
# For comparison, Burda et al. (2016) report −86.76 nats for a VAE with one layer and 5,000 importance samples, and a
# clearly better value for two layers trained as IWAE with 50 samples; Sønderby et al. (2016) report −81.74 with five
# layers, batch normalisation, a warm-up and fine-tuning with importance samples. Both train for far longer, and so does
# week 6's VAE: 200 passes over the data where the ladders have 40.

# %% [markdown] summary
# ## Summary
#
# - Activity and KL of each dimension measure collapse. In a linear VAE both are functions of $\lambda_i / \sigma^2$, and
#   collapse below 1 is what maximum likelihood wants.
# - Free bits and a warm-up change the objective of the training. They help against a bad start; neither belongs
#   into what is reported.
# - The ladder's posterior is Bayes' rule for Gaussians: precisions add. Its bound has one KL for each layer. In a chain
#   the KL of an upper layer is no information about the image.
# - A VQ-VAE is trained by a gradient that is passed straight through and by k-means with a moving average. Codes that
#   start far from the encoder's outputs can stay unused; a start at the data, or restarts, prevents it.
# - $\log p(c(x)) + \log p(x \mid c(x))$ is a bound, and can be nats away from $\log p(x)$. With few codes the sum can be
#   done, and the model is a mixture of Bernoullis.
#
# ## References
#
# - Y. Burda, R. Grosse, R. Salakhutdinov (2016). Importance weighted autoencoders. ICLR.
# - P. Dhariwal, H. Jun, C. Payne, J. W. Kim, A. Radford, I. Sutskever (2020). Jukebox: a generative model for music. arXiv
#   2005.00341.
# - D. Kingma, T. Salimans, R. Jozefowicz, X. Chen, I. Sutskever, M. Welling (2016). Improved variational inference with
#   inverse autoregressive flow. NeurIPS.
# - J. Lucas, G. Tucker, R. Grosse, M. Norouzi (2019). Don't blame the ELBO! A linear VAE perspective on posterior
#   collapse. NeurIPS.
# - K. Murphy (2023). Probabilistic Machine Learning: Advanced Topics. MIT Press.
# - A. van den Oord, O. Vinyals, K. Kavukcuoglu (2017). Neural discrete representation learning. NeurIPS.
# - T. Salimans, A. Karpathy, X. Chen, D. Kingma (2017). PixelCNN++: improving the PixelCNN with discretized logistic
#   mixture likelihood and other modifications. ICLR.
# - C. Sønderby, T. Raiko, L. Maaløe, S. Sønderby, O. Winther (2016). Ladder variational autoencoders. NeurIPS.
