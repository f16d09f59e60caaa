"""The codec of ONNX Runtime where it is installed and can do the work: it starts without torch."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..bitstream.container import Header, choose_tile_log2
from ..zoo import shipped
from . import options

if TYPE_CHECKING:
    from ..engine.onnx.codec import OnnxCodec


def encoder(
    goal: options.Goal, width: int, height: int, model: str | None, device: str
) -> "OnnxCodec | None":
    """The codec for a picture of this size, None if it takes torch.

    Raises UnknownModelError, ModelError.
    """
    if goal.effort > 1 or goal.target or choose_tile_log2(width, height) is not None:
        return None
    return _load(model or shipped.default_name(), device)


def decoder(
    header: Header,
    crop: tuple[int, int, int, int] | None,
    realism: float,
    scale: int,
    model: str | None,
    device: str,
) -> "OnnxCodec | None":
    """The codec for a file, or for a crop inside it, None if it takes torch.

    Raises UnknownModelError, ModelError.
    """
    if realism or scale > 1:
        return None
    if header.tile_log2 != choose_tile_log2(header.width, header.height):
        return None  # a valid file, if an odd one: its tiles may be larger than any of ours
    width, height = crop[2:] if crop else (header.width, header.height)
    if choose_tile_log2(width, height) is not None:
        return None  # too large to be painted at once
    return _load(model or shipped.name_of(header.model_id), device)


def _load(model: str, device: str) -> "OnnxCodec | None":
    if device != "auto" or Path(model).is_dir():
        return None
    try:
        from ..engine.onnx.codec import OnnxCodec
    except ImportError:  # ONNX Runtime is missing, or does not run here
        return None
    return OnnxCodec.load(model)
