"""results.json and details.csv: what a run found, to read with other programs and to draw again."""

import csv
import json
import math
from pathlib import Path
from typing import NamedTuple

from .curves import RATIO_AT, Change, Curve, Intervals, Row, curve_of
from .figures import NAMES
from .pictures import Point
from .worst import Worst

# The field of a curve: its name in the schema of CompressAI's results.
FIELDS = {
    "bpp": "bpp",
    "psnr": "psnr-rgb",
    "ms_ssim": "ms-ssim-rgb",
    "ssimulacra2": "ssimulacra2",
    "butteraugli": "butteraugli",
    "butteraugli_3": "butteraugli-3-norm",
    "cvvdp": "cvvdp",
    "lpips": "lpips",
    "st_lpips": "st-lpips",
    "squares": "squares-of-colour",
    "repeats_8": "repeats-each-8-pixels",
    "repeats_16": "repeats-each-16-pixels",
    "kid": "kid",
    "bpp_total": "bpp-total",
    "qualities": "quality",
}


class Results(NamedTuple):
    """What `read` gives. meta: of the run. crops: as `crops.Crop`, in JSON."""

    curves: list[Curve]
    meta: dict
    worst: list[Worst]
    crops: list[dict]


def write(
    path: Path,
    rows: list[Row],
    by_figure: dict[str, list[Change]],
    meta: dict,
    worst: list[Worst],
    crops: list[dict],
) -> None:
    """results.json: a list of CompressAI's objects, the comparisons, `meta`, `worst`, `crops`."""
    content = {"meta": meta, "codecs": [], "crops": crops}
    content["worst"] = [item._asdict() for item in worst]
    content["bd_rate_by_figure"] = {
        FIELDS[figure]: {
            change.curve.codec: change.ours._asdict()
            for change in changes
            if not math.isnan(change.ours.percent)
        }
        for figure, changes in by_figure.items()
    }
    content |= {"bd_rate": {}, "bd_rate_in_rates": {}, "rate_ratio": {}}
    for row in rows:
        curve = row.curve
        lists = {FIELDS[field]: getattr(curve, field).tolist() for field in FIELDS}
        known = {name: v for name, v in lists.items() if v and all(map(math.isfinite, v))}
        entry = {"name": curve.codec, "description": curve.description, "results": known}
        content["codecs"].append(entry)
        for name, change in (("bd_rate", row.ours), ("bd_rate_in_rates", row.ours_in_rates)):
            if not math.isnan(change.percent):
                content[name][curve.codec] = change._asdict()
        pairs = zip(RATIO_AT, row.ratios, strict=True)
        content["rate_ratio"][curve.codec] = {f"{at:g}": r for at, r in pairs if r == r}
    path.write_text(json.dumps(content, indent=2), "utf-8")


def read(path: Path) -> Results:
    """What `write` wrote. Raises ValueError for other content."""
    curves = []
    try:
        content = json.loads(path.read_text("utf-8"))
        for entry in content["codecs"]:
            lists = {field: entry["results"].get(name) for field, name in FIELDS.items()}
            curves.append(curve_of(entry["name"], entry["description"], lists))
        meta = content["meta"]
        meta["intervals"] = Intervals(**meta["intervals"])._asdict()
        meta |= {"ours": str(meta["ours"]), "anchor": str(meta["anchor"])}
        worst = [Worst(**item) for item in content.get("worst", [])]
        return Results(curves, meta, worst, list(content["crops"]))
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as exc:
        text = "expected what `python -m bench rd` writes as results.json"
        raise ValueError(f"{path} holds no results ({exc!r}), {text}") from exc


def write_details(path: Path, points: dict[str, list[Point]]) -> None:
    """details.csv: a line for each picture at each quality of each codec."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["codec", "picture", "quality", "bytes", "bpp", *NAMES])
        for codec, own in points.items():
            for point in own:
                values = [getattr(point, name) for name in NAMES]
                figures = ["" if math.isnan(value) else f"{value:.6f}" for value in values]
                bpp = f"{point.bpp:.6f}"
                writer.writerow([codec, point.picture, point.quality, point.size, bpp, *figures])
