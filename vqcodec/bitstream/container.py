"""The container: a .vqc file <-> header, tiles of coder words, optional chunks.

FORMAT.md is the specification. Standard library only, no I/O: bytes in, tuples out. Nothing
read from a file is trusted, every error names the offset, and there is exactly one way to write
a given content, so that `pack(*unpack(data)) == data` for every file that `unpack` accepts.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from zlib import crc32

from ..errors import CorruptError, UnsupportedVersionError
from ..geometry import MAX_PIXELS, Rectangle
from .byte_reader import Cursor, varint
from .exact_part import CRC32_BYTES, Exact, pack_exact, part_context, read_exact
from .header import (
    CHUNKED,
    CRC16_BYTES,
    DEFAULT_TILE_LOG2,
    FLAGS_AT,
    HEADER_BYTES_MAX,
    MAGIC,
    MIN_TILE_LOG2,
    Header,
    check_tiles,
    choose_tile_log2,
    crc16,
    pack_header,
    read_start,
    tile_count,
    tile_grid,
    tile_pixels,
)

__all__ = [
    "ALPHA",
    "CHUNKED",
    "DEFAULT_TILE_LOG2",
    "FLAGS_AT",
    "HEADER_BYTES_MAX",
    "MAGIC",
    "MIN_TILE_LOG2",
    "Chunk",
    "Exact",
    "Header",
    "Segments",
    "Unpacked",
    "check_tiles",
    "choose_tile_log2",
    "overhead",
    "pack",
    "read_header",
    "tile_count",
    "tile_grid",
    "tile_pixels",
    "unpack",
]

MAX_WORDS_PER_LATENT = 2048  # 256 bits a pixel; 320 channels of 48 bits would be 480 words
MAX_CHUNK_BYTES = 2**26
END = b"VEND"
ALPHA = b"ALPH"
CRITICAL_KINDS = frozenset(
    {ALPHA, END}
)  # capital first letter: a reader that does not know it refuses
WORD_BYTES = 4


class Segments(NamedTuple):
    """The coder words of one tile, little-endian uint32: a multiple of 4 bytes each."""

    coarse: bytes
    fine: bytes


class Chunk(NamedTuple):
    """Four ASCII letters that say what `data` is; the first is a capital if it is critical."""

    kind: bytes
    data: bytes


class Unpacked(NamedTuple):
    """A whole .vqc file. tiles: in raster order, none if all pixels are exact. chunks: without the
    end chunk. exact: of each tile, in raster order, what is exact of it; none if the file has no
    exact parts."""

    header: Header
    tiles: tuple[Segments, ...]
    chunks: tuple[Chunk, ...]
    exact: tuple[Exact | None, ...] = ()


def pack(
    header: Header,
    tiles: Sequence[Segments],
    chunks: Sequence[Chunk] = (),
    exact: Sequence[Exact | None] = (),
) -> bytes:
    """Return the .vqc file of these parts.

    tiles, exact: as many as `tile_grid` yields, or none of a kind that the header has not. chunks:
    without the end chunk.
    Raises ValueError for parts that no reader would accept.
    """
    rectangles = list(tile_grid(header))
    kinds = ("tiles", tiles, header.learned), ("exact parts", exact, header.exact)
    for what, found, there in kinds:
        if len(found) != len(rectangles) * there:
            raise ValueError(f"{len(found)} {what}, the header has {len(rectangles) * there}")
    head = pack_header(header, chunked=bool(chunks))
    parts = [head]
    for number, rectangle in enumerate(rectangles):
        if header.learned:
            parts.append(_pack_tile(tile_context(head, number), rectangle, tiles[number]))
        if header.exact:
            parts.append(_pack_exact(header, head, number, rectangle, exact[number]))
    if chunks:
        for chunk in chunks:
            _check_chunk(chunk)
        parts.extend(_pack_chunk(chunk) for chunk in (*chunks, Chunk(END, b"")))
    return b"".join(parts)


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """Read the header from the first bytes of a file; HEADER_BYTES_MAX are always enough.

    Raises FormatError, or ImageTooLargeError for more than `max_pixels` pixels.
    """
    return read_start(Cursor(data), max_pixels)[0]


def unpack(data: bytes, max_pixels: int = MAX_PIXELS) -> Unpacked:
    """Read a whole file and check every byte of it.

    Raises FormatError, or ImageTooLargeError for more than `max_pixels` pixels.
    """
    cursor = Cursor(data)
    header, chunked = read_start(cursor, max_pixels)
    head, tiles, exact = cursor.since(0), [], []
    for number, rectangle in enumerate(tile_grid(header)):
        if header.learned:
            tiles.append(_read_tile(cursor, tile_context(head, number), rectangle))
        if header.exact:
            context, pixels = part_context(head, number), tile_pixels(header, rectangle)
            exact.append(read_exact(cursor, context, pixels, header))
    chunks = tuple(_read_chunks(cursor)) if chunked else ()
    if cursor.left:
        raise CorruptError(f"{cursor.left} bytes follow the end, expected none", cursor.offset)
    return Unpacked(header, tuple(tiles), chunks, tuple(exact))


def overhead(data: bytes, max_pixels: int = MAX_PIXELS) -> int:
    """Return how many bytes of a file are neither coder words nor exact pixels. Raises as `unpack`
    does."""
    file = unpack(data, max_pixels)
    streams = sum(len(part.stream) for part in file.exact if part is not None)
    return len(data) - streams - sum(len(tile.coarse) + len(tile.fine) for tile in file.tiles)


def tile_context(head: bytes, number: int) -> bytes:
    """What both checksums of a tile start with: words in another file or tile do not pass."""
    return head + number.to_bytes(4, "little")


def _pack_exact(
    header: Header, head: bytes, number: int, rectangle: Rectangle, exact: Exact | None
) -> bytes:
    context = part_context(head, number)
    return pack_exact(context, tile_pixels(header, rectangle), exact, header)


def _word_limit(rectangle: Rectangle) -> int:
    return rectangle.width * rectangle.height * MAX_WORDS_PER_LATENT


def _pack_tile(context: bytes, rectangle: Rectangle, segments: Segments) -> bytes:
    sizes = b""
    for name, words in segments._asdict().items():
        count, rest = divmod(len(words), WORD_BYTES)
        if rest or count > _word_limit(rectangle):
            raise ValueError(
                f"{name} segment has {len(words)} bytes, expected whole words of {WORD_BYTES}"
                f" and at most {_word_limit(rectangle)} of them"
            )
        sizes += varint(count)
    check = crc16(context + sizes + segments.coarse).to_bytes(CRC16_BYTES, "little")
    tile = sizes + check + segments.coarse + segments.fine
    return tile + crc32(context + tile).to_bytes(CRC32_BYTES, "little")


def read_sizes(cursor: Cursor, rectangle: Rectangle) -> tuple[int, int]:
    """Return the numbers of coarse and of fine words."""
    counts = []
    for what in ("number of coarse words", "number of fine words"):
        start = cursor.offset
        counts.append(cursor.varint(what))
        if counts[-1] > _word_limit(rectangle):
            limit = _word_limit(rectangle)
            raise CorruptError(f"{what} is {counts[-1]}, expected at most {limit}", start)
    return counts[0], counts[1]


def read_coarse(cursor: Cursor, context: bytes, rectangle: Rectangle) -> tuple[bytes, int]:
    """Return the coarse words and the number of fine words that follow."""
    start = cursor.offset
    coarse_count, fine_count = read_sizes(cursor, rectangle)
    sizes = cursor.since(start)
    expected = cursor.number(CRC16_BYTES, "tile checksum")
    coarse = cursor.take(coarse_count * WORD_BYTES, "coarse words")
    cursor.check(crc16(context + sizes + coarse), expected, "coarse segment", start)
    return coarse, fine_count


def _read_tile(cursor: Cursor, context: bytes, rectangle: Rectangle) -> Segments:
    start = cursor.offset
    coarse, fine_count = read_coarse(cursor, context, rectangle)
    return Segments(coarse, read_fine(cursor, context, start, fine_count))


def read_fine(cursor: Cursor, context: bytes, start: int, count: int) -> bytes:
    """Return the `count` fine words of the tile that begins at `start`."""
    fine = cursor.take(count * WORD_BYTES, "fine words")
    found = crc32(context + cursor.since(start))
    cursor.check(found, cursor.number(CRC32_BYTES, "tile checksum"), "tile", start)
    return fine


def _is_kind(kind: bytes) -> bool:
    return len(kind) == 4 and kind.isalpha()  # bytes.isalpha knows ASCII letters only


def _is_critical(kind: bytes) -> bool:
    return kind[:1].isupper()


def _check_chunk(chunk: Chunk) -> None:
    """Raise ValueError for a chunk that `unpack` would refuse."""
    if not _is_kind(chunk.kind):
        raise ValueError(f"chunk kind is {chunk.kind!r}, expected four ASCII letters")
    if _is_critical(chunk.kind) and chunk.kind not in CRITICAL_KINDS - {END}:
        raise ValueError(f"critical chunk {chunk.kind!r} is not one of this format version")
    if len(chunk.data) > MAX_CHUNK_BYTES:
        raise ValueError(f"chunk has {len(chunk.data)} bytes, expected at most {MAX_CHUNK_BYTES}")


def _pack_chunk(chunk: Chunk) -> bytes:
    body = chunk.kind + varint(len(chunk.data)) + chunk.data
    return body + crc32(body).to_bytes(CRC32_BYTES, "little")


def _read_chunks(cursor: Cursor) -> Iterator[Chunk]:
    """Yield the chunks before the end chunk, and read that one."""
    first = cursor.offset
    while True:
        start = cursor.offset
        kind, data = read_chunk(cursor)
        if kind == END:
            break
        yield Chunk(kind, data)
    if data:
        raise CorruptError(f"end chunk has {len(data)} bytes, expected none", start)
    if start == first:
        raise CorruptError("flags announce chunks, expected one before the end chunk", start)


def read_chunk(cursor: Cursor) -> Chunk:
    start = cursor.offset
    kind = cursor.take(4, "chunk kind")
    if not _is_kind(kind):
        raise CorruptError(f"chunk kind is {kind!r}, expected four ASCII letters", start)
    size = cursor.varint("chunk length")
    if size > MAX_CHUNK_BYTES:
        raise CorruptError(f"chunk has {size} bytes, expected at most {MAX_CHUNK_BYTES}", start)
    data = cursor.take(size, "chunk data")
    found = crc32(cursor.since(start))
    cursor.check(found, cursor.number(CRC32_BYTES, "chunk checksum"), f"chunk {kind!r}", start)
    if _is_critical(kind) and kind not in CRITICAL_KINDS:
        raise UnsupportedVersionError(f"unknown critical chunk {kind.decode()}", start)
    return Chunk(kind, data)
