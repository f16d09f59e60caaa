"""Metadata in chunks: the exact bytes, and what is refused."""

import tracemalloc
import zlib

import pytest

from vqcodec.chunks import metadata_chunks, read_metadata
from vqcodec.container import Chunk
from vqcodec.errors import CorruptError
from vqcodec.metadata import MAX_METADATA_BYTES, Metadata

TEXT = b"<x:xmpmeta/>" * 9


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


@pytest.mark.parametrize("name", REFUSED)
def test_damaged_chunks_are_refused(name):
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
