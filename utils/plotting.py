"""Figures in the course's one style: labelled axes, a caption that says what to look for, a text alternative.

Every function shows its figure itself and returns None. Colours are Okabe and Ito's, which people with any
common form of colour blindness can tell apart; the same model family has the same colour all semester.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from utils import paths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"

FAMILY_COLOURS = {
    "data": BLACK,
    "mixture": "#7F7F7F",
    "Boltzmann machine": BLUE,
    "energy-based": SKY,
    "VAE": ORANGE,
    "GAN": VERMILLION,
    "autoregressive": GREEN,
    "flow": PURPLE,
    "diffusion": "#8C6D00",
}
_LINES = ("-", "--", "-.", ":")
_MISSING = "#F6C27A"  # pixels that are NaN: not there


def use_style() -> None:
    """Apply utils/course.mplstyle (``utils.notebook.start`` does it)."""
    import matplotlib.pyplot as plt

    plt.style.use(paths.PACKAGE / "course.mplstyle")


class _Output:
    """What goes to the front end: HTML where it can be shown, else text."""

    def __init__(self, markup: str, text: str) -> None:
        self.markup, self.text = markup, text

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.markup, "text/plain": self.text}

    def __repr__(self) -> str:
        return self.text


def _display(markup: str, text: str) -> None:
    try:
        from IPython.display import display
    except ModuleNotFoundError:
        print(text)
    else:
        display(_Output(markup, text))


def _described(caption: str, alt: str) -> None:
    for name, text in (("caption", caption), ("alt", alt)):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(
                f"{name} is empty. Every figure needs a caption (what to look for) and an alt text (what is "
                "to be seen, for those who cannot see it)."
            )


def _figure_html(content: str, caption: str) -> str:
    return (
        f'<figure style="margin:0.5em 0">{content}'
        f'<figcaption style="max-width:46em;font-size:95%">{html.escape(caption)}</figcaption></figure>'
    )


def _img(png: bytes, alt: str, width: int) -> str:
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<img alt="{html.escape(alt, quote=True)}" width="{width}" style="max-width:100%;height:auto;'
        f'background:white" src="data:image/png;base64,{data}">'
    )


def show(fig: Figure, caption: str, alt: str) -> None:
    """Display a figure as an image with ``alt`` as its text alternative and ``caption`` below; close it.

    The output is HTML with the picture inside it, and as plain text the caption and the alternative.
    """
    import matplotlib.pyplot as plt

    _described(caption, alt)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=144, metadata={"Software": None})
    width = round(96 * fig.get_figwidth())
    plt.close(fig)
    _display(_figure_html(_img(buffer.getvalue(), alt, width), caption), f"[Figure] {caption}\n{alt}")


def _images(images: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(N, D) or (N, height, width) or a single image → float64 (N, height, width)."""
    array = np.asarray(images, dtype=np.float64)
    height, width = shape
    if array.size == 0 or array.size % (height * width) or array.shape[-1] not in (width, height * width):
        raise ValueError(
            f"images have shape {array.shape}, which is no batch of {height}×{width} images: "
            f"(N, {height * width}) or (N, {height}, {width}) expected"
        )
    return array.reshape(-1, height, width)


def _limits(array: np.ndarray, limits: tuple[float, float] | None) -> tuple[float, float]:
    """Grey scale: as given, else 0 to 1 where that holds all, 0 to 16 for grey levels, else the range."""
    if limits is not None:
        return limits
    finite = array[np.isfinite(array)]
    low, high = (finite.min(), finite.max()) if finite.size else (0, 1)
    if low >= 0:
        return (0, 1) if high <= 1 else (0, 16) if high <= 16 else (0, float(high))
    return (float(low), float(high))


def image_grid(
    images: np.ndarray,
    shape: tuple[int, int],
    caption: str,
    alt: str,
    columns: int = 10,
    titles: Sequence[str] | None = None,
    row_titles: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
) -> None:
    """Images in rows of ``columns``: 0 is white, the largest value black, a NaN (missing pixel) orange.

    ``images``: (N, D) or (N, height, width). ``titles``: one above each image (short). ``row_titles``: one
    left of each row. ``limits``: values shown white and black; by default 0 and 1, or 0 and 16 for grey
    levels.
    """
    import matplotlib.pyplot as plt

    _described(caption, alt)
    batch = _images(images, shape)
    n, height, width = batch.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    if titles is not None and len(titles) != n:
        raise ValueError(f"{len(titles)} titles for {n} images")
    if row_titles is not None and len(row_titles) != rows:
        raise ValueError(f"{len(row_titles)} row titles for {rows} rows")

    gap_x, gap_y = 0.12 * width, (0.42 if titles else 0.12) * height
    step_x, step_y = width + gap_x, height + gap_y
    low, high = _limits(batch, limits)
    cmap = plt.get_cmap("gray_r").with_extremes(bad=_MISSING)
    inches = min(0.85, 9.0 / columns)  # the width of one image
    left = 1.6 if row_titles else 0
    size = (left + inches * (columns * step_x / width), inches * rows * step_y / width)
    fig, ax = plt.subplots(figsize=size)
    for i, image in enumerate(batch):
        x, y = (i % columns) * step_x, (i // columns) * step_y
        ax.imshow(image, cmap=cmap, vmin=low, vmax=high, extent=(x, x + width, y + height, y))
        ax.add_patch(plt.Rectangle((x, y), width, height, fill=False, edgecolor="#BBBBBB", linewidth=0.8))
        if titles:
            ax.text(x + width / 2, y - 0.06 * height, titles[i], ha="center", va="bottom", fontsize=12)
    for row, title in enumerate(row_titles or ()):
        ax.text(-gap_x, row * step_y + height / 2, title, ha="right", va="center", fontsize=13)
    ax.set_xlim(-gap_x / 2, columns * step_x - gap_x / 2)
    ax.set_ylim(rows * step_y - gap_y + 0.1 * height, -(gap_y if titles else 0.1 * height))
    ax.set_axis_off()
    show(fig, caption, alt)


def learning_curves(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    xlabel: str,
    ylabel: str,
    caption: str,
    alt: str,
    xlog: bool = False,
    ylog: bool = False,
) -> None:
    """Lines ``{name: (x, y)}`` in one set of axes. Labels name the unit: "time (epochs)".

    A name that is a model family gets its colour. Lines also differ in their dashes.
    """
    import matplotlib.pyplot as plt

    _described(caption, alt)
    points = {
        name: tuple(np.asarray(values, dtype=np.float64) for values in curve)
        for name, curve in curves.items()
    }
    for name, (x, y) in points.items():
        if x.shape != y.shape or x.ndim != 1:
            raise ValueError(
                f"the curve {name!r} has x of shape {x.shape}, y of shape {y.shape}; (n,) expected"
            )
    fig, ax = plt.subplots()
    for i, (name, (x, y)) in enumerate(points.items()):
        ax.plot(
            x,
            y,
            _LINES[i % len(_LINES)],
            label=name,
            color=FAMILY_COLOURS.get(name),
            marker="o" if len(x) < 2 else None,
        )
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_xscale("log" if xlog else "linear")
    ax.set_yscale("log" if ylog else "linear")
    if len(curves) > 4:  # a long legend stands outside: inside it would cover a curve
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    elif len(curves) > 1:
        ax.legend()
    show(fig, caption, alt)


def history(
    losses: Mapping[str, Sequence[float]], ylabel: str, caption: str, alt: str, sign: float = 1.0
) -> None:
    """The learning curve of a Keras model by epoch: ``sign`` times loss and val_loss of its ``history``.

    The first twentieth of the epochs is left out: its steep start would hide the rest.
    """
    curves = {}
    for name, key in {"training part": "loss", "validation part": "val_loss"}.items():
        if key in losses:
            y, skipped = sign * np.asarray(losses[key]), len(losses[key]) // 20
            curves[name] = np.arange(skipped + 1, len(y) + 1), y[skipped:]
    learning_curves(curves, "time (epochs)", ylabel, caption, alt)


def filters(W: np.ndarray, shape: tuple[int, int], caption: str, alt: str, columns: int = 10) -> None:
    """Weights as images, one per column of ``W`` (D, H): blue negative, white zero, red positive.

    One colour scale for all, symmetric about zero.
    """
    import matplotlib.pyplot as plt

    _described(caption, alt)
    W = np.asarray(W, dtype=np.float64)
    if W.ndim != 2 or W.shape[0] != shape[0] * shape[1]:
        raise ValueError(f"W has shape {W.shape}; ({shape[0] * shape[1]}, H) expected, a column per unit")
    batch = _images(W.T, shape)
    n, height, width = batch.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    largest = float(np.abs(batch).max()) or 1.0
    inches = min(0.85, 9.0 / columns)
    step_x, step_y = 1.12 * width, 1.12 * height
    fig, ax = plt.subplots(figsize=(inches * columns * 1.12 + 1.3, max(inches * rows * 1.12, 1.6)))
    for i, image in enumerate(batch):
        x, y = (i % columns) * step_x, (i // columns) * step_y
        shown = ax.imshow(
            image, cmap="RdBu_r", vmin=-largest, vmax=largest, extent=(x, x + width, y + height, y)
        )
        ax.add_patch(plt.Rectangle((x, y), width, height, fill=False, edgecolor="#BBBBBB", linewidth=0.8))
    ax.set_xlim(-0.1 * width, columns * step_x)
    ax.set_ylim(rows * step_y, -0.1 * height)
    ax.set_axis_off()
    fig.colorbar(shown, ax=ax, label="weight (no unit)", fraction=0.05, pad=0.02)
    show(fig, caption, alt)


def density_2d(
    log_prob: Callable[[np.ndarray], np.ndarray],
    extent: tuple[float, float, float, float],
    samples: np.ndarray | None = None,
    *,
    caption: str,
    alt: str,
    resolution: int = 160,
    xlabel: str = "x₁ (no unit)",
    ylabel: str = "x₂ (no unit)",
) -> None:
    """A density in the plane as filled contours, and samples (N, 2) as dots on it.

    ``log_prob``: (M, 2) float32 → (M,) nats per point. ``extent``: (x from, x to, y from, y to).
    """
    import matplotlib.pyplot as plt

    _described(caption, alt)
    left, right, bottom, top = extent
    x, y = np.linspace(left, right, resolution), np.linspace(bottom, top, resolution)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)
    values = np.asarray(log_prob(points), dtype=np.float64)
    if values.shape != (len(points),):
        raise ValueError(f"log_prob returned shape {values.shape}; ({len(points)},) expected")
    density = np.exp(values).reshape(resolution, resolution)

    fig, ax = plt.subplots(figsize=(6.2, 5.0))
    shown = ax.contourf(x, y, density, levels=12, cmap="Blues")
    ax.contour(x, y, density, levels=shown.levels, colors="#33333366", linewidths=0.6)
    if samples is not None:
        dots = np.asarray(samples, dtype=np.float64)
        ax.plot(dots[:, 0], dots[:, 1], ".", color=VERMILLION, markersize=3, alpha=0.6, label="samples")
        ax.legend(loc="upper right", markerscale=4)
    ax.set(xlim=(left, right), ylim=(bottom, top), xlabel=xlabel, ylabel=ylabel, aspect="equal")
    ax.grid(False)
    fig.colorbar(shown, ax=ax, label="density (per unit area)")
    show(fig, caption, alt)


# --- Animations ----------------------------------------------------------------------------------

_GAP, _ABSENT = 254, 255  # palette entries beside 254 greys
_counter = itertools.count()


def animate(
    frames: np.ndarray,
    shape: tuple[int, int],
    caption: str,
    alt: str,
    fps: float = 8,
    columns: int = 10,
    titles: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
) -> None:
    """Chains as an animation with a play button and a slider: ``frames`` (T, N, D), N images at T times.

    A single chain may be (T, D). ``titles``: one for each time ("sweep 10"), by default "frame 1 of T".
    It does not start by itself, so that it distracts nobody. The output is one small piece of HTML without
    further files (all frames in one image of one pixel per pixel); where scripts do not run, three frames
    stand in for it.
    """
    _described(caption, alt)
    array = np.asarray(frames, dtype=np.float64)
    if array.ndim == 2:
        array = array[:, None]
    times, n = array.shape[:2]
    batch = _images(array, shape).reshape(times, n, *shape)
    if titles is not None and len(titles) != times:
        raise ValueError(f"{len(titles)} titles for {times} frames")
    names = list(titles) if titles is not None else [f"frame {i + 1} of {times}" for i in range(times)]

    pictures = np.stack([_palette_grid(images, columns, _limits(batch, limits)) for images in batch])
    height, width = pictures.shape[1:]
    across = max(1, min(times, round(math.sqrt(times * height / width))))  # a sheet about as wide as high
    zoom = max(1, min(10, 640 // width))
    stills = pictures[sorted({0, (times - 1) // 2, times - 1})]
    data = {
        "sheet": "data:image/png;base64," + base64.b64encode(_palette_png(_sheet(pictures, across))).decode(),
        "width": width,
        "height": height,
        "across": across,
        "zoom": zoom,
        "fps": fps,
        "titles": names,
        "alt": alt,
    }
    strip = _sheet(stills, 1 if width > height else len(stills))
    still = _img(_palette_png(strip.repeat(4, axis=0).repeat(4, axis=1)), alt, min(640, 8 * strip.shape[1]))
    text = json.dumps(data).replace("</", "<\\/")
    name = f"lgm-{hashlib.sha256(text.encode()).hexdigest()[:10]}-{next(_counter)}"
    script = _PLAYER.replace("NAME", name).replace("DATA", text)
    content = f'<div id="{name}">{still}</div><script>{script}</script>'
    _display(_figure_html(content, caption), f"[Animation of {times} frames] {caption}\n{alt}")


def _palette_grid(images: np.ndarray, columns: int, limits: tuple[float, float]) -> np.ndarray:
    """(N, height, width) → one picture of palette entries, images a pixel apart."""
    n, height, width = images.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    low, high = limits
    ink = np.clip((images - low) / (high - low or 1), 0, 1)
    entries = np.where(np.isfinite(images), np.round(253 * (1 - np.nan_to_num(ink))), _ABSENT)
    picture = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1), _GAP, np.uint8)
    for i, entry in enumerate(entries):
        y, x = 1 + (i // columns) * (height + 1), 1 + (i % columns) * (width + 1)
        picture[y : y + height, x : x + width] = entry
    return picture


def _sheet(pictures: np.ndarray, across: int) -> np.ndarray:
    """(T, height, width) → all of them in rows of ``across``."""
    times, height, width = pictures.shape
    rows = -(-times // across)
    sheet = np.full((rows * across, height, width), _GAP, np.uint8)
    sheet[:times] = pictures
    return sheet.reshape(rows, across, height, width).swapaxes(1, 2).reshape(rows * height, across * width)


def _palette_png(entries: np.ndarray) -> bytes:
    from PIL import Image

    used, packed = np.unique(entries, return_inverse=True)
    colours = [(v, v, v) for v in np.linspace(0, 255, 254).round().astype(int).tolist()]
    colours += [(0xD5, 0xD5, 0xD5), (0xF6, 0xC2, 0x7A)]  # gap, missing pixel
    image = Image.fromarray(packed.reshape(entries.shape).astype(np.uint8), mode="P")
    image.putpalette([channel for entry in used for channel in colours[entry]])
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


_PLAYER = """
(function () {
  var d = DATA, tries = 0;
  function make(tag, parent, attributes) {
    var element = document.createElement(tag);
    for (var key in attributes) { element.setAttribute(key, attributes[key]); }
    parent.appendChild(element);
    return element;
  }
  function build() {
    var box = document.getElementById("NAME");
    if (!box) { if (tries++ < 100) { setTimeout(build, 50); } return; }
    var sheet = new Image();
    sheet.onload = function () {
      box.textContent = "";
      var w = d.width * d.zoom, h = d.height * d.zoom, last = d.titles.length - 1, now = 0, timer = null;
      var canvas = make("canvas", box, {
        width: w, height: h, role: "img", "aria-label": d.alt, style: "max-width:100%;background:white"
      });
      var bar = make("div", box, {style: "display:flex;gap:0.8em;align-items:center;max-width:640px"});
      var button = make("button", bar, {type: "button", style: "min-width:5em;padding:0.3em"});
      var slider = make("input", bar, {
        type: "range", min: 0, max: last, value: 0, "aria-label": "time", style: "flex:1"
      });
      var title = make("span", bar, {style: "min-width:8em;font-size:95%"});
      var pen = canvas.getContext("2d");
      function draw() {
        pen.imageSmoothingEnabled = false;
        pen.drawImage(sheet, (now % d.across) * d.width, Math.floor(now / d.across) * d.height,
          d.width, d.height, 0, 0, w, h);
        slider.value = now;
        slider.setAttribute("aria-valuetext", d.titles[now]);
        title.textContent = d.titles[now];
      }
      function stop() { clearInterval(timer); timer = null; button.textContent = "Play"; }
      function step() { if (now >= last) { stop(); return; } now += 1; draw(); }
      button.onclick = function () {
        if (timer) { stop(); return; }
        if (now >= last) { now = 0; draw(); }
        timer = setInterval(step, 1000 / d.fps);
        button.textContent = "Pause";
      };
      slider.oninput = function () { stop(); now = Number(slider.value); draw(); };
      stop();
      draw();
    };
    sheet.src = d.sheet;
  }
  build();
})();
"""
