"""The functions of the week 3 notebook against enumeration of a toy, beyond what the notebook checks."""

import itertools

import numpy as np
import pytest
from scipy.special import expit, logsumexp

from utils import stattests

tf = pytest.importorskip("tensorflow")


@pytest.fixture
def toy(week):
    rng = np.random.default_rng(1)
    rbm = week["RBM"](4, 3, scale=1.0, seed=1)
    rbm.b.assign(rng.normal(size=4).astype(np.float32))
    rbm.c.assign(rng.normal(size=3).astype(np.float32))
    return rbm


def joint(rbm, W=None, b=None, c=None):
    """All visible states (16, 4), all hidden states (8, 3) and log p*(v, h) (16, 8), in float64."""
    W, b, c = (x.numpy().astype(float) for x in (rbm.W, rbm.b, rbm.c)) if W is None else (W, b, c)
    v, h = (np.array(list(itertools.product([0.0, 1.0], repeat=n))) for n in W.shape)
    return v, h, (v @ b)[:, None] + h @ c + v @ W @ h.T


def p_visible(rbm):
    v, _, log_p = joint(rbm)
    return v, np.exp(logsumexp(log_p, axis=1) - logsumexp(log_p))


def frequencies(v):
    """Shares of the 16 states among rows of v (N, 4), in the order of itertools.product."""
    return np.bincount((np.asarray(v) @ [8, 4, 2, 1]).astype(int), minlength=16) / len(v)


def close_to(p, shares, N):
    for share, exact in zip(shares, p, strict=True):
        assert abs(share - exact) <= stattests.bernstein_tolerance(
            N, exact * (1 - exact), 1.0, comparisons=len(p)
        )


def test_energy_and_normaliser(week, toy):
    v, h, log_p = joint(toy)
    pairs = [(a, b) for a in v for b in h]
    energy = toy.energy(*(np.array(x, np.float32) for x in zip(*pairs, strict=True)))
    np.testing.assert_allclose(energy, -log_p.reshape(-1), rtol=1e-5, atol=1e-5)
    assert week["exact_log_z"](toy) == pytest.approx(logsumexp(log_p), abs=1e-5)


def test_the_centred_gradient_is_that_of_the_centred_parameters(week, toy):
    v, p = p_visible(toy)
    data = v[[3, 5, 9]]
    mu, lam = data.mean(axis=0), np.array([0.3, 0.6, 0.5])
    # the model phase exactly: weights p over all states instead of equal ones
    h = expit(toy.c.numpy() + v @ toy.W.numpy())
    h_data = expit(toy.c.numpy() + data @ toy.W.numpy())
    plain = [
        data.T @ h_data / 3 - (v * p[:, None]).T @ h,
        mu - p @ v,
        h_data.mean(axis=0) - p @ h,
    ]

    # log-likelihood as a function of (W, b', c') with b = b' − Wλ and c = c' − Wᵀμ
    W, b, c = (tf.Variable(x.numpy().astype(float)) for x in (toy.W, toy.b, toy.c))
    b1, c1 = (
        tf.Variable(b + tf.linalg.matvec(W, lam)),
        tf.Variable(c + tf.linalg.matvec(W, mu, transpose_a=True)),
    )
    with tf.GradientTape() as tape:
        b2, c2 = b1 - tf.linalg.matvec(W, lam), c1 - tf.linalg.matvec(W, mu, transpose_a=True)

        def minus_free_energy(v):
            return tf.linalg.matvec(v, b2) + tf.reduce_sum(tf.nn.softplus(c2 + v @ W), axis=1)

        objective = tf.reduce_mean(minus_free_energy(data)) - tf.reduce_logsumexp(minus_free_energy(v))
    dW, db1, dc1 = tape.gradient(objective, [W, b1, c1])
    ours = week["centre"](*(tf.constant(x) for x in plain), tf.constant(mu), tf.constant(lam))
    np.testing.assert_allclose(ours[0], dW, atol=1e-6)
    np.testing.assert_allclose(ours[1], db1 - tf.linalg.matvec(dW, lam), atol=1e-6)
    np.testing.assert_allclose(ours[2], dc1 - tf.linalg.matvec(dW, mu, transpose_a=True), atol=1e-6)


def test_ais_is_unbiased_and_the_reverse_walk_too(week, toy):
    v, p = p_visible(toy)
    _, _, log_p = joint(toy)
    log_z, N = logsumexp(log_p), 20_000
    b0 = tf.constant([0.2, -0.4, 0.0, 0.3])
    log_z0 = 3 * np.log(2) + np.logaddexp(0, b0.numpy()).sum()
    rng = tf.random.Generator.from_seed(3)
    betas = tf.linspace(0.0, 1.0, 5)
    start = week["bernoulli"](tf.tile(tf.sigmoid(b0)[None], [N, 1]), rng)
    for path, begin, exact in [
        (betas, start, log_z - log_z0),
        (betas[::-1], v[np.random.default_rng(4).choice(16, N, p=p)], log_z0 - log_z),
    ]:
        log_w = week["anneal"](toy, b0, path, tf.constant(begin, tf.float32), rng)[0].numpy()
        # each step's ratio is bounded, hence the weight: Hoeffding
        low, high = bounds(toy, b0.numpy(), path.numpy())
        tolerance = stattests.hoeffding_tolerance(N, np.exp(low), np.exp(high))
        assert tolerance < 0.35 * np.exp(exact), "the test would accept anything"
        assert abs(np.exp(log_w).mean() - np.exp(exact)) <= tolerance


def test_log_z_from_both_sides(week, toy):
    v, p = p_visible(toy)
    b0, rng = tf.constant([0.2, -0.4, 0.0, 0.3]), tf.random.Generator.from_seed(8)
    v_model = tf.constant(v[np.random.default_rng(9).choice(16, 2000, p=p)], tf.float32)
    below, above, forward, back, last = week["log_z_both_ways"](toy, b0, 10, rng, v_model)
    exact = logsumexp(joint(toy)[2])
    for estimate in (below, above):
        assert 0 < estimate.error < 0.05 and abs(estimate.value - exact) < 6 * estimate.error
    assert forward.mean() < exact < back.mean(), "means of log w enclose log Z (by many errors on this toy)"
    assert last.shape == (2000, 4)


def bounds(rbm, b0, betas):
    """Bounds of the log weight: sums over the steps of the extreme ratios over all 16 states."""
    v, _, _ = joint(rbm)
    W, b, c = (x.numpy().astype(float) for x in (rbm.W, rbm.b, rbm.c))

    def log_p(beta):
        return v @ ((1 - beta) * b0 + beta * b) + np.logaddexp(0, beta * (c + v @ W)).sum(axis=1)

    ratios = [log_p(new) - log_p(old) for old, new in itertools.pairwise(betas)]
    return sum(r.min() for r in ratios), sum(r.max() for r in ratios)


def test_tempering_keeps_each_temperature_at_its_distribution(week, toy):
    """20,000 sets of chains, started at exact samples of each temperature, must still be that later."""
    N, b0 = 20_000, np.array([0.2, -0.4, 0.0, 0.3])
    W, b, c = (x.numpy().astype(float) for x in (toy.W, toy.b, toy.c))
    betas, rng = np.array([0.0, 0.4, 1.0]), np.random.default_rng(5)
    exact, start = [], []
    for beta in betas:
        v, _, log_p = joint(toy, beta * W, (1 - beta) * b0 + beta * b, beta * c)
        p = np.exp(logsumexp(log_p, axis=1) - logsumexp(log_p))
        exact.append(p)
        start.append(v[rng.choice(16, N, p=p)])
    chains, before = tf.constant(np.array(start), tf.float32), np.array(start)
    generator = tf.random.Generator.from_seed(6)
    temperatures = tf.constant(betas[:, None], tf.float32)
    for step in range(4):
        chains = week["temper"](
            toy, tf.constant(b0, tf.float32), temperatures, chains, tf.constant(step % 2), generator
        )
    for p, v in zip(exact, chains.numpy(), strict=True):
        close_to(p, frequencies(v), N)
    assert not np.array_equal(before, chains.numpy())


def test_restore_gives_the_posterior_means(week, toy):
    v, p = p_visible(toy)
    evidence = np.array([np.inf, 0.0, -1.3, 0.0])  # known to be 1, missing, noisy, missing
    likelihood = np.where(v[:, 0] == 1, 1, 0) * np.exp(v[:, 2] * -1.3)
    posterior = p * likelihood / (p @ likelihood)
    e = tf.constant(np.tile(evidence, (4000, 1)), tf.float32)
    means = week["restore"](toy, e, tf.random.Generator.from_seed(7), 120, 20).numpy()
    assert (means[:, 0] == 1).all()
    # 4,000 independent chains, each mean within [0, 1]; after 20 steps on this toy no bias is visible
    stattests.assert_mean(
        means, posterior @ v, stattests.hoeffding_tolerance(4000, 0, 1, comparisons=4), "means"
    )


def test_one_seed_gives_the_same_numbers(week):
    data = (np.random.default_rng(0).random((60, 9)) < 0.3).astype(np.float32)

    def numbers():
        rng = tf.random.Generator.from_seed(11)
        average, chains = week["train"](week["RBM"](9, 5), data, 3, 10, 20, 2, 0.1, 0.9, rng)
        return average.W.numpy(), average.b.numpy(), chains.numpy()

    for a, b in zip(numbers(), numbers(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_draws_differ_from_call_to_call_and_from_key_to_key(week):
    """Equal numbers in two calls would couple v and h; equal numbers in two steps would couple the steps."""

    @tf.function
    def numbers(keys):
        rows = tf.TensorArray(tf.float32, 2 * len(keys))
        for i in tf.range(len(keys)):
            draws = week["Draws"](keys[i])
            rows = rows.write(2 * i, draws.uniform([50])).write(2 * i + 1, draws.uniform([50]))
        return rows.stack()

    drawn = numbers(tf.constant([3, 4, 2**31 - 2])).numpy()
    assert len({row.tobytes() for row in drawn}) == 6
    np.testing.assert_array_equal(drawn, numbers(tf.constant([3, 4, 2**31 - 2])).numpy())


def test_training_on_a_pattern_finds_it(week):
    """A model of one repeated image must give it nearly all probability: fails with a wrong sign or phase."""
    image = np.array([1, 0, 1, 1, 0, 0], np.float32)
    rbm = week["RBM"](6, 2)
    average, _ = week["train"](
        rbm, np.tile(image, (50, 1)), 60, 10, 20, 1, 0.3, 0.9, tf.random.Generator.from_seed(1)
    )
    log_z = week["exact_log_z"](average)
    assert week["log_likelihood"](average, image[None], log_z)[0] > np.log(0.8)


def test_an_epoch_visits_each_image_once(week):
    """With b far below 0 the model's v is always 0: the change of b counts how often each image came."""
    N, B = 12, 3
    rbm = week["RBM"](N, 2, b=tf.fill([N], -50.0))
    rates, rng = tf.ones([N // B]), tf.random.Generator.from_seed(3)
    chains = tf.zeros([5, 2])
    week["train_epoch"](rbm, None, tf.eye(N), chains, rates, None, rng, B, 1, True, False)
    np.testing.assert_allclose(rbm.b + 50, np.full(N, 1 / B), atol=1e-4)
