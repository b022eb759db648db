"""Week 3: the restricted Boltzmann machine as a graph, the two phases of learning, annealed importance sampling."""

import numpy as np

from tools.pictures import GREY, Picture
from utils.plotting import BLUE, VERMILLION


def rbm() -> Picture:
    """A restricted Boltzmann machine as a graph with two rows: three hidden units h above, four shaded visible units v
    below. Each hidden unit is joined with each visible unit by a line, a weight of W; no line joins units of the same
    row. A step of block Gibbs sampling draws the whole hidden row given v, then the whole visible row given h."""
    p = Picture(7.5, 3)
    hidden = [p.node(x, 2.4, f"$h_{j}$", colour=BLUE) for j, x in enumerate([1.5, 2.7, 3.9], 1)]
    visible = [
        p.node(x, 0.6, f"$v_{i}$", colour=BLUE, seen=True) for i, x in enumerate([0.9, 2.1, 3.3, 4.5], 1)
    ]
    for h in hidden:
        for v in visible:
            p.arrow(h, v, heads=0, colour=GREY, width=1.5)
    p.text(4.75, 1.55, "$W$")
    p.arrow((6.3, 0.75), (6.3, 2.25), "$p(h \\mid v)$", bend=-0.4, above=0.48)
    p.arrow((6.3, 2.25), (6.3, 0.75), "$p(v \\mid h)$", bend=-0.4, above=0.48)
    return p


def phases() -> Picture:
    """A curve, the free energy over all images, with three valleys. Black dots, training images, lie in the first two
    valleys; black arrows there point down: the positive phase lowers the curve at the data. Red squares lie close
    beside the training images: chains of contrastive divergence, one step from the data, with thin red arrows that point
    up. Blue triangles, persistent chains, lie in the first valley and in the third, where there is no data; blue arrows
    below them point up: the negative phase raises the curve there, and only chains that have travelled find the third
    valley."""
    p = Picture(8.5, 3.7)
    axes = p.axes(0.6, 0.75, 7.3, 2.6)
    x = np.linspace(0, 10, 400)

    def free(x):
        valleys = [(1.9, 0.75, 1.5), (4.6, 0.75, 1.4), (8.1, 0.8, 1.45)]
        return 1.9 - sum(depth * np.exp(-((x - m) ** 2) / (2 * s**2)) for m, s, depth in valleys)

    axes.plot(x, free(x), color=GREY, linewidth=2.5)
    axes.set(xlim=(0, 10), ylim=(-0.55, 2.45))
    axes.spines[["top", "right"]].set_visible(False)
    for points, colour, marker, lift in [
        ([1.75, 2.0, 4.5, 4.8], "black", "o", 0.1),
        ([1.45, 2.35, 4.15, 5.1], VERMILLION, "s", 0.12),
        ([1.1, 7.75, 8.05, 8.4], BLUE, "^", 0.12),
    ]:
        axes.plot(points, free(np.array(points)) + lift, marker, color=colour, markersize=9, zorder=5)
    for place in (1.88, 4.65):
        axes.annotate(
            "",
            (place, free(place) - 0.75),
            (place, free(place) - 0.08),
            arrowprops={"arrowstyle": "-|>", "color": "black", "lw": 2.5, "mutation_scale": 22},
        )
    axes.annotate(
        "",
        (8.08, free(8.08) - 0.06),
        (8.08, free(8.08) - 0.75),
        arrowprops={"arrowstyle": "-|>", "color": BLUE, "lw": 2.5, "mutation_scale": 22},
    )
    for place in (0.92, 1.3, 2.5, 4.02, 5.24):  # chains at the data raise the curve there, too
        axes.annotate(
            "",
            (place, free(place) - 0.06),
            (place, free(place) - 0.45),
            arrowprops={
                "arrowstyle": "-|>",
                "color": BLUE if place == 0.92 else VERMILLION,
                "lw": 1.5,
                "mutation_scale": 14,
            },
        )
    p.text(0.3, 2.05, "free energy $F(v)$", size=15, rotation=90)
    p.text(4.25, 0.42, "all images $v$", size=15)
    p.text(2.95, 3.3, "data: lowered", "black", 16)
    p.text(2.95, 2.95, "CD chains near it: raised", VERMILLION, 16)
    p.text(6.5, 3.3, "persistent chains:", BLUE, 16)
    p.text(6.5, 2.95, "raised, also far away", BLUE, 16)
    return p


def ais() -> Picture:
    """Four small curves in a row, distributions at rising inverse temperature beta: one broad hill at beta 0, whose Z is
    known; then two hills that grow apart; two narrow peaks at beta 1, the model. Red arrows above lead from each to the
    next: the walk of AIS, which starts at exact samples of the first. Blue arrows below lead back: the reverse walk, which
    starts at samples of the model. Under them a line, the scale of log Z: the mean of log w of AIS lies on the left, the log
    of its mean weight nearer to the true log Z, which is a black tick; on its right minus the same two of the reverse walk."""
    p = Picture(8.5, 4.3)
    x = np.linspace(-3, 3, 200)
    curves = [(0.0, 1.2), (0.8, 0.75), (1.3, 0.48), (1.6, 0.28)]
    for i, (m, s) in enumerate(curves):
        axes = p.axes(0.25 + 2.15 * i, 2.45, 1.5, 1.15)
        y = np.exp(-((x - m) ** 2) / (2 * s**2)) / s + 0.7 * np.exp(-((x + m) ** 2) / (2 * s**2)) / s
        axes.fill_between(x, y, color=GREY, alpha=0.3)
        axes.plot(x, y, color=GREY)
        axes.set(ylim=(0, 1.15 * y.max()))
        axes.spines[["top", "right", "left"]].set_visible(False)
    for i in range(3):
        left, right = 1.5 + 2.15 * i, 2.6 + 2.15 * i
        p.arrow((left, 3.6), (right, 3.6), colour=VERMILLION, bend=-0.25)
        p.arrow((right, 2.3), (left, 2.3), colour=BLUE, bend=-0.25)
    for place, text in [(1.0, "$p_0$, $Z_0$ known"), (7.45, "$p_K$, the model")]:
        p.text(place, 1.95, text, size=15)
    p.text(4.2, 4.08, "AIS: weigh, then a Gibbs step", VERMILLION, 16)
    p.text(4.2, 1.72, "reverse walk", BLUE, 16)
    p.arrow((0.5, 0.95), (8.2, 0.95), colour=GREY)
    p.text(4.25, 0.42, "$\\log Z$", size=17)
    p.text(1.55, 1.25, "on average, plus $\\log Z_0$:", GREY, 13)
    p.arrow((4.25, 0.78), (4.25, 1.12), heads=0, width=3)
    for place, colour in [(1.5, VERMILLION), (3.55, VERMILLION), (4.95, BLUE), (7.0, BLUE)]:
        p.canvas.plot([place], [0.95], "o", color=colour, markersize=11, zorder=6)
    for place, colour, text in [
        (1.5, VERMILLION, "mean of $\\log w$"),
        (3.0, VERMILLION, "$\\log$ of the\nmean of $w$"),
        (5.5, BLUE, "$-\\log$ of the\nmean of $w$"),
        (7.1, BLUE, "$-$ mean of $\\log w$"),
    ]:
        p.text(place, 0.5 if "the" in text else 0.6, text, colour, 13)
    return p
