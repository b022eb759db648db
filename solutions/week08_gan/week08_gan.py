# %% [markdown] given="title"
# # Week 8 · Exercise: Other losses, other divergences, other judges
#
# {{colab}}
#
# The preparation's discriminator looked at one image at a time, its optimum was tied to Jensen-Shannon, and eight
# Gaussians on a ring were counted. Here you change all three:
#
# - a discriminator that **compares** a real with a generated image, and a **family of divergences** that one
#   classifier serves;
# - three judges of samples: the **Fréchet distance** with far more features than samples, **covered modes** by a
#   stricter count, and a **kernel test** that tries several widths and still has one honest p-value;
# - a generator of your own that must find **all modes** of a mixture, judged by its samples.
#
# **20 points, about 2½ hours.** Six gaps are graded automatically (18 points), a question by a person (2 points).
#
# ## How it works
#
# - Write your answer where it says `raise NotImplementedError`. Keep the names and arguments of the functions.
# - The cell after each gap tests your answer and says what is wrong. When you hand in, further tests run on other
#   inputs.
# - All arrays of numbers arrive as NumPy `float32` (tensors where the test differentiates), permutations as integers.
#   Return NumPy arrays or TensorFlow tensors, in `float32` or `float64`, as you like (gap 1: TensorFlow). Do not
#   change the arrays that come in.
# - Where chance plays a part in gaps 1 to 5, it is given; nothing is drawn there.
# - Each gap is tested on its own, from given values. If your answer calls your function from an earlier gap, make
#   that one pass first.
#
# **Letters:** M samples of the data, N samples of the model, D features, K modes, P permutations, L latent. Points
# are rows. p is the distribution of the data, q that of the generator.

# %% setup

# %% given="imports"
import keras
import numpy as np
import tensorflow as tf
from scipy.stats import norm

from utils import gradients, stattests

# %% [markdown] given="losses_task"
# ## 1 · Losses and divergences
#
# ### Gap 1 · A discriminator that compares (3 points, 20 minutes)
#
# The preparation's discriminator says of *one* image whether it is real. A **relativistic** one (Jolicoeur-Martineau,
# 2019) says of a *pair* which of the two is: $\sigma(r_i - f_j)$ is its probability that real image i is more real
# than generated image j, where $r_i$ and $f_j$ are the logits of the two. Take **all** pairs of a batch of M real and
# N generated images. The discriminator wants the real image to win, with a smoothed label: $1 - s$ in place of 1. The
# generator wants its own to win, and its label is not smoothed:
#
# $$\mathcal{L}_D = -\frac{1}{MN} \sum_{i=1}^{M} \sum_{j=1}^{N} \Big( (1 - s) \log \sigma(r_i - f_j) + s \log \sigma(f_j - r_i)
# \Big), \qquad \mathcal{L}_G = -\frac{1}{MN} \sum_{i=1}^{M} \sum_{j=1}^{N} \log \sigma(f_j - r_i).$$
#
# Both are minimised. Return the two numbers. Logits of ±1000 must do no harm, neither to the losses nor to their
# gradients. The test differentiates the sum of both by all logits, so compute with TensorFlow from beginning to end
# and stop no gradient.
#
# <details><summary>Hint</summary>
#
# `r[:, None] - f[None, :]` has a row for each real and a column for each generated image. `tf.math.log_sigmoid` does
# not overflow; `tf.math.log(tf.sigmoid(...))` does, and a clipped logarithm has no gradient where it is clipped.
# </details>


# %% solution="relativistic_losses"
def relativistic_losses(real, fake, smooth):
    """real: (M,) and fake: (N,), logits; smooth: number s in [0, 1) → loss_d and loss_g, two numbers in nats."""
    ### BEGIN SOLUTION
    margin = real[:, None] - fake[None, :]  # (M, N)
    real_wins, fake_wins = tf.math.log_sigmoid(margin), tf.math.log_sigmoid(-margin)
    loss_d = -tf.reduce_mean((1 - smooth) * real_wins + smooth * fake_wins)
    return loss_d, -tf.reduce_mean(fake_wins)
    ### END SOLUTION


# %% test="relativistic_losses" points=3
LOSS_HINT = (
    "A mean over all pairs of a real and a generated image; s is the label's smoothing, in the discriminator's loss only. "
    "Who wants whose logit to be larger?"
)


def check_losses(what, real, fake, smooth, exact):
    real, fake = np.asarray(real, np.float32), np.asarray(fake, np.float32)
    answer = stattests.call(relativistic_losses, real, fake, smooth)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return two numbers: loss_d and loss_g"
    for name, value, right in zip(["loss_d", "loss_g"], answer, exact):
        stattests.assert_close(f"{name}, {what}", value, right, rtol=5e-4, atol=1e-4, hint=LOSS_HINT)


def check_loss_gradient(what, real, fake, smooth, exact):
    arguments = [np.array(real, np.float32), np.array(fake, np.float32), smooth]
    found = gradients.grad_of(relativistic_losses, arguments, wrt=[0, 1])
    for name, value, right in zip(["real", "fake"], found, exact):
        assert value is not None, (
            f"no gradient reaches the logits `{name}`: is all computed by TensorFlow, without np. and .numpy()?"
        )
        hint = "The losses themselves are right: is a gradient stopped, or a logarithm clipped?"
        stattests.assert_close(
            f"d(loss_d + loss_g)/d{name}, {what}", value, right, rtol=2e-3, atol=1e-4, hint=hint
        )


check_losses("all logits 3: nobody knows", [3, 3], [3, 3, 3], 0.2, [np.log(2), np.log(2)])
real, fake = [0.8, -0.3, 2.0], [-0.5, 1.2]
check_losses("s = 0", real, fake, 0.0, [0.650594, 1.133928])
check_losses("s = 0.1", real, fake, 0.1, [0.698928, 1.133928])
check_losses("s = 0.1, all logits 7 higher", np.add(real, 7), np.add(fake, 7), 0.1, [0.698928, 1.133928])
check_losses("logits of ±1000", [1000, 1000], [-1000], 0.25, [500, 2000])
check_loss_gradient("s = 0.1", real, fake, 0.1, [[0.095716, -0.055913, 0.238039], [-0.303270, 0.025429]])
check_loss_gradient("logits of ±1000", [1000, 1000], [-1000], 0.25, [[0.625, 0.625], [-1.25]])
### BEGIN HIDDEN TESTS
# Other logits, numbers of images and labels, also logits of ±1000; and the gradients.


def pair_losses(real, fake, smooth):
    """One pair after the other: −log of a winner's probability is log(1 + e^(loser − winner))."""
    loss_d = loss_g = 0.0
    for r in real:
        for f in fake:
            loss_d += (1 - smooth) * np.logaddexp(0, f - r) + smooth * np.logaddexp(0, r - f)
            loss_g += np.logaddexp(0, r - f)
    return np.array([loss_d, loss_g]) / (len(real) * len(fake))


def check_random_losses(rng, M, N, scale):
    """The losses from the definition, the gradients from their central differences."""
    real, fake = ((scale * rng.normal(size=size)).astype(np.float32) for size in (M, N))
    smooth, e = float(rng.uniform(0.05, 0.4)), 1e-4
    what = f"{M} real and {N} generated images" + (", logits of about ±1000" if scale > 99 else "")
    both = np.concatenate([real, fake]).astype(float)
    check_losses(what, real, fake, smooth, pair_losses(both[:M], both[M:], smooth))
    slope = []
    for shift in e * np.eye(M + N):
        up, down = (pair_losses(v[:M], v[M:], smooth).sum() for v in (both + shift, both - shift))
        slope.append((up - down) / (2 * e))
    check_loss_gradient(what, real, fake, smooth, [slope[:M], slope[M:]])


rng = stattests.grading_rng("relativistic_losses")
check_random_losses(rng, M=5, N=5, scale=1.5)
check_random_losses(rng, M=7, N=4, scale=3.0)
check_random_losses(rng, M=1, N=6, scale=1.0)
check_random_losses(rng, M=4, N=3, scale=1000.0)
### END HIDDEN TESTS

# %% [markdown] given="bound_task"
# ### Gap 2 · The variational bound of an α-divergence (3 points, 25 minutes)
#
# The preparation's game estimates one divergence. Here is a family of them, with a number $\alpha \ne 0, 1$ to
# choose:
#
# $$D_\alpha(p \,\|\, q) = \mathbb{E}_{q}\left[f\left(\frac{p(x)}{q(x)}\right)\right], \qquad f(u) = \frac{u^\alpha - \alpha u - (1 -
# \alpha)}{\alpha (\alpha - 1)}, \quad u > 0.$$
#
# $\alpha = 2$ is half of Pearson's $\chi^2$, $\alpha = \tfrac12$ is $2 \int (\sqrt p - \sqrt q)^2$; towards 1 it
# becomes $\mathrm{KL}(p \,\|\, q)$, towards 0 $\mathrm{KL}(q \,\|\, p)$. For any function $T$ with values where $f^*$
# is finite,
#
# $$D_\alpha(p \,\|\, q) \;\ge\; \mathbb{E}_p[T(x)] - \mathbb{E}_q[f^*(T(x))], \qquad f^*(t) = \sup_{u > 0}\, (u t - f(u)),$$
#
# and this is tight for $T = f'(p / q)$ (Nguyen et al., 2010; Nowozin et al., 2016). A network's output $v(x)$ may be
# any number. As the **output activation** take
#
# $$T(x) = f'\left(e^{v(x)}\right).$$
#
# Then $T$ is always where it may be, and for *every* $\alpha$ the bound is tight at the same $v$: at $\log p(x) /
# q(x)$, the logit of the best classifier.
#
# Given the outputs $v$ at M samples of p and at N samples of q, return the bound, with means for the expectations.
# Work out $f'$ and $f^*(f'(u))$ on paper: either becomes a single short fraction. Put $v$ into its exponents: at
# $\alpha = \tfrac12$ an output of ±150 must do no harm, while $e^{150}$ overflows in `float32`. And collect the terms
# first: in $u f'(u) - f(u)$ as it stands large terms cancel.
#
# <details><summary>Hint</summary>
#
# Where the supremum is reached, the derivative of $ut - f(u)$ is 0: $t = f'(u)$. So $f^*(f'(u)) = u f'(u) - f(u)$.
# Collect the terms with $u^\alpha$, those with $u$, and the constants. A check: $v = 0$ everywhere must give 0.
# </details>


# %% solution="alpha_bound"
def alpha_bound(v_data, v_model, alpha):
    """v_data: (M,) at samples of p; v_model: (N,) at samples of q; alpha: number, not 0 or 1 → the bound, a number."""
    ### BEGIN SOLUTION
    T = (np.exp((alpha - 1) * v_data) - 1) / (alpha - 1)
    conjugate = (np.exp(alpha * v_model) - 1) / alpha
    return np.mean(T) - np.mean(conjugate)
    ### END SOLUTION


# %% test="alpha_bound" points=3
BOUND_HINT = "T = f'(e^v) at the samples of p, f*(T) = e^v T − f(e^v) at those of q, its terms collected first; a mean of each."


def check_bound(what, v_data, v_model, alpha, exact, rtol=1e-3):
    answer = stattests.call(
        alpha_bound, np.asarray(v_data, np.float32), np.asarray(v_model, np.float32), alpha
    )
    stattests.assert_close(f"the bound, {what}", answer, exact, rtol=rtol, atol=1e-4, hint=BOUND_HINT)


check_bound("v = 0 everywhere", np.zeros(3), np.zeros(5), 3.0, 0.0)
# Ten samples of each, from three states with p = (0.5, 0.3, 0.2) and q = (0.2, 0.2, 0.6), and the tight v = log p/q.
ratio = np.log([2.5, 1.5, 1 / 3])
for alpha, exact in [(2.0, 0.383333), (0.5, 0.369652), (-1.0, 0.506667)]:
    v_data, v_model = np.repeat(ratio, [5, 3, 2]), np.repeat(ratio, [2, 2, 6])
    check_bound(
        f"v = log p/q for three states, α = {alpha:g}: the divergence itself", v_data, v_model, alpha, exact
    )
# p = N(1, 1) and q = N(0, 1), at 4,000 points of equal probability each: v = log p/q = x − ½.
middle = norm.ppf((np.arange(4000) + 0.5) / 4000)
for alpha, exact in [(0.5, 0.470012), (-0.5, 0.606655)]:
    check_bound(
        f"v = log p/q for two Gaussians, α = {alpha:g}", middle + 0.5, middle - 0.5, alpha, exact, rtol=0.01
    )
check_bound("some v, α = 1.5", [0.7, -0.2, 1.1], [-0.4, 0.9], 1.5, -0.097307)
# Large outputs: e^75 still fits into float32, e^150 does not.
for v_data, v_model, exact in [
    ([150, 100], [-150, -90], 4.0),
    ([-150], [0], -7.466484e32),
    ([0], [150], -7.466484e32),
]:
    check_bound(f"v = {v_data} and {v_model}, α = ½", v_data, v_model, 0.5, exact)
### BEGIN HIDDEN TESTS
# Other outputs and α, compared with the supremum over u; large outputs; the tight v for other states.


def alpha_f(u, alpha):
    return (u**alpha - alpha * u - (1 - alpha)) / (alpha * (alpha - 1))


def search_bound(v_data, v_model, alpha):
    """From the definition: f' by central differences, f* by a search over u near its maximum."""
    e, steps = 1e-5, np.exp(np.linspace(-0.5, 0.5, 4001))
    T, conjugate = [], []
    for v, values in [(v_data, T), (v_model, conjugate)]:
        for u in np.exp(np.asarray(v, float)):
            t = (alpha_f(u * (1 + e), alpha) - alpha_f(u * (1 - e), alpha)) / (2 * u * e)
            values.append(t if values is T else np.max(u * steps * t - alpha_f(u * steps, alpha)))
    return np.mean(T) - np.mean(conjugate)


rng = stattests.grading_rng("alpha_bound")
for M, N, low, high in [
    (6, 9, 1.2, 3.0),
    (7, 4, 0.2, 0.8),
    (5, 5, -2.0, -0.3),
    (1, 8, 1.2, 3.0),
    (9, 1, -1.5, 0.8),
]:
    alpha = float(np.round(rng.uniform(low, high), 2)) or -0.5
    v_data, v_model = rng.normal(0.3, 0.8, size=M), rng.normal(-0.3, 0.8, size=N)
    check_bound(
        f"{M} and {N} samples, α = {alpha:g}", v_data, v_model, alpha, search_bound(v_data, v_model, alpha)
    )
v_high, v_low = (sign * rng.uniform(90, 150, size=4).astype(np.float32).astype(float) for sign in (1, -1))
check_bound("v above 90 and below −90, α = ½", v_high, v_low, 0.5, 4.0)
check_bound("v below −90 and 0, α = ½", v_low, [0.0], 0.5, np.mean(2 - 2 * np.exp(-v_low / 2)))
check_bound("v 0 and above 90, α = ½", [0.0], v_high, 0.5, np.mean(2 - 2 * np.exp(v_high / 2)))
counts = rng.multinomial(40, np.ones(5) / 5, size=2) + 2
ratio = np.log(counts[0] / counts[0].sum()) - np.log(counts[1] / counts[1].sum())
for alpha in (2.5, 0.3, -0.7):
    exact = np.sum(counts[1] / counts[1].sum() * alpha_f(np.exp(ratio), alpha))
    check_bound(
        f"v = log p/q for five states, α = {alpha}", *(np.repeat(ratio, n) for n in counts), alpha, exact
    )
### END HIDDEN TESTS

# %% [markdown] given="frechet_task"
# ## 2 · Judges of samples
#
# ### Gap 3 · Fréchet distance with more features than samples (3 points, 20 minutes)
#
# For Gaussians with the means and covariances of two sets of features, the squared Fréchet distance is
#
# $$\underbrace{\vphantom{\big(}|\mu_x - \mu_y|^2}_{\text{mean part}} \;+\; \underbrace{\operatorname{tr}\left(\Sigma_x + \Sigma_y -
# 2\, \big(\Sigma_x^{1/2}\, \Sigma_y\, \Sigma_x^{1/2}\big)^{1/2}\right)}_{\text{covariance part}}.$$
#
# Features of images often number many thousand, the samples a few hundred. Then $\Sigma$ is not of full rank, nor
# does it fit into memory: in the test D is 300,000, and a D × D matrix takes 720 GB. But nothing so large is needed.
# Let $A$ (M, D) be the rows of x minus their mean, divided by $\sqrt{M - 1}$, so that $\Sigma_x = A^\top A$; and $B$
# (N, D) likewise for y. The trace of a root is the sum of the roots of the eigenvalues, and two facts do the rest:
#
# - $\Sigma_x^{1/2} \Sigma_y \Sigma_x^{1/2}$ has the same eigenvalues as $\Sigma_x \Sigma_y = A^\top A B^\top B$;
# - $PQ$ and $QP$ have the same eigenvalues, apart from zeros, also where $P$ and $Q$ are not square.
#
# So find a *small*, symmetric matrix with the same eigenvalues apart from zeros, and return both parts, from the
# samples alone. Use the divisors $M - 1$ and $N - 1$. Take care that rounding gives no root of a negative number, and,
# we advise, compute in `float64`: the root of an eigenvalue that should be 0 magnifies a rounding of $10^{-7}$ to $3 \cdot
# 10^{-4}$. (A similar trick made the distance fast enough to train with: Mathiasen and Hvilshøj, 2020.)
#
# <details><summary>Hint</summary>
#
# Read $A^\top (A B^\top B)$ as $P Q$ with $P = A^\top$: then $Q P = (A B^\top)(A B^\top)^\top$ is (M, M) and
# symmetric; `np.linalg.eigvalsh` gives its eigenvalues. Or take the singular values of $A B^\top$. And
# $\operatorname{tr} A^\top A$ is the sum of all squared entries of $A$.
# </details>


# %% solution="frechet_parts"
def frechet_parts(x, y):
    """x: (M, D) and y: (N, D), features, M and N at least 2, any D → mean part and covariance part, two numbers."""
    ### BEGIN SOLUTION
    x, y = x.astype(float), y.astype(float)
    mean_part = np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2)
    A = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    B = (y - y.mean(axis=0)) / np.sqrt(len(y) - 1)
    roots = np.linalg.svd(A @ B.T, compute_uv=False)  # of the eigenvalues of A Bᵀ B Aᵀ
    return mean_part, np.sum(A**2) + np.sum(B**2) - 2 * np.sum(roots)
    ### END SOLUTION


# %% test="frechet_parts" points=3
FRECHET_HINT = (
    "Divisors M − 1 and N − 1; the trace of a root is the sum of the roots of the eigenvalues. A root of a single entry, or of "
    "a matrix that is not symmetric (Σx Σy), is something else."
)


def check_frechet(what, x, y, exact):
    """Both parts, to a thousandth of the sum of all variances."""
    x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
    scale = x.astype(float).var(axis=0).sum() + y.astype(float).var(axis=0).sum()
    try:
        answer = stattests.call(frechet_parts, x, y)
    except MemoryError:
        raise AssertionError(
            f"{what}: the memory does not suffice. Do you make a D × D matrix? A Bᵀ is M × N only"
        ) from None
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, (
        "return two numbers: the mean part and the covariance part"
    )
    for name, value, right in zip(["the mean part", "the covariance part"], answer, exact):
        stattests.assert_close(
            f"{name}, {what}", value, right, rtol=1e-3, atol=1e-3 * scale, hint=FRECHET_HINT
        )


x = np.array([[0, 1], [2, 1], [1, 4]])
y = np.array([[1, 1], [3, 0], [2, 3], [0, 2]])
check_frechet("x and x moved by (3, 4)", x, x + [3, 4], [25, 0])
check_frechet(
    "one feature: (2 − 6)² for standard deviations of 2 and 6", [[-2], [0], [2]], [[-6], [0], [6]], [0, 16]
)
check_frechet("three and four samples, two features", x, y, [0.5, 0.417216])
check_frechet("the same, x and y exchanged", y, x, [0.5, 0.417216])
wide = np.repeat(np.concatenate([x, y]), 150_000, axis=1) / np.sqrt(150_000)  # lengths and angles stay
check_frechet("300,000 features", wide[:3], wide[3:], [0.5, 0.417216])
### BEGIN HIDDEN TESTS
# Other numbers of samples and features, compared with roots of D × D matrices; and D = 300,000.


def symmetric_root(S):
    """The symmetric root of a symmetric matrix with eigenvalues ≥ 0, apart from rounding."""
    values, vectors = np.linalg.eigh(S)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T


def random_features(rng, n, D):
    """(n, D): correlated features with a mean of their own."""
    return (rng.normal(size=D) + rng.normal(size=(n, D)) @ rng.normal(size=(D, D)) / np.sqrt(D)).astype(
        np.float32
    )


def exact_frechet(x, y):
    x, y = x.astype(float), y.astype(float)
    root, Sy = symmetric_root(np.cov(x.T).reshape(x.shape[1], -1)), np.cov(y.T).reshape(y.shape[1], -1)
    inner = symmetric_root(root @ Sy @ root)
    mean_part = np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2)
    return mean_part, np.trace(root @ root) + np.trace(Sy) - 2 * np.trace(inner)


rng = stattests.grading_rng("frechet_parts")
for M, N, D in [(40, 25, 6), (9, 12, 30), (2, 7, 5), (30, 30, 1)]:
    x, y = random_features(rng, M, D), random_features(rng, N, D)
    check_frechet(f"{M} and {N} samples, {D} features", x, y, exact_frechet(x, y))
x, y = random_features(rng, 11, 14), random_features(rng, 8, 14)
wide = (np.repeat(np.concatenate([x, y]), 20_000, axis=1) / np.sqrt(20_000))[:, rng.permutation(280_000)]
check_frechet("11 and 8 samples, 280,000 features", wide[:11], wide[11:], exact_frechet(x, y))
### END HIDDEN TESTS

# %% [markdown] given="modes_task"
# ### Gap 4 · Modes covered, counted strictly (2 points, 15 minutes)
#
# Samples of a generator are compared with a mixture of K Gaussians, $\sum_k w_k\, \mathcal{N}(m_k, s_k^2 I)$, which
# is known. "A mode is covered if a sample lies near it" is too kind: a stray sample suffices. Count as follows.
#
# - The standardised distance of sample i from mode k is $\delta_{ik} = |x_i - m_k| / s_k$. A sample **belongs** to
#   the mode with the smallest $\delta_{ik}$, and is **good** if that one is below 3.
# - $h_k$ is the share, of *all* samples, that are good and belong to mode k.
# - Mode k is **covered** if $h_k \ge w_k / 5$; the weights $w$ sum to 1.
# - The **missing mass** is $\sum_k \max(0, w_k - h_k)$.
#
# Return the number of covered modes, the share of good samples, and the missing mass. (In two dimensions, a sample of
# the mixture itself is good with probability $1 - e^{-9/2} = 0.989$, if no other mode is near.)
#
# <details><summary>Hint</summary>
#
# `samples[:, None] - means[None]` has the shape (samples, K, D). `np.bincount(..., minlength=K)` counts how often
# each mode comes up, also those that never do.
# </details>


# %% solution="count_modes"
def count_modes(samples, means, widths, weights):
    """samples: (N, D), means: (K, D), widths and weights: (K,) → covered modes, share of good samples, missing mass."""
    ### BEGIN SOLUTION
    distance = np.linalg.norm(samples[:, None] - means[None], axis=2) / widths  # (N, K)
    good = distance.min(axis=1) < 3
    h = np.bincount(distance.argmin(axis=1)[good], minlength=len(means)) / len(samples)
    return np.sum(h >= weights / 5), good.mean(), np.sum(np.maximum(0, weights - h))
    ### END SOLUTION


# %% test="count_modes" points=2
MODES_HINT = {
    "the number of covered modes": "Those with h ≥ w / 5, where h is a share of all samples, and only good ones count.",
    "the share of good samples": "The standardised distance is divided by the width of its mode; good is below 3.",
    "the missing mass": "A sum over the modes of what each lacks; what one has too much does not help another.",
}


def check_modes(what, samples, means, widths, weights, exact):
    arguments = [np.asarray(v, np.float32) for v in (samples, means, widths, weights)]
    answer = stattests.call(count_modes, *arguments)
    assert isinstance(answer, (tuple, list)) and len(answer) == 3, (
        "return three numbers: covered modes, share of good samples, missing mass"
    )
    for (name, hint), value, right in zip(MODES_HINT.items(), answer, exact):
        stattests.assert_close(f"{name}, {what}", value, right, rtol=1e-4, atol=1e-4, hint=hint)


# A grid of 25 modes, spacing 2, width 0.05, equal weights.
grid = np.array([[i, j] for i in (-4, -2, 0, 2, 4) for j in (-4, -2, 0, 2, 4)])
equal = [np.full(25, 0.05), np.full(25, 1 / 25)]
check_modes("a sample on each of 25 modes", grid, grid, *equal, [25, 1, 0])
check_modes("all samples on one of 25 modes", np.zeros((40, 2)), grid, *equal, [1, 1, 0.96])
check_modes("all samples between 25 modes", grid + 1.0, grid, *equal, [0, 0, 1])
stray = np.concatenate([np.tile(grid[:20], (10, 1)), grid[:24], grid + [0.14, 0], grid + [0, -0.16]])
check_modes(
    "20 of 25 modes often, 4 once or twice, some samples at 2.8 and 3.2 widths",
    stray,
    grid,
    *equal,
    [20, 0.908759, 0.167153],
)
samples = [[0.5, 0], [0.9, 0], [1.2, 0], [2.5, 0], [-2.9, 0], [-3, 0], [1.25, 0.2], [0, 0]]
what = "two modes of widths 1 and 0.1; a sample at 3 widths, a share of exactly w / 5"
check_modes(what, samples, [[0, 0], [1.3, 0]], [1, 0.1], [0.375, 0.625], [2, 0.875, 0.5])
### BEGIN HIDDEN TESTS
# Other modes, widths, weights, dimensions and numbers of samples.


def check_random_modes(rng, K, D, N):
    """One sample after the other; distances stay away from 3, and from being equal."""
    means, widths = rng.normal(size=(K, D)), rng.uniform(0.05, 0.5, size=K)
    weights, share = rng.dirichlet(np.full(K, 3.0)), rng.dirichlet(np.full(K, 0.4))
    means, widths, weights = (v.astype(np.float32).astype(float) for v in (means, widths, weights))
    samples, counts = [], np.zeros(K)
    while len(samples) < N:
        k = rng.choice(K, p=share)
        direction = rng.normal(size=D)
        x = means[k] + widths[k] * rng.uniform(0, 5) * direction / np.linalg.norm(direction)
        x = x.astype(np.float32).astype(float)
        delta = [np.sqrt(np.sum((x - m) ** 2)) / s for m, s in zip(means, widths)]
        nearest, second = np.sort(delta)[:2]
        if abs(nearest - 3) < 0.02 or second < 1.02 * nearest:
            continue
        samples.append(x)
        counts[np.argmin(delta)] += nearest < 3
    h = counts / N
    equal = np.sum(h >= 0.2 / K) == np.sum(h >= weights / 5)  # then the weights would not matter
    if np.min(np.abs(h - weights / 5)) < 1e-5 or (equal and K > 9):
        return check_random_modes(rng, K, D, N)
    missing = sum(w - part for w, part in zip(weights, h) if w > part)
    exact = [sum(part > w / 5 for w, part in zip(weights, h)), counts.sum() / N, missing]
    check_modes(f"{K} modes in {D} dimensions, {N} samples", samples, means, widths, weights, exact)


rng = stattests.grading_rng("count_modes")
check_random_modes(rng, K=12, D=2, N=300)
check_random_modes(rng, K=6, D=3, N=50)
check_random_modes(rng, K=25, D=2, N=400)
check_random_modes(rng, K=5, D=1, N=80)
check_random_modes(rng, K=4, D=2, N=1)
### END HIDDEN TESTS

# %% [markdown] given="mmd_task"
# ### Gap 5 · A kernel test with several widths and one p-value (4 points, 30 minutes)
#
# The kernel $k_s(a, b) = e^{-|a - b|^2 / (2 s^2)}$ sees differences of about the size $s$. Which width? To try
# several and to report the smallest p-value is cheating: with five widths the false alarms may be five times as many.
# Try several and take the *largest* statistic, but treat the permutations in the same way, and the p-value is honest.
# (Gretton et al., 2012, have the test for one kernel; Schrab et al., 2023, a more refined way to combine several.)
#
# Pool the samples, $c = (x_1, \dots, x_M, y_1, \dots, y_N)$. An order $\pi$ of the pool deals it out: the first M
# places are the x, the other N the y. For each width the unbiased estimate of the squared MMD is
#
# $$T_s(\pi) = \sum_{\substack{i, j \le M \\ i \ne j}} \frac{k_s(c_{\pi_i}, c_{\pi_j})}{M (M - 1)} + \sum_{\substack{i, j > M \\ i \ne j}} \frac{k_s(c_{\pi_i},
# c_{\pi_j})}{N (N - 1)} - 2 \sum_{i \le M < j} \frac{k_s(c_{\pi_i}, c_{\pi_j})}{M N}.$$
#
# $\pi_0$ is the order as observed, $\pi_1, \dots, \pi_P$ are the permutations given. **Standardise**: let $\sigma_s$
# be the standard deviation (`np.std`) of the P + 1 numbers $T_s(\pi_0), \dots, T_s(\pi_P)$, and
#
# $$S(\pi) = \max_s \frac{T_s(\pi)}{\sigma_s}, \qquad \text{p-value} = \frac{1 + \#\{l \ge 1 : S(\pi_l) \ge S(\pi_0) -
# 10^{-3}\}}{1 + P}.$$
#
# The observed order is one of the P + 1 throughout: if x and y come from one distribution and the permutations were
# drawn at random, none of them is special, and p ≤ a happens with probability at most a. The $10^{-3}$ is for
# rounding: permutations that only exchange samples within x, say, must count as equal. Return $T_s(\pi_0)$ for each
# width and the p-value.
#
# <details><summary>Hint</summary>
#
# Compute the kernel matrix of the pool once for each width. A permutation only reorders its rows and columns:
# `k[order][:, order]`, or `k[np.ix_(order, order)]`. The sum over $i \ne j$ is the sum of the block minus its trace.
# Loops over widths and permutations are fast enough.
# </details>


# %% solution="mmd_test"
def mmd_test(x, y, widths, permutations):
    """x: (M, D), y: (N, D), widths: (W,), permutations: (P, M + N), each of 0 … M + N − 1 → T observed (W,), p-value."""
    ### BEGIN SOLUTION
    M, N = len(x), len(y)
    pool = np.concatenate([x, y]).astype(float)
    squared = np.sum((pool[:, None] - pool[None]) ** 2, axis=2)
    orders = [np.arange(M + N), *permutations]
    T = np.zeros((len(orders), len(widths)))
    for w, s in enumerate(widths):
        k = np.exp(-squared / (2 * s**2))
        np.fill_diagonal(k, 0)
        for p, order in enumerate(orders):
            dealt = k[order][:, order]
            within = dealt[:M, :M].sum() / (M * (M - 1)) + dealt[M:, M:].sum() / (N * (N - 1))
            T[p, w] = within - 2 * dealt[:M, M:].mean()
    largest = np.max(T / T.std(axis=0), axis=1)
    return T[0], np.mean(largest >= largest[0] - 1e-3)
    ### END SOLUTION


# %% test="mmd_test" points=4
T_HINT = "Pairs of a sample with itself do not count; divisors M (M − 1), N (N − 1) and M N; the exponent is −|a − b|² / (2 s²)."
P_HINT = (
    "σ is taken over all P + 1 orders, the maximum over the widths comes after the division, S is counted where it reaches the "
    "observed one, down to 10⁻³ below it, and the observed order counts too."
)


def check_mmd(what, x, y, widths, permutations, exact_T, exact_p):
    x, y, widths = (np.asarray(v, np.float32) for v in (x, y, widths))
    answer = stattests.call(mmd_test, x, y, widths, np.asarray(permutations))
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, (
        "return T of the observed order for each width, and the p-value"
    )
    stattests.assert_close(f"T observed, {what}", answer[0], exact_T, rtol=1e-3, atol=1e-4, hint=T_HINT)
    stattests.assert_close(
        f"the p-value, {what}", answer[1], exact_p, rtol=0, atol=0.1 / (1 + len(permutations)), hint=P_HINT
    )


x, y = [[0], [1], [2]], [[10], [11], [12]]
orders = [[0, 1, 2, 5, 4, 3], [3, 4, 5, 0, 1, 2], [0, 4, 2, 3, 1, 5], [0, 3, 1, 4, 2, 5]]
check_mmd(
    "two far groups; of four permutations, two change nothing",
    x,
    y,
    [1.0, 3.0],
    orders,
    [0.898931, 1.780632],
    0.6,
)
x = [[0.2, 0.1], [-0.4, 0.9], [1.1, -0.3], [0.6, 0.6], [-0.8, -0.5]]
y = [[1.5, 0.9], [0.4, 2.1], [2.2, 0.6], [1.4, -1.2]]
orders = np.random.default_rng(135).permuted(np.tile(np.arange(9), (19, 1)), axis=1)
check_mmd(
    "five and four samples, 19 permutations",
    x,
    y,
    [0.3, 1.0, 4.0],
    orders,
    [0.016939, 0.246949, 0.053580],
    0.25,
)
### BEGIN HIDDEN TESTS
# Other samples, sizes, widths and permutations; several that differ in one width only.


def check_random_mmd(rng, M, N, D, widths, P, shift, spread):
    """T by weights of pairs in place of blocks; no permutation is near the observed one, apart from equal ones."""
    x = rng.normal(size=(M, D)).astype(np.float32)
    y = (shift + spread * rng.normal(size=(N, D))).astype(np.float32)
    orders = rng.permuted(np.tile(np.arange(M + N), (P, 1)), axis=1)
    orders[0] = np.concatenate(
        [rng.permutation(M), M + rng.permutation(N)]
    )  # the same samples, in another order
    place = np.argsort(np.concatenate([np.arange(M + N)[None], orders]), axis=1)
    is_x = (place < M).astype(float)  # (P + 1, M + N): is this sample dealt to x?
    pool = np.concatenate([x, y]).astype(float)
    T = []
    for s in widths:
        k = np.array([[np.exp(-np.sum((a - b) ** 2) / (2 * s**2)) for b in pool] for a in pool]) - np.eye(
            M + N
        )
        xx, xy, yy = (
            np.einsum("pi,ij,pj->p", a, k, b)
            for a, b in [(is_x, is_x), (is_x, 1 - is_x), (1 - is_x, 1 - is_x)]
        )
        T.append(xx / (M * (M - 1)) + yy / (N * (N - 1)) - 2 * xy / (M * N))
    T = np.array(T)
    S = (T / T.std(axis=1, keepdims=True)).max(axis=0)
    ahead = S[1:] - S[0]
    if np.any((np.abs(ahead) < 2e-3) & (np.abs(ahead) > 1e-6)):
        return check_random_mmd(rng, M, N, D, widths, P, shift, spread)
    exact_p = (1 + np.sum(ahead > -1e-4)) / (1 + P)
    what = f"{M} and {N} samples, {D} features, {len(widths)} widths, {P} permutations"
    check_mmd(what, x, y, widths, orders, T[:, 0], exact_p)


rng = stattests.grading_rng("mmd_test")
for _ in range(3):
    check_random_mmd(rng, M=8, N=12, D=2, widths=[0.2, 1.0, 5.0], P=60, shift=0.6, spread=1.0)
    check_random_mmd(rng, M=13, N=9, D=3, widths=[0.3, 1.5], P=60, shift=0.0, spread=1.8)
    check_random_mmd(rng, M=10, N=7, D=1, widths=[0.2, 0.6, 1.8, 5.4], P=9, shift=0.8, spread=0.5)
check_random_mmd(rng, M=2, N=6, D=2, widths=[1.0], P=7, shift=3.0, spread=1.0)
check_random_mmd(rng, M=30, N=20, D=2, widths=[0.3, 1.0, 3.0], P=200, shift=0.3, spread=1.2)
### END HIDDEN TESTS

# %% [markdown] given="train_task"
# ## 3 · A generator that finds the rare modes
#
# ### Gap 6 · Train it (3 points, 25 minutes)
#
# Six in ten of the `points` lie around the centre, one in ten around each of the corners (±1, ±1), with a width of
# 0.1. `build_networks` makes a generator and a discriminator. Trained without any cure, the generator stays where
# most points are and finds one or two of the five modes, with the loss of gap 1 as well as with the preparation's
# non-saturating one. A penalty on the discriminator's gradient helps. You know the one at the data (R1, Mescheder et
# al., 2018); with one at the generated samples beside it (R2),
#
# $$\mathcal{L}_D + \frac{\gamma}{2}\, \mathbb{E}_{x \sim p} \left|\nabla_x D(x)\right|^2 + \frac{\gamma}{2}\, \mathbb{E}_{x \sim
# q} \left|\nabla_x D(x)\right|^2,$$
#
# and the loss of gap 1, you have the recipe of Huang et al. (2024). Take it, or any other loss and cure.
#
# Adam's default `beta_1` of 0.9 serves badly here, where each player moves the goal of the other: take 0 or 0.5.
#
# Hand over the weights of the generator (`get_weights()`). The test draws 5,000 latents from $\mathcal{N}(0, I)$ and
# counts as in gap 4. You may call what you wrote in gap 1, if its test passes. You pass if **all five modes are covered and at least 60 % of the samples are good**. Training
# takes 3 to 10 seconds; the grader stops it after two minutes. Only `seed=0` is judged.
#
# <details><summary>Hint</summary>
#
# Put the whole loop into one `tf.function` with `for _ in tf.range(steps)`: single steps called from Python take
# longer. 1,500 steps with batches of 128 suffice; in each, first the discriminator with fresh points and samples,
# then the generator with fresh ones. Adam with the rate 0.004, falling to 0 by
# `keras.optimizers.schedules.CosineDecay`, `beta_1=0.0` and `beta_2=0.99`; γ about 0.1. Build the optimisers before
# the loop (`adam.build(network.trainable_variables)`). `tf.gather(points, indices)` with random indices draws a
# batch. For the penalty differentiate the logits themselves, not their mean, and sum the squares over the
# coordinates. Make the samples of the discriminator's step outside its tape. `keras.utils.set_random_seed(seed)` comes
# first.
# </details>

# %% given="rare_data"
LATENT, WIDTH = 4, 0.1
MODES = np.array([[0, 0], [1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32)
MASS = np.array([0.6, 0.1, 0.1, 0.1, 0.1])
_rng = np.random.default_rng(0)
points = (MODES[_rng.choice(5, 4000, p=MASS)] + WIDTH * _rng.normal(size=(4000, 2))).astype(np.float32)


def build_networks():
    """→ generator: z (B, LATENT) → samples (B, 2); discriminator: (B, 2) → logits (B, 1)."""
    sizes = [(LATENT, 2), (2, 1)]
    return [
        keras.Sequential(
            [
                keras.Input((inputs,)),
                keras.layers.Dense(64, activation="relu"),
                keras.layers.Dense(64, activation="relu"),
                keras.layers.Dense(outputs),
            ]
        )
        for inputs, outputs in sizes
    ]


# %% solution="train_generator"
def train_generator(x, seed):
    """x: (N, 2), points → generator.get_weights(), a list of six arrays."""
    ### BEGIN SOLUTION
    keras.utils.set_random_seed(seed)
    generator, discriminator = build_networks()
    steps, B, gamma = 1500, 128, 0.1
    rate = keras.optimizers.schedules.CosineDecay(0.004, steps)
    adam_g, adam_d = (keras.optimizers.Adam(rate, beta_1=0.0, beta_2=0.99) for _ in range(2))
    adam_g.build(generator.trainable_variables)
    adam_d.build(discriminator.trainable_variables)
    data = tf.constant(x)

    def pairs(winners, losers):
        """Two times (B, 1) logits → the mean over all pairs of −log σ(winner − loser)."""
        return tf.reduce_mean(tf.nn.softplus(tf.transpose(losers) - winners))

    def penalty(samples):
        """(B, 2) → half the mean squared gradient of the discriminator there."""
        with tf.GradientTape() as tape:
            tape.watch(samples)
            logits = discriminator(samples)
        return tf.reduce_mean(tf.reduce_sum(tape.gradient(logits, samples) ** 2, axis=1)) / 2

    def batch():
        real = tf.gather(data, tf.random.uniform((B,), maxval=len(x), dtype=tf.int32))
        return real, tf.random.normal((B, LATENT))

    @tf.function
    def run():
        for _ in tf.range(steps):
            real, z = batch()
            fake = generator(z)
            with tf.GradientTape() as tape:
                loss_d = pairs(discriminator(real), discriminator(fake))
                loss_d = loss_d + gamma * (penalty(real) + penalty(fake))
            variables = discriminator.trainable_variables
            adam_d.apply(tape.gradient(loss_d, variables), variables)
            real, z = batch()
            with tf.GradientTape() as tape:
                loss_g = pairs(discriminator(generator(z)), discriminator(real))
            variables = generator.trainable_variables
            adam_g.apply(tape.gradient(loss_g, variables), variables)

    run()
    return generator.get_weights()
    ### END SOLUTION


# %% test="train_generator" points=3
def judge(generator, rng):
    """→ the number of modes covered and the share of good samples, by the count of gap 4, from 5,000 samples."""
    x = generator(rng.normal(size=(5000, LATENT)).astype(np.float32)).numpy().astype(float)
    shares = [np.mean(np.linalg.norm(x - mode, axis=1) < 3 * WIDTH) for mode in MODES]  # they are far apart
    return np.sum(shares >= MASS / 5), np.sum(shares)


answer = stattests.call(train_generator, points, 0)
generator = build_networks()[0]
assert isinstance(answer, (tuple, list)) and len(answer) == 6, "return generator.get_weights(), six arrays"
generator.set_weights(
    [
        stattests.assert_array(f"array {i}", w, v.shape, most=1000)
        for i, (w, v) in enumerate(zip(answer, generator.weights))
    ]
)
covered, good = judge(generator, np.random.default_rng(0))
print(f"{covered} of 5 modes covered, {good:.0%} of the samples are good")
TRAIN_HINT = (
    "Does the penalty enter the discriminator's loss, with the gradient by its input? Does each loss reach the variables of its own "
    "network only, and is it minimised? Is Adam's beta_1 small? Do the steps suffice?"
)
assert covered == 5, f"only {covered} of 5 modes are covered. {TRAIN_HINT}"
assert good >= 0.6, f"only {good:.0%} of the samples are good, at least 60 % expected. {TRAIN_HINT}"
### BEGIN HIDDEN TESTS
# The same count with other latents. The threshold is empirical: over 50 seeds the reference covers all five modes and has
# 82 to 96 % good samples; the worst minus the range is 69 %. Nine points more are left for other ways to train.
covered, good = judge(generator, stattests.grading_rng("train_generator"))
assert covered == 5 and good >= 0.6, (
    f"with other latents {covered} of 5 modes are covered and {good:.0%} of the samples are good"
)
### END HIDDEN TESTS

# %% [markdown] given="argue_task"
# ## 4 · A question to argue (2 points, 20 minutes)
#
# Three "models" of the grey digits hand out 400 images each. Behind them are, in another order: (i) one that hands
# out images of its 598 training images, each at most once; (ii) one that hands out new, real images, but never a 4 or
# a 9; (iii) a single Gaussian with the training images' mean and covariance, clipped and rounded to the 17 levels.
# Each is compared with the same 400 test images. The last row is a control: 400 real images that are neither training
# nor test images.
#
# | model | two-sample accuracy | kernel distance × 1000 | Fréchet distance | distance to nearest training image |
# |---|---|---|---|---|
# | A | 0.515 ± 0.025 | −2.0 ± 1.7 | 0.18 | 0.00 |
# | B | 0.965 ± 0.009 | 60.0 ± 4.4 | 2.68 | 1.68 |
# | C | 0.560 ± 0.025 | 11.6 ± 4.3 | 0.99 | 1.19 |
# | control | 0.495 ± 0.025 | −2.8 ± 1.3 | 0.13 | 1.18 |
#
# (Features and tests of the scoreboard, pixels scaled to [0, 1]; the accuracy is 0.5 where images cannot be told
# apart. All is measured.)
#
# 1. Which is which? Name for each the number that gives it away.
# 2. "The classifier is right in 56 % of the cases only, so C's images are as good as real." How accurate could the
#    best classifier be, what does its accuracy not show, and why do the two distances see it?
# 3. In the training of a GAN the discriminator's loss (mean cross-entropy on data plus that on samples) has stayed at
#    $2 \log 2$ for an hour. Someone concludes that the generator's distribution is that of the data. Under which
#    assumption is this right? Give two other explanations, and a measurement that would decide.
#
# Answer in about 200 words.

# %% [markdown] argue="argue_judges" points=2
# ### BEGIN SOLUTION
# 1. A draws training images: its distance to the nearest one is 0, where new images have 1.18. B is the Gaussian: a
#    classifier tells its images from real ones in 97 % of the cases, and they are farther from all training images
#    than real ones are. C lacks two digits: the images are like new ones (0.56, 1.19), but its kernel distance is
#    nearly three standard errors above 0 and its Fréchet distance many times the control's. No comparison with *test*
#    images accuses A: to them, training images are as real as any.
# 2. True: image by image, C's are real, and nothing about a single image gives it away. The set lacks a fifth of the
#    data. The best classifier would call every 4 and 9 real and, of the other images, which C has more often
#    ($\tfrac18$ of its images for each digit against $\tfrac1{10}$), that they are C's; its accuracy is $\tfrac12
#    (0.2 + 1) = 0.6$. So 0.56 is near the best possible: the accuracy is at most one half plus half the total
#    variation, which is 0.2 here. The distances compare means (and covariances) of features, and without two digits
#    these move.
# 3. Right only if the discriminator is (nearly) the best one: then $2 \log 2 - 2\,\mathrm{JS}$ is its loss, and JS
#    is 0. Else the discriminator may be too weak, too strongly regularised, or trained too slowly; its gradient may
#    have vanished; or its inputs may be spoiled (labels mixed, the same images on both sides). To decide: freeze the
#    generator, train a *fresh*, stronger discriminator on samples and held-out data, and test it on further ones (a
#    two-sample test); or measure distances and modes.
#
# **Rubric.** ½ for A, B and C with a number each; ½ for "image by image real, but a part of the data is missing",
# with a reason why a classifier gains little from it (the exact 0.6 is welcome, not asked for); ½ for the assumption
# that the discriminator is the best; ½ for two other explanations and a fresh discriminator, or another measurement,
# on held-out images.
# ### END SOLUTION

# %% [markdown] given="end"
# ---
# Before you hand in: *Kernel → Restart Kernel and Run All Cells*, then the **Validate** button. It runs the visible
# tests.
