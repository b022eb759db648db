# %% [markdown] given="title"
# # Week 13 · Exercise: TODO: what it is about, in a few words
#
# {{colab}}
#
# TODO: what of the preparation is carried over to what else. (The example has spins, −1 or +1, in place of pixels. Each gap
# asks for a variant that the preparation does not show. No TODO may be left.)
#
# **20 points, about 2½ hours.** Four gaps are graded automatically (17 points), a question by a person (3 points).
#
# ## How it works
#
# - Write your answer where it says `raise NotImplementedError`. Keep the names and arguments of the functions.
# - The cell after each gap tests your answer and says what is wrong. When you hand in, further tests run on other inputs.
# - All arrays arrive as NumPy `float32`. Return NumPy arrays or TensorFlow tensors, in `float32` or `float64`. Do not change
#   the arrays that come in.
# - Where a function takes a `seed` (an integer), its randomness depends on nothing else: make one generator by
#   `np.random.default_rng(seed)` and draw everything from it.
# - Each gap is tested on its own, from given values.
#
# **Letters:** B batch, D spins. A vector of spins is a row of its batch.

# %% setup

# %% given="imports"
import itertools

import numpy as np
from scipy.special import expit

from utils import datasets, stattests


def all_spins(D):
    """(2^D, D), all vectors of D spins."""
    return np.array(list(itertools.product([-1, 1], repeat=D)), np.float32)


# %% [markdown] given="log_prob_task"
# ## Gap 1 · A formula (4 points)
#
# TODO: the equation, and what the gap is about. Spins $x_i \in \{-1, +1\}$ are independent with
# $p(x) \propto e^{\theta \cdot x}$. Normalise, and return $\log p(x)$.
#
# <details><summary>Hint</summary>
#
# The sum over all images of a product is a product of D sums with two terms each.
# </details>


# %% solution="log_prob"
def log_prob(x, theta):
    """x: (B, D), −1 or +1; theta: (D,) → (B,) nats."""
    ### BEGIN SOLUTION
    log_z = np.sum(np.logaddexp(theta, -theta))
    return x @ theta - log_z
    ### END SOLUTION


# %% test="log_prob" points=4
# The visible part has stored numbers and special cases; what could be pasted into the gap stands in the hidden part.
x = np.array([[1, -1, 1], [-1, -1, 1]], np.float32)
answer = stattests.call(log_prob, x, np.zeros(3, np.float32))
stattests.assert_close(
    "log p(x) with theta = 0", answer, [-3 * np.log(2)] * 2, hint="All 8 vectors are equally likely."
)
answer = stattests.call(log_prob, x, np.array([0.5, -1, 2], np.float32))
stattests.assert_close("log p(x) with theta = (½, −1, 2)", answer, [-0.458340, -1.458340], rtol=1e-4)
### BEGIN HIDDEN TESTS
# Other parameters and numbers of spins, compared with a sum over all vectors.
rng = stattests.grading_rng("log_prob")
for D in (1, 5):
    theta, x = rng.normal(size=D).astype(np.float32), all_spins(D)
    weight = np.exp(x.astype(float) @ theta.astype(float))
    exact, hint = np.log(weight / weight.sum()), "Do the probabilities of all vectors sum to 1?"
    answer = stattests.call(log_prob, x, theta)
    stattests.assert_close("log p(x)", answer, exact, rtol=1e-4, atol=1e-4, hint=hint)
### END HIDDEN TESTS

# %% [markdown] given="step_task"
# ## Gap 2 · A step of the algorithm (4 points)
#
# TODO: what the step does. One step of gradient ascent on the mean log-likelihood of the batch: return $\theta$ plus
# `rate` times the gradient.
#
# <details><summary>Hint</summary>
#
# The derivative of $\log(e^\theta + e^{-\theta})$ is the mean of a spin.
# </details>


# %% solution="ascent_step"
def ascent_step(x, theta, rate):
    """x: (B, D), −1 or +1; theta: (D,); rate: number → the new theta, (D,)."""
    ### BEGIN SOLUTION
    gradient = x.mean(axis=0) - np.tanh(theta)
    return theta + rate * gradient
    ### END SOLUTION


# %% test="ascent_step" points=4
x = np.array([[1, -1], [1, 1], [1, 1], [-1, 1]], np.float32)
answer = stattests.call(ascent_step, x, np.array([0.2, -0.4], np.float32), 0.5)
stattests.assert_close(
    "theta after the step", answer, [0.351312, 0.039974], rtol=1e-3, hint="Does the likelihood rise?"
)
### BEGIN HIDDEN TESTS
# Other sizes and rates, compared with finite differences of the mean log-likelihood.
rng, e = stattests.grading_rng("ascent_step"), 1e-5


def objective(x, theta):
    return np.mean(x @ theta) - np.log(np.sum(np.exp(all_spins(len(theta)) @ theta)))


for B, D in [(1, 2), (6, 4)]:
    theta, x = rng.normal(size=D).astype(np.float32), rng.choice([-1.0, 1.0], (B, D)).astype(np.float32)
    rate, shifts = float(rng.uniform(0.1, 0.5)), e * np.eye(D)
    gradient = [(objective(x, theta + s) - objective(x, theta - s)) / (2 * e) for s in shifts]
    exact, hint = theta + rate * np.array(gradient), f"There are {B} vectors, the rate is {rate:.2f}."
    answer = stattests.call(ascent_step, x, theta, rate)
    stattests.assert_close("theta after the step", answer, exact, rtol=1e-3, atol=1e-4, hint=hint)
### END HIDDEN TESTS

# %% [markdown] given="draw_task"
# ## Gap 3 · A sampler (4 points)
#
# TODO: what is drawn, and from what. Draw n vectors of independent spins with parameters $\theta$.
#
# <details><summary>Hint</summary>
#
# The log-odds of a spin are $2 \theta_i$.
# </details>


# %% solution="draw"
def draw(theta, n, seed):
    """theta: (D,), n: int, seed: int → (n, D), −1 or +1."""
    ### BEGIN SOLUTION
    u = np.random.default_rng(seed).random((n, len(theta)))
    return np.where(u < expit(2 * theta), 1, -1)
    ### END SOLUTION


# %% test="draw" points=4
def check_share(drawn, exact, what):
    """The share of draws in which something is so, against its probability.

    By Bernstein's inequality, false alarm below one in a million in all (fewer than 20 calls).
    """
    tolerance = stattests.bernstein_tolerance(len(drawn), exact * (1 - exact), 1.0, alpha=5e-8)
    assert abs(np.mean(drawn) - exact) <= tolerance, (
        f"{what} comes up in {np.mean(drawn):.3f} of {len(drawn):,} draws, its probability is {exact:.3f}. Is the log-odds "
        "of a spin right? Is each spin drawn on its own?"
    )


def drawn(theta, N, seed):
    answer = stattests.call(draw, np.array(theta, np.float32), N, seed)
    x = stattests.assert_array("the vectors", answer, (N, len(theta)))
    assert np.isin(x, (-1, 1)).all(), "there are other values than −1 and +1 (probabilities? 0 and 1?)"
    return x


for spin, exact in zip(drawn([0.4, -0.7], 20_000, seed=1).T, [0.689974, 0.197816]):
    check_share(spin == 1, exact, "+1")
assert np.array_equal(drawn([0.0] * 9, 9, 5), drawn([0.0] * 9, 9, 5)), (
    "the same seed must give the same vectors"
)
### BEGIN HIDDEN TESTS
# All vectors of three spins; another seed gives other vectors (equal by chance with probability 2^-100).
rng = stattests.grading_rng("draw")
theta = rng.normal(0, 0.7, size=3)
exact = np.exp(all_spins(3) @ theta.astype(np.float32).astype(float))
x = drawn(theta, 20_000, int(rng.integers(2**31)))
for spins, p in zip(all_spins(3), exact / exact.sum()):
    check_share((x == spins).all(axis=1), p, spins.astype(int))
assert not np.array_equal(drawn([0.0] * 10, 10, 6), drawn([0.0] * 10, 10, 7)), (
    "another seed must give other vectors"
)
### END HIDDEN TESTS

# %% [markdown] given="train_task"
# ## Gap 4 · Training (5 points)
#
# TODO: what is trained and how long it may take. Fit $\theta$ to the binary digits, 0 mapped to −1. The test computes the
# exact log-likelihood of images that the training has not seen: at least **−25.6 nats** per image are needed. More is never
# wrong.
#
# <details><summary>Hint</summary>
#
# Start at 0 and climb; or set the gradient to 0. Pixels that are never inked in training need care.
# </details>

# %% given="spins"
digits = datasets.digits()
spins_train, spins_validation = 2 * digits.train - 1, 2 * digits.validation - 1


# %% solution="train"
def train(x, seed):
    """x: (N, D), −1 or +1; seed: int → theta (D,), trained."""
    ### BEGIN SOLUTION
    theta = np.zeros(x.shape[1])
    for _ in range(300):
        theta = theta + 0.5 * (x.mean(axis=0) - np.tanh(theta))
    return theta
    ### END SOLUTION


# %% test="train" points=5
def reached(theta, x):
    """The mean log-likelihood of x (N, D), in nats, from the definition."""
    return np.mean(x @ theta) - np.sum(np.logaddexp(theta, -theta))


trained = stattests.assert_array("theta", stattests.call(train, spins_train, 0), (64,)).astype(float)
value = reached(trained, spins_validation)
print(f"{value:.2f} nats per image on the validation part")
assert value >= -25.6, (
    f"{value:.2f} nats per image reached, at least −25.6 expected. Is it trained to the end, are all images used?"
)
### BEGIN HIDDEN TESTS
# The likelihood of images that the training has never seen, the test part. TODO: the threshold is empirical: say what 50
# seeds reach. (In the example there is no chance: −25.25.)
rng = stattests.grading_rng("train")
part = rng.permutation(2 * digits.test - 1)[:390]
value = reached(trained, part)
assert value >= -25.9, f"only {value:.2f} nats per image on unseen images"
### END HIDDEN TESTS

# %% [markdown] given="argue_task"
# ## A question to argue (3 points)
#
# TODO: a question without an easy answer, to be answered in about 150 words.

# %% [markdown] argue="argue" points=3
# ### BEGIN SOLUTION
# TODO: the answer that one hopes for.
#
# **Rubric.** TODO: what gives each point.
# ### END SOLUTION

# %% [markdown] given="end"
# ---
# Before you hand in: *Kernel → Restart Kernel and Run All Cells*, then the **Validate** button. It runs the visible tests.
