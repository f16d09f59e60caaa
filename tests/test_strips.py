"""Image files that are written strip by strip are the ones that Pillow would write at once."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from conftest import smooth_picture
from vqcodec.errors import CorruptError, OutputError
from vqcodec.image import pixels, strip_files
from vqcodec.image.metadata import Metadata
from vqcodec.image.strips import Strips

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = b"II*\0\x08\0\0\0\0\0\0\0\0\0"
METADATA = Metadata(PROFILE, EXIF, b"<x:xmpmeta>IDAT</x:xmpmeta>")


def in_strips(whole: np.ndarray, *counts: int, metadata: Metadata = METADATA) -> Strips:
    rows = np.split(whole, np.cumsum(counts))
    return Strips(whole.shape[1], whole.shape[0], whole.shape[2], metadata, iter(rows))


def picture(height: int, width: int, channels: int) -> np.ndarray:
    rgb = smooth_picture(height, width)
    return rgb if channels == 3 else np.dstack([rgb, rgb[..., 0]])


SHAPES = [(1, 1, 3), (1, 1, 4), (5, 1, 3), (61, 37, 3), (61, 37, 4), (900, 700, 3), (4, 70000, 4)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_pixels_of_png_are_read_back(shape):
    whole, out = picture(*shape), io.BytesIO()
    strip_files.save(in_strips(whole, *((1, 2) if shape[0] > 3 else ())), out, "png")
    with Image.open(out) as image:
        assert image.mode == ("RGB" if shape[2] == 3 else "RGBA")
        assert np.array_equal(np.asarray(image), whole)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("format", ["png", "ppm", "jpeg", "webp"])
def test_metadata_and_notices_are_those_of_pixels(format, channels):
    whole = picture(20, 30, channels)
    ours, theirs = io.BytesIO(), io.BytesIO()
    notices = strip_files.save(in_strips(whole, 7), ours, format)
    alpha = whole[..., 3] if channels == 4 else None
    expected = pixels.save(pixels.Picture(whole[..., :3], alpha, METADATA), theirs, format)

    assert notices == expected
    with Image.open(ours) as a, Image.open(theirs) as b:
        assert np.array_equal(np.asarray(a), np.asarray(b))
        assert pixels.load(a).metadata == pixels.load(b).metadata
        assert a.info == b.info


def test_a_photograph_takes_no_more_bytes_than_pillow_needs():
    whole, theirs, ours = picture(200, 300, 3), io.BytesIO(), io.BytesIO()
    Image.fromarray(whole).save(theirs, "PNG")
    strip_files.save(in_strips(whole, 50, metadata=Metadata()), ours, "png")

    assert ours.tell() < 1.1 * theirs.tell()


@pytest.mark.parametrize("levels", [256, 2])
def test_repetitions_make_png_small(levels):
    whole = np.random.default_rng(3).integers(0, levels, (16, 16, 3), np.uint8) * (255 // levels)
    out = io.BytesIO()
    strip_files.save(in_strips(np.tile(whole, (20, 20, 1)), metadata=Metadata()), out, "png")

    assert out.tell() < 0.1 * 20 * 20 * whole.size


@pytest.mark.parametrize("name", ["a.png", "a.ppm", "a.jpg"])
def test_damage_found_on_the_way_leaves_no_file(tmp_path, name):
    def rows():
        yield picture(4, 6, 3)
        raise CorruptError("3 words are left in the payload, expected none")

    with pytest.raises(CorruptError, match="3 words"):
        strip_files.save(Strips(6, 9, 3, Metadata(), rows()), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"kept")
    with pytest.raises(OutputError, match="exists"):
        strip_files.save(in_strips(picture(4, 6, 3)), path)
    assert path.read_bytes() == b"kept"

    strip_files.save(in_strips(picture(4, 6, 3)), path, overwrite=True)
    assert pixels.load(path).rgb.shape == (4, 6, 3)


def test_an_unknown_format_is_an_output_error():
    with pytest.raises(OutputError, match="xyz"):
        strip_files.save(in_strips(picture(4, 6, 3)), io.BytesIO(), "xyz")
