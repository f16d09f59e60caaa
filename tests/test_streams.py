"""Standard streams that are closed, full, narrow, or no files at all."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqcodec.bitstream.container import unpack
from vqcodec.cli import main, streams
from vqcodec.errors import OutputError

ROOT = Path(__file__).parents[1]
needs_posix = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell and devices")


@pytest.fixture
def folder(tmp_path, monkeypatch, codec, picture) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture).save("a.png")
    Image.fromarray(picture).save("b.png")
    Path("good.vqc").write_bytes(codec.encode(np.full((32, 48, 3), 90, np.uint8)))
    return tmp_path


def shell(line: str, model: Path) -> subprocess.CompletedProcess:
    """Run a line of the shell in which `vqcodec` is this one and `encode` has the tests' model."""
    vqcodec = f"'{sys.executable}' -m vqcodec"
    line = line.replace("encode", f"{vqcodec} encode --effort 1 --model '{model}'")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(["sh", "-c", line], capture_output=True, env=environment)


def run(*args: str) -> int:
    """The exit code of a command in this process, with whatever its streams are now."""
    try:
        return main(list(args), standalone_mode=False) or 0
    except SystemExit as end:
        return end.code


@contextlib.contextmanager
def broken_stdout():
    """Have a stdout whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=1) as stream, contextlib.redirect_stdout(stream):
        yield stream


# Streams that are not there


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
@pytest.mark.parametrize("stream", [None, "closed"])
def test_a_command_needs_no_standard_streams(folder, monkeypatch, name, stream):
    if stream == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, name, stream)

    assert run("info", "good.vqc") == 0
    assert run("info", "none.vqc") == 3
    assert getattr(sys, name) is stream


@needs_posix
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_the_file_is_written_whole_where_streams_are_closed(folder, model_folder, closed):
    result = shell(f"encode a.png -o x.vqc {closed}", model_folder)

    assert result.returncode == 0
    assert unpack(Path("x.vqc").read_bytes()).header.width == 112


def test_data_for_a_stream_without_bytes_is_one_line_and_its_exit_code(folder, capsys):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert run("info", "good.vqc") == 0
        code = run("encode", "a.png", "-o", "-")

    assert out.getvalue().startswith("good.vqc: 48x32")
    assert code == 7
    assert capsys.readouterr().err == (
        "vqcodec: stdout is closed or takes no bytes: give a file as -o\n"
    )


def test_a_source_from_a_stdin_without_bytes_is_one_line(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("text"))

    assert run("info", "-") == 3
    assert capsys.readouterr().err == "vqcodec: stdin: stdin is closed or has no bytes\n"


# Streams that fail


def test_a_report_without_a_reader_stops_no_work():
    with broken_stdout() as stream:
        streams.say("one")
        streams.say("two")
        stream.write("what is left in the buffer")


@needs_posix
def test_a_batch_goes_on_when_the_reader_of_its_report_leaves(folder, model_folder):
    result = shell("encode a.png b.png -o out/ | true; test -f out/b.vqc", model_folder)

    assert (result.returncode, result.stderr) == (0, b"")
    assert all(unpack(Path(f"out/{n}.vqc").read_bytes()) for n in "ab")


def test_data_without_a_reader_is_an_error():
    with broken_stdout(), pytest.raises(OutputError, match="cannot write to stdout: Broken pipe"):
        streams.write_stdout(bytes(10))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_stdout_is_told_once_and_the_rest_is_done(folder, monkeypatch, capsys):
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run("info", "good.vqc", "good.vqc", "--json") == 7
    errors = capsys.readouterr().err.splitlines()

    assert errors[0] == "vqcodec: good.vqc: cannot write to stdout: No space left on device"
    assert errors[1:] == ["vqcodec: 1 of 2 files failed"]


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("cp1252", b"\\u4e2d\xe9.png\n"), ("ascii", b"\\u4e2d\\xe9.png\n"), ("utf-8", None)],
)
def test_a_name_that_the_console_lacks_is_escaped(monkeypatch, encoding, expected):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding, newline="\n"))
    streams.say("\u4e2d\xe9.png")

    sys.stdout.flush()
    assert raw.getvalue() == (expected or "\u4e2d\xe9.png\n".encode())


def test_a_name_does_not_steer_the_console_or_begin_a_line(folder, capsys):
    assert run("info", "\x1b[31m\nok.vqc\x9b") == 3

    line = "vqcodec: \\x1b[31m\\nok.vqc\\x9b: cannot be read: No such file or directory\n"
    assert capsys.readouterr().err == line


# Streams by other names


@needs_posix
def test_stdout_by_another_name_carries_data_and_no_report(folder, model_folder):
    result = shell("encode /dev/stdin -o /dev/stdout < a.png | cat", model_folder)

    assert unpack(result.stdout).header.width == 112
    assert result.stderr.startswith(b"stdin 112x80 -> stdout ")


@needs_posix
def test_a_named_pipe_that_is_stdout_is_stdout(tmp_path, monkeypatch):
    pipe, other = tmp_path / "pipe", tmp_path / "other"
    os.mkfifo(pipe)
    os.mkfifo(other)
    found = os.stat(pipe)
    monkeypatch.setattr(streams.os, "fstat", lambda number: found)

    assert streams.target_of(str(pipe)) == streams.STREAM
    assert streams.target_of(str(other)) == str(other)
    assert streams.target_of(os.devnull) == os.devnull
