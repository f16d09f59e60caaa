"""The Pillow plugin: Image.open and Image.save of .vqc files. Importing it registers it.

Opening reads the header and no more, unless the header says that chunks follow: then the whole
file is read for its mode and metadata. Pixels are decoded in `load`.
Bytes of another format raise SyntaxError, which makes Pillow try its other plugins. What is
ours and damaged, or needs a model that is not installed, raises OSError; with
`ImageFile.LOAD_TRUNCATED_IMAGES` what can be saved of a damaged file is decoded. Set `realism`,
0 to 1, of an opened image before its pixels are used to decode it with more texture.
`draft`, which `thumbnail` calls, has small pictures decoded in a fraction of the time.
"""

import mimetypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from PIL import Image, ImageFile

from .bitstream import container
from .bitstream.chunks import read_metadata
from .bitstream.salvage import salvage
from .errors import FormatError, VqcodecError
from .geometry import MAX_DIMENSION, QUICK_SCALES, shrunk
from .image import pixels
from .image.colour_profile import Cicp
from .image.metadata import to_info
from .rate_control import DEFAULT_QUALITY

FORMAT = "VQC"
EXTENSION = ".vqc"
MIME = "image/x-vqc"
# Pillow checks MAX_IMAGE_PIXELS, which is its user's to set, when `_open` has given the size.
MAX_PIXELS = MAX_DIMENSION**2


class VqcImageFile(ImageFile.ImageFile):
    """A .vqc file: its size at once, its pixels on demand."""

    format = FORMAT
    format_description = "vqcodec"
    realism = 0.0  # as of `Codec.decode`; matters until the pixels are loaded
    _scale = 1

    def _open(self) -> None:
        start = self.fp.read(container.HEADER_BYTES_MAX)
        if not _accept(start):
            raise SyntaxError("not a .vqc file")
        with _os_error():
            header = container.read_header(start, MAX_PIXELS)
        self._size = header.width, header.height
        self._mode = "L" if header.grey else "RGB"
        if header.cicp:
            self.info["cicp"] = Cicp(*header.cicp)
        if start[container.FLAGS_AT] & container.CHUNKED:
            self._read_chunks()
        # Never read: a tile tells Pillow that pixels are to be loaded yet.
        self.tile = [("vqc", (0, 0, *self._size), 0, self._mode)]

    def draft(
        self, mode: str | None, size: tuple[float, float] | None
    ) -> tuple[str, tuple[float, float, float, float]] | None:
        """Have the picture decoded at 1/4 or 1/8 of its size, if that is no smaller than `size`;
        `mode` stays as it is. Returns the mode and the part of the new picture that is the whole
        old one, None if nothing changes."""
        if not self.tile or self._scale > 1 or size is None:
            return None
        width, height = self._size
        fitting = [s for s in QUICK_SCALES if width >= s * size[0] and height >= s * size[1]]
        if not fitting:
            return None
        self._scale = max(fitting)
        self._size = shrunk(width, self._scale), shrunk(height, self._scale)
        return self._mode, (0, 0, width / self._scale, height / self._scale)

    def load(self) -> object:
        """Decode the pixels, once. Raises OSError if the file is damaged or its model unknown."""
        if self.tile:
            image = self._decode()
            self.im, self._mode, self.readonly = image.im, image.mode, 0
            self.tile = []
            if self._exclusive_fp:
                self.fp.close()
            self.fp = None
        return super().load()

    def load_seek(self, position: int) -> None:
        """Never called: its presence tells `ImageFile.Parser`, which Django feeds uploads to, that
        the tile is for no decoder that takes a file in pieces."""

    def verify(self) -> None:
        """Check every checksum, without the model. Raises OSError if the file is damaged."""
        if not self.tile:
            return  # the pixels are there: their bytes were checked
        with _os_error():
            container.unpack(self._bytes(), MAX_PIXELS)
        super().verify()

    def _read_chunks(self) -> None:
        """Set the mode and fill `info`; not if the file is damaged, since `load` will tell."""
        read = salvage if ImageFile.LOAD_TRUNCATED_IMAGES else container.unpack
        with suppress(FormatError):
            chunks = read(self._bytes(), MAX_PIXELS).chunks
            self.info.update(to_info(read_metadata(chunks).upright(), self._mode == "L"))
            if any(chunk.kind == container.ALPHA for chunk in chunks):
                self._mode = {"L": "LA", "RGB": "RGBA"}[self._mode]

    def _decode(self) -> Image.Image:
        from .codec import Codec

        data = self._bytes()
        how = {"scale": self._scale, "realism": self.realism, "max_pixels": MAX_PIXELS}
        with _os_error():
            if ImageFile.LOAD_TRUNCATED_IMAGES:
                codec = Codec.shared(container.read_header(data, MAX_PIXELS).model_id)
                return codec.decode_damaged(data, **how).image
            # The checksums come before the model: a damaged file needs none.
            model_id = container.unpack(data, MAX_PIXELS).header.model_id
            return Codec.shared(model_id).decode(data, **how)

    def _bytes(self) -> bytes:
        if self.fp is None:
            raise OSError("the file was closed before its pixels were loaded: open it again")
        self.fp.seek(0)
        return self.fp.read()


def register() -> None:
    """Make Pillow open and save .vqc files, and `mimetypes`, which web servers ask, know their
    type. Importing this module has done so already."""
    Image.register_open(FORMAT, VqcImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, EXTENSION)
    Image.register_mime(FORMAT, MIME)
    mimetypes.add_type(MIME, EXTENSION)


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(container.MAGIC)


def _save(image: Image.Image, file: BinaryIO, filename: str | bytes) -> None:
    """Encode with the default model.

    Options: `quality`, `effort`, `tune`, `lossless` and `exact` of `Codec.encode`, ValueError for
    what is none of theirs, or one of the targets of `targets.encode`, such as `target_ssimulacra2`;
    `icc_profile`, by default the image's own; `exif` and `xmp`, by default none, as with Pillow's
    own formats.
    """
    from .codec import Codec
    from .targets import encode

    quality = image.encoderinfo.get("quality", DEFAULT_QUALITY)
    names = "effort", "tune", "lossless", "exact"
    search = {name: image.encoderinfo[name] for name in names if name in image.encoderinfo}
    target = {k: value for k, value in image.encoderinfo.items() if k.startswith("target_")}
    with _os_error():
        picture = _picture(image)
        how = search | target | {"max_pixels": MAX_PIXELS}
        data = encode(Codec.shared(), picture, quality, **how)
    file.write(data)


def _picture(image: Image.Image) -> pixels.Picture:
    """The image with the metadata of its save options; an orientation is applied in any case."""
    given = {
        name: image.encoderinfo[name]
        for name in ("icc_profile", "exif", "xmp")
        if name in image.encoderinfo
    }
    if isinstance(given.get("exif"), Image.Exif):
        given["exif"] = given["exif"].tobytes()
    copy = image.copy()
    copy.info.update(given)
    if "icc_profile" in given:  # even none: it comes before what PNG says of colours
        for name in ("gamma", "chromaticity"):
            copy.info.pop(name, None)
    picture = pixels.load(copy, MAX_PIXELS, None)
    unasked = {"exif", "xmp"} - given.keys()
    return picture._replace(metadata=picture.metadata.without(unasked))


@contextmanager
def _os_error() -> Iterator[None]:
    """Turn our errors into the one that Pillow's users catch, with our message."""
    try:
        yield
    except VqcodecError as exc:
        raise OSError(str(exc)) from exc


register()
