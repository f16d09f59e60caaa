"""Many files at a time: in this process or in worker processes, one progress bar, one summary.

Only this process prints.
"""

import sys
import time
from contextlib import closing, nullcontext

import click

from ..compare.captions import spaced, speed
from .console import BAR_DELAY, Clock, Failures, Report, finish
from .outcome import Done, Outcome, Work, attempt
from .paths import Job
from .streams import is_terminal, say

STOPPED = 130  # exit code after Ctrl-C: 128 + SIGINT, as shells have it


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
    if workers > 1:
        from .worker_processes import in_workers

        outcomes = in_workers(jobs, work, report, workers)
    else:
        outcomes = (attempt(work, report._replace(clock=clock), job) for job in jobs)
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
