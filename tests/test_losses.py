"""What a source has and a .vqc file has not is named; what can be kept is."""

import io
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, TiffImagePlugin

from conftest import smooth_picture
from vqcodec.image import colour_profile, pixels
from vqcodec.image.colour_profile import Cicp
from vqcodec.image.containers import Told, told_by
from vqcodec.image.metadata import Metadata, to_info
from vqcodec.image.pixels import Picture, blend, load

RGB = smooth_picture(24, 40)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = colour_profile.profile_of(colour_profile.SRGB, grey=True)
CHRM_P3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
CHRM_SRGB = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
SIXTEEN = "16 bits reduced to 8"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: tuple[bytes, bytes], depth: int = 8, colour: int = 2, row: bytes = b"") -> bytes:
    """A PNG of 4x1 pixels, by default (100, 120, 140), with these chunks in front of them."""
    header = struct.pack(">IIBBBBB", 4, 1, depth, colour, 0, 0, 0)
    rows = b"\0" + (row or bytes([100, 120, 140] * 4)[: 12 if colour == 2 else 4])
    ends = (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    found = (chunk(*one) for one in ((b"IHDR", header), *chunks, *ends))
    return b"\x89PNG\r\n\x1a\n" + b"".join(found)


def image_bytes(format: str, image: Image.Image | None = None, **options) -> bytes:
    out = io.BytesIO()
    (image or Image.fromarray(RGB)).save(out, format, **options)
    return out.getvalue()


def jpeg(*segments: tuple[bytes, bytes], **options) -> bytes:
    """A JPEG with these segments: marker and data."""
    data = image_bytes("JPEG", **options)
    found = (b"\xff" + m + struct.pack(">H", len(d) + 2) + d for m, d in segments)
    return data[:2] + b"".join(found) + data[2:]


def avif(primaries: int, transfer: int) -> bytes:
    """An AVIF file whose colours have these codes of ITU-T H.273."""
    data = image_bytes("AVIF")
    place = data.index(b"nclx") + 4
    return data[:place] + struct.pack(">HH", primaries, transfer) + data[place + 4 :]


def to_srgb(rgb: np.ndarray, profile: bytes) -> np.ndarray:
    """What littleCMS makes of pixels with a profile: int [H, W, 3]."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    image = Image.fromarray(rgb)
    found = ImageCms.profileToProfile(
        image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    return np.asarray(found).astype(int)


# Transparency


@pytest.mark.parametrize(("depth", "row"), [(1, b"\x50"), (2, b"\x14"), (4, b"\x01\x01")])
def test_a_transparent_level_of_few_bits_is_found_among_eight(depth, row):
    found = load(png((b"tRNS", b"\0\1"), depth=depth, colour=0, row=row))

    assert found.alpha.tolist() == [[255, 0, 255, 0]] if depth != 2 else [[255, 0, 0, 255]]
    assert found.notices == ()


@pytest.mark.parametrize(
    "convert", [lambda image: image.quantize(64, method=2), lambda image: image]
)
def test_a_palette_with_alpha_in_its_colours_keeps_it(convert):
    alpha = np.where(np.arange(40) < 20, 0, 255).astype(np.uint8)[None].repeat(24, 0)
    found = load(convert(Image.fromarray(np.dstack([RGB, alpha]))))

    assert np.array_equal(found.alpha, alpha)


def test_one_transparent_colour_of_16_bits_is_found_among_those_of_equal_high_bytes():
    levels = np.full(12, 0x1234, ">u2")
    levels[3] += 1
    found = load(png((b"tRNS", levels[:3].tobytes()), depth=16, row=levels.tobytes()))

    assert found.alpha.tolist() == [[0, 255, 0, 0]]
    assert found.notices == (SIXTEEN,)


# Levels


def test_grey_with_alpha_of_16_bits_stays_grey():
    row = np.tile(np.array([0x8080, 0x4040], ">u2"), 4).tobytes()
    found = load(png(depth=16, colour=4, row=row))

    assert found.grey
    assert (found.rgb == 0x80).all()
    assert (found.alpha == 0x40).all()
    assert found.notices == (SIXTEEN,)


def test_grey_of_12_bits_is_as_bright_as_it_was():
    image = Image.new("L", (2, 1))
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    data = bytearray(image_bytes("TIFF", image, tiffinfo=tags))
    with Image.open(io.BytesIO(data)) as opened:
        place = opened.tag_v2[273][0]
    bits = data.index(struct.pack("<HHII", 258, 3, 1, 8))
    data[bits + 8] = 12
    counts = data.index(struct.pack("<HHII", 279, 4, 1, 2))
    data[counts + 8] = 3
    data[place : place + 3] = b"\xff\xf8\x00"  # 4095 and 2048
    found = load(bytes(data))

    assert found.rgb[0, :, 0].tolist() == [255, 128]


@pytest.mark.parametrize(
    ("data", "bits"),
    [
        (b"P6 2 1 65535\n" + bytes(12), 16),
        (b"P6 2 1 1023\n" + bytes(12), 10),
        (b"P3 2 1 1023\n" + b"9 " * 6, 10),
    ],
)
def test_levels_of_more_than_8_bits_are_named(data, bits):
    assert load(data).notices == (f"{bits} bits reduced to 8",)


@pytest.mark.parametrize("place", [b"pixi", b"av1C"])
def test_the_bits_of_avif_are_read_from_its_boxes(place):
    data = bytearray(image_bytes("AVIF"))
    at = data.index(place) + 4
    if place == b"pixi":
        data[at + 5 : at + 8] = 3 * bytes([12])
    else:
        data[at + 2] |= 0x60
    found = told_by(SimpleNamespace(fp=io.BytesIO(data), format="AVIF"))

    assert found == Told(12, Cicp(1, 13, 0, 1))


# Colours


@pytest.mark.parametrize(
    ("primaries", "transfer", "pixel", "expected"),
    [
        (12, 13, (200, 100, 60), (215, 93, 47)),  # Display P3, as littleCMS has it for its own
        (1, 8, (55, 128, 188), (128, 188, 222)),  # linear light
        (9, 14, (128, 128, 128), (140, 140, 140)),
        (5, 5, (255, 255, 255), (255, 255, 255)),
    ],
)
@pytest.mark.parametrize("format", ["PNG", "AVIF"])
def test_colours_that_are_told_by_codes_become_a_profile(
    format, primaries, transfer, pixel, expected
):
    data = png((b"cICP", bytes([primaries, transfer, 0, 1])))
    found = load(data if format == "PNG" else avif(primaries, transfer))

    rgb = np.array([[pixel]], np.uint8)
    assert np.abs(to_srgb(rgb, found.metadata.icc) - expected).max() <= 1
    name = f"colours of codes {primaries} and {transfer}"
    assert found.notices == (f"{name} became a colour profile",)


def test_gamma_and_primaries_of_png_become_a_profile():
    both = load(png((b"gAMA", struct.pack(">I", 100000)), (b"cHRM", CHRM_P3)))
    gamma = load(png((b"gAMA", struct.pack(">I", 100000))))
    grey = load(png((b"gAMA", struct.pack(">I", 100000)), colour=0))

    white, middle = np.full((1, 1, 3), 255, np.uint8), np.full((1, 1, 3), 128, np.uint8)
    for found in (both, gamma):
        assert np.abs(to_srgb(middle, found.metadata.icc) - 188).max() <= 1
        assert np.abs(to_srgb(white, found.metadata.icc) - 255).max() <= 1
    assert grey.metadata.icc[16:20] == b"GRAY"
    assert np.abs(to_srgb(middle[..., 0], grey.metadata.icc) - 188).max() <= 1
    assert grey.notices == ("gAMA and cHRM became a colour profile",)


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [(b"cICP", bytes([1, 13, 0, 1]))],
        [(b"cICP", bytes([2, 2, 0, 1]))],
        [(b"gAMA", struct.pack(">I", 45455))],
        [(b"gAMA", struct.pack(">I", 45455)), (b"cHRM", CHRM_SRGB)],
        [(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100000))],
    ],
)
def test_what_says_srgb_needs_no_profile(chunks):
    found = load(png(*chunks))

    assert (found.metadata, found.notices) == (Metadata(), ())


def test_a_profile_of_the_file_comes_before_its_numbers():
    data = image_bytes("PNG", icc_profile=SRGB)
    found = load(data[:33] + chunk(b"gAMA", struct.pack(">I", 100000)) + data[33:])

    assert (found.metadata.icc, found.notices) == (SRGB, ())


@pytest.mark.parametrize(
    ("chunks", "notice"),
    [
        ([(b"cICP", bytes([9, 9, 0, 1]))], "colours of codes 9 and 9 dropped"),
        ([(b"gAMA", bytes(4))], "gAMA and cHRM dropped"),
        ([(b"cHRM", bytes(32))], "gAMA and cHRM dropped"),
        ([(b"cHRM", CHRM_P3[:8] * 4)], "gAMA and cHRM dropped"),
    ],
)
def test_colours_that_no_profile_says_are_named(chunks, notice):
    found = load(png(*chunks))

    assert found.metadata == Metadata()
    assert [text.startswith(notice) for text in found.notices] == [True]


def test_the_numbers_of_hdr_are_kept():
    for transfer in (16, 18):
        for data in (avif(9, transfer), png((b"cICP", bytes([9, transfer, 0, 1])))):
            found = load(data)
            assert (found.cicp, found.notices) == (Cicp(9, transfer, 0, 1), ())
            assert found.metadata == Metadata()


def test_a_gain_map_is_named():
    text = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta hdrgm:Version='1.0'/>"
    meta = image_bytes("AVIF").replace(b"infe", b"tmap", 1)

    assert load(jpeg((b"\xe1", text))).notices == ("HDR dropped: the gain map is not kept",)
    assert told_by(SimpleNamespace(fp=io.BytesIO(meta), format="AVIF")).gain_map


def test_damaged_boxes_and_chunks_say_less_and_raise_nothing():
    rng = np.random.default_rng(0)
    sources = avif(9, 16)[:600], png((b"cICP", bytes([9, 16, 0, 1])))
    for data in sources:
        for size in range(len(data)):
            told_by(SimpleNamespace(fp=io.BytesIO(data[:size]), format="AVIF"))
        for _ in range(2000):
            damaged = bytearray(data)
            for place in rng.integers(len(data), size=3):
                damaged[place] = rng.integers(256)
            told_by(SimpleNamespace(fp=io.BytesIO(damaged), format="AVIF"))
    for file in (None, SimpleNamespace()):
        assert told_by(SimpleNamespace(fp=file, format=None)) == Told()


# What stands beside the pixels

IPTC = b"Photoshop 3.0\0008BIM\x04\x04\0\0" + struct.pack(">I", 12) + b"\x1c\x02\x78\0\7caption"
TEXT = PngImagePlugin.PngInfo()
TEXT.add_text("Author", "me")
TEXT.add_itxt("Title\n", "it")


@pytest.mark.parametrize(
    ("data", "notice"),
    [
        (jpeg((b"\xed", IPTC)), "IPTC dropped"),
        (
            jpeg((b"\xe1", b"http://ns.adobe.com/xmp/extension/\0" + bytes(50))),
            "extended XMP dropped",
        ),
        (jpeg((b"\xeb", b"JP\0\1" + bytes(20))), "JUMBF dropped"),
        (jpeg((b"\xed", IPTC), comment=b"by me"), "IPTC, comment dropped"),
        (image_bytes("GIF", Image.new("L", (4, 4)), comment=b"by me"), "comment dropped"),
        (png((b"caBX", b"")), "C2PA dropped"),
        (image_bytes("PNG", pnginfo=TEXT), "text dropped: Author, Title"),
        (image_bytes("TIFF", artist="me"), "text dropped: Artist"),
        (image_bytes("ICO", sizes=[(16, 16), (24, 14)]), "2 sizes: only the largest is kept"),
    ],
)
def test_what_stands_beside_the_pixels_is_named(data, notice):
    assert load(data).notices == (notice,)


def test_of_several_pictures_the_first_is_kept():
    other = Image.fromarray(RGB[::-1])
    data = image_bytes("MPO", save_all=True, append_images=[other])

    assert load(data).notices == ("several pictures: only the first is kept",)


def test_of_the_sizes_of_an_icon_the_largest_is_taken():
    image = Image.fromarray(smooth_picture(64, 64))
    data = image_bytes("ICO", image, sizes=[(16, 16), (64, 64), (32, 32)])

    assert np.array_equal(load(data).rgb, np.asarray(image))


# Pictures that are upright already


def told_to_turn(orientation: int = 6) -> Image.Image:
    """An opened picture of 40x24 pixels whose EXIF tells its sides, and to turn it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x8769] = {0xA002: 40, 0xA003: 24}
    return Image.open(io.BytesIO(image_bytes("PNG", exif=exif)))


@pytest.mark.parametrize(
    ("turn", "shape"),
    [
        (lambda image: image, (40, 24)),
        (ImageOps.exif_transpose, (40, 24)),
        (lambda image: image.transpose(Image.Transpose.ROTATE_270), (40, 24)),
        (lambda image: image.rotate(-90, expand=True), (40, 24)),
        (lambda image: image.resize((20, 12)), (20, 12)),
        (lambda image: image.convert("L"), (40, 24)),
    ],
)
def test_a_picture_is_turned_once(turn, shape):
    image = turn(told_to_turn())
    found = load(image).rgb
    expected = np.rot90(RGB, -1) if image.mode == "RGB" else load(image).rgb

    assert found.shape[:2] == shape
    assert shape == (20, 12) or np.array_equal(found, expected)


@pytest.mark.parametrize("format", ["HEIF", "JXL"])
def test_formats_whose_decoders_turn_pixels_are_not_turned_by_exif(format):
    image = told_to_turn()
    image.format = format

    assert load(image).rgb.shape == (24, 40, 3)
    image.jpeg = True  # what the plugin says of a JPEG inside
    assert format == "HEIF" or load(image).rgb.shape == (40, 24, 3)


# Saving


TABLES = SRGB.replace(b"bXYZ", b"A2B0")  # no matrix, as for printers


@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG", "WEBP", "AVIF"])
def test_pixels_and_profile_of_a_written_file_are_of_one_kind(format):
    for profile in [SRGB, GREY, TABLES]:
        for alpha in [None, RGB[..., 1]]:
            grey = Picture(RGB[..., [0, 0, 0]], alpha, Metadata(profile), grey=True)
            out = io.BytesIO()
            notices = pixels.save(grey, out, format)
            with Image.open(out) as image:
                is_grey = image.mode in ("L", "LA")
                found = image.info.get("icc_profile")

            assert is_grey == (format not in ("WEBP", "AVIF") and profile != TABLES)
            if is_grey:
                assert found[16:20] == b"GRAY"
            elif profile == GREY:
                assert found is None
                assert f"ICC dropped: {format} cannot hold it" in notices
            else:
                assert found == profile


def test_a_profile_of_rgb_pixels_becomes_one_of_grey_ones_that_looks_the_same():
    power = colour_profile.profile_of(colour_profile.of_codes(9, 5), grey=False)
    for profile in (SRGB, power):
        found = to_srgb(RGB[..., 0], colour_profile.grey_of(profile))
        assert np.abs(found - to_srgb(RGB[..., [0, 0, 0]], profile)).max() <= 1


def test_a_damaged_profile_has_no_grey_one_and_is_carried_on():
    for size in range(len(SRGB)):
        found = colour_profile.grey_of(SRGB[:size])
        assert found is None or found[16:20] == b"GRAY"
    other_curves = colour_profile.profile_of(colour_profile.SRGB, grey=False).replace(
        b"gTRC", b"xTRC"
    )
    for damaged in (SRGB[:128] + b"\xff" * 300, other_curves):
        assert colour_profile.grey_of(damaged) is None
        assert to_info(Metadata(damaged), grey=True) == {"icc_profile": damaged}


def test_a_grey_profile_goes_when_colour_comes():
    picture = Picture(RGB[..., [0, 0, 0]], RGB[..., 1], Metadata(GREY), grey=True)

    assert blend(picture, (9, 9, 9)).metadata.icc == GREY
    found = blend(picture, (9, 9, 8))
    assert found.metadata.icc is None
    assert found.notices == ("colour profile dropped: not one of RGB pixels",)


@pytest.mark.parametrize(
    ("size", "written"), [((5, 7), (5, 7)), ((256, 100), (256, 100)), ((600, 30), (256, 13))]
)
def test_an_icon_has_the_size_of_the_picture_or_says_so(size, written):
    out = io.BytesIO()
    notices = pixels.save(np.zeros((size[1], size[0], 3), np.uint8), out, "ICO")

    with Image.open(out) as image:
        assert image.size == written
    smaller = ("made smaller: ICO holds 256x256 pixels at most",)
    assert notices == (() if size == written else smaller)


def test_what_a_format_makes_of_the_pixels_is_named():
    for format, notice in {"GIF": "colours reduced to 256", "ICNS": "stretched to squares"}.items():
        assert pixels.save(RGB, io.BytesIO(), format)[0].startswith(notice)
    grey = Picture(RGB[..., [0, 0, 0]], grey=True)
    assert pixels.save(grey, io.BytesIO(), "GIF") == ()


@pytest.mark.parametrize("format", ["XBM", "MSP"])
def test_a_format_without_colours_is_an_output_error(format):
    with pytest.raises(pixels.OutputError, match=f"cannot write this picture as {format}"):
        pixels.save(RGB, io.BytesIO(), format)
