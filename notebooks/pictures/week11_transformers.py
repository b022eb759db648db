"""Week 11: TODO: what the pictures show."""

from tools.pictures import Picture


def idea() -> Picture:
    """TODO: what one sees, in more than 150 characters.

    Three parameters b in a row above, each with an arrow down to a pixel x of its own, which is grey because
    it is seen. No pixel has an arrow to another: they know nothing of each other.
    """
    p = Picture(4, 2.2)
    for i in (1, 2, 3):
        b, x = p.node(i, 1.7, f"$b_{i}$"), p.node(i, 0.5, f"$x_{i}$", seen=True)
        p.arrow(b, x)
    return p
