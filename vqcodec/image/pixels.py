"""Pictures from files, bytes, Pillow images and arrays, and back to files.

What leaves `load` is what a viewer shows: orientation is applied, and every loss on the way to
levels of RGB and alpha is named in a notice. Metadata comes along. Sizes are checked before pixels
are decoded.
"""

import io
import os
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import ImageTooLargeError, InputError, OutputError, VqcodecError
from ..geometry import MAX_PIXELS, STRIDE, check_size
from . import formats, pillow_images
from .arrays import Array, channels_last, to_levels
from .atomic_write import write_atomically
from .depth import BYTE, check_depth
from .picture import Picture, at_depth, blend, of_levels

__all__ = ["EXPECTED", "Picture", "Source", "blend", "load", "pad", "save"]

EXPECTED = "a path, bytes, a binary file object, a Pillow image, an array or a tensor"

Bytes = bytes | bytearray | memoryview
Source = str | os.PathLike | Bytes | BinaryIO | Image.Image | Array | Picture


def load(source: Source, max_pixels: int = MAX_PIXELS, depth: int | None = BYTE) -> Picture:
    """Read a picture.

    source: a path, the bytes of an image file, a binary file object, a Pillow image, or an array,
    which has no metadata; a Picture as it is. An array is of numpy or a tensor, uint8, uint16 or
    float in 0..1, [H, W], [H, W, C] or, where the last axis can be no channels, [C, H, W], with
    C 1, 3 or 4. The pixels of an array may be shared.
    depth: bits of a channel that the picture is to have, 8 to 16: levels are rounded to them.
    None: those of the source, 8 for floats. Of a uint16 array it says how many bits the levels use,
    None: 16; an array is rounded by `picture.at_depth`.
    Alpha is not blended; of an animation the first frame is taken. Colours are left as they are:
    with a profile, or numbers of HDR, they are not sRGB.
    Above Pillow's own limit, raise PIL.Image.MAX_IMAGE_PIXELS as well. Its warnings are left to the
    program: filters are the process's, and other threads may set them meanwhile.

    Raises InputError if the source is no picture, is cut short or holds pixels that have no meaning
    (float outside 0..1, integers outside 0..65535, or outside what `depth` has), and
    ImageTooLargeError above `max_pixels`; TypeError for a source of another type, ValueError for a
    depth out of range.
    """
    if depth is not None:
        check_depth(depth)
    if isinstance(source, Picture):
        check_size(source.rgb.shape[1], source.rgb.shape[0], max_pixels)
        return source if depth is None else at_depth(source, depth)
    known = str | os.PathLike | Bytes | Image.Image | Array
    if not isinstance(source, known) and not hasattr(source, "read"):
        raise TypeError(f"image is {type(source).__name__}, expected {EXPECTED}")
    try:
        if isinstance(source, Image.Image):
            return pillow_images.read(source, max_pixels, depth)
        if isinstance(source, Array):
            return _from_array(source, max_pixels, depth)
        with Image.open(io.BytesIO(source) if isinstance(source, Bytes) else source) as image:
            return pillow_images.read(image, max_pixels, depth)
    except (VqcodecError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise ImageTooLargeError(f"{_name(source)}: {exc}") from exc
    except UnidentifiedImageError as exc:
        raise InputError(f"{_name(source)} is not an image that can be read") from exc
    except Exception as exc:  # Pillow's plugins raise almost anything on damaged files
        reason = getattr(exc, "strerror", None) or str(exc).partition("\n")[0] or repr(exc)
        raise InputError(f"cannot read {_name(source)}: {reason}") from exc


def save(
    picture: Picture | np.ndarray,
    target: str | os.PathLike | BinaryIO,
    format: str | None = None,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write a picture of 8 bits, or bare pixels, uint8 [H, W, 3], as an image file; `strip_files`
    writes deeper ones.

    target: a path, written whole or not at all, or a binary file object.
    format: a Pillow format name such as "PNG"; needed for a file object, else the extension
    of the path decides. JPEG and AVIF are written at high quality, WebP without loss.
    Returns notices: what alpha and metadata the format does not take, one phrase each.

    Raises OutputError if the target exists (without `overwrite`), cannot be written, or has an
    unknown format; ValueError for a wrong array.
    """
    picture = picture if isinstance(picture, Picture) else Picture(picture)
    rgb = picture.rgb
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ValueError(f"rgb is {rgb.dtype} {list(rgb.shape)}, expected uint8 [H, W, 3]")
    is_path = isinstance(target, str | os.PathLike)
    name = formats.name_of(target if is_path else "", format)
    size = rgb.shape[1], rgb.shape[0]
    options, notices, grey = formats.saving(
        name, picture.metadata, picture.grey, size, picture.cicp
    )
    image = Image.fromarray(np.ascontiguousarray(rgb[..., 0]) if grey else rgb)
    if picture.alpha is not None and formats.takes_alpha(name):
        image.putalpha(Image.fromarray(picture.alpha))
    elif picture.alpha is not None:
        notices = (formats.no_alpha(name), *notices)

    def write(file: BinaryIO) -> None:
        try:
            image.save(file, format=name, **options)
        except (ValueError, KeyError, OSError) as exc:  # a side above the format's limit, say
            if getattr(exc, "errno", None) is not None:  # of the disk
                raise
            raise OutputError(f"cannot write this picture as {name}: {exc}") from exc

    if is_path:
        write_atomically(target, write, overwrite)
    else:
        write(target)
    return notices


def pad(rgb: np.ndarray, stride: int = STRIDE) -> np.ndarray:
    """Repeat the right and bottom edges of `rgb` up to the next multiple of `stride`.

    rgb: [H, W, C]. Returns [ceil(H / stride) * stride, ceil(W / stride) * stride, C].
    """
    height, width = rgb.shape[:2]
    return np.pad(rgb, ((0, -height % stride), (0, -width % stride), (0, 0)), mode="edge")


def _from_array(source: Array, max_pixels: int, depth: int | None) -> Picture:
    levels = channels_last(source)
    check_size(levels.shape[1], levels.shape[0], max_pixels)
    return of_levels(*to_levels(levels, depth))


def _name(source: Source) -> str:
    """Return what an error message calls `source`."""
    return str(source) if isinstance(source, str | os.PathLike) else "input"
