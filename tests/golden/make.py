"""Write the golden files of a shipped model: `python tests/golden/make.py MODEL [FOLDER]`.

FOLDER: where they go, this one if none is given; archive/golden for models of the archive.

Run when a model ships, or when a kind of file is new: files that are there are never changed.
`valid` holds files with the SHA-256 of their indices, and two decoded pictures; `invalid` files
are named after the error that they must raise.
"""

import hashlib
import json
import struct
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock
from zlib import crc32

import numpy as np
from PIL import ExifTags, Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from conftest import exact_pixels_of, page, smooth_picture  # noqa: E402
from vqcodec.bitstream import container  # noqa: E402
from vqcodec.codec import Codec  # noqa: E402
from vqcodec.image.colour_profile import Cicp  # noqa: E402
from vqcodec.image.metadata import Metadata  # noqa: E402
from vqcodec.image.pixels import Picture  # noqa: E402


def noise(height: int, width: int) -> np.ndarray:
    """Black and white dots: residuals far outside the codebooks, so that escapes occur."""
    dots = np.random.default_rng(1).integers(0, 2, (height, width, 1), dtype=np.uint8)
    return np.repeat(dots * 255, 3, 2)


def sparks(height: int, width: int) -> np.ndarray:
    """A few white dots on grey: large residuals where small ones are expected, so that the
    escapes of pairs occur as well."""
    rgb = np.full((height, width, 3), 128, np.uint8)
    rng = np.random.default_rng(2)
    rgb[rng.integers(0, height, 12), rng.integers(0, width, 12)] = 255
    return rgb


def dressed(height: int, width: int) -> Picture:
    """A picture with alpha, EXIF and XMP: a file with chunks."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "vqcodec"
    alpha = np.add.outer(np.arange(height), np.arange(width)).clip(0, 255).astype(np.uint8)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    metadata = Metadata(None, exif.tobytes().removeprefix(b"Exif\0\0"), xmp)
    return Picture(smooth_picture(height, width, 7), alpha, metadata, ())


def deep(height: int, width: int) -> Picture:
    """Levels of 12 bits of PQ, with alpha: a file of version 2 with a depth and cICP."""
    levels = smooth_picture(height, width, 9).astype(np.uint16) * 16 + 7
    alpha = np.add.outer(np.arange(height), 60 * np.arange(width)).clip(0, 4095).astype(np.uint16)
    return Picture(levels, alpha, depth=12, cicp=Cicp(9, 16, 0, 1))


def in_tiles(codec: Codec, rgb: np.ndarray, quality: float) -> bytes:
    """In tiles of 64x64 pixels, which readers take and our encoder does not write."""
    with mock.patch.object(container, "choose_tile_log2", return_value=container.MIN_TILE_LOG2):
        return codec.encode(rgb, quality, exact=False)


def write_valid(name: str, home: Path) -> None:
    codec = Codec.load(name, "cpu")
    folder = home / "valid"
    folder.mkdir(exist_ok=True)
    index = folder / "index.json"
    rows = json.loads(index.read_text()) if index.exists() else {}
    for key, given in _pictures().items():
        file = f"{name}-{key}.vqc"
        if (folder / file).exists():
            continue
        data = in_tiles(codec, *given) if key == "tiles" else codec.encode(*given, exact=False)
        (folder / file).write_bytes(data)
        indices = codec.read_indices(data)
        rows[file] = {
            "size": [indices.width, indices.height],
            "words": hashlib.sha256(indices.words.astype("<i4").tobytes()).hexdigest(),
        }
    index.write_text(json.dumps(rows, indent=1) + "\n")
    for key in ("waves", "one-channel"):
        picture = folder / f"{name}-{key}.png"
        if not picture.exists():
            codec.decode(picture.with_suffix(".vqc").read_bytes()).save(picture)


def _pictures() -> dict[str, tuple[np.ndarray | Picture, float]]:
    """Pictures and their qualities."""
    return {
        "pixel": (np.full((1, 1, 3), 200, np.uint8), 50),
        "grey": (np.full((16, 16, 3), 128, np.uint8), 50),
        "waves": (smooth_picture(70, 150), 25),
        "fine": (smooth_picture(48, 40, 3), 100),
        "dots": (noise(40, 64), 90),
        "sparks": (sparks(160, 160), 100),
        "dressed": (dressed(40, 56), 40),
        "deep": (deep(40, 56), 60),
        "one-channel": (smooth_picture(50, 70, 5)[..., 0], 40),
        "tiles": (smooth_picture(100, 160, 6), 20),
        "tiled": (smooth_picture(1100, 2000, 4), 0),
    }


def write_exact(name: str) -> None:
    """Files with exact parts: of the networks and exact pixels beside them, in tiles; and of exact
    pixels alone. The index has the hash of the exact pixels as well."""
    codec, folder = Codec.load(name, "onnx"), HERE / "exact"
    folder.mkdir(exist_ok=True)
    index = folder / "index.json"
    rows = json.loads(index.read_text()) if index.exists() else {}
    rgb = page(100, 170)
    rgb[:, 110:] = smooth_picture(100, 60, 8)
    rgb[64:, :64] = smooth_picture(36, 64, 9)
    given = {
        "mixed": in_tiles(codec, rgb, 75),
        "without-loss": codec.encode(rgb[:70, :90], lossless=True),
        "grey-without-loss": codec.encode(rgb[:31, :37, 0], lossless=True),
    }
    for key, data in given.items():
        path = folder / f"{key}.vqc"
        if path.exists():
            continue
        path.write_bytes(data)
        header = container.read_header(data)
        words = codec.read_indices(data).indices if header.learned else np.empty(0, np.int32)
        pixels = np.asarray(codec.decode(data))[exact_pixels_of(data)]
        rows[path.name] = {
            "size": [header.width, header.height],
            "words": hashlib.sha256(words.astype("<i4").tobytes()).hexdigest(),
            "exact": hashlib.sha256(pixels.tobytes()).hexdigest(),
        }
    index.write_text(json.dumps(rows, indent=1) + "\n")


def write_invalid(name: str, home: Path) -> None:
    data, chunked = (
        (home / "valid" / f"{name}-{key}.vqc").read_bytes() for key in ("waves", "dressed")
    )
    header, (tile,), *_ = container.unpack(data)
    foreign = replace(header, model_id=b"unknown!")
    rest = struct.pack("<4s", b"aBcD") + b"\x00"
    optional = rest + struct.pack("<I", crc32(rest))
    swapped = container.Segments(tile.fine, tile.coarse)
    cases = {
        "empty.TruncatedError": b"",
        "png.NotVqcError": b"\x89PNG\r\n\x1a\n",
        "version-3.UnsupportedVersionError": data[:4] + b"\x30" + data[5:],
        "cut-in-header.TruncatedError": data[:12],
        "cut-in-words.TruncatedError": data[: len(data) // 2],
        "flipped-header.CorruptError": data[:7] + bytes([data[7] ^ 1]) + data[8:],
        "flipped-word.CorruptError": data[:-20] + bytes([data[-20] ^ 16]) + data[-19:],
        "bytes-behind-the-end.CorruptError": data + optional,
        "foreign-model.UnknownModelError": container.pack(foreign, [tile]),
        "cut-in-chunk.TruncatedError": chunked[:-30],
        "flipped-chunk.CorruptError": chunked[:-30] + bytes([chunked[-30] ^ 1]) + chunked[-29:],
        "swapped-segments.CorruptError": container.pack(header, [swapped]),
    }
    folder = home / "invalid"
    folder.mkdir(exist_ok=True)
    for case, content in cases.items():
        path = folder / f"{name}-{case}.vqc"
        if not path.exists():
            path.write_bytes(content)


if __name__ == "__main__":
    if sys.argv[1] == "exact":
        write_exact("fast-1")
    else:
        model, folder = sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else HERE)
        write_valid(model, folder)
        write_invalid(model, folder)
