"""The exact part of a tile: which blocks of it are exact, and a stream of their pixels.

The stream is one of WebP lossless (RFC 9649, section 3), without the RIFF container around it; it
is not decoded here, but its own size is compared with the tile's. Standard library only.
"""

from typing import NamedTuple
from zlib import crc32

from ..errors import CorruptError, FormatError, UnsupportedVersionError
from ..geometry import Rectangle
from .byte_reader import Cursor, varint
from .header import BYTE_DEPTH, Header

NOTHING, WEBP = 0, 1  # coders
MIN_BLOCK_LOG2, MAX_BLOCK_LOG2 = 4, 8  # blocks of 16 to 256 pixels a side
MAX_SIDE = 2**14  # pixels of a tile with exact blocks: a limit of the stream
MARK = 2**31  # added to the tile's number in the checksum: the words of the tile do not pass
CRC32_BYTES = 4
SIGNATURE = 0x2F
START_BYTES = 5  # signature, width and height less 1 in 14 bits each, no alpha, version 0


class Exact(NamedTuple):
    """The exact blocks of a tile.

    stream: WebP lossless, of the size of the tile; what it has outside exact blocks is no matter.
    block_log2: 4..8, blocks of 2**block_log2 pixels a side. runs: which of them are exact. Each
    bit, in raster order, is 1 where a block is not as the one above it, of the first row where it
    is exact; these are the lengths of the runs of 0, 1, 0, ... up to the last bit. Both are None
    and empty where all pixels of the picture are exact.
    """

    stream: bytes
    block_log2: int | None = None
    runs: tuple[int, ...] = ()


def blocks_of(tile: Rectangle, block_log2: int) -> tuple[int, int]:
    """How many blocks a tile, in pixels, has across and down."""
    return -(-tile.width >> block_log2), -(-tile.height >> block_log2)


def stream_start(width: int, height: int) -> bytes:
    """The only first bytes of a stream of this size."""
    sizes = width - 1 | height - 1 << 14
    return bytes([SIGNATURE]) + sizes.to_bytes(START_BYTES - 1, "little")


def part_context(head: bytes, number: int) -> bytes:
    """What the checksum of an exact part starts with."""
    return head + (MARK + number).to_bytes(4, "little")


def pack_exact(context: bytes, tile: Rectangle, exact: Exact | None, header: Header) -> bytes:
    """Return the exact part of a tile, in pixels.

    Raises ValueError for what no reader would accept.
    """
    part = bytes([NOTHING if exact is None else WEBP])
    if exact is not None:
        if exact.block_log2 is not None:
            part += bytes([exact.block_log2, *b"".join(map(varint, exact.runs))])
        part += varint(len(exact.stream)) + exact.stream
    part += crc32(context + part).to_bytes(CRC32_BYTES, "little")
    try:
        cursor = Cursor(part)
        if read_exact(cursor, context, tile, header) != exact or cursor.left:
            raise ValueError("exact part does not read as what it was written from")
    except FormatError as exc:
        raise ValueError(f"no reader accepts this exact part: {exc}") from exc
    return part


def read_exact(cursor: Cursor, context: bytes, tile: Rectangle, header: Header) -> Exact | None:
    """Read the exact part of a tile, in pixels; None: nothing of it is exact. Raises FormatError.

    Nothing of the tile's size is allocated.
    """
    start = cursor.offset
    found = read_body(cursor, tile, header)
    check = crc32(context + cursor.since(start))
    cursor.check(check, cursor.number(CRC32_BYTES, "exact checksum"), "exact part", start)
    if found is None:
        if not header.learned:
            raise CorruptError("tile has neither words nor exact pixels, expected one", start)
        return None
    if max(tile.width, tile.height) > MAX_SIDE:
        size = f"{tile.width}x{tile.height}"
        raise CorruptError(f"tile with exact blocks is {size}, expected at most {MAX_SIDE}", start)
    expected = stream_start(tile.width, tile.height)
    if not found.stream.startswith(expected):
        first = found.stream[:START_BYTES].hex(" ")
        raise CorruptError(f"exact pixels start with {first}, expected {expected.hex(' ')}", start)
    return found


def read_body(cursor: Cursor, tile: Rectangle, header: Header) -> Exact | None:
    """Read an exact part up to its checksum. Raises FormatError where it has no end."""
    start = cursor.offset
    coder, block_log2, runs = cursor.number(1, "coder of exact blocks"), None, ()
    if coder > WEBP:
        # Before the checksum: another coder may lay out its part in another way.
        raise UnsupportedVersionError(f"coder of exact blocks is {coder}, expected 0 or 1", start)
    if coder == WEBP and header.depth != BYTE_DEPTH:
        raise UnsupportedVersionError(
            f"coder {coder} of exact blocks in a picture of {header.depth} bits, it has 8", start
        )
    if coder == NOTHING:
        return None
    if header.learned:
        block_log2, runs = _read_map(cursor, tile)
    return Exact(cursor.take(_read_size(cursor, tile), "exact pixels"), block_log2, runs)


def _read_size(cursor: Cursor, tile: Rectangle) -> int:
    start = cursor.offset
    size, limit = cursor.varint("size of exact pixels"), stream_limit(tile)
    if size > limit:
        raise CorruptError(f"exact pixels have {size} bytes, expected at most {limit}", start)
    return size


def stream_limit(tile: Rectangle) -> int:
    """Bytes that the stream of a tile may have: noise takes 3 a pixel, and a code of a kilobyte."""
    return 4 * tile.width * tile.height + 2**12


def _read_map(cursor: Cursor, tile: Rectangle) -> tuple[int, tuple[int, ...]]:
    """Read `block_log2` and `runs` of an Exact."""
    start = cursor.offset
    block_log2 = cursor.number(1, "size of exact blocks")
    if not MIN_BLOCK_LOG2 <= block_log2 <= MAX_BLOCK_LOG2:
        limits = f"{MIN_BLOCK_LOG2}..{MAX_BLOCK_LOG2}"
        raise CorruptError(f"size of exact blocks is {block_log2}, expected {limits}", start)
    across, down = blocks_of(tile, block_log2)
    runs, left = [], across * down
    while left > 0:
        runs.append(cursor.varint("run of blocks"))
        left -= runs[-1]
        if left < 0 or (runs[-1] == 0 and len(runs) > 1):
            raise CorruptError(f"run of blocks is {runs[-1]}, expected 1..{left + runs[-1]}", start)
    if len(runs) == 1:
        raise CorruptError("no block is exact, expected a part that says so", start)
    return block_log2, tuple(runs)
