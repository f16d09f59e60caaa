"""Console output of the commands: a line a file, a line a failure, a progress bar.

Every failure that has a cause outside the program passes through `explain`; what it does not
know is a bug and keeps its traceback.
"""

import json
import math
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import click

from ..errors import VqcodecError
from .streams import STREAM, is_terminal, say

BAR_DELAY = 2.0  # seconds of work before a bar shows
# Torch has no MemoryError: what its allocators say on the CPU and on GPUs.
_NO_MEMORY = re.compile("out of memory|allocate memory|not enough memory", re.IGNORECASE)

Task = tuple[str, Callable[[], None]]  # a source, and the work on it


class Report(NamedTuple):
    """Where the lines of a command go, and which."""

    quiet: bool = False
    verbose: bool = False
    to_stderr: bool = False  # because stdout carries data
    as_json: bool = False  # an object a file instead of its lines
    said: list[tuple[str, bool]] | None = None  # takes (line, to_stderr) instead of printing it
    facts: dict | None = None  # takes what the object is to have
    clock: "Clock | None" = None  # of a single file, which shows what is under way

    def line(self, text: str) -> None:
        """Say what was done with a file."""
        self._say(text, self.to_stderr)

    def detail(self, text: str) -> None:
        """Say more, for `-v`."""
        if self.verbose:
            self.line(f"  {text}")

    def notice(self, name: str, text: str) -> None:
        """Say what a file had and its code has not."""
        self._say(f"{name}: {text}", True)
        if self.facts is not None:
            self.facts.setdefault("notices", []).append(text)

    def fact(self, **found: object) -> None:
        """Say what is known of a file, for its JSON object."""
        if self.facts is not None:
            self.facts.update(found)

    def status(self, text: str) -> None:
        """Say what is under way, where it is shown."""
        if self.clock is not None:
            self.clock.text = text

    def share(self, done: float) -> None:
        """Say how much of the work is done, where it is shown."""
        self.status(f"{done:.0%}")

    def record(self, source: str, facts: dict, failure: tuple[str, int] | None = None) -> None:
        """Print the JSON object of a file; failure: as `explain` has it."""
        if self.quiet and failure is None:
            return
        found = {"file": source, "ok": failure is None} | facts
        if failure is not None:
            found["error"] = {"code": failure[1], "message": failure[0]}
        # JSON has no number for the PSNR of equal pictures
        found = {key: None if value == math.inf else value for key, value in found.items()}
        say(json.dumps(found), self.to_stderr)

    def _say(self, text: str, to_stderr: bool) -> None:
        if self.quiet:
            return
        if self.said is None:
            say(text, to_stderr)
        else:
            self.said.append((text, to_stderr))


class Failures:
    """Turns failures into lines on stderr and remembers their exit codes."""

    def __init__(self, report: Report | None = None):
        self.report = report or Report()
        self.codes: list[int] = []  # one a failure

    @contextmanager
    def of(self, source: str | None) -> Iterator[None]:
        """Report a failure of the body as one of this file; None: of no file."""
        try:
            yield
        except Exception as exc:
            found = explain(exc)
            if found is None:
                raise
            self.add(source, found, {})

    def add(self, source: str | None, failure: tuple[str, int], facts: dict) -> None:
        """Report one that `explain` explained; facts: what is known of the file nevertheless."""
        message, code = failure
        as_json = self.report.as_json and source is not None
        if as_json:
            with self.of(None):  # stdout may be full
                self.report.record(source, facts, failure)
        if not (as_json and self.report.to_stderr):  # where the object has said it already
            name = None if source is None else name_of(source)
            say(": ".join(filter(None, ["vqcodec", name, message])), to_stderr=True)
        self.codes.append(code)

    def exit_code(self) -> int:
        """0 without failures, their code if they have one in common, else 1."""
        if not self.codes:
            return 0
        return self.codes[0] if len(set(self.codes)) == 1 else 1


def explain(error: Exception) -> tuple[str, int] | None:
    """The message, one line, and the exit code of a failure; None for a bug, to be raised."""
    if isinstance(error, VqcodecError):
        return " ".join(str(error).split()), error.exit_code
    if isinstance(error, MemoryError | RuntimeError):
        out = isinstance(error, MemoryError) or _NO_MEMORY.search(str(error))
        return ("not enough memory", 1) if out else None
    if isinstance(error, OSError):
        name = f"{shown(error.filename)}: " if error.filename else ""
        return f"{name}{error.strerror or error}", 1
    return None


def run(tasks: Sequence[Task], report: Report) -> None:
    """Do all tasks, whichever of them fail, and exit with their code if any did."""
    failures = Failures(report)
    terminal = is_terminal(sys.stderr) and not report.quiet
    several = len(tasks) > 1
    hidden = not (terminal and several)
    for source, work in tasks if hidden else _with_bar(tasks):
        with failures.of(source), Clock(name_of(source), terminal and not several):
            work()
    finish(failures, len(tasks))


def _with_bar(tasks: Sequence[Task]) -> Iterable[Task]:
    from tqdm import tqdm

    return tqdm(tasks, unit="file", leave=False, delay=BAR_DELAY)


def finish(failures: Failures, count: int) -> None:
    """Exit with the failures' code, if there are any; `count`: files that were tried."""
    if failures.codes:
        if count > 1:
            say(f"vqcodec: {len(failures.codes)} of {count} files failed", to_stderr=True)
        click.get_current_context().exit(failures.exit_code())


class Clock:
    """Shows the elapsed time of a single piece of work that takes long, while it is entered."""

    def __init__(self, name: str, visible: bool):
        self._name, self._start = name, time.time()
        self.text = ""  # what is under way
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True) if visible else None

    def __enter__(self) -> "Clock":
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def _tick(self) -> None:
        if not self._done.wait(BAR_DELAY):
            from tqdm import tqdm

            with tqdm(bar_format="{desc}{elapsed}", leave=False) as bar:
                bar.start_t = self._start
                while not self._done.wait(0.5):
                    bar.set_description(", ".join(filter(None, [self._name, self.text])))


def name_of(source: str) -> str:
    """A source, for messages."""
    return "stdin" if source == STREAM else shown(source)


def shown(path: str) -> str:
    """A path as a message has it: printable, and in one line."""
    return click.format_filename(path).replace("\n", "\\n")
