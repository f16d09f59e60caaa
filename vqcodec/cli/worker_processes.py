"""Worker processes of `run_files`: each does one file at a time and keeps its model.

They are started by "spawn", which is safe with threads and on every system. A worker that dies
costs the file it was at, and a new one takes its place. Imported where several are asked for:
`multiprocessing` takes 10 ms.
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection

from .console import Report
from .outcome import Outcome, Work, attempt
from .paths import Job

PATIENCE = 10  # seconds that a worker gets to remove what it was writing


class _Worker:
    """A process that does one job at a time."""

    def __init__(self, work: Work, report: Report, threads: int):
        context = multiprocessing.get_context("spawn")
        self.job: Job | None = None
        self.alive = True
        self.connection, remote = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(remote, work, report, threads), daemon=True
        )
        with _ignoring_interrupts():
            self.process.start()
        remote.close()  # else its death would not close the pipe

    def give(self, job: Job) -> None:
        self.job = job
        with suppress(OSError):  # it died: `take` will tell
            self.connection.send(job)

    def take(self) -> Outcome:
        """The outcome of the job. Raises what the job raised, if `explain` did not know it."""
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            self.alive = False
            self.process.join()
            text = f"the process that worked on it died, exit code {self.process.exitcode}"
            return Outcome(self.job, None, [], {}, (text, 1))
        if isinstance(answer, Outcome):
            return answer
        error, text = answer
        raise error from RuntimeError(f"in a worker process:\n{text}")

    def stop(self) -> None:
        """End the process; what it was writing is removed."""
        self.process.join(PATIENCE)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.connection.close()


def in_workers(jobs: list[Job], work: Work, report: Report, workers: int) -> Iterator[Outcome]:
    """The outcomes in the order in which jobs end; no process is left when this is closed."""
    todo, idle, busy = iter(jobs), [], {}
    threads = max(1, _cores() // workers)
    try:
        while True:
            while len(busy) < workers and (job := next(todo, None)) is not None:
                worker = idle.pop() if idle else _Worker(work, report, threads)
                busy[worker.connection] = worker
                worker.give(job)
            if not busy:
                return
            for ready in connection.wait(list(busy)):
                worker = busy[ready]
                outcome = worker.take()
                del busy[ready]
                if worker.alive:
                    idle.append(worker)
                yield outcome
    finally:
        left = [*idle, *busy.values()]
        for worker in left:
            worker.process.terminate()
        for worker in left:
            worker.stop()


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _serve(remote: connection.Connection, work: Work, report: Report, threads: int) -> None:
    """A worker's life: jobs in, outcomes out, until the other side is gone."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # --threads and the user's come first
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the parent decides
    from ..entropy import rans  # noqa: F401  # before SIGTERM raises: see there

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # unwinds, so that files are removed
    with suppress(EOFError, OSError):
        while True:
            job = remote.recv()
            try:
                answer = attempt(work, report, job)
            except Exception as exc:
                answer = exc, traceback.format_exc()  # pickling loses the traceback
            remote.send(answer)


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """A process started in here never sees Ctrl-C, not even while it imports."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
