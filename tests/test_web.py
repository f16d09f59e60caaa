"""The decoder of the web page: its modules in Node, with networks by ONNX Runtime of this process.

What a browser adds, ONNX Runtime Web and the page itself, is in test_web_page.py.
"""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from conftest import fast_model
from vqcodec import read_header
from vqcodec.bitstream import container
from vqcodec.codec import Codec
from vqcodec.errors import CorruptError
from vqcodec.web import site
from vqcodec.web.between import graph_between
from vqcodec.zoo import shipped, weights

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
VALID = json.loads((GOLDEN / "valid" / "index.json").read_text())
PAGE = Path(site.__file__).parent / "page"
DEFAULT = shipped.default_name()
MODELS = [entry.name for entry in shipped.own()]

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A site of all current models."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "models").mkdir()
    for name in MODELS:
        for path, data in site.model_files(weights.load_shipped(name), name, site.FAST).items():
            (folder / path).write_bytes(data)
    entries = [(entry.name, entry.id) for entry in shipped.own()]
    (folder / site.INDEX).write_bytes(site.index_file(entries))
    return folder


class Parent:
    """Answers what tests/web/piped.mjs asks, until results come."""

    def __init__(self, process: subprocess.Popen):
        self.process, self.sessions = process, []

    def results(self) -> list[dict]:
        found = []
        for line in self.process.stdout:
            message = json.loads(line)
            if "ask" not in message:
                found.append(message)
                continue
            data = self.process.stdout.read(message["bytes"])
            answer, parts = getattr(self, message["ask"])(message, data)
            self.process.stdin.write(json.dumps(answer).encode() + b"\n" + b"".join(parts))
            self.process.stdin.flush()
        return found

    def open(self, message: dict, data: bytes) -> tuple[dict, list[bytes]]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.sessions.append(onnxruntime.InferenceSession(data, options))
        return {"id": len(self.sessions) - 1}, []

    def run(self, message: dict, data: bytes) -> tuple[dict, list[bytes]]:
        numbers = np.frombuffer(data, "<f4")
        inputs = {name: np.array(values, np.int64) for name, values in message["whole"].items()}
        for item in message["inputs"]:
            size = int(np.prod(item["dims"]))
            inputs[item["name"]] = numbers[:size].reshape(item["dims"])
            numbers = numbers[size:]
        outputs = self.sessions[message["id"]].run(None, inputs)
        return {"shapes": [x.shape for x in outputs]}, [x.tobytes() for x in outputs]


def decode(folder: Path, out: Path, files: list[Path | str]) -> list[dict]:
    """What the page's modules make of files."""
    command = ["node", HERE / "web" / "decode.mjs", PAGE, folder, "-", out, *files]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(list(map(str, command)), **pipes) as process:
        found = Parent(process).results()
    assert process.returncode == 0
    return found


def pixels_of(path: Path, realism: float = 0.0) -> np.ndarray:
    """What the package makes of a file: integer [H, W, 4]."""
    data = path.read_bytes()
    codec = Codec.load(shipped.name_of(read_header(data).model_id), "onnx")
    return np.asarray(codec.decode(data, realism=realism).convert("RGBA")).astype(int)


def rgba(out: Path, number: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.fromfile(out / f"{number}.rgba", np.uint8).reshape(shape)


def golden(model: str, kind: str) -> Path:
    return GOLDEN / "valid" / f"{model}-{kind}.vqc"


@needs_node
def test_golden_files_have_the_same_indices_and_pixels_within_one_level(models, tmp_path):
    """All kinds of the default model; of the others one whose every pass codes, with escapes, and
    of the fastest one with windows."""
    kinds = [file for file in VALID if file.startswith(f"{DEFAULT}-") and "tiled" not in file]
    files = [GOLDEN / "valid" / file for file in kinds]
    files += [golden(name, "dots") for name in MODELS] + [golden(fast_model(), "tiled")]
    results = decode(models, tmp_path, files)

    assert len(results) == len(files) >= 10
    for number, (file, result) in enumerate(zip(files, results, strict=True)):
        found = {"size": [result["facts"]["width"], result["facts"]["height"]]}
        assert {**found, "words": result["words"]} == VALID[file.name], file.name
        expected = pixels_of(file)
        assert np.abs(rgba(tmp_path, number, expected.shape) - expected).max() <= 1, file.name


@needs_node
def test_deep_pictures_are_shown_in_8_bits_and_so_is_their_alpha(models, tmp_path):
    rng, files = np.random.default_rng(0), []
    for depth in (10, 16):
        levels = rng.integers(0, 2**depth, (24, 40, 4), dtype=np.uint16)
        levels[..., :3] = (np.arange(40) * (2**depth // 41))[:, None]
        files.append(tmp_path / f"{depth}.vqc")
        files[-1].write_bytes(Codec.load(device="onnx").encode(levels, depth=depth))
    results = decode(models, tmp_path, files)

    for number, (file, result) in enumerate(zip(files, results, strict=True)):
        expected = pixels_of(file)
        found = rgba(tmp_path, number, expected.shape)
        assert result["facts"]["depth"] == int(file.stem)
        assert np.array_equal(found[..., 3], expected[..., 3])
        assert np.abs(found - expected).max() <= 1


@needs_node
def test_realism_is_that_of_the_package(models, tmp_path):
    name = next(entry.name for entry in reversed(shipped.own()) if len(entry.decoders) > 1)
    file = golden(name, "tiles")
    decode(models, tmp_path, [f"{weight}@{file}" for weight in (0, 0.3, 1)])
    expected = [pixels_of(file, weight) for weight in (0, 0.3, 1)]

    assert np.abs(expected[0] - expected[1]).max() > 1
    assert np.abs(expected[1] - expected[2]).max() > 1
    for number, picture in enumerate(expected):
        assert np.abs(rgba(tmp_path, number, picture.shape) - picture).max() <= 1


@needs_node
def test_invalid_files_are_refused_in_one_line_that_names_the_fault(models, tmp_path):
    files = sorted((GOLDEN / "invalid").glob(f"{DEFAULT}-*.vqc"))
    results = decode(models, tmp_path, files)

    assert len(files) >= 12
    for file, result in zip(files, results, strict=True):
        assert result.get("error") == file.stem.rsplit(".", 1)[1], file.name
        assert "\n" not in result["message"]


def outcome(path: Path) -> str:
    """The hash of a file's indices as the package reads them, or the name of its error."""
    try:
        indices = Codec.load(DEFAULT, "onnx").read_indices(path.read_bytes()).indices
    except CorruptError as error:
        return type(error).__name__
    return hashlib.sha256(indices.tobytes()).hexdigest()


@needs_node
def test_words_that_no_encoder_writes_give_what_they_give_in_the_package(models, tmp_path):
    """Behind right checksums, wrong words: escapes without end, and payloads that do not end where
    they should."""
    header, tiles, _, _ = container.unpack(golden(DEFAULT, "dots").read_bytes())
    rng, files = np.random.default_rng(0), [tmp_path / f"{number}.vqc" for number in range(12)]
    for number, file in enumerate(files):
        words = [np.frombuffer(words, "<u4").copy() for words in tiles[0]]
        for part in words[number % 2 :]:
            at = rng.integers(0, len(part) - 1, 1 + 4 * number)
            part[at] = rng.integers(0, 2**32, len(at), dtype=np.uint32)
        segments = container.Segments(*(part.tobytes() for part in words))
        file.write_bytes(container.pack(header, [segments]))
    expected = [outcome(file) for file in files]
    found = [result.get("error") or result["words"] for result in decode(models, tmp_path, files)]

    assert found == expected
    assert expected.count("CorruptError") >= 8


@needs_node
def test_a_part_of_a_model_that_was_changed_is_refused(models, tmp_path):
    folder = tmp_path / "site"
    shutil.copytree(models, folder)
    manifest = json.loads((folder / site.manifest_path(shipped.find(DEFAULT).id)).read_text())
    part = folder / manifest["parts"]["pass 2"]["path"]
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    (result,) = decode(folder, tmp_path, [golden(DEFAULT, "waves")])

    assert result["error"] == "ModelError"
    assert "pass 2" in result["message"]


def test_parts_are_named_by_the_hash_of_what_they_hold(models):
    for path in (models / "models").glob("*.bin"):
        content = site.gzip.decompress(path.read_bytes())

        assert hashlib.sha256(content).hexdigest().startswith(path.stem)


def test_graphs_of_two_structures_have_none_between():
    pytest.importorskip("vqcodec_archive")
    models = [weights.load_shipped(name) for name in MODELS[:2]]
    graphs = [site.networks.synthesis(m.config.transform, m.tensors) for m in models]
    with pytest.raises(ValueError, match="differ in more"):
        graph_between(*graphs, "realism")
