"""Executes jobs on many workers: threads of this process, each with a Station of its own, or a Dask cluster.

Jobs come from an iterator that is read only as far as workers are free, so that memory does not grow with the
number of submissions. Workers need neither the gradebook nor other submissions.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from grading.model import Job, Outcome, from_data, to_data

PATIENCE = 20.0  # seconds for a Dask scheduler to answer
Task = Job | Callable[[], Job | Outcome]  # a job, or what makes it; an Outcome is done already


class Worker(Protocol):
    """What executes one job at a time: a Station, or a stand-in in tests."""

    def __enter__(self) -> Worker: ...
    def __exit__(self, *exception: object) -> None: ...
    def execute(self, job: Job) -> Outcome: ...


class StationMaker(Protocol):
    """Makes a worker; must be importable by name where a Dask worker runs."""

    def __call__(self, sandbox: bool = True, threads: int = 1) -> Worker: ...


@dataclass(frozen=True)
class Place:
    """Where jobs run: so many local workers, or the Dask scheduler at an address such as tcp://10.0.0.5:8786."""

    workers: int = 0  # 0: one for each core
    scheduler: str = ""
    sandbox: bool = True
    threads: int = 1  # that each worker's TensorFlow uses


class EngineError(Exception):
    """Workers cannot be had; the message says why and what to do."""


def execute(jobs: Iterable[Task], place: Place, make: StationMaker | None = None) -> Iterator[Outcome]:
    """Outcomes of all jobs, as they come; a job is made where a worker is free, so that no other waits.

    An Outcome with a `failure` is one for which the grader itself broke down, not the submission.
    """
    if place.scheduler:
        return _on_dask(jobs, place)
    return _locally(jobs, place, make or _station)


def _station(sandbox: bool = True, threads: int = 1) -> Worker:
    from grading.execution.station import Station

    return Station(sandbox=sandbox, threads=threads)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _made(task: Task) -> Job | Outcome:
    return task if isinstance(task, Job) else task()


def _locally(jobs: Iterable[Task], place: Place, make: StationMaker) -> Iterator[Outcome]:
    source, lock = iter(jobs), threading.Lock()
    results: queue.Queue[Outcome | BaseException | None] = queue.Queue()
    stop = threading.Event()

    def take() -> Task | None:
        with lock:
            return None if stop.is_set() else next(source, None)

    def work() -> None:
        try:
            task = take()
            if task is not None:
                with make(sandbox=place.sandbox, threads=place.threads) as worker:
                    while task is not None:
                        job = _made(task)
                        results.put(worker.execute(job) if isinstance(job, Job) else job)
                        task = take()
        except BaseException as error:
            results.put(error)
        results.put(None)

    count = place.workers or cores()
    threads = [threading.Thread(target=work, name=f"grading-{i}", daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    running = len(threads)
    try:
        while running:
            result = results.get()
            if result is None:
                running -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=60)


def _on_dask(jobs: Iterable[Task], place: Place) -> Iterator[Outcome]:
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise EngineError(
            "grading on a cluster needs the package distributed: pip install distributed"
        ) from None
    try:
        client = Client(place.scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise EngineError(f"no Dask scheduler answers at {place.scheduler}: {error}") from None
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            with suppress(Exception):
                client.wait_for_workers(1, timeout=120)
            if not client.scheduler_info(n_workers=-1)["workers"]:
                raise EngineError(f"the Dask scheduler at {place.scheduler} has no workers: start some")
        source, running = iter(jobs), as_completed(loop=client.loop)
        pending: dict[Any, str] = {}
        done: list[Outcome] = []

        def submit() -> bool:
            for task in source:
                job = _made(task)
                if isinstance(job, Job):
                    break
                done.append(job)
            else:
                return False
            text = json.dumps(to_data(job))
            future = client.submit(execute_text, text, place.sandbox, place.threads, pure=False, retries=2)
            pending[future] = job.pseudonym
            running.add(future)
            return True

        slots = sum(worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())
        for _ in range(2 * max(1, slots)):  # one running and one waiting for each
            if not submit():
                break
        yield from done
        for future in running:
            pseudonym = pending.pop(future)
            trouble = future.exception()
            if trouble is None:
                yield from_data(Outcome, json.loads(future.result()))
            else:
                yield Outcome(pseudonym, failure=f"the worker failed: {type(trouble).__name__}: {trouble}")
            future.release()
            done.clear()
            submit()
            yield from done


_own = threading.local()


def execute_text(text: str, sandbox: bool, threads: int) -> str:
    """On a Dask worker: a job as JSON → its Outcome as JSON. Each thread keeps a Station for the next job."""
    if getattr(_own, "key", None) != (sandbox, threads):
        if getattr(_own, "worker", None) is not None:
            _own.worker.__exit__(None, None, None)
        _own.worker = _station(sandbox, threads).__enter__()
        _own.key = (sandbox, threads)
    return json.dumps(to_data(_own.worker.execute(from_data(Job, json.loads(text)))))
