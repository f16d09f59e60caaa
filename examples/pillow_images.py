"""A .vqc file like any other image of Pillow: python examples/pillow_images.py photo.jpg"""

import sys
from pathlib import Path

from PIL import Image

import vqcodec.pillow_plugin  # noqa: F401  importing it registers the format

source = Path(sys.argv[1])
coded = source.with_suffix(".vqc")
with Image.open(source) as image:
    image.save(coded, quality=60, exif=image.getexif(), xmp=image.info.get("xmp"))

with Image.open(coded) as image:  # reads the header only, without torch
    print(image.format, image.mode, image.size, sorted(image.info))
    image.thumbnail((128, 128))  # decodes the pixels
    image.save(source.with_suffix(".thumbnail.png"))
