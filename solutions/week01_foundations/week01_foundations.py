# %% [markdown] given="title"
# # Week 1 · Exercise: mixtures for grey images with holes
#
# {{colab}}
#
# In the preparation pixels were 0 or 1, and images were complete while a model was fitted. Here the pixels
# have 17 levels, and some are missing, in training as well. You will
#
# - score images in bits per pixel, without underflow;
# - derive EM for a **mixture of binomials** whose training images have holes, and fill the holes;
# - measure KL divergences by drawing, with an error bar;
# - train a model that is judged by its *exact* likelihood.
#
# **20 points, about two and a half hours.** Six gaps are graded automatically (18 points), a question by a person
# (2 points).
#
# ## How it works
#
# - Write your answer where it says `raise NotImplementedError`. Keep the names and arguments of the
#   functions.
# - The cell after each gap tests your answer and says what is wrong. When you hand in, further tests run on
#   other inputs.
# - All arrays arrive as NumPy `float32`. A missing pixel is `NaN`. Do not change the arrays that come in.
#   Return NumPy arrays or TensorFlow tensors, in `float32` or `float64`, as you like.
# - Where a function takes a `seed` (an integer), its randomness must depend on nothing else: make one generator,
#   `rng = np.random.default_rng(seed)`, and draw everything from it. (In TensorFlow Probability a single integer is
#   not enough: `sample(N, seed=[seed, 0])`.)
# - Each gap is tested on its own, from given values. If your answer calls your function from an earlier gap,
#   make that one pass first.
#
# **Letters:** N images (B in a batch), D pixels, K components, levels 0 to G. Images are rows.

# %% setup

# %% given="imports"
import itertools
import math

import numpy as np
import tensorflow as tf  # noqa: F401 (for your answers)
from scipy.special import logsumexp, xlog1py, xlogy
from scipy.stats import binom

from utils import datasets, plotting, stattests

# %% [markdown] given="binomial_text"
# ## 1 · A mixture of binomials
#
# The grey digits were made from scans of 32×32 pixels, each black or white. Every block of 4×4 small pixels
# became one pixel, and its level counts the black ones: 0 to 16. If the $G = 16$ small pixels of a block are
# black independently of each other with one probability $\mu$, their number has a **binomial distribution**.
# So the natural mixture is
#
# $$p(x) = \sum_{k=1}^{K} \pi_k \prod_{d=1}^{D} \mathrm{Bin}(x_d;\, G, \mu_{kd}), \qquad
# \mathrm{Bin}(x;\, G, \mu) = \binom{G}{x} \mu^x (1 - \mu)^{G - x}, \qquad x_d \in \{0, 1, \dots, G\}.$$
#
# The first of the functions below is the product in this formula. You may use it to check yourself on tiny
# images. On larger ones it underflows: the product of many small numbers becomes 0.


# %% given="definition"
def p_x_z(x, mu, G):
    """x: (B, D) levels without holes, mu: (K, D) → p(x | z = k), (B, K). By the definition; tiny images only."""
    return np.prod(binom.pmf(x[:, None], G, mu), axis=2)


def all_images(D, G):
    """All images of D pixels with levels 0 to G: ((G + 1)^D, D); tiny images only."""
    assert (G + 1) ** D <= 1e6, f"{D} pixels with {G + 1} levels make too many images to list"
    return np.array(list(itertools.product(range(G + 1), repeat=D)), np.float32)


def draw_index(p, rng):
    """p: (B, K), rows of probabilities; rng: NumPy generator → an index for each row, drawn with these: (B,)."""
    edges = np.cumsum(p, axis=1, dtype=float)
    return np.sum(rng.random((len(p), 1)) * edges[:, -1:] > edges[:, :-1], axis=1)


def pattern(shape, step, low, high):
    """Whole numbers from low to high that look random and are not: float32."""
    return (low + np.arange(np.prod(shape)).reshape(shape) * step % (high - low + 1)).astype(np.float32)


def draw_model(rng, K, D, close=False):
    """Random pi (K,) in 16ths and mu (K, D) in 32nds; close: the components differ in a few pixels only."""
    pi = (1 + rng.multinomial(16 - K, np.full(K, 1 / K))) / 16
    mu = rng.integers(2, 31, (K, D))
    if close:
        mu = np.where(np.arange(D) < 6, mu[0] + rng.integers(-1, 2, (K, D)), mu[0])
    return pi.astype(np.float32), (mu / 32).astype(np.float32)


def check_seed(call):
    """Call with one seed twice, then with another. For tests."""
    first, again, other = (call(seed) for seed in (8, 8, 9))
    assert np.array_equal(first, again), "the same seed must give the same result: is it behind every draw?"
    assert not np.array_equal(first, other), (
        "another seed must give another result: is anything drawn from it?"
    )


# %% [markdown] given="bits_task"
# ### Gap 1 · Bits per pixel (3 points)
#
# For each image compute the length of its code in bits, divided by the number of pixels: $-\frac{1}{D} \log_2
# p(x)$. The images have no holes here.
#
# Two demands. It must not underflow: the tests have images of 800 pixels. And a $\mu_{kd}$ may be exactly 0
# or 1. Such a component is certain of a pixel. To an image that has the certain level there it contributes as
# usual, to any other image exactly nothing, however well it fits elsewhere: clipping $\mu$ will not do. (Each
# image is allowed by at least one component; all $\pi_k > 0$.)
#
# <details><summary>Hint</summary>
#
# Work with logarithms until the end: a sum over pixels for each component, shape (B, K), then `logsumexp` or
# `tf.reduce_logsumexp` over components. $0 \cdot \log 0$ is 0 here, but `NaN` in floating-point numbers:
# `scipy.special.xlogy`, `tf.math.xlogy`. The logarithm of $\binom{G}{x}$ follows from `scipy.special.gammaln`
# or `tf.math.lgamma`, or from a table of `math.comb(G, x)`.
# </details>


# %% solution="bits_per_pixel"
def bits_per_pixel(x, pi, mu, G):
    """x: (B, D) levels 0 to G, pi: (K,), mu: (K, D), G: int → (B,) bits per pixel."""
    ### BEGIN SOLUTION
    log_choices = np.log([math.comb(G, level) for level in range(G + 1)])
    x, mu = x[:, None].astype(float), mu.astype(float)  # (B, 1, D), (K, D)
    log_px_z = np.sum(xlogy(x, mu) + xlog1py(G - x, -mu), axis=2)  # (B, K)
    log_px_z += np.sum(log_choices[x.astype(int)], axis=2)  # the same for all components
    log_px = logsumexp(np.log(pi) + log_px_z, axis=1)
    return -log_px / (np.log(2) * x.shape[2])
    ### END SOLUTION


# %% test="bits_per_pixel" points=3
def check_bits(
    x, pi, mu, G, exact, hint="Bits, not nats? Divided by D? Are the binomial coefficients and pi in?"
):
    answer = stattests.call(bits_per_pixel, x, pi, mu, G)
    name = f"bits per pixel for D = {x.shape[1]}, K = {len(pi)}, G = {G}"
    stattests.assert_close(name, answer, exact, rtol=3e-4, atol=1e-4, hint=hint)


CERTAIN = (
    "The first component is certain of the first two pixels. To images with other levels there it contributes nothing at all, "
    "not only little, to the others as usual"
)
pi_two = np.array([0.75, 0.25], np.float32)
check_bits(
    pattern((5, 3), 3, 0, 3),
    pi_two,
    pattern((2, 3), 7, 2, 30) / 32,
    3,
    [2.47657, 2.48186, 3.34457, 2.42436, 2.47657],
)
mu_certain = np.array([[0, 1, 0.5, 0.5], [0.5, 0.5, 0.25, 0.25]], np.float32)
x_certain = np.array([[0, 3, 1, 2], [0, 3, 3, 3], [1, 3, 1, 2], [0, 2, 0, 0]], np.float32)
check_bits(x_certain, pi_two, mu_certain, 3, [0.81049, 1.60373, 2.62256, 2.22632], CERTAIN)
mu_certain[:, 2:] = [[0.0625], [0.9375]]  # everywhere else the first component fits far better
mu_certain = np.concatenate([mu_certain, np.repeat(mu_certain[:, 2:], 198, axis=1)], axis=1)  # (2, 400)
x_certain = np.concatenate([x_certain[:, :2] * 16 // 3, pattern((4, 398), 7, 0, 4)], axis=1)
check_bits(x_certain, pi_two, mu_certain, 16, [3.1177, 3.10968, 49.79993, 49.83153], CERTAIN)
check_bits(
    pattern((3, 800), 7, 0, 16), pi_two, pattern((2, 800), 5, 2, 30) / 32, 16, [11.91378, 11.47199, 11.44311]
)
### BEGIN HIDDEN TESTS
# Other sizes, numbers of levels and of components; components that are certain; hundreds of pixels.


def exact_weights(x, pi, mu, G):
    """For pi in 16ths and mu in 32nds: 16 · 32^(G · known) · p(known pixels, z = k), as exact whole numbers.

    x: (B, D), NaN where missing → B lists of K numbers. Python's integers may have thousands of digits.
    """
    shares, blacks = np.rint(16 * pi).astype(int).tolist(), np.rint(32 * mu).astype(int).tolist()
    weights = []
    for image in x.tolist():
        known = [(d, int(level)) for d, level in enumerate(image) if not math.isnan(level)]
        factors = [
            [math.comb(G, v) * black[d] ** v * (32 - black[d]) ** (G - v) for d, v in known]
            for black in blacks
        ]
        weights.append([share * math.prod(f) for share, f in zip(shares, factors)])
    return weights


def compare_bits(x, pi, mu, G, **hint):
    """Compare with whole numbers, which neither round nor underflow."""
    D = x.shape[1]
    exact = [(4 + 5 * G * D - math.log2(sum(w))) / D for w in exact_weights(x, pi, mu, G)]
    check_bits(x, pi, mu, G, exact, **hint)


def check_certain(rng, K, D, G, far=False):
    """Eight images that suit the first component, which is certain at two pixels: right for four, wrong for four.

    far: all others are so far from them that any finite price of a wrong pixel, 10⁴ nats, would be worth paying."""
    pi, mu = draw_model(rng, K, D)
    if far:
        low = np.array([[1]] + [[30]] * (K - 1))
        mu = (rng.integers(low, low + 2, (K, D)) / 32).astype(np.float32)
    x = rng.binomial(G, mu[0], (8, D)).astype(np.float32)
    mu[0, :2], x[:4, :2], x[4:, :2] = [0, 1], [0, G], rng.integers(1, G, (4, 2))
    compare_bits(x, pi, mu, G, hint=CERTAIN)


rng = stattests.grading_rng("bits_per_pixel")
for B, D, K, G in [(7, 5, 4, 16), (1, 2, 3, 5), (4, 6, 1, 1)]:
    compare_bits(rng.integers(0, G + 1, (B, D)).astype(np.float32), *draw_model(rng, K, D), G)
check_certain(rng, K=3, D=5, G=6)
check_certain(rng, K=4, D=150, G=9)
check_certain(rng, K=3, D=800, G=16, far=True)
compare_bits(rng.integers(0, 10, (4, 100)).astype(np.float32), *draw_model(rng, 4, 100, close=True), 9)
compare_bits(rng.integers(0, 13, (4, 700)).astype(np.float32), *draw_model(rng, 2, 700), 12)
### END HIDDEN TESTS

# %% [markdown] given="responsibilities_task"
# ### Gap 2 · The E step with holes (3 points)
#
# Now pixels are missing (`NaN`), in each image others. Compute the responsibilities given what is *known*:
#
# $$r_k = p(z = k \mid x_\text{known}), \qquad
# p(x_\text{known} \mid z = k) = \sum_{\text{all } x_\text{missing}} p(x_\text{known}, x_\text{missing} \mid z = k).$$
#
# The sum has $(G + 1)^{\text{missing}}$ terms. Simplify it first, on paper. Again nothing may underflow. Here
# $0 < \mu_{kd} < 1$.
#
# <details><summary>Hint</summary>
#
# Given $z$ the pixels are independent, so the sum of products is a product of sums. What is the sum of a
# distribution over all its values? Beware: `NaN * 0` is `NaN`, so replace each `NaN` by a number (`np.where`,
# `np.isnan`) before you compute with it, and see to it that the number chosen has no influence. What does not
# depend on $k$ cancels.
# </details>


# %% solution="responsibilities"
def responsibilities(x, pi, mu, G):
    """x: (B, D) levels, NaN where missing; pi: (K,), mu: (K, D) → p(z = k | known pixels), (B, K)."""
    ### BEGIN SOLUTION
    known = ~np.isnan(x)
    black = np.where(known, x, 0).astype(float)  # small pixels known to be black, and white
    white = G * known - black
    log_w = np.log(pi) + black @ np.log(mu).T.astype(float) + white @ np.log1p(-mu.astype(float)).T
    return np.exp(log_w - logsumexp(log_w, axis=1, keepdims=True))
    ### END SOLUTION


# %% test="responsibilities" points=3
def check_responsibilities(x, pi, mu, G, exact, atol=1e-4):
    r = stattests.call(responsibilities, x, pi, mu, G)
    r = stattests.assert_array(f"r for D = {x.shape[1]}, K = {len(pi)}", r, (len(x), len(pi)))
    assert np.allclose(r.sum(axis=1), 1, atol=1e-3), "the responsibilities of an image must sum to 1"
    holes = np.isnan(x).sum(axis=1).tolist()
    hint = f"The images have {holes} missing pixels. Does a missing pixel drop out, whatever stands in for NaN? Is pi in?"
    stattests.assert_close(
        f"r for D = {x.shape[1]}, K = {len(pi)}", r, exact, rtol=1e-3, atol=atol, hint=hint
    )


def by_all_fillings(x, pi, mu, G):
    """The definition: add up the probabilities of all ways to fill the holes."""
    everything = all_images(x.shape[1], G)
    joint = pi * p_x_z(everything, mu, G)  # p(x, z = k) of all images
    agree = np.isnan(x)[:, None] | (x[:, None] == everything)  # (B, all images, D)
    weights = agree.all(axis=2) @ joint
    return weights / weights.sum(axis=1, keepdims=True)


def with_holes(rng, B, D, G, share):
    """Random images whose pixels are missing with probability `share`; of the first, all are missing."""
    holes = rng.random((B, D)) < share
    holes[0] = True
    return np.where(holes, np.nan, rng.integers(0, G + 1, (B, D))).astype(np.float32)


rng = np.random.default_rng(1)
x, model = with_holes(rng, 6, 3, 2, 0.4), draw_model(rng, 2, 3)
check_responsibilities(x, *model, 2, by_all_fillings(x, *model, 2))
x = pattern((4, 300), 7, 0, 16)
x[pattern((4, 300), 7, 0, 12) < 4] = np.nan
pi, mu = np.array([0.5, 0.25, 0.25], np.float32), np.full((3, 300), 0.5, np.float32)
mu[:, :5] = pattern((3, 5), 2, 15, 17) / 32  # the components differ in five pixels
exact = [
    [0.6186, 0.2485, 0.1329],
    [0.2448, 0.3776, 0.3776],
    [0.6258, 0.2218, 0.1524],
    [0.2448, 0.3776, 0.3776],
]
check_responsibilities(x, pi, mu, 16, exact, atol=0.01)
### BEGIN HIDDEN TESTS
# Other sizes, holes and models; complete images; hundreds of pixels.


def check_large(rng, B, D, K, share, far=False):
    """Against whole numbers, which neither round nor underflow.

    far: the first component suits every other pixel far better than the others, and on the whole far less; these are
    equal but for one pixel."""
    x, (pi, mu) = with_holes(rng, B, D, 16, share), draw_model(rng, K, D, close=True)
    if far:
        x = (8 + x // 2).astype(np.float32)
        mu = np.tile(np.float32([[4, 1]] + [[2, 16]] * (K - 1)) / 32, D // 2)
        mu[2:, 0], x[:, 0] = 3 / 32, rng.integers(0, 4, B)
    shares, blacks = np.rint(16 * pi).astype(int).tolist(), np.rint(32 * mu).astype(int).tolist()
    exact = []
    for image in x.tolist():
        known = [(d, int(level)) for d, level in enumerate(image) if not math.isnan(level)]
        factors = [[black[d] ** v * (32 - black[d]) ** (16 - v) for d, v in known] for black in blacks]
        w = [share * math.prod(f) for share, f in zip(shares, factors)]
        exact.append([v / sum(w) for v in w])
    check_responsibilities(x, pi, mu, 16, exact, atol=0.01)


rng = stattests.grading_rng("responsibilities")
for B, D, K, G, share in [(9, 4, 3, 3, 0.5), (5, 3, 4, 5, 0.2), (3, 5, 2, 1, 0.0)]:
    x, model = with_holes(rng, B, D, G, share), draw_model(rng, K, D)
    check_responsibilities(x, *model, G, by_all_fillings(x, *model, G))
check_large(rng, B=5, D=400, K=4, share=0.4)
check_large(rng, B=5, D=400, K=3, share=0.2, far=True)
### END HIDDEN TESTS

# %% [markdown] given="m_step_task"
# ### Gap 3 · The M step with holes and a prior (4 points)
#
# With the responsibilities $r_{nk}$ held fixed, maximise over $\pi$ (with $\sum_k \pi_k = 1$) and $\mu$
#
# $$J = \sum_{n=1}^{N} \sum_{k=1}^{K} r_{nk} \Big[ \log \pi_k + \sum_{d \text{ known in } x_n} \log \mathrm{Bin}(x_{nd};\, G, \mu_{kd}) \Big]
# \; + \; a \sum_{k, d} \big[ \log \mu_{kd} + \log (1 - \mu_{kd}) \big].$$
#
# The last sum is a prior: it keeps $\mu$ away from 0 and 1, where a single image could become impossible. Set
# the derivatives to zero, by hand; no iterations are needed. A component without any images ($r_{nk} = 0$ for
# all $n$) gets $\pi_k = 0$ and $\mu_{kd} = \frac12$ from the right formula by itself, since $a > 0$.
#
# <details><summary>Hint</summary>
#
# For one $k$ and $d$, $J$ is $A \log \mu + C \log (1 - \mu)$ with $A$ and $C$ to be collected, and the
# maximum is at $\mu = A / (A + C)$. Which images count in $A + C$? It is another number for each pixel. For
# $\pi$ use a Lagrange multiplier, as in the preparation.
# </details>


# %% solution="m_step"
def m_step(x, r, a, G):
    """x: (N, D) levels, NaN where missing; r: (N, K), a > 0 → pi (K,), mu (K, D)."""
    ### BEGIN SOLUTION
    known = ~np.isnan(x)
    black = r.T @ np.where(known, x, 0)  # (K, D) small pixels
    total = G * (r.T @ known)
    return r.mean(axis=0), (black + a) / (total + 2 * a)
    ### END SOLUTION


# %% test="m_step" points=4
def check_m_step(x, r, a, G, pi, mu):
    answer = stattests.call(m_step, x, r, a, G)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return two arrays: pi, mu"
    hint = "Is there a prior for pi in J? Is N the number of all images?"
    stattests.assert_close("pi", answer[0], pi, rtol=1e-3, atol=1e-4, hint=hint)
    hint = f"G = {G}, a = {a:g}. Does each pixel count only the images in which it is known? Does a stand in A and in C?"
    stattests.assert_close("mu", answer[1], mu, rtol=1e-3, atol=1e-4, hint=hint)


# four images of three pixels, the last of which is never seen; the third component has no images
x_small = np.array([[0, 4, np.nan], [3, np.nan, np.nan], [np.nan, 1, np.nan], [2, 2, np.nan]], np.float32)
r_small = np.array([[0.75, 0.25, 0], [0.5, 0.5, 0], [0.25, 0.75, 0], [0, 1, 0]], np.float32)
check_m_step(
    x_small,
    r_small,
    1.5,
    4,
    [0.375, 0.625, 0.0],
    [[0.375, 0.67857, 0.5], [0.5, 0.47727, 0.5], [0.5, 0.5, 0.5]],
)
check_m_step(
    x_small,
    r_small,
    0.25,
    16,
    [0.375, 0.625, 0.0],
    [[0.08537, 0.21212, 0.5], [0.13158, 0.12308, 0.5], [0.5, 0.5, 0.5]],
)
### BEGIN HIDDEN TESTS
# Other sizes, priors and shares of holes.


def best_mu(x, r, a, G):
    """Maximise J without its derivative: it is concave in the log-odds of each mu, so a search in thirds finds the top."""
    x, r = (v.astype(float) for v in (x, r))
    black, white = (np.where(np.isnan(x), 0, v)[:, None] for v in (x, G - x))  # (N, 1, D)

    def J(log_odds):  # the part of each mu: (K, D)
        log_mu, log_not_mu = -np.logaddexp(0, -log_odds), -np.logaddexp(0, log_odds)
        data = np.einsum("nk,nkd->kd", r, black * log_mu + white * log_not_mu)
        return data + a * (log_mu + log_not_mu)

    low = np.full((r.shape[1], x.shape[1]), -30.0)
    high = -low
    for _ in range(80):
        third = (high - low) / 3
        rising = J(low + third) < J(high - third)
        low, high = np.where(rising, low + third, low), np.where(rising, high, high - third)
    return 1 / (1 + np.exp(-low))


def compare_m_step(rng, N, D, K, G, a, share, extreme=False):
    levels = rng.integers(0, G + 1, (N, D))
    if extreme:  # black or white throughout: nothing but the prior keeps mu away from 0 and 1
        levels = np.tile(G * (np.arange(D) % 2), (N, 1))
    x = np.where(rng.random((N, D)) < share, np.nan, levels).astype(np.float32)
    x[:, 0] = np.nan  # a pixel that is never seen
    r = rng.dirichlet(np.full(K, 0.5), N).astype(np.float32)
    r[:, -1] = 0  # a component without images
    r /= r.sum(axis=1, keepdims=True)
    pi = [sum(r[n, k] for n in range(N)) / N for k in range(K)]
    check_m_step(x, r, a, G, pi, best_mu(x, r, a, G))


rng = stattests.grading_rng("m_step")
compare_m_step(rng, N=9, D=5, K=4, G=16, a=float(rng.uniform(0.2, 0.6)), share=0.4)
compare_m_step(rng, N=4, D=2, K=2, G=1, a=float(rng.uniform(2, 4)), share=0.0)
compare_m_step(rng, N=30, D=4, K=3, G=7, a=0.5, share=0.8)
compare_m_step(rng, N=40, D=4, K=3, G=16, a=0.01, share=0.1, extreme=True)
### END HIDDEN TESTS

# %% [markdown] given="impute_task"
# ### Gap 4 · Fill the holes (3 points)
#
# Draw the missing pixels of each image from their exact conditional distribution, **jointly**:
#
# $$p(x_\text{missing} \mid x_\text{known}) = \sum_k r_k \prod_{d \text{ missing}} \mathrm{Bin}(x_d;\, G, \mu_{kd}).$$
#
# You are given the responsibilities $r$ (they already contain what the known pixels say). Missing pixels of
# one image must fit together as the formula says; different images are independent. Known pixels keep their
# values.
#
# <details><summary>Hint</summary>
#
# Ancestral sampling: causes first. How many $z$ does an image have? The given function `draw_index(r, rng)` draws an
# index for each row of $r$; `rng.binomial(G, p)` draws counts for an array of probabilities.
# </details>


# %% solution="fill_holes"
def fill_holes(x, r, mu, G, seed):
    """x: (B, D) levels, NaN where missing; r: (B, K), mu: (K, D), seed: int → (B, D) levels without holes, one draw each."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    z = draw_index(r, rng)  # (B,), one for each image
    return np.where(np.isnan(x), rng.binomial(G, mu[z]), x)
    ### END SOLUTION


# %% test="fill_holes" points=3
def call_fill(x, r, mu, G, seed):
    """Call the answer; check shape, known pixels and values."""
    new = stattests.call(fill_holes, x, r, mu, G, seed)
    new = stattests.assert_array("the filled images", new, x.shape)
    known = ~np.isnan(x)
    assert np.array_equal(new[known], x[known]), "the known pixels must keep their values"
    assert np.isin(new, np.arange(G + 1)).all(), (
        f"levels are whole numbers from 0 to {G}: draw them, no means"
    )
    return new


def check_fill_exact(rng, B, D, K, G):
    """No chance involved: each image has one possible component, whose pixels are certain."""
    mu = rng.integers(0, 2, (K, D)).astype(np.float32)
    z = rng.integers(K, size=B)
    x = np.where(rng.random((B, D)) < 0.5, np.nan, rng.integers(0, G + 1, (B, D))).astype(np.float32)
    new = call_fill(x, np.eye(K, dtype=np.float32)[z], mu, G, 3)
    right = np.where(np.isnan(x), G * mu[z], x)
    assert np.array_equal(new, right), (
        "with r = 1 for one component and mu of 0 or 1 the result is certain: G · mu there"
    )


def check_fill(x, r, mu, G, seed, N=6_000):
    """N draws of each of two images, in alternating rows, against the exact probabilities of all fillings.

    Frequencies are means of N independent 0/1 values of known variance (Bernstein); false alarm below 1e-7 a call.
    """
    new = call_fill(np.tile(x, (N, 1)), np.tile(r, (N, 1)), mu, G, seed)
    for i in range(2):
        holes = np.flatnonzero(np.isnan(x[i]))
        fillings = all_images(len(holes), G)
        exact = p_x_z(fillings, mu[:, holes], G) @ r[i].astype(float)
        for values, p in zip(fillings, exact):
            f = np.mean((new[i::2][:, holes] == values).all(axis=1))
            tolerance = stattests.bernstein_tolerance(N, p * (1 - p), 1.0, alpha=5e-8, comparisons=len(exact))
            assert abs(f - p) <= tolerance, (
                f"r = {r[i].round(2)}: missing pixels {holes} become {values.astype(int)} in {f:.3f} of {N:,} draws, but "
                f"with probability {p:.3f} ± {tolerance:.3f}. Is z drawn from r, one for each image and all its pixels?"
            )


check_fill_exact(np.random.default_rng(3), B=9, D=4, K=3, G=5)
x_example = np.array([[np.nan, 1, np.nan], [np.nan, 2, 0]], np.float32)
mu_example = np.array([[0.1, 0.5, 0.2], [0.9, 0.4, 0.7]], np.float32)
check_fill(x_example, np.array([[0.4, 0.6], [0.8, 0.2]], np.float32), mu_example, G=2, seed=1)
x_empty, r_half = np.full((50, 3), np.nan, np.float32), np.full((50, 2), 0.5, np.float32)
check_seed(lambda seed: call_fill(x_empty, r_half, mu_example, 2, seed))
mu_sure, r_sure = np.array([[0, 0, 1], [1, 0, 1]], np.float32), np.array([[1, 0]] * 50, np.float32)
check_seed(lambda seed: call_fill(x_empty, r_half, mu_sure, 2, seed))  # only z is left to chance
check_seed(lambda seed: call_fill(x_empty, r_sure, mu_example, 2, seed))  # only the pixels are
### BEGIN HIDDEN TESTS
# Other sizes, models and holes, up to three of them; the seed.
rng = stattests.grading_rng("fill_holes")
check_fill_exact(rng, B=12, D=6, K=4, G=16)
for D, K, G in [(3, 3, 2), (5, 2, 1)]:
    x = rng.integers(0, G + 1, (2, D)).astype(np.float32)
    x[0, rng.permutation(D)[: D // 2 + 1]] = np.nan
    x[1, rng.permutation(D)[:1]] = np.nan
    mu = rng.uniform([[0.05]] + [[0.6]] * (K - 1), [[0.3]] + [[0.95]] * (K - 1), (K, D)).astype(np.float32)
    check_fill(x, rng.dirichlet(np.full(K, 3.0), 2).astype(np.float32), mu, G, seed=int(rng.integers(2**31)))
x, r = np.full((50, D), np.nan, np.float32), np.full((50, K), 1 / K, np.float32)
check_seed(lambda seed: call_fill(x, r, mu, G, seed))
### END HIDDEN TESTS

# %% [markdown] given="kl_task"
# ## 2 · Using the models
#
# ### Gap 5 · KL by drawing (3 points)
#
# In the plane of the preparation a grid could do the integral. A grid over images has $17^{64}$ points. But
# $\mathrm{KL}(p \,\|\, q)$ is an expectation, and expectations can be estimated from draws.
#
# Given two mixtures of binomials, $p$ and $q$, draw N images independently **by ancestral sampling** from one
# of them (from which?) and return the estimate of $\mathrm{KL}(p \,\|\, q)$ in nats, and its standard error.
# Exchanging the arguments must give the reverse divergence. Use each of the N images once. The images in the tests
# have at most 30 pixels with few levels, so `p_x_z` will do here; they are too many to list.
#
# <details><summary>Hint</summary>
#
# `draw_index(np.tile(pi, (N, 1)), rng)` draws N components. Write the estimate as a mean of N independent numbers. Its standard error is their standard deviation
# divided by $\sqrt{N}$. The numbers contain the probability of the image, with $z$ summed out.
# </details>


# %% solution="kl_by_drawing"
def kl_by_drawing(pi_p, mu_p, pi_q, mu_q, G, N, seed):
    """pi_p: (K,), mu_p: (K, D), and pi_q: (M,), mu_q: (M, D) → the estimate of KL(p ‖ q) and its standard error, in nats."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    z = draw_index(np.tile(pi_p, (N, 1)), rng)
    x = rng.binomial(G, mu_p[z])  # (N, D)
    log_ratio = np.log(p_x_z(x, mu_p, G) @ pi_p) - np.log(p_x_z(x, mu_q, G) @ pi_q)
    return log_ratio.mean(), log_ratio.std() / np.sqrt(N)
    ### END SOLUTION


# %% test="kl_by_drawing" points=3
def call_kl(p, q, G, N, seed):
    answer = stattests.call(kl_by_drawing, *p, *q, G, N, seed)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, (
        "return two numbers: estimate, standard error"
    )
    names = ["the estimate", "the standard error"]
    return [float(stattests.assert_array(name, v, ())) for name, v in zip(names, answer)]


def check_kl(p, q, G, seed, facts, N=20_000):
    """The log ratios of N draws are independent, bounded, and all their moments are exact sums over all images.

    So Bernstein's inequality holds for their mean and for that of their squared deviations; false alarm below 1e-7 a call.
    facts: KL(p ‖ q), KL(q ‖ p), the variance of the log ratio, its largest deviation; the same two of the squares.
    Pixels of probability ½ are added until there are 30: they change none of these, and nobody can list the images.
    """
    p, q = ((pi, np.pad(mu, ((0, 0), (0, 30 - mu.shape[1])), constant_values=0.5)) for pi, mu in (p, q))
    kl, reverse, variance, bound, variance2, bound2 = facts
    near = stattests.bernstein_tolerance(N, variance, bound, alpha=5e-8)
    near2 = stattests.bernstein_tolerance(N, variance2, bound2, alpha=5e-8)
    estimate, error = call_kl(p, q, G, N, seed)
    assert abs(estimate - kl) <= near + 1e-4, (
        f"the estimate from {N:,} draws is {estimate:.3f} nats, but KL(p ‖ q) is {kl:.3f} ± {near:.3f}, and KL(q ‖ p) is "
        f"{reverse:.3f}. Drawn from p, component by component? Is z summed out in both probabilities?"
    )
    slack = near2 + near**2 + 1e-3 * variance  # the last for rounding, and for N − 1 in place of N
    assert error >= 0 and abs(N * error**2 - variance) <= slack, (
        f"the standard error from {N:,} draws is {error:.2g}, but √(variance / N) is {np.sqrt(variance / N):.2g}"
    )


broad = np.array([0.5, 0.5], np.float32), np.array([[0.15, 0.2], [0.85, 0.7]], np.float32)
single = np.array([0.25, 0.5, 0.25], np.float32), np.array([[0.6, 0.5], [0.7, 0.6], [0.8, 0.8]], np.float32)
check_kl(broad, single, G=3, seed=1, facts=[0.86975, 0.44978, 2.93072, 3.13037, 9.81725, 6.86847])
check_kl(single, broad, G=3, seed=2, N=8_000, facts=[0.44978, 0.86975, 0.42302, 4.4499, 2.10499, 19.3786])
check_seed(lambda seed: call_kl(broad, single, 3, 1000, seed))
### BEGIN HIDDEN TESTS
# Other models and sizes, both directions; equal models; the seed.


def kl_facts(p, q, G):
    """By sums over all images."""
    states = all_images(p[1].shape[1], G)
    p_x, q_x = (p_x_z(states, mu.astype(float), G) @ pi for pi, mu in (p, q))
    log_ratio = np.log(p_x / q_x)
    kl = p_x @ log_ratio
    squares = (log_ratio - kl) ** 2
    variance = p_x @ squares
    deviations = (
        np.abs(log_ratio - kl).max(),
        p_x @ (squares - variance) ** 2,
        np.abs(squares - variance).max(),
    )
    return kl, q_x @ -log_ratio, variance, *deviations


rng = stattests.grading_rng("kl_by_drawing")
for D, G, K, M in [(2, 3, 2, 3), (3, 2, 3, 1)]:
    p, q = (
        (
            draw_model(rng, n, D)[0],  # 16ths, which sum to 1 also when they are turned into float64
            rng.uniform(0.15, 0.85, (n, D)).astype(np.float32),
        )
        for n in (K, M)
    )
    check_kl(p, q, G, int(rng.integers(2**31)), kl_facts(p, q, G))
    check_kl(q, p, G, int(rng.integers(2**31)), kl_facts(q, p, G), N=5_000)
same = call_kl(p, p, G, 1000, 4)
assert max(map(abs, same)) < 1e-5, f"for q = p the log ratios are all 0, but estimate and error are {same}"
check_seed(lambda seed: call_kl(p, q, G, 1000, seed))
### END HIDDEN TESTS

# %% [markdown] given="train_task"
# ## 3 · Everything together
#
# ### Gap 6 · Train on images with holes (2 points)
#
# Of the training images below, 40 percent of the pixels are missing, in each image others (orange in the
# figure). Train a mixture of $K = 40$ binomials on them by EM; no hole need be filled. With matrix products it takes
# a second or two; 40 EM steps suffice.
#
# You hand over the parameters, and the test computes the exact log-likelihood of *complete* images that were
# not used for training. You pass with at least **−155 nats per image** (3.5 bits per pixel) on the validation
# part and, when you hand in, on the test part, also for other holes; the threshold leaves room for bad luck. For comparison: one
# component reaches −254, and filling the holes with each pixel's mean before training gives about −166. Only
# `K=40` and `seed=0` are judged. A higher value is never wrong.
#
# <details><summary>Hint</summary>
#
# If all components start equal, they stay equal. Start each at a random training image, its levels divided by
# $G$, but not with $\mu$ of 0 or 1: halfway between the image and the mean of all known values of each pixel is
# a good place, and where the image has a hole, the mean. Some pixels are white in all images, so clip the start
# to 0.02 … 0.98. Without a prior they give $\mu = 0$ again, and `NaN`; any $a$ between 0.3 and 3 will do.
# Compute with logarithms.
# </details>

# %% given="grey_data"
digits = datasets.digits("grey")
G_GREY = datasets.GREY_LEVELS - 1  # 16
holes = np.random.default_rng(1).random(digits.train.shape) < 0.4
x_train = np.where(holes, np.nan, digits.train).astype(np.float32)  # (1197, 64), levels 0 to 16 or NaN
plotting.image_grid(
    np.concatenate([digits.train[:10], x_train[:10]]),
    digits.shape,
    "Top: ten grey digits. Bottom: what you train on. Could you tell them from the bottom row alone?",
    "Two rows of ten grey digits, the second with many orange pixels.",
)


# %% solution="train_binomials"
def train_binomials(x_train, K, G, seed):
    """x_train: (N, D) levels, NaN where missing; K: int → pi (K,), mu (K, D), trained."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    known = ~np.isnan(x_train)
    black = np.where(known, x_train, 0).astype(float)
    white, a = G * known - black, 1.0
    mean = np.nanmean(x_train, axis=0) / G
    start = rng.choice(len(x_train), K, replace=False)
    mu = np.clip(np.where(known[start], (black[start] / G + mean) / 2, mean), 0.02, 0.98)
    pi = np.full(K, 1 / K)
    for _ in range(40):
        log_w = np.log(pi) + black @ np.log(mu).T + white @ np.log1p(-mu).T
        r = np.exp(log_w - logsumexp(log_w, axis=1, keepdims=True))
        pi = (r.sum(axis=0) + 1e-9) / (len(r) + K * 1e-9)  # never log 0
        mu = (r.T @ black + a) / (G * (r.T @ known) + 2 * a)
    return pi, mu
    ### END SOLUTION


# %% test="train_binomials" points=2
def call_train(x):
    """Train on x: (N, 64), NaN where missing; check and return pi (40,), mu (40, 64)."""
    answer = stattests.call(train_binomials, x, 40, G_GREY, 0)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return two arrays: pi, mu"
    pi = stattests.assert_array("pi", answer[0], (40,)).astype(float)
    mu = stattests.assert_array("mu", answer[1], (40, 64)).astype(float)
    assert (pi >= 0).all() and abs(pi.sum() - 1) < 1e-3, "pi must be probabilities that sum to 1"
    assert (mu >= 0).all() and (mu <= 1).all(), "mu must be probabilities: levels divided by G?"
    return pi / pi.sum(), mu


def exact_log_likelihood(x, pi, mu):
    """The mean of log p(x) in nats; 64 pixels do not underflow unless the model is hopeless, and then it gets −690."""
    return np.log(np.maximum(p_x_z(x, mu, G_GREY) @ pi, 1e-300)).mean()


trained = call_train(x_train)
reached = exact_log_likelihood(digits.validation, *trained)
print(f"{reached:.1f} nats per image on the validation part, {-reached / np.log(2) / 64:.2f} bits per pixel")
assert reached >= -155, (
    f"{reached:.1f} nats per image reached, at least −155 expected. Do the components start at different images, do missing "
    "pixels drop out of the E step and of the M step, does the prior keep mu away from 0 and 1?"
)
### BEGIN HIDDEN TESTS
# The likelihood on images that the training has never seen, the test part.
# The threshold is empirical: over 50 seeds the reference reaches −146.1 to −139.5 on the validation part and −145.4 to −139.3
# on the test part; the worst minus the range is −152.7 and −151.4. With pixels in another order and other holes it
# reaches −144.6 to −140.9 on the test part, six times.
held_out = exact_log_likelihood(digits.test, *trained)
assert held_out >= -155, f"only {held_out:.1f} nats per image on the test part, at least −155 expected"
rng = stattests.grading_rng("train_binomials")
order = rng.permutation(64)  # whoever trains on anything but x_train does not know it
x_other = np.where(rng.random(digits.train.shape) < 0.4, np.nan, digits.train[:, order]).astype(np.float32)
held_out = exact_log_likelihood(digits.test[:, order], *call_train(x_other))
assert held_out >= -155, (
    f"only {held_out:.1f} nats per image for the same pixels in another order, with other holes; at least −155 expected. "
    "Is the model trained on x_train, as it is handed over, and on nothing else?"
)
### END HIDDEN TESTS

# %% [markdown] given="argue_task"
# ## 4 · A question to argue (2 points)
#
# In gap 6 a coin decided which pixels are missing. Now imagine a scanner that *saturates*: it records every
# pixel with a level above 12 as missing, and no other, in all images that there are. Someone trains on them
# with a right answer to gap 6, and fills the holes with a right answer to gap 4.
#
# 1. Let $m$ say which pixels are missing. Why was it right in gap 6 to maximise $p(x_\text{known})$ and to
#    forget $m$? Write down $p(x_\text{known}, m)$ as a sum over $x_\text{missing}$, and say which property of
#    $p(m \mid x)$ is used.
# 2. What goes wrong with the scanner: in which direction are $\mu$ and the filled-in levels off? Would the
#    log-likelihood of the *known* pixels of held-out scans give the alarm?
#
# Answer in about 100 words.

# %% [markdown] argue="argue_scanner" points=2
# ### BEGIN SOLUTION
# 1. $p(x_\text{known}, m) = \sum_{x_\text{missing}} p(x_\text{known}, x_\text{missing})\, p(m \mid
#    x_\text{known}, x_\text{missing})$. If $p(m \mid x)$ does not depend on the missing values (the coin
#    depends on nothing at all), it comes out of the sum: $p(x_\text{known}, m) = p(m \mid x_\text{known})\,
#    p(x_\text{known})$. The first factor does not contain $\pi$ or $\mu$, so it changes no maximum.
# 2. Here $m$ depends on the missing values themselves. A pixel is known only where it is at most 12, so dark
#    strokes are seen only where they are faint. All $\mu$ come out too low, and the holes are filled with
#    levels that are too low: many of at most 12, which is impossible. The known pixels of held-out scans are
#    cut off in the same way, so the model fits them well: no alarm. Only some complete images, or the
#    knowledge of how the scanner works, reveal it. (Whoever knows it changes the factor of a missing pixel from 1
#    to $P(x_d > 12 \mid z = k)$.)
#
# **Rubric.** ½ point for the factorisation; ½ for its condition, that $p(m \mid x)$ does not depend on what is missing;
# ½ for the direction (too low) with the reason; ½ for "no alarm, since the held-out scans are cut off alike".
# ### END SOLUTION

# %% [markdown] given="end"
# ---
# Before you hand in: *Kernel → Restart Kernel and Run All Cells*, then the **Validate** button. It runs the
# visible tests.
