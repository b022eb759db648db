# %% [markdown] given="title"
# # Week 7 · Exercise: Layers and codes in other forms
#
# {{colab}}
#
# The core of the preparation measured collapse unit by unit, built ladders, and quantised with one codebook. Here each
# of these comes back in a form that you have not seen:
#
# - the KL divergence of a ladder as an **exact expectation**, and units found by their **information** about the image;
# - quantisers **without a codebook** and with **several**, and a codebook to which every vector belongs **in part**;
# - a model of your own, judged by its bound.
#
# **20 points, about two and a half hours.** Six gaps are graded automatically (18 points), a question by a person (2
# points).
#
# ## How it works
#
# - Write your answer where it says `raise NotImplementedError`. Keep the names and arguments of the functions.
# - The cell after each gap tests your answer and says what is wrong. When you hand in, further tests run on other
#   inputs.
# - Arrays arrive as NumPy `float32`. Return NumPy arrays or TensorFlow tensors, in `float32` or `float64`, as you like.
#   Do not change the arrays that come in.
# - Gaps 3 and 4 are also **differentiated**. Compute there with TensorFlow only. An argument that is differentiated
#   by is then a tensor; the others stay as they are.
# - Each gap is tested on its own, from given values. If your answer calls your function from an earlier gap, make that
#   one pass first.
#
# **Letters:** B images of a batch, N of a data set (in gap 5, $N_k$ counts), L latent units, K codes of C numbers each,
# M codebooks; rows are images. All logarithms are natural, so all information is in nats. $\operatorname{sg}[\cdot]$ is
# `tf.stop_gradient`: the value as it is, with derivative zero.

# %% setup

# %% given="imports"
import numpy as np
import tensorflow as tf
from scipy.special import logsumexp, softmax
from scipy.stats import norm

from utils import datasets, gradients, stattests

# %% [markdown] given="ladder_task"
# ## 1 · Layers
#
# ### Gap 1 · The KL divergence of a ladder, without sampling (3 points)
#
# Two layers, $z_2$ on top. All distributions are Gaussian with diagonal covariances, and the means of the lower layer are
# linear in $z_2$:
#
# $$\begin{aligned} p(z_2) &= \mathcal{N}(0, I), & p(z_1 \mid z_2) &= \mathcal{N}(A z_2 + a,\; \operatorname{diag} t^2), \\
# q(z_2 \mid x) &= \mathcal{N}(m, \operatorname{diag} s^2), & q(z_1 \mid z_2, x) &= \mathcal{N}(G z_2 + g,\;
# \operatorname{diag} v^2). \end{aligned}$$
#
# In the bound stand two terms,
#
# $$\text{kl}_2 = \operatorname{KL}\bigl(q(z_2 \mid x) \,\|\, p(z_2)\bigr), \qquad
# \text{kl}_1 = \mathbb{E}_{q(z_2 \mid x)} \operatorname{KL}\bigl(q(z_1 \mid z_2, x) \,\|\, p(z_1 \mid z_2)\bigr).$$
#
# With networks in place of $A$ and $G$ one puts a sample of $z_2$ into the second term. Here the expectation can
# be computed exactly. Return both terms for each image: $m, s, g, v$ differ from image to image, the others do not.
#
# <details><summary>Hint</summary>
#
# Write down the divergence of $\mathcal{N}(\mu, v^2)$ from $\mathcal{N}(\mu', t^2)$ for one unit. It contains $(\mu -
# \mu')^2$, and only this depends on $z_2$. Coordinate $i$ of $\mu - \mu' = (G - A) z_2 + g - a$ is itself Gaussian. The
# mean of a square is the square of the mean plus the variance.
# </details>


# %% solution="ladder_kl"
def ladder_kl(m, s, g, v, G, A, a, t):
    """m, s: (B, L2), g, v: (B, L1), G, A: (L1, L2), a, t: (L1,) → kl_2 (B,) and kl_1 (B,) in nats.

    s, v and t are standard deviations.
    """
    ### BEGIN SOLUTION
    kl_2 = np.sum((m**2 + s**2 - 1) / 2 - np.log(s), axis=1)
    mean = m @ (G - A).T + g - a  # (B, L1), of μ − μ'
    variance = s**2 @ ((G - A) ** 2).T
    kl_1 = np.sum((mean**2 + variance + v**2) / (2 * t**2) - 0.5 - np.log(v / t), axis=1)
    return kl_2, kl_1
    ### END SOLUTION


# %% test="ladder_kl" points=3
def check_ladder(what, values, kl_2, kl_1):
    """Compare both terms with the right ones."""
    try:
        answer = stattests.call(ladder_kl, *[np.asarray(value, np.float32) for value in values])
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        shapes = "m, s: (B, L2), g, v: (B, L1), G, A: (L1, L2)"
        raise AssertionError(f"the shapes do not fit ({error}): is a transpose missing? {shapes}") from error
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return two arrays: kl_2 and kl_1"
    stattests.assert_close(
        f"kl_2, {what}",
        answer[0],
        kl_2,
        rtol=1e-3,
        atol=1e-3,
        hint="kl_2 belongs to the upper layer and comes first; s, v and t are standard deviations.",
    )
    stattests.assert_close(
        f"kl_1, {what}",
        answer[1],
        kl_1,
        rtol=1e-3,
        atol=2e-3,
        hint="The mean of ((G − A) z2 + g − a)² contains the variance of z2. All of it is divided by t². Check also "
        "log(t/v) and −½.",
    )


m, s = [[0.5, -1.0], [1.0, 0.0], [0.0, 2.0]], [[0.5, 1.0], [0.8, 0.4], [1.0, 1.0]]
g, v = [[0.2, 1.0], [-0.5, 0.3], [1.0, -1.0]], [[0.6, 0.3], [0.5, 1.2], [1.0, 0.5]]
G, A, a, t = [[1.0, 0.5], [-0.3, 2.0]], [[0.4, -0.2], [0.7, 1.0]], [0.1, -0.4], [0.5, 1.5]
check_ladder("an example", (m, s, g, v, G, A, a, t), [0.9431, 1.0394, 2.0], [2.7871, 0.8585, 14.6210])
follows = (m, s, np.tile(a, (3, 1)), np.tile(t, (3, 1)), A, A, a, t)
check_ladder("with q(z1 | z2, x) = p(z1 | z2)", follows, [0.9431, 1.0394, 2.0], [0.0, 0.0, 0.0])
# q: z1 = (z2, 1) + noise; p: z1 is the noise alone
small = ([[0.0]], [[1.0]], [[0.0, 1.0]], [[1.0, 1.0]], [[1.0], [0.0]], [[0.0], [0.0]], [0.0, 0.0], [1.0, 1.0])
check_ladder("with L1 = 2, L2 = 1", small, [0.0], [1.0])
### BEGIN HIDDEN TESTS
# Other values and sizes; a lower layer that follows the prior.


def gaussian_kl(mean_q, cov_q, mean_p, cov_p):
    """KL divergence of two Gaussians with full covariance matrices."""
    away = mean_p - mean_q
    quadratic = np.trace(np.linalg.solve(cov_p, cov_q)) + away @ np.linalg.solve(cov_p, away)
    return (quadratic - len(away) + np.linalg.slogdet(cov_p)[1] - np.linalg.slogdet(cov_q)[1]) / 2


def joint_gaussian(mean, deviation, matrix, shift, noise):
    """Mean and covariance matrix of (z2, z1), where z1 = matrix z2 + shift + noise."""
    top = np.diag(deviation**2)
    covariance = np.block(
        [[top, top @ matrix.T], [matrix @ top, matrix @ top @ matrix.T + np.diag(noise**2)]]
    )
    return np.concatenate([mean, matrix @ mean + shift]), covariance


def check_joint(rng, B, L1, L2, same=False):
    """The two terms add up to the divergence of the joint distributions of (z2, z1), which has a closed form."""
    m, g = rng.normal(size=(B, L2)), rng.normal(size=(B, L1))
    s, v, t = (np.exp(rng.normal(-0.3, 0.4, size=n)) for n in ((B, L2), (B, L1), L1))
    G, A, a = rng.normal(size=(L1, L2)), rng.normal(size=(L1, L2)), rng.normal(size=L1)
    if same:
        G, g, v = A, np.tile(a, (B, 1)), np.tile(t, (B, 1))
    values = [z.astype(np.float32) for z in (m, s, g, v, G, A, a, t)]
    m, s, g, v, G, A, a, t = (z.astype(float) for z in values)
    prior = joint_gaussian(np.zeros(L2), np.ones(L2), A, a, t)
    both = [gaussian_kl(*joint_gaussian(m[b], s[b], G, g[b], v[b]), *prior) for b in range(B)]
    top = [gaussian_kl(m[b], np.diag(s[b] ** 2), np.zeros(L2), np.eye(L2)) for b in range(B)]
    what = "with q(z1 | z2, x) = p(z1 | z2)" if same else f"with L1 = {L1}, L2 = {L2}"
    check_ladder(what, values, top, np.array(both) - top)


rng = stattests.grading_rng("ladder_kl")
check_joint(rng, B=6, L1=4, L2=2)
check_joint(rng, B=1, L1=2, L2=5)
check_joint(rng, B=5, L1=3, L2=3, same=True)
### END HIDDEN TESTS

# %% [markdown] given="information_task"
# ### Gap 2 · Active units by information (3 points)
#
# How much does unit $l$ tell about the image? Its KL divergence is no clean answer: if $q(z_l \mid x)$ is the same for
# all images but is not the prior, the divergence is positive, and the unit tells nothing. The variance of the posterior
# means is no better: it changes when $z_l$ is multiplied by a constant. The **mutual information** of the unit and the
# index $n$ of the image (drawn uniformly) has neither fault. With one sample $z_{nl} = \mu_{nl} + \sigma_{nl}\,
# \xi_{nl}$ for each image it is estimated by
#
# $$I_l = \frac{1}{N} \sum_{n=1}^{N} \left( \log q(z_{nl} \mid x_n) - \log \bar{q}_l(z_{nl}) \right), \qquad
# \bar{q}_l(z) = \frac{1}{N} \sum_{m=1}^{N} q(z_l = z \mid x_m), \qquad
# q(z_l \mid x_n) = \mathcal{N}(\mu_{nl}, \sigma_{nl}^2).$$
#
# The noise $\xi$ is given. $I_l$ is 0 if all images have the same posterior (the unit is inactive), and never above
# $\log N$ (it tells all images apart). As it is an estimate, it can also be slightly negative.
#
# <details><summary>Hint</summary>
#
# $\bar{q}_l$ needs the density of *every* sample under *every* posterior: an array (N, N, L), or a loop over the units
# with arrays (N, N). `logsumexp(..., axis=...)` sums over the posteriors. Compute $(z - \mu) / \sigma$ before you
# square: in `float32` the expanded square loses its digits where $\sigma$ is small.
# </details>


# %% solution="unit_information"
def unit_information(mu, sigma, noise):
    """mu, sigma, noise: (N, L) → the information of each unit (L,) in nats."""
    ### BEGIN SOLUTION
    z = mu + sigma * noise
    away = (z[:, None] - mu) / sigma  # (N samples, N posteriors, L)
    log_q = -(away**2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2
    log_own = np.einsum("nnl->nl", log_q)
    log_mean = logsumexp(log_q, axis=1) - np.log(len(mu))
    return np.mean(log_own - log_mean, axis=0)
    ### END SOLUTION


# %% test="unit_information" points=3
def check_information(mu, sigma, noise, exact, what):
    """Compare with the right values."""
    values = [np.asarray(z, np.float32) for z in (mu, sigma, noise)]
    found = stattests.call(unit_information, *values)
    off = np.asarray(found, float) - exact if np.shape(found) == np.shape(exact) else np.zeros(1)
    assert np.abs(off).max() < 0.05 or np.ptp(off) > 1e-3 or len(off) == 1, (
        f"{what}: all units are off by the same {off[0]:.3f}. Is a constant missing? log N is {np.log(len(mu)):.3f}"
    )
    stattests.assert_close(
        f"the information, {what}",
        found,
        exact,
        rtol=2e-3,
        atol=2e-3,
        hint=f"{len(mu)} images, {len(values[0][0])} units. The own posterior at the own sample, minus the log of the mean "
        "density over all posteriors at that sample; σ differs between posteriors.",
    )


def three_units(rng, N):
    """A unit that says something, one that is the same for all images, one that tells all images apart."""
    mu = np.stack([rng.normal(size=N), np.full(N, 3.0), np.arange(N)], axis=1)
    return mu, np.tile([0.5, 0.1, 0.01], (N, 1)), rng.normal(size=(N, 3))


mu = [[0.0, 1.0, 0.0], [2.0, 1.5, 0.1], [-1.0, 1.0, -0.1], [0.5, 2.0, 0.0]]
sigma = [[0.5, 1.0, 0.8], [1.0, 0.2, 1.0], [0.3, 0.5, 1.2], [0.4, 0.8, 1.0]]
noise = [[0.3, -1.2, 1.5], [-0.6, 0.8, -1.3], [1.1, 0.1, 0.2], [-0.2, 1.4, -1.6]]
check_information(mu, sigma, noise, [0.9221, 0.9548, -0.1027], "an example")
# in float32 an expanded square loses its digits here
check_information(
    np.array(mu) + 1000, sigma, noise, [0.9221, 0.9548, -0.1027], "the example with all means moved by 1000"
)
mu, sigma, noise = (z.astype(np.float32) for z in three_units(np.random.default_rng(1), 50))
information = np.asarray(stattests.call(unit_information, mu, sigma, noise))
stattests.assert_close(
    "the information of a unit that is the same for all images", information[1], 0, atol=1e-3
)
stattests.assert_close(
    "the information of a unit that tells all apart", information[2], np.log(50), rtol=1e-3
)
print("unit              0      1      2")
for name, row in {
    "mean KL      ": np.mean((mu**2 + sigma**2 - 1) / 2 - np.log(sigma), axis=0),
    "variance of μ": mu.var(axis=0),
    "information  ": information,
}.items():
    print(name, " ".join(f"{value:6.2f}" for value in row))
print(f"log 50 = {np.log(50):.2f}")
### BEGIN HIDDEN TESTS
# Other posteriors and sizes; the three units, and all of them in other units of length or moved, which changes nothing.


def compare_information(mu, sigma, noise, what):
    """Compare with densities of scipy, one unit and one sample at a time."""
    exact = []
    for mean, deviation, xi in zip(*(np.asarray(z, np.float32).astype(float).T for z in (mu, sigma, noise))):
        z = mean + deviation * xi
        own = norm.logpdf(z, mean, deviation)
        aggregate = [logsumexp(norm.logpdf(point, mean, deviation)) - np.log(len(z)) for point in z]
        exact.append(np.mean(own - aggregate))
    check_information(mu, sigma, noise, exact, what)


def random_posteriors(rng, N, L):
    return rng.normal(size=(N, L)), np.exp(rng.normal(-1, 0.5, size=(N, L))), rng.normal(size=(N, L))


rng = stattests.grading_rng("unit_information")
compare_information(*random_posteriors(rng, 9, 4), "random posteriors")
compare_information(*random_posteriors(rng, 30, 1), "one unit")
mu, sigma, noise = three_units(rng, 40)
compare_information(mu, sigma, noise, "three units")
compare_information(1000 * mu, 1000 * sigma, noise, "three units in other units of length")
mu, sigma, noise = random_posteriors(rng, 12, 3)
compare_information(mu + 1000, sigma, noise, "all means moved by 1000")
alike = (
    rng.normal(0, 0.1, size=(8, 5)),
    np.exp(rng.normal(0, 0.1, size=(8, 5))),
    rng.choice([-1.5, 1.5], (8, 5)),
)
compare_information(*alike, "posteriors that are nearly the same: the estimate may be negative")
### END HIDDEN TESTS

# %% [markdown] given="fsq_task"
# ## 2 · Codes
#
# ### Gap 3 · Finite scalar quantisation (3 points)
#
# As in the preparation, $z_e$ is what the encoder gives and $z_q$ what the decoder gets. This quantiser (Mentzer et
# al., 2024, *Finite scalar quantization: VQ-VAE made simple*, ICLR) has no codebook, so there is nothing to learn and nothing that could die. Each unit is bounded by tanh and rounded to one of
# $K_l$ equally spaced values from −1 to 1:
#
# $$u_l = (K_l - 1)\, \frac{1 + \tanh z_{e,l}}{2}, \qquad z_{q,l} = \frac{2 \operatorname{round}(u_l)}{K_l - 1} - 1.$$
#
# With $K = (3, 5)$ there are $3 \cdot 5 = 15$ codes. The derivative of rounding is 0 almost everywhere. Use
# straight-through for the rounding **alone**: in the derivative the rounding counts as the identity, and everything else
# counts as it is. (Round with `tf.round`: `np.round` takes no tensor inside a `tf.function`, where gap 6 may use this.)


# %% solution="fsq"
def fsq(z_e, levels):
    """z_e: (B, L), levels: (L,) integers, each 2 or more, as float32 → z_q (B, L), differentiable by z_e."""
    ### BEGIN SOLUTION
    steps = tf.cast(levels, tf.float32) - 1
    u = steps * (1 + tf.tanh(z_e)) / 2
    u = u + tf.stop_gradient(tf.round(u) - u)
    return 2 * u / steps - 1
    ### END SOLUTION


# %% test="fsq" points=3
def compare_fsq(e, levels, exact, slope):
    """z_q and its derivative for inputs e: (B, L)."""
    e, counts = np.asarray(e, np.float32), np.array(levels, np.float32)
    stattests.assert_close(
        f"z_q with levels {levels}",
        stattests.call(fsq, e, counts),
        exact,
        atol=1e-4,
        hint="Round to the nearest of K values from −1 to 1; are there K − 1 steps between them?",
    )
    (found,) = gradients.grad_of(fsq, [e.copy(), counts.copy()])
    assert found is not None, (
        "no gradient reaches z_e: was all of it computed by TensorFlow (np.round is not), and is the rounding passed by?"
    )
    stattests.assert_close(
        f"the derivative of z_q with levels {levels}",
        found,
        slope,
        rtol=1e-3,
        atol=1e-3,
        hint="The rounding counts as the identity, the tanh does not.",
    )


e = [[0.3, -0.2], [-1.1, 1.2], [2.0, -0.6]]
compare_fsq(
    e,
    [3, 5],
    [[0.0, 0.0], [-1.0, 1.0], [1.0, -0.5]],
    [[0.91514, 0.96104], [0.3592, 0.30502], [0.07065, 0.71158]],
)
# each unit on its own: two levels are the two signs, and 0 is one of three, five, seven levels
compare_fsq([[0.7, -0.01, 0.05]], [2, 2, 7], [[1, -1, 0]], [[0.634740, 0.999900, 0.997504]])
### BEGIN HIDDEN TESTS
# Other inputs and numbers of levels, even and odd.


def check_fsq(rng, B, levels):
    """Compare with a search for the nearest of the allowed values; no input is near the middle between two."""
    k = np.stack([rng.integers(n, size=B) for n in levels], axis=1)
    steps = np.array(levels) - 1
    u = np.clip(k + rng.uniform(-0.4, 0.4, size=k.shape), 0.03, steps - 0.03)
    e = np.arctanh(2 * u / steps - 1).astype(np.float32)
    bounded = np.tanh(e.astype(float))
    exact = np.zeros(e.shape)
    for i, n in enumerate(levels):
        allowed = np.linspace(-1, 1, n)
        exact[:, i] = allowed[np.abs(bounded[:, i : i + 1] - allowed).argmin(axis=1)]
    compare_fsq(e, levels, exact, 1 - bounded**2)


rng = stattests.grading_rng("fsq")
check_fsq(rng, B=5, levels=[2, 4, 7])
check_fsq(rng, B=8, levels=rng.integers(2, 9, size=4).tolist())
check_fsq(rng, B=1, levels=[6])
check_fsq(rng, B=6, levels=rng.integers(3, 6, size=2).tolist())
### END HIDDEN TESTS

# %% [markdown] given="residual_task"
# ### Gap 4 · Residual quantisation (4 points)
#
# One codebook with $K^M$ codes is soon too large to search. M small ones with $K$ codes each do it in turn: each
# quantises what the ones before have left over (in a learned codec: SoundStream, Zeghidour et al., 2021). With $r_0 = z_e$, for $m = 1, \dots, M$,
#
# $$e_m = \text{the code of codebook } m \text{ nearest to } r_{m-1}, \qquad r_m = r_{m-1} - \operatorname{sg}[e_m],$$
#
# and the result is $\sum_m e_m$. (This is not always the best of the $K^M$ sums: the search is greedy.) Return
#
# - $z_q = \sum_m e_m$, with straight-through: the gradient of $z_q$ passes to $z_e$ unchanged, and nothing of *this*
#   gradient reaches the codebooks;
# - the loss
#
# $$J = \frac{1}{B} \sum_{b=1}^{B} \sum_{m=1}^{M} \Bigl( \bigl\lVert \operatorname{sg}[r_{m-1}] - e_m \bigr\rVert^2 +
# \beta\, \bigl\lVert r_{m-1} - \operatorname{sg}[e_m] \bigr\rVert^2 \Bigr),$$
#
# whose first part moves codes only, and whose second part moves the encoder only. (Row $b$ has its own $r_m$ and $e_m$;
# the index is left out.)
#
# <details><summary>Hint</summary>
#
# For one codebook: squared distances (B, K), `tf.argmin`, `tf.gather`. Repeat this in a loop over the codebooks, where
# the residual takes the place of $z_e$. Straight-through comes once, at the end.
# </details>


# %% solution="residual_quantise"
def residual_quantise(z_e, codebooks, beta):
    """z_e: (B, C), codebooks: (M, K, C), beta: number → z_q (B, C) and the loss J, both differentiable."""
    ### BEGIN SOLUTION
    r, z_q, loss = z_e, 0.0, 0.0
    for m in range(len(codebooks)):
        distances = tf.reduce_sum((r[:, None] - codebooks[m]) ** 2, axis=2)  # (B, K)
        e = tf.gather(codebooks[m], tf.argmin(distances, axis=1))  # (B, C)
        codes = tf.reduce_sum((tf.stop_gradient(r) - e) ** 2, axis=1)
        commitment = tf.reduce_sum((r - tf.stop_gradient(e)) ** 2, axis=1)
        loss += tf.reduce_mean(codes + beta * commitment)
        r = r - tf.stop_gradient(e)
        z_q += e
    return z_e + tf.stop_gradient(z_q - z_e), loss
    ### END SOLUTION


# %% test="residual_quantise" points=4
def compare_residual(what, values, q, loss, d_e, d_codebooks):
    """z_q, J, and the gradients of (the sum of z_q) + J."""
    z_e, codebooks = (np.asarray(x, np.float32) for x in values[:2])
    answer = stattests.call(residual_quantise, z_e, codebooks, values[2])
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return z_q and the loss"
    stattests.assert_close(
        f"z_q {what}", answer[0], q, atol=1e-3, hint="Each codebook quantises what is left over."
    )
    stattests.assert_close(
        f"J {what}", answer[1], loss, rtol=1e-3, hint="Sums over units and codebooks, a mean over B."
    )
    found = gradients.grad_of(residual_quantise, [z_e.copy(), codebooks.copy(), values[2]], wrt=[0, 1])
    hints = {
        "z_e": "z_q must give 1 everywhere, the first part of J nothing, the second 2 beta/B Σ r_m.",
        "codebooks": "z_q and the second part of J must give nothing, the first −2/B Σ r_m.",
    }
    for (name, hint), gradient, exact in zip(hints.items(), found, (d_e, d_codebooks)):
        assert gradient is not None, f"no gradient reaches {name}"
        where = f"the gradient of (the sum of z_q) + J with respect to {name}, {what}"
        stattests.assert_close(where, gradient, exact, rtol=2e-3, atol=1e-3, hint=hint)


z_e = [[1.1, 0.3], [-0.4, 1.0], [0.1, -1.3]]
codebooks = [
    [[1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [2.5, 1.0]],
    [[0.3, 0.3], [-0.5, 0.1], [0.1, -0.4], [1.0, 1.0]],
]
# one codebook, β = 0: only z_q can reach z_e
d_first = [[[-0.06667, -0.2], [0.26667, 0.0], [-0.06667, 0.2], [0.0, 0.0]]]
compare_residual(
    "with one codebook, beta = 0",
    (z_e, codebooks[:1], 0.0),
    [[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]],
    0.12,
    np.ones((3, 2)),
    d_first,
)
d_both = [*d_first, [[0.13333, 0.0], [-0.06667, 0.06667], [0.0, -0.06667], [0.0, 0.0]]]
d_e = [[0.98, 1.06], [0.94, 0.98], [1.02, 0.96]]
compare_residual(
    "with two, beta = 0.3",
    (z_e, codebooks, 0.3),
    [[1.3, 0.3], [-0.5, 1.1], [0.1, -1.4]],
    0.18633,
    d_e,
    d_both,
)
### BEGIN HIDDEN TESTS
# Other sizes, codebooks and values of beta.


def random_codebooks(rng, B, M, K, C):
    """Rows and codebooks without near ties: each row's nearest code is nearer by a margin, at each stage."""
    codebooks = (rng.normal(size=(M, K, C)) * 0.6 ** np.arange(M)[:, None, None]).astype(np.float32)
    rows = []
    while len(rows) < B:
        r = row = rng.normal(size=C).astype(np.float32)
        clear = True
        for codebook in codebooks.astype(float):
            distances = np.sum((r - codebook) ** 2, axis=1)
            clear &= K == 1 or np.diff(np.sort(distances)[:2])[0] > 0.02
            r = r - codebook[distances.argmin()]
        if clear:
            rows.append(row)
    return np.array(rows), codebooks


def check_residual(rng, B, M, K, C, beta):
    """Compare with a search row by row, and with the derivatives in closed form."""
    z_e, codebooks = random_codebooks(rng, B, M, K, C)
    q, loss = np.zeros((B, C)), 0.0
    d_e, d_codebooks = np.ones((B, C)), np.zeros((M, K, C))  # the ones: z_q passes unchanged
    for b in range(B):
        r = z_e[b].astype(float)
        for m in range(M):
            k = min(range(K), key=lambda k: np.sum((r - codebooks[m, k]) ** 2))
            r = r - codebooks[m, k]
            q[b] += codebooks[m, k]
            loss += (1 + beta) * np.sum(r**2) / B
            d_e[b] += 2 * beta * r / B
            d_codebooks[m, k] -= 2 * r / B
    what = f"with {M} codebook{'s' if M > 1 else ''} of {K} codes, beta = {beta:.2f}"
    compare_residual(what, (z_e, codebooks, beta), q, loss, d_e, d_codebooks)


rng = stattests.grading_rng("residual_quantise")
check_residual(rng, B=5, M=3, K=4, C=2, beta=0.25)
check_residual(rng, B=6, M=2, K=5, C=3, beta=0.0)
check_residual(rng, B=4, M=4, K=3, C=2, beta=float(rng.uniform(0.2, 0.6)))
check_residual(rng, B=1, M=3, K=6, C=1, beta=1.0)
### END HIDDEN TESTS

# %% [markdown] given="soft_task"
# ### Gap 5 · A moving average with soft codes (2 points)
#
# The preparation's codes follow the vectors that chose them. Here a vector belongs to *every* code in part. Counts
# $N_k > 0$ and sums $m_k$ are kept as before, and code $k$ is $m_k / N_k$. For the vectors $z_b$ of a batch:
#
# 1. **Shares:** $\displaystyle r_{bk} = \frac{w_{bk}}{\sum_{j=1}^{K} w_{bj}}$ with $\displaystyle w_{bk} = N_k
#    \exp\left(-\frac{\lVert z_b - m_k / N_k \rVert^2}{2 \tau}\right)$.
# 2. **Update** with decay $\gamma$: $N_k \leftarrow \gamma N_k + (1 - \gamma) \sum_b r_{bk}$ and
#    $m_k \leftarrow \gamma m_k + (1 - \gamma) \sum_b r_{bk}\, z_b$.
#
# With $\tau \to 0$ this is the preparation's update. With $\gamma = 0$ it is one step of EM (week 1) for a mixture of
# Gaussians with covariance $\tau I$, held fixed. For a vector far from all codes the exponentials may *all* be 0 in the
# computer, and the shares must still be right.
#
# <details><summary>Hint</summary>
#
# The shares are the softmax of $\log w_{bk}$ over the codes: `scipy.special.softmax` or `tf.nn.softmax`.
# </details>


# %% solution="soft_update"
def soft_update(N, m, z, tau, gamma):
    """N: (K,), m: (K, C), z: (B, C), tau and gamma: numbers → the shares r (B, K), the new N (K,) and m (K, C)."""
    ### BEGIN SOLUTION
    distances = np.sum((z[:, None] - m / N[:, None]) ** 2, axis=2)  # (B, K)
    r = softmax(np.log(N) - distances / (2 * tau), axis=1)
    return r, gamma * N + (1 - gamma) * r.sum(axis=0), gamma * m + (1 - gamma) * r.T @ z
    ### END SOLUTION


# %% test="soft_update" points=2
def check_soft(what, values, right):
    """Compare shares, counts and sums with the right ones."""
    try:
        answer = stattests.call(soft_update, *[np.asarray(x, np.float32) for x in values[:3]], *values[3:])
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        shapes = "N: (K,), m: (K, C), z: (B, C)"
        raise AssertionError(f"the shapes do not fit ({error}): is a transpose missing? {shapes}") from error
    assert isinstance(answer, (tuple, list)) and len(answer) == 3, "return three arrays: the shares, N and m"
    hints = {
        "the shares": "Each row sums to 1, N weighs the codes, the squared distance is divided by 2 tau.",
        "N": "Old counts times gamma, sums over the batch times 1 − gamma.",
        "m": "A sum of vectors, each times its share; no division by counts.",
    }
    for (name, hint), value, exact in zip(hints.items(), answer, right):
        stattests.assert_close(f"{name}, {what}", value, exact, rtol=3e-3, atol=2e-3, hint=hint)


N, m = [2.0, 0.5, 1.0], [[2.0, -1.0], [0.5, 1.0], [-1.5, 0.5]]
z = [[0.5, 0.0], [-1.0, 1.5], [2.0, 1.0], [0.0, 0.5]]
shares = [
    [0.9510, 0.0163, 0.0326],
    [0.0150, 0.0546, 0.9304],
    [0.6207, 0.3789, 0.0004],
    [0.6576, 0.0673, 0.2750],
]
new_N, new_m = [2.0489, 0.5034, 1.0477], [[1.9404, -0.6056], [0.5423, 0.8989], [-1.3827, 0.7067]]
check_soft("an example", (N, m, z, 0.7, 0.8), (shares, new_N, new_m))
# codes −1 and 1 in one dimension: the first is nearer by far, and both exponentials are 0 in the computer
check_soft("far away", ([1.0, 1.0], [[-1.0], [1.0]], [[-100.0]], 1.0, 0.0), ([[1, 0]], [1, 0], [[-100], [0]]))
# codes (−1, 0) and (1, 0), equally far from both vectors, one of which is far away: the counts decide
middle = ([1.0, 3.0], [[-1.0, 0.0], [3.0, 0.0]], [[0.0, 0.0], [0.0, 100.0]], 1.0, 0.0)
check_soft("in the middle", middle, ([[0.25, 0.75], [0.25, 0.75]], [0.5, 1.5], [[0, 25], [0, 75]]))
### BEGIN HIDDEN TESTS
# Other sizes, values of τ and decays; vectors so far away that all exponentials of a row are 0.


def compare_soft(rng, B, K, C, tau, gamma, far=0.0):
    """Compare with loops, in which the weights of a row are divided by the largest; far: added to the vectors."""
    N, codes, z = rng.uniform(0.3, 3, size=K), rng.normal(size=(K, C)), far + 1.5 * rng.normal(size=(B, C))
    values = [x.astype(np.float32) for x in (N, N[:, None] * codes, z)]
    N, m, z = (x.astype(float) for x in values)
    r, new_N, new_m = np.zeros((B, K)), gamma * N, gamma * m
    for b in range(B):
        log_w = [np.log(N[k]) - sum((z[b] - m[k] / N[k]) ** 2) / (2 * tau) for k in range(K)]
        w = [np.exp(value - max(log_w)) for value in log_w]
        for k in range(K):
            r[b, k] = w[k] / sum(w)
            new_N[k] += (1 - gamma) * r[b, k]
            new_m[k] += (1 - gamma) * r[b, k] * z[b]
    what = f"with {K} codes, tau = {tau:.3g}, gamma = {gamma:.2f}" + (", vectors far away" if far else "")
    check_soft(what, (*values, tau, gamma), (r, new_N, new_m))


rng = stattests.grading_rng("soft_update")
compare_soft(rng, B=7, K=5, C=2, tau=float(rng.uniform(0.3, 1)), gamma=float(rng.uniform(0.6, 0.9)))
compare_soft(rng, B=3, K=6, C=1, tau=float(rng.uniform(1, 3)), gamma=0.0)
compare_soft(rng, B=8, K=2, C=4, tau=float(rng.uniform(0.8, 1.2)), gamma=0.5, far=-30.0)
### END HIDDEN TESTS

# %% [markdown] given="train_task"
# ## 3 · A model with codes
#
# ### Gap 6 · Train a model with scalar codes, and its prior (3 points)
#
# The data are the scans with a lower threshold: ink is a grey level of 4 or more. Given are the networks, their start,
# and the training loop, `minimise`. The encoder maps an image to $z_e$ with four units; gap 3 with four levels for each
# makes it one of $4^4 = 256$ codes; the decoder maps $z_q$ to the logits of 64 independent pixels. Yours are
#
# - the **loss** of a batch, the mean over its images of $\; -\log p(x \mid c(x)) + 0.2\, \lVert z_e \rVert^2$. (The second
#   term keeps tanh away from its flat ends, where a unit gets stuck.) A function of the batch alone goes to
#   `minimise(loss, weights, x_train, seed)`;
# - the **prior** over the codes after the training: a table of shape (4, 4, 4, 4) that sums to 1, with `prior[k1, k2, k3, k4]`
#   for the code $k_l = \operatorname{round}(u_l)$ of gap 3.
#
# You hand over weights and prior; the test computes, for images $x$ with code $c(x)$, the bound
#
# $$\log p(x) = \log \sum_c p(c)\, p(x \mid c) \;\ge\; \log p(c(x)) + \log p(x \mid c(x)).$$
#
# You pass with a mean bound of at least **−20.0 nats per image** on new images (independent pixels reach −25.6; the
# threshold leaves room for bad luck), and with a prior that is better than a uniform one by at least 40 % of what smoothed
# frequencies of the training codes gain: a few tenths of a nat, for the codes are used almost evenly. New images may have
# codes that no training image has. `start_weights(np.random.default_rng(seed))` makes the eight variables. Judged with
# `seed=0` only; the test permutes the pixels, so use the argument `x_train`, not `ink_train`. It takes less than 20 seconds.
#
# <details><summary>Hint</summary>
#
# - **The loss:** $-\log p(x \mid c)$ is the *sum* over the pixels of `tf.nn.sigmoid_cross_entropy_with_logits`. If gap 3
#   passes, you may use your `fsq(z_e, np.array(LEVELS, np.float32))`.
# - **The prior:** `levels_of(x_train, weights)` gives the codes $k$, (N, 4); count them, beginning at about a half each.
#   `a[tuple(k.T)] += 1` counts a code only once, `np.add.at(a, tuple(k.T), 1)` each time.
# </details>

# %% given="ink"
grey = datasets.digits("grey")
ink_train, ink_validation = (
    (part >= 4).astype(np.float32) for part in (grey.train, grey.validation)
)  # (N, 64)
LEVELS = (4, 4, 4, 4)
SHAPES = [(64, 64), (64,), (64, 4), (4,), (4, 64), (64,), (64, 64), (64,)]


def start_weights(rng):
    """Matrices at random, of entries about 1/√(number of inputs), the rest 0: a list of eight variables, float32."""
    start = [rng.normal(size=s) / np.sqrt(s[0]) if len(s) == 2 else np.zeros(s) for s in SHAPES]
    return [tf.Variable(w.astype(np.float32)) for w in start]


def encode(x, weights):
    """x: (B, 64), weights: eight arrays or variables of x's dtype → z_e (B, 4)."""
    W1, b1, W2, b2 = weights[:4]
    return tf.matmul(tf.nn.relu(tf.matmul(x, W1) + b1), W2) + b2


def decode(z_q, weights):
    """z_q: (B, 4), weights: as above → logits of the pixels (B, 64)."""
    W3, b3, W4, b4 = weights[4:]
    return tf.matmul(tf.nn.relu(tf.matmul(z_q, W3) + b3), W4) + b4


def levels_of(x, weights):
    """x: (B, 64) → the code of each image as four level numbers k from 0 to 3, (B, 4) int."""
    z_e = encode(x.astype(float), [np.asarray(w, float) for w in weights])
    return np.rint(3 * (1 + np.tanh(z_e)) / 2).astype(int)


def minimise(loss, weights, x_train, seed, steps=1500, B=100):
    """Adam changes the weights so that loss(x), a number for a batch x (B, 64), becomes small."""
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(0.01, steps))
    optimizer.build(weights)
    rows = np.random.default_rng(seed + 1).integers(len(x_train), size=(steps, B))
    data, rows = tf.constant(x_train), tf.constant(rows)

    @tf.function
    def run():  # all steps in one graph
        for t in tf.range(steps):
            with tf.GradientTape() as tape:
                value = loss(tf.gather(data, rows[t]))
            optimizer.apply_gradients(zip(tape.gradient(value, weights), weights))

    run()


def two_parts(x, weights, prior):
    """x: (B, 64) → log p(c(x)), log p(x | c(x)) and, summed over all 256 codes, log p(x): each (B,) in nats."""
    weights = [np.asarray(w, float) for w in weights]
    log_prior = np.log(np.ravel(prior) / np.sum(prior))
    all_codes = np.stack(np.unravel_index(np.arange(256), LEVELS), axis=1)  # (256, 4)
    logits = decode(2 * all_codes / 3 - 1, weights).numpy()  # (256, 64)
    logpx_c = x @ logits.T - np.logaddexp(0, logits).sum(axis=1)  # (B, 256)
    number = np.ravel_multi_index(levels_of(x, weights).T, LEVELS)  # (B,)
    return log_prior[number], logpx_c[np.arange(len(x)), number], logsumexp(log_prior + logpx_c, axis=1)


# %% solution="train_codes"
def train_codes(x_train, seed):
    """x_train: (N, 64) binary → a list of eight arrays with the shapes SHAPES, and the prior (4, 4, 4, 4)."""
    ### BEGIN SOLUTION
    weights = start_weights(np.random.default_rng(seed))

    def loss(x):
        z_e = encode(x, weights)
        u = 3 * (1 + tf.tanh(z_e)) / 2
        u = u + tf.stop_gradient(tf.round(u) - u)
        logits = decode(2 * u / 3 - 1, weights)
        minus_logpx_c = tf.nn.sigmoid_cross_entropy_with_logits(x, logits)  # (B, 64)
        penalty = 0.2 * tf.reduce_sum(z_e**2, axis=1)  # keeps tanh away from its flat ends
        return tf.reduce_mean(tf.reduce_sum(minus_logpx_c, axis=1) + penalty)

    minimise(loss, weights, x_train, seed)
    k = levels_of(x_train, weights)  # (N, 4)
    counts = np.full(LEVELS, 0.5)
    np.add.at(counts, tuple(k.T), 1)
    return [w.numpy() for w in weights], counts / counts.sum()
    ### END SOLUTION


# %% test="train_codes" points=3
shuffled = np.random.default_rng(0).permutation(
    64
)  # another order of the pixels: only x_train itself is of use
train_images, validation_images = ink_train[:, shuffled], ink_validation[:, shuffled]
answer = stattests.call(train_codes, train_images, 0)
assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return two things: the weights and the prior"
assert isinstance(answer[0], (tuple, list)) and len(answer[0]) == 8, "the weights are a list of eight arrays"
code_weights = [
    stattests.assert_array(f"weight {i}", value, shape, most=1000)
    for i, (value, shape) in enumerate(zip(answer[0], SHAPES))
]
code_prior = stattests.assert_array("the prior", answer[1], LEVELS).astype(float)
assert abs(code_prior.sum() - 1) < 1e-3, f"the prior sums to {code_prior.sum():.4f}, 1 expected"
assert code_prior.min() > 0, (
    f"{np.sum(code_prior <= 0)} of 256 codes have probability 0 (or less): an image with such a code is impossible, its log p −∞"
)


def check_codes(x, part, needed):
    """The bound of images x, and what the prior gains, both from weights and prior alone."""
    logp_c, logpx_c, exact = (float(np.mean(v)) for v in two_parts(x, code_weights, code_prior))
    gain, bound = logp_c + np.log(256), logp_c + logpx_c
    print(
        f"{part}: log p(c) {logp_c:.2f}, log p(x | c) {logpx_c:.2f}, the bound {bound:.2f}, "
        f"log p(x), summed over all codes, {exact:.2f} nats per image"
    )
    assert bound >= -20.0, (
        f"{part}: the bound is {bound:.2f} nats per image, at least −20.00 expected. Is the loss summed over pixels, not "
        "averaged? Is the decoder trained on z_q, does the gradient reach the encoder, is the prior that of the codes of "
        "the training images?"
    )
    assert gain >= needed, (
        f"{part}: the prior gains {gain:.3f} nats per image against a uniform one, at least {needed:.3f} expected. Is the "
        "prior counted with these weights, its axes in the order of the units, smoothed, and joint over the four units, "
        "not a product?"
    )


check_codes(validation_images, "validation part", 0.05)  # little: the hidden tests ask for more
### BEGIN HIDDEN TESTS
# Validation and test images, against smoothed frequencies.
# The threshold is empirical: over 60 seeds the reference reaches −18.79 to −17.97 on the validation part and −18.83 to −18.14
# on the test images. The worst minus the range is −19.60 and −19.52; −20.0 leaves more room, for other ways to train. Smoothed
# frequencies gain 0.19 to 0.42 nats, with 0.1 to 2.5 added to the counts always half of that or more.
for x, part in [
    (validation_images, "validation part"),
    ((grey.test >= 4).astype(np.float32)[:, shuffled], "unseen images"),
]:
    frequencies = np.full(LEVELS, 0.5)
    np.add.at(frequencies, tuple(levels_of(train_images, code_weights).T), 1)
    simple = np.mean(two_parts(x, code_weights, frequencies)[0]) + np.log(256)
    # a uniform prior gains 0, and must not pass where frequencies gain nothing
    check_codes(x, part, 0.4 * max(simple, 0.1))
### END HIDDEN TESTS

# %% [markdown] given="argue_task"
# ## 4 · A question to argue (2 points)
#
# A VQ-VAE for binary digits has 4 positions with K = 64 codes each; it was trained on N = 1,197 images. On the
# validation part it has $\log p(x \mid c(x)) = -6.0$ nats per image. "A VAE has an ELBO of −17.4, a mixture −17.3. Ours
# is better by 11 nats."
#
# 1. What is missing? Give the bound with a uniform prior over the codes. ($\log 64 \approx 4.16$.)
# 2. At each position the perplexity of the codes is 20. What does the bound become with a prior that knows the
#    frequencies at each position, and nothing more? ($\log 20 \approx 3.00$; take the frequencies of training and
#    validation part as equal.) In which direction can a prior with memory, $p(c_1)\, p(c_2 \mid c_1) \cdots$, change it?
# 3. "Then K = 4096 codes at each position: reconstructions become nearly perfect, the problem is solved." In the extreme
#    each training image has a combination of codes of its own, and $\log p(x \mid c(x)) = 0$. What is the bound on the training images, with a uniform
#    prior and with one fitted to the training codes, and what on new images? ($\log 4096 \approx 8.32$, $\log 1197 \approx
#    7.09$.)
#
# Answer in about 150 words; 15 minutes.

# %% [markdown] argue="argue_rate" points=2
# ### BEGIN SOLUTION
# 1. The cost of the code, $\log p(c(x))$. The ELBO contains its counterpart, the KL term. Uniform: $-6.0 - 4 \cdot 4.16 =
#    -22.6$ nats. The bound is 5 nats below the mixture; only an exact value could decide.
# 2. With the right frequencies a position costs its entropy on average, the log of the perplexity: $-6.0 - 4 \cdot 3.00
#    = -18.0$. The code positions of an image depend on each other, and a prior with memory can use this: the joint
#    entropy is at most the sum of the four. So the bound can rise above −18.0, in principle; it cannot fall, if the
#    conditional probabilities are right. In practice they are estimated: 64 · 64 pairs from 1,197 images need
#    smoothing, and a prior that overfits costs nats on validation images. Whether the model beats the mixture must be
#    measured.
# 3. $\log p(x \mid c(x))$ rises towards 0 and $\log p(c(x))$ falls; only their sum counts. In the extreme each training
#    image has a combination of codes of its own, which says which image it is. With a uniform prior the bound is then
#    $-4 \cdot 8.32 = -33.3$. With a prior fitted to the training codes it is never below $-\log 1197 \approx -7.1$ on
#    training images, which looks wonderful; but it falls on new images. Each gets a code that the prior has never seen,
#    or the code of another image: nothing bounds its value from below. The model has learned by heart.
#
# **Rubric.** ½ for the missing rate and −22.6; ½ for −18.0; ½ for "dependence can only lower the cost" (better
# still: "but must be learned from few data"); ½ for the extreme case, good on training images and worthless on new ones (its
# numbers are not needed for it).
# ### END SOLUTION

# %% [markdown] given="end"
# ---
# Before you hand in: *Kernel → Restart Kernel and Run All Cells*, then the **Validate** button. It runs the
# visible tests.
