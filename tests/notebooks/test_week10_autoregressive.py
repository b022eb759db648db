"""The functions of the week 10 notebook against enumeration, slopes and loops from the definition."""

import itertools

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
import keras  # noqa: E402

from utils.networks import batches, train  # noqa: E402

BINARY_8 = np.array(list(itertools.product((0.0, 1.0), repeat=8)), np.float32)


def shaken(model, scale=0.7):
    """The model with random weights, so that no symmetry of the start hides a fault."""
    keras.utils.set_random_seed(1)
    for w in model.trainable_variables:
        w.assign(tf.random.normal(w.shape, stddev=scale))
    return model


def models(week):
    """Every model of binary images that is small enough to be enumerated: eight pixels."""
    order = np.array([3, 1, 4, 8, 5, 2, 7, 6])
    return {
        "MADE": week["MADE"](8, 70),  # ten units for each degree: not all of them are dead
        "MADE, other order": week["MADE"](8, 70, order=order),
        "PixelCNN": week["PixelCNN"]((2, 4), 6, 2, first=3),
        "PixelCNN, 5 wide": week["PixelCNN"]((4, 2), 6, 1, first=5),
        "FVSBN": week["FVSBN"](8),
        "NADE": week["NADE"](8, 10),
        "PixelSNAIL": week["PixelSNAIL"]((2, 4), 6, 2, first=3),
    }


NAMES = ["MADE", "MADE, other order", "PixelCNN", "PixelCNN, 5 wide", "FVSBN", "NADE", "PixelSNAIL"]


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_sum_to_one(week, name):
    model = shaken(models(week)[name])
    assert np.sum(np.exp(model(BINARY_8))) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_each_output_has_a_slope_in_all_earlier_pixels_and_no_other(week, name):
    model = shaken(models(week)[name])
    S = np.mean([week["slopes"](model.logits, x) for x in tf.random.uniform([20, 8])], axis=0)
    place = np.argsort(model.sequence)
    earlier = place < place[:, None]
    assert not S[~earlier].any()
    assert S[earlier].min() > 0


def test_the_units_of_a_narrow_made_are_spread_over_all_pixels(week):
    """With fewer units than pixels, none for the last pixels would leave them without their neighbours."""
    for D, H in [(40, 13), (9, 8), (8, 100)]:
        known = np.sort(week["MADE"](D, H).hidden.mask.numpy().sum(axis=0))
        assert np.diff([0, *known, D]).max() <= -(-D // H) + 1 and known[0] == 1


def test_slopes_are_those_of_a_known_function(week):
    A = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    S = week["slopes"](lambda x: tf.matmul(x**2, A), tf.ones(5))
    np.testing.assert_allclose(S, 2 * np.abs(A.T), rtol=1e-5)


def test_slopes_find_a_mask_that_lets_the_own_pixel_through(week):
    made = shaken(week["MADE"](8, 30))
    m = made.hidden.mask.numpy().sum(axis=0)  # what each unit knows
    made.out.mask = tf.constant(m[:, None] <= np.arange(1, 9), tf.float32)
    S = week["slopes"](made.logits, tf.random.uniform([8]))
    assert np.diag(S).any()
    assert abs(np.sum(np.exp(made(BINARY_8))) - 1) > 1e-3


def filled(model, x, u):
    """Pixel by pixel, from the definition of drawing by uniform numbers."""
    x = x.copy()
    for d in model.sequence:
        p = tf.sigmoid(model.logits(np.nan_to_num(x))).numpy()[:, d]
        x[:, d] = np.where(np.isnan(x[:, d]), u[:, d] < p, x[:, d])
    return x


@pytest.mark.parametrize("name", NAMES)
def test_fill_draws_what_is_missing_and_keeps_the_rest(week, name):
    model, draw = shaken(models(week)[name]), np.random.default_rng(0)
    u = draw.random((40, 8)).astype(np.float32)
    x = np.where(draw.random((40, 8)) < 0.6, np.nan, draw.integers(2, size=(40, 8))).astype(np.float32)
    expected = filled(model, x, u)
    np.testing.assert_array_equal(model.fill(x, u), expected)
    assert np.array_equal(expected[~np.isnan(x)], x[~np.isnan(x)])
    if "MADE" in name:
        np.testing.assert_array_equal(week["fill_cached"](model, tf.constant(x), tf.constant(u)), expected)
    if "PixelCNN" in name:
        np.testing.assert_array_equal(week["fill_rows"](model, tf.constant(x), tf.constant(u)), expected)
    sample = model.sample(5).numpy()
    assert sample.shape == (5, 8) and set(np.unique(sample)) <= {0, 1}


def test_ngram_is_the_formula(week):
    text, new, V = np.array([0, 1, 0, 1, 2, 0, 1, 1]), np.array([0, 1, 2, 2, 0, 1]), 3

    def exact(context, c, a):
        """p(c | context) by counting in the text, with fewer symbols inside."""
        if context is None:
            return 1 / V
        k = len(context)
        seen = [tuple(text[i : i + k + 1]) for i in range(len(text) - k)]
        N_sc = seen.count((*context, c))
        N_s = sum(run[:-1] == tuple(context) for run in seen)
        return (N_sc + a * exact(context[1:] if k else None, c, a)) / (N_s + a)

    for n in (1, 2, 3):
        p = week["ngram"](text, new, n, V, a=0.5)
        for t in range(len(new)):
            context = tuple(new[max(0, t - n + 1) : t])
            assert p[t] == pytest.approx(exact(context, new[t], 0.5)), (n, t)
    total = sum(week["ngram"](text, np.array([0, 1, c]), 3, V, a=0.5)[-1] for c in range(V))
    assert total == pytest.approx(1)


def test_runs_are_numbers_in_base_v(week):
    np.testing.assert_array_equal(week["runs_of"](np.array([1, 0, 2, 1]), 2, 3), [3, 2, 7])
    np.testing.assert_array_equal(week["counts"](np.array([3, 2, 3]), np.array([3, 0, 9, 2])), [2, 0, 0, 1])


def test_char_rnn_gives_conditional_probabilities(week):
    """The last factor is the difference of two sums, and over all last symbols it sums to 1."""
    keras.utils.set_random_seed(0)
    rnn, x = week["CharRNN"](5, 7), np.array([[3, 0, 4, 1]])
    last = [4 * rnn(np.append(x, [[c]], axis=1)) - 3 * rnn(x) for c in range(5)]
    assert np.sum(np.exp(last)) == pytest.approx(1, abs=1e-5)


def test_cut_loses_nothing_but_the_end(week):
    rows = week["cut"](np.arange(23), 5)
    assert rows.shape == (4, 6)
    np.testing.assert_array_equal(rows[:, 0], [0, 5, 10, 15])
    np.testing.assert_array_equal(rows[1:, 0], rows[:-1, -1])


@pytest.mark.parametrize("centre", [0, 1])
def test_masked_convolution_is_a_square_one_with_a_masked_kernel(week, centre):
    conv = week["MaskedConv2D"](2, 3, week["mask"](5, centre))
    x = np.random.default_rng(0).normal(size=(2, 6, 7, 2)).astype(np.float32)
    full = np.zeros((5, 5, 2, 3), np.float32)
    full[:2] = conv.W[:2]
    full[2, : 2 + centre] = conv.W[2, : 2 + centre]
    np.testing.assert_allclose(conv(x), tf.nn.conv2d(x, full, 1, "SAME"), atol=1e-5)


def test_the_blind_spot_is_the_wedge_and_the_two_stacks_have_none(week):
    side, (i, j) = 9, (5, 3)
    rows, columns = np.indices((side, side))
    before = (rows < i) | ((rows == i) & (columns < j))
    plain = week["receptive_field"](week["plain_pixelcnn"](8, 8), side, (i, j))
    np.testing.assert_array_equal(plain > 0, before & (columns - j <= i - rows))
    gated = week["receptive_field"](week["PixelCNN"]((side, side), 8, 8, first=3).convolve, side, (i, j))
    np.testing.assert_array_equal(gated > 0, before)


def test_pixelcnn_trains_saves_and_counts_dropout_in_training_only(week, tmp_path):
    keras.utils.set_random_seed(0)
    x = (np.random.default_rng(0).random((64, 16)) < 0.9).astype(np.float32)
    model = week["PixelCNN"]((4, 4), 4, 1, 0.5, first=3)
    before = np.mean(model(x))
    history, seconds = train(model, batches(x, B=16, seed=0), 5, 0.01, tf.data.Dataset.from_tensors(x))
    assert np.mean(model(x)) > before and seconds > 0
    assert history["val_loss"][-1] == pytest.approx(-np.mean(model(x)), rel=1e-4)
    model.save_weights(tmp_path / "x.weights.h5")
    other = week["PixelCNN"]((4, 4), 4, 1, 0.5, first=3)
    other.load_weights(tmp_path / "x.weights.h5")
    np.testing.assert_array_equal(other(x), model(x))
    np.testing.assert_allclose(week["log_likelihood"](model, x), model(x), rtol=1e-5)


def test_grey_pixelcnn(week):
    model = shaken(week["GreyPixelCNN"]((2, 2), 4, 1, 3, 0.0, 3))
    images = np.array(list(itertools.product((0.0, 1.0, 2.0), repeat=4)), np.float32)
    assert np.sum(np.exp(model(images))) == pytest.approx(1, abs=1e-5)
    draw = np.random.default_rng(0)
    u = tf.constant(draw.random((30, 4)), tf.float32)
    x = tf.constant(np.where(draw.random((30, 4)) < 0.7, np.nan, 2), tf.float32)
    np.testing.assert_array_equal(model.fill(x, u), week["fill_rows"](model, x, u))


def test_grey_levels_are_picked_with_their_probabilities(week):
    """Uniform numbers on a grid fall into intervals of the softmax's lengths."""
    model = week["GreyPixelCNN"]((1, 2), 4, 1, 3, 0.0, 3)
    logits = tf.math.log([0.2, 0.5, 0.3])
    u = tf.constant((np.arange(1000) + 0.5) / 1000, tf.float32)
    picked = model.pick(tf.tile(logits[None], [1000, 1]), u).numpy()
    np.testing.assert_allclose(np.bincount(picked.astype(int)) / 1000, [0.2, 0.5, 0.3], atol=0.0011)


def test_nade_is_its_formula(week):
    nade, x = shaken(week["NADE"](5, 4)), np.array([1, 0, 1, 1, 0], np.float32)
    W, U, b, c = (v.numpy() for v in (nade.W, nade.U, nade.b, nade.c))
    for d in range(5):
        h = 1 / (1 + np.exp(-(c + x[:d] @ W[:d])))
        assert float(nade.logits(x[None])[0, d]) == pytest.approx(b[d] + U[d] @ h, rel=1e-4)


def test_attention_of_the_first_pixel_is_nothing(week):
    layer = week["CausalAttention"](4, 3)
    layer.out.bias.assign(np.ones(4))
    h = tf.random.normal([2, 2, 3, 4])
    np.testing.assert_allclose(layer(h, tf.ones([2, 2, 3, 1]))[:, 0, 0], 1, atol=1e-6)


def test_chain_table_and_slips(week):
    rng, K = np.random.default_rng(0), 6
    P = week["true_chain"](K, rng)
    np.testing.assert_allclose(P.sum(axis=1), 1)
    assert np.all(np.sum(P > 0, axis=1) == 2)
    assert np.linalg.matrix_power(P, 1000).min() > 0, "every symbol is visited"
    truth = np.broadcast_to(P, (K, K, K))
    assert week["slips"](truth, P, 5)[0].max() < 1e-12
    q = rng.dirichlet(np.ones(K), size=(K, K))
    step = np.zeros((K * K, K * K))  # of pairs: (a, b) → (b, c)
    for a, b, c in itertools.product(range(K), repeat=3):
        step[a * K + b, b * K + c] = q[a, b, c]
    pairs = (np.linalg.matrix_power(P, 1000)[0][:, None] * P).reshape(-1)
    shares, e, r = week["slips"](q, P, 200)
    for share in shares[:5]:
        pairs = pairs @ step
        assert share == pytest.approx(pairs[(P == 0).reshape(-1)].sum())
    assert shares[-1] == pytest.approx(e / (e + r), rel=1e-6)


def test_table_counts_with_the_older_symbol_that_is_given(week):
    x, older = np.array([0, 1, 0, 1, 1]), np.array([1, 1, 1, 1, 1])
    q = week["table"](older, x, 2, 1.0)
    np.testing.assert_allclose(q[1, 1], [2 / 4, 2 / 4])  # 1 is followed by 0 and by 1
    np.testing.assert_allclose(q[1, 0], [1 / 3, 2 / 3])
    np.testing.assert_allclose(q[0], 0.5)


def test_mu_law(week):
    x = np.linspace(-1, 1, 2001)
    level = week["mu_law"](x)
    assert level.min() == 0 and level.max() == 255 and np.all(np.diff(level) >= 0)
    back = week["mu_law_inverse"](level)
    assert np.max(np.abs(back - x) / (np.abs(x) + 1 / 255)) < 0.5 * np.log(256) / 127.5 * 1.1
    np.testing.assert_array_equal(week["mu_law"](week["mu_law_inverse"](np.arange(256))), np.arange(256))


def test_wavenet_sees_exactly_its_receptive_field(week):
    net = shaken(week["WaveNet"](6, layers=3, K=5), 0.5)
    x = np.random.default_rng(0).integers(5, size=(1, 20))
    changed = np.repeat(x, 20, axis=0)
    changed[np.arange(20), np.arange(20)] = (changed[np.arange(20), np.arange(20)] + 2) % 5
    seen = np.abs(net.logits(changed) - net.logits(x)).max(axis=-1) > 0
    lag = np.arange(20) - np.arange(20)[:, None]
    np.testing.assert_array_equal(seen, (lag >= 0) & (lag < 8))


def test_wavenet_draws_from_kept_states_as_without(week):
    """With huge logits drawing picks the largest, which a loop over whole passes must pick as well."""
    net = shaken(week["WaveNet"](6, layers=4, K=5), 0.5)
    net.last.kernel.assign(1e4 * net.last.kernel)
    first = np.array([0, 1, 2], np.int32)
    x = first[:, None]
    for _ in range(25):
        x = np.concatenate([x, np.argmax(net.logits(x)[:, -1], axis=-1)[:, None]], axis=1)
    np.testing.assert_array_equal(week["continued"](net, tf.constant(first[:, None]), 25), x[:, 1:])
    np.testing.assert_array_equal(week["continued"](net, tf.constant(x[:, :9], tf.int32), 17), x[:, 9:])
