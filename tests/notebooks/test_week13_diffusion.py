"""The functions of the week 13 notebook against closed forms, simulation and quadrature."""

import numpy as np
import pytest
from scipy.stats import norm

from utils import stattests

tf = pytest.importorskip("tensorflow")
import keras  # noqa: E402

from utils.networks import batches  # noqa: E402


def levels(*values):
    return tf.constant(values, tf.float32)


def mixture(week):
    return week["Mixture"]([0.6, 0.4], [[-1.0, 0.2], [1.0, 0.0]], [0.3, 0.5])


def test_schedule_is_the_product_of_its_steps(week):
    alpha_bar = week["linear_schedule"](1000)
    assert alpha_bar[0] == 1 and alpha_bar.shape == (1001,)
    np.testing.assert_allclose(1 - alpha_bar[1:] / alpha_bar[:-1], np.linspace(1e-4, 0.02, 1000), rtol=1e-9)
    assert alpha_bar[-1] < 1e-4 and week["linear_schedule"](200)[-1] > 0.1


@pytest.mark.parametrize("shape", [(3,), (3, 3), (3, 2, 2, 1)])
def test_q_sample_and_the_names_of_a_guess(week, shape):
    """Noise, data and velocity are one guess, with the weights of the text; a level is for the first axis."""
    draw = np.random.default_rng(0)
    x0, eps, wrong = draw.normal(size=(3, *shape))
    a = np.array([0.9, 0.5, 0.1])
    xt = week["q_sample"](x0, a, eps)
    np.testing.assert_allclose(xt[1], np.sqrt(0.5) * (x0[1] + eps[1]), rtol=1e-9)
    np.testing.assert_allclose(week["data_from_noise"](xt, eps, a), x0, rtol=1e-6, atol=1e-9)
    guess = week["data_from_noise"](xt, eps + wrong, a)
    off = week["velocity"](x0, eps, a) - week["velocity"](guess, eps + wrong, a)
    for i in range(3):
        by_noise = np.sum(wrong[i] ** 2)
        assert np.sum((x0[i] - guess[i]) ** 2) * week["snr"](a[i]) == pytest.approx(by_noise)
        assert np.sum(off[i].numpy() ** 2) * a[i] == pytest.approx(by_noise)


def test_posterior_is_the_product_of_two_gaussians(week):
    x0, xt, a, b = np.array([0.3]), np.array([-0.8]), np.array([0.2]), np.array([0.6])
    mean, variance = (float(part[0]) for part in week["q_posterior"](x0, xt, a, b))
    grid = np.linspace(-8, 8, 40_001)
    density = norm.pdf(xt, np.sqrt(a / b) * grid, np.sqrt(1 - a / b)) * norm.pdf(
        grid, np.sqrt(b) * x0, np.sqrt(1 - b)
    )
    density /= density.sum()
    assert mean == pytest.approx(np.sum(density * grid), rel=1e-6)
    assert variance == pytest.approx(np.sum(density * (grid - mean) ** 2), rel=1e-6)


def test_the_last_step_gives_the_guess_without_noise(week):
    model, x, one = mixture(week), tf.random.normal([5, 2]), tf.ones(5)
    a = tf.fill([5], 0.7)
    for step in ("ancestral_step", "ddim_step"):
        np.testing.assert_allclose(week[step](model, x, a, one), week["guesses"](model, x, a)[0], rtol=1e-5)


def test_posterior_against_a_simulated_chain(week):
    """Chains from x_0, step by step; means and variances of x_t, and of x_{t−1} given x_t near a value."""
    draw, N, short = np.random.default_rng(0), 200_000, week["linear_schedule"](20, 0.01, 0.3)
    chain = [np.full(N, 0.7)]
    for t in range(1, 21):
        beta = 1 - short[t] / short[t - 1]
        chain.append(np.sqrt(1 - beta) * chain[-1] + np.sqrt(beta) * draw.normal(size=N))
    sd = np.sqrt(1 - short[10])
    stattests.assert_mean(chain[10], np.sqrt(short[10]) * 0.7, stattests.subgaussian_tolerance(N, sd), "x_10")
    a, b = short[10:11], short[9:10]
    mean, variance = week["q_posterior"](
        np.full((N, 1), 0.7), chain[10][:, None], np.repeat(a, N), np.repeat(b, N)
    )
    residual = (chain[9] - mean.numpy()[:, 0]) / np.sqrt(float(variance[0, 0]))
    tolerance = stattests.subgaussian_tolerance(N, 1.0, comparisons=2)
    assert abs(residual.mean()) < tolerance
    assert abs(np.mean(residual * (chain[10] - chain[10].mean()))) < tolerance, "nothing is left to predict"
    inside = np.mean(np.abs(residual) < 1)
    assert abs(inside - 0.682689) < stattests.hoeffding_tolerance(N, 0, 1)


def test_exact_noise_is_the_conditional_mean(week):
    """By quadrature over x_0 in one dimension."""
    model = week["Mixture"]([0.3, 0.7], [[-1.0], [0.5]], [0.2, 0.4])
    grid = np.linspace(-4, 4, 20_001)
    p = 0.3 * norm.pdf(grid, -1, 0.2) + 0.7 * norm.pdf(grid, 0.5, 0.4)
    for a, x in [(0.9, -0.5), (0.3, 1.2), (0.01, 0.1)]:
        weight = p * norm.pdf(x, np.sqrt(a) * grid, np.sqrt(1 - a))
        exact = np.sum(weight * (x - np.sqrt(a) * grid) / np.sqrt(1 - a)) / weight.sum()
        found = float(model.noise(tf.constant([[x]], tf.float32), levels(a))[0, 0])
        assert found == pytest.approx(exact, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("step", ["ancestral_step", "ddim_step"])
def test_samplers_reach_the_mixture(week, step):
    """Two sets of samples by the means of 24 waves (Hoeffding), and a cluster's share, exactly known."""
    tf.random.set_seed(3)
    model, N = mixture(week), 20_000
    way = week["path"](week["linear_schedule"](1000), 250)
    x = week["reverse"](week[step], model, tf.random.normal([N, 2]), way).numpy()
    frequencies = np.random.default_rng(1).normal(0, 1.5, size=(2, 12))
    means = []
    for points in (x, model.sample(N).numpy()):
        angle = points @ frequencies
        means.append(np.concatenate([np.cos(angle).mean(axis=0), np.sin(angle).mean(axis=0)]))
    tolerance = np.sqrt(2) * stattests.hoeffding_tolerance(N, -1, 1, comparisons=24)
    assert np.abs(means[0] - means[1]).max() < tolerance
    share = 0.6 * norm.cdf(0, -1, 0.3) + 0.4 * norm.cdf(0, 1, 0.5)
    assert abs(np.mean(x[:, 0] < 0) - share) < stattests.hoeffding_tolerance(N, 0, 1)


@pytest.mark.parametrize("K", [3, 10, 100])
def test_ddim_maps_a_gaussian_to_a_gaussian(week, K):
    """Each step multiplies the standard deviation by the cosine of the angle between the levels' vectors."""
    m, s = 0.4, 0.3
    model, way = week["Mixture"]([1.0], [[m]], [s]), week["path"](week["linear_schedule"](1000), K)
    z = np.linspace(-2, 2, 9, dtype=np.float32)[:, None]
    x = week["reverse"](week["ddim_step"], model, tf.constant(z), way).numpy()
    a = way.numpy().astype(float)
    vectors = np.stack([np.sqrt(a) * s, np.sqrt(1 - a)], axis=1)
    length = np.linalg.norm(vectors, axis=1)
    cosines = np.sum(vectors[1:] * vectors[:-1], axis=1) / (length[1:] * length[:-1])
    exact = m + (z - np.sqrt(a[0]) * m) / length[0] * s * np.prod(cosines)
    np.testing.assert_allclose(x, exact, atol=3e-3)


def test_a_schedule_that_ends_too_early_is_noticed(week):
    tf.random.set_seed(4)
    model = week["Mixture"]([0.7, 0.3], [[-1.5], [0.5]], [0.2, 0.2])
    short, N = week["linear_schedule"](200), 20_000
    x = week["reverse"](
        week["ancestral_step"], model, tf.random.normal([N, 1]), week["path"](short, 200)
    ).numpy()
    assert np.mean(x < -0.5) < 0.7 - stattests.hoeffding_tolerance(N, 0, 1)


def test_path_ends_in_the_data(week):
    alpha_bar = week["linear_schedule"](1000)
    way = week["path"](alpha_bar, 10).numpy()
    assert way.shape == (11,) and way[-1] == 1 and way[0] == np.float32(alpha_bar[-1])
    np.testing.assert_allclose(way[1], alpha_bar[900], rtol=1e-6)
    assert np.all(np.diff(way) > 0)


def small_denoiser(week, limit=np.inf):
    keras.utils.set_random_seed(0)
    return week["Denoiser"](week["dense"](2, 16), week["linear_schedule"](50, 0.002, 0.4), limit)


def test_a_network_that_says_zero_guesses_the_scaled_image(week):
    """Velocity 0 means x̂_0 = √ᾱ x_t and ε̂ = √(1 − ᾱ) x_t; the guess stays within its limit."""
    model = small_denoiser(week, limit=0.5)
    model.network = lambda inputs: 0 * inputs[0]
    x, a = tf.constant([[2.0, -0.1], [0.3, -3.0]]), levels(0.81, 0.25)
    np.testing.assert_allclose(model.noise(x, a), np.sqrt([[0.19], [0.75]]) * x, rtol=1e-5)
    x0, eps = week["guesses"](model, x, a)
    np.testing.assert_allclose(x0, np.clip([[1.8, -0.09], [0.15, -1.5]], -0.5, 0.5), rtol=1e-5)
    np.testing.assert_allclose(week["q_sample"](x0, a, eps), x, rtol=1e-5)


def test_the_loss_is_the_squared_error_of_the_noise(week):
    """A network whose guess is the exact one has the floor of the loss: the noise's variance given x_t."""
    tf.random.set_seed(1)
    model, N = small_denoiser(week), 50_000
    gaussian = week["Mixture"]([1.0], [[0.0, 0.0]], [0.5])
    model.noise = gaussian.noise
    loss = model(gaussian.sample(N)).numpy()
    a = model.alpha_bar.numpy().astype(float)
    floor = 1 - (1 - a) / (a * 0.25 + 1 - a)  # Var(ε | x_t)
    assert loss.shape == (N,)
    error = loss.std() / np.sqrt(N)
    assert abs(loss.mean() - floor.mean()) < 6 * error
    assert float(model.losses[0]) == pytest.approx(loss.mean(), rel=1e-5)


def test_fit_learns_and_weights_are_saved(week, tmp_path):
    model = small_denoiser(week)
    points = mixture(week).sample(640).numpy()
    history, _ = week["train"](model, batches(points, B=64, seed=0, binarise=False), 6, 0.01)
    assert history["loss"][-1] < history["loss"][0]
    model.save_weights(tmp_path / "x.weights.h5")
    other = small_denoiser(week)
    other.load_weights(tmp_path / "x.weights.h5")
    x, a = tf.random.normal([4, 2]), levels(0.9, 0.5, 0.3, 0.1)
    np.testing.assert_array_equal(model.noise(x, a), other.noise(x, a))


@pytest.mark.parametrize(("shape", "halvings"), [((8, 8), 1), ((28, 28), 2)])
def test_unet_keeps_the_size_and_sees_the_level(week, shape, halvings):
    keras.utils.set_random_seed(0)
    network = week["unet"](shape, 4, halvings)
    network.set_weights(
        [np.random.default_rng(i).normal(0, 0.2, w.shape) for i, w in enumerate(network.weights)]
    )
    x = tf.random.normal([3, *shape, 1])
    one, other = (network([x, week["waves"](levels(*[a] * 3))]).numpy() for a in (0.9, 0.1))
    assert one.shape == (3, *shape, 1)
    assert np.abs(one - other).max() > 1e-3, "the noise level makes no difference"


def test_bins_are_a_distribution_over_the_levels(week):
    grey = np.linspace(-1, 1, 17)
    mass = np.exp(week["log_bins"](grey[:, None], np.array([[-1.3, 0.1, 0.9]]), 0.2, 17))
    np.testing.assert_allclose(mass.sum(axis=0), 1, rtol=1e-9)
    inside = norm.cdf(grey[9] + 1 / 16, 0.1, 0.2) - norm.cdf(grey[9] - 1 / 16, 0.1, 0.2)
    assert mass[9, 1] == pytest.approx(0.999 * inside + 0.001 / 17)


def test_bound_terms_are_kls_of_gaussians(week):
    """The start against the closed form, each step against the KL of two posteriors, in bits."""
    draw = np.random.default_rng(0)
    x0, x_hat, a = draw.normal(size=(2, 3)), draw.normal(size=(4, 2, 3)), np.array([0.1, 0.4, 0.8, 0.95])
    start, steps, decoder = week["bound_terms"](x0, x_hat, a, 0.3, 17)
    exact = 0.5 * np.sum(0.1 * x0**2 + 0.9 - 1 - np.log(0.9), axis=1)
    np.testing.assert_allclose(start * 3 * np.log(2), exact, rtol=1e-9)
    for i in range(3):
        xt, level, before = draw.normal(size=(2, 3)), np.full(2, a[i]), np.full(2, a[i + 1])
        means = [week["q_posterior"](x, xt, level, before)[0].numpy() for x in (x0, x_hat[i])]
        variance = week["q_posterior"](x0, xt, level, before)[1].numpy()
        exact = np.sum((means[0] - means[1]) ** 2 / (2 * variance), axis=1)
        np.testing.assert_allclose(steps[i] * 3 * np.log(2), exact, rtol=1e-9)
    exact = -np.sum(week["log_bins"](x0, x_hat[-1], 0.3, 17), axis=1)
    np.testing.assert_allclose(decoder * 3 * np.log(2), exact, rtol=1e-9)


def test_a_wider_step_costs_a_kl_of_two_variances(week):
    draw = np.random.default_rng(0)
    x0, x_hat, a = draw.normal(size=(2, 3)), draw.normal(size=(3, 2, 3)), np.array([0.1, 0.4, 0.8])
    e = np.full((3, 1, 1), 0.7)
    found = week["variances"](e, x_hat, x0, a)
    for i in range(2):
        b, gain = a[i + 1], week["snr"](a[i + 1]) - week["snr"](a[i])
        v = (1 - a[i] / b) * (1 - b) / (1 - a[i])
        r = 1 + gain * 0.7
        weight = np.sqrt(b) * (1 - a[i] / b) / (1 - a[i])
        apart = (weight * (x0 - x_hat[i])) ** 2
        exact = np.sum(0.5 * np.log(r) + (v + apart) / (2 * r * v) - 0.5, axis=1)
        np.testing.assert_allclose(found[i] * 3 * np.log(2), exact, rtol=1e-9)
    np.testing.assert_allclose(
        week["variances"](0 * e, x_hat, x0, a), week["bound_terms"](x0, x_hat, a, 1, 17)[1]
    )


def test_guesses_at_each_level_are_the_conditional_means(week):
    tf.random.set_seed(5)
    model, N = week["Mixture"]([1.0], [[0.0]], [0.5]), 100_000
    x0 = model.sample(N)
    x_hat = week["all_guesses"](model, x0, tf.constant([0.1, 0.6, 1.0])).numpy()
    errors = np.mean((x_hat - x0.numpy()) ** 2, axis=(1, 2))
    a = np.array([0.1, 0.6])
    exact = 0.25 * (1 - a) / (0.25 * a + 1 - a)  # Var(x_0 | x_t)
    np.testing.assert_allclose(errors, exact, rtol=6 * np.sqrt(2 / N))


def test_the_best_variance_makes_gaussian_steps_exact(week):
    tf.random.set_seed(6)
    model, N = week["Mixture"]([1.0], [[0.0]], [0.5]), 100_000
    way = week["path"](week["linear_schedule"](1000), 4)
    x = week["reverse"](week["wide_step"], model, tf.random.normal([N, 1]), way).numpy()
    assert x.var() == pytest.approx(0.25, rel=6 * np.sqrt(2 / N))


@pytest.mark.parametrize("shape", ["linear", "cosine", "even"])
def test_schedules_share_their_ends(week, shape):
    way = week["by_log_snr"](shape, 20).numpy().astype(float)
    log_snr = np.log(way[:-1] / (1 - way[:-1]))
    np.testing.assert_allclose(log_snr[[0, -1]], [-10, 9], atol=0.05)
    assert np.all(np.diff(way) > 0) and way[-1] == 1
