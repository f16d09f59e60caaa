"""Curves -> a picture of them, as svg and png."""

from pathlib import Path

import numpy as np

from .curves import Curve
from .ours import CODEC

COLOURS = {CODEC: "#c0392b", "jpeg": "#7f8c8d", "webp": "#2e86c1", "avif": "#1e8449"}
OTHER_COLOUR = "#b7950b"
PUBLISHED_COLOUR = "#bbbbbb"
MARGIN = 1.0  # dB around the interval of interest


def plot(
    curves: list[Curve], published: list[Curve], within: tuple[float, float], target: Path
) -> None:
    """Write rd.svg and rd.png into the folder `target`.

    within: dB, the interval of interest. A second panel shows MS-SSIM if it was measured.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    similar = not any(np.isnan(curve.ms_ssim).any() for curve in curves)
    figure, panels = pyplot.subplots(
        1, 1 + similar, figsize=(8 + 7 * similar, 6), squeeze=False, layout="constrained"
    )
    right = _right(curves, within[1])
    _panel(panels[0, 0], curves, published, "psnr", right)
    panels[0, 0].set(ylabel="PSNR of RGB, dB", ylim=(within[0] - MARGIN, within[1] + MARGIN))
    if similar:
        _panel(panels[0, 1], curves, published, "ms_ssim", right)
        panels[0, 1].set(ylabel="MS-SSIM of RGB, dB")
    _name(panels[0, 0], published)
    figure.savefig(target / "rd.svg")
    figure.savefig(target / "rd.png", dpi=120)
    pyplot.close(figure)


def _panel(axes, curves: list[Curve], published: list[Curve], figure: str, right: float) -> None:
    """Draw one figure of merit up to `right` bits per pixel."""
    for curve in published:
        axes.plot(curve.bpp, _values(curve, figure), color=PUBLISHED_COLOUR, linewidth=0.7)
    tops = []
    for curve in curves:
        colour = COLOURS.get(curve.codec, OTHER_COLOUR)
        width = 2.2 if curve.codec == CODEC else 1.4
        values = _values(curve, figure)
        tops.append(values[(curve.bpp <= right) & np.isfinite(values)].max(initial=0))
        axes.plot(curve.bpp, values, "o-", c=colour, lw=width, ms=3.5, label=curve.codec)
    axes.set(xlabel="bits per pixel, whole files", xlim=(0, right), ylim=(None, max(tops) + MARGIN))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")


def _name(axes, published: list[Curve]) -> None:
    """Write the names of published curves where they leave the panel."""
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
