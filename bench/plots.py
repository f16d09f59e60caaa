"""Curves -> a picture of them, as svg and png."""

from itertools import cycle, zip_longest
from pathlib import Path

import numpy as np

from .curves import Curve
from .figures import LABELS

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
OTHER_COLOURS = "#e59866", "#8e44ad", "#e08283", "#5d6d7e"  # ours otherwise, by their order
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

    within: dB, the interval of interest. ours: the codec whose curve is drawn thick. More panels
    show MS-SSIM and LPIPS, if they were measured, and KID of the curves that have it.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    more = [name for name in ("ms_ssim", "lpips") if all(curve.has(name) for curve in curves)]
    more += ["kid"] if any(curve.has("kid") for curve in curves) else []
    figure, panels = pyplot.subplots(
        1, 1 + len(more), figsize=(8 + 7 * len(more), 6), squeeze=False, layout="constrained"
    )
    right = _right(curves, within[1])
    _panel(panels[0, 0], curves, published, "psnr", ours, right)
    panels[0, 0].set(ylabel="PSNR of RGB, dB", ylim=(within[0] - MARGIN, within[1] + MARGIN))
    for place, name in enumerate(more, 1):
        known = published if name == "ms_ssim" else []
        _panel(panels[0, place], curves, known, name, ours, right)
        panels[0, place].set(ylabel="MS-SSIM of RGB, dB" if name == "ms_ssim" else LABELS[name])
    _name(panels[0, 0], published[len(PUBLISHED_COLOURS) :])
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
    corner = "upper right" if top is None else "lower right"  # where no curve ends
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
    if figure != "ms_ssim":
        return getattr(curve, figure)
    with np.errstate(divide="ignore"):
        return -10 * np.log10(1 - curve.ms_ssim)


def _right(curves: list[Curve], high: float) -> float:
    """Where the rate axis ends: every codec is seen up to `high` dB, if its points go there."""
    return 1.05 * max(np.interp(high, np.sort(c.psnr), np.sort(c.bpp)) for c in curves)
