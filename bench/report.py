"""A page to look at: the table, the plot, and crops side by side. One file, no links."""

import base64
import html
import io
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from vqcodec import metrics

from . import ours, peers
from .pictures import Picture, Point, load

RATE = 0.15  # bits per pixel of our files that are shown
PICTURES = 4  # at most
CROP = 256, 256  # pixels, width and height, from the middle
SHOWN = "avif", "webp", "jpeg"

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>vqcodec: rate and distortion</title><style>
body {{ font: 15px/1.4 sans-serif; margin: 2em; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: right; padding: .2em .8em; border-bottom: 1px solid #ddd; }}
th:first-child, td:first-child {{ text-align: left; }}
figure {{ display: inline-block; margin: 0 .5em 1em 0; }}
figcaption {{ font-size: 12px; }}
pre {{ font-size: 12px; }}
</style></head><body>
<h1>Rate and distortion</h1>
{table}
<p>BD-rate: mean change of the rate at equal PSNR, negative is smaller. The columns in dB:
our rate over the codec's at that PSNR.</p>
{plot}
<h2>At equal size</h2>
<p>The middle of each picture. The others at the quality whose file is nearest to ours in bytes.</p>
{crops}
<h2>Measured with</h2>
<pre>{meta}</pre>
</body></html>
"""


class Shown(NamedTuple):
    """A crop to show. size: bytes of the whole file; 0 for the original."""

    label: str
    rgb: np.ndarray
    size: int
    psnr: float


def write(
    folder: Path,
    table: list[list[str]],
    meta: dict,
    pictures: list[Picture],
    points: list[Point],
    model: list[str],
) -> None:
    """Write report.html beside the plot. points: ours, or none; then there are no crops."""
    crops = "".join(map(_figures, *_crops(folder, pictures, points, model))) if points else ""
    svg = (folder / "rd.svg").read_text("utf-8")
    page = PAGE.format(
        table=_table(table),
        plot=svg[svg.index("<svg") :],
        crops=crops or "<p>None.</p>",
        meta=html.escape(json.dumps(meta, indent=2)),
    )
    (folder / "report.html").write_text(page, "utf-8")


def _table(lines: list[list[str]]) -> str:
    rows = []
    for number, line in enumerate(lines):
        tag = "th" if number == 0 else "td"
        rows.append("".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in line))
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def _crops(
    folder: Path, pictures: list[Picture], points: list[Point], model: list[str]
) -> tuple[list[str], list[list[Shown]]]:
    """Names of a few pictures, and what is shown of each: the original, ours, the peers."""
    quality = _quality(points)
    spread = np.linspace(0, len(pictures) - 1, min(PICTURES, len(pictures))).astype(int)
    files = ours.files(folder / ours.CODEC, quality, len(pictures))
    chosen = [files[index] for index in spread]
    decoded = ours.decode(chosen, model)
    groups = []
    for index, file, rgb in zip(spread, chosen, decoded, strict=True):
        before, size = load(pictures[index]), file.stat().st_size
        label = f"{ours.LABEL} -q {quality:g}"
        group = [Shown("original", before, 0, math.inf)]
        group.append(Shown(label, rgb, size, metrics.psnr(before, rgb)))
        groups.append(group + [_peer(name, before, size) for name in peers.available(SHOWN)])
    return [pictures[index].name for index in spread], groups


def _quality(points: list[Point]) -> float:
    """The quality whose mean rate is nearest to RATE."""
    rates: dict[float, list[float]] = {}
    for point in points:
        rates.setdefault(point.quality, []).append(point.bpp)
    return min(rates, key=lambda quality: abs(np.mean(rates[quality]) - RATE))


def _peer(name: str, before: np.ndarray, size: int) -> Shown:
    quality, data = peers.nearest(name, before, size)
    after = peers.decode(data)
    label = f"{peers.PEERS[name].label} quality {quality}"
    return Shown(label, after, len(data), metrics.psnr(before, after))


def _figures(name: str, group: list[Shown]) -> str:
    parts = [f"<h3>{html.escape(name)}</h3>"]
    for shown in group:
        figures = f", {shown.size} bytes, {shown.psnr:.2f} dB" if shown.size else ""
        caption = f"<figcaption>{shown.label}{figures}</figcaption>"
        image = f'<img src="{_data_uri(_crop(shown.rgb))}" alt="{shown.label}">'
        parts.append(f"<figure>{image}{caption}</figure>")
    return "".join(parts)


def _crop(rgb: np.ndarray) -> np.ndarray:
    """The middle of [H, W, 3], at most CROP."""
    width, height = min(CROP[0], rgb.shape[1]), min(CROP[1], rgb.shape[0])
    x, y = (rgb.shape[1] - width) // 2, (rgb.shape[0] - height) // 2
    return rgb[y : y + height, x : x + width]


def _data_uri(rgb: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
