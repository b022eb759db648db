"""The functions of the week 9 notebook against closed forms, definitions and the linear programme."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
import keras  # noqa: E402

from utils.networks import MLP, batches  # noqa: E402


def points(n, D, seed=0):
    return np.random.default_rng(seed).normal(size=(n, D))


# --- 1 and 2: earth mover's distance, critic, penalty ------------------------------------------------


def test_the_plan_moves_all_earth_and_the_potentials_are_feasible(week):
    x, y = points(9, 2), points(6, 2, 1) + 1
    value, plan, u, v = week["earth_mover"](x, y)
    cost = np.linalg.norm(x[:, None] - y[None], axis=2)
    np.testing.assert_allclose(plan.sum(axis=1), np.full(9, 1 / 9), atol=1e-9)
    np.testing.assert_allclose(plan.sum(axis=0), np.full(6, 1 / 6), atol=1e-9)
    assert plan.min() >= 0
    assert value == pytest.approx((plan * cost).sum()) == pytest.approx(u.mean() + v.mean())
    assert (u[:, None] + v[None] <= cost + 1e-9).all()


def test_a_shift_costs_its_length(week):
    x, shift = points(20, 3), np.array([0.3, -0.4, 1.2])
    assert week["earth_mover"](x, x + shift)[0] == pytest.approx(1.3)


def test_the_best_critic_has_slope_one_and_attains_the_distance(week):
    x, y = points(15, 2), 1.5 * points(15, 2, 1)
    value, _, u, v = week["earth_mover"](x, y)

    def f(z):
        return week["best_critic"](z, y, v)

    assert f(x).mean() - f(y).mean() == pytest.approx(value)
    a, b = 3 * points(500, 2, 2), 3 * points(500, 2, 3)
    assert (np.abs(f(a) - f(b)) <= np.linalg.norm(a - b, axis=1) + 1e-9).all()


@pytest.mark.parametrize(("length", "two", "one"), [(3.0, 4.0, 4.0), (1.0, 0.0, 0.0), (0.4, 0.36, 0.0)])
def test_the_penalty_of_a_linear_critic(week, length, two, one):
    """(|a| − 1)², wherever one looks; one-sided only above 1. Images keep their axes."""
    a = points(1, 12)[0]
    a = tf.constant((length * a / np.linalg.norm(a)).reshape(3, 4, 1), tf.float32)
    real, fake = (tf.constant(points(5, 12, s).reshape(5, 3, 4, 1), tf.float32) for s in (1, 2))

    def f(x):
        return tf.reduce_sum(a * x, axis=[1, 2, 3])[:, None]

    np.testing.assert_allclose(week["gradient_penalty"](f, real, fake), two, atol=1e-5)
    np.testing.assert_allclose(week["gradient_penalty"](f, real, fake, one_sided=True), one, atol=1e-5)


def test_the_points_lie_uniformly_between_the_pair_with_one_alpha_each(week):
    """f = |x|² / 2 has the slope x. From 0 to a point of length 2 it is 2α: E(2α − 1)² = 1/3 for a uniform α.

    A normal α would give 5; an α for each coordinate would leave the line, and give about 0.11.
    """
    tf.random.set_seed(1)
    N = 40_000
    penalty = float(
        week["gradient_penalty"](
            lambda x: tf.reduce_sum(x**2, axis=1, keepdims=True) / 2, tf.ones([N, 4]), tf.zeros([N, 4])
        )
    )
    assert abs(penalty - 1 / 3) < 6 * np.sqrt(4 / 45 / N)  # Var (2α − 1)² = 1/5 − 1/9


def test_the_penalty_can_be_differentiated_where_the_critic_is_flat(week):
    weight = tf.Variable(tf.zeros([3, 1]))
    with tf.GradientTape() as tape:
        penalty = week["gradient_penalty"](lambda x: x @ weight, tf.ones([4, 3]), tf.zeros([4, 3]))
    assert float(penalty) == pytest.approx(1, abs=1e-4)
    assert np.isfinite(tape.gradient(penalty, weight)).all()


def test_a_fitted_critic_overestimates_by_what_the_formula_says(week):
    """Two points at a distance θ: slope 1 + θ / 2λ, so the estimate is θ + θ² / 2λ."""
    theta, weight = 1.5, 5.0
    tf.keras.utils.set_random_seed(1)
    f, estimates = week["fit_critic"](
        np.full((16, 1), theta), np.zeros((16, 1)), weight, one_sided=True, steps=600
    )
    assert estimates[-1] == pytest.approx(theta + theta**2 / (2 * weight), rel=0.01)
    assert week["steepest"](f, np.array([[theta]]), np.zeros((1, 1))) == pytest.approx(
        estimates[-1] / theta, rel=1e-2
    )


def test_the_one_sided_critic_finds_the_distance_on_a_line_and_never_exceeds_it_when_certified(week):
    x, y = np.array([[-2.0], [2.0]] * 16), 0.1 * points(32, 1)
    exact = week["earth_mover"](x, y)[0]
    for seed in range(2):
        tf.keras.utils.set_random_seed(seed)
        f, estimates = week["fit_critic"](x, y, 20.0, one_sided=True, steps=800)
        certified = estimates[-1] / week["steepest"](f, x, y)
        assert 0.9 * exact < certified <= exact * 1.001


# --- 3: Wasserstein GAN -----------------------------------------------------------------------------


def wgan(week, critic_steps=2, D=3, L=2):
    tf.keras.utils.set_random_seed(3)
    return week["WGAN"](MLP(L, 8, D), MLP(D, 8, 1), L, 10.0, critic_steps)


def test_every_step_of_the_critic_sees_fresh_images(week):
    """A batch of 12 with three critic steps: each image is seen as a real one exactly once, 4 at a time."""
    seen = []

    class Watching(week["WGAN"]):
        def distance(self, real, fake, *labels):
            seen.append(real.numpy())
            return super().distance(real, fake, *labels)

    model = Watching(MLP(2, 8, 3), MLP(3, 8, 1), 2, 10.0, 3)
    model.compile({name: keras.optimizers.SGD(0.1) for name in model.players}, run_eagerly=True)
    x = points(12, 3).astype(np.float32)
    before = [w.numpy() for w in model.generator.trainable_variables]
    model.train_step(tf.constant(x))
    assert [len(part) for part in seen] == [4, 4, 4]
    np.testing.assert_array_equal(np.concatenate(seen), x)
    assert int(model.optimizers["critic"].iterations) == 3
    assert int(model.optimizers["generator"].iterations) == 1
    assert any(
        np.abs(a - b).max() > 0 for a, b in zip(before, model.generator.trainable_variables, strict=True)
    )


def test_both_players_follow_their_own_loss(week):
    """Against a critic a · x a shift moves along a; the critic moves along E x − E G(z)."""

    class Shift(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.shift = self.add_weight(shape=(3,), initializer="zeros")
            self.built = True

        def call(self, z):
            return tf.zeros([tf.shape(z)[0], 3]) + self.shift

    a = np.array([[0.6], [0.8], [0.0]], np.float32)  # of length 1: the penalty has no slope there
    generator, critic = Shift(), MLP(3, 1)
    critic.last.kernel.assign(a)
    model = week["WGAN"](generator, critic, 2, 10.0, 1)
    model.compile(
        {"generator": keras.optimizers.SGD(0.5), "critic": keras.optimizers.SGD(0.0)}, run_eagerly=True
    )
    x = tf.constant(points(8, 3) + 1, tf.float32)
    model.train_step(x)
    np.testing.assert_allclose(generator.shift, 0.5 * a[:, 0], rtol=1e-5)
    generator.shift.assign([0, 0, 0])
    model.compile(
        {"generator": keras.optimizers.SGD(0.0), "critic": keras.optimizers.SGD(0.1)}, run_eagerly=True
    )
    logs = model.train_step(x)
    np.testing.assert_allclose(critic.last.kernel[:, 0], a[:, 0] + 0.1 * np.mean(x, axis=0), rtol=1e-4)
    assert float(logs["distance"]) == pytest.approx(float(np.mean(x @ a)), rel=1e-5)
    assert float(logs["penalty"]) == pytest.approx(0, abs=1e-6)


def test_a_wasserstein_gan_finds_a_distant_mean(week):
    """The data are at (5, −5), the samples begin near 0, with no overlap: they arrive."""
    tf.keras.utils.set_random_seed(0)
    model = week["WGAN"](MLP(2, 16, 2), MLP(2, 32, 32, 1), 2, 10.0, 2)
    x = (0.5 * points(256, 2) + [5, -5]).astype(np.float32)
    data = batches(x, B=64, seed=0, binarise=False).repeat(25)
    history, _ = week["play"](model, data, 5, {"generator": 5e-3, "critic": 5e-3}, (0.0, 0.9))
    assert np.abs(np.mean(model.sample(1000), axis=0) - [5, -5]).max() < 1.5
    assert history["distance"][0] > 2 > 1 > abs(history["distance"][-1])


def told(week, use, *sizes):
    return week["Told"](week[use], *sizes)


def test_labels_reach_both_players_and_images_keep_theirs(week):
    """Three classes in three corners: nearly all samples are nearest to the corner of their own class."""
    tf.keras.utils.set_random_seed(0)
    corners, y = np.array([[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]), np.arange(240) % 3
    labels, x = np.eye(3, dtype=np.float32)[y], (corners[y] + 0.05 * points(240, 2)).astype(np.float32)
    model = week["WGAN"](told(week, "labelled", 5, 32, 2), told(week, "projection", 2, 32, 32, 4), 2, 10.0, 2)
    data = batches(x, labels, B=80, seed=0, binarise=False).repeat(60)
    week["play"](model, data, 3, {"generator": 2e-3, "critic": 2e-3}, (0.0, 0.9))
    samples = model.sample(240, tf.constant(labels)).numpy()
    away = np.linalg.norm(samples[:, None] - corners, axis=2)
    assert np.mean(np.argmin(away, axis=1) == y) > 0.9


# --- 4: CycleGAN ------------------------------------------------------------------------------------


class Gain(keras.layers.Layer):
    """A translator that is one factor."""

    def __init__(self, value):
        super().__init__()
        self.value = self.add_weight(shape=(), initializer=keras.initializers.Constant(value))
        self.built = True

    def call(self, x):
        return self.value * x


def test_the_losses_of_a_cycle_by_hand(week):
    """G doubles, F takes a third, a score is twice the sum of the pixels: every loss is a short formula."""

    class Score(Gain):
        def call(self, x):
            return self.value * tf.reduce_sum(x, axis=[1, 2, 3])[:, None]

    def sigmoid(t):
        return 1 / (1 + np.exp(-t))

    G, F, D_A, D_B = Gain(2.0), Gain(1 / 3), Score(2.0), Score(2.0)
    model = week["CycleGAN"](G, F, D_A, D_B, cycle=5.0, gamma=0.7)
    model.compile({name: keras.optimizers.SGD(0.01) for name in model.players}, run_eagerly=True)
    a, b = tf.fill([4, 2, 1, 1], 0.3), tf.fill([4, 2, 1, 1], 0.6)
    logs = model.train_step((a, b))
    assert float(logs["cycle"]) == pytest.approx(0.3 / 3 + 0.6 / 3, rel=1e-5)
    fake_b, fake_a = 2 * 2 * 2 * 0.3, 2 * 2 * 0.6 / 3  # the scores of G(a) and F(b): two pixels each
    assert float(logs["adversarial"]) == pytest.approx(
        -np.log(sigmoid(fake_b)) - np.log(sigmoid(fake_a)), rel=1e-5
    )
    g = -sigmoid(-fake_b) * 2 * 2 * 0.3 - 5 * (
        0.3 / 3 + 0.6 / 3
    )  # both ways are too dark: the cycle pulls G up
    assert float(G.value) == pytest.approx(2 - 0.01 * g, rel=1e-4)
    d = -sigmoid(-2 * 2 * 0.6) * 2 * 0.6 + sigmoid(fake_b) * 2 * 2 * 0.3 + 0.7 / 2 * 2 * 2 * 2.0
    assert float(D_B.value) == pytest.approx(2 - 0.01 * d, rel=1e-4)


def test_the_cycle_ties_two_translators_together(week):
    """The discriminators leave a sign free; the cycle loss makes F the inverse of G."""
    rng, gap = np.random.default_rng(0), {}
    a = rng.random((64, 8, 8, 1)).astype(np.float32)
    for weight in (10.0, 0.0):
        tf.keras.utils.set_random_seed(0)
        model = week["CycleGAN"](Gain(1.5), Gain(1.5), Gain(0.1), Gain(0.1), weight)
        data = tf.data.Dataset.from_tensors((a, 2 * a)).repeat(100)
        week["play"](model, data, 1, {"translators": 0.02, "discriminators": 1e-4})
        gap[weight] = abs(float(model.G.value * model.F.value) - 1)
    assert gap[10.0] < 0.1 < gap[0.0]


def test_a_game_that_is_restarted_repeats_itself_and_obeys_another_cycle_weight(week):
    """The same start, batches and compiled step: the same result, until λ is another."""
    a = np.random.default_rng(0).random((8, 4, 4, 1)).astype(np.float32)
    model = week["CycleGAN"](Gain(1.5), Gain(1.2), Gain(0.1), Gain(0.2))
    start, data = model.get_weights(), tf.data.Dataset.from_tensors((a, 2 * a)).repeat(5)
    week["play"](model, data, 2, {"translators": 0.02, "discriminators": 0.01})
    first = model.get_weights()
    for weight in (30.0, 0.0):
        model.set_weights(start)
        for state in sum((optimizer.variables for optimizer in model.optimizers.values()), []):
            state.assign(tf.zeros_like(state))
        for now, then in zip(model.get_weights(), start, strict=True):
            np.testing.assert_array_equal(now, then)
        model.cycle.assign(weight)
        model.fit(data, epochs=2, shuffle=False, verbose=0)
        same = [np.allclose(x, y, rtol=1e-5) for x, y in zip(model.get_weights(), first, strict=True)]
        assert all(same) == (weight == 30.0)


# --- 5: StyleGAN2 -----------------------------------------------------------------------------------


@pytest.fixture
def conv(week):
    tf.keras.utils.set_random_seed(2)
    return week["ModulatedConv"](6, 5, 3, 4)


def test_demodulated_weights_have_unit_norm_and_follow_the_style(conv):
    w = tf.random.normal([3, 4], seed=1)
    W, s = conv.weights_of(w).numpy(), conv.scales(w).numpy()
    np.testing.assert_allclose((W**2).sum(axis=(1, 2, 3)), 1, rtol=1e-5)
    by_hand = s[:, None, None, :, None] * conv.kernel.numpy()
    by_hand /= np.sqrt((by_hand**2).sum(axis=(1, 2, 3), keepdims=True))
    np.testing.assert_allclose(W, by_hand, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("demodulate", [True, False])
def test_one_kernel_for_all_gives_what_a_kernel_for_each_gives(week, demodulate):
    conv = week["ModulatedConv"](6, 5, 3, 4, demodulate)
    x, w = tf.random.normal([3, 7, 6, 6], seed=1), tf.random.normal([3, 4], seed=2)
    W = conv.weights_of(w)
    each = [tf.nn.conv2d(x[i : i + 1], W[i], 1, "SAME") for i in range(3)]
    np.testing.assert_allclose(conv(x, w), tf.concat(each, axis=0), rtol=1e-4, atol=1e-5)


def test_unit_variance_stays_unit_variance_for_every_style(conv):
    tf.random.set_seed(3)
    x, w = tf.random.normal([8, 60, 60, 6]), 5 * tf.random.normal([8, 4])
    inner = conv(x, w).numpy()[:, 1:-1, 1:-1]  # zeros beyond the border take variance away
    assert np.abs(inner.var(axis=(0, 1, 2)) - 1).max() < 0.1


@pytest.fixture
def net(week):
    tf.keras.utils.set_random_seed(4)
    return week["StyleGenerator"](8, 12, 6)


def test_noise_is_one_number_a_pixel_and_of_the_learned_strength(week):
    tf.keras.utils.set_random_seed(5)
    layer = week["StyleLayer"](6, 5, 4)
    x, w = tf.random.normal([2, 9, 9, 6]), tf.random.normal([2, 4])
    np.testing.assert_array_equal(layer(x, w), layer(x, w))
    layer.strength.assign(0.5)
    layer.bias.assign(np.full(5, 100.0))  # the activation is linear there
    many = np.stack([layer(x, w) for _ in range(200)]) / np.sqrt(2)
    np.testing.assert_allclose(np.std(many, axis=0).mean(), 0.5, rtol=0.02)
    noise = many - many.mean(axis=0)
    np.testing.assert_allclose(noise, noise[..., :1] + 0 * noise, atol=1e-3)


def test_the_images_double_and_the_late_styles_only_touch_the_late_ones(net):
    z = tf.random.normal([2, 3, 8], seed=1)
    one, two = net.styles(z[0]), net.styles(z[1])
    assert one.shape == (3, 5, 12) and [i.shape[1] for i in net.synthesis(one)] == [4, 8, 16]
    for late, same in [(1, 1), (3, 2), (5, 3)]:  # layers: one at 4×4, two at 8×8, two at 16×16
        mixed = net.synthesis(tf.concat([one[:, :late], two[:, late:]], axis=1))
        for i, (a, b) in enumerate(zip(mixed, net.synthesis(one), strict=True)):
            assert (np.abs(a - b).max() == 0) == (i < same)


def test_the_length_of_z_does_not_count(net):
    z = tf.random.normal([4, 8], seed=2)
    np.testing.assert_allclose(net(3 * z), net(z), atol=1e-5)


def test_a_share_of_the_samples_has_two_styles(week, net):
    for mixing in (0.0, 0.5, 1.0):
        tf.random.set_seed(6)
        model = week["StyleGAN"](net, MLP(4, 1), mixing=mixing)
        styles = model.mixed(2000).numpy()
        changes = np.any(styles[:, 1:] != styles[:, :-1], axis=2)  # (2000, 4)
        assert changes.sum(axis=1).max() <= 1, "at most one change"
        share = changes.any(axis=1).mean()
        assert abs(share - mixing) <= 6 * np.sqrt(mixing * (1 - mixing) / 2000)
        if mixing:
            where = changes.sum(axis=0) / changes.sum()
            assert np.abs(where - 0.25).max() < 6 * np.sqrt(0.25 * 0.75 / changes.sum())


def test_truncation_moves_styles_to_their_mean(week, net):
    z = tf.random.normal([5, 8], seed=3)
    mean = tf.reduce_mean(net.styles(tf.random.normal([500, 8])), axis=0)
    np.testing.assert_allclose(week["truncated"](net, z, mean, 1.0), net.styles(z), atol=1e-6)
    np.testing.assert_allclose(
        week["truncated"](net, z, mean, 0.0), tf.repeat(mean[None], 5, axis=0), atol=1e-6
    )
    half = week["truncated"](net, z, mean, 0.5) - mean
    np.testing.assert_allclose(half, 0.5 * (net.styles(z) - mean), atol=1e-6)


# --- Deeper -----------------------------------------------------------------------------------------


def test_clipped_weights_stay_within_their_limits(week):
    tf.keras.utils.set_random_seed(1)
    f, _ = week["fit_critic"](points(32, 2) + 3, points(32, 2), 0.0, steps=50, after=week["clipped"](0.1))
    assert max(np.abs(weight).max() for weight in f.trainable_variables) <= 0.1 + 1e-7


def test_power_iteration_finds_the_largest_singular_value_and_its_gradient(week):
    W = tf.Variable(points(7, 4), dtype=tf.float32)
    v = tf.constant(points(4, 1, 1)[:, 0], tf.float32)
    with tf.GradientTape() as tape:
        sigma, v = week["spectral_norm"](W, v, turns=200)
    u, s, vt = np.linalg.svd(W.numpy())
    assert float(sigma) == pytest.approx(s[0], rel=1e-5)
    np.testing.assert_allclose(tape.gradient(sigma, W), np.outer(u[:, 0], vt[0]), atol=1e-4)  # dσ / dW = u vᵀ
    assert abs(v.numpy() @ vt[0]) == pytest.approx(1, abs=1e-5)


def test_the_turns_of_the_power_iteration_are_not_differentiated(week):
    """After one turn v is not yet the singular vector; the derivative is u vᵀ all the same."""
    W, v = tf.Variable(points(7, 4), dtype=tf.float32), tf.constant(points(4, 1, 1)[:, 0], tf.float32)
    with tf.GradientTape() as tape:
        sigma, v = week["spectral_norm"](W, v)
    u = W.numpy() @ v.numpy()
    assert float(sigma) == pytest.approx(np.linalg.norm(u), rel=1e-5)
    np.testing.assert_allclose(tape.gradient(sigma, W), np.outer(u / np.linalg.norm(u), v), atol=1e-5)


def test_a_spectral_layer_has_slope_one(week):
    layer = week["SpectralDense"](6, 5)
    layer.W.assign(3 * points(6, 5))
    for _ in range(200):
        layer(tf.zeros([1, 6]))
    slope = np.array(layer(tf.eye(6)) - layer(tf.zeros([1, 6])))
    assert np.linalg.svd(slope)[1][0] == pytest.approx(1, rel=1e-4)


def test_feature_matching_is_the_squared_distance_of_the_mean_features(week):
    x, y = (tf.constant(points(n, 3, n), tf.float32) for n in (8, 5))
    value = week["feature_matching"](lambda t: t**2, x, y)
    assert float(value) == pytest.approx(
        np.sum((np.mean(x.numpy() ** 2, axis=0) - np.mean(y.numpy() ** 2, axis=0)) ** 2), rel=1e-5
    )


def test_a_projection_critic_adds_the_output_of_its_class(week):
    critic = told(week, "projection", 3, 4, 1 + 5)
    x, y = tf.constant(points(6, 3), tf.float32), tf.one_hot([0, 1, 2, 3, 4, 2], 5)
    values = critic.network(x).numpy()
    by_hand = values[:, 0] + values[np.arange(6), 1 + np.argmax(y, axis=1)]
    np.testing.assert_allclose(critic(x, y)[:, 0], by_hand, rtol=1e-5)


def test_path_lengths_are_those_of_the_jacobian(week):
    """A linear synthesis G(w) = A w has the Jacobian A for every image."""
    A = tf.constant(points(7, 4), tf.float32)
    noise = tf.constant(points(3, 7, 1), tf.float32)
    lengths = week["path_lengths"](
        lambda w: w @ tf.transpose(A), tf.constant(points(3, 4, 2), tf.float32), noise
    )
    np.testing.assert_allclose(lengths, np.linalg.norm(noise.numpy() @ A.numpy(), axis=1), rtol=1e-5)
