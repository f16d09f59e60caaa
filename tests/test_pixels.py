"""Pictures in and out: what a viewer shows, and a notice for what is lost."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, PngImagePlugin

from vqcodec.errors import ImageTooLargeError, InputError, OutputError
from vqcodec.image import formats
from vqcodec.image.metadata import MAX_METADATA_BYTES, Metadata
from vqcodec.image.pixels import Picture, blend, load, pad, save

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)  # [H, W, 3]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>\xc3\xa9</a></x:xmpmeta>'
EXIF = b"MM\0*\0\0\0\x08\0\1\1\x0f\0\2\0\0\0\3abc\0\0\0\0\0trailing bytes"  # Make: "ab"
SIXTEEN = "16 bits reduced to 8"


def image_bytes(image: Image.Image, format: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG file written by hand, for what Pillow does not write."""
    out = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        out += struct.pack(">I", len(data)) + kind + data
        out += struct.pack(">I", zlib.crc32(kind + data))
    return out


# Sources


def test_paths_bytes_files_images_and_arrays_give_the_same_pixels(tmp_path):
    image = Image.fromarray(RGB)
    path = tmp_path / "a.png"
    image.save(path)
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), image, RGB):
        picture = load(source)
        assert picture.rgb.dtype == np.uint8
        assert np.array_equal(picture.rgb, RGB)
        assert picture.metadata == Metadata()
        assert picture.notices == ()


def test_a_file_object_stays_open():
    file = io.BytesIO(image_bytes(Image.fromarray(RGB)))
    load(file)

    assert not file.closed


def test_grey_and_alpha_arrays_are_accepted():
    grey = RGB[..., 0]
    alpha = np.dstack([RGB, grey])
    opaque = np.dstack([RGB, np.full_like(grey, 255)])

    assert np.array_equal(load(grey).rgb, np.dstack([grey] * 3))
    assert np.array_equal(load(grey[..., None]).rgb, np.dstack([grey] * 3))
    assert np.array_equal(load(alpha).rgb, RGB)
    assert np.array_equal(load(alpha).alpha, grey)
    assert load(opaque).alpha is None


@pytest.mark.parametrize(
    "array",
    [
        RGB.astype(np.int16),
        RGB.astype(bool),
        RGB[..., :2],
        RGB[None],
        RGB[0, :, 0],
        RGB[:0],
        np.zeros((2, 5, 7), np.uint8),
    ],
)
def test_other_arrays_are_input_errors(array):
    with pytest.raises(InputError, match="array is"):
        load(array)


def test_a_batch_is_told_how_to_be_encoded():
    with pytest.raises(InputError, match=r"array is float32 \[8, 3, 5, 7\].*list\(batch\)"):
        load(np.zeros((8, 3, 5, 7), np.float32))


def as_float(levels: np.ndarray, dtype: object = torch.float32) -> torch.Tensor:
    return (torch.from_numpy(levels).double() / 255).to(dtype)


RGBA = np.dstack([RGB, RGB[..., 0]])


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (torch.from_numpy(RGB), RGB),
        (torch.from_numpy(RGB).permute(2, 0, 1), RGB),
        (np.moveaxis(RGB, 2, 0), RGB),
        (np.moveaxis(RGBA, 2, 0), RGBA),
        (RGB[..., 0], RGB[..., 0]),
        (RGB[None, ..., 0], RGB[..., 0]),
        (as_float(RGB).requires_grad_(), RGB),
        (as_float(RGB, torch.float64), RGB),
        (as_float(RGB, torch.float16).permute(2, 0, 1), RGB),
        (as_float(RGB // 128 * 255, torch.bfloat16), RGB // 128 * 255),
        (as_float(RGB).numpy()[::-1], RGB[::-1]),
        (RGB[:3].transpose(1, 0, 2), RGB[:3].transpose(1, 0, 2)),
        (memoryview(image_bytes(Image.fromarray(RGB))), RGB),
        (bytearray(image_bytes(Image.fromarray(RGB))), RGB),
    ],
)
def test_arrays_and_tensors_of_both_layouts_are_pixels(array, expected):
    found, whole = load(array), load(np.ascontiguousarray(expected))

    assert np.array_equal(found.rgb, whole.rgb)
    assert np.array_equal(found.alpha, whole.alpha)
    assert found.grey == whole.grey


def test_the_last_axis_is_the_channels_if_both_could_be():
    assert load(np.zeros((3, 5, 4), np.uint8)).rgb.shape == (3, 5, 3)
    assert load(np.zeros((4, 5, 1), np.uint8)).rgb.shape == (4, 5, 3)


@pytest.mark.parametrize(
    ("values", "found"),
    [([0, 1.5], "0..1.5"), ([-0.25, 1], "-0.25..1"), ([0, 255.0], "0..255"), ([0, np.nan], "nan")],
)
def test_floats_outside_of_0_to_1_are_told(values, found):
    for array in (np.array([values], np.float32), torch.tensor([values])):
        with pytest.raises(InputError, match=rf"float pixels are .*{found}.*expected 0\.\.1"):
            load(array)


@pytest.mark.parametrize("source", [None, 5, {"a": 1}, [RGB], object()])
def test_other_types_are_told_with_those_that_are_expected(source):
    with pytest.raises(
        TypeError, match=rf"image is {type(source).__name__}, expected a path, byte"
    ):
        load(source)


# Modes


@pytest.mark.parametrize(
    ("mode", "notices"),
    [
        ("RGB", ()),
        ("L", ()),
        ("1", ()),
        ("P", ()),
        ("RGBA", ()),
        ("LA", ()),
        ("PA", ()),
        ("RGBa", ()),
        ("La", ()),
        ("CMYK", ("CMYK converted to RGB",)),
        ("YCbCr", ("YCbCr converted to RGB",)),
        ("HSV", ("HSV converted to RGB",)),
    ],
)
def test_every_mode_becomes_rgb_with_a_notice_of_what_is_lost(mode, notices):
    half = Image.fromarray(np.dstack([RGB, np.full((5, 7), 128, np.uint8)]), "RGBA")
    via = half.convert("LA") if mode in ("PA", "La") else half
    image = via.convert(mode)
    if mode == "PA":
        image.putalpha(128)
    found = load(image)

    assert (found.rgb.shape, found.rgb.dtype) == ((5, 7, 3), np.uint8)
    assert found.notices == notices
    assert found.grey == (mode in ("L", "1", "LA", "La"))
    if "A" in mode or "a" in mode or mode == "P":  # whose palette has alpha
        assert np.array_equal(found.alpha, np.full((5, 7), 128))
    else:
        assert found.alpha is None


def test_alpha_is_kept_and_not_blended():
    rgba = Image.new("RGBA", (1, 1), (10, 20, 30, 0))

    assert load(image_bytes(rgba)).rgb.tolist() == [[[10, 20, 30]]]
    assert load(image_bytes(rgba)).alpha.tolist() == [[0]]


def test_opaque_alpha_is_none():
    assert load(Image.new("RGBA", (1, 1), (10, 20, 30, 255))).alpha is None


def test_alpha_turns_with_the_pixels():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.dstack([RGB, RGB[..., 0]]))
    found = load(image_bytes(image, exif=exif))

    assert np.array_equal(found.rgb, np.rot90(RGB, -1))
    assert np.array_equal(found.alpha, np.rot90(RGB[..., 0], -1))


def test_blending_puts_the_picture_on_a_ground():
    alpha = np.array([[0, 51, 255]], np.uint8)
    picture = Picture(np.full((1, 3, 3), 100, np.uint8), alpha, notices=("lost",))
    found = blend(picture, (0, 200, 255))

    assert found.rgb.tolist() == [[[0, 200, 255], [20, 180, 224], [100, 100, 100]]]
    assert (found.alpha, found.notices) == (None, ("lost",))
    assert blend(found, (0, 0, 0)) is found


@pytest.mark.parametrize(("colour", "grey"), [((9, 9, 9), True), ((9, 9, 8), False)])
def test_a_grey_picture_on_a_ground_of_colour_is_grey_no_more(colour, grey):
    picture = load(Image.fromarray(RGB).convert("LA"))._replace(alpha=RGB[..., 0])

    assert blend(picture, colour).grey is grey


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_a_palette_with_transparency_is_read_without_a_warning(transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 4, 5, 6])
    image.putpixel((1, 0), 1)
    found = load(image_bytes(image, transparency=transparency))

    assert found.rgb.tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert found.alpha.tolist() == [[0, 255]]
    assert found.notices == ()


def test_16_bit_grey_with_a_transparent_level_has_alpha():
    image = Image.fromarray(np.array([[0, 300, 65535]], np.uint16))
    found = load(image_bytes(image, transparency=300))

    assert found.alpha.tolist() == [[255, 0, 255]]
    assert found.notices == (SIXTEEN,)


@pytest.mark.parametrize("mode", ["I;16", "I"])
def test_16_bit_grey_is_rounded_and_not_clipped(mode):
    levels = np.array([[0, 128, 129, 257 * 7, 257 * 200, 65535]], np.uint16)
    image = Image.fromarray(levels if mode == "I;16" else levels.astype(np.int32))

    assert image.mode == mode
    found = load(image)
    assert found.rgb[0, :, 0].tolist() == [0, 0, 1, 7, 200, 255]
    assert found.notices == (SIXTEEN,)
    assert found.grey


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (6, 4)])
def test_16_bit_png_gives_a_notice(colour, channels):
    row = np.full((2, channels), 257 * 200, ">u2")
    found = load(png(2, 1, 16, colour, b"\0" + row.tobytes()))

    assert found.rgb.tolist() == [[[200] * 3] * 2]
    assert SIXTEEN in found.notices


def test_float_grey_is_0_to_1():
    levels = np.array([[0, 0.5, 1]], np.float32)

    assert load(Image.fromarray(levels)).rgb[0, :, 0].tolist() == [0, 128, 255]
    for wrong in (levels * 2, levels - 1, levels * np.float32("nan")):
        with pytest.raises(InputError, match=r"expected 0..1"):
            load(Image.fromarray(wrong))


def test_32_bit_integers_are_refused():
    with pytest.raises(InputError, match="expected 0"):
        load(Image.fromarray(np.array([[65536]], np.int32)))


# Orientation, metadata, frames


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_to_the_pixels(orientation):
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3)
    # EXIF: where row 0 and column 0 of the stored picture are seen.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    for format in ("PNG", "TIFF"):
        found = load(image_bytes(image, format, exif=exif))
        assert np.array_equal(found.rgb[..., 0], upright)
        assert found.metadata.exif is None or formats.orientation(found.metadata.exif) == 1


def test_damaged_exif_does_not_keep_a_picture_from_being_read():
    damaged = b"MM\0*\0\0\0\x08\0\xff\x01\x12"
    found = load(image_bytes(Image.fromarray(RGB), exif=b"Exif\0\0" + damaged))

    assert np.array_equal(found.rgb, RGB)
    assert found.metadata == Metadata(exif=damaged)
    assert found.notices == ()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_metadata_comes_along_byte_for_byte(format):
    data = image_bytes(Image.fromarray(RGB), format, **options_of(format))
    found = load(data)

    assert found.metadata == Metadata(SRGB, EXIF, XMP)
    assert found.notices == ()


def test_a_picture_is_returned_as_it_is():
    picture = Picture(RGB, None, Metadata(xmp=XMP), ("lost",))

    assert load(picture) is picture
    with pytest.raises(ImageTooLargeError):
        load(picture, max_pixels=255)


def test_only_a_profile_of_rgb_pixels_is_kept():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (lab, b"garbage"):
        found = load(image_bytes(Image.fromarray(RGB), icc_profile=profile))
        assert found.metadata == Metadata()
        assert found.notices == ("colour profile dropped: not one of RGB pixels",)


def test_grey_pictures_keep_grey_profiles_as_well():
    grey = SRGB[:16] + b"GRAY" + SRGB[20:]
    image = Image.fromarray(RGB).convert("L")

    assert load(image_bytes(image, icc_profile=grey)).metadata.icc == grey
    assert load(image_bytes(image, icc_profile=SRGB)).metadata.icc == SRGB
    assert load(image_bytes(Image.fromarray(RGB), icc_profile=grey)).metadata.icc is None


def test_a_wide_gamut_profile_leaves_the_pixels_as_they_are():
    wide = SRGB.replace(b"sRGB", b"wide")
    found = load(image_bytes(Image.fromarray(RGB), icc_profile=wide))

    assert np.array_equal(found.rgb, RGB)
    assert found.metadata.icc == wide


def test_exif_whose_orientation_cannot_be_reset_is_dropped():
    """As a ratio of two numbers it is not what the standard has, but Pillow reads it."""
    entry = struct.pack(">HHII", 0x0112, 5, 1, 26) + bytes(4)
    exif = b"MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">II", 3, 1)
    found = load(image_bytes(Image.fromarray(RGB), exif=exif))

    assert np.array_equal(found.rgb, RGB[::-1, ::-1])
    assert found.metadata == Metadata()
    assert found.notices == ("EXIF dropped: its orientation cannot be reset",)


def test_exif_of_a_tiff_file_is_named_as_lost():
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    exif[0x8769] = exif.get_ifd(0x8769)
    found = load(image_bytes(Image.fromarray(RGB), "TIFF", exif=exif))

    assert found.notices == ("EXIF dropped: that of TIFF files is not kept",)
    assert load(image_bytes(Image.fromarray(RGB), "TIFF")).notices == ()


def test_exif_in_a_png_text_is_kept():
    text = PngImagePlugin.PngInfo()
    hexed = EXIF.hex()
    text.add_text("Raw profile type exif", f"\nexif\n{len(EXIF):8}\n{hexed[:72]}\n{hexed[72:]}\n")
    found = load(image_bytes(Image.fromarray(RGB), pnginfo=text))

    assert found.metadata == Metadata(exif=EXIF)


def test_metadata_above_the_limit_of_the_format_is_dropped():
    data = image_bytes(Image.fromarray(RGB), exif=b"MM\0*" + bytes(MAX_METADATA_BYTES))
    found = load(data)

    assert found.metadata == Metadata()
    assert found.notices == (f"EXIF dropped: larger than {MAX_METADATA_BYTES} bytes",)


def test_the_first_frame_of_an_animation_is_kept():
    frames = [Image.new("L", (2, 2), level) for level in (10, 200)]
    data = image_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])
    found = load(data)

    assert found.rgb.tolist() == [[[10] * 3] * 2] * 2
    assert found.notices == ("animated: only one frame is kept",)


# Limits and damage


def test_the_size_is_checked_before_pixels_are_decoded():
    data = png(20_000, 20_000, 8, 2, b"")
    for limit in (None, 10**6):
        with pytest.raises(ImageTooLargeError) as caught:
            load(data) if limit is None else load(data, max_pixels=limit)
        assert "\n" not in str(caught.value)
    large = png(10_000, 10_000, 8, 2, b"")
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(ImageTooLargeError, match="10000x10000 = 100000000 pixels"),
    ):
        load(large, max_pixels=10**6)
    with pytest.raises(ImageTooLargeError, match="bomb"):  # the tests' filter makes it an error
        load(large)
    for source in (RGB, Image.fromarray(RGB)):
        with pytest.raises(ImageTooLargeError, match="coded as 16x16 = 256 pixels, the limit is 2"):
            load(source, max_pixels=255)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
def test_truncated_files_are_input_errors(format):
    data = image_bytes(Image.fromarray(np.tile(RGB, (20, 20, 1))), format)
    for size in (0, 3, 20, len(data) // 2, len(data) - 200):
        with pytest.raises(InputError) as caught:
            load(data[:size])
        assert "\n" not in str(caught.value)


def test_what_is_not_an_image_is_an_input_error_of_one_line(tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(InputError, match=r"cannot read .*a\.png: No such file"):
        load(path)
    with pytest.raises(InputError, match="cannot read"):
        load(tmp_path)
    path.write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"a\.png is not an image"):
        load(path)
    with pytest.raises(InputError, match="input is not an image"):
        load(b"not an image")


# Saving


@pytest.mark.parametrize("extension", ["png", "PNG", "webp", "bmp", "tif", "ppm"])
def test_lossless_formats_round_trip(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    save(RGB, path)

    assert np.array_equal(load(path).rgb, RGB)


def test_jpeg_is_written_at_high_quality(tmp_path):
    smooth = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[:, None, None], (1, 64, 3))
    save(smooth, tmp_path / "a.jpg")

    assert np.abs(load(tmp_path / "a.jpg").rgb.astype(int) - smooth).max() <= 4


def test_a_file_object_takes_the_format_by_name_or_extension():
    for format in ("PNG", "png", "jpg"):
        out = io.BytesIO()
        save(RGB, out, format)
        assert load(out.getvalue()).rgb.shape == RGB.shape


def test_save_does_not_overwrite_unless_told(tmp_path):
    save(RGB, tmp_path / "a.png")
    with pytest.raises(OutputError, match="exists already"):
        save(RGB, tmp_path / "a.png")
    save(RGB[:2], tmp_path / "a.png", overwrite=True)

    assert load(tmp_path / "a.png").rgb.shape == (2, 7, 3)


@pytest.mark.parametrize(
    ("name", "format", "reason"),
    [
        ("a.xyz", None, r"image extension \.xyz"),
        ("a", None, "image extension none"),
        ("a.png", "xyz", "image format xyz"),
    ],
)
def test_an_unknown_format_is_an_output_error(tmp_path, name, format, reason):
    with pytest.raises(OutputError, match=reason):
        save(RGB, tmp_path / name, format)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_above_the_limit_of_its_format_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        save(np.zeros((1, 70_000, 3), np.uint8), tmp_path / "a.jpg")
    assert list(tmp_path.iterdir()) == []


def test_save_refuses_other_arrays(tmp_path):
    with pytest.raises(ValueError, match="expected uint8"):
        save(RGB[..., 0], tmp_path / "a.png")


def options_of(format: str) -> dict:
    """Options of Pillow's save that write SRGB, EXIF and XMP."""
    return formats.saving(format, Metadata(SRGB, EXIF, XMP)).options


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_metadata_is_written_where_the_format_takes_it(tmp_path, format):
    path = tmp_path / f"a.{format.lower()}"
    notices = save(Picture(RGB, None, Metadata(SRGB, EXIF, XMP)), path)
    found = load(path).metadata

    assert notices == ()
    assert (found.icc, found.xmp) == (SRGB, XMP)
    if format != "AVIF":  # Pillow rewrites it there
        assert found.exif == EXIF


@pytest.mark.parametrize(
    ("format", "metadata", "kept", "notice"),
    [
        ("BMP", Metadata(SRGB, EXIF, XMP), Metadata(), "ICC, EXIF, XMP dropped: BMP"),
        ("TIFF", Metadata(SRGB, EXIF), Metadata(SRGB), "EXIF dropped: TIFF"),
        ("JPEG", Metadata(SRGB, exif=bytes(70_000)), Metadata(SRGB), "EXIF dropped: JPEG"),
        ("JPEG", Metadata(xmp=b" " * 70_000), Metadata(), "XMP dropped: JPEG"),
        ("PNG", Metadata(SRGB + bytes(2**20), xmp=XMP), Metadata(xmp=XMP), "ICC dropped: PNG"),
        ("AVIF", Metadata(exif=b"damaged", xmp=XMP), Metadata(xmp=XMP), "EXIF dropped: AVIF"),
    ],
)
def test_what_a_format_does_not_take_is_named(format, metadata, kept, notice):
    out = io.BytesIO()
    notices = save(Picture(RGB, None, metadata), out, format)

    assert load(out.getvalue()).metadata == kept
    assert len(notices) == 1
    assert notices[0].startswith(notice)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's
def test_damaged_exif_is_written_as_it_is():
    for format in ("PNG", "JPEG", "WEBP"):
        out = io.BytesIO()
        save(Picture(RGB, None, Metadata(exif=b"MM\0*damaged")), out, format)
        assert load(out.getvalue()).metadata.exif == b"MM\0*damaged"


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "TGA"])
def test_alpha_is_written_without_loss_and_so_are_the_colours_under_it(format):
    out = io.BytesIO()
    alpha = np.arange(35, dtype=np.uint8).reshape(5, 7)
    notices = save(Picture(RGB, alpha), out, format)
    found = load(out.getvalue())

    assert notices == ()
    assert np.array_equal(found.rgb, RGB)
    assert np.array_equal(found.alpha, alpha)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "TGA"])
def test_grey_is_written_as_grey_where_the_format_has_it(format):
    for alpha in [None, RGB[..., 1]]:
        grey = np.repeat(RGB[..., :1], 3, 2)
        out = io.BytesIO()
        save(Picture(grey, alpha, grey=True), out, format)
        found = load(out.getvalue())

        assert found.grey == (format not in ("WEBP", "AVIF"))
        assert np.abs(found.rgb.astype(int) - grey).max() <= (
            8 if format in ("JPEG", "AVIF") else 0
        )
        assert (found.alpha is None) == (alpha is None or format in ("JPEG", "BMP"))


@pytest.mark.parametrize("format", ["JPEG", "BMP"])
def test_alpha_is_dropped_where_the_format_has_none(format):
    out = io.BytesIO()
    picture = Picture(RGB, np.zeros((5, 7), np.uint8), Metadata(xmp=b" " * 70_000))
    notices = save(picture, out, format)

    assert load(out.getvalue()).alpha is None
    assert notices[0] == f"alpha dropped: {format} cannot hold it"
    assert len(notices) == 2


# Padding


@pytest.mark.parametrize(("height", "width"), [(1, 1), (16, 16), (17, 31), (32, 5)])
def test_pad_repeats_edges_to_a_multiple_of_16_and_keeps_the_picture_at_the_top_left(height, width):
    rgb = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    padded = pad(rgb)

    assert padded.shape == (-(-height // 16) * 16, -(-width // 16) * 16, 3)
    assert np.array_equal(padded[:height, :width], rgb)
    assert (padded[height:] == padded[height - 1]).all()
    assert (padded[:, width:] == padded[:, width - 1 : width]).all()
