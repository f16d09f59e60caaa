"""Bits place by place, and the use of the words."""

import numpy as np
import pytest

from vqcodec.bitstream import container
from vqcodec.compare import bit_allocation


def noise(side: int) -> np.ndarray:
    """Black and white dots, whose latents are far outside the codebooks."""
    dots = np.random.default_rng(1).integers(0, 2, (side, side, 1), dtype=np.uint8)
    return np.repeat(dots * 255, 3, 2)


@pytest.mark.parametrize("quality", [0, 60, 100])
@pytest.mark.parametrize("source", ["picture", "noise"])
def test_the_bits_of_all_places_are_those_of_the_payload(codec, picture, source, quality):
    data = codec.encode(picture if source == "picture" else noise(64), quality)
    found = bit_allocation.measure(codec, data)
    payload = 8 * (len(data) - container.overhead(data))

    assert found.bits.shape == codec.read_indices(data).indices.shape[:2]
    assert abs(found.bits.sum() - payload) < 2 * 64 + 0.005 * payload  # two states of 64 bits


def test_bits_are_where_the_detail_is(codec):
    rgb = np.full((128, 128, 3), 128, np.uint8)
    rgb[32:96, 64:128] = noise(64)
    bits = bit_allocation.measure(codec, codec.encode(rgb, 60, exact=False)).bits

    assert bits[2:6, 4:8].mean() > bits[:, :3].mean()


def test_every_index_is_counted_once(codec):
    data = codec.encode(noise(64), 100)
    found = bit_allocation.measure(codec, data)
    tables = codec.read_tables(data)
    words = codec.read_indices(data).indices

    assert sum(int(counts.sum()) for counts in found.counts) == int((tables >= 0).sum())
    assert [len(counts) for counts in found.counts] == [len(row) for row in codec.model.freqs]
    row = int(tables[0, 0, 0])
    assert found.counts[row][min(words[0, 0, 0], len(codec.model.freqs[row]) - 1)] > 0


def test_tables_are_those_of_the_indices_in_tiles_too(codec, picture, monkeypatch):
    monkeypatch.setattr(container, "choose_tile_log2", lambda width, height: 2)
    data = codec.encode(picture)
    words, tables = codec.read_indices(data).indices, codec.read_tables(data)
    pairs = codec.model.config.quantizer.classes

    assert tables.shape == words.shape
    assert (words[tables >= 0] >= 0).all()
    assert ((tables[..., 0] >= 0).all(), (tables[..., 1::2] < pairs).all()) == (True, True)
