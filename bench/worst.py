"""The picture on which ours does worst, by each figure: its rate against a peer's there."""

import math
import statistics
from collections.abc import Iterable
from typing import NamedTuple

from .curves import Curve, average, changes
from .figures import CURVES, FIGURES
from .pictures import Point

PEERS = "avif", "avif-ssim", "avif-psnr", "heic", "webp", "jpeg"  # the first that was measured


class Worst(NamedTuple):
    """percent: our rate against the peer's on this picture, over the interval of our rates there.
    median: the same over all pictures that have one."""

    figure: str
    picture: str
    peer: str
    percent: float
    median: float


def find(points: dict[str, list[Point]], ours: str, rates: tuple[float, float]) -> list[Worst]:
    """One a figure that both codecs have; none if no peer was measured. points: by codec."""
    peer = next((name for name in PEERS if points.get(name)), None)
    if peer is None or not points.get(ours):
        return []
    own, other = (_by_picture(points[name]) for name in (ours, peer))
    found = []
    for figure in CURVES:
        percents = {}
        for picture in own:
            change = changes(figure, [other[picture]], own[picture], other[picture], rates)
            if change and not math.isnan(change[0].ours.percent):
                percents[picture] = change[0].ours.percent
        if percents:
            picture = max(percents, key=percents.get)
            median = statistics.median(percents.values())
            found.append(Worst(figure, picture, peer, percents[picture], median))
    return found


def _by_picture(points: Iterable[Point]) -> dict[str, Curve]:
    rows: dict[str, list[Point]] = {}
    for point in points:
        rows.setdefault(point.picture, []).append(point)
    return {picture: average(picture, "", own) for picture, own in rows.items()}


def table(found: list[Worst]) -> list[list[str]]:
    """As text, the heading first."""
    lines = [["by", "worst on", "against", "there", "median"]]
    for figure, picture, peer, percent, median in found:
        label = FIGURES[figure].label
        lines.append([label, picture, peer, f"{percent:+.1f} %", f"{median:+.1f} %"])
    return lines


def notes(found: list[Worst]) -> dict[str, str]:
    """By picture, what it is worst by."""
    texts: dict[str, list[str]] = {}
    for item in found:
        texts.setdefault(item.picture, []).append(FIGURES[item.figure].label)
    return {picture: f"ours is worst here by {'; '.join(own)}" for picture, own in texts.items()}
