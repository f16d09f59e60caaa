"""Exact parts: text and drawings without loss, beside what the networks code."""

from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import vqcodec
from conftest import exact_pixels_of, page, smooth_picture
from vqcodec.bitstream import container
from vqcodec.bitstream.container import Exact
from vqcodec.bitstream.exact_part import stream_start
from vqcodec.cli import main, options
from vqcodec.codec import Codec
from vqcodec.compare import bit_allocation
from vqcodec.engine import exact_blocks, exact_tiles
from vqcodec.engine.exact_pixels import exact_share
from vqcodec.errors import CorruptError, ImageTooLargeError, NoIndicesError
from vqcodec.image import webp_lossless
from vqcodec.image.fewer_colours import reduce
from vqcodec.image.pixels import Picture
from vqcodec.image.strips import shrink
from vqcodec.metrics import psnr
from vqcodec.zoo import weights


def mixed(height: int, width: int) -> np.ndarray:
    """Text in the left half, something like a photograph in the right one."""
    rgb = page(height, width)
    rgb[:, width // 2 :] = smooth_picture(height, width - width // 2, 3)
    return rgb


@pytest.fixture(scope="module")
def onnx() -> Codec:
    return Codec.load(None, "onnx")


@pytest.fixture(scope="module")
def tiled(onnx) -> tuple[np.ndarray, bytes]:
    """A mixed page in 20 tiles, and its file, of which some tiles are learned alone, some wholly
    exact."""
    rgb = mixed(200, 330)
    rgb[128:192, :64] = smooth_picture(64, 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container, "choose_tile_log2", lambda width, height: 2)
        patch.setattr(exact_blocks, "BLOCK_LOG2", 4)
        return rgb, onnx.encode(rgb, 60)


# What is written


def test_what_is_exact_alone_asks_for_no_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "read_parts", None)
    weights.load_shipped.cache_clear()
    options.load_codec.cache_clear()
    Image.fromarray(page(40, 60)).save(tmp_path / "a.png")
    (png, vqc, back), run = (
        (str(tmp_path / name) for name in ("a.png", "a.vqc", "b.png")),
        CliRunner(),
    )
    encoded = run.invoke(main, ["encode", png, "-o", vqc, "--lossless", "-v", "--device", "onnx"])
    decoded = run.invoke(main, ["decode", vqc, "-o", back, "-v"])

    assert (encoded.exit_code, decoded.exit_code) == (0, 0), encoded.output + decoded.output
    assert np.array_equal(np.asarray(Image.open(back)), page(40, 60))
    assert np.array_equal(np.asarray(vqcodec.decode(vqc, device="onnx")), page(40, 60))


def test_of_a_mixed_page_the_text_is_exact_and_the_photograph_is_not(onnx):
    rgb = mixed(256, 384)
    data = onnx.encode(rgb, 75)
    decoded, where = np.asarray(onnx.decode(data)), exact_pixels_of(data)

    assert container.read_header(data).version == 2
    assert (decoded[:, :192] == rgb[:, :192]).all()
    assert not where[:, 192:].any()
    assert psnr(decoded[:, 192:], rgb[:, 192:]) > 30


def test_a_mixed_page_takes_few_of_the_learned_bits_at_equal_closeness_of_the_text(onnx):
    """At most 60 %, whatever the quality; the photograph is as close as it was."""
    rgb = mixed(192, 256)
    for quality in (10, 50):
        data = onnx.encode(rgb, quality)
        decoded = np.asarray(onnx.decode(data))
        for other in range(quality, 101, 15):
            learned = onnx.encode(rgb, other, exact=False)
            again = np.asarray(onnx.decode(learned))
            if other == quality:
                least = psnr(again[:, 128:], rgb[:, 128:]) - 0.1
            if psnr(again[:, :128], rgb[:, :128]) >= psnr(decoded[:, :128], rgb[:, :128]):
                break

        assert len(data) <= 0.6 * len(learned)
        assert psnr(decoded[:, 128:], rgb[:, 128:]) > least


def test_size_and_closeness_grow_with_quality(onnx):
    rgb = mixed(128, 256)
    files = [onnx.encode(rgb, quality) for quality in (0, 20, 40, 55, 65, 74, 75, 100)]
    sizes = [len(data) for data in files]
    close = [psnr(np.asarray(onnx.decode(data)), rgb) for data in files]

    assert sizes == sorted(sizes)
    assert all(after > before - 0.05 for before, after in pairwise(close))


def test_photographs_have_no_exact_part_and_cost_no_trial(onnx, monkeypatch):
    rgb = smooth_picture(128, 160)
    monkeypatch.setattr(exact_blocks, "_rival", None)

    assert onnx.encode(rgb, 50) == onnx.encode(rgb, 50, exact=False)
    assert not exact_blocks.may_have_text(*exact_blocks.flat_shares(rgb))


def test_a_model_with_a_task_codes_everything(codec):
    config = replace(codec.model.config, task={"name": "denoise", "sigma": 25})
    denoiser = Codec(codec.model._replace(config=config), "cpu")

    assert not container.read_header(denoiser.encode(page(96, 128), 75)).exact


# Without loss


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (37, 1), (50, 70)])
@pytest.mark.parametrize("kind", ["colour", "grey", "alpha"])
def test_without_loss_every_pixel_is_kept(codec, size, kind):
    rgb = smooth_picture(*size)
    alpha = rgb[..., 0] if kind == "alpha" else None
    picture = Picture(
        rgb[..., :1].repeat(3, 2) if kind == "grey" else rgb, alpha, grey=kind == "grey"
    )
    data = codec.encode(picture, lossless=True)
    decoded = np.asarray(vqcodec.decode(data)).reshape(*size, -1)
    expected = {"colour": rgb, "grey": rgb[..., :1], "alpha": np.dstack([rgb, rgb[..., 0]])}

    assert np.array_equal(decoded, expected[kind])
    assert vqcodec.read_header(data).learned is False


def test_a_file_without_loss_takes_no_model_to_decode(codec, monkeypatch):
    rgb = page(96, 128)
    data = codec.encode(rgb, lossless=True)
    other = Codec(codec.model._replace(id=b"another!"), "cpu")
    monkeypatch.setattr(other._engines, "pick", None)

    assert (np.asarray(other.decode(data)) == rgb).all()
    assert (np.asarray(other.decode_damaged(data).image) == rgb).all()
    assert data == other.encode(rgb, lossless=True)


def test_a_file_without_loss_has_no_indices(codec):
    data = codec.encode(page(96, 128), lossless=True)
    for read in (codec.read_indices, codec.read_tables):
        with pytest.raises(NoIndicesError, match="all pixels of the file are exact"):
            read(data)


def test_many_tiles_without_loss_and_a_crop_of_them(codec, monkeypatch):
    monkeypatch.setattr(container, "choose_tile_log2", lambda width, height: 2)
    rgb = page(150, 230)
    shares = []
    data = codec.encode(rgb, lossless=True, progress=shares.append)

    assert shares == [n / 12 for n in range(13)]
    assert (np.asarray(codec.decode(data)) == rgb).all()
    assert (np.asarray(codec.decode(data, crop=(60, 10, 90, 130))) == rgb[10:140, 60:150]).all()
    for scale in (2, 4, 8):
        assert (np.asarray(codec.decode(data, scale=scale)) == shrink(rgb, scale)).all()


# What is read


def test_exact_pixels_come_with_crops_and_scales(onnx, tiled):
    rgb, data = tiled
    where = exact_pixels_of(data)
    whole = np.asarray(onnx.decode(data))
    fewer = np.abs(whole.astype(int) - rgb)[where]

    assert 0.2 < where.mean() < 0.6
    assert fewer.max() <= 2 * exact_blocks.distance_of(60)
    for crop in ((0, 0, 330, 200), (30, 50, 100, 90), (129, 127, 2, 3)):
        x, y, width, height = crop
        part = np.asarray(onnx.decode(data, crop=crop))
        assert (part == whole[y : y + height, x : x + width])[
            where[y : y + height, x : x + width]
        ].all()
    for scale in (2, 4, 8):
        small, blocks = (
            shrink(whole, scale),
            shrink(where[..., None] * np.uint8(255), scale)[..., 0],
        )
        found = np.asarray(onnx.decode(data, scale=scale))
        assert (found == small)[blocks == 255].all()


def test_both_engines_and_strips_give_the_same_exact_pixels(onnx, tiled):
    data = tiled[1]
    where = exact_pixels_of(data)
    found = [np.asarray(c.decode(data)) for c in (onnx, Codec.load(None, "cpu"))]
    rows = np.concatenate(list(onnx.decode_strips(data).rows))

    assert (found[0] == found[1])[where].all()
    assert np.abs(found[0].astype(int) - found[1]).max() <= 1
    assert (rows == found[0]).all()


def test_tokens_are_those_of_the_learned_stream(onnx):
    data = onnx.encode(mixed(128, 192), 60)
    indices, file = onnx.read_indices(data), container.unpack(data)

    assert file.header.exact
    assert container.unpack(onnx.write_indices(indices)).tiles == file.tiles
    assert onnx.decode_indices(indices).size == (192, 128)


def test_bits_of_exact_pixels_are_on_the_map(onnx, tiled):
    header, tiles, _, exact = container.unpack(tiled[1])
    words = 8 * sum(len(tile.coarse) + len(tile.fine) for tile in tiles)
    streams = 8 * sum(len(part.stream) for part in exact if part is not None)
    lossless = onnx.encode(tiled[0], lossless=True)
    (part,) = container.unpack(lossless).exact

    assert streams <= bit_allocation.measure(onnx, tiled[1]).bits.sum() < words + streams
    assert bit_allocation.measure(onnx, lossless).bits.sum() == pytest.approx(8 * len(part.stream))
    assert exact_share(header, exact) == pytest.approx(exact_pixels_of(tiled[1]).mean())


# Damage


def test_damage_to_exact_pixels_leaves_the_networks_picture_and_all_other_tiles(onnx, tiled):
    header, tiles, chunks, exact = container.unpack(tiled[1])
    number = next(n for n, part in enumerate(exact) if part is not None)
    data = bytearray(tiled[1])
    data[data.index(exact[number].stream) + 9] ^= 1
    with pytest.raises(CorruptError, match="exact part"):
        onnx.decode(bytes(data))
    found = onnx.decode_damaged(bytes(data))
    without = container.pack(
        header, tiles, chunks, [None if n == number else e for n, e in enumerate(exact)]
    )

    assert found.notices == (f"exact pixels of 1 of {len(exact)} tiles lost: {number + 1}",)
    assert found.image == onnx.decode(without)


def test_damage_to_words_leaves_the_exact_pixels(onnx, tiled):
    _, tiles, _, exact = container.unpack(tiled[1])
    number = next(n for n, part in enumerate(exact) if part is not None)
    data = bytearray(tiled[1])
    data[data.index(tiles[number].coarse + tiles[number].fine)] ^= 1
    found, where = onnx.decode_damaged(bytes(data)), exact_pixels_of(tiled[1])

    assert found.notices[0].startswith("1 of")
    assert (np.asarray(found.image) == np.asarray(onnx.decode(tiled[1])))[where].all()


def test_a_lost_tile_of_a_file_without_loss_is_continued_from_the_others(codec, monkeypatch):
    monkeypatch.setattr(container, "choose_tile_log2", lambda width, height: 2)
    y, x = np.mgrid[:150, :200]
    rgb = np.stack([y, x, 255 - x], 2).astype(np.uint8)
    data = bytearray(codec.encode(rgb, lossless=True))
    _, _, _, exact = container.unpack(bytes(data))
    data[data.index(exact[5].stream) + 6] ^= 1
    found = codec.decode_damaged(bytes(data))
    decoded, lost = np.asarray(found.image), np.s_[64:128, 64:128]

    assert found.notices == ("1 of 12 tiles lost, and made up from the others: 6",)
    assert psnr(np.ascontiguousarray(decoded[lost]), np.ascontiguousarray(rgb[lost])) > 25
    assert (decoded[:64] == rgb[:64]).all()
    assert codec.decode_damaged(bytes(data), crop=(3, 70, 20, 9)).image.size == (20, 9)


# Hostile streams


@given(st.binary(max_size=300))
def test_any_stream_is_decoded_or_refused(codec, rest):
    header = exact_tiles.without_networks(container.Header(bytes(8), 0, 33, 20, exact=True))
    data = container.pack(header, (), (), (Exact(stream_start(33, 20) + rest),))
    for decode in (codec.decode, lambda data: codec.decode_damaged(data).image):
        with suppress(CorruptError):
            assert decode(data).size == (33, 20)


def test_a_sound_stream_that_was_changed_is_decoded_or_refused(codec):
    rgb, rng = page(64, 96), np.random.default_rng(0)
    header, _, _, (part,) = container.unpack(codec.encode(rgb, lossless=True))
    for _ in range(200):
        stream = bytearray(part.stream)
        stream[rng.integers(5, len(stream))] ^= 1 << rng.integers(8)
        cut = bytes(stream[: rng.integers(5, 2 * len(stream))])
        data = container.pack(header, (), (), (Exact(cut),))
        with suppress(CorruptError):
            assert codec.decode(data).size == (96, 64)


def test_limits_of_size_are_ours_and_that_which_pillows_user_set(codec, monkeypatch):
    data = codec.encode(page(400, 600), lossless=True)
    with pytest.raises(ImageTooLargeError, match="the limit is 200000"):
        codec.decode(data, max_pixels=200_000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150_000)  # up to twice that it would warn
    assert codec.decode(data).size == (600, 400)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with pytest.raises(ImageTooLargeError, match="exact pixels of a tile"):
        codec.decode(data)


# The parts of it


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32))
def test_maps_of_blocks_round_trip(down, across, seed):
    blocks = np.random.default_rng(seed).random((down, across)) < 0.5

    if blocks.any():
        runs = exact_blocks.runs_of(blocks)
        assert sum(runs) == blocks.size
        assert min(runs[1:]) > 0
        assert np.array_equal(exact_blocks.map_of(runs, down, across), blocks)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32))
def test_the_stream_of_any_pixels_is_within_the_limit_and_decodes_to_them(height, width, seed):
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    stream = webp_lossless.encode(rgb, webp_lossless.SMALL)

    assert stream.startswith(stream_start(width, height))
    assert len(stream) <= 4 * height * width + 2**12
    assert np.array_equal(webp_lossless.decode(stream), rgb)


def test_fewer_colours_leave_no_pixel_far_away():
    rgb = smooth_picture(64, 80)
    where = np.zeros((64, 80), bool)
    where[10:50, 20:70] = True
    fewer = reduce(rgb, where, 24)
    moved = np.sqrt(((fewer.astype(float) - rgb) ** 2).sum(2))

    assert (fewer == rgb)[~where].all()
    assert moved.max() <= 48
    assert moved[where].mean() < 24
    assert len(np.unique(fewer[where], axis=0)) < 0.2 * len(np.unique(rgb[where], axis=0))
    assert (reduce(rgb, where, 0) == rgb).all()


def test_a_fill_continues_what_is_around():
    y, x = np.mgrid[:128, :128]
    rgb = np.stack([x, y, 255 - x], 2).astype(np.uint8)
    exact = np.zeros((128, 128), bool)
    exact[32:96, 32:64] = True
    noisy = np.where(exact[..., None], 255 * (rgb % 2), rgb).astype(np.uint8)
    filled = exact_tiles.fill(noisy, exact)

    assert (filled == rgb)[~exact].all()
    assert psnr(filled, rgb) > 30
    assert len(np.unique(exact_tiles.fill(noisy, np.ones_like(exact)).reshape(-1, 3), axis=0)) == 1
