"""What students' code displays, made safe to open: no scripts, no addresses that load by themselves.

The pages forbid scripts and network besides (`pages.py`). What is hostile may also be huge: all this has a
budget for each page, since a million nested tags would keep the sanitiser busy for minutes.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import time
import unicodedata
import warnings
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup, escape
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from PIL import Image

TEXT = 20_000  # characters of one text
MARKDOWN = 30_000  # characters of one cell; a longer one is shown as it was typed
TAGS = 4_000  # of one piece of HTML: a table of 60 rows and 20 columns has 1,300
PAGE_TAGS = 20_000
PAGE_TEXT = 1_000_000
PAGE_PICTURES = 12 * 2**20  # bytes
PIXELS = 25_000_000  # of one picture
SECONDS = 2.0  # of computing, for all sanitising of a page; what comes later is left out

FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG"}
DATA = re.compile(r"\s*data:(image/(?:png|jpeg));base64,([A-Za-z0-9+/=\s]+)", re.ASCII)
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
OPENING = re.compile(r"<[A-Za-z]")
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


def plain(text: Any, limit: int = TEXT) -> str:
    """Text as a terminal would leave it: no colours, progress bars at their last state, cut in the middle.

    Control and reordering characters become �, so that a text cannot pretend to be another.
    """
    text = str(text)
    if len(text) > 20 * limit:  # before anything looks at each character
        text = text[: 10 * limit] + text[-10 * limit :]
    text = ESCAPES.sub("", text).replace("\r\n", "\n")
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    if len(text) > limit:
        head, tail = text[: limit * 2 // 3], text[-limit // 3 :]
        text = f"{head}\n… {len(text) - len(head) - len(tail):,} characters left out …\n{tail}"
    return "".join("�" if _odd(c) else c for c in text)


def _odd(c: str) -> bool:
    if c in "\n\t" or " " <= c <= "~":
        return False
    return unicodedata.category(c) in ("Cc", "Cs") or "\u202a" <= c <= "\u202e" or "\u2066" <= c <= "\u2069"


def one_line(text: Any, limit: int = 300) -> str:
    """The first line that says something, cut."""
    lines = (line.strip() for line in plain(text, 4 * limit).split("\n"))
    line = next(filter(None, lines), "")
    return line if len(line) <= limit else f"{line[:limit]}…"


class Harmless:
    """Makes what one page shows safe, and keeps that page's budgets."""

    def __init__(self) -> None:
        self.tags, self.text, self.pictures = PAGE_TAGS, PAGE_TEXT, PAGE_PICTURES
        self.seconds = SECONDS
        self._markdown = (
            MarkdownIt("commonmark", {"html": True})
            .enable(["table", "strikethrough"])
            .use(dollarmath_plugin, allow_space=True, double_inline=True, renderer=_tex)
            .use(amsmath_plugin, renderer=lambda content: _tex(content, {"display_mode": True}))
        )

    def plain(self, text: Any, limit: int = TEXT) -> str:
        """As the function of that name, within the page's budget."""
        said = plain(text, max(0, min(limit, self.text)))
        self.text -= len(said)
        return said

    def markdown(self, source: str) -> Markup:
        """Markdown → HTML; formulas stay TeX, which one can read."""
        if len(source) <= MARKDOWN and self.seconds > 0:
            start = time.thread_time()
            rendered = self._markdown.render(source)
            self.seconds -= time.thread_time() - start
            clean = self._clean(rendered) if len(rendered) <= 20 * MARKDOWN else None
            if clean is not None:
                return clean
        return Markup("<pre>{}</pre>").format(self.plain(source))

    def html(self, source: str) -> Markup | None:
        """HTML without what runs or loads; None if nothing can be shown."""
        clean = self._clean(source)
        return clean if clean and (clean.striptags().strip() or "<img" in clean) else None

    def picture(self, kind: str, data: Any) -> str | None:
        """A data address of a picture that is what it says it is, else None."""
        if kind not in FORMATS or not isinstance(data, str) or len(data) > 4 * self.pictures // 3:
            return None
        try:
            content = base64.b64decode("".join(data.split()), validate=True)
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # Pillow warns of decompression bombs
                with Image.open(io.BytesIO(content), formats=[FORMATS[kind]]) as image:
                    if not 0 < image.width * image.height <= PIXELS:
                        return None
                    image.verify()
        except (binascii.Error, ValueError, OSError, SyntaxError, Warning, Image.DecompressionBombError):
            return None
        self.pictures -= len(content)
        return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"

    def _clean(self, source: str) -> Markup | None:
        tags = len(OPENING.findall(source))
        if self.seconds <= 0 or tags > min(TAGS, self.tags):
            return None
        self.tags -= tags
        start = time.thread_time()
        clean = nh3.clean(
            source.encode("utf-8", "replace").decode("utf-8"),  # lone surrogates
            tags=TAGS_KEPT,
            attributes=ATTRIBUTES,
            attribute_filter=self._attribute,
            url_schemes={"http", "https", "mailto", "data"},
            link_rel="noopener noreferrer nofollow",
            clean_content_tags={"script", "style", "iframe", "object", "template", "noscript", "title"},
        )
        self.seconds -= time.thread_time() - start
        if len(clean) > 3 * len(source) + 10_000:  # unclosed tags can multiply
            return None
        self.text -= len(clean) if "<img" not in clean else 0
        return Markup(clean) if self.text > 0 else None

    def _attribute(self, tag: str, attribute: str, value: str) -> str | None:
        if attribute == "src":
            match = DATA.fullmatch(value)
            return self.picture(match[1], match[2]) if match else None
        if attribute == "href":
            return value if re.match(r"\s*(https?:|mailto:)", value, re.IGNORECASE) else None
        if attribute == "class":
            return value if value in TEX else None
        if attribute in ("width", "height"):
            return value if re.fullmatch(r"\d{1,4}", value, re.ASCII) else None
        return value


def _tex(content: str, options: dict[str, Any]) -> str:
    """A formula as it was written, without dollars."""
    kind = "tex display" if options.get("display_mode") else "tex"
    return str(Markup('<code class="{}">{}</code>').format(kind, escape(content.strip())))
