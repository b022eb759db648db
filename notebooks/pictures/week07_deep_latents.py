"""Week 7: the chain and the ladder, the straight-through gradient."""

from tools.pictures import GREY, Picture, pale
from utils.plotting import BLUE, FAMILY_COLOURS

VAE = FAMILY_COLOURS["VAE"]
PALE = pale(VAE)


def ladder() -> Picture:
    """Three graphs with x at the bottom and z₁, z₂ above it. Left, the model: arrows lead down, from z₂ to z₁ to x.
    Middle, the chain encoder: arrows lead up, x to z₁ to z₂. Right, the ladder: deterministic features d₁, d₂ are
    computed upwards from x; d₂ gives z₂; then z₁ is drawn from what comes down from z₂ through the model's own
    network, drawn in colour in the left graph too, merged with what d₁ says."""
    p = Picture(8.2, 4)
    low, middle, high = 0.5, 1.8, 3.1

    def title(x, text):
        p.text(x, 3.8, text)

    title(1.0, "model")
    x = p.node(1.0, low, "$x$", seen=True)
    z1, z2 = p.node(1.0, middle, "$z_1$"), p.node(1.0, high, "$z_2$")
    p.arrow(z2, z1, colour=VAE, width=3.5)
    p.arrow(z1, x)
    p.text(1.15, 2.45, "$p(z_1 \\mid z_2)$", ha="left", size=15)
    p.text(1.15, 1.15, "$p(x \\mid z_1)$", ha="left", size=15)

    title(3.5, "chain")
    x = p.node(3.5, low, "$x$", seen=True)
    z1, z2 = p.node(3.5, middle, "$z_1$"), p.node(3.5, high, "$z_2$")
    p.arrow(x, z1, colour=BLUE)
    p.arrow(z1, z2, colour=BLUE)
    p.text(3.65, 2.45, "$q(z_2 \\mid z_1)$", ha="left", size=15)
    p.text(3.65, 1.15, "$q(z_1 \\mid x)$", ha="left", size=15)

    title(6.6, "ladder")
    x = p.node(5.8, low, "$x$", seen=True)
    d1, d2 = p.box(5.8, middle, "$d_1$", 0.6, 0.56), p.box(5.8, high, "$d_2$", 0.6, 0.56)
    z1, z2 = p.node(7.3, middle, "$z_1$"), p.node(7.3, high, "$z_2$")
    p.arrow(x, d1, colour=BLUE)
    p.arrow(d1, d2, colour=BLUE)
    p.arrow(d2, z2, colour=BLUE)
    p.arrow(d1, z1, colour=BLUE)
    p.arrow(z2, z1, colour=VAE, width=3.5)
    p.text(7.3, 1.2, "$q(z_1 \\mid z_2, x)$", size=15)
    return p


def straight_through() -> Picture:
    """The flow of a VQ-VAE. From left to right: an image x enters the encoder, which gives the vector z_e. The box
    "nearest code" takes from the codebook the code closest to it, z_q, and the decoder turns z_q into p(x | c). A
    dashed line shows the path of the gradient: from p(x | c) through the decoder to z_q, from there in a bow straight to
    z_e, past the box, and on into the encoder."""
    p = Picture(8.2, 2.7)
    y = 1.1
    x = p.node(0.42, y, "$x$", seen=True)
    encoder = p.network(1.6, y, "encoder", 1.1, 1.6, 0.9, VAE, PALE)
    before, after = p.node(2.86, y, "$z_e$"), p.node(5.2, y, "$z_q$")
    nearest = p.box(4.03, y, "nearest\ncode", 0.98, 0.8, GREY, size=15)
    decoder = p.network(6.41, y, "decoder", 1.1, 0.9, 1.6, VAE, PALE)
    out = p.box(7.71, y, "$p(x \\mid c)$", 0.86, 0.66, size=15)
    for a, b in [
        (x, encoder),
        (encoder, before),
        (before, nearest),
        (nearest, after),
        (after, decoder),
        (decoder, out),
    ]:
        p.arrow(a, b)
    for a, b in [(out, decoder), (decoder, after), (before, encoder)]:
        p.arrow(a, b, colour=BLUE, dashed=True, shift=(0, -0.2))
    p.arrow(after, before, colour=BLUE, dashed=True, bend=0.55)
    p.text(4.05, 2.3, "gradient, straight through", BLUE)
    return p
