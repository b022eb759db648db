# %% [markdown] given="title"
# # Week 11 · Exercise: Attention as it is served
#
# {{colab}}
#
# The preparation built a small transformer, sampled from it and adapted it. A model that many people use at once is
# built a little differently in each place, and this is what you write here:
#
# - attention in which several heads **share keys and values**, and a cache of **fixed size** for texts of any length;
# - a sampler that keeps neither the top k nor the nucleus, but what is **typical**;
# - several LoRA adapters **combined into one** of small rank;
# - the **bits per character** of a model whose tokens are longer than a character, and whose context is short;
# - a transformer of your own, compared with a source whose **entropy is known**.
#
# **20 points, about 2½ hours.** Six gaps are graded automatically (18 points), a question by a person (2 points).
#
# ## How it works
#
# - Write your answer where it says `raise NotImplementedError`. Keep the names and arguments of the functions.
# - The cell after each gap tests your answer and says what is wrong. When you hand in, further tests run on other
#   inputs.
# - Arrays of numbers arrive as NumPy `float32`, tokens and positions as integers, masks as booleans. Return NumPy
#   arrays or TensorFlow tensors, in `float32` or `float64`, as you like. Do not change the arrays that come in.
# - Where chance plays a part in gaps 1 to 5, it is given; nothing is drawn there.
# - Each gap is tested on its own, from given values.
#
# **Letters:** B texts, T positions, H heads, d and e the sizes of a key and a value, W window, V tokens of the
# vocabulary. Positions, slots and tokens are counted from 0. All logarithms are natural where nothing else is said.

# %% setup

# %% given="imports"
import keras
import numpy as np
import tensorflow as tf
from keras import ops
from scipy.special import entr, log_softmax, softmax

from utils import stattests


def normal(seed, *shapes):
    """float32 arrays of normal numbers with two decimals, for the tests."""
    rng = np.random.default_rng(seed)
    return [np.round(rng.normal(size=shape), 2).astype(np.float32) for shape in shapes]


# %% [markdown] given="grouped_task"
# ## 1 · Attention
#
# ### Gap 1 · Grouped queries, and what a query may see (3 points, 20 minutes)
#
# A cache of keys and values is read in full for each new token, and its size is what limits how many texts a machine
# can serve. So today's models have fewer keys and values than queries (Ainslie et al., 2023): of H query heads, each
# **H/G neighbours share** one of G heads of keys and values. Query heads $0, \dots, H/G - 1$ use key head 0, the next
# $H/G$ use key head 1, and so on. (G = H is the preparation's attention.) Head h at position t of text b gives
#
# $$o_{bht} = \sum_s w_{bhts}\, v_{b g s}, \qquad w_{bhts} = \frac{e^{q_{bht} \cdot k_{bgs} / \sqrt d}}{\sum_{s'} e^{q_{bht} \cdot
# k_{bgs'} / \sqrt d}}, \qquad g = \text{the key head of } h,$$
#
# where both sums run only over the positions s that t **sees**. These are the s that fulfil all three:
#
# - causal: $s \le t$;
# - in the window: $s > t - W$, that is, t itself and the $W - 1$ positions before it (Beltagy et al., 2020);
# - no padding: `real[b, s]` is true. Texts of different lengths stand in one array, and the places where there is no
#   text are anywhere, at the beginning too.
#
# A position that sees nothing gets $o = 0$, no NaN. And the scores $q \cdot k / \sqrt d$ may be as large as ±1000,
# those of positions that are not seen as well.
#
# <details><summary>Hint</summary>
#
# `np.repeat(k, H // G, axis=1)` puts each key head where its query heads are. `back = t - s` for all pairs is
# `np.arange(T)[:, None] - np.arange(T)`; two of the three conditions are conditions on it. For the softmax subtract
# the largest score *among those seen*: if a later position has the largest of all, every weight that counts may
# underflow to 0.
# </details>


# %% solution="grouped_attention"
def grouped_attention(q, k, v, real, window):
    """q: (B, H, T, d); k: (B, G, T, d); v: (B, G, T, e); real: (B, T), booleans; window: int ≥ 1 → (B, H, T, e)."""
    ### BEGIN SOLUTION
    H, T, d = q.shape[1:]
    G = k.shape[1]
    k, v = np.repeat(k, H // G, axis=1), np.repeat(v, H // G, axis=1)
    scores = q @ k.swapaxes(2, 3) / np.sqrt(d)  # (B, H, T, T)
    back = np.arange(T)[:, None] - np.arange(T)
    sees = (back >= 0) & (back < window) & real[:, None, None, :]
    scores = np.where(sees, scores, -1e9)
    weights = np.exp(scores - scores.max(axis=3, keepdims=True)) * sees
    total = weights.sum(axis=3, keepdims=True)  # at least 1, or 0 where nothing is seen
    return weights @ v / np.maximum(total, 1)
    ### END SOLUTION


# %% test="grouped_attention" points=3
GROUPED_HINT = (
    "Query head h uses key head h // (H / G); position t sees s if s ≤ t, s > t − W and real[b, s]; the scale is 1/√d; "
    "who sees nothing gets 0."
)


def check_grouped(what, q, k, v, real, window, exact):
    q, k, v = (np.array(x, np.float32) for x in (q, k, v))
    answer = stattests.call(grouped_attention, q, k, v, np.array(real, bool), window)
    stattests.assert_close(f"the output, {what}", answer, exact, rtol=1e-3, atol=1e-4, hint=GROUPED_HINT)


# All scores 0: means of the values seen. Of 6 positions, 0, 1 and 4 are padding; positions 0 and 1 see nothing.
# In a second text, nothing is padding.
values, real = np.tile(np.array([1, 2, 4, 8, 16, 32])[:, None], (2, 1, 1, 1)), [[0, 0, 1, 1, 0, 1], [1] * 6]
for W, *means in [
    (1, [0, 0, 4, 8, 0, 32], [1, 2, 4, 8, 16, 32]),
    (3, [0, 0, 4, 6, 6, 20], [1, 3 / 2, 7 / 3, 14 / 3, 28 / 3, 56 / 3]),
    (9, [0, 0, 4, 6, 6, 44 / 3], [1, 3 / 2, 7 / 3, 15 / 4, 31 / 5, 63 / 6]),
]:
    zero, exact = np.zeros((2, 1, 6, 2)), np.array(means)[:, None, :, None]
    check_grouped(f"all scores 0, window {W}", zero, zero, values, real, W, exact)
q, k, v = normal(1, (2, 6, 4, 3), (2, 2, 4, 3), (2, 2, 4, 2))
answer = stattests.call(grouped_attention, q, k, v, np.ones((2, 4), bool), 1)
answer = stattests.assert_array("the output", answer, (2, 6, 4, 2))
for h, g in enumerate([0, 0, 0, 1, 1, 1]):
    what = f"query head {h} of 6, window 1: each position sees only itself, in key head {g} of 2"
    stattests.assert_close(what, answer[:, h], v[:, g], hint=GROUPED_HINT)
q, k, v = normal(2, (1, 2, 3, 4), (1, 1, 3, 4), (1, 1, 3, 1))
check_grouped(
    "three positions, window 2",
    q,
    k,
    v,
    [[1, 1, 1]],
    2,
    [[[[-0.17], [0.096639], [0.137830]], [[-0.17], [0.254996], [-0.707664]]]],
)
# The last position is padding and has by far the largest scores; then all scores are large.
k[..., -1, :] += 900 * q[0, 0, 0] / np.sum(q[0, 0, 0] ** 2)
check_grouped(
    "a large score where nobody looks",
    q,
    k,
    v,
    [[1, 1, 0]],
    2,
    [[[[-0.17], [0.096639], [0.87]], [[-0.17], [0.254996], [0.87]]]],
)
# Scores of ±1000: of those seen, the ones with the largest score share the weight.
sign, values = np.array([1, -1, 1, -1])[None, None, :, None], np.array([1, 2, 4, 8])[None, None, :, None]
large, exact = (
    np.array([900, 1000, 1000, 0])[None, None, :, None],
    np.array([1, 2, 3, 3])[None, None, :, None],
)
check_grouped("scores 900, 1000, 1000, 0", 0 * large + 1, large, values, np.ones((1, 4)), 9, exact)
for size, means in [(1000, [1, 1, 2.5, 4]), (-1000, [1, 2, 2, 5])]:
    exact, four = np.array(means)[None, None, :, None], np.full((1, 1, 4, 1), size)
    check_grouped(f"scores of ±1000, the first is {size}", four, sign, values, np.ones((1, 4)), 3, exact)
### BEGIN HIDDEN TESTS
# Other sizes, windows, paddings and scores; a change at one position must leave all earlier outputs as they are.


def slow_attention(q, k, v, real, window):
    """One position after the other, over a list of those that it sees."""
    q, k, v = (x.astype(float) for x in (q, k, v))
    B, H, T, d = q.shape
    o = np.zeros((B, H, T, v.shape[-1]))
    for b, h, t in np.ndindex(B, H, T):
        g = h * k.shape[1] // H
        seen = [s for s in range(max(0, t - window + 1), t + 1) if real[b, s]]
        if seen:
            a = np.array([q[b, h, t] @ k[b, g, s] for s in seen]) / np.sqrt(d)
            a = np.exp(a - a.max())
            o[b, h, t] = (a / a.sum()) @ v[b, g, seen]
    return o


rng = stattests.grading_rng("grouped_attention")
for B, H, G, T, d, e, window, scale in [
    (2, 4, 2, 7, 3, 5, 3, 1.0),
    (3, 6, 1, 5, 4, 2, 9, 1.0),
    (1, 3, 3, 6, 2, 2, 2, 1.0),
    (2, 6, 3, 8, 5, 3, 4, 5.0),
]:
    q, k = (scale * rng.normal(size=(B, n, T, d)).astype(np.float32) for n in (H, G))
    v, real = rng.normal(size=(B, G, T, e)).astype(np.float32), rng.random((B, T)) < 0.6
    what = f"B = {B}, H = {H}, G = {G}, T = {T}, window {window}, scores of about {scale**2:g}"
    check_grouped(what, q, k, v, real, window, slow_attention(q, k, v, real, window))
    real[:, -3:] = True
    exact = slow_attention(q, k, v, real, window)[:, :, :-2]
    k[:, :, -2:] = rng.normal(0, 30, size=(B, G, 2, d))
    v[:, :, -2:] += 100
    answer = stattests.assert_array(
        "the output", stattests.call(grouped_attention, q, k, v, real, window), (B, H, T, e)
    )
    hint = "The last two positions have changed: an earlier one sees the future."
    stattests.assert_close(
        f"the output at earlier positions, {what}", answer[:, :, :-2], exact, rtol=1e-3, atol=1e-4, hint=hint
    )
### END HIDDEN TESTS

# %% [markdown] given="ring_task"
# ### Gap 2 · A cache that never grows (3 points, 25 minutes)
#
# With a window of W positions, older keys and values are never needed again. So keep W **slots** for each text and
# head, and write position t into slot $t \bmod W$, over what was there (a ring buffer, as in Jiang et al., 2023). Then
# a text of any length needs the memory of W positions.
#
# A ring forgets the order: slot 0 may hold an older or a newer position than slot 1. Here the order matters, because a
# score falls with the distance (Press et al., 2022). Head h has a slope $m_h$, and position t gives to position s the
# score
#
# $$\frac{q_t \cdot k_s}{\sqrt d} - m_h\, (t - s), \qquad t - W < s \le t.$$
#
# Write one step. In comes the query, key and value of position t, and the ring as it was before; **each text of the
# batch is at a position of its own**, `t[b]`. Return the output (softmax of the scores, times the values), and the new
# rings. As long as $t < W - 1$, some slots have not been written for this text; they hold *what an earlier text left
# there*, and must not count. The rings that come in stay as they are: make new arrays.
#
# <details><summary>Hint</summary>
#
# Write first, then read: t sees itself. How old is what slot j holds, after the writing? The age $t - s$ is the one
# number from 0 to $W - 1$ with $(t - s) \equiv t - j$ modulo W; `%` of NumPy gives it, also for negative numbers. And
# a slot has been written if its age is at most t.
# </details>


# %% solution="ring_step"
def ring_step(q, k, v, ring_k, ring_v, t, slopes):
    """q, k, v: (B, H, d); rings: (B, H, W, d); t: (B,), integers; slopes: (H,) → output (B, H, d), two rings."""
    ### BEGIN SOLUTION
    W, d = ring_k.shape[2:]
    slots, t = np.arange(W), t[:, None]  # (W,), (B, 1)
    here = (slots == t % W)[:, None, :, None]
    ring_k = np.where(here, k[:, :, None], ring_k)
    ring_v = np.where(here, v[:, :, None], ring_v)
    age = (t - slots) % W  # (B, W)
    scores = np.einsum("bhd,bhwd->bhw", q, ring_k) / np.sqrt(d) - slopes[:, None] * age[:, None]
    weights = softmax(np.where(age[:, None] <= t[:, None], scores, -np.inf), axis=2)
    return np.einsum("bhw,bhwd->bhd", weights, ring_v), ring_k, ring_v
    ### END SOLUTION


# %% test="ring_step" points=3
RING_HINT = {
    "the output": "Is the new position written before it is read? Are slots left out that this text has not "
    "written? Is the distance t − s, not one of slots?",
    "the ring of keys": "Position t of a text goes into slot t mod W; all other slots stay.",
    "the ring of values": "Position t of a text goes into slot t mod W; all other slots stay.",
}


def check_ring(what, arguments, exact):
    answer = stattests.call(ring_step, *arguments)
    assert isinstance(answer, (tuple, list)) and len(answer) == 3, (
        "return three arrays: the output, the ring of keys, the ring of values"
    )
    for (name, hint), value, right in zip(RING_HINT.items(), answer, exact):
        if right is not None:
            stattests.assert_close(f"{name}, {what}", value, right, rtol=1e-3, atol=1e-4, hint=hint)


# Two texts, at positions 1 and 6; four slots with the values 0, 1, 2, 3 in the ring, 50 as the new one.
ring_v = np.tile(np.arange(4, dtype=np.float32)[:, None], (2, 1, 1, 2))  # (2, 1, 4, 2)
one, t = np.ones((2, 1, 2), np.float32), np.array([1, 6])
rings = [
    np.tile([[[0.0], [50.0], [2.0], [3.0]]], (1, 1, 1, 2)),
    np.tile([[[0.0], [1.0], [50.0], [3.0]]], (1, 1, 1, 2)),
]
rings = np.concatenate(rings)
arguments = [0 * one, one, 50 * one, 0 * ring_v, ring_v, t]
check_ring(
    "all scores 0: the mean of what is seen",
    [*arguments, np.zeros(1, np.float32)],
    [[[[25, 25]], [[13.5, 13.5]]], None, rings],
)
check_ring(
    "a slope of 50: only the position itself counts",
    [*arguments, np.full(1, 50, np.float32)],
    [50 * one, None, rings],
)
# The weights of ages 0 and 1 are 2/3 and 1/3; with four slots those of ages 0 to 3 are 8, 4, 2 and 1 fifteenths.
check_ring(
    "a slope of log 2: half as much for each position back",
    [*arguments, np.full(1, np.log(2), np.float32)],
    [[[[100 / 3] * 2], [[(400 + 4 * 1 + 2 * 0 + 3) / 15] * 2]], None, rings],
)
q, k, v, ring_k, ring_v = normal(3, *[(2, 2, 3)] * 3, *[(2, 2, 3, 3)] * 2)
answer = stattests.call(ring_step, q, k, v, ring_k, ring_v, np.array([0, 1]), np.ones(2, np.float32))
stattests.assert_close(
    "position 0 sees only itself: the output", answer[0][0], v[0], hint=RING_HINT["the output"]
)
check_ring(
    "two heads, three slots, positions 7 and 11",
    [q, k, v, ring_k, ring_v, np.array([7, 11]), np.array([0.5, 0.1], np.float32)],
    [
        [
            [[-0.257302, -0.412888, 1.828336], [-0.221859, 0.560803, 0.159231]],
            [[0.460821, -1.163652, -1.526150], [0.385751, 0.191233, 0.349756]],
        ],
        None,
        None,
    ],
)
### BEGIN HIDDEN TESTS
# Texts of several lengths, step after step, compared with attention over the whole text; the slots hold remains.


def whole_text(q, k, v, slopes, window):
    """(H, T, d) each → (H, T, d): attention over the whole text, its last positions."""
    out = np.zeros(q.shape)
    for h, t in np.ndindex(q.shape[:2]):
        seen = np.arange(max(0, t - window + 1), t + 1)
        a = k[h, seen] @ q[h, t] / np.sqrt(q.shape[2]) - slopes[h] * (t - seen)
        a = np.exp(a - a.max())
        out[h, t] = a @ v[h, seen] / a.sum()
    return out


rng = stattests.grading_rng("ring_step")
for B, H, d, W, T in [(3, 2, 4, 4, 9), (2, 3, 2, 5, 13), (1, 1, 3, 1, 3), (2, 2, 3, 20, 6)]:
    q, k, v = rng.normal(size=(3, B, H, T + 40, d)).astype(np.float32)
    slopes = rng.uniform(0.05, 0.6, size=H).astype(np.float32)
    exact = np.stack([whole_text(*(x.astype(float) for x in parts), slopes, W) for parts in zip(q, k, v)])
    ring_k, ring_v = (5 * rng.normal(size=(2, B, H, W, d))).astype(np.float32)  # remains of other texts
    first = rng.permutation(3 * B)[:B]  # each text begins some positions before the steps do
    for b, s in np.ndindex(B, 3 * B):
        if s < first[b]:
            ring_k[b, :, s % W], ring_v[b, :, s % W] = k[b, :, s], v[b, :, s]
    rows = np.arange(B)
    for step in range(T):
        t = first + step
        arguments = [q[rows, :, t], k[rows, :, t], v[rows, :, t], ring_k.copy(), ring_v.copy(), t]
        ring_k[rows, :, t % W], ring_v[rows, :, t % W] = k[rows, :, t], v[rows, :, t]
        what = f"{H} heads, {W} slots, positions {t.tolist()}"
        check_ring(what, [*arguments, slopes], [exact[rows, :, t], ring_k, ring_v])
### END HIDDEN TESTS

# %% [markdown] given="typical_task"
# ## 2 · Sampling
#
# ### Gap 3 · What is typical (3 points, 20 minutes)
#
# The nucleus keeps the most probable tokens. But someone who speaks does not always say the most probable word: on
# average a word of a text carries as much surprise as the *entropy*, and words with far less are as unusual as words
# with far more. Meister et al. (2023) keep the tokens whose surprise is nearest to the entropy. For each row of
# logits, with $p$ their softmax:
#
# 1. the entropy $\mathcal{H} = -\sum_i p_i \log p_i$, and each token's distance from it,
#    $\delta_i = |-\log p_i - \mathcal{H}|$;
# 2. take tokens in the order of their δ, the smallest first, **until their probabilities sum to `mass` or more**; the
#    token that reaches it is kept;
# 3. **equals are treated equally**: every token with a δ at most $10^{-3}$ larger than that of the last one is kept
#    as well;
# 4. the others get probability 0, those that are kept are normalised to sum to 1: $\hat p$.
#
# A logit of −∞ forbids a token: it has probability 0 and adds nothing to the entropy. Finally draw with the given
# uniform number u: the smallest token i with $\hat p_0 + \dots + \hat p_i > u$. Return $\hat p$ and the drawn tokens.
#
# <details><summary>Hint</summary>
#
# `entr(p)` of the first cell is $-p \log p$, with 0 where p is 0. After `order = np.argsort(delta, axis=1)` a token is
# taken if the probabilities *before* it, in this order, sum to less than `mass`. `np.take_along_axis` applies an order
# to rows. The largest δ of those taken says which others are kept.
# </details>


# %% solution="typical"
def typical(logits, mass, u):
    """logits: (B, V), some −∞; mass: number in (0, 1); u: (B,), in [0, 1) → p̂ (B, V) and the tokens drawn (B,)."""
    ### BEGIN SOLUTION
    log_p = log_softmax(logits.astype(float), axis=1)
    p = np.exp(log_p)
    delta = np.abs(-log_p - entr(p).sum(axis=1, keepdims=True))
    order = np.argsort(delta, axis=1)
    sorted_p = np.take_along_axis(p, order, axis=1)
    taken = np.cumsum(sorted_p, axis=1) - sorted_p < mass
    last = np.take_along_axis(delta, order, axis=1).max(axis=1, keepdims=True, where=taken, initial=0)
    p_hat = np.where(delta <= last + 1e-3, p, 0)
    p_hat = p_hat / p_hat.sum(axis=1, keepdims=True)
    return p_hat, np.sum(np.cumsum(p_hat, axis=1) <= u[:, None], axis=1)
    ### END SOLUTION


# %% test="typical" points=3
TYPICAL_HINT = (
    "Nearest to the entropy first, until the probabilities sum to the mass; who reaches it is kept, and so are its "
    "equals; they are normalised. A forbidden token adds 0 to the entropy."
)


def check_typical(what, logits, mass, u, exact, tokens):
    answer = stattests.call(typical, np.array(logits, np.float32), mass, np.array(u, np.float32))
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return two arrays: p̂ and the tokens"
    stattests.assert_close(f"p̂, {what}", answer[0], exact, rtol=2e-3, atol=1e-5, hint=TYPICAL_HINT)
    drawn = stattests.assert_array(f"the tokens, {what}", answer[1], (len(u),))
    for row, (value, right) in enumerate(zip(drawn, tokens)):
        assert value == right, (
            f"the token of row {row}, {what}: {value} is drawn, {right} is right. It is the first one at which the sum "
            f"of p̂, in the order of the vocabulary, exceeds u = {u[row]:.3f}"
        )


check_typical(
    "all logits equal: equals stay together", np.zeros((2, 4)), 0.3, [0.3, 0.8], np.full((2, 4), 0.25), [1, 3]
)
forbidden = [[-np.inf, 0, -np.inf, 0, 0]]
check_typical("two of five tokens forbidden", forbidden, 0.5, [0.5], [[0, 1 / 3, 0, 1 / 3, 1 / 3]], [3])
# Entropy 1.258: the surprises 0.60, 1.90, 2.12 and 3.51 are 0.66, 0.64, 0.86 and 2.25 away.
p = np.array([[0.55, 0.15, 0.12, 0.03, 0.15]])
check_typical("four of five tokens", np.log(p), 0.25, [0.49], [[0, 0.5, 0, 0, 0.5]], [1])
check_typical("the same with a larger mass", np.log(p), 0.35, [0.5], p * [1, 1, 0, 0, 1] / 0.85, [0])
check_typical(
    "the same with logits 300 lower, and 300 higher",
    np.concatenate([np.log(p) - 300, np.log(p) + 300]),
    0.25,
    [0.1, 0.9],
    [[0, 0.5, 0, 0, 0.5]] * 2,
    [1, 4],
)
# The surprises are 0.0013, 0.0008 and 0.0022 away from the entropy: the first two are equals, the third is not.
check_typical("three tokens nearly alike", [[0, 0.0005, 0.0035]], 0.2, [0.7], [[0.5, 0.5, 0]], [1])
### BEGIN HIDDEN TESTS
# Many rows at once, with ties and forbidden tokens, compared with a set that grows token by token.


def grow(logits, mass):
    """One row → p̂, and how near a decision was to turning out otherwise."""
    weight = np.exp(logits.astype(float) - logits.max())
    p = weight / weight.sum()
    possible = [i for i in range(len(p)) if p[i] > 0]
    entropy = sum(-p[i] * np.log(p[i]) for i in possible)
    delta = {i: abs(-np.log(p[i]) - entropy) for i in possible}
    kept, near, end = [], 1.0, None
    for i in sorted(possible, key=delta.get):
        ahead = sum(p[j] for j in kept)
        near = min(near, abs(ahead - mass))
        if end is None and ahead >= mass:
            end = delta[kept[-1]]  # of the token that reaches the mass
        if end is not None:
            near = min(near, abs(delta[i] - end - 1e-3))
            if delta[i] - end > 1e-3:
                break
        kept.append(i)
    near = min(near, abs(sum(p[j] for j in kept) - mass))
    p_hat = np.zeros(len(p))
    p_hat[kept] = p[kept] / p[kept].sum()
    return p_hat, near


def check_random_typical(rng, B, V, mass, spread, ties):
    rows, u, exact, tokens = [], [], [], []
    while len(rows) < B:
        logits = (spread * rng.normal(size=V)).astype(np.float32)
        if ties:
            logits = logits[rng.integers(V, size=V)]  # some come up several times
        logits[rng.random(V) < 0.2] = -np.inf
        if np.isinf(logits).all():
            continue
        (p_hat, near), uniform = grow(logits, mass), float(np.float32(rng.uniform(0.001, 0.999)))
        below = np.cumsum(p_hat)
        if near > 3e-4 and np.abs(below - uniform).min() > 1e-4:
            rows.append(logits)
            u.append(uniform)
            exact.append(p_hat)
            tokens.append(next(i for i in range(V) if below[i] > uniform))
    what = f"{B} rows of {V} tokens, mass {mass:g}{', some tokens alike' if ties else ''}"
    check_typical(what, rows, mass, u, exact, tokens)


rng = stattests.grading_rng("typical")
for B, V, spread, ties in [
    (200, 5, 1.5, False),
    (200, 8, 2.0, True),
    (40, 30, 3.0, False),
    (1, 12, 1.0, True),
]:
    check_random_typical(rng, B, V, round(float(rng.uniform(0.2, 0.9)), 2), spread, ties)
### END HIDDEN TESTS

# %% [markdown] given="adapters_task"
# ## 3 · Adapters
#
# ### Gap 4 · Several adapters in one (3 points, 20 minutes)
#
# A LoRA adapter of rank r adds to a dense layer, whose kernel stays as it is,
#
# $$x \mapsto \frac{\alpha}{r}\, (x A)\, B, \qquad A: (D_\text{in}, r), \quad B: (r, D_\text{out}).$$
#
# Now there are several, of one layer, with ranks and scales of their own. Someone wants them together, with weights
# $c_i$ (a negative one takes away what an adapter has learned; Ilharco et al., 2023):
#
# $$\Delta = \sum_i c_i\, \frac{\alpha_i}{r_i}\, A_i B_i.$$
#
# Return $A$ and $B$ of **one** adapter with the given rank R and scale α, such that
#
# $$\frac{\alpha}{R}\, A B \quad \text{is as near to } \Delta \text{ as a matrix of rank R can be,}$$
#
# measured by the sum of all squared entries of the difference. That is the truncated singular value decomposition of Δ
# (Eckart and Young, 1936). But in the test $D_\text{in}$ and $D_\text{out}$ are up to 300,000, and Δ would take 360
# GB. It has a rank of at most $\sum_i r_i$, so small matrices suffice. R is at most $\sum_i r_i$, and at most
# $D_\text{in}$ and $D_\text{out}$.
#
# <details><summary>Hint</summary>
#
# Side by side and below each other, the adapters are one product: $\Delta = P Q$ with $P$ ($D_\text{in}$, $\sum r_i$).
# Two thin QR decompositions, $P = U_P R_P$ and $Q^\top = U_Q R_Q$, leave $\Delta = U_P\, (R_P R_Q^\top)\, U_Q^\top$,
# where the matrix in the middle is small and the outer ones keep all lengths.
# </details>


# %% solution="combine_adapters"
def combine_adapters(adapters, weights, rank, alpha):
    """adapters: list of (A (D_in, r_i), B (r_i, D_out), alpha_i); weights: numbers → A (D_in, rank), B (rank, D_out)."""
    ### BEGIN SOLUTION
    P = np.concatenate([c * a / A.shape[1] * A for c, (A, B, a) in zip(weights, adapters)], axis=1)
    Q = np.concatenate([B for A, B, a in adapters], axis=0)
    U_P, R_P = np.linalg.qr(P)
    U_Q, R_Q = np.linalg.qr(Q.T)
    U, s, V_T = np.linalg.svd(R_P @ R_Q.T, full_matrices=False)
    A, B = U_P @ (U * s)[:, :rank], V_T[:rank] @ U_Q.T
    return A * rank / alpha, B
    ### END SOLUTION


# %% test="combine_adapters" points=3
COMBINE_HINT = (
    "Each adapter has its own scale, alpha over its own rank, and the one that you return is scaled too, by alpha / "
    "rank. The largest singular values of the whole sum are kept. A mean of the A times a mean of the B is another matrix."
)


def squared_size(terms):
    """The sum of all squared entries of the sum of s A B, from small matrices only; terms: list of (s, A, B)."""
    return sum(s * t * np.sum((A.T @ C) * (B @ D.T)) for s, A, B in terms for t, C, D in terms)


def check_combined(what, adapters, weights, rank, alpha, best):
    """best: the smallest distance from the sum that a matrix of this rank can have."""
    adapters = [(np.array(A, np.float32), np.array(B, np.float32), a) for A, B, a in adapters]
    try:
        answer = stattests.call(combine_adapters, adapters, weights, rank, alpha)
    except MemoryError:
        raise AssertionError(
            f"{what}: the memory does not suffice. Do you make a matrix of D_in × D_out? A, B and small ones are enough (and none of D_in × D_in: `full_matrices=False`)"
        ) from None
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return two arrays: A and B"
    A = stattests.assert_array(f"A, {what}", answer[0], (len(adapters[0][0]), rank)).astype(float)
    B = stattests.assert_array(f"B, {what}", answer[1], (rank, adapters[0][1].shape[1])).astype(float)
    wanted = [
        (c * a / A_i.shape[1], A_i.astype(float), B_i.astype(float))
        for c, (A_i, B_i, a) in zip(weights, adapters)
    ]
    size = np.sqrt(squared_size(wanted))
    assert alpha / rank * np.linalg.norm(A) * np.linalg.norm(B) <= 1e4 * size, (
        f"{what}: A and B are ten thousand times larger than the sum: most of them cancels, and with it all accuracy"
    )
    distance = np.sqrt(max(squared_size([*wanted, (-alpha / rank, A, B)]), 0))
    assert distance <= best + 1e-3 * size, (
        f"{what}: the distance from the sum is {distance:.4g}, but {best:.4g} is possible (the sum itself has the size "
        f"{size:.4g}). {COMBINE_HINT}"
    )


first = ([[1], [2], [0]], [[1, 0, 1, 1]], 2.0)  # rank 1, scale 2
second = ([[1, 0], [0, 1], [1, 1]], [[0, 1, 0, 2], [1, 1, 0, 0]], 4.0)  # rank 2, scale 2
check_combined("one adapter alone", [second], [1.0], 2, 4.0, 0)
check_combined("one adapter alone, another scale", [second], [1.0], 2, 16.0, 0)
flat = ([[2.0, 1.0, 0.0]], [[1.0, 0.0], [0.0, 3.0], [5.0, 5.0]], 3.0)  # one input only: (2, 3)
check_combined("one input, rank 3, in rank 1", [flat], [1.0], 1, 1.0, 0)
check_combined("two adapters, rank 1 + 2", [first, second], [1.0, 1.0], 3, 3.0, 0)
check_combined("the second taken away", [first, second], [0.5, -1.0], 3, 1.0, 0)
check_combined("two adapters in rank 2", [first, second], [1.0, 1.0], 2, 1.0, 2.195241)
check_combined("two adapters in rank 1", [first, second], [0.3, -1.0], 1, 5.0, 3.253850)
axes = [(np.eye(4)[:, [i]], np.eye(5)[[i]], 1.0) for i in range(3)]  # of three axes the two longest are kept
check_combined("three axes of lengths 1, 3 and 2, in rank 2", axes, [1.0, -3.0, 2.0], 2, 1.0, 1.0)
wide = [
    (np.repeat(A, 100_000, axis=0) / 300, np.repeat(B, 75_000, axis=1) / 300, a)
    for A, B, a in (first, second)
]
scale = np.sqrt(100_000 * 75_000) / 300**2  # the singular values of repeated rows and columns
check_combined("300,000 inputs and outputs, rank 2", wide, [1.0, 1.0], 2, 1.0, scale * 2.195241)
### BEGIN HIDDEN TESTS
# Other sizes, ranks, scales and weights; also more ranks than outputs, and 200,000 inputs.


def best_distance(adapters, weights, rank):
    """What is left of Δ without its largest singular values; their squares are eigenvalues of a small matrix."""
    L = np.concatenate(
        [c * a / A.shape[1] * A.astype(float) for c, (A, _, a) in zip(weights, adapters)], axis=1
    )
    M = np.concatenate([B.astype(float) for _, B, _ in adapters])
    squares = np.sort(np.linalg.eigvals(L.T @ L @ M @ M.T).real)[::-1]
    return np.sqrt(np.sum(np.maximum(squares[rank:], 0)))


rng = stattests.grading_rng("combine_adapters")
for inputs, outputs, ranks, rank in [
    (9, 7, [2, 3], 2),
    (6, 11, [1, 2, 2], 3),
    (8, 8, [4], 2),
    (5, 3, [2, 4], 2),
    (4, 9, [3, 3], 4),
    (200_000, 150_000, [2, 1, 2], 3),
]:
    adapters = []
    for r in ranks:
        A, B = (
            rng.normal(size=(inputs, r)).astype(np.float32),
            rng.normal(size=(r, outputs)).astype(np.float32),
        )
        adapters.append((A, B, float(rng.integers(1, 17))))
    weights = [
        float(c)
        for c in np.round(rng.uniform(0.3, 2, size=len(ranks)) * rng.choice([-1, 1], size=len(ranks)), 2)
    ]
    what = f"{inputs:,} inputs, {outputs:,} outputs, ranks {ranks} in rank {rank}"
    check_combined(
        what, adapters, weights, rank, float(rng.integers(1, 17)), best_distance(adapters, weights, rank)
    )
### END HIDDEN TESTS

# %% [markdown] given="bits_task"
# ## 4 · Evaluation
#
# ### Gap 5 · Bits per character, with a context that slides (3 points, 15 minutes)
#
# The perplexity of a token cannot be compared between models whose tokens are of different lengths. Bits per character
# can: the bits of the whole text, divided by its characters. And a model that takes at most C tokens at a time meets a
# text of N tokens, N larger than C. Cut into pieces, each piece begins without any context. So let a window of C
# tokens slide by S tokens at a time, $1 \le S \le C$, and count of each window only what is new:
#
# - Before the text stands a `start` token, which is never predicted.
#   $z = (\texttt{start}, y_0, y_1, \dots, y_{N-1})$.
# - Window j hands $z_{jS}, z_{jS + 1}, \dots$ to the model, C tokens, or fewer where $y_{N-2}$, the last that
#   predicts anything, comes before. `next_logits` returns a row for each of them: the logits of the token **that
#   follows** it.
# - Each of $y_0, \dots, y_{N-1}$ counts **once**: in the first window that predicts it. The first window gives C
#   predictions, each later one S, the last one fewer if N so demands.
#
# $y_{N-1}$ is the end-of-text token. It has to be predicted as well, so its bits count; it has no characters:
# `lengths[token]` is the number of characters of a token, and 0 for this one. Return the **bits per character** of the
# whole text.
#
# `next_logits` is a function from the test: tokens (n,) → logits (n, V), as a NumPy array. Hand over C tokens at most.
#
# <details><summary>Hint</summary>
#
# Remember how many tokens have been counted, n. A window from i to j (exclusive) of z predicts $y_i, \dots, y_{j-1}$,
# and $y_n, \dots, y_{j-1}$ of them are new. `log_softmax` stands in the first cell. A bit is log 2 nats.
# </details>


# %% solution="bits_per_character"
def bits_per_character(next_logits, tokens, start, lengths, context, stride):
    """tokens: (N,), the last ends the text; lengths: (V,), characters → bits per character."""
    ### BEGIN SOLUTION
    z, N = np.concatenate([[start], tokens]), len(tokens)
    nats, counted = 0.0, 0
    for begin in range(0, N, stride):
        end = min(begin + context, N)
        log_p = log_softmax(next_logits(z[begin:end]), axis=1)
        new = np.arange(counted, end)  # none, if the end of the text has been reached before
        nats -= log_p[new - begin, tokens[new]].sum()
        counted = end
    return nats / np.log(2) / lengths[tokens].sum()
    ### END SOLUTION


# %% test="bits_per_character" points=3
BITS_HINT = (
    "All bits of the text, over the characters of all its tokens; the end-of-text token has bits, but no characters. Each "
    "token counts once, predicted by the row of the token before it, in the first window that contains that one."
)


def check_bits(what, model, tokens, start, lengths, context, stride, exact):
    answer = stattests.call(
        bits_per_character, model, np.array(tokens), start, np.array(lengths), context, stride
    )
    stattests.assert_close(f"bits per character, {what}", answer, exact, rtol=1e-3, hint=BITS_HINT)


def know_nothing(tokens):  # four tokens, equally probable
    return np.zeros((len(tokens), 4))


def count_up(tokens):  # after token i comes i + 1, of five, with probability 4 / (4 + 4)
    return np.log(4.0) * ((np.asarray(tokens)[:, None] + 1) % 5 == np.arange(5))


def all_so_far(tokens):  # depends on all tokens so far, and on how many they are
    tokens = np.asarray(tokens)
    return 2 * np.sin(np.cumsum((tokens + 1) * np.cos(np.arange(len(tokens))))[:, None] + 1.3 * np.arange(5))


# Tokens 0 to 3 have 1, 2, 3 and 0 characters; 2 bits for each of six tokens, ten characters.
check_bits("four tokens, equally probable", know_nothing, [0, 1, 2, 2, 0, 3], 3, [1, 2, 3, 0], 4, 2, 1.2)
# Counting up from the start token 2: each token has probability ½, the third one 1/8.
text, lengths = [3, 4, 1, 2, 3, 4, 0], [0, 1, 5, 2, 2]
check_bits("a model that counts up", count_up, text, 2, lengths, 3, 2, 9 / 14)
text = [3, 1, 1, 4, 2, 0, 3, 3, 1, 2, 4, 4, 0]
lengths = [0, 1, 2, 3, 4]
for context, stride, exact in [
    (5, 5, 2.122876),
    (5, 2, 1.767740),
    (4, 1, 1.901599),
    (20, 3, 1.679766),
    (5, 3, 1.833595),
]:
    check_bits(f"context {context}, stride {stride}", all_so_far, text, 0, lengths, context, stride, exact)
### BEGIN HIDDEN TESTS
# Other texts, models, contexts and strides; a model that sees the next token would be found out by other numbers.
rng = stattests.grading_rng("bits_per_character")
VOCABULARY, PHASE, STEEP = 7, float(rng.uniform(1, 2)), float(rng.uniform(1, 3))


def other_model(tokens):
    tokens = np.asarray(tokens)
    heard = np.cumsum((tokens + PHASE) * np.cos(PHASE * np.arange(len(tokens))))
    return STEEP * np.sin(heard[:, None] + PHASE * np.arange(VOCABULARY)) + 30


def slow_bits(tokens, start, lengths, context, stride):
    """Each token by itself: the first window that predicts it, up to the token before it."""
    z, nats = [start, *tokens], []
    for i, token in enumerate(tokens):
        window = max(0, -(-(i + 1 - context) // stride))  # the smallest j with j S + C > i
        row = other_model(np.array(z[window * stride : i + 1]))[-1]
        nats.append(np.log(np.sum(np.exp(row - row[token]))))
    characters = sum(lengths[token] for token in tokens)
    return sum(nats) / np.log(2) / characters


for N, context, stride in [
    (23, 6, 6),
    (24, 6, 2),
    (17, 5, 1),
    (31, 8, 5),
    (9, 20, 10),
    (13, 13, 13),
    (8, 1, 1),
    (14, 13, 4),
]:
    end, lengths = int(rng.integers(VOCABULARY)), rng.integers(1, 9, size=VOCABULARY)
    tokens = (end + rng.integers(1, VOCABULARY, size=N)) % VOCABULARY
    tokens[-1], lengths[end] = end, 0
    start = int(rng.integers(VOCABULARY))
    exact = slow_bits(tokens, start, lengths, context, stride)
    check_bits(
        f"{N} tokens, context {context}, stride {stride}",
        other_model,
        tokens,
        start,
        lengths,
        context,
        stride,
        exact,
    )
### END HIDDEN TESTS

# %% [markdown] given="train_task"
# ## 5 · A source whose entropy is known
#
# ### Gap 6 · Train a transformer that looks back (3 points, 20 minutes)
#
# The texts of `echo` have 24 tokens, each one of eight. The first six are drawn uniformly. From then on, with
# probability 0.85, a token is a **copy**: of the one 3 places back if the token before it is even, 6 places back if it
# is odd; else it is drawn uniformly. So the exact probability of each text is known, and the entropy is 1.003 nats a
# token, on average over the 24. A table of what follows six tokens would need $8^6$ rows. Attention can find out which
# of them matter.
#
# `build_transformer(mask)` makes a small one: tokens (B, 24) → logits (B, 24, 8). `mask` is a boolean array (24, 24):
# may row t attend to column s? It stays as it is given. The network knows nothing of causality by itself, and nothing
# of what is to be predicted: inputs, mask, loss and training are yours. Hand over the weights (`get_weights()`).
#
# The test loads them into **its own** `build_transformer(CAUSAL)`, where row t attends to columns 0 to t, and hands it
# $(\texttt{START}, y_0, \dots, y_{22})$; row t must predict $y_t$. It then compares $\log q(y)$ of new texts with the
# exact $\log p(y)$. The mean difference estimates the divergence $\mathrm{KL}(p \,\|\, q)$; you pass if it is **at
# most 0.1 nats a token**. Training takes 4 to 30 seconds; the grader stops it after two minutes. Only `seed=0` is
# judged.
#
# Watch your training loss. If it falls far below 1.003, do not rejoice: then your model sees what it is to predict.
#
# <details><summary>Hint</summary>
#
# `keras.utils.set_random_seed(seed)` comes first. Compile with Adam, a rate of 0.01 that falls to 0
# (`keras.optimizers.schedules.CosineDecay`), and `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`; eight
# epochs with batches of 125 suffice. `steps_per_execution=32` saves time.
# </details>

# %% given="echo"
TOKENS, LENGTH, START, COPY, UNIFORM = 8, 24, 8, 0.85, 6  # START is a ninth token, for inputs only
CAUSAL = np.tri(LENGTH, dtype=bool)


def copied(y, t):
    """y: (N, T) → the tokens that position t copies, if it copies, (N,)."""
    return np.where(y[:, t - 1] % 2 == 0, y[:, t - 3], y[:, t - 6])


def echo(n, rng):
    """→ n texts (n, LENGTH), tokens 0 to 7."""
    y = rng.integers(TOKENS, size=(n, LENGTH))
    for t in range(UNIFORM, LENGTH):
        y[:, t] = np.where(rng.random(n) < COPY, copied(y, t), y[:, t])
    return y


def build_transformer(mask):
    """mask: (LENGTH, LENGTH), booleans → a model, tokens (B, LENGTH) → logits (B, LENGTH, TOKENS)."""
    D, H = 32, 2
    tokens = keras.Input((LENGTH,), dtype="int32")
    positions = ops.cumsum(ops.ones_like(tokens), axis=1) - 1
    x = keras.layers.Embedding(TOKENS + 1, D)(tokens) + keras.layers.Embedding(LENGTH, D)(positions)
    normed = keras.layers.LayerNormalization()(x)
    x = x + keras.layers.MultiHeadAttention(H, D // H)(normed, normed, attention_mask=mask[None])
    normed = keras.layers.LayerNormalization()(x)
    x = x + keras.layers.Dense(D)(keras.layers.Dense(4 * D, activation="gelu")(normed))
    return keras.Model(tokens, keras.layers.Dense(TOKENS)(keras.layers.LayerNormalization()(x)))


texts = echo(4000, np.random.default_rng(0))


# %% solution="train_transformer"
def train_transformer(y, seed):
    """y: (N, LENGTH), texts → model.get_weights(), a list of arrays."""
    ### BEGIN SOLUTION
    keras.utils.set_random_seed(seed)
    model = build_transformer(CAUSAL)
    inputs = np.concatenate([np.full((len(y), 1), START), y[:, :-1]], axis=1)
    batch, epochs = 125, 6
    rate = keras.optimizers.schedules.CosineDecay(0.01, epochs * len(y) // batch)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, steps_per_execution=32)
    model.optimizer.build(model.trainable_variables)  # else `fit` traces the step twice
    model.fit(inputs, y, batch_size=batch, epochs=epochs, verbose=0)
    return model.get_weights()
    ### END SOLUTION


# %% test="train_transformer" points=3
def above_entropy(model, y):
    """The mean of log p(y) − log q(y), nats a token: q by the model, from the tokens before; p of the source."""
    log_p = np.full(y.shape, -np.log(TOKENS))
    for t in range(UNIFORM, LENGTH):
        log_p[:, t] = np.log((1 - COPY) / TOKENS + COPY * (y[:, t] == copied(y, t)))
    inputs = np.concatenate([np.full((len(y), 1), START), y[:, :-1]], axis=1)
    log_q = tf.nn.log_softmax(tf.cast(model(tf.constant(inputs, tf.int32)), tf.float64)).numpy()
    return np.mean(log_p - np.take_along_axis(log_q, y[:, :, None], axis=2)[:, :, 0])


answer = stattests.call(train_transformer, texts, 0)
judged = build_transformer(CAUSAL)
assert isinstance(answer, (tuple, list)) and len(answer) == len(judged.weights), (
    f"return model.get_weights(), {len(judged.weights)} arrays"
)
judged.set_weights(
    [
        stattests.assert_array(f"array {i}", w, v.shape, most=1000)
        for i, (w, v) in enumerate(zip(answer, judged.weights))
    ]
)
above = above_entropy(judged, echo(1000, np.random.default_rng(1)))
print(f"{above:.4f} nats a token above the entropy")
TRAIN_HINT = (
    "Was your training loss below 1.003 nats a token? Then the model saw the token that it had to predict: through "
    "the mask, or because input and target of a position are the same. If it was above: does the rate fall to 0, do "
    "the steps suffice, does START stand first, does row t attend to all of 0 to t?"
)
assert above <= 0.1, f"{above:.3f} nats a token above the entropy, at most 0.1 expected. {TRAIN_HINT}"
assert above >= -0.05, "below the entropy: the model that is judged sees what it must predict"
### BEGIN HIDDEN TESTS
# The same with other texts. The threshold is empirical: the reference came to 0.021 with seed 0 (to 0.004 and
# 0.021 with seeds 0 and 1 and a third more epochs), a
# model that sees four positions only to 0.49, one that sees the next token to 4.3.
above = above_entropy(judged, echo(2000, stattests.grading_rng("train_transformer")))
assert -0.05 <= above <= 0.1, f"with other texts {above:.3f} nats a token above the entropy. {TRAIN_HINT}"
### END HIDDEN TESTS

# %% [markdown] given="argue_task"
# ## 6 · A question to argue (2 points, 15 minutes)
#
# Four models of `echo` were trained with `build_transformer`. Behind them are, in another order: (i) the mask
# `CAUSAL`; (ii) a mask that lets row t attend to column t + 1 as well; (iii) a causal mask with a window of four
# columns; (iv) the mask `CAUSAL`, trained on 200 texts only, for long. `training` and `validation` is what each one's
# own program reports, with its own mask, in nats a token, the validation on 2,000 new texts; `judged` are the same new
# texts under `CAUSAL` (for (iii) under its own mask, which is causal).
#
# | model | training | validation | judged |
# |---|---|---|---|
# | A | 0.75 | 1.36 | 1.36 |
# | B | 0.03 | 0.03 | 5.33 |
# | C | 1.49 | 1.50 | 1.50 |
# | D | 1.00 | 1.01 | 1.01 |
#
# (The entropy is 1.003. All is measured.)
#
# 1. Which is which, and what gives it away? Two have a training loss below the entropy: why is that no proof of a
#    leak for the one, and proof for the other? Why is B judged worse than a uniform guess, 2.08?
# 2. "On my 20 validation texts the loss is 0.96, below the entropy, so there is a leak." The standard deviation of
#    $-\log p(y)$ of a text, by its 24 tokens, is 0.23 nats. Is that right? With what should the loss be compared, so
#    that the luck of the texts hardly matters?
# 3. Model P has perplexity 30 (the exponential of the nats per token) with tokens of 4.5 characters on average, model
#    Q perplexity 8 with tokens of 2.0 characters. Which one predicts the text better?
#
# Answer in about 150 words.

# %% [markdown] argue="argue" points=2
# ### BEGIN SOLUTION
# 1. D is (i): at the entropy everywhere. B is (ii): 0.03 on *new* texts is impossible for a model of the past, and
#    the judge, who hides the next token, finds 5.33. C is (iii): it cannot see six places back; no leak and no
#    overfitting, it is simply too high. A is (iv): low on its 200 texts, high on new ones. A *training* loss may be
#    below the entropy: the weights have been fitted to these very texts and have memorised a part of them. A
#    *validation* loss cannot. B is worse than uniform since it is sure: it has learned to copy what stands at column
#    t + 1, and with that hidden it trusts something else just as much.
# 2. No. The mean over 20 texts has a standard error of $0.23 / \sqrt{20} = 0.05$, so 0.96 is one of them below 1.003.
#    Compare with $-\log p(y)$ of the *same* texts: most of the luck is common to both and cancels.
# 3. P: $\log_2 30 / 4.5 = 1.09$ bits per character against $\log_2 8 / 2 = 1.5$.
#
# **Rubric.** ½ for the four, with a reason each; ½ for memorised training texts against new ones, and a reason why B
# is worse than uniform (sure of something wrong); ½ for the standard error *and* the comparison with $-\log p$ of the
# same texts; ½ for 1.09 against 1.5.
# ### END SOLUTION

# %% [markdown] given="end"
# ---
# Before you hand in: *Kernel → Restart Kernel and Run All Cells*, then the **Validate** button. It runs the visible
# tests.
