"""A picture to a .vqc file and back: python examples/encode_decode.py photo.jpg"""

import sys
from pathlib import Path

import vqcodec

source = Path(sys.argv[1])
for quality in (20, 50, 80):
    data = vqcodec.encode(source, quality)  # also of a Pillow image, an array, or bytes
    header = vqcodec.read_header(data)
    bpp = 8 * len(data) / (header.width * header.height)
    print(f"quality {quality}: {len(data)} bytes, {bpp:.3f} bits per pixel")

source.with_suffix(".vqc").write_bytes(data)
image = vqcodec.decode(data)  # PIL.Image.Image, with its metadata in image.info
image.save(source.with_suffix(".decoded.png"))
