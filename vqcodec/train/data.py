"""Training data: folders and tar shards of pictures -> random crops and their levels.

All pictures are decoded once into one flat file of uint8 RGB in the output folder; crops are
gathered from it by index, on the CPU from the page cache that all processes share, on a GPU
from the GPU's memory.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ..errors import InputError
from .dead_leaves import dead_leaves

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".avif"}
HELD_OUT = 16  # one picture in this many is kept for validation
MIN_SIDE = 64
COLOURFUL = 0.2  # of the crops get up to twice their saturation
REDUCED = 3.0  # times, at most, that crops are reduced
COMMON_SIDE = 500  # pixels: pictures that have as many a side are a good sample of all
DRAWN = 0.125  # of the crops are drawn
LOW = 0.6  # of the levels are low ones: below about 0.7 bits a pixel on photographs


class Source(NamedTuple):
    name: str
    data: bytes


def read_sources(paths: list[Path]) -> Iterator[Source]:
    """Every picture file under folders (recursively) and in tar shards, in sorted order."""
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            if file.suffix == ".tar":
                with tarfile.open(file) as shard:
                    for member in shard:
                        if Path(member.name).suffix.lower() in SUFFIXES:
                            yield Source(member.name, shard.extractfile(member).read())
            elif file.suffix.lower() in SUFFIXES:
                yield Source(file.name, file.read_bytes())


def is_held_out(name: str) -> bool:
    """By the name's hash, so that a picture stays on its side whatever else is there."""
    return hashlib.sha256(name.encode()).digest()[0] % HELD_OUT == 0


def build_cache(paths: list[Path], folder: Path) -> None:
    """Decode all pictures into `folder`/pixels.u8 and index.json, unless they are there."""
    key = [str(path) for path in paths]
    index = folder / "index.json"
    if index.exists() and json.loads(index.read_text())["key"] == key:
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows, offset = [], 0
    with open(folder / "pixels.u8", "wb") as out:
        for source in tqdm(read_sources(paths), desc="decoding pictures", unit=" files"):
            try:
                with Image.open(io.BytesIO(source.data)) as image:
                    rgb = np.asarray(image.convert("RGB"))
            except (OSError, ValueError) as exc:
                tqdm.write(f"{source.name}: left out ({exc})")
                continue
            if min(rgb.shape[:2]) < MIN_SIDE:
                continue
            out.write(rgb.tobytes())
            rows.append([source.name, offset, rgb.shape[0], rgb.shape[1]])
            offset += rgb.shape[0] * rgb.shape[1]
    if not rows:
        raise InputError(f"no pictures of at least {MIN_SIDE} pixels a side in {', '.join(key)}")
    index.write_text(json.dumps({"key": key, "pictures": rows}))


class Crops:
    """Random crops of the training pictures, or fixed ones of the held-out pictures."""

    def __init__(self, folder: Path, device: torch.device, held_out: bool, seed: int):
        rows = json.loads((folder / "index.json").read_text())["pictures"]
        total = sum(h * w for _, _, h, w in rows)
        path = str(folder / "pixels.u8")
        flat = torch.from_file(path, shared=False, size=3 * total, dtype=torch.uint8)
        self.flat = flat.view(-1, 3).to(device)
        mine = [row for row in rows if is_held_out(row[0]) == held_out] or rows
        self.where = torch.tensor([row[1:] for row in mine])  # [N, (offset, h, w)]
        self.generator = torch.Generator().manual_seed(seed)

    def varied(self, count: int, size: int) -> Tensor:
        """Like `sample`, but half of the crops are reduced, some are drawn, and some are made
        more colourful.

        Stored pictures are JPEG files with halved chroma; reduced they have the fine colour and
        the sharp edges of what people compress.
        """
        reduced = count // 2
        most = max(1.0, min(REDUCED, COMMON_SIDE / size))
        strength, chance = torch.rand(2, generator=self.generator).tolist()
        x = self.sample(reduced, round(size * (1 + (most - 1) * strength)))
        x = F.interpolate(x, (size, size), mode="bicubic", antialias=True)
        x = torch.cat([self.sample(count - reduced, size), x])
        drawn = int(count * DRAWN + chance)
        x[:drawn] = dead_leaves(x[:drawn], self.generator)
        grey = x.mean(1, keepdim=True)
        strength, chosen = torch.rand(2, count, 1, 1, 1, generator=self.generator).to(x.device)
        more = torch.where(chosen < COLOURFUL, strength, torch.zeros_like(strength))
        return torch.lerp(grey, x, 1 + more).clamp(0, 1)

    def sample(self, count: int, size: int) -> Tensor:
        """float32 [count, 3, size, size] in 0..1, pictures drawn by area, randomly flipped."""
        area = self.where[:, 1] * self.where[:, 2]
        large = self.where[:, 1:].min(1).values >= size
        area = area * (large if large.any() else 1)
        pick = torch.multinomial(area.double(), count, True, generator=self.generator)
        offset, height, width = self.where[pick].T
        corner = torch.rand(2, count, generator=self.generator, dtype=torch.float64)
        top = (corner[0] * (height - size + 1).clamp(min=1)).long()
        left = (corner[1] * (width - size + 1).clamp(min=1)).long()
        step = torch.arange(size)
        # Small pictures are continued by their edge.
        y = torch.minimum(top[:, None] + step, height[:, None] - 1)
        x = torch.minimum(left[:, None] + step, width[:, None] - 1)
        flip = torch.rand(count, generator=self.generator) < 0.5
        x = torch.where(flip[:, None], x.flip(1), x)
        index = offset[:, None, None] + y[:, :, None] * width[:, None, None] + x[:, None, :]
        pixels = self.flat[index.to(self.flat.device)]
        return pixels.permute(0, 3, 1, 2).float() / 255


def spread_levels(count: int, levels: int, low_share: float, generator: torch.Generator) -> Tensor:
    """int64 [count]: levels spread evenly, but the lower LOW of them get `low_share`."""
    position = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
    position = position / count
    low = position / low_share * LOW
    high = LOW + (position - low_share) / (1 - low_share) * (1 - LOW)
    return (torch.where(position < low_share, low, high) * levels).long()


def block_statistics(crops: Crops, mean: float, rounds: int = 60) -> tuple[Tensor, Tensor]:
    """PCA of 16x16 RGB blocks in 255 units: basis float32 [768, 768], deviations [768].

    Sorted by energy; rows are ordered as `pixel_unshuffle(x, 16)` orders channels.
    """
    total, count = torch.zeros(768, 768, dtype=torch.float64), 0
    for _ in range(rounds):
        x = (crops.varied(16, 128).cpu() - mean) * 255
        blocks = F.pixel_unshuffle(x, 16).permute(0, 2, 3, 1).reshape(-1, 768).double()
        total += blocks.T @ blocks
        count += len(blocks)
    values, vectors = torch.linalg.eigh(total / count)
    return vectors.flip(1).float(), values.flip(0).clamp(min=1e-3).sqrt().float()
