"""The functions of the week 8 notebook against closed forms and quadrature."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from utils import stattests

tf = pytest.importorskip("tensorflow")
import keras  # noqa: E402

from utils.networks import batches  # noqa: E402


def small_gan(week, gamma=0.0, **options):
    """Two-dimensional data, 3 dimensions of noise."""
    keras.utils.set_random_seed(1)
    return week["GAN"](week["dense"](3, 8, 2), week["dense"](2, 8, 1), 3, gamma, **options)


def points(n, seed=0):
    return np.random.default_rng(seed).normal(1.0, 0.5, size=(n, 2)).astype(np.float32)


GRID = np.linspace(-12, 14, 20_001)
DX = GRID[1] - GRID[0]


def test_js_and_kl_of_gaussians(week):
    p, q = norm.pdf(GRID, 0, 1), norm.pdf(GRID, 1, 1.5)
    exact = np.log(1.5) + (1 + 1) / (2 * 1.5**2) - 0.5
    assert week["kl"](p, q, DX) == pytest.approx(exact, rel=1e-6)
    assert week["js"](p, q, DX) == pytest.approx(week["js"](q, p, DX), rel=1e-12)
    assert week["js"](p, p, DX) == pytest.approx(0, abs=1e-12)


def test_no_logit_has_a_larger_value_than_the_log_ratio(week):
    p, q = norm.pdf(GRID, 0, 1), norm.pdf(GRID, 1, 1.5)
    optimal = np.log(p) - np.log(q)
    best = week["game_value"](optimal, p, q, DX)
    assert best == pytest.approx(2 * week["js"](p, q, DX) - np.log(4), rel=1e-9)
    draw = np.random.default_rng(0)
    for _ in range(5):
        change = 0.3 * np.sin(draw.uniform(0.2, 2) * GRID + draw.uniform(0, 6))
        assert week["game_value"](optimal + change, p, q, DX) < best - 1e-4
    assert np.isfinite(week["game_value"](1000 * optimal, p, q, DX)), "stable for huge logits"


def test_logistic_loss_is_minus_half_the_game(week):
    real, fake = np.array([0.3, -2.0, 900.0]), np.array([0.1, -900.0, 2.0])
    exact = -np.mean(np.log(expit(real))) / 2 - np.mean(np.log(expit(-fake))) / 2
    assert float(week["logistic_loss"](tf.constant(real), tf.constant(fake))) == pytest.approx(exact)


def test_classifier_learns_the_log_ratio(week):
    """N(½, 1) against N(−½, 1): the log-ratio is x, which the network must find near the centre."""
    keras.utils.set_random_seed(0)
    line = week["dense"](1, 16, 1)
    draw = lambda mean: lambda n: tf.random.normal([n, 1], mean)  # noqa: E731
    week["train_classifier"](line, draw(0.5), draw(-0.5), steps=400, B=500, rate=0.01)
    x = np.linspace(-1, 1, 21, dtype=np.float32)[:, None]
    np.testing.assert_allclose(line(x), x, atol=0.15)


@pytest.mark.parametrize("saturating", [True, False])
def test_dirac_gan_follows_the_slopes_of_its_game(week, saturating):
    """One step against automatic differentiation of both players' losses."""
    theta, psi, h, gamma = tf.Variable(0.7), tf.Variable(-0.4), 0.3, 0.2
    with tf.GradientTape(persistent=True) as tape:
        a = psi * theta
        value = tf.math.log(0.5) - tf.nn.softplus(a)
        g_loss = value if saturating else tf.nn.softplus(-a)
        d_loss = -value + gamma / 2 * psi**2
    expected = (theta - h * tape.gradient(g_loss, theta), psi - h * tape.gradient(d_loss, psi))
    path = week["dirac_gan"](0.7, -0.4, 1, h, gamma, saturating)
    np.testing.assert_allclose(path, [[0.7, -0.4], expected], rtol=1e-5)


def test_dirac_orbit_and_its_cure(week):
    """In continuous time the radius stays (Euler's error: of order h); with the penalty it goes to 0."""
    orbit = week["dirac_gan"](0.5, 0.5, 20_000, 1e-3)
    np.testing.assert_allclose(np.linalg.norm(orbit, axis=1), np.hypot(0.5, 0.5), rtol=0.01)
    assert np.ptp(orbit[:, 0]) > 1.3, "it has gone round"
    assert np.linalg.norm(week["dirac_gan"](0.5, 0.5, 20_000, 1e-2, gamma=0.5)[-1]) < 1e-6


def test_r1_of_a_linear_and_of_a_quadratic_function(week):
    x = tf.constant(points(7))
    linear = lambda x, training: tf.linalg.matvec(tf.constant([[3.0, -4.0]]), x)  # noqa: E731
    assert float(week["r1"](linear, x)[1]) == pytest.approx(25)
    square = lambda x, training: tf.reduce_sum(x**2, axis=1, keepdims=True)  # noqa: E731
    logits, slope = week["r1"](square, x)
    assert float(slope) == pytest.approx(4 * np.mean(np.sum(x.numpy() ** 2, axis=1)), rel=1e-5)
    np.testing.assert_allclose(logits, square(x, True))


def test_the_penalty_has_a_gradient(week):
    """For a linear discriminator the penalty is |w|², so half of it has the slope w in w."""
    linear = keras.layers.Dense(1)
    linear.build((None, 2))
    with tf.GradientTape() as tape:
        penalty = week["r1"](linear, tf.constant(points(4)))[1] / 2
    np.testing.assert_allclose(tape.gradient(penalty, linear.kernel), linear.kernel, rtol=1e-5)


def test_losses_are_those_of_the_text(week):
    draw = np.random.default_rng(3)
    real, fake = draw.normal(size=(2, 9, 1))
    d_exact = -np.mean(np.log(expit(real))) - np.mean(np.log(1 - expit(fake)))
    for saturating, g_exact in [
        (True, np.mean(np.log(1 - expit(fake)))),
        (False, -np.mean(np.log(expit(fake)))),
    ]:
        d_loss, g_loss = week["gan_losses"](tf.constant(real), tf.constant(fake), saturating)
        assert float(d_loss) == pytest.approx(d_exact) and float(g_loss) == pytest.approx(g_exact)
    huge = week["gan_losses"](tf.constant([1000.0, -1000.0]), tf.constant([1000.0, -1000.0]))
    assert [float(loss) for loss in huge] == [1000.0, 500.0], "stable"


@pytest.mark.parametrize(("gamma", "saturating"), [(0.0, False), (0.7, False), (0.7, True)])
def test_a_step_moves_each_player_down_its_own_loss(week, gamma, saturating):
    """With plain gradient descent the change of the weights is −rate times the slope of the own loss only."""
    gan, x = small_gan(week, gamma=gamma, saturating=saturating), tf.constant(points(6))
    gan.compile(keras.optimizers.SGD(0.1))
    gan.generator_optimizer = keras.optimizers.SGD(0.2)
    players = gan.discriminator.trainable_variables, gan.generator.trainable_variables
    before = [v.numpy() for v in [*players[0], *players[1]]]
    tf.random.set_seed(5)
    z = tf.random.normal([6, 3])
    with tf.GradientTape(persistent=True) as tape:
        with tf.GradientTape() as inner:
            inner.watch(x)
            real = gan.discriminator(x)
        penalty = tf.reduce_mean(tf.reduce_sum(inner.gradient(real, x) ** 2, axis=1))
        fake = tf.sigmoid(gan.discriminator(gan.generator(z)))
        not_fooled = -tf.reduce_mean(tf.math.log(1 - fake))
        d_loss = -tf.reduce_mean(tf.math.log_sigmoid(real)) + not_fooled + gamma / 2 * penalty
        g_loss = -not_fooled if saturating else -tf.reduce_mean(tf.math.log(fake))
    changes = [-0.1 * g for g in tape.gradient(d_loss, players[0])]
    changes += [-0.2 * g for g in tape.gradient(g_loss, players[1])]
    tf.random.set_seed(5)
    seen = gan.train_step(x)
    for old, new, change in zip(before, [*players[0], *players[1]], changes, strict=True):
        np.testing.assert_allclose(new.numpy() - old, change, atol=1e-6)
    assert float(seen["drawn"]) == pytest.approx(np.mean(fake), rel=1e-5)
    assert float(seen["g_slope"]) == pytest.approx(
        np.sqrt(sum(np.sum(np.square(c / 0.2)) for c in changes[len(players[0]) :])), rel=1e-4
    )


def test_fit_evaluates_saves_and_obeys_a_callback(week, tmp_path):
    gan, seen = small_gan(week, gamma=0.1), []
    data = batches(points(64), B=16, seed=0, binarise=False)
    unseen = tf.data.Dataset.from_tensors(points(20, 9))
    more = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: gan.gamma.assign(epoch),
        on_epoch_end=lambda epoch, logs: seen.append(float(gan.gamma)),
    )
    history, seconds = week["train"](gan, data, 3, 1e-3, validation_data=unseen, callbacks=[more])
    assert seen == [0, 1, 2] and seconds > 0
    assert {"real", "drawn", "d_slope", "g_slope", "val_real"} <= set(history)
    weights = [w.copy() for w in gan.get_weights()]
    found = gan.evaluate(unseen, verbose=0, return_dict=True)
    assert found["real"] == pytest.approx(np.mean(expit(gan.discriminator(points(20, 9)).numpy())), rel=1e-4)
    for old, new in zip(weights, gan.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new, err_msg="evaluate must not change a weight")
    gan.save_weights(tmp_path / "x.weights.h5")
    other = small_gan(week)
    other.load_weights(tmp_path / "x.weights.h5")
    z = np.ones([2, 3], np.float32)
    np.testing.assert_array_equal(other(z), gan(z))
    assert float(other.gamma) == 2


def test_the_generator_ends_with_the_average_of_its_weights(week):
    """average = 0 keeps the last weights, average near 1 those after the first step, which is 0.05 long."""
    ends = []
    for average in (0.0, 0.999999):
        gan = small_gan(week)
        start = gan.generator.get_weights()
        data = batches(points(64), B=16, seed=0, binarise=False)
        week["train"](gan, data, 2, 0.05, average=average)
        ends.append(max(np.abs(a - b).max() for a, b in zip(start, gan.generator.get_weights(), strict=True)))
    assert ends[0] > 0.2 and ends[1] == pytest.approx(0.05, rel=1e-3)


def test_modes_are_counted(week):
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    near = np.repeat(
        centres[:3], [50, 40, 2], axis=0
    )  # the third has less than a tenth of its fair share, 2.5
    covered, share = week["modes"](np.concatenate([near, np.full((8, 2), 5.0)]), centres, 1.0)
    assert (covered, share) == (2, 0.92)
    assert week["modes"](centres + [2.9, 0], centres, 1.0) == (4, 1.0)
    assert week["modes"](centres + [3.1, 0], centres, 1.0) == (0, 0.0)


def test_frechet_distance_in_closed_form(week):
    """Diagonal covariances: the sum over the dimensions; and a rank-deficient covariance."""
    mu, s, t = np.array([0.0, 1.0, -1.0]), np.array([1.0, 2.0, 0.5]), np.array([0.5, 2.0, 3.0])
    exact = np.sum(mu**2) + np.sum((s - t) ** 2)
    assert week["frechet"](mu, np.diag(s**2), 0 * mu, np.diag(t**2)) == pytest.approx(exact)
    v = np.array([[1.0, 2.0, 2.0]])
    assert week["frechet"](mu, v.T @ v, mu, 4 * v.T @ v) == pytest.approx(9.0)  # one dimension: (3 − 6)²
    f, g = np.random.default_rng(0).normal(size=(2, 50, 3))
    assert week["frechet_distance"](f, g) == pytest.approx(week["frechet_distance"](g, f))
    assert week["frechet_distance"](f, f) == pytest.approx(0, abs=1e-9)


def test_networks_have_the_shapes_of_the_text(week):
    for shape in [(8, 8), (28, 28)]:
        images = week["generator"](5, shape, 4)(np.zeros([3, 5], np.float32))
        assert images.shape == (3, *shape, 1)
        assert week["discriminator"](shape, 4)(images).shape == (3, 1)
        assert 0 <= float(tf.reduce_min(images)) <= float(tf.reduce_max(images)) <= 1


def test_mmd_is_the_textbook_estimate(week):
    x, y = np.random.default_rng(0).normal(size=(2, 6, 3))
    k = lambda a, b: np.exp(-np.sum((a[:, None] - b) ** 2, axis=-1) / (2 * 0.8**2))  # noqa: E731
    off = ~np.eye(6, dtype=bool)
    exact = k(x, x)[off].mean() + k(y, y)[off].mean() - 2 * k(x, y).mean()
    K = week["gaussian_kernel"](np.concatenate([x, y]), 0.8)
    labels = np.repeat([1.0, -1.0], 6)
    assert week["mmd2"](K, labels[None])[0] == pytest.approx(exact, rel=1e-9)


def test_mmd_test_is_calibrated_and_has_power(week):
    """p-values under the null are uniform on {1, …, 20} / 20: at most 0.1 with probability 0.1."""
    draw = np.random.default_rng(1)
    N = 300
    p = [
        week["mmd_test"](draw.normal(size=(15, 2)), draw.normal(size=(15, 2)), 1.0, 19, draw)
        for _ in range(N)
    ]
    assert abs(np.mean(np.array(p) <= 0.1) - 0.1) <= stattests.bernstein_tolerance(N, 0.09, 1.0)
    assert week["mmd_test"](draw.normal(size=(40, 2)), draw.normal(3, 1, (40, 2)), 1.0, 999, draw) == 1e-3


def test_parzen_integrates_to_one(week):
    centres = np.array([[-1.0], [0.5], [2.0]])
    density = np.exp(week["parzen"](centres, GRID[:, None], 0.4))
    assert np.sum(density) * DX == pytest.approx(1)
    exact = np.mean([norm.pdf(0.3, c, 0.4) for c in centres[:, 0]])
    assert np.exp(week["parzen"](centres, np.array([[0.3]]), 0.4))[0] == pytest.approx(exact)


def test_search_finds_the_noise_of_a_linear_generator(week):
    """G(z) = z: what is seen shrinks by 1 / (1 + s²), the rest goes to the prior's mode 0."""
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    seen = np.array([True, True, False, False])
    found = week["search"](tf.identity, 4, x, seen, s=0.5, starts=2, steps=300, rate=0.1)
    np.testing.assert_allclose(found, np.where(seen, x / 1.25, 0), atol=0.02)
