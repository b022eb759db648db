"""The functions of the week 6 notebook against closed forms and quadrature."""

import numpy as np
import pytest
from scipy.special import expit, logsumexp

from utils import grammar, stattests

tf = pytest.importorskip("tensorflow")


@pytest.fixture
def ppca(week):
    rng = np.random.default_rng(0)
    return week["PPCA"](
        *(tf.constant(t) for t in (rng.normal(size=(5, 2)), rng.normal(size=5), np.array(0.4)))
    )


def grid(n=161, to=6.0):
    """Points (n², 2) of the plane, log of the area of each."""
    axis = np.linspace(-to, to, n)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(np.float32), 2 * np.log(
        axis[1] - axis[0]
    )


@pytest.fixture
def vae(week):
    """A VAE on 6 pixels with two latent variables and a steep decoder."""
    tf.keras.utils.set_random_seed(1)
    vae = week["VAE"](6, [8], 2)
    vae.decoder.last.kernel.assign(2 * vae.decoder.last.kernel)
    vae.encoder.last.kernel.assign(0.3 * vae.encoder.last.kernel)  # q is wide: no heavy tails
    return vae


def log_p_by_quadrature(vae, x):
    z, log_area = grid()
    logits = vae.decoder(z).numpy().astype(float)  # (M, 6)
    log_joint = (
        x @ logits.T - np.logaddexp(0, logits).sum(axis=1) - (z**2).sum(axis=1) / 2 - np.log(2 * np.pi)
    )
    return logsumexp(log_joint, axis=1) + log_area, log_joint


def images(n, D=6):
    return (np.random.default_rng(2).random((n, D)) < 0.4).astype(np.float32)


def test_the_closed_bound_is_the_mean_over_q(ppca, week):
    """Reconstruction and KL of PPCA.elbo against Gauss-Hermite quadrature of log p(x, z) − log q(z)."""
    rng = np.random.default_rng(1)
    x, a, root = rng.normal(size=(3, 5)), rng.normal(size=(3, 2)), np.array([[0.7, 0.0], [0.3, 0.5]])
    nodes, weights = np.polynomial.hermite_e.hermegauss(10)  # exact: the integrand is a quadratic
    eps = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    w = np.outer(weights, weights).reshape(-1) / (2 * np.pi)
    W, m, sigma2 = (t.numpy() for t in (ppca.W, ppca.m, ppca.sigma2))
    for i in range(3):
        z = a[i] + eps @ root.T
        log_joint = -((x[i] - m - z @ W.T) ** 2).sum(axis=1) / (2 * sigma2) - 2.5 * np.log(2 * np.pi * sigma2)
        log_joint -= (z**2).sum(axis=1) / 2 + np.log(2 * np.pi)
        log_q = -(eps**2).sum(axis=1) / 2 - np.log(2 * np.pi) - np.log(np.diag(root)).sum()
        ours = ppca.elbo(tf.constant(x), tf.constant(a), tf.constant(root @ root.T))[i]
        np.testing.assert_allclose(ours, w @ (log_joint - log_q), rtol=1e-8)


def test_fit_ppca_is_a_maximum(week):
    x = tf.constant(np.random.default_rng(3).normal(size=(60, 4)) @ np.diag([3.0, 2.0, 1.0, 0.5]))
    fit = week["fit_ppca"](x, 2)
    best = float(tf.reduce_mean(fit.log_prob(x)))
    rng = np.random.default_rng(4)
    for _ in range(20):
        other = week["PPCA"](
            fit.W + 0.1 * rng.normal(size=(4, 2)), fit.m, fit.sigma2 * np.exp(0.1 * rng.normal())
        )
        assert float(tf.reduce_mean(other.log_prob(x))) < best


def test_the_vae_bound_is_log_p_minus_the_divergence_from_the_posterior(week, vae):
    """E_q[elbo] = log p(x) − KL(q ‖ posterior), the right side by quadrature."""
    x = images(4)
    log_p, log_joint = log_p_by_quadrature(vae, x)
    z, log_area = grid()
    log_q = np.array([vae.q_z_x(row[None]).log_prob(z).numpy() for row in x])  # (4, M)
    exact = (np.exp(log_q + log_area) * (log_joint - log_q)).sum(axis=1)
    assert (exact < log_p).all()
    many = np.array([vae.elbo(np.repeat(row[None], 20_000, axis=0)).numpy() for row in x])  # (4, N)
    spread = many.std(axis=1) / np.sqrt(many.shape[1])
    assert (np.abs(many.mean(axis=1) - exact) < 6 * spread + 1e-3).all()


def test_importance_weights_are_unbiased_for_p_and_the_bounds_rise(week, vae):
    x = images(4)
    log_p, _ = log_p_by_quadrature(vae, x)
    log_w = vae.log_weights(x, 50_000)
    relative = np.exp(log_w.numpy() - log_p)
    assert (np.abs(relative.mean(axis=0) - 1) < 6 * relative.std(axis=0) / np.sqrt(50_000) + 1e-3).all()
    np.testing.assert_allclose(week["bounds"](log_w, 1), log_w.numpy().mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(week["log_mean_exp"](log_w), np.log(relative.mean(axis=0)) + log_p, atol=1e-4)
    previous = week["bounds"](log_w, 1).numpy()
    for K in (5, 50):  # against other draws, in groups of neighbours: on the same ones any numbers would rise
        fresh = vae.log_weights(x, 50_000).numpy().reshape(-1, K, len(x)).astype(float)
        groups = logsumexp(fresh, axis=1) - np.log(K)  # (50,000 / K, B)
        error = groups.std(axis=0) / np.sqrt(len(groups))
        bound = week["bounds"](log_w, K).numpy()
        assert (np.abs(bound - groups.mean(axis=0)) < 6 * np.sqrt(2) * error).all()
        assert (groups.mean(axis=0) > previous).all()
        previous = bound


def test_both_gradient_estimators_are_unbiased(week, ppca):
    rng = tf.random.Generator.from_seed(5)
    x, mu, log_s = tf.constant(np.arange(5.0) / 3), tf.constant([0.3, -0.8]), tf.constant([-0.5, -1.0])
    mu, log_s = (tf.cast(t, tf.float64) for t in (mu, log_s))
    exact = week["exact_gradient"](ppca, x, mu, log_s).numpy()
    variances = {}
    for name, g in week["gradients"](ppca, x, mu, log_s, 40_000, rng).items():
        g = g.numpy()
        variances[name] = g.var(axis=0).sum()
        assert (np.abs(g.mean(axis=0) - exact) < 6 * g.std(axis=0) / 200).all(), name
    assert (
        variances["reparameterisation"] < variances["score function, baseline"] < variances["score function"]
    )


def test_the_marginal_of_the_conditional_vae_is_a_mixture_over_classes(week):
    """Σ_y p(y) p(x | y) against quadrature over z for each class."""
    tf.keras.utils.set_random_seed(3)
    model, x = week["ConditionalVAE"](6, 3, [8], 2), images(5)
    model.encoder.last.kernel.assign(0 * model.encoder.last.kernel)
    one = np.log(np.expm1(0.999))  # softplus makes it a scale of 1: q is the prior, the weights from 0 to 1
    model.encoder.last.bias.assign([0, 0, one, one])
    z, log_area = grid()
    exact = []
    for y in np.eye(3, dtype=np.float32):
        logits = model.decoder(np.concatenate([z, np.tile(y, (len(z), 1))], axis=1)).numpy().astype(float)
        log_joint = (
            x @ logits.T - np.logaddexp(0, logits).sum(axis=1) - (z**2).sum(axis=1) / 2 - np.log(2 * np.pi)
        )
        exact.append(logsumexp(log_joint, axis=1) + log_area)
    log_w = model.class_weights(tf.constant(x), 20_000)
    np.testing.assert_allclose(week["class_bounds"](log_w), exact, atol=0.05)
    week["log_py"] = np.log([0.5, 0.3, 0.2]).astype(np.float32)
    bound, error = week["marginal_and_error"](log_w)
    exact = logsumexp(np.array(exact) + week["log_py"][:, None], axis=0)
    assert abs(bound.mean() - exact.mean()) < 6 * error + 1e-3
    assert 0 < error < 0.01


def test_restore_samples_the_true_posterior(week, vae):
    """Posterior means of missing and noisy pixels against quadrature (the encoder is untrained)."""
    evidence = np.array([np.inf, -np.inf, 0.0, 0.0, 1.5, 0.0], np.float32)
    states = (np.arange(64)[:, None] >> np.arange(6) & 1).astype(np.float32)
    log_p, _ = log_p_by_quadrature(vae, states)
    fits = (states[:, 0] == 1) & (states[:, 1] == 0)
    log_p = np.where(fits, log_p + 1.5 * states[:, 4], -np.inf)
    exact = np.exp(log_p - logsumexp(log_p)) @ states
    tf.random.set_seed(6)
    start = np.tile(np.array([1, 0, 0, 0, 0, 0], np.float32), (4000, 1))
    means, accepted = week["restore"](
        vae, tf.constant(np.tile(evidence, (4000, 1))), tf.constant(start), 200, 50, K=2
    )
    assert 0 < float(accepted) < 1
    _, always = week["restore"](
        vae, tf.constant(evidence[None]), tf.constant(start[:1]), 60, 20, K=1, stay=False
    )
    assert float(always) == pytest.approx(1), "pseudo-Gibbs sampling never keeps z"
    stattests.assert_mean(
        means.numpy(), exact, stattests.hoeffding_tolerance(4000, 0, 1, comparisons=6), "means"
    )


def test_restore_leaves_its_first_guess_in_the_burn_in(week):
    """A model in which the encoder's first draw, z = 0, outweighs all later ones, z = 1."""

    class Given:
        def __init__(self, log_prob=lambda z: tf.zeros(tf.shape(z)[:-1])):
            self.log_prob = log_prob

        def sample(self, K=None):
            return tf.zeros([5, 2]) if K is None else tf.ones([K, 5, 2])

    class Model:
        def q_z_x(self, x):
            return Given()

        def p_z(self):
            return Given()

        def p_x_z(self, z):
            return Given(log_prob=lambda x: 1000 * (1 - z[..., 0]))

        def decoder(self, z):
            return 20 * z - 10

    means, moved = week["restore"](Model(), tf.zeros([5, 2]), tf.zeros([5, 2]), 10, 3, K=2)
    np.testing.assert_allclose(means, 1, atol=1e-4)
    assert float(moved) > 0


def test_best_q_improves_every_bound(week, vae):
    x = images(8)
    q = vae.q_z_x(x)
    tf.random.set_seed(7)
    before = week["elbo_of"](vae, x, q.mean(), tf.math.log(q.stddev()), 5000).numpy()
    after = week["elbo_of"](vae, x, *week["best_q"](vae, x), 5000).numpy()
    log_p, _ = log_p_by_quadrature(vae, x)
    assert after.mean() > before.mean() + 0.05
    assert (after < log_p + 0.05).all()


@pytest.fixture
def text(week):
    tf.keras.utils.set_random_seed(5)
    source = grammar.english()
    return week["TextVAE"](len(source.words) + 1, 10, 12, 3), source.encode(
        source.sample(6, np.random.default_rng(0)), 10
    )


def test_no_word_sees_itself_or_a_later_one(text):
    model, x = text
    z = tf.zeros([6, 3])
    logits = model.logits(x, z).numpy()
    for t in range(10):
        changed = x.copy()
        changed[:, t:] = (changed[:, t:] + 7) % 96
        np.testing.assert_allclose(model.logits(changed, z)[:, : t + 1], logits[:, : t + 1], atol=1e-5)
    changed = x.copy()
    changed[:, 0] += 1
    assert np.abs(model.logits(changed, z)[:, 9] - logits[:, 9]).max() > 1e-6, (
        "the last word sees the first one"
    )


def test_log_prob_of_a_sentence_ends_with_its_end(text):
    """Tokens after the first END count nothing; with K draws of z the rows keep their places."""
    model, x = text
    z = tf.random.normal([4, 6, 3], seed=1)
    log_p = model.p_x_z(z).log_prob(x).numpy()
    assert log_p.shape == (4, 6)
    for k in range(4):
        rows = tf.nn.log_softmax(model.logits(x, z[k])).numpy()
        for b, row in enumerate(x):
            end = list(row).index(0)
            exact = sum(rows[b, t, row[t]] for t in range(end + 1))
            assert log_p[k, b] == pytest.approx(exact, abs=1e-4)


def test_mean_terms_averages_over_draws_not_over_images(week):
    model, x = week["VAE"](6, [5], 2), images(4) + np.arange(4, dtype=np.float32)[:, None]
    noise = iter(np.tile([-1.0, 0.0, 1.0], (2, 4)).astype(np.float32))  # three draws of each image, of mean 0
    model.terms = lambda rows: (rows[:, 0] + next(noise), rows[:, 1] + next(noise))
    np.testing.assert_allclose(model.mean_terms(x, 3), x[:, :2].T, rtol=1e-6)


def test_the_text_vae_weights_the_divergence_by_beta(week, text):
    model, tokens = text
    values = []
    for model.beta in (0.0, 1.0, 3.0):
        tf.random.set_seed(8)  # the same z each time
        values.append(model.objective(tokens).numpy())
    model.beta = 1.0
    kl = model.rates(tokens).numpy().sum(axis=1)
    for beta, value in zip((1, 3), values[1:], strict=True):
        np.testing.assert_allclose(values[0] - value, beta * kl, rtol=1e-3, atol=1e-4)


def test_the_objective_weights_the_divergence_by_beta_and_the_warm_up(week):
    model = week["VAE"](6, [5], 2)
    model.beta = 2.0
    model.terms = lambda _: (tf.constant([-1.0, -3.0]), tf.constant([0.5, 0.25]))
    model.compile(tf.keras.optimizers.Adam())
    for warm_up, step, weight in [(0, 0, 2.0), (10, 0, 0.0), (10, 3, 0.6), (10, 30, 2.0)]:
        model.warm_up = warm_up
        model.optimizer.iterations.assign(step)
        expected = [-1 - 0.5 * weight, -3 - 0.25 * weight]
        np.testing.assert_allclose(model.objective(images(2)), expected, rtol=1e-6)


def test_one_seed_gives_the_same_weights(week):
    x = images(100)

    def weights():
        tf.keras.utils.set_random_seed(9)
        model = week["VAE"](6, [5], 2)
        week["train"](model, week["batches"](x, B=20, seed=3), 3, 0.01)
        return model.get_weights()

    for a, b in zip(weights(), weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_finds_independent_pixels(week):
    """Pixels without structure: the best bound is minus their entropy, with a rate of 0."""
    x = (np.random.default_rng(1).random((2000, 4)) < [0.9, 0.2, 0.5, 0.05]).astype(np.float32)
    p = x.mean(axis=0)
    best = (p * np.log(p) + (1 - p) * np.log(1 - p)).sum()
    model = week["VAE"](4, [8], 2)
    week["train"](model, week["batches"](x, B=100, seed=0), 20, 0.02)
    logpx_z, kl = model.terms(x)
    assert abs(float(tf.reduce_mean(logpx_z - kl)) - best) < 0.05
    assert float(tf.reduce_mean(kl)) < 0.05
    np.testing.assert_allclose(expit(model.decoder(tf.zeros([1, 2])))[0], p, atol=0.1)
