# %% [markdown] given="title"
# # Week 14 · Exercise: Other guidance, other captions, other ways back
#
# {{colab}}
#
# The preparation guided away from "no caption", let every pixel look at a caption of fixed length, replaced the known
# part of an image, and followed an ODE. Here each of these changes:
#
# - guidance away from a **negative** caption, with its contrast put right again;
# - attention to captions of **different lengths**, also empty ones;
# - a noisy image is $x_0 + \sigma \epsilon$, nothing shrinks: in this variable inpainting that goes back several levels,
#   **jumps forward** and tries again; and Heun's steps that keep account of the density, up and down;
# - a network whose caption has **two words**, each of which may be missing.
#
# **20 points, about 2½ hours.** Five gaps are graded automatically (18 points), a question by a person (2 points).
#
# ## How it works
#
# - Write your answer where it says `raise NotImplementedError`. Keep the names and arguments of the functions.
# - The cell after each gap tests your answer and says what is wrong. When you hand in, further tests run on other
#   inputs.
# - All arrays arrive as NumPy `float32`, lengths and words as integers. Return NumPy arrays or TensorFlow tensors, in
#   `float32` or `float64`, as you like. Do not change the arrays that come in.
# - In gaps 1 to 4 all noise is given; nothing is drawn there.
# - Each gap is tested on its own, from given values.
#
# **Letters:** B batch, D dimensions, N places of an image, M words of a caption, E numbers of a word, C channels, H
# heads, K steps, U rounds.

# %% setup

# %% given="imports"
import keras
import numpy as np
import tensorflow as tf

from utils import stattests
from utils.networks import MLP

# %% [markdown] given="guided_task"
# ## 1 · Captions
#
# ### Gap 1 · Away from a negative caption, with the contrast put right (2 points, 15 minutes)
#
# One network guesses the noise twice: $\epsilon_+$ with the caption that is wanted, $\epsilon_-$ with one that is
# *not* wanted ("blurred"). The guided noise goes away from the second, each example with its own strength $w$:
#
# $$g = (1 + w)\, \epsilon_+ - w\, \epsilon_- .$$
#
# With large $w$ the entries of $g$ become too large, and images glaring. Lin et al. (2024) multiply $g$ such that it
# has the spread of $\epsilon_+$ again, and mix this with $g$ itself by a number $\varphi$:
#
# $$\hat\epsilon = \varphi\, \frac{s(\epsilon_+)}{s(g)}\, g + (1 - \varphi)\, g ,$$
#
# where $s$ is the standard deviation over all entries of **one** example, whatever its axes (around their mean, as
# `np.std` does).
#
# <details><summary>Hint</summary>
#
# `axis=tuple(range(1, x.ndim)), keepdims=True` leaves one number for each example, ready to be multiplied.
# </details>


# %% solution="guided_noise"
def guided_noise(positive, negative, w, phi):
    """positive, negative: (B, …), w: (B,), phi: number in [0, 1] → guided noise (B, …)."""
    ### BEGIN SOLUTION
    w, axes = w.reshape([-1] + [1] * (positive.ndim - 1)), tuple(range(1, positive.ndim))
    guided = positive + w * (positive - negative)
    ratio = positive.std(axis=axes, keepdims=True) / guided.std(axis=axes, keepdims=True)
    return (phi * ratio + 1 - phi) * guided
    ### END SOLUTION


# %% test="guided_noise" points=2
GUIDED_HINT = (
    "(1 + w) times the wanted one; each example has its own w and its own two standard deviations, over all of its entries; "
    "φ belongs to the rescaled one."
)


def check_guided(what, positive, negative, w, phi, exact):
    positive, negative, w = (np.asarray(v, np.float32) for v in (positive, negative, w))
    answer = stattests.call(guided_noise, positive, negative, w, phi)
    stattests.assert_close(f"guided noise, {what}", answer, exact, rtol=1e-3, atol=1e-4, hint=GUIDED_HINT)


check_guided("w = 0, φ = 0.3", [[1, 5], [2, 3]], [[7, 7], [0, 9]], [0, 0], 0.3, [[1, 5], [2, 3]])
check_guided("φ = 0", [[1, 5], [2, 3]], [[7, 7], [0, 9]], [1, 2], 0.0, [[-5, 3], [6, -9]])
check_guided("φ = 1", [[1, 5], [2, 3]], [[7, 7], [0, 9]], [1, 2], 1.0, [[-2.5, 1.5], [0.4, -0.6]])
check_guided("φ = ½", [[1, 5], [2, 3]], [[7, 7], [0, 9]], [1, 2], 0.5, [[-3.75, 2.25], [3.2, -4.8]])
images = [[[1, 5], [2, 3]], [[2, 0], [1, 1]]], [[[7, 7], [0, 9]], [[0, 4], [1, 3]]]
check_guided(
    "φ = 1, two axes, w = 1 and −½",
    *images,
    [1, -0.5],
    1.0,
    [[[-1.929612, 1.157768], [1.54369, -1.157768]], [[1.414214, 2.828427]] * 2],
)
### BEGIN HIDDEN TESTS
# Other numbers, batches of images, and as many examples as dimensions.


def guided_by_entries(positive, negative, w, phi):
    """One example after the other."""
    found = []
    for plus, minus, strength in zip(*(np.asarray(v, float) for v in (positive, negative, w))):
        g = (1 + strength) * plus - strength * minus
        spread = [np.sqrt(np.mean(v**2) - np.mean(v) ** 2) for v in (plus, g)]
        found.append(phi * spread[0] / spread[1] * g + (1 - phi) * g)
    return np.array(found)


rng = stattests.grading_rng("guided_noise")
for shape, phi in [((4, 4), 0.7), ((5, 2, 3, 1), 0.25), ((3, 6), 1.0), ((2, 4, 4, 2), 0.5), ((1, 5), 0.9)]:
    positive, negative = (rng.normal(size=(2, *shape)) + rng.normal(size=(2, *[1] * len(shape)))).astype(
        np.float32
    )
    w = rng.uniform(0.5, 6, size=shape[0]).astype(np.float32)
    w[-1] = rng.uniform(-0.6, -0.2)  # towards the other one: the spread becomes smaller, not larger
    exact = guided_by_entries(positive, negative, w, phi)
    check_guided(f"arrays of shape {shape}, φ = {phi}", positive, negative, w, phi, exact)
### END HIDDEN TESTS

# %% [markdown] given="attention_task"
# ### Gap 2 · Captions of different lengths (4 points, 30 minutes)
#
# In cross-attention each place of an image asks, and the words of the caption answer. Here it has H heads, and the
# captions of a batch have **different lengths**: only the first `length[b]` words of caption b are words, the rest
# fills up the array with anything. With $x$ an image's places (N, C) and $y$ its caption (M, E), the head $h$ has
#
# $$Q = (x W_q)_h, \quad K = (y W_k)_h, \quad V = (y W_v)_h, \qquad R_h = \mathrm{softmax}\Big( \frac{Q K^\top}{\sqrt{d}} \Big)\, V,$$
#
# where the softmax is over the **words** of the caption, without what fills up. $W_q$ (C, Hd), $W_k$ and $W_v$ (E,
# Hd): head $h$ has their columns $hd$ to $(h + 1)d - 1$, and $d$ is the width of a head. The results $R_h$ (N, d) of
# the heads stand side by side, (N, Hd), in the same order, and are multiplied by $W_o$ (Hd, C).
#
# That is all: the preparation's "$h_n +$" is not part of this function. A caption may be empty, `length[b]` = 0. That
# is how classifier-free guidance asks without a caption. Then nothing is said: the result is 0.
#
# <details><summary>Hint</summary>
#
# `np.einsum("bnhd,bmhd->bhnm", Q, K)` multiplies all queries with all keys. Set the scores of what fills up to −10⁹
# before the softmax, and look after empty captions separately: there all scores are equal, so the softmax would say
# 1/M.
# </details>


# %% solution="cross_attention"
def cross_attention(x, caption, length, W_q, W_k, W_v, W_o, heads):
    """x: (B, N, C), caption: (B, M, E), length: (B,) integers from 0 to M, W_q: (C, H d), W_k, W_v: (E, H d),
    W_o: (H d, C), heads: H → (B, N, C)."""
    ### BEGIN SOLUTION
    B, N, M, d = len(x), x.shape[1], caption.shape[1], W_q.shape[1] // heads
    Q, K, V = ((u @ W).reshape(B, -1, heads, d) for u, W in [(x, W_q), (caption, W_k), (caption, W_v)])
    real = (np.arange(M) < length[:, None])[:, None, None]  # (B, 1, 1, M)
    score = np.where(real, np.einsum("bnhd,bmhd->bhnm", Q, K) / np.sqrt(d), -1e9)
    weight = np.exp(score - score.max(axis=3, keepdims=True)) * real
    weight = weight / np.maximum(weight.sum(axis=3, keepdims=True), 1)  # the sum is 0 if the caption is empty
    return np.einsum("bhnm,bmhd->bnhd", weight, V).reshape(B, N, heads * d) @ W_o
    ### END SOLUTION


# %% test="cross_attention" points=4
ATTENTION_HINT = (
    "The softmax runs over the words of the image's own caption, the first length[b] of the M; √d with the width of a head; head h has the "
    "columns h d to (h + 1) d − 1; an empty caption gives 0."
)


def attend(x, caption, length, weights, heads):
    """The answer for arrays, its shape checked."""
    x, caption, *weights = (np.asarray(v, np.float32) for v in (x, caption, *weights))
    answer = stattests.call(cross_attention, x, caption, np.asarray(length, np.int64), *weights, heads)
    return stattests.assert_array("the result", answer, x.shape)


ones, eye = np.ones((1, 1)), np.eye(2)
for what, heads, exact in [
    ("one head", 1, [[[1.339523, 0.660477], [0.660477, 1.339523]]]),
    ("two heads", 2, [[[1.462117, 1], [1, 1.462117]]]),
]:
    found = attend([[[1, 0], [0, 1]]], [[[2, 0], [0, 2], [9, 9]]], [2], [eye, 0.5 * eye, eye, eye], heads)
    stattests.assert_close(f"two words, {what}", found, exact, rtol=1e-3, hint=ATTENTION_HINT)
rng = np.random.default_rng(0)
x, caption = rng.normal(size=(3, 4, 2)), rng.normal(size=(3, 5, 3))
weights = [rng.normal(size=shape) for shape in [(2, 6), (3, 6), (3, 6), (6, 2)]]
found = attend(x, caption, [4, 0, 2], weights, 2)
stattests.assert_close(
    "two heads of width 3, two places",
    found[0, :2],
    [[-0.723770, -0.098891], [-0.533110, 0.038926]],
    rtol=1e-3,
    hint=ATTENTION_HINT,
)
stattests.assert_close("the result of an empty caption", found[1], np.zeros((4, 2)), hint=ATTENTION_HINT)
filled = caption.copy()
filled[0, 4], filled[2, 2:] = 1000, -1000
stattests.assert_close(
    "the result with other numbers after the last word",
    attend(x, filled, [4, 0, 2], weights, 2),
    found,
    rtol=1e-3,
    atol=1e-4,
    hint=ATTENTION_HINT,
)
### BEGIN HIDDEN TESTS
# Other sizes, one place, head and word after the other.


def attention_by_words(x, caption, length, weights, heads):
    W_q, W_k, W_v, W_o = (np.asarray(W, float) for W in weights)
    d, found = W_q.shape[1] // heads, np.zeros(x.shape)
    for b, n in np.ndindex(*x.shape[:2]):
        for h in range(heads if length[b] else 0):
            part = slice(h * d, (h + 1) * d)
            words = caption[b, : length[b]]
            scores = np.array([(x[b, n] @ W_q[:, part]) @ (y @ W_k[:, part]) for y in words]) / d**0.5
            shares = np.exp(scores - np.logaddexp.reduce(scores))
            found[b, n] += sum(p * (y @ W_v[:, part]) for p, y in zip(shares, words)) @ W_o[part]
    return found


rng = stattests.grading_rng("cross_attention")
for B, N, C, M, E, heads, d in [
    (3, 4, 2, 5, 3, 2, 3),
    (4, 4, 4, 4, 4, 4, 1),
    (2, 3, 3, 6, 2, 1, 4),
    (5, 1, 3, 2, 5, 3, 3),
    (3, 6, 4, 3, 4, 2, 2),
]:
    x, caption = rng.normal(size=(B, N, C)), rng.normal(size=(B, M, E))
    weights = [
        rng.normal(size=s) * 0.7 for s in [(C, heads * d), (E, heads * d), (E, heads * d), (heads * d, C)]
    ]
    length = rng.permutation(np.append([0, M], rng.integers(1, M + 1, size=B - 2)))
    for b in range(B):
        caption[b, length[b] :] *= 500
    exact = attention_by_words(x, caption, length, weights, heads)
    found = attend(x, caption, length, weights, heads)
    what = f"{N} places, {M} words at most, {heads} heads, lengths {list(map(int, length))}"
    stattests.assert_close(f"the result, {what}", found, exact, rtol=2e-3, atol=1e-3, hint=ATTENTION_HINT)
### END HIDDEN TESTS

# %% [markdown] given="repaint_task"
# ## 2 · Ways back, in another variable
#
# Both gaps of this part have $x_\sigma = x_0 + \sigma \epsilon$ in place of $\sqrt{a}\, x_0 + \sqrt{1 - a}\, \epsilon$
# (Karras et al., 2022): nothing is shrunk, the variance grows.
#
# ### Gap 3 · Inpainting that goes back several levels, and tries again (4 points, 25 minutes)
#
# Of an image $y$ the pixels with mask 1 are known. If they are only replaced at each level, seams are left: the rest
# was guessed before it saw them. RePaint (Lugmayr et al., 2022) goes back a few levels, **jumps forward again** into
# the noise in one leap, and repeats. Write U such rounds over the same levels
# $\sigma_0 > \sigma_1 > \dots > \sigma_K \ge 0$. A round starts with $x$ at $\sigma_0$. For $k = 0, \dots, K - 1$:
#
# 1. *One level back*, by DDIM: with $\hat x_0$ guessed from $x$ at $\sigma_k$,
#    $x^{\text{new}} = \hat x_0 + \frac{\sigma_{k + 1}}{\sigma_k} (x - \hat x_0)$.
# 2. *The known part* at the level just reached, $y$ with the noise `z_known[u, k]` in the right strength. Put both together: known
#    pixels of this, the others of $x^{\text{new}}$.
#
# Then, after each round but the last, jump *forward* from $\sigma_K$ to $\sigma_0$: a draw from
# $q(x_{\sigma_0} \mid x_{\sigma_K})$ with the noise `z_jump[u]`. Work out its strength. Return $x$ at $\sigma_K$ after
# the last round.
#
# <details><summary>Hint</summary>
#
# Variances of independent noises add: which variance has to come to $\sigma_K^2$ to make $\sigma_0^2$?
# </details>


# %% solution="repaint"
def repaint(guess, x, y, mask, sigmas, z_known, z_jump):
    """guess: (x, σ) → x̂_0, (B, …); x: (B, …) at sigmas[0]; y, mask: (B, …), mask 1 where y is known, else 0; sigmas: (K + 1,),
    falling; z_known: (U, K, B, …); z_jump: (U − 1, B, …) → x at sigmas[-1], (B, …)."""
    ### BEGIN SOLUTION
    for u, noises in enumerate(z_known):
        if u > 0:
            x = x + np.sqrt(sigmas[0] ** 2 - sigmas[-1] ** 2) * z_jump[u - 1]
        for sigma, tau, z in zip(sigmas[:-1], sigmas[1:], noises):
            x0 = guess(x, sigma)
            new = x0 + tau / sigma * (x - x0)
            x = mask * (y + tau * z) + (1 - mask) * new
    return x
    ### END SOLUTION


# %% test="repaint" points=4
REPAINT_HINT = (
    "Both parts are at the level just reached; the mask is 1 where y is known; each level of each round has a guess and a noise of its "
    "own; the jump begins at x with all its noise, and is made after each round but the last."
)


def half_guess(x, sigma):
    return 0 * x + 0.5


def mirror_guess(x, sigma):  # each pixel asks the one opposite, too
    return (0.6 * x + 0.3 * x[:, ::-1]) / (1 + sigma**2) + 0.2


def check_repaint(what, guess, x, y, mask, sigmas, z_known, z_jump, exact):
    x, y, mask, sigmas, z_known, z_jump = (
        np.asarray(v, np.float32) for v in (x, y, mask, sigmas, z_known, z_jump)
    )
    answer = stattests.call(repaint, guess, x, y, mask, sigmas, z_known, z_jump)
    stattests.assert_close(f"x, {what}", answer, exact, rtol=2e-3, atol=1e-3, hint=REPAINT_HINT)


none, once, z = np.zeros((0, 1, 2)), [[[[1, -1]]]], [[[[1, -1]], [[0.5, 2]]], [[[-1, 0]], [[3, 1]]]]
check_repaint(
    "to σ = 0 at once", half_guess, [[2, -1]], [[0.1, 0.9]], [[1, 0]], [2, 0], once, none, [[0.1, 0.5]]
)
check_repaint(
    "from 2 to 1", half_guess, [[2, -1]], [[0.1, 0.9]], [[1, 0]], [2, 1], once, none, [[1.1, -0.25]]
)
known = [[0, 1]], [[0, 1]]
check_repaint("one round", mirror_guess, [[4, -1]], *known, [3, 2, 1], z[:1], none, [[1.639867, 3.0]])
check_repaint("two rounds", mirror_guess, [[4, -1]], *known, [3, 2, 1], z, [[[1, -2]]], [[1.870663, 2.0]])
### BEGIN HIDDEN TESTS
# Other levels, numbers of rounds and masks, and images.


def repaint_by_pixels(guess, x, y, mask, sigmas, z_known, z_jump):
    """One example and pixel after the other, each step as signal and noise."""
    now = np.array(x, float)
    for e, u, k in np.ndindex(len(x), *z_known.shape[:2]):
        if u > 0 and k == 0:
            factor = sigmas[-1] / sigmas[0]
            now[e] += sigmas[0] * (1 - factor**2) ** 0.5 * z_jump[u - 1][e]
        data = guess(now[e : e + 1], sigmas[k])[0]
        for i in np.ndindex(*data.shape):
            noise = (now[e][i] - data[i]) / sigmas[k]
            signal, noise = (y[e][i], z_known[u, k][e][i]) if mask[e][i] == 1 else (data[i], noise)
            now[e][i] = signal + sigmas[k + 1] * noise
    return now


rng = stattests.grading_rng("repaint")
for shape, U, K in [((3, 3), 2, 3), ((2, 3, 2, 1), 3, 2), ((4, 2), 4, 1), ((1, 6), 1, 4), ((2, 2), 2, 2)]:
    for last in [rng.uniform(0.2, 0.5), 0.0]:
        sigmas = np.append(0.5 + np.cumsum(rng.uniform(0.4, 0.9, size=K))[::-1], last).astype(np.float32)
        x, y = rng.normal(size=(2, *shape)).astype(np.float32)
        z_known = rng.normal(size=(U, K, *shape)).astype(np.float32)
        z_jump = rng.normal(size=(U - 1, *shape)).astype(np.float32)
        mask = rng.permutation(np.arange(x.size) % 2).reshape(shape)
        exact = repaint_by_pixels(mirror_guess, x, y, mask, sigmas.astype(float), z_known, z_jump)
        what = f"{U} rounds, σ = {', '.join(f'{s:.2f}' for s in sigmas)}, arrays of shape {shape}"
        check_repaint(what, mirror_guess, x, y, mask, sigmas, z_known, z_jump, exact)
### END HIDDEN TESTS

# %% [markdown] given="heun_task"
# ### Gap 4 · Heun's steps, with an account of the density (5 points, 35 minutes)
#
# With the network's guess $D(x, \sigma)$ of the data (not the number D of dimensions) the probability-flow ODE is
# short in this variable, and so is the rate at which the logarithm of the density changes *along a path*:
#
# $$\frac{dx}{d\sigma} = v(x, \sigma) = \frac{x - D(x, \sigma)}{\sigma}, \qquad \frac{d \log p_\sigma(x(\sigma))}{d\sigma} = - \nabla \cdot v =
# - \sum_i \frac{\partial v_i}{\partial x_i} .$$
#
# Heun's step from $\sigma$ to $\tau$ takes the mean of two slopes, the second at the place where Euler's step would
# have ended:
#
# $$x' = x + (\tau - \sigma)\, v(x, \sigma), \qquad x_\tau = x + (\tau - \sigma)\, \tfrac12 \big( v(x, \sigma) + v(x', \tau) \big).$$
#
# For the density take the mean of the two divergences, at the same two places and levels, $(x, \sigma)$ and
# $(x', \tau)$. If $\tau = 0$, there is no second slope: make Euler's step, for $x$ and for the density.
#
# `sigmas` has K + 1 levels. They may fall (drawing samples; only the last one may be 0) or rise (from data to noise,
# for a likelihood). Return $x$ at the last level and, for each example,
# $\log p(x_{\text{end}}) - \log p(x_{\text{start}})$. `denoise` computes with TensorFlow; take the divergence
# **exactly**, from derivatives.
#
# <details><summary>Hint</summary>
#
# In a `tf.GradientTape(persistent=True)` that watches $x$, compute $v$ and take it apart, `tf.unstack(v, axis=1)`;
# then `tape.gradient(v_i, x)[:, i]` is $\partial v_i / \partial x_i$ for each example, as the examples do not touch.
# (Or `tape.batch_jacobian`.) Write a function $(x, \sigma)$ → $v$ and divergence, and call it twice a step.
# </details>


# %% solution="heun"
def heun(denoise, x, sigmas):
    """denoise: (x (B, D), σ) → guessed data (B, D), a tensor; x: (B, D) at sigmas[0]; sigmas: (K + 1,) → x at sigmas[-1],
    (B, D), and the change of log p, (B,)."""

    ### BEGIN SOLUTION
    def slope(x, sigma):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            v = (x - denoise(x, sigma)) / sigma
            parts = tf.unstack(v, axis=1)
        return v, sum(tape.gradient(v_i, x)[:, i] for i, v_i in enumerate(parts))

    x, change = tf.constant(x), 0.0
    for sigma, tau in zip(sigmas[:-1], sigmas[1:]):
        v, divergence = slope(x, sigma)
        if tau > 0:
            second, its_divergence = slope(x + (tau - sigma) * v, tau)
            v, divergence = (v + second) / 2, (divergence + its_divergence) / 2
        x, change = x + (tau - sigma) * v, change - (tau - sigma) * divergence
    return x, change
    ### END SOLUTION


# %% test="heun" points=5
HEUN_HINT = (
    "v = (x − D) / σ; the second slope and its divergence at x' and τ; a step to 0 has one slope; the divergence is the "
    "sum of ∂v_i / ∂x_i over i, one number for each example, and log p changes by minus it times τ − σ."
)


def constant_guess(x, sigma):
    return 0 * x + 0.5


def same_guess(x, sigma):
    return 1 * x


def shrinking_guess(x, sigma):
    return x / (1 + sigma**2)


def curved_guess(x, sigma):
    x = tf.convert_to_tensor(x)
    return tf.tanh(x + 0.5 * tf.roll(x, 1, axis=1)) / tf.cast(1 + sigma, x.dtype)


def check_heun(what, denoise, x, sigmas, exact):
    x, sigmas = np.asarray(x, np.float32), np.asarray(sigmas, np.float32)
    answer = stattests.call(heun, denoise, x, sigmas)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, (
        "return two arrays: x and the change of log p"
    )
    for name, value, right in zip(["x", "the change of log p"], answer, exact):
        stattests.assert_close(f"{name}, {what}", value, right, rtol=2e-3, atol=1e-3, hint=HEUN_HINT)


two = [[1, -2], [0.3, 0.8]]
check_heun("D = x", same_guess, two, [3, 1, 0], [two, [0, 0]])
check_heun("D = ½, from 2 to 0 at once", constant_guess, two, [2, 0], [[[0.5, 0.5]] * 2, [2, 2]])
check_heun("D = ½, from 1 to 2", constant_guess, two, [1, 2], [[[1.5, -4.5], [0.1, 1.1]], [-1.5, -1.5]])
check_heun(
    "D = x / (1 + σ²), from 2 to 1 to 0",
    shrinking_guess,
    two,
    [2, 1, 0],
    [[[0.325, -0.65], [0.0975, 0.26]], [1.9, 1.9]],
)
check_heun(
    "a curved D, from 2 to 1 to 0",
    curved_guess,
    two,
    [2, 1, 0],
    [[[-0.053994, -0.367287], [0.246227, 0.294674]], [2.307075, 2.341391]],
)
check_heun(
    "a curved D, from 2 to 1",
    curved_guess,
    two,
    [2, 1],
    [[[0.481178, -1.179179], [0.267949, 0.542692]], [1.031445, 1.04647]],
)
check_heun(
    "a curved D, from ½ to 1 to 3",
    curved_guess,
    two,
    [0.5, 1, 3],
    [[[5.621706, -9.369272], [0.039533, 2.591478]], [-3.135118, -3.236778]],
)
### BEGIN HIDDEN TESTS
# Other points and levels, up and down, in one to five dimensions, with derivatives by hand.


def by_hand(denoise, x, sigma):
    """→ D(x, σ) and the sum of its ∂D_i / ∂x_i, of one point."""
    if denoise is shrinking_guess:
        return x / (1 + sigma**2), len(x) / (1 + sigma**2)
    inner = np.array([x[i] + 0.5 * x[i - 1] for i in range(len(x))])
    own = 1.5 if len(x) == 1 else 1.0  # in one dimension the neighbour is the point itself
    return np.tanh(inner) / (1 + sigma), own * np.sum(1 / np.cosh(inner) ** 2) / (1 + sigma)


def heun_by_hand(denoise, x, sigmas):
    """One point after the other; position and log p are one vector."""
    ends, changes = [], []
    for point in np.asarray(x, float):

        def rate(state, sigma):
            data, trace = by_hand(denoise, state[:-1], sigma)
            return np.append(state[:-1] - data, trace - len(data)) / sigma

        state = np.append(point, 0.0)
        for sigma, tau in zip(sigmas, sigmas[1:]):
            k = rate(state, sigma)
            if tau != 0:
                k = 0.5 * k + 0.5 * rate(state + (tau - sigma) * k, tau)
            state = state + (tau - sigma) * k
        ends.append(state[:-1])
        changes.append(state[-1])
    return np.array(ends), np.array(changes)


rng = stattests.grading_rng("heun")
for denoise, B, D, K, way in [
    (curved_guess, 3, 3, 3, "to 0"),
    (curved_guess, 2, 2, 2, "up"),
    (curved_guess, 2, 3, 2, "down"),
    (curved_guess, 1, 5, 1, "to 0"),
    (shrinking_guess, 2, 4, 2, "up"),
    (curved_guess, 3, 1, 1, "up"),
]:
    sigmas = 0.4 + np.cumsum(rng.uniform(0.3, 0.8, size=K + 1))
    sigmas = sigmas if way == "up" else sigmas[::-1]
    sigmas = np.append(sigmas[:-1], 0) if way == "to 0" else sigmas
    sigmas, x = sigmas.astype(np.float32), (2 * rng.normal(size=(B, D))).astype(np.float32)
    what = f"{B} points, D = {D}, σ = {', '.join(f'{s:.2f}' for s in sigmas)}"
    check_heun(what, denoise, x, sigmas, heun_by_hand(denoise, x, sigmas.astype(float)))
### END HIDDEN TESTS

# %% [markdown] given="train_task"
# ## 3 · A network for two words
#
# ### Gap 5 · Train it so that each word may be missing (3 points, 25 minutes)
#
# Each of the `points` has a caption of two words: `first` (0 or 1) and `second` (0, 1 or 2). For guidance in each word
# separately (Brooks et al., 2023, do it with an image and a text) one network must know all **four** cases: both
# words, only the first, only the second, none. `one_hot` makes the network's input of them; a missing word is −1, and
# gives zeros.
#
# `build_network` makes a network that gets $x_t$, by `waves` the level $\lambda = \log \mathrm{SNR}$, and the words,
# and returns a velocity $v = \alpha \epsilon - \sigma x_0$ as in week 13, where $x_t = \alpha x_0 + \sigma \epsilon$
# with $\alpha^2 = \mathrm{sigmoid}(\lambda)$ and $\sigma^2 = \mathrm{sigmoid}(-\lambda)$. It will be used at every
# $\lambda$ from −5 to 5.
#
# Train it, and hand over its weights (`get_weights()`). The lines that are there choose steps, batch and optimiser;
# they suffice, and you may change them. The points come from a mixture of six Gaussians that the test knows. It draws
# noisy points at eleven levels and compares the network with the exact $\mathbb{E}[v \mid x_t, \text{words}]$, in each
# of the four cases. **You pass if the mean squared difference, over both coordinates and all levels, is below 0.035 in
# each case.** (A network that always says 0 has 0.10 without words, 0.35 or more else.) Training takes 3 to 8 seconds;
# the grader stops it after two minutes. Only `seed=0` is judged.
#
# <details><summary>Hint</summary>
#
# One `tf.function` with `for _ in tf.range(steps)`; in each step B points with their words by `tf.gather` with the
# same indices, for each point its own $\lambda$, uniform between −5 and 5, and its own noise. `tf.where(drop, -1,
# words)` takes words away: each with a probability near ½, as all four cases count alike. Then a `tf.GradientTape` and
# `adam.apply(gradients, network.trainable_variables)`.
# </details>

# %% given="plane_data"
CENTRES = np.array([[-0.9, 0.9], [-1.1, 0.0], [-0.5, -0.9], [0.8, 1.0], [1.1, 0.1], [0.5, -0.7]])
WIDTHS = np.array([0.3, 0.2, 0.2, 0.2, 0.2, 0.3])
SHARES = np.array([0.25, 0.1, 0.1, 0.05, 0.3, 0.2])
FIRST, SECOND = np.array([0, 0, 0, 1, 1, 1], np.int32), np.array([0, 1, 2, 0, 1, 2], np.int32)  # their words
_rng = np.random.default_rng(0)
_k = _rng.choice(6, 10_000, p=SHARES)
points = (CENTRES[_k] + WIDTHS[_k, None] * _rng.normal(size=(10_000, 2))).astype(np.float32)
first, second = FIRST[_k], SECOND[_k]


def waves(log_snr):
    """λ: (B,) → (B, 6)."""
    angle = log_snr[:, None] * tf.constant([0.125, 0.25, 0.5])
    return tf.concat([tf.sin(angle), tf.cos(angle)], axis=1)


def one_hot(first, second):
    """Words: (B,) integers each, −1 if missing → (B, 5)."""
    return tf.concat([tf.one_hot(first, 2), tf.one_hot(second, 3)], axis=1)


def build_network():
    """→ network: [x_t (B, 2), waves (B, 6), words (B, 5)] → velocity (B, 2)."""
    inputs = [keras.Input((2,)), keras.Input((6,)), keras.Input((5,))]
    return keras.Model(inputs, MLP(13, 64, 64, 2)(keras.layers.Concatenate()(inputs)))


# %% solution="train_words"
def train_words(x, first, second, seed):
    """x: (N, 2), points, first, second: (N,), their words → network.get_weights(), a list of six arrays."""
    keras.utils.set_random_seed(seed)
    network, steps, B = build_network(), 3000, 256
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, steps))
    adam.build(network.trainable_variables)
    ### BEGIN SOLUTION
    data, words = tf.constant(x), tf.constant(np.stack([first, second], axis=1))

    @tf.function
    def run():
        for _ in tf.range(steps):
            i = tf.random.uniform([B], maxval=len(x), dtype=tf.int32)
            x0 = tf.gather(data, i)
            left = tf.where(tf.random.uniform([B, 2]) < 0.4, -1, tf.gather(words, i))  # each word on its own
            log_snr, eps = tf.random.uniform([B], -5.0, 5.0), tf.random.normal([B, 2])
            alpha, sigma = tf.sqrt(tf.sigmoid(log_snr))[:, None], tf.sqrt(tf.sigmoid(-log_snr))[:, None]
            with tf.GradientTape() as tape:
                v = network([alpha * x0 + sigma * eps, waves(log_snr), one_hot(left[:, 0], left[:, 1])])
                loss = tf.reduce_mean((v - (alpha * eps - sigma * x0)) ** 2)
            adam.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)

    run()
    return network.get_weights()
    ### END SOLUTION


# %% test="train_words" points=3
def exact_velocity(x, alpha, sigma, first, second):
    """x: (N, 2) noisy points, their words (N,), −1 if missing → E[v | x_t, words], (N, 2).

    A mean over the Gaussians that fit the words, weighted by their posterior probabilities."""
    fits = ((first[:, None] == -1) | (first[:, None] == FIRST)) & (
        (second[:, None] == -1) | (second[:, None] == SECOND)
    )
    variance = alpha**2 * WIDTHS**2 + sigma**2  # (6,)
    apart = x[:, None] - alpha * CENTRES  # (N, 6, 2)
    log_w = np.log(SHARES) - np.log(variance) - np.sum(apart**2, axis=2) / (2 * variance)
    log_w = np.where(fits, log_w, -np.inf)
    w = np.exp(log_w - log_w.max(axis=1, keepdims=True))
    w /= w.sum(axis=1, keepdims=True)
    data = np.sum(w[:, :, None] * (CENTRES + (alpha * WIDTHS**2 / variance)[:, None] * apart), axis=1)
    return (alpha * x - data) / sigma


CASES = {
    "both words": (1, 1),
    "only the first word": (1, 0),
    "only the second word": (0, 1),
    "no words": (0, 0),
}


def judge(network, rng):
    """→ for each case the mean squared difference from the exact velocity, 2,000 noisy points at each of eleven levels."""
    errors = dict.fromkeys(CASES, 0.0)
    for log_snr in np.linspace(-5, 5, 11):
        alpha, sigma = np.sqrt(1 / (1 + np.exp(-log_snr))), np.sqrt(1 / (1 + np.exp(log_snr)))
        k, noise = rng.choice(6, 2000, p=SHARES), rng.normal(size=(2, 2000, 2))
        x = alpha * (CENTRES[k] + WIDTHS[k, None] * noise[0]) + sigma * noise[1]
        level = waves(tf.fill([2000], np.float32(log_snr)))
        for name, (one, two) in CASES.items():
            words = FIRST[k] if one else 0 * k - 1, SECOND[k] if two else 0 * k - 1
            v = network([tf.constant(x, tf.float32), level, one_hot(*words)]).numpy()
            errors[name] += np.mean((v - exact_velocity(x, alpha, sigma, *words)) ** 2) / 11
    return errors


def check_errors(errors):
    for name, error in errors.items():
        hint = (
            "Is each word taken away on its own, so that all four cases come up? Do x_t, waves, words and target belong to the same "
            "point? Is the target α ε − σ x_0? Do the steps suffice, and does the rate fall?"
        )
        assert error < 0.035, (
            f"with {name} the mean squared difference is {error:.4f}, below 0.035 expected. {hint}"
        )


answer = stattests.call(train_words, points, first, second, 0)
network = build_network()
assert isinstance(answer, (tuple, list)) and len(answer) == 6, "return network.get_weights(), six arrays"
network.set_weights(
    [
        stattests.assert_array(f"array {i}", w, v.shape, most=1000)
        for i, (w, v) in enumerate(zip(answer, network.weights))
    ]
)
errors = judge(network, np.random.default_rng(0))
print("mean squared difference: " + ", ".join(f"{name} {error:.4f}" for name, error in errors.items()))
check_errors(errors)
### BEGIN HIDDEN TESTS
# The same comparison with other noisy points. The threshold is empirical: see the guide.
check_errors(judge(network, stattests.grading_rng("train_words")))
### END HIDDEN TESTS

# %% [markdown] given="argue_task"
# ## 4 · A question to argue (2 points, 20 minutes)
#
# Let a class be $\mathcal{N}(m, s^2)$ in one dimension and all data together $\mathcal{N}(0, S^2)$, with $s < S$. With
# $x_\sigma = x_0 + \sigma \epsilon$ the ODE is $dx / d\sigma = -\sigma\, \nabla \log p_\sigma(x)$; guidance puts
# $(1 + w) \nabla \log p_\sigma(x \mid c) - w \nabla \log p_\sigma(x)$ in the score's place.
#
# 1. One often reads that guidance samples from $p(x \mid c)^{1 + w} / p(x)^w$, normalised. Which variance has that
#    density here?
# 2. Let $\delta$ be the difference of two solutions of the guided ODE. Show that
#    $\delta(\sigma) \propto (s^2 + \sigma^2)^{(1 + w) / 2}\, (S^2 + \sigma^2)^{-w / 2}$. Which variance do the samples have, if one
#    starts with the variance $\sigma_{\max}^2$, which is very large? Compute it and the variance of question 1 for $s = 1$,
#    $S = 2$, $w = 3$, and say why they differ.
# 3. Someone chooses $w$ such that a classifier recognises most of the drawn digits. What goes wrong, which measure
#    belongs beside it, and what do you compare it with?
#
# Answer in about 200 words.

# %% [markdown] argue="argue_guidance" points=2
# ### BEGIN SOLUTION
# 1. Precisions add: $1 / \text{var} = (1 + w) / s^2 - w / S^2$. (Positive, as $s < S$.)
# 2. The guided score is linear in $x$, so $m$ drops out of the difference:
#    $\frac{d\delta}{d\sigma} = \sigma \big( \frac{1 + w}{s^2 + \sigma^2} - \frac{w}{S^2 + \sigma^2} \big) \delta$. Hence
#    $\delta \propto (s^2 + \sigma^2)^{(1 + w) / 2} (S^2 + \sigma^2)^{-w / 2}$, which is nearly $\sigma$ for large $\sigma$. At 0 it is $s\, (s / S)^w$: the
#    variance is $s^2 (s^2 / S^2)^w$. With the numbers $1 / 64 = 0.016$, but by 1 it would be $1 / (4 - 0.75) = 0.31$: the samples
#    are far narrower than the tilted density. The guided score at level $\sigma$ is that of the tilted *noisy* densities, which is
#    not the noisy version of the tilted density; no one diffusion has all these scores, so the ODE ends in neither.
# 3. The classifier's share grows with every step away from the other classes, and says nothing about variety: with
#    large $w$ all sevens are the same seven, more typical than any real one. Beside it belongs a measure of diversity within
#    a class (recall, the mean distance of two samples of a class, kernel distance to real images of the class), compared with
#    the same for held-out real images of that class, and the classifier's share with its share on real images: above that there
#    is nothing to gain.
#
# **Rubric.** ½ for the variance in 1; ½ for the differential equation of δ and the ODE's variance; ½ for both numbers
# and the reason (tilting and adding noise cannot be exchanged); ½ for lost diversity, a measure of it and real images
# as the control.
# ### END SOLUTION

# %% [markdown] given="end"
# ---
# Before you hand in: *Kernel → Restart Kernel and Run All Cells*, then the **Validate** button. It runs the visible
# tests.
