"""Our codec as a user runs it: `vqcodec encode` writes files, another process decodes them.

One process does all pictures of a quality, so that torch is started twice a quality. Files and
points are kept: what was done before with the same code and model is not done again.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from tqdm import tqdm

import vqcodec
from vqcodec.bitstream import container
from vqcodec.image import pixels
from vqcodec.zoo import shipped

from .cache import Cache
from .figures import Figures
from .pictures import Picture, Point, load, measure

CODEC = "vqc"
LABEL = "vqcodec"
QUALITIES = tuple(range(0, 101, 10))
# Without alpha and metadata: the peers are given bare pixels as well.
MODEL_PARTS = ".json", ".safetensors"
BARE = "--alpha", "drop", "--strip", "all"


class Encoder(NamedTuple):
    """How files are written and read. model: folder or name, empty for the default. effort: 0
    for the command's own default."""

    model: str = ""
    effort: int = 0
    realism: float = 0.0

    @property
    def name(self) -> str:
        """The codec's name in tables and caches."""
        effort = f"-e{self.effort}" if self.effort else ""
        return f"{CODEC}{effort}" + (f"-r{self.realism:g}" if self.realism else "")

    @property
    def label(self) -> str:
        effort = f" effort {self.effort}" if self.effort else ""
        return f"{LABEL}{effort}" + (f" realism {self.realism:g}" if self.realism else "")

    @property
    def writer(self) -> "Encoder":
        """What decides about the files: they do not depend on realism."""
        return self._replace(realism=0.0)

    @property
    def arguments(self) -> list[str]:
        """What `vqcodec encode` gets besides files and quality."""
        effort = ["--effort", str(self.effort)] if self.effort else []
        return [*BARE, *effort, *model_arguments(self.model)]

    @property
    def description(self) -> str:
        """All that decides about the files: our code, the model and what computes them."""
        code = Path(vqcodec.__file__).parent.rglob("*.py")
        parts = [path for path in model_folder(self.model).iterdir() if path.suffix in MODEL_PARTS]
        digest = hashlib.sha256()
        for path in [*sorted(code), *sorted(parts)]:
            digest.update(path.read_bytes())
        return f"{self.name} {digest.hexdigest()[:16]}, torch {version('torch')}"


def model_folder(model: str) -> Path:
    """Raises UnknownModelError."""
    if model and Path(model).is_dir():
        return Path(model)
    return shipped.folder_of(shipped.find(model or shipped.default_name()).name)


def points(
    encoder: Encoder,
    pictures: list[Picture],
    qualities: Iterable[float],
    out: Path,
    figures: Figures,
    jobs: int = 1,
) -> list[Point]:
    """The points of all pictures, in order of the qualities.

    out: a folder; the .vqc files are left in it, see `files`, and a cache of the points.
    """
    qualities = list(qualities)
    known = Cache(out / "cache" / f"{encoder.name}.json", encoder.description)
    sources = _stage(encoder, pictures, out)

    def is_done(picture: Picture, quality: float) -> bool:
        (file,) = files(encoder, quality, [picture], out)
        return file.exists() and known.find(picture, quality, figures) is not None

    todo = [(q, [p for p in different(pictures) if not is_done(p, q)]) for q in qualities]
    count = 2 * sum(len(own) for _, own in todo)  # each is encoded and measured
    with (
        tqdm(desc=encoder.name, total=count, unit="step", leave=False, disable=None) as bar,
        ThreadPoolExecutor(jobs) as pool,
    ):

        def work(job: tuple[float, list[Picture]]) -> list[Point]:
            return _measure(encoder, *job, sources, out, figures, bar.update)

        for (_, own), found in zip(todo, pool.map(work, todo), strict=True):
            for picture, point in zip(own, found, strict=True):
                known.add(picture, [point], figures)
    return [known.find(picture, quality, figures) for quality in qualities for picture in pictures]


def _measure(
    encoder: Encoder,
    quality: float,
    pictures: list[Picture],
    sources: dict[str, Path],
    out: Path,
    figures: Figures,
    step: Callable[[], object],
) -> list[Point]:
    """The points of different pictures at one quality. step: called twice a picture."""
    written = files(encoder, quality, pictures, out)
    todo = [sources[file.stem] for file in written if not file.exists()]
    for _ in range(len(written) - len(todo)):
        step()
    if todo:
        folder = f"{written[0].parent}/"
        run("encode", *todo, "-o", folder, "-q", quality, *encoder.arguments, each_line=step)
    found = []
    decoded = decode(written, encoder.model, encoder.realism)
    for picture, file, rgb in zip(pictures, written, decoded, strict=True):
        size = file.stat().st_size
        found.append(measure(picture.name, quality, size, load(picture), rgb, figures))
        step()
    return found


def model_arguments(model: str) -> list[str]:
    """The command line's arguments for a model: its folder or name, empty for the default."""
    return ["--model", model] if model else []


def run(command: str, *arguments: object, each_line: Callable[[], object] = lambda: None) -> None:
    """Run `vqcodec COMMAND ARGUMENTS` in a process of its own.

    each_line: called for each line that it prints, which is one a file.
    """
    line = [sys.executable, "-m", "vqcodec", command, *map(str, arguments)]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(line, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        for _ in process.stdout:
            each_line()
        if process.wait():
            errors.seek(0)
            last = (errors.read().strip() or "no message").splitlines()[-1]
            text = f"`vqcodec {command}` gave {process.returncode}: {last}"
            raise click.ClickException(text)


def files(encoder: Encoder, quality: float, pictures: Iterable[Picture], out: Path) -> list[Path]:
    """The .vqc files of a quality."""
    folder = out / encoder.writer.name / f"{quality:g}"
    return [folder / f"{picture.digest}.vqc" for picture in pictures]


def decode(written: list[Path], model: str, realism: float = 0.0) -> list[np.ndarray]:
    """The pixels of .vqc files, uint8 [H, W, 3] each, by one process of `vqcodec decode`."""
    if not written:
        return []
    with tempfile.TemporaryDirectory() as folder:
        dial = "--realism", realism
        run("decode", *written, "-o", f"{folder}/", "-f", *dial, *model_arguments(model))
        return [pixels.load(Path(folder) / f"{file.stem}.png").rgb for file in written]


def model_id(file: Path) -> str:
    """The id of the model that a .vqc file was made with, in hex."""
    return container.read_header(file.read_bytes()).model_id.hex()


def different(pictures: Iterable[Picture]) -> list[Picture]:
    """The pictures without repetitions."""
    return list({picture.digest: picture for picture in pictures}.values())


def _stage(encoder: Encoder, pictures: list[Picture], out: Path) -> dict[str, Path]:
    """Copies of the pictures under their digests: two folders may hold files of one name.

    Files that other code or another model has written are removed.
    """
    encoder = encoder.writer
    work = out / encoder.name
    stamp = work / "made-with.txt"
    if not stamp.exists() or stamp.read_text("utf-8") != encoder.description:
        shutil.rmtree(work, ignore_errors=True)
    folder = out / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    copies = {}
    for picture in different(pictures):
        copies[picture.digest] = folder / f"{picture.digest}{picture.path.suffix.lower()}"
        shutil.copyfile(picture.path, copies[picture.digest])
    work.mkdir(exist_ok=True)
    stamp.write_text(encoder.description, "utf-8")
    return copies
