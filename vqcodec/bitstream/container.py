"""The container: a .vqc file <-> header, tiles of coder words, optional chunks.

FORMAT.md is the specification. Standard library only, no I/O: bytes in, tuples out. Nothing
read from a file is trusted, every error names the offset, and there is exactly one way to write
a given content, so that `pack(*unpack(data)) == data` for every file that `unpack` accepts.
"""

from binascii import crc_hqx
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from ..errors import CorruptError, ImageTooLargeError, NotVqcError, UnsupportedVersionError
from ..geometry import MAX_DIMENSION, MAX_PIXELS, Rectangle, check_size, latents_across
from .byte_reader import Cursor, varint

MAGIC = b"\x89VQC"  # the first byte is not ASCII: a transfer as 7-bit text breaks it visibly
VERSION = 1
FLAGS_AT = 4  # the byte of the version, high nibble, and the flags, low nibble
TILED, CHUNKED, GREY = 1, 2, 4  # flags; the fourth is reserved and zero
MODEL_ID_BYTES = 8
MAX_LEVEL = 63
MIN_TILE_LOG2, MAX_TILE_LOG2 = 2, 8  # tile side 2**tile_log2 latents: 64 to 4096 pixels
DEFAULT_TILE_LOG2 = 6  # 1024 pixels
ONE_TILE_PIXELS = 2**21  # most pixels of a picture that is coded in one tile
ONE_TILE_SIDE = 2**14 - 1  # longest side of one: as a varint it takes two bytes
TILE_PIXELS = 2**14  # what one of several tiles counts as: one of 64x64 takes the time of these
HEADER_BYTES_MAX = 23  # enough bytes of a file for `read_header`
MAX_WORDS_PER_LATENT = 2048  # 256 bits a pixel; 320 channels of 48 bits would be 480 words
MAX_CHUNK_BYTES = 2**26
END = b"VEND"
ALPHA = b"ALPH"
CRITICAL_KINDS = frozenset(
    {ALPHA, END}
)  # capital first letter: a reader that does not know it refuses
WORD_BYTES, CRC16_BYTES, CRC32_BYTES = 4, 2, 4


@dataclass(frozen=True)
class Header:
    """What the decoder must know before the first word.

    model_id: 8 bytes. level: 0..63. width, height: pixels, 1..MAX_DIMENSION.
    tile_log2: None for one tile, else 2..8: tiles of 2**tile_log2 latents a side.
    grey: the picture has one channel; its indices are those of the grey as R, G and B.

    Raises ValueError for anything else, and for a tile grid of one tile.
    """

    model_id: bytes
    level: int
    width: int
    height: int
    tile_log2: int | None = None
    grey: bool = False

    def __post_init__(self) -> None:
        if len(self.model_id) != MODEL_ID_BYTES:
            raise ValueError(f"model id has {len(self.model_id)} bytes, expected {MODEL_ID_BYTES}")
        if not 0 <= self.level <= MAX_LEVEL:
            raise ValueError(f"level is {self.level}, expected 0..{MAX_LEVEL}")
        for name, side in (("width", self.width), ("height", self.height)):
            if not 1 <= side <= MAX_DIMENSION:
                raise ValueError(f"{name} is {side}, expected 1..{MAX_DIMENSION}")
        if self.tile_log2 is None:
            return
        if not MIN_TILE_LOG2 <= self.tile_log2 <= MAX_TILE_LOG2:
            raise ValueError(
                f"tile_log2 is {self.tile_log2}, expected {MIN_TILE_LOG2}..{MAX_TILE_LOG2}"
            )
        if tile_count(self) == 1:
            raise ValueError("a tile grid of one tile, expected a file without tiles")


class Segments(NamedTuple):
    """The coder words of one tile, little-endian uint32: a multiple of 4 bytes each."""

    coarse: bytes
    fine: bytes


class Chunk(NamedTuple):
    """Four ASCII letters that say what `data` is; the first is a capital if it is critical."""

    kind: bytes
    data: bytes


class Unpacked(NamedTuple):
    """A whole .vqc file; `tiles` in raster order, `chunks` without the end chunk."""

    header: Header
    tiles: tuple[Segments, ...]
    chunks: tuple[Chunk, ...]


def tile_count(header: Header) -> int:
    """Return the number of tiles."""
    if header.tile_log2 is None:
        return 1
    side = 2**header.tile_log2
    return -(-latents_across(header.width) // side) * -(-latents_across(header.height) // side)


def tile_grid(header: Header) -> Iterator[Rectangle]:
    """Yield the rectangle of each tile in latents, in raster order."""
    width, height = latents_across(header.width), latents_across(header.height)
    side = max(width, height) if header.tile_log2 is None else 2**header.tile_log2
    for y in range(0, height, side):
        for x in range(0, width, side):
            yield Rectangle(x, y, min(side, width - x), min(side, height - y))


def check_tiles(header: Header, max_pixels: int) -> None:
    """Raise ImageTooLargeError if tiles, at TILE_PIXELS each, are more than `max_pixels`."""
    count = tile_count(header)
    if count > 1 and count * TILE_PIXELS > max_pixels:
        raise ImageTooLargeError(
            f"picture is in {count} tiles, which count as {TILE_PIXELS} pixels each"
            f" = {count * TILE_PIXELS} pixels, the limit is {max_pixels}"
        )


def choose_tile_log2(width: int, height: int) -> int | None:
    """Return the tile_log2 to write a picture with: None up to ONE_TILE_PIXELS."""
    if width * height <= ONE_TILE_PIXELS and max(width, height) <= ONE_TILE_SIDE:
        return None
    return DEFAULT_TILE_LOG2


def pack(header: Header, tiles: Sequence[Segments], chunks: Sequence[Chunk] = ()) -> bytes:
    """Return the .vqc file of these parts.

    tiles: as many as `tile_grid` yields. chunks: without the end chunk.
    Raises ValueError for parts that no reader would accept.
    """
    rectangles = list(tile_grid(header))
    if len(tiles) != len(rectangles):
        raise ValueError(f"{len(tiles)} tiles, the header has {len(rectangles)}")
    head = _pack_header(header, chunked=bool(chunks))
    parts = [head]
    for number, (rectangle, segments) in enumerate(zip(rectangles, tiles, strict=True)):
        parts.append(_pack_tile(tile_context(head, number), rectangle, segments))
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
    head = cursor.since(0)
    tiles = tuple(
        _read_tile(cursor, tile_context(head, number), rectangle)
        for number, rectangle in enumerate(tile_grid(header))
    )
    chunks = tuple(_read_chunks(cursor)) if chunked else ()
    if cursor.left:
        raise CorruptError(f"{cursor.left} bytes follow the end, expected none", cursor.offset)
    return Unpacked(header, tiles, chunks)


def overhead(data: bytes, max_pixels: int = MAX_PIXELS) -> int:
    """Return how many bytes of a file are not coder words. Raises as `unpack` does."""
    tiles = unpack(data, max_pixels).tiles
    return len(data) - sum(len(tile.coarse) + len(tile.fine) for tile in tiles)


def _crc16(data: bytes) -> int:
    return crc_hqx(data, 0xFFFF)


def tile_context(head: bytes, number: int) -> bytes:
    """What both checksums of a tile start with: words in another file or tile do not pass."""
    return head + number.to_bytes(4, "little")


def _pack_header(header: Header, chunked: bool) -> bytes:
    tiled = header.tile_log2 is not None
    flags = TILED * tiled | CHUNKED * chunked | GREY * header.grey
    head = MAGIC + bytes([VERSION << 4 | flags, header.level])
    head += header.model_id + varint(header.width) + varint(header.height)
    if tiled:
        head += bytes([header.tile_log2])
    return head + _crc16(head).to_bytes(CRC16_BYTES, "little")


def read_start(cursor: Cursor, max_pixels: int) -> tuple[Header, bool]:
    """Return the header and whether chunks follow the tiles. Raises as `read_header`."""
    magic = cursor.data[: len(MAGIC)]
    if not MAGIC.startswith(magic):
        found = magic.hex(" ")
        raise NotVqcError(f"not a .vqc file: starts with {found}, not {MAGIC.hex(' ')}", 0)
    cursor.take(len(MAGIC), "magic")
    version, flags = divmod(cursor.number(1, "version"), 16)
    if version != VERSION:
        # Before the checksum: another version may lay out its header in another way.
        raise UnsupportedVersionError(f"format version {version}, expected {VERSION}", FLAGS_AT)
    level = cursor.number(1, "level")
    model_id = cursor.take(MODEL_ID_BYTES, "model id")
    width, height = cursor.varint("width"), cursor.varint("height")
    tile_log2 = cursor.number(1, "tile_log2") if flags & TILED else None
    found = _crc16(cursor.since(0))
    cursor.check(found, cursor.number(CRC16_BYTES, "header checksum"), "header", 0)
    if flags & ~(TILED | CHUNKED | GREY):
        raise UnsupportedVersionError(f"flags {flags:#06b}, expected only bits 0 to 2", FLAGS_AT)
    check_size(width, height, max_pixels)
    try:
        header = Header(model_id, level, width, height, tile_log2, bool(flags & GREY))
    except ValueError as exc:
        raise CorruptError(f"bad header: {exc}", FLAGS_AT) from exc
    check_tiles(header, max_pixels)
    return header, bool(flags & CHUNKED)


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
    check = _crc16(context + sizes + segments.coarse).to_bytes(CRC16_BYTES, "little")
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
    cursor.check(_crc16(context + sizes + coarse), expected, "coarse segment", start)
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
