"""The best picture in so many bytes: python examples/target_size.py photo.jpg 20000"""

import sys
from pathlib import Path

from vqcodec import Codec, targets
from vqcodec.errors import OutOfReachError
from vqcodec.image import pixels

source, limit = Path(sys.argv[1]), int(sys.argv[2])
codec, picture = Codec.load(), pixels.load(source)
try:
    found = targets.to_size(codec, picture, limit)
except OutOfReachError as error:
    sys.exit(str(error))
source.with_suffix(".vqc").write_bytes(found.data)
print(f"{len(found.data)} of {limit} bytes at quality {found.quality:.1f}")

close = targets.to_psnr(codec, picture, 30)
print(f"{len(close.data)} bytes for {close.value:.2f} dB at quality {close.quality:.1f}")
