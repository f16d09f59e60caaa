"""What becomes of a file among many."""

from collections.abc import Callable
from typing import NamedTuple

from .console import Report, explain
from .paths import Job


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
