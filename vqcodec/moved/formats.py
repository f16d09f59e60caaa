"""`vqcodec.formats` is `vqcodec.image.formats` now; the old name goes with version 0.3."""

import sys

from .image import formats

sys.modules[__name__] = formats
