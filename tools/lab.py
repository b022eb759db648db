"""Open the course in JupyterLab: `make lab`, or `.venv/bin/python -m tools.lab`.

JupyterLab starts in the course's folder with the table of weeks, whose links open the notebooks. With no
display it prints its address instead of opening a browser. Two folders are put on Jupyter's configuration
path: `grading`, whose settings nbgrader's extensions (the Validate button) read, and `tools/jupyter`, with
defaults for JupyterLab's settings: Markdown is shown as a page, no news pop up, and `tools.validate` answers
the Validate button.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import socket
import subprocess
import sys
import sysconfig
import webbrowser
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START = "README.md"
PORT = 8888
TRIES = 50


class LabError(Exception):
    """What happened and what to do, in one line."""


def free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on this port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # as tornado does: a port whose last connections linger is free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose_port(wanted: int | None) -> int:
    """The wanted port, or the first free one from 8888 on; says so where it is another than usual."""
    if wanted is not None:
        if not 1 <= wanted <= 65535:
            raise LabError(f"{wanted} is no port: choose a number from 1024 to 65535")
        if not free(wanted):
            raise LabError(f"port {wanted} is in use: stop what uses it, or choose another (PORT=8899)")
        return wanted
    for port in range(PORT, PORT + TRIES):
        if free(port):
            if port != PORT:
                print(
                    f"lab: port {PORT} is in use (is the lab open already?): taking port {port}",
                    flush=True,
                )
            return port
    raise LabError(f"ports {PORT} to {PORT + TRIES - 1} are all in use: choose another (PORT=9999)")


def has_display(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> bool:
    """Whether a browser window can be opened here."""
    if "SSH_CONNECTION" in environment and "DISPLAY" not in environment:
        return False
    if platform.startswith("linux") and not any(map(environment.get, ("DISPLAY", "WAYLAND_DISPLAY"))):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def lab_environment(root: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment of JupyterLab: finds the course's settings, and programs installed beside this Python."""
    new = dict(environment)
    for name, folders in {
        "JUPYTER_CONFIG_PATH": [str(root / "grading"), str(root / "tools" / "jupyter")],
        "PATH": [sysconfig.get_path("scripts")],
    }.items():
        new[name] = os.pathsep.join([*folders, *filter(None, [environment.get(name)])])
    return new


def lab_command(root: Path, port: int, browser: bool) -> list[str]:
    """Command that starts JupyterLab on the course."""
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--Application.log_level=WARN"]
    command += [f"--LabApp.default_url=/lab/tree/{START}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container
        command += ["--allow-root"]
    if not browser:
        command += ["--ServerApp.open_browser=False"]
    return command


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns JupyterLab's exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.lab", description="Open the course in JupyterLab.")
    parser.add_argument("--port", type=int, help=f"default: the first free one from {PORT} on")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    options = parser.parse_args(arguments)
    try:
        if importlib.util.find_spec("jupyterlab") is None:
            raise LabError(f"JupyterLab is not installed in {sys.executable}: run make setup, then make lab")
        port = choose_port(options.port)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    browser = has_display() and not options.no_browser
    command = lab_command(ROOT, port, browser)
    environment = lab_environment(ROOT)
    print("lab: starting JupyterLab; end it by pressing Ctrl+C twice here", flush=True)
    if os.name == "posix":  # become JupyterLab, so that signals reach it
        os.chdir(ROOT)
        os.execve(command[0], command, environment)
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
