"""Week 14: latent diffusion with the names of Stable Diffusion's parts."""

from tools.pictures import GREY, Picture, pale
from utils.plotting import BLUE, FAMILY_COLOURS, ORANGE

DIFFUSION = FAMILY_COLOURS["diffusion"]
PALE = pale(DIFFUSION)


def latent() -> Picture:
    """Left, in orange, the autoencoder: an image, 8×8, goes through an encoder, a trapezoid that narrows, to a code of 4×4×2
    numbers; from a code without noise a decoder, which widens, leads back to an image. Right, the diffusion model works on
    codes only: grey arrow, noise is added to the code until it is pure noise; coloured arrow back, from noise to code through
    the U-Net, many steps. Above, the caption, a bold three, becomes three word vectors, and a blue arrow labelled
    cross-attention leads from them into the U-Net."""
    p = Picture(8.5, 4.3)
    image = p.box(0.7, 2.75, "image\n8×8", 1.1, 0.95, fill="#D9D9D9")
    encoder = p.network(2.15, 2.75, "encoder", 1.25, 1.1, 0.65, ORANGE, pale(ORANGE))
    drawn = p.box(0.7, 0.75, "drawn\nimage", 1.1, 0.95)
    decoder = p.network(2.15, 0.75, "decoder", 1.25, 1.1, 0.65, ORANGE, pale(ORANGE))
    code = p.box(3.85, 2.75, "code\n4×4×2", 1.25, 0.95, DIFFUSION, PALE)
    new = p.box(3.85, 0.75, "new\ncode", 1.25, 0.95, DIFFUSION, PALE)
    noise = p.box(7.7, 0.75, "noise\n4×4×2", 1.25, 0.95, DIFFUSION, PALE)
    net = p.box(5.8, 0.75, "U-Net,\n$w$", 1.3, 0.95, DIFFUSION, PALE)
    p.arrow(image, encoder)
    p.arrow(encoder, code)
    p.arrow(code, (7.6, 1.3), colour=GREY, bend=-0.25)
    p.text(6.6, 2.95, "add noise", GREY)
    p.arrow(noise, net, colour=DIFFUSION)
    p.arrow(net, new, colour=DIFFUSION)
    p.text(5.8, 0.1, "many steps back", DIFFUSION)
    p.arrow(new, decoder)
    p.arrow(decoder, drawn)
    caption = p.box(3.2, 3.9, '"a bold three": a vector a word', 4.6, 0.6, BLUE)
    p.arrow((5.05, 3.6), net, colour=BLUE, dashed=True, bend=0.0)
    p.text(6.35, 1.75, "", BLUE)
    p.text(4.15, 1.72, "cross-attention", BLUE, ha="center")
    assert caption is not None
    return p
