# %% [markdown] title
# # Week 6 · Variational autoencoders
#
# {{colab}}
#
# A latent variable model with networks inside: nobody can sum out its causes, so a second network learns to guess
# them, and a lower bound takes the place of the likelihood.
#
# **After this notebook you can**
#
# 1. derive the evidence lower bound (ELBO) in two forms, and check both where the likelihood is known exactly;
# 2. differentiate an expectation in two ways, and say why one of them is hundreds of times less noisy;
# 3. write a VAE as a `keras.Model` with its own `train_step`, train it with `fit`, look into its latent space;
# 4. tighten the bound by importance sampling (IWAE), as a measure and as an objective, and say where the rest of the
#    gap comes from;
# 5. condition a VAE, complete and repair images with it, and see why a text VAE forgets its latent variable.
#
# *Time:* reading 3 hours, this notebook 2 to 3 hours. It computes for about a minute on two CPU cores.

# %% [markdown] reading
# ## Reading
#
# | what | minutes |
# |---|---|
# | **Main:** Bishop and Bishop, *Deep Learning: Foundations and Concepts*: 19.2 (variational autoencoders). | 40 |
# | Kingma and Welling (2019), *An introduction to variational autoencoders*: chapters 1 and 2. Skip the parts on posteriors other than a diagonal Gaussian. | 90 |
# | Burda, Grosse and Salakhutdinov (2016), *Importance weighted autoencoders*: the bound and its properties; look at the table of results. | 30 |
#
# Alternatives: Prince, *Understanding Deep Learning*, chapter 17; Murphy, *Probabilistic Machine Learning: Advanced
# Topics*, 21.1 to 21.3. On text: Bowman et al. (2016), *Generating sentences from a continuous space*.
#
# **Focus questions.** Have an answer to each before you go on.
#
# 1. What exactly is the difference between $\log p(x)$ and the ELBO? Who can make it small, the encoder or the decoder?
# 2. Why can we not just draw $z \sim q_\phi(z \mid x)$ and differentiate with respect to $\phi$?
# 3. The ELBO has a term that pulls $q(z \mid x)$ to the prior. Is it a regulariser that one could leave out?
# 4. A decoder so strong that it needs no $z$: what is the best $q(z \mid x)$ then?
#
# **Letters.** B batch, D pixels, L latent dimensions, K importance samples (in the literature $k$), T words. Pixels are 0 or 1, $z$ is
# real. $\theta$ are the parameters of the model, those of the decoder; $\phi$ those of the encoder.

# %% setup

# %% parameters tags=["parameters"]
dataset = "digits"  # "mnist" for the published comparison: see "Going bigger"
hidden = [200]  # units in each hidden layer of the encoder; the decoder has them in reverse order
latent = 16  # L
epochs = 120  # passes over the training images, for the VAE
iwae_epochs = 120  # for the IWAE
train_samples = 5  # K in the objective of the IWAE
warm_start = False  # let the IWAE start from the trained VAE?
conditional_epochs = 120  # for the conditional VAE
study_epochs = 50  # for the VAEs with L = 2 and with other β
batch_size = 50  # images a gradient step
learning_rate = 0.01  # of Adam; falls to 0 along a cosine
test_samples = 1000  # K in the bounds on test images
class_samples = 200  # K for each class of the conditional VAE
study_images = 100  # images for the bounds with K up to 5,000 and for the search of the best q
xla = False  # compile the training step by XLA: pays for long training only
sentences = 20_000  # sentences of the text VAE
text_epochs = 4  # passes over them
seed = 0

# %% imports
import math
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from scipy.stats import norm
from tensorflow_probability import distributions as tfd
from tqdm.keras import TqdmCallback

from utils import datasets, evaluation, plotting

digits = datasets.load(dataset)
rng = tf.random.Generator.from_seed(seed)
print(digits)

# %% [markdown] bound_text
# ## 1 · The bound, on a model that is exact
#
# A **latent variable model** draws a cause $z$ from a prior $p(z)$, then the data from $p_\theta(x \mid z)$. Week 1
# had two: the mixture, whose cause is one of K numbers, and probabilistic PCA (PPCA), whose cause is a Gaussian vector and whose
# $p(x \mid z)$ is linear. There $p_\theta(x) = \int p(z)\, p_\theta(x \mid z)\, dz$ could be computed. With a
# network inside $p_\theta(x \mid z)$ it cannot.
#
# **First form.** Take any density $q(z)$ that is positive wherever $p(z)\, p_\theta(x \mid z)$ is. By Bayes' rule
# $p_\theta(x) = p(z)\, p_\theta(x \mid z) / p_\theta(z \mid x)$ for *every* $z$. Take the logarithm, extend by $q(z)$, and take the mean
# over $z \sim q$; the left-hand side does not depend on $z$:
#
# $$\log p_\theta(x) = \mathbb{E}_{q}\left[\log \frac{p(z)\, p_\theta(x \mid z)}{q(z)}\right]
# + \mathbb{E}_{q}\left[\log \frac{q(z)}{p_\theta(z \mid x)}\right]
# = \mathrm{ELBO} + \mathrm{KL}\left(q(z) \,\|\, p_\theta(z \mid x)\right).$$
#
# The first mean is the **evidence lower bound**. A divergence is never negative, so
#
# $$\mathrm{ELBO} = \log p_\theta(x) - \mathrm{KL}\left(q(z) \,\|\, p_\theta(z \mid x)\right) \le \log p_\theta(x),$$
#
# with equality exactly if $q$ is the true posterior. (Week 4's mean field maximised this bound over products.)
#
# **Second form.** Split the logarithm in the definition the other way:
#
# $$\mathrm{ELBO} = \mathbb{E}_{q}\left[\log p_\theta(x \mid z)\right] - \mathbb{E}_q\left[\log \frac{q(z)}{p(z)}\right]
# = \underbrace{\mathbb{E}_{q}\left[\log p_\theta(x \mid z)\right]}_{\text{reconstruction}}
# - \underbrace{\mathrm{KL}\left(q(z) \,\|\, p(z)\right)}_{\text{rate}}.$$
#
# The first form says what the bound is. The second can be computed, since the posterior does not occur in it.
#
# **The KL of two Gaussians.** For $q = \mathcal{N}(a, A)$ and $p = \mathcal{N}(b, B)$ in L dimensions,
# $\log q(z) - \log p(z) = \frac12 \left[\log\det B - \log\det A + (z - b)^\top B^{-1} (z - b) - (z - a)^\top A^{-1} (z - a)\right]$.
# Under $q$, $z - b$ has the mean $a - b$ and the covariance $A$, so $(z - b)^\top B^{-1} (z - b) = \mathrm{tr}(B^{-1} (z - b)(z - b)^\top)$
# has the mean $\mathrm{tr}(B^{-1} A) + (a - b)^\top B^{-1} (a - b)$; the same with $a$, $A$ in place of $b$, $B$ gives L. So
#
# $$\mathrm{KL}(q \,\|\, p) = \frac12 \left[\mathrm{tr}(B^{-1} A) + (a - b)^\top B^{-1} (a - b) - L + \log\frac{\det B}{\det A}\right].$$
#
# For a diagonal $A = \mathrm{diag}(s^2)$ and the prior $\mathcal{N}(0, I)$ this is
# $\frac12 \sum_l \left[s_l^2 + a_l^2 - 1 - \log s_l^2\right]$.
#
# **A linear VAE is PPCA.** With $p(z) = \mathcal{N}(0, I)$ and $p(x \mid z) = \mathcal{N}(W z + m, \sigma^2 I)$ week 1
# gave $p(x) = \mathcal{N}(m, W W^\top + \sigma^2 I)$ and the posterior
# $\mathcal{N}(M^{-1} W^\top (x - m), \sigma^2 M^{-1})$, $M = W^\top W + \sigma^2 I$. And for $q = \mathcal{N}(a, A)$ the reconstruction is
#
# $$\mathbb{E}_q[\log p(x \mid z)] = -\tfrac12 \left[D \log 2\pi\sigma^2 + \frac{|x - m - W a|^2 + \mathrm{tr}(W A W^\top)}{\sigma^2}\right],$$
#
# so everything in both forms has a closed form. The posterior's *mean* is linear in $x$, its *covariance* the same for all $x$: a
# linear encoder can hit it.


# %% linear
def gaussian_kl(a, A, b, B):
    """KL(N(a, A) ‖ N(b, B)): means (..., L), covariances (..., L, L) → (...) nats."""
    d, inverse = a - b, tf.linalg.inv(B)
    square = tf.einsum("...i,...ij,...j->...", d, inverse, d)
    trace = tf.linalg.trace(inverse @ A)
    return 0.5 * (trace + square - a.shape[-1] + tf.linalg.logdet(B) - tf.linalg.logdet(A))


class PPCA:
    """p(z) = N(0, I), p(x | z) = N(Wz + m, σ² I); W: (D, L), m: (D,), sigma2 = σ². The linear VAE's model."""

    def __init__(self, W, m, sigma2):
        self.W, self.m, self.sigma2 = W, m, sigma2
        self.I = tf.eye(W.shape[1], dtype=W.dtype)  # (L, L)
        self.M = tf.matmul(W, W, transpose_a=True) + sigma2 * self.I

    def log_prob(self, x):
        """x: (B, D) → (B,) nats, exactly."""
        C = tf.matmul(self.W, self.W, transpose_b=True) + self.sigma2 * tf.eye(len(self.m), dtype=x.dtype)
        return tfd.MultivariateNormalTriL(self.m, tf.linalg.cholesky(C)).log_prob(x)

    def posterior(self, x):
        """x: (B, D) → the mean (B, L) and the covariance (L, L) of p(z | x)."""
        return (x - self.m) @ self.W @ tf.linalg.inv(self.M), self.sigma2 * tf.linalg.inv(self.M)

    def elbo(self, x, a, A):
        """The bound for q = N(a, A) in closed form, reconstruction − KL. x: (B, D), a: (B, L), A: (L, L) → (B,) nats."""
        square = tf.reduce_sum((x - self.m - tf.matmul(a, self.W, transpose_b=True)) ** 2, axis=-1)
        spread = tf.linalg.trace(tf.matmul(self.W, self.W, transpose_a=True) @ A)
        logpx_z = -0.5 * (
            len(self.m) * tf.math.log(2 * np.pi * self.sigma2) + (square + spread) / self.sigma2
        )
        kl = gaussian_kl(a, A, tf.zeros_like(a), self.I)
        return logpx_z - kl


def fit_ppca(x, L):
    """Maximum likelihood in closed form (week 1). x: (N, D) float64, L < D."""
    m = tf.reduce_mean(x, axis=0)
    lam, U = tf.linalg.eigh(tf.matmul(x - m, x - m, transpose_a=True) / len(x))  # ascending
    lam, U = lam[::-1], U[:, ::-1]
    sigma2 = tf.reduce_mean(lam[L:])
    return PPCA(U[:, :L] * tf.sqrt(lam[:L] - sigma2), m, sigma2)


# %% [markdown] linear_check_text
# **Check.** 500 points in 8 dimensions are fitted by PPCA with $L = 3$. We compute the bound for three choices of $q$, in both
# forms. The *rotated* model has $W R$ in place of $W$, with an orthogonal matrix $R$: the same $p(x)$, since
# $W R R^\top W^\top = W W^\top$. Its $q$ is the best one with a *diagonal* covariance. (As a function of $\log s_l$ the bound
# is $\sum_l [\log s_l - \frac{M_{ll}}{2\sigma^2} s_l^2]$ and a constant, so $s_l^2 = \sigma^2 / M_{ll}$.)
#
# **Predict:** for which of the four rows is the bound tight? Is a diagonal $q$ enough for the maximum-likelihood $W$?

# %% linear_check
draw = np.random.default_rng(seed)
x = tf.constant(
    draw.normal(size=(500, 3)) @ draw.normal(size=(3, 8)) + 0.7 * draw.normal(size=(500, 8)) + 1.0
)
ppca = fit_ppca(x, 3)
rotation = tf.linalg.qr(tf.constant(draw.normal(size=(3, 3))))[0]
rotated = PPCA(ppca.W @ rotation, ppca.m, ppca.sigma2)
mean, covariance = ppca.posterior(x)
diagonal = {model: tf.linalg.diag(model.sigma2 / tf.linalg.diag_part(model.M)) for model in (ppca, rotated)}
log_p = ppca.log_prob(x)
np.testing.assert_allclose(rotated.log_prob(x), log_p, rtol=1e-10)
a, A, b, B = mean[:5], covariance, tf.zeros_like(mean[:5]), ppca.I
theirs = tfd.MultivariateNormalTriL(a, tf.linalg.cholesky(A)).kl_divergence(tfd.MultivariateNormalTriL(b, B))
np.testing.assert_allclose(gaussian_kl(a, A, b, B), theirs, rtol=1e-10)
np.testing.assert_allclose(
    gaussian_kl(b, B, a, A)[0],
    tfd.kl_divergence(*[tfd.MultivariateNormalTriL(*p) for p in ((b[0], B), (a[0], tf.linalg.cholesky(A)))]),
    rtol=1e-10,
)

print(f"exact: {tf.reduce_mean(log_p):.4f} nats a point")
for name, model, a, A in [
    ("true posterior", ppca, mean, covariance),
    ("best diagonal q", ppca, mean, diagonal[ppca]),
    ("best diagonal q, rotated W", rotated, rotated.posterior(x)[0], diagonal[rotated]),
    ("prior as q", ppca, tf.zeros_like(mean), ppca.I),
]:
    elbo, gap = model.elbo(x, a, A), gaussian_kl(a, A, *model.posterior(x))
    np.testing.assert_allclose(elbo, log_p - gap, rtol=1e-10)  # the two forms
    assert np.all(elbo <= log_p + 1e-9)
    print(f"{name:>27}: ELBO {tf.reduce_mean(elbo):9.4f}, KL to the posterior {tf.reduce_mean(gap):8.4f}")
    if model is ppca and A is not ppca.I:
        np.testing.assert_allclose(elbo, log_p, rtol=1e-10)  # tight

# %% [markdown] linear_says
# At maximum likelihood the columns of $W$ are orthogonal, so $M$ is diagonal, and a diagonal $q$ is the posterior. A rotation does not change
# $p(x)$, but it couples the latent variables in the posterior, and a diagonal $q$ then pays for it. So
# a VAE with a diagonal $q$ does have preferred axes: those along which its posterior is diagonal (Lucas et al., 2019). And with $q$ equal to the prior
# the rate is 0, but the bound is many nats off.

# %% [markdown] gradient_text
# ## 2 · Two gradients of an expectation
#
# The bound is to be maximised by gradient ascent in the parameters $\phi$ of $q_\phi$. Its gradient is that of an expectation over a distribution
# that itself depends on $\phi$. Let $f(z) = \log p(z)\, p(x \mid z) - \log q_\phi(z)$.
#
# **Score function.** Write $\nabla_\phi q_\phi = q_\phi \nabla_\phi \log q_\phi$ under the integral:
#
# $$\nabla_\phi\, \mathbb{E}_{q_\phi}[f(z)] = \int f(z)\, \nabla_\phi q_\phi(z)\, dz + \mathbb{E}_{q_\phi}[\nabla_\phi f(z)]
# = \mathbb{E}_{q_\phi}\left[f(z)\, \nabla_\phi \log q_\phi(z)\right] - \mathbb{E}_{q_\phi}[\nabla_\phi \log q_\phi(z)],$$
#
# and the last mean is $\int \nabla_\phi q_\phi\, dz = \nabla_\phi 1 = 0$. It needs only values of $f$, so $z$ may even be discrete. For the same
# reason any constant may be subtracted from $f$, a *baseline*: here, for each of N draws, the mean of $f$ over the other draws.
#
# **Reparameterisation.** Draw $\epsilon \sim \mathcal{N}(0, I)$, whose distribution does not depend on $\phi$, and set
# $z = \mu + s \odot \epsilon$, $\phi = (\mu, \log s)$. Then the gradient moves inside the expectation:
#
# $$\nabla_\phi\, \mathbb{E}_{q_\phi}[f(z)] = \mathbb{E}_{\epsilon}\left[\nabla_\phi f(\mu + s \odot \epsilon)\right].$$
#
# It uses the *slope* of $f$ at $z$, where the score function has to infer the slope from values. Both are unbiased. For
# the linear VAE we know the exact gradient, by differentiating the closed form of section 1.
#
# **Predict:** how does the variance of each estimator grow with the number of latent dimensions?


# %% estimators
def log_ratio(model, x, z, mu, log_s):
    """f(z) = log p(z) + log p(x | z) − log q(z). x: (D,), z, mu, log_s: (N, L) → (N,) nats."""
    logpz = tfd.MultivariateNormalDiag(tf.zeros_like(z), tf.ones_like(z)).log_prob(z)
    mean = tf.matmul(z, model.W, transpose_b=True) + model.m
    logpx_z = tfd.Independent(tfd.Normal(mean, tf.sqrt(model.sigma2)), 1).log_prob(x)
    logqz = tfd.MultivariateNormalDiag(mu, tf.exp(log_s)).log_prob(z)
    return logpx_z + logpz - logqz


def gradients(model, x, mu, log_s, N, rng):
    """N one-sample estimates of the gradient in (μ, log s): {name: (N, 2L)}. Each draw has its own copy of (μ, log s)."""
    mu, log_s = (tf.tile(t[None], [N, 1]) for t in (mu, log_s))
    estimates, eps = {}, rng.normal(tf.shape(mu), dtype=mu.dtype)
    with tf.GradientTape() as tape:
        tape.watch([mu, log_s])
        f = log_ratio(model, x, mu + tf.exp(log_s) * eps, mu, log_s)
    estimates["reparameterisation"] = tf.concat(tape.gradient(f, [mu, log_s]), axis=1)
    z = mu + tf.exp(log_s) * eps  # now a constant
    f = log_ratio(model, x, z, mu, log_s)
    others = (tf.reduce_sum(f) - f) / (N - 1)
    for name, weight in [("score function", f), ("score function, baseline", f - others)]:
        with tf.GradientTape() as tape:
            tape.watch([mu, log_s])
            weighted = weight * tfd.MultivariateNormalDiag(mu, tf.exp(log_s)).log_prob(z)
        estimates[name] = tf.concat(tape.gradient(weighted, [mu, log_s]), axis=1)
    return estimates


def exact_gradient(model, x, mu, log_s):
    """The gradient of the closed form in (μ, log s): (2L,)."""
    with tf.GradientTape() as tape:
        tape.watch([mu, log_s])
        elbo = model.elbo(x[None], mu[None], tf.linalg.diag(tf.exp(2 * log_s)))
    return tf.concat(tape.gradient(elbo, [mu, log_s]), axis=0)


# %% variance
N, sizes = 4000, np.array([1, 2, 4, 8, 16, 32])
variance, worst = {}, 0.0
for L in sizes:
    draw = np.random.default_rng(int(L))
    model = PPCA(
        *(
            tf.constant(t)
            for t in (draw.normal(size=(2 * L, L)) / np.sqrt(2 * L), np.zeros(2 * L), np.array(0.25))
        )
    )
    point = tf.constant(model.W.numpy() @ draw.normal(size=L) + 0.5 * draw.normal(size=2 * L))
    mu, log_s = tf.constant(0.5 * draw.normal(size=L)), tf.constant(np.full(L, np.log(0.5)))
    exact = exact_gradient(model, point, mu, log_s)
    for name, g in gradients(model, point, mu, log_s, N, rng).items():
        g = g.numpy()
        z_scores = (g.mean(axis=0) - exact) / (g.std(axis=0, ddof=1) / np.sqrt(N))
        worst = max(worst, np.abs(z_scores).max())
        variance.setdefault(name, []).append(g[:, :L].var(axis=0).mean())
count = 3 * 2 * sizes.sum()
assert worst < 6
print(f"largest of {count} z-scores, mean of {N:,} estimates against the exact gradient: {worst:.1f}")
ratios = [variance["score function"][i] / variance["reparameterisation"][i] for i in (0, -1)]
plotting.learning_curves(
    {name: (sizes, v) for name, v in variance.items()},
    "latent dimensions L",
    "variance of one estimate (mean over ∂/∂μ)",
    "All three estimators are unbiased. The variance of the score function grows with L, that of the reparameterised gradient "
    f"hardly does: {ratios[0]:.0f} times less at L = 1, {ratios[1]:,.0f} times at L = {sizes[-1]}. The baseline helps and does not cure.",
    "Two curves rise with the number of dimensions; that of reparameterisation stays low and nearly level.",
    xlog=True,
    ylog=True,
)

# %% [markdown] variance_says
# The score function multiplies a vector by the *value* of $f$, a sum over all pixels and all latent dimensions; whatever the other dimensions do
# enters the gradient of each one as noise. The slope along $z_l$ knows nothing of that. Where $z$ is discrete (week 7) there is
# no $\epsilon$ to differentiate through.

# %% [markdown] vae_text
# ## 3 · The variational autoencoder
#
# Two networks (Kingma and Welling, 2014; Rezende et al., 2014):
#
# - the **decoder** maps $z$ to the logits of all pixels, $p_\theta(x \mid z) = \prod_d \mathrm{Bernoulli}(x_d;\, \sigma(\text{logit}_d(z)))$;
# - the **encoder** maps $x$ to the mean and the log of the scale of
#   $q_\phi(z \mid x) = \mathcal{N}(\mu_\phi(x), \mathrm{diag}(s_\phi(x)^2))$.
#
# One encoder serves all images: that is called *amortised* inference. Both networks climb the same bound: the decoder makes the images more
# probable, the encoder makes the bound tighter. The second form gives the code, a line for a term; the KL in closed form, the reconstruction by one
# reparameterised draw. (`sample` of a Gaussian in `tfd` is reparameterised.)
#
# The class is the pattern of all later weeks: encoder, decoder and prior are distributions with `log_prob` and `sample`;
# `train_step` says what is done with a batch, and Keras' `fit` does the rest: epochs, progress bar, metrics.


# %% vae
class MLP(keras.layers.Layer):
    """Dense layers with tanh between them: (..., sizes[0]) → (..., sizes[-1])."""

    def __init__(self, *sizes):
        super().__init__()
        self.hidden = [keras.layers.Dense(n, "tanh") for n in sizes[1:-1]]
        self.last = keras.layers.Dense(sizes[-1])
        for n, layer in zip(sizes, [*self.hidden, self.last]):
            layer.build((None, n))

    def call(self, x):
        for layer in self.hidden:
            x = layer(x)
        return self.last(x)


class VAE(keras.Model):
    """p(z) = N(0, I), p(x | z) = Π_d Bernoulli(x_d), q(z | x) = N(μ(x), diag s(x)²); x: (B, D), z: (..., B, L)."""

    def __init__(self, D, hidden, L):
        super().__init__()
        self.L = L
        self.encoder = MLP(D, *hidden, 2 * L)
        self.decoder = MLP(L, *reversed(hidden), D)
        self.bound = keras.metrics.Mean("bound")

    def p_z(self):
        return tfd.MultivariateNormalDiag(tf.zeros(self.L), tf.ones(self.L))

    def q_z_x(self, x):
        mean, log_scale = tf.split(self.encoder(x), 2, axis=-1)
        return tfd.MultivariateNormalDiag(mean, tf.exp(log_scale))

    def p_x_z(self, z):
        return tfd.Independent(tfd.Bernoulli(logits=self.decoder(z)), 1)

    def terms(self, x):
        """x: (B, D) → log p(x | z) for one draw of z, and KL(q(z | x) ‖ p(z)): (B,) each, nats."""
        q = self.q_z_x(x)
        logpx_z = self.p_x_z(q.sample()).log_prob(x)
        kl = tfd.kl_divergence(q, self.p_z())
        return logpx_z, kl

    def elbo(self, x):
        """x: (B, D) → (B,) nats, unbiased for the ELBO."""
        logpx_z, kl = self.terms(x)
        return logpx_z - kl

    def objective(self, x):
        """What training maximises."""
        return self.elbo(x)

    def train_step(self, x):
        with tf.GradientTape() as tape:
            bound = self.objective(x)
            loss = -tf.reduce_mean(bound)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        self.bound.update_state(bound)
        return {"bound": self.bound.result()}

    def test_step(self, x):
        self.bound.update_state(self.objective(x))
        return {"bound": self.bound.result()}

    def log_weights(self, x, K):
        """x: (B, D) → (K, B): log p(x | z) + log p(z) − log q(z | x) for K draws of z ~ q(z | x) (section 4)."""
        q = self.q_z_x(x)
        z = q.sample(K)  # (K, B, L)
        logpx_z = self.p_x_z(z).log_prob(x)
        logpz = self.p_z().log_prob(z)
        logqz_x = q.log_prob(z)
        return logpx_z + logpz - logqz_x


# %% train
def bernoulli(p):
    """0/1 draws with probabilities p (any shape). Images of 0 and 1 stay as they are."""
    return tf.math.ceil(p - tf.random.uniform(tf.shape(p)))


def batches(x, y=None, B=50, seed=0):
    """Shuffled batches of images x (N, D), drawn afresh where they are grey, alone or with y (N, C)."""
    if y is None:
        data = tf.data.Dataset.from_tensor_slices(x).shuffle(len(x), seed).batch(B, drop_remainder=True)
        return data.map(bernoulli) if x.dtype == np.float32 else data
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed).batch(B, drop_remainder=True)
    return data.map(lambda x, y: (bernoulli(x), y))


def train(model, data, epochs, rate, xla=False):
    """Adam with a rate that falls to 0 along a cosine; one graph call an epoch. Returns the seconds."""
    steps = len(data)
    schedule = keras.optimizers.schedules.CosineDecay(rate, epochs * steps)
    model.compile(keras.optimizers.Adam(schedule), steps_per_execution=steps, jit_compile=xla)
    began = time.perf_counter()
    model.fit(data, epochs=epochs, shuffle=False, verbose=0, callbacks=[TqdmCallback(verbose=0)])
    return time.perf_counter() - began


# %% [markdown] linear_fit_text
# **Check of the training code.** A VAE without hidden layers and with a Gaussian $p(x \mid z)$ is the linear VAE. Trained by `fit` on the 500 points
# of section 1 it must meet PPCA's closed-form solution, and its bound must stay below its exact likelihood.


# %% linear_fit
class LinearVAE(VAE):
    """No hidden layers, p(x | z) = N(Wz + m, σ² I). After training `ppca` reads off W, m and σ²."""

    def __init__(self, D, L):
        super().__init__(D, [], L)
        self.encoder.last.kernel.assign(tf.zeros([D, 2 * L]))  # else the first scales of q are huge
        self.log_sigma = self.add_weight(name="log_sigma", initializer="zeros")

    def p_x_z(self, z):
        return tfd.Independent(tfd.Normal(self.decoder(z), tf.exp(self.log_sigma)), 1)

    def ppca(self):
        W, m = (tf.cast(w, tf.float64) for w in self.decoder.weights)
        return PPCA(tf.transpose(W), m, tf.cast(tf.exp(2 * self.log_sigma), tf.float64))


linear = LinearVAE(8, 3)
points = tf.cast(x, tf.float32)
train(linear, tf.data.Dataset.from_tensors(points).repeat(400), 5, 0.02)
learned = linear.ppca()
best, exact = (float(tf.reduce_mean(p.log_prob(x))) for p in (ppca, learned))
paired = evaluation.paired_difference(
    np.mean([linear.elbo(points) for _ in range(50)], axis=0), learned.log_prob(x)
)
print(f"closed form {best:.3f}; learned, exactly {exact:.3f}; its ELBO minus that {paired} nats")
assert exact > best - 0.02 and paired.value < 5 * paired.error

# %% [markdown] digits_text
# **The digits.** Encoder and decoder have one hidden layer of 200 units, $L = 16$. Tried on validation images: 100 and 200 hidden units, tanh and
# ReLU, rates 0.003 to 0.01, dropout and weight decay. A large rate that falls to 0 was what helped; dropout and weight decay did
# harm: at 120 epochs these networks are still learning.

# %% digits
D = digits.train.shape[1]
# Grey images are binarised once for the evaluation; images of 0 and 1 stay as they are.
fresh = np.random.default_rng(seed)
parts = {
    name: (fresh.random(part.shape) < part).astype(np.float32)
    for name, part in [("train", digits.train), ("validation", digits.validation), ("test", digits.test)]
}
vae = VAE(D, hidden, latent)
vae_seconds = train(vae, batches(digits.train, B=batch_size, seed=seed), epochs, learning_rate, xla)
for name in ["train", "validation"]:
    logpx_z, kl = vae.terms(parts[name])
    print(
        f"{name:>10}: ELBO {tf.reduce_mean(logpx_z - kl):.2f} nats = reconstruction {tf.reduce_mean(logpx_z):.2f} "
        f"− rate {tf.reduce_mean(kl):.2f}"
    )
print(f"trained in {vae_seconds:.1f} s, compilation included")

# %% look
samples = bernoulli(tf.sigmoid(vae.decoder(vae.p_z().sample(20))))
originals = parts["validation"][:10]
q = vae.q_z_x(originals)
plotting.image_grid(
    np.concatenate([samples, originals, tf.sigmoid(vae.decoder(q.sample()))]),
    digits.shape,
    "Top: drawn from the model, z from the prior, then pixels. Below: validation images, and their reconstructions p(x | z) with one z drawn "
    "from q(z | x). Where is a reconstruction another digit?",
    "Two rows of sampled binary digits, a row of digits, a row of grey reconstructions that resemble them.",
    row_titles=["samples", "samples", "images", "reconstructed"],
)
rates = tf.reduce_mean(0.5 * (q.stddev() ** 2 + q.mean() ** 2 - 1) - tf.math.log(q.stddev()), axis=0).numpy()
axes = np.argsort(rates)[[-1, -2, -3, 0]]  # the three that carry most, and the one that carries least
steps = np.linspace(-2.5, 2.5, 10)
z = np.tile(q.mean()[0], (len(axes), len(steps), 1))
for row, axis in enumerate(axes):
    z[row, :, axis] = steps
plotting.image_grid(
    tf.sigmoid(vae.decoder(z.reshape(-1, latent))).numpy(),
    digits.shape,
    f"Traversals: one latent variable goes from −2.5 to 2.5, the others stay at the mean of q for the first validation image. The last row is "
    f"the variable with the lowest rate, {rates[axes[-1]]:.2f} nats.",
    "Four rows of ten digits; in three rows strokes appear, vanish or bend from left to right.",
    row_titles=[f"{rates[axis]:.2f} nats" for axis in axes],
)

# %% [markdown] map_text
# **A map.** With $L = 2$ the latent space can be drawn. The left panel shows the means of $q(z \mid x)$; the figure below it decodes a grid. The grid is
# spaced by the quantiles of $\mathcal{N}(0, 1)$, so each image stands for the same share of the prior.
#
# **β-VAE** (Higgins et al., 2017). The same training with $\log p(x \mid z) - \beta\, \mathrm{KL}$. The KL is the *rate*: how many nats $z$ tells of $x$,
# on average, to somebody who knows the prior. The reconstruction with its sign turned, $-\log p(x \mid z)$, is the *distortion*. β sets the exchange rate
# between the two; only $\beta = 1$ is a bound on $\log p(x)$. (For $\beta > 1$ the objective is lower still, so a bound, but a needlessly loose one.)
#
# **Predict:** how do samples from the prior look when $\beta = 0.1$? And at $\beta = 10$?


# %% studies
class BetaVAE(VAE):
    """Trained by log p(x | z) − β KL."""

    def __init__(self, D, hidden, L, beta):
        super().__init__(D, hidden, L)
        self.beta = beta

    def objective(self, x):
        logpx_z, kl = self.terms(x)
        return logpx_z - self.beta * kl


def study(model):
    train(model, batches(digits.train, B=batch_size, seed=seed), study_epochs, learning_rate, xla)
    return model


flat = study(VAE(D, hidden, 2))
betas = [0.1, 1.0, 10.0]
spectrum = {beta: study(BetaVAE(D, hidden, latent, beta)) for beta in betas}
traded = {
    beta: [float(tf.reduce_mean(t)) for t in m.terms(parts["validation"])] for beta, m in spectrum.items()
}
for beta, (logpx_z, kl) in traded.items():
    print(f"β = {beta:4}: distortion {-logpx_z:6.2f}, rate {kl:6.2f}, ELBO {logpx_z - kl:7.2f} nats")

# %% map
means, labels = flat.q_z_x(parts["train"][:1000]).mean().numpy(), digits.train_labels[:1000]
fig, axes = plt.subplots(1, 2, figsize=(11, 4.6))
for label in range(10):
    axes[0].scatter(*means[labels == label].T, s=40, marker=f"${label}$", linewidths=0.3)
axes[0].set(xlabel="z₁ (no unit)", ylabel="z₂ (no unit)", title="means of q(z | x), L = 2")
axes[1].plot([kl for _, kl in traded.values()], [-logpx_z for logpx_z, _ in traded.values()], "o-")
for beta, (logpx_z, kl) in traded.items():
    axes[1].annotate(f"β = {beta:g}", (kl, -logpx_z), xytext=(6, 6), textcoords="offset points")
axes[1].set(xlabel="rate (nats per image)", ylabel="distortion (nats per image)", title="β-VAE, L = 16")
plotting.show(
    fig,
    "Left: where the encoder puts training images, each drawn as its class, which it was never told. Right: three values of β, three exchange rates; "
    "along a line of slope −1 the ELBO is constant.",
    "A cloud of digits that forms regions by class; a falling curve with three marked points.",
)
quantiles = norm.ppf((np.arange(12) + 0.5) / 12)
z = np.stack(np.meshgrid(quantiles, quantiles[::-1]), axis=-1).reshape(-1, 2).astype(np.float32)
plotting.image_grid(
    tf.sigmoid(flat.decoder(z)).numpy(),
    digits.shape,
    "The same plane, decoded: z₁ grows to the right, z₂ upwards. Neighbours are alike; between two classes lie images that are neither.",
    "Twelve rows of twelve grey digits that change smoothly from one to the next.",
    columns=12,
)
drawn = [bernoulli(tf.sigmoid(m.decoder(m.p_z().sample(10)))) for m in spectrum.values()]
plotting.image_grid(
    np.concatenate(drawn),
    digits.shape,
    "Samples for three values of β. Too small: q(z | x) does not fill the prior, so most z from the prior were never seen by the decoder. Too large: z "
    "says little, and the pixels are drawn nearly independently.",
    "Three rows of ten binary images; only those of the middle row look like digits.",
    row_titles=[f"β = {beta:g}" for beta in betas],
)

# %% [markdown] iwae_text
# ## 4 · Tighter bounds: importance weighting
#
# For $z \sim q(z \mid x)$ the *importance weight* $w = p(z)\, p(x \mid z) / q(z \mid x)$ has the mean $\int p(z)\, p(x \mid z)\, dz = p(x)$: an unbiased
# estimate of the likelihood itself. The ELBO is $\mathbb{E}[\log w]$. Average K independent weights first, then take the logarithm:
#
# $$\mathcal{L}_K = \mathbb{E}\left[\log \frac1K \sum_{k=1}^{K} w_k\right] \le \log \mathbb{E}\left[\frac1K \sum_{k=1}^{K} w_k\right] = \log p(x), \qquad
# \mathcal{L}_1 = \mathrm{ELBO},$$
#
# by Jensen's inequality (Burda et al., 2016). **It rises with K.** The mean of $K + 1$ weights is the mean over the $K + 1$ ways to leave one out,
# $\bar w_{K+1} = \frac{1}{K+1} \sum_i \bar w_{-i}$. The logarithm is concave, so
# $\log \bar w_{K+1} \ge \frac{1}{K+1} \sum_i \log \bar w_{-i}$, and each term on the right has the expectation $\mathcal{L}_K$. **It converges to $\log p(x)$** by the
# law of large numbers, if the weights do not have too heavy tails; for large K the gap is about $\mathrm{Var}(w / p(x)) / 2K$, by $\log(1 + u) \approx u - u^2/2$.
#
# A mean of *logarithms* is thus a bound only in expectation: with bad luck a single number may lie above $\log p(x)$. Its standard error belongs beside it.
# For a single image, $\log \frac1K \sum_k w_k$ has the standard error $\mathrm{sd}(w) / (\bar w \sqrt{K})$.
#
# **Check on the linear VAE**, where $\log p(x)$ is known. As $q$ we take the best diagonal Gaussian of the *rotated* model, made wider by a half. 5,000 weights of each point
# are cut into groups of K. **Predict:** the gap at $K = 1$ is a KL divergence. How large, roughly, is it at $K = 50$?


# %% iwae
def log_mean_exp(log_w):
    """log_w: (K, ...) → log of the mean of exp(log_w) over the first axis: (...)."""
    return tf.reduce_logsumexp(log_w, axis=0) - math.log(len(log_w))


def bounds(log_w, K):
    """log_w: (N, B), N a multiple of K → (B,), an unbiased estimate of the bound with K weights, averaged over N / K groups."""
    return tf.reduce_mean(log_mean_exp(tf.reshape(log_w, [K, -1, log_w.shape[1]])), axis=0)


q = tfd.MultivariateNormalDiag(rotated.posterior(x)[0], 1.5 * tf.sqrt(tf.linalg.diag_part(diagonal[rotated])))
z = q.sample(5000, seed=seed)  # (5000, 500, L)
logpx_z = tfd.Independent(
    tfd.Normal(tf.einsum("kbl,dl->kbd", z, rotated.W) + rotated.m, tf.sqrt(rotated.sigma2)), 1
).log_prob(x)
logpz = tfd.MultivariateNormalDiag(tf.zeros_like(z[0]), tf.ones_like(z[0])).log_prob(z)
log_w = logpx_z + logpz - q.log_prob(z)
exact_kl = gaussian_kl(q.mean(), tf.linalg.diag(q.stddev()[0] ** 2), *rotated.posterior(x))
previous, exact = None, rotated.log_prob(x).numpy()
relative = tf.exp(log_w - exact)  # w / p(x), of mean 1
for K in [1, 5, 50, 5000]:
    bound = bounds(log_w, K).numpy()
    line = f"K = {K:4}: log p(x) − bound = {evaluation.paired_difference(exact, bound)} nats"
    if previous is not None:
        gain = evaluation.paired_difference(bound, previous)
        assert gain.value > 5 * gain.error
        line += f"; above the last one by {gain}, {gain.value / gain.error:.0f} standard errors"
    print(line)
    previous = bound
print(f"K = 1 should give the KL to the posterior: {tf.reduce_mean(exact_kl):.4f}")
print(f"theory for K = 5,000: {tf.reduce_mean(tf.math.reduce_variance(relative, axis=0)) / 10_000:.5f}")
assert abs(exact.mean() - bound.mean()) < 0.005
