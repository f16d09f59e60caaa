"""Threads that do not spin, children of fork that do not wait for ever, and nothing left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from conftest import smooth_picture
from vqcodec.cli import main
from vqcodec.codec import Codec

PATIENCE = 120  # seconds; what hangs never ends
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
PREPARE = """
import multiprocessing, os, sys
from pathlib import Path
import numpy as np
from vqcodec.codec import Codec

folder, device, file, out = sys.argv[1:]
if device == "cpu":
    import torch
    torch.set_num_threads(2)
os.environ["OMP_NUM_THREADS"] = "2"  # for ONNX Runtime, from here on
codec, data = Codec.load(folder, device), Path(file).read_bytes()
picture = codec.decode(data)
codec.encode(picture, effort=2)
"""


def python(code: str, *args: object, **environment: str) -> subprocess.CompletedProcess:
    """Run code in a new process. Raises if it fails, or hangs."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, args)],
        check=True,
        timeout=PATIENCE,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
    )


@pytest.fixture(scope="module")
def file(model_folder, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("file") / "a.vqc"
    path.write_bytes(Codec.load(model_folder, "cpu").encode(smooth_picture(64, 96), effort=1))
    return path


# Children of fork have none of the threads that their parent's engines wait for.

PREFORK = """
import threading
from vqcodec.engine.select import LOADING

def fork_and_wait(work):
    child = os.fork()
    if not child:
        try:
            work()
        except Exception:
            os._exit(1)
        sys.exit(7)  # through the interpreter's own exit, as gunicorn's workers
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def decode():
    assert codec.decode(data) == picture
    codec.encode(picture, effort=1)

def decode_in_grandchild():
    decode()
    assert fork_and_wait(decode) == 7

assert fork_and_wait(lambda: None) == 7
assert fork_and_wait(decode_in_grandchild) == 7
held, done = threading.Event(), threading.Event()

def load():  # as a thread that loads a model while another forks
    with LOADING.lock:
        held.set()
        done.wait()

thread = threading.Thread(target=load)
thread.start()
held.wait()
assert fork_and_wait(lambda: Codec.load(folder, device).decode(data)) == 7
done.set()
thread.join()
decode()
"""
POOLS = """
def decode(_):
    return codec.decode(data) == picture

for _ in range(2):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert all(pool.map(decode, range(4)))
        pool.close()
        pool.join()
"""
LOADER = """
class Pictures(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, number):
        return np.asarray(codec.decode(data))

loader = torch.utils.data.DataLoader(Pictures(), num_workers=2, multiprocessing_context="fork")
assert all((batch.numpy()[0] == np.asarray(picture)).all() for batch in loader)
"""


@forks
@pytest.mark.parametrize("device", ["cpu", "onnx"])
@pytest.mark.parametrize("code", [PREFORK, POOLS], ids=["prefork", "pools"])
def test_children_of_a_process_that_used_a_codec_decode_and_end(
    model_folder, file, tmp_path, device, code
):
    python(PREPARE + code, model_folder, device, file, tmp_path)


@forks
def test_workers_of_a_data_loader_decode(model_folder, file, tmp_path):
    python(PREPARE + LOADER, model_folder, "cpu", file, tmp_path)


@forks
@pytest.mark.parametrize("device", ["cpu", "onnx"])
def test_processes_of_datasets_decode(model_folder, file, tmp_path, device):
    pytest.importorskip("datasets")
    code = """
import datasets
rows = datasets.Dataset.from_dict({"vqc": [data] * 4})
made = rows.map(lambda row: {"size": list(codec.decode(row["vqc"]).size)}, num_proc=2)
assert made["size"] == [list(picture.size)] * 4
"""
    python(PREPARE + code, model_folder, device, file, tmp_path, HF_HOME=str(tmp_path))


# What commands tell OpenMP


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, "PASSIVE"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),
        ({"GOMP_SPINCOUNT": "1000"}, None),
    ],
)
def test_threads_of_all_commands_do_not_spin_unless_the_user_says_so(monkeypatch, own, expected):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # to be put back
        monkeypatch.delenv(name)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    assert CliRunner().invoke(main, ["models", "--help"]).exit_code == 0

    assert os.environ.get("OMP_WAIT_POLICY") == expected


@pytest.mark.skipif(sys.platform != "linux", reason="torch has another OpenMP elsewhere")
def test_openmp_hears_what_commands_tell_it_and_nothing_from_the_library(
    model_folder, file, tmp_path, monkeypatch
):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    asked = {"OMP_DISPLAY_ENV": "verbose", "OMP_NUM_THREADS": "1"}
    library = "import sys; from vqcodec.codec import Codec; Codec.load(sys.argv[1], 'cpu').engine"
    command = "from vqcodec.cli import main; main()"
    line = ["decode", file, "-o", tmp_path / "a.png", "--model", model_folder, "--device", "cpu"]

    assert "GOMP_SPINCOUNT = '0'" in python(command, *line, **asked).stderr
    assert "GOMP_SPINCOUNT = '0'" not in python(library, model_folder, **asked).stderr


# What is left behind


@pytest.mark.parametrize("device", ["cpu", "onnx"])
def test_nothing_is_written_but_the_output(model_folder, tmp_path, device):
    """ONNX Runtime would write an id of the device under HOME, when it is imported."""
    Image.fromarray(smooth_picture(20, 30)).save(tmp_path / "a.png")
    kinds = "HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"
    folders = {name: str(tmp_path / name) for name in kinds}
    for folder in folders.values():
        Path(folder).mkdir()
    code = """
import os, sys
for name in ("ORT_DISABLE_TELEMETRY", "CI"):
    os.environ.pop(name, None)
from vqcodec.cli import main
folder, model, device = sys.argv[1:]
os.chdir(folder)
rest = "--model", model, "--device", device
main(["encode", "a.png", "--effort", "1", *rest], standalone_mode=False)
main(["decode", "a.vqc", "-o", "b.png", *rest], standalone_mode=False)
"""
    python(code, tmp_path, model_folder, device, PYTHONDONTWRITEBYTECODE="1", **folders)

    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left == {"a.png", "a.vqc", "b.png", *kinds}
