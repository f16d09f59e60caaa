"""What is sound of a damaged file is found, wherever the damage is."""

import tracemalloc
from dataclasses import replace

import pytest

from test_container import CASES, CHUNKED, ONE_TILE, PARTS, TILED, WORDS, header_bytes, with_chunks
from vqcodec.bitstream import salvage as module
from vqcodec.bitstream.container import Exact, Header, Segments, pack, tile_count
from vqcodec.bitstream.exact_part import stream_start
from vqcodec.bitstream.header import NO_MODEL, pack_header
from vqcodec.bitstream.salvage import Salvaged, TileState, salvage
from vqcodec.errors import FormatError, ImageTooLargeError, TruncatedError, UnsupportedVersionError

WHOLE, COARSE, LOST = TileState
EMPTY = Segments(b"", b"")


def many_tiles() -> tuple[Header, list[Segments]]:
    """16 tiles, each with words of its own, most of two-byte sizes."""
    header = Header(CASES["tiled"].header.model_id, 3, 512, 512, tile_log2=3)
    assert tile_count(header) == 16
    words = [bytes([number + 1]) * 4 for number in range(16)]
    return header, [Segments(4 * w, (number * 20) * w) for number, w in enumerate(words)]


def start_of(number: int) -> int:
    """The first byte of a tile of `many_tiles`, which are 8 bytes each without their words."""
    header, tiles = many_tiles()
    return len(pack(header, tiles[:number] + [EMPTY] * (16 - number))) - 8 * (16 - number)


@PARTS
def test_an_intact_file_is_salvaged_whole(parts):
    states = (WHOLE,) * tile_count(parts.header)
    expected = Salvaged(*parts[:2], states, parts.chunks, True, parts.exact)

    assert salvage(pack(*parts)) == expected


@pytest.mark.parametrize("parts", [ONE_TILE, TILED, CHUNKED])
def test_a_truncated_file_gives_the_segments_before_the_cut(parts):
    data = pack(*parts)
    head = len(pack(parts.header, [EMPTY] * len(parts.tiles))) - 8 * len(parts.tiles)
    for size in range(len(data)):
        if size < head:
            with pytest.raises(TruncatedError):
                salvage(data[:size])
            continue
        found = salvage(data[:size])
        for part, state, tile in zip(*found[1:3], parts.tiles, strict=True):
            coarse = tile.coarse if state is not LOST else b""
            assert part == Segments(coarse, tile.fine if state is WHOLE else b"")
        assert found.chunks == parts.chunks[: len(found.chunks)]
        assert set(found.states) != {WHOLE} or not found.ended


def test_a_cut_in_the_fine_words_keeps_the_coarse_ones():
    assert salvage(pack(*TILED)[:-6]).states == (WHOLE, WHOLE, COARSE)


def test_damage_to_the_fine_words_keeps_the_coarse_ones():
    data = bytearray(pack(*ONE_TILE))
    data[-5] ^= 1

    assert salvage(bytes(data))[1:3] == ((Segments(WORDS[:8], b""),), (COARSE,))


def test_every_single_bit_flip_behind_the_header_loses_only_its_part():
    """Sizes included: the tiles behind them are searched for. Of the words, one bit in 29."""
    header, tiles = many_tiles()
    data = pack(header, tiles)
    starts = [start_of(number) for number in range(17)]
    fields = {8 * start + bit for start in starts for bit in range(-64, 128)}  # sizes, checksums
    # Sizes that are wrong with right checksums come at random, one in 2**32: none here.
    for bit in range(8 * starts[0], 8 * len(data)):
        if bit % 29 and bit not in fields:
            continue
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        found = salvage(bytes(damaged))
        hurt = [number for number, state in enumerate(found.states) if state is not WHOLE]
        assert len(hurt) == 1
        assert all(found.tiles[n] == tiles[n] for n in range(16) if n not in hurt)
        assert found.ended or hurt == [15]


@pytest.mark.parametrize("learned", [True, False])
def test_damage_to_words_leaves_exact_pixels_and_the_other_way_round(learned):
    header, tiles = many_tiles()
    start = stream_start(128, 128)
    if learned:
        header = replace(header, exact=True)
        exact = [Exact(start + bytes(n), 4, (n, 64 - n)) if n % 3 else None for n in range(16)]
    else:
        header, tiles = replace(header, model_id=NO_MODEL, level=0, exact=True, learned=False), []
        exact = [Exact(start + bytes(n)) for n in range(16)]
    data = pack(header, tiles, (), exact)
    for bit in range(8 * len(pack_header(header, False)), 8 * len(data), 5):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        found = salvage(bytes(damaged))
        hurt = [number for number, state in enumerate(found.states) if state is not WHOLE]
        lost = list(found.exact_lost)
        assert len({*hurt, *lost}) == 1
        assert (hurt == lost) != learned
        assert all(part == exact[n] for n, part in enumerate(found.exact) if n not in lost)
        assert all(part == tiles[n] for n, part in enumerate(found.tiles) if n not in hurt)


@pytest.mark.parametrize("change", [lambda part: part[:5] + part[6:], lambda part: b"x" + part])
def test_bytes_that_are_missing_or_too_many_lose_only_their_tile(change):
    header, tiles = many_tiles()
    data, start, end = pack(header, tiles), start_of(4), start_of(5)
    found = salvage(data[:start] + change(data[start:end]) + data[end:])

    assert found.states[:4] + found.states[5:] == (WHOLE,) * 15


def test_two_damaged_tiles_in_a_row_do_not_take_the_third():
    header, tiles = many_tiles()
    data = bytearray(pack(header, tiles))
    at = start_of(6)
    data[at] ^= 0x80  # sizes of tile 6
    data[at + 300] ^= 1
    states = salvage(bytes(data)).states

    assert states.count(WHOLE) == 14 or states.count(WHOLE) == 15
    assert states[8:] == (WHOLE,) * 8


def test_chunks_are_found_behind_damage_to_sizes_and_to_other_chunks():
    data = pack(*CHUNKED)
    tiles = 20 - 2  # the header has 18 bytes
    assert data[tiles] == 0
    hurt_sizes = data[:tiles] + b"\x05" + data[tiles + 1 :]
    note = data.index(b"hello")
    hurt_chunk = data[:note] + b"jello" + data[note + 5 :]

    assert salvage(hurt_sizes)[2:5] == ((LOST,), CHUNKED.chunks, False)
    assert salvage(hurt_chunk)[2:5] == ((WHOLE,), CHUNKED.chunks[1:], False)


def test_an_unknown_critical_chunk_is_refused_here_too():
    with pytest.raises(UnsupportedVersionError):
        salvage(with_chunks((b"ABCD\0", b""), (b"VEND\0", b"")))


def test_bytes_behind_the_end_are_told():
    assert not salvage(pack(*ONE_TILE) + b"x").ended


def test_the_search_ends(monkeypatch):
    monkeypatch.setattr(module, "SEARCH_BYTES", 10 * module.STEP_BYTES)
    header, tiles = many_tiles()
    data = bytearray(pack(header, tiles))
    data[start_of(9)] ^= 0x80

    assert set(salvage(bytes(data)).states[10:]) == {LOST}


def test_limits_are_checked_before_anything_is_allocated():
    huge = header_bytes(flags=1, width=b"\x80\x80\x10", height=b"\x80\x80\x10", rest=b"\x02")
    tracemalloc.start()
    try:
        with pytest.raises(ImageTooLargeError):
            salvage(huge)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_damaged_header_leaves_nothing():
    data = bytearray(pack(*ONE_TILE))
    data[7] ^= 1
    with pytest.raises(FormatError, match="header"):
        salvage(bytes(data))
