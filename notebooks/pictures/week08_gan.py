"""Week 8: the two players of a GAN, and how a generator that runs ahead loses modes."""

import numpy as np

from tools.pictures import GREY, Picture, pale
from utils.plotting import BLUE, FAMILY_COLOURS, VERMILLION

GAN = FAMILY_COLOURS["GAN"]
PALE = pale(GAN)


def game() -> Picture:
    """The flow of a generative adversarial network. Below, noise z enters the generator, which turns it into a drawn
    image G(z). Above, a training image x. Both lead to the discriminator, which returns the logit a of "this one is
    real". Two dashed paths of gradients start from the logit: one ends in the discriminator, whose weights should tell
    real from drawn; the other runs back through the discriminator, which it leaves as it is, and through the drawn image
    into the generator, whose weights should mislead it. No gradient leads to the training images."""
    p = Picture(8.2, 3.7)
    real = p.node(3.6, 2.75, "$x$", seen=True)
    z = p.node(0.5, 1.05, "$z$", colour=GREY)
    generator = p.network(2.0, 1.05, "generator", 1.5, 0.8, 1.5, GAN, PALE)
    fake = p.node(3.6, 1.05, "$G(z)$", r=0.42)
    discriminator = p.network(5.6, 1.9, "discriminator", 1.9, 1.7, 0.9, GAN, PALE)
    logit = p.box(7.55, 1.9, "$a$\n“real?”", 1.0, 0.9)
    p.text(2.1, 2.75, "training images", ha="center")
    p.text(0.5, 0.42, "noise", GREY)
    for a, b in [
        (z, generator),
        (generator, fake),
        (real, discriminator),
        (fake, discriminator),
        (discriminator, logit),
    ]:
        p.arrow(a, b)
    p.arrow((7.5, 2.36), (5.9, 2.5), colour=BLUE, dashed=True, bend=0.3)
    p.text(6.7, 3.2, "tell them apart", BLUE)
    for a, b in [(logit, discriminator), (discriminator, fake), (fake, generator)]:
        p.arrow(a, b, colour=VERMILLION, dashed=True, shift=(0.06, -0.2))
    p.text(5.6, 0.5, "mislead", VERMILLION)
    return p


def ahead() -> Picture:
    """Two panels with the same data, a density with two peaks. Left: the logit of the discriminator, a curve, is highest at
    the left peak, and all samples of the generator, dots on the axis, have moved there. Right: the discriminator has
    noticed; its logit is now low at the left peak and highest at the right one, and an arrow shows all dots moving there
    together. So the generator jumps from peak to peak and never covers both."""
    p = Picture(8.2, 2.9)
    grid = np.linspace(0, 3.4, 200)
    density = 0.75 * (np.exp(-((grid - 0.9) ** 2) / 0.08) + np.exp(-((grid - 2.5) ** 2) / 0.08))
    for left, title, low, high in [
        (0.3, "the generator moves", 2.5, 0.9),
        (4.5, "the discriminator follows", 0.9, 2.5),
    ]:
        p.canvas.fill_between(left + grid, 0.6, 0.6 + density, color="#D9D9D9", linewidth=0, zorder=1)
        logit = 1.55 + 0.45 * (np.exp(-((grid - high) ** 2) / 0.3) - np.exp(-((grid - low) ** 2) / 0.3))
        p.canvas.plot(left + grid, logit, color=BLUE, linewidth=2.5, zorder=3)
        p.canvas.plot([left, left + 3.4], [0.6, 0.6], color="black", linewidth=1.2, zorder=2)
        dots = left + 0.9 + np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
        p.canvas.plot(dots, 0 * dots + 0.6, "o", color=GAN, markersize=11, zorder=4)
        p.text(left + 1.7, 2.6, title)
    p.arrow((4.5 + 1.2, 0.3), (4.5 + 2.5, 0.3), colour=GAN)
    p.text(2.6, 0.28, "samples", GAN)
    p.text(3.35, 1.95, "logit $a$", BLUE)
    p.text(2.8, 0.82, "data", GREY)
    return p
