"""Week 11: attention as a soft lookup under a causal mask, and the block of a GPT with its residual stream."""

from tools.pictures import GREY, Picture, pale
from utils.plotting import BLUE, FAMILY_COLOURS, VERMILLION

GREEN = FAMILY_COLOURS["autoregressive"]
PALE = pale(GREEN)


def attention() -> Picture:
    """How one position reads. Below, five words in a row: the, old, sailor, sees, a. The position of “sees” sends a query.
    Each of the first four words offers a key and a value. Arrows lead from these four to a box above, which holds the
    weighted average of their values; the arrow from “sailor” is thick, its weight is 0.7, the others are thin, 0.1 each. The
    fifth word is grey and has a dashed line with a cross: a later word, which the mask hides. From the box an arrow leads to
    the prediction of the next word."""
    p = Picture(8.2, 3.9)
    words, weights = ["the", "old", "sailor", "sees", "a"], [0.1, 0.1, 0.7, 0.1, None]
    read = p.box(3.3, 2.75, "$\\sum_s w_s\\, v_s$", 1.9, 0.8, GREEN, PALE)
    places = [0.8 + 1.4 * i for i in range(5)]
    for x, word, w in zip(places, words, weights, strict=True):
        shape = p.box(
            x, 0.7, word, 1.15, 0.6, GREY if w is None else "black", "#EEEEEE" if w is None else "white"
        )
        if w is None:
            p.arrow(shape, (4.55, 2.5), colour=GREY, dashed=True, heads=0)
            p.text(5.6, 1.6, "×", VERMILLION, 30)
            p.text(6.85, 1.95, "later: hidden\nby the mask", GREY, ha="center")
        else:
            p.arrow(shape, read, colour=GREEN, width=1.5 + 7 * (w - 0.1))
            side = -0.3 if x < 4 else 0.32
            p.text(x + (3.3 - x) * 0.33 + side, 1.42, f"{w}", GREEN, 15)
    p.text(3.0, 0.17, "each offers a key $k_s$ and a value $v_s$", GREY)
    p.arrow(read, (5.9, 2.75), colour=GREEN)
    p.text(6.95, 2.95, "what “sees” has read", ha="center", size=15)
    p.text(3.3, 3.55, "$w = \\mathrm{softmax}(q_{\\mathrm{sees}} \\cdot k_s / \\sqrt{d})$", BLUE)
    return p


def block() -> Picture:
    """A GPT from left to right. Tokens enter “words + positions”, which starts a thick line, the residual stream, that runs
    straight through to “norm, head” and the logits of the next word. Inside a frame marked “× layers” two branches leave the
    line, pass a norm and then attention, or a norm and then an MLP, and are added to the line again at a plus sign. Only
    attention is marked as mixing positions; the MLP works on each position alone."""
    p = Picture(8.2, 3.2)
    start = p.box(0.85, 0.8, "words +\npositions", 1.35, 0.9)
    p.canvas.plot([1.75, 6.5, 6.5, 1.75, 1.75], [0.3, 0.3, 3.05, 3.05, 0.3], "--", color=GREY, linewidth=1.2)
    p.text(2.4, 0.5, "× layers", GREY, 15)
    first, second = p.node(3.95, 0.8, "+", 0.2), p.node(6.2, 0.8, "+", 0.2)
    end = p.box(7.35, 0.8, "norm,\nhead", 1.0, 0.9)
    for a, b in [(start, first), (first, second), (second, end)]:
        p.arrow(a, b, colour=GREEN, width=5)
    for x, name, note, plus in [
        (3.0, "attention", "mixes positions", first),
        (5.3, "MLP", "each position alone", second),
    ]:
        box = p.box(x, 1.95, f"norm,\n{name}", 1.35, 0.85, GREEN, PALE)
        p.arrow((x - 0.35, 0.85), (x - 0.35, 1.53))
        p.arrow(box, plus)
        p.text(x + 0.1, 2.7, note, GREY, 14)
    p.text(7.35, 1.6, "logits", GREY)
    p.arrow((7.35, 1.25), (7.35, 1.42), heads=0)
    return p
