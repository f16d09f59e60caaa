"""ONNX Runtime's engine against torch's: the same indices, pixels within one level; and which is
taken for what."""

import copy
import pickle
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import decoded_tiles, smooth_picture
from vqcodec.bitstream import container
from vqcodec.bitstream.chunks import metadata_chunks
from vqcodec.bitstream.container import Segments, unpack
from vqcodec.codec import Codec
from vqcodec.engine import select
from vqcodec.engine.base import CodedTile
from vqcodec.engine.onnx import transforms
from vqcodec.engine.tiling import read_tile
from vqcodec.engine.torch import runtime
from vqcodec.entropy.sampler import IndexSampler
from vqcodec.errors import CorruptError, MissingExtraError, UnknownModelError
from vqcodec.generative import generate
from vqcodec.geometry import Rectangle, reach
from vqcodec.image.metadata import Metadata
from vqcodec.image.pixels import Picture
from vqcodec.image.strips import join, to_image

LIMIT = 10**8  # pixels
HEIGHT, WIDTH = 350, 500


@pytest.fixture(scope="module")
def onnx(model_folder) -> Codec:
    return Codec.load(model_folder, "onnx")


@pytest.fixture(scope="module")
def strong(strong_folder) -> tuple[Codec, Codec]:
    """Both engines."""
    return Codec.load(strong_folder, "cpu", precise=True), Codec.load(strong_folder, "onnx")


def read(codec: Codec, data: bytes) -> CodedTile:
    """The one tile of a file, coded."""
    file = unpack(data, LIMIT)
    (place,) = container.tile_grid(file.header)
    return read_tile(codec.engine, file, 0, place)


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
    expected = read(codec, data)

    assert np.array_equal(coded.indices, expected.indices)
    assert np.array_equal(coded.tables, expected.tables)
    assert np.array_equal(coded.latents, expected.latents)


@pytest.mark.parametrize("shape", [(1, 1), (33, 70), (80, 112)])
@pytest.mark.parametrize("quality", [0, 50, 100])
def test_its_files_have_the_same_indices_for_both(codec, onnx, shape, quality):
    picture = smooth_picture(*shape)
    data = onnx.encode(picture, quality, effort=1)

    indices = codec.read_indices(data)
    assert np.array_equal(read(onnx, data).indices, indices.indices)
    assert codec.write_indices(indices) == data
    size = len(codec.encode(picture, quality, effort=1))
    assert abs(len(data) - size) <= 0.01 * size  # the same latents but for rounding


def test_escapes_are_coded_and_read_alike(codec, onnx):
    noise = np.random.default_rng(0).integers(0, 2, (64, 64, 3)).astype(np.uint8) * 255
    data = onnx.encode(noise, 100, effort=1)
    words = codec.read_indices(data).indices

    assert np.array_equal(read(onnx, data).indices, words)
    rows = codec.read_tables(data)
    assert (words >= onnx.engine.tiles.tables.sizes[rows] - 1)[rows >= 0].any()


def test_codewords_are_assigned_and_looked_up_as_in_torch(codec, onnx):
    """In all classes, for residuals inside of the codebooks and far outside."""
    rng = np.random.default_rng(0)
    config, theirs = onnx.model.config.quantizer, codec.engine.network.codebooks
    classes = rng.integers(0, config.classes, (4000, 8))
    r = (rng.normal(size=classes.shape) * 2.0 ** rng.integers(-3, 9, (4000, 1))).astype(np.float32)
    kappa = rng.uniform(0.1, 4, 8).astype(np.float32)
    rows = onnx.engine.tiles.codebooks.rows(classes)
    index = onnx.engine.tiles.codebooks.assign(r, rows, kappa)
    codewords = onnx.engine.tiles.codebooks.lookup(index, rows)

    def as_map(x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(x.T[None, :, :, None]))

    scales = config.log_sigma_min + classes / config.per_octave
    found = theirs.classify(as_map(np.float32(scales)))
    expected = theirs.assign(as_map(r), found, as_map(kappa[None]))
    assert np.array_equal(rows, expected.row[0, :, :, 0].T)
    assert np.array_equal(index, expected.index[0, :, :, 0].T)
    assert np.array_equal(codewords, expected.value[0, :, :, 0].T * 64)
    assert (index >= onnx.engine.tiles.codebooks.last[rows])[rows >= 0].any()


def test_its_optimised_graphs_of_the_prior_are_exact_for_the_largest_numbers(codec, onnx):
    """Against float64, which would show a sum that float32 or a fused layer rounds."""
    rng = np.random.default_rng(0)
    prior = onnx.model.config.prior
    exact = copy.deepcopy(codec.engine.network.prior).double()
    level = onnx.model.config.transform.levels - 1
    for index in range(1, len(prior.passes)):
        source = prior.passes[index - 1]
        state = rng.choice([-2047, 2047], (1, prior.width, 9, 7)).astype(np.float32)
        context = rng.choice([-1023, 1023], (9, 7, source.stop - source.start + 1))
        found, sums = onnx.engine._run_pass(index, state, context.astype(np.float32), level)

        h = torch.from_numpy(state).double()
        x = torch.from_numpy(context).permute(2, 0, 1)[None].double()
        with torch.no_grad():
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


def test_a_crop_of_one_tile_paints_no_more_than_its_halo(strong, picture, monkeypatch):
    codec, onnx = strong
    data, shapes, run = codec.encode(picture, 60, effort=1), [], onnx.engine.synthesise

    def listen(latents, *rest):
        shapes.append(latents.shape[:2])
        return run(latents, *rest)

    monkeypatch.setattr(onnx.engine, "synthesise", listen)
    halo = reach(onnx.model.config.transform)
    painted = np.asarray(to_image(onnx.decode_strips(data, crop=(64, 0, 16, 17))))

    assert shapes == [(2 + halo, 1 + 2 * halo)]
    assert_near(painted, np.asarray(codec.decode(data))[:17, 64:80])


def with_damage(data: bytes, *numbers: int) -> bytes:
    """A file whose checksums are right, but some of whose tiles no encoder writes."""
    header, tiles, parts, _ = unpack(data, LIMIT)
    bad = list(tiles)
    for number in numbers:
        bad[number] = bad[number]._replace(fine=bytes(4 * number) + bad[number].fine)
    return container.pack(header, bad, parts)


def test_a_damaged_tile_is_told_if_the_crop_needs_it(strong, tiled):
    codec, onnx = strong
    crop, damaged = (120, 100, 50, 60), with_damage(tiled, 4, 5)
    with pytest.raises(CorruptError, match="words are left") as found:
        onnx.decode(damaged, crop=crop)
    with pytest.raises(CorruptError) as expected:
        codec.decode(damaged, crop=crop)
    assert str(found.value) == str(expected.value)

    strips = onnx.decode_strips(with_damage(tiled, 2, 11), crop=crop)
    assert_near(np.asarray(to_image(strips)), np.asarray(codec.decode(tiled, crop=crop)))


def test_alpha_metadata_and_grey_go_through(codec, onnx, picture):
    grey = np.repeat(picture[..., :1], 3, 2)
    metadata = Metadata(icc=None, exif=None, xmp=b"<x:xmpmeta/>")
    whole = Picture(grey, picture[..., 1], metadata, (), True)
    data = onnx.encode(whole, effort=1)
    strips = onnx.decode_strips(data)

    assert unpack(data, LIMIT).chunks == unpack(codec.encode(whole, effort=1), LIMIT).chunks
    assert unpack(data, LIMIT).chunks[-1] == metadata_chunks(metadata)[-1]
    assert strips.metadata == metadata
    assert_near(join(strips.rows, 80), np.asarray(codec.decode(data)))


def test_words_that_no_encoder_writes_are_refused(onnx, picture):
    header, (segments,) = unpack(onnx.encode(picture, effort=1), LIMIT)[:2]
    longer = Segments(segments.coarse, bytes(4) + segments.fine)

    with pytest.raises(CorruptError, match="words are left"):
        onnx.decode(container.pack(header, [longer]))


def test_bfloat16_moves_pixels_by_little_and_precise_ones_not_at_all(monkeypatch):
    """The default model's, at a quality where little is lost: any error would show most."""
    y, x = np.mgrid[:160, :192]
    noise = np.random.default_rng(0).normal(0, 6, (160, 192, 3))
    waves = np.stack([np.sin(x * y / 900), np.cos(x / 5), np.sin((x + y) / 9)], 2)
    rgb = np.clip(128 + 60 * waves + noise, 0, 255).astype(np.uint8)
    data = Codec.load(device="onnx").encode(rgb, 90)
    expected = np.asarray(Codec.load(device="onnx").decode(data)).astype(float)
    monkeypatch.setattr(runtime, "fast_type", lambda device: torch.bfloat16)
    fast, precise = (
        np.asarray(Codec.load(device="cpu", precise=choice).decode(data)).astype(float)
        for choice in (False, True)
    )

    assert 0 < np.abs(fast - expected).max() <= 2
    assert np.mean((fast - rgb) ** 2) < 10**0.001 * np.mean((precise - rgb) ** 2)  # 0.01 dB
    assert_near(precise, expected)


# Whatever torch does, without it


@pytest.fixture(scope="module")
def both(two_folder) -> tuple[Codec, Codec]:
    return Codec.load(two_folder, "cpu", precise=True), Codec.load(two_folder, "onnx")


@pytest.mark.parametrize("realism", [0.0, 1.0])
def test_fine_blocks_in_windows_have_no_seams(both, realism, monkeypatch):
    """Pixels and latents are those of the whole; a part is of the whole as well."""
    engine, rgb = both[1].engine, np.float32(smooth_picture(144, 208)) / 255
    rgb += 0.1 * np.random.default_rng(0).standard_normal(rgb.shape, np.float32)
    part, origin = Rectangle(2, 1, 8, 7), (5, 3)
    latents = engine.analyse(rgb, 5)
    whole = [
        engine.synthesise(latents, 5, realism, origin),
        engine.synthesise(latents, 5, realism, origin, part),
    ]
    monkeypatch.setattr(transforms, "WHOLE", 1)
    monkeypatch.setattr(transforms, "SIDE", 4)

    assert np.allclose(engine.analyse(rgb, 5), latents, atol=1e-4)
    assert np.allclose(engine.synthesise(latents, 5, realism, origin), whole[0], atol=1e-5)
    assert np.allclose(engine.synthesise(latents, 5, realism, origin, part), whole[1], atol=1e-5)


@pytest.mark.parametrize("realism", [0.3, 1.0])
def test_realism_is_within_one_level(both, picture, realism):
    """Of a picture in windows too: grain is fixed by the place."""
    torch_s, onnx = both
    data = torch_s.encode(picture, 40, effort=1)
    crop = 37, 21, 50, 30

    for part in (None, crop):
        expected = np.asarray(torch_s.decode(data, crop=part, realism=realism))
        assert_near(np.asarray(onnx.decode(data, crop=part, realism=realism)), expected)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_small_sizes_are_within_one_level(strong, tiled, scale):
    codec, onnx = strong

    assert_near(
        np.asarray(onnx.decode(tiled, scale=scale)), np.asarray(codec.decode(tiled, scale=scale))
    )


@pytest.mark.parametrize("kept", [-2000, -9])
def test_damaged_files_are_concealed_alike(strong, tiled, kept):
    codec, onnx = strong
    expected, found = codec.decode_damaged(tiled[:kept]), onnx.decode_damaged(tiled[:kept])

    assert found.states == expected.states
    assert found.notices == expected.notices
    difference = np.abs(np.asarray(found.image).astype(int) - np.asarray(expected.image))
    assert difference.mean() < 0.1  # what is made up is encoded again, with its rounding


def test_tokens_are_read_written_and_drawn_alike(codec, onnx, picture):
    data = codec.encode(picture, 50, effort=1)
    tokens = onnx.read_indices(data)
    assert np.array_equal(onnx.read_tables(data), codec.read_tables(data))
    assert onnx.write_indices(tokens) == data

    for keep in (0, 2):
        samplers = (IndexSampler(codec.model.freqs, 1.0, 5) for _ in range(2))
        drawn = [c.resample_indices(tokens, keep, next(samplers)) for c in (codec, onnx)]
        assert np.array_equal(drawn[0].indices, drawn[1].indices)


def test_holes_are_filled_alike(codec, onnx, picture):
    mask = np.zeros(picture.shape[:2], bool)
    mask[20:50, 30:60] = True
    expected, found = (generate.inpaint(c, picture, mask).rgb for c in (codec, onnx))

    # What is known is rounded to 2**-6 of a step by one of them.
    assert np.abs(found.astype(int) - expected).max() <= 4


# Which engine


def test_gpus_without_torch_name_the_extra(onnx, picture, monkeypatch):
    monkeypatch.setattr(select, "has_torch", lambda: False)
    takes = r"device cuda takes torch: pip install 'vqcodec\[torch\]'"
    with pytest.raises(MissingExtraError, match=takes):
        Codec(onnx.model, "cuda").encode(picture, effort=1)


def test_the_default_effort_takes_no_torch(onnx, picture, monkeypatch):
    monkeypatch.setattr(select, "has_torch", lambda: False)

    assert onnx.encode(picture) == onnx.encode(picture, effort=4)


@pytest.mark.parametrize(
    ("device", "pixels", "imported", "onnx_runs", "expected"),
    [
        ("auto", 10, False, True, "onnx"),
        ("auto", 10, True, True, "torch"),
        ("auto", 10**8, False, True, "torch"),
        ("auto", 10, False, False, "torch"),
        ("onnx", 10**8, True, True, "onnx"),
        ("cpu", 10, False, True, "torch"),
    ],
)
def test_auto_takes_torch_where_it_is_there_or_pays(
    codec, monkeypatch, device, pixels, imported, onnx_runs, expected
):
    if not imported:
        monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(select, "has_torch", lambda: True)
    monkeypatch.setattr(select, "_has_onnx", lambda: onnx_runs)
    engines = select.Engines(codec.model, device)
    monkeypatch.setattr(engines, "_make", lambda kind: kind)

    assert engines.pick(pixels) == expected


def test_one_codec_a_model_is_shared_by_threads_and_pickles(installed, codec):
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: Codec.shared(), range(8)))
    (one,) = found

    assert Codec.shared(codec.model.id) is one
    assert pickle.loads(pickle.dumps(Codec.load("random"))).model.id == codec.model.id
    copied = pickle.loads(pickle.dumps(codec))
    assert copied.encode(smooth_picture(20, 30), effort=1) == codec.encode(
        smooth_picture(20, 30), effort=1
    )


def test_a_folder_does_not_take_the_place_of_a_shipped_model(
    installed, codec, two_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(two_folder, "random")

    assert Codec.load("random").model.realism is None
    assert Codec.load("./random").model.realism is not None
    assert Codec.load(Path("random")).model.realism is not None
    with pytest.raises(UnknownModelError, match="no model"):
        Codec.load("nonesuch")


def test_everything_runs_where_torch_is_not_installed(tmp_path):
    """With the default model, as a user has it: README's lines, and a picture with tiles."""
    large = Codec.shared().encode(smooth_picture(1100, 2000), effort=1)
    assert container.tile_count(unpack(large, LIMIT).header) == 4
    (tmp_path / "large.vqc").write_bytes(large)
    code = """
import sys
sys.modules["torch"] = None
from PIL import Image
import vqcodec, vqcodec.pillow_plugin
from vqcodec.cli import main

def run(*line):
    main([*line], standalone_mode=False)

Image.effect_noise((60, 40), 50).convert("RGB").save("a.png")
run("encode", "a.png")
run("encode", "a.png", "--effort", "1", "-o", "found.vqc")
assert b"" != open("found.vqc", "rb").read() != open("a.vqc", "rb").read()
run("decode", "found.vqc")
run("decode", "a.vqc", "-o", "b.png")
run("decode", "a.vqc", "-o", "c.png", "--realism", "1")
run("decode", "large.vqc", "--crop", "1000,990,40,50", "-o", "crop.png")
run("decode", "large.vqc", "--scale", "1/8", "-o", "small.png")
run("decode", "large.vqc")
run("info", "a.vqc")
run("verify", "a.vqc")
run("tokens", "a.vqc")
data = vqcodec.encode("a.png", quality=40)
assert vqcodec.decode(data, crop=(8, 0, 16, 16)).size == (16, 16)
codec = vqcodec.Codec.load()
assert codec.write_indices(codec.read_indices(data)) == data
Image.open("a.png").save("d.vqc", quality=30)
assert Image.open("d.vqc").convert("L").size == (60, 40)
"""
    where = {"cwd": tmp_path, "env": {"PYTHONPATH": ":".join(filter(None, sys.path))}}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, **where)

    coded, codec = (tmp_path / "a.vqc").read_bytes(), Codec.load(device="cpu", precise=True)
    for name, data in [("b.png", coded), ("large.png", large)]:
        painted = np.asarray(Image.open(tmp_path / name))
        assert_near(painted, np.asarray(codec.decode(data)))


def test_a_graph_that_is_prepared_is_made_once_and_one_that_failed_anew(onnx):
    from vqcodec.engine.onnx.graph import Graph
    from vqcodec.engine.onnx.sessions import Sessions

    graph, threads, sessions = Graph(level=("int64", (1,)), x=("float32", ("n",))), [], Sessions()
    text = graph.model(graph.node("Relu", "x"))

    def make() -> bytes:
        threads.append(threading.current_thread())
        return text

    def fail() -> bytes:
        raise ValueError("no graph")

    sessions.prepare("a", make)
    for _ in range(2):
        assert sessions.get("a", make)(x=np.float32([-1, 2]), level=0)[0].tolist() == [0, 2]
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
    sessions.prepare("b", fail)
    with pytest.raises(ValueError, match="no graph"):
        sessions.get("b", fail)
    assert sessions.get("b", make)(x=np.float32([3]), level=0)[0].tolist() == [3]
