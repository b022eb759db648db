# %% [markdown] given="title"
# # Week 10 · Exercise: Other contexts, other orders, other windows
#
# {{colab}}
#
# In the preparation all contexts of a text were trusted alike, pixels came one at a time in one order, and a model saw
# a whole sequence at once. Here each of these changes:
#
# - contexts that are trusted the less, the **more different symbols** have followed them; pixels that **share a step**;
# - a waveform that is **continued** from a given beginning, and a convolution that gets its sequence **in chunks**;
# - attention in a **window** that ends before the pixel itself, and a network that must serve **every order**.
#
# **20 points, about 140 minutes.** Six gaps are graded automatically (18 points), a question by a person (2 points).
#
# ## How it works
#
# - Write your answer where it says `raise NotImplementedError`. Keep the names and arguments of the functions.
# - The cell after each gap tests your answer and says what is wrong. When you hand in, further tests run on other
#   inputs.
# - Arrays arrive from NumPy, numbers as `float32`, symbols and steps as integers. Return NumPy arrays or TensorFlow
#   tensors, in `float32` or `float64`, as you like. Do not change the arrays that come in.
# - Where chance plays a part in gaps 1 to 5, it is given; nothing is drawn there.
# - Each gap is tested on its own, from given values.
#
# **Letters:** B batch, T time, V symbols, D pixels, K filter taps, Q levels, C channels.

# %% setup

# %% given="imports"
import itertools

import keras
import numpy as np
import tensorflow as tf

from utils import datasets, stattests

# %% [markdown] given="ngram_task"
# ## 1 · Contexts and masks
#
# ### Gap 1 · Contexts of all lengths (3 points, 15 minutes)
#
# The preparation mixed contexts of all lengths, and let each shorter one count as *a* observations, always the same.
# **Witten-Bell smoothing** (Witten and Bell, 1991) lets it count the more, the more *different* symbols have followed
# the longer one: where many have, one that is new would be no surprise.
#
# Let $h$ be a context, that is, the k symbols before the next one, and $h'$ the same without its oldest symbol. In the
# training sequence, $c(h, x)$ says how often symbol $x$ follows directly after $h$, $c(h) = \sum_x c(h, x)$, and
# $n(h)$ is the number of different symbols $x$ with $c(h, x) > 0$. Then
#
# $$p_k(x \mid h) = \begin{cases} \dfrac{c(h, x) + n(h)\, p_{k-1}(x \mid h')}{c(h) + n(h)} & \text{if } c(h) > 0, \\[2ex]
# p_{k-1}(x \mid h') & \text{else,} \end{cases} \qquad p_{-1}(x) = \frac{1}{V}.$$
#
# The recursion ends below the empty context (k = 0), after which *every* symbol of the training sequence follows.
#
# The counts are given: `followers(train, V, n)` returns a dictionary whose keys are the contexts of 0 to n − 1 symbols
# with c(h) > 0, as tuples, and whose values are all $c(h, x)$, (V,).
#
# Return $\log p_k(x_t \mid x_{t-k}, \dots, x_{t-1})$ for each symbol of the test sequences, with $k = \min(t, n - 1)$
# for t = 0, 1, …: near the beginning the context is as long as there are symbols. n is at least 1.
#
# <details><summary>Hint</summary>
#
# Go from short contexts to long ones: start with p = 1/V and mix in k = 0, 1, ….
# </details>


# %% given="followers"
def followers(train, V, n):
    """train: (N,) → {context, a tuple of 0 to n − 1 symbols: how often each symbol follows it, (V,)}."""
    follows = {}
    for k in range(n):
        for i in range(k, len(train)):
            follows.setdefault(tuple(train[i - k : i]), np.zeros(V))[train[i]] += 1
    return follows


# %% solution="witten_bell"
def witten_bell(train, test, V, n):
    """train: (N,) and test: (B, T), symbols 0 … V − 1; n: longest context plus 1 → (B, T) log-probabilities, nats."""
    ### BEGIN SOLUTION
    follows = followers(train, V, n)
    log_p = np.zeros(test.shape)
    for b, sequence in enumerate(test):
        for t, x in enumerate(sequence):
            p = 1 / V
            for k in range(min(t, n - 1) + 1):
                c = follows.get(tuple(sequence[t - k : t]))
                if c is not None:
                    different = np.sum(c > 0)
                    p = (c[x] + different * p) / (c.sum() + different)
            log_p[b, t] = np.log(p)
    return log_p
    ### END SOLUTION


# %% test="witten_bell" points=3
NGRAM_HINT = (
    "n(h) counts different symbols, c(h) all that follow h; a context ends before x; a context that is not followed by "
    "anything leaves the probability as it is."
)


def check_ngram(what, train, test, V, n, exact):
    train, test = np.array(train, np.int64), np.array(test, np.int64)
    answer = stattests.call(witten_bell, train, test, V, n)
    stattests.assert_close(f"log p, {what}", answer, exact, rtol=1e-4, atol=1e-5, hint=NGRAM_HINT)


def check_sum(what, train, V, n, T):
    """The probabilities of all V^T sequences sum to 1."""
    test = np.array(list(itertools.product(range(V), repeat=T)), np.int64)
    answer = stattests.call(witten_bell, np.array(train, np.int64), test, V, n)
    log_p = stattests.assert_array(f"log p, {what}", answer, test.shape).astype(float)
    total = np.exp(log_p.sum(axis=1)).sum()
    assert abs(total - 1) < 1e-3, (
        f"{what}: the probabilities of all {len(test)} sequences of {T} symbols sum to {total:.4f}, not to 1. {NGRAM_HINT}"
    )


check_ngram("no training symbols: uniform", [], [[0, 3, 1]], 4, 3, np.full((1, 3), np.log(0.25)))
check_ngram("n = 1, training sequence 0 0 1", [0, 0, 1], [[0, 1, 1]], 2, 1, np.log([[0.6, 0.4, 0.4]]))
train = [0, 1, 0, 2, 0, 1, 1, 0, 1, 2]
check_ngram(
    "n = 2",
    train,
    [[0, 1, 2, 0], [2, 2, 1, 1]],
    3,
    2,
    [[-0.955511, -0.464889, -1.419817, -0.367725], [-1.466337, -2.159484, -1.648659, -1.178655]],
)
check_ngram(
    "n = 4",
    train,
    [[1, 0, 1, 2, 2, 0]],
    3,
    4,
    [[-0.955511, -0.797287, -0.572519, -0.440409, -2.159484, -0.367725]],
)
check_sum("n = 3", train, 3, 3, 4)
check_sum("n = 2, a symbol that never occurs", train, 4, 2, 4)
### BEGIN HIDDEN TESTS
# Other sequences, numbers of symbols and longest contexts, compared with tables of all contexts.


def ngram_tables(train, V, n):
    """p_k for each context of k symbols, k = 0 … n − 1: arrays (V, …, V, V), the next symbol last."""
    p, tables = np.full(V, 1 / V), []
    for k in range(n):
        count = np.zeros((V,) * (k + 1))
        windows = [train[j : len(train) - k + j] for j in range(k + 1)]
        np.add.at(count, tuple(windows), 1)
        total, different = count.sum(axis=-1, keepdims=True), (count > 0).sum(axis=-1, keepdims=True)
        p = np.broadcast_to(p, count.shape)  # the oldest symbol comes first: a new axis in front
        p = np.where(total > 0, (count + different * p) / np.maximum(total + different, 1), p)
        tables.append(p)
    return tables


def check_random_ngram(rng, N, V, n, B, T):
    train = rng.choice(V, size=N, p=rng.dirichlet(np.full(V, 0.8)))
    test = rng.integers(V, size=(B, T))
    tables = ngram_tables(train, V, n)
    exact = np.zeros((B, T))
    for t in range(T):
        k = min(t, n - 1)
        exact[:, t] = np.log(tables[k][tuple(test[:, t - k : t + 1].T)])
    check_ngram(f"{N} training symbols of {V}, n = {n}", train, test, V, n, exact)


rng = stattests.grading_rng("witten_bell")
check_random_ngram(rng, N=60, V=3, n=3, B=6, T=9)
check_random_ngram(rng, N=200, V=6, n=2, B=5, T=12)
check_random_ngram(rng, N=25, V=4, n=5, B=8, T=7)
check_random_ngram(rng, N=40, V=5, n=1, B=3, T=6)
check_random_ngram(rng, N=2, V=2, n=4, B=4, T=5)
check_sum("n = 4", rng.integers(3, size=30), 3, 4, 5)
### END HIDDEN TESTS

# %% [markdown] given="masks_task"
# ### Gap 2 · Masks for pixels that share a step (3 points, 25 minutes)
#
# An autoregressive model may generate several pixels in one step, independently of each other given those before: it
# is faster, and less exact (Reed et al., 2017). Pixel d comes at step $s_d$; the steps are any integers, and pixels
# with the same one come together. Make the masks of a MADE for this: input j is connected to output d by a path of
# connections **if and only if $s_j < s_d$**.
#
# The network has L ≥ 1 hidden layers of the sizes given; with $a_0$ the image,
# $a_l = \mathrm{ReLU}(a_{l-1} (W_l \odot M_l) + b_l)$, and the logits are $a_L (W_{L+1} \odot M_{L+1}) + b_{L+1}$. So
# $M_l$ has a row for each unit *from* which and a column for each *to* which a connection leads, with 1 where there is
# one. Two more demands:
#
# - **Every connection that is allowed is there:** no 0 can be turned into a 1 without a path from some j to some d
#   with $s_j \ge s_d$.
# - **No hidden unit is idle:** each is reached by an input and reaches an output.
#
# With S different steps, S at least 2, each hidden layer has at least S − 1 units. That is enough. Begin with **ranks**
# 0 … S − 1 in place of the steps (`np.unique(step, return_inverse=True)`), and give each hidden unit a degree m: it sees
# the inputs of rank ≤ m. The degrees are yours to choose, from the arguments alone.
#
# <details><summary>Hint</summary>
#
# Which degrees leave a unit something to see and someone to serve? Each of them must occur in each layer.
# </details>


# %% solution="made_masks"
def made_masks(step, sizes):
    """step: (D,) integers; sizes: list of L hidden sizes → list of L + 1 masks, (D, H₁), (H₁, H₂), …, (H_L, D), 0 or 1."""
    ### BEGIN SOLUTION
    distinct, rank = np.unique(step, return_inverse=True)
    S = len(distinct)
    degrees = [rank] + [np.arange(H) % (S - 1) for H in sizes]
    masks = [before[:, None] <= after[None] for before, after in itertools.pairwise(degrees)]
    masks.append(degrees[-1][:, None] < rank[None])
    return [mask.astype(np.float32) for mask in masks]
    ### END SOLUTION


# %% test="made_masks" points=3
def masks_of(step, sizes):
    """The answer's masks, their form checked: a list of Boolean arrays."""
    answer = stattests.call(made_masks, np.array(step, np.int64), list(sizes))
    count = len(sizes) + 1
    assert isinstance(answer, (tuple, list)) and len(answer) == count, f"return a list of {count} masks"
    units = [len(step), *sizes, len(step)]
    masks = [
        stattests.assert_array(f"mask {l + 1} of {count}", mask, (units[l], units[l + 1]))
        for l, mask in enumerate(answer)
    ]
    assert all(np.isin(mask, (0, 1)).all() for mask in masks), "a mask has entries other than 0 and 1"
    return [mask.astype(bool) for mask in masks]


def check_masks(step, sizes):
    """Paths from inputs to each unit, and from each unit to the outputs; what may be joined?"""
    what = f"steps {list(map(int, step))}, hidden sizes {list(sizes)}"
    masks, step = masks_of(step, sizes), np.asarray(step)
    D = len(step)
    seen = [np.eye(D, dtype=bool)]  # seen[l][j, a]: does unit a of layer l see input j?
    for mask in masks:
        seen.append(seen[-1] @ mask)
    serves = [np.eye(D, dtype=bool)]  # serves[l][a, d]: does unit a of layer l reach output d?
    for mask in masks[::-1]:
        serves.insert(0, mask @ serves[0])
    allowed = step[:, None] < step[None]  # (j, d)
    for j, d in np.argwhere(seen[-1] & ~allowed):
        raise AssertionError(
            f"{what}: output {d} (step {step[d]}) sees input {j} (step {step[j]}), which is not there yet when it is drawn"
        )
    for j, d in np.argwhere(~seen[-1] & allowed):
        raise AssertionError(
            f"{what}: output {d} (step {step[d]}) does not see input {j} (step {step[j]}), which comes earlier"
        )
    for l in range(1, len(masks)):
        assert seen[l].any(axis=0).all(), f"{what}: a unit of hidden layer {l} sees no input"
        assert serves[l].any(axis=1).all(), f"{what}: a unit of hidden layer {l} reaches no output"
    for l, mask in enumerate(masks):
        harm = (seen[l].T.astype(int) @ (~allowed).astype(int) @ serves[l + 1].T.astype(int)) > 0
        for a, b in np.argwhere(~mask & ~harm):
            raise AssertionError(f"{what}: entry ({a}, {b}) of mask {l + 1} is 0, but 1 would do no harm")


def check_total(step, sizes, rng):
    """With random weights, the probabilities of all 2^D images sum to 1."""
    masks, D = masks_of(step, sizes), len(step)
    images = np.array(list(itertools.product([0, 1], repeat=D)), float)
    a = images
    for l, mask in enumerate(masks):
        a = (np.maximum(a, 0) if l else a) @ (rng.normal(size=mask.shape) * mask) + rng.normal(
            size=mask.shape[1]
        )
    total = np.exp(-np.logaddexp(0, (1 - 2 * images) * a).sum(axis=1)).sum()
    assert abs(total - 1) < 1e-6, (
        f"steps {list(step)}: the probabilities of all {2**D} images sum to {total:.4f}, not to 1: does an output see its own "
        "or a later pixel?"
    )


check_total([0, 1, 2, 3, 4, 5], [10], np.random.default_rng(0))
check_masks([0, 1, 2, 3, 4, 5], [10])
check_total([7, 0, 3, 3, 0, 7, 3], [8, 9], np.random.default_rng(1))
check_masks([7, 0, 3, 3, 0, 7, 3], [8, 9])
check_masks([2, -1, 2], [1, 4, 1])
check_masks([3, 1, 4, 1, 5, 9, 2, 6], [6, 8])
### BEGIN HIDDEN TESTS
# Other steps and sizes, some layers as narrow as they may be.
rng = stattests.grading_rng("made_masks")
for D, S, L in [(9, 5, 1), (8, 8, 3), (14, 4, 2), (10, 2, 2), (6, 3, 4)]:
    values = rng.choice(np.arange(-20, 60), size=S, replace=False)
    step = values[rng.permutation(np.concatenate([np.arange(S), rng.integers(S, size=D - S)]))]
    sizes = [int(S - 1 + extra) for extra in rng.permutation([0, *rng.integers(1, 9, size=L - 1)])]
    check_masks(step, sizes)
    check_masks(rng.permutation(step), [int(size + 2 * S) for size in sizes])
check_total(rng.integers(-5, 5, size=8) * 3 + np.arange(8) % 2, [20, 17], rng)
### END HIDDEN TESTS

# %% [markdown] given="wave_task"
# ## 2 · Sequences
#
# ### Gap 3 · Continue a waveform (3 points, 20 minutes)
#
# A model of sound draws one of Q codes for each sample of the waveform (van den Oord et al., 2016, WaveNet). Codes and
# amplitudes $x \in [-1, 1]$ are joined by the μ-law of telephony, $F$: [−1, 1] → [−1, 1], which has more levels where it
# is quiet. `compress(x, mu)`, $F$, and `expand(y, mu)`, $F^{-1}$, are given.
#
# Cut $[-1, 1]$ into Q cells of equal width. The **code** of x is the number of the cell, from 0, in which $F(x)$ lies
# (on a border: the upper one; but $x = 1$ belongs to the last). Rounding may put F(±1) a little outside; all codes are
# 0 to Q − 1. The **amplitude** of a code is $F^{-1}$ of the middle of its cell. (The preparation has levels, here codes
# are cells; μ need not be Q − 1.)
#
# Given are the first P amplitudes of B waveforms, P ≥ 1, and a function `conditional`: called with the codes so far,
# integers (B, t), it returns the probabilities of the next code, (B, Q). Continue each waveform by T codes, one after
# the other. Draw by the uniform number $u$ given for this place: the new code is **the smallest k with
# $u < p_0 + \dots + p_k$**. Rounding may leave the sum of all $p$ a little below 1; where u is not below it, take the
# code Q − 1.
#
# Return all P + T codes, the given ones first, and all P + T amplitudes, each from its code (also the first P).
#
# <details><summary>Hint</summary>
#
# `conditional` must get the codes that there are, no zeros for those to come. `np.cumsum(p, axis=1)` and a comparison
# with `u[:, None]` find the new code for the whole batch. `conditional` is NumPy code: call it outside of any
# `tf.function`.
# </details>


# %% given="mu_law"
def compress(x, mu):
    """F of amplitudes, any shape."""
    return np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)


def expand(y, mu):
    """The inverse of F, any shape."""
    return np.sign(y) * ((1 + mu) ** np.abs(y) - 1) / mu


# %% solution="continue_wave"
def continue_wave(prefix, uniforms, conditional, Q, mu):
    """prefix: (B, P) in [−1, 1]; uniforms: (B, T) in [0, 1); conditional: function, codes (B, t) → probabilities (B, Q);
    Q: int, mu: number → codes (B, P + T), integers, and amplitudes (B, P + T)."""
    ### BEGIN SOLUTION
    codes = np.clip(np.floor((compress(prefix, mu) + 1) / 2 * Q), 0, Q - 1).astype(int)
    for u in uniforms.T:
        up_to = np.cumsum(conditional(codes), axis=1)  # (B, Q)
        code = np.minimum(np.sum(up_to <= u[:, None], axis=1), Q - 1)
        codes = np.concatenate([codes, code[:, None]], axis=1)
    wave = expand(2 * (codes + 0.5) / Q - 1, mu)
    return codes, wave
    ### END SOLUTION


# %% test="continue_wave" points=3
CODE_HINT = (
    "Given ones: the cell of F(x), also for x = ±1. New ones: `conditional` gets all codes so far and only these; the "
    "smallest k with u < p_0 + … + p_k."
)
WAVE_HINT = "The inverse of F at the middle of the cell, in which [−1, 1] has Q cells."


def checked_codes(codes, Q):
    """The codes that `conditional` is given, as whole numbers."""
    codes = np.asarray(codes)
    assert codes.ndim == 2, f"conditional expects codes (B, t), not an array of {codes.ndim} axes"
    assert ((codes >= 0) & (codes < Q) & (codes == np.round(codes))).all(), (
        f"a code is not one of 0 … {Q - 1}"
    )
    return codes.astype(int)


def next_of_8(codes):
    """Probabilities of the next of 8 codes, which depend on all before and their places. (B, t) → (B, 8)."""
    codes = checked_codes(codes, 8)
    turn = np.sum((codes + 1) * np.arange(1, codes.shape[1] + 1), axis=1)  # (B,)
    weight = np.exp(2 * np.sin(0.7 * turn[:, None] + np.arange(8)))
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


def quarters(codes):
    """Four codes; the first never comes, the others have ¼, ½, ¼ (less a rounding)."""
    return np.tile(np.array([0, 0.25, 0.5, 0.25 - 1e-6], np.float32), (len(checked_codes(codes, 4)), 1))


def check_wave(what, prefix, uniforms, conditional, Q, mu, exact_codes, exact_wave=None):
    arguments = np.array(prefix, np.float32), np.array(uniforms, np.float32)
    answer = stattests.call(continue_wave, *arguments, conditional, Q, mu)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return two arrays: codes and amplitudes"
    stattests.assert_close(f"the codes, {what}", answer[0], exact_codes, rtol=0, atol=1e-6, hint=CODE_HINT)
    if exact_wave is not None:
        stattests.assert_close(
            f"the amplitudes, {what}", answer[1], exact_wave, rtol=1e-3, atol=1e-5, hint=WAVE_HINT
        )
    return answer


nothing = np.zeros((1, 0))
check_wave("μ = 3, four cells", [[-1, -0.5, 0, 0.2, 1]], nothing, next_of_8, 4, 3, [[0, 0, 2, 2, 3]])
what = "μ = 3: F(1/3) = ½, and the middle of the last of two cells is ½"
check_wave(what, [[0.9, -0.9]], nothing, next_of_8, 2, 3, [[1, 0]], [[1 / 3, -1 / 3]])
what = "an odd number of cells: silence stays silence"
check_wave(what, [[0.0, 0.001]], nothing, next_of_8, 5, 255, [[2, 2]], [[0, 0]])
# What is coded and decoded has the same code again, and lies in the same cell.
x = np.linspace(-0.99, 0.99, 34)[None]
codes, wave = stattests.call(
    continue_wave, x.astype(np.float32), nothing.astype(np.float32), next_of_8, 16, 255
)
codes, wave = (
    stattests.assert_array("the codes", codes, x.shape),
    stattests.assert_array("the amplitudes", wave, x.shape),
)
check_wave("of amplitudes that were decoded from codes", wave, nothing, next_of_8, 16, 255, codes, wave)
assert np.all(np.abs(x - wave) <= 0.005 + 0.42 * np.abs(x)), (
    f"coded and decoded, an amplitude is off by {np.max(np.abs(x - wave)):.2f}. {WAVE_HINT}"
)
u = [[0, 0.2, 0.25, 0.7499, 0.75, 0.9999999]]
check_wave(
    "codes with p = 0, ¼, ½, ¼ and u = 0, 0.2, ¼, 0.7499, ¾, 0.9999999",
    [[0.0]],
    u,
    quarters,
    4,
    255,
    [[2, 1, 1, 2, 2, 3, 3]],
)
check_wave(
    "two waveforms of 2 + 3 samples, 8 codes, μ = 20",
    [[-0.4, 0.02], [0.7, 0.0]],
    [[0.62, 0.11, 0.93], [0.35, 0.8, 0.5]],
    next_of_8,
    8,
    20,
    [[1, 4, 6, 3, 6], [7, 4, 1, 4, 2]],
    [
        [-0.285241, 0.023156, 0.285241, -0.023156, 0.285241],
        [0.667649, 0.023156, -0.285241, 0.023156, -0.106604],
    ],
)
### BEGIN HIDDEN TESTS
# Other waveforms, uniforms and numbers of codes. Cells by bisection; no amplitude or uniform is near a border.


def next_of_11(codes):
    """(B, t) → (B, 11)."""
    codes = checked_codes(codes, 11)
    turn = np.sum((codes + 1) * np.cos(1.0 + np.arange(codes.shape[1])), axis=1)
    weight = 0.05 + np.sin(turn[:, None] * (1 + np.arange(11))) ** 2
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


def next_of_256(codes):
    """(B, t) → (B, 256): near the last code, further on where the last two differ."""
    codes = checked_codes(codes, 256)
    middle = 2 * codes[:, -1] - codes[:, max(codes.shape[1] - 2, 0)] + 5 * np.sin(codes.sum(axis=1))
    weight = np.exp(-((np.arange(256) - middle[:, None]) ** 2) / 800.0) + 1e-4
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


def amplitude_at(y, mu):
    """F⁻¹(y), by bisection."""
    low, high = -1.0, 1.0
    for _ in range(60):
        x = (low + high) / 2
        below = np.copysign(np.log(1 + mu * abs(x)) / np.log(1 + mu), x) < y
        low, high = (x, high) if below else (low, x)
    return x


def check_random_wave(rng, B, P, T, conditional, Q, mu):
    border = [amplitude_at(2 * k / Q - 1, mu) for k in range(Q + 1)]
    prefix, codes, uniforms = np.zeros((B, P)), np.zeros((B, P), int), np.zeros((B, T))
    for b, i in np.ndindex(B, P):
        codes[b, i] = k = rng.integers(Q)
        prefix[b, i] = border[k] + rng.uniform(0.05, 0.95) * (border[k + 1] - border[k])
    for t in range(T):
        new = []
        for b, p in enumerate(np.asarray(conditional(codes), float)):
            sums, u = [sum(p[: k + 1]) for k in range(Q)], rng.random()
            while min(abs(u - s) for s in sums) < 3e-5:
                u = rng.random()
            uniforms[b, t] = u
            new.append(next(k for k in range(Q) if u < sums[k] or k == Q - 1))
        codes = np.concatenate([codes, np.array(new)[:, None]], axis=1)
    level = np.array([amplitude_at(2 * (k + 0.5) / Q - 1, mu) for k in range(Q)])
    what = f"{B} waveforms, {P} + {T} samples, {Q} codes, μ = {mu:g}"
    check_wave(what, prefix, uniforms, conditional, Q, mu, codes, level[codes])


rng = stattests.grading_rng("continue_wave")
check_random_wave(rng, 3, 4, 9, next_of_8, 8, float(np.round(rng.uniform(5, 60), 1)))
check_random_wave(rng, 5, 1, 7, next_of_11, 11, float(np.round(rng.uniform(2, 20), 1)))
check_random_wave(rng, 2, 30, 12, next_of_256, 256, 255)
check_random_wave(rng, 4, 6, 0, next_of_8, 37, 100)
### END HIDDEN TESTS

# %% [markdown] given="conv_task"
# ### Gap 4 · A causal convolution that remembers (3 points, 20 minutes)
#
# A stack of dilated causal convolutions sees far back with few layers. Whoever generates or listens live gets the
# sequence in **chunks** of any length, and must not compute the past anew: each layer keeps the inputs that it will
# still need (for chunks of one sample: Le Paine et al., 2016). One layer, with K taps, dilation d and a delay δ of 0
# or 1:
#
# $$y_t = \sum_{k=0}^{K-1} x_{t - \delta - k d}\, W_k, \qquad x_t \in \mathbb{R}^{C}, \quad W_k \in \mathbb{R}^{C \times
# E}.$$
#
# $W_0$ belongs to the *latest* input. With δ = 1, as in the first layer of a model, $y_t$ does not see $x_t$, the
# value to be predicted.
#
# So the farthest input that is needed lies $R = (K - 1)\, d + \delta$ back. The `memory` holds the R inputs directly
# before the chunk, the oldest first. Return the outputs of the chunk and the memory for the next one. A chunk may be
# shorter than R, and R may be 0.
#
# <details><summary>Hint</summary>
#
# Put memory and chunk one after the other. Of how many inputs, and from which place on, does the term with $W_k$ take
# T? `x[:, -R:]` with R = 0 is all of x.
# </details>


# %% solution="causal_chunk"
def causal_chunk(x, memory, W, dilation, delay):
    """x: (B, T, C); memory: (B, R, C), R = (K − 1) · dilation + delay; W: (K, C, E); dilation: int ≥ 1; delay: 0 or 1
    → outputs (B, T, E), next memory (B, R, C)."""
    ### BEGIN SOLUTION
    T, R = x.shape[1], memory.shape[1]
    known = np.concatenate([memory, x], axis=1)  # (B, R + T, C)
    y = 0
    for k in range(len(W)):
        start = R - delay - k * dilation
        y = y + known[:, start : start + T] @ W[k]
    return y, known[:, T:]
    ### END SOLUTION


# %% test="causal_chunk" points=3
CHUNK_HINT = "y_t sees x_(t − δ), x_(t − δ − d), …, with W_0 for the latest; what lies before the chunk is in the memory."
MEMORY_HINT = (
    "The next memory: the last R of all inputs so far, also where the chunk is shorter, and where R is 0."
)


def chunk(x, memory, W, dilation, delay):
    """The answer for a chunk, its form checked: outputs and memory."""
    arguments = [np.array(v, np.float32) for v in (x, memory, W)]
    answer = stattests.call(causal_chunk, *arguments, dilation, delay)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, (
        "return two arrays: outputs and the next memory"
    )
    y = stattests.assert_array("the outputs", answer[0], (*arguments[0].shape[:2], arguments[2].shape[2]))
    new = stattests.assert_array(
        "the next memory (the last R inputs, where R may be 0)", answer[1], arguments[1].shape
    )
    return y, new


def check_chunk(what, x, memory, W, dilation, delay, exact_y, exact_memory):
    y, new = chunk(x, memory, W, dilation, delay)
    stattests.assert_close(f"the outputs, {what}", y, exact_y, rtol=1e-3, atol=1e-4, hint=CHUNK_HINT)
    if np.size(exact_memory):
        stattests.assert_close(f"the next memory, {what}", new, exact_memory, hint=MEMORY_HINT)


def check_causal(rng, T, R, K, dilation, delay):
    """A change of one input reaches the outputs from `delay` to R later, and no others."""
    x, memory, W = rng.normal(size=(1, T, 2)), rng.normal(size=(1, R, 2)), rng.normal(size=(K, 2, 3))
    place = T // 2
    y, _ = chunk(x, memory, W, dilation, delay)
    x[0, place] += 1
    reached = np.flatnonzero(np.abs(chunk(x, memory, W, dilation, delay)[0] - y).max(axis=(0, 2)) > 1e-3)
    late = sorted(int(t - place) for t in reached)
    hint = "a causal layer looks back only" if min(late, default=0) < delay else CHUNK_HINT
    expected = [delay + k * dilation for k in range(K) if place + delay + k * dilation < T]
    assert late == expected, (
        f"K = {K}, dilation {dilation}, delay {delay}: the input at t reaches the outputs at t + {late}, expected: {expected}: {hint}"
    )


for K, dilation, delay in [(2, 3, 0), (3, 2, 1), (4, 1, 1)]:
    R = (K - 1) * dilation + delay
    check_causal(np.random.default_rng(0), 15, R, K, dilation, delay)
ramp = np.arange(1.0, 7.0).reshape(1, 6, 1)  # 1, 2, …, 6
empty = np.zeros((1, 0, 1))
check_chunk("K = 1: twice the input", ramp, empty, [[[2]]], 3, 0, 2 * ramp, empty)
check_chunk("K = 1, delay 1", ramp, [[[-5]]], [[[1]]], 3, 1, [[[-5], [1], [2], [3], [4], [5]]], [[[6]]])
what = "two channels: the first plus ten times the second"
check_chunk(what, [[[1, 2], [3, 4]]], np.zeros((1, 0, 2)), [[[1], [10]]], 1, 0, [[[21], [43]]], empty)
W = np.array([100, 10, 1])[:, None, None]
both = np.concatenate([ramp, 10 * ramp])
what = "two sequences, a chunk of two, W = 100, 10, 1, dilation 2"
check_chunk(
    what,
    both[:, 4:],
    both[:, :4],
    np.array([100, 10, 1])[:, None, None],
    2,
    0,
    [[[531], [642]], [[5310], [6420]]],
    both[:, 2:],
)
what = "a chunk of one, W = 100, 10, 1, dilation 2"
check_chunk(what, [[[5]]], ramp[:, :4], W, 2, 0, [[[531]]], [[[2], [3], [4], [5]]])
check_chunk(what + ", delay 1", [[[6]]], ramp[:, :5], W, 2, 1, [[[531]]], [[[2], [3], [4], [5], [6]]])
### BEGIN HIDDEN TESTS
# Other sizes, compared with the sum as it stands; the same sequence whole and in chunks.


def check_random_chunk(rng, B, T, C, E, K, dilation, delay):
    R = (K - 1) * dilation + delay
    x, memory, W = rng.normal(size=(B, T, C)), rng.normal(size=(B, R, C)), rng.normal(size=(K, C, E))
    past = [*memory.swapaxes(0, 1), *x.swapaxes(0, 1)]  # past[R + t] is x_t, (B, C)
    y = np.zeros((B, T, E))
    for t, k in np.ndindex(T, K):
        y[:, t] += np.einsum("bc,ce->be", past[R + t - delay - k * dilation], W[k])
    new = np.array(past[len(past) - R :]).swapaxes(0, 1) if R else np.zeros((B, 0, C))
    what = f"{T} inputs of {C} channels, {E} outputs, K = {K}, dilation {dilation}, delay {delay}"
    check_chunk(what, x, memory, W, dilation, delay, y, new)
    if T > 2:  # the same in chunks of 1, of half the rest, and of what then remains
        parts, state = [], memory
        for piece in np.split(x, [1, 1 + (T - 1) // 2], axis=1):
            part, state = chunk(piece, state, W, dilation, delay)
            parts.append(part)
        message = f"{what}: one chunk after the other"
        stattests.assert_close(
            message, np.concatenate(parts, axis=1), y, rtol=1e-3, atol=1e-4, hint=MEMORY_HINT
        )


rng = stattests.grading_rng("causal_chunk")
check_random_chunk(rng, B=2, T=9, C=3, E=4, K=3, dilation=2, delay=0)
check_random_chunk(rng, B=3, T=3, C=2, E=2, K=2, dilation=8, delay=1)
check_random_chunk(rng, B=1, T=1, C=4, E=1, K=4, dilation=3, delay=1)
check_random_chunk(rng, B=2, T=12, C=1, E=3, K=5, dilation=1, delay=0)
check_random_chunk(rng, B=2, T=5, C=3, E=2, K=1, dilation=4, delay=0)
check_random_chunk(rng, B=4, T=7, C=2, E=5, K=2, dilation=int(rng.integers(2, 6)), delay=1)
### END HIDDEN TESTS

# %% [markdown] given="attention_task"
# ## 3 · Images
#
# ### Gap 5 · Attention in a window that ends before the pixel (3 points, 25 minutes)
#
# PixelSNAIL's attention (Chen et al., 2018) lets a pixel look at *all* pixels before it. For large images a window is
# cheaper (Parmar et al., 2018, Image Transformer). Pixel $(i, j)$ of H × W looks at $(a, b)$ if that one comes
# **before it in raster order** (in a row above, or in the same row to the left) **and** lies within the radius:
# $|i - a| \le r$ and $|j - b| \le r$. Let $N_{ij}$ be the set of these pixels. Then
#
# $$o_{ij} = \sum_{(a, b) \in N_{ij}} \alpha_{ab}\, v_{ab}, \qquad \alpha_{ab} = \frac{\exp(q_{ij} \cdot k_{ab} / \sqrt C)}{\sum_{(a',
# b') \in N_{ij}} \exp(q_{ij} \cdot k_{a'b'} / \sqrt C)},$$
#
# and **$o_{ij} = 0$ where $N_{ij}$ is empty**, as for the first pixel. Scores of ±1000 must do no harm, whether the
# pixel they belong to is in the window or not.
#
# <details><summary>Hint</summary>
#
# Flatten the pixels: scores of the shape (B, HW, HW) and a Boolean (HW, HW) mask from the rows and columns
# (`divmod(np.arange(H * W), W)`) are enough. What does softmax give if all scores of a row are the same, very negative
# number? And take the maximum, which keeps exp from overflowing, over the window only.
# </details>


# %% solution="window_attention"
def window_attention(q, k, v, radius):
    """q, k: (B, H, W, C); v: (B, H, W, E); radius: int ≥ 0 → (B, H, W, E)."""
    ### BEGIN SOLUTION
    B, H, W, C = q.shape
    row, column = np.divmod(np.arange(H * W), W)
    near = (abs(row[:, None] - row) <= radius) & (abs(column[:, None] - column) <= radius)
    visible = near & np.tri(H * W, k=-1, dtype=bool)
    scores = q.reshape(B, H * W, C) @ k.reshape(B, H * W, C).swapaxes(1, 2) / np.sqrt(C)
    scores = np.where(visible, scores, -np.inf)
    largest = np.where(visible.any(axis=1), scores.max(axis=2), 0)
    weight = np.exp(scores - largest[..., None])
    total = weight.sum(axis=2, keepdims=True)
    output = weight @ v.reshape(B, H * W, -1) / np.where(total > 0, total, 1)
    return output.reshape(v.shape)
    ### END SOLUTION


# %% test="window_attention" points=3
WINDOW_HINT = "Look again at the window, the order, √C, and at a sum of the weights of 1 within the window."


def attention(q, k, v, radius):
    """The answer, its form checked."""
    q, k, v = (np.array(x, np.float32) for x in (q, k, v))
    return stattests.assert_array("the outputs", stattests.call(window_attention, q, k, v, radius), v.shape)


def check_reach(H, W, radius, expected):
    """One pixel after the other has another value: which outputs notice? Scores are 0, so all weights are equal.

    expected: what a pixel in the middle reaches, as steps (down, right).
    """
    v = np.eye(H * W).reshape(H, W, H * W)[None]  # channel n marks pixel n
    zero = np.zeros((1, H, W, 3))
    weights = attention(zero, zero, v, radius)[0].reshape(H * W, H * W)  # (looking, looked at)
    ahead = [(m - n, n, m) for n, m in np.argwhere(weights > 1e-6).tolist()]
    step, n, m = max(ahead, default=(-1, 0, 0))
    assert step < 0, (
        f"{H} × {W} pixels, radius {radius}: pixel {divmod(n, W)} sees {divmod(m, W)}, which is "
        + ("not drawn yet" if step else "the pixel itself")
        + (
            ". It has nothing before it: its output is 0. (Softmax of equal numbers is not 0.)"
            if n == 0
            else ""
        )
    )
    middle = (H // 2) * W + W // 2
    found = {
        (int(n) // W - middle // W, int(n) % W - middle % W)
        for n in np.flatnonzero(weights[:, middle] > 1e-6)
    }
    assert found == set(expected), (
        f"{H} × {W} pixels, radius {radius}: a pixel is seen by those at (down, right) {sorted(found)}, expected: {sorted(expected)}"
    )
    sums = weights.sum(axis=1)
    odd = [int(n) for n in np.flatnonzero(np.minimum(abs(sums), abs(sums - 1)) > 1e-4)]
    assert not odd, (
        f"the weights of pixel {divmod(odd[0], W)} sum to {sums[odd[0]]:.4f}, neither to 1 nor (nothing seen) to 0"
    )


check_reach(3, 4, 1, [(0, 1), (1, -1), (1, 0), (1, 1)])
check_reach(5, 3, 0, [])
check_reach(3, 7, 2, [(0, 1), (0, 2), *[(1, right) for right in range(-2, 3)]])
q, k = np.full((1, 1, 4, 1), 1.0), np.array([0, np.log(3), 1000, -1000]).reshape(1, 1, 4, 1)
v = np.array([4.0, 8.0, 100.0, 1000.0]).reshape(1, 1, 4, 1)
row = attention(q, k, v, 2).ravel()
what = "a row of four pixels, radius 2, scores 0, log 3, 1000, −1000: 0, v₀, ¼ v₀ + ¾ v₁, v₂"
stattests.assert_close(what, row, [0, 4, 7, 100], rtol=1e-4, hint=WINDOW_HINT)
q, k = np.full((1, 1, 4, 1), 1.0), np.array([-1000, np.log(3) - 1000, 0, 0]).reshape(1, 1, 4, 1)
row = attention(np.repeat(q, 2, axis=0), np.repeat(k, 2, axis=0), np.concatenate([v, 2 * v]), 2)
what = "two such rows, scores −1000, log 3 − 1000, 0, 0: 0, v₀, ¼ v₀ + ¾ v₁, v₂, with other v in each"
stattests.assert_close(
    what, row.reshape(2, 4), [[0, 4, 7, 100], [0, 8, 14, 200]], rtol=1e-3, hint=WINDOW_HINT
)
q, k = np.ones((1, 2, 2, 4)), np.full((1, 2, 2, 4), 0.5) * np.log(np.array([1, 2, 5, 1])).reshape(1, 2, 2, 1)
corner = attention(q, k, np.array([3.0, 6.0, 8.0, 50.0]).reshape(1, 2, 2, 1), 1).ravel()
what = "2 × 2 pixels, radius 1, four channels, scores log 1, log 2, log 5, log 1"
stattests.assert_close(what, corner, [0, 3, 5, 6.875], rtol=1e-4, hint=WINDOW_HINT)
### BEGIN HIDDEN TESTS
# Other sizes and radii, one pixel after the other from the definition; scores up to some thousand.


def check_random_window(rng, B, H, W, C, E, radius, scale):
    q, k, v = (rng.normal(size=(B, H, W, n)).astype(np.float32) for n in (C, C, E))
    k *= np.float32(scale)
    exact = np.zeros(v.shape)
    for b, i, j in np.ndindex(B, H, W):
        scores, values = [], []
        for a in range(max(i - radius, 0), i + 1):
            for c in range(max(j - radius, 0), min(j + radius + 1, W) if a < i else j):
                scores.append(np.dot(q[b, i, j].astype(float), k[b, a, c].astype(float)) / C**0.5)
                values.append(v[b, a, c].astype(float))
        if scores:
            alpha = np.exp(np.array(scores) - max(scores))
            exact[b, i, j] = alpha @ np.array(values) / alpha.sum()
    what = f"{H} × {W} pixels, radius {radius}, {C} channels, scores of about ±{scale:g}"
    stattests.assert_close(what, attention(q, k, v, radius), exact, rtol=5e-3, atol=5e-3, hint=WINDOW_HINT)


rng = stattests.grading_rng("window_attention")
check_random_window(rng, B=2, H=4, W=6, C=3, E=2, radius=1, scale=1)
check_random_window(rng, B=1, H=7, W=3, C=8, E=8, radius=2, scale=2)
check_random_window(rng, B=3, H=3, W=5, C=2, E=4, radius=9, scale=1)
check_random_window(rng, B=2, H=5, W=5, C=4, E=3, radius=int(rng.integers(2, 4)), scale=1)
check_random_window(rng, B=1, H=1, W=9, C=5, E=1, radius=3, scale=1)
check_random_window(rng, B=1, H=4, W=4, C=2, E=2, radius=2, scale=400)
q, k, v = rng.normal(size=(1, 4, 4, 2)), rng.normal(size=(1, 4, 4, 2)), rng.normal(size=(1, 4, 4, 3))
before = attention(q, k, v, 2)[0].reshape(16, 3)
for n in (5, 10):  # a pixel with a score of some thousand for all, in front of all others: who notices?
    loud, changed = (x.reshape(1, 16, -1).copy() for x in (k, v))
    loud[0, n] = 2000 * np.sign(q).reshape(16, 2)[n + 1]
    changed[0, n] += 10
    after = attention(q, loud.reshape(k.shape), changed.reshape(v.shape), 2)[0].reshape(16, 3)
    stattests.assert_close(
        "the pixels up to one that has changed",
        after[: n + 1],
        before[: n + 1],
        atol=1e-4,
        hint="They must not see it.",
    )
### END HIDDEN TESTS

# %% [markdown] given="any_order_task"
# ### Gap 6 · One network for every order (3 points, 15 minutes)
#
# A model with one order fills in the lower half of an image, but not the upper one. Uria et al. (2014) train one
# network for **all D! orders**. It gets the image $x$ with the pixels that are not yet there set to 0, and beside it
# the mask $m$ that says which are there: input $(x \odot m, m)$, 2D numbers; output: D logits, of which only those of
# the missing pixels mean something. In the order $\sigma$ it gives the image
#
# $$\log p_\sigma(x) = \sum_{t=1}^{D} \log p\left(x_{\sigma_t} \mid x_{\sigma_1}, \dots, x_{\sigma_{t-1}}\right).$$
#
# **It is judged by the mean of this over orders drawn at random**, which the test computes, with D calls of the
# network for each image. In training one call has to do. With $S$ the set of the pixels that are there,
#
# $$\mathbb{E}_\sigma \log p_\sigma(x) = \mathbb{E}_{n}\, \mathbb{E}_{|S| = n} \left[\frac{D}{D - n} \sum_{d \notin S} \log p(x_d \mid
# x_S)\right], \qquad n \text{ uniform on } 0, \dots, D - 1,$$
#
# with $S$ uniform among the sets of n pixels: draw both for each image of a batch, anew in each step.
#
# Train `build_network()` on the binary digits `x` and return `get_weights()`. The mean over the validation images, a
# random order for each, must be at least **−20.0 nats** (pixels that know nothing of each other have −25.2). Training
# takes 3 to 10 seconds; the grader stops it after two minutes. Only `seed=0` is judged.
#
# The loop is given: `minimise(loss_of, network, x)` draws a batch of images for each of 1,500 steps, and calls your
# `loss_of(image)`, image: (B, D), for the loss, one number. It runs as one graph: draw in `loss_of` by `tf.random`,
# which draws anew in each step (NumPy would draw once for all). `keras.utils.set_random_seed(seed)` comes first.
#
# <details><summary>Hint</summary>
#
# Random numbers, one for each pixel, have ranks (`tf.argsort` twice), and the pixels with rank < n are a set of n. The
# loss is `tf.nn.sigmoid_cross_entropy_with_logits`, without its mean, times 1 − m.
# </details>

# %% given="any_order_data"
digits = datasets.digits()
D = digits.train.shape[1]


def build_network():
    """(x ⊙ m, m), (B, 2 D) → logits of all pixels, (B, D)."""
    return keras.Sequential(
        [
            keras.Input((2 * D,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(D),
        ]
    )


def minimise(loss_of, network, x, steps=1500, B=100, rate=0.003):
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


# %% solution="train_any_order"
def train_any_order(x, seed):
    """x: (N, D), 0 or 1 → network.get_weights(), a list of six arrays."""
    ### BEGIN SOLUTION
    keras.utils.set_random_seed(seed)
    network = build_network()

    def loss_of(image):
        n = tf.random.uniform((image.shape[0], 1), maxval=D, dtype=tf.int32)
        rank = tf.argsort(tf.argsort(tf.random.uniform(image.shape)))
        m = tf.cast(rank < n, tf.float32)
        logits = network(tf.concat([image * m, m], axis=1))
        missing = (1 - m) * tf.nn.sigmoid_cross_entropy_with_logits(image, logits)
        return tf.reduce_mean(tf.reduce_sum(missing, axis=1) * D / tf.reduce_sum(1 - m, axis=1))

    minimise(loss_of, network, x)
    return network.get_weights()
    ### END SOLUTION


# %% test="train_any_order" points=3
def judge(network, x, rng):
    """The mean of log p_σ(x) over the images x (N, D), a random order σ for each; nats."""
    place = np.argsort(rng.random(x.shape), axis=1)  # of each pixel in the order
    total = 0.0
    for t in range(D):
        m = (place < t).astype(np.float32)
        logits = np.asarray(network(np.concatenate([x * m, m], axis=1)), float)
        total -= np.sum(np.logaddexp(0, (1 - 2 * x) * logits)[place == t])
    return total / len(x)


answer = stattests.call(train_any_order, digits.train, 0)
network = build_network()
assert isinstance(answer, (tuple, list)) and len(answer) == 6, "return network.get_weights(), six arrays"
network.set_weights(
    [
        stattests.assert_array(f"array {i}", w, v.shape, most=1000)
        for i, (w, v) in enumerate(zip(answer, network.weights))
    ]
)
value = judge(network, digits.validation, np.random.default_rng(0))
print(f"{value:.2f} nats per image, mean over orders")
ORDER_HINT = (
    "Is the input (x ⊙ m, m), with pixels that are to be predicted hidden? Are all numbers of visible pixels trained, "
    "from 0 to D − 1, in random places? Do only missing pixels count?"
)
assert value >= -20.0, f"{value:.2f} nats per image reached, at least −20.0 expected. {ORDER_HINT}"
### BEGIN HIDDEN TESTS
# The same for the test images with other orders. The threshold is empirical: the reference reaches
# −18.3 on the test part with seed 0; a right answer that learns from few images at a time reaches −19.6, one order −23.6.
value = judge(network, digits.test, stattests.grading_rng("train_any_order"))
assert value >= -20.0, f"only {value:.2f} nats per image on the test part, at least −20.0 expected"
### END HIDDEN TESTS

# %% [markdown] given="argue_task"
# ## 4 · A question to argue (2 points, 15 minutes)
#
# Three models of the binary digits, trained on the same 1,197 images. Behind them are, in another order: (i) the MADE
# of the preparation, in raster order; (ii) the same, trained equally, with "≤" in place of "<" in the last mask; (iii)
# the network of gap 6. "Log-likelihood" is minus the loss that each one computes (of (iii), the mean over random
# orders). The samples were drawn pixel by pixel, pixels not yet drawn being 0; of each test image one half was drawn
# anew, given the other. A control: two sets of real images give an accuracy of 0.5.
#
# | model | log-likelihood, test images | accuracy, samples | wrong pixels, lower half | wrong pixels, upper half |
# |---|---|---|---|---|
# | A | −18.24 | 0.723 ± 0.022 | 0.205 ± 0.005 | 0.172 ± 0.004 |
# | B | −0.52 | 0.998 ± 0.003 | 0.291 ± 0.004 | 0.310 ± 0.004 |
# | C | −17.13 | 0.635 ± 0.024 | 0.179 ± 0.004 | 0.250 ± 0.004 |
#
# (Nats per image; accuracy of a classifier that tells samples from test images; share of wrong pixels in the half that
# was missing: one completion each, not the majority of twenty. All three were trained anew. All is measured.)
#
# 1. Which is which? Name for each the number that gives it away.
# 2. Of B its author says: "It does not overfit: −0.33 for training images, −0.52 for unseen ones. And it is causal: I
#    changed each *later* pixel, and no output moved." Both observations are right. Why is the number no
#    log-likelihood, and why do unseen images not show it? Name one check that would have, without a single sample.
#
# Answer in about 120 words.

# %% [markdown] argue="argue_orders" points=2
# ### BEGIN SOLUTION
# 1. C is the MADE: it completes the lower half well, of which the upper half is the past, and the upper half badly
#    (0.250), since it draws that without having looked at the lower one. A is the network of gap 6: it completes both,
#    the upper half best of all (0.172). B sees its own pixel: its samples are told from images in 99.8 % of the cases,
#    and −0.52 cannot be.
# 2. The factor of pixel d depends on $x_d$ itself, so its two values for $x_d = 0$ and 1 do not sum to 1, nor do the
#    products over all images. Unseen images do not show it: there, too, the answer stands in the input. The check with
#    *later* pixels leaves out the pixel itself. Enough would be: the slope of output d in input d; the sum over all
#    images of a small model; or arithmetic: with a mean of −0.52 the test images have a mean probability of at
#    least $e^{-0.52} = 0.59$, so the 394 different ones among the 400 would sum to more than 200.
#
# **Rubric.** ½ for A, B and C with a number each; ½ for "a factor that sees its own pixel does not sum to 1"; ½ for the
# reason why unseen images do not show it; ½ for a check that finds it (diagonal slope, sum, or that probabilities of
# about 0.6 for hundreds of images are too many).
# ### END SOLUTION

# %% [markdown] given="end"
# ---
# Before you hand in: *Kernel → Restart Kernel and Run All Cells*, then the **Validate** button. It runs the visible
# tests.
