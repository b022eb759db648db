"""The functions of the week 12 notebook against Jacobians, integrals and closed forms."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
tfp = pytest.importorskip("tensorflow_probability")
import keras  # noqa: E402
from scipy.stats import norm  # noqa: E402

from utils.networks import MLP  # noqa: E402

MASK = np.array([1, 0, 0, 1, 1])
ORDER = np.array([3, 1, 5, 2, 4])


def shaken(layer, scale=0.3):
    """The layer with random weights, so that no zero of the start hides a fault."""
    keras.utils.set_random_seed(1)
    for w in layer.trainable_variables:
        w.assign(tf.random.normal(w.shape, stddev=scale))
    return layer


def layers(week):
    return {
        "coupling": shaken(week["Coupling"](MASK, 16)),
        "additive": shaken(week["Additive"](MASK, 16)),
        "MAF": shaken(week["MAF"](ORDER, 30)),
        "IAF": shaken(week["IAF"](ORDER, 30)),
    }


NAMES = ["coupling", "additive", "MAF", "IAF"]


def jacobian(f, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    return tape.batch_jacobian(y, x).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_inverse_undoes_forward_and_the_log_determinant_is_that_of_the_jacobian(week, name):
    layer, z = layers(week)[name], tf.random.normal([20, 5])
    x = layer.forward(z)
    back, log_det = layer.inverse(x)
    np.testing.assert_allclose(back, z, atol=1e-4)
    exact = np.linalg.slogdet(jacobian(layer.forward, z))[1]
    np.testing.assert_allclose(log_det, -exact, atol=1e-4)
    assert np.max(np.abs(x - z)) > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_a_new_layer_is_the_identity(week, name):
    layer = {"coupling": week["Coupling"], "additive": week["Additive"]}.get(name)
    layer = layer(MASK, 8) if layer else week[name](ORDER, 8)
    x = tf.random.normal([4, 5])
    z, log_det = layer.inverse(x)
    np.testing.assert_array_equal(z, x)
    np.testing.assert_array_equal(log_det, 0)


def test_a_coupling_keeps_what_its_mask_says_and_looks_at_nothing_else(week):
    layer = layers(week)["coupling"]
    J = jacobian(layer.forward, tf.random.normal([5, 5]))
    kept, moved = MASK == 1, MASK == 0
    np.testing.assert_array_equal(J[:, kept], np.broadcast_to(np.eye(5)[kept], (5, 3, 5)))
    inner = J[:, moved][:, :, moved]
    np.testing.assert_allclose(inner * (1 - np.eye(2)), 0, atol=1e-7)
    assert np.abs(J[:, moved][:, :, kept]).min() > 0


@pytest.mark.parametrize("name", ["MAF", "IAF"])
def test_an_autoregressive_layer_is_triangular_in_its_order(week, name):
    J = np.abs(jacobian(layers(week)[name].forward, tf.random.normal([20, 5]))).mean(axis=0)
    later = ORDER[:, None] < ORDER
    assert not J[later].any()
    assert J[~later].min() > 0


def test_maf_agrees_with_tensorflow_probability(week):
    layer = shaken(week["MAF"](np.arange(1, 6), 30))

    def m_and_s(x):
        s, m = layer.s_m(x)
        return m, s

    flow = week["Flow"](5, [layer])
    second = tfp.distributions.TransformedDistribution(
        tfp.distributions.MultivariateNormalDiag(tf.zeros(5)), tfp.bijectors.MaskedAutoregressiveFlow(m_and_s)
    )
    x = tf.random.normal([10, 5])
    np.testing.assert_allclose(flow(x), second.log_prob(x), rtol=1e-4)


def test_a_flow_of_two_variables_integrates_to_one(week):
    flow = week["Flow"](2, [shaken(week["Coupling"](mask, 16), 0.4) for mask in ([1, 0], [0, 1], [1, 0])])
    line = np.linspace(-15, 15, 601).astype(np.float32)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    assert np.exp(flow(grid)).sum() * 0.05**2 == pytest.approx(1, abs=5e-3)


def test_histograms_as_a_flow(week):
    draw = np.random.default_rng(0)
    images = np.stack([draw.integers(5, size=300), draw.binomial(4, 0.2, 300)], axis=1)
    layer = week["Marginals"](images, 5, smoothing=0.5)
    x = (draw.integers(5, size=(200, 2)) + draw.random((200, 2))).astype(np.float32)
    z, log_det = layer.inverse(x)
    np.testing.assert_allclose(layer.forward(z), x, atol=5e-3)
    counts = np.stack([np.bincount(c, minlength=5) for c in images.T]) + 0.5
    p = counts / counts.sum(axis=1, keepdims=True)
    exact = np.log(p[0][x[:, 0].astype(int)]) + np.log(p[1][x[:, 1].astype(int)])
    np.testing.assert_allclose(norm.logpdf(z).sum(axis=1) + log_det, exact, atol=1e-3)
    drawn = layer.forward(tf.random.normal([20_000, 2])).numpy()
    assert drawn.min() >= 0 and drawn.max() < 5
    for d in range(2):  # 5.5 standard deviations of a share
        share = np.bincount(drawn[:, d].astype(int), minlength=5) / 20_000
        assert np.all(np.abs(share - p[d]) < 5.5 * np.sqrt(p[d] * (1 - p[d]) / 20_000))


def test_the_bound_of_independent_pixels_is_exact(week):
    images = np.random.default_rng(0).integers(3, size=(100, 4))
    model = week["Dequantised"](week["Flow"](4, [week["Marginals"](images, 3)]))
    every = np.stack(np.meshgrid(*[np.arange(3.0)] * 4), axis=-1).reshape(-1, 4).astype(np.float32)
    assert np.exp(model(every)).sum() == pytest.approx(1, abs=1e-3)


def mixture(week):
    means = np.array([[2, 0], [-1, 1.7], [-1, -1.7]], np.float32)
    week |= {"means": means, "weights": [0.5, 0.3, 0.2], "sigma": 0.3, "draw": np.random.default_rng(0)}
    return week


def test_the_mixtures_velocity_is_the_mean_direction(week):
    """The regression's normal equations: E[(x₁ − x₀ − v) g(x_t)] = 0 for several g."""
    week, draw = mixture(week), np.random.default_rng(5)
    N = 400_000
    x_1 = week["means"][draw.choice(3, N, p=week["weights"])] + 0.3 * draw.normal(size=(N, 2))
    x_0, t = draw.normal(size=(N, 2)), draw.random((N, 1))
    x_t = ((1 - t) * x_0 + t * x_1).astype(np.float32)
    v = np.asarray(week["exact_velocity"](tf.constant(x_t), tf.constant(t.astype(np.float32))))
    for g in (np.ones((N, 1)), x_t, t, t * x_t, np.sin(3 * x_t), (x_t[:, :1] > 0) * t):
        terms = np.concatenate([(x_1 - x_0 - v) * g, (x_1 - x_0 - v) * g[:, ::-1]], axis=1)
        error = terms.std(axis=0) / np.sqrt(N)
        assert np.all(np.abs(terms.mean(axis=0)) < 5.5 * error)


def test_the_exact_velocity_carries_noise_to_the_mixture(week):
    week = mixture(week)
    N = 20_000
    keras.utils.set_random_seed(3)
    end = week["solve"](week["exact_velocity"], tf.random.normal([N, 2]), 60, True)[-1].numpy()
    square = np.sum((end[:, None] - week["means"]) ** 2, axis=2)
    share = np.bincount(square.argmin(axis=1), minlength=3) / N
    p = np.array(week["weights"])
    assert np.all(np.abs(share - p) < 5.5 * np.sqrt(p * (1 - p) / N))
    inside = np.mean(square.min(axis=1) < 0.3**2 * 2 * np.log(2))  # half of a Gaussian in the plane
    assert abs(inside - 0.5) < 5.5 * np.sqrt(0.25 / N) + 0.003


def test_heun_is_of_second_order(week):
    def field(x, t):
        return -x * (1 + t)  # x(1) = x(0) exp(−3/2)

    x = tf.ones([1, 1])
    errors = {
        heun: [abs(float(week["solve"](field, x, n, heun)[-1, 0, 0]) - np.exp(-1.5)) for n in (8, 16)]
        for heun in (False, True)
    }
    assert errors[False][0] / errors[False][1] == pytest.approx(2, rel=0.2)
    assert errors[True][0] / errors[True][1] == pytest.approx(4, rel=0.3)


def test_the_trace_is_that_of_the_jacobian(week):
    network = shaken(MLP(5, 12, 9, 4), 0.5)
    x, t = tf.random.normal([7, 4]), tf.random.uniform([7, 1])
    v, trace = week["velocity_and_trace"](network, x, t)
    np.testing.assert_allclose(v, network(tf.concat([x, t], axis=1)), rtol=1e-4, atol=1e-5)
    J = jacobian(lambda y: network(tf.concat([y, t], axis=1)), x)
    np.testing.assert_allclose(trace, np.trace(J, axis1=1, axis2=2), rtol=1e-3, atol=1e-4)


def test_likelihood_by_the_ode_of_a_flow_that_is_known(week):
    """v = x log 2, nearly: the density is a Gaussian of standard deviation 2."""
    model = week["FlowMatching"](2, 8)
    first, second, last = *model.network.hidden, model.network.last
    for w in model.network.trainable_variables:
        w.assign(tf.zeros(w.shape))
    small = 1e-3  # silu(u) is u / 2 near 0
    first.kernel.assign(np.pad(np.eye(2) * small, [(0, 1), (0, 6)]))
    second.kernel.assign(np.pad(np.eye(2), [(0, 6), (0, 6)]))
    last.kernel.assign(np.pad(np.eye(2) * 4 * np.log(2) / small, [(0, 6), (0, 0)]))
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    log_p = week["ode_log_prob"](model, tf.constant(x), 40)
    np.testing.assert_allclose(log_p, norm.logpdf(x, scale=2).sum(axis=1), atol=0.02)


def test_assignment_has_the_smallest_sum_and_keeps_every_point(week):
    import itertools

    draw = np.random.default_rng(0)
    x_0, x_1 = draw.normal(size=(2, 10, 2))
    y = week["assign"](x_0, x_1, 5)
    for part in (slice(0, 5), slice(5, 10)):
        best = min(np.sum((x_0[part] - x_1[part][list(p)]) ** 2) for p in itertools.permutations(range(5)))
        assert np.sum((x_0[part] - y[part]) ** 2) == pytest.approx(best)
        assert sorted(map(tuple, y[part])) == sorted(map(tuple, x_1[part]))


@pytest.mark.parametrize("shape", [(8, 8), (4, 12)])
def test_glow_is_undone_and_its_log_determinant_is_that_of_the_jacobian(week, shape):
    keras.utils.set_random_seed(2)
    layer = shaken(week["Glow"](shape, 6, 2), 0.2)
    for part in layer.parts:
        if isinstance(part, week["Mix"]):
            part.W.assign_add(np.eye(part.W.shape[0]))
    x = tf.random.normal([3, shape[0] * shape[1]])
    z, log_det = layer.inverse(x)
    np.testing.assert_allclose(layer.forward(z), x, atol=1e-3)
    exact = np.linalg.slogdet(jacobian(lambda y: layer.inverse(y)[0], x))[1]
    np.testing.assert_allclose(log_det, exact, rtol=1e-3, atol=1e-3)


def test_actnorm_starts_with_mean_0_and_variance_1(week):
    mix = week["Mix"](3, np.random.default_rng(0))
    x = tf.random.normal([50, 4, 4, 3]) * [1.0, 5.0, 0.2] + [0.0, 3.0, -7.0]
    mix.prepare(x)
    y = (x * tf.exp(mix.s) + mix.b).numpy()
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(y.var(axis=(0, 1, 2)), 1, rtol=1e-3)


def test_hutchinson_is_exact_for_a_diagonal_jacobian_and_signs(week):
    x, t = tf.random.normal([6, 3]), tf.zeros([6, 1])
    eps = tf.sign(tf.random.normal([6, 3]))
    estimate = week["hutchinson"](lambda x, t: x**3, x, t, eps)
    np.testing.assert_allclose(estimate, np.sum(3 * x.numpy() ** 2, axis=1), rtol=1e-4)


def test_variational_noise_is_a_bound_of_a_known_probability(week):
    """For independent pixels the uniform bound is the probability itself, and no other noise may pass it."""
    images = np.random.default_rng(0).integers(3, size=(100, 4))
    flow = week["Flow"](4, [week["Marginals"](images, 3)])
    exact = week["Dequantised"](flow)(images[:20].astype(np.float32)).numpy()
    model = week["Variational"](flow, 4, 8, 3)
    x = np.tile(images[:20].astype(np.float32), (500, 1))
    bound = model(x).numpy().reshape(500, 20)
    error = bound.std(axis=0) / np.sqrt(500)
    assert np.all(bound.mean(axis=0) < exact + 5.5 * error + 1e-3)
    assert np.all(bound.mean(axis=0) > exact - 1)
