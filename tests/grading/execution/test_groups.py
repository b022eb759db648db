"""Control groups: what the kernel counts, limits and ends; and how the grader finds them in each layout."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from grading.execution import groups
from grading.execution.groups import Group, Refused

VERSION2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
VERSION1 = """\
33 24 0:28 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
34 24 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 24 0:30 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
36 24 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"""


def test_one_folder_in_version_2() -> None:
    found = groups.own_groups(VERSION2, "0::/user.slice/user-1000.slice/run-1.scope\n")
    assert found == {"": Path("/sys/fs/cgroup/user.slice/user-1000.slice/run-1.scope")}


def test_a_folder_for_each_controller_in_version_1() -> None:
    own = "4:memory:/jobs/7\n3:cpu,cpuacct:/\n2:pids:/jobs/7\n1:name=systemd:/init\n0::/init\n"
    assert groups.own_groups(VERSION1, own) == {
        "memory": Path("/sys/fs/cgroup/memory/jobs/7"),
        "cpu": Path("/sys/fs/cgroup/cpu,cpuacct"),
        "cpuacct": Path("/sys/fs/cgroup/cpu,cpuacct"),
        "pids": Path("/sys/fs/cgroup/pids/jobs/7"),
        "": Path("/sys/fs/cgroup/unified/init"),
    }


def test_a_container_sees_its_own_part() -> None:
    mount = "33 24 0:28 /docker/4f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory"
    assert groups.own_groups(mount, "4:memory:/docker/4f/a\n") == {"memory": Path("/sys/fs/cgroup/memory/a")}
    assert groups.own_groups(mount, "4:memory:/elsewhere\n") == {}


def test_no_groups_are_refused_with_the_reason() -> None:
    with pytest.raises(Refused, match="no controller for memory and pids and cpuacct"):
        groups.find("", "0::/\n")


@pytest.fixture
def version2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like one of version 2; what is made below it has the files that the kernel would put there."""
    real = Path.mkdir

    def mkdir(folder: Path, *given: object, **more: object) -> None:
        real(folder)
        for name in "memory.max memory.swap.max memory.current pids.max cgroup.procs".split():
            (folder / name).write_text("")
        (folder / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 0\noom_kill 0\noom_group_kill 0\n")
        (folder / "pids.events").write_text("max 0\n")
        (folder / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\nsystem_usec 2\n")
        (folder / "memory.peak").write_text("4096\n")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(Path, "rmdir", lambda folder: None)
    (tmp_path / "cgroup.controllers").write_text("cpu io memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("")
    (tmp_path / "cgroup.procs").write_text("")
    return tmp_path


def mount(folder: Path) -> str:
    return f"30 23 0:26 / {folder} rw - cgroup2 cgroup2 rw"


def test_the_files_of_version_2(version2: Path) -> None:
    places = groups.find(mount(version2), "0::/\n")
    assert places == dict.fromkeys(groups.CONTROLLERS, version2)
    assert (version2 / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    group = Group(places, memory=1000, processes=7)
    (folder,) = set(group._folders)
    assert [(folder / name).read_text() for name in ("memory.max", "memory.swap.max", "pids.max")] == [
        "1000",
        "0",
        "7",
    ]
    assert group.seconds() == 1.5 and group.peak() == 4096 and group.exceeded() == ""
    (folder / "pids.events").write_text("max 3\n")
    assert group.exceeded() == "processes"
    (folder / "memory.events").write_text("max 9\noom_kill 1\n")
    assert group.exceeded() == "memory"
    group.close()


def test_the_grader_moves_aside_in_version_2(version2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (version2 / "cgroup.procs").write_text("11\n12\n")
    real, moved = Path.write_text, []

    def write(path: Path, text: str) -> int:
        if path.parent.name == groups.LEAF and path.name == "cgroup.procs" and text:
            moved.append(text)
        if path.name == "cgroup.subtree_control" and moved != ["11", "12"]:
            raise OSError(errno.EBUSY, "busy", str(path))
        return real(path, text)

    monkeypatch.setattr(Path, "write_text", write)
    assert groups.find(mount(version2), "0::/\n")["memory"] == version2
    again = groups.find(mount(version2), f"0::/{groups.LEAF}\n")  # as a process that it starts sees it
    assert again["memory"] == version2


def test_what_is_not_lent_is_refused(version2: Path) -> None:
    (version2 / "cgroup.controllers").write_text("pids\n")
    with pytest.raises(Refused, match="no controller for memory is lent"):
        groups.find(mount(version2), "0::/\n")


# ──── where there are some


@pytest.fixture
def group() -> Iterator[Group]:
    try:
        made = Group(groups.places(), 64 * 2**20, 8)
    except Refused as error:
        pytest.skip(f"no control groups: {error}")
    yield made
    made.end()
    made.close()
    assert not any(folder.exists() for folder in made._folders)


def start(group: Group, code: str) -> subprocess.Popen[bytes]:
    """Python in the group, which runs the code."""
    enter = f"import os\nfor entrance in {group.entrances}: os.write(entrance, b'0')\n"
    return subprocess.Popen([sys.executable, "-c", enter + code], pass_fds=group.entrances)


def until(reached: object) -> None:
    deadline = time.monotonic() + 120
    while not reached():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_time_of_all_processes_counts(group: Group) -> None:
    before = group.seconds()
    process = start(group, "os.fork()\nwhile True: pass")
    until(lambda: group.seconds() > before + 0.5)
    group.end()
    assert process.wait() == -9 and group.exceeded() == ""


def test_memory_is_limited(group: Group) -> None:
    process = start(group, "kept = []\nwhile True: kept.append(bytes(2**20) + b'x')")
    assert process.wait() == -9 and group.exceeded() == "memory" and group.peak() >= 60 * 2**20


def test_processes_are_limited_and_a_fork_bomb_ends(group: Group) -> None:
    code = "while True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
    process = start(group, code)
    until(lambda: group.exceeded() == "processes")
    group.end()
    process.wait()
    assert not groups.processes_of(group._folders[0])


def test_what_a_killed_grader_left_is_removed(group: Group) -> None:
    process = subprocess.Popen(["true"])
    process.wait()  # nobody has its number now
    places = groups.places()
    left = [folder / f"{groups.PREFIX}{process.pid}-0" for folder in set(places.values())]
    own = [folder / f"{groups.PREFIX}{os.getpid()}-0-own" for folder in set(places.values())]
    for folder in (*left, *own):
        folder.mkdir()
    for folder in set(places.values()):
        groups._sweep(folder)
    assert not any(folder.exists() for folder in left) and all(folder.exists() for folder in own)
    for folder in own:
        folder.rmdir()
