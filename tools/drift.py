"""Names what is not what its source gives: notebooks, exercises, README: `python -m tools.drift`."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools import notebooks, release
from tools.command import one_line
from tools.notebooks import ROOT, SourceError


def drift(root: Path = ROOT) -> Iterator[str]:
    """One line for each committed notebook or exercise that is not what its source gives, with the remedy.

    Everything is made anew in a temporary folder; nothing below `root` is written.
    """
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary).resolve()
        if (root / "solutions").is_dir():  # other files of an exercise, such as a picture, go out with it
            ignored = shutil.ignore_patterns("*.ipynb", ".ipynb_checkpoints")
            shutil.copytree(root / "solutions", fresh / "solutions", ignore=ignored)
        notebooks.write(root, fresh)
        yield from _differences(root, fresh, ".", "README.md", notebooks.COMMAND)
        yield from _differences(root, fresh, "notebooks", "*.ipynb", notebooks.COMMAND)
        yield from _differences(root, fresh, "solutions", "*/*.ipynb", notebooks.COMMAND)
        if (fresh / "solutions").is_dir() or any((root / "exercises").glob("*/*")):
            release.generate(fresh)
            yield from _differences(root, fresh, "exercises", "**/*", "make release")


def _differences(root: Path, fresh: Path, folder: str, pattern: str, command: str) -> Iterator[str]:
    def files(base: Path) -> set[str]:
        found = (p for p in (base / folder).glob(pattern) if p.is_file())
        return {p.relative_to(base).as_posix() for p in found if ".ipynb_checkpoints" not in p.parts}

    here, there = files(root), files(fresh)
    for name in sorted(here | there):
        if name not in here:
            yield f"{name} is missing: run `{command}`"
        elif name not in there:
            yield f"{name} has no source: delete it, or add the source and run `{command}`"
        elif (root / name).read_bytes().replace(b"\r\n", b"\n") != (fresh / name).read_bytes():
            yield f"{name} differs from its source: run `{command}`"


@one_line(SourceError)
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.drift", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    found = list(drift(options.root.resolve()))
    print("\n".join(found) if found else "notebooks and exercises agree with their sources")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
