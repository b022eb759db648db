# %% [markdown] title
# # Week 14 · Guided and latent diffusion
#
# {{colab}}
#
# Last week's model draws any digit it likes, on pixels. Now its steps become infinitely small; then we tell it in
# words what to draw, let it listen more closely than it learned to, and let it work on a small code in place of the
# pixels: the last three make Stable Diffusion.
#
# **After this notebook you can**
#
# 1. write the reverse SDE and the probability-flow ODE, and show that DDIM is an Euler step of the latter;
# 2. guide a diffusion model without a classifier, and say which distribution that does *not* sample;
# 3. build a latent diffusion model, and name each part of Stable Diffusion in it;
# 4. write cross-attention, and measure whether captions are obeyed, with a control;
# 5. compare the families of this course by the same measures, and choose one for a use.
#
# *Time:* reading 150 minutes, the core of this notebook 150 minutes. It computes for over a minute on two CPU cores.
# What stands under *Deeper* is for whoever wants it.

# %% [markdown] picture_latent
# {{picture: latent}}

# %% [markdown] reading
# ## Reading
#
# | what | minutes |
# |---|---|
# | **Main:** Song et al. (2021), *Score-based generative modeling through stochastic differential equations*: sections 2 to 4. | 60 |
# | Ho and Salimans (2022), *Classifier-free diffusion guidance*: all but the tables. | 30 |
# | Rombach et al. (2022), *High-resolution image synthesis with latent diffusion models*: sections 1, 3 and 4.3. | 60 |
#
# Alternatives: Murphy, *Probabilistic Machine Learning: Advanced Topics*, chapter 25.
#
# **Focus questions.** Have an answer to each before you go on.
#
# 1. Two processes, one with noise and one without, have the same distribution at each time. What differs?
# 2. Classifier-free guidance has no classifier. Which one does it use all the same?
# 3. Why should a network that draws not work on pixels?
# 4. In cross-attention, what asks and what answers?
#
# **Letters.** As last week: B batch, D dimensions, K steps, C channels, $x_0$ the image or code, $x_t$ noisy, `a` its
# level $\bar\alpha_t$. Changed: $t$ is real, from 0 (data) to 1 (noise), against week 12's direction, and $\beta(t)$
# is a *rate*. $s(x, t) = \nabla_x \log q_t(x)$ is the score and nothing else, $w$ the strength of guidance (last week
# a weight of the mixture), $y$ a class or caption, $z$ an autoencoder's code (week 12: noise), $\lambda$ how much
# noise the way back gets, $c$ a code's standard deviation.

# %% setup

# %% parameters tags=["parameters"]
dataset = "digits-grey"  # "mnist" or "fashion-mnist": see "Going bigger"
patch = 2  # pixels in height and width for a place of the code
code_channels = 2  # numbers for a place of the code
autoencoder_epochs = 25
channels = 32  # C of the U-Net at the code's size
epochs = 36  # passes over the training images, of the U-Net
batch_size = 64  # images a step
learning_rate = 4e-3  # of Adam; falls to 0 along a cosine
dropped = 0.15  # share of captions that are left out in training
steps = 20  # of the chain that draws images
guidance = 0.5  # w of the images on the scoreboard
seed = 0

# %% imports
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from sklearn.svm import SVC

from utils import datasets, diffusion, evaluation, plotting, quiz, scoreboard, stattests
from utils.diffusion import Denoiser, Mixture, column, ddim_step, path, q_sample, reverse  # from week 13
from utils.networks import batches, train  # from week 6

digits = datasets.load(dataset)
levels = datasets.GREY_LEVELS if dataset == "digits-grey" else 256
brightest = levels - 1 if dataset == "digits-grey" else 1.0  # the largest value of a pixel
alpha_bar = diffusion.linear_schedule(1000)
keras.utils.set_random_seed(seed)  # weights, and all draws of noise
brown = plotting.FAMILY_COLOURS["diffusion"]
print(digits)

# %% [markdown] sde_text
# ## 1 · Steps that become infinitely small
#
# Last week's samplers made K steps, with noise or without. What do they compute in the limit, and why do both reach
# the same distribution?
#
# Let time run from 0 (data) to 1 (noise), and let a step of length $dt$ have $\beta_t = \beta(t)\, dt$. With
# $\sqrt{1 - \beta_t} \approx 1 - \beta_t / 2$ the forward process becomes a **stochastic differential equation**
# (SDE), and $\bar\alpha$ an exponential:
#
# $$dx = -\tfrac12 \beta(t)\, x\, dt + \sqrt{\beta(t)}\, dW, \qquad \bar\alpha(t) = e^{-\int_0^t \beta(r)\, dr} .$$
#
# ($dW$ is a Gaussian of variance $dt$. As $\beta(t) = T \beta_t$, last week's 1,000 steps from 0.0001 to 0.02 are the
# rates 0.1 to 20.) Particles of velocity $v(x, t)$ have $\partial q / \partial t = -\nabla \cdot (q v)$: week 12's
# $\tfrac{d}{dt} \mathbb{E}\, g = \mathbb{E}[\nabla g \cdot v]$, integrated by parts. Independent pushes of variance
# $\beta\, dt$ add $\tfrac12 \beta\, \Delta q$, from the second order of $g(x + \sqrt{\beta}\, dW)$. This is the
# Fokker-Planck equation, whose second term can be written as a drift, since
# $\Delta q = \nabla \cdot (q\, \nabla \log q)$:
#
# $$\frac{\partial q_t}{\partial t} = \nabla \cdot \left( \tfrac12 \beta x\, q_t \right) + \tfrac12 \beta\, \Delta q_t = -\nabla \cdot \left( \left[ -\tfrac12 \beta x - \tfrac12 \beta\, s(x, t) \right] q_t \right).$$
#
# The right side is the density of particles that move *without noise* at the velocity in brackets: the
# **probability-flow ODE** (Song et al., 2021). Run it backwards, and noise becomes data. Noise may be added on the way
# back too, if the score is followed as much more: for every $\lambda \ge 0$, with time running backwards,
#
# $$dx = \left[ -\tfrac12 \beta x - \tfrac{1 + \lambda}{2} \beta\, s(x, t) \right] dt + \sqrt{\lambda \beta}\; d\bar W$$
#
# has the same $q_t$. (Backwards, the noise adds $\tfrac12 \lambda \beta\, \Delta q$, and the extra drift takes away
# $\nabla \cdot (\tfrac12 \lambda \beta\, s\, q)$, which is the same.) $\lambda = 0$ is the ODE, $\lambda = 1$ the
# reverse SDE of Anderson (1982). The score is known from the guess of the noise,
# $s = -\epsilon^* / \sqrt{1 - \bar\alpha}$ (week 13).
#
# **Predict:** paths in both panels below start at the same points. In which can two cross?


# %% sde
def level(t):
    """t in [0, 1] → ᾱ(t) for Ho et al.'s linear β(t) = 0.1 + 19.9 t."""
    return tf.exp(-0.1 * t - 9.95 * t**2)


def drift(model, x, t, lam):
    """The bracket: x (B, D), t a number → (B, D)."""
    a, beta = tf.fill([len(x)], level(t)), 0.1 + 19.9 * t
    score = -model.noise(x, a) / column(tf.sqrt(1 - a), x)
    return -0.5 * beta * x - 0.5 * (1 + lam) * beta * score


@tf.function(reduce_retracing=True)
def way_back(model, x, lam, K):
    """Euler steps from t = 1 to 0: x (B, D) → all positions, (K + 1, B, D). lam 0: ODE, 1: SDE."""
    h = 1 / K
    places = tf.TensorArray(tf.float32, K + 1).write(0, x)
    for i in tf.range(K):
        t = 1 - tf.cast(i, tf.float32) * h
        noise = tf.random.normal(tf.shape(x))
        x = x - h * drift(model, x, t, lam) + tf.sqrt(lam * (0.1 + 19.9 * t) * h) * noise
        places = places.write(i + 1, x)
    return places.stack()


every = Mixture([0.4, 0.3, 0.3], [[-1.5], [-0.3], [1.6]], [0.25, 0.25, 0.25])
few, N = tf.constant(np.linspace(-2, 2, 9)[:, None], tf.float32), 5_000
roads = {name: way_back(every, few, lam, 200).numpy()[..., 0] for name, lam in [("ODE", 0.0), ("SDE", 1.0)]}

# %% sde_figure
grid = np.linspace(-3, 3, 241)
points, times = tf.constant(grid[:, None], tf.float32), np.linspace(1, 0, 201)


def density(model, t):
    """q_t of a mixture on the grid: (241,)."""
    log_joint = model.log_joint(points, tf.fill([len(points)], level(t)))[0]
    return np.exp(tf.reduce_logsumexp(log_joint, axis=1))


shades = np.stack([density(every, t) for t in times[::5].astype(np.float32)], axis=1)
fig, axes = plt.subplots(1, 2, figsize=(11, 3.8), sharey=True)
for ax, (name, places) in zip(axes, roads.items()):
    ax.pcolormesh(times[::5], grid, np.sqrt(shades), cmap="Greys", shading="nearest")
    ax.set_prop_cycle(color=plt.cm.plasma(np.linspace(0, 0.9, 9)))  # a colour for each start
    ax.plot(times, places, linewidth=1.4)
    ax.set(title=name, xlabel="time t (no unit), from 1 (noise) to 0 (data)", xlim=(1, 0), ylim=(-3, 3))
    ax.grid(False)
axes[0].set_ylabel("x (no unit)")
caption = "The same nine starts by ODE and SDE, on the density of all noisy data. Do equal starts end in equal clusters?"
alt = "Two panels. Grey shading splits from one band at the left into three at the right. In the left panel smooth paths that never cross, in the right jagged ones that do."
plotting.show(fig, caption, alt)

# %% [markdown] ddim_text
# **Check 1.** Both must reach the mixture, by week 13's test of 32 waves.
#
# **Check 2: DDIM is an Euler step of the ODE**, in other variables. Put $u = x / \sqrt{\bar\alpha}$ and
# $\sigma = \sqrt{1 - \bar\alpha} / \sqrt{\bar\alpha}$, the noise beside a signal that is not shrunk. From
# $\sigma^2 = 1 / \bar\alpha - 1$ follows $d\sigma / dt = \beta / (2 \bar\alpha \sigma)$, and
# $du / dt = (dx / dt + \tfrac12 \beta x) / \sqrt{\bar\alpha} = -\tfrac12 \beta s / \sqrt{\bar\alpha} = \beta \epsilon^* / (2 \bar\alpha \sigma)$:
# the drift has dropped out. Divide:
#
# $$\frac{du}{d\sigma} = \epsilon^*(x, t), \qquad \text{Euler: } u' = u + (\sigma' - \sigma)\, \epsilon^* = \hat x_0 + \sigma' \epsilon^*,$$
#
# which is DDIM (as $u = \hat x_0 + \sigma \epsilon^*$). If the guess of the noise stays as it is along the way, a step
# of any length is exact.

# %% sde_check
frequencies = np.random.default_rng(seed).normal(0, 2, size=(1, 16))


def wave_means(x):
    """x: (N, 1) → means of 16 cosines and 16 sines: (32,)."""
    angle = np.asarray(x) @ frequencies
    return np.concatenate([np.cos(angle).mean(axis=0), np.sin(angle).mean(axis=0)])


start, true_waves = tf.random.normal([N, 1]), wave_means(every.sample(N))
tolerance = np.sqrt(2) * stattests.hoeffding_tolerance(N, -1, 1, comparisons=32)  # two means: √2 of one
for name, lam in [("ODE", 0.0), ("SDE", 1.0)]:
    off = np.abs(wave_means(way_back(every, start, lam, 200)[-1]) - true_waves).max()
    print(f"{name}: largest difference of a mean {off:.3f} (tolerance {tolerance:.3f})")
    assert off < tolerance
x, a, b = start[:5], tf.fill([5], 0.3), tf.fill([5], 0.8)
sigma = [np.sqrt((1 - part) / part) for part in (0.3, 0.8)]
euler = x / np.sqrt(0.3) + (sigma[1] - sigma[0]) * every.noise(x, a)
np.testing.assert_allclose(ddim_step(every, x, a, b), np.sqrt(0.8) * euler, rtol=1e-4, atol=1e-5)
print("DDIM is an Euler step in x / √ᾱ and √((1 − ᾱ) / ᾱ)")

# %% [markdown] sde_says
# **ODE and SDE reach the same mixture, by different paths: those of the ODE never cross, so a start decides where it
# ends; those of the SDE forget their start.** Hence an ODE is good for what needs a reversible map (interpolating,
# editing, a likelihood: Deeper), and an SDE undoes early errors (Karras et al., 2022): shift all starts by 1, and the
# samples end 1.2 off by the ODE, 0.04 by the SDE (Wasserstein-1, units of x; not in the cells). What the SDE makes
# worse is an error of the score near the *end*.

# %% [markdown] guidance_text
# ## 2 · Guidance
#
# A model of $p(x \mid y)$ draws a seven, but some of its sevens would fit another class as well. How does one ask for
# *more* seven?
#
# Bayes' rule for scores: $\nabla \log p(x \mid y) = \nabla \log p(x) + \nabla \log p(y \mid x)$. **Classifier
# guidance** (Song et al., 2021; Dhariwal and Nichol, 2021) trains a classifier of noisy images and adds its gradient
# $w$ times more. But the same rule read backwards says that whoever knows the scores with and without $y$ owns a
# classifier already. **Classifier-free guidance** (Ho and Salimans, 2022):
#
# $$s_w(x, t) = s(x \mid y) + w\, \nabla \log p(y \mid x) = (1 + w)\, s(x \mid y) - w\, s(x) .$$
#
# At $w = 0$ this is the conditional model, at $w = -1$ it ignores $y$. (Others write $g = 1 + w$.) The guesses of
# noise combine in the same way.
#
# Which distribution does this draw? At *one* noise level $s_w$ is the score of the sharpened
# $q_t(x)\, q_t(y \mid x)^{1 + w}$ (normalised). So one expects samples to follow $p(x)\, p(y \mid x)^{1 + w}$. Class
# $y$ is made of the two right clusters of the mixture above, the left one is another class.
#
# **Predict:** at the middle cluster, $-0.3$, the classifier is nearly sure of $y$, as at the right one. Which share of
# the sharpened distribution is in the middle cluster, which of the samples by $w = 3$?


# %% guided
class Guided:
    """(1 + w) ε(x | y) − w ε(x): as a model for the samplers, from two models."""

    def __init__(self, given, free, w):
        self.given, self.free, self.w, self.limit = given, free, w, given.limit

    def noise(self, x, a):
        """x_t (B, …), ᾱ_t (B,) → guessed noise (B, …)."""
        return (1 + self.w) * self.given.noise(x, a) - self.w * self.free.noise(x, a)


y = Mixture([0.5, 0.5], [[-0.3], [1.6]], [0.25, 0.25])  # p(x | y), and p(y) = 0.6


def sharpened(w, t):
    """log q_t(x) + (1 + w) log q_t(y | x) on the grid, not normalised."""
    return np.log(density(every, t)) + (1 + w) * np.log(0.6 * density(y, t) / density(every, t))


# Check at one noise level: the guided score is the slope of the sharpened log density.
a = tf.fill([len(points)], level(0.4))
score = -Guided(y, every, 3.0).noise(points, a).numpy()[:, 0] / np.sqrt(1 - a)
slope = np.gradient(sharpened(3.0, 0.4), grid)
print(f"guided score and slope at t = 0.4 differ by at most {np.abs(score - slope)[1:-1].max():.4f}")

# %% guided_figure
fig, axes = plt.subplots(1, 3, figsize=(12, 3.6), sharey=True)
for ax, w in zip(axes, [0.0, 1.0, 3.0]):
    drawn = {lam: way_back(Guided(y, every, w), start, lam, 200).numpy()[-1, :, 0] for lam in (0.0, 1.0)}
    aim = np.exp(sharpened(w, 0.0))
    aim /= aim.sum() * (grid[1] - grid[0])
    bins = {"bins": grid[::3], "density": True}
    ax.hist(drawn[0.0], **bins, color=brown, alpha=0.55, label="samples, ODE")
    ax.hist(drawn[1.0], **bins, histtype="step", color=plotting.BLUE, label="samples, SDE")
    ax.plot(grid, density(y, 0.0), "k:", label="p(x | y)")
    ax.plot(grid, aim, "k-", label="sharpened")
    ax.set(title=f"w = {w:g}", xlabel="x (no unit)")
    shares = [aim[grid < 0.65].sum() / aim.sum(), *(np.mean(part < 0.65) for part in drawn.values())]
    print(
        f"w = {w:g}: in the middle cluster: sharpened {shares[0]:.3f}, ODE {shares[1]:.3f}, SDE {shares[2]:.3f}"
    )
axes[0].set_ylabel("density (per unit)")
axes[0].legend(fontsize=11)
caption = "Guidance with exact scores. With growing w, do the samples follow p(x | y), the sharpened density, or neither?"
alt = "Three panels with two clusters. The curves of p(x | y) and of the sharpened density are alike in all. The samples follow them at w = 0; at w = 3 the middle cluster is nearly empty and the right one has moved outwards."
plotting.show(fig, caption, alt)

# %% [markdown] guided_says
# **Guided samples follow neither. With exact scores and $w = 3$ the sharpened distribution has 49 % in the middle
# cluster, the ODE puts 2 % there and the SDE 14 %.** At the end of the way, where noise is small, the classifier is
# sure at both clusters and guidance does nothing. It acts early: in strong noise the middle cluster is hard to tell
# from the other class, so all are pushed to the right, and only an SDE's noise brings some back. Sharpening what is
# noisy is not the same as adding noise to what is sharpened; hence the $s_w$ of different levels belong to no common
# process (Bradley and Nakkiran, 2024; Chidambaram et al., 2024). **So guidance is no temperature: it buys clarity with
# diversity, and drops what is like other classes.**
#
# <details><summary>Measured how?</summary>
#
# 5,000 samples, 200 steps, $w = 3$, three seeds. It is not the steps: with 1,000 the middle cluster has 2 % (ODE), 14
# % (SDE) and 28 % ($\lambda = 4$). Guidance in strong noise only ($\bar\alpha < 0.5$): middle cluster 2 % (ODE) and 17
# to 18 % (SDE); in weak noise only ($\bar\alpha \ge 0.5$): 45 to 47 % and 39 to 40 %.
# </details>

# %% [markdown] latent_text
# ## 3 · Latent diffusion
#
# Most bits of an image are fine detail that nobody looks at; week 13's DDPM spent most of its bound there. A **latent
# diffusion model** (Rombach et al., 2022) leaves detail to an autoencoder, and lets the diffusion model work on its
# code, which is smaller. Each part of Stable Diffusion has its counterpart here:
#
# | part | Stable Diffusion 1 | ours |
# |---|---|---|
# | image | 512×512, 3 colours | 8×8, grey |
# | autoencoder with a small KL weight | code 64×64×4: 48 times fewer numbers | 4×4×2: half as many |
# | scale of the code | times 0.18215 | divided by its standard deviation |
# | text encoder | a transformer (CLIP's, frozen), 77 places of 768 numbers | a vector of 32 numbers for each of 14 words, learned with the rest |
# | noise predictor | U-Net with attention, 860 million weights | U-Net with attention, a quarter of a million |
# | captions | go in by cross-attention | the same |
# | left out in training | 10 % of the captions | 15 % |
# | guidance | $g = 7.5$, $w = 6.5$ | $w = 0.5$ |
#
# ### The autoencoder
#
# A VAE whose KL weight (week 6's β) is so small that it only keeps the code from growing: its prior is *not* used to
# draw. The encoder looks at each patch of 2×2 pixels alone, so that a place of the code knows nothing of other places
# (needed in section 5); the decoder sees neighbours.


# %% autoencoder
def as_images(x):
    """Pixels (N, D) of the data set → (N, height, width, 1) in [−1, 1], float32."""
    return np.reshape(2 * x / brightest - 1, [-1, *digits.shape, 1]).astype(np.float32)


def to_pixels(images):
    """Images (N, …) in [−1, 1] → the nearest pixel values of the data set: (N, D)."""
    grey = np.round((np.clip(images, -1, 1) + 1) / 2 * (levels - 1))
    return np.reshape(grey, [len(images), -1]) * brightest / (levels - 1)


class Autoencoder(keras.Model):
    """q(z | x) with a Gaussian for each place of the code; the loss is squared error + weight · KL to N(0, I)."""

    def __init__(self, shape, patch, C, H=64, weight=0.01):
        super().__init__()
        conv, up = keras.layers.Conv2D, keras.layers.Conv2DTranspose
        self.weight, self.code = weight, (shape[0] // patch, shape[1] // patch, C)
        layers = [conv(H, patch, patch, activation="silu"), conv(H, 1, activation="silu"), conv(2 * C, 1)]
        self.encoder = keras.Sequential([keras.Input((*shape, 1)), *layers])
        layers = [conv(H, 3, padding="same", activation="silu")]
        layers += [up(H // 2, 2 * patch, patch, "same", activation="silu"), conv(1, 3, padding="same")]
        self.decoder = keras.Sequential([keras.Input(self.code), *layers])
        self.built = True

    def call(self, x):
        """x: (B, height, width, 1) → loss of each image (B,)."""
        mean, log_s = tf.split(self.encoder(x), 2, axis=-1)
        z = mean + tf.exp(log_s) * tf.random.normal(tf.shape(mean))
        error = tf.reduce_sum((self.decoder(z) - x) ** 2, axis=[1, 2, 3])
        kl = tf.reduce_sum(0.5 * (mean**2 + tf.exp(2 * log_s) - 1) - log_s, axis=[1, 2, 3])
        self.add_loss(tf.reduce_mean(error + self.weight * kl))
        return error + self.weight * kl


# %% autoencoder_train
x_train, x_validation, x_test = (as_images(part) for part in (digits.train, digits.validation, digits.test))
autoencoder = Autoencoder(digits.shape, patch, code_channels)
data = {"B": batch_size, "seed": seed, "binarise": False}
_, autoencoder_seconds = train(autoencoder, batches(x_train, **data), autoencoder_epochs, 4e-3)
scale = float(np.std(autoencoder.encoder(x_train[:5000])[..., :code_channels]))


def encode(x):
    """Images (N, height, width, 1) → the mean code, of standard deviation 1: (N, *code)."""
    return autoencoder.encoder.predict(x, 500, verbose=0)[..., :code_channels] / scale


z_train, z_validation, z_test = (encode(x) for x in (x_train, x_validation, x_test))
print(
    f"code {autoencoder.code}, {autoencoder.count_params():,} weights, {autoencoder_seconds:.1f} s; scale {scale:.2f}"
)

# %% [markdown] measures_text
# How good can any model of the code be? Not better than reconstructions: that is the floor. (Of *training* images:
# those of test images would be compared with what they copy.) The simplest model of the code is one Gaussian with the
# training codes' mean and covariance: what a diffusion model must beat. *Coverage* (Naeem et al., 2020), on the
# scoreboard since week 1, is the share of test images that have a sample among their five nearest neighbours; it falls
# when a model leaves something out. A support vector machine, trained on the training images, judges captions.


# %% measures
classifier = SVC(C=10).fit(digits.train[:5000], digits.train_labels[:5000])


def measure(name, images):
    """Pixels (400, D) against the test images → kernel distance and coverage; prints both, and the accuracy."""
    real, fake, f = digits.test[:400] / brightest, images / brightest, evaluation.extractor(dataset)
    near, covered = evaluation.kernel_distance(real, fake, f), evaluation.coverage(real, fake, features=f)
    apart = evaluation.classifier_two_sample_test(real, fake, features=f)
    print(f"{name:>22}: kernel distance × 1000 {1000 * near.value:.1f} ± {1000 * near.error:.1f}, ", end="")
    print(
        f"coverage {covered:.2f}, told from test images {evaluation.Estimate(apart.value, apart.error):.2f}"
    )
    return near.value, covered.value


flat = z_train.reshape(len(z_train), -1)
gaussian = np.random.default_rng(seed).multivariate_normal(flat.mean(axis=0), np.cov(flat.T), 400)
gaussian = gaussian.reshape(-1, *autoencoder.code).astype(np.float32)
decode = tf.function(lambda z: autoencoder.decoder(z * scale))
for name, z in [("reconstructions", z_train[:400]), ("one Gaussian, decoded", gaussian)]:
    measure(name, to_pixels(decode(z)))

# %% [markdown] caption_text
# **The code is not free: reconstructions are told from test images in 69 of 100 cases (67 to 74 by set and training).
# One Gaussian is far off: 95 of 100, kernel distance × 1000 26 ± 3, coverage 0.31.** (0.97 is the best coverage that
# 400 independent samples can expect.)
#
# ### Captions and cross-attention
#
# A caption has three words, "a thin seven" or "a bold three". Bold is an image with more ink than the median of its
# class in the training part. The empty caption, three empty words, stands for "anything".
#
# **Cross-attention** is week 11's attention with two sorts of members. Each *place* of a layer $h$ asks; the *words*
# $e$ answer:
#
# $$h_n \leftarrow h_n + W_O \sum_j A_{nj}\, W_V e_j, \qquad A_{nj} = \mathrm{softmax}_j \left( \frac{(W_Q h_n) \cdot (W_K e_j)}{\sqrt d} \right).$$
#
# **Check:** the sum does not know in which order the words came. (Keras: `MultiHeadAttention`.)
# %% [markdown] picture_attention
# {{picture: attention}}

# %% captions
names = "thin bold zero one two three four five six seven eight nine"
if dataset == "fashion-mnist":
    names = "pale dark top trouser pullover dress coat sandal shirt sneaker bag boot"
words = ["", "a", *names.split()]


def ink(images):
    """Pixels (N, D) → their mean (N,)."""
    return np.mean(images, axis=1)


median = np.array([np.median(ink(digits.train[digits.train_labels == k])) for k in range(10)])


def captions(images, labels):
    """Pixels (N, D), classes (N,) → the numbers of the words: int32 (N, 3)."""
    bold = ink(images) > median[labels]
    return np.stack([np.ones_like(labels), 2 + bold, 4 + labels], axis=1).astype(np.int32)


def spoken(caption):
    """Numbers of words (3,) → text."""
    return " ".join(words[i] for i in caption).strip()


parts = ("train", "validation", "test")
c_train, c_validation, c_test = (captions(getattr(digits, p), getattr(digits, p + "_labels")) for p in parts)
print(", ".join(spoken(c) for c in c_train[:6]))


# %% cross_attention
class CrossAttention(keras.layers.Layer):
    """Places h (B, height, width, C) ask, words e (B, J, E) answer: h plus what they say, of the shape of h."""

    def __init__(self, C, heads=2):
        super().__init__()
        dense = keras.layers.Dense
        self.heads, self.Q, self.K, self.V = heads, *(dense(C, use_bias=False) for _ in range(3))
        self.out = dense(C, use_bias=False, kernel_initializer="zeros")

    def weights_of(self, h, e):
        """→ A: (B, heads, places, J)."""
        q, k = self.split(self.Q(h)), self.split(self.K(e))
        return tf.nn.softmax(tf.einsum("bnid,bjid->binj", q, k) / q.shape[-1] ** 0.5)

    def split(self, u):
        """(B, …, C) → (B, places or J, heads, d)."""
        return tf.reshape(u, [tf.shape(u)[0], -1, self.heads, u.shape[-1] // self.heads])

    def call(self, h, e):
        said = tf.einsum("binj,bjid->bnid", self.weights_of(h, e), self.split(self.V(e)))
        return h + self.out(tf.reshape(said, tf.shape(h)))


h, e, layer = tf.random.normal([2, 4, 4, 6]), tf.random.normal([2, 3, 5]), CrossAttention(6)
before = layer(h, e)  # makes the weights; W_O is 0 at first
layer.out.kernel.assign(tf.random.normal([6, 6]))
np.testing.assert_allclose(layer(h, tf.gather(e, [2, 0, 1], axis=1)), layer(h, e), atol=1e-5)
print("the order of words makes no difference")

# %% [markdown] unet_text
# ### The U-Net, and its training
#
# Last week's blocks, one halving, and attention to the caption after three of the four blocks. The loss is last
# week's, but in training a share of the captions is replaced by the empty one. So *one* network learns both
# $\epsilon(x \mid y)$ and $\epsilon(x)$, and guidance runs it with both captions.


# %% latent_model
def unet(code, C, n_words, E=32, H=64):
    """Codes (B, *code), waves of the noise level (B, 8), words (B, 3) → velocity (B, *code)."""
    z, a, words = keras.Input(code), keras.Input((8,)), keras.Input((3,), dtype="int32")
    conv, level = keras.layers.Conv2D, keras.layers.Dense(H, "silu")(a)
    e = keras.layers.Embedding(n_words, E, keras.initializers.RandomNormal(stddev=0.5))(words)
    h = conv(C, 3, padding="same")(z)
    kept = h = CrossAttention(C)(diffusion.block(h, level, C), e)
    h = conv(2 * C, 3, 2, "same")(h)  # half as large
    h = CrossAttention(2 * C)(diffusion.block(h, level, 2 * C), e)
    h = diffusion.block(h, level, 2 * C)
    h = keras.layers.Conv2DTranspose(C, 2, 2)(h)[:, : code[0], : code[1]]  # twice as large
    h = CrossAttention(C)(diffusion.block(keras.layers.Concatenate()([h, kept]), level, C), e)
    h = keras.layers.Activation("silu")(h)
    return keras.Model([z, a, words], conv(code[-1], 3, padding="same", kernel_initializer="zeros")(h))


class LatentDiffusion(Denoiser):
    """Week 13's model with captions, of which a share is dropped in training."""

    dropped = 0.0

    def call(self, pair, training=False):
        """z_0 (B, *code) and words (B, 3) → squared error of the noise (B,)."""
        z, c = pair
        keep = tf.random.uniform([tf.shape(z)[0], 1]) >= (self.dropped if training else 0.0)
        return super().call((z, tf.where(keep, c, 0)))


ldm = LatentDiffusion(unet(autoencoder.code, channels, len(words)), alpha_bar)
ldm.dropped = dropped
unseen = [np.concatenate([part[:1000]] * 4) for part in (z_validation, c_validation)]  # four noises for each
unseen = tf.data.Dataset.from_tensors((tuple(unseen),))
curve, ldm_seconds = train(ldm, batches(z_train, c_train, **data), epochs, learning_rate, unseen)
print(f"{ldm.count_params():,} parameters, trained in {ldm_seconds:.1f} s")
caption = "The simple loss on codes, with captions. Is it done? Does it overfit?"
alt = "Two noisy curves that fall together, ever more slowly."
plotting.history(curve, "squared error of the noise (no unit)", caption, alt)


# %% draw
class Captioned:
    """A latent diffusion model that was told a caption: words (B, 3)."""

    limit = np.inf

    def __init__(self, model, words):
        self.model, self.words = model, words

    def noise(self, z, a):
        return self.model.noise(z, a, self.words)


@tf.function
def draw_codes(words, noise, w, path):
    """Captions (B, 3), noise (B, *code), w → codes, by DDIM steps with guidance."""
    return reverse(ddim_step, Guided(Captioned(ldm, words), Captioned(ldm, 0 * words), w), noise, path)


def draw_images(words, w, noise=None):
    """Captions (n, 3) → images in the data set's pixel values (n, D)."""
    noise = tf.random.normal([len(words), *autoencoder.code]) if noise is None else noise
    z = draw_codes(tf.constant(words), noise, tf.constant(w, tf.float32), path(alpha_bar, steps))
    return to_pixels(decode(z).numpy())


shown = np.array([[1, 2 + bold, 4 + k] for k in range(10) for bold in (0, 1)], np.int32)
rows = draw_images(np.repeat(shown, 8, axis=0), guidance).reshape(10, 16, -1).reshape(160, -1)
caption = f"Eight samples for each caption, left {words[2]}, right {words[3]}. Which captions are not obeyed?"
alt = "Ten rows of sixteen small images, a class in each row; those in the right half are darker."
plotting.image_grid(rows, digits.shape, caption, alt, 16, row_titles=words[4:])

# %% [markdown] obey_text
# ### Are the captions obeyed?
#
# We ask for the captions of 400 test images; the classifier says which digit was drawn. **Control:** the same network
# with empty captions, judged by the same captions, must be at chance.

# %% obey
wanted = c_test[:400]


def obeyed(images, words):
    """→ shares of images that are of the class, and thin or bold, as their captions (N, 3) say."""
    k = words[:, 2] - 4
    right = classifier.predict(images) == k, (ink(images) > median[k]) == (words[:, 1] == 3)
    return [evaluation.mean_estimate(part) for part in right]


samples = {"captions": draw_images(wanted, 0.0), "empty captions": draw_images(0 * wanted, 0.0)}
for name, images in (samples | {"test images": digits.test[:400]}).items():
    right, weight = obeyed(images, wanted)
    print(f"{name:>14}: class {right:.3f}, {words[2]} or {words[3]} {weight:.3f}")
noise = tf.random.normal([200, *autoencoder.code])
thin, bold = (draw_images(wanted[:200] * [1, 0, 1] + [0, i, 0], 0.0, noise) for i in (2, 3))
more = evaluation.paired_difference(ink(bold), ink(thin))
print(f"ink from the same noise: {ink(thin).mean():.2f} {words[2]}, {more} more {words[3]}; a pixel's levels")

# %% [markdown] obey_says
# **Captions are obeyed, and by no accident: 92 % of the images are the digit that was asked for and 88 % as thin or
# bold, without guidance; with empty captions 10 % and 52 %, which is chance.** One word, "bold" for "thin", adds 0.67
# ± 0.01 grey levels of ink to a pixel from the same noise; between thin and bold test images there are 0.9. The loss
# still falls at the end, on both parts alike: it does not overfit, and is not quite done. (Seeds 1 and 2: 94 % and 89
# %, 90 % and 86 %; ink 0.65, 0.66.)

# %% [markdown] sweep_text
# ### Guidance on digits
#
# As on the mixture? Four numbers: class obeyed, kernel distance, coverage, and *spread*, the standard deviation of a
# pixel within a class.
#
# **Predict:** which of the four turns for the worse first, as $w$ grows?


# %% sweep
def spread(images, labels):
    """Standard deviation of a pixel within a class, root mean square: a number."""
    inside = [np.mean(images[labels == k].var(axis=0)) for k in np.unique(labels)]
    return np.mean(inside) ** 0.5 / brightest


strengths, found = [0.0, 0.5, 1.0, 2.0, 4.0], []
for w in strengths:
    images = draw_images(wanted, w) if w else samples["captions"]
    right, weight = obeyed(images, wanted)
    found.append([right.value, *measure(f"w = {w:g}", images), spread(images, wanted[:, 2])])
    print(f"{'':>22}  class {right:.3f}, {words[2]} or {words[3]} {weight:.3f}, spread {found[-1][3]:.3f}")
print(f"{'test images':>22}: spread {spread(digits.test[:400], wanted[:, 2]):.3f}")
fig, axes = plt.subplots(1, 4, figsize=(13, 3.2))
names = ["class obeyed (share)", "kernel distance (no unit)", "coverage (share)", "spread (of the range)"]
for ax, values, name in zip(axes, np.transpose(found), names):
    ax.plot(strengths, values, "o-", color=brown)
    ax.set(xlabel="w (no unit)", ylabel=name)
caption = "What guidance does to 400 samples of the test images' captions. Which w would you take?"
alt = "Four panels over w. Obedience rises at once to nearly 1; kernel distance rises from 1 on; coverage rises a little, then falls; the spread falls."
plotting.show(fig, caption, alt)

# %% [markdown] sweep_says
# **A little guidance helps, more makes nearly everything worse. At $w = 0.5$ the class is right in 99 % of the images
# in place of 92 %, and coverage is 0.89 in place of 0.83; at $w = 4$ coverage has fallen to 0.45, and the kernel
# distance (× 1000) has grown to 13.** The spread within a class falls at once, from 0.164 to 0.143 (test images:
# 0.205). Beyond $w = 1$ nothing is gained: obedience is at its ceiling, and samples are told from test images *more*
# easily, 97 of 100 at $w = 4$.
#
# <details><summary>Measured how?</summary>
#
# 400 samples each, 20 DDIM steps. Seeds 1, 2 at $w$ = 0, 0.5, 4: class right 0.94, 0.99, 1.00; 0.90, 0.98, 1.00.
# Coverage 0.83, 0.90, 0.59; 0.85, 0.92, 0.51 (± 0.02). Kernel distance × 1000 −1.0, −2.3, 8.1; 0.4, −2.7, 11.7 (± 1 to
# 3.5; seed 0: −0.5, −1.8, 13.5). But 20 *ancestral* steps at $w = 0$ have class 0.96, 0.96 and coverage 0.89, 0.94
# (seeds 0, 3).
# </details>

# %% [markdown] failure_text
# ## 4 · A code that does not fit the noise
#
# The schedule was made for data of standard deviation 1; a code has some $c$. What if one forgets to divide by $c$?
#
# If $z$ has the standard deviation 1 and the data are $c\, z$, then
# $x_t = \sqrt{\bar\alpha}\, c z + \sqrt{1 - \bar\alpha}\, \epsilon$ divided by $\sqrt r$,
# $r = c^2 \bar\alpha + 1 - \bar\alpha$, is a noisy $z$ at the level
#
# $$\bar\alpha' = \frac{c^2 \bar\alpha}{c^2 \bar\alpha + 1 - \bar\alpha}, \qquad \mathrm{SNR}' = c^2\, \mathrm{SNR},$$
#
# so a network that knows $z$ guesses the noise for $c\, z$ just as well. Only one thing is changed: *which noise
# levels the chain visits*.
#
# **Predict:** $c = 0.03$. At which end of the chain is something missing?


# %% failure
class Rescaled:
    """The guess for data c z, from a model of z."""

    limit = np.inf

    def __init__(self, model, c):
        self.model, self.c = model, c

    def noise(self, x, a):
        r = self.c**2 * a + 1 - a
        return self.model.noise(x / column(tf.sqrt(r), x), self.c**2 * a / r)


noise, way, rows = tf.random.normal([400, *autoencoder.code]), path(alpha_bar, steps), []
for c in [1.0, 0.03, 100.0]:
    model = Rescaled(Captioned(ldm, tf.constant(wanted)), c)
    rows.append(to_pixels(decode(reverse(ddim_step, model, noise, way) / c).numpy()))
    log_snr = np.log(c**2 * way[:-1] / (1 - way[:-1]))
    measure(f"c = {c:g}", rows[-1])
    print(
        f"{'':>22}  log SNR' from {log_snr[0]:.1f} to {log_snr[-1]:.1f}; class {obeyed(rows[-1], wanted)[0]:.2f}"
    )
rows = np.concatenate([part[:16] for part in rows])
caption = "The same noise and captions, by one network, for codes of three scales. What is missing in the second row, what is wrong in the third?"
alt = "Three rows of sixteen digits; those of the second row are blurred, those of the third are like the first, some of them paler or broken."
plotting.image_grid(rows, digits.shape, caption, alt, 16, row_titles=["c = 1", "c = 0.03", "c = 100"])

# %% [markdown] failure_says
# **Each scale breaks one end of the chain, and the network has nothing to do with it. With $c = 0.03$ images are
# blurred (kernel distance × 1000: 18 ± 5; −0.1 ± 1.4 with $c = 1$), with $c = 100$ they are wrong (27 ± 3; 83 % of the
# captions obeyed, 91 % before).** Small codes drown: at the last of 20 levels the log SNR is −3.5, more noise than
# code, and one step jumps over all levels where detail is decided. Large codes are never drowned: the chain starts at
# log SNR −0.9, where almost a third of the variance is code, and starts from noise all the same: last week's failure.
# More steps help the small code only. The cure is one number: divide the code by its standard deviation.
#
# <details><summary>Measured how?</summary>
#
# One network, the same noise and captions, $w = 0$, 20 DDIM steps; seeds 1, 2: kernel distance × 1000 with $c$ = 1,
# 0.03, 100: −1.1, 8, 24; 0.5, 17, 31; class obeyed 0.92, 0.94, 0.81; 0.92, 0.98, 0.78. Controls (seed 0): at the
# levels where $\bar\alpha'$ is that of $c = 1$, both scales draw the images of $c = 1$; with 100 steps kernel
# distances are 0.5 ($c = 0.03$) and 29; $c = 100$ started from noisy training codes has −0.7.
# </details>

# %% [markdown] inpaint_text
# ## 5 · Application: filling in what is missing
#
# The lower half of an image is missing; the course's task of imputing. No training for it is needed: at each level we
# know how the known part would look with so much noise. So after each step the known part is **replaced** by a noisy
# version of the truth (Song et al., 2021), and the model makes the rest fit. Since the encoder saw each patch alone,
# the upper half of the code is known exactly if the upper half of the image is. The caption is empty. As in week 11,
# five completions are averaged and cut at the threshold. **Controls:** the lower halves that were drawn for *other*
# images; the means of the training pixels.

# %% inpaint
missing = evaluation.lower_half(digits.shape)
below = np.arange(autoencoder.code[0]) >= digits.shape[0] // 2 // patch  # rows of the code
unknown = tf.constant(below[:, None, None])


@tf.function
def inpaint(words, known, noise, path):
    """Captions (B, 3), codes (B, *code) whose upper rows are true, noise → codes, by ancestral steps."""

    def step(model, z, a, b):
        there = q_sample(known, b, tf.random.normal(tf.shape(z)))
        return tf.where(unknown, diffusion.ancestral_step(model, z, a, b), there)

    return reverse(step, Captioned(ldm, words), noise, path)


def complete(images, words, n=1):
    """Images (B, height, width, 1), of which the upper half is used → n completions, in pixel values (n, B, D)."""
    seen = np.where(np.reshape(missing, [*digits.shape, 1]), -1, images).astype(np.float32)
    known, words = (np.concatenate([part] * n) for part in (encode(seen), words))
    z = inpaint(tf.constant(words), known, tf.random.normal(known.shape), path(alpha_bar, steps))
    drawn = to_pixels(decode(z).numpy()).reshape(n, len(images), -1)
    return np.where(missing, drawn, to_pixels(images))


# %% inpaint_digits
threshold = brightest / 2
truth, anything = digits.test[:400] >= threshold, 0 * wanted
drawn, told = (complete(x_test[:400], c, n=5) for c in (anything, wanted))
imputing = {}
for name, images in {
    "empty caption": drawn,
    "true caption": told,
    "control": np.roll(drawn, 1, axis=1),
    "pixel means": np.tile(digits.train.mean(axis=0), (1, 400, 1)),
}.items():
    imputing[name] = evaluation.pixel_errors(truth, images.mean(axis=0) >= threshold, missing)
    print(f"{name:>13}: share of wrong pixels {imputing[name]}")
seen = np.where(missing, np.nan, digits.test[:12])
two = [complete(x_test[:12], np.tile(np.array([[1, 3, 4 + k]], np.int32), (12, 1)))[0] for k in (3, 9)]
rows = np.concatenate([digits.test[:12], seen, drawn[0, :12], drawn[1, :12], *two])
titles = ["original", "seen", "completed", "again", *(spoken([1, 3, 4 + k]) for k in (3, 9))]
caption = "Test images, their upper halves, and completions. Where do the two without a caption differ, where does a caption win over what is seen?"
alt = "Six rows of twelve digits: original, upper half only, and four completed versions."
plotting.image_grid(rows, digits.shape, caption, alt, 12, row_titles=titles)

# %% [markdown] inpaint_says
# **Replacing works without any training, but only part of the way: 20 % of the missing pixels are wrong, 25 % with
# lower halves that were drawn for other images, 12 % if the caption is told; by the pixels' means 23 %.** Week 10's
# MADE, from twenty draws, had 14 % wrong (seeing binary pixels; scored alike); ours from twenty, 19 %. (Seeds 1 and 2:
# 20 %, 24 %, 12 % both.) A look-up does better: the five training images with the nearest upper halves, averaged and
# cut, have 11 % wrong. The upper half says more than the chain hears (Deeper: RePaint).

# %% [markdown] scoreboard_text
# ## The scoreboard
#
# Captions are drawn from the training part. There is no likelihood: the diffusion model has a bound for *codes*, not
# for images.

# %% board
scoreboard.enter(
    lambda n: draw_images(c_train[np.random.default_rng(n).permutation(len(c_train))[:n]], guidance),
    week=14,
    model=f"latent diffusion, {steps} steps, captions",
    family="diffusion",
    data=dataset,
    unit="bits per dimension",
    value=None,
    kind="none",
    train_seconds=autoencoder_seconds + ldm_seconds,
    parameters=autoencoder.count_params() + ldm.count_params(),
    imputing=imputing["empty caption"],
    note="samples with guidance; imputing: 5 completions, cut at half the range",
)

# %% [markdown] board_says
# **On 8×8 images the code buys little: the samples are told from test images in about 80 of 100 cases, those of week
# 13 in 75, but cover more, 0.90 in place of 0.70.** (Captions say which digits to draw; guidance doubles the calls.)
# The code's floor alone is about 70.

# %% [markdown] families_text
# ## 6 · The families side by side
#
# From each of five families of networks, and a mixture, we take the row of grey digits with the lowest two-sample
# accuracy; three rows are of Deeper sections (weeks 7, 10, 12). (Chosen on test images: small differences may be
# chance.)

# %% families
rows = {row.key: row for row in [*scoreboard.reference(), *scoreboard.mine()]}
rows = [row for row in rows.values() if row.data == dataset and row.c2st and row.ms_per_sample]
best = {}
for row in sorted(rows, key=lambda row: row.c2st.value):
    best.setdefault(row.family, row)
fig, ax = plt.subplots(figsize=(8, 4.2))
for row in rows:
    style = {"fmt": ".", "color": plotting.FAMILY_COLOURS[row.family]}
    if row is best[row.family]:
        style |= {"fmt": "o", "markersize": 9, "label": row.family}
    ax.errorbar(row.ms_per_sample, row.c2st.value, row.c2st.error, **style)
ax.axhline(0.5, color="black", linestyle=":")
ax.set(xscale="log", xlabel="time for a sample (ms)", ylabel="told from test images (share)", ylim=(0.45, 1))
ax.legend(fontsize=11, loc="center left", bbox_to_anchor=(1, 0.5))
caption = "All models of grey digits: quality over speed, the best of each family large. Lower left is best; the dotted line is perfect."
alt = "Points in the colours of the families. From left to right, faster to slower; the diffusion models are lowest and furthest to the right."
plotting.show(fig, caption, alt)

# %% families_claims
good = min(best.values(), key=lambda row: row.c2st.value)
fast = min(best.values(), key=lambda row: row.ms_per_sample)
print(f"best samples: {good.family}, {good.model}; fastest: {fast.family}, {fast.model}, ", end="")
print(f"{good.ms_per_sample / fast.ms_per_sample:.0f} times as fast")
scoreboard.table(list(best.values()))

# %% [markdown] families_says
# **The DDPM's samples are the hardest to tell from test images, and diffusion costs the most time: tens of passes
# through a network, where VAE and GAN need one. Its coverage is 0.70, that of the other networks in this table at most
# 0.49; in bits per dimension (bounds, but for the autoregressive model) the VAE and the autoregressive model lead.**
# The VAE is faster than every flow, with the better bound. The mixture covers 0.89, week 9's conditional GAN (Deeper)
# 0.76. (One training each.)
#
# | family | gives | lacks | take it for |
# |---|---|---|---|
# | VAE | a code and a bound; draws in one pass | an exact likelihood | representations, missing data, anomalies |
# | GAN | draws in one pass | any likelihood; may leave out modes (week 8) | speed; translation between images (week 9) |
# | autoregressive | an exact likelihood; any discrete data | speed: a pass for each variable | text, compression, completing in its order |
# | flow | an exact density, a map both ways | freedom of form (coupling), or speed (ODE) | densities of continuous data |
# | energy | any network as $-\log p$, up to a constant | the constant; fast drawing | anomalies, completing (binary digits: weeks 2 to 5) |
# | diffusion | the best samples here; guidance, filling in and restoring without new training | speed: a pass for each step | images, and what is steered by captions |

# %% [markdown] check_text
# ## Self-check
#
# Five questions; every answer explains itself.

# %% self_check
quiz.show("week14_guided_latent_diffusion")

# %% [markdown] class
# **Bring to class** (no easy answers):
#
# 1. Guidance draws from no distribution that anybody has written down. Is a guided model still a generative model? What would you
#    report of it?
# 2. How would you bound the log-likelihood of an *image* under our latent diffusion model? Which part would cost the most bits?
# 3. Attention does not know the order of words. When does an encoder of the caption have to be more than a table of vectors?

# %% [markdown] summary
# ## Summary, of the week and of the course so far
#
# - An SDE with any amount of noise, and an ODE with none, share their distributions. DDIM is the ODE's Euler step.
# - Guidance follows $(1 + w)\, s(x \mid y) - w\, s(x)$. At one level that is a sharpened distribution; the whole chain draws
#   from another one, with less diversity.
# - Latent diffusion: an autoencoder for detail, a diffusion model for its code (scaled to variance 1), captions by
#   cross-attention, guidance by dropped captions.
# - What is known can be put back at each level: filling in needs no training.
#
# Fourteen weeks asked three questions of each model. *What does it compute?* A normalised probability (autoregressive,
# flow), a bound (VAE, diffusion), a ratio (GAN), or all up to a constant (energy, Boltzmann). *How does it draw?* In
# one pass, in D, in as many as you like. *How do we know that it is right?* On a case with a known answer, with a
# control, and with an error beside each number.
#
# **What comes next**: four units: generating in few steps and in discrete spaces, audio, video, and comparing and
# choosing models.

# %% [markdown] deeper_likelihood
# ## Deeper · The likelihood by the ODE
#
# The ODE is a continuous flow, so week 12's change of variables holds, $\frac{d}{dt} \log q_t(x(t)) = -\nabla \cdot v$
# with $v = -\tfrac12 \beta (x + s)$. Follow it from data to noise:
#
# $$\log p(x_0) = \log \mathcal{N}(x_1; 0, I) + \int_0^1 \nabla \cdot v(x_t, t)\, dt .$$
#
# **Check.** A Gaussian to four digits, and the mixture in each point.


# %% likelihood
@tf.function
def ode_log_prob(model, x, K):
    """x (B, D) → log p(x) (B,), nats, by K Heun steps from t = 10⁻⁴ to 1."""

    def slope(x, t):
        with tf.GradientTape() as tape:
            tape.watch(x)
            v = drift(model, x, t, 0.0)
        return v, tf.linalg.trace(tape.batch_jacobian(v, x))

    total = tf.zeros(len(x))
    grid = tf.linspace(0.0, 1.0, K + 1) ** 2 * (1 - 1e-4) + 1e-4  # small steps where the score is steep
    for i in tf.range(K):
        h = grid[i + 1] - grid[i]
        v, trace = slope(x, grid[i])
        v_2, trace_2 = slope(x + h * v, grid[i + 1])
        x, total = x + h * (v + v_2) / 2, total + h * (trace + trace_2) / 2
    return total - 0.5 * tf.reduce_sum(x**2 + np.log(2 * np.pi), axis=1)


at = tf.constant(np.linspace(-1, 1.5, 6)[:, None], tf.float32)
for name, model in {"Gaussian": Mixture([1.0], [[0.0]], [0.5]), "mixture": every}.items():
    exact = tf.reduce_logsumexp(model.log_joint(at, tf.ones(6))[0], axis=1)
    off = [np.abs(ode_log_prob(model, at, tf.constant(K)) - exact).max() for K in (20, 50, 200)]
    print(
        f"{name}: largest error with 20, 50, 200 steps "
        + ", ".join(f"{error:.5f}" for error in off)
        + " nats"
    )
    assert off[-1] < 5e-3

# %% [markdown] likelihood_says
# **With 200 steps the Gaussian's log-density is right to 0.0003 nats, the mixture's to 0.001.** What is left on the
# mixture does not shrink with the steps. About half of it is the start, at $t = 10^{-4}$ in place of 0 (from $10^{-3}$
# the error is 0.008), half the end, which is not quite $\mathcal{N}(0, I)$ (with the exact $q_1$: 0.0005). With a
# learned score it is the density of the ODE's samples, not of the SDE's. (In D dimensions the trace costs D gradients,
# or a random estimate: week 12.)

# %% [markdown] deeper_solvers
# ## Deeper · Better solvers
#
# Which solver needs the fewest calls of the network? In one dimension the exact map is known: paths do not cross, so
# the ODE maps each quantile of the noise to the same quantile of the data. Euler and Heun in $t$, and in the variables
# of DDIM, $u = x / \sqrt{\bar\alpha}$ over $\sigma$; Heun calls the network twice a step. **Predict:** with ten calls,
# which of the four is the best?


# %% solvers
@tf.function(reduce_retracing=True)
def solve(model, x, times, heun, dilated):
    """Steps at the times (K + 1,), in t, or dilated: in u and σ. x (B, 1) → (B, 1)."""

    def slope(x, t):
        if dilated:
            a = level(t)
            return model.noise(x * tf.sqrt(a), tf.fill([len(x)], a))
        return drift(model, x, t, 0.0)

    clock = tf.sqrt((1 - level(times)) / level(times)) if dilated else times
    x = x / tf.sqrt(level(times[0])) if dilated else x
    for i in tf.range(len(times) - 1):
        h = clock[i + 1] - clock[i]
        v = slope(x, times[i])
        if heun:
            v = (v + slope(x + h * v, times[i + 1])) / 2
        x = x + h * v
    return x * tf.sqrt(level(times[-1])) if dilated else x


fine, share = np.linspace(-6, 6, 60_001), np.linspace(0.005, 0.995, 199)
ends = []
for t in (1.0, 1e-3):
    log_q = every.log_joint(tf.constant(fine[:, None], tf.float32), tf.fill([len(fine)], level(t)))[0]
    mass = np.cumsum(np.exp(tf.reduce_logsumexp(log_q, axis=1).numpy().astype(float)))
    ends.append(np.interp(share, mass / mass[-1], fine))
begin, end = (tf.constant(x[:, None], tf.float32) for x in ends)


def places(n, dilated):
    """n + 1 times from 1 to 0.001: √t in even steps, or σ^(1/7) (Karras et al., 2022)."""
    if not dilated:
        return tf.constant(np.linspace(1, 1e-3**0.5, n + 1) ** 2, tf.float32)
    sigma = np.exp([10.05, 0.1e-3 + 9.95e-6]) - 1
    sigma = np.linspace(*sigma ** (1 / 14), n + 1) ** 7
    return tf.constant((np.sqrt(0.01 + 39.8 * np.log1p(sigma**2)) - 0.1) / 19.9, tf.float32)


# %% solvers_run
calls, curves = np.array([6, 10, 20, 40, 80]), {}
kinds = {
    "Euler": (False, False),
    "Heun": (True, False),
    "Euler in σ: DDIM": (False, True),
    "Heun in σ": (True, True),
}
for name, (heun, dilated) in kinds.items():
    error = []
    for n in calls // (1 + heun):
        found = solve(every, begin, places(n, dilated), heun, dilated)
        error.append(float(tf.reduce_mean(tf.abs(found - end))))
    curves[name] = calls, error
    order = -np.polyfit(np.log(calls[1:4]), np.log(error[1:4]), 1)[0]
    print(f"{name:>16}: " + ", ".join(f"{e:.4f}" for e in error) + f"; order {order:.1f}")
caption = "Mean error of 199 quantiles against the exact map. Which solver would you take at ten calls, which at a hundred?"
alt = "Four falling lines on double logarithmic axes; two are steeper than the others."
fig, ax = plt.subplots()
for (name, (x, error)), line in zip(curves.items(), ["-", "--", "-.", ":"]):
    ax.plot(x, error, line, label=name)
ax.set(xscale="log", yscale="log", xlabel="calls of the network", ylabel="mean error (no unit)")
ax.set_xticks(calls, [str(n) for n in calls])
ax.minorticks_off()
ax.legend()
plotting.show(fig, caption, alt)

# %% [markdown] solvers_say
# **Heun is worse than Euler with six calls, and better from ten on: 0.023 against 0.056 with ten, 0.0019 against 0.014
# with forty.** Its error falls with the square of the step (measured orders 1.8 and 2.4, Euler's 1.0), but it pays two
# calls for a step, and few steps are too long for any order to help. The variables and the spacing of levels matter,
# too: here even steps in $\sqrt t$ beat those in $\sigma^{1/7}$ by a factor of four (Euler) and of ten and more
# (Heun). Two things were changed there. One at a time, with forty calls: the variables $u$ over $\sigma$ cost a factor
# of 2.3 (Euler) and 7 (Heun), the spacing 1.8 and 5. (In $\sigma$ from 152 down, many levels are spent on pure noise.)
# Other data, other winners: on two narrow clusters ($\pm 1$, width 0.1) Heun passes Euler only at forty calls. And
# Heun's last step must not end at $t = 0$, where $s = -\epsilon^* / \sqrt{1 - \bar\alpha}$ is $0 / 0$: we stop at
# 0.001.

# %% [markdown] deeper_repaint
# ## Deeper · RePaint: going back to make it fit
#
# Replacing the known part has a flaw: the model makes the unknown half fit a known half that is drawn anew at each
# level, and what was decided at an earlier level cannot be undone. **RePaint** (Lugmayr et al., 2022) takes each step
# several times: after a step from level $a$ to $b$ it adds the noise of that step again,
# $x_a = \sqrt{a / b}\, x_b + \sqrt{1 - a / b}\, \epsilon$, and repeats. That costs calls; so the **control** spends as
# many on a finer chain.


# %% repaint
@tf.function
def repaint(words, known, noise, path, R):
    """As `inpaint`, with R steps at each level."""

    def step(model, z, a, b):
        for r in tf.range(R):
            there = q_sample(known, b, tf.random.normal(tf.shape(z)))
            new = tf.where(unknown, diffusion.ancestral_step(model, z, a, b), there)
            again = q_sample(new, a / b, tf.random.normal(tf.shape(z)))
            z = tf.where(r < R - 1, again, new)
        return z

    return reverse(step, Captioned(ldm, words), noise, path)


known = encode(np.where(np.reshape(missing, [*digits.shape, 1]), -1, x_test[:400]).astype(np.float32))
for name, K, R in [("replacing", 20, 1), ("RePaint", 20, 4), ("replacing", 80, 1)]:
    noise = tf.random.normal(known.shape)
    z = repaint(tf.constant(anything), known, noise, path(alpha_bar, K), tf.constant(R))
    one = np.where(missing, to_pixels(decode(z).numpy()), digits.test[:400])
    wrong = evaluation.pixel_errors(truth, one >= threshold, missing)
    right = evaluation.mean_estimate(classifier.predict(one) == digits.test_labels[:400])
    measure(f"{name}, {K} × {R}", one)
    print(f"{'':>22}  wrong pixels {wrong:.3f}, completed to the true class {right:.2f}")

# %% [markdown] repaint_says
# **Going back helps, spending the same calls on a finer chain does not: 21 % of the missing pixels are wrong in place
# of 24 % (both with 20 and with 80 levels), and the completed images are told from test images a little less easily.**
# (One completion of each image; errors ± 0.5 %. Five, averaged and cut: 18.8 % in place of 20.0.) So the calls are not
# what matters. To the true class about 60 % are completed, 54 % before: the upper half of an 8×8 digit does not say
# everything.
#
# <details><summary>Measured how?</summary>
#
# Trainings with seeds 0, 1, 2, two completions of each image, averaged and cut: wrong with 20 levels, RePaint, 80
# levels 21.9, 19.5, 22.0 %; 21.8, 20.7, 21.7 %; 21.8, 20.1, 21.8 % (each ± 0.4); told apart 0.85, 0.81, 0.86; 0.86,
# 0.82, 0.86; 0.86, 0.82, 0.84 (± 0.02); completed to the true class 0.55, 0.63, 0.57; 0.57, 0.58, 0.57; 0.59, 0.64,
# 0.58 (± 0.02).
# </details>

# %% [markdown] deeper_attention
# ## Deeper · Who listens to which word?
#
# The weights $A_{nj}$ of the last layer of attention, averaged over heads and images, for each place of the code.

# %% attention_map
attentive = [layer for layer in ldm.network.layers if isinstance(layer, CrossAttention)]
inner = keras.Model(ldm.network.inputs, [part for layer in attentive for part in layer.input])
fig, axes = plt.subplots(2, 3, figsize=(8, 5))
for row, a in zip(axes, [0.05, 0.8]):
    z = q_sample(z_test[:400], np.full(400, a), tf.random.normal(z_test[:400].shape))
    parts = inner([z, diffusion.waves(tf.fill([400], a)), tf.constant(wanted)])
    A = attentive[-1].weights_of(*parts[-2:]).numpy().mean(axis=(0, 1)).reshape(*autoencoder.code[:2], 3)
    for ax, j, name in zip(row, range(3), ["a", "thin or bold", "the class"]):
        shown = ax.imshow(A[..., j], vmin=0, vmax=1, cmap="viridis")
        ax.set(title=f"{name}, ᾱ = {a}", xticks=[], yticks=[])
        ax.grid(False)
fig.colorbar(shown, ax=axes, label="weight (share)")
plotting.show(
    fig,
    "How much each place listens to each word, at two noise levels. Where does the class matter, and when?",
    "Six squares of 4×4 places. With much noise the class has up to 0.8 in the middle, where the word a has nearly 0; at the left margin all are near a third.",
)

# %% [markdown] attention_says
# **In strong noise the middle of the image listens to the class (up to 0.8 of the weight, and next to nothing for
# "a"); at the left margin each word gets about a third. (The right margin is nearly as white, and hears the class
# more: white paper does not explain it.) With little noise the weights are more even everywhere.** (One training,
# averages; a weight says who was listened to, not what was made of it.)

# %% [markdown] bigger
# ## Going bigger
#
# The same notebook on MNIST or Fashion-MNIST: change the `parameters` cell only. (Maintainers: `make benchmark
# WEEK=week14_guided_latent_diffusion`.) The code is then 7×7×4. On Fashion-MNIST the captions read "a pale boot", "a
# dark dress".
#
# ```python
# dataset = "fashion-mnist"
# patch = 4
# code_channels = 4
# autoencoder_epochs = 5
# epochs = 8
# batch_size = 64
# learning_rate = 2e-3
# ```
#
# | model | measured | kernel distance | training |
# |---|---|---|---|
# | latent diffusion, 20 steps, captions | none | 0.000 ± 0.010 | 6 CPU minutes |
#
# **On Fashion-MNIST 400 drawn images cannot be told from 400 test images by kernel distance, and a classifier is right
# in 70 % of the cases; 0.95 of the test images are covered.** The whole notebook took 10 CPU minutes on two cores (one
# training). Guidance does what it did on the digits: from $w = 0$ to 4 the class of a caption is drawn in 75, 88, 93,
# 96 and 97 % of the cases (test images: 88 %), and beyond $w = 1$ the kernel distance rises (× 1000: −6, −7, −7, 1,
# 12, each ± 5).

# %% [markdown] references
# ## References
#
# - Anderson (1982). *Reverse-time diffusion equation models.* Stochastic Processes and their Applications 12.
# - Bradley, Nakkiran (2024). *Classifier-free guidance is a predictor-corrector.* arXiv 2408.09000.
# - Chidambaram, Gatmiry, Chen, Lee, Lu (2024). *What does guidance do? A fine-grained analysis in a simple setting.* NeurIPS.
# - Dhariwal, Nichol (2021). *Diffusion models beat GANs on image synthesis.* NeurIPS.
# - Ho, Salimans (2022). *Classifier-free diffusion guidance.* arXiv 2207.12598.
# - Karras, Aittala, Aila, Laine (2022). *Elucidating the design space of diffusion-based generative models.* NeurIPS.
# - Lugmayr, Danelljan, Romero, Yu, Timofte, Van Gool (2022). *RePaint: inpainting using denoising diffusion probabilistic models.* CVPR.
# - Naeem, Oh, Uh, Choi, Yoo (2020). *Reliable fidelity and diversity metrics for generative models.* ICML.
# - Rombach, Blattmann, Lorenz, Esser, Ommer (2022). *High-resolution image synthesis with latent diffusion models.* CVPR.
# - Song, Meng, Ermon (2021). *Denoising diffusion implicit models.* ICLR.
# - Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole (2021). *Score-based generative modeling through stochastic differential
#   equations.* ICLR.
