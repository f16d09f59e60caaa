"""Many files at a time: in this process or in worker processes, one progress bar, one summary.

A worker process is started by "spawn", which is safe with threads and on every system, does one
file at a time and keeps its model. Only this process prints. A worker that dies costs the file
it was at, and a new one takes its place.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from multiprocessing import connection
from typing import NamedTuple

import click

from ..compare.captions import spaced, speed
from .console import BAR_DELAY, Clock, Failures, Report, explain, finish
from .paths import Job
from .streams import is_terminal, say

STOPPED = 130  # exit code after Ctrl-C: 128 + SIGINT, as shells have it
PATIENCE = 10  # seconds that a worker gets to remove what it was writing


class Done(NamedTuple):
    """What a file came to. size: bytes of the .vqc file."""

    size: int
    pixels: int

    def plus(self, other: "Done | None") -> "Done":
        """The sum; a file that failed, None, adds nothing."""
        return self if other is None else Done(self.size + other.size, self.pixels + other.pixels)


Work = Callable[[Job, Report], Done]


class Outcome(NamedTuple):
    """What became of a job. said: lines, and whether to stderr. facts: the same for JSON.
    failure: as `explain` has it."""

    job: Job
    done: Done | None
    said: list[tuple[str, bool]]
    facts: dict
    failure: tuple[str, int] | None


def attempt(work: Work, report: Report, job: Job) -> Outcome:
    """Do one job, and collect what it says. Raises what `explain` does not know."""
    said, facts = [], {}
    try:
        done = work(job, report._replace(said=said, facts=facts))
        return Outcome(job, done, said, facts, None)
    except Exception as exc:
        failure = explain(exc)
        if failure is None:
            raise
        return Outcome(job, None, said, facts, failure)


def run_files(jobs: list[Job], work: Work, report: Report, workers: int, skipped: int) -> None:
    """Do all jobs, whichever of them fail, and exit with their code if any did.

    workers: processes at most; 1 is this one. skipped: files that are left out, for the summary.
    """
    workers = min(workers, len(jobs))
    failures, total, tried = Failures(report), Done(0, 0), 0
    several = len(jobs) + skipped > 1
    terminal = is_terminal(sys.stderr) and not report.quiet
    start = time.perf_counter()
    hidden = not (terminal and len(jobs) > 1)
    clock = Clock("".join(job.name for job in jobs[:1]), terminal and hidden)
    inside = (attempt(work, report._replace(clock=clock), job) for job in jobs)
    outcomes = inside if workers <= 1 else _in_workers(jobs, work, report, workers)
    bar = None if hidden else _bar(len(jobs))
    try:
        with nullcontext() if bar is None else bar, closing(outcomes), clock:
            for outcome in outcomes:
                total, tried = total.plus(outcome.done), tried + 1
                with failures.of(outcome.job.source):  # stdout may be full
                    _tell(outcome, report, failures)
                if bar is not None:
                    bar.set_postfix_str(_sums(total, time.perf_counter() - start), refresh=False)
                    bar.update()
    except KeyboardInterrupt:
        say(f"vqcodec: stopped; {tried} of {len(jobs)} files were tried", to_stderr=True)
        click.get_current_context().exit(STOPPED)
    if several and not report.as_json:
        done = f"{tried - len(failures.codes)} of {len(jobs) + skipped} files"
        left_out = f", {skipped} skipped: their outputs exist" if skipped else ""
        seconds = time.perf_counter() - start
        _sum_up(f"{done}, {_sums(total, seconds)}, {seconds:.1f} s{left_out}", report, failures)
    finish(failures, len(jobs))


def _bar(total: int):
    from tqdm import tqdm  # 20 ms

    return tqdm(total=total, unit="file", leave=False, delay=BAR_DELAY)


def _tell(outcome: Outcome, report: Report, failures: Failures) -> None:
    """Print what became of a job."""
    if not report.as_json:
        for text, to_stderr in outcome.said:
            say(text, to_stderr)
    elif outcome.failure is None:
        report.record(outcome.job.source, outcome.facts)
    if outcome.failure is not None:
        failures.add(outcome.job.source, outcome.failure, outcome.facts)


def _sum_up(text: str, report: Report, failures: Failures) -> None:
    """Print the last line, beside the failures if there are any."""
    to_stderr = report.to_stderr or bool(failures.codes)
    with failures.of(None):
        report._replace(to_stderr=to_stderr).line(text)


def _sums(total: Done, seconds: float) -> str:
    return f"{total.pixels / 1e6:.1f} MP, {spaced(total.size)} B, {speed(total.pixels, seconds)}"


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


def _in_workers(jobs: list[Job], work: Work, report: Report, workers: int) -> Iterator[Outcome]:
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
