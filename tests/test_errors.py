"""The error tree."""

import pickle

from vqcodec import errors
from vqcodec.errors import CorruptError, FormatError, OutputError, VqcodecError

ALL = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, VqcodecError)
]
EXIT_CODES = {
    "VqcodecError": 1,
    "FormatError": 4,
    "NotVqcError": 3,
    "TruncatedError": 4,
    "CorruptError": 4,
    "UnsupportedVersionError": 4,
    "UnknownModelError": 5,
    "ModelError": 5,
    "ImageTooLargeError": 6,
    "InputError": 3,
    "OutputError": 7,
    "OutOfReachError": 8,
    "NoIndicesError": 9,
    "NoDecoderError": 2,
    "MissingExtraError": 1,
}


def test_exit_codes_are_the_documented_ones():
    assert {error.__name__: error.exit_code for error in ALL} == EXIT_CODES


def test_the_tree_in_the_docstring_names_every_error():
    for error in ALL:
        line = next(line for line in errors.__doc__.splitlines() if error.__name__ in line)

        assert f" {error.exit_code}  " in line


def test_errors_cross_a_process_pool():
    for error in ALL:
        original = error("found this", 7) if issubclass(error, FormatError) else error("found this")
        copied = pickle.loads(pickle.dumps(original))

        assert type(copied) is error
        assert str(copied) == str(original)
        assert getattr(copied, "offset", None) == getattr(original, "offset", None)


def test_a_format_error_says_where():
    assert str(CorruptError("found this", 12)) == "found this, at offset 12"
    assert CorruptError("found this").offset is None


def test_builtin_handlers_catch_them():
    assert issubclass(FormatError, ValueError)
    assert issubclass(OutputError, OSError)
    assert issubclass(errors.UnknownModelError, LookupError)
