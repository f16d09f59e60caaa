"""Alpha and metadata <-> the chunks of a .vqc file: FORMAT.md section 2.

Nothing read is trusted: what is compressed is inflated up to the format's limit and no further.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

from ..errors import CorruptError, InputError
from ..image.metadata import MAX_METADATA_BYTES, Metadata
from .container import ALPHA, MAX_CHUNK_BYTES, Chunk
from .header import Header

METADATA_KINDS = {"icc": b"iccp", "exif": b"exif", "xmp": b"xmpp"}  # field -> kind of chunk
RAW, DEFLATED = b"\0", b"\1"  # first byte of the data: how the rest is written


def metadata_chunks(metadata: Metadata) -> list[Chunk]:
    """The chunks of what there is, each deflated if that makes it shorter.

    Raises ValueError above MAX_METADATA_BYTES.
    """
    return [
        Chunk(METADATA_KINDS[name], _deflate(data))
        for name, data in metadata._asdict().items()
        if data
    ]


def read_metadata(chunks: Sequence[Chunk]) -> Metadata:
    """Undo `metadata_chunks`; chunks of other kinds are skipped. Raises CorruptError."""
    fields = {kind: name for name, kind in METADATA_KINDS.items()}
    found: dict[str, bytes] = {}
    for kind, data in chunks:
        if kind not in fields:
            continue
        if fields[kind] in found:
            raise CorruptError(f"two chunks {kind.decode()}, expected at most one")
        found[fields[kind]] = _inflate(kind.decode(), data)
    return Metadata(**found)


def alpha_chunks(alpha: np.ndarray | None) -> list[Chunk]:
    """The chunk of a plane, uint8 or uint16 [H, W], without loss; none for None.

    Raises InputError if the plane takes more than a chunk may.
    """
    if alpha is None:
        return []
    out = io.BytesIO()
    Image.fromarray(alpha).save(out, "PNG", optimize=True)
    if out.tell() > MAX_CHUNK_BYTES:
        raise InputError(f"alpha takes {out.tell()} bytes, expected at most {MAX_CHUNK_BYTES}")
    return [Chunk(ALPHA, out.getvalue())]


def read_alpha(chunks: Sequence[Chunk], header: Header) -> np.ndarray | None:
    """Undo `alpha_chunks` for a picture of this size and depth. Raises CorruptError."""
    found = [data for kind, data in chunks if kind == ALPHA]
    if not found:
        return None
    if len(found) > 1:
        raise CorruptError("two chunks ALPH, expected at most one")
    bits = 8 if header.depth == 8 else 16
    if not found[0].startswith(_png_start(header.width, header.height, bits)):
        size = f"{header.width}x{header.height}"
        raise CorruptError(f"chunk ALPH is not a grey {bits}-bit PNG of {size} pixels")
    alpha = _read_png(found[0])
    if alpha.max() >= 2**header.depth:
        raise CorruptError(f"chunk ALPH has {alpha.max()}, expected {header.depth} bits")
    return alpha


def _read_png(data: bytes) -> np.ndarray:
    try:
        # Not Image.open, which would compare a size that is known with a limit of its own.
        with PngImagePlugin.PngImageFile(io.BytesIO(data)) as image:
            return np.array(image)
    except MemoryError:
        raise
    except Exception as exc:  # Pillow raises almost anything on a damaged file
        raise CorruptError(f"chunk ALPH cannot be read: {exc}") from exc


class Beside(NamedTuple):
    """What a file has beside its pixels."""

    alpha: np.ndarray | None  # [H, W], levels of the file's depth
    metadata: Metadata  # which says that pixels are upright
    notices: tuple[str, ...] = ()  # what cannot be read of a damaged file


def read_beside(chunks: Sequence[Chunk], header: Header) -> Beside:
    """`read_alpha` and `read_metadata` of all chunks. Raises CorruptError."""
    return Beside(read_alpha(chunks, header), read_metadata(chunks).upright())


def read_damaged(chunks: Sequence[Chunk], header: Header) -> Beside:
    """`read_alpha` and `read_metadata`, each kind by itself: what is refused is left out."""
    notices, metadata, alpha = [], Metadata(), None
    for name, kind in METADATA_KINDS.items():
        try:
            found = read_metadata([chunk for chunk in chunks if chunk.kind == kind])
            metadata = metadata._replace(**{name: getattr(found, name)})
        except CorruptError as exc:
            notices.append(f"{name.upper()} left out: {exc}")
    try:
        alpha = read_alpha(chunks, header)
    except CorruptError as exc:
        notices.append(f"alpha left out: {exc}")
    return Beside(alpha, metadata.upright(), tuple(notices))


def _png_start(width: int, height: int, bits: int) -> bytes:
    """How a PNG of grey without interlacing starts: its signature and header."""
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + b"IHDR" + header


def _deflate(data: bytes) -> bytes:
    if len(data) > MAX_METADATA_BYTES:
        raise ValueError(f"metadata of {len(data)} bytes, expected at most {MAX_METADATA_BYTES}")
    deflated = zlib.compress(data, 9)
    return DEFLATED + deflated if len(deflated) < len(data) else RAW + data


def _inflate(name: str, data: bytes) -> bytes:
    """Undo `_deflate`; at most one byte above the limit is ever held."""
    method, body = data[:1], data[1:]
    if method not in (RAW, DEFLATED):
        raise CorruptError(f"chunk {name} is written in method {method.hex()}, expected 00 or 01")
    if method == DEFLATED:
        body = _inflate_zlib(name, body)
    if not 0 < len(body) <= MAX_METADATA_BYTES:
        raise CorruptError(
            f"chunk {name} holds {len(body)} bytes, expected 1..{MAX_METADATA_BYTES}"
        )
    return body


def _inflate_zlib(name: str, body: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(body, MAX_METADATA_BYTES + 1)
    except zlib.error as exc:
        raise CorruptError(f"chunk {name} cannot be inflated: {exc}") from exc
    if len(found) > MAX_METADATA_BYTES:
        raise CorruptError(f"chunk {name} inflates to more than {MAX_METADATA_BYTES} bytes")
    if not stream.eof or stream.unused_data:
        raise CorruptError(f"chunk {name} does not end where its zlib stream does")
    return found
