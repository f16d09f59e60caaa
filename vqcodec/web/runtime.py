"""ONNX Runtime Web, which the page computes networks with: where its files are, and getting them.

It is a package of npm that `page/package.json` pins. Nothing is fetched unless the user asks.
"""

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from importlib import resources
from pathlib import Path

from ..errors import InputError, MissingExtraError

PACKAGE = "onnxruntime-web"
FOLDER = "ort"  # of the site
FILES = (
    *("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    # The build that knows GPUs, which a page takes where there is one.
    *("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs"),
    "ort-wasm-simd-threaded.asyncify.wasm",
)


def version() -> str:
    """The one that the page was tested with."""
    text = resources.files(__package__).joinpath("page", "package.json").read_text("utf-8")
    return json.loads(text)["dependencies"][PACKAGE]


def cache() -> Path:
    """The user's own folder for the files."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vqcodec" / f"{PACKAGE}-{version()}"


def installed() -> Path:
    """Where `npm install` beside the page puts the package."""
    return Path(str(resources.files(__package__))) / "page" / "node_modules" / PACKAGE


def find(given: str | None = None) -> Path:
    """The folder that has FILES. given: it, or the npm package that it is in; None: what `fetch`
    got, or `npm install` beside the page.

    Raises InputError for a folder that has them not, MissingExtraError if there is none.
    """
    tried = [Path(given)] if given is not None else [cache(), installed()]
    for folder in (folder / inner for folder in tried for inner in ("", "dist")):
        if all((folder / name).is_file() for name in FILES):
            return folder
    if given is not None:
        raise InputError(f"{given} is no folder of {PACKAGE}: {FILES[0]} or others are missing")
    raise MissingExtraError(
        f"the page computes with {PACKAGE} {version()}, which is not here: --fetch gets it by npm,"
        f" once (33 MB), or --onnxruntime names a folder of it"
    )


def fetch() -> Path:
    """Get the package by npm, which checks what comes, into `cache`, unless `find` finds one.

    Raises MissingExtraError without npm, InputError if it fails.
    """
    try:
        return find()
    except MissingExtraError:
        pass
    npm = shutil.which("npm")
    if npm is None:
        raise MissingExtraError(f"--fetch takes npm, which is not here, to get {PACKAGE}")
    target = cache()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [npm, "pack", "--silent", "--ignore-scripts", f"{PACKAGE}@{version()}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            why = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise InputError(f"npm could not get {PACKAGE}: {why}")
        unpacked = Path(folder) / "files"
        _unpack(next(Path(folder).glob("*.tgz")), unpacked)
        if target.exists():  # of a fetch that was cut short, or of one beside this one
            shutil.rmtree(target)
        unpacked.rename(target)
    return target


def _unpack(archive: Path, folder: Path) -> None:
    """Those of FILES, and what says whose they are."""
    folder.mkdir()
    with tarfile.open(archive) as members:
        for name in ("package.json", "README.md", *(f"dist/{name}" for name in FILES)):
            with members.extractfile(f"package/{name}") as source:
                (folder / Path(name).name).write_bytes(source.read())
