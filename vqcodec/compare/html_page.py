"""Coded pictures on one self-contained HTML page without scripts, to switch between."""

import base64
import html
import io

import numpy as np
from PIL import Image

from .contact_sheet import ZOOM, Cell, busiest_box

DETAIL = 192  # pixels a side of the detail, before it is enlarged
LARGEST = 1600  # pixels a side of what is shown of a large picture

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.4 sans-serif; margin: 2em; }}
figure {{ display: inline-block; margin: 0 .5em 1em 0; vertical-align: top; }}
figure img {{ width: {width}px; image-rendering: pixelated; display: block; }}
input {{ position: absolute; opacity: 0; }}
input:focus-visible + label {{ outline: 2px solid; }}
label {{ display: inline-block; padding: .4em .8em; border: 1px solid #ddd; cursor: pointer; }}
span {{ color: #606068; }}
.whole {{ display: none; }}
.whole img {{ max-width: 100%; }}
{rules}
</style></head><body>
<h1>{title}</h1>
<h2>Detail, {zoom} times its size</h2>
{details}
<h2>{heading}</h2>
{switches}
{wholes}
</body></html>
"""
RULE = """#v{0}:checked ~ #w{0} {{ display: block; }}
#v{0}:checked + label {{ background: #eee; }}"""


def draw_page(title: str, cells: list[Cell]) -> str:
    """A page of details side by side, and below them the pictures, to switch between in place."""
    whole = busiest_box(cells[0].rgb, LARGEST)
    detail = busiest_box(cells[0].rgb, DETAIL)
    is_cut = (whole.height, whole.width) != cells[0].rgb.shape[:2]
    details, switches, wholes = [], [], []
    for number, cell in enumerate(cells):
        name, figures = html.escape(cell.name), html.escape(cell.figures)
        caption = f"{name}<br><span>{figures}</span>"
        source = data_uri(detail.of(cell.rgb))
        image = f'<img src="{source}" alt="{name}">'
        details.append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
        checked = " checked" if number == 0 else ""
        switches.append(f'<input type="radio" name="v" id="v{number}"{checked}>')
        switches.append(f'<label for="v{number}">{caption}</label>')
        source = data_uri(whole.of(cell.rgb))
        wholes.append(f'<div class="whole" id="w{number}"><img src="{source}" alt="{name}"></div>')
    return PAGE.format(
        title=html.escape(title),
        width=detail.width * ZOOM,
        zoom=ZOOM,
        rules="\n".join(RULE.format(number) for number in range(len(cells))),
        heading=f"{whole.width}x{whole.height} pixels of it" if is_cut else "Whole picture",
        details="\n".join(details),
        switches="\n".join(switches),
        wholes="\n".join(wholes),
    )


def data_uri(rgb: np.ndarray) -> str:
    """The pixels, uint8 [H, W, 3], as the source of an <img>: a PNG."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
