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
from functools import partial
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
from .measuring import Coded
from .measuring import points as points_of
from .pictures import Picture, Point
from .workers import Each, cores

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
        parts = {path for path in model_folder(self.model).iterdir() if path.suffix in MODEL_PARTS}
        if not _is_folder(self.model):
            later = shipped.realism_file(_shipped_name(self.model))
            parts |= {later} if later else set()
        digest = hashlib.sha256()
        for path in [*sorted(code), *sorted(parts)]:
            digest.update(path.read_bytes())
        return f"{self.name} {digest.hexdigest()[:16]}, torch {version('torch')}"


def model_folder(model: str) -> Path:
    """Raises UnknownModelError."""
    return Path(model) if _is_folder(model) else shipped.folder_of(_shipped_name(model))


def _is_folder(model: str) -> bool:
    return bool(model) and Path(model).is_dir()


def _shipped_name(model: str) -> str:
    return model or shipped.default_name()


def points(
    encoder: Encoder,
    pictures: list[Picture],
    qualities: Iterable[float],
    out: Path,
    figures: Figures,
    jobs: int = 1,
    each: Each = map,
) -> list[Point]:
    """The points of all pictures, in order of the qualities.

    out: a folder; the .vqc files are left in it, see `files`, and caches of the points. jobs: how
    many files are written and read at a time. each: what measures several, see `workers`.
    """
    qualities = list(qualities)
    known = Cache(out / "cache" / f"{encoder.name}.json", encoder.description)
    sources = _stage(encoder, pictures, out)

    def lacking(picture: Picture) -> list[float]:
        files_of = {q: files(encoder, q, [picture], out)[0] for q in qualities}
        return [q for q, file in files_of.items()
                if not file.exists() or known.find(picture, q, figures) is None]  # fmt: skip

    todo = {picture: own for picture in different(pictures) if (own := lacking(picture))}
    wanted = {q: [p for p, own in todo.items() if q in own] for q in qualities}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_and_read(encoder, wanted, sources, out, folder, jobs)
        work = partial(_measure, encoder, figures, out, folder)
        measured = each(work, todo.items())
        bar = tqdm(measured, encoder.name, len(todo), unit="picture", leave=False, disable=None)
        for picture, found in zip(todo, bar, strict=True):
            known.add(picture, found, figures)
    return [known.find(picture, quality, figures) for quality in qualities for picture in pictures]


def _write_and_read(
    encoder: Encoder,
    wanted: dict[float, list[Picture]],
    sources: dict[str, Path],
    out: Path,
    folder: Path,
    jobs: int,
) -> None:
    """Write the files that are not there, of different pictures by quality, and decode all of
    them, each quality into a subfolder of its own, with a process of the command for each."""
    count = 2 * sum(map(len, wanted.values()))
    threads = [] if jobs == 1 else ["--threads", max(1, cores() // jobs)]
    with (
        tqdm(desc=encoder.name, total=count, unit="step", leave=False, disable=None) as bar,
        ThreadPoolExecutor(jobs) as pool,
    ):

        def work(quality: float) -> None:
            written = files(encoder, quality, wanted[quality], out)
            todo = [sources[file.stem] for file in written if not file.exists()]
            bar.update(len(written) - len(todo))
            if todo:
                target = "-o", f"{written[0].parent}/", "-q", quality, *threads
                run("encode", *todo, *target, *encoder.arguments, each_line=bar.update)
            _read(encoder, written, folder / f"{quality:g}", *threads)
            bar.update(len(written))

        list(pool.map(work, (quality for quality, own in wanted.items() if own)))


def _measure(
    encoder: Encoder,
    figures: Figures,
    out: Path,
    folder: Path,
    lacking: tuple[Picture, list[float]],
) -> list[Point]:
    """The points of a picture at some qualities, whose pixels are in subfolders of a folder."""
    picture, qualities = lacking
    sizes = (files(encoder, q, [picture], out)[0].stat().st_size for q in qualities)
    paths = (folder / f"{q:g}" / f"{picture.digest}.png" for q in qualities)
    rows = zip(qualities, sizes, paths, strict=True)
    coded = (Coded(q, size, pixels.load(path).rgb) for q, size, path in rows)
    return points_of(picture, coded, figures, out / "cache")


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


def decode(encoder: Encoder, written: list[Path]) -> list[np.ndarray]:
    """The pixels of .vqc files, uint8 [H, W, 3] each, by one process of `vqcodec decode`."""
    with tempfile.TemporaryDirectory() as folder:
        _read(encoder, written, Path(folder))
        return [pixels.load(Path(folder) / f"{file.stem}.png").rgb for file in written]


def _read(encoder: Encoder, written: list[Path], folder: Path, *more: object) -> None:
    """Decode .vqc files to PNG files of their names in a folder."""
    if written:
        dial = "--realism", encoder.realism, *model_arguments(encoder.model)
        run("decode", *written, "-o", f"{folder}/", "-f", *dial, *more)


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
