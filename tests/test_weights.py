"""Model folders: what is written is what is read, and what is not right is refused."""

import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from vqcodec.config import ModelConfig
from vqcodec.engine.onnx.engine import OnnxEngine
from vqcodec.engine.torch.network import build
from vqcodec.errors import ModelError, UnknownModelError
from vqcodec.nn.fixed import FixedConv
from vqcodec.nn.model import Network
from vqcodec.nn.quantizer import gaussian_probabilities
from vqcodec.train.export import export
from vqcodec.zoo import shipped, weights
from vqcodec.zoo.files import model_id


@pytest.fixture
def folder(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "model")


def edit(path, name, change):
    tensors = load_file(path)
    tensors[name] = change(tensors[name])
    save_file(tensors, path)


def test_config_round_trips_as_canonical_json(codec):
    text = codec.model.config.to_json()

    assert ModelConfig.from_json(text) == codec.model.config
    assert ModelConfig.from_json(text).to_json() == text


def test_a_config_says_what_was_kept_low_unless_it_was_the_squared_error(codec):
    config = dataclasses.replace(codec.model.config, distortion="eyes")

    assert json.loads(config.to_json())["distortion"] == "eyes"
    assert ModelConfig.from_json(config.to_json()) == config
    assert "distortion" not in json.loads(codec.model.config.to_json())
    for other in ("mse", "ears", 3):  # the squared error has one form: none
        with pytest.raises(ModelError, match="expected distortion"):
            dataclasses.replace(config, distortion=other)


def test_an_encoder_can_have_other_blocks_than_the_decoder(codec, tmp_path, picture):
    """In the config and the files of its model, and in both engines."""
    sizes = {"encoder_fine_blocks": 2, "encoder_coarse_blocks": 0}
    transform = dataclasses.replace(codec.model.config.transform, **sizes)
    torch.manual_seed(0)
    network = Network(dataclasses.replace(codec.model.config, transform=transform))
    export(network, gaussian_probabilities(network.config.quantizer), tmp_path)
    model = weights.load_folder(tmp_path)
    network = build(model)
    plain = dataclasses.replace(codec.model.config, distortion="eyes")
    assert model_id(model.config, model.tensors) == model_id(plain, model.tensors)

    assert (tmp_path / "config.json").read_text() == model.config.to_json() + "\n"
    assert model.config.transform.encoder_blocks == (2, 0)
    assert [len(network.encoder.fine), len(network.encoder.coarse)] == [2, 0]
    assert [len(network.decoder.fine), len(network.decoder.coarse)] == [1, 1]

    x = torch.from_numpy(picture).float() / 255
    with torch.no_grad():
        expected = network.analyse(x.permute(2, 0, 1)[None], torch.tensor([3]))
    y = OnnxEngine(model).analyse(picture, 3)
    torch.testing.assert_close(torch.from_numpy(y), expected[0].permute(1, 2, 0), atol=1e-3, rtol=0)


def test_config_with_an_unknown_key_is_refused(codec):
    fields = json.loads(codec.model.config.to_json())
    fields["prior"]["depth"] = 3

    with pytest.raises(ModelError, match="depth"):
        ModelConfig.from_json(json.dumps(fields))


def test_the_id_depends_on_prior_and_decoder_but_not_on_the_encoder(folder):
    before = weights.load_folder(folder).id
    edit(folder / "encoder.safetensors", "encoder.stem.bias", lambda t: t + 1)
    assert weights.load_folder(folder).id == before

    edit(folder / "decoder.safetensors", "decoder.stem.bias", lambda t: t + 1)
    assert weights.load_folder(folder).id != before


def test_a_prior_that_could_overflow_is_refused(folder):
    name = "prior.passes.1.blocks.0.expand.weight"
    edit(folder / "prior.safetensors", name, lambda t: torch.full_like(t, 3000))

    with pytest.raises(ModelError, match="overflows: sums up to"):
        weights.load_folder(folder)


@pytest.mark.parametrize("entry", shipped.entries(), ids=lambda entry: entry.name)
def test_a_shipped_model_loads_with_the_integers_of_its_file(entry):
    """Its hash and its id are right, and rows that training would scale down stay as they are."""
    model = weights.load_shipped(entry.name)
    stored = load_file(shipped.folder_of(entry.name) / "prior.safetensors")
    layers = dict(build(model).named_modules())

    assert model.id == entry.id
    for name, conv in layers.items():
        if isinstance(conv, FixedConv):
            assert conv.frozen
            assert torch.equal((conv.weight * 2**8).long(), stored[f"{name}.weight"].long())


def test_a_shipped_models_files_are_read_when_they_are_needed_and_checked_then(monkeypatch):
    entry = shipped.find(shipped.default_name())
    wrong = entry.sha256 | {"encoder": "00" * 32}
    entry = entry._replace(sha256=wrong, realism=entry.realism._replace(sha256="00" * 32))
    monkeypatch.setattr(shipped, "find", lambda name: entry)
    model = weights.load_shipped.__wrapped__(entry.name)

    assert model.tensors["decoder.stem.bias"].size
    assert "linear.analysis" in model.tensors
    with pytest.raises(ModelError, match=r"encoder\.safetensors of .*: sha256"):
        model.tensors["linear.analysis"]
    with pytest.raises(ModelError, match=r"realism\.safetensors of .*: sha256"):
        model.realism["decoder.stem.bias"]


def test_a_shipped_model_of_another_id_is_refused(monkeypatch):
    entry = shipped.find(shipped.default_name())
    monkeypatch.setattr(shipped, "find", lambda name: entry._replace(id=b"another!"))

    with pytest.raises(ModelError, match=f"has id {entry.id.hex()}, not"):
        weights.load_shipped.__wrapped__(entry.name).tensors["freqs"]


@pytest.mark.parametrize("name", ["expand.bias", "level.knots"])
def test_an_overflowing_bias_is_refused(folder, name):
    name = f"prior.passes.1.blocks.0.{name}"
    edit(folder / "prior.safetensors", name, lambda t: t.int() + 2**23)

    with pytest.raises(ModelError, match="a bias exceeds its bound"):
        weights.load_folder(folder)


def test_frequencies_with_a_wrong_sum_are_refused(folder):
    def shift(freqs):
        freqs[0] += 1
        return freqs

    edit(folder / "prior.safetensors", "freqs", shift)

    with pytest.raises(ModelError, match="row 0 sum"):
        weights.load_folder(folder)


def test_floats_in_the_prior_are_refused(folder):
    edit(folder / "prior.safetensors", "prior.passes.1.read.bias", lambda t: t.float())

    with pytest.raises(ModelError, match="integers"):
        weights.load_folder(folder)


def test_a_missing_or_damaged_file_is_refused(folder):
    data = (folder / "decoder.safetensors").read_bytes()
    (folder / "decoder.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="damaged"):
        weights.load_folder(folder)

    (folder / "decoder.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot read"):
        weights.load_folder(folder)


def test_a_file_with_another_hash_is_refused(folder):
    with pytest.raises(ModelError, match="sha256"):
        weights.load_folder(folder, {"encoder": "00" * 32})


def test_unknown_names_and_ids_are_refused():
    with pytest.raises(UnknownModelError, match="no model or model folder named"):
        weights.load_shipped("nonesuch")
    with pytest.raises(UnknownModelError, match="not installed"):
        shipped.name_of(b"nonesuch")


def test_integers_of_the_prior_survive_the_round_trip(codec, folder):
    """The loaded layers compute with exactly the stored integers."""
    stored = load_file(folder / "prior.safetensors")
    layers = dict(codec.engine.network.named_modules())
    convs = {name: m for name, m in layers.items() if isinstance(m, FixedConv)}
    assert convs
    for name, conv in convs.items():
        assert torch.equal((conv.weight * 2**8).long(), stored[f"{name}.weight"].long())
