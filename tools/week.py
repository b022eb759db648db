"""The skeleton of a week: `make week WEEK=week08_gan` writes a file for each part of it.

The template, `tools/week_template`, is a small course with one week that runs. Its files are copied with the
new week's name, number and topic (by default the topic in README's table), then picture, notebooks and
student version are made. Wherever something has to be written it says TODO, and `make check` refuses a week
with one left. Nothing is overwritten.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from grading.files import write_whole
from tools import notebooks
from tools.command import one_line
from tools.notebooks import ROOT, SourceError

TEMPLATE = ROOT / "tools" / "week_template"
STEM, TITLE = "week00_topic", "Week 0 · Topic"


def parts(stem: str, root: Path = ROOT) -> dict[Path, Path]:
    """What a person writes for a week: file of the template → file of the week."""
    files = [path.relative_to(TEMPLATE) for path in sorted(TEMPLATE.rglob("*.*")) if path.is_file()]
    return {TEMPLATE / file: root / file.as_posix().replace(STEM, stem) for file in files}


def write(stem: str, topic: str = "", root: Path = ROOT) -> list[Path]:
    """Write the parts of a week and return them; SourceError if there is a file of that week already."""
    if not (match := re.fullmatch(r"week(\d\d)_[a-z][a-z0-9_]*", stem)):
        raise SourceError(f"{stem!r} is no name of a week: choose one like week08_gan")
    number = int(match[1])
    for folder in (
        "notebooks",
        "notebooks/pictures",
        "solutions",
        "grading/bank",
        "utils/quizzes",
        "tests/notebooks",
    ):
        for path in (root / folder).glob(f"*week{number:02}_*"):
            raise SourceError(f"{path.relative_to(root)} exists: nothing was written")
    row = re.search(rf"^\| {number} \| ([^|]+) \|", (root / "README.md").read_text(encoding="utf-8"), re.M)
    if row is None:
        raise SourceError(f"README.md has no row of week {number}: add `| {number} | topic | | |`")
    written = parts(stem, root)
    for source, target in written.items():
        text = source.read_text(encoding="utf-8").replace(STEM, stem)
        text = text.replace(TITLE, f"Week {number} · {topic or row[1].strip()}")
        text = re.sub(r"\b([Ww]eek.)0\b", rf"\g<1>{number}", text)  # Week 0, week=0
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
    return list(written.values())


@one_line(SourceError)
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.week", description=__doc__.splitlines()[0])
    parser.add_argument("week", help="its name, such as week08_gan")
    parser.add_argument("--topic", default="", help="of the heading (default: the one in README's table)")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    from tools import pictures, release  # nbgrader takes a second to import

    made = write(options.week, options.topic, root)
    drawings = root / notebooks.DRAWINGS / f"{options.week}.py"
    for name, data in pictures.draw(drawings):
        made.append(notebooks.drawn(drawings, name))
        write_whole(made[-1], data)
    made += notebooks.write(root)
    made += [path for path in release.release(root) if path.parent.name == options.week]
    for path in made:
        print(f"wrote {path.relative_to(root)}")
    print(f"now replace each TODO; `make test WEEK={options.week}` is green when none is left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
