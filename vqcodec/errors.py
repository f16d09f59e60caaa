"""The errors that vqcodec raises, and the exit code of each on the command line.

VqcodecError(Exception)              1  some file failed
  FormatError(ValueError)            4  bytes are not a valid .vqc file; has `.offset`
    NotVqcError                      3  the bytes are something else
    TruncatedError                   4  the bytes end too early
    CorruptError                     4  the bytes were damaged, or were never a valid file
    UnsupportedVersionError          4  a valid file that needs a newer vqcodec
  UnknownModelError(LookupError)     5  a model that this installation does not have
  ModelError(ValueError)             5  a model file that is refused: its hash or its bounds
  ImageTooLargeError(ValueError)     6  above a size limit, found before anything is allocated
  InputError(ValueError)             3  a source that cannot be read as a picture
  OutputError(OSError)               7  a target that exists or cannot be written
  OutOfReachError(ValueError)        8  a size or closeness that no quality has
  NoIndicesError(ValueError)         9  a file of exact pixels alone, asked for its indices
  NoDecoderError(ValueError)         2  realism of a model that has no decoder for it
  MissingExtraError(ImportError)     1  work that takes a package which is not installed

Exit code 0 is success and 2 is wrong usage, as click has it. A message is one line: what was
found, what was expected, and where. Misuse by a program (a wrong dtype, an index out of range)
is a plain ValueError and not in this tree.
"""


class VqcodecError(Exception):
    """Base of every error that a file, a model or a target can cause."""

    exit_code = 1


class FormatError(VqcodecError, ValueError):
    """The bytes are not a valid .vqc file."""

    exit_code = 4

    def __init__(self, message: str, offset: int | None = None):
        """`offset`: byte of the file where the fault was found; None where there is no one byte."""
        super().__init__(message if offset is None else f"{message}, at offset {offset}")
        self.offset = offset

    def __reduce__(self):
        # args hold the finished message: the offset must not be written into it a second time.
        return _restore, (type(self), str(self), self.offset)


def _restore(kind: type[FormatError], message: str, offset: int | None) -> FormatError:
    """Rebuild a FormatError on the other side of a process pool."""
    error = kind(message)
    error.offset = offset
    return error


class NotVqcError(FormatError):
    """The bytes do not start like a .vqc file."""

    exit_code = 3


class TruncatedError(FormatError):
    """The bytes end before the file does."""


class CorruptError(FormatError):
    """A checksum, a value or the end of a stream is wrong: the bytes were damaged."""


class UnsupportedVersionError(FormatError):
    """The file needs something that this version of the format does not have."""


class UnknownModelError(VqcodecError, LookupError):
    """The file or the caller names a model that is not installed."""

    exit_code = 5


class ModelError(VqcodecError, ValueError):
    """A model file was found and refused."""

    exit_code = 5


class ImageTooLargeError(VqcodecError, ValueError):
    """A picture is above a size limit; raised before anything of its size is allocated."""

    exit_code = 6


class InputError(VqcodecError, ValueError):
    """A source cannot be read as a picture."""

    exit_code = 3


class OutputError(VqcodecError, OSError):
    """A target exists already or cannot be written."""

    exit_code = 7


class OutOfReachError(VqcodecError, ValueError):
    """A size or a closeness that was asked for, and that no quality has for this picture."""

    exit_code = 8


class NoIndicesError(VqcodecError, ValueError):
    """Indices were asked of a file that has none: all of its pixels are exact."""

    exit_code = 9


class NoDecoderError(VqcodecError, ValueError):
    """Realism was asked of a model that has the fidelity decoder only."""

    exit_code = 2


class MissingExtraError(VqcodecError, ImportError):
    """What was asked for takes a package that is not installed; the message says which extra."""
