"""Recovery of a damaged or truncated .vqc file: its header, and the tiles whose checksums hold.

The header must be sound. A tile's checksums cover its number, so that a sound tile is recognised
wherever it is: behind damage it is searched for, and damage to one tile loses only that one. The
same holds for its exact part.
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
    END,
    WORD_BYTES,
    Chunk,
    Segments,
    read_chunk,
    read_coarse,
    read_fine,
    read_sizes,
    tile_context,
)
from .exact_part import CRC32_BYTES, Exact, part_context, read_body, read_exact
from .header import CRC16_BYTES, Header, read_start, tile_grid, tile_pixels

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
    """What can be used of a file. tiles: lost segments are empty, `states` says which; a file
    without learned streams has none, but states of its exact parts.
    chunks: the sound ones. ended: every byte from the last tile to the end is sound.
    exact: as `Unpacked` has them, None for lost ones; exact_lost: the numbers of those."""

    header: Header
    tiles: tuple[Segments, ...]
    states: tuple[TileState, ...]
    chunks: tuple[Chunk, ...]
    ended: bool
    exact: tuple[Exact | None, ...] = ()
    exact_lost: tuple[int, ...] = ()


def salvage(data: bytes, max_pixels: int = MAX_PIXELS) -> Salvaged:
    """Read what is sound of a damaged or truncated file.

    Raises FormatError if the header is damaged, UnsupportedVersionError if a critical chunk is
    unknown, or ImageTooLargeError.
    """
    cursor = Cursor(data)
    header, chunked = read_start(cursor, max_pixels)
    head, search = cursor.since(0), _Search(cursor)
    tiles, exact = [], []
    for number, rectangle in enumerate(tile_grid(header)):
        if header.learned:
            tiles.append(search.next(_Words(cursor, tile_context(head, number), rectangle)))
        if header.exact:
            context, pixels = part_context(head, number), tile_pixels(header, rectangle)
            exact.append(search.next(_Pixels(cursor, context, pixels, header)))
    chunks, ended = _read_chunks(cursor, search) if chunked else ((), not cursor.left)
    words, states = zip(*tiles, strict=True) if tiles else ((), tuple(s for _, s in exact))
    lost = tuple(n for n, (_, state) in enumerate(exact) if state is TileState.LOST)
    return Salvaged(header, words, states, chunks, ended, tuple(part for part, _ in exact), lost)


class _Words(NamedTuple):
    """The words of a tile, in latents."""

    cursor: Cursor
    context: bytes
    tile: Rectangle

    def read(self) -> tuple[Segments, TileState]:
        """What is sound of it at the cursor; only a whole one moves it to its end."""
        cursor, start = self.cursor, self.cursor.offset
        found = Segments(b"", b""), TileState.LOST
        try:
            coarse, fine_count = read_coarse(cursor, self.context, self.tile)
            found = Segments(coarse, b""), TileState.COARSE
            fine = read_fine(cursor, self.context, start, fine_count)
            found = Segments(coarse, fine), TileState.WHOLE
        except FormatError:
            cursor.offset = start
        return found

    def skip(self) -> None:
        """Move to where it ends by the sizes that it states. Raises FormatError."""
        words = sum(read_sizes(self.cursor, self.tile))
        self.cursor.take(CRC16_BYTES + words * WORD_BYTES + CRC32_BYTES, "words")

    def is_here(self) -> bool:
        """Whether it begins at the cursor. CRC-32 alone: CRC-16 is 20 times slower and no more
        certain."""
        cursor, start = self.cursor, self.cursor.offset
        try:
            self.skip()
        except FormatError:
            return False
        found = crc32(cursor.data[start : cursor.offset - CRC32_BYTES], crc32(self.context))
        return found.to_bytes(CRC32_BYTES, "little") == cursor.since(cursor.offset - CRC32_BYTES)


class _Pixels(NamedTuple):
    """The exact part of a tile, in pixels."""

    cursor: Cursor
    context: bytes
    tile: Rectangle
    header: Header

    def read(self) -> tuple[Exact | None, TileState]:
        """As `_Words.read`."""
        start = self.cursor.offset
        try:
            return read_exact(self.cursor, self.context, self.tile, self.header), TileState.WHOLE
        except FormatError:
            self.cursor.offset = start
            return None, TileState.LOST

    def skip(self) -> None:
        """As `_Words.skip`."""
        read_body(self.cursor, self.tile, self.header)
        self.cursor.take(CRC32_BYTES, "exact checksum")

    def is_here(self) -> bool:
        """As `_Words.is_here`."""
        return self.read()[1] is TileState.WHOLE


class _Search:
    """Reads part after part, and looks for sound ones behind damage, up to a total cost."""

    def __init__(self, cursor: Cursor):
        self.cursor, self.left = cursor, SEARCH_BYTES
        self.sound = cursor.offset  # the end of the last sound part
        self.is_sure = True  # is this the next one?

    def next(self, part: _Words | _Pixels) -> tuple[Segments | Exact | None, TileState]:
        """What is sound of the part at the cursor, or behind it, and move to its end."""
        start = self.cursor.offset
        found, state = part.read()
        if state is TileState.LOST and not self.is_sure and self._find(part):
            start = self.cursor.offset
            found, state = part.read()
        self.is_sure = state is TileState.WHOLE
        if self.is_sure:
            self.sound = self.cursor.offset
        else:
            self._skip(part, start)
        return found, state

    def _skip(self, part: _Words | _Pixels, start: int) -> None:
        """Move to where the part at `start` ends by its sizes, or to the end of the file."""
        self.cursor.offset = start
        try:
            part.skip()
        except FormatError:
            self.cursor.offset = len(self.cursor.data)

    def _find(self, part: _Words | _Pixels) -> bool:
        """Put the cursor at the part, whole, behind the last sound one; leave it if there is
        none."""
        cursor = self.cursor
        before = cursor.offset
        for offset in range(self.sound, len(cursor.data)):
            if self.left < 0:
                break
            cursor.offset = offset
            is_here = part.is_here()
            self.left -= STEP_BYTES + cursor.offset - offset
            cursor.offset = offset
            if is_here:
                return True
        cursor.offset = before
        return False

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


def _read_chunks(cursor: Cursor, search: _Search) -> tuple[tuple[Chunk, ...], bool]:
    """Return the sound chunks, and whether all bytes up to the end of the file are; the cursor is
    where chunks begin if sizes are right."""
    found, ended, start = [], True, cursor.offset
    while True:
        try:
            chunk = read_chunk(cursor)
        except UnsupportedVersionError:
            raise
        except FormatError:
            ended = False
            chunk = search.chunk(start if found else search.sound)
        if chunk is None or chunk.kind == END:
            return tuple(found), ended and not cursor.left
        found.append(chunk)
        start = cursor.offset
