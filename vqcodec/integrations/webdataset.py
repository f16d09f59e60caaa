"""Decoders of WebDataset for the files of a shard that end in .vqc.

    wds.WebDataset(shards).decode(vqcodec.integrations.webdataset.decoder)

WebDataset calls a decoder with the extension of a file, the dot included, and its bytes; the
answer None leaves the file to the next decoder. Each process loads a model once.
"""

from typing import TYPE_CHECKING

from ..bitstream.container import read_header

if TYPE_CHECKING:
    from PIL import Image

    from ..codec import Codec, Indices

EXTENSION = "vqc"


def decoder(key: str, data: bytes, *, realism: float = 0.0) -> "Image.Image | None":
    """Decode a .vqc file with the model that it names. realism: of `Codec.decode`; give it by
    `functools.partial`. Raises as `Codec.decode`."""
    return _codec_for(data).decode(data, realism=realism) if _is_ours(key) else None


def indices(key: str, data: bytes) -> "Indices | None":
    """The tokens of a .vqc file, without its pixels. Raises as `Codec.decode`."""
    return _codec_for(data).read_indices(data) if _is_ours(key) else None


def _is_ours(key: str) -> bool:
    return key.lower().rpartition(".")[2] == EXTENSION


def _codec_for(data: bytes) -> "Codec":
    from ..codec import Codec

    return Codec.shared(read_header(data).model_id)
