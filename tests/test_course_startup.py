"""What a session says before the setup cell has run: in a real kernel, with and without the start-up file."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import ROOT
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

from tools import notebooks, setup_env

STARTUP = ROOT / "tools" / "course_startup.py"
EXERCISES = sorted((ROOT / "exercises").glob("*/*.ipynb"))
REMINDER = "run its first code cell"


@pytest.fixture(params=[True, False], ids=["installed", "nothing of ours"], scope="module")
def session(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[BlockingKernelClient, bool]]:
    """A fresh kernel, and whether it has the start-up file. Without: a new machine on Colab."""
    profile = tmp_path_factory.mktemp("ipython")
    startup = profile / "profile_default" / "startup"
    startup.mkdir(parents=True)
    if request.param:
        shutil.copy(STARTUP, startup)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(profile))
        manager, client = start_new_kernel(startup_timeout=120)
    yield client, request.param
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run(client: BlockingKernelClient, code: str) -> tuple[str, str]:
    """What a cell prints, and its error."""
    printed: list[str] = []

    def keep(message: dict[str, Any]) -> None:
        printed.append(message["content"].get("text", ""))

    reply = client.execute_interactive(code, timeout=60, output_hook=keep)["content"]
    return "".join(printed), f"{reply.get('ename', '')}: {reply.get('evalue', '')}"


def test_a_cell_run_before_the_setup_cell_says_so(session: tuple[BlockingKernelClient, bool]) -> None:
    client, installed = session
    printed, error = run(client, "np.zeros(3)")
    assert error == "NameError: name 'np' is not defined"
    assert (REMINDER in printed) == (installed or course_is_installed())
    assert REMINDER not in run(client, "1 / 0")[0] + run(client, "2 + 2")[0], (
        "other errors are not about that"
    )


@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)
def test_each_given_and_test_cell_of_an_exercise_says_so(
    path: Path, session: tuple[BlockingKernelClient, bool]
) -> None:
    cells = nbformat.read(path, as_version=4).cells
    locked = [
        cell.source
        for cell in cells
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("locked")
    ]
    assert len(locked) > 5
    for source in locked:
        assert run(session[0], source)[1] == "NameError: name 'run_the_setup_cell_first' is not defined", (
            source
        )


def test_afterwards_it_is_silent(session: tuple[BlockingKernelClient, bool]) -> None:
    client, _ = session
    assert run(client, f"{notebooks.GUARD} = 'done'") == ("", ": ")
    printed, error = run(client, "np.zeros(3)")
    assert "np" in error and REMINDER not in printed
    assert run(client, "%who") == (f"{notebooks.GUARD}\t \n", ": "), "it leaves no names behind"


def test_the_kernel_says_of_its_language_what_stands_in_the_notebooks(
    session: tuple[BlockingKernelClient, bool],
) -> None:
    """Else JupyterLab changes each notebook that it opens."""
    client, installed = session
    if installed:
        assert (
            client.kernel_info(reply=True, timeout=60)["content"]["language_info"]
            == (notebooks.METADATA["language_info"])
        )


def course_is_installed() -> bool:
    return (Path(sysconfig.get_path("data")) / "etc/ipython/startup" / STARTUP.name).is_file()


def test_the_environment_has_it() -> None:
    path = Path(sysconfig.get_path("data"), "etc/ipython/startup", STARTUP.name)
    stamp = setup_env.read_stamp(str(Path(sysconfig.get_path("data"))))
    if stamp.get("fingerprint") != setup_env.fingerprint(str(ROOT)):
        pytest.skip("this Python was not set up from this checkout by make setup")
    assert path.read_text(encoding="utf-8") == STARTUP.read_text(encoding="utf-8"), "run make setup"
