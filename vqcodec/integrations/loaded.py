"""The codecs of a process, each loaded once."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..codec import Codec


def codec_of(model: str | Path | None, model_id: bytes | None = None) -> "Codec":
    """The codec of a model as `Codec.load` names it, else of this id (None: the default)."""
    from ..codec import Codec

    return Codec.shared(model_id) if model is None else _load(model)


@lru_cache(maxsize=4)
def _load(model: str | Path) -> "Codec":
    from ..codec import Codec

    return Codec.load(model)
