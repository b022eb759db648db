"""Glyphs: characters rendered from the fonts that Matplotlib ships, as small grey images. No download.

The same character in two fonts is a true pair, by which unpaired translation can be judged.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

FONTS = {  # name in this course: file name in Matplotlib's font folder
    f"{family} {face}".strip().lower(): f"{prefix}{suffix}.ttf"
    for family, prefix, suffixes in (
        ("sans", "DejaVuSans", ("", "-Bold", "-Oblique", "-BoldOblique")),
        ("mono", "DejaVuSansMono", ("", "-Bold", "-Oblique", "-BoldOblique")),
        ("serif", "DejaVuSerif", ("", "-Bold", "-Italic", "-BoldItalic")),
        ("stix", "STIXGeneral", ("", "Bol", "Italic", "BolIta")),
    )
    for suffix, face in zip(suffixes, ("", "bold", "slanted", "bold slanted"), strict=True)
}
UPRIGHT = tuple(font for font in FONTS if not font.endswith("slanted"))
ALPHANUMERIC = string.ascii_uppercase + string.ascii_lowercase + string.digits  # 62 characters
_DETAIL = 8  # drawn so many times as large, then averaged: hinting and versions of FreeType hardly matter


def _path(font: str) -> Path:
    import matplotlib

    if font not in FONTS:
        raise ValueError(f"there is no font {font!r}; choose one of {', '.join(FONTS)}")
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / FONTS[font]


@cache
def _face(font: str, points: int):
    from PIL import ImageFont

    return ImageFont.truetype(str(_path(font)), points, layout_engine=ImageFont.Layout.BASIC)


def render(characters: str, font: str, size: int = 16) -> np.ndarray:
    """One image for each character: float32 (N, size, size) from 0 (paper) to 1 (ink).

    All share one scale and one baseline, each in the middle of its width; what is too large is cut off.
    """
    from PIL import Image, ImageDraw

    side = size * _DETAIL
    face = _face(font, round(0.8 * side))  # so that ascenders and descenders fit
    images = np.zeros((len(characters), size, size), np.float32)
    for i, character in enumerate(characters):
        canvas = Image.new("L", (side, side))
        ImageDraw.Draw(canvas).text((side / 2, 0.75 * side), character, fill=255, font=face, anchor="ms")
        images[i] = (
            np.asarray(canvas, np.float32).reshape(size, _DETAIL, size, _DETAIL).mean(axis=(1, 3)) / 255
        )
    return images


@cache
def letters(*fonts: str, size: int = 16, apart: float = 0.02) -> str:
    """Letters and digits that all ``fonts`` have, no two alike, in an order without meaning.

    Latin, Greek, Cyrillic and Armenian. Two are alike where their images in any of the fonts differ by less
    than ``apart`` a pixel, in the mean (A is one, in three alphabets): the first is kept. What touches
    the border of the image, or has no ink, is left out.
    """
    from matplotlib import ft2font

    known = [set(ft2font.FT2Font(str(_path(font))).get_charmap()) for font in fonts]
    codes = [c for c in range(0x21, 0x590) if all(c in charmap for charmap in known)]
    characters = "".join(chr(c) for c in codes if unicodedata.category(chr(c)) in ("Lu", "Ll", "Lo", "Nd"))
    images = np.stack([render(characters, font, size) for font in fonts], axis=1)  # (N, fonts, size, size)
    border = np.stack([images[..., 0, :], images[..., -1, :], images[..., :, 0], images[..., :, -1]])
    fits = (border.max(axis=(0, 2, 3)) < 0.05) & (images.max(axis=(1, 2, 3)) > 0.5)
    kept: list[int] = []
    for i in np.flatnonzero(fits):
        if not kept or np.abs(images[kept] - images[i]).mean(axis=(2, 3)).min() >= apart:
            kept.append(int(i))
    order = np.argsort(
        np.random.PCG64(16).random_raw(len(kept))
    )  # a stream that NumPy promises never to change
    return "".join(characters[kept[i]] for i in order)


def unpaired(
    a: str = "sans bold", b: str = "sans", size: int = 16
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Glyphs of two fonts: float32 (N, size, size, 1) each.

    "train": characters in font a and other ones in font b, no pair among them. "validation" (57) and "test"
    (100): the same characters in both fonts, true pairs, none of them in "train".
    """
    characters = letters(a, b, size=size)
    first, second = (render(characters, font, size)[..., None] for font in (a, b))
    return {
        "train": (first[157::2], second[158::2]),
        "validation": (first[100:157], second[100:157]),
        "test": (first[:100], second[:100]),
    }


def alphabet(fonts: Sequence[str] = UPRIGHT, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """ALPHANUMERIC in each of the fonts: float32 (N, size, size, 1), and the place of each in it (N,)."""
    images = np.concatenate([render(ALPHANUMERIC, font, size) for font in fonts])
    return images[..., None], np.tile(np.arange(len(ALPHANUMERIC)), len(fonts))


def read(samples: np.ndarray, images: np.ndarray, names: np.ndarray, clear: float = 1.25) -> np.ndarray:
    """The name of the image that each sample is clearly nearest to, or −1. (N, …), (M, …), (M,) → (N,).

    Clearly: the nearest image of another name is at least ``clear`` times as far, by the sum of absolute
    differences. Of the glyphs of an upright font that is not among ``images`` this reads 77 %, and 99 % of
    these rightly.
    """
    from scipy.spatial.distance import cdist

    samples, images = (np.reshape(part, (len(part), -1)) for part in (samples, images))
    away = cdist(samples, images, "cityblock")
    name = names[np.argmin(away, axis=1)]
    other = np.where(name[:, None] == names, np.inf, away).min(axis=1)
    return np.where(other >= clear * away.min(axis=1), name, -1)


_EMOJI = {  # in the folder noto_emoji
    "blob_2017-05-18_32px.png": "ec3735bf7c83cf80ae8940cb6b3576ff0fabefeaf473655c82a1ec3ab598a40a",
    "redesign_2017-09-13_32px.png": "9a58e63ef900dc20c5bdfc89bc640ee0532a1815406e9564764d5f2d9cce767f",
    "index.csv": "85120d34ce2edf74e9238e726e97f3d62da4ebc1a9411eeff52edb511a5ed252",
}


def emoji() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Two designs of the Noto emoji, the blobs of 2017 and their redesign: float32 (N, 32, 32, 3) each.

    "train": 448 blobs and 449 redesigned emoji, no character twice. "validation", "test": 80 true pairs each.
    0 is white, as in the glyphs. Read from the folder noto_emoji in LGM_DATA_DIR: two sheets with 32 tiles a
    row, and index.csv with a column `split`. Raises utils.download.DataError. Source: Google, Noto Emoji
    (Apache 2.0).
    """
    import csv
    import io

    from PIL import Image

    from utils import download

    blobs, redesign, index = (
        download.read(download.Source(f"noto_emoji/{name}", sha256, ())) for name, sha256 in _EMOJI.items()
    )
    split = np.array([row["split"] for row in csv.DictReader(io.StringIO(index.decode()))])

    def tiles(png: bytes) -> np.ndarray:
        sheet = 1 - np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.float32) / 255
        rows = sheet.reshape(-1, 32, 32, 32, 3).swapaxes(1, 2)  # (rows, tiles in a row, 32, 32, 3)
        return rows.reshape(-1, 32, 32, 3)[: len(split)]

    a, b = tiles(blobs), tiles(redesign)
    pairs = np.flatnonzero(split == "test")
    return {
        "train": (a[split == "trainA"], b[split == "trainB"]),
        "validation": (a[pairs[::2]], b[pairs[::2]]),
        "test": (a[pairs[1::2]], b[pairs[1::2]]),
    }
