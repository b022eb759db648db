"""A real PostgreSQL server for tests, from the system's packages, in a temporary folder, on a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

SETTINGS = {
    "listen_addresses": "",  # the socket only
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "20",
    "logging_collector": "off",
}


class Unavailable(Exception):
    """No server can be started here; why."""


def programs() -> Path:
    """The folder with initdb and postgres; Debian keeps it out of the PATH."""
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    found = sorted(versions, key=lambda path: int("0" + "".join(filter(str.isdigit, path.parent.name))))
    if initdb := shutil.which("initdb"):
        found.append(Path(initdb).resolve().parent)
    for folder in reversed(found):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise Unavailable("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")


def _owner() -> dict[str, Any]:
    """Arguments of subprocess for an unprivileged user, since PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise Unavailable("there is no unprivileged user (postgres, nobody) for PostgreSQL")


@contextmanager
def server() -> Iterator[str]:
    """A running server; yields the folder of its socket. It is ended and removed afterwards."""
    bin_folder, owner = programs(), _owner()
    folder = Path(tempfile.mkdtemp(prefix="lgm-pg-", dir="/tmp"))  # a socket's path must be short
    process = None
    try:
        if owner:
            os.chown(folder, owner["user"], owner["group"])
        data, log = folder / "data", folder / "log"
        quiet = {
            "env": {"PATH": str(bin_folder), "LC_ALL": "C.UTF-8", "HOME": str(folder)},
            "cwd": folder,
        } | owner
        command = [
            bin_folder / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        made = subprocess.run(command, capture_output=True, text=True, timeout=300, **quiet)
        if made.returncode:
            raise Unavailable(f"initdb failed: {made.stderr.strip().splitlines()[-1:]}")
        options = [option for pair in SETTINGS.items() for option in ("-c", "=".join(pair))]
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [bin_folder / "postgres", "-D", data, "-k", folder, *options],
                stdout=output, stderr=output, stdin=subprocess.DEVNULL, **quiet,
            )  # fmt: skip
        ready = [bin_folder / "pg_isready", "-q", "-h", folder]
        deadline = time.monotonic() + 180
        while subprocess.run(ready, check=False, timeout=120).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"PostgreSQL does not start: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.1)
        yield str(folder)
    finally:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)  # "fast shutdown"
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)
                process.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="the driver psycopg is not installed")
    try:
        programs(), _owner()
    except Unavailable as reason:
        pytest.skip(str(reason))
    try:
        with server() as socket:
            yield socket
    except Unavailable as reason:
        pytest.skip(str(reason))


def new_database(socket: str, template: str = "") -> str:
    """The address of a new database, empty or a copy of the one at the address `template`."""
    import psycopg

    name = f"gradebook_{uuid4().hex[:12]}"
    copied = f" TEMPLATE {urlsplit(template).path.strip('/')}" if template else ""
    with psycopg.connect(host=socket, user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}{copied}")
    return f"postgresql://postgres@/{name}?host={socket}"


@pytest.fixture
def postgres(postgres_server: str) -> str:
    """The address of a new, empty database."""
    return new_database(postgres_server)
