"""Figures: every one has a caption and a text alternative, and shows what it was given."""

from __future__ import annotations

import base64
import html
import io
import json
import re

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from utils import datasets, plotting

CAPTION, ALT = "Look at <this>.", 'Ten "digits", black on white.'


@pytest.fixture
def outputs(monkeypatch):
    """What reaches the front end, as MIME bundles."""
    bundles = []
    monkeypatch.setattr("IPython.display.display", lambda out: bundles.append(out._repr_mimebundle_()))
    with plt.style.context("default"):
        plotting.use_style()
        yield bundles
    assert plt.get_fignums() == [], "every figure is closed"


def pixels(markup: str) -> np.ndarray:
    from PIL import Image

    png = base64.b64decode(re.search(r"data:image/png;base64,([A-Za-z0-9+/=]+)", markup)[1])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def every_kind_of_figure():
    rng = np.random.default_rng(0)
    x = datasets.digits().test[:12]
    words = {"caption": CAPTION, "alt": ALT}
    return {
        "image_grid": lambda **w: plotting.image_grid(x, (8, 8), **{**words, **w}),
        "learning_curves": lambda **w: plotting.learning_curves(
            {"train": ([1, 2, 3], [-20, -19, -18]), "validation": ([1, 2, 3], [-20, -19.5, -19])},
            "time (epochs)",
            "log-likelihood (nats per image)",
            **{**words, **w},
        ),
        "history": lambda **w: plotting.history({"loss": [3.0, 2.0]}, "loss (nats)", **{**words, **w}),
        "filters": lambda **w: plotting.filters(rng.normal(size=(64, 5)), (8, 8), **{**words, **w}),
        "density_2d": lambda **w: plotting.density_2d(
            lambda z: -(z**2).sum(axis=1), (-2, 2, -2, 2), samples=rng.normal(size=(9, 2)), **{**words, **w}
        ),
        "animate": lambda **w: plotting.animate(np.stack([x, 1 - x, x]), (8, 8), fps=4, **{**words, **w}),
    }


KINDS = list(every_kind_of_figure())


@pytest.mark.parametrize("kind", KINDS)
def test_caption_and_alternative(outputs, kind):
    every_kind_of_figure()[kind]()
    (bundle,) = outputs
    markup = bundle["text/html"]
    assert markup.startswith("<figure") and markup.endswith("</figure>")
    assert re.search(r'<img alt="([^"]+)"', markup)[1] == html.escape(ALT)
    assert f">{html.escape(CAPTION)}</figcaption>" in markup
    assert CAPTION in bundle["text/plain"] and ALT in bundle["text/plain"]
    assert set(bundle) == {"text/html", "text/plain"}
    assert pixels(markup).std() > 5, "not blank"
    assert len(markup) < 300_000
    assert "http" not in markup, "self-contained"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("empty", [{"caption": " "}, {"alt": ""}])
def test_refused_without_words(outputs, kind, empty):
    with pytest.raises(ValueError, match="Every figure needs a caption"):
        every_kind_of_figure()[kind](**empty)
    assert outputs == []


def test_without_a_notebook(capsys):
    fig, _ = plt.subplots()
    plotting.show(fig, CAPTION, ALT)
    printed = capsys.readouterr().out
    assert CAPTION in printed and ALT in printed and "base64" not in printed


def test_image_grid_shows_the_images(outputs, monkeypatch):
    images = np.zeros((3, 64))
    images[1] = 1
    images[2] = np.nan
    plotting.image_grid(images, (8, 8), CAPTION, ALT, columns=3)
    shown = pixels(outputs[0]["text/html"])
    middle = shown[shown.shape[0] // 2]
    width = len(middle)
    white, black, missing = middle[width // 6], middle[width // 2], middle[width * 5 // 6]
    assert white.tolist() == [255] * 3 and black.tolist() == [0] * 3
    assert missing.tolist() == [0xF6, 0xC2, 0x7A]


def drawn(monkeypatch):
    """The axes of figures as they are shown."""
    axes = []
    monkeypatch.setattr(plotting, "show", lambda fig, *words: (axes.append(fig.axes), plt.close(fig)))
    return axes


def test_grey_scale(outputs, monkeypatch):
    axes = drawn(monkeypatch)
    for images, expected in (
        (np.full((1, 64), 0.3), (0, 1)),
        (np.full((1, 64), 9), (0, 16)),
        (np.full((1, 64), 200), (0, 200)),
        (np.linspace(-2, 3, 64)[None], (-2, 3)),
    ):
        plotting.image_grid(images, (8, 8), CAPTION, ALT)
        assert axes[-1][0].images[0].get_clim() == expected
    plotting.image_grid(images, (8, 8), CAPTION, ALT, limits=(-5, 5))
    assert axes[-1][0].images[0].get_clim() == (-5, 5)


def test_history_shows_both_parts_by_epoch_with_its_sign(outputs, monkeypatch):
    axes = drawn(monkeypatch)
    plotting.history({"loss": [3, 2], "val_loss": [4, 5], "rate": [1, 1]}, "ELBO", CAPTION, ALT, sign=-1)
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes[0][0].get_lines()}
    assert lines == {"training part": [[1, -3], [2, -2]], "validation part": [[1, -4], [2, -5]]}
    plotting.history({"loss": np.arange(40)}, "loss", CAPTION, ALT)
    assert axes[1][0].get_lines()[0].get_xydata()[0].tolist() == [3, 2], "without the first two of forty"


def test_titles(outputs, monkeypatch):
    axes = drawn(monkeypatch)
    x = datasets.digits().test[:4]
    plotting.image_grid(x, (8, 8), CAPTION, ALT, columns=2, titles=list("abcd"), row_titles=["one", "two"])
    assert [t.get_text() for t in axes[0][0].texts] == ["a", "b", "c", "d", "one", "two"]
    with pytest.raises(ValueError, match="3 titles for 4 images"):
        plotting.image_grid(x, (8, 8), CAPTION, ALT, titles=list("abc"))
    with pytest.raises(ValueError, match="1 row titles for 2 rows"):
        plotting.image_grid(x, (8, 8), CAPTION, ALT, columns=2, row_titles=["one"])


def test_wrong_shapes(outputs):
    with pytest.raises(ValueError, match=r"\(3, 63\), which is no batch of 8×8 images"):
        plotting.image_grid(np.zeros((3, 63)), (8, 8), CAPTION, ALT)
    with pytest.raises(ValueError, match="which is no batch"):
        plotting.image_grid(np.zeros((0, 64)), (8, 8), CAPTION, ALT)
    with pytest.raises(ValueError, match=r"\(64, H\) expected"):
        plotting.filters(np.zeros((16, 64)), (8, 8), CAPTION, ALT)
    with pytest.raises(ValueError, match="curve 'train'"):
        plotting.learning_curves({"train": ([1, 2], [1])}, "x", "y", CAPTION, ALT)
    with pytest.raises(ValueError, match=r"log_prob returned shape \(25600, 1\)"):
        plotting.density_2d(lambda z: z[:, :1], (0, 1, 0, 1), caption=CAPTION, alt=ALT)


def test_curves_are_labelled(outputs, monkeypatch):
    axes = drawn(monkeypatch)
    every_kind_of_figure()["learning_curves"]()
    (ax,) = axes[0]
    assert ax.get_xlabel() == "time (epochs)" and ax.get_ylabel() == "log-likelihood (nats per image)"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["train", "validation"]
    assert len({line.get_linestyle() for line in ax.lines}) == 2, "told apart without colour"
    plotting.learning_curves({"VAE": ([1, 2], [1, 2])}, "x", "y", CAPTION, ALT)
    assert axes[1][0].lines[0].get_color() == plotting.FAMILY_COLOURS["VAE"]


def test_filters_are_symmetric_about_zero(outputs, monkeypatch):
    axes = drawn(monkeypatch)
    W = np.random.default_rng(0).normal(size=(64, 3))
    plotting.filters(W, (8, 8), CAPTION, ALT)
    images = axes[0][0].images
    for column, image in enumerate(images):
        np.testing.assert_array_equal(image.get_array(), W[:, column].reshape(8, 8))
        low, high = image.get_clim()
        assert low == -high == -np.abs(W).max()
    assert "weight" in axes[0][1].get_ylabel()


def test_animation_holds_every_frame(outputs):
    rng = np.random.default_rng(0)
    frames = (rng.random((7, 3, 64)) < 0.5).astype(np.float32)
    plotting.animate(frames, (8, 8), CAPTION, ALT, titles=[f"sweep {i}" for i in range(7)])
    markup = outputs[0]["text/html"]
    data = json.loads(re.search(r"var d = (\{.*\}), tries", markup)[1])
    assert data["titles"][6] == "sweep 6" and data["alt"] == ALT
    sheet = pixels(data["sheet"])[..., 0]
    for t in range(7):
        top, left = t // data["across"] * data["height"], t % data["across"] * data["width"]
        for i in range(3):
            found = sheet[top + 1 : top + 9, left + 1 + 9 * i : left + 9 + 9 * i]
            np.testing.assert_array_equal(found, 255 * (1 - frames[t, i].reshape(8, 8)))


def test_animation_is_small_and_separate(outputs):
    frames = (np.random.default_rng(0).random((100, 20, 64)) < 0.5).astype(np.float32)
    plotting.animate(frames, (8, 8), CAPTION, ALT)
    plotting.animate(frames, (8, 8), CAPTION, ALT)
    assert len(outputs[0]["text/html"]) < 60_000
    names = [re.search(r'<div id="([^"]+)"', bundle["text/html"])[1] for bundle in outputs]
    assert names[0] != names[1] and all(
        f'getElementById("{n}")' in b["text/html"] for n, b in zip(names, outputs, strict=True)
    )
    with pytest.raises(ValueError, match="2 titles for 100 frames"):
        plotting.animate(frames, (8, 8), CAPTION, ALT, titles=["a", "b"])


def luminance(colour: str) -> float:
    channels = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_family_colours():
    colours = plotting.FAMILY_COLOURS
    assert len(set(colours.values())) == len(colours)
    for colour in colours.values():
        assert 1.05 / (luminance(colour) + 0.05) > 2, "visible on white"
