"""The functions of the week 4 notebook against enumeration in float64, beyond what the notebook checks."""

import itertools

import numpy as np
import pytest
from scipy.special import expit, logsumexp

from utils import boltzmann, stattests

tf = pytest.importorskip("tensorflow")
D, H1, H2 = 4, 3, 2


def states(n):
    return np.array(list(itertools.product([0.0, 1.0], repeat=n)))


@pytest.fixture
def dbm(week):
    rng = np.random.default_rng(1)
    dbm = week["DBM"](D, H1, H2, scale=1.0, seed=1)
    dbm.b.assign(rng.normal(size=D + H2).astype(np.float32))
    dbm.c.assign(rng.normal(size=H1).astype(np.float32))
    return dbm


def dbm_table(dbm):
    """log p*(v, h1, h2) of all states, float64 (2^D, 2^H1, 2^H2), from the definition of the energy."""
    W1, W2, b, c1, c2 = (np.asarray(x, float) for x in dbm.parts())
    v, h1, h2 = states(D), states(H1), states(H2)
    return (
        (v @ W1 @ h1.T + (v @ b)[:, None] + h1 @ c1)[:, :, None] + h1 @ W2 @ h2.T + h2 @ c2  # (16, 8, 4)
    )


@pytest.fixture
def dbn(week):
    rng = np.random.default_rng(2)
    first, top = week["RBM"](D, H1, scale=1.0, seed=2), week["RBM"](H1, H2, scale=1.0, seed=3)
    for variable in [first.b, first.c, top.b, top.c]:
        variable.assign(rng.normal(size=variable.shape).astype(np.float32))
    dbn = week["DBN"](first, top)
    dbn.R.assign(rng.normal(size=(D, H1)).astype(np.float32))  # not tied
    return dbn


def dbn_table(dbn):
    """log p(v, h1) of all states, float64 (2^D, 2^H1), h2 summed out, normalised."""
    W1, b, W2, c1, c2 = (np.asarray(x, float) for x in (dbn.W1, dbn.b, dbn.top.W, dbn.top.b, dbn.top.c))
    v, h1, h2 = states(D), states(H1), states(W2.shape[1])
    top = logsumexp(h1 @ W2 @ h2.T + h2 @ c2, axis=1) + h1 @ c1
    x = b + h1 @ W1.T  # (8, 4)
    return v @ x.T - np.logaddexp(0, x).sum(axis=1) + top - logsumexp(top)


def q_table(q, h):
    """log Π q^h (1 − q)^(1 − h): q (B, H), h (S, H) → (B, S)."""
    return np.log(q) @ h.T + np.log(1 - q) @ (1 - h).T


def test_a_stack_upside_down_is_the_rbm(week):
    rng = np.random.default_rng(3)
    rbm = week["RBM"](D, H1, scale=1.0, seed=4)
    rbm.b.assign(rng.normal(size=D).astype(np.float32))
    rbm.c.assign(rng.normal(size=H1).astype(np.float32))
    log_p = dbn_table(week["DBN"](rbm, week["upside_down"](rbm)))
    v, h = states(D), states(H1)
    W, b, c = (np.asarray(x, float) for x in (rbm.W, rbm.b, rbm.c))
    joint = v @ W @ h.T + (v @ b)[:, None] + h @ c
    np.testing.assert_allclose(log_p, joint - logsumexp(joint), atol=1e-5)


def test_dbn_joint_bound_and_exact_value(week, dbn):
    log_p, v, h1 = dbn_table(dbn), states(D), states(H1)
    pairs = [np.array(x, np.float32) for x in zip(*itertools.product(v, h1), strict=True)]
    joint = np.asarray(dbn.log_joint(*pairs)).reshape(16, 8)
    np.testing.assert_allclose(joint - joint[0, 0], log_p - log_p[0, 0], atol=1e-4)  # without log Z2
    log_q = q_table(expit(dbn.r.numpy() + v @ dbn.R.numpy().astype(float)), h1)
    exact, bound = week["exact_dbn"](dbn, tf.constant(v, tf.float32), tf.constant(h1, tf.float32))
    np.testing.assert_allclose(exact, logsumexp(log_p, axis=1), atol=1e-4)
    np.testing.assert_allclose(bound, (np.exp(log_q) * (log_p - log_q)).sum(axis=1), atol=1e-4)
    assert (np.asarray(bound) < np.asarray(exact)).all()


def test_importance_weights_average_to_p(week, dbn):
    """E[w] = p(v) Z2: each weight is one of eight known values, so Hoeffding's bound holds."""
    log_p, v, h1 = dbn_table(dbn), states(D), states(H1)
    log_q = q_table(expit(dbn.r.numpy() + v @ dbn.R.numpy().astype(float)), h1)
    n = 4000
    log_w = week["log_weights"](dbn, tf.constant(v, tf.float32), n, tf.random.Generator.from_seed(1)).numpy()
    pair = [np.array(x, np.float32) for x in (v[:1], h1[:1])]
    log_z2 = float(dbn.log_joint(*pair)[0]) - log_p[0, 0]
    w, values = np.exp(log_w - log_z2), np.exp(log_p - log_q)
    for i in range(16):
        tolerance = stattests.hoeffding_tolerance(n, values[i].min(), values[i].max(), comparisons=16)
        assert abs(w[:, i].mean() - np.exp(log_p[i]).sum()) <= tolerance


def test_wake_is_the_gradient_of_the_bound(week, dbn):
    """The expectation over q, pair by pair, against automatic differentiation of the exact bound."""
    v, h1 = (tf.constant(states(n), tf.float32) for n in (D, H1))
    with tf.GradientTape() as tape:
        bound = tf.reduce_mean(week["exact_dbn"](dbn, v, h1)[1])
    exact = tape.gradient(bound, [dbn.W1, dbn.b])
    q = np.exp(q_table(dbn.q_h1_v(v).numpy(), states(H1))) / len(v)
    ours = [np.zeros(x.shape) for x in exact]
    for i, j in itertools.product(range(16), range(8)):
        for total, gradient in zip(ours, week["wake"](dbn, v[i : i + 1], h1[j : j + 1]), strict=True):
            total += q[i, j] * gradient.numpy()
    for total, gradient in zip(ours, exact, strict=True):
        np.testing.assert_allclose(total, gradient, atol=1e-5)


def test_ascent_follows_the_gradient_and_cd_does_not(week, dbn):
    """The exact step is rate × gradient; the CD-1 step from the same start is not."""
    v, h = (tf.constant(states(n), tf.float32) for n in (H1, H2))
    p = np.random.default_rng(5).dirichlet(np.ones(8)).astype(np.float32)
    with tf.GradientTape() as tape:
        minus_f = -dbn.top.free_energy(v)
        objective = tf.reduce_sum(p * minus_f) - tf.reduce_logsumexp(minus_f)
    gradient = tape.gradient(objective, [dbn.top.W, dbn.top.b, dbn.top.c])
    for cd in (False, True):
        top = week["copy"](dbn.top, week["RBM"](H1, H2))
        week["ascend"](top, v, h, tf.constant(p), tf.constant(0.01), tf.constant(1), cd)
        moved = [
            (new - old) / 0.01
            for new, old in zip([top.W, top.b, top.c], [dbn.top.W, dbn.top.b, dbn.top.c], strict=True)
        ]
        same = [np.allclose(a, b, atol=1e-3) for a, b in zip(moved, gradient, strict=True)]
        assert all(same) != cd


def test_the_dbm_is_the_rbm_in_disguise(week, dbm):
    log_p = dbm_table(dbm)
    v, h1, h2 = states(D), states(H1), states(H2)
    triples = [np.array(x, np.float32) for x in zip(*itertools.product(v, h1, h2), strict=True)]
    np.testing.assert_allclose(-dbm.energy(*triples), log_p.ravel(), atol=1e-4)
    x = np.array([np.concatenate(pair) for pair in itertools.product(v, h2)], np.float32)  # (64, 6)
    np.testing.assert_allclose(-dbm.free_energy(x), logsumexp(log_p, axis=1).ravel(), atol=1e-4)
    joint = dbm.log_joint(*[np.array(x, np.float32) for x in zip(*itertools.product(v, h1), strict=True)])
    np.testing.assert_allclose(joint, logsumexp(log_p, axis=2).ravel(), atol=1e-4)
    exact, log_z = week["exact_dbm"](dbm, tf.constant(v, tf.float32))
    assert log_z == pytest.approx(logsumexp(log_p), abs=1e-4)
    np.testing.assert_allclose(exact, logsumexp(log_p, axis=(1, 2)) - log_z, atol=1e-4)


def test_mean_field_bound_and_fixed_point(week, dbm):
    log_p, v = dbm_table(dbm), tf.constant(states(D), tf.float32)
    mu1, mu2 = dbm.mean_field(v, 200)
    W1, W2, b, c1, c2 = dbm.parts()
    np.testing.assert_allclose(mu1, tf.sigmoid(c1 + v @ W1 + mu2 @ tf.transpose(W2)), atol=1e-5)
    np.testing.assert_allclose(mu2, tf.sigmoid(c2 + mu1 @ W2), atol=1e-5)
    log_q = q_table(mu1.numpy(), states(H1))[:, :, None] + q_table(mu2.numpy(), states(H2))[:, None]
    exact = logsumexp(log_p, axis=(1, 2))
    bound = (np.exp(log_q) * (log_p - log_q)).sum(axis=(1, 2))
    np.testing.assert_allclose(dbm.bound(v, mu1, mu2), bound, atol=1e-4)
    assert (bound < exact).all()
    with tf.GradientTape() as tape:  # the explicit dependence only: this is the positive phase
        value = tf.reduce_mean(dbm.bound(v, mu1, mu2))
    x, h = dbm.posterior(v)
    gradient = week["moments"](tf.concat([v, mu2], axis=1), mu1)
    for ours, exact_gradient in zip(gradient, tape.gradient(value, [dbm.W, dbm.b, dbm.c]), strict=True):
        np.testing.assert_allclose(ours, exact_gradient, atol=1e-5)
    assert x.shape == (16, D + H2) and h.shape == (16, H1)


def test_ais_is_unbiased_on_the_dbm(week, dbm):
    """Each step's ratio is bounded over all states, hence the weight: Hoeffding."""
    log_z, N = logsumexp(dbm_table(dbm)), 20_000
    b0 = np.array([0.2, -0.4, 0.0, 0.3, 0.1, -0.2])
    x = states(D + H2)
    W, b, c = (np.asarray(p, float) for p in (dbm.W, dbm.b, dbm.c))
    betas = np.linspace(0, 1, 5)
    levels = [x @ ((1 - t) * b0 + t * b) + np.logaddexp(0, t * (c + x @ W)).sum(axis=1) for t in betas]
    ratios = [new - old for old, new in itertools.pairwise(levels)]
    log_z0 = logsumexp(levels[0])
    rng = tf.random.Generator.from_seed(3)
    start = week["bernoulli"](tf.tile(tf.constant(expit(b0)[None], tf.float32), [N, 1]), rng)
    walker = boltzmann.rbm_ais(dbm, tf.constant(b0, tf.float32))
    assert walker.log_z0 == pytest.approx(log_z0, abs=1e-4)
    log_w, _ = walker.walk(tf.constant(betas, tf.float32), start, rng)
    low, high = (np.exp(sum(f(r) for r in ratios)) for f in (np.min, np.max))
    assert abs(np.exp(log_w.numpy()).mean() - np.exp(log_z - log_z0)) <= stattests.hoeffding_tolerance(
        N, low, high
    )


def test_log_z_by_ais_and_by_the_reverse_walk(week, dbm):
    """Both estimates within five of their own standard errors, the reverse walk from exact samples."""
    log_p, R = dbm_table(dbm), 4000
    rng, x = tf.random.Generator.from_seed(4), states(D + H2)
    log_p_x = logsumexp(log_p, axis=1).ravel()  # x = (v, h2)
    drawn = np.random.default_rng(5).choice(len(x), R, p=np.exp(log_p_x - logsumexp(log_p)))
    for v in (None, tf.constant(x[drawn], tf.float32)):
        log_z, size, last = week["ais"](dbm, np.full(D + H2, 0.5), 20, R, rng, v)
        assert abs(log_z.value - logsumexp(log_p)) < 5 * log_z.error < 0.2
        assert 1 < size <= R and last.shape == (R, D + H2)


def test_growth_of_the_second_layer(week, dbm):
    """Near W2 = 0 formula and gradient agree; of data from the model means vary less: W2 shrinks."""
    dbm.W[D:].assign(1e-3 * dbm.W[D:])
    log_p, rng = logsumexp(dbm_table(dbm), axis=(1, 2)), tf.random.Generator.from_seed(8)
    p = np.exp(log_p - logsumexp(log_p))
    v = tf.constant(states(D)[np.random.default_rng(9).choice(16, 40_000, p=p)], tf.float32)
    x = tf.concat([v, week["bernoulli"](dbm.mean_field(v, 5)[1], rng)], axis=1)  # W2 = 0: h2 is independent
    gradient, formula, mean_slope = week["growth"](dbm, v, x, rng)
    assert gradient == pytest.approx(formula, rel=0.05)
    W1, W2, _, c1, c2 = (np.asarray(x, float) for x in dbm.parts())
    mu1 = expit(c1 + states(D) @ W1)
    lost = np.diag(p @ (mu1 * (1 - mu1)))  # law of total variance: C minus the covariance of the means
    slope = expit(c2) * (1 - expit(c2))
    assert mean_slope == pytest.approx(slope.mean(), abs=1e-3)
    exact = -np.sum(W2 * (lost @ W2) * slope) / np.sum(W2**2)
    assert formula == pytest.approx(exact, rel=0.1)


def test_alive_counts_units_that_vary(week, dbm):
    v = tf.constant(states(D), tf.float32)
    W = np.zeros((D + H2, H1), np.float32)
    W[0, 0], W[D + 1, 0] = 10.0, 4.0  # the first pixel moves one unit of h1, which moves the second of h2
    dbm.W.assign(W)
    dbm.c.assign([-7.0, 0.0, 0.0])
    dbm.b[D:].assign([5.0, -2.0])
    assert week["alive"](dbm, v) == 1


@pytest.mark.parametrize("kind", ["dbn", "dbm"])
def test_restoring_gives_the_posterior_means(week, request, kind):
    model = request.getfixturevalue(kind)
    log_p = logsumexp(dbn_table(model), axis=1) if kind == "dbn" else logsumexp(dbm_table(model), axis=(1, 2))
    v, p = states(D), np.exp(log_p - logsumexp(log_p))
    evidence = np.array([np.inf, 0.0, -1.3, 0.0])  # known to be 1, missing, noisy, missing
    posterior = p * np.where(v[:, 0] == 1, 1, 0) * np.exp(v[:, 2] * -1.3)
    posterior /= posterior.sum()
    e, rng = tf.constant(np.tile(evidence, (4000, 1)), tf.float32), tf.random.Generator.from_seed(7)
    means = week[f"restore_{kind}"](model, e, rng, 200, 100)
    means = np.asarray(means[0] if kind == "dbn" else means)
    assert (means[:, 0] == 1).all()
    # 4,000 independent chains, each mean within [0, 1]; after 100 steps on this toy no bias is visible
    stattests.assert_mean(
        means, posterior @ v, stattests.hoeffding_tolerance(4000, 0, 1, comparisons=4), "means"
    )


def test_training_a_dbm_on_a_pattern_finds_it(week):
    """A model of one repeated image must give it nearly all probability: fails with a wrong sign or phase."""
    image = np.array([1, 0, 1, 1, 0, 0], np.float32)
    rng, data = tf.random.Generator.from_seed(1), tf.constant(np.tile(image, (50, 1)))
    dbm = week["train"](week["DBM"](6, 3, 2), week["DBM"](6, 3, 2), lambda: data, 60, 0.3, 10, 20, 0.9, rng)
    assert float(week["exact_dbm"](dbm, data[:1])[0][0]) > np.log(0.8)


def test_up_down_learns_a_pattern(week):
    image = np.array([1, 0, 1, 1, 0, 0], np.float32)
    rng, data = tf.random.Generator.from_seed(1), tf.constant(np.tile(image, (50, 1)))
    new = lambda: week["DBN"](week["RBM"](6, 3), week["RBM"](3, 2))  # noqa: E731
    dbn, average, chain = new(), new(), tf.zeros([20, 2])
    for rates in np.linspace(0.3, 0.001, 300, dtype=np.float32).reshape(60, 5):
        chain = week["up_down_epoch"](dbn, average, data, chain, tf.constant(rates), 0.9, rng, 10)
    log_p, bound = week["exact_dbn"](average, data[:1], tf.constant(states(3), tf.float32))
    assert float(log_p[0]) > np.log(0.8)
    assert -1e-4 <= float(log_p[0] - bound[0]) < 0.1
