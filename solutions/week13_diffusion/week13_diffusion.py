# %% [markdown] given="title"
# # Week 13 · Exercise: Other schedules, other targets, other variances
#
# {{colab}}
#
# The preparation had one schedule, whose variance stays 1, one loss and two samplers. Here all of it is a special
# case:
#
# - a noisy version is $x_t = \alpha_t x_0 + \sigma_t \epsilon$ with **any** $\alpha_t$ and $\sigma_t$: variance that stays (the
#   preparation), that grows without bound ($\alpha_t = 1$), or a straight way ($\alpha_t = 1 - t$, $\sigma_t = t$);
# - the network guesses a **velocity**, and its loss is weighted;
# - a sampler has a dial for its noise, and the bound a **different variance** on the way back;
# - a network of your own must learn the velocity of a mixture, judged beside the exact one.
#
# **20 points, about 2½ hours.** Six gaps are graded automatically (18 points), a question by a person (2 points).
#
# ## How it works
#
# - Write your answer where it says `raise NotImplementedError`. Keep the names and arguments of the functions.
# - The cell after each gap tests your answer and says what is wrong. When you hand in, further tests run on other
#   inputs.
# - All arrays arrive as NumPy `float32` (tensors where the test differentiates). Return NumPy arrays or TensorFlow
#   tensors, in `float32` or `float64`, as you like (gap 3: TensorFlow). Do not change the arrays that come in.
# - In gaps 1 to 5 all noise is given; nothing is drawn there.
# - Each gap is tested on its own, from given values. If your answer calls your function from an earlier gap, make
#   that one pass first.
#
# **Letters:** B batch, D dimensions, K steps. $t$ is the noisier level, $s < t$ the one before it on the way from the
# data. $\mathrm{SNR}_t = \alpha_t^2 / \sigma_t^2$.

# %% setup

# %% given="imports"
import keras
import numpy as np
import tensorflow as tf

from utils import gradients, stattests
from utils.networks import MLP

# %% [markdown] given="sample_task"
# ## 1 · The way into noise, and one step back
#
# ### Gap 1 · A shifted cosine schedule, and the velocity (2 points, 10 minutes)
#
# In a large image a pixel of noise matters less, since its neighbours tell what it was. So large images need more
# noise at the same $t$. Hoogeboom et al. (2023) shift the cosine schedule, for $0 < t < 1$:
#
# $$\mathrm{SNR}_t = \left( \frac{c}{\tan(\pi t / 2)} \right)^2, \qquad \alpha_t^2 + \sigma_t^2 = 1,$$
#
# where $c = 1$ is the cosine schedule and $c < 1$ has more noise. Each example of the batch has its own $t$. From
# $x_0$ and $\epsilon$ compute
#
# $$x_t = \alpha_t x_0 + \sigma_t \epsilon, \qquad v_t = \alpha_t \epsilon - \sigma_t x_0 ,$$
#
# for images and points alike: the first axis is the batch, any number of axes may follow.
#
# <details><summary>Hint</summary>
#
# $\sigma_t / \alpha_t = \tan(\pi t / 2) / c$ is the tangent of an angle. A number for each example becomes a column of
# the right number of axes by `np.reshape(a, [-1] + [1] * (x0.ndim - 1))`.
# </details>


# %% solution="q_sample"
def q_sample(x0, t, eps, c):
    """x0, eps: (B, …), t: (B,) in (0, 1), c: number > 0 → x_t and v_t, (B, …) each."""
    ### BEGIN SOLUTION
    angle = np.arctan(np.tan(np.pi * t / 2) / c).reshape([-1] + [1] * (x0.ndim - 1))
    alpha, sigma = np.cos(angle), np.sin(angle)
    return alpha * x0 + sigma * eps, alpha * eps - sigma * x0
    ### END SOLUTION


# %% test="q_sample" points=2
SAMPLE_HINT = "α² + σ² = 1 and α / σ = c / tan(π t / 2), with π t / 2 in radians; t belongs to the first axis: give it as many axes as x_0."


def check_sample(what, x0, t, eps, c, exact):
    x0, t, eps = (np.asarray(v, np.float32) for v in (x0, t, eps))
    answer = stattests.call(q_sample, x0, t, eps, c)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return two arrays: x_t and v_t"
    for name, value, right in zip(["x_t", "v_t"], answer, exact):
        stattests.assert_close(f"{name}, {what}", value, right, rtol=1e-3, atol=1e-4, hint=SAMPLE_HINT)


half = np.sqrt(0.5)
check_sample(
    "t = ½, c = 1", [[1, 2]], [0.5], [[3, -4]], 1.0, [[[4 * half, -2 * half]], [[2 * half, -6 * half]]]
)
check_sample(
    "two points, c = ½",
    [[1, 2], [0, 1]],
    [0.3, 0.8],
    [[1, 0], [2, 2]],
    0.5,
    [[[1.414151, 1.400807], [1.974118, 2.134475]], [[-0.013343, -1.427494], [0.320715, -0.666344]]],
)
check_sample(
    "two images of two pixels, c = 2",
    [[[1, 2]], [[0, -1]]],
    [0.2, 0.6],
    [[[1, 0]], [[2, 1]]],
    2.0,
    [[[[1.147416, 1.974118]], [[1.133831, -0.256861]]], [[[0.826702, -0.320715]], [[1.647552, 1.390691]]]],
)
### BEGIN HIDDEN TESTS
# Other numbers, batches of images, as many examples as dimensions, and t near 0 and 1.


def exact_sample(x0, t, eps, c):
    """One example after the other, from the ratio of signal to noise."""
    found = []
    for x, level, e in zip(np.asarray(x0, float), np.asarray(t, float), np.asarray(eps, float)):
        ratio = (c * np.cos(np.pi * level / 2) / np.sin(np.pi * level / 2)) ** 2
        alpha, sigma = np.sqrt(ratio / (1 + ratio)), np.sqrt(1 / (1 + ratio))
        found.append([alpha * x + sigma * e, alpha * e - sigma * x])
    return np.swapaxes(found, 0, 1)


rng = stattests.grading_rng("q_sample")
for shape, c in [((4, 4), 0.3), ((5, 2, 3, 1), 2.0), ((3,), 1.0), ((2, 6), 0.125), ((6, 2), 1.5)]:
    x0, eps = rng.normal(size=(2, *shape)).astype(np.float32)
    t = rng.uniform(0.05, 0.95, size=shape[0]).astype(np.float32)
    check_sample(f"arrays of shape {shape}, c = {c}", x0, t, eps, c, exact_sample(x0, t, eps, c))
t = np.array([0.001, 0.998], np.float32)
x0, eps = rng.normal(size=(2, 2, 3)).astype(np.float32)
check_sample("t near 0 and near 1", x0, t, eps, 0.5, exact_sample(x0, t, eps, 0.5))
### END HIDDEN TESTS

# %% [markdown] given="posterior_task"
# ### Gap 2 · One step back, for any schedule (3 points, 25 minutes)
#
# The forward process is a Markov chain: $q(x_t \mid x_s) = \mathcal{N}(\alpha_{t|s}\, x_s,\ \sigma_{t|s}^2 I)$. Its
# two numbers follow from $q(x_s \mid x_0) = \mathcal{N}(\alpha_s x_0, \sigma_s^2 I)$ and
# $q(x_t \mid x_0) = \mathcal{N}(\alpha_t x_0, \sigma_t^2 I)$:
#
# $$\alpha_{t|s} = \alpha_t / \alpha_s, \qquad \sigma_{t|s}^2 = \sigma_t^2 - \alpha_{t|s}^2\, \sigma_s^2 .$$
#
# Nothing says that $\alpha^2 + \sigma^2 = 1$. Work out, on paper, the mean and the variance of
#
# $$q(x_s \mid x_t, x_0) \propto q(x_t \mid x_s)\; q(x_s \mid x_0),$$
#
# and write them so that $\sigma_s = 0$ does no harm: then the mean is $\alpha_s x_0$ and the variance 0. Each example
# has its own levels.
#
# <details><summary>Hint</summary>
#
# Complete the square: precisions add, $1 / \text{var} = 1 / \sigma_s^2 + \alpha_{t|s}^2 / \sigma_{t|s}^2$. Multiply
# numerator and denominator by $\sigma_s^2\, \sigma_{t|s}^2$; the sum $\sigma_{t|s}^2 + \alpha_{t|s}^2 \sigma_s^2$ that
# appears is something that you know.
# </details>


# %% solution="posterior"
def posterior(x0, xt, alpha_s, sigma_s, alpha_t, sigma_t):
    """x0, xt: (B, D), levels: (B,) each → mean (B, D) and variance (B,) of q(x_s | x_t, x_0)."""
    ### BEGIN SOLUTION
    ratio = alpha_t / alpha_s
    added = sigma_t**2 - ratio**2 * sigma_s**2
    to_data, to_noisy = alpha_s * added / sigma_t**2, ratio * sigma_s**2 / sigma_t**2
    return to_data[:, None] * x0 + to_noisy[:, None] * xt, added * sigma_s**2 / sigma_t**2
    ### END SOLUTION


# %% test="posterior" points=3
POSTERIOR_HINT = (
    "Precisions add; α² + σ² need not be 1; the variance has one number for each example. Is the preparation's formula "
    "left over somewhere, or s and t exchanged?"
)


def check_posterior(what, x0, xt, levels, exact, atol=2e-4):
    """levels: α_s, σ_s, α_t, σ_t."""
    x0, xt = np.asarray(x0, np.float32), np.asarray(xt, np.float32)
    answer = stattests.call(posterior, x0, xt, *(np.asarray(v, np.float32) for v in levels))
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return two arrays: mean and variance"
    for name, value, right in zip(["the mean", "the variance"], answer, exact):
        stattests.assert_close(f"{name}, {what}", value, right, rtol=2e-3, atol=atol, hint=POSTERIOR_HINT)


check_posterior("σ grows from 1 to 2, α = 1", [[0, 4]], [[8, 4]], [[1], [1], [1], [2]], [[[2, 4]], [0.75]])
check_posterior("σ_s = 0", [[1, -2]], [[5, 5]], [[0.8], [0], [0.6], [0.8]], [[[0.8, -1.6]], [0]], atol=1e-6)
check_posterior(
    "variance stays 1: α² from 0.81 to 0.36",
    [[1]],
    [[0]],
    [[0.9], [0.19**0.5], [0.6], [0.8]],
    [[[0.78125]], [0.164931]],
)
check_posterior(
    "a straight way, two examples",
    [[1, 0], [2, -1]],
    [[0.5, 1], [0, 0]],
    [[0.7, 0.5], [0.3, 0.5], [0.4, 0.2], [0.6, 0.8]],
    [[[0.714286, 0.142857], [0.9375, -0.46875]], [0.082653, 0.234375]],
)
### BEGIN HIDDEN TESTS
# Other levels: variance that stays, grows, and a straight way; as many examples as dimensions.


def by_precisions(x0, xt, alpha_s, sigma_s, alpha_t, sigma_t):
    """The product of two Gaussians in x_s, by their precisions."""
    ratio = alpha_t / alpha_s
    of_prior, of_likelihood = 1 / sigma_s**2, ratio**2 / (sigma_t**2 - ratio**2 * sigma_s**2)
    variance = 1 / (of_prior + of_likelihood)
    mean = (alpha_s * of_prior)[:, None] * x0 + (of_likelihood / ratio)[:, None] * xt
    return variance[:, None] * mean, variance


rng = stattests.grading_rng("posterior")
for B, D in [(3, 3), (5, 2), (1, 7), (8, 1)]:
    s, t = np.sort(rng.uniform(0.1, 0.9, size=(B, 2)), axis=1).T
    s = np.minimum(s, t - 0.05)  # levels that are too near lose digits in float32
    ways = {
        "the variance stays": [np.cos(s), np.sin(s), np.cos(t), np.sin(t)],
        "the variance grows": [np.ones(B), 3 * s, np.ones(B), 3 * t],
        "a straight way": [1 - s, s, 1 - t, t],
    }
    for name, levels in ways.items():
        x0, xt = rng.normal(size=(2, B, D)).astype(np.float32)
        levels = [v.astype(np.float32).astype(float) for v in levels]
        exact = by_precisions(x0.astype(float), xt.astype(float), *levels)
        check_posterior(f"{B} examples, {D} dimensions, {name}", x0, xt, levels, exact)
x0, xt = rng.normal(size=(2, 3, 3)).astype(np.float32)
levels = [np.array(v) for v in ([0.8, 1.0, 1.0], [0, 0.5, 0], [0.5, 1.0, 1.0], [0.7, 1.0, 2.0])]
mean = np.array([0.8 * x0[0], 0.75 * x0[1] + 0.25 * xt[1], x0[2]])
check_posterior("σ_s = 0, but not in the second example", x0, xt, levels, [mean, [0, 0.1875, 0]], atol=1e-6)
### END HIDDEN TESTS

# %% [markdown] given="loss_task"
# ## 2 · Learning
#
# ### Gap 3 · A weighted loss of a network that guesses velocities (3 points, 20 minutes)
#
# The bound weighs the squared error of the *data* by something that grows with the SNR, so nearly clean images get
# nearly all the attention; the simple loss weighs it by the SNR itself. Hang et al. (2023) cut the weight off:
#
# $$\mathcal{L} = \frac{1}{B} \sum_{i=1}^{B} \min(\mathrm{SNR}_i, \gamma)\; \frac{1}{D} \big| x_0^{(i)} - \hat x_0^{(i)} \big|^2 .$$
#
# The network guesses the velocity $\hat v$. Here $\alpha^2 + \sigma^2 = 1$, so $x_t = \alpha x_0 + \sigma \epsilon$
# and $v = \alpha \epsilon - \sigma x_0$ are a rotation of $x_0$ and $\epsilon$: turn it back to get $\hat x_0$ from
# $x_t$ and $\hat v$.
#
# D is the number of entries of one example, whatever its axes. Return one number. The test differentiates it by
# $\hat v$, so compute with TensorFlow from beginning to end and stop no gradient.
#
# <details><summary>Hint</summary>
#
# Average over all axes but the first, so that one number for each example is left, (B,), and *then* multiply by the
# weights, (B,). A weight of shape (B, 1) times errors of shape (B,) is (B, B), and nothing complains.
# </details>


# %% solution="velocity_loss"
def velocity_loss(v_hat, x0, xt, alpha, sigma, gamma):
    """v_hat, x0, xt: (B, …), alpha, sigma: (B,) with α² + σ² = 1, gamma: number → the loss, a number."""
    ### BEGIN SOLUTION
    shape = [-1] + [1] * (len(x0.shape) - 1)
    x0_hat = tf.reshape(alpha, shape) * xt - tf.reshape(sigma, shape) * v_hat
    errors = tf.reduce_mean((x0 - x0_hat) ** 2, axis=list(range(1, len(x0.shape))))
    return tf.reduce_mean(tf.minimum((alpha / sigma) ** 2, gamma) * errors)
    ### END SOLUTION


# %% test="velocity_loss" points=3
LOSS_HINT = (
    "x̂_0 = α x_t − σ v̂; the mean over the entries of an example, times min(α² / σ², γ) of the same example, then the mean "
    "over the batch."
)


def check_loss(what, v_hat, x0, xt, alpha, gamma, exact, slope=None):
    v_hat, x0, xt, alpha = (np.asarray(v, np.float32) for v in (v_hat, x0, xt, alpha))
    arguments = [v_hat, x0, xt, alpha, np.sqrt(1 - alpha**2), gamma]
    answer = stattests.call(velocity_loss, *arguments)
    stattests.assert_close(f"the loss, {what}", answer, exact, rtol=1e-3, atol=1e-5, hint=LOSS_HINT)
    if slope is not None:
        (found,) = gradients.grad_of(velocity_loss, arguments, wrt=[0])
        assert found is not None, (
            "no gradient reaches v_hat: is all computed by TensorFlow, without np. and .numpy()?"
        )
        hint = "The loss itself is right: is a gradient stopped?"
        stattests.assert_close(f"its gradient, {what}", found, slope, rtol=2e-3, atol=1e-5, hint=hint)


# x_t = 0 and v̂ = 0: the guess is 0.
check_loss("x_t = v̂ = 0, SNR 0.5625", [[0, 0]], [[1, 3]], [[0, 0]], [0.6], 5.0, 2.8125, [[0.45, 1.35]])
check_loss("x_t = v̂ = 0, γ = 0.5", [[0, 0]], [[1, 3]], [[0, 0]], [0.6], 0.5, 2.5, [[0.4, 1.2]])
v_hat, x0, xt = [[0.5, 1.0], [-1.0, 0.0]], [[1, 0], [0.2, -0.4]], [[0.3, -0.5], [1.0, 2.0]]
check_loss("two points", v_hat, x0, xt, [0.6, 0.8], 1.0, 1.739463, [[0.2745, 0.2475], [-0.36, -0.6]])
check_loss("two points, the other way round", v_hat[::-1], x0[::-1], xt[::-1], [0.8, 0.6], 1.0, 1.739463)
v_hat, x0, xt = (np.reshape(u, (2, 2, 1)) for u in (v_hat, x0, xt))
check_loss("the two points as images of 2×1 pixels", v_hat, x0, xt, [0.6, 0.8], 1.0, 1.739463)
### BEGIN HIDDEN TESTS
# Other numbers, weights on both sides of γ, images, and the gradient.


def loss_by_loops(v_hat, x0, xt, alpha, gamma):
    """→ the loss and its slope, one example after the other."""
    total, slope = 0.0, []
    for v, x, noisy, a in zip(*(np.asarray(u, float) for u in (v_hat, x0, xt, alpha))):
        s = np.sqrt(1 - a**2)
        weight, error = min(a**2 / s**2, gamma), x - (a * noisy - s * v)
        total += weight * np.mean(error**2) / len(alpha)
        slope.append(2 * weight * error * s / error.size / len(alpha))
    return total, np.array(slope)


rng = stattests.grading_rng("velocity_loss")
for shape, gamma in [((4, 4), 1.0), ((3, 2, 2, 1), 5.0), ((6, 3), 0.3), ((5, 1), 2.0), ((1, 8), 3.0)]:
    v_hat, x0, xt = rng.normal(size=(3, *shape)).astype(np.float32)
    alpha = rng.permutation(np.linspace(0.25, 0.95, shape[0]) + rng.uniform(-0.04, 0.04, shape[0])).astype(
        np.float32
    )
    exact, slope = loss_by_loops(v_hat, x0, xt, alpha, gamma)
    check_loss(f"arrays of shape {shape}, γ = {gamma}", v_hat, x0, xt, alpha, gamma, exact, slope)
### END HIDDEN TESTS

# %% [markdown] given="sampler_task"
# ## 3 · The way back, and what it costs
#
# ### Gap 4 · A sampler with a dial (4 points, 30 minutes)
#
# Ancestral and DDIM steps are the two ends of a family (Song, Meng and Ermon, 2021), for any $\alpha$ and $\sigma$. At
# level $t$ the call `guess(x, alphas[t], sigmas[t])` guesses $\hat x_0$. The guess is clipped to $[-1, 1]$, where all
# data lie, and *then* the noise follows from it,
#
# $$\hat\epsilon = (x_t - \alpha_t \hat x_0) / \sigma_t, \qquad x_s = \alpha_s \hat x_0 + \sqrt{\sigma_s^2 - \eta^2 \tilde\sigma^2}\; \hat\epsilon + \eta\, \tilde\sigma\, z,
# \qquad \tilde\sigma^2 = \frac{\sigma_s^2}{\sigma_t^2} \Big( \sigma_t^2 - \frac{\alpha_t^2}{\alpha_s^2} \sigma_s^2 \Big),$$
#
# where $\tilde\sigma^2$ is the variance of gap 2: $\eta = 1$ is the ancestral step, $\eta = 0$ DDIM.
#
# Write the whole chain. The levels come in the order of the **forward** process: `alphas[0]`, `sigmas[0]` belong to
# the data ($\alpha = 1$, $\sigma = 0$), the last ones to the noise that the chain starts from. The first step taken
# uses the noise `z[0]`, the second `z[1]`, and so on. Return $x$ at level 0.
#
# <details><summary>Hint</summary>
#
# `for k, t in enumerate(range(len(alphas) - 1, 0, -1))`, with s = t − 1. The noise of the last step needs no case of
# its own: where $\sigma_s = 0$, $\tilde\sigma$ is 0.
# </details>


# %% solution="reverse_chain"
def reverse_chain(guess, x, alphas, sigmas, eta, z):
    """guess: (x_t (B, D), α_t, σ_t: numbers) → x̂_0, (B, D); x: (B, D) at the last level; alphas, sigmas: (K + 1,), data first;
    eta: number in [0, 1]; z: (K, B, D) → x at level 0, (B, D)."""
    ### BEGIN SOLUTION
    for k, t in enumerate(range(len(alphas) - 1, 0, -1)):
        s = t - 1
        x0 = np.clip(guess(x, alphas[t], sigmas[t]), -1, 1)
        eps = (x - alphas[t] * x0) / sigmas[t]
        added = sigmas[t] ** 2 - (alphas[t] / alphas[s] * sigmas[s]) ** 2
        variance = eta**2 * added * (sigmas[s] / sigmas[t]) ** 2
        x = alphas[s] * x0 + np.sqrt(sigmas[s] ** 2 - variance) * eps + np.sqrt(variance) * z[k]
    return x
    ### END SOLUTION


# %% test="reverse_chain" points=4
CHAIN_HINT = (
    "From the last level to level 0; the guess is clipped before the noise is computed from it; z[0] belongs to the first step taken; "
    "η multiplies the standard deviation; no noise comes in at the last step."
)


def constant_guess(x, alpha, sigma):
    return 0 * x + 0.5


def linear_guess(x, alpha, sigma):
    return 0.9 * alpha * x / (alpha**2 + sigma**2) + 0.3


def check_chain(what, guess, x, alphas, sigmas, eta, z, exact):
    x, alphas, sigmas, z = (np.asarray(v, np.float32) for v in (x, alphas, sigmas, z))
    answer = stattests.call(reverse_chain, guess, x, alphas, sigmas, eta, z)
    stattests.assert_close(f"x_0, {what}", answer, exact, rtol=2e-3, atol=1e-3, hint=CHAIN_HINT)


straight = [[1, 0.7, 0.3, 0], [0, 0.3, 0.7, 1]]
z = [[[1, -1]], [[0.5, 2]], [[30, 30]]]
check_chain("the guess is always ½", constant_guess, [[2, -2]], *straight, 1.0, z, [[0.5, 0.5]])
growing = [[1, 1, 1, 1], [0, 0.5, 1, 2]]
for eta, exact in [(0.0, [[0.79428, -0.43764]]), (0.5, [[1.0, -0.232789]]), (1.0, [[1.0, 0.32582]])]:
    check_chain(f"η = {eta}, σ grows", linear_guess, [[1, -3]], *growing, eta, z, exact)
z, short = [[[-8, 9]], [[1, 1]]], [[1, 0.7, 0.3], [0, 0.3, 0.7]]
check_chain(
    "a straight way, guesses above 1 and below −1",
    linear_guess,
    [[2, -4]],
    *short,
    0.5,
    z,
    [[0.468269, -0.51893]],
)
### BEGIN HIDDEN TESTS
# Other schedules, numbers of steps and η; guesses that have to be clipped.


def chain_by_gaussians(guess, x, alphas, sigmas, eta, z):
    """Each step as a Gaussian, its mean and standard deviation from the angle between two vectors, one example at a time."""
    found = []
    for i, start in enumerate(np.asarray(x, float)):
        now = start
        for k in range(len(alphas) - 1):
            t = len(alphas) - 1 - k
            data = np.array([min(max(g, -1.0), 1.0) for g in guess(now, alphas[t], sigmas[t])])
            noise = (now - alphas[t] * data) / sigmas[t]
            cosine = (
                alphas[t] * sigmas[t - 1] / (alphas[t - 1] * sigmas[t])
            )  # of two noises, as one is part of the other
            spread = eta * sigmas[t - 1] * np.sqrt(1 - cosine**2)
            now = alphas[t - 1] * data + np.sqrt(sigmas[t - 1] ** 2 - spread**2) * noise + spread * z[k][i]
        found.append(now)
    return np.array(found)


rng = stattests.grading_rng("reverse_chain")
for K, B, D, eta in [(4, 3, 2, 0.6), (6, 2, 3, 1.0), (1, 4, 2, 1.0), (5, 2, 2, 0.0), (3, 1, 4, 0.3)]:
    u = np.sort(rng.uniform(0.1, 0.95, size=K))
    u = np.linspace(0.15, 0.9, K) * 0.5 + u * 0.5
    ways = {
        "the variance stays": [np.cos(1.5 * u), np.sin(1.5 * u)],
        "the variance grows": [np.ones(K), 4 * u],
        "a straight way": [1 - u, u],
    }
    for name, (alphas, sigmas) in ways.items():
        alphas, sigmas = np.append(1, alphas), np.append(0, sigmas)
        alphas, sigmas = (v.astype(np.float32).astype(float) for v in (alphas, sigmas))
        x, z = rng.normal(size=(B, D)).astype(np.float32), rng.normal(size=(K, B, D)).astype(np.float32)
        x = 2 * x
        exact = chain_by_gaussians(linear_guess, x, alphas, sigmas, eta, z)
        check_chain(f"{K} steps, η = {eta}, {name}", linear_guess, x, alphas, sigmas, eta, z, exact)
### END HIDDEN TESTS

# %% [markdown] given="bound_task"
# ### Gap 5 · The bound in bits per dimension, with the other variance (3 points, 25 minutes)
#
# Ho et al. tried two variances for a step back: that of gap 2, and the larger $\sigma_{t|s}^2$ (their $\beta_t$). With
# the second,
#
# $$p(x_s \mid x_t) = \mathcal{N}\big(\tilde\mu(x_t, \hat x_0),\ \sigma_{t|s}^2 I\big),$$
#
# where $\tilde\mu$ is the mean of gap 2 with the guess in place of $x_0$. The two Gaussians of a KL now differ in the
# variance too:
#
# $$\mathrm{KL}\big(\mathcal{N}(m_1, v_1 I) \,\|\, \mathcal{N}(m_2, v_2 I)\big) = \frac12 \Big( \frac{|m_1 - m_2|^2}{v_2} + D \Big( \frac{v_1}{v_2} - 1 - \log
# \frac{v_1}{v_2} \Big) \Big).$$
#
# The function `kl_gaussians` below computes it from $|m_1 - m_2|^2$, $v_1$, $v_2$ and D.
#
# The chain has levels 0 to K, level 0 being the data. It starts from
# $p(x_K) = \mathcal{N}(0, (\alpha_K^2 + \sigma_K^2) I)$. The bound of an image is
#
# $$\mathrm{KL}\big(q(x_K | x_0) \,\|\, p(x_K)\big) + \sum_{t=2}^{K} \mathrm{KL}\big(q(x_{t-1} | x_t, x_0) \,\|\, p(x_{t-1} | x_t)\big) - \log p(x_0 | x_1).$$
#
# Given are the guesses (`guesses[t - 1]` was made at level t; that of level 1, `guesses[0]`, is in the decoder already)
# and $\log p(x_0 \mid x_1)$ in nats. The $x_t$ are not given: they cancel. Return the bound of each image in **bits per
# dimension**.
#
# <details><summary>Hint</summary>
#
# $\tilde\mu(x_t, x_0) - \tilde\mu(x_t, \hat x_0)$ is a number times $x_0 - \hat x_0$, by gap 2. The first KL is one of two
# Gaussians, too: $m_1 = \alpha_K x_0$, $m_2 = 0$. Nats divided by $D \log 2$ are bits per dimension.
# </details>


# %% given="two_gaussians"
def kl_gaussians(square, v1, v2, D):
    """square: |m_1 − m_2|², (B,), variances v_1 and v_2: numbers → KL(N(m_1, v_1 I) ‖ N(m_2, v_2 I)), (B,) nats."""
    return 0.5 * (square / v2 + D * (v1 / v2 - 1 - np.log(v1 / v2)))


# %% solution="bound_bits"
def bound_bits(x0, guesses, alphas, sigmas, log_decoder):
    """x0: (B, D), guesses: (K, B, D), alphas, sigmas: (K + 1,), from the data to noise, log_decoder: (B,) nats → (B,)."""
    ### BEGIN SOLUTION
    D, a, s = x0.shape[1], alphas.astype(float), sigmas.astype(float)
    total = a[-1] ** 2 + s[-1] ** 2
    start = kl_gaussians(np.sum((a[-1] * x0) ** 2, axis=1), s[-1] ** 2, total, D)
    nats = start - log_decoder
    for t in range(2, len(a)):
        added = s[t] ** 2 - (a[t] / a[t - 1] * s[t - 1]) ** 2
        apart = a[t - 1] * added / s[t] ** 2 * (x0 - guesses[t - 1])
        variance = added * s[t - 1] ** 2 / s[t] ** 2
        nats = nats + kl_gaussians(np.sum(apart**2, axis=1), variance, added, D)
    return nats / (D * np.log(2))
    ### END SOLUTION


# %% test="bound_bits" points=3
BITS_HINT = (
    "A KL for the start, one for each t from 2 to K with guesses[t − 1], minus log_decoder; the variance of p is σ²_{t|s}, that of q is "
    "smaller; sums over the dimensions, one number for each image; then nats / (D log 2)."
)


def check_bits(what, x0, guesses, alphas, sigmas, log_decoder, exact):
    arguments = [np.asarray(v, np.float32) for v in (x0, guesses, alphas, sigmas, log_decoder)]
    answer = stattests.call(bound_bits, *arguments)
    stattests.assert_close(f"the bound, {what}", answer, exact, rtol=1e-3, atol=1e-3, hint=BITS_HINT)


check_bits(
    "K = 1, three pixels, σ very large",
    [[0.3, -1, 0.5]],
    [[[0, 0, 0]]],
    [1, 1],
    [0, 1e4],
    [-3 * np.log(2)],
    [1.0],
)
x0 = [[0.5, -1.0], [1.0, 0.0]]
check_bits(
    "perfect guesses, σ grows", x0, [x0] * 3, [1, 1, 1, 1], [0, 1, 2, 4], [-1.0, -2.0], [1.667146, 2.383189]
)
guesses = [[[9, 9], [9, 9]], [[0.4, -0.8], [1, 0.5]], [[0, 0], [0.2, 0.2]]]
check_bits("guesses that are off", x0, guesses, [1, 1, 1, 1], [0, 1, 2, 4], [-1.0, -2.0], [1.69166, 2.411592])
check_bits(
    "a straight way", x0, guesses, [1, 0.9, 0.7, 0.5], [0, 0.1, 0.3, 0.5], [-1.0, -2.0], [3.177904, 4.130809]
)
### BEGIN HIDDEN TESTS
# Other chains, of one to six steps, and images.


def gaussian_kl(m1, v1, m2, v2):
    """KL of two Gaussians with equal variances in all dimensions, summed over these: (B,) nats."""
    return np.sum(np.log(v2 / v1) / 2 + (v1 + (m1 - m2) ** 2) / (2 * v2) - 0.5, axis=1)


def bound_by_means(rng, x0, guesses, alphas, sigmas, log_decoder):
    """With noisy images drawn somewhere, and both means in full."""
    a, s, zero = alphas, sigmas, np.zeros_like(x0)
    nats = gaussian_kl(a[-1] * x0, s[-1] ** 2, zero, a[-1] ** 2 + s[-1] ** 2) - log_decoder
    for t in range(2, len(a)):
        xt, ratio = rng.normal(size=x0.shape), a[t] / a[t - 1]
        v = s[t] ** 2 - ratio**2 * s[t - 1] ** 2
        precision = 1 / s[t - 1] ** 2 + ratio**2 / v
        means = [(a[t - 1] * x / s[t - 1] ** 2 + ratio * xt / v) / precision for x in (x0, guesses[t - 1])]
        nats = nats + gaussian_kl(means[0], 1 / precision, means[1], v)
    return nats / x0.shape[1] / np.log(2)


rng = stattests.grading_rng("bound_bits")
for K, B, D in [(4, 3, 3), (6, 2, 5), (2, 4, 1), (1, 3, 2), (3, 1, 8)]:
    u = np.linspace(0.2, 0.9, K) + rng.uniform(-0.04, 0.04, K)
    for name, (alphas, sigmas) in {
        "the variance stays": [np.cos(1.5 * u), np.sin(1.5 * u)],
        "the variance grows": [np.ones(K), 4 * u],
        "a straight way": [1 - u, u],
    }.items():
        alphas, sigmas = np.append(1, alphas), np.append(0, sigmas)
        alphas, sigmas = (v.astype(np.float32).astype(float) for v in (alphas, sigmas))
        x0, guesses = rng.normal(size=(B, D)), rng.normal(size=(K, B, D))
        x0, guesses = (v.astype(np.float32).astype(float) for v in (x0, guesses))
        log_decoder = -rng.uniform(0.5, 3, size=B).astype(np.float32).astype(float)
        exact = bound_by_means(rng, x0, guesses, alphas, sigmas, log_decoder)
        check_bits(
            f"{K} steps, {B} images of {D} pixels, {name}", x0, guesses, alphas, sigmas, log_decoder, exact
        )
### END HIDDEN TESTS

# %% [markdown] given="train_task"
# ## 4 · A network that learns the velocity
#
# ### Gap 6 · Train it (3 points, 20 minutes)
#
# The `points` come from a mixture of three Gaussians in the plane, which the test knows. `build_network` makes a
# network that gets $x_t$ and, by `waves`, the noise level $\lambda = \log \mathrm{SNR}$, and returns a velocity. Here
# $\alpha_t^2 + \sigma_t^2 = 1$ again, so $\alpha^2 = \mathrm{sigmoid}(\lambda)$ and
# $\sigma^2 = \mathrm{sigmoid}(-\lambda)$. It will be used at every $\lambda$ from −5 to 5.
#
# The loop is there: `minimise` takes a function `loss`, which draws a batch and returns one number, and does 2,000
# steps of Adam with a falling rate. Write the loss, train, and hand over the weights (`network.get_weights()`). The test draws noisy points at eleven levels and compares the
# network with the exact mean of the velocity, $\mathbb{E}[v \mid x_t]$, which it computes itself. **You pass if the
# mean squared difference, over both coordinates and all levels, is below 0.02.** (A network that always says 0 has
# 0.16.) Training takes 2 to 6 seconds; the grader stops it after two minutes. Only `seed=0` is judged.
#
# <details><summary>Hint</summary>
#
# In each call of `loss`: 256 points by `tf.gather`, for *each of them* its own $\lambda$ by `tf.random.uniform`, and its
# own noise. $\lambda$, $\alpha$ and $\sigma$ are (B,), so $\alpha$ and $\sigma$ need `[:, None]` beside points. The target is
# $v = \alpha \epsilon - \sigma x_0$, the loss the plain mean of the squared error. All in TensorFlow: `loss` is traced once, and
# what NumPy draws then stays the same in all steps. `keras.utils.set_random_seed(seed)` comes first.
# </details>

# %% given="plane_data"
CENTRES = np.array([[-0.9, -0.5], [0.9, -0.5], [0.1, 1.0]])
WIDTHS, SHARES = np.array([0.3, 0.2, 0.2]), np.array([0.5, 0.3, 0.2])
_rng = np.random.default_rng(0)
_k = _rng.choice(3, 10_000, p=SHARES)
points = (CENTRES[_k] + WIDTHS[_k, None] * _rng.normal(size=(10_000, 2))).astype(np.float32)


def waves(log_snr):
    """λ: (B,) → (B, 6)."""
    angle = log_snr[:, None] * tf.constant([0.125, 0.25, 0.5])
    return tf.concat([tf.sin(angle), tf.cos(angle)], axis=1)


def build_network():
    """→ network: [x_t (B, 2), waves (B, 6)] → velocity (B, 2)."""
    x, level = keras.Input((2,)), keras.Input((6,))
    return keras.Model([x, level], MLP(8, 64, 64, 2)(keras.layers.Concatenate()([x, level])))


def minimise(loss, network, steps=2000, rate=0.005):
    """Adam on `loss()`, a number drawn anew in each step; its rate falls to 0 along a cosine."""
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    adam.build(network.trainable_variables)

    @tf.function
    def run():
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                value = loss()
            adam.apply(tape.gradient(value, network.trainable_variables), network.trainable_variables)

    run()


# %% solution="train_velocity"
def train_velocity(x, seed):
    """x: (N, 2), points → network.get_weights(), a list of six arrays."""
    ### BEGIN SOLUTION
    keras.utils.set_random_seed(seed)
    network, data, B = build_network(), tf.constant(x), 256

    def loss():
        x0 = tf.gather(data, tf.random.uniform([B], maxval=len(x), dtype=tf.int32))
        log_snr, eps = tf.random.uniform([B], -5.0, 5.0), tf.random.normal([B, 2])
        alpha, sigma = tf.sqrt(tf.sigmoid(log_snr))[:, None], tf.sqrt(tf.sigmoid(-log_snr))[:, None]
        v = network([alpha * x0 + sigma * eps, waves(log_snr)])
        return tf.reduce_mean((v - (alpha * eps - sigma * x0)) ** 2)

    minimise(loss, network)
    return network.get_weights()
    ### END SOLUTION


# %% test="train_velocity" points=3
def exact_velocity(x, alpha, sigma):
    """x: (N, 2) noisy points → E[v | x_t], (N, 2): the mean of each component, weighted by its posterior probability."""
    variance = alpha**2 * WIDTHS**2 + sigma**2  # (3,)
    apart = x[:, None] - alpha * CENTRES  # (N, 3, 2)
    log_w = np.log(SHARES) - np.log(variance) - np.sum(apart**2, axis=2) / (2 * variance)
    w = np.exp(log_w - log_w.max(axis=1, keepdims=True))
    w /= w.sum(axis=1, keepdims=True)
    data = np.sum(w[:, :, None] * (CENTRES + (alpha * WIDTHS**2 / variance)[:, None] * apart), axis=1)
    return (alpha * x - data) / sigma


def judge(network, rng):
    """→ the mean squared difference from the exact velocity, 2,000 noisy points at each of eleven levels."""
    found = []
    for log_snr in np.linspace(-5, 5, 11):
        alpha, sigma = np.sqrt(1 / (1 + np.exp(-log_snr))), np.sqrt(1 / (1 + np.exp(log_snr)))
        k = rng.choice(3, 2000, p=SHARES)
        x = alpha * (CENTRES[k] + WIDTHS[k, None] * rng.normal(size=(2000, 2))) + sigma * rng.normal(
            size=(2000, 2)
        )
        v = network([tf.constant(x, tf.float32), waves(tf.fill([2000], np.float32(log_snr)))]).numpy()
        found.append(np.mean((v - exact_velocity(x, alpha, sigma)) ** 2))
    return np.mean(found)


answer = stattests.call(train_velocity, points, 0)
network = build_network()
assert isinstance(answer, (tuple, list)) and len(answer) == 6, "return network.get_weights(), six arrays"
network.set_weights(
    [
        stattests.assert_array(f"array {i}", w, v.shape, most=1000)
        for i, (w, v) in enumerate(zip(answer, network.weights))
    ]
)
error = judge(network, np.random.default_rng(0))
print(f"mean squared difference from the exact velocity: {error:.4f}")
TRAIN_HINT = (
    "Does each point have its own λ, between −5 and 5, and do x_t, the waves and the target share it? Is the target α ε − σ x_0? "
    "Is all drawn by TensorFlow, within `loss`?"
)
assert error < 0.02, f"the mean squared difference is {error:.4f}, below 0.02 expected. {TRAIN_HINT}"
### BEGIN HIDDEN TESTS
# The same comparison with other noisy points. The threshold is empirical: see the guide.
error = judge(network, stattests.grading_rng("train_velocity"))
assert error < 0.02, f"with other points the mean squared difference is {error:.4f}, below 0.02 expected"
### END HIDDEN TESTS

# %% [markdown] given="argue_task"
# ## 5 · A question to argue (2 points, 20 minutes)
#
# Let the data be no distribution, but just the N = 1,197 training images $x^{(1)}, \dots, x^{(N)}$, each with
# probability $1 / N$. The simple loss knows nothing else.
#
# 1. Write down the *perfect* guess $\mathbb{E}[x_0 \mid x_t]$ for these data. What do ancestral steps with it give in the end, if
#    they are small enough? What happens to the bound of a *test* image, if the decoder's variance is small?
# 2. So the network with the lowest possible training loss is useless. Why is the trained U-Net no copying machine? Name two
#    causes, and a measurement that would tell a copying machine from a good model. Say what it gives for either, and what a
#    comparison with test images by kernel distance would give.
#
# Answer in about 150 words.

# %% [markdown] argue="argue_copies" points=2
# ### BEGIN SOLUTION
# 1. A mean of the training images, weighted by how well each explains the noisy one: $\sum_i w_i x^{(i)}$ with $w_i \propto
#    \exp(-|x_t - \alpha_t x^{(i)}|^2 / 2 \sigma_t^2)$. With much noise it is the mean image; as $\sigma_t$ falls, one weight becomes 1, so the
#    chain ends in a training image: a copying machine. A test image is never hit: near the end the guess is another
#    image, $|x_0 - \hat x_0|^2$ stays, and is multiplied by an SNR that grows without bound; the bound goes to infinity
#    with the decoder's precision.
# 2. The network cannot represent that guess, or does not get there: few parameters and convolutions that treat all places alike; each
#    noisy image is seen once, and training stops early (validation loss as low as training loss). Measurement: the distance of a sample to the nearest
#    training image, beside the same distance for *held-out real* images. Copies: 0. A good model: as far as
#    held-out images are. (Or: training against validation loss at small noise.) The kernel distance to test images would praise the copies.
#
# **Rubric.** ½ for the weighted mean and the copies; ½ for the bound of test images that goes to infinity, with a
# reason; ½ for two causes; ½ for the distance to the nearest training image with its control (held-out images), or
# the two losses, and for seeing that the kernel distance would praise the copies.
# ### END SOLUTION

# %% [markdown] given="end"
# ---
# Before you hand in: *Kernel → Restart Kernel and Run All Cells*, then the **Validate** button. It runs the visible
# tests.
