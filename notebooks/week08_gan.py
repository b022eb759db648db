# %% [markdown] title
# # Week 8 · Generative adversarial networks
#
# {{colab}}
#
# Weeks 6 and 7 trained a decoder through a bound on its likelihood. Keep the decoder, drop the encoder and the bound:
# a network that turns noise into images has a distribution, but as a rule no density that one can compute. So it
# learns by comparing samples: a second network tells drawn images from real ones, and the first one learns to mislead
# it.
#
# **After this notebook you can**
#
# 1. test by a classifier whether two sets of samples come from one distribution, and say what the best classifier knows;
# 2. derive the optimal discriminator and the divergence that it measures, and check both by quadrature;
# 3. write a GAN as a `keras.Model`, with two losses for the generator, and watch both players while they learn;
# 4. count the modes that a generator has lost, and cure it;
# 5. measure samples by Fréchet and kernel distance, and say what neither of them sees.
#
# *Time:* reading 150 minutes, the core of this notebook 150 minutes. It computes for about a minute on two CPU cores.
# What stands under *Deeper* is for whoever wants it.

# %% [markdown] picture_game
# {{picture: game}}

# %% [markdown] reading
# ## Reading
#
# | what | minutes |
# |---|---|
# | **Main:** Prince, *Understanding Deep Learning*, chapter 15 up to the Wasserstein distance, which is next week's. | 60 |
# | Goodfellow (2016), *NIPS 2016 tutorial: Generative adversarial networks*: how GANs work, tips and tricks, research frontiers. | 60 |
# | Mescheder, Geiger and Nowozin (2018), *Which training methods for GANs do actually converge?*: sections 1 to 4, without the proofs. | 30 |
#
# Alternatives: Murphy, *Probabilistic Machine Learning: Advanced Topics*, chapter 26; for Deeper Nowozin, Cseke and
# Tomioka (2016), *f-GAN*.
#
# **Focus questions.** Have an answer to each before you go on.
#
# 1. What does the best possible discriminator know about the two densities, and what not?
# 2. Both players' losses stay as they are. Does the generator still learn?
# 3. Why does the generator in practice not minimise the function that the discriminator maximises?
# 4. A generator draws the same perfect image again and again. Who of the two players notices?
#
# **Letters.** B batch, L dimensions of the noise $z$. New: $p$ is the density of the *data* and $q$ that of the
# *generator*, the model (in weeks 6 and 7 $p$ was the model and $q$ the encoder). $a(x)$ is the discriminator's
# *logit* that $x$ is real, $D(x) = \sigma(a(x))$ the probability; where shapes are given, D is still the number of
# pixels. Images are grey from here on, 0 to 1 in 17 levels.

# %% setup

# %% parameters tags=["parameters"]
dataset = "digits-grey"  # "mnist" or "fashion-mnist": see "Going bigger"
channels = 16  # of the convolutions on the largest images
latent = 32  # L
epochs = 60  # passes over the training images, for the DCGAN
learning_rate = 1e-3  # of Adam, for both players
batch_size = 64  # images a step
penalty = 1.0  # γ of the gradient penalty
ring_steps = 3000  # steps of a GAN on the ring of Gaussians
seed = 0

# %% imports
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from scipy.stats import norm
from sklearn.mixture import GaussianMixture
from tqdm.keras import TqdmCallback

from utils import datasets, evaluation, plotting, quiz, scoreboard
from utils.networks import MLP, batches  # from week 6

digits = datasets.load(dataset)
keras.utils.set_random_seed(seed)  # weights, and all draws of z
print(digits)

# %% [markdown] compare_text
# ## 1 · Comparing samples by a classifier
#
# Two sets of samples lie on the table, without their densities. Do they come from the same distribution? Train a
# classifier to tell them apart, and look at its accuracy on samples that it has not seen.
#
# If both distributions are one, the accuracy is ½ up to chance, and a binomial test says what chance is (Lopez-Paz and
# Oquab, 2017). If they differ, the best possible classifier follows from Bayes' rule. Half of the samples are real:
#
# $$P(\text{real} \mid x) = \frac{p(x)}{p(x) + q(x)} = \sigma(a^*(x)), \qquad a^*(x) = \log \frac{p(x)}{q(x)}.$$
#
# **So the best classifier knows the ratio of the densities, though it has seen samples only.** It is right with
# probability $\int \max(\tfrac12 p, \tfrac12 q)\, dx = \tfrac12 + \tfrac12 \mathrm{TV}(p, q)$, where
# $\mathrm{TV} = \tfrac12 \int |p - q|\, dx$.
#
# This is week 5's noise-contrastive estimation, with one difference: there the density $q$ of the noise was known, so
# the ratio gave $p$; here we have samples of both, and keep the ratio.
#
# **Check** in one dimension, where both densities are known: $p$ has two modes, $q$ is one Gaussian. A small network
# learns from samples alone. **Predict:** where on the axis will its logit be worst?

# %% densities
x = np.linspace(-12, 12, 6001)
dx = x[1] - x[0]
p = 0.6 * norm.pdf(x, -1.5, 0.6) + 0.4 * norm.pdf(x, 1.5, 0.8)
q = norm.pdf(x, 0.0, 1.6)


def draw_p(n):
    """n samples from p: (n, 1)."""
    left = tf.random.uniform([n, 1]) < 0.6
    return tf.where(left, tf.random.normal([n, 1], -1.5, 0.6), tf.random.normal([n, 1], 1.5, 0.8))


def draw_q(n):
    """n samples from q: (n, 1)."""
    return tf.random.normal([n, 1], 0.0, 1.6)


def logistic_loss(real, fake):
    """Mean of −½ log D(real) − ½ log(1 − D(fake)), from the logits of both."""
    return 0.5 * tf.reduce_mean(tf.nn.softplus(-real)) + 0.5 * tf.reduce_mean(tf.nn.softplus(fake))


# %% classifier
def train_classifier(network, draw_real, draw_fake, steps=1500, B=500, rate=0.01):
    """Fit the network's logits by fresh samples in each step."""
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    optimizer.build(network.trainable_variables)

    @tf.function
    def fit():
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                loss = logistic_loss(network(draw_real(B)), network(draw_fake(B)))
            optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)

    fit()


classifier = MLP(1, 64, 64, 1)
train_classifier(classifier, draw_p, draw_q)
logit = classifier(x[:, None].astype(np.float32)).numpy()[:, 0]
optimal = np.log(p) - np.log(q)
N = 20_000
right = np.mean(classifier(draw_p(N)) > 0) / 2 + np.mean(classifier(draw_q(N)) < 0) / 2
best = 0.5 + 0.25 * np.sum(np.abs(p - q)) * dx
print(
    f"accuracy on new samples {right:.3f} ± {np.sqrt(right * (1 - right) / (2 * N)):.3f}; best possible {best:.3f}"
)
assert right < best + 6 * np.sqrt(0.25 / (2 * N))  # nobody beats the best classifier but by chance

# %% classifier_figure
fig, axes = plt.subplots(1, 2, figsize=(11, 3.6))
axes[0].plot(x, p, color=plotting.FAMILY_COLOURS["data"], label="data p")
axes[0].plot(x, q, "--", color=plotting.FAMILY_COLOURS["GAN"], label="generator q")
axes[0].set(xlabel="x (no unit)", ylabel="density (per unit)", xlim=(-7, 7))
axes[1].plot(x, optimal, color="black", label="log p(x) − log q(x)")
axes[1].plot(x, logit, "--", color=plotting.FAMILY_COLOURS["GAN"], label="learned logit a(x)")
axes[1].set(xlabel="x (no unit)", ylabel="logit (nats)", xlim=(-7, 7), ylim=(-12, 4))
for ax in axes:
    ax.legend()
plotting.show(
    fig,
    "Where both densities have samples the learned logit is the log-ratio. Where is it not?",
    "Left, a density with two peaks and a wide one with a single peak. Right, two curves that agree in the middle and part at both ends.",
)

# %% [markdown] classifier_says
# **The network has found the log-ratio, and reaches the best possible accuracy; far out it is wrong, where samples of
# one kind or of both are missing.** There the loss is nearly 0 whatever the logit is exactly. In one dimension such
# places are far out; among images of 64 pixels almost every point is one. There the logit is what the network makes of
# its neighbourhood, not a ratio of densities. Keep this in mind whenever a discriminator is trusted.
#
# The same test on the digits. Its classifier is the same for all weeks (`evaluation.classifier_two_sample_test`), so
# that models can be compared. Three candidates against the test images: training images; the pixels of training
# images, each drawn from another image; and a mixture of 30 Gaussians, fitted to the training images, rounded to grey
# levels.

# %% two_samples
levels = datasets.GREY_LEVELS - 1 if dataset == "digits-grey" else 1.0  # the largest grey level
x_train, x_validation, x_test = (part / levels for part in (digits.train, digits.validation, digits.test))


def to_levels(images):
    """Values in [0, 1] → the nearest of the grey levels that a scan has, as a share of the largest."""
    return np.round(np.clip(images, 0, 1) * 16) / 16 if dataset == "digits-grey" else np.clip(images, 0, 1)


draw = np.random.default_rng(seed)
mixture = GaussianMixture(30, reg_covar=1e-3, random_state=seed).fit(x_train[:2000])
candidates = {
    "training images": x_train[: len(x_test)],
    "pixels shuffled over images": draw.permuted(x_train, axis=0)[: len(x_test)],
    "mixture of 30 Gaussians": to_levels(mixture.sample(len(x_test))[0]),
}
if digits.shape == (8, 8):
    for name, images in candidates.items():
        print(f"{name:>28}: accuracy {evaluation.classifier_two_sample_test(x_test, images)}")

# %% [markdown] two_samples_say
# **Training images pass (p-value 0.8). Shuffled pixels, each of them distributed as it should be, are found out in
# 99.5 % of the cases, the mixture in 86 %.**

# %% [markdown] game_text
# ## 2 · The game, and the divergence behind it
#
# Now let the generator answer. The discriminator wants to classify well, the generator wants it to fail: one function
# of both, which one player maximises and the other minimises (Goodfellow et al., 2014):
#
# $$\min_G \max_D\; V(D, G), \qquad V = \mathbb{E}_{x \sim p}[\log D(x)] + \mathbb{E}_{z}[\log(1 - D(G(z)))].$$
#
# $V$ is $-2$ times the logistic loss above. For each $x$ the discriminator maximises $p \log D + q \log(1 - D)$; this
# is concave in $D$, and its derivative $p / D - q / (1 - D)$ is 0 at $D^* = p / (p + q)$. Put that in, and write
# $m = \tfrac12 (p + q)$:
#
# $$V(D^*, G) = \int p \log \frac{p}{2m} + q \log \frac{q}{2m}\, dx = 2\, \mathrm{JS}(p, q) - \log 4,$$
#
# where $\mathrm{JS} = \tfrac12 \mathrm{KL}(p \| m) + \tfrac12 \mathrm{KL}(q \| m)$ is the **Jensen-Shannon
# divergence**: 0 only if $p = q$, at most $\log 2$. So with a perfect discriminator the generator would minimise it.
# Any other discriminator gives less, a lower bound: $\mathrm{JS} \ge \tfrac12 V(D, G) + \log 2$.
#
# **Check** by quadrature, and see what the learned logit of section 1 gives. **Predict:** the data are
# $\mathcal{N}(0, 1)$, the generator is $\mathcal{N}(s, 1)$. What does JS do as $s$ grows, and what does its slope?


# %% divergence
def kl(p, q, dx):
    """KL(p ‖ q) of two densities on a grid, nats."""
    return np.sum(p * (np.log(p) - np.log(q))) * dx


def js(p, q, dx):
    """Jensen-Shannon divergence on a grid, nats."""
    m = (p + q) / 2
    return kl(p, m, dx) / 2 + kl(q, m, dx) / 2


def game_value(logit, p, q, dx):
    """V(D, G) on a grid for D = σ(logit), nats."""
    log_D, log_not_D = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
    return np.sum(p * log_D + q * log_not_D) * dx


exact = js(p, q, dx)
np.testing.assert_allclose(game_value(optimal, p, q, dx), 2 * exact - np.log(4), rtol=1e-9)
learned = game_value(logit, p, q, dx) / 2 + np.log(2)
half = game_value(optimal / 2, p, q, dx) / 2 + np.log(2)
print(f"JS {exact:.5f} nats; bound by the learned logit {learned:.5f}, by half the best logit {half:.5f}")
assert learned <= exact

# %% saturation
wide = np.linspace(-12, 24, 8001)
shifts = np.linspace(0, 10, 41)
data = norm.pdf(wide)
distances = [js(data, norm.pdf(wide, s), wide[1] - wide[0]) for s in shifts]
fig, axes = plt.subplots(1, 2, figsize=(11, 3.4))
axes[0].plot(shifts, distances, color=plotting.FAMILY_COLOURS["GAN"])
axes[0].axhline(np.log(2), color="black", linestyle=":", label="log 2")
axes[0].set(xlabel="shift s (standard deviations)", ylabel="JS (nats)")
axes[0].legend()
axes[1].semilogy(shifts[1:], np.diff(distances) / np.diff(shifts), color=plotting.FAMILY_COLOURS["GAN"])
axes[1].set(xlabel="shift s (standard deviations)", ylabel="slope of JS (nats per s.d.)")
plotting.show(
    fig,
    "Jensen-Shannon between N(0, 1) and N(s, 1). From which shift on would you call the slope useless?",
    "Left, a curve that rises from 0 and levels off at log 2 from a shift of about 6. Right, its slope, which rises a little and then falls by many powers of ten.",
)

# %% [markdown] saturation_says
# **The slope grows up to a shift of about 1.7, then falls: 0.07 at 4, 0.006 at 6, 0.000002 at 10.** Once the two
# hardly overlap, JS is $\log 2$ whatever the distance. A generator that starts far off is told that it is wrong, and
# almost nothing of where to go. One answer is another loss, now; another is a smoother discriminator, in section 4; a
# third is another distance, next week.

# %% [markdown] losses_text
# ## 3 · Two losses for the generator, and why the game turns in circles
#
# How strongly does the generator feel the discriminator? It receives the slope of its loss with respect to the logit
# $a$ of its own sample.
#
# | | loss of the generator | its derivative in $a$ |
# |---|---|---|
# | saturating, from $V$ | $\log(1 - \sigma(a))$ | $-\sigma(a)$ |
# | non-saturating | $-\log \sigma(a)$ | $-(1 - \sigma(a))$ |
#
# Both want a larger $a$. But soon after the start, when the discriminator has learned to tell, a generator has
# $a \ll 0$: there the first derivative is almost 0 and the second almost $-1$. So in practice the generator minimises
# the second (Goodfellow et al., 2014). It is no longer the function that the discriminator maximises, though both are
# at rest in the same place, $p = q$ and $D = \tfrac12$.
#
# **Do the two players ever get there?** The smallest GAN says (Mescheder et al., 2018): all data lie at 0, the
# generator puts all its mass at $\theta$, the logit is $a(x) = \psi x$. Then
# $V = -\log 2 + \log(1 - \sigma(\psi\theta))$ (the data's term is $\log \sigma(\psi \cdot 0)$), and the players follow
# their slopes:
#
# $$\dot\theta = \sigma(\psi\theta)\, \psi, \qquad \dot\psi = -\sigma(\psi\theta)\, \theta .$$
#
# This is the saturating loss. The two terms of $\tfrac{d}{dt}(\theta^2 + \psi^2) = 2\theta\dot\theta + 2\psi\dot\psi$
# cancel: the players rotate, and nobody ever arrives. (Non-saturating: $\dot\theta = \sigma(-\psi\theta)\, \psi$.) A
# step of finite length $h$ leaves the circle along its tangent, so the radius grows by the factor
# $\sqrt{1 + h^2 \sigma^2}$ a step.
#
# **The cure** adds $-\gamma \psi$ to $\dot\psi$. That is the slope, in $\psi$, of $-\tfrac{\gamma}{2} |\nabla_x a|^2$,
# here $-\tfrac{\gamma}{2}\psi^2$: a discriminator that is steep *at the data* pays. Near the centre
# $\sigma = \tfrac12$, the motion is linear, and its eigenvalues are $\tfrac12 (-\gamma \pm \sqrt{\gamma^2 - 1})$: a
# spiral inwards for $\gamma < 1$, at the rate $\gamma / 2$. **Predict:** is a very large $\gamma$ faster still?


# %% dirac
def sigmoid(t):
    return 1 / (1 + np.exp(-t))


def dirac_gan(theta, psi, steps, h, gamma=0.0, saturating=True):
    """Both players' gradient steps of length h, at the same time → the path (steps + 1, 2) of θ and ψ."""
    path = [(theta, psi)]
    for _ in range(steps):
        a = psi * theta
        slope = sigmoid(a) if saturating else sigmoid(-a)
        theta, psi = theta + h * slope * psi, psi - h * (sigmoid(a) * theta + gamma * psi)
        path.append((theta, psi))
    return np.array(path)


h = 0.2
games = {
    "saturating": {"saturating": True},
    "non-saturating": {"saturating": False},
    "non-saturating, γ = 0.3": {"saturating": False, "gamma": 0.3},
}
fig, axes = plt.subplots(1, 3, figsize=(11, 3.9), sharey=True)
for ax, (name, options) in zip(axes, games.items()):
    path = dirac_gan(1.0, 1.0, 300, h, **options)
    ax.plot(*path.T, color=plotting.FAMILY_COLOURS["GAN"], linewidth=1)
    ax.plot(*path[0], "o", color="black")
    ax.plot(0, 0, "+", color="black", markersize=14)
    ax.set(title=name, xlabel="generator θ (no unit)", xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
axes[0].set_ylabel("discriminator ψ (no unit)")
plotting.show(
    fig,
    "300 steps from the dot. Where would you stop the first two? The cross is the solution.",
    "Left, a spiral outwards. Middle, a spiral inwards that ends on a circle. Right, a spiral that ends in the cross.",
)

# %% dirac_check
# The radius, exactly; and the rate near the centre, by the eigenvalues of the linear map.
radius = np.sum(dirac_gan(1.0, 1.0, 300, h) ** 2, axis=1)
a = np.prod(dirac_gan(1.0, 1.0, 300, h)[:-1], axis=1)
np.testing.assert_allclose(radius[1:] / radius[:-1], 1 + h**2 * sigmoid(a) ** 2, rtol=1e-12)
for gamma in [0.0, 0.3, 1.0, 5.0]:
    step = np.eye(2) + h * np.array([[0, 0.5], [-0.5, -gamma]])
    path = dirac_gan(1e-6, 1e-6, 2000, h, gamma)
    norms = np.linalg.norm(path[[1000, 2000]], axis=1)
    measured = np.log(norms[1] / norms[0]) / 1000 if norms[1] > 0 else -np.inf
    print(
        f"γ = {gamma:3}: log of the radius changes by {measured:8.5f} a step, "
        f"largest eigenvalue {np.log(np.abs(np.linalg.eigvals(step)).max()):8.5f}"
    )

# %% [markdown] dirac_says
# **Two players that each do the right thing circle around the solution, or move away from it; a discriminator that
# pays for its slope at the data brings both home.** The non-saturating loss pulls inwards far from the centre only;
# near it a finite step pushes out more than the loss pulls in, and the players end on a circle, here of radius about
# 0.63, wherever they start. And more penalty is not always better: beyond $\gamma = 1$ the slower eigenvalue comes
# back to 0. The discriminator then follows at once, $\psi \approx -\theta / 2\gamma$, but is so flat that the
# generator hardly moves.

# %% [markdown] gan_text
# ## 4 · A GAN, and the modes it loses
#
# Now both players are networks. One step of training draws real images and noise, and moves both players at once, each
# along the slope of its own loss:
#
# $$\mathcal{L}_D = \mathbb{E}_{p}[-\log \sigma(a(x))] + \mathbb{E}_{z}[-\log(1 - \sigma(a(G(z))))] + \tfrac{\gamma}{2}\, \mathbb{E}_{p}\, |\nabla_x a(x)|^2,
# \qquad \mathcal{L}_G = \mathbb{E}_{z}[-\log \sigma(a(G(z)))].$$
#
# (The first two terms are twice section 1's logistic loss: $2 \log 2$ when $D = \tfrac12$.) The penalty needs the
# slope of a slope: an inner tape for $\nabla_x a$, an outer one for the weights (this penalty is called R1). The
# `train_step` of a `keras.Model` is ours here, because a step is special: two losses, two optimisers. One more thing
# that most GANs need: the last weights of the generator circle, their **moving average** far less, so the average
# makes the images (Yazıcı et al., 2019; Keras's optimiser keeps it, `use_ema`).


# %% r1
def r1(discriminator, x):
    """Logits of x (B, ...), and the mean over the batch of |∇ₓ a(x)|², a scalar."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = discriminator(x, training=True)
    slope = tf.reshape(tape.gradient(logits, x), [tf.shape(x)[0], -1])
    return logits, tf.reduce_mean(tf.reduce_sum(slope**2, axis=1))


def gan_losses(real, fake, saturating=False):
    """Logits of real and drawn images → the losses of discriminator and generator, scalars in nats."""
    d_loss = tf.reduce_mean(tf.nn.softplus(-real)) + tf.reduce_mean(tf.nn.softplus(fake))
    g_loss = tf.reduce_mean(-tf.nn.softplus(fake) if saturating else tf.nn.softplus(-fake))
    return d_loss, g_loss


# %% gan
class GAN(keras.Model):
    """generator: noise z (B, L) → images; discriminator: images → logits (B, 1) that they are real."""

    def __init__(self, generator, discriminator, L, gamma=0.0, saturating=False):
        super().__init__()
        self.generator, self.discriminator, self.L, self.saturating = generator, discriminator, L, saturating
        start = keras.initializers.Constant(gamma)
        self.gamma = self.add_weight(name="gamma", initializer=start, trainable=False)
        self.built = True  # all weights exist

    def call(self, z):
        """z: (B, L) → images."""
        return self.generator(z, training=False)

    def sample(self, n):
        return self(tf.random.normal([n, self.L]))

    def train_step(self, x):
        """One step of both players at the same time → what can be watched."""
        z = tf.random.normal([tf.shape(x)[0], self.L])
        with tf.GradientTape(persistent=True) as tape:
            real, slope = r1(self.discriminator, x)
            fake = self.discriminator(self.generator(z, training=True), training=True)
            d_loss, g_loss = gan_losses(real, fake, self.saturating)
            d_loss += 0.5 * self.gamma * slope
        watched = {"real": tf.reduce_mean(tf.sigmoid(real)), "drawn": tf.reduce_mean(tf.sigmoid(fake))}
        for name, player, loss in [("d", self.discriminator, d_loss), ("g", self.generator, g_loss)]:
            slopes = tape.gradient(loss, player.trainable_variables)  # at the weights before the step, both
            rule = self.optimizer if name == "d" else self.generator_optimizer
            rule.apply(slopes, player.trainable_variables)
            watched[f"{name}_slope"] = tf.linalg.global_norm(slopes)
        return watched

    def test_step(self, x):
        """What the discriminator says of images that it has not seen, without a step."""
        return {"real": tf.reduce_mean(tf.sigmoid(self.discriminator(x, training=False)))}


# %% train
def train(gan, data, epochs, rate, d_rate=None, average=0.99, **options):
    """Both players by Adam, then the moving average of the generator's weights → {name: [by epoch]}, seconds."""
    adam = {"beta_1": 0.5, "beta_2": 0.99}
    gan.generator_optimizer = keras.optimizers.Adam(rate, use_ema=True, ema_momentum=average, **adam)
    gan.compile(
        keras.optimizers.Adam(d_rate or rate, **adam),
        steps_per_execution=len(data),  # an epoch is one call of the graph
        jit_compile=False,  # XLA is slower here
    )
    gan.optimizer.build(gan.discriminator.trainable_variables)  # else `fit` traces the step twice
    gan.generator_optimizer.build(gan.generator.trainable_variables)
    began, callbacks = time.perf_counter(), [TqdmCallback(verbose=0), *options.pop("callbacks", ())]
    history = gan.fit(data, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=0, **options).history
    gan.generator_optimizer.finalize_variable_values(gan.generator.trainable_variables)
    return history, time.perf_counter() - began


def snapshots(gan, z, moments):
    """A callback, and what it fills: {epoch: the images of the noise z}, at these moments."""
    seen = {}

    def look(epoch, logs):
        if epoch + 1 in moments:
            seen[epoch + 1] = gan(z).numpy()

    return keras.callbacks.LambdaCallback(on_epoch_end=look), seen


# %% [markdown] picture_ahead
# {{picture: ahead}}

# %% [markdown] ring_text
# **A ring of eight Gaussians** shows what can go wrong, since there the modes can be counted. A mode is *covered* if
# at least a tenth of its fair share of samples lie within three standard deviations of its centre; 98.9 % of the true
# samples do. Three trainings of equal length: the discriminator learns at half the generator's rate; at the same rate;
# at the same rate and with the penalty.
#
# **Predict:** how many of the eight modes does each of the three find?

# %% ring
angles = 2 * np.pi * np.arange(8) / 8
centres, scale = 3 * np.stack([np.cos(angles), np.sin(angles)], axis=1), 0.15  # of datasets.toy_2d("ring")


def modes(points, centres, scale):
    """points: (N, 2), centres: (K, 2) → how many modes are covered, share of points within 3 scales of a centre."""
    distance = np.linalg.norm(points[:, None] - centres, axis=2)  # (N, K)
    near = distance.min(axis=1) < 3 * scale
    counts = np.bincount(distance.argmin(axis=1)[near], minlength=len(centres))
    return int(np.sum(counts >= 0.1 * len(points) / len(centres))), float(near.mean())


def dense(*sizes):
    """Dense layers with ReLU between them."""
    hidden = [keras.layers.Dense(n, "relu") for n in sizes[1:-1]]
    return keras.Sequential([keras.Input((sizes[0],)), *hidden, keras.layers.Dense(sizes[-1])])


points = datasets.toy_2d("ring", 25_600, seed)
ring_data = batches(points, B=128, seed=seed, binarise=False)
ring_noise = tf.random.normal([1000, 16])
stages = [1, 2, 4, 8, ring_steps // 200]  # epochs of 200 steps
watched = {}
for name, gamma, share in [
    ("slow D", 0.0, 0.5),
    ("equal rates", 0.0, 1.0),
    ("equal rates, γ = 0.1", 0.1, 1.0),
]:
    keras.utils.set_random_seed(seed)  # all three start with the same weights
    gan = GAN(dense(16, 128, 128, 2), dense(2, 128, 128, 1), 16, gamma)
    look, watched[name] = snapshots(gan, ring_noise, stages)
    _, seconds = train(gan, ring_data, stages[-1], 2e-3, share * 2e-3, average=0.995, callbacks=[look])
    covered, near = modes(gan.sample(4000).numpy(), centres, scale)
    print(f"{name:>20}: {covered} of 8 modes, {near:5.1%} of the samples near a centre ({seconds:.0f} s)")

# %% ring_figure
fig, axes = plt.subplots(3, len(stages), figsize=(11, 6.8), sharex=True, sharey=True)
for row, (name, seen) in zip(axes, watched.items()):
    row[0].set_ylabel(name, fontsize=12)
    for ax, sample in zip(row, seen.values()):
        ax.plot(*centres.T, "+", color="black", markersize=10)
        ax.plot(*sample.T, ".", color=plotting.FAMILY_COLOURS["GAN"], markersize=2, alpha=0.5)
        ax.set(xlim=(-5, 5), ylim=(-5, 5), aspect="equal", xticks=[], yticks=[])
for ax, epoch in zip(axes[0], stages):
    ax.set_title(f"step {200 * epoch:,}", fontsize=12)
plotting.show(
    fig,
    "Samples of the generator while it learns, by its last weights, not their average; crosses: the eight modes. In which rows do all samples sit on one side, and until when?",
    "Three rows of five scatter plots. In the first all points sit together, each time elsewhere; in the last they come to lie on or beside all eight crosses.",
)

# %% [markdown] ring_says
# **A discriminator that lags behind lets the whole cloud of samples run from one side of the ring to another, and it
# settles nowhere; at equal rates the generator finds six to eight modes, and with the penalty all eight.** The picture
# above says why. For a *fixed* discriminator the best answer of the generator is a single point, where the logit is
# highest. The minimum over $G$ of the maximum over $D$ asks for a generator that is good against the *best*
# discriminator. A generator that arrives before the discriminator has moved answers the *last* one: the maximum over
# $D$ of the minimum over $G$, whose inner answer is that one point. So anything helps that takes the generator's lead
# away.
#
# <details><summary>Measured how?</summary>
#
# Five seeds, 3,000 steps each. Modes covered, share of the samples within three standard deviations of a centre: equal
# rates with γ = 0.1: 8, 8, 8, 8, 8, 0.93 to 0.95; the penalty removed: 7, 7, 8, 7, 6, 0.92 to 0.94; the
# discriminator's rate halved: 0 in all five, with the penalty and without. Halved, but with the saturating loss, which
# slows the generator down: 8, 8, 8 (three seeds), 0.95. The average matters for the share: with γ = 0.1 and seed 1 the
# last weights have 0.73, their average 0.94. At other rates and settings of Adam a GAN without a penalty may find all
# eight as well, or collapse at equal rates.
# </details>

# %% [markdown] dcgan_text
# ## 5 · A convolutional GAN on digits, watched while it learns
#
# Images need networks that know what an image is (DCGAN, Radford et al., 2016). The generator starts from a 2×2 image
# of many channels and doubles it twice, with a convolution after each doubling; the discriminator halves it twice.
# Batch normalisation keeps the generator's activations in range; the discriminator has none, since the penalty asks
# for the slope at *one* image. (The paper's generator doubles by transposed convolutions; repeating pixels and
# convolving serves the same end, is faster on a CPU and leaves no checkerboard, Odena et al., 2016.)
#
# There is no learning curve that must fall: each loss depends on the other player. So we watch what each of them does:
# $D$ on training images, on *validation* images, and on drawn ones; the length of both gradients; and the same 20
# noise vectors again and again.


# %% dcgan
def generator(L, shape, channels):
    """z (B, L) → images (B, height, width, 1) with values in [0, 1]."""
    height, width = shape
    layers = [keras.Input((L,)), keras.layers.Dense(height * width // 16 * 2 * channels, use_bias=False)]
    layers += [keras.layers.Reshape((height // 4, width // 4, 2 * channels))]
    for n in [2 * channels, channels]:
        layers += [keras.layers.BatchNormalization(momentum=0.9), keras.layers.ReLU()]
        layers += [keras.layers.UpSampling2D(), keras.layers.Conv2D(n, 3, padding="same", use_bias=False)]
    layers += [keras.layers.BatchNormalization(momentum=0.9), keras.layers.ReLU()]
    return keras.Sequential([*layers, keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")])


def discriminator(shape, channels):
    """images (B, height, width, 1) → logits (B, 1)."""
    layers = [keras.Input((*shape, 1))]
    for n, size, stride in [(channels, 3, 1), (2 * channels, 4, 2), (4 * channels, 4, 2)]:
        layers += [keras.layers.Conv2D(n, size, stride, "same"), keras.layers.LeakyReLU(0.2)]
    return keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(1)])


def as_images(x):
    """(N, D) → (N, height, width, 1) float32."""
    return np.reshape(x, [-1, *digits.shape, 1]).astype(np.float32)


# %% watch
moments = sorted({round(epochs ** (i / 19)) for i in range(20)})  # log-spaced
dcgan = GAN(generator(latent, digits.shape, channels), discriminator(digits.shape, channels), latent, penalty)
look, frames = snapshots(dcgan, tf.random.normal([20, latent]), moments)
data = batches(as_images(x_train), B=batch_size, seed=seed, binarise=False)
unseen = tf.data.Dataset.from_tensors(as_images(x_validation[:2000]))
curve, dcgan_seconds = train(dcgan, data, epochs, learning_rate, validation_data=unseen, callbacks=[look])
print(f"trained in {dcgan_seconds:.1f} s, compilation included")

# %% watch_figure
fig, axes = plt.subplots(1, 2, figsize=(11, 3.6))
for name, key, line in [("training", "real", "-"), ("validation", "val_real", "--"), ("drawn", "drawn", ":")]:
    axes[0].plot(1 + np.arange(epochs), curve[key], line, label=f"{name} images")
for name, key, line in [("discriminator", "d_slope", "-"), ("generator", "g_slope", "--")]:
    axes[1].semilogy(1 + np.arange(epochs), curve[key], line, label=name)
axes[0].set(xlabel="time (epochs)", ylabel="mean of D (last batch)", ylim=(0, 1))
axes[1].set(xlabel="time (epochs)", ylabel="gradient norm (no unit)")
for ax in axes:
    ax.legend()
plotting.show(
    fig,
    "Both players. Does the discriminator win? Does it know its training images by heart?",
    "Left, D on training, validation and drawn images over the epochs. Right, the norms of both gradients.",
)
plotting.animate(
    np.reshape(list(frames.values()), [len(frames), 20, -1]),
    digits.shape,
    "Twenty noise vectors, always the same, through the last weights, not their average. When do they become digits?",
    "An animation: grey blots become digits, and later change slowly into other digits.",
    titles=[f"epoch {epoch}" for epoch in frames],
)

# %% [markdown] dcgan_says
# **After ten epochs the discriminator's mean answer is ½, for new images as for those of the training, and the
# generator still improves.** The kernel distance of its samples (next section) × 1000 is 42, 11, 2, 3, 0 after 10, 20,
# 30, 40, 60 epochs. So this curve does not say how good the images are. It says that neither player has run away, and
# that the discriminator does not know its training images by heart. It can still rank real above drawn images (in 0.79
# of the pairs after 10 epochs, 0.6 at the end); the penalty keeps its logits small.
#
# <details><summary>Measured how?</summary>
#
# The two series: seed 0. Three seeds, 60 epochs, 2,000 samples against the validation images, kernel distance × 1000:
# as here 0, 3, 6 (each ± 2 to 3); without the average of the weights 7, 16, 8 (± 4 to 5); with the average and without
# the penalty 4, 2, 2 (± 3). So the average helps, and the penalty makes no difference to this measure. By the
# classifier on test images samples without the penalty are even harder to tell from real ones (accuracy 0.80, 0.84,
# 0.86 against 0.86, 0.86, 0.93, each ± 0.02). What the penalty changes is the game: without it the mean of $D$ is 0.51
# to 0.54 on training images and 0.31 to 0.42 on drawn ones.
# </details>

# %% [markdown] measure_text
# ## 6 · How good are samples without a density?
#
# Two numbers are most in use. Both compare *features* of images, 64 numbers that the last hidden layer of a classifier
# makes of them. (A small network that learned on the training part to name the digit and to tell how many pixels were
# flipped; it is the same for all weeks.) The **Fréchet distance** pretends that both sets of features are Gaussian and
# takes their distance (Heusel et al., 2017):
#
# $$d^2 = |\mu_1 - \mu_2|^2 + \mathrm{tr}\left(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2}\right).$$
#
# It is the squared *transport* distance of the two Gaussians: the least mean square move of a map from one to the
# other.
#
# The **kernel distance** (Bińkowski et al., 2018) is the squared difference of mean features in a larger space, the
# products of up to three features: $\mathbb{E}\, k(f, f') + \mathbb{E}\, k(g, g') - 2\, \mathbb{E}\, k(f, g)$ with
# $k(f, g) = (f \cdot g / 64 + 1)^3$, where $f, f'$ are features of real images and $g, g'$ of drawn ones (MMD,
# Deeper). Estimated without the pairs of an image with itself it is unbiased, so it can be negative.
#
# The scoreboard has a third number, **coverage** (Naeem et al., 2020): the share of test images that have a drawn one
# nearer, by features, than their fifth nearest test image. It falls when a model leaves something out; the best that
# 400 independent samples can expect is 0.97.
#
# **Check.** The best map between Gaussians is linear, after subtracting the means,
# $T = \Sigma_1^{-1/2} (\Sigma_1^{1/2} \Sigma_2 \Sigma_1^{1/2})^{1/2} \Sigma_1^{-1/2}$. It must turn the first
# covariance into the second, $T \Sigma_1 T = \Sigma_2$, at the mean cost $d^2$. (It is symmetric and positive, so no
# map is cheaper: Brenier's theorem.) In the figure both measures compare real images with *real* images. **Predict:**
# what do they give, for few images and for many?


# %% frechet
def root(S):
    """The square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(S)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T


def frechet(mu1, S1, mu2, S2):
    """Squared Fréchet distance of N(mu1, S1) and N(mu2, S2); tr (S1 S2)^½ = tr (S1^½ S2 S1^½)^½."""
    half = root(S1)
    return np.sum((mu1 - mu2) ** 2) + np.trace(S1 + S2 - 2 * root(half @ S2 @ half))


def frechet_distance(f, g):
    """Of two sets of features (N, F), (M, F)."""
    return frechet(f.mean(axis=0), np.cov(f.T), g.mean(axis=0), np.cov(g.T))


A, C = draw.normal(size=(2, 5, 5))
mu1, mu2, S1, S2 = draw.normal(size=5), draw.normal(size=5), A @ A.T, C @ C.T
T = np.linalg.inv(root(S1)) @ root(root(S1) @ S2 @ root(S1)) @ np.linalg.inv(root(S1))
np.testing.assert_allclose(T @ S1 @ T, S2, atol=1e-6)
cost = np.sum((mu1 - mu2) ** 2) + np.trace((np.eye(5) - T) @ S1 @ (np.eye(5) - T).T)
np.testing.assert_allclose(frechet(mu1, S1, mu2, S2), cost, rtol=1e-6)
one = frechet(np.array([1.0]), np.array([[4.0]]), np.array([3.0]), np.array([[9.0]]))
np.testing.assert_allclose(
    one, (1 - 3) ** 2 + (2 - 3) ** 2
)  # in one dimension: means and standard deviations
print("Fréchet distance: equal to the cost of the best map")

# %% bias
grey = datasets.load("digits-grey")  # the features know 8×8 images
every, sizes = np.concatenate([grey.train, grey.validation]) / 16, [30, 60, 120, 240, 480]
all_features, found = evaluation.features(every), {"Fréchet": [], "kernel": []}
for n in sizes:
    halves = [draw.permutation(len(every))[: 2 * n] for _ in range(6)]
    found["Fréchet"].append([frechet_distance(all_features[h[:n]], all_features[h[n:]]) for h in halves])
    found["kernel"].append([evaluation.kernel_distance(every[h[:n]], every[h[n:]]).value for h in halves])
fig, axes = plt.subplots(1, 2, figsize=(11, 3.4))
for ax, (name, values) in zip(axes, found.items()):
    ax.errorbar(sizes, np.mean(values, axis=1), np.std(values, axis=1), marker="o", capsize=3, color="black")
    ax.axhline(0, color=plotting.FAMILY_COLOURS["GAN"], linestyle=":")
    ax.set(xscale="log", xlabel="images in each of two sets", ylabel=f"{name} distance (no unit)")
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.minorticks_off()
plotting.show(
    fig,
    "Real images against real images; bars: standard deviation over six splits. The right answer is 0.",
    "Left, a curve that falls towards 0 as the sets grow. Right, points around 0 with bars that shrink.",
)

# %% [markdown] measure_says
# **Between two sets of real images the Fréchet distance is far from 0, and the more so the fewer images; the kernel
# distance is 0 up to its noise.** Means and covariances of two finite sets differ by chance, and a squared distance
# counts every difference as positive; the kernel estimate subtracts its share, the Fréchet distance does not. Two sets
# of 480 real images are 0.2 apart, and the mixture of section 1 is at 0.3. So Fréchet distances compare only at the
# same number of images, and small differences hardly then. With 400 test images the scoreboard uses the kernel
# distance. Neither of them notices a generator that has learned its training images by heart: it would look like real
# images.

# %% [markdown] scoreboard_text
# ## The scoreboard
#
# A GAN has no likelihood of a new image: its images fill a surface of at most 32 of 64 dimensions, and a test image
# lies beside it. (Rounded to grey levels each image has a probability, but it is an integral over noise that nobody
# can do.) So the column stays empty, and no other number is put there. (A kernel density estimate of its samples was
# once printed there; Deeper shows what is wrong with it.) What remains are the samples. Beside it the mixture of
# section 1, on the same measures.


# %% board
def draw_levels(n):
    """n images of the DCGAN (n, D), in the grey levels of the data set."""
    return to_levels(dcgan.sample(n).numpy().reshape(n, -1)) * levels


def draw_mixture(n):
    """n images of the mixture (n, D), in the grey levels of the data set."""
    return to_levels(mixture.sample(n)[0]) * levels


trained = {"train_seconds": dcgan_seconds, "parameters": dcgan.count_params()}
noted = {"note": "fitted as if grey levels were continuous"}
shared = {"week": 8, "data": dataset, "value": None, "kind": "none", "unit": "bits per dimension"}
for name, family, sample, more in [
    (f"DCGAN, {channels} channels", "GAN", draw_levels, trained),
    ("Mixture of 30 Gaussians", "mixture", draw_mixture, noted),
]:
    board = scoreboard.enter(sample, model=name, family=family, **shared, **more)
board

# %% [markdown] board_says
# **By kernel distance the GAN's samples are about as close to the test images as the mixture's; the classifier tells
# both from real ones, in 82 to 93 % of the cases.** Over four trainings the GAN's distance × 1000 is 2, 4, 8, 1 (each
# ± 2), over three seeds the mixture's 4, 6, 5; the classifier is right on 0.86, 0.86, 0.93, 0.82 of the images, and on
# 0.86, 0.87, 0.89. So one training does not say who is ahead. Coverage tells them apart: 0.40 ± 0.02 against 0.89 ±
# 0.02 (one training each). The grey ladder of week 7 (Deeper) has an accuracy of 0.82 ± 0.02 (one training), and a
# likelihood.

# %% [markdown] check_text
# ## Self-check
#
# Five questions; every answer explains itself.


# %% self_check
quiz.show("week08_gan")

# %% [markdown] class
# **Bring to class** (no easy answers):
#
# 1. A generator copies its 1,197 training images. Which of this week's numbers would notice, and how would you?
# 2. Both players' losses are constant for an hour. Name two reasons, one good and one bad, and a plot that tells them apart.
# 3. The best discriminator is a ratio of densities. Then why not read the likelihood off a trained discriminator?
#
# %% [markdown] summary
# ## Summary
#
# - A classifier that tells two sets of samples apart learns the ratio of their densities, where it has samples. Its accuracy
#   tests whether they come from one distribution.
# - With the best discriminator the game's value is $2\, \mathrm{JS}(p, q) - \log 4$; with any other it is a lower bound.
# - The generator in practice maximises $\log D$: the saturating loss has no slope where the generator is bad.
# - Gradient steps of two players circle. A penalty on the discriminator's slope at the data damps the circle.
# - A discriminator that lags behind loses modes. Count them where they can be counted.
# - Samples are compared by features. The Fréchet distance depends on the number of images; neither distance notices copies.
#
# **Next week**: a distance that still has a slope where JS has none, translation without pairs, and StyleGAN's
# generator.

# %% [markdown] deeper_fdiv
# ## Deeper · Every f-divergence has a game
#
# For a convex $f$ with $f(1) = 0$ the $f$-divergence is $D_f(p \| q) = \int q\, f(p / q)\, dx$. A convex function is
# the upper edge of its tangents, $f(u) = \max_t\, [u t - f^*(t)]$, where $f^*$ is its conjugate. Put that in, and one
# function $t(x)$ in place of a number for each $x$ gives a lower bound from samples alone (Nguyen et al., 2010;
# Nowozin et al., 2016):
#
# $$D_f(p \| q) \ge \mathbb{E}_p[t(x)] - \mathbb{E}_q[f^*(t(x))], \qquad \text{tight for } t(x) = f'\left(\tfrac{p(x)}{q(x)}\right).$$
#
# | divergence | $f(u)$ | $f^*(t)$ | best $t$ |
# |---|---|---|---|
# | $\mathrm{KL}(p \,\|\, q)$ | $u \log u$ | $e^{t - 1}$ | $1 + \log u$ |
# | $\mathrm{KL}(q \,\|\, p)$ | $-\log u$ | $-1 - \log(-t)$ | $-1 / u$ |
# | Pearson $\chi^2$ | $(u - 1)^2$ | $t + t^2 / 4$ | $2 (u - 1)$ |
# | squared Hellinger | $(\sqrt u - 1)^2$ | $t / (1 - t)$ | $1 - 1 / \sqrt u$ |
# | game of a GAN | $u \log u - (u + 1) \log(u + 1) + \log 4$ | $-\log(1 - e^t) - \log 4$ | $\log \frac{u}{1 + u}$ |
#
# The last one is $2\, \mathrm{JS}$, with $t = \log D$. The table is verified on two Gaussians whose divergences are
# known (the last one by section 2), by quadrature: the bound at the best $t$ is the divergence, and at a slightly
# different one less.

# %% fdiv
table = {  # f, its conjugate, the best t
    "KL(p ‖ q)": (lambda u: u * np.log(u), lambda t: np.exp(t - 1), lambda u: 1 + np.log(u)),
    "KL(q ‖ p)": (lambda u: -np.log(u), lambda t: -1 - np.log(-t), lambda u: -1 / u),
    "Pearson χ²": (lambda u: (u - 1) ** 2, lambda t: t + t**2 / 4, lambda u: 2 * (u - 1)),
    "Hellinger²": (lambda u: (np.sqrt(u) - 1) ** 2, lambda t: t / (1 - t), lambda u: 1 - u**-0.5),
    "2 JS": (
        lambda u: u * np.log(u) - (u + 1) * np.log(u + 1) + np.log(4),
        lambda t: -np.log1p(-np.exp(t)) - np.log(4),
        lambda u: np.log(u / (1 + u)),
    ),
}
first, second = norm.pdf(x, 0.0, 1.0), norm.pdf(x, 0.5, 1.2)
ratio = first / second
known = {  # closed forms for N(0, 1) and N(0.5, 1.2²)
    "KL(p ‖ q)": np.log(1.2) + (1 + 0.25) / (2 * 1.44) - 0.5,
    "KL(q ‖ p)": -np.log(1.2) + (1.44 + 0.25) / 2 - 0.5,
    "Pearson χ²": 1.44 / np.sqrt(1.88) * np.exp(0.25 / 1.88) - 1,
    "Hellinger²": 2 - 2 * np.sqrt(2 * 1.2 / (1 + 1.44)) * np.exp(-0.25 / (4 * (1 + 1.44))),
    "2 JS": 2 * js(first, second, dx),
}
for name, (f, conjugate, best_t) in table.items():
    divergence = np.sum(second * f(ratio)) * dx
    tight, off = (
        np.sum(first * t - second * conjugate(t)) * dx for t in [best_t(ratio), best_t(1.2 * ratio)]
    )
    np.testing.assert_allclose(tight, divergence, rtol=1e-6)
    np.testing.assert_allclose(divergence, known.get(name, divergence), rtol=1e-5)
    print(f"{name:>10}: {divergence:.5f}; bound at the best t {tight:.5f}, at another {off:.5f}")
    assert off < divergence

# %% [markdown] deeper_nonsat
# ## Deeper · What the non-saturating loss minimises
#
# With the best discriminator the saturating loss has the slope of $2\, \mathrm{JS}$. What does the other one follow?
# Differentiate $-\mathbb{E}_q[\log D^*]$ in the generator with $D^*$ held fixed: the slope is that of
# $\mathrm{KL}(q \| p) - 2\, \mathrm{JS}(p, q)$ (Arjovsky and Bottou, 2017). The reverse KL punishes samples where
# there are no data, hardly data without samples; and the minus in front of JS does not push the two together.
#
# **Check** for the generator $\mathcal{N}(s, 1)$ by quadrature: the sample $s + \epsilon$ moves with $s$, so its slope
# is $-\mathbb{E}_q[\tfrac{d}{dx} \log D^*]$.

# %% nonsat
s, e = 0.8, 1e-4
real, step = norm.pdf(x), x[1] - x[0]
fake = norm.pdf(x, s)
log_D = -np.log1p(fake / real)
by_samples = -np.sum(fake * np.gradient(log_D, step)) * step
target = [kl(norm.pdf(x, t), real, step) - 2 * js(real, norm.pdf(x, t), step) for t in [s - e, s + e]]
print(f"slope of the loss {by_samples:.5f}, of KL(q ‖ p) − 2 JS {(target[1] - target[0]) / (2 * e):.5f}")
np.testing.assert_allclose(by_samples, (target[1] - target[0]) / (2 * e), rtol=1e-3)

# %% [markdown] deeper_mmd
# ## Deeper · A two-sample test without training
#
# The **maximum mean discrepancy** compares the means of features $\phi$, of which there may be infinitely many, since
# only $k(x, y) = \phi(x)^\top \phi(y)$ is needed (Gretton et al., 2012):
#
# $$\mathrm{MMD}^2 = \mathbb{E}\, k(x, x') + \mathbb{E}\, k(y, y') - 2\, \mathbb{E}\, k(x, y), \qquad x, x' \sim p,\ y, y' \sim q .$$
#
# Without the diagonal of the kernel matrices the estimate is unbiased. How large is it by chance? If both sets come
# from one distribution, the labels mean nothing: permute them, and see how often the permuted value reaches the one
# found. The p-value is then uniform under the null, which 200 repetitions must show.


# %% mmd
def gaussian_kernel(x, width):
    """x: (N, D) → the matrix of exp(−|x − y|² / (2 width²)), its diagonal set to 0: (N, N)."""
    square = np.sum(x**2, axis=1)
    K = np.exp(-(square[:, None] + square - 2 * x @ x.T) / (2 * width**2))
    np.fill_diagonal(K, 0)
    return K


def mmd2(K, s):
    """K: kernel matrix of both sets together without its diagonal, s: (M, N) of ±1, N / 2 each → (M,)."""
    n = K.shape[0] // 2
    total, signed = K.sum(), np.sum((s @ K) * s, axis=1)  # same label minus different label
    return (total + signed) / 2 / (n * (n - 1)) - (total - signed) / 2 / n**2


def mmd_test(x, y, width, permutations, draw):
    """p-value of "both sets (n, D) come from one distribution", by permuting the labels."""
    labels = np.repeat([1.0, -1.0], len(x))
    permuted = draw.permuted(np.tile(labels, (permutations, 1)), axis=1)
    values = mmd2(gaussian_kernel(np.concatenate([x, y]), width), np.vstack([labels, permuted]))
    return np.mean(values >= values[0])  # the one that was found is one of them


# %% mmd_null
draw = np.random.default_rng(seed)
p_null = [mmd_test(draw.normal(size=(40, 2)), draw.normal(size=(40, 2)), 1.0, 199, draw) for _ in range(200)]
p_shift = [
    mmd_test(draw.normal(size=(40, 2)), draw.normal(0.5, 1, (40, 2)), 1.0, 199, draw) for _ in range(200)
]
fig, ax = plt.subplots(figsize=(6, 3.4))
for values, name, line in [(p_null, "same distribution", "-"), (p_shift, "shifted by half a s.d.", "--")]:
    ax.plot(np.sort(values), (1 + np.arange(200)) / 200, line, label=name)
ax.plot([0, 1], [0, 1], ":", color="black", label="uniform")
ax.set(xlabel="p-value", ylabel="share of tests below")
ax.legend()
plotting.show(
    fig, "p-values of 200 tests each.", "One curve follows the diagonal, the other rises steeply near 0."
)
far = np.max(np.abs(np.sort(p_null) - (np.arange(200) + 0.5) / 200))
print(
    f"largest distance of the null's p-values from uniform {far:.3f}; Kolmogorov's 1 % limit {1.63 / np.sqrt(200):.3f}"
)

# %% [markdown] deeper_search
# ## Deeper · Completing images by searching the noise
#
# A GAN has no encoder. To complete an image, search for noise that is probable and whose image agrees with what is
# seen, by gradient descent from several starts; the best one wins. With the mask $m$ of the pixels seen and their
# tolerance $s$ the search minimises $|m \odot (G(z) - x)|^2 / 2 s^2 + |z|^2 / 2$. (Yeh et al., 2017, ask the
# discriminator instead of the prior.)


# %% search
def search(generator, L, x, seen, s=0.2, starts=8, steps=150, rate=0.05):
    """x: (N, D) in [0, 1], seen: bool (D,) → the images (N, D) of the noise that fits the seen pixels best."""
    N, mask = len(x), tf.constant(seen, tf.float32)
    target = tf.repeat(tf.constant(x, tf.float32), starts, axis=0)
    z = tf.Variable(tf.random.normal([N * starts, L]))
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build([z])

    def error():
        images = tf.reshape(generator(z), [N * starts, -1])
        square = tf.reduce_sum(mask * (images - target) ** 2, axis=1)
        return images, square / (2 * s**2) + tf.reduce_sum(z**2, axis=1) / 2

    @tf.function
    def descend():
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(error()[1])
            optimizer.apply(tape.gradient(loss, [z]), [z])
        return error()

    images, left = descend()
    best = np.argmin(np.reshape(left, [N, starts]), axis=1)
    return np.reshape(images, [N, starts, -1])[np.arange(N), best]


# %% completions
missing, originals = evaluation.lower_half(digits.shape), x_test[:100].astype(np.float32)
found = search(dcgan, latent, originals, ~missing)
distance = np.sum(((originals[:, None] - x_train[None, :2000]) ** 2)[:, :, ~missing], axis=2)
nearest = x_train[np.argmin(distance, axis=1)]
for name, guess in [
    ("search", found),
    ("nearest training image", nearest),
    ("mean image", 0 * found + x_train.mean(axis=0)),
]:
    print(
        f"{name:>23}: mean error of a missing pixel {evaluation.pixel_errors(originals, guess, missing)} (of 1)"
    )
plotting.image_grid(
    np.concatenate([originals[:10], np.where(missing, np.nan, originals[:10]), found[:10], nearest[:10]]),
    digits.shape,
    "Test images; what is seen; the generator's best image; the training image that fits best.",
    "Four rows of ten grey digits; in the second the lower half is missing.",
    row_titles=["original", "seen", "search", "nearest"],
)

# %% [markdown] search_says
# **The search guesses the rest hardly better than the mean image, and the search is not to blame.** With all pixels in
# sight its error is 0.055, so the generator can draw the digit. But the nearest of 1,197 *drawn* images does no better
# (0.19 over the missing half, where the nearest training image has 0.12): upper and lower halves belong together less
# than in real digits. The kernel distance did not see it.
#
# <details><summary>Measured how?</summary>
#
# 100 test images, seeds 0 and 1, mean error of a missing pixel: search 0.191, 0.177; nearest of 1,197 drawn images
# 0.186, 0.196; nearest of 1,197 samples of the mixture 0.148, 0.143, 0.133 (three seeds); of 200 real images 0.139,
# 0.146, 0.137 (three draws). Fifteen other settings of the search ($s$ from 0.05 to 0.8, more steps, a higher rate)
# give 0.18 to 0.23.
# </details>

# %% [markdown] deeper_parzen
# ## Deeper · Why a density estimate of the samples misleads
#
# To give a GAN a likelihood after all, early papers drew some samples and put a Gaussian on each (a Parzen window),
# its width chosen on validation images. Theis et al. (2016) showed what this measures. Here the true density is known:
# a Gaussian in D dimensions, and the "generators" are the true distribution itself and one that draws only the K
# cluster centres of the data. **Predict:** which wins?

# %% parzen
from scipy.special import logsumexp
from sklearn.cluster import KMeans


def parzen(centres, x, width):
    """log density of x (N, D) under Gaussians of this width on the centres (K, D): (N,) nats."""
    square = np.sum(x**2, axis=1)[:, None] + np.sum(centres**2, axis=1) - 2 * x @ centres.T
    D = x.shape[1]
    return (
        logsumexp(-square / (2 * width**2), axis=1)
        - np.log(len(centres))
        - D / 2 * np.log(2 * np.pi * width**2)
    )


D, widths = 16, np.geomspace(0.3, 3, 25)
data, validation_set, test_set = draw.normal(size=(3, 1000, D))
clusters = KMeans(50, n_init=2, random_state=seed).fit(data).cluster_centers_
print(f"true density: {-D / 2 * np.log(2 * np.pi) - np.mean(np.sum(test_set**2, axis=1)) / 2:.2f} nats")
for name, samples in [("1,000 true samples", draw.normal(size=(1000, D))), ("50 cluster centres", clusters)]:
    width = max(widths, key=lambda w: parzen(samples, validation_set, w).mean())
    print(f"{name:>19}: {parzen(samples, test_set, width).mean():.2f} nats, width {width:.2f}")

# %% [markdown] parzen_says
# **Fifty points, no distribution at all, beat samples from the true one.** A kernel density estimate in 16 dimensions
# is so bad that it rewards a generator for drawing few, central points; here one point at 0 would do best of all,
# since with width 1 its kernel is the true density. And for the best generator there can be it is far below the truth.
# A number that prefers a wrong model to the truth is no estimate of its likelihood.

# %% [markdown] bigger
# ## Going bigger
#
# The same notebook on MNIST or Fashion-MNIST: change the `parameters` cell only. (Maintainers: `make benchmark
# WEEK=week08_gan`.) The features for images of 28×28 pixels are learned on the spot, so kernel distances compare
# within one run.
#
# ```python
# dataset = "mnist"
# channels = 32
# latent = 64
# epochs = 8
# ```
#
# | model | measured | kernel distance | training |
# |---|---|---|---|
# | DCGAN, 32 channels | | | |
#
# (These settings have not been measured yet.)

# %% [markdown] references
# ## References
#
# - Arjovsky, Bottou (2017). *Towards principled methods for training generative adversarial networks.* ICLR.
# - Bińkowski, Sutherland, Arbel, Gretton (2018). *Demystifying MMD GANs.* ICLR.
# - Goodfellow et al. (2014). *Generative adversarial nets.* NeurIPS.
# - Goodfellow (2016). *NIPS 2016 tutorial: Generative adversarial networks.* arXiv:1701.00160.
# - Gretton et al. (2012). *A kernel two-sample test.* Journal of Machine Learning Research 13.
# - Heusel et al. (2017). *GANs trained by a two time-scale update rule converge to a local Nash equilibrium.* NeurIPS.
# - Lopez-Paz, Oquab (2017). *Revisiting classifier two-sample tests.* ICLR.
# - Mescheder, Geiger, Nowozin (2018). *Which training methods for GANs do actually converge?* ICML.
# - Naeem, Oh, Uh, Choi, Yoo (2020). *Reliable fidelity and diversity metrics for generative models.* ICML.
# - Nguyen, Wainwright, Jordan (2010). *Estimating divergence functionals and the likelihood ratio by convex risk
#   minimization.* IEEE Transactions on Information Theory 56.
# - Nowozin, Cseke, Tomioka (2016). *f-GAN: Training generative neural samplers using variational divergence
#   minimization.* NeurIPS.
# - Odena, Dumoulin, Olah (2016). *Deconvolution and checkerboard artifacts.* Distill.
# - Radford, Metz, Chintala (2016). *Unsupervised representation learning with deep convolutional generative adversarial
#   networks.* ICLR.
# - Theis, van den Oord, Bethge (2016). *A note on the evaluation of generative models.* ICLR.
# - Yazıcı et al. (2019). *The unusual effectiveness of averaging in GAN training.* ICLR.
# - Yeh et al. (2017). *Semantic image inpainting with deep generative models.* CVPR.
