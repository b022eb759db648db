# %% [markdown] given="title"
# # Week 12 · Exercise: Other couplings, other noise, other paths
#
# {{colab}}
#
# In the preparation a coupling layer scaled each variable by itself, all images had one size, the bound used one draw
# of noise, and noise and data were joined by straight lines. Here each of these changes:
#
# - a coupling that multiplies the moved variables by a **triangular matrix**; actnorm for images of **different
#   sizes**;
# - a bound from **several draws** of noise; an inverse autoregressive flow with **gates**, evaluated at given data;
# - noise and data joined by **arcs**, and a velocity that is trained on them.
#
# **20 points, about 140 minutes.** Six gaps are graded automatically (18 points), a question by a person (2 points).
#
# ## How it works
#
# - Write your answer where it says `raise NotImplementedError`. Keep the names and arguments of the functions.
# - The cell after each gap tests your answer and says what is wrong. When you hand in, further tests run on other
#   inputs.
# - Arrays arrive from NumPy, numbers as `float32` or `float64`, indices and sizes as integers. Return NumPy arrays or
#   TensorFlow tensors, in `float32` or `float64`, as you like. Do not change the arrays that come in.
# - Each gap is tested on its own, from given values.
#
# **Letters:** B batch, D variables, C channels, K grey levels, M draws of noise.

# %% setup

# %% given="imports"
import keras
import numpy as np
import tensorflow as tf

from utils import stattests

# %% [markdown] given="coupling_task"
# ## 1 · Layers
#
# ### Gap 1 · A triangular coupling (4 points, 25 minutes)
#
# `kept` holds the indices of the variables that stay as they are, in any order; the others, in ascending order, are
# moved, n of them. From the kept ones a network computes a shift $m$ and a lower triangular matrix $L$ with a positive
# diagonal. On the way **from data to noise**
#
# $$z_{\text{kept}} = x_{\text{kept}}, \qquad z_{\text{moved}} = L \left( x_{\text{moved}} - m \right).$$
#
# So moved variables act on each other as well, which they do not in RealNVP. Write both directions.
#
# `conditioner(u, W)` is given. It gets the kept variables in the order of `kept`, (B, D − n), and returns $m$, (B, n),
# and $L$, (B, n, n).
#
# Return the mapped points, (B, D), with every variable in its own place, and $\log |\det|$ of the Jacobian **of the
# map that was applied**, (B,).
#
# <details><summary>Hint</summary>
#
# From noise to data a system of equations with the matrix $L$ is solved: `np.linalg.solve` does it for a batch, right
# sides as (B, n, 1). For the determinant you need the diagonal of $L$ only.
# </details>


# %% given="conditioner"
def conditioner(u, W):
    """u: (B, D − n), W: five arrays → m (B, n), L (B, n, n), lower triangular with a positive diagonal."""
    h = np.tanh(np.asarray(u) @ W[0])
    m, entries = h @ W[1] + W[2], np.tensordot(h, W[3], 1) + W[4]  # (B, n), (B, n, n)
    return m, np.tril(entries, -1) + np.exp(entries) * np.eye(m.shape[1])


# %% solution="triangular_coupling"
def triangular_coupling(v, kept, W, to_data):
    """v: (B, D): x, or z if to_data; kept: indices; W: the network's weights → the other one (B, D), log |det| (B,)."""
    ### BEGIN SOLUTION
    moved = np.setdiff1d(np.arange(v.shape[1]), kept)
    m, L = conditioner(v[:, kept], W)
    log_det = np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1)
    result = np.array(v, float)
    if to_data:
        result[:, moved] = np.linalg.solve(L, v[:, moved][:, :, None])[:, :, 0] + m
        return result, -log_det
    result[:, moved] = (L @ (v[:, moved] - m)[:, :, None])[:, :, 0]
    return result, log_det
    ### END SOLUTION


# %% test="triangular_coupling" points=4
COUPLING_HINT = (
    "The network sees the kept variables only, in both directions, in the order of `kept`; m is subtracted before L "
    "multiplies; log |det| belongs to the map that is applied; every variable returns to its own place."
)


def couple(v, kept, W, to_data):
    """The answer, its form checked."""
    v, W = np.asarray(v), [np.asarray(w, float) for w in W]
    answer = stattests.call(triangular_coupling, v, np.array(kept, np.int64), W, to_data)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, (
        "return the points and log |det|, two arrays"
    )
    points = stattests.assert_array("the points", answer[0], v.shape)
    return points.astype(float), stattests.assert_array("log |det|", answer[1], (len(v),)).astype(float)


def conditioner_weights(rng, kept, n, scale=0.5):
    return [rng.normal(size=s) * scale for s in [(kept, 7), (7, n), n, (7, n, n), (n, n)]]


def check_there_and_back(rng, B, D, kept):
    """The other direction undoes the first one, and the log-determinants cancel."""
    n = D - len(kept)
    W, x = conditioner_weights(rng, len(kept), n), rng.normal(size=(B, D))
    z, log_det = couple(x, kept, W, False)
    back, log_det_back = couple(z, kept, W, True)
    what = f"{D} variables, kept {list(map(int, kept))}"
    stattests.assert_close(
        f"x after both directions, {what}", back, x, rtol=1e-3, atol=1e-3, hint=COUPLING_HINT
    )
    stattests.assert_close(f"sum of both log |det|, {what}", log_det + log_det_back, np.zeros(B), atol=1e-3)
    return x, W, z, log_det


# The network says the same for every point: m = (1, −1), L₁₁ = 2, L₂₁ = 3, L₂₂ = ½.
W = [np.zeros(s) for s in [(1, 7), (7, 2), 2, (7, 2, 2), (2, 2)]]
W[2], W[4] = np.array([1, -1]), np.array([[np.log(2), 0], [3, np.log(0.5)]])
points, log_det = couple([[2.0, 5.0, 3.0]], [1], W, False)
stattests.assert_close("z of x = (2, 5, 3), constant L", points, [[2, 5, 5]], rtol=1e-3, hint=COUPLING_HINT)
stattests.assert_close("log |det| of a matrix with diagonal 2 and ½", log_det, [0.0], atol=1e-5)
W[4][1, 1] = np.log(2)
points, log_det = couple([[2.0, 5.0, 7.0]], [1], W, True)
stattests.assert_close("x of z = (2, 5, 7), constant L", points, [[2, 5, 1]], rtol=1e-3, hint=COUPLING_HINT)
stattests.assert_close(
    "log |det| from noise to data", log_det, [-2 * np.log(2)], rtol=1e-4, hint=COUPLING_HINT
)
check_there_and_back(np.random.default_rng(0), B=6, D=5, kept=[3, 0])
### BEGIN HIDDEN TESTS
# Other sizes, one example after the other from the definition, and the Jacobian by differences.


def check_random_coupling(rng, B, D, kept):
    x, W, z, log_det = check_there_and_back(rng, B, D, kept)
    moved = [d for d in range(D) if d not in kept]
    exact, exact_log_det = x.copy(), np.zeros(B)
    for b in range(B):
        m, L = (part[0] for part in conditioner(x[b : b + 1, kept], W))
        for i, d in enumerate(moved):
            exact_log_det[b] += np.log(L[i, i])
            exact[b, d] = sum(L[i, j] * (x[b, moved[j]] - m[j]) for j in range(i + 1))
    what = f"{D} variables, kept {list(map(int, kept))}"
    stattests.assert_close(f"z, {what}", z, exact, rtol=1e-3, atol=1e-3, hint=COUPLING_HINT)
    stattests.assert_close(
        f"log |det|, {what}", log_det, exact_log_det, rtol=1e-3, atol=1e-3, hint=COUPLING_HINT
    )


rng = stattests.grading_rng("triangular_coupling")
check_random_coupling(rng, 5, 2, [1])
check_random_coupling(rng, 4, 6, [5, 2, 0])
check_random_coupling(rng, 7, 7, [3])
check_random_coupling(rng, 1, 6, list(rng.permutation(6)[:4]))
check_random_coupling(rng, 3, 8, list(rng.permutation(8)[:3]))
### END HIDDEN TESTS

# %% [markdown] given="actnorm_task"
# ### Gap 2 · Actnorm for images of different sizes (3 points, 20 minutes)
#
# Glow begins each step with a scale and a shift for each channel (actnorm), set by the first batch so that every
# channel has mean 0 and variance 1 there (Kingma and Dhariwal, 2018). Let the images of a batch have different sizes:
# image b fills the upper left corner of its place, `size[b]` = (height, width) pixels; the rest is padding, 0, and is
# no part of the image.
#
# $$y = s_c\, x + b_c \quad \text{for the pixels of the images}, \qquad s_c > 0.$$
#
# Choose $s$ and $b$ such that in each channel **all pixels of all images of the batch together** have mean 0 and
# variance 1 (the variance with division by the number of pixels). Padding stays 0.
#
# Return y, (B, height, width, C), and for each image $\log |\det|$ of the map of all its numbers, (B,), with $s$ and
# $b$ held fixed; of an image only its own pixels count.
#
# <details><summary>Hint</summary>
#
# A mask of 0 and 1, (B, height, width, 1), makes the rest short: compare `np.arange(height)` with the sizes.
# </details>


# %% solution="actnorm"
def actnorm(x, size):
    """x: (B, height, width, C), size: (B, 2) integers → y like x, log |det| (B,)."""
    ### BEGIN SOLUTION
    height, width = x.shape[1:3]
    inside = (np.arange(height) < size[:, :1])[:, :, None] & (np.arange(width) < size[:, 1:])[:, None]
    pixels = x[inside].astype(float)  # (number of pixels, C)
    scale = 1 / pixels.std(axis=0)
    y = np.where(inside[..., None], (x - pixels.mean(axis=0)) * scale, 0)
    return y, inside.sum(axis=(1, 2)) * np.log(scale).sum()
    ### END SOLUTION


# %% test="actnorm" points=3
ACTNORM_HINT = (
    "Mean and variance are those of all pixels of all images, without padding; each pixel of an image adds the sum of log s "
    "over the channels."
)


def images_of_sizes(rng, B, height, width, C):
    """Images (B, height, width, C) of sizes (B, 2), padded with 0; no channel is like another."""
    size = np.stack([rng.integers(1, height + 1, B), rng.integers(1, width + 1, B)], axis=1)
    x = np.zeros((B, height, width, C), np.float32)
    for b, (h, w) in enumerate(size):
        x[b, :h, :w] = rng.normal(size=(h, w, C)) * rng.uniform(0.3, 3, C) + rng.normal(size=C) * 2
        x[b, rng.integers(h), rng.integers(w)] = 0  # a black pixel is a pixel too
    return x, size


def normed(x, size):
    """The answer, its form checked."""
    answer = stattests.call(actnorm, x, size)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return y and log |det|, two arrays"
    y = stattests.assert_array("y", answer[0], x.shape).astype(float)
    return y, stattests.assert_array("log |det|", answer[1], (len(x),)).astype(float)


x = np.zeros((2, 2, 2, 1), np.float32)
x[0, 0, :, 0], x[1, :, 0, 0] = [1, 3], [5, 7]  # one row of two pixels, one column of two
y, log_det = normed(x, np.array([[1, 2], [2, 1]]))
a, b = 3 / 5**0.5, 1 / 5**0.5
exact = [[[[-a], [-b]], [[0], [0]]], [[[b], [0]], [[a], [0]]]]
stattests.assert_close("y of the pixels 1, 3 and 5, 7", y, exact, rtol=1e-3, atol=1e-4, hint=ACTNORM_HINT)
stattests.assert_close(
    "log |det| of two pixels each", log_det, [-np.log(5)] * 2, rtol=1e-3, hint=ACTNORM_HINT
)
x, size = images_of_sizes(np.random.default_rng(3), 3, 4, 5, 2)
y, log_det = normed(x, size)
pixels = np.concatenate([image[:h, :w].reshape(-1, 2) for image, (h, w) in zip(y, size)])
stattests.assert_close("mean of each channel of y", pixels.mean(axis=0), [0, 0], atol=1e-3, hint=ACTNORM_HINT)
stattests.assert_close(
    "variance of each channel of y", pixels.var(axis=0), [1, 1], rtol=1e-3, hint=ACTNORM_HINT
)
### BEGIN HIDDEN TESTS
# Other images and sizes, pixel by pixel.


def check_random_actnorm(rng, B, height, width, C):
    x, size = images_of_sizes(rng, B, height, width, C)
    exact, log_det = np.zeros(x.shape), np.zeros(B)
    for c in range(C):
        numbers = [float(v) for b in range(B) for v in x[b, : size[b, 0], : size[b, 1], c].ravel()]
        mean = sum(numbers) / len(numbers)
        s = (sum((v - mean) ** 2 for v in numbers) / len(numbers)) ** -0.5
        for b, (h, w) in enumerate(size):
            exact[b, :h, :w, c] = s * (x[b, :h, :w, c] - mean)
            log_det[b] += h * w * np.log(s)
    y, answer = normed(x, size)
    what = f"{B} images of up to {height} × {width} pixels, {C} channels"
    stattests.assert_close(f"y, {what}", y, exact, rtol=1e-3, atol=1e-3, hint=ACTNORM_HINT)
    stattests.assert_close(f"log |det|, {what}", answer, log_det, rtol=1e-3, atol=1e-3, hint=ACTNORM_HINT)


rng = stattests.grading_rng("actnorm")
check_random_actnorm(rng, 4, 5, 3, 2)
check_random_actnorm(rng, 6, 3, 7, 1)
check_random_actnorm(rng, 2, 6, 6, 5)
check_random_actnorm(rng, 8, 4, 4, 3)
### END HIDDEN TESTS

# %% [markdown] given="bits_task"
# ## 2 · Bounds and densities
#
# ### Gap 3 · A bound from several draws of noise (3 points, 25 minutes)
#
# The preparation's bound averages $\log p$ over the noise. With M draws *inside* the logarithm it is tighter
# (Hoogeboom et al., 2020; for VAEs it was week 6's IWAE):
#
# $$\log P(x) \ge \mathbb{E} \left[ \log \frac{1}{M} \sum_{i=1}^{M} p\left(x + u^{(i)}\right) \right], \qquad u^{(i)} \text{ uniform on } [0, 1)^D .$$
#
# Here $p$ is a density of $x + u \in [0, K]^D$. What you have is a flow that was trained on images in $[-1, 1]$: a
# function `log_density(y)` returns log-densities **of $y = 2 (x + u) / K - 1$**, (N, D) → (N,), in nats. The noise u
# is given.
#
# Return the bound of each image in **bits per dimension**, (B,): the smaller, the better. Log-densities of several
# thousand below 0 occur, so do not exponentiate them as they are.
#
# <details><summary>Hint</summary>
#
# Which factor turns a density of y into one of x + u? One dimension, K cells: a uniform density on $[-1, 1]$ is ½, and
# must give $P = 1 / K$, that is $\log_2 K$ bits. `log_density` takes a matrix: put the M · B rows one below the other.
# </details>


# %% solution="bits"
def bits(x, u, log_density, K):
    """x: (B, D) levels 0 … K − 1; u: (M, B, D) in [0, 1); log_density: y (N, D) → (N,) → bits per dimension (B,)."""
    ### BEGIN SOLUTION
    M, B, D = u.shape
    y = 2 * (x + u) / K - 1
    log_p = np.asarray(log_density(y.reshape(M * B, D)), float).reshape(M, B) + D * np.log(2 / K)
    largest = log_p.max(axis=0)
    bound = largest + np.log(np.mean(np.exp(log_p - largest), axis=0))
    return -bound / (D * np.log(2))
    ### END SOLUTION


# %% test="bits" points=3
BITS_HINT = (
    "A density of y becomes one of x + u by the factor 2/K for each dimension; the mean over the M draws is taken of "
    "densities, not of their logarithms; bits are nats divided by log 2, per dimension, with a minus."
)


def check_bits(what, x, u, log_density, K, exact):
    answer = stattests.call(bits, np.asarray(x, np.float32), np.asarray(u, np.float64), log_density, K)
    stattests.assert_close(f"bits, {what}", answer, exact, rtol=1e-3, atol=1e-4, hint=BITS_HINT)


def uniform(y):
    y = np.asarray(y, float)
    assert y.ndim == 2, f"log_density expects y of shape (N, D), got {y.shape}"
    assert np.abs(y).max() <= 1 + 1e-6, "log_density got values outside [−1, 1]"
    return np.full(len(y), -y.shape[1] * np.log(2))


def ramp(y):  # density (1 + y₁) / 2 of the first variable, the others uniform
    y = np.asarray(y, float)
    assert y.ndim == 2 and np.abs(y).max() <= 1 + 1e-6, "log_density expects y (N, D) within [−1, 1]"
    return np.log((1 + y[:, 0]) / 2) - (y.shape[1] - 1) * np.log(2)


u = np.random.default_rng(0).random((5, 2, 3))
check_bits("a uniform density, 8 levels", [[0, 7, 3], [1, 2, 3]], u, uniform, 8, [3, 3])
middles = (np.arange(100)[:, None, None] + 0.5) / 100 * np.ones((1, 4, 1))
exact = [-np.log2((2 * k + 1) / 16) for k in range(4)]  # the ramp's cells, exactly
check_bits("a ramp, 4 levels, draws that fill the cell", [[0], [1], [2], [3]], middles, ramp, 4, exact)
check_bits("a ramp, one draw", [[1, 0]], [[[0.5, 0.25]]], ramp, 2, [-np.log2(0.75 / 2) / 2])
### BEGIN HIDDEN TESTS
# Other densities, numbers of levels and draws, with logarithms far below 0; image by image.


def narrow(y):  # Gaussians of width 0.02 about a curve
    y = np.asarray(y, float)
    assert y.ndim == 2 and np.abs(y).max() <= 1 + 1e-6, "log_density expects y (N, D) within [−1, 1]"
    centre = 0.5 * np.sin(3 * np.arange(y.shape[1]))
    return -np.sum((y - centre) ** 2, axis=1) / (2 * 0.02**2) - y.shape[1] * np.log(0.02 * np.sqrt(2 * np.pi))


def check_random_bits(rng, B, D, K, M, log_density):
    x, u = rng.integers(K, size=(B, D)), rng.random((M, B, D))
    exact = np.zeros(B)
    for b in range(B):
        terms = [float(log_density(2 * (x[b] + u[i, b])[None] / K - 1)[0]) for i in range(M)]
        nats = np.logaddexp.reduce(terms) - np.log(M) + D * np.log(2 / K)
        exact[b] = -nats / np.log(2) / D
    what = f"{B} images of {D} pixels with {K} levels, {M} draws"
    check_bits(what, x, u, log_density, K, exact)


rng = stattests.grading_rng("bits")
check_random_bits(rng, 4, 3, 5, 6, narrow)
check_random_bits(rng, 1, 8, 17, 3, narrow)
check_random_bits(rng, 6, 2, 3, 1, ramp)
check_random_bits(rng, 3, 5, 256, 20, ramp)
check_random_bits(rng, 5, 4, 2, 4, narrow)
### END HIDDEN TESTS

# %% [markdown] given="iaf_task"
# ### Gap 4 · An inverse autoregressive flow, evaluated at data (3 points, 25 minutes)
#
# Kingma et al. (2016) keep their inverse autoregressive flow stable by gates, $g = \sigma(a) \in (0, 1)$:
#
# $$x_d = g_d\, z_d + (1 - g_d)\, m_d, \qquad (a_d, m_d) \text{ from the } z_e \text{ of earlier steps},$$
#
# where variable d comes at step $s_d$, any integer; variables of one step do not see each other. Drawing is one pass.
# You have data x and want their density: z must be found first, step by step.
#
# `gates(z, step, W)` is given: z (B, D) → a and m, (B, D) each. Its entries for variable d depend on those variables
# only whose step is smaller than $s_d$, whatever stands in the other places of z. z has a standard normal density.
#
# Return z, (B, D), and $\log p(x)$, (B,) nats.
#
# <details><summary>Hint</summary>
#
# The network is for z, so where z is not known yet, put any numbers, and run it again when more is known. How often must
# it be run for S different steps? For $\log |\det \partial x / \partial z|$ the matrix is triangular in the order of
# the steps.
# </details>


# %% given="gates"
def gates(z, step, W):
    """z: (B, D), step: (D,) integers, W: three arrays → a, m: (B, D) each."""
    earlier = np.asarray(step)[:, None] < np.asarray(step)[None]  # (e, d): does d see e?
    z = np.asarray(z, float)
    a = 2 * np.sin(z @ (W[0] * earlier)) + W[2]
    return a, np.tanh(z @ (W[1] * earlier)) + 0.5


# %% solution="iaf_density"
def iaf_density(x, step, W):
    """x: (B, D), step: (D,), W: the network's weights → z (B, D), log p(x) (B,)."""
    ### BEGIN SOLUTION
    z = np.zeros(x.shape)
    for _ in np.unique(step):
        a, m = gates(z, step, W)
        g = 1 / (1 + np.exp(-a))
        z = (x - (1 - g) * m) / g
    log_pz = np.sum(-(z**2) / 2 - np.log(2 * np.pi) / 2, axis=1)
    return z, log_pz - np.sum(np.log(g), axis=1)
    ### END SOLUTION


# %% test="iaf_density" points=3
IAF_HINT = (
    "The network sees z, never x; a variable's z is right as soon as all of earlier steps are; log p(x) = log p(z) minus "
    "log |det ∂x/∂z|, and that is the sum of log g."
)


def density_of(x, step, W):
    """The answer, its form checked."""
    x, step = np.asarray(x), np.array(step, np.int64)
    answer = stattests.call(iaf_density, x, step, [np.asarray(w, float) for w in W])
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return z and log p(x), two arrays"
    z = stattests.assert_array("z", answer[0], x.shape).astype(float)
    return z, stattests.assert_array("log p(x)", answer[1], (len(x),)).astype(float)


def gate_weights(rng, D, scale=0.8):
    return [rng.normal(size=(D, D)) * scale, rng.normal(size=(D, D)) * scale, rng.normal(size=D) * 0.5]


def drawn(z, step, W):
    """x of z: one pass."""
    a, m = gates(z, step, W)
    return m + (z - m) / (1 + np.exp(-a))


def check_drawn(rng, B, step):
    """z must be the noise that x was drawn with."""
    D = len(step)
    W, z = gate_weights(rng, D), rng.normal(size=(B, D))
    answer, log_p = density_of(drawn(z, step, W), step, W)
    what = f"steps {list(map(int, step))}"
    stattests.assert_close(f"z, {what}", answer, z, rtol=1e-3, atol=1e-3, hint=IAF_HINT)
    return z, W, log_p


nothing = [np.zeros((2, 2)), np.zeros((2, 2)), np.array([0.0, np.log(3)])]  # gates ½ and ¾, m = ½
z, log_p = density_of([[1.0, 0.5]], [1, 0], nothing)
stattests.assert_close("z of x = (1, ½), gates ½ and ¾, m = ½", z, [[1.5, 0.5]], rtol=1e-4, hint=IAF_HINT)
stattests.assert_close(
    "log p of the same", log_p, [-1.25 - np.log(2 * np.pi) - np.log(3 / 8)], rtol=1e-4, hint=IAF_HINT
)
check_drawn(np.random.default_rng(0), 4, [0, 1, 2, 3])
check_drawn(np.random.default_rng(1), 3, [7, -2, 7, 0, 3, -2])
W = gate_weights(np.random.default_rng(2), 2)
line = np.linspace(-12, 12, 401)
grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
_, log_p = density_of(grid, [1, 0], W)
total = np.exp(np.minimum(log_p, 50)).sum() * (line[1] - line[0]) ** 2
assert abs(total - 1) < 0.02, f"the density in the plane sums to {total:.3f}, not to 1. {IAF_HINT}"
### BEGIN HIDDEN TESTS
# Other steps and weights; log p from the noise that was drawn.


def check_random_iaf(rng, B, step):
    z, W, log_p = check_drawn(rng, B, step)
    a, _ = gates(z, step, W)
    exact = np.zeros(B)
    for b in range(B):
        for d in range(len(step)):
            exact[b] += -(z[b, d] ** 2) / 2 - np.log(2 * np.pi) / 2 + np.log1p(np.exp(-a[b, d]))
    what = f"log p, steps {list(map(int, step))}"
    stattests.assert_close(what, log_p, exact, rtol=1e-3, atol=1e-3, hint=IAF_HINT)


rng = stattests.grading_rng("iaf_density")
check_random_iaf(rng, 5, [0])
check_random_iaf(rng, 4, list(rng.permutation(7)))
check_random_iaf(rng, 6, list(rng.integers(-4, 4, size=9)))
check_random_iaf(rng, 1, list(10 * rng.permutation(5) - 20))
check_random_iaf(rng, 3, [2, 2, 2, 1])
check_random_iaf(rng, 3, [-5, -3, -4])
### END HIDDEN TESTS

# %% [markdown] given="arc_task"
# ## 3 · Flow matching along arcs
#
# ### Gap 5 · Points and targets (2 points, 10 minutes)
#
# In place of a straight line, noise $x_0$ and data $x_1$ are joined by an arc,
#
# $$x_t = \cos\left(\tfrac{\pi}{2} t\right) x_0 + \sin\left(\tfrac{\pi}{2} t\right) x_1 .$$
#
# If both have variance 1 and are independent, so has $x_t$ at each time, which is easier for a network. Return $x_t$ and the target of the
# regression, the velocity $dx_t / dt$. Each example of the batch has its own time. The examples may be vectors, (B,
# D), or images, (B, height, width).


# %% solution="arc"
def arc(x_0, x_1, t):
    """x_0, x_1: (B, ...), t: (B,) → x_t, target: (B, ...) each."""
    ### BEGIN SOLUTION
    angle = np.pi / 2 * np.reshape(t, (len(t),) + (1,) * (np.ndim(x_0) - 1))
    x_t = np.cos(angle) * x_0 + np.sin(angle) * x_1
    return x_t, np.pi / 2 * (np.cos(angle) * x_1 - np.sin(angle) * x_0)
    ### END SOLUTION


# %% test="arc" points=2
ARC_HINT = "Differentiate cos(πt/2) x₀ + sin(πt/2) x₁ by t. Does each example meet its own t?"


def arc_of(x_0, x_1, t):
    """The answer, its form checked."""
    x_0, x_1, t = (np.asarray(v, np.float32) for v in (x_0, x_1, t))
    answer = stattests.call(arc, x_0, x_1, t)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return x_t and the target, two arrays"
    return [
        stattests.assert_array(n, v, x_0.shape).astype(float) for n, v in zip(["x_t", "the target"], answer)
    ]


x_t, target = arc_of([[3, 0], [3, 0], [3, 0]], [[0, 5], [0, 5], [0, 5]], [0, 1 / 3, 1])
r = 3**0.5 / 2
stattests.assert_close(
    "x_t for t = 0, ⅓, 1", x_t, [[3, 0], [3 * r, 2.5], [0, 5]], rtol=1e-3, atol=1e-4, hint=ARC_HINT
)
exact = np.pi / 2 * np.array([[0, 5], [-1.5, 5 * r], [-3, 0]])
stattests.assert_close("the target for t = 0, ⅓, 1", target, exact, rtol=1e-3, atol=1e-4, hint=ARC_HINT)
draw = np.random.default_rng(0)
x_0, x_1 = draw.normal(size=(2, 4, 3, 4))
arc_of(x_0, x_1, draw.random(4))
### BEGIN HIDDEN TESTS
# Other shapes, example by example, the target as a difference of positions.


def check_random_arc(rng, *shape):
    x_0, x_1 = rng.normal(size=(2, *shape)).astype(np.float32)
    t = rng.random(shape[0]).astype(np.float32)
    x_t, target = arc_of(x_0, x_1, t)
    for b in range(shape[0]):
        position = [
            np.cos(a) * x_0[b] + np.sin(a) * x_1[b] for a in np.pi / 2 * (t[b] + np.array([-1e-3, 0, 1e-3]))
        ]
        what = f"example {b} of shape {shape}"
        stattests.assert_close(f"x_t, {what}", x_t[b], position[1], rtol=1e-3, atol=1e-3, hint=ARC_HINT)
        slope = (position[2] - position[0]) / 2e-3
        stattests.assert_close(f"target, {what}", target[b], slope, rtol=5e-3, atol=5e-3, hint=ARC_HINT)


rng = stattests.grading_rng("arc")
check_random_arc(rng, 5, 2)
check_random_arc(rng, 3, 3)
check_random_arc(rng, 4, 2, 5)
check_random_arc(rng, 6, 3, 3)
check_random_arc(rng, 1, 1)
### END HIDDEN TESTS

# %% [markdown] given="train_task"
# ### Gap 6 · Train the velocity (3 points, 15 minutes)
#
# Train `build_velocity()` along the arcs of gap 5, from standard normal noise to the points `x`, and return
# `get_weights()`. The network's input is (x_t, t), three numbers.
#
# The loop is given: `minimise(loss_of, network, x)` draws a batch of points for each of 2,000 steps, and calls your
# `loss_of(x_1)`, x_1: (B, 2), for the loss, one number. It runs as one graph: draw noise and times in `loss_of` by
# `tf.random`, which draws anew in each step (NumPy would draw once for all). `keras.utils.set_random_seed(seed)` comes
# first.
#
# The points come from a mixture of Gaussians, whose marginal velocity $v(x, t)$ along arcs is known. **The network is
# judged by its mean squared distance from $v$ (summed over both coordinates)** over times and points, which must be at
# most **0.15**. (A network that says 0 everywhere has 1.09.) A loss near 0 is neither needed nor possible. Training
# takes 3 to 10 seconds; the grader stops it after two minutes. Only `seed=0` is judged.

# %% given="velocity_data"
means = np.array([[1.2, 0.0], [-0.6, 1.0], [-0.6, -1.0]])
shares, sigma = np.array([0.5, 0.3, 0.2]), 0.2


def points_of(rng, N):
    """N points of the mixture: (N, 2) float32."""
    return (means[rng.choice(3, N, p=shares)] + sigma * rng.normal(size=(N, 2))).astype(np.float32)


def build_velocity():
    """(x_t, t), (B, 3) → velocity (B, 2)."""
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(64, activation="silu"),
            keras.layers.Dense(64, activation="silu"),
            keras.layers.Dense(2),
        ]
    )


def minimise(loss_of, network, x, steps=2000, B=250, rate=0.01):
    """Trains the network: loss_of gets B rows of x, anew in each step, and returns a number. The rate falls to 0."""
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    adam.build(network.trainable_variables)
    data = tf.constant(x)

    @tf.function
    def run():
        for _ in tf.range(steps):
            batch = tf.gather(data, tf.random.uniform((B,), maxval=len(x), dtype=tf.int32))
            with tf.GradientTape() as tape:
                loss = loss_of(batch)
            adam.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)

    run()


# %% solution="train_velocity"
def train_velocity(x, seed):
    """x: (N, 2) points → network.get_weights(), a list of six arrays."""
    ### BEGIN SOLUTION
    keras.utils.set_random_seed(seed)
    network = build_velocity()

    def loss_of(x_1):
        x_0, t = tf.random.normal(x_1.shape), tf.random.uniform((x_1.shape[0], 1))
        c, s = tf.cos(np.pi / 2 * t), tf.sin(np.pi / 2 * t)
        u = network(tf.concat([c * x_0 + s * x_1, t], axis=1))
        return tf.reduce_mean((u - np.pi / 2 * (c * x_1 - s * x_0)) ** 2)

    minimise(loss_of, network, x)
    return network.get_weights()
    ### END SOLUTION


# %% test="train_velocity" points=3
def arc_velocity(x, t):
    """E[dx_t/dt | x_t = x] of the mixture along arcs: x (N, 2), t (N, 1) → (N, 2)."""
    c, s = np.cos(np.pi / 2 * t), np.sin(np.pi / 2 * t)
    variance = s**2 * sigma**2 + c**2  # of x_t, given a component
    off = x[:, None] - s[:, :, None] * means  # (N, 3, 2)
    log_w = np.log(shares) - np.sum(off**2, axis=2) / (2 * variance)
    w = np.exp(log_w - log_w.max(axis=1, keepdims=True))
    w /= w.sum(axis=1, keepdims=True)
    direction = c[:, :, None] * means + (s * c * (sigma**2 - 1) / variance)[:, :, None] * off
    return np.pi / 2 * np.sum(w[:, :, None] * direction, axis=1)


def distance_from_v(network, rng, N=20_000):
    """Mean of |u(x_t, t) − v(x_t, t)|² over times and points."""
    x_0, x_1, t = rng.normal(size=(N, 2)), points_of(rng, N), rng.random((N, 1))
    x_t = np.cos(np.pi / 2 * t) * x_0 + np.sin(np.pi / 2 * t) * x_1
    u = np.asarray(network(np.concatenate([x_t, t], axis=1).astype(np.float32)), float)
    return np.mean(np.sum((u - arc_velocity(x_t, t)) ** 2, axis=1))


answer = stattests.call(train_velocity, points_of(np.random.default_rng(12), 4000), 0)
network = build_velocity()
assert isinstance(answer, (tuple, list)) and len(answer) == 6, "return network.get_weights(), six arrays"
network.set_weights(
    [
        stattests.assert_array(f"array {i}", w, v.shape, most=1000)
        for i, (w, v) in enumerate(zip(answer, network.weights))
    ]
)
value = distance_from_v(network, np.random.default_rng(0))
print(f"mean squared distance from the marginal velocity {value:.4f}")
VELOCITY_HINT = (
    "Is t uniform on [0, 1], one for each point? Does noise stand at t = 0? Is the target the derivative of the arc? Do "
    "all arrays of the loss have the shape (B, 2)?"
)
assert value <= 0.15, (
    f"the mean squared distance from v is {value:.3f}, at most 0.15 expected. {VELOCITY_HINT}"
)
### BEGIN HIDDEN TESTS
# The same at other points and times. The threshold is empirical: the reference has 0.065 to 0.080
# with seeds 0 to 5.
value = distance_from_v(network, stattests.grading_rng("train_velocity"))
assert value <= 0.15, (
    f"the mean squared distance from v is {value:.3f} at other points, at most 0.15 expected"
)
### END HIDDEN TESTS

# %% [markdown] given="argue_task"
# ## 4 · A question to argue (2 points, 15 minutes)
#
# A colleague joins noise and the points of gap 6 by **straight** lines, with independent pairs. She follows the
# *exact* marginal velocity $v(x, t)$ of this mixture by Euler steps, from 20,000 points of noise:
#
# | | data | 1 step | 2 steps | 4 steps | 8 steps | 64 steps |
# |---|---|---|---|---|---|---|
# | spread of the end points | 1.17 | 0.00 | 0.67 | 1.01 | 1.09 | 1.16 |
# | share within 3σ of one of the means | 0.99 | 0.00 | 0.53 | 0.91 | 0.97 | 0.99 |
#
# (Spread: root mean square distance from their own mean. The 20,000 points are the same in all columns. All is
# measured.)
#
# 1. "The lines are straight, so one Euler step is exact", she had said. Compute $v(x, 0)$, and say at which point (two
#    numbers, from `means` and `shares`) all the end points of one step lie. Why are the paths not straight though all
#    the lines are?
# 2. Her network's loss, $\mathbb{E}|u - (x_1 - x_0)|^2$, stays at 2.11; that of $v$ itself is 2.04. "It has learned
#    next to nothing: a network that says 0 has 3.48." What is wrong with this conclusion, and what number shows how
#    much it has learned?
#
# Answer in about 120 words.

# %% [markdown] argue="argue_claims" points=2
# ### BEGIN SOLUTION
# 1. At $t = 0$ the point $x_0$ says nothing of $x_1$, so $v(x, 0) = \mathbb{E}[x_1] - x$, and a step of length 1 leads
#    from every x to $\mathbb{E}[x_1] = \sum_k w_k \mu_k = (0.3, 0.1)$: spread 0. The velocity at a point is the mean
#    over all lines through it. Early they lead to all three components; later fewer are likely, the mean turns, and so
#    does the path.
# 2. The loss is $\mathbb{E}|u - v|^2$ plus the variance of the directions given $x_t$, which no network can lower:
#    2.04 of the 2.11. The number to show is the difference, $\mathbb{E}|u - v|^2$: 0.07, where the network that says 0
#    has 1.44. So it has learned nearly all there is.
#
# **Rubric.** ½ for (0.3, 0.1) with the reason; ½ for "the velocity is a mean over lines and changes along the way"; ½
# for the split of the loss, or "no network gets below 2.04"; ½ for $\mathbb{E}|u - v|^2$ as the number, with 0.07.
# ### END SOLUTION

# %% [markdown] given="end"
# ---
# Before you hand in: *Kernel → Restart Kernel and Run All Cells*, then the **Validate** button. It runs the visible
# tests.
