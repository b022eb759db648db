# %% [markdown] title
# # Week 1 · Foundations: fitting a distribution
#
# {{colab}}
#
# A generative model is a probability distribution from which one can draw. This week fits the simplest ones that work,
# exactly, and puts them to use.
#
# **After this notebook you can**
#
# 1. write down a likelihood, in nats and in bits, and check that a model's probabilities sum to 1;
# 2. show that maximum likelihood minimises KL(data ‖ model), and say what the reverse divergence does instead;
# 3. derive and write EM for a mixture of Bernoullis, prove that it never lowers its objective, and mend what goes wrong;
# 4. draw by ancestral sampling, and complete, repair and judge images by exact conditioning;
# 5. derive probabilistic PCA and fit it in closed form.
#
# *Time:* reading 180 minutes, the core of this notebook 150 minutes. It computes for less than a minute on two CPU
# cores. What stands under *Deeper* is for whoever wants it.

# %% [markdown] picture_idea
# {{picture: idea}}

# %% [markdown] course
# ## What this course is about
#
# A *discriminative* model answers one question that was fixed before: which digit is this? A **generative model**
# describes the data themselves by a distribution $p_\theta(x)$, and one distribution answers many questions:
#
# | use | what is computed |
# |---|---|
# | drawing new images | $x \sim p_\theta(x)$ |
# | completing, repairing | $p_\theta(x_\text{missing} \mid x_\text{seen})$ |
# | detecting what does not belong | $-\log p_\theta(x)$ |
# | compressing | $-\log_2 p_\theta(x)$ bits |
# | finding structure | $p_\theta(z \mid x)$, with a hidden cause $z$ |
#
# Each family of this course buys one of these with another. Today's is the first row of the next table.

# %% [markdown] picture_families
# {{picture: families}}

# %% [markdown] how
# **How the notebooks work.** Read, run a notebook, discuss in class, solve an exercise. First comes a
# case that can be computed exactly, so that you *know* that the code is right; then the digits. Where it says to
# predict, write your answer down before you run the cell. The cell `parameters` holds the few numbers worth changing;
# the text quotes results for those that stand there.

# %% [markdown] reading
# ## Reading
#
# | what | minutes |
# |---|---|
# | **Main:** Murphy, *Probabilistic Machine Learning: Advanced Topics* (PML2), chapter 20: what generative models are, their kinds and their goals. Skim the part on evaluation, to which week 18 returns. | 80 |
# | Goodfellow, Bengio and Courville, *Deep Learning* (DLB): 5.5 (maximum likelihood), 3.13 (entropy and KL divergence), 16.1 (why tables of probabilities do not scale). | 50 |
# | Bishop and Bishop, *Deep Learning: Foundations and Concepts*: chapter 15, the parts on mixtures and EM; chapter 16, the part on probabilistic PCA. | 50 |
#
# Shorter than PML2: Prince, *Understanding Deep Learning* (UDL), chapter 14.
#
# **Focus questions.** Have an answer to each.
#
# 1. A table of the probabilities of all binary images of 8×8 pixels: how many entries has it?
# 2. Why do we maximise the *logarithm* of the likelihood? Name a reason of mathematics and one of computers.
# 3. In which direction does maximum likelihood measure the divergence, and what does it punish hardest?
# 4. Which property of a model makes it easy to draw from? Which makes it easy to score?
#
# **Letters.** N images, B batch, D data (pixels), K components, L latent dimensions. $q$ is a model fitted to $p$
# (section 2) or weights of components (section 3), $r$ responsibilities, $a$ imaginary images, $\varepsilon$ the
# probability of a flipped pixel. Pixels are 0 or 1, real in section 6.

# %% setup

# %% parameters tags=["parameters"]
dataset = "digits"  # "mnist" for larger images: see "Going bigger"
components = [1, 10, 20, 40, 80, 160, 320]  # numbers of components K to try; 1 is the independent Bernoulli
smoothing = [0.5, 1.0, 2.0]  # imaginary images a for each component, to try
many = 40  # components that go wrong without imaginary images; 0 leaves the failure out
em_steps = 50  # EM steps of each run
causes = [1, 2, 4, 8, 16, 24, 32, 40, 48, 52, 56, 60, 63]  # numbers of causes L of probabilistic PCA to try
table = "breast cancer"  # in Deeper; "thyroid", "mammography" or an .npz file: see "Going bigger"
seed = 0

# %% imports
import itertools
import time

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tqdm.auto import tqdm

from utils import datasets, evaluation, likelihood, plotting, quiz, scoreboard

digits = datasets.load(dataset)
D = digits.train.shape[1]
rng = tf.random.Generator.from_seed(seed)
print(digits)

# %% [markdown] bernoulli_text
# ## 1 · A distribution over images
#
# A binary image $x \in \{0, 1\}^D$ is one of $2^D$ states: for 8×8 pixels more than $10^{19}$, and we have 1,197 examples.
# A model must say how probable the others are. The simplest one lets each pixel be ink with its own probability $\mu_d$,
# independently of all others (*independent Bernoulli*):
#
# $$p(x) = \prod_{d=1}^{D} \mu_d^{x_d} (1 - \mu_d)^{1 - x_d}, \qquad
# \log p(x) = \sum_d \left[ x_d \log \mu_d + (1 - x_d) \log (1 - \mu_d) \right].$$
#
# **Maximum likelihood.** Choose the parameters that make the N training images most probable. The images are independent,
# so their log-likelihoods add up. If $n_d$ images have ink at pixel $d$, the part that contains $\mu_d$ is
# $n_d \log \mu_d + (N - n_d) \log (1 - \mu_d)$. Its derivative $\frac{n_d}{\mu_d} - \frac{N - n_d}{1 - \mu_d}$ is 0 at
# $\mu_d = n_d / N$: the mean of the pixel.
#
# **Nats and bits.** With the natural logarithm $-\log p(x)$ is measured in *nats*, with the logarithm to base 2 in *bits*;
# 1 nat is $1 / \ln 2 = 1.44$ bits. A coder that knows $p$ stores the image in $-\log_2 p(x)$ bits, up to
# a bit or two. We always give the mean per image.
#
# Logarithms are no luxury: the product of 784 probabilities can be smaller than any 32-bit number above 0.


# %% bernoulli
def bernoulli(p, rng):
    """Independent 0/1 draws with probabilities p (any shape), in p's type. Images of 0 and 1 stay as they are."""
    return tf.math.ceil(p - rng.uniform(tf.shape(p), dtype=p.dtype))  # 1 where u < p


class Bernoulli:
    """Independent pixels, p(x_d = 1) = μ_d, mu: (D,)."""

    def __init__(self, mu):
        self.mu = tf.constant(mu)

    def log_prob(self, x):
        """x: (B, D) binary → (B,) nats. xlogy is x log y, and 0 where x = 0, also at y = 0."""
        ink, blank = tf.math.xlogy(x, self.mu), tf.math.xlog1py(1 - x, -self.mu)
        return tf.reduce_sum(ink + blank, axis=-1)

    def sample(self, n, rng):
        """n images (n, D)."""
        return bernoulli(tf.tile(self.mu[None], [n, 1]), rng)


def all_states(n):
    """All 0/1 vectors of length n: (2^n, n); n ≤ 20 or so."""
    return tf.constant((np.arange(2**n)[:, None] >> np.arange(n)) & 1, tf.float64)


# Check: 10 pixels, all 1,024 images
toy = Bernoulli(np.random.default_rng(seed).uniform(0.1, 0.9, 10))
total = float(tf.reduce_sum(tf.exp(toy.log_prob(all_states(10)))))
assert abs(total - 1) < 1e-12
print(f"10 pixels, 1,024 states: the probabilities sum to {total:.12f}")

# %% pixel_means
# Grey images are binarised once for the evaluation; images of 0 and 1 stay as they are.
fresh = np.random.default_rng(seed)
parts = {
    name: (fresh.random(part.shape) < part).astype(np.float32)
    for name, part in [("train", digits.train), ("validation", digits.validation), ("test", digits.test)]
}
pixel_means = parts["train"].mean(axis=0)  # (D,)
independent = Bernoulli(pixel_means)
for name, m in [
    ("no model, all pixels ½", Bernoulli(np.full(D, 0.5, np.float32))),
    ("pixel means", independent),
]:
    nats = -float(tf.reduce_mean(m.log_prob(parts["train"])))
    print(f"training images, {name}: {nats:.2f} nats = {evaluation.nats_to_bits(nats):.2f} bits an image")
plotting.image_grid(
    np.concatenate([parts["train"][:10], independent.sample(10, rng)]),
    digits.shape,
    "Top: training images. Bottom: drawn from independent pixels with the right means. About the right amount of "
    "ink, in the right places, and no digit: what is missing is that pixels know of each other.",
    "A row of ten digits above a row of ten noisy blobs.",
)

# %% [markdown] pixel_means_say
# **Knowing how often each pixel is ink saves 19 of 44 nats, and yet no sample is a digit.** Without a model an 8×8 image
# takes 64 bits, or $64 \ln 2 = 44.36$ nats. To draw digits, pixels must know of each other: section 3.

# %% [markdown] kl_text
# ## 2 · Maximum likelihood is a divergence, in one of two directions
#
# How far is a distribution $q$ from $p$? The **Kullback-Leibler divergence** is the mean number of nats wasted by a code
# made for $q$ when the data come from $p$:
#
# $$\mathrm{KL}(p \,\|\, q) = \mathbb{E}_{x \sim p}\left[\log \frac{p(x)}{q(x)}\right] \ge 0,
# \qquad \text{with equality only for } p = q.$$
#
# (Jensen's inequality:
# $-\mathbb{E}_p[\log \frac{q}{p}] \ge -\log \mathbb{E}_p[\frac{q}{p}] \ge -\log 1 = 0$.) Write the logarithm
# as a difference, for the distribution of the data and a model $p_\theta$:
#
# $$\mathbb{E}_{x \sim \text{data}}[\log p_\theta(x)] = -\mathrm{H}(\text{data}) - \mathrm{KL}(\text{data} \,\|\, p_\theta),
# \qquad \mathrm{H}(p) = -\mathbb{E}_{x \sim p}[\log p(x)].$$
#
# The entropy $\mathrm{H}$ does not depend on $\theta$. So **maximising the mean log-likelihood is minimising
# KL(data ‖ model)**, and no model can have an expected log-likelihood above $-\mathrm{H}(\text{data})$. The left-hand
# side needs samples of the data only: the mean over the training images takes the place of the expectation. A model
# with enough freedom then fits these N images only, which is why we look at others as well.
#
# The divergence is not symmetric. Each direction averages over its first argument, so each is blind where that one is
# small:

# %% [markdown] picture_divergences
# {{picture: divergences}}

# %% [markdown] kl_toy_text
# So the direct divergence, that of maximum likelihood, makes a model *cover* all data; the **reverse** makes it *avoid*
# places without data. The reverse needs the density of the target, not samples of it. It returns in weeks 4 and 6.
#
# **A toy that is exact.** The target has two modes in the plane, the model is one Gaussian; on a grid both divergences
# are sums. The best Gaussian in the direct sense is known: $\mathbb{E}_p[\log q]$ depends on the target through its
# mean and covariance only, so it is the same as for a Gaussian target with these, and there $q = p$ is best. For the
# reverse direction we descend the gradient, from two starts.
#
# **Predict:** where will the reverse fit put its Gaussian, and how wide will it be?


# %% kl
def kl(log_p, log_q, cell_area):
    """Log densities on a grid (M,) → KL(p ‖ q) in nats, by a sum over the cells."""
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q)) * cell_area


def gaussian(theta):
    """theta: (5,), two means, two log scales and the element below the diagonal → a Gaussian in the plane."""
    scale = tf.stack([tf.stack([tf.exp(theta[2]), 0]), tf.stack([theta[4], tf.exp(theta[3])])])
    return tfd.MultivariateNormalTriL(theta[:2], scale)


@tf.function
def kl_and_gradient(theta, grid, log_p, cell_area, reverse):
    """KL(p ‖ q), or KL(q ‖ p) if reverse, for the Gaussian q of theta, and its gradient (5,)."""
    with tf.GradientTape() as tape:
        tape.watch(theta)
        log_q = gaussian(theta).log_prob(grid)
        value = kl(log_q, log_p, cell_area) if reverse else kl(log_p, log_q, cell_area)
    return value, tape.gradient(value, theta)


axis = np.linspace(-6, 6, 61)
grid = tf.constant(np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2))  # (M, 2)
cell_area = tf.constant((axis[1] - axis[0]) ** 2)
target = tfd.MixtureSameFamily(
    tfd.Categorical(probs=tf.constant([0.6, 0.4], tf.float64)),
    tfd.MultivariateNormalDiag(tf.constant([[-1.6, -1.2], [1.8, 1.4]], tf.float64), [[0.7, 0.9], [0.8, 0.6]]),
)
log_p = target.log_prob(grid)  # (M,)

# %% kl_fits
p_cell = tf.exp(log_p)[:, None] * cell_area  # (M, 1), the probability of each cell
mean = tf.reduce_sum(p_cell * grid, axis=0)
root = tf.linalg.cholesky(tf.matmul(p_cell * (grid - mean), grid - mean, transpose_a=True))
matched = tf.concat([mean, tf.math.log(tf.linalg.diag_part(root)), root[1:, 0]], axis=0)
kl_matched, gradient = kl_and_gradient(matched, grid, log_p, cell_area, reverse=False)
assert np.abs(gradient).max() < 1e-6, "at the target's mean and covariance the direct KL has its minimum"
gaussians = {"direct": matched}
for name, start in [("reverse, first start", [-1.0, -1.0]), ("reverse, second start", [1.0, 1.0])]:
    theta = tf.constant([*start, 0.0, 0.0, 0.0], tf.float64)
    for _ in range(300):
        theta -= 0.1 * kl_and_gradient(theta, grid, log_p, cell_area, reverse=True)[1]
    gaussians[name] = theta
for name, theta in gaussians.items():
    both = [float(kl_and_gradient(theta, grid, log_p, cell_area, reverse=r)[0]) for r in (False, True)]
    print(f"{name:>21}: KL(target ‖ model) {both[0]:6.3f}, KL(model ‖ target) {both[1]:6.3f} nats")

# %% kl_figure
fig, axes = plt.subplots(1, 3, figsize=(11, 4.4), sharey=True)
for ax, (name, theta) in zip(axes, gaussians.items()):
    densities = [tf.reshape(tf.exp(log), [61, 61]) for log in (log_p, gaussian(theta).log_prob(grid))]
    ax.contourf(axis, axis, densities[0], levels=10, cmap="Greys")
    ax.contour(axis, axis, densities[1], levels=5, colors=plotting.VERMILLION)
    ax.set(title=name, xlabel="x₁ (no unit)", xlim=(-5, 5), ylim=(-5, 5), aspect="equal")
axes[0].set_ylabel("x₂ (no unit)")
plotting.show(
    fig,
    "Grey: the target. Red: one Gaussian fitted to it. The direct fit covers both modes and puts mass between them, "
    "where there are no data. The reverse fit sits on one mode; which one depends on the start.",
    "Three panels with the same two grey blobs; a wide red ellipse over both, then a narrow one on either blob.",
)

# %% [markdown] kl_says
# **The direct fit covers both modes and the empty place between them; the reverse fit sits on one mode, and the start
# decides on which.** If the model is exactly a mode of weight $w$ that stands alone, then $p_\theta = \text{data} / w$
# wherever the model lives, and KL(model ‖ data) is $-\log w$: 0.51 nats for the mode of weight 0.6, 0.92 for the other.
# The printed values are near these. So the second start has ended in a poor *local* minimum: even by the reverse
# divergence the wide direct fit is a little better.
#
# Now the identity of this section: its left-hand side by samples of the target, its right-hand side by the grid. In
# this course ± is always one *standard error*: for a mean of N values, their standard deviation divided by $\sqrt N$.

# %% kl_check
log_q = gaussian(matched).log_prob(target.sample(20_000, seed=seed))
right_hand = tf.reduce_sum(p_cell[:, 0] * log_p) - kl_matched  # −H(target) − KL(target ‖ model)
print(f"mean log-likelihood of the direct fit on 20,000 samples: {evaluation.mean_estimate(log_q)} nats")
print(f"−H(target) − KL(target ‖ model), by the grid:            {right_hand:.4f} nats")

# %% [markdown] mixture_text
# ## 3 · Mixtures, and how EM fits them
#
# How can pixels know of each other? By a common cause. A **mixture** first draws a component $z \in \{1, \dots, K\}$
# with probability $\pi_z$, a way to write a digit, then each pixel independently with the probabilities of that
# component. Drawing in this order, causes first, is **ancestral sampling**.

# %% [markdown] picture_mixture
# {{picture: mixture}}

# %% [markdown] em_text
# Summing out $z$, and by Bayes' rule,
#
# $$p(x) = \sum_{k=1}^{K} \pi_k\, p(x \mid z = k), \qquad
# r_k(x) = p(z = k \mid x) = \frac{\pi_k\, p(x \mid z = k)}{p(x)}, \qquad p(x \mid z = k) = \prod_d \mu_{kd}^{x_d} (1 - \mu_{kd})^{1 - x_d}.$$
#
# The $r_k$ are the **responsibilities**. Whoever sees a stroke on the left learns something about $z$, and so about the
# right.
#
# The logarithm of a sum has no closed-form maximum. The way out: for *any* weights $q_k \ge 0$ with $\sum_k q_k = 1$,
#
# $$\log p(x) = \underbrace{\sum_k q_k \log \frac{p(x, z = k)}{q_k}}_{\mathcal{L}(q, \theta)}
# + \underbrace{\sum_k q_k \log \frac{q_k}{p(z = k \mid x)}}_{\mathrm{KL}(q \,\|\, p(z \mid x)) \;\ge\; 0},$$
#
# because $p(x, z = k) = p(x)\, p(z = k \mid x)$, so that all but $\sum_k q_k \log p(x)$ cancels. EM climbs in two steps:

# %% [markdown] picture_em
# {{picture: em}}

# %% [markdown] em_steps_text
# - **E step:** set $q_k = r_k(x)$ with the present parameters. The divergence is 0, so $\mathcal{L} = \log p(x)$.
# - **M step:** with the $q_k$ held fixed, maximise $\sum_n \sum_k q_{nk} \log p(x_n, z = k)$ over the parameters (the
#   rest of $\mathcal{L}$, $-q \log q$, does not contain them).
#
# So $\log p_\text{new} \ge \mathcal{L}_\text{new} \ge \mathcal{L}_\text{old} = \log p_\text{old}$: **EM never lowers
# the likelihood.** It may well stop at a local maximum. The same split of $\log p$ returns as the bound of week 4 and
# as the ELBO of week 6.
#
# **The M step** is section 1 with weights: $r_{nk}$ multiplies the terms of image $n$, as if it were there $r_{nk}$ times.
# With $N_k = \sum_n r_{nk}$,
#
# $$\pi_k = \frac{N_k}{N}, \qquad \mu_{kd} = \frac{1}{N_k} \sum_n r_{nk}\, x_{nd}.$$
#
# (For $\pi$: maximise $\sum_k N_k \log \pi_k$ with $\sum_k \pi_k = 1$. A Lagrange multiplier gives $N_k / \pi_k = \lambda$
# for all $k$, and summing $N_k = \lambda \pi_k$ over $k$ gives $\lambda = N$.)
#
# In the code `reduce_logsumexp` takes the largest term out of the sum first, so that nothing underflows; $-10^{30}$ nats
# stand in for $\log 0$, since $0 \cdot \log 0$ would not be a number; and `em_step` has one more number, $a$, which section 4
# explains. Until then it is 0.


# %% bernoulli_mixture
def log_joint(x, log_pi, log_ink, log_blank):
    """x: (B, D), logs of π (K,), of μ and of 1 − μ (K, D) → (B, K) nats, log p(x, z = k)."""
    return log_pi + tf.matmul(x, log_ink, transpose_b=True) + tf.matmul(1 - x, log_blank, transpose_b=True)


class BernoulliMixture:
    """p(x) = Σ_k π_k Π_d μ_kd^x_d (1 − μ_kd)^(1 − x_d), with pi: (K,) and mu: (K, D)."""

    FLOOR = -1e30  # nats, in place of log 0

    def __init__(self, pi, mu):
        self.pi, self.mu = tf.convert_to_tensor(pi), tf.convert_to_tensor(mu)
        self.log_ink = tf.maximum(tf.math.log(self.mu), self.FLOOR)  # (K, D)
        self.log_blank = tf.maximum(tf.math.log1p(-self.mu), self.FLOOR)  # (K, D)

    def log_pxz(self, x):
        """x: (B, D) → (B, K) nats, log p(x, z = k)."""
        return log_joint(x, tf.math.log(self.pi), self.log_ink, self.log_blank)

    def log_prob(self, x):
        """x: (B, D) → (B,) nats."""
        log_px = tf.reduce_logsumexp(self.log_pxz(x), axis=1)
        return tf.where(log_px < self.FLOOR / 2, -np.inf, log_px)

    def sample(self, n, rng):
        """n images (n, D), ancestral: z first, then x given z."""
        u = rng.uniform([n], dtype=self.pi.dtype)
        z = tf.searchsorted(tf.cumsum(self.pi)[:-1], u, side="right")  # (n,), each in 0, …, K − 1
        return bernoulli(tf.gather(self.mu, z), rng)


# %% em_step
@tf.function
def em_step(x, pi, mu, a, m_bar):
    """x: (N, D), a imaginary images like m_bar (D,) → new pi (K,) and mu (K, D), and the objective of the old ones:
    the log-likelihood of real and imaginary images together (nats for each real image)."""
    model = BernoulliMixture(pi, mu)
    log_pxz = model.log_pxz(x)  # (N, K)
    log_px = tf.reduce_logsumexp(log_pxz, axis=1)  # (N,)
    r = tf.exp(log_pxz - log_px[:, None])  # (N, K), the E step
    n = tf.reduce_sum(r, axis=0)  # (K,), N_k
    new_pi = (n + a) / tf.reduce_sum(n + a)  # the M step
    ink = tf.matmul(r, x, transpose_a=True)  # (K, D)
    new_mu = tf.math.divide_no_nan(ink + a * m_bar, (n + a)[:, None])
    imaginary = tf.reduce_sum(m_bar * model.log_ink + (1 - m_bar) * model.log_blank)
    imaginary += tf.reduce_sum(tf.math.log(pi))
    together = tf.reduce_sum(log_px) + tf.math.multiply_no_nan(imaginary, a)  # 0 where a = 0, even times −∞
    return new_pi, tf.minimum(new_mu, 1), together / len(x)  # rounding may leave a little more than 1


def fit_bernoullis(x, K, a, steps, seed):
    """EM on x (N, D) from K random images, made pale → the mixtures before and after each step, and the objective."""
    m_bar = tf.constant((x.sum(axis=0) + 0.5) / (len(x) + 1), x.dtype)
    chosen = x[np.random.default_rng(seed).choice(len(x), K, replace=False)]
    pi, mu = tf.fill([K], tf.constant(1 / K, x.dtype)), tf.constant(0.25 + 0.5 * chosen)
    x, a, models, curve = tf.constant(x), tf.constant(a, x.dtype), [BernoulliMixture(pi, mu)], []
    for _ in range(steps):
        pi, mu, objective = em_step(x, pi, mu, a, m_bar)
        models.append(BernoulliMixture(pi, mu))
        curve.append(float(objective))
    return models, np.array(curve)


# %% mixture_check
draw = np.random.default_rng(seed)
toy_mixture = BernoulliMixture(draw.dirichlet([2, 2, 2]), draw.uniform(0.05, 0.95, (3, 8)))
states = all_states(8)  # all 256 images of 8 pixels
total = float(tf.reduce_sum(tf.exp(toy_mixture.log_prob(states))))
assert abs(total - 1) < 1e-12
print(f"8 pixels, 3 components, 256 images: the probabilities sum to {total:.12f}")

# %% [markdown] ten_text
# **On the digits**, with ten components. Play the animation: each picture is a component's $\mu_k$, the probability of
# ink. **Predict:** there are ten digits. Will each component become one of them?

# %% ten
models, objective = fit_bernoullis(parts["train"], 10, 0.0, em_steps, seed)
assert (np.diff(objective) > -1e-4).all(), "EM must never lower the likelihood (beyond rounding)"
shown = [*range(0, 10), *range(10, em_steps + 1, 10)]
plotting.animate(
    np.array([models[t].mu for t in shown]),
    digits.shape,
    "Ten components while EM fits them. Which digits share a component, which have two?",
    "An animation: ten pale digits, the start, become soft grey digits within a few steps.",
    fps=2,
    titles=[f"step {t}" for t in shown],
)
curves = {f"start {s + 1}": fit_bernoullis(parts["train"], 10, 0.0, em_steps, s)[1] for s in range(6)}
curves["start 1, validation"] = [tf.reduce_mean(m.log_prob(parts["validation"])) for m in models[:-1]]
plotting.learning_curves(
    {name: (np.arange(3, em_steps), curve[3:]) for name, curve in curves.items()},
    "EM steps",
    "log-likelihood (nats per image)",
    "Six starts on the training part, one on the validation part too. Does a curve fall? Is EM done?",
    "Six curves rise and level off at different heights; one, lower down, hardly rises.",
)

# %% [markdown] ten_say
# **No training curve falls; after 50 steps they stand between −19.44 and −19.20 nats.** A flat piece need not be the
# end: in 200 steps the lowest, start 2, climbs to −19.19. Start 1's validation curve, 0.7 nats lower, stops rising
# after a few steps, those of other starts by step 30. The components are ways of writing, not digits: nobody told EM of
# classes.

# %% [markdown] choose_text
# ## 4 · More components, and what goes wrong
#
# More components fit the training images better; and new ones? A component that owns 30 images finds many pixels blank
# in all of them, so its $\mu_{kd}$ goes to 0: certain that there never is ink.
#
# **The idea: imaginary images.** Add to the data, for each component, $a$ images of which we pretend to know that they come
# from it. They look like the average digit: at pixel $d$ the share $\bar m_d = (n_d + \frac12) / (N + 1)$ of them has ink,
# never 0 and never 1. ($a$ need not be a whole number: only sums enter.) The objective is the log-likelihood of both
# *together*; below it the steps of EM, which never lower it:
#
# $$\begin{gathered}
# \sum_n \log p(x_n) + a \sum_k \Big[ \log \pi_k + \sum_d \big( \bar m_d \log \mu_{kd} + (1 - \bar m_d) \log (1 - \mu_{kd}) \big) \Big], \\
# \pi_k = \frac{N_k + a}{N + aK}, \qquad
# \mu_{kd} = \frac{\sum_n r_{nk}\, x_{nd} + a\, \bar m_d}{N_k + a} \;\ge\; \frac{a\, \bar m_d}{N_k + a}.
# \end{gathered}$$
#
# (This is maximum a posteriori.) **Predict:** with 40 components and smaller and smaller $a$, where does the
# log-likelihood of the training images go, step by step, and where that of the validation images?

# %% unsmoothed
runs, pair = {}, ["train", "validation"]
if many:
    double = {name: parts[name].astype(np.float64) for name in pair}  # in float32, 1 − 10⁻¹⁰ is 1
    for a in [1e-8, 1e-5, 1e-2, 0.5]:
        models, _ = fit_bernoullis(double["train"], many, a, em_steps, seed)
        for name in pair if a == 1e-8 else pair[1:]:
            runs[f"a = {a:g}, {name}"] = [tf.reduce_mean(m.log_prob(double[name])) for m in models]
    plotting.learning_curves(
        {name: (np.arange(3, em_steps + 1), curve[3:]) for name, curve in runs.items()},
        "EM steps",
        "log-likelihood (nats per image)",
        f"{many} components. At the end: " + "; ".join(f"{a}: {curve[-1]:.1f}" for a, curve in runs.items()),
        "The training curve rises by 0.4 and levels off. The validation curves fall for some fifteen steps, the further "
        "the smaller a; for a = 0.5 it rises.",
    )

# %% [markdown] unsmoothed_say
# **The failure: with hardly any smoothing 40 components make the validation images less probable, for some fifteen
# steps, down to a floor that lies the lower the smaller $a$: −19.6 nats for $a = 10^{-8}$ (other starts: to −20.6). The
# training curve shows nothing of it. The cure: half an imaginary image a component, −17.6.**
#
# A small $\mu_{kd}$ makes the $r_{nk}$ of images with ink at pixel $d$ small, and that makes $\mu_{kd}$ smaller still in the
# next step, down to what the imaginary images leave, $a\, \bar m_d / (N_k + a)$. With $a = 0$ there is no floor, and the fall
# no end (Deeper). An image that has ink where *every* component is almost certain of none pays for it, and one such image
# is enough to drag the mean to $-\infty$. KL(data ‖ model) punishes nothing harder than to call impossible what happens.
#
# **How many components, and how much smoothing?** We fit every pair of the lists in `parameters` on the training part
# and compare on the 200 validation images, image by image: an odd image is hard for every model, so the *paired
# differences* of two models scatter less than their values.

# %% fit_all
fits, seconds = {}, {}
for K, a in tqdm(list(itertools.product(components, smoothing)), desc="mixtures"):
    fit_bernoullis(parts["train"], K, a, 1, seed)  # the first step with a new K compiles
    began = time.perf_counter()
    (*_, fits[K, a]), curve = fit_bernoullis(parts["train"], K, a, em_steps, seed)
    seconds[K, a] = time.perf_counter() - began
    assert (np.diff(curve) > -1e-3).all(), "EM must never lower its objective (beyond rounding)"

# %% choose
score = {
    name: {pair: float(tf.reduce_mean(model.log_prob(parts[name]))) for pair, model in fits.items()}
    for name in ["train", "validation"]
}
print("validation images, nats an image\n    K" + "".join(f"{f'a = {a:g}':>10}" for a in smoothing))
for K in components:
    print(f"{K:5d}" + "".join(f"{score['validation'][K, a]:10.2f}" for a in smoothing))
best_a = {K: max(smoothing, key=lambda a, K=K: score["validation"][K, a]) for K in components}
best_K = max(components, key=lambda K: score["validation"][K, best_a[K]])
model, model_a = fits[best_K, best_a[best_K]], best_a[best_K]
print(f"chosen: K = {best_K}, a = {model_a:g}; other K minus the chosen one, image by image:")
best_values = model.log_prob(parts["validation"])
for K in components:
    if best_K != K:
        other = fits[K, best_a[K]].log_prob(parts["validation"])
        print(f"{K:5d}: {evaluation.paired_difference(other, best_values)} nats")

# %% choose_figure
curves = [("train", "training", model_a), ("validation", "validation", model_a)]
plotting.learning_curves(
    {f"{name}, a = {a:g}": (components, [score[part][K, a] for K in components]) for part, name, a in curves},
    "components K",
    "log-likelihood (nats per image)",
    "With more components the training images are fitted better and better. On the validation images the gain ends: the "
    f"best pair is K = {best_K}, a = {model_a:g}.",
    "A training curve that rises with K, and a validation curve that rises with it at first, then levels off.",
    xlog=True,
)

# %% [markdown] choose_says
# **The 200 validation images choose K = 160, the mixture of all later weeks, and cannot tell it from 80: −0.04 ± 0.14
# nats. The 400 test images can, over six starts: 160 is better by 0.16 ± 0.05.** From 160 to 320 the training part
# gains and new images do not. The gap between the two curves, *overfitting*, grows with K; more smoothing narrows it.
#
# <details><summary>How sure is the choice?</summary>
#
# The paired differences leave out the start. Eight starts of the same K end with validation values that scatter by 0.05
# to 0.11 nats; their means are −17.73 for 40 components, −17.33 for 80, −17.33 for 160 and −17.50 for 320 ($a = 1$).
# The test images: means over six starts of each, $a = 1$, paired image by image.
# </details>
#
# The test part: each K with its best $a$ of the validation part. The choice is not revised.

# %% chosen
test = parts["test"]
for K in components:
    values = fits[K, best_a[K]].log_prob(test).numpy()
    mark = "  ← chosen" if best_K == K else ""
    print(f"K = {K:3d}, a = {best_a[K]:g}: test {evaluation.mean_estimate(values)} nats an image{mark}")
largest = np.argsort(-model.pi)[:20]
plotting.image_grid(
    np.concatenate([tf.gather(model.mu, largest), model.sample(20, rng)]),
    digits.shape,
    "Two rows: the components with the largest π, as pixel probabilities. Each is a way to write a digit. Two rows: "
    "ancestral samples. Why are they rougher than the components?",
    "Twenty soft grey digits, then twenty binary digits with frayed edges.",
)

# %% [markdown] use_text
# ## 5 · Put to work: completing, repairing, detecting
#
# Let $\tilde x$ be what we observe of $x$: some pixels are *missing*; the others are seen, each *flipped* with
# probability $\varepsilon$ (with $\varepsilon = 0$ they are simply known). Given $z = k$ the pixels are independent, so
# the exact posterior is a formula. A pixel is seen as ink with probability
# $\tilde\mu_{kd} = (1 - \varepsilon)\, \mu_{kd} + \varepsilon\, (1 - \mu_{kd})$, and
#
# $$p(z = k \mid \tilde x) \propto \pi_k \prod_{d\ \text{seen}} \tilde\mu_{kd}^{\tilde x_d} (1 - \tilde\mu_{kd})^{1 - \tilde x_d}, \qquad
# p(x_d = 1 \mid \tilde x) = \sum_k p(z = k \mid \tilde x)\; p(x_d = 1 \mid \tilde x_d, z = k),$$
#
# where the last factor is $\mu_{kd}$ for a missing pixel, and by Bayes' rule
# $(1 - \varepsilon)\, \mu_{kd} / \tilde\mu_{kd}$ for one seen as ink, $\varepsilon\, \mu_{kd} / (1 - \tilde\mu_{kd})$
# for one seen as blank. Why are missing pixels simply left out? Sum over both values of one:
# $\mu_{kd} + (1 - \mu_{kd}) = 1$ for each component. The check enumerates all 256 images of the toy.


# %% restore
def restore(model, x, seen, flip):
    """x: (B, D) observed images, seen: (D,) bool, flip: probability ε → p(x_d = 1 | observed): (B, D)."""
    x, seen = tf.cast(x, model.mu.dtype), tf.constant(seen)
    mu_seen = (1 - flip) * model.mu + flip * (1 - model.mu)  # (K, D), p(x̃_d = 1 | z = k)
    known = tf.cast(seen, x.dtype)
    ink = tf.matmul(x * known, tf.math.log(mu_seen), transpose_b=True)
    blank = tf.matmul((1 - x) * known, tf.math.log1p(-mu_seen), transpose_b=True)
    r = tf.nn.softmax(tf.math.log(model.pi) + ink + blank)  # (B, K)
    if_ink = tf.matmul(r, (1 - flip) * model.mu / mu_seen)
    if_blank = tf.matmul(r, flip * model.mu / (1 - mu_seen))
    return tf.where(seen, x * if_ink + (1 - x) * if_blank, tf.matmul(r, model.mu))


p_x, seen = tf.exp(toy_mixture.log_prob(states)).numpy(), np.array([1, 1, 0, 1, 0, 1, 1, 0], bool)
for flip in [0.0, 0.1]:
    p_pixel = np.where(states[:, None] == states, 1 - flip, flip)  # (observed, true, pixel)
    p_seen = p_pixel[:, :, seen].prod(axis=2)  # (observed, true)
    posterior = p_seen * p_x / (p_seen @ p_x)[:, None]
    np.testing.assert_allclose(restore(toy_mixture, states, seen, flip), posterior @ states, rtol=1e-9)
print("completing and repairing agree with the sum over all 256 images, for each of 256 observations")

# %% [markdown] apply_text
# **Three uses, measured the same way wherever a week has them.** *Imputing:* the lower half of each of 400 test images
# is missing. *Repairing:* each pixel is flipped with probability 0.1. For both we threshold the posterior at ½, which
# minimises the expected number of wrong pixels, and count. *Anomalies:* the score is $-\log p(x)$; as anomalies we take
# the test images mirrored left to right. They have the same ink, but a mirrored 7 is no digit. The *area under the ROC
# curve* is the probability that a mirrored image gets a higher score than one that is not.
#
# **Predict:** which of the three can the independent Bernoulli do at all?

# %% applications
images = test[:400]
missing, noise = evaluation.lower_half(digits.shape), 0.1
noisy = evaluation.flip_pixels(images, noise, seed)
mirrored = evaluation.mirror(images, digits.shape)
print(f"10 % of the pixels flipped: {evaluation.pixel_errors(images, noisy)} wrong before the repair")
uses = {}
for name, m in [("independent", fits[1, best_a[1]]), ("mixture", model)]:
    imputed = restore(m, images, ~missing, 0.0).numpy()
    repaired = restore(m, noisy, np.ones(D, bool), noise).numpy()
    uses[name] = {
        "imputing": evaluation.pixel_errors(images, imputed > 0.5, missing),
        "repairing": evaluation.pixel_errors(images, repaired > 0.5),
        "anomaly": evaluation.auroc(-m.log_prob(images).numpy(), -m.log_prob(mirrored).numpy()),
    }
    print(f"{name:>12}: " + "; ".join(f"{use} {value}" for use, value in uses[name].items()))
rows = [images[:10], np.where(missing, np.nan, images)[:10], imputed[:10], noisy[:10], repaired[:10]]
plotting.image_grid(
    np.concatenate(rows),
    digits.shape,
    "From top: the test image; its lower half taken away; the mixture's probability of ink for the missing pixels; the "
    "image with a tenth of its pixels flipped; the probability of ink after the repair. Grey means the model is unsure.",
    "Five rows of ten digits: original, upper half, completed, noisy, repaired.",
    row_titles=["original", "observed", "completed", "noisy", "repaired"],
    limits=(0, 1),
)

# %% [markdown] apply_says
# **The independent Bernoulli can do all three, badly; the mixture recognises the digit from what it sees, and makes far
# fewer errors.** Without a cause the completion is the same for all images: what is seen changes nothing. Where the
# upper half fits several components, the mixture's completion is grey: a mean of several digits, the right answer to
# "how probable is ink here?" and the wrong one to "show me a digit". For that, draw $z$ from the responsibilities, then
# the pixels.

# %% [markdown] ppca_text
# ## 6 · A continuous cause: probabilistic PCA
#
# A mixture needs a new template for each combination of strokes. What if the cause were not a number from 1 to K, but a
# vector of L numbers that can be combined? With linear maps and Gaussians all stays exact. In **probabilistic PCA**
# (Tipping and Bishop, 1999) $x$ is real, and
#
# $$z \sim \mathcal{N}(0, I), \qquad x = W z + m + \sigma\, \epsilon, \qquad \epsilon \sim \mathcal{N}(0, I), \qquad
# W \text{ of shape } (D, L).$$
#
# Sums of Gaussians are Gaussian, so the sum over causes, now an integral, is solved by two moments: the mean is $m$, and
# the covariance is $\mathbb{E}[(Wz + \sigma\epsilon)(Wz + \sigma\epsilon)^\top]$. And so is the posterior: the exponent of
# $p(z)\, p(x \mid z)$, $-\frac12 |z|^2 - \frac{1}{2 \sigma^2} |x - m - W z|^2$, has the quadratic part
# $-\frac{1}{2\sigma^2} z^\top M z$ and the linear part $\frac{1}{\sigma^2} z^\top W^\top (x - m)$. Complete the square:
#
# $$p(x) = \mathcal{N}(m, C), \quad C = W W^\top + \sigma^2 I, \qquad
# p(z \mid x) = \mathcal{N}\left(M^{-1} W^\top (x - m),\; \sigma^2 M^{-1}\right), \quad M = W^\top W + \sigma^2 I .$$
#
# **Maximum likelihood needs no EM.** Let $S = U \Lambda U^\top$ be the covariance of the data,
# $\lambda_1 \ge \dots \ge \lambda_D$. The mean log-likelihood at $m = \bar x$ is
# $-\frac12 [D \log 2\pi + \log \det C + \mathrm{tr}(C^{-1} S)]$. Give $C$ the eigenvectors of $S$ and eigenvalues $c_i$;
# then the bracket is $\sum_i [\log c_i + \lambda_i / c_i]$ and a constant. A term with a $c_i$ of its own is smallest at
# $c_i = \lambda_i$; the $D - L$ directions that share one $c_i = \sigma^2$ do best with the mean of their $\lambda_i$:
#
# $$\sigma^2 = \frac{1}{D - L} \sum_{i > L} \lambda_i, \qquad W = U_L (\Lambda_L - \sigma^2 I)^{1/2},$$
#
# with the L largest eigenvalues and their eigenvectors: that these are the ones to keep, and that no other $W$ does
# better, Tipping and Bishop show. ($W R$ with a rotation $R$ of $z$ gives the same $C$ and does equally well.)


# %% ppca
class PPCA:
    """x = Wz + m + σε with z and ε standard normal; W: (D, L), m: (D,), sigma2 = σ²."""

    def __init__(self, W, m, sigma2):
        self.W, self.m, self.sigma2 = W, m, sigma2
        C = tf.matmul(W, W, transpose_b=True) + sigma2 * tf.eye(W.shape[0], dtype=W.dtype)
        self.p_x = tfd.MultivariateNormalTriL(m, tf.linalg.cholesky(C))
        self.M = tf.matmul(W, W, transpose_a=True) + sigma2 * tf.eye(W.shape[1], dtype=W.dtype)

    def log_prob(self, x):
        """x: (B, D) → (B,) nats."""
        return self.p_x.log_prob(x)

    def posterior_mean(self, x):
        """x: (B, D) → E[z | x]: (B, L)."""
        return tf.transpose(
            tf.linalg.solve(self.M, tf.matmul(self.W, x - self.m, transpose_a=True, transpose_b=True))
        )


def fit_ppca(x, L):
    """Maximum likelihood in closed form. x: (N, D) float64, L < D."""
    m = tf.reduce_mean(x, axis=0)
    S = tf.matmul(x - m, x - m, transpose_a=True) / len(x)
    lam, U = tf.linalg.eigh(S)  # ascending
    lam, U = lam[::-1], U[:, ::-1]
    sigma2 = tf.reduce_mean(lam[L:])
    return PPCA(U[:, :L] * tf.sqrt(lam[:L] - sigma2), m, sigma2)


# %% ppca_check
x = tf.constant(np.random.default_rng(seed).normal(size=(200, 4)) @ np.diag([3.0, 2.0, 1.0, 0.5]) + 1.0)
fit = fit_ppca(x, 2)
with tf.GradientTape() as tape:
    tape.watch([fit.W, fit.m, fit.sigma2])
    value = tf.reduce_mean(PPCA(fit.W, fit.m, fit.sigma2).log_prob(x))
steepest = max(np.abs(g).max() for g in tape.gradient(value, [fit.W, fit.m, fit.sigma2]))
assert steepest < 1e-10
later = likelihood.PPCA(fit.W, fit.m, fit.sigma2)  # what later weeks import: the same by (L, L) matrices only
np.testing.assert_allclose(fit.log_prob(x), later.log_prob(x), rtol=1e-10)
np.testing.assert_allclose(fit.posterior_mean(x), later.posterior(x)[0], rtol=1e-8, atol=1e-10)
print(f"the largest derivative at the closed-form solution is {steepest:.0e}")

# %% [markdown] ppca_digits_text
# **On grey digits**, 17 levels a pixel. Some pixels are blank in all images, so on whole levels $\sigma$ could go to 0 and
# the density to infinity. A density needs data that fill space: add uniform noise between 0 and 1 to each level, and
# divide by 17. That noise has a standard deviation of $1 / (17 \sqrt{12}) = 0.017$. A density may exceed 1, so these
# log-likelihoods become *positive*; they depend on the unit of $x$ and cannot be set beside those of sections 1 to 5.
#
# **Predict:** what does $\sigma$ become when L is large?

# %% ppca_digits
grey, draw = datasets.load("digits-grey"), np.random.default_rng(seed)
train, validation = ((part + draw.random(part.shape)) / 17 for part in (grey.train, grey.validation))
ppca = {L: fit_ppca(tf.constant(train), L) for L in causes}
for L, m in ppca.items():
    both = [float(tf.reduce_mean(m.log_prob(images))) for images in (train, validation)]
    print(
        f"L = {L:2}: training {both[0]:5.1f}, validation {both[1]:5.1f} nats an image; σ = {m.sigma2**0.5:.3f}"
    )
rows = {"image": validation[:10]}
for L in [2, 8, 32]:
    z = ppca[L].posterior_mean(validation[:10])
    rows[f"L = {L}"] = tf.matmul(z, ppca[L].W, transpose_b=True) + ppca[L].m
rows["samples"] = ppca[32].p_x.sample(10, seed=seed)
plotting.image_grid(
    np.concatenate(list(rows.values())),
    grey.shape,
    "Validation images; what is left of them in L numbers, WE[z | x] + m; samples of L = 32. How many causes make a digit?",
    "Five rows of ten images: digits, then blurred, clearer and nearly perfect copies, then rough shapes.",
    row_titles=list(rows),
    limits=(0, 1),
)

# %% [markdown] ppca_says
# **Every cause helps, on new images too, up to about 52 of 64. There $\sigma$ is 0.018, the noise that we added
# ourselves: what else is left is smaller.** (With a tenth of that noise $\sigma$ is 0.008 at $L = 52$, and 56 or more
# pay.) So as a *density* PPCA wants nearly all directions. As a *summary* it does with few: with 8 numbers many digits
# can be guessed, with 32 the copy is nearly perfect. What the samples lack: causes add up without bounds, so ink
# becomes negative (white in the figure) and strokes mix that never meet. Week 6 replaces the linear map
# by a network. Then the integral over $z$ is no longer known.

# %% [markdown] scoreboard_text
# ## The scoreboard
#
# Every model of the course is fitted to the same 1,197 small digits, in black and white or in grey, and enters one table.
# A log-likelihood there has a *kind*: *exact*, a *lower bound*, an *estimate* with its error, or a bound that contains an
# estimate. Settings are chosen on the validation part; the test part is looked at when all is chosen. Two rows from this
# week, both *exact*: what remains is the scatter of 400 test images.
#
# **Three columns compare 400 samples with the 400 test images,** by 64 *features* of each: the last hidden layer of a
# small network trained to name digits.
#
# - *Kernel distance:* a squared distance of the two distributions of features. 0 is best; an estimate may fall below.
# - *Two-sample test:* how often a classifier (of features and pixels), trained on one half, tells samples from test images in
#   the other. 0.5 is best: chance.
# - *Coverage:* the share of test images with a sample nearer than their fifth-nearest fellow. Leaving out kinds of digits
#   costs here. Perfect samples would reach 0.97, not 1.

# %% board
shared = {
    "week": 1,
    "family": "mixture",
    "data": dataset,
    "kind": "exact",
    "compare_with": "Independent Bernoulli",
}
for name, K in [(f"Mixture of {best_K} Bernoullis", best_K), ("Independent Bernoulli", 1)]:
    m = fits[K, best_a[K]]
    board = scoreboard.enter(
        lambda n, m=m: m.sample(n, rng),
        model=name,
        per_image=m.log_prob(test),
        train_seconds=seconds[K, best_a[K]],
        parameters=K * D + K - 1,
        seed=seed,
        **uses["independent" if K == 1 else "mixture"],
        **shared,
    )
board

# %% [markdown] board_says
# **The mixture is far ahead of the independent pixels, in likelihood and in every use; the paired standard error leaves no
# doubt.** Its samples are still told from real digits (two-sample test 0.61, not 0.5): within a component the pixels
# are independent, and it shows at the edges of the strokes.

# %% [markdown] check_text
# ## Self-check
#
# Five questions; every answer explains itself.

# %% self_check
quiz.show("week01_foundations")

# %% [markdown] class
# **Bring to class** (no easy answers):
#
# 1. A model gives the test part −17.0 nats, another −17.3. Under which circumstances would you choose the second?
# 2. The independent Bernoulli, smoothed, assigns each of the $2^{64}$ images a probability above 0, also the digits. Why do
#    you hardly ever see one among its samples?
# 3. The reverse KL avoids regions without data. Would you rather train an image generator by it? What would you need?

# %% [markdown] summary
# ## Summary
#
# - A generative model is a distribution: draw from it, condition it, score with it.
# - Maximum likelihood minimises KL(data ‖ model). It covers the data; the reverse divergence picks a mode.
# - EM: responsibilities, then weighted averages. It never lowers its objective, and it stops at local maxima.
# - A probability that goes to 0 is the worst mistake in likelihood. Imaginary data cure it.
# - In a mixture conditioning is exact, and drawing is ancestral: first the cause, then the pixels.
# - Probabilistic PCA has a vector for a cause, a closed-form maximum, and an exact posterior.
#
# **Next week**: the sum over causes gives way to an *energy*, $p(x) \propto \exp(-E(x))$, links between pixels, and a
# normaliser that is no longer known.

# %% [markdown] deeper_gaussians
# ## Deeper · Mixtures of Gaussians, local maxima, and a likelihood without a maximum
#
# For Gaussian components the M step takes weighted means and covariances in place of weighted pixel means:
#
# $$\pi_k = \frac{N_k}{N}, \qquad m_k = \frac{1}{N_k} \sum_n r_{nk}\, x_n, \qquad
# S_k = \frac{\sum_n r_{nk}\, (x_n - m_k)(x_n - m_k)^\top + a\, s^2 I}{N_k + a} .$$
#
# Here $a$ imaginary points lie around each component's mean with covariance $s^2 I$; at first $a = 0$. (With $a > 0$ also
# $\pi_k = (N_k + a) / (N + aK)$.)
#
# **Predict:** the data are eight small blobs on a ring, and the model has eight components, started at random data points.
# How often, in six starts, does EM find all eight?

# %% gaussian_mixture
from scipy.spatial.distance import cdist


@tf.function
def gaussian_em_step(x, pi, m, S, a, s):
    """x: (N, D) and parameters → new parameters, and the mean log-likelihood of the old ones (nats a point)."""
    log_px_z = tfd.MultivariateNormalTriL(m, tf.linalg.cholesky(S)).log_prob(x[:, None])  # (N, K)
    log_pxz = tf.math.log(pi) + log_px_z
    log_px = tf.reduce_logsumexp(log_pxz, axis=1)  # (N,)
    r = tf.exp(log_pxz - log_px[:, None])  # (N, K), the E step
    n = tf.reduce_sum(r, axis=0)  # (K,)
    m = tf.matmul(r, x, transpose_a=True) / n[:, None]
    d = x[:, None] - m  # (N, K, D)
    scatter = tf.einsum("nk,nki,nkj->kij", r, d, d)
    S = (scatter + a * s**2 * tf.eye(x.shape[1], dtype=x.dtype)) / (n + a)[:, None, None]
    return (n + a) / tf.reduce_sum(n + a), m, S, tf.reduce_mean(log_px)


def fit_gaussians(x, K, steps, seed, a=0.0, s=1.0, held_out=None):
    """EM from K random points of x (N, 2) → the mixture, the curve on x, and that on held_out."""
    x, a, s = (tf.constant(v, tf.float64) for v in (x, a, s))
    m = tf.gather(x, np.random.default_rng(seed).choice(len(x), K, replace=False))
    pi, S = tf.fill([K], tf.constant(1 / K, x.dtype)), tf.eye(2, batch_shape=[K], dtype=x.dtype)
    curve, other = [], []
    for _ in range(steps):
        if held_out is not None:
            other.append(float(gaussian_em_step(held_out, pi, m, S, a, s)[-1]))
        pi, m, S, value = gaussian_em_step(x, pi, m, S, a, s)
        curve.append(float(value))
    model = tfd.MixtureSameFamily(
        tfd.Categorical(probs=pi), tfd.MultivariateNormalTriL(m, tf.linalg.cholesky(S))
    )
    return model, np.array(curve), np.array(other)


ring = datasets.toy_2d("ring", 1000, seed).astype(np.float64)
runs = [fit_gaussians(ring, 8, 60, s) for s in range(6)]
assert all((np.diff(curve) > -1e-9).all() for _, curve, _ in runs), "EM must never lower the likelihood"

# %% ring_figures
angle = np.arange(8) * np.pi / 4
centres = 3 * np.stack([np.cos(angle), np.sin(angle)], axis=1)  # (8, 2), of the true blobs
true = tfd.MixtureSameFamily(
    tfd.Categorical(probs=np.full(8, 1 / 8)), tfd.MultivariateNormalDiag(centres, np.full((8, 2), 0.15))
)
worst, *_, best = sorted(runs, key=lambda run: run[1][-1])
means = [model.components_distribution.mean().numpy() for model, _, _ in runs]  # (8, 2) each
found = [int((cdist(centres, m).min(axis=1) < 0.15).sum()) for m in means]
print("blobs with a component's mean within one standard deviation, start by start:", *found)
plotting.learning_curves(
    {f"start {i + 1}": (np.arange(1, 61), curve) for i, (_, curve, _) in enumerate(runs)},
    "EM steps",
    "log-likelihood (nats per point)",
    f"Six starts. No curve ever falls, and they end between {worst[1][-1]:.2f} and {best[1][-1]:.2f} nats. The true "
    f"density has {tf.reduce_mean(true.log_prob(ring)):.2f} on the same points; a fit to these points can have a little "
    "more. Where a curve is flat and rises again later, EM was creeping past a saddle point.",
    "Six rising curves with steps, which level off at different heights.",
)
for which, (model, curve, _), question in [
    ("best", best, "Does each blob have one component?"),
    ("worst", worst, "Where do two blobs share a component?"),
]:
    plotting.density_2d(
        lambda p, model=model: model.log_prob(tf.cast(p, tf.float64)),
        (-4, 4, -4, 4),
        model.sample(300, seed=seed),
        caption=f"The {which} of six starts ({curve[-1]:.2f} nats) and 300 ancestral samples. {question}",
        alt=f"Blue spots on a ring with red dots on them, the {which} of six fits.",
    )

# %% [markdown] collapse_text
# **Once in six.** In the other starts two blobs share a component, while others have two.
#
# **What goes wrong.** Probabilities are at most 1, so the log-likelihood of a Bernoulli mixture is at most 0. A *density*
# has no such limit. Put one component on a single training point, $m_k = x_n$, with covariance $s^2 I$, and let the others
# cover the rest. At $x_n$ the density is at least $\pi_k\, (2 \pi s^2)^{-D/2}$. As $s \to 0$ it goes to infinity, and all
# other points keep theirs: the likelihood has no maximum. EM, which never lowers it, finds its way there when a component
# owns few points: one, or, in the plane, two, since a Gaussian may also shrink to the line through them.
#
# **The cure** is that of section 4: with $a > 0$ every eigenvalue of $S_k$ is at least $a\, s^2 / (N_k + a)$. The cell takes
# $a = 1$ and $s = 0.3$, twice the standard deviation of a blob. **Predict:** 40 points of the ring, eight components. How
# will the two curves look, on these points and on new ones?

# %% collapse
few, new = ring[:40], tf.constant(ring[500:])
_, wild, wild_new = fit_gaussians(few, 8, 60, 3, held_out=new)
_, tame, tame_new = fit_gaussians(few, 8, 60, 3, a=1.0, s=0.3, held_out=new)
alive = int(np.isfinite(wild).sum())  # EM steps until a covariance is singular, and all is "not a number"
print(f"without imaginary points: {alive} steps, then a covariance is singular")
true_few, true_new = (float(tf.reduce_mean(true.log_prob(points))) for points in (few, new))
plotting.learning_curves(
    {
        "a = 0, its 40 points": (np.arange(1, alive + 1), wild[:alive]),
        "a = 0, new points": (np.arange(1, alive + 1), wild_new[:alive]),
        "a = 1, its 40 points": (np.arange(1, 61), tame),
        "a = 1, new points": (np.arange(1, 61), tame_new),
    },
    "EM steps",
    "log-likelihood (nats per point)",
    f"Without imaginary points the training curve climbs to {wild[alive - 1]:.2f} nats in {alive} steps (the true "
    f"density has {true_few:.2f}) and breaks off: a component has collapsed. On new points it has fallen to "
    f"{wild_new[alive - 1]:.1f}. With one imaginary point for each component both curves level off, at {tame[-1]:.2f} "
    f"and {tame_new[-1]:.2f}; the true density has {true_new:.2f} on the new points.",
    "Two curves part, one up and one far down, and end early; two others rise and level off.",
)

# %% [markdown] deeper_logs
# ## Deeper · Mathematics or float32?
#
# In section 4 the fall ends at a floor. With $a = 0$ there is none. But $r_{nk}$ and $\mu_{kd}$ are kept as numbers,
# and whatever is below $10^{-38}$ (float32) or $10^{-308}$ (float64) becomes 0 (TensorFlow keeps no *subnormal*
# numbers); with $a > 0$ that does no harm, since what is rounded away is tiny beside $a\, \bar m_d$. So which part of
# the fall is the likelihood's own? The same 40 components three times, once with all sums in logarithms, which is slow.


# %% in_logs
@tf.function
def em_step_in_logs(x, log_pi, log_ink, log_blank):
    """`em_step` with a = 0, x: (N, D), in logs, so that nothing underflows; and log p(x) of the old ones, (N,)."""
    log_pxz = log_joint(x, log_pi, log_ink, log_blank)
    log_px = tf.reduce_logsumexp(log_pxz, axis=1)
    log_r = (log_pxz - log_px[:, None])[:, :, None]  # (N, K, 1), the E step
    log_n = tf.reduce_logsumexp(log_r, axis=0)  # (K, 1)
    ink, floor = x[:, None] > 0, tf.constant(BernoulliMixture.FLOOR, x.dtype)  # (N, 1, D)
    log_ink, log_blank = (
        tf.maximum(tf.reduce_logsumexp(tf.where(kept, log_r, floor), axis=0) - log_n, floor)
        for kept in (ink, ~ink)
    )
    return (log_n - tf.reduce_logsumexp(log_n))[:, 0], log_ink, log_blank, log_px


def fit_in_logs(x, K, steps, seed, other):
    """EM with a = 0 → log p(x) of x (N, D) and of other images (M, D) before each step: (steps, N), (steps, M)."""
    (start, *_), _ = fit_bernoullis(x, K, 0.0, 0, seed)
    logs, curves = (tf.math.log(start.pi), start.log_ink, start.log_blank), []
    for _ in range(steps):
        log_px_other = em_step_in_logs(tf.constant(other), *logs)[3]
        *logs, log_px = em_step_in_logs(tf.constant(x), *logs)
        curves.append([log_px.numpy(), log_px_other.numpy()])
    return [np.array(curve) for curve in zip(*curves)]


# %% impossible
if many:
    exact = fit_in_logs(parts["train"], many, em_steps, seed, parts["validation"])[1]
    curves = {"logarithms": exact.mean(axis=1)}
    for name, dtype in [("float64", np.float64), ("float32", np.float32)]:
        models, _ = fit_bernoullis(parts["train"].astype(dtype), many, 0.0, em_steps - 1, seed)
        values = np.array([m.log_prob(parts["validation"].astype(dtype)) for m in models])  # (steps, 200)
        first = np.flatnonzero(np.isinf(values).any(axis=1))
        print(f"{name}: a validation image of probability 0 after {first[0] if len(first) else 'no'} steps")
        curves[name] = np.where(np.isfinite(values), values, np.nan).mean(axis=1)
    print(f"logarithms: {np.sum(exact < BernoulliMixture.FLOOR / 2)} images of probability 0")
    plotting.learning_curves(
        {name: (np.arange(3, em_steps), curve[3:]) for name, curve in curves.items()},
        "EM steps",
        "log-likelihood (nats per image)",
        f"{many} components, no smoothing, validation part. Gaps: some image has probability 0.",
        "A straight falling curve; that of float64 leaves it, jumps about and has gaps, that of float32 soon ends.",
    )

# %% [markdown] impossible_says
# **In logarithms no image becomes impossible, and the validation images lose about half a nat with each step: the fall is
# the likelihood's own. Rounding only makes it end early, in
# $-\infty$, after 7 steps in float32 and after 25 in float64,** and before that the numbers are already wrong. Infinite or
# probability 0: find out whether it is the mathematics or the computer.

# %% [markdown] deeper_patients
# ## Deeper · Which patient is unlike the healthy?
#
# For each of 569 breast tumours 30 numbers were measured on images of cell nuclei; 357 are benign, 212 malignant (Street,
# Wolberg and Mangasarian, 1993). We pretend that nobody has labelled a malignant case yet, as with a rare or new disease:
# the model, the PPCA of section 6, sees *benign* cases only. Half of these are for training, a quarter is held out, a
# quarter is for the test, together with all malignant ones.
#
# - Each column is scaled by mean and standard deviation of the benign training cases.
# - L is chosen by the likelihood of the held-out benign cases. No anomaly is needed for that. ($L = 0$ is a round Gaussian,
#   $L = D - 1$ a Gaussian with any covariance.)
# - The alarm threshold is set so that about 5 % of the held-out benign cases are above it.
#
# A likelihood must earn its place. We compare it with scores that need no model: the distance from the mean, the distance
# from the nearest training case, and one column alone, `worst area`, the area of the largest nuclei. Its choice takes the
# knowledge that the nuclei of malignant cells tend to be large.
#
# **Predict:** will the PPCA with the best held-out likelihood be the best of the four detectors?

# %% medical_table
import io

from scipy.spatial.distance import cdist
from sklearn.datasets import load_breast_cancer

from utils import download


def medical_table(name):
    """A name, or an .npz file with X and y (1 = anomaly) → x (N, D), anomalous (N,), column names or None."""
    if name == "breast cancer":
        data = load_breast_cancer()
        return data.data, data.target == 0, list(data.feature_names)
    commit = "https://raw.githubusercontent.com/Minqi824/ADBench/3dac8221081e190f157d78e93bfa8867f90d0965"
    downloads = {  # file and SHA-256
        "thyroid": ("38_thyroid.npz", "8de161b3f235b7647bb0b39a836d983ff61d67bf234edac461da2d71e889cb87"),
        "mammography": (
            "23_mammography.npz",
            "a0308ac9712d78321073b1c2dc98dc37665c0f35c1cc33019416fe8f8d7de7ea",
        ),
    }
    if name in downloads:  # read from the folder LGM_DATA_DIR where that is set and has it
        file, sha256 = downloads[name]
        url = f"{commit}/adbench/datasets/Classical/{file}"
        name = io.BytesIO(download.read(download.Source(f"adbench/{file}", sha256, (url,))))
    with np.load(name) as file:
        return file["X"].astype(float), file["y"].ravel() == 1, None


# %% patients
x, anomalous, columns = medical_table(table)
order = np.random.default_rng(seed).permutation(np.flatnonzero(~anomalous))
n = len(order)
fit_on = x[order[: n // 2]]
scale = np.where(fit_on.std(axis=0) > 0, fit_on.std(axis=0), 1)
x = (x - fit_on.mean(axis=0)) / scale
train, held_out, normal = (tf.constant(part) for part in np.split(x[order], [n // 2, 3 * n // 4]))
anomalies = tf.constant(x[anomalous])
largest_L = min(x.shape[1] - 1, len(train) // 4)
candidates = sorted({L for L in [0, 1, 2, 4, 8, 16, 32, 64, 128] if largest_L > L} | {largest_L})
value = {L: float(tf.reduce_mean(fit_ppca(train, L).log_prob(held_out))) for L in candidates}
print("held-out normal cases, nats a case:", {L: round(v, 1) for L, v in value.items()})
best_L = max(value, key=value.get)
density = fit_ppca(train, best_L)


# %% detect
def auroc_difference(normal, anomalous):
    """Two detectors' scores on the same cases, pairs of (N,) and of (M,) → the first AUROC minus the second."""
    wins = [(n[:, None] < a) + 0.5 * (n[:, None] == a) for n, a in zip(normal, anomalous)]
    gain = wins[0] - wins[1]  # (N, M)
    error = np.sqrt(gain.mean(axis=1).var(ddof=1) / len(gain) + gain.mean(axis=0).var(ddof=1) / gain.shape[1])
    return evaluation.Estimate(gain.mean(), error)


scores = {
    f"PPCA, L = {best_L}": lambda x: -density.log_prob(x).numpy(),
    "distance from the mean": lambda x: np.linalg.norm(x - tf.reduce_mean(train, axis=0), axis=1),
    "distance from the nearest case": lambda x: cdist(x, train).min(axis=1),
}
if columns:
    scores["worst area alone"] = lambda x: x.numpy()[:, columns.index("worst area")]
results = {name: (f(held_out), f(normal), f(anomalies)) for name, f in scores.items()}
_, *ours = results[f"PPCA, L = {best_L}"]
for name, (before, low, high) in results.items():
    threshold = np.quantile(before, 0.95)
    print(
        f"{name:>30}: AUROC {evaluation.auroc(low, high)}; false alarms "
        f"{evaluation.mean_estimate(low > threshold)}, found {evaluation.mean_estimate(high > threshold)}"
    )
    if low is not ours[0]:
        print(f"{'AUROC minus that of PPCA':>48} {auroc_difference([low, ours[0]], [high, ours[1]])}")

# %% detect_figure
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6))
plane = fit_ppca(train, 2)
grey, red = plotting.FAMILY_COLOURS["mixture"], plotting.VERMILLION
for cases, colour, marker, name in [(normal, grey, "o", "normal, test"), (anomalies, red, "x", "anomalous")]:
    left.plot(*plane.posterior_mean(cases).numpy().T, marker, color=colour, markersize=5, label=name)
left.set(xlabel="E[z₁ | x] (no unit)", ylabel="E[z₂ | x] (no unit)", title="PPCA, L = 2")
left.legend()
for (name, (_, low, high)), dashes in zip(results.items(), ["-", "--", "-.", ":"]):
    thresholds = np.append(np.sort(low)[::-1], -np.inf)
    right.plot(*[(score[:, None] > thresholds).mean(axis=0) for score in (low, high)], dashes, label=name)
right.set(xlabel="share of normal cases with an alarm", ylabel="share of anomalies found", title="ROC curves")
right.legend(loc="lower right")
plotting.show(
    fig,
    "Left: posterior means of the two strongest causes, learnt from normal cases only; the anomalies spread far "
    "beyond them. Right: what each threshold gives, for each score. Where do the curves differ by more than chance?",
    "A small grey cloud with red crosses scattered far to one side; four curves that rise steeply at the left edge.",
)

# %% [markdown] patients_says
# **In 20 splits of the benign cases PPCA is a better detector than the distance from the nearest case (in 18 of them, by
# 0.014 on average), level with the distance from the mean, and behind one column alone (in 15, by 0.012).** The splits
# overlap, so these means have no error bar. Four things to read off, none of them flattering to the model.
#
# - *The data want no small L.* The held-out likelihood chose $L = 29 = D - 1$, which is a Gaussian with any
#   covariance (so in 16 of the 20 splits). As a model with few causes PPCA serves only the left-hand picture.
# - *A better density is not a better detector.* On held-out cases the chosen L beats $L = 0$ by many nats,
#   since radius, perimeter and area of a nucleus all but determine each other, and a model with links between
#   columns knows it. The round Gaussian, $L = 0$, ranks cases by their distance from the mean and knows
#   nothing of that. As detectors the two are level within the error. Likelihood pays for *every* regularity
#   of the data, also for those that the disease does not break.
# - *One well-chosen column does as well, or better.* It uses what the model was not told: which column, and that only
#   large values are bad. At the left edge of the right-hand plot, where there are few false alarms, it is
#   even ahead; but that edge rests on a handful of the 90 normal cases. A likelihood is for the case where
#   nobody knows what the anomaly will look like.
# - *A threshold is an estimate too.* It rests on the five highest of 89 held-out scores. A share of 5 % among
#   89 cases has a standard error of $\sqrt{0.05 \cdot 0.95 / 89} = 2.3$ %, and the printed errors, which come
#   from the 90 test cases, are on top of it. The same 89 cases have chosen $L$, the one that suits them best: if that
#   biases the rate of false alarms, then upwards. We asked for 5 %: over the 20 splits the share of
#   false alarms runs from 1 % to 21 %, with a mean of 6.6 %.

# %% [markdown] bigger
# ## Going bigger
#
# The same notebook on MNIST, whose grey levels are binarised once, by chance, with the grey level as the
# probability of ink. Change the `parameters` cell only. (Maintainers:
# `make benchmark WEEK=week01_foundations`.)
#
# ```python
# dataset = "mnist"
# components = [1, 10, 100, 500]
# smoothing = [0.5]
# many = 0
# em_steps = 50
# ```
#
# Measured on two CPU cores, with EM in batches of 2,000 images: 3 minutes for all this and $a = 0$, 2 GB of memory. With
# $a = 0.5$ (with $a = 0$, one component finds 3 of the 10,000 validation images impossible: they have ink where no
# training image has any):
#
# | model | measured | processor time of the fit (s) |
# |---|---|---|
# | Independent Bernoulli | −205.8 nats | |
# | Mixture of 10 Bernoullis | −167.9 nats | 7 |
# | Mixture of 100 Bernoullis | −137.1 nats | 22 |
# | Mixture of 500 Bernoullis | −125.6 nats | 83 (56 on the clock) |
#
# These are means over the test images, with a standard error of 0.4 to 0.5 nats.
#
# Salakhutdinov and Hinton (2009) report −168.95, −142.63 and −137.64 nats for 10, 100 and 500 components, on
# another binarisation. Take these as landmarks, not as targets: with many components the smoothing, the start and the
# number of steps move the value by many nats. On a GPU it has not been measured.
#
# **More medical tables.** Set `table` to `"thyroid"` (3,772 cases, 93 of them ill) or `"mammography"` (11,183
# spots, 260 of them calcifications) and run the section on patients again. Both come from the collection ADBench (Han et
# al., 2022): they are downloaded at the first use, or read from the folder `adbench` inside the folder that
# the environment variable `LGM_DATA_DIR` names.
#
# Chest X-rays: download `pneumoniamnist.npz` of MedMNIST (Yang et al., 2023) from Zenodo, record 6496656. The
# next lines make a table of its 28×28 pixels: all 1,583 normal images, and as anomalies the 779 cases of
# pneumonia in its validation and test parts. Then set `table = "xrays.npz"`.
#
# ```python
# file = np.load("pneumoniamnist.npz")
# X = np.concatenate([file[f"{part}_images"].reshape(-1, 784) for part in ["train", "val", "test"]])
# y = np.concatenate([file[f"{part}_labels"].ravel() for part in ["train", "val", "test"]])
# kept = (y == 0) | (np.arange(len(y)) >= len(file["train_labels"]))
# np.savez("xrays.npz", X=X[kept], y=y[kept])
# ```
#
# **Predict** before you look: on which of the three is the likelihood a good detector? Measured with seed 0,
# areas under the ROC curve (other seeds, or the images in another order, split the cases differently):
#
# | table | chosen L | PPCA | distance from the mean | distance from the nearest case |
# |---|---|---|---|---|
# | thyroid | 5 | 0.976 ± 0.006 | 0.982 ± 0.004 | 0.985 ± 0.004 |
# | mammography | 5 | 0.880 ± 0.012 | 0.897 ± 0.011 | 0.875 ± 0.012 |
# | chest X-rays | 128 | 0.416 ± 0.017 | 0.752 ± 0.016 | 0.657 ± 0.017 |
#
# On the X-rays the density is worse than a coin: it finds the ill *more* probable than the healthy. A lung
# with pneumonia is cloudy, its image is smooth (the squared difference of neighbouring pixels is less than
# half as large), and a smooth image is an easy one for a model of the pixels. Week 5 tests a stronger model
# as an anomaly detector.

# %% [markdown] references
# ## References
#
# - C. Bishop, H. Bishop (2024). Deep Learning: Foundations and Concepts. Springer.
# - A. Dempster, N. Laird, D. Rubin (1977). Maximum likelihood from incomplete data via the EM algorithm.
#   Journal of the Royal Statistical Society B 39.
# - I. Goodfellow, Y. Bengio, A. Courville (2016). Deep Learning. MIT Press.
# - S. Han, X. Hu, H. Huang, M. Jiang, Y. Zhao (2022). ADBench: anomaly detection benchmark. NeurIPS.
# - K. Murphy (2023). Probabilistic Machine Learning: Advanced Topics. MIT Press.
# - S. Prince (2023). Understanding Deep Learning. MIT Press.
# - R. Salakhutdinov, G. Hinton (2009). Deep Boltzmann machines. AISTATS.
# - W. N. Street, W. Wolberg, O. Mangasarian (1993). Nuclear feature extraction for breast tumor diagnosis.
#   SPIE 1905.
# - M. Tipping, C. Bishop (1999). Probabilistic principal component analysis. Journal of the Royal Statistical
#   Society B 61.
# - J. Yang et al. (2023). MedMNIST v2: a large-scale lightweight benchmark for 2D and 3D biomedical image
#   classification. Scientific Data 10.
