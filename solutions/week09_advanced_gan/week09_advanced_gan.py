# %% [markdown] given="title"
# # Week 9 · Exercise: Other distances, other constraints, other styles
#
# {{colab}}
#
# The preparation moved earth along straight lines, bounded a dense layer's slope, and gave each image a style.
# Here you change all three:
#
# - earth that is moved **as a taxi drives**: the penalty that belongs to this distance, and a critic trained
#   with it;
# - the **slope of a whole convolution**, and **features matched class by class**;
# - translators that **cannot hide a message** in their result, and a modulated convolution that **mixes its
#   kernel** from a bank, anew for each image.
#
# **20 points, about 2½ hours.** Six gaps are graded automatically (18 points), a question by a person (2 points).
#
# ## How it works
#
# - Write your answer where it says `raise NotImplementedError`. Keep the names and arguments of the functions.
# - The cell after each gap tests your answer and says what is wrong. When you hand in, further tests run on other
#   inputs.
# - All arrays of numbers arrive as NumPy `float32` (tensors where the test differentiates), class labels as
#   integers. Return NumPy arrays or TensorFlow tensors, in `float32` or `float64`, as you like (gaps 1, 2, 3
#   and 5: TensorFlow, since the test differentiates). Do not change the arrays that come in.
# - Where chance plays a part in gaps 1 to 5, it is given; nothing is drawn there.
# - Networks arrive as functions of a batch and an array of parameters. They compute with TensorFlow, in the
#   batch's dtype.
# - Each gap is tested on its own, from given values. If your answer calls your function from an earlier gap, make
#   that one pass first.
#
# **Letters:** B batch, H and W the height and width of images, C channels, N kernels of a bank, D features.

# %% setup

# %% given="imports"
import keras
import numpy as np
import tensorflow as tf
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from utils import gradients, stattests

# %% [markdown] given="taxi_task"
# ## 1 · Slopes
#
# ### Gap 1 · A penalty for another distance (4 points, 30 minutes)
#
# The Wasserstein distance depends on what it costs to move from x to y. The preparation took the Euclidean
# distance of all numbers of an image. Here an image changes **pixel by pixel**, as a taxi drives block by
# block: the cost is the sum over pixels of how far the pixel's colour moves,
#
# $$d(x, y) = \sum_{p} \Big(\sum_{c} (x_{pc} - y_{pc})^2\Big)^{1/2},$$
#
# with p a pixel (row and column) and c a channel. A critic may then rise by at most $K\, d(x, y)$ from y to x. What
# this means for its gradient is given by the *dual norm*: instead of a sum over pixels, the **largest** pixel,
#
# $$\|g\|_* = \max_{p} \Big(\sum_{c} g_{pc}^2\Big)^{1/2}, \qquad \|\nabla f(x)\|_* \le K \text{ everywhere}$$
#
# (Adler and Lunz, 2018, for other norms). Only too steep slopes are punished, at points between a real and a
# generated image of the same row:
#
# $$R = \frac1B \sum_{i=1}^{B} \max\big(0,\; \|\nabla f(\hat x_i)\|_* - K\big)^2, \qquad \hat x_i = \alpha_i\, x_i + (1 - \alpha_i)\, \tilde
# x_i,$$
#
# with real $x_i$, generated $\tilde x_i$, and **given** $\alpha_i$. `critic(x, theta)` gives a number for each
# image. The test differentiates R by `theta`: R must remain a function of the critic's parameters. A critic that
# is flat, at one pixel or everywhere, adds 0, with a gradient of 0 (a small number below the root does no harm).
#
# <details><summary>Hint</summary>
#
# `critic(x, theta)` inside a `tf.GradientTape` that watches $\hat x$; its `gradient` is again something to
# differentiate. The arrays come from NumPy: `tf.convert_to_tensor` before `tape.watch`. $\alpha$ needs the shape
# (B, 1, 1, 1).
# </details>


# %% solution="taxi_penalty"
def taxi_penalty(critic, theta, real, fake, alpha, K):
    """critic(x, theta) → (B,); real, fake: (B, H, W, C); alpha: (B,) in [0, 1]; K: number > 0 → R, a number."""
    ### BEGIN SOLUTION
    share = tf.reshape(alpha, (-1, 1, 1, 1))  # one for each image
    between = share * real + (1 - share) * fake
    with tf.GradientTape() as tape:
        tape.watch(between)
        value = critic(between, theta)
    slope = tape.gradient(value, between)  # (B, H, W, C)
    pixels = tf.sqrt(tf.reduce_sum(slope**2, axis=3))  # (B, H, W)
    steepest = tf.reduce_max(pixels, axis=(1, 2))
    return tf.reduce_mean(tf.nn.relu(steepest - K) ** 2)
    ### END SOLUTION


# %% test="taxi_penalty" points=4
TAXI_HINT = (
    "At the points between: the root of a sum over channels, the largest of these over pixels, what exceeds K squared, "
    "a mean over images. Is alpha the real image's share?"
)


def linear_critic(x, theta):
    return tf.reduce_sum(x * tf.cast(theta, x.dtype), axis=[1, 2, 3])


def bent_critic(x, theta):  # its gradient is theta where x > 1, theta · x where 0 < x < 1, else 0
    bowl = tf.where(x > 1, x - 0.5, tf.nn.relu(x) ** 2 / 2)
    return tf.reduce_sum(bowl * tf.cast(theta, x.dtype), axis=[1, 2, 3])


def check_taxi(what, critic, theta, real, fake, alpha, K, exact, slope=None):
    """The penalty, and its gradient by theta where `slope` is given."""
    arrays = [np.array(t, np.float32) for t in (theta, real, fake, alpha)]
    answer = stattests.call(taxi_penalty, critic, *arrays, K)
    stattests.assert_close(f"R, {what}", answer, exact, rtol=1e-3, atol=1e-5, hint=TAXI_HINT)
    if slope is None:
        return
    (found,) = gradients.grad_of(taxi_penalty, [critic, *arrays, K], wrt=[1])
    assert found is not None, (
        f"dR/dtheta, {what}: no gradient reaches theta. Is all computed by TensorFlow, without .numpy() and without a "
        "stopped gradient?"
    )
    hint = "R itself is right: is its gradient NaN where a slope is 0, or is a gradient stopped?"
    stattests.assert_close(f"dR/dtheta, {what}", found, slope, rtol=2e-3, atol=1e-4, hint=hint)


# Two images of 1×2 pixels with two channels. A linear critic has the same slope everywhere: pixels of slope 5 and 1.
theta = [[[3.0, -4.0], [0.6, 0.8]]]
real, fake = [[[[0.9, 0.2], [0.4, 0.7]]], [[[0.3, 0.8], [0.5, 0.1]]]], [[[[0.1, 0.6], [0.2, 0.3]]]] * 2
for K, exact in [(1.0, 16.0), (4.5, 0.25), (5.5, 0.0)]:
    check_taxi(f"a linear critic, K = {K:g}", linear_critic, theta, real, fake, [0.2, 0.9], K, exact)
square = np.zeros((1, 2, 2, 1))  # 2×2 pixels: the steepest of all four, not of a row or a column
check_taxi("2×2 pixels", linear_critic, [[[1.0], [2.0]], [[3.0], [0.0]]], square, square, [0.5], 1.0, 4.0)
theta = [[[2.0, -1.0], [1.0, 3.0]]]
check_taxi(
    "a bent critic",
    bent_critic,
    theta,
    real,
    fake,
    [0.25, 0.8],
    0.5,
    0.351933,
    [[[0.061791, -0.263983], [0.037006, 0.284204]]],
)
dark = [real[0], np.full((1, 2, 2), -1.0)]
check_taxi(
    "an image where the critic is flat",
    bent_critic,
    theta,
    dark,
    dark,
    [0.5, 0.5],
    0.5,
    1.341122,
    [[[0.000000, 0.000000], [0.122578, 1.126182]]],
)
theta = [[[3.0, -4.0], [0.0, 0.0]]]
check_taxi(
    "a pixel where the critic is flat",
    bent_critic,
    theta,
    real,
    fake,
    [0.25, 0.8],
    0.5,
    4.914179,
    [[[0.378937, -2.714342], [0.000000, 0.000000]]],
)
### BEGIN HIDDEN TESTS
# Other images, critics and bounds; the gradient by the critic's parameters, where the critic is flat as well.


def bent_penalty(theta, real, fake, alpha, K):
    """One image after the other, with the critic's slope in closed form."""
    total = 0.0
    for x, y, a in zip(real, fake, alpha):
        slope = theta * np.clip(a * x + (1 - a) * y, 0, 1)
        total += max(0.0, np.sqrt(np.max(np.sum(slope**2, axis=-1))) - K) ** 2
    return total / len(alpha)


def slopes(f, x, e=1e-5):
    """Central differences of a number f(x) by each entry of x."""
    g = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += e
        down[i] -= e
        g[i] = (f(up) - f(down)) / (2 * e)
    return g


def check_random_taxi(rng, B, H, W, C, K, flat=False):
    """Redrawn where two pixels of an image are almost equally steep: either may then count as the steepest."""
    real, fake, theta = (np.round(rng.normal(0.3, 1.5, size=(n, H, W, C)), 2) for n in (B, B, 1))
    theta, alpha = theta[0], np.round(rng.uniform(0.05, 0.95, size=B), 2)
    if flat:  # the critic knows nothing of a pixel, and is flat at an image
        theta[0, 0], real[1], fake[1] = 0, -np.abs(real[1]), -np.abs(fake[1])
    numbers = [t.astype(np.float32).astype(float) for t in (theta, real, fake, alpha)]
    share = alpha[:, None, None, None]
    slope = numbers[0] * np.clip(share * numbers[1] + (1 - share) * numbers[2], 0, 1)
    norms = np.sort(np.sqrt(np.sum(slope**2, axis=3)).reshape(B, -1), axis=1)
    if H * W > 1 and np.any((norms[:, -1] > 0) & (norms[:, -1] - norms[:, -2] < 1e-3)):
        return check_random_taxi(rng, B, H, W, C, K, flat)
    exact = bent_penalty(*numbers, K)
    g = slopes(lambda t: bent_penalty(t, *numbers[1:], K), numbers[0])
    what = f"{B} images of {H}×{W} pixels with {C} channels" + (", flat at some places" if flat else "")
    check_taxi(what, bent_critic, theta, real, fake, alpha, K, exact, g)


rng = stattests.grading_rng("taxi_penalty")
check_random_taxi(rng, B=5, H=3, W=2, C=3, K=0.7)
check_random_taxi(rng, B=3, H=2, W=4, C=1, K=1.2)
check_random_taxi(rng, B=2, H=2, W=3, C=2, K=0.4, flat=True)
check_random_taxi(rng, B=1, H=1, W=1, C=4, K=0.2)
### END HIDDEN TESTS

# %% [markdown] given="conv_task"
# ### Gap 2 · The slope of a convolution (3 points, 25 minutes)
#
# A convolution without bias is a linear map from images (H, W, C_in) to images (H', W', C_out), though nobody
# writes down its matrix A. Its slope, the spectral norm σ(A), is *not* that of the kernel as a matrix: Miyato
# et al. (2018) reshape the kernel to (size · size · C_in, C_out) and take the norm of that, which is cheap and
# may be off by a factor (Gouk et al., 2021). Power iteration needs no matrix, only the map and its transpose.
# With $|\cdot|$ the root of the sum of all squares, a turn is
#
# $$u \leftarrow A v \,/\, |A v|, \qquad v \leftarrow A^\top u \,/\, |A^\top u|,$$
#
# where $Av$ is `tf.nn.conv2d` with the given stride and padding `"SAME"`. After all turns,
#
# $$\sigma = u^\top A v \quad\text{with}\quad u = A v / |A v|.$$
#
# Return σ and the last v. In a training the iteration is not differentiated: **u and v count as constants**, so
# that $\partial \sigma / \partial A = u v^\top$ also where the iteration is not yet done, and no gradient comes
# out of the returned v. The test differentiates σ, and the sum of v, by the kernel.
#
# <details><summary>Hint</summary>
#
# `tf.nn.conv2d_transpose(u, kernel, output_shape, stride, "SAME")` with the same kernel is the transpose of
# `tf.nn.conv2d(v, kernel, stride, "SAME")`, for v of shape `output_shape`. Both want a batch: `v[None]` is a
# batch of one.
# </details>


# %% solution="conv_norm"
def conv_norm(kernel, v, stride, turns):
    """kernel: (size, size, C_in, C_out); v: (H, W, C_in), not 0; stride, turns: int ≥ 1 → σ, a number; v (H, W, C_in)."""
    ### BEGIN SOLUTION
    v = tf.convert_to_tensor(v)[None]
    for _ in range(turns):
        u = tf.nn.conv2d(v, kernel, stride, "SAME")
        u = u / tf.norm(u)
        v = tf.nn.conv2d_transpose(u, kernel, v.shape, stride, "SAME")
        v = v / tf.norm(v)
    v = tf.stop_gradient(v)
    Av = tf.nn.conv2d(v, kernel, stride, "SAME")
    u = tf.stop_gradient(Av / tf.norm(Av))
    return tf.reduce_sum(u * Av), v[0]
    ### END SOLUTION


# %% test="conv_norm" points=3
CONV_HINT = "A turn: a convolution, unit length, its transpose, unit length; then σ with the last v, and u anew from it."


def check_conv(what, kernel, v, stride, turns, sigma, new=None, slope=None):
    """σ; the last v and the gradient by the kernel where they are given."""
    kernel, v = np.array(kernel, np.float32), np.array(v, np.float32)
    answer = stattests.call(conv_norm, kernel, v, stride, turns)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, "return a number and an array: σ and v"
    stattests.assert_close(f"σ, {what}", answer[0], sigma, rtol=1e-3, hint=CONV_HINT)
    found = stattests.assert_array(f"v, {what}", answer[1], v.shape)
    if new is not None:
        stattests.assert_close(f"v, {what}", found, new, rtol=2e-3, atol=1e-4, hint=CONV_HINT)
    if slope is not None:
        (found,) = gradients.grad_of(conv_norm, [kernel, v, stride, turns])
        assert found is not None, (
            f"dσ/dkernel, {what}: no gradient reaches the kernel. Only u and v are constants"
        )
        hint = "σ itself is right: are u and v constants, and is σ computed from the kernel with them?"
        stattests.assert_close(f"d(σ + Σv)/dkernel, {what}", found, slope, rtol=2e-3, atol=1e-4, hint=hint)


start = np.random.default_rng(0).normal(size=(5, 4, 1))
shift = np.zeros((3, 3, 1, 1))
shift[0, 1] = -2
check_conv("a kernel that shifts by a row, times −2", shift, start, 1, 30, 2.0)
check_conv("the same with stride 2", shift, start, 2, 30, 2.0)
# All ones, 3×3, on 5×4 pixels: no kernel as a matrix has this norm (3).
check_conv("a kernel of ones", np.ones((3, 3, 1, 1)), start, 1, 40, 7.152602)
# Two channels to three, each pixel for itself: |(3, 4, 0)| = 5, |(0, 0, 2)| = 2.
kernel, v = np.reshape([3.0, 4, 0, 0, 0, 2], (1, 1, 2, 3)), np.ones((2, 3, 2))
check_conv("two channels to three", kernel, v, 1, 20, 5.0)
# A row of three pixels and a kernel for neighbours: A = [[2, −½, 0], [1, 2, −½], [0, 1, 2]].
kernel = np.reshape([1.0, 2.0, -0.5], (1, 3, 1, 1))
v = np.reshape([1.0, 0.5, -1.0], (1, 3, 1))
for turns, sigma, new, slope in [
    (1, 2.318425, [0.768517, 0.336226, -0.544366], [0.458748, 0.878908, -0.203722]),
    (2, 2.352158, [0.821643, 0.367227, -0.435944], [0.540919, 0.880391, -0.100913]),
]:
    new, slope = np.reshape(new, (1, 3, 1)), np.reshape(slope, (1, 3, 1, 1))
    check_conv(f"three pixels, turns = {turns}", kernel, v, 1, turns, sigma, new, slope)
### BEGIN HIDDEN TESTS
# Other kernels, sizes and strides, few turns and many, compared with the matrix of the convolution; the gradient by the kernel.


def matrix_of(kernel, H, W, stride):
    """The convolution's matrix, a column for each number of the input."""
    basis = np.eye(H * W * kernel.shape[2]).reshape(-1, H, W, kernel.shape[2])
    return tf.nn.conv2d(basis, kernel, stride, "SAME").numpy().reshape(len(basis), -1).T


def check_random_conv(rng, size, H, W, C_in, C_out, stride, turns, many=False):
    kernel, v = rng.normal(size=(size, size, C_in, C_out)), rng.normal(size=(H, W, C_in))
    kernel, v = (t.astype(np.float32).astype(float) for t in (kernel, v))
    what = f"a {size}×{size} kernel for {H}×{W} pixels, {C_in} to {C_out} channels, stride {stride}, turns = {turns}"
    A = matrix_of(kernel, H, W, stride)
    new = v.ravel()
    for _ in range(turns):
        new = A.T @ (A @ new)
        new /= np.linalg.norm(new)
    sigma = np.linalg.norm(A @ new)
    if many:  # two directions that are stretched nearly alike: v may still turn, σ hardly changes
        return check_conv(what, kernel, v, stride, turns, sigma)
    # A patch of the input for each place of the output, times u there: the derivative of uᵀ A v by the kernel.
    parts = np.eye(size * size * C_in).reshape(size, size, C_in, -1)
    patches = (
        tf.nn.conv2d(new.reshape(1, H, W, C_in), parts, stride, "SAME")
        .numpy()
        .reshape(-1, size * size * C_in)
    )
    slope = (patches.T @ (A @ new / sigma).reshape(-1, C_out)).reshape(kernel.shape)
    check_conv(what, kernel, v, stride, turns, sigma, new.reshape(v.shape), slope)


rng = stattests.grading_rng("conv_norm")
check_random_conv(rng, 3, 5, 4, 2, 3, stride=1, turns=1)
check_random_conv(rng, 3, 6, 5, 3, 2, stride=2, turns=2)
check_random_conv(rng, 2, 4, 4, 1, 2, stride=1, turns=3)
check_random_conv(rng, 3, 5, 5, 2, 2, stride=1, turns=150, many=True)
check_random_conv(rng, 3, 7, 5, 2, 3, stride=2, turns=150, many=True)
### END HIDDEN TESTS

# %% [markdown] given="cycle_task"
# ## 2 · Two translators
#
# ### Gap 3 · No secret messages (3 points, 20 minutes)
#
# The cycle loss has a loophole: G may draw what pleases the discriminator, and hide in it, as differences too
# small to be seen, the image that F shall find again (Chu et al., 2017). Two changes:
#
# - **The result is rounded** before it is translated back, to L levels of grey:
#   $\rho(x) = \mathrm{round}((L - 1)\, x) / (L - 1)$. A message that is smaller than half a level is lost.
#   (Values outside of [0, 1] are rounded too, not clipped.)
#   Rounding has no useful derivative, so take week 7's **straight-through** estimate: forward ρ, and in the
#   gradient as if ρ were the identity.
# - **An image that is already there stays as it is** (Zhu et al., 2017, for paintings to photographs): an
#   *identity loss* on each translator's *target* domain. Nothing is rounded in it.
#
# $$\mathcal{L}_\text{cycle} = \overline{\big|F(\rho(G(a))) - a\big|} + \overline{\big|G(\rho(F(b))) - b\big|}, \qquad
# \mathcal{L}_\text{identity} = \overline{\big|G(b) - b\big|} + \overline{\big|F(a) - a\big|}.$$
#
# The bar is the mean over all numbers of all images. G translates from domain A to B, F from B to A;
# `G(x, theta_G)` and `F(x, theta_F)` give images of the shape of x. The numbers of images a and b may differ.
# Return both losses. The test differentiates their sum by `theta_G` and `theta_F`.
#
# <details><summary>Hint</summary>
#
# `x + tf.stop_gradient(rounded - x)` is `rounded` for the forward pass, and x for the gradient.
# </details>


# %% solution="cycle_losses"
def cycle_losses(G, F, theta_G, theta_F, a, b, L):
    """a: (M, H, W, C), b: (N, H, W, C), images; L: int ≥ 2, levels → the cycle loss and the identity loss, two numbers."""

    ### BEGIN SOLUTION
    def rounded(x):
        return x + tf.stop_gradient(tf.round((L - 1) * x) / (L - 1) - x)

    def distance(x, y):
        return tf.reduce_mean(tf.abs(x - y))

    back_a = F(rounded(G(a, theta_G)), theta_F)
    back_b = G(rounded(F(b, theta_F)), theta_G)
    cycle = distance(back_a, a) + distance(back_b, b)
    identity = distance(G(b, theta_G), b) + distance(F(a, theta_F), a)
    return cycle, identity
    ### END SOLUTION


# %% test="cycle_losses" points=3
CYCLE_HINT = "Which translator begins, which leads back? The identity losses: G with b, F with a. Each a mean, not a sum."


def mix_G(x, theta):  # mixes the channels of each pixel, then a sigmoid
    x = tf.convert_to_tensor(x)
    return tf.sigmoid(2 * tf.einsum("bhwi,ij->bhwj", x, tf.cast(theta, x.dtype)) - 1)


def mix_F(x, theta):
    x = tf.convert_to_tensor(x)
    return tf.einsum("bhwi,ij->bhwj", x + x**2 / 2, tf.cast(theta, x.dtype))


def check_cycle(what, theta_G, theta_F, a, b, L, exact, slope=None):
    arrays = [np.array(t, np.float32) for t in (theta_G, theta_F, a, b)]
    answer = stattests.call(cycle_losses, mix_G, mix_F, *arrays, L)
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, (
        "return two numbers: cycle and identity loss"
    )
    for name, value, right in zip(["the cycle loss", "the identity loss"], answer, exact):
        stattests.assert_close(f"{name}, {what}", value, right, rtol=5e-4, atol=1e-5, hint=CYCLE_HINT)
    if slope is None:
        return
    found = gradients.grad_of(cycle_losses, [mix_G, mix_F, *arrays, L], wrt=[2, 3])
    for name, value, right in zip(["theta_G", "theta_F"], found, slope):
        assert value is not None, (
            f"no gradient reaches {name}: is all computed by TensorFlow, without .numpy()?"
        )
        hint = "The losses themselves are right: does the gradient pass the rounding, as if it were the identity?"
        stattests.assert_close(
            f"d(both losses)/d{name}, {what}", value, right, rtol=2e-3, atol=1e-4, hint=hint
        )


# One channel: images of three pixels; two of them in a, one in b.
a, b = (
    np.reshape([0.21, 0.7, 0.43, 0.9, 0.12, 0.6], (2, 1, 3, 1)),
    np.reshape([0.3, 0.82, 0.55], (1, 1, 3, 1)),
)
for L, theta_F, exact, slope in [
    (2, 0.65, [0.387889, 0.175195], [-0.121880, -0.182710]),
    (5, 0.65, [0.254990, 0.175195], [-0.554199, -1.371301]),
    (4, 1.5, [0.633147, 0.590221], [0.730636, 1.503301]),  # F(b) exceeds 1
]:
    what, slope = f"one channel, L = {L}", np.reshape(slope, (2, 1, 1))
    check_cycle(what, [[0.95]], [[theta_F]], a, b, L, exact, slope)
### BEGIN HIDDEN TESTS
# Other images, levels and translators with several channels; the gradients with the rounding as a constant shift.


def losses_of(theta_G, theta_F, a, b, L, shifts=None):
    """→ both losses, the shifts by rounding and all differences, in float64. Given `shifts` are added in place of rounding."""

    def G(x):
        return 1 / (1 + np.exp(1 - 2 * x @ theta_G))

    def F(x):
        return (x + x**2 / 2) @ theta_F

    fakes = [G(a), F(b)]
    shifts = shifts or [np.round((L - 1) * x) / (L - 1) - x for x in fakes]
    differences = [F(fakes[0] + shifts[0]) - a, G(fakes[1] + shifts[1]) - b, G(b) - b, F(a) - a]
    means = [np.mean(np.abs(x)) for x in differences]
    return np.array([means[0] + means[1], means[2] + means[3]]), shifts, differences


def check_random_cycle(rng, M, N, H, W, C, L):
    """Redrawn until nothing is close to half a level or to a corner of |·|, where float32 and float64 may differ."""
    while True:
        a, b = (rng.uniform(size=(n, H, W, C)).astype(np.float32).astype(float) for n in (M, N))
        theta = [
            (rng.normal(size=(C, C)) / C + 0.5 * np.eye(C)).astype(np.float32).astype(float) for _ in "GF"
        ]
        exact, shifts, differences = losses_of(*theta, a, b, L)
        halves = max(np.max(np.abs(s)) for s in shifts) * (L - 1)
        if halves < 0.499 and min(np.min(np.abs(x)) for x in differences) > 1e-4:
            break
    slope, e = np.zeros((2, C, C)), 1e-6
    for i in np.ndindex(slope.shape):
        step = np.zeros(slope.shape)
        step[i] = e
        up, down = (losses_of(*(theta + d), a, b, L, shifts)[0].sum() for d in (step, -step))
        slope[i] = (up - down) / (2 * e)
    check_cycle(f"{M} and {N} images with {C} channels, L = {L}", *theta, a, b, L, exact, slope)


rng = stattests.grading_rng("cycle_losses")
check_random_cycle(rng, M=3, N=2, H=2, W=3, C=2, L=3)
check_random_cycle(rng, M=2, N=4, H=1, W=2, C=3, L=9)
check_random_cycle(rng, M=1, N=1, H=4, W=2, C=1, L=2)
### END HIDDEN TESTS

# %% [markdown] given="bank_task"
# ## 3 · Styles and features
#
# ### Gap 4 · A kernel mixed from a bank (3 points, 20 minutes)
#
# One kernel serves all images of a StyleGAN2, scaled by the style. GigaGAN (Kang et al., 2023) keeps a **bank**
# of N kernels $W_1, \dots, W_N$, and each image mixes its own from it before it is scaled. For image b with the
# logits $l_b$ and the scales $s_b$ (one for each input channel i),
#
# $$W'_{b,kij} = s_{bi} \sum_{n=1}^{N} \operatorname{softmax}(l_b)_n\, W_{n,kij}, \qquad
# W''_{b,kij} = W'_{b,kij} \Big/ \sqrt{\textstyle\sum_{k,i} {W'_{b,kij}}^2 + 10^{-8}},$$
#
# with k the place in the kernel and j the output channel. Return the convolutions of each image with its own
# $W''_b$, stride 1, padding `"SAME"`. Mixing comes first, then the norm: the norm of a mixture is not the
# mixture of norms. Logits of ±1000 must do no harm, nor scales that are all 0 (then the result is 0).
#
# <details><summary>Hint</summary>
#
# Either a loop over images, each with `tf.nn.conv2d` and a kernel of its own; or one convolution with all N
# kernels, of the scaled image, and the mixing afterwards. The norm needs the mixed kernel in either case.
# </details>


# %% solution="bank_conv"
def bank_conv(x, s, logits, bank):
    """x: (B, H, W, C_in); s: (B, C_in); logits: (B, N); bank: (N, size, size, C_in, C_out) → (B, H, W, C_out)."""
    ### BEGIN SOLUTION
    mixed = tf.einsum("bn,nhwij->bhwij", tf.nn.softmax(logits), bank)
    scaled = s[:, None, None, :, None] * mixed
    kernels = scaled * tf.math.rsqrt(tf.reduce_sum(scaled**2, axis=(1, 2, 3), keepdims=True) + 1e-8)
    images = [tf.nn.conv2d(x[b][None], kernels[b], 1, "SAME")[0] for b in range(len(x))]
    return tf.stack(images)
    ### END SOLUTION


# %% test="bank_conv" points=3
BANK_HINT = "For each image: the mixture by its own softmax, its scales of the input channels, unit norm for each output channel."


def check_bank(what, x, s, logits, bank, exact):
    answer = stattests.call(bank_conv, *(np.array(t, np.float32) for t in (x, s, logits, bank)))
    stattests.assert_close(f"the result, {what}", answer, exact, rtol=1e-3, atol=1e-4, hint=BANK_HINT)


def spike(B, C_in, channel):
    """A single 1 in the middle of 3×3 pixels: the result is the kernel of this channel, turned by 180 degrees."""
    x = np.zeros((B, 3, 3, C_in))
    x[:, 1, 1, channel] = 1
    return x


# All kernels of one norm give the same result, however they are scaled.
some = np.random.default_rng(0)
bank, x, s = some.normal(size=(2, 3, 3, 2, 2)), some.normal(size=(2, 4, 3, 2)), np.ones((2, 2))
one = stattests.call(bank_conv, *(t.astype(np.float32) for t in (x, 3 * s, np.zeros((2, 1)), bank[:1])))
check_bank("twice the same kernel, other scales", x, s, [[0, 1], [2, 0]], bank[[0, 0]], one)
check_bank("logits of ±1000 choose the first kernel", x, s, [[1000, -1000]] * 2, bank, one)
# The squares of the kernel sum to 1: read it off by a spike in each channel.
power = np.zeros((2, 2))
for channel in (0, 1):
    arguments = [spike(2, 2, channel), [[0.5, 2], [-1, 0.3]], [[0.2, 1], [-1, 3]], bank]
    answer = stattests.call(bank_conv, *(np.array(t, np.float32) for t in arguments))
    power += np.sum(stattests.assert_array("the result", answer, (2, 3, 3, 2)) ** 2, axis=(1, 2))
stattests.assert_close("the squared norm of each kernel", power, np.ones((2, 2)), rtol=1e-3, hint=BANK_HINT)
check_bank("all scales 0", x, 0 * s, [[0, 1], [2, 0]], bank, np.zeros((2, 4, 3, 2)))
# 1×1 kernels, two input channels, one output channel, one pixel.
bank = np.reshape([1.0, 2.0, -1.0, 0.5], (2, 1, 1, 2, 1))
x, s, logits = (
    np.reshape([1.0, 1.0, 2.0, -1.0], (2, 1, 1, 2)),
    [[1.0, 2.0], [0.5, 1.0]],
    [[0.0, 0.0], [1.0, -0.5]],
)
check_bank("two 1×1 kernels", x, s, logits, bank, np.reshape([1.000000, -0.621657], (2, 1, 1, 1)))
check_bank(
    "scales of about 0.0001",
    x,
    np.multiply(s, 1e-4),
    logits,
    bank,
    np.reshape([0.928477, -0.540153], (2, 1, 1, 1)),
)
### BEGIN HIDDEN TESTS
# Other images, scales, logits and banks, compared with the sums of the definition.


def bank_images(x, s, logits, bank):
    """The definition in float64: one image, one place of the kernel after the other."""
    size = bank.shape[1]
    before = (size - 1) // 2
    images = []
    for image, scales, l in zip(x, s, logits):
        share = np.exp(l - l.max()) / np.exp(l - l.max()).sum()
        W = sum(p * W for p, W in zip(share, bank)) * scales[:, None]
        W = W / np.sqrt(np.sum(W**2, axis=(0, 1, 2)) + 1e-8)
        padded = np.pad(image, [(before, size - 1 - before)] * 2 + [(0, 0)])
        H, width = image.shape[:2]
        parts = [padded[i : i + H, j : j + width] @ W[i, j] for i in range(size) for j in range(size)]
        images.append(sum(parts))
    return np.array(images)


def check_random_bank(rng, B, H, W, size, C_in, C_out, N, scale=1.0, spread=1.5):
    shapes = [(B, H, W, C_in), (B, C_in), (B, N), (N, size, size, C_in, C_out)]
    x, s, logits, bank = (rng.normal(size=shape) for shape in shapes)
    arrays = [t.astype(np.float32).astype(float) for t in (x, scale * s, spread * logits, bank)]
    what = f"{B} images, {N} kernels {size}×{size}, {C_in} to {C_out} channels"
    check_bank(what, *arrays, bank_images(*arrays))


rng = stattests.grading_rng("bank_conv")
check_random_bank(rng, B=3, H=4, W=5, size=3, C_in=2, C_out=3, N=4)
check_random_bank(rng, B=4, H=3, W=3, size=1, C_in=3, C_out=2, N=2, spread=500)
check_random_bank(rng, B=2, H=5, W=2, size=3, C_in=4, C_out=2, N=2, scale=2e-5)
check_random_bank(rng, B=1, H=2, W=3, size=3, C_in=1, C_out=1, N=3)
### END HIDDEN TESTS

# %% [markdown] given="matching_task"
# ### Gap 5 · Features matched class by class (2 points, 15 minutes)
#
# Feature matching compares means over all images; a generator may satisfy it by too many of one class and wrong
# ones of another. With labels the means can be compared within each class k. Let $\mu_k$ be the mean feature
# vector of the real images of class k, $\nu_k$ that of the generated ones, $N_k$ the number of generated images
# of class k out of N, and $s_j^2$ the variance (divisor: number of images) of feature j over **all** real
# images:
#
# $$\mathcal{L} = \sum_{k} \frac{N_k}{N} \sum_{j=1}^{D} \frac{(\mu_{kj} - \nu_{kj})^2}{s_j^2 + \epsilon}.$$
#
# Classes that have no real or no generated image in this batch are left out of the sum over k (N stays the
# number of all generated images). The generator must move towards the data, and not the data's features towards
# the generator's: **no gradient flows to the real features**. The test differentiates by both.
#
# <details><summary>Hint</summary>
#
# A loop over the labels that occur, with `tf.boolean_mask(fake, y_fake == k)`. The mean of no rows is NaN.
# </details>


# %% solution="class_matching"
def class_matching(real, fake, y_real, y_fake, eps):
    """real: (M, D), fake: (N, D), features; y_real: (M,), y_fake: (N,), int labels; eps: number > 0 → the loss, a number."""
    ### BEGIN SOLUTION
    real = tf.stop_gradient(real)
    variance = tf.math.reduce_variance(real, axis=0)
    loss = 0.0
    for k in set(np.asarray(y_real)) & set(np.asarray(y_fake)):
        mu = tf.reduce_mean(real[y_real == k], axis=0)
        nu = tf.reduce_mean(fake[y_fake == k], axis=0)
        loss += np.mean(y_fake == k) * tf.reduce_sum((mu - nu) ** 2 / (variance + eps))
    return loss
    ### END SOLUTION


# %% test="class_matching" points=2
MATCHING_HINT = "Means first, then differences, within a class; the variance over all real images; weights by generated images."


def check_matching(what, real, fake, y_real, y_fake, eps, exact, slope=None):
    arrays = [np.array(real, np.float32), np.array(fake, np.float32), np.array(y_real), np.array(y_fake)]
    answer = stattests.call(class_matching, *arrays, eps)
    stattests.assert_close(f"the loss, {what}", answer, exact, rtol=1e-3, atol=1e-5, hint=MATCHING_HINT)
    if slope is None:
        return
    to_real, to_fake = gradients.grad_of(class_matching, [*arrays, eps], wrt=[0, 1])
    assert to_fake is not None, (
        f"{what}: no gradient reaches the generated features: is all computed by TensorFlow?"
    )
    stattests.assert_close(f"dL/dfake, {what}", to_fake, slope, rtol=2e-3, atol=1e-4, hint=MATCHING_HINT)
    assert to_real is None or not np.any(np.asarray(to_real)), (
        f"{what}: a gradient reaches the real features, also by way of their variance? They are the goal, and stay"
    )


real, fake = [[0.0, 1.0], [2.0, 0.0], [1.0, 5.0]], [[1.0, 1.0], [0.0, 2.0], [2.0, 4.0], [5.0, 5.0]]
slope = np.reshape(
    [-0.326087, 0.104895, -0.326087, 0.104895, 0.652174, -0.104895, 0.000000, 0.000000], (4, 2)
)
check_matching("three classes", real, fake, [0, 0, 2], [0, 0, 2, 1], 0.1, 0.646473, slope)
check_matching("no class in common", real, np.ones((1, 2)), [0, 0, 2], [1], 0.1, 0.0)
swapped = [[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]
check_matching("equal overall means", swapped, swapped[::-1], [3, 3, 4, 4], [3, 3, 4, 4], 0.75, 2.0)
### BEGIN HIDDEN TESTS
# Other features, classes and ε, one class and one feature after the other; the gradients.


def matching_sums(real, fake, y_real, y_fake, eps):
    total = 0.0
    for k in range(10):
        a, b = real[y_real == k], fake[y_fake == k]
        if len(a) and len(b):
            for j in range(real.shape[1]):
                spread = np.mean((real[:, j] - real[:, j].mean()) ** 2) + eps
                total += len(b) / len(fake) * (a[:, j].mean() - b[:, j].mean()) ** 2 / spread
    return total


def check_random_matching(rng, y_real, y_fake, D, flat=False):
    y_real, y_fake = rng.permutation(y_real), rng.permutation(y_fake)
    real, fake = (
        rng.normal(m, 1.5, size=(len(y), D)).astype(np.float32).astype(float)
        for m, y in [(0, y_real), (1, y_fake)]
    )
    real[:, 0] = 0.5 if flat else real[:, 0]  # a feature that does not vary
    eps, e, slope = float(np.round(rng.uniform(0.2, 0.9), 2)), 1e-5, np.zeros(fake.shape)
    for i in np.ndindex(fake.shape):
        step = np.zeros(fake.shape)
        step[i] = e
        up, down = (matching_sums(real, fake + d, y_real, y_fake, eps) for d in (step, -step))
        slope[i] = (up - down) / (2 * e)
    what = f"{len(real)} real and {len(fake)} generated images, {D} features, ε = {eps}"
    check_matching(
        what, real, fake, y_real, y_fake, eps, matching_sums(real, fake, y_real, y_fake, eps), slope
    )


rng = stattests.grading_rng("class_matching")
check_random_matching(rng, [0, 0, 0, 1, 1, 4], [0, 1, 1, 1, 1, 2, 3], D=3)
check_random_matching(rng, [7, 7, 8], [7, 8, 8, 8, 8], D=1)
check_random_matching(rng, [2, 2, 2, 5], [2], D=2, flat=True)
### END HIDDEN TESTS

# %% [markdown] given="critic_task"
# ## 4 · A critic for a taxi
#
# ### Gap 6 · Train it (3 points, 25 minutes)
#
# On a circle lie eight clusters, by turns of 500 `points_x` (right, top, left, bottom) and of 500 `points_y`
# (in between). How far is it by taxi, $d(x, y) = |x_1 - y_1| + |x_2 - y_2|$? The network that `build_critic`
# makes shall learn it: a critic f with $\overline{f(x)} - \overline{f(y)}$ as large as possible, but nowhere
# rising by more than d. For points in the plane the dual norm of the gradient is the larger of
# $|\partial f / \partial x_1|$ and $|\partial f / \partial x_2|$: gap 1 with two pixels and one channel. A
# Euclidean penalty gives a critic of another shape, which is not enough here.
#
# Hand over the weights of the critic (`get_weights()`). The test divides by the steepest pair,
#
# $$\frac{\overline{f(x)} - \overline{f(y)}}{\max_{ij} |f(x_i) - f(y_j)| \,/\, d(x_i, y_j)} \;\le\; W_1,$$
#
# which no critic can push above the exact $W_1$, and which does not depend on the size of f, only on its shape.
# You pass with **at least 90 % of the exact $W_1$**, on the points given and on fresh ones. Any constraint may
# be used. Training takes 1 to 5 seconds; the grader stops it after two minutes. Only `seed=0` is judged.
#
# <details><summary>Hint</summary>
#
# Put the whole loop into one `tf.function` with `for _ in tf.range(steps)`. 600 steps with batches of 128 of
# each suffice; Adam with the rate 0.01, falling to 0 by `keras.optimizers.schedules.CosineDecay`; a penalty of
# 10 times $\max(0, \|\nabla f\|_* - 1)^2$ at points between the two batches. Build the optimiser before the
# loop (`adam.build(critic.trainable_variables)`). `keras.utils.set_random_seed(seed)` comes first. Whose mean
# shall be high?
# </details>


# %% given="taxi_points"
def taxi_points(n, rng):
    """→ x and y, (n, 2) each, in four clusters each, by turns on a circle."""
    angle = np.pi / 2 * rng.integers(4, size=(2, n)) + np.array([[0], [np.pi / 4]])
    points = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=2) + 0.15 * rng.normal(size=(2, n, 2))
    return points[0].astype(np.float32), points[1].astype(np.float32)


def build_critic():
    """→ critic: (B, 2) → (B, 1)."""
    layers = [keras.layers.Dense(64, activation="relu") for _ in range(2)]
    return keras.Sequential([keras.Input((2,)), *layers, keras.layers.Dense(1)])


points_x, points_y = taxi_points(500, np.random.default_rng(0))


# %% solution="train_critic"
def train_critic(x, y, seed):
    """x: (N, 2), where the critic is high; y: (N, 2), where it is low → critic.get_weights(), a list of six arrays."""
    ### BEGIN SOLUTION
    keras.utils.set_random_seed(seed)
    critic, steps, B, weight = build_critic(), 600, 128, 10.0
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, steps), beta_1=0.5, beta_2=0.9)
    adam.build(critic.trainable_variables)
    x, y = tf.constant(x), tf.constant(y)

    def batch(points):
        return tf.gather(points, tf.random.uniform((B,), maxval=points.shape[0], dtype=tf.int32))

    def penalty(high, low):
        alpha = tf.random.uniform((B, 1))
        between = alpha * high + (1 - alpha) * low
        with tf.GradientTape() as tape:
            tape.watch(between)
            value = critic(between)
        steepest = tf.reduce_max(tf.abs(tape.gradient(value, between)), axis=1)
        return tf.reduce_mean(tf.nn.relu(steepest - 1) ** 2)

    @tf.function
    def run():
        for _ in tf.range(steps):
            high, low = batch(x), batch(y)
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(critic(low)) - tf.reduce_mean(critic(high))
                loss = loss + weight * penalty(high, low)
            adam.apply(tape.gradient(loss, critic.trainable_variables), critic.trainable_variables)

    run()
    return critic.get_weights()
    ### END SOLUTION


# %% test="train_critic" points=3
def share_of_distance(critic, x, y):
    """The critic's lower bound of W₁, divided by the exact W₁ of the points x (N, 2) and y (N, 2)."""
    cost = cdist(x, y, "cityblock")
    f_x, f_y = (critic(points).numpy().astype(float)[:, 0] for points in (x, y))
    steepest = np.max(np.abs(f_x[:, None] - f_y) / cost)
    return (np.mean(f_x) - np.mean(f_y)) / max(steepest, 1e-9) / np.mean(cost[linear_sum_assignment(cost)])


answer = stattests.call(train_critic, points_x, points_y, 0)
critic = build_critic()
assert isinstance(answer, (tuple, list)) and len(answer) == 6, "return critic.get_weights(), six arrays"
critic.set_weights(
    [
        stattests.assert_array(f"array {i}", w, v.shape, most=1000)
        for i, (w, v) in enumerate(zip(answer, critic.weights))
    ]
)
share = share_of_distance(critic, points_x, points_y)
print(f"{share:.1%} of the exact distance")
CRITIC_HINT = (
    "Is the critic high at x and low at y? Is the penalty that of the taxi's distance, does it enter the loss with the right "
    "sign, and can it be differentiated? Do the steps suffice?"
)
assert share >= 0.9, f"{share:.1%} of the exact distance, at least 90 % expected. {CRITIC_HINT}"
### BEGIN HIDDEN TESTS
# Fresh points. The threshold is empirical: over 50 seeds the reference reaches 97.8 to 99.6 % on the points given and 96.8 to
# 98.7 % on fresh ones; the worst minus the range is 95 %. Five points more are left for other ways to train.
share = share_of_distance(critic, *taxi_points(500, stattests.grading_rng("train_critic")))
assert share >= 0.9, (
    f"{share:.1%} of the exact distance on fresh points, at least 90 % expected. {CRITIC_HINT}"
)
### END HIDDEN TESTS

# %% [markdown] given="argue_task"
# ## 5 · A question to argue (2 points, 15 minutes)
#
# Three "models" of the grey digits are compared by the *exact* Wasserstein distance (Euclidean, pixels scaled
# to [0, 1]) of their images to test images. A hands out real images that are not among the test images. B
# hands out one of 40 prototypes, each a mean of similar other real images. C hands out A's images, faded: 0.8 times
# the image plus 0.2 times the mean image.
#
# | | 400 images each | 64 images each, mean of 200 draws |
# |---|---|---|
# | A: real images | 1.375 | 1.805 |
# | B: 40 prototypes | 1.412 (+0.037 ± 0.016) | 1.634 (−0.171 ± 0.011) |
# | C: faded images | 1.309 (−0.066 ± 0.001) | 1.675 (−0.130 ± 0.001) |
#
# (In brackets the difference to A with its standard error, over three splits. All is measured.)
#
# <details><summary>Measured how?</summary>
#
# `digits-grey`; the 400 test images; A: 400 images of the training part, chosen by seeds 0 to 2. B: 40 centres by
# k-means on the other 797, each handed out ten times, or 64 drawn with replacement. C: the mean image is that of
# the 797. The cheapest assignment by `linear_sum_assignment`.
# </details>
#
# 1. $W_1$ of two distributions is 0 only if they are equal, and A's distribution is that of the test images.
#    Why is A's value not 0, and why do wrong models come out nearer, C always and B with 64 images?
# 2. Someone trains a generator by minimising the exact $W_1$ between batches of 64, with a linear programme in each
#    step. What will it draw? A WGAN with batches of 64 does not do this; what does its critic know that the linear
#    programme does not?
# 3. How would you compare two generators honestly, by $W_1$ or otherwise? Name what you report, and the control.
#
# Answer in about 150 words.

# %% [markdown] argue="argue_samples" points=2
# ### BEGIN SOLUTION
# 1. The table compares *samples*, which are never equal: in 64 dimensions each test image is far from its
#    nearest neighbour among 400 others, whatever the model. A real image has to be matched with another one
#    that deviates in its own way, and pays for both deviations. A prototype or a faded image has (nearly) none
#    of its own; it lies in the middle, so pays for the test image's deviation only. The smaller the sample, the
#    farther the nearest neighbours, and the larger this advantage. So the minimum over models of the *expected
#    distance of samples* is not at the true distribution: the estimate is biased, and differently for each
#    model.
# 2. Something like prototypes, blurred means (medians, more exactly) of similar images. The critic is one
#    smooth function for all batches: it is kept from batch to batch, so it has seen all data and many samples,
#    and cannot fit the accidents of 64 images as the potentials of the linear programme do. It estimates less
#    than the exact distance of the batches, and something nearer to that of the distributions (a WGAN works
#    because it does not compute $W_1$ of batches; Stanczuk et al., 2021).
# 3. For example: always with the same numbers of images, beside the control A, with the spread over splits, and
#    never as proof that a value below the control is better: below it is as suspicious as above. Or a measure
#    whose expectation is unbiased (the kernel distance of week 8), or a classifier that is trained to tell the
#    images from real ones and tested on fresh ones.
#
# **Rubric.** ½ for "samples, not distributions; in many dimensions far apart even if from one distribution"; ½
# for why prototypes or faded images come nearer (no deviation of their own), or the bias in these words; ½ for
# prototypes as the result of 2 and a critic that generalises over batches; ½ for a comparison with a control,
# or an unbiased measure or a test.
# ### END SOLUTION

# %% [markdown] given="end"
# ---
# Before you hand in: *Kernel → Restart Kernel and Run All Cells*, then the **Validate** button. It runs the visible
# tests.
