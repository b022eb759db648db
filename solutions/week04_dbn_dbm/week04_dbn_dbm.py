# %% [markdown] given="title"
# # Week 4 · Exercise: labels on top, and deeper stacks
#
# {{colab}}
#
# In the preparation both deep machines had two hidden layers of 0/1 units. Here you carry the same skills
# over to two relatives:
#
# - a **deep Boltzmann machine with a label layer** on top, which reads and writes class labels;
# - a **deep belief network with three hidden layers**, trained layer by layer, and judged by its *exact*
#   likelihood.
#
# Few formulas can be copied from the preparation: a layer has two neighbours where it had one, and a softmax
# stands where there was a logistic function.
#
# **20 points, about 2½ hours.** Six gaps are graded automatically (3 points each), a question by a person (2
# points).
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
#   gives the same result, another seed another one. Make one generator at the top of the function, for
#   example `np.random.default_rng(seed)`, and draw everything from it.
# - Each gap is tested on its own, from given values. If your answer calls your function from an earlier gap,
#   make that one pass first.
#
# **Letters:** B batch, D visible units, H1, H2, H3 units of the hidden layers, K classes. Vectors of a batch
# are rows, so the sum $\sum_i v_i W_{ij}$ for a whole batch is `v @ W`.

# %% setup

# %% given="imports"
import numpy as np
import tensorflow as tf
from scipy.special import expit, logsumexp, softmax, xlogy

from utils import datasets, stattests

# %% [markdown] given="label_text"
# ## 1 · A deep Boltzmann machine with a label layer
#
# Two hidden layers of 0/1 units, and on top of them a label $y$: a vector with K entries, one of them 1 and
# the others 0 (*one-hot*).
#
# $$E(v, h_1, h_2, y) = -b^\top v - c_1^\top h_1 - c_2^\top h_2 - d^\top y
# - v^\top W_1 h_1 - h_1^\top W_2 h_2 - h_2^\top W_3\, y$$
#
# and $p(v, h_1, h_2, y) = e^{-E} / Z$. The layers form a chain, $v - h_1 - h_2 - y$: each is linked to its
# neighbours only, and there are no links within a layer. The label is one variable with K values, not K units
# that are free to be on together: that is the only new kind of unit.
#
# All parameters travel in one list, `theta = [W1, W2, W3, b, c1, c2, d]`, with shapes (D, H1), (H1, H2), (H2,
# K), (D,), (H1,), (H2,), (K,). The line that unpacks it stands in each gap.
#
# This cell is given. You may use it, in your answers too.


# %% given="energy"
def energy(v, h1, h2, y, theta):
    """v: (B, D), h1: (B, H1), h2: (B, H2), y: (B, K) one-hot → (B,) nats."""
    W1, W2, W3, b, c1, c2, d = theta
    biases = v @ b + h1 @ c1 + h2 @ c2 + y @ d
    links = np.sum((v @ W1) * h1 + (h2 @ W2.T) * h1, axis=1) + np.sum((h2 @ W3) * y, axis=1)
    return -biases - links


def all_states(n):
    """All vectors of n units that are 0 or 1: (2^n, n)."""
    return ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(float)


def all_joint(*layers):
    """Every combination of one row from each layer: as many arrays, with the product of the numbers of rows."""
    index = np.indices([len(rows) for rows in layers]).reshape(len(layers), -1)
    return [rows[i] for rows, i in zip(layers, index)]


def random_theta(rng, D, H1, H2, K, scale=1.0):
    """Parameters of a small machine: normal numbers, float32."""
    shapes = [(D, H1), (H1, H2), (H2, K), (D,), (H1,), (H2,), (K,)]
    return [(scale * rng.normal(size=shape)).astype(np.float32) for shape in shapes]


# %% [markdown] given="free_energy_task"
# ### Gap 1 · Every other layer summed out (3 points)
#
# In an RBM the hidden layer could be summed out by hand. In a deep machine it is *every other layer*: given
# $v$ and $h_2$, the layers $h_1$ and $y$ have no link to each other. Compute
#
# $$F(v, h_2) = -\log \sum_{h_1} \sum_y e^{-E(v, h_1, h_2, y)}$$
#
# with a number of terms that grows like H1 + K, not like $2^{\text{H1}} \cdot K$. It must not overflow: the
# input to a unit may reach a thousand or more, of either sign; $e^{100}$ overflows in `float32`, $e^{710}$ even in
# `float64`.
#
# <details><summary>Hint</summary>
#
# Collect the terms of $-E$ with $h_1$: two sums go into each $h_{1,j}$. Then those with $y$. The sum over all
# $h_1$ is a product, the sum over $y$ has K terms only. `np.logaddexp(0, x)` and
# `scipy.special.logsumexp(x, axis=1)`, or `tf.nn.softplus` and `tf.reduce_logsumexp`, do not overflow.
# </details>


# %% solution="free_energy_label"
def free_energy_label(v, h2, theta):
    """v: (B, D), h2: (B, H2), theta: see above → F(v, h2), (B,) nats."""
    W1, W2, W3, b, c1, c2, d = theta
    ### BEGIN SOLUTION
    into_h1 = c1 + v @ W1 + h2 @ W2.T  # (B, H1)
    into_y = d + h2 @ W3  # (B, K)
    return -(v @ b) - h2 @ c2 - np.logaddexp(0, into_h1).sum(axis=1) - logsumexp(into_y, axis=1)
    ### END SOLUTION


# %% test="free_energy_label" points=3
def free_energy_case(rng, B, D, H1, H2, K, scale, large=False):
    """Random v, h2 and parameters.

    With `large` the inputs to h1 and to y lie beyond ±900 for every rng: those to h1 positive for every other unit, those to y
    for every other row.
    """
    theta = random_theta(rng, D, H1, H2, K, scale)
    v, h2 = (rng.integers(2, size=(B, n)).astype(np.float32) for n in (D, H2))
    if large:
        size = rng.uniform(1000, 1500)
        theta[4] += np.resize([size, -size], H1).astype(np.float32)  # c1
        theta[6] += np.float32(size)  # d
        theta[2][0] -= np.float32(2 * size)  # W3, from the first unit of h2
        h2[:, 0] = np.arange(B) % 2
    return v, h2, theta


def compare_free_energy(v, h2, theta, exact, large=False):
    """A float32 near 4000 is exact to 3e-4, and a few of them are added: hence atol."""
    stattests.assert_close(
        f"F(v, h2) of {len(v)} rows, D = {v.shape[1]}, H1 = {len(theta[4])}, H2 = {h2.shape[1]}, K = {len(theta[6])}"
        + ", inputs to h1 and y beyond ±900" * large,
        stattests.call(free_energy_label, v, h2, theta),
        exact,
        rtol=1e-4 if large else 1e-3,
        atol=1e-2 if large else 1e-3,
        hint="Compare with −log Σ exp(−E) for one row by hand: h1 is linked to v and to h2, y takes K values.",
    )


# Exact values, to three decimals. The last machine has 2^40 states of h1.
compare_free_energy(
    *free_energy_case(np.random.default_rng(0), B=5, D=3, H1=2, H2=3, K=3, scale=1.0),
    [-2.744, -3.77, -0.765, -1.317, -1.317],
)
compare_free_energy(
    *free_energy_case(np.random.default_rng(1), B=4, D=3, H1=2, H2=3, K=2, scale=1.0, large=True),
    [-2637.319, -0.629, -2637.756, -0.629],
    large=True,
)
compare_free_energy(
    *free_energy_case(np.random.default_rng(2), B=3, D=6, H1=40, H2=30, K=5, scale=0.3),
    [-29.526, -27.797, -25.148],
)
### BEGIN HIDDEN TESTS
# Against a sum over all states of h1 and y: other sizes; a single class; inputs of a thousand and more to h1 and to y, of
# either sign, where exp overflows.


def check_free_energy(rng, large=False, **sizes):
    v, h2, theta = free_energy_case(rng, **sizes, large=large)
    h1, y = all_joint(all_states(len(theta[4])), np.eye(len(theta[6])))
    exact = [
        -logsumexp(-energy(np.tile(a, (len(y), 1)).astype(float), h1, np.tile(g, (len(y), 1)), y, theta))
        for a, g in zip(v, h2)
    ]
    compare_free_energy(v, h2, theta, exact, large)


rng = stattests.grading_rng("free_energy_label")
check_free_energy(rng, B=7, D=4, H1=5, H2=2, K=4, scale=1.0)
check_free_energy(rng, B=6, D=2, H1=3, H2=4, K=1, scale=1.0)
check_free_energy(rng, B=9, D=4, H1=3, H2=4, K=5, scale=200.0)
check_free_energy(rng, B=8, D=3, H1=4, H2=2, K=3, scale=1.0, large=True)
### END HIDDEN TESTS

# %% [markdown] given="gibbs_task"
# ### Gap 2 · One Gibbs sweep in two blocks (3 points)
#
# The chain of layers falls into two blocks, $\{h_1, y\}$ and $\{v, h_2\}$: within a block nothing is linked.
# So a whole sweep takes two rounds. Draw $h_1$ and $y$ given $(v, h_2)$; then draw new $v$ and $h_2$ given
# these $h_1$ and $y$. Return all four layers. Each row of the batch is a chain of its own.
#
# <details><summary>Hint</summary>
#
# $p(y = e_k \mid h_2)$ is a softmax over k, of inputs `x` (B, K), say. To draw one class a row, add independent
# Gumbel noise to the inputs and take the largest: `np.eye(K)[np.argmax(x + rng.gumbel(size=x.shape), axis=1)]` is
# one-hot. (`tf.random.categorical` does the same.)
# </details>


# %% solution="gibbs_label"
def gibbs_label(v, h2, theta, seed):
    """v: (B, D), h2: (B, H2) of 0 and 1; seed: int → new v (B, D), h1 (B, H1), new h2 (B, H2), y (B, K) one-hot."""
    W1, W2, W3, b, c1, c2, d = theta
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)

    def draw(x):  # 0 or 1 with log-odds x
        return (rng.random(x.shape) < expit(x)).astype(np.float32)

    h1 = draw(c1 + v @ W1 + h2 @ W2.T)
    into_y = d + h2 @ W3
    y = np.eye(len(d), dtype=np.float32)[np.argmax(into_y + rng.gumbel(size=into_y.shape), axis=1)]
    v = draw(b + h1 @ W1.T)
    h2 = draw(c2 + h1 @ W2 + y @ W3.T)
    return v, h1, h2, y
    ### END SOLUTION


# %% test="gibbs_label" points=3
def call_gibbs(v, h2, theta, seed):
    """Call the answer, check shapes and values."""
    answer = stattests.call(gibbs_label, v, h2, theta, seed)
    assert isinstance(answer, (tuple, list)) and len(answer) == 4, "return four arrays: v, h1, h2, y"
    sizes = [theta[0].shape[0], *(W.shape[1] for W in theta[:3])]
    names = ["the new v", "h1", "the new h2", "y"]
    answer = [stattests.assert_array(name, x, (len(v), n)) for name, x, n in zip(names, answer, sizes)]
    for name, x in zip(names, answer):
        assert np.isin(x, (0, 1)).all(), (
            f"{name} has other values than 0 and 1: return draws, not probabilities"
        )
    assert (answer[3].sum(axis=1) == 1).all(), "y must be one-hot: one 1 in each row, not K independent units"
    return [x.astype(float) for x in answer]


def check_means(seed, stored, N=20_000):
    """N chains from one state: the mean of each unit, and of products of two, against stored exact values.

    Means of N independent 0/1 values: Hoeffding's inequality with a union bound, false alarms below 1e-7 for a call.
    """
    theta = random_theta(np.random.default_rng(4), 2, 2, 2, 3)
    v, h2 = np.tile(np.float32([1, 0]), (N, 1)), np.tile(np.float32([0, 1]), (N, 1))
    v, h1, h2, y = call_gibbs(v, h2, theta, seed)
    means = {"v": v, "h1": h1, "h2": h2, "y": y}
    for name, a, b in [("h1 y", h1, y), ("v h2", v, h2), ("v h1", v, h1), ("h1 h2", h1, h2)]:
        means[f"{name} (pairs)"] = (a[:, :, None] * b[:, None]).reshape(N, -1)
    count = sum(len(right) for right in stored.values())
    tolerance = stattests.hoeffding_tolerance(N, 0, 1, alpha=1e-7, comparisons=count)
    for name, right in stored.items():
        off = np.abs(means[name].mean(axis=0) - right)
        assert (off <= tolerance).all(), (
            f"from v = [1 0], h2 = [0 1] the mean of {name} over {N:,} chains is {means[name].mean(axis=0).round(3)}, but "
            f"{np.array(right)} ± {tolerance:.3f} is right. Does h1 listen to v and to h2, h2 to h1 and to y? Is y drawn (not "
            "the largest taken) from softmax(d + h2 W3), row by row? Are the new v and h2 drawn given the new h1 and y?"
        )


def check_seed(rng):
    """The same seed twice, and another seed (a layer is equal by chance with probability below 1e-30)."""
    theta = [0 * x for x in random_theta(rng, 8, 4, 4, 3)]
    v, h2 = np.ones((64, 8), np.float32), np.ones((64, 4), np.float32)
    first, again, other = (call_gibbs(v, h2, theta, seed) for seed in (5, 5, 6))
    for name, a, b, c in zip(["the new v", "h1", "the new h2", "y"], first, again, other):
        assert np.array_equal(a, b), f"the same seed must give the same result: {name} differs"
        assert not np.array_equal(a, c), f"another seed must give another result: {name} stays as it was"


check_seed(np.random.default_rng(3))
exact_means = {
    "v": [0.1599, 0.9409],
    "h1": [0.0709, 0.7457],
    "h2": [0.2288, 0.5432],
    "y": [0.4442, 0.1242, 0.4317],
    "h1 y (pairs)": [0.0315, 0.0088, 0.0306, 0.3312, 0.0926, 0.3219],
    "v h2 (pairs)": [0.0379, 0.0867, 0.2139, 0.5113],
    "v h1 (pairs)": [0.0066, 0.1147, 0.07, 0.7094],
    "h1 h2 (pairs)": [0.0046, 0.0384, 0.1513, 0.4115],
}
for seed in (1, 2):
    check_means(seed, exact_means)
### BEGIN HIDDEN TESTS
# The whole joint distribution after a sweep: other weights, sizes and starting states.


def number(*layers):
    """Rows of 0 and 1 → the integers that they spell."""
    rows = np.concatenate(layers, axis=1)
    return (rows @ 2.0 ** np.arange(rows.shape[1])).astype(int)


def exact_sweep(v, h2, theta):
    """All joint states (v', h1, h2', y) and their probabilities after one sweep from v: (D,), h2: (H2,)."""
    H1, H2, K = (W.shape[1] for W in theta[:3])
    odd = all_joint(all_states(H1), np.eye(K))  # all (h1, y)
    even = all_joint(all_states(len(v)), all_states(H2))  # all (v, h2)
    n, m = len(odd[0]), len(even[0])
    p_odd = softmax(-energy(np.tile(v, (n, 1)), odd[0], np.tile(h2, (n, 1)), odd[1], theta))
    h1, y = (np.repeat(x, m, axis=0) for x in odd)
    v_new, h2_new = (np.tile(x, (n, 1)) for x in even)
    p_even = softmax(-energy(v_new, h1, h2_new, y, theta).reshape(n, m), axis=1)
    return (v_new, h1, h2_new, y), (p_odd[:, None] * p_even).ravel()


def check_gibbs(rng, D, H1, H2, K, scale, seed, N=20_000):
    """N chains from each of two states, in turn: how often each joint state (v', h1, h2', y) comes up, against its probability.

    Each frequency is a mean of N independent 0/1 values of known variance: Bernstein's inequality with a union bound over the
    states. A false alarm has probability below 1e-7 for a starting state, and there are fewer than 10.
    """
    theta = random_theta(rng, D, H1, H2, K, scale)
    theta[2] *= 3  # W3, so that each row's y listens to its own h2
    v, h2 = (rng.integers(2, size=n).astype(np.float32) for n in (D, H2))
    starts = [(v, h2), (1 - v, 1 - h2)]  # row by row in turn
    rows = [np.tile(np.stack(layer), (N, 1)) for layer in zip(*starts)]
    after = number(*call_gibbs(*rows, theta, seed))
    for i, (v, h2) in enumerate(starts):
        states, exact = exact_sweep(v.astype(float), h2.astype(float), theta)
        where = number(*states)
        reached = np.bincount(after[i::2], minlength=where.max() + 1)
        for s in range(len(exact)):
            f, p = reached[where[s]] / N, exact[s]
            tolerance = stattests.bernstein_tolerance(N, p * (1 - p), 1.0, alpha=1e-7, comparisons=len(exact))
            if abs(f - p) > tolerance:
                a, g1, g2, k = (x[s].astype(int) for x in states)
                raise AssertionError(
                    f"from v = {v.astype(int)}, h2 = {h2.astype(int)} the joint state v = {a}, h1 = {g1}, h2 = {g2}, y = {k} is "
                    f"reached in {f:.4f} of {N:,} chains, but its probability is {p:.4f} ± {tolerance:.4f}. (Every other row "
                    "starts from another state.) Does each row use its own v and h2? Does h1 listen to v and to h2, h2 to h1 "
                    "and to y? Is y drawn (not the largest taken) from softmax(d + h2 W3), row by row? Are the new v and h2 "
                    "drawn given the new h1 and y?"
                )


rng = stattests.grading_rng("gibbs_label")
for D, H1, H2, K in [(2, 2, 2, 3), (1, 3, 2, 2), (3, 2, 1, 4)]:
    check_gibbs(rng, D, H1, H2, K, scale=1.0, seed=int(rng.integers(2**31)))
### END HIDDEN TESTS

# %% [markdown] given="mean_field_task"
# ### Gap 3 · Mean field, all layers at once (3 points)
#
# With $v$ known, $h_1$, $h_2$ and $y$ depend on each other. Mean field puts
# $q(h_1, h_2, y) = \prod_j q(h_{1,j}) \prod_l q(h_{2,l})\, q(y)$ in place of the posterior, described by the
# probabilities $\mu_1$, $\mu_2$ (that a unit is 1) and $\mu_y$ (of the K classes, which sum to 1). At the best
# $q$ each is what its conditional distribution would be if all its neighbours had their mean values.
#
# In the preparation the layers were updated one after the other. Here they are updated **all at once**, each
# from the *old* values of its neighbours, as one would on hardware that computes all layers in parallel. Start
# with all entries of $\mu_1$ and $\mu_2$ at ½ and those of $\mu_y$ at 1/K. In each of `sweeps` sweeps compute
# the update of all three and mix it with the old value:
#
# $$\mu \leftarrow \text{damping} \cdot \mu_\text{old} + (1 - \text{damping}) \cdot \mu_\text{update}.$$
#
# Without damping, layers that update at once may jump to and fro for ever; the two lines that the visible test
# prints show such a case, without and with damping. Damping makes it converge; whether to a good $q$ is another
# matter.
#
# <details><summary>Hint</summary>
#
# The inputs are those of the Gibbs sweep, with means where states stood. Compute all three updates before you
# assign any.
# </details>


# %% solution="mean_field_label"
def mean_field_label(v, theta, sweeps, damping):
    """v: (B, D), sweeps: int, damping: 0 to 1 → mu1 (B, H1), mu2 (B, H2), mu_y (B, K), after so many sweeps."""
    W1, W2, W3, b, c1, c2, d = theta
    ### BEGIN SOLUTION
    B = len(v)
    mu1, mu2, mu_y = np.full((B, len(c1)), 0.5), np.full((B, len(c2)), 0.5), np.full((B, len(d)), 1 / len(d))
    for _ in range(sweeps):
        new1 = expit(c1 + v @ W1 + mu2 @ W2.T)
        new2 = expit(c2 + mu1 @ W2 + mu_y @ W3.T)
        new_y = softmax(d + mu2 @ W3, axis=1)
        mu1, mu2, mu_y = (
            damping * old + (1 - damping) * new for old, new in [(mu1, new1), (mu2, new2), (mu_y, new_y)]
        )
    return mu1, mu2, mu_y
    ### END SOLUTION


# %% test="mean_field_label" points=3
def mean_field_case(rng, B, D, H1, H2, K, scale):
    """Random images v and parameters."""
    theta = random_theta(rng, D, H1, H2, K, scale)
    return rng.integers(2, size=(B, D)).astype(np.float32), theta


def compare_mean_field(v, theta, sweeps, damping, exact):
    """Deterministic: each value after so many sweeps."""
    answer = stattests.call(mean_field_label, v, theta, sweeps, damping)
    assert isinstance(answer, (tuple, list)) and len(answer) == 3, "return three arrays: mu1, mu2, mu_y"
    for name, value, right in zip(["mu1", "mu2", "mu_y"], answer, exact):
        stattests.assert_close(
            f"{name} after {sweeps} sweep{'s' * (sweeps > 1)}, damping {damping:.2f}",
            value,
            right,
            rtol=1e-3,
            atol=1e-3,
            hint="Are all three computed from the old values, h2 from both sides, y by a softmax? Does damping weigh the OLD?",
        )


# Exact values, to four decimals.
case = mean_field_case(np.random.default_rng(6), B=2, D=4, H1=3, H2=2, K=3, scale=1.0)
compare_mean_field(
    *case,
    1,
    0.0,
    [
        [[0.8688, 0.9715, 0.6574], [0.9295, 0.9368, 0.145]],
        [[0.5724, 0.922], [0.5724, 0.922]],
        [[0.0787, 0.8609, 0.0604], [0.0787, 0.8609, 0.0604]],
    ],
)
case = mean_field_case(np.random.default_rng(7), B=2, D=4, H1=3, H2=2, K=3, scale=1.0)
compare_mean_field(
    *case,
    2,
    0.0,
    [
        [[0.3225, 0.8855, 0.1404], [0.4699, 0.8647, 0.08]],
        [[0.1152, 0.1841], [0.1212, 0.1661]],
        [[0.1275, 0.7342, 0.1382], [0.1275, 0.7342, 0.1382]],
    ],
)
case = mean_field_case(np.random.default_rng(8), B=2, D=3, H1=2, H2=4, K=2, scale=1.0)
compare_mean_field(
    *case,
    3,
    0.3,
    [
        [[0.0635, 0.5863], [0.7902, 0.8731]],
        [[0.7143, 0.3918, 0.8456, 0.5951], [0.6422, 0.5096, 0.9133, 0.8144]],
        [[0.0337, 0.9663], [0.0329, 0.9671]],
    ],
)
# One unit in h1 and one in h2 that forbid each other. Undamped, both switch on and off together, for ever.
rivals = [np.float32(x) for x in ([[0]], [[-8]], [[0]], [0], [5], [5], [0])]
for damping in (0.0, 0.5):
    path = [
        np.ravel(stattests.call(mean_field_label, np.zeros((1, 1), np.float32), rivals, n, damping)[0])[0]
        for n in (20, 21, 22, 23)
    ]
    print(f"damping {damping}: mu1 after 20, 21, 22, 23 sweeps:", ", ".join(f"{float(x):.3f}" for x in path))
compare_mean_field(np.zeros((1, 1), np.float32), rivals, 21, 0.0, [[[0.98995]], [[0.98995]], [[1.0]]])
### BEGIN HIDDEN TESTS
# Against the definition by the energy: other sizes, numbers of sweeps and dampings; on weak links many sweeps, after which
# the result must be the fixed point.


def update_from_energy(v, mu1, mu2, mu_y, theta):
    """The undamped update of one row, from the definition: differences of the energy between a unit's two values.

    E is linear in each unit, so its expectation under q has the means in place of the states.
    """

    def minus_energy(h1, h2, y):
        return -energy(v[None], h1[None], h2[None], y[None], theta)[0]

    def put(x, j, value):
        return np.where(np.arange(len(x)) == j, value, x)

    new1 = [
        minus_energy(put(mu1, j, 1.0), mu2, mu_y) - minus_energy(put(mu1, j, 0.0), mu2, mu_y)
        for j in range(len(mu1))
    ]
    new2 = [
        minus_energy(mu1, put(mu2, j, 1.0), mu_y) - minus_energy(mu1, put(mu2, j, 0.0), mu_y)
        for j in range(len(mu2))
    ]
    new_y = [minus_energy(mu1, mu2, e) for e in np.eye(len(mu_y))]
    return expit(new1), expit(new2), softmax(new_y)


def exact_mean_field(v, theta, sweeps, damping):
    """All layers at once, row by row, in float64."""
    theta, result = [x.astype(float) for x in theta], []
    for row in v.astype(float):
        mus = [np.full(n, 1 / k) for n, k in zip((W.shape[1] for W in theta[:3]), (2, 2, theta[2].shape[1]))]
        for _ in range(sweeps):
            mus = [
                damping * old + (1 - damping) * new
                for old, new in zip(mus, update_from_energy(row, *mus, theta))
            ]
        result.append(mus)
    return [np.array(x) for x in zip(*result)]


def check_mean_field(rng, B, D, H1, H2, K, scale, sweeps, damping):
    v, theta = mean_field_case(rng, B, D, H1, H2, K, scale)
    compare_mean_field(v, theta, sweeps, damping, exact_mean_field(v, theta, sweeps, damping))


rng = stattests.grading_rng("mean_field_label")
check_mean_field(rng, B=4, D=3, H1=4, H2=3, K=4, scale=1.0, sweeps=1, damping=float(rng.uniform(0.6, 0.9)))
check_mean_field(rng, B=2, D=5, H1=2, H2=3, K=5, scale=0.8, sweeps=4, damping=float(rng.uniform(0.1, 0.4)))
check_mean_field(rng, B=1, D=2, H1=1, H2=4, K=3, scale=1.0, sweeps=2, damping=0.0)
check_mean_field(rng, B=2, D=3, H1=2, H2=2, K=3, scale=0.4, sweeps=60, damping=0.2)
check_mean_field(rng, B=5, D=4, H1=5, H2=4, K=3, scale=4.0, sweeps=2, damping=0.0)
### END HIDDEN TESTS

# %% [markdown] given="bound_task"
# ### Gap 4 · The variational bound (3 points)
#
# For any $q$ of the form above
#
# $$\log p(v) \;\ge\; \mathbb{E}_q[-E(v, h_1, h_2, y)] + \mathcal{H}(q) - \log Z,$$
#
# and the difference is $\mathrm{KL}(q \,\Vert\, p(h_1, h_2, y \mid v))$. Compute the right side for a batch, from
# the means and a given $\log Z$. The expectation is exact, since the energy is linear in each unit (call it with the means); the entropy
# $\mathcal{H}(q) = -\mathbb{E}_q[\log q]$ has a term for each unit and one for the label.
#
# Entries of the means may be exactly 0 or 1, where a unit is certain and $0 \log 0$ counts as 0. In particular
# the label may be known: then $\mu_y$ is one-hot, and the same formula bounds $\log p(v, y)$. The result must
# not be NaN, and a certain unit must not cost more than a thousandth of a nat.
#
# <details><summary>Hint</summary>
#
# `scipy.special.xlogy(x, x)` and `tf.math.xlogy(x, x)` are $x \log x$ with the right value at 0. Adding a
# small number inside the logarithm works as well, if it is small enough.
# </details>


# %% solution="bound_label"
def bound_label(v, mu1, mu2, mu_y, theta, log_z):
    """v: (B, D), mu1: (B, H1), mu2: (B, H2), mu_y: (B, K), log_z: number → the bound (B,), nats."""
    W1, W2, W3, b, c1, c2, d = theta
    ### BEGIN SOLUTION
    biases = v @ b + mu1 @ c1 + mu2 @ c2 + mu_y @ d
    links = (
        np.sum((v @ W1) * mu1, axis=1) + np.sum((mu1 @ W2) * mu2, axis=1) + np.sum((mu2 @ W3) * mu_y, axis=1)
    )
    entropy_h1 = -np.sum(xlogy(mu1, mu1) + xlogy(1 - mu1, 1 - mu1), axis=1)
    entropy_h2 = -np.sum(xlogy(mu2, mu2) + xlogy(1 - mu2, 1 - mu2), axis=1)
    entropy_y = -np.sum(xlogy(mu_y, mu_y), axis=1)
    return biases + links + entropy_h1 + entropy_h2 + entropy_y - log_z
    ### END SOLUTION


# %% test="bound_label" points=3
def bound_case(rng, B, D, H1, H2, K, certain):
    """Random machine, images and q; with `certain`, units that are surely 0 or 1 and labels that are known."""
    theta = random_theta(rng, D, H1, H2, K)
    v = rng.integers(2, size=(B, D)).astype(np.float32)
    mu1, mu2 = (rng.uniform(0.02, 0.98, size=(B, n)) for n in (H1, H2))
    mu_y = rng.dirichlet(np.ones(K), B)
    if certain:
        mu1, mu2 = (np.where(rng.random(m.shape) < 0.4, m.round(), m) for m in (mu1, mu2))
        mu1[0], mu_y[: B // 2] = np.arange(H1) % 2, np.eye(K)[rng.integers(K, size=B // 2)]
    return v, *(m.astype(np.float32) for m in (mu1, mu2, mu_y)), theta


def compare_bound(case, log_z, log_p, right, certain):
    """The bound itself, and that it lies below the exact log p(v)."""
    answer = stattests.assert_array(
        "the bound" + " with units that are exactly 0 or 1" * certain,
        stattests.call(bound_label, *case, log_z),
        (len(case[0]),),
    )
    stattests.assert_close(
        f"the bound, {'some units exactly 0 or 1, some labels known' if certain else 'random q'}",
        answer,
        right,
        rtol=1e-4,
        atol=2e-3,
        hint=f"log p(v) of the first row is {log_p[0]:.4f}. Has each unit two entropy terms, the label one sum over classes?",
    )
    assert (answer <= np.array(log_p) + 3e-3).all(), "the bound lies above the exact log-likelihood"


# Exact values, to four decimals: log Z, log p(v), the bound.
case = bound_case(np.random.default_rng(9), B=4, D=3, H1=2, H2=3, K=3, certain=False)
compare_bound(
    case, 11.5603, [-3.6492, -5.0426, -3.6407, -0.7645], [-6.391, -9.7113, -7.3649, -6.8615], certain=False
)
case = bound_case(np.random.default_rng(10), B=4, D=3, H1=3, H2=2, K=2, certain=True)
compare_bound(
    case, 5.4588, [-2.9388, -1.4677, -2.9388, -1.9191], [-5.5306, -3.5539, -10.2065, -7.869], certain=True
)
### BEGIN HIDDEN TESTS
# Against a sum over all joint states: other sizes and distributions q; units that are exactly 0 or 1; known labels.


def enumerate_machine(v, theta):
    """log Z, and log p(v) of each row, by summing over all joint states."""
    theta = [x.astype(float) for x in theta]
    hidden = all_joint(*(all_states(W.shape[1]) for W in theta[:2]), np.eye(theta[2].shape[1]))

    def log_p_star(row):
        return logsumexp(-energy(np.tile(row, (len(hidden[0]), 1)), *hidden, theta))

    log_z = logsumexp([log_p_star(row) for row in all_states(v.shape[1])])
    return float(log_z), np.array([log_p_star(row) for row in v.astype(float)]) - log_z


def exact_bound(v, mu1, mu2, mu_y, theta, log_z):
    """Σ q (−E − log q) − log Z over all states with q > 0, row by row."""
    theta = [x.astype(float) for x in theta]
    h1, h2, y = all_joint(all_states(mu1.shape[1]), all_states(mu2.shape[1]), np.eye(mu_y.shape[1]))
    result = []
    for row, m1, m2, my in zip(*(x.astype(float) for x in (v, mu1, mu2, mu_y))):
        q = (
            np.prod(np.where(h1 == 1, m1, 1 - m1), axis=1)
            * np.prod(np.where(h2 == 1, m2, 1 - m2), axis=1)
            * (y @ my)
        )
        on = q > 0
        minus_energy = -energy(np.tile(row, (on.sum(), 1)), h1[on], h2[on], y[on], theta)
        result.append(q[on] @ (minus_energy - np.log(q[on])) - log_z)
    return np.array(result)


def check_bound(rng, certain, **sizes):
    case = bound_case(rng, **sizes, certain=certain)
    log_z, log_p = enumerate_machine(case[0], case[-1])
    compare_bound(case, log_z, log_p, exact_bound(*case, log_z), certain)


rng = stattests.grading_rng("bound_label")
for D, H1, H2, K, known in [(4, 3, 2, 4, False), (2, 4, 3, 3, True), (3, 1, 2, 5, True)]:
    check_bound(rng, B=6, D=D, H1=H1, H2=H2, K=K, certain=known)
### END HIDDEN TESTS

# %% [markdown] given="gradient_task"
# ### Gap 5 · The gradient for training (3 points)
#
# Training ascends the bound of gap 4, averaged over a batch of data. With $q$ held fixed its gradient is
#
# $$\Delta\theta = \left\langle -\frac{\partial E(v, \mu_1, \mu_2, \mu_y)}{\partial\theta} \right\rangle_\text{data}
# - \left\langle -\frac{\partial E(v, h_1, h_2, y)}{\partial\theta} \right\rangle_\text{model}.$$
#
# *Positive phase:* `mu1`, `mu2`, `mu_y` are given with the data (known labels are one-hot rows of
# `mu_y`). *Negative phase:* the chains hand over $v$ and $h_2$ only, M of
# them. Do not draw $h_1$ and $y$; **average over them exactly**, which gives a less noisy estimate of the same
# thing: the second term is the mean over the chains of $-\partial F(v, h_2)/\partial\theta$, with the $F$ of
# gap 1.
#
# <details><summary>Hint</summary>
#
# Given $(v, h_2)$, all of $h_1$ and $y$ are independent of each other, so their conditional means go where
# their states would be. The mean over a batch of the products $v_i h_j$ is `v.T @ h / len(v)`; it is not the
# product of the means.
# </details>


# %% solution="gradient_label"
def gradient_label(v, mu1, mu2, mu_y, v_chain, h2_chain, theta):
    """v, mu1, mu2, mu_y: B rows; v_chain, h2_chain: M rows of 0 and 1 → a list [dW1, dW2, dW3, db, dc1, dc2, dd]."""
    W1, W2, W3, b, c1, c2, d = theta
    ### BEGIN SOLUTION

    def moments(v, h1, h2, y):
        n = len(v)
        return [v.T @ h1 / n, h1.T @ h2 / n, h2.T @ y / n, v.mean(0), h1.mean(0), h2.mean(0), y.mean(0)]

    h1_chain = expit(c1 + v_chain @ W1 + h2_chain @ W2.T)
    y_chain = softmax(d + h2_chain @ W3, axis=1)
    positive, negative = moments(v, mu1, mu2, mu_y), moments(v_chain, h1_chain, h2_chain, y_chain)
    return [p - n for p, n in zip(positive, negative)]
    ### END SOLUTION


# %% test="gradient_label" points=3
def gradient_case(rng, B, M, D, H1, H2, K):
    """Random parameters, data with their means, and chains."""
    theta = random_theta(rng, D, H1, H2, K)
    v, v_chain = (rng.integers(2, size=(n, D)).astype(np.float32) for n in (B, M))
    h2_chain = rng.integers(2, size=(M, H2)).astype(np.float32)
    mu1, mu2 = (rng.uniform(size=(B, n)).astype(np.float32) for n in (H1, H2))
    mu_y = rng.dirichlet(np.ones(K), B).astype(np.float32)
    mu_y[0] = np.eye(K)[0]  # a known label
    return v, mu1, mu2, mu_y, v_chain, h2_chain, theta


def compare_gradient(case, exact):
    answer = stattests.call(gradient_label, *case)
    assert isinstance(answer, (tuple, list)) and len(answer) == 7, (
        "return seven arrays: dW1, dW2, dW3, db, dc1, dc2, dd"
    )
    for name, value, right in zip(["dW1", "dW2", "dW3", "db", "dc1", "dc2", "dd"], answer, exact):
        stattests.assert_close(
            name,
            value,
            right,
            rtol=1e-3,
            atol=1e-3,
            hint=f"There are {len(case[0])} rows of data and {len(case[4])} chains; mean, not sum; positive minus negative; for the chains h1 and y "
            "are conditional means given v and h2, y by a softmax for each chain (axis=1).",
        )


# Exact values, to four decimals, in the order dW1, dW2, dW3, db, dc1, dc2, dd.
exact = [
    [[0.0597, 0.1541], [-0.2161, 0.0732]],
    [[-0.5387, -0.1638], [-0.3844, 0.1271]],
    [[0.2094, -0.6834], [0.3722, -0.2361]],
    [0.5, 0.25],
    [-0.3838, -0.1166],
    [-0.474, 0.1362],
    [0.5863, -0.5863],
]
compare_gradient(gradient_case(np.random.default_rng(12), B=4, M=4, D=2, H1=2, H2=2, K=2), exact)
exact = [
    [[0.1671, 0.3132, 0.0182], [0.0455, 0.0769, -0.0464]],
    [[-0.2211, -0.1947], [0.0709, -0.0202], [-0.2447, -0.112]],
    [[0.0855, 0.0755, -0.2845], [-0.0049, -0.0233, -0.0666]],
    [0.3333, 0.1667],
    [-0.2383, 0.1608, -0.2642],
    [-0.1235, -0.0949],
    [0.1169, 0.195, -0.3119],
]
compare_gradient(gradient_case(np.random.default_rng(13), B=3, M=6, D=2, H1=3, H2=2, K=3), exact)
### BEGIN HIDDEN TESTS
# Against automatic differentiation, in the negative phase h1 and y summed out state by state: other sizes, batches of
# unequal size.


def check_gradient(rng, B, M, D, H1, H2, K):
    case = gradient_case(rng, B, M, D, H1, H2, K)
    v, mu1, mu2, mu_y, v_chain, h2_chain, theta = case
    variables = [tf.Variable(x.astype(float)) for x in theta]

    def minus_energy(v, h1, h2, y):  # all (…, n)
        W1, W2, W3, b, c1, c2, d = variables
        v, h1, h2, y = (tf.constant(x, tf.float64) for x in (v, h1, h2, y))
        biases = sum(tf.linalg.matvec(x, a) for x, a in [(v, b), (h1, c1), (h2, c2), (y, d)])
        links = [(v, W1, h1), (h1, W2, h2), (h2, W3, y)]
        return biases + sum(tf.reduce_sum(tf.matmul(x, W) * z, axis=-1) for x, W, z in links)

    h1, y = all_joint(all_states(H1), np.eye(K))
    S = len(y)
    with tf.GradientTape() as tape:
        joint = minus_energy(
            np.repeat(v_chain, S, axis=0),
            np.tile(h1, (M, 1)),
            np.repeat(h2_chain, S, axis=0),
            np.tile(y, (M, 1)),
        )
        negative = tf.reduce_mean(tf.reduce_logsumexp(tf.reshape(joint, [M, S]), axis=1))
        objective = tf.reduce_mean(minus_energy(v, mu1, mu2, mu_y)) - negative
    exact = tape.gradient(objective, variables)
    compare_gradient(case, exact)


rng = stattests.grading_rng("gradient_label")
check_gradient(rng, B=7, M=3, D=4, H1=3, H2=3, K=4)
check_gradient(rng, B=2, M=9, D=3, H1=4, H2=1, K=3)
### END HIDDEN TESTS

# %% [markdown] given="stack_task"
# ## 2 · A deeper stack
#
# ### Gap 6 · Three RBMs, one network (3 points)
#
# A deep belief network with three hidden layers of 0/1 units: two directed steps down from an RBM at the top,
#
# $$p(v, h_1, h_2, h_3) = p(v \mid h_1)\; p(h_1 \mid h_2)\; p(h_2, h_3), \qquad
# p(h_2, h_3) \propto e^{\,c_2^\top h_2 + c_3^\top h_3 + h_2^\top W_3 h_3},$$
#
# $$p(v_i = 1 \mid h_1) = \sigma\Big(b_i + \sum_j W_{1,ij} h_{1,j}\Big), \qquad
# p(h_{1,j} = 1 \mid h_2) = \sigma\Big(c_{1,j} + \sum_k W_{2,jk} h_{2,k}\Big).$$
#
# The data are the 30 images of bars and stripes on a 4×4 grid, so no model can have a mean log-likelihood above
# $-\log 30 = -3.40$ nats. Train the network layer by layer, with the sizes of `widths = (H1, H2, H3)`, and hand over
# its seven parameters `[W1, W2, W3, b, c1, c2, c3]`. With 12, 10 and 10 hidden units all states can be listed, so
# the test computes the *exact* likelihood, not a bound: the function that does it is given, and so is `train_rbm`,
# which returns the weights, the visible and the hidden biases of one RBM. `images` holds each of the 30 images 40 times,
# so an epoch of `train_rbm` has 24 steps. You pass with at least **−4.8 nats** per image; the threshold leaves room for
# bad luck. Only these widths and images are judged, here with `seed=0`; when you hand in, once more with another seed
# and the pixels in another order. It should take less than 10 seconds. How you train is up to you; better is never
# wrong.
#
# <details><summary>Hint 1: what each layer learns from</summary>
#
# The first RBM learns the images, the second one *samples* of $h_1$ given the images, the third one samples of $h_2$
# given those. For example 100 epochs at a rate of 0.3 for the first RBM, 150 at 0.5
# for the other two.
# </details>
#
# <details><summary>Hint 2: which parameters are handed over</summary>
#
# Three RBMs have three weight matrices and six vectors of biases; the network keeps four of them. $h_1$ is the hidden
# layer of one RBM and the visible layer of the next. Which of its two biases occurs in $p(h_1 \mid h_2)$?
# </details>


# %% given="stack_tools"
bars = datasets.bars_and_stripes(4)  # (30, 16), all images that there are
bars_train = np.tile(bars, (40, 1))  # (1200, 16): each image 40 times


def train_rbm(data, hidden, epochs, rate, seed, chains=100, batch=50):
    """PCD-1 for an RBM with 0/1 units. data: (N, D) of 0 and 1 → W (D, hidden), b (D,) visible, c (hidden,) hidden biases."""
    rng = np.random.default_rng(seed)
    data, mean = np.asarray(data, np.float32), np.clip(np.mean(data, axis=0), 0.02, 0.98)
    W = rng.normal(0, 0.05, (data.shape[1], hidden)).astype(np.float32)
    b, c = np.log(mean / (1 - mean)).astype(np.float32), np.zeros(hidden, np.float32)
    v_chain = data[rng.integers(len(data), size=chains)]
    for epoch in range(epochs):
        step, order = np.float32(rate * (1 - epoch / epochs)), rng.permutation(len(data))
        for i in range(0, len(data) - batch + 1, batch):
            h_chain = (rng.random((chains, hidden)) < expit(c + v_chain @ W)).astype(np.float32)
            v_chain = (rng.random(v_chain.shape) < expit(b + h_chain @ W.T)).astype(np.float32)
            v = data[order[i : i + batch]]
            p_data, p_chain = expit(c + v @ W), expit(c + v_chain @ W)
            W += step * (v.T @ p_data / batch - v_chain.T @ p_chain / chains)
            b += step * (v.mean(axis=0) - v_chain.mean(axis=0))
            c += step * (p_data.mean(axis=0) - p_chain.mean(axis=0))
    return W, b, c


def exact_log_likelihood(v, W1, W2, W3, b, c1, c2, c3):
    """v: (B, D) → log p(v), (B,) nats, exact: h3 summed out by hand, h2 and h1 by listing all their states."""
    h1, h2 = all_states(W1.shape[1]), all_states(W2.shape[1])
    log_p_h2 = h2 @ c2 + np.logaddexp(0, c3 + h2 @ W3).sum(axis=1)
    log_p_h2 -= logsumexp(log_p_h2)  # (2^H2,)
    x = c1 + h2 @ W2.T
    log_p_h1_h2 = x @ h1.T - np.logaddexp(0, x).sum(axis=1, keepdims=True)  # (2^H2, 2^H1)
    log_p_h1 = logsumexp(log_p_h2[:, None] + log_p_h1_h2, axis=0)
    x = b + h1 @ W1.T
    log_p_v_h1 = v @ x.T - np.logaddexp(0, x).sum(axis=1)  # (B, 2^H1)
    return logsumexp(log_p_h1 + log_p_v_h1, axis=1)


# %% solution="train_stack"
def train_stack(images, widths, seed):
    """images: (N, D) of 0 and 1, widths: (H1, H2, H3), seed: int → the list [W1, W2, W3, b, c1, c2, c3], trained."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    data, weights, visible = images, [], []
    for width in widths:
        epochs, rate = (150, 0.5) if weights else (100, 0.3)
        W, below, above = train_rbm(data, width, epochs, rate, int(rng.integers(2**31)))
        data = rng.random((len(data), width)) < expit(above + data @ W)  # what the next layer learns from
        weights.append(W)
        visible.append(below)
    return [*weights, *visible, above]  # of a hidden layer's two biases the RBM above has the last word
    ### END SOLUTION


# %% test="train_stack" points=3
def judge_stack(images, v, seed, what):
    """Exact mean log-likelihood of the parameters handed over, at least the threshold.

    The threshold is empirical: over 50 seeds, half of them with the pixels in another order, the reference reaches −4.28 to
    −3.77; the worst minus the range is −4.78. With nothing in the third layer it reaches
    −4.88, in four times the epochs −4.67: better is never wrong.
    """
    widths, D = (12, 10, 10), v.shape[1]
    answer = stattests.call(train_stack, images, widths, seed)
    names = ["W1", "W2", "W3", "b", "c1", "c2", "c3"]
    assert isinstance(answer, (tuple, list)) and len(answer) == 7, f"return seven arrays: {', '.join(names)}"
    shapes = [(D, 12), (12, 10), (10, 10), (D,), (12,), (10,), (10,)]
    parameters = [
        stattests.assert_array(n, x, s, most=1000).astype(float) for n, x, s in zip(names, answer, shapes)
    ]
    reached = exact_log_likelihood(v, *parameters).mean()
    print(f"{what}: {reached:.2f} nats per image, exact (best possible {-np.log(len(v)):.2f})")
    assert reached >= -4.8, (
        f"{what}: {reached:.2f} nats per image, at least −4.8 expected. Trained long enough (hint 1)? Is each RBM trained on "
        "samples of the layer below, not on the images? Is c1 the visible bias of the second RBM, c2 that of the third? W3 "
        "not transposed?"
    )


judge_stack(bars_train, bars, 0, "bars and stripes")
### BEGIN HIDDEN TESTS
# The same images with the pixels in another order, and another seed; the threshold is the same.
rng = stattests.grading_rng("train_stack")
order = rng.permutation(16)
judge_stack(bars_train[:, order], bars[:, order], int(rng.integers(2**31)), "pixels in another order")
### END HIDDEN TESTS

# %% [markdown] given="argue_task"
# ## 3 · A question to argue (2 points)
#
# The machine of section 1 has been trained, and an image $v$ comes without a label. Two students classify it.
#
# - **Anna** runs mean field with $h_1$, $h_2$ and $y$ unknown (gap 3, to a fixed point), and reads off $\mu_y$.
# - **Ben** clamps $y$ to each of the K classes in turn, runs mean field for $h_1$ and $h_2$ alone, and computes the
#   bound $L_k(v) \le \log p(v, y = e_k)$ of gap 4 each time. His probabilities are the softmax of $L_1, \dots, L_K$.
#
# 1. Does Ben need $\log Z$, and how much more does he compute than Anna?
# 2. Show that $\log \sum_k e^{L_k}$ is a lower bound of $\log p(v)$. What can Ben's approximation of the posterior
#    express that Anna's cannot?
# 3. Ben adds: "All my $L_k$ are lower bounds, so my probability of a class is never above the true $p(y = e_k \mid v)$."
#    Is it?
#
# Answer in about 150 words, formulas not counted.

# %% [markdown] argue="argue_two_ways" points=2
# ### BEGIN SOLUTION
# 1. For nothing: $\log Z$ is the same in all $L_k$ and cancels in the softmax. He runs K mean fields in place of one
#    (each a little cheaper, without $y$).
# 2. $p(v) = \sum_k p(v, y = e_k) \ge \sum_k e^{L_k}$, since $e^x$ is increasing. Anna's $q$ has one pair
#    $(\mu_1, \mu_2)$ for all classes; Ben optimises these for each class. His $q(h_1, h_2 \mid y)\, q(y)$ is a mixture:
#    the hidden units may look different for each class, so they may depend on the label, and on each other through it.
#    Anna's has to explain an ambiguous image by one compromise. (So his bound is at least as high as hers: with her
#    $\mu_1, \mu_2$ in place of his, $\log \sum_k e^{L'_k}$ is already at least her bound, by Jensen.)
# 3. No. Each $L_k$ falls short by a gap of its own, and the softmax depends on differences. If the true class has a
#    smaller gap than the others, its probability comes out too high. They cannot all be too low in any case: both
#    his probabilities and the true ones sum to 1.
#
# **Rubric.** ½ for 1 (cancels, K runs); 1 for 2 (½ for the inequality; ½ for the mixture, hidden units that may depend
# on the class); ½ for 3 (differences of bounds are no bounds, or: both sum to 1).
# ### END SOLUTION

# %% [markdown] given="end"
# ---
# Before you hand in: *Kernel → Restart Kernel and Run All Cells*, then the **Validate** button. It runs the
# visible tests.
