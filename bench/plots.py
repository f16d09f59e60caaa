"""Curves -> a picture of them, as svg and png."""

from itertools import cycle, zip_longest
from pathlib import Path

import numpy as np

from .curves import Curve, scores
from .figures import FIGURES

OUR_COLOUR = "#c0392b"
COLOURS = {
    "jpeg": "#7f8c8d",
    "webp": "#2e86c1",
    "avif": "#1e8449",
    "avif-ssim": "#17becf",
    "avif-psnr": "#7cb342",
    "avif-psnr-s4": "#33691e",
    "avif420": "#82c99a",
    "jp2": "#b7950b",
    "jxl": "#6c3483",
    "heic": "#784212",
}
OTHER_COLOURS = "#e59866", "#8e44ad", "#e08283", "#5d6d7e"  # ours otherwise, by their order
# Published curves by their order; those beyond are pale, and named where they end.
PUBLISHED_COLOURS = "#5b8def", "#c9a227", "#d35400", "#34495e", "#9b59b6"
PALE = "#bbbbbb"
MARGIN = 1.0  # dB around the interval of interest
ACROSS = 3  # panels in a row
SIZE = 7.5, 6  # inches of a panel


def plot(
    curves: list[Curve],
    published: list[Curve],
    within: tuple[float, float],
    ours: str,
    target: Path,
) -> None:
    """Write rd.svg and rd.png, a panel for each figure that was measured, into a folder.

    within: dB, the interval of interest. ours: the codec whose curve is drawn thick.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    known = [name for name in FIGURES if any(curve.has(name) for curve in curves)]
    across, down = min(ACROSS, len(known)), -(-len(known) // ACROSS)
    figure, panels = pyplot.subplots(
        down, across, figsize=(SIZE[0] * across, SIZE[1] * down), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    right = _right(curves, within[1])
    for name, axes in zip_longest(known, panels.flat):
        if name is None:
            axes.remove()
            continue
        _panel(axes, curves, [c for c in published if c.has(name)], name, ours, right)
        axes.set(ylabel="MS-SSIM of RGB, dB" if name == "ms_ssim" else FIGURES[name].label)
    first = panels[0, 0]
    first.set(ylabel="PSNR of RGB, dB", ylim=(within[0] - MARGIN, within[1] + MARGIN))
    _name(first, published[len(PUBLISHED_COLOURS) :])
    figure.savefig(target / "rd.svg")
    figure.savefig(target / "rd.png", dpi=120)
    pyplot.close(figure)


def _panel(
    axes, curves: list[Curve], published: list[Curve], figure: str, ours: str, right: float
) -> None:
    """Draw one figure of merit up to `right` bits per pixel."""
    tops, others = [], cycle(OTHER_COLOURS)
    for curve in (curve for curve in curves if curve.has(figure)):
        known = COLOURS | {ours: OUR_COLOUR}
        colour = known[curve.codec] if curve.codec in known else next(others)
        width = 2.2 if curve.codec == ours else 1.4
        values = _values(curve, figure)
        tops.append(values[(curve.bpp <= right) & np.isfinite(values)].max(initial=0))
        axes.plot(curve.bpp, values, "o-", c=colour, lw=width, ms=3.5, label=curve.codec)
    for curve, colour in zip_longest(published, PUBLISHED_COLOURS[: len(published)]):
        label = curve.codec if colour else None
        axes.plot(curve.bpp, _values(curve, figure), c=colour or PALE, lw=1, ls="--", label=label)
    top = max(tops) + MARGIN if figure in ("psnr", "ms_ssim") else None
    axes.set(xlabel="bits per pixel, whole files", xlim=(0, right), ylim=(None, top))
    axes.grid(alpha=0.3)
    corner = "lower right" if FIGURES[figure].sign > 0 else "upper right"  # where no curve ends
    axes.legend(loc=corner, fontsize="small")


def _name(axes, published: list[Curve]) -> None:
    """Write the names of pale curves where they leave the panel."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    for curve in published:
        seen = (curve.bpp > left) & (curve.bpp < right) & (curve.psnr > low) & (curve.psnr < high)
        if seen.any():
            last = np.flatnonzero(seen)[-1]
            name = curve.codec.removesuffix(" (published)")
            axes.annotate(name, (curve.bpp[last], curve.psnr[last]), fontsize=4, color="#888888")


def _values(curve: Curve, figure: str) -> np.ndarray:
    """The figure; MS-SSIM in dB."""
    values = getattr(curve, figure)
    return scores(figure, values) if figure == "ms_ssim" else values


def _right(curves: list[Curve], high: float) -> float:
    """Where the rate axis ends: every codec is seen up to `high` dB, if its points go there."""
    return 1.05 * max(np.interp(high, np.sort(c.psnr), np.sort(c.bpp)) for c in curves)
