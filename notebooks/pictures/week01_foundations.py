"""Week 1: the families of the course, the two divergences, the mixture as a graph, the two steps of EM."""

import numpy as np

from tools.pictures import GREY, Picture, pale
from utils.plotting import BLUE, FAMILY_COLOURS, VERMILLION

MIXTURE = FAMILY_COLOURS["mixture"]


def idea() -> Picture:
    """One distribution, many questions. Left: a stack of images, the data. An arrow, "fit", leads to the middle: a curve
    with two peaks over an axis of all images, the distribution p(x). From there five arrows lead to the right, to what
    one can do with it: draw a new image, complete one, repair one, detect one that does not belong, compress one."""
    p = Picture(8.2, 3.5)
    for i in range(4):
        p.box(0.75 + 0.1 * i, 1.95 - 0.1 * i, "", 0.9, 0.9, fill="white")
    digit = np.array([[0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0]])
    for row, column in np.argwhere(digit):
        x, y = 0.75 + 0.15 * column, 1.93 - 0.15 * row
        p.canvas.fill_between([x, x + 0.15], y - 0.15, y, color="black", linewidth=0, zorder=6)
    p.text(0.9, 0.85, "images")
    p.arrow((1.6, 1.75), (2.35, 1.75), "fit")
    grid = np.linspace(0, 2.3, 200)
    density = 1.25 * np.exp(-((grid - 0.7) ** 2) / 0.07) + 0.85 * np.exp(-((grid - 1.65) ** 2) / 0.06)
    p.canvas.fill_between(2.5 + grid, 1.2, 1.2 + density, color=pale(BLUE), linewidth=0, zorder=1)
    p.canvas.plot(2.5 + grid, 1.2 + density, color=BLUE, linewidth=2.5, zorder=3)
    p.canvas.plot([2.5, 4.8], [1.2, 1.2], color="black", linewidth=1.2, zorder=2)
    p.text(3.65, 0.9, "all images $x$", GREY)
    p.text(4.3, 2.45, "$p_\\theta(x)$", BLUE)
    for y, text in zip(
        [3.15, 2.45, 1.75, 1.05, 0.35],
        ["draw a new one", "complete one", "repair one", "detect a stranger", "compress one"],
        strict=True,
    ):
        p.arrow((4.9, 1.65), (5.75, y), colour=GREY)
        p.text(5.9, y, text, ha="left")
    return p


def families() -> Picture:
    """A table of the families of this course, in their colours: what p(x) is, how one draws from it, how one scores an image.
    Mixture, week 1: a sum over causes k of weight times p(x given k); draws at once; exact score. Boltzmann and
    energy-based, weeks 2 to 5: exp of minus E(x), divided by Z; draws by a chain; scores up to Z. VAE, weeks 6 and 7: an
    integral over z; draws at once; a bound. GAN, weeks 8 and 9: x is G(z); draws at once; no score. Autoregressive, weeks
    10 and 11: a product over pixels, each given those before; draws pixel by pixel; exact score. Flow, week 12: p(z)
    times a determinant; draws at once; exact score. Diffusion, weeks 13 and 14: it undoes noise; draws step by
    step; a bound."""
    p = Picture(8.2, 4.1)
    left, right = [0.12, 2.95, 5.25, 6.95], {"ha": "left", "size": 15}
    for x, head in zip(left, ["weeks, family", "$p(x)$", "drawing", "scoring"], strict=True):
        p.text(x, 3.83, head, GREY, **right)
    p.canvas.plot([0.1, 8.1], [3.6, 3.6], color=GREY, linewidth=1)
    rows = [
        ("1  mixture", "mixture", "$\\sum_k \\pi_k\\, p(x \\mid k)$", "at once", "exact"),
        ("2–5  energy", "Boltzmann machine", "$\\exp(-E(x))\\, /\\, Z$", "by a chain", "up to $Z$"),
        ("6–7  VAE", "VAE", "$\\int p(z)\\, p(x \\mid z)\\, dz$", "at once", "a bound"),
        ("8–9  GAN", "GAN", "implicit: $x = G(z)$", "at once", "none"),
        (
            "10–11  autoregressive",
            "autoregressive",
            "$\\prod_d\\, p(x_d \\mid x_{<d})$",
            "pixel by pixel",
            "exact",
        ),
        ("12  flow", "flow", "$p(z)\\, |\\det\\, \\partial z / \\partial x|$", "at once", "exact"),
        ("13–14  diffusion", "diffusion", "undoes noise", "step by step", "a bound"),
    ]
    for i, (name, family, *cells) in enumerate(rows):
        y = 3.27 - 0.48 * i
        p.text(left[0], y, name, FAMILY_COLOURS[family], weight="bold", **right)
        for x, cell in zip(left[1:], cells, strict=True):
            p.text(x, y, cell, **right)
    return p


def divergences() -> Picture:
    """Two panels with the same data, a grey density with two peaks, and the same candidate model, one narrow curve that
    stands in the gap between them. Left, KL(data ‖ model): two arrows point at the peaks, where there are data and no
    model; that is what it punishes. Right, KL(model ‖ data): one arrow points at the gap, where there is the model and
    no data; that is what it punishes."""
    p = Picture(8.2, 3.0)
    grid = np.linspace(0, 3.5, 300)
    data = 0.95 * (np.exp(-((grid - 0.75) ** 2) / 0.07) + np.exp(-((grid - 2.75) ** 2) / 0.07))
    model = 0.95 * np.exp(-((grid - 1.75) ** 2) / 0.07)
    for x, title, places, text, at in [
        (0.3, "KL(data ‖ model)", [0.75, 2.75], "data, but no model", 1.75),
        (4.4, "KL(model ‖ data)", [1.75], "model, but no data", 1.75),
    ]:
        p.canvas.fill_between(x + grid, 0.35, 0.35 + data, color="#CFCFCF", linewidth=0, zorder=1)
        p.canvas.plot(x + grid, 0.35 + model, color=BLUE, linewidth=2.5, zorder=3)
        p.canvas.plot([x, x + 3.5], [0.35, 0.35], color="black", linewidth=1.2, zorder=2)
        p.text(x + 1.75, 2.75, title)
        p.text(x + at, 2.2, text, VERMILLION)
        for place in places:
            p.arrow((x + at + 0.6 * (place - at), 2.0), (x + place, 1.38), colour=VERMILLION)
    p.text(0.62, 0.16, "data", GREY, size=14, ha="left")
    p.text(2.05, 0.16, "model", BLUE, size=14)
    p.text(4.72, 0.16, "data", GREY, size=14, ha="left")
    p.text(6.15, 0.16, "model", BLUE, size=14)
    return p


def mixture() -> Picture:
    """A mixture as a graph. An open node z, the hidden cause, drawn with the weights π. From it arrows lead to four shaded
    nodes, the pixels x₁, x₂, …, x_D; no arrow links two pixels. A downward arrow on the left says "draw: z first, then
    the pixels". A dashed upward arrow on the right says "infer: responsibilities r_k = p(z = k given x)"."""
    p = Picture(8.2, 2.6)
    z = p.node(4.1, 2.05, "$z$", colour=MIXTURE)
    pi = p.box(2.5, 2.05, "$\\pi$", 0.6, 0.5, GREY)
    p.arrow(pi, z, colour=GREY)
    for x, text in [(2.6, "$x_1$"), (3.6, "$x_2$"), (4.6, "$\\dots$"), (5.6, "$x_D$")]:
        p.arrow(z, p.node(x, 0.5, text, seen=True), colour=MIXTURE)
    p.arrow((1.5, 2.1), (1.5, 0.55), colour="black")
    p.text(0.75, 1.3, "draw:\n$z$ first,\nthen $x$")
    p.arrow((6.6, 0.55), (6.6, 2.1), colour=BLUE, dashed=True)
    p.text(7.42, 1.3, "infer:\n$r_k = $\n$p(z = k \\mid x)$", BLUE, size=15)
    return p


def em() -> Picture:
    """Three bars on a scale of nats; the height of each is log p(x), split into L below and KL(q ‖ p(z | x)) on top. First
    bar, any q: a large KL part. Second bar, after the E step, q = r: the same height, all of it L. Third bar, after the M
    step: L has risen by some amount, and a new KL part stands on top, so log p(x) has risen at least as much."""
    p = Picture(8.2, 3.3)
    p.arrow((0.45, 0.45), (0.45, 3.1), colour=GREY)
    p.text(0.2, 1.7, "nats", GREY, rotation=90)
    for x, low, high, title in [
        (1.5, 1.1, 1.9, "any $q$"),
        (4.1, 1.9, 1.9, "E step: $q = r$"),
        (6.7, 2.35, 2.8, "M step"),
    ]:
        p.canvas.fill_between([x - 0.5, x + 0.5], 0.5, low, color=pale(BLUE), linewidth=0)
        p.canvas.fill_between([x - 0.5, x + 0.5], low, high, color=pale(VERMILLION), linewidth=0)
        p.canvas.plot([x - 0.5, x + 0.5], [low, low], color=BLUE, linewidth=2.5)
        p.canvas.plot([x - 0.5, x + 0.5], [high, high], color="black", linewidth=2.5)
        p.text(x, (0.5 + low) / 2, "$\\mathcal{L}$", BLUE)
        if high > low:
            p.text(x, (low + high) / 2, "KL", VERMILLION)
        p.text(x, 0.22, title)
        p.text(x, high + 0.22, "$\\log p(x)$")
    p.canvas.plot([1.5, 7.2], [1.9, 1.9], ":", color=GREY, linewidth=1.5, zorder=0)
    p.arrow((2.2, 1.2), (3.4, 1.8), colour=GREY)
    p.arrow((4.8, 1.95), (6.0, 2.3), colour=GREY)
    return p
