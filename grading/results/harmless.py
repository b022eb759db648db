"""What students' code displays, made safe to open: no scripts, no addresses that load by themselves.

The pages forbid scripts and network besides (`pages.py`). What is hostile may be huge too, or small and slow:
hence budgets, for one piece and for a page: sizes that are counted before the work, and bound its time.
"""

from __future__ import annotations

import base64
import io
import json
import re
import unicodedata
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup, escape
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from PIL import Image

from grading.model import CellRun

TEXT = 20_000  # characters of one text
MARKDOWN, PAGE_MARKDOWN = 10_000, 100_000  # characters that are rendered, else shown as they were typed
CODE, PAGE_CODE = 20_000, 200_000  # characters that get colours
TAGS, PAGE_TAGS = 4_000, 20_000  # of HTML: a table of 60 rows and 20 columns has 2,600 with those that close
PIECES, PAGE_PIECES = 10_000, 100_000  # words, slashes and quotes of HTML: no tag can have more attributes
CELLS = 4_000  # of all tables of a Markdown cell
PAGE_TEXT = 1_000_000
PAGE_PICTURES = 12 * 2**20  # bytes
PIXELS, PAGE_PIXELS = 10_000_000, 30_000_000
# Of a submission, for page, notebook and ledger:
KEPT = 16 * 2**20  # characters of all outputs, in JSON
OUTPUTS = 2_000
EXTRA = 300  # cells that the student added
SOURCE, SOURCES = 100_000, 1_000_000  # characters of a cell, of all cells

FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG"}
DATA = re.compile(r"data:(image/(?:png|jpeg));base64,([A-Za-z0-9+/=\r\n]+)")
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
TEX = {"tex", "tex display"}  # the only classes that survive in students' HTML
TAGS_KEPT = set(nh3.ALLOWED_TAGS) - {"map", "area"} | {"figure", "figcaption", "details", "summary"}
ATTRIBUTES = {
    "*": {"title", "lang", "dir"},
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "td": {"colspan", "rowspan", "align"},
    "th": {"colspan", "rowspan", "align", "scope"},
    "ol": {"start"},
    "details": {"open"},
    "code": {"class"},
}
# Control characters, half characters, and those that turn the direction of what follows.
ODD = dict.fromkeys(
    [i for i in range(0x10000) if unicodedata.category(chr(i)) in ("Cc", "Cs") and chr(i) not in "\n\t"]
    + [*range(0x202A, 0x202F), *range(0x2066, 0x206A)],
    "�",
)
NO_PICTURE = Markup(
    '<p class="note">A picture is left out here: shown are only PNG and JPEG that stand in the output or the '
    "text itself, no attachments, nothing from elsewhere.</p>"
)
LEFT_OUT = "({} of this cell left out: the notebook as a whole displays more than is kept)\n"
SAID = re.compile(re.escape(LEFT_OUT).replace(r"\{\}", r"(?:one output|[\d,]{1,20} outputs)"))
SENTENCE = 100  # characters, at most, of what says how much of a source was left out


def plain(text: Any, limit: int = TEXT) -> str:
    """Text as a terminal would leave it: no colours, progress bars at their last state, cut in the middle.

    Control and reordering characters become �, so that a text cannot pretend to be another.
    """
    text = str(text)
    if len(text) > 20 * limit:  # before anything looks at each character
        text = text[: 10 * limit] + text[len(text) - 10 * limit :]
    text = ESCAPES.sub("", text).replace("\r\n", "\n")
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return cut(text, limit).translate(ODD)


def cut(text: str, limit: int) -> str:
    """About `limit` characters of `text`: beginning and end, and between them how many are missing."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit * 2 // 3], text[len(text) - limit // 3 :]
    return f"{head}\n… {len(text) - len(head) - len(tail):,} characters left out …\n{tail}"


def one_line(text: Any, limit: int = 300) -> str:
    """The first line that says something, cut."""
    lines = (line.strip() for line in plain(text, 4 * limit).split("\n"))
    line = next(filter(None, lines), "")
    return line if len(line) <= limit else f"{line[:limit]}…"


def joined(value: Any) -> str:
    """Text of an output, which the notebook format may hold as a list of lines."""
    if isinstance(value, list | tuple):
        return "".join(map(str, value))
    return value if isinstance(value, str) else ""


def capped(runs: Iterable[CellRun]) -> tuple[CellRun, ...]:
    """The cells with as much source and output as is kept of a submission; a sentence says what is not.

    Once more it changes nothing, so that what comes from the ledger keeps its sentences.
    """
    room, outputs, sources, extra = KEPT, OUTPUTS, SOURCES, EXTRA
    made: list[CellRun] = []
    for run in runs:
        cell = run.cell
        if cell.kind == "extra":
            extra -= 1
            if extra < 0:
                continue
        if cell.kind in ("solution", "manual", "extra"):
            most = max(1000, min(SOURCE, sources))
            if len(cell.source) > most + SENTENCE:
                cell = replace(cell, source=cut(cell.source, most))
            sources -= len(cell.source)
        kept: list[Mapping[str, Any]] = []
        *others, last = run.outputs or ({},)
        said = last if isinstance(last, Mapping) and SAID.fullmatch(joined(last.get("text"))) else None
        for output in others if said else run.outputs:
            if outputs <= 0 or _characters(output) > room:
                continue
            size = len(json.dumps(output, default=str))
            if size <= room:
                kept.append(output)
                room, outputs = room - size, outputs - 1
        if missing := len(run.outputs) - bool(said) - len(kept):
            words = LEFT_OUT.format("one output" if missing == 1 else f"{missing:,} outputs")
            said = {"output_type": "stream", "name": "stdout", "text": words}
        kept += [said] if said else []
        made.append(replace(run, cell=cell, outputs=tuple(kept)))
    return tuple(made)


def _characters(thing: Any) -> int:
    if isinstance(thing, Mapping):
        return sum(map(_characters, thing.values()))
    return sum(map(_characters, thing)) if isinstance(thing, list | tuple) else len(str(thing))


class Harmless:
    """Makes what one page shows safe, and keeps that page's budgets.

    dollars: formulas keep their dollars, for a page that typesets them; else they become code.
    """

    def __init__(self, dollars: bool = False) -> None:
        self.tags, self.pieces, self.text, self.rendered = PAGE_TAGS, PAGE_PIECES, PAGE_TEXT, PAGE_MARKDOWN
        self.bytes, self.pixels, self.coloured = PAGE_PICTURES, PAGE_PIXELS, PAGE_CODE
        tex = _dollars if dollars else _tex
        self._markdown = (
            MarkdownIt("commonmark", {"html": True})
            .enable(["table", "strikethrough"])
            .disable("reference")  # a long address that is named often has no end
            .use(dollarmath_plugin, allow_space=True, double_inline=True, renderer=tex)
            .use(amsmath_plugin, renderer=lambda content: tex(content, {"display_mode": True, "whole": True}))
        )

    def plain(self, text: Any, limit: int = TEXT) -> str:
        """As the function of that name, within the page's budget."""
        said = plain(text, max(40, min(limit, self.text)))
        self.text -= len(said) + 50
        return said

    def code(self, source: str) -> tuple[str, bool]:
        """A cell's code without what makes colouring slow, and whether the page has room for its colours."""
        text = self.plain(source, 3 * CODE)
        text = re.sub(r"[^\S\n]{100,}", " " * 100, text)
        text = re.sub(r"(?:[^\S\n]*\n){30,}", "\n" * 30, text)
        coloured = len(text) <= min(CODE, self.coloured)
        self.coloured -= len(text) if coloured else 0
        return text, coloured

    def markdown(self, source: str, tell: bool = True) -> Markup:
        """Markdown → HTML; formulas stay TeX, which one can read. tell: say where a picture is left out."""
        lines = source.split("\n")
        cells = len(lines) * max(line.count("|") for line in lines)
        if len(source) <= min(MARKDOWN, self.rendered) and cells <= CELLS:
            self.rendered -= len(source) + 5 * cells
            clean = self._clean(self._markdown.render(source), tell)
            if clean is not None:
                return clean
        return Markup("<pre>{}</pre>").format(self.plain(source))

    def html(self, source: str) -> Markup | None:
        """HTML without what runs or loads; None if nothing can be shown."""
        clean = self._clean(source)
        return clean if clean and (clean.striptags().strip() or "<img" in clean) else None

    def picture(self, kind: str, data: Any) -> str | None:
        """A data address of a picture that is what it says it is, decoded and encoded anew; else None."""
        if kind not in FORMATS or not isinstance(data, str) or len(data) > 4 * self.bytes // 3:
            return None
        try:
            content = base64.b64decode("".join(data.split()), validate=True)
            made = io.BytesIO()
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # Pillow warns of decompression bombs
                with Image.open(io.BytesIO(content), formats=[FORMATS[kind]]) as image:
                    size = image.width * image.height
                    if not 0 < size <= min(PIXELS, self.pixels):
                        return None
                    self.pixels -= size
                    still = image.copy()  # decodes all of it, and of several pictures the first
                still.info = {name: value for name, value in still.info.items() if name == "transparency"}
                if kind == "image/jpeg":
                    still = still if still.mode in ("L", "RGB") else still.convert("RGB")
                still.save(made, FORMATS[kind], **({"quality": 90} if kind == "image/jpeg" else {}))
        except Exception:  # bytes from anybody: what a decoder raises has no end
            return None
        if len(made.getvalue()) > self.bytes:
            return None
        self.bytes -= len(made.getvalue())
        return f"data:{kind};base64,{base64.b64encode(made.getvalue()).decode('ascii')}"

    def display(self, data: Mapping[str, Any]) -> tuple[str, str]:
        """The best representation that can be shown safely: MIME type and content, a picture's data address.

        ("text/html", "") if there is none.
        """
        if (source := joined(data.get("text/html"))) and (shown := self.html(source)):
            return "text/html", shown
        for kind in FORMATS:
            if kind in data and (address := self.picture(kind, joined(data[kind]))):
                return kind, address
        if source := joined(data.get("text/markdown")):
            return "text/markdown", self.markdown(source)
        words = joined(data.get("text/plain")) or joined(data.get("text/latex"))
        if words.strip():
            return "text/plain", self.plain(words)
        return "text/html", NO_PICTURE if any(kind.startswith("image/") for kind in map(str, data)) else ""

    def _clean(self, source: str, tell: bool = True) -> Markup | None:
        pictures: list[tuple[str, str]] = []
        shown: list[str] = []

        def take(match: re.Match[str]) -> str:
            pictures.append((match[1], match[2]))
            return f"data:{len(pictures) - 1}"

        def value_of(name: str, value: str) -> str | None:
            if name == "src":
                own = re.fullmatch(r"\s*data:(\d{1,9})\s*", value, re.ASCII)
                number = int(own[1]) if own else len(pictures)
                address = self.picture(*pictures[number]) if number < len(pictures) else None
                shown.extend([address] if address else [])
                return address
            if name == "href":
                return value if re.match(r"\s*(https?:|mailto:)", value, re.IGNORECASE) else None
            if name == "class":
                return value if value in TEX else None
            if name in ("width", "height"):
                return value if re.fullmatch(r"\d{1,4}", value, re.ASCII) else None
            return value

        def attribute(tag: str, name: str, value: str) -> str | None:
            try:
                return value_of(name, value)
            except BaseException:  # after any exception nh3 would keep the attribute as it was
                return None

        # What costs time is counted without the pictures, which are decoded only where one is shown.
        text = DATA.sub(take, source.encode("utf-8", "replace").decode("utf-8"))
        tags = text.count("<")
        pieces = len(text.split()) + sum(map(text.count, "/\"'"))
        if tags > min(TAGS, self.tags) or pieces > min(PIECES, self.pieces) or len(text) > self.text:
            return None
        self.tags, self.pieces, self.text = self.tags - tags, self.pieces - pieces, self.text - len(text)
        clean = nh3.clean(
            text,
            tags=TAGS_KEPT,
            attributes=ATTRIBUTES,
            attribute_filter=attribute,
            url_schemes={"http", "https", "mailto", "data"},
            link_rel="noopener noreferrer nofollow",
            clean_content_tags={"script", "style", "iframe", "object", "template", "noscript", "title"},
        )
        if len(clean) - sum(map(len, shown)) > 3 * len(text) + 10_000:  # unclosed tags can multiply
            return None
        return Markup(clean.translate(ODD)) + (
            NO_PICTURE if tell and clean.count("<img") > len(shown) else ""
        )


def _tex(content: str, options: dict[str, Any]) -> str:
    """A formula as it was written, without dollars."""
    kind = "tex display" if options.get("display_mode") else "tex"
    return str(Markup('<code class="{}">{}</code>').format(kind, escape(content.strip())))


def _dollars(content: str, options: dict[str, Any]) -> str:
    """A formula as it was written, with dollars."""
    dollars = "" if options.get("whole") else "$$" if options.get("display_mode") else "$"
    return str(Markup("<span>{}{}{}</span>").format(dollars, escape(content.strip()), dollars))
