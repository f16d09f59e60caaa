"""vqcodec: a learned image codec. A VQ-VAE's indices, entropy-coded, in a .vqc file.

Torch is imported when a picture is first encoded or decoded, not by `import vqcodec`.
"""

from typing import TYPE_CHECKING

from .rate_control import DEFAULT_EFFORT, DEFAULT_QUALITY

if TYPE_CHECKING:
    from PIL import Image

    from .bitstream.container import Header
    from .codec import Codec, Crop, Indices
    from .image.pixels import Source

__version__ = "0.1.0"
__all__ = ["Codec", "Header", "Indices", "decode", "encode", "read_header"]

__path__.append(f"{__path__[0]}/moved")  # modules under their names of version 0.1

_LAZY = {"Codec": ".codec", "Indices": ".codec", "Header": ".bitstream.container"}


def __getattr__(name: str):
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def encode(
    image: "Source", quality: float = DEFAULT_QUALITY, *, effort: int = DEFAULT_EFFORT
) -> bytes:
    """Compress a picture with the default model; see `Codec.encode`."""
    from .codec import Codec

    return Codec.shared().encode(image, quality, effort=effort)


def decode(
    data: bytes, *, crop: "Crop | None" = None, scale: int = 1, realism: float = 0.0
) -> "Image.Image":
    """Paint a .vqc file with the model that it names; see `Codec.decode`."""
    from .codec import Codec

    codec = Codec.shared(read_header(data).model_id)
    return codec.decode(data, crop=crop, scale=scale, realism=realism)


def read_header(data: bytes) -> "Header":
    """Size, level and model of a .vqc file from its first bytes, without torch.

    Raises FormatError (a ValueError) if they are not the start of one, ImageTooLargeError.
    """
    from .bitstream.container import read_header as read

    return read(data)
