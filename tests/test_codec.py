"""Pictures -> files -> indices and pictures, through the library."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import vqcodec
from conftest import smooth_picture
from vqcodec.bitstream import container
from vqcodec.codec import Codec
from vqcodec.engine.search import Search
from vqcodec.engine.torch import runtime
from vqcodec.errors import (
    CorruptError,
    FormatError,
    ImageTooLargeError,
    UnknownModelError,
    VqcodecError,
)
from vqcodec.image import pixels
from vqcodec.image.metadata import Metadata


@contextlib.contextmanager
def without_onednn():
    """torch.backends.mkldnn.flags warns about TF32 on every use, so only its switch is used."""
    enabled = torch._C._get_mkldnn_enabled()
    try:
        torch._C._set_mkldnn_enabled(False)
        yield
    finally:
        torch._C._set_mkldnn_enabled(enabled)


SIZES = [(1, 1), (500, 1), (31, 17), (256, 256), (1023, 511)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_indices_survive_the_file(codec, height, width):
    rgb = smooth_picture(height, width)
    data = codec.encode(rgb, 60)

    assert np.array_equal(codec.encode_indices(rgb, 60).indices, codec.read_indices(data).indices)
    assert codec.decode(data).size == (width, height)


def test_indices_have_the_documented_shape(codec, picture):
    indices = codec.encode_indices(picture)

    assert indices.indices.dtype == np.int32
    assert indices.indices.shape == (5, 7, 32)
    assert (indices.width, indices.height) == (112, 80)


def test_channels_that_a_level_does_not_code_have_no_words(codec, picture):
    low, high = (codec.encode_indices(picture, quality) for quality in (20, 90))

    assert (low.indices[..., 20:] == -1).all()
    assert (high.indices[..., 20:] != -1).any()
    assert np.array_equal(codec.read_indices(codec.write_indices(low)).indices, low.indices)


def test_painting_indices_equals_decoding_their_file(codec, picture):
    data = codec.encode(picture, 70)
    indices = codec.read_indices(data)

    assert codec.decode_indices(indices).tobytes() == codec.decode(data).tobytes()
    assert codec.write_indices(indices) == data


def test_decoding_is_much_closer_than_a_flat_picture(codec, picture):
    """The random model has a real linear path, so pictures come back, if roughly."""
    painted = np.asarray(codec.decode(codec.encode(picture, 100))).astype(float)
    error = ((painted - picture) ** 2).mean()

    assert error < ((picture - picture.mean((0, 1))) ** 2).mean()


def test_a_higher_quality_takes_more_bytes(codec, picture):
    sizes = [len(codec.encode(picture, quality)) for quality in (0, 30, 60, 100)]

    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize("quality", [-1, 100.5, float("nan")])
def test_a_quality_out_of_range_is_a_value_error(codec, picture, quality):
    with pytest.raises(ValueError, match="quality"):
        codec.encode(picture, quality)


def test_the_same_picture_gives_the_same_bytes_from_any_kind_of_source(codec, tmp_path, picture):
    path = tmp_path / "a.png"
    Image.fromarray(picture).save(path)
    expected = codec.encode(picture)

    for source in (path, str(path), path.read_bytes(), Image.open(path), path.open("rb")):
        assert codec.encode(source) == expected
        if hasattr(source, "close"):
            source.close()


def with_alpha(picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 4]: transparent, opaque and all between."""
    height, width = picture.shape[:2]
    ramp = np.linspace(-100, 400, height * width).clip(0, 255).astype(np.uint8)
    return np.dstack([picture, ramp.reshape(height, width)])


def test_alpha_survives_the_file_pixel_for_pixel(codec, picture):
    rgba = with_alpha(picture)
    data = codec.encode(rgba, 40)
    painted = codec.decode(data)

    assert painted.mode == "RGBA"
    assert np.array_equal(np.asarray(painted)[..., 3], rgba[..., 3])
    bare = codec.decode(codec.encode(picture, 40))
    assert np.array_equal(np.asarray(painted)[..., :3], np.asarray(bare))
    assert np.array_equal(codec.read_indices(data).indices, codec.encode_indices(rgba, 40).indices)


def test_opaque_alpha_is_not_stored(codec, picture):
    opaque = np.dstack([picture, np.full_like(picture[..., 0], 255)])

    assert codec.encode(opaque) == codec.encode(picture)


@pytest.mark.parametrize(
    ("mode", "quality"), [("L", 0), ("L", 50), ("L", 100), ("LA", 50), ("I;16", 50), ("F", 50)]
)
def test_a_grey_picture_decodes_to_grey_in_the_bytes_of_the_same_as_rgb(
    codec, picture, mode, quality
):
    grey = picture[..., 1]
    source = Image.fromarray(
        {"I;16": grey * np.uint16(257), "F": grey / np.float32(255)}.get(mode, grey)
    )
    if mode == "LA":
        source.putalpha(Image.fromarray(picture[..., 0]))
    assert source.mode == mode
    data = codec.encode(source, quality)
    painted = codec.decode(data)
    as_rgb = np.dstack([grey] * 3 + [picture[..., 0]] * (mode == "LA"))
    colour = np.asarray(codec.decode(codec.encode(as_rgb, quality))).astype(float)

    in_header = 2 if mode == "I;16" else 0  # features and depth
    assert len(data) <= len(codec.encode(as_rgb, quality)) + in_header
    assert painted.mode == ("LA" if mode == "LA" else "L")
    inside = ((colour[..., :3] > 0) & (colour[..., :3] < 255)).all(2)
    difference = np.asarray(painted.getchannel(0)) - colour[..., :3].mean(2)
    assert np.abs(difference[inside]).max() <= 1


def test_grey_survives_as_indices(codec, picture):
    data = codec.encode(picture[..., 1])
    indices = codec.read_indices(data)

    assert indices.grey
    assert codec.write_indices(indices) == data
    assert np.array_equal(codec.decode_indices(indices), codec.decode(data))
    assert not codec.read_indices(codec.encode(picture)).grey


@pytest.mark.parametrize("mode", ["LA", "PA", "P", "La", "RGBa"])
def test_every_mode_with_transparency_keeps_it(codec, picture, mode):
    rgba = Image.fromarray(with_alpha(picture))
    if mode == "P":
        image = rgba.convert("RGB").convert("P")
        image.info["transparency"] = bytes(range(256))
    else:
        image = (rgba if mode == "RGBa" else rgba.convert("LA")).convert(mode)
    if mode == "PA":
        image.putalpha(rgba.getchannel("A"))
    expected = np.asarray(pixels.load(image).alpha)

    assert len(np.unique(expected)) > 10
    assert np.array_equal(np.asarray(codec.decode(codec.encode(image)))[..., -1], expected)


def test_alpha_of_another_size_is_refused(codec, picture):
    small = container.unpack(codec.encode(with_alpha(picture[:40])))
    header, tiles, *_ = container.unpack(codec.encode(picture))

    with pytest.raises(CorruptError, match="112x80"):
        codec.decode(container.pack(header, tiles, small.chunks))


def test_every_byte_flipped_behind_the_tiles_is_an_error(codec):
    rgb = smooth_picture(20, 30)
    start = len(codec.encode(rgb))
    data = codec.encode(pixels.Picture(rgb, rgb[..., 0], Metadata(xmp=b"<x:xmpmeta/>")))
    for place in range(start, len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(FormatError):
            codec.decode(bytes(damaged))


def test_tiles_are_coded_apart_and_joined(codec, monkeypatch):
    """A picture cut into tiles of 4 latents is as close to its source as one tile."""
    rgb = smooth_picture(150, 200)
    whole = codec.encode(rgb, 80)
    monkeypatch.setattr(container, "choose_tile_log2", lambda width, height: 2)
    tiled = codec.encode(rgb, 80)

    assert container.read_header(tiled).tile_log2 == 2
    assert len(container.unpack(tiled).tiles) == 12
    assert np.array_equal(codec.encode_indices(rgb, 80).indices, codec.read_indices(tiled).indices)
    monkeypatch.undo()
    far = [np.abs(np.asarray(codec.decode(d)).astype(float) - rgb).mean() for d in (whole, tiled)]
    assert far[1] < 1.05 * far[0]


def test_every_single_bit_flip_is_an_error_of_our_tree(codec):
    data = codec.encode(smooth_picture(20, 30), 20)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            container.unpack(bytes(damaged))


def test_every_truncation_is_an_error_of_our_tree(codec):
    data = codec.encode(smooth_picture(20, 30), 20)
    for size in range(len(data)):
        with pytest.raises(FormatError):
            codec.decode(data[:size])


def test_words_of_another_picture_are_found_out_behind_valid_checksums(codec):
    """rANS decodes anything: only the empty coder at the end tells."""
    header, tiles, *_ = container.unpack(codec.encode(smooth_picture(64, 64), 50))
    other = container.unpack(codec.encode(smooth_picture(64, 64, 5), 50)).tiles[0]
    mixed = container.pack(header, [container.Segments(tiles[0].coarse, other.fine)])

    with pytest.raises(CorruptError):
        codec.decode(mixed)


def test_a_file_of_another_model_is_refused(codec, picture):
    header, tiles, *_ = container.unpack(codec.encode(picture))
    foreign = replace(header, model_id=b"\1" * 8)

    with pytest.raises(UnknownModelError, match="0101010101010101"):
        codec.decode(container.pack(foreign, tiles))


def test_limits_hold_on_both_sides(codec, picture):
    with pytest.raises(ImageTooLargeError):
        codec.encode(picture, max_pixels=1000)
    with pytest.raises(ImageTooLargeError):
        codec.decode(codec.encode(picture), max_pixels=1000)


def test_an_encoder_refuses_the_tiles_that_its_decoder_would(codec, monkeypatch):
    rgb = np.full((64, 128, 3), 90, np.uint8)  # two tiles: 32,768 pixels by the count of tiles
    monkeypatch.setattr(container, "choose_tile_log2", lambda width, height: 2)
    data = codec.encode(rgb, max_pixels=2**15)

    assert codec.decode(data, max_pixels=2**15).size == (128, 64)
    for code in (codec.decode, codec.decode_damaged, codec.read_indices, codec.read_tables):
        with pytest.raises(ImageTooLargeError, match="2 tiles"):
            code(data, max_pixels=2**15 - 1)
    for code in (codec.encode, codec.encode_indices):
        with pytest.raises(ImageTooLargeError, match="2 tiles"):
            code(rgb, max_pixels=2**15 - 1)


def test_indices_of_a_wrong_shape_or_range_are_refused(codec, picture):
    indices = codec.encode_indices(picture)
    with pytest.raises(ValueError, match="expected"):
        codec.decode_indices(indices._replace(indices=indices.indices[1:]))
    with pytest.raises(ValueError, match="index"):
        codec.decode_indices(indices._replace(indices=np.full_like(indices.indices, -5)))


def test_a_device_that_computes_the_prior_in_another_way_is_refused(codec):
    codec.engine._check_exact()
    other = Codec(codec.model, "cpu").engine
    for parameter in other.network.prior.parameters():
        parameter.mul_(1.01)

    with pytest.raises(VqcodecError, match="device cpu does not compute the prior exactly"):
        other._check_exact()


@pytest.mark.parametrize("quality", [0, 50, 100])
def test_engines_threads_and_backends_decode_the_same_indices(codec, quality):
    data = codec.encode(smooth_picture(130, 190), quality)
    expected = codec.read_indices(data).indices
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert np.array_equal(codec.read_indices(data).indices, expected)
            with without_onednn():
                assert np.array_equal(codec.read_indices(data).indices, expected)
    finally:
        torch.set_num_threads(threads)
    with pytest.MonkeyPatch.context() as patch:  # as where float32 may be rounded further
        patch.setattr(runtime, "float32_is_exact", lambda device: False)
        assert codec.engine.tiles.dtype == torch.float64
        assert np.array_equal(codec.read_indices(data).indices, expected)


def test_payload_is_as_short_as_the_prior_says(codec):
    rgb = smooth_picture(512, 512)
    tile = next(codec._encode(rgb, 60, Search(1, "mse"), 10**9)[1])
    spent = 8 * sum(len(part) for part in tile.segments)

    assert spent <= 1.01 * codec.engine.tiles.bits(tile) + 128
    assert container.overhead(codec.encode(rgb, 60)) <= 32


def test_package_exports_are_lazy_and_complete():
    assert set(vqcodec.__all__) <= set(dir(vqcodec)) | {"Codec", "Header", "Indices"}
    assert vqcodec.Codec is Codec
    with pytest.raises(AttributeError):
        vqcodec.nonesuch  # noqa: B018
