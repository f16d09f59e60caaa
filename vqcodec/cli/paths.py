"""Output paths: which file is written for which source, without collisions; reading and writing."""

import os
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from ..errors import InputError, OutputError
from ..image.atomic_write import write_atomically
from . import streams
from .console import name_of, shown
from .streams import STREAM

_DIRECTORY = "is a directory, expected a file; encode and decode take folders with -r"


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


def plan(
    sources: Sequence[str], out: str | None, suffix: str, extensions: Collection[str]
) -> list[Job]:
    """A target for each source.

    out: None puts it beside the source with `suffix`; a folder, or a path that ends in a slash
    and becomes one, takes all; STREAM or any other path is the target of the only source.
    extensions: those, in lower case, that sources usually have.

    Raises click.UsageError if sources would overwrite each other, or one is meant as a target.
    """
    is_folder = out not in (None, STREAM) and (out.endswith(("/", os.sep)) or os.path.isdir(out))
    if out is None:
        _refuse_target_as_source(sources, suffix, extensions)
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


def _refuse_target_as_source(
    sources: Sequence[str], suffix: str, extensions: Collection[str]
) -> None:
    """Raise click.UsageError for `in.png out.vqc`, as other programs have it."""
    if len(sources) != 2 or STREAM in sources:
        return
    last = sources[1]
    extension = Path(last).suffix.lower()
    if extension not in extensions and (extension == suffix or not os.path.lexists(last)):
        raise click.UsageError(
            f"{shown(last)} is taken for an input; to write it: -o {shown(last)}"
        )


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
        enter = bool(extensions) and os.path.isdir(source)
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
    # A source without a name, such as ".", is a folder: reading it will tell.
    return path.with_suffix(suffix) if path.name else path / suffix


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
    target, name = job.target, job.target_name
    if target == STREAM:
        return
    if os.path.isdir(target):
        raise OutputError(f"{name} is a directory")
    folder = str(Path(target).parent)
    if not os.path.isdir(folder):
        raise OutputError(f"there is no folder {shown(folder)} to write to")
    if job.source != STREAM and _same(job.source) == _same(target):
        raise OutputError("the output would overwrite its own input")
    try:
        os.lstat(target)
    except FileNotFoundError:
        return
    except OSError as exc:  # a name that is too long, for example
        raise OutputError(f"cannot write {name}: {exc.strerror}") from exc
    is_device = os.path.exists(target) and not os.path.isfile(target)
    if not force and not is_device:
        raise OutputError(f"{name} exists already; -f overwrites it, -o names another")


def check_stdout(jobs: list[Job], force: bool) -> None:
    """Find out before the work that stdout takes no data, if any is to go there.

    Raises OutputError; click.UsageError for a terminal, unless `force`.
    """
    if any(job.target == STREAM for job in jobs):
        streams.check_stdout(force)


def copy_times(job: Job) -> None:
    """Give the target the times of access and change of its source."""
    found = os.stat(job.source)
    os.utime(job.target, ns=(found.st_atime_ns, found.st_mtime_ns))


def write(job: Job, data: bytes, force: bool) -> None:
    """Write the target of a job, whole or not at all. Raises OutputError."""
    if job.target == STREAM:
        streams.write_stdout(data)
    else:
        write_atomically(job.target, data, force)


def read(source: str) -> bytes:
    """All bytes of a file or of stdin. Raises InputError."""
    try:
        if source == STREAM:
            return streams.read_stdin()
        return Path(source).read_bytes()
    except IsADirectoryError as exc:
        raise InputError(_DIRECTORY) from exc
    except (InputError, MemoryError):
        raise
    except (OSError, ValueError) as exc:
        raise InputError(f"cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
