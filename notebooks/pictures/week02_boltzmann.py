"""Week 2: one energy with three uses, and the Boltzmann machine as a graph."""

import numpy as np

from tools.pictures import GREY, Picture
from utils.plotting import BLUE, FAMILY_COLOURS, VERMILLION

MACHINE = FAMILY_COLOURS["Boltzmann machine"]


def _height(x):
    """Inches above the ground: two deep valleys, a shallow one between them."""
    valleys = [(0.55, 0.3, 1.0), (1.3, 0.22, 0.5), (2.0, 0.28, 0.85)]
    return 0.85 + 1.5 * (
        1.1 - sum(depth * np.exp(-(((x - place) / width) ** 2)) for place, width, depth in valleys)
    )


def uses() -> Picture:
    """Three panels with the same curve, an energy over states with two deep valleys and a shallow one between them. Left,
    a memory: a ball on a slope, a damaged pattern, rolls down into the valley below it; the deep valleys are the stored
    patterns, the shallow one was stored by nobody. Middle, heated: several balls, most of them on the floors of the deep
    valleys, and an arrow leads one of them over a hill into the next valley; the share of balls in a state is its
    probability. Right, learned: arrows at the training data, in the deep valleys, push the curve down, arrows at the model's
    own samples, in all three valleys, push it up."""
    p = Picture(8.4, 3.3)
    x = np.linspace(0.02, 2.48, 200)
    lefts = [0.1, 2.95, 5.8]
    for left, title in zip(
        lefts, ["downhill: a memory", "heated: a distribution", "learned: a model"], strict=True
    ):
        p.canvas.plot(left + x, _height(x), color=MACHINE, linewidth=3)
        p.text(left + 1.25, 3.05, title, size=15)

    def ball(left, place, colour, lift=0.13, aside=0.0):
        p.canvas.plot(left + place + aside, _height(place) + lift, "o", color=colour, markersize=11, zorder=4)

    ball(lefts[0], 0.8, "#AAAAAA", aside=-0.1, lift=0.05)
    ball(lefts[0], 0.55, VERMILLION)
    p.arrow((0.74, 1.72), (0.68, 1.35), colour=VERMILLION)
    for place, text in [(0.55, "$\\xi^1$"), (1.3, "?"), (2.0, "$\\xi^2$")]:
        p.text(lefts[0] + place, _height(place) - 0.28, text, GREY if text == "?" else "black")
    for place, lift, aside in [
        (0.55, 0.13, -0.09),
        (0.55, 0.13, 0.09),
        (0.55, 0.3, 0.0),
        (0.86, 0.05, -0.1),
        (1.3, 0.13, 0.0),
        (2.0, 0.13, -0.09),
        (2.0, 0.13, 0.09),
    ]:
        ball(lefts[1], place, VERMILLION, lift, aside)
    p.arrow((3.76, 2.2), (4.2, 2.15), colour=VERMILLION, bend=-0.55)
    for place in (0.55, 2.0):
        p.arrow(
            (lefts[2] + place, _height(place) + 0.95), (lefts[2] + place, _height(place) + 0.2), colour=BLUE
        )
    for place in (0.55, 1.3, 2.0):  # the model's samples lie in all valleys
        p.arrow(
            (lefts[2] + place, _height(place) - 0.48),
            (lefts[2] + place, _height(place) - 0.1),
            colour=VERMILLION,
        )
    for left, text in zip(
        lefts, ["stored patterns", "share: $e^{-E/T} / Z$", "data down, samples up"], strict=True
    ):
        p.text(left + 1.25, 0.3, text, size=15)
    return p


def machine() -> Picture:
    """Two graphs. Left, a Boltzmann machine without hidden units: five shaded nodes x on a circle, seen, and each of them
    joined with each other one by a line; one line is marked W_12, and next to a node stands its bias b. No node is joined
    with itself. Right, a machine with hidden units: three shaded nodes v and two open nodes h, again all joined with all;
    the open ones are not seen. The lines between v and h are thick: next week's restricted machine keeps only those."""
    p = Picture(8.2, 3.7)
    for centre, names in [
        (1.9, ["x_1", "x_2", "x_3", "x_4", "x_5"]),
        (6.0, ["h_1", "h_2", "v_1", "v_2", "v_3"]),
    ]:
        angle = np.pi / 2 + np.pi / 5 * (names[0] == "h_1") - 2 * np.pi * np.arange(5) / 5
        nodes = [
            p.node(
                centre + 1.2 * np.cos(a),
                1.95 + 1.2 * np.sin(a),
                f"${name}$",
                colour=MACHINE,
                seen=name[0] != "h",
            )
            for a, name in zip(angle, names, strict=True)
        ]
        for i, one in enumerate(nodes):
            for other in nodes[i + 1 :]:
                both = {names[nodes.index(one)][0], names[nodes.index(other)][0]} == {"h", "v"}
                p.arrow(one, other, heads=0, colour=BLUE if both else GREY, width=2.5 if both else 1.5)
    p.text(2.85, 3.0, "$W_{12}$")
    p.text(0.35, 2.75, "$b_5$")
    p.text(1.9, 0.22, "all units are seen")
    p.text(6.0, 0.22, "two units are hidden")
    return p
