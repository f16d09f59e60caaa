"""Rate and distortion: ours through real files and the peers, on the same pictures."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import crops, curves, kid, machine, ours, peers, plots, report, results, worst
from .curves import Curve, Intervals
from .figures import CURVES, LEVELS, Figures
from .ours import Encoder
from .pictures import Picture, Point, content, find
from .workers import cores, workers

NOTHING = Path()
PUBLISHED = Path(__file__).with_name("published.json")
KODAK = "2be7fa2eebfda5c5"  # `content` of the 24 pictures that the curves of PUBLISHED are of


@dataclass(frozen=True)
class Options:
    """What `python -m bench rd` was asked for."""

    folders: tuple[Path, ...]
    out: Path  # folder of all results, of our files and of the points measured so far
    model: str = ""  # folder or name; empty: the default
    codecs: tuple[str, ...] = (ours.CODEC, *peers.PEERS)
    qualities: tuple[float, ...] = ours.QUALITIES  # ours
    efforts: tuple[int, ...] = ()  # of ours; 0 or empty: the command's default
    realisms: tuple[float, ...] = ()  # of ours at the first effort, besides 0
    intervals: Intervals = field(default_factory=Intervals)
    anchor: str = "jpeg"
    published: Path = NOTHING  # a JSON file of curves; NOTHING: PUBLISHED if the pictures are Kodak
    figures: Figures = field(default_factory=Figures)
    jobs: int = field(default_factory=cores)

    def __post_init__(self) -> None:
        unknown = set(self.codecs) - {ours.CODEC, *peers.PEERS}
        if unknown or not self.codecs:
            raise ValueError(f"codecs are {', '.join(self.codecs)}: unknown {', '.join(unknown)}")
        if len(set(self.qualities)) < len(self.qualities):
            raise ValueError("a quality is given twice")
        if any(not 0 <= realism <= 1 for realism in self.realisms):
            raise ValueError(f"realisms are {self.realisms}, expected 0..1")

    @property
    def encoders(self) -> list[Encoder]:
        """Ours to measure. The first is the one that is compared with the others, at realism 0."""
        if ours.CODEC not in self.codecs:
            return []
        found = [Encoder(self.model, effort) for effort in dict.fromkeys(self.efforts or (0,))]
        more = sorted({realism for realism in self.realisms if realism})
        return found[:1] + [found[0]._replace(realism=own) for own in more] + found[1:]


class Shown(NamedTuple):
    """What a report has besides curves."""

    worst: list[worst.Worst]
    groups: list[crops.Group]


def run(options: Options) -> None:
    """Measure, print the tables, and write all files into `options.out`."""
    options.out.mkdir(parents=True, exist_ok=True)
    pictures, encoders = find(options.folders), options.encoders
    points = _measure(options, pictures, encoders)
    labels = {encoder.name: encoder.label for encoder in encoders}
    found = []
    for name, own in points.items():
        label = labels[name] if name in labels else peers.description(name)
        found.append(curves.average(name, label, own))
    if options.realisms and options.figures.lpips:
        found = [_with_kid(curve, options, pictures, encoders) for curve in found]
    found += _published(options, pictures)
    meta = _meta(options, pictures, encoders)
    least, groups = [], []
    if encoders:
        least = worst.find(points, encoders[0].name, options.intervals.rates)
        own = [encoder for encoder in encoders if encoder.writer == encoders[0]]
        first, notes = points[encoders[0].name], worst.notes(least)
        groups = crops.cut(options.out, pictures, first, own, notes)
    results.write_details(options.out / "details.csv", points)
    shown = Shown(least, groups)
    _report(found, meta, shown, options.out, options.intervals, is_new=True)


def _measure(
    options: Options, pictures: list[Picture], encoders: list[Encoder]
) -> dict[str, list[Point]]:
    """The points by codec, ours first."""
    points, figures = {}, options.figures
    names = peers.available(name for name in peers.PEERS if name in options.codecs)
    with workers(options.jobs) as each:
        for encoder in encoders:
            asked = encoder, pictures, options.qualities, options.out, figures
            points[encoder.name] = ours.points(*asked, options.jobs, each)
        for name in names:
            cache = options.out / "cache"
            points[name] = peers.points(name, pictures, cache, figures, each)
    return points


def _with_kid(
    curve: Curve, options: Options, pictures: list[Picture], encoders: list[Encoder]
) -> Curve:
    """The curve with KID, if it is of ours at the effort that has several realisms."""
    for encoder in encoders:
        if encoder.name == curve.codec and encoder.writer == encoders[0]:
            qualities = curve.qualities.tolist()
            values = kid.of_files(encoder, pictures, qualities, options.out, options.figures.lpips)
            return curve._replace(kid=np.array(values))
    return curve


def redraw(source: Path, out: Path, changes: dict) -> None:
    """Print the table of a results.json again, and write plots and report into `out`.

    changes: of `psnr`, `rates` and `anchor`; the others are those of the run. Crops come from the
    folder of `source`. Raises ValueError if it holds no results.
    """
    found = results.read(source)
    shown = Shown(found.worst, crops.read(source.parent, found.crops))
    recorded = found.meta["intervals"]
    intervals = Intervals(*(changes.get(k) or tuple(recorded[k]) for k in Intervals._fields))
    meta = found.meta | {"intervals": intervals._asdict()}
    meta["anchor"] = changes.get("anchor") or meta["anchor"]
    out.mkdir(parents=True, exist_ok=True)
    _report(found.curves, meta, shown, out, intervals, is_new=False)


def _report(
    found: list[Curve],
    meta: dict,
    shown: Shown,
    out: Path,
    intervals: Intervals,
    is_new: bool,
) -> None:
    """Write what is made of the curves, and print the tables."""
    own, anchor = meta["ours"], meta["anchor"]
    first, other, rates = _find(own, found), _find(anchor, found), intervals.rates
    rows = curves.compare(found, first, other, intervals)
    measured = [name for name in CURVES if any(c.has(name) for c in found if not c.is_published)]
    by_figure = {name: curves.changes(name, found, first, other, rates) for name in measured}
    tables = report.Tables(
        curves.table(rows, anchor, own, intervals),
        curves.summary_table(by_figure, own),
        {n: curves.figure_table(n, by_figure[n], anchor, own, rates) for n in measured},
        worst.table(shown.worst),
        [curves.level_table(name, found) for name in LEVELS],
    )
    if is_new:
        written = crops.write(out, shown.groups)
        results.write(out / "results.json", rows, by_figure, meta, shown.worst, written)
    own_curves = [curve for curve in found if not curve.is_published]
    others = [curve for curve in found if curve.is_published]
    plots.plot(own_curves, others, intervals.psnr, own, out)
    report.write(out, tables, found, meta, shown.groups)
    report.tell(tables, found)


def _published(options: Options, pictures: list[Picture]) -> list[Curve]:
    """Curves of a table that was asked for, or ours of Kodak if the pictures are these."""
    if options.published != NOTHING:
        return curves.published(options.published)
    return curves.published(PUBLISHED) if content(ours.different(pictures)) == KODAK else []


def _find(codec: str, found: Iterable[Curve]) -> Curve:
    """The curve of a codec, or one without points."""
    for curve in found:
        if curve.codec == codec:
            return curve
    return Curve(codec, "not measured", *[np.array([])] * (len(Curve._fields) - 2))


def _meta(options: Options, pictures: list[Picture], encoders: list[Encoder]) -> dict:
    meta = machine.describe()
    meta["ours"], meta["anchor"] = ours.CODEC, options.anchor
    if encoders:
        (file,) = ours.files(encoders[0], options.qualities[0], pictures[:1], options.out)
        meta["ours"], meta["model_id"] = encoders[0].name, ours.model_id(file)
    meta["intervals"] = options.intervals._asdict()
    meta["pictures"] = {picture.name: picture.digest for picture in pictures}
    return meta
