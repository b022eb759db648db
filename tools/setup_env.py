"""Make the environment `.venv` from the lock, or mend it: `make setup`, or `python3 tools/setup_env.py`.

Needs nothing but the standard library and runs under any Python from 3.6 on, so that one that is too old or
too new can hand over to a suitable one, or say what is missing. The second run only compares a stamp.
Every failure is one line on stderr that says what happened and what to do, and exit status 1.
"""

import argparse
import filecmp
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Dict, List, Optional, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST, NEWEST = (3, 11), (3, 13)  # as requires-python in pyproject.toml; a test compares
GIGABYTES = 5  # 2.8 for the environment, 1.2 for pip's cache and temporary files, and some air
STARTUP = "course_startup.py"  # in tools/; IPython runs what stands in etc/ipython/startup
# pip compiles file after file; this uses all cores. Some packages carry files that are not for this Python.
COMPILE = """import compileall, sysconfig
compileall.compile_dir(sysconfig.get_path("purelib"), quiet=2, workers=0)
"""
STAMP = "course.json"  # inside the environment: what it was made from

NO_NETWORK = re.compile(
    "NewConnectionError|NameResolutionError|Name or service not known|Temporary failure in name resolution"
    "|nodename nor servname|Network is unreachable|Connection refused|ConnectTimeout|Read timed out"
    "|ProxyError|getaddrinfo failed|Max retries exceeded|No route to host|RemoteDisconnected"
)
NO_SPACE = re.compile("No space left on device|Errno 28|Disk quota exceeded|not enough space on the disk")


class SetupError(Exception):
    """What happened and what to do, in one line."""


def suitable(version: Tuple[int, ...]) -> bool:
    """Whether a Python of this version can run the course."""
    return OLDEST <= version[:2] <= NEWEST


def version_of(python: str) -> Optional[Tuple[int, ...]]:
    """Version of an interpreter as three numbers, or None if it does not run."""
    code = "import sys; print('%d %d %d' % sys.version_info[:3])"
    try:
        output = subprocess.check_output([python, "-c", code], stderr=subprocess.DEVNULL, timeout=30)
        return tuple(int(number) for number in output.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def find_python(venv: str) -> str:
    """Path of a suitable Python outside `venv`: the running one, else the newest of those on the PATH."""
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)] + ["python3", "python"]
    running = sys.executable if sys.prefix == sys.base_prefix else getattr(sys, "_base_executable", None)
    for path in [running] + [shutil.which(name) for name in names]:
        if path and not os.path.abspath(path).startswith(os.path.join(venv, "")):
            version = version_of(path)
            if version and suitable(version):
                return path
    raise SetupError(
        f"Python 3.{OLDEST[1]} to 3.{NEWEST[1]} is needed, but {sys.executable or 'this'} is Python"
        f" {sys.version_info[0]}.{sys.version_info[1]} and no suitable one is on the PATH: install Python"
        f" 3.{NEWEST[1] - 1} and run this again (elsewhere than on the PATH: make setup PYTHON=/its/path)"
    )


def venv_python(venv: str) -> str:
    """Path of the environment's interpreter."""
    return os.path.join(venv, *(["Scripts", "python.exe"] if os.name == "nt" else ["bin", "python"]))


def installed(venv: str, version: Tuple[int, ...]) -> List[str]:
    """Names of the metadata folders of all distributions in the environment."""
    folder = ["Lib"] if os.name == "nt" else ["lib", f"python{version[0]}.{version[1]}"]
    try:
        names = os.listdir(os.path.join(venv, *folder, "site-packages"))
    except OSError:
        return []
    return sorted(name for name in names if name.endswith(".dist-info"))


def fingerprint(root: str) -> str:
    """Hash of what the environment is made from: the lock, the project's table, and where it stands."""
    digest = hashlib.sha256(os.path.realpath(root).encode("utf-8", "surrogateescape"))
    for name in ("requirements.txt", "pyproject.toml"):
        try:
            with open(os.path.join(root, name), encoding="utf-8") as file:
                tables = re.split(r"^(?=\[)", file.read(), flags=re.MULTILINE)
        except OSError as error:
            raise SetupError(f"cannot read {name}: {error.strerror}; is this a whole checkout?") from None
        for table in tables:  # not the settings of ruff and the like
            if not table.startswith("[tool.") or table.startswith("[tool.setuptools"):
                digest.update(b"\0" + table.encode("utf-8"))
    return digest.hexdigest()


def read_stamp(venv: str) -> Dict:
    """What the last successful run noted, or {} if none did."""
    try:
        with open(os.path.join(venv, STAMP), encoding="utf-8") as file:
            stamp = json.load(file)
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(venv: str, stamp: Dict) -> None:
    """Note success, whole or not at all."""
    path = os.path.join(venv, STAMP)
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(stamp, file, indent=1)
    os.replace(path + ".part", path)


def state(venv: str, root: str, gpu: bool = False) -> str:
    """'ready'; 'update' if sound but made from another lock or without CUDA; 'make' if none or broken."""
    stamp = read_stamp(venv)
    version = version_of(venv_python(venv)) if stamp else None
    if not version or not suitable(version) or list(version[:2]) != stamp.get("python"):
        return "make"
    if stamp.get("folder") != os.path.realpath(venv):
        return "make"  # moved or renamed: its scripts name the old folder
    if set(stamp.get("installed", [])) - set(installed(venv, version)):
        return "make"
    if stamp.get("fingerprint") != fingerprint(root) or (gpu and not stamp.get("gpu")):
        return "update"
    return "ready"


def check_space(folder: str, gigabytes: float = GIGABYTES) -> None:
    """Refuse to begin what cannot end."""
    free = shutil.disk_usage(folder).free / 1e9
    if free < gigabytes:
        raise SetupError(
            f"no disk space: the environment needs {gigabytes:.0f} GB in {folder}, and {free:.1f} GB are"
            " free: free some and run this again"
        )


def check_modules(python: str) -> None:
    """Debian and Ubuntu ship Python without the modules that make an environment."""
    try:
        subprocess.check_output([python, "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL)
    except subprocess.CalledProcessError:
        major, minor = (version_of(python) or OLDEST)[:2]
        raise SetupError(
            f"{python} has no module venv or ensurepip: on Debian or Ubuntu, sudo apt install python{major}."
            f"{minor}-venv; elsewhere, install Python from its own installer; then run this again"
        ) from None


def run_logged(command: List[str], log: str, what: str, root: str) -> None:
    """Run a command with its output in `log`, showing the time so far; raise a SetupError if it fails."""
    environment = dict(os.environ, PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0", PYTHONNOUSERSITE="1")
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_QUIET", "PIP_NO_BINARY"):
        environment.pop(name, None)
    began = time.time()
    live = sys.stdout.isatty()
    if not live:
        print(f"setup: {what}", flush=True)
    with open(log, "a+b") as file:
        start = file.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                if live:
                    print(f"\rsetup: {what}, {time.time() - began:.0f} s ", end="", flush=True)
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
            if live:
                print("\r\033[K", end="", flush=True)
        if process.returncode != 0:
            file.seek(start)
            raise SetupError(explain(file.read().decode("utf-8", "replace"), log, what))


def explain(output: str, log: str, what: str) -> str:
    """One line for what went wrong in the output of pip or venv."""
    if NO_SPACE.search(output):
        return (
            f"no disk space while {what}: the environment, pip's cache or the temporary folder"
            f" {tempfile.gettempdir()} is full: free some and run this again"
        )
    if NO_NETWORK.search(output):
        return (
            f"no network while {what}: connect (behind a proxy, set HTTPS_PROXY) and run this again;"
            f" details in {log}"
        )
    if "DO NOT MATCH THE HASHES" in output:
        return f"a download is not what the lock promises, damaged or altered: run this again; see {log}"
    errors = [line.strip() for line in output.splitlines() if "ERROR" in line or "Error:" in line]
    return f"{what} failed: {errors[-1] if errors else 'no reason given'}; details in {log}"


def plain_pins(lock: str) -> List[str]:
    """The lock's lines `name==version ; marker` without their hashes: constraints for what is not in it."""
    with open(lock, encoding="utf-8") as file:
        lines = [re.match(r"([A-Za-z0-9][^\\#]*==[^\\#]*)", line) for line in file]
    return [line.group(1).strip() for line in lines if line]


def install(venv: str, root: str, log: str, gpu: bool) -> None:
    """The lock, then the course itself (editable, without a download), then CUDA if asked for."""
    pip = [venv_python(venv), "-m", "pip", "--disable-pip-version-check", "--no-input", "--retries", "2"]
    pip += ["install", "--progress-bar", "off"]
    lock = os.path.join(root, "requirements.txt")
    run_logged(pip + ["--no-compile", "--require-hashes", "-r", lock], log, "installing packages", root)
    run_logged([pip[0], "-c", COMPILE], log, "compiling them", root)
    course = ["--no-deps", "--no-build-isolation", "--no-index", "-e", root]
    run_logged(pip + course, log, "installing the course", root)
    if gpu:
        handle, constraints = tempfile.mkstemp(suffix=".txt")
        try:
            with os.fdopen(handle, "w") as file:
                file.write("\n".join(plain_pins(lock)) + "\n")
            cuda = ["-c", constraints, "tensorflow[and-cuda]"]
            run_logged(pip + cuda, log, "installing CUDA's libraries (several GB)", root)
        finally:
            os.remove(constraints)


def place_startup(venv: str, root: str) -> None:
    """What pip does on Colab by pyproject.toml's data-files, but not in an editable install."""
    source = os.path.join(root, "tools", STARTUP)
    target = os.path.join(venv, "etc", "ipython", "startup", STARTUP)
    if not os.path.isfile(source) or os.path.isfile(target) and filecmp.cmp(source, target, shallow=False):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(source, target)


def remove(venv: str) -> None:
    """Remove a broken environment, and nothing else."""
    try:
        if os.path.islink(venv) or os.path.isfile(venv):
            os.remove(venv)
        elif os.path.isdir(venv):
            known = {"pyvenv.cfg", "setup.log", STAMP, "bin", "Scripts"}
            if os.listdir(venv) and not known & set(os.listdir(venv)):
                raise SetupError(f"{venv} is no Python environment: move it away and run this again")
            shutil.rmtree(venv)
    except OSError as error:
        raise SetupError(f"cannot remove the broken environment {venv}: {error.strerror}") from None


def setup(venv: str = ".venv", root: str = ROOT, gpu: bool = False) -> str:
    """Bring the environment into a state in which the course runs; returns the state it was in."""
    venv = os.path.abspath(os.path.join(root, venv))
    found = state(venv, root, gpu)
    if found == "ready":
        place_startup(venv, root)
        return found
    gpu = gpu or bool(read_stamp(venv).get("gpu"))
    if gpu and not sys.platform.startswith("linux"):
        raise SetupError("CUDA's libraries are for Linux: on Windows use WSL2, on macOS leave GPU=1 out")
    python = find_python(venv)
    check_modules(python)
    check_space(root)
    log = os.path.join(venv, "setup.log")
    if found == "make":
        remove(venv)
        version = ".".join(map(str, version_of(python) or OLDEST))
        print(f"setup: making {os.path.relpath(venv, root)} with Python {version}, a few minutes", flush=True)
        os.makedirs(venv)
        run_logged([python, "-m", "venv", venv], log, "making the environment", root)
    else:
        print(f"setup: updating {os.path.relpath(venv, root)}", flush=True)
        os.remove(os.path.join(venv, STAMP))
    install(venv, root, log, gpu)
    place_startup(venv, root)
    made = version_of(venv_python(venv))
    if made is None:
        raise SetupError(f"{venv} was made, but its Python does not run: see {log}")
    stamp = {"fingerprint": fingerprint(root), "folder": os.path.realpath(venv), "gpu": gpu}
    write_stamp(venv, dict(stamp, python=list(made[:2]), installed=installed(venv, made)))
    return found


def main(arguments: Optional[List[str]] = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Make or mend the course's environment from the lock.")
    parser.add_argument("--venv", default=".venv", help="its folder (default .venv)")
    parser.add_argument("--gpu", action="store_true", help="with NVIDIA's CUDA libraries (Linux)")
    options = parser.parse_args(arguments)
    began = time.time()
    try:
        found = setup(options.venv, ROOT, options.gpu)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsetup: interrupted: run it again to begin anew", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"setup: {explain(str(error), str(error.filename), 'making the environment')}", file=sys.stderr)
        return 1
    if found != "ready":
        print(f"setup: {options.venv} is ready after {time.time() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
