"""README, CONTRIBUTING and the pages in docs: their badges, addresses, commands and links are right."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import utils
from tools import notebooks

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CITATION = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
PAGES = [
    *("README.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "data/README.md", "grading/bank/README.md"),
    ".github/pull_request_template.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")),
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("solutions/*/guide.md")),
]
WEEKS = 18
STUDENT = "tools/student_template"


def targets(makefile: Path) -> set[str]:
    """The targets of a Makefile that have a line of help."""
    return set(re.findall(r"^([a-z-]+):.*##", makefile.read_text(encoding="utf-8"), re.M))


def code(text: str) -> Iterator[str]:
    """The commands that a page shows: lines of fenced blocks, and code spans (which may wrap)."""
    fence = re.compile(r"^ *```.*?\n(.*?)^ *```", re.M | re.S)
    for block in fence.findall(text):
        yield from block.splitlines()
    for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", fence.sub("", text)):
        yield " ".join(span.split())


def named_targets(path: Path) -> set[str]:
    """The make targets that a page names."""
    return {target for command in code(path.read_text(encoding="utf-8")) for target in made(command)}


def made(command: str) -> list[str]:
    """The targets that a command line asks make for; [] if it does not call make."""
    try:
        words = shlex.split(command, comments=True)
    except ValueError:  # a fragment with a lone quote
        words = command.split()
    while words and re.fullmatch(r"\w+=.*", words[0]):  # TMPDIR=/elsewhere make setup
        words.pop(0)
    if words[:1] != ["make"]:
        return []
    return [word for word in words[1:] if re.fullmatch(r"[a-z][a-z-]*", word)]


def rows() -> dict[int, list[str]]:
    """Week → the cells of its row in README's table."""
    found = re.findall(r"^\| (\d+) \|(.*)\|$", README, re.M)
    assert len({week for week, _ in found}) == len(found), "a week stands twice in README's table"
    return {int(week): [cell.strip() for cell in rest.split("|")] for week, rest in found}


def test_commands_are_read_from_pages() -> None:
    page = (
        'Run `make notebooks\nrelease`, `make test ARGS="lint unit"`.\n\n'
        "```\nTMPDIR=/x make lab  # then wait\n```\nTo make it."
    )
    assert sorted(target for command in code(page) for target in made(command)) == [
        *("lab", "notebooks", "release", "test")
    ]


def test_readme_fits_one_screen() -> None:
    assert len(README.splitlines()) <= 80


def test_readme_lists_every_week_once_in_order() -> None:
    assert list(rows()) == list(range(1, WEEKS + 1))


def test_each_written_week_has_links_and_badges() -> None:
    for source in notebooks.find_sources():
        cells = rows()[int(source.stem[4:6])]
        column = 1 if source.colab.startswith("notebooks/") else 2
        name = ("notebook", "exercise")[column - 1]
        assert cells[column] == f"[{name}]({source.colab}) {notebooks.badge(source)}", "run `make notebooks`"
        if column == 1:
            assert source.path.read_text(encoding="utf-8").count(
                f"\n# # Week {int(source.stem[4:6])} · {cells[0]}\n"
            )


def test_weeks_that_are_not_written_say_so() -> None:
    written = {int(source.stem[4:6]) for source in notebooks.find_sources()}
    assert {
        week for week, cells in rows().items() if cells[1:] == ["in preparation", ""]
    } == rows().keys() - written


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_a_page_names_exists(page: str) -> None:
    named = named_targets(ROOT / page)
    makefile = ROOT / "Makefile"
    if page == "docs/students.md":  # goes to the students' repository, which has fewer targets
        makefile = ROOT / STUDENT / "Makefile"
    assert not named - targets(makefile), f"{page} names targets that {makefile.relative_to(ROOT)} lacks"


def test_the_students_readme_names_targets_of_the_students_makefile() -> None:
    named = named_targets(ROOT / STUDENT / "README.md")
    assert named and not named - targets(ROOT / STUDENT / "Makefile")


def test_contributing_explains_every_make_target() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = set(re.findall(r"^\| `make ([a-z-]+)`", text, re.M))
    assert table == targets(ROOT / "Makefile")


def test_contributing_adds_a_week_in_ten_steps_or_fewer() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split("\n## Add a week\n")[1].split("\n## ")[0]
    steps = [int(number) for number in re.findall(r"^(\d+)\. ", section, re.M)]
    assert steps == list(range(1, len(steps) + 1)) and 5 <= len(steps) <= 10


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_that_exist(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not re.match(r"https?:|mailto:|#", target):
            assert (path.parent / target.split("#")[0]).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_modules_that_a_page_runs_exist(page: str) -> None:
    commands = list(code((ROOT / page).read_text(encoding="utf-8")))
    for module in re.findall(r"-m ((?:tools|grading)(?:\.\w+)?)", "\n".join(commands)):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file() or (
            ROOT / module / "__main__.py"
        ).is_file(), f"{page} runs {module}"
    for script in re.findall(r"python[\d.]* (?:-[\d.]+ )?(tools[\\/]\w+\.py)", "\n".join(commands)):
        assert (ROOT / script.replace("\\", "/")).is_file(), f"{page} runs {script}"


@pytest.mark.parametrize("page", [*PAGES, "CITATION.cff"])
def test_github_addresses_are_those_of_pyproject(page: str) -> None:
    known = set(notebooks.addresses().values())
    text = (ROOT / page).read_text(encoding="utf-8")
    for address in re.findall(r"https://github\.com/[\w.-]+/[\w.-]*\w", text):
        assert address.removesuffix(".git") in known, f"{page} names {address}; pyproject.toml has {known}"


def test_readme_names_the_students_repository_the_commands_for_windows_and_the_licences() -> None:
    assert notebooks.addresses()["students-repository"] in README
    for needed in (
        *(
            "`make lab`",
            "`make test`",
            r"`py -3.12 tools\setup_env.py`",
            "WSL2",
            "list_physical_devices('GPU')",
        ),
        *(r"`.venv\Scripts\python -m tools.lab`", r"`.venv\Scripts\python -m tools.suite`"),
        *("list_physical_devices('GPU')", "(LICENSE)", "(LICENSE-TEXT)", "(CITATION.cff)"),
    ):
        assert needed in README, needed


def test_licences_and_citation_say_what_pyproject_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "MIT AND CC-BY-4.0"
    code_licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    text_licence = (ROOT / "LICENSE-TEXT").read_text(encoding="utf-8")
    assert code_licence.startswith("MIT License\n") and 'THE SOFTWARE IS PROVIDED "AS IS"' in code_licence
    assert "https://creativecommons.org/licenses/by/4.0/legalcode" in text_licence
    fields = dict(re.findall(r"^([a-z-]+): *([^#\n]*?) *(?:#.*)?$", CITATION, re.M))
    assert {"cff-version", "message", "title", "authors"} <= set(fields), "fields that CFF requires"
    assert fields["cff-version"] == "1.2.0" and fields["license"] == "MIT"
    assert fields["title"] == utils.COURSE
    assert fields["version"] == project["version"] == utils.__version__
    assert "  - name: The Learning Generative Models authors" in CITATION.splitlines()
