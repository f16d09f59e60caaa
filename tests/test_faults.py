"""What goes wrong outside the program: an old file is never lost, and no partial one stays."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from conftest import smooth_picture
from vqcodec.cli import main
from vqcodec.errors import OutputError
from vqcodec.image import atomic_write
from vqcodec.image.atomic_write import write_atomically

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals, limits and permissions")
not_root = pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read and write anything"
)


def python(code: str, *args: object, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


HALF = """
import sys, time
from vqcodec.image.atomic_write import write_atomically
def content(file):
    file.write(b"half")
    file.flush()
    print("half", flush=True)
    time.sleep(60)
write_atomically(sys.argv[1], content, overwrite=True)
"""


@posix
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_killed_while_it_writes_leaves_the_old_file(tmp_path, sent):
    (tmp_path / "a").write_bytes(b"old")
    with python(HALF, tmp_path / "a") as process:
        assert process.stdout.readline() == "half\n"
        process.send_signal(sent)
        process.communicate(timeout=30)

    assert (tmp_path / "a").read_bytes() == b"old"
    if hasattr(os, "O_TMPFILE") or sent == signal.SIGINT:
        assert names(tmp_path) == ["a"]


def test_a_system_without_nameless_files_writes_as_well(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    write_atomically(tmp_path / "a", b"new")
    write_atomically(tmp_path / "a", b"newer", overwrite=True)

    assert (tmp_path / "a").read_bytes() == b"newer"
    assert names(tmp_path) == ["a"]


FULL = """
import resource, sys
from vqcodec.errors import OutputError
from vqcodec.image.atomic_write import write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(sys.argv[1], bytes(5000), overwrite=True)
except OutputError as exc:
    sys.exit(str(exc))
"""


@posix
def test_a_file_system_that_is_full_keeps_the_old_file(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with python(FULL, tmp_path / "a") as process:
        message = process.communicate(timeout=30)[1]

    assert process.returncode == 1
    assert message == f"cannot write {tmp_path / 'a'}: File too large\n"
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


REPEAT = """
import sys
from vqcodec.image.atomic_write import write_atomically
for _ in range(100):
    write_atomically(sys.argv[1], sys.argv[2].encode() * 100_000, overwrite=True)
"""


def test_two_processes_that_write_the_same_target_never_mix(tmp_path):
    target = tmp_path / "a"
    target.write_bytes(b"0" * 100_000)
    seen = set()
    with python(REPEAT, target, "1") as first, python(REPEAT, target, "2") as second:
        while first.poll() is None or second.poll() is None:
            found = target.read_bytes()
            seen.add((len(found), *set(found)))
        errors = [process.communicate()[1] for process in (first, second)]

    assert errors == ["", ""]
    assert seen <= {(100_000, ord(byte)) for byte in "012"}
    assert names(tmp_path) == ["a"]


ONCE = """
import sys
from vqcodec.errors import OutputError
from vqcodec.image.atomic_write import write_atomically
sys.stdin.read()
try:
    write_atomically(sys.argv[1], sys.argv[2].encode())
except OutputError:
    sys.exit(7)
"""


def test_of_several_processes_that_make_a_file_exactly_one_succeeds(tmp_path):
    crowd = [python(ONCE, tmp_path / "a", number, stdin=subprocess.PIPE) for number in range(4)]
    for process in crowd:
        process.stdin.close()
        process.stdin = None
    for process in crowd:
        process.communicate(timeout=60)
    codes = [process.returncode for process in crowd]

    assert sorted(codes) == [0, 7, 7, 7]
    assert (tmp_path / "a").read_text() == str(codes.index(0))
    assert names(tmp_path) == ["a"]


@posix
@not_root
def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(OutputError, match=r"cannot write .*a: Permission denied"):
            write_atomically(tmp_path / "a", b"new")
    finally:
        tmp_path.chmod(stat.S_IRWXU)
    assert names(tmp_path) == []


# On the command line


@pytest.fixture
def folder(tmp_path, monkeypatch, installed) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(smooth_picture(20, 30)).save("a.png")
    Image.fromarray(smooth_picture(20, 30)).save("b.png")
    return tmp_path


def call(*args: object):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_source_that_vanishes_after_the_start_fails_alone(folder, monkeypatch):
    read = Path.read_bytes

    def vanishing(path: Path) -> bytes:
        Path("a.png").unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", vanishing)
    result = call("encode", "a.png", "b.png")

    assert result.exit_code == 3
    assert "vqcodec: a.png: cannot be read: No such file or directory" in result.stderr
    assert names(folder) == ["b.png", "b.vqc"]


def test_a_source_that_cannot_be_read_to_its_end_fails_alone(folder, monkeypatch):
    read = Path.read_bytes

    def failing(path: Path) -> bytes:
        if path.name == "a.png":
            raise OSError(5, "Input/output error")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    result = call("encode", "a.png", "b.png")

    assert result.exit_code == 3
    assert "vqcodec: a.png: cannot be read: Input/output error" in result.stderr
    assert names(folder) == ["a.png", "b.png", "b.vqc"]


@pytest.mark.parametrize("command", [("encode", "a.png"), ("decode", "c.vqc", "-o", "a.vqc")])
def test_a_disk_that_fills_up_keeps_the_old_file(folder, codec, monkeypatch, command):
    Path("c.vqc").write_bytes(codec.encode(smooth_picture(20, 30)))
    Path("a.vqc").write_bytes(b"old")

    def full(file, content):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_write, "_fill", full)
    more = ["--format", "png"] if command[0] == "decode" else []
    result = call(*command, "-f", *more)

    assert result.exit_code == 7
    assert "cannot write a.vqc: No space left on device" in result.stderr.replace("./", "")
    assert Path("a.vqc").read_bytes() == b"old"
    assert names(folder) == ["a.png", "a.vqc", "b.png", "c.vqc"]


HUGE = """
import resource, sys
from vqcodec.cli import main
import vqcodec.image.pixels
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 300 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
main(["encode", "huge.png", "-o", "huge.vqc"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a limit of memory")
def test_a_picture_that_memory_does_not_hold_is_one_line(tmp_path):
    Image.new("RGB", (10_000, 10_000)).save(tmp_path / "huge.png", compress_level=1)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with python(HUGE, cwd=tmp_path, env=environment) as process:
        message = process.communicate(timeout=120)[1]

    assert message == "vqcodec: huge.png: not enough memory\n"
    assert process.returncode == 1
    assert names(tmp_path) == ["huge.png"]


# Threads and processes


def test_threads_share_a_codec_and_write_the_same_bytes(codec):
    from concurrent.futures import ThreadPoolExecutor

    pictures = [smooth_picture(40 + 9 * seed, 70, seed) for seed in range(8)]
    expected = [codec.encode(picture, 10 * k) for k, picture in enumerate(pictures)]
    painted = [codec.decode(data).tobytes() for data in expected]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            found = list(pool.map(codec.encode, pictures, range(0, 80, 10)))
            assert found == expected
            assert [image.tobytes() for image in pool.map(codec.decode, found)] == painted


def encode_there(model_folder: Path, picture: np.ndarray) -> bytes:
    import torch

    from vqcodec.codec import Codec

    torch.set_num_threads(1)
    return Codec.load(model_folder, "cpu").encode(picture)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12, about threads
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_write_the_same_bytes(codec, model_folder, picture, method):
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    expected = codec.encode(picture)
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.starmap(encode_there, [(model_folder, picture)] * 4)
        pool.close()
        pool.join()

    assert found == [expected] * 4
