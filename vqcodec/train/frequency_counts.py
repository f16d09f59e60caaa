"""Running counts of the indices in each table, and the tables of bits that follow from them."""

import torch
from torch import Tensor

from ..nn.quantizer import NOT_ALLOWED, Codebooks, table_sizes

PRIOR_COUNT = 3000.0  # weight of the tables to start with, in symbols
MEMORY = 1e6  # symbols of a class that its table remembers
FLOOR = 1e-7  # least probability of a codeword


class TableCounts:
    """float64 counts [rows, K]; rows of rare classes keep what few they have. They lie where the
    codebooks do, and are changed in place, so that a CUDA graph can hold it."""

    def __init__(self, codebooks: Codebooks):
        self.codebooks = codebooks
        self.sizes = table_sizes(codebooks.config)
        self.counts = PRIOR_COUNT * 2.0 ** -codebooks.bits.double()

    def add(self, counts: Tensor) -> None:
        self.counts += counts
        total = self.counts.sum(1, keepdim=True)
        self.counts *= (MEMORY / total).clamp(max=1.0)
        self._publish()

    def restore(self, counts: Tensor) -> None:
        self.counts.copy_(counts)
        self._publish()

    def probabilities(self) -> list[Tensor]:
        """float64 [K] a row, each summing to 1."""
        counts = self.counts.cpu()
        rows = [counts[row, :size] for row, size in enumerate(self.sizes)]
        rows = [(c / c.sum()).clamp(min=FLOOR) for c in rows]
        return [p / p.sum() for p in rows]

    def _publish(self) -> None:
        p = (self.counts / self.counts.sum(1, keepdim=True)).clamp(min=FLOOR)
        bits = -p.log2().float()
        self.codebooks.bits.copy_(
            torch.where(self.codebooks.bits < NOT_ALLOWED / 2, bits, self.codebooks.bits)
        )

    def usage(self) -> dict[str, list[float]]:
        """Share of codewords with a probability above 1e-5, and perplexity, of some classes."""
        rows = self.probabilities()
        some = range(0, len(rows), 8)
        used = [float((rows[r] > 1e-5).double().mean()) for r in some]
        perplexity = [float(2 ** -(rows[r] * rows[r].log2()).sum()) for r in some]
        return {"usage": used, "perplexity": perplexity}
