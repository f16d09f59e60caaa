"""`vqcodec view` and `vqcodec web`: the decoder as a web page, here and for any server."""

import tempfile
import webbrowser
from functools import partial
from pathlib import Path, PurePath
from urllib.parse import quote

import click

from ..bitstream import container
from ..errors import OutputError
from ..web import runtime, server, site
from ..zoo import shipped, weights
from . import options
from .console import Report, run
from .paths import read
from .streams import STREAM, say

fetch = click.option(
    "--fetch", is_flag=True, help="Get ONNX Runtime Web by npm, if it is not here: once, 33 MB."
)
onnxruntime = click.option(
    "--onnxruntime", metavar="DIR", help="Folder of ONNX Runtime Web, npm's onnxruntime-web."
)


def _runtime(get: bool, folder: str | None) -> Path:
    return runtime.fetch() if get and folder is None else runtime.find(folder)


def _shipped_files(name: str, level: int) -> dict[str, bytes]:
    return site.model_files(weights.load_shipped(name), name, level)


def _given(source: str | None, original: str | None, model: str | None) -> dict[str, bytes]:
    """The files to open by their paths in the site, the .vqc file first. Raises FormatError;
    UnknownModelError for a file whose model is not installed, unless another is given."""
    found = {}
    for folder, path in (("file", source), ("original", original)):
        if path is not None:
            name = "stdin.vqc" if path == STREAM else PurePath(path).name
            found[f"{folder}/{name}"] = read(path)
    if source is not None:
        header = container.unpack(next(iter(found.values()))).header
        if header.learned and model is None:
            shipped.entry_of(header.model_id)
    return found


def _files(folder: Path, model: str | None, given: dict[str, bytes]) -> server.Files:
    """What the server has: the models that are installed, and `--model` if that is given."""
    models = {entry.id: entry.name for entry in shipped.entries()}
    makers = {
        site.manifest_path(key): partial(_shipped_files, name, site.FAST)
        for key, name in models.items()
    }
    if model is not None and shipped.is_path(model):
        loaded = weights.load_folder(Path(model))
        name = models[loaded.id] = PurePath(model).name
        makers[site.manifest_path(loaded.id)] = partial(
            site.model_files, loaded, name, level=site.FAST
        )
    index = site.index_file((name, key) for key, name in models.items())
    return server.files_of(folder, makers, index, given)


def _serve(files: server.Files, given: dict[str, bytes], port: int, show: bool) -> None:
    try:
        served = server.Server(files, port)
    except OSError as exc:
        raise OutputError(f"cannot listen on port {port}: {exc.strerror}") from exc
    query = "&".join(f"{path.partition('/')[0]}={quote(path, safe='/')}" for path in given)
    address = f"{served.address}?{query}" if query else served.address
    with served:
        say(f"{address}  (Ctrl-C ends it)")
        if show:
            webbrowser.open(address)
        try:
            served.serve_forever()
        except KeyboardInterrupt:
            say("", to_stderr=True)  # the terminal has shown ^C


@click.command()
@click.argument("source", metavar="[IN]", required=False, callback=options.source)
@click.option("--original", metavar="PICTURE", help="What it was made of, to compare with.")
@click.option("--no-open", is_flag=True, help="Print the address, and open no browser.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0, as it is: any free one.")
@fetch
@onnxruntime
@options.file_model
def view(
    source: str | None,
    original: str | None,
    no_open: bool,
    port: int,
    fetch: bool,
    onnxruntime: str | None,
    model: str | None,
) -> None:
    """Look at a .vqc file in the browser, which decodes it.

    Serves a page to this machine alone, on the loopback address, until Ctrl-C. It takes other files
    by drag and drop, of any installed model, and a picture to compare with; where the model has a
    realism decoder it has a dial for it. It computes with ONNX Runtime Web, which --fetch gets.

    \b
    Examples:
      vqcodec view photo.vqc --fetch
      vqcodec view photo.vqc --original photo.jpg
      vqcodec view --no-open --port 8000
    """

    ready: list[tuple[server.Files, dict[str, bytes]]] = []

    def work() -> None:
        given = _given(source, original, model)
        ready.append((_files(_runtime(fetch, onnxruntime), model, given), given))

    run([(source or "page", work)], Report())
    _serve(*ready[0], port, not no_open)


def _write_site(target: str, names: tuple[str, ...], folder: Path) -> None:
    """Write all files beside the target, which then takes their folder. Raises OutputError."""
    path = Path(target)
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OutputError(f"{target} is there already: the site takes a new or an empty folder")
        with tempfile.TemporaryDirectory(dir=path.absolute().parent) as temporary:
            built = Path(temporary) / "site"
            for name, data in _site(names, folder).items():
                file = built / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
            built.replace(path)
    except OSError as exc:
        if isinstance(exc, OutputError):
            raise
        raise OutputError(f"cannot write {target}: {exc.strerror or exc}") from exc
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    say(f"{target}: {size / 1e6:.1f} MB, models {', '.join(names)}")


def _site(names: tuple[str, ...], folder: Path) -> dict[str, bytes]:
    files = site.page_files()
    files[site.INDEX] = site.index_file((name, shipped.find(name).id) for name in names)
    for name in names:
        files.update(_shipped_files(name, site.SMALL))
    files.update(
        (f"{runtime.FOLDER}/{name}", (folder / name).read_bytes()) for name in runtime.FILES
    )
    return files


@click.command()
@click.argument("out", metavar="DIR")
@click.option(
    "--model",
    "names",
    multiple=True,
    metavar="NAME",
    help="May be repeated.  [default: those of this package]",
)
@fetch
@onnxruntime
def web(out: str, names: tuple[str, ...], fetch: bool, onnxruntime: str | None) -> None:
    """Write the page that decodes .vqc files to DIR, as static files for any server.

    DIR is new or empty. ?file=photo.vqc in the address opens a file of the same server, or of
    another one that allows it (CORS). Each model takes some megabytes, of which a page loads what a
    file needs.

    \b
    Examples:
      vqcodec web site --fetch
      vqcodec web site --model base-7 --model fast-2
    """
    names = tuple(dict.fromkeys(names)) or tuple(entry.name for entry in shipped.own())

    def work() -> None:
        for name in names:
            shipped.find(name)
        _write_site(out, names, _runtime(fetch, onnxruntime))

    run([(out, work)], Report())
