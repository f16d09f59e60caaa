"""Which file is written for which: targets, collisions, and reading a source."""

import os
import sys
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from ..errors import InputError, OutputError
from ..image.atomic_write import write_atomically
from .console import STREAM, name_of, shown, write_stdout


class Job(NamedTuple):
    """A source and the target that is made of it: paths, or STREAM."""

    source: str
    target: str

    @property
    def name(self) -> str:
        """The source, for messages."""
        return name_of(self.source)

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


def plan_tree(
    sources: Sequence[str], folder: str | None, suffix: str, extensions: Collection[str]
) -> list[Job]:
    """A target for each file, and for each one below those of the sources that are folders.

    folder: takes the targets, in the subfolders in which their sources were found, and is made
    where it is missing; None puts them beside their sources.
    extensions: those, in lower case, of the files to take from a folder; none: folders are not
    entered. Hidden files and folders (.name) and links to folders are left out.

    Raises click.UsageError if sources would overwrite each other, InputError for a folder that
    cannot be listed or has nothing to take, OutputError.
    """
    if STREAM in sources:
        raise click.UsageError("-r and --output-dir take files, not stdin")
    jobs = []
    for source in map(Path, sources):
        enter = bool(extensions) and source.is_dir()
        root = source if enter else source.parent
        for path in _below(source, extensions) if enter else [source]:
            target = path if folder is None else Path(folder) / path.relative_to(root)
            jobs.append(Job(str(path), str(_renamed(target, suffix))))
    _refuse_collisions(jobs)
    if folder is not None:
        for parent in sorted({Path(job.target).parent for job in jobs}):
            _make_folder(parent)
    return jobs


def _below(root: Path, extensions: Collection[str]) -> list[Path]:
    """The files with these extensions below `root`, in order of their names."""

    def fail(error: OSError) -> None:
        name = shown(error.filename)
        raise InputError(f"the folder {name} cannot be listed: {error.strerror}") from error

    found = []
    for folder, subfolders, names in os.walk(root, onerror=fail):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        paths = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        found += [path for path in paths if path.suffix.lower() in extensions]
    if not found:
        wanted = ", ".join(sorted(extensions))
        raise InputError(f"no file below {shown(str(root))} ends in {wanted}")
    return found


def _target(source: str, out: str | None, suffix: str, is_folder: bool) -> str:
    if out is None and source == STREAM:
        return STREAM
    if out is not None and not is_folder:
        return out
    path = _renamed(Path(source), suffix)
    return str(path if out is None else Path(out) / path.name)


def _renamed(path: Path, suffix: str) -> Path:
    # A source without a name, such as "..", is a folder: reading it will tell.
    return path.with_suffix(suffix) if path.name else path


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


def copy_times(job: Job) -> None:
    """Give the target the times of access and change of its source."""
    found = os.stat(job.source)
    os.utime(job.target, ns=(found.st_atime_ns, found.st_mtime_ns))


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
