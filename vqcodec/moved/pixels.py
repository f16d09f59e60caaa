"""`vqcodec.pixels` is `vqcodec.image.pixels` now; the old name goes with version 0.3."""

import sys

from .image import pixels

sys.modules[__name__] = pixels
