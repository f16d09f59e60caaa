"""Arrays [h, w, C] <-> maps [1, C, h, w] in channels_last, which have the same memory."""

import numpy as np
import torch
from torch import Tensor


def to_map(values: np.ndarray, device: torch.device) -> Tensor:
    """[h, w, C] -> [1, C, h, w] in channels_last: the same memory on the CPU."""
    if not values.flags.writeable or any(stride < 0 for stride in values.strides):
        values = values.copy()  # torch warns of the first, and has not the second
    maps = torch.from_numpy(values).to(device)
    return maps.permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)


def to_unit_map(rgb: np.ndarray, device: torch.device) -> Tensor:
    """Pixels [h, w, 3], uint8 or float32 in 0..1 -> float32 [1, 3, h, w] in 0..1."""
    x = to_map(rgb, device)
    return x.float().div_(255) if x.dtype == torch.uint8 else x


def to_array(maps: Tensor) -> np.ndarray:
    """[1, C, h, w] -> float32 [h, w, C]."""
    return maps[0].permute(1, 2, 0).float().contiguous().cpu().numpy()
