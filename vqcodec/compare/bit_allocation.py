"""How a file spends its bits: the bits of each latent, and how often each codeword is used."""

import numpy as np

from ..bitstream import container
from ..codec import Codec
from ..config import STRIDE
from ..engine.bit_allocation import BitAllocation, allocation_of
from ..engine.exact_blocks import mask_of
from ..geometry import latents_across, pixels_of, within

__all__ = ["BitAllocation", "measure"]


def measure(codec: Codec, data: bytes) -> BitAllocation:
    """Decode the indices of a .vqc file and count; bits of exact pixels are spread evenly over the
    latents that they are of. Raises as `Codec.decode`."""
    header, _, _, exact = container.unpack(data)
    if header.learned:
        indices, tables = codec.read_indices(data).indices, codec.read_tables(data)
        found = allocation_of(codec.model, indices, tables)
    else:
        shape = latents_across(header.height), latents_across(header.width)
        none = tuple(np.zeros(len(freqs), np.int64) for freqs in codec.model.freqs)
        found = BitAllocation(np.zeros(shape), none)
    for part, tile in zip(exact, container.tile_grid(header), strict=False):
        if part is not None:
            where = mask_of(part, pixels_of(tile), STRIDE)
            share = np.ones((tile.height, tile.width)) if where is None else where
            found.bits[within(tile)] += 8 * len(part.stream) * share / share.sum()
    return found
