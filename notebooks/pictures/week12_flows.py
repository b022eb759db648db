"""Week 12: a flow in both directions, and the two directions of a coupling layer."""

import numpy as np

from tools.pictures import GREY, Picture, pale
from utils.plotting import FAMILY_COLOURS

PURPLE = FAMILY_COLOURS["flow"]


def flow() -> Picture:
    """Three small panels in a row. Left, noise z: a curve with one hump. Middle, the curve has a dent in its top. Right,
    data x: two humps. Boxes f1 and f2 stand between the panels. Arrows above lead from left to right: draw, apply each f.
    Arrows below lead from right to left: density, undo each f and add the logarithms of its determinant."""
    p = Picture(8.4, 3.2)
    z = np.linspace(-3, 3, 400)
    for centre, a in [(1.2, 0.0), (4.2, 0.45), (7.2, 1.3)]:
        axes = p.axes(centre - 0.95, 0.95, 1.9, 1.3)
        x, slope = z + a * np.tanh(2 * z), 1 + 2 * a / np.cosh(2 * z) ** 2
        axes.fill_between(x, np.exp(-(z**2) / 2) / slope, color=pale(PURPLE))
        axes.plot(x, np.exp(-(z**2) / 2) / slope, color=PURPLE)
        axes.set(xlim=(-4.2, 4.2), ylim=(0, 1.15))
        for side in ("top", "left", "right"):
            axes.spines[side].set_visible(False)
    for x, name in [(2.7, "1"), (5.7, "2")]:
        p.box(x, 1.55, f"$f_{name}$", 0.62, 0.62, PURPLE, pale(PURPLE))
    p.text(1.2, 0.72, "noise $z$", GREY, 15)
    p.text(7.2, 0.72, "data $x$", GREY, 15)
    p.arrow((1.2, 2.62), (7.2, 2.62))
    p.text(4.2, 2.88, "draw: apply each $f$", size=15)
    p.arrow((6.3, 0.62), (2.1, 0.62), colour=PURPLE)
    p.text(4.2, 0.3, "density: undo each $f$, add up $\\log |\\det|$", PURPLE, 15)
    return p


def coupling() -> Picture:
    """Two drawings of the same coupling layer. Left, from noise to data: z_a goes straight to x_a, and also into a network,
    from which s and m go to the other row, where z_b is multiplied by exp(s) and m is added, which gives x_b. Right, from
    data to noise: x_a goes straight to z_a and into the same network in the same direction; x_b has m subtracted and
    is multiplied by exp(−s), which gives z_b. In both the network is run forward."""
    p = Picture(8.3, 3.1)
    for left, start, end, rule, title in [
        (0.1, "z", "x", "$\\times e^{s} + m$", "drawing"),
        (4.3, "x", "z", "$-\\,m,\\ \\times e^{-s}$", "undoing"),
    ]:
        kept = p.node(left + 0.5, 2.1, f"${start}_a$", seen=start == "x")
        same = p.node(left + 3.5, 2.1, f"${end}_a$", seen=end == "x")
        moved = p.node(left + 0.5, 0.6, f"${start}_b$", seen=start == "x")
        done = p.node(left + 3.5, 0.6, f"${end}_b$", seen=end == "x")
        network = p.box(left + 2.0, 1.42, "network", 1.25, 0.5, PURPLE, pale(PURPLE), size=15)
        act = p.box(left + 2.0, 0.6, rule, 1.6, 0.5, size=15)
        p.arrow(kept, same)
        p.arrow((left + 2.0, 2.1), network, colour=PURPLE)
        p.arrow(network, act, colour=PURPLE)
        p.text(left + 2.42, 1.02, "$s, m$", PURPLE, 14)
        p.arrow(moved, act)
        p.arrow(act, done)
        p.text(left + 2.0, 2.8, title, GREY, 15)
    return p
