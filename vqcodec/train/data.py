"""Training data: folders and tar shards of pictures -> random crops and their levels.

All pictures are decoded once, by all cores, into one flat file of uint8 RGB in the output folder.
Crops are cut from it, from the page cache that all processes share; or they are gathered on a GPU
that has the pictures in its memory.
"""

import hashlib
import io
import json
import os
import tarfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ..errors import InputError
from .cuda import holds, upload
from .dead_leaves import LeafPool, dead_leaves

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".avif"}
HELD_OUT = 16  # one picture in this many is kept for validation
MIN_SIDE = 64
COLOURFUL = 0.2  # of the crops get up to twice their saturation
REDUCED = 3.0  # times, at most, that crops are reduced
COMMON_SIDE = 500  # pixels: pictures that have as many a side are a good sample of all
DRAWN = 0.125  # of the crops are drawn
POOL, POOL_BATCH = 2048, 64  # crops of a pool of drawn ones; and made at a time
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
        for name, rgb in tqdm(_decoded(paths), desc="decoding pictures", unit=" files"):
            if isinstance(rgb, Exception):
                tqdm.write(f"{name}: left out ({rgb})")
            elif min(rgb.shape[:2]) >= MIN_SIDE:
                out.write(rgb.data)
                rows.append([name, offset, rgb.shape[0], rgb.shape[1]])
                offset += rgb.shape[0] * rgb.shape[1]
    if not rows:
        raise InputError(f"no pictures of at least {MIN_SIDE} pixels a side in {', '.join(key)}")
    index.write_text(json.dumps({"key": key, "pictures": rows}))


def _decoded(paths: list[Path]) -> Iterator[tuple[str, np.ndarray | Exception]]:
    """The pictures of `read_sources` in its order, by as many threads as there are cores: decoders
    do without Python's lock. A few wait to be taken."""
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[str, Future]] = deque()
        for source in read_sources(paths):
            waiting.append((source.name, pool.submit(_decode, source.data)))
            if len(waiting) > 2 * threads:
                name, future = waiting.popleft()
                yield name, future.result()
        for name, future in waiting:
            yield name, future.result()


def _decode(data: bytes) -> np.ndarray | Exception:
    """uint8 [H, W, 3], or why it is no picture."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.ascontiguousarray(image.convert("RGB"))
    except (OSError, ValueError) as exc:
        return exc


class Crops:
    """Random crops of the training pictures, or fixed ones of the held-out pictures."""

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        held_out: bool,
        seed: int,
        resident: bool | None = None,
    ):
        """resident: the pictures lie on the device, else crops are cut from the file and copied;
        None: they do where it is a GPU with room for them."""
        rows = json.loads((folder / "index.json").read_text())["pictures"]
        total = sum(h * w for _, _, h, w in rows)
        path = str(folder / "pixels.u8")
        flat = torch.from_file(path, shared=False, size=3 * total, dtype=torch.uint8)
        if resident is None:
            resident = not held_out and holds(device, 3 * total)
        self.device, self.resident = device, resident
        self.flat = flat.view(-1, 3).to(device if resident else "cpu")
        mine = [row for row in rows if is_held_out(row[0]) == held_out] or rows
        self.where = torch.tensor([row[1:] for row in mine])  # [N, (offset, h, w)]
        self.generator = torch.Generator().manual_seed(seed)
        # Drawn crops are new each time on a CPU; drawing them would keep a GPU waiting.
        self.pooled = device.type != "cpu"
        self.pools: dict[int, LeafPool] = {}  # the one of the present size

    def varied(self, count: int, size: int) -> Tensor:
        """Like `sample`, but half of the crops are reduced, some are drawn, and some are made
        more colourful.

        Stored pictures are JPEG files with halved chroma; reduced they have the fine colour and
        the sharp edges of what people compress.
        """
        reduced = count // 2
        most = max(1.0, min(REDUCED, COMMON_SIDE / size))
        strength, chance = torch.rand(2, generator=self.generator).tolist()
        parts = []
        if reduced:
            x = self.sample(reduced, round(size * (1 + (most - 1) * strength)))
            parts = [F.interpolate(x, (size, size), mode="bicubic", antialias=True)]
        x = torch.cat([self.sample(count - reduced, size), *parts])
        drawn = int(count * DRAWN + chance)
        x[:drawn] = self._leaves(x[:drawn])
        grey = x.mean(1, keepdim=True)
        random = torch.rand(2, count, 1, 1, 1, generator=self.generator)
        strength, chosen = upload(random, self.device)
        more = torch.where(chosen < COLOURFUL, strength, torch.zeros_like(strength))
        return torch.lerp(grey, x, 1 + more).clamp(0, 1)

    def _leaves(self, x: Tensor) -> Tensor:
        """Drawn crops, as many as the photographs x [B, 3, S, S] in 0..1, and as large."""
        if not self.pooled:
            return dead_leaves(x, self.generator)
        size = x.shape[-1]
        if size not in self.pools:
            seed = int(torch.randint(2**31, (), generator=self.generator))
            generator = torch.Generator(self.device).manual_seed(seed)
            photographs = (self.sample(POOL_BATCH, size) for _ in range(POOL // POOL_BATCH))
            self.pools = {size: LeafPool(photographs, generator)}
        return self.pools[size].sample(len(x))

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
        flip = torch.rand(count, generator=self.generator) < 0.5
        places = torch.stack([offset, height, width, top, left])
        cut = self._gather if self.resident else self._cut
        pixels, flip = cut(places, size), upload(flip, self.device)
        pixels = torch.where(flip[:, None, None, None], pixels.flip(2), pixels)
        return pixels.permute(0, 3, 1, 2).float() / 255

    def _cut(self, places: Tensor, size: int) -> Tensor:
        """uint8 [count, size, size, 3] of places int64 [5, count]: offset, height, width, top and
        left. Small pictures are continued by their edge."""
        pixels = torch.empty(places.shape[1], size, size, 3, dtype=torch.uint8)
        for out, (offset, height, width, top, left) in zip(pixels, places.T.tolist(), strict=True):
            picture = self.flat[offset : offset + height * width].view(height, width, 3)
            if min(height, width) >= size:
                out.copy_(picture[top : top + size, left : left + size])
            else:
                step = torch.arange(size)
                y, x = (
                    (first + step).clamp(max=n - 1) for first, n in ((top, height), (left, width))
                )
                out.copy_(picture[y[:, None], x])
        return upload(pixels, self.device)

    def _gather(self, places: Tensor, size: int) -> Tensor:
        """As `_cut`, on the device of the pictures."""
        offset, height, width, top, left = upload(places, self.device)[:, :, None]
        step = torch.arange(size, device=self.device)
        y, x = torch.minimum(top + step, height - 1), torch.minimum(left + step, width - 1)
        index = offset[:, :, None] + y[:, :, None] * width[:, :, None] + x[:, None, :]
        return self.flat[index]


def spread_levels(count: int, levels: int, low_share: float, generator: torch.Generator) -> Tensor:
    """int64 [count]: levels spread evenly, but the lower LOW of them get `low_share`."""
    position = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
    position = position / count
    low = position / low_share * LOW
    high = LOW + (position - low_share) / (1 - low_share) * (1 - LOW)
    return (torch.where(position < low_share, low, high) * levels).long()


def place_of(level: int, levels: int, low_share: float) -> float:
    """The part of the crops, 0..1, that `spread_levels` gives lower levels than this one."""
    part = level / levels
    if part < LOW:
        return part / LOW * low_share
    return low_share + (part - LOW) / (1 - LOW) * (1 - low_share)


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
