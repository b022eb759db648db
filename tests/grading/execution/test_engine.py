"""The engine hands out jobs lazily, loses none, and tells a broken worker from a wrong answer."""

import threading
import time

import pytest

from grading.execution import engine
from grading.execution.engine import EngineError, Place, execute
from grading.model import Assignment, Job, Outcome

ASSIGNMENT = Assignment("week00_none", ())


class Fake:
    """A worker that needs no processes; `made` counts how many there were."""

    made = 0
    open = 0

    def __init__(self, sandbox=True, threads=1):
        type(self).made += 1

    def __enter__(self):
        type(self).open += 1
        return self

    def __exit__(self, *exception):
        type(self).open -= 1

    def execute(self, job):
        time.sleep(0.01)
        return Outcome(job.pseudonym, seconds=float(job.seed))


@pytest.fixture(autouse=True)
def count():
    Fake.made = Fake.open = 0


def jobs(n):
    return (Job(f"p{i}", ASSIGNMENT, (), seed=i) for i in range(n))


def test_every_job_has_one_outcome_and_workers_are_closed():
    outcomes = list(execute(jobs(23), Place(workers=3), Fake))
    assert {(o.pseudonym, o.seconds) for o in outcomes} == {(f"p{i}", float(i)) for i in range(23)}
    assert len(outcomes) == 23 and Fake.made == 3 and Fake.open == 0


def test_no_job_no_worker():
    assert list(execute(jobs(0), Place(workers=3), Fake)) == [] and Fake.made == 0


def test_a_job_that_takes_long_to_make_delays_no_other():
    """Made on its worker: the other one goes on; what is done already needs no worker."""
    others = threading.Event()

    def slow():
        assert others.wait(30), "the other worker waits for this one"
        return Outcome("slow")

    def last():
        others.set()
        return next(jobs(1))

    tasks = [slow, *jobs(3), last]
    assert {o.pseudonym for o in execute(tasks, Place(workers=2), Fake)} == {"slow", "p0", "p1", "p2"}


def test_jobs_are_made_only_when_a_worker_is_free():
    taken = []
    may_end = threading.Semaphore(0)

    class Waiting(Fake):
        def execute(self, job):
            assert may_end.acquire(timeout=60)
            return super().execute(job)

    def source():
        for job in jobs(50):
            taken.append(job)
            yield job

    results = execute(source(), Place(workers=2), Waiting)
    for number in range(1, 6):
        may_end.release()
        next(results)
        assert len(taken) <= number + 2  # what has come and what runs
    closing = threading.Thread(target=results.close)
    closing.start()
    while closing.is_alive():  # what runs ends
        may_end.release()
        closing.join(0.01)
    assert len(taken) < 50 and Waiting.open == 0


def test_a_worker_that_cannot_start_ends_the_run_with_its_reason():
    class Broken(Fake):
        def __enter__(self):
            raise EngineError("no bubblewrap: install it")

    with pytest.raises(EngineError, match="install it"):
        list(execute(jobs(5), Place(workers=2), Broken))
    assert threading.active_count() < 20


def test_an_interrupt_in_the_middle_closes_the_workers():
    results = execute(jobs(100), Place(workers=2), Fake)
    next(results)
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)
    assert Fake.open == 0


def test_no_scheduler_is_one_clear_error(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(engine, "PATIENCE", 0.5)
    with pytest.raises(EngineError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        list(execute(jobs(1), Place(scheduler="tcp://127.0.0.1:9")))
