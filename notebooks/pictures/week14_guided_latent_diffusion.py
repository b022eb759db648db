"""Week 14: latent diffusion with the parts of Stable Diffusion."""

from tools.pictures import GREY, Picture, pale
from utils.plotting import BLUE, FAMILY_COLOURS, ORANGE

DIFFUSION = FAMILY_COLOURS["diffusion"]
PALE = pale(DIFFUSION)


def latent() -> Picture:
    """Two rows. Upper row, from left to right: an image of 8×8 pixels, shaded, goes through an encoder, a trapezoid that
    narrows, to a code of 4×4×2 numbers; grey arrows lead on to noisy codes, add noise, and down to noise of the same size.
    Lower row, from right to left: the noise goes into the U-Net, which guesses the noise; after many steps there is a new
    code, and a decoder, which widens, makes a drawn image of it. Above the U-Net stands the caption, a bold three; a blue
    dashed arrow, cross-attention, leads down from it into the U-Net."""
    p = Picture(8.5, 4.3)
    top, low = 3.6, 0.85
    image = p.box(0.7, top, "image\n8×8", 1.1, 0.95, fill="#D9D9D9")
    encoder = p.network(2.2, top, "encoder", 1.25, 1.1, 0.65, ORANGE, pale(ORANGE))
    code = p.box(3.8, top, "code\n4×4×2", 1.2, 0.95, DIFFUSION, PALE)
    noisy = p.box(7.75, top, "noisy\ncodes", 1.2, 0.95, DIFFUSION, PALE)
    drawn = p.box(0.7, low, "drawn\nimage", 1.1, 0.95)
    decoder = p.network(2.2, low, "decoder", 1.25, 0.65, 1.1, ORANGE, pale(ORANGE))
    new = p.box(3.8, low, "new\ncode", 1.2, 0.95, DIFFUSION, PALE)
    net = p.box(5.75, low, "U-Net,\nguided", 1.3, 0.95, DIFFUSION, PALE)
    noise = p.box(7.75, low, "noise\n4×4×2", 1.2, 0.95, DIFFUSION, PALE)
    caption = p.box(5.75, 2.45, "“a bold three”", 2.0, 0.6, BLUE)
    for start, end in [(image, encoder), (encoder, code), (new, decoder), (decoder, drawn)]:
        p.arrow(start, end)
    p.arrow(code, noisy, "add noise", colour=GREY)
    p.arrow(noisy, noise, colour=GREY)
    p.arrow(noise, net, colour=DIFFUSION)
    p.arrow(net, new, colour=DIFFUSION)
    p.arrow(caption, net, colour=BLUE, dashed=True)
    p.text(4.72, 1.75, "cross-attention", BLUE)
    p.text(6.05, 0.18, "many steps back", DIFFUSION)
    return p


def attention() -> Picture:
    """Left a grid of 4×4 places of the image; one place n is filled: it asks. From it arrows lead to three boxes in a column
    at the right, the words a, bold, three. The arrows' widths differ, they are the weights A n j: most goes to bold here.
    The sum of what the words say, with these weights, is added to the place."""
    p = Picture(7.4, 3.1)
    side, x0, y0 = 0.5, 0.7, 0.65
    for i in range(4):
        for j in range(4):
            fill = PALE if (i, j) != (2, 3) else DIFFUSION
            p.box(x0 + side * j, y0 + side * i, "", side, side, DIFFUSION, fill)
    place = (x0 + 3 * side + 0.25, y0 + 2 * side)
    for y, word, width in [(2.6, "“a”", 1.0), (1.6, "“bold”", 5.0), (0.6, "“three”", 2.5)]:
        box = p.box(6.4, y, word, 1.5, 0.7, BLUE)
        p.arrow(place, box, colour=BLUE, width=width)
    p.text(4.1, 2.62, "$A_{nj}$: who is listened to", BLUE)
    p.text(1.45, 2.75, "place $n$ asks", DIFFUSION)
    return p
