"""Points -> curves -> a comparison of ours with each, as tables."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqcodec import metrics

from .figures import FIGURES, NAMES
from .pictures import Point

RATIO_AT = 28.0, 29.6, 31.0  # dB, where rates are compared
LEVELS_AT = 0.1, 0.2, 0.4, 0.8  # bits per pixel, where figures are compared
GRID = 1001  # PSNRs at which a curve is taken to find the PSNR of a rate
NO_CHANGE = metrics.RateChange(math.nan, math.nan, math.nan)


class Curve(NamedTuple):
    """A codec's points, each the mean over the pictures, in order of the rate.

    bpp and the figures: float64 [N]; nan where not measured. bpp_total: all bits over all pixels.
    kid: of all pictures together.
    qualities: [N], empty for a published curve.
    """

    codec: str
    description: str
    qualities: np.ndarray
    bpp: np.ndarray
    bpp_total: np.ndarray
    psnr: np.ndarray
    ms_ssim: np.ndarray
    ssimulacra2: np.ndarray
    butteraugli: np.ndarray
    butteraugli_3: np.ndarray
    cvvdp: np.ndarray
    lpips: np.ndarray
    st_lpips: np.ndarray
    squares: np.ndarray
    repeats_8: np.ndarray
    repeats_16: np.ndarray
    kid: np.ndarray

    @property
    def is_published(self) -> bool:
        return not len(self.qualities)

    def has(self, figure: str) -> bool:
        """Whether a figure is known of all points."""
        values = getattr(self, figure)
        return len(values) > 0 and bool(np.isfinite(values).all())


class Row(NamedTuple):
    """A codec in the table. ours: our rate against its, over the interval in dB; ours_in_rates:
    the same over the interval of our rates. anchor: its rate against the anchor's, in dB.
    ratios: our rate over its at the PSNRs of RATIO_AT; nan where a curve does not reach."""

    curve: Curve
    ours: metrics.RateChange
    ours_in_rates: metrics.RateChange
    anchor: metrics.RateChange
    ratios: list[float]


class Change(NamedTuple):
    """A codec by one figure. ours: our rate against its at equal figures, over those that we have
    in the interval of our rates; anchor: its rate against the anchor's. Their ends are figures."""

    curve: Curve
    ours: metrics.RateChange
    anchor: metrics.RateChange


class Intervals(NamedTuple):
    """Over what BD-rates are taken. psnr: dB. rates: bits per pixel of our curve, or of the
    anchor where ours is not measured; it gives an interval in dB, one for all codecs."""

    psnr: tuple[float, float] = (26.0, 33.0)
    rates: tuple[float, float] = (0.1, 1.0)


def average(codec: str, description: str, points: list[Point]) -> Curve:
    """The curve of a codec whose points are of the same pictures at every quality."""
    rows = []
    for quality in sorted({point.quality for point in points}):
        own = [point for point in points if point.quality == quality]
        bpp, *means = np.mean([(p.bpp, *(getattr(p, name) for name in NAMES)) for p in own], axis=0)
        total = 8 * sum(p.size for p in own) / sum(p.pixels for p in own)
        rows.append((quality, bpp, total, *means))
    columns = np.array(sorted(rows, key=lambda row: row[1])).T
    figures = dict(zip(NAMES, columns[3:], strict=True))
    return Curve(codec, description, *columns[:3], **figures, kid=np.full(len(rows), math.nan))


def curve_of(codec: str, description: str, lists: dict[str, list[float]]) -> Curve:
    """A curve of lists by the names of its fields, `bpp` and `psnr` at least.

    Raises ValueError if they do not go together.
    """
    columns = {name: np.array(lists.get(name) or [], float) for name in Curve._fields[2:]}
    count = len(columns["bpp"])
    if len(columns["psnr"]) != count or any(len(c) not in (0, count) for c in columns.values()):
        found = {name: len(column) for name, column in columns.items() if len(column)}
        raise ValueError(f"the curve of {codec} has {found} numbers, expected as many of each")
    for name in FIGURES:
        columns[name] = columns[name] if len(columns[name]) else np.full(count, math.nan)
    columns["bpp_total"] = columns["bpp_total"] if len(columns["bpp_total"]) else columns["bpp"]
    return Curve(codec, description, **columns)


def published(path: Path) -> list[Curve]:
    """Curves of a JSON file: {codec: {"source", "bpp", "psnr_rgb", "ms_ssim"}}, lists of numbers;
    `source` and `ms_ssim` may be missing.

    Raises ValueError for other content.
    """
    found = []
    try:
        for codec, content in json.loads(path.read_text("utf-8")).items():
            description = content.get("source", f"from {path.name}")
            lists = {"bpp": content["bpp"], "psnr": content["psnr_rgb"]}
            lists["ms_ssim"] = content.get("ms_ssim")
            found.append(curve_of(f"{codec} (published)", description, lists))
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as exc:
        text = "expected {codec: {bpp, psnr_rgb, ms_ssim}}"
        raise ValueError(f"{path} is no table of curves ({exc!r}), {text}") from exc
    return found


def compare(curves: Iterable[Curve], ours: Curve, anchor: Curve, intervals: Intervals) -> list[Row]:
    """A row for each curve."""
    in_rates = score_between(ours if len(ours.bpp) else anchor, intervals.rates)
    rows = []
    for curve in curves:
        ratios = [_rate(ours, psnr) / _rate(curve, psnr) for psnr in RATIO_AT]
        change = _change(curve, ours, intervals.psnr), _change(curve, ours, in_rates)
        rows.append(Row(curve, *change, _change(anchor, curve, intervals.psnr), ratios))
    return rows


def changes(
    figure: str, curves: Iterable[Curve], ours: Curve, anchor: Curve, rates: tuple[float, float]
) -> list[Change]:
    """The comparison by a figure of each curve that has it. rates: as of `Intervals`."""
    base = ours if len(ours.bpp) else anchor
    within = score_between(base, rates, figure) if base.has(figure) else (math.nan, math.nan)
    found = []
    for curve in (curve for curve in curves if curve.has(figure)):
        pair = (_change(curve, ours, within, figure), _change(anchor, curve, within, figure))
        found.append(Change(curve, *(_in_figures(change, figure) for change in pair)))
    return found


def scores(figure: str, values: np.ndarray) -> np.ndarray:
    """Figures as numbers that grow with the rate, and back: MS-SSIM in dB, distances negated."""
    if figure == "ms_ssim":
        with np.errstate(divide="ignore"):
            return -10 * np.log10(1 - values)
    return FIGURES[figure].sign * values


def _in_figures(change: metrics.RateChange, figure: str) -> metrics.RateChange:
    ends = np.array([change.low, change.high])
    ends = 1 - 10 ** (-ends / 10) if figure == "ms_ssim" else FIGURES[figure].sign * ends
    return metrics.RateChange(change.percent, *map(float, ends))


def score_between(
    curve: Curve, rates: tuple[float, float], figure: str = "psnr"
) -> tuple[float, float]:
    """The scores of the curve at two rates; where it does not reach, its end. nan for less than 4
    points."""
    rate, score = _growing(curve, figure)
    if len(rate) < metrics.MIN_POINTS:
        return math.nan, math.nan
    grid = np.linspace(score[0], score[-1], GRID)
    low, high = np.interp(np.log(rates), np.log(metrics.rate_at(rate, score, grid)), grid)
    return float(low), float(high)


def _growing(curve: Curve, figure: str = "psnr") -> tuple[np.ndarray, np.ndarray]:
    """Rates and scores [M] without the points that cost more than another and are no better."""
    order = np.argsort(curve.bpp)
    rate, score = curve.bpp[order], scores(figure, getattr(curve, figure))[order]
    best = np.maximum.accumulate(np.append(-np.inf, score[:-1]))
    keep = (score > best) & (np.diff(rate, prepend=0) > 0) & np.isfinite(score)
    return rate[keep], score[keep]


def _change(
    anchor: Curve, test: Curve, within: tuple[float, float], figure: str = "psnr"
) -> metrics.RateChange:
    if not all(map(math.isfinite, within)):
        return NO_CHANGE
    try:
        return metrics.bd_rate(*_growing(anchor, figure), *_growing(test, figure), within)
    except ValueError:  # too few points, or nothing in common
        return NO_CHANGE


def _rate(curve: Curve, psnr: float) -> float:
    try:
        return float(metrics.rate_at(*_growing(curve), psnr))
    except ValueError:
        return math.nan


def table(rows: list[Row], anchor: str, ours: str, intervals: Intervals) -> list[list[str]]:
    """The comparison as text, the heading first. anchor, ours: names of codecs."""
    rates = f"{intervals.rates[0]:g}..{intervals.rates[1]:g} bpp"
    psnrs = f"{intervals.psnr[0]:g}..{intervals.psnr[1]:g} dB"
    head = ["codec", "bpp", "dB", f"{ours}, {rates}", "over dB", f"{ours}, {psnrs}", "over dB"]
    lines = [[*head, *(f"at {psnr:g} dB" for psnr in RATIO_AT), f"against {anchor}"]]
    for row in rows:
        curve = row.curve
        line = [curve.codec, f"{curve.bpp.min():.3f}..{curve.bpp.max():.3f}"]
        line += [f"{curve.psnr.min():.1f}..{curve.psnr.max():.1f}"]
        for change in (row.ours_in_rates, row.ours):
            line += [_text(change.percent, "{:+.1f} %")]
            line += [_text(change.low, f"{{:.1f}}..{change.high:.1f}")]
        line += [*(_text(ratio, "{:.3f}") for ratio in row.ratios)]
        lines.append([*line, _text(row.anchor.percent, "{:+.1f} %")])
    return _without_empty_end(lines)


def figure_table(
    figure: str, found: list[Change], anchor: str, ours: str, rates: tuple[float, float]
) -> list[list[str]]:
    """The comparison by a figure as text, the heading first. anchor, ours: names of codecs."""
    label, form = FIGURES[figure].label, FIGURES[figure].form
    span = f"{rates[0]:g}..{rates[1]:g} bpp"
    lines = [["codec", "bpp", label, f"{ours}, {span}", "over", f"against {anchor}"]]
    for curve, own, other in found:
        values = getattr(curve, figure)
        ends = np.sort(values)[[0, -1]]
        line = [curve.codec, f"{curve.bpp.min():.3f}..{curve.bpp.max():.3f}"]
        line += ["..".join(form.format(value) for value in ends), _text(own.percent, "{:+.1f} %")]
        line += [_text(own.low, f"{form}..{form.format(own.high)}")]
        lines.append([*line, _text(other.percent, "{:+.1f} %")])
    return _without_empty_end(lines)


def _without_empty_end(lines: list[list[str]]) -> list[list[str]]:
    """Without the last column if nothing is known in it: there is no anchor."""
    is_empty = all(line[-1] == "-" for line in lines[1:])
    return [line[:-1] for line in lines] if is_empty else lines


def summary_table(found: dict[str, list[Change]], ours: str) -> list[list[str]]:
    """Our rate against each codec's by each figure, the heading first."""
    rows: dict[str, dict[str, float]] = {}
    for figure, changes_ in found.items():
        for change in changes_:
            if change.curve.codec != ours:
                rows.setdefault(change.curve.codec, {})[figure] = change.ours.percent
    lines = [[f"{ours} against", *(FIGURES[figure].label for figure in found)]]
    for codec, own in rows.items():
        lines.append([codec, *(_text(own.get(f, math.nan), "{:+.1f} %") for f in found)])
    return lines


def level_table(figure: str, found: Iterable[Curve]) -> list[list[str]]:
    """A figure of each curve that has it at the rates of LEVELS_AT, interpolated; heading first."""
    label = FIGURES[figure].label
    lines = [[label, *(f"at {rate:g} bpp" for rate in LEVELS_AT)]]
    for curve in (curve for curve in found if curve.has(figure)):
        order, log_rates = np.argsort(curve.bpp), np.log(LEVELS_AT)
        known = np.log(curve.bpp[order]), getattr(curve, figure)[order]
        values = np.interp(log_rates, *known, left=math.nan, right=math.nan)
        lines.append([curve.codec, *(_text(value, FIGURES[figure].form) for value in values)])
    return lines


def points_table(curves: Iterable[Curve]) -> list[list[str]]:
    """All points as text, the heading first, without figures that are known of no curve."""
    curves = list(curves)
    known = [name for name in FIGURES if any(curve.has(name) for curve in curves)]
    lines = [["codec", "quality", "bpp", *(FIGURES[name].label for name in known)]]
    for curve in curves:
        for index, bpp in enumerate(curve.bpp):
            quality = "" if curve.is_published else f"{curve.qualities[index]:g}"
            figures = [_text(getattr(curve, name)[index], FIGURES[name].form) for name in known]
            lines.append([curve.codec, quality, f"{bpp:.4f}", *figures])
    return lines


def _text(value: float, form: str) -> str:
    return "-" if math.isnan(value) else form.format(value)
