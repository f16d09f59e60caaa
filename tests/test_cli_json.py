"""--json: one object a file on stdout, or on stderr where the picture goes to stdout."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from vqcodec.bitstream.container import read_header
from vqcodec.cli import main

AREA = 112 * 80


@pytest.fixture
def call(tmp_path, monkeypatch, picture, model_folder):
    """Call a command with the tests' model, in a folder with pictures and a file that is none."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Image.fromarray(picture).save("in/a.png")
    Image.fromarray(picture).convert("CMYK").save("in/print.jpg")
    Path("in/text.png").write_text("not a picture")

    def call(*args: str, data: bytes | None = None) -> Result:
        line = [*args, "--json", "--model", str(model_folder)]
        result = CliRunner().invoke(main, line, input=data)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return call


def objects(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_encode_tells_what_the_line_of_its_report_has(call):
    result = call("encode", "in/a.png", "-q", "30", "--effort", "1")

    (found,) = objects(result.stdout)
    data = Path("in/a.vqc").read_bytes()
    assert result.stderr == ""
    assert (found["file"], found["ok"], found["output"]) == ("in/a.png", True, "in/a.vqc")
    assert (found["width"], found["height"], found["bytes"]) == (112, 80, len(data))
    assert found["bits_per_pixel"] == 8 * len(data) / AREA
    assert found["ratio"] == 3 * AREA / len(data)
    assert found["seconds"] * found["megapixels_per_second"] == pytest.approx(AREA / 1e6)
    assert (found["quality"], found["effort"]) == (30, 1)
    assert found["level"] == read_header(data).level
    assert found["model_id"] == read_header(data).model_id.hex()
    assert "notices" not in found

    (found,) = objects(call("encode", "in/a.png", "-f").stdout)
    assert found["effort"] == 4  # the default of a small picture
    (found,) = objects(call("encode", "in/a.png", "-f", "--lossless").stdout)
    assert (found["quality"], found["effort"]) == (None, None)


def test_decode_tells_the_size_of_what_it_painted(call, codec, picture):
    data = codec.encode(picture)
    Path("a.vqc").write_bytes(data)
    result = call("decode", "a.vqc", "--crop", "8,8,32,16", "-o", "part.png")

    (found,) = objects(result.stdout)
    assert (found["file"], found["ok"], found["output"]) == ("a.vqc", True, "part.png")
    assert (found["width"], found["height"]) == (32, 16)
    assert found["bits_per_pixel"] == 8 * len(data) / AREA
    assert found["seconds"] > 0
    assert found["realism"] == 0


def test_a_target_tells_the_quality_that_met_it(call):
    (found,) = objects(call("encode", "in/a.png", "--target-psnr", "24", "--effort", "1").stdout)
    (size,) = objects(call("encode", "in/a.png", "--target-size", "900", "-f").stdout)
    (rate,) = objects(call("encode", "in/a.png", "--target-bpp", "0.8", "-f").stdout)

    assert found["psnr"] >= 24
    assert 0 <= found["quality"] < 100
    assert size["bytes"] <= 900
    assert rate["bits_per_pixel"] <= 0.8
    assert "psnr" not in size


def test_a_batch_is_one_line_a_file_failures_too(call):
    result = call("encode", "in", "-r", "--output-dir", "out", "--effort", "1")

    first, second, bad = objects(result.stdout)
    assert result.exit_code == 3
    assert [first["ok"], second["ok"], bad["ok"]] == [True, True, False]
    assert second["notices"] == ["CMYK converted to RGB"]
    assert bad["file"] == "in/text.png"
    assert bad["error"]["code"] == 3
    assert bad["error"]["message"] in result.stderr
    assert result.stderr.count("\n") == 2  # of the file, and how many failed


def test_workers_tell_the_same(call):
    one = call("encode", "in", "-r", "--output-dir", "one", "--effort", "1")
    two = call("encode", "in", "-r", "--output-dir", "two", "--effort", "1", "-j", "2")

    def known(result: Result) -> list[tuple]:
        names = "file", "ok", "bytes", "notices", "error"
        return sorted(tuple(str(o.get(name)) for name in names) for o in objects(result.stdout))

    assert known(one) == known(two)


def test_where_the_picture_goes_to_stdout_the_object_goes_to_stderr(call):
    encoded = call("encode", "-", data=Path("in/a.png").read_bytes())
    decoded = call("decode", "-", data=encoded.stdout_bytes)
    failed = call("decode", "-", data=b"PNG")

    assert objects(encoded.stderr)[0]["bytes"] == len(encoded.stdout_bytes)
    assert objects(decoded.stderr)[0]["output"] == "-"
    (found,) = objects(failed.stderr)
    assert (found["file"], found["error"]["code"], failed.exit_code) == ("-", 3, 3)
    assert failed.stdout_bytes == b""


def test_a_damaged_file_that_is_painted_tells_both(call, codec, picture):
    data = codec.encode(picture)
    Path("bad.vqc").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    result = call("decode", "bad.vqc", "--allow-damaged")

    (found,) = objects(result.stdout)
    assert (found["ok"], found["error"]["code"], result.exit_code) == (False, 4, 4)
    assert "decoded, but damaged" in found["error"]["message"]
    with Image.open("bad.png") as painted:
        assert (found["width"], found["height"]) == painted.size


@pytest.mark.parametrize("command", ["info", "verify"])
def test_info_and_verify_tell_failures_in_the_same_way(call, codec, command):
    data = codec.encode(np.full((32, 48, 3), 90, np.uint8))
    Path("good.vqc").write_bytes(data)
    Path("cut.vqc").write_bytes(data[:-9])
    result = call(command, "cut.vqc", "good.vqc", "-", data=b"PNG")

    cut, good, stream = objects(result.stdout)
    assert (cut["file"], cut["ok"], cut["error"]["code"]) == ("cut.vqc", False, 4)
    assert (good["file"], good["ok"]) == ("good.vqc", True)
    assert (stream["file"], stream["error"]["code"]) == ("-", 3)
    assert result.exit_code == 1


def test_quiet_leaves_the_failures(call):
    result = call("encode", "in/a.png", "in/text.png", "-o", "out/", "-Q", "--effort", "1")

    assert [found["file"] for found in objects(result.stdout)] == ["in/text.png"]
