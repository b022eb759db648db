# %% [markdown] given="title"
# # Week 6 · Exercise: Other latents, other data
#
# {{colab}}
#
# The preparation's VAE had a diagonal Gaussian encoder, a standard normal prior and binary pixels. Here you
# change all three:
#
# - a **sparse prior**, an encoder on the **unit interval**, and one with **binary latents**;
# - **grey levels** as counts, and any prior, for which the KL divergence has **no closed form**;
# - completing an image **from weighted candidates**, with a number that says how far to trust it;
# - a VAE for grey digits of your own, judged by its re-evaluated bound.
#
# **20 points, about 2½ hours.** Six gaps are graded automatically (18 points), a question by a person (2
# points).
#
# ## How it works
#
# - Write your answer where it says `raise NotImplementedError`. Keep the names and arguments of the functions.
# - The cell after each gap tests your answer and says what is wrong. When you hand in, further tests run on
#   other inputs.
# - All arrays of numbers arrive as NumPy `float32` (tensors where the test differentiates). Return NumPy arrays or TensorFlow tensors, in `float32` or
#   `float64`, as you like (gap 2: TensorFlow). Do not change the arrays that come in.
# - Some functions get a function as an argument. It takes an array or a tensor of `float32` or `float64`
#   numbers and returns a tensor of the same type; `.numpy()` makes an array of it. Where a shape begins with
#   `...`, any number of further axes may stand there, also none.
# - Each gap is tested on its own, from given values. If your answer calls your function from an earlier gap,
#   make that one pass first.
#
# **The logistic function.** Three gaps need $\sigma(a) = 1 / (1 + e^{-a})$ and its logarithm, also for logits $a$
# of several hundred, where $\sigma(a)$ rounds to 0 or 1. `expit(a)` and `log_expit(a)` of SciPy, or `tf.sigmoid`
# and `tf.math.log_sigmoid`, compute $\sigma(a)$ and $\log \sigma(a)$ without overflow. And $1 - \sigma(a) =
# \sigma(-a)$.
#
# **Letters:** B batch, D data, L latent, K samples, S samples of the noise, M candidates. Points are rows. A
# quantity called `kl` is the divergence itself, not its negative.

# %% setup

# %% given="imports"
import keras
import numpy as np
import tensorflow as tf
from scipy.special import erf, expit, gammaln, log_expit, logsumexp
from scipy.stats import binom, laplace, multivariate_normal, norm

from utils import datasets, gradients, stattests

# %% [markdown] given="kl_task"
# ## 1 · Other priors and encoders
#
# ### Gap 1 · KL divergence to a sparse prior (3 points, 15 minutes)
#
# A Laplace prior wants most latents near 0 and a few far away, so each image uses only some of them:
#
# $$p(z) = \prod_{l=1}^{L} \frac{1}{2 b_l}\, e^{-|z_l| / b_l}.$$
#
# The encoder returns $\mu$ and $\log s$ of $q(z \mid x) = \mathcal{N}(\mu, \operatorname{diag}(s^2))$. Return
# $\mathrm{KL}(q \,\|\, p) = \mathbb{E}_q[\log q(z \mid x)] - \mathbb{E}_q[\log p(z)]$ for each image, in closed
# form. The one integral that is not obvious is, for $z \sim \mathcal{N}(\mu, s^2)$,
#
# $$\mathbb{E}\,|z| = s \sqrt{2 / \pi}\; e^{-\mu^2 / (2 s^2)} + \mu\, \operatorname{erf}\left(\frac{\mu}{s \sqrt{2}}\right).$$
#
# <details><summary>Hint</summary>
#
# $\mathbb{E}_q[\log q]$ does not depend on $\mu$: take the logarithm of the Gaussian's density, then its mean.
# `erf` is imported from SciPy; `tf.math.erf` will do as well.
# </details>


# %% solution="kl_laplace"
def kl_laplace(mu, log_s, b):
    """mu and log_s: (B, L), b: (L,) → KL(q ‖ p) (B,) in nats."""
    ### BEGIN SOLUTION
    s = np.exp(log_s)
    absolute = s * np.sqrt(2 / np.pi) * np.exp(-(mu**2) / (2 * s**2)) + mu * erf(mu / (s * np.sqrt(2)))
    mean_log_q = -0.5 * np.log(2 * np.pi) - log_s - 0.5  # (B, L)
    mean_log_p = -np.log(2 * b) - absolute / b  # (B, L)
    return np.sum(mean_log_q - mean_log_p, axis=1)
    ### END SOLUTION


# %% test="kl_laplace" points=3
KL_HINT = (
    "The mean of log q − log p, a sum over the latents. Is a constant missing? For each latent ½ log 2π = 0.919, log 2 = 0.693 and "
    "½ play a part; log_s is the logarithm of the standard deviation."
)
value = stattests.call(
    kl_laplace,
    np.array([[0], [1.5], [-3]], np.float32),
    np.array([[0], [-1], [0.5]], np.float32),
    np.ones(1, np.float32),
)
exact = [0.0721, 1.7742, 1.8190]
stattests.assert_close("KL with one latent and b = 1", value, exact, rtol=1e-3, atol=1e-3, hint=KL_HINT)
value = stattests.call(
    kl_laplace,
    np.array([[0, 0], [1.5, -0.5], [-2, 3], [0.2, 1]], np.float32),
    np.array([[0, 0], [-1, 0.5], [0.3, -2], [-3, 1]], np.float32),
    np.array([2, 0.5], np.float32),
)
exact = [0.5431, 2.5495, 7.2897, 5.2764]
stattests.assert_close("KL with b = (2, 0.5)", value, exact, rtol=1e-3, atol=1e-3, hint=KL_HINT)
### BEGIN HIDDEN TESTS
# Other sizes, means, standard deviations and widths.


def check_kl(rng, B, L, spread=1.0):
    """Compare with the integral of q (log q − log p), one latent at a time, by the trapezoidal rule."""
    mu, log_s = rng.normal(0, 1.5 * spread, size=(B, L)), rng.normal(-0.5, 0.7 * spread, size=(B, L))
    b = np.exp(rng.normal(0, 0.6, size=L))
    mu, log_s, b = (a.astype(np.float32) for a in (mu, log_s, b))
    exact = np.zeros(B)
    for i in range(B):
        for j in range(L):
            mean, s, width = float(mu[i, j]), float(np.exp(log_s[i, j])), float(b[j])
            z = np.linspace(mean - 10 * s, mean + 10 * s, 8001)
            log_q = norm.logpdf(z, mean, s)
            exact[i] += np.trapezoid(np.exp(log_q) * (log_q - laplace.logpdf(z, 0, width)), z)
    value = stattests.call(kl_laplace, mu, log_s, b)
    stattests.assert_close(f"KL with B = {B}, L = {L}", value, exact, rtol=1e-3, atol=1e-3, hint=KL_HINT)


rng = stattests.grading_rng("kl_laplace")
check_kl(rng, B=6, L=4)
check_kl(rng, B=3, L=3)
check_kl(rng, B=1, L=5)
check_kl(rng, B=8, L=2, spread=3.0)
### END HIDDEN TESTS

# %% [markdown] given="sample_task"
# ### Gap 2 · Reparameterise a Kumaraswamy distribution (2 points, 12 minutes)
#
# For latents between 0 and 1 one would like a beta distribution, but that is hard to reparameterise. The
# Kumaraswamy distribution looks much like it and has a simple distribution function, so Nalisnick and Smyth (2017,
# *Stick-breaking variational autoencoders*) took it for the encoder of a VAE:
#
# $$F(z) = P(Z \le z) = 1 - (1 - z^a)^b, \qquad 0 < z < 1, \quad a, b > 0.$$
#
# The network returns $\log a$ and $\log b$, so that $a$ and $b$ are positive. Given uniform numbers $u$, return
# the $z$ with $F(z) = u$, for each entry. The gradients with respect to $\log a$ and $\log b$ must flow through
# your $z$, so compute with TensorFlow from beginning to end. The test differentiates your function.
#
# <details><summary>Hint</summary>
#
# Solve $F(z) = u$ for $z$, from outside to inside. NumPy functions and `.numpy()` cut the gradient: write
# `tf.exp`, not `np.exp`.
# </details>


# %% solution="sample_kumaraswamy"
def sample_kumaraswamy(log_a, log_b, u):
    """log_a, log_b: (B, L), u: (B, L) in (0, 1) → z (B, L) with F(z) = u, a tensor."""
    ### BEGIN SOLUTION
    a, b = tf.exp(log_a), tf.exp(log_b)
    return (1 - (1 - u) ** (1 / b)) ** (1 / a)
    ### END SOLUTION


# %% test="sample_kumaraswamy" points=2
def check_gradient(log_a, log_b, u, exact_a, exact_b):
    found = gradients.grad_of(sample_kumaraswamy, [log_a.copy(), log_b.copy(), u.copy()], wrt=[0, 1])
    for name, value, exact in zip(["log_a", "log_b"], found, [exact_a, exact_b]):
        assert value is not None, (
            f"no gradient reaches {name}: is z computed from it by TensorFlow throughout, without np. and .numpy()?"
        )
        hint = "z itself is right: does the gradient flow through all of its parts?"
        stattests.assert_close(f"dz/d{name}", value, exact, rtol=5e-3, atol=5e-4, hint=hint)


log_a, log_b = np.array([[0, 0.7], [-0.5, 0.3]], np.float32), np.array([[0.5, 0], [0.8, -0.4]], np.float32)
u = np.array([[0.2, 0.6], [0.5, 0.9]], np.float32)
z = stattests.call(sample_kumaraswamy, log_a, log_b, u)
z = stattests.assert_array("z", z, (2, 2)).astype(float)
assert np.all((z > 0) & (z < 1)), (
    f"z must lie between 0 and 1, the smallest is {z.min():.3g}, the largest {z.max():.3g}"
)
stattests.assert_close(
    "F(z)",
    1 - (1 - z ** np.exp(log_a)) ** np.exp(log_b),
    u,
    rtol=1e-3,
    hint="F(z) = u must hold for each entry, with a = exp(log_a) and b = exp(log_b).",
)
check_gradient(
    log_a, log_b, u, [[0.26163, 0.19683], [0.24732, 0.02368]], [[-0.11821, -0.23538], [-0.15992, -0.08270]]
)
### BEGIN HIDDEN TESTS
# Other parameters, uniform numbers and sizes: z itself, and its gradients.


def check_kumaraswamy(rng, B, L):
    """z by bisection, and the derivatives dz/dθ = −(∂F/∂θ) / (∂F/∂z), which follow from F(z) = u alone."""
    log_a, log_b = rng.uniform(-0.7, 1, size=(B, L)), rng.uniform(-0.7, 1, size=(B, L))
    log_a, log_b, u = (v.astype(np.float32) for v in (log_a, log_b, rng.uniform(0.02, 0.97, size=(B, L))))
    a, b, goal = (np.exp(log_a.astype(float)), np.exp(log_b.astype(float)), u.astype(float))
    z = np.full((B, L), 0.5)
    for step in 0.25 * 0.5 ** np.arange(40):
        z = z + np.where(1 - (1 - z**a) ** b < goal, step, -step)
    density = a * b * z ** (a - 1) * (1 - z**a) ** (b - 1)
    exact_a = -b * (1 - z**a) ** (b - 1) * z**a * np.log(z) * a / density
    exact_b = (1 - z**a) ** b * np.log(1 - z**a) * b / density
    value = stattests.call(sample_kumaraswamy, log_a, log_b, u)
    stattests.assert_close(
        f"z, (B, L) = ({B}, {L})", value, z, rtol=2e-3, atol=1e-4, hint="F(z) = u for each entry."
    )
    check_gradient(log_a, log_b, u, exact_a, exact_b)


rng = stattests.grading_rng("sample_kumaraswamy")
check_kumaraswamy(rng, B=6, L=3)
check_kumaraswamy(rng, B=20, L=1)
### END HIDDEN TESTS

# %% [markdown] given="score_task"
# ### Gap 3 · Binary latents: a score-function gradient with leave-one-out baseline (4 points, 30 minutes)
#
# Let $q(z \mid x) = \prod_l \sigma(\lambda_l)^{z_l} (1 - \sigma(\lambda_l))^{1 - z_l}$, with logits $\lambda$. One
# *can* draw $z$ from noise that knows nothing of $\lambda$: $z_l = 1$ where $u_l < \sigma(\lambda_l)$, else 0. But
# this $z$ is a step: its derivative by $\lambda$ is 0 wherever it exists, so the reparameterised gradient is of no
# use. The score function needs no derivative of $z$. With $f(z) = \log p(x, z) - \log q(z \mid x)$, the gradient of
# the ELBO is
#
# $$\nabla_\lambda\, \mathbb{E}_q[f(z)] = \mathbb{E}_q\left[f(z)\, \nabla_\lambda \log q(z \mid x)\right].$$
#
# ($f$ depends on $\lambda$ too, by its $\log q$, but that part of the gradient has mean 0. In $g$ below, $f$ is a
# plain number.)
#
# Take K samples for each image, and as the baseline of each sample the mean of the *others* of the same image
# (Kool et al., 2019, *Buy 4 REINFORCE samples, get a baseline for free!*):
#
# $$g = \frac{1}{K} \sum_{k=1}^{K} \left( f(z_k) - \frac{1}{K - 1} \sum_{j \ne k} f(z_j) \right) \nabla_\lambda \log
# q(z_k \mid x).$$
#
# Draw $z_{kbl} = 1$ where $u_{kbl} < \sigma(\lambda_{bl})$, else 0, as floats. Return $g$ for each image. Work out
# $\nabla_\lambda \log q$ on paper: it is short. Logits may be large.
#
# <details><summary>Hint</summary>
#
# $\log q$ is a sum over $l$ of `log_expit(logits)` where z is 1 and of `log_expit(-logits)` where it is 0. Its
# derivative: that of $\log \sigma(\lambda)$ is $1 - \sigma(\lambda)$. The sum of the others is the sum of all minus
# the own value.
# </details>


# %% solution="score_gradient"
def score_gradient(log_joint, logits, u):
    """logits: (B, L), u: (K, B, L), K ≥ 2 → g (B, L).

    log_joint: z (..., B, L) of floats 0 and 1 → log p(x, z) (..., B), where B stays the batch of logits.
    """
    ### BEGIN SOLUTION
    K = len(u)
    p = expit(logits)
    z = (u < p).astype(np.float32)  # (K, B, L)
    log_q = np.sum(log_expit(np.where(z == 1, logits, -logits)), axis=2)  # (K, B)
    f = log_joint(z).numpy() - log_q
    others = (f.sum(axis=0) - f) / (K - 1)
    return np.mean((f - others)[:, :, None] * (z - p), axis=0)
    ### END SOLUTION


# %% test="score_gradient" points=4
def small_log_joint(z):
    """Some log p(x, z): 3 + c_b · z + w z_1 z_2, with a c_b for each image b."""
    z = tf.convert_to_tensor(z)
    assert z.dtype.is_floating, f"log_joint takes floats, not {z.dtype.name}: make z float32 or float64"
    return 3 + tf.reduce_sum(z * tf.cast(SLOPES, z.dtype), axis=-1) + COUPLING * z[..., 0] * z[..., 1]


SCORE_HINT = (
    "f is log p(x, z) minus log q(z | x), a sum over l. The baseline of sample k is the mean of the K − 1 others of its image. The "
    "last factor is the derivative by the logit, not by the probability. With a tape, f must be a constant (tf.stop_gradient)."
)
logits = np.array([[0.5, -1], [2, 0]], np.float32)
u = np.array([[[0.3, 0.1], [0.7, 0.6]], [[0.8, 0.2], [0.95, 0.4]], [[0.9, 0.9], [0.2, 0.1]]], np.float32)
# Here q is the posterior: log p(x, z) − log q(z | x) is the same for all z.
SLOPES, COUPLING = logits.copy(), 0.0
g = stattests.call(score_gradient, small_log_joint, logits, u)
stattests.assert_close(
    "g where q is the exact posterior, so that f is the same for all z",
    g,
    np.zeros((2, 2)),
    atol=2e-3,
    hint=SCORE_HINT,
)
SLOPES, COUPLING = np.array([[1.3, -2.2], [0.6, 2.9]], np.float32), 1.7
g = stattests.call(score_gradient, small_log_joint, logits, u)
stattests.assert_close(
    "g with K = 3, B = 2, L = 2",
    g,
    [[0.6333, 0.0167], [-0.6667, 1.4833]],
    rtol=2e-3,
    atol=2e-3,
    hint=SCORE_HINT,
)
g = stattests.call(score_gradient, small_log_joint, np.array([[300, -300], [2, 0]], np.float32), u)
stattests.assert_close(
    "g with logits of ±300", g, [[0, 0], [-0.6667, 1.4833]], rtol=2e-3, atol=2e-3, hint=SCORE_HINT
)
### BEGIN HIDDEN TESTS
# Other models, sizes and logits, also large ones; and the mean of g over all samples is the exact gradient.


def quadratic_log_joint(z):
    """Some log p(x, z): zᵀ A z + c_b z, with a c_b for each image b."""
    z = tf.convert_to_tensor(z)
    assert z.dtype.is_floating, f"log_joint takes floats, not {z.dtype.name}: make z float32 or float64"
    A, c = tf.cast(JOINT["A"], z.dtype), tf.cast(JOINT["c"], z.dtype)
    return tf.reduce_sum((tf.tensordot(z, A, 1) + c) * z, axis=-1)


def check_score(rng, K, B, L, scale=1.0):
    """Compare with another way to write g: the unbiased sample covariance of f and z over the K samples."""
    global JOINT
    JOINT = {"A": rng.normal(size=(L, L)), "c": rng.normal(size=(B, L))}
    logits = (scale * rng.normal(size=(B, L))).astype(np.float32)
    p = 1 / (1 + np.exp(-logits.astype(float)))
    z = (rng.random((K, B, L)) < p).astype(float)
    u = np.where(z == 1, p * rng.uniform(0.1, 0.9, z.shape), 1 - (1 - p) * rng.uniform(0.1, 0.9, z.shape))
    f = np.sum((z @ JOINT["A"] + JOINT["c"]) * z, axis=2)
    f -= np.sum(-np.logaddexp(0, logits * (1 - 2 * z)), axis=2)
    exact = np.sum((f - f.mean(axis=0))[:, :, None] * (z - z.mean(axis=0)), axis=0) / (K - 1)
    what = f"g with K = {K}, B = {B}, L = {L}" + (", large logits" if scale > 9 else "")
    g = stattests.call(score_gradient, quadratic_log_joint, logits, u.astype(np.float32))
    stattests.assert_close(what, g, exact, rtol=2e-3, atol=2e-3, hint=SCORE_HINT)


def check_unbiased(rng):
    """Sixteen images with the same q and x, one for each pair of states of two binary latents: the mean of g, weighted with
    the probability of each pair, must be the exact gradient, a sum over the four states."""
    global JOINT
    JOINT = {"A": rng.normal(size=(2, 2)), "c": np.tile(rng.normal(size=2), (16, 1))}
    logits = rng.normal(size=2).astype(np.float32)
    p = 1 / (1 + np.exp(-logits.astype(float)))
    states = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    q = np.prod(np.where(states == 1, p, 1 - p), axis=1)
    f = np.sum((states @ JOINT["A"] + JOINT["c"][0]) * states, axis=1) - np.log(q)
    exact = (q * f) @ (states - p)
    pairs = np.stack([np.repeat(states, 4, axis=0), np.tile(states, (4, 1))])  # (2, 16, 2)
    u = np.where(pairs == 1, p / 2, (1 + p) / 2).astype(np.float32)
    g = stattests.call(score_gradient, quadratic_log_joint, np.tile(logits, (16, 1)), u)
    mean = np.repeat(q, 4) * np.tile(q, 4) @ stattests.assert_array("g", g, (16, 2)).astype(float)
    what = "the mean of g over all pairs of samples, against the exact gradient"
    stattests.assert_close(what, mean, exact, rtol=2e-3, atol=2e-3)


rng = stattests.grading_rng("score_gradient")
check_score(rng, K=3, B=5, L=4)
check_score(rng, K=8, B=1, L=3)
check_score(rng, K=2, B=3, L=2)
check_score(rng, K=6, B=4, L=5, scale=60.0)
check_unbiased(rng)
### END HIDDEN TESTS

# %% [markdown] given="elbo_task"
# ## 2 · Other data, other priors
#
# ### Gap 4 · The terms of an ELBO for counts (3 points, 25 minutes)
#
# The grey digits have levels 0 to 16. As counts out of $n = 16$ they suit a **binomial** likelihood: with
# logits $a_i$ from the decoder,
#
# $$\log p(x \mid z) = \sum_{i=1}^{D} \left( \log \binom{n}{x_i} + x_i \log \sigma(a_i) + (n - x_i) \log (1 -
# \sigma(a_i)) \right).$$
#
# As in gap 1, `encode(x)` returns $\mu$ and $\log s$ of a Gaussian $q(z \mid x)$. But the prior is arbitrary: all
# that you have is its `log_prior(z)`. Then KL has no closed form, and both terms are estimated with the same S
# samples $z_1, \dots, z_S$ for each image, $z_j = \mu + s \odot \epsilon_j$:
#
# $$\mathbb{E}_q[\log p(x \mid z)] \approx \frac{1}{S} \sum_j \log p(x \mid z_j), \qquad
# \mathrm{KL} \approx \frac{1}{S} \sum_j \left( \log q(z_j \mid x) - \log p(z_j) \right).$$
#
# Return the two for each image (their difference is the ELBO). No constant may be left out. The noise
# $\epsilon$ is given. Logits of several hundred must do no harm.
#
# <details><summary>Hint</summary>
#
# `gammaln(x + 1)` of SciPy and `tf.math.lgamma(x + 1)` are $\log x!$; $n$ is a whole number, which `tf.math.lgamma`
# does not take: write `n + 1.0`. In $\log q(z_j \mid x)$ the squared, standardised distance from $\mu$ is
# $\epsilon_j^2$. Nothing is differentiated here: make arrays of what `encode`, `decode` and `log_prior` return, by
# `.numpy()`, and go on with NumPy.
# </details>


# %% solution="elbo_terms"
def elbo_terms(encode, decode, log_prior, x, noise, n):
    """encode: x (B, D) → mu and log_s, (B, L) each; decode: z (..., L) → logits (..., D); log_prior: z (..., L) → (...).

    x: (B, D), counts from 0 to n, noise: (S, B, L) → logpx_z (B,) and kl (B,) in nats, means over the S samples.
    """
    ### BEGIN SOLUTION
    mu, log_s = (t.numpy() for t in encode(x))
    z = mu + np.exp(log_s) * noise  # (S, B, L)
    logits = decode(z).numpy()  # (S, B, D)
    log_choose = gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1)
    logpx_z = np.sum(log_choose + x * log_expit(logits) + (n - x) * log_expit(-logits), axis=2)
    logqz_x = np.sum(-(noise**2) / 2 - log_s - np.log(2 * np.pi) / 2, axis=2)
    kl = logqz_x - log_prior(z).numpy()
    return logpx_z.mean(axis=0), kl.mean(axis=0)
    ### END SOLUTION


# %% test="elbo_terms" points=3
def count_encode(x):
    x = tf.convert_to_tensor(x)
    A, C = tf.cast(COUNTS["A"], x.dtype), tf.cast(COUNTS["C"], x.dtype)
    return tf.matmul(x, A), tf.tanh(tf.matmul(x, C)) - 0.5


def count_decode(z):
    z = tf.convert_to_tensor(z)
    return tf.tensordot(z, tf.cast(COUNTS["W"], z.dtype), 1) + tf.cast(COUNTS["bias"], z.dtype)


def count_log_prior(z):
    """The logarithm of the density of a Laplace distribution with b = 1 in each of two dimensions."""
    z = tf.convert_to_tensor(z)
    return -tf.reduce_sum(tf.abs(z), axis=-1) - 1.3862944


def call_elbo(log_prior, x, noise, n):
    answer = stattests.call(elbo_terms, count_encode, count_decode, log_prior, x, noise, n)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return two arrays: logpx_z and kl"
    return answer


PIXEL_HINT = "A sum over pixels and a mean over samples; n − x zeros, and the binomial coefficient."
KL_TERM_HINT = (
    "log q − log p at the samples: a sum over latents, a mean over samples. Is a constant missing? ½ log 2π is 0.919 for each latent. "
    "encode returns the log of the standard deviation."
)
COUNTS = {
    "A": np.array([[0.1, -0.05], [0, 0.08]]),
    "C": np.array([[-0.1, 0.05], [0.02, 0]]),
    "W": np.array([[1, -0.5], [0.3, 2]]),
    "bias": np.array([0.2, -1]),
}
x = np.array([[0, 16], [5, 9], [12, 1]], np.float32)
noise = np.array([[[0.5, -1], [1.5, 0], [-0.3, 0.8]], [[-1, 0.2], [0.1, -0.6], [2, -1.2]]], np.float32)
answer = call_elbo(count_log_prior, x, noise, 16)
stattests.assert_close(
    "logpx_z", answer[0], [-20.0482, -13.3256, -4.6960], rtol=1e-3, atol=1e-2, hint=PIXEL_HINT
)
stattests.assert_close("kl", answer[1], [1.3237, 1.0516, 1.7594], rtol=2e-3, atol=5e-3, hint=KL_TERM_HINT)

# One pixel with the levels 0 to 5 as six images, the same z for all: the six probabilities must sum to 1.
COUNTS = {"A": np.zeros((1, 2)), "C": np.zeros((1, 2)), "W": np.ones((2, 1)), "bias": np.zeros(1)}
logpx_z = call_elbo(
    count_log_prior, np.arange(6, dtype=np.float32)[:, None], np.full((1, 6, 2), 0.4, np.float32), 5
)[0]
total = np.exp(stattests.assert_array("logpx_z", logpx_z, (6,)).astype(float)).sum()
assert abs(total - 1) < 1e-3, (
    f"with n = 5 the probabilities of the levels 0 to 5 sum to {total:.4f}, not to 1. {PIXEL_HINT}"
)

# Logits of +400 and −400: full and empty pixels are certain, one count less of 16 has the probability 16 e^−400.
COUNTS = {"A": np.zeros((2, 2)), "C": np.zeros((2, 2)), "W": np.zeros((2, 2)), "bias": np.array([400, -400])}
x = np.array([[16, 0], [15, 0], [15, 1]], np.float32)
logpx_z = call_elbo(count_log_prior, x, np.zeros((1, 3, 2), np.float32), 16)[0]
exact = [0, np.log(16) - 400, 2 * np.log(16) - 800]
stattests.assert_close("logpx_z with logits of ±400", logpx_z, exact, rtol=1e-3, atol=1e-2, hint=PIXEL_HINT)
### BEGIN HIDDEN TESTS
# Other models, priors, sizes and numbers of levels; large logits.


def mixture_log_prior(z):
    """A mixture of two Gaussians with unit covariance, at +c and −c, with weights 0.3 and 0.7."""
    z = tf.convert_to_tensor(z)
    c = tf.cast(COUNTS["centre"], z.dtype)
    plus, minus = (-tf.reduce_sum((z - sign * c) ** 2, axis=-1) / 2 for sign in (1, -1))
    constant = len(COUNTS["centre"]) / 2 * float(np.log(2 * np.pi))
    parts = tf.stack([plus + float(np.log(0.3)), minus + float(np.log(0.7))])
    return tf.reduce_logsumexp(parts, axis=0) - constant


def check_elbo(rng, S, B, D, L, n, scale=1.0):
    """Compare with SciPy's densities, sample by sample."""
    global COUNTS
    x = rng.binomial(n, rng.random((B, D)))
    COUNTS = {
        "A": rng.normal(size=(D, L)) / (n * np.sqrt(D)),
        "C": rng.normal(size=(D, L)) / (n * np.sqrt(D)),
        "W": scale * rng.normal(size=(L, D)),
        "bias": scale * rng.normal(size=D),
        "centre": rng.normal(0, 1.5, size=L),
    }
    x, noise = x.astype(np.float32), rng.normal(size=(S, B, L)).astype(np.float32)
    mu, log_s = x.astype(float) @ COUNTS["A"], np.tanh(x.astype(float) @ COUNTS["C"]) - 0.5
    z = mu + np.exp(log_s) * noise
    logits = z @ COUNTS["W"] + COUNTS["bias"]
    if scale < 9:
        logpx_z = binom.logpmf(x, n, 1 / (1 + np.exp(-logits))).sum(axis=2)
    else:  # probabilities round to 0 and 1
        log_choose = [
            [np.log(float(np.prod(np.arange(1, k + 1) + n - k) / np.prod(np.arange(1, k + 1)))) for k in row]
            for row in x
        ]
        logpx_z = (log_choose - x * np.logaddexp(0, -logits) - (n - x) * np.logaddexp(0, logits)).sum(axis=2)
    logqz_x = norm.logpdf(z, mu, np.exp(log_s)).sum(axis=2)
    densities = [multivariate_normal.pdf(z, sign * COUNTS["centre"], np.eye(L)) for sign in (1, -1)]
    logpz = np.log(0.3 * densities[0] + 0.7 * densities[1]).reshape(S, B)
    answer = call_elbo(mixture_log_prior, x, noise, n)
    what = f"with S = {S}, n = {n}" + (", logits of several hundred" if scale > 9 else "")
    exact = logpx_z.mean(axis=0)
    stattests.assert_close(f"logpx_z {what}", answer[0], exact, rtol=1e-3, atol=1e-2, hint=PIXEL_HINT)
    exact = (logqz_x - logpz).mean(axis=0)
    stattests.assert_close(f"kl {what}", answer[1], exact, rtol=2e-3, atol=5e-3, hint=KL_TERM_HINT)


rng = stattests.grading_rng("elbo_terms")
check_elbo(rng, S=7, B=5, D=9, L=2, n=16)
check_elbo(rng, S=3, B=1, D=5, L=4, n=5)
check_elbo(rng, S=1, B=4, D=4, L=3, n=1)  # binary pixels
check_elbo(rng, S=4, B=6, D=3, L=3, n=9, scale=80.0)
### END HIDDEN TESTS

# %% [markdown] given="complete_task"
# ## 3 · Importance weights put to use
#
# ### Gap 5 · Complete an image from weighted candidates (3 points, 25 minutes)
#
# The preparation completed images by a chain. In a small model no chain is needed: take M **candidates** for the
# causes of any image, $c_1, \dots, c_M$ with probabilities $p(c_m)$ that sum to 1. (Each may be a draw $z_m$ from the
# prior; or a draw with a class beside it, which the decoder gets too.) The decoder makes $a_{mi}$ of them, the logits
# of binary pixels, $p(x_i = 1 \mid c_m) = \sigma(a_{mi})$. Of each image some pixels are known, others not, not the
# same ones in each image. **For each image:**
#
# 1. weight the candidates by $w_m = p(c_m) \prod_{i\ \text{known}} p(x_i \mid c_m)$;
# 2. draw **one** of them, with probabilities $w_m / \sum_j w_j$: with a uniform number $u$ it is the first $m$ for
#    which $(w_1 + \dots + w_m) / \sum_j w_j$ exceeds $u$;
# 3. draw each missing pixel from this candidate: 1 where its own uniform number is below $\sigma(a_{mi})$, else 0.
#
# This is *sampling importance resampling* (Rubin, 1987). All missing pixels of an image come from one cause and so fit
# each other; a mean over all candidates would be a blur. To say how far to trust it, return the **effective sample
# size** of the weights as well (Kong, 1992),
#
# $$\mathrm{ESS} = \frac{\left(\sum_m w_m\right)^2}{\sum_m w_m^2},$$
#
# which is M where all weights are equal, and 1 where one candidate carries all the weight. The products get as small
# as $e^{-1000}$: compute with $\log w_m$, and subtract the largest before you take the exponential.
#
# <details><summary>Hint</summary>
#
# A loop over the images is fine. For one image, `known = ~np.isnan(x[b])`, and `logits[:, known]` are the logits of
# its known pixels, (M, number of known ones). `np.cumsum` gives the cumulative sums, `np.argmax(cumulative > u)` the
# first that exceeds $u$. `x.copy()`, then fill in.
# </details>


# %% solution="complete"
def complete(log_prior, logits, x, u_candidate, u_pixels):
    """log_prior: (M,) = log p(c_m); logits: (M, D); x: (B, D), 0 or 1, NaN where missing.

    u_candidate: (B,) and u_pixels: (B, D), uniform numbers → completed x (B, D) of 0 and 1, ESS (B,).
    """
    ### BEGIN SOLUTION
    log_one, log_zero = log_expit(logits), log_expit(-logits)  # (M, D)
    log_w = log_prior + (x == 1) @ log_one.T + (x == 0) @ log_zero.T  # (B, M), NaN is neither 0 nor 1
    w = np.exp(log_w - log_w.max(axis=1, keepdims=True))
    w = w / w.sum(axis=1, keepdims=True)
    chosen = np.argmax(np.cumsum(w, axis=1) > u_candidate[:, None], axis=1)  # (B,)
    drawn = u_pixels < expit(logits[chosen])  # (B, D)
    return np.where(np.isnan(x), drawn, x), 1 / np.sum(w**2, axis=1)
    ### END SOLUTION


# %% test="complete" points=3
ESS_HINT = "The weights hold p(c) and the known pixels of the image, no others. The square of the sum above, the sum of the squares below."
COMPLETE_HINT = (
    "Is the candidate the first whose cumulative share of the weights exceeds u, do all missing pixels of the image come from this "
    "one, and are they 1 where their own uniform number is below σ(a)?"
)


def check_complete(what, log_prior, logits, x, u_candidate, u_pixels, exact, exact_ess):
    arguments = [np.asarray(v, np.float32) for v in (log_prior, logits, x, u_candidate, u_pixels)]
    known = ~np.isnan(arguments[2])
    answer = stattests.call(complete, *arguments)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, (
        "return two arrays: the completed x, and the ESS"
    )
    stattests.assert_close(f"ESS, {what}", answer[1], exact_ess, rtol=2e-3, atol=1e-3, hint=ESS_HINT)
    new = stattests.assert_array(f"the completed x, {what}", answer[0], known.shape)
    assert np.array_equal(new[known], arguments[2][known]), "the known pixels must keep their values"
    assert np.isin(new, (0, 1)).all(), (
        "missing pixels have other values than 0 and 1: return drawn pixels, not probabilities"
    )
    wrong = np.any(new != exact, axis=1)
    assert not wrong.any(), (
        f"{what}: {wrong.sum()} of {len(wrong)} images are completed wrongly, the first is image {np.argmax(wrong)}. {COMPLETE_HINT}"
    )


prior = np.log([0.5, 0.3, 0.2])
patterns = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 1, 1, 0]])
check_complete(
    "nothing known, so that the weights are p(c)",
    *(prior, 40 * (2 * patterns - 1), np.full((2, 4), np.nan), [0.7, 0.9], np.full((2, 4), 0.5)),
    exact=patterns[1:],
    exact_ess=np.full(2, 1 / 0.38),
)
logits = [[0.5, -1, 2, 0], [-0.5, 1.5, 0.3, -2], [1, 0, -1, 0.7]]
x = np.array([[1, 0, np.nan, np.nan], [np.nan, 1, np.nan, 0], [np.nan, np.nan, 0, np.nan], [1, np.nan, 1, 1]])
u_pixels = [[0.3, 0.1, 0.8, 0.6], [0.5, 0.9, 0.7, 0.2], [0.1, 0.4, 0.6, 0.9], [0.2, 0.7, 0.5, 0.4]]
check_complete(
    "three candidates, other pixels missing in each image",
    *(prior, logits, x, [0.9, 0.5, 0.4, 0.1], u_pixels),
    exact=[[1, 0, 0, 1], [0, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 1]],
    exact_ess=[1.7941, 1.9150, 2.6973, 1.4983],
)
patterns = np.tile(patterns, 1000)  # 4,000 pixels, all but four known
strength = np.where(np.arange(4000) % 2, 40, 0.5)
x = np.where(np.arange(4000) < 4, np.nan, patterns)
check_complete(
    "4,000 pixels with logits of ±0.5 and ±40, so that one candidate is certain",
    *(prior, strength * (2 * patterns - 1), x, [0.1, 0.5, 0.9], np.full((3, 4000), 0.5)),
    exact=patterns,
    exact_ess=np.ones(3),
)
### BEGIN HIDDEN TESTS
# Other candidates, sizes and images; all pixels known, none known; many pixels.


def check_random(rng, M, D, B, missing, scale=1.5):
    """Each weight a product over its known pixels, one factor after the other; the uniform numbers keep away from all limits."""
    log_prior = np.log(rng.dirichlet(np.full(M, 3.0)))
    logits = (scale * rng.normal(size=(M, D))).astype(np.float32)
    p = 1 / (1 + np.exp(-logits.astype(float)))
    truth = (rng.random((B, D)) < p[rng.integers(M, size=B)]).astype(float)
    x = np.where(rng.random((B, D)) < missing, np.nan, truth)
    ess, u_candidate, u_pixels, exact = np.zeros(B), np.zeros(B), np.zeros((B, D)), x.copy()
    for b in range(B):
        log_w = [
            log_prior[m]
            + sum(np.log(p[m, i] if x[b, i] == 1 else 1 - p[m, i]) for i in range(D) if x[b, i] >= 0)
            for m in range(M)
        ]
        share = np.exp(np.array(log_w) - logsumexp(log_w))
        ess[b] = 1 / np.sum(share**2)
        m = rng.choice(np.flatnonzero(share > 0.5 / M))
        u_candidate[b] = share[:m].sum() + rng.uniform(0.1, 0.9) * share[m]
        for i in range(D):
            one = rng.random() < p[m, i]
            part = rng.uniform(0.1, 0.9)
            u_pixels[b, i] = part * p[m, i] if one else p[m, i] + part * (1 - p[m, i])
            exact[b, i] = one if np.isnan(x[b, i]) else x[b, i]
    what = f"{M} candidates, {D} pixels, {missing:.0%} of them missing"
    check_complete(what, log_prior, logits, x, u_candidate, u_pixels, exact, ess)


rng = stattests.grading_rng("complete")
check_random(rng, M=5, D=6, B=40, missing=0.5)
check_random(rng, M=20, D=12, B=30, missing=0.7)
check_random(rng, M=3, D=4, B=6, missing=1.0)
check_random(rng, M=4, D=5, B=6, missing=0.0)
check_random(rng, M=6, D=3000, B=4, missing=0.3)
check_random(rng, M=1, D=5, B=3, missing=0.5)
### END HIDDEN TESTS

# %% [markdown] given="train_task"
# ## 4 · A VAE for grey digits
#
# ### Gap 6 · Train it (3 points, 25 minutes)
#
# `build_networks` makes an encoder and a decoder for the grey digits (levels 0 to 16, which enter the network
# divided by 16). The encoder returns $\mu$ and $\log s$ side by side, (B, 2L), the decoder the logits of gap
# 4's binomial likelihood. The prior is $\mathcal{N}(0, I)$, so the KL divergence has a closed form again. Train both
# networks by the ELBO, and stop early by the validation part. It takes 5 to 15 seconds; the grader stops a run after
# two minutes.
#
# You hand over the weights of both networks (`get_weights()`), and the test evaluates the ELBO itself. You pass with
# at least **−108 nats per image** on the validation part; when you hand in, also on the test part, which no training
# has seen. The threshold leaves room for bad luck. For comparison: independent binomial pixels reach −254. Only
# `seed=0` is judged.
#
# <details><summary>Hint</summary>
#
# The preparation's class with another likelihood: a `keras.Model` that gets the two networks, whose `call(x)` returns
# the ELBO of each image and adds the loss by `self.add_loss(-tf.reduce_mean(elbo))`. Keep $x$ as counts in the
# likelihood; the binomial coefficient does not depend on the networks and may be left out of the loss. Then `compile`
# with `keras.optimizers.Adam(0.01)` (the default rate of 0.001 is too slow) and a `steps_per_execution` of 12, an epoch
# of batches of 100; and `fit` for up to 50 epochs with `validation_data=(x_validation,)`, `verbose=0` and
# `keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)`. `keras.utils.set_random_seed(seed)` comes
# first.
# </details>

# %% given="grey_data"
LEVELS, LATENT = 16, 16
grey = datasets.digits("grey")  # levels 0 to 16; train (1197, 64), validation (200, 64), test (400, 64)


def build_networks():
    """→ encoder: x / 16 (B, 64) → mu and log s, side by side (B, 2L); decoder: z (B, L) → logits (B, 64)."""
    encoder = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(100, activation="relu"), keras.layers.Dense(2 * LATENT)]
    )
    decoder = keras.Sequential(
        [keras.Input((LATENT,)), keras.layers.Dense(100, activation="relu"), keras.layers.Dense(64)]
    )
    return encoder, decoder


# %% solution="train_vae"
def train_vae(x_train, x_validation, seed):
    """x_train: (N, 64), x_validation: (V, 64), counts → encoder.get_weights(), decoder.get_weights(): two lists of four arrays."""
    ### BEGIN SOLUTION
    keras.utils.set_random_seed(seed)

    class CountVAE(keras.Model):
        def __init__(self, encoder, decoder):
            super().__init__()
            self.encoder, self.decoder = encoder, decoder

        def call(self, x):
            """x: (B, 64) counts → (B,) nats: the ELBO from one sample, without the binomial coefficients."""
            mu, log_s = tf.split(self.encoder(x / LEVELS), 2, axis=1)
            z = mu + tf.exp(log_s) * tf.random.normal(tf.shape(mu))
            a = self.decoder(z)
            logpx_z = tf.reduce_sum(x * a - LEVELS * tf.nn.softplus(a), axis=1)
            kl = tf.reduce_sum((tf.exp(2 * log_s) + mu**2 - 1) / 2 - log_s, axis=1)
            elbo = logpx_z - kl
            self.add_loss(-tf.reduce_mean(elbo))
            return elbo

    vae = CountVAE(*build_networks())
    vae.compile(keras.optimizers.Adam(0.01), steps_per_execution=12)
    stop = keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)
    vae.fit(x_train, validation_data=(x_validation,), batch_size=100, epochs=50, callbacks=[stop], verbose=0)
    return vae.encoder.get_weights(), vae.decoder.get_weights()
    ### END SOLUTION


# %% test="train_vae" points=3
def mean_elbo(x, encoder, decoder, rng, S=20):
    """x: (B, 64) counts → the ELBO in nats, a mean over the images and S samples of z for each."""
    mu, log_s = np.split(encoder(x / LEVELS).numpy().astype(float), 2, axis=1)
    q = norm(mu, np.exp(log_s))
    z = q.rvs((S, *mu.shape), random_state=rng)
    a = decoder(z.reshape(-1, LATENT).astype(np.float32)).numpy().astype(float).reshape(S, *x.shape)
    logpx_z = binom.logpmf(x, LEVELS, expit(a)).sum(axis=2)
    return np.mean(logpx_z + norm.logpdf(z).sum(axis=2) - q.logpdf(z).sum(axis=2))


answer = stattests.call(train_vae, grey.train, grey.validation, 0)
assert isinstance(answer, (tuple, list)) and len(answer) == 2, (
    "return two lists: the weights of encoder and decoder"
)
trained = build_networks()
for name, network, weights in zip(["encoder", "decoder"], trained, answer):
    assert isinstance(weights, (tuple, list)) and len(weights) == 4, f"four arrays expected for the {name}"
    network.set_weights(
        [
            stattests.assert_array(f"{name}, array {i}", w, v.shape, most=1000)
            for i, (w, v) in enumerate(zip(weights, network.weights))
        ]
    )
reached = mean_elbo(grey.validation, *trained, rng=np.random.default_rng(0))
print(f"{reached:.1f} nats per image on the validation part, {-reached / 64 / np.log(2):.2f} bits per pixel")
assert reached >= -108, (
    f"{reached:.1f} nats per image reached, at least −108 expected. Is x the counts in the likelihood and x / 16 in the encoder, "
    "is KL subtracted (a sum over the latents), does the second half of the encoder's output mean log s? Is the rate about 0.01 "
    "(Adam's default of 0.001 is too slow), do the epochs suffice?"
)
### BEGIN HIDDEN TESTS
# The ELBO again with other samples, and on images that the training has never seen, the test part.
# The threshold is empirical: over 50 seeds the reference reaches −102.2 to −99.6 on the validation part and −100.8 to −98.1 on
# the test part; the worst minus the range is −104.8 and −103.5. Three nats more are left for other ways to train.
rng = stattests.grading_rng("train_vae")
again = mean_elbo(grey.validation, *trained, rng=rng)
held_out = mean_elbo(grey.test, *trained, rng=rng)
assert min(again, held_out) >= -108, (
    f"only {again:.1f} nats per image with other samples, {held_out:.1f} on the test part: was the model fitted to the validation part?"
)
### END HIDDEN TESTS

# %% [markdown] given="argue_task"
# ## 5 · A question to argue (2 points, 15 minutes)
#
# Three VAEs for the same data, all in nats per image on the same test images. $\mathcal{L}_K$ is the importance
# weighted bound with K samples; the effective sample size (ESS, gap 5) is that of the 5,000 importance weights of an
# image, its mean over the images.
#
# | model | logpx_z | kl | ELBO | $\mathcal{L}_{50}$ | $\mathcal{L}_{5000}$ | ESS |
# |---|---|---|---|---|---|---|
# | A | −65.2 | 22.8 | −88.0 | −87.3 | −87.2 | 1,050 |
# | B | −69.1 | 23.4 | −92.5 | −86.8 | −85.1 | 9 |
# | C | −95.0 | 0.0 | −95.0 | −95.0 | −95.0 | 5,000 |
#
# 1. Which of A and B has, as far as the table tells, the higher likelihood? What do the ELBOs say about the encoders, and for which model
#    would more importance samples change the last bound?
# 2. "C has the best encoder, its ESS is perfect." What has happened in C?
# 3. To evaluate B, someone fits $\mu$ and $\log s$ to each *test* image, by gradient ascent on its ELBO, and
#    then computes $\mathcal{L}_{5000}$ with these. Is this training on the test data? Is the result still a
#    bound, and may it be compared with A's?
#
# Answer in about 150 words.

# %% [markdown] argue="argue_bounds" points=2
# ### BEGIN SOLUTION
# 1. B, very probably: all columns are lower bounds (on average), and B's $-85.1$ lies above A's $-87.2$, which
#    has settled: 50 and 5,000 samples agree within 0.1, and about 1,000 of 5,000 samples count. ELBO and $\log
#    p$ differ by KL(q ‖ posterior): about 0.8 for A, at least 7.4 for B. So B has the better decoder and the
#    worse encoder, and the ELBO alone ranks them the wrong way round. B's bound rests on 9 samples an image
#    and would still rise; A's and C's would not. (A large ESS is no proof: if q misses a part of the posterior, no sample
#    tells.)
# 2. Collapse. With KL 0 the encoder returns the prior for every image; the decoder ignores $z$, so the
#    posterior *is* the prior, and q is exact. All weights are equal and all bounds are the exact $\log p(x)$. A
#    perfect encoder of nothing: C is no better than a model without latents.
# 3. No. $\log p(x)$ depends on decoder and prior only, which stay as they are; q is a tool to compute it. Any q
#    gives a lower bound, a better one a tighter bound (the amortisation gap goes), as long as the 5,000 samples
#    are drawn afresh after the fit: with the noise that q was fitted to, the estimate would be too high. It may be compared with any
#    other bound on the same images, best if A is treated in the same way. What would be training on test data:
#    adapting the decoder, the prior, or choices such as the number of epochs.
#
# **Rubric.** ½ for B with the reason that both are lower bounds of different tightness; ½ for the gaps read as
# KL(q ‖ posterior) and B's as not settled; ½ for collapse and why the weights are equal; ½ for "q does not
# belong to the model, any q gives a bound"; that the samples must be fresh is welcome, not asked for.
# ### END SOLUTION

# %% [markdown] given="end"
# ---
# Before you hand in: *Kernel → Restart Kernel and Run All Cells*, then the **Validate** button. It runs the
# visible tests.
