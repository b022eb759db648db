"""The functions of the week 11 notebook against oracles in NumPy, gradients and exact distributions."""

import ast
import builtins
import json
import math

import numpy as np
import pytest

from utils import stattests
from utils.networks import batches

tf = pytest.importorskip("tensorflow")
import keras  # noqa: E402

V, T, D, H = 7, 6, 8, 2
END = 0


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(1)


def shaken(model):
    """The model with all weights drawn, so that no bias is 0 and no gain 1."""
    draw = np.random.default_rng(3)
    model.set_weights([w + 0.3 * draw.normal(size=w.shape) for w in model.get_weights()])
    return model


def small(week, **options):
    return shaken(week["gpt"](V, T, D, 2, H, **options))


def tokens(n, seed=0):
    return np.random.default_rng(seed).integers(1, V, size=(n, 1 + T)).astype(np.int32)


def softmax(a):
    w = np.exp(a - a.max(axis=-1, keepdims=True))
    return w / w.sum(axis=-1, keepdims=True)


# --- Attention ----------------------------------------------------------------------------------


def test_attend_is_the_weighted_average(week):
    draw = np.random.default_rng(0)
    q, k, v = draw.normal(size=(3, 4)), draw.normal(size=(5, 4)), draw.normal(size=(5, 2))
    mask = draw.random((3, 5)) < 0.6
    mask[:, 0] = True
    y, w = week["attend"](q, k, v, mask)
    for t in range(3):
        a = softmax(np.array([q[t] @ k[s] / 2 if mask[t, s] else -np.inf for s in range(5)]))
        np.testing.assert_allclose(w[t], a, atol=1e-12)
        np.testing.assert_allclose(y[t], sum(a[s] * v[s] for s in range(5)), atol=1e-12)
    np.testing.assert_allclose(week["attend"](1e6 * k, k, v)[0], v[np.argmax(k @ k.T, axis=1)], atol=1e-9)


@pytest.mark.parametrize("ahead", [0, 1, None])
def test_layer_equals_keras(week, ahead):
    layer, theirs = shaken(week["Attention"](D, H, ahead)), keras.layers.MultiHeadAttention(H, D // H)
    theirs.build((2, T, D), (2, T, D))
    W, b = np.reshape(layer.qkv.kernel, [D, 3, H, -1]), np.reshape(layer.qkv.bias, [3, H, -1])
    parts = [part for i in range(3) for part in (W[:, i], b[i])]
    theirs.set_weights([*parts, np.reshape(layer.out.kernel, [H, -1, D]), layer.out.bias])
    x = tf.random.normal([2, T, D])
    mask = np.tri(T, k=T if ahead is None else ahead, dtype=bool)
    np.testing.assert_allclose(layer(x), theirs(x, x, attention_mask=mask[None]), atol=1e-4)


@pytest.mark.parametrize("ahead", [0, 1])
def test_reach_sees_exactly_the_mask(week, ahead):
    """Of one layer and of a whole GPT; its first output differs from 0 in all that may be seen."""
    x = tf.random.normal([1, T, D])
    layers = 2
    for f, far in [
        (shaken(week["Attention"](D, H, ahead)), ahead),
        (small(week, ahead=ahead).read, layers * ahead),
    ]:
        found = week["reach"](f, x)
        np.testing.assert_array_equal(found > 0, np.tri(T, k=far, dtype=bool))


def test_without_a_mask_attention_is_equivariant(week):
    layer, x = shaken(week["Attention"](D, H, None)), tf.random.normal([2, T, D])
    order = np.random.default_rng(0).permutation(T)
    np.testing.assert_allclose(
        layer(tf.gather(x, order, axis=1)), tf.gather(layer(x), order, axis=1), atol=1e-5
    )


# --- GPT ----------------------------------------------------------------------------------------


def reference_gpt2(arrays, heads, x):
    """GPT-2's logits in NumPy, float64, from its published names. x: (T,) → (T, V)."""
    a = {name: np.asarray(array, np.float64) for name, array in arrays.items()}

    def norm(h, name):
        h = h - h.mean(axis=-1, keepdims=True)
        return (
            h / np.sqrt(np.mean(h**2, axis=-1, keepdims=True) + 1e-5) * a[f"{name}.weight"]
            + a[f"{name}.bias"]
        )

    def dense(h, name):
        return h @ a[f"{name}.weight"] + a[f"{name}.bias"]

    h = a["wte.weight"][x] + a["wpe.weight"][: len(x)]
    for i in range(1 + max(int(name.split(".")[1]) for name in a if name.startswith("h."))):
        q, k, v = np.split(dense(norm(h, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn"), 3, axis=1)
        read = []
        for qj, kj, vj in zip(*(np.split(part, heads, axis=1) for part in (q, k, v)), strict=True):
            scores = qj @ kj.T / math.sqrt(qj.shape[1])
            read.append(softmax(np.where(np.tri(len(x), dtype=bool), scores, -np.inf)) @ vj)
        h = h + dense(np.concatenate(read, axis=1), f"h.{i}.attn.c_proj")
        u = dense(norm(h, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc")
        gelu = 0.5 * u * (1 + np.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))
        h = h + dense(gelu, f"h.{i}.mlp.c_proj")
    return norm(h, "ln_f") @ a["wte.weight"].T


def checkpoint(layers=2):
    """Arrays of a tiny GPT-2, by their published names."""
    draw = np.random.default_rng(5)
    shapes = {"wte.weight": (V, D), "wpe.weight": (T, D), "ln_f.weight": (D,), "ln_f.bias": (D,)}
    for i in range(layers):
        for name, n, m in [
            ("attn.c_attn", D, 3 * D),
            ("attn.c_proj", D, D),
            ("mlp.c_fc", D, 4 * D),
            ("mlp.c_proj", 4 * D, D),
        ]:
            shapes |= {f"h.{i}.{name}.weight": (n, m), f"h.{i}.{name}.bias": (m,)}
        for name in ("ln_1", "ln_2"):
            shapes |= {f"h.{i}.{name}.weight": (D,), f"h.{i}.{name}.bias": (D,)}
    return {name: draw.normal(0.3, 0.5, size=shape).astype(np.float32) for name, shape in shapes.items()}


def write_safetensors(path, arrays):
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        data = array.tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": array.shape,
            "data_offsets": [len(body), len(body) + len(data)],
        }
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def test_gpt2_from_a_checkpoint_file(week, tmp_path):
    """A tiny checkpoint, written as the published ones are, against GPT-2 in NumPy."""
    arrays = checkpoint()
    write_safetensors(
        tmp_path / "model.safetensors", arrays | {"h.0.attn.bias": np.ones([1, 1, T, T], np.float32)}
    )
    found = week["read_safetensors"](tmp_path / "model.safetensors")
    np.testing.assert_array_equal(found["wte.weight"], arrays["wte.weight"])
    x = tokens(3)[:, :-1]
    for prefix in ("", "transformer."):
        model = week["gpt2"]({prefix + name: array for name, array in found.items()}, H)
        logits = model.read(model.embed(x))
        for row, each in zip(x, logits, strict=True):
            np.testing.assert_allclose(each, reference_gpt2(arrays, H, row), rtol=1e-3, atol=1e-3)


def test_gpt2_names_what_is_missing(week, tmp_path):
    arrays = checkpoint()
    del arrays["h.1.mlp.c_fc.bias"]
    with pytest.raises(ValueError, match=r"h\.1\.mlp\.c_fc\.bias"):
        week["gpt2"](arrays, H)
    write_safetensors(tmp_path / "x", checkpoint())
    text = (tmp_path / "x").read_bytes().replace(b'"F32"', b'"F99"')
    (tmp_path / "x").write_bytes(text)
    with pytest.raises(ValueError, match="F99"):
        week["read_safetensors"](tmp_path / "x")


def test_keras_hub_is_asked_for_by_name(week, monkeypatch):
    real = builtins.__import__

    def none(name, *rest, **more):
        if name == "keras_hub":
            raise ImportError("no module")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", none)
    with pytest.raises(ImportError, match="pip install keras-hub"):
        week["from_keras_hub"]("gpt2_base_en")


def test_keras_hub_gives_the_same_model(week, tmp_path):
    """A tiny checkpoint in a folder, through KerasHub's own loader. Runs where KerasHub is installed."""
    keras_hub = pytest.importorskip("keras_hub", reason="optional: KerasHub is not installed")
    arrays = checkpoint()
    write_safetensors(tmp_path / "model.safetensors", arrays)
    config = {"model_type": "gpt2", "vocab_size": V, "n_layer": 2, "n_head": H, "n_embd": D, "n_positions": T}
    (tmp_path / "config.json").write_text(json.dumps(config | {"resid_pdrop": 0.0}))
    keras_hub.models.GPT2Tokenizer.from_preset = lambda preset: None
    model, _ = week["from_keras_hub"](str(tmp_path))
    x = tokens(1)[0, :-1]
    np.testing.assert_allclose(
        model.read(model.embed(x[None]))[0], reference_gpt2(arrays, H, x), rtol=1e-3, atol=1e-3
    )


def test_log_p_sums_to_one_over_all_sequences(week):
    """With and without an END; sequences that agree up to END count once."""
    model = shaken(week["gpt"](3, 4, D, 2, H))
    every = np.array(np.meshgrid(*[[0, 1, 2]] * 4)).reshape(4, -1).T
    rows = np.pad(every, [(0, 0), (1, 0)]).astype(np.int32)
    assert np.exp(model(rows).numpy().astype(float)).sum() == pytest.approx(1, rel=1e-4)
    model.end = END
    first = {}
    for row, log_p in zip(every, model(rows).numpy(), strict=True):
        stop = (list(row) + [END]).index(END)
        first.setdefault(tuple(row[: stop + 1]), float(log_p))
    assert np.exp(list(first.values())).sum() == pytest.approx(1, rel=1e-4)


def test_log_p_is_the_softmax_of_the_word_that_came(week):
    model, x = small(week), tokens(5)
    logits = model.read(model.embed(x[:, :-1])).numpy()
    exact = np.log(np.take_along_axis(softmax(logits), x[:, 1:, None], axis=2))[..., 0]
    np.testing.assert_allclose(model.log_p(x), exact, atol=1e-5)
    np.testing.assert_allclose(model(x), exact.sum(axis=1), atol=1e-4)


def test_fit_evaluate_save(week, tmp_path):
    model = week["gpt"](V, T, D, 1, H, end=END)
    x = tokens(64)
    x[:, 3:] = END
    data, unseen = batches(x, B=16, seed=0), tf.data.Dataset.from_tensors(x[:20])
    history, seconds = week["train"](model, data, 3, 1e-2, unseen)
    assert history["loss"][-1] < history["loss"][0] and seconds > 0
    loss = model.evaluate(unseen, verbose=0)
    assert loss == pytest.approx(history["val_loss"][-1], rel=1e-5)
    assert loss == pytest.approx(-float(tf.reduce_mean(model(x[:20]))), rel=1e-4)
    model.save_weights(tmp_path / "x.weights.h5")
    other = week["gpt"](V, T, D, 1, H, end=END)
    other.load_weights(tmp_path / "x.weights.h5")
    np.testing.assert_array_equal(other(x), model(x))


def test_maps_are_the_weights_of_the_heads(week):
    model, x = small(week), tokens(1)[:, :-1]
    found = week["maps"](model, x)
    assert found.shape == (2, H, T, T)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)
    assert np.all(np.triu(found, 1) == 0)


# --- Sampling -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_change_is_the_textbook_distribution(week, seed):
    draw = np.random.default_rng(seed)
    p = draw.dirichlet(np.full(9, 0.5), size=4)
    logits = tf.constant(np.log(p) + draw.normal(size=(4, 1)), tf.float32)
    for settings in [{"temperature": 0.7}, {"top_k": 3}, {"top_k": 1}, {"top_p": 0.6}, {"top_p": 0.01}, {}]:
        q = tf.nn.softmax(week["change"](logits, **settings))
        for row, each in zip(p, q, strict=True):
            w = row ** (1 / settings.get("temperature", 1))
            order = np.argsort(-row)
            kept = order[: settings.get("top_k", 9)]
            if "top_p" in settings:
                mass, kept = 0.0, []
                for i in order:
                    kept.append(i)
                    mass += row[i]
                    if mass >= settings["top_p"]:
                        break
            exact = np.zeros(9)
            exact[kept] = w[kept] / w[kept].sum()
            np.testing.assert_allclose(each, exact, atol=1e-5)


def test_a_temperature_alone_cuts_no_word_off(week):
    """Sharp distributions, whose sum reaches 1 in float32 long before the last word."""
    logits = tf.constant(4 * np.random.default_rng(0).normal(size=(200, 97)), tf.float32)
    assert np.all(np.isfinite(week["change"](logits, temperature=0.4)))


def test_cached_equals_uncached(week):
    for model in [small(week), shaken(week["GPT"](V, T, D, [week["Block"](D, week["Rotary"](D, H))]))]:
        x, layers = tokens(4), len(model.blocks)
        logits = model.read(model.embed(x[:, :-1]))
        caches = [tf.zeros([2, 4, H, T, D // H])] * layers
        for t in range(T):
            one, caches = week["step"](model, x[:, t], caches, t)
            np.testing.assert_allclose(one, logits[:, t], atol=1e-4)
        drawn = [
            week["sample"](model, x[:, :2], 5, 0.9, 5, 0.95, cached=cached).numpy()
            for cached in (True, False)
        ]
        np.testing.assert_array_equal(*drawn)
        np.testing.assert_array_equal(drawn[0][:, :2], x[:, :2])


def test_samples_have_the_models_probabilities(week):
    """All 27 sequences of three words, given the first."""
    model, N = shaken(week["gpt"](3, 3, D, 1, H)), 20_000
    drawn = week["sample"](model, np.zeros([N, 1]), 3).numpy()[:, 1:]
    every = np.array(np.meshgrid(*[[0, 1, 2]] * 3)).reshape(3, -1).T
    p = np.exp(model(np.pad(every, [(0, 0), (1, 0)]).astype(np.int32)).numpy())
    for row, exact in zip(every, p, strict=True):
        share = np.mean(np.all(drawn == row, axis=1))
        assert abs(share - exact) <= stattests.bernstein_tolerance(
            N, exact * (1 - exact), 1.0, comparisons=27
        )
    other = week["sample"](model, np.zeros([N, 1]), 4).numpy()[:, 1:]
    assert np.any(other != drawn), "another seed, other words"


# --- Fine-tuning --------------------------------------------------------------------------------


def test_lora(week):
    """The identity at the start; then W + (α / r) A B; merged; only A and B have a gradient, B's first."""
    dense = keras.layers.Dense(5)
    dense.build((None, D))
    kernel, x = dense.kernel.numpy(), tf.random.normal([3, T, D])
    layer = week["LoRA"](dense, r=2, alpha=6.0)
    np.testing.assert_array_equal(layer(x), dense(x))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) ** 2)
    dA, dB = tape.gradient(loss, [layer.A.value, layer.B.value])
    assert float(tf.norm(dA)) == 0 and float(tf.norm(dB)) > 0
    layer.B.assign(tf.random.normal([2, 5]))
    exact = x @ (kernel + 3 * layer.A.numpy() @ layer.B.numpy()) + dense.bias
    np.testing.assert_allclose(layer(x), exact, atol=1e-4)
    np.testing.assert_allclose(layer.merged()(x), exact, atol=1e-4)


# --- Deeper -------------------------------------------------------------------------------------


def test_ngram_is_a_distribution_and_counts_right(week):
    rows = [[0, 1, 2, 1, 2], [0, 1, 1, 2, 2]]
    model = week["NGram"](rows, 2, 3)
    unigram = (np.array([0, 4, 4]) + 2 / 3) / (8 + 2)  # two different words were seen
    np.testing.assert_allclose(model.p_next([]), unigram)
    after_1 = (np.array([0, 1, 3]) + 2 * unigram) / (4 + 2)
    np.testing.assert_allclose(model.p_next([2, 1]), after_1)
    assert model.p_next([1, 2]).sum() == pytest.approx(1)
    np.testing.assert_allclose(model.log_prob([0, 1, 2])[1], np.log(after_1[2]))
    drawn = model.sample([0], 2000, np.random.default_rng(0))
    assert len(drawn) == 2000 and set(drawn) <= {0, 1, 2}


def test_windows_and_rows_of_a_text(week):
    text = np.arange(100, dtype=np.int32)
    seen = np.concatenate(list(week["windows"](text, 8, 4, 5, seed=0)))
    assert seen.shape == (20, 9) and np.all(np.diff(seen, axis=1) == 1)
    rows = week["cut_rows"](text, 8)
    assert rows.shape == (12, 9)
    np.testing.assert_array_equal(rows[:, 1:].reshape(-1), np.arange(1, 97))


def test_statements_parse(week):
    code = "import os\nif x:\n    y = f(1,\n          2)\n    z = 'a'  # comment\n    return z\nimport os\n"
    assert week["statements"](code, 50) == ["import os", "z = 'a'", "return z"]
    assert all(map(week["parses"], ["x = 1", "return z", "import os"]))
    assert not any(map(week["parses"], ["", "x = ", "a; b", "a b", "(", "\0", "x = '"]))
    assert ast.parse("x = 1").body


def test_tilted_is_the_maximum_and_best_of_is_exact(week):
    draw = np.random.default_rng(0)
    p0, r = draw.dirichlet(np.ones(6)), np.array([0.0, 1.0, 1.0, 2.0, 2.0, 5.0])
    p = week["tilted"](p0, r, 0.7)
    value = lambda q: q @ r - 0.7 * week["kl"](q, p0)  # noqa: E731
    assert value(p) == pytest.approx(0.7 * np.log(np.sum(p0 * np.exp(r / 0.7))))
    for _ in range(50):
        assert value(draw.dirichlet(100 * p)) < value(p)
    best, n = np.zeros(6), 3
    for i in np.ndindex(6, 6, 6):
        top = [j for j in i if r[j] == max(r[list(i)])]
        for j in top:
            best[j] += np.prod(p0[list(i)]) / len(top)
    np.testing.assert_allclose(week["best_of"](p0, r, n), best, rtol=1e-9)


def test_rotary_scores_know_the_distance_only(week):
    q, k = (tf.constant(a) for a in np.random.default_rng(0).normal(size=(2, 1, T, 4)))
    scores = lambda s: tf.matmul(  # noqa: E731
        week["rotate"](q, tf.range(T) + s), week["rotate"](k, tf.range(T) + s), transpose_b=True
    )
    np.testing.assert_allclose(scores(0), scores(37), atol=1e-9)
    same = tf.ones([1, T, 4], tf.float64)
    rotated = week["rotate"](same, tf.range(T))
    far = tf.matmul(rotated, rotated, transpose_b=True)[0].numpy()
    for distance in range(T):
        np.testing.assert_allclose(np.diag(far, distance), np.diag(far, -distance)[0], atol=1e-9)
    assert far[0, 0] == pytest.approx(4) and far[0, 1] < 4


def test_a_text_has_a_part_of_its_own_on_the_scoreboard():
    from utils import scoreboard

    more = {"family": "autoregressive", "kind": "exact"}
    text = scoreboard.Row(
        week=11, model="GPT on text", data="shakespeare", value=1.9, unit="nats per character", **more
    )
    image = scoreboard.Row(week=11, model="GPT on pixels", value=-17.0, **more)
    shown = str(scoreboard.table([text, image]))
    assert "nats per character" in shown and "nats per image" in shown and "1.90" in shown
    scoreboard.plot([text])
