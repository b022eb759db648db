"""The functions of the week 6 notebook against closed forms and quadrature."""

import json

import numpy as np
import pytest
from scipy.special import expit, logsumexp

from tests.conftest import run_module
from utils import grammar, stattests

tf = pytest.importorskip("tensorflow")
from utils.likelihood import PPCA, log_mean_exp  # noqa: E402
from utils.networks import MLP, batches  # noqa: E402


def make(kind, D=6, H=5, L=2, **options):
    """A model of this kind with fresh networks of one hidden layer."""
    return kind(MLP(D, H, 2 * L), MLP(L, H, D), L, **options)


@pytest.fixture
def ppca():
    rng = np.random.default_rng(0)
    return PPCA(rng.normal(size=(5, 2)), rng.normal(size=5), 0.4)


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
    vae = make(week["VAE"], H=8)
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
    """linear_elbo against Gauss-Hermite quadrature of log p(x, z) − log q(z)."""
    rng = np.random.default_rng(1)
    x, a, scale = rng.normal(size=(3, 5)), rng.normal(size=(3, 2)), np.exp(rng.normal(size=(3, 2)))
    nodes, weights = np.polynomial.hermite_e.hermegauss(10)  # exact: the integrand is a quadratic
    eps = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    w = np.outer(weights, weights).reshape(-1) / (2 * np.pi)
    W, m, sigma2 = (t.numpy() for t in (ppca.W, ppca.m, ppca.sigma2))
    ours = week["linear_elbo"](ppca, *(tf.constant(t) for t in (x, a, scale)))
    for i in range(3):
        z = a[i] + eps * scale[i]
        log_joint = -((x[i] - m - z @ W.T) ** 2).sum(axis=1) / (2 * sigma2) - 2.5 * np.log(2 * np.pi * sigma2)
        log_joint -= (z**2).sum(axis=1) / 2 + np.log(2 * np.pi)
        log_q = -(eps**2).sum(axis=1) / 2 - np.log(2 * np.pi) - np.log(scale[i]).sum()
        np.testing.assert_allclose(ours[i], w @ (log_joint - log_q), rtol=1e-8)


def test_no_diagonal_gaussian_has_a_larger_bound(ppca, week):
    rng = np.random.default_rng(2)
    x = tf.constant(rng.normal(size=(4, 5)))
    mean, scale = week["best_diagonal"](ppca, x)
    best = week["linear_elbo"](ppca, x, mean, scale).numpy()
    for _ in range(20):
        other = mean + 0.1 * rng.normal(size=(4, 2)), scale * np.exp(0.1 * rng.normal(size=(4, 2)))
        assert (week["linear_elbo"](ppca, x, *other).numpy() < best).all()


def test_the_vae_bound_is_log_p_minus_the_divergence_from_the_posterior(week, vae):
    """E_q[elbo] = log p(x) − KL(q ‖ posterior), the right side by quadrature."""
    x = images(4)
    log_p, log_joint = log_p_by_quadrature(vae, x)
    z, log_area = grid()
    log_q = np.array([vae.q_z_x(row[None]).log_prob(z).numpy() for row in x])  # (4, M)
    exact = (np.exp(log_q + log_area) * (log_joint - log_q)).sum(axis=1)
    assert (exact < log_p).all()
    many = np.array([vae(np.repeat(row[None], 20_000, axis=0)).numpy() for row in x])  # (4, N)
    spread = many.std(axis=1) / np.sqrt(many.shape[1])
    assert (np.abs(many.mean(axis=1) - exact) < 6 * spread + 1e-3).all()


def weights(week, model, x, K):
    """log w of K draws from the model's encoder: (K, B)."""
    return week["log_weights"](x, model.q_z_x(x), model.p_z(), model.p_x_z, K)


def test_importance_weights_are_unbiased_for_p_and_the_bounds_rise(week, vae):
    x = images(4)
    log_p, _ = log_p_by_quadrature(vae, x)
    log_w = weights(week, vae, x, 50_000)
    relative = np.exp(log_w.numpy() - log_p)
    assert (np.abs(relative.mean(axis=0) - 1) < 6 * relative.std(axis=0) / np.sqrt(50_000) + 1e-3).all()
    np.testing.assert_allclose(week["bound"](log_w, 1), log_w.numpy().mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(log_mean_exp(log_w), np.log(relative.mean(axis=0)) + log_p, atol=1e-4)
    previous = week["bound"](log_w, 1).numpy()
    for K in (5, 50):  # against other draws, in groups of neighbours: on the same ones any numbers would rise
        fresh = weights(week, vae, x, 50_000).numpy().reshape(-1, K, len(x)).astype(float)
        groups = logsumexp(fresh, axis=1) - np.log(K)  # (50,000 / K, B)
        error = groups.std(axis=0) / np.sqrt(len(groups))
        bound = week["bound"](log_w, K).numpy()
        assert (np.abs(bound - groups.mean(axis=0)) < 6 * np.sqrt(2) * error).all()
        assert (groups.mean(axis=0) > previous).all()
        previous = bound


def test_weigh_takes_every_image_once_and_in_order(week, vae):
    x = images(7)
    tf.random.set_seed(1)
    log_w = week["weigh"](vae, x, 2000, rows=4000).numpy()  # parts of two images, and one
    assert log_w.shape == (2000, 7)
    log_p, _ = log_p_by_quadrature(vae, x)
    relative = np.exp(log_w - log_p)
    assert (np.abs(relative.mean(axis=0) - 1) < 6 * relative.std(axis=0) / np.sqrt(2000) + 1e-3).all()


def test_both_gradient_estimators_are_unbiased(week, ppca):
    x, mu, s = (tf.constant(t, tf.float64) for t in (np.arange(5) / 3, [0.3, -0.8], [0.6, 0.4]))
    with tf.GradientTape() as tape:
        tape.watch(mu)
        elbo = week["linear_elbo"](ppca, x[None], mu[None], s[None])
    exact, variances = tape.gradient(elbo, mu).numpy(), {}
    tf.random.set_seed(5)
    for name, g in week["gradients"](ppca, x, mu, s, 40_000).items():
        g = g.numpy()
        variances[name] = g.var(axis=0).sum()
        assert (np.abs(g.mean(axis=0) - exact) < 6 * g.std(axis=0) / 200).all(), name
    assert (
        variances["reparameterisation"] < variances["score function, baseline"] < variances["score function"]
    )


def test_the_marginal_of_the_conditional_vae_is_a_mixture_over_classes(week):
    """Σ_y p(y) p(x | y) against quadrature over z for each class."""
    tf.keras.utils.set_random_seed(3)
    model, x = week["ConditionalVAE"](MLP(9, 8, 4), MLP(5, 8, 6), 2), images(5)
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
    log_w = model.class_weights(tf.constant(x), np.eye(3, dtype=np.float32), 20_000)
    np.testing.assert_allclose(week["class_bounds"](log_w), exact, atol=0.05)
    prior = np.array([0.5, 0.3, 0.2], np.float32)
    bound, error = week["marginal_and_error"](log_w, prior)
    exact = logsumexp(np.array(exact) + np.log(prior)[:, None], axis=0)
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
    logits = model.decoder(x, z).numpy()
    for t in range(10):
        changed = x.copy()
        changed[:, t:] = (changed[:, t:] + 7) % 96
        np.testing.assert_allclose(model.decoder(changed, z)[:, : t + 1], logits[:, : t + 1], atol=1e-5)
    changed = x.copy()
    changed[:, 0] += 1
    assert np.abs(model.decoder(changed, z)[:, 9] - logits[:, 9]).max() > 1e-6, (
        "the last word sees the first one"
    )


def test_log_prob_of_a_sentence_ends_with_its_end(text):
    """Tokens after the first END count nothing; with K draws of z the rows keep their places."""
    model, x = text
    z = tf.random.normal([4, 6, 3], seed=1)
    log_p = model.p_x_z(z).log_prob(x).numpy()
    assert log_p.shape == (4, 6)
    for k in range(4):
        rows = tf.nn.log_softmax(model.decoder(x, z[k])).numpy()
        for b, row in enumerate(x):
            end = list(row).index(0)
            exact = sum(rows[b, t, row[t]] for t in range(end + 1))
            assert log_p[k, b] == pytest.approx(exact, abs=1e-4)


def test_hidden_words_are_hidden_in_training_only(text):
    """With all words hidden the logits depend on z and places alone; evaluation sees the words."""
    model, x = text
    model.hide, z = 1.0, tf.zeros([6, 3])
    other = np.where(x == 0, 0, 1 + x % 95)  # other words, the same ends
    hidden, seen = (
        [model.p_x_z(z, hide).network(t, z, hide=hide).numpy() for t in (x, other)] for hide in (1.0, 0.0)
    )
    np.testing.assert_array_equal(*hidden)
    assert np.abs(seen[0] - seen[1]).max() > 1e-4
    values = {}
    for training in (True, False):
        tf.random.set_seed(4)
        values[training] = model(x, training=training).numpy()
    assert np.abs(values[True] - values[False]).max() > 1e-4


@pytest.mark.parametrize("kind", ["image", "text"])
def test_the_objective_weights_the_divergence_by_beta(week, text, kind):
    model, x = text if kind == "text" else (make(week["VAE"]), images(4))
    values = []
    for beta in (0.0, 1.0, 3.0):
        model.beta.assign(beta)
        tf.random.set_seed(8)  # the same z each time
        values.append(model(x).numpy())
    kl = model.rates(x).numpy().sum(axis=1)
    for beta, value in zip((1, 3), values[1:], strict=True):
        np.testing.assert_allclose(values[0] - value, beta * kl, rtol=1e-3, atol=1e-4)


def test_the_importance_weighted_objective_is_the_bound_with_K_weights(week):
    model, x = make(week["IWAE"], K=50), images(4)
    log_p, _ = log_p_by_quadrature(model, x)
    one = np.mean(
        [model(np.repeat(x, 500, axis=0)).numpy().reshape(4, 500).mean(axis=1) for _ in range(4)], axis=0
    )
    elbo = weights(week, model, x, 2000).numpy().mean(axis=0)
    assert (elbo < one).all() and (one < log_p + 1e-3).all()
    assert float(model.losses[0]) == pytest.approx(-float(tf.reduce_mean(model(x))), abs=2.0)


def test_fit_evaluate_and_predict_as_any_keras_model(week):
    """Validation, early stopping, evaluation and prediction; the loss is minus the mean objective."""
    x = images(300)
    model = make(week["VAE"])
    patient = tf.keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    history, seconds = week["train"](
        model, batches(x, B=50, seed=0), 60, 0.05, tf.data.Dataset.from_tensors(x[:100]), [patient]
    )
    assert 2 < len(history["loss"]) == len(history["val_loss"]) < 60, "stopped early"
    assert history["loss"][-1] < history["loss"][0] and seconds > 0
    assert model.optimizer.iterations == 6 * len(history["loss"]), "an epoch is an epoch"
    many = np.repeat(x[:100], 100, axis=0)
    loss, predicted = model.evaluate(many, verbose=0), model.predict(many, verbose=0)
    assert predicted.shape == (10_000,)
    spread = predicted.std() / 100
    assert abs(loss + predicted.mean()) < 6 * np.sqrt(2) * spread


def test_weights_are_saved_and_loaded_with_beta(week, tmp_path):
    first, second = make(week["VAE"]), make(week["VAE"])
    first.beta.assign(0.3)
    first.save_weights(tmp_path / "vae.weights.h5")
    second.load_weights(tmp_path / "vae.weights.h5")
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(second.beta) == pytest.approx(0.3)


def test_a_callback_that_changes_beta_is_obeyed(week):
    """From the third epoch on the loss is that of β = 1000, though the graph was traced with β = 1."""
    x, model = images(200), make(week["VAE"])
    model.encoder.last.bias.assign([2, 2, 0, 0])  # a rate of some nats
    history, _ = week["train"](
        model,
        batches(x, B=50, seed=0),
        4,
        1e-6,
        callbacks=[week["set_beta"](model, lambda epoch: 1.0 if epoch < 2 else 1000.0)],
    )
    rate = float(tf.reduce_mean(tf.reduce_sum(model.rates(x), axis=1)))
    assert history["loss"][3] - history["loss"][1] == pytest.approx(999 * rate, rel=0.05)


def test_two_devices_give_the_loss_of_one(week):
    """MirroredStrategy on two logical devices has the losses of one device on the same global batches."""
    done = run_module("tests.two_devices")
    assert done.returncode == 0, done.stderr[-2000:]
    for one, two in json.loads(done.stdout.splitlines()[-1]):  # by week 6's `train` and by that of utils
        np.testing.assert_allclose(two, one, rtol=1e-3)


def test_one_seed_gives_the_same_weights(week):
    x = images(100)

    def weights():
        tf.keras.utils.set_random_seed(9)
        model = make(week["VAE"])
        week["train"](model, batches(x, B=20, seed=3), 3, 0.01)
        return model.get_weights()

    for a, b in zip(weights(), weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_finds_independent_pixels(week):
    """Pixels without structure: the best bound is minus their entropy, with a rate of 0."""
    x = (np.random.default_rng(1).random((2000, 4)) < [0.9, 0.2, 0.5, 0.05]).astype(np.float32)
    p = x.mean(axis=0)
    best = (p * np.log(p) + (1 - p) * np.log(1 - p)).sum()
    model = make(week["VAE"], D=4, H=8)
    week["train"](model, batches(x, B=100, seed=0), 20, 0.02)
    logpx_z, kl = model.terms(x)
    assert abs(float(tf.reduce_mean(logpx_z - kl)) - best) < 0.05
    assert float(tf.reduce_mean(kl)) < 0.05
    np.testing.assert_allclose(expit(model.decoder(tf.zeros([1, 2])))[0], p, atol=0.1)
