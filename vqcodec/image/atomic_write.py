"""Write a file whole or not at all."""

import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import OutputError, VqcodecError

Content = bytes | Callable[[BinaryIO], None]


def write_atomically(path: str | os.PathLike, content: Content, overwrite: bool = False) -> None:
    """Write `content` to `path`: the target is either complete or untouched.

    content: the bytes, or a function that writes them to the binary file it is given.
    The bytes go to a temporary file in the same directory, which takes the target's name
    at the end and is removed if anything fails. Without `overwrite` an existing file is
    never replaced, not even one that appears while the content is being written. With it,
    the target keeps its permissions, and a symbolic link its place. A device or pipe is
    written directly: there is nothing in it to lose.

    Raises OutputError if the target exists or cannot be written; what `content` raises,
    other than OSError, passes through.
    """
    target = Path(path)
    try:
        if _is_special(target):
            with open(target, "wb") as file:
                _fill(file, content)
            return
        if not overwrite and os.path.lexists(target):
            raise OutputError(f"{target} exists already")
        _write_beside(Path(os.path.realpath(target)) if overwrite else target, content, overwrite)
    except VqcodecError:
        raise
    except FileExistsError as exc:
        raise OutputError(f"{target} exists already") from exc
    except OSError as exc:
        raise OutputError(f"cannot write {target}: {exc.strerror or exc}") from exc


def _is_special(target: Path) -> bool:
    """Tell whether `target` is a device, a pipe or a socket. Raises OutputError for a directory."""
    try:
        mode = target.stat().st_mode
    except OSError:
        return False  # nothing there, or not readable: opening the temporary file will tell
    if stat.S_ISDIR(mode):
        raise OutputError(f"{target} is a directory")
    return not stat.S_ISREG(mode)


def _fill(file: BinaryIO, content: Content) -> None:
    """Write `content` to the open binary `file`."""
    if callable(content):
        content(file)
    else:
        file.write(content)


def _write_beside(target: Path, content: Content, overwrite: bool) -> None:
    """Fill a temporary file in the target's directory, then give it the target's name."""
    temporary = target.with_name(f".vqcodec-{os.urandom(8).hex()}.tmp")
    with _open_new(temporary) as file:
        try:
            _fill(file, content)
            file.flush()
            _name(file, temporary)
            file.close()
            if overwrite:
                if target.exists():
                    shutil.copymode(target, temporary)
                os.replace(temporary, target)
            else:
                _rename_to_new(temporary, target)
        finally:
            file.close()  # before unlink: Windows does not remove an open file
            temporary.unlink(missing_ok=True)


def _open_new(temporary: Path) -> BinaryIO:
    """Open a new file for writing and, as some image writers need, for reading.

    On Linux it has no name until it is complete: a process that is killed leaves nothing.
    """
    if hasattr(os, "O_TMPFILE"):
        with suppress(OSError):  # a file system without nameless files
            flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
            return os.fdopen(os.open(temporary.parent, flags, 0o666), "w+b")
    # "x" and not tempfile: the new file gets the permissions of the user's umask, not 0600.
    return open(temporary, "x+b")


def _name(file: BinaryIO, temporary: Path) -> None:
    """Give the complete file the name `temporary` if it has none."""
    if temporary.exists():
        return
    try:
        os.link(f"/proc/self/fd/{file.fileno()}", temporary, follow_symlinks=True)
    except OSError:  # no /proc, or no links
        file.seek(0)
        with open(temporary, "xb") as named:
            shutil.copyfileobj(file, named)


def _rename_to_new(temporary: Path, target: Path) -> None:
    """Give `temporary` the name `target`; FileExistsError if that name is taken by now."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:
        # No hard links on this file system (FAT, some network shares): reserve the name first.
        open(target, "xb").close()
        os.replace(temporary, target)
