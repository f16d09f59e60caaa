"""`vqcodec view` and `vqcodec web`: what is served and written, and to whom. No browser."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner

from vqcodec.cli import main
from vqcodec.web import runtime, site
from vqcodec.zoo import shipped

GOLDEN = Path(__file__).parent / "golden"
DEFAULT = shipped.default_name()
FILE = GOLDEN / "valid" / f"{DEFAULT}-waves.vqc"


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime, "installed", lambda: tmp_path / "nowhere")


@pytest.fixture
def onnxruntime(tmp_path) -> Path:
    """A folder that looks like one of ONNX Runtime Web."""
    folder = tmp_path / "package" / "dist"
    folder.mkdir(parents=True)
    for name in runtime.FILES:
        (folder / name).write_bytes(name.encode())
    return folder.parent


def call(*args):
    return CliRunner().invoke(main, list(map(str, args)))


def status(address: str, **options) -> int:
    try:
        with urlopen(Request(address, **options)) as answer:
            return answer.status
    except HTTPError as error:
        error.close()
        return error.code


def fetch(address: str) -> tuple[bytes, str]:
    with urlopen(address) as answer:
        return answer.read(), answer.headers["Content-Type"]


def test_view_serves_the_page_the_file_and_its_model_and_nothing_else(onnxruntime):
    command = [sys.executable, "-m", "vqcodec", "view", FILE, "--no-open"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "--onnxruntime", onnxruntime], **pipes) as process:
        try:
            address = process.stdout.readline().split()[0]
            base, _, query = address.partition("?")
            entry = shipped.find(DEFAULT)

            assert base.startswith("http://127.0.0.1:")
            assert len(base.split("/")[3]) >= 20
            assert query == f"file=file/{FILE.name}"
            page, kind = fetch(address)
            assert kind == "text/html; charset=utf-8"
            assert b"<!doctype html>" in page
            assert fetch(f"{base}decoder.js")[1] == "text/javascript; charset=utf-8"
            assert fetch(f"{base}file/{FILE.name}")[0] == FILE.read_bytes()
            assert fetch(f"{base}ort/{runtime.FILES[2]}")[1] == "application/wasm"
            manifest = json.loads(fetch(base + site.manifest_path(entry.id))[0])
            part = manifest["parts"]["synthesis"]
            assert len(fetch(base + part["path"])[0]) == part["bytes"]
            wrong = base.replace(base.split("/")[3], "x")
            for other in ("nothing", "../setup", "..%2f..%2fetc%2fpasswd", "ort/../page.js"):
                assert status(base + other) == 404, other
            assert {status(wrong), status(f"{wrong}page.js"), status(wrong[:-2])} == {404}
            assert status(base, data=b"x") == status(base, method="DELETE") == 501
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr.read().strip() == ""


def test_without_onnx_runtime_web_one_line_says_how_to_get_it(tmp_path):
    for args in (("view", FILE, "--no-open"), ("web", tmp_path / "site")):
        result = call(*args)

        assert result.exit_code == 1
        assert "--fetch" in result.stderr
        assert result.stderr.count("\n") == 1
    assert not (tmp_path / "site").exists()
    assert call("view", "--onnxruntime", tmp_path, "--no-open").exit_code == 3


def test_a_file_that_is_damaged_or_none_ends_before_anything_is_served(onnxruntime):
    for kind, code in (("flipped-word.CorruptError", 4), ("png.NotVqcError", 3)):
        file = GOLDEN / "invalid" / f"{DEFAULT}-{kind}.vqc"
        result = call("view", file, "--no-open", "--onnxruntime", onnxruntime)

        assert result.exit_code == code
        assert result.stdout == ""


def test_web_writes_a_whole_site_into_a_new_folder_only(tmp_path, onnxruntime):
    target = tmp_path / "site"
    args = "web", target, "--model", "fast-2", "--onnxruntime", onnxruntime
    result = call(*args)

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{target}: ")
    assert {path.name for path in (target / "ort").iterdir()} == set(runtime.FILES)
    assert (target / "index.html").is_file()
    index = json.loads((target / site.INDEX).read_text())
    assert [model["name"] for model in index["models"]] == ["fast-2"]
    manifest = json.loads((target / "models" / f"{index['models'][0]['id']}.json").read_text())
    sizes = {part["path"]: part["bytes"] for part in manifest["parts"].values()}
    assert {path: (target / path).stat().st_size for path in sizes} == sizes
    before = sorted(target.rglob("*"))
    assert call(*args).exit_code == 7
    assert sorted(target.rglob("*")) == before
    assert call("web", tmp_path / "other", "--model", "none-1", *args[4:]).exit_code == 5
    assert {path.name for path in tmp_path.iterdir()} == {"site", "package"}


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for npm")
def test_fetch_gets_the_pinned_package_by_npm_once(tmp_path, onnxruntime, monkeypatch):
    archive, tools = tmp_path / "made.tgz", tmp_path / "bin"
    with tarfile.open(archive, "w:gz") as out:
        for name in ("package.json", "README.md", *(f"dist/{name}" for name in runtime.FILES)):
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(name)
            out.addfile(info, io.BytesIO(name.encode()))
    tools.mkdir()
    script = f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ncp {archive} got.tgz\n'
    (tools / "npm").write_text(script)
    (tools / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")

    folders = {runtime.fetch(), runtime.fetch(), runtime.find()}
    assert folders == {runtime.cache()}
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 1
    assert calls[0].endswith(f"onnxruntime-web@{runtime.version()}")
    for name in runtime.FILES:
        (runtime.cache() / name).unlink()
    (tools / "npm").write_text("#!/bin/sh\necho 'npm error network' >&2\nexit 1\n")
    result = call("web", tmp_path / "site", "--fetch")
    assert result.exit_code == 3
    assert "npm error network" in result.stderr
    assert result.stderr.count("\n") == 1
