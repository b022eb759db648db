"""Compile the lock `requirements.txt` from `pyproject.toml`: `make lock`.

One lock serves Python 3.11 to 3.13 on Linux, macOS and Windows: name==version, markers and hashes, and no
addresses, so that plain `pip install --require-hashes -r requirements.txt` works with whatever index pip is
set to. Versions stay as they are unless the bounds forbid them or `--upgrade` is given.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("lab", "grading", "site", "dev")  # not gpu: several GB that only some machines can use
HEADER = """\
# The lock: every package of the environment, for Python 3.11 to 3.13, with hashes. Written by `make lock`
# from pyproject.toml; nobody edits it. Install with: pip install --require-hashes -r requirements.txt

"""


def compile_lock(uv: str, output: Path, upgrade: bool, root: Path = ROOT) -> None:
    """Write the lock to `output`, which holds the former lock whose versions are preferred."""
    command = [uv, "pip", "compile", "pyproject.toml", "--universal", "--python-version", "3.11"]
    command += ["--fork-strategy", "fewest", "--generate-hashes", "--no-header", "--quiet"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--annotation-style", "line"]
    command += [f"--extra={extra}" for extra in EXTRAS] + (["--upgrade"] if upgrade else [])
    subprocess.run([*command, "--output-file", str(output)], cwd=root, check=True)
    output.write_text(HEADER + output.read_text(encoding="utf-8"), encoding="utf-8", newline="\n")


def addresses(text: str) -> list[str]:
    """Lines of a lock that name a download address or a local file, of which there must be none."""
    return [line for line in text.splitlines() if re.search(r"\w+://|file:|--index|--find-links| @ ", line)]


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.lock", description=__doc__.splitlines()[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions within the bounds")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        uv = shutil.which("uv")
        if uv is None:
            target = Path(folder, "uv")
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            if subprocess.run([*pip, "--target", str(target), "uv"]).returncode != 0:
                print("lock: uv, which compiles the lock, could not be installed", file=sys.stderr)
                return 1
            uv = str(target / "bin" / ("uv.exe" if os.name == "nt" else "uv"))
        lock, draft = ROOT / "requirements.txt", Path(folder, "requirements.txt")
        if lock.exists():
            shutil.copy(lock, draft)
        try:
            compile_lock(uv, draft, options.upgrade)
        except subprocess.CalledProcessError:
            print("lock: the bounds in pyproject.toml cannot be met: see above", file=sys.stderr)
            return 1
        text = draft.read_text(encoding="utf-8")
        if found := addresses(text):
            print(f"lock: not written, it would hold an address: {found[0]}", file=sys.stderr)
            return 1
        lock.write_text(text, encoding="utf-8", newline="\n")
    pins = sum("==" in line and not line.startswith((" ", "#")) for line in text.splitlines())
    print(f"lock: {pins} packages in requirements.txt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
