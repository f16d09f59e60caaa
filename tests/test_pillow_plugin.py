"""The Pillow plugin, through Image.open and Image.save."""

import copy
import io
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

from conftest import GOLDEN
from vqcodec import pillow_plugin
from vqcodec.bitstream import container
from vqcodec.zoo import shipped

ROOT = Path(__file__).parents[1]


pytestmark = pytest.mark.usefixtures("installed")


@pytest.fixture
def coded(codec, picture) -> bytes:
    """A .vqc file of 112x80 pixels."""
    return codec.encode(picture)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def saved(image: Image.Image, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, "VQC", **options)
    return out.getvalue()


# Opening


def test_open_and_load_give_what_the_codec_decodes(codec, coded, tmp_path):
    path = tmp_path / "a.vqc"
    path.write_bytes(coded)
    with Image.open(path) as image:
        found = (image.format, image.mode, image.size, image.get_format_mimetype())
        pixels = np.asarray(image)

    assert found == ("VQC", "RGB", (112, 80), "image/x-vqc")
    np.testing.assert_array_equal(pixels, np.asarray(codec.decode(coded)))


def test_open_reads_the_header_only(coded):
    file = io.BytesIO(coded[: container.HEADER_BYTES_MAX])

    assert Image.open(file).size == (112, 80)


def test_neither_open_nor_load_import_torch():
    path = next(GOLDEN[shipped.OWN].glob("valid/base-*-dressed.vqc"))
    code = """if True:
        import sys
        from PIL import Image
        import vqcodec.pillow_plugin
        with Image.open(sys.argv[1]) as image:
            print(image.size, image.mode, sorted(image.info), "torch" in sys.modules)
            print("onnxruntime" in sys.modules)
            image.load()
            print("onnxruntime" in sys.modules, "torch" in sys.modules)
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)

    with Image.open(path) as image:
        expected = f"{image.size} {image.mode} {sorted(image.info)} False\nFalse\nTrue False\n"
    assert result.stdout == expected, result.stderr


def test_the_pixels_survive_the_end_of_the_file(coded, tmp_path):
    path = tmp_path / "a.vqc"
    path.write_bytes(coded)
    with Image.open(path) as image:
        image.load()
        image.load()
    path.unlink()

    image.load()[0, 0] = (1, 2, 3)
    assert image.getpixel((0, 0)) == (1, 2, 3)
    assert image.resize((7, 5)).size == (7, 5)
    assert image.copy().tobytes() == image.tobytes()


# Alpha and metadata

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0%c\0\0\0\0\0\0"  # with an orientation
XMP = b"<x:xmpmeta/>"


def test_alpha_goes_through(picture):
    source = Image.fromarray(np.dstack([picture, picture[..., 0]]))
    image = opened(saved(source))

    assert image.mode == "RGBA"
    assert np.array_equal(np.asarray(image.getchannel("A")), picture[..., 0])
    assert image.mode == "RGBA"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_the_mode_is_known_on_opening_and_stays(picture, mode):
    source = Image.fromarray(np.dstack([picture, picture[..., 0]])).convert(mode)
    image = opened(saved(source))

    assert image.mode == {"1": "L", "P": "RGBA"}.get(mode, mode)
    assert (
        np.asarray(image).shape[2:] == {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}[image.mode]
    )


def test_damaged_alpha_is_an_os_error_on_loading(codec, coded):
    header, tiles, *_ = container.unpack(coded)
    image = opened(container.pack(header, tiles, [container.Chunk(container.ALPHA, b"text")]))

    with pytest.raises(OSError, match="ALPH"):
        image.load()


def test_metadata_is_there_on_opening(picture):
    data = saved(Image.fromarray(picture), icc_profile=ICC, exif=EXIF % 1, xmp=XMP)
    image = opened(data)

    assert image.info == {"icc_profile": ICC, "exif": EXIF % 1, "xmp": XMP}
    assert image.getexif()[0x0112] == 1
    assert image.size == (112, 80)
    image.load()
    assert image.info["icc_profile"] == ICC


def test_only_the_profile_is_saved_unasked(picture):
    image = Image.fromarray(picture)
    image.info = {"icc_profile": ICC, "exif": EXIF % 1, "xmp": XMP}

    assert opened(saved(image)).info == {"icc_profile": ICC}
    assert opened(saved(image, icc_profile=None, xmp=XMP.decode())).info == {"xmp": XMP}
    assert opened(saved(image, exif=image.getexif(), icc_profile=b"")).getexif()[0x0112] == 1
    assert image.info == {"icc_profile": ICC, "exif": EXIF % 1, "xmp": XMP}


def test_gamma_of_png_becomes_a_profile_unless_one_is_given_or_refused(picture):
    image = Image.fromarray(picture)
    image.info = {"gamma": 1.0}

    assert opened(saved(image)).info["icc_profile"][16:20] == b"RGB "
    assert opened(saved(image, icc_profile=ICC)).info == {"icc_profile": ICC}
    assert opened(saved(image, icc_profile=None)).info == {}


def test_a_grey_image_has_no_profile_of_rgb_pixels(picture):
    out = io.BytesIO()
    opened(saved(Image.fromarray(picture[..., 0]), icc_profile=ICC)).save(out, "PNG")

    assert opened(out.getvalue()).info["icc_profile"][16:20] == b"GRAY"


def test_orientation_is_applied_and_reset(picture):
    own = Image.fromarray(picture)
    own.info["exif"] = EXIF % 6
    asked = opened(saved(Image.fromarray(picture), exif=EXIF % 6))

    assert opened(saved(own)).size == asked.size == (80, 112)
    assert asked.info["exif"] == EXIF % 1


def test_damage_behind_the_header_of_a_file_with_chunks_is_told_on_loading(picture):
    data = saved(Image.fromarray(picture), xmp=XMP)
    image = opened(data[:-1] + bytes([data[-1] ^ 1]))

    assert image.info == {}
    with pytest.raises(OSError, match="chunk"):
        image.load()


# Saving


def test_save_writes_what_the_codec_encodes(codec, picture, tmp_path):
    path = tmp_path / "a.vqc"
    Image.fromarray(picture).save(path, quality=70)

    assert path.read_bytes() == codec.encode(picture, 70)
    assert saved(Image.fromarray(picture)) == codec.encode(picture)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "I;16"])
def test_save_takes_any_mode(picture, mode):
    image = Image.fromarray(picture)
    image = image.convert("L").convert(mode) if mode == "I;16" else image.convert(mode)

    assert opened(saved(image)).size == (112, 80)


@pytest.mark.parametrize("quality", [-1, 101, float("nan")])
def test_a_quality_out_of_range_is_a_value_error_and_leaves_no_file(picture, tmp_path, quality):
    path = tmp_path / "a.vqc"
    with pytest.raises(ValueError, match=r"expected 0\.\.100"):
        Image.fromarray(picture).save(path, quality=quality)
    assert not path.exists()


def test_save_without_a_model_is_an_os_error(picture, monkeypatch):
    def none():
        raise shipped.UnknownModelError("no model is installed")

    monkeypatch.setattr(shipped, "default_name", none)
    with pytest.raises(OSError, match="no model is installed"):
        saved(Image.fromarray(picture))


# Files that are not ours, and damage


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_other_formats_still_open(picture, format):
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format)

    assert opened(out.getvalue()).format == format


@pytest.mark.parametrize("data", [b"", b"\x89VQ", b"\x89VQD" + bytes(30), b"text" * 9])
def test_what_is_no_vqc_file_is_unidentified(data):
    with pytest.raises(UnidentifiedImageError):
        opened(data)
    with pytest.raises(SyntaxError):
        pillow_plugin.VqcImageFile(io.BytesIO(data))


def test_damage_is_an_os_error_with_our_message(coded):
    for damaged in (coded[:-1] + bytes([coded[-1] ^ 1]), coded[:-9], coded + b"x"):
        for act in (Image.Image.load, Image.Image.verify):
            image = opened(damaged)
            assert image.size == (112, 80)
            with pytest.raises(OSError, match="at offset"):
                getattr(image, act.__name__)()


def test_a_damaged_header_is_an_os_error_on_opening(coded):
    with pytest.raises(OSError, match="header has checksum"):
        opened(coded[:9] + b"\0\0" + coded[11:])
    with pytest.raises(OSError, match="file ends"):
        opened(coded[:12])
    with pytest.raises(OSError, match="format version 15"):
        opened(coded[:4] + b"\xf0" + coded[5:])


def test_an_unknown_model_is_an_os_error_on_loading(coded):
    header, tiles, *_ = container.unpack(coded)
    foreign = container.pack(replace(header, model_id=b"\1" * 8), tiles)
    image = opened(foreign)

    with pytest.raises(OSError, match="0101010101010101"):
        image.load()
    opened(foreign).verify()


def test_verify_passes_a_sound_file(coded):
    opened(coded).verify()


def test_the_size_limit_of_pillow_holds(coded, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 112 * 80 - 1)
    with pytest.warns(Image.DecompressionBombWarning):
        opened(coded)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(Image.DecompressionBombError):
        opened(coded)


# Strangers' ways to use Pillow


def in_pieces(data: bytes, size: int = 11) -> ImageFile.Parser:
    """As Django feeds an upload to find its size."""
    parser = ImageFile.Parser()
    for start in range(0, len(data), size):
        parser.feed(data[start : start + size])
    return parser


def test_a_file_that_comes_in_pieces_has_a_size_early_and_pixels_at_the_end(codec, picture):
    source = Image.fromarray(np.dstack([picture, picture[..., 0]]))
    data = saved(source, xmp=XMP)
    image = in_pieces(data).close()

    assert in_pieces(data[: container.HEADER_BYTES_MAX]).image.size == (112, 80)
    assert (image.mode, image.info["xmp"]) == ("RGBA", XMP)
    assert np.array_equal(np.asarray(image), np.asarray(codec.decode(data)))


@pytest.mark.parametrize("size", [3, 12, -9])
def test_a_file_that_is_cut_short_in_pieces_is_an_os_error(coded, size):
    parser = in_pieces(coded[:size])

    assert (parser.image is None) == (size > 0)
    with pytest.raises(OSError, match=r"cannot parse|cannot identify|at offset"):
        parser.close()


def test_verify_may_come_after_load_and_before_another_open(coded):
    file = io.BytesIO(coded)
    Image.open(file).verify()
    file.seek(0)
    image = Image.open(file)
    image.load()
    image.verify()

    assert image.getpixel((0, 0)) == opened(coded).getpixel((0, 0))


def test_a_file_that_was_closed_or_verified_is_an_os_error_on_loading(coded, tmp_path):
    path = tmp_path / "a.vqc"
    path.write_bytes(coded)
    with Image.open(path) as closed:
        pass
    verified = Image.open(path)
    verified.verify()

    for image in (closed, verified):
        with pytest.raises(OSError, match="closed before its pixels were loaded"):
            image.load()


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda i: pickle.loads(pickle.dumps(i))]
)
def test_an_opened_image_is_copied_and_pickled_with_its_pixels(codec, coded, again):
    image = opened(coded)
    other = again(image)

    assert np.array_equal(np.asarray(other), np.asarray(codec.decode(coded)))
    assert np.array_equal(np.asarray(image), np.asarray(other))


# Hugging Face datasets


def test_the_format_can_be_opened_and_saved_by_its_name(coded):
    """What the Image feature of datasets asks: a picture is written in the format it came in."""
    image = opened(coded)
    again = opened(saved(image))

    assert image.format in Image.OPEN
    assert image.format in Image.SAVE
    assert (again.format, again.size) == ("VQC", image.size)


@pytest.mark.filterwarnings("ignore")  # of that package
def test_the_image_feature_of_datasets_round_trips(codec, coded):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image()})
    rows = [{"bytes": coded, "path": None}]
    column = datasets.Dataset.from_dict({"image": rows}, features=features)
    image = column[0]["image"]

    assert (image.format, image.size) == ("VQC", (112, 80))
    assert np.array_equal(np.asarray(image), np.asarray(codec.decode(coded)))
    stored = datasets.Image().encode_example(image)["bytes"]
    assert stored.startswith(container.MAGIC)
