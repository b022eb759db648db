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
# - the importance weighted bound with its own **quality check** and a **correction**;
# - drawing missing pixels *and* the class **from the posterior**, and a trained VAE of your own, judged by its
#   re-evaluated bound.
#
# **20 points, about 3 hours.** Seven gaps are graded automatically (18 points), a question by a person (2
# points).
#
# ## How it works
#
# - Write your answer where it says `raise NotImplementedError`. Keep the names and arguments of the functions.
# - The cell after each gap tests your answer and says what is wrong. When you hand in, further tests run on
#   other inputs.
# - All arrays of numbers arrive as NumPy `float32`. Return NumPy arrays or TensorFlow tensors, in `float32` or
#   `float64`, as you like (gap 2: TensorFlow). Do not change the arrays that come in.
# - Some functions get a function as an argument. It takes an array or a tensor of `float32` or `float64`
#   numbers and returns a tensor of the same type; `.numpy()` makes an array of it. Where a shape begins with
#   `...`, any number of further axes may stand there, also none.
# - Each gap is tested on its own, from given values. If your answer calls your function from an earlier gap,
#   make that one pass first.
#
# **Letters:** B batch, D data, L latent, K importance samples, C classes. Points are rows. A quantity called
# `kl` is the divergence itself, not its negative.

# %% setup

# %% given="imports"
import keras
import numpy as np
import tensorflow as tf
from scipy.special import erf, gammaln, logsumexp, softmax
from scipy.stats import binom, laplace, multivariate_normal, norm

from utils import datasets, gradients, stattests

# %% [markdown] given="kl_task"
# ## 1 · Other priors and encoders
#
# ### Gap 1 · KL divergence to a sparse prior (2 points)
#
# A Laplace prior wants most latents near 0 and a few far away, so each image uses only some of them:
#
# $$p(z) = \prod_{l=1}^{L} \frac{1}{2 b_l}\, e^{-|z_l| / b_l}.$$
#
# The encoder is the preparation's, $q(z \mid x) = \mathcal{N}(\mu, \operatorname{diag}(s^2))$, and returns
# $\mu$ and $\log s$. Return $\mathrm{KL}(q \,\|\, p) = \mathbb{E}_q[\log q(z \mid x)] - \mathbb{E}_q[\log
# p(z)]$ for each image, in closed form. The one integral that is not obvious is, for $z \sim \mathcal{N}(\mu,
# s^2)$,
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


# %% test="kl_laplace" points=2
def check_kl(rng, B, L, b=None):
    """Compare with the integral of q (log q − log p), one latent at a time, by the trapezoidal rule."""
    mu, log_s = rng.normal(0, 1.5, size=(B, L)), rng.normal(-0.5, 0.7, size=(B, L))
    b = np.full(L, b) if b else np.exp(rng.normal(0, 0.6, size=L))
    mu, log_s, b = (a.astype(np.float32) for a in (mu, log_s, b))
    exact = np.zeros(B)
    for i in range(B):
        for j in range(L):
            mean, s, width = float(mu[i, j]), float(np.exp(log_s[i, j])), float(b[j])
            z = np.linspace(mean - 10 * s, mean + 10 * s, 8001)
            log_q = norm.logpdf(z, mean, s)
            exact[i] += np.trapezoid(np.exp(log_q) * (log_q - laplace.logpdf(z, 0, width)), z)
    stattests.assert_close(
        f"the KL divergence with B = {B}, L = {L}",
        kl_laplace(mu.copy(), log_s.copy(), b.copy()),
        exact,
        rtol=1e-3,
        atol=1e-3,
        hint="The mean of log q − log p, a sum over the latents. Are both constants there, that of the Gaussian and log 2b?",
    )


check_kl(np.random.default_rng(0), B=4, L=1, b=1.0)
check_kl(np.random.default_rng(1), B=5, L=3)
### BEGIN HIDDEN TESTS
# Other sizes, means, standard deviations and widths.
rng = stattests.grading_rng("kl_laplace")
check_kl(rng, B=6, L=4)
check_kl(rng, B=3, L=3)
check_kl(rng, B=1, L=5)
### END HIDDEN TESTS

# %% [markdown] given="sample_task"
# ### Gap 2 · Reparameterise a Kumaraswamy distribution (2 points)
#
# For latents between 0 and 1 one would like a beta distribution, but that is hard to reparameterise. The
# Kumaraswamy distribution looks much like it and has a simple distribution function,
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
def check_kumaraswamy(rng, B, L):
    """F(z) = u, and the derivatives dz/dθ = −(∂F/∂θ) / (∂F/∂z), which follow from F(z) = u alone."""
    log_a, log_b = rng.uniform(-0.7, 1, size=(B, L)), rng.uniform(-0.7, 1, size=(B, L))
    log_a, log_b, u = (a.astype(np.float32) for a in (log_a, log_b, rng.uniform(0.05, 0.95, size=(B, L))))
    a, b, goal = (np.exp(log_a.astype(float)), np.exp(log_b.astype(float)), u.astype(float))
    z = np.full((B, L), 0.5)
    for step in 0.25 * 0.5 ** np.arange(40):  # bisection
        z = z + np.where(1 - (1 - z**a) ** b < goal, step, -step)
    hint = f"F(z) = u must hold for each entry. (B, L) = ({B}, {L})."
    value = sample_kumaraswamy(log_a.copy(), log_b.copy(), u.copy())
    stattests.assert_close("z", value, z, rtol=2e-3, atol=1e-4, hint=hint)
    density = a * b * z ** (a - 1) * (1 - z**a) ** (b - 1)
    exact_a = -b * (1 - z**a) ** (b - 1) * z**a * np.log(z) * a / density
    exact_b = (1 - z**a) ** b * np.log(1 - z**a) * b / density
    found = gradients.grad_of(sample_kumaraswamy, [log_a, log_b, u], wrt=[0, 1])
    for name, value, exact in zip(["log_a", "log_b"], found, [exact_a, exact_b]):
        assert value is not None, (
            f"no gradient reaches {name}: is z computed from it, by TensorFlow throughout?"
        )
        stattests.assert_close(f"dz/d{name}", value, exact, rtol=5e-3, atol=5e-4, hint="z itself is right.")


check_kumaraswamy(np.random.default_rng(0), B=3, L=2)
check_kumaraswamy(np.random.default_rng(1), B=1, L=4)
### BEGIN HIDDEN TESTS
# Other parameters, uniform numbers and sizes.
rng = stattests.grading_rng("sample_kumaraswamy")
check_kumaraswamy(rng, B=6, L=3)
check_kumaraswamy(rng, B=20, L=1)
### END HIDDEN TESTS

# %% [markdown] given="score_task"
# ### Gap 3 · Binary latents: a score-function gradient with leave-one-out baseline (3 points)
#
# Binary latents cannot be reparameterised: there is no slope to follow. Let $q(z \mid x) = \prod_l
# \sigma(\lambda_l)^{z_l} (1 - \sigma(\lambda_l))^{1 - z_l}$ with logits $\lambda$ and the logistic function
# $\sigma$, and $f(z) = \log p(x, z) - \log q(z \mid x)$. The gradient of the ELBO is
#
# $$\nabla_\lambda\, \mathbb{E}_q[f(z)] = \mathbb{E}_q\left[f(z)\, \nabla_\lambda \log q(z \mid x)\right].$$
#
# ($f$ depends on $\lambda$ too, by its $\log q$, but that part of the gradient has mean 0. In $g$ below, $f$ is a
# plain number.)
#
# Take K samples for each image, and as the baseline of each sample the mean of the *others* of the same image:
#
# $$g = \frac{1}{K} \sum_{k=1}^{K} \left( f(z_k) - \frac{1}{K - 1} \sum_{j \ne k} f(z_j) \right) \nabla_\lambda \log
# q(z_k \mid x).$$
#
# Draw $z_{kbl} = 1$ where $u_{kbl} < \sigma(\lambda_{bl})$, else 0. Return $g$ for each image. Work out
# $\nabla_\lambda \log q$ on paper: it is short. Logits may be large: where a sigmoid rounds to 1, no logarithm
# of 0 may appear.
#
# <details><summary>Hint</summary>
#
# $\log \sigma(\lambda) = -\log(1 + e^{-\lambda})$ and $1 - \sigma(\lambda) = \sigma(-\lambda)$;
# `np.logaddexp(0, x)` and `tf.nn.softplus(x)` compute $\log(1 + e^x)$. The sum of the others is the sum of all
# minus the own value.
# </details>


# %% solution="score_gradient"
def score_gradient(log_joint, logits, u):
    """logits: (B, L), u: (K, B, L) → g (B, L).

    log_joint: z (..., B, L) of floats 0 and 1 → log p(x, z) (..., B), where B stays the batch of logits.
    """
    ### BEGIN SOLUTION
    K = len(u)
    p = (1 + np.tanh(logits / 2)) / 2  # the logistic function, no overflow
    z = (u < p).astype(np.float32)  # (K, B, L)
    log_q = np.sum(-np.logaddexp(0, np.where(z == 1, -logits, logits)), axis=2)  # (K, B)
    f = log_joint(z).numpy() - log_q
    others = (f.sum(axis=0) - f) / (K - 1)
    return np.mean((f - others)[:, :, None] * (z - p), axis=0)
    ### END SOLUTION


# %% test="score_gradient" points=3
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
    stattests.assert_close(
        f"g with K = {K}, B = {B}, L = {L}" + (", large logits" if scale > 9 else ""),
        score_gradient(quadratic_log_joint, logits.copy(), u.astype(np.float32)),
        exact,
        rtol=2e-3,
        atol=2e-3,
        hint="f is log p(x, z) minus log q(z | x), a sum over l. The baseline of sample k is the mean of the K − 1 others. "
        "The last factor is the derivative by the logit, not by the probability. With a tape, f must be a constant "
        "(tf.stop_gradient).",
    )


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
    g = score_gradient(quadratic_log_joint, np.tile(logits, (16, 1)), u)
    g = stattests.assert_array("g", g, (16, 2)).astype(float)
    mean = np.repeat(q, 4) * np.tile(q, 4) @ g
    stattests.assert_close(
        "the mean of g over all pairs of samples, against the exact gradient",
        mean,
        exact,
        rtol=2e-3,
        atol=2e-3,
    )
    print(f"mean of g over all pairs: {mean}, exact gradient: {exact}")


check_score(np.random.default_rng(0), K=2, B=3, L=2)
check_score(np.random.default_rng(1), K=5, B=4, L=3)
check_score(np.random.default_rng(2), K=4, B=3, L=2, scale=60.0)
check_unbiased(np.random.default_rng(3))
### BEGIN HIDDEN TESTS
# Other models, sizes and logits, also large ones; unbiased again.
rng = stattests.grading_rng("score_gradient")
check_score(rng, K=3, B=5, L=4)
check_score(rng, K=8, B=1, L=3)
check_score(rng, K=6, B=4, L=5, scale=60.0)
check_unbiased(rng)
### END HIDDEN TESTS

# %% [markdown] given="elbo_task"
# ## 2 · Other data, other priors
#
# ### Gap 4 · The terms of an ELBO for counts (3 points)
#
# The grey digits have levels 0 to 16. As counts out of $n = 16$ they suit a **binomial** likelihood: with
# logits $a_i$ from the decoder,
#
# $$\log p(x \mid z) = \sum_{i=1}^{D} \left( \log \binom{n}{x_i} + x_i \log \sigma(a_i) + (n - x_i) \log (1 -
# \sigma(a_i)) \right).$$
#
# The encoder is the preparation's, $q(z \mid x) = \mathcal{N}(\mu, \operatorname{diag}(s^2))$; `encode(x)`
# returns $\mu$ and $\log s$. But the prior is arbitrary: all that you have is its `log_prior(z)`. Then KL has
# no closed form, and both terms are estimated with the same S samples $z_1, \dots, z_S$ for each image, $z_j =
# \mu + s \odot \epsilon_j$:
#
# $$\mathbb{E}_q[\log p(x \mid z)] \approx \frac{1}{S} \sum_j \log p(x \mid z_j), \qquad
# \mathrm{KL} \approx \frac{1}{S} \sum_j \left( \log q(z_j \mid x) - \log p(z_j) \right).$$
#
# Return the two for each image (their difference is the ELBO). No constant may be left out. The noise
# $\epsilon$ is given. Logits of several hundred must do no harm.
#
# <details><summary>Hint</summary>
#
# The logarithms of the sigmoids as in gap 3. `tf.math.lgamma(x + 1)` and `scipy.special.gammaln(x + 1)` are
# $\log x!$; $n$ is a whole number, which `tf.math.lgamma` does not take: write `n + 1.0`. In $\log q(z_j \mid
# x)$ the squared, standardised distance from $\mu$ is $\epsilon_j^2$. If TensorFlow complains about `float` and
# `double`, a NumPy number has slipped in: write `float(np.log(2 * np.pi))`.
# </details>


# %% solution="elbo_terms"
def elbo_terms(encode, decode, log_prior, x, noise, n):
    """encode: x (B, D) → mu and log_s, (B, L) each; decode: z (..., L) → logits (..., D); log_prior: z (..., L) → (...).

    x: (B, D), counts from 0 to n, noise: (S, B, L) → logpx_z (B,) and kl (B,) in nats, means over the S samples.
    """
    ### BEGIN SOLUTION
    mu, log_s = encode(x)
    z = mu + tf.exp(log_s) * noise  # (S, B, L)
    logits = decode(z)  # (S, B, D)
    log_choose = gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1)
    logpx_z = tf.reduce_sum(log_choose + x * logits - n * tf.nn.softplus(logits), axis=2)
    logqz_x = tf.reduce_sum(-(noise**2) / 2 - log_s - float(np.log(2 * np.pi)) / 2, axis=2)
    return tf.reduce_mean(logpx_z, axis=0), tf.reduce_mean(logqz_x - log_prior(z), axis=0)
    ### END SOLUTION


# %% test="elbo_terms" points=3
def count_encode(x):
    x = tf.convert_to_tensor(x)
    A, C = tf.cast(COUNTS["A"], x.dtype), tf.cast(COUNTS["C"], x.dtype)
    return tf.matmul(x, A), tf.tanh(tf.matmul(x, C)) - 0.5


def count_decode(z):
    z = tf.convert_to_tensor(z)
    return tf.tensordot(z, tf.cast(COUNTS["W"], z.dtype), 1) + tf.cast(COUNTS["bias"], z.dtype)


def mixture_log_prior(z):
    """A mixture of two Gaussians with unit covariance, at +c and −c, with weights 0.3 and 0.7."""
    z = tf.convert_to_tensor(z)
    c = tf.cast(COUNTS["centre"], z.dtype)
    plus, minus = (-tf.reduce_sum((z - sign * c) ** 2, axis=-1) / 2 for sign in (1, -1))
    constant = len(COUNTS["centre"]) / 2 * float(np.log(2 * np.pi))
    return (
        tf.reduce_logsumexp(tf.stack([plus + float(np.log(0.3)), minus + float(np.log(0.7))]), axis=0)
        - constant
    )


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
    one = np.eye(L)
    densities = [multivariate_normal.pdf(z, sign * COUNTS["centre"], one) for sign in (1, -1)]
    logpz = np.log(0.3 * densities[0] + 0.7 * densities[1]).reshape(S, B)
    answer = elbo_terms(count_encode, count_decode, mixture_log_prior, x.copy(), noise.copy(), n)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return two arrays: logpx_z and kl"
    what = f"S = {S}, n = {n}" + (", logits of several hundred" if scale > 9 else "")
    stattests.assert_close(
        f"logpx_z with {what}",
        answer[0],
        logpx_z.mean(axis=0),
        rtol=1e-3,
        atol=1e-2,
        hint="A sum over pixels, a mean over samples, and the binomial coefficient.",
    )
    stattests.assert_close(
        f"kl with {what}",
        answer[1],
        (logqz_x - logpz).mean(axis=0),
        rtol=2e-3,
        atol=5e-3,
        hint="log q − log p at the samples, with the Gaussian's constant; encode returns the log of the standard deviation.",
    )


check_elbo(np.random.default_rng(0), S=1, B=3, D=4, L=2, n=1)  # n = 1: binary pixels
check_elbo(np.random.default_rng(1), S=5, B=4, D=6, L=3, n=16)
check_elbo(np.random.default_rng(2), S=2, B=3, D=4, L=2, n=16, scale=80.0)
### BEGIN HIDDEN TESTS
# Other models, sizes and numbers of levels; large logits.
rng = stattests.grading_rng("elbo_terms")
check_elbo(rng, S=7, B=5, D=9, L=2, n=16)
check_elbo(rng, S=3, B=1, D=5, L=4, n=5)
check_elbo(rng, S=4, B=6, D=3, L=3, n=9, scale=80.0)
### END HIDDEN TESTS

# %% [markdown] given="iwae_task"
# ## 3 · Importance samples
#
# ### Gap 5 · A bound, its quality and its correction (3 points)
#
# Given are log-weights $\log w_{kb} = \log p(x_b, z_k) - \log q(z_k \mid x_b)$, K samples for each image.
# Return three numbers for each image:
#
# 1. the importance weighted bound $\mathcal{L}_K = \log \frac{1}{K} \sum_k w_k$;
# 2. the **effective sample size** $\left(\sum_k w_k\right)^2 / \sum_k w_k^2$. It is K if all weights are equal,
#    and 1 if one sample carries all the weight, when the bound is not to be trusted;
# 3. the **jackknife** estimate of $\log p(x)$. For large K the bound's bias is about a constant over K; this
#    term cancels in
#
# $$J = K\, \mathcal{L}_K - (K - 1)\, \frac{1}{K} \sum_{k=1}^{K} \mathcal{L}_{-k}, \qquad
# \mathcal{L}_{-k} = \log \frac{1}{K - 1} \sum_{j \ne k} w_j.$$
#
# $J$ is usually closer to $\log p(x)$, but no longer a lower bound. Three warnings. Log-weights are about −1,000
# here. One weight may be $10^{20}$ times the sum of the others, so that sum cannot be had as the sum of all minus
# the own weight. And the two terms of $J$ are huge and nearly equal: subtract the largest log-weight first and add
# it in the end, or compute in `float64`.
#
# <details><summary>Hint</summary>
#
# `scipy.special.logsumexp` and `tf.reduce_logsumexp` are stable; the logarithm of the effective sample size is
# a difference of two of them. For $\mathcal{L}_{-k}$ a loop over k that leaves out row k will do
# (`np.delete(log_w, k, axis=0)`).
# </details>


# %% solution="iwae_terms"
def iwae_terms(log_w):
    """log_w: (K, B), K ≥ 2 → the bound (B,), the effective sample size (B,), the jackknife estimate (B,)."""
    ### BEGIN SOLUTION
    K = len(log_w)
    log_w = log_w.astype(float)
    bound = logsumexp(log_w, axis=0) - np.log(K)
    ess = np.exp(2 * logsumexp(log_w, axis=0) - logsumexp(2 * log_w, axis=0))
    left_out = [logsumexp(np.delete(log_w, k, axis=0), axis=0) - np.log(K - 1) for k in range(K)]
    return bound, ess, K * bound - (K - 1) * np.mean(left_out, axis=0)
    ### END SOLUTION


# %% test="iwae_terms" points=3
def check_iwae(log_w, what):
    """Compare with the definitions, in floats scaled by the largest weight of each sum."""
    log_w = np.asarray(log_w, np.float32)
    K, B = log_w.shape

    def log_mean(values):
        top = values.max()
        return top + np.log(np.mean(np.exp(values - top)))

    bound, ess, jackknife = np.zeros(B), np.zeros(B), np.zeros(B)
    for b, column in enumerate(log_w.T.astype(float)):
        w = np.exp(column - column.max())
        bound[b], ess[b] = log_mean(column), w.sum() ** 2 / np.sum(w**2)
        others = [log_mean(np.concatenate([column[:k], column[k + 1 :]])) for k in range(K)]
        jackknife[b] = K * bound[b] - (K - 1) * np.mean(others)
    answer = iwae_terms(log_w.copy())
    assert isinstance(answer, (tuple, list)) and len(answer) == 3, (
        "return three arrays: the bound, the effective sample size, the jackknife estimate"
    )
    hints = [
        "A mean of the weights inside the logarithm, over the K samples; the batch has its own axis.",
        "Both sums over the K samples; the square of the sum above, the sum of the squares below.",
        "L_−k is a mean over K − 1 weights, and there are K of them.",
    ]
    names = ["the bound", "the effective sample size", "the jackknife estimate"]
    for name, value, exact, hint in zip(names, answer, [bound, ess, jackknife], hints):
        stattests.assert_close(
            f"{name}, {what} (K = {K}, B = {B})", value, exact, rtol=2e-5, atol=1e-2, hint=hint
        )


check_iwae(np.random.default_rng(0).normal(size=(3, 4)), "small log-weights")
check_iwae(np.random.default_rng(1).normal(-1000, 3, size=(6, 2)), "log-weights near −1,000")
check_iwae([[-1000.0], [-1060.0], [-1061.0], [-1062.0]], "one weight dominates")
check_iwae(np.full((5, 3), -7.0), "equal weights")
### BEGIN HIDDEN TESTS
# Other sizes and log-weights.
rng = stattests.grading_rng("iwae_terms")
check_iwae(rng.normal(size=(2, 5)), "small log-weights")
check_iwae(rng.normal(-1200, 2, size=(9, 4)), "log-weights near −1,200")
check_iwae(rng.normal(800, 1, size=(4, 4)), "log-weights near 800")
dominated = rng.normal(-400, 1, size=(7, 3))
dominated[rng.integers(7), :] += 55
check_iwae(dominated, "one weight dominates")
### END HIDDEN TESTS

# %% [markdown] given="complete_task"
# ### Gap 6 · Draw what is missing from the posterior (3 points)
#
# A conditional VAE for binary pixels has $p(x, y, z) = p(y)\, p(z) \prod_i p(x_i \mid z, y)$, with the class
# $y$. Of an image only some pixels are known; the others and the class are missing. The preparation ran a
# chain. With K samples $z_1, \dots, z_K$ of the prior one can draw from $p(y, x_\text{missing} \mid
# x_\text{known})$ at once. **For each image:**
#
# 1. weight each pair of a sample and a class by
#    $w_{kc} = p(y = c) \prod_{i \in \text{known}} p(x_i \mid z_k, y = c)$;
# 2. draw **one** pair (k, c) with probability $w_{kc} / \sum_{k'c'} w_{k'c'}$;
# 3. draw each missing pixel from $p(x_i \mid z_k, y = c)$ with this pair.
#
# So all missing pixels of an image share one $z$ and one class, and fit each other; a mean over all pairs would
# be a blur. Return the completed images and the classes. The products get as small as $e^{-1000}$, and single
# logits are so large that a sigmoid rounds to 1: work with logarithms, written as in gap 3. The same seed must give
# the same result, another seed another one: make one generator (`np.random.default_rng(seed)`) and draw everything
# from it. (Two generators with one seed give the same numbers, so the draws would depend on each other.)
#
# <details><summary>Hint</summary>
#
# One matrix of log-weights, (B, C K): known ones and known zeros times $\log \sigma(a)$ and $\log \sigma(-a)$.
# `NaN` times 0 is `NaN`, so replace it first (`np.where`), or use the known pixels only (`x[:, ~missing]`). To draw
# an index in each row without a loop, add independent Gumbel noise (`rng.gumbel`) to the log-weights and take the
# argmax. If column $cK + k$ belongs to the pair (k, c), the class is the index `// K`. In TensorFlow, `tf.random.stateless_categorical` and
# `tf.random.stateless_uniform` take the seed as `[seed, 0]`, `[seed, 1]`.
# </details>


# %% solution="complete"
def complete(decode, log_py, z, x, missing, seed):
    """decode: z (K, L) and a class y, an int → logits (K, D); log_py: (C,) = log p(y); z: (K, L).

    x: (B, D), 0 or 1, NaN where missing; missing: (D,) bool, the same for all images; seed: int
    → completed x (B, D) of 0 and 1, classes (B,) from 0 to C − 1.
    """
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    K, C, D = len(z), len(log_py), len(missing)
    logits = np.stack([decode(z, c).numpy() for c in range(C)]).astype(float)  # (C, K, D)
    logits = logits.reshape(C * K, D)
    ones = np.where(missing, 0, x == 1) @ -np.logaddexp(0, -logits).T  # (B, C K)
    zeros = np.where(missing, 0, x == 0) @ -np.logaddexp(0, logits).T
    log_w = ones + zeros + np.repeat(log_py, K)
    pair = np.argmax(log_w + rng.gumbel(size=log_w.shape), axis=1)  # (B,)
    p = (1 + np.tanh(logits[pair] / 2)) / 2  # (B, D)
    return np.where(missing, rng.random(p.shape) < p, x), pair // K
    ### END SOLUTION


# %% test="complete" points=3
def class_decode(z, y):
    z = tf.convert_to_tensor(z)
    return tf.matmul(z, tf.cast(CLASSES["W"], z.dtype)) + tf.cast(CLASSES["bias"][y], z.dtype)


def all_images(D):
    return (np.arange(2**D)[:, None] >> np.arange(D)) & 1


def class_model(rng, K, L, D, C, scale):
    global CLASSES
    CLASSES = {"W": scale * rng.normal(size=(L, D)), "bias": rng.normal(size=(C, D))}
    z, log_py = (
        rng.normal(size=(K, L)).astype(np.float32),
        np.log(rng.dirichlet(np.full(C, 5.0))).astype(np.float32),
    )
    logits = z.astype(float) @ CLASSES["W"] + CLASSES["bias"][:, None]  # (C, K, D)
    return z, log_py, logits


def call_complete(log_py, z, x, missing, seed):
    answer = complete(class_decode, log_py.copy(), z.copy(), x.copy(), missing.copy(), seed)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, (
        "return two arrays: the completed x, and the classes"
    )
    new = stattests.assert_array("the completed x", answer[0], x.shape)
    y = stattests.assert_array("the classes", answer[1], (len(x),))
    assert np.isin(new[:, missing], (0, 1)).all(), (
        "missing pixels have other values than 0 and 1: return drawn pixels, not probabilities"
    )
    assert np.isin(y, np.arange(len(log_py))).all(), (
        f"the classes must be whole numbers from 0 to {len(log_py) - 1}"
    )
    assert np.array_equal(new[:, ~missing], x[:, ~missing]), "the known pixels must keep their values"
    return new.astype(int), y.astype(int)


def check_shares(z, log_py, logits, two, missing, seed, N=6000):
    """Two images, N copies of each in alternating rows: how often each (class, missing pixels) comes up, against the exact posterior.

    The joint table of all classes and all 2^D images is summed out exactly, with the K samples as the prior. Each frequency is a mean of
    N independent 0/1 values, so Bernstein's inequality with a union bound rejects a right answer with probability below 1e-7 a call.
    """
    C, K, D = logits.shape
    images, p = all_images(D), 1 / (1 + np.exp(-logits))
    given_z = np.prod(np.where(images[:, None, None] == 1, p, 1 - p), axis=3)  # (2^D, C, K)
    table = given_z.mean(axis=2) * np.exp(log_py)  # (2^D, C), p(x, y)
    x = np.where(missing, np.nan, np.tile(two, (N, 1))).astype(np.float32)
    new, y = call_complete(log_py, z, x, missing, seed)
    for i in range(2):
        fits = (images[:, ~missing] == two[i, ~missing]).all(axis=1)
        posterior = table[fits] / table[fits].sum()
        for row, completion in zip(posterior, images[fits]):
            for c, exact in enumerate(row):
                share = np.mean((new[i::2] == completion).all(axis=1) & (y[i::2] == c))
                tolerance = stattests.bernstein_tolerance(
                    N, exact * (1 - exact), 1.0, alpha=1e-7, comparisons=2 * posterior.size
                )
                assert abs(share - exact) <= tolerance, (
                    f"{D} pixels, {missing.sum()} of them missing, K = {K}, {C} classes: class {c} with the missing pixels "
                    f"{completion[missing]} comes up in {share:.3f} of {N:,} rows, but its probability is {exact:.3f} ± "
                    f"{tolerance:.3f}. Do the weights hold p(y) and the known pixels only, and is NaN replaced before it enters "
                    "a sum (NaN · 0 is NaN)? Is one pair (k, c) drawn for each image, not k from one pair and c from another, and "
                    "do its missing pixels all come from this pair, by random numbers of their own, not those that chose the pair?"
                )


def check_complete(rng, K, L, D, C, holes, seed):
    z, log_py, logits = class_model(rng, K, L, D, C, scale=2.5)
    missing = np.isin(np.arange(D), rng.permutation(D)[:holes])
    check_shares(z, log_py, logits, all_images(D)[rng.integers(2**D, size=2)], missing, seed)


def check_linked(rng, seed):
    """Two z, two classes, four pixels: the two known pixels differ, so z and the class have opposite signs.

    Either sign of the class has probability ½, but a missing pixel that depends on z tells which one it is.
    """
    global CLASSES
    order, sign, strength = rng.permutation(4), rng.choice([-1, 1]), rng.uniform(4.5, 5.5)
    W, bias = sign * strength * np.array([[1, 1, 0.8, 0]]), strength * np.array([1, 1, 0, 0])
    CLASSES = {"W": W[:, order], "bias": np.stack([bias, -bias])[:, order]}
    z, log_py = np.array([[1], [-1]], np.float32), np.log(np.array([0.5, 0.5], np.float32))
    logits = z.astype(float) @ CLASSES["W"] + CLASSES["bias"][:, None]
    two = np.array([[1, 0, 0, 0], [0, 1, 0, 0]])[:, order]
    check_shares(z, log_py, logits, two, order >= 2, seed)


def check_many_pixels(rng, D=600):
    """Products of about e^−1000, and logits of ±40: no overflow, and the class is practically certain."""
    z, log_py, logits = class_model(rng, K=5, L=2, D=D, C=3, scale=2.5)
    CLASSES["W"][:, 5:7], CLASSES["bias"][:, 5:7] = 0, [40, -40]
    logits = z.astype(float) @ CLASSES["W"] + CLASSES["bias"][:, None]
    y, k = rng.integers(3, size=8), rng.integers(5, size=8)
    x = np.where(rng.random((8, D)) < 0.3, rng.random((8, D)) < 0.5, logits[y, k] > 0).astype(float)
    missing = np.arange(D) < 5
    signed = (2 * x[:, None, None, 5:] - 1) * logits[..., 5:]  # (8, C, K, D − 5)
    log_w = -np.logaddexp(0, -signed).sum(axis=3).transpose(0, 2, 1) + log_py  # (8, K, C)
    posterior = softmax(logsumexp(log_w, axis=1), axis=1)
    sure = posterior.max(axis=1) > 1 - 1e-9
    x[:, missing] = np.nan
    y_drawn = call_complete(log_py, z, x.astype(np.float32), missing, 5)[1]
    assert np.array_equal(y_drawn[sure], posterior.argmax(axis=1)[sure]), (
        f"with {D} pixels the class is certain, but another one was drawn: do products of probabilities underflow, "
        "or is there a logarithm of 0 (then a weight is NaN)?"
    )


def check_seed(rng):
    z, log_py, _ = class_model(rng, K=4, L=2, D=6, C=3, scale=0.3)
    x, missing = np.full((200, 6), np.nan, np.float32), np.full(6, True)
    first, again, other = (np.column_stack(call_complete(log_py, z, x, missing, seed)) for seed in (8, 8, 9))
    assert np.array_equal(first, again), "the same seed must give the same result"
    assert not np.array_equal(first, other), "another seed must give another result"


check_complete(
    np.random.default_rng(0), K=1, L=2, D=3, C=2, holes=1, seed=1
)  # one z: only the class is unknown
check_complete(np.random.default_rng(1), K=6, L=2, D=5, C=2, holes=2, seed=2)
check_complete(np.random.default_rng(5), K=2, L=2, D=4, C=2, holes=4, seed=4)  # all is unknown
check_linked(np.random.default_rng(4), seed=3)
check_many_pixels(np.random.default_rng(2))
check_seed(np.random.default_rng(3))
### BEGIN HIDDEN TESTS
# Other models and sizes; no pixel missing, all pixels missing; z and class linked; many pixels.
rng = stattests.grading_rng("complete")
for K, D, C, holes in [(5, 4, 3, 2), (8, 4, 2, 3), (4, 3, 3, 0), (2, 4, 2, 4)]:
    check_complete(rng, K=K, L=2, D=D, C=C, holes=holes, seed=int(rng.integers(2**31)))
check_linked(rng, seed=int(rng.integers(2**31)))
check_many_pixels(rng)
### END HIDDEN TESTS

# %% [markdown] given="train_task"
# ## 4 · A VAE for grey digits
#
# ### Gap 7 · Train it (2 points)
#
# `build_networks` makes an encoder and a decoder for the grey digits (levels 0 to 16, which enter the network
# divided by 16). The encoder returns $\mu$ and $\log s$ side by side, (B, 2L), the decoder the logits of gap
# 4's binomial likelihood. The prior is $\mathcal{N}(0, I)$. Train both, by the ELBO or by any other way you
# like: 40 epochs with batches of 100 suffice. It takes 5 to 15 seconds; the grader stops a run after two minutes.
#
# You hand over the weights of both networks (`get_weights()`), and the test evaluates the bound itself, with
# 100 importance samples. You pass with at least **−113 nats per image** on the validation part; the threshold
# leaves room for bad luck. For comparison: independent binomial pixels reach −254. Only `seed=0` is judged.
#
# <details><summary>Hint</summary>
#
# A `keras.Model` with a `train_step`, as in the preparation: write $\log p(x \mid z)$ and the KL in closed
# form, and keep $x$ as counts in the likelihood. `keras.optimizers.Adam` with a rate of 0.005 to 0.01; the default
# of 0.001 is too slow. In `compile` a `steps_per_execution` of a whole epoch, in `fit` `shuffle=False` for a data
# set that shuffles itself. `keras.utils.set_random_seed(seed)` comes first.
# </details>

# %% given="grey_data"
LEVELS, LATENT = 16, 8
grey = datasets.digits("grey")  # levels 0 to 16; train (1197, 64), validation (200, 64)


def build_networks():
    """→ encoder: x / 16 (B, 64) → mu and log s, side by side (B, 2L); decoder: z (B, L) → logits (B, 64)."""
    encoder = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(100, activation="relu"), keras.layers.Dense(2 * LATENT)]
    )
    decoder = keras.Sequential(
        [keras.Input((LATENT,)), keras.layers.Dense(100, activation="relu"), keras.layers.Dense(64)]
    )
    return encoder, decoder


def importance_bound(x, encoder, decoder, K, rng):
    """x: (B, 64) counts → log (1/K) Σ_k p(x, z_k) / q(z_k | x), (B,) in nats, with z_k from q."""
    mu, log_s = np.split(encoder(x / LEVELS).numpy().astype(float), 2, axis=1)
    noise = rng.normal(size=(K, *mu.shape))
    z = mu + np.exp(log_s) * noise
    a = decoder(z.reshape(-1, LATENT).astype(np.float32)).numpy().astype(float).reshape(K, len(x), -1)
    log_choose = gammaln(LEVELS + 1) - gammaln(x + 1) - gammaln(LEVELS - x + 1)
    logpx_z = np.sum(log_choose + x * a - LEVELS * np.logaddexp(0, a), axis=2)
    logpz_minus_logqz_x = np.sum(-(z**2) / 2 + noise**2 / 2 + log_s, axis=2)
    return logsumexp(logpx_z + logpz_minus_logqz_x, axis=0) - np.log(K)


# %% solution="train_vae"
def train_vae(x_train, seed):
    """x_train: (N, 64) counts → encoder.get_weights(), decoder.get_weights(): two lists of four arrays."""
    ### BEGIN SOLUTION
    keras.utils.set_random_seed(seed)
    epochs, B = 40, 100

    class CountVAE(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = build_networks()
            self.bound = keras.metrics.Mean("elbo")

        def elbo(self, x):
            mu, log_s = tf.split(self.encoder(x / LEVELS), 2, axis=1)
            z = mu + tf.exp(log_s) * tf.random.normal(tf.shape(mu))
            a = self.decoder(z)
            logpx_z = tf.reduce_sum(x * a - LEVELS * tf.nn.softplus(a), axis=1)  # without a constant
            kl = tf.reduce_sum((tf.exp(2 * log_s) + mu**2 - 1) / 2 - log_s, axis=1)
            return logpx_z - kl

        def train_step(self, x):
            with tf.GradientTape() as tape:
                loss = -tf.reduce_mean(self.elbo(x))
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            self.bound.update_state(-loss)
            return {"elbo": self.bound.result()}

    model = CountVAE()
    batches = tf.data.Dataset.from_tensor_slices(x_train).shuffle(len(x_train), seed=seed)
    batches = batches.batch(B, drop_remainder=True)
    model.compile(keras.optimizers.Adam(0.01), steps_per_execution=len(batches))
    model.fit(batches, epochs=epochs, shuffle=False, verbose=0)
    return model.encoder.get_weights(), model.decoder.get_weights()
    ### END SOLUTION


# %% test="train_vae" points=2
answer = train_vae(grey.train.copy(), 0)
assert isinstance(answer, (tuple, list)) and len(answer) == 2, (
    "return two lists: the weights of encoder and decoder"
)
trained = build_networks()
for name, network, weights in zip(["encoder", "decoder"], trained, answer):
    assert isinstance(weights, (tuple, list)) and len(weights) == 4, f"four arrays expected for the {name}"
    network.set_weights(
        [
            stattests.assert_array(f"{name}, array {i}", w, v.shape)
            for i, (w, v) in enumerate(zip(weights, network.weights))
        ]
    )
reached = importance_bound(grey.validation, *trained, K=100, rng=np.random.default_rng(0)).mean()
print(f"{reached:.1f} nats per image on the validation part, {-reached / 64 / np.log(2):.2f} bits per pixel")
assert reached >= -113, (
    f"{reached:.1f} nats per image reached, at least −113 expected. Is x the counts in the likelihood and x / 16 in the encoder, "
    "is KL subtracted (a sum over the latents), does the second half of the encoder's output mean log s? Is the rate 0.005 to 0.01 "
    "(Adam's default of 0.001 is too slow), are there 40 epochs or more?"
)
### BEGIN HIDDEN TESTS
# The bound again with other importance samples, and on images that the training has never seen, the test part.
# The threshold is empirical: over 50 seeds the reference reaches −106.2 to −102.8 on the validation part and −105.1 to −101.5 on
# the test part; the worst minus the range is −109.6 and −108.7. Three nats more are left for other ways to train.
rng = stattests.grading_rng("train_vae")
again = importance_bound(grey.validation, *trained, K=100, rng=rng).mean()
held_out = importance_bound(grey.test, *trained, K=100, rng=rng).mean()
assert min(again, held_out) >= -113, (
    f"only {min(again, held_out):.1f} nats per image with other importance samples or unseen images"
)
### END HIDDEN TESTS

# %% [markdown] given="argue_task"
# ## 5 · A question to argue (2 points)
#
# Three VAEs for the same data, all in nats per image on the same test images; the effective sample size (ESS)
# is that of the 5,000 importance samples of an image, its mean over the images.
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
