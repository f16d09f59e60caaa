"""Part of a huge picture: python examples/huge_region.py huge.vqc 4000 3000 512 512

Only the tiles that the region touches are decoded. The whole picture is decoded in strips, so
that it never has to fit into memory: here to find the mean of each channel.
"""

import sys
import time
from pathlib import Path

import vqcodec

path = Path(sys.argv[1])
x, y, width, height = map(int, sys.argv[2:])
data = path.read_bytes()
header = vqcodec.read_header(data)
codec = vqcodec.Codec.shared(header.model_id)

start = time.perf_counter()
codec.decode(data, crop=(x, y, width, height)).save(path.with_suffix(".region.png"))
seconds = time.perf_counter() - start
print(f"{width}x{height} of {header.width}x{header.height} pixels in {seconds:.2f} s")

total = 0
for rows in codec.decode_strips(data).rows:  # uint8 [H, W, channels]
    total = total + rows.sum((0, 1), dtype="int64")
print("mean of each channel:", (total / (header.width * header.height)).round(1))
