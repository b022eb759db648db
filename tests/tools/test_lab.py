"""`make lab`: ports, displays, nbgrader's settings, and a real server that answers at its address."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import lab

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_port_in_use_is_one_clear_line(taken: int, capsys: pytest.CaptureFixture) -> None:
    assert lab.main(["--port", str(taken)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"port {taken} is in use" in error
    assert "choose another (PORT=" in error


def test_next_free_port_is_taken_and_named(taken: int, monkeypatch, capsys) -> None:
    monkeypatch.setattr(lab, "PORT", taken)
    port = lab.choose_port(None)
    assert port != taken
    assert lab.free(port)
    assert f"port {taken} is in use" in capsys.readouterr().out


def test_all_ports_in_use(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "PORT", taken)
    monkeypatch.setattr(lab, "TRIES", 1)
    with pytest.raises(lab.LabError, match="all in use"):
        lab.choose_port(None)


def test_impossible_port() -> None:
    with pytest.raises(lab.LabError, match="70000 is no port"):
        lab.choose_port(70000)


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "darwin", True),
        ({"SSH_CONNECTION": "a 1 b 2"}, "darwin", False),
        ({"SSH_CONNECTION": "a 1 b 2", "DISPLAY": "localhost:10"}, "linux", True),
    ],
)
def test_display(environment, platform, expected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.webbrowser, "get", lambda: object())
    assert lab.has_display(environment, platform) is expected


def test_display_without_a_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    def get() -> None:
        raise lab.webbrowser.Error

    monkeypatch.setattr(lab.webbrowser, "get", get)
    assert not lab.has_display({"DISPLAY": ":0"}, "linux")


def test_earlier_settings_stay_behind_the_course_s() -> None:
    new = lab.lab_environment(ROOT, {"JUPYTER_CONFIG_PATH": "mine", "PATH": "here", "HOME": "h"})
    ours = [str(ROOT / "grading"), str(ROOT / "tools" / "jupyter")]
    assert new["JUPYTER_CONFIG_PATH"] == os.pathsep.join([*ours, "mine"])
    assert new["PATH"].endswith(os.pathsep + "here")
    assert new["HOME"] == "h"


def test_nbgrader_s_extensions_find_the_settings(tmp_path: Path) -> None:
    """The Validate button loads its settings as this does: from the working directory and Jupyter's paths."""
    (tmp_path / "grading").mkdir()
    (tmp_path / "grading" / "nbgrader_config.py").write_text("c = get_config()\nc.Execute.timeout = 4321\n")
    code = (
        "from nbgrader.server_extensions.validate_assignment.handlers import ValidateAssignmentHandler as V;"
        "print(V.load_config(None).Execute.timeout)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=lab.lab_environment(tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "4321", done.stderr
    assert (ROOT / "grading" / "nbgrader_config.py").is_file()


def read(address: str, seconds: float = 180) -> str:
    """A page of a server that may need a moment to listen."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=seconds) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def test_server_prints_an_address_that_opens_the_course(tmp_path: Path) -> None:
    environment = {
        key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    environment |= {"JUPYTER_RUNTIME_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.lab", "--no-browser"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    timer = threading.Timer(300, process.kill)
    timer.start()
    try:
        seen = ""
        for line in process.stdout:
            seen += line
            if address := re.search(r"http://(127\.0\.0\.1:\d+)(/\S*)\?(token=\w+)", line):
                break
        else:
            raise AssertionError(f"no address was printed:\n{seen}")
        host, page, token = address.groups()
        assert page == "/lab/tree/README.md", "it begins with the table of weeks"
        whole = read(f"http://{host}{page}?{token}")
        assert "disabledExtensions" in whole and '"@jupyter/nbgrader:' not in whole, (
            "instructors keep the menus"
        )
        assert "lgm" in read(f"http://{host}/api/contents/pyproject.toml?{token}")

        def settings(plugin: str) -> dict:
            """Of JupyterLab, as a user who has changed none gets them."""
            answer = json.loads(read(f"http://{host}/lab/api/settings/@jupyterlab/{plugin}?{token}"))
            return {name: rule.get("default") for name, rule in answer["schema"]["properties"].items()}

        assert settings("docmanager-extension:plugin")["defaultViewers"] == {"markdown": "Markdown Preview"}
        news = settings("apputils-extension:notification")
        assert news["fetchNews"] == "false" and news["checkForUpdates"] is False
    finally:
        timer.cancel()
        process.terminate()
        process.wait(120)
    assert len(seen.splitlines()) <= 12, f"too much to read:\n{seen}"
