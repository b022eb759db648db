"""Try a notebook the way Colab runs it: `make colab-test`.

Builds an environment with the versions of Colab's runtime (kept in build/colab for the next time), puts one
notebook alone into an empty folder and runs it to the end. Its setup cell finds a stand-in for `google.colab`
and installs the course from a git repository, here a local one with a snapshot of the students' repository.
The list of installed packages is compared before and after: nothing that was there may move.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.setup_env import venv_python, version_of

ROOT = Path(__file__).resolve().parent.parent
PYTHON = (3, 13)
COLAB = ROOT / "tools" / "colab.txt"
STAND_IN = '"""Stand-in for the package by which a notebook knows that it runs on Colab."""\n'


class CheckError(Exception):
    """What failed, in one line, perhaps with details below."""


def call(command: list[str | Path], what: str, **options) -> str:
    """Output of a command; raises a CheckError that shows it if the command fails."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        stdin=subprocess.DEVNULL,
        **options,
    )
    if done.returncode != 0:
        raise CheckError(f"{what} failed (status {done.returncode}):\n{done.stdout[-4000:]}")
    return done.stdout


def clean_environment(folder: Path, **more: str) -> dict[str, str]:
    """Environment without traces of this checkout or of the user's own Jupyter settings."""
    drop = ("PYTHON", "JUPYTER", "IPYTHON", "LGM_", "VIRTUAL_ENV", "CONDA")
    env = {name: value for name, value in os.environ.items() if not name.startswith(drop)}
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        env[name] = str(folder / name.lower())
    return env | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "TF_CPP_MIN_LOG_LEVEL": "2"} | more


def freeze(python: str, env: dict[str, str]) -> dict[str, str]:
    """Installed distributions: name → its line in `pip freeze --all`."""
    lines = call([python, "-m", "pip", "freeze", "--all"], "pip freeze", env=env).split("\n")
    return {re.split(r"==| @ ", line)[0].lower(): line for line in lines if line and not line.startswith("#")}


def find_python(name: str | None) -> str:
    """Path of a Python of Colab's version: the one named, else one on the PATH or in pyenv's folder."""
    wanted = ".".join(map(str, PYTHON))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(map(str, pyenv.glob(f"versions/{wanted}*/bin/python{wanted}")), reverse=True)
    for candidate in [name] if name else [sys.executable, f"python{wanted}", "python3", *found]:
        path = shutil.which(candidate)
        if path and (version_of(path) or ())[:2] == PYTHON:
            return path
    what = f"{name} is none" if name else "none was found on the PATH or in pyenv's folder"
    raise CheckError(
        f"Colab runs Python {wanted}, and {what}: name one by"
        f' make colab-test ARGS="--python /path/to/python{wanted}"'
    )


def build(venv: Path, python: str, env: dict[str, str]) -> str:
    """Make the environment, or bring one from an earlier run back to what it was; returns its Python."""
    own = venv_python(str(venv))
    note = venv / "colab.json"
    asked = COLAB.read_text(encoding="utf-8")
    if note.is_file():
        then = json.loads(note.read_text(encoding="utf-8"))
        if then.get("asked") == asked and version_of(own):
            if added := sorted(set(freeze(own, env)) - set(then["frozen"])):
                call([own, "-m", "pip", "uninstall", "--yes", *added], "removing what was added", env=env)
            if freeze(own, env) == then["frozen"]:
                return own
    if venv.exists():
        shutil.rmtree(venv)
    print(f"colab-test: building an environment like Colab's in {venv}, a few minutes", flush=True)
    call([python, "-m", "venv", venv], "making the environment", env=env)
    call(
        [own, "-m", "pip", "install", "--quiet", "--only-binary=:all:", "-r", COLAB],
        "installing Colab's versions",
        env=env,
    )
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(call([own, "-c", code], "finding site-packages", env=env).strip())
    (packages / "google" / "colab").mkdir(parents=True)
    (packages / "google" / "colab" / "__init__.py").write_text(STAND_IN, encoding="utf-8")
    (packages / "colab-stand-in.pth").write_text("import google.colab\n", encoding="utf-8")
    note.write_text(json.dumps({"asked": asked, "frozen": freeze(own, env)}, indent=1), encoding="utf-8")
    return own


def snapshot(folder: Path) -> None:
    """Commit the students' repository, as `make student` builds it, to a new git repository in `folder`."""
    call([sys.executable, "-m", "tools.student", folder], "make student", cwd=ROOT)
    who = ["-c", "user.name=colab-test", "-c", "user.email=colab-test@localhost"]
    for words in ("init --quiet", "add --all", "commit --quiet --message=Snapshot"):
        call(["git", *who, *words.split()], f"git {words}", cwd=folder)


def setup_outputs(notebook: Path) -> list[dict]:
    """Outputs of the cell that installed the course."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    setup = [c for c in cells if c["cell_type"] == "code" and "install_on_colab" in "".join(c["source"])]
    if len(setup) != 1:
        raise CheckError(f"{notebook.name} has {len(setup)} setup cells instead of one")
    return setup[0]["outputs"]


def check(notebook: str, python: str | None, venv: Path) -> None:
    """Run the whole check; raises a CheckError."""
    with tempfile.TemporaryDirectory(prefix="colab test ") as name:
        folder = Path(name)
        repository, alone = folder / "students", folder / "content"
        env = clean_environment(folder)
        own = build(venv, find_python(python), env)
        snapshot(repository)
        alone.mkdir()
        shutil.copy(repository / notebook, alone)
        ran = alone / Path(notebook).name

        before = freeze(own, env)
        began = time.monotonic()
        env = clean_environment(folder, LGM_REPOSITORY=repository.as_uri())
        command = [own, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", str(ran)]
        call([*command, "--ExecutePreprocessor.timeout=600"], f"running {notebook}", cwd=alone, env=env)
        seconds = time.monotonic() - began
        after = freeze(own, env)

        outputs = setup_outputs(ran)
        print("".join(text for out in outputs for text in out.get("text", [])).strip())
        if len(outputs) != 1 or outputs[0].get("name") != "stdout":
            raise CheckError(f"the setup cell should print one line, but gave {outputs}")
        moved = {key: after.get(key, "removed") for key, line in before.items() if after.get(key) != line}
        if moved:
            raise CheckError(
                f"installing the course moved {', '.join(before[key] for key in moved)} to {moved}"
            )
        added = [re.sub(r" @ .*", " (the course)", after[key]) for key in sorted(set(after) - set(before))]
        if not any("the course" in line for line in added):
            raise CheckError(f"the setup cell did not install the course; it added {added}")
        print(f"colab-test: {notebook} ran to the end in {seconds:.0f} s, installation included")
        print(f"colab-test: of {len(before)} packages none moved; added: {', '.join(added)}")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.colab_check", description=__doc__.splitlines()[0])
    parser.add_argument(
        "notebook", nargs="?", default="notebooks/week03_rbm.ipynb", help="in the students' repository"
    )
    parser.add_argument("--python", help="a Python 3.13; default: one on the PATH or in pyenv's folder")
    parser.add_argument(
        "--venv", type=Path, default=ROOT / "build" / "colab", help="where to keep the environment"
    )
    options = parser.parse_args(arguments)
    try:
        check(options.notebook, options.python, options.venv.resolve())
    except CheckError as error:
        print(f"colab-test: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
