"""What the sandbox keeps from a student's code, probed from the inside, as root and as an ordinary user."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from grading.execution import sandbox
from tests import exercise_small

ROOT = Path(__file__).resolve().parents[3]
NOBODY = 65534

#: what each probe must print
EXPECTED = {
    "user": "False",
    "capabilities": "{'CapPrm': 0, 'CapEff': 0, 'CapBnd': 0, 'NoNewPrivs': 1}",
    "course": "__init__.py __init__.py execution grading student.py utils wire.py zygote.py",
    "checkout": "[]",
    "network": "[]",
    "written": "[]",
    "processes": "[]",
    "memory of others": "[]",
    "rights": "[]",
    "descriptors": "['/scratch/.console', '/dev/null']",
    "scratch": "[] True",
    "scratch of the next": "[]",
    "files without content": "True",
    "keys": "[] False",
    "keys of the last one": "[] False",
    "system calls": "[]",
    "what a notebook needs": "1 2 3 4 5 6 7 8 9",
    "keys, unfiltered": "[] True",
    "keys of the last one, unfiltered": "[] True",
    "traffic": "0",
    "traffic of the last one": "0",
}
OF_THIS_MACHINE = {name for name in EXPECTED if "keys" in name or name == "system calls"}


def as_nobody(line: list[str]) -> list[str]:
    """The command run by the user nobody, who sees this Python even if its folder is closed to others."""
    outer = ["bwrap", "--dev-bind", "/", "/"]
    for folder in (*sandbox.prefixes(), str(ROOT)):
        closed = [p for p in reversed(Path(folder).parents) if p != Path("/") and not p.stat().st_mode & 1]
        if closed:
            outer += ["--perms", "0755", "--tmpfs", str(closed[0])]
            for parent in reversed(Path(folder).parents):
                if parent.is_relative_to(closed[0]) and parent != closed[0]:
                    outer += ["--dir", str(parent)]
            outer += ["--ro-bind", folder, folder]
    drop = f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})"
    code = f"import os, sys; {drop}; os.execv(sys.argv[1], sys.argv[1:])"
    return [*outer, "--", sys.executable, "-c", code, *line]


def users() -> list[str]:
    return ["root", "nobody"] if os.geteuid() == 0 else ["myself"]


@pytest.fixture(scope="module", params=users())
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimpleNamespace]:
    """What each probe printed and the submission's marks, for one user; and the connections that came."""
    sandbox.check()
    secret = tmp_path_factory.mktemp("grader") / "gradebook.db"
    secret.write_text("marks of everybody")
    line = [sys.executable, "-m", "tests.grading.execution.probes"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment |= {"LGM_GRADING_SEED": "12345", "SECRET": "of the grader"}
    came = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            with contextlib.suppress(OSError):
                came.append(server.accept())

        threading.Thread(target=listen, daemon=True).start()
        line += [str(server.getsockname()[1]), str(secret)]
        if request.param == "nobody":
            line = as_nobody(line)
            environment |= {"HOME": "/nonexistent", "TMPDIR": "/tmp"}
        done = subprocess.run(line, env=environment, capture_output=True, text=True, cwd="/", timeout=900)
        assert done.returncode == 0, done.stderr[-3000:]
        yield SimpleNamespace(user=request.param, came=came, **{"of": json.loads(done.stdout)})
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("probe", EXPECTED)
def test_out_of_reach(found: SimpleNamespace, probe: str) -> None:
    if probe in OF_THIS_MACHINE and platform.machine() != "x86_64":
        pytest.skip("the numbers of the system calls are those of x86_64")
    printed, score = found.of[probe]
    assert printed == EXPECTED[probe]
    assert score == sum(exercise_small.FULL.values()), "what a student tries costs no marks by itself"


def test_files_of_the_grader(found: SimpleNamespace) -> None:
    assert found.of["file"][0] in ("FileNotFoundError", "PermissionError")


def test_no_connection_came(found: SimpleNamespace) -> None:
    assert found.came == []


def test_only_settings_in_the_environment(found: SimpleNamespace) -> None:
    names = set(found.of["environment"][0].split())
    assert names <= {*sandbox.environment(1), "IPYTHONDIR", "MPLCONFIGDIR", "PWD"}


def test_few_folders_at_the_top(found: SimpleNamespace) -> None:
    of_python = {Path(folder).parts[1] for folder in sandbox.prefixes()}
    allowed = {
        "bin",
        "course",
        "dev",
        "etc",
        "lib",
        "lib32",
        "lib64",
        "proc",
        "sbin",
        "scratch",
        "tmp",
        "usr",
    }
    assert set(found.of["root"][0].split()) <= allowed | of_python


# ──── where there is none


@pytest.fixture
def fresh() -> Iterator[None]:
    sandbox.check.cache_clear()
    yield
    sandbox.check.cache_clear()


def test_a_missing_bubblewrap_is_named(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(sandbox.SandboxError, match="apt install bubblewrap") as caught:
        sandbox.check()
    assert "--without-sandbox" in str(caught.value) and "\n" not in str(caught.value)


def test_another_system_is_named(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.platform, "system", lambda: "Darwin")
    with pytest.raises(sandbox.SandboxError, match="WSL2"):
        sandbox.check()


def test_a_refusal_is_given_with_its_reason(
    fresh: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(sandbox.SandboxError, match="setting up uid map: Permission denied") as caught:
        sandbox.check()
    assert "root" in str(caught.value) and "--without-sandbox" in str(caught.value)
