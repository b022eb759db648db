"""The sandbox around S: what bubblewrap shows to the student's code and what it keeps from it.

Run by root, bubblewrap needs no user namespace, and each submission gets an unprivileged user number of its
own (`zygote`). Run by anybody else, it makes a user namespace, in which there are no rights outside.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COURSE = "/course"  # in the sandbox: utils and what S needs of grading
SCRATCH = "/scratch"  # in the sandbox: the one folder that can be written
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "fonts", "localtime", "mime.types")
OWN = ("student.py", "wire.py", "zygote.py")  # of grading


class SandboxError(Exception):
    """There is no sandbox: one line that says why and what to do."""


def environment(threads: int) -> dict[str, str]:
    """All environment variables that S has."""
    path = [os.path.join(sys.prefix, "bin"), "/usr/local/bin", "/usr/bin", "/bin"]
    return {
        "PATH": os.pathsep.join(path),
        "HOME": SCRATCH,
        "TMPDIR": SCRATCH,
        "LANG": "C.UTF-8",
        "PYTHONPATH": COURSE,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    } | quiet(threads)


def quiet(threads: int) -> dict[str, str]:
    """Settings of libraries for both processes of a submission: threads, and no chatter."""
    count = str(threads)
    return {
        "MPLBACKEND": "agg",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_NUM_INTRAOP_THREADS": count,
        "TF_NUM_INTEROP_THREADS": count,
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
    }


def prefixes() -> list[str]:
    """Folders of this Python and its packages that are not part of the system."""
    paths = [sys.base_prefix, sys.prefix, *sysconfig.get_paths().values()]
    paths += [os.path.realpath(path) for path in (sys.base_prefix, sys.prefix, sys.executable)]
    if os.path.islink(sys.executable):  # a virtual environment's python leads to another one
        paths.append(str(Path(os.path.realpath(sys.executable)).parent.parent))
    found: list[str] = []
    for path in sorted({os.path.abspath(path) for path in paths if os.path.isdir(path)}, key=len):
        if path != "/" and not any(_below(path, other) for other in (*SYSTEM, *found)):
            found.append(path)
    return found


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def command(line: list[str], threads: int = 1, user_namespace: bool | None = None) -> list[str]:
    """bubblewrap's command line around `line`."""
    if user_namespace is None:
        user_namespace = os.geteuid() != 0
    args = ["bwrap", "--die-with-parent", "--new-session", "--unshare-net", "--unshare-pid", "--unshare-ipc"]
    args += ["--unshare-uts", "--unshare-cgroup-try", "--hostname", "sandbox"]
    args += ["--unshare-user"] if user_namespace else ["--cap-add", "ALL"]
    args += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    args += ["--tmpfs", SCRATCH, "--dir", f"{COURSE}/grading/execution", "--dir", "/etc"]
    for folder in SYSTEM:
        if os.path.islink(folder):
            args += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            args += ["--ro-bind", folder, folder]
    for name in ETC:
        args += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for folder in prefixes():
        for parent in reversed(Path(folder).parents[:-1]):  # else only root may pass through them
            args += ["--dir", str(parent)]
        args += ["--ro-bind", folder, folder]
    args += ["--ro-bind", str(ROOT / "utils"), f"{COURSE}/utils"]
    for folder in ("grading", "grading/execution"):
        args += ["--ro-bind", os.devnull, f"{COURSE}/{folder}/__init__.py"]
    for name in OWN:
        args += ["--ro-bind", str(Path(__file__).parent / name), f"{COURSE}/grading/execution/{name}"]
    args += ["--tmpfs", "/dev/shm"]
    for folder in ("/tmp", "/dev", "/"):  # they are the user's own, and all submissions see the same ones
        args += ["--remount-ro", folder]
    args += ["--clearenv"]
    for name, value in environment(threads).items():
        args += ["--setenv", name, value]
    return [*args, "--chdir", "/", "--", *line]


def covers_tmp() -> bool:
    """Is some of Python below /tmp, so that /tmp cannot be replaced?"""
    return any(_below(folder, "/tmp") for folder in prefixes())


@cache
def check() -> None:
    """SandboxError if student code cannot be run in the sandbox here."""
    refusal = "; or say --without-sandbox, which runs students' code with your own rights"
    if platform.system() != "Linux":
        raise SandboxError(
            f"{platform.system()} has no bubblewrap: grade on Linux, in a virtual machine or in WSL2{refusal}"
        )
    if shutil.which("bwrap") is None:
        raise SandboxError(
            "bubblewrap is missing: install the package bubblewrap (apt install bubblewrap, "
            f"dnf install bubblewrap){refusal}"
        )
    line = command([sys.executable, "-I", "-c", "print(1)"])
    done = subprocess.run(line, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        said = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
        how = "start the grader as root, or allow unprivileged user namespaces"
        for setting, words in [
            ("kernel/unprivileged_userns_clone", "sysctl kernel.unprivileged_userns_clone=1"),
            ("kernel/apparmor_restrict_unprivileged_userns", "an AppArmor profile for bwrap"),
            ("user/max_user_namespaces", "sysctl user.max_user_namespaces=10000"),
        ]:
            path = Path("/proc/sys", setting)
            if path.exists() and path.read_text().strip() == ("1" if "apparmor" in setting else "0"):
                how += f" ({words})"
        raise SandboxError(f"bubblewrap is refused here ({said}): {how}{refusal}")
