# %% [markdown] title
# # Week 5 · Energy-based models
#
# {{colab}}
#
# Any network that maps an image to one number defines a distribution, $p(x) \propto e^{f(x)}$. This week: how to
# sample from it, three ways to train it without its normaliser, and how to estimate that normaliser after all.
#
# **After this notebook you can**
#
# 1. derive the likelihood gradient of any energy, and keep the sign of $f = -E$ straight;
# 2. run Langevin dynamics, predict its bias, remove it by a Metropolis correction, and recognise chains that
#    do not reach all modes;
# 3. derive explicit, denoising and sliced score matching and check each against closed-form scores;
# 4. learn a normaliser by noise-contrastive estimation (NCE), with its standard error;
# 5. train an energy network on the digits with a replay buffer, give it an honest likelihood, keep it stable, and
#    test it as an anomaly detector on data it has never seen.
#
# *Time:* reading 3 hours, this notebook 2 to 3 hours. It computes for less than a minute on two CPU cores.

# %% [markdown] reading
# ## Reading
#
# | what | minutes |
# |---|---|
# | **Main:** Murphy, *Probabilistic Machine Learning: Advanced Topics* (PML2), chapter 24, *Energy-based models*: maximum likelihood training, score matching, noise contrastive estimation. Skim the part on other methods. | 90 |
# | Song and Kingma (2021), *How to train your energy-based models*: all of it; it covers the same ground in 17 pages, with other examples. | 60 |
# | Du and Mordatch (2019), *Implicit generation and modeling with energy-based models*: the parts on sampling and on the replay buffer. | 30 |
#
# **Focus questions.** Have an answer to each before you go on.
#
# 1. The gradient of the log-likelihood in $\theta$ needs samples from the model; the gradient in $x$ does not. Why?
# 2. Which two errors does a Langevin chain make, and which of them does a Metropolis correction remove?
# 3. Denoising score matching does not estimate the score of the data. Of what, then?
# 4. NCE treats $\log Z$ as one more parameter. Why would maximum likelihood fail if one did the same?
#
# **Letters.** B batch, D pixels or coordinates, K mixture components or temperatures. Here $\varepsilon$ is the
# step size of Langevin dynamics. Units are 0 or 1.

# %% setup

# %% parameters tags=["parameters"]
dataset = "digits"  # "mnist" for the larger data: see "Going bigger"
width = 128  # units in each of the two hidden layers
epochs = 60  # passes over the training images
batch_size = 50  # images a gradient step
chains = 400  # images in the replay buffer
moved = 100  # of these, how many move before each gradient step
mcmc_steps = 10  # Langevin steps for each of them
step_size = 0.3  # ε of the discrete Langevin steps
learning_rate = 0.005  # of Adam; falls linearly to 0
averaging = 0.99  # how slowly the averaged weights follow
ais_temperatures = 1000  # steps of an AIS run; also of a chain that imputes
seed = 0

# %% imports
import string
import time

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw, ImageFont
from tqdm.auto import tqdm

from utils import datasets, evaluation, plotting, quiz, scoreboard

digits = datasets.load(dataset)
rng = tf.random.Generator.from_seed(seed)
print(digits)

# %% [markdown] energy_text
# ## 1 · An energy by a network, and its gradient
#
# An energy-based model is a function $E_\theta(x)$ and nothing else:
#
# $$p_\theta(x) = \frac{e^{-E_\theta(x)}}{Z_\theta} = \frac{e^{f_\theta(x)}}{Z_\theta}, \qquad f_\theta = -E_\theta,
# \qquad Z_\theta = \sum_x e^{f_\theta(x)} \;\text{ or }\; \int e^{f_\theta(x)}\, dx.$$
#
# **The sign.** A network outputs $f$: large means probable. The energy is $E = -f$: low means probable. The code says
# `f` wherever it means $f$.
#
# Week 3's RBM is such a model. Its free energy gave $f(v) = -F(v) = b^\top v + \sum_j \mathrm{softplus}(c_j + v^\top
# W_{:j})$: a network with one hidden layer whose output weights are all 1. The hidden units had a meaning there, and
# block Gibbs sampling needed it. Now we use more layers and give up both.
#
# **The gradient in $\theta$.** From $\log p_\theta(x) = f_\theta(x) - \log Z_\theta$ and
#
# $$\nabla_\theta \log Z_\theta = \frac{1}{Z_\theta} \sum_{x'} \nabla_\theta\, e^{f_\theta(x')}
# = \sum_{x'} \frac{e^{f_\theta(x')}}{Z_\theta} \nabla_\theta f_\theta(x')
# = \mathbb{E}_{x' \sim p_\theta}\left[\nabla_\theta f_\theta(x')\right]$$
#
# follows, for the mean over the data,
#
# $$\nabla_\theta\, \mathbb{E}_\text{data}[\log p_\theta(x)]
# = \mathbb{E}_\text{data}\left[\nabla_\theta f_\theta(x)\right] - \mathbb{E}_{p_\theta}\left[\nabla_\theta f_\theta(x)\right]
# = -\mathbb{E}_\text{data}\left[\nabla_\theta E_\theta(x)\right] + \mathbb{E}_{p_\theta}\left[\nabla_\theta E_\theta(x)\right].$$
#
# Data minus model, as in weeks 2 and 3, now for any energy. (For $x \in \mathbb{R}^D$ the sum is an integral, and $f$
# must fall fast enough for $Z$ to be finite and for the derivative to move under the integral.) In code nobody
# writes the two expectations by hand: one differentiates $\bar f_\text{data} - \bar f_\text{model}$ with the samples
# held fixed.
#
# **The gradient in $x$**, the *score*, does not know $Z$ at all:
#
# $$s(x) = \nabla_x \log p(x) = \nabla_x f(x) = -\nabla_x E(x).$$
#
# Sections 2 and 3 live on this. The class below has a linear term $b^\top x$, two hidden layers, and for real $x$ a
# fixed $-\frac a2 |x|^2$, which outweighs the network far out, so that $Z$ is finite.


# %% network
class Energy(tf.Module):
    """p(x) ∝ exp(f(x)), f(x) = b·x − a|x|²/2 + w·swish(c₂ + W₂ᵀ swish(c₁ + W₁ᵀx)); the energy is −f."""

    def __init__(self, D, width, b=None, a=0.0, seed=0):
        super().__init__()
        normal = np.random.default_rng(seed).normal
        self.a = a  # not trained
        self.b = tf.Variable(tf.zeros(D) if b is None else b)  # (D,)
        self.W = [
            tf.Variable(normal(0, n**-0.5, (n, width)), dtype=tf.float32) for n in (D, width)
        ]  # (D, H), (H, H)
        self.c = [tf.Variable(tf.zeros(width)) for _ in self.W]
        self.w = tf.Variable(normal(0, width**-0.5, width), dtype=tf.float32)  # (H,)

    def f(self, x):
        """x: (B, D) → (B,) nats, minus the energy."""
        h = x
        for W, c in zip(self.W, self.c):
            h = tf.nn.swish(h @ W + c)
        return (
            tf.linalg.matvec(x, self.b)
            - self.a / 2 * tf.reduce_sum(x**2, axis=-1)
            + tf.linalg.matvec(h, self.w)
        )

    def score(self, x):
        """x: (B, D) → (B, D), ∇ₓ f(x) = −∇ₓ E(x)."""
        return value_and_gradient(self.f, x)[1]


def value_and_gradient(f, x):
    """x: (B, D) → f(x) (B,) and ∇ₓ f(x) (B, D)."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        value = f(x)
    return value, tape.gradient(value, x)


# %% [markdown] gradient_text
# **A toy that can be enumerated.** With $D = 8$ pixels there are 256 images: $\log Z$ is a sum. The next cell
# differentiates the exact mean log-likelihood of three images automatically, $\log Z$ included, and compares with
# data minus model expectations.


# %% gradient
def all_states(n):
    """All 0/1 vectors of length n: (2^n, n); n ≤ 20 or so."""
    return tf.constant((np.arange(2**n)[:, None] >> np.arange(n)) & 1, tf.float32)


toy, X = Energy(8, 16, seed=1), all_states(8)
data = tf.gather(X, [7, 85, 200])
with tf.GradientTape() as tape:
    log_likelihood = tf.reduce_mean(toy.f(data)) - tf.reduce_logsumexp(toy.f(X))
exact = tape.gradient(log_likelihood, toy.trainable_variables)
p = tf.nn.softmax(toy.f(X))  # (256,) the probabilities, held fixed below
with tf.GradientTape() as tape:
    data_minus_model = tf.reduce_mean(toy.f(data)) - tf.reduce_sum(p * toy.f(X))
ours = tape.gradient(data_minus_model, toy.trainable_variables)
largest = max(float(tf.reduce_max(tf.abs(a - b))) for a, b in zip(ours, exact))
assert largest < 1e-5
print(f"largest difference of the two gradients: {largest:.1e}")

# %% [markdown] langevin_text
# ## 2 · Langevin dynamics
#
# Gradient *ascent* on $\log p$ ends in a mode. Adding noise of the right size turns it into a sampler:
#
# $$x \leftarrow x + \frac{\varepsilon}{2}\, s(x) + \sqrt{\varepsilon}\, z, \qquad z \sim \mathcal{N}(0, I).$$
#
# This is the *unadjusted Langevin algorithm* (ULA). As $\varepsilon \to 0$, with more and more steps, it follows a
# diffusion whose stationary distribution is $p$. At a finite $\varepsilon$ it has another one.
#
# **How far off? A case with an exact answer.** For $p = \mathcal{N}(0, \sigma^2)$ the score is $-x/\sigma^2$, and a
# step is $x \leftarrow (1 - \frac{\varepsilon}{2\sigma^2})\,x + \sqrt\varepsilon\, z$. The variance $V$ of $x$ turns
# into $(1 - \frac{\varepsilon}{2\sigma^2})^2\, V + \varepsilon$. It stays the same if
#
# $$V = \frac{\varepsilon}{1 - \left(1 - \frac{\varepsilon}{2\sigma^2}\right)^2}
# = \frac{\varepsilon}{\frac{\varepsilon}{\sigma^2} - \frac{\varepsilon^2}{4\sigma^4}}
# = \frac{\sigma^2}{1 - \varepsilon / (4\sigma^2)}.$$
#
# The variance is too large, by a share of about $\varepsilon/4\sigma^2$ for small steps, and from $\varepsilon =
# 4\sigma^2$ on the chain explodes. In several dimensions the *narrowest* direction sets this limit.
#
# **Metropolis correction.** Take the Langevin step only as a proposal $y$, with density
# $q(y \mid x) = \mathcal{N}(y;\, x + \frac\varepsilon2 s(x),\, \varepsilon I)$, and accept it with probability
#
# $$\alpha(x \to y) = \min\left(1, \frac{p(y)\, q(x \mid y)}{p(x)\, q(y \mid x)}\right),$$
#
# else stay at $x$. Then $p(x)\, q(y \mid x)\, \alpha(x \to y) = \min\bigl(p(x)\, q(y \mid x),\; p(y)\, q(x \mid
# y)\bigr)$, which is symmetric in $x$ and $y$: detailed balance holds, so $p$ is stationary for *every* $\varepsilon$.
# $Z$ cancels in the ratio. This is the *Metropolis-adjusted Langevin algorithm* (MALA). What one pays is rejections.
#
# All targets in sections 2 and 3 are mixtures of round Gaussians, because for them everything is known: with
# responsibilities $r_k(x)$ as in week 1, $s(x) = \sum_k r_k(x)\,(m_k - x)/v_k$; and adding independent noise
# $\mathcal{N}(0, \sigma^2 I)$ to $x$ gives the same mixture with $v_k + \sigma^2$ in place of $v_k$.


# %% mixture
class Mixture:
    """Σ_k w_k N(x; m_k, v_k I), optionally smoothed by Gaussian noise of standard deviation sigma."""

    def __init__(self, weights, means, variances):
        self.w, self.m, self.v = (tf.constant(t, tf.float32) for t in (weights, means, variances))

    def log_joint(self, x, sigma=0.0):
        """x: (..., D) → (..., K), log w_k N(x; m_k, (v_k + σ²) I)."""
        v, D = self.v + sigma**2, self.m.shape[1]
        squared = tf.reduce_sum((x[..., None, :] - self.m) ** 2, axis=-1)  # (..., K)
        return tf.math.log(self.w) - squared / (2 * v) - D / 2 * tf.math.log(2 * np.pi * v)

    def log_prob(self, x, sigma=0.0):
        """x: (..., D) → (...) nats."""
        return tf.reduce_logsumexp(self.log_joint(x, sigma), axis=-1)

    def score(self, x, sigma=0.0):
        """x: (..., D) → (..., D), Σ_k r_k(x) (m_k − x) / (v_k + σ²)."""
        share = tf.nn.softmax(self.log_joint(x, sigma)) / (self.v + sigma**2)  # (..., K)
        return share @ self.m - tf.reduce_sum(share, axis=-1, keepdims=True) * x

    def sample(self, n, seed):
        """→ (n, D)."""
        draw = np.random.default_rng(seed)
        k = draw.choice(len(self.w), n, p=self.w.numpy().astype(float) / self.w.numpy().sum())
        x = self.m.numpy()[k] + np.sqrt(self.v.numpy()[k])[:, None] * draw.normal(size=(n, self.m.shape[1]))
        return tf.constant(x, tf.float32)


four = Mixture([0.4, 0.3, 0.2, 0.1], [[3, 3], [-3, 3], [-3, -3], [3, -3]], [0.3, 0.3, 0.3, 0.3])
points = 3 * rng.normal([100, 2])
np.testing.assert_allclose(
    four.score(points), value_and_gradient(four.log_prob, points)[1], rtol=1e-3, atol=1e-4
)


# %% langevin
def ula_step(target, x, eps, sigma, rng):
    """x: (..., D) → x + (ε/2) s(x) + √ε z."""
    return x + eps / 2 * target.score(x, sigma) + tf.sqrt(eps) * rng.normal(tf.shape(x))


def mala_step(target, x, eps, sigma, rng):
    """The same step as a proposal y, accepted with probability min(1, p(y) q(x | y) / p(x) q(y | x))."""

    def log_q(y, x):  # up to a constant that cancels
        return -tf.reduce_sum((y - x - eps / 2 * target.score(x, sigma)) ** 2, axis=-1, keepdims=True) / (
            2 * eps
        )

    y = ula_step(target, x, eps, sigma, rng)
    log_p_x, log_p_y = target.log_prob(x, sigma)[..., None], target.log_prob(y, sigma)[..., None]
    log_ratio = log_p_y + log_q(x, y) - log_p_x - log_q(y, x)
    return tf.where(tf.math.log(rng.uniform(tf.shape(log_ratio))) < log_ratio, y, x)


@tf.function
def langevin(step, target, x, eps, sigmas, rng):
    """One step for each noise level in sigmas (T,), with ε: (T,) or (T, ..., 1) → the states (T, ..., D)."""
    states = tf.TensorArray(tf.float32, len(sigmas))
    for t in tf.range(len(sigmas)):
        x = step(target, x, eps[t], sigmas[t], rng)
        states = states.write(t, x)
    return states.stack()


# %% [markdown] bias_text
# **Predict:** we run ULA and MALA on $\mathcal{N}(0, 1)$ at step sizes from 0.2 to 3.6. Which of the two has the
# right variance at $\varepsilon = 2$, and how wrong is the other? And what will be wrong with MALA when the steps are
# so large that nearly all are rejected?

# %% bias
N, T = 2000, 80  # chains for each step size, steps
sizes = np.array([0.2, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.6], np.float32)
eps = tf.tile(sizes[None, :, None, None], [T, 1, 1, 1])  # (T, S, 1, 1)
gauss = Mixture([1.0], [[0.0]], [1.0])
two = Mixture([0.5, 0.5], [[-1.5], [1.5]], [1.0, 1.0])  # second moment 1.5² + 1 = 3.25
measured = {}
for name, step in [("ULA", ula_step), ("MALA", mala_step)]:
    for target in (gauss, two):
        x = langevin(step, target, tf.zeros([len(sizes), N, 1]), eps, tf.zeros(T), rng)[-1]
        measured[name, target] = (x.numpy()[..., 0] ** 2).mean(axis=1)  # (S,)
exact = 1 / (1 - sizes / 4)
for name, truth in [("ULA", exact), ("MALA", np.ones(len(sizes)))]:
    z = (measured[name, gauss] / truth - 1) / np.sqrt(2 / N)  # a mean of N squares of normal numbers
    print(f"{name:>5}: largest of {len(z)} z-scores of the variance {abs(z).max():.1f}")
i = list(sizes).index(1.0)
print(
    f"two modes, ε = 1, second moment 3.25: {measured['ULA', two][i]:.2f} by ULA, {measured['MALA', two][i]:.2f} by MALA"
)
plotting.learning_curves(
    {
        "ULA": (sizes, measured["ULA", gauss]),
        "σ² / (1 − ε / 4σ²)": (sizes, exact),
        "MALA": (sizes, measured["MALA", gauss]),
        "target, σ² = 1": (sizes, np.ones(len(sizes))),
    },
    "step size ε (no unit)",
    "variance of the chains (no unit)",
    f"Langevin on N(0, 1), {N:,} chains of {T} steps from 0. Without correction the variance follows the formula: "
    f"{measured['ULA', gauss][4]:.2f} at ε = 2. With it the variance stays at 1.",
    "The curve of ULA rises from 1 to about 10 along the formula; that of MALA is level at 1.",
    ylog=True,
)

# %% [markdown] modes_text
# **Which error does no correction remove?** A chain that never gets to a mode. The target below has four modes with
# weights 0.4, 0.3, 0.2 and 0.1. Between them the density is practically 0, and far inside a mode the score only points
# to that mode's centre: *it does not depend on the weights at all*. All chains start in the upper right mode, or, in a
# second run, spread out broadly.
#
# **Predict:** after 300 steps, how many of the chains are in each mode, in the first run and in the second?
#
# **The cure: start where mixing is easy.** Blur the target with noise of standard deviation $\sigma$ large enough that
# one hill is left. Sample that, lower $\sigma$ a little, sample again from where the chains are, and so on until
# $\sigma \approx 0$ (*annealed Langevin dynamics*, Song and Ermon, 2019). The step size follows the width of the
# narrowest mode, $\varepsilon_t = \frac12 (\sigma_t^2 + v)$. The chains settle in the modes while these still touch, so
# the shares come out about right; not exactly, for each level gets only a few steps. For exact shares, swap states
# between levels with a Metropolis rule: week 3's parallel tempering.


# %% modes
def shares(x):
    """x: (N, 2) → the shares of the points that are nearest to each of the four centres (4,)."""
    nearest = tf.argmin(tf.reduce_sum((x[:, None] - four.m) ** 2, axis=-1), axis=1)
    return np.bincount(nearest.numpy(), minlength=4) / len(x)


N, T = 1000, 300
still, falling = tf.zeros(T), tf.exp(tf.linspace(np.log(8.0), np.log(0.05), T))
falling = tf.cast(falling, tf.float32)  # σ from 8 to 0.05
corner, broad = tf.tile(four.m[:1], [N, 1]), 4 * rng.normal([N, 2])
runs = {
    "ULA from one mode": langevin(ula_step, four, corner, tf.fill([T], 0.15), still, rng),
    "MALA from one mode": langevin(mala_step, four, corner, tf.fill([T], 0.15), still, rng),
    "ULA from all over": langevin(ula_step, four, broad, tf.fill([T], 0.15), still, rng),
    "annealed from one mode": langevin(ula_step, four, corner, (falling**2 + 0.3) / 2, falling, rng),
}
print(f"{'the true weights':>24}: {four.w.numpy()}")
for name, states in runs.items():
    print(f"{name:>24}: {np.round(shares(states[-1]), 2)}")
plain, annealed = runs["ULA from one mode"], runs["annealed from one mode"]
for what, states in [("ULA", plain), ("Annealed Langevin dynamics", annealed)]:
    share = shares(states[-1])
    plotting.density_2d(
        four.log_prob,
        (-6, 6, -6, 6),
        states[-1].numpy(),
        caption=f"{what}, {N:,} chains that all started in the upper right mode, after {T} steps. Shares of the modes: "
        + ", ".join(f"{s:.2f} (true {w:.1f})" for s, w in zip(share, four.w.numpy()))
        + ".",
        alt=f"Four round hills; dots of {what} lie in {np.count_nonzero(share > 0.02)} of them.",
    )

# %% movie
frames = [
    [
        np.histogram2d(-x[t, :, 1], x[t, :, 0], bins=24, range=[[-8, 8]] * 2)[0].ravel()
        for x in (plain, annealed)
    ]
    for t in range(0, T, 6)
]
plotting.animate(
    np.minimum(np.array(frames) / 20, 1),
    (24, 24),
    "Where 1,000 chains are (histograms; darker means more). Left: ULA. Right: annealed; the cloud first spreads over "
    "everything, then falls apart into four. When is it decided which mode a chain ends in?",
    "An animation of two panels: on the left one spot in the corner, on the right a cloud that condenses into four spots.",
    columns=2,
)
