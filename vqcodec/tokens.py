"""A picture as tokens: what `Codec.read_indices` reads and `Codec.decode_indices` decodes."""

from typing import NamedTuple

import numpy as np


class Indices(NamedTuple):
    """A picture as tokens.

    indices: int32 [h, w, C], h = ceil(height / 16), w = ceil(width / 16). Channels are in the
    order of coding, low frequencies first. An entry is the number of a codeword in the codebook
    that the prior picks for its position, given what comes before it; -1 where the codeword is that
    of the channel before (a pair). FORMAT.md, "Indices", has the details.
    grey: the picture has one channel. depth: bits of a channel of its source. cicp: its colours in
    the numbers of ITU-T H.273, if its file says them, see `Header`.
    """

    model_id: bytes
    level: int
    width: int
    height: int
    indices: np.ndarray
    grey: bool = False
    depth: int = 8
    cicp: tuple[int, int, int, int] | None = None

    @property
    def words(self) -> np.ndarray:
        """`indices`, by the name that they had in version 0.1; goes with 0.3."""
        return self.indices
