"""`vqcodec.shipped` is `vqcodec.zoo.shipped` now; the old name goes with version 0.3."""

import sys

from .zoo import shipped

sys.modules[__name__] = shipped
