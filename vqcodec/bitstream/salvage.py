"""Recovery of a damaged or truncated .vqc file: its header, and the tiles whose checksums hold.

The header must be sound. A tile's checksums cover its number, so that a sound tile is recognised
wherever it is: behind damage it is searched for, and damage to one tile loses only that one.
Standard library only, as container.py.
"""

import enum
import re
from typing import NamedTuple
from zlib import crc32

from ..errors import FormatError, UnsupportedVersionError
from ..geometry import MAX_PIXELS, Rectangle
from .byte_reader import Cursor
from .container import (
    CRC16_BYTES,
    CRC32_BYTES,
    END,
    WORD_BYTES,
    Chunk,
    Header,
    Segments,
    read_chunk,
    read_coarse,
    read_fine,
    read_sizes,
    read_start,
    tile_context,
    tile_grid,
)

# What the search may cost in a file: bytes under CRC-32, about a second of them.
SEARCH_BYTES = 2**30
STEP_BYTES = 2**12  # bytes that one more offset to look at costs as much as
_KIND = re.compile(rb"[A-Za-z]{4}")


class TileState(enum.Enum):
    """What is left of a tile."""

    WHOLE = "whole"
    COARSE = "coarse"  # `fine` is lost
    LOST = "lost"


class Salvaged(NamedTuple):
    """What can be used of a file. tiles: lost segments are empty, `states` says which.
    chunks: the sound ones. ended: every byte from the last tile to the end is sound."""

    header: Header
    tiles: tuple[Segments, ...]
    states: tuple[TileState, ...]
    chunks: tuple[Chunk, ...]
    ended: bool


def salvage(data: bytes, max_pixels: int = MAX_PIXELS) -> Salvaged:
    """Read what is sound of a damaged or truncated file.

    Raises FormatError if the header is damaged, UnsupportedVersionError if a critical chunk is
    unknown, or ImageTooLargeError.
    """
    cursor = Cursor(data)
    header, chunked = read_start(cursor, max_pixels)
    head, search = cursor.since(0), _Search(cursor)
    sound, is_sure = cursor.offset, True  # the end of the last sound tile; is this the next one?
    tiles, states = [], []
    for number, rectangle in enumerate(tile_grid(header)):
        context = tile_context(head, number)
        start = cursor.offset
        tile, state = _read_tile(cursor, context, rectangle)
        if state is TileState.LOST and not is_sure and search.tile(context, rectangle, sound):
            start = cursor.offset
            tile, state = _read_tile(cursor, context, rectangle)
        is_sure = state is TileState.WHOLE
        if is_sure:
            sound = cursor.offset
        else:
            cursor.offset = _end_by_sizes(cursor, start, rectangle)
        tiles.append(tile)
        states.append(state)
    chunks, ended = _read_chunks(cursor, search, sound) if chunked else ((), not cursor.left)
    return Salvaged(header, tuple(tiles), tuple(states), chunks, ended)


class _Search:
    """Looks for sound parts behind damage, up to a total cost."""

    def __init__(self, cursor: Cursor):
        self.cursor, self.left = cursor, SEARCH_BYTES

    def tile(self, context: bytes, rectangle: Rectangle, start: int) -> bool:
        """Put the cursor at the whole tile of this context that begins at `start` or later;
        leave it if there is none."""
        cursor = self.cursor
        before = cursor.offset
        for offset in range(start, len(cursor.data)):
            if self.left < 0:
                break
            cursor.offset = offset
            if self._is_tile(context, rectangle):
                cursor.offset = offset
                return True
        cursor.offset = before
        return False

    def _is_tile(self, context: bytes, rectangle: Rectangle) -> bool:
        """Tell whether a whole tile begins at the cursor. CRC-32 alone: CRC-16 is 20 times slower
        and no more certain."""
        cursor, start = self.cursor, self.cursor.offset
        self.left -= STEP_BYTES
        try:
            words = sum(read_sizes(cursor, rectangle))
        except FormatError:
            return False
        size = CRC16_BYTES + words * WORD_BYTES
        if size + CRC32_BYTES > cursor.left:
            return False
        self.left -= size
        cursor.take(size, "words")
        found = crc32(cursor.since(start), crc32(context))
        return found == cursor.number(CRC32_BYTES, "tile checksum")

    def chunk(self, start: int) -> Chunk | None:
        """Return the first sound chunk that begins at `start` or later, and move behind it."""
        cursor = self.cursor
        while self.left >= 0 and (match := _KIND.search(cursor.data, start)):
            start = match.start() + 1
            cursor.offset = match.start()
            try:
                return read_chunk(cursor)
            except UnsupportedVersionError:
                raise
            except FormatError:
                self.left -= STEP_BYTES + cursor.offset - match.start()
        return None


def _read_tile(cursor: Cursor, context: bytes, rectangle: Rectangle) -> tuple[Segments, TileState]:
    """Return what is sound of the tile at the cursor; only a whole one moves it to its end."""
    start = cursor.offset
    found = Segments(b"", b""), TileState.LOST
    try:
        coarse, fine_count = read_coarse(cursor, context, rectangle)
        found = Segments(coarse, b""), TileState.COARSE
        fine = read_fine(cursor, context, start, fine_count)
        found = Segments(coarse, fine), TileState.WHOLE
    except FormatError:
        cursor.offset = start
    return found


def _end_by_sizes(cursor: Cursor, start: int, rectangle: Rectangle) -> int:
    """Return where the tile at `start` ends by the sizes that it states, or the end of the file."""
    cursor.offset = start
    try:
        words = sum(read_sizes(cursor, rectangle))
    except FormatError:
        return len(cursor.data)
    return min(len(cursor.data), cursor.offset + CRC16_BYTES + words * WORD_BYTES + CRC32_BYTES)


def _read_chunks(cursor: Cursor, search: _Search, sound: int) -> tuple[tuple[Chunk, ...], bool]:
    """Return the sound chunks, and whether all bytes up to the end of the file are.

    sound: the end of the last sound tile; the cursor is where chunks begin if sizes are right.
    """
    found, ended, start = [], True, cursor.offset
    while True:
        try:
            chunk = read_chunk(cursor)
        except UnsupportedVersionError:
            raise
        except FormatError:
            ended = False
            chunk = search.chunk(start if found else sound)
        if chunk is None or chunk.kind == END:
            return tuple(found), ended and not cursor.left
        found.append(chunk)
        start = cursor.offset
