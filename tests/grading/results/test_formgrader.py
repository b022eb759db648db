"""Formgrader in JupyterLab, in a real browser, on a gradebook and notebooks that our recorder wrote."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nbgrader.api import Gradebook

from grading.assignment import assignment_from_gradebook
from grading.model import HIDDEN_NOTE as NOTE
from grading.model import CellRun, CleanCell, GapResult, Outcome, Person, Submission
from grading.results.feedback import ManualGrade, manual_grades
from grading.results.record import record
from tests import graded
from tests.conftest import WEEK
from tests.grading.results.test_executed import ATTACKS, PIECES
from tests.tools.test_browser import browser, page, serving  # noqa: F401 (fixtures)
from tools.lab import lab_command, lab_environment

pytestmark = [pytest.mark.browser, pytest.mark.slow]
HANDED_IN = "2026-04-03T12:00:00+00:00"
ANSWERS = {
    "anna": "def scale(x):\n    return 3 * x",
    "bert": "def scale(x):\n    return x",
    "carl": "# <script>window.hacked('code')</script>",
}


@pytest.fixture(scope="module")
def course(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample course with three submissions, the last hostile, as a grading run leaves them."""
    folder = tmp_path_factory.mktemp("formgrader") / "a course"
    shutil.copytree(released, folder)
    address = f"sqlite:///{folder / 'grading' / 'gradebook.db'}"
    assignment = assignment_from_gradebook(address, WEEK, folder)
    people = {
        "anna": Person("anna", first_name="Anna", last_name="Ärmel"),
        "bert": Person("bert", first_name="Bert", last_name="<script>document.title = 'hacked'</script>"),
    }
    first = next(cell for cell in assignment.cells if cell.kind == "test")
    (question,) = (cell.name for cell in assignment.cells if cell.kind == "manual")
    ANSWERED = {"anna": {question: "It is so."}, "carl": {question: "\n\n".join(ATTACKS)}}
    for student, answer in ANSWERS.items():
        wrong = GapResult(
            first.gap, 0.0, first.points, False, "AssertionError", "shape (2,) expected: <b>axis</b>?"
        )
        outcome, repaired = graded.graded(
            assignment,
            *([wrong] if student == "bert" else []),
            outputs={first.gap: [graded.display(image_png=graded.png()), graded.stream(f"{student} ran\n")]},
            answers={first.gap: answer} | ANSWERED.get(student, {}),
        )
        if student == "carl":
            outcome = hostile(outcome)
        upload = Submission(student, WEEK, b"{}", timestamp=HANDED_IN)
        put = folder / "grading" / "submitted" / student / WEEK
        put.mkdir(parents=True)
        shutil.copy(folder / "exercises" / WEEK / f"exercise_{WEEK}.ipynb", put)
        (put / "timestamp.txt").write_text(HANDED_IN + "\n")  # as collect.py leaves it
        record(
            replace(outcome, pseudonym=student),
            upload,
            repaired,
            assignment,
            address,
            folder / "grading" / "autograded",
            people=people,
        )
    return folder


def hostile(outcome: Outcome) -> Outcome:
    """With cells and outputs of all attacks, and of their pieces put together at random."""
    rng = random.Random(19)
    mixed = ["".join(rng.choices(PIECES + ATTACKS, k=rng.randint(2, 20))) for _ in range(150)]
    extra = [CleanCell(f"extra{i}", "extra", text, "markdown") for i, text in enumerate(ATTACKS + mixed)]
    shown = [graded.display(text_html=text) for text in ATTACKS]
    shown += [graded.display(text_markdown=text) for text in ATTACKS]
    shown += [graded.display(text_latex=text, text_plain=text) for text in ATTACKS]
    shown += [graded.stream("\n".join(ATTACKS)), graded.error(ATTACKS[0], ATTACKS[1], ATTACKS[2])]
    loud = CellRun(CleanCell("extra999", "extra", "%%html\n" + ATTACKS[0]), tuple(shown))
    return replace(outcome, cells=(*outcome.cells, *map(CellRun, extra), loud))


@pytest.fixture(scope="module")
def lab(browser: Any, course: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:  # noqa: F811
    """JupyterLab's address with its token, on the course, started as `make lab` does."""
    home = tmp_path_factory.mktemp("home")
    own = {"HOME": home, "JUPYTER_CONFIG_DIR": home / "config", "JUPYTER_DATA_DIR": home / "data"}
    environment = lab_environment(course, os.environ | {name: str(path) for name, path in own.items()})
    with serving(
        lambda port: lab_command(course, port, browser=False), course, environment, home / "log.txt"
    ) as found:
        yield found


def test_the_assignment_and_its_submissions_are_listed_and_one_opens(
    page: Any,  # noqa: F811
    lab: str,
    course: Path,
) -> None:
    base, token = re.fullmatch(r"(http://[^/]+)/.*token=(\w+)", lab).groups()  # type: ignore[union-attr]
    page.goto(f"{base}/lab?token={token}")
    page.locator(".lm-MenuBar-item", has_text=re.compile("^Nbgrader$")).click()
    page.locator(".lm-Menu-item", has_text=re.compile("^Formgrader$")).click()
    frame = page.frame_locator("iframe[src*='formgrader']")

    row = frame.locator("tr", has_text=WEEK)
    row.wait_for()
    assert row.locator("td.num-submissions").inner_text() == "3"
    row.locator("td.num-submissions a").click()

    anna, bert = (frame.locator("tr", has_text=name) for name in ("Ärmel", "Bert"))
    anna.wait_for()
    assert frame.locator("html").evaluate("() => document.title") != "hacked"
    with Gradebook(f"sqlite:///{course / 'grading' / 'gradebook.db'}") as book:
        most = float(book.find_assignment(WEEK).max_score)
        scores = {s.student_id: s.score for s in book.assignment_submissions(WEEK)}
    assert scores["bert"] < scores["anna"] < most
    for student, found in {"anna": anna, "bert": bert}.items():
        assert f"{scores[student]:g} / {most:g}" in found.inner_text()
    assert "needs manual grading" in anna.inner_text() and HANDED_IN[:10] in anna.inner_text()
    assert "graded" in bert.inner_text() and "manual" not in bert.inner_text(), "who left it empty gets 0"

    frame.locator("a", has_text="Manual Grading").first.click()
    frame.locator("td.name a", has_text=WEEK).click()
    frame.locator("td.name a", has_text=WEEK).click()
    frame.locator("td.name a", has_text="Submission #").first.wait_for()
    assert frame.locator("td.name a", has_text="Submission #").count() == 3
    seen = set()
    for index in range(3):
        frame.locator("td.name a", has_text="Submission #").nth(index).click()
        frame.locator("input.score").first.wait_for()
        text = frame.locator("body").inner_text()
        assert NOTE in text and "BEGIN HIDDEN TESTS" not in text
        assert frame.locator("img[src^='data:image/png']").count() >= 1
        (student,) = (name for name in ANSWERS if f"{name} ran" in text)
        seen.add(student)
        given = [box.get_attribute("placeholder") for box in frame.locator("input.score").all()]
        assert len(given) == 3 and ("shape (2,) expected: <b>axis</b>?" in text) == (student == "bert")
        frame.locator("ol.breadcrumb a, .breadcrumb a, .navbar a", has_text=WEEK).last.click()
        frame.locator("td.name a", has_text="Submission #").first.wait_for()
        assert frame.locator("html").evaluate("() => document.title") != "hacked"
    assert seen == set(ANSWERS)


def test_a_hostile_notebook_runs_nothing_and_asks_for_nothing(page: Any, lab: str, course: Path) -> None:  # noqa: F811
    base, token = re.fullmatch(r"(http://[^/]+)/.*token=(\w+)", lab).groups()  # type: ignore[union-attr]
    with Gradebook(f"sqlite:///{course / 'grading' / 'gradebook.db'}") as book:
        number = book.find_submission_notebook(WEEK, WEEK, "carl").id
    ran: list[str] = []
    asked: list[str] = []
    page.context.expose_function("hacked", lambda what: ran.append(what))
    page.on("dialog", lambda dialog: (ran.append("dialog"), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    answer = page.goto(f"{base}/formgrader/submissions/{number}/?token={token}")
    assert answer.status == 200
    page.locator("input.score").first.wait_for()
    page.eval_on_selector_all(".rendered_html details", "all => all.forEach(one => one.open = true)")
    for link in page.locator(".rendered_html a").all():
        assert re.match("https?:|mailto:|#", link.get_attribute("href") or "http:")
    page.wait_for_timeout(1500)
    assert ran == [] and [url for url in asked if ":9/" in url or "hacked" in url] == []
    tags = page.eval_on_selector_all("#notebook *", "all => [...new Set(all.map(one => one.tagName))]")
    assert not set(tags) & {
        "SCRIPT",
        "STYLE",
        "IFRAME",
        "SVG",
        "svg",
        "OBJECT",
        "EMBED",
        "LINK",
        "FORM",
        "VIDEO",
    }
    handlers = "all => all.filter(one => one.getAttributeNames().some(name => name.startsWith('on'))).length"
    assert page.eval_on_selector_all("#notebook *", handlers) == 0
    assert page.locator("#notebook .cell").count() > 150, "everything is shown"


def test_the_feedback_page_reads_this_gradebook(course: Path) -> None:
    address = f"sqlite:///{course / 'grading' / 'gradebook.db'}"
    assignment = assignment_from_gradebook(address, WEEK, course)
    (question,) = (cell.name for cell in assignment.cells if cell.kind == "manual")
    with Gradebook(address) as book:
        found = {
            student: manual_grades(book.find_submission_notebook(WEEK, WEEK, student), assignment)
            for student in ANSWERS
        }
    assert found["anna"] == {}, "her answer waits for a person"
    assert found["bert"] == {question: ManualGrade(0.0, answered=False)}
