"""Windows with halos give what the whole picture gives; crops and strips are parts of it."""

import dataclasses
import threading
import time
from functools import partial

import numpy as np
import pytest
import torch

from conftest import decoded_tiles, smooth_picture
from vqcodec.bitstream import container
from vqcodec.codec import Codec
from vqcodec.config import TransformConfig
from vqcodec.engine import tiling
from vqcodec.errors import CorruptError
from vqcodec.geometry import Rectangle, latents_across, reach, within
from vqcodec.image import pixels
from vqcodec.nn import blocks
from vqcodec.nn.transforms import Decoder, Encoder, LinearPath
from vqcodec.rate_control import operating_point

LEVEL = 3
HEIGHT, WIDTH = 470, 600


@pytest.fixture(scope="module", params=["cpu", "onnx"])
def strong(strong_folder, request) -> Codec:
    # bfloat16 rounds by the size of the window.
    return Codec.load(strong_folder, request.param, precise=True)


def small_tiles(monkeypatch):
    """Tiles and windows of 8 latents, as much larger pictures have them."""
    monkeypatch.setattr(container, "choose_tile_log2", lambda width, height: 3)
    monkeypatch.setattr(tiling, "SIDE", 8)
    monkeypatch.setattr(tiling, "WHOLE", 9)


@pytest.fixture
def small(monkeypatch):
    small_tiles(monkeypatch)


@pytest.fixture(scope="module")
def tiled(codec) -> bytes:
    """A file of 4 x 5 tiles, with alpha."""
    rgb = smooth_picture(HEIGHT, WIDTH)
    alpha = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        small_tiles(patch)
        return codec.encode(np.dstack([rgb, alpha]), 60)


@pytest.fixture(scope="module")
def decoded(codec, tiled) -> np.ndarray:
    """The file's pixels, with all latents in one window."""
    return np.asarray(codec.decode(tiled))


BLOCKS = [(0, 1), (1, 1), (2, 1), (3, 2)]  # at 1/8, at 1/16


def touched(spoilt: torch.Tensor) -> int:
    """How far not-a-number came from the latent in the middle: bool [h, w] in latents."""
    rows, columns = torch.nonzero(spoilt, as_tuple=True)
    middle = spoilt.shape[0] // 2
    assert int(rows.min()) + int(rows.max()) == 2 * middle
    assert bool((rows.min() == columns.min()) & (rows.max() == columns.max()))
    return int(rows.max()) - middle


@pytest.mark.parametrize(("fine", "coarse"), BLOCKS)
def test_the_reach_is_exactly_the_receptive_field(monkeypatch, fine, coarse):
    """Not-a-number passes every sum that it is in, whatever the weights; but not oneDNN's ReLU."""
    monkeypatch.setattr(blocks, "can_fuse", lambda *_: False)
    config = TransformConfig(8, 4, fine, 4, coarse, levels=2, knots=2)
    side = 2 * reach(config) + 3
    middle, levels = side // 2, torch.tensor([0])
    y, x = torch.zeros(1, 8, side, side), torch.zeros(1, 3, 16 * side, 16 * side)
    y[..., middle, middle] = torch.nan
    x[..., 16 * middle : 16 * middle + 16, 16 * middle : 16 * middle + 16] = torch.nan
    with torch.no_grad():
        linear, scale = LinearPath(8), torch.ones(8)
        latents = Encoder(config)(x, linear, scale, levels)
        pixels = Decoder(config)(y, linear, scale, levels)
    affected = pixels.isnan().view(3, side, 16, side, 16).any(4).any(2).any(0)

    assert touched(latents.isnan().any(1)[0]) == reach(config)
    assert touched(affected) == reach(config)


def test_the_reach_is_that_of_encoder_or_decoder_whichever_sees_further():
    equal = TransformConfig(fine_blocks=3, coarse_blocks=5)
    found = [
        reach(dataclasses.replace(equal, encoder_fine_blocks=fine, encoder_coarse_blocks=coarse))
        for fine, coarse in ((None, None), (None, 7), (5, None), (0, 6), (1, 1))
    ]

    assert found == [7, 9, 8, 7, 7]


def test_latents_of_tiles_are_those_of_the_whole_picture(strong):
    """To the order of summation: float32 kernels may choose it by the size of the window."""
    rgb = smooth_picture(HEIGHT, WIDTH)
    whole = strong.engine.analyse(pixels.pad(rgb), LEVEL)
    header = container.Header(b"12345678", LEVEL, WIDTH, HEIGHT, 3)
    for tile in container.tile_grid(header):
        part = tiling.analyse(strong.engine, rgb, LEVEL, tile)
        own = whole[within(tile)]

        assert part.shape == own.shape
        assert np.allclose(part, own, rtol=0, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("tile_log2", [2, 3, None])
def test_windows_give_what_the_whole_picture_would(strong, small, tile_log2):
    """To the order of summation, which may move a number across the border of two levels."""
    header = container.Header(b"12345678", LEVEL, WIDTH, HEIGHT, tile_log2)
    shape = latents_across(HEIGHT), latents_across(WIDTH)
    y = np.random.default_rng(0).standard_normal((*shape, 32), np.float32)
    whole = strong.engine.synthesise(y, LEVEL)[:HEIGHT, :WIDTH]
    expected = (whole * 255 + 0.5).clip(0, 255).astype(np.uint8)
    place = Rectangle(0, 0, WIDTH, HEIGHT)
    strips = list(
        tiling.synthesise(strong.engine, 0, header, place, lambda _, tile: y[within(tile)])
    )
    found = np.concatenate(strips)
    far = np.abs(found.astype(int) - expected)

    assert len(strips) >= 4
    assert expected.std() > 10
    assert far.max() <= 1
    assert far.mean() < 1e-4


def test_tiles_are_coded_as_cut_from_the_latents_of_the_whole(codec, small):
    rgb = smooth_picture(200, 300)
    data = codec.encode(rgb, 60, effort=1)
    header, tiles, *_ = container.unpack(data)
    y = codec.engine.analyse(pixels.pad(rgb), header.level)
    scale = operating_point(60, codec.model.config.transform.levels).lambda_scale
    expected = [
        codec.engine.tiles.encode(y[within(tile)], header.level, scale).segments
        for tile in container.tile_grid(header)
    ]

    assert len(tiles) == 6
    assert list(tiles) == expected


CROPS = [
    (0, 0, WIDTH, HEIGHT),
    (0, 0, 1, 1),
    (WIDTH - 1, HEIGHT - 1, 1, 1),
    (127, 129, 3, 2),
    (5, 300, 590, 17),
    (250, 3, 120, 460),
]


@pytest.mark.parametrize("crop", CROPS)
def test_a_crop_is_cut_from_the_picture(codec, tiled, decoded, small, crop):
    x, y, width, height = crop
    found = np.asarray(codec.decode(tiled, crop=crop)).astype(int)
    far = np.abs(found - decoded[y : y + height, x : x + width])

    assert found.shape == (height, width, 4)
    assert far.max() <= 1
    assert far.mean() < 1e-3
    assert not far[..., 3].any()


def test_a_crop_decodes_the_tiles_that_it_needs(codec, tiled, small, monkeypatch):
    tiles = container.unpack(tiled).tiles
    calls = decoded_tiles(codec, monkeypatch)
    codec.decode(tiled, crop=(180, 190, 20, 20))  # well inside the seventh tile
    assert calls == [tiles[6]]

    calls.clear()
    codec.decode(tiled, crop=(180, 130, 20, 20))  # its halo is in the one above
    assert calls == [tiles[1], tiles[6]]


def test_strips_come_before_the_last_tile_is_decoded(codec, tiled, small, monkeypatch):
    calls = decoded_tiles(codec, monkeypatch)
    strips = codec.decode_strips(tiled)
    assert calls == []

    first = next(strips.rows)
    assert (strips.width, strips.height, strips.channels) == (WIDTH, HEIGHT, 4)
    assert first.shape[1:] == (WIDTH, 4)
    assert len(calls) == 5
    assert len(first) + sum(map(len, strips.rows)) == HEIGHT
    assert tuple(calls) == container.unpack(tiled).tiles


@pytest.mark.parametrize(
    "crop", [(-1, 0, 9, 9), (0, 0, 0, 9), (0, 0, 9, HEIGHT + 1), (WIDTH, 0, 1, 1)]
)
def test_a_crop_outside_the_picture_is_a_value_error(codec, tiled, crop):
    with pytest.raises(ValueError, match=f"{WIDTH}x{HEIGHT}"):
        codec.decode(tiled, crop=crop)


def test_indices_decode_the_same_in_windows(codec, tiled, decoded, small):
    found = np.asarray(codec.decode_indices(codec.read_indices(tiled))).astype(int)

    assert np.abs(found - decoded[..., :3]).max() <= 1


@pytest.fixture(params=[2, 3])
def workers(request):
    """As many threads of torch, and so tiles at a time, where other tests have one."""
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


def at_once(codec, monkeypatch) -> list[int]:
    """How many tiles are worked on when one begins; each waits for others."""
    busy, found, lock = [0], [], threading.Lock()

    def listen(work, *arguments):
        with lock:
            busy[0] += 1
            found.append(busy[0])
        time.sleep(0.05)
        try:
            return work(*arguments)
        finally:
            with lock:
                busy[0] -= 1

    for name in ("encode", "decode", "packed"):
        work = partial(listen, getattr(codec.engine.tiles, name))
        monkeypatch.setattr(codec.engine.tiles, name, work)
    return found


@pytest.mark.parametrize("effort", [1, 3])
def test_tiles_at_once_give_the_same_bytes(codec, small, workers, effort, monkeypatch):
    rgb = smooth_picture(200, 300)
    torch.set_num_threads(1)
    expected = codec.encode(rgb, 60, effort=effort)
    found = at_once(codec, monkeypatch)
    torch.set_num_threads(workers)

    assert codec.encode(rgb, 60, effort=effort) == expected
    assert max(found) == (workers if effort == 1 else 1)


@pytest.mark.parametrize("crop", [None, CROPS[-2], CROPS[-1]])
def test_tiles_at_once_give_the_same_pixels(codec, tiled, small, workers, crop, monkeypatch):
    torch.set_num_threads(1)
    expected = codec.decode(tiled, crop=crop)
    found = at_once(codec, monkeypatch)
    torch.set_num_threads(workers)

    assert codec.decode(tiled, crop=crop).tobytes() == expected.tobytes()
    assert max(found) == min(workers, len(found))


def test_tiles_at_once_give_the_same_tokens(codec, tiled, small, workers):
    torch.set_num_threads(1)
    words, tables = codec.read_indices(tiled).indices, codec.read_tables(tiled)
    torch.set_num_threads(workers)

    assert np.array_equal(codec.read_indices(tiled).indices, words)
    assert np.array_equal(codec.read_tables(tiled), tables)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_first_bad_tile_is_told_behind_the_strips_before_it(codec, tiled, small, count):
    header, tiles, parts, _ = container.unpack(tiled)

    def outcome(extra: dict[int, bytes]) -> tuple[int, str]:
        """Strips before the error, and the error, with bytes more in the fine parts of tiles."""
        bad = [t._replace(fine=t.fine + extra.get(n, b"")) for n, t in enumerate(tiles)]
        strips, left = codec.decode_strips(container.pack(header, bad, parts)), []
        with pytest.raises(CorruptError) as error:
            left.extend(strips.rows)
        return len(left), str(error.value)

    first, second = {11: b"1234"}, {12: b"12345678"}
    before = threading.active_count()
    torch.set_num_threads(count)
    try:
        found = outcome(first | second)
        assert threading.active_count() == before
        assert found == outcome(first)
        assert found[0] == 2
        assert outcome(second) != found
    finally:
        torch.set_num_threads(1)


def test_strips_that_nobody_reads_leave_no_thread(codec, tiled, small, workers):
    before = threading.active_count()
    strips = codec.decode_strips(tiled)
    next(strips.rows)
    assert threading.active_count() > before
    del strips

    assert threading.active_count() == before
