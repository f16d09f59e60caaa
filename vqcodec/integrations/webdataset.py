"""Decoders of WebDataset for the files of a shard that end in .vqc.

    wds.WebDataset(shards).decode(vqcodec.integrations.webdataset.decoder)  # or tensor, indices

WebDataset calls a decoder with the extension of a file, the dot included, and its bytes; the
answer None leaves the file to the next decoder. Each process loads a model once.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ..bitstream.container import read_header
from .loaded import codec_of

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..codec import Codec, Indices

EXTENSION = "vqc"


def decoder(
    key: str, data: bytes, *, realism: float = 0.0, model: str | Path | None = None
) -> "Image.Image | None":
    """Decode a .vqc file. realism: as of `Codec.decode`; model: as of `Codec.load`, None is the one
    that the file names; give them by `functools.partial`. Raises as `Codec.decode`."""
    return _codec_for(data, model).decode(data, realism=realism) if _is_ours(key) else None


def tensor(
    key: str, data: bytes, *, realism: float = 0.0, model: str | Path | None = None
) -> "Tensor | None":
    """Decode a .vqc file to uint8 [3, H, W] of torch, RGB, without its alpha. The rest as of
    `decoder`."""
    image = decoder(key, data, realism=realism, model=model)
    if image is None:
        return None
    from .torch import to_tensor

    return to_tensor(image)


def indices(key: str, data: bytes, *, model: str | Path | None = None) -> "Indices | None":
    """The tokens of a .vqc file, without its pixels. Raises as `Codec.decode`."""
    return _codec_for(data, model).read_indices(data) if _is_ours(key) else None


def _is_ours(key: str) -> bool:
    return key.lower().rpartition(".")[2] == EXTENSION


def _codec_for(data: bytes, model: str | Path | None) -> "Codec":
    return codec_of(model, read_header(data).model_id)
