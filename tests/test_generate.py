"""Pictures drawn from the prior, varied, and completed with it."""

import io

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from vqcodec.bitstream import container
from vqcodec.cli import main
from vqcodec.codec import Codec
from vqcodec.compare import bit_allocation
from vqcodec.config import PRECISION
from vqcodec.entropy.sampler import IndexSampler
from vqcodec.errors import ImageTooLargeError, InputError, UnknownModelError
from vqcodec.generative import generate
from vqcodec.image import pixels
from vqcodec.image.metadata import Metadata

COUNTS = np.array([2, 900, 90, 8, 7], np.uint32)
# Scaled to what the coder takes; the last is the escape.
TABLE = np.append(COUNTS[:-1] * 16000, 0).astype(np.uint32)
TABLE[-1] = 2**PRECISION - TABLE.size - TABLE.sum()


def call(*args):
    return CliRunner().invoke(main, list(map(str, args)))


def hole_in(rgb: np.ndarray) -> np.ndarray:
    hole = np.zeros(rgb.shape[:2], bool)
    hole[30:62, 41:70] = True
    return hole


def test_words_are_drawn_as_often_as_the_coder_expects_them():
    words = IndexSampler([TABLE], 1, 0).draw(np.zeros((2000, 10), np.int64))
    p = (TABLE[:-1] + 1) / (TABLE[:-1] + 1).sum()

    assert np.allclose(np.bincount(words.ravel(), minlength=4) / 20000, p, atol=0.01)
    assert words.max() < TABLE.size - 1  # no escape, though half of the table is one


@pytest.mark.parametrize(("temperature", "expected"), [(0.5, 0.990), (2, 0.686), (0, 1)])
def test_temperature_changes_the_power_of_the_probabilities(temperature, expected):
    """0.9 and 0.09 and 0.008 and 0.002, to the power of 2 and of 1/2, and the largest alone."""
    words = IndexSampler([TABLE], temperature, 0).draw(np.zeros((2000, 10), np.int64))

    assert np.isclose((words == 1).mean(), expected, atol=0.01)


def test_each_word_is_from_its_own_table_and_none_where_there_is_none():
    other = np.array([0, 0, 2**PRECISION - 3], np.uint32)[[0, 2, 1]]  # nearly always word 1
    rows = np.array([[0, -1], [1, 1], [-1, 1]])
    words = IndexSampler([TABLE, other], 0, 0).draw(rows)

    assert words.tolist() == [[1, -1], [1, 1], [-1, 1]]


def test_a_seed_gives_the_same_words_again(codec):
    first, again, other = (generate.sample(codec, 70, 50, seed=s).indices for s in (4, 4, 5))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
def test_a_temperature_that_is_none_is_refused(codec, temperature):
    with pytest.raises(ValueError, match="temperature is"):
        generate.sample(codec, 16, 16, temperature=temperature)


def test_samples_out_of_range_are_refused(codec):
    with pytest.raises(ValueError, match=r"level is 8, expected 0\.\.7"):
        generate.sample(codec, 16, 16, level=8)
    with pytest.raises(ValueError, match="size is 0x16"):
        generate.sample(codec, 0, 16)
    with pytest.raises(ImageTooLargeError):
        generate.sample(codec, 100, 100, max_pixels=9999)


def test_a_sample_takes_the_bits_in_a_file_that_the_prior_predicts(codec):
    """Two estimates: the bits of the very words, and the entropy of their tables."""
    tokens = generate.sample(codec, 256, 192, level=5)
    data = codec.write_indices(tokens)
    payload = 8 * (len(data) - container.overhead(data))
    tables = codec.read_tables(data)
    p = [(counts + 1.0) / 2**PRECISION for counts in codec.model.freqs]
    entropy = np.array([-(row * np.log2(row)).sum() for row in p])[tables[tables >= 0]].sum()

    assert np.array_equal(codec.read_indices(data).indices, tokens.indices)
    assert 0 <= payload - bit_allocation.measure(codec, data).bits.sum() < 2 * 64 + 1e-4 * payload
    assert abs(payload / entropy - 1) < 0.05
    assert entropy > 10000


def test_a_sample_of_several_tiles_is_a_file_too(codec, monkeypatch):
    monkeypatch.setattr(container, "choose_tile_log2", lambda width, height: 2)
    tokens = generate.sample(codec, 150, 70)
    data = codec.write_indices(tokens)

    assert len(container.unpack(data).tiles) == 6
    assert np.array_equal(codec.read_indices(data).indices, tokens.indices)


def test_a_variation_keeps_the_coarse_words_and_no_others(codec, picture):
    tokens = codec.encode_indices(picture, 60)
    varied = generate.vary(codec, tokens)
    coarse = codec.model.config.prior.passes[codec.model.config.prior.coarse_passes - 1].stop

    assert np.array_equal(varied.indices[..., :coarse], tokens.indices[..., :coarse])
    assert not np.array_equal(varied.indices[..., coarse:], tokens.indices[..., coarse:])
    assert varied._replace(indices=None) == tokens._replace(indices=None)


def test_a_variation_that_keeps_all_passes_is_the_picture(codec, picture):
    tokens = codec.encode_indices(picture, 60)
    passes = len(codec.model.config.prior.passes)

    assert np.array_equal(generate.vary(codec, tokens, keep=passes).indices, tokens.indices)
    with pytest.raises(ValueError, match=f"keep is {passes + 1}, expected 0"):
        generate.vary(codec, tokens, keep=passes + 1)
    with pytest.raises(UnknownModelError):
        generate.vary(codec, tokens._replace(model_id=bytes(8)))


@pytest.mark.parametrize("temperature", [None, 1.0])
def test_only_pixels_of_the_hole_change_and_what_was_in_it_does_not_matter(
    codec, picture, temperature
):
    hole = hole_in(picture)
    other = picture.copy()
    other[hole] = 255 - other[hole]
    filled = generate.inpaint(codec, picture, hole, temperature=temperature).rgb

    assert np.array_equal(filled[~hole], picture[~hole])
    assert np.array_equal(filled, generate.inpaint(codec, other, hole, temperature=temperature).rgb)


def test_the_default_model_fills_holes_and_scratches_in_an_even_picture_evenly():
    """The tests' model has a random prior, which expects nothing sensible."""
    rgb = np.full((90, 100, 3), (200, 90, 30), np.uint8)
    scratches = np.zeros(rgb.shape[:2], bool)
    scratches[5::16] = True  # no latent is known
    codec = Codec.load(device="cpu")
    for hole in (hole_in(rgb), scratches):
        damaged = np.where(hole[..., None], 0, rgb).astype(np.uint8)
        filled = generate.inpaint(codec, damaged, hole).rgb

        assert np.abs(filled.astype(int) - rgb).max() <= 8


def test_a_hole_larger_than_a_tile_and_its_surroundings_is_filled(codec, monkeypatch):
    monkeypatch.setattr(generate, "choose_tile_log2", lambda width, height: 2)
    rgb = np.full((100, 336, 3), 120, np.uint8)
    hole = np.ones(rgb.shape[:2], bool)
    hole[:, :20] = False
    filled = [
        generate.inpaint(codec, np.where(hole[..., None], value, rgb).astype(np.uint8), hole).rgb
        for value in (0, 255)
    ]

    assert np.array_equal(*filled)
    assert np.array_equal(filled[0][~hole], rgb[~hole])


def test_alpha_metadata_and_grey_stay(codec, picture):
    grey = np.repeat(picture[..., :1], 3, 2)
    alpha = picture[..., 1]
    source = pixels.Picture(grey, alpha, Metadata(xmp=b"<x/>"), grey=True)
    filled = generate.inpaint(codec, source, hole_in(grey), temperature=1.0)

    assert filled._replace(rgb=None, alpha=None) == source._replace(rgb=None, alpha=None)
    assert np.array_equal(filled.alpha, alpha)
    assert np.array_equal(filled.rgb[..., 0], filled.rgb[..., 2])


def test_masks_that_do_not_fit_are_refused(codec, picture):
    hole = hole_in(picture)
    with pytest.raises(InputError, match="mask is 111x80 pixels, the picture is 112x80"):
        generate.inpaint(codec, picture, hole[:, 1:])
    with pytest.raises(InputError, match="mask marks none of the picture"):
        generate.inpaint(codec, picture, hole & False)
    with pytest.raises(InputError, match="mask marks all of the picture"):
        generate.inpaint(codec, picture, hole | True)
    with pytest.raises(ValueError, match="mask is uint8"):
        generate.inpaint(codec, picture, hole.astype(np.uint8))


@pytest.mark.usefixtures("installed")
def test_sample_writes_a_picture_or_a_file_by_the_suffix(tmp_path):
    image, file = tmp_path / "a.png", tmp_path / "a.vqc"
    for out in (image, file):
        result = call("sample", "--size", "70x40", "--seed", 3, "-o", out)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith(f"seed 3 -> {out} 70x40, level ")
    call("decode", file, "-o", tmp_path / "b.png")

    assert f" {file.stat().st_size} B, " in result.stdout
    with Image.open(image) as one, Image.open(tmp_path / "b.png") as other:
        assert one.size == (70, 40)
        assert np.array_equal(one, other)


@pytest.mark.usefixtures("installed")
def test_several_samples_have_their_seeds_in_their_names(tmp_path):
    result = call("sample", "-n", 2, "--size", "32x16", "--seed", 8, "-o", tmp_path / "s.png")

    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s-8.png", "s-9.png"]


@pytest.mark.usefixtures("installed")
def test_sample_varies_a_file(tmp_path, codec, picture):
    source, out = tmp_path / "a.vqc", tmp_path / "b.vqc"
    source.write_bytes(codec.encode(picture))
    result = call("sample", "--from", source, "--keep", "coarse", "-o", out)
    expected = generate.vary(codec, codec.read_indices(source.read_bytes()))

    assert result.exit_code == 0, result.output
    assert np.array_equal(codec.read_indices(out.read_bytes()).indices, expected.indices)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["--size", "70"], 2, "'70': expected WxH"),
        (["--size", "999999x9"], 6, "vqcodec: sample: picture is 999999x9 pixels"),
        (["--level", "48"], 2, "--level: 48 is above 7"),
        (["--temperature", "nan"], 2, "nan is not a number"),
        (["--keep", "coarse"], 2, "--keep needs --from FILE"),
        (["--from", "a.vqc", "--level", "3"], 2, "--from FILE has its own size and level"),
        (["--from", "a.vqc", "--keep", "99"], 2, "--keep: 99 is above"),
        (["--from", "none.vqc"], 3, "vqcodec: none.vqc: cannot be read: No such file"),
        (["-o", "a.vqc"], 7, "a.vqc exists already; -f overwrites it"),
        (["--from", "a.vqc", "-o", "a.vqc", "-f"], 7, "overwrite its own input"),
        (["-o", "a.what"], 7, "what"),
        (["-n", "2", "-o", "-"], 2, "several samples do not go to stdout"),
    ],
)
def test_sample_says_what_is_wrong(tmp_path, monkeypatch, codec, picture, args, code, text):
    monkeypatch.chdir(tmp_path)
    data = codec.encode(picture)
    (tmp_path / "a.vqc").write_bytes(data)
    result = call("sample", *args)

    assert result.exit_code == code, result.output
    assert text in result.stderr
    assert "Traceback" not in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["a.vqc"]
    assert (tmp_path / "a.vqc").read_bytes() == data


@pytest.mark.usefixtures("installed")
def test_inpaint_fills_the_white_of_a_mask(tmp_path, picture):
    source, mask, out = (tmp_path / name for name in ("a.png", "mask.png", "out.png"))
    hole = hole_in(picture)
    Image.fromarray(picture).save(source)
    Image.fromarray(hole).save(mask)
    result = call("inpaint", source, "--mask", mask, "-o", out)
    piped = call("inpaint", source, "--mask", mask, "--temperature", 1, "-o", "-")

    assert result.exit_code == 0, result.output
    assert result.stdout == f"{source} 112x80 -> {out}, {hole.sum()} pixels filled\n"
    filled, drawn = pixels.load(out).rgb, pixels.load(io.BytesIO(piped.stdout_bytes)).rgb
    for rgb in (filled, drawn):
        assert np.array_equal(rgb[~hole], picture[~hole])
    assert not np.array_equal(filled, drawn)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["a.png", "--mask", "small.png", "-o", "b.png"], 3, "mask is 9x9 pixels"),
        (["a.png", "--mask", "none.png", "-o", "b.png"], 3, "cannot be read: No such file"),
        (["a.png", "--mask", "a.png", "-o", "a.png", "-f"], 7, "overwrite its own input"),
        (["a.png", "--mask", "mask.png", "-o", "mask.png", "-f"], 7, "overwrite its own input"),
        (["a.png", "--mask", "a.png", "-o", "mask.png"], 7, "mask.png exists already"),
        (["-", "--mask", "-", "-o", "b.png"], 2, "only one of IMAGE and MASK"),
        (["a.png", "-o", "b.png"], 2, "Missing option '--mask'"),
    ],
)
def test_inpaint_says_what_is_wrong(tmp_path, monkeypatch, picture, args, code, text):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture).save("a.png")
    Image.fromarray(picture[:9, :9]).save("small.png")
    (tmp_path / "mask.png").write_bytes(b"")
    before = sorted(tmp_path.iterdir())
    result = call("inpaint", *args)

    assert result.exit_code == code, result.output
    assert text in result.stderr
    assert "Traceback" not in result.output
    assert sorted(tmp_path.iterdir()) == before
