"""What weeks 13 and 14 share: the forward process, the guesses, the steps back, against closed forms."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
import keras  # noqa: E402

from utils import diffusion, stattests  # noqa: E402
from utils.diffusion import (  # noqa: E402
    Denoiser,
    Mixture,
    ancestral_step,
    block,
    data_from_noise,
    ddim_step,
    guesses,
    linear_schedule,
    path,
    q_posterior,
    q_sample,
    reverse,
    snr,
    waves,
)
from utils.networks import MLP, batches, train  # noqa: E402


def levels(*values):
    return tf.constant(values, tf.float32)


def dense():
    x, level = keras.Input((2,)), keras.Input((8,))
    return keras.Model([x, level], MLP(10, 16, 16, 2)(keras.layers.Concatenate()([x, level])))


def test_it_is_the_code_of_week_13():
    """The same names give the same numbers there."""
    from tools.notebooks import ROOT, definitions

    week = definitions(ROOT / "notebooks" / "week13_diffusion.py")
    x0, xt, a, b = np.array([[0.3, 1.0]]), np.array([[-0.8, 0.1]]), np.array([0.2]), np.array([0.6])
    for name, arguments in {
        "linear_schedule": (50, 0.002, 0.4),
        "q_sample": (x0, a, xt),
        "q_posterior": (x0, xt, a, b),
        "data_from_noise": (xt, x0, a),
        "waves": (levels(0.2, 0.9),),
        "path": (linear_schedule(1000), 7),
    }.items():
        for mine, theirs in zip(getattr(diffusion, name)(*arguments), week[name](*arguments), strict=True):
            np.testing.assert_array_equal(mine, theirs, name)
    h, level = keras.Input((4, 4, 3)), keras.Input((8,))
    mine, theirs = (keras.Model([h, level], part(h, level, 5)) for part in (block, week["block"]))
    mine.set_weights([np.random.default_rng(0).normal(0, 0.3, w.shape) for w in mine.weights])
    theirs.set_weights(mine.get_weights())
    inputs = [tf.random.normal([2, 4, 4, 3]), waves(levels(0.2, 0.9))]
    np.testing.assert_array_equal(mine(inputs), theirs(inputs), "block")
    network = dense()
    mine, theirs = (kind(network, linear_schedule(50, 0.002, 0.4)) for kind in (Denoiser, week["Denoiser"]))
    points = tf.random.normal([5, 2])
    np.testing.assert_array_equal(
        mine.noise(points, levels(*[0.5] * 5)), theirs.noise(points, levels(*[0.5] * 5))
    )
    losses = []
    for model in (mine, theirs):
        tf.random.set_seed(0)
        losses.append(model(points))
    np.testing.assert_array_equal(*losses)
    mine, theirs = (kind([0.6, 0.4], [[-1.0], [1.0]], [0.3, 0.5]) for kind in (Mixture, week["Mixture"]))
    x = tf.constant([[0.2]])
    np.testing.assert_array_equal(mine.noise(x, levels(0.5)), theirs.noise(x, levels(0.5)))
    for step in ("ancestral_step", "ddim_step"):
        tf.random.set_seed(0)
        one = getattr(diffusion, step)(mine, x, levels(0.5), levels(0.9))
        tf.random.set_seed(0)
        np.testing.assert_array_equal(one, week[step](theirs, x, levels(0.5), levels(0.9)))


@pytest.mark.parametrize("shape", [(3,), (3, 2, 2, 1)])
def test_noise_and_data_are_one_guess(shape):
    x0, eps = np.random.default_rng(0).normal(size=(2, *shape))
    a = np.array([0.9, 0.5, 0.1])
    xt = q_sample(x0, a, eps)
    np.testing.assert_allclose(xt[1], np.sqrt(0.5) * (x0[1] + eps[1]), rtol=1e-9)
    np.testing.assert_allclose(data_from_noise(xt, eps, a), x0, rtol=1e-6, atol=1e-9)
    assert snr(0.8) == pytest.approx(4)


def test_posterior_and_schedule():
    """A step forward after the posterior of the step back gives back the closed form of x_t."""
    alpha_bar = linear_schedule(1000)
    assert alpha_bar[0] == 1 and alpha_bar.shape == (1001,) and alpha_bar[-1] < 1e-4
    a, b, x0, xt = np.array([0.2]), np.array([0.6]), np.array([0.7]), np.array([-0.4])
    mean, variance = (float(part[0]) for part in q_posterior(x0, xt, a, b))
    precision = (a / b) / (1 - a / b) + 1 / (1 - b)  # of x_{t−1}: from x_t, and from x_0
    assert variance == pytest.approx(1 / precision[0])
    exact = (np.sqrt(a / b) * xt / (1 - a / b) + np.sqrt(b) * x0 / (1 - b)) / precision
    assert mean == pytest.approx(exact[0])


def test_mixture_is_the_gradient_of_its_log_density():
    model, x, a = (
        Mixture([0.6, 0.4], [[-1.0, 0.2], [1.0, 0.0]], [0.3, 0.5]),
        tf.random.normal([3, 2], seed=1),
        0.7,
    )
    with tf.GradientTape() as tape:
        tape.watch(x)
        log_q = tf.reduce_logsumexp(model.log_joint(x, levels(a, a, a))[0], axis=1)
    exact = -np.sqrt(1 - a) * tape.gradient(log_q, x)
    np.testing.assert_allclose(model.noise(x, levels(a, a, a)), exact, atol=1e-5)


@pytest.mark.parametrize("step", [ancestral_step, ddim_step])
def test_steps_reach_a_mixture(step):
    tf.random.set_seed(3)
    model, N = Mixture([0.7, 0.3], [[-1.0], [1.0]], [0.2, 0.2]), 20_000
    x = reverse(step, model, tf.random.normal([N, 1]), path(linear_schedule(1000), 250)).numpy()
    assert abs(np.mean(x < 0) - 0.7) < stattests.hoeffding_tolerance(N, 0, 1)
    tolerance = stattests.hoeffding_tolerance(N, -1, 1)
    exact = np.exp(-2 * 0.2**2) * np.cos(2)  # E cos(2x) of both components
    assert abs(np.cos(2 * x).mean() - exact) < tolerance


def test_path_ends_in_the_data_and_guesses_stay_within_the_limit():
    way = path(linear_schedule(1000), 10).numpy()
    assert way.shape == (11,) and way[-1] == 1 and np.all(np.diff(way) > 0)
    model = Denoiser(dense(), linear_schedule(50, 0.002, 0.4), limit=0.5)
    model.network = lambda inputs: 0 * inputs[0]
    x, a = tf.constant([[2.0, -0.1]]), levels(0.81)
    x0, eps = guesses(model, x, a)
    np.testing.assert_allclose(x0, [[0.5, -0.09]], rtol=1e-5)
    np.testing.assert_allclose(q_sample(x0, a, eps), x, rtol=1e-5)


def test_denoiser_learns_and_passes_on_what_it_is_given():
    keras.utils.set_random_seed(0)
    model = Denoiser(dense(), linear_schedule(50, 0.002, 0.4))
    points = Mixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], [0.1, 0.1]).sample(640).numpy()
    history, _ = train(model, batches(points, B=64, seed=0, binarise=False), 6, 0.01)
    assert history["loss"][-1] < history["loss"][0]
    seen = []
    model.network = lambda inputs: seen.append(inputs[2:]) or 0 * inputs[0]
    loss = model((tf.zeros([4, 2]), tf.fill([4, 3], 7)))
    assert loss.shape == (4,)
    np.testing.assert_array_equal(seen[0][0], np.full([4, 3], 7))


def test_block_sees_the_level():
    keras.utils.set_random_seed(0)
    h, level = keras.Input((4, 4, 3)), keras.Input((8,))
    network = keras.Model([h, level], block(h, level, 5))
    network.set_weights(
        [np.random.default_rng(i).normal(0, 0.3, w.shape) for i, w in enumerate(network.weights)]
    )
    x = tf.random.normal([2, 4, 4, 3])
    one, other = (network([x, waves(levels(a, a))]).numpy() for a in (0.9, 0.1))
    assert one.shape == (2, 4, 4, 5) and np.abs(one - other).max() > 1e-3
