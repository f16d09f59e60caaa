"""Pictures as 8-bit pixels: from files, bytes, Pillow images and arrays, and back to files.

What leaves `load` is what a viewer shows: orientation is applied, and every loss on the way to
8-bit RGB and alpha is named in a notice. Metadata comes along. Sizes are checked before pixels
are decoded.
"""

import io
import os
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from ..errors import ImageTooLargeError, InputError, OutputError, VqcodecError
from ..geometry import MAX_PIXELS, STRIDE, check_size
from . import colour_profile, formats, losses
from .arrays import Array, channels_last, to_levels
from .atomic_write import write_atomically
from .containers import Told, told_by
from .metadata import MAX_METADATA_BYTES, ORIENTATION, Metadata, from_info

# EXIF orientation -> how to turn the stored pixels upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = 5, 6, 7, 8  # orientations that swap width and height
_UPRIGHT_FORMATS = {"HEIF", "JXL"}  # their decoders turn the pixels, and leave EXIF as it was
_SIXTEEN_BIT = {"I", "I;16", "I;16B", "I;16L", "I;16N"}
_GREY = {"1", "L", "LA", "La", "F"} | _SIXTEEN_BIT
_RGB_FAMILY = {"1", "L", "P", "RGB", "RGBX", "RGBA", "LA", "PA", "RGBa", "La"}
_LEVELS = {"1": 1, "L;2": 3, "L;4": 15}  # Pillow's name -> the largest level of grey in the file
EXPECTED = "a path, bytes, a binary file object, a Pillow image, an array or a tensor"


class Picture(NamedTuple):
    """A picture as the codec takes it."""

    rgb: np.ndarray  # uint8 [H, W, 3]; of any value where alpha is 0
    alpha: np.ndarray | None = None  # uint8 [H, W], 0 is transparent; None if all is opaque
    metadata: Metadata = Metadata()
    notices: tuple[str, ...] = ()  # what the source had and this has not, one phrase each
    grey: bool = False  # the source had one channel; the three of rgb are equal


Bytes = bytes | bytearray | memoryview
Source = str | os.PathLike | Bytes | BinaryIO | Image.Image | Array | Picture


def load(source: Source, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture.

    source: a path, the bytes of an image file, a binary file object, a Pillow image, or an array,
    which has no metadata; a Picture is returned as it is. An array is of numpy or a tensor, uint8
    or float in 0..1, [H, W], [H, W, C] or, where the last axis can be no channels, [C, H, W], with
    C 1, 3 or 4. The pixels of an array may be shared.
    16-bit grey levels are rounded to 8 bits; alpha is not blended; of an animation the first
    frame is taken. Colours are left as they are: with a profile they are not sRGB.
    Above Pillow's own limit, raise PIL.Image.MAX_IMAGE_PIXELS as well. Its warnings are left to the
    program: filters are the process's, and other threads may set them meanwhile.

    Raises InputError if the source is no picture, is cut short or holds pixels that have no
    8-bit meaning (float outside 0..1, integers outside 0..65535), and ImageTooLargeError above
    `max_pixels`; TypeError for a source of another type.
    """
    if isinstance(source, Picture):
        check_size(source.rgb.shape[1], source.rgb.shape[0], max_pixels)
        return source
    known = str | os.PathLike | Bytes | Image.Image | Array
    if not isinstance(source, known) and not hasattr(source, "read"):
        raise TypeError(f"image is {type(source).__name__}, expected {EXPECTED}")
    try:
        if isinstance(source, Image.Image):
            return _from_image(source, max_pixels)
        if isinstance(source, Array):
            return _from_array(source, max_pixels)
        with Image.open(io.BytesIO(source) if isinstance(source, Bytes) else source) as image:
            return _from_image(image, max_pixels)
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
    """Write a picture, or bare pixels, uint8 [H, W, 3], as an image file.

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
    options, notices, grey = formats.saving(name, picture.metadata, picture.grey, size)
    image = Image.fromarray(np.ascontiguousarray(rgb[..., 0]) if grey else rgb)
    if picture.alpha is not None and formats.takes_alpha(name):
        image.putalpha(Image.fromarray(picture.alpha))
    elif picture.alpha is not None:
        notices = (f"alpha dropped: {name} cannot hold it", *notices)

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


def blend(picture: Picture, colour: tuple[int, int, int]) -> Picture:
    """Put a picture on a ground of one colour, RGB 0..255 each: it has no alpha then."""
    if picture.alpha is None:
        return picture
    alpha = picture.alpha[..., None].astype(np.uint16)  # [H, W, 1]
    mixed = picture.rgb * alpha + np.array(colour, np.uint16) * (255 - alpha)  # at most 255**2
    rgb = ((mixed + 127) // 255).astype(np.uint8)
    grey = picture.grey and len(set(colour)) == 1
    icc, notices = picture.metadata.icc, picture.notices
    if icc and colour_profile.space_of(icc) == b"GRAY" and not grey:
        icc, notices = None, (*notices, "colour profile dropped: not one of RGB pixels")
    metadata = picture.metadata._replace(icc=icc)
    return Picture(rgb, None, metadata, notices, grey)


def pad(rgb: np.ndarray, stride: int = STRIDE) -> np.ndarray:
    """Repeat the right and bottom edges of `rgb` up to the next multiple of `stride`.

    rgb: [H, W, C]. Returns [ceil(H / stride) * stride, ceil(W / stride) * stride, C].
    """
    height, width = rgb.shape[:2]
    return np.pad(rgb, ((0, -height % stride), (0, -width % stride), (0, 0)), mode="edge")


def _from_array(source: Array, max_pixels: int) -> Picture:
    pixels = channels_last(source)
    check_size(pixels.shape[1], pixels.shape[0], max_pixels)
    pixels = to_levels(pixels)
    if pixels.shape[2] == 1:
        return Picture(np.repeat(pixels, 3, axis=2), grey=True)
    return _with_alpha(pixels)


def _from_image(image: Image.Image, max_pixels: int) -> Picture:
    check_size(*image.size, max_pixels)
    told, raw = told_by(image), losses.raw_mode(image)  # before Pillow closes the file
    bits = 8 if image.mode in _SIXTEEN_BIT else losses.bits_of(image, told)
    image.load()
    grey = image.mode in _GREY or raw.startswith("LA;16")  # Pillow reads the latter as RGBA
    metadata, dropped = _metadata(image, told, grey)
    dropped = [*losses.of_pixels(image, told, bits), *dropped, *losses.of_metadata(image, told)]
    orientation = _orientation(image)
    image, lost = _with_transparency(image, raw, bits)
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    picture = _convert(image, raw)
    notices = (*picture.notices, *lost, *dropped)
    return picture._replace(metadata=metadata, notices=notices, grey=grey)


def _orientation(image: Image.Image) -> int:
    """How the pixels are to be turned, as EXIF numbers it."""
    if image.format in _UPRIGHT_FORMATS and not getattr(image, "jpeg", False):
        return 1  # a JPEG inside a JXL file is not turned
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF must not keep a picture from being read
        return 1
    return 1 if found in _SIDEWAYS and _was_turned(image) else found


def _was_turned(image: Image.Image) -> bool:
    """Tell whether `rotate` or `transpose` turned an image in memory, which leaves its EXIF as it
    was: the sides that this tells are swapped."""
    if isinstance(image, ImageFile.ImageFile):
        return False
    try:
        told = image.getexif().get_ifd(ExifTags.IFD.Exif)
    except Exception:  # damaged
        return False
    sides = told.get(ExifTags.Base.ExifImageWidth), told.get(ExifTags.Base.ExifImageHeight)
    return sides == image.size[::-1] != image.size


def _metadata(image: Image.Image, told: Told, grey: bool) -> tuple[Metadata, list[str]]:
    """What a .vqc file keeps of the image's metadata, and notices of what it does not."""
    found = from_info(image.info).upright()
    reasons = {}
    lost = ()
    fitting = (b"GRAY", b"RGB ") if grey else (b"RGB ",)
    if not found.icc:
        profile, lost = colour_profile.told(image.info, told.codes, grey)
        found = found._replace(icc=profile)
    elif colour_profile.space_of(found.icc) not in fitting:
        reasons["icc"] = f"colour profile dropped: not one of {'grey' if grey else 'RGB'} pixels"
    if found.exif and formats.orientation(found.exif) in _UPRIGHT:
        reasons["exif"] = "EXIF dropped: its orientation cannot be reset"
    if losses.has_tiff_exif(image):
        reasons["exif"] = "EXIF dropped: that of TIFF files is not kept"
    for kind, data in found._asdict().items():
        if data and len(data) > MAX_METADATA_BYTES:
            reasons[kind] = f"{kind.upper()} dropped: larger than {MAX_METADATA_BYTES} bytes"
    return found.without(reasons), [*lost, *reasons.values()]


def _with_transparency(
    image: Image.Image, raw: str, bits: int
) -> tuple[Image.Image, tuple[str, ...]]:
    """Have the one transparent level of PNG in the levels that Pillow made of the file's; notices
    where that cannot be. raw: `losses.raw_mode` of the file."""
    level = image.info.get("transparency")
    if isinstance(level, tuple) and bits > 8:  # Pillow has the high bytes: others look the same
        image = image.copy()
        del image.info["transparency"]
        return image, (f"transparency dropped: it is one colour of {bits} bits",)
    if isinstance(level, int) and 0 < level <= _LEVELS.get(raw, 0):
        image = image.copy()
        image.info["transparency"] = level * 255 // _LEVELS[raw]
    return image, ()


def _convert(image: Image.Image, raw: str) -> Picture:
    """Convert to 8-bit RGB and alpha, with notices of what that lost."""
    if image.mode in _SIXTEEN_BIT:
        levels, clear = np.asarray(image), image.info.get("transparency")
        if raw == "I;12":
            levels = levels.astype(np.uint32) * 65535 // 4095
        alpha = None if clear is None else np.where(levels == clear, 0, 255).astype(np.uint8)
        picture = _with_alpha(_grey_from_16_bits(levels), alpha)
        return picture._replace(notices=("16 bits reduced to 8",))
    if image.mode == "F":
        rgb = np.repeat(to_levels(np.asarray(image))[..., None], 3, axis=2)
        return Picture(rgb, notices=("float reduced to 8 bits",))
    if image.has_transparency_data:
        return _with_alpha(np.asarray(_to_rgba(image)))
    lost = () if image.mode in _RGB_FAMILY else (f"{image.mode} converted to RGB",)
    # convert copies even what is RGB already: 4 bytes a pixel.
    return Picture(np.array(image if image.mode == "RGB" else image.convert("RGB")), notices=lost)


def _to_rgba(image: Image.Image) -> Image.Image:
    # Premultiplied modes convert to their plain form only.
    plain = {"RGBa": "RGBA", "La": "LA"}.get(image.mode)
    return (image.convert(plain) if plain else image).convert("RGBA")


def _with_alpha(pixels: np.ndarray, alpha: np.ndarray | None = None) -> Picture:
    """A picture of uint8 [H, W, 3] and alpha, or of [H, W, 4]; opaque alpha is none."""
    if pixels.shape[2] == 4:
        alpha = np.ascontiguousarray(pixels[..., 3])
    if alpha is not None and alpha.min() == 255:
        alpha = None
    return Picture(np.ascontiguousarray(pixels[..., :3]), alpha)


def _grey_from_16_bits(grey: np.ndarray) -> np.ndarray:
    """Round [H, W], each 0..65535, to uint8 [H, W, 3]: 65535 becomes 255, 257 becomes 1."""
    low, high = int(grey.min()), int(grey.max())
    if low < 0 or high > 65535:
        raise InputError(f"integer pixels are {low}..{high}, expected 0..65535")
    rounded = (grey.astype(np.uint32) + 128) // 257
    return np.repeat(rounded.astype(np.uint8)[..., None], 3, axis=2)


def _name(source: Source) -> str:
    """Return what an error message calls `source`."""
    return str(source) if isinstance(source, str | os.PathLike) else "input"
