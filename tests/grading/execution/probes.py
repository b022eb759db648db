"""What student code finds in the sandbox, tried from the inside.

Run with PORT FILE it prints JSON. PORT: of a server on this machine's loopback; FILE: one that only the
grader may read. The tests run it as a process, so that an ordinary user can be the one who runs it.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from unittest import mock

from grading.execution import syscalls
from grading.execution.station import Station
from grading.intake.repair import repair
from grading.model import CleanCell, Job, Limits, Outcome
from tests import exercise_small

PRELOAD = ["numpy", "IPython.core.interactiveshell", "utils.stattests"]
#: on the clock as long as a busy machine needs
LIMITS = Limits(20, 60, clock=100.0, scratch=8 * 2**20, memory=300 * 2**20, processes=16)

#: name → code that prints what it found, without a line feed
PROBES = {
    "user": "import os\nprint(os.getuid() == 0 or 0 in os.getgroups(), end='')",
    "environment": "import os\nprint(' '.join(sorted(os.environ)), end='')",
    "capabilities": """
import re
status = open('/proc/self/status').read()
found = re.findall('(CapEff|CapPrm|CapBnd|NoNewPrivs):\\\\s+(\\\\w+)', status)
print({name: int(value, 16) for name, value in found}, end='')
""",
    "root": "import os\nprint(' '.join(sorted(os.listdir('/'))), end='')",
    "course": """
import os
folders = '/course', '/course/grading', '/course/grading/execution'
print(' '.join(sorted(name for folder in folders for name in os.listdir(folder))), end='')
""",
    "file": """
try:
    print(open({file!r}).read(), end='')
except OSError as error:
    print(type(error).__name__, end='')
""",
    "checkout": """
import os
print([path for path in ({root!r} + '/grading', {root!r} + '/solutions', {root!r} + '/.git')
       if os.path.exists(path)], end='')
""",
    "network": """
import socket
found = []
for address in [('127.0.0.1', {port}), ('192.0.2.1', 80), ('10.0.0.1', 80)]:
    try:
        socket.create_connection(address, timeout=2)
        found.append(address)
    except OSError:
        pass
try:
    found.append(socket.gethostbyname('localhost.localdomain.example'))
except OSError:
    pass
print(found, end='')
""",
    "written": """
import os, sys
found = []
for folder in ['/', '/usr', '/usr/lib', '/etc', '/course', '/course/utils', '/course/grading', '/dev',
               sys.prefix, os.path.dirname(os.__file__), '/root', '/home', '/var/tmp', '/proc/sys/kernel']:
    try:
        with open(folder + '/mark', 'w') as file:
            file.write('here')
        found.append(folder)
    except OSError:
        pass
print(found, end='')
""",
    "processes": """
import os
def command(pid):
    try:
        return open(f'/proc/{pid}/cmdline').read()
    except OSError:
        return ''
killed = []
for pid in (int(name) for name in os.listdir('/proc') if name.isdigit()):
    if 'grading.execution.zygote trusted' in command(pid).replace('\\\\0', ' '):
        killed.append('T is seen')
    if pid in (os.getpid(), os.getppid()):
        continue
    try:
        os.kill(pid, 9)
        killed.append(pid)
    except OSError:
        pass
print(killed, end='')
""",
    "memory of others": """
import os
found = []
for pid in (int(name) for name in os.listdir('/proc') if name.isdigit()):
    if pid == os.getpid():
        continue
    for name in ('mem', 'environ', 'maps'):
        try:
            with open(f'/proc/{pid}/{name}', 'rb') as file:
                if name == 'mem' or file.read(1):
                    # a process of the same namespace is the student's own
                    if os.readlink(f'/proc/{pid}/ns/pid') != os.readlink('/proc/self/ns/pid'):
                        found.append((pid, name))
        except OSError:
            pass
print(found, end='')
""",
    "rights": """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
gained = []
if libc.mount(b'none', b'/scratch', b'tmpfs', 0, None) == 0: gained.append('mount')
if libc.umount2(b'/scratch', 2) == 0: gained.append('umount')
if libc.mount(None, b'/', None, 32 | 4096, None) == 0: gained.append('remount')
if libc.chroot(b'/scratch') == 0: gained.append('chroot')
for name in ('setuid', 'setgid'):
    try:
        getattr(os, name)(0)
        gained.append(name)
    except OSError:
        pass
print(gained, end='')
""",
    "descriptors": """
import os
print([os.readlink(f'/proc/self/fd/{n}').split(':')[0] for n in range(3, 64)
       if os.path.lexists(f'/proc/self/fd/{n}') and n != 3], end='')
""",
    "scratch": """
import os
found = [folder for folder in ('.', '/tmp', '/dev/shm') if os.path.exists(folder + '/left behind')]
written = 0
try:
    with open('big', 'wb') as file:
        for _ in range(64):
            file.write(b'x' * 2**20)
            file.flush()
            written += 1
except OSError:
    os.truncate('big', 0)
for folder in ('.', '/dev/shm'):
    open(folder + '/left behind', 'w').close()
print(found, written < 9, end='')
""",
    "files without content": """
import os
made = 0
for folder in ('.', '/dev/shm'):
    try:
        for number in range(20_000):
            open(f'{folder}/empty-{number}', 'w').close()
            made += 1
    except OSError:
        pass
print(0 < made <= 20_000, end='')
""",
    "scratch of the next": """
import os
print([folder for folder in ('.', '/tmp', '/dev/shm') if os.path.exists(folder + '/left behind')], end='')
""",
}

KEYS = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
ADD_KEY, REQUEST_KEY, KEYCTL, SESSION, SEARCH = 248, 249, 250, ctypes.c_long(-3), 10
found = [bytes(name) for name in (b'of the login', b'of the last one')
         if libc.syscall(KEYCTL, SEARCH, SESSION, b'user', name, 0) > 0
         or libc.syscall(REQUEST_KEY, b'user', name, None, SESSION) > 0]
added = libc.syscall(ADD_KEY, b'user', b'of the last one', b'x', 1, SESSION) > 0
print(found, added, end='')
"""
PROBES["keys"] = PROBES["keys of the last one"] = KEYS
PROBES["traffic"] = PROBES["traffic of the last one"] = """
import contextlib, socket
with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.sendto(b'a message', ('127.0.0.1', 9))
print(open('/proc/self/net/dev').read().split('lo:')[1].split()[8], end='')
"""
PROBES["system calls"] = """
import ctypes, errno, os, signal
libc = ctypes.CDLL(None, use_errno=True)
NEWUSER = 0x10000000
calls = {
    'unshare': (272, NEWUSER), 'setns': (308, 0, NEWUSER), 'clone3': (435, 0, 0),
    'clone': (56, NEWUSER | signal.SIGCHLD, 0, 0, 0, 0), 'io_uring_setup': (425, 8, 0),
    'ptrace': (101, 0, 0, 0, 0),
    'process_vm_readv': (310, os.getpid(), 0, 0, 0, 0, 0),
    'mount': (165, b'none', b'/scratch', b'tmpfs', 0, 0),
    'fsopen': (430, b'tmpfs', 0), 'bpf': (321, 0, 0, 0), 'perf_event_open': (298, 0, 0, -1, -1, 0),
    'userfaultfd': (323, 1), 'kexec_load': (246, 0, 0, 0, 0), 'memfd_create': (319, b'x', 0),
    'shmget': (29, 0, 4096, 0o1666), 'netlink': (41, 16, 3, 0), 'vsock': (41, 40, 1, 0),
    'personality': (135, 8),
    'unshare with high bits': (272, ctypes.c_long(NEWUSER | 1 << 40)),
    'vsock with high bits': (41, ctypes.c_long(40 | 1 << 40), 1, 0),
}
allowed = []
for name, call in calls.items():
    result = libc.syscall(*call)
    if result == 0 and 'clone' in name:
        os._exit(0)
    if result >= 0 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
        allowed.append(name)
print(allowed, end='')
"""
PROBES["what a notebook needs"] = """
import asyncio, multiprocessing, os, subprocess, tempfile, threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import shared_memory
made = [subprocess.run(['echo', '1'], capture_output=True, text=True).stdout, os.popen('echo 2').read()]
with multiprocessing.get_context('fork').Pool(2) as pool:
    made += pool.map(abs, [-3, -4])
with ThreadPoolExecutor(2) as threads:
    made += threads.map(abs, [-5, -6])
shared = shared_memory.SharedMemory(create=True, size=2**20)
shared.buf[0] = 7
made.append(shared.buf[0])
shared.close()
shared.unlink()
async def wait():
    await asyncio.sleep(0.01)
    return 8
loop = asyncio.new_event_loop()
thread = threading.Thread(target=lambda: made.append(loop.run_until_complete(wait())))
thread.start()
thread.join()
with tempfile.NamedTemporaryFile('w+') as file:
    file.write('9')
    file.seek(0)
    made.append(file.read())
print(*[str(value).strip() for value in made], end='')
"""
#: tried again without the filter of system calls
UNFILTERED = {"keys, unfiltered": KEYS, "keys of the last one, unfiltered": KEYS}


def join_login_keyring() -> None:
    """Have a session keyring with a secret in it, as a login gives one."""
    libc = ctypes.CDLL(None)
    libc.syscall(250, 1, b"login")
    libc.syscall(248, b"user", b"of the login", b"secret", 6, ctypes.c_long(-3))


def job(code: str, limits: Limits = LIMITS) -> Job:
    """The small exercise solved, with a cell of the student's before everything else."""
    variants = repair(exercise_small.solved(), exercise_small.ASSIGNMENT).variants
    variant = (CleanCell("extra1", "extra", code.strip()), *variants[0])
    return Job("p0", exercise_small.ASSIGNMENT, (variant,), seed=3, limits=limits)


def printed(outcome: Outcome) -> str:
    """What the student's cell printed, its errors included."""
    assert not outcome.failure, outcome.failure
    outputs = outcome.cells[0].outputs
    return "".join(str(o.get("text", "")) + str(o.get("evalue", "")) for o in outputs)


def main(port: str, file: str) -> None:
    root = str(Path(__file__).resolve().parents[3])
    found = {}
    join_login_keyring()

    def probe(codes: dict[str, str]) -> None:
        with Station(preload=PRELOAD) as station:
            for name, code in codes.items():
                filled = (
                    code.replace("{port}", port)
                    .replace("{file!r}", repr(file))
                    .replace("{root!r}", repr(root))
                )
                outcome = station.execute(job(filled))
                found[name] = [printed(outcome), outcome.score]

    probe(PROBES)
    with mock.patch.object(syscalls, "system_call_filter", lambda: b""):
        probe(UNFILTERED)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
