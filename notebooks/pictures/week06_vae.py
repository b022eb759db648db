"""Week 6: the flow of a VAE, its bound, two ways to differentiate an expectation, the aggregate posterior."""

from statistics import NormalDist

import numpy as np
from matplotlib.patches import Circle

from tools.pictures import GREY, Picture, pale
from utils.plotting import BLUE, FAMILY_COLOURS, VERMILLION

VAE = FAMILY_COLOURS["VAE"]
PALE = pale(VAE)


def vae() -> Picture:
    """The flow of a variational autoencoder. From left to right: an image x enters the encoder, which gives mean μ
    and scale s of q(z | x). With noise ε, drawn from N(0, I), they make the code z = μ + s ε. The decoder turns z
    into p(x | z). The two terms of the bound: the reconstruction, E log p(x | z), is measured at the decoder's end; the
    rate, KL(q(z | x) ‖ p(z)), compares q(z | x) with the prior. Dashed lines show the path of the gradient: from the
    reconstruction through the decoder and z to μ and s, from the rate directly to μ and s, and from there into the
    encoder. None leads to ε."""
    p = Picture(8.2, 3.9)
    y = 1.72
    q = p.box(3.28, y + 0.02, "", 0.94, 1.94, "none", PALE, zorder=1)
    p.text(3.28, y - 1.17, "$q(z \\mid x)$")
    x = p.node(0.42, y, "$x$", seen=True)
    encoder = p.network(1.72, y, "encoder", 1.2, 1.6, 0.9, VAE, PALE)
    mu, s = p.node(3.28, y + 0.54, "$\\mu$"), p.node(3.28, y - 0.5, "$s$")
    z = p.node(4.78, y, "$z$")
    noise = p.node(4.78, 0.4, "$\\varepsilon$", colour=GREY)
    decoder = p.network(6.12, y, "decoder", 1.2, 0.9, 1.6, VAE, PALE)
    out = p.box(7.62, y, "$p(x \\mid z)$", 1.0, 0.66)
    p.box(3.28, 3.47, "rate\n$\\mathrm{KL}(q(z \\mid x)\\;\\|\\;p(z))$", 2.4, 0.8, VAE)
    p.box(6.96, 3.47, "reconstruction\n$\\mathrm{E}_q\\left[\\log p(x \\mid z)\\right]$", 2.4, 0.8, VAE)
    p.text(5.2, 0.4, "$\\sim \\mathcal{N}(0, I)$", ha="left")
    p.text(4.85, y + 0.56, "$z = \\mu + s\\,\\varepsilon$")
    for a, b in [
        (x, encoder),
        (encoder, mu),
        (encoder, s),
        (mu, z),
        (s, z),
        (noise, z),
        (z, decoder),
        (decoder, out),
    ]:
        p.arrow(a, b)
    for a, b in [(out, decoder), (decoder, z), (z, mu), (z, s), (mu, encoder), (s, encoder)]:
        p.arrow(a, b, colour=BLUE, dashed=True, shift=(0, -0.17))
    p.arrow((3.28, 3.07), q, colour=BLUE, dashed=True)
    p.arrow((7.62, 3.07), out, colour=BLUE, dashed=True)
    p.arrow((1.05, 0.4), (0.3, 0.4), colour=BLUE, dashed=True)
    p.text(1.2, 0.4, "gradient", BLUE, ha="left")
    return p


def bound() -> Picture:
    """Levels on a scale of nats for one image. From the level of the reconstruction, E log p(x | z), an arrow as long as
    the rate, KL(q(z | x) ‖ p(z)), leads down to the ELBO. The level of log p(x) is higher than the ELBO by
    KL(q(z | x) ‖ p(z | x)), the gap. Between the two lies the bound L_K with K samples; it rises from the ELBO, which is
    L_1, towards log p(x) as K grows."""
    p = Picture(8.2, 3.3)
    top, likelihood, many, elbo = 2.95, 2.2, 1.75, 0.5
    p.arrow((0.5, 0.1), (0.5, 3.28), colour=GREY)
    p.text(0.22, 1.65, "nats", GREY, rotation=90)
    for level, start, end, colour in [
        (top, 0.6, 1.6, VAE),
        (likelihood, 3.3, 7.0, "black"),
        (many, 5.9, 7.0, VAE),
        (elbo, 0.6, 7.0, VAE),
    ]:
        p.arrow((start, level), (end, level), colour=colour, heads=0, width=3.5)
    p.text(1.7, top, "reconstruction  $\\mathrm{E}_q\\left[\\log p(x \\mid z)\\right]$", ha="left")
    for level, text in [
        (likelihood, "$\\log p(x)$"),
        (many, "$\\mathcal{L}_K$"),
        (elbo, "ELBO $= \\mathcal{L}_1$"),
    ]:
        p.text(7.08, level, text, ha="left", size=15)
    p.arrow((1.1, top), (1.1, elbo), colour=BLUE)
    p.text(1.25, 1.4, "rate\n$\\mathrm{KL}(q(z \\mid x)\\;\\|\\;p(z))$", BLUE, ha="left")
    p.arrow((3.6, elbo), (3.6, likelihood), colour=VERMILLION, heads=2)
    p.text(3.76, 1.4, "gap\n$\\mathrm{KL}(q(z \\mid x)\\;\\|\\;p(z \\mid x))$", VERMILLION, ha="left")
    p.arrow((6.3, elbo), (6.3, many))
    p.arrow((6.3, many), (6.3, likelihood), dashed=True)
    p.text(6.42, 1.12, "larger $K$", ha="left", size=15)
    return p


def gradients() -> Picture:
    """Two panels with the same rising curve f, the same normal density q and the same five samples. Left, the score
    function: the samples stay where they are, q moves to the right over them, and each counts with the height of f there,
    drawn as a stem. Right, the reparameterisation: the samples move along with q, and each counts with the slope of f
    there, drawn as an arrow along the curve. Below, the term that each sample adds to the gradient, on one scale. A
    line marks the exact gradient, the same on both sides. For this f and q the terms lie far to both sides of it on the
    left and close to it on the right."""
    p = Picture(8.2, 4.9)
    s, step = 0.8, 0.3  # q = N(0, s²), and how far it moves
    grid = np.linspace(-2.4, 2.4, 400)
    z = np.array(
        [NormalDist(0, s).inv_cdf((i + 0.5) / 5) for i in range(5)]
    )  # samples as evenly spread as can be

    def f(z):
        return 0.5 + np.logaddexp(0, 2 * z) / 2

    slope = 1 / (1 + np.exp(-2 * z))
    exact = 0.5  # the expectation of both terms: the slope is a logistic function, symmetric about 1/2
    for left, title, what, formula, terms in [
        (
            0.2,
            "score function",
            "$q$ moves over the samples",
            "f(z)\\;\\partial_\\mu \\log q(z)",
            f(z) * z / s**2,
        ),
        (4.4, "reparameterisation", "the samples move with $q$", "f\\,'(\\mu + s\\,\\varepsilon)", slope),
    ]:
        p.text(left + 1.8, 4.72, title)
        p.text(left + 1.8, 4.42, what, GREY, size=15)
        ax = p.axes(left, 1.55, 3.6, 2.65)
        ax.fill_between(grid, 0.5 * np.exp(-0.5 * (grid / s) ** 2), color=PALE, linewidth=0)
        ax.plot(grid, 0.5 * np.exp(-0.5 * ((grid - step) / s) ** 2), "--", color=VAE)
        ax.plot(grid, f(grid), color="black", linewidth=1.5)
        ax.text(1.9, 2.6, "$f$", fontsize=16, ha="right")
        ax.text(-1.3, 0.24, "$q$", fontsize=16, ha="right")
        if title == "score function":
            ax.vlines(z, 0, f(z), color=BLUE, linewidth=3)
        else:
            for at, up in zip(z, slope):
                style = {"arrowstyle": "-|>", "color": BLUE, "linewidth": 3, "shrinkA": 0, "shrinkB": 0}
                ax.annotate("", (at + step, f(at) + up * step), (at, f(at)), arrowprops=style)
                ax.annotate(
                    "",
                    (at + step, 0.13),
                    (at, 0.13),
                    arrowprops={"arrowstyle": "->", "color": BLUE, "linewidth": 2},
                )
        ax.scatter(z, 0 * z, s=60, color=BLUE, zorder=4, clip_on=False)
        ax.set(xlim=(-2.4, 2.4), ylim=(0, 2.8))
        ax.spines["left"].set_visible(False)
        strip = p.axes(left, 0.62, 3.6, 0.6)
        strip.axvline(exact, color=VERMILLION, linewidth=3)
        strip.text(exact + 0.15, 0.75, "exact", color=VERMILLION, fontsize=15, va="center")
        strip.scatter(terms, 0 * terms - 0.4, s=60, color=BLUE, zorder=4)
        strip.set(xlim=(-2.6, 4.2), ylim=(-1, 1.2))
        strip.spines["left"].set_visible(False)
        p.text(left + 1.8, 0.32, f"${formula}$", BLUE)
    return p


def aggregate() -> Picture:
    """Three panels, each with the latent plane, the prior as a dashed circle and q(z | x) of nineteen images as discs.
    β too small: small discs far apart, some outside of the circle, holes between them. β = 1: discs of middle size
    that overlap a little and fill the circle. β too large: all discs lie on top of each other and are the prior."""
    p = Picture(8.2, 3.4)
    n = 19
    angles = np.arange(n) * 2.39996  # the golden angle: evenly spread
    for x, title, below, spread, radius, fill in [
        (1.4, "$\\beta$ too small", "wide, with holes", 1.25, 0.1, (VAE, 0.6)),
        (4.1, "$\\beta = 1$", "fills the prior (dashed)", 0.76, 0.27, (VAE, 0.4)),
        (6.8, "$\\beta$ too large", "each is the prior", 0.02, 0.98, (PALE, 1)),
    ]:
        p.text(x, 3.2, title)
        p.text(x, 0.2, below, GREY, size=15)
        for a, d in zip(angles, spread * np.sqrt((np.arange(n) + 0.5) / n)):
            centre = (x + d * np.cos(a), 1.7 + d * np.sin(a))
            p.canvas.add_patch(Circle(centre, radius, facecolor=fill, edgecolor=(VAE, 1), linewidth=1.5))
        p.canvas.add_patch(Circle((x, 1.7), 1, fill=False, linestyle="--", linewidth=2))
    return p
