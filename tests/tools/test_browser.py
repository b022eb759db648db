"""A student's first minutes in a real browser: the table of weeks, a notebook, its figures, Validate.

The students' repository is built and served by `python -m tools.lab`, and the system's Chromium uses it.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tools import notebooks, student

ROOT = Path(__file__).resolve().parents[2]
WEEK = "week03_rbm"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
).split()
SECONDS = 1000  # Playwright counts milliseconds

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def missing(reason: str) -> None:
    """Skip, or fail where no skip is allowed."""
    if os.environ.get("LGM_NO_SKIP") == "1":
        pytest.fail(f"{reason} (and LGM_NO_SKIP=1 allows no skip)")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        missing("Chromium is not installed: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("Playwright is not installed: make setup")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab's address, with the token, on the students' repository and a solved copy of the exercise."""
    folder = tmp_path_factory.mktemp("browser") / "students course"
    student.build(folder, check_drift=False)
    notebook = nbformat.read(folder / "exercises" / WEEK / f"exercise_{WEEK}.ipynb", as_version=4)
    answers = nbformat.read(ROOT / "solutions" / WEEK / f"{WEEK}.ipynb", as_version=4)
    solved = {c.id: c.source for c in answers.cells if c.metadata.get("nbgrader", {}).get("solution")}
    for cell in notebook.cells:
        cell.source = solved.get(cell.id, cell.source)
    nbformat.write(notebook, folder / "exercises" / WEEK / "solved.ipynb")
    notebook.cells.append(next(copy.deepcopy(cell) for cell in notebook.cells if cell.id in solved))
    notebook.cells[-1].id = "copied"
    nbformat.write(notebook, folder / "exercises" / WEEK / "copied.ipynb")
    source = folder / "notebooks" / f"{WEEK}.py"
    source.write_text("# %% [markdown]\n# {{picture: rbm}}\n", encoding="utf-8")
    nbformat.write(
        notebooks.build(notebooks.Source(source, WEEK, "")), folder / "notebooks" / "picture.ipynb"
    )

    home = tmp_path_factory.mktemp("home")  # the user's own Jupyter settings and workspaces stay out of it
    startup = home / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    shutil.copy(
        folder / "tools" / "course_startup.py", startup
    )  # where pip puts it in a course's own environment
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
    }
    environment |= {
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
    }
    command = [sys.executable, "-m", "tools.lab", "--no-browser", "--port"]
    with serving(lambda port: [*command, str(port)], folder, environment, home / "log.txt") as found:
        yield found


@contextlib.contextmanager
def serving(
    command: Callable[[int], list[str]], cwd: Path, environment: Mapping[str, str], log: Path
) -> Iterator[str]:
    """Start JupyterLab on a free port, on another one if somebody took that meanwhile; yields its address."""
    for last in (False, False, True):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with open(log, "w") as output:
            server = subprocess.Popen(
                command(port), cwd=cwd, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        try:
            yield wait_for_address(server, log)
            return
        except PortTaken:
            if last:
                raise
        finally:
            end(server)


class PortTaken(AssertionError):
    """JupyterLab could not listen."""


def wait_for_address(server: subprocess.Popen, log: Path) -> str:
    """The address with its token, once the server has printed it."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if match := re.search(r"http://127\.0\.0\.1:\d+/\S*token=\w+", log.read_text()):
            return match[0]
        if server.poll() is not None:
            break
        time.sleep(0.2)
    said = log.read_text()
    taken = re.search("in use|not available", said)
    raise (PortTaken if taken else AssertionError)(f"JupyterLab printed no address:\n{said}")


def end(server: subprocess.Popen) -> None:
    """End JupyterLab and its kernels, which share its session."""
    import psutil

    family: list[Any] = [server]
    with contextlib.suppress(psutil.NoSuchProcess):
        family += psutil.Process(server.pid).children(recursive=True)
    for process in reversed(family):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(family[1:], timeout=15)
    for process in [*left, server]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    server.wait()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    context.set_default_timeout(300 * SECONDS)
    yield context.new_page()
    context.close()


def open_notebook(page: Any, address: str, path: str) -> None:
    """Open a notebook in a workspace of its own and wait until its kernel is idle."""
    base, token = re.fullmatch(r"(http://[^/]+)/.*token=(\w+)", address).groups()  # type: ignore[union-attr]
    name = re.sub(r"\W", "", path)
    page.goto(f"{base}/lab/workspaces/{name}/tree/{path}?token={token}")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()


def run_all(page: Any) -> None:
    """Run all cells by the menu; again where JupyterLab was not yet connected to the kernel."""
    started = page.locator(".jp-InputPrompt", has_text=re.compile(r"\[[*\d]+\]")).first
    from playwright.sync_api import TimeoutError as TooLate

    for _ in range(5):
        page.locator(".lm-MenuBar-item", has_text=re.compile("^Run$")).click()
        page.locator(".lm-Menu-item", has_text=re.compile("^Run All Cells")).first.click()
        with contextlib.suppress(TooLate):
            started.wait_for(state="attached", timeout=10 * SECONDS)
            return
    raise AssertionError("no cell ran")


def scroll(page: Any) -> None:
    """Half a window down, or to the top from the end."""
    page.locator(".jp-WindowedPanel-outer").first.evaluate(
        "e => { const end = e.scrollTop + e.clientHeight + 1 >= e.scrollHeight;"
        " e.scrollTop = end ? 0 : e.scrollTop + e.clientHeight / 2 }"
    )


def tabs(page: Any) -> dict[str, bool]:
    """The open documents' tabs → whether they are unsaved."""
    labels = page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab")
    return {
        tab.locator(".lm-TabBar-tabLabel").inner_text(): "jp-mod-dirty" in (tab.get_attribute("class") or "")
        for tab in labels.all()
    }


def test_the_first_screen(page: Any, address: str) -> None:
    """The table of weeks, rendered; its links open notebooks, which are told apart and not unsaved."""
    page.goto(address)
    readme = page.locator(".jp-MarkdownViewer")
    week = readme.locator("tr", has_text="Restricted Boltzmann machines")
    week.wait_for()
    assert list(tabs(page)) == ["README.md"]
    page.wait_for_timeout(3 * SECONDS)  # a pop-up would have come
    assert not page.locator(".Toastify__toast, .jp-toast, .jp-Dialog").count()

    for kind, name in [("notebooks", f"{WEEK}.ipynb"), (f"exercises/{WEEK}", f"exercise_{WEEK}.ipynb")]:
        page.locator(".lm-TabBar-tab", has_text="README.md").click()
        week.locator(f"a[href*='{kind}']").first.click()
        page.locator(".lm-TabBar-tab.lm-mod-current", has_text=name).wait_for()
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        setup = page.locator(".jp-Notebook:visible .jp-CodeCell").first
        setup.locator(".jp-Placeholder", has_text="Run this cell first").wait_for()
        assert not setup.locator(".jp-InputArea-editor").is_visible(), "it is folded"
    page.wait_for_timeout(3 * SECONDS)
    assert tabs(page) == {"README.md": False, f"{WEEK}.ipynb": False, f"exercise_{WEEK}.ipynb": False}


def test_students_see_the_validate_button_and_no_instructors_menus(page: Any, address: str) -> None:
    open_notebook(page, address, f"exercises/{WEEK}/exercise_{WEEK}.ipynb")
    page.locator(".validate-button").first.wait_for()
    menus = page.locator(".lm-MenuBar-itemLabel").all_inner_texts()
    assert "File" in menus and not [menu for menu in menus if "grader" in menu.lower()]
    assert not page.get_by_text("Create Assignment").count()


def test_cells_run_and_a_figure_is_seen(page: Any, address: str) -> None:
    open_notebook(page, address, f"notebooks/{WEEK}.ipynb")
    run_all(page)
    figure = page.locator(".jp-OutputArea-output img").first
    deadline = time.monotonic() + 600
    while not figure.count() and time.monotonic() < deadline:
        scroll(page)  # only cells near the window are in the page
        page.wait_for_timeout(1 * SECONDS)
    figure.wait_for(timeout=60 * SECONDS)
    width = figure.evaluate("async e => { await e.decode(); return e.naturalWidth }")
    assert width > 100
    assert len(figure.get_attribute("alt") or "") > 10, "a figure has a text alternative"
    assert not page.locator('[data-mime-type="application/vnd.jupyter.error"]').count()


def test_a_picture_is_seen_before_a_cell_runs(page: Any, address: str) -> None:
    open_notebook(page, address, "notebooks/picture.ipynb")
    picture = page.locator(".jp-MarkdownOutput img")
    picture.wait_for()
    shown, held = picture.evaluate("async e => { await e.decode(); return [e.clientWidth, e.naturalWidth] }")
    assert shown * notebooks.PIXELS == held, "as large as it is meant to be, and sharp"
    assert "hidden unit" in picture.get_attribute("alt")


def validate(page: Any, address: str, name: str) -> str:
    """What the Validate button says about a notebook of the exercise's folder."""
    open_notebook(page, address, f"exercises/{WEEK}/{name}.ipynb")
    page.locator(".validate-button").first.click()
    dialog = page.locator(".jp-Dialog", has_text="Validation Results")
    dialog.wait_for(timeout=600 * SECONDS)
    return dialog.inner_text()


def test_validate_passes_the_solved_version(page: Any, address: str) -> None:
    said = validate(page, address, "solved")
    assert "Success! Your notebook passes all the tests." in said and words_of_the_docs(said)


def test_validate_fails_the_unsolved_version(page: Any, address: str) -> None:
    said = validate(page, address, f"exercise_{WEEK}")
    assert "Success" not in said and words_of_the_docs(said)
    assert "NotImplementedError" in said and "write your answer here" in said


def test_validate_names_a_copied_cell(page: Any, address: str) -> None:
    said = validate(page, address, "copied")
    assert words_of_the_docs(said) == ["There was an error running the validate command:"]
    assert re.search(r"Your answer \w+ is there 2 times: cells \d+ and \d+ from the top", said)
    assert "Traceback" not in said


def words_of_the_docs(said: str) -> list[str]:
    """Of what docs/students.md quotes of the dialog, what stands in it."""
    section = (ROOT / "docs" / "students.md").read_text(encoding="utf-8").split("\n## Check\n")[1]
    quoted = re.findall(r"^- \*(.+?)\*", section.split("\n## ")[0], re.MULTILINE)
    assert len(quoted) == 4
    return [words for words in quoted if words in said]
