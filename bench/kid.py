"""KID: how far apart two sets of patches are, whatever belongs to what.

Binkowski et al. 2018, arXiv:1801.01401: the unbiased squared maximum mean discrepancy with the
kernel (x.y / d + 1)^3 of features, here those of `Lpips.features`. The sets are originals and
their paintings, patch by patch. A patch is no independent sample beside its own original, so the
form for pairs is taken, which leaves their kernel out: Gretton et al. 2012, JMLR 13, lemma 6. It
is 0 for equal sets. Features are divided by the root of the originals' mean square, since the
kernel depends on their scale, which is 8 for SqueezeNet.
"""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import ours
from .lpips import Lpips
from .pictures import Picture, load

SIDE = 64  # pixels of a patch; they do not overlap
ROWS = 1024  # of the kernel's matrix at once


def patches(rgb: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> [N, 64, 64, 3] from the top left; what is left over is left out."""
    h, w = rgb.shape[0] // SIDE, rgb.shape[1] // SIDE
    cut = rgb[: h * SIDE, : w * SIDE].reshape(h, SIDE, w, SIDE, 3)
    return cut.swapaxes(1, 2).reshape(h * w, SIDE, SIDE, 3)


def distance(x: np.ndarray, y: np.ndarray) -> float:
    """KID of features float64 [N, d], row by row of the same places; nan for less than 2.

    x: of the originals, not all 0.
    """
    count = len(x)
    if count < 2:
        return math.nan
    scale = np.sqrt(np.square(x).mean())
    x, y = x / scale, y / scale
    total = _unpaired(x, x) + _unpaired(y, y) - 2 * _unpaired(x, y)
    return total / (count * (count - 1))


def _unpaired(x: np.ndarray, y: np.ndarray) -> float:
    """The sum of the kernel over all pairs of rows but those of equal number."""
    total = 0.0
    for start in range(0, len(x), ROWS):
        part = x[start : start + ROWS]
        total += ((part @ y.T / x.shape[1] + 1) ** 3).sum()
    return float(total - (((x * y).mean(1) + 1) ** 3).sum())


def of_files(
    encoder: ours.Encoder, pictures: list[Picture], qualities: list[float], out: Path, weights: str
) -> list[float]:
    """KID of our files of each quality, all pictures together, against the originals.

    weights: a file for `Lpips`. `out` keeps what was found, as it does for `ours.points`.
    """
    different = ours.different(pictures)
    names = "".join(sorted(picture.digest for picture in different)).encode()
    digest = hashlib.sha256(names + Path(weights).read_bytes()).hexdigest()[:16]
    path = out / "cache" / f"{encoder.name}.kid.json"
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    keys = [f"{encoder.description}, {quality:g}, {digest}" for quality in qualities]
    todo = [pair for pair in zip(keys, qualities, strict=True) if pair[0] not in known]
    if todo:
        lpips = Lpips(Path(weights))
        before = _features(lpips, map(load, different))
        for key, quality in tqdm(todo, desc=f"{encoder.name} KID", leave=False, disable=None):
            files = ours.files(encoder, quality, different, out)
            painted = ours.decode(files, encoder.model, encoder.realism)
            known[key] = distance(before, _features(lpips, painted))
            path.write_text(json.dumps(known), "utf-8")
    return [known[key] for key in keys]


def _features(lpips: Lpips, pictures) -> np.ndarray:
    found = [patches(rgb) for rgb in pictures]
    return np.concatenate([lpips.features(own) for own in found if len(own)])
