"""utils/boltzmann.py against enumeration and automatic differentiation."""

import numpy as np
import pytest
from scipy.special import logsumexp

tf = pytest.importorskip("tensorflow")

from utils import datasets  # noqa: E402
from utils.boltzmann import (  # noqa: E402
    AIS,
    RBM,
    Draws,
    all_states,
    base,
    bernoulli,
    centre,
    copy,
    log_odds,
    moments,
    rbm_ais,
    train,
    weigh,
)


@pytest.fixture
def rbm():
    model = RBM(4, 3, tf.constant([0.5, -0.5, 0.2, 0.0]), scale=1.5, seed=1)
    model.c.assign([0.3, -0.4, 0.1])
    return model


def joint(rbm):
    """p(v, h) of all states: (2^D, 2^H), from the energy alone."""
    v, h = (all_states(n).numpy() for n in rbm.W.shape)
    b, c, W = (part.numpy().astype(float) for part in (rbm.b, rbm.c, rbm.W))
    log_p = (v @ b)[:, None] + h @ c + v @ W @ h.T
    return np.exp(log_p - logsumexp(log_p)), logsumexp(log_p)


def generator(seed):
    return tf.random.Generator.from_seed(seed)


def index(v):
    return (v.numpy() @ 2 ** np.arange(v.shape[1])).astype(int)


def close_to(counts, p):
    """Counts of n independent draws: chi-squared below a bound that it passes once in 1.2 million runs."""
    n, kept = counts.sum(), p > 0
    chi = ((counts - n * p)[kept] ** 2 / (n * p[kept])).sum()
    df = kept.sum() - 1
    return chi < df + 2 * np.sqrt(df * 14) + 2 * 14  # Laurent and Massart (2000), probability exp(−14)


def test_all_states_are_all_states():
    states = all_states(5)
    assert states.shape == (32, 5) and list(index(states)) == list(range(32))


def test_log_odds_are_clipped():
    np.testing.assert_allclose(
        log_odds([0.0, 0.5, 0.9, 1.0]), [-np.log(99), 0, np.log(9), np.log(99)], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("rng", [generator(1), Draws(1)])
def test_bernoulli_keeps_zeros_and_ones_and_draws_the_rest(rng):
    drawn = bernoulli(tf.constant([[0.0, 1.0, 0.3, 0.3]] * 20_000), rng).numpy()
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert (drawn[:, 0] == 0).all() and (drawn[:, 1] == 1).all()
    assert abs(drawn[:, 2:].mean() - 0.3) < 6 * np.sqrt(0.21 / 40_000)
    assert (drawn[:, 2] != drawn[:, 3]).any()


def test_draws_differ_between_calls_and_keys_and_repeat():
    first, second = Draws(3), Draws(3)
    a, b = first.uniform([4]).numpy(), first.uniform([4]).numpy()
    assert (a != b).all() and (a == second.uniform([4]).numpy()).all()
    assert (a != Draws(4).uniform([4]).numpy()).all()


def test_free_energy_conditionals_and_log_z_are_sums_over_all_states(rbm):
    p, log_z = joint(rbm)
    v, h = all_states(4), all_states(3)
    np.testing.assert_allclose(-rbm.free_energy(v) - log_z, np.log(p.sum(axis=1)), rtol=1e-4)
    np.testing.assert_allclose(rbm.p_h_v(v), p @ h.numpy() / p.sum(axis=1)[:, None], rtol=1e-4)
    np.testing.assert_allclose(rbm.p_v_h(h), p.T @ v.numpy() / p.sum(axis=0)[:, None], rtol=1e-4)


def test_gibbs_leaves_the_exact_distribution_unchanged_and_has_the_exact_kernel(rbm):
    p, _ = joint(rbm)
    p_v = p.sum(axis=1)
    kernel = (p / p_v[:, None]) @ (p / p.sum(axis=0)).T  # T(v' | v) = Σ_h p(h | v) p(v' | h): (16, 16)
    np.testing.assert_allclose(p_v @ kernel, p_v, rtol=1e-12)
    start = np.random.default_rng(2).choice(16, 100_000, p=p_v)
    end = index(rbm.gibbs(tf.gather(all_states(4), start), generator(3)))
    counts = np.bincount(16 * start + end, minlength=256).reshape(16, 16)
    for row, exact in zip(counts, kernel, strict=True):
        assert close_to(row, exact)
    assert close_to(counts.sum(axis=0), p_v)


def test_moments_give_the_gradient_and_centring_that_of_the_centred_model(rbm):
    p, _ = joint(rbm)
    p_v, v = tf.constant(p.sum(axis=1), tf.float32), all_states(4)
    data = v[3:8]
    each = [moments(v[i : i + 1], rbm.p_h_v(v[i : i + 1])) for i in range(16)]
    model = [sum(p_v[i] * each[i][n] for i in range(16)) for n in range(3)]
    step = [d - m for d, m in zip(moments(data, rbm.p_h_v(data)), model, strict=True)]

    mu, lam = tf.constant([0.1, 0.5, 0.7, 0.9]), tf.constant([0.2, 0.6, 0.4])
    W, b, c = (tf.Variable(part) for part in (rbm.W, rbm.b, rbm.c))  # b' = b + Wλ, c' = c + Wᵀμ
    shifted = tf.Variable(b + tf.linalg.matvec(W, lam)), tf.Variable(c + tf.linalg.matvec(W, mu, True))

    def log_likelihood(W, b, c):
        def free(v):
            return -tf.linalg.matvec(v, b) - tf.reduce_sum(tf.nn.softplus(c + v @ W), axis=1)

        return -tf.reduce_mean(free(data)) - tf.reduce_logsumexp(-free(v))

    with tf.GradientTape(persistent=True) as tape:
        plain = log_likelihood(W, b, c)
        biases = shifted[0] - tf.linalg.matvec(W, lam), shifted[1] - tf.linalg.matvec(W, mu, True)
        centred = log_likelihood(W, *biases)
    for ours, exact in zip(step, tape.gradient(plain, [W, b, c]), strict=True):
        np.testing.assert_allclose(ours, exact, atol=1e-5)
    dW, db, dc = tape.gradient(centred, [W, *shifted])
    back = dW, db - tf.linalg.matvec(dW, lam), dc - tf.linalg.matvec(dW, mu, True)
    for ours, exact in zip(centre(*step, mu, lam), back, strict=True):
        np.testing.assert_allclose(ours, exact, atol=1e-5)


def test_training_raises_the_likelihood_and_repeats():
    bars = tf.constant(datasets.bars_and_stripes(3))  # 14 images, equally likely

    def run():
        watched = []
        model, average = RBM(9, 12, scale=0.05, seed=0), RBM(9, 12)
        settings = {"epochs": 30, "rate": 0.5, "B": 14, "M": 100, "decay": 0.99, "rng": generator(0)}
        images = tf.tile(bars, [100, 1])
        returned = train(model, average, lambda: images, **settings, watch=lambda *it: watched.append(it))
        assert returned is average and [epoch for epoch, _ in watched] == list(range(30))
        return average

    first, second = run(), run()
    value = float(tf.reduce_mean(-first.free_energy(bars))) - joint(first)[1]
    assert -3.5 < value < -np.log(14), "independent pixels have −6.24 nats"
    np.testing.assert_array_equal(first.W, second.W)


def test_copy_copies(rbm):
    other = copy(rbm, RBM(4, 3))
    for new, old in zip(other.variables, rbm.variables, strict=True):
        np.testing.assert_array_equal(new, old)


def test_weigh_is_right_at_any_size():
    log_w = np.log([1.0, 2.0, 3.0, 6.0])
    for shift in (0.0, -2000.0, 2000.0):
        mean, size = weigh(tf.constant(log_w + shift))
        assert mean.value == pytest.approx(np.log(3) + shift)
        assert mean.error == pytest.approx(np.std([1, 2, 3, 6], ddof=1) / 3 / 2)
        assert size == pytest.approx(144 / 50)


def check_both_ways(ais, start, samples, log_z, rng, K=100):
    below, size, last = ais.estimate(K, start, rng)
    above, size_back, _ = ais.estimate(K, samples, rng, reverse=True)
    assert abs(below.value - log_z) < 6 * below.error + 1e-3
    assert abs(above.value - log_z) < 6 * above.error + 1e-3
    assert below.error < 0.05 and min(size, size_back) > len(start) / 2
    return last


def test_ais_of_an_rbm_against_enumeration(rbm):
    p, log_z = joint(rbm)
    b0, rng = log_odds([0.2, 0.5, 0.5, 0.9]), generator(4)
    v_model = tf.gather(all_states(4), np.random.default_rng(5).choice(16, 1000, p=p.sum(axis=1)))
    ais = rbm_ais(rbm, b0)
    assert ais.log_z0 == pytest.approx(3 * np.log(2) + np.log1p(np.exp(b0)).sum(), rel=1e-6)
    start = base(b0, 1000, rng)
    np.testing.assert_allclose(start.numpy().mean(axis=0), [0.2, 0.5, 0.5, 0.9], atol=0.1)
    last = check_both_ways(ais, start, v_model, log_z, rng)
    assert close_to(np.bincount(index(last), minlength=16), p.sum(axis=1))  # 100 steps: weights all but equal


def test_ais_at_one_temperature_is_importance_sampling_without_bias(rbm):
    """K = 1 from every state of the base: the exact mean of the weights is Z / Z₀."""
    _, log_z = joint(rbm)
    b0, v = log_odds([0.2, 0.5, 0.5, 0.9]), all_states(4)
    ais = rbm_ais(rbm, b0)
    log_w, _ = ais.walk(tf.constant([0.0, 1.0]), v, generator(0))
    p = tf.reduce_prod(tf.where(v == 1, tf.sigmoid(b0), 1 - tf.sigmoid(b0)), axis=1)
    assert np.log((p * np.exp(log_w)).numpy().sum()) + ais.log_z0 == pytest.approx(log_z, abs=1e-4)


def test_ais_of_a_boltzmann_machine_without_hidden_units_by_keys_and_xla():
    """Week 2: one unit after the other, random numbers from a key, compiled."""
    rng, D = np.random.default_rng(6), 5
    W = np.triu(rng.normal(size=(D, D)), 1)
    W, b = tf.constant(W + W.T, tf.float32), tf.constant(rng.normal(size=D), tf.float32)
    states = all_states(D)
    log_p = (tf.reduce_sum((states @ W) * states, axis=1) / 2 + tf.linalg.matvec(states, b)).numpy()
    log_z = logsumexp(log_p)

    def log_p_star(x, beta):
        return beta * tf.reduce_sum((x @ W) * x, axis=1) / 2 + beta * tf.linalg.matvec(x, b)

    def transition(x, beta, key):
        u = tf.random.stateless_uniform(tf.shape(x), key)
        for i in range(D):
            on = tf.cast(u[:, i] < tf.sigmoid(beta * (tf.linalg.matvec(x, W[i]) + b[i])), tf.float32)
            x = tf.concat([x[:, :i], on[:, None], x[:, i + 1 :]], axis=1)
        return x

    ais = AIS(log_p_star, transition, D * np.log(2), xla=True)
    start = tf.constant(rng.integers(2, size=(1000, D)), tf.float32)
    x_model = tf.gather(states, rng.choice(2**D, 1000, p=np.exp(log_p - log_z)))
    check_both_ways(ais, start, x_model, log_z, tf.constant(7))
    same = ais.estimate(100, start, tf.constant(7))[0], ais.estimate(100, start, tf.constant(8))[0]
    assert same[0] == ais.estimate(100, start, tf.constant(7))[0] != same[1]


def test_ais_carries_a_tuple_from_step_to_step():
    """Week 5: a network energy f whose value at x goes on to the next step (here single flips)."""
    D, net = 4, tf.random.Generator.from_seed(8).normal([4, 6])
    f = lambda x: tf.reduce_sum(tf.nn.swish(2 * x @ net), axis=1)  # noqa: E731
    log_p = f(all_states(D)).numpy()
    log_z = logsumexp(log_p)

    def transition(state, beta, rng):
        for i in range(D):
            x, value = state
            y = tf.abs(x - tf.one_hot(i, D))
            new = f(y)
            accept = tf.math.log(rng.uniform(tf.shape(value))) < beta * (new - value)
            state = tf.where(accept[:, None], y, x), tf.where(accept, new, value)
        return state

    ais = AIS(lambda state, beta: beta * state[1], transition, D * np.log(2))
    start, x_model = (
        tf.gather(all_states(D), np.random.default_rng(9).choice(16, 1000, p=p))
        for p in (np.full(16, 1 / 16), np.exp(log_p - log_z))
    )
    rng = generator(10)
    x, value = ais.estimate(100, (start, f(start)), rng)[2]
    np.testing.assert_allclose(value, f(x), rtol=1e-5)
    below, above = (
        ais.estimate(100, (x, f(x)), rng, reverse=back)[0] for x, back in ((start, False), (x_model, True))
    )
    assert abs(below.value - log_z) < 6 * below.error + 1e-3
    assert abs(above.value - log_z) < 6 * above.error + 1e-3
