"""The functions of the week 5 notebook against closed forms and enumeration, beyond its own checks."""

import itertools

import numpy as np
import pytest
from scipy.special import logsumexp

from utils import stattests

tf = pytest.importorskip("tensorflow")


@pytest.fixture
def net(week):
    """A small energy on {0,1}^4, steep enough that a wrong sampler shows."""
    net = week["Energy"](4, 6, b=tf.constant([0.6, -0.5, 0.2, -0.8]), seed=2)
    net.w.assign(3 * net.w)
    return net


STATES = np.array(list(itertools.product([0.0, 1.0], repeat=4)), np.float32)


def probabilities(net, linear=0.0, beta=1.0, b0=0.0):
    """p(x) ∝ exp(linear·x + β (f(x) − b0·x)) over the 16 states, float64."""
    log_p = STATES @ np.broadcast_to(linear, 4) + beta * (
        net.f(STATES).numpy() - STATES @ np.broadcast_to(b0, 4)
    )
    return np.exp(log_p - logsumexp(log_p)), logsumexp(log_p)


def close_to(p, x):
    """Shares of the 16 states among independent rows of x (N, 4) against p."""
    shares = np.bincount((np.asarray(x) @ [8, 4, 2, 1]).astype(int), minlength=16) / len(x)
    for share, exact in zip(shares, p, strict=True):
        assert abs(share - exact) <= stattests.bernstein_tolerance(
            len(x), exact * (1 - exact), 1.0, comparisons=len(p)
        )


def test_the_closed_form_score_is_the_gradient_of_the_smoothed_density(week):
    target = week["Mixture"]([0.7, 0.3], [[1.0, 0.0], [-1.0, 2.0]], [0.5, 1.5])
    x = tf.constant(np.random.default_rng(0).normal(0, 2, (20, 2)), tf.float32)
    for sigma in (0.0, 0.7):
        gradient = week["value_and_gradient"](lambda x, s=sigma: target.log_prob(x, s), x)[1]
        np.testing.assert_allclose(target.score(x, sigma), gradient, rtol=1e-4, atol=1e-5)


def test_losses_of_a_linear_score_in_closed_form(week):
    """s(x) = −Λ (x − m): implicit ½ |s|² − tr Λ; sliced ½ (v·s)² − vᵀΛv; denoising ½ |s(x + σz) + z/σ|²."""
    rng = np.random.default_rng(1)
    root, m = rng.normal(size=(3, 3)), rng.normal(size=3)
    precision = root @ root.T
    x, v, z = rng.normal(size=(3, 7, 3))

    def score(x):
        return -(x - tf.constant(m)) @ tf.constant(precision)

    s = -(x - m) @ precision
    ours = week["implicit"](score, tf.constant(x))
    np.testing.assert_allclose(ours, (s**2).sum(axis=1) / 2 - np.trace(precision))
    ours = week["sliced"](score, tf.constant(x), tf.constant(v))
    slices = ((v * s).sum(axis=1)) ** 2 / 2 - np.einsum("bi,ij,bj->b", v, precision, v)
    np.testing.assert_allclose(ours, slices)
    ours = week["denoising"](score, tf.constant(x), tf.constant(z), 0.5)
    target = -(x + 0.5 * z - m) @ precision + z / 0.5
    np.testing.assert_allclose(ours, (target**2).sum(axis=1) / 2)


def test_conditionals_of_one_pixel(week, net):
    """Both losses from the conditionals p(x_i | rest), by enumeration; at p = model their gradients are 0."""
    p, _ = probabilities(net)
    index = STATES @ [8, 4, 2, 1]
    flipped = np.abs(STATES[:, None] - np.eye(4)) @ [8, 4, 2, 1]  # (16, 4)
    own, other = p[index.astype(int)][:, None], p[flipped.astype(int)]
    conditional = own / (own + other)
    for name, exact in [
        ("pseudo_likelihood", -np.log(conditional).sum(axis=1)),
        ("ratio_matching", ((1 - conditional) ** 2).sum(axis=1)),
    ]:
        np.testing.assert_allclose(week[name](net.f, tf.constant(STATES)), exact, rtol=1e-4, atol=1e-5)
        with tf.GradientTape(persistent=True) as tape:
            losses = week[name](net.f, tf.constant(STATES))
            right, wrong = tf.reduce_sum(p.astype(np.float32) * losses), tf.reduce_mean(losses)
        assert np.abs(tape.gradient(right, net.w)).max() < 1e-5
        assert np.abs(tape.gradient(wrong, net.w)).max() > 1e-2


def test_two_clusters_are_those_of_the_text(week):
    """The probabilities of a mixture of two clusters, each pixel wrong with probability 2 %."""
    x = np.array(list(itertools.product([0.0, 1.0], repeat=8)), np.float32)
    ones, w = x.sum(axis=1), 0.9
    exact = w * 0.02**ones * 0.98 ** (8 - ones) + (1 - w) * 0.98**ones * 0.02 ** (8 - ones)
    np.testing.assert_allclose(tf.nn.softmax(week["two_clusters"](x, w)), exact, rtol=1e-4, atol=1e-9)


def test_mala_leaves_the_target_unchanged(week):
    """Exact samples stay exact samples at a step size at which ULA is far off: shares of four intervals."""
    N, target = 40_000, week["Mixture"]([0.75, 0.25], [[-1.0], [1.5]], [1.0, 0.5])
    edges = [-1.0, 0.0, 1.0]
    from scipy.stats import norm

    below = 0.75 * norm.cdf(edges, -1.0, 1.0) + 0.25 * norm.cdf(edges, 1.5, 0.5**0.5)
    exact = np.diff([0.0, *below, 1.0])
    rng = tf.random.Generator.from_seed(3)
    off = {}
    for name in ("mala_step", "ula_step"):
        draw = np.random.default_rng(4)
        k = draw.choice(2, N, p=[0.75, 0.25])
        x = np.array([-1.0, 1.5])[k] + np.array([1.0, 0.5**0.5])[k] * draw.normal(size=N)
        x = tf.constant(x[:, None], tf.float32)
        x = week["langevin"](week[name], target, x, tf.fill([5], 1.0), tf.zeros(5), rng)[-1].numpy()[:, 0]
        shares = np.bincount(np.searchsorted(edges, x), minlength=4) / N
        tolerance = np.array(
            [stattests.bernstein_tolerance(N, p * (1 - p), 1.0, comparisons=4) for p in exact]
        )
        off[name] = (np.abs(shares - exact) / tolerance).max()
    assert off["mala_step"] <= 1
    assert off["ula_step"] > 1, "the test would accept anything"


def test_discrete_steps_leave_each_temperature_unchanged(week, net):
    """Chains that start at exact samples of p*_β, with evidence, must still be exact samples later."""
    b0, e, beta = np.array([0.3, 0.0, -0.4, 0.1]), np.array([0.0, 1.0, -0.5, 0.0]), 0.7
    p, _ = probabilities(net, b0 + e, beta, b0)
    x = tf.constant(STATES[np.random.default_rng(5).choice(16, 20_000, p=p)])
    b0, e = (tf.constant(t, tf.float32) for t in (b0, e))
    rng = tf.random.Generator.from_seed(1)

    def f(x):
        return net.f(x) + tf.linalg.matvec(x, e)

    for adjusted in (True, False):
        state = week["state"](f, x)
        for _ in range(4):
            state = week["discrete_step"](f, b0 + e, beta, *state, 1.0, rng, adjusted)
        y, f_y, g_y = state
        np.testing.assert_allclose(f_y, f(y), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(g_y, week["value_and_gradient"](f, y)[1], rtol=1e-5, atol=1e-5)
        assert (y != x).numpy().any(axis=1).mean() > 0.2
        if adjusted:
            close_to(p, y)
        else:
            with pytest.raises(AssertionError):
                close_to(p, y)


def test_ais_is_unbiased_and_the_reverse_walk_too(week, net):
    p, log_z = probabilities(net)
    N, b0 = 20_000, tf.constant([0.2, -0.4, 0.0, 0.3])
    log_z0 = float(tf.reduce_sum(tf.nn.softplus(b0)))
    rng, betas = np.random.default_rng(6), tf.linspace(0.0, 1.0, 5)
    start, draws = rng.random((N, 4)) < tf.sigmoid(b0).numpy(), tf.random.Generator.from_seed(7)
    back = STATES[rng.choice(16, N, p=p)]
    difference = net.f(STATES).numpy() - STATES @ b0.numpy()  # the log ratio of a step is a quarter of it
    for path, begin, exact, sign in [
        (betas, start, log_z - log_z0, 1),
        (betas[::-1], back, log_z0 - log_z, -1),
    ]:
        ais = week["annealing"](net.f, b0, 0.5)
        assert abs(ais.log_z0 - log_z0) < 1e-5
        log_w, _ = ais.walk(path, week["state"](net.f, tf.constant(begin, tf.float32)), draws)
        low, high = sorted([np.exp((sign * difference).min()), np.exp((sign * difference).max())])
        tolerance = stattests.hoeffding_tolerance(N, low, high)
        assert tolerance < 0.35 * np.exp(exact), "the test would accept anything"
        assert abs(np.exp(log_w.numpy()).mean() - np.exp(exact)) <= tolerance


def test_the_normaliser_of_nce_scatters_as_derived(week):
    """Data N(0, 1), noise N(0, 2²): mean and spread of 2,000 estimates of c."""
    rng, N, R = np.random.default_rng(8), 500, 2000
    data, noise = rng.normal(size=(R, N)), 2 * rng.normal(size=(R, N))
    c = week["fit_c"](*(-(x**2) / 2 - week["log_normal"](x, 2.0) for x in (data, noise)))
    line = np.arange(-20, 20, 0.001)
    p, q = (np.exp(week["log_normal"](line, tau)) for tau in (1.0, 2.0))
    overlap = (p * q / (p + q)).sum() * 0.001
    variance = (1 / overlap - 2) / N
    # 5.5 standard errors; the bias of c is of order variance, well below them
    assert abs(c.mean() + np.log(2 * np.pi) / 2) < 5.5 * np.sqrt(variance / R) + variance
    assert abs(c.var() / variance - 1) < 5.5 * np.sqrt(2 / R) + 0.02


@pytest.mark.slow
def test_training_comes_near_the_data(week):
    """Pixels 0 and 1 mostly agree, 2 and 3 mostly differ: the exact KL falls far below independence."""
    agree, differ = STATES[:, 0] == STATES[:, 1], STATES[:, 2] != STATES[:, 3]
    p = np.where(agree, 0.85, 0.15) * np.where(differ, 0.8, 0.2) / 4
    data = STATES[np.random.default_rng(10).choice(16, 600, p=p)]
    shares = np.bincount((data @ [8, 4, 2, 1]).astype(int), minlength=16) / len(data)
    means = data.mean(axis=0)
    seen = shares > 0

    def kl(q):
        return (shares[seen] * np.log(shares[seen] / q[seen])).sum()

    independent = np.prod(np.where(STATES == 1, means, 1 - means), axis=1)
    b0 = tf.constant(np.log(means / (1 - means)), tf.float32)
    results = []
    for _ in range(2):
        model, rate = (
            week["Energy"](4, 8, b0, seed=1),
            tf.keras.optimizers.schedules.PolynomialDecay(0.02, 300, 0.0),
        )
        settings = {"B": 60, "M": 400, "k": 10, "eps": 1.0, "decay": 0.9, "flip": 0.0}
        epochs = list(week["train"](model, b0, tf.constant(data), 30, rate, 0, **settings))
        assert len(epochs) == 30 and np.isfinite([gap for *_, gap in epochs]).all()
        average, buffer, _ = epochs[-1]
        results.append(buffer.numpy())
    np.testing.assert_array_equal(*results)  # one seed, one result
    q, _ = probabilities(average)
    assert kl(independent) > 0.1, "independent pixels would pass"
    assert kl(q) < 0.25 * kl(independent), (kl(q), kl(independent))
