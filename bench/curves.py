"""Points -> curves -> a comparison of ours with each, and the files that hold them."""

import csv
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqcodec import metrics

from .ours import CODEC
from .pictures import Point

RATIO_AT = 28.0, 29.6, 31.0  # dB, where rates are compared
NO_CHANGE = metrics.RateChange(math.nan, math.nan, math.nan)


class Curve(NamedTuple):
    """A codec's points, each the mean over the pictures, in order of the rate.

    bpp, psnr, ms_ssim: float64 [N]; ms_ssim is nan where not measured. bpp_total: all bits over
    all pixels. qualities: [N], empty for a published curve.
    """

    codec: str
    description: str
    qualities: np.ndarray
    bpp: np.ndarray
    bpp_total: np.ndarray
    psnr: np.ndarray
    ms_ssim: np.ndarray


class Row(NamedTuple):
    """A codec in the table. ours: our rate against its. anchor: its rate against the anchor's.
    ratios: our rate over its at the PSNRs of RATIO_AT; nan where a curve does not reach."""

    curve: Curve
    ours: metrics.RateChange
    anchor: metrics.RateChange
    ratios: list[float]


def average(codec: str, description: str, points: list[Point]) -> Curve:
    """The curve of a codec whose points are of the same pictures at every quality."""
    rows = []
    for quality in sorted({point.quality for point in points}):
        own = [point for point in points if point.quality == quality]
        bpp, psnr, ms_ssim = np.mean([(p.bpp, p.psnr, p.ms_ssim) for p in own], axis=0)
        total = 8 * sum(p.size for p in own) / sum(p.pixels for p in own)
        rows.append((quality, bpp, total, psnr, ms_ssim))
    return Curve(codec, description, *np.array(sorted(rows, key=lambda row: row[1])).T)


def published(path: Path) -> list[Curve]:
    """Curves of a JSON file: {codec: {"bpp": [...], "psnr_rgb": [...], "ms_ssim": [...]}}."""
    found = []
    for codec, lists in json.loads(path.read_text("utf-8")).items():
        bpp, psnr = np.array(lists["bpp"], float), np.array(lists["psnr_rgb"], float)
        ms_ssim = np.array(lists.get("ms_ssim") or [math.nan] * len(bpp), float)
        name, description = f"{codec} (published)", f"from {path.name}"
        found.append(Curve(name, description, np.array([]), bpp, bpp, psnr, ms_ssim))
    return found


def compare(
    curves: Iterable[Curve], ours: Curve, anchor: Curve, within: tuple[float, float]
) -> list[Row]:
    """A row for each curve. within: dB, the interval of the BD-rates."""
    rows = []
    for curve in curves:
        ratios = [_rate(ours, psnr) / _rate(curve, psnr) for psnr in RATIO_AT]
        change = _change(curve, ours, within), _change(anchor, curve, within)
        rows.append(Row(curve, *change, ratios))
    return rows


def _growing(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Rates and PSNRs [M] without the points that cost more than another and are no better."""
    order = np.argsort(curve.bpp)
    rate, psnr = curve.bpp[order], curve.psnr[order]
    best = np.maximum.accumulate(np.append(-np.inf, psnr[:-1]))
    keep = (psnr > best) & (np.diff(rate, prepend=0) > 0)
    return rate[keep], psnr[keep]


def _change(anchor: Curve, test: Curve, within: tuple[float, float]) -> metrics.RateChange:
    try:
        return metrics.bd_rate(*_growing(anchor), *_growing(test), within)
    except ValueError:  # too few points, or nothing in common
        return NO_CHANGE


def _rate(curve: Curve, psnr: float) -> float:
    try:
        return float(metrics.rate_at(*_growing(curve), psnr))
    except ValueError:
        return math.nan


def table(rows: list[Row], anchor: str) -> list[list[str]]:
    """The comparison as text, the heading first."""
    head = ["codec", "bpp", "dB", f"{CODEC} BD-rate", "over dB"]
    head += [*(f"at {psnr:g} dB" for psnr in RATIO_AT), f"against {anchor}"]
    lines = [head]
    for row in rows:
        curve = row.curve
        line = [curve.codec, f"{curve.bpp.min():.3f}..{curve.bpp.max():.3f}"]
        line += [f"{curve.psnr.min():.1f}..{curve.psnr.max():.1f}"]
        line += [_text(row.ours.percent, "{:+.1f} %")]
        line += [_text(row.ours.low, f"{{:.1f}}..{row.ours.high:.1f}")]
        line += [*(_text(ratio, "{:.3f}") for ratio in row.ratios)]
        lines.append([*line, _text(row.anchor.percent, "{:+.1f} %")])
    return lines


def _text(value: float, form: str) -> str:
    return "-" if math.isnan(value) else form.format(value)


def write_results(path: Path, rows: list[Row], meta: dict) -> None:
    """results.json: a list of CompressAI's objects, the comparison, and `meta`."""
    content = {"meta": meta, "codecs": [], "bd_rate": {}, "rate_ratio": {}}
    for row in rows:
        curve = row.curve
        results = {"bpp": curve.bpp, "psnr-rgb": curve.psnr, "ms-ssim-rgb": curve.ms_ssim}
        results |= {"bpp-total": curve.bpp_total, "quality": curve.qualities}
        results = {name: values.tolist() for name, values in results.items()}
        known = {name: v for name, v in results.items() if v and all(map(math.isfinite, v))}
        entry = {"name": curve.codec, "description": curve.description, "results": known}
        content["codecs"].append(entry)
        if not math.isnan(row.ours.percent):
            content["bd_rate"][curve.codec] = row.ours._asdict()
        pairs = zip(RATIO_AT, row.ratios, strict=True)
        content["rate_ratio"][curve.codec] = {f"{at:g}": r for at, r in pairs if r == r}
    path.write_text(json.dumps(content, indent=2), "utf-8")


def write_details(path: Path, points: dict[str, list[Point]]) -> None:
    """details.csv: a line for each picture at each quality of each codec."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["codec", "picture", "quality", "bytes", "bpp", "psnr", "ms_ssim"])
        for codec, own in points.items():
            for point in own:
                figures = [f"{point.bpp:.6f}", f"{point.psnr:.4f}", _text(point.ms_ssim, "{:.6f}")]
                writer.writerow([codec, point.picture, point.quality, point.size, *figures])
