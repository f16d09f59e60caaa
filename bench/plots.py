"""Curves -> a picture of them, as svg and png."""

from itertools import zip_longest
from pathlib import Path

import numpy as np

from .curves import Curve

OUR_COLOUR = "#c0392b"
COLOURS = {
    "jpeg": "#7f8c8d",
    "webp": "#2e86c1",
    "avif": "#1e8449",
    "avif420": "#82c99a",
    "jp2": "#b7950b",
    "jxl": "#6c3483",
    "heic": "#784212",
}
OTHER_COLOUR = "#e59866"  # ours at other efforts
# Published curves by their order; those beyond are pale, and named where they end.
PUBLISHED_COLOURS = "#17a2b8", "#c9a227", "#d35400", "#34495e", "#9b59b6"
PALE = "#bbbbbb"
MARGIN = 1.0  # dB around the interval of interest


def plot(
    curves: list[Curve],
    published: list[Curve],
    within: tuple[float, float],
    ours: str,
    target: Path,
) -> None:
    """Write rd.svg and rd.png into the folder `target`.

    within: dB, the interval of interest. ours: the codec whose curve is drawn thick. A second
    panel shows MS-SSIM if it was measured.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    similar = all(curve.has("ms_ssim") for curve in curves)
    figure, panels = pyplot.subplots(
        1, 1 + similar, figsize=(8 + 7 * similar, 6), squeeze=False, layout="constrained"
    )
    right = _right(curves, within[1])
    _panel(panels[0, 0], curves, published, "psnr", ours, right)
    panels[0, 0].set(ylabel="PSNR of RGB, dB", ylim=(within[0] - MARGIN, within[1] + MARGIN))
    if similar:
        _panel(panels[0, 1], curves, published, "ms_ssim", ours, right)
        panels[0, 1].set(ylabel="MS-SSIM of RGB, dB")
    _name(panels[0, 0], published[len(PUBLISHED_COLOURS) :])
    figure.savefig(target / "rd.svg")
    figure.savefig(target / "rd.png", dpi=120)
    pyplot.close(figure)


def _panel(
    axes, curves: list[Curve], published: list[Curve], figure: str, ours: str, right: float
) -> None:
    """Draw one figure of merit up to `right` bits per pixel."""
    tops = []
    for curve in curves:
        colour = OUR_COLOUR if curve.codec == ours else COLOURS.get(curve.codec, OTHER_COLOUR)
        width = 2.2 if curve.codec == ours else 1.4
        values = _values(curve, figure)
        tops.append(values[(curve.bpp <= right) & np.isfinite(values)].max(initial=0))
        axes.plot(curve.bpp, values, "o-", c=colour, lw=width, ms=3.5, label=curve.codec)
    for curve, colour in zip_longest(published, PUBLISHED_COLOURS[: len(published)]):
        label = curve.codec if colour else None
        axes.plot(curve.bpp, _values(curve, figure), c=colour or PALE, lw=1, ls="--", label=label)
    axes.set(xlabel="bits per pixel, whole files", xlim=(0, right), ylim=(None, max(tops) + MARGIN))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize="small")


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
    """PSNR, or MS-SSIM in dB."""
    if figure == "psnr":
        return curve.psnr
    with np.errstate(divide="ignore"):
        return -10 * np.log10(1 - curve.ms_ssim)


def _right(curves: list[Curve], high: float) -> float:
    """Where the rate axis ends: every codec is seen up to `high` dB, if its points go there."""
    return 1.05 * max(np.interp(high, np.sort(c.psnr), np.sort(c.bpp)) for c in curves)
