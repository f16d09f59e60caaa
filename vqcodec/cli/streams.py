"""The standard streams: lines of text to the user, and image or .vqc data in pipes.

A report that nobody can read stops no work: where its reader went away, or where there never was
one (services, programs without a console), its lines are lost quietly. Data that cannot be
delivered is an error.
"""

import errno
import io
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

import click

from ..errors import InputError, OutputError

STREAM = "-"  # stdin as a source, stdout as a target
_STDIN = {"/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"}
_STDOUT = {"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}
# What writing to a pipe without a reader says; EINVAL on Windows.
_NO_READER = {errno.EPIPE, errno.EINVAL} if os.name == "nt" else {errno.EPIPE}
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and end of line


class _Nowhere(io.TextIOBase):
    """Stands in for a stream that the process does not have: text is lost, bytes are refused."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        """Take a text."""
        return len(text)


@contextmanager
def complete() -> Iterator[None]:
    """Have something instead of each standard stream: pythonw and services have none."""
    _fill_descriptors()
    before = {name: getattr(sys, name) for name in ("stdin", "stdout", "stderr")}
    for name, stream in before.items():
        if stream is None or getattr(stream, "closed", False):
            setattr(sys, name, _Nowhere())
    try:
        yield
    finally:
        for name, stream in before.items():
            setattr(sys, name, stream)


def _fill_descriptors() -> None:
    """Let no file get the number of a closed stream: what C libraries print would go into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                # The lowest free number, which is this one. Worker processes get it, too.
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def source_of(path: str) -> str:
    """STREAM for a path that is stdin by another name."""
    return STREAM if path in _STDIN else path


def target_of(path: str) -> str:
    """STREAM for a path that is stdout by another name: the report must not follow the data."""
    return STREAM if path in _STDOUT or _is_pipe_of_stdout(path) else path


def _is_pipe_of_stdout(path: str) -> bool:
    try:
        found = os.stat(path)
        return stat.S_ISFIFO(found.st_mode) and os.path.samestat(found, os.fstat(1))
    except (OSError, ValueError):
        return False


def is_terminal(stream: object) -> bool:
    """Tell whether somebody sees what is written to `stream`, a standard stream."""
    return bool(getattr(stream, "isatty", bool)())


def say(text: str, to_stderr: bool = False) -> None:
    """Print a line, and put a visible bar aside for it. Raises OutputError if stdout is full."""
    stream = sys.stderr if to_stderr else sys.stdout
    try:
        with _no_bar():
            click.echo(_printable(text, getattr(stream, "encoding", None)), err=to_stderr)
    except OSError as exc:
        _silence(stream)
        if exc.errno not in _NO_READER and not to_stderr:
            raise OutputError(f"cannot write to stdout: {exc.strerror or exc}") from exc


def _no_bar() -> AbstractContextManager:
    """A context in which no bar of tqdm is on the terminal. A bar imports it, not we: 20 ms."""
    module = sys.modules.get("tqdm")
    return module.tqdm.external_write_mode() if module else nullcontext()


def _printable(text: str, encoding: str | None) -> str:
    r"""The text as a console can show it: \u4e2d and \xe9 for what its encoding lacks, and \x1b for
    what would steer it: names come from strangers."""
    encoding = encoding or "utf-8"
    text = _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _silence(stream: object) -> None:
    """Lose what is left in the buffer of a stream that failed, and what is written to it later:
    it would fail once more, at the latest when Python ends."""
    with suppress(OSError, ValueError, AttributeError):
        number = stream.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, number)
        os.close(null)


def check_stdout(force: bool) -> None:
    """Find out before the work that stdout is not for data.

    Raises OutputError if it takes none, click.UsageError for a terminal, unless `force`.
    """
    if is_terminal(_stdout()) and not force:
        raise click.UsageError("binary data would go to the terminal: use -o, a pipe, or -f")


def write_stdout(data: bytes) -> None:
    """Write binary data to stdout, all of it. Raises OutputError."""
    stream = _stdout()
    try:
        stream.write(data)
        stream.flush()
    except OSError as exc:
        _silence(sys.stdout)
        raise OutputError(f"cannot write to stdout: {exc.strerror or exc}") from exc


def _stdout() -> io.BufferedIOBase:
    stream = getattr(sys.stdout, "buffer", None)  # notebooks have none
    if stream is None:
        raise OutputError("stdout is closed or takes no bytes: give a file as -o")
    return stream


def read_stdin() -> bytes:
    """All bytes of stdin. Raises InputError if there are none to read, OSError."""
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise InputError("stdin is closed or has no bytes")
    return stream.read()
