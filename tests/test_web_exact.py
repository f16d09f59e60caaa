"""Files of version 2 in the modules of the page: exact parts, and the decoder of their streams."""

import io
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from conftest import fast_model, smooth_picture
from test_web import DEFAULT, HERE, PAGE, decode, golden, models, needs_node, pixels_of, rgba
from vqcodec.bitstream import container
from vqcodec.bitstream.container import Exact
from vqcodec.bitstream.header import NO_MODEL
from vqcodec.codec import Codec
from vqcodec.errors import FormatError

__all__ = ["models"]  # a fixture
pytestmark = needs_node


def webp(rgb: np.ndarray, method: int = 4, quality: int = 75) -> bytes:
    """The bitstream of WebP lossless, without the container around it."""
    out = io.BytesIO()
    picture = Image.fromarray(rgb)
    picture.save(out, "WEBP", lossless=True, method=method, quality=quality, exact=True)
    data = out.getvalue()
    at = data.index(b"VP8L") + 4
    return data[at + 4 :][: int.from_bytes(data[at : at + 4], "little")]


def decode_streams(folder: Path, streams: list[tuple[bytes, tuple[int, int]]]) -> list[str]:
    """What Node says of streams and their sizes, height and width."""
    names = []
    for number, (data, (height, width)) in enumerate(streams):
        (folder / f"{number}.vp8l").write_bytes(data)
        names.append(f"{width}x{height}@{folder}/{number}.vp8l")
    command = ["node", HERE / "web" / "vp8l.mjs", PAGE, folder, *names]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def pictures() -> dict[str, np.ndarray]:
    """Such that libwebp uses all transforms, palettes of all depths, copies and color caches."""
    rng = np.random.default_rng(0)
    found = {"photo": smooth_picture(120, 90), "pixel": np.full((1, 1, 3), 200, np.uint8)}
    found["noise"] = rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)
    found["grey"] = np.repeat(smooth_picture(60, 77)[..., :1], 3, 2)
    found["mixed"] = np.concatenate([found["noise"].repeat(2, 0), smooth_picture(66, 53)])
    for count in (1, 2, 3, 9, 17, 200):
        palette = rng.integers(0, 256, (count, 3), dtype=np.uint8)
        found[f"{count} colours"] = palette[rng.integers(0, count, (45, 61))]
        blocks = np.kron(rng.integers(0, count, (9, 7)), np.ones((11, 13), int))
        found[f"blocks of {count}"] = palette[blocks]
    return found


def test_streams_of_webp_lossless_are_decoded_exactly(tmp_path):
    cases = [(p, webp(p, *how)) for p in pictures().values() for how in ((0, 0), (3, 50), (6, 100))]
    said = decode_streams(tmp_path, [(stream, p.shape[:2]) for p, stream in cases])

    assert said == ["ok"] * len(cases)
    for number, (picture, _) in enumerate(cases):
        argb = np.fromfile(tmp_path / f"{number}.argb", "<u4").reshape(picture.shape[:2])
        rgb = np.stack([argb >> 16 & 255, argb >> 8 & 255, argb & 255], -1)
        assert np.array_equal(rgb, picture), number


def test_streams_that_are_cut_or_damaged_are_errors_or_pixels_never_anything_else(tmp_path):
    rng, cut, damaged = np.random.default_rng(1), [], []
    for picture in (smooth_picture(20, 24), pictures()["9 colours"], pictures()["mixed"]):
        stream = webp(picture)
        cut += [(stream[: int(n)], picture.shape[:2]) for n in rng.integers(5, len(stream) - 4, 40)]
        for _ in range(60):
            data = bytearray(stream)
            data[rng.integers(5, len(data))] ^= 1 << rng.integers(8)
            damaged.append((bytes(data), picture.shape[:2]))

    assert set(decode_streams(tmp_path, cut)) == {"CorruptError"}
    assert set(decode_streams(tmp_path, damaged)) == {"CorruptError", "ok"}


def with_exact_parts(data: bytes, picture: np.ndarray, maps: dict[int, tuple[int, ...]]) -> bytes:
    """The file with blocks of 16 pixels of some tiles exact, by their runs."""
    header, tiles, chunks, _ = container.unpack(data)
    header, parts = replace(header, exact=True), []
    for number, tile in enumerate(container.tile_grid(header)):
        region = container.tile_pixels(header, tile)
        rows, columns = slice(region.y, region.y + region.height), slice(region.x, None)
        stream = webp(picture[rows, columns][:, : region.width])
        parts.append(Exact(stream, 4, maps[number]) if number in maps else None)
    return container.pack(header, tiles, chunks, parts)


def test_exact_blocks_lie_over_the_learned_picture(models, tmp_path):
    """Of tiles of 4x4 blocks: one of 4x4, the second row from the second block on; all of another;
    and of a grey picture of one tile of 5x4 blocks, whose last ones end with the picture."""
    file, grey = golden(fast_model(), "tiles"), golden(fast_model(), "one-channel")
    picture = np.random.default_rng(3).integers(0, 256, (100, 160, 3), dtype=np.uint8)
    ink = np.repeat(picture[:50, :70, :1], 3, 2)
    expected, expected_grey = pixels_of(file), pixels_of(grey)
    expected[16:32, 16:64, :3] = picture[16:32, 16:64]
    expected[64:100, 64:128, :3] = picture[64:100, 64:128]
    expected_grey[32:50, 64:70, :3] = ink[32:50, 64:70]
    cases = {
        "tiles.vqc": with_exact_parts(
            file.read_bytes(), picture, {0: (5, 3, 1, 3, 4), 4: (0, 4, 8)}
        ),
        "grey.vqc": with_exact_parts(grey.read_bytes(), ink, {0: (14, 1, 5)}),
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
    results = decode(models, tmp_path, [tmp_path / name for name in cases])

    assert [result["facts"]["exactTiles"] for result in results] == [2, 1]
    for number, pixels in enumerate((expected, expected_grey)):
        found = rgba(tmp_path, number, pixels.shape)
        assert np.abs(found - pixels).max() <= 1
    found = rgba(tmp_path, 0, expected.shape)[..., :3]
    assert np.array_equal(found[16:32, 16:64], picture[16:32, 16:64])
    assert np.array_equal(found[64:, 64:128], picture[64:, 64:128])


def test_text_beside_a_photograph_is_as_the_package_decodes_it(models, tmp_path):
    picture = np.full((160, 320, 3), 255, np.uint8)
    picture[:, 160:] = smooth_picture(160, 160)
    letters = Image.fromarray(picture)
    for y in range(4, 150, 14):
        ImageDraw.Draw(letters).text((4, y), "exact blocks of a tile", "black")
    picture, codec = np.asarray(letters), Codec.load(device="onnx")
    (tmp_path / "mixed.vqc").write_bytes(codec.encode(picture, 60, effort=1))
    (tmp_path / "lossless.vqc").write_bytes(codec.encode(picture, lossless=True))
    files = [tmp_path / name for name in ("mixed.vqc", "lossless.vqc")]
    mixed, lossless = decode(models, tmp_path, files)

    assert mixed["facts"]["exactTiles"] == 1
    assert mixed["facts"]["model"] == DEFAULT
    expected = pixels_of(files[0])
    assert np.abs(rgba(tmp_path, 0, expected.shape) - expected).max() <= 1
    assert lossless["facts"]["model"] is None
    assert np.array_equal(rgba(tmp_path, 1, expected.shape)[..., :3], picture)


def test_a_file_of_exact_pixels_alone_takes_no_model(tmp_path):
    picture = smooth_picture(100, 160)
    header = container.Header(NO_MODEL, 0, 160, 100, 2, exact=True, learned=False)
    grid = [container.tile_pixels(header, tile) for tile in container.tile_grid(header)]
    parts = [Exact(webp(picture[t.y : t.y + t.height, t.x : t.x + t.width])) for t in grid]
    data = container.pack(header, [], [], parts)
    (tmp_path / "exact.vqc").write_bytes(data)
    (tmp_path / "damaged.vqc").write_bytes(data[:-30] + bytes([data[-30] ^ 1]) + data[-29:])
    whole, damaged = decode(
        tmp_path / "nowhere", tmp_path, [tmp_path / "exact.vqc", tmp_path / "damaged.vqc"]
    )

    assert whole["facts"]["model"] is None
    assert np.array_equal(rgba(tmp_path, 0, (100, 160, 4))[..., :3], picture)
    assert damaged["error"] == "CorruptError"


def test_headers_of_version_2_are_read_or_refused_as_by_the_package(models, tmp_path):
    header, tiles, chunks, _ = container.unpack(golden(fast_model(), "waves").read_bytes())
    deep = replace(header, depth=10, cicp=(12, 13, 0, 1))
    files = {"deep": container.pack(deep, tiles, chunks)}
    for name, at, value in (("features", 0, 0x80), ("none", 0, 0), ("depth", 1, 8)):
        data = bytearray(files["deep"])
        start = 16 + 1  # magic, version, level, model, the two sizes (of two and one bytes)
        data[start + at] = value
        end = start + 6
        data[end : end + 2] = container.crc16(bytes(data[:end])).to_bytes(2, "little")
        files[name] = bytes(data)
    for name, data in files.items():
        (tmp_path / f"{name}.vqc").write_bytes(data)
    results = decode(models, tmp_path, [tmp_path / f"{name}.vqc" for name in files])

    facts = results[0]["facts"]
    assert facts["depth"] == 10
    assert facts["cicp"] == [12, 13, 0, 1]
    assert facts["colorSpace"] == "display-p3"
    for result, data in zip(results[1:], list(files.values())[1:], strict=True):
        with pytest.raises(FormatError) as error:
            container.unpack(data)
        assert result["error"] == type(error.value).__name__, json.dumps(result)
