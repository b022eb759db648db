"""Fork servers: each imports the slow libraries once and forks a process for every submission.

`python -m grading.execution.zygote student FD OPTIONS` runs inside of bubblewrap and forks S; it confines
each child so that submissions cannot reach each other. With `trusted` for `student` it runs outside and forks
T. FD is a socket to the Station: each message brings the socket of a child and a line of JSON. At its
end the server ends. No TensorFlow operation may run here: threads do not survive a fork.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

PRELOAD = (
    "numpy scipy.special scipy.stats matplotlib.pyplot matplotlib_inline.backend_inline IPython "
    "IPython.core.interactiveshell sklearn.datasets sklearn.linear_model tqdm.auto "
    "tensorflow tf_keras keras tensorflow_probability utils.datasets utils.evaluation utils.gradients "
    "utils.notebook utils.plotting utils.quiz utils.scoreboard utils.stattests"
).split()

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER = 0x20000, 0x8000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 22, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 36, 38, 2
KEYCTL = {"x86_64": 250, "aarch64": 219}  # the system call's number
INODES = 10_000  # files in a scratch folder, at most
LIBC = ctypes.CDLL(None, use_errno=True)


def _call(what: str, result: int) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def _unshare(flags: int) -> None:
    _call("unshare", LIBC.unshare(flags))


def _mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    arguments = (source.encode(), target.encode(), kind.encode() or None, flags, options.encode() or None)
    _call(f"mount {target}", LIBC.mount(*arguments))


def _prctl(option: int, value: int) -> None:
    _call("prctl", LIBC.prctl(option, value, 0, 0, 0))


def preload(names: list[str]) -> None:
    """Import what is there."""
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def find(name: str) -> Callable[..., Any]:
    """A function by its dotted name."""
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(module), function)


def main() -> None:
    role, fd, text = sys.argv[1:4]
    options = json.loads(text)
    control = socket.socket(fileno=int(fd))
    if role == "student" and options["sandbox"] and os.getuid() != 0:
        _prctl(PR_SET_DUMPABLE, 0)  # children of the same user could read this process otherwise
    if not options["sandbox"] or role == "trusted":
        _prctl(PR_SET_CHILD_SUBREAPER, 1)  # what students leave behind stays below this process
    preload(options.get("preload", PRELOAD))
    function = find(options["function"])
    gc.collect()
    gc.freeze()  # else each child's first collection writes to, and so copies, all that was imported
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    control.send(b"ready")
    while True:
        message, fds, _, _ = socket.recv_fds(control, 65536, 8)
        if not message:
            os._exit(0)
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            _child(role, fds, json.loads(message), options, function)
        for received in fds:
            os.close(received)


def _child(
    role: str, fds: list[int], request: dict[str, Any], options: dict[str, Any], function: Callable[..., Any]
) -> NoReturn:
    """In the forked process; never returns."""
    fd, *entrances = fds
    try:
        for entrance in entrances:  # of control groups: this process and all that it starts
            os.write(entrance, b"0")
            os.close(entrance)
        if role == "trusted":
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            function(socket.socket(fileno=fd), request)
        elif options["sandbox"]:
            _confine(fd, request, options, function)
        else:
            os.setsid()
            _serve(fd, Path(request["scratch"]), request, function)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(2, f"grading.execution.zygote: {type(error).__name__}: {error}\n".encode())
        os._exit(70)
    os._exit(0)


def _confine(fd: int, request: dict[str, Any], options: dict[str, Any], function: Callable[..., Any]) -> None:
    """Namespaces and mounts of its own, then process 1 of the new namespace, then S."""
    root, uid, gid = os.getuid() == 0, os.getuid(), os.getgid()
    owner = request["uid"] if root else uid
    flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNET  # no message to the next submission
    if root:
        _unshare(flags)
    else:
        _prctl(PR_SET_DUMPABLE, 1)  # else the maps belong to root
        _unshare(CLONE_NEWUSER)
        for name, text in [
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ]:
            Path("/proc/self", name).write_text(text)
        _unshare(flags)
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    size = f"size={request['scratch_bytes']},nr_inodes={INODES}"
    for folder in ("/scratch", "/dev/shm"):
        who = f"mode=700,uid={owner},gid={owner if root else gid}"
        _mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, f"{size},{who}")
    if options["cover_tmp"]:
        _mount("/scratch", "/tmp", "", MS_BIND)
    first = os.fork()
    if first:  # the process between the namespaces
        os.close(fd)
        _wait(first)
        return
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if root:
        _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
    student = os.fork()
    if student:  # process 1: when it ends, everything in the namespace ends
        os.close(fd)
        while True:
            with contextlib.suppress(ChildProcessError):
                if os.wait()[0] != student:
                    continue
            return
    _drop(root, owner, bytes.fromhex(options["filter"]))
    _serve(fd, Path("/scratch"), request, function)


def _wait(child: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)


class _CapHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_char_p)]


def _drop(root: bool, owner: int, system_calls: bytes) -> None:
    """Give up all rights and the system calls that the filter refuses; join a keyring of its own."""
    for capability in range(64):
        LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    if root:
        os.setgroups([])
        os.setresgid(owner, owner, owner)
        os.setresuid(owner, owner, owner)
    nothing = (ctypes.c_uint32 * 6)()
    _call("capset", LIBC.capset(ctypes.byref(_CapHeader(0x20080522, 0)), ctypes.byref(nothing)))
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prctl(PR_SET_DUMPABLE, 1)
    if number := KEYCTL.get(os.uname().machine):  # a container may have refused it already: as good
        LIBC.syscall(number, 1, None)
    if system_calls:
        rules = _Filter(len(system_calls) // 8, system_calls)
        _call("seccomp", LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(rules), 0, 0))


def _serve(fd: int, scratch: Path, request: dict[str, Any], function: Callable[..., Any]) -> None:
    """Only the connection stays open; limits of the kernel; then the student's code."""
    kept = os.dup2(fd, 3) if fd != 3 else fd
    os.closerange(4, 65536)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    scratch_bytes = request["scratch_bytes"]
    for kind, limit in [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 1024),
        (resource.RLIMIT_FSIZE, scratch_bytes),
        (resource.RLIMIT_NPROC, request.get("processes", 0)),
        (resource.RLIMIT_DATA, request.get("data", 0)),
    ]:
        if limit or kind == resource.RLIMIT_CORE:
            resource.setrlimit(kind, (limit, limit))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing too much is an OSError
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    function(socket.socket(fileno=kept), scratch, request["limits"])


if __name__ == "__main__":
    main()
