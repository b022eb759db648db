# %% [markdown] given="title"
# # Week 5 · Exercise: Steps, scores and energies in other forms
#
# {{colab}}
#
# The preparation moved points by plain Langevin steps, and trained energies by score matching and by noise-contrastive
# estimation. Here each of these comes back in another form:
#
# - Langevin steps with a **preconditioner** and a **temperature**, and their Metropolis correction;
# - score matching **solved in closed form**, and with **a noise level for each sample**;
# - noise-contrastive estimation with **several noise samples** for each datum, and a model of your own that is
#   judged by its *exact* likelihood.
#
# **20 points, about 2½ hours.** Six gaps are graded automatically (18 points), a question by a person (2 points).
#
# ## How it works
#
# - Write your answer where it says `raise NotImplementedError`. Keep the names and arguments of the functions.
# - The cell after each gap tests your answer and says what is wrong. When you hand in, further tests run on
#   other inputs.
# - All arrays arrive as NumPy `float32`. Return NumPy arrays or TensorFlow tensors, in `float32` or
#   `float64`, as you like. Do not change the arrays that come in.
# - Where randomness is needed, you are given the random numbers, or an integer `seed`, on which your result
#   may depend.
# - Each gap is tested on its own, from given values. If your answer calls your function from an earlier gap,
#   make that one pass first.
#
# **Letters and signs:** B batch, D dimensions, points are rows. $E$ is an energy and $p(x) \propto e^{-E(x)}$,
# so low energy means high probability. The score is $s(x) = \nabla_x \log p(x) = -\nabla_x E(x)$. Where $f =
# -E$ is used instead, it is said.

# %% setup

# %% given="imports"
import numpy as np
import tensorflow as tf
from scipy.special import logsumexp

from utils import datasets, stattests

# %% [markdown] given="bowl_text"
# Two functions are given. Some gaps get an energy as an argument, a function that computes with TensorFlow: from a batch of
# points (B, D) to energies (B,). `energy_and_gradient` differentiates it. And `bowl` is the energy that the tests use, with
# several $A$ and $k$:
#
# $$E(x) = \tfrac{1}{2}\, x^\top A x + \tfrac{1}{4} \sum_i k_i x_i^4, \qquad A \text{ symmetric}.$$


# %% given="bowl"
def energy_and_gradient(energy, x):
    """energy: (B, D) → (B,); x: (B, D) → E(x) (B,) and its gradient (B, D), NumPy arrays."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        e = energy(x)
    return e.numpy(), tape.gradient(e, x).numpy()


def bowl(x, A, k):
    """x: (B, D), A: (D, D), k: (D,) → energies (B,), computed by TensorFlow."""
    A, k = tf.cast(A, x.dtype), tf.cast(k, x.dtype)
    return tf.reduce_sum(tf.matmul(x, A) * x, axis=1) / 2 + tf.reduce_sum(k * x**4, axis=1) / 4


# %% [markdown] given="langevin_task"
# ## 1 · Langevin steps
#
# ### Gap 1 · A step with preconditioner and temperature (3 points, 15 minutes)
#
# In a valley that is narrow in one direction and long in another, the narrow direction limits the step size,
# and the chain creeps along the long one. A **preconditioner** cures this: with an invertible lower triangular
# matrix $L$ (D, D) and $P = L L^\top$, the step
#
# $$x' = x - \frac{\varepsilon}{2}\, P\, \nabla_x E(x) + \sqrt{\varepsilon T}\, L\, \xi, \qquad
# \xi \sim \mathcal{N}(0, I),$$
#
# samples, up to the bias of the step size, from $p(x) \propto e^{-E(x) / T}$ with the **temperature** $T$,
# whatever $L$ is. With $L = I$ and $T = 1$ this is the preparation's step.
#
# The equation is for one point, a column. In the batch points and noise are rows. The noise $\xi$ is given.
#
# <details><summary>Hint</summary>
#
# If $g$ is a row, the transpose of $P g^\top$ is $g P^\top$, and likewise for
# $L$; only one of the two matrices is symmetric.
# </details>


# %% solution="langevin_step"
def langevin_step(energy, x, L, eps, T, noise):
    """energy: (B, D) → (B,); x: (B, D), L: (D, D), eps and T: numbers, noise: (B, D) → the new x (B, D)."""
    ### BEGIN SOLUTION
    _, gradient = energy_and_gradient(energy, x)  # (B, D)
    drift = -eps / 2 * gradient @ (L @ L.T)
    return x + drift + np.sqrt(eps * T) * noise @ L.T
    ### END SOLUTION


# %% test="langevin_step" points=3
def step_energy(x):
    return bowl(x, STEP["A"], STEP["k"])


def check_langevin(A, k, x, L, eps, T, noise, exact, what):
    """Compare with the right points."""
    global STEP
    STEP = {"A": np.asarray(A), "k": np.asarray(k)}
    x, L, noise = (np.asarray(z, np.float32) for z in (x, L, noise))
    stattests.assert_close(
        f"the step with eps = {eps:.2f}, T = {T:.2f}, {what}",
        stattests.call(langevin_step, step_energy, x, L, eps, T, noise),
        np.asarray(exact),
        rtol=1e-3,
        atol=1e-3,
        hint="The drift: down in energy, half of eps, P = L Lᵀ, no T. The noise: L ξ for each row, and the root of eps T.",
    )


first = ([[2.0, 0.5], [0.5, 1.0]], [0.4, 0.2], [[1.0, -1.0], [0.5, 2.0]])  # A, k, x
xi, slanted = [[0.3, -0.6], [-1.0, 0.2]], [[1.0, 0.0], [-0.5, -0.8]]
check_langevin(*first, np.eye(2), 0.1, 1.0, xi, [[0.9999, -1.1547], [0.0813, 1.8707]], "L = I")
check_langevin(*first, np.eye(2), 0.4, 0.25, xi, [[0.7149, -1.0497], [-0.2262, 1.2932]], "L = I")
check_langevin(*first, slanted, 0.4, 0.25, xi, [[0.6449, -0.581], [0.1588, 1.6272]], "L lower triangular")
### BEGIN HIDDEN TESTS
# Other energies, sizes, preconditioners, step sizes and temperatures.


def compare_langevin(rng, B, D, eps, T, plain=False):
    """Compare with the gradient in closed form, A x + k x³."""
    root = rng.normal(size=(D, D))
    A, k = root @ root.T / D + np.eye(D), rng.uniform(0.2, 0.6, size=D)
    L = (
        np.eye(D)
        if plain
        else np.tril(rng.normal(0, 0.5, size=(D, D)), -1) + np.diag(rng.uniform(0.7, 1.3, size=D))
    )
    L[-1, -1] *= 1 if plain else -1  # not the Cholesky factor of L Lᵀ
    x, noise, L = (z.astype(np.float32) for z in (rng.normal(size=(B, D)), rng.normal(size=(B, D)), L))
    gradient = x.astype(float) @ A + k * x.astype(float) ** 3
    exact = x - eps / 2 * gradient @ L @ L.T + np.sqrt(eps * T) * noise @ L.T
    check_langevin(A, k, x, L, eps, T, noise, exact, "L = I" if plain else "L lower triangular")


rng = stattests.grading_rng("langevin_step")
compare_langevin(rng, B=7, D=3, eps=float(rng.uniform(0.05, 0.2)), T=1.0, plain=True)
compare_langevin(rng, B=6, D=4, eps=float(rng.uniform(0.2, 0.4)), T=float(rng.uniform(1.5, 3)))
compare_langevin(rng, B=1, D=2, eps=float(rng.uniform(0.5, 0.8)), T=float(rng.uniform(0.1, 0.5)))
### END HIDDEN TESTS

# %% [markdown] given="mala_task"
# ### Gap 2 · The Metropolis correction (4 points, 30 minutes)
#
# A finite step leaves $e^{-E/T}$ only nearly unchanged. The Metropolis–Hastings rule removes the bias. The step
# of gap 1 becomes a *proposal* $y$, with the density
#
# $$q(y \mid x) = \mathcal{N}\left(y;\; x - \frac{\varepsilon}{2} P\, \nabla E(x),\; \varepsilon T P\right),$$
#
# and it is accepted if $u < a$, where $u$ is uniform on (0, 1) and
#
# $$a = \min\left(1,\; \frac{e^{-E(y)/T}\; q(x \mid y)}{e^{-E(x)/T}\; q(y \mid x)}\right).$$
#
# Else the chain stays at $x$. Each row is a chain of its own: some are accepted, others stay. Noise and uniform
# numbers are given. Compute with logarithms: a single exponential of an energy may overflow.
#
# <details><summary>Hint</summary>
#
# The determinants of the two Gaussians cancel. What remains is minus half a squared length. For
# $q(y \mid x)$ it is that of $\xi$ itself. For $q(x \mid y)$ it is that of the noise that would lead back:
# $L^{-1} \left(x - y + \frac{\varepsilon}{2} P\, \nabla E(y)\right) / \sqrt{\varepsilon T}$.
# `np.linalg.solve(L, columns)` applies $L^{-1}$ to columns; for rows write `np.linalg.solve(L, rows.T).T`.
# </details>


# %% solution="mala_step"
def mala_step(energy, x, L, eps, T, noise, u):
    """As gap 1, and u: (B,) in (0, 1) → the new x (B, D) and whether each proposal was accepted (B,), bool."""
    ### BEGIN SOLUTION
    P = L @ L.T
    e_x, g_x = energy_and_gradient(energy, x)
    y = x - eps / 2 * g_x @ P + np.sqrt(eps * T) * noise @ L.T
    e_y, g_y = energy_and_gradient(energy, y)
    back = np.linalg.solve(L, (x - y + eps / 2 * g_y @ P).T).T / np.sqrt(eps * T)
    log_q_yx = -0.5 * np.sum(noise**2, axis=1)
    log_q_xy = -0.5 * np.sum(back**2, axis=1)
    log_a = (e_x - e_y) / T + log_q_xy - log_q_yx
    accepted = np.log(u) < log_a
    return np.where(accepted[:, None], y, x), accepted
    ### END SOLUTION


# %% test="mala_step" points=4
def mala_energy(x):
    return bowl(x, MALA["A"], MALA["k"]) + MALA["constant"]


def check_mala(A, k, x, L, eps, T, noise, u, y, a, constant=0.0):
    """Compare with the right decisions. Every other u lies below its a, the others above, by 15 %: rounding decides nothing."""
    global MALA
    MALA = {"A": np.asarray(A), "k": np.asarray(k), "constant": constant}
    x, L, noise, u = (np.asarray(z, np.float32) for z in (x, L, noise, u))
    y, (B, D), right = np.asarray(y), x.shape, np.asarray(u) < np.asarray(a)
    answer = stattests.call(mala_step, mala_energy, x, L, eps, T, noise, u)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, (
        "return two arrays: the new x, and which proposals were accepted"
    )
    new, accepted = stattests.assert_array("the new x", answer[0], (B, D)), answer[1]
    accepted = stattests.assert_array("accepted", accepted, (B,)).astype(float)
    assert np.isin(accepted, (0, 1)).all(), "accepted has other values than True and False"
    what = f"eps = {eps:.2f}, T = {T:.2f}" + (f", energies near {constant:.0f}" if constant else "")
    if (wrong := np.flatnonzero(accepted != right)).size:
        i = wrong[0]
        raise AssertionError(
            f"with {what}: {wrong.size} of {B} decisions are wrong. Chain {i} has a = {a[i]:.4g} and u = {u[i]:.4g}, so its "
            f"proposal must be {'accepted' if right[i] else 'rejected'}. Check the sign of the energies, T, and which way "
            "each q goes: q(x | y) starts at y, with the gradient there, and stands above the line."
            + (" L⁻¹ applies to each row, as a column." if np.any(np.eye(D) != L) else "")
            + (" Does an exponential overflow? Compare logarithms." if constant else "")
        )
    stay = accepted == 0
    stattests.assert_close("x of the rejected chains", new[stay], x[stay], hint="They stay where they are.")
    stattests.assert_close("x of the accepted chains", new[~stay], y[~stay], rtol=1e-3, atol=1e-3)


A, k = [[2.0, 0.5], [0.5, 1.0]], [0.4, 0.2]
x = [[-0.5, -0.3], [0.9, 0.1], [-0.5, 0.2], [-0.7, -0.1], [0.0, 0.7], [0.4, 0.7]]
xi = [[0.5, 1.4], [-1.0, -1.2], [-1.3, -0.3], [1.0, 1.9], [-1.7, 0.5], [-1.5, -0.9]]
u, a = [0.695, 0.733, 0.297, 0.424, 0.208, 0.385], [0.8181, 0.6372, 0.3495, 0.3686, 0.2442, 0.335]
y = [
    [0.4272, 1.1744],
    [-0.8511, -1.1934],
    [-1.2828, -0.049],
    [0.8293, 1.7795],
    [-1.6605, 0.8398],
    [-1.4119, -0.4924],
]
check_mala(A, k, x, np.eye(2), 0.8, 1.0, xi, u, y, a)
check_mala(A, k, x, np.eye(2), 0.8, 1.0, xi, u, y, a, constant=-500.0)
x = [[0.0, -0.3], [0.0, -0.3], [0.7, -0.5], [0.1, 0.3], [-0.2, -1.8], [0.9, 0.4]]
xi = [[-1.0, -0.3], [1.7, 1.3], [1.1, -1.4], [-1.3, -1.4], [2.6, 0.8], [1.9, -2.1]]
u, a = [0.602, 0.351, 0.52, 0.657, 0.25, 0.246], [0.7081, 0.305, 0.6118, 0.5714, 0.2941, 0.2083]
y = [
    [-0.672, -0.037],
    [1.1392, -0.084],
    [0.8193, -1.2606],
    [-0.8498, -0.0788],
    [1.4406, -1.3079],
    [1.3375, -1.1942],
]
check_mala(A, k, x, [[1.0, 0.0], [-0.5, 0.8]], 0.9, 0.5, xi, u, y, a)
### BEGIN HIDDEN TESTS
# Other energies, sizes, preconditioners, step sizes and temperatures; a constant in the energy, which changes nothing.


def compare_mala(rng, B, D, eps, T, plain=False, constant=0.0):
    """Exact acceptance probabilities; each u lies 15 % above or below its own."""
    root = rng.normal(size=(D, D))
    A, k = root @ root.T / D + 0.5 * np.eye(D), rng.uniform(0.1, 0.3, size=D)
    L = (
        np.eye(D)
        if plain
        else np.tril(rng.normal(0, 0.4, size=(D, D)), -1) + np.diag(rng.uniform(0.7, 1.3, size=D))
    )
    x, noise, L = (z.astype(np.float32) for z in (rng.normal(size=(B, D)), rng.normal(size=(B, D)), L))
    P = L.astype(float) @ L.T

    def step(x):  # where the drift leads
        return x - eps / 2 * (x @ A + k * x**3) @ P

    def log_target(x):
        return -(np.sum(x @ A * x, axis=1) / 2 + k @ (x**4).T / 4) / T

    def log_q(to, start):
        away = to - step(start)
        return -np.sum(away @ np.linalg.inv(eps * T * P) * away, axis=1) / 2

    y = step(x.astype(float)) + np.sqrt(eps * T) * noise @ L.T
    log_a = np.minimum(log_target(y) + log_q(x, y) - log_target(x.astype(float)) - log_q(y, x), 0)
    a = np.exp(np.maximum(log_a, -12))
    right = np.where(np.arange(B) % 2 == 0, log_a > -12, a > 0.8)  # u lies below a, so accept
    u = np.where(right, 0.85 * a, 1.15 * a)
    check_mala(A, k, x, L, eps, T, noise, u, y, a, constant)


rng = stattests.grading_rng("mala_step")
compare_mala(rng, B=40, D=3, eps=float(rng.uniform(0.4, 0.6)), T=1.0, plain=True)
compare_mala(rng, B=40, D=4, eps=float(rng.uniform(0.5, 0.8)), T=float(rng.uniform(1.5, 2.5)))
compare_mala(
    rng, B=40, D=2, eps=float(rng.uniform(0.8, 1.2)), T=float(rng.uniform(0.3, 0.6)), constant=-500.0
)
### END HIDDEN TESTS

# %% [markdown] given="polynomial_task"
# ## 2 · Score matching
#
# ### Gap 3 · Implicit score matching in closed form (3 points, 25 minutes)
#
# For numbers $x$ and an energy that is a polynomial, $E_\theta(x) = \sum_{k=1}^{K} \theta_k x^k$, the
# normaliser has no closed form if $K > 2$, so maximum likelihood needs numerical integration or sampling. Score
# matching needs neither. Its objective
#
# $$J(\theta) = \frac{1}{N} \sum_{n=1}^{N} \left( \tfrac{1}{2}\, s_\theta(x_n)^2 + s_\theta'(x_n) \right),
# \qquad s_\theta(x) = -E_\theta'(x),$$
#
# is quadratic in $\theta$, $J(\theta) = \frac{1}{2} \theta^\top M \theta - r^\top \theta$. Find $M$ and $r$ on paper, and
# return the $\theta$ that makes $J$ smallest. There is no $\theta_0$: a constant has no score.
#
# <details><summary>Hint</summary>
#
# $M_{kl}$ is the mean of a product of two derivatives, that of $x^k$ and that of $x^l$. The second derivative of $x^1$ is
# 0: do not compute $x^{-1}$ for it. Check with $K = 2$: the result must be the Gaussian with the mean and the variance of
# the data.
# </details>


# %% solution="fit_polynomial"
def fit_polynomial(x, K):
    """x: (N,), K: int, 2 or more → theta (K,) = theta_1 … theta_K, the minimum of J."""
    ### BEGIN SOLUTION
    x = x.astype(float)[:, None]  # (N, 1)
    k = np.arange(1, K + 1)
    first = k * x ** (k - 1)  # (N, K), the derivatives of x^k
    second = k * (k - 1) * x ** np.maximum(k - 2, 0)  # (N, K)
    M = first.T @ first / len(x)
    r = second.mean(axis=0)
    return np.linalg.solve(M, r)
    ### END SOLUTION


# %% test="fit_polynomial" points=3
def check_polynomial(x, K, exact, what):
    stattests.assert_close(
        f"theta for {what}, K = {K}",
        stattests.call(fit_polynomial, x.astype(np.float32), K),
        exact,
        rtol=2e-2,
        atol=max(2e-2, 2e-3 * np.abs(exact).max()),
        hint="Is the score minus the derivative of the energy? J has its minimum where M theta = r.",
    )


def sample_of(energy, N):
    """N points spread like the density e^(−energy) on [−4, 4]: its quantiles."""
    grid = np.linspace(-4, 4, 8001)
    cumulative = np.cumsum(np.exp(-energy(grid)))
    return np.interp((np.arange(N) + 0.5) / N, cumulative / cumulative[-1], grid)


gaussian = np.random.default_rng(0).normal(1.0, 0.5, size=200)  # theta: −mean/variance, 1/(2 variance)
check_polynomial(gaussian, 2, np.array([-gaussian.mean(), 0.5]) / gaussian.var(), "a Gaussian sample")
check_polynomial(np.array([0, 1, 1.5, -0.5, 2]), 3, [-1.0682, 0.2841, 0.1364], "five points")
double_well = sample_of(lambda x: 0.2 * x - x**2 + x**4 / 4, N=5000).astype(np.float32)
check_polynomial(double_well, 4, [0.1981, -1.0023, 0.0007, 0.2505], "a double well")
print("a double well with theta = 0.2, −1, 0, 0.25: found but for the size of the sample")
### BEGIN HIDDEN TESTS
# Other samples and degrees.


def minimum_of_J(x, K):
    """The minimum by probing: J is computed from its definition, with polynomials as objects, at e_k and e_k + e_l."""
    x = x.astype(np.float32).astype(float)

    def J(theta):
        score = -np.polynomial.Polynomial([0, *theta]).deriv()
        return np.mean(score(x) ** 2 / 2 + score.deriv()(x))

    unit, M = np.eye(K), np.zeros((K, K))
    alone = np.array([J(e) for e in unit])
    for k in range(K):
        for j in range(k + 1):
            M[k, j] = M[j, k] = J(unit[k] + unit[j]) - alone[k] - alone[j]
    return np.linalg.solve(M, np.diag(M) / 2 - alone)


rng = stattests.grading_rng("fit_polynomial")
for x, K, what in (
    (rng.normal(rng.uniform(-1, 1), rng.uniform(0.5, 1.5), size=100), 2, "a Gaussian sample"),
    (rng.uniform(-1.5, 1.5, size=300) + 0.2, 5, "a uniform sample"),
    (np.sign(rng.normal(size=400)) + 0.5 * rng.normal(size=400), 4, "a sample with two peaks"),
    (0.07 * rng.normal(size=300), 3, "a narrow sample, where theta is large"),
):
    check_polynomial(x, K, minimum_of_J(x, K), what)
### END HIDDEN TESTS

# %% [markdown] given="denoising_task"
# ### Gap 4 · Denoising score matching over many noise levels (3 points, 15 minutes)
#
# One model for all noise levels, which is told the level, is what the diffusion models of week 13 are made from.
# Here it is an energy $E(x, \sigma)$, in the code `energy(x, sigma)`, with a batch of points and their levels. Each
# datum $x_b$ of the batch comes with a level $\sigma_b$ and noise $\xi_b \sim \mathcal{N}(0, I)$ of its own. With
# $\tilde{x}_b = x_b + \sigma_b\, \xi_b$,
#
# $$J = \frac{1}{B} \sum_{b=1}^{B} \frac{\sigma_b^{\,r}}{2} \left\lVert s(\tilde{x}_b, \sigma_b) -
# \nabla_{\tilde{x}_b} \log \mathcal{N}(\tilde{x}_b;\, x_b,\, \sigma_b^2 I) \right\rVert^2,
# \qquad s(x, \sigma) = -\nabla_x E(x, \sigma).$$
#
# The exponent $r$ of the weight is an argument. (With $r = 0$ the smallest levels drown all others, since the target is
# of size $1/\sigma$; with $r = 2$ all levels count about alike.) Work out the target on paper and return $J$.
#
# <details><summary>Hint</summary>
#
# Expressed by $\xi_b$ and $\sigma_b$ the target is short. $\sigma$ has the shape (B,), the points (B, D): where both
# meet, write `sigma[:, None]`. A weight stands outside the square. `energy_and_gradient` takes a function of $x$ alone:
# `lambda x: energy(x, sigma)`.
# </details>


# %% solution="denoising_loss"
def denoising_loss(energy, x, sigma, noise, r):
    """energy: a function of x (B, D) and sigma (B,) → (B,); x and noise: (B, D), sigma: (B,), r: number → J, a number."""
    ### BEGIN SOLUTION
    noisy = x + sigma[:, None] * noise
    _, gradient = energy_and_gradient(lambda x: energy(x, sigma), noisy)
    score = -gradient
    target = -noise / sigma[:, None]
    return np.mean(sigma**r / 2 * np.sum((score - target) ** 2, axis=1))
    ### END SOLUTION


# %% test="denoising_loss" points=3
def blurred_energy(x, sigma):
    """Gaussian data, blurred, and a ripple: Σ_i (x_i − m_i)² / (2 (s² + σ²)) + κ σ Σ_i sin x_i."""
    m, s, kappa = (tf.cast(BLUR[name], x.dtype) for name in ("m", "s", "kappa"))
    sigma = tf.cast(sigma, x.dtype)
    ripple = kappa * sigma * tf.reduce_sum(tf.sin(x), axis=1)
    return tf.reduce_sum((x - m) ** 2, axis=1) / (2 * (s**2 + sigma**2)) + ripple


def check_denoising(m, s, kappa, x, sigma, noise, r, exact, what):
    """Compare with the right J."""
    global BLUR
    BLUR = {"m": np.asarray(m), "s": s, "kappa": kappa}
    x, sigma, noise = (np.asarray(z, np.float32) for z in (x, sigma, noise))
    stattests.assert_close(
        f"J with r = {r}, {what}",
        stattests.call(denoising_loss, blurred_energy, x, sigma, noise, r),
        exact,
        rtol=2e-3,
        atol=1e-3,
        hint="Is the score taken at the noisy point, a sum over dimensions, a mean over the batch, the target −ξ/σ? "
        "Does the energy get sigma as (B,), not (B, 1)?",
    )


xi, sigmas = [[0.5, -1.0], [-0.3, 0.8], [1.2, 0.4]], [0.5, 0.2, 1.0]
three = ([[1.0, -0.5], [0.0, -1.5], [0.5, 0.5]], sigmas, xi)
for r, J in [(0, 4.63520), (1, 1.37103), (2, 0.60402)]:
    check_denoising([0.5, -1.0], 0.7, 0.5, *three, r, J, "three data in the plane")
# One datum, again and again, without a ripple: the energy's score is the target, whatever the noise.
check_denoising([0.5, -1.0], 0.0, 0.0, [[0.5, -1.0]] * 3, sigmas, xi, 2, 0.0, "the perfect score")
### BEGIN HIDDEN TESTS
# Other energies, sizes, noise levels and weights.


def compare_denoising(rng, B, D, r, s, kappa, low=0.05):
    """Compare with the score in closed form."""
    m, x, noise = rng.normal(size=D), rng.normal(size=(B, D)), rng.normal(size=(B, D))
    sigma = np.exp(rng.uniform(np.log(low), 0, B))
    sigma[-1] = 0.02 if B > 1 else sigma[-1]
    x, noise, sigma = (z.astype(np.float32).astype(float) for z in (x, noise, sigma))
    noisy, column = x + sigma[:, None] * noise, sigma[:, None]
    score = -(noisy - m) / (s**2 + column**2) - kappa * column * np.cos(noisy)
    lengths = np.sum((score + noise / column) ** 2, axis=1)
    exact = np.mean(sigma**r * lengths) / 2
    check_denoising(m, s, kappa, x, sigma, noise, r, exact, f"{B} data in {D} dimensions")


rng = stattests.grading_rng("denoising_loss")
compare_denoising(rng, B=6, D=4, r=2, s=float(rng.uniform(0.5, 1.5)), kappa=1.0)
compare_denoising(rng, B=7, D=7, r=1, s=float(rng.uniform(0.5, 1.5)), kappa=0.7, low=0.3)
compare_denoising(rng, B=1, D=3, r=0, s=float(rng.uniform(0.5, 1.5)), kappa=0.5, low=0.5)
### END HIDDEN TESTS

# %% [markdown] given="nce_task"
# ## 3 · Noise-contrastive estimation
#
# ### Gap 5 · Several noise samples for each datum (3 points, 20 minutes)
#
# There are B data, and $M = \nu B$ samples from a known noise density $q$; $\nu$ need not be a whole number. The model
# is $\log p(x) = f(x) - \log Z$ with $f = -E$, and $\log Z$ is a parameter that is learned like the others. A
# classifier is to tell data from noise. Before it sees $x$, noise is $\nu$ times as likely as data, so
#
# $$P(\text{data} \mid x) = \frac{p(x)}{p(x) + \nu\, q(x)}.$$
#
# Its loss is the sum of the negative log-probabilities of the right answer over all $B + M$ points, divided by B:
#
# $$J = -\frac{1}{B} \left( \sum_{x \in \text{data}} \log P(\text{data} \mid x) + \sum_{x \in \text{noise}} \log
# P(\text{noise} \mid x) \right).$$
#
# Return $J$ and its derivative with respect to $\log Z$. The values of $f$ and of $\log q$ at the data and at the
# noise are given. Values of $f$ may be a thousand and more, of either sign, where $e^f$ overflows in `float64`, too.
#
# <details><summary>Hint</summary>
#
# $P(\text{data} \mid x)$ is the logistic function of $\Delta = f - \log Z - \log q - \log \nu$. The negative
# logarithm of a logistic function is `np.logaddexp(0, -Δ)` or `tf.nn.softplus(-Δ)`. Its derivative is simple, too.
# </details>


# %% solution="nce"
def nce(f_data, f_noise, log_q_data, log_q_noise, log_z):
    """f_data, log_q_data: (B,), f_noise, log_q_noise: (M,), log_z: number → J and dJ/dlog_z, two numbers."""
    ### BEGIN SOLUTION
    B, M = len(f_data), len(f_noise)
    delta_data = f_data - log_z - log_q_data - np.log(M / B)
    delta_noise = f_noise - log_z - log_q_noise - np.log(M / B)
    loss = (np.logaddexp(0, -delta_data).sum() + np.logaddexp(0, delta_noise).sum()) / B
    # 1 / (1 + e^Δ) and 1 / (1 + e^−Δ) without overflow: the logistic function is (1 + tanh(Δ / 2)) / 2
    noise_given_data = (1 - np.tanh(delta_data / 2)) / 2
    data_given_noise = (1 + np.tanh(delta_noise / 2)) / 2
    return loss, (noise_given_data.sum() - data_given_noise.sum()) / B
    ### END SOLUTION


# %% test="nce" points=3
def check_nce(f_data, f_noise, log_q_data, log_q_noise, log_z, loss, slope, what):
    """Compare both numbers with the right ones."""
    arrays = [np.asarray(z, np.float32) for z in (f_data, f_noise, log_q_data, log_q_noise)]
    answer = stattests.call(nce, *arrays, log_z)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return two numbers: J and dJ/dlog_z"
    B, M = len(f_data), len(f_noise)
    hint = f"There are {B} data and {M} noise samples, so nu = {M / B:.3g}."
    stattests.assert_close(f"J, {what}", answer[0], loss, rtol=1e-3, atol=1e-3, hint=hint)
    stattests.assert_close(f"dJ/dlog_z, {what}", answer[1], slope, rtol=1e-3, atol=1e-3, hint=hint)


def counted_nce(rng, log_z):
    """Data whose frequencies are the model's probabilities exactly, p = counts / 20, and uniform noise, four times as much."""
    counts = rng.permutation([2, 3, 4, 5, 6])
    states = np.repeat(np.arange(5), counts)
    f = np.log(counts / 20) + log_z
    return f[states], np.tile(f, 16), np.full(20, -np.log(5)), np.full(80, -np.log(5)), log_z


as_much = ([0.5, -1.0, 2.0], [1.0, 0.0, -0.5], [-1.0, -2.0, -0.5], [-1.5, -1.0, -3.0], 0.3)
check_nce(*as_much, 2.1616, -0.6019, "as much noise as data")
more = ([0.5, -1.0], [1.0, 0.0, -0.5, 0.2, 1.5], [-1.0, -2.0], [-1.5, -1.0, -3.0, -2.0, -0.5], -0.5)
check_nce(*more, 4.9366, -1.7478, "more noise than data")
large = ([1500.0, -1500.0], [1450.0, 3.0, -1450.0], [0.0, -1.0], [-2.0, 0.0, -1.0], 0.0)
check_nce(*large, 1476.8333, -0.4653, "f of a thousand and more")
at_truth = counted_nce(np.random.default_rng(2), 1.7)
_, slope = stattests.call(nce, *[np.float32(z) for z in at_truth])
stattests.assert_close("dJ/dlog_z at the true log Z, where J has its minimum", slope, 0, atol=1e-3)
print(f"at the true log Z the derivative is {float(slope):.6f}")
### BEGIN HIDDEN TESTS
# Other values and sizes, less noise than data, the true model, and values of f of a thousand and more.


def compare_nce(f_data, f_noise, log_q_data, log_q_noise, log_z, what):
    """Compare with the definition, logarithms of p / (p + ν q), and its derivative by differences."""
    arrays = [np.asarray(z, np.float32) for z in (f_data, f_noise, log_q_data, log_q_noise)]
    nu = len(arrays[1]) / len(arrays[0])
    f_data, f_noise, log_q_data, log_q_noise = (z.astype(float) for z in arrays)

    def J(log_z):
        right_data = f_data - log_z - np.logaddexp(f_data - log_z, np.log(nu) + log_q_data)
        right_noise = np.log(nu) + log_q_noise - np.logaddexp(f_noise - log_z, np.log(nu) + log_q_noise)
        return -(right_data.sum() + right_noise.sum()) / len(f_data)

    slope = (J(log_z + 1e-4) - J(log_z - 1e-4)) / 2e-4
    check_nce(*arrays, log_z, J(log_z), slope, what)


def random_nce(rng, B, M, scale=1.0):
    return [
        z.astype(np.float32)
        for z in (*(scale * rng.normal(size=n) for n in (B, M)), *(rng.normal(-2, 1, size=n) for n in (B, M)))
    ]


rng = stattests.grading_rng("nce")
compare_nce(*random_nce(rng, B=6, M=20), float(rng.normal()), "more noise than data")
compare_nce(*random_nce(rng, B=7, M=3), float(rng.normal()), "less noise than data")
compare_nce(*counted_nce(rng, float(rng.normal(0, 2))), "the true model")
large = random_nce(rng, B=5, M=9, scale=300.0)
large[0][:2], large[1][:2] = [1500, -1500], [1500, -1500]
compare_nce(*large, float(rng.normal()), "f of a thousand and more")
### END HIDDEN TESTS

# %% [markdown] given="train_task"
# ### Gap 6 · Train an energy (2 points, 20 minutes)
#
# The network below gives an energy for points in the plane. Train it on the two moons: by noise-contrastive estimation,
# or by any other way you like. `minimise` runs Adam for you: it calls your loss with 200 data and $4 \cdot 200$ draws
# from $\mathcal{N}(0, I)$, which become noise from a Gaussian with the data's mean and 1.5 times their covariance. That
# takes less than 10 seconds.
#
# You hand over the weights, and the test computes the likelihood. In two dimensions this can be exact: the
# normaliser is an integral over the square $[-6, 6]^2$, done as a sum over a fine grid (the hidden tests shift that grid
# at random, and use points that the training has never seen). The model counts as 0 outside the square.
#
# You pass with at least **−2.60 nats per point** on the validation part; the threshold leaves room for bad luck. For
# comparison: the best Gaussian reaches −3.28, the density that the data were drawn from −2.10.
# Only `seed=0` is judged.
#
# <details><summary>Hint</summary>
#
# You need `tf.Variable`s for the five weights and for $\log Z$: $W_1$ and $W_2$ start at random, with entries of about
# $1/\sqrt{\text{number of inputs}}$, the rest at zero. With $C C^\top$ the covariance of the noise, $m + C z$ is a draw of
# it. `tf.nn.softplus` gives both halves of the loss. Watch $\log Z$: it should settle.
# </details>

# %% given="moons"
moons_train = datasets.toy_2d("moons", 2000, seed=1)  # (2000, 2)
moons_validation = datasets.toy_2d("moons", 2000, seed=2)
SHAPES = [(2, 32), (32,), (32, 32), (32,), (32,)]  # of W1, b1, W2, b2, w3


def energy_net(x, weights):
    """x: (B, 2), weights: five arrays or variables, of x's dtype → energies (B,)."""
    W1, b1, W2, b2, w3 = weights
    h = tf.tanh(tf.matmul(x, W1) + b1)
    h = tf.tanh(tf.matmul(h, W2) + b2)
    return tf.reduce_sum(tf.square(x), axis=1) / 8 + tf.linalg.matvec(h, w3)


def minimise(loss, variables, x_train, seed, steps=1000, B=200, nu=4):
    """Adam changes the variables until loss(x, z) is small; x: (B, 2), data; z: (nu·B, 2), standard normal."""
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(0.02, steps))
    optimizer.build(variables)
    draws, data = tf.random.Generator.from_seed(seed), tf.constant(x_train)

    @tf.function
    def run():  # all steps in one graph
        for _ in tf.range(steps):
            x = tf.gather(data, draws.uniform([B], maxval=len(x_train), dtype=tf.int32))
            z = draws.normal([nu * B, 2])
            with tf.GradientTape() as tape:
                value = loss(x, z)
            optimizer.apply(tape.gradient(value, variables), variables)

    run()


def exact_log_likelihood(x, weights, spacing=0.05, shift=(0.0, 0.0)):
    """x: (B, 2) → log p(x) (B,) in nats; Z by the midpoint rule on [−6, 6]², its points moved by `shift`."""
    weights = [np.asarray(w, float) for w in weights]
    middle = np.arange(-6 + spacing / 2, 6, spacing)
    grid = np.stack(np.meshgrid(middle + shift[0], middle + shift[1]), axis=-1).reshape(-1, 2)
    log_z = logsumexp(-energy_net(grid, weights).numpy()) + 2 * np.log(spacing)
    return -energy_net(x.astype(float), weights).numpy() - log_z


# %% solution="train_energy"
def train_energy(x_train, seed):
    """x_train: (N, 2) → a list of five arrays with the shapes SHAPES, the trained weights of energy_net."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    start = [rng.normal(size=s) / np.sqrt(s[0]) if len(s) == 2 else np.zeros(s) for s in SHAPES]
    weights = [tf.Variable(w.astype(np.float32)) for w in start]
    log_z, nu = tf.Variable(0.0), 4
    mean, covariance = x_train.mean(axis=0), (1.5 * np.cov(x_train.T)).astype(np.float32)
    C, precision = np.linalg.cholesky(covariance), np.linalg.inv(covariance)
    log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]

    def delta(x):  # log of model / (nu · noise)
        log_q = -0.5 * tf.reduce_sum((x - mean) @ precision * (x - mean), axis=1) - 0.5 * log_det
        return -energy_net(x, weights) - log_z - log_q - np.log(nu)

    def loss(x, z):
        delta_data, delta_noise = delta(x), delta(mean + z @ C.T)
        doubt = tf.reduce_mean(tf.nn.softplus(-delta_data))  # −log P(data | x) at the data
        belief = tf.reduce_mean(tf.nn.softplus(delta_noise))  # −log P(noise | x) at the noise
        return doubt + nu * belief

    minimise(loss, [*weights, log_z], x_train, seed)
    return [w.numpy() for w in weights]
    ### END SOLUTION


# %% test="train_energy" points=2
answer = stattests.call(train_energy, moons_train, 0)
assert isinstance(answer, (tuple, list)) and len(answer) == 5, "return five arrays: W1, b1, W2, b2, w3"
moons_weights = [
    stattests.assert_array(name, value, shape, most=1000)
    for name, value, shape in zip(["W1", "b1", "W2", "b2", "w3"], answer, SHAPES)
]
reached = exact_log_likelihood(moons_validation, moons_weights).mean()
print(f"{reached:.2f} nats per point on the validation part")
assert reached >= -2.60, (
    f"{reached:.2f} nats per point reached, at least −2.60 expected. Does the energy go down at the data and up at the noise, "
    "does the noise cover the data, and is log q that of the noise?"
)
### BEGIN HIDDEN TESTS
# The likelihood on points that the training has never seen, with another grid, shifted at random.
# The threshold is empirical: over 60 seeds the reference reaches −2.28 to −2.16 on the validation part and −2.30 to −2.16 on
# fresh points; the worst minus the range is −2.40 and −2.45, and other ways of training get some room.
rng = stattests.grading_rng("train_energy")
fresh = datasets.toy_2d("moons", 4000, seed=int(rng.integers(1000, 2**31)))
held_out = exact_log_likelihood(fresh, moons_weights, 0.04, rng.uniform(-0.02, 0.02, size=2)).mean()
assert held_out >= -2.60, f"only {held_out:.2f} nats per point on unseen points, at least −2.60 expected"
### END HIDDEN TESTS

# %% [markdown] given="argue_task"
# ## 4 · A question to argue (2 points, 15 minutes)
#
# Someone trains an energy on images. In each update, 60 steps
#
# $$x \leftarrow x - 10\, \nabla_x E(x) + 0.005\, \xi, \qquad \xi \sim \mathcal{N}(0, I),$$
#
# lead from fresh uniform noise to the images that serve as samples of the model. After training, such samples look
# like the training images.
#
# 1. Compare with the step of gap 1 with $L = I$: which $\varepsilon$ and which temperature $T$ are these? For which
#    density would this be a Langevin step, and what do 60 such steps amount to?
# 2. "The samples look right, so $e^{-E}/Z$ is close to the distribution of the data." What has training really
#    achieved? What would you expect to see after 10,000 steps instead of 60?
# 3. The energy raises an alarm where it is higher than for 95 % of images held out from training. Is the rate of
#    false alarms right? Are anomalies found?
#
# Answer in about 150 words.

# %% [markdown] argue="argue_temperature" points=2
# ### BEGIN SOLUTION
# 1. $\varepsilon / 2 = 10$, so $\varepsilon = 20$; $\sqrt{20\, T} = 0.005$, so $T = 1.25 \cdot 10^{-6}$. It would be
#    a Langevin step for $e^{-E/T} = e^{-800{,}000\, E}$. At that temperature the noise hardly counts: the 60 steps are
#    gradient descent from a random start, which ends in a nearby valley or on the way there, far from equilibrium.
# 2. Training compares the gradients $\partial E / \partial \theta$ at the data with those at the *ends of the 60
#    steps*, and stops when they agree on average. So the noise, the 60 steps and $E$ together have become a generator
#    of images. Nothing makes $e^{-E}$ or $e^{-E/T}$ the density of the data, for neither was ever sampled. Chains
#    that go on leave the images: they sink to lower energies, typically to saturated or otherwise unnatural images, or to
#    the same few from all starts.
# 3. False alarms: yes, about 5 %, for any function that was fixed before it saw the held-out images, if
#    these and the new normal images are drawn from the same distribution: every order of their energies is equally likely.
#    Anomalies: not assured. Where no chain came, nothing has shaped the energy; foreign images may have the energies of
#    normal ones. It has to be measured.
#
# **Rubric.** ½ for $\varepsilon$, $T$ and "nearly gradient descent"; ½ for what is matched (averages at the end of 60
# steps, no density); ½ for a reasoned forecast of long chains; ½ for "false alarms are right for any energy, but nothing
# promises that anomalies are found".
# ### END SOLUTION

# %% [markdown] given="end"
# ---
# Before you hand in: *Kernel → Restart Kernel and Run All Cells*, then the **Validate** button. It runs the
# visible tests.
