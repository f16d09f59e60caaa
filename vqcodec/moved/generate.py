"""`vqcodec.generate` is `vqcodec.generative.generate` now; the old name goes with version 0.3."""

import sys

from .generative import generate

sys.modules[__name__] = generate
