"""Week 9: transport and critic, the cycle of two translators, a block of StyleGAN2's generator."""

import numpy as np

from tools.pictures import GREY, Picture, pale
from utils.plotting import BLUE, FAMILY_COLOURS

GAN = FAMILY_COLOURS["GAN"]
PALE = pale(GAN)


def transport() -> Picture:
    """Two panels over the same line. Left, blocks of earth: four grey ones at the places 1, 2, 5 and 6 are the data, four
    red ones at 2, 3, 7 and 8 are samples. An arrow leads from each sample to a datum, two of them one place long, two of
    them two: the mean way, 1.5, is the earth mover's distance. Right, the critic over the same line: a curve of slope
    minus one, which rises with slope one between 3 and 5, where nothing has to be moved. Its mean height at the data
    minus its mean height at the samples is the same number, 1.5."""
    p = Picture(8.2, 3.5)
    data, fake = np.array([1, 2, 5, 6]), np.array([2, 3, 7, 8])
    for left, title, below in [
        (0.2, "the mover", "mean way $= W_1$"),
        (4.4, "the critic", "at data $-$ at samples $= W_1$"),
    ]:
        p.text(left + 1.8, 3.28, title)
        p.text(left + 1.8, 0.24, below, GREY, size=15)
        ax = p.axes(left, 0.55, 3.6, 2.45)
        ax.spines["left"].set_visible(False)
        ax.set(xlim=(0.2, 8.8), ylim=(0, 4.6))
        if title == "the mover":
            for x in data:
                ax.bar(x, 0.9, 0.82, color="#9A9A9A")
            for x in fake:
                ax.bar(x, 0.9, 0.82, 2.9 - 0.9, color=PALE, edgecolor=GAN, linewidth=2)
            style = {"arrowstyle": "-|>", "color": BLUE, "linewidth": 2.5, "shrinkA": 0, "shrinkB": 0}
            for x, y in zip(fake, data):
                ax.annotate("", (y, 0.95), (x, 1.95), arrowprops=style)
            ax.text(2.5, 3.15, "samples", color=GAN, fontsize=15, ha="center")
            ax.text(6.6, 0.2, "data", color=GREY, fontsize=15)
        else:
            corners = [0.3, 3, 5, 8.6], [4.3, 1.6, 3.6, 0.0]  # slopes −1, 1, −1
            ax.plot(*corners, color=BLUE, linewidth=3)
            ax.scatter(data, np.interp(data, *corners), s=110, color="#7A7A7A", zorder=4)
            heights = np.interp(fake, *corners)
            ax.scatter(fake, heights, s=110, facecolor=PALE, edgecolor=GAN, linewidth=2.5, zorder=4)
            ax.text(6.6, 2.6, "slope $-1$", fontsize=15, ha="left", color=BLUE)
    return p


def cycle() -> Picture:
    """Two large boxes, the domain A of bold glyphs on the left and the domain B of regular glyphs on the right. From a
    bold glyph a an arrow G leads to a translated glyph G(a) in B, and from there an arrow F leads back to F(G(a)) in A.
    A dashed blue line joins a and F(G(a)): the cycle loss, the mean absolute difference. Above B stands the
    discriminator of B, which compares G(a) with real regular glyphs b of other characters. The way that begins in B,
    with F first and G after it, is the mirror image and is not drawn."""
    p = Picture(8.2, 3.85)
    p.box(1.55, 1.72, "", 2.7, 3.1, "none", "#EEEEEE", zorder=1)
    p.box(6.45, 1.72, "", 3.1, 3.1, "none", PALE, zorder=1)
    p.text(0.75, 3.02, "A: bold", GREY)
    p.text(5.8, 3.02, "B: regular", GREY)
    a = p.node(1.55, 2.25, "$a$", seen=True, r=0.4)
    back = p.node(1.55, 0.75, "", r=0.46)
    p.text(1.55, 0.75, "$F(G(a))$", size=11)
    fake = p.node(5.75, 1.5, "", r=0.42)
    p.text(5.75, 1.5, "$G(a)$", size=14)
    real = p.node(7.3, 0.75, "$b$", seen=True, r=0.4)
    judge = p.box(7.25, 2.25, "$D_B$", 0.9, 0.7, GAN)
    p.arrow(a, fake, "$G$")
    p.arrow(fake, back, "$F$", above=-0.28)
    p.arrow(a, back, colour=BLUE, dashed=True, heads=0)
    p.text(0.72, 1.5, "cycle\nloss", BLUE, size=15)
    p.arrow(fake, judge)
    p.arrow(real, judge)
    p.text(6.45, 3.6, "$D_B$: real or translated?", GREY, size=15)
    return p


def style() -> Picture:
    """A block diagram in two columns. Left, the mapping: noise z passes through a small network and becomes the style w.
    Right, the synthesis, from the bottom up: a learned constant of 4 by 4 pixels, a modulated convolution, then twice as
    many pixels, another modulated convolution at 8 by 8, and so on to 16 by 16. Blue arrows lead from w to each of the
    modulated convolutions. Small grey arrows add noise, a number for each pixel, after each convolution. On the far
    right each resolution gives an image through ToRGB, a modulated convolution with one output channel and no activation after it; the
    images are enlarged and summed to the final one, at the top."""
    p = Picture(8.2, 5.4)
    z = p.node(0.65, 0.75, "$z$")
    mapping = p.box(0.65, 2.2, "mapping", 1.2, 0.8, GAN, PALE, size=15)
    w = p.node(0.65, 3.7, "$w$")
    p.arrow(z, mapping)
    p.arrow(mapping, w)
    const = p.box(3.6, 0.45, "constant  4×4", 2.0, 0.5, size=15)
    last, total = const, None
    for i, (y, size) in enumerate([(1.45, "4×4"), (2.85, "8×8"), (4.25, "16×16")]):
        conv = p.box(3.6, y, f"mod. conv  {size}", 2.2, 0.6, GAN, PALE, size=15)
        image = p.box(6.0, y, "ToRGB", 1.05, 0.55, GAN, size=15)
        p.arrow(last, conv, colour="black")
        if i:
            p.text(3.72, y - 0.66, "enlarge", GREY, size=15, ha="left")
        p.arrow(w, conv, colour=BLUE)
        p.arrow((4.55, y + 0.62), (4.2, y + 0.3), colour=GREY, width=1.5)
        p.text(4.62, y + 0.62, "noise", GREY, size=13, ha="left")
        p.arrow(conv, image)
        plus = p.node(7.35, y, "+", r=0.22)
        p.arrow(image, plus)
        if total is not None:
            p.arrow(total, plus, colour="black")
            p.text(7.25, y - 0.66, "enlarge", GREY, size=15, ha="right")
        total, last = plus, conv
    p.text(7.35, 5.1, "image")
    p.arrow(total, (7.35, 4.92))
    p.text(1.55, 4.4, "styles", BLUE, size=15)
    return p
