"""The functions of the week 14 notebook against closed forms, Keras's attention, and exact maps."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm

from utils import stattests
from utils.diffusion import Mixture, linear_schedule

tf = pytest.importorskip("tensorflow")
import keras  # noqa: E402


def levels(*values):
    return tf.constant(values, tf.float32)


def line():
    return Mixture([0.3, 0.7], [[-1.0], [0.8]], [0.3, 0.2])


def test_level_is_the_integral_of_beta(week):
    t = np.linspace(0, 0.7, 10_001)
    exact = np.exp(-np.trapezoid(0.1 + 19.9 * t, t))
    assert float(week["level"](tf.constant(0.7))) == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("lam", [0.0, 1.0, 0.4])
def test_drift_of_gaussian_data(week, lam):
    """Without noise a Gaussian is stretched: dx/dt = x v' / 2v. With noise, the score is followed more."""
    s, t, x = 0.5, 0.3, np.array([[0.7], [-1.2]], np.float32)
    a = float(week["level"](tf.constant(t)))
    beta, v = 0.1 + 19.9 * t, a * s**2 + 1 - a
    exact = x * beta * a * (1 - s**2) / (2 * v) + 0.5 * lam * beta * x / v
    found = week["drift"](Mixture([1.0], [[0.0]], [s]), tf.constant(x), tf.constant(t), lam)
    np.testing.assert_allclose(found, exact, rtol=1e-4)


@pytest.mark.parametrize("lam", [0.0, 1.0, 0.5])
def test_every_amount_of_noise_reaches_the_mixture(week, lam):
    tf.random.set_seed(2)
    N = 10_000
    places = week["way_back"](line(), tf.random.normal([N, 1]), tf.constant(lam), 200).numpy()
    assert places.shape == (201, N, 1)
    share = 0.3 * norm.cdf(0, -1, 0.3) + 0.7 * norm.cdf(0, 0.8, 0.2)
    assert abs(np.mean(places[-1] < 0) - share) < stattests.hoeffding_tolerance(N, 0, 1)
    exact = sum(w * np.exp(-2 * s**2) * np.cos(2 * m) for w, m, s in [(0.3, -1, 0.3), (0.7, 0.8, 0.2)])
    assert abs(np.cos(2 * places[-1]).mean() - exact) < stattests.hoeffding_tolerance(N, -1, 1)


def test_paths_of_the_ode_do_not_cross(week):
    start = tf.constant(np.linspace(-2, 2, 30)[:, None], tf.float32)
    places = week["way_back"](line(), start, tf.constant(0.0), 200).numpy()[:, :, 0]
    assert np.all(np.diff(places, axis=1) > 0)


@pytest.mark.parametrize("w", [-1.0, 0.0, 2.5])
def test_guided_score_is_that_of_the_sharpened_density(week, w):
    free, given = line(), Mixture([1.0], [[0.8]], [0.2])
    x = tf.constant(np.linspace(-2, 2, 9)[:, None], tf.float32)
    for a in (0.9, 0.2):
        with tf.GradientTape() as tape:
            tape.watch(x)
            log_p, log_p_y = (
                tf.reduce_logsumexp(m.log_joint(x, tf.fill([9], a))[0], axis=1) for m in (free, given)
            )
            sharpened = log_p + (1 + w) * (log_p_y - log_p)
        found = week["Guided"](given, free, w).noise(x, tf.fill([9], a))
        exact = -np.sqrt(1 - a) * tape.gradient(sharpened, x)
        np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-3)


def autoencoder(week):
    keras.utils.set_random_seed(0)
    return week["Autoencoder"]((8, 8), 2, 3, H=8, weight=0.1)


def test_each_place_of_the_code_sees_its_patch_only(week):
    model, x = autoencoder(week), tf.random.normal([2, 8, 8, 1]).numpy()
    changed = x.copy()
    changed[:, 4:6, 2:4] += 1
    one, other = (model.encoder(images).numpy() for images in (x, changed))
    assert one.shape == (2, 4, 4, 6) and model.decoder(one[..., :3]).shape == (2, 8, 8, 1)
    where = np.abs(one - other).max(axis=(0, 3)) > 1e-6
    assert where[2, 1] and where.sum() == 1


def test_the_loss_of_the_autoencoder_is_error_and_kl(week):
    model, x = autoencoder(week), tf.random.normal([5, 8, 8, 1])
    mean, log_s = np.random.default_rng(0).normal(size=(2, 5, 4, 4, 3)).astype(np.float32)
    log_s -= 12  # next to no noise
    model.encoder = lambda images: tf.concat([mean, log_s], axis=-1)
    error = np.sum((model.decoder(mean) - x) ** 2, axis=(1, 2, 3))
    kl = np.sum(0.5 * (mean**2 + np.exp(2 * log_s) - 1) - log_s, axis=(1, 2, 3))
    np.testing.assert_allclose(model(x), error + 0.1 * kl, rtol=1e-3)


def test_pixels_there_and_back(week):
    for levels_, brightest in [(17, 16), (256, 1.0)]:
        week.update(digits=SimpleNamespace(shape=(2, 2)), levels=levels_, brightest=brightest)
        x = np.linspace(0, brightest, levels_)[:16].reshape(4, 4).astype(np.float32)
        images = week["as_images"](x)
        assert images.shape == (4, 2, 2, 1) and images.min() == -1
        np.testing.assert_allclose(week["to_pixels"](images + 1e-4), x, atol=1e-6)


def test_captions_say_class_and_ink(week):
    week.update(median=np.array([0.5, 0.2]), words=["", "a", "thin", "bold", "zero", "one"])
    images = np.array([[0.4, 0.4], [0.4, 0.4], [0.9, 0.3]])
    found = week["captions"](images, np.array([0, 1, 0]))
    np.testing.assert_array_equal(found, [[1, 2, 4], [1, 3, 5], [1, 3, 4]])
    assert [week["spoken"](c) for c in found] == ["a thin zero", "a bold one", "a bold zero"]
    week["classifier"] = SimpleNamespace(predict=lambda images: np.array([0, 1, 1]))
    right, weight = week["obeyed"](images, np.array([[1, 2, 4], [1, 2, 5], [1, 3, 4]]))
    assert right.value == pytest.approx(2 / 3) and weight.value == pytest.approx(2 / 3)


def attention(week):
    keras.utils.set_random_seed(0)
    layer, h, e = week["CrossAttention"](6), tf.random.normal([2, 4, 4, 6]), tf.random.normal([2, 3, 5])
    np.testing.assert_array_equal(layer(h, e), h, "a new layer changes nothing")
    layer.out.kernel.assign(tf.random.normal([6, 6]))
    return layer, h, e


def test_attention_agrees_with_keras(week):
    layer, h, e = attention(week)
    theirs, flat = keras.layers.MultiHeadAttention(2, 3, use_bias=False), tf.reshape(h, [2, 16, 6])
    theirs(flat, e)
    own = [layer.Q.kernel, layer.K.kernel, layer.V.kernel, layer.out.kernel]
    theirs.set_weights([np.reshape(u, w.shape) for u, w in zip(own, theirs.get_weights(), strict=True)])
    np.testing.assert_allclose(layer(h, e), h + tf.reshape(theirs(flat, e), h.shape), atol=1e-5)


def test_attention_knows_no_order_of_words_and_keeps_places_apart(week):
    layer, h, e = attention(week)
    np.testing.assert_allclose(layer(h, tf.gather(e, [2, 0, 1], axis=1)), layer(h, e), atol=1e-5)
    A = layer.weights_of(h, e).numpy()
    assert A.shape == (2, 2, 16, 3)
    np.testing.assert_allclose(A.sum(axis=-1), 1, rtol=1e-5)
    moved = tf.concat([h[:, :1] + 1, h[:, 1:]], axis=1)
    np.testing.assert_array_equal(layer(moved, e)[:, 1:], layer(h, e)[:, 1:])


@pytest.mark.parametrize("code", [(4, 4, 2), (7, 7, 4)])
def test_unet_hears_the_caption_and_the_level(week, code):
    keras.utils.set_random_seed(0)
    network = week["unet"](code, 4, 9)
    network.set_weights(
        [np.random.default_rng(i).normal(0, 0.2, w.shape) for i, w in enumerate(network.weights)]
    )
    z = tf.random.normal([2, *code])
    inputs = {"a": (0.5, [1, 2, 3]), "other words": (0.5, [1, 4, 3]), "other level": (0.9, [1, 2, 3])}
    found = {}
    for name, (a, words) in inputs.items():
        waves = week["diffusion"].waves(levels(a, a))
        found[name] = network([z, waves, tf.constant([words, words])]).numpy()
    assert found["a"].shape == (2, *code)
    for name in ("other words", "other level"):
        assert np.abs(found[name] - found["a"]).max() > 1e-3, name


def test_captions_are_dropped_in_training_only(week):
    model = week["LatentDiffusion"](None, linear_schedule(50, 0.002, 0.4))
    seen = []
    model.network = lambda inputs: seen.append(inputs[2].numpy()) or 0 * inputs[0]
    model.dropped, pair = 0.25, (tf.zeros([4_000, 2, 2, 1]), tf.ones([4_000, 3], tf.int32))
    tf.random.set_seed(0)
    for training in (False, True):
        assert model(pair, training=training).shape == (4_000,)
    assert seen[0].all()
    assert set(seen[1].sum(axis=1)) == {0, 3}, "a caption is dropped as a whole"
    assert abs(np.mean(seen[1][:, 0] == 0) - 0.25) < stattests.hoeffding_tolerance(4_000, 0, 1)


def test_a_captioned_model_passes_its_words_on(week):
    inner = SimpleNamespace(noise=lambda z, a, words: (z, a, words))
    assert week["Captioned"](inner, "words").noise("z", "a") == ("z", "a", "words")


@pytest.mark.parametrize("rounds", [None, 3])
def test_what_is_known_stays_and_reaches_the_rest(week, rounds):
    """At ᾱ = 1 the known part is the truth; the guess for the rest here is the mean of the whole."""

    def noise(z, a, words):
        mean = tf.reduce_mean(z, axis=[1, 2, 3], keepdims=True) / tf.sqrt(a[:, None, None, None])
        return (z - tf.sqrt(a[:, None, None, None]) * mean) / tf.sqrt(1 - a[:, None, None, None])

    below = np.arange(4) >= 2
    week.update(ldm=SimpleNamespace(noise=noise), unknown=tf.constant(below[:, None, None]))
    known = tf.fill([3, 4, 4, 1], 5.0)
    way, start = tf.constant([0.01, 0.3, 0.9, 0.999, 1.0]), tf.random.normal([3, 4, 4, 1], seed=0)
    name, more = ("inpaint", ()) if rounds is None else ("repaint", (tf.constant(rounds),))
    found = week[name](tf.zeros([3, 3], tf.int32), known, start, way, *more).numpy()
    np.testing.assert_array_equal(found[:, :2], known[:, :2])
    assert np.all(found[:, 2:] > 1.5), "the rest follows the known part, which has 5"


def test_rescaled_is_exact_for_rescaled_data(week):
    wide, small = (Mixture([0.4, 0.6], [[-1.5 * c], [c]], [0.2 * c, 0.3 * c]) for c in (1.0, 0.1))
    x, a = tf.constant([[0.3], [-1.0], [2.0]]), levels(0.99, 0.6, 0.1)
    np.testing.assert_allclose(
        week["Rescaled"](wide, 0.1).noise(x, a), small.noise(x, a), rtol=1e-3, atol=1e-4
    )


def test_spread_is_within_classes(week):
    week["brightest"] = 2.0
    images = np.array([[0.0, 0.0], [2.0, 2.0], [10.0, 10.0], [10.0, 10.0]])
    assert week["spread"](images, np.array([0, 0, 1, 1])) == pytest.approx(np.sqrt(0.5) / 2)


def test_likelihood_by_the_ode(week):
    x = tf.constant(np.random.default_rng(0).normal(0, 0.5, size=(20, 2)), tf.float32)
    found = week["ode_log_prob"](Mixture([1.0], [[0.0, 0.0]], [0.5]), x, tf.constant(100)).numpy()
    np.testing.assert_allclose(found, norm.logpdf(x, 0, 0.5).sum(axis=1), atol=1e-3)


@pytest.mark.parametrize("dilated", [False, True])
def test_solvers_have_their_orders(week, dilated):
    """On Gaussian data, whose map is known: with twice the steps Euler has half the error, Heun a quarter."""
    model, x = Mixture([1.0], [[0.0]], [0.5]), tf.constant([[1.0], [-0.4]])
    variance = [float(a) * 0.25 + 1 - float(a) for a in week["level"](levels(1.0, 1e-3))]
    exact, error = x * np.sqrt(variance[1] / variance[0]), {}
    for heun in (False, True):
        for n in (24, 48):
            times = week["places"](n, dilated)
            np.testing.assert_allclose(times.numpy()[[0, -1]], [1, 1e-3], rtol=1e-3)
            found = week["solve"](model, x, times, heun, dilated)
            error[heun, n] = float(tf.reduce_max(tf.abs(found - exact)))
    assert np.log2(error[False, 24] / error[False, 48]) == pytest.approx(1, abs=0.15)
    assert error[True, 48] < error[False, 48] / 7
    if dilated:  # in t the errors of Heun nearly cancel for a Gaussian
        assert np.log2(error[True, 24] / error[True, 48]) == pytest.approx(2, abs=0.2)
