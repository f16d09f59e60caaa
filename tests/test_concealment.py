"""Damaged files: what is sound stays as it is, the rest is guessed and named."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageFile

from conftest import fast_model, smooth_picture
from vqcodec import pillow_plugin
from vqcodec.bitstream import container
from vqcodec.bitstream.container import Segments, pack, unpack
from vqcodec.bitstream.salvage import TileState, salvage
from vqcodec.codec import Codec
from vqcodec.engine.base import Maps
from vqcodec.engine.concealment import conceal, fill, tile_notices
from vqcodec.errors import CorruptError, UnknownModelError
from vqcodec.geometry import STRIDE, Rectangle, reach
from vqcodec.image.metadata import Metadata
from vqcodec.image.pixels import Picture
from vqcodec.image.pull_push import extend
from vqcodec.metrics import psnr

WHOLE, COARSE, LOST = TileState
TILES = 16
LOSE = 5  # an inner tile: columns and rows 64 to 127


def in_tiles(codec: Codec) -> SimpleNamespace:
    """A picture of 4x4 tiles of 64 pixels, its file, and where each tile starts in it."""
    rgb = smooth_picture(256, 256) // 4 + 170  # a bright one: grey is far from it
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container, "choose_tile_log2", lambda width, height: 2)
        data = codec.encode(rgb, 60, effort=1)
    header, tiles, *_ = unpack(data)
    empty = [Segments(b"", b"")] * TILES
    starts = [len(pack(header, [*tiles[:n], *empty[n:]])) - 8 * (TILES - n) for n in range(TILES)]
    return SimpleNamespace(
        rgb=rgb, data=data, starts=starts, decoded=np.asarray(codec.decode(data))
    )


@pytest.fixture(scope="module")
def tiled(codec: Codec) -> SimpleNamespace:
    return in_tiles(codec)


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def lost(tiled) -> bytes:
    return flipped(tiled.data, tiled.starts[LOSE] + 8)  # a coarse word


def without_fine(tiled) -> bytes:
    return flipped(tiled.data, tiled.starts[LOSE + 1] - 6)  # the last fine word


def test_a_sound_file_gives_what_decode_does(codec, tiled):
    found = codec.decode_damaged(tiled.data)

    assert np.array_equal(np.asarray(found.image), tiled.decoded)
    assert found.states == (WHOLE,) * TILES
    assert found.notices == ()


def test_what_is_missing_is_named(codec, tiled):
    found = codec.decode_damaged(lost(tiled))
    assert found.states[LOSE] is LOST
    assert found.notices == ("1 of 16 tiles lost, and made up from the others: 6",)
    found = codec.decode_damaged(without_fine(tiled))
    assert found.states[LOSE] is COARSE
    assert found.notices == ("1 of 16 tiles only coarse, and without detail: 6",)


def test_what_the_default_model_decodes_is_closer_the_more_is_left():
    """The tests' model has a random prior, which expects nothing sensible."""
    codec = Codec.load(device="cpu")
    tiled = in_tiles(codec)
    source = np.ascontiguousarray(tiled.rgb[64:128, 64:128])
    images = [np.full_like(tiled.rgb, 128)]
    for damage in (lost, without_fine):
        images.append(np.asarray(codec.decode_damaged(damage(tiled)).image))
    close = [psnr(np.ascontiguousarray(image[64:128, 64:128]), source) for image in images]

    assert close[0] + 5 < close[1] < close[2]


@pytest.mark.parametrize("damage", [lost, without_fine])
def test_latents_of_the_other_tiles_are_unchanged_to_the_bit(codec, tiled, damage):
    expected = conceal(codec.engine, salvage(tiled.data))
    found = conceal(codec.engine, salvage(damage(tiled)))

    assert [s for s in found.states if s is not WHOLE] == [found.states[LOSE]]
    for number, place in enumerate(container.tile_grid(unpack(tiled.data).header)):
        same = np.array_equal(found.latents.cut(place), expected.latents.cut(place))
        assert same == (number != LOSE)


def test_pixels_that_a_lost_tile_cannot_reach_are_unchanged_to_the_bit(codec, tiled):
    """The decoder network reads across the border of tiles, as it must to leave no seam."""
    halo = STRIDE * reach(codec.model.config.transform)
    decoded = np.asarray(codec.decode_damaged(lost(tiled)).image)
    far = np.ones((256, 256), bool)
    far[max(0, 64 - halo) : 128 + halo, max(0, 64 - halo) : 128 + halo] = False

    assert far.sum() > 64 * 256
    assert np.array_equal(decoded[far], tiled.decoded[far])
    near = ~far
    near[64:128, 64:128] = False
    assert not np.array_equal(decoded[near], tiled.decoded[near])


def test_lost_tiles_are_filled_from_known_ones_near_and_far(codec):
    """All but the last: what is filled first is what the next ones continue."""
    level, whole = 5, Rectangle(0, 0, 8, 12)
    places = [Rectangle(x, y, 4, 4) for y in (0, 4, 8) for x in (0, 4)]
    grey = codec.engine.analyse(np.full((192, 128, 3), 0.7, np.float32), level)
    expected = codec.engine.synthesise(grey, level)
    latents = Maps(np.full_like(grey, np.nan), whole)
    latents.cut(places[-1])[:] = grey[8:, 4:]
    fill(codec.engine, level, latents, places[:-1])

    assert np.abs(codec.engine.synthesise(latents.values, level) - expected).max() < 0.1


def test_a_lost_tile_costs_the_other_tiles_little():
    """Their indices are the same, but not the latents beside them."""
    codec = Codec.load(fast_model(), "cpu")
    tiled = in_tiles(codec)
    others = np.ones((256, 256), bool)
    others[64:128, 64:128] = False
    decoded = np.asarray(codec.decode_damaged(lost(tiled)).image)
    before, after = (
        psnr(image[others][None], tiled.rgb[others][None]) for image in (tiled.decoded, decoded)
    )

    assert before - 1 < after < before


def test_a_file_cut_behind_its_coarse_part_is_a_picture(codec):
    rgb = smooth_picture(70, 90)
    data = codec.encode(rgb, 70)
    found = codec.decode_damaged(data[:-5])

    assert found.states == (COARSE,)
    assert found.image.size == (90, 70)


def test_wrong_words_behind_right_checksums_are_concealed_too(codec):
    header, (tile,), *_ = unpack(codec.encode(smooth_picture(64, 64), 50))
    other = unpack(codec.encode(smooth_picture(64, 64, 5), 50)).tiles[0]
    fine = codec.decode_damaged(pack(header, [Segments(tile.coarse, other.fine)]))

    assert fine.states == (COARSE,)
    with pytest.raises(CorruptError, match="not one is left"):
        codec.decode_damaged(pack(header, [Segments(tile.fine, tile.fine)]))


def test_nothing_left_is_an_error(codec):
    data = codec.encode(smooth_picture(40, 40))
    with pytest.raises(CorruptError, match="nothing to decode"):
        codec.decode_damaged(data[:25])


def test_a_damaged_file_of_another_model_is_refused(codec):
    header, tiles, *_ = unpack(codec.encode(smooth_picture(20, 20)))
    foreign = pack(container.Header(b"\1" * 8, 0, 20, 20), tiles)
    assert header.model_id != b"\1" * 8
    with pytest.raises(UnknownModelError):
        codec.decode_damaged(foreign[:-3])


def dressed(codec: Codec) -> bytes:
    rgb = smooth_picture(30, 40)
    alpha = np.arange(1200).reshape(30, 40).clip(0, 255).astype(np.uint8)
    return codec.encode(Picture(rgb, alpha, Metadata(xmp=b"<x:xmpmeta/>")))


def test_sound_alpha_and_metadata_are_kept_beside_damaged_tiles(codec):
    data = dressed(codec)
    place = data.index(b"ALPH") - 6
    image = codec.decode_damaged(flipped(data, place)).image

    assert image.mode == "RGBA"
    assert np.asarray(image)[..., 3].max() == 255
    assert image.info["xmp"] == b"<x:xmpmeta/>"


def test_damaged_alpha_is_left_out_and_named(codec):
    data = dressed(codec)
    found = codec.decode_damaged(flipped(data, data.index(b"ALPH") + 40))

    assert found.image.mode == "RGB"
    assert found.image.info["xmp"] == b"<x:xmpmeta/>"
    assert found.notices == ("the file's end is damaged: alpha or metadata may be lost",)


def test_sound_chunks_with_wrong_contents_are_left_out_and_named(codec):
    header, tiles, *_ = unpack(codec.encode(smooth_picture(30, 40)))
    chunks = [container.Chunk(b"ALPH", b"no PNG"), container.Chunk(b"xmpp", b"\7")]
    notices = codec.decode_damaged(pack(header, tiles, chunks)).notices

    assert [notice.partition(":")[0] for notice in notices] == ["XMP left out", "alpha left out"]


def test_notices_count_tiles_from_one_and_join_ranges():
    states = [WHOLE] * 9
    for number in (2, 4, 5, 6):
        states[number - 1] = LOST

    assert tile_notices(states) == ("4 of 9 tiles lost, and made up from the others: 2, 4-6",)
    assert tile_notices([WHOLE]) == ()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 5), (16, 16), (33, 18)])
def test_what_is_known_stays_and_the_rest_is_between(shape):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(*shape, 3)).astype(np.float32)
    known = rng.random(shape) < 0.4
    known[0, 0] = True
    filled = extend(values, known)

    assert np.array_equal(filled[known], values[known])
    assert (filled >= values[known].min(0) - 1e-6).all()
    assert (filled <= values[known].max(0) + 1e-6).all()


def test_a_flat_neighbourhood_is_continued_flat():
    known = np.ones((24, 24), bool)
    known[4:20, 4:20] = False
    values = np.where(known, 3.0, np.nan).astype(np.float32)[..., None]

    assert np.allclose(extend(values, known), 3.0)


def test_a_large_gap_in_a_slope_is_continued_as_the_slope():
    y, x = np.mgrid[:200, :220]
    values = (x + 2 * y).astype(np.float32)[..., None]
    known = np.ones(values.shape[:2], bool)
    known[60:140, 70:150] = False

    assert np.abs(extend(values, known) - values).max() < 1


def test_pillow_decodes_damaged_files_if_told_to(codec, installed, tmp_path, monkeypatch):
    path = tmp_path / "cut.vqc"
    path.write_bytes(dressed(codec)[:-20])
    assert pillow_plugin.FORMAT == "VQC"
    with Image.open(path) as image, pytest.raises(OSError, match="expected"):
        image.load()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        image.load()
        assert image.size == (40, 30)
        assert np.array_equal(np.asarray(image), np.asarray(codec.decode(dressed(codec))))
