"""Figures in the course's one style: labelled axes, a caption that says what to look for, a text alternative.

Every function shows its figure itself and returns None. Colours are Okabe and Ito's, which people with any
common form of colour blindness can tell apart; the same model family has the same colour all semester.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

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
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
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
    fig, ax = plt.subplots()
    for i, (name, (x, y)) in enumerate(curves.items()):
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if x.shape != y.shape or x.ndim != 1:
            raise ValueError(
                f"the curve {name!r} has x of shape {x.shape}, y of shape {y.shape}; (n,) expected"
            )
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
    if len(curves) > 1:
        ax.legend()
    show(fig, caption, alt)


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
