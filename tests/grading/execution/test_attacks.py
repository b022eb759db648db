"""Each attack of the catalogue gets exactly the marks of its honest part, and harms nothing and nobody.

All of them go the whole way: repaired, then executed in the sandbox by two Stations. After each, the same
Station must have no process left but its two fork servers, and give an honest submission full marks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import site
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from grading.execution import sandbox
from grading.execution.engine import Place, execute
from grading.execution.station import Station, alive
from grading.intake.repair import repair
from grading.model import Job, Limits, Outcome
from tests import exercise_small
from tests.grading.execution.attacks import ATTACKS, BREACH, MARK, PROBE, Attack, Exercise
from tests.grading.execution.attacks.book import Book

ROOT = Path(__file__).resolve().parents[3]
ASSIGNMENT, FULL = exercise_small.ASSIGNMENT, exercise_small.FULL
EXERCISE = Exercise(ASSIGNMENT, exercise_small.solved(), exercise_small.unsolved())
LIMITS = Limits(20, 60, clock=30.0, memory=400 * 2**20, scratch=64 * 2**20)
QUICK = """
    skip_tags strip_asserts equals_everything write_the_gradebook patched_assertions no_tracebacks
    read_the_course flipped_metadata process_ends_in_a_cell endless_loop connections processes_that_stay
    leave_the_hidden_test cells_that_are_none colluding_pair table_of_visible_answers right_after_the_test
""".split()  # one of each kind
SMALL = (
    "numpy scipy.special matplotlib.pyplot matplotlib_inline.backend_inline IPython utils.stattests".split()
)
UNREADABLE = [name for name, attack in ATTACKS.items() if attack.unreadable]


def job(name: str, notebook: bytes, limits: Limits = LIMITS) -> Job:
    return Job(name, ASSIGNMENT, repair(notebook, ASSIGNMENT).variants, seed=20_261, limits=limits)


@functools.cache
def honest() -> Job:
    """Right answers, and a last cell that looks for what others have left behind."""
    return job("honest", Book(EXERCISE.solution, ASSIGNMENT).last(PROBE).dump())


def marks(outcome: Outcome) -> dict[str, float]:
    return {gap.gap: gap.points for gap in outcome.gaps}


def said(outcome: Outcome) -> str:
    """All that its cells and tests said."""
    return str([[run.outputs for run in outcome.cells], outcome.gaps])


@dataclasses.dataclass
class Result:
    outcome: Outcome
    next: Outcome  # of the honest submission after it
    processes: list[str]  # that still ran, or fork servers that had died


class Watched:
    """A Station that lets an honest submission follow each attack; `results` has what came of both."""

    def __init__(
        self,
        results: dict[str, Result],
        preload: list[str] | None,
        sandbox: bool = True,
        threads: int = 1,
    ) -> None:
        self.results, self.station = results, Station(sandbox, threads, preload=preload)

    def __enter__(self) -> Watched:
        self.station.__enter__()
        self.servers = self.processes()
        return self

    def __exit__(self, *exception: object) -> None:
        self.station.close()
        gone, left = psutil.wait_procs(self.servers, timeout=30)
        assert not left, f"still running after the Station was closed: {left}"

    def processes(self) -> set[psutil.Process]:
        """Everything below the Station's two fork servers, and these."""
        found = set()
        for server in self.station._servers.values():
            process = psutil.Process(server.process.pid)
            found |= {process, *process.children(recursive=True)}
        return set(filter(alive, found))

    def execute(self, job: Job) -> Outcome:
        outcome = self.station.execute(job)
        deadline = time.monotonic() + 10  # what was killed may still be on its way out
        while (left := self.processes() ^ self.servers) and time.monotonic() < deadline:
            time.sleep(0.01)
        processes = [str(process) for process in left]
        self.results[job.pseudonym] = Result(outcome, self.station.execute(honest()), processes)
        return outcome


def state(path: str | Path) -> str:
    """Differs once somebody has written to the file or replaced it: the kernel keeps the time of a change."""
    found = os.lstat(path)
    return f"{found.st_ino} {found.st_size} {found.st_ctime_ns}"


class Canaries:
    """Files that an attack would like to change; `changed()` lists those that are not what they were."""

    def __init__(self, folder: Path) -> None:
        self.own = [Path.home() / f".{MARK}-canary-{os.getpid()}", Path("/var/tmp") / f"canary-{os.getpid()}"]
        folder.chmod(0o777)
        for path in [*self.own, folder / "grades.csv"]:
            path.write_text("untouched")
            path.chmod(0o666)
        with contextlib.closing(sqlite3.connect(folder / "gradebook.db")) as book:
            book.execute(
                "CREATE TABLE grade (auto_score REAL, manual_score REAL, needs_manual_grade INTEGER)"
            )
            book.execute("INSERT INTO grade VALUES (0, 0, 1)")
            book.commit()
        (folder / "gradebook.db").chmod(0o666)
        self.folder = folder
        self.before = self.content()

    def content(self) -> dict[str, str]:
        """Path → state of the file, of all there is of the course, and of the canaries."""
        paths = [*self.own, self.folder, *map(Path, site.getsitepackages())]
        paths += [
            ROOT / name for name in ("utils", "grading", "solutions", "exercises", "notebooks", "tools")
        ]
        paths += [Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path.home(), Path("/etc")]
        found: dict[str, str] = {}
        for path in paths:
            if path.is_file():
                found[str(path)] = state(path)
            elif path.is_relative_to(ROOT) or path == self.folder:
                for folder, _, names in os.walk(path):
                    if os.path.basename(folder) != "__pycache__":
                        files = [os.path.join(folder, name) for name in names]
                        found |= {file: state(file) for file in files}
            elif path.is_dir():  # others write here as well
                found |= {str(file): "there" for file in path.iterdir() if MARK in file.name}
        return found

    def changed(self) -> list[str]:
        after = self.content()
        return sorted(path for path in after.keys() | self.before if after.get(path) != self.before.get(path))

    def remove(self) -> None:
        for path in self.own:
            path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def results(request, tmp_path_factory) -> Iterator[dict[str, Result]]:
    """What came of the attacks that are tested in this run, by name."""
    try:
        sandbox.check()
    except sandbox.SandboxError as error:
        pytest.skip(str(error))
    wanted = [
        item.callspec.params["attack"]
        for item in request.session.items
        if item.name.startswith("test_attack[")
    ]
    canaries = Canaries(tmp_path_factory.mktemp("canaries"))
    found: dict[str, Result] = {}
    with pytest.MonkeyPatch.context() as patch, listening() as visitors:
        patch.setenv("SECRET_OF_THE_GRADER", "x")
        patch.setenv("LGM_GRADING_SEED", "4711")
        jobs = (job(attack.name, attack.notebook(EXERCISE), attack.limits_of(LIMITS)) for attack in wanted)
        make = functools.partial(Watched, found, SMALL)  # no attack needs TensorFlow
        for _ in execute(jobs, Place(workers=2), make):
            pass
        callers = visitors()
    yield found
    changed = canaries.changed()
    canaries.remove()
    assert not changed, f"changed meanwhile, by an attack or by somebody who works here: {changed}"
    assert not callers, "somebody got through to the network of this machine"
    assert not (left := hostile_processes()), f"still running: {left}"


@contextlib.contextmanager
def listening() -> Iterator:
    """Servers that an attack would like to reach; tells how many connections they got."""
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.socket())
        local = stack.enter_context(socket.socket(socket.AF_UNIX))
        with contextlib.suppress(OSError):  # another run of these tests has it
            tcp.bind(("127.0.0.1", 47963))
            local.bind("\0lgm-grader-test")
        for sock in (tcp, local):
            sock.listen()
            sock.settimeout(0)

        def visitors() -> int:
            count = 0
            for sock in (tcp, local):
                with contextlib.suppress(BlockingIOError):
                    sock.accept()
                    count += 1
            return count

        yield visitors


def hostile_processes() -> list[str]:
    """Processes anywhere on this machine that say they are hostile and were started by this run."""
    mine = psutil.Process().create_time()
    found = []
    for process in filter(alive, psutil.process_iter(["name", "cmdline", "create_time"])):
        line = " ".join([process.info["name"] or "", *(process.info["cmdline"] or [])[:2]])
        if (MARK in line or "3601.125" in line) and process.info["create_time"] > mine:
            found.append(line)
    return found


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(attack, marks=() if name in QUICK else pytest.mark.slow, id=name)
        for name, attack in ATTACKS.items()
        if name not in UNREADABLE
    ],
)
def test_attack(attack: Attack, results: dict[str, Result]) -> None:
    result = results[attack.name]
    assert not result.outcome.failure
    assert marks(result.outcome) == attack.marks(FULL), attack.about
    assert BREACH not in said(result.outcome), attack.about
    assert exercise_small.CANARY not in said(result.outcome), "it has seen a hidden test"
    if attack.ends:
        assert {event.limit for event in result.outcome.limits_hit} & set(attack.ends)
    assert not result.processes
    assert marks(result.next) == FULL, "the next submission suffers"
    assert BREACH not in said(result.next), "something is left for the next submission"


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_files_tell_the_student_why_and_get_no_marks(name: str) -> None:
    started = time.process_time()
    repaired = repair(ATTACKS[name].notebook(EXERCISE), ASSIGNMENT)
    assert time.process_time() - started < 10
    problem = repaired.problem
    assert problem.endswith(".") and "\n" not in problem and 20 < len(problem) < 300
    assert not any(word in problem for word in ("Error", "Traceback", "None", "nbformat", "<class"))
    assert repaired.variants == repair(EXERCISE.release, ASSIGNMENT).variants


def test_every_kind_is_there() -> None:
    assert {ATTACKS[name].number for name in QUICK} == set(range(1, 18))
    assert all(attack.about.endswith(".") for attack in ATTACKS.values())
