"""Bounds-checked parsing of untrusted bytes: numbers, varints, byte strings.

Every read that would pass the end raises TruncatedError; all numbers are little-endian.
"""

from ..errors import CorruptError, TruncatedError


class Cursor:
    """A position in the bytes of a file; every read is checked against their end."""

    def __init__(self, data: bytes):
        self.data = bytes(data)
        self.offset = 0

    @property
    def left(self) -> int:
        """Number of bytes not read yet."""
        return len(self.data) - self.offset

    def since(self, start: int) -> bytes:
        """Return the bytes read from offset `start` up to here."""
        return self.data[start : self.offset]

    def take(self, size: int, what: str) -> bytes:
        """Read `size` bytes; `what` names them in the error."""
        if size > self.left:
            raise TruncatedError(
                f"expected {size} bytes of {what}, file ends after {self.left}", self.offset
            )
        self.offset += size
        return self.data[self.offset - size : self.offset]

    def number(self, size: int, what: str) -> int:
        """Read an unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size, what), "little")

    def varint(self, what: str) -> int:
        """Read an unsigned LEB128 number below 2**32 in its shortest form."""
        start, value = self.offset, 0
        for shift in range(0, 35, 7):
            byte = self.number(1, what)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        encoded = self.since(start)
        if encoded[-1] >= 0x80 or value >= 2**32:
            raise CorruptError(f"{what} is not below 2**32", start)
        if len(encoded) > 1 and encoded[-1] == 0:
            raise CorruptError(f"{what} is not written in its shortest form", start)
        return value

    def check(self, found: int, expected: int, what: str, start: int) -> None:
        """Raise CorruptError at `start` if the checksum of `what` is not as expected."""
        if found != expected:
            raise CorruptError(f"{what} has checksum {found:#x}, expected {expected:#x}", start)


def varint(value: int) -> bytes:
    """Write `value`, 0..2**32 - 1, as unsigned LEB128."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
