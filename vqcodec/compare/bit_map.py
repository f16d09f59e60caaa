"""A heat map of a file's bits over its decoded picture, above a chart of its codewords."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..geometry import STRIDE
from .bit_allocation import BitAllocation
from .captions import spaced

MIN_SIDE, MAX_SIDE = 512, 1600  # pixels, of the picture's longer side on the sheet
MARGIN, TEXT = 16, 15
SCALE_HEIGHT, CHART_HEIGHT = 56, 150
HEAT = 0.65  # share of the colour over the grey picture
PAPER, INK, PALE, BAR, USED = (
    (255, 255, 255),
    (24, 24, 28),
    (214, 214, 220),
    (70, 90, 160),
    (240, 140, 40),
)
# Black, violet, red, orange, pale yellow: each lighter than the one before.
COLOURS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)])


def draw_map(rgb: np.ndarray, found: BitAllocation, scalars: int) -> np.ndarray:
    """The sheet, uint8 [H, W, 3].

    rgb: the decoded picture, uint8 [H, W, 3]. scalars: how many of the tables are scalar ones.
    """
    picture = _size(Image.fromarray(rgb))
    rates = found.bits / STRIDE**2  # bits per pixel
    top = float(np.quantile(rates, 0.99)) or 1.0  # one odd block must not darken all others
    heat = Image.fromarray(_colours(rates / top)).resize(
        tuple(STRIDE * side for side in rates.shape[::-1]), Image.Resampling.NEAREST
    )
    heat = heat.crop((0, 0, rgb.shape[1], rgb.shape[0])).resize(picture.size, Image.Resampling.BOX)
    over = Image.blend(picture.convert("L").convert("RGB"), heat, HEAT)
    width = max(over.width, MIN_SIDE)
    size = width + 2 * MARGIN, over.height + SCALE_HEIGHT + CHART_HEIGHT + 4 * MARGIN
    sheet = Image.new("RGB", size, PAPER)
    sheet.paste(over, (MARGIN, MARGIN))
    _draw_scale(sheet, over.height + 2 * MARGIN, width, top)
    _draw_chart(sheet, over.height + SCALE_HEIGHT + 3 * MARGIN, width, found, scalars)
    return np.asarray(sheet)


def summary(found: BitAllocation, scalars: int) -> str:
    """How many of the codewords occur, in one line."""
    parts = []
    for name, tables in (("scalar", found.counts[:scalars]), ("pair", found.counts[scalars:])):
        used = sum(int(np.count_nonzero(counts[:-1])) for counts in tables)
        codewords = sum(len(counts) - 1 for counts in tables)
        parts.append(f"{spaced(used)} of {spaced(codewords)} {name} codewords")
    escapes = sum(int(counts[-1]) for counts in found.counts)
    return f"{', '.join(parts)} used; {spaced(escapes)} escapes"


def _size(picture: Image.Image) -> Image.Image:
    longer = max(picture.size)
    if MIN_SIDE <= longer <= MAX_SIDE:
        return picture
    scale = min(max(longer, MIN_SIDE), MAX_SIDE) / longer
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    return picture.resize(tuple(max(1, round(scale * side)) for side in picture.size), how)


def _colours(values: np.ndarray) -> np.ndarray:
    """0..1, clipped, [...] -> uint8 [..., 3]."""
    stops = np.linspace(0, 1, len(COLOURS))
    return np.stack(
        [np.interp(values, stops, channel) for channel in COLOURS.T.astype(float)], -1
    ).astype(np.uint8)


def _draw_scale(sheet: Image.Image, y: int, width: int, top: float) -> None:
    ramp = _colours(np.linspace(0, 1, width))[None].repeat(16, 0)
    sheet.paste(Image.fromarray(ramp), (MARGIN, y))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=TEXT)
    for share in (0, 0.5, 1):
        end = "" if share < 1 else " bpp and more"
        anchor = {0: "la", 0.5: "ma", 1: "ra"}[share]
        at = MARGIN + round(share * (width - 1)), y + 22
        draw.text(at, f"{share * top:.3g}{end}", INK, font, anchor)


def _draw_chart(sheet: Image.Image, y: int, width: int, found: BitAllocation, scalars: int) -> None:
    """A bar for each scalar table, and one for all pairs: share of codewords that occur, in
    orange, and of indices, in blue."""
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=TEXT)
    draw.text((MARGIN, y), summary(found, scalars), INK, font)
    groups = [[counts] for counts in found.counts[:scalars]] + [list(found.counts[scalars:])]
    groups = [np.concatenate(group) for group in groups if group]
    total = sum(int(group.sum()) for group in groups) or 1
    pitch = width / len(groups)
    height, floor = CHART_HEIGHT - 3 * TEXT - 12, y + CHART_HEIGHT - TEXT - 8
    for number, counts in enumerate(groups):
        left, step = MARGIN + number * pitch, max(1.0, pitch / 2 - 1)
        draw.rectangle((left, floor - height, left + 2 * step, floor), PALE)
        for side, share in enumerate(
            (np.count_nonzero(counts) / len(counts), counts.sum() / total)
        ):
            corner = left + side * step, floor - round(float(share) * height)
            draw.rectangle((*corner, left + (side + 1) * step, floor), (USED, BAR)[side])
    legend = "codebooks from small to large scales, pairs last: orange, codewords that occur; "
    draw.text((MARGIN, floor + 6), legend + "blue, share of indices", INK, font)
