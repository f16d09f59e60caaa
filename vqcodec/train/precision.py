"""What training computes transforms in: bfloat16, on devices that multiply it in hardware."""

import torch

from ..engine.torch.runtime import multiplies_bfloat16


def half_precision(device: torch.device, wanted: bool = True) -> torch.autocast:
    """A context in which convolutions and products take bfloat16, if `wanted`. Float32 where the
    device would only emulate it: a step of `base` takes 10 s so, and 1.6 in float32."""
    enabled = wanted and multiplies_bfloat16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
