"""Pictures of 9 to 16 bits a channel, and of PQ and HLG: read, coded, decoded and written."""

import io
import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import vqcodec
from conftest import smooth_picture
from vqcodec.bitstream import container
from vqcodec.cli import main
from vqcodec.codec import Codec
from vqcodec.errors import InputError, OutputError
from vqcodec.image import pixels, strip_files, tiff_files
from vqcodec.image.colour_profile import Cicp
from vqcodec.image.depth import peak, rescaled
from vqcodec.image.metadata import Metadata
from vqcodec.image.picture import blend, of_levels
from vqcodec.image.strips import Strips
from vqcodec.metrics import psnr

PQ = 9, 16, 0, 1
NOISE = np.random.default_rng(0)


def deep_picture(height: int = 40, width: int = 56, depth: int = 16) -> np.ndarray:
    """A smooth picture with levels between those of 8 bits: uint16 [H, W, 3]."""
    y, x = np.mgrid[:height, :width]
    wave = np.stack([np.sin((x + y + 20 * c) / 17) for c in range(3)], 2)
    return np.rint((0.5 + 0.4 * wave) * peak(depth)).astype(np.uint16)


RGB = deep_picture()
ALPHA = NOISE.integers(0, 65536, RGB.shape[:2], dtype=np.uint16)


def png(levels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 16 bits, [H, W, C], as another writer would make it."""
    height, width, channels = levels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    parts = (b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def chunks_of(data: bytes) -> dict[bytes, bytes]:
    found, offset = {}, 8
    while offset < len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        found[kind] = data[offset + 8 : offset + 8 + size]
        offset += 12 + size
    return found


# Reading


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits_is_read_whole(channels):
    levels = NOISE.integers(0, 65536, (5, 7, channels), dtype=np.uint16)
    found = pixels.load(png(levels), depth=None)

    expected = of_levels(levels, 16)
    assert np.array_equal(found.rgb, expected.rgb)
    assert (found.alpha is None) == (channels in (1, 3))
    assert found.alpha is None or np.array_equal(found.alpha, expected.alpha)
    assert (found.depth, found.grey, found.notices) == (16, channels < 3, ())


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_of_16_bits_is_read_whole(channels, byteorder, compression):
    tifffile = pytest.importorskip("tifffile")
    levels = NOISE.integers(0, 65536, (5, 7, channels), dtype=np.uint16)
    more = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    out = io.BytesIO()
    tifffile.imwrite(
        out,
        levels if channels > 1 else levels[..., 0],
        byteorder=byteorder,
        compression=compression,
        photometric="rgb" if channels > 1 else "minisblack",
        rowsperstrip=2,
        **more,
    )
    found = pixels.load(out.getvalue(), depth=None)

    assert np.array_equal(found.rgb, of_levels(levels, 16).rgb)
    assert found.depth == 16


def test_colours_multiplied_by_alpha_are_divided():
    tifffile = pytest.importorskip("tifffile")
    levels = np.dstack([RGB, np.maximum(ALPHA, 2000)])
    share = levels[..., 3:] / 65535
    stored = levels.copy()
    stored[..., :3] = np.rint(levels[..., :3] * share)
    out = io.BytesIO()
    tifffile.imwrite(out, stored, photometric="rgb", extrasamples=["assocalpha"])
    found = pixels.load(out.getvalue(), depth=None)

    assert np.array_equal(found.alpha, levels[..., 3])
    assert (np.abs(found.rgb - levels[..., :3].astype(int)) <= 0.5 / share + 1).all()


def test_planes_that_pillow_misreads_are_refused():
    tifffile = pytest.importorskip("tifffile")
    out = io.BytesIO()
    tifffile.imwrite(out, np.moveaxis(RGB, 2, 0), photometric="rgb", planarconfig="separate")
    with pytest.raises(InputError, match="planes of more than 8 bits"):
        pixels.load(out.getvalue())


@pytest.mark.parametrize(
    ("start", "channels", "highest", "depth"),
    [
        (b"P6 7 5 65535\n", 3, 65535, 16),
        (b"P6 7 5 1000\n", 3, 1000, 10),
        (b"P5 7 5 4095\n", 1, 4095, 12),
    ],
)
def test_pnm_has_the_depth_of_its_largest_level(start, channels, highest, depth):
    levels = NOISE.integers(0, highest + 1, (5, 7, channels), dtype=np.uint16)
    found = pixels.load(start + levels.astype(">u2").tobytes(), depth=None)

    expected = np.rint(levels * (peak(depth) / highest))
    assert np.array_equal(found.rgb, of_levels(expected.astype(np.uint16), depth).rgb)
    assert found.depth == depth


def test_significant_bits_of_png_are_the_depth():
    for depth in (8, 10, 12):
        levels = NOISE.integers(0, peak(depth) + 1, (5, 7, 3), dtype=np.uint16)
        for stored in (levels << (16 - depth), rescaled(levels, peak(depth), 16)):
            found = pixels.load(png(stored, (b"sBIT", bytes([depth] * 3))), depth=None)
            assert np.array_equal(found.rgb, levels)
            assert (found.depth, found.notices) == (depth, ())


def test_orientation_and_the_transparent_colour_hold_for_deep_levels():
    exif = Image.Exif()
    exif[0x0112] = 6
    found = pixels.load(
        png(RGB, (b"eXIf", exif.tobytes()[6:]), (b"tRNS", RGB[3, 4].astype(">u2").tobytes())),
        depth=None,
    )

    assert np.array_equal(found.rgb, np.rot90(RGB, -1))
    assert found.alpha[4, -4] == 0
    assert (found.alpha == 0).sum() == (RGB[3, 4] == RGB).all(2).sum()


def test_levels_that_are_out_of_the_depth_are_told():
    with pytest.raises(InputError, match=r"levels are \d+\.\.\d+, expected 0\.\.1023 of 10 bits"):
        vqcodec.encode(RGB, depth=10)
    for depth in (7, 17):
        with pytest.raises(ValueError, match=f"depth is {depth}, expected 8..16"):
            vqcodec.encode(RGB, depth=depth)


def test_a_ground_is_put_below_deep_levels():
    picture = of_levels(np.dstack([RGB, ALPHA]), 16)
    expected = (RGB * (ALPHA / 65535)[..., None]) + 65535 * (1 - ALPHA / 65535)[..., None]

    assert np.abs(blend(picture, (255, 255, 255)).rgb - expected).max() <= 0.5 + 1e-6


# Coding


def test_arrays_of_all_layouts_give_one_file_of_version_2(codec):
    data = codec.encode(RGB)
    others = RGB.transpose(2, 0, 1), torch.from_numpy(RGB), RGB.astype(">u2"), png(RGB)

    assert (vqcodec.read_header(data).depth, data[4] >> 4) == (16, 2)
    for other in others:
        assert codec.encode(other) == data
    grey = codec.encode(RGB[..., 0])
    assert codec.decode(grey, depth=16).shape == RGB.shape[:2]
    assert codec.encode(Image.fromarray(RGB[..., 0])) == grey


def test_the_same_picture_of_several_depths_has_nearly_the_same_latents(codec):
    close = {}
    for depth in (8, 10, 12, 16):
        levels = deep_picture(depth=depth).astype(np.uint8 if depth == 8 else np.uint16)
        data = codec.encode(levels, 100, depth=depth)
        assert vqcodec.read_header(data).depth == depth
        close[depth] = psnr(codec.decode(data, depth=16), RGB, 16)

    assert max(close.values()) - min(close.values()) < 0.5


def test_floats_and_8_bits_have_a_greater_depth_if_told(codec):
    floats = RGB / np.float32(65535)

    assert vqcodec.read_header(codec.encode(floats)).depth == 8
    assert codec.encode(floats, depth=16) == codec.encode(RGB)
    eight = smooth_picture(40, 56)
    assert vqcodec.read_header(codec.encode(eight, depth=12)).depth == 12
    assert codec.encode(eight, depth=8) == codec.encode(eight)


def test_levels_of_every_depth_are_those_of_one_picture(codec):
    for data in (codec.encode(RGB), codec.encode(smooth_picture(40, 56))):
        whole = codec.decode(data, depth=16)
        for depth in (8, 9, 12):
            found = codec.decode(data, depth=depth)
            exact = whole * (peak(depth) / 65535)
            assert np.abs(found - exact).max() <= 0.5 + peak(depth) / 65535
        assert np.array_equal(np.asarray(codec.decode(data)), codec.decode(data, depth=8))


def test_parts_and_sizes_of_a_deep_picture_are_those_of_the_whole(codec):
    picture = np.dstack([RGB, ALPHA])
    data = codec.encode(picture)
    whole = codec.decode(data, depth=16)

    assert np.array_equal(whole[..., 3], ALPHA)
    crop = codec.decode(data, depth=16, crop=(8, 5, 20, 21))
    assert np.abs(crop.astype(int) - whole[5:26, 8:28]).max() <= 32  # other windows
    assert np.array_equal(crop[..., 3], ALPHA[5:26, 8:28])
    half = whole.reshape(20, 2, 28, 2, 4).mean((1, 3))
    assert np.abs(codec.decode(data, depth=16, scale=2) - half).max() <= 0.5
    eighth = codec.decode(data, depth=16, scale=8)
    assert eighth.dtype == np.uint16
    assert np.abs(eighth // 257 - codec.decode(data, depth=8, scale=8).astype(int)).max() <= 1
    rescued = codec.decode_damaged(data, depth=16)
    assert np.array_equal(rescued.image, whole)
    assert rescued.notices == ()
    assert codec.decode_damaged(data).image.mode == "RGBA"
    strips = codec.decode_strips(data)
    assert (strips.depth, next(strips.rows).dtype) == (16, np.uint16)


def test_large_deep_pictures_are_decoded_in_strips_of_one_picture(codec):
    large = np.tile(RGB, (33, 29, 1))  # 1320x1624 pixels: tiles, windows
    data = codec.encode(large, 60, effort=1)
    strips = codec.decode_strips(data)
    rows = np.concatenate(list(strips.rows))

    assert vqcodec.read_header(data).tile_log2 is not None
    assert rows.dtype == np.uint16
    assert psnr(rows, large, 16) > 20
    crop = codec.decode(data, depth=16, crop=(0, 1000, 50, 60))
    assert np.abs(crop.astype(int) - rows[1000:1060, :50]).max() <= 32


def test_tokens_know_the_depth_and_the_colours_of_their_source(codec):
    picture = of_levels(RGB, 16)._replace(cicp=Cicp(*PQ))
    data = codec.encode(picture)
    indices = codec.read_indices(data)

    assert (indices.depth, indices.cicp) == (16, PQ)
    assert codec.write_indices(indices) == data
    assert codec.decode_indices(indices).mode == "RGB"


def test_engines_agree_within_a_255th(model_folder):
    data = Codec.load(model_folder, "onnx").encode(RGB, 50, effort=1)
    found = [Codec.load(model_folder, device).decode(data, depth=16) for device in ("onnx", "cpu")]

    assert np.abs(found[0].astype(int) - found[1]).max() <= 257


def test_search_is_of_the_levels_themselves(codec):
    quick, slow = (codec.encode(RGB, 50, effort=effort) for effort in (1, 2))

    assert (
        psnr(codec.decode(slow, depth=16), RGB, 16)
        > psnr(codec.decode(quick, depth=16), RGB, 16) - 1
    )


def test_a_gradient_has_no_bands():
    y, x = np.mgrid[:192, :256]
    gradient = np.stack([20000 + 18 * x + 6 * y, 22000 + 15 * x + 8 * y, 24000 + 12 * x], 2)
    gradient = gradient.astype(np.uint16)  # of 23 levels of 8 bits in R
    codec = Codec.load(device="onnx")
    data = codec.encode(gradient, 75, effort=1)
    found = codec.decode(data, depth=16).astype(int)
    steps = np.abs(np.diff(found, axis=1)) / 257  # in levels of 8 bits
    flat = (np.diff(found, axis=1) == 0).mean()

    assert len(np.unique(found[..., 0])) > 2000
    assert len(np.unique(codec.decode(data, depth=8)[..., 0])) < 30
    assert np.percentile(steps, 99) < 0.6
    assert flat < 0.05
    assert np.abs(found - gradient).mean() < 0.4 * 257


# Writing


def in_strips(levels: np.ndarray, depth: int, cicp: Cicp | None = None) -> Strips:
    rows = iter(np.split(levels, [1, 9]))
    return Strips(levels.shape[1], levels.shape[0], levels.shape[2], Metadata(), rows, depth, cicp)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [10, 16])
@pytest.mark.parametrize("format", ["png", "tiff", "ppm"])
def test_deep_files_are_read_back(format, depth, channels):
    levels = np.dstack([RGB, ALPHA])[..., -channels:] >> (16 - depth)
    out = io.BytesIO()
    notices = strip_files.save(in_strips(levels, depth), out, format)
    found = pixels.load(out.getvalue(), depth=None)

    with_alpha = channels in (2, 4) and format != "ppm"
    stored = levels if format != "tiff" else rescaled(levels, peak(depth), 16)
    assert found.depth == (16 if format == "tiff" else depth)
    assert notices == (
        ("alpha dropped: PPM cannot hold it",) if channels in (2, 4) and not with_alpha else ()
    )
    kept = stored if with_alpha else stored[..., : channels - (channels in (2, 4))]
    assert np.array_equal(found.rgb, of_levels(kept, found.depth).rgb)
    assert found.alpha is None or np.array_equal(found.alpha, kept[..., -1])


def test_our_tiff_is_what_another_reader_reads():
    tifffile = pytest.importorskip("tifffile")
    levels = np.tile(np.dstack([RGB, ALPHA]), (20, 12, 1))  # several strips
    out = io.BytesIO()
    strip_files.save(in_strips(levels, 16), out, "tiff")

    assert np.array_equal(tifffile.imread(io.BytesIO(out.getvalue())), levels)
    grey = io.BytesIO()
    strip_files.save(in_strips(levels[..., :1], 16), grey, "tiff")
    assert np.array_equal(tifffile.imread(io.BytesIO(grey.getvalue())), levels[..., 0])


def test_a_tiff_above_its_limit_is_an_output_error():
    huge = Strips(2**16, 2**14, 3, Metadata(), iter([]), 16)
    with pytest.raises(OutputError, match="more than 4 GiB"):
        tiff_files.write_tiff(io.BytesIO(), huge, {})


def test_what_a_format_does_not_hold_is_named():
    out = io.BytesIO()
    notices = strip_files.save(in_strips(RGB >> 4, 12, Cicp(*PQ)), out, "jpeg")

    assert notices == (
        "12 bits reduced to 8: JPEG holds no more",
        "HDR dropped: JPEG cannot tell that levels are those of PQ",
    )
    p3 = strip_files.save(in_strips(RGB, 16, Cicp(12, 13, 0, 1)), out, "tiff")
    assert p3 == ("colours of codes 12 and 13 became a colour profile",)


@pytest.mark.parametrize("cicp", [PQ, (9, 18, 0, 0), (12, 13, 0, 1)])
def test_numbers_of_colours_go_through_files(codec, cicp):
    data = codec.encode(png(RGB, (b"cICP", bytes(cicp))))
    out = io.BytesIO()
    notices = strip_files.save(codec.decode_strips(data), out, "png")
    image = codec.decode(data)

    assert (vqcodec.read_header(data).cicp, notices) == (cicp, ())
    assert chunks_of(out.getvalue())[b"cICP"] == bytes(cicp)
    assert image.info["cicp"] == cicp
    again = vqcodec.read_header(codec.encode(image))
    assert again.cicp == (cicp if Cicp(*cicp).hdr else None)


def test_8_bits_of_hdr_keep_their_numbers_and_others_their_profile(codec):
    eight = smooth_picture(40, 56)
    for cicp, version in ((Cicp(*PQ), 2), (None, 1)):
        data = codec.encode(pixels.Picture(eight, cicp=cicp))
        assert (data[4] >> 4, vqcodec.read_header(data).cicp) == (version, cicp)
        out = io.BytesIO()
        strip_files.save(codec.decode_strips(data), out, "png")
        assert (b"cICP" in chunks_of(out.getvalue())) == (version == 2)
        assert chunks_of(out.getvalue())[b"IHDR"][8] == 8


def test_damaged_numbers_of_colours_are_none(codec):
    data = codec.encode(png(RGB, (b"cICP", bytes([9, 16, 0, 7]))))
    header = vqcodec.read_header(data)

    assert header.cicp is None
    with pytest.raises(ValueError, match="cicp"):
        replace(header, cicp=(9, 16, 0, 7))


def test_commands_keep_the_depth(model_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ten = RGB >> 6
    chunks = (b"sBIT", bytes([10] * 3)), (b"cICP", bytes(PQ))
    (tmp_path / "a.png").write_bytes(png(rescaled(ten, 1023, 16), *chunks))
    model = ["--model", str(model_folder)]

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    assert "bits" not in run("encode", "a.png", *model)
    told = json.loads(run("info", "a.vqc", "--json"))
    assert (told["depth"], told["cicp"], told["format_version"]) == (10, list(PQ), 2)
    assert "RGB, 10 bits" in run("info", "a.vqc")
    assert "cICP 9/16/0 (PQ)" in run("info", "a.vqc")
    run("decode", "a.vqc", "-o", "b.png", *model)
    found = chunks_of((tmp_path / "b.png").read_bytes())
    assert (found[b"IHDR"][8], found[b"sBIT"], found[b"cICP"]) == (16, b"\x0a" * 3, bytes(PQ))
    decoded = Codec.load(model_folder, "cpu").decode((tmp_path / "a.vqc").read_bytes(), depth=10)
    assert np.array_equal(pixels.load("b.png", depth=None).rgb, decoded)
    run("decode", "a.vqc", "-o", "c.png", "--depth", "8", *model)
    assert chunks_of((tmp_path / "c.png").read_bytes())[b"IHDR"][8] == 8
    assert "10 bits reduced to 8: WEBP holds no more" in run(
        "decode", "a.vqc", "-o", "d.webp", *model
    )
    closeness = json.loads(run("verify", "a.vqc", "--against", "a.png", "--json", *model))
    assert closeness["psnr"] == pytest.approx(psnr(decoded, ten, 10))
    run("encode", "a.png", "-o", "e.vqc", "--depth", "8", *model)
    assert container.read_header((tmp_path / "e.vqc").read_bytes()).depth == 8
    output = run("encode", "a.png", "-o", "f.vqc", "--target-psnr", "25", *model)
    assert "dB" in output


def test_pillow_sees_8_bits_of_a_deep_file_and_saves_all_of_its_own(tmp_path):
    import vqcodec.pillow_plugin

    assert vqcodec.pillow_plugin.FORMAT == "VQC"
    path = tmp_path / "a.vqc"
    Image.fromarray(RGB[..., 0]).save(path, effort=1)
    with Image.open(path) as image:
        assert (vqcodec.read_header(path).depth, image.mode) == (16, "L")
        assert np.array_equal(np.asarray(image), vqcodec.decode(path, depth=8))
