"""Pictures at 1/2, 1/4 and 1/8 of their size, quick and as means of the whole picture."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from conftest import smooth_picture
from vqcodec.bitstream import container
from vqcodec.cli import main
from vqcodec.codec import Codec
from vqcodec.engine import downscaled, tiling
from vqcodec.errors import CorruptError
from vqcodec.geometry import SCALES, Rectangle
from vqcodec.image import pixels
from vqcodec.image.metadata import Metadata
from vqcodec.metrics import psnr
from vqcodec.pillow_plugin import VqcImageFile

EXIF_TURNED = Image.Exif()
EXIF_TURNED[0x0112] = 6


def means(image: Image.Image, scale: int) -> np.ndarray:
    """By the definition, one block after the other."""
    whole = np.asarray(image).reshape(image.height, image.width, -1).astype(float)
    return np.array([
        [whole[y : y + scale, x : x + scale].mean((0, 1)) for x in range(0, image.width, scale)]
        for y in range(0, image.height, scale)
    ])  # fmt: skip


@pytest.fixture(scope="module")
def flat(codec) -> Iterator[Codec]:
    """A model whose decoder has no residual blocks: what is quick is exact."""
    own = Codec(codec.model, "cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            own.engine, "synthesise", lambda y, level, *_: own.engine.synthesise_affine(y, level)
        )
        yield own


@pytest.fixture(scope="module")
def in_tiles(codec) -> bytes:
    """A file of 3x4 tiles of 64 pixels, the last ones cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container, "choose_tile_log2", lambda width, height: 2)
        return codec.encode(smooth_picture(186, 201), 60, effort=1)


@pytest.mark.parametrize("shape", [(1, 1), (7, 30), (64, 33), (80, 112)])
def test_a_side_is_rounded_up(codec, shape):
    for scale in SCALES:
        height, width = shape
        image = codec.decode(codec.encode(smooth_picture(*shape), effort=1), scale=scale)

        assert image.size == (-(-width // scale), -(-height // scale))


def test_half_the_size_is_the_mean_of_the_picture(codec, in_tiles):
    found = np.asarray(codec.decode(in_tiles, scale=2)).astype(float)

    assert np.abs(found - means(codec.decode(in_tiles), 2)).max() <= 0.5


def all_passes(monkeypatch) -> None:
    """Decode all channels, so that only the residual blocks are left out."""
    monkeypatch.setattr(downscaled, "_passes", lambda prior, scale: len(prior.passes))


@pytest.mark.parametrize("scale", [4, 8])
def test_without_residual_blocks_the_quick_way_gives_the_means(flat, in_tiles, scale, monkeypatch):
    """Of whole blocks: others have pixels that the picture has not."""
    all_passes(monkeypatch)
    found = np.asarray(flat.decode(in_tiles, scale=scale)).astype(float)
    file, side = container.unpack(in_tiles), 64 // scale
    latents = tiling.read_tile(flat.engine, file, 0, Rectangle(0, 0, 4, 4)).latents
    decoded = 255 * flat.engine.synthesise(latents, file.header.level)
    expected = decoded.reshape(side, scale, side, scale, 3).mean((1, 3)).clip(0, 255)

    assert np.abs(found[:side, :side] - expected).max() <= 0.51


@pytest.mark.parametrize("scale", [4, 8])
def test_the_default_model_decodes_close_to_the_reduced_picture(scale):
    codec = Codec.load(device="cpu")
    data = codec.encode(smooth_picture(160, 192), 50, effort=1)
    expected = np.rint(means(codec.decode(data), scale)).astype(np.uint8)
    found = np.asarray(codec.decode(data, scale=scale))

    assert psnr(found, expected) > 30


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_a_crop_is_cut_before_it_is_reduced(codec, in_tiles, scale):
    whole = np.asarray(codec.decode(in_tiles, scale=scale))
    part = codec.decode(in_tiles, crop=(64, 40, 96, 100), scale=scale)

    assert part.size == (96 // scale, -(-100 // scale))
    rows = 100 // scale  # a last one would be of less
    expected = whole[40 // scale :, 64 // scale :][:rows, : 96 // scale].astype(int)
    assert np.abs(np.asarray(part)[:rows] - expected).max() <= 1


def test_a_crop_between_blocks_is_the_mean_of_its_pixels(codec, in_tiles):
    crop = (3, 5, 50, 41)
    found = np.asarray(codec.decode(in_tiles, crop=crop, scale=8)).astype(float)

    assert np.abs(found - means(codec.decode(in_tiles, crop=crop), 8)).max() <= 0.5


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_alpha_is_reduced_and_metadata_stay(codec, scale):
    rgb = smooth_picture(37, 50)
    alpha = (np.arange(37 * 50).reshape(37, 50) // 8).astype(np.uint8)
    exif = EXIF_TURNED.tobytes()
    picture = pixels.Picture(rgb, alpha, Metadata(exif=exif, xmp=b"<x/>"))
    data = codec.encode(picture, effort=1)
    whole, found = codec.decode(data), codec.decode(data, scale=scale)

    assert found.mode == "RGBA"
    expected = means(whole, scale)[..., 3]
    assert np.abs(np.asarray(found)[..., 3].astype(float) - expected).max() <= 0.5
    assert found.info == whole.info


def test_grey_stays_grey(codec):
    data = codec.encode(Image.fromarray(smooth_picture(40, 56)).convert("L"), effort=1)

    assert [codec.decode(data, scale=scale).mode for scale in SCALES] == ["L"] * 4


def test_the_quick_way_reads_only_the_tiles_that_it_needs(codec, in_tiles, monkeypatch):
    calls, decode = [], codec.engine.tiles.decode_start
    monkeypatch.setattr(
        codec.engine.tiles, "decode_start", lambda *a: calls.append(a) or decode(*a)
    )
    monkeypatch.setattr(codec.engine.tiles, "decode", None)
    codec.decode(in_tiles, crop=(64, 64, 64, 65), scale=8)

    tiles = container.unpack(in_tiles).tiles
    assert [call[0] for call in calls] == [tiles[5], tiles[9]]


def test_strips_come_before_the_last_tile_is_decoded(codec, in_tiles, monkeypatch):
    calls, decode = [], codec.engine.tiles.decode_start
    monkeypatch.setattr(
        codec.engine.tiles, "decode_start", lambda *a: calls.append(a) or decode(*a)
    )
    next(codec.decode_strips(in_tiles, scale=8).rows)

    assert len(calls) == 4


def test_wrong_words_behind_right_checksums_are_an_error(codec):
    header, (tile,), *_ = container.unpack(codec.encode(smooth_picture(64, 64), 50, effort=1))
    data = container.pack(header, [container.Segments(tile.fine, tile.fine)])
    with pytest.raises(CorruptError):
        codec.decode(data, scale=8)


def test_damaged_pictures_are_reduced_too(codec, in_tiles):
    data = in_tiles[:-20]
    whole, found = codec.decode_damaged(data), codec.decode_damaged(data, scale=8)

    assert found.states == whole.states
    assert np.abs(np.asarray(found.image) - means(whole.image, 8)).max() <= 0.5


@pytest.mark.parametrize("scale", [0, 3, 16])
def test_other_scales_are_value_errors(codec, in_tiles, scale):
    with pytest.raises(ValueError, match="expected one of 1, 2, 4, 8"):
        codec.decode(in_tiles, scale=scale)


def test_the_command_takes_a_fraction(tmp_path, monkeypatch, codec, model_folder, in_tiles):
    monkeypatch.chdir(tmp_path)
    Path("a.vqc").write_bytes(in_tiles)
    line = ["decode", "a.vqc", "--model", str(model_folder), "--scale"]
    done = CliRunner().invoke(main, [*line, "1/8", "-o", "b.png"])

    assert done.exit_code == 0
    assert "b.png 26x24" in done.stdout
    expected = np.asarray(codec.decode(in_tiles, scale=8))
    assert np.array_equal(np.asarray(Image.open("b.png")), expected)
    assert CliRunner().invoke(main, [*line, "1/3", "-o", "c.png"]).exit_code == 2


# Pillow


def opened(data: bytes, folder: Path) -> VqcImageFile:
    (folder / "a.vqc").write_bytes(data)
    return Image.open(folder / "a.vqc")


@pytest.mark.parametrize(("size", "scale"), [((25, 20), 8), ((26, 20), 4), ((50, 46), 4)])
def test_a_draft_is_no_smaller_than_asked_for(codec, installed, in_tiles, tmp_path, size, scale):
    image = opened(in_tiles, tmp_path)
    mode, box = image.draft(None, size)

    assert (mode, box) == ("RGB", (0, 0, 201 / scale, 186 / scale))
    assert image.size == (-(-201 // scale), -(-186 // scale))
    assert np.array_equal(np.asarray(image), np.asarray(codec.decode(in_tiles, scale=scale)))


def test_a_draft_of_nearly_the_size_changes_nothing(codec, installed, in_tiles, tmp_path):
    image = opened(in_tiles, tmp_path)

    assert image.draft("L", None) is None
    assert image.draft(None, (60, 60)) is None
    assert image.size == (201, 186)
    assert np.array_equal(np.asarray(image), np.asarray(codec.decode(in_tiles)))
    assert image.draft(None, (10, 10)) is None  # too late


def test_a_thumbnail_decodes_only_what_it_needs(codec, installed, in_tiles, tmp_path, monkeypatch):
    image = opened(in_tiles, tmp_path)
    shared = Codec.shared(codec.model.id)
    monkeypatch.setattr(shared.engine.tiles, "decode", None)
    image.thumbnail((20, 20))

    assert image.size == (20, 19)
