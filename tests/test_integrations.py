"""Ray Data and WebDataset: by their calling conventions, and in them where they are installed."""

import io
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import vqcodec
from conftest import smooth_picture
from vqcodec.codec import Codec
from vqcodec.errors import CorruptError, InputError, NoDecoderError, UnknownModelError
from vqcodec.integrations import loaded, webdataset
from vqcodec.integrations.ray import (
    INDICES,
    Decode,
    DecodeIndices,
    Encode,
    EncodeIndices,
    ReadIndices,
    WriteIndices,
)
from vqcodec.integrations.torch import VqcFolder

ROOT = Path(__file__).parents[1]
SIZES = (48, 64), (48, 64), (33, 50)  # height, width


@pytest.fixture
def pictures() -> list[np.ndarray]:
    return [smooth_picture(*size, seed) for seed, size in enumerate(SIZES)]


@pytest.fixture
def coded(codec, pictures) -> list[bytes]:
    return [codec.encode(rgb, 40) for rgb in pictures]


def column(values: list) -> np.ndarray:
    found = np.empty(len(values), dtype=object)
    for number, value in enumerate(values):
        found[number] = value
    return found


def as_png(rgb: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


# The callables of Ray Data, without Ray


@pytest.mark.parametrize("name", ["image", "bytes"])
def test_pictures_become_the_files_of_the_codec(model_folder, pictures, coded, name):
    values = pictures if name == "image" else [as_png(rgb) for rgb in pictures]
    encode = Encode(name, quality=40, model=str(model_folder))

    found = encode({name: column(values), "label": np.arange(3)})

    assert found.keys() == {"label", "vqc"}
    assert list(found["vqc"]) == coded
    assert found["label"].tolist() == [0, 1, 2]


def test_effort_and_quality_are_those_of_the_codec(model_folder, codec, pictures):
    batch = {"image": column(pictures[:1])}
    encode = Encode(quality=70, effort=3, model=str(model_folder))
    expected = codec.encode(pictures[0], 70, effort=3)

    assert list(encode(batch)["vqc"]) == [expected]
    assert expected != codec.encode(pictures[0], 70, effort=1)
    words = EncodeIndices(quality=70, effort=3, model=str(model_folder))(batch)["words"][0]
    assert np.array_equal(words, codec.read_indices(expected).indices)
    with pytest.raises(ValueError, match="effort"):
        Encode(effort=10, model=str(model_folder))(batch)


def test_a_batch_of_pictures_of_one_size_may_be_one_array(model_folder, pictures, coded):
    encode = Encode(quality=40, model=str(model_folder))

    assert list(encode({"image": np.stack(pictures[:2])})["vqc"]) == coded[:2]


def test_files_become_pictures_and_indices_and_those_become_files(installed, codec, coded):
    batch = {"vqc": column(coded)}
    decoded = Decode()(batch)
    indices = ReadIndices()(batch)

    assert tuple(indices) == INDICES
    assert [words.shape[:2] for words in indices["words"]] == [(3, 4), (3, 4), (3, 4)]
    for number, data in enumerate(coded):
        expected = np.asarray(codec.decode(data))
        assert np.array_equal(decoded["image"][number], expected)
        assert np.array_equal(DecodeIndices()(indices)["image"][number], expected)
    assert list(WriteIndices()(indices)["vqc"]) == coded


def test_pictures_become_indices_without_files(model_folder, codec, pictures):
    found = EncodeIndices(quality=40, model=str(model_folder))({"image": column(pictures)})

    for number, rgb in enumerate(pictures):
        expected = codec.encode_indices(rgb, 40)
        assert np.array_equal(found["words"][number], expected.indices)
        assert found["width"][number] == rgb.shape[1]
        assert found["model_id"][number] == codec.model.id


def test_alpha_comes_back_as_a_fourth_channel(model_folder, codec, picture):
    rgba = np.dstack([picture, picture[..., 0]])
    found = Decode(str(model_folder))({"vqc": column([codec.encode(rgba)])})

    assert np.array_equal(found["image"][0][..., 3], rgba[..., 3])


def test_a_bad_row_raises_or_is_left_out(model_folder, pictures, coded, caplog):
    values = column([b"not a picture", as_png(pictures[0])])
    batch = {"bytes": values, "path": column(["bad", "good"])}
    with pytest.raises(InputError):
        Encode("bytes", model=str(model_folder))(batch)

    found = Encode("bytes", 40, str(model_folder), drop_bad=True)(batch)

    assert (list(found["path"]), list(found["vqc"])) == (["good"], coded[:1])
    assert "not an image" in caplog.text


def test_a_batch_may_lose_all_its_rows(model_folder):
    found = Decode(str(model_folder), drop_bad=True)({"vqc": column([b""])})

    assert found.keys() == {"image"}
    assert len(found["image"]) == 0


def test_a_file_of_another_model_is_refused(coded):
    with pytest.raises(UnknownModelError):
        Decode()({"vqc": column(coded)})


def test_the_callables_are_small_to_pickle_even_after_work(model_folder, coded):
    decode = Decode(str(model_folder))
    decode({"vqc": column(coded)})
    data = pickle.dumps(decode)

    assert len(data) < 1000
    assert pickle.loads(data)({"vqc": column(coded)})["image"][2].shape == (33, 50, 3)


def test_neither_ray_nor_torch_is_imported():
    code = "import sys, vqcodec.integrations.ray, vqcodec.integrations.webdataset\n"
    code += "sys.exit(bool({'ray', 'torch', 'webdataset'} & sys.modules.keys()))"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


# WebDataset


def test_the_decoder_takes_its_own_files_only(installed, codec, coded):
    decoded = webdataset.decoder(".vqc", coded[0])

    assert np.array_equal(np.asarray(decoded), np.asarray(codec.decode(coded[0])))
    assert webdataset.decoder(".left.VQC", coded[0]).size == decoded.size
    assert webdataset.decoder(".png", coded[0]) is None
    assert webdataset.decoder(".notvqc", coded[0]) is None


def test_the_decoder_of_indices_computes_no_pixels(installed, codec, coded):
    found = webdataset.indices(".vqc", coded[0])

    assert np.array_equal(found.indices, codec.read_indices(coded[0]).indices)
    assert webdataset.indices(".cls", b"3") is None


def test_the_decoder_refuses_a_damaged_file(installed, coded):
    with pytest.raises(CorruptError):
        webdataset.decoder(".vqc", coded[0][:-1] + bytes([coded[0][-1] ^ 1]))


def test_the_tensor_decoder_gives_rgb_as_torch_has_it(installed, codec, picture):
    rgba = np.dstack([picture, picture[..., 0]])
    found = webdataset.tensor(".vqc", codec.encode(rgba))

    assert (found.dtype, found.shape, found.is_contiguous()) == (torch.uint8, (3, 80, 112), True)
    expected = np.asarray(codec.decode(codec.encode(picture)))
    assert np.array_equal(found.permute(1, 2, 0).numpy(), expected)
    assert webdataset.tensor(".png", b"") is None


@pytest.mark.filterwarnings("ignore")  # theirs
def test_a_shard_is_decoded(installed, tmp_path, codec, coded):
    wds = pytest.importorskip("webdataset")
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        for name, data in (("a.vqc", coded[0]), ("a.cls", b"7")):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            shard.addfile(entry, io.BytesIO(data))

    dataset = wds.WebDataset(str(tmp_path / "shard.tar"), shardshuffle=False)
    (sample,) = dataset.decode(webdataset.decoder)
    (batch,) = dataset.decode(webdataset.tensor).to_tuple("vqc", "cls").batched(1)

    assert np.array_equal(np.asarray(sample["vqc"]), np.asarray(codec.decode(coded[0])))
    assert sample["cls"] == 7
    assert (batch[0].shape, batch[1].tolist()) == ((1, 3, 48, 64), [7])


# A folder as a Dataset of torch


@pytest.fixture
def folder(tmp_path, codec) -> Path:
    for number, size in enumerate([(64, 96), (80, 70), (64, 64)]):
        path = tmp_path / f"deep{number % 2}" / f"{number}.vqc"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(codec.encode(smooth_picture(*size, number), effort=1))
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_a_folder_gives_the_pictures_in_the_order_of_their_paths(folder, codec, model_folder):
    pictures = VqcFolder(folder, model=model_folder)

    assert [path.name for path in pictures.paths] == ["0.vqc", "2.vqc", "1.vqc"]
    assert len(pictures) == 3
    for path, tensor in zip(pictures.paths, pictures, strict=True):
        assert (tensor.dtype, tensor.shape[0]) == (torch.uint8, 3)
        expected = np.asarray(codec.decode(path))
        assert np.array_equal(tensor.permute(1, 2, 0).numpy(), expected)
    tokens = VqcFolder(folder, indices=True, model=model_folder)[1]
    assert tokens.dtype == torch.int32
    assert np.array_equal(tokens.numpy(), codec.read_indices(pictures.paths[1]).indices)


def test_crops_are_random_by_torchs_generator_or_in_the_middle(folder, codec, model_folder):
    middle = VqcFolder(folder, crop=(32, 48), random=False, model=model_folder)
    whole = np.asarray(codec.decode(middle.paths[0]))

    assert np.array_equal(middle[0].permute(1, 2, 0).numpy(), whole[16:48, 24:72])
    anywhere = VqcFolder(folder, crop=16, model=model_folder)
    torch.manual_seed(1)
    first, other = anywhere[0], anywhere[0]
    torch.manual_seed(1)
    assert torch.equal(anywhere[0], first)
    assert not torch.equal(other, first)
    small = VqcFolder(folder, crop=64, scale=4, model=model_folder)
    assert [tensor.shape for tensor in small] == [(3, 16, 16)] * 3


def test_a_file_that_cannot_be_read_is_named(folder, model_folder):
    path = folder / "deep0" / "0.vqc"
    path.write_bytes(path.read_bytes()[:-5])
    pictures = VqcFolder(folder, model=model_folder)

    with pytest.raises(InputError, match=r"0\.vqc: .*file ends"):
        pictures[0]
    with pytest.raises(InputError, match=r"2\.vqc: the picture is 64x64, smaller .* of 65x65"):
        VqcFolder(folder, crop=65, model=model_folder)[1]
    with pytest.raises(InputError, match=r"below .* ends in \.vqc"):
        VqcFolder(folder / "none")


def test_options_that_mean_nothing_together_are_refused(folder):
    for options in ({"indices": True, "crop": 8}, {"indices": True, "scale": 2}, {"scale": 3},
                    {"crop": 0}):  # fmt: skip
        with pytest.raises(ValueError, match=r"scale|crop"):
            VqcFolder(folder, **options)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12, about threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_workers_give_what_the_process_itself_gives(folder, model_folder):
    """After work of its own, whose threads a forked worker does not have."""
    pictures = VqcFolder(folder, crop=64, random=False, model=str(model_folder))
    expected = list(pictures)
    data = pickle.dumps(pictures)  # as workers get it that are spawned
    loader = DataLoader(pictures, None, num_workers=1, multiprocessing_context="fork")

    assert len(data) < 2000
    assert all(map(torch.equal, pickle.loads(data), expected))
    assert all(map(torch.equal, loader, expected))


# Hugging Face datasets


def test_imagefolder_takes_files_by_their_extension(folder, codec, installed, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # read when they are imported, as is the next
    monkeypatch.setenv("HF_HOME", str(folder / ".cache"))
    datasets = pytest.importorskip("datasets")
    import vqcodec.integrations.datasets  # noqa: F401

    shutil.copy(folder / "deep1" / "1.vqc", folder / "deep1" / "3.VQC")
    for arguments in ({"path": "imagefolder", "data_dir": str(folder)}, {"path": str(folder)}):
        rows = datasets.load_dataset(**arguments, split="train", drop_labels=False)
        assert [row["label"] for row in rows] == [0, 0, 1, 1]
        assert rows.features["label"].names == ["deep0", "deep1"]
        found = np.asarray(rows[2]["image"])
        assert np.array_equal(found, np.asarray(codec.decode(folder / "deep1" / "1.vqc")))


# Ray Data


@pytest.fixture(scope="module")
def ray():
    """A Ray of two workers in this machine."""
    found = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    found.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 * 2**20,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    yield found
    found.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # theirs
def test_two_workers_of_ray_give_the_files_and_pictures_of_the_codec(
    ray, model_folder, codec, pictures, coded
):
    rows = [{"image": rgb, "number": number} for number, rgb in enumerate(pictures * 2)]
    settings = {"quality": 40, "model": str(model_folder)}
    dataset = (
        ray.data.from_items(rows, override_num_blocks=4)
        .map_batches(Encode, fn_constructor_kwargs=settings, concurrency=2, num_cpus=0.5)
        .map_batches(ReadIndices(model=str(model_folder)))
        .map_batches(WriteIndices(model=str(model_folder)))
    )
    files = {row["number"]: row["vqc"] for row in dataset.iter_rows()}

    assert [files[number] for number in range(6)] == coded * 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_examples_write_parquet_and_read_tokens(
    ray, model_folder, codec, pictures, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import parquet_to_tokens
    import pictures_to_parquet

    folder = tmp_path / "photos"
    folder.mkdir()
    for number, rgb in enumerate(pictures):
        Image.fromarray(rgb).save(folder / f"{number}.png")
    (folder / "bad.png").write_text("not a picture")
    (folder / "notes.txt").write_text("not a picture")

    pictures_to_parquet.main(str(folder), str(tmp_path / "coded"), str(model_folder))
    rows = list(parquet_to_tokens.tokens(str(tmp_path / "coded"), str(model_folder)))

    assert sorted(os.path.basename(row["path"]) for row in rows) == ["0.png", "1.png", "2.png"]
    for row in rows:
        expected = codec.encode_indices(row["path"], 50)
        assert np.array_equal(row["words"], expected.indices)
        assert (row["width"], row["level"]) == (expected.width, expected.level)


def test_the_examples_are_short():
    for name in ("pictures_to_parquet.py", "parquet_to_tokens.py"):
        assert (ROOT / "examples" / name).read_text("utf-8").count("\n") <= 40


def test_a_folder_in_the_working_directory_takes_no_models_place(
    installed, model_folder, two_folder, tmp_path, monkeypatch
):
    """Wherever a model may be given: `random` is the one that is installed."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(two_folder, "random")
    data = vqcodec.encode(smooth_picture(16, 16), effort=1)

    def has_realism(**model: object) -> list[bool]:
        codecs = [Codec.load(**model), Encode(**model).codec(), loaded.codec_of(**model)]
        return [codec.model.realism is not None for codec in codecs]

    assert has_realism(model="random") == [False] * 3
    for path in ("./random", f".{os.sep}random{os.sep}", Path("random"), str(tmp_path / "random")):
        assert has_realism(model=path) == [True] * 3
        assert vqcodec.decode(data, model=path, realism=1.0).size == (16, 16)
        assert webdataset.decoder(".vqc", data, model=path, realism=1.0).size == (16, 16)
    for call in (vqcodec.decode, partial(webdataset.decoder, ".vqc")):
        with pytest.raises(NoDecoderError):
            call(data, model="random", realism=1.0)
