"""Alpha and metadata in chunks: the exact bytes, and what is refused."""

import io
import struct
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vqcodec.bitstream import chunks as chunks_module
from vqcodec.bitstream.chunks import alpha_chunks, metadata_chunks, read_alpha, read_metadata
from vqcodec.bitstream.container import Chunk, Header
from vqcodec.errors import CorruptError, InputError
from vqcodec.image.metadata import MAX_METADATA_BYTES, Metadata

HEADER = Header(bytes(8), 0, 7, 5)
PLANE = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)  # [H, W]
TEXT = b"<x:xmpmeta/>" * 9


# Metadata


def test_short_data_is_raw_and_long_data_deflated():
    chunks = metadata_chunks(Metadata(b"icc", b"MM\0*", TEXT))

    assert chunks[:2] == [Chunk(b"iccp", b"\0icc"), Chunk(b"exif", b"\0MM\0*")]
    assert chunks[2].kind == b"xmpp"
    assert chunks[2].data[:1] == b"\1"
    assert zlib.decompress(chunks[2].data[1:]) == TEXT


@pytest.mark.parametrize(
    "metadata",
    [
        Metadata(),
        Metadata(icc=b"a"),
        Metadata(exif=bytes(MAX_METADATA_BYTES)),
        Metadata(b"a" * 99, b"b" * 99, TEXT),
    ],
)
def test_metadata_round_trips(metadata):
    assert read_metadata(metadata_chunks(metadata)) == metadata


def test_other_chunks_are_skipped():
    assert read_metadata([Chunk(b"note", b"\7")]) == Metadata()


def test_too_much_is_not_written():
    with pytest.raises(ValueError, match="expected at most"):
        metadata_chunks(Metadata(exif=bytes(MAX_METADATA_BYTES + 1)))


PACKED = b"\1" + zlib.compress(TEXT)
REFUSED = {
    "nothing at all": ([b""], "method"),
    "no data": ([b"\0"], "holds 0 bytes"),
    "no deflated data": ([b"\1" + zlib.compress(b"")], "holds 0 bytes"),
    "unknown method": ([b"\2abc"], "method 02"),
    "two": ([b"\0a", b"\0a"], "two chunks exif"),
    "not zlib": ([b"\1text"], "cannot be inflated"),
    "cut short": ([PACKED[:-1]], "does not end"),
    "bytes behind": ([PACKED + b"x"], "does not end"),
    "bad checksum": ([PACKED[:-1] + bytes([PACKED[-1] ^ 1])], "cannot be inflated"),
    "raw, too large": ([bytes(MAX_METADATA_BYTES + 2)], "holds 16777217 bytes"),
}


def test_damaged_chunks_are_refused():
    for name in REFUSED:
        datas, reason = REFUSED[name]
        with pytest.raises(CorruptError, match=reason):
            read_metadata([Chunk(b"exif", data) for data in datas])


def test_a_bomb_is_refused_before_it_is_inflated():
    """64 KiB that would become 64 MiB: no more than the limit of 16 is ever held."""
    packed = zlib.compressobj(9)
    bomb = b"\1" + b"".join(packed.compress(bytes(2**20)) for _ in range(64)) + packed.flush()
    tracemalloc.start()
    try:
        with pytest.raises(CorruptError, match="inflates to more than 16777216"):
            read_metadata([Chunk(b"xmpp", bomb)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 3 * MAX_METADATA_BYTES


# Alpha


def png(image: Image.Image, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    return out.getvalue()


def test_alpha_round_trips_as_a_png_that_any_reader_knows():
    [chunk] = alpha_chunks(PLANE)

    assert chunk.kind == b"ALPH"
    with Image.open(io.BytesIO(chunk.data)) as image:
        assert (image.mode, image.size) == ("L", (7, 5))
        assert np.array_equal(np.asarray(image), PLANE)
    assert np.array_equal(read_alpha([Chunk(b"note", b""), chunk], HEADER), PLANE)


def test_no_alpha_is_no_chunk():
    assert alpha_chunks(None) == []
    assert read_alpha([Chunk(b"iccp", b"")], HEADER) is None


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_flat_and_thin_planes_round_trip(size):
    plane = np.zeros(size, np.uint8)

    header = Header(bytes(8), 0, size[1], size[0])
    assert np.array_equal(read_alpha(alpha_chunks(plane), header), plane)


def test_deep_planes_round_trip_and_hold_no_more_than_their_depth():
    header = replace(HEADER, depth=10)
    plane = PLANE.astype(np.uint16) * 4 + 3  # up to 1023
    (chunk,) = alpha_chunks(plane)

    assert np.array_equal(read_alpha([chunk], header), plane)
    assert read_alpha([chunk], header).dtype == np.uint16
    for wrong in (HEADER, replace(header, depth=9)):
        with pytest.raises(CorruptError, match=r"8-bit PNG|expected 9 bits"):
            read_alpha([chunk], wrong)
    with pytest.raises(CorruptError, match="not a grey 16-bit PNG of 7x5"):
        read_alpha(alpha_chunks(PLANE), header)


def test_a_plane_above_the_limit_of_a_chunk_is_an_input_error(monkeypatch):
    monkeypatch.setattr(chunks_module, "MAX_CHUNK_BYTES", 50)
    with pytest.raises(InputError, match="expected at most 50"):
        alpha_chunks(PLANE)


GREY = Image.fromarray(PLANE)
WHOLE = png(GREY)
HUGE = WHOLE[:16] + struct.pack(">II", 2**17, 2**17) + WHOLE[24:]
REFUSED_ALPHA = {
    "empty": ([b""], "not a grey"),
    "no PNG": ([b"text" * 9], "not a grey"),
    "two": ([WHOLE, WHOLE], "two chunks ALPH"),
    "another size": ([png(GREY.resize((5, 7)))], "not a grey 8-bit PNG of 7x5"),
    "a huge size": ([HUGE], "not a grey"),
    "colour": ([png(GREY.convert("RGB"))], "not a grey"),
    "alpha": ([png(GREY.convert("LA"))], "not a grey"),
    "1 bit": ([png(GREY.convert("1"))], "not a grey"),
    "16 bits": ([png(GREY.convert("I;16"))], "not a grey"),
    "a palette": ([png(GREY.convert("P"))], "not a grey"),
    "another format": ([b"\xff\xd8\xff" + bytes(60)], "not a grey"),
    "cut in the header": ([WHOLE[:30]], "cannot be read"),
    "cut in the pixels": ([WHOLE[:60]], "cannot be read"),
    "damaged header": ([WHOLE[:29] + b"\0\0\0\0" + WHOLE[33:]], "cannot be read"),
    "damaged pixels": ([WHOLE[:41] + bytes(20) + WHOLE[61:]], "cannot be read"),
}


def test_damaged_alpha_is_refused():
    for name in REFUSED_ALPHA:
        datas, reason = REFUSED_ALPHA[name]
        with pytest.raises(CorruptError, match=reason):
            read_alpha([Chunk(b"ALPH", data) for data in datas], HEADER)


def test_the_size_of_alpha_is_checked_before_it_is_decoded():
    tracemalloc.start()
    try:
        with pytest.raises(CorruptError):
            read_alpha([Chunk(b"ALPH", HUGE)], HEADER)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 2**20
