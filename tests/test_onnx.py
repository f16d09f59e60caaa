"""ONNX Runtime's engine against torch's: the same indices, pixels within one level."""

import copy
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import decoded_tiles, random_network, smooth_picture
from vqcodec.bitstream import container
from vqcodec.bitstream.chunks import metadata_chunks
from vqcodec.bitstream.container import Header, Segments, unpack
from vqcodec.cli import quick
from vqcodec.cli.options import Goal
from vqcodec.codec import Codec
from vqcodec.engine.tiling import Maps
from vqcodec.errors import CorruptError, ImageTooLargeError, ModelError, UnknownModelError
from vqcodec.geometry import Rectangle, meet, reach, within
from vqcodec.image.metadata import Metadata
from vqcodec.image.pixels import Picture
from vqcodec.image.strips import join, to_image
from vqcodec.nn.fixed import exact_arithmetic
from vqcodec.nn.quantizer import Classes, gaussian_probabilities
from vqcodec.train.export import export
from vqcodec.zoo import shipped

pytest.importorskip("onnxruntime")

from vqcodec.engine.onnx.codec import OnnxCodec

GOLDEN = Path(__file__).parent / "golden" / "valid"
INDEX = json.loads((GOLDEN / "index.json").read_text())
LIMIT = 10**8  # pixels
HEIGHT, WIDTH = 350, 500


@pytest.fixture
def onnx(installed) -> OnnxCodec:
    return OnnxCodec.load("random")


def read(onnx: OnnxCodec, data: bytes):
    """The one tile of a file, coded."""
    file = unpack(data, LIMIT)
    (place,) = container.tile_grid(file.header)
    return onnx.tiles.decode(file.tiles[0], place.height, place.width, file.header.level)


def assert_near(painted: np.ndarray, expected: np.ndarray) -> None:
    """Within one level in 255, and hardly anywhere off at all."""
    assert painted.shape == expected.shape
    difference = np.abs(painted.astype(int) - expected)
    assert difference.max() <= 1
    assert difference.mean() < 0.001


@pytest.mark.parametrize("shape", [(1, 1), (33, 70), (80, 112)])
@pytest.mark.parametrize("quality", [0, 50, 100])
def test_it_decodes_the_indices_and_latents_that_torch_decodes(codec, onnx, shape, quality):
    data = codec.encode(smooth_picture(*shape), quality, effort=1)
    coded = read(onnx, data)
    segments, height, width = unpack(data, LIMIT).tiles[0], *coded.words.shape[:2]
    with torch.inference_mode():
        expected = codec.tiles.decode(segments, height, width, unpack(data, LIMIT).header.level)

    assert np.array_equal(coded.words, expected.words)
    latents = expected.latents[0].permute(1, 2, 0).numpy()
    assert np.array_equal(coded.latents, latents * 64)


@pytest.mark.parametrize("shape", [(1, 1), (33, 70), (80, 112)])
@pytest.mark.parametrize("quality", [0, 50, 100])
def test_its_files_have_the_same_indices_for_both(codec, onnx, shape, quality):
    picture = smooth_picture(*shape)
    data = onnx.encode(picture, quality)

    indices = codec.read_indices(data)
    assert np.array_equal(read(onnx, data).words, indices.words)
    assert codec.write_indices(indices) == data
    size = len(codec.encode(picture, quality, effort=1))
    assert abs(len(data) - size) <= 0.01 * size  # the same latents but for rounding


def test_escapes_are_coded_and_read_alike(codec, onnx):
    noise = np.random.default_rng(0).integers(0, 2, (64, 64, 3)).astype(np.uint8) * 255
    data = onnx.encode(noise, 100)
    words = codec.read_indices(data).words

    assert np.array_equal(read(onnx, data).words, words)
    rows = codec.read_tables(data)
    assert (words >= onnx.tiles.tables.sizes[rows] - 1)[rows >= 0].any()


def test_words_are_assigned_and_looked_up_as_in_torch(codec, onnx):
    """In all classes, for residuals inside of the codebooks and far outside."""
    rng = np.random.default_rng(0)
    config, theirs = onnx.config.quantizer, codec.network.codebooks
    classes = rng.integers(0, config.classes, (4000, 8))
    r = (rng.normal(size=classes.shape) * 2.0 ** rng.integers(-3, 9, (4000, 1))).astype(np.float32)
    kappa = rng.uniform(0.1, 4, 8).astype(np.float32)
    rows = onnx.tiles.codebooks.rows(classes)
    index = onnx.tiles.codebooks.assign(r, rows, kappa)
    words = onnx.tiles.codebooks.lookup(index, rows)

    def as_map(x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(x.T[None, :, :, None]))

    scales = config.log_sigma_min + classes / config.per_octave
    found: Classes = theirs.classify(as_map(np.float32(scales)))
    expected = theirs.assign(as_map(r), found, as_map(kappa[None]))
    assert np.array_equal(rows, expected.row[0, :, :, 0].T)
    assert np.array_equal(index, expected.index[0, :, :, 0].T)
    assert np.array_equal(words, expected.value[0, :, :, 0].T * 64)
    assert (index >= onnx.tiles.codebooks.last[rows])[rows >= 0].any()


def test_its_optimised_graphs_of_the_prior_are_exact_for_the_largest_numbers(codec, onnx):
    """Against float64, which would show a sum that float32 or a fused layer rounds."""
    rng = np.random.default_rng(0)
    prior = onnx.config.prior
    exact = copy.deepcopy(codec.network.prior).double()
    level = onnx.config.transform.levels - 1
    for index in range(1, len(prior.passes)):
        source = prior.passes[index - 1]
        state = rng.choice([-2047, 2047], (1, prior.width, 9, 7)).astype(np.float32)
        context = rng.choice([-1023, 1023], (9, 7, source.stop - source.start + 1))
        found, sums = onnx._run_pass(index, state, context.astype(np.float32), level)

        h = torch.from_numpy(state).double()
        x = torch.from_numpy(context).permute(2, 0, 1)[None].double()
        with torch.no_grad(), exact_arithmetic():
            part, levels = exact.passes[index], torch.tensor([level])
            h = part.advance(h, x, levels)
            out = part.head(h) * 2**8 + part.level(levels)[:, :, None, None] * 2**13
        assert np.array_equal(found, h)
        assert np.array_equal(sums, out[0].permute(1, 2, 0))


def test_it_paints_within_one_level(codec, onnx, picture):
    data = codec.encode(picture, 60, effort=1)
    strips = onnx.decode_strips(data)

    assert strips[:3] == (112, 80, 3)
    assert_near(join(strips.rows, 80), np.asarray(codec.decode(data)))


def test_it_paints_a_crop(codec, onnx, picture):
    data = codec.encode(picture, 60, effort=1)
    crop = (5, 20, 60, 33)

    assert_near(
        np.asarray(to_image(onnx.decode_strips(data, crop=crop))),
        np.asarray(codec.decode(data, crop=crop)),
    )
    with pytest.raises(ValueError, match="crop is 60x80 at 60,0"):
        onnx.decode_strips(data, crop=(60, 0, 60, 80))


@pytest.fixture(scope="module")
def strong(tmp_path_factory) -> tuple[Codec, OnnxCodec]:
    """Both engines with a model whose decoder's blocks add as much as its linear path: a wrong
    halo would show."""
    network = random_network()
    for name, p in network.decoder.named_parameters():
        if name.endswith(("mix.3.weight", "expand.2.weight", "head.weight")):
            torch.nn.init.normal_(p, std=0.3)
    folder = tmp_path_factory.mktemp("models") / "strong"
    export(network, gaussian_probabilities(network.config.quantizer), folder)
    codec = Codec.load(folder, "cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipped, "entries", lambda: (shipped.Entry("strong", codec.model.id, {}),))
        patch.setattr(shipped, "folder_of", lambda name: folder)
        return codec, OnnxCodec.load("strong")


@pytest.fixture(scope="module")
def tiled(strong) -> bytes:
    """A file of 4 x 3 tiles of 128x128 pixels, the last ones cut, with alpha."""
    alpha = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container, "choose_tile_log2", lambda width, height: 3)
        rgba = np.dstack([smooth_picture(HEIGHT, WIDTH), alpha])
        return strong[0].encode(rgba, 60, effort=1)


@pytest.fixture
def read_tiles(strong, monkeypatch) -> list[Segments]:
    """Those that are decoded, while they are."""
    return decoded_tiles(strong[1], monkeypatch)


@pytest.mark.parametrize(
    ("crop", "needed"),
    [
        ((120, 100, 50, 60), [0, 1, 4, 5]),
        ((0, 0, 1, 1), [0]),
        ((WIDTH - 1, HEIGHT - 1, 1, 1), [11]),
        ((256, 129, 1, 60), [1, 2, 5, 6]),
        ((160, 160, 20, 20), [5]),
        ((159, 160, 20, 20), [4, 5]),
        (None, [*range(12)]),
    ],
)
def test_it_paints_crops_of_pictures_with_tiles(strong, tiled, read_tiles, crop, needed):
    """Of the tiles that it needs for their pixels and the halo of these, and of no others."""
    codec, onnx = strong
    strips = onnx.decode_strips(tiled, crop=crop)
    painted, expected = np.asarray(to_image(strips)), np.asarray(codec.decode(tiled, crop=crop))

    assert strips[:3] == (*expected.shape[1::-1], 4)
    assert_near(painted, expected)
    assert np.array_equal(painted[..., 3], expected[..., 3])
    tiles = unpack(tiled, LIMIT).tiles
    assert [tiles.index(segments) for segments in read_tiles] == needed


def test_latents_of_a_window_are_those_of_its_tiles(strong, tiled):
    """To the bit: tiles of several rows and columns, cut at each side of the window."""
    codec, onnx = strong
    file, window = unpack(tiled, LIMIT), Rectangle(5, 3, 16, 14)
    found = onnx._latents(file, window)
    assert found.shape == (14, 16, onnx.config.transform.latents)

    for number, tile in enumerate(container.tile_grid(file.header)):
        if part := meet(tile, window):
            latents = codec._read_tile(file, number, tile).latents
            expected = Maps(latents, tile).cut(part)[0].permute(1, 2, 0).numpy()
            assert np.array_equal(found[within(part, window)], expected)


def test_a_crop_of_one_tile_paints_no_more_than_its_halo(strong, picture, monkeypatch):
    codec, onnx = strong
    data, shapes, run = codec.encode(picture, 60, effort=1), [], onnx._run

    def listen(name, **inputs):
        if name == "synthesis":
            shapes.append(inputs["latents"].shape[:2])
        return run(name, **inputs)

    monkeypatch.setattr(onnx, "_run", listen)
    halo = reach(onnx.config.transform)
    painted = np.asarray(to_image(onnx.decode_strips(data, crop=(64, 0, 16, 17))))

    assert shapes == [(2 + halo, 1 + 2 * halo)]
    assert_near(painted, np.asarray(codec.decode(data))[:17, 64:80])


def with_damage(data: bytes, *numbers: int) -> bytes:
    """A file whose checksums are right, but some of whose tiles no encoder writes."""
    header, tiles, parts = unpack(data, LIMIT)
    bad = list(tiles)
    for number in numbers:
        bad[number] = bad[number]._replace(fine=bytes(4 * number) + bad[number].fine)
    return container.pack(header, bad, parts)


def test_a_damaged_tile_is_told_if_the_crop_needs_it(strong, tiled):
    codec, onnx = strong
    crop, damaged = (120, 100, 50, 60), with_damage(tiled, 4, 5)
    with pytest.raises(CorruptError, match="words are left") as found:
        onnx.decode_strips(damaged, crop=crop)
    with pytest.raises(CorruptError) as expected:
        codec.decode(damaged, crop=crop)
    assert str(found.value) == str(expected.value)

    strips = onnx.decode_strips(with_damage(tiled, 2, 11), crop=crop)
    assert_near(np.asarray(to_image(strips)), np.asarray(codec.decode(tiled, crop=crop)))


@pytest.mark.parametrize(
    ("crop", "limit"),
    [((0, 0, 0, 9), LIMIT), ((WIDTH, 0, 1, 1), LIMIT), ((0, 0, 9, 9), HEIGHT * WIDTH - 1)],
)
def test_crops_and_limits_are_refused_as_by_torch(strong, tiled, crop, limit):
    codec, onnx = strong
    kinds = ValueError, ImageTooLargeError
    with pytest.raises(kinds) as expected:
        codec.decode(tiled, crop=crop, max_pixels=limit)
    with pytest.raises(kinds) as found:
        onnx.decode_strips(tiled, crop=crop, max_pixels=limit)

    assert (found.type, str(found.value)) == (expected.type, str(expected.value))


def test_alpha_metadata_and_grey_go_through(codec, onnx, picture):
    grey = np.repeat(picture[..., :1], 3, 2)
    metadata = Metadata(icc=None, exif=None, xmp=b"<x:xmpmeta/>")
    whole = Picture(grey, picture[..., 1], metadata, (), True)
    data = onnx.encode(whole)
    strips = onnx.decode_strips(data)

    assert unpack(data, LIMIT).chunks == unpack(codec.encode(whole, effort=1), LIMIT).chunks
    assert unpack(data, LIMIT).chunks[-1] == metadata_chunks(metadata)[-1]
    assert strips.metadata == metadata
    assert_near(join(strips.rows, 80), np.asarray(codec.decode(data)))


def test_threads_change_no_index(onnx, picture, monkeypatch):
    expected = onnx.encode(picture)
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        OnnxCodec.load.cache_clear()
        other = OnnxCodec.load("random")
        assert np.array_equal(read(other, expected).words, read(onnx, expected).words)


def test_a_file_of_another_model_or_with_an_unknown_level_is_refused(onnx, picture):
    data = onnx.encode(picture)
    header, tiles = unpack(data, LIMIT)[:2]

    with pytest.raises(UnknownModelError, match="made with model 0000000000000000"):
        onnx.decode_strips(container.pack(replace(header, model_id=bytes(8)), tiles))
    level = onnx.config.transform.levels
    with pytest.raises(CorruptError, match=f"level is {level}, expected less than {level}"):
        onnx.decode_strips(container.pack(replace(header, level=level), tiles))


def test_words_that_no_encoder_writes_are_refused(onnx, picture):
    header, (segments,) = unpack(onnx.encode(picture), LIMIT)[:2]
    longer = Segments(segments.coarse, bytes(4) + segments.fine)

    with pytest.raises(CorruptError, match="words are left"):
        onnx.decode_strips(container.pack(header, [longer]))


def test_model_files_are_checked(onnx, model_folder, tmp_path, monkeypatch):
    folder = shutil.copytree(model_folder, tmp_path / "copy")
    monkeypatch.setattr(shipped, "folder_of", lambda name: folder)
    OnnxCodec.load.cache_clear()
    shutil.copy(folder / "encoder.safetensors", folder / "decoder.safetensors")
    with pytest.raises(ModelError, match="model random has id"):
        OnnxCodec.load("random")
    (folder / "decoder.safetensors").write_bytes(b"12345678")
    with pytest.raises(ModelError, match=f"model files in {folder} are damaged"):
        OnnxCodec.load("random")


def test_torch_does_what_it_cannot(onnx, model_folder, monkeypatch):
    """Search, targets, large pictures and crops, realism, small sizes, folders, devices; or if
    it is missing."""
    fast = Goal.of(50, 1)
    assert quick.encoder(fast, 1448, 1448, None, "auto") is onnx
    assert quick.encoder(fast, 1449, 1448, None, "auto") is None
    assert quick.encoder(Goal.of(50, 2), 64, 64, None, "auto") is None
    assert quick.encoder(Goal.of(50, 1, bpp=1.0), 64, 64, None, "auto") is None
    assert quick.encoder(fast, 64, 64, str(model_folder), "auto") is None
    assert quick.encoder(fast, 64, 64, None, "cpu") is None

    header = Header(onnx.id, 3, 128, 64)
    crop = 0, 0, 64, 64
    assert quick.decoder(header, None, 0.0, 1, None, "auto") is onnx
    assert quick.decoder(header, crop, 0.0, 1, None, "auto") is onnx
    assert quick.decoder(header, crop, 0.5, 1, None, "auto") is None
    assert quick.decoder(header, crop, 0.0, 8, None, "auto") is None
    assert quick.decoder(replace(header, tile_log2=2), crop, 0.0, 1, None, "auto") is None
    assert quick.decoder(replace(header, width=1 << 16), crop, 0.0, 1, None, "auto") is None

    large = Header(onnx.id, 3, 12_000, 8_400, 6)
    assert quick.decoder(large, crop, 0.0, 1, None, "auto") is onnx
    assert quick.decoder(large, (1, 2, 1448, 1448), 0.0, 1, None, "auto") is onnx
    assert quick.decoder(large, (1, 2, 1449, 1448), 0.0, 1, None, "auto") is None
    assert quick.decoder(large, None, 0.0, 1, None, "auto") is None
    assert quick.decoder(replace(large, tile_log2=8), crop, 0.0, 1, None, "auto") is None

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "vqcodec.engine.onnx.codec")
    assert quick.encoder(fast, 64, 64, None, "auto") is None
    assert quick.decoder(header, None, 0.0, 1, None, "auto") is None


def test_commands_run_without_torch(tmp_path):
    """With the default model, as a user has it, and a crop of a picture with tiles."""
    large, crop = Codec.shared().encode(smooth_picture(1100, 2000), effort=1), (1000, 990, 40, 50)
    assert container.tile_count(unpack(large, LIMIT).header) == 4
    (tmp_path / "large.vqc").write_bytes(large)
    code = """
import sys
from PIL import Image
from vqcodec.cli import main
Image.new("RGB", (40, 30), "teal").save("a.png")
main(["encode", "a.png", "--effort", "1", "--device", "auto"], standalone_mode=False)
main(["decode", "a.vqc", "-o", "b.png", "--device", "auto"], standalone_mode=False)
crop = ["--crop", "1000,990,40,50", "--device", "auto"]
main(["decode", "large.vqc", *crop], standalone_mode=False)
sys.exit("torch" in sys.modules)
"""
    where = {"cwd": tmp_path, "env": {"PYTHONPATH": ":".join(filter(None, sys.path))}}
    subprocess.run([sys.executable, "-c", code], check=True, **where)

    coded = (tmp_path / "a.vqc").read_bytes()
    for name, data, part in [("b.png", coded, None), ("large.png", large, crop)]:
        painted = np.asarray(Image.open(tmp_path / name))
        assert_near(painted, np.asarray(Codec.shared().decode(data, crop=part)))


@pytest.mark.parametrize("file", [file for file in INDEX if "tile" not in file])
def test_golden_files_have_the_indices_of_the_release_that_wrote_them(file):
    data = (GOLDEN / file).read_bytes()
    header = unpack(data, LIMIT).header
    words = read(OnnxCodec.load(shipped.name_of(header.model_id)), data).words

    assert hashlib.sha256(words.astype("<i4").tobytes()).hexdigest() == INDEX[file]["words"]
