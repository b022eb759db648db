"""The recorded notebook: whatever a student wrote, formgrader's renderer finds nothing in it to render."""

from __future__ import annotations

import os

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbconvert.filters import markdown2html

from grading.model import CellRun, CleanCell
from grading.results.executed import executed_notebook, one_block
from grading.results.harmless import ATTRIBUTES, NO_PICTURE, TAGS_KEPT, Harmless
from tests import graded
from tests.grading.results.test_feedback import OUTSIDE, SCRIPT, Text, payloads

RUN = SCRIPT.format("md")
# Seen to run or to ask where Markdown was made safe by patterns: tags across line ends, in quotes and lists.
ATTACKS = [
    "> <p>\n\n> <details\n> open ontoggle=RUN>\n> x",
    "> <p>\n> <details\n> open ontoggle=RUN>x</details>",
    "- <p\n  onclick=RUN style='position:fixed;inset:0'>\n- <details\n  open\n  ontoggle=RUN>",
    "<p>\n<img src=x\nonerror=RUN>\n</p>",
    "<br/\n<svg/onload=RUN>",
    "<b\n><script\n>RUN</script\n>",
    "<!-- <p> --!><img src=x onerror=RUN>",
    "<![CDATA[<p>]]><img src=x onerror=RUN>",
    "<?php <p> ?><img src=x onerror=RUN>",
    "`<p>` ``<img src=x onerror=RUN>` <b>``",
    "$$<img src=x onerror=RUN>$$ \\begin{a}<script>RUN</script>\\end{a} \\\\[<svg onload=RUN>\\\\]",
    "$\\href{javascript:RUN}{x}$ $\\style{background:url(ASK)}{x}$",
    "|<p>|\n|-|\n|<details open ontoggle=RUN>|",
    "```mermaid\n</pre><img src=x onerror=RUN>\n```",
    "```<img/src=x/onerror=RUN>\n<script>RUN</script>\n```",
    "[x](javascript:RUN) [y]( java\tscript:RUN) <javascript:RUN> [z][z]\n\n[z]: javascript:RUN",
    "![x](ASK) ![y](attachment:nothing.png) ![z][z]\n\n[z]: ASK\n\n<img src='ASK'> <img src=attachment:a>",
    "<a href=ASK ping=ASK>x</a> <video poster=ASK> <link rel=prefetch href=ASK> <body background=ASK>",
    "term\n: <details\n  open ontoggle=RUN>",
    "- [ ] <img src=x\n  onerror=RUN>",
    "&lt;img src=x onerror=RUN&gt; &#60;script>RUN&#60;/script>",
    "\\<img src=x onerror=RUN\\>",
]
ATTACKS = [text.replace("RUN", RUN).replace("ASK", OUTSIDE.format("md")) for text in ATTACKS]
ATTACKS += list(payloads().values())
PIECES = (
    (
        "\n¦ ¦\t¦>¦-¦+¦*¦_¦#¦`¦~¦|¦$¦\\¦<¦/¦=¦\"¦'¦&¦;¦:¦!¦[¦]¦(¦)¦{¦}¦1. ¦\r¦\x00¦\x0b¦\x0c¦\x85¦\u2028¦"
        "\n\n¦\n> ¦\n>¦\n    ¦\n- ¦```¦~~~¦$$¦\n$$\n¦--¦-->¦<!--¦]]>¦<![CDATA[¦<p>¦</p>¦<p¦<details¦"
        "open ontoggle=RUN>¦<img src=x ¦onerror=RUN>¦<svg¦/onload=RUN>¦<script>¦RUN¦</script>¦<pre>¦</pre>¦"
        "<textarea>¦<style>¦<b¦<div>¦</div>¦<x-y¦](¦![¦javascript:RUN¦attachment:a¦http://127.0.0.1:9/¦"
        "data:image/png;base64,AAAA¦\n[z]: ¦&#60;¦&lt;¦\\begin{a}¦\\end{a}¦mermaid\n¦|\n|-|\n|¦\n===\n¦\n: ¦"
        "<!DOCTYPE¦<?¦?>"
    )
    .replace("RUN", RUN)
    .split("¦")
)
LONG = settings(derandomize=True, deadline=None, max_examples=int(os.environ.get("LGM_FUZZ", "100")))


def recorded(source: str, kind: str = "markdown") -> str:
    cell = CleanCell("extra1", "extra", source, kind)  # type: ignore[arg-type]
    notebook = executed_notebook([CellRun(cell)], graded.exercise(), {}, {})
    assert notebook.cells[0].cell_type == "markdown"
    return str(notebook.cells[0].source)


def assert_clean(page: str) -> None:
    """Only tags and attributes that neither run nor load anything."""
    for tag, attributes in Text(page).tags:
        assert tag in TAGS_KEPT | {"div", "span"}, tag
        for name, value in attributes.items():
            ours = (tag, name, value) == ("p", "class", "note") or (tag == "a" and name == "rel")
            assert ours or name in ATTRIBUTES["*"] | ATTRIBUTES.get(tag, set()), (tag, name)
            if name == "src":
                assert (value or "").startswith("data:image/")
            if name == "href":
                assert (value or "").lstrip().lower().startswith(("http:", "https:", "mailto:"))


@pytest.mark.parametrize("kind", ["markdown", "raw"])
@pytest.mark.parametrize("source", ATTACKS)
def test_formgrader_renders_nothing_of_its_own(source: str, kind: str) -> None:
    block = recorded(source, kind)
    assert markdown2html(block).strip() == block and "\n" not in block
    assert_clean(block)


@LONG
@given(st.lists(st.sampled_from(PIECES) | st.sampled_from(ATTACKS) | st.text(max_size=5), max_size=30))
def test_no_markdown_becomes_more_than_was_cleaned(pieces: list[str]) -> None:
    block = one_block(Harmless(dollars=True).markdown("".join(pieces)))
    assert markdown2html(block).strip() == block
    assert_clean(block)


def test_what_is_honest_is_rendered() -> None:
    source = (
        "# Why\n\n**Since** $a < b$, `x` and\n\n$$\\frac{1}{2}$$\n\n\\begin{align}\nx &= 1\n\\end{align}\n\n"
    )
    source += "| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n\ny = 2\n```\n\n- one\n\n  two\n\n[link](https://a.org)"
    block = recorded(source)
    for part in (
        "<h1>Why</h1>",
        "<strong>Since</strong> ",
        "$a &lt; b$",
        "<code>x</code>",
        "$$\\frac{1}{2}$$",
        "\\begin{align}&#10;x &amp;= 1&#10;\\end{align}",
        "<td>2</td>",
        "x = 1&#10;&#10;y = 2&#10;</code></pre>",
        '<a href="https://a.org" rel="noopener noreferrer nofollow">link</a>',
    ):
        assert part in block, part


def test_pictures_from_elsewhere_and_attachments_leave_a_sentence() -> None:
    for source in (
        "![x](attachment:a.png)",
        f"![x]({OUTSIDE})",
        f"<img src='{OUTSIDE}'>",
        "<img src=/etc/x.png>",
    ):
        block = recorded(source)
        assert str(NO_PICTURE) in block and "src" not in block.replace(str(NO_PICTURE), "")
    own = f"![x](data:image/png;base64,{graded.png()})"
    assert 'src="data:image/png;base64,' in recorded(own) and str(NO_PICTURE) not in recorded(own)


@pytest.mark.parametrize("picture", ["![x](attachment:a.png)", f"[![x]({OUTSIDE})](https://a.org)"])
def test_text_of_the_exercise_asks_for_nothing(picture: str) -> None:
    """Formgrader would ask the web for Colab's badge, and answer 500 to an attachment that is missing."""
    cell = CleanCell("title", "text", f"# Title\n\n{picture}", "markdown")
    notebook = executed_notebook([CellRun(cell)], graded.exercise(), {}, {})
    page = markdown2html(notebook.cells[0].source)
    assert "<h1>Title</h1>" in page and "src" not in page and str(NO_PICTURE) not in page


def test_outputs_are_those_of_the_feedback_page() -> None:
    said = [
        graded.display(text_html="<b onclick=x()>b</b>", text_plain="p", text_latex="$x$"),
        graded.display(image_png=graded.png(), text_plain="<Figure>"),
        graded.display(image_gif="R0lGODlhAQABAAAAACw=", **{"image_svg+xml": "<svg/>"}),
        graded.display(text_markdown="> <p>\n> <details\n> open ontoggle=x()>"),
        graded.display(text_latex="$<script>$"),
        graded.stream("\x1b[31mred\x1b[0m\x07\u202e"),
        graded.error("Value\x1bError", "\x1b]0;title\x07no", "\x1b[2Jgone\nline"),
    ]
    run = CellRun(CleanCell("extra1", "extra", "1"), tuple(said))
    outputs = executed_notebook([run], graded.exercise(), {}, {}).cells[0].outputs
    data = [dict(output.data) for output in outputs[:5]]
    assert data[0] == {"text/html": "<b>b</b>"} and list(data[1]) == ["image/png"]
    assert data[2] == {"text/html": str(NO_PICTURE)} and "ontoggle" not in data[3]["text/html"]
    assert data[4] == {"text/plain": "$<script>$"}
    text = nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=outputs)]))
    assert "\\u001b" not in text and "\u202e" not in text and outputs[5].text == "red��"
