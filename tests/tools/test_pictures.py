"""tools/pictures.py: drawings, their files, and how a notebook shows them."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from nbconvert import HTMLExporter
from PIL import Image

from tests.conftest import ROOT, WEEK
from tools import drift, notebooks, pictures
from tools.notebooks import SourceError

DRAWINGS = '''
from tools.pictures import Picture


def flow() -> Picture:
    """An arrow leads from x
    to "z" & ends there."""
    p = Picture(4, 1)
    x, z = p.node(0.5, 0.5, "$x$", seen=True), p.node(3.5, 0.5, "$z$")
    p.arrow(x, z, "encoder", colour="#0072B2")
    return p


def silent() -> Picture:
    return Picture(1, 1)
'''
ALT = 'An arrow leads from x to "z" & ends there.'
SHOWN = "\n# %% [markdown] idea\n# {{picture: flow}}\n"


@pytest.fixture
def course(sample: Path) -> Path:
    """The sample course with two drawings, one of them without a text alternative; nothing is drawn yet."""
    drawings = sample / notebooks.DRAWINGS / f"{WEEK}.py"
    drawings.parent.mkdir()
    drawings.write_text(DRAWINGS, encoding="utf-8")
    return sample


def file(course: Path, name: str = "flow") -> Path:
    return course / notebooks.DRAWINGS / WEEK / f"{name}.png"


def show(course: Path, text: str = SHOWN) -> None:
    """Append a cell to the preparation."""
    source = course / "notebooks" / f"{WEEK}.py"
    source.write_text(source.read_text() + text)


def one(drawings: str, tmp_path: Path) -> bytes:
    """What `flow` gives."""
    path = tmp_path / "drawings.py"
    path.write_text(drawings, encoding="utf-8")
    return dict(pictures.draw(path))["flow"]


class Images(HTMLParser):
    """The images of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.found.append(dict(attributes))


# The course's own pictures


def test_files_are_what_their_drawings_give() -> None:
    assert [path.name for path, _ in pictures.stale()] == []


FILES = sorted((ROOT / notebooks.DRAWINGS).glob("*/*.png"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.stem}-{path.parent.name}")
def test_small_described_and_not_cut(path: Path) -> None:
    image = Image.open(path).convert("RGB")
    assert path.stat().st_size < 60_000
    assert image.width <= 820 * notebooks.PIXELS, "it fits beside JupyterLab's file browser"
    alt = notebooks.alternatives(path.parent.with_suffix(".py"))[path.stem]
    assert len(alt) > 150, f"its docstring has {len(alt)} characters, say in more than 150 what is to be seen"
    assert not re.search(r"[$`*<>\\]", alt), "no mark-up: it is read aloud"
    # A border of one pixel: whatever touches it would be cut there.
    border = [image.crop(box) for box in ((0, 0, image.width, 1), (0, image.height - 1, *image.size))]
    border += [image.crop(box) for box in ((0, 0, 1, image.height), (image.width - 1, 0, *image.size))]
    assert all(colour == (255, 255, 255) for edge in border for _, colour in edge.getcolors())


# Drawing


def test_a_drawing_gives_the_same_file_twice(tmp_path: Path) -> None:
    assert one(DRAWINGS, tmp_path) == one(DRAWINGS, tmp_path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("encoder", "encoden"),
        ("$z$", "$s$"),
        ("#0072B2", "#D55E00"),
        ("seen=True", "seen=False"),
        ("p.arrow(x, z", "p.arrow(z, x"),
        ("Picture(4, 1)", "Picture(4, 1.1)"),
    ],
)
def test_a_change_is_noticed(before: str, after: str, tmp_path: Path) -> None:
    changed = one(DRAWINGS.replace(before, after), tmp_path)
    assert pictures.difference(one(DRAWINGS, tmp_path), changed) > pictures.SEEN


def test_another_rasteriser_is_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn twice as large and made small again, all edges differ a little."""
    monkeypatch.setattr(pictures, "PIXELS", 2 * notebooks.PIXELS)
    image = Image.open(io.BytesIO(one(DRAWINGS, tmp_path))).convert("RGB").reduce(2)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    monkeypatch.undo()
    assert 0 < pictures.difference(one(DRAWINGS, tmp_path), buffer.getvalue()) < pictures.SEEN


def test_an_arrow_ends_at_the_border(tmp_path: Path) -> None:
    """Along the middle line: from x, which ends at 0.5 + 0.34 inches, to just before z, at 3.5 − 0.34."""
    image = Image.open(io.BytesIO(one(DRAWINGS.replace('"$z$"', '""'), tmp_path))).convert("RGB")
    blue = [x for x in range(image.width) if image.getpixel((x, image.height // 2)) == (0, 0x72, 0xB2)]
    scale = 96 * notebooks.PIXELS
    assert min(blue) / scale == pytest.approx(0.5 + 0.34, abs=0.03)
    assert 3.5 - 0.34 - 0.1 < max(blue) / scale < 3.5 - 0.34


# The command


def test_the_command_draws_what_is_missing_and_removes_what_is_too_many(
    course: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file(course).parent.mkdir()
    file(course, "old").write_bytes(b"")
    check = ["--root", str(course), "--check"]
    assert pictures.main(check) == 1
    folder = f"{notebooks.DRAWINGS}/{WEEK}"
    assert capsys.readouterr().out.splitlines() == [
        f"{folder}/flow.png is not what its drawing gives: run `make notebooks`",
        f"{folder}/silent.png is not what its drawing gives: run `make notebooks`",
        f"{folder}/old.png has no drawing: run `make notebooks`",
    ]
    assert file(course, "old").exists() and not file(course).exists(), "--check writes nothing"

    assert pictures.main(["--root", str(course)]) == 0
    assert sorted(path.name for path in file(course).parent.iterdir()) == ["flow.png", "silent.png"]
    written = file(course).stat().st_mtime_ns
    assert pictures.main(["--root", str(course)]) == 0 and pictures.main(check) == 0
    assert file(course).stat().st_mtime_ns == written, "what has not changed is not written"


def test_a_drawing_that_returns_nothing(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = course / notebooks.DRAWINGS / f"{WEEK}.py"
    path.write_text(DRAWINGS.replace("return p\n", "pass\n"))
    assert pictures.main(["--root", str(course)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"{WEEK}.py: flow() returns no Picture" in said


# In a notebook


def test_a_notebook_shows_the_file(course: Path) -> None:
    pictures.main(["--root", str(course)])
    show(course)
    notebooks.write(course)
    page, _ = HTMLExporter().from_filename(course / "notebooks" / f"{WEEK}.ipynb")
    image = Images(page).found[-1]
    assert image["alt"] == ALT
    assert (
        base64.b64decode((image["src"] or "").removeprefix("data:image/png;base64,"))
        == file(course).read_bytes()
    )
    assert image["width"] == str(4 * 96), "half the file's pixels, sharp on screens with two for one"


def test_a_new_drawing_is_drift_but_no_new_cell(course: Path) -> None:
    def cell() -> tuple[str, str]:
        (source,) = (s for s in notebooks.find_sources(course) if s.path.parent.name == "notebooks")
        last = notebooks.build(source, course).cells[-1]
        return last.id, last.source

    pictures.main(["--root", str(course)])
    show(course, "\n# %% [markdown]\n# {{picture: flow}}\n")
    notebooks.write(course)
    before = cell()
    drawings = course / notebooks.DRAWINGS / f"{WEEK}.py"
    drawings.write_text(DRAWINGS.replace("encoder", "decoder"))
    pictures.main(["--root", str(course)])
    assert cell()[0] == before[0] and cell()[1] != before[1]
    assert f"notebooks/{WEEK}.ipynb differs from its source: run `make notebooks`" in list(
        drift.drift(course)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{picture: flwo}}", f"no picture 'flwo' in {notebooks.DRAWINGS}/{WEEK}.py; known are flow, silent"),
        ("{{picture}}", f"no picture '' in {notebooks.DRAWINGS}/{WEEK}.py; known are flow, silent"),
        (
            "{{ picture: silent }}",
            "the picture 'silent' has no text alternative: write the docstring of silent()",
        ),
        ("{{picture: flow}}", f"{notebooks.DRAWINGS}/{WEEK}/flow.png is missing: run `make notebooks`"),
    ],
)
def test_one_clear_line(course: Path, text: str, message: str) -> None:
    show(course, SHOWN.replace("{{picture: flow}}", text))
    lines = (course / "notebooks" / f"{WEEK}.py").read_text().splitlines()
    with pytest.raises(SourceError) as caught:
        notebooks.write(course)
    assert f"notebooks/{WEEK}.py:{lines.index('# %% [markdown] idea') + 1}: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_week_without_drawings(sample: Path) -> None:
    show(sample)
    with pytest.raises(
        SourceError, match=f"no picture 'flow' in {notebooks.DRAWINGS}/{WEEK}.py; known are none"
    ):
        notebooks.write(sample)


def test_not_in_an_exercise(course: Path) -> None:
    pictures.main(["--root", str(course)])
    source = course / "solutions" / WEEK / f"{WEEK}.py"
    source.write_text(source.read_text() + SHOWN)
    with pytest.raises(SourceError, match="a picture may stand in a preparation, not in an exercise"):
        notebooks.write(course)
