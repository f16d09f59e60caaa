"""The files of a model's folder: reading, hashing, and the model id. No torch.

config.json and three safetensors files: `prior`, `decoder` and `encoder`; a fourth, `realism`,
may be there. FORMAT.md, "Model".
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..config import ModelConfig
from ..errors import ModelError
from . import shipped

PARTS = ("prior", "decoder", "encoder")
REALISM = shipped.REALISM
ID_BYTES = 8


def read_config(folder: Path) -> ModelConfig:
    """Raises ModelError if it cannot be read, or is refused."""
    try:
        return ModelConfig.from_json((folder / "config.json").read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise ModelError(f"cannot read the model in {folder}: {exc}") from exc


def read_parts(
    folder: Path, parts: tuple[str, ...], hashes: Mapping[str, str] | None = None
) -> dict[str, bytes]:
    """The bytes of some parts. hashes: expected SHA-256 in hex of parts.

    Raises ModelError if a file is missing, or is not what its hash says.
    """
    try:
        blobs = {part: (folder / f"{part}.safetensors").read_bytes() for part in parts}
    except OSError as exc:
        raise ModelError(f"cannot read the model in {folder}: {exc}") from exc
    for part, expected in (hashes or {}).items():
        found = hashlib.sha256(blobs[part]).hexdigest() if part in blobs else expected
        if found != expected:
            raise ModelError(f"{part}.safetensors of {folder.name}: sha256 {found}, not {expected}")
    return blobs


def model_id(config: ModelConfig, tensors: Mapping[str, np.ndarray]) -> bytes:
    """First 8 bytes of the SHA-256 of the config, without what concerns the encoder alone, and of
    all tensors of prior and decoder, in order of their names."""
    digest = hashlib.sha256(config.decoder_json().encode())
    for name, array in sorted(tensors.items()):
        shape = ",".join(map(str, array.shape))
        digest.update(f"\n{name} {array.dtype.name} [{shape}]\n".encode())
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")))
    return digest.digest()[:ID_BYTES]
