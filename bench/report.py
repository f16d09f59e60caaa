"""A page to look at: the table, the plot, and crops side by side. One file, no links."""

import html
import json
from pathlib import Path
from typing import NamedTuple

from vqcodec.compare.html_page import data_uri

from . import curves
from .crops import Group
from .curves import Curve
from .figures import FIGURES
from .show import show

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>vqcodec: rate and distortion</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 0 auto; padding: 1em; max-width: 1500px; }}
p, ul {{ max-width: 60em; }}
div {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5em 0; }}
th, td {{ text-align: right; padding: .2em .8em; border-bottom: 1px solid #8886; }}
td {{ white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; }}
svg {{ width: 100%; min-width: 800px; height: auto; background: #fff; }}
figure {{ display: inline-block; margin: 0 .5em 1em 0; max-width: 100%; vertical-align: top; }}
figure img {{ max-width: 100%; }}
figcaption, pre {{ font-size: 12px; }}
figcaption {{ max-width: 256px; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
</style></head><body>
<h1>Rate and distortion</h1>
{summary}
<p>Our rate against that of each codec at equal figures: the BD-rate, the mean change of the rate;
negative is smaller. Each is taken over the figures of our curve between rates that the tables
below name. Butteraugli is the maximum norm of its map, as its tools print it first, and the 3-norm
beside it.</p>
<ul>
{sources}
</ul>
<h2>PSNR</h2>
{table}
<p>{ours}, ..: BD-rate of ours against the codec of the line, the mean change of the rate at equal
PSNR; negative is smaller. It is taken over the PSNRs of our curve between these rates, or between
these PSNRs, as far as both curves go; "over dB" says how far. At .. dB: our rate over the codec's
at that PSNR. Rates are of whole files; points are means over the pictures.</p>
<div>{plot}</div>
<h2>By figure</h2>
{figures}
<h3>Squares and patterns</h3>
{levels}
<p>Squares of colour: the mean absolute step of Cb and Cr over the borders of the 16-pixel grid
against that elsewhere; originals have about 1. Repeats: how much the frequencies of a pattern that
comes back each 8 or 16 pixels stand out, against the original; 1 is as in the original.</p>
<h2>Worst pictures</h2>
<p>Where ours takes the most against that codec at equal figures; crops of them are below.</p>
{worst}
<h2>At equal size</h2>
<p>The part of each picture that has the most detail, with bytes and PSNR of the whole. The others
are at the quality whose file is nearest to ours in bytes.</p>
{crops}
<h2>Points</h2>
<details><summary>All points of all curves; KID is of all pictures together</summary>
{points}
</details>
<h2>Measured with</h2>
<pre>{meta}</pre>
</body></html>
"""


class Tables(NamedTuple):
    """Lines of text, the heading first. by_figure: by the names of figures."""

    psnr: list[list[str]]
    summary: list[list[str]]
    by_figure: dict[str, list[list[str]]]
    worst: list[list[str]]
    levels: list[list[list[str]]]  # a table a figure


def write(
    folder: Path, tables: Tables, found: list[Curve], meta: dict, groups: list[Group]
) -> None:
    """Write report.html beside the plot."""
    svg = (folder / "rd.svg").read_text("utf-8")
    texts = [(html.escape(curve.codec), html.escape(curve.description)) for curve in found]
    by_figure = (
        f"<h3>{html.escape(FIGURES[name].label)}</h3>{_table(lines)}"
        for name, lines in tables.by_figure.items()
    )
    page = PAGE.format(
        table=_table(tables.psnr),
        summary=_table(tables.summary),
        figures="".join(by_figure),
        worst=_table(tables.worst),
        levels="".join(_table(lines) for lines in tables.levels if len(lines) > 1),
        ours=html.escape(meta["ours"]),
        plot=svg[svg.index("<svg") :],
        crops="".join(map(_figures, groups)) or "<p>None.</p>",
        points=_table(curves.points_table(found)),
        sources="\n".join(f"<li>{name}: {text}</li>" for name, text in texts),
        meta=html.escape(json.dumps(meta, indent=2)),
    )
    (folder / "report.html").write_text(page, "utf-8")


def tell(tables: Tables, found: list[Curve]) -> None:
    """Print the tables of PSNR, of all figures, of the worst pictures and of figures at some rates,
    and what codecs are."""
    show(tables.psnr)
    for table in (tables.summary, tables.worst, *tables.levels):
        if len(table) > 1:
            print()
            show(table)
    print()
    for curve in (curve for curve in found if not curve.is_published):
        print(f"{curve.codec}: {curve.description}")


def _table(lines: list[list[str]]) -> str:
    rows = []
    for number, line in enumerate(lines):
        tag = "th" if number == 0 else "td"
        rows.append("".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in line))
    return "<div><table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table></div>"


def _figures(group: Group) -> str:
    note = f": {group.note}" if group.note else ""
    parts = [f"<h3>{html.escape(group.picture + note)}</h3>"]
    for crop in group.crops:
        label = html.escape(crop.label)
        figures = f", {crop.size} bytes, {crop.psnr:.2f} dB" if crop.size else ""
        image = f'<img src="{data_uri(crop.rgb)}" alt="{label}">'
        parts.append(f"<figure>{image}<figcaption>{label}{figures}</figcaption></figure>")
    return "".join(parts)
