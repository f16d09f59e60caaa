"""Which file is written for which: targets, collisions, and reading a source."""

import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from ..errors import InputError, OutputError
from ..files import write_atomically
from .report import shown, write_stdout

STREAM = "-"  # stdin as a source, stdout as a target


class Job(NamedTuple):
    """A source and the target that is made of it: paths, or STREAM."""

    source: str
    target: str

    @property
    def name(self) -> str:
        """The source, for messages."""
        return "stdin" if self.source == STREAM else shown(self.source)

    @property
    def target_name(self) -> str:
        """The target, for messages."""
        return "stdout" if self.target == STREAM else shown(self.target)


def plan(sources: Sequence[str], out: str | None, suffix: str) -> list[Job]:
    """A target for each source.

    out: None puts it beside the source with `suffix`; a folder, or a path that ends in a slash
    and becomes one, takes all; STREAM or any other path is the target of the only source.

    Raises click.UsageError if sources would overwrite each other.
    """
    is_folder = out not in (None, STREAM) and (out.endswith(("/", os.sep)) or Path(out).is_dir())
    if len(sources) > 1:
        if STREAM in sources:
            raise click.UsageError("stdin can only be the single input")
        if out is not None and not is_folder:
            raise click.UsageError(f"several inputs need a folder as -o, and {out!r} is none")
    if STREAM in sources and is_folder:
        raise click.UsageError("stdin has no name to use in a folder: give -o FILE")
    jobs = [Job(source, _target(source, out, suffix, is_folder)) for source in sources]
    _refuse_collisions(jobs)
    if is_folder:
        _make_folder(Path(out))
    return jobs


def _target(source: str, out: str | None, suffix: str, is_folder: bool) -> str:
    if out is None and source == STREAM:
        return STREAM
    if out is not None and not is_folder:
        return out
    path = Path(source)
    # A source without a name, such as "..", is a folder: reading it will tell.
    path = path.with_suffix(suffix) if path.name else path
    return str(path if out is None else Path(out) / path.name)


def _refuse_collisions(jobs: list[Job]) -> None:
    writers = defaultdict(list)
    for job in jobs:
        if job.target != STREAM:
            writers[_same(job.target)].append(job)
    lines = [
        f"{found[0].target_name} would be written for {', '.join(job.name for job in found)}"
        for found in writers.values()
        if len(found) > 1
    ]
    if lines:
        raise click.UsageError("\n  ".join(["nothing was done, since outputs collide:", *lines]))


def _same(path: str) -> str:
    """A key that is equal for two ways to write one path."""
    return os.path.normcase(os.path.realpath(path))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(f"cannot make the folder {folder}: {exc.strerror}") from exc


def check_target(job: Job, force: bool) -> None:
    """Find out before the work that the target could not be written. Raises OutputError."""
    target = Path(job.target)
    if job.target == STREAM:
        return
    if target.is_dir():
        raise OutputError(f"{job.target_name} is a directory")
    if not target.parent.is_dir():
        raise OutputError(f"there is no folder {shown(str(target.parent))} to write to")
    if job.source != STREAM and _same(job.source) == _same(job.target):
        raise OutputError("the output would overwrite its own input")
    is_device = target.exists() and not target.is_file()
    if os.path.lexists(target) and not force and not is_device:
        raise OutputError(f"{job.target_name} exists already; -f overwrites it")


def check_stdout(jobs: list[Job], force: bool) -> None:
    """Raise click.UsageError for binary data on a terminal, unless `force`."""
    stdout = sys.stdout.buffer
    if not force and any(job.target == STREAM for job in jobs) and stdout.isatty():
        raise click.UsageError("binary data would go to the terminal: use -o, a pipe, or -f")


def write(job: Job, data: bytes, force: bool) -> None:
    """Write the target of a job, whole or not at all. Raises OutputError."""
    if job.target == STREAM:
        write_stdout(data)
    else:
        write_atomically(job.target, data, force)


def read(source: str) -> bytes:
    """All bytes of a file or of stdin. Raises InputError."""
    try:
        if source == STREAM:
            return sys.stdin.buffer.read()
        return Path(source).read_bytes()
    except IsADirectoryError as exc:
        raise InputError("is a directory, expected a file") from exc
    except OSError as exc:
        raise InputError(f"cannot be read: {exc.strerror or exc}") from exc
