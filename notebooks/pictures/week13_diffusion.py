"""Week 13: the chain of noisy images with its two directions, and the U-Net with the images' sizes."""

from tools.pictures import GREY, Picture, pale
from utils.plotting import BLUE, FAMILY_COLOURS

DIFFUSION = FAMILY_COLOURS["diffusion"]
PALE = pale(DIFFUSION)


def chain() -> Picture:
    """A row of nodes from left to right: x0, shaded, the data; x1; dots; x t minus 1; x t; dots; x T, noise. Grey arrows
    above lead to the right, from each node to the next, labelled q: noise is added, nothing is learned. Coloured arrows
    below lead back to the left, labelled p: learned. One long dashed grey arrow leads from x0 straight to x t: the closed
    form. Another dashed one, in blue, leads from x t to a box below, the guess of x0, made by a network."""
    p = Picture(8.5, 3.55)
    places = [0.6, 2.05, 4.25, 5.8, 7.9]
    names = ["$x_0$", "$x_1$", "$x_{t-1}$", "$x_t$", "$x_T$"]
    nodes = [
        p.node(x, 2.1, n, r=0.42, seen=i == 0) for i, (x, n) in enumerate(zip(places, names, strict=True))
    ]
    dots = [p.node(x, 2.1, "…", r=0.22, edgecolor="white") for x in (3.15, 6.85)]
    order = [nodes[0], nodes[1], dots[0], nodes[2], nodes[3], dots[1], nodes[4]]
    for a, b in zip(order, order[1:], strict=False):
        p.arrow(a, b, colour=GREY, shift=(0, 0.13))
        p.arrow(b, a, colour=DIFFUSION, shift=(0, -0.13))
    p.arrow(nodes[0], nodes[3], colour=GREY, dashed=True, bend=-0.3)
    p.text(3.2, 3.28, r"at once: $\sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon$", GREY)
    p.text(7.3, 2.85, "$q$: add noise", GREY)
    p.text(7.3, 1.35, "$p$: learned", DIFFUSION)
    guess = p.box(3.2, 0.5, r"network's guess $\hat{x}_0(x_t, t)$", 3.6, 0.7, DIFFUSION, PALE)
    p.arrow(nodes[3], guess, colour=BLUE, dashed=True, bend=-0.2)
    p.arrow(guess, nodes[2], colour=BLUE, dashed=True, bend=0.0)
    p.text(0.6, 1.4, "data", GREY)
    return p


def unet() -> Picture:
    """A shape like the letter U. Left, the noisy image, 8×8, goes through a block with C channels; an arrow down, labelled
    halve, leads to two blocks of 2C channels on 4×4 images at the bottom; an arrow up, labelled double, leads to a block of C
    channels on 8×8 images at the right, and from there to the output, the guessed velocity. A straight arrow across joins the
    left block to the right one: what the finer level knew. A box below, the noise level, sends dashed arrows to every block."""
    p = Picture(8.5, 4.2)
    image = p.box(0.75, 3.3, "$x_t$\n8×8", 1.0, 0.95, fill="#D9D9D9")
    left = p.box(2.5, 3.3, "block\n8×8, $C$", 1.4, 0.95, DIFFUSION, PALE)
    low = p.box(3.55, 1.75, "block\n4×4, $2C$", 1.4, 0.95, DIFFUSION, PALE)
    low2 = p.box(5.25, 1.75, "block\n4×4, $2C$", 1.4, 0.95, DIFFUSION, PALE)
    right = p.box(6.3, 3.3, "block\n8×8, $C$", 1.4, 0.95, DIFFUSION, PALE)
    out = p.box(7.95, 3.3, "$\\hat v$\n8×8", 0.9, 0.95)
    level = p.box(4.4, 0.4, "noise level, $\\log$ SNR", 3.0, 0.6, BLUE)
    for a, b in [(image, left), (low, low2), (right, out)]:
        p.arrow(a, b)
    p.arrow(left, right)
    p.text(4.4, 3.62, "what was\nknown here", GREY, 15)
    p.arrow(left, low)
    p.arrow(low2, right)
    p.text(2.1, 2.45, "halve", GREY)
    p.text(6.85, 2.45, "double", GREY)
    for start, end in [(level, low), (level, low2), ((2.88, 0.4), left), ((5.92, 0.4), right)]:
        p.arrow(start, end, colour=BLUE, dashed=True, width=1.4)
    return p
