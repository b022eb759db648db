"""How long a preparation takes: `make load` counts what a student must read and write, week by week.

What counts, from the notebook's source:

- *words* of the Markdown cells, with tables and folded details, without fenced code, formulas and pictures;
- *lines* of code: neither blank, comment nor docstring, and not those of the cells `setup` and `parameters`;
- *equations*: displayed ones, `$$ … $$`;
- *predict*: prompts, which begin with `**Predict`;
- *figures*: calls of `utils.plotting` and of `scoreboard.plot`, and pictures in the text;
- *questions* of the self-check.

The minutes are an estimate, by `MINUTES`. The core ends at the first heading `## Deeper · …`; a week that has
one is in the new form, and its core has `LIMITS` (week 4 may have more `LINES`). Going bigger and the
references count nowhere. The title cell announces the minutes, `this notebook 150 minutes` or
`the core of this notebook 150 minutes`: never fewer than estimated, rounded up to 10.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import math
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import jupytext

from tools.command import one_line
from tools.notebooks import ROOT, Source, SourceError, find_sources

MINUTES = {"words": 1 / 100, "lines": 1 / 5, "equations": 1.5, "predict": 2, "figures": 1, "questions": 2}
LIMITS = {"lines": 350, "words": 3000, "minutes": 150}  # of the core of a week in the new form
LINES = {"week04_dbn_dbm": 400}  # two models
FENCE = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


@dataclass
class Count:
    """What a part of a notebook holds; counts add up."""

    words: int = 0
    lines: int = 0
    equations: int = 0
    predict: int = 0
    figures: int = 0
    questions: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def minutes(self) -> float:
        """The estimate for one student."""
        return sum(getattr(self, name) * minutes for name, minutes in MINUTES.items())


@dataclass(frozen=True)
class Load:
    """A week's load: its core, which is the whole of a week in the old form, and Deeper."""

    stem: str
    core: Count
    deeper: Count | None
    announced: int | None

    def faults(self) -> Iterator[str]:
        """What is wrong, a line each."""
        least = 10 * math.ceil(self.core.minutes / 10)
        if self.announced is None:
            yield f"{self.stem}: its title cell announces no minutes: write `this notebook {least} minutes`"
        elif self.announced < least:
            yield f"{self.stem}: announces {self.announced} minutes, the estimate is {least}"
        if self.deeper is not None:
            limits = LIMITS | {"lines": LINES.get(self.stem, LIMITS["lines"])}
            for name, most in limits.items():
                if (value := getattr(self.core, name)) > most:
                    yield f"{self.stem}: its core has {math.ceil(value)} {name}, more than {most}: use Deeper"


def prose(text: str) -> Count:
    """What the Markdown of a cell holds; `text` without fenced code."""
    equations = text.count("$$") // 2
    predict = len(re.findall(r"\*\*Predict\b", text))
    text = re.sub(r"\$\$.*?\$\$|(?<!\\)\$[^$]+?(?<!\\)\$", " ", text, flags=re.S)
    text, figures = re.subn(r"\{\{picture\b.*?\}\}|!\[[^]]*\]\([^)]*\)|<img\b[^>]*>", " ", text)
    text = re.sub(r"\{\{.*?\}\}|</?\w[^>]*>|\]\([^)]*\)", " ", text)  # badge, tags, where links lead
    words = sum(any(c.isalnum() for c in word) for word in text.split())
    return Count(words=words, equations=equations, predict=predict, figures=figures)


def code(text: str, quiz: Path) -> Count:
    """What a code cell holds; `quiz` has the questions of the week."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if ast.get_docstring(node) is not None else None
            lines.difference_update(range(first.lineno, (first.end_lineno or 0) + 1) if first else ())
    figures = len(re.findall(r"\b(?:plotting\.[a-z]\w*|scoreboard\.plot)\(", text))
    questions = len(json.loads(quiz.read_text(encoding="utf-8"))) if "quiz.show(" in text else 0
    return Count(lines=len(lines), figures=figures, questions=questions)


def measure(source: Source) -> Load:
    """The load of a preparation notebook, from its source."""
    parts = {"core": Count(), "deeper": Count(), "rest": Count()}
    part, new_form, announced = "core", False, None
    quiz = source.path.parent.parent / "utils" / "quizzes" / f"{source.stem}.json"
    for number, cell in enumerate(jupytext.read(source.path, fmt="py:percent").cells):
        name = cell.metadata.get("title")
        if cell.cell_type == "code":
            if name not in ("setup", "parameters"):
                parts[part] += code(cell.source, quiz)
            continue
        text = FENCE.sub("", cell.source)
        if number == 0 and (match := re.search(r"\bnotebook (\d+) minutes", text)):
            announced = int(match[1])
        for section in re.split(r"^(?=## )", text, flags=re.M):
            if section.startswith("## Deeper · "):
                part, new_form = "deeper", True
            elif section.startswith(("## Going bigger", "## References")):
                part = "rest"
            elif section.startswith("## "):
                part = "deeper" if new_form else "core"
            parts[part] += prose(section)
    return Load(source.stem, parts["core"], parts["deeper"] if new_form else None, announced)


def preparations(root: Path = ROOT) -> list[Source]:
    """The sources of all preparation notebooks."""
    return [source for source in find_sources(root) if source.path.parent == root / "notebooks"]


def table(found: list[Load]) -> str:
    """A line for each week, and one for its Deeper sections."""
    names = [field.name for field in fields(Count)]
    lines = [f"{'week':32}" + "".join(f"{name:>11}" for name in [*names, "minutes", "announced"])]
    for load in found:
        for label, count, announced in [
            (load.stem, load.core, str(load.announced or "none")),
            (f"{load.stem}, deeper", load.deeper, ""),
        ]:
            if count is not None:
                numbers = [*astuple(count), f"{count.minutes:.0f}", announced]
                lines.append(f"{label:32}" + "".join(f"{number:>11}" for number in numbers))
    return "\n".join(lines)


@one_line(SourceError, OSError)
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.load", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    found = [measure(source) for source in preparations(options.root.resolve())]
    print(table(found))
    faults = [fault for load in found for fault in load.faults()]
    print("\n".join(faults), end="\n" if faults else "")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
