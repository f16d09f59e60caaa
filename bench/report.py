"""A page to look at: the table, the plot, and crops side by side. One file, no links."""

import html
import json
from pathlib import Path

from vqcodec.compare.html_page import data_uri

from . import curves
from .crops import Group
from .curves import Curve

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
<p>{ours}, ..: BD-rate of ours against the codec of the line, the mean change of the rate at equal
PSNR; negative is smaller. It is taken over the PSNRs of our curve between these rates, or between
these PSNRs, as far as both curves go; "over dB" says how far. At .. dB: our rate over the codec's
at that PSNR. Rates are of whole files; points are means over the pictures.</p>
{plot}
<h2>At equal size</h2>
<p>The part of each picture that has the most detail, with bytes and PSNR of the whole. The others
are at the quality whose file is nearest to ours in bytes.</p>
{crops}
<h2>Points</h2>
<details><summary>All points of all curves; KID is of all pictures together</summary>
{points}
</details>
<h2>Curves</h2>
<ul>
{sources}
</ul>
<h2>Measured with</h2>
<pre>{meta}</pre>
</body></html>
"""


def write(
    folder: Path, table: list[list[str]], found: list[Curve], meta: dict, groups: list[Group]
) -> None:
    """Write report.html beside the plot."""
    svg = (folder / "rd.svg").read_text("utf-8")
    texts = [(html.escape(curve.codec), html.escape(curve.description)) for curve in found]
    page = PAGE.format(
        table=_table(table),
        ours=html.escape(meta["ours"]),
        plot=svg[svg.index("<svg") :],
        crops="".join(map(_figures, groups)) or "<p>None.</p>",
        points=_table(curves.points_table(found)),
        sources="\n".join(f"<li>{name}: {text}</li>" for name, text in texts),
        meta=html.escape(json.dumps(meta, indent=2)),
    )
    (folder / "report.html").write_text(page, "utf-8")


def _table(lines: list[list[str]]) -> str:
    rows = []
    for number, line in enumerate(lines):
        tag = "th" if number == 0 else "td"
        rows.append("".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in line))
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def _figures(group: Group) -> str:
    parts = [f"<h3>{html.escape(group.picture)}</h3>"]
    for crop in group.crops:
        label = html.escape(crop.label)
        figures = f", {crop.size} bytes, {crop.psnr:.2f} dB" if crop.size else ""
        image = f'<img src="{data_uri(crop.rgb)}" alt="{label}">'
        parts.append(f"<figure>{image}<figcaption>{label}{figures}</figcaption></figure>")
    return "".join(parts)
