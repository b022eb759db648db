# %% [markdown] title
# # Week 12 · Normalising flows
#
# {{colab}}
#
# The models of the last two weeks have an exact likelihood, and draw one variable after the other. Now bend a
# Gaussian, by a map that can be undone, until it looks like the data. Then one can draw all variables at once and has
# an exact density as well: VAEs and GANs lack the density, autoregressive models the drawing at once.
#
# **After this notebook you can**
#
# 1. write the density of a mapped variable, and check it by areas, a Jacobian and an integral;
# 2. build a coupling flow (RealNVP) and an autoregressive flow (MAF, IAF), and say which of them is fast at what;
# 3. say why a density of grey levels can be raised without limit, and bound a probability by dequantisation;
# 4. derive why flow matching learns the right velocity, and check it on a mixture whose velocity is known;
# 5. draw from a continuous flow by Euler or Heun steps, and say what the error of each does to the samples.
#
# *Time:* reading 150 minutes, the core of this notebook 150 minutes. It computes for about a minute on two CPU cores.
# What stands under *Deeper* is for whoever wants it.

# %% [markdown] picture_flow
# {{picture: flow}}

# %% [markdown] reading
# ## Reading
#
# | what | minutes |
# |---|---|
# | **Main:** Prince, *Understanding Deep Learning*, chapter 16. | 60 |
# | Papamakarios et al. (2021), *Normalizing flows for probabilistic modeling and inference*: what it says of change of variables, autoregressive and coupling flows; skim residual flows. | 50 |
# | Lipman et al. (2023), *Flow matching for generative modeling*: sections 1 to 4. | 40 |
#
# Alternatives: Murphy, *Probabilistic Machine Learning: Advanced Topics*, chapter 23; Bishop and Bishop, chapter 18;
# for Deeper Kingma and Dhariwal (2018), *Glow*.
#
# **Focus questions.** Have an answer to each before you go on.
#
# 1. A map stretches a region to twice its area. What happens to the density there?
# 2. A coupling layer never inverts its network. Why is the layer invertible all the same?
# 3. An autoregressive flow evaluates densities in one pass and draws in $D$. What would the opposite be good for?
# 4. Each pair of noise and image is joined by a straight line, and lines cross. Can the flow's own paths meet?
#
# **Letters.** B batch, D data (pixels again, no longer a width), H hidden units, K grey levels or components. $z$ is
# the noise, $x = f(z)$ the data; in section 5 noise is $x_0$ and data $x_1$ ($t$ runs from 0, noise, to 1, data), and
# $v$ a velocity. In a layer, $s$ is a logarithm of a scale and $m$ a shift. $u$ is noise within a grey level in
# section 3, a network's velocity in section 5. Images are grey again: whole levels, 0 to 16.

# %% setup

# %% parameters tags=["parameters"]
dataset = "digits-grey"  # "mnist" or "fashion-mnist": see "Going bigger"
moon_epochs = 30  # passes over the 4,000 points of the moons
moon_rate = 5e-3
couplings = 8  # layers of the RealNVP on images
hidden = 128  # H of their networks
coupling_dropout = 0.2  # share of hidden units that are left out in training
epochs = 20  # passes over the training images, of the RealNVP
maf_layers = 4
maf_hidden = 256
maf_dropout = 0.5
maf_epochs = 12
matching_hidden = 256  # units of each of the two hidden layers of the velocity
matching_epochs = 40
glow_epochs = 4
glow_channels = 32  # of the convolutions in its couplings
variational_epochs = 5
learning_rate = 3e-3  # of Adam; all rates fall to 0 along a cosine
batch_size = 50  # images a step
seed = 0

# %% imports
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.datasets import make_moons

from utils import datasets, evaluation, plotting, quiz, scoreboard
from utils.networks import MLP, MaskedDense, batches, train  # from weeks 6 and 10

tfb, tfd = tfp.bijectors, tfp.distributions
digits = datasets.load(dataset)
keras.utils.set_random_seed(seed)  # weights, and all draws
purple = plotting.FAMILY_COLOURS["flow"]
print(digits)

# %% [markdown] change_text
# ## 1 · Change of variables
#
# Draw $z$ from a Gaussian and apply a map $f$ that can be undone. The samples $x = f(z)$ have some density; which one
# is not obvious, since $f$ moves the points closer together here and further apart there. Probability is kept: what
# was in a small cell of volume $dz$ is now in a cell of volume $|\det J|\, dz$, where $J = \partial f / \partial z$.
# So
#
# $$\log p(x) = \log p_z(z) - \log \left| \det \frac{\partial f}{\partial z} \right|, \qquad z = f^{-1}(x).$$
#
# **Check** in one dimension by a histogram, in two by the area of a small square after the map. **Predict:**
# $f(z) = z + 1.2 \tanh 2z$ is steepest at 0. Where is the density of $x$ highest?

# %% change
z = np.linspace(-3.5, 3.5, 2001)
x = z + 1.2 * np.tanh(2 * z)
slope = 1 + 2.4 / np.cosh(2 * z) ** 2
p_z = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
noise = np.random.default_rng(seed).normal(size=20_000)


def banana(z):
    """z: (..., 2) → x: (..., 2), with log |det J| = z₁ / 2."""
    return np.stack([z[..., 0], z[..., 1] * np.exp(z[..., 0] / 2) + z[..., 0] ** 2 / 2], axis=-1)


corner, side = np.array([0.8, -0.5]), 1e-3
a, b, c, d = banana(corner + side * np.array([[0, 0], [1, 0], [1, 1], [0, 1]]))
area = 0.5 * abs(np.linalg.det(np.stack([c - a, d - b]))) / side**2
print(f"integral of p(x) {np.trapezoid(p_z / slope, x):.4f}, without the slope {np.trapezoid(p_z, x):.4f}")
print(f"a small square grows by {area:.4f}, exp(z₁ / 2) = {np.exp(0.8 / 2):.4f}")

# %% change_figure
fig, axes = plt.subplots(1, 3, figsize=(12, 3.6))
axes[0].hist(noise + 1.2 * np.tanh(2 * noise), 80, density=True, color="#CCCCCC", label="samples")
axes[0].plot(x, p_z / slope, color=purple, label="p(x)")
axes[0].plot(x, p_z, ":", color="black", label="without the slope")
axes[0].set(xlabel="x (no unit)", ylabel="density (per unit)", xlim=(-4, 4), ylim=(0, 0.65))
axes[0].legend()
u, v = np.meshgrid(np.linspace(-2, 2, 9), np.linspace(-2, 2, 60))
grid_lines = [np.stack(pair, axis=-1) for pair in [(u, v), (v, u)]]
for ax, f, name in [(axes[1], lambda z: z, "z"), (axes[2], banana, "x")]:
    for lines in map(f, grid_lines):
        ax.plot(lines[..., 0], lines[..., 1], color=purple, linewidth=1)
    ax.plot(*f(noise[:600].reshape(300, 2)).T, ".", color="black", markersize=3)
    ax.set(xlabel=f"{name}₁ (no unit)", ylabel=f"{name}₂ (no unit)", xlim=(-3, 3), ylim=(-4, 6))
plotting.show(
    fig,
    "Left: a map of the line. Middle and right: a map of the plane. Where cells grow, dots get thinner.",
    "Left, a histogram with two humps and a curve that follows it; a dotted curve encloses almost twice the area. Middle, a square grid with dots; right, the grid bent like a banana, its cells taller on the right.",
)

# %% [markdown] change_says
# **Where the map is steepest the density has a valley: one hump has become two.** Without the slope the curve encloses
# an area of 1.87 and is no density. The map of the plane leaves $z_1$ alone, and stretches and shifts $z_2$ by amounts
# that depend on $z_1$; its Jacobian is triangular, so the determinant is the product of two numbers,
# $1 \cdot e^{z_1 / 2}$. In $D$ dimensions a general determinant costs $D^3$ operations. That map shows how to do
# without.

# %% [markdown] coupling_text
# ## 2 · Coupling layers: RealNVP
#
# We want maps that a network can shape, that can be undone, and whose determinant is cheap. A network as such gives
# none of the three. A **coupling layer** (Dinh et al., 2015, 2017) uses it for two lists of numbers only. A mask
# $b \in \{0, 1\}^D$ keeps a part of the variables, and from this part alone the network computes how to scale and
# shift the others:
#
# $$x = b \odot z + (1 - b) \odot \left( z \odot e^{s} + m \right), \qquad (s, m) = \mathrm{network}(b \odot z), \qquad
# \log \left| \det \frac{\partial x}{\partial z} \right| = \sum_{d: b_d = 0} s_d .$$
#
# Undoing needs no inverse of the network. The kept part is the same before and after, $b \odot x = b \odot z$, so $s$
# and $m$ are computed again, and $z = (x - m)\, e^{-s}$. A second layer with the mask $1 - b$ moves the rest. Here
# $s = 2 \tanh(a / 2)$ stays below 2, so that no step can explode, and the last weights start at 0: a new flow is the
# identity.

# %% [markdown] picture_coupling
# {{picture: coupling}}


# %% coupling
class Coupling(keras.layers.Layer):
    """x = b ∘ z + (1 − b) ∘ (z exp(s) + m). mask b: (D,), 1 where a variable is kept; hidden: sizes of the network."""

    def __init__(self, mask, *hidden, dropout=0.0):
        super().__init__()
        D = len(mask)
        self.mask = tf.constant(mask, tf.float32)
        self.network = MLP(D, *hidden, 2 * D)
        self.network.last.kernel.assign(tf.zeros([hidden[-1], 2 * D]))
        self.dropout = keras.layers.Dropout(dropout)
        self.built = True

    def s_m(self, kept, training=False):
        """What the kept part says: s and m, (B, D) each, 0 where the mask is 1."""
        h = kept
        for layer in self.network.hidden:
            h = self.dropout(layer(h), training=training)
        a, m = tf.split(self.network.last(h), 2, axis=-1)
        return 2 * tf.tanh(a / 2) * (1 - self.mask), m * (1 - self.mask)

    def forward(self, z):
        """z → x: (B, D)."""
        s, m = self.s_m(self.mask * z)
        return z * tf.exp(s) + m

    def inverse(self, x, training=False):
        """x → z (B, D), and log |det ∂z/∂x| (B,)."""
        s, m = self.s_m(self.mask * x, training)
        return (x - m) * tf.exp(-s), -tf.reduce_sum(s, axis=-1)


# %% [markdown] flow_text
# Flows compose: maps follow one another, log-determinants add. So one class serves all flows of this week, whatever
# their layers are, as long as each has `forward` and `inverse`. Training is maximum likelihood, and for that only the
# way back from $x$ to $z$ is needed.


# %% flow
class Flow(keras.Model):
    """Layers from noise to data; each has forward: z → x, and inverse: x → z, log |det ∂z/∂x|."""

    def __init__(self, D, layers):
        super().__init__()
        self.D, self.steps = D, layers
        self.built = True

    def forward(self, z):
        """z → x: (B, D)."""
        for layer in self.steps:
            z = layer.forward(z)
        return z

    def inverse(self, x, training=False):
        """x → z (B, D), and log |det ∂z/∂x| (B,)."""
        total = tf.zeros_like(x[:, 0])
        for layer in reversed(self.steps):
            x, log_det = layer.inverse(x, training=training)
            total += log_det
        return x, total

    def call(self, x, training=False):
        """x: (B, D) → log p(x), (B,) nats. The loss is minus its mean."""
        z, log_det = self.inverse(x, training)
        log_p = tf.reduce_sum(-(z**2) / 2 - np.log(2 * np.pi) / 2, axis=-1) + log_det
        self.add_loss(-tf.reduce_mean(log_p))
        return log_p

    def sample(self, n):
        """n points: (n, D)."""
        return self.forward(tf.random.normal([n, self.D]))


# %% [markdown] coupling_check_text
# **Two checks** on random weights in five dimensions: forward and back is the identity; and the log-determinant is
# that of the Jacobian, whose $D \times D$ slopes are computed by differentiation. (A third, TensorFlow Probability as
# a second implementation, comes with the next kind of layer.)


# %% coupling_check
def shaken(flow, scale=0.3):
    """The flow with random weights, no longer the identity."""
    for w in flow.trainable_variables:
        w.assign(tf.random.normal(w.shape, stddev=scale))
    return flow


def check(flow, x):
    """x: (B, D). Inverse and log-determinant of a flow against forward and the Jacobian."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        z, log_det = flow.inverse(x)
    exact = tf.linalg.slogdet(tape.batch_jacobian(z, x))[1]
    errors = [float(tf.reduce_max(tf.abs(e))) for e in (flow.forward(z) - x, log_det - exact)]
    print(f"largest errors: x after inverse and forward {errors[0]:.0e}, log-determinant {errors[1]:.0e}")
    assert max(errors) < 1e-3


keep, points = np.array([1, 1, 0, 0, 0]), tf.random.normal([50, 5])
check(shaken(Flow(5, [Coupling(keep, 16), Coupling(1 - keep, 16), Coupling(keep, 16)])), points)

# %% [markdown] moons_text
# **Two moons.** The data are two half circles with a little noise, scaled to unit variance. The density that the
# points come from is known, an integral along the arcs: no model can have more than −1.14 nats per point, in the mean.
#
# **Predict:** the plane is in one piece, and so is everything that a continuous map makes of it. The moons are two.
# What will the density do between them?

# %% moons
moons, labels = make_moons(6000, noise=0.05, random_state=seed)
moons = ((moons - moons.mean(axis=0)) / moons.std(axis=0)).astype(np.float32)
held_out, start = moons[4000:], np.random.default_rng(seed)
flow = Flow(2, [Coupling([i % 2, 1 - i % 2], 64, 64) for i in range(6)])
for layer in flow.steps:  # kinks of the first layer spread over the data, else all of them lie at 0
    layer.network.hidden[0].set_weights([start.normal(0, 1.5, (2, 64)), start.uniform(-3, 3, 64)])
moons_curve, spent = train(
    flow,
    batches(moons[:4000], B=100, seed=seed, binarise=False),
    moon_epochs,
    moon_rate,
    tf.data.Dataset.from_tensors(held_out),
)
print(f"log-density of held-out points {evaluation.mean_estimate(flow(held_out))} nats; {spent:.1f} s")

# %% moons_figure
line = np.linspace(-3, 3, 401).astype(np.float32)
plane = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
log_p = flow(plane).numpy().reshape(401, 401)
print(f"the density sums to {np.exp(log_p).sum() * (line[1] - line[0]) ** 2:.4f} over the square shown")
fig, axes = plt.subplots(1, 2, figsize=(10, 4))
axes[0].contourf(line, line, np.maximum(log_p, -12), levels=14, cmap="Blues")
axes[0].plot(*flow.sample(1000).numpy().T, ".", color=purple, markersize=2)
axes[1].scatter(*flow.inverse(held_out)[0].numpy().T, c=labels[4000:], cmap="coolwarm", s=3)
for ax, name in zip(axes, "xz"):
    ax.set(
        xlabel=f"{name}₁ (no unit)", ylabel=f"{name}₂ (no unit)", xlim=(-3, 3), ylim=(-3, 3), aspect="equal"
    )
plotting.show(
    fig,
    "RealNVP on two moons: log-density (palest: −12 nats or less) with samples, and the noise that belongs to held-out points. Where is the cut?",
    "Left, two dark arcs that a paler bridge joins, with some samples on it. Right, a round cloud in two colours that share a border.",
)

# %% [markdown] moons_say
# **After 1,200 steps held-out points get −1.27 nats, 0.12 less than the truth, and a bridge joins the moons: a
# continuous map cannot cut.** In the noise both moons share one disc, and their border, where few points lie, is drawn
# out to the bridge. A better flow makes it thinner, never nothing.
#
# <details><summary>Measured how?</summary>
#
# One training, seed 0 (seeds 1 and 2, with points of their own: −1.23, −1.19). The truth is −1.144 on the same
# held-out points, by integrals along the arcs. The cell also spreads the kinks of the first layer over the data: of
# two variables the network sees one, and with biases that start at 0 all features of this one number have their kink
# at the same place. With Keras' own start the flow had −1.83 after 1,200 steps (at twice the rate; one training), and
# showed one blob.
# </details>

# %% [markdown] grey_text
# ## 3 · Grey levels: a density is no probability
#
# Grey levels are integers $k$; a flow has a density. Given isolated points, likelihood training has an easy way to
# infinity: narrow peaks, one on each. Half the width doubles the density, without limit, and nothing is learned about
# images. The cure is **dequantisation** (Theis et al., 2016): fill each cell with noise $u$, uniform on $[0, 1)^D$.
# The probability of a cell is an integral of the density, so by Jensen's inequality
#
# $$\log P(x) = \log \int_{[0, 1)^D} p(x + u)\, du \;\ge\; \mathbb{E}_u\left[ \log p(x + u) \right] .$$
#
# The right side is what is trained. It is a lower bound of a true log-probability, so its mean over the data cannot
# pass minus their entropy. In bits per dimension it is shown as "≤". On $[0, 1]$ instead of $[0, K]$ a log-density is
# larger by $\log K$ for each dimension: subtract it.
#
# The flow of images starts (on the side of the data) with a layer that has nothing to learn. Each pixel has its own
# histogram of levels, $p_d(k)$. With noise it lies at $x_d$ within level $k = \lfloor x_d \rfloor$; the histogram's
# cumulative distribution maps it to a uniform number, and the inverse Gaussian one, $\Phi^{-1}$, to a standard normal:
#
# $$z_d = \Phi^{-1}\big(p_d(<k) + p_d(k)\,(x_d - k)\big), \qquad \log \frac{\partial z_d}{\partial x_d} = \log p_d(k) + \tfrac12 z_d^2 + \tfrac12 \log 2\pi .$$
#
# Without any coupling this flow is a product of histograms. The couplings add what pixels know of each other. (On
# MNIST the same: 256 levels.)


# %% marginals
class Marginals(keras.layers.Layer):
    """Smoothed histograms as a flow: z normal ↔ x in [0, K), uniform within a level. images: (N, D) levels."""

    def __init__(self, images, K, smoothing=0.5):
        super().__init__()
        counts = smoothing + np.stack([np.bincount(pixel, minlength=K) for pixel in images.astype(int).T])
        p = counts / counts.sum(axis=1, keepdims=True)  # (D, K)
        self.table = tf.constant(np.stack([p, np.cumsum(p, axis=1) - p], axis=-1), tf.float32)
        self.K, self.built = K, True

    def of_level(self, k):
        """k: levels (D, B) → P(level = k) and P(level < k) of each pixel, (D, B) each."""
        return tf.unstack(tf.gather(self.table, k, batch_dims=1), axis=-1)

    def forward(self, z):
        c = tf.transpose(tf.math.erfc(-z / np.sqrt(2)) / 2)  # Φ(z), (D, B)
        k = tf.searchsorted(self.table[:, 1:, 1], c, side="right")
        p, below = self.of_level(k)
        return tf.transpose(tf.cast(k, tf.float32) + tf.clip_by_value((c - below) / p, 0.0, 0.999))

    def inverse(self, x, training=False):
        x = tf.transpose(x)
        k = tf.clip_by_value(tf.cast(x, tf.int32), 0, self.K - 1)
        p, below = self.of_level(k)
        z = tf.math.ndtri(tf.clip_by_value(below + p * (x - tf.cast(k, tf.float32)), 1e-6, 1 - 1e-6))
        log_slope = tf.math.log(p) + z**2 / 2 + np.log(2 * np.pi) / 2  # of Φ⁻¹(P(x))
        return tf.transpose(z), tf.reduce_sum(log_slope, axis=0)


# %% dequantised
class Dequantised(keras.Model):
    """Images of integer levels x: the flow's bound E log p(x + u), u uniform (or 0, for the failure)."""

    def __init__(self, flow, noise=True):
        super().__init__()
        self.flow, self.noise, self.built = flow, noise, True

    def call(self, x, training=False):
        """x: (B, D) levels → the bound from one draw of u, (B,) nats."""
        u = tf.random.uniform(tf.shape(x)) if self.noise else 0.0
        return self.flow(x + u, training=training)  # which adds the loss


def levels(x):
    """Values in [0, K) → the integer level below, float32."""
    return np.clip(np.floor(x), 0, K - 1).astype(np.float32)


# %% [markdown] digits_text
# **Images.** Eight couplings, their masks in pairs: a checkerboard and its complement, rows, columns, blocks. And the
# failure on purpose: the same flow, trained the same way, without noise.
#
# **Predict:** is there a floor under the loss of the flow without noise, on held-out images?

# %% realnvp
height, width = digits.shape
D, K = height * width, datasets.GREY_LEVELS if dataset == "digits-grey" else 256
scale = 1 if dataset == "digits-grey" else 255
x_train, x_validation, x_test = (
    np.round(scale * part) for part in (digits.train, digits.validation, digits.test)
)
row, column = np.divmod(np.arange(D), width)
patterns = [(row + column) % 2, row % 2, column % 2, (row // 2 + column // 2) % 2]
masks = [mask for pattern in patterns for mask in (pattern, 1 - pattern)]


def realnvp(layers):
    """A RealNVP of images: couplings, then the histograms of the pixels."""
    nets = [Coupling(masks[i % len(masks)], hidden, dropout=coupling_dropout) for i in range(layers)]
    return Flow(D, [*nets, Marginals(x_train, K)])


def fit(model, epochs):
    """Train on the images → losses by epoch, seconds."""
    data = batches(x_train, B=batch_size, seed=seed, binarise=False)
    return train(model, data, epochs, learning_rate, tf.data.Dataset.from_tensors(x_validation[:2000]))


nvp, bare = Dequantised(realnvp(couplings)), Dequantised(realnvp(couplings), noise=False)
nvp_curve, nvp_seconds = fit(nvp, epochs)
bare_curve, _ = fit(bare, max(1, epochs // 4))


# %% failure_figure
def in_bits(losses):
    """A learning curve in nats per image → epochs and bits per dimension."""
    return np.arange(1, len(losses) + 1), evaluation.bits_per_dim(-np.array(losses), D)


plotting.learning_curves(
    {"with noise": in_bits(nvp_curve["val_loss"]), "without": in_bits(bare_curve["val_loss"])},
    "time (epochs)",
    "loss (bits per dimension)",
    "RealNVP on grey levels, with and without dequantisation. Which of the curves is one of code lengths?",
    "One curve levels off near 2; the other falls far below 0 within two epochs, and rises a little after that.",
)

# %% [markdown] failure_says
# **Without noise the loss is at −5 bits per dimension after two epochs, on images that the flow has never seen: the
# logarithm of a density, and no code length.** Nearly half of all pixels have level 0. Without noise such a pixel lies
# at the border of its histogram, where $\Phi^{-1}$ and its slope have no limit. The code stops at $10^{-6}$:
# $z = \Phi^{-1}(10^{-6}) = -4.75$, and $z^2 / 2 = 11.3$ nats stand in the log-slope. The couplings shift these pixels
# from −4.75 towards 0, where the Gaussian is highest; a shift costs nothing, and the 11.3 nats stay. So the only floor
# is one of the code; every flow finds such a place where the data are points. Later it overfits as well, and the curve
# rises. With noise the flow needs about 2.05 bits per dimension at most, on validation images. The product of
# histograms that it started from needs 2.44 (on test images 2.42): the difference is what the couplings add.
#
# The likelihood that a paper reports for a flow is this bound. It says how well the flow would do as a code for
# levels, and can be set beside week 10's grey PixelCNN (Deeper), whose softmax gives probabilities at once.

# %% [markdown] maf_text
# ## 4 · Autoregressive flows: the same with another mask
#
# A coupling layer knows two groups of variables. Why not $D$ groups of one variable each? Let scale and shift of
# variable $d$ depend on all variables before it:
#
# $$x_d = z_d\, e^{s_d} + m_d, \qquad (s_d, m_d) = \mathrm{network}(x_{<d}) \ \text{(MAF)} \quad \text{or} \quad
# \mathrm{network}(z_{<d}) \ \text{(IAF)}.$$
#
# The Jacobian is triangular, and all $(s_d, m_d)$ come from one pass of week 10's MADE: mask "≤" before the hidden
# units, "<" after them. In a **masked autoregressive flow** (MAF, Papamakarios et al., 2017) the network looks at $x$.
# So density is one pass; drawing needs $x_{<d}$ first, $D$ passes. An **inverse autoregressive flow** (IAF, Kingma et
# al., 2016) looks at $z$: drawing is one pass, and so is the density of *what it drew itself*; the density of given
# data takes $D$. Each is the other one run backwards. A MAF with a single layer is a model of week 10, with Gaussian
# conditionals; layers in alternating order make it more.
#
# **Predict:** what will 100 densities and 100 samples cost in RealNVP, MAF, IAF? (The cell measures the first two.)


# %% maf
class MAF(keras.layers.Layer):
    """x_d = z_d exp(s_d(x_<d)) + m_d(x_<d). order: (D,), the place 1, …, D of each variable; H hidden units."""

    def __init__(self, order, H, dropout=0.0):
        super().__init__()
        known = 1 + np.arange(H) * (len(order) - 1) // H  # how many variables each unit may know
        self.hidden = MaskedDense(order[:, None] <= known)
        self.out = MaskedDense(np.tile(known[:, None] < order, 2), "zeros")
        self.dropout = keras.layers.Dropout(dropout)
        self.built = True

    def s_m(self, x, training=False):
        """s and m of each variable, from those before it: (B, D) each."""
        h = self.dropout(tf.nn.silu(self.hidden(x)), training=training)
        a, m = tf.split(self.out(h), 2, axis=-1)
        return 2 * tf.tanh(a / 2), m

    def inverse(self, x, training=False):
        s, m = self.s_m(x, training)
        return (x - m) * tf.exp(-s), -tf.reduce_sum(s, axis=-1)

    @tf.function
    def forward(self, z):
        x = tf.zeros_like(z)
        for _ in tf.range(z.shape[-1]):  # after pass d the first d variables of the order are final
            s, m = self.s_m(x)
            x = z * tf.exp(s) + m
        return x


# %% maf_check
check(shaken(Flow(5, [MAF(np.arange(1, 6), 30), MAF(np.arange(5, 0, -1), 30)])), points)
one = shaken(Flow(5, [MAF(np.arange(1, 6), 30)]))
second = tfb.MaskedAutoregressiveFlow(lambda x: one.steps[0].s_m(x)[::-1])  # wants (m, s)
second = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(5)), second)
np.testing.assert_allclose(one(points), second.log_prob(points), rtol=1e-4)

orders = [np.arange(1, D + 1), np.arange(D, 0, -1)]
mafs = [MAF(orders[i % 2], maf_hidden, maf_dropout) for i in range(maf_layers)]
maf = Dequantised(Flow(D, [*mafs, Marginals(x_train, K)]))


def milliseconds(f, *args):
    """Of the second call of a compiled function: the first one compiles."""
    f = tf.function(f)
    f(*args)
    began = time.perf_counter()
    f(*args)
    return 1000 * (time.perf_counter() - began)


for name, model in [("RealNVP", nvp), ("MAF", maf)]:
    costs = [milliseconds(f, x_test[:100]) for f in (model, model.flow.forward)]  # its input does not matter
    print(f"{name:>8}: {costs[0]:6.1f} ms for 100 densities, {costs[1]:6.1f} ms for 100 samples")
maf_curve, maf_seconds = fit(maf, maf_epochs)
print(f"MAF: at most {in_bits(maf_curve['val_loss'])[1][-1]:.3f} bits per dimension on validation images")

# %% [markdown] maf_says
# **One pass against D: MAF is as fast as RealNVP where densities are wanted, and slower by far when it draws.** For an
# IAF exchange the two columns (Deeper runs one). On validation images the MAF needs at most 2.11 bits per dimension
# (12 epochs; 2.110 and 2.112 with two more seeds).

# %% [markdown] matching_text
# ## 5 · Continuous flows and flow matching
#
# All layers so far had to have a special form. Let there be infinitely many, each of which does almost nothing, and
# the form is free: follow the velocity field $v(x, t)$ from $t = 0$ to 1,
#
# $$\frac{dx}{dt} = v(x, t), \qquad \frac{d}{dt} \log p_t(x(t)) = -\mathrm{tr}\, \frac{\partial v}{\partial x}.$$
#
# Two paths of an ODE are never at the same place at the same time, so the map can be undone: run time backwards. The
# determinant has become a trace (Chen et al., 2018). Training by likelihood would mean to solve an ODE at every step.
# **Flow matching** (Lipman et al., 2023; Albergo and Vanden-Eijnden, 2023; Liu et al., 2023) needs none. Take noise
# $x_0$ and a data point $x_1$ at random, walk from one to the other on a straight line, and learn the direction by
# regression:
#
# $$x_t = (1 - t)\, x_0 + t\, x_1, \qquad \min_u\ \mathbb{E}\, \left| u(x_t, t) - (x_1 - x_0) \right|^2 .$$
#
# **Why is that right?** Lines cross, so at one point $x$ many directions meet, and the best answer of a regression is
# their mean, $v(x, t) = \mathbb{E}[x_1 - x_0 \mid x_t = x]$. For every smooth function $g$
#
# $$\frac{d}{dt} \mathbb{E}\, g(x_t) = \mathbb{E}\left[ \nabla g(x_t) \cdot (x_1 - x_0) \right] = \mathbb{E}\left[ \nabla g(x_t) \cdot v(x_t, t) \right].$$
#
# (The first step is the chain rule along each line; for the second, average first over all lines through one point.)
# Particles with $dX/dt = v(X, t)$ have $\tfrac{d}{dt} \mathbb{E}\, g(X) = \mathbb{E}[\nabla g(X) \cdot v(X, t)]$: the
# same equation, for every $g$, from the same start $x_0$. It has one solution (for a smooth $v$). So they have at each
# time the distribution of $x_t$, and arrive as data, although **not one of them walks along one of the lines**.
#
# For a mixture of Gaussians $\sum_k w_k \mathcal{N}(\mu_k, \sigma^2)$ the mean is known. Given component $k$, $x_t$ is
# Gaussian around $t \mu_k$ with variance $c_t = t^2 \sigma^2 + (1 - t)^2$, and $x_1 - x_0$ is Gaussian with it. So its
# mean given $x_t$ is linear, with slope covariance over variance, and
# $\mathrm{Cov}(x_1 - x_0, x_t) = t \sigma^2 - (1 - t)$:
#
# $$v(x, t) = \sum_k P(k \mid x_t = x) \left[ \mu_k + \frac{t \sigma^2 - (1 - t)}{c_t}\, (x - t \mu_k) \right].$$

# %% velocity
means, weights, sigma = np.array([[2, 0], [-1, 1.7], [-1, -1.7]], np.float32), [0.5, 0.3, 0.2], 0.3
draw = np.random.default_rng(seed)


def mixture(n):
    """n points of the mixture: (n, 2)."""
    return (means[draw.choice(3, n, p=weights)] + sigma * draw.normal(size=(n, 2))).astype(np.float32)


def exact_velocity(x, t):
    """E[x₁ − x₀ | x_t = x] of the mixture: x (B, 2), t (B, 1) → (B, 2)."""
    c = t**2 * sigma**2 + (1 - t) ** 2
    off = x[:, None] - t[:, None] * means  # (B, K, 2)
    P = tf.nn.softmax(np.log(weights).astype(np.float32) - tf.reduce_sum(off**2, axis=-1) / (2 * c))
    return tf.reduce_sum(P[:, :, None] * (means + ((t * sigma**2 - (1 - t)) / c)[:, :, None] * off), axis=1)


# %% flow_matching
class FlowMatching(keras.Model):
    """A velocity network with two hidden layers of H units, trained on pairs (x₀, x₁)."""

    def __init__(self, D, H):
        super().__init__()
        self.D, self.network = D, MLP(D + 1, H, H, D)
        self.built = True

    def velocity(self, x, t):
        """x: (B, D), t: (B, 1) → (B, D)."""
        return self.network(tf.concat([x, t], axis=-1))

    def call(self, pairs):
        """x₀ and x₁, (B, D) each → squared errors at a random time each, (B,)."""
        x_0, x_1 = pairs
        t = tf.random.uniform([tf.shape(x_0)[0], 1])
        error = self.velocity((1 - t) * x_0 + t * x_1, t) - (x_1 - x_0)
        square = tf.reduce_sum(error**2, axis=-1)
        self.add_loss(tf.reduce_mean(square))
        return square


@tf.function
def solve(velocity, x, steps, heun=False):
    """Follow a velocity from t = 0 to 1: (B, D) → all positions, (steps + 1, B, D)."""
    path, h = tf.TensorArray(tf.float32, steps + 1).write(0, x), 1 / steps
    for i in tf.range(steps):
        t = tf.fill([tf.shape(x)[0], 1], tf.cast(i, tf.float32) * h)
        v = velocity(x, t)
        if heun:  # the mean of the slopes at both ends
            v = (v + velocity(x + h * v, t + h)) / 2
        x = x + h * v
        path = path.write(i + 1, x)
    return path.stack()


# %% [markdown] pairs_text
# **A check of the claim, and a second way to pair.** The regression's loss splits: for any $u$ it is the loss of $v$
# plus $\mathbb{E}|u - v|^2$ (Pythagoras), so $v$ is its minimiser and the loss does not go to 0. Both sides are
# measured for a learned $u$.
#
# Nothing above used that $x_0$ and $x_1$ are independent; each only needs the right distribution. So within each batch
# we may pair them such that the sum of $|x_1 - x_0|^2$ is smallest, by an **optimal-transport** assignment (Tong et
# al., 2024). Such lines seldom cross.

# %% matching_2d
N = 20_000
x_0, x_1 = draw.normal(size=(N, 2)).astype(np.float32), mixture(N)


def assign(x_0, x_1, B):
    """Reorder x₁ within each batch of B so that the squared distances to x₀ have the smallest sum."""
    parts = [slice(i, i + B) for i in range(0, len(x_0), B)]
    costs = [cdist(x_0[part], x_1[part], "sqeuclidean") for part in parts]
    return np.concatenate([x_1[part][linear_sum_assignment(cost)[1]] for part, cost in zip(parts, costs)])


pairs = {"independent": (x_0, x_1), "optimal transport": (x_0, assign(x_0, x_1, 200))}
learned = {}
for name, (start, end) in pairs.items():
    learned[name] = FlowMatching(2, 64)
    train(learned[name], batches(start, end, B=200, seed=seed, binarise=False), 12, 0.01)
t, e = draw.random((N, 1)).astype(np.float32), draw.normal(size=(N, 2)).astype(np.float32)
target = mixture(N) - e
x_t = e + t * target
u, v = learned["independent"].velocity(x_t, t), exact_velocity(x_t, t)
loss_u, loss_v, apart = (np.sum(np.square(w), axis=1) for w in (u - target, v - target, u - v))
print(
    f"loss of the network {np.mean(loss_u):.3f} = loss of v {np.mean(loss_v):.3f} + |u − v|² {np.mean(apart):.3f}?"
)
rest = evaluation.mean_estimate(loss_u - loss_v - apart)
assert abs(rest.value) < 5 * rest.error

# %% paths_figure
z = tf.random.normal([10_000, 2])
fields = {"exact": exact_velocity} | {name: model.velocity for name, model in learned.items()}
paths = {name: solve(field, z, 100, heun=True).numpy() for name, field in fields.items()}
fig, axes = plt.subplots(1, 4, figsize=(14, 3.8), sharex=True, sharey=True)
for ax, (name, lines) in zip(axes, [("lines of training", np.stack([x_0, x_1])), *paths.items()]):
    ax.plot(*lines[:, :60].transpose(2, 0, 1), color=purple, linewidth=0.8)
    for end, colour in [(0, "#888888"), (-1, "black")]:
        ax.plot(*lines[end, :60].T, ".", color=colour, markersize=4)
    ax.set(
        title=name, xlabel="first coordinate (no unit)", ylabel="second coordinate (no unit)", aspect="equal"
    )
plotting.show(
    fig,
    "From noise (grey) to data (black). Lines of training cross. Do the paths of the flow, and are they straight?",
    "Four panels. In the first straight lines cross everywhere; in the second and third curves bend apart, and few cross; in the last they are nearly straight.",
)


def rms(x, places):
    """Root mean square distance of x (N, 2) from the nearest of its places (N or 1, K, 2)."""
    return np.mean(np.min(np.sum((x[:, None] - places) ** 2, axis=2), axis=1)) ** 0.5


for name, field in fields.items():
    for calls, steps, heun in [(1, 1, False), (8, 8, False), (8, 4, True), (32, 32, False), (32, 16, True)]:
        end, solver = solve(field, z, steps, heun)[-1].numpy(), "Heun" if heun else "Euler"
        off, near = rms(end, paths[name][-1][:, None]), rms(end, means[None])
        print(f"{name:>17}, {calls:>2} calls, {solver:>5}: {off:.3f} off; {near:.3f} from the nearest mean")

# %% [markdown] paths_say
# **The lines of training are straight and cross everywhere; the paths of the flow bend, and never meet.** (Where two
# cross in the drawing, one was there earlier.) At $t = 0$ the point says nothing of its end, so
# $v(x, 0) = \mathbb{E}[x_1] - x$: all set out for the mean of the data, and a single Euler step puts every point *on*
# that mean (it is 1.96 off, the whole spread of the data; *off* is the root mean square distance from where the same
# start ends after 100 Heun steps, in units of the plane). Only later does the mean over lines turn to one component.
# With optimal-transport pairs hardly a line crosses, so a line is almost a path, and one step ends 0.35 off, eight
# 0.06. Each pairing has an exact velocity of its own (we know only that of the independent one), and both lead to the
# mixture. (The learned ones come near: their scatter about the components is 0.43 and 0.52 where the truth has 0.42.
# Both were trained briefly.)
#
# **Euler or Heun?** For the exact velocity and 8 calls Heun's error is 0.17 and Euler's 0.26, for 32 calls 0.01 to
# 0.03 and 0.10: Heun, of second order, is closer to the ODE's solution. But look at the last number, the scatter about
# the components, in truth $\sqrt 2 \sigma = 0.424$. Euler's error has a direction: its samples are too *narrow* (0.416
# with 32 calls), those of Heun too wide (0.427; more so with fewer). The last Euler step of length $h$ leads from $x$
# to $x + h v(x, 1 - h)$, which is the mean $\mathbb{E}[x_1 \mid x]$, which has no noise left. Where sample quality is
# judged by eye, or by features, that may look like a better solver. It is a worse one whose error removes noise.
#
# <details><summary>Measured how?</summary>
#
# Exact velocity, 20,000 points, one seed, against 200 Heun steps. Calls, error and scatter: Euler 8, 0.260, 0.421; 16,
# 0.163, 0.415; 32, 0.103, 0.418. Heun 8, 0.165, 0.456; 16, 0.063, 0.439; 32, 0.025, 0.429.
# </details>

# %% [markdown] matching_digits_text
# **Images.** The same regression in 64 dimensions. The data are the images with noise, after the layer of histograms
# ("Gaussianised" pixels), so noise and data have the same distribution in each pixel and differ in what pixels know of
# each other.


# %% matching_digits
class ImageMatching(FlowMatching):
    """Flow matching to the Gaussianised pixels of images of integer levels."""

    def __init__(self, marginals, D, H):
        super().__init__(D, H)
        self.marginals = marginals

    def scores(self, x):
        """x: (B, D) levels → Gaussianised pixels of x + u (B, D), log |det| of this map (B,)."""
        return self.marginals.inverse(x + tf.random.uniform(tf.shape(x)))

    def call(self, x):
        return super().call((tf.random.normal(tf.shape(x)), self.scores(x)[0]))


matching = ImageMatching(Marginals(x_train, K), D, matching_hidden)
matching_curve, matching_seconds = fit(matching, matching_epochs)
print("squared error, validation:", np.round(matching_curve["val_loss"][:: max(1, matching_epochs // 6)], 1))


# %% samples
def matching_samples(n, steps=25):
    """n images of levels, by Heun steps."""
    z = solve(matching.velocity, tf.random.normal([n, D]), steps, True)[-1]
    return levels(matching.marginals.forward(z))


samples = {"RealNVP": lambda n: levels(nvp.flow.sample(n)), "MAF": lambda n: levels(maf.flow.sample(n))}
samples["matching"] = matching_samples
plotting.image_grid(
    np.concatenate([draw_n(10) for draw_n in samples.values()] + [x_test[:10]]),
    digits.shape,
    "Samples, noise taken off again. What do these flows get right, and what not?",
    "Three rows of sampled grey digits, many of them broken, above a row of test images.",
    row_titles=[*samples, "test images"],
)

# %% [markdown] matching_says
# **Most samples look like strokes of a pen, few like digits.** None of these networks knows that pixels have
# neighbours: each is a plain MLP. The flow of images is trained in the same way as in the plane, with no determinant
# at all, and its loss stays far above 0: of its 64 dimensions most of the variance cannot be predicted.

# %% [markdown] board_text
# ## The scoreboard
#
# Both rows are bounds: the expectation over the noise is a mean over ten draws. The continuous flow's row follows
# under Deeper, where its likelihood is computed.


# %% board
def bound(log_p, draws=10):
    """log_p: x (B, D) → (B,), with fresh noise in each call → bits per dimension of each test image."""
    x = tf.constant(x_test[:2000], tf.float32)
    return evaluation.bits_per_dim(np.mean([log_p(x) for _ in range(draws)], axis=0), D)


def enter(model, log_p, sample, spent, parameters, note=""):
    """A row on the scoreboard → the table."""
    row = {"week": 12, "family": "flow", "data": dataset, "unit": "bits per dimension", "kind": "lower bound"}
    row |= {"per_image": bound(log_p), "train_seconds": spent, "parameters": parameters, "note": note}
    return scoreboard.enter(sample, model=model, **row)


enter(f"RealNVP, {couplings} couplings", nvp, samples["RealNVP"], nvp_seconds, nvp.count_params())
enter(f"MAF, {maf_layers} layers", maf, samples["MAF"], maf_seconds, maf.count_params())

# %% [markdown] board_says
# **In bits these flows stand between week 7's mixture of histograms (2.21) and its ladder VAE (at most 1.87; both
# Deeper): RealNVP needs at most 2.04 bits per dimension, the MAF 2.10, the continuous flow (Deeper) 2.09; by kernel
# distance their samples are behind those of VAE and GAN.** These distances (× 1000) are 29, 45 and 20; the ladder VAE
# has 9.7 ± 3.1, week 8's DCGAN 1.5 ± 2.0. A classifier tells the flows' samples from test images in 87, 88 and 83 % of
# the cases, those of VAE and GAN in 82 to 83 %. By the distance the continuous flow is the best of the three, by bits
# the RealNVP, and so it is with two more seeds (RealNVP 2.04 twice, the others 2.09 to 2.10; distances 26, 39, 19 and
# 26, 42, 20, each ± 3 to 4). Week 10's grey PixelCNN (Deeper), exact, is ahead of all flows with 1.99. All are short
# trainings of plain MLPs that know no neighbourhood, so neither order says much about the kinds of flow.

# %% [markdown] check_text
# ## Self-check
#
# Five questions; every answer explains itself.

# %% self_check
quiz.show("week12_flows")

# %% [markdown] class
# **Bring to class** (no easy answers):
#
# 1. A flow keeps all $D$ dimensions, although images fill a thin part of the space. What does that cost, and what
#    would one lose with fewer?
# 2. Maximum likelihood and flow matching train the same network to the same distribution, by different losses. Which
#    of the two cares more about pixels that hardly matter to the eye?
# 3. Optimal-transport pairs are formed within a batch. What changes with the size of the batch, and what stays right
#    for every size?

# %% [markdown] summary
# ## Summary
#
# - Density times volume is kept: $\log p(x) = \log p_z(z) - \log |\det J|$.
# - Coupling and autoregressive layers have triangular Jacobians; their networks are never inverted.
# - A density of discrete data has no upper limit. Noise makes it a lower bound of a probability.
# - MAF is fast where density is wanted, IAF where samples are; a coupling layer is fast at both.
# - Flow matching regresses on the directions of straight lines. The minimiser is their mean, whose paths bend, and
#   whose distributions are right at each time.
#
# **Next week**: noise comes in by many small steps, a Markov chain with a bound as in week 6; the regression that
# remains is nearly this week's. Mind the letters: there $x_0$ is the *data*.

# %% [markdown] deeper_likelihood
# ## Deeper · The likelihood of a continuous flow, and how many steps
#
# Following the ODE backwards from an image gives $z$ and the integral of the trace, so this flow has a likelihood too,
# up to the error of the steps, which is checked by halving them. A trace of a Jacobian usually costs $D$ backward
# passes (a later section estimates it with one). For a network with two hidden layers, $v = C^\top \phi(b)$,
# $b = B^\top \phi(a) + \dots$, $a = A^\top x + \dots$, it is a product of matrices, exactly:
#
# $$\mathrm{tr}\, \frac{\partial v}{\partial x} = \phi'(a)^\top \left[ B \odot (C A)^\top \right] \phi'(b).$$
#
# Checks: the trace against the Jacobian, and the density of a learned flow in the plane sums to 1.


# %% divergence
def velocity_and_trace(network, x, t):
    """An MLP's velocity (B, D) and the trace of its Jacobian in x (B,)."""
    first, second, last = *network.hidden, network.last
    slope = lambda a: tf.sigmoid(a) * (1 + a * (1 - tf.sigmoid(a)))  # noqa: E731  of a σ(a)
    a = tf.matmul(tf.concat([x, t], axis=-1), first.kernel) + first.bias
    b = tf.matmul(tf.nn.silu(a), second.kernel) + second.bias
    CA = tf.matmul(last.kernel, first.kernel[: x.shape[-1]])  # (H, H); the row of t is left out
    trace = tf.reduce_sum(tf.matmul(slope(a), second.kernel * tf.transpose(CA)) * slope(b), axis=-1)
    return last(tf.nn.silu(b)), trace


@tf.function
def ode_log_prob(model, x, steps):
    """x: (B, D) → log p(x), (B,) nats, by Heun steps from t = 1 back to 0."""
    total, h = tf.zeros_like(x[:, 0]), 1 / steps
    for i in tf.range(steps):
        t = tf.fill([tf.shape(x)[0], 1], 1 - tf.cast(i, tf.float32) * h)
        v, trace = velocity_and_trace(model.network, x, t)
        v_2, trace_2 = velocity_and_trace(model.network, x - h * v, t - h)
        x, total = x - h * (v + v_2) / 2, total - h * (trace + trace_2) / 2
    return total - tf.reduce_sum(x**2 + np.log(2 * np.pi), axis=-1) / 2


model, where, at = learned["independent"], tf.random.normal([20, 2]), tf.fill([20, 1], 0.7)
with tf.GradientTape() as tape:
    tape.watch(where)
    v = model.velocity(where, at)
exact = tf.linalg.trace(tape.batch_jacobian(v, where))
np.testing.assert_allclose(velocity_and_trace(model.network, where, at)[1], exact, rtol=1e-3, atol=1e-3)
coarse = 1.5 * plane.reshape(401, 401, 2)[::4, ::4].reshape(-1, 2)
density = np.exp(ode_log_prob(model, tf.constant(coarse), 25))
print(f"density of the learned flow in the plane: sums to {density.sum() * (1.5 * 4 * 6 / 400) ** 2:.4f}")

# %% ode_likelihood
scores, log_det = matching.scores(tf.constant(x_validation[:1000], tf.float32))
for steps in (12, 25, 50):
    log_p = ode_log_prob(matching, scores, steps) + log_det
    print(
        f"{steps:>4} steps: at most {np.mean(evaluation.bits_per_dim(log_p, D)):.4f} bits per dimension, validation"
    )


def matching_log_p(x):
    """The bound of the continuous flow, by 25 Heun steps."""
    z, log_det = matching.scores(x)
    return ode_log_prob(matching, z, 25) + log_det


size, note = matching.count_params(), "25 Heun steps; 50 say 0.0001 more"
enter("flow matching, Heun", matching_log_p, matching_samples, matching_seconds, size, note)

# %% solvers
real = x_test[:400] / (K - 1)
start = tf.random.normal([2000, D])
fine = solve(matching.velocity, start, 100, True)[-1]
for steps, heun in [(4, False), (16, False), (8, True), (100, False), (100, True)]:
    end = solve(matching.velocity, start, steps, heun)[-1]
    images = levels(matching.marginals.forward(end)) / (K - 1)
    off = float(tf.reduce_mean((end - fine) ** 2) ** 0.5)
    text = f"{'Heun' if heun else 'Euler':>6}, {steps:>3} steps: {off:.3f} from Heun with 100 steps; standard deviation {np.std(end):.3f}"
    if D == 64:
        distances = [1000 * evaluation.kernel_distance(real, part).value for part in np.split(images, 5)]
        text += f"; kernel distance × 1000: {evaluation.mean_estimate(distances)}"
    print(text)


# %% [markdown] solvers_say
# **On images, too, Heun is closer to the solution, and Euler's samples look better: with 4 steps the kernel distance
# is 16.4 ± 1.1, for the solution itself 21.9 ± 1.2 (× 1000), from the same noise.** So it is not that Heun fails. More
# steps bring both solvers to the same samples, which are worse in this measure. The reason is the one seen in the
# plane: Euler's error makes samples too narrow, and of these samples too many have stray pixels. (The solution, shrunk
# to the spread of Euler's samples: 16.7, with 19.3 before and Euler's 15.5; each ± 1.2, seed 1.) Look at the standard
# deviations; Gaussianised pixels have 1. Whoever chooses a solver by sample quality alone sets its error against the
# model's.
#
# The likelihood needs no more than 12 Heun steps: with 25 and 50 it changes by 0.0006 bits per dimension at most. The
# change goes up, so the row says a little less than a bound should (0.0001 bits, in its note).
#
# <details><summary>Measured how?</summary>
#
# One training, seed 0; 2,000 samples in five parts of 400, each against the 400 test images; ± is the standard error
# over the five parts, which share the test images.
# </details>

# %% [markdown] deeper_iaf
# ## Deeper · An IAF is a MAF run backwards
#
# Exchange the roles of $x$ and $z$, and the signs.


# %% iaf
class IAF(MAF):
    """The same, run backwards: x_d = (z_d − m_d(z_<d)) exp(−s_d(z_<d))."""

    def forward(self, z):
        return MAF.inverse(self, z)[0]

    def inverse(self, x, training=False):
        z = MAF.forward(self, x)
        return z, tf.reduce_sum(self.s_m(z)[0], axis=-1)


iaf, noise = shaken(Flow(D, [IAF(orders[0], 100), IAF(orders[1], 100)]), 0.02), tf.random.normal([100, D])
drawn = iaf.forward(noise)
np.testing.assert_allclose(iaf.inverse(drawn)[0], noise, atol=1e-3)
costs = [milliseconds(f, drawn) for f in (iaf, iaf.forward)]
print(f"IAF: {costs[0]:.1f} ms for 100 densities of given points, {costs[1]:.1f} ms for 100 samples")

# %% [markdown] deeper_planar
# ## Deeper · Planar flows and NICE
#
# Two older flows. A **planar** layer (Rezende and Mohamed, 2015) pushes along one direction, by an amount that depends
# on another. Its Jacobian is the identity plus a matrix of rank one, so the determinant is a single number:
#
# $$x = z + u \tanh(w^\top z + b), \qquad \det \frac{\partial x}{\partial z} = 1 + \left(1 - \tanh^2(w^\top z + b)\right) w^\top u .$$
#
# It can be undone if $w^\top u > -1$, but not in closed form. It served as the posterior of a VAE, where only drawing
# and the density of what was drawn are needed. **NICE** (Dinh et al., 2015) is the coupling layer without scales,
# $x = z + m$: all its determinants are 1. Such a flow moves probability about, but its density takes each value on as
# large an area as the Gaussian does; above $1 / 2 \pi$ it never is in the plane. (NICE adds one scale for each
# variable at the end.)

# %% planar
w_p, u_p, b_p = tf.constant([1.5, 0.5]), tf.constant([-0.5, 1.2]), 0.3


def planar(z):
    """z: (B, 2) → x (B, 2), log |det ∂x/∂z| (B,)."""
    bend = tf.tanh(tf.linalg.matvec(z, w_p) + b_p)
    return z + bend[:, None] * u_p, tf.math.log(tf.abs(1 + (1 - bend**2) * tf.reduce_sum(w_p * u_p)))


with tf.GradientTape() as tape:
    tape.watch(z := tf.random.normal([200, 2]))
    x, log_det = planar(z)
np.testing.assert_allclose(log_det, tf.linalg.slogdet(tape.batch_jacobian(x, z))[1], rtol=1e-3, atol=1e-5)


class Additive(Coupling):
    """NICE: a coupling layer whose scales are 1."""

    def s_m(self, kept, training=False):
        s, m = super().s_m(kept, training)
        return 0 * s, m


nice = shaken(Flow(2, [Additive([i % 2, 1 - i % 2], 64, 64) for i in range(8)]))
for name, model in [("RealNVP", flow), ("NICE, random weights", nice)]:
    print(
        f"{name}: highest density at a point of the moons {np.exp(np.max(model(moons))):.3f}; 1 / 2π = {1 / (2 * np.pi):.3f}"
    )
assert np.max(np.exp(nice(moons))) <= 1 / (2 * np.pi) + 1e-5

# %% [markdown] deeper_glow
# ## Deeper · Glow
#
# RealNVP for images (Dinh et al., 2017) **squeezes** each 2×2 block into four channels and couples channels, by
# convolutions. Glow (Kingma and Dhariwal, 2018) keeps that, drops the checkerboards, and adds two things. Between two
# couplings the channels are mixed by an **invertible 1×1 convolution**, a $C \times C$ matrix $W$ at every pixel,
# which contributes $h w \log |\det W|$; a fixed exchange of halves is a special case. Before it **actnorm** scales and
# shifts each channel, set by the first batch so that its mean is 0 and its variance 1. After some steps half of the
# channels leave (**multi-scale**, as in RealNVP): they are final, and the rest is squeezed again.


# %% mix
class Mix(keras.layers.Layer):
    """Actnorm and an invertible 1×1 convolution, from data to noise: y = (x e^s + b) W, of (B, h, w, C)."""

    def __init__(self, C, draw):
        super().__init__()
        self.s, self.b = (self.add_weight(shape=(C,), initializer="zeros", name=name) for name in "sb")
        self.W = self.add_weight(shape=(C, C), name="W")
        self.W.assign(np.linalg.qr(draw.normal(size=(C, C)))[0])  # a rotation: log |det| = 0
        self.built = True

    def prepare(self, x):
        """Set scale and shift so that each channel of x has mean 0 and variance 1."""
        mean, variance = tf.nn.moments(x, [0, 1, 2])
        self.s.assign(-tf.math.log(variance + 1e-6) / 2)
        self.b.assign(-mean * tf.exp(self.s))

    def to_noise(self, x, training=False):
        log_det = x.shape[1] * x.shape[2] * (tf.reduce_sum(self.s) + tf.linalg.slogdet(self.W)[1])
        return (x * tf.exp(self.s) + self.b) @ self.W, log_det * tf.ones_like(x[:, 0, 0, 0])

    def to_data(self, y):
        return (y @ tf.linalg.inv(self.W) - self.b) * tf.exp(-self.s)


# %% channel_coupling
class ChannelCoupling(keras.layers.Layer):
    """The first half of the channels scales and shifts the second, by two 3×3 convolutions."""

    def __init__(self, C, H, dropout=0.0):
        super().__init__()
        self.first = keras.layers.Conv2D(H, 3, padding="same", activation="silu")
        self.last = keras.layers.Conv2D(2 * (C - C // 2), 3, padding="same", kernel_initializer="zeros")
        self.dropout, self.kept = keras.layers.Dropout(dropout), C // 2
        self.first.build((None, None, None, self.kept)), self.last.build((None, None, None, H))
        self.built = True

    def s_m(self, kept, training=False):
        a, m = tf.split(self.last(self.dropout(self.first(kept), training=training)), 2, axis=-1)
        return 2 * tf.tanh(a / 2), m

    def to_noise(self, x, training=False):
        kept, rest = x[..., : self.kept], x[..., self.kept :]
        s, m = self.s_m(kept, training)
        return tf.concat([kept, (rest - m) * tf.exp(-s)], axis=-1), -tf.reduce_sum(s, axis=[1, 2, 3])

    def to_data(self, y):
        kept, rest = y[..., : self.kept], y[..., self.kept :]
        s, m = self.s_m(kept)
        return tf.concat([kept, rest * tf.exp(s) + m], axis=-1)


# %% glow
class Glow(keras.layers.Layer):
    """Two levels of steps on images (B, h w): squeeze, steps, half of the channels leave, squeeze, steps."""

    def __init__(self, shape, H, steps, dropout=0.0):
        super().__init__()
        self.shape, draw = (*shape, 1), np.random.default_rng(0)
        self.levels = [
            [part for _ in range(steps) for part in (Mix(C, draw), ChannelCoupling(C, H, dropout))]
            for C in (4, 8)
        ]
        self.parts = [part for level in self.levels for part in level]  # for Keras
        self.built = True

    def inverse(self, x, training=False, prepare=False):
        y, gone, total = tf.reshape(x, [-1, *self.shape]), [], 0.0
        for level in self.levels:
            y = tf.nn.space_to_depth(y, 2)
            for part in level:
                if prepare and isinstance(part, Mix):
                    part.prepare(y)
                y, log_det = part.to_noise(y, training=training)
                total += log_det
            y, out = tf.split(y, 2, axis=-1)
            gone.append(tf.reshape(out, [-1, np.prod(out.shape[1:])]))
        return tf.concat([*gone, tf.reshape(y, [-1, np.prod(y.shape[1:])])], axis=1), total

    def forward(self, z):
        (h, w, _), sizes = self.shape, [z.shape[1] // 2, z.shape[1] // 4, z.shape[1] // 4]
        first, second, y = tf.split(z, sizes, axis=1)
        for level, out, f in [(self.levels[1], second, 4), (self.levels[0], first, 2)]:
            y, out = (tf.reshape(part, [-1, h // f, w // f, f]) for part in (y, out))
            y = tf.concat([y, out], axis=-1)
            for part in reversed(level):
                y = part.to_data(y)
            y = tf.nn.depth_to_space(y, 2)
        return tf.reshape(y, [-1, h * w])


# %% glow_train
glow_layer = Glow(digits.shape, glow_channels, 4, coupling_dropout)
glow = Dequantised(Flow(D, [glow_layer, Marginals(x_train, K)]))
first_batch = glow.flow.steps[1].inverse(x_train[:1000] + tf.random.uniform([min(1000, len(x_train)), D]))[0]
glow_layer.inverse(first_batch, prepare=True)
check(Flow(D, [glow_layer]), first_batch[:8])
glow_curve, glow_seconds = fit(glow, glow_epochs)
enter("Glow, 2×4 steps", glow, lambda n: levels(glow.flow.sample(n)), glow_seconds, glow.count_params())

# %% [markdown] glow_says
# **Four epochs leave it far from done: at most 2.17 bits per dimension.** It has far fewer weights than the RealNVP
# above, so the two say nothing about which design is better. On images of 8×8 pixels two levels already end at 2×2.
#
# ## Deeper · Hutchinson's trace
#
# Networks of another form have no such product for the trace, and $D$ backward passes are too many. Take noise
# $\epsilon$ with $\mathbb{E}[\epsilon \epsilon^\top] = I$. Then
#
# $$\mathrm{tr}\, J = \mathbb{E}\left[ \epsilon^\top J\, \epsilon \right],$$
#
# and $\epsilon^\top J$ is a single backward pass (Hutchinson, 1990; Grathwohl et al., 2019). The same $\epsilon$ is
# kept along a path, so that the ODE stays one. With signs $\pm 1$ in place of Gaussian noise $\epsilon_i^2$ is always
# 1, and the diagonal of $J$ adds no variance; here the entries beside the diagonal decide, and both scatter alike. The
# estimate of $\log p$ is unbiased, that of $p$ is not. (An $\epsilon$ on the one side and an independent one on the
# other would have the mean 0.)


# %% hutchinson
def hutchinson(velocity, x, t, eps):
    """εᵀ (∂v/∂x) ε for each example: (B,)."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        v = velocity(x, t)
    return tf.reduce_sum(tape.gradient(v, x, output_gradients=eps) * eps, axis=-1)


x = tf.repeat(scores[:1], 5000, axis=0)
t = tf.fill([5000, 1], 0.5)
exact = float(velocity_and_trace(matching.network, x[:1], t[:1])[1][0])
gauss = tf.random.normal(x.shape)
for name, eps in [("Gaussian", gauss), ("signs", tf.sign(gauss))]:
    values = hutchinson(matching.velocity, x, t, eps).numpy()
    estimate = evaluation.mean_estimate(values)
    print(f"{name:>8}: {estimate}, exact {exact:.3f}; a single ε scatters by {values.std():.2f}")
    assert abs(estimate.value - exact) < 5.5 * estimate.error

# %% [markdown] deeper_variational
# ## Deeper · Variational dequantisation
#
# Uniform noise asks the flow to be flat within each cell, with cliffs between cells, which smooth maps are bad at. So
# let the noise be drawn from a learned $q(u \mid x)$ on the cell (Ho et al., 2019). The bound becomes that of a VAE
# with the latent variable $u$:
#
# $$\log P(x) \ge \mathbb{E}_{q(u \mid x)} \left[ \log p(x + u) - \log q(u \mid x) \right] .$$
#
# With a uniform $q$ it is the one from above, so a family that contains it can only help. Here $q$ is a Gaussian,
# squeezed into the cell by a logistic function, with mean and scale from a network; it is trained for the finished
# RealNVP, which stays as it is. So what changes is the bound, not the model. Its start is nearly uniform, and costs
# 0.015 bits.


# %% variational
class Variational(keras.Model):
    """The bound E_q[log p(x + u) − log q(u | x)] for a flow that is given and stays as it is."""

    def __init__(self, flow, D, H, scale):
        super().__init__()
        self.flow, self.scale = flow, scale
        self.flow.trainable = False
        self.network = MLP(D, H, 2 * D)
        self.network.last.kernel.assign(tf.zeros([H, 2 * D]))
        self.built = True

    def call(self, x):
        """x: (B, D) levels → the bound from one draw, (B,) nats."""
        m, a = tf.split(self.network(x / self.scale), 2, axis=-1)
        s = np.log(1.7) + 2 * tf.tanh(a / 2)  # a Gaussian of width 1.7 becomes almost uniform
        eps = tf.random.normal(tf.shape(x))
        y = m + tf.exp(s) * eps
        u = tf.clip_by_value(tf.sigmoid(y), 1e-5, 1 - 1e-5)
        log_q = -(eps**2) / 2 - np.log(2 * np.pi) / 2 - s - tf.math.log(u * (1 - u))
        bound = self.flow(x + u) - tf.reduce_sum(log_q, axis=-1)
        self.add_loss(-tf.reduce_mean(tf.reduce_sum(-log_q, axis=-1)))  # the flow adds its own −log p
        return bound


variational = Variational(nvp.flow, D, 128, K)
fit(variational, variational_epochs)
uniform, learned_q = bound(nvp), bound(variational)
gain = evaluation.paired_difference(uniform, learned_q)
print(f"uniform {np.mean(uniform):.3f}, learned {np.mean(learned_q):.3f}; gain {gain} bits per dimension")

# %% [markdown] variational_says
# **No gain here: 0.003 ± 0.003 bits per dimension on test images after five epochs (one training).** Five epochs only
# made up for the start, which is not quite uniform. And the layer of histograms may have made the density of each
# pixel flat within a cell already, which is all that uniform noise asks for (not tested).

# %% [markdown] bigger
# ## Going bigger
#
# The same notebook on MNIST or Fashion-MNIST: change the `parameters` cell only. (Maintainers: `make benchmark
# WEEK=week12_flows`.) With `moon_epochs = 200` the moons get a longer training too.
#
# ```python
# dataset = "mnist"
# moon_epochs = 200
# couplings = 8
# hidden = 512
# coupling_dropout = 0.0
# epochs = 20
# maf_hidden = 1024
# maf_dropout = 0.0
# maf_epochs = 20
# matching_hidden = 1024
# matching_epochs = 40
# glow_channels = 64
# glow_epochs = 5
# variational_epochs = 2
# learning_rate = 1e-3
# batch_size = 100
# ```
#
# | model | measured | training |
# |---|---|---|
# | RealNVP, 8 couplings | | |
# | MAF, 4 layers | | |
# | flow matching, Heun | | |
# | Glow, 2×4 steps | | |
#
# (These settings have not been measured yet.)

# %% [markdown] references
# ## References
#
# - M. Albergo, E. Vanden-Eijnden (2023). Building normalizing flows with stochastic interpolants. ICLR.
# - R. T. Q. Chen, Y. Rubanova, J. Bettencourt, D. Duvenaud (2018). Neural ordinary differential equations. NeurIPS.
# - L. Dinh, D. Krueger, Y. Bengio (2015). NICE: non-linear independent components estimation. ICLR workshop.
# - L. Dinh, J. Sohl-Dickstein, S. Bengio (2017). Density estimation using Real NVP. ICLR.
# - W. Grathwohl et al. (2019). FFJORD: free-form continuous dynamics for scalable reversible generative models. ICLR.
# - J. Ho, X. Chen, A. Srinivas, Y. Duan, P. Abbeel (2019). Flow++: improving flow-based generative models with
#   variational dequantization and architecture design. ICML.
# - M. F. Hutchinson (1990). A stochastic estimator of the trace of the influence matrix for Laplacian smoothing
#   splines. Communications in Statistics: Simulation and Computation 19.
# - D. Kingma, P. Dhariwal (2018). Glow: generative flow with invertible 1×1 convolutions. NeurIPS.
# - D. Kingma et al. (2016). Improving variational inference with inverse autoregressive flow. NeurIPS.
# - Y. Lipman, R. T. Q. Chen, H. Ben-Hamu, M. Nickel, M. Le (2023). Flow matching for generative modeling. ICLR.
# - X. Liu, C. Gong, Q. Liu (2023). Flow straight and fast: learning to generate and transfer data with rectified flow.
#   ICLR.
# - G. Papamakarios, T. Pavlakou, I. Murray (2017). Masked autoregressive flow for density estimation. NeurIPS.
# - G. Papamakarios, E. Nalisnick, D. Rezende, S. Mohamed, B. Lakshminarayanan (2021). Normalizing flows for
#   probabilistic modeling and inference. Journal of Machine Learning Research 22.
# - D. Rezende, S. Mohamed (2015). Variational inference with normalizing flows. ICML.
# - L. Theis, A. van den Oord, M. Bethge (2016). A note on the evaluation of generative models. ICLR.
# - A. Tong et al. (2024). Improving and generalizing flow-based generative models with minibatch optimal transport.
#   Transactions on Machine Learning Research.
