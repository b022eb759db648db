"""Pictures of the idea, from their drawings: `python -m tools.pictures`; `--check` finds what has drifted.

A week's drawings are the functions of notebooks/pictures/weekNN_topic.py. Each returns a `Picture`, and its
docstring is the text alternative:

    def flow() -> Picture:
        \"\"\"An arrow leads from a shaded node x through an encoder to an open node z.\"\"\"
        p = Picture(4, 1)
        x, z = p.node(0.5, 0.5, "$x$", seen=True), p.node(3.5, 0.5, "$z$")
        p.arrow(x, z, "encoder")
        return p

The line `{{picture: flow}}` in a Markdown cell of notebooks/weekNN_topic.py shows it (`tools/notebooks.py`).
The drawn file, notebooks/pictures/weekNN_topic/flow.png, is committed, and the notebook holds a copy. No two
versions of Matplotlib draw letters alike, so a file is drawn anew only where one can see the difference.
(Delete it to have it drawn in any case.)
"""

from __future__ import annotations

import argparse
import io
import math
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib import patches
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.typing import ColorType
from PIL import Image

from grading.files import write_whole
from tools.command import one_line
from tools.notebooks import DRAWINGS, PIXELS, ROOT, SourceError, alternatives, drawn
from utils import paths

FONT = 17  # points; on a phone a picture is less than half as wide
GREY = "#555555"
HEAD = 0.2  # inches, of an arrow with the little room before it
FEW = 64  # colours of a file: a picture has a handful and their blends
SEEN = 48  # a `difference`: another rasteriser gives up to 36, a changed letter 60 and more

STYLE: list[Any] = ["default", paths.PACKAGE / "course.mplstyle"]
STYLE += [{"mathtext.fontset": "cm", "text.hinting": "none", "figure.constrained_layout.use": False}]

Point = tuple[float, float]


def pale(colour: str) -> tuple[float, ...]:
    """A colour mixed with white, to fill a shape."""
    return tuple(0.25 * c + 0.75 for c in to_rgb(colour))


class Picture:
    """A drawing of `width` by `height` inches (96 pixels of a page each), its origin at the lower left.

    Places and sizes are in inches. Texts may hold mathematics between dollars. An arrow's ends are points, or
    shapes that were returned, at whose border it stops.
    """

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width, height), dpi=72)
        self.canvas = self.figure.add_axes((0, 0, 1, 1))
        self.canvas.set(xlim=(0, width), ylim=(0, height))
        self.canvas.set_axis_off()

    def text(self, x: float, y: float, text: str, colour: str = "black", size: float = FONT, **more) -> None:
        """Text with its centre at (x, y); `ha="left"` and the like as Matplotlib's."""
        options: dict[str, Any] = {"ha": "center", "va": "center", "linespacing": 1.15} | more
        self.canvas.text(x, y, text, color=colour, fontsize=size, zorder=5, **options)

    def node(
        self,
        x: float,
        y: float,
        text: str = "",
        r: float = 0.34,
        colour: str = "black",
        seen: bool = False,
        **more,
    ) -> patches.Patch:
        """A round node, a random variable: shaded when it is seen, open when it is latent."""
        fill = "#D9D9D9" if seen else "white"
        return self._shape(patches.Circle((x, y), r), (x, y), text, colour, fill, **more)

    def box(
        self,
        x: float,
        y: float,
        text: str,
        w: float,
        h: float = 0.8,
        colour: str = "black",
        fill: ColorType = "white",
        **more,
    ) -> patches.Patch:
        """A box with round corners, a computation or a quantity."""
        corner = (x - w / 2, y - h / 2)
        shape = patches.FancyBboxPatch(corner, w, h, boxstyle="round,pad=0,rounding_size=0.08")
        return self._shape(shape, (x, y), text, colour, fill, **more)

    def network(
        self,
        x: float,
        y: float,
        text: str,
        w: float,
        left: float,
        right: float,
        colour: str = "black",
        fill: ColorType = "white",
    ) -> patches.Patch:
        """A network as a trapezoid, `left` and `right` high: an encoder narrows, a decoder widens."""
        corners = [(-w / 2, -left / 2), (-w / 2, left / 2), (w / 2, right / 2), (w / 2, -right / 2)]
        shape = patches.Polygon([(x + dx, y + dy) for dx, dy in corners], joinstyle="round")
        return self._shape(shape, (x, y), text, colour, fill)

    def _shape(
        self,
        shape: patches.Patch,
        centre: Point,
        text: str,
        colour: str,
        fill: ColorType,
        size: float = FONT,
        **more,
    ) -> patches.Patch:
        shape.set(**{"edgecolor": colour, "facecolor": fill, "linewidth": 2, "zorder": 3} | more)
        shape.centre = centre  # type: ignore[attr-defined]
        self.canvas.add_patch(shape)
        if text:
            self.text(*centre, text, size=size)
        return shape

    def arrow(
        self,
        start: patches.Patch | Point,
        end: patches.Patch | Point,
        text: str = "",
        colour: str = "black",
        heads: int = 1,
        dashed: bool = False,
        bend: float = 0,
        shift: Point = (0, 0),
        above: float = 0.2,
        width: float = 2,
    ) -> None:
        """An arrow from border to border, with a head at its end, at both ends (`heads=2`) or at none (0).

        bend: 0 is straight, positive curves to the right of its direction. shift: moves it, so that two
        run side by side. above: the distance of the text from the middle, to the left of the direction.
        """
        a, b = np.array([getattr(shape, "centre", shape) for shape in (start, end)]) + np.array(shift)
        line = patches.FancyArrowPatch(
            tuple(a),
            tuple(b),
            arrowstyle="-",
            connectionstyle=f"arc3,rad={bend}",
            patchA=start if isinstance(start, patches.Patch) else None,
            patchB=end if isinstance(end, patches.Patch) else None,
            shrinkA=72 * HEAD if heads > 1 else 0,
            shrinkB=72 * HEAD if heads else 0,
            color=colour,
            linewidth=width,
            linestyle=(0, (3, 1.6)) if dashed else "-",
            capstyle="butt" if heads else "round",
            zorder=2,
        )
        self.canvas.add_patch(line)
        path = np.asarray(line.get_path().vertices)
        for foot, before in [(path[-1], path[-2]), (path[0], path[1])][:heads]:
            ahead = (foot - before) / np.hypot(*(foot - before)) * (HEAD - 0.04)
            aside = 0.45 * np.array([-ahead[1], ahead[0]])
            self.canvas.add_patch(
                patches.Polygon([foot + ahead, foot + aside, foot - aside], color=colour, linewidth=0)
            )
        if text:
            left = np.array([a[1] - b[1], b[0] - a[0]])
            place = (a + b) / 2 + above * left / np.hypot(*left) - bend / 2 * left
            self.text(place[0], place[1], text, colour)

    def axes(self, x: float, y: float, w: float, h: float) -> Axes:
        """Axes for a curve, w by h inches, their lower left corner at (x, y); no ticks."""
        width, height = self.figure.get_size_inches()
        axes = self.figure.add_axes((x / width, y / height, w / width, h / height), facecolor="none")
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        return axes

    def png(self) -> bytes:
        """The drawing as a file with few colours."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=96 * PIXELS, facecolor="white")
        image = Image.open(buffer).convert("RGB").quantize(FEW, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", optimize=True)
        return buffer.getvalue()


def draw(path: Path) -> Iterator[tuple[str, bytes]]:
    """Each picture of a week's drawings: its name and the file that it gives today."""
    with matplotlib.style.context(STYLE):
        functions = runpy.run_path(str(path))
        for name in alternatives(path):
            picture = functions[name]()
            if not isinstance(picture, Picture):
                raise SourceError(f"{path}: {name}() returns no Picture")
            yield name, picture.png()


def difference(one: bytes, other: bytes) -> float:
    """How far two files differ where they differ most, 0 to 255 in a small square; large ones count more."""
    a, b = (Image.open(io.BytesIO(data)).convert("RGB") for data in (one, other))
    if a.size != b.size:
        return math.inf

    def most(square: int) -> float:
        return float(np.abs(np.subtract(*(np.asarray(i.reduce(square), float) for i in (a, b)))).max())

    return max(most(8), 4 * most(32))  # edges that move by less than a pixel average out


def stale(root: Path = ROOT) -> Iterator[tuple[Path, bytes | None]]:
    """The files that are not what their drawings give, and what they should hold (None: no drawing)."""
    files = set((root / DRAWINGS).glob("*/*.png"))
    for path in sorted((root / DRAWINGS).glob("*.py")):
        for name, data in draw(path):
            target = drawn(path, name)
            files.discard(target)
            if not target.is_file() or difference(target.read_bytes(), data) > SEEN:
                yield target, data
    yield from ((path, None) for path in sorted(files))


@one_line(SourceError)
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.pictures", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; name what has drifted")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    root, found = options.root.resolve(), 0
    for path, data in stale(root):
        name = path.relative_to(root).as_posix()
        found += 1
        if options.check:
            state = "has no drawing" if data is None else "is not what its drawing gives"
            print(f"{name} {state}: run `make notebooks`")
        elif data is None:
            path.unlink()
            print(f"removed {name}, which has no drawing")
        else:
            write_whole(path, data)
            print(f"drew {name}")
    if not found:
        print("all pictures are what their drawings give")
    return 1 if options.check and found else 0


if __name__ == "__main__":
    from tools import pictures  # the module that drawings import, not this copy of it

    sys.exit(pictures.main())
