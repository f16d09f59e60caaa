"""Coded pictures on one self-contained HTML page, to flip between in place.

Switching takes no script: the buttons are radio buttons, and pictures lie over each other. A short
script of the page's own adds number keys, clicks on the picture, and zoom.
"""

import base64
import html
import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from .contact_sheet import ZOOM, Box, Cell, busiest_box

DETAIL = 192  # pixels a side of the detail, before it is enlarged
LARGEST = 1600  # pixels a side of what is shown of a large picture

STYLE = """
:root { color-scheme: light dark; --ink: #18181c; --pale: #5c5c66; --paper: #fff; --line: #d6d6dc;
  --on: #2f5fd0; --back: #f1f1f4; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf0; --pale: #a2a2ae; --paper: #17171a;
  --line: #3c3c44; --on: #86a8ff; --back: #222228; } }
* { box-sizing: border-box; }
body { font: 15px/1.4 system-ui, sans-serif; margin: 0 auto; padding: 1em; max-width: 1640px;
  color: var(--ink); background: var(--paper); }
h1 { font-size: 1.4em; margin: 0 0 .6em; overflow-wrap: anywhere; }
h2 { font-size: 1.1em; margin: 1.4em 0 .5em; }
p, small, .figures { color: var(--pale); }
p { margin: .5em 0; }
small, .figures { display: block; font-size: .87em; font-variant-numeric: tabular-nums; }
input { position: absolute; opacity: 0; pointer-events: none; }
.tabs { display: flex; flex-wrap: wrap; gap: .35em; }
.tabs label { flex: 0 1 auto; padding: .35em .7em; border: 2px solid var(--line);
  border-radius: .4em; cursor: pointer; background: var(--back); }
.zooms { display: flex; gap: .35em; align-items: center; flex-wrap: wrap; margin: .5em 0; }
button { font: inherit; padding: .1em .7em; color: inherit; background: var(--back);
  border: 1px solid var(--line); border-radius: .4em; cursor: pointer; }
button[aria-pressed=true] { border-color: var(--on); color: var(--on); }
.stage { display: grid; grid-template-columns: minmax(0, auto); width: fit-content;
  max-width: 100%; max-height: 92vh; overflow: auto; cursor: pointer; }
.stage img { grid-area: 1 / 1; visibility: hidden; max-width: none; width: 100%; display: block; }
.details { display: flex; flex-wrap: wrap; gap: 1em .7em; }
@media (max-width: 640px) { .tabs .figures + .figures { display: none; } }
figure { margin: 0; width: min(WIDTHpx, 100%); }
figure img { width: 100%; image-rendering: pixelated; display: block; cursor: pointer; }
figcaption { padding-top: .2em; overflow-wrap: anywhere; }
"""
RULE = """#v{0}:checked ~ .stage #w{0} {{ visibility: visible; }}
#v{0}:checked ~ .tabs [for=v{0}] {{ border-color: var(--on); }}
#v{0}:focus-visible ~ .tabs [for=v{0}] {{ outline: 2px solid var(--on); outline-offset: 2px; }}"""
SCRIPT = """
const inputs = [...document.querySelectorAll("input")];
const stage = document.querySelector(".stage"), images = [...stage.children];
const buttons = [...document.querySelectorAll(".zooms button")];
let other = Math.min(1, inputs.length - 1), zoom = 0;
const shown = () => inputs.findIndex(input => input.checked);
const show = number => {
  if (number > 0) other = number;
  inputs[number].checked = true;
};
const flip = () => show(shown() ? 0 : other);
const enlarge = value => {  // what is in the middle stays there; 0 is the width of the page
  const before = images[0].clientWidth;
  const x = (stage.scrollLeft + stage.clientWidth / 2) / before;
  const y = (stage.scrollTop + stage.clientHeight / 2) / before;
  zoom = value;
  const width = value ? images[0].naturalWidth * value / devicePixelRatio + "px" : "";
  for (const image of images) {
    image.style.width = width;
    image.style.imageRendering = value > 1 ? "pixelated" : "";
  }
  const after = images[0].clientWidth;
  stage.scrollTo(x * after - stage.clientWidth / 2, y * after - stage.clientHeight / 2);
  for (const button of buttons) button.ariaPressed = button.value == value;
};
for (const input of inputs) input.onchange = () => show(shown());
for (const button of buttons) button.onclick = () => enlarge(+button.value);
stage.onclick = flip;
for (const image of document.querySelectorAll("figure img")) {
  const own = image.src, original = document.querySelector("figure img").src;
  image.onclick = () => { image.src = image.src == own ? original : own; };
}
document.onkeydown = event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key], count = inputs.length;
  const sizes = buttons.map(button => +button.value), at = sizes.indexOf(zoom);
  if (step) show((shown() + step + count) % count);
  else if (event.key == " ") flip();
  else if (event.key >= "1" && event.key <= count) show(event.key - 1);
  else if (event.key == "+") enlarge(sizes[Math.min(at + 1, sizes.length - 1)]);
  else if (event.key == "-") enlarge(sizes[Math.max(at - 1, 0)]);
  else return;
  event.preventDefault();
};
enlarge(0);
"""
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}{rules}
</style></head><body>
<h1>{title}</h1>
<div>
{inputs}
<div class="tabs">{tabs}</div>
<div class="zooms">{zooms}<small>{heading}. Keys: 1 to {count} and arrows choose, space or a click
on the picture flips to the original and back, + and - zoom.</small></div>
<div class="stage">{stage}</div>
</div>
{details}
<p>{note}</p>
<script>{script}</script>
</body></html>
"""
ZOOMS = "".join(
    f'<button value="{value}">{text}</button>'
    for value, text in ((0, "fit"), (1, "1:1"), (2, "2:1"), (4, "4:1"))
)


def draw_page(title: str, original: Cell, groups: Mapping[str, list[Cell]], note: str = "") -> str:
    """A page of whole pictures to flip between, and below them details side by side.

    groups: coded pictures by a word that is put before their names, which may be empty. note: for
    the foot of the page.
    """
    whole, detail = busiest_box(original.rgb, LARGEST), busiest_box(original.rgb, DETAIL)
    is_cut = (whole.height, whole.width) != original.rgb.shape[:2]
    named = [("", original), *((word, cell) for word, cells in groups.items() for cell in cells)]
    names = [": ".join(filter(None, [word, cell.name])) for word, cell in named]
    inputs, tabs, stage = [], [], []
    for number, (name, (_, cell)) in enumerate(zip(names, named, strict=True)):
        checked = " checked" if number == 0 else ""
        inputs.append(f'<input type="radio" name="v" id="v{number}"{checked}>')
        tabs.append(f'<label for="v{number}">{number + 1} {_caption(name, cell)}</label>')
        source = data_uri(whole.of(cell.rgb))
        stage.append(f'<img id="w{number}" src="{source}" alt="{html.escape(name)}">')
    return PAGE.format(
        title=html.escape(title),
        style=STYLE.replace("WIDTH", str(detail.width * ZOOM)),
        rules="\n".join(RULE.format(number) for number in range(len(named))),
        inputs="".join(inputs),
        tabs="\n".join(tabs),
        zooms=ZOOMS,
        heading=f"{whole.width}x{whole.height} pixels of it" if is_cut else "The whole picture",
        count=len(named),
        stage="".join(stage),
        details="\n".join(
            _details(word, [original, *cells], detail) for word, cells in groups.items()
        ),
        note=html.escape(note),
        script=SCRIPT,
    )


def _details(word: str, cells: list[Cell], box: Box) -> str:
    """The row of details of a group."""
    figures = []
    for cell in cells:
        source, name = data_uri(box.of(cell.rgb)), html.escape(cell.name)
        caption = f"<figcaption>{_caption(cell.name, cell)}</figcaption>"
        figures.append(f'<figure><img src="{source}" alt="{name}, detail">{caption}</figure>')
    heading = ": ".join(filter(None, [word, f"detail, {ZOOM} times its size"]))
    heading = html.escape(heading[0].upper() + heading[1:])
    return f'<h2>{heading}</h2>\n<div class="details">\n' + "\n".join(figures) + "\n</div>"


def _caption(name: str, cell: Cell) -> str:
    lines = "".join(f'<span class="figures">{html.escape(line)}</span>' for line in cell.lines)
    return html.escape(name) + lines


def data_uri(rgb: np.ndarray) -> str:
    """The pixels, uint8 [H, W, 3], as the source of an <img>: a PNG."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
