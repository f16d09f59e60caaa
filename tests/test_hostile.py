"""Hostile input: whatever the bytes, an error of our tree or a picture of the right size."""

import random
import tracemalloc
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import flips, fuzz
from conftest import page, smooth_picture
from test_container import CASES, header_bytes
from vqcodec.bitstream import chunks, container
from vqcodec.bitstream.container import Chunk, Header, Segments, pack, unpack
from vqcodec.bitstream.salvage import salvage
from vqcodec.errors import CorruptError, VqcodecError
from vqcodec.image.metadata import Metadata, from_info, to_info
from vqcodec.image.pixels import Picture


@pytest.fixture(scope="module")
def seeds(codec) -> list[bytes]:
    """Valid files: one tile, with alpha and metadata, of six tiles, and with exact parts."""
    rgb = smooth_picture(40, 48)
    alpha = np.arange(40 * 48).reshape(40, 48).clip(0, 255).astype(np.uint8)
    beside = Picture(rgb, alpha, Metadata(exif=b"II*\0" + bytes(40), xmp=b"<x/>" * 30))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container, "choose_tile_log2", lambda width, height: 2)
        tiled = codec.encode(smooth_picture(100, 160), 30)
        text = page(64, 150)
        text[:, 100:] = smooth_picture(64, 50)
        exact = [codec.encode(text, 80), codec.encode(text, lossless=True)]
    assert [container.read_header(data).features for data in exact] == [1, 3]
    return [codec.encode(rgb, 40), codec.encode(beside, 10), tiled, *exact]


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32))
def test_mutated_files_are_read_or_refused(codec, seeds, seed):
    fuzz.attempt(codec, fuzz.mutate(random.Random(seed), seeds), decode=True)


@settings(max_examples=300)
@given(seed=st.integers(0, 2**32))
def test_mutated_containers_are_unpacked_or_refused(codec, seeds, seed):
    fuzz.attempt(codec, fuzz.mutate(random.Random(seed), seeds), decode=False)


@pytest.mark.parametrize(
    ("kind", "every"), [(0, 7), (1, 7), (2, 23), (3, 61), (4, 61)]
)  # odd: all bits of a byte
def test_flips_and_cuts_are_found_out(codec, seeds, kind, every):
    """`python -m bench flips FILE` tries them all."""
    data = seeds[kind]
    codec.decode(data)
    before, sized = fuzz.peak_memory(), {}
    changed = flips.damaged(data, every=every)
    outcomes = {flips.outcome(codec, found, sized) for found in changed}

    assert "wrong" not in outcomes
    assert outcomes & {"decoded", "CorruptError"}
    assert fuzz.peak_memory() < before + 300


@given(st.binary(max_size=60))
def test_any_bytes_behind_a_right_header_are_refused_or_read(data):
    start = header_bytes(flags=2, width=b"\x20", height=b"\x10")
    for read in (unpack, salvage):
        with suppress(VqcodecError):
            read(start + data)


@given(st.integers(0, 63), st.integers(1, 60), st.integers(1, 60), st.binary(max_size=64))
def test_any_words_and_sizes_are_decoded_or_refused(codec, level, width, height, words):
    header = Header(codec.model.id, level, width, height)
    words = words[: len(words) // 4 * 4]
    for tile in (Segments(words, b""), Segments(b"", words), Segments(words[:8], words[8:])):
        with suppress(VqcodecError):
            assert codec.decode(pack(header, [tile])).size == (width, height)


@given(st.sampled_from([b"iccp", b"exif", b"xmpp", b"ALPH", b"abCD"]), st.binary(max_size=200))
def test_any_chunk_is_read_or_refused(kind, data):
    found, header = [Chunk(kind, data)], Header(bytes(8), 0, 8, 8)
    with suppress(CorruptError):
        chunks.read_metadata(found).upright()
    with suppress(CorruptError):
        chunks.read_alpha(found, header)
    chunks.read_damaged(found, header)


@given(st.binary(max_size=100), st.sampled_from([b"II*\0", b"MM\0*", b""]))
def test_any_exif_is_carried(data, start):
    metadata = Metadata(exif=start + data).upright()

    assert len(metadata.exif or b"") == len(start + data)
    assert metadata.upright() == metadata
    from_info(to_info(metadata))


@pytest.mark.parametrize("read", [unpack, salvage])
@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x20"])
def test_sizes_that_a_file_only_claims_take_no_memory(read, size):
    head = header_bytes(width=b"\x80\x80\x10", height=b"\x80\x05")
    data = pack(*CASES["chunked"])
    claimed = head + size * 2, data[: data.index(b"note") + 4] + size
    tracemalloc.start()
    try:
        for bad in claimed:
            with suppress(VqcodecError):
                read(bad)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


# The scripts themselves


def test_the_fuzzer_keeps_inputs_that_crash(codec, seeds, tmp_path, model_folder, monkeypatch):
    (tmp_path / "seed.vqc").write_bytes(seeds[0])
    monkeypatch.setattr(fuzz, "salvage", lambda data, _: {seeds[0]: salvage(data)}[data])

    assert fuzz.run(tmp_path, str(model_folder), 50, 0.1, 0, tmp_path / "out", 9) > 0
    kept = next((tmp_path / "out").glob("crash-*.txt"))
    assert "KeyError" in kept.read_text()
    assert kept.with_suffix(".vqc").exists()


def test_the_fuzzer_finds_nothing_here(seeds, tmp_path, model_folder, capsys):
    (tmp_path / "seed.vqc").write_bytes(seeds[0])

    assert fuzz.run(tmp_path, str(model_folder), 100, 0.1, 1, tmp_path / "out", 9) == 0
    assert not (tmp_path / "out").exists()
    text = capsys.readouterr().out
    assert text.splitlines()[0].split()[:2] == ["way", "read"]
    assert "100 inputs in " in text
    fuzz.run(tmp_path, str(model_folder), 10**9, 0, 1, tmp_path / "out", 0)
    assert "\n1 inputs in " in capsys.readouterr().out


def test_a_slow_input_and_a_large_one_are_findings(codec, seeds, monkeypatch):
    assert fuzz.check(codec, seeds[0], False, Counter(), limit=1).kind == "memory"
    monkeypatch.setattr(fuzz, "SLOW", 0)
    assert fuzz.check(codec, seeds[0], False, Counter()).kind == "slow"


def test_flips_counts_a_decode_that_should_have_failed(
    codec, seeds, tmp_path, model_folder, capsys
):
    path = tmp_path / "a.vqc"
    path.write_bytes(seeds[0])
    assert flips.outcome(codec, seeds[0], {}) == "wrong"
    assert flips.outcome(codec, seeds[0][:-1], {salvage(seeds[0][:-1]): False}) == "wrong"
    assert flips.run([path], str(model_folder)) == 0
    assert f"a.vqc  {len(seeds[0]):5}  {9 * len(seeds[0]):7}" in capsys.readouterr().out
