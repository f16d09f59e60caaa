"""The container: golden bytes both ways, damage, limits, round trips."""

import contextlib
import tracemalloc
from binascii import crc_hqx
from dataclasses import replace
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.bitstream import container
from vqcodec.bitstream.container import (
    HEADER_BYTES_MAX,
    Chunk,
    Exact,
    Header,
    Segments,
    Unpacked,
    choose_tile_log2,
    overhead,
    pack,
    read_header,
    tile_count,
    tile_grid,
    unpack,
)
from vqcodec.bitstream.exact_part import stream_start
from vqcodec.bitstream.header import NO_MODEL
from vqcodec.errors import (
    CorruptError,
    FormatError,
    ImageTooLargeError,
    NotVqcError,
    TruncatedError,
    UnsupportedVersionError,
    VqcodecError,
)
from vqcodec.geometry import Rectangle

MODEL_ID = bytes(range(0x10, 0x18))
WORDS = bytes(range(1, 29))  # seven words

ONE_TILE = Unpacked(Header(MODEL_ID, 17, 768, 512), (Segments(WORDS[:8], WORDS[8:20]),), ())
# 300x90 pixels are 19x6 latents: with tiles of 8 latents a side, 3x1 tiles.
TILED = Unpacked(
    Header(MODEL_ID, 0, 300, 90, tile_log2=3),
    (Segments(WORDS[:4], b""), Segments(b"", b""), Segments(WORDS[4:8], WORDS[8:16])),
    (),
)
CHUNKED = Unpacked(
    Header(MODEL_ID, 63, 1, 1),
    (Segments(b"", WORDS[:4]),),
    (Chunk(b"note", b"hello"), Chunk(b"exIF", b"")),
)
CASES = {"one tile": ONE_TILE, "tiled": TILED, "chunked": CHUNKED}
# Version 2. 40x20 pixels are 3x2 blocks of 16; those of the second row and the last of the first
# are exact: 001 against nothing above, and 110 against 001.
PIXELS = bytes.fromhex("2f 27 c0 04 00") + b"pixels"
BESIDE = Unpacked(
    Header(MODEL_ID, 5, 40, 20, exact=True),
    (Segments(WORDS[:4], b""),),
    (Chunk(b"note", b"x"),),
    (Exact(PIXELS, 4, (2, 3, 1)),),
)
SOME = Unpacked(
    replace(TILED.header, exact=True, cicp=(9, 16, 0, 1)),
    TILED.tiles,
    (),
    (None, Exact(stream_start(128, 90), 8, (0, 1)), None),
)
BARE = Unpacked(Header(NO_MODEL, 0, 40, 20, exact=True, learned=False), (), (), (Exact(PIXELS),))
DEEP = Unpacked(replace(CHUNKED.header, depth=10, cicp=(1, 13, 0, 1)), *CHUNKED[1:])
CASES_2 = {"exact beside": BESIDE, "exact in some": SOME, "bare": BARE, "deep": DEEP}
CASES |= CASES_2
GOLDEN = {
    "one tile": (
        "89 56 51 43 10 11 10 11 12 13 14 15 16 17 80 06 80 04 41 ce 02 03 c9 ff "
        "01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 11 12 13 14 c8 70 9c b8 "
    ),
    "tiled": (
        "89 56 51 43 11 00 10 11 12 13 14 15 16 17 ac 02 5a 03 40 c8 01 00 8e d2 "
        "01 02 03 04 cb ec 59 af 00 00 af 9e a5 41 c2 80 01 02 fe 53 05 06 07 08 "
        "09 0a 0b 0c 0d 0e 0f 10 91 2a 10 80 "
    ),
    "chunked": (
        "89 56 51 43 12 3f 10 11 12 13 14 15 16 17 01 01 f5 bc 00 01 d8 49 01 02 "
        "03 04 e7 c6 9d 1c 6e 6f 74 65 05 68 65 6c 6c 6f c0 2e 15 fe 65 78 49 46 "
        "00 9f d9 13 e0 56 45 4e 44 00 b2 4f aa 33 "
    ),
    "exact beside": (
        "89 56 51 43 22 05 10 11 12 13 14 15 16 17 28 14 01 c9 18 01 00 6c 4b 01 "
        "02 03 04 79 c9 58 7c 01 04 02 03 01 0b 2f 27 c0 04 00 70 69 78 65 6c 73 "
        "89 46 d6 e2 6e 6f 74 65 01 78 5a d9 da 75 56 45 4e 44 00 b2 4f aa 33 "
    ),
    "exact in some": (
        "89 56 51 43 21 00 10 11 12 13 14 15 16 17 ac 02 5a 03 09 09 10 00 01 a7 "
        "07 01 00 72 af 01 02 03 04 04 1c e1 1c 00 7d 0d d1 39 00 00 46 06 9d 43 "
        "1e d5 01 08 00 01 05 2f 7f 40 16 00 36 f9 41 71 01 02 02 2e 05 06 07 08 "
        "09 0a 0b 0c 0d 0e 0f 10 0f a6 16 e6 00 1d 5e 11 43 "
    ),
    "bare": (
        "89 56 51 43 20 00 00 00 00 00 00 00 00 00 28 14 03 37 5e 01 0b 2f 27 c0 "
        "04 00 70 69 78 65 6c 73 ba c3 c4 49 "
    ),
    "deep": (
        "89 56 51 43 22 3f 10 11 12 13 14 15 16 17 01 01 0c 0a 01 0d 00 01 e7 82 "
        "00 01 9a 1f 01 02 03 04 e3 7c 78 df 6e 6f 74 65 05 68 65 6c 6c 6f c0 2e "
        "15 fe 65 78 49 46 00 9f d9 13 e0 56 45 4e 44 00 b2 4f aa 33 "
    ),
}
PARTS = pytest.mark.parametrize("parts", CASES.values(), ids=CASES.keys())


def with_header_crc(head: bytes) -> bytes:
    return head + crc_hqx(head, 0xFFFF).to_bytes(2, "little")


def header_bytes(flags=0, level=0, width=b"\x01", height=b"\x01", rest=b"", version=1) -> bytes:
    first = bytes([version << 4 | flags, level])
    return with_header_crc(container.MAGIC + first + MODEL_ID + width + height + rest)


def with_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    """A file of one empty tile, followed by chunks of (kind + length, data), written by hand."""
    head = header_bytes(flags=2)
    tile = b"\0\0" + crc_hqx(head + bytes(4) + b"\0\0", 0xFFFF).to_bytes(2, "little")
    out = head + tile + crc32(head + bytes(4) + tile).to_bytes(4, "little")
    for start, data in chunks:
        out += start + data + crc32(start + data).to_bytes(4, "little")
    return out


# Golden bytes


@pytest.mark.parametrize("name", CASES)
def test_files_are_exactly_these_bytes(name):
    data = bytes.fromhex(GOLDEN[name])

    assert data[4] >> 4 == 1 + (name in CASES_2)
    assert pack(*CASES[name]).hex(" ") == data.hex(" ")
    assert unpack(data) == CASES[name]


def test_checksums_are_the_ones_the_format_names():
    data = bytes.fromhex(GOLDEN["one tile"])
    head, tile = data[:20], data[20:]
    context = head + bytes(4)

    assert head[18:] == crc_hqx(head[:18], 0xFFFF).to_bytes(2, "little")
    coarse = context + tile[:2] + tile[4:12]
    assert tile[2:4] == crc_hqx(coarse, 0xFFFF).to_bytes(2, "little")
    assert tile[24:] == crc32(context + tile[:24]).to_bytes(4, "little")


# Damage


@PARTS
def test_every_single_bit_flip_raises_an_error_of_our_tree(parts):
    data = pack(*parts)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VqcodecError):
            unpack(bytes(damaged))


@PARTS
def test_every_truncation_raises_truncated_error_with_its_offset(parts):
    data = pack(*parts)
    for size in range(len(data)):
        with pytest.raises(TruncatedError) as caught:
            unpack(data[:size])
        assert caught.value.offset <= size
        assert f"at offset {caught.value.offset}" in str(caught.value)


@PARTS
def test_bytes_after_the_end_are_refused(parts):
    data = pack(*parts)
    with pytest.raises(CorruptError, match=f"2 bytes follow the end.*at offset {len(data)}"):
        unpack(data + b"\0\0")


@given(st.binary(max_size=80), st.booleans())
def test_arbitrary_bytes_never_raise_anything_but_our_errors(data, start_well):
    if start_well:
        data = header_bytes() + data
    with contextlib.suppress(VqcodecError):
        assert pack(*unpack(data)) == data


def test_other_files_are_told_apart_by_their_first_bytes():
    with pytest.raises(NotVqcError, match="starts with 89 50 4e 47, not 89 56 51 43"):
        unpack(b"\x89PNG\r\n\x1a\n")


def test_another_format_version_is_unsupported_whatever_follows():
    with pytest.raises(UnsupportedVersionError, match="format version 3, expected 1 or 2"):
        read_header(container.MAGIC + b"\x30")


@pytest.mark.parametrize("bit", [4, 5, 6, 7])
def test_another_feature_is_unsupported_whatever_follows(bit):
    start = container.MAGIC + b"\x20\0" + MODEL_ID + b"\1\1"
    with pytest.raises(UnsupportedVersionError, match="expected only bits 0 to 3"):
        read_header(start + bytes([1 | 1 << bit]))


def test_a_file_that_needs_nothing_of_version_2_is_of_version_1():
    plain = Header(MODEL_ID, 1, 40, 20)
    needing = [{"exact": True}, {"depth": 12}, {"cicp": (1, 1, 0, 0)}]

    assert plain.version == 1
    assert [replace(plain, **fields).version for fields in needing] == [2, 2, 2]
    for rest in (b"\0", b"\4\x08"):  # no feature; a depth of 8
        with pytest.raises(CorruptError, match="features that say nothing"):
            read_header(header_bytes(version=2, rest=rest))


def test_grey_is_one_bit_of_a_byte_that_is_there_anyway():
    colour, grey = (pack(replace(ONE_TILE.header, grey=grey), ONE_TILE.tiles) for grey in (0, 1))

    assert (colour[4], grey[4]) == (0x10, 0x14)
    assert len(grey) == len(colour)
    assert read_header(grey).grey


@pytest.mark.parametrize("flags", [8, 12])
def test_reserved_flags_are_unsupported(flags):
    with pytest.raises(UnsupportedVersionError, match="flags"):
        read_header(header_bytes(flags=flags))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (header_bytes(level=64), "level is 64"),
        (header_bytes(width=b"\0"), "width is 0"),
        (header_bytes(height=b"\0"), "height is 0"),
        (header_bytes(width=b"\x81\0"), "shortest form"),
        (header_bytes(width=b"\x80\x80\x80\x80\x10"), r"below 2\*\*32"),
        (header_bytes(width=b"\x80\x80\x80\x80\x80\x01"), r"below 2\*\*32"),
        (header_bytes(flags=1, width=b"\xc8\1", rest=b"\1"), "tile_log2 is 1"),
        (header_bytes(flags=1, width=b"\xc8\1", rest=b"\x09"), "tile_log2 is 9"),
        (header_bytes(flags=1, width=b"\xc8\1", rest=b"\x04"), "grid of one tile"),
        (header_bytes(flags=1, width=b"\xc8\1", rest=b"\x03")[:-1] + b"\0", "checksum"),
        (header_bytes(version=2, rest=b"\2"), "neither learned streams nor exact parts"),
        (header_bytes(version=2, rest=b"\3"), "expected zeros"),
        (header_bytes(version=2, rest=b"\4\7"), "depth is 7"),
        (header_bytes(version=2, rest=b"\4\x11"), "depth is 17"),
        (header_bytes(version=2, rest=b"\x08\1\1\0\2"), "expected three of 0..255"),
    ],
)
def test_a_header_with_a_value_out_of_range_is_corrupt(data, reason):
    with pytest.raises(CorruptError, match=reason):
        read_header(data)


def test_words_of_another_file_or_place_do_not_pass():
    tile = Segments(WORDS[:4], WORDS[4:8])
    data = pack(Header(MODEL_ID, 0, 300, 90, tile_log2=3), [tile] * 3)
    other = pack(Header(MODEL_ID, 1, 300, 90, tile_log2=3), [tile] * 3)
    size = 4 + len(tile.coarse) + len(tile.fine) + 4
    head = len(data) - 3 * size
    swapped = data[:head] + data[head + size : head + 2 * size] + data[head : head + size]
    for damaged in (swapped + data[head + 2 * size :], other[:head] + data[head:]):
        with pytest.raises(CorruptError, match="coarse segment has checksum"):
            unpack(damaged)


# Limits


def test_a_huge_picture_is_refused_before_anything_is_allocated():
    data = header_bytes(flags=1, width=b"\x80\x80\x10", height=b"\x80\x80\x10", rest=b"\x02")
    tracemalloc.start()
    try:
        for read in (read_header, unpack):
            with pytest.raises(ImageTooLargeError, match="262144x262144 = 68719476736 pixels"):
                read(data)
        with pytest.raises(TruncatedError):
            unpack(data, max_pixels=2**40)

        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_side_above_the_limit_of_the_format_is_refused_at_any_max_pixels():
    with pytest.raises(ImageTooLargeError, match="262144 per side"):
        read_header(header_bytes(width=b"\x81\x80\x10"), max_pixels=2**60)


def test_max_pixels_is_the_largest_area_that_is_read():
    data = pack(*ONE_TILE)

    assert unpack(data, max_pixels=768 * 512) == ONE_TILE
    with pytest.raises(ImageTooLargeError):
        unpack(data, max_pixels=768 * 512 - 1)


def test_a_side_below_16_pixels_counts_as_16():
    thin = header_bytes(width=b"\x01", height=b"\x80\x80\x10")

    assert read_header(thin, max_pixels=2**22).height == 2**18
    with pytest.raises(ImageTooLargeError, match="1x262144 pixels, coded as 16x262144 = 4194304 "):
        read_header(thin, max_pixels=2**22 - 1)
    wide = header_bytes(width=b"\x80\x0f", height=b"\xb8\x08")  # 1920x1080, padded to 1088
    assert read_header(wide, max_pixels=1920 * 1080).height == 1080


def test_a_tile_counts_as_16384_pixels():
    tiles = header_bytes(flags=1, width=b"\x80\x02", height=b"\x80\x02", rest=b"\x02")

    assert tile_count(read_header(tiles, max_pixels=2**18)) == 16
    with pytest.raises(ImageTooLargeError, match="16 tiles, which count as 16384 pixels each"):
        read_header(tiles, max_pixels=2**18 - 1)


def test_more_words_than_a_tile_can_need_are_corrupt():
    head = header_bytes()
    with pytest.raises(CorruptError, match="coarse words is 2049, expected at most 2048"):
        unpack(head + b"\x81\x10\0" + bytes(9000))
    with pytest.raises(CorruptError, match="fine words is 2049, expected at most 2048"):
        unpack(head + b"\0\x81\x10" + bytes(9000))


# Exact parts


def exact_part(body: bytes, learned: bool = True, depth: int = 8) -> bytes:
    """A file of 40x20 pixels with an exact part of these bytes and a right checksum."""
    features = (b"\1" if learned else b"\3") if depth == 8 else bytes([5, depth])
    model_id = MODEL_ID if learned else NO_MODEL
    head = with_header_crc(container.MAGIC + b"\x20\0" + model_id + b"\x28\x14" + features)
    tile = b""
    if learned:
        tile = b"\0\0" + crc_hqx(head + bytes(4) + b"\0\0", 0xFFFF).to_bytes(2, "little")
        tile += crc32(head + bytes(4) + tile).to_bytes(4, "little")
    found = crc32(head + (2**31).to_bytes(4, "little") + body)
    return head + tile + body + found.to_bytes(4, "little")


SIZED = bytes([len(PIXELS)]) + PIXELS


def test_the_checksum_of_an_exact_part_is_the_one_the_format_names():
    assert unpack(exact_part(b"\1\4\2\3\1" + SIZED)).exact == BESIDE.exact
    assert unpack(exact_part(b"\1" + SIZED, learned=False)).exact == BARE.exact
    assert unpack(exact_part(b"\0")).exact == (None,)


@pytest.mark.parametrize(
    ("body", "error", "reason"),
    [
        (b"\2", UnsupportedVersionError, "coder of exact blocks is 2"),
        (b"\1\3\0\6" + SIZED, CorruptError, "size of exact blocks is 3"),
        (b"\1\x09\0\1" + SIZED, CorruptError, "size of exact blocks is 9"),
        (b"\1\4\6" + SIZED, CorruptError, "no block is exact"),
        (b"\1\4\2\5" + SIZED, CorruptError, "run of blocks is 5, expected 1..4"),
        (b"\1\4\2\0\4" + SIZED, CorruptError, "run of blocks is 0, expected 1..4"),
        (b"\1\4\0\6\x81\x39" + bytes(9000), CorruptError, "7297 bytes, expected at most 7296"),
        (b"\1\4\0\6\0", CorruptError, "exact pixels start with , expected 2f 27 c0 04 00"),
        (b"\1\4\0\6\5" + stream_start(41, 20), CorruptError, "start with 2f 28 c0 04 00"),
        (b"\1\4\0\6\5\x2f\x27\xc0\x04\x10", CorruptError, "start with 2f 27 c0 04 10"),
    ],
)
def test_an_exact_part_that_breaks_the_format_is_refused(body, error, reason):
    with pytest.raises(error, match=reason):
        unpack(exact_part(body))


def test_exact_parts_are_where_the_header_says_so():
    with pytest.raises(CorruptError, match="neither words nor exact pixels"):
        unpack(exact_part(b"\0", learned=False))
    with pytest.raises(UnsupportedVersionError, match="in a picture of 10 bits, it has 8"):
        unpack(exact_part(b"\1\4\0\6" + SIZED, depth=10))
    for header, tiles, exact, reason in [
        (BESIDE.header, BESIDE.tiles, (), "0 exact parts, the header has 1"),
        (ONE_TILE.header, ONE_TILE.tiles, BESIDE.exact, "1 exact parts, the header has 0"),
        (BARE.header, BESIDE.tiles, BARE.exact, "1 tiles, the header has 0"),
        (BARE.header, (), BESIDE.exact, "no reader accepts this exact part"),
        (BARE.header, (), (None,), "neither words nor exact pixels"),
        (BESIDE.header, BESIDE.tiles, (Exact(PIXELS, 4, (6,)),), "no block is exact"),
    ]:
        with pytest.raises(ValueError, match=reason):
            pack(header, tiles, (), exact)


# Chunks


def test_unknown_optional_chunks_are_returned():
    data = with_chunks((b"abCD\x02", b"hi"), (b"VEND\0", b""))

    assert unpack(data).chunks == (Chunk(b"abCD", b"hi"),)


@pytest.mark.parametrize(
    ("chunks", "error", "reason"),
    [
        ([(b"ABCD\0", b"")], UnsupportedVersionError, "unknown critical chunk ABCD"),
        ([(b"ab1D\0", b"")], CorruptError, "four ASCII letters"),
        ([(b"abcd\x81\x80\x80\x20", b"")], CorruptError, "67108865 bytes, expected at most"),
        ([(b"VEND\0", b"")], CorruptError, "flags announce chunks"),
        ([(b"abcd\0", b""), (b"VEND\1", b"x")], CorruptError, "end chunk has 1 bytes"),
        ([(b"abcd\0", b"")], TruncatedError, "chunk kind"),
        ([(b"abcd\0", b""), (b"VEND\0", b""), (b"abcd\0", b"")], CorruptError, "follow the end"),
    ],
)
def test_chunks_that_break_the_format_are_refused(chunks, error, reason):
    with pytest.raises(error, match=reason):
        unpack(with_chunks(*chunks))


# Writing


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"model_id": b"short"}, "5 bytes, expected 8"),
        ({"level": 64}, "level"),
        ({"level": -1}, "level"),
        ({"width": 0}, "width"),
        ({"height": 2**18 + 1}, "height"),
        ({"tile_log2": 1}, "tile_log2"),
        ({"tile_log2": 6}, "one tile"),
        ({"learned": False}, "neither learned"),
        ({"learned": False, "exact": True}, "expected zeros"),
        ({"depth": 7}, "depth"),
        ({"cicp": (1, 1, 0)}, "cicp"),
        ({"cicp": (256, 1, 0, 1)}, "cicp"),
    ],
)
def test_a_header_that_no_reader_accepts_is_refused(fields, reason):
    valid = {"model_id": MODEL_ID, "level": 1, "width": 768, "height": 512}
    with pytest.raises(ValueError, match=reason):
        Header(**valid | fields)


@pytest.mark.parametrize(
    ("tiles", "chunks", "reason"),
    [
        ([], [], "0 tiles, the header has 1"),
        ([Segments(b"abc", b"")], [], "whole words"),
        ([Segments(b"", bytes(4 * 2049))], [], "at most 2048"),
        ([Segments(b"", b"")], [Chunk(b"abc", b"")], "four ASCII letters"),
        ([Segments(b"", b"")], [Chunk(b"ABCD", b"")], "critical"),
        ([Segments(b"", b"")], [Chunk(b"VEND", b"")], "critical"),
        ([Segments(b"", b"")], [Chunk(b"abcd", bytes(2**26 + 1))], "at most 67108864"),
    ],
)
def test_parts_that_no_reader_accepts_are_refused(tiles, chunks, reason):
    with pytest.raises(ValueError, match=reason):
        pack(Header(MODEL_ID, 0, 16, 16), tiles, chunks)


# Header, tiles, overhead


def test_the_header_is_read_from_the_first_bytes_alone():
    longest = {"exact": True, "depth": 16, "cicp": (255, 255, 255, 1)}
    header = Header(MODEL_ID, 63, 2**18, 2**14, tile_log2=8, **longest)
    count = tile_count(header)
    data = pack(header, [Segments(b"", b"")] * count, (), [None] * count)

    assert read_header(data[:HEADER_BYTES_MAX], max_pixels=2**32) == header
    with pytest.raises(TruncatedError):
        read_header(data[: HEADER_BYTES_MAX - 1], max_pixels=2**32)


def test_tiles_cover_the_latents_in_raster_order():
    assert list(tile_grid(ONE_TILE.header)) == [Rectangle(0, 0, 48, 32)]
    assert list(tile_grid(Header(MODEL_ID, 0, 161, 65, tile_log2=2))) == [
        Rectangle(0, 0, 4, 4),
        Rectangle(4, 0, 4, 4),
        Rectangle(8, 0, 3, 4),
        Rectangle(0, 4, 4, 1),
        Rectangle(4, 4, 4, 1),
        Rectangle(8, 4, 3, 1),
    ]


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(2, 8))
def test_tile_count_is_the_number_of_rectangles_and_they_cover_every_latent(w, h, tile_log2):
    try:
        header = Header(MODEL_ID, 0, w, h, tile_log2)
    except ValueError:
        header = Header(MODEL_ID, 0, w, h)
    rectangles = list(tile_grid(header))

    assert len(rectangles) == tile_count(header)
    area = sum(rectangle.width * rectangle.height for rectangle in rectangles)
    assert area == ((w + 15) // 16) * ((h + 15) // 16)


def test_pictures_up_to_two_megapixels_are_one_tile():
    assert choose_tile_log2(2048, 1024) is None
    assert choose_tile_log2(2048, 1025) == 6
    assert choose_tile_log2(16384, 1) == 6
    Header(MODEL_ID, 0, 2048, 1025, choose_tile_log2(2048, 1025))


@pytest.mark.parametrize("size", [(1448, 1448), (16383, 128), (128, 16383), (2048, 1024)])
def test_the_largest_one_tile_files_have_an_overhead_of_32_bytes_at_most(size):
    assert choose_tile_log2(*size) is None
    words = bytes(4 * (2**14 - 1))  # 64 KiB
    # 31 bytes while the coarse segment is below 64 KiB, 32 up to 8 MiB a segment.
    assert overhead(pack(Header(MODEL_ID, 0, *size), [Segments(words, bytes(2**23 - 4))])) <= 31
    assert overhead(pack(Header(MODEL_ID, 0, *size), [Segments(words + b"1234", words)])) <= 31
    assert overhead(pack(Header(MODEL_ID, 0, *size), [Segments(bytes(2**20), bytes(2**20))])) == 32


def test_overhead_is_what_is_not_coder_words():
    assert overhead(pack(*ONE_TILE)) == 28
    assert overhead(pack(*CHUNKED)) == len(pack(*CHUNKED)) - 4
    assert overhead(pack(*BARE)) == len(pack(*BARE)) - len(PIXELS)


@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.integers(0, 63),
    st.sampled_from([None, 2, 3]),
    st.booleans(),
    st.data(),
)
def test_any_parts_round_trip(width, height, level, tile_log2, grey, draw):
    try:
        header = Header(MODEL_ID, level, width, height, tile_log2, grey)
    except ValueError:
        header = Header(MODEL_ID, level, width, height, None, grey)
    words = st.binary(max_size=6).map(lambda data: data * 4)
    size = tile_count(header)
    tiles = draw.draw(st.lists(st.builds(Segments, words, words), min_size=size, max_size=size))
    kinds = st.from_regex(rb"[a-z][A-Za-z]{3}", fullmatch=True)
    chunks = draw.draw(st.lists(st.builds(Chunk, kinds, st.binary(max_size=200)), max_size=3))
    data = pack(header, tiles, chunks)

    assert unpack(data) == (header, tuple(tiles), tuple(chunks), ())
    with pytest.raises(FormatError):
        unpack(data[:-1])
