"""Week 3: the restricted Boltzmann machine as a bipartite graph."""

from tools.pictures import GREY, Picture
from utils.plotting import BLUE


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
