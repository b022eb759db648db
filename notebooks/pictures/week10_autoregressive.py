"""Week 10: the chain rule as a graph, the paths that MADE leaves open, and PixelCNN's two stacks."""

from tools.pictures import GREY, Picture, pale
from utils.plotting import BLUE, FAMILY_COLOURS, ORANGE

GREEN = FAMILY_COLOURS["autoregressive"]


def chain() -> Picture:
    """Four nodes in a row, x1 to x4. Arrows lead from each to all later ones: three from the first, two from the second,
    one from the third. Below each node stands its factor: p(x1), p(x2 given x1), p(x3 given x1, x2), p(x4 given x1, x2,
    x3). A line under them says: training computes all factors at once, from true values; drawing goes from left to right,
    each value from those already drawn."""
    p = Picture(8.2, 3.3)
    places = [1.0, 3.0, 5.0, 7.0]
    nodes = [p.node(x, 1.75, f"$x_{i + 1}$", seen=True) for i, x in enumerate(places)]
    for i in range(4):
        for j in range(i + 1, 4):
            p.arrow(nodes[i], nodes[j], colour=GREEN, bend=0 if j == i + 1 else -0.38)
    for x, past in zip(places, ["", r"\mid x_1", r"\mid x_1, x_2", r"\mid x_{1}, x_2, x_3"], strict=True):
        i = places.index(x) + 1
        p.text(x, 1.1, f"$p(x_{i} {past})$", size=15)
    p.text(4.1, 0.62, "training: all factors at once, from true values", GREY, 15)
    p.text(4.1, 0.22, "drawing: from left to right, each from values already drawn", GREY, 15)
    return p


def made() -> Picture:
    """Three columns of nodes. Left, four pixels x1 to x4. Middle, six hidden units, with the numbers 1, 1, 2, 2, 3, 3: how
    many pixels each may know. Right, four outputs a1 to a4. A line joins a pixel and a hidden unit if the pixel's number is
    at most the unit's number, and a hidden unit and an output if the unit's number is smaller than the output's. So a1
    has no line at all, pixel x4 none either, and every path from a pixel ends at an output with a larger number."""
    p = Picture(7.6, 4.0)
    pixels = [p.node(1.0, 3.4 - 0.95 * i, f"$x_{i + 1}$", seen=True) for i in range(4)]
    numbers = [1, 1, 2, 2, 3, 3]
    hidden = [p.node(3.8, 3.6 - 0.64 * k, str(m), r=0.25, colour=GREEN) for k, m in enumerate(numbers)]
    outputs = [p.node(6.6, 3.4 - 0.95 * i, f"$a_{i + 1}$") for i in range(4)]
    for m, unit in zip(numbers, hidden, strict=True):
        for i in range(4):
            if i + 1 <= m:
                p.arrow(pixels[i], unit, colour=GREEN, heads=0, width=1.4)
            if m < i + 1:
                p.arrow(unit, outputs[i], colour=GREEN, heads=0, width=1.4)
    p.text(2.35, 3.75, "$d \\leq m$", GREEN)
    p.text(5.25, 3.75, "$m < d$", GREEN)
    return p


def stacks() -> Picture:
    """Left, a grid of five rows and seven columns; a pixel in the fourth row is marked by a cross. All three rows above it
    are blue: what the vertical stack sees. The pixels to its left in its own row are orange: what the horizontal stack sees.
    Right, two columns of boxes, one above the other: the vertical stack in blue, the horizontal one in orange. Arrows lead up within each
    stack, and from each vertical box across to the horizontal one; none leads back."""
    p = Picture(8.2, 3.6)
    side, left, top = 0.48, 0.3, 3.3
    for row in range(5):
        for column in range(7):
            fill = pale(BLUE) if row < 3 else pale(ORANGE) if row == 3 and column < 3 else "white"
            x, y = left + side * (column + 0.5), top - side * (row + 0.5)
            p.box(
                x,
                y,
                "×" if (row, column) == (3, 3) else "",
                side - 0.05,
                side - 0.05,
                GREY,
                fill,
                linewidth=1,
            )
    p.text(left + 3.5 * side, 0.5, "one pixel: what each stack sees", GREY, 15)
    vertical, horizontal = [], []
    for layer in range(3):
        y = 0.95 + 1.0 * layer
        vertical.append(p.box(5.1, y, "vertical", 1.5, 0.56, BLUE, pale(BLUE), size=15))
        horizontal.append(p.box(7.2, y, "horizontal", 1.6, 0.56, ORANGE, pale(ORANGE), size=15))
        p.arrow(vertical[-1], horizontal[-1])
    for stack in (vertical, horizontal):
        for a, b in zip(stack, stack[1:], strict=False):
            p.arrow(a, b)
    p.text(6.15, 0.3, "layers, from below: mask A, then B", GREY, 15)
    return p
