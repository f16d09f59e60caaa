"""FORMAT.md is complete: a decoder written from it alone finds the golden files' indices."""

import binascii
import hashlib
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image

from conftest import GOLDEN, fast_model, golden, golden_models
from reference_decoder import Reader, decode_indices, find_exact, read_header, read_tile
from vqcodec.zoo import shipped

MODELS = golden_models()
FILES = {path.name: path for name in MODELS for path in golden(name).glob(f"{name}-*.vqc")}
INDEX = {
    file: row
    for folder in {golden(name) for name in MODELS}
    for file, row in json.loads((folder / "index.json").read_text()).items()
}
SMALLEST = min(FILES, key=lambda name: FILES[name].stat().st_size)
# Large tiles take long and say the same of every model: those of the fastest one are read.
LARGE = f"{fast_model()}-tiled.vqc"
# One tile, several tiles, and chunks behind the tile: what is refused depends on no model.
REFUSED = [f"{fast_model()}-{kind}.vqc" for kind in ("waves", "tiles", "dressed")]


EXACT = GOLDEN[shipped.OWN] / "exact"


def decode(data: bytes, model_id: bytes) -> np.ndarray:
    return decode_indices(data, shipped.folder_of(shipped.name_of(model_id)))


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    content = kind + bytes([len(data)]) + data
    return content + zlib.crc32(content).to_bytes(4, "little")


def altered(data: bytes, *, edit=lambda words: None, chunks: bytes = b"") -> bytes:
    """A file of one tile and fewer than 128 words a segment, altered, with all checks right."""
    reader = Reader(data)
    header = read_header(reader)
    assert len(header.tiles) == 1
    segments = read_tile(reader, header, 0)
    edit(segments)
    start = bytearray(header.data[:-2])
    start[4] |= 2 * bool(chunks)
    start += binascii.crc_hqx(start, 0xFFFF).to_bytes(2, "little")
    context = bytes(start) + bytes(4)  # the number of the tile
    counts = bytes(map(len, segments))
    coarse, fine = (np.array(words, "<u4").tobytes() for words in segments)
    tile = counts + binascii.crc_hqx(context + counts + coarse, 0xFFFF).to_bytes(2, "little")
    tile += coarse + fine
    return bytes(start) + tile + zlib.crc32(context + tile).to_bytes(4, "little") + chunks


def digest(name: str) -> str:
    """SHA-256 of the indices that the reference decoder finds in a golden file."""
    data = FILES[name].read_bytes()
    indices = decode(data, data[6:14])
    width, height = INDEX[name]["size"]
    assert indices.shape[:2] == (-(-height // 16), -(-width // 16)), name
    return hashlib.sha256(indices.astype("<i4").tobytes()).hexdigest()


@pytest.mark.parametrize("model", MODELS)
def test_the_reference_decoder_finds_the_indices_of_the_golden_files(model):
    names = [name for name in INDEX if name.startswith(f"{model}-") and "tiled" not in name]
    expected = {name: INDEX[name]["words"] for name in names}

    assert len(names) >= 9
    assert {name: digest(name) for name in names} == expected


@pytest.mark.slow
def test_the_reference_decoder_finds_the_indices_of_a_large_picture():
    assert digest(LARGE) == INDEX[LARGE]["words"]


def test_the_golden_files_are_of_all_kinds():
    """Grey needs nothing but its flag taken: its indices are coded like those of colours."""
    flags = {name: FILES[name].read_bytes()[4] & 15 for name in INDEX}

    assert [flags[name] for name in REFUSED] == [0, 1, 2]
    assert flags[LARGE] == 1
    assert 4 in flags.values()


@pytest.mark.parametrize("name", REFUSED)
def test_the_reference_decoder_refuses_a_file_with_a_flipped_bit(name):
    for part in ["magic", "level", "middle", "last word", "tile check"]:
        data = bytearray(FILES[name].read_bytes())
        places = {
            "magic": 0,
            "level": 5,
            "middle": len(data) // 2,
            "last word": -5,
            "tile check": -1,
        }
        data[places[part]] ^= 4
        with pytest.raises(ValueError, match=r"damaged|not a \.vqc file|too many|cut short"):
            decode(bytes(data), bytes(data[6:14]))


@pytest.mark.parametrize("name", REFUSED)
def test_the_reference_decoder_refuses_a_truncated_file(name):
    for part in ["nothing", "header", "half", "all but a byte"]:
        data = FILES[name].read_bytes()
        sizes = {
            "nothing": 0,
            "header": 15,
            "half": len(data) // 2,
            "all but a byte": len(data) - 1,
        }
        with pytest.raises(ValueError, match=r"cut short|damaged"):
            decode(data[: sizes[part]], data[6:14])


@pytest.mark.parametrize("name", REFUSED)
def test_the_reference_decoder_refuses_a_file_with_a_byte_behind_its_end(name):
    data = FILES[name].read_bytes()
    with pytest.raises(ValueError, match="bytes follow"):
        decode(data + b"\0", data[6:14])


def test_the_reference_decoder_refuses_words_that_do_not_end_in_state_0():
    data = FILES[SMALLEST].read_bytes()
    assert altered(data) == data

    def flip(segments):
        segments[0][0] ^= 1

    with pytest.raises(ValueError, match="does not end where it should"):
        decode(altered(data, edit=flip), data[6:14])

    def add(segments):
        segments[1].append(0)

    with pytest.raises(ValueError, match="last word is zero"):
        decode(altered(data, edit=add), data[6:14])


def test_the_reference_decoder_skips_optional_chunks_only():
    data = FILES[SMALLEST].read_bytes()
    with_chunk = altered(data, chunks=chunk(b"noTE", b"text") + chunk(b"VEND"))
    assert (decode(with_chunk, data[6:14]) == decode(data, data[6:14])).all()
    with pytest.raises(ValueError, match="critical"):
        decode(altered(data, chunks=chunk(b"NOTE") + chunk(b"VEND")), data[6:14])
    with pytest.raises(ValueError, match="bad last chunk"):
        decode(altered(data, chunks=chunk(b"VEND")), data[6:14])


@pytest.mark.parametrize("name", ["mixed", "without-loss", "grey-without-loss"])
def test_the_reference_decoder_finds_what_is_exact(name):
    data = (EXACT / f"{name}.vqc").read_bytes()
    expected = json.loads((EXACT / "index.json").read_text())[f"{name}.vqc"]
    width, height = expected["size"]
    pixels, exact = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
    for rows, columns, where, stream in find_exact(data):
        size = len(stream) + len(stream) % 2
        riff = b"RIFF" + (12 + size).to_bytes(4, "little") + b"WEBPVP8L"
        riff += len(stream).to_bytes(4, "little") + stream + bytes(len(stream) % 2)
        with Image.open(io.BytesIO(riff)) as image:
            pixels[rows, columns] = np.asarray(image.convert("RGB"))
        exact[rows, columns] = where
    found = pixels[..., 1] if name.startswith("grey") else pixels
    words = decode(data, data[6:14])

    assert hashlib.sha256(found[exact].tobytes()).hexdigest() == expected["exact"]
    assert hashlib.sha256(words.astype("<i4").tobytes()).hexdigest() == expected["words"]


@pytest.mark.parametrize("name", ["mixed", "without-loss"])
def test_the_reference_decoder_refuses_damaged_exact_parts(name):
    data = (EXACT / f"{name}.vqc").read_bytes()
    for offset in range(0, len(data), 97):
        damaged = bytearray(data)
        damaged[offset] ^= 64
        with pytest.raises(ValueError, match=r"damaged|not a|unknown|cut short|too|no such|run"):
            find_exact(bytes(damaged))
