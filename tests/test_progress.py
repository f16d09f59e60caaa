"""What a caller is told while a call is under way, and lists of pictures."""

import io

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import vqcodec
from conftest import page, smooth_picture
from vqcodec.bitstream import container
from vqcodec.cli import main
from vqcodec.cli.console import Report
from vqcodec.errors import InputError
from vqcodec.progress import followed

PICTURE = smooth_picture(300, 280)


@pytest.fixture
def tiled(monkeypatch):
    """Tiles of 128x128 pixels."""
    monkeypatch.setattr(container, "choose_tile_log2", lambda width, height: 3)


def test_the_share_grows_from_0_to_1_with_each_tile_and_strip(codec, tiled):
    encoding, decoding, small = [], [], []
    data = codec.encode(PICTURE, effort=1, progress=encoding.append)
    whole = codec.decode(data, progress=decoding.append)
    codec.decode(data, scale=8, crop=(8, 40, 200, 250), progress=small.append)

    assert encoding == [n / 9 for n in range(10)]
    for told in (decoding, small):
        assert told == sorted(told)
        assert (told[0], told[-1]) == (0, 1)
    assert len(small) == 4  # rows of tiles
    assert data == codec.encode(PICTURE, effort=1)
    assert whole == codec.decode(data)


def test_tiles_that_are_tried_for_exact_parts_are_told_as_well(codec, tiled):
    told, rgb = [], page(256, 256)
    rgb[:, 128:] = smooth_picture(256, 128)  # two tiles of four
    codec.encode(rgb, 75, effort=1, progress=told.append)

    assert told == pytest.approx([0, 0.3, 0.6, 0.6, 0.7, 0.8, 0.9, 1])


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_commands_show_the_share_of_a_single_file(model_folder, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PICTURE).save("a.png")
    told, run, model = [], CliRunner(), ["--model", str(model_folder)]
    assert run.invoke(main, ["encode", "a.png", "-o", "a.vqc", *model]).exit_code == 0
    monkeypatch.setattr(Report, "status", lambda report, text: told.append(text))
    files = ["a.png", "b.vqc"] if command == "encode" else ["a.vqc", "b.png"]
    assert run.invoke(main, [command, files[0], "-o", files[1], *model]).exit_code == 0

    assert (told[0], told[-1]) == ("0%", "100%")


def test_a_bar_is_on_stderr_and_leaves_nothing_on_stdout(codec, tiled, capsys):
    codec.decode(codec.encode(PICTURE, effort=1, progress=True), progress=True)
    out, err = capsys.readouterr()

    assert out == ""
    assert "0%|" in err


def test_nothing_is_told_unasked(codec, tiled, capsys):
    codec.decode(codec.encode(PICTURE, effort=1))

    assert capsys.readouterr() == ("", "")


def test_what_the_listener_raises_ends_the_call(codec, tiled):
    def stop(share: float) -> None:
        if share > 0.3:
            raise KeyboardInterrupt

    for call in (codec.encode, codec.decode):
        given = PICTURE if call == codec.encode else codec.encode(PICTURE, effort=1)
        with pytest.raises(KeyboardInterrupt):
            call(given, progress=stop)


def test_parts_are_told_by_their_size():
    told = []

    assert list(followed(["ab", "", "c"], 3, told.append, len)) == ["ab", "", "c"]
    assert told == [0, 2 / 3, 2 / 3, 1]


def test_a_list_of_pictures_gives_a_list_of_files(installed, codec):
    told = []
    pictures = [smooth_picture(20, 30), torch.from_numpy(smooth_picture(16, 16)), PICTURE]
    made = vqcodec.encode(pictures, 40, effort=1, progress=told.append)

    assert made == [codec.encode(one, 40, effort=1) for one in pictures]
    assert told == [0, 1 / 3, 2 / 3, 1]
    assert vqcodec.encode([]) == []


def test_a_batch_becomes_a_list(codec):
    batch = torch.from_numpy(np.stack([smooth_picture(16, 32, n) for n in range(2)]))
    batch = batch.permute(0, 3, 1, 2).float() / 255
    with pytest.raises(InputError, match=r"list\(batch\)"):
        codec.encode(batch)

    made = codec.encode(list(batch), effort=1)
    assert [codec.decode(data).size for data in made] == [(32, 16)] * 2


def test_every_source_of_a_file_is_decoded_alike(installed, codec, tmp_path):
    data = codec.encode(smooth_picture(20, 30), effort=1)
    path = tmp_path / "a.vqc"
    path.write_bytes(data)
    expected = codec.decode(data)
    sources = [bytearray(data), memoryview(data), path, str(path), io.BytesIO(data)]
    with path.open("rb") as file:
        for source in [*sources, file]:
            assert vqcodec.decode(source) == expected

    for wrong in (5, None, [data], path.open):
        with pytest.raises(TypeError, match="expected bytes, a path or a binary file object"):
            vqcodec.decode(wrong)
    with pytest.raises(TypeError, match="text file object, expected a binary one"):
        vqcodec.decode(io.StringIO("text"))
    with pytest.raises(InputError, match="cannot read"):
        vqcodec.decode(tmp_path / "none.vqc")
