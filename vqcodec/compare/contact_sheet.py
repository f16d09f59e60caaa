"""A contact sheet of coded pictures side by side: whole, and a detail at twice its size."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = 288  # pixels a side, of a whole picture and of a detail
LARGE_CELL = 384  # the same, where there is one row of pictures
ZOOM = 2
GAP = 10  # between cells
GROUP_GAP = 30  # between the whole pictures and the details
MARGIN = 24
TITLE, TEXT = 19, 15  # font sizes
LINE = 18  # pixels from one line of a caption to the next
HEADING_HEIGHT, CAPTION_HEIGHT, ROW_GAP = 40, 84, 18
MIN_CAPTION_WIDTH = 300  # pixels, of the longest caption
ORIGINAL = "original"  # name of its cell
WHOLE, DETAIL = "whole picture", f"detail, {ZOOM} times its size"  # headings
PAPER, INK, PALE, FRAME = (255, 255, 255), (24, 24, 28), (96, 96, 104), (0, 220, 255)


class Cell(NamedTuple):
    """A coded picture, or the original, and its caption."""

    name: str
    figures: str
    rgb: np.ndarray  # uint8 [H, W, 3]
    closeness: tuple[str, ...] = ()  # to the original, by several measures

    @property
    def lines(self) -> tuple[str, ...]:
        """The caption below the name, two measures a line."""
        pairs = (self.closeness[at : at + 2] for at in range(0, len(self.closeness), 2))
        return (self.figures, *(", ".join(pair) for pair in pairs))


class Box(NamedTuple):
    """The detail: a rectangle of the picture, in pixels."""

    x: int
    y: int
    width: int
    height: int

    def of(self, rgb: np.ndarray) -> np.ndarray:
        """The detail of `rgb`, [H, W, 3]."""
        return rgb[self.y : self.y + self.height, self.x : self.x + self.width]


def draw_sheet(rows: list[list[Cell]]) -> np.ndarray:
    """Draw a row of cells for each quality; all pictures have one size. Returns uint8 [H, W, 3]."""
    box = busiest_box(rows[0][0].rgb, CELL // ZOOM)
    whole = _fit(rows[0][0].rgb, CELL)
    columns = len(rows[0])
    group = columns * (CELL + GAP) - GAP
    pitch = CAPTION_HEIGHT + CELL + ROW_GAP
    size = (2 * MARGIN + 2 * group + GROUP_GAP, 2 * MARGIN + HEADING_HEIGHT + len(rows) * pitch)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for x, heading in ((MARGIN, WHOLE), (MARGIN + group + GROUP_GAP, DETAIL)):
        draw.text((x, MARGIN - 6), heading, INK, _font(TITLE + 5))
    for number, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            corner = MARGIN + column * (CELL + GAP), MARGIN + HEADING_HEIGHT + number * pitch
            _draw_whole(sheet, corner, cell, whole, box)
            _draw_detail(sheet, (corner[0] + group + GROUP_GAP, corner[1]), cell, box)
    return np.asarray(sheet)


def draw_row(cells: list[Cell]) -> np.ndarray:
    """Draw one row of cells with their details below; all pictures have one size.

    Returns uint8 [H, W, 3].
    """
    box = busiest_box(cells[0].rgb, LARGE_CELL // ZOOM)
    whole = _fit(cells[0].rgb, LARGE_CELL)
    pitch = max(whole[0], box.width * ZOOM, MIN_CAPTION_WIDTH) + GAP
    wholes = MARGIN + HEADING_HEIGHT
    heading = wholes + CAPTION_HEIGHT + whole[1] + GROUP_GAP
    details = heading + HEADING_HEIGHT
    bottom = details + CAPTION_HEIGHT + box.height * ZOOM
    sheet = Image.new("RGB", (2 * MARGIN + len(cells) * pitch - GAP, bottom + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 6), WHOLE, INK, _font(TITLE + 5))
    draw.text((MARGIN, heading - 6), DETAIL, INK, _font(TITLE + 5))
    for column, cell in enumerate(cells):
        x = MARGIN + column * pitch
        _draw_whole(sheet, (x, wholes), cell, whole, box)
        _draw_detail(sheet, (x, details), cell, box)
    return np.asarray(sheet)


def _fit(rgb: np.ndarray, side: int) -> tuple[int, int]:
    """Width and height of the picture that just fits into a square."""
    height, width = rgb.shape[:2]
    scale = min(side / width, side / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _font(size: int):
    return ImageFont.load_default(size=size)


def busiest_box(rgb: np.ndarray, side: int) -> Box:
    """The part with the most detail, a little nearer to the middle than to the edges."""
    height, width = rgb.shape[:2]
    box_width, box_height = min(side, width), min(side, height)
    grey = rgb.astype(np.float64).mean(2)
    slopes = np.zeros_like(grey)
    slopes[:, 1:] += abs(np.diff(grey, axis=1))
    slopes[1:] += abs(np.diff(grey, axis=0))
    # The root keeps a few hard edges from outweighing a face.
    total = np.pad(np.sqrt(slopes), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    low, high = total[: height - box_height + 1], total[box_height:]
    right, left = slice(box_width, None), slice(None, width - box_width + 1)
    sums = high[:, right] - high[:, left] - low[:, right] + low[:, left]
    y, x = (np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in sums.shape)
    sums = sums * (1 - 0.3 * (y[:, None] ** 2 + x**2))
    top, start = np.unravel_index(sums.argmax(), sums.shape)
    return Box(int(start), int(top), box_width, box_height)


def _draw_whole(
    sheet: Image.Image, corner: tuple[int, int], cell: Cell, size: tuple[int, int], box: Box
) -> None:
    """Draw the scaled picture, with a frame around the detail, and its caption."""
    picture = Image.fromarray(cell.rgb).resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    x_scale, y_scale = size[0] / cell.rgb.shape[1], size[1] / cell.rgb.shape[0]
    corners = [
        (round(box.x * x_scale), round(box.y * y_scale)),
        (round((box.x + box.width) * x_scale) - 1, round((box.y + box.height) * y_scale) - 1),
    ]
    if cell.name == ORIGINAL and corners[0] < corners[1]:
        draw.rectangle(corners, outline=FRAME, width=2)
    _draw(sheet, corner, cell, picture)


def _draw_detail(sheet: Image.Image, corner: tuple[int, int], cell: Cell, box: Box) -> None:
    size = box.width * ZOOM, box.height * ZOOM
    detail = Image.fromarray(box.of(cell.rgb)).resize(size, Image.Resampling.NEAREST)
    _draw(sheet, corner, cell, detail)


def _draw(sheet: Image.Image, corner: tuple[int, int], cell: Cell, picture: Image.Image) -> None:
    """Draw a caption at `corner` and the picture below it."""
    x, y = corner
    draw = ImageDraw.Draw(sheet)
    draw.text((x, y), cell.name, INK, _font(TITLE))
    for number, line in enumerate(cell.lines):
        draw.text((x, y + TITLE + 5 + number * LINE), line, PALE, _font(TEXT))
    sheet.paste(picture, (x, y + CAPTION_HEIGHT))
