# %% [markdown] given="title"
# # Week 3 · Exercise: RBMs with other units
#
# {{colab}}
#
# In the preparation all units were 0 or 1. Here you carry the same skills over to two relatives:
#
# - the **spin RBM**, whose units are −1 or +1, as in physics and in much of the older literature;
# - the **Gaussian RBM**, whose visible units are real numbers and whose hidden units are 0 or 1, for grey
#   images.
#
# You will derive a free energy, write a Gibbs step, a gradient and AIS weights, fill in missing pixels, and
# train a model that is judged by its *exact* likelihood. Few formulas can be copied from the preparation:
# most change with the units.
#
# **20 points, about 2½ hours.** Six gaps are graded automatically (18 points), a question by a person (2
# points, 12 minutes).
#
# ## How it works
#
# - Write your answer where it says `raise NotImplementedError`. Keep the names and arguments of the
#   functions.
# - The cell after each gap tests your answer and says what is wrong. When you hand in, further tests run on
#   other inputs.
# - All arrays arrive as NumPy `float32`. Return NumPy arrays or TensorFlow tensors, in `float32` or
#   `float64`, as you like. Do not change the arrays that come in.
# - Where a function takes a `seed` (an integer), its randomness must depend on nothing else: the same seed
#   gives the same result, another seed another one. `np.random.default_rng(seed)` or
#   `tf.random.Generator.from_seed(seed)` will do. Make one generator and draw everything from it: the same
#   seed in each step would make the steps dependent.
# - Each gap is tested on its own, from given values. If your answer calls your function from an earlier gap,
#   make that one pass first.
#
# **Letters:** B batch, D visible units, H hidden units. Vectors of a batch are rows, so the sum $\sum_i v_i
# W_{ij}$ for a whole batch is `v @ W`, of shape (B, H).

# %% setup

# %% given="imports"
import numpy as np
import tensorflow as tf
from scipy.special import expit, logsumexp, ndtr, softmax

from utils import datasets, stattests

# %% [markdown] given="gaussian_text"
# ## 1 · The Gaussian RBM
#
# $$E(v, h) = \sum_{i=1}^{D} \frac{(v_i - b_i)^2}{2 \sigma^2} - \sum_{j=1}^{H} c_j h_j
# - \frac{1}{\sigma^2} \sum_{i, j} v_i W_{ij} h_j, \qquad v \in \mathbb{R}^D,\; h \in \{0, 1\}^H.$$
#
# One $\sigma$, a positive number, for all pixels. As functions of $v$ the first and the last term are a
# parabola: completing the square shows that $p(v \mid h)$ is a Gaussian with mean $b + W h$ and variance
# $\sigma^2$ in each pixel. And since $h$ appears only linearly, $p(h_j = 1 \mid v) =
# \sigma_{\text{logistic}}\left(c_j + \frac{1}{\sigma^2} \sum_i v_i W_{ij}\right)$. (Check both: two lines
# each.)
#
# This cell is given. You may use it to check yourself.


# %% given="gaussian_energy"
def energy_gaussian(v, h, W, b, c, sigma):
    """v: (B, D), h: (B, H), W: (D, H), b: (D,), c: (H,), sigma: number → (B,) nats."""
    return np.sum((v - b) ** 2, axis=1) / (2 * sigma**2) - h @ c - np.sum((v @ W) * h, axis=1) / sigma**2


def all_states(n, values=(0, 1)):
    """All vectors of n units with two values: (2^n, n)."""
    return np.array(values)[(np.arange(2**n)[:, None] >> np.arange(n)) & 1]


# %% [markdown] given="free_energy_task"
# ### Gap 1 · Free energy (3 points)
#
# Sum out the hidden units: $F(v) = -\log \sum_h e^{-E(v, h)}$, with one term for each hidden unit instead of
# $2^H$ terms in all. It must not overflow: with $\sigma = 0.1$ the input to a hidden unit easily reaches
# a thousand, and $e^{100}$ is infinite in `float32`, $e^{710}$ in `float64`.
#
# <details><summary>Hint</summary>
#
# The part of $E$ without $h$ stays as it is. For the rest, the sum over $h$ of a product is a product of H
# sums with two terms. `np.logaddexp(0, x)` and `tf.nn.softplus(x)` compute $\log(1 + e^x)$ without overflow.
# </details>


# %% solution="free_energy_gaussian"
def free_energy_gaussian(v, W, b, c, sigma):
    """v: (B, D), W: (D, H), b: (D,), c: (H,), sigma: number → (B,) nats."""
    ### BEGIN SOLUTION
    quadratic = np.sum((v - b) ** 2, axis=1) / (2 * sigma**2)
    hidden = np.logaddexp(0, c + v @ W / sigma**2)  # (B, H)
    return quadratic - hidden.sum(axis=1)
    ### END SOLUTION


# %% test="free_energy_gaussian" points=3
def check_free_energy(v, W, b, c, sigma, exact):
    stattests.assert_close(
        f"F(v) with sigma = {sigma:.3g} and {len(c)} hidden units",
        stattests.call(free_energy_gaussian, v, W, b, c, sigma),
        exact,
        rtol=1e-3,
        atol=1e-3,
        hint="Compare with −log Σ_h exp(−E(v, h)) for one v and two hidden units by hand.",
    )


v_three = np.array([[0.5, -1.0], [1.5, 0.25], [-0.3, 0.8]], np.float32)
W_three = np.array([[0.8, -0.3, 0.5], [0.2, 0.6, -0.4]], np.float32)
b_three, c_three = np.array([0.1, -0.2], np.float32), np.array([0.3, -0.5, 0.0], np.float32)
check_free_energy(v_three, W_three, b_three, c_three, 1.0, [-1.8961, -2.1024, -1.4435])
check_free_energy(v_three, W_three, b_three, c_three, 0.5, [-2.4887, -3.8194, -0.4410])
check_free_energy(
    v_three, 9 * W_three, b_three, c_three, 0.1, [-725.3000, -1602.1750, -454.5000]
)  # inputs of up to a thousand
W_wide, c_wide = np.tile(W_three, (1, 20)), np.tile(c_three, 20)  # each hidden unit twenty times
check_free_energy(v_three, W_wide, b_three, c_wide, 0.5, [-80.1746, -158.5632, -52.9010])
### BEGIN HIDDEN TESTS
# Other sizes and values of sigma; inputs to the hidden units of a thousand, where exp overflows.


def compare_free_energy(rng, B, D, H, sigma, scale):
    """Compare with a sum over all hidden states."""
    v, b, c = (rng.normal(size=shape).astype(np.float32) for shape in [(B, D), (D,), (H,)])
    W = (scale * rng.normal(size=(D, H))).astype(np.float32)
    states = all_states(H)
    minus_energy = [-energy_gaussian(v.astype(float), np.tile(h, (B, 1)), W, b, c, sigma) for h in states]
    check_free_energy(v, W, b, c, sigma, -logsumexp(minus_energy, axis=0))


rng = stattests.grading_rng("free_energy_gaussian")
compare_free_energy(rng, B=7, D=6, H=5, sigma=float(rng.uniform(0.6, 0.9)), scale=1.0)
compare_free_energy(rng, B=7, D=6, H=5, sigma=0.1, scale=6.0)
compare_free_energy(rng, B=1, D=4, H=1, sigma=2.0, scale=1.0)


# 60 hidden units, too many for a sum over their states; 57 of them have no links, and add log(1 + e^c) each.
def check_many(v, W, b, c, sigma):
    W[:, 3:] = 0
    few = [
        -energy_gaussian(v.astype(float), np.tile(h, (len(v), 1)), W[:, :3], b, c[:3], sigma)
        for h in all_states(3)
    ]
    exact = -logsumexp(few, axis=0) - np.logaddexp(0, c[3:].astype(float)).sum()
    answer = stattests.call(free_energy_gaussian, v, W, b, c, sigma)
    stattests.assert_close("F(v) with 60 hidden units", answer, exact, rtol=1e-3, atol=1e-3)


check_many(*(rng.normal(size=shape).astype(np.float32) for shape in [(4, 5), (5, 60), (5,), (60,)]), 0.7)
### END HIDDEN TESTS

# %% [markdown] given="gradient_task"
# ### Gap 2 · The gradient (3 points)
#
# Contrastive divergence and PCD share one formula: an average over vectors from the data minus the same
# average over vectors from a chain. For the Gaussian RBM, with $\langle\cdot\rangle$ an average over a batch,
#
# $$\Delta\theta = \left\langle -\frac{\partial F(v)}{\partial \theta} \right\rangle_{v \in \text{data}}
# - \left\langle -\frac{\partial F(v)}{\partial \theta} \right\rangle_{v \in \text{chain}}
# \qquad \text{for } \theta = W, b, c.$$
#
# Work out the three derivatives of your free energy and return the three differences, data minus chain. The
# two batches may have different sizes. Do not drop the factors of $\sigma$.
#
# <details><summary>Hint</summary>
#
# The derivative of $\log(1 + e^x)$ is the logistic function, `scipy.special.expit` or `tf.sigmoid`. In
# $\Delta b$ something cancels, but not everything.
# </details>


# %% solution="gradient_gaussian"
def gradient_gaussian(v_data, v_chain, W, b, c, sigma):
    """v_data: (B, D), v_chain: (M, D) → dW (D, H), db (D,), dc (H,): the estimate of the log-likelihood's gradient."""
    ### BEGIN SOLUTION
    h_data = expit(c + v_data @ W / sigma**2)  # (B, H)
    h_chain = expit(c + v_chain @ W / sigma**2)  # (M, H)
    dW = (v_data.T @ h_data / len(v_data) - v_chain.T @ h_chain / len(v_chain)) / sigma**2
    db = (v_data.mean(axis=0) - v_chain.mean(axis=0)) / sigma**2
    dc = h_data.mean(axis=0) - h_chain.mean(axis=0)
    return dW, db, dc
    ### END SOLUTION


# %% test="gradient_gaussian" points=3
def call_gradient(*arguments):
    """Call the answer; check that there are three arrays."""
    answer = stattests.call(gradient_gaussian, *arguments)
    assert isinstance(answer, (tuple, list)) and len(answer) == 3, "return three arrays: dW, db, dc"
    return dict(zip(["dW", "db", "dc"], answer))


v_data = np.array([[0.5, -1.0], [1.5, 0.25]], np.float32)
v_chain = np.array([[-0.5, 0.75], [0.0, 1.0], [2.0, -0.25]], np.float32)  # one more than data
W_given, b_given = (
    np.array([[0.8, -0.3, 0.5], [0.2, 0.6, -0.4]], np.float32),
    np.array([0.1, -0.2], np.float32),
)
c_given = np.array([0.3, -0.5, 0.0], np.float32)
STORED = {  # sigma: dW, db, dc
    1.0: [
        [[0.28363, 0.22722, 0.21781], [-0.47172, -0.36028, -0.40909]],
        [0.5, -0.875],
        [0.05733, -0.15786, 0.1512],
    ],
    0.5: [
        [[1.2939, 0.99447, 1.15562], [-2.00233, -2.00137, -1.39073]],
        [2.0, -3.5],
        [0.17912, -0.49781, 0.51233],
    ],
}
for sigma, values in STORED.items():
    answer = call_gradient(v_data, v_chain, W_given, b_given, c_given, sigma)
    for name, value in zip(answer, values):
        hint = f"sigma is {sigma}; there are 2 data vectors and 3 chains."
        stattests.assert_close(name, answer[name], np.array(value), rtol=1e-3, atol=1e-3, hint=hint)
for name, value in call_gradient(v_data, v_data[[0, 1, 0, 1]], W_given, b_given, c_given, 0.7).items():
    hint = "Chains that sit at the data, each twice, give the gradient 0."
    stattests.assert_close(name, value, np.zeros_like(value), atol=1e-4, hint=hint)
### BEGIN HIDDEN TESTS
# Other sizes and values of sigma, batches of unequal size, against automatic differentiation.


def check_gradient(rng, B, M, D, H, sigma):
    """Compare with automatic differentiation of the mean free energy, hidden units summed out state by state."""
    v_data, v_chain = (
        rng.normal(size=(B, D)).astype(np.float32),
        rng.normal(0.5, 1, size=(M, D)).astype(np.float32),
    )
    W, b, c = (rng.normal(size=shape).astype(np.float32) for shape in [(D, H), (D,), (H,)])
    states = tf.constant(all_states(H), tf.float64)  # (2^H, H)
    parameters = [tf.Variable(x.astype(float)) for x in (W, b, c)]

    def mean_log_p_star(v):  # the mean of log Σ_h exp(−E(v, h))
        W, b, c = parameters
        quadratic = tf.reduce_sum((v - b) ** 2, axis=1, keepdims=True) / (2 * sigma**2)  # (B, 1)
        linear = (
            tf.linalg.matvec(states, c) + tf.matmul(v @ W, states, transpose_b=True) / sigma**2
        )  # (B, 2^H)
        return tf.reduce_mean(tf.reduce_logsumexp(linear - quadratic, axis=1))

    with tf.GradientTape() as tape:
        difference = mean_log_p_star(v_data.astype(float)) - mean_log_p_star(v_chain.astype(float))
    answer = stattests.call(gradient_gaussian, v_data, v_chain, W, b, c, sigma)
    assert isinstance(answer, (tuple, list)) and len(answer) == 3, "return three arrays: dW, db, dc"
    for name, value, exact in zip(["dW", "db", "dc"], answer, tape.gradient(difference, parameters)):
        stattests.assert_close(
            name,
            value,
            exact,
            rtol=1e-3,
            atol=1e-3,
            hint=f"sigma is {sigma:.2f}, there are {B} data vectors and {M} chains.",
        )


rng = stattests.grading_rng("gradient_gaussian")
check_gradient(rng, B=6, M=3, D=5, H=4, sigma=float(rng.uniform(0.6, 0.9)))
check_gradient(rng, B=2, M=9, D=4, H=1, sigma=float(rng.uniform(1.5, 2.0)))
### END HIDDEN TESTS

# %% [markdown] given="spin_text"
# ## 2 · The spin RBM
#
# $$E(v, h) = -\sum_i b_i v_i - \sum_j c_j h_j - \sum_{i,j} v_i W_{ij} h_j, \qquad v \in \{-1, +1\}^D,\; h \in \{-1, +1\}^H.$$
#
# The energy looks as in the preparation, the units do not: a unit that is off is −1, not 0. So sums over two
# states become $e^{x} + e^{-x} = 2 \cosh x$ where they were $1 + e^{x}$, and everything that follows from
# them changes.


# %% given="spin_energy"
def energy_spin(v, h, W, b, c):
    """v: (B, D), h: (B, H), both −1 or +1 → (B,) nats."""
    return -v @ b - h @ c - np.sum((v @ W) * h, axis=1)


# %% [markdown] given="gibbs_task"
# ### Gap 3 · One block Gibbs step (3 points)
#
# Derive $p(h_j = +1 \mid v)$ and $p(v_i = +1 \mid h)$, draw all hidden units given $v$, then all visible
# units given these $h$, and return the new $v$. Each row of the batch is a chain of its own.
#
# <details><summary>Hint</summary>
#
# Write $x$ for what multiplies $h_j$ in $-E$. The two states have weights $e^{+x}$ and $e^{-x}$; normalise.
# </details>


# %% solution="gibbs_spin"
def gibbs_spin(v, W, b, c, seed):
    """v: (B, D) with values −1, +1; seed: int → the new v, (B, D) with values −1, +1."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)

    def draw(x):  # −1 or +1 with log-odds 2x
        return np.where(rng.random(x.shape) < expit(2 * x), 1, -1).astype(np.float32)

    h = draw(c + v @ W)
    return draw(b + h @ W.T)
    ### END SOLUTION


# %% test="gibbs_spin" points=3
def check_gibbs(W, b, c, starts, seed, exact, N=40_000):
    """Chains from two states in turn: the frequencies of all 2^D next states against `exact`, their probabilities.

    Each frequency is a mean of N / 2 independent 0/1 values of known variance, so Bernstein's inequality with a union bound
    over the states rejects a right answer with probability below 1e-6 / 5 (there are fewer than 5 calls).
    """
    D = len(b)
    states = all_states(D, (-1, 1))
    v = np.tile(states[list(starts)], (N // 2, 1)).astype(np.float32)
    new = stattests.call(gibbs_spin, v, W, b, c, seed)
    new = stattests.assert_array("the new v", new, (N, D))
    assert np.isin(new, (-1, 1)).all(), (
        "the new v has other values than −1 and +1 (0 and 1? probabilities?): return drawn states of ±1 units"
    )
    index = ((new > 0) @ (2 ** np.arange(D))).astype(int)
    for k, probabilities in enumerate(exact):
        frequency = np.bincount(index[k::2], minlength=2**D) / (N // 2)
        for state, (f, p) in enumerate(zip(frequency, probabilities)):
            tolerance = stattests.bernstein_tolerance(N // 2, p * (1 - p), 1.0, alpha=1e-7, comparisons=2**D)
            assert abs(f - p) <= tolerance, (
                f"from v = {v[k].astype(int)} the state {states[state]} is reached in {f:.3f} of {N // 2:,} chains, but "
                f"its probability is {p:.3f} ± {tolerance:.3f}. Is the log-odds of a ±1 unit right? Is h drawn, for each "
                "chain from its own v, with random numbers that v does not use again?"
            )


def check_seed(B, D, H):
    """The same seed twice, and another seed (512 fair bits: equal by chance with probability below 1e-150)."""
    v, zeros = (
        np.ones((B, D), np.float32),
        (np.zeros((D, H), np.float32), np.zeros(D, np.float32), np.zeros(H, np.float32)),
    )
    first = np.asarray(stattests.call(gibbs_spin, v, *zeros, 5))
    assert np.array_equal(first, np.asarray(stattests.call(gibbs_spin, v, *zeros, 5))), (
        "the same seed must give the same result"
    )
    assert not np.array_equal(first, np.asarray(stattests.call(gibbs_spin, v, *zeros, 6))), (
        "another seed must give another result"
    )
    # input 0 to h, and both visible units follow h: the new v shows h, and chance enters through h only
    v, W = np.tile(np.array([[1, -1]], np.float32), (512, 1)), np.full((2, 1), 25, np.float32)
    five, six = (
        np.asarray(stattests.call(gibbs_spin, v, W, *(np.zeros(n, np.float32) for n in (2, 1)), seed))
        for seed in (5, 6)
    )
    assert not np.array_equal(five, six), "another seed must give other hidden states"


check_seed(B=64, D=8, H=2)
W_example = np.array([[0.9, -0.4], [0.7, 0.6], [-0.5, 1.0]], np.float32)
b_example, c_example = np.array([0.2, -0.3, 0.1], np.float32), np.array([0.4, -0.2], np.float32)
after = [  # from states 0 and 6: the eight next states in the order of all_states(3, (-1, 1))
    [0.32985, 0.27827, 0.0175, 0.07635, 0.17339, 0.08979, 0.01998, 0.01486],
    [0.02478, 0.01843, 0.02125, 0.06073, 0.38466, 0.06903, 0.21487, 0.20625],
]
check_gibbs(W_example, b_example, c_example, (0, 6), 1, np.array(after))
### BEGIN HIDDEN TESTS
# Other weights, sizes and starting states; and 40 visible and 30 hidden units, too many to enumerate.


def spin_transition(W, b, c, beta=1.0):
    """Exact probabilities T(v' | v) of one block Gibbs step, (2^D, 2^D), row v, column v', states as in all_states."""
    D, H = W.shape
    v, h = all_states(D, (-1, 1)).astype(float), all_states(H, (-1, 1)).astype(float)
    coupling = beta * (v @ W @ h.T)  # (2^D, 2^H)
    p_h_v = softmax(coupling + beta * h @ c, axis=1)
    p_v_h = softmax(coupling.T + beta * v @ b, axis=1)
    return p_h_v @ p_v_h


rng = stattests.grading_rng("gibbs_spin")
for D, H in [(3, 2), (2, 3), (3, 3)]:
    W, b, c = (rng.normal(0, 0.7, size=shape).astype(np.float32) for shape in [(D, H), (D,), (H,)])
    starts, seed = rng.choice(2**D, 2, replace=False), int(rng.integers(2**31))
    check_gibbs(W, b, c, starts, seed, spin_transition(W, b, c)[starts])
signs = rng.choice([-1, 1], 40).astype(np.float32)
# biases so strong that another outcome has probability below 1e-9
W, c = rng.normal(0, 0.1, (40, 30)).astype(np.float32), np.zeros(30, np.float32)
new = stattests.call(gibbs_spin, -np.tile(signs, (3, 1)), W, 25 * signs, c, int(rng.integers(2**31)))
assert np.array_equal(np.asarray(new), np.tile(signs, (3, 1))), (
    "40 visible units with strong biases must follow them"
)
### END HIDDEN TESTS

# %% [markdown] given="ais_task"
# ### Gap 4 · AIS weights (4 points)
#
# For the spin RBM the path of AIS is (the preparation's with $b_0 = 0$, so $\beta$ multiplies $b$ as well)
#
# $$p^*_\beta(v) = \sum_h e^{-\beta E(v, h)}, \qquad \beta_0 = 0 < \beta_1 < \dots < \beta_K = 1,$$
#
# which starts at the uniform distribution over $\{-1, +1\}^D$ with $Z_0 = 2^{D + H}$: at inverse
# temperature $\beta$ each parameter is multiplied by $\beta$, before $h$ is summed out. Sum out $h$
# (nothing may overflow: inputs to a hidden unit reach 200), then run `runs` independent chains: draw $v_0$
# uniformly; for $t = 1, \dots, K$ first add $\log p^*_{\beta_t}(v_{t-1}) - \log p^*_{\beta_{t-1}}(v_{t-1})$
# to the log weight, then draw $v_t$ by one block Gibbs step that leaves $p_{\beta_t}$ unchanged. Return the
# log weights, without $\log Z_0$, so that $Z_0 \cdot \mathbb{E}[e^{\log w}] = Z$.
#
# <details><summary>Hint</summary>
#
# With $x_j = c_j + \sum_i v_i W_{ij}$ each hidden unit contributes $\log 2\cosh(\beta x_j)$; `np.logaddexp(a, -a)` is
# $\log 2\cosh a$ without overflow. The Gibbs step is that of gap 3, with parameters times $\beta$.
# </details>


# %% solution="ais_spin"
def ais_spin(W, b, c, betas, runs, seed):
    """W: (D, H), b: (D,), c: (H,), betas: (K + 1,) rising from 0 to 1 → log weights (runs,) in nats."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)

    def log_p_star(v, beta):
        x = beta * (c + v @ W)
        return beta * (v @ b) + np.logaddexp(x, -x).sum(axis=1)

    def draw(x):
        return np.where(rng.random(x.shape) < expit(2 * x), 1.0, -1.0)

    v = rng.choice([-1.0, 1.0], size=(runs, len(b)))
    log_w = np.zeros(runs)
    for previous, beta in zip(betas[:-1], betas[1:]):
        log_w += log_p_star(v, beta) - log_p_star(v, previous)
        h = draw(beta * (c + v @ W))
        v = draw(beta * (b + h @ W.T))
    return log_w
    ### END SOLUTION


# %% test="ais_spin" points=4
def check_ais_exact(c, betas, D):
    """Without links and visible biases every run has the same weight, Π_j cosh(c_j): no chance involved."""
    H = len(c)
    log_w = stattests.call(ais_spin, np.zeros((D, H), np.float32), np.zeros(D, np.float32), c, betas, 7, 3)
    stattests.assert_close(
        "log weights with W = 0, b = 0",
        log_w,
        np.full(7, np.log(np.cosh(c.astype(float))).sum()),
        rtol=1e-3,
        atol=1e-3,
        hint="For W = 0 and b = 0, Z / Z_0 is the product of cosh(c_j).",
    )


def check_ais(W, b, c, betas, seed, exact, runs=20_000):
    """The mean log weight. exact: mean, variance, range of log w, log(Z / Z_0); Bernstein's inequality holds.

    False alarm below 1e-6 / 5 for each call.
    """
    mean, variance, width, log_ratio = exact
    log_w = stattests.call(ais_spin, W, b, c, betas, runs, seed)
    log_w = stattests.assert_array("the log weights", log_w, (runs,)).astype(float)
    tolerance = stattests.bernstein_tolerance(runs, variance, width, alpha=2e-7)
    stattests.assert_mean(
        log_w,
        mean,
        tolerance,
        "log w of AIS",
        hint=f"(log Z/Z_0 is {log_ratio:.3f}.) Is the weight taken before the move, each move at its own beta, v_0 uniform?",
    )


check_ais_exact(np.array([0.5, -1.5, 2.0], np.float32), np.linspace(0, 1, 4, dtype=np.float32), D=3)
check_ais_exact(np.array([200, -150], np.float32), np.linspace(0, 1, 4, dtype=np.float32), D=3)
W_ais = np.array([[1.2, -0.8], [0.9, 0.7], [-1.1, 1.0]], np.float32)
b_ais, c_ais = np.array([1.2, -0.9, 0.6], np.float32), np.array([0.4, -0.7], np.float32)
stored = (3.047212, 0.978163, 7.244865, 3.489942)
check_ais(W_ais, b_ais, c_ais, np.linspace(0, 1, 6, dtype=np.float32), 1, stored)
### BEGIN HIDDEN TESTS
# Other parameters, sizes and unequal temperatures.


def exact_ais(W, b, c, betas):
    """Exact mean and variance of log w, the width of its range, and log(Z / Z_0), by following all 2^D states."""
    D, H = W.shape
    v, h = all_states(D, (-1, 1)).astype(float), all_states(H, (-1, 1)).astype(float)
    minus_energy = v @ b[:, None] + h @ c + v @ W @ h.T  # (2^D, 2^H)
    moments = np.array([[0.5**D], [0], [0]]) * np.ones(2**D)  # of log w, of order 0, 1 and 2, split by state
    width = 0.0
    for previous, beta in zip(betas[:-1], betas[1:]):
        step = logsumexp(beta * minus_energy, axis=1) - logsumexp(previous * minus_energy, axis=1)
        q, first, second = moments
        moments = np.array([q, first + step * q, second + 2 * step * first + step**2 * q])
        width += np.ptp(step)
        p_h_v = softmax(beta * (v @ W @ h.T + h @ c), axis=1)
        moments = moments @ p_h_v @ softmax(beta * (h @ W.T @ v.T + v @ b), axis=1)
    mean, square = moments[1:].sum(axis=1)
    return mean, square - mean**2, width, logsumexp(minus_energy) - (D + H) * np.log(2)


rng = stattests.grading_rng("ais_spin")
check_ais_exact(rng.normal(0, 2, size=4).astype(np.float32), np.array([0, 0.1, 0.5, 0.6, 1], np.float32), D=5)
for D, H in [(3, 2), (4, 3)]:
    W, b, c = (
        rng.normal(0, s, size=shape).astype(np.float32)
        for s, shape in [(1.0, (D, H)), (1.0, (D,)), (0.5, (H,))]
    )
    betas = np.array([0, 0.05, 0.3, 0.35, 1], np.float32)  # far from equal steps
    check_ais(
        W, b, c, betas, int(rng.integers(2**31)), exact_ais(*(x.astype(float) for x in (W, b, c, betas)))
    )
W, b, c = (rng.normal(0, 0.3, size=shape).astype(np.float32) for shape in [(40, 3), (40,), (3,)])
first, again, other = (
    np.asarray(stattests.call(ais_spin, W, b, c, np.linspace(0, 1, 6, dtype=np.float32), 50, seed))
    for seed in (8, 8, 9)
)
# 2^40 states to start from: two of 50 runs that agree are the same run (or a rounding in float32)
assert len(np.unique(first)) >= 45, "the runs are not independent: log weights occur more than once"
assert np.array_equal(first, again), "the same seed must give the same log weights"
assert not np.array_equal(first, other), "another seed must give other log weights"
### END HIDDEN TESTS

# %% [markdown] given="impute_task"
# ## 3 · Grey images
#
# ### Gap 5 · Imputing with a Gaussian RBM (2 points)
#
# `missing` says which pixels are unknown. Run `steps` Gibbs steps of the Gaussian RBM of section 1, each
# $h$ given $v$, then $v$ given $h$, in which the known pixels keep their values, and return the whole image
# after the last step, a *sample*: noise included. Start the missing pixels from $b$. What stands in `v` at
# the missing pixels is meaningless and may be anything, even NaN.
#
# <details><summary>Hint</summary>
#
# `np.where(missing, a, b)` takes from `a` where a pixel is missing. NaN times 0 is NaN, so masks that
# multiply will not do.
# </details>


# %% solution="impute_gaussian"
def impute_gaussian(v, missing, W, b, c, sigma, steps, seed):
    """v: (B, D), missing: (D,) of bool, steps and seed: int → a sample of each image (B, D), known pixels unchanged."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    known = v
    v = np.where(missing, b, known)
    for _ in range(steps):
        p_h = expit(c + v @ W / sigma**2)
        h = (rng.random(p_h.shape) < p_h).astype(float)
        sample = b + h @ W.T + sigma * rng.standard_normal(v.shape)
        v = np.where(missing, sample, known)
    return v
    ### END SOLUTION


# %% test="impute_gaussian" points=2
def check_impute(W, b, c, sigma, images, missing, laws, seed, steps=60, N=40_000):
    """Chains from two images in turn: missing pixels against their exact distribution, a mixture of Gaussians.

    laws: for each image the probabilities of the hidden states (2^H,) in the last step, and a bound on their error. The
    missing pixel (or the sum and the difference of two) is compared at 9 points of its distribution function: means of
    N / 2 independent 0/1 values (Bernstein). False alarm below 2e-7 a call.
    """
    W, b, c = (np.asarray(x, np.float32) for x in (W, b, c))
    given = np.tile(np.where(missing, np.nan, images), (N // 2, 1)).astype(np.float32)
    new = stattests.call(impute_gaussian, given, missing, W, b, c, sigma, steps, seed)
    new = stattests.assert_array("the imputed images", new, (N, len(b)))
    assert np.array_equal(new[:, ~missing], given[:, ~missing]), "the known pixels must keep their values"
    means = (b + all_states(W.shape[1]) @ W.T)[:, missing]  # (2^H, missing) of p(v | h)
    directions = [[1.0]] if means.shape[1] == 1 else [[1.0, 1.0], [1.0, -1.0]]
    for k, (p_h, bias) in enumerate(laws):
        for a in np.array(directions):
            value, m, deviation = new[k::2, missing] @ a, means @ a, sigma * np.linalg.norm(a)
            middle, spread = p_h @ m, np.ptp(m) + 2 * deviation
            for x in np.linspace(middle - 0.6 * spread, middle + 0.6 * spread, 9):
                p = p_h @ ndtr((x - m) / deviation)
                variance, comparisons = p * (1 - p) + bias, 9 * len(directions)
                tolerance = bias + stattests.bernstein_tolerance(
                    N // 2, variance, 1.0, alpha=1e-7, comparisons=comparisons
                )
                what = {1: "the missing pixel", 2: f"missing pixels @ {a.astype(int)}"}[len(a)]
                share = np.mean(value <= x)
                assert abs(share - p) <= tolerance, (
                    f"after {steps} steps {what} is at most {x:.2f} in {share:.3f} of {N // 2:,} samples, but with "
                    f"probability {p:.3f} ± {tolerance:.3f}. Is the input to h divided by sigma², h drawn, noise of size "
                    "sigma added to each pixel on its own, is each image completed from its own known pixels, put back in "
                    "every step, does it start at b, are there as many steps as asked for?"
                )


W_grey = np.array([[0.8, -0.5], [0.6, 0.7], [-0.7, 0.4]])
b_grey, c_grey = np.array([0.1, 0.3, -0.2]), np.array([-0.5, 0.2])
examples, second = np.array([[0.9, -0.4, 0.3], [-0.6, 0.1, 0.8]]), np.array([False, True, False])
# the hidden states' probabilities in the last step for both images, in the order of all_states(2)
settled = [([0.08616, 0.20349, 0.12794, 0.58241], 1e-4), ([0.09608, 0.02014, 0.62946, 0.25432], 1e-4)]
first = [([0.17856, 0.31832, 0.18081, 0.32232], 1e-4), ([0.15791, 0.02498, 0.70548, 0.11162], 1e-4)]
check_impute(W_grey, b_grey, c_grey, 0.8, examples, second, settled, seed=1)
check_impute(W_grey, b_grey, c_grey, 0.8, examples, second, first, seed=2, steps=1)
### BEGIN HIDDEN TESTS
# Other parameters, sizes, sigma and pixels, one or two of them missing; one step and many; a slow chain; the seed.


def hidden_law(W, b, c, sigma, image, missing, steps):
    """The hidden state's probabilities (2^H,) in the last of the steps, and a bound on their error.

    One missing pixel: quadrature over it, any number of steps. Two: one step, or many up to rho ** steps: two chains with
    any two hidden states agree on the next v with probability 1 − rho or more, where rho is the total variation distance of
    their Gaussians.
    """
    states = all_states(W.shape[1])
    full = b + states @ W.T  # (2^H, D)

    def given_v(v):  # (n, D) → (n, 2^H)
        return softmax((c + v @ W / sigma**2) @ states.T, axis=1)

    p_h = given_v(np.where(missing, b, image)[None])[0]
    if missing.sum() == 1:
        x, weight = np.polynomial.hermite_e.hermegauss(80)
        v = np.where(missing, full[:, None] + sigma * x[:, None], image)  # (2^H, 80, D)
        kernel = np.stack([weight @ given_v(one) for one in v]) / weight.sum()  # from row to column
        return p_h @ np.linalg.matrix_power(kernel, steps - 1), 1e-4
    if steps == 1:
        return p_h, 0.0
    log_p_h = states @ c + (np.sum(full**2, axis=1) - np.sum(b**2)) / (2 * sigma**2)
    log_p_h = log_p_h - np.sum((image - full)[:, ~missing] ** 2, axis=1) / (2 * sigma**2)
    apart = np.linalg.norm((full[:, None] - full)[:, :, missing], axis=2).max()
    return softmax(log_p_h), (2 * ndtr(apart / (2 * sigma)) - 1) ** steps


def compare_impute(W, b, c, sigma, images, missing, seed, steps):
    W, b, c = (np.asarray(x, np.float32) for x in (W, b, c))
    laws = [hidden_law(W, b, c, sigma, image, missing, steps) for image in images]
    check_impute(W, b, c, sigma, images, missing, laws, seed, steps)


rng = stattests.grading_rng("impute_gaussian")
for D, H, holes, steps in [(3, 2, 1, 60), (4, 2, 2, 60), (4, 3, 2, 1)]:
    sigma = float(rng.uniform(0.5, 0.9))
    W = sigma * rng.uniform(0.4, 0.9, size=(D, H)) * rng.choice([-1, 1], (D, H))
    missing = np.isin(np.arange(D), rng.permutation(D)[:holes])
    b, c, v = rng.normal(size=D), rng.normal(size=H), rng.normal(size=(2, D))
    compare_impute(W, b, c, sigma, v, missing, seed=int(rng.integers(2**31)), steps=steps)
# one hidden unit, which moves the missing pixel by 3.2 sigma and turns over in about one step of twenty
slow = np.array([[3.2 * 0.7], [0.0]]), np.zeros(2), np.array([-(3.2**2) / 2])
for steps in (3, 20):
    compare_impute(*slow, 0.7, v[:, :2], np.array([True, False]), seed=int(rng.integers(2**31)), steps=steps)
W, b, c, v = (x.astype(np.float32) for x in (W, b, c, np.tile(v[0], (5, 1))))
first, again, other = (
    np.asarray(stattests.call(impute_gaussian, v, missing, W, b, c, sigma, 3, seed)) for seed in (8, 8, 9)
)
assert np.array_equal(first, again), "the same seed must give the same result"
assert not np.array_equal(first, other), "another seed must give another result"
### END HIDDEN TESTS

# %% [markdown] given="train_task"
# ### Gap 6 · Train a model (3 points)
#
# Now train a Gaussian RBM with 12 hidden units on the grey digits (levels 0 to 16, divided by 16), with
# $\sigma = 0.25$. How is up to you: CD, PCD, your own schedule. It should take less than 10 seconds. What suffices:
# PCD with 60 epochs, batches of 50 and 100 chains, which start at images, not at noise; small random $W$, $b$ at
# the mean image; rates that fall to 0 from 0.1 for $c$ and from 0.006 for $W$ and $b$, whose gradients carry the factor
# $1/\sigma^2 = 16$.
#
# You hand over the parameters, and the test evaluates them itself. With 12 hidden units this can be exact. A
# Gaussian RBM is a mixture of $2^H$ Gaussians, one for each hidden state, whose means $b + Wh$ are $b$ plus
# sums of columns of $W$:
#
# $$p(v) = \sum_h p(h)\, \mathcal{N}(v;\; b + W h,\; \sigma^2 I), \qquad
# p(h) \propto e^{c^\top h + \left(\lVert b + W h \rVert^2 - \lVert b \rVert^2\right) / (2\sigma^2)}.$$
#
# (Integrate $e^{-E(v,h)}$ over $v$: complete the square.) You pass with at least **2.5 nats per image** on
# the validation part; the threshold leaves room for bad luck. For comparison: $W = 0$ with $b$ the mean
# training image reaches −7.8. Only 12 hidden units, this $\sigma$ and `seed=0` are judged. More is never
# wrong.

# %% given="grey_data"
digits = datasets.digits("grey")
grey_train, grey_validation = (
    digits.train / 16,
    digits.validation / 16,
)  # (1197, 64), (200, 64), values 0 to 1
SIGMA = 0.25


def exact_log_likelihood(v, W, b, c, sigma):
    """v: (B, D) → (B,) nats, exact: the mixture over all 2^H hidden states (H up to about 12)."""
    h = all_states(W.shape[1]).astype(float)
    means = b + h @ W.T  # (2^H, D)
    log_p_h = h @ c + (np.sum(means**2, axis=1) - np.sum(b**2)) / (2 * sigma**2)
    log_p_h -= logsumexp(log_p_h)
    squared = np.sum(v**2, axis=1, keepdims=True) - 2 * v @ means.T + np.sum(means**2, axis=1)  # (B, 2^H)
    return logsumexp(log_p_h - squared / (2 * sigma**2), axis=1) - v.shape[1] / 2 * np.log(
        2 * np.pi * sigma**2
    )


# %% solution="train_gaussian"
def train_gaussian(v_train, hidden, sigma, seed):
    """v_train: (N, D), hidden: int → W (D, hidden), b (D,), c (hidden,), trained."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    D, B, epochs = v_train.shape[1], 50, 60
    W, b, c = rng.normal(0, 0.05, (D, hidden)), v_train.mean(axis=0), np.zeros(hidden)
    chains = v_train[rng.integers(len(v_train), size=100)]
    for epoch in range(epochs):
        rate = 0.1 * (1 - epoch / epochs)
        order = rng.permutation(len(v_train))
        for i in range(0, len(v_train) - B + 1, B):
            h = rng.random((len(chains), hidden)) < expit(c + chains @ W / sigma**2)
            chains = b + h @ W.T + sigma * rng.standard_normal(chains.shape)
            v = v_train[order[i : i + B]]
            h_data, h_chains = expit(c + v @ W / sigma**2), expit(c + chains @ W / sigma**2)
            # steps for W and b are in units of sigma**2, which cancels the gradient's 1 / sigma**2
            W = W + rate * (v.T @ h_data / B - chains.T @ h_chains / len(chains))
            b = b + rate * (v.mean(axis=0) - chains.mean(axis=0))
            c = c + rate * (h_data.mean(axis=0) - h_chains.mean(axis=0))
    return W, b, c
    ### END SOLUTION


# %% test="train_gaussian" points=3
answer = stattests.call(train_gaussian, grey_train, 12, SIGMA, 0)
assert isinstance(answer, (tuple, list)) and len(answer) == 3, "return three arrays: W, b, c"
W_trained, b_trained, c_trained = (
    stattests.assert_array(name, value, shape, most=1000).astype(float)
    for name, value, shape in zip("Wbc", answer, [(64, 12), (64,), (12,)])
)
reached = exact_log_likelihood(grey_validation, W_trained, b_trained, c_trained, SIGMA).mean()
print(f"{reached:.2f} nats per image on the validation part")
assert reached >= 2.5, (
    f"{reached:.2f} nats per image reached, at least 2.5 expected. Does b start at the mean image, do the chains start at "
    "images, is noise of size sigma in them, do the rates (smaller for W and b, by sigma²) fall to 0?"
)
### BEGIN HIDDEN TESTS
# The likelihood on images that the training has never seen, the test part.
# The threshold is empirical: over 50 seeds the reference reaches 5.67 to 8.62 on the validation part and 6.08 to 8.51 on the
# test part; the worst minus the range is 2.7 and 3.7.
held_out = exact_log_likelihood(digits.test / 16, W_trained, b_trained, c_trained, SIGMA).mean()
assert held_out >= 2.5, f"only {held_out:.2f} nats per image on unseen images"
# Other images, the pixels in another order: who trains on others than v_train does not fit them. (Reference: the same range.)
shuffled = np.random.default_rng(3).permutation(64)
answer = stattests.call(train_gaussian, grey_train[:, shuffled], 12, SIGMA, 0)
answer = [
    stattests.assert_array("an array", x, shape, most=1000).astype(float)
    for x, shape in zip(answer, [(64, 12), (64,), (12,)])
]
held_out = exact_log_likelihood(digits.test[:, shuffled] / 16, *answer, SIGMA)
assert held_out.mean() >= 2.5, (
    f"{held_out.mean():.2f} nats per image on digits whose pixels stand in another order: does it train on v_train?"
)
### END HIDDEN TESTS

# %% [markdown] given="argue_task"
# ## 4 · A question to argue (2 points)
#
# Imagine grey images in which some corner pixels are 0 throughout, in the training and in the validation part
# alike. Someone gives each pixel its own $\sigma_i$ and learns it by gradient ascent together with $W$, $b$
# and $c$. All seems to go well: the validation log-likelihood passes 50 nats per image, rises with every
# epoch and shows no sign of overfitting. But the samples do not improve.
#
# 1. Why does the likelihood grow without limit, and why does the validation part not give the alarm?
# 2. Name one remedy, and say what it costs.
# 3. Are these 50 nats comparable with the about −17 nats of the binary RBM in the preparation? Why, or why
#    not?
#
# Answer in about 120 words.

# %% [markdown] argue="argue_sigma" points=2
# ### BEGIN SOLUTION
# 1. A density, unlike a probability, may exceed 1. For a pixel that is always 0 and is predicted as 0 the
#    density is $1 / (\sqrt{2\pi}\, \sigma_i)$: as $\sigma_i \to 0$ each such pixel adds $-\log \sigma_i$
#    without limit, and the gradient always points that way. The same pixels are 0 in the validation images,
#    so these gain just as much. Nothing was learned about digits, hence the unchanged samples.
# 2. For example a lower bound on $\sigma_i$, or one fixed $\sigma$ (pixels that really vary little are fitted
#    less well); dequantisation, noise of one grey level added to the data (details finer than a level are
#    given up; what one gets is a bound on the probability of the discrete data); leaving the constant pixels
#    out (it is then another data set, and the model says nothing about them).
# 3. No. One is the logarithm of a density, whose value depends on the unit of $v$ (dividing the levels by 16
#    alone adds $64 \log 16 \approx 177$ nats), the other of a probability, which is at most 1, on binary
#    images, another data set. They become comparable only on the same data and the same kind of space, for
#    example as probabilities of the 17 levels.
#
# **Rubric.** 1 point for the unbounded density (½) of pixels that are constant in both parts (½); ½ for a
# remedy with its cost; ½ for density against probability, or the change of units.
# ### END SOLUTION

# %% [markdown] given="end"
# ---
# Before you hand in: *Kernel → Restart Kernel and Run All Cells*, then the **Validate** button. It runs the
# visible tests.
