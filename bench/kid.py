"""KID of files: how far apart the patches of originals and of decoded pictures are.

The distance is `vqcodec.metrics.kid`, the features are those of `Lpips.features`.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vqcodec.metrics import kid

from . import ours
from .lpips import Lpips
from .pictures import Picture, load

SIDE = 64  # pixels of a patch; they do not overlap


def patches(rgb: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> [N, 64, 64, 3] from the top left; what is left over is left out."""
    h, w = rgb.shape[0] // SIDE, rgb.shape[1] // SIDE
    cut = rgb[: h * SIDE, : w * SIDE].reshape(h, SIDE, w, SIDE, 3)
    return cut.swapaxes(1, 2).reshape(h * w, SIDE, SIDE, 3)


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
            decoded = ours.decode(encoder, files)
            known[key] = kid(before, _features(lpips, decoded))
            path.write_text(json.dumps(known), "utf-8")
    return [known[key] for key in keys]


def _features(lpips: Lpips, pictures) -> np.ndarray:
    found = [patches(rgb) for rgb in pictures]
    return np.concatenate([lpips.features(own) for own in found if len(own)])
