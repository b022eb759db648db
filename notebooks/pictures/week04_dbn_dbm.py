"""Week 4: DBN and DBM as graphs, mean field as messages up and down."""

from tools.pictures import GREY, Picture, pale
from utils.plotting import BLUE, FAMILY_COLOURS, VERMILLION

BM = FAMILY_COLOURS["Boltzmann machine"]
LAYERS = ((0.55, 4, "v"), (1.8, 3, "h_1"), (3.05, 3, "h_2"))  # height, nodes, name


def _layers(p: Picture, x: float, name: str) -> list[list]:
    """Three rows of nodes around x, pixels below; names at the left."""
    rows = []
    for y, n, label in LAYERS:
        places = [x + 0.85 * (i - (n - 1) / 2) for i in range(n)]
        rows.append([p.node(place, y, r=0.22, colour=BM, seen=label == "v") for place in places])
        p.text(x - 1.8 - 0.1 * (name == "DBM"), y, f"${label}$")
    p.text(x, 3.72, name)
    return rows


def graphs() -> Picture:
    """Two graphs of three rows each: shaded pixels v below, hidden layers h₁ and h₂ above. Left, the deep belief network:
    lines without heads join h₂ and h₁, an RBM; arrows lead from every unit of h₁ down to every pixel; a dashed arrow at
    the side leads up, the recognition model q of h₁ given v. Right, the deep Boltzmann machine: all lines are without
    heads. Coloured bands behind v and h₂ show that these two rows together are one side of an RBM, h₁ the other."""
    p = Picture(8.4, 4)
    v, h1, h2 = _layers(p, 2.15, "DBN")
    for a in h2:
        for b in h1:
            p.arrow(a, b, heads=0, colour=GREY, width=1.5)
    for a in h1:
        for b in v:
            p.arrow(a, b, colour=BLUE, width=1.5)
    p.arrow((3.95, 0.6), (3.95, 1.8), colour=VERMILLION, dashed=True)
    p.text(3.75, 2.2, "$q(h_1 \\mid v)$", VERMILLION, ha="center", size=15)
    for y in (LAYERS[0][0], LAYERS[2][0]):
        p.box(6.5, y, "", 3.3, 0.62, pale(BM), pale(BM), zorder=1)
    v, h1, h2 = _layers(p, 6.5, "DBM")
    for rows in ((h2, h1), (h1, v)):
        for a in rows[0]:
            for b in rows[1]:
                p.arrow(a, b, heads=0, colour=GREY, width=1.5)
    return p


def messages() -> Picture:
    """Mean field, unrolled from left to right. Below, the image v, shaded, which sends the same message up to each mean
    μ₁. Above, the means μ₂ of the second layer, at the left with the start one half. Each μ₁ in the middle row
    hears v from below and the last μ₂ from above; the next μ₂ hears this μ₁ only; and so on in a zigzag. An arrow below
    says that the bound never falls."""
    p = Picture(8.5, 3.6)
    low, middle, high = 0.95, 2.0, 3.05
    above = p.node(0.7, high, "$\\frac{1}{2}$", r=0.36, colour=BM)
    p.text(0.7, 2.4, "$\\mu_2$, start")
    for i, x in enumerate((2.0, 4.4, 6.8)):
        pixels = p.node(x, low, "$v$", r=0.36, seen=True)
        mean1 = p.node(x, middle, "$\\mu_1$", r=0.36, colour=BM)
        p.arrow(above, mean1, "$W_2$" if i == 0 else "", colour=BLUE)
        p.arrow(pixels, mean1, colour=VERMILLION)
        p.text(x + 0.42, (low + middle) / 2, "$W_1^\\top$", VERMILLION)
        above = p.node(x + 1.2, high, "$\\mu_2$", r=0.36, colour=BM)
        p.arrow(mean1, above, "$W_2^\\top$" if i == 0 else "", colour=BLUE)
    p.arrow((2.6, 0.3), (8.1, 0.3), colour=GREY)
    p.text(1.3, 0.3, "bound never falls", GREY)
    return p
