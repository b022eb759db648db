# %% [markdown] title
# # Week 6 · Variational autoencoders
#
# {{colab}}
#
# An image has hidden causes. A network turns causes into images, but nobody can sum over all causes; so a second
# network guesses them from the image, and a lower bound takes the place of the likelihood.
#
# **After this notebook you can**
#
# 1. derive the evidence lower bound (ELBO) in two forms, and check both where the likelihood is known;
# 2. differentiate an expectation in two ways, and say when which of them is less noisy;
# 3. write a VAE as a `keras.Model`, train it with `fit`, and read its learning curve;
# 4. tighten the bound with several samples, to measure a model and to train one;
# 5. recognise latent variables that are switched off and a prior that does not fit, and complete images with a VAE.
#
# *Time:* reading 160 minutes, the core of this notebook 150 minutes. It computes for about a minute on two CPU cores.
# What stands under *Deeper* is for whoever wants it.

# %% [markdown] picture_vae
# {{picture: vae}}

# %% [markdown] reading
# ## Reading
#
# | what | minutes |
# |---|---|
# | **Main:** Bishop and Bishop, *Deep Learning: Foundations and Concepts*: 19.2 (variational autoencoders). | 40 |
# | Kingma and Welling (2019), *An introduction to variational autoencoders*: chapters 1 and 2. Skip posteriors other than a diagonal Gaussian. | 90 |
# | Burda, Grosse and Salakhutdinov (2016), *Importance weighted autoencoders*: the bound, its properties, the table of results. | 30 |
#
# Alternatives: Prince, *Understanding Deep Learning*, chapter 17; Murphy, *Probabilistic Machine Learning: Advanced
# Topics*, 21.1 to 21.3.
#
# **Focus questions.** Have an answer to each before you go on.
#
# 1. What exactly is the difference between $\log p(x)$ and the ELBO? Who can make it small, the encoder or the
#    decoder?
# 2. Why can we not just draw $z \sim q_\phi(z \mid x)$ and differentiate with respect to $\phi$?
# 3. The ELBO has a term that pulls $q(z \mid x)$ to the prior. Is it a regulariser that one could leave out?
# 4. A decoder so strong that it needs no $z$: what is the best $q(z \mid x)$ then?
#
# **Letters.** B batch, D pixels, L latent dimensions, K importance samples. Pixels are 0 or 1, $z$ is real. $\theta$
# are the parameters of the decoder, $\phi$ those of the encoder. β weighs the rate here; it was AIS's inverse
# temperature.

# %% setup

# %% parameters tags=["parameters"]
dataset = "digits"  # "mnist" for the published comparison: see "Going bigger"
hidden = [200]  # units in each hidden layer of the encoder; the decoder has them in reverse order
latent = 16  # L
epochs = 100  # passes over the training images, for the VAE
learning_rate = 0.025  # of Adam; falls to 0 along a cosine
batch_size = 100  # images a gradient step
train_samples = 5  # K in the objective of the IWAE
test_samples = 1000  # K in the bounds on test images
study_epochs = 30  # of the short trainings: other values of β, the map
study_images = 64  # images for the bounds with K up to 5,000 and for the search of the best q
iwae_epochs = 100  # of the IWAE
iwae_rate = 0.025  # its learning rate
warm_start = False  # let the IWAE start from the trained VAE?
warm_up = 0.0  # the share of the epochs in which β rises from 0 to 1
conditional_epochs = 100  # of the conditional VAE
class_samples = 100  # its K for each class
xla = False  # compile the training step by XLA: pays for long training only, and its draws ignore the seed
seed = 0

# %% imports
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tqdm.keras import TqdmCallback

from utils import datasets, evaluation, grammar, plotting, quiz, scoreboard
from utils.likelihood import PPCA, fit_ppca, log_mean_exp  # derived in weeks 1 and 3
from utils.networks import MLP, batches, bernoulli

digits = datasets.load(dataset)
keras.utils.set_random_seed(seed)  # weights, and all draws of z
print(digits)
# %% [markdown] bound_text
# ## 1 · The bound, where everything is exact
#
# Week 1 summed over 160 causes. Now there are infinitely many, and the sum, an integral, is out of reach. So we
# compute a number that is never larger: week 1's split of $\log p(x)$ by a free $q$, which EM set to the posterior (E
# step), and which week 4 fitted to each image. First in a model where the sum *can* be done, to see what is lost. (In
# the picture $\mathcal{L}_K$ waits for section 4, and the reconstruction lies above $\log p(x)$, which is usual, not
# certain.)

# %% [markdown] picture_bound
# {{picture: bound}}

# %% [markdown] bound_twice
# A **latent variable model** draws a cause $z$ from a prior $p(z)$, then data from $p_\theta(x \mid z)$. Take any
# density $q(z)$. By Bayes' rule $p_\theta(x) = p(z)\, p_\theta(x \mid z) / p_\theta(z \mid x)$ for every $z$. Take the
# logarithm, multiply and divide by $q(z)$ inside, and average over $z \sim q$; the left side does not depend on $z$:
#
# $$\log p_\theta(x) = \underbrace{\mathbb{E}_{q}\left[\log \frac{p(z)\, p_\theta(x \mid z)}{q(z)}\right]}_{\text{ELBO}}
# + \underbrace{\mathbb{E}_{q}\left[\log \frac{q(z)}{p_\theta(z \mid x)}\right]}_{\mathrm{KL}(q \,\|\, \text{posterior})\ \ge\ 0}.$$
#
# **First form:** the evidence lower bound ($p(x)$ is the *evidence*) is $\log p(x)$ minus a divergence, and tight
# exactly if $q$ is the posterior. That says what the bound is. **Second form:** split the first mean in two,
#
# $$\mathrm{ELBO} = \underbrace{\mathbb{E}_{q}\left[\log p_\theta(x \mid z)\right]}_{\text{reconstruction}}
# - \underbrace{\mathrm{KL}\left(q(z) \,\|\, p(z)\right)}_{\text{rate}}.$$
#
# That one can be computed: the posterior does not occur in it. For $q = \mathcal{N}(\mu, \mathrm{diag}(s^2))$ and the
# prior $\mathcal{N}(0, I)$
#
# $$\mathrm{rate} = \tfrac12 \sum_l \left[s_l^2 + \mu_l^2 - 1 - \log s_l^2\right].$$
#
# **A linear VAE.** Week 1's probabilistic PCA has linear networks (Lucas et al., 2019): $p(z) = \mathcal{N}(0, I)$ and
# $p(x \mid z) = \mathcal{N}(W z + m, \sigma^2 I)$. Its $\log p(x)$ is known, and so is its posterior
# $\mathcal{N}(M^{-1} W^\top (x - m), \sigma^2 M^{-1})$ with $M = W^\top W + \sigma^2 I$. On average over $q$,
# $|x - m - W z|^2$ is $|x - m - W \mu|^2$ plus the variance of $W z$, so with $w_l$ the columns of $W$ the
# reconstruction is
#
# $$\mathbb{E}_q[\log p(x \mid z)] = -\tfrac12 \Big[D \log 2\pi\sigma^2 + \frac{1}{\sigma^2}\Big(|x - m - W \mu|^2 + \sum_l s_l^2\, |w_l|^2\Big)\Big],$$
#
# and the best diagonal $q$ has the posterior's mean and $s_l^2 = \sigma^2 / M_{ll}$ (set the derivative to 0).


# %% linear
def linear_elbo(model, x, mean, scale):
    """The bound of a linear VAE for q = N(mean, diag(scale)²) in closed form. x: (B, D), q: (B, L) → (B,) nats."""
    D, variance = x.shape[1], scale**2
    error = x - model.m - tf.matmul(mean, model.W, transpose_b=True)  # (B, D)
    spread = tf.reduce_sum(variance * tf.reduce_sum(model.W**2, axis=0), axis=1)
    square = tf.reduce_sum(error**2, axis=1) + spread
    logpx_z = -0.5 * (D * tf.math.log(2 * np.pi * model.sigma2) + square / model.sigma2)
    kl = 0.5 * tf.reduce_sum(variance + mean**2 - 1 - tf.math.log(variance), axis=1)
    return logpx_z - kl


def best_diagonal(model, x):
    """Mean and scale (B, L) of the diagonal Gaussian with the largest bound."""
    mean, _ = model.posterior(x)
    return mean, tf.ones_like(mean) * tf.sqrt(model.sigma2 / tf.linalg.diag_part(model.M))


# %% [markdown] linear_check_text
# **Check.** PPCA with $L = 3$, fitted to 500 points in 8 dimensions. Three rows: the best diagonal $q$; the best
# diagonal $q$ of a *rotated* model, with $W R$ in place of $W$ and an orthogonal $R$; the prior as $q$. The rotation
# does not change $p(x)$, since $W R R^\top W^\top = W W^\top$. The divergence from the posterior comes from TFP, so
# the two forms check each other.
#
# **Predict:** in which of the three rows is the bound tight? (The $W$ of `fit_ppca` has orthogonal columns.)

# %% linear_check
draw = np.random.default_rng(seed)
x = tf.constant(draw.normal(size=(500, 3)) @ draw.normal(size=(3, 8)) + 0.7 * draw.normal(size=(500, 8)) + 1)
ppca = fit_ppca(x, 3)
R = tf.linalg.qr(tf.constant(draw.normal(size=(3, 3))))[0]  # orthogonal
rotated = PPCA(ppca.W @ R, ppca.m, ppca.sigma2)
log_p = ppca.log_prob(x)
np.testing.assert_allclose(rotated.log_prob(x), log_p, rtol=1e-10)
print(f"log p(x), exact: {np.mean(log_p):.4f} nats a point")
zeros = tf.zeros([500, 3], x.dtype)
for name, model, (mean, scale) in [
    ("best diagonal q", ppca, best_diagonal(ppca, x)),
    ("best diagonal q, rotated W", rotated, best_diagonal(rotated, x)),
    ("the prior as q", ppca, (zeros, zeros + 1)),
]:
    elbo, (exact, covariance) = linear_elbo(model, x, mean, scale), model.posterior(x)
    posterior = tfd.MultivariateNormalTriL(exact, tf.linalg.cholesky(covariance))
    gap = tfd.MultivariateNormalDiag(mean, scale).kl_divergence(posterior)
    np.testing.assert_allclose(elbo, log_p - gap, rtol=1e-10)  # the two forms agree
    print(f"{name:>27}: ELBO {np.mean(elbo):8.4f}, KL to the posterior {np.mean(gap):z7.4f}")

# %% [markdown] linear_says
# **The bound is tight where $q$ can be the posterior, and only there.** With orthogonal columns $M$ is diagonal, so a
# diagonal $q$ fits. The rotation leaves $p(x)$ as it is but couples the latent variables, and a diagonal $q$ pays for
# that: so $q$ prefers certain axes, though $p(x)$ does not. With the prior as $q$ the rate is 0 and the bound far off.

# %% [markdown] gradient_text
# ## 2 · Two gradients of an expectation
#
# Training needs the slope of the bound in the parameters $\phi$ of $q_\phi$. But $q_\phi$ is what we average over: a
# drawn $z$ is a number, and has no slope. There are two ways out.

# %% [markdown] picture_gradients
# {{picture: gradients}}

# %% [markdown] two_ways
# Let $f_\phi(z) = \log p(z)\, p(x \mid z) - \log q_\phi(z)$. **Score function** ($\nabla_\phi \log q_\phi$, the slope
# in the parameters; week 5's score is that in $x$): since $\nabla q = q\, \nabla \log q$,
#
# $$\nabla_\phi\, \mathbb{E}_{q_\phi}[f_\phi(z)] = \int f_\phi\, \nabla_\phi q_\phi\, dz + \int q_\phi\, \nabla_\phi f_\phi\, dz
# = \mathbb{E}_{q_\phi}\left[f_\phi(z)\, \nabla_\phi \log q_\phi(z)\right] + 0.$$
#
# It needs only *values* of $f$. The second integral is
# $-\mathbb{E}_{q_\phi}[\nabla_\phi \log q_\phi] = -\nabla_\phi \int q_\phi\, dz = 0$. For the same reason a constant
# may be subtracted from $f$, a *baseline*: here the mean of $f$ over the other, independent draws (Kool et al., 2019).
# **Reparameterisation:** write $z = \mu + s \odot \epsilon$ with $\epsilon \sim \mathcal{N}(0, I)$. The distribution
# of $\epsilon$ does not depend on $\phi = (\mu, s)$, so the gradient moves inside, and uses the *slope* of $f$, along
# $z$ and by the $\phi$ inside $\log q_\phi$ (the picture draws an $f$ without $\phi$):
#
# $$\nabla_\phi\, \mathbb{E}_{q_\phi}[f_\phi(z)] = \mathbb{E}_{\epsilon}\left[\nabla_\phi\, f_\phi(\mu + s \odot \epsilon)\right].$$
#
# Both are unbiased, which we check on the linear VAE, where the gradient is known. The figure asks which one is less
# noisy, for $\mu$ at a distance from the posterior's mean.
#
# **Predict:** let $q$ *be* the posterior. What is then $f_\phi(z)$, and what does each estimator return?


# %% estimators
def normal(mean, scale):
    """N(mean, diag(scale)²), the coordinates independent: (..., L) each."""
    return tfd.Independent(tfd.Normal(mean, scale), 1)


def log_ratio(model, x, z, mu, s):
    """f(z) = log p(z) + log p(x | z) − log q(z). x: (D,), z, mu, s: (N, L) → (N,) nats."""
    logpz = normal(tf.zeros_like(z), tf.ones_like(z)).log_prob(z)
    mean = tf.matmul(z, model.W, transpose_b=True) + model.m
    logpx_z = normal(mean, tf.sqrt(model.sigma2)).log_prob(x)
    return logpx_z + logpz - normal(mu, s).log_prob(z)


def gradients(model, x, mu, s, N):
    """N estimates of ∂ELBO/∂μ from one draw each. x: (D,), mu, s: (L,) → {name: (N, L)}."""
    mu, s = (tf.tile(t[None], [N, 1]) for t in (mu, s))
    eps = tf.random.normal(mu.shape, dtype=mu.dtype)
    with tf.GradientTape() as tape:
        tape.watch(mu)
        f = log_ratio(model, x, mu + s * eps, mu, s)
    slope = tape.gradient(f, mu)
    score = eps / s  # ∇ log q in μ, at z = μ + s ε
    others = (tf.reduce_sum(f) - f) / (N - 1)  # for each draw the mean of f over the others
    return {
        "reparameterisation": slope,
        "score function": f[:, None] * score,
        "score function, baseline": (f - others)[:, None] * score,
    }


# %% variance
def variances(L, distance, N=4000):
    """Variance of each estimator, the mean over μ's coordinates, each `distance` posterior scales off: {name: float}."""
    draw = np.random.default_rng(L)
    W = np.linalg.qr(draw.normal(size=(2 * L, L)))[0]  # orthogonal columns: the posterior is diagonal
    model = PPCA(W, np.zeros(2 * L), 0.25)
    point = tf.constant(W @ draw.normal(size=L) + 0.5 * draw.normal(size=2 * L))
    mean, scale = (t[0] for t in best_diagonal(model, point[None]))
    mu = mean + distance * scale * draw.choice([-1.0, 1.0], size=L)
    with tf.GradientTape() as tape:
        tape.watch(mu)
        elbo = linear_elbo(model, point[None], mu[None], scale[None])
    exact, result = tape.gradient(elbo, mu), {}
    for name, g in gradients(model, point, mu, scale, N).items():
        error = np.std(g, axis=0, ddof=1) / np.sqrt(N)
        assert np.all(np.abs(np.mean(g, axis=0) - exact) < 6 * error + 1e-9), f"{name} is biased"
        result[name] = np.var(g, axis=0).mean()
    return result


sizes, distances = [1, 2, 4, 8, 16, 32], [0.03, 0.1, 0.3, 1.0, 3.0]
by_size, by_distance = [variances(L, 3.0) for L in sizes], [variances(8, d) for d in distances]
fig, axes = plt.subplots(1, 2, figsize=(11, 3.8), sharey=True)
for ax, values, found in [(axes[0], sizes, by_size), (axes[1], distances, by_distance)]:
    for name in found[0]:
        ax.loglog(values, [variance[name] for variance in found], "o-", label=name)
axes[0].set(xlabel="latent dimensions L", ylabel="variance of ∂ELBO/∂μ, one draw", title="3 scales off")
axes[1].set(xlabel="distance of μ (posterior scales)", title="L = 8")
axes[0].legend()
plotting.show(
    fig,
    "All three are unbiased. Left: far from the posterior the score function gets noisier with every dimension, the "
    "slope does not. Right: close to the posterior the score function with baseline wins.",
    "Left, two curves rise over powers of ten, a level one lies below. Right, the curve with baseline crosses the level one.",
)
print("at the posterior: " + ", ".join(f"{name} {v:.2g}" for name, v in variances(8, 0.0).items()))

# %% [markdown] variance_says
# **Far from the posterior the slope is worth much more than the value, and the more so the more dimensions; at the
# posterior the value with its baseline wins.** There $f_\phi(z) = \log p(x)$ for every $z$. The plain score function
# returns this constant times the score, all noise; the baseline takes it away, and nothing is left. The slope along
# $z$ is 0 too, but $\mu$ also stands inside $\log q_\phi$, and that part is $-\epsilon / s$: mean 0, variance
# $1 / s^2$, here 5 (Deeper drops it). Far off, the score function multiplies each coordinate's score by *all* of $f$,
# so every other dimension is noise to it. Which one wins depends on $f$ and $q$ (Mohamed et al., 2020). A VAE has many
# dimensions and a $q$ that is seldom the posterior: it is trained by reparameterisation.

# %% [markdown] vae_text
# ## 3 · The variational autoencoder
#
# Now both distributions are networks (Kingma and Welling, 2014; Rezende et al., 2014). Nothing can be summed any more;
# what is left to climb is the bound.
#
# - The **decoder** maps $z$ to the logits of all pixels, $p_\theta(x \mid z) = \prod_d \mathrm{Bernoulli}(x_d;\,
#   \sigma(\text{logit}_d(z)))$, σ the sigmoid.
# - The **encoder** maps $x$ to mean and scale of $q_\phi(z \mid x) = \mathcal{N}(\mu_\phi(x),
#   \mathrm{diag}(s_\phi(x)^2))$. One encoder serves all images: *amortised* inference, an E step by a network. (The scale comes out of a
#   softplus; an exponential is as common, but ended long trainings on MNIST in NaN.)
#
# The encoder can only make the bound tighter. The decoder can make images more probable, or its posterior easier to
# hit. For training the rate gets a weight β, which is 1 until section 5:
#
# $$\mathcal{L}(x) = \log p_\theta(x \mid z) - \beta\, \mathrm{KL}\left(q_\phi(z \mid x) \,\|\, p(z)\right), \qquad z \sim q_\phi(z \mid x).$$
#
# The class is a plain `keras.Model`: `call` returns the objective, from one draw of $z$, and adds the loss, so `fit`,
# `evaluate` and callbacks work. β is a Keras weight: `fit` turns the code into a graph, which freezes plain Python
# numbers. (`MLP`: dense layers with SiLU between them.)


# %% terms
def elbo_terms(x, q, p_z, p_x_z):
    """log p(x | z) for one z drawn from q, and KL(q ‖ p_z): (B,) nats each. p_x_z: z (B, L) → a distribution."""
    z = q.sample()  # TFP reparameterises
    logpx_z = p_x_z(z).log_prob(x)
    kl = tfd.kl_divergence(q, p_z)
    return logpx_z, kl


# %% vae
class VAE(keras.Model):
    """p(z) = N(0, I), p(x | z) = Π_d Bernoulli(x_d), q(z | x) = N(μ(x), diag s(x)²).

    encoder: (B, D) → (B, 2L), decoder: (..., L) → (..., D) logits.
    """

    def __init__(self, encoder, decoder, L):
        super().__init__()
        self.encoder, self.decoder, self.L = encoder, decoder, L
        self.beta = self.add_weight(name="beta", initializer="ones", trainable=False)
        self.built = True  # all weights exist

    def p_z(self):
        return normal(tf.zeros(self.L), tf.ones(self.L))

    def q_z_x(self, x):
        mean, raw = tf.split(self.encoder(x), 2, axis=-1)
        return normal(mean, tf.nn.softplus(raw) + 0.001)

    def p_x_z(self, z):
        return tfd.Independent(tfd.Bernoulli(logits=self.decoder(z)), 1)

    def terms(self, x):
        return elbo_terms(x, self.q_z_x(x), self.p_z(), self.p_x_z)

    def rates(self, x):
        """x: (B, D) → KL(q(z_l | x) ‖ p(z_l)) of each latent variable, (B, L) nats."""
        return tfd.kl_divergence(self.q_z_x(x).distribution, self.p_z().distribution)

    def call(self, x):
        """x: (B, D) → the objective of each image (B,), nats. The loss is minus its mean."""
        logpx_z, kl = self.terms(x)
        objective = logpx_z - self.beta * kl
        self.add_loss(-tf.reduce_mean(objective))
        return objective


# %% train
def train(model, data, epochs, learning_rate, validation=None, callbacks=(), xla=False):
    """Adam, its learning rate falling to 0 along a cosine → {"loss": [...], "val_loss": [...]} by epoch, seconds."""
    several_devices = tf.distribute.get_strategy().num_replicas_in_sync > 1
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * len(data))
    model.compile(
        keras.optimizers.Adam(schedule, global_clipnorm=50.0),  # one bad batch cannot destroy a model
        steps_per_execution=1 if several_devices else len(data),  # an epoch is one call of the graph
        jit_compile=xla,
    )
    model.optimizer.build(model.trainable_variables)  # else `fit` traces the step twice
    began, bar = time.perf_counter(), TqdmCallback(verbose=0)
    options = {"validation_data": validation, "callbacks": [bar, *callbacks]}
    history = model.fit(data, epochs=epochs, shuffle=False, verbose=0, **options).history
    return history, time.perf_counter() - began


# %% [markdown] linear_fit_text
# **Check of the training code.** With no hidden layers and a Gaussian $p(x \mid z)$ this is the linear VAE. Trained on
# the 500 points of section 1 its likelihood must reach PPCA's, and its ELBO lie just below its own likelihood. (A
# diagonal $q$ rewards turning the columns of $W$ until they are orthogonal, Lucas et al., 2019.)


# %% linear_fit
class LinearVAE(VAE):
    """p(x | z) = N(Wz + m, σ² I); without hidden layers the decoder is W and m."""

    def __init__(self, D, L):
        super().__init__(MLP(D, 2 * L), MLP(L, D), L)
        self.log_sigma = self.add_weight(name="log_sigma", initializer="zeros")

    def p_x_z(self, z):
        return normal(self.decoder(z), tf.exp(self.log_sigma))


linear = LinearVAE(8, 3)
points = tf.cast(x, tf.float32)
train(linear, tf.data.Dataset.from_tensors(points).repeat(100), 5, 0.05)
W, m = linear.decoder.last.get_weights()  # (L, D), (D,)
exact = PPCA(W.T, m, tf.exp(2 * linear.log_sigma)).log_prob(points)
logpx_z, kl = linear.terms(tf.repeat(points, 50, axis=0))
bounds = np.reshape(logpx_z - kl, [500, 50]).mean(axis=1)
below = evaluation.paired_difference(exact, bounds)
print(
    f"log p(x): closed form {np.mean(log_p):.3f}, learned {np.mean(exact):.3f}; its ELBO is {below} nats lower"
)
assert np.mean(exact) > np.mean(log_p) - 0.02 and below.value > -5 * below.error

# %% [markdown] digits_text
# **The digits.** One hidden layer of 200 units, $L = 16$; the encoder sees the image minus the mean image. The
# settings were chosen on validation images, among 100 and 200 units, tanh, ReLU and SiLU, learning rates from 0.003 to
# 0.03, batches of 50 to 200.

# %% digits
D, centre = digits.train.shape[1], digits.train.mean(axis=0)
names = ["train", "validation", "test"]  # grey images are binarised once for the evaluation; 0 and 1 stay
parts = {name: bernoulli(getattr(digits, name), seed=[seed, 0]).numpy() for name in names}
data = batches(digits.train, B=batch_size, seed=seed)  # in training they are binarised afresh
validation = tf.data.Dataset.from_tensors(parts["validation"][:2000])  # all 200 digits


def build(kind, L, **options):
    """A model of this kind with fresh networks."""
    return kind(MLP(D, *hidden, 2 * L, centre=centre), MLP(L, *reversed(hidden), D), L, **options)


def set_beta(model, beta):
    """A callback that sets β before each epoch; beta: epoch → β."""
    return keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: model.beta.assign(beta(epoch)))


vae = build(VAE, latent)
rising = [set_beta(vae, lambda epoch: min(1.0, epoch / (warm_up * epochs)))] if warm_up else []
curve, vae_seconds = train(vae, data, epochs, learning_rate, validation, rising, xla)
plotting.history(
    curve,
    "ELBO (nats per image)",
    "The learning curve. How far apart are the two in the end? Would you stop earlier, or train longer?",
    "Two curves that rise ever more slowly, the one for training images higher and higher above the other.",
    sign=-1,
)
for name in names[:2]:
    logpx_z, kl = (np.mean(t) for t in vae.terms(tf.repeat(parts[name][:2000], 10, axis=0)))
    print(f"{name:>10}: ELBO {logpx_z - kl:.2f} nats = reconstruction {logpx_z:.2f} − rate {kl:.2f}")
print(f"trained in {vae_seconds:.1f} s, compilation included")

# %% [markdown] digits_say
# **Training longer makes the ELBO of new images worse, and a tighter bound better.** In the figure training images end
# 1.8 nats ahead: the model knows them. With 300 epochs in place of 100 (below) the ELBO of validation images *falls*
# by 0.3 nats, yet section 4's tighter bound of their likelihood *rises* by 0.3: the encoder's $q$ fits new images less
# well (Deeper measures it). An early stop by this curve would look at the wrong number.
#
# <details><summary>Measured how?</summary>
#
# Three seeds, 300 epochs in place of 100, all else equal. ELBO on validation images −18.25, −18.15, −18.10 → −18.39,
# −18.55, −18.50; bound with 1,000 samples −17.12, −17.03, −17.04 → −16.73, −16.80, −16.80 (training images −15.6 →
# −14.5). Most of it is there by 200 epochs. This notebook stays with 100 epochs, for the time they take.
# </details>


# %% look
def draw_images(model, n):
    """n images from the model: z from the prior, then pixels. (n, D) of 0 and 1."""
    return model.p_x_z(model.p_z().sample(n)).sample()


originals = parts["validation"][:10]
plotting.image_grid(
    np.concatenate([draw_images(vae, 20), originals, vae.p_x_z(vae.q_z_x(originals).sample()).mean()]),
    digits.shape,
    "Top: drawn from the model. Below: validation images, and the grey p(x | z) for one z drawn from q(z | x). Where is "
    "a reconstruction another digit?",
    "Two rows of sampled binary digits, a row of digits, a row of grey reconstructions that resemble them.",
    row_titles=["samples", "samples", "images", "reconstructed"],
)

# %% [markdown] iwae_text
# ## 4 · A tighter bound
#
# How good is the VAE really? Its ELBO mixes a bad decoder with a bad encoder. Several draws of $z$ for each image come
# closer to $\log p(x)$, without changing the model.
#
# As in week 4, the *importance weight* $w = p(z)\, p(x \mid z) / q(z \mid x)$ of a draw $z \sim q(z \mid x)$ has the
# mean $\int p(z)\, p(x \mid z)\, dz = p(x)$, and the ELBO is $\mathbb{E}[\log w]$. Average K weights first, then take
# the logarithm (Burda et al., 2016):
#
# $$\mathcal{L}_K = \mathbb{E}\left[\log \frac1K \sum_{k=1}^{K} w_k\right] \le \log p(x), \qquad \mathcal{L}_1 = \mathrm{ELBO}.$$
#
# It is a bound by Jensen's inequality. **It rises with K:** leave out one of $K + 1$ weights, each in turn. The
# $K + 1$ means of the others average to the mean of all, so by Jensen its logarithm is at least the average of theirs.
# **It converges to $\log p(x)$.** If $w$ has a finite variance, then for large K, with $\bar w$ the mean weight,
#
# $$\log p(x) - \mathcal{L}_K \approx \frac{\mathrm{Var}(w / p(x))}{2K}, \qquad \text{by } \log(1 + u) \approx u - \tfrac12 u^2,\ u = \bar w / p(x) - 1.$$
#
# It is a bound *in expectation*: a single estimate may lie above $\log p(x)$ by chance, so its standard error belongs
# beside it.
#
# **Check** on the rotated linear VAE, with 1.5 times the scales of the best diagonal $q$. (A Gaussian $q$ with at most
# half of the posterior's variance, in any direction, has weights of infinite variance.) **Predict:** is the formula
# right at $K = 1$?


# %% iwae
def log_weights(x, q, p_z, p_x_z, K):
    """log w for K draws of z from q → (K, B). p_x_z: z (K, B, L) → a distribution."""
    z = q.sample(K)
    logpx_z = p_x_z(z).log_prob(x)
    logpz = p_z.log_prob(z)
    logqz_x = q.log_prob(z)
    return logpx_z + logpz - logqz_x


def bound(log_w, K):
    """log_w: (N, B) → the mean of the estimates of L_K from N / K groups of weights: (B,)."""
    return tf.reduce_mean(log_mean_exp(tf.reshape(log_w, [K, -1, log_w.shape[1]])), axis=0)


mean, scale = best_diagonal(rotated, x)
q, p_z = normal(mean, 1.5 * scale), normal(zeros[0], zeros[0] + 1)


def linear_p_x_z(z):
    return normal(tf.einsum("kbl,dl->kbd", z, rotated.W) + rotated.m, tf.sqrt(rotated.sigma2))


for K in [1, 5, 50, 2000]:
    log_w = log_weights(x, q, p_z, linear_p_x_z, 2000)  # fresh draws for each K
    gap = evaluation.paired_difference(log_p, bound(log_w, K))
    theory = np.mean(tf.math.reduce_variance(tf.exp(log_w - log_p), axis=0)) / (2 * K)
    print(f"K = {K:4}: log p(x) − L_K = {gap} nats, by the formula {theory:.4f}")
    assert K < 50 or abs(gap.value - theory) < 0.1 * theory + 5 * gap.error

# %% [markdown] iwae_digits_text
# At $K = 1$ the gap is a KL divergence, here twice what the formula says, which is for large K; at 50 it holds. (At
# 2,000 the gap is below the noise, and may come out negative.)
#
# **To measure and to train.** With a large K, $\mathcal{L}_K$ measures any VAE. With a small K it can be the
# *objective*: the importance weighted autoencoder (IWAE). Its encoder need not match the posterior with every draw;
# one good draw among K will do.
#
# **Predict:** which model has the better ELBO ($K = 1$), the VAE or the IWAE?


# %% iwae_digits
class IWAE(VAE):
    """A VAE whose objective is the bound with K importance weights."""

    def __init__(self, encoder, decoder, L, K):
        super().__init__(encoder, decoder, L)
        self.K = K

    def call(self, x):
        """x: (B, D) → L_K of each image by one set of weights, (B,) nats."""
        objective = log_mean_exp(log_weights(x, self.q_z_x(x), self.p_z(), self.p_x_z, self.K))
        self.add_loss(-tf.reduce_mean(objective))
        return objective


def weigh(model, images, K, rows=50_000):
    """The log-weights of all images (N, D), about `rows` at a time → (K, N)."""
    run = tf.function(
        lambda x: log_weights(x, model.q_z_x(x), model.p_z(), model.p_x_z, K), reduce_retracing=True
    )
    step = max(1, rows // K)
    return tf.concat([run(tf.constant(images[i : i + step])) for i in range(0, len(images), step)], axis=1)


iwae = build(IWAE, latent, K=train_samples)
if warm_start:
    iwae.set_weights(vae.get_weights())
_, iwae_seconds = train(iwae, data, iwae_epochs, iwae_rate, xla=xla)
sizes, ladder = [1, 5, 50, 500, 5000], {}
for name, model in [("VAE", vae), (f"IWAE, trained with K = {train_samples}", iwae)]:
    log_w = weigh(model, parts["validation"][:study_images], 5000)
    ladder[name] = [bound(log_w, K) for K in sizes]
lead = [evaluation.paired_difference(b, a) for a, b in zip(*ladder.values())]
plotting.learning_curves(
    {name: (sizes, np.mean(values, axis=1)) for name, values in ladder.items()},
    "K (importance samples)",
    "bound (nats per image)",
    f"{study_images} validation images. IWAE minus VAE: {lead[0]} nats at K = 1, {lead[-1]} at K = 5,000.",
    "Two rising curves that level off; they meet at K = 5.",
    xlog=True,
)

# %% [markdown] iwae_says
# **After equal epochs the IWAE is more than a nat lower at K = 1, and 0.3 higher at K = 5,000.** Its encoder was never
# asked for a good single draw. But it also draws five $z$ in each step: a VAE with two or three times the epochs
# catches up, and with 300 epochs each the IWAE leads by 0.0 to 0.2. At $K = 5$, the IWAE's own objective, the two tie
# on these images, new to both.
#
# <details><summary>Measured how?</summary>
#
# Three seeds, 100 epochs each, 200 validation images, IWAE minus VAE, each ± 0.07 to 0.10: at K = 1 −1.13, −1.19,
# −1.41; at K = 1,000 +0.48, +0.28, +0.23. A VAE trained on the average of five one-draw bounds gains +0.16, +0.03,
# +0.14 over the plain one. Two seeds, at K = 2,000, validation (± 0.06 to 0.10) and test images (± 0.05 to 0.07): IWAE
# minus a VAE of 200 epochs −0.09, +0.11 and +0.16, +0.02; minus one of 300 epochs −0.15, +0.06 and +0.08, +0.01; both
# with 300 epochs −0.03, +0.10 and +0.19, +0.06.
# </details>


# %% [markdown] beta_text
# ## 5 · What goes wrong: dead latent variables, and a prior that does not fit
#
# A VAE can fail in two opposite ways: its $z$ says nothing, or it says so much that the prior no longer draws the $z$
# that the decoder has learned. The weight β produces both.

# %% [markdown] picture_aggregate
# {{picture: aggregate}}

# %% [markdown] rates
# The *rate* is at least what $z$ tells of the image on average; the *distortion* $-\log p(x \mid z)$ is what is
# missing then. The ELBO is minus their sum; in training β is the price of a nat of rate, in nats of distortion (β-VAE,
# Higgins et al., 2017; rate and distortion, Alemi et al., 2018). In the picture each $q(z \mid x)$ is a ball. What the
# decoder sees in training is all balls together, the **aggregate posterior**
# $\bar q(z) = \frac1N \sum_n q(z \mid x_n)$ (week 4's); what it gets when we draw images is the prior. How far apart
# are they? With $\bar q$ put in between,
#
# $$\underbrace{\tfrac1N \textstyle\sum_n \mathrm{KL}(q_n \,\|\, p)}_{\text{mean rate}} = \mathrm{KL}(\bar q \,\|\, p)
# + \tfrac1N \textstyle\sum_n \mathrm{KL}(q_n \,\|\, \bar q) \le \mathrm{KL}(\bar q \,\|\, p) + \log N,$$
#
# since $\bar q \ge q_n / N$ (Hoffman and Johnson, 2016).
#
# And the variance of the aggregate is the mean of $s^2$ plus the variance of $\mu$.
#
# **Predict:** which of three models trained with β = 0.1, 1 and 10 has the best ELBO? What do samples look like if $z$
# tells nothing?


# %% beta
def summary(model, images):
    """Distortion and rate (nats an image); mean of s², and variance of the aggregate posterior, of a dimension."""
    logpx_z, kl = model.terms(tf.repeat(images, 10, axis=0))
    q = model.q_z_x(images)
    within = tf.reduce_mean(q.variance())
    return -np.mean(logpx_z), np.mean(kl), within, within + np.var(q.mean(), axis=0).mean()


models = {beta: build(VAE, latent) for beta in [0.1, 1.0, 10.0]}
for beta, model in models.items():
    model.beta.assign(beta)
    train(model, data, study_epochs, learning_rate, xla=xla)
cured = models["cured"] = build(VAE, latent)
cured.set_weights(models[10.0].get_weights())
cured.beta.assign(1.0)
train(cured, data, study_epochs, learning_rate, xla=xla)
for beta, model in models.items():
    distortion, rate, within, variance = summary(model, parts["validation"][:2000])
    print(
        f"β = {beta!s:>5}: distortion {distortion:5.2f}, rate {rate:5.2f}, ELBO {-distortion - rate:6.2f} nats; "
        f"s² {within:.2f}, variance of the aggregate posterior {variance:.2f}"
    )

# %% beta_figure
fig, axes = plt.subplots(1, 4, figsize=(11, 2.8), sharey=True)
for ax, (beta, model) in zip(axes, models.items()):
    rates = np.mean(model.rates(parts["train"][:1000]), axis=0)  # (L,)
    ax.bar(np.arange(1, latent + 1), np.sort(rates)[::-1], color=plotting.FAMILY_COLOURS["VAE"])
    ax.set(title=f"β = {beta}", xlabel="latent variable, sorted")
axes[0].set_ylabel("KL to the prior (nats)")
plotting.show(
    fig,
    "The rate of each latent variable. Which are switched off? Do they come back?",
    "Four bar charts: tall bars, some tall bars and low ones, no bars at all, some tall bars again.",
)
plotting.image_grid(
    np.concatenate([draw_images(model, 10) for model in models.values()]),
    digits.shape,
    "Ten samples of each. The eye hardly tells the first row from the second; the kernel distance does, a little (below).",
    "Four rows of ten binary images, like digits except for the third row, whose pixels are scattered.",
    row_titles=[f"β = {beta}" for beta in models],
)

# %% [markdown] beta_says
# **With β = 10 every latent variable dies; with β = 0.1 the aggregate posterior is about 20 nats or more from the
# prior; training on with β = 1 repairs the bound.** For β = 10 no rate is worth its price: $q$ is the prior, and what
# is left is week 1's independent Bernoulli. For β = 0.1 the rate is 27 nats, of which at most $\log 1197 = 7.1$ name
# one of the 1,197 training images. The balls are narrow ($s^2 = 0.06$) and spread wider than the prior (variance 1.5),
# so a draw from the prior is unlike them. At β = 0.1 the reconstructions are the best of the three, and the ELBO is
# the worst: a sharp reconstruction is no sign of a good model. The cured model has its bound back, with nine to eleven
# live variables (a rate above 0.1 nats) where a fresh one has thirteen.
#
# Collapse was what the objective asked for. At β = 1 it comes where a decoder can do without $z$: under Deeper, and in
# week 7.
#
# <details><summary>Measured how?</summary>
#
# Three seeds, validation images. β = 0.1: $s^2$ 0.06, aggregate 1.50, 1.51, 1.50, kernel distance of samples from the
# training images × 1000 (each ± 2) 27, 27, 22; β = 1: 19, 19, 18; β = 10: 240, 230, 227; cured: 15, 16, 15. Latent
# variables with a rate above 0.1: 16, 13, 0 of 16, the same for each seed, and 9, 11, 9 after the cure, whose ELBO is
# −18.50, −18.32, −18.28 against −18.50, −18.46, −18.45 for β = 1. Sixty epochs with β = 10 give what thirty give. Is
# it the room between the balls that harms the samples of β = 0.1? Draws from one Gaussian with the aggregate's mean
# and covariance know nothing of the balls either, and have a kernel distance of 11, 9, 9: what harms most is that mean
# and covariance are not the prior's.
# </details>


# %% [markdown] use_text
# ## 6 · Put to work: completing images
#
# The lower half of an image is missing. The model has an answer, the posterior of the missing pixels given those seen,
# but it needs the sum over $z$ that nobody can do. So we draw from it, by a chain of two steps.
#
# - **z given x.** Draw K candidates from $q_\phi(z \mid x)$, for the image as it is now completed, and add the current
#   $z$. Choose one of the $K + 1$ with a probability proportional to its weight $w = p(z)\, p(x \mid z) / q_\phi(z
#   \mid x)$.
# - **x given z.** Draw every pixel that is not known for certain: $p(x_d = 1 \mid z, e) = \sigma(\mathrm{logit}_d(z) + e_d)$.
#
# Here $e_d$ is the evidence, as in week 3: $\pm\infty$ for a known pixel, 0 for a missing one, $\pm\log 9$ for one
# that was flipped with probability 0.1. The first step leaves $p(z \mid x)$ as it is, for every K (the one-step case
# of Andrieu et al., 2010; the proof is under Deeper); the encoder may be bad, then the chain is slow, not wrong. Masks
# and damage are those of week 1. In the burn-in, which is not counted, the current $z$ is no candidate: one that fits
# the random first guess could stay for long. (It did on MNIST; here it makes no difference.)


# %% restore
@tf.function
def restore(model, evidence, x, steps=150, burn_in=50, K=8, stay=True):
    """evidence, first guess x: (B, D) → posterior means of the pixels (B, D), share of steps that change z.

    Without `stay` the current z is never a candidate; with it, only after the first `burn_in` steps.
    """
    z, total, moved = model.q_z_x(x).sample(), tf.zeros_like(x), 0.0
    for step in tf.range(steps):
        q = model.q_z_x(x)
        candidates = tf.concat([z[None], q.sample(K)], axis=0)  # (K + 1, B, L)
        log_w = (
            model.p_x_z(candidates).log_prob(x) + model.p_z().log_prob(candidates) - q.log_prob(candidates)
        )
        if not stay or step < burn_in:
            log_w = tf.concat([log_w[:1] - np.inf, log_w[1:]], axis=0)
        chosen = tf.random.categorical(tf.transpose(log_w), 1)[:, 0]  # (B,)
        z = tf.gather(tf.transpose(candidates, [1, 0, 2]), chosen, batch_dims=1)
        p = tf.sigmoid(model.decoder(z) + evidence)
        x = bernoulli(p)
        if step >= burn_in:
            total += p
            moved += tf.reduce_mean(tf.cast(chosen > 0, tf.float32))
    kept = tf.cast(steps - burn_in, tf.float32)
    return total / kept, moved / kept


# %% completions
images, missing, noise = parts["test"][:400], evaluation.lower_half(digits.shape), 0.1
clamped = np.where(missing, 0.0, np.where(images > 0.5, np.inf, -np.inf)).astype(np.float32)
guess = np.where(missing, bernoulli(tf.constant(centre) + 0 * images), images).astype(np.float32)
noisy = evaluation.flip_pixels(images, noise, seed)
flipped = ((2 * noisy - 1) * np.log((1 - noise) / noise)).astype(np.float32)
uses = {}
for name, model in [("VAE", vae), ("IWAE", iwae)]:
    means, moved = restore(model, np.concatenate([clamped, flipped]), np.concatenate([guess, noisy]))
    imputed, repaired = np.split(means.numpy(), 2)
    uses[name] = {
        "imputing": evaluation.pixel_errors(images, imputed > 0.5, missing),
        "repairing": evaluation.pixel_errors(images, repaired > 0.5),
    }
    wrong = ", ".join(f"{use} {share}" for use, share in uses[name].items())
    print(f"{name:>4}: pixels wrong: {wrong}; z changes in {moved:.0%} of the steps")
plotting.image_grid(
    np.concatenate(
        [images[:10], np.where(missing, np.nan, images)[:10], imputed[:10], noisy[:10], repaired[:10]]
    ),
    digits.shape,
    "The IWAE: test images; the half that is seen (orange: missing); posterior means of the missing pixels; a tenth of "
    "the pixels flipped; posterior means. Grey: the model is unsure.",
    "Five rows of ten digits: original, upper half, completed, noisy, repaired.",
    row_titles=["original", "observed", "completed", "noisy", "repaired"],
)

# %% [markdown] use_says
# **150 steps of the chain leave 0.15 of the missing pixels wrong, where week 1's mixture has 0.132; the fault is
# mostly the chain's.** The mixture sums over its 160 causes. Here a chain has to walk to them: $z$ changes in every
# second step, but only a little, since its candidates are drawn for the image as it is now completed. With 3,000 steps
# the share falls to 0.138 for the VAE and 0.133 for the IWAE (two seeds), and many weighted draws from the prior,
# which need no chain, give the same. At repairs all three are alike, 0.051.

# %% [markdown] scoreboard_text
# ## The scoreboard
#
# Two rows. The value is $\mathcal{L}_{1000}$ on the test images, a *lower bound* in expectation, with the standard
# error of its importance sampling. Anomalies are mirrored images, as in all weeks; the score is minus the bound.


# %% board
def bound_and_error(log_w):
    """log_w: (K, N) → L_K of each image (N,), and the standard error of its mean due to the K draws."""
    value = log_mean_exp(log_w)
    variance = tf.math.reduce_variance(tf.exp(log_w - value), axis=0) / log_w.shape[0]  # Var(w / mean w) / K
    return value.numpy(), float(tf.sqrt(tf.reduce_sum(variance))) / log_w.shape[1]


test_bounds, mirrored = {}, evaluation.mirror(images, digits.shape)
for name, model, seconds in [
    ("VAE", vae, vae_seconds),
    ("IWAE", iwae, iwae_seconds + warm_start * vae_seconds),
]:
    test_bounds[name], error = bound_and_error(weigh(model, parts["test"], test_samples))
    odd = log_mean_exp(weigh(model, mirrored, test_samples))
    board = scoreboard.enter(
        lambda n, model=model: draw_images(model, n),
        compare_with="Mixture of 160 Bernoullis" if dataset == "digits" else None,
        week=6,
        model=f"{name}, {'-'.join(map(str, hidden))}-{latent}"
        + (f", K = {train_samples}" if name == "IWAE" else ""),
        family="VAE",
        data=dataset,
        per_image=test_bounds[name],
        kind="lower bound",
        error=error,
        anomaly=evaluation.auroc(-test_bounds[name][: len(images)], -odd),
        train_seconds=seconds,
        parameters=sum(int(tf.size(v)) for v in model.trainable_variables),
        note=f"{test_samples:,} importance samples",
        **uses[name],
    )
print(f"IWAE minus VAE: {evaluation.paired_difference(test_bounds['IWAE'], test_bounds['VAE'])} nats")
board

# %% [markdown] board_says
# **Both are ahead of the mixture on these images, the IWAE by about five standard errors of the difference, the VAE by
# two to three.** (Another training moves the lead by half an error.) Theirs are lower bounds and the mixture's value
# is exact, so the true lead can only be larger, but for the ± of the importance sampling. By kernel distance their
# samples are closer to digits than the mixture's, by the classifier they are not: whether that is more than chance,
# one training cannot tell.

# %% [markdown] check_text
# ## Self-check
#
# Five questions; every answer explains itself.


# %% self_check
quiz.show("week06_vae")

# %% [markdown] class
# **Bring to class** (no easy answers):
#
# 1. Two VAEs have the same ELBO on test images, one with a rate of 5 nats, the other with 15. What can you say of
#    their likelihoods, what of their uses?
# 2. The IWAE has the better likelihood and the worse ELBO. Which of the two encoders would you take to *describe*
#    images, and how would you decide?
# 3. You may spend ten times the computing time on a trained VAE, at test time only. On which uses would you spend it,
#    and how?

# %% [markdown] summary
# ## Summary
#
# - $\mathrm{ELBO} = \log p(x) - \mathrm{KL}(q \,\|\, \text{posterior}) = \text{reconstruction} - \text{rate}$. On the
#   linear VAE, which is PPCA, all of it is exact.
# - Reparameterisation uses the slope of the integrand, the score function its values. Both are unbiased. Far from the
#   posterior and in many dimensions the slope is far less noisy; at the posterior the values with a baseline are.
# - The mean of K importance weights is unbiased for $p(x)$, its logarithm a bound that rises with K. Use it to measure,
#   and with a small K to train.
# - Look at the rate of each latent variable and at the aggregate posterior, not at the bound alone.
# - To complete an image, let the encoder propose and the weights decide.
#
# **Next week**: more layers of latent variables, cures for the collapse, and discrete codes.

# %% [markdown] deeper_stl
# ## Deeper · A gradient without noise at the posterior
#
# At the posterior $f(z) = \log p(x)$ is constant, and still the reparameterised gradient has a variance. The reason is
# that $f$ contains $\phi$ twice, in $z = \mu + s \odot \epsilon$ and in $\log q_\phi(z)$:
#
# $$\nabla_\phi f = \underbrace{\frac{\partial z}{\partial \phi}^{\!\top} \nabla_z f(z)}_{\text{0 at the posterior}}\; -\;
# \underbrace{\nabla_\phi \log q_\phi(z)\big|_{z \text{ fixed}}}_{\text{mean 0}}.$$
#
# The second term has the mean 0 and may be dropped (*sticking the landing*, Roeder et al., 2017): hold the parameters
# inside $\log q$ constant. With the posterior's scale, as here, the noise is gone at every distance.

# %% stl
L = 8
model = PPCA(np.linalg.qr(np.random.default_rng(0).normal(size=(2 * L, L)))[0], np.zeros(2 * L), 0.25)
point = tf.constant(np.random.default_rng(1).normal(size=2 * L))
mean, scale = (t[0] for t in best_diagonal(model, point[None]))
for distance in [0.0, 0.3, 3.0]:
    mu = tf.tile((mean + distance * scale)[None], [4000, 1])
    s, eps = tf.ones_like(mu) * scale, tf.random.normal([4000, L], dtype=mu.dtype)
    found = {}
    for name, inside in [("all of it", tf.identity), ("without the second term", tf.stop_gradient)]:
        with tf.GradientTape() as tape:
            tape.watch(mu)
            f = log_ratio(model, point, mu + s * eps, inside(mu), s)
        found[name] = tape.gradient(f, mu)
    print(
        f"{distance:3} scales off: variance "
        + ", ".join(f"{n} {np.var(g, axis=0).mean():.2g}" for n, g in found.items())
    )

# %% [markdown] deeper_map
# ## Deeper · A map of the latent space
#
# With $L = 2$ the latent space can be drawn. Left: the means of $q(z \mid x)$, each as its class, which the encoder
# was never told. Below: the same plane decoded on a grid, spaced by the quantiles of $\mathcal{N}(0, 1)$ so that each
# image stands for the same share of the prior; then traversals of the VAE with $L = 16$.

# %% map
from scipy.stats import norm

flat = build(VAE, 2)
train(flat, data, study_epochs, learning_rate, xla=xla)
means, labels = flat.q_z_x(parts["train"][:1000]).mean().numpy(), digits.train_labels[:1000]
fig, ax = plt.subplots(figsize=(5.6, 4.8))
for label in range(10):
    ax.scatter(*means[labels == label].T, s=40, marker=f"${label}$", linewidths=0.3)
ax.set(xlabel="z₁ (no unit)", ylabel="z₂ (no unit)")
plotting.show(
    fig, "Where the encoder puts training images, L = 2.", "A cloud of digits that forms regions by class."
)
quantiles = norm.ppf((np.arange(12) + 0.5) / 12)
z = np.stack(np.meshgrid(quantiles, quantiles[::-1]), axis=-1).reshape(-1, 2).astype(np.float32)
plotting.image_grid(
    flat.p_x_z(z).mean().numpy(),
    digits.shape,
    "The plane, decoded: z₁ grows to the right, z₂ upwards. Neighbours are alike; between two classes lie images that "
    "are neither.",
    "Twelve rows of twelve grey digits that change smoothly from one to the next.",
    columns=12,
)
q = vae.q_z_x(originals)
rates = np.mean(vae.rates(parts["train"][:1000]), axis=0)
axes = np.argsort(rates)[[-1, -2, -3, 0]]  # the three that carry most, and the one that carries least
z = np.tile(q.mean()[0], (len(axes), 10, 1))
for row, axis in enumerate(axes):
    z[row, :, axis] = np.linspace(-2.5, 2.5, 10)
plotting.image_grid(
    vae.p_x_z(z.reshape(-1, latent)).mean().numpy(),
    digits.shape,
    "One latent variable goes from −2.5 to 2.5, the others stay at the mean of q for the first validation image.",
    "Four rows of ten digits; in three rows strokes appear, vanish or bend from left to right.",
    row_titles=[f"{rates[axis]:.2f} nats" for axis in axes],
)

# %% [markdown] deeper_gap
# ## Deeper · Where does the gap come from?
#
# With $q^*$ the best diagonal Gaussian for *this* image,
#
# $$\log p(x) - \mathrm{ELBO}(q_\phi) = \underbrace{\log p(x) - \mathrm{ELBO}(q^*)}_{\text{approximation gap}}
# + \underbrace{\mathrm{ELBO}(q^*) - \mathrm{ELBO}(q_\phi)}_{\text{amortisation gap}}$$
#
# (Cremer et al., 2018). The first is due to the *family*: the posterior is no diagonal Gaussian. The second is due to
# the *encoder*, one function for all images. We find $q^*$ by gradient ascent in the mean and scale of each image,
# from the encoder's on. $\log p(x)$ is replaced by $\mathcal{L}_{1000}$, so the first gap is underestimated; what the
# ascent misses is counted to the first gap instead of the second.
#
# **Predict:** is the amortisation gap larger for training images or for images the encoder has never seen?


# %% gap
def elbo_of(model, x, mean, log_scale, K):
    """The ELBO of q = N(mean, diag exp(log_scale)²), with K draws an image. x: (B, D), mean: (B, L) → (B,) nats."""
    q = normal(mean, tf.exp(log_scale))
    logpx_z = tf.reduce_mean(model.p_x_z(q.sample(K)).log_prob(x), axis=0)
    return logpx_z - tfd.kl_divergence(q, model.p_z())


def best_q(model, x, steps=200, rate=0.04, K=5):
    """The mean and log scale that maximise each image's own ELBO, from the encoder's on: (B, L) each."""
    q = model.q_z_x(x)
    mean, log_scale = tf.Variable(q.mean()), tf.Variable(tf.math.log(q.stddev()))
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    optimizer.build([mean, log_scale])

    @tf.function
    def climb():
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                loss = -tf.reduce_sum(elbo_of(model, x, mean, log_scale, K))
            optimizer.apply(tape.gradient(loss, [mean, log_scale]), [mean, log_scale])

    climb()
    return mean, log_scale


gaps, part = {}, np.repeat(["train", "validation"], study_images)
studied = np.concatenate([parts[name][:study_images] for name in ["train", "validation"]])
for name, model in [("VAE", vae), ("IWAE", iwae)]:
    q = model.q_z_x(studied)
    amortised = elbo_of(model, studied, q.mean(), tf.math.log(q.stddev()), 1000)
    refined = elbo_of(model, studied, *best_q(model, studied), 1000)
    log_p = log_mean_exp(weigh(model, studied, 1000))
    for where in ["train", "validation"]:
        top, best, now = (t.numpy()[part == where] for t in (log_p, refined, amortised))
        pair = [evaluation.paired_difference(top, best), evaluation.paired_difference(best, now)]
        gaps[f"{name}, {where}"] = pair
        print(f"{name:>4}, {where:>10}: approximation gap {pair[0]}, amortisation gap {pair[1]} nats")

# %% gap_figure
fig, ax = plt.subplots(figsize=(8, 3.6))
left = np.zeros(len(gaps))
for i, (name, colour) in enumerate(
    [("approximation gap", plotting.SKY), ("amortisation gap", plotting.ORANGE)]
):
    widths, errors = ([getattr(pair[i], part) for pair in gaps.values()] for part in ("value", "error"))
    ax.barh(list(gaps), widths, left=left, xerr=errors, color=colour, label=name)
    left += widths
ax.invert_yaxis()
ax.set_xlabel("log p(x) − ELBO (nats per image)")
ax.legend()
plotting.show(
    fig,
    "The gap in two parts, ± one standard error. Blue: what is left with the best diagonal Gaussian found. Orange: what "
    "one encoder for all images loses.",
    "Four horizontal bars in two colours; those of the IWAE are longer.",
)

# %% [markdown] gap_says
# Both gaps of the IWAE are larger, and it is the better model. So a small gap is not in itself a virtue: a model that
# ignores $z$ has none. And for images that the encoder has not seen the amortisation gap is larger, after longer
# training much larger: that is what the ELBO of section 3 loses.
#
# <details><summary>Measured how?</summary>
#
# Three seeds, 200 images of each part, means: the VAE's amortisation gap is 0.28 nats for training and 0.46 for
# validation images, with 300 epochs in place of 100 0.32 and 0.95; the IWAE's 1.09 and 1.48. Each difference is more
# than four of its standard errors. The approximation gap is 0.62 and 0.64, after 300 epochs 0.70 and 0.73.
# </details>


# %% [markdown] deeper_conditional
# ## Deeper · The conditional VAE
#
# Give encoder and decoder the class $y$ as well: $p(x \mid y) = \int p(z)\, p_\theta(x \mid z, y)\, dz$, with
# $q_\phi(z \mid x, y)$ (Sohn et al., 2015; Kingma et al., 2014). The bound is that of section 1, with $y$ on the right
# of every bar. Now $z$ need not say which digit it is: it is left with the *style*.
#
# A model of $x$ *given* $y$ has been told more, so its $\log p(x \mid y)$ must not be compared with $\log p(x)$. The
# honest number is the **marginal** over the classes, with $p(y)$ the shares of the training labels:
#
# $$\log p(x) = \log \sum_y p(y)\, p(x \mid y) \ge \mathbb{E}\left[\log \sum_y p(y)\, \frac1K \sum_{k=1}^{K} w_k^{(y)}\right].$$
#
# The sum is an unbiased estimate of $p(x)$, so Jensen's inequality holds as before. The same numbers give
# $p(y \mid x)$ by Bayes' rule: a classifier.
#
# **Predict:** by how many nats is $\log p(x \mid y)$, with the right $y$, above $\log p(x)$? (How many nats are needed
# to name one of ten classes?)


# %% conditional_vae
class ConditionalVAE(VAE):
    """p(x | z, y) and q(z | x, y); x: (B, D), y: (B, C) one-hot. Both networks see y: their inputs are C longer."""

    def q_z_x(self, x, y):
        return super().q_z_x(tf.concat([x, y], axis=-1))

    def p_x_z(self, z, y):
        return super().p_x_z(tf.concat([z, y + tf.zeros_like(z[..., :1])], axis=-1))  # z: (..., B, L)

    def terms(self, pair):
        x, y = pair
        return elbo_terms(x, self.q_z_x(x, y), self.p_z(), lambda z: self.p_x_z(z, y))

    def class_weights(self, x, classes, K):
        """x: (B, D), classes: (C, C) one-hot → log w, (C, K, B); images and classes are one long batch."""
        B, C = tf.shape(x)[0], len(classes)
        x, y = tf.repeat(x, C, axis=0), tf.tile(tf.constant(classes), [B, 1])
        log_w = log_weights(x, self.q_z_x(x, y), self.p_z(), lambda z: self.p_x_z(z, y), K)  # (K, B C)
        return tf.transpose(tf.reshape(log_w, [K, B, C]), [2, 0, 1])


def class_bounds(log_w):
    """log_w: (C, K, N) → log p(x | y), a bound in expectation: (C, N)."""
    return tf.reduce_logsumexp(log_w, axis=1) - np.log(log_w.shape[1]).astype(np.float32)


# %% conditional
classes = np.eye(10, dtype=np.float32)
prior = classes[digits.train_labels].mean(axis=0)  # p(y), (10,)
seen = np.concatenate([centre, np.zeros(10, np.float32)])  # nothing is subtracted from y
conditional = ConditionalVAE(
    MLP(D + 10, *hidden, 2 * latent, centre=seen), MLP(latent + 10, *reversed(hidden), D), latent
)
pairs = batches(digits.train, classes[digits.train_labels], B=batch_size, seed=seed)
_, conditional_seconds = train(conditional, pairs, conditional_epochs, learning_rate, xla=xla)


def weigh_classes(images, K, rows=5000):
    """Log-weights of all images for each class: (C, K, N)."""
    run, step = (
        tf.function(lambda x: conditional.class_weights(x, classes, K), reduce_retracing=True),
        max(1, rows // K),
    )
    return tf.concat([run(tf.constant(images[i : i + step])) for i in range(0, len(images), step)], axis=2)


log_px_y = class_bounds(weigh_classes(parts["validation"], class_samples)).numpy()  # (10, N)
joint = log_px_y + np.log(prior)[:, None]
marginal = np.logaddexp.reduce(joint, axis=0)
told = log_px_y[digits.validation_labels, np.arange(len(marginal))]
print(
    f"validation: log p(x) {evaluation.mean_estimate(marginal)}, log p(x | y) {evaluation.mean_estimate(told)} nats"
)
print(f"the difference is {evaluation.paired_difference(told, marginal)} nats; log 10 = {np.log(10):.2f}")
right = np.mean(joint.argmax(axis=0) == digits.validation_labels)
print(f"p(y | x) names {right:.1%} of the validation images rightly")

# %% conditional_look
z = tf.repeat(conditional.p_z().sample(4), 10, axis=0)
plotting.image_grid(
    np.concatenate(
        [
            conditional.p_x_z(conditional.p_z().sample(20), np.tile(classes, (2, 1))).sample(),
            conditional.p_x_z(z, np.tile(classes, (4, 1))).mean(),
        ]
    ),
    digits.shape,
    "Two rows of samples, y = 0 to 9. Then p(x | z, y) in grey: one z in each row, all classes. What does z decide, "
    "what y?",
    "Six rows of ten digits, each row 0 to 9; in the lower rows the digits of a row share their slant and weight.",
    row_titles=["samples", "samples", "one z", "one z", "one z", "one z"],
)


# %% conditional_board
def marginal_and_error(log_w, prior):
    """log_w: (C, K, N) → log Σ_y p(y) p(x | y) of each image (N,), and the standard error of its mean."""
    bound = tf.reduce_logsumexp(class_bounds(log_w) + np.log(prior)[:, None], axis=0)
    relative = tf.exp(log_w + np.log(prior)[:, None, None] - bound)  # (C, K, N)
    variance = tf.reduce_sum(tf.math.reduce_variance(relative, axis=1), axis=0) / log_w.shape[1]
    return bound.numpy(), float(tf.sqrt(tf.reduce_sum(variance))) / log_w.shape[2]


def draw_conditional(n):
    """n images (n, D): a class by its share, z from the prior, then pixels."""
    y = tf.one_hot(tf.random.categorical(np.log(prior)[None], n)[0], 10)
    return conditional.p_x_z(conditional.p_z().sample(n), y).sample()


marginal, error = marginal_and_error(weigh_classes(parts["test"], class_samples), prior)
print(f"marginal minus the IWAE: {evaluation.paired_difference(marginal, test_bounds['IWAE'])} nats")
scoreboard.enter(
    draw_conditional,
    compare_with="Mixture of 160 Bernoullis" if dataset == "digits" else None,
    week=6,
    model=f"Conditional VAE, {'-'.join(map(str, hidden))}-{latent}, marginal",
    family="VAE",
    data=dataset,
    per_image=marginal,
    kind="lower bound",
    error=error,
    train_seconds=conditional_seconds,
    parameters=sum(int(tf.size(v)) for v in conditional.trainable_variables),
    note=f"{class_samples:,} importance samples a class",
)

# %% [markdown] conditional_says
# By Bayes' rule $\log p(x \mid y) - \log p(x) = \log p(y \mid x) - \log p(y)$. Were $y$ certain given $x$, this would
# be $\log 10$ for classes of equal size; what is missing is the doubt that remains. Whoever puts $\log p(x \mid y)$
# into a table of $\log p(x)$ gains two nats by the choice of a column. And the row on the scoreboard has been told
# 1,197 labels, which no other model there has.

# %% [markdown] deeper_uses
# ## Deeper · Detecting by one draw or many, completing by the exact chain or without
#
# **Anomalies.** The scoreboard's score is minus $\mathcal{L}_K$. The ELBO can be had with one draw. For an anomaly the
# encoder is far from home, so the ELBO falls by more than $\log p(x)$ does. **Predict:** does that make it the worse
# detector?
#
# **Completing: why the first step is exact.** Let the current $z_j$ be a draw from $p(z \mid x)$ at a random place $j$
# among the candidates, the others draws from $q$. Since $p(z \mid x) = w(z)\, q(z \mid x) / p(x)$, the joint density
# is
#
# $$p(z_j \mid x) \prod_{i \ne j} q(z_i \mid x) = \frac{w_j}{p(x)} \prod_i q(z_i \mid x),$$
#
# so given the candidates $j$ has probabilities proportional to $w_j$. Choosing anew is Gibbs sampling of $j$, which
# leaves this joint density, and so $p(z \mid x)$, as it is.
#
# The older *pseudo-Gibbs* sampling (Rezende et al., 2014) takes one draw of $q$ and always accepts it; it is right
# only where the encoder is perfect. Mattei and Frellsen (2018) mend it by a Metropolis rule, to the same end as
# section 6.

# %% detect
for name, model in [("VAE", vae), ("IWAE", iwae)]:
    normal_w, odd_w = (weigh(model, x, 200) for x in (images, mirrored))
    scores = {
        "one draw": lambda log_w: log_w[0],
        "the ELBO, 200 draws": lambda log_w: tf.reduce_mean(log_w, axis=0),
        "K = 200": log_mean_exp,
    }
    areas = {
        label: evaluation.auroc(-score(normal_w).numpy(), -score(odd_w).numpy())
        for label, score in scores.items()
    }
    print(
        f"{name:>4}: area under the ROC curve "
        + ", ".join(f"{area} by {label}" for label, area in areas.items())
    )
    loose = [evaluation.mean_estimate(log_mean_exp(w) - tf.reduce_mean(w, axis=0)) for w in (normal_w, odd_w)]
    print(f"      bound with K = 200 minus ELBO: {loose[0]} for digits, {loose[1]} for mirrored ones")
exact, pseudo = (restore(vae, clamped, guess, **way)[0].numpy() for way in ({}, {"K": 1, "stay": False}))
wrong = [((means > 0.5) != images)[:, missing].mean(axis=1) for means in (pseudo, exact)]
print(
    f"imputing: pseudo-Gibbs minus the exact chain: {evaluation.paired_difference(*wrong)} of the pixels wrong"
)

# %% [markdown] detect_says
# The bound is looser for the mirrored images than for digits, by 0.8 nats for the VAE and 2 for the IWAE. That moves
# the two kinds of images apart, so it need not harm a *detector*, which needs a difference and not a likelihood: the
# ELBO, averaged over draws, detects as well as the tighter bound. A single draw is worse, by 0.01 for the VAE and
# 0.025 for the IWAE (paired, ± 0.004 to 0.006, two seeds each). Pseudo-Gibbs sampling walks to another distribution
# than the model's; for completing these images it is as good.


# %% [markdown] deeper_text
# ## Deeper · A text VAE that forgets its latent variable
#
# A sentence $x = (x_1, \dots, x_T)$ of words. The decoder writes it word by word,
# $p_\theta(x \mid z) = \prod_t p_\theta(x_t \mid x_{<t}, z)$, so it can see all earlier words *and* $z$ (Bowman et
# al., 2016). Sentences come from `utils.grammar`: 96 words, four topics, singular and plural, relative clauses. Its
# probabilities are known exactly, so we can say how far a model is from the best possible one: no model can have an
# expected log-likelihood above minus the source's entropy, and
#
# $$\mathbb{E}_{x \sim \text{source}}\left[\log p_\text{source}(x) - \mathrm{ELBO}(x)\right]
# = \mathrm{KL}(\text{source} \,\|\, p_\theta) + \mathbb{E}_x\left[\mathrm{KL}(q_\phi(z \mid x) \,\|\, p_\theta(z \mid x))\right].$$
#
# The class inherits from `VAE`; new are its networks and its $p(x \mid z)$, a small distribution of our own with
# `log_prob` and `sample`: a causal convolution that sees the last nine words, that is, all of them.
#
# **Predict:** if the decoder can model the source without $z$, what is the KL at the optimum?


# %% next_word
class NextWord(keras.layers.Layer):
    """Tokens x (B, T) and z (B, L) → logits (B, T, V) of each word from the words before it. Token V: "a word was here"."""

    def __init__(self, embedding, T, H, V):
        super().__init__()
        self.embedding, self.T, self.V = embedding, T, V
        self.words = keras.layers.Conv1D(H, T - 1, padding="causal")  # sees all earlier words
        self.from_z, self.mixed, self.word = (keras.layers.Dense(n) for n in (H, H, V))

    def call(self, x, z, hide=0.0):
        before = tf.pad(x[:, :-1], [[0, 0], [1, 0]])
        if hide > 0:
            before = tf.where(tf.random.uniform(tf.shape(before)) < hide, self.V, before)
        z = self.from_z(z)[:, None]  # (B, 1, H)
        h = tf.nn.relu(self.words(self.embedding(before)) + z)
        return self.word(tf.nn.relu(self.mixed(h) + h + z))


# %% words
class Words:
    """p(x | z) = Π_t p(x_t | x_<t, z) over rows of tokens up to the first END (0). z: (..., L)."""

    def __init__(self, network, z, hide=0.0):
        self.network, self.z, self.hide = network, z, hide

    def log_prob(self, x):
        """x: (B, T) int32, z: (..., B, L) → (..., B) nats."""
        rows = tf.reshape(self.z, [-1, self.z.shape[-1]])
        tokens = tf.tile(x, [tf.shape(rows)[0] // tf.shape(x)[0], 1])
        logits = self.network(tokens, rows, hide=self.hide)
        log_p = -tf.nn.sparse_softmax_cross_entropy_with_logits(tokens, logits)
        before = tf.pad(tokens[:, :-1], [[0, 0], [1, 0]], constant_values=1)
        log_p *= tf.cast(before != 0, tf.float32)  # up to END
        return tf.reshape(tf.reduce_sum(log_p, axis=1), tf.shape(self.z)[:-1])

    def sample(self, greedy=False):
        """One sentence for each z: (B, T) int32, word by word; greedy takes the most probable word."""
        x = tf.zeros([len(self.z), self.network.T], tf.int32)
        for t in range(self.network.T):
            logits = self.network(x, self.z)[:, t]
            word = tf.argmax(logits, axis=-1) if greedy else tf.random.categorical(logits, 1)[:, 0]
            x = tf.concat([x[:, :t], tf.cast(word, tf.int32)[:, None], x[:, t + 1 :]], axis=1)
        return x


# %% text_vae
class TextVAE(VAE):
    """Sentences of T tokens out of V, 0 ends a sentence. In training the decoder loses a share `hide` of its words."""

    def __init__(self, V, T, H, L, hide=0.0):
        embedding = keras.layers.Embedding(V + 1, 32)
        encoder = keras.Sequential([embedding, keras.layers.Flatten(), MLP(32 * T, H, 2 * L)])
        super().__init__(encoder, NextWord(embedding, T, H, V), L)
        self.hide = hide
        self(tf.zeros([1, T], tf.int32))  # builds the layers

    def p_x_z(self, z, hide=0.0):
        return Words(self.decoder, z, hide)

    def call(self, x, training=False):
        """x: (B, T) tokens → the objective of each sentence, (B,) nats."""
        hide = self.hide if training else 0.0
        logpx_z, kl = elbo_terms(x, self.q_z_x(x), self.p_z(), lambda z: self.p_x_z(z, hide))
        objective = logpx_z - self.beta * kl
        self.add_loss(-tf.reduce_mean(objective))
        return objective


# %% collapse
source, T = grammar.english(), 10  # up to nine words and END
corpus = {
    name: source.sample(n, np.random.default_rng(s))
    for name, n, s in [("train", 15_000, 1), ("validation", 500, 2)]
}
tokens = {name: source.encode(part, T) for name, part in corpus.items()}
probability = dict(source.derivations())  # of all sentences; each has one derivation
log_source = np.log([probability[sentence] for sentence in corpus["validation"]])


def report(model, name):
    """Prints the bound, its distance from the source, KL, active units → the KL of each latent variable (L,)."""
    x, q = tokens["validation"], model.q_z_x(tokens["validation"])
    log_w = log_weights(x, q, model.p_z(), model.p_x_z, 50).numpy()  # a mean of log w is the ELBO
    kl, spread = np.mean(model.rates(x), axis=0), np.var(q.mean(), axis=0)
    short = [evaluation.paired_difference(log_source, b) for b in (log_w.mean(axis=0), log_mean_exp(log_w))]
    print(
        f"{name}: ELBO {log_w.mean():.2f}, short of the source by {short[0]} nats, with K = 50 by {short[1]}"
    )
    print(
        f"    KL {kl.sum():.2f} nats; units whose mean has a variance above 0.1: {(spread > 0.1).sum()} of "
        f"{model.L}, above 0.01: {(spread > 0.01).sum()}"
    )
    return kl


print(f"entropy of the source {source.entropy():.3f} nats a sentence, {len(probability):,} sentences")
texts, kls = {}, {}
for hide in [0.0, 0.5]:
    model = texts[hide] = TextVAE(len(source.words) + 1, T, 64, 8, hide)
    _, seconds = train(model, batches(tokens["train"], B=100, seed=seed), 4, 0.01)
    kls[hide] = report(model, f"word dropout {hide:.0%} ({seconds:.0f} s)")

# %% collapse_figure
fig, axes = plt.subplots(1, 2, figsize=(11, 3.6), sharey=True)
for ax, (hide, kl) in zip(axes, kls.items()):
    ax.bar(np.arange(1, len(kl) + 1), np.sort(kl)[::-1], color=plotting.FAMILY_COLOURS["VAE"])
    ax.set(title=f"word dropout {hide:.0%}", xlabel="latent variable, sorted")
axes[0].set_ylabel("KL to the prior (nats)")
plotting.show(
    fig,
    f"The KL of each latent variable. Left: collapse, {kls[0.0].sum():.2f} nats in all; the model is a language model "
    f"that carries a latent variable as luggage. Right: half of the input words hidden in training, {kls[0.5].sum():.2f} nats.",
    "Two bar charts; the bars on the left can hardly be seen, some on the right are tall.",
)

# %% [markdown] cure_text
# **Posterior collapse.** In the first model $q(z \mid x)$ is nearly the prior for every sentence. The bound is
# excellent, because the decoder is: that is no bug of the optimiser, but what the objective asks for. A unit of $z$
# costs its KL, and for a decoder that sees all earlier words it buys little. A unit is called *active* if the mean of
# its $q$ varies from sentence to sentence; we ask for a variance above 0.1. Burda et al. (2016) take 0.01; by that
# some units of the collapsed model may count as active, although all eight together carry a few hundredths of a nat. A
# count needs its threshold beside it; the KL needs none.
#
# **The cure here: word dropout.** In training each word that the decoder reads is hidden with probability ½. What it
# can no longer read it has to be told by $z$. In the evaluation all words are shown. Compare the lines above: the KL,
# and the distance from the source. The cure has a price in nats. If the likelihood is all you want, collapse is no
# failure. If you want a representation, it is a total one.
#
# **Predict:** what do sentences *between* two given ones look like, for each of the two models?

# %% sentences
begin, end = "the brown cows that graze follow some farmers".split(), "a captain sees the whale".split()
ends = source.encode([tuple(begin), tuple(end)], T)
for hide, model in texts.items():
    drawn = source.decode(model.p_x_z(model.p_z().sample(400)).sample())
    valid = np.mean([sentence in probability for sentence in drawn])
    print(
        f"word dropout {hide:.0%}: {valid:.0%} of 400 samples from the prior are sentences of the source, such as"
    )
    print("\n".join("    " + " ".join(sentence) for sentence in drawn[:3]))
    a, b = model.q_z_x(ends).mean().numpy()
    path = a + np.linspace(0, 1, 6)[:, None] * (b - a)
    print(f"  from “{' '.join(begin)}” to “{' '.join(end)}”, most probable words:")
    for sentence in source.decode(model.p_x_z(tf.constant(path, tf.float32)).sample(greedy=True)):
        print("    " + " ".join(sentence))

# %% [markdown] sentences_says
# Without the cure there is next to nothing to interpolate: one sentence stands for the whole path, or it jumps once to
# another one. (It may even jump to the right topic: the topics are nearly equally probable, so a few hundredths of a
# nat decide which is the most probable; in samples nothing of it can be seen.) With it, the ends of the path keep
# their topic, mostly also the number of the subject and whether there is a relative clause, and on the way these
# change, some one by one, several at once where the path jumps. The words do not come back: two or three nats of KL
# cannot name one sentence out of all, for which the entropy, ten nats, would be needed.

# %% [markdown] bigger
# ## Going bigger
#
# The same notebook on MNIST, binarised afresh each time an image is used in training, and once for the evaluation:
# change the `parameters` cell only. (Maintainers: `make benchmark WEEK=week06_vae`.)
#
# ```python
# dataset = "mnist"
# hidden = [200, 200]
# latent = 50
# epochs = 200
# learning_rate = 0.005
# batch_size = 100
# train_samples = 50
# test_samples = 5000
# study_epochs = 10
# study_images = 100
# iwae_epochs = 11
# iwae_rate = 0.002
# warm_start = True
# warm_up = 0.2
# conditional_epochs = 30
# class_samples = 50
# xla = True
# ```
#
# With `warm_up` the learning curve shows the objective with its β. Here the warm-up matters (week 7 says why): in runs
# of 12 epochs, measured with 50 importance samples on validation images, 18 of the 50 latent variables were active
# without it and the bound was −102.6 nats; with a warm-up over the first third 29, and −97.2 nats.
#
# The IWAE with K = 50 starts from the trained VAE (`warm_start`), so the minutes of both count for it. Burda et al.
# (2016) report 86.76 nats for the VAE with one stochastic layer and 84.78 for the IWAE with K = 50, both with 200-200
# hidden tanh units, 50 latent variables, 5,000 importance samples, and 3,280 passes over the data.
#
# | model | measured | training | Burda et al. (2016) |
# |---|---|---|---|
# | VAE, 200-200-50 | ≥ −86.67 nats | 6.4 min | −86.76 nats |
# | IWAE, 200-200-50, K = 50 | ≥ −85.43 nats | 11.8 min | −84.78 nats |
# | Conditional VAE, 200-200-50, marginal | ≥ −89.01 nats | 1.4 min | |
#
# (Measured when the warm-up of β still went by the step, not by the epoch.) The conditional VAE has had 30 passes over
# the data and is measured with 50 importance samples a class, so it does not compare with the others.
#
# **Several GPUs:** build and train under `with tf.distribute.MirroredStrategy().scope():`. Each replica gets its share
# of a batch, and the loss is that of the whole batch. (On two logical CPU devices a test compares the losses; on GPUs
# nothing of this notebook has been measured.)

# %% [markdown] references
# ## References
#
# - A. Alemi, B. Poole, I. Fischer, J. Dillon, R. Saurous, K. Murphy (2018). Fixing a broken ELBO. ICML.
# - C. Andrieu, A. Doucet, R. Holenstein (2010). Particle Markov chain Monte Carlo methods. Journal of the Royal
#   Statistical Society B 72.
# - C. Bishop, H. Bishop (2024). Deep Learning: Foundations and Concepts. Springer.
# - S. Bowman, L. Vilnis, O. Vinyals, A. Dai, R. Jozefowicz, S. Bengio (2016). Generating sentences from a continuous
#   space. CoNLL.
# - Y. Burda, R. Grosse, R. Salakhutdinov (2016). Importance weighted autoencoders. ICLR.
# - C. Cremer, X. Li, D. Duvenaud (2018). Inference suboptimality in variational autoencoders. ICML.
# - I. Higgins et al. (2017). beta-VAE: learning basic visual concepts with a constrained variational framework. ICLR.
# - D. Kingma, M. Welling (2014). Auto-encoding variational Bayes. ICLR.
# - D. Kingma, D. Rezende, S. Mohamed, M. Welling (2014). Semi-supervised learning with deep generative models.
#   NeurIPS.
# - D. Kingma, M. Welling (2019). An introduction to variational autoencoders. Foundations and Trends in Machine
#   Learning 12.
# - M. Hoffman, M. Johnson (2016). ELBO surgery: yet another way to carve up the variational evidence lower bound. NeurIPS
#   workshop on advances in approximate Bayesian inference.
# - W. Kool, H. van Hoof, M. Welling (2019). Buy 4 REINFORCE samples, get a baseline for free! ICLR workshop on deep
#   reinforcement learning meets structured prediction.
# - J. Lucas, G. Tucker, R. Grosse, M. Norouzi (2019). Don't blame the ELBO! A linear VAE perspective on posterior
#   collapse. NeurIPS.
# - P.-A. Mattei, J. Frellsen (2018). Leveraging the exact likelihood of deep latent variable models. NeurIPS.
# - S. Mohamed, M. Rosca, M. Figurnov, A. Mnih (2020). Monte Carlo gradient estimation in machine learning. Journal of
#   Machine Learning Research 21.
# - K. Murphy (2023). Probabilistic Machine Learning: Advanced Topics. MIT Press.
# - S. Prince (2023). Understanding Deep Learning. MIT Press.
# - D. Rezende, S. Mohamed, D. Wierstra (2014). Stochastic backpropagation and approximate inference in deep
#   generative models. ICML.
# - G. Roeder, Y. Wu, D. Duvenaud (2017). Sticking the landing: simple, lower-variance gradient estimators for variational
#   inference. NeurIPS.
# - K. Sohn, H. Lee, X. Yan (2015). Learning structured output representation using deep conditional generative
#   models. NeurIPS.
# - M. Tipping, C. Bishop (1999). Probabilistic principal component analysis. Journal of the Royal Statistical Society
#   B 61.
