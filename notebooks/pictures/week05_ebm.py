"""Week 5: an energy landscape with Langevin steps, how training moves it, NCE's classifier, edges of a cube."""

import numpy as np

from tools.pictures import GREY, Picture, pale
from utils.plotting import BLUE, FAMILY_COLOURS, VERMILLION

EBM = FAMILY_COLOURS["energy-based"]
CENTRES, SHARES = np.array([[-1.15, -0.35], [1.15, 0.45]]), np.array([0.5, 0.5])


def _f(x: np.ndarray) -> np.ndarray:
    """x: (..., 2) → log of two round hills, up to a constant."""
    return np.log(np.exp(-((x[..., None, :] - CENTRES) ** 2).sum(axis=-1) / 0.7) @ SHARES)


def _score(x: np.ndarray) -> np.ndarray:
    r = SHARES * np.exp(-((x[..., None, :] - CENTRES) ** 2).sum(axis=-1) / 0.7)
    r = r / r.sum(axis=-1, keepdims=True)
    return (r @ CENTRES - x) / 0.35


def landscape() -> Picture:
    """Two panels. Left, sampling: contour lines of an energy in the plane with two valleys. Small arrows, the score, point
    downhill into the nearer valley. A zigzag path of Langevin steps starts at the edge, goes down into the left valley and
    wanders about in it; it does not reach the right one. Right, training: an energy as a curve over x. At the data, dots on
    the axis, arrows push the curve down; at samples of the model, crosses that lie in a valley without data, arrows push
    it up. A dashed curve shows the energy after the step."""
    p = Picture(8.2, 3.9)
    p.text(2.05, 3.68, "sampling: downhill, with noise")
    ax = p.axes(0.15, 0.2, 3.8, 3.2)
    across, up = np.linspace(-2.6, 2.6, 160), np.linspace(-2.1, 2.1, 130)
    plane = np.stack(np.meshgrid(across, up), axis=-1)
    ax.contourf(across, up, -_f(plane), levels=9, cmap="Greys", alpha=0.35)
    ax.contour(across, up, -_f(plane), levels=9, colors="#999999", linewidths=0.7)
    places = np.stack(np.meshgrid(np.linspace(-2.2, 2.2, 8), np.linspace(-1.7, 1.7, 6)), axis=-1).reshape(
        -1, 2
    )
    ax.quiver(*places.T, *_score(places).T, color=EBM, scale=75, width=0.007, headwidth=4.5, zorder=3)
    draw, path, step = np.random.default_rng(11), [np.array([-2.1, 1.75])], 0.06
    for _ in range(45):
        x = path[-1]
        path.append(x + step / 2 * _score(x) + np.sqrt(step) * draw.normal(size=2))
    ax.plot(*np.array(path).T, "-", color=VERMILLION, linewidth=1.6, zorder=4)
    ax.plot(*path[0], "o", color=VERMILLION, markersize=10, zorder=5)
    ax.set(xlim=(-2.6, 2.6), ylim=(-2.1, 2.1))

    p.text(6.2, 3.68, "training: data minus model")
    ax = p.axes(4.3, 0.55, 3.75, 2.85)
    grid = np.linspace(0, 10, 400)

    def bump(centre, width):
        return np.exp(-((grid - centre) ** 2) / (2 * width**2))

    before = 2.3 - 0.75 * bump(2.6, 0.9) - 1.4 * bump(7.3, 0.9) + 0.03 * (grid - 5) ** 2
    after = before - 0.55 * bump(2.6, 0.8) + 0.55 * bump(7.3, 0.8)
    ax.plot(grid, before, color=EBM, linewidth=3)
    ax.plot(grid, after, color=EBM, linewidth=2, linestyle=(0, (3, 1.6)))
    data, samples = [2.0, 2.4, 2.75, 3.2], [6.8, 7.1, 7.45, 7.9]
    ax.plot(data, [0.2] * 4, "o", color="black", markersize=9, clip_on=False)
    ax.plot(samples, [0.2] * 4, "x", color=VERMILLION, markersize=9, markeredgewidth=2.5, clip_on=False)
    for x, way, colour in [(2.6, -0.5, "black"), (7.3, 0.5, VERMILLION)]:
        y = float(np.interp(x, grid, before))
        ax.annotate(
            "",
            (x, y + way),
            (x, y),
            arrowprops={"color": colour, "width": 2, "headwidth": 9, "headlength": 8},
        )
    ax.text(2.6, 2.75, "down at\nthe data", fontsize=15, ha="center", va="bottom")
    ax.text(7.3, 2.75, "up at the\nsamples", fontsize=15, ha="center", va="bottom", color=VERMILLION)
    ax.set(xlim=(0, 10), ylim=(0, 3.9))
    p.text(6.2, 0.3, "$x$")
    p.text(4.5, 3.15, "$E$", EBM)
    return p


def classifier() -> Picture:
    """Noise-contrastive estimation in one dimension. Above, the density p of the data, with two peaks, and the known
    density q of the noise, broad, over the same axis; dots are data, crosses are noise. Below, the probability that a point
    is from the data, p over p plus q: high under the peaks, low elsewhere. Where p equals q it is one half. A line says
    that the logit is f(x) + c − log q(x): a model f that is off by a constant would shift the whole curve, so c is
    learned."""
    p = Picture(8.2, 3.7)
    grid = np.linspace(-4, 4, 500)

    def normal(x, m, s):
        return np.exp(-((x - m) ** 2) / (2 * s**2)) / s

    data, noise = 0.6 * normal(grid, -1.2, 0.45) + 0.4 * normal(grid, 1.4, 0.5), normal(grid, 0, 1.9)
    draw = np.random.default_rng(1)
    ax = p.axes(0.3, 1.95, 5.2, 1.6)
    ax.fill_between(grid, data, color=pale(BLUE), linewidth=0)
    ax.plot(grid, data, color=BLUE, linewidth=2.5)
    ax.plot(grid, noise, "--", color=VERMILLION, linewidth=2.5)
    ax.plot(
        np.r_[draw.normal(-1.2, 0.45, 9), draw.normal(1.4, 0.5, 6)],
        np.full(15, -0.09),
        "o",
        color=BLUE,
        markersize=6,
    )
    ax.plot(draw.normal(0, 1.9, 15).clip(-3.8, 3.8), np.full(15, -0.22), "x", color=VERMILLION, markersize=6)
    ax.set(xlim=(-4, 4), ylim=(-0.32, 1.45))
    ax = p.axes(0.3, 0.35, 5.2, 1.35)
    ax.plot(grid, data / (data + noise), color=EBM, linewidth=3)
    ax.axhline(0.5, color="#999999", linestyle=":", linewidth=1.5)
    ax.set(xlim=(-4, 4), ylim=(0, 1))
    p.text(5.65, 3.1, "data $p = e^{f + c}$", BLUE, ha="left")
    p.text(5.65, 2.5, "noise $q$, known", VERMILLION, ha="left")
    p.text(5.65, 1.35, "$P(\\mathrm{data} \\mid x) = \\dfrac{p}{p + q}$", EBM, ha="left")
    p.text(5.65, 0.65, "$= \\sigma(f + c - \\log q)$", EBM, ha="left")
    p.text(2.9, 0.15, "$x$", size=15)
    p.text(0.16, 0.35, "0", GREY, size=13)
    p.text(0.16, 1.7, "1", GREY, size=13)
    return p


def cube() -> Picture:
    """A cube whose corners are the eight images of three pixels. Left: from one corner x three edges lead to the images
    that differ in one pixel, marked; the conditionals, on which pseudo-likelihood and ratio matching rest, compare x with
    these three. Right: two opposite corners hold all the data, 90 % and 10 %. Each path between
    them passes corners without data, so the ratio of the two weights is not seen."""
    p = Picture(8.2, 3.3)
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])

    def at(corner, left):
        i, j, k = corner
        return (left + 1.7 * i + 0.75 * k, 0.55 + 1.45 * j + 0.6 * k)

    for left, title in [(0.5, "what the conditionals see"), (4.9, "what they do not see")]:
        p.text(left + 1.25, 3.08, title)
        for a in corners:
            for i in range(3):
                if not a[i]:
                    b = a.copy()
                    b[i] = 1
                    p.arrow(at(a, left), at(b, left), heads=0, colour="#BBBBBB", width=2)
    x = (0, 0, 0)
    for b, text in [
        ((1, 0, 0), "$x^{\\neg 1}$"),
        ((0, 1, 0), "$x^{\\neg 2}$"),
        ((0, 0, 1), "$x^{\\neg 3}$"),
    ]:
        p.arrow(at(x, 0.5), at(b, 0.5), heads=0, colour=EBM, width=4)
        p.node(*at(b, 0.5), text, r=0.3, colour=EBM, size=13)
    p.node(*at(x, 0.5), "$x$", r=0.3, seen=True)
    for b in [(1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1)]:
        p.node(*at(b, 0.5), r=0.1, colour=GREY)
    for b in corners:
        if 0 < b.sum() < 3:
            p.node(*at(b, 4.9), r=0.1, colour=GREY)
    p.node(*at((0, 0, 0), 4.9), "90 %", r=0.42, seen=True, size=13)
    p.node(*at((1, 1, 1), 4.9), "10 %", r=0.32, seen=True, size=12)
    return p
