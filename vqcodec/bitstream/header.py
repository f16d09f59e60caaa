"""The header: size, model, level and tile grid of a .vqc file, and what its version 2 adds.

A file is of version 1 unless it needs something of version 2: exact parts, a source of another
depth than 8 bits, or its colour space by numbers. So older readers read all they can.
"""

from binascii import crc_hqx
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import CorruptError, ImageTooLargeError, NotVqcError, UnsupportedVersionError
from ..geometry import MAX_DIMENSION, Rectangle, check_size, latents_across, meet, pixels_of
from .byte_reader import Cursor, varint

MAGIC = b"\x89VQC"  # the first byte is not ASCII: a transfer as 7-bit text breaks it visibly
VERSIONS = 1, 2
FLAGS_AT = 4  # the byte of the version, high nibble, and the flags, low nibble
TILED, CHUNKED, GREY = 1, 2, 4  # flags; the fourth is reserved and zero
EXACT, UNLEARNED, DEPTH, CICP = 1, 2, 4, 8  # features of version 2; the others are reserved
MODEL_ID_BYTES = 8
NO_MODEL = bytes(MODEL_ID_BYTES)  # model id of a file without learned streams
CICP_BYTES = 4
MAX_LEVEL = 63
BYTE_DEPTH, MAX_DEPTH = 8, 16  # bits a sample
MIN_TILE_LOG2, MAX_TILE_LOG2 = 2, 8  # tile side 2**tile_log2 latents: 64 to 4096 pixels
DEFAULT_TILE_LOG2 = 6  # 1024 pixels
ONE_TILE_PIXELS = 2**21  # most pixels of a picture that is coded in one tile
ONE_TILE_SIDE = 2**14 - 1  # longest side of one: as a varint it takes two bytes
TILE_PIXELS = 2**14  # what one of several tiles counts as: one of 64x64 takes the time of these
HEADER_BYTES_MAX = 29  # enough bytes of a file for `read_header`
CRC16_BYTES = 2

Cicp = tuple[int, int, int, int]


@dataclass(frozen=True)
class Header:
    """What the decoder must know before the first word.

    model_id: 8 bytes. level: 0..63. width, height: pixels, 1..MAX_DIMENSION.
    tile_log2: None for one tile, else 2..8: tiles of 2**tile_log2 latents a side.
    grey: the picture has one channel; its indices are those of the grey as R, G and B.
    exact: tiles have exact parts. learned: tiles have coder words; without them all pixels are
    exact, model id and level are zero.
    depth: bits a sample of the source, 8..16. cicp: its colour space in numbers of ITU-T H.273,
    colour primaries, transfer characteristics and matrix coefficients, 0..255 each, and 1 if
    samples take the full range; None: not known, or said by an ICC profile.

    Raises ValueError for anything else, and for a tile grid of one tile.
    """

    model_id: bytes
    level: int
    width: int
    height: int
    tile_log2: int | None = None
    grey: bool = False
    exact: bool = False
    learned: bool = True
    depth: int = BYTE_DEPTH
    cicp: Cicp | None = None

    def __post_init__(self) -> None:
        if len(self.model_id) != MODEL_ID_BYTES:
            raise ValueError(f"model id has {len(self.model_id)} bytes, expected {MODEL_ID_BYTES}")
        if not 0 <= self.level <= MAX_LEVEL:
            raise ValueError(f"level is {self.level}, expected 0..{MAX_LEVEL}")
        for name, side in (("width", self.width), ("height", self.height)):
            if not 1 <= side <= MAX_DIMENSION:
                raise ValueError(f"{name} is {side}, expected 1..{MAX_DIMENSION}")
        self._check_features()
        if self.tile_log2 is None:
            return
        if not MIN_TILE_LOG2 <= self.tile_log2 <= MAX_TILE_LOG2:
            raise ValueError(
                f"tile_log2 is {self.tile_log2}, expected {MIN_TILE_LOG2}..{MAX_TILE_LOG2}"
            )
        if tile_count(self) == 1:
            raise ValueError("a tile grid of one tile, expected a file without tiles")

    def _check_features(self) -> None:
        if not self.learned:
            if not self.exact:
                raise ValueError("neither learned streams nor exact parts, expected one of them")
            if self.model_id != NO_MODEL or self.level:
                raise ValueError("model id and level without learned streams, expected zeros")
        if not BYTE_DEPTH <= self.depth <= MAX_DEPTH:
            raise ValueError(f"depth is {self.depth}, expected {BYTE_DEPTH}..{MAX_DEPTH}")
        if self.cicp is None:
            return
        *numbers, full_range = self.cicp
        if len(numbers) != 3 or not all(0 <= n <= 255 for n in numbers) or full_range not in (0, 1):
            raise ValueError(f"cicp is {self.cicp}, expected three of 0..255 and then 0 or 1")

    @property
    def features(self) -> int:
        """The byte of version 2 that says what of it there is; 0 for a file of version 1."""
        deep, coloured = self.depth != BYTE_DEPTH, self.cicp is not None
        parts = EXACT * self.exact | UNLEARNED * (not self.learned)
        return parts | DEPTH * deep | CICP * coloured

    @property
    def version(self) -> int:
        """Of the format: the lowest that has all of it."""
        return 2 if self.features else 1


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


def tile_pixels(header: Header, tile: Rectangle) -> Rectangle:
    """A tile in latents -> its pixels; those of the last ones end where the picture does."""
    return meet(pixels_of(tile), Rectangle(0, 0, header.width, header.height))


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


def crc16(data: bytes) -> int:
    return crc_hqx(data, 0xFFFF)


def pack_header(header: Header, chunked: bool) -> bytes:
    tiled = header.tile_log2 is not None
    flags = TILED * tiled | CHUNKED * chunked | GREY * header.grey
    head = MAGIC + bytes([header.version << 4 | flags, header.level])
    head += header.model_id + varint(header.width) + varint(header.height)
    if tiled:
        head += bytes([header.tile_log2])
    if header.features:
        head += bytes([header.features])
    if header.features & DEPTH:
        head += bytes([header.depth])
    if header.cicp is not None:
        head += bytes(header.cicp)
    return head + crc16(head).to_bytes(CRC16_BYTES, "little")


def read_start(cursor: Cursor, max_pixels: int) -> tuple[Header, bool]:
    """Return the header and whether chunks follow the tiles. Raises as `container.read_header`."""
    flags = _read_version(cursor)
    fields = {"level": cursor.number(1, "level")}
    fields["model_id"] = cursor.take(MODEL_ID_BYTES, "model id")
    width, height = cursor.varint("width"), cursor.varint("height")
    if flags & TILED:
        fields["tile_log2"] = cursor.number(1, "tile_log2")
    if cursor.data[FLAGS_AT] >> 4 == 2:
        fields |= _read_features(cursor)
    found = crc16(cursor.since(0))
    cursor.check(found, cursor.number(CRC16_BYTES, "header checksum"), "header", 0)
    if flags & ~(TILED | CHUNKED | GREY):
        raise UnsupportedVersionError(f"flags {flags:#06b}, expected only bits 0 to 2", FLAGS_AT)
    check_size(width, height, max_pixels)
    try:
        header = Header(width=width, height=height, grey=bool(flags & GREY), **fields)
        if pack_header(header, bool(flags & CHUNKED)) != cursor.since(0):
            raise ValueError("features that say nothing, expected none")
    except ValueError as exc:
        raise CorruptError(f"bad header: {exc}", FLAGS_AT) from exc
    check_tiles(header, max_pixels)
    return header, bool(flags & CHUNKED)


def _read_version(cursor: Cursor) -> int:
    """Read the magic and the version, and return the flags."""
    magic = cursor.data[: len(MAGIC)]
    if not MAGIC.startswith(magic):
        found = magic.hex(" ")
        raise NotVqcError(f"not a .vqc file: starts with {found}, not {MAGIC.hex(' ')}", 0)
    cursor.take(len(MAGIC), "magic")
    version, flags = divmod(cursor.number(1, "version"), 16)
    if version not in VERSIONS:
        # Before the checksum: another version may lay out its header in another way.
        raise UnsupportedVersionError(f"format version {version}, expected 1 or 2", FLAGS_AT)
    return flags


def _read_features(cursor: Cursor) -> dict:
    """The fields of Header that version 2 adds."""
    start = cursor.offset
    features = cursor.number(1, "features")
    if features & ~(EXACT | UNLEARNED | DEPTH | CICP):
        # Before the checksum, too: others may add to the header.
        raise UnsupportedVersionError(
            f"features {features:#010b}, expected only bits 0 to 3", start
        )
    fields = {"exact": bool(features & EXACT), "learned": not features & UNLEARNED}
    if features & DEPTH:
        fields["depth"] = cursor.number(1, "depth")
    if features & CICP:
        fields["cicp"] = tuple(cursor.take(CICP_BYTES, "cicp"))
    return fields
