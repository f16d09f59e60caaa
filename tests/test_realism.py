"""The second decoder of a model: the dial, its file, and everything that decodes with it."""

import hashlib
import io
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image, ImageFile
from safetensors.torch import load_file, save_file

import vqcodec
from conftest import forget_models, pretend_installed
from vqcodec import pillow_plugin
from vqcodec.cli import main
from vqcodec.codec import Codec
from vqcodec.engine import tiling
from vqcodec.engine.torch import decoder_blend
from vqcodec.errors import ModelError, NoDecoderError, UnknownModelError
from vqcodec.integrations import ray, webdataset
from vqcodec.train.export import append_to_index, index_entry
from vqcodec.zoo import shipped, weights

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def two(two_folder) -> Codec:
    return Codec.load(two_folder, "cpu")


@pytest.fixture
def two_installed(monkeypatch, two_folder, two):
    """That model as the only and default one that is installed."""
    digest = hashlib.sha256((two_folder / "realism.safetensors").read_bytes()).hexdigest()
    entry = shipped.Entry("two", two.model.id, {}, realism=shipped.Realism("two", digest))
    pretend_installed(monkeypatch, entry)
    monkeypatch.setattr(shipped, "realism_file", lambda name: two_folder / "realism.safetensors")
    monkeypatch.setattr(shipped, "default_name", lambda: "two")
    monkeypatch.setattr(shipped, "folder_of", lambda name: two_folder)
    forget_models()
    yield entry
    forget_models()


@pytest.fixture
def coded(codec, picture) -> bytes:
    return codec.encode(picture)


def decoded(codec: Codec, data: bytes, dial: float) -> np.ndarray:
    return np.asarray(codec.decode(data, realism=dial)).astype(int)


# The file of the decoder


def test_the_second_decoder_is_no_part_of_the_id(codec, two):
    assert two.model.id == codec.model.id
    assert codec.model.realism is None
    names = {f"decoder.{name}" for name, _ in two.engine.network.decoder.named_parameters()}
    assert two.model.realism.keys() == names | {"decoder.grain.weight"}


@pytest.fixture
def folder(two_folder, tmp_path) -> Path:
    return shutil.copytree(two_folder, tmp_path / "model")


def without(tensors, name):
    del tensors[name]


def renamed(tensors, name):
    tensors["linear.synthesis"] = tensors[name].clone()


def cut(tensors, name):
    tensors[name] = tensors[name][:-1].clone()


def infinite(tensors, name):
    tensors[name][0] = torch.inf


def rounded(tensors, name):
    tensors[name] = tensors[name].int()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (without, "decoder.stem.bias is missing"),
        (renamed, "linear.synthesis is not one that we know"),
        (cut, r"decoder.stem.bias is \[\d+\], expected \[\d+\]"),
        (infinite, "decoder.stem.bias has not only finite numbers"),
        (rounded, "decoder.stem.bias has not only finite numbers"),
    ],
)
def test_another_decoders_file_is_refused(folder, change, text):
    tensors = load_file(folder / "realism.safetensors")
    change(tensors, "decoder.stem.bias")
    save_file(tensors, folder / "realism.safetensors")

    with pytest.raises(ModelError, match=f"realism.safetensors: {text}"):
        weights.load_folder(folder)


def test_a_damaged_file_is_refused(folder):
    path = folder / "realism.safetensors"
    path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(ModelError, match="damaged"):
        weights.load_folder(folder)


def test_with_hashes_they_say_whether_there_is_a_second_decoder(folder):
    assert weights.load_folder(folder, {}).realism is None
    with pytest.raises(ModelError, match=r"realism\.safetensors of model: sha256"):
        weights.load_folder(folder, {"realism": "00" * 32})
    (folder / "realism.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot read"):
        weights.load_folder(folder, {"realism": "00" * 32})


def test_the_index_has_the_hash_of_each_decoder(two_folder, two, model_folder, codec):
    found = index_entry(two_folder, two.model)["sha256"]

    assert weights.load_folder(two_folder, found).realism is not None
    assert found.keys() == {*weights.PARTS, "realism"}
    assert index_entry(model_folder, codec.model)["sha256"].keys() == set(weights.PARTS)


def test_ship_takes_the_second_decoder_along_and_retire_moves_a_model_to_the_archive(
    folder, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import ship

    def read(path: str) -> dict:
        return json.loads((tmp_path / path).read_text())

    def make_golden(command, **options):
        name, home = command[-2:]
        for kind in ("valid", "invalid"):
            (Path(home) / kind).mkdir(parents=True, exist_ok=True)
            (Path(home) / kind / f"{name}-pixel.vqc").write_text(name)
        index = Path(home) / "valid" / "index.json"
        rows = json.loads(index.read_text()) if index.exists() else {}
        index.write_text(json.dumps(rows | {f"{name}-pixel.vqc": 1}))

    monkeypatch.setattr(ship, "ROOT", tmp_path)
    monkeypatch.setattr(ship.subprocess, "run", make_golden)
    for home in ship.GOLDEN:
        (tmp_path / home).mkdir(parents=True)
    ship.ship(folder, "old")
    ship.ship(folder, "psnr", ship.ARCHIVE)
    ship.ship(folder, "new")
    ship.retire("old")

    index, archive = read("models/index.json"), read("archive/vqcodec_archive/index.json")
    (entry,) = index["models"]
    assert weights.load_folder(tmp_path / "models" / "new", entry["sha256"]).realism is not None
    assert (index["default"], entry["name"]) == ("new", "new")
    assert [row["name"] for row in archive["models"]] == ["psnr", "old"]
    assert [row["name"] for row in index["elsewhere"]] == ["psnr", "old"]
    assert weights.load_folder(tmp_path / ship.ARCHIVE / "old", archive["models"][1]["sha256"])
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*-pixel.vqc")}
    assert found == {
        f"{home}/{kind}/{name}-pixel.vqc"
        for home, names in (("tests/golden", ["new"]), ("archive/golden", ["psnr", "old"]))
        for kind in ("valid", "invalid")
        for name in names
    }
    assert read("tests/golden/valid/index.json") == {"new-pixel.vqc": 1}
    assert read("archive/golden/valid/index.json") == {"psnr-pixel.vqc": 1, "old-pixel.vqc": 1}
    with pytest.raises(SystemExit, match="new is the default"):
        ship.retire("new")


def test_a_shipped_model_can_get_another_second_decoder(
    folder, model_folder, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import ship

    monkeypatch.setattr(ship, "ROOT", tmp_path)
    monkeypatch.setattr(ship.subprocess, "run", lambda command, **options: None)
    for home in (*ship.GOLDEN, *ship.GOLDEN.values()):
        (tmp_path / home / "valid").mkdir(parents=True)
    for home in ship.GOLDEN.values():
        (tmp_path / home / "valid" / "index.json").write_text("{}")
    ship.ship(folder, "one")
    before = {p: p.read_bytes() for p in (tmp_path / "models" / "one").iterdir()}
    tensors = load_file(folder / "realism.safetensors")
    save_file(
        {name: 2 * tensor for name, tensor in tensors.items()}, folder / "realism.safetensors"
    )
    ship.ship_realism(folder, "one")
    assert {p: p.read_bytes() for p in (tmp_path / "models" / "one").iterdir()} == before

    monkeypatch.setattr(shipped, "_package", lambda package: tmp_path / "models")
    pretend_installed(monkeypatch, *shipped._read(shipped.OWN))
    forget_models()
    model = weights.load_shipped("one")
    assert all(np.array_equal(model.realism[k], 2 * tensors[k].numpy()) for k in tensors)
    (tmp_path / "models" / "one-realism-2" / "realism.safetensors").write_bytes(b"x")
    forget_models()
    with pytest.raises(ModelError, match="of one-realism-2: sha256"):
        dict(weights.load_shipped("one").realism)

    ship.ship(folder, "two")
    ship.retire("one")
    archive = json.loads((tmp_path / ship.ARCHIVE / "index.json").read_text())
    assert [row["folder"] for row in archive["realism"]] == ["one-realism-2"]
    assert (tmp_path / ship.ARCHIVE / "one-realism-2" / "realism.safetensors").is_file()
    with pytest.raises(SystemExit, match="no second decoder of two"):
        ship.ship_realism(model_folder, "two")


def test_a_model_can_be_shipped_beside_the_default(tmp_path):
    index = tmp_path / "index.json"
    for name, default in (("first", True), ("second", False)):
        append_to_index(index, {"name": name}, default)

    known = json.loads(index.read_text())
    assert (known["default"], len(known["models"])) == ("first", 2)


# The dial


def test_the_bytes_of_a_file_do_not_depend_on_the_decoders(codec, two, picture):
    assert two.encode(picture, 40) == codec.encode(picture, 40)


def test_realism_0_is_the_network_itself(codec, two, coded):
    assert two.engine.decoders.at(0) is two.engine.network.decoder
    np.testing.assert_array_equal(decoded(two, coded, 0), np.asarray(codec.decode(coded)))


def test_realism_1_has_the_weights_of_the_second_decoder(two_folder):
    two = Codec.load(two_folder, "cpu", precise=True)
    found = two.engine.decoders.at(1)

    for name, weight in found.named_parameters():
        assert np.array_equal(weight, two.model.realism[f"decoder.{name}"].astype(np.float32))


def test_between_the_weights_and_the_picture_are_between(two, coded):
    fidelity, half, full = (decoded(two, coded, dial) for dial in (0, 0.5, 1))
    near = decoded(two, coded, 0.1)

    middle = two.engine.decoders.at(0.5).head.weight
    ends = (two.engine.decoders.at(dial).head.weight for dial in (0, 1))
    assert torch.allclose(middle, sum(ends) / 2, atol=1e-6)
    change = np.abs(full - fidelity).mean()
    assert change > 0.5
    assert np.abs(half - fidelity).mean() < change
    assert np.abs(half - full).mean() < change
    assert np.abs(near - fidelity).mean() < np.abs(half - fidelity).mean()


def test_the_decoders_of_the_last_values_are_kept(two):
    first = two.engine.decoders.at(0.5)

    assert two.engine.decoders.at(0.5) is first
    for number in range(decoder_blend.KEPT):
        two.engine.decoders.at(0.9 + number / 100)
    assert two.engine.decoders.at(0.5) is not first


@pytest.mark.parametrize("dial", [-0.1, 1.1, float("nan")])
def test_other_numbers_are_refused(two, coded, dial):
    with pytest.raises(ValueError, match=r"expected 0\.\.1"):
        two.decode(coded, realism=dial)


def test_a_model_without_a_second_decoder_says_so(codec, coded):
    with pytest.raises(NoDecoderError, match=r"realism is 0\.5, but the model has no realism"):
        codec.decode(coded, realism=0.5)


# All that decodes


def test_every_way_of_decoding_has_the_dial(two, coded, two_installed):
    whole = decoded(two, coded, 1)

    crop = two.decode(coded, crop=(20, 16, 40, 30), realism=1)
    np.testing.assert_allclose(np.asarray(crop), whole[16:46, 20:60], atol=1)
    for image in (
        two.decode_damaged(coded, realism=1).image,
        two.decode_indices(two.read_indices(coded), realism=1),
        vqcodec.decode(coded, realism=1),
        webdataset.decoder(".vqc", coded, realism=1),
    ):
        np.testing.assert_array_equal(np.asarray(image), whole)


def test_windows_have_the_texture_of_the_whole(two, coded, monkeypatch):
    whole = decoded(two, coded, 1)
    monkeypatch.setattr(tiling, "WHOLE", 1)
    monkeypatch.setattr(tiling, "SIDE", 2)

    np.testing.assert_allclose(decoded(two, coded, 1), whole, atol=1)


def test_the_callables_of_ray_data_have_the_dial(two, two_folder, coded):
    model = partial(dict, model=str(two_folder), realism=1)
    rows = {"vqc": np.array([coded], dtype=object)}
    indices = ray.ReadIndices(str(two_folder))(rows)

    for found in (ray.Decode(**model())(rows), ray.DecodeIndices(**model())(indices)):
        np.testing.assert_array_equal(found["image"][0], decoded(two, coded, 1))


@pytest.mark.parametrize("truncated", [False, True])
def test_an_opened_image_has_the_dial(two, coded, two_installed, monkeypatch, truncated):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", truncated)
    with Image.open(io.BytesIO(coded)) as image:
        assert isinstance(image, pillow_plugin.VqcImageFile)
        image.realism = 1
        np.testing.assert_array_equal(np.asarray(image), decoded(two, coded, 1))


# The command line


def call(*args: str):
    result = CliRunner().invoke(main, args)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def here(tmp_path, monkeypatch, coded) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.vqc", "b.vqc"):
        Path(name).write_bytes(coded)


def test_decode_has_the_dial(here, two, coded, two_installed, monkeypatch):
    assert call("decode", "a.vqc", "-o", "0.png").exit_code == 0
    assert call("decode", "a.vqc", "-o", "1.png", "--realism", "1").exit_code == 0
    assert call("decode", "a.vqc", "-o", "d.png", "--realism", "1").exit_code == 0
    monkeypatch.setenv("VQCODEC_REALISM", "1")
    assert call("decode", "a.vqc", "-o", "e.png").exit_code == 0

    np.testing.assert_array_equal(Image.open("0.png"), decoded(two, coded, 0))
    for name in ("1.png", "d.png", "e.png"):
        np.testing.assert_array_equal(Image.open(name), decoded(two, coded, 1))


@pytest.mark.slow
def test_decode_has_the_dial_in_worker_processes(here, two, two_folder, coded):
    line = "decode", "a.vqc", "b.vqc", "-j", "2", "--realism", "1", "--model", str(two_folder)

    assert call(*line).exit_code == 0
    np.testing.assert_array_equal(Image.open("b.png"), decoded(two, coded, 1))


@pytest.mark.parametrize("text", ["1.5", "nan", "much"])
def test_decode_refuses_other_numbers(here, two_installed, text):
    assert call("decode", "a.vqc", "--realism", text).exit_code == 2


def test_decode_without_a_second_decoder_is_one_line_and_wrong_usage(here, installed):
    result = call("decode", "a.vqc", "--realism", "1")

    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "the model has no realism decoder" in result.stderr
    assert not Path("a.png").exists()


def test_info_names_the_decoders_of_the_model(here, two_installed, monkeypatch):
    assert "decoders  fidelity, realism\n" in call("info", "a.vqc").stdout
    found = json.loads(call("info", "a.vqc", "--json").stdout)
    assert found["decoders"] == ["fidelity", "realism"]

    pretend_installed(monkeypatch, two_installed._replace(realism=None))
    assert "decoders  fidelity\n" in call("info", "a.vqc").stdout
    pretend_installed(monkeypatch)
    assert "decoders  unknown\n" in call("info", "a.vqc").stdout
    with pytest.raises(UnknownModelError):
        shipped.entry_of(b"\0" * 8)


def test_models_compares_the_decoders_with_the_card(two_installed, folder, monkeypatch):
    monkeypatch.setattr(shipped, "folder_of", lambda name: folder)
    monkeypatch.setattr(shipped, "realism_file", lambda name: folder / "realism.safetensors")
    (folder / "CARD.md").write_text("| decoders | fidelity, realism |\n")
    assert "decoders  fidelity, realism\n" in call("models").stdout

    (folder / "CARD.md").write_text("| decoders | fidelity |\n")
    result = call("models")
    assert result.exit_code == 5
    assert "fidelity, realism in the index, fidelity in its card" in result.stderr

    (folder / "CARD.md").write_text("| decoders | fidelity, realism |\n")
    (folder / "realism.safetensors").unlink()
    assert "realism.safetensors is not there" in call("models").stderr


def test_samples_are_decoded_with_the_dial(two_installed, two, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, dial in (("a.vqc", 0), ("b.png", 0), ("c.png", 1)):
        found = call("sample", "--size", "48x32", "-o", name, "--realism", dial)
        assert found.exit_code == 0, found.output
    data = Path("a.vqc").read_bytes()
    for name, dial in (("b.png", 0), ("c.png", 1)):
        with Image.open(name) as image:
            assert np.array_equal(np.asarray(image), decoded(two, data, dial))
    assert Path("b.png").read_bytes() != Path("c.png").read_bytes()
