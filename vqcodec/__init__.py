"""vqcodec: a learned image codec. A VQ-VAE's indices, entropy-coded, in a .vqc file.

Importing it loads none of the engines: that happens with the first picture.
"""

from typing import TYPE_CHECKING, Any, overload

from .rate_control import DEFAULT_QUALITY

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from PIL import Image

    from .bitstream.container import Header
    from .bitstream.source import FileSource
    from .codec import Codec, Crop
    from .image.pixels import Source
    from .progress import Progress
    from .tokens import Indices

__version__ = "0.2.0"
__all__ = ["Codec", "Header", "Indices", "decode", "encode", "read_header"]

__path__.append(f"{__path__[0]}/moved")  # modules under their names of version 0.1

_LAZY = {"Codec": ".codec", "Indices": ".tokens", "Header": ".bitstream.container"}


def __getattr__(name: str):
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@overload
def encode(image: list, *rest: Any, **options: Any) -> list[bytes]: ...
@overload
def encode(image: "Source", *rest: Any, **options: Any) -> bytes: ...


def encode(
    image: "Source | list[Source]",
    quality: float = DEFAULT_QUALITY,
    *,
    effort: int | None = None,
    tune: str | None = None,
    depth: int | None = None,
    lossless: bool = False,
    exact: bool = True,
    model: "str | Path | None" = None,
    device: str | None = None,
    progress: "Progress" = None,
    **target: float,
) -> bytes | list[bytes]:
    """Compress a picture, or each of a list; see `Codec.encode`, and `Codec.load` for model (None:
    the default) and device.

    target: instead of a quality, target_size (bytes), target_bpp (bits per pixel), target_psnr
    (dB), target_ssimulacra2 (30 is low quality, 50 medium, 70 high, 90 visually lossless) or
    target_butteraugli (its 3-norm: 3.4 is low, 2.4 medium, 1.4 high, 0.5 visually lossless); see
    `targets.reach`, OutOfReachError included.
    """
    codec = _codec(None, model, device)
    how = {"effort": effort, "tune": tune, "depth": depth, "lossless": lossless, "exact": exact}
    how["progress"] = progress
    if not target:
        return codec.encode(image, quality, **how)
    from . import targets

    return targets.encode(codec, image, **how, **target)


@overload
def decode(data: "FileSource", *, depth: None = None, **options: Any) -> "Image.Image": ...
@overload
def decode(data: "FileSource", *, depth: int, **options: Any) -> "np.ndarray": ...


def decode(
    data: "FileSource",
    *,
    depth: int | None = None,
    crop: "Crop | None" = None,
    scale: int = 1,
    realism: float = 0.0,
    model: "str | Path | None" = None,
    device: str | None = None,
    progress: "Progress" = None,
) -> "Image.Image | np.ndarray":
    """The picture of a .vqc file, bytes, path or file object; see `Codec.decode`, and `Codec.load`
    for model (None: the one that the file names) and device."""
    from .bitstream.source import read_source

    data = read_source(data)
    codec = _codec(read_header(data).model_id, model, device)
    how = {"depth": depth, "crop": crop, "scale": scale, "realism": realism}
    return codec.decode(data, **how, progress=progress)


def read_header(data: "FileSource") -> "Header":
    """Size, level and model of a .vqc file, from its first bytes: bytes, path or file object.

    Raises FormatError (a ValueError) if they are not the start of one, ImageTooLargeError,
    InputError.
    """
    from .bitstream.container import HEADER_BYTES_MAX, read_header
    from .bitstream.source import read_source

    return read_header(read_source(data, HEADER_BYTES_MAX))


def _codec(model_id: bytes | None, model: "str | Path | None", device: str | None) -> "Codec":
    from .codec import Codec

    if model is None and device is None:
        return Codec.shared(model_id)
    if model is None and model_id is not None:
        from .zoo import shipped

        model = shipped.name_of(model_id)
    return Codec.load(model, device)
