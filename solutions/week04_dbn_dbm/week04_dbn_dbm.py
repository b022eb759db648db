# %% [markdown] given="title"
# # Week 4 · Exercise: labels on top, and deeper stacks
#
# {{colab}}
#
# In the preparation both deep machines had two hidden layers of 0/1 units. Here you carry the same skills
# over to three relatives:
#
# - a **deep Boltzmann machine with a label layer** on top, which reads and writes class labels;
# - a **sigmoid belief network of ±1 units** of any depth, trained by wake-sleep;
# - a **deep belief network with three hidden layers**, trained layer by layer, and judged by its *exact*
#   likelihood.
#
# Few formulas can be copied from the preparation: a layer has two neighbours where it had one, a softmax
# stands where there was a logistic function, and ±1 units change what a derivative looks like.
#
# **20 points, about 3¼ hours.** Seven gaps are graded automatically (18 points), a question by a person (2
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
# This cell is given. You may use it to check yourself.


# %% given="energy"
def energy(v, h1, h2, y, theta):
    """v: (B, D), h1: (B, H1), h2: (B, H2), y: (B, K) one-hot → (B,) nats."""
    W1, W2, W3, b, c1, c2, d = theta
    biases = v @ b + h1 @ c1 + h2 @ c2 + y @ d
    links = np.sum((v @ W1) * h1 + (h2 @ W2.T) * h1, axis=1) + np.sum((h2 @ W3) * y, axis=1)
    return -biases - links


def all_states(n, values=(0, 1)):
    """All vectors of n units with two values: (2^n, n)."""
    return np.array(values, float)[(np.arange(2**n)[:, None] >> np.arange(n)) & 1]


def all_joint(*layers):
    """Every combination of one row from each layer: as many arrays, with the product of the numbers of rows."""
    index = np.indices([len(rows) for rows in layers]).reshape(len(layers), -1)
    return [rows[i] for rows, i in zip(layers, index)]


def random_theta(rng, D, H1, H2, K, scale=1.0):
    """Parameters of a small machine: normal numbers, float32."""
    shapes = [(D, H1), (H1, H2), (H2, K), (D,), (H1,), (H2,), (K,)]
    return [(scale * rng.normal(size=shape)).astype(np.float32) for shape in shapes]


# %% [markdown] given="free_energy_task"
# ### Gap 1 · Every other layer summed out (2 points)
#
# In an RBM the hidden layer could be summed out by hand. In a deep machine it is *every other layer*: given
# $v$ and $h_2$, the layers $h_1$ and $y$ have no link to each other. Compute
#
# $$F(v, h_2) = -\log \sum_{h_1} \sum_y e^{-E(v, h_1, h_2, y)}$$
#
# with a number of terms that grows like H1 + K, not like $2^{\text{H1}} \cdot K$. It must not overflow: the
# input to a unit may reach a thousand or more, of either sign; $e^{100}$ overflows in `float32`, $e^{710}$ even in
# `float64`. (AIS for this machine would run on $v$ and $h_2$ alone, with this function.)
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


# %% test="free_energy_label" points=2
def check_free_energy(rng, B, D, H1, H2, K, scale, large=False):
    """Compare with a sum over all states of h1 and y.

    With `large` the inputs to h1 and to y lie beyond ±900 for every rng: those to h1 positive for every other unit, those to y
    for every other row. A float32 near 4000 is exact to 3e-4, and a few of them are added: hence atol.
    """
    theta = random_theta(rng, D, H1, H2, K, scale)
    v, h2 = (rng.integers(2, size=(B, n)).astype(np.float32) for n in (D, H2))
    if large:
        size = rng.uniform(1000, 1500)
        theta[4] += np.resize([size, -size], H1).astype(np.float32)  # c1
        theta[6] += np.float32(size)  # d
        theta[2][0] -= np.float32(2 * size)  # W3, from the first unit of h2
        h2[:, 0] = np.arange(B) % 2
    h1, y = all_joint(all_states(H1), np.eye(K))
    exact = [
        -logsumexp(-energy(np.tile(a, (len(y), 1)).astype(float), h1, np.tile(g, (len(y), 1)), y, theta))
        for a, g in zip(v, h2)
    ]
    stattests.assert_close(
        f"F(v, h2) of {B} rows, D = {D}, H1 = {H1}, H2 = {H2}, K = {K}"
        + ", inputs to h1 and y beyond ±900" * large,
        stattests.call(free_energy_label, v, h2, theta),
        exact,
        rtol=1e-4 if large else 1e-3,
        atol=1e-2 if large else 1e-3,
        hint="Compare with −log Σ exp(−E) for one row by hand: h1 is linked to v and to h2, y takes K values.",
    )


check_free_energy(np.random.default_rng(0), B=5, D=3, H1=2, H2=3, K=3, scale=1.0)
check_free_energy(np.random.default_rng(1), B=4, D=3, H1=2, H2=3, K=2, scale=1.0, large=True)
### BEGIN HIDDEN TESTS
# Other sizes; a single class; inputs of a thousand and more to h1 and to y, of either sign, where exp overflows.
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
# $p(y = e_k \mid h_2)$ is a softmax over k. To draw one class a row: add independent Gumbel noise to the
# inputs of the softmax and take the largest (`rng.gumbel(size=...)`, `argmax`), or compare a uniform number
# with the cumulative sum of the probabilities, or use `tf.random.categorical` or
# `tf.random.stateless_categorical`. `np.eye(K)[k]` makes classes one-hot.
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
    """N chains from one state: how often each joint state (v', h1, h2', y) comes up, against its exact probability.

    Each frequency is a mean of N independent 0/1 values of known variance: Bernstein's inequality with a union bound over the
    states. A false alarm has probability below 1e-7 for a call, and there are fewer than 10 calls.
    """
    theta = random_theta(rng, D, H1, H2, K, scale)
    v, h2 = (rng.integers(2, size=n).astype(np.float32) for n in (D, H2))
    states, exact = exact_sweep(v.astype(float), h2.astype(float), theta)
    where = number(*states)
    reached = np.bincount(
        number(*call_gibbs(np.tile(v, (N, 1)), np.tile(h2, (N, 1)), theta, seed)), minlength=where.max() + 1
    )
    for s in range(len(exact)):
        f, p = reached[where[s]] / N, exact[s]
        tolerance = stattests.bernstein_tolerance(N, p * (1 - p), 1.0, alpha=1e-7, comparisons=len(exact))
        if abs(f - p) > tolerance:
            a, g1, g2, k = (x[s].astype(int) for x in states)
            raise AssertionError(
                f"from v = {v.astype(int)}, h2 = {h2.astype(int)} the joint state v = {a}, h1 = {g1}, h2 = {g2}, y = {k} is "
                f"reached in {f:.4f} of {N:,} chains, but its probability is {p:.4f} ± {tolerance:.4f}. Does h1 listen to v "
                "and to h2, h2 to h1 and to y? Is y drawn (not the largest taken) from softmax(d + h2 W3), row by row? Are the "
                "new v and h2 drawn given the new h1 and y, each chain on its own?"
            )


def check_seed(rng):
    """The same seed twice, and another seed (fair bits by the hundred: equal by chance with probability below 1e-100)."""
    theta = [0 * x for x in random_theta(rng, 8, 4, 4, 3)]
    v, h2 = np.ones((64, 8), np.float32), np.ones((64, 4), np.float32)
    first, again, other = (np.hstack(call_gibbs(v, h2, theta, seed)) for seed in (5, 5, 6))
    assert np.array_equal(first, again), "the same seed must give the same result"
    assert not np.array_equal(first, other), "another seed must give another result"


check_seed(np.random.default_rng(3))
check_gibbs(np.random.default_rng(4), D=2, H1=2, H2=2, K=3, scale=1.0, seed=1)
check_gibbs(np.random.default_rng(5), D=2, H1=1, H2=2, K=2, scale=1.5, seed=2)
### BEGIN HIDDEN TESTS
# Other weights, sizes and starting states.
rng = stattests.grading_rng("gibbs_label")
for D, H1, H2, K in [(2, 2, 2, 3), (1, 3, 2, 2), (3, 2, 1, 4)]:
    check_gibbs(rng, D, H1, H2, K, scale=1.0, seed=int(rng.integers(2**31)))
### END HIDDEN TESTS

# %% [markdown] given="mean_field_task"
# ### Gap 3 · Mean field, all layers at once (3 points)
#
# With $v$ known, $h_1$, $h_2$ and $y$ depend on each other. Mean field puts
# $q(h_1, h_2, y) = \prod_j q(h_{1,j}) \prod_k q(h_{2,k})\, q(y)$ in place of the posterior, described by the
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
    """Deterministic: each value after so many sweeps."""
    theta = random_theta(rng, D, H1, H2, K, scale)
    v = rng.integers(2, size=(B, D)).astype(np.float32)
    exact = exact_mean_field(v, theta, sweeps, damping)
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


check_mean_field(np.random.default_rng(6), B=3, D=4, H1=3, H2=2, K=3, scale=1.0, sweeps=1, damping=0.0)
check_mean_field(np.random.default_rng(7), B=3, D=4, H1=3, H2=2, K=3, scale=1.0, sweeps=2, damping=0.0)
check_mean_field(np.random.default_rng(8), B=2, D=3, H1=2, H2=4, K=2, scale=1.0, sweeps=3, damping=0.3)
# One unit in h1 and one in h2 that forbid each other. Undamped, both switch on and off together, for ever.
rivals = [np.float32(x) for x in ([[0]], [[-8]], [[0]], [0], [5], [5], [0])]
for damping in (0.0, 0.5):
    path = [
        np.ravel(stattests.call(mean_field_label, np.zeros((1, 1), np.float32), rivals, n, damping)[0])[0]
        for n in (20, 21, 22, 23)
    ]
    print(f"damping {damping}: mu1 after 20, 21, 22, 23 sweeps:", ", ".join(f"{float(x):.3f}" for x in path))
### BEGIN HIDDEN TESTS
# Other sizes, numbers of sweeps and dampings; on weak links many sweeps, after which the result must be the fixed point.
rng = stattests.grading_rng("mean_field_label")
check_mean_field(rng, B=4, D=3, H1=4, H2=3, K=4, scale=1.0, sweeps=1, damping=float(rng.uniform(0.6, 0.9)))
check_mean_field(rng, B=2, D=5, H1=2, H2=3, K=5, scale=0.8, sweeps=4, damping=float(rng.uniform(0.1, 0.4)))
check_mean_field(rng, B=1, D=2, H1=1, H2=4, K=3, scale=1.0, sweeps=2, damping=0.0)
check_mean_field(rng, B=2, D=3, H1=2, H2=2, K=3, scale=0.4, sweeps=60, damping=0.2)
### END HIDDEN TESTS

# %% [markdown] given="bound_task"
# ### Gap 4 · The variational bound (3 points)
#
# For any $q$ of the form above
#
# $$\log p(v) \;\ge\; \mathbb{E}_q[-E(v, h_1, h_2, y)] + \mathcal{H}(q) - \log Z,$$
#
# and the difference is $\mathrm{KL}(q \,\Vert\, p(h_1, h_2, y \mid v))$. Compute the right side for a batch, from
# the means and a given $\log Z$. The expectation is exact, since the energy is linear in each unit; the entropy
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


def check_bound(rng, B, D, H1, H2, K, certain):
    """Random q; with `certain`, units that are surely 0 or 1 and labels that are known."""
    theta = random_theta(rng, D, H1, H2, K)
    v = rng.integers(2, size=(B, D)).astype(np.float32)
    mu1, mu2 = (rng.uniform(0.02, 0.98, size=(B, n)) for n in (H1, H2))
    mu_y = rng.dirichlet(np.ones(K), B)
    if certain:
        mu1, mu2 = (np.where(rng.random(m.shape) < 0.4, m.round(), m) for m in (mu1, mu2))
        mu1[0], mu_y[: B // 2] = np.arange(H1) % 2, np.eye(K)[rng.integers(K, size=B // 2)]
    mu1, mu2, mu_y = (m.astype(np.float32) for m in (mu1, mu2, mu_y))
    log_z, log_p = enumerate_machine(v, theta)
    right = exact_bound(v, mu1, mu2, mu_y, theta, log_z)
    answer = stattests.assert_array(
        "the bound" + " with units that are exactly 0 or 1" * certain,
        stattests.call(bound_label, v, mu1, mu2, mu_y, theta, log_z),
        (B,),
    )
    stattests.assert_close(
        f"the bound, {'some units exactly 0 or 1, some labels known' if certain else 'random q'}",
        answer,
        right,
        rtol=1e-4,
        atol=2e-3,
        hint=f"log p(v) of the first row is {log_p[0]:.4f}. Has each unit two entropy terms, the label one sum over classes?",
    )
    assert (answer <= log_p + 3e-3).all(), "the bound lies above the exact log-likelihood"
    return right, log_p


some_bound, some_exact = check_bound(np.random.default_rng(9), B=4, D=3, H1=2, H2=3, K=3, certain=False)
print("bound for a random q:", some_bound.round(2), " exact log p(v):", some_exact.round(2))
for known in (False, True):
    check_bound(np.random.default_rng(10), B=4, D=3, H1=3, H2=2, K=2, certain=known)
### BEGIN HIDDEN TESTS
# Other sizes and distributions q; units that are exactly 0 or 1; known labels.
rng = stattests.grading_rng("bound_label")
for D, H1, H2, K, known in [(4, 3, 2, 4, False), (2, 4, 3, 3, True), (3, 1, 2, 5, True)]:
    check_bound(rng, B=6, D=D, H1=H1, H2=H2, K=K, certain=known)
### END HIDDEN TESTS

# %% [markdown] given="gradient_task"
# ### Gap 5 · The gradient for training (2 points)
#
# Training ascends the bound of gap 4, averaged over a batch of data. With $q$ held fixed its gradient is
#
# $$\Delta\theta = \left\langle -\frac{\partial E(v, \mu_1, \mu_2, \mu_y)}{\partial\theta} \right\rangle_\text{data}
# - \left\langle -\frac{\partial E(v, h_1, h_2, y)}{\partial\theta} \right\rangle_\text{model}.$$
#
# *Positive phase:* `mu1`, `mu2`, `mu_y` are given with the data (where the label of an image is known, its row
# of `mu_y` is one-hot; nothing else changes). *Negative phase:* the chains hand over $v$ and $h_2$ only, M of
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


# %% test="gradient_label" points=2
def check_gradient(rng, B, M, D, H1, H2, K):
    """Compare with automatic differentiation; in the negative phase h1 and y are summed out state by state."""
    theta = random_theta(rng, D, H1, H2, K)
    v, v_chain = (rng.integers(2, size=(n, D)).astype(np.float32) for n in (B, M))
    h2_chain = rng.integers(2, size=(M, H2)).astype(np.float32)
    mu1, mu2 = (rng.uniform(size=(B, n)).astype(np.float32) for n in (H1, H2))
    mu_y = rng.dirichlet(np.ones(K), B).astype(np.float32)
    mu_y[0] = np.eye(K)[0]  # a known label
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
    answer = stattests.call(gradient_label, v, mu1, mu2, mu_y, v_chain, h2_chain, theta)
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
            hint=f"There are {B} rows of data and {M} chains; mean, not sum; positive minus negative; for the chains h1 and y "
            "are conditional means given v and h2, y by a softmax.",
        )


check_gradient(np.random.default_rng(12), B=4, M=4, D=3, H1=2, H2=3, K=2)
check_gradient(np.random.default_rng(13), B=3, M=6, D=2, H1=3, H2=2, K=3)
### BEGIN HIDDEN TESTS
# Other sizes, batches of unequal size.
rng = stattests.grading_rng("gradient_label")
check_gradient(rng, B=7, M=3, D=4, H1=3, H2=3, K=4)
check_gradient(rng, B=2, M=9, D=3, H1=4, H2=1, K=3)
### END HIDDEN TESTS

# %% [markdown] given="wake_sleep_task"
# ## 2 · Wake-sleep with ±1 units
#
# ### Gap 6 · Both phases, any depth (3 points)
#
# A sigmoid belief network is directed throughout: no layer is an RBM. Here its units are −1 or +1. The layers
# are $x_0 = v, x_1, \dots, x_L$ with $n_0, \dots, n_L$ units, and each is drawn given the one above:
#
# $$p(x_L, \dots, x_0) = p(x_L) \prod_{l=0}^{L-1} p(x_l \mid x_{l+1}), \qquad
# p(x_{l,i} = s \mid x_{l+1}) = \frac{e^{s a}}{e^{a} + e^{-a}}, \quad
# a = b_{l,i} + \sum_j W_{l,ij}\, x_{l+1,j},$$
#
# and for the units of the top layer $a = b_{L,i}$ alone. A second, *recognition* network goes up:
# $q(x_{l+1,j} = s \mid x_l)$ has the same form with $a = r_{l,j} + \sum_i x_{l,i} R_{l,ij}$.
#
# - **Wake phase.** For each row of `v` draw $x_1, \dots, x_L$ upwards from the recognition network. Return the
#   gradient of the mean of $\log p(x_0, \dots, x_L)$ over the batch, with respect to all $W_l$ and $b_l$.
# - **Sleep phase.** Dream: draw $x_L, \dots, x_0$ downwards from the generative network, as many dreams as `v`
#   has rows. Return the gradient of the mean of $\log q(x_1, \dots, x_L \mid x_0)$ over the dreams, with respect
#   to all $R_l$ and $r_l$.
#
# The parameters come as lists of arrays: `W` and `R` with L entries of shape $(n_l, n_{l+1})$, `b` with L + 1
# of shape $(n_l,)$, `r` with L of shape $(n_{l+1},)$. Return four lists of the same shapes, `dW, db, dR, dr`.
#
# <details><summary>Hint</summary>
#
# Differentiate $s a - \log(e^a + e^{-a})$ by $a$: what the unit did minus what was expected of it. The mean of
# a ±1 unit is not a logistic function, and its log-odds are not $a$. A loop over the layers does each phase:
# first draw all layers, then collect gradients.
# </details>


# %% solution="wake_sleep"
def wake_sleep(v, W, b, R, r, seed):
    """v: (B, n_0) of −1, +1; W, b, R, r: lists as above; seed: int → four lists dW, db, dR, dr."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    L, B = len(W), len(v)

    def draw(a):  # −1 or +1 with log-odds 2a
        return np.where(rng.random(a.shape) < expit(2 * a), 1.0, -1.0)

    x = [v]
    for l in range(L):
        x.append(draw(r[l] + x[l] @ R[l]))
    error = [x[l] - np.tanh(b[l] + x[l + 1] @ W[l].T) for l in range(L)] + [x[L] - np.tanh(b[L])]
    dW = [error[l].T @ x[l + 1] / B for l in range(L)]
    db = [e.mean(axis=0) for e in error]

    dream = [draw(np.tile(b[L], (B, 1)))]  # from the top; inserted at the front on the way down
    for l in reversed(range(L)):
        dream.insert(0, draw(b[l] + dream[0] @ W[l].T))
    error = [dream[l + 1] - np.tanh(r[l] + dream[l] @ R[l]) for l in range(L)]
    dR = [dream[l].T @ error[l] / B for l in range(L)]
    dr = [e.mean(axis=0) for e in error]
    return dW, db, dR, dr
    ### END SOLUTION


# %% test="wake_sleep" points=3
def random_network(rng, sizes, scale=0.7):
    """W, b, R, r of a network with these numbers of units, from the bottom."""
    pairs = list(zip(sizes[:-1], sizes[1:]))
    shapes = [pairs, [(n,) for n in sizes], pairs, [(n,) for n in sizes[1:]]]
    return [[rng.normal(0, scale, size=s).astype(np.float32) for s in group] for group in shapes]


def call_wake_sleep(v, W, b, R, r, seed):
    """Call the answer and check the shapes: four lists of float64 arrays."""
    answer = stattests.call(wake_sleep, v, W, b, R, r, seed)
    assert isinstance(answer, (tuple, list)) and len(answer) == 4, "return four lists: dW, db, dR, dr"
    result = []
    for name, part, like in zip(["dW", "db", "dR", "dr"], answer, [W, b, R, r]):
        assert isinstance(part, (tuple, list)) and len(part) == len(like), (
            f"{name} must be a list of {len(like)} arrays"
        )
        result.append(
            [
                stattests.assert_array(f"{name}[{l}]", x, y.shape).astype(float)
                for l, (x, y) in enumerate(zip(part, like))
            ]
        )
    return result


def log_joint(x, W, b):
    """x: all layers of N joint states, each (N, n_l) → log p(x_0, …, x_L), (N,)."""
    above = [b[l] + x[l + 1] @ W[l].T for l in range(len(W))] + [b[-1] + 0 * x[-1]]
    return sum(np.sum(s * a - np.logaddexp(a, -a), axis=1) for s, a in zip(x, above))


def log_recognition(x, R, r):
    """x: all layers of N joint states → log q(x_1, …, x_L | x_0), (N,)."""
    below = [r[l] + x[l] @ R[l] for l in range(len(R))]
    return sum(np.sum(s * a - np.logaddexp(a, -a), axis=1) for s, a in zip(x[1:], below))


def slopes(log_prob, x, groups):
    """Derivatives of log_prob(x, *groups) of each state by each parameter, as central differences: (N, …) for each array."""
    groups = [[y.astype(float) for y in group] for group in groups]

    def moved(y, i, step):
        y[i] += step
        value = log_prob(x, *groups)
        y[i] -= step
        return value

    return [
        [
            np.stack(
                [(moved(y, i, 1e-5) - moved(y, i, -1e-5)) / 2e-5 for i in np.ndindex(y.shape)], 1
            ).reshape(-1, *y.shape)
            for y in group
        ]
        for group in groups
    ]


def check_certain(rng, sizes, B):
    """Biases so strong that each phase has one outcome (another with probability below 1e-9): no chance involved.

    Wake states follow the signs of r when these are strong, dreams those of b.
    """
    W, b, R, r = random_network(rng, sizes, 0.3)
    v = rng.choice([-1, 1], (B, sizes[0])).astype(np.float32)
    sure_r, sure_b = ([20 * np.where(y > 0, 1, -1).astype(np.float32) for y in z] for z in (r, b))
    up = [v.astype(float)] + [np.tile(np.sign(y), (B, 1)) for y in sure_r]
    down = [np.tile(np.sign(y), (B, 1)).astype(float) for y in sure_b]
    exact = slopes(log_joint, up, [W, b]) + slopes(log_recognition, down, [R, r])
    seed = int(rng.integers(2**31))
    answer = call_wake_sleep(v, W, b, R, sure_r, seed)[:2] + call_wake_sleep(v, W, sure_b, R, r, seed)[2:]
    for name, values, rights in zip(["dW", "db", "dR", "dr"], answer, exact):
        phase = "wake phase, recognition" if name in ("dW", "db") else "sleep phase, generative"
        for l, (value, right) in enumerate(zip(values, rights)):
            stattests.assert_close(
                f"{name}[{l}] ({phase} biases so strong that nothing is left to chance)",
                value,
                right.mean(axis=0),
                rtol=1e-3,
                atol=1e-3,
                hint="Is it what the unit did minus its mean, times the state on the other side, averaged over the batch?",
            )


def check_expectation(rng, sizes, B=20_000):
    """Each gradient against its exact expectation over all joint states.

    A gradient is a mean over B independent rows of a number in [−2, 2] of known variance: Bernstein's inequality with a union
    bound over all entries. A false alarm has probability below 1e-7 for a call, and there are fewer than 10 calls.
    """
    W, b, R, r = random_network(rng, sizes)
    some = all_states(sizes[0], (-1, 1))[rng.permutation(2 ** sizes[0])[:2]]  # two images, B / 2 rows each
    x = all_joint(*(all_states(n, (-1, 1)) for n in sizes))
    dream = np.exp(log_joint(x, W, b))  # the distribution of the dreams over all joint states
    wake = [
        (x[0] == image).all(axis=1) * np.exp(log_recognition(x, R, r)) for image in some
    ]  # and of the wake states
    exact = slopes(log_joint, x, [W, b]) + slopes(log_recognition, x, [R, r])
    v, seed = np.repeat(some, B // 2, axis=0).astype(np.float32), int(rng.integers(2**31))
    comparisons = sum(y.size for group in (W, b, R, r) for y in group)
    for name, values, rights in zip(["dW", "db", "dR", "dr"], call_wake_sleep(v, W, b, R, r, seed), exact):
        if name in ("dW", "db"):
            laws, why = (
                wake,
                "Wake phase: is each layer drawn from the recognition network, given the states below, with log-odds 2a?",
            )
        else:
            laws, why = (
                [dream],
                "Sleep phase: is each layer drawn from the generative network, given the states above, with log-odds 2a?",
            )
        for l, (value, right) in enumerate(zip(values, rights)):
            means = [np.tensordot(law, right, 1) for law in laws]
            variances = [np.tensordot(law, (right - m) ** 2, 1) for law, m in zip(laws, means)]
            mean, variance = np.mean(means, axis=0), np.mean(variances, axis=0)
            for i in np.ndindex(mean.shape):
                t = stattests.bernstein_tolerance(B, variance[i], 4.0, alpha=1e-7, comparisons=comparisons)
                assert abs(value[i] - mean[i]) <= t, (
                    f"{name}[{l}] of {B:,} rows: the entry {tuple(map(int, i))} is {value[i]:.4f}, but {mean[i]:.4f} ± {t:.4f} "
                    f"is right. {why}"
                )


check_certain(np.random.default_rng(14), sizes=(4, 3, 2), B=5)
check_expectation(np.random.default_rng(15), sizes=(2, 2, 2))
small_example = random_network(np.random.default_rng(16), (6, 3), 0.1)
ones = np.ones((40, 6), np.float32)
seeds = [call_wake_sleep(ones, *small_example, seed) for seed in [0, *range(10)]]
first, again = (np.concatenate([np.ravel(x) for x in sum(answer, [])]) for answer in seeds[:2])
assert np.array_equal(first, again), "the same seed must give the same gradients"
# The gradients of two seeds are equal by chance if 40 rows fall into the 8 patterns of x_1 equally often, with a probability
# below 1e-2; in nine pairs of seeds below 1e-18.
assert any(not np.array_equal(seeds[0][0][0], s[0][0]) for s in seeds), (
    "another seed must give other gradients"
)
assert any(not np.array_equal(seeds[0][2][0], s[2][0]) for s in seeds), "another seed must give other dreams"
### BEGIN HIDDEN TESTS
# Other sizes and depths, from one hidden layer to three; other seeds.
rng = stattests.grading_rng("wake_sleep")
check_certain(rng, sizes=(3, 4), B=7)
check_certain(rng, sizes=(4, 2, 3, 2), B=6)
for sizes in [(3, 2), (2, 2, 3), (2, 1, 2, 2)]:
    check_expectation(rng, sizes)
### END HIDDEN TESTS

# %% [markdown] given="stack_task"
# ## 3 · A deeper stack
#
# ### Gap 7 · Three RBMs, one network (2 points)
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
# the test computes the *exact* likelihood, not a bound: the function that does it is given, and so is a trainer for
# one RBM. You pass with at least **−4.8 nats** per image; the threshold leaves room for bad luck. For comparison: a
# first layer trained as in hint 1 reaches about −6.2 under a uniform $p(h_1)$, and about −5 with a second layer whose
# units $h_2$ are independent and have the right means. Only these widths and images are judged, here with `seed=0`;
# when you hand in, once more with another seed and the pixels in another order. It should take less than 10 seconds.
# How you train is up to you; better is never wrong.
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


# %% test="train_stack" points=2
def judge_stack(images, v, seed, what):
    """Exact mean log-likelihood of the parameters handed over, at least the threshold.

    The threshold is empirical: over 50 seeds, half of them with the pixels in another order, the reference reaches −4.28 to
    −3.77; the worst minus the range is −4.78. With nothing in the third layer it was never better than −4.88.
    """
    widths, D = (12, 10, 10), v.shape[1]
    answer = stattests.call(train_stack, images, widths, seed)
    names = ["W1", "W2", "W3", "b", "c1", "c2", "c3"]
    assert isinstance(answer, (tuple, list)) and len(answer) == 7, f"return seven arrays: {', '.join(names)}"
    shapes = [(D, 12), (12, 10), (10, 10), (D,), (12,), (10,), (10,)]
    parameters = [stattests.assert_array(n, x, s).astype(float) for n, x, s in zip(names, answer, shapes)]
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
# ## 4 · A question to argue (2 points)
#
# The machine of section 1 has been trained, and an image $v$ comes without a label. Two students classify it.
#
# - **Anna** runs mean field with $h_1$, $h_2$ and $y$ unknown (gap 3, to a fixed point), and reads off $\mu_y$.
# - **Ben** clamps $y$ to each of the K classes in turn, runs mean field for $h_1$ and $h_2$ alone, and computes the
#   bound $L_k(v) \le \log p(v, y = e_k)$ of gap 4 each time. His probabilities are the softmax of $L_1, \dots, L_K$.
#
# 1. What does Ben need $\log Z$ for, and how much more does he compute than Anna?
# 2. Show that $\log \sum_k e^{L_k}$ is a lower bound of $\log p(v)$. Why is it at least as high as Anna's bound, if
#    mean field finds the best $q$ in both cases? What can Ben's approximation of the posterior express that Anna's
#    cannot?
# 3. Ben adds: "All my $L_k$ are lower bounds, so my probability of a class is never above the true $p(y = e_k \mid v)$."
#    Is it?
#
# Answer in about 200 words, formulas not counted.

# %% [markdown] argue="argue_two_ways" points=2
# ### BEGIN SOLUTION
# 1. For nothing: $\log Z$ is the same in all $L_k$ and cancels in the softmax. He runs K mean fields in place of one
#    (each a little cheaper, without $y$).
# 2. $p(v) = \sum_k p(v, y = e_k) \ge \sum_k e^{L_k}$, since $e^x$ is increasing. Anna's $q$ has one pair
#    $(\mu_1, \mu_2)$ for all classes. Written out, her bound is $\sum_k \mu_{y,k} (L'_k - \log \mu_{y,k})$, where
#    $L'_k$ is the bound with $y$ clamped to $e_k$ at *her* $\mu_1, \mu_2$. Ben optimises these for each class, so
#    $L_k \ge L'_k$; and $\sum_k \mu_k (L_k - \log \mu_k) \le \log \sum_k e^{L_k}$ for every $\mu$ (Jensen).
#    His $q(h_1, h_2 \mid y)\, q(y)$ is a mixture: the hidden units may look different for each class, so they may
#    depend on the label, and on each other through it. Anna's has to explain an ambiguous image by one compromise.
# 3. No. Each $L_k$ falls short by a gap of its own, and the softmax depends on differences. If the true class has a
#    smaller gap than the others, its probability comes out too high. They cannot all be too low in any case: both
#    his probabilities and the true ones sum to 1.
#
# **Rubric.** ½ for 1 (cancels, K runs); 1 for 2 (½ for the two inequalities, in formulas or in words: an optimum for
# each class, and the best weights of the classes; ½ for the mixture, hidden units that may depend on the class); ½ for
# 3 (differences of bounds are no bounds, or: both sum to 1).
# ### END SOLUTION

# %% [markdown] given="end"
# ---
# Before you hand in: *Kernel → Restart Kernel and Run All Cells*, then the **Validate** button. It runs the
# visible tests.
