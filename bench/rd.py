"""Rate and distortion: ours through real files and the peers, on the same pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import curves, machine, ours, peers, plots, report
from .curves import Curve
from .pictures import Picture, Point, find

NOTHING = Path()


@dataclass(frozen=True)
class Options:
    """What `python -m bench rd` was asked for."""

    folders: tuple[Path, ...]
    out: Path  # folder of all results and of the peers' cache
    model: str = ""  # folder or name; empty: the default
    codecs: tuple[str, ...] = (ours.CODEC, *peers.PEERS)
    qualities: tuple[float, ...] = ours.QUALITIES  # ours
    within: tuple[float, float] = (26.0, 33.0)  # dB, the interval of the BD-rates
    anchor: str = "jpeg"
    published: Path = NOTHING  # a JSON file of curves
    ms_ssim: bool = False
    jobs: int = 1

    def __post_init__(self) -> None:
        unknown = set(self.codecs) - {ours.CODEC, *peers.PEERS}
        if unknown or not self.codecs:
            raise ValueError(f"codecs are {', '.join(self.codecs)}: unknown {', '.join(unknown)}")


def run(options: Options) -> None:
    """Measure, print the table, and write all files into `options.out`."""
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = find(options.folders)
    points = _points(options, pictures)
    measured = [curves.average(codec, _label(codec), own) for codec, own in points.items()]
    others = [] if options.published == NOTHING else curves.published(options.published)
    rows = curves.compare(
        [*measured, *others],
        _find(ours.CODEC, measured),
        _find(options.anchor, [*measured, *others]),
        options.within,
    )
    meta = _meta(options, pictures)
    table = curves.table(rows, options.anchor)
    curves.write_results(options.out / "results.json", rows, meta)
    curves.write_details(options.out / "details.csv", points)
    plots.plot(measured, others, options.within, options.out)
    own = points.get(ours.CODEC, [])
    report.write(options.out, table, meta, pictures, own, ours.model_arguments(options.model))
    show(table[: 1 + len(measured)])  # published codecs are in the files


def show(table: list[list[str]]) -> None:
    """Print lines of text in columns."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = [line[0].ljust(widths[0])]
        cells += [text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True)]
        print("  ".join(cells))


def _points(options: Options, pictures: list[Picture]) -> dict[str, list[Point]]:
    """The points of each codec that can be had, ours first."""
    found = {}
    if ours.CODEC in options.codecs:
        model = ours.model_arguments(options.model)
        found[ours.CODEC] = ours.points(
            pictures,
            options.qualities,
            model,
            options.out / ours.CODEC,
            options.ms_ssim,
            options.jobs,
        )
    for name in peers.available(name for name in peers.PEERS if name in options.codecs):
        cache = options.out / "cache"
        found[name] = peers.points(name, pictures, cache, options.ms_ssim, options.jobs)
    return found


def _label(codec: str) -> str:
    return ours.LABEL if codec == ours.CODEC else peers.PEERS[codec].description


def _find(codec: str, measured: list[Curve]) -> Curve:
    """The curve of a codec, or one without points."""
    for curve in measured:
        if curve.codec == codec:
            return curve
    return Curve(codec, "not measured", *[np.array([])] * 5)


def _meta(options: Options, pictures: list[Picture]) -> dict:
    meta = machine.describe()
    if ours.CODEC in options.codecs:
        files = ours.files(options.out / ours.CODEC, options.qualities[0], 1)
        meta["model_id"] = ours.model_id(files[0])
    meta["bd_rate_within"] = options.within
    meta["pictures"] = {picture.name: picture.digest for picture in pictures}
    return meta
