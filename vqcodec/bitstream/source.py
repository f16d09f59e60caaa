"""Reading the bytes of a .vqc file from bytes, a path or a file object."""

import os
from typing import BinaryIO

from ..errors import InputError

FileSource = bytes | bytearray | memoryview | str | os.PathLike | BinaryIO


def read_source(source: FileSource, most: int = -1) -> bytes:
    """The bytes, at most the first `most` of them (-1: all); a file object is read from where it
    is.

    Raises InputError if they cannot be read; TypeError for a source of another type.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source) if most < 0 else bytes(memoryview(source)[:most])
    try:
        if isinstance(source, str | os.PathLike):
            with open(source, "rb") as file:
                return file.read(most)
        if hasattr(source, "read"):
            return _as_bytes(source.read(most))
    except (OSError, ValueError) as exc:  # ValueError: a closed file, a null in the path
        raise InputError(f"cannot read {source!r}: {exc}") from exc
    kind = type(source).__name__
    raise TypeError(f"source is {kind}, expected bytes, a path or a binary file object")


def _as_bytes(data: object) -> bytes:
    if isinstance(data, str):
        raise TypeError("source is a text file object, expected a binary one")
    return bytes(data)
