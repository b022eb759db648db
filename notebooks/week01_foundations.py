# %% [markdown] title
# # Week 1 · Foundations: fitting a distribution
#
# {{colab}}
#
# A generative model is a probability distribution from which one can draw. This week fits the simplest ones that
# work, exactly, and puts them to use: drawing, completing, repairing, detecting.
#
# **After this notebook you can**
#
# 1. write down a likelihood, in nats and in bits, and check that a model's probabilities sum to 1;
# 2. show that maximum likelihood minimises KL(data ‖ model), and say what the reverse divergence does instead;
# 3. derive and write EM for mixtures of Gaussians and of Bernoullis, and prove that it never lowers its objective;
# 4. draw by ancestral sampling, and fill in missing pixels by exact conditioning;
# 5. fit probabilistic PCA in closed form, and use a likelihood as an anomaly score on a medical table.
#
# *Time:* reading 3 hours, this notebook 2 to 3 hours. It computes for less than a minute on two CPU cores.

# %% [markdown] course
# ## What this course is about
#
# A *discriminative* model answers one question that was fixed before: which digit is this? A **generative
# model** describes the data themselves by a distribution $p_\theta(x)$, and one distribution answers many
# questions:
#
# | use | what is computed | where in this notebook |
# |---|---|---|
# | drawing new data | $x \sim p_\theta(x)$ | sections 3 and 4 |
# | completing, repairing | $p_\theta(x_\text{missing} \mid x_\text{seen})$ | section 5 |
# | detecting what does not belong | $-\log p_\theta(x)$ | sections 5 and 6 |
# | compressing | $-\log_2 p_\theta(x)$ bits | section 1 |
# | finding structure | $p_\theta(z \mid x)$, with a hidden cause $z$ | sections 3, 4, 6 |
#
# **How the notebooks work.** Each week you read, run a notebook like this one, discuss in class, and then solve an
# exercise. Every notebook starts with a toy that can be computed exactly, so that you *know* that the code is
# right; then come the digits, then an application. Where it says **Predict**, stop and write your answer down
# before you run the cell. The cell `parameters` holds the few numbers that are worth changing.
#
# **How the scoreboard works.** Every model of the course is fitted to the same 1,197 small binary digits and
# enters one table. A number there has a *kind*: *exact*, a *lower bound*, or an *estimate* with its error. Settings
# are chosen on the validation part. The test part is looked at once, at the end.

# %% [markdown] reading
# ## Reading
#
# | what | minutes |
# |---|---|
# | **Main:** Murphy, *Probabilistic Machine Learning: Advanced Topics* (PML2), chapter 20: what generative models are, their kinds and their goals. Read it all; skim the part on evaluation, to which week 17 returns. | 80 |
# | Goodfellow, Bengio and Courville, *Deep Learning* (DLB): 5.5 (maximum likelihood), 3.13 (entropy and KL divergence), 16.1 (why tables of probabilities do not scale). | 50 |
# | Bishop and Bishop, *Deep Learning: Foundations and Concepts*: chapter 15, the parts on mixtures and EM; chapter 16, the part on probabilistic PCA. | 50 |
#
# Alternative to PML2: Prince, *Understanding Deep Learning* (UDL), chapter 14, which is shorter.
#
# **Focus questions.** Have an answer to each before you go on.
#
# 1. A table of the probabilities of all binary images of 8×8 pixels: how many entries has it?
# 2. Why do we maximise the *logarithm* of the likelihood? Name a reason of mathematics and one of computers.
# 3. In which direction does maximum likelihood measure the divergence, and what does it punish hardest?
# 4. Which property of a model makes it easy to draw from? Which makes it easy to score?
#
# **Letters.** N images, B batch, D data (pixels), K components, L latent dimensions. Pixels are 0 or 1.

# %% setup

# %% parameters tags=["parameters"]
dataset = "digits"  # "mnist" for larger images: see "Going bigger"
components = [1, 10, 20, 40, 80, 160]  # numbers of components K to try; 1 is the independent Bernoulli
smoothing = [1e-6, 0.5, 1.0, 2.0]  # imaginary images a for each component, to try
em_steps = 50  # EM steps a run
batch_size = 2000  # images at a time; only memory depends on it
seed = 0

# %% imports

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from utils import datasets, evaluation, plotting

tfd = tfp.distributions
digits = datasets.load(dataset)
D = digits.train.shape[1]
rng = tf.random.Generator.from_seed(seed)
print(digits)

# %% [markdown] bernoulli_text
# ## 1 · A distribution over images
#
# A binary image $x \in \{0, 1\}^D$ is one of $2^D$ states. The simplest model lets each pixel be ink with its own
# probability $\mu_d$, independently of all others (*independent Bernoulli*):
#
# $$p(x) = \prod_{d=1}^{D} \mu_d^{x_d} (1 - \mu_d)^{1 - x_d}, \qquad
# \log p(x) = \sum_d \left[ x_d \log \mu_d + (1 - x_d) \log (1 - \mu_d) \right].$$
#
# **Maximum likelihood.** For N images drawn independently the log-likelihood is the sum of their $\log p(x)$. With
# $n_d$ the number of images that have ink at pixel $d$, the part that contains $\mu_d$ is $n_d \log \mu_d + (N - n_d)
# \log (1 - \mu_d)$. Its derivative $\frac{n_d}{\mu_d} - \frac{N - n_d}{1 - \mu_d}$ is 0 at $\mu_d = n_d / N$: the
# mean of the pixel.
#
# **Nats and bits.** With the natural logarithm, $-\log p(x)$ is measured in *nats*; with the logarithm to base 2, in
# *bits*; 1 nat is $1 / \ln 2 = 1.44$ bits. It has a meaning: a coder that knows $p$ (an arithmetic coder) stores the
# image in $-\log_2 p(x)$ bits, up to a bit or two. Without a model, an 8×8 image takes 64 bits, which is
# $64 \ln 2 = 44.36$ nats. We always give the mean per image.
#
# The logarithm is no luxury: the product of 784 probabilities can be smaller than any 32-bit number above 0.


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
        ink = tf.math.xlogy(x, self.mu)
        blank = tf.math.xlog1py(1 - x, -self.mu)
        return tf.reduce_sum(ink + blank, axis=-1)

    def sample(self, n, rng):
        """n images (n, D)."""
        return bernoulli(tf.tile(self.mu[None], [n, 1]), rng)


def all_states(n):
    """All 0/1 vectors of length n: (2^n, n); n ≤ 20 or so."""
    return tf.constant((np.arange(2**n)[:, None] >> np.arange(n)) & 1, tf.float64)


toy = Bernoulli(np.random.default_rng(seed).uniform(0.1, 0.9, 10))
total = float(tf.reduce_sum(tf.exp(toy.log_prob(all_states(10)))))
assert abs(total - 1) < 1e-12
print(f"10 pixels, 1,024 states: the probabilities sum to {total:.12f}")

# Grey images are binarised once for the evaluation; images of 0 and 1 stay as they are.
fresh = np.random.default_rng(seed)
parts = {
    name: (fresh.random(part.shape) < part).astype(np.float32)
    for name, part in [("train", digits.train), ("validation", digits.validation), ("test", digits.test)]
}
pixel_means = digits.train.mean(axis=0)  # (D,)
independent = Bernoulli(pixel_means)
for name, mu in [("no model, all pixels ½", np.full(D, 0.5, np.float32)), ("pixel means", pixel_means)]:
    nats = -float(tf.reduce_mean(Bernoulli(mu).log_prob(parts["train"])))
    print(f"training images, {name}: {nats:.2f} nats = {evaluation.nats_to_bits(nats):.2f} bits an image")
plotting.image_grid(
    np.concatenate([parts["train"][:10], independent.sample(10, rng).numpy()]),
    digits.shape,
    "Top: training images. Bottom: drawn from independent pixels with the right means. About the right amount of "
    "ink, in the right places, and no digit: what is missing is that pixels know of each other.",
    "A row of ten digits above a row of ten noisy blobs.",
)

# %% [markdown] kl_text
# ## 2 · Maximum likelihood is a divergence, in one of two directions
#
# How far is a distribution $q$ from $p$? The **Kullback-Leibler divergence** is the mean number of nats wasted by
# a code made for $q$ when the data come from $p$:
#
# $$\mathrm{KL}(p \,\|\, q) = \mathbb{E}_{x \sim p}\left[\log \frac{p(x)}{q(x)}\right] \ge 0,
# \qquad \text{with equality only for } p = q.$$
#
# (Jensen's inequality: $-\mathbb{E}_p[\log \frac{q}{p}] \ge -\log \mathbb{E}_p[\frac{q}{p}] \ge -\log 1 = 0$.) Write
# the logarithm as a difference, for the distribution of the data and a model $p_\theta$:
#
# $$\mathbb{E}_{x \sim \text{data}}[\log p_\theta(x)] = -\mathrm{H}(\text{data}) - \mathrm{KL}(\text{data} \,\|\, p_\theta),
# \qquad \mathrm{H}(p) = -\mathbb{E}_{x \sim p}[\log p(x)].$$
#
# The entropy $\mathrm{H}$ does not depend on $\theta$. So **maximising the mean log-likelihood is minimising KL(data ‖
# model)**, and no model can have a mean log-likelihood above $-\mathrm{H}(\text{data})$. Samples of the data are all
# we need for the left-hand side.
#
# The divergence is not symmetric. $\mathrm{KL}(\text{data} \,\|\, p_\theta)$ becomes large where the data are and the
# model is not, so the model must *cover* everything. The **reverse** $\mathrm{KL}(p_\theta \,\|\, \text{data})$ becomes
# large where the model is and the data are not, so the model *avoids* empty regions. It needs the density of the
# target, not samples. It returns in week 6, where an approximate posterior is fitted by it.
#
# **A toy that is exact.** The target has two modes in the plane; the model is one Gaussian $\mathcal{N}(m, S)$. On a
# fine grid both integrals are sums. The best Gaussian in the direct sense is known: it has the target's mean and
# covariance. For the reverse direction we descend the gradient, from two starts.
#
# **Predict:** where will the reverse fit put its Gaussian, and how wide will it be?


# %% kl
axis = np.linspace(-6, 6, 61)
grid = tf.constant(np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2))  # (M, 2)
cell_area = (axis[1] - axis[0]) ** 2
target = tfd.MixtureSameFamily(
    tfd.Categorical(probs=tf.constant([0.6, 0.4], tf.float64)),
    tfd.MultivariateNormalDiag(tf.constant([[-1.6, -1.2], [1.8, 1.4]], tf.float64), [[0.7, 0.9], [0.8, 0.6]]),
)


def kl(log_p, log_q):
    """Log densities on the grid (M,) → KL(p ‖ q) in nats, by a sum over the cells."""
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q)) * cell_area


def gaussian(theta):
    """theta: (5,), two means, two log scales and the element below the diagonal → a Gaussian in the plane."""
    scale = tf.stack([tf.stack([tf.exp(theta[2]), 0]), tf.stack([theta[4], tf.exp(theta[3])])])
    return tfd.MultivariateNormalTriL(theta[:2], scale)


@tf.function
def both_kl(theta):
    """→ KL(target ‖ q), KL(q ‖ target) and the gradients of both, for the Gaussian q with these parameters."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(theta)
        log_p, log_q = target.log_prob(grid), gaussian(theta).log_prob(grid)
        direct, reverse = kl(log_p, log_q), kl(log_q, log_p)
    return direct, reverse, tape.gradient(direct, theta), tape.gradient(reverse, theta)


weights = tf.exp(target.log_prob(grid))[:, None] * cell_area  # (M, 1)
mean = tf.reduce_sum(weights * grid, axis=0)
root = tf.linalg.cholesky(tf.matmul(weights * (grid - mean), grid - mean, transpose_a=True))
matched = tf.concat([mean, tf.math.log(tf.linalg.diag_part(root)), root[1:, 0]], axis=0)
direct, reverse, gradient, _ = both_kl(matched)
assert np.abs(gradient).max() < 1e-6, "moment matching is where the gradient of the direct KL vanishes"
fits = {"direct": (matched, float(direct), float(reverse))}
for name, start in [("reverse, first start", [-1.0, -1.0]), ("reverse, second start", [1.0, 1.0])]:
    theta = tf.constant([*start, 0.0, 0.0, 0.0], tf.float64)
    for _ in range(300):
        theta -= 0.1 * both_kl(theta)[3]
    fits[name] = (theta, float(both_kl(theta)[0]), float(both_kl(theta)[1]))
for name, (_, direct, reverse) in fits.items():
    print(f"{name:>21}: KL(target ‖ model) {direct:6.3f}, KL(model ‖ target) {reverse:6.3f} nats")

# %% kl_figure
fig, axes = plt.subplots(1, 3, figsize=(11, 4.4), sharey=True)
shape = [len(axis), len(axis)]
for ax, (name, (theta, _, _)) in zip(axes, fits.items()):
    ax.contourf(axis, axis, tf.reshape(target.prob(grid), shape), levels=10, cmap="Greys")
    ax.contour(
        axis, axis, tf.reshape(gaussian(theta).prob(grid), shape), levels=5, colors=plotting.VERMILLION
    )
    ax.set(title=name, xlabel="x₁ (no unit)", xlim=(-5, 5), ylim=(-5, 5), aspect="equal")
axes[0].set_ylabel("x₂ (no unit)")
plotting.show(
    fig,
    "Grey: the target. Red: one Gaussian fitted to it. The direct fit covers both modes and puts mass between them, "
    "where there are no data. The reverse fit sits on one mode, which one depends on the start.",
    "Three panels with the same two grey blobs; a wide red ellipse over both, then a narrow one on either blob.",
)
x = target.sample(20_000, seed=seed)
log_q, entropy = gaussian(matched).log_prob(x), -float(tf.reduce_sum(weights[:, 0] * target.log_prob(grid)))
print(f"mean log-likelihood of the direct fit on 20,000 samples: {evaluation.mean_estimate(log_q)} nats")
print(f"−H(target) − KL(target ‖ model), by the grid:            {-entropy - fits['direct'][1]:.4f} nats")

# %% [markdown] em_text
# ## 3 · Mixtures, and how EM fits them
#
# A **mixture** has a hidden cause: first draw a component $z \in \{1, \dots, K\}$ with probability $\pi_z$, then $x$ from
# the distribution of that component. Drawing in this order, causes first, is **ancestral sampling**. Summing out $z$,
#
# $$p(x) = \sum_{k=1}^{K} \pi_k\, p(x \mid z = k), \qquad
# r_k(x) = p(z = k \mid x) = \frac{\pi_k\, p(x \mid z = k)}{p(x)}.$$
#
# The $r_k$ are the **responsibilities**. In nats, $\log p(x) = \log \sum_k \exp(\log \pi_k + \log p(x \mid z = k))$; the
# function `reduce_logsumexp` takes the largest term out of the sum first, so that nothing underflows.
#
# The logarithm of a sum has no closed-form maximum. The way out: for *any* weights $q_k \ge 0$ with $\sum_k q_k = 1$,
#
# $$\log p(x) = \underbrace{\sum_k q_k \log \frac{p(x, z = k)}{q_k}}_{\mathcal{L}(q, \theta)}
# + \underbrace{\sum_k q_k \log \frac{q_k}{p(z = k \mid x)}}_{\mathrm{KL}(q \,\|\, p(z \mid x)) \;\ge\; 0},$$
#
# because $p(x, z = k) = p(x)\, p(z = k \mid x)$, so that all but $\sum_k q_k \log p(x)$ cancels. EM climbs $\mathcal{L}$ in turns:
#
# - **E step:** set $q_k = r_k(x)$ with the present parameters. The divergence is 0, so $\mathcal{L} = \log p(x)$.
# - **M step:** with the $q_k$ held fixed, maximise $\sum_n \sum_k q_{nk} \log p(x_n, z = k)$ over the parameters.
#
# The M step raises $\mathcal{L}$, or leaves it, and $\log p \ge \mathcal{L}$: **EM never lowers the likelihood.** It may well
# stop at a local maximum. The same split of $\log p$ returns as the ELBO in week 6.
#
# **The M step** is a weighted version of what one does for a single component. With $N_k = \sum_n r_{nk}$:
#
# $$\pi_k = \frac{N_k}{N}, \qquad m_k = \frac{1}{N_k} \sum_n r_{nk}\, x_n, \qquad
# S_k = \frac{1}{N_k} \sum_n r_{nk}\, (x_n - m_k)(x_n - m_k)^\top .$$
#
# (For $\pi$: maximise $\sum_k N_k \log \pi_k$ with $\sum_k \pi_k = 1$. A Lagrange multiplier gives $N_k / \pi_k = \lambda$
# for all $k$, and summing $N_k = \lambda \pi_k$ over $k$ gives $\lambda = N$.) The code has one more number, $a$: it
# pretends that each component already has $a$ points, spread with covariance $s^2 I$ around its mean. Leave it at 0 for now;
# section 7 needs it.
#
# **Predict:** the data are eight small blobs on a ring, and the model has eight components, started at random data
# points. How often, in six starts, does EM find all eight?


# %% gaussian_mixture
def mixture(pi, m, S):
    """pi: (K,), m: (K, D), S: (K, D, D) → a mixture of Gaussians."""
    return tfd.MixtureSameFamily(
        tfd.Categorical(probs=pi), tfd.MultivariateNormalTriL(m, tf.linalg.cholesky(S))
    )


@tf.function(reduce_retracing=True)
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
    return n / len(x), m, S, tf.reduce_mean(log_px)


def fit_gaussians(x, K, steps, seed, a=0.0, s=1.0, held_out=None):
    """EM from K random points of x (N, 2) → the mixture, the curve on x, and that on held_out."""
    x, eye = tf.constant(x, tf.float64), tf.eye(2, dtype=tf.float64)
    m = tf.gather(x, np.random.default_rng(seed).choice(len(x), K, replace=False))
    pi, S, curve, other = tf.fill([K], tf.constant(1 / K, tf.float64)), tf.tile(eye[None], [K, 1, 1]), [], []
    for _ in range(steps):
        if held_out is not None:
            other.append(float(tf.reduce_mean(mixture(pi, m, S).log_prob(held_out))))
        pi, m, S, value = gaussian_em_step(x, pi, m, S, tf.constant(a, x.dtype), tf.constant(s, x.dtype))
        curve.append(float(value))
    return mixture(pi, m, S), np.array(curve), np.array(other)


ring = datasets.toy_2d("ring", 1000, seed)
runs = [fit_gaussians(ring, 8, 60, s) for s in range(6)]
assert all((np.diff(curve) > -1e-9).all() for _, curve, _ in runs), "EM must never lower the likelihood"

# %% ring_figures
order = np.argsort([curve[-1] for _, curve, _ in runs])
worst, best = runs[order[0]], runs[order[-1]]
ring_best = np.log(1 / 8) - np.log(2 * np.pi * 0.15**2) - 1  # −H of eight Gaussians that hardly overlap
found = [int(round(float(np.exp(curve[-1] - ring_best)) * 8)) for _, curve, _ in runs]
plotting.learning_curves(
    {f"start {i + 1}": (np.arange(1, 61), curve) for i, (_, curve, _) in enumerate(runs)},
    "EM steps",
    "log-likelihood (nats per point)",
    f"Six starts. No curve ever falls, and they end between {worst[1][-1]:.2f} and {best[1][-1]:.2f} nats. With the "
    f"true parameters it would be about {ring_best:.2f}. The flat stretches are saddle points, where EM creeps.",
    "Six rising curves with steps, which level off at different heights.",
)
for (model, curve, _), which in [(best, "best"), (worst, "worst")]:
    plotting.density_2d(
        lambda p, model=model: model.log_prob(tf.cast(p, tf.float64)),
        (-4, 4, -4, 4),
        model.sample(300, seed=seed),
        caption=f"The {which} of six starts ({curve[-1]:.2f} nats) and 300 ancestral samples. "
        + (
            "Eight blobs, one component each." if which == "best" else "Where do two blobs share a component?"
        ),
        alt="Blue spots on a ring with red dots on them"
        + ("." if which == "best" else "; some spots are smeared over two places."),
    )
