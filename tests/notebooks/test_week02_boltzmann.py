"""The functions of the week 2 notebook against enumeration: each test would fail if a formula were wrong."""

import numpy as np
import pytest
from scipy.special import expit, logsumexp

from utils import stattests

tf = pytest.importorskip("tensorflow")
N = 20_000


def parameters(n, seed, scale=1.0):
    """Symmetric W with zero diagonal (n, n), and b (n,)."""
    rng = np.random.default_rng(seed)
    U = np.triu(rng.normal(0, scale, (n, n)), 1)
    return U + U.T, rng.normal(0, 0.5, n)


def states(n, low):
    """All vectors of `low` and 1, unit i in bit i of the row's number."""
    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    return np.where(bits == 1, 1.0, low)


def probabilities(s, W, b, T=1.0):
    """Boltzmann probabilities of the rows of s, with the pairs summed one by one."""
    n = len(b)
    pairs = sum(W[i, j] * s[:, i] * s[:, j] for i in range(n) for j in range(i))
    log_p = (pairs + s @ b) / T
    return np.exp(log_p - logsumexp(log_p))


def close_to(p, rows):
    """The shares of the states among rows (N, n) of any units must be p, state i by its bits."""
    shares = np.bincount((np.asarray(rows) > 0) @ (1 << np.arange(rows.shape[1])), minlength=len(p)) / len(
        rows
    )
    for share, exact in zip(shares, p, strict=True):
        assert abs(share - exact) <= stattests.bernstein_tolerance(
            len(rows), exact * (1 - exact), 1.0, comparisons=len(p)
        )


def sweep_matrix(s, W, b, two, beta=1.0):
    """The transition matrix of one sweep in order; two: 2 for ±1 units, 1 for 0/1 units."""
    k, P = np.arange(len(s)), np.eye(len(s))
    for i in range(len(b)):
        on, step = expit(two * (beta * s @ W[i] + b[i])), np.zeros((len(s), len(s)))
        step[k, k | (1 << i)], step[k, k & ~(1 << i)] = on, 1 - on
        P = P @ step
    return P


def test_recall_lowers_the_energy_and_ends_in_a_fixed_point(week):
    W, _ = parameters(12, 1)
    s = states(12, -1.0)[::5]
    running, energies = s.copy(), [week["energy"](s, W)]
    for i in range(12):
        week["align"](running, W, i)
        energies.append(week["energy"](running, W))
    assert np.diff(energies, axis=0).max() < 1e-9
    end = week["recall"](s, W)
    assert (end * (end @ W) >= 0).all()


def test_energy_in_terms_of_overlaps(week):
    xi, s = week["signs"](3, 11, rng=np.random.default_rng(2)), states(11, -1.0)
    overlaps = s @ xi.T / 11
    np.testing.assert_allclose(
        week["energy"](s, week["hebb"](xi)), 1.5 - 5.5 * (overlaps**2).sum(axis=1), atol=1e-5
    )


def test_kernels_fulfil_detailed_balance(week):
    W, b = parameters(5, 3)
    s = states(5, -1.0)
    p = probabilities(s, W, b, 1.7)
    np.testing.assert_allclose(week["boltzmann"](s, W, b, 1.7), p, atol=1e-12)
    for kernel in week["unit_kernels"](s, W, b, 1.7):
        np.testing.assert_allclose(kernel.sum(axis=1), 1)
        flow = p[:, None] * kernel
        np.testing.assert_allclose(flow, flow.T, atol=1e-12)


def test_one_sweep_of_spins_has_its_transition_probabilities(week):
    W, b = parameters(4, 4)
    s = states(4, -1.0)
    P = sweep_matrix(s, W / 1.5, b / 1.5, two=2)
    rng = np.random.default_rng(5)
    for start in (3, 8):
        close_to(P[start], week["gibbs_sweep"](np.tile(s[start], (N, 1)), W, b, 1.5, rng))


def test_one_sweep_of_bits_has_its_transition_probabilities(week):
    W, b = parameters(4, 6)
    x = states(4, 0.0)
    sweep = tf.function(week["sweep"])
    as_float = [tf.constant(a, tf.float32) for a in (W, b)]
    for start, beta in ((5, 1.0), (10, 0.4)):
        chains = tf.constant(np.tile(x[start], (N, 1)), tf.float32)
        after = sweep(*as_float, chains, tf.constant([7, start]), tf.constant(beta))
        close_to(sweep_matrix(x, W, b, two=1, beta=beta)[start], after.numpy())


def test_the_grid_keeps_its_distribution(week):
    s = states(16, -1.0).reshape(-1, 4, 4)
    E = -(s * (np.roll(s, 1, 1) + np.roll(s, 1, 2))).sum(axis=(1, 2))
    rng = np.random.default_rng(8)
    p = np.exp(-E / 2.6 - logsumexp(-E / 2.6))
    after = week["grid_sweep"](s[rng.choice(len(s), N, p=p)], 2.6, rng)
    size, exact = abs(s.mean(axis=(1, 2))), p @ abs(s.mean(axis=(1, 2)))
    tolerance = stattests.bernstein_tolerance(N, p @ (size - exact) ** 2, 1.0)
    assert abs(abs(after.mean(axis=(1, 2))).mean() - exact) <= tolerance < 0.02


def test_bits_and_spins_are_one_model(week):
    W, b = parameters(5, 9)
    p = probabilities(states(5, -1.0), W, b)
    np.testing.assert_allclose(probabilities(states(5, 0.0), *week["to_bits"](W, b)), p, atol=1e-12)
    for ours, given in zip(week["to_spins"](*week["to_bits"](W, b)), (W, b), strict=True):
        np.testing.assert_allclose(ours, given, atol=1e-12)


def test_log_z_and_gradient(week):
    W, b = parameters(5, 10)
    x, data = states(5, 0.0), states(5, 0.0)[[1, 6, 6, 30]]
    p = probabilities(x, W, b)
    log_p = week["log_likelihood"](x, W, b, week["exact_log_z"](W, b))
    np.testing.assert_allclose(np.exp(log_p), p, atol=1e-6)
    dW, db = week["gradient"](data, x, p)

    def objective(W, b):
        return np.log(probabilities(x, W, b))[[1, 6, 6, 30]].mean()

    step = 1e-5
    for i in range(5):
        unit = step * np.eye(5)[i]
        assert db[i] == pytest.approx(
            (objective(W, b + unit) - objective(W, b - unit)) / (2 * step), abs=1e-6
        )
        for j in range(i):
            pair = np.zeros((5, 5))
            pair[i, j] = pair[j, i] = step
            numeric = (objective(W + pair, b) - objective(W - pair, b)) / (2 * step)
            assert [dW[i, j], dW[j, i]] == pytest.approx([numeric] * 2, abs=1e-6)


def test_moments_are_those_of_the_gradient(week):
    x = (np.random.default_rng(11).random((30, 6)) < 0.4).astype(np.float32)
    y = (np.random.default_rng(12).random((50, 6)) < 0.6).astype(np.float32)
    for a, b, exact in zip(week["moments"](x), week["moments"](y), week["gradient"](x, y), strict=True):
        np.testing.assert_allclose(a - b, exact, atol=1e-5)


def test_tempering_keeps_each_temperature_at_its_distribution(week):
    W, b = parameters(4, 13, scale=1.5)
    s, T, rng = states(4, -1.0), np.array([1.0, 2.0, 5.0]), np.random.default_rng(14)
    exact = [probabilities(s, W, b, t) for t in T]
    chains = np.array([s[rng.choice(16, N, p=p)] for p in exact])
    for odd in (0, 1, 0, 1):
        chains, accepted = week["temper"](chains, W, b, T, odd, rng)
        assert 0.01 < accepted[0] < 1
    for p, rows in zip(exact, chains, strict=True):
        close_to(p, rows)


def test_a_swap_is_accepted_by_its_rule(week):
    """With all units held fast by their biases, only the swap is left, and its probability is known."""
    W, b, T = np.zeros((2, 2)), np.array([1.0, 0.5]), np.array([1.0, 3.0])
    low, high = np.array([1.0, 1.0]), np.array([1.0, -1.0])  # energies −1.5 and −0.5
    week = dict(week)
    temper = week["temper"]
    held = {**temper.__globals__, "gibbs_sweep": lambda s, *_: s.copy()}
    temper = type(temper)(temper.__code__, held, "temper")
    rng = np.random.default_rng(15)
    for cold, hot, exact in ((high, low, 1.0), (low, high, np.exp(-(1 - 1 / 3) * 1.0))):
        s = np.stack([np.tile(cold, (N, 1)), np.tile(hot, (N, 1))])
        after, accepted = temper(s, W, b, T, 0, rng)
        tolerance = stattests.bernstein_tolerance(N, exact * (1 - exact), 1.0)
        assert abs(accepted[0] - exact) <= tolerance
        assert (after[0] == hot).all(axis=1).mean() == accepted[0]


def test_ais_is_unbiased_and_the_reverse_walk_too(week):
    W, b = parameters(4, 16, scale=0.5)
    x, b0 = states(4, 0.0), np.array([0.2, -0.4, 0.0, 0.3])
    p = probabilities(x, W, b)
    log_ratio = week["exact_log_z"](W, b) - np.logaddexp(0, b0).sum()
    betas, rng = np.linspace(0, 1, 6), np.random.default_rng(17)
    f0, f1 = x @ b0, 0.5 * ((x @ W) * x).sum(axis=1) + x @ b
    increments = (f1 - f0) / 5  # of the log weight, the same in each of the five steps
    for path, begin, exact in [
        (betas, rng.random((N, 4)) < expit(b0), log_ratio),
        (betas[::-1], x[rng.choice(16, N, p=p)], -log_ratio),
    ]:
        arrays = [tf.constant(a, tf.float32) for a in (W, b, b0, path, begin)]
        ais = week["machine_ais"](*arrays[:3])
        assert ais.log_z0 == pytest.approx(np.logaddexp(0, b0).sum(), abs=1e-5)
        log_w = ais.walk(*arrays[3:], tf.constant(18))[0].numpy()
        sign = np.sign(path[-1] - path[0])
        low, high = np.exp(5 * (sign * increments).min()), np.exp(5 * (sign * increments).max())
        tolerance = stattests.hoeffding_tolerance(N, low, high)
        assert tolerance < 0.35 * np.exp(exact), "the test would accept anything"
        assert abs(np.exp(log_w).mean() - np.exp(exact)) <= tolerance


def test_restore_gives_the_posterior_means(week):
    W, b = parameters(4, 19)
    x = states(4, 0.0)
    evidence = np.array([np.inf, 0.0, -1.3, 0.0])  # known to be 1, missing, noisy, missing
    posterior = probabilities(x, W, b) * x[:, 0] * np.exp(-1.3 * x[:, 2])
    posterior /= posterior.sum()
    arrays = [tf.constant(a, tf.float32) for a in (W, b, np.tile(evidence, (4000, 1)), np.ones((4000, 4)))]
    means = week["restore"](*arrays, tf.constant(100), tf.constant(20), tf.constant(20)).numpy()
    assert (means[:, 0] == 1).all()
    # 4,000 independent chains, each mean within [0, 1]; after 20 sweeps of this toy no bias is visible
    stattests.assert_mean(
        means, posterior @ x, stattests.hoeffding_tolerance(4000, 0, 1, comparisons=4), "means"
    )


def test_training_on_a_pattern_finds_it(week):
    """A model of one repeated image must give it nearly all probability: fails with a wrong sign or phase."""
    image = np.array([1, 0, 1, 1, 0, 0], np.float32)
    data, zeros = np.tile(image, (50, 1)), tf.zeros(6)
    history, _ = week["train"](data, 40, 10, 50, 0.5, 0.9, zeros, np.random.default_rng(1))
    assert len(history) == 40
    W, b = (part.numpy().astype(float) for part in history[-1])
    assert week["log_likelihood"](image[None], W, b, week["exact_log_z"](W, b))[0] > np.log(0.8)
    np.testing.assert_allclose(W, W.T, atol=1e-5)
    assert (np.diag(W) == 0).all()


def test_modern_hopfield_network(week):
    xi = week["signs"](5, 8, rng=np.random.default_rng(21))
    s, beta = states(8, -1.0).astype(np.float32), 0.6
    log_p = week["modern_log_prob"](s, xi, beta)
    flip = expit(-2 * beta)
    mixture = np.mean([np.where(s == m, 1 - flip, flip).prod(axis=1) for m in xi], axis=0)
    np.testing.assert_allclose(np.exp(log_p), mixture, rtol=1e-4)
    weight = np.exp(beta * s @ xi.T)
    after = week["retrieve"](tf.constant(s), xi, beta)
    np.testing.assert_allclose(after, weight / weight.sum(axis=1, keepdims=True) @ xi, atol=1e-4)
