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
    _panel(panels[0, 0], curves, published, "psnr")
    panels[0, 0].set_ylim(within[0] - MARGIN, within[1] + MARGIN)
    panels[0, 0].set_ylabel("PSNR of RGB, dB")
    if similar:
        _panel(panels[0, 1], curves, published, "ms_ssim")
        panels[0, 1].set_ylabel("MS-SSIM of RGB, dB")
    for panel in panels[0]:
        panel.set_xlim(0, _right(curves, within[1]))
    figure.savefig(target / "rd.svg")
    figure.savefig(target / "rd.png", dpi=120)
    pyplot.close(figure)


def _panel(axes, curves: list[Curve], published: list[Curve], figure: str) -> None:
    for curve in published:
        values = _values(curve, figure)
        axes.plot(curve.bpp, values, color=PUBLISHED_COLOUR, linewidth=0.7)
        axes.annotate(
            curve.codec, (curve.bpp[-1], values[-1]), fontsize=5, color="#888888", clip_on=True
        )
    for curve in curves:
        colour = COLOURS.get(curve.codec, OTHER_COLOUR)
        width = 2.2 if curve.codec == CODEC else 1.4
        axes.plot(
            curve.bpp, _values(curve, figure), "o-", color=colour, linewidth=width, markersize=3.5,
            label=curve.codec,
        )  # fmt: skip
    axes.set_xlabel("bits per pixel, whole files")
    axes.grid(alpha=0.3)
    axes.legend()


def _values(curve: Curve, figure: str) -> np.ndarray:
    """PSNR, or MS-SSIM in dB."""
    if figure == "psnr":
        return curve.psnr
    with np.errstate(divide="ignore"):
        return -10 * np.log10(1 - curve.ms_ssim)


def _right(curves: list[Curve], high: float) -> float:
    """Where the rate axis ends: every codec is seen up to `high` dB, if its points go there."""
    return 1.05 * max(np.interp(high, np.sort(c.psnr), np.sort(c.bpp)) for c in curves)
