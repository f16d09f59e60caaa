"""`vqcodec.usage` is `vqcodec.compare.bit_allocation` now; the old name goes with version 0.3."""

import sys

from .compare import bit_allocation

sys.modules[__name__] = bit_allocation
