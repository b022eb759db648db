"""A student's first minutes in a real browser: week 3 opens, cells run, a figure is seen, Validate judges.

The students' repository is built and served by `python -m tools.lab`, and the system's Chromium uses it.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tools import notebooks, student

ROOT = Path(__file__).resolve().parent.parent
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
    notebook = nbformat.read(folder / "exercises" / WEEK / f"{WEEK}.ipynb", as_version=4)
    answers = nbformat.read(ROOT / "solutions" / WEEK / f"{WEEK}.ipynb", as_version=4)
    solved = {c.id: c.source for c in answers.cells if c.metadata.get("nbgrader", {}).get("solution")}
    for cell in notebook.cells:
        cell.source = solved.get(cell.id, cell.source)
    nbformat.write(notebook, folder / "exercises" / WEEK / "solved.ipynb")
    source = folder / "notebooks" / f"{WEEK}.py"
    source.write_text("# %% [markdown]\n# {{picture: rbm}}\n", encoding="utf-8")
    nbformat.write(
        notebooks.build(notebooks.Source(source, WEEK, "")), folder / "notebooks" / "picture.ipynb"
    )

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("home")  # the user's own Jupyter settings and workspaces stay out of it
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
    }
    environment |= {
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
    }
    command = [sys.executable, "-m", "tools.lab", "--no-browser", "--port", str(port)]
    with open(home / "log.txt", "w+") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield wait_for_address(server, home / "log.txt")
        finally:
            end(server)


def wait_for_address(server: subprocess.Popen, log: Path) -> str:
    """The address with its token, once the server has printed it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if match := re.search(r"http://127\.0\.0\.1:\d+/\S*token=\w+", log.read_text()):
            return match[0]
        if server.poll() is not None:
            break
        time.sleep(0.2)
    raise AssertionError(f"JupyterLab printed no address:\n{log.read_text()}")


def end(server: subprocess.Popen) -> None:
    """End JupyterLab and its kernels, which share its session."""
    import psutil

    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    for process in reversed(family):
        process.terminate()
    _, alive = psutil.wait_procs(family, timeout=15)
    for process in alive:
        process.kill()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    context.set_default_timeout(90 * SECONDS)
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
    for _ in range(5):
        page.locator(".lm-MenuBar-item", has_text=re.compile("^Run$")).click()
        page.locator(".lm-Menu-item", has_text=re.compile("^Run All Cells")).first.click()
        page.wait_for_timeout(5 * SECONDS)
        if started.count():
            return
    raise AssertionError("no cell ran")


def scroll(page: Any) -> None:
    """Half a window down, or to the top from the end."""
    page.locator(".jp-WindowedPanel-outer").first.evaluate(
        "e => { const end = e.scrollTop + e.clientHeight + 1 >= e.scrollHeight;"
        " e.scrollTop = end ? 0 : e.scrollTop + e.clientHeight / 2 }"
    )


def test_the_printed_address_opens_week_3(page: Any, address: str) -> None:
    page.goto(address)
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    assert f"{WEEK}.ipynb" in page.url


def test_cells_run_and_a_figure_is_seen(page: Any, address: str) -> None:
    open_notebook(page, address, f"notebooks/{WEEK}.ipynb")
    run_all(page)
    figure = page.locator(".jp-OutputArea-output img").first
    deadline = time.monotonic() + 240
    while not figure.count() and time.monotonic() < deadline:
        scroll(page)  # only cells near the window are in the page
        page.wait_for_timeout(1 * SECONDS)
    figure.wait_for(timeout=5 * SECONDS)
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
    dialog.wait_for(timeout=240 * SECONDS)
    return dialog.inner_text()


def test_validate_passes_the_solved_version(page: Any, address: str) -> None:
    assert "Success! Your notebook passes all the tests." in validate(page, address, "solved")


def test_validate_fails_the_unsolved_version(page: Any, address: str) -> None:
    said = validate(page, address, WEEK)
    assert "Success" not in said
    assert "NotImplementedError" in said and "write your answer here" in said
