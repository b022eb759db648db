"""What the two pages, feedback and report, have in common: templates, style, and a policy against scripts.

A page is one file. Its Content-Security-Policy lets the browser run no script, load nothing and apply no
style but the one in the page's head; pictures only where they are embedded.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from grading.files import number
from grading.model import Assignment
from grading.results.harmless import one_line, plain

TEMPLATES = Path(__file__).resolve().parent / "templates"
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
POINTS = re.compile(r"\s*\(\d+(?:\.\d+)?\s+points?\)\s*$")

# What ended something (`GapResult.ended_by`) → in a few words, what it means, what to do.
LIMITS: dict[str, tuple[str, str, str]] = {
    "time": (
        "took too long",
        "Your code was stopped because it took longer than a cell may take.",
        "Look for a loop that never ends, then for loops over single values that one array operation could "
        "replace. %time in front of a line tells how long it takes.",
    ),
    "notebook": (
        "took too long in all",
        "Your notebook was stopped because as a whole it took longer than it may.",
        "Find out which cells take longest, and do less there: fewer steps, no loops over single values.",
    ),
    "memory": (
        "too much memory",
        "Your code was stopped because it wanted more memory than it may have.",
        "Look for arrays that grow in a loop, and for a product of two large axes. Print the shapes.",
    ),
    "processes": (
        "too many processes",
        "Your code was stopped because it started too many processes or threads.",
        "No answer here needs any: take out what starts them.",
    ),
    "output": (
        "too much output",
        "Your code was cut short because it printed or drew more than a page can hold.",
        "Print a line now and then, not in each step, and draw one figure, not one in each step.",
    ),
    "message": (
        "answer too large",
        "Your function returned far more than the test asked for.",
        "Compare the shape of what you return with the one in the task.",
    ),
    "calls": (
        "too many calls",
        "The test called your function more often than it may.",
        "This is rarely your fault: tell your instructor.",
    ),
    "died": (
        "Python ended",
        "The Python process that ran your code came to an end in the middle.",
        "Take out exit(), sys.exit() and os._exit(), and whatever ends or replaces the process. If there is "
        "none of these, tell your instructor.",
    ),
}


def limit_words(limit: str) -> tuple[str, str, str]:
    """In a few words, what it means, what to do."""
    return LIMITS.get(limit, (f"ended by a limit ({limit})", "Your code was stopped by a limit.", ""))


@cache
def style() -> Markup:
    """The style sheet of both pages."""
    return Markup((TEMPLATES / "page.css").read_text(encoding="utf-8"))


@cache
def policy() -> str:
    """The Content-Security-Policy of both pages."""
    digest = base64.b64encode(hashlib.sha256(style().encode("utf-8")).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


@cache
def environment() -> Environment:
    """Jinja with everything escaped that is not marked as safe."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "points": lambda value: number(float(value)),
        "plural": lambda count, one, many="": one if count == 1 else many or f"{one}s",
        "plain": plain,
        "one_line": one_line,
        "seconds": seconds,
        "megabytes": lambda size: f"{size / 2**20:,.0f} MB",
    }
    return made


def seconds(value: float) -> str:
    """0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def page(template: str, values: Mapping[str, Any]) -> str:
    """A whole page, in characters that UTF-8 can hold."""
    text = environment().get_template(template).render(values, style=style(), policy=policy())
    return text.replace("\0", "�").encode("utf-8", "replace").decode("utf-8")


def title(assignment: Assignment) -> str:
    """The exercise's first heading, else the name of the week."""
    for cell in assignment.cells:
        if cell.kind == "text" and (match := HEADING.search(cell.source)):
            return match[1]
    return assignment.week


def gap_titles(assignment: Assignment) -> dict[str, str]:
    """Gap, and name of a manual cell → the heading before it; the name where several share a heading."""
    titles: dict[str, str] = {}
    heading, manual = "", set()
    for cell in assignment.cells:
        if cell.kind == "text" and (found := HEADING.findall(cell.source)):
            heading = POINTS.sub("", found[-1])
        elif cell.kind in ("solution", "test", "manual"):
            if cell.kind == "manual":
                manual.add(cell.name)
            titles.setdefault(cell.name if cell.kind == "manual" else cell.gap, heading)
    shared = Counter(titles.values())
    return {name: words if words and shared[words] == 1 else name for name, words in titles.items()}
