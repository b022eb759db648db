"""The functions of the week 7 notebook against closed forms and enumeration, beyond its own checks."""

import itertools

import numpy as np
import pytest
from scipy.special import logsumexp

from utils import stattests

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
from utils.networks import batches  # noqa: E402


def states(n, values=2):
    return np.array(list(itertools.product(range(values), repeat=n)))


def test_the_linear_vae_is_tight_at_the_posterior_and_a_bound_elsewhere(week):
    eigenvalues, noise = np.array([5.0, 2.0, 0.7]), 1.2
    U, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    S = tf.constant(U * eigenvalues @ U.T)
    scale = np.sqrt(np.maximum(eigenvalues - noise, 0))
    W = U * scale
    V = (U * (scale / np.maximum(eigenvalues, noise))).T
    log_s = np.log(noise / np.maximum(eigenvalues, noise)) / 2
    noises = tf.constant([noise], tf.float64)
    logpx_z, kl, activity = week["linear_vae"](*(tf.constant(a[None]) for a in (W, V, log_s)), noises, S)
    theory = np.maximum(0, np.log(eigenvalues / noise) / 2)
    np.testing.assert_allclose(kl[0], theory, atol=1e-12)
    np.testing.assert_allclose(activity[0], np.maximum(0, 1 - noise / eigenvalues), atol=1e-12)
    exact = week["exact_log_likelihood"](tf.constant(W[None]), noises, S)
    c = np.maximum(eigenvalues, noise)
    assert float(exact[0]) == pytest.approx(-0.5 * (np.log(2 * np.pi * c) + eigenvalues / c).sum())
    assert float(logpx_z[0] - tf.reduce_sum(kl)) == pytest.approx(float(exact[0]))

    rng = np.random.default_rng(1)
    W, V, log_s = (tf.constant(rng.normal(0, 0.5, s)) for s in [(50, 3, 2), (50, 2, 3), (50, 2)])
    noises = tf.fill([50], tf.constant(0.8, tf.float64))
    logpx_z, kl, _ = week["linear_vae"](W, V, log_s, noises, S)
    gap = week["exact_log_likelihood"](W, noises, S) - (logpx_z - tf.reduce_sum(kl, axis=1))
    assert np.min(gap) > 0


@pytest.mark.parametrize("encoder", ["ladder", "chain"])
def test_the_linear_hierarchy_is_tight_draw_by_draw(week, encoder):
    w, sigma = tf.constant([0.4, 1.5, -0.3], tf.float64), tf.constant(0.9, tf.float64)
    x = np.random.default_rng(2).normal(size=(30, 3)) * 2
    C = np.outer(w, w) + 0.81 * np.eye(3)
    exact = -0.5 * (
        3 * np.log(2 * np.pi) + np.linalg.slogdet(C)[1] + (x * np.linalg.solve(C, x.T).T).sum(axis=1)
    )
    log_w, terms = week["toy_bound"](tf.constant(x), w, sigma, encoder, 50)
    np.testing.assert_allclose(log_w, np.tile(exact, (50, 1)), rtol=1e-9)
    assert all(term.shape == (30,) for term in terms)


@pytest.mark.parametrize("L", [[3], [3, 2], [2, 2, 1]])
def test_importance_weights_average_to_probabilities_that_sum_to_one(week, L):
    """Σ_x E[w(x)] = Σ_x p(x) = 1: fails if a prior, a q or a layer's order is wrong in the weights."""
    keras.utils.set_random_seed(3)
    model = week["LadderVAE"](4, 5, L)
    for head in model.head:  # a broad q: the weights are bounded, or nearly so
        head.last.bias.assign_add(tf.repeat([0.4, 1.5], head.last.bias.shape[0] // 2))
    x = tf.constant(states(4), tf.float32)
    w = np.exp(week["log_weights"](model, x, 20_000).numpy().astype(float)).sum(axis=1)  # (K,)
    error = w.std(ddof=1) / np.sqrt(len(w))
    assert error < 0.05
    assert abs(w.mean() - 1) < 6 * error


def test_the_terms_are_the_bound(week):
    keras.utils.set_random_seed(4)
    model = week["LadderVAE"](4, 5, [3, 2])
    x = tf.constant(np.repeat(states(4)[[3, 9]], 20_000, axis=0), tf.float32)
    logpx_z, kl = model.terms(x)
    by_terms = (logpx_z - sum(tf.reduce_sum(layer, axis=1) for layer in kl)).numpy()
    by_weights = week["log_weights"](model, x, 1).numpy()[0]
    difference = (by_terms - by_weights).reshape(2, -1)  # closed forms against log ratios
    error = difference.std(axis=1) / np.sqrt(20_000)
    assert (abs(difference.mean(axis=1)) < 6 * error).all()
    assert all(np.min(layer) > -1e-5 for layer in kl)


@pytest.mark.parametrize("free", [None, 0.0, 0.2])
def test_free_bits_and_warm_up_change_the_objective_as_stated(week, free):
    """None: the ladder of the core."""
    keras.utils.set_random_seed(5)
    model = week["LadderVAE"](4, 5, [3, 2]) if free is None else week["FreeBits"](4, 5, [3, 2], free=free)
    x = tf.constant(states(4), tf.float32)
    logpx_z = tf.constant(np.random.default_rng(2).normal(size=16), tf.float32)
    kl = [
        tf.constant(np.random.default_rng(i).uniform(0, 0.4, (16, n)), tf.float32)
        for i, n in [(0, 3), (1, 2)]
    ]
    model.terms = lambda _: (logpx_z, kl)
    means = np.concatenate([layer.numpy().mean(axis=0) for layer in kl])
    for beta in [1, 0.3, 0]:
        model.beta.assign(beta)
        objective = model(x).numpy()
        stated = logpx_z.numpy().mean() - beta * np.maximum(free or 0.0, means).sum()
        assert objective.mean() == pytest.approx(stated, rel=1e-5)
        assert float(model.losses[0]) == pytest.approx(-stated, rel=1e-5)
        if not free:  # each image its own
            each = logpx_z - beta * sum(layer.numpy().sum(axis=1) for layer in kl)
            np.testing.assert_allclose(objective, each, rtol=1e-4)


def test_activity_of_one_layer_is_the_variance_of_the_posterior_mean(week):
    model = week["LadderVAE"](4, 5, [3])
    x = states(4).astype(np.float32)
    (activity,) = week["activities"](model, x)
    q = model.q_z_x(tf.constant(x))[1][0]
    np.testing.assert_allclose(activity, q.loc.numpy().var(axis=0, ddof=1), rtol=1e-4)
    (kl,) = model.terms(tf.constant(x))[1]
    exact = 0.5 * (q.scale**2 + q.loc**2 - 1) - np.log(q.scale)
    np.testing.assert_allclose(kl, exact, rtol=1e-4)


def test_levels_have_probabilities_that_sum_to_one_and_samples_follow_them(week):
    mu, s = (
        np.array([[-3.0, 0.0, 7.6, 15.9, 30.0]], np.float32),
        np.array([[0.11, 2.0, 0.3, 1.0, 4.0]], np.float32),
    )
    p = np.exp(week["DiscretisedLogistic"](mu, s).log_prob_pixels(np.arange(17.0, dtype=np.float32)[:, None]))
    np.testing.assert_allclose(p.sum(axis=0), 1, rtol=1e-5)
    N = 20_000
    tf.random.set_seed(0)
    x = week["DiscretisedLogistic"](np.repeat(mu, N, axis=0), np.repeat(s, N, axis=0)).sample().numpy()
    for k in range(17):
        for d in range(5):
            tolerance = stattests.bernstein_tolerance(N, p[k, d] * (1 - p[k, d]) + 1e-9, 1.0, comparisons=85)
            assert abs(np.mean(x[:, d] == k) - p[k, d]) <= tolerance


def test_the_moving_average_by_hand(week):
    rng = np.random.default_rng(6)
    N, m = np.ones(3), rng.normal(size=(3, 2))
    tf_N, tf_m = tf.constant(N), tf.constant(m)
    for _ in range(4):
        z, c = rng.normal(size=(7, 2)), rng.integers(3, size=7).astype(np.int32)
        for k in range(3):
            N[k] = 0.9 * N[k] + 0.1 * (c == k).sum()
            m[k] = 0.9 * m[k] + 0.1 * z[c == k].sum(axis=0)
        tf_N, tf_m = week["moving_average"](tf_N, tf_m, tf.constant(z), c, 0.9)
    np.testing.assert_allclose(tf_N, N, rtol=1e-12)
    np.testing.assert_allclose(tf_m, m, rtol=1e-12)


def test_perplexity(week):
    assert float(week["perplexity"](tf.ones(8))) == pytest.approx(8)
    assert float(week["perplexity"](tf.constant([5.0, 0.0, 0.0]))) == pytest.approx(1)


def test_only_dead_codes_restart_and_at_vectors_of_the_batch(week):
    vq = week["VQVAE"](4, 5, 2, 3, 4)
    vq.codebook.assign(np.random.default_rng(7).normal(size=(4, 3)))
    vq.N.assign([5.0, 0.5, 4.0, 0.2])
    vq.m.assign(vq.codebook * vq.N[:, None])
    z, c = (
        tf.constant(np.random.default_rng(8).normal(size=(10, 3)), tf.float32),
        tf.constant([0] * 5 + [2] * 5),
    )
    N, m = week["moving_average"](vq.N, vq.m, z, c, vq.decay)
    vq.update(z, c)
    for k in (0, 2):
        np.testing.assert_allclose(vq.codebook[k], m[k] / N[k], rtol=1e-5)
    for k in (1, 3):
        assert min(np.abs(z - vq.codebook[k]).max(axis=1)) < 1e-6


def test_training_moves_encoder_and_decoder_and_not_the_codebook_by_gradient(week):
    vq = week["VQVAE"](4, 5, 2, 3, 4, revive=False)
    vq.start(tf.random.stateless_normal([4, 3], [1, 2]))
    before = vq.codebook.numpy()
    x = tf.constant(states(4), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(vq.codebook.value)
        objective = vq(x, training=True)
        loss = -tf.reduce_mean(objective)
    assert float(vq.losses[0]) == pytest.approx(float(loss))
    gradients = tape.gradient(loss, [v.value for v in [*vq.trainable_variables, vq.codebook]])
    assert gradients[-1] is None
    assert all(g is not None and np.abs(g).max() > 0 for g in gradients[:-1])
    np.testing.assert_array_equal(before, vq.codebook)


def test_the_prior_is_normalised_causal_and_sampled_rightly(week):
    keras.utils.set_random_seed(9)
    prior = week["CodePrior"](3, 3, 6)
    for v in prior.trainable_variables:
        v.assign(v * 3)
    c = states(3, 3).astype(np.int32)
    p = np.exp(prior(c))
    assert p.sum() == pytest.approx(1, rel=1e-5)
    for t in range(3):  # what stands at t and later changes nothing
        for first in {tuple(row[:t]) for row in c}:
            rows = prior.log_p(c, t).numpy()[[tuple(row[:t]) == first for row in c]]
            np.testing.assert_allclose(rows, np.tile(rows[0], (len(rows), 1)), rtol=1e-5)
    N = 20_000
    drawn = prior.sample(N).numpy() @ [9, 3, 1]
    for value, exact in enumerate(p):
        tolerance = stattests.bernstein_tolerance(N, exact * (1 - exact), 1.0, comparisons=27)
        assert abs(np.mean(drawn == value) - exact) <= tolerance


def test_mixture_and_restore_against_all_images(week):
    rng = np.random.default_rng(11)
    logits = tf.constant(rng.normal(size=(6, 4)), tf.float32)
    log_pi = tf.nn.log_softmax(tf.constant(rng.normal(size=6), tf.float32))
    x = states(4).astype(np.float32)
    mu, pi = 1 / (1 + np.exp(-logits.numpy())), np.exp(log_pi)
    p = (np.where(x[:, None] == 1, mu, 1 - mu).prod(axis=2) * pi).sum(axis=1)
    np.testing.assert_allclose(week["mixture_log_prob"](logits, log_pi, x, B=5), np.log(p), rtol=1e-5)
    seen = np.array([True, True, False, True])
    part = np.exp(tf.reduce_logsumexp(week["mixture_terms"](logits, log_pi, x, seen), axis=1))
    agree = (x[:, None] == x)[:, :, seen].all(axis=2)  # (observed, true)
    np.testing.assert_allclose(part, agree @ p, rtol=1e-5)
    for flip in (0.0, 0.1):
        same = np.where(x[:, None] == x, 1 - flip, flip)[:, :, seen].prod(axis=2)  # (observed, true)
        posterior = same * p / (same @ p)[:, None]
        ours, effective = week["restore"](logits, log_pi, x, seen, flip, B=5)
        np.testing.assert_allclose(ours, posterior @ x, atol=1e-5)
        assert ((effective >= 1 - 1e-4) & (effective <= 6 + 1e-4)).all()


def test_the_histogram_mixture_is_normalised(week):
    x = np.random.default_rng(12).integers(17, size=(30, 2)).astype(np.float32)
    mixture = week["fit_levels"](x, 3, 1.0, seed=0)
    assert logsumexp(week["level_mixture"](states(2, 17).astype(np.float32), mixture)) == pytest.approx(
        0, abs=1e-4
    )


def images(n, D=6):
    return (np.random.default_rng(13).random((n, D)) < 0.4).astype(np.float32)


def make(week, kind):
    """A small model of this kind, and data for it (300, …)."""
    if kind == "LadderVAE":
        return week[kind](6, 5, [3, 2]), images(300)
    if kind == "GreyLadder":
        return week[kind](6, 5, [3, 2], outputs=2), np.random.default_rng(14).integers(
            17, size=(300, 6)
        ).astype(np.float32)
    if kind == "VQVAE":
        model, x = week[kind](6, 5, 2, 3, 4), images(300)
        model.start(tf.reshape(model.z_e(x), [-1, 3])[:4])
        return model, x
    return week[kind](3, 4, 6), np.random.default_rng(15).integers(4, size=(300, 3)).astype(np.int32)


@pytest.mark.parametrize("kind", ["LadderVAE", "VQVAE", "CodePrior"])
def test_fit_evaluate_and_predict_as_any_keras_model(week, kind):
    """Validation and early stopping; evaluation and prediction change no weight."""
    keras.utils.set_random_seed(16)
    model, x = make(week, kind)
    patient = keras.callbacks.EarlyStopping(patience=2, min_delta=0.02)
    data, validation = batches(x, B=50, seed=0), tf.data.Dataset.from_tensors(x[:100])
    history, seconds = week["train"](model, data, 80, 0.05, validation, [patient])
    assert 2 < len(history["loss"]) == len(history["val_loss"]) < 80, "stopped early"
    assert history["loss"][-1] < history["loss"][0] and seconds > 0
    assert model.optimizer.iterations == 6 * len(history["loss"]), "an epoch is an epoch"
    before = model.get_weights()
    many = np.repeat(x[:100], 100, axis=0)
    loss, predicted = model.evaluate(many, verbose=0), model.predict(many, verbose=0)
    assert predicted.shape == (10_000,)
    # The loss is minus the mean objective.
    assert abs(loss + predicted.mean()) < 6 * np.sqrt(2) * predicted.std() / 100
    model(x[:5], training=True)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_fit_moves_the_codebook_and_reports_its_use(week):
    """One step by hand: after it the codebook is the moving average of the encoder's outputs."""
    keras.utils.set_random_seed(18)
    vq, x = make(week, "VQVAE")
    vq.revive = False
    codebook, N, m = vq.codebook.numpy(), vq.N.numpy(), vq.m.numpy()
    history, _ = week["train"](vq, tf.data.Dataset.from_tensors(x), 1, 0.01)
    z = tf.reshape(vq.z_e(x), [-1, 3])
    N, m = week["moving_average"](N, m, z, week["nearest"](z, codebook), 0.95)
    np.testing.assert_allclose(vq.N, N, rtol=1e-5)
    np.testing.assert_allclose(vq.codebook, m / N[:, None], rtol=1e-4, atol=1e-5)
    assert history["perplexity"] == [pytest.approx(float(week["perplexity"](N)), rel=1e-4)]


@pytest.mark.parametrize("kind", ["LadderVAE", "GreyLadder", "VQVAE", "CodePrior"])
def test_weights_are_saved_and_restored_with_all_state(week, kind, tmp_path):
    """β, codebook, counts and sums come along: the restored model says the same of new data."""
    first, x = make(week, kind)
    for variable in [first.codebook, first.m, first.N] if kind == "VQVAE" else []:
        variable.assign(variable + tf.random.uniform(variable.shape))
    if kind in ("LadderVAE", "GreyLadder"):
        first.beta.assign(0.3)
    first.save_weights(tmp_path / "some.weights.h5")
    loaded, given = make(week, kind)[0], make(week, kind)[0]
    loaded.load_weights(tmp_path / "some.weights.h5")
    given.set_weights(first.get_weights())
    values = []
    for model in (first, loaded, given):
        tf.random.set_seed(19)  # the same draws of z
        values.append(model(x).numpy())
        if kind == "VQVAE":
            np.testing.assert_array_equal(model.codebook, first.codebook)
            np.testing.assert_array_equal(model.m, first.m)
            np.testing.assert_array_equal(model.N, first.N)
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal(values[0], values[2])


def test_a_callback_that_changes_beta_is_obeyed(week):
    """From the third epoch on the loss is that of β = 1000, though the graph was traced with β = 1."""
    model, x = make(week, "LadderVAE")
    change = week["set_beta"](model, lambda epoch: 1.0 if epoch < 2 else 1000.0)
    history, _ = week["train"](model, batches(x, B=50, seed=0), 4, 1e-6, callbacks=[change])
    _, kl = model.terms(np.repeat(x, 20, axis=0))
    rate = float(sum(tf.reduce_mean(tf.reduce_sum(layer, axis=1)) for layer in kl))
    assert history["loss"][3] - history["loss"][1] == pytest.approx(999 * rate, rel=0.05)


@pytest.mark.parametrize("kind", ["LadderVAE", "VQVAE"])
def test_one_seed_gives_the_same_training(week, kind):
    def weights():
        keras.utils.set_random_seed(14)
        model, x = make(week, kind)
        week["train"](model, batches(x, B=50, seed=1), 2, 0.01)
        return model.get_weights()

    for a, b in zip(weights(), weights(), strict=True):
        np.testing.assert_array_equal(a, b)
